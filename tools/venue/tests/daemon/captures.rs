//! What the daemon records of a capture equals an import of it.

use std::path::{Path, PathBuf};

use tickreel::event::Kind;
use tickreel::ingest::{OpenOptions, Reject, Watch, load, open_all, venues};
use tickreel::store::{ImportOptions, Store};
use tickreel_venue::{Options, Pace, Script, Start, Venue, protocol};

use crate::recorded::{Running, config, eventually, feed, finished, rows_of};

struct Ignore;

impl Watch for Ignore {
    fn progress(&mut self, _: u64, _: u64) -> tickreel::Result<()> {
        Ok(())
    }

    fn reject(&mut self, reject: Reject) -> tickreel::Result<()> {
        Err(reject.error)
    }
}

/// Imports captures as a user would.
fn import(folder: &Path, files: &[PathBuf]) -> Store {
    let store = Store::open_or_create(folder).unwrap();
    let mut import = store.import(ImportOptions::default()).unwrap();
    for mut input in open_all(files, &OpenOptions::default()).unwrap() {
        load(&mut *input.source, &mut import, &mut Ignore).unwrap();
    }
    import.commit().unwrap();
    store
}

/// The files of a capture, or nothing if the captures are absent.
fn data(files: &[&str]) -> Option<Vec<PathBuf>> {
    let folder =
        std::env::var_os("TICKREEL_DATA").map_or("../../../shared/data".into(), PathBuf::from);
    let paths: Vec<_> = files.iter().map(|file| folder.join(file)).collect();
    if paths.iter().all(|path| path.exists()) {
        return Some(paths);
    }
    eprintln!("SKIPPED: tests on real captures, {} is absent", folder.display());
    if let Some(skipped) = std::env::var_os("TICKREEL_SKIPPED") {
        use std::io::Write;
        let file = std::fs::File::options().append(true).create(true).open(skipped);
        writeln!(file.unwrap(), "SKIPPED: the daemon on real captures").unwrap();
    }
    None
}

/// How many books a store has.
fn books(store: &Store) -> u64 {
    let snapshot = store.snapshot().unwrap();
    snapshot.streams().filter(|entry| entry.key.kind == Kind::Book).count() as u64
}

/// Plays `files` to a daemon and compares what it stored of `kinds` with an import.
async fn recorded_equals_imported(exchange: &str, files: &[&str], kinds: &[Kind]) {
    let Some(paths) = data(files) else { return };
    let folder = tempfile::tempdir().unwrap();
    let imported = import(&folder.path().join("imported"), &paths);
    let protocol = protocol::of_exchange(exchange).unwrap();
    let script = Script::of_captures(&*protocol, &paths).unwrap();
    let topics = script.topics.len();
    let options = Options { pace: Pace::FlatOut, start: Start::Go, ..Options::default() };
    let venue = Venue::start(protocol, script, options).await.unwrap();
    let names: Vec<_> = kinds.iter().map(|kind| format!("{:?}", kind.name())).collect();
    let more = format!("kinds = [{}]", names.join(", "));
    let root = folder.path().join("recorded");
    let daemon = Running::start(&root, config(&feed(exchange, &venue, &more)));

    // Snapshots asked for by REST wait for the script to come to them.
    let snapshots = venues::live(exchange).unwrap().snapshot("X").map_or(0, |_| books(&imported));
    eventually(&venue, "begun", |counters| {
        let subscribed: u64 = counters.connections.iter().map(|c| c.subscribed).sum();
        let asked: u64 = counters.requests.values().sum();
        subscribed >= topics as u64 && asked > snapshots
    })
    .await;
    venue.go();
    finished(&venue).await;
    let counters = venue.counters();
    // Every request has an answer.
    let answers: u64 = counters.connections.iter().map(|c| c.texts).sum();
    let played = counters.messages + answers;
    daemon.until("heard", |status| status.feeds[0].messages >= played).await;
    let books = books(&imported);
    daemon.until("whole", |status| status.feeds[0].books_live == books).await;
    let status = daemon.stop().await;

    assert_eq!((status.feeds[0].rejects, status.feeds[0].refusals), (0, 0), "{status:#?}");
    let recorded = Store::open(&root).unwrap().snapshot().unwrap();
    let mut recorded = rows_of(&recorded, kinds);
    let expected = rows_of(&imported.snapshot().unwrap(), kinds);
    let mut rows = 0;
    for (key, expected) in &expected {
        let mut found = recorded.remove(key).unwrap_or_default();
        if key.kind == Kind::Book {
            // The end of the recording.
            let last = found.pop().unwrap_or_default();
            assert!(last.contains("gap"), "{} ends with {last}", key.instrument);
        }
        let first = expected.iter().zip(&found).position(|(a, b)| a != b);
        let around = first.map(|at| (at, &expected[at], &found[at]));
        let counts = (found.len(), expected.len());
        assert_eq!(around, None, "{} {:?} {counts:?}", key.instrument, key.kind);
        assert_eq!(counts.0, counts.1, "{} {:?}", key.instrument, key.kind);
        rows += found.len();
    }
    assert!(recorded.is_empty(), "{:?}", recorded.keys());
    println!("{exchange}: {rows} rows in {} streams as imported", expected.len());
}

#[tokio::test]
async fn binance_usd_m() {
    let files = ["binance-ws/usdm_btcusdt_20230404.dat.gz"];
    let kinds = [Kind::Book, Kind::Trades, Kind::Quotes, Kind::Ticker];
    recorded_equals_imported("binance-futures", &files, &kinds).await;
}

#[tokio::test]
async fn binance_spot() {
    let files = ["binance-ws/spot_btcusdt_20240808.gz"];
    let kinds = [Kind::Book, Kind::Trades, Kind::Quotes];
    recorded_equals_imported("binance", &files, &kinds).await;
}
