//! What the daemon records of a capture equals an import of it.

use std::path::{Path, PathBuf};

use tickreel::Instrument;
use tickreel::event::{Kind, StreamKey};
use tickreel::ingest::{OpenOptions, Reject, Watch, load, open_all};
use tickreel::store::{ImportOptions, Store};
use tickreel_venue::{Options, Pace, Script, Start, Venue, protocol};

use crate::recorded::{Running, Streams, config, feed, finished, quiet, rows_of};

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
pub fn import(folder: &Path, files: &[PathBuf]) -> Store {
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

/// Where the venue of today does not say what the capture says.
#[derive(Clone, Copy, Default)]
pub struct Differs {
    /// Columns that it fills in its own way.
    columns: &'static [&'static str],
    /// Its snapshots have other levels.
    snapshots: bool,
    /// It orders the levels of a message in its own way.
    order: bool,
    /// How it spells parts of symbols.
    spelled: &'static [(&'static str, &'static str)],
}

/// The rows of an import as a daemon should have recorded them.
fn expected(imported: &Store, exchange: &str, kinds: &[Kind], differs: Differs) -> Streams {
    let all = rows_of(&imported.snapshot().unwrap(), kinds, differs.columns);
    let ours = all.into_iter().filter(|(key, _)| key.instrument.exchange() == exchange);
    let spelled = |(mut key, rows): (StreamKey, Vec<String>)| {
        let spell = |name: String, (from, to): &(&str, &str)| name.replace(from, to);
        let symbol = differs.spelled.iter().fold(key.instrument.symbol().to_owned(), spell);
        key.instrument = Instrument::new(exchange, &symbol).unwrap();
        (key, rows)
    };
    ours.map(spelled).collect()
}

