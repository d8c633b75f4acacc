//! What a writer shows to the snapshots of its own process: rows as soon as they are appended.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::tail::Tail;
use crate::catalog::Manifest;

/// The newest generation and the rows after it, shared by a writer and its readers.
pub(super) struct Live {
    view: Mutex<View>,
    changed: Condvar,
}

/// What the readers of a [`Live`] see.
pub(super) struct View {
    pub(super) manifest: Arc<Manifest>,
    pub(super) tail: Arc<Tail>,
    /// Streams with rows that wait for a commit, and the number of the first such row.
    pub(super) pending: Vec<(u32, u64)>,
    /// The same of rows that are being written.
    pub(super) committing: Vec<(u32, u64)>,
    /// Counts changes.
    pub(super) version: u64,
}

impl Live {
    pub(super) fn new(manifest: Arc<Manifest>, tail: Arc<Tail>) -> Self {
        let (pending, committing) = (Vec::new(), Vec::new());
        let view = View { manifest, tail, pending, committing, version: 0 };
        Self { view: Mutex::new(view), changed: Condvar::new() }
    }

    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what readers see, and wakes those that wait.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        let mut view = self.view();
        let result = change(&mut view);
        view.version += 1;
        drop(view);
        self.changed.notify_all();
        result
    }

    /// Waits until something changed since `version`, at most so long; the version now.
    pub(super) fn wait(&self, version: u64, timeout: Duration) -> u64 {
        let view = self.view();
        let same = |view: &mut View| view.version == version;
        let waited = self.changed.wait_timeout_while(view, timeout, same);
        waited.map_or_else(|poisoned| poisoned.into_inner().0.version, |(view, _)| view.version)
    }
}

impl View {
    /// The rows that are durable.
    pub(super) fn durable(&self) -> Arc<Tail> {
        let mut tail = self.tail.clone();
        for &(stream_id, row) in self.committing.iter().chain(&self.pending) {
            Arc::make_mut(&mut tail).keep_before(stream_id, row);
        }
        tail
    }
}
