//! Two connections of a feed that fail in turns: what is stored is what one that never fails hears.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tickreel::event::{Kind, StreamKey};
use tickreel::ingest::sample::MarketOptions;
use tickreel_venue::{Counters, Fault, Limits, Options, Pace, Script, Start, Venue, protocol};

use crate::recorded::{Running, config, eventually, feed, finished, quiet, rows_of};

type Rows = BTreeMap<StreamKey, Vec<String>>;

/// Messages that both connections hear between two faults, with whole books.
const QUIET_MESSAGES: u64 = 60;

/// A market that never loses a message, and how it is recorded.
struct Market {
    exchange: &'static str,
    kinds: &'static [Kind],
    book_topic: &'static str,
}

impl Market {
    /// A venue that plays `seconds` of it.
    async fn venue(&self, seconds: i64, pace: Pace) -> Venue {
        let protocol = protocol::of_exchange(self.exchange).unwrap();
        let mut market = MarketOptions::new(11).unwrap();
        market.duration_ns = seconds * 1_000_000_000;
        market.instruments.iter_mut().for_each(|instrument| instrument.gaps = 0);
        let (script, _) = Script::of_sample(&*protocol, &market).unwrap();
        let limits = Some(Limits::NONE);
        let options = Options { pace, start: Start::Go, limits, ..Options::default() };
        Venue::start(protocol, script, options).await.unwrap()
    }

    /// A daemon that has subscribed to everything, the script begun.
    async fn record(&self, root: &Path, venue: &Venue, connections: u64) -> Running {
        let kinds: Vec<_> = self.kinds.iter().map(|kind| format!("{:?}", kind.name())).collect();
        let more = format!("kinds = [{}]\nconnections = {connections}", kinds.join(", "));
        let daemon = Running::start(root, config(&feed(self.exchange, venue, &more)));
        // A snapshot that is asked for by REST waits for the script to come to it.
        let asked = if self.is_spliced() { 1 } else { 0 };
        eventually(venue, "subscribed", |counters| {
            let subscribed: u64 = counters.connections.iter().map(|c| c.subscribed).sum();
            let answers: u64 = counters.requests.values().sum();
            subscribed == connections * self.kinds.len() as u64 && answers > asked
        })
        .await;
        if self.is_spliced() && connections > 1 {
            // One snapshot may be asked for every 3 s, longer than it is quiet.
            quiet(venue).await;
            quiet(venue).await;
        }
        venue.go();
        daemon
    }

    fn is_spliced(&self) -> bool {
        self.exchange == "binance"
    }

    /// Snapshots given after the first.
    fn snapshots(&self, counters: &Counters) -> u64 {
        let asked: u64 = counters.requests.values().sum();
        if self.is_spliced() { asked } else { counters.fresh }
    }

