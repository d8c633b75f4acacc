//! Rows that are in no segment yet, in memory, as readers see them.
//!
//! A [`Tail`] is a frozen view that is cheap to clone: a writer that goes on appending copies only
//! what a reader still holds. It is filled by the writer, or from the journal; it reads no files.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::book::Tracker;
use crate::error::{Error, Result};
use crate::event::{Batch, ContentHash, Kind, Side, Values, book};
use crate::format::checkpoint::CheckpointBook;
use crate::format::manifest::StreamEntry;
use crate::limit;
use crate::quantity::{NULL, POW10, min_max};
use crate::segment::{ColumnMask, first_event_in};

/// Rows that a chunk grows to in place. Larger ones are never copied when a reader holds them.
const CHUNK_ROWS: usize = 1024;

/// The rows of every stream that are in no segment yet.
#[derive(Clone, Default)]
pub struct Tail {
    streams: HashMap<u32, Arc<StreamTail>>,
}

/// The rows of one stream that are in no segment yet.
#[derive(Clone)]
pub struct StreamTail {
    entry: StreamEntry,
    /// Number of the first row in its stream.
    first_row: u64,
    rows: u64,
    messages: u64,
    /// Bytes in memory, about.
    bytes: u64,
    hash: ContentHash,
    chunks: Vec<Arc<Chunk>>,
    /// Rows since the last book that was kept.
    rows_since: u64,
    bounds: Bounds,
    /// The book before the first row could not be read: no row is shown before it is.
    unopened: bool,
}

/// Some messages, one after another.
#[derive(Clone)]
struct Chunk {
    batch: Batch,
    /// Place of the first message in the tail.
    first_message: u64,
    /// The book before the first message; kept every few thousand rows.
    opening: Option<Arc<Opening>>,
}

/// A book as a checkpoint has it.
struct Opening {
    book: CheckpointBook,
    ts_recv: i64,
    ts_event: i64,
    venue_seq: i64,
}

impl Opening {
    fn of(tracker: &Tracker) -> Self {
        let mut book = CheckpointBook::default();
        book.fill(tracker);
        Self {
            book,
            ts_recv: tracker.ts_recv().map_or(NULL, |ts| ts.0),
            ts_event: tracker.ts_event().map_or(NULL, |ts| ts.0),
            venue_seq: tracker.venue_seq().unwrap_or(NULL),
        }
    }

    fn restore(&self, tracker: &mut Tracker) -> Result<()> {
        tracker.restore(&self.book.checkpoint(self.ts_recv, self.ts_event, self.venue_seq))
    }
}

/// The largest price and quantity so far and the finest scales: what a book must be able to hold
/// together.
#[derive(Clone, Copy, Default)]
struct Bounds {
    columns: [(u64, u8); 2],
    /// Levels of one side at most: every row since they were counted may have added one.
    levels: usize,
}

impl Bounds {
    /// The bounds with the rows of `batch`.
    fn with(mut self, batch: &Batch) -> Result<Self> {
        for ((largest, scale), column) in self.columns.iter_mut().zip([book::PRICE, book::QTY]) {
            let values = batch.i64s(column).iter().filter(|&&value| value != NULL);
            let found = values.map(|value| value.unsigned_abs()).max();
            let (found, found_scale) = (found.unwrap_or(0), batch.scale(column));
            let common = found_scale.max(*scale);
            let raised = |value: u64, from: u8| {
                let factor = POW10[usize::from(common - from)].unsigned_abs();
                value.checked_mul(factor).filter(|&value| value <= i64::MAX as u64)
            };
            let (Some(mine), Some(theirs)) = (raised(*largest, *scale), raised(found, found_scale))
            else {
                let name = batch.schema().columns[column].name;
                return Err(Error::new(
                    crate::ErrorKind::Limit,
                    format!(
                        "column {name}: a book cannot hold values of scales {scale} and \
                         {found_scale} in 64 bits"
                    ),
                ));
            };
            (*largest, *scale) = (mine.max(theirs), common);
        }
        self.levels = self.levels.saturating_add(batch.rows());
        Ok(self)
    }

