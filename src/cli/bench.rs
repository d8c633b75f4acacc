//! `tickreel bench`: what this machine does with these rows.
//!
//! Every figure comes with a hash of what was computed, so that no loop is empty. CPU seconds are
//! user plus system time of the whole process, from `/proc`, in steps of 10 ms.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::screen;
use crate::book::Tracker;
use crate::error::{Error, Result};
use crate::event::{Batch, Kind, Side, StreamKey};
use crate::ingest::{self, OpenOptions, Reject, Watch};
use crate::quantity::TsNs;
use crate::segment::ColumnMask;
use crate::store::{ImportOptions, Snapshot, Store};

/// Measure import, seek, scan and replay on this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to measure with, as for import [default: a made-up market]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Keep the store here instead of removing it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// How many seeks are measured
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    seeks: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The data cannot be imported or read back.
pub fn run(args: &Args) -> Result<()> {
    screen::catch_interrupts()?;
    let folder = Folder::new(args.keep.as_deref())?;
    let data = match args.data.is_empty() {
        true => super::demo::sample_files(&folder.path.join("data"))?,
        false => args.data.clone(),
    };
    let root = folder.path.join("bench.reel");
    let mut figures = vec![import(&data, &root)?];
    let clock = Clock::start();
    let store = Store::open(&root)?;
    let snapshot = store.snapshot()?;
    figures.push(clock.figure("open the store", 0, snapshot.generation()));
    let infos = snapshot.stream_infos();
    let largest = infos.iter().filter(|info| info.key.kind == Kind::Book);
    let largest = largest.max_by_key(|info| info.rows).map(|info| info.key.clone());
    if let Some(key) = &largest {
        figures.push(seeks(&snapshot, key, args.seeks)?);
        figures.push(ranges(&snapshot, key, args.seeks / 5)?);
        figures.push(scan(&snapshot, key)?);
        figures.push(book_replay(&snapshot, key)?);
    }
    let keys: Vec<_> = infos.iter().map(|info| info.key.clone()).collect();
    figures.push(merged_replay(&snapshot, &keys)?);
    let sizes: Vec<Size> = infos
        .iter()
        .map(|info| Size { key: info.key.clone(), rows: info.rows, bytes: info.bytes })
        .collect();
    print(args, &figures, &sizes)
}

/// The folder of the measured store; removed at the end unless it is kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("tickreel-bench-{}", std::process::id())),
        };
        std::fs::create_dir_all(&path).map_err(|e| Error::io(e, "create folder", &path))?;
        Ok(Self { path, keep: keep.is_some() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// One measured thing.
#[derive(Debug)]
struct Figure {
    name: &'static str,
    /// Rows over all repetitions.
    rows: u64,
    wall_s: f64,
    cpu_s: f64,
    /// Microseconds of single calls, sorted; empty where only the whole is measured.
    calls_us: Vec<f64>,
    /// Anonymous memory at the end, bytes.
    memory: u64,
    /// Of what was computed.
    hash: u64,
}

struct Size {
    key: StreamKey,
    rows: u64,
    bytes: u64,
}

impl Figure {
    fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.calls_us.len().checked_sub(1)?;
        self.calls_us.get((last as f64 * share).round() as usize).copied()
    }
}

struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Self {
        Self { cpu: cpu_seconds(), wall: Instant::now() }
    }

    fn figure(&self, name: &'static str, rows: u64, hash: u64) -> Figure {
        let wall_s = self.wall.elapsed().as_secs_f64();
        let cpu_s = cpu_seconds() - self.cpu;
        let memory = memory_bytes();
        Figure { name, rows, wall_s, cpu_s, calls_us: Vec::new(), memory, hash }
    }
}

/// User and system time of this process; 0 where `/proc` is not there.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name may hold blanks, so fields count from its closing bracket.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// Memory of this process that is not a map of a file.
fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

struct Quiet;

impl Watch for Quiet {
    fn progress(&mut self, _bytes_read: u64, _rows: u64) -> Result<()> {
        screen::check_interrupted()
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        Err(reject.error)
    }
}

fn import(data: &[PathBuf], root: &Path) -> Result<Figure> {
    let clock = Clock::start();
    let store = Store::open_or_create(root)?;
    let mut import = store.import(ImportOptions { replace: true, ..Default::default() })?;
    let mut rows = 0;
    for mut input in ingest::open_all(data, &OpenOptions::default())? {
        rows += ingest::load(&mut *input.source, &mut import, &mut Quiet)?.rows;
    }
    import.commit()?;
    let mut figure = clock.figure("import", rows, 0);
    let infos = store.snapshot()?.stream_infos();
    figure.hash = infos.iter().fold(0, |hash, info| hash ^ info.hash.value());
    Ok(figure)
}

/// A small generator for times; a figure must not depend on a seed of the day.
struct Random(u64);

