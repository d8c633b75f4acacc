//! Many streams played in one total order, with their books.
//!
//! Messages are ordered by `(ts_recv, kind rank, exchange, symbol)`; messages of one stream keep
//! their order. A step gives a run of messages of one stream that come before every other stream's
//! next message, so the order is exact while the cost is per run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::scan::{Position, Scan};
use crate::book::Tracker;
use crate::error::{Error, Result};
use crate::event::{Batch, ContentHash, Kind, StreamKey, book};
use crate::limit;
use crate::quantity::TsNs;
use crate::segment::ColumnMask;
use crate::store::Snapshot;

/// Rows that all cursors of a replay decode ahead together, so that memory does not depend on how
/// many streams there are or how long they are.
const ROWS_AHEAD: u64 = 1 << 20;
/// Messages that one cursor decodes ahead at least.
const MESSAGES_AHEAD_MIN: u64 = 1024;

impl Snapshot {
    /// Plays streams from `range.start` (inclusive) to `range.end` (exclusive) in the total order.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if a stream is not there; [`crate::ErrorKind::Limit`] for too
    /// many; [`crate::ErrorKind::Corrupt`] if an opening book cannot be read.
    pub fn replay(&self, streams: &[StreamKey], range: Range<TsNs>) -> Result<Replay> {
        let mut keys = streams.to_vec();
        keys.sort_by(|a, b| (&a.instrument, a.kind).cmp(&(&b.instrument, b.kind)));
        keys.dedup();
        if keys.len() > limit::REQUEST_STREAMS_MAX {
            return Err(Error::limit(
                "streams of a replay:",
                keys.len(),
                limit::REQUEST_STREAMS_MAX,
            ));
        }
        let ahead = (ROWS_AHEAD / keys.len().max(1) as u64).max(MESSAGES_AHEAD_MIN);
        let mut cursors = Vec::with_capacity(keys.len());
        for key in keys {
            let stream_id = self.stream_id(&key.instrument, key.kind)?;
            let scan = Scan::new(self, stream_id, key.kind, range.clone(), ColumnMask::ALL);
            cursors.push(StreamCursor {
                hash_key: ContentHash::key_of(&key),
                stream_id,
                scan: scan.with_messages_max(ahead),
                batch: Batch::new(key.kind),
                batch_start: Position::default(),
                message: 0,
                tracker: (key.kind == Kind::Book).then(Tracker::new),
                hash: ContentHash::EMPTY,
                key,
            });
        }
        let snapshot = self.clone();
        let heap = BinaryHeap::new();
        let hash = ContentHash::EMPTY;
        let mut replay = Replay { snapshot, range: range.clone(), ahead, cursors, heap, hash };
        replay.seek(range.start)?;
        Ok(replay)
    }
}

/// One stream of a replay.
struct StreamCursor {
    key: StreamKey,
    stream_id: u32,
    scan: Scan,
    batch: Batch,
    /// Where the batch begins in its stream.
    batch_start: Position,
    /// Next message of the batch.
    message: usize,
    tracker: Option<Tracker>,
    hash: ContentHash,
    hash_key: u64,
}

/// Sorts messages of different streams: time, rank, then place among the sorted instruments.
type Order = (i64, u8, usize);

/// Streams being played.
pub struct Replay {
    snapshot: Snapshot,
    range: Range<TsNs>,
    ahead: u64,
    cursors: Vec<StreamCursor>,
    /// Next message of every stream that has one.
    heap: BinaryHeap<Reverse<Order>>,
    hash: ContentHash,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replay({} streams, {} rows so far)", self.cursors.len(), self.hash.rows())
    }
}

/// A run of messages of one stream, next in the total order.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Place of the stream in [`Replay::streams`].
    pub stream: usize,
    /// Which stream.
    pub key: &'a StreamKey,
    /// The rows; only those of the messages below belong to this step.
    pub batch: &'a Batch,
    /// First message of the step.
    pub first_message: usize,
    /// Message after the last of the step.
    pub end_message: usize,
    /// The stream's book before these messages, if it is a book stream.
    pub before: Option<&'a Tracker>,
}

impl Step<'_> {
    /// The messages of the step.
    #[must_use]
    pub fn messages(&self) -> Range<usize> {
        self.first_message..self.end_message
    }

    /// The rows of the step.
    #[must_use]
    pub fn rows(&self) -> Range<usize> {
        if self.first_message >= self.end_message {
            return 0..0;
        }
        let first = self.batch.message_rows(self.first_message).start;
        first..self.batch.message_rows(self.end_message - 1).end
    }
}

/// The book a replay opens with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Which book stream.
    pub key: &'a StreamKey,
    /// The book before the first message of the replay.
    pub book: &'a Tracker,
}

/// Rows and hash of one stream of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamTotal {
    /// Which stream.
    pub key: StreamKey,
    /// Hash and count of the rows played.
    pub hash: ContentHash,
}

/// A place in a replay to come back to: the next message of every stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    generation: u64,
    positions: Vec<Position>,
    hashes: Vec<ContentHash>,
    hash: ContentHash,
}

