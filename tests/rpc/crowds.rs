//! Clients in crowds, each doing a little harm: what they hold is bounded, all of it comes back,
//! and a client that behaves is answered all the while.
//!
//! `TICKREEL_LONG=1` plays every attack at its full number (10,000 connections, 100,000 resets and
//! cancellations, 1,000 slow readers, the whole patience for one that reads nothing), in some
//! minutes. Attackers come from an address of their own, as the limit per address wants it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use tickreel::event::Kind;
use tickreel::rpc::{BookQuery, Client, Event, ReplayQuery, ScanQuery, ServeOptions, proto};
use tickreel::{TsNs, limit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::hostile::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, request_to,
};
use crate::limits::until;
use crate::listener::{Listener, local};
use crate::market::{Dice, EVERY_NS, Market, START, Served, btc, swap};

const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
/// The service's method that streams most.
const SCAN: &str = "/tickreel.v1.Tickreel/Scan";

/// How often, in a run of all tests or in a long one.
fn times(short: usize, long: usize) -> usize {
    if std::env::var_os("TICKREEL_LONG").is_some() { long } else { short }
}

/// A line for the person who runs the tests.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What this process holds.
#[derive(Debug)]
struct Held {
    threads: usize,
    /// Open files and maps of a store.
    files: usize,
    memory_bytes: usize,
}

impl Held {
    fn now(store: &Path) -> Self {
        let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().filter(|line| line.contains(store.to_str().unwrap())).count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        Self {
            threads: count("/proc/self/task"),
            files: open.filter(|path| path.starts_with(store)).count() + mapped,
            memory_bytes: kib << 10,
        }
    }
}

/// A client that asks for books all the while.
struct Bystander {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    async fn new(served: &Served) -> Self {
        let client = Client::connect(&served.url).await.unwrap();
        let query = BookQuery { instrument: btc(), at: TsNs::MAX, depth: Some(10) };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let asking = tokio::spawn(async move {
            let mut took = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let asked = Instant::now();
                client.book(&query).await.unwrap();
                took.push(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            took
        });
        Self { stop, asking }
    }

    /// Every question had an answer, in good time.
    async fn assert_answered(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.asking.await.unwrap();
        took.sort();
        let part = |percent: usize| took[(took.len() - 1) * percent / 100];
        say(&format!("{what}: {} books, p50 {:?}, p99 {:?}", took.len(), part(50), part(99)));
        assert!(part(100) < Duration::from_secs(10), "{what}: {:?}", part(100));
    }
}

/// A connection from the attackers' address.
async fn attacker(served: &Served) -> std::io::Result<TcpStream> {
    let address: SocketAddr = served.url.trim_start_matches("http://").parse().unwrap();
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.2:0".parse().unwrap())?;
    socket.connect(address).await
}

/// A connection that has asked for a whole scan, and grants its server no window but the first.
struct Reader {
    stream: TcpStream,
    /// What came and is no whole frame yet.
    heard: Vec<u8>,
}

impl Reader {
    async fn new(served: &Served) -> std::io::Result<Self> {
        let mut stream = attacker(served).await?;
        let request = proto::ScanRequest::from(&ScanQuery::all(btc(), Kind::Book)).encode_to_vec();
        let mut body = vec![0];
        body.extend(u32::try_from(request.len()).unwrap().to_be_bytes());
        body.extend(request);
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        bytes.extend(frame(HEADERS, END_HEADERS, 1, &request_to(SCAN)));
        bytes.extend(frame(DATA, END_STREAM, 1, &body));
        stream.write_all(&bytes).await?;
        Ok(Self { stream, heard: Vec::new() })
    }

    /// Reads for so long, answers signs of life, and says how many bytes of rows came; `None` if
    /// the connection is over.
    async fn read(&mut self, wait: Duration) -> Option<usize> {
        let mut buffer = vec![0; 1 << 16];
        match tokio::time::timeout(wait, self.stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return None,
            Ok(Ok(count)) => self.heard.extend(&buffer[..count]),
            Err(_) => {}
        }
        let mut rows = 0;
        while let Some(head) = self.heard.first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let Some(payload) = self.heard.get(9..9 + length) else { break };
            if kind == PING && flags & ACK == 0 {
                self.stream.write_all(&frame(PING, ACK, 0, payload)).await.ok()?;
            }
            rows += if kind == DATA { length } else { 0 };
            self.heard.drain(..9 + length);
        }
        Some(rows)
    }

    /// Lets so many bytes more come.
    async fn allow(&mut self, bytes: u32) -> Option<()> {
        for stream in [0, 1] {
            let more = frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
            self.stream.write_all(&more).await.ok()?;
        }
        Some(())
    }
}

