//! One connection to a venue: connect, subscribe, hear, answer, and begin anew when it is lost.
//!
//! It hands on every frame with the time it was read and never looks into one further than
//! [`LiveFeed::heard`] does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use tracing::{info, warn};

use super::clock::{Now, ReceiveClock};
use super::inbox::{Event, Inbox, Portion};
use super::listing::Chosen;
use super::plan::Change;
use super::rest::{Network, Refusal, Request, wait_of};
use super::stats::FeedStats;
use crate::error::{ErrorKind, Result};
use crate::ingest::live::{Heard, LiveFeed, Manners};
use crate::limit;
use crate::quantity::{Instrument, TsNs};

/// First wait before connecting again, and the longest; a good minute forgets how often it failed.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const GOOD_TIME: Duration = Duration::from_secs(60);
/// Connecting, sending and closing take no longer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
const SEND_TIME_MAX: Duration = Duration::from_secs(10);
const GOODBYE_TIME_MAX: Duration = Duration::from_millis(500);
/// Frames and bytes that are handed on together if they are there.
const PORTION_FRAMES: usize = 512;
const PORTION_BYTES: usize = 1 << 20;

/// What a connection is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Subscribe and unsubscribe.
    Change(Change),
    /// Subscribe to these again: a fresh snapshot is needed.
    Again(BTreeSet<String>),
    /// Connect again; why.
    Reconnect(String),
    /// End.
    Close,
}

/// What a feed is told by what it has begun.
#[derive(Debug)]
pub(super) enum News {
    /// What is to be recorded; whether because the selections are new.
    Chosen { chosen: Chosen, new: bool },
    /// A snapshot for these copies was handed on, or could not be had.
    Snapshot(Instrument, BTreeSet<usize>, Option<Refusal>),
    /// A connection is up.
    Up(u32),
    /// A connection is lost.
    Down(u32),
}

/// Everything a connection needs.
pub(super) struct Socket {
    pub number: u32,
    pub replica: usize,
    pub exchange: &'static str,
    pub live: &'static dyn LiveFeed,
    pub manners: Manners,
    pub stream_url: String,
    pub rest_url: String,
    pub path: &'static str,
    pub network: Network,
    pub clock: Arc<Mutex<ReceiveClock>>,
    pub inbox: Inbox,
    pub stats: Arc<FeedStats>,
    pub news: mpsc::UnboundedSender<News>,
    /// One at a time may begin a connection, so that the venue's pace is kept.
    pub door: Arc<tokio::sync::Mutex<Instant>>,
}

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// It was told to.
    Closed,
    /// It is to be made again after this time at least.
    Lost(String, Duration),
    /// It is to be made again at once, before the venue ends it.
    Renewed,
}

