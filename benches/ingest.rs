//! Rows per second from an input file to batches: parsing alone, nothing is stored.
//!
//! `cargo bench --no-default-features --features ingest --bench ingest [-- FILE...]`. Without files
//! it makes a small Tardis CSV of its own, so that the run is short; the published figures are from
//! generated files of millions of rows. The hash sums up all rows: two runs that print one hash
//! have read the same.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tickreel::event::ContentHash;
use tickreel::ingest::{Input, OpenOptions, Rows, Source, open, tardis_csv};

/// Runs per file; the fastest counts.
const RUNS: usize = 5;

fn main() -> tickreel::Result<()> {
    let files: Vec<PathBuf> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).map(PathBuf::from).collect();
    if files.is_empty() {
        let text = synthetic(100_000);
        return measure("synthetic incremental_book_L2", || {
            let reader = Box::new(Cursor::new(text.clone()));
            tardis_csv::from_input(Input::from_reader(Path::new("synthetic.csv"), reader)?, None)
        });
    }
    for file in files {
        measure(&file.display().to_string(), || open(&file, &OpenOptions::default()))?;
    }
    Ok(())
}

fn measure(
    name: &str,
    open: impl Fn() -> tickreel::Result<Box<dyn Source>>,
) -> tickreel::Result<()> {
    let mut best: Option<(u128, u128, u128, ContentHash, usize)> = None;
    for _ in 0..RUNS {
        let mut source = open()?;
        let (mut rows, mut hash, mut rejects) = (Rows::new(), ContentHash::EMPTY, 0);
        let (mut parse_ns, mut take_ns) = (0, 0);
        loop {
            let start = Instant::now();
            let more = source.fill(&mut rows)?;
            parse_ns += start.elapsed().as_nanos();
            let start = Instant::now();
            let batches = rows.take()?;
            take_ns += start.elapsed().as_nanos();
            rejects += rows.take_rejects().len();
            for (_, batch) in &batches {
                hash.update_all(batch);
            }
            if !more {
                break;
            }
        }
        let run = (parse_ns + take_ns, parse_ns, take_ns, hash, rejects);
        if best.is_none_or(|(fastest, ..)| run.0 < fastest) {
            best = Some(run);
        }
    }
    let Some((_, parse_ns, take_ns, hash, rejects)) = best else { return Ok(()) };
    let per_row = |ns: u128| ns as f64 / hash.rows().max(1) as f64;
    let line = format!(
        "{name}: {} rows, {rejects} rejects, parse {:.1} ns/row, take {:.1} ns/row, \
         {:.2} M rows/s, hash {:016x}\n",
        hash.rows(),
        per_row(parse_ns),
        per_row(take_ns),
        1000.0 / per_row(parse_ns + take_ns),
        hash.value()
    );
    std::io::stdout()
        .write_all(line.as_bytes())
        .map_err(|error| tickreel::Error::io(error, "print", Path::new("stdout")))
}

/// A file of `rows` rows in messages of one to eight levels.
fn synthetic(rows: usize) -> Vec<u8> {
    let mut text =
        String::from("exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n");
    let (mut state, mut ts, mut left) = (1u64, 1_709_251_200_200_000u64, 0);
    for row in 0..rows {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = state >> 33;
        if left == 0 {
            left = 1 + random % 8;
            ts += 1 + random % 20_000;
        }
        left -= 1;
        let side = if random & 1 == 0 { "bid" } else { "ask" };
        let (price, amount) = (4_200_000 + random % 5000, random / 7 % 1_000_000);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "binance,BTCUSDT,{ts},{},{},{side},{}.{:02},{}.{:05}",
            ts + 1337,
            row < 8,
            price / 100,
            price % 100,
            amount / 100_000,
            amount % 100_000
        );
    }
    text.into_bytes()
}
