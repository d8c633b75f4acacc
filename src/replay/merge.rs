//! Many streams played in one total order, with their books.
//!
//! Messages are ordered by `(ts_recv, kind rank, exchange, symbol)`, or by effective event time
//! before that; messages of one stream keep their order. A step gives a run of messages of one
//! stream that come before every other stream's next message, so the order is exact while the cost
//! is per run.

use std::ops::Range;
use std::sync::Arc;

use super::order::ReplayOrder;
use super::plan::Plan;
use super::stream::{Place, StreamCursor};
use crate::book::Tracker;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, ContentHash, Kind, StreamKey};
use crate::limit;
use crate::quantity::TsNs;
use crate::store::{Snapshot, StreamTail};

/// Messages that all streams of a replay decode ahead together, so that memory does not depend on
/// how many streams there are or how long they are, and what was decoded is still in the cache when
/// it is played.
const MESSAGES_AHEAD: u64 = 1 << 16;
/// The same of streams with texts: whichever texts of a block are read, all are unpacked.
const TEXTS_AHEAD: u64 = 1 << 20;
/// Messages that one stream decodes ahead at least: as many as are packed together.
const MESSAGES_AHEAD_MIN: u64 = limit::GROUP_VALUES as u64;

impl Snapshot {
    /// Plays streams from `range.start` (inclusive) to `range.end` (exclusive) in the total order.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if a stream is not there; [`ErrorKind::Limit`] for too many;
    /// [`ErrorKind::Corrupt`] if an opening book cannot be read.
    pub fn replay(&self, streams: &[StreamKey], range: Range<TsNs>) -> Result<Replay> {
        self.replay_by(ReplayOrder::Recv, streams, range)
    }

    /// Plays streams merged by `order`; the range and all times of the replay are those of the
    /// order.
    ///
    /// # Errors
    /// As [`Snapshot::replay`].
    pub fn replay_by(
        &self,
        order: ReplayOrder,
        streams: &[StreamKey],
        range: Range<TsNs>,
    ) -> Result<Replay> {
        let recv_end = open_recv_end(order, &range);
        let mut replay = self.unopened(order, streams, range.clone(), recv_end)?;
        replay.seek(range.start)?;
        Ok(replay)
    }

    /// As [`Snapshot::replay_by`], but rows alone: no book is opened or kept until
    /// [`Replay::keep_books`].
    ///
    /// # Errors
    /// As [`Snapshot::replay`].
    pub fn replay_rows(
        &self,
        order: ReplayOrder,
        streams: &[StreamKey],
        range: Range<TsNs>,
    ) -> Result<Replay> {
        let recv_end = open_recv_end(order, &range);
        self.replay_received(order, streams, range, recv_end)
    }

    /// As [`Snapshot::replay_rows`], without messages that were received at `recv_end` or later,
    /// whatever the order.
    pub(crate) fn replay_received(
        &self,
        order: ReplayOrder,
        streams: &[StreamKey],
        range: Range<TsNs>,
        recv_end: TsNs,
    ) -> Result<Replay> {
        let mut replay = self.unopened(order, streams, range.clone(), recv_end)?;
        replay.forget_books();
        replay.seek(range.start)?;
        Ok(replay)
    }

    fn unopened(
        &self,
        order: ReplayOrder,
        streams: &[StreamKey],
        range: Range<TsNs>,
        recv_end: TsNs,
    ) -> Result<Replay> {
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
        let mut cursors = Vec::with_capacity(keys.len());
        for key in keys {
            cursors.push(StreamCursor::new(self, key, order, range.end, recv_end)?);
        }
        Ok(Replay {
            snapshot: self.clone(),
            order,
            started: range.start,
            range,
            recv_end,
            cursors,
            plan: Plan::default(),
            hash: ContentHash::EMPTY,
            last: None,
        })
    }
}

/// When the last messages of a range were received at most: by event time, at any time.
fn open_recv_end(order: ReplayOrder, range: &Range<TsNs>) -> TsNs {
    match order {
        ReplayOrder::Recv => range.end,
        ReplayOrder::Event => TsNs::MAX,
    }
}

/// Streams being played.
pub struct Replay {
    pub(super) snapshot: Snapshot,
    pub(super) order: ReplayOrder,
    range: Range<TsNs>,
    recv_end: TsNs,
    pub(super) cursors: Vec<StreamCursor>,
    plan: Plan,
    hash: ContentHash,
    /// Where the last seek went.
    pub(super) started: TsNs,
    /// The stream of the last message played since then.
    pub(super) last: Option<usize>,
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
    /// No row of the batch resets a book or says that messages are missing.
    pub plain: bool,
    /// First message of the step.
    pub first_message: usize,
    /// Message after the last of the step.
    pub end_message: usize,
    /// The stream's book before these messages, if it is a book stream.
    pub before: Option<&'a Tracker>,
    /// Times of the messages of the batch, in the order that is played.
    pub times: &'a [i64],
}