impl Socket {
    /// Keeps the connection up until it is told to close.
    pub async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut topics = BTreeSet::new();
        let mut backoff = BACKOFF_MIN;
        self.stats.connections.fetch_add(1, Relaxed);
        loop {
            let begun = Instant::now();
            let end = self.life(&mut topics, &mut orders).await;
            let (why, wait) = match end {
                End::Closed => break,
                End::Renewed => {
                    self.stats.reconnects.fetch_add(1, Relaxed);
                    info!(exchange = self.exchange, connection = self.number, "renewed");
                    continue;
                }
                End::Lost(why, wait) => (why, wait),
            };
            if begun.elapsed() >= GOOD_TIME {
                backoff = BACKOFF_MIN;
            }
            let wait = wait.max(jitter(backoff));
            backoff = (backoff * 2).min(BACKOFF_MAX);
            self.stats.reconnects.fetch_add(1, Relaxed);
            warn!(
                exchange = self.exchange,
                connection = self.number,
                why,
                wait_ms = wait.as_millis(),
                "connection lost"
            );
            tokio::select! {
                () = sleep(wait) => {}
                () = closed(&mut topics, &mut orders) => break,
            }
        }
        self.stats.connections.fetch_sub(1, Relaxed);
    }

    /// One connection from beginning to end.
    async fn life(
        &self,
        topics: &mut BTreeSet<String>,
        orders: &mut mpsc::UnboundedReceiver<Order>,
    ) -> End {
        let connected = tokio::select! {
            connected = self.connect() => connected,
            () = closed(topics, orders) => return End::Closed,
        };
        let (address, stream) = match connected {
            Ok(connected) => connected,
            Err(end) => return end,
        };
        info!(exchange = self.exchange, connection = self.number, address, "connected");
        self.stats.connections_up.fetch_add(1, Relaxed);
        let mut session = Session::new(self, stream, topics);
        let mut end = session.begin(address).await;
        if end.is_ok() {
            self.tell(News::Up(self.number));
            end = session.hear(topics, orders).await;
        }
        let end = end.err().unwrap_or(End::Closed);
        self.stats.connections_up.fetch_sub(1, Relaxed);
        self.tell(News::Down(self.number));
        session.end(&end).await;
        end
    }

    fn tell(&self, news: News) {
        // The feed may be gone already.
        drop(self.news.send(news));
    }

    async fn connect(&self) -> Result<(String, Stream), End> {
        if self.inbox.wait_for_room().await.is_err() {
            return Err(End::Closed);
        }
        {
            let mut door = self.door.lock().await;
            sleep_until(*door).await;
            *door = Instant::now() + self.manners.connect_every;
        }
        let mut ticket = Vec::new();
        if let Some(path) = self.live.ticket() {
            let url = format!("{}{path}", self.rest_url);
            let request = Request { url, headers: self.live.headers(), body: Some("") };
            self.stats.requests.fetch_add(1, Relaxed);
            ticket = self.network.ask(request).await.map_err(|Refusal { error, wait }| {
                End::Lost(error.to_string(), wait.unwrap_or_default())
            })?;
        }
        let address = self
            .live
            .address(&self.stream_url, self.path, &ticket)
            .map_err(|error| lost(error.to_string()))?;
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(limit::TEXT_BYTES_MAX);
        config.max_frame_size = Some(limit::TEXT_BYTES_MAX);
        config.read_buffer_size = 256 << 10;
        let request = handshake(&address, self.live.headers()).map_err(lost)?;
        let connector = Some(Connector::Rustls(self.network.tls.clone()));
        let connecting = tokio_tungstenite::connect_async_tls_with_config(
            request,
            Some(config),
            true,
            connector,
        );
        match timeout(CONNECT_TIME_MAX, connecting).await {
            Ok(Ok((stream, _))) => Ok((address, stream)),
            Ok(Err(tungstenite::Error::Http(answer))) => {
                let header = answer.headers().get("retry-after");
                let header = header.and_then(|value| value.to_str().ok());
                let wait = wait_of(answer.status().as_u16(), header);
                let why = format!("{address}: {}", answer.status());
                Err(End::Lost(why, wait.unwrap_or_default()))
            }
            Ok(Err(error)) => Err(lost(format!("{address}: {error}"))),
            Err(_) => Err(lost(format!("{address}: no connection within {CONNECT_TIME_MAX:?}"))),
        }
    }
}

/// The request that begins a WebSocket connection.
fn handshake(
    address: &str,
    headers: &[(&'static str, &'static str)],
) -> Result<tungstenite::handshake::client::Request, String> {
    let mut request =
        address.into_client_request().map_err(|error| format!("{address}: {error}"))?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    Ok(request)
}

/// A connection that is up.
struct Session<'a> {
    socket: &'a Socket,
    stream: Stream,
    manners: Manners,
    /// What is to be sent, oldest first.
    outbox: VecDeque<String>,
    send_at: Instant,
    requests: u64,
    ping_at: Option<Instant>,
    heard_at: Instant,
    ends_at: Option<Instant>,
}

impl<'a> Session<'a> {
    fn new(socket: &'a Socket, stream: Stream, topics: &BTreeSet<String>) -> Self {
        let (manners, now) = (socket.manners, Instant::now());
        // Connections that began together do not end together.
        let age = manners.age_max.map(|age| age - jitter(age / 20) * (socket.replica as u32 + 1));
        let mut session = Self {
            socket,
            stream,
            manners,
            outbox: socket.live.greeting().into(),
            send_at: now,
            requests: 0,
            ping_at: manners.ping_every.map(|every| now + every),
            heard_at: now,
            ends_at: age.map(|age| now + age),
        };
        session.subscribe(topics);
        session
    }

