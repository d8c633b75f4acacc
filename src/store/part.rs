//! The parts of a stream, by time: its sealed segments, then the live tail. Readers walk parts and
//! need not know which is which.

use std::ops::Range;
use std::sync::Arc;

use super::tail::StreamTail;
use crate::book::Tracker;
use crate::error::{Error, Result};
use crate::event::{Batch, Kind};
use crate::format::manifest::{FLAG_LOST, SegmentEntry};
use crate::segment::{ColumnMask, Segment};

/// The parts of one stream, not opened yet.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    pub(super) segments: &'a [SegmentEntry],
    pub(super) tail: Option<&'a Arc<StreamTail>>,
}

/// A part of a stream, ready to be read.
#[derive(Clone)]
pub enum Part {
    /// A segment file.
    Sealed(Arc<Segment>),
    /// Rows that are in no segment yet.
    Live(Arc<StreamTail>),
    /// A segment that was damaged: its rows are missing. Lost parts of a book are gaps instead.
    Lost(Kind),
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sealed(segment) => segment.fmt(f),
            Self::Live(tail) => write!(f, "Live({} rows)", tail.rows()),
            Self::Lost(kind) => write!(f, "Lost({kind})"),
        }
    }
}

impl<'a> Parts<'a> {
    /// The segments.
    #[must_use]
    pub fn segments(&self) -> &'a [SegmentEntry] {
        self.segments
    }

    /// The rows that are in no segment yet.
    #[must_use]
    pub fn tail(&self) -> Option<&'a Arc<StreamTail>> {
        self.tail
    }

    /// How many parts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len() + usize::from(self.tail.is_some())
    }

    /// Whether the stream has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Receive times of the first and last row of a part, ns.
    #[must_use]
    pub fn times(&self, index: usize) -> Option<(i64, i64)> {
        match self.segments.get(index) {
            Some(entry) => Some((entry.ts_recv_first, entry.ts_recv_last)),
            None => self.tail.filter(|_| index == self.segments.len()).map(|tail| tail.times()),
        }
    }

    /// Receive time of the last row, ns.
    #[must_use]
    pub fn last_ts(&self) -> Option<i64> {
        self.times(self.len().checked_sub(1)?).map(|(_, last)| last)
    }

    /// The segments whose rows are there.
    pub fn kept(&self) -> impl Iterator<Item = &'a SegmentEntry> {
        self.segments.iter().filter(|entry| entry.flags & FLAG_LOST == 0)
    }

    /// The segments whose rows are missing because their files were damaged.
    pub fn lost(&self) -> impl Iterator<Item = &'a SegmentEntry> {
        self.segments.iter().filter(|entry| entry.flags & FLAG_LOST != 0)
    }

    /// Rows of a part.
    #[must_use]
    pub fn rows(&self, index: usize) -> u64 {
        match self.segments.get(index) {
            Some(entry) if entry.flags & FLAG_LOST != 0 => 0,
            Some(entry) => entry.rows,
            None => self.tail.map_or(0, |tail| tail.rows()),
        }
    }

    /// The first part that may hold rows received at `ts` or later.
    #[must_use]
    pub fn first_until(&self, ts: i64) -> usize {
        let sealed = self.segments.partition_point(|entry| entry.ts_recv_last < ts);
        let past_tail = |tail: &&Arc<StreamTail>| tail.times().1 < ts;
        sealed
            + usize::from(sealed == self.segments.len() && self.tail.is_some_and(|t| past_tail(&t)))
    }

    /// How many parts begin before `ts`.
    #[must_use]
    pub fn begun_before(&self, ts: i64) -> usize {
        let sealed = self.segments.partition_point(|entry| entry.ts_recv_first < ts);
        let tail_begun = self.tail.is_some_and(|tail| tail.times().0 < ts);
        sealed + usize::from(sealed == self.segments.len() && tail_begun)
    }

    /// The most rows that a seek in any part replays.
    #[must_use]
    pub fn replay_rows_max(&self) -> u64 {
        let sealed = self.segments.iter().map(|entry| entry.replay_rows_max).max().unwrap_or(0);
        sealed.max(self.tail.map_or(0, |tail| tail.replay_rows_max()))
    }
}

