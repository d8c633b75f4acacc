//! A server and its clients on loopback: rows per second of replays and scans as fast as possible,
//! how punctual paced ones are, what a client costs, and how long a book takes to come.
//!
//! `cargo bench --no-default-features --features rpc --bench serve [-- MESSAGES]`. Server and
//! client are threads of one process and share its cores. `hash` is the content hash that the
//! client made of what it heard; where it is compared, it equals the server's.
#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints figures")]

use std::time::{Duration, Instant};

use tickreel::event::{BatchBuilder, ContentHash, Kind, MessageHead, Side, StreamKey};
use tickreel::replay::ReplayOrder;
use tickreel::rpc::{
    BookQuery, Client, Event, Output, ReplayQuery, RowForm, ScanQuery, ServeOptions, Speed, serve,
};
use tickreel::store::{ImportOptions, Store};
use tickreel::{Decimal, Instrument, TsNs};

/// Receive time of the first message.
const START: i64 = 1_723_118_400_000_000_000;
/// Nanoseconds between two messages.
const EVERY_NS: i64 = 10_000;
/// Runs of each figure; the best counts.
const RUNS: usize = 3;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let messages = arguments.next().map_or(1_000_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path().join("bench.reel")).unwrap();
    let (one, other) = (instrument("a:ONE"), instrument("b:OTHER"));
    fill(&store, &[one.clone(), other.clone()], messages, EVERY_NS);
    let paced = instrument("c:PACED");
    fill(&store, std::slice::from_ref(&paced), 320_000, 1_000_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let never = std::future::pending();
        tokio::spawn(serve(store.clone(), listener, ServeOptions::default(), never));
        let client = Client::connect(&url).await.unwrap();
        let single = ReplayQuery { hash: false, ..ReplayQuery::all(std::slice::from_ref(&one)) };
        let merged = ReplayQuery { hash: false, ..ReplayQuery::all(&[one.clone(), other]) };
        replay("replay, one stream", &client, &single, false).await;
        let arrow = ReplayQuery { form: RowForm::Arrow, ..single.clone() };
        replay("replay, one stream, Arrow", &client, &arrow, false).await;
        replay("replay, two streams merged", &client, &merged, false).await;
        let hashed = ReplayQuery { hash: true, ..single };
        replay("replay, one stream, hashed", &client, &hashed, true).await;
        let event = ReplayQuery { order: ReplayOrder::Event, ..merged.clone() };
        replay("replay, merged by event time", &client, &event, false).await;
        let metrics = ReplayQuery { output: Output::metrics(), ..merged.clone() };
        books_replay("replay, metrics", &client, &metrics).await;
        for clients in [4, 16] {
            side_by_side(&client, &url, &merged, clients).await;
        }
        for speed in [1.0, 100.0] {
            pacing(&client, &ReplayQuery::all(std::slice::from_ref(&paced)), speed).await;
        }
        memory(&url, &merged).await;
        scan(&client, &one).await;
        books(&client, &one, messages).await;
    });
}

fn instrument(name: &str) -> Instrument {
    Instrument::parse(name).unwrap()
}

