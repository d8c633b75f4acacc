//! What the store does: import, compaction, and questions about one stream.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::figure::{Clock, Figure};
use crate::book::Tracker;
use crate::cli::screen;
use crate::compact::{self, Selection};
use crate::error::Result;
use crate::event::{Batch, Side, StreamKey};
use crate::ingest::{self, OpenOptions, Reject, Watch};
use crate::quantity::TsNs;
use crate::segment::{ColumnMask, WriterOptions};
use crate::store::{ImportOptions, LiveOptions, Snapshot, Store};

/// Nothing is told, and every line must be readable.
pub(super) struct Quiet;

impl Watch for Quiet {
    fn progress(&mut self, _bytes_read: u64, _rows: u64) -> Result<()> {
        screen::check_interrupted()
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        Err(reject.error)
    }
}

pub(super) fn import(data: &[PathBuf], root: &Path) -> Result<Figure> {
    let clock = Clock::start();
    let store = Store::open_or_create(root)?;
    let mut import = store.import(ImportOptions { replace: true, ..Default::default() })?;
    let mut rows = 0;
    for mut input in ingest::open_all(data, &OpenOptions::default())? {
        rows += ingest::load(&mut *input.source, &mut import, &mut Quiet)?.rows;
    }
    import.commit()?;
    stored(&clock, "import", rows, &store)
}

/// The figure of rows that were written: their bytes and their content hashes.
pub(super) fn stored(
    clock: &Clock,
    name: &'static str,
    rows: u64,
    store: &Store,
) -> Result<Figure> {
    let figure = clock.figure(name, rows, 0);
    let infos = store.snapshot()?.stream_infos();
    let hash = infos.iter().fold(0, |hash, info| hash ^ info.hash.value());
    Ok(Figure { hash, ..figure.with_bytes(infos.iter().map(|info| info.bytes).sum()) })
}

pub(super) fn compact(root: &Path) -> Result<Figure> {
    let clock = Clock::start();
    let store = Store::open(root)?;
    let mut writer = store.writer(LiveOptions::default())?;
    let mut rows = 0;
    for task in compact::plan(&store.snapshot()?, &Selection::default()) {
        let mut watch = |_| screen::check_interrupted();
        rows += writer.rewrite(&task.segments, WriterOptions::default(), &mut watch)?.rows;
    }
    stored(&clock, "compact", rows, &store)
}

/// Opens a store again and again.
pub(super) fn open(root: &Path) -> Result<Figure> {
    const TIMES: usize = 21;
    let clock = Clock::start();
    let (mut calls_us, mut generation) = (Vec::with_capacity(TIMES), 0);
    for _ in 0..TIMES {
        let started = Instant::now();
        generation = Store::open(root)?.snapshot()?.generation();
        calls_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(clock.figure("open the store", 0, generation).with_calls(calls_us))
}

/// A small generator for times; a figure must not depend on a seed of the day.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn time(&mut self, first: TsNs, last: TsNs) -> TsNs {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let span = (last.0 - first.0).unsigned_abs().max(1);
        first.saturating_add((self.0 % span) as i64)
    }
}

pub(super) fn ends(snapshot: &Snapshot, key: &StreamKey) -> Result<(TsNs, TsNs)> {
    let id = snapshot.stream_id(&key.instrument, key.kind)?;
    let segments = snapshot.segments(id);
    let first = segments.first().map_or(TsNs(0), |entry| TsNs(entry.ts_recv_first));
    Ok((first, segments.last().map_or(first, |entry| TsNs(entry.ts_recv_last))))
}

fn best_hash(hash: u64, tracker: &Tracker) -> u64 {
    [Side::Bid, Side::Ask].into_iter().fold(hash, |hash, side| {
        let (price, qty) = tracker.book().best(side).unwrap_or_default();
        hash.rotate_left(7) ^ (price as u64).wrapping_mul(31).wrapping_add(qty as u64)
    })
}

pub(super) fn seeks(snapshot: &Snapshot, key: &StreamKey, count: usize) -> Result<Figure> {
    let (first, last) = ends(snapshot, key)?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut hash = 0;
    let mut books = snapshot.books(&key.instrument)?;
    // Warm: every page was checked and is in memory.
    for _ in 0..count / 10 + 100 {
        books.at(random.time(first, last))?;
    }
    let clock = Clock::start();
    let mut calls_us = Vec::with_capacity(count);
    for _ in 0..count {
        let at = random.time(first, last);
        let started = Instant::now();
        hash = best_hash(hash, books.at(at)?);
        calls_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(clock.figure("book at T", 0, hash).with_calls(calls_us))
}

/// Length of the ranges that are read.
pub(super) const MINUTE_NS: i64 = 60_000_000_000;

pub(super) fn ranges(snapshot: &Snapshot, key: &StreamKey, count: usize) -> Result<Figure> {
    let (first, last) = ends(snapshot, key)?;
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut hash, mut rows) = (0u64, 0);
    let mut batch = Batch::new(key.kind);
    let clock = Clock::start();
    let mut calls_us = Vec::with_capacity(count);
    for _ in 0..count {
        let from = random.time(first, last);
        let started = Instant::now();
        let range = from..from.saturating_add(MINUTE_NS);
        let mut scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
        while let Some(next) = scan.next_into(batch)? {
            rows += next.rows() as u64;
            hash = hash.rotate_left(5) ^ next.i64s(5).last().copied().unwrap_or(0) as u64;
            batch = next;
        }
        batch = Batch::new(key.kind);
        calls_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(clock.figure("1-minute range", rows, hash).with_calls(calls_us))
}

/// Seconds that a throughput is measured for at least.
const MEASURE_S: f64 = 1.0;

/// Repeats `pass`, which gives rows and a hash, for long enough.
pub(super) fn repeat(
    name: &'static str,
    mut pass: impl FnMut() -> Result<(u64, u64)>,
) -> Result<Figure> {
    pass()?;
    let clock = Clock::start();
    let (mut rows, mut hash) = (0, 0);
    while clock.wall.elapsed().as_secs_f64() < MEASURE_S {
        screen::check_interrupted()?;
        let (more, value) = pass()?;
        rows += more;
        hash = value;
    }
    Ok(clock.figure(name, rows, hash))
}

pub(super) fn scan(snapshot: &Snapshot, key: &StreamKey) -> Result<Figure> {
    repeat("scan, all columns", || {
        let range = TsNs::MIN..TsNs::MAX;
        let mut scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
        let (mut rows, mut hash) = (0, 0u64);
        while let Some(batch) = scan.next_batch()? {
            rows += batch.rows() as u64;
            for column in 0..batch.columns().len() {
                let last = batch.i64s(column).last().copied().unwrap_or(0) as u64;
                let code = batch.u8s(column).last().copied().unwrap_or(0);
                hash = hash.rotate_left(3) ^ last ^ u64::from(code);
            }
        }
        Ok((rows, hash))
    })
}

pub(super) fn book_replay(snapshot: &Snapshot, key: &StreamKey) -> Result<Figure> {
    repeat("replay through a book", || {
        let range = TsNs::MIN..TsNs::MAX;
        let mut scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
        let mut tracker = Tracker::new();
        let (mut rows, mut hash) = (0, 0);
        while let Some(batch) = scan.next_batch()? {
            rows += batch.rows() as u64;
            tracker.apply_each(batch, 0..batch.messages(), |_, tracker| {
                hash = best_hash(hash, tracker);
            })?;
        }
        Ok((rows, hash))
    })
}
