//! How many messages a second the daemon records from a venue on the same machine, how soon they
//! are durable, and whether its memory stays flat.
//!
//! `cargo bench -p tickreel-venue --bench soak -- [SECONDS] [MESSAGES_PER_SECOND] [BANDWIDTH]`;
//! without a rate as fast as it goes. The venue plays a made-up market of Binance futures again and
//! again (book, trades, best prices), TLS off. With a bandwidth (`4MiB`) the store holds days of
//! old rows, which the daemon compacts meanwhile. It fails if a message was lost, or none of those
//! days was compacted while messages came.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints figures")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tickreel::compact::{self, Selection};
use tickreel::event::{BatchBuilder, Kind, MessageHead, Side, StreamKey};
use tickreel::ingest::daemon::config::Config;
use tickreel::ingest::daemon::stats::Stats;
use tickreel::ingest::daemon::{Control, Daemon, WallClock};
use tickreel::ingest::sample::MarketOptions;
use tickreel::store::{GroupCommit, ImportOptions, LiveOptions, Recorder, Store};
use tickreel::{Decimal, Instrument, TsNs};
use tickreel_venue::{Limits, Options, Pace, Script, Start, Venue, protocol};
use tokio::sync::mpsc;

/// Recorded time of the market, ns.
const MARKET_NS: i64 = 20_000_000_000;
/// What a day of old rows is made of: 2 million rows.
const OLD_DAYS: i64 = 20;
const OLD_MESSAGES_A_DAY: i64 = 200_000;
const OLD_LEVELS: i64 = 10;
const DAY_NS: i64 = 86_400_000_000_000;
/// Topics of the market: three of each symbol.
const TOPICS: usize = 6;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<f64>().ok());
    let is_real = std::env::args().any(|word| word == "--bench");
    let seconds = numbers.next().unwrap_or(if is_real { 30.0 } else { 1.0 });
    let rate = numbers.next();
    let bandwidth = std::env::args().skip(1).find(|word| word.ends_with("iB"));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    runtime.block_on(soak(Duration::from_secs_f64(seconds), rate, bandwidth))
}

async fn venue(rate: Option<f64>) -> Outcome<Venue> {
    let protocol = protocol::of_exchange("binance-futures").ok_or("no such venue")?;
    let mut market = MarketOptions::new(3)?;
    market.duration_ns = MARKET_NS;
    market.instruments.retain(|one| one.instrument.exchange() == "binance-futures");
    market.instruments.iter_mut().for_each(|one| one.gaps = 0);
    let (script, _) = Script::of_sample(&*protocol, &market)?;
    let count: usize = script.topics.iter().map(|topic| topic.events.len()).sum();
    let natural = count as f64 / (MARKET_NS as f64 / 1e9);
    println!("a market of {natural:.0} messages a second");
    let pace = rate.map_or(Pace::FlatOut, |rate| Pace::Times(rate / natural));
    let (start, limits) = (Start::Go, Some(Limits::NONE));
    let options = Options { pace, start, limits, laps: usize::MAX, ..Options::default() };
    Ok(Venue::start(protocol, script, options).await?)
}

/// Makes sealed days of rows that are long over.
fn add_old_days(store: &Store) -> Outcome<()> {
    let mut import = store.import(ImportOptions::default())?;
    let key = StreamKey { instrument: Instrument::new("bench", "OLD")?, kind: Kind::Book };
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for day in 0..OLD_DAYS {
        let mut builder = BatchBuilder::new(Kind::Book);
        for message in 0..OLD_MESSAGES_A_DAY {
            let ts_recv = TsNs(day * DAY_NS + message * 10_000_000);
            let snapshot = (day, message) == (0, 0);
            builder.begin(MessageHead { ts_recv, snapshot, ..MessageHead::default() });
            for level in 0..OLD_LEVELS {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                let side = if level % 2 == 0 { Side::Bid } else { Side::Ask };
                let price = 1_000_000 + (level % 2) * 2000 + (noise % 2000) as i64;
                let qty = (noise >> 48) as i64;
                let decimal = |value, scale| Decimal::new(value, scale).ok_or("too large");
                builder.level(side, decimal(price, 1)?, decimal(qty, 3)?);
            }
            builder.end();
        }
        for batch in builder.finish()? {
            import.append(&key, &batch)?;
        }
    }
    import.commit()?;
    Ok(())
}

