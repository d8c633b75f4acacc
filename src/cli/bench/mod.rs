//! `tickreel bench`: what this machine does with these rows.
//!
//! Every figure comes with a hash of what was computed, so that no loop is empty. CPU seconds are
//! user plus system time of the whole process, from `/proc`, in steps of 10 ms.

mod figure;
mod live;
mod served;
mod store;

use std::io::Write;
use std::path::{Path, PathBuf};

use figure::{Clock, Figure};

use super::screen;
use crate::error::{Error, Result};
use crate::event::{Kind, StreamKey};
use crate::store::Store;

/// Measure import, seek, scan, replay, server and live append on this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to measure with, as for import [default: a made-up market]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Keep the store here instead of removing it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Compact the store before anything is asked of it
    #[arg(long)]
    compact: bool,
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
    let mut figures = vec![store::import(&data, &root)?];
    if args.compact {
        figures.push(store::compact(&root)?);
    }
    let clock = Clock::start();
    let opened = Store::open(&root)?;
    let snapshot = opened.snapshot()?;
    figures.push(clock.figure("open the store", 0, snapshot.generation()));
    let infos = snapshot.stream_infos();
    let largest = infos.iter().filter(|info| info.key.kind == Kind::Book);
    let largest = largest.max_by_key(|info| info.rows).map(|info| info.key.clone());
    if let Some(key) = &largest {
        figures.push(store::seeks(&snapshot, key, args.seeks)?);
        figures.push(store::ranges(&snapshot, key, args.seeks / 5)?);
        figures.push(store::scan(&snapshot, key)?);
        figures.push(store::book_replay(&snapshot, key)?);
    }
    let keys: Vec<_> = infos.iter().map(|info| info.key.clone()).collect();
    figures.push(store::merged_replay(&snapshot, &keys)?);
    if let Some(key) = &largest {
        figures.extend(served::figures(&opened, key, args.seeks / 5)?);
        figures.push(live::append(&snapshot, key, &folder.path.join("live.reel"))?);
    }
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

struct Size {
    key: StreamKey,
    rows: u64,
    bytes: u64,
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
