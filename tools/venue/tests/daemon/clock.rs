//! The wall clock is set in the middle of a recording: nothing is lost, receive times stay in
//! order, and the store says what happened.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Instant;

use tickreel::TsNs;
use tickreel::event::Kind;
use tickreel::ingest::daemon::WallClock;
use tickreel::ingest::daemon::stats::FeedStatus;
use tickreel::ingest::sample::{MarketOptions, write_captures};
use tickreel::store::{Snapshot, Store};
use tickreel_venue::Pace;

use crate::captures::{Differs, compare, import};
use crate::faults::{BINANCE, Market, OKX};
use crate::recorded::{Running, batches, config, feed, finished, quiet, rows_of};

const KINDS: &[Kind] = &[Kind::Book, Kind::Trades, Kind::Quotes];
const SECONDS: i64 = 6;
const HOUR_S: f64 = 3600.0;

/// A wall clock that a test sets. It begins a minute before the market, which is done before it has
/// caught up: nothing is heard late but by a step.
#[derive(Clone)]
struct Wall {
    began: Instant,
    start: TsNs,
    set_ns: Arc<AtomicI64>,
}

impl Wall {
    fn at(start: TsNs) -> Self {
        let start = TsNs(start.0 - 60_000_000_000);
        Self { began: Instant::now(), start, set_ns: Arc::default() }
    }

    fn step(&self, seconds: f64) {
        self.set_ns.fetch_add((seconds * 1e9) as i64, Relaxed);
    }

    fn clock(&self) -> WallClock {
        let wall = self.clone();
        WallClock::new(move || {
            let elapsed = wall.began.elapsed().as_nanos() as i64;
            TsNs(wall.start.0 + elapsed + wall.set_ns.load(Relaxed))
        })
    }
}

/// An import of the captures of a market.
fn imported(folder: &Path, options: &MarketOptions) -> Store {
    let path = |name: &str| -> PathBuf { folder.join(name) };
    let open = |name: &str| Ok(Box::new(std::fs::File::create(path(name)).unwrap()) as Box<_>);
    let open = |name: &str| open(name).map(|file: Box<dyn Write + Send>| file);
    let captures = write_captures(options, open, |_| {}).unwrap();
    let files: Vec<_> = captures.files.iter().map(|file| path(&file.name)).collect();
    import(&folder.join("imported"), &files)
}

/// Receive times of all streams: in order, and going on. The first and the last.
fn span(snapshot: &Snapshot) -> (i64, i64) {
    let (mut first, mut newest) = (i64::MAX, i64::MIN);
    for entry in snapshot.streams() {
        let times = batches(snapshot, &entry.key);
        let times: Vec<_> = times.iter().flat_map(|batch| batch.ts_recv()).collect();
        assert!(times.is_sorted(), "{}", entry.key);
        // Times that were put in order afterwards would stand still.
        let still = times.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap_or(0);
        assert!(times.len() < 100 || still < times.len() / 10, "{}: {still}", entry.key);
        first = first.min(*times[0]);
        newest = newest.max(*times[times.len() - 1]);
    }
    (first, newest)
}

/// The steps that the store tells of the instrument, in seconds.
fn told(snapshot: &Snapshot) -> Vec<f64> {
    let facts = rows_of(snapshot, &[Kind::Status], &[]).into_values().flatten();
    let step = |fact: String| {
        let size = fact.split_once("wall clock set by ")?.1.strip_suffix(" s")?.parse();
        Some(size.unwrap())
    };
    facts.filter_map(step).collect()
}

fn assert_steps(told: &[f64], expected: &[f64]) {
    let near = |(told, expected): (&f64, &f64)| (told - expected).abs() < 0.25;
    let holds = told.len() == expected.len() && told.iter().zip(expected).all(near);
    assert!(holds, "{told:?}, expected {expected:?}");
}

/// What came of a recording in which the clock was set.
struct Outcome {
    feed: FeedStatus,
    /// From the first receive time to the last, in seconds.
    span_s: f64,
}

