//! What a server counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Figures since the start. Each is right on its own; together they are only nearly of one moment.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: Count,
    pub(super) failures: Count,
    pub(super) rows_sent: Count,
    pub(super) bytes_sent: Count,
    pub(super) incidents: Count,
    /// Requests without a valid token.
    pub(super) refused: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds `more` and gives the sum.
    pub(super) fn add(&self, more: u64) -> u64 {
        self.0.fetch_add(more, Ordering::Relaxed).wrapping_add(more)
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
