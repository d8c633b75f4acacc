//! Rows of one stream in a range of receive times, block by block.

use std::ops::Range;

use super::filter::Filter;
use super::order::ReplayOrder;
use crate::error::Result;
use crate::event::{Batch, Kind};
use crate::quantity::{Instrument, TsNs};
use crate::segment::ColumnMask;
use crate::store::{Part, Snapshot};

impl Snapshot {
    /// The rows of a stream with `from <= ts_recv < to`, with the columns asked for.
    ///
    /// Costs two binary searches; then each batch costs the decoding of its columns.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if there is no such stream.
    pub fn scan(
        &self,
        instrument: &Instrument,
        kind: Kind,
        range: Range<TsNs>,
        columns: ColumnMask,
    ) -> Result<Scan> {
        let stream_id = self.stream_id(instrument, kind)?;
        Ok(Scan::new(self, stream_id, kind, range, columns))
    }
}

/// Messages that are decoded at once into memory that the next ones reuse: a part of a block, so
/// that it stays in the cache and little memory is touched for the first time. Texts of a block are
/// unpacked together, and so given out together.
const MESSAGES_REUSED: u64 = 1 << 13;

/// A walk over the rows of one stream.
pub struct Scan {
    snapshot: Snapshot,
    stream_id: u32,
    kind: Kind,
    range: Range<TsNs>,
    columns: ColumnMask,
    filter: Filter,
    /// Messages given out in one batch at most.
    messages_max: u64,
    order: ReplayOrder,
    /// The first message of the range was found.
    begun: bool,
    part: usize,
    /// The part being read and the messages of it that are still to come.
    open: Option<(Part, Range<u64>)>,
    /// Messages to leave out before the first.
    skip: u64,
    batch: Batch,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scan(stream {}, part {}, {:?})", self.stream_id, self.part, self.open)
    }
}

impl Scan {
    pub(super) fn new(
        snapshot: &Snapshot,
        stream_id: u32,
        kind: Kind,
        range: Range<TsNs>,
        columns: ColumnMask,
    ) -> Self {
        // No event time counts that is after the receive time: it may be where no earlier part is.
        let part = snapshot.parts(stream_id).first_until(range.start.0);
        Self {
            snapshot: snapshot.clone(),
            stream_id,
            kind,
            range,
            columns,
            filter: Filter::default(),
            messages_max: u64::MAX,
            order: ReplayOrder::Recv,
            begun: false,
            part,
            open: None,
            skip: 0,
            batch: Batch::new(kind),
        }
    }

    /// All columns of the messages from `range.start` on in an order, received before `range.end`.
    pub(super) fn of_order(
        snapshot: &Snapshot,
        stream_id: u32,
        kind: Kind,
        range: Range<TsNs>,
        order: ReplayOrder,
    ) -> Self {
        Self { order, ..Self::new(snapshot, stream_id, kind, range, ColumnMask::ALL) }
    }

    /// Limits a batch to this many messages, to bound memory where many scans run at once.
    #[must_use]
    pub fn with_messages_max(mut self, messages: u64) -> Self {
        self.messages_max = messages.max(1);
        self
    }

