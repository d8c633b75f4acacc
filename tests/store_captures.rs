//! Books read back from a store agree with what the venues published beside them.
//!
//! `tests/captures.rs` judges the rows that dialects make; here the same oracles judge what comes
//! out of segments: after each message in a replay, and by seeks.

#![cfg(feature = "ingest")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures and skipped captures")]

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::path::{Path, PathBuf};

use tickreel::book::{State, Tracker};
use tickreel::compact::{self, Selection};
use tickreel::event::{FLAG_SNAPSHOT, Side, StreamKey, book, quotes};
use tickreel::ingest::{Input, OpenOptions, Reject, Watch, checksum, load, open_all};
use tickreel::segment::{ColumnMask, WriterOptions};
use tickreel::store::{ImportOptions, LiveOptions, Snapshot, Store};
use tickreel::{Decimal, Instrument, Kind, Result, TsNs};

/// The folder with the captures; says so where there is none.
fn data(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TICKREEL_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if !path.is_dir() {
        eprintln!("SKIPPED: {} is not there; set TICKREEL_DATA", path.display());
        return None;
    }
    Some(path)
}

struct NoRejects;

impl Watch for NoRejects {
    fn progress(&mut self, _bytes_read: u64, _rows: u64) -> Result<()> {
        Ok(())
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        Err(reject.error)
    }
}

/// What a compaction must leave as it is.
fn answers(snapshot: &Snapshot) -> Vec<String> {
    let mut answers = Vec::new();
    for instrument in snapshot.instruments() {
        answers.push(format!("{:?}", snapshot.coverage(&instrument).unwrap()));
    }
    for info in snapshot.stream_infos() {
        let (first, last) = (info.first.0, info.last.0);
        answers.push(format!("{} {} {first} {last} {:?}", info.key, info.messages, info.hash));
        if info.key.kind != Kind::Book {
            continue;
        }
        for at in (first - 1..=last).step_by(usize::try_from((last - first) / 60 + 1).unwrap()) {
            let mut books = snapshot.books(&info.key.instrument).unwrap();
            let tracker = books.at(TsNs(at)).unwrap().clone();
            let levels = [Side::Bid, Side::Ask].map(|side| texts(&tracker, side, books.digits()));
            let head = (tracker.state(), tracker.ts_recv(), tracker.venue_seq());
            answers.push(format!("{head:?} {levels:?}"));
        }
    }
    let keys: Vec<_> = snapshot.stream_infos().into_iter().map(|info| info.key).collect();
    let mut replay = snapshot.replay(&keys, TsNs::MIN..TsNs::MAX).unwrap();
    while let Some(step) = replay.step(usize::MAX).unwrap() {
        let (stream, messages) = (step.stream, step.messages());
        replay.accept(stream, messages, true).unwrap();
    }
    answers.push(format!("{:?}", replay.total()));
    answers
}

/// Compacts a store, by which no answer changes.
fn compacted(store: &Store) -> Snapshot {
    let before = store.snapshot().unwrap();
    let expected = answers(&before);
    let tasks = compact::plan(&before, &Selection::default());
    drop(before);
    let mut writer = store.writer(LiveOptions::default()).unwrap();
    for task in tasks {
        let options = WriterOptions { checkpoint_rows: Some(2048), ..WriterOptions::default() };
        let done = writer.rewrite(&task.segments, options, &mut |_| Ok(())).unwrap();
        println!("{} {}: {} -> {} B", task.key, task.day, done.bytes_before, done.bytes_after);
    }
    drop(writer);
    let snapshot = store.snapshot().unwrap();
    assert!(answers(&snapshot) == expected, "another answer");
    snapshot
}

/// Imports files into a new store and compacts it; small checkpoint spacing so that seeks meet
/// many of them.
fn imported(folder: &Path, files: &[&str]) -> (tempfile::TempDir, Snapshot) {
    let paths: Vec<_> = files.iter().map(|name| folder.join(name)).collect();
    let place = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(place.path()).unwrap();
    let writer = WriterOptions { checkpoint_rows: Some(2048), ..WriterOptions::default() };
    let mut import = store.import(ImportOptions { replace: false, writer }).unwrap();
    for mut input in open_all(&paths, &OpenOptions::default()).unwrap() {
        load(&mut *input.source, &mut import, &mut NoRejects).unwrap();
    }
    import.commit().unwrap();
    let snapshot = compacted(&store);
    (place, snapshot)
}

type Best = Option<(Decimal, Decimal)>;

fn best(tracker: &Tracker) -> (Best, Best) {
    let book = tracker.book();
    let side = |side| {
        let (price, qty) = book.best(side)?;
        let price = Decimal::new(price, book.price_scale())?;
        Some((price, Decimal::new(qty, book.qty_scale())?))
    };
    (side(Side::Bid), side(Side::Ask))
}

