//! The sockets of a venue: one listener for WebSocket and REST, a task per connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use crate::frame;
use crate::http::{self, Heard};
use crate::market::{Market, Next};
use crate::outbox::{End, Outbox};
use crate::protocol::Request;

/// Messages that are played before others may look at the market.
const MESSAGES_PER_TURN: usize = 512;

/// How long the playing waits for a slow client before it looks again.
const ROOM_WAIT: Duration = Duration::from_millis(20);

/// How long a client has to hear that its connection ends.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Bytes read from a socket at once.
const READ_BYTES: usize = 16 << 10;

/// How fast a script is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As recorded, times this.
    Times(f64),
    /// As fast as the clients read.
    FlatOut,
}

/// What all tasks of a venue share.
pub(crate) struct Shared {
    market: Mutex<Market>,
    /// Messages played, so that whoever waits for the script looks again.
    pub progress: watch::Sender<u64>,
    pub is_over: watch::Sender<bool>,
    pub is_stalled: watch::Sender<bool>,
    pub is_refusing: watch::Sender<bool>,
}

impl Shared {
    pub fn new(market: Market) -> Arc<Self> {
        Arc::new(Self {
            market: Mutex::new(market),
            progress: watch::channel(0).0,
            is_over: watch::channel(false).0,
            is_stalled: watch::channel(false).0,
            is_refusing: watch::channel(false).0,
        })
    }

    pub fn market(&self) -> MutexGuard<'_, Market> {
        self.market.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note_progress(&self) {
        self.progress.send_modify(|turns| *turns += 1);
    }
}

/// Accepts connections; closes the listener as long as connections are to be refused.
pub(crate) async fn listen(shared: Arc<Shared>, listener: TcpListener, at: SocketAddr) {
    let mut refusing = shared.is_refusing.subscribe();
    let mut listener = Some(listener);
    loop {
        let Some(open) = &listener else {
            if refusing.wait_for(|refuse| !refuse).await.is_err() {
                return;
            }
            listener = TcpListener::bind(at).await.ok();
            if listener.is_none() {
                sleep(Duration::from_millis(5)).await;
            }
            continue;
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(serve(shared.clone(), stream));
                }
            }
            refuse = refusing.wait_for(|refuse| *refuse) => {
                if refuse.is_err() {
                    return;
                }
                drop(refuse);
                listener = None;
            }
        }
    }
}

/// Plays the script, from when it may begin to its end.
pub(crate) async fn play(shared: Arc<Shared>, pace: Pace) {
    let mut progress = shared.progress.subscribe();
    while !shared.market().is_started() {
        if progress.changed().await.is_err() {
            return;
        }
    }
    let start = Instant::now();
    loop {
        let now_ns = match pace {
            Pace::Times(times) => (start.elapsed().as_nanos() as f64 * times) as i64,
            Pace::FlatOut => i64::MAX,
        };
        let next = shared.market().play(now_ns, MESSAGES_PER_TURN);
        shared.note_progress();
        match next {
            Next::More => tokio::task::yield_now().await,
            Next::At(at_ns) => {
                let Pace::Times(times) = pace else { continue };
                let wait_ns = (at_ns - now_ns) as f64 / times;
                sleep(Duration::from_nanos(wait_ns as u64)).await;
            }
            Next::Room(outbox) => {
                let _ = timeout(ROOM_WAIT, outbox.drained.notified()).await;
            }
            Next::Done => break,
        }
    }
    shared.is_over.send_replace(true);
}

/// One connection: requests until one asks for a WebSocket.
async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let mut bytes = Vec::new();
    loop {
        let heard = match http::take(&mut bytes) {
            Ok(Some(heard)) => heard,
            Ok(None) => match read_more(&mut reader, &mut bytes).await {
                true => continue,
                false => return,
            },
            Err(_) => return,
        };
        if let Some(key) = &heard.upgrade {
            return upgrade(shared, &heard, key, reader, writer, bytes).await;
        }
        let (status, body) = answer(&shared, &heard.request).await;
        if writer.write_all(&http::answer(status, &body)).await.is_err() {
            return;
        }
    }
}

