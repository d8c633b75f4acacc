//! A replay as frames: the blocking half of a session.
//!
//! Rows are taken run by run in the total order, but no run is copied on its own: the messages that
//! a frame takes of one stream lie side by side in that stream's batch, so each stream gives one
//! chunk (or one per batch that the frame crosses), and the order is told by counts.

mod books;
mod lane;

use std::ops::Range;

use bytes::Bytes;

use self::lane::{Form, Lane, stream_number};
use super::model::{
    Output, ProtocolError, ReplayQuery, StopCondition, StopNotice, Stops, kind_code, order_code,
};
use super::parts::Width;
use super::proto;
use super::stops::{StopWatch, gap_rows};
use super::transport::{Mark, Place};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Kind, StreamKey, book};
use crate::limit;
use crate::quantity::{POW10, TsNs};
use crate::replay::Replay;
use crate::store::Snapshot;

/// Streams being played for a client.
pub(super) struct Player {
    replay: Replay,
    recv_end: TsNs,
    lanes: Vec<Lane>,
    hash: bool,
    opening_depth: Option<usize>,
    /// Goes on in newer snapshots.
    follow: bool,
    watch: StopWatch,
    sampling: Sampling,
    /// Rows sent since the opening or the last seek.
    rows: u64,
    /// Time of the last message played since then.
    last: Option<TsNs>,
}

/// When books are sent instead of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sampling {
    /// Rows are sent.
    Rows,
    /// A book after each of its messages.
    Messages,
    /// All books at regular times.
    Times { every_ns: i64, next: TsNs },
}

/// How far [`Player::play`] goes at most; it takes at least one message if `until` allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// No message after this time.
    pub(super) until: TsNs,
    pub(super) messages: u64,
    pub(super) rows: usize,
}

/// What a replay covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Times of the first and the last row; the beginning of the range twice if it holds none.
    pub(super) span: (TsNs, TsNs),
    /// Rows, whole segments counted where the range cuts them.
    pub(super) rows_at_most: u64,
}

/// What was played.
#[derive(Default)]
pub(super) struct Played {
    /// The rows, if there were any.
    pub(super) frame: Option<proto::ReplayFrame>,
    pub(super) gaps: Vec<proto::ReplayGap>,
    pub(super) messages: u64,
    pub(super) rows: u64,
    /// Time of the last message.
    pub(super) last: Option<TsNs>,
    /// The condition that the last message met.
    pub(super) stop: Option<StopNotice>,
}

impl Player {
    /// Opens the streams of `query` at the beginning of its range, or at its cursor. No row is
    /// played that was received at `recv_end` or later.
    ///
    /// # Errors
    /// As [`Snapshot::replay_rows`] and [`Replay::go_to`].
    pub(super) fn open(snapshot: &Snapshot, query: &ReplayQuery, recv_end: TsNs) -> Result<Self> {
        let mut keys = Vec::new();
        for (instrument, kinds) in &query.streams {
            let stored = snapshot.streams().filter(|stream| stream.key.instrument == *instrument);
            let mut kinds = kinds.clone();
            if kinds.is_empty() {
                kinds.extend(stored.map(|stream| stream.key.kind));
            }
            let books = query.output != Output::Rows;
            kinds.retain(|kind| *kind == Kind::Book || !books);
            if kinds.is_empty() {
                // Says what there is.
                snapshot.stream_id(instrument, Kind::Book)?;
            }
            let instrument = || instrument.clone();
            keys.extend(kinds.into_iter().map(|kind| StreamKey { instrument: instrument(), kind }));
        }
        if query.follow && keys.len() > limit::REPLAY_FOLLOW_STREAMS_MAX {
            let max = limit::REPLAY_FOLLOW_STREAMS_MAX;
            return Err(Error::limit("streams to follow:", keys.len(), max));
        }
        let range = query.range.clone();
        let replay = snapshot.replay_received(query.order, &keys, range, recv_end)?;
        let mut lanes = Vec::with_capacity(keys.len());
        for key in replay.streams() {
            let form = Form::new(snapshot, key, query)?;
            let width = Width::of(&Batch::new(key.kind));
            lanes.push(Lane { key: key.clone(), form, width, rows: 0, taken: 0..0 });
        }
        let sampling = match query.output {
            Output::Rows => Sampling::Rows,
            Output::Books { every_ns: 0, .. } => Sampling::Messages,
            Output::Books { every_ns, .. } => Sampling::Times { every_ns, next: TsNs::MAX },
        };
        let mut player = Self {
            replay,
            recv_end,
            lanes,
            hash: query.hash && sampling == Sampling::Rows,
            opening_depth: query.opening_depth,
            follow: query.follow,
            watch: StopWatch::new(query.stops),
            sampling,
            rows: 0,
            last: None,
        };
        match query.resume_cursor.is_empty() {
            true => player.begin_sampling(query.range.start),
            false => player.go_to_cursor(&query.resume_cursor).map_err(wrong_cursor)?,
        }
        player.keep_books()?;
        Ok(player)
    }