/// Best prices as the venue published them, by update id.
fn published(snapshot: &Snapshot, instrument: &Instrument) -> Vec<(i64, (Best, Best))> {
    let range = TsNs::MIN..TsNs::MAX;
    let mut scan = snapshot.scan(instrument, Kind::Quotes, range, ColumnMask::ALL).unwrap();
    let mut published = Vec::new();
    while let Some(batch) = scan.next_batch().unwrap() {
        let side = |row: usize, price: usize, qty: usize| {
            let value = |at: usize| Decimal::new(batch.i64s(at)[row], batch.scale(at));
            Some((value(price)?, value(qty)?))
        };
        for row in 0..batch.rows() {
            published.push((
                batch.i64s(quotes::VENUE_SEQ)[row],
                (
                    side(row, quotes::BID_PRICE, quotes::BID_QTY),
                    side(row, quotes::ASK_PRICE, quotes::ASK_QTY),
                ),
            ));
        }
    }
    published.sort_by_key(|(update, _)| *update);
    published
}

/// Plays a book stream message by message; `each` sees the message's time, sequence, flags and the
/// book after it.
fn each_message(
    snapshot: &Snapshot,
    instrument: &Instrument,
    mut each: impl FnMut(TsNs, i64, u8, &Tracker),
) {
    let key = StreamKey { instrument: instrument.clone(), kind: Kind::Book };
    let mut replay = snapshot.replay(&[key], TsNs::MIN..TsNs::MAX).unwrap();
    while let Some(step) = replay.step(1).unwrap() {
        let (messages, batch) = (step.messages(), step.batch);
        let ts = TsNs(batch.ts_recv()[messages.start]);
        let sequence = batch.i64s(book::VENUE_SEQ)[messages.start];
        let flags = batch.u8s(book::FLAGS)[messages.start];
        replay.accept(0, messages, false).unwrap();
        each(ts, sequence, flags, replay.book(0).unwrap());
    }
}

#[test]
fn stored_binance_books_agree_with_what_binance_published() {
    let Some(folder) = data("binance-ws") else { return };
    type Case = (&'static [&'static str], &'static str, (usize, usize));
    let cases: [Case; 5] = [
        (&["usdm_btcusdt_20240808.gz"], "binance-futures:BTCUSDT", (6547, 6547)),
        (&["usdm_ethusdt_20240808.gz"], "binance-futures:ETHUSDT", (6580, 6580)),
        (
            &["cm_btcusd_perp_20240808.gz", "cm_btcusd_perp_20240809.gz"],
            "binance-delivery:BTCUSD_PERP",
            (44_772, 44_772),
        ),
        (&["usdm_btcusdt_20230404.dat.gz"], "binance-futures:BTCUSDT", (4322, 4322)),
        (
            &["spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"],
            "binance:BTCUSDT",
            (6491, 6493),
        ),
    ];
    for (files, name, expected) in cases {
        let (_place, snapshot) = imported(&folder, files);
        let instrument = Instrument::parse(name).unwrap();
        let published = published(&snapshot, &instrument);
        let agrees = |sequence: i64, tracker: &Tracker| {
            let upto = published.partition_point(|(update, _)| *update <= sequence);
            upto.checked_sub(1).map(|at| published[at].1 == best(tracker))
        };

        let (mut agreed, mut compared) = (0, 0);
        let mut last_of_time = BTreeMap::new();
        each_message(&snapshot, &instrument, |ts, sequence, flags, tracker| {
            assert_eq!(tracker.state(), State::Live);
            if flags & FLAG_SNAPSHOT == 0
                && let Some(agrees) = agrees(sequence, tracker)
            {
                compared += 1;
                agreed += usize::from(agrees);
                last_of_time.insert(ts, (sequence, agrees));
            }
        });
        println!("{name} {files:?}: {agreed} of {compared}");
        assert_eq!((agreed, compared), expected, "{files:?}");

        // The same by seeks, in an order that jumps about.
        let mut books = snapshot.books(&instrument).unwrap();
        let times: Vec<_> = last_of_time.into_iter().collect();
        for step in 0..times.len() {
            let (ts, (sequence, expected)) = times[step * 7919 % times.len()];
            let tracker = books.at(ts).unwrap();
            assert_eq!(tracker.venue_seq(), Some(sequence));
            assert_eq!(agrees(sequence, tracker), Some(expected), "at {ts}");
        }
    }
}