/// Plays a capture to a daemon and compares what it stored of `kinds` with an import.
async fn recorded_equals_imported(exchange: &str, file: &str, kinds: &[Kind], differs: Differs) {
    let Some(paths) = data(&[file]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let imported = import(&folder.path().join("imported"), &paths);
    let expected = expected(&imported, exchange, kinds, differs);
    let books = expected.keys().filter(|key| key.kind == Kind::Book).count() as u64;
    let protocol = protocol::of_exchange(exchange).unwrap();
    let script = Script::of_captures(&*protocol, &paths).unwrap();
    let options = Options { pace: Pace::FlatOut, start: Start::Go, ..Options::default() };
    let venue = Venue::start(protocol, script, options).await.unwrap();
    let names: Vec<_> = kinds.iter().map(|kind| format!("{:?}", kind.name())).collect();
    let more = format!("kinds = [{}]", names.join(", "));
    let root = folder.path().join("recorded");
    let daemon = Running::start(&root, config(&feed(exchange, &venue, &more)));

    // Snapshots asked for by REST wait for the script to come to them.
    quiet(&venue).await;
    venue.go();
    finished(&venue).await;
    let counters = venue.counters();
    // Every request has an answer.
    let answers: u64 = counters.connections.iter().map(|c| c.texts).sum();
    let played = counters.messages + answers;
    daemon.until("heard", |status| status.feeds[0].messages >= played).await;
    daemon.until("whole", |status| status.feeds[0].books_live >= books).await;
    let status = daemon.stop().await;

    assert_eq!((status.feeds[0].rejects, status.feeds[0].refusals), (0, 0), "{status:#?}");
    assert!(venue.counters().cut_off.is_empty(), "{:?}", venue.counters().cut_off);
    let recorded = Store::open(&root).unwrap().snapshot().unwrap();
    let recorded = rows_of(&recorded, kinds, differs.columns);
    let rows = compare(expected, recorded, differs);
    println!("{exchange}: {rows} rows as imported");
}

/// Compares what was recorded with what should have been; how many rows that is.
pub fn compare(mut expected: Streams, recorded: Streams, differs: Differs) -> usize {
    assert!(recorded.keys().all(|key| expected.contains_key(key)), "{:?}", recorded.keys());
    let mut rows = 0;
    for (key, mut found) in recorded {
        let mut expected = expected.remove(&key).unwrap();
        if key.kind == Kind::Book {
            let last = found.pop().unwrap_or_default();
            // The end of the recording.
            assert!(last.contains("gap"), "{} ends with {last}", key.instrument);
        }
        if differs.snapshots {
            let is_change = |row: &String| !row.contains("Flags(2)") && !row.contains("Flags(3)");
            found.retain(is_change);
            expected.retain(is_change);
        }
        if differs.order {
            found.sort();
            expected.sort();
        }
        let first = expected.iter().zip(&found).position(|(a, b)| a != b);
        let around = first.map(|at| (at, &expected[at], &found[at]));
        let counts = (found.len(), expected.len());
        assert_eq!(around, None, "{} {:?} {counts:?}", key.instrument, key.kind);
        assert_eq!(counts.0, counts.1, "{} {:?}", key.instrument, key.kind);
        rows += found.len();
    }
    let missing: Vec<_> = expected.keys().map(|key| (&key.instrument, key.kind)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    rows
}

/// One test for each capture: exchange, file, kinds.
macro_rules! captures {
    ($($name:ident: $exchange:literal, $file:literal, [$($kind:ident),+], {$($differs:tt)*};)+) => {
        $(#[tokio::test]
        async fn $name() {
            let differs = Differs { $($differs)* ..Differs::default() };
            recorded_equals_imported($exchange, $file, &[$(Kind::$kind),+], differs).await;
        })+
    };
}

captures! {
    binance_spot: "binance", "binance-ws/spot_btcusdt_20240808.gz", [Book, Trades, Quotes], {};
    binance_usd_m: "binance-futures", "binance-ws/usdm_btcusdt_20230404.dat.gz",
        [Book, Trades, Quotes, Ticker], {};
    binance_coin_m: "binance-delivery", "binance-ws/cm_btcusd_perp_20240808.gz",
        [Book, Trades, Quotes], {};
    okx: "okex", "okx-ws/OKX_20220227_books-l2-tbt.ws.zst", [Book], {};
    bybit: "bybit", "bybit-ws/BYBIT.jsonl.zst", [Book, Trades, Ticker], {};
    coinbase: "coinbase", "coinbase-ws/COINBASE.jsonl.zst",
        [Book, Trades, Quotes], { columns: &["venue_seq"], };
    kraken: "kraken", "kraken-ws/KRAKEN.jsonl.zst",
        [Book, Trades],
        {
            spelled: &[("XBT", "BTC"), ("XDG", "DOGE")],
            columns: &["ts_event", "trade_id", "flags"],
            order: true,
        };
    bitget: "bitget", "bitget-ws/BITGET.jsonl.zst", [Book, Trades], { columns: &["trade_id"], };
    deribit: "deribit", "deribit-ws/DERIBIT.jsonl.zst", [Book, Trades, Ticker], {};
    kucoin: "kucoin", "kucoin-ws/KUCOIN.jsonl.zst", [Book, Trades, Quotes], { snapshots: true, };
    gate: "gate-io", "gateio-ws/GATEIO.jsonl.zst", [Book, Trades], {};
    gate_futures: "gate-io-futures", "gateio-ws/GATEIO_FUTURES.jsonl.zst",
        [Book, Trades, Ticker], {};
    bitfinex: "bitfinex", "bitfinex-ws/BITFINEX.jsonl.zst",
        [Book, Trades], { columns: &["ts_event"], };
    bitmex: "bitmex", "bitmex-ws/BITMEX_20210722.ws.zst", [Book, Trades, Quotes], {};
    hyperliquid: "hyperliquid", "hyperliquid-ws/btcusd_20250126.gz", [Book, Trades], {};
    kraken_futures: "cryptofacilities", "kraken-futures-ws/KRAKEN_FUTURES.jsonl.zst",
        [Book, Trades], {};
    bitstamp: "bitstamp", "bitstamp-ws/BITSTAMP.jsonl.zst", [Book, Trades], {};
}
