//! Frames of a replay: rows of several streams and the order they happened in.

use std::ops::Range;

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::streams::Joiner;
use crate::arrow::{from_record_batch, ipc};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Kind};
use crate::limit;
use crate::quantity::TsNs;
use crate::rpc::columns;
use crate::rpc::model::{OpenedStream, RowForm};
use crate::rpc::proto;

/// Rows of several streams, and their total order.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Place of a stream among those opened, and some of its messages; a stream may come again.
    pub chunks: Vec<(usize, Batch)>,
    /// Receive time of the first message.
    pub first: TsNs,
    /// Receive time of the last message.
    pub last: TsNs,
    /// Rows of all chunks.
    pub rows: u64,
    /// After the last message, to go on from there in another replay.
    pub cursor: Bytes,
    /// Chunk and messages of each run, in the total order.
    runs: Vec<(usize, Range<usize>)>,
}

/// Books of several streams over time, and their order.
#[derive(Clone, Debug, PartialEq)]
pub struct BookFrame {
    /// Place of a stream among those opened, and its books, a row each.
    pub tables: Vec<(usize, RecordBatch)>,
    /// Streams in the order of their rows, and how many rows of each come together.
    pub runs: Vec<(usize, usize)>,
    /// Time of the first row.
    pub first: TsNs,
    /// Time of the last row.
    pub last: TsNs,
    /// Rows of all tables.
    pub rows: u64,
    /// After the last row, to go on from there in another replay.
    pub cursor: Bytes,
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Rows(Frame),
    Books(BookFrame),
}

/// A run of messages of one stream, next in the total order.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameStep<'a> {
    /// Place of the stream among those opened.
    pub stream: usize,
    /// The rows; only those of `messages` belong to this step.
    pub batch: &'a Batch,
    /// The messages of the step.
    pub messages: Range<usize>,
}

impl Frame {
    /// The runs of messages in the order they happened.
    pub fn steps(&self) -> impl Iterator<Item = FrameStep<'_>> {
        self.runs.iter().filter_map(|(chunk, messages)| {
            let (stream, batch) = self.chunks.get(*chunk)?;
            Some(FrameStep { stream: *stream, batch, messages: messages.clone() })
        })
    }

    /// Puts a frame together, or refuses one whose counts do not agree.
    fn new(frame: &proto::ReplayFrame, chunks: Vec<(usize, Batch)>) -> Result<Self> {
        let rows: usize = chunks.iter().map(|(_, batch)| batch.rows()).sum();
        if rows as u64 != frame.rows || frame.run_streams.len() != frame.run_messages.len() {
            return Err(contradicts());
        }
        let runs = runs(&frame.run_streams, &frame.run_messages, &chunks)?;
        let (first, last) = (TsNs(frame.first_ns), TsNs(frame.last_ns));
        let cursor = frame.cursor.clone();
        Ok(Self { chunks, first, last, rows: frame.rows, cursor, runs })
    }
}

impl BookFrame {
    fn new(frame: &proto::ReplayFrame, tables: Vec<(usize, RecordBatch)>) -> Result<Self> {
        let rows: usize = tables.iter().map(|(_, table)| table.num_rows()).sum();
        let count = |count: u32| usize::try_from(count).map_err(|_| contradicts());
        let counts = frame.run_streams.iter().zip(&frame.run_messages);
        let runs = counts.map(|(&stream, &rows)| Ok((count(stream)?, count(rows)?)));
        let runs = runs.collect::<Result<Vec<_>>>()?;
        let in_runs: usize = runs.iter().map(|(_, rows)| rows).sum();
        if rows as u64 != frame.rows || in_runs != rows {
            return Err(contradicts());
        }
        let (first, last) = (TsNs(frame.first_ns), TsNs(frame.last_ns));
        Ok(Self { tables, runs, first, last, rows: frame.rows, cursor: frame.cursor.clone() })
    }
}

fn contradicts() -> Error {
    Error::new(ErrorKind::Remote, "the server's answer cannot be: order and rows do not agree")
}

/// Runs by chunk: a run that crosses from one chunk of its stream to the next becomes two.
fn runs(
    streams: &[u32],
    counts: &[u32],
    chunks: &[(usize, Batch)],
) -> Result<Vec<(usize, Range<usize>)>> {
    let streams_max = chunks.iter().map(|(stream, _)| *stream + 1).max().unwrap_or(0);
    let mut queues: Vec<std::collections::VecDeque<(usize, Range<usize>)>> = Vec::new();
    queues.resize_with(streams_max, Default::default);
    for (at, (stream, batch)) in chunks.iter().enumerate() {
        queues.get_mut(*stream).ok_or_else(contradicts)?.push_back((at, 0..batch.messages()));
    }
    let mut runs = Vec::with_capacity(streams.len());
    for (&stream, &count) in streams.iter().zip(counts) {
        let stream = usize::try_from(stream).map_err(|_| contradicts())?;
        let queue = queues.get_mut(stream).ok_or_else(contradicts)?;
        let mut left = usize::try_from(count).map_err(|_| contradicts())?;
        while left > 0 {
            let (chunk, messages) = queue.front_mut().ok_or_else(contradicts)?;
            let taken = left.min(messages.len());
            if taken > 0 {
                runs.push((*chunk, messages.start..messages.start + taken));
            }
            messages.start += taken;
            left -= taken;
            if messages.start >= messages.end {
                queue.pop_front();
            }
        }
    }
    if queues.iter().flatten().any(|(_, messages)| messages.start < messages.end) {
        return Err(contradicts());
    }
    Ok(runs)
}