async fn open_streams(served: &Served) -> u64 {
    served.client.stats().await.unwrap().streams_open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_opened_and_left_make_room() {
    const AT_ONCE: usize = 400;
    let market = Market::new(50);
    let options = ServeOptions { connections_per_address: Some(16), ..ServeOptions::default() };
    let served = Served::new(market.store.clone(), options).await;
    let bystander = Bystander::new(&served).await;
    let before = Held::now(market.store.root());
    let (mut opened, mut closed) = (0, 0);
    while opened < times(2 * AT_ONCE, 10_000) {
        let mut wave = Vec::new();
        for number in 0..AT_ONCE {
            let mut stream = attacker(&served).await.unwrap();
            // Some say a little; who is closed already cannot.
            drop(stream.write_all(&PREFACE[..number % 20]).await);
            wave.push(stream);
        }
        opened += AT_ONCE;
        // All but 16 are closed although nobody leaves.
        for stream in &mut wave {
            let wait = Duration::from_millis(if closed % AT_ONCE < 384 { 200 } else { 1 });
            let read = tokio::time::timeout(wait, stream.read(&mut [0; 64])).await;
            closed += usize::from(!matches!(read, Err(_) | Ok(Ok(1..))));
        }
    }

    assert!(closed >= opened * 9 / 10, "{closed} of {opened}");
    say(&format!("{opened} connections opened and left, {closed} closed by the server"));
    let after = Held::now(market.store.root());
    assert!(after.threads <= before.threads + 4, "{before:?} {after:?}");
    bystander.assert_answered("while connections come").await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_taken_back_by_connection_after_connection_delay_nobody() {
    let market = Market::new(50);
    let served = market.serve().await;
    let bystander = Bystander::new(&served).await;
    let (mut sent, mut connections) = (0, 0);
    while sent < times(3_000, 100_000) {
        let mut stream = attacker(&served).await.unwrap();
        connections += 1;
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        let mut id = 1u32;
        // Until the server hangs up.
        while stream.write_all(&bytes).await.is_ok() && id < 1_000_000 {
            bytes.clear();
            for _ in 0..50 {
                bytes.extend(frame(HEADERS, END_HEADERS, id, &request_to(SCAN)));
                bytes.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
                id += 2;
                sent += 1;
            }
        }
        assert!(id < 1_000_000, "the server let it go on");
    }

    say(&format!("{sent} requests taken back on {connections} connections"));
    until("streams closed", async || open_streams(&served).await == 0).await;
    bystander.assert_answered("while requests are taken back").await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_holds_a_queue_until_the_server_has_no_more_patience() {
    const CLIENTS: u64 = 8;
    let market = Market::new(60_000);
    let served = market.serve().await;
    let bystander = Bystander::new(&served).await;
    let (mut deaf, mut listening) = (Vec::new(), Vec::new());
    for number in 0..CLIENTS {
        let reader = Reader::new(&served).await.unwrap();
        if number % 2 == 0 { deaf.push(reader) } else { listening.push(reader) }
    }
    let mut sent = 0;
    until("full queues", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = served.client.stats().await.unwrap().bytes_sent;
        std::mem::replace(&mut sent, now) == now && open_streams(&served).await == CLIENTS
    })
    .await;
    let before = Held::now(market.store.root());

    // Who reads nothing gives no sign of life either; half of them do.
    let long = times(0, 1) == 1;
    let (mut largest, began) = (before.memory_bytes, Instant::now());
    let mut left_after = Vec::new();
    while if long { left_after.len() < 8 } else { began.elapsed() < Duration::from_secs(1) } {
        for reader in &mut listening {
            let _ = reader.read(Duration::from_millis(10)).await;
        }
        largest = largest.max(Held::now(market.store.root()).memory_bytes);
        let open = open_streams(&served).await as usize;
        left_after.resize(8 - open, began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(120), "{left_after:?}");
    }

    let grown = largest - before.memory_bytes;
    say(&format!("{CLIENTS} take nothing: {grown} bytes more, sent away after {left_after:?}"));
    assert!(grown < 4 << 20, "{grown} bytes");
    // With signs of life the patience is that for a stream, from when its queue was full.
    let patience = Duration::from_millis(limit::RPC_STALL_MS_MAX);
    assert!(!long || left_after[7] + Duration::from_secs(10) > patience, "{left_after:?}");
    bystander.assert_answered("while others take nothing").await;
    drop((deaf, listening));
    until("streams closed", async || open_streams(&served).await == 0).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_hold_no_thread_and_those_beyond_the_limits_are_refused() {
    let market = Market::new(40_000);
    let room = limit::RPC_CONNECTIONS_MAX - 56;
    let options = ServeOptions { connections_per_address: Some(room), ..ServeOptions::default() };
    let served = Served::new(market.store.clone(), options).await;
    let bystander = Bystander::new(&served).await;
    let before = Held::now(market.store.root());
    let readers = times(60, 1_000);
    let admitted = readers.min(room) as u64;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..readers {
        let Ok(mut reader) = Reader::new(&served).await else { continue };
        let stop = Arc::clone(&stop);
        tasks.push(tokio::spawn(async move {
            let (mut taken, every) = (0, Duration::from_millis(times(100, 1_000) as u64));
            while !stop.load(Ordering::Relaxed) {
                taken += reader.read(every / 10).await?;
                reader.allow(1024).await?;
                tokio::time::sleep(every * 9 / 10).await;
            }
            Some(taken)
        }));
    }
    until("all that fit", async || open_streams(&served).await == admitted).await;

    // Nearly as long as the server waits for a part to be taken.
    tokio::time::sleep(Duration::from_secs(times(1, 45) as u64)).await;

    assert_eq!(open_streams(&served).await, admitted, "who reads slowly reads on");
    let after = Held::now(market.store.root());
    assert!(after.threads <= before.threads + 16, "{before:?} {after:?}");
    let each = after.memory_bytes.saturating_sub(before.memory_bytes) / readers.min(room);
    assert!(each < 8 << 20, "{each} bytes a reader");
    stop.store(true, Ordering::Relaxed);
    let mut fed = 0;
    for task in tasks {
        fed += u64::from(task.await.unwrap().is_some_and(|taken| taken > 0));
    }
    say(&format!("{readers} slow readers: {fed} were fed, {each} bytes each, {after:?}"));
    assert_eq!(fed, admitted);
    bystander.assert_answered("while others read slowly").await;
    until("streams closed", async || open_streams(&served).await == 0).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_left_after_their_first_rows_leave_nothing_behind() {
    const TASKS: usize = 8;
    let market = Market::new(60_000);
    let served = market.serve().await;
    let leave = async |client: &Client, number: usize| {
        if number.is_multiple_of(20) {
            let mut scan = client.scan(&ScanQuery::all(btc(), Kind::Book)).await.unwrap();
            scan.next_record_batch().await.unwrap().unwrap();
            return;
        }
        let query = ReplayQuery { frame_rows_max: 100, ..ReplayQuery::all(&[btc(), swap()]) };
        let mut session = client.replay(&query).await.unwrap();
        while !matches!(session.next().await.unwrap(), Some(Event::Frame(_))) {}
    };
    let crowd = async |each: usize| {
        let members = (0..TASKS).map(async |_| {
            let client = Client::connect(&served.url).await.unwrap();
            for number in 0..each {
                leave(&client, number).await;
            }
        });
        futures_util::future::join_all(members).await;
        until("streams closed", async || open_streams(&served).await == 0).await;
        Held::now(market.store.root())
    };
    // The first ones make threads and what the allocator keeps for each.
    let (few, many) = (times(10, 1_000), times(20, 11_500));

    let (before, after) = (crowd(few).await, crowd(many).await);

    say(&format!("{} streams left: before {before:?}, after {after:?}", many * TASKS));
    assert_eq!(after.files, before.files);
    assert!(after.threads <= before.threads + 16, "{before:?} {after:?}");
    let grown = after.memory_bytes.saturating_sub(before.memory_bytes);
    assert!(grown < 96 << 20, "{grown} bytes");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_at_different_places_hear_exactly_their_rows() {
    let market = Market::new(3_000);
    let served = market.serve().await;
    let place = |number: u64| {
        let mut dice = Dice(number);
        let mut place = || TsNs(START + dice.below(3_000) * EVERY_NS);
        (place(), place())
    };
    let query = |number: u64| {
        let from = place(number).0.min(place(number).1);
        let range = from..TsNs::MAX;
        ReplayQuery { range, frame_rows_max: 300, ..ReplayQuery::all(&[btc(), swap()]) }
    };
    let clients = (0..64u64).map(async |number| {
        let client = Client::connect(&served.url).await.unwrap();
        let mut session = client.replay(&query(number)).await.unwrap();
        let mut listener = Listener::new(session.streams());
        // Every other one goes elsewhere when it has heard something.
        if number % 2 == 1 {
            while !matches!(session.next().await.unwrap(), Some(Event::Frame(_))) {}
            let to = place(number).0.max(place(number).1);
            session.controls().seek(to).await.unwrap();
            while !matches!(session.next().await.unwrap(), Some(Event::State(_))) {}
        }
        (number, listener.end(&mut session).await, listener)
    });

    for (number, end, listener) in futures_util::future::join_all(clients).await {
        let mut expected = local(&market.store, &query(number));
        if number % 2 == 1 {
            expected.seek(place(number).0.max(place(number).1)).unwrap();
        }
        expected.play(true, |_| Ok(true)).unwrap();
        listener.assert_same(&end, &expected);
    }
    served.stop().await;
}