    fn of(tracker: &Tracker) -> Self {
        let mut book = CheckpointBook::default();
        book.fill(tracker);
        let largest = |a: &[i64], b: &[i64]| {
            a.iter().chain(b).map(|value| value.unsigned_abs()).max().unwrap_or(0)
        };
        let price = largest(&book.bids.prices, &book.asks.prices);
        let qty = largest(&book.bids.qtys, &book.asks.qtys);
        let columns = [(price, book.price_scale), (qty, book.qty_scale)];
        Self { columns, levels: most_levels(tracker) }
    }
}

/// Levels of the deeper side of a book.
fn most_levels(tracker: &Tracker) -> usize {
    let count = |side| tracker.book().level_count(side);
    count(Side::Bid).max(count(Side::Ask))
}

impl Tail {
    /// The rows of a stream, if it has any here.
    #[must_use]
    pub fn stream(&self, stream_id: u32) -> Option<&Arc<StreamTail>> {
        self.streams.get(&stream_id)
    }

    /// Every stream that has rows here.
    pub fn streams(&self) -> impl Iterator<Item = &Arc<StreamTail>> {
        self.streams.values()
    }

    /// Whether both hold the same rows of the same streams.
    #[must_use]
    pub(super) fn same_rows(&self, other: &Self) -> bool {
        let same = |(id, stream): (&u32, &Arc<StreamTail>)| {
            other.streams.get(id).is_some_and(|theirs| theirs.end_row() == stream.end_row())
        };
        self.streams.len() == other.streams.len() && self.streams.iter().all(same)
    }

    /// Rows of all streams.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.streams.values().map(|stream| stream.rows).sum()
    }

    /// Bytes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.streams.values().map(|stream| stream.bytes).sum()
    }

    /// Adds rows to a stream. `first_row` is the number of the first one; `opening` gives the book
    /// before it, and is asked for once per book stream.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] if a book cannot hold the values or so many levels, or what
    /// `opening` says. Nothing has changed then.
    pub(super) fn append(
        &mut self,
        entry: &StreamEntry,
        first_row: u64,
        batch: &Batch,
        spacing: u64,
        opening: impl FnOnce() -> Result<Tracker>,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(stream) = self.streams.get_mut(&entry.id) {
            return Arc::make_mut(stream).append(batch, spacing, None);
        }
        let opening = (entry.key.kind == Kind::Book).then(opening).transpose()?;
        let mut stream = StreamTail::new(entry.clone(), first_row, opening.as_ref());
        stream.append(batch, spacing, opening.as_ref())?;
        self.streams.insert(entry.id, Arc::new(stream));
        Ok(())
    }

    /// As [`Tail::append`], with the first rows of a book that could not be read.
    pub(super) fn append_unopened(
        &mut self,
        entry: &StreamEntry,
        first_row: u64,
        batch: &Batch,
    ) -> Result<()> {
        let mut stream = StreamTail::new(entry.clone(), first_row, None);
        stream.unopened = true;
        stream.append(batch, u64::MAX, None)?;
        self.streams.insert(entry.id, Arc::new(stream));
        Ok(())
    }

    /// Reads the books anew that could not be read.
    ///
    /// # Errors
    /// What `opening` says of the first that cannot be read now either.
    pub(super) fn open(&mut self, opening: impl Fn(u32) -> Result<Tracker>) -> Result<()> {
        let mut streams: Vec<_> =
            self.streams.iter_mut().filter(|(_, stream)| stream.unopened).collect();
        streams.sort_by_key(|(id, _)| **id);
        let open = |(id, stream): (&u32, &mut Arc<StreamTail>)| -> Result<()> {
            *stream = Arc::new(stream.opened(&opening(*id)?)?);
            Ok(())
        };
        // One that cannot be read must not keep the others.
        streams.into_iter().map(open).fold(Ok(()), Result::and)
    }

    /// Forgets the rows of a stream before number `row`.
    pub(super) fn forget_before(&mut self, stream_id: u32, row: u64) -> Result<()> {
        let Some(stream) = self.streams.get(&stream_id) else { return Ok(()) };
        if row >= stream.end_row() {
            self.streams.remove(&stream_id);
        } else if row > stream.first_row {
            let rest = stream.rest_from(row)?;
            self.streams.insert(stream_id, Arc::new(rest));
        }
        Ok(())
    }

    /// The rows of a stream before number `row` only.
    pub(super) fn keep_before(&mut self, stream_id: u32, row: u64) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if row <= stream.first_row {
            self.streams.remove(&stream_id);
        } else if row < stream.end_row() {
            Arc::make_mut(stream).truncate(row);
        }
    }
}