/// Makes frames of the answers of one session.
#[derive(Debug)]
pub(super) struct FrameReader {
    lanes: Vec<Lane>,
    /// Frames hold books, not rows.
    books: bool,
    /// Chunks of a frame whose other parts are still to come: rows or books.
    chunks: Vec<(usize, Batch)>,
    tables: Vec<(usize, RecordBatch)>,
    /// The stream whose chunk was cut, and its bytes so far.
    cut: Option<usize>,
    joiner: Joiner,
}

/// One stream of a session.
#[derive(Debug)]
struct Lane {
    kind: Kind,
    /// Of Arrow; columns need none.
    decoder: Option<ipc::Decoder>,
}

impl FrameReader {
    pub(super) fn new(streams: &[OpenedStream], form: RowForm, books: bool) -> Result<Self> {
        let mut lanes = Vec::with_capacity(streams.len());
        for stream in streams {
            let mut decoder = match books {
                true => Some(ipc::Decoder::of_books()),
                false => (form == RowForm::Arrow).then(ipc::Decoder::new),
            };
            if let Some(decoder) = &mut decoder {
                decoder.decode(stream.arrow_schema.clone())?;
            }
            lanes.push(Lane { kind: stream.key.kind, decoder });
        }
        let (chunks, tables) = (Vec::new(), Vec::new());
        Ok(Self { lanes, books, chunks, tables, cut: None, joiner: Joiner::default() })
    }

    /// The whole frame, once its last part is there.
    pub(super) fn read(&mut self, mut frame: proto::ReplayFrame) -> Result<Option<Content>> {
        let chunks = std::mem::take(&mut frame.chunks);
        let count = chunks.len();
        for (at, chunk) in chunks.into_iter().enumerate() {
            let more = frame.more && at + 1 == count;
            let stream = usize::try_from(chunk.stream).map_err(|_| contradicts())?;
            if self.cut.is_some_and(|cut| cut != stream) {
                return Err(contradicts());
            }
            self.cut = more.then_some(stream);
            let Some(data) = self.joiner.join(chunk.data, more)? else { continue };
            self.decode(stream, data)?;
            if self.chunks.len() + self.tables.len() > limit::BLOCK_ROWS_MAX {
                return Err(contradicts());
            }
        }
        if frame.more {
            return Ok(None);
        }
        let (chunks, tables) = (std::mem::take(&mut self.chunks), std::mem::take(&mut self.tables));
        Ok(Some(match self.books {
            true => Content::Books(BookFrame::new(&frame, tables)?),
            false => Content::Rows(Frame::new(&frame, chunks)?),
        }))
    }

    fn decode(&mut self, stream: usize, data: Bytes) -> Result<()> {
        let lane = self.lanes.get_mut(stream).ok_or_else(contradicts)?;
        let Some(decoder) = &mut lane.decoder else {
            self.chunks.push((stream, columns::decode(lane.kind, &data)?));
            return Ok(());
        };
        for batch in decoder.decode(data)? {
            match self.books {
                true => self.tables.push((stream, batch)),
                false => self.chunks.push((stream, from_record_batch(lane.kind, &batch)?)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchBuilder, MessageHead, Side};

    fn batch(messages: i64) -> Batch {
        let mut builder = BatchBuilder::new(Kind::Book);
        for at in 0..messages {
            builder.begin(MessageHead { ts_recv: TsNs(at), ..MessageHead::default() });
            builder.level_text(Side::Bid, "1", "2").unwrap();
            builder.end();
        }
        builder.finish().unwrap().pop().unwrap()
    }

    fn frame(runs: &[(u32, u32)], rows: u64) -> proto::ReplayFrame {
        proto::ReplayFrame {
            run_streams: runs.iter().map(|(stream, _)| *stream).collect(),
            run_messages: runs.iter().map(|(_, count)| *count).collect(),
            rows,
            ..proto::ReplayFrame::default()
        }
    }

    #[test]
    fn steps_follow_the_runs_across_the_chunks_of_a_stream() {
        let chunks = vec![(1, batch(2)), (0, batch(3)), (1, batch(2))];

        let frame = Frame::new(&frame(&[(0, 1), (1, 3), (0, 2), (1, 1)], 7), chunks).unwrap();

        let steps = frame.steps().map(|step| (step.stream, step.messages));
        assert_eq!(
            steps.collect::<Vec<_>>(),
            [(0, 0..1), (1, 0..2), (1, 0..1), (0, 1..3), (1, 1..2)]
        );
    }

    #[test]
    fn counts_that_do_not_agree_are_refused() {
        let chunks = || vec![(0, batch(2)), (2, batch(1))];
        assert!(Frame::new(&frame(&[(2, 1), (0, 2)], 3), chunks()).is_ok());
        for (runs, rows) in [
            (vec![(2, 1), (0, 2)], 4),
            (vec![(0, 2)], 3),
            (vec![(2, 1), (0, 3)], 3),
            (vec![(2, 1), (0, 2), (1, 1)], 3),
            (vec![(2, 1), (0, 2), (9, 1)], 3),
            (vec![(2, 1), (0, u32::MAX)], 3),
        ] {
            assert!(Frame::new(&frame(&runs, rows), chunks()).is_err(), "{runs:?}");
        }
        let mut uneven = frame(&[(2, 1), (0, 2)], 3);
        uneven.run_messages.push(0);
        assert!(Frame::new(&uneven, chunks()).is_err());
    }
}