/// Books around a price, 3.5 rows in a message.
fn fill(store: &Store, instruments: &[Instrument], messages: i64, every_ns: i64) {
    let mut import = store.import(ImportOptions::default()).unwrap();
    for (seed, instrument) in (1..).zip(instruments) {
        let key = StreamKey { instrument: instrument.clone(), kind: Kind::Book };
        let mut random = seed;
        let mut below = |end: i64| {
            random = (random * 0x5851_F42D % 0x7FFF_FFFF) ^ 0x1234;
            random % end
        };
        let mut builder = BatchBuilder::new(Kind::Book);
        for at in 0..messages {
            builder.begin(MessageHead {
                ts_recv: TsNs(START + at * every_ns + below(every_ns)),
                ts_event: Some(TsNs(START + at * every_ns - below(4_000_000))),
                venue_seq: Some(at * 3),
                snapshot: at == 0,
            });
            for _ in 0..2 + below(4) {
                let side = if below(2) == 0 { Side::Bid } else { Side::Ask };
                let span = 1 + below(1000);
                let away = below(span);
                let price = if side == Side::Bid { 600_000 - away } else { 600_001 + away };
                let qty = if below(3) == 0 { 0 } else { below(90_000) };
                builder.level(side, exact(price, 1), exact(qty, 3));
            }
            builder.end();
            if builder.rows() >= 65_536 || at + 1 == messages {
                for batch in builder.finish().unwrap() {
                    import.append(&key, &batch).unwrap();
                }
                builder = BatchBuilder::new(Kind::Book);
            }
        }
    }
    import.commit().unwrap();
}

fn exact(value: i64, scale: u8) -> Decimal {
    Decimal::new(value, scale).unwrap()
}

async fn replay(name: &str, client: &Client, query: &ReplayQuery, hashed: bool) {
    let (mut best, mut rows, mut bytes) = (Duration::MAX, 0, 0);
    let mut hash = ContentHash::EMPTY;
    for _ in 0..RUNS {
        let before = client.stats().await.unwrap().bytes_sent;
        let started = Instant::now();
        let mut session = client.replay(query).await.unwrap();
        hash = ContentHash::EMPTY;
        rows = 0;
        while let Some(event) = session.next().await.unwrap() {
            match event {
                Event::Frame(frame) => {
                    rows += frame.rows;
                    for (_, batch) in frame.chunks.iter().filter(|_| hashed) {
                        hash.update_all(batch);
                    }
                }
                Event::End(end) => {
                    assert_eq!(end.rows, rows);
                    assert!(!hashed || end.streams[0].hash == hash);
                    break;
                }
                _ => {}
            }
        }
        best = best.min(started.elapsed());
        bytes = client.stats().await.unwrap().bytes_sent - before;
    }
    line(name, rows, bytes, best, hash);
}

async fn books_replay(name: &str, client: &Client, query: &ReplayQuery) {
    let before = client.stats().await.unwrap().bytes_sent;
    let started = Instant::now();
    let mut session = client.replay(query).await.unwrap();
    let rows = loop {
        if let Some(Event::End(end)) = session.next().await.unwrap() {
            break end.rows;
        }
    };
    let took = started.elapsed();
    let bytes = client.stats().await.unwrap().bytes_sent - before;
    line(name, rows, bytes, took, ContentHash::EMPTY);
}

/// So many clients, each on a connection of its own, play the same at once.
async fn side_by_side(watcher: &Client, url: &str, query: &ReplayQuery, clients: usize) {
    let before = watcher.stats().await.unwrap().bytes_sent;
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let (url, query) = (url.to_owned(), query.clone());
        tasks.push(tokio::spawn(async move {
            let client = Client::connect(&url).await.unwrap();
            let mut session = client.replay(&query).await.unwrap();
            loop {
                if let Some(Event::End(end)) = session.next().await.unwrap() {
                    return end.rows;
                }
            }
        }));
    }
    let mut rows = 0;
    for task in tasks {
        rows += task.await.unwrap();
    }
    let name = format!("replay, {clients} clients together");
    let took = started.elapsed();
    let bytes = watcher.stats().await.unwrap().bytes_sent - before;
    line(&name, rows, bytes, took, ContentHash::EMPTY);
}