impl Replay {
    /// The streams played, in the order that ties are broken.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = &StreamKey> {
        self.cursors.iter().map(|cursor| &cursor.key)
    }

    /// The range played.
    #[must_use]
    pub fn range(&self) -> Range<TsNs> {
        self.range.clone()
    }

    /// Rows that the range holds at most over all streams, from the manifest: whole segments count
    /// where the range cuts them. For progress.
    #[must_use]
    pub fn rows_at_most(&self) -> u64 {
        let entries = self.cursors.iter().flat_map(|c| self.snapshot.segments(c.stream_id));
        let inside = entries.filter(|entry| {
            entry.ts_recv_last >= self.range.start.0 && entry.ts_recv_first < self.range.end.0
        });
        inside.map(|entry| entry.rows).sum()
    }

    /// The books as they are now, of every book stream: the opening books before the first step.
    pub fn books(&self) -> impl Iterator<Item = Opening<'_>> {
        self.cursors
            .iter()
            .filter_map(|c| c.tracker.as_ref().map(|book| Opening { key: &c.key, book }))
    }

    /// The book of stream `stream` after the last step, if it is a book stream.
    #[must_use]
    pub fn book(&self, stream: usize) -> Option<&Tracker> {
        self.cursors.get(stream)?.tracker.as_ref()
    }

    /// The rows decoded of stream `stream`; a step's messages are some of them.
    #[must_use]
    pub fn batch(&self, stream: usize) -> Option<&Batch> {
        self.cursors.get(stream).map(|cursor| &cursor.batch)
    }

    /// Stops keeping books, so that playing costs less. A seek or resume does not bring them back.
    pub fn forget_books(&mut self) {
        self.cursors.iter_mut().for_each(|cursor| cursor.tracker = None);
    }

    /// Receive time of the next message; `None` at the end.
    #[must_use]
    pub fn next_ts(&self) -> Option<TsNs> {
        self.heap.peek().map(|Reverse((ts, _, _))| TsNs(*ts))
    }

    /// Goes to the first message with `ts_recv >= at`, with the books before it. Rows played and
    /// their hash start over.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub fn seek(&mut self, at: TsNs) -> Result<()> {
        self.heap.clear();
        self.hash = ContentHash::EMPTY;
        let start = at.max(self.range.start);
        for place in 0..self.cursors.len() {
            let cursor = &mut self.cursors[place];
            let range = start..self.range.end;
            let kind = cursor.key.kind;
            cursor.scan = Scan::new(&self.snapshot, cursor.stream_id, kind, range, ColumnMask::ALL)
                .with_messages_max(self.ahead);
            cursor.hash = ContentHash::EMPTY;
            if cursor.tracker.is_some() {
                let mut books = self.snapshot.books(&cursor.key.instrument)?;
                cursor.tracker = Some(books.before(start)?.clone());
            }
            self.refill(place)?;
        }
        Ok(())
    }

    /// Reads the next batch of a stream and puts its first message into the order.
    fn refill(&mut self, place: usize) -> Result<()> {
        let cursor = &mut self.cursors[place];
        let reuse = std::mem::replace(&mut cursor.batch, Batch::new(cursor.key.kind));
        cursor.message = 0;
        if let Some(batch) = cursor.scan.next_into(reuse)? {
            let end = cursor.scan.position();
            // The scan may have moved on to another segment before it read.
            let messages = batch.messages() as u64;
            cursor.batch_start = Position { segment: end.segment, message: end.message - messages };
            cursor.batch = batch;
            self.heap.push(Reverse(cursor.order(place, 0)));
        }
        Ok(())
    }

    /// The next run of messages, at most `messages_max` of them; `None` at the end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub fn step(&mut self, messages_max: usize) -> Result<Option<Step<'_>>> {
        let Some((stream, messages)) = self.advance(messages_max)? else { return Ok(None) };
        let cursor = &self.cursors[stream];
        Ok(Some(Step {
            stream,
            key: &cursor.key,
            batch: &cursor.batch,
            first_message: messages.start,
            end_message: messages.end,
            before: cursor.tracker.as_ref(),
        }))
    }

    /// Completes a step: applies its messages to the book and the hash. A replay that is stepped
    /// again without it shows the same step again.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] if the rows are no book.
    pub fn accept(&mut self, stream: usize, messages: Range<usize>, hash: bool) -> Result<()> {
        let Some(cursor) = self.cursors.get_mut(stream) else { return Ok(()) };
        if messages.start != cursor.message || messages.end > cursor.batch.messages() {
            return Err(Error::invalid("messages accepted are not those of the last step"));
        }
        if let Some(tracker) = &mut cursor.tracker {
            tracker.apply(&cursor.batch, messages.clone())?;
        }
        if hash {
            cursor.hash.update(&cursor.batch, messages.clone());
            self.hash.update_keyed(&cursor.batch, messages.clone(), cursor.hash_key);
        }
        cursor.message = messages.end;
        self.heap.pop();
        if cursor.message < cursor.batch.messages() {
            let order = cursor.order(stream, cursor.message);
            self.heap.push(Reverse(order));
            return Ok(());
        }
        self.refill(stream)
    }

    /// Plays everything that is left, handing each step to `each`, which may stop it with `false`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset, or what `each` gives.
    pub fn play(
        &mut self,
        hash: bool,
        mut each: impl FnMut(&Step<'_>) -> Result<bool>,
    ) -> Result<()> {
        while let Some(step) = self.step(usize::MAX)? {
            let (stream, messages) = (step.stream, step.messages());
            let go_on = each(&step)?;
            self.accept(stream, messages, hash)?;
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    /// The stream whose message is next, and how many of its messages come before any other's.
    fn advance(&mut self, messages_max: usize) -> Result<Option<(usize, Range<usize>)>> {
        let Some(&Reverse((_, _, stream))) = self.heap.peek() else { return Ok(None) };
        // The runner-up is one of the two children of the top.
        let rival = self.heap.as_slice().iter().skip(1).take(2).map(|Reverse(order)| *order).min();
        let cursor = &self.cursors[stream];
        let start = cursor.message;
        let room = cursor.batch.messages() - start;
        let count = match rival {
            None => room,
            Some(rival) => cursor.run_before(stream, rival),
        };
        Ok(Some((stream, start..start + count.min(messages_max.max(1)))))
    }

    /// A place to come back to with [`Replay::resume`].
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let positions = self.cursors.iter().map(|cursor| {
            if cursor.message >= cursor.batch.messages() {
                return Position::END;
            }
            let start = cursor.batch_start;
            Position { message: start.message + cursor.message as u64, ..start }
        });
        Cursor {
            generation: self.snapshot.generation(),
            positions: positions.collect(),
            hashes: self.cursors.iter().map(|cursor| cursor.hash).collect(),
            hash: self.hash,
        }
    }

    /// Goes on where [`Replay::cursor`] was taken, in a replay of the same streams, range and
    /// generation; rows and hash go on too.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Stale`] if the store has changed since; [`crate::ErrorKind::Invalid`]
    /// for a cursor of other streams; [`crate::ErrorKind::Corrupt`] with file and offset.
    pub fn resume(&mut self, at: &Cursor) -> Result<()> {
        if at.generation != self.snapshot.generation() {
            return Err(Error::new(
                crate::ErrorKind::Stale,
                format!(
                    "cursor is of generation {}, the store is at {}",
                    at.generation,
                    self.snapshot.generation()
                ),
            ));
        }
        if at.positions.len() != self.cursors.len() || at.hashes.len() != self.cursors.len() {
            return Err(Error::invalid("cursor is of a replay of other streams"));
        }
        self.seek(self.range.start)?;
        self.heap.clear();
        for place in 0..self.cursors.len() {
            let position = at.positions[place];
            let cursor = &mut self.cursors[place];
            cursor.scan.resume(position)?;
            cursor.hash = at.hashes[place];
            if let Some(tracker) = &mut cursor.tracker {
                let entries = self.snapshot.segments(cursor.stream_id);
                match entries.get(position.segment) {
                    Some(entry) => {
                        let segment = self.snapshot.open(entry, Kind::Book)?;
                        let mut scratch = Batch::new(Kind::Book);
                        segment.restore(position.message, tracker, &mut scratch)?;
                    }
                    None => {
                        let mut books = self.snapshot.books(&cursor.key.instrument)?;
                        *tracker = books.before(self.range.end)?.clone();
                    }
                }
            }
            self.refill(place)?;
        }
        self.hash = at.hash;
        Ok(())
    }

    /// Rows and hash over all streams, in the order played.
    #[must_use]
    pub fn total(&self) -> ContentHash {
        self.hash
    }

    /// Rows and hash of each stream.
    #[must_use]
    pub fn stream_totals(&self) -> Vec<StreamTotal> {
        let totals = self.cursors.iter();
        totals.map(|c| StreamTotal { key: c.key.clone(), hash: c.hash }).collect()
    }
}

impl StreamCursor {
    fn order(&self, place: usize, message: usize) -> Order {
        (self.batch.ts_recv()[message], self.rank(message), place)
    }

    fn rank(&self, message: usize) -> u8 {
        let first = self.batch.message_rows(message).start;
        let kind = self.key.kind;
        let resets = kind
            .reset_code()
            .is_some_and(|reset| self.batch.u8s(book::ACTION).get(first) == Some(&reset));
        kind.rank(resets)
    }

    /// How many messages from the next one on come before `rival`; at least 1.
    fn run_before(&self, place: usize, rival: Order) -> usize {
        let times = &self.batch.ts_recv()[self.message..];
        // Runs are short where many streams interleave: step, then leap.
        let mut sure = 1;
        while sure < times.len() && sure < 8 && times[sure] < rival.0 {
            sure += 1;
        }
        if sure == 8 {
            sure += times[sure.min(times.len())..].partition_point(|&ts| ts < rival.0);
        }
        while sure < times.len()
            && times[sure] == rival.0
            && self.order(place, self.message + sure) < rival
        {
            sure += 1;
        }
        sure
    }
}