impl StreamTail {
    fn new(entry: StreamEntry, first_row: u64, opening: Option<&Tracker>) -> Self {
        Self {
            entry,
            first_row,
            rows: 0,
            messages: 0,
            bytes: 0,
            hash: ContentHash::EMPTY,
            chunks: Vec::new(),
            rows_since: 0,
            bounds: opening.map(Bounds::of).unwrap_or_default(),
            unopened: false,
        }
    }

    /// Number and name of the stream.
    #[must_use]
    pub fn entry(&self) -> &StreamEntry {
        &self.entry
    }

    /// Whether the book before the first row could not be read.
    pub(super) fn is_unopened(&self) -> bool {
        self.unopened
    }

    /// The same rows after the book that could not be read.
    pub(super) fn opened(&self, opening: &Tracker) -> Result<Self> {
        let mut opened = Self::new(self.entry.clone(), self.first_row, Some(opening));
        let mut first = Some(opening);
        self.batches()
            .try_for_each(|batch| opened.append(batch, limit::CHECKPOINT_ROWS, first.take()))?;
        Ok(opened)
    }

    /// Number of the first row in its stream.
    #[must_use]
    pub fn first_row(&self) -> u64 {
        self.first_row
    }

    /// Number of the row after the last in its stream.
    #[must_use]
    pub fn end_row(&self) -> u64 {
        self.first_row + self.rows
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Messages.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Content hash of the rows.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Receive times of the first and the last row, ns.
    #[must_use]
    pub fn times(&self) -> (i64, i64) {
        let first = self.chunks.first().and_then(|chunk| chunk.batch.ts_recv().first());
        let last = self.chunks.last().and_then(|chunk| chunk.batch.ts_recv().last());
        (first.copied().unwrap_or(i64::MAX), last.copied().unwrap_or(i64::MIN))
    }

    /// Smallest and largest event time, ns; null if there is none.
    #[must_use]
    pub fn event_times(&self) -> (i64, i64) {
        min_max(self.chunks.iter().flat_map(|chunk| {
            let (low, high) = min_max(chunk.batch.i64s(1).iter().copied());
            [low, high]
        }))
    }

    /// All rows, in order.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.chunks.iter().map(|chunk| &chunk.batch)
    }

    /// Scale and digits of each column: the largest of all rows.
    #[must_use]
    pub fn scales(&self) -> Vec<(u8, u8)> {
        let count = self.entry.key.kind.schema().columns.len();
        (0..count)
            .map(|at| {
                let columns = self.batches().filter_map(|batch| batch.column(at));
                columns.fold((0, 0), |(scale, digits), column| {
                    (scale.max(column.scale), digits.max(column.digits))
                })
            })
            .collect()
    }

    /// The most rows that a seek replays.
    #[must_use]
    pub fn replay_rows_max(&self) -> u64 {
        let mut since = 0;
        let spans = self.chunks.iter().map(|chunk| {
            since = if chunk.opening.is_some() { 0 } else { since };
            since += chunk.batch.rows() as u64;
            since
        });
        let longest = spans.max().unwrap_or(0);
        if self.entry.key.kind == Kind::Book { longest } else { 0 }
    }

    /// Levels of the deeper side after `batch`; no message of it may pass what a checkpoint holds.
    fn count_levels(&self, batch: &Batch, opening: Option<&Tracker>) -> Result<usize> {
        let mut tracker = opening.cloned().unwrap_or_default();
        if opening.is_none() {
            self.restore(self.messages, &mut tracker)?;
        }
        for message in 0..batch.messages() {
            tracker.apply(batch, message..message + 1)?;
            let levels = most_levels(&tracker);
            if levels > limit::LEVELS_PER_SIDE_MAX {
                let max = limit::LEVELS_PER_SIDE_MAX;
                return Err(Error::limit("levels of one side of a book:", levels, max));
            }
        }
        Ok(most_levels(&tracker))
    }

