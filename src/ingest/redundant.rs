//! Several copies of one feed as one, without doubles and without holes while one of them lives.
//! Pure: rows in, rows out; time is the receive time of rows.
//!
//! Of each stream one copy is *active*: its messages are stored as they come. What another copy
//! has heard beyond that is held. When the active copy breaks, another goes on with the first
//! message after the last one stored, see [`stream`]. Only where that cannot be shown is there a
//! gap.
//!
//! Rows of `status` are facts of each connection and all stored, except the gaps that were never
//! stored and the resyncs that ended them.

mod outcome;
mod stream;
mod twin;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use self::outcome::{Out, Work};
use self::stream::Stream;
use super::Rows;
use crate::error::Result;
use crate::event::{Batch, Kind, StatusWhat, StreamKey, status};
use crate::quantity::TsNs;

/// How often all streams are looked at for a copy that fell silent, ns of receive time.
const LOOK_EVERY_NS: i64 = 1_000_000_000;

/// Rows by stream, the rows of one stream in order.
pub(super) type Made = Vec<(StreamKey, Batch)>;

/// Makes one feed of several copies.
#[derive(Debug)]
pub(super) struct Merger {
    copies: usize,
    streams: HashMap<StreamKey, Stream>,
    /// The newest receive time seen, and the one when all streams were looked at.
    newest: i64,
    looked: i64,
}

impl Merger {
    /// Nothing was heard yet.
    pub fn new(copies: usize) -> Self {
        Self { copies, streams: HashMap::new(), newest: i64::MIN, looked: i64::MIN }
    }

    /// Nothing more is known of a stream.
    pub fn forget(&mut self, key: &StreamKey) {
        self.streams.remove(key);
    }

    /// Takes what each copy made since the last call, and gives what is to be stored.
    ///
    /// # Errors
    /// As [`Rows::take`].
    pub fn merge(&mut self, made: Vec<Made>) -> Result<Made> {
        let mut facts = Vec::new();
        let mut outs = BTreeMap::new();
        for (key, work) in self.work(made, &mut facts) {
            let new = || Stream::new(key.kind, self.copies);
            let stream = self.streams.entry(key.clone()).or_insert_with(new);
            let out = outs.entry(key).or_insert_with(|| Out::new(stream.last_ts()));
            stream.take(&work, out);
        }
        self.look(&mut outs);
        stored(outs, facts)
    }

    /// What there is to do by stream; rows of `status` are put aside.
    fn work(
        &mut self,
        made: Vec<Made>,
        facts: &mut Vec<(usize, (StreamKey, Batch))>,
    ) -> BTreeMap<StreamKey, Work> {
        let mut work: BTreeMap<StreamKey, Work> = BTreeMap::new();
        let mut losses = Vec::new();
        let of_copies = made.into_iter().enumerate();
        let each =
            of_copies.flat_map(|(copy, made)| made.into_iter().map(move |made| (copy, made)));
        for (copy, (key, batch)) in each {
            self.newest = batch.ts_recv().last().copied().unwrap_or(i64::MIN).max(self.newest);
            if key.kind == Kind::Status {
                losses.extend(lost(&batch).map(|ts_recv| (copy, key.instrument.clone(), ts_recv)));
                facts.push((copy, (key, batch)));
            } else {
                work.entry(key).or_default().batches.push((copy, Arc::new(batch)));
            }
        }
        for (copy, instrument, ts_recv) in losses {
            // A book says itself what that means for it.
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Book) {
                let key = StreamKey { instrument: instrument.clone(), kind };
                if self.streams.contains_key(&key) || work.contains_key(&key) {
                    work.entry(key).or_default().lost.push((copy, ts_recv));
                }
            }
        }
        work
    }

    /// Looks for active copies that fell silent: in streams that were heard, and at times in all.
    fn look(&mut self, outs: &mut BTreeMap<StreamKey, Out>) {
        let looks_at_all = self.newest.saturating_sub(self.looked) >= LOOK_EVERY_NS;
        if looks_at_all {
            self.looked = self.newest;
        }
        let keys: Vec<_> = match looks_at_all {
            true => self.streams.keys().cloned().collect(),
            false => outs.keys().cloned().collect(),
        };
        for key in keys {
            if let Some(stream) = self.streams.get_mut(&key).filter(|stream| stream.holds()) {
                let new = || Out::new(stream.last_ts());
                let out = outs.entry(key).or_insert_with(new);
                stream.look(self.newest, out);
            }
        }
    }
}

/// When the connection of an instrument was lost.
fn lost(status: &Batch) -> impl Iterator<Item = i64> {
    let facts = status.u8s(status::WHAT).iter().zip(status.ts_recv());
    let lost = facts.filter(|(what, _)| **what == StatusWhat::Disconnected as u8);
    lost.map(|(_, ts_recv)| *ts_recv)
}

/// Everything to store: rows, then the facts that hold for them.
fn stored(
    mut outs: BTreeMap<StreamKey, Out>,
    facts: Vec<(usize, (StreamKey, Batch))>,
) -> Result<Made> {
    let mut made = Made::new();
    let mut notes = Rows::new();
    for (key, out) in &mut outs {
        made.extend(out.batches().into_iter().map(|batch| (key.clone(), batch)));
        for (ts_recv, what, detail) in &out.notes {
            notes.status(&key.instrument, TsNs(*ts_recv), None, *what, detail);
        }
    }
    for (copy, (key, batch)) in facts {
        let book = StreamKey { instrument: key.instrument.clone(), kind: Kind::Book };
        let batch = match outs.get(&book) {
            Some(out) if !out.healed.is_empty() => without_healed(copy, &batch, out)?,
            _ => batch,
        };
        if !batch.is_empty() {
            made.push((key, batch));
        }
    }
    made.extend(notes.take()?);
    Ok(made)
}

/// The rows of `status` that are no gap or resync that was healed.
fn without_healed(copy: usize, batch: &Batch, out: &Out) -> Result<Batch> {
    let mut kept = Batch::new(Kind::Status);
    for (row, facts) in batch.u8s(status::WHAT).iter().zip(batch.ts_recv()).enumerate() {
        if !out.healed.contains(&(copy, *facts.0, *facts.1)) {
            kept.append_messages(batch, row..row + 1)?;
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
