//! One stream of a replay: its rows, how far it was played, and where its messages are in the
//! order.

use std::ops::Range;

use super::order::ReplayOrder;
use super::scan::Scan;
use crate::book::{State, Tracker};
use crate::error::{Error, Result};
use crate::event::{Action, Batch, ContentHash, Kind, StreamKey, book};
use crate::quantity::{NULL, TsNs};
use crate::store::Snapshot;

/// Messages of a run from which on it is cheaper to check them together, and to look for the best
/// levels once, at its end.
const LONG_RUN_MESSAGES: usize = 8;

/// Column of the event time, in every kind.
const TS_EVENT: usize = 1;

/// How far a stream was played, in a form that outlives segments: all its messages before `time`,
/// and the first `done` of those at `time`. Times are those of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) time: i64,
    pub(super) done: u64,
}

impl Default for Place {
    fn default() -> Self {
        Self { time: i64::MIN, done: 0 }
    }
}

impl Place {
    /// After messages with these times more.
    fn after(self, times: &[i64]) -> Self {
        let Some(&time) = times.last() else { return self };
        let same = times.len() - times.partition_point(|&earlier| earlier < time);
        let before = if time == self.time { self.done } else { 0 };
        Self { time, done: before + same as u64 }
    }
}

/// Sorts messages of different streams: time of the order, receive time, rank, then place among the
/// sorted instruments.
pub(super) type Turn = (i64, i64, u8, usize);

/// One stream of a replay.
pub(super) struct StreamCursor {
    pub(super) key: StreamKey,
    pub(super) stream_id: u32,
    pub(super) hash_key: u64,
    pub(super) hash: ContentHash,
    pub(super) tracker: Option<Tracker>,
    pub(super) batch: Batch,
    /// No row of the batch resets a book or says that messages are missing.
    pub(super) plain: bool,
    /// The book takes the batch as it is.
    bookable: bool,
    /// Next message of the batch.
    pub(super) message: usize,
    /// Receive time of the last message that was played before the batch.
    pub(super) recv_before: i64,
    order: ReplayOrder,
    scan: Scan,
    /// Times of the batch's messages, if the order is not that of receive times.
    events: Vec<i64>,
    /// What was played before the batch.
    place: Place,
    /// No message of this time of the order or later.
    end: i64,
    /// No message received then or later.
    recv_end: i64,
    /// The end was reached, though more rows may come.
    ended: bool,
}

impl StreamCursor {
    /// A stream that was not opened yet.
    pub(super) fn new(
        snapshot: &Snapshot,
        key: StreamKey,
        order: ReplayOrder,
        end: TsNs,
        recv_end: TsNs,
    ) -> Result<Self> {
        let stream_id = snapshot.stream_id(&key.instrument, key.kind)?;
        Ok(Self {
            hash_key: ContentHash::key_of(&key),
            stream_id,
            hash: ContentHash::EMPTY,
            tracker: (key.kind == Kind::Book).then(Tracker::new),
            batch: Batch::new(key.kind),
            plain: false,
            bookable: false,
            message: 0,
            recv_before: i64::MIN,
            order,
            scan: Scan::of_order(snapshot, stream_id, key.kind, TsNs::MAX..TsNs::MAX, order),
            events: Vec::new(),
            place: Place::default(),
            end: end.0,
            recv_end: recv_end.0,
            ended: false,
            key,
        })
    }