    /// Waits until every stream ends as `expected` does; the rows.
    async fn stored(&self, daemon: &Running, expected: &Rows) -> Rows {
        let rows = || rows_of(&daemon.store.snapshot().unwrap(), self.kinds, &[]);
        let is_over = |rows: &Rows| {
            let ends = |rows: Option<&Vec<String>>| rows.and_then(|rows| rows.last().cloned());
            expected.iter().all(|(key, expected)| ends(rows.get(key)) == ends(Some(expected)))
        };
        let wait = async {
            while !is_over(&rows()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let patience = Duration::from_secs(20);
        // What is missing is seen where the rows are compared.
        let _ = tokio::time::timeout(patience, wait).await;
        rows()
    }

    /// What one connection that never fails records.
    async fn truth(&self, root: &Path, seconds: i64) -> Rows {
        let venue = self.venue(seconds, Pace::FlatOut).await;
        let daemon = self.record(root, &venue, 1).await;
        finished(&venue).await;
        let counters = venue.counters();
        let answers: u64 = counters.connections.iter().map(|c| c.texts).sum();
        let played = counters.messages + answers;
        daemon.until("heard", |status| status.feeds[0].messages >= played).await;
        daemon.until("whole", |status| status.feeds[0].books_live == 1).await;
        let store = daemon.store.clone();
        assert_eq!(daemon.stop().await.feeds[0].gaps, 1, "the end of the recording");
        let mut rows = rows_of(&store.snapshot().unwrap(), self.kinds, &[]);
        for (_, rows) in rows.iter_mut().filter(|(key, _)| key.kind == Kind::Book) {
            rows.pop();
        }
        rows
    }
}

/// The venue's sequence number of a row of a book.
fn seq(row: &str) -> Option<i64> {
    row.rsplit_once("Int(")?.1.strip_suffix(')')?.parse().ok()
}

/// Rows of a stream, of a book those after the number `start`.
fn rows_after(key: &StreamKey, rows: &[String], start: Option<i64>) -> Vec<String> {
    let is_old = |row: &&String| key.kind == Kind::Book && seq(row).is_some() && seq(row) <= start;
    rows.iter().filter(|row| !is_old(row)).cloned().collect()
}

async fn fails_in_turns(market: &Market) {
    let (folder, seconds) = (tempfile::tempdir().unwrap(), 70);
    let truth = market.truth(&folder.path().join("truth"), seconds).await;
    let venue = market.venue(seconds, Pace::Times(2.0)).await;
    let root = folder.path().join("recorded");
    let daemon = market.record(&root, &venue, 2).await;

    // Connections 0 and 1 are lost one after the other, then those made in their place each lose
    // messages. Each heals before the other fails.
    let mut asked = Vec::new();
    let both_are_whole = async || {
        daemon.until("whole twice", |status| status.feeds[0].copies_live == 2).await;
        let heard = venue.counters().messages + QUIET_MESSAGES;
        eventually(&venue, "quiet", |counters| counters.messages >= heard).await;
    };
    let topic = || market.book_topic.to_owned();
    let faults = [
        Fault::ResetOne(0),
        Fault::ResetOne(1),
        Fault::Skip { connection: 2, topic: topic(), count: 3 },
        Fault::Skip { connection: 3, topic: topic(), count: 1 },
        Fault::ResetOne(2),
    ];
    for (done, fault) in faults.into_iter().enumerate() {
        both_are_whole().await;
        let before = market.snapshots(&venue.counters());
        asked.push(before);
        venue.fault(&fault).unwrap();
        eventually(&venue, &format!("healed {done}"), |counters| {
            market.snapshots(counters) > before
        })
        .await;
    }
    both_are_whole().await;
    finished(&venue).await;

    let rows = market.stored(&daemon, &truth).await;
    let facts = rows_of(&daemon.store.snapshot().unwrap(), &[Kind::Status], &[]);
    let told = format!("{facts:#?}, asked before each fault: {asked:?}");
    for (key, expected) in &truth {
        // Which of two snapshots comes first, and what it holds already, is the venue's.
        let start = seq(&expected[0]).max(seq(&rows[key][0]));
        let [expected, found] = [expected, &rows[key]].map(|rows| rows_after(key, rows, start));
        assert!(expected.len() > 1000, "{} {:?}", key.instrument, key.kind);
        let first = expected.iter().zip(&found).position(|(a, b)| a != b);
        let around = first.map(|at| (at, &expected[at], &found[at]));
        assert_eq!(around, None, "{} {:?} {told}", key.instrument, key.kind);
        assert_eq!(found.len(), expected.len(), "{} {:?}", key.instrument, key.kind);
    }
    let status = daemon.stats.status().feeds[0].clone();
    let holes = (status.gaps, status.resyncs, status.rejects);
    assert_eq!((holes, status.books_live), ((0, 0, 0), 1), "{status:#?}");
    assert_eq!((status.reconnects, status.connections_up), (3, 2), "{status:#?}");
    let faults = venue.counters().faults;
    assert_eq!(faults, BTreeMap::from([("reset", 3), ("skip", 4)]));
    daemon.stop().await;
    println!("{}: {} rows without a hole", market.exchange, truth.values().flatten().count());
}

#[tokio::test]
async fn a_book_with_rest_snapshots_trades_and_quotes() {
    let kinds = &[Kind::Book, Kind::Trades, Kind::Quotes];
    let market = Market { exchange: "binance", kinds, book_topic: "btcusdt@depth@100ms" };
    fails_in_turns(&market).await;
}

#[tokio::test]
async fn a_book_with_checksums_and_quotes() {
    let kinds = &[Kind::Book, Kind::Quotes];
    let market = Market { exchange: "okex", kinds, book_topic: "books:BTC-USDT" };
    fails_in_turns(&market).await;
}

#[tokio::test]
async fn prints_that_one_connection_loses_in_silence_are_had_from_the_other() {
    let kinds = &[Kind::Book, Kind::Trades];
    let market = Market { exchange: "binance", kinds, book_topic: "btcusdt@depth@100ms" };
    let (folder, seconds) = (tempfile::tempdir().unwrap(), 30);
    let truth = market.truth(&folder.path().join("truth"), seconds).await;
    let venue = market.venue(seconds, Pace::Times(6.0)).await;
    let daemon = market.record(&folder.path().join("recorded"), &venue, 2).await;
    daemon.until("whole twice", |status| status.feeds[0].copies_live == 2).await;

    // One of them is the one whose prints are stored.
    for (connection, skipped) in [(0, 3), (1, 6)] {
        let heard = venue.counters().messages + QUIET_MESSAGES;
        eventually(&venue, "quiet", |counters| counters.messages >= heard).await;
        let topic = "btcusdt@trade".to_owned();
        venue.fault(&Fault::Skip { connection, topic, count: 3 }).unwrap();
        eventually(&venue, "skipped", |counters| counters.faults.get("skip") == Some(&skipped))
            .await;
    }
    finished(&venue).await;
    let key = truth.keys().find(|key| key.kind == Kind::Trades).unwrap();
    let sorted = |rows: &Rows| {
        // Those that came late stand after those that were stored meanwhile.
        let mut rows = rows.get(key).cloned().unwrap_or_default();
        rows.sort();
        rows
    };
    let count = truth[key].len();
    let stored = || rows_of(&daemon.store.snapshot().unwrap(), &[Kind::Trades], &[]);
    let all = async {
        while stored().get(key).is_none_or(|rows| rows.len() < count) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // What is missing is seen where the rows are compared.
    let _ = tokio::time::timeout(Duration::from_secs(20), all).await;

    let found = stored();
    assert!(count > 100 && sorted(&found) == sorted(&truth), "{count}, {}", found[key].len());
    let facts = rows_of(&daemon.store.snapshot().unwrap(), &[Kind::Status], &[]);
    let facts: Vec<_> = facts.into_values().flatten().collect();
    assert!(!facts.iter().any(|fact| fact.contains("gap")), "{facts:#?}");
    assert_eq!(daemon.stop().await.feeds[0].reconnects, 0);
}
