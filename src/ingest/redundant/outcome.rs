//! What goes into the merging of one stream at a time, and what comes out.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::event::{Batch, StatusWhat};

/// What copies made of one stream.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub batches: Vec<(usize, Arc<Batch>)>,
    /// When a copy lost its connection.
    pub lost: Vec<(usize, i64)>,
}

/// What is to be stored of one stream.
#[derive(Debug)]
pub(super) struct Out {
    /// Receive time of the last row stored before.
    after: i64,
    pieces: Vec<(Arc<Batch>, Range<usize>)>,
    /// What the merger itself has to say.
    pub notes: Vec<(i64, StatusWhat, String)>,
    /// Gaps and resyncs of a copy that are not stored, by their receive time.
    pub healed: BTreeSet<(usize, u8, i64)>,
}

impl Out {
    pub fn new(after: i64) -> Self {
        Self { after, pieces: Vec::new(), notes: Vec::new(), healed: BTreeSet::new() }
    }

    /// Stores message `at` of `batch`.
    pub fn push(&mut self, batch: &Arc<Batch>, at: usize) {
        match self.pieces.last_mut() {
            Some((last, range)) if Arc::ptr_eq(last, batch) && range.end == at => range.end += 1,
            _ => self.pieces.push((batch.clone(), at..at + 1)),
        }
    }

    pub fn note(&mut self, ts_recv: i64, what: StatusWhat, detail: &str) {
        self.notes.push((ts_recv, what, detail.to_owned()));
    }

    /// A gap or resync of `copy` is not stored.
    pub fn heal(&mut self, copy: usize, what: StatusWhat, ts_recv: i64) {
        self.healed.insert((copy, what as u8, ts_recv));
    }

    /// The rows; none was received before the one before it.
    pub fn batches(&mut self) -> Vec<Batch> {
        let mut last = self.after;
        let pieces = std::mem::take(&mut self.pieces).into_iter().map(|(batch, messages)| {
            let mut piece = match messages.len() == batch.messages() {
                true => Arc::unwrap_or_clone(batch),
                false => batch.slice_messages(messages),
            };
            if piece.ts_recv().first().is_some_and(|first| *first < last) {
                piece.clamp_ts_recv(last);
            }
            last = piece.ts_recv().last().copied().unwrap_or(last);
            piece
        });
        pieces.collect()
    }
}
