//! A store to ask, and how answers are timed: what the benches of the store's questions share.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::path::PathBuf;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use tickreel::event::{Kind, StreamKey};
use tickreel::ingest::sample::{MarketOptions, write_captures};
use tickreel::ingest::{self, OpenOptions, Reject, Watch};
use tickreel::store::{ImportOptions, Snapshot, Store};
use tickreel::{Result, TsNs};

/// Seconds that a rate is measured for.
const SECONDS: f64 = 1.0;

/// The store named on the command line, or one of the files named there, or of a made-up market.
pub struct Market {
    folder: tempfile::TempDir,
    pub store: Store,
    pub snapshot: Snapshot,
    /// The largest book.
    pub key: StreamKey,
    first: TsNs,
    last: TsNs,
}

impl Market {
    pub fn open() -> Result<Self> {
        let folder = tempfile::tempdir().expect("a folder for the store");
        let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
        let mut files: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
        if files.is_empty() {
            files = made(folder.path())?;
        }
        let store = match files.as_slice() {
            [file] if file.is_dir() => Store::open(file)?,
            _ => import(&files, &folder.path().join("bench.reel"))?,
        };
        let snapshot = store.snapshot()?;
        let infos = snapshot.stream_infos();
        let books = infos.iter().filter(|info| info.key.kind == Kind::Book);
        let largest = books.max_by_key(|info| info.rows).expect("a book");
        let (key, first, last) = (largest.key.clone(), largest.first, largest.last);
        Ok(Self { folder, store, snapshot, key, first, last })
    }

    /// A path for what a bench writes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Prints the times of `call` at random moments of the book; a tenth more is not counted.
    pub fn calls(
        &self,
        name: &str,
        count: usize,
        mut call: impl FnMut(TsNs) -> Result<u64>,
    ) -> Result<()> {
        let (mut state, mut hash) = (0x9e37_79b9_7f4a_7c15u64, 0u64);
        let mut taken = Vec::with_capacity(count);
        for number in 0..count + count / 10 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = self.first.0 + (state % (self.last.0 - self.first.0) as u64) as i64;
            let started = Instant::now();
            hash = hash.rotate_left(5) ^ call(TsNs(at))?;
            if number >= count / 10 {
                taken.push(started.elapsed().as_secs_f64() * 1e6);
            }
        }
        taken.sort_by(f64::total_cmp);
        let part = |share: f64| taken[((count - 1) as f64 * share) as usize];
        let (p50, p95, p99) = (part(0.5), part(0.95), part(0.99));
        println!(
            "{name:34} p50 {p50:8.1} us  p95 {p95:8.1} us  p99 {p99:8.1} us  hash {hash:016x}"
        );
        Ok(())
    }
}

fn import(files: &[PathBuf], root: &std::path::Path) -> Result<Store> {
    let store = Store::open_or_create(root)?;
    let mut import = store.import(ImportOptions::default())?;
    for mut input in ingest::open_all(files, &OpenOptions::default())? {
        ingest::load(&mut *input.source, &mut import, &mut Strict)?;
    }
    import.commit()?;
    Ok(store)
}

/// Prints rows per second of this thread's processor time. A `pass` gives rows and a hash; the
/// first is not counted.
pub fn rate(name: &str, mut pass: impl FnMut() -> Result<(u64, u64)>) -> Result<()> {
    pass()?;
    let (mut rows, mut hash, start) = (0, 0, cpu_seconds());
    while cpu_seconds() - start < SECONDS {
        let (more, value) = pass()?;
        rows += more;
        hash = value;
    }
    let millions = rows as f64 / (cpu_seconds() - start) / 1e6;
    println!("{name:34} {rows:>12} rows  {millions:8.1} M rows/s  hash {hash:016x}");
    Ok(())
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// The files of the default market.
fn made(folder: &std::path::Path) -> Result<Vec<PathBuf>> {
    let open = |name: &str| -> Result<Box<dyn std::io::Write + Send>> {
        Ok(Box::new(std::fs::File::create(folder.join(name)).expect("a file of the market")))
    };
    let captures = write_captures(&MarketOptions::new(1)?, open, |_| ())?;
    Ok(captures.files.iter().map(|file| folder.join(&file.name)).collect())
}

struct Strict;

impl Watch for Strict {
    fn progress(&mut self, _bytes_read: u64, _rows: u64) -> Result<()> {
        Ok(())
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        Err(reject.error)
    }
}
