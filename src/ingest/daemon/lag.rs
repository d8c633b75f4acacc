//! How long things take, as a histogram that any thread may add to.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of a lag's buckets, ms.
const BUCKETS_MS: [u64; 14] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

/// A histogram of times.
#[derive(Debug, Default)]
pub(super) struct Lag {
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Lag {
    /// Counts one.
    pub fn note(&self, lag: Duration) {
        let ms = lag.as_secs_f64() * 1e3;
        let above = BUCKETS_MS.iter().position(|bound| ms <= *bound as f64);
        if let Some(bucket) = self.buckets.get(above.unwrap_or(BUCKETS_MS.len())) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// The bucket bound that `share` of all times stay below, ms; 0 without times.
    pub fn quantile_ms(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS_MS) {
            seen += bucket.load(Relaxed);
            if seen >= wanted {
                return if wanted == 0 { 0 } else { bound };
            }
        }
        BUCKETS_MS.last().copied().unwrap_or(0)
    }

    /// How many times were not longer than each bound, in seconds; and the sum of all, in seconds.
    pub fn cumulated(&self) -> (Vec<(f64, u64)>, f64) {
        let mut seen = 0;
        let buckets = self.buckets.iter().zip(BUCKETS_MS).map(|(bucket, bound)| {
            seen += bucket.load(Relaxed);
            (bound as f64 / 1e3, seen)
        });
        (buckets.collect(), self.sum_us.load(Relaxed) as f64 / 1e6)
    }
}
