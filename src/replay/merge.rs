//! Many streams played in one total order, with their books.
//!
//! Messages are ordered by `(ts_recv, kind rank, exchange, symbol)`; messages of one stream keep
//! their order. A step gives a run of messages of one stream that come before every other stream's
//! next message, so the order is exact while the cost is per run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::scan::Scan;
use crate::book::Tracker;
use crate::error::{Error, ErrorKind, Result};
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
    /// [`ErrorKind::NotFound`] if a stream is not there; [`ErrorKind::Limit`] for too many;
    /// [`ErrorKind::Corrupt`] if an opening book cannot be read.
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
                place: Place::default(),
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
    /// What was played before the batch.
    place: Place,
    /// Next message of the batch.
    message: usize,
    tracker: Option<Tracker>,
    hash: ContentHash,
    hash_key: u64,
}

/// How far a stream was played, in a form that outlives segments: all its messages before `ts`, and
/// the first `done` of those at `ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    ts: i64,
    done: u64,
}

impl Default for Place {
    fn default() -> Self {
        Self { ts: i64::MIN, done: 0 }
    }
}

impl Place {
    /// After messages with these receive times more.
    fn after(self, times: &[i64]) -> Self {
        let Some(&ts) = times.last() else { return self };
        let same = times.len() - times.partition_point(|&time| time < ts);
        let before = if ts == self.ts { self.done } else { 0 };
        Self { ts, done: before + same as u64 }
    }
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

/// A place in a replay to come back to, also in a later generation of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    places: Vec<Place>,
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
        let rows = |stream: &StreamCursor| -> u64 {
            let parts = self.snapshot.parts(stream.stream_id);
            let inside =
                parts.first_until(self.range.start.0)..parts.begun_before(self.range.end.0);
            inside.map(|index| parts.rows(index)).sum()
        };
        self.cursors.iter().map(rows).sum()
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
    /// [`ErrorKind::Corrupt`] with file and offset.
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
            cursor.forget_batch(Place { ts: start.0, done: 0 });
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
        cursor.place = cursor.played();
        cursor.message = 0;
        let reuse = std::mem::replace(&mut cursor.batch, Batch::new(cursor.key.kind));
        if let Some(batch) = cursor.scan.next_into(reuse)? {
            cursor.batch = batch;
            self.heap.push(Reverse(cursor.order(place, 0)));
        }
        Ok(())
    }

    /// The next run of messages, at most `messages_max` of them; `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with file and offset.
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
    /// [`ErrorKind::Corrupt`] if the rows are no book.
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
    /// [`ErrorKind::Corrupt`] with file and offset, or what `each` gives.
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
        Cursor {
            places: self.cursors.iter().map(StreamCursor::played).collect(),
            hashes: self.cursors.iter().map(|cursor| cursor.hash).collect(),
            hash: self.hash,
        }
    }

    /// Goes on where [`Replay::cursor`] was taken, in a replay of the same streams and range of
    /// this store; rows and hash go on too. Rows that were sealed or compacted since are the same
    /// rows; after an import that replaced some, the replay goes on at the same time.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a cursor of other streams; [`ErrorKind::Corrupt`]
    /// with file and offset.
    pub fn resume(&mut self, at: &Cursor) -> Result<()> {
        if at.places.len() != self.cursors.len() || at.hashes.len() != self.cursors.len() {
            return Err(Error::invalid("cursor is of a replay of other streams"));
        }
        for (stream, (&place, &hash)) in
            self.cursors.iter_mut().zip(at.places.iter().zip(&at.hashes))
        {
            stream.forget_batch(place);
            stream.hash = hash;
        }
        self.hash = at.hash;
        self.reopen(true)
    }

    /// Goes on in a newer snapshot of the same store, without losing or repeating a row: with those
    /// that came since.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] if a stream ends before what was played of it, because its journal was
    /// damaged and moved aside, or if rows were dropped before they were played;
    /// [`ErrorKind::Corrupt`] with file and offset.
    pub fn follow(&mut self, newer: &Snapshot) -> Result<()> {
        for cursor in &self.cursors {
            self.check_followed(cursor, newer)?;
        }
        self.snapshot = newer.clone();
        self.reopen(false)
    }

    /// Refuses a newer snapshot in which rows are missing that come next, or that came last other
    /// than by a drop.
    fn check_followed(&self, cursor: &StreamCursor, newer: &Snapshot) -> Result<()> {
        let stale = |what: &str| {
            Err(Error::new(ErrorKind::Stale, format!("{}: rows that were {what}", cursor.key)))
        };
        let Place { ts, done } = cursor.played();
        let parts = newer.parts(cursor.stream_id);
        let first = parts.times(0).map_or(i64::MAX, |(first, _)| first);
        if cursor.batch.ts_recv().get(cursor.message).is_some_and(|&next| next < first) {
            return stale("to be played next are no longer there");
        }
        if done == 0 || parts.last_ts() >= Some(ts) && first <= ts {
            return Ok(());
        }
        let left: u64 = (0..parts.len()).map(|part| parts.rows(part)).sum();
        let before = rows_appended(&self.snapshot, cursor.stream_id);
        match rows_appended(newer, cursor.stream_id).checked_sub(before) {
            Some(new) if first > ts && new == left => Ok(()),
            _ => stale("played are no longer there"),
        }
    }

    /// Opens every stream anew after what was played of it; `books` too, or they go on as they are.
    fn reopen(&mut self, books: bool) -> Result<()> {
        self.heap.clear();
        for place in 0..self.cursors.len() {
            let cursor = &mut self.cursors[place];
            let Place { ts, done } = cursor.played();
            let start = TsNs(ts).max(self.range.start);
            // What was played may have been dropped since.
            let first = self.snapshot.parts(cursor.stream_id).times(0);
            let done = if first.is_some_and(|(first, _)| first > ts) { 0 } else { done };
            let kind = cursor.key.kind;
            let range = start..self.range.end.max(start);
            cursor.scan = Scan::new(&self.snapshot, cursor.stream_id, kind, range, ColumnMask::ALL)
                .with_messages_max(self.ahead)
                .with_skipped(done);
            cursor.scan.advance()?;
            if let Some(tracker) = cursor.tracker.as_mut().filter(|_| books) {
                match cursor.scan.next_message() {
                    Some((part, message)) => {
                        part.restore(message, tracker, &mut Batch::new(Kind::Book))?;
                    }
                    None => {
                        let mut books = self.snapshot.books(&cursor.key.instrument)?;
                        *tracker = books.before(self.range.end)?.clone();
                    }
                }
            }
            self.refill(place)?;
        }
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

/// Rows that ever came to a stream by a live writer, as far as a snapshot shows.
fn rows_appended(snapshot: &Snapshot, stream_id: u32) -> u64 {
    let streams = &snapshot.manifest().contents().streams;
    let sealed = streams.iter().find(|stream| stream.id == stream_id);
    let live = snapshot.tail().stream(stream_id).map(|tail| tail.end_row());
    live.or(sealed.map(|stream| stream.journal_rows)).unwrap_or(0)
}

impl StreamCursor {
    /// What was played.
    fn played(&self) -> Place {
        self.place.after(&self.batch.ts_recv()[..self.message])
    }

    /// Starts anew after `played`, without a batch.
    fn forget_batch(&mut self, played: Place) {
        self.place = played;
        self.message = 0;
        self.batch.clear();
    }

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
