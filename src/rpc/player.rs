//! A replay as frames: the blocking half of a session.
//!
//! Rows are taken run by run in the total order, but no run is copied on its own: the messages that
//! a frame takes of one stream lie side by side in that stream's batch, so each stream gives one
//! chunk (or one per batch that the frame crosses), and the order is told by counts.

use std::ops::Range;

use bytes::Bytes;

use super::columns;
use super::model::{ReplayQuery, RowForm, kind_code};
use super::parts::Width;
use super::proto;
use crate::arrow::{Converter, Options, TextAs, ipc};
use crate::error::{Error, Result};
use crate::event::{Action, Batch, Kind, StatusWhat, StreamKey, book, status};
use crate::limit;
use crate::quantity::{POW10, TsNs};
use crate::replay::Replay;
use crate::store::Snapshot;

/// Streams being played for a client.
pub(super) struct Player {
    snapshot: Snapshot,
    replay: Replay,
    lanes: Vec<Lane>,
    hash: bool,
    opening_depth: Option<usize>,
    /// Rows since the opening or the last seek.
    rows: u64,
}

/// One stream of a player.
struct Lane {
    key: StreamKey,
    form: Form,
    width: Width,
    rows: u64,
    /// Messages of the stream's batch that the frame being made has taken.
    taken: Range<usize>,
}

/// How the rows of a stream are sent.
enum Form {
    Arrow { converter: Converter, encoder: ipc::Encoder },
    Columns,
}

impl Form {
    fn new(snapshot: &Snapshot, key: &StreamKey, query: &ReplayQuery) -> Result<Self> {
        if query.form == RowForm::Columns {
            return Ok(Self::Columns);
        }
        let stream_id = snapshot.stream_id(&key.instrument, key.kind)?;
        let scales = snapshot.scales(stream_id);
        let scales = scales.get(..key.kind.schema().columns.len()).unwrap_or(&scales);
        let instrument = Some(key.instrument.clone());
        let options = Options { decimals: query.decimals, texts: TextAs::Plain, instrument };
        let converter = Converter::new(key.kind, None, scales, &options)?;
        let encoder = ipc::Encoder::new(converter.schema().clone())?;
        Ok(Self::Arrow { converter, encoder })
    }

    fn schema_message(&self) -> Bytes {
        match self {
            Self::Arrow { encoder, .. } => encoder.schema_message().clone(),
            Self::Columns => Bytes::new(),
        }
    }

    fn encode(&self, batch: &Batch, messages: Range<usize>) -> Result<Bytes> {
        match self {
            Self::Columns => Ok(columns::encode(batch, messages)),
            Self::Arrow { converter, encoder } if messages.len() == batch.messages() => {
                encoder.encode(&converter.convert(batch)?)
            }
            Self::Arrow { converter, encoder } => {
                encoder.encode(&converter.convert_owned(batch.slice_messages(messages))?)
            }
        }
    }
}

/// How far [`Player::play`] goes at most; it takes at least one message if `until` allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// No message after this receive time.
    pub(super) until: TsNs,
    pub(super) messages: u64,
    pub(super) rows: usize,
}

/// What was played.
#[derive(Default)]
pub(super) struct Played {
    /// The rows, if there were any.
    pub(super) frame: Option<proto::ReplayFrame>,
    pub(super) gaps: Vec<proto::ReplayGap>,
    pub(super) messages: u64,
    pub(super) rows: u64,
}