    /// Keeps books from here on where they are needed.
    fn keep_books(&mut self) -> Result<()> {
        match self.sampling != Sampling::Rows || self.watch.needs_books() {
            true => self.replay.keep_books(),
            false => {
                self.replay.forget_books();
                Ok(())
            }
        }
    }

    /// What the range covers, from the manifest.
    pub(super) fn extent(&self) -> Result<Extent> {
        let range = self.replay.range();
        let (mut first, mut last) = (TsNs::MAX, TsNs::MIN);
        let snapshot = self.replay.snapshot();
        for lane in &self.lanes {
            let stream_id = snapshot.stream_id(&lane.key.instrument, lane.key.kind)?;
            let parts = snapshot.parts(stream_id);
            for (start, end) in (0..parts.len()).filter_map(|part| parts.times(part)) {
                let (start, end) = (TsNs(start), TsNs(end));
                if end >= range.start && start < range.end {
                    first = first.min(start.max(range.start));
                    last = last.max(end.min(range.end.saturating_add(-1)));
                }
            }
        }
        let span = if first <= last { (first, last) } else { (range.start, range.start) };
        Ok(Extent { span, rows_at_most: self.replay.rows_at_most() })
    }

    /// The first answer of a session.
    pub(super) fn opened(&self, extent: Extent) -> proto::ReplayOpened {
        let streams = self.lanes.iter().map(|lane| proto::OpenedStream {
            instrument: lane.key.instrument.to_string(),
            kind: kind_code(lane.key.kind),
            arrow_schema: lane.form.schema_message(),
        });
        proto::ReplayOpened {
            streams: streams.collect(),
            generation: self.replay.snapshot().generation(),
            rows_at_most: extent.rows_at_most,
            first_ns: extent.span.0.0,
            last_ns: extent.span.1.0,
            order: order_code(self.replay.order()),
            books: self.sampling != Sampling::Rows,
            ..proto::ReplayOpened::default()
        }
    }

    /// The rows that are played.
    pub(super) fn snapshot(&self) -> &Snapshot {
        self.replay.snapshot()
    }

    /// The book of lane `lane` before the next message, shown as of `at`, if it is a book stream.
    pub(super) fn opening_book(&self, lane: usize, at: TsNs) -> Result<Option<proto::Book>> {
        let Some(key) = self.lanes.get(lane).map(|lane| &lane.key) else { return Ok(None) };
        if key.kind != Kind::Book {
            return Ok(None);
        }
        let (tracker, digits) = self.replay.opening_book(lane)?;
        let book = proto::Book::of(&key.instrument, at, &tracker, digits, self.opening_depth);
        Ok(Some(book))
    }

    /// No row is played that was received then or later.
    pub(super) fn recv_end(&self) -> TsNs {
        self.recv_end
    }