    /// Tells that the connection is up and sends the subscriptions.
    async fn begin(&mut self, address: String) -> Result<(), End> {
        let mut portion = self.portion();
        portion.add(self.now(), Event::Connected(address));
        self.hand_on(portion).await
    }

    fn portion(&self) -> Portion {
        Portion::new(self.socket.replica, self.socket.number)
    }

    async fn hand_on(&self, portion: Portion) -> Result<(), End> {
        self.socket.inbox.put(portion).await.map_err(|error| match error.kind() {
            ErrorKind::Cancelled => End::Closed,
            _ => End::Lost(error.to_string(), Duration::ZERO),
        })
    }

    /// Subscribes to topics, as fast as the venue allows.
    fn subscribe(&mut self, topics: &BTreeSet<String>) {
        self.request(topics, |live, part, id, now| live.subscribe(part, id, now));
    }

    fn unsubscribe(&mut self, topics: &BTreeSet<String>) {
        self.request(topics, |live, part, id, now| live.unsubscribe(part, id, now));
    }

    fn request(
        &mut self,
        topics: &BTreeSet<String>,
        texts: impl Fn(&dyn LiveFeed, &[&str], u64, TsNs) -> Vec<String>,
    ) {
        let now = self.time();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        for part in names.chunks(self.manners.topics_per_message.max(1)) {
            self.requests += 1;
            self.outbox.extend(texts(self.socket.live, part, self.requests, now));
        }
    }

    /// The time of what is handed on: it tells a step of the clock.
    fn now(&self) -> Now {
        self.socket.clock.lock().unwrap_or_else(PoisonError::into_inner).read()
    }

    fn time(&self) -> TsNs {
        self.socket.clock.lock().unwrap_or_else(PoisonError::into_inner).look().ts_recv
    }

    /// Hears and sends until the connection ends.
    async fn hear(
        &mut self,
        topics: &mut BTreeSet<String>,
        orders: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Result<(), End> {
        loop {
            let never = Instant::now() + Duration::from_secs(86_400 * 365);
            let silent_at = self.heard_at + self.manners.silence_max;
            tokio::select! {
                message = self.stream.next() => self.heard(message).await?,
                order = orders.recv() => match order {
                    None | Some(Order::Close) => return Err(End::Closed),
                    Some(Order::Reconnect(why)) => return Err(lost(why)),
                    Some(order) => self.take(order, topics),
                },
                () = sleep_until(self.send_at), if !self.outbox.is_empty() => {
                    if let Some(text) = self.outbox.pop_front() {
                        self.send(text).await?;
                        self.send_at = Instant::now() + self.manners.message_every;
                    }
                }
                () = sleep_until(self.ping_at.unwrap_or(never)) => self.ping().await?,
                () = sleep_until(silent_at) => {
                    let silence = self.manners.silence_max;
                    return Err(lost(format!("nothing heard for {silence:?}")));
                }
                () = sleep_until(self.ends_at.unwrap_or(never)) => {
                    return Err(End::Renewed);
                }
            }
        }
    }

    fn take(&mut self, order: Order, topics: &mut BTreeSet<String>) {
        match order {
            Order::Change(change) => {
                apply(topics, &change);
                self.unsubscribe(&change.unsubscribe);
                self.subscribe(&change.subscribe);
            }
            Order::Again(again) => {
                let again = again.intersection(topics).cloned().collect();
                self.unsubscribe(&again);
                self.subscribe(&again);
            }
            Order::Reconnect(_) | Order::Close => {}
        }
    }

    /// Takes a message and those that are there already behind it.
    async fn heard(&mut self, first: Next) -> Result<(), End> {
        self.heard_at = Instant::now();
        let mut portion = self.portion();
        let mut next = Some(first);
        let mut end = Ok(());
        while let Some(message) = next.take() {
            end = self.frame(&mut portion, message);
            let full = portion.events.len() >= PORTION_FRAMES || portion.cost() >= PORTION_BYTES;
            if end.is_ok() && !full {
                next = self.stream.next().now_or_never();
            }
        }
        if !portion.events.is_empty() {
            let messages = portion.events.len() as u64;
            self.socket.stats.messages.fetch_add(messages, Relaxed);
            self.socket.stats.bytes.fetch_add(portion.bytes() as u64, Relaxed);
            self.hand_on(portion).await?;
        }
        end
    }

    fn frame(&mut self, portion: &mut Portion, message: Next) -> Result<(), End> {
        let bytes = match message {
            None => return Err(lost("the venue ended the connection".to_owned())),
            Some(Err(error)) => return Err(lost(error.to_string())),
            Some(Ok(Message::Text(text))) => Bytes::from(text),
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Close(frame))) => {
                let why = frame.map_or_else(String::new, |f| format!(": {} {}", f.code, f.reason));
                return Err(lost(format!("the venue closed the connection{why}")));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(()),
        };
        let heard = self.socket.live.heard(&bytes);
        portion.add(self.now(), Event::Message(bytes));
        match heard {
            Heard::Data => Ok(()),
            Heard::Answer(text) => {
                // Before what waits for its turn: the venue counts the seconds.
                self.outbox.push_front(text);
                self.send_at = Instant::now();
                Ok(())
            }
            Heard::Refused(why) => {
                self.socket.stats.refusals.fetch_add(1, Relaxed);
                let (exchange, connection) = (self.socket.exchange, self.socket.number);
                warn!(exchange, connection, why, "subscription refused");
                Ok(())
            }
            Heard::Reconnect(why) => Err(lost(why)),
        }
    }