    /// Begins anew after `place` in `snapshot`, decoding at most `ahead` messages at once; nothing
    /// is read yet.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub(super) fn open(&mut self, snapshot: &Snapshot, place: Place, ahead: u64) -> Result<()> {
        // What was played may have been dropped since; then all that is left comes next.
        let first = snapshot.parts(self.stream_id).times(0).map_or(i64::MIN, |(first, _)| first);
        let last = match self.order {
            ReplayOrder::Recv => place.time,
            ReplayOrder::Event if self.recv_last() == i64::MIN => i64::MAX,
            ReplayOrder::Event => self.recv_last(),
        };
        let (start, done) = match place.done > 0 && first > last {
            true => (i64::MIN, 0),
            false => (place.time, place.done),
        };
        let range = TsNs(start)..TsNs(self.recv_end.max(start));
        self.scan = Scan::of_order(snapshot, self.stream_id, self.key.kind, range, self.order)
            .with_messages_max(ahead)
            .with_skipped(done);
        self.place = place;
        self.recv_before = self.recv_last();
        self.ended = false;
        self.message = 0;
        self.batch.clear();
        self.events.clear();
        self.scan.advance()?;
        Ok(())
    }

    /// Goes on as it is in a newer snapshot that shows the same of the stream.
    pub(super) fn follow(&mut self, newer: &Snapshot) {
        self.scan.follow(newer);
    }

    /// The book before the next message; only of an open stream of which nothing was read yet.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub(super) fn opening_book(&self, snapshot: &Snapshot) -> Result<(Tracker, (u8, u8))> {
        let mut tracker = Tracker::new();
        if let Some((index, part, message)) = self.scan.next_message() {
            let mut scratch = Batch::new(Kind::Book);
            part.restore(message, &mut tracker, &mut scratch)?;
            let before = match (message, tracker.state()) {
                // An import stands on its own, and does not know of the rows before it.
                (0, State::Empty) => index.checked_sub(1),
                _ => None,
            };
            let id = self.stream_id;
            let before =
                before.map(|index| snapshot.open_part(id, Kind::Book, index)).transpose()?;
            if let Some(before) = before.flatten() {
                before.restore(before.messages(), &mut tracker, &mut scratch)?;
            }
            let scales = part.scales();
            let digits = |at: usize| scales.get(at).map_or(0, |(_, digits)| *digits);
            return Ok((tracker, (digits(book::PRICE), digits(book::QTY))));
        }
        let end = self.recv_end.max(self.place.time);
        let mut books = snapshot.books(&self.key.instrument)?;
        let tracker = books.before(TsNs(end))?.clone();
        Ok((tracker, books.digits()))
    }

    /// Reads the next batch; `false` at the end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset; nothing of a damaged page is given out.
    pub(super) fn refill(&mut self) -> Result<bool> {
        self.place = self.played();
        self.recv_before = self.recv_last();
        self.message = 0;
        self.events.clear();
        let reuse = std::mem::replace(&mut self.batch, Batch::new(self.key.kind));
        if self.ended {
            return Ok(false);
        }
        let Some(batch) = self.scan.next_into(reuse)? else { return Ok(false) };
        if !batch.ts_recv().is_sorted() {
            return Err(Error::corrupt(format!("{}: receive times fall", self.key)));
        }
        self.batch = batch;
        self.plain = self.is_plain();
        if self.order == ReplayOrder::Event {
            self.take_event_times();
        }
        self.prepare_book();
        Ok(self.batch.messages() > 0)
    }

    /// Notes whether the book, if one is kept, takes the batch as it is.
    pub(super) fn prepare_book(&mut self) {
        let Self { tracker, batch, .. } = self;
        self.bookable = tracker.as_mut().is_some_and(|tracker| tracker.takes_levels_of(batch));
    }

    /// Applies messages of the batch to the book, if one is kept.
    ///
    /// # Errors
    /// As [`Tracker::apply`].
    pub(super) fn apply(&mut self, messages: Range<usize>) -> Result<()> {
        let Some(tracker) = &mut self.tracker else { return Ok(()) };
        if self.bookable && messages.len() < LONG_RUN_MESSAGES {
            tracker.set_levels_each(&self.batch, messages, |_, _| ());
            return Ok(());
        }
        tracker.apply(&self.batch, messages)
    }

    /// As [`StreamCursor::apply`], with a call after each message: its time in the order, and the
    /// book.
    ///
    /// # Errors
    /// As [`Tracker::apply_each`].
    pub(super) fn apply_each(
        &mut self,
        messages: Range<usize>,
        mut each: impl FnMut(i64, &Tracker),
    ) -> Result<()> {
        let Self { tracker, batch, order, events, bookable, .. } = self;
        let Some(tracker) = tracker else { return Ok(()) };
        let times = times_of(*order, batch, events);
        let each = |message: usize, book: &Tracker| each(times[message], book);
        if *bookable && messages.len() < LONG_RUN_MESSAGES {
            tracker.set_levels_each(batch, messages, each);
            return Ok(());
        }
        tracker.apply_each(batch, messages, each)
    }

    fn is_plain(&self) -> bool {
        match (self.key.kind, self.key.kind.reset_code()) {
            (Kind::Status, _) => false,
            (Kind::Book, _) => {
                // Every other action is larger.
                let actions = self.batch.u8s(book::ACTION);
                actions.iter().fold(0, |all, action| all | action) == Action::Set as u8
            }
            (_, Some(reset)) => !self.batch.u8s(book::ACTION).contains(&reset),
            (_, None) => true,
        }
    }

    /// Notes the effective event times of the batch, and cuts it where the range ends.
    fn take_event_times(&mut self) {
        let recv = self.batch.ts_recv();
        let event = self.batch.i64s(TS_EVENT);
        let mut highest = self.place.time;
        self.events.extend(recv.iter().zip(event).map(|(&recv, &event)| {
            highest = highest.max(if event == NULL { recv } else { event.min(recv) });
            highest
        }));
        let inside = self.events.partition_point(|&time| time < self.end);
        if inside < self.events.len() {
            self.ended = true;
            self.events.truncate(inside);
            self.batch = self.batch.slice_messages(0..inside);
        }
    }

    /// Times of the order of the batch's messages.
    pub(super) fn times(&self) -> &[i64] {
        times_of(self.order, &self.batch, &self.events)
    }

    /// Times of the messages that were read and not played yet.
    #[inline]
    pub(super) fn times_left(&self) -> &[i64] {
        self.times().get(self.message..).unwrap_or_default()
    }

    /// Whether more messages may come than were read.
    pub(super) fn has_more(&self) -> bool {
        !self.ended && self.scan.has_more()
    }

    /// Receive time of the last message that was played; `i64::MIN` if there is none.
    pub(super) fn recv_last(&self) -> i64 {
        let last = self.message.checked_sub(1).and_then(|last| self.batch.ts_recv().get(last));
        last.copied().unwrap_or(self.recv_before)
    }

    /// Forgets what was played.
    pub(super) fn start_over(&mut self) {
        self.hash = ContentHash::EMPTY;
        self.recv_before = i64::MIN;
        self.message = 0;
    }

    /// What was played.
    pub(super) fn played(&self) -> Place {
        self.place.after(&self.times()[..self.message])
    }

    /// Where a message of the batch is in the order.
    pub(super) fn turn(&self, stream: usize, message: usize) -> Turn {
        (self.times()[message], self.batch.ts_recv()[message], self.rank(message), stream)
    }

    /// Where the next message is in the order; `None` at the end.
    pub(super) fn next_turn(&self, stream: usize) -> Option<Turn> {
        (self.message < self.batch.messages()).then(|| self.turn(stream, self.message))
    }

    fn rank(&self, message: usize) -> u8 {
        let kind = self.key.kind;
        if self.plain {
            return kind.rank(false);
        }
        let first = self.batch.message_rows(message).start;
        let resets = kind
            .reset_code()
            .is_some_and(|reset| self.batch.u8s(book::ACTION).get(first) == Some(&reset));
        kind.rank(resets)
    }

    /// How many messages from the next one on come before `rival`; at least 1.
    pub(super) fn run_before(&self, stream: usize, rival: Turn) -> usize {
        let times = &self.times()[self.message..];
        // Runs are short where many streams interleave: step, then leap.
        let mut sure = 1;
        while sure < times.len() && sure < 8 && times[sure] < rival.0 {
            sure += 1;
        }
        if sure == 8 {
            sure += times[sure.min(times.len())..].partition_point(|&time| time < rival.0);
        }
        while sure < times.len()
            && times[sure] == rival.0
            && self.turn(stream, self.message + sure) < rival
        {
            sure += 1;
        }
        sure
    }
}

fn times_of<'a>(order: ReplayOrder, batch: &'a Batch, events: &'a [i64]) -> &'a [i64] {
    match order {
        ReplayOrder::Recv => batch.ts_recv(),
        ReplayOrder::Event => events,
    }
}