    /// How many streams are played.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Time of the next message or sample.
    pub(super) fn next_ts(&self) -> Option<TsNs> {
        let next = self.replay.next_ts();
        match self.sampling {
            Sampling::Times { next: sample, .. } if self.is_due(sample) => Some(sample),
            _ => next,
        }
    }

    /// Whether every message up to a sample's time was played, and there are rows behind it.
    fn is_due(&self, sample: TsNs) -> bool {
        match self.replay.next_ts() {
            Some(next) => next > sample,
            None => !self.follow && self.last.is_some_and(|last| sample <= last),
        }
    }

    /// Rows since the opening or the last seek.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Goes to the first message at `at` or later.
    ///
    /// # Errors
    /// As [`Replay::seek`].
    pub(super) fn seek(&mut self, at: TsNs) -> Result<()> {
        self.replay.seek(at)?;
        self.begin_anew();
        self.begin_sampling(at);
        Ok(())
    }

    fn begin_anew(&mut self) {
        (self.rows, self.last) = (0, None);
        self.lanes.iter_mut().for_each(|lane| lane.rows = 0);
        self.watch.begin_anew();
    }

    /// The first sample is at the first multiple from `at` on that is not before the first row.
    fn begin_sampling(&mut self, at: TsNs) {
        if let Sampling::Times { every_ns, next } = &mut self.sampling {
            let first = match self.replay.next_ts() {
                Some(first) if at == self.replay.range().start => first.max(at),
                Some(_) => at,
                None => TsNs::MAX,
            };
            let before = first.0.rem_euclid(*every_ns);
            let more = if before == 0 { 0 } else { *every_ns - before };
            *next = first.saturating_add(more);
        }
    }

    /// Where the player is, to go on after what was played.
    pub(super) fn cursor(&self) -> Bytes {
        let mut bytes = vec![0u8];
        match self.sampling {
            Sampling::Rows => {}
            Sampling::Messages => bytes = vec![1],
            Sampling::Times { every_ns, next } => {
                bytes = vec![2];
                bytes.extend(every_ns.to_le_bytes());
                bytes.extend(next.0.to_le_bytes());
            }
        }
        bytes.extend(self.replay.position(self.follow));
        bytes.into()
    }

    /// Goes on where [`Player::cursor`] was taken; counts and hashes start over.
    ///
    /// # Errors
    /// As [`Replay::go_to`].
    fn go_to_cursor(&mut self, cursor: &[u8]) -> Result<()> {
        let (_, cursor) = Place::split(cursor);
        let another = || Error::invalid("a cursor of another output");
        let (&output, mut position) = cursor.split_first().ok_or_else(another)?;
        match (&mut self.sampling, output) {
            (Sampling::Rows, 0) | (Sampling::Messages, 1) => {}
            (Sampling::Times { every_ns, next }, 2) => {
                let (every, rest) = position.split_first_chunk().ok_or_else(another)?;
                let (sample, rest) = rest.split_first_chunk().ok_or_else(another)?;
                if i64::from_le_bytes(*every) != *every_ns {
                    return Err(another());
                }
                (*next, position) = (TsNs(i64::from_le_bytes(*sample)), rest);
                if *next < self.replay.range().start {
                    return Err(Error::invalid("a cursor of another range"));
                }
            }
            _ => return Err(another()),
        }
        self.replay.go_to(position)?;
        self.begin_anew();
        Ok(())
    }

    /// Where another player can go on.
    pub(super) fn mark(&self) -> Mark {
        Mark { cursor: self.cursor(), watch: self.watch.clone() }
    }

    /// Goes to where another player of the same streams is.
    ///
    /// # Errors
    /// As [`Replay::go_to`], of the request's `resume_cursor`.
    pub(super) fn go_to(&mut self, mark: &Mark) -> Result<()> {
        self.go_to_cursor(&mark.cursor).map_err(wrong_cursor)?;
        self.watch_as(mark.watch.clone())
    }