    async fn send(&mut self, text: String) -> Result<(), End> {
        let sent = timeout(SEND_TIME_MAX, self.stream.send(Message::text(text.clone()))).await;
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(lost(error.to_string())),
            Err(_) => return Err(lost(format!("cannot send within {SEND_TIME_MAX:?}"))),
        }
        let mut portion = self.portion();
        portion.add(self.now(), Event::Sent(text));
        self.hand_on(portion).await
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.ping_at = self.manners.ping_every.map(|every| Instant::now() + every);
        self.requests += 1;
        let text = self.socket.live.ping(self.requests, self.time());
        let message = text.map_or(Message::Ping(Bytes::new()), Message::text);
        match timeout(SEND_TIME_MAX, self.stream.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost(error.to_string())),
            Err(_) => Err(lost(format!("cannot send within {SEND_TIME_MAX:?}"))),
        }
    }

    /// Says good-bye and tells that the connection is lost.
    async fn end(mut self, end: &End) {
        if matches!(end, End::Closed | End::Renewed) {
            // The venue may not answer any more.
            drop(timeout(GOODBYE_TIME_MAX, self.stream.close(None)).await);
        }
        let mut portion = self.portion();
        portion.add(self.now(), Event::Disconnected);
        // Nobody records any more: then there is nobody to tell.
        while let Err(error) = self.socket.inbox.put(portion).await {
            if error.kind() == ErrorKind::Cancelled {
                return;
            }
            portion = self.portion();
            portion.add(self.now(), Event::Disconnected);
        }
    }
}

/// What comes next on a connection: a message, an error, or its end.
type Next = Option<Result<Message, tungstenite::Error>>;

fn lost(why: String) -> End {
    End::Lost(why, Duration::ZERO)
}

/// Takes orders until the connection is to be closed.
async fn closed(topics: &mut BTreeSet<String>, orders: &mut mpsc::UnboundedReceiver<Order>) {
    loop {
        match orders.recv().await {
            None | Some(Order::Close) => return,
            Some(Order::Change(change)) => apply(topics, &change),
            // What it asks for comes with the next connection.
            Some(Order::Again(_) | Order::Reconnect(_)) => {}
        }
    }
}

fn apply(topics: &mut BTreeSet<String>, change: &Change) {
    topics.retain(|name| !change.unsubscribe.contains(name));
    topics.extend(change.subscribe.iter().cloned());
}

/// Between half of `duration` and all of it.
fn jitter(duration: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    duration / 2 + (duration / 2).mul_f64((random % 1024) as f64 / 1024.0)
}