impl Part {
    /// How many messages.
    #[must_use]
    pub fn messages(&self) -> u64 {
        match self {
            Self::Sealed(segment) => segment.messages(),
            Self::Live(tail) => tail.messages(),
            Self::Lost(_) => 0,
        }
    }

    /// The first message whose receive time is at least `ts`; the message count if there is none.
    ///
    /// # Errors
    /// As [`Segment::first_message_at`].
    pub fn first_message_at(&self, ts: i64) -> Result<u64> {
        match self {
            Self::Sealed(segment) => segment.first_message_at(ts),
            Self::Live(tail) => Ok(tail.first_message_at(ts)),
            Self::Lost(_) => Ok(0),
        }
    }

    /// The first message at or after `message` of which `may_hold`, told the smallest and largest
    /// values of its block and the scales, does not say that it cannot be wanted.
    #[must_use]
    pub fn skip_to(&self, message: u64, may_hold: impl Fn(&[i64; 4], &[(u8, u8)]) -> bool) -> u64 {
        match self {
            Self::Sealed(segment) => {
                segment.skip_blocks(message, |block| may_hold(&block.zones, segment.scales()))
            }
            Self::Live(_) | Self::Lost(_) => message,
        }
    }

    /// The first message whose event time and receive time are both at least `ts`, where there is
    /// no event time only the receive time; the message count if there is none.
    ///
    /// # Errors
    /// As [`Segment::first_event_at`].
    pub fn first_event_at(&self, ts: i64) -> Result<u64> {
        match self {
            Self::Sealed(segment) => segment.first_event_at(ts),
            Self::Live(tail) => Ok(tail.first_event_at(ts)),
            Self::Lost(_) => Ok(0),
        }
    }

    /// Some of the messages `messages`, from the first on, with the columns asked for. `reuse`
    /// gives its memory.
    ///
    /// # Errors
    /// As [`Segment::read`].
    pub fn read(&self, messages: Range<u64>, mask: ColumnMask, reuse: Batch) -> Result<Batch> {
        match self {
            Self::Sealed(segment) => {
                segment.read(segment.block_of(messages.start), messages, mask, reuse)
            }
            Self::Live(tail) => Ok(tail.read(messages, mask)),
            Self::Lost(kind) => Ok(Batch::new(*kind)),
        }
    }

    /// The message before which a whole book is kept, at or before `message`.
    #[must_use]
    pub fn checkpoint_before(&self, message: u64) -> u64 {
        match self {
            Self::Sealed(segment) => {
                let checkpoints = segment.checkpoints();
                let nearest = checkpoints.partition_point(|entry| entry.message <= message);
                checkpoints.get(nearest.wrapping_sub(1)).map_or(0, |entry| entry.message)
            }
            Self::Live(tail) => tail.checkpoint_before(message),
            Self::Lost(_) => 0,
        }
    }

    /// Makes `tracker` the book before message `message`. `scratch` gives its memory and gets it
    /// back.
    ///
    /// # Errors
    /// As [`Segment::restore`].
    pub fn restore(&self, message: u64, tracker: &mut Tracker, scratch: &mut Batch) -> Result<()> {
        match self {
            Self::Sealed(segment) => segment.restore(message, tracker, scratch),
            Self::Live(tail) => tail.restore(message, tracker),
            Self::Lost(kind) => Err(Error::invalid(format!("{kind} has no book"))),
        }
    }

    /// Applies messages `start..end` to `tracker`.
    ///
    /// # Errors
    /// As [`Segment::apply`].
    pub fn apply(
        &self,
        start: u64,
        end: u64,
        tracker: &mut Tracker,
        scratch: &mut Batch,
    ) -> Result<()> {
        match self {
            Self::Sealed(segment) => segment.apply(start, end, tracker, scratch),
            Self::Live(tail) => tail.apply(start, end, tracker),
            Self::Lost(_) => Ok(()),
        }
    }

    /// Scale and digits of each column.
    #[must_use]
    pub fn scales(&self) -> Vec<(u8, u8)> {
        match self {
            Self::Sealed(segment) => segment.scales().to_vec(),
            Self::Live(tail) => tail.scales(),
            Self::Lost(_) => Vec::new(),
        }
    }
}