impl Step<'_> {
    /// The messages of the step.
    #[must_use]
    pub fn messages(&self) -> Range<usize> {
        self.first_message..self.end_message
    }

    /// The rows of the step.
    #[must_use]
    #[inline]
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

    /// Stops keeping books, so that playing costs less, until [`Replay::keep_books`].
    pub fn forget_books(&mut self) {
        self.cursors.iter_mut().for_each(|cursor| cursor.tracker = None);
    }

    /// What the streams are merged by.
    #[must_use]
    pub fn order(&self) -> ReplayOrder {
        self.order
    }

    /// The rows that are played.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Keeps books from here on, if they were forgotten.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with file and offset.
    pub fn keep_books(&mut self) -> Result<()> {
        for stream in 0..self.cursors.len() {
            let cursor = &self.cursors[stream];
            if cursor.key.kind == Kind::Book && cursor.tracker.is_none() {
                self.cursors[stream].tracker = Some(self.opening_book(stream)?.0);
                self.cursors[stream].prepare_book();
            }
        }
        Ok(())
    }

    /// Time of the next message, receive time unless the order is another; `None` at the end.
    #[must_use]
    pub fn next_ts(&self) -> Option<TsNs> {
        let (stream, _) = self.plan.next()?;
        self.cursors[stream].times_left().first().map(|time| TsNs(*time))
    }

    /// Goes to the first message at `at` or later, with the books before it. Rows played and
    /// their hash start over.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with file and offset.
    pub fn seek(&mut self, at: TsNs) -> Result<()> {
        self.start_over();
        let start = at.max(self.range.start);
        self.started = start;
        for stream in 0..self.cursors.len() {
            self.open(stream, Place { time: start.0, done: 0 }, true)?;
        }
        self.plan.make(&self.cursors);
        Ok(())
    }

    /// Forgets what was played.
    pub(super) fn start_over(&mut self) {
        self.plan.clear();
        self.hash = ContentHash::EMPTY;
        self.last = None;
        self.cursors.iter_mut().for_each(StreamCursor::start_over);
    }

    /// Opens a stream after `place`, with its book if `books` says so, and reads its next batch.
    fn open(&mut self, stream: usize, place: Place, books: bool) -> Result<()> {
        let Self { snapshot, cursors, .. } = self;
        let streams = cursors.len() as u64;
        let cursor = &mut cursors[stream];
        let together = match cursor.key.kind.schema().has_texts() {
            true => TEXTS_AHEAD,
            false => MESSAGES_AHEAD,
        };
        cursor.open(snapshot, place, (together / streams).max(MESSAGES_AHEAD_MIN))?;
        if books && cursor.tracker.is_some() {
            cursor.tracker = Some(cursor.opening_book(snapshot)?.0);
        }
        cursor.refill()?;
        Ok(())
    }

    /// The book of a book stream before its next message, and the most decimals its prices and
    /// quantities were written with; also where no books are kept.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the stream is no book; [`ErrorKind::Corrupt`] with file and
    /// offset.
    pub fn opening_book(&self, stream: usize) -> Result<(Tracker, (u8, u8))> {
        let cursor = self.cursors.get(stream).filter(|cursor| cursor.key.kind == Kind::Book);
        let cursor =
            cursor.ok_or_else(|| Error::new(ErrorKind::NotFound, "this stream is no book"))?;
        let key = cursor.key.clone();
        let Self { snapshot, order, range, recv_end, .. } = self;
        let mut here = StreamCursor::new(snapshot, key, *order, range.end, *recv_end)?;
        here.recv_before = cursor.recv_last();
        here.open(&self.snapshot, cursor.played(), 1)?;
        here.opening_book(&self.snapshot)
    }

    /// The next run of messages, at most `messages_max` of them; `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with file and offset.
    pub fn step(&mut self, messages_max: usize) -> Result<Option<Step<'_>>> {
        let Some((stream, messages)) = self.plan.next() else { return Ok(None) };
        let cursor = &self.cursors[stream];
        let end_message = cursor.message + messages.min(messages_max.max(1));
        Ok(Some(Step {
            stream,
            key: &cursor.key,
            batch: &cursor.batch,
            plain: cursor.plain,
            first_message: cursor.message,
            end_message,
            before: cursor.tracker.as_ref(),
            times: cursor.times(),
        }))
    }

    /// Completes a step: applies its messages to the book and the hash. A replay that is stepped
    /// again without it shows the same step again.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the rows are no book.
    pub fn accept(&mut self, stream: usize, messages: Range<usize>, hash: bool) -> Result<()> {
        self.check_next(stream, &messages)?;
        let cursor = &mut self.cursors[stream];
        cursor.apply(messages.clone())?;
        if hash {
            cursor.hash.update(&cursor.batch, messages.clone());
            self.hash.update_keyed(&cursor.batch, messages.clone(), cursor.hash_key);
        }
        self.pass(stream, messages)
    }

    /// As [`Replay::accept`] without a hash, of a stream whose book is kept, with a call after each
    /// message: its time in the order, and the book.
    ///
    /// # Errors
    /// As [`Replay::accept`], or the first that `each` gives.
    pub fn accept_each(
        &mut self,
        stream: usize,
        messages: Range<usize>,
        mut each: impl FnMut(TsNs, &Tracker) -> Result<()>,
    ) -> Result<()> {
        self.check_next(stream, &messages)?;
        let cursor = &mut self.cursors[stream];
        let mut done = Ok(());
        cursor.apply_each(messages.clone(), |time, book| {
            if done.is_ok() {
                done = each(TsNs(time), book);
            }
        })?;
        done?;
        self.pass(stream, messages)
    }

    /// Refuses messages that are not those which come next.
    fn check_next(&self, stream: usize, messages: &Range<usize>) -> Result<()> {
        match self.plan.next() {
            Some((next, count))
                if next == stream
                    && messages.start == self.cursors[stream].message
                    && messages.len() <= count =>
            {
                Ok(())
            }
            _ => Err(Error::invalid("messages accepted are not those of the last step")),
        }
    }

    /// Moves on over messages that were accepted.
    fn pass(&mut self, stream: usize, messages: Range<usize>) -> Result<()> {
        let cursor = &mut self.cursors[stream];
        cursor.message = messages.end;
        self.last = Some(stream);
        self.plan.pass(messages.len());
        let read = match cursor.message < cursor.batch.messages() {
            true => Ok(true),
            false => cursor.refill(),
        };
        if self.plan.next().is_none() {
            self.plan.make(&self.cursors);
        }
        read.map(drop)
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
        self.last = None;
        self.open_all(&at.places)?;
        self.hash = at.hash;
        for (cursor, &hash) in self.cursors.iter_mut().zip(&at.hashes) {
            cursor.hash = hash;
        }
        Ok(())
    }

    /// Opens every stream after its place, with its book.
    pub(super) fn open_all(&mut self, places: &[Place]) -> Result<()> {
        self.plan.clear();
        for (stream, &place) in places.iter().enumerate() {
            self.open(stream, place, true)?;
        }
        self.plan.make(&self.cursors);
        Ok(())
    }

    /// Goes on in a newer snapshot of the same store, without losing or repeating a row: with those
    /// that came since.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] if a stream ends before what was played of it, because its journal was
    /// damaged and moved aside, or if rows were dropped before they were played;
    /// [`ErrorKind::Corrupt`] with file and offset.
    pub fn follow(&mut self, newer: &Snapshot) -> Result<()> {
        let same: Vec<bool> =
            self.cursors.iter().map(|cursor| self.is_same(cursor, newer)).collect();
        for (cursor, _) in self.cursors.iter().zip(&same).filter(|(_, same)| !**same) {
            self.check_followed(cursor, newer)?;
        }
        self.snapshot = newer.clone();
        for (stream, same) in same.into_iter().enumerate() {
            if same {
                self.cursors[stream].follow(newer);
            } else {
                let place = self.cursors[stream].played();
                self.open(stream, place, false)?;
            }
        }
        self.plan.make(&self.cursors);
        Ok(())
    }

    /// Whether a newer snapshot shows the same rows of a stream in the same places.
    fn is_same(&self, cursor: &StreamCursor, newer: &Snapshot) -> bool {
        let (old, new) = (self.snapshot.parts(cursor.stream_id), newer.parts(cursor.stream_id));
        let rows = |tail: &Arc<StreamTail>| (tail.first_row(), tail.end_row());
        let sealed =
            self.snapshot.generation() == newer.generation() || old.segments() == new.segments();
        sealed && old.tail().map(rows) == new.tail().map(rows)
    }

    /// Refuses a newer snapshot in which rows are missing that come next, or that came last other
    /// than by a drop.
    fn check_followed(&self, cursor: &StreamCursor, newer: &Snapshot) -> Result<()> {
        let stale = |what: &str| {
            Err(Error::new(ErrorKind::Stale, format!("{}: rows that were {what}", cursor.key)))
        };
        let Place { time, done } = cursor.played();
        let ts = if self.order == ReplayOrder::Recv { time } else { cursor.recv_last() };
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