/// Sets the clock by `steps`, in seconds, when a third of the market was heard and when half was.
async fn recorded(market: &Market, connections: u64, steps: [f64; 2]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let options = market.options(SECONDS);
    let imported = imported(folder.path(), &options).snapshot().unwrap();
    let expected = rows_of(&imported, KINDS, &[]);
    let messages: u64 = imported.stream_infos().into_iter().map(|info| info.messages).sum();
    let venue = market.playing(SECONDS, Pace::Times(1.0)).await;
    let wall = Wall::at(options.start);
    let more = format!("kinds = [\"book\", \"trades\", \"quotes\"]\nconnections = {connections}");
    let root = folder.path().join("recorded");
    let text = feed(market.exchange, &venue, &more);
    let daemon = Running::by(wall.clock(), &root, config(&text));
    quiet(&venue).await;
    venue.go();
    daemon.until("whole", |status| status.feeds[0].copies_live == connections).await;

    for (heard, step) in [messages / 3, messages / 2].into_iter().zip(steps) {
        let heard = heard * connections;
        daemon.until("played", |status| status.feeds[0].messages >= heard).await;
        wall.step(step);
    }
    finished(&venue).await;
    market.agrees(&daemon, &venue, "set").await;
    let counters = venue.counters();
    let played = counters.messages + counters.connections.iter().map(|c| c.texts).sum::<u64>();
    daemon.until("heard", |status| status.feeds[0].messages >= played).await;
    let status = daemon.stop().await;

    let snapshot = Store::open(&root).unwrap().snapshot().unwrap();
    let rows = compare(expected, rows_of(&snapshot, KINDS, &[]), Differs::default());
    assert!(rows > 1000, "{rows}");
    assert_steps(&told(&snapshot), &steps);
    let (first, last) = span(&snapshot);
    let feed = status.feeds[0].clone();
    let faults = (feed.clock_steps, feed.rejects, feed.rows_lost, feed.reconnects, feed.resyncs);
    assert_eq!(faults, (2, 0, 0, 0, 0), "{feed:#?}");
    assert_eq!(feed.gaps, 1, "the end of the recording");
    assert!(status.durable_lag_p99_ms < 60_000, "{status:#?}");
    Outcome { feed, span_s: (last - first) as f64 / 1e9 }
}

async fn back_and_forth(market: &Market, connections: u64) {
    let outcome = recorded(market, connections, [-HOUR_S, HOUR_S]).await;
    assert!(outcome.feed.event_lag_p99_ms < 60_000, "{:#?}", outcome.feed);
    assert!(outcome.span_s < HOUR_S / 2.0, "{}", outcome.span_s);
}

async fn forth_and_back(market: &Market, connections: u64) {
    let outcome = recorded(market, connections, [HOUR_S, -HOUR_S]).await;
    // While it was an hour ahead everything seemed an hour old, and nothing before and after.
    assert!(outcome.feed.event_lag_p50_ms < 60_000, "{:#?}", outcome.feed);
    assert!(outcome.span_s > HOUR_S, "{}", outcome.span_s);
}

#[tokio::test]
async fn set_back_and_forth() {
    back_and_forth(&OKX, 1).await;
}

#[tokio::test]
async fn set_forth_and_back() {
    forth_and_back(&OKX, 1).await;
}

#[tokio::test]
async fn set_back_and_forth_with_rest_snapshots() {
    back_and_forth(&BINANCE, 1).await;
}

#[tokio::test]
async fn set_forth_and_back_with_two_connections() {
    forth_and_back(&OKX, 2).await;
}

#[tokio::test]
async fn set_back_between_two_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let venue = OKX.playing(SECONDS, Pace::Times(1.0)).await;
    let wall = Wall::at(OKX.options(SECONDS).start);
    let text = feed(OKX.exchange, &venue, "kinds = [\"book\", \"quotes\"]");
    let daemon = Running::by(wall.clock(), folder.path(), config(&text));
    quiet(&venue).await;
    venue.go();
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;
    daemon.stop().await;
    let before = span(&Store::open(folder.path()).unwrap().snapshot().unwrap());

    wall.step(-HOUR_S);
    let daemon = Running::by(wall.clock(), folder.path(), config(&text));
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;
    finished(&venue).await;
    OKX.agrees(&daemon, &venue, "set back").await;
    let feed = daemon.stop().await.feeds[0].clone();

    let snapshot = Store::open(folder.path()).unwrap().snapshot().unwrap();
    let after = span(&snapshot);
    // Time passes, at half speed.
    let passed_s = (after.1 - before.1) as f64 / 1e9;
    assert!(after.0 == before.0 && passed_s > 0.5 && passed_s < HOUR_S / 2.0, "{passed_s}");
    assert_eq!((feed.clock_steps, feed.rows_lost, feed.reconnects), (1, 0, 0), "{feed:#?}");
    let told = told(&snapshot);
    assert!(told.len() == 1 && (told[0] + HOUR_S).abs() < HOUR_S / 2.0, "{told:?}");
}