impl Random {
    fn time(&mut self, first: TsNs, last: TsNs) -> TsNs {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let span = (last.0 - first.0).unsigned_abs().max(1);
        first.saturating_add((self.0 % span) as i64)
    }
}

fn ends(snapshot: &Snapshot, key: &StreamKey) -> Result<(TsNs, TsNs)> {
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

fn seeks(snapshot: &Snapshot, key: &StreamKey, count: usize) -> Result<Figure> {
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
    calls_us.sort_by(f64::total_cmp);
    Ok(Figure { calls_us, ..clock.figure("book at T", 0, hash) })
}

fn ranges(snapshot: &Snapshot, key: &StreamKey, count: usize) -> Result<Figure> {
    const MINUTE_NS: i64 = 60_000_000_000;
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
    calls_us.sort_by(f64::total_cmp);
    Ok(Figure { calls_us, ..clock.figure("1-minute range", rows, hash) })
}

/// Seconds that a throughput is measured for at least.
const MEASURE_S: f64 = 1.0;

/// Repeats `pass`, which gives rows and a hash, for long enough.
fn repeat(name: &'static str, mut pass: impl FnMut() -> Result<(u64, u64)>) -> Result<Figure> {
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

fn scan(snapshot: &Snapshot, key: &StreamKey) -> Result<Figure> {
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

fn book_replay(snapshot: &Snapshot, key: &StreamKey) -> Result<Figure> {
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

fn merged_replay(snapshot: &Snapshot, keys: &[StreamKey]) -> Result<Figure> {
    repeat("replay, all streams merged", || {
        let mut replay = snapshot.replay(keys, TsNs::MIN..TsNs::MAX)?;
        let (mut rows, mut hash) = (0, 0u64);
        replay.play(false, |step| {
            let range = step.rows();
            rows += range.len() as u64;
            hash = hash.rotate_left(1) ^ (step.stream as u64) << 32 ^ range.end as u64;
            Ok(true)
        })?;
        Ok((rows, hash))
    })
}

fn print(args: &Args, figures: &[Figure], sizes: &[Size]) -> Result<()> {
    let mut out = screen::output();
    let written = match args.json {
        true => writeln!(out, "{}", json(figures, sizes)),
        false => print_table(&mut out, figures, sizes),
    };
    written.and_then(|()| out.flush()).map_err(screen::write_error)
}

fn json(figures: &[Figure], sizes: &[Size]) -> serde_json::Value {
    let figures: Vec<_> = figures
        .iter()
        .map(|figure| {
            serde_json::json!({
                "name": figure.name,
                "rows": figure.rows,
                "wall_s": figure.wall_s,
                "cpu_s": figure.cpu_s,
                "rows_per_cpu_s": (figure.cpu_s > 0.0).then(|| figure.rows as f64 / figure.cpu_s),
                "calls": figure.calls_us.len(),
                "p50_us": figure.quantile(0.50),
                "p95_us": figure.quantile(0.95),
                "p99_us": figure.quantile(0.99),
                "memory_bytes": figure.memory,
                "hash": format!("{:016x}", figure.hash),
            })
        })
        .collect();
    let sizes: Vec<_> = sizes
        .iter()
        .map(|size| {
            serde_json::json!({
                "stream": size.key.to_string(),
                "rows": size.rows,
                "bytes": size.bytes,
                "bytes_per_row": size.bytes as f64 / size.rows.max(1) as f64,
            })
        })
        .collect();
    serde_json::json!({ "figures": figures, "streams": sizes })
}

fn print_table(out: &mut impl Write, figures: &[Figure], sizes: &[Size]) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<28} {:>14} {:>8} {:>8} {:>15} {:>9} {:>9} {:>9} {:>10}",
        "", "rows", "wall s", "CPU s", "rows/CPU s", "p50 us", "p95 us", "p99 us", "memory"
    )?;
    for figure in figures {
        let rate = match figure.cpu_s > 0.0 && figure.rows > 0 {
            true => screen::count((figure.rows as f64 / figure.cpu_s) as u64),
            false => String::new(),
        };
        let quantile =
            |share| figure.quantile(share).map_or(String::new(), |us| format!("{us:.1}"));
        let rows = if figure.rows == 0 { String::new() } else { screen::count(figure.rows) };
        let line = format!(
            "{:<28} {rows:>14} {:>8.2} {:>8.2} {rate:>15} {:>9} {:>9} {:>9} {:>10}",
            figure.name,
            figure.wall_s,
            figure.cpu_s,
            quantile(0.50),
            quantile(0.95),
            quantile(0.99),
            screen::bytes(figure.memory)
        );
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;
    for size in sizes {
        writeln!(
            out,
            "{:<45} {:>14} rows {:>7.3} B/row",
            size.key.to_string(),
            screen::count(size.rows),
            size.bytes as f64 / size.rows.max(1) as f64
        )?;
    }
    Ok(())
}
