//! Rows of one stream in a range of receive times, block by block.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::event::{Batch, Kind};
use crate::quantity::{Instrument, TsNs};
use crate::segment::{ColumnMask, Segment};
use crate::store::Snapshot;

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

/// Where a scan is: a message of a segment of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Place of the segment among those of the stream.
    pub(super) segment: usize,
    /// Message of the segment.
    pub(super) message: u64,
}

impl Position {
    /// After the last message.
    pub(super) const END: Self = Self { segment: usize::MAX, message: 0 };
}

/// A walk over the rows of one stream.
pub struct Scan {
    snapshot: Snapshot,
    stream_id: u32,
    kind: Kind,
    range: Range<TsNs>,
    columns: ColumnMask,
    /// Messages given out in one batch at most.
    messages_max: u64,
    segment: usize,
    /// The segment being read and the messages of it that are still to come.
    open: Option<(Arc<Segment>, Range<u64>)>,
    batch: Batch,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scan(stream {}, {:?})", self.stream_id, self.position())
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
        let segments = snapshot.segments(stream_id);
        let segment = segments.partition_point(|entry| entry.ts_recv_last < range.start.0);
        Self {
            snapshot: snapshot.clone(),
            stream_id,
            kind,
            range,
            columns,
            messages_max: u64::MAX,
            segment,
            open: None,
            batch: Batch::new(kind),
        }
    }

    /// Limits a batch to this many messages, to bound memory where many scans run at once.
    #[must_use]
    pub fn with_messages_max(mut self, messages: u64) -> Self {
        self.messages_max = messages.max(1);
        self
    }

    /// The next rows; `None` at the end of the range. The batch is reused by the next call.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset; nothing of a damaged page is given out.
    pub fn next_batch(&mut self) -> Result<Option<&Batch>> {
        let reuse = std::mem::replace(&mut self.batch, Batch::new(self.kind));
        match self.read_next(reuse)? {
            Some(batch) => {
                self.batch = batch;
                Ok(Some(&self.batch))
            }
            None => Ok(None),
        }
    }

    /// As [`Scan::next_batch`], to keep.
    ///
    /// # Errors
    /// As [`Scan::next_batch`].
    pub fn next_owned(&mut self) -> Result<Option<Batch>> {
        self.read_next(Batch::new(self.kind))
    }

    /// As [`Scan::next_owned`], decoding into the memory of `reuse`.
    ///
    /// # Errors
    /// As [`Scan::next_batch`].
    pub fn next_into(&mut self, reuse: Batch) -> Result<Option<Batch>> {
        self.read_next(reuse)
    }

    fn read_next(&mut self, reuse: Batch) -> Result<Option<Batch>> {
        if !self.advance()? {
            return Ok(None);
        }
        let Some((segment, messages)) = &mut self.open else { return Ok(None) };
        let end = messages.end.min(messages.start.saturating_add(self.messages_max));
        let block = segment.block_of(messages.start);
        let batch = segment.read(block, messages.start..end, self.columns, reuse)?;
        messages.start += batch.messages() as u64;
        Ok(Some(batch))
    }

    /// Makes sure that the open segment has messages to come; `false` at the end of the range.
    fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some((_, messages)) = &self.open {
                if !messages.is_empty() {
                    return Ok(true);
                }
                self.open = None;
                self.segment += 1;
            }
            let segments = self.snapshot.segments(self.stream_id);
            let Some(entry) = segments.get(self.segment) else { return Ok(false) };
            if entry.ts_recv_first >= self.range.end.0 {
                return Ok(false);
            }
            let segment = self.snapshot.open(entry, self.kind)?;
            let start = segment.first_message_at(self.range.start.0)?;
            let end = segment.first_message_at(self.range.end.0)?;
            self.open = Some((segment, start..end.max(start)));
        }
    }

    /// The stream's segment and message that [`Scan::next_batch`] gives next.
    pub(super) fn position(&self) -> Position {
        let message = self.open.as_ref().map_or(0, |(_, messages)| messages.start);
        Position { segment: self.segment, message }
    }

    /// Goes on at a position that [`Scan::position`] gave, in the same snapshot and range.
    pub(super) fn resume(&mut self, position: Position) -> Result<()> {
        self.segment = position.segment;
        self.open = None;
        if self.advance()?
            && self.segment == position.segment
            && let Some((_, messages)) = &mut self.open
        {
            messages.start = messages.start.max(position.message).min(messages.end);
        }
        Ok(())
    }
}