async fn soak(length: Duration, rate: Option<f64>, bandwidth: Option<String>) -> Outcome<()> {
    let venue = venue(rate).await?;
    let folder = tempfile::tempdir_in(".")?;
    let store = Store::open_or_create(folder.path())?;
    let mut compact = String::new();
    let compacts = bandwidth.is_some();
    if let Some(bandwidth) = bandwidth {
        add_old_days(&store)?;
        compact = format!("[compact]\nafter = \"1h\"\nbandwidth = \"{bandwidth}\"\n");
    }
    let old_rows = rows(&store)?;
    let live = LiveOptions { clamp_late: true, ..LiveOptions::default() };
    let recorder = Recorder::start(store.writer(live)?, GroupCommit::default())?;
    let stats = Stats::default();
    let daemon = Daemon {
        store: store.clone(),
        recorder: recorder.clone(),
        stats: stats.clone(),
        rejects: folder.path().join("rejects"),
        clock: WallClock::default(),
    };
    let (controls, received) = mpsc::unbounded_channel();
    let text = format!(
        "{compact}[[feed]]\nexchange = \"binance-futures\"\nsymbols = [\"*\"]\n\
         kinds = [\"book\", \"trades\", \"quotes\"]\nstream_url = \"{}\"\nrest_url = \"{}\"\n",
        venue.stream_url(),
        venue.rest_url()
    );
    let config = Config::parse(&text, Path::new("soak.toml"))?;
    let running = tokio::spawn(async move { daemon.run(config, received).await });
    while venue.counters().connections.iter().map(|one| one.subscribed).sum::<u64>() < TOPICS as u64
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    venue.go();

    // Books that begin in the middle of a flood may need a second snapshot.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let gaps_at_first = stats.status().feeds[0].gaps;
    let (begun, mut last) = (Instant::now(), (Instant::now(), stats.status().feeds[0].messages));
    while begun.elapsed() < length {
        tokio::time::sleep((length / 10).min(Duration::from_secs(30))).await;
        let status = stats.status();
        let feed = &status.feeds[0];
        let per_second = (feed.messages - last.1) as f64 / last.0.elapsed().as_secs_f64();
        println!(
            "{:4.0} s: {per_second:.0} messages/s, {} rows, durable after {} / {} ms p50 / p99, \
             {} MiB of memory, {} segments",
            begun.elapsed().as_secs_f64(),
            feed.rows,
            status.durable_lag_p50_ms,
            status.durable_lag_p99_ms,
            resident_mib(),
            store.snapshot()?.manifest().segments().len()
        );
        if compacts {
            println!("        {} of {OLD_DAYS} old days are compacted", days_compacted(&store)?);
        }
        last = (Instant::now(), feed.messages);
    }
    if compacts && days_compacted(&store)? == 0 {
        return Err("nothing was compacted meanwhile".into());
    }
    let status = stats.status();
    let feed = &status.feeds[0];
    // A hole in the chain of a book is a gap: a message that was lost on the way is one.
    let gaps = feed.gaps - gaps_at_first;
    controls.send(Control::Stop)?;
    running.await??;
    let stored = stats.status();
    let sealing = Instant::now();
    recorder.close()?.seal_all()?;
    println!(
        "{} messages heard, {gaps} gaps, {} rejects, {} reconnects; sealed in {:.1} s",
        feed.messages,
        feed.rejects,
        feed.reconnects,
        sealing.elapsed().as_secs_f64()
    );
    let faults = gaps + feed.rejects + feed.reconnects;
    let rows = rows(&store)? - old_rows;
    println!("{rows} rows in the store, {} counted", stored.feeds[0].rows);
    if faults > 0 || rows != stored.feeds[0].rows {
        return Err("something was lost".into());
    }
    Ok(())
}

/// Old days that a compaction would leave as they are.
fn days_compacted(store: &Store) -> Outcome<i64> {
    let until = TsNs(OLD_DAYS * DAY_NS);
    let left = compact::plan(&store.snapshot()?, &Selection { until, ..Selection::default() });
    Ok(OLD_DAYS - i64::try_from(left.len())?)
}

fn rows(store: &Store) -> Outcome<u64> {
    Ok(store.snapshot()?.stream_infos().iter().map(|info| info.rows).sum())
}

/// Memory of this process, the venue's too.
fn resident_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