async fn read_more(reader: &mut OwnedReadHalf, bytes: &mut Vec<u8>) -> bool {
    bytes.reserve(READ_BYTES);
    matches!(reader.read_buf(bytes).await, Ok(1..))
}

/// The answer to a REST request, when the script has come to it.
async fn answer(shared: &Shared, request: &Request) -> (u16, String) {
    if let Some(refused) = shared.market().asked(request) {
        return refused;
    }
    let mut progress = shared.progress.subscribe();
    loop {
        if let Some(answer) = shared.market().rest(request) {
            return answer;
        }
        if progress.changed().await.is_err() {
            return (500, String::new());
        }
    }
}

async fn upgrade(
    shared: Arc<Shared>,
    heard: &Heard,
    key: &str,
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    bytes: Vec<u8>,
) {
    let outbox = Arc::new(Outbox::default());
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    outbox.push(|out| out.extend_from_slice(&http::upgrade(&accept)));
    let opened = shared.market().open(&heard.target, outbox.clone());
    let id = match opened {
        Ok(id) => id,
        Err(status) => {
            let _ = writer.write_all(&http::answer(status, "")).await;
            return;
        }
    };
    shared.note_progress();
    let writing = tokio::spawn(write(shared.clone(), writer, outbox));
    let end = tokio::select! {
        () = read(&shared, id, &mut reader, bytes) => None,
        end = writing => end.ok(),
    };
    shared.market().gone(id);
    shared.note_progress();
    if end == Some(End::Closed) {
        // A socket closed over unread bytes is reset, and what was sent last would be lost.
        let mut rest = Vec::new();
        let _ = timeout(LAST_WAIT, reader.read_to_end(&mut rest)).await;
    }
}

/// Hears a client until it is gone or silent for too long.
async fn read(shared: &Shared, id: u64, reader: &mut OwnedReadHalf, mut bytes: Vec<u8>) {
    let limits = shared.market().limits();
    let far = Duration::from_secs(1 << 30);
    let mut heard_at = tokio::time::Instant::now();
    let mut ping_at = heard_at + limits.ping_every.unwrap_or(far);
    loop {
        match frame::take(&mut bytes) {
            Ok(Some((opcode, payload))) => {
                heard_at = tokio::time::Instant::now();
                if !hear(shared, id, opcode, &payload) {
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(reason) => {
                shared.market().close(id, 1002, &reason);
                return;
            }
        }
        tokio::select! {
            more = read_more(reader, &mut bytes) => if !more { return },
            () = sleep_until(ping_at) => {
                shared.market().ping(id);
                ping_at += limits.ping_every.unwrap_or(far);
            }
            () = sleep_until(heard_at + limits.silence_max.unwrap_or(far)) => {
                shared.market().cut_off_silent(id);
                return;
            }
        }
    }
}

/// One frame of a client; `false` if it was the last.
fn hear(shared: &Shared, id: u64, opcode: u8, payload: &[u8]) -> bool {
    let mut market = shared.market();
    match opcode {
        frame::TEXT => market.hear(id, &String::from_utf8_lossy(payload)),
        frame::PING => market.heard_ping(id, payload),
        frame::PONG => market.heard_pong(id),
        frame::CLOSE => {
            market.close(id, 1000, "");
            return false;
        }
        _ => {}
    }
    drop(market);
    shared.note_progress();
    true
}

/// Writes what is to be sent until the end, nothing while the venue is stalled.
async fn write(shared: Arc<Shared>, mut writer: OwnedWriteHalf, outbox: Arc<Outbox>) -> End {
    let mut stalled = shared.is_stalled.subscribe();
    let mut bytes = Vec::new();
    loop {
        if stalled.wait_for(|stalled| !stalled).await.is_err() {
            return End::Closed;
        }
        let end = outbox.take(&mut bytes);
        if end == Some(End::Reset) {
            let _ = writer.as_ref().set_zero_linger();
            writer.forget();
            return End::Reset;
        }
        if writer.write_all(&bytes).await.is_err() {
            return End::Reset;
        }
        let nothing = bytes.is_empty();
        bytes.clear();
        if end.is_some() {
            let _ = writer.shutdown().await;
            return End::Closed;
        }
        if nothing {
            outbox.filled.notified().await;
        }
    }
}