/// How late messages are at the client, against the one that was earliest: three seconds of it.
async fn pacing(client: &Client, query: &ReplayQuery, speed: f64) {
    let query = ReplayQuery { speed: Speed::times(speed).unwrap(), ..query.clone() };
    let mut session = client.replay(&query).await.unwrap();
    let started = Instant::now();
    let mut late = Vec::new();
    while started.elapsed() < Duration::from_secs(3) {
        let Some(event) = session.next().await.unwrap() else { break };
        let now_ns = started.elapsed().as_nanos() as f64;
        match event {
            Event::Frame(frame) => {
                for step in frame.steps() {
                    let times = &step.batch.ts_recv()[step.messages];
                    late.extend(times.iter().map(|ts| now_ns - (ts - START) as f64 / speed));
                }
            }
            Event::End(_) => break,
            _ => {}
        }
    }
    late.sort_by(f64::total_cmp);
    let part = |share: f64| (late[(late.len() as f64 * share) as usize] - late[0]) / 1e6;
    println!(
        "pacing at {speed}x, {} messages late by: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
        late.len(),
        part(0.5),
        part(0.99),
        part(0.999)
    );
    let (mut from, mut text) = (0.0, String::new());
    for to in [0.25, 0.5, 1.0, 2.0, 5.0, f64::INFINITY] {
        let inside = |ns: &&f64| (from..to).contains(&((**ns - late[0]) / 1e6));
        let share = late.iter().filter(inside).count() as f64 * 100.0 / late.len() as f64;
        text += &format!("  under {to} ms {share:.2} %");
        from = to;
    }
    println!("  {}", text.replace("under inf ms", "later"));
}

/// Memory of the process per client that has opened a replay at full speed and reads nothing.
async fn memory(url: &str, query: &ReplayQuery) {
    const CLIENTS: u64 = 16;
    let before = resident_bytes();
    let mut sessions = Vec::new();
    for _ in 0..CLIENTS {
        let client = Client::connect(url).await.unwrap();
        sessions.push(client.replay(query).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = resident_bytes().saturating_sub(before) / CLIENTS;
    println!("memory per client that reads nothing, both ends: {:.1} MiB", each as f64 / 1048576.0);
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

async fn scan(client: &Client, instrument: &Instrument) {
    let (mut best, mut rows, mut bytes) = (Duration::MAX, 0, 0);
    for _ in 0..RUNS {
        let before = client.stats().await.unwrap().bytes_sent;
        let query = ScanQuery { hash: false, ..ScanQuery::all(instrument.clone(), Kind::Book) };
        let started = Instant::now();
        let mut scan = client.scan(&query).await.unwrap();
        rows = 0;
        while let Some(batch) = scan.next_record_batch().await.unwrap() {
            rows += batch.num_rows() as u64;
        }
        best = best.min(started.elapsed());
        bytes = client.stats().await.unwrap().bytes_sent - before;
    }
    line("scan, record batches", rows, bytes, best, ContentHash::EMPTY);
}

fn line(name: &str, rows: u64, bytes: u64, best: Duration, hash: ContentHash) {
    let rate = rows as f64 / best.as_secs_f64() / 1e6;
    let each = bytes as f64 / rows as f64;
    let per_second = bytes as f64 / best.as_secs_f64() / 1e6;
    println!(
        "{name:28} {rows:>10} rows {rate:>6.1} M rows/s {per_second:>6.0} MB/s {each:>5.1} \
         bytes/row  hash {hash}"
    );
}

async fn books(client: &Client, instrument: &Instrument, messages: i64) {
    let mut took = Vec::new();
    let mut random = 7u64;
    for _ in 0..3000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = i64::try_from(random >> 33).unwrap() % messages;
        let at = TsNs(START + at * EVERY_NS);
        let query = BookQuery { instrument: instrument.clone(), at, depth: Some(20) };
        let started = Instant::now();
        assert!(!client.book(&query).await.unwrap().bids.is_empty());
        took.push(started.elapsed());
    }
    took.sort();
    let part = |n: usize| took[took.len() * n / 100].as_secs_f64() * 1e3;
    println!(
        "book at a random time, 20 levels: p50 {:.3} ms, p95 {:.3} ms, p99 {:.3} ms",
        part(50),
        part(95),
        part(99)
    );
}
