//! Rows per second into a live store, how soon they are durable, and how fast a store opens.
//!
//! `cargo bench --no-default-features --bench live`. Appends go through a `Recorder` with its group
//! commit of 10 ms; the latency of an append is the time from the call until the watermark covers
//! it. The sizes printed with each figure show that the rows were really there.

#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints figures")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tickreel::disk::OsDisk;
use tickreel::event::{Batch, BatchBuilder, Kind, MessageHead, Side, StreamKey};
use tickreel::journal::{self, JournalFile};
use tickreel::store::{GroupCommit, ImportOptions, LiveOptions, Recorder, Store};
use tickreel::{Decimal, Instrument, TsNs};

const STREAMS: usize = 1000;
/// Appends per stream, and messages and levels of each.
const APPENDS: usize = 64;
const MESSAGES: usize = 10;
const LEVELS: usize = 4;
const SEGMENTS: i64 = 10_000;

fn main() -> tickreel::Result<()> {
    append()?;
    open_many()
}

/// `MESSAGES` messages of a book from number `first` on.
fn rows(first: usize) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    for message in first..first + MESSAGES {
        builder.begin(MessageHead {
            ts_recv: TsNs(1_723_158_000_000_000_000 + message as i64 * 1_000_000),
            ts_event: Some(TsNs(1_723_157_999_000_000_000 + message as i64 * 1_000_000)),
            venue_seq: Some(message as i64),
            snapshot: message == 0,
        });
        for level in 0..LEVELS as i64 {
            let price = 617_000 + (message as i64 * 7 + level * 3) % 50;
            let side = if level % 2 == 0 { Side::Bid } else { Side::Ask };
            let price = if side == Side::Ask { price + 60 } else { price };
            let qty = (message as i64 + level) % 90 + 1;
            builder.level(side, decimal(price, 1), decimal(qty, 3));
        }
        builder.end();
    }
    builder.finish().unwrap_or_default().pop().unwrap_or_else(|| Batch::new(Kind::Book))
}

fn decimal(mantissa: i64, scale: u8) -> Decimal {
    Decimal::new(mantissa, scale).unwrap_or(Decimal::ZERO)
}

fn append() -> tickreel::Result<()> {
    let folder = tempfile::tempdir().map_err(|e| tickreel::Error::invalid(e.to_string()))?;
    let store = Store::open_or_create(folder.path())?;
    let recorder = Recorder::start(store.writer(LiveOptions::default())?, GroupCommit::default())?;
    let keys: Vec<StreamKey> = (0..STREAMS)
        .map(|at| {
            let instrument = Instrument::new("bench", &format!("S{at}"))?;
            Ok(StreamKey { instrument, kind: Kind::Book })
        })
        .collect::<tickreel::Result<_>>()?;
    let batches: Vec<Batch> = (0..APPENDS).map(|at| rows(at * MESSAGES)).collect();
    let waiting: Arc<Mutex<Vec<(u64, Instant)>>> = Arc::default();
    let durable: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let (asked, told) = (waiting.clone(), durable.clone());
    recorder.watch(Box::new(move |watermark| {
        let now = Instant::now();
        let mut asked = asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let done = asked.partition_point(|(seq, _)| *seq <= watermark);
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.extend(asked.drain(..done).map(|(_, since)| now - since));
    }));
    let start = Instant::now();
    let mut count = 0u64;
    for batch in &batches {
        for key in &keys {
            let since = Instant::now();
            let seq = recorder.append(key, batch)?;
            count += batch.rows() as u64;
            waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((seq, since));
        }
    }
    let writer = recorder.close()?;
    let wall = start.elapsed().as_secs_f64();
    let mut latencies = durable.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    latencies.sort();
    let quantile = |share: f64| {
        let at = (latencies.len().saturating_sub(1) as f64 * share) as usize;
        latencies.get(at).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    let rows: u64 = store.snapshot()?.stream_infos().iter().map(|info| info.rows).sum();
    println!(
        "append, {STREAMS} streams: {:.2} M rows/s, durable after {:.1} / {:.1} ms p50 / p99, \
         {rows} of {count} rows stored",
        count as f64 / wall / 1e6,
        quantile(0.5),
        quantile(0.99),
    );
    drop(writer);
    recover(folder.path())
}

/// Opens the store for writing, which reads its whole journal.
fn recover(root: &Path) -> tickreel::Result<()> {
    let mib = journal_bytes(root)? as f64 / f64::from(1 << 20);
    let start = Instant::now();
    let writer = Store::open_or_create(root)?.writer(LiveOptions::default())?;
    let seconds = start.elapsed().as_secs_f64();
    let live = writer.store().snapshot()?.tail().rows();
    println!(
        "recovery: {live} rows of {mib:.1} MiB of journal in {:.0} ms, {:.0} MiB/s",
        seconds * 1000.0,
        mib / seconds
    );
    Ok(())
}

/// Bytes of all frames in the journal of a store.
fn journal_bytes(root: &Path) -> tickreel::Result<u64> {
    let mut bytes = 0;
    for number in journal::numbers(&OsDisk, root)? {
        let Some(mut file) = JournalFile::open(&OsDisk, &journal::path(root, number))? else {
            continue;
        };
        while file.next_frame()?.is_some() {}
        bytes += file.offset();
    }
    Ok(bytes)
}

fn open_many() -> tickreel::Result<()> {
    let folder = tempfile::tempdir().map_err(|e| tickreel::Error::invalid(e.to_string()))?;
    let store = Store::open_or_create(folder.path())?;
    let mut import = store.import(ImportOptions::default())?;
    let key = StreamKey { instrument: Instrument::new("bench", "S")?, kind: Kind::Book };
    // A segment per UTC day.
    for day in 0..SEGMENTS {
        let mut builder = BatchBuilder::new(Kind::Book);
        let ts_recv = TsNs(day * 86_400_000_000_000);
        builder.begin(MessageHead { ts_recv, snapshot: day == 0, ..MessageHead::default() });
        builder.level(Side::Bid, decimal(100 + day % 7, 1), decimal(5, 1));
        builder.end();
        for batch in builder.finish()? {
            import.append(&key, &batch)?;
        }
    }
    import.commit()?;
    let mut times: Vec<f64> = Vec::new();
    let mut segments = 0;
    for _ in 0..21 {
        let start = Instant::now();
        let snapshot = Store::open(folder.path())?.snapshot()?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        segments = snapshot.manifest().segments().len();
    }
    times.sort_by(f64::total_cmp);
    println!("open a store of {segments} segments: {:.2} ms", times[times.len() / 2]);
    Ok(())
}