    /// Gives only the rows that `filter` wants. A batch may have more columns then than asked for.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        if !filter.is_empty() {
            self.columns = self.columns.with(filter.columns(self.kind));
        }
        self.filter = filter;
        self
    }

    /// Leaves out the first `messages` messages of the range.
    #[must_use]
    pub(super) fn with_skipped(mut self, messages: u64) -> Self {
        self.skip = messages;
        self
    }

    /// The next rows, a part of a block at most; `None` at the end of the range. The next call uses
    /// the batch again.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset; nothing of a damaged page is given out.
    pub fn next_batch(&mut self) -> Result<Option<&Batch>> {
        let reuse = std::mem::replace(&mut self.batch, Batch::new(self.kind));
        let texts = self.kind.schema().has_texts();
        match self.read_next(reuse, if texts { u64::MAX } else { MESSAGES_REUSED })? {
            Some(batch) => {
                self.batch = batch;
                Ok(Some(&self.batch))
            }
            None => Ok(None),
        }
    }

    /// The next rows, a block at most, to keep; `None` at the end of the range.
    ///
    /// # Errors
    /// As [`Scan::next_batch`].
    pub fn next_owned(&mut self) -> Result<Option<Batch>> {
        self.read_next(Batch::new(self.kind), u64::MAX)
    }

    /// As [`Scan::next_owned`], decoding into the memory of `reuse`.
    ///
    /// # Errors
    /// As [`Scan::next_batch`].
    pub fn next_into(&mut self, reuse: Batch) -> Result<Option<Batch>> {
        self.read_next(reuse, u64::MAX)
    }

    /// As [`Scan::next_owned`], but reads one block at most: none of its rows may be wanted.
    ///
    /// # Errors
    /// As [`Scan::next_batch`].
    pub fn next_block(&mut self) -> Result<Option<Batch>> {
        self.read_block(Batch::new(self.kind), u64::MAX)
    }

    fn read_next(&mut self, mut reuse: Batch, messages_max: u64) -> Result<Option<Batch>> {
        while let Some(batch) = self.read_block(reuse, messages_max)? {
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
            reuse = batch;
        }
        Ok(None)
    }

    fn read_block(&mut self, mut reuse: Batch, messages_max: u64) -> Result<Option<Batch>> {
        if !self.advance()? {
            return Ok(None);
        }
        let Some((part, messages)) = &mut self.open else { return Ok(None) };
        if !self.filter.is_empty() {
            let (filter, kind) = (&self.filter, self.kind);
            let wanted = |zones: &_, scales: &_| filter.may_hold(kind, zones, scales);
            messages.start = part.skip_to(messages.start, wanted).min(messages.end);
            if messages.is_empty() {
                reuse.clear();
                return Ok(Some(reuse));
            }
        }
        let most = messages_max.min(self.messages_max);
        let end = messages.end.min(messages.start.saturating_add(most));
        let batch = part.read(messages.start..end, self.columns, reuse)?;
        messages.start += batch.messages() as u64;
        Ok(Some(self.filter.keep(batch)))
    }

    /// Makes sure that the open part has messages to come; `false` at the end of the range.
    pub(super) fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some((_, messages)) = &mut self.open {
                let skipped = self.skip.min(messages.end - messages.start);
                self.skip -= skipped;
                messages.start += skipped;
                if !messages.is_empty() {
                    return Ok(true);
                }
                self.open = None;
                self.part += 1;
            }
            let times = self.snapshot.parts(self.stream_id).times(self.part);
            if times.is_none_or(|(first, _)| first >= self.range.end.0) {
                return Ok(false);
            }
            let part = self.snapshot.open_part(self.stream_id, self.kind, self.part)?;
            let Some(part) = part else { return Ok(false) };
            let start = match self.order {
                ReplayOrder::Recv => part.first_message_at(self.range.start.0)?,
                ReplayOrder::Event if self.begun => 0,
                ReplayOrder::Event => part.first_event_at(self.range.start.0)?,
            };
            let end = part.first_message_at(self.range.end.0)?;
            self.begun |= start < part.messages();
            self.open = Some((part, start..end.max(start)));
        }
    }

    /// Whether there may be more to read, from what is known without reading.
    pub(super) fn has_more(&self) -> bool {
        if self.open.as_ref().is_some_and(|(_, messages)| !messages.is_empty()) {
            return true;
        }
        let next = self.part + usize::from(self.open.is_some());
        let times = self.snapshot.parts(self.stream_id).times(next);
        times.is_some_and(|(first, _)| first < self.range.end.0)
    }

    /// Goes on as it is in a newer snapshot that shows the same of the stream; the old one, and
    /// what it holds of other streams, is let go.
    pub(super) fn follow(&mut self, newer: &Snapshot) {
        self.snapshot = newer.clone();
    }

    /// The part, which one it is, and the message of it that come next; `None` before
    /// [`Scan::advance`] and at the end.
    pub(super) fn next_message(&self) -> Option<(usize, &Part, u64)> {
        self.open.as_ref().map(|(part, messages)| (self.part, part, messages.start))
    }
}
