//! Finds messages by time and books by message.

use super::block::BlockReader;
use super::reader::{ColumnMask, Segment};
use crate::book::Tracker;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Kind, book};
use crate::format::segment::{BlockEntry, FLAG_GAPS, FLAG_RESETS};
use crate::quantity::NULL;

/// The first message whose event time and receive time are both at least `ts`; where there is no
/// event time the receive time counts alone.
#[must_use]
pub fn first_event_in(batch: &Batch, ts: i64) -> Option<usize> {
    let times = batch.ts_recv().iter().zip(batch.i64s(book::TS_EVENT));
    times.into_iter().position(|(&recv, &event)| recv >= ts && (event == NULL || event >= ts))
}

/// What a book needs of its rows.
pub(super) const BOOK_COLUMNS: [usize; 7] = [
    book::TS_RECV,
    book::TS_EVENT,
    book::ACTION,
    book::SIDE,
    book::PRICE,
    book::QTY,
    book::VENUE_SEQ,
];

/// What the levels of a book are made of.
const LEVEL_COLUMNS: [usize; 4] = [book::ACTION, book::SIDE, book::PRICE, book::QTY];

/// Where the flags of a block are wrong, and receive times were left out.
const UNTOLD: &str = "block holds gaps or resets and does not say so";

/// What a book says of its last message.
const HEAD_COLUMNS: [usize; 3] = [book::TS_RECV, book::TS_EVENT, book::VENUE_SEQ];

impl Segment {
    /// First message whose receive time is at least `ts`; the message count if there is none.
    ///
    /// Costs a binary search of the block index and of one page's group directory, and the decoding
    /// of at most 1,024 times.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub fn first_message_at(&self, ts: i64) -> Result<u64> {
        let blocks = self.blocks();
        let number = blocks.partition_point(|block| block.ts_recv_last < ts);
        let Some(entry) = blocks.get(number) else { return Ok(self.messages()) };
        if ts <= entry.ts_recv_first {
            return Ok(entry.first_message);
        }
        BlockReader::open(self, number, entry)?.first_message_at(ts)
    }

    /// The first message at or after `message` that lies in a block that `may_hold`; the message
    /// count if there is none.
    #[must_use]
    pub fn skip_blocks(&self, message: u64, may_hold: impl Fn(&BlockEntry) -> bool) -> u64 {
        let blocks = self.blocks().get(self.block_of(message)..).unwrap_or_default();
        let held = blocks.iter().find(|block| may_hold(block));
        held.map_or(self.messages(), |block| block.first_message.max(message))
    }

    /// First message whose event time and receive time are both at least `ts`, where there is no
    /// event time only the receive time; the message count if there is none.
    ///
    /// Reads two columns of the blocks from the first message received at `ts` on to the one found,
    /// and none of a block whose smallest event time is late enough.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub fn first_event_at(&self, ts: i64) -> Result<u64> {
        let mut message = self.first_message_at(ts)?;
        let mut batch = Batch::new(self.kind());
        while message < self.messages() {
            let number = self.block_of(message);
            let Some(entry) = self.blocks().get(number) else { break };
            if entry.ts_event_min == NULL || entry.ts_event_min >= ts {
                return Ok(message);
            }
            let columns = ColumnMask::of(&[book::TS_RECV, book::TS_EVENT]);
            batch = self.read(number, message..u64::MAX, columns, batch)?;
            if let Some(found) = first_event_in(&batch, ts) {
                return Ok(message + found as u64);
            }
            message += batch.messages() as u64;
        }
        Ok(self.messages())
    }

    /// Makes `tracker` the book before message `message`: the last checkpoint at or before it, then
    /// at most [`crate::format::segment::Footer::replay_rows_max`] rows.
    ///
    /// `scratch` gives its memory and gets it back.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if the segment holds no book; [`crate::ErrorKind::Corrupt`]
    /// with file and offset.
    pub fn restore(&self, message: u64, tracker: &mut Tracker, scratch: &mut Batch) -> Result<()> {
        if self.kind() != Kind::Book {
            return Err(crate::Error::invalid(format!("{} has no book", self.kind())));
        }
        let index = self.checkpoints().partition_point(|entry| entry.message <= message);
        let (entry, checkpoint) = self.checkpoint(index.saturating_sub(1))?;
        let times = (entry.ts_recv, entry.ts_event, entry.venue_seq);
        tracker.restore_checked(&checkpoint.checkpoint(times.0, times.1, times.2));
        self.apply(entry.message, message, tracker, scratch)
    }

    /// Applies messages `start..end` to `tracker`.
    ///
    /// Times and sequences are read of the last message only, and where a block has gaps or resets.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub fn apply(
        &self,
        start: u64,
        end: u64,
        tracker: &mut Tracker,
        scratch: &mut Batch,
    ) -> Result<()> {
        let end = end.min(self.messages());
        let mut message = start;
        while message < end {
            let block = self.block_of(message);
            let batch = std::mem::replace(scratch, Batch::new(Kind::Book));
            let batch = self.read(block, message..end, self.columns_of_levels(block), batch)?;
            tracker.apply(&batch, 0..batch.messages()).map_err(|error| {
                let error = match error.kind() {
                    ErrorKind::Invalid => Error::corrupt(UNTOLD),
                    _ => error,
                };
                error.at_path(self.path()).at_byte(self.blocks()[block].offset)
            })?;
            message += batch.messages() as u64;
            *scratch = batch;
        }
        if start < end {
            let (last, mask) = (end - 1, ColumnMask::of(&HEAD_COLUMNS));
            let head = self.read(self.block_of(last), last..end, mask, Batch::new(Kind::Book))?;
            tracker.set_head(&head, 0);
        }
        Ok(())
    }

    /// The columns of a block that its levels, gaps and resets are made of.
    fn columns_of_levels(&self, block: usize) -> ColumnMask {
        let flags = self.blocks().get(block).map_or(0, |entry| entry.flags);
        match flags & (FLAG_GAPS | FLAG_RESETS) {
            0 => ColumnMask::of(&LEVEL_COLUMNS),
            _ => ColumnMask::of(&BOOK_COLUMNS),
        }
    }
}