/// Levels of one side as text with the venue's digits, best first.
fn texts(tracker: &Tracker, side: Side, digits: (u8, u8)) -> Vec<(String, String)> {
    let book = tracker.book();
    book.levels(side)
        .take(100)
        .map(|(price, qty)| {
            let price = Decimal::new(price, book.price_scale()).unwrap();
            let qty = Decimal::new(qty, book.qty_scale()).unwrap();
            (price.to_text_with_digits(digits.0), qty.to_text_with_digits(digits.1))
        })
        .collect()
}

/// The text of every message of a capture that comes from the venue.
fn messages(path: &Path) -> Vec<String> {
    let input = Input::open(path).unwrap();
    let mut found = Vec::new();
    for line in input.lines() {
        let line = line.unwrap();
        if let Some(rest) = line.strip_prefix("{\"t\":\"recv\"") {
            let object: serde_json::Value =
                serde_json::from_str(&format!("{{\"t\":\"recv\"{rest}")).unwrap();
            found.extend(object["data"].as_str().map(str::to_owned));
        } else if let Some((_, message)) = line.split_once(": ")
            && message.starts_with(['{', '['])
            && !line.starts_with("wss")
        {
            found.push(message.to_owned());
        }
    }
    found
}

/// Every checksum that OKX sent, per instrument, in order. A message without levels leaves no row;
/// its checksum must be the one before it.
fn okx_checksums(path: &Path) -> (HashMap<String, Vec<i64>>, usize) {
    let mut found: HashMap<String, Vec<i64>> = HashMap::new();
    let mut empty = 0;
    for message in messages(path) {
        let message: serde_json::Value = serde_json::from_str(&message).unwrap();
        let Some(instrument) = message["arg"]["instId"].as_str() else { continue };
        for data in message["data"].as_array().into_iter().flatten() {
            let Some(checksum) = data["checksum"].as_i64() else { continue };
            let sent = found.entry(instrument.to_owned()).or_default();
            let levels = |side: &str| data[side].as_array().map_or(0, Vec::len);
            if levels("bids") + levels("asks") == 0 {
                assert_eq!(sent.last(), Some(&checksum), "{instrument}");
                empty += 1;
            } else {
                sent.push(checksum);
            }
        }
    }
    (found, empty)
}

#[test]
fn every_okx_checksum_matches_on_books_read_back() {
    let Some(folder) = data("okx-ws") else { return };
    for (file, expected) in [("OKX.jsonl.zst", 290), ("OKX_20220227_books-l2-tbt.ws.zst", 3679)] {
        let (sent, empty) = okx_checksums(&folder.join(file));
        let (_place, snapshot) = imported(&folder, &[file]);
        let mut matched = 0;
        for instrument in snapshot.instruments() {
            if snapshot.stream_id(&instrument, Kind::Book).is_err() {
                continue;
            }
            let checksums = &sent[instrument.symbol()];
            let mut at = 0;
            each_message(&snapshot, &instrument, |_, _, _, tracker| {
                let bids = texts(tracker, Side::Bid, (0, 0));
                let asks = texts(tracker, Side::Ask, (0, 0));
                let found = checksum::okx(bids, asks);
                assert_eq!(i64::from(found), checksums[at], "{instrument}, message {at}");
                at += 1;
            });
            assert_eq!(at, checksums.len(), "{instrument}");
            matched += at;
        }
        println!("{file}: {matched} checksums and {empty} of messages without levels");
        assert_eq!(matched + empty, expected, "{file}");
    }
}

/// Checksums by exchange and symbol, in order.
type Sums = HashMap<(&'static str, String), Vec<i64>>;

/// Every checksum that Bitget sent.
fn bitget_checksums(path: &Path) -> Sums {
    let mut found = Sums::new();
    for message in messages(path) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(&message) else { continue };
        let Some(checksum) = message["data"][0]["checksum"].as_i64() else { continue };
        let spot = message["arg"]["instType"] == "sp";
        let exchange = if spot { "bitget" } else { "bitget-futures" };
        let symbol = message["arg"]["instId"].as_str().unwrap().to_owned();
        found.entry((exchange, symbol)).or_default().push(checksum);
    }
    found
}

#[test]
fn every_bitget_checksum_matches_on_books_read_back() {
    let Some(folder) = data("bitget-ws") else { return };
    let file = "BITGET.jsonl.zst";
    let (_place, snapshot) = imported(&folder, &[file]);
    let mut matched = 0;
    for ((exchange, symbol), checksums) in bitget_checksums(&folder.join(file)) {
        let instrument = Instrument::new(exchange, &symbol).unwrap();
        let mut books = snapshot.books(&instrument).unwrap();
        books.at(TsNs::MAX).unwrap();
        let digits = books.digits();
        let mut at = 0;
        each_message(&snapshot, &instrument, |_, _, _, tracker| {
            let bids = texts(tracker, Side::Bid, digits);
            let asks = texts(tracker, Side::Ask, digits);
            let found = checksum::okx(bids, asks);
            assert_eq!(i64::from(found), checksums[at], "{instrument}, message {at}");
            at += 1;
        });
        assert_eq!(at, checksums.len(), "{instrument}");
        matched += at;
    }
    println!("{file}: {matched} checksums");
    assert_eq!(matched, 637);
}