    fn append(&mut self, batch: &Batch, spacing: u64, opening: Option<&Tracker>) -> Result<()> {
        let is_book = self.entry.key.kind == Kind::Book && !self.unopened;
        let mut bounds = if is_book { self.bounds.with(batch)? } else { self.bounds };
        if bounds.levels > limit::LEVELS_PER_SIDE_MAX {
            bounds.levels = self.count_levels(batch, opening)?;
        }
        let due = is_book && (self.chunks.is_empty() || self.rows_since >= spacing);
        let opening = match (due, opening) {
            (false, _) => None,
            (true, Some(tracker)) => Some(Arc::new(Opening::of(tracker))),
            (true, None) => {
                let mut tracker = Tracker::new();
                self.restore(self.messages, &mut tracker)?;
                Some(Arc::new(Opening::of(&tracker)))
            }
        };
        self.bounds = bounds;
        let rows = batch.rows() as u64;
        self.rows_since = if due { rows } else { self.rows_since + rows };
        self.rows += rows;
        self.hash.update_all(batch);
        let bytes = bytes_of(batch) + opening.as_ref().map_or(0, |book| book.bytes());
        self.bytes += bytes;
        let first_message = self.messages;
        self.messages += batch.messages() as u64;
        let grown = self
            .chunks
            .last_mut()
            .filter(|chunk| opening.is_none() && chunk.batch.rows() + batch.rows() <= CHUNK_ROWS);
        if let Some(chunk) = grown
            && Arc::make_mut(chunk).batch.append(batch).is_ok()
        {
            return Ok(());
        }
        self.chunks.push(Arc::new(Chunk { batch: batch.clone(), first_message, opening }));
        Ok(())
    }

    /// The rows from number `row` on, which begins a message.
    fn rest_from(&self, row: u64) -> Result<Self> {
        let message = self.message_of_row(row);
        let mut tracker = Tracker::new();
        let is_book = self.entry.key.kind == Kind::Book && !self.unopened;
        if is_book {
            self.restore(message, &mut tracker)?;
        }
        let opening = is_book.then_some(&tracker);
        let mut rest = Self::new(self.entry.clone(), row, opening);
        rest.unopened = self.unopened;
        let mut at = message;
        let mut opening = opening;
        while at < self.messages {
            let batch = self.read(at..self.messages, ColumnMask::ALL);
            at += batch.messages() as u64;
            rest.append(&batch, limit::CHECKPOINT_ROWS, opening.take())?;
        }
        Ok(rest)
    }

    fn truncate(&mut self, row: u64) {
        let end = self.message_of_row(row);
        let keep = self.chunks.partition_point(|chunk| chunk.first_message < end);
        self.chunks.truncate(keep);
        if let Some(chunk) = self.chunks.last_mut() {
            let chunk = Arc::make_mut(chunk);
            let messages = (end - chunk.first_message) as usize;
            chunk.batch = chunk.batch.slice_messages(0..messages);
        }
        self.messages = end;
        self.rows = row - self.first_row;
        self.hash = ContentHash::EMPTY;
        self.chunks.iter().for_each(|chunk| self.hash.update_all(&chunk.batch));
    }

    /// The message of the tail that row number `row` of the stream belongs to.
    fn message_of_row(&self, row: u64) -> u64 {
        let mut first = self.first_row;
        for chunk in &self.chunks {
            let end = first + chunk.batch.rows() as u64;
            if row < end {
                let within = row.saturating_sub(first) as usize;
                return chunk.first_message + chunk.batch.message_of(within) as u64;
            }
            first = end;
        }
        self.messages
    }