impl Player {
    /// Opens the streams of `query` at the beginning of its range.
    ///
    /// # Errors
    /// As [`Snapshot::replay`].
    pub(super) fn open(snapshot: Snapshot, query: &ReplayQuery) -> Result<Self> {
        let mut keys = Vec::new();
        for (instrument, kinds) in &query.streams {
            let stored = snapshot.streams().filter(|stream| stream.key.instrument == *instrument);
            let mut kinds = kinds.clone();
            if kinds.is_empty() {
                kinds.extend(stored.map(|stream| stream.key.kind));
            }
            if kinds.is_empty() {
                // Says what there is.
                snapshot.stream_id(instrument, Kind::Book)?;
            }
            let instrument = || instrument.clone();
            keys.extend(kinds.into_iter().map(|kind| StreamKey { instrument: instrument(), kind }));
        }
        let mut replay = snapshot.replay(&keys, query.range.clone())?;
        replay.forget_books();
        let mut lanes = Vec::with_capacity(keys.len());
        for key in replay.streams() {
            let form = Form::new(&snapshot, key, query)?;
            let width = Width::of(&Batch::new(key.kind));
            lanes.push(Lane { key: key.clone(), form, width, rows: 0, taken: 0..0 });
        }
        let (hash, opening_depth) = (query.hash, query.opening_depth);
        Ok(Self { snapshot, replay, lanes, hash, opening_depth, rows: 0 })
    }

    /// Receive times of the first and the last row that the range may hold, from the manifest; the
    /// beginning of the range twice if it holds none.
    pub(super) fn span(&self) -> Result<(TsNs, TsNs)> {
        let range = self.replay.range();
        let (mut first, mut last) = (TsNs::MAX, TsNs::MIN);
        for lane in &self.lanes {
            let stream_id = self.snapshot.stream_id(&lane.key.instrument, lane.key.kind)?;
            for entry in self.snapshot.segments(stream_id) {
                let (start, end) = (TsNs(entry.ts_recv_first), TsNs(entry.ts_recv_last));
                if end >= range.start && start < range.end {
                    first = first.min(start.max(range.start));
                    last = last.max(end.min(range.end.saturating_add(-1)));
                }
            }
        }
        Ok(if first <= last { (first, last) } else { (range.start, range.start) })
    }

    /// The first answer of a session.
    pub(super) fn opened(&self, span: (TsNs, TsNs)) -> proto::ReplayOpened {
        let streams = self.lanes.iter().map(|lane| proto::OpenedStream {
            instrument: lane.key.instrument.to_string(),
            kind: kind_code(lane.key.kind),
            arrow_schema: lane.form.schema_message(),
        });
        proto::ReplayOpened {
            streams: streams.collect(),
            generation: self.snapshot.generation(),
            rows_at_most: self.replay.rows_at_most(),
            first_ns: span.0.0,
            last_ns: span.1.0,
        }
    }

    /// The books of lane `lane` before a message at `at`, if it is a book stream and opening books
    /// were asked for.
    pub(super) fn opening_book(&self, lane: usize, at: TsNs) -> Result<Option<proto::Book>> {
        let Some(lane) = self.lanes.get(lane) else { return Ok(None) };
        if lane.key.kind != Kind::Book || self.opening_depth == Some(0) {
            return Ok(None);
        }
        let mut books = self.snapshot.books(&lane.key.instrument)?;
        let tracker = books.before(at)?.clone();
        let book =
            proto::Book::of(&lane.key.instrument, at, &tracker, books.digits(), self.opening_depth);
        Ok(Some(book))
    }

    /// How many streams are played.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Receive time of the next message.
    pub(super) fn next_ts(&self) -> Option<TsNs> {
        self.replay.next_ts()
    }

    /// Rows since the opening or the last seek.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Goes to the first message with `ts_recv >= at`.
    ///
    /// # Errors
    /// As [`Replay::seek`].
    pub(super) fn seek(&mut self, at: TsNs) -> Result<()> {
        self.replay.seek(at)?;
        self.rows = 0;
        self.lanes.iter_mut().for_each(|lane| lane.rows = 0);
        Ok(())
    }