/// The number as FTX wrote it, which is how Python prints the double nearest to it: at least one
/// decimal, and an exponent below 0.0001.
fn ftx_text(number: &str) -> String {
    let value: f64 = number.parse().unwrap();
    if value != 0.0 && value.abs() < 0.0001 {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once("e-").unwrap();
        return format!("{mantissa}e-{exponent:0>2}");
    }
    format!("{value:?}")
}

#[test]
fn every_ftx_checksum_matches_on_books_read_back() {
    let Some(folder) = data("ftx-ws") else { return };
    let file = "FTX_20210417.ws.zst";
    let mut sent: HashMap<String, Vec<u32>> = HashMap::new();
    let mut empty = 0;
    for message in messages(&folder.join(file)) {
        let message: serde_json::Value = serde_json::from_str(&message).unwrap();
        let Some(checksum) = message["data"]["checksum"].as_u64() else { continue };
        let checksum = u32::try_from(checksum).unwrap();
        let sent = sent.entry(message["market"].as_str().unwrap().to_owned()).or_default();
        let levels = |side: &str| message["data"][side].as_array().unwrap().len();
        if levels("bids") + levels("asks") == 0 {
            assert_eq!(sent.last(), Some(&checksum), "{message}");
            empty += 1;
        } else {
            sent.push(checksum);
        }
    }
    let (_place, snapshot) = imported(&folder, &[file]);
    let mut matched = 0;
    for (symbol, checksums) in sent {
        let instrument = Instrument::new("ftx", &symbol).unwrap();
        let mut at = 0;
        each_message(&snapshot, &instrument, |_, _, _, tracker| {
            let side = |side| {
                let levels = texts(tracker, side, (0, 0)).into_iter();
                levels.map(|(price, qty)| (ftx_text(&price), ftx_text(&qty)))
            };
            let found = checksum::interleaved(side(Side::Bid), side(Side::Ask), 100);
            assert_eq!(found, checksums[at], "{instrument}, message {at}");
            at += 1;
        });
        assert_eq!(at, checksums.len(), "{instrument}");
        matched += at;
    }
    println!("{file}: {matched} checksums and {empty} of messages without levels");
    assert_eq!((matched, empty), (1044, 232));
}

/// What Kraken sent per pair: one entry per book message, with its checksum if it had one.
fn kraken_checksums(path: &Path) -> HashMap<String, Vec<Option<u32>>> {
    let mut found: HashMap<String, Vec<Option<u32>>> = HashMap::new();
    for message in messages(path) {
        let message: serde_json::Value = serde_json::from_str(&message).unwrap();
        let Some(parts) = message.as_array() else { continue };
        let Some((pair, channel)) = parts.last().zip(parts.iter().rev().nth(1)) else { continue };
        if !channel.as_str().is_some_and(|channel| channel.starts_with("book")) {
            continue;
        }
        let checksum = parts.iter().rev().find_map(|part| part["c"].as_str());
        let checksum = checksum.map(|text| text.parse().unwrap());
        found.entry(pair.as_str().unwrap().to_owned()).or_default().push(checksum);
    }
    found
}

#[test]
fn every_kraken_checksum_matches_on_books_read_back() {
    let Some(folder) = data("kraken-ws") else { return };
    let file = "KRAKEN.jsonl.zst";
    let sent = kraken_checksums(&folder.join(file));
    let (_place, snapshot) = imported(&folder, &[file]);
    let mut matched = 0;
    for instrument in snapshot.instruments() {
        if snapshot.stream_id(&instrument, Kind::Book).is_err() {
            continue;
        }
        let checksums = &sent[instrument.symbol()];
        let mut books = snapshot.books(&instrument).unwrap();
        books.at(TsNs::MAX).unwrap();
        let digits = books.digits();
        let mut at = 0;
        each_message(&snapshot, &instrument, |_, _, _, tracker| {
            if let Some(expected) = checksums[at] {
                let bids = texts(tracker, Side::Bid, digits);
                let asks = texts(tracker, Side::Ask, digits);
                assert_eq!(checksum::kraken(bids, asks), expected, "{instrument}, message {at}");
                matched += 1;
            }
            at += 1;
        });
        assert_eq!(at, checksums.len(), "{instrument}");
    }
    println!("{file}: {matched} checksums");
    assert_eq!(matched, 4269);
}