    /// The first message whose receive time is at least `ts`; the message count if there is none.
    #[must_use]
    pub fn first_message_at(&self, ts: i64) -> u64 {
        let before =
            |chunk: &Arc<Chunk>| chunk.batch.ts_recv().last().is_some_and(|&last| last < ts);
        let Some(chunk) = self.chunks.get(self.chunks.partition_point(before)) else {
            return self.messages;
        };
        chunk.first_message + chunk.batch.ts_recv().partition_point(|&time| time < ts) as u64
    }

    /// The first message whose event time and receive time are both at least `ts`, where there is
    /// no event time only the receive time; the message count if there is none.
    #[must_use]
    pub fn first_event_at(&self, ts: i64) -> u64 {
        let from = self.chunk_of(self.first_message_at(ts)).unwrap_or(0);
        let chunks = self.chunks.get(from..).unwrap_or_default().iter();
        let mut found = chunks.filter_map(|chunk| {
            Some(chunk.first_message + first_event_in(&chunk.batch, ts)? as u64)
        });
        found.next().unwrap_or(self.messages)
    }

    fn chunk_of(&self, message: u64) -> Option<usize> {
        self.chunks.partition_point(|chunk| chunk.first_message <= message).checked_sub(1)
    }

    /// Some of the messages `messages`, from the first on, with the columns asked for.
    #[must_use]
    pub fn read(&self, messages: Range<u64>, mask: ColumnMask) -> Batch {
        let chunk = self.chunk_of(messages.start).and_then(|index| self.chunks.get(index));
        let Some(chunk) = chunk else { return Batch::new(self.entry.key.kind) };
        let within = |message: u64| {
            let count = chunk.batch.messages() as u64;
            message.saturating_sub(chunk.first_message).min(count) as usize
        };
        let mut batch = chunk.batch.slice_messages(within(messages.start)..within(messages.end));
        batch.keep_columns(|column| mask.has(column));
        batch
    }

    /// The message before which a book was kept, at or before `message`.
    #[must_use]
    pub fn checkpoint_before(&self, message: u64) -> u64 {
        self.opening_before(message).map_or(0, |(at, _)| at)
    }

    fn opening_before(&self, message: u64) -> Option<(u64, &Opening)> {
        let end = self.chunks.partition_point(|chunk| chunk.first_message <= message);
        let chunks = self.chunks.get(..end)?.iter().rev();
        chunks.filter_map(|chunk| Some((chunk.first_message, &**chunk.opening.as_ref()?))).next()
    }

    /// Makes `tracker` the book before message `message`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if the stream holds no book, or the segment that has the book
    /// before its first row could not be read.
    pub fn restore(&self, message: u64, tracker: &mut Tracker) -> Result<()> {
        let Some((start, opening)) = self.opening_before(message) else {
            return Err(Error::invalid(format!("{} has no book", self.entry.key.kind)));
        };
        opening.restore(tracker)?;
        self.apply(start, message, tracker)
    }

    /// Applies messages `start..end` to `tracker`.
    ///
    /// # Errors
    /// As [`Tracker::apply`].
    pub fn apply(&self, start: u64, end: u64, tracker: &mut Tracker) -> Result<()> {
        let first = self.chunk_of(start).unwrap_or(0);
        for chunk in self.chunks.get(first..).unwrap_or_default() {
            if chunk.first_message >= end {
                break;
            }
            let from = start.saturating_sub(chunk.first_message) as usize;
            let to = ((end - chunk.first_message) as usize).min(chunk.batch.messages());
            if from < to {
                tracker.apply(&chunk.batch, from..to)?;
            }
        }
        Ok(())
    }
}

impl Opening {
    fn bytes(&self) -> u64 {
        let levels = self.book.bids.prices.len() + self.book.asks.prices.len();
        (levels * 16) as u64
    }
}

/// Bytes that the values of a batch take.
pub(super) fn bytes_of(batch: &Batch) -> u64 {
    let columns = batch.columns().iter().flatten().map(|column| match &column.values {
        Values::I64(values) => values.len() * 8,
        Values::U8(values) => values.len(),
        Values::Text(texts) => texts.ends.len() * 4 + texts.bytes.len(),
    });
    (columns.sum::<usize>() + batch.ends().len() * 4) as u64
}
