//! One measured thing, and the clocks it is measured with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One measured thing.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// Rows over all repetitions.
    pub(super) rows: u64,
    /// Bytes written, where something is written.
    pub(super) bytes: Option<u64>,
    pub(super) wall_s: f64,
    pub(super) cpu_s: f64,
    /// Microseconds of single calls, sorted; empty where only the whole is measured.
    pub(super) calls_us: Vec<f64>,
    /// Most anonymous memory while it was measured, bytes.
    pub(super) memory: u64,
    /// Of what was computed.
    pub(super) hash: u64,
}

impl Figure {
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.calls_us.len().checked_sub(1)?;
        self.calls_us.get((last as f64 * share).round() as usize).copied()
    }

    pub(super) fn with_bytes(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// With the times of single calls, in any order.
    pub(super) fn with_calls(self, mut calls_us: Vec<f64>) -> Self {
        calls_us.sort_by(f64::total_cmp);
        Self { calls_us, ..self }
    }
}

pub(super) struct Clock {
    pub(super) wall: Instant,
    pub(super) cpu: f64,
}

impl Clock {
    pub(super) fn start() -> Self {
        MEMORY_PEAK.store(0, Ordering::Relaxed);
        Self { cpu: cpu_seconds(), wall: Instant::now() }
    }

    pub(super) fn figure(&self, name: &'static str, rows: u64, hash: u64) -> Figure {
        let wall_s = self.wall.elapsed().as_secs_f64();
        let cpu_s = cpu_seconds() - self.cpu;
        let memory = MEMORY_PEAK.fetch_max(memory_bytes(), Ordering::Relaxed).max(memory_bytes());
        Figure { name, rows, bytes: None, wall_s, cpu_s, calls_us: Vec::new(), memory, hash }
    }
}

/// Most anonymous memory seen since a clock was started, bytes.
static MEMORY_PEAK: AtomicU64 = AtomicU64::new(0);

/// How often memory is looked at: a look takes some 30 us.
const MEMORY_EVERY: Duration = Duration::from_millis(10);

/// Looks at the memory of this process from now on. The kernel keeps no peak of it without maps.
pub(super) fn watch_memory() {
    std::thread::spawn(|| {
        loop {
            MEMORY_PEAK.fetch_max(memory_bytes(), Ordering::Relaxed);
            std::thread::sleep(MEMORY_EVERY);
        }
    });
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