    /// Watches as another player does that is here.
    ///
    /// # Errors
    /// As [`Player::set_stops`].
    pub(super) fn watch_as(&mut self, watch: StopWatch) -> Result<()> {
        self.watch = watch;
        self.keep_books()
    }

    /// Stops at other conditions, counted from here.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] if a book that is needed now cannot be read.
    pub(super) fn set_stops(&mut self, stops: Stops) -> Result<()> {
        self.watch_as(StopWatch::new(stops))
    }

    /// Goes on in the newest snapshot, if it shows more; gives what it covers then.
    ///
    /// # Errors
    /// As [`Replay::follow`]; [`crate::ErrorKind::Stale`] if the rows have more decimals now than
    /// the schema that was sent.
    pub(super) fn follow(&mut self) -> Result<Option<Extent>> {
        let newer = self.replay.snapshot().store().snapshot()?;
        if newer.shows_the_same(self.replay.snapshot()) {
            return Ok(None);
        }
        for lane in self.lanes.iter().filter(|lane| matches!(lane.form, Form::Arrow { .. })) {
            let stream_id = newer.stream_id(&lane.key.instrument, lane.key.kind)?;
            if newer.scales(stream_id) != self.replay.snapshot().scales(stream_id) {
                let text = format!("{}: rows have more decimals now; open anew", lane.key);
                return Err(Error::new(ErrorKind::Stale, text));
            }
        }
        self.replay.follow(&newer)?;
        self.extent().map(Some)
    }

    /// Plays on and gives one frame.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset; the player cannot go on then.
    pub(super) fn play(&mut self, bounds: Bounds) -> Result<Played> {
        let mut played = match self.sampling {
            Sampling::Rows => self.play_rows(bounds)?,
            _ => self.play_books(bounds)?,
        };
        self.rows += played.rows;
        self.last = played.last.or(self.last);
        if let Some(frame) = &mut played.frame {
            frame.rows = played.rows;
        }
        Ok(played)
    }

    fn play_rows(&mut self, bounds: Bounds) -> Result<Played> {
        let mut played = Played::default();
        let mut frame = proto::ReplayFrame::default();
        let mut room_rows =
            bounds.rows.min(usize::try_from(self.watch.rows_left()).unwrap_or(usize::MAX));
        let mut room_bytes = limit::RPC_PART_BYTES;
        while played.messages < bounds.messages
            && played.stop.is_none()
            && let Some(ts) = self.replay.next_ts().filter(|ts| *ts <= bounds.until)
        {
            let messages_max = usize::try_from(bounds.messages - played.messages);
            let Some(step) = self.replay.step(messages_max.unwrap_or(usize::MAX))? else { break };
            let (stream, batch, start) = (step.stream, step.batch, step.first_message);
            let times = step.times.get(step.messages()).unwrap_or_default();
            let due = match times.last() {
                Some(last) if *last <= bounds.until.0 => step.end_message,
                _ => start + times.partition_point(|ts| *ts <= bounds.until.0),
            };
            let Some(lane) = self.lanes.get_mut(stream) else { break };
            let mut end = lane.width.fitting(batch, start..due, room_rows, room_bytes);
            end = if step.before.is_some() { end.min(start + 1) } else { end };
            let met = self.watch.first(batch, start..end);
            end = met.map_or(end, |(message, _)| message + 1);
            let rows = batch.message_rows(start).start..batch.message_rows(end - 1).end;
            let bytes = lane.width.bytes(batch, start..end, &rows);
            if played.messages > 0 && (rows.len() > room_rows || bytes > room_bytes) {
                break;
            }
            if played.messages == 0 {
                frame.first_ns = ts.0;
            }
            let last = times.get(end - 1 - start).map_or(ts, |ts| TsNs(*ts));
            frame.last_ns = last.0;
            if !step.plain {
                note_gaps(stream, batch, rows.clone(), &mut played.gaps);
            }
            lane.take(start..end);
            lane.rows += rows.len() as u64;
            if end == batch.messages() {
                frame.chunks.push(lane.chunk(stream, batch)?);
            }
            note_run(&mut frame, stream, end - start);
            played.messages += (end - start) as u64;
            played.rows += rows.len() as u64;
            played.last = Some(last);
            room_rows = room_rows.saturating_sub(rows.len());
            room_bytes = room_bytes.saturating_sub(bytes);
            self.replay.accept(stream, start..end, self.hash)?;
            let condition = self.watch(stream, met.map(|(_, condition)| condition), rows.len());
            played.stop = condition.map(|condition| notice(condition, last, stream));
        }
        for (stream, lane) in self.lanes.iter_mut().enumerate() {
            if !lane.taken.is_empty()
                && let Some(batch) = self.replay.batch(stream)
            {
                frame.chunks.push(lane.chunk(stream, batch)?);
            }
        }
        played.frame = Some(frame).filter(|_| played.rows > 0);
        Ok(played)
    }