    /// Plays on and gives one frame.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset; the player cannot go on then.
    pub(super) fn play(&mut self, bounds: Bounds) -> Result<Played> {
        let mut played = Played::default();
        let mut frame = proto::ReplayFrame::default();
        let (mut room_rows, mut room_bytes) = (bounds.rows, limit::RPC_PART_BYTES);
        while played.messages < bounds.messages
            && let Some(ts) = self.replay.next_ts().filter(|ts| *ts <= bounds.until)
        {
            let messages_max = usize::try_from(bounds.messages - played.messages);
            let Some(step) = self.replay.step(messages_max.unwrap_or(usize::MAX))? else { break };
            let (stream, batch, start) = (step.stream, step.batch, step.first_message);
            let times = batch.ts_recv().get(step.messages()).unwrap_or_default();
            let due = start + times.partition_point(|ts| *ts <= bounds.until.0);
            let Some(lane) = self.lanes.get_mut(stream) else { break };
            let end = lane.width.fitting(batch, start..due, room_rows, room_bytes);
            let rows = batch.message_rows(start).start..batch.message_rows(end - 1).end;
            let bytes = lane.width.bytes(batch, start..end);
            if played.messages > 0 && (rows.len() > room_rows || bytes > room_bytes) {
                break;
            }
            if played.messages == 0 {
                frame.first_ns = ts.0;
            }
            frame.last_ns = batch.ts_recv().get(end - 1).copied().unwrap_or(ts.0);
            note_gaps(stream, batch, rows.clone(), &mut played.gaps);
            lane.take(start..end);
            lane.rows += rows.len() as u64;
            if end == batch.messages() {
                frame.chunks.push(lane.chunk(stream, batch)?);
            }
            note_run(&mut frame, stream, end - start);
            played.messages += (end - start) as u64;
            played.rows += rows.len() as u64;
            room_rows = room_rows.saturating_sub(rows.len());
            room_bytes = room_bytes.saturating_sub(bytes);
            self.replay.accept(stream, start..end, self.hash)?;
        }
        for (stream, lane) in self.lanes.iter_mut().enumerate() {
            if !lane.taken.is_empty()
                && let Some(batch) = self.replay.batch(stream)
            {
                frame.chunks.push(lane.chunk(stream, batch)?);
            }
        }
        self.rows += played.rows;
        frame.rows = played.rows;
        played.frame = Some(frame).filter(|frame| frame.rows > 0);
        Ok(played)
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
        }
    }
}

impl Lane {
    fn take(&mut self, messages: Range<usize>) {
        if self.taken.is_empty() {
            self.taken.start = messages.start;
        }
        self.taken.end = messages.end;
    }

    /// The taken messages of `batch` as a chunk; nothing is taken after it.
    fn chunk(&mut self, stream: usize, batch: &Batch) -> Result<proto::ReplayChunk> {
        let taken = std::mem::take(&mut self.taken);
        let messages = u32::try_from(taken.len());
        let messages = messages.map_err(|_| Error::limit("messages:", taken.len(), u32::MAX))?;
        let first = batch.message_rows(taken.start).start;
        let rows = batch.message_rows(taken.end.saturating_sub(1)).end.saturating_sub(first);
        Ok(proto::ReplayChunk {
            stream: stream_number(stream),
            messages,
            rows: rows as u64,
            data: self.form.encode(batch, taken)?,
        })
    }
}

fn stream_number(stream: usize) -> u32 {
    // A replay has at most `REQUEST_STREAMS_MAX` streams.
    u32::try_from(stream).unwrap_or(u32::MAX)
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

/// Notes the gap rows among `rows`.
fn note_gaps(stream: usize, batch: &Batch, rows: Range<usize>, gaps: &mut Vec<proto::ReplayGap>) {
    let codes = match batch.kind() {
        Kind::Book => batch.u8s(book::ACTION),
        Kind::Status => batch.u8s(status::WHAT),
        _ => return,
    };
    let starts = match batch.kind() {
        Kind::Book => [Action::Gap as u8; 2],
        _ => [StatusWhat::Gap as u8, StatusWhat::Disconnected as u8],
    };
    let first = rows.start;
    let codes = codes.get(rows).unwrap_or_default();
    let found = codes.iter().enumerate().filter(|(_, code)| starts.contains(code));
    for row in found.map(|(at, _)| first + at) {
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