    /// The condition that rows of `stream` meet that were just accepted.
    fn watch(
        &mut self,
        stream: usize,
        met: Option<StopCondition>,
        rows: usize,
    ) -> Option<StopCondition> {
        let Self { watch, replay, .. } = self;
        let spread = replay.book(stream).is_some_and(|book| watch.spread(stream, book));
        let enough = watch.rows(rows as u64);
        met.or(spread.then_some(StopCondition::Spread)).or(enough.then_some(StopCondition::Rows))
    }

    /// Counts and hashes since the opening or the last seek.
    pub(super) fn end(&self, reason: proto::replay_end::Reason) -> proto::ReplayEnd {
        let totals = self.replay.stream_totals();
        let streams = self.lanes.iter().zip(totals).map(|(lane, total)| proto::StreamTotal {
            rows: lane.rows,
            hash: self.hash.then(|| total.hash.value()),
        });
        proto::ReplayEnd {
            reason: reason.into(),
            rows: self.rows,
            hash: self.hash.then(|| self.replay.total().value()),
            streams: streams.collect(),
            ..proto::ReplayEnd::default()
        }
    }
}

/// Names the field that a cursor came in.
fn wrong_cursor(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Invalid => ProtocolError::new("resume_cursor", error.text()).into(),
        _ => error,
    }
}

/// Notes that `messages` messages of `stream` come next.
fn note_run(frame: &mut proto::ReplayFrame, stream: usize, messages: usize) {
    let (stream, messages) = (stream_number(stream), u32::try_from(messages).unwrap_or(u32::MAX));
    match (frame.run_streams.last(), frame.run_messages.last_mut()) {
        (Some(last), Some(count)) if *last == stream => *count = count.saturating_add(messages),
        _ => {
            frame.run_streams.push(stream);
            frame.run_messages.push(messages);
        }
    }
}

fn notice(condition: StopCondition, time: TsNs, stream: usize) -> StopNotice {
    StopNotice { condition, time, stream: Some(stream) }
}

/// Notes the gap rows among `rows`.
fn note_gaps(stream: usize, batch: &Batch, rows: Range<usize>, gaps: &mut Vec<proto::ReplayGap>) {
    for row in gap_rows(batch, rows) {
        if gaps.len() == limit::REQUEST_GAPS_MAX {
            return;
        }
        let ts_recv = batch.ts_recv().get(batch.message_of(row)).copied();
        let missing = match batch.kind() {
            Kind::Book => {
                let unit = POW10.get(usize::from(batch.scale(book::QTY))).copied().unwrap_or(1);
                batch.i64s(book::QTY).get(row).map_or(0, |qty| qty / unit)
            }
            _ => 0,
        };
        gaps.push(proto::ReplayGap {
            stream: stream_number(stream),
            ts_recv_ns: ts_recv.unwrap_or_default(),
            missing: u64::try_from(missing).unwrap_or(0),
        });
    }
}
