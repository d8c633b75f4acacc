//! Writes a segment file, front to back, once.

use std::path::{Path, PathBuf};

use super::pages::{self, pad};
use super::summary::{block_flags, starts_with_reset, zone_of, zones};
use crate::book::Tracker;
use crate::disk::{Disk, WriteFile};
use crate::error::{Error, Result};
use crate::event::{Batch, ContentHash, Kind, TextValues, Values, broken_rule};
use crate::format::checkpoint::{self, CheckpointBook};
use crate::format::segment::{
    BlockEntry, CheckpointEntry, FLAG_STARTS_WITH_RESET, FOOTER_MAGIC, Footer, Header,
    VERSION_MAJOR, VERSION_MINOR, encode_schema,
};
use crate::format::{Identity, Region, checksum};
use crate::limit;
use crate::quantity::{Day, NULL, min_max};

/// How a segment is laid out. Never changes what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// Rows after which a block is closed.
    pub block_rows: usize,
    /// Rows after which a book is written as a checkpoint: with the rest of a message, what a seek
    /// replays at most. `None` stands for [`limit::CHECKPOINT_ROWS`], and up to eight times as many
    /// where checkpoints would take more than a ninth of the file.
    pub checkpoint_rows: Option<u64>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { block_rows: limit::BLOCK_ROWS, checkpoint_rows: None }
    }
}

impl WriterOptions {
    /// Checks the options against their limits.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] or [`crate::ErrorKind::Invalid`] with the number.
    pub fn check(&self) -> Result<()> {
        if self.block_rows > limit::BLOCK_ROWS {
            return Err(Error::limit("rows of a block:", self.block_rows, limit::BLOCK_ROWS));
        }
        let rows = self.checkpoint_rows.unwrap_or(limit::CHECKPOINT_ROWS);
        if rows > limit::CHECKPOINT_ROWS_MAX {
            return Err(Error::limit("checkpoint spacing", rows, limit::CHECKPOINT_ROWS_MAX));
        }
        if self.block_rows == 0 || rows == 0 {
            return Err(Error::invalid("rows of a block and checkpoint spacing must be above 0"));
        }
        Ok(())
    }
}

/// Checkpoints that take more than one part in so many of the bytes of rows are placed wider.
pub(crate) const CHECKPOINT_SHARE: u64 = 8;
/// How many times [`limit::CHECKPOINT_ROWS`] checkpoints are apart at most, for that.
const CHECKPOINT_STRETCH: u64 = 8;

/// What a finished segment file holds; becomes its manifest entry.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Where the file was written.
    pub path: PathBuf,
    /// Its footer.
    pub footer: Footer,
    /// UTC day of its rows.
    pub day: Day,
    /// CRC-32 of the whole file.
    pub file_crc: u32,
    /// Decimal scale of each column.
    pub scales: [u8; 16],
    /// Bytes of its checkpoints.
    pub checkpoint_bytes: u64,
}

/// Writes rows of one stream and day as a segment file.
pub struct SegmentWriter {
    file: Box<dyn WriteFile>,
    path: PathBuf,
    identity: Identity,
    day: Day,
    options: WriterOptions,
    compact: bool,
    pending: Batch,
    /// Scale and digits of each column; scales are fixed once a block is written.
    scales: Vec<(u8, u8)>,
    offset: u64,
    file_crc: crc32fast::Hasher,
    hash: ContentHash,
    messages: u64,
    blocks: Vec<BlockEntry>,
    books: Option<Checkpoints>,
    buffer: Vec<u8>,
    flags: u32,
}

/// The checkpoints of a `book` segment as it is written.
struct Checkpoints {
    tracker: Tracker,
    book: CheckpointBook,
    compact: bool,
    entries: Vec<CheckpointEntry>,
    /// Rows since the last checkpoint.
    rows_since: u64,
    rows_since_max: u64,
    bytes: u64,
    /// Encoded checkpoints that follow the block being written.
    encoded: Vec<u8>,
}

impl SegmentWriter {
    /// Creates the file at `path` and writes its header.
    ///
    /// `opening` is the book before the first row; other kinds have none.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if the file exists or cannot be written.
    pub fn create(
        disk: &dyn Disk,
        path: &Path,
        header: &Header,
        kind: Kind,
        options: WriterOptions,
        opening: Option<&Tracker>,
    ) -> Result<Self> {
        options.check()?;
        let identity = Identity { store_id: header.store_id, segment_id: header.segment_id };
        let file = disk.create(path).map_err(|e| Error::io(e, "create segment", path))?;
        let books = (kind == Kind::Book).then(|| Checkpoints {
            tracker: opening.cloned().unwrap_or_default(),
            book: CheckpointBook::default(),
            compact: false,
            entries: Vec::new(),
            rows_since: 0,
            rows_since_max: 0,
            bytes: 0,
            encoded: Vec::new(),
        });
        let mut writer = Self {
            file,
            path: path.to_owned(),
            identity,
            day: Day(header.day),
            options,
            compact: false,
            pending: Batch::new(kind),
            scales: vec![(0, 0); kind.schema().columns.len()],
            offset: 0,
            file_crc: crc32fast::Hasher::new(),
            hash: ContentHash::EMPTY,
            messages: 0,
            blocks: Vec::new(),
            books,
            buffer: Vec::new(),
            flags: 0,
        };
        writer.buffer.extend_from_slice(bytemuck::bytes_of(header));
        writer.write_buffer()?;
        Ok(writer)
    }

    /// Takes longer to find the encodings that take the fewest bytes.
    #[must_use]
    pub fn compact(mut self) -> Self {
        self.compact = true;
        self.books.iter_mut().for_each(|books| books.compact = true);
        self
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.hash.rows() + self.pending.rows() as u64
    }

    /// The book after the last row, for the segment that follows; `None` for other kinds.
    ///
    /// # Errors
    /// As [`Tracker::apply`].
    pub fn book_after(&self) -> Result<Option<Tracker>> {
        let Some(books) = &self.books else { return Ok(None) };
        let mut tracker = books.tracker.clone();
        tracker.apply(&self.pending, 0..self.pending.messages())?;
        Ok(Some(tracker))
    }

    /// Whether `batch` can be added: it fits the fixed scales and the limits of a segment. If not,
    /// the stream goes on in a new segment.
    #[must_use]
    pub fn takes(&self, batch: &Batch) -> bool {
        let rows = self.rows() + batch.rows() as u64;
        if rows > limit::SEGMENT_ROWS_MAX || self.offset > limit::SEGMENT_BYTES_MAX / 2 {
            return false;
        }
        (0..self.scales.len()).all(|at| {
            let (Some(mine), Some(theirs)) = (self.pending.column(at), batch.column(at)) else {
                return false;
            };
            let fixed = !self.blocks.is_empty() && theirs.scale > self.scales[at].0;
            !fixed
                && theirs.fits_scale(mine.scale.max(self.scales[at].0))
                && mine.fits_scale(theirs.scale)
        })
    }

    /// Adds rows. They are of the segment's day and not before the last one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for another kind, day or order or a row that breaks a rule of
    /// the model, [`crate::ErrorKind::Limit`] if not [`SegmentWriter::takes`] or for too long a
    /// text, [`crate::ErrorKind::Io`] if the file cannot be written.
    pub fn append(&mut self, batch: &Batch) -> Result<()> {
        let times = batch.ts_recv();
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return Ok(()) };
        if first < self.day.start().0 || last >= self.day.end().0 || !times.is_sorted() {
            return Err(Error::invalid("rows of a segment must be of one day and in order"));
        }
        let before = self.pending.ts_recv().last().copied();
        let before = before.or_else(|| self.blocks.last().map(|block| block.ts_recv_last));
        if before.is_some_and(|before| first < before) {
            return Err(Error::invalid("rows of a segment must not go back in receive time"));
        }
        if let Some(broken) = broken_rule(batch) {
            return Err(Error::invalid(format!("rows cannot be stored: {broken}")));
        }
        check_texts(batch)?;
        let mut start = 0;
        while start < batch.messages() {
            let room = self.options.block_rows.saturating_sub(self.pending.rows()).max(1);
            let end_row = batch.message_rows(start).start + room;
            let end = batch.message_of(end_row.min(batch.rows())).max(start + 1);
            let end = self.text_end(batch, start, end);
            self.pending.append_messages(batch, start..end)?;
            start = end;
            let text = text_bytes(&self.pending, 0..self.pending.rows());
            if self.pending.rows() >= self.options.block_rows || text >= limit::BLOCK_TEXT_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The message before `end` up to which the text of a block stays within bounds.
    fn text_end(&self, batch: &Batch, start: usize, end: usize) -> usize {
        let mut room = limit::BLOCK_TEXT_BYTES
            .saturating_sub(text_bytes(&self.pending, 0..self.pending.rows()));
        if text_bytes(batch, 0..batch.rows()) <= room {
            return end;
        }
        for message in start..end {
            let bytes = text_bytes(batch, batch.message_rows(message));
            if bytes > room {
                return message.max(start + 1);
            }
            room -= bytes;
        }
        end
    }

    /// Writes what is pending, the indexes and the footer, and makes the file durable.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] without rows; [`crate::ErrorKind::Io`] if the file cannot be
    /// written or synced.
    pub fn finish(mut self) -> Result<Sealed> {
        if !self.pending.is_empty() {
            self.flush()?;
        }
        let (Some(first), Some(last)) = (self.blocks.first(), self.blocks.last()) else {
            return Err(Error::invalid("a segment without rows cannot be sealed"));
        };
        let (ts_recv_first, ts_recv_last) = (first.ts_recv_first, last.ts_recv_last);
        let (ts_event_min, ts_event_max) =
            min_max(self.blocks.iter().flat_map(|block| [block.ts_event_min, block.ts_event_max]));
        let schema = self.pending.schema();
        let checkpoints = self.books.as_ref().map_or(&[][..], |books| &books.entries);
        let mut schema_bytes = encode_schema(schema, &self.scales);
        let schema_len = schema_bytes.len() as u32;
        pad(&mut schema_bytes);
        let block_bytes: &[u8] = bytemuck::cast_slice(&self.blocks);
        let checkpoint_bytes: &[u8] = bytemuck::cast_slice(checkpoints);
        let mut offsets = [0; 3];
        for (region, start) in
            [&schema_bytes, block_bytes, checkpoint_bytes].iter().zip(&mut offsets)
        {
            *start = self.offset + self.buffer.len() as u64;
            self.buffer.extend_from_slice(region);
            pad(&mut self.buffer);
        }
        let crc = |region, bytes: &[u8]| checksum(self.identity, region, 0, bytes);
        let footer = Footer {
            magic: FOOTER_MAGIC,
            version_major: VERSION_MAJOR,
            version_minor: VERSION_MINOR,
            footer_crc: 0,
            rows: self.hash.rows(),
            messages: self.messages,
            ts_recv_first,
            ts_recv_last,
            ts_event_min,
            ts_event_max,
            content_hash: self.hash.value(),
            schema_offset: offsets[0],
            block_index_offset: offsets[1],
            checkpoint_index_offset: offsets[2],
            schema_len,
            schema_crc: crc(Region::Schema, &schema_bytes),
            block_count: self.blocks.len() as u32,
            block_index_crc: crc(Region::BlockIndex, block_bytes),
            checkpoint_count: checkpoints.len() as u32,
            checkpoint_index_crc: crc(Region::CheckpointIndex, checkpoint_bytes),
            replay_rows_max: self.books.as_ref().map_or(0, Checkpoints::replay_rows_max),
            file_len: self.offset + self.buffer.len() as u64 + size_of::<Footer>() as u64,
            store_id: self.identity.store_id,
            segment_id: self.identity.segment_id,
            flags: self.flags,
            reserved: [0; 36],
        }
        .sealed();
        if footer.file_len > limit::SEGMENT_BYTES_MAX {
            let bytes = footer.file_len;
            return Err(Error::limit("bytes of a segment:", bytes, limit::SEGMENT_BYTES_MAX));
        }
        self.buffer.extend_from_slice(bytemuck::bytes_of(&footer));
        self.write_buffer()?;
        self.file.sync().map_err(|e| Error::io(e, "sync segment", &self.path))?;
        let mut scales = [0; 16];
        scales.iter_mut().zip(&self.scales).for_each(|(place, &(scale, _))| *place = scale);
        Ok(Sealed {
            path: self.path,
            footer,
            day: self.day,
            file_crc: self.file_crc.finalize(),
            scales,
            checkpoint_bytes: self.books.map_or(0, |books| books.bytes),
        })
    }

    /// Encodes and writes the pending rows as a block, then the checkpoints that fall inside it.
    fn flush(&mut self) -> Result<()> {
        let kind = self.pending.kind();
        let mut block = std::mem::replace(&mut self.pending, Batch::new(kind));
        for (at, scale) in self.scales.iter_mut().enumerate() {
            if let Some(column) = block.column(at) {
                *scale = (column.scale.max(scale.0), column.digits.max(scale.1));
            }
        }
        for (at, &(scale, _)) in self.scales.iter().enumerate() {
            block.raise_scale(at, scale)?;
        }
        self.hash.update_all(&block);
        let number = self.blocks.len() as u64;
        let entry = self.encode_block(&block, number);
        if self.blocks.is_empty() && starts_with_reset(&block) {
            self.flags |= FLAG_STARTS_WITH_RESET;
        }
        self.flags |= entry.flags;
        let after_block = self.offset + self.buffer.len() as u64;
        if let Some(books) = &mut self.books {
            books.follow(&block, &entry, after_block, self.identity, self.options)?;
            self.buffer.append(&mut books.encoded);
        }
        self.blocks.push(entry);
        self.messages += u64::from(entry.messages);
        // The next block takes its memory.
        block.clear();
        self.pending = block;
        self.write_buffer()
    }

    /// Appends directory and pages of a block to the buffer.
    fn encode_block(&mut self, block: &Batch, number: u64) -> BlockEntry {
        let start = self.buffer.len();
        let (page_count, directory_crc) =
            pages::encode_block(block, self.identity, number, self.compact, &mut self.buffer);
        let times = block.ts_recv();
        let (ts_event_min, ts_event_max) = zone_of(block.i64s(1), &[]);
        BlockEntry {
            offset: self.offset + start as u64,
            first_row: self.hash.rows() - block.rows() as u64,
            first_message: self.messages,
            ts_recv_first: times.first().copied().unwrap_or(NULL),
            ts_recv_last: times.last().copied().unwrap_or(NULL),
            ts_event_min,
            ts_event_max,
            zones: zones(block),
            len: (self.buffer.len() - start) as u32,
            rows: block.rows() as u32,
            messages: block.messages() as u32,
            directory_crc,
            flags: block_flags(block),
            page_count,
            reserved: [0; 16],
        }
    }

    fn write_buffer(&mut self) -> Result<()> {
        self.file_crc.update(&self.buffer);
        self.file.append(&self.buffer).map_err(|e| Error::io(e, "write segment", &self.path))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Checkpoints {
    fn replay_rows_max(&self) -> u64 {
        self.rows_since_max.max(self.rows_since)
    }

    /// Applies a block to the book and places checkpoints on the way.
    fn follow(
        &mut self,
        block: &Batch,
        entry: &BlockEntry,
        after_block: u64,
        identity: Identity,
        options: WriterOptions,
    ) -> Result<()> {
        let rows_so_far = entry.first_row + u64::from(entry.rows);
        let mut message = 0;
        while message < block.messages() {
            let asked = options.checkpoint_rows;
            let spacing = self.spacing(asked, rows_so_far, after_block);
            // Where nothing is promised, as near as can be to the beginning of packed groups, for
            // what is in a group before the checkpoint is unpacked with what is behind.
            let group = if asked.is_none() { limit::GROUP_VALUES } else { 1 };
            if self.entries.is_empty() || self.rows_since + group as u64 / 2 >= spacing {
                let row = block.message_rows(message).start as u64;
                self.place(
                    entry.first_row + row,
                    entry.first_message + message as u64,
                    after_block,
                    identity,
                )?;
            }
            // Up to the message with which the next checkpoint is due.
            let room = spacing.saturating_sub(self.rows_since).max(1);
            let start_row = block.message_rows(message).start;
            let target = start_row.saturating_add(usize::try_from(room).unwrap_or(usize::MAX));
            let target = target.saturating_add(group / 2) / group * group;
            let end = if target >= block.rows() {
                block.messages()
            } else {
                block.message_of(target - 1) + 1
            };
            self.tracker.apply(block, message..end)?;
            self.rows_since += (block.message_rows(end - 1).end - start_row) as u64;
            message = end;
        }
        Ok(())
    }

    /// Rows between two checkpoints: as asked, else so many that checkpoints take their share of
    /// `bytes_so_far` in `rows_so_far` rows.
    fn spacing(&self, asked: Option<u64>, rows_so_far: u64, bytes_so_far: u64) -> u64 {
        const LEAST: u64 = limit::CHECKPOINT_ROWS;
        let (None, Some(last)) = (asked, self.entries.last()) else {
            return asked.unwrap_or(LEAST);
        };
        let row_bytes = bytes_so_far.saturating_sub(self.bytes).max(1);
        let affordable = u64::from(last.len) * CHECKPOINT_SHARE * rows_so_far / row_bytes;
        affordable.clamp(LEAST, LEAST * CHECKPOINT_STRETCH)
    }

    fn place(
        &mut self,
        row: u64,
        message: u64,
        after_block: u64,
        identity: Identity,
    ) -> Result<()> {
        self.rows_since_max = self.rows_since_max.max(self.rows_since);
        self.rows_since = 0;
        self.book.fill(&self.tracker);
        let levels = self.book.bids.prices.len().max(self.book.asks.prices.len());
        if levels > limit::LEVELS_PER_SIDE_MAX {
            let max = limit::LEVELS_PER_SIDE_MAX;
            return Err(Error::limit("levels of one side of a book:", levels, max));
        }
        let start = self.encoded.len();
        checkpoint::encode(&self.book, self.compact, &mut self.encoded);
        let len = self.encoded.len() - start;
        pad(&mut self.encoded);
        let index = self.entries.len() as u64;
        let crc = checksum(identity, Region::Checkpoint, index, &self.encoded[start..]);
        self.bytes += (self.encoded.len() - start) as u64;
        self.entries.push(CheckpointEntry {
            row,
            message,
            ts_recv: self.tracker.ts_recv().map_or(NULL, |ts| ts.0),
            ts_event: self.tracker.ts_event().map_or(NULL, |ts| ts.0),
            venue_seq: self.tracker.venue_seq().unwrap_or(NULL),
            offset: after_block + start as u64,
            len: len as u32,
            crc,
            reserved: [0; 8],
        });
        Ok(())
    }
}

fn texts(batch: &Batch) -> impl Iterator<Item = &TextValues> {
    batch.columns().iter().flatten().filter_map(|column| match &column.values {
        Values::Text(texts) => Some(texts),
        _ => None,
    })
}

/// Refuses a text value that no reader would take, and more text in a message than a block may
/// hold.
///
/// # Errors
/// [`crate::ErrorKind::Limit`] with the length.
pub(crate) fn check_texts(batch: &Batch) -> Result<()> {
    for texts in texts(batch) {
        let mut start = 0;
        for &end in texts.ends.iter() {
            let bytes = end.saturating_sub(start) as usize;
            if bytes > limit::TEXT_BYTES_MAX {
                return Err(Error::limit("bytes of a text:", bytes, limit::TEXT_BYTES_MAX));
            }
            start = end;
        }
    }
    if text_bytes(batch, 0..batch.rows()) > limit::MESSAGE_TEXT_BYTES_MAX {
        let messages = 0..batch.messages();
        let most = messages.map(|message| text_bytes(batch, batch.message_rows(message))).max();
        let (most, max) = (most.unwrap_or_default(), limit::MESSAGE_TEXT_BYTES_MAX);
        if most > max {
            return Err(Error::limit("bytes of text in one message:", most, max));
        }
    }
    Ok(())
}

/// Bytes of all text columns in a run of rows.
fn text_bytes(batch: &Batch, rows: std::ops::Range<usize>) -> usize {
    texts(batch)
        .map(|texts| {
            let end = |rows: usize| {
                rows.checked_sub(1)
                    .and_then(|last| texts.ends.get(last))
                    .map_or(0, |&end| end as usize)
            };
            end(rows.end).saturating_sub(end(rows.start))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;
    use crate::event::{BatchBuilder, StatusRow, StatusWhat};
    use crate::quantity::TsNs;

    fn one_row() -> Batch {
        let mut builder = BatchBuilder::new(Kind::Status);
        builder.status(&StatusRow {
            ts_recv: TsNs(5),
            ts_event: None,
            what: StatusWhat::Connected,
            detail: "",
        });
        builder.finish().unwrap().pop().unwrap()
    }

    /// A writer with one row that believes to have written so many rows and bytes before.
    fn writer(folder: &Path, rows: u64, offset: u64) -> SegmentWriter {
        let header = Header::new(Identity { store_id: 1, segment_id: 1 }, 0, 0, Kind::Status);
        let path = folder.join(format!("{rows}-{offset}"));
        let options = WriterOptions::default();
        let mut writer =
            SegmentWriter::create(&OsDisk, &path, &header, Kind::Status, options, None).unwrap();
        writer.append(&one_row()).unwrap();
        writer.hash = ContentHash::from_parts(0, rows);
        writer.offset = offset;
        writer
    }

    #[test]
    fn a_segment_takes_rows_up_to_its_limits() {
        let folder = tempfile::tempdir().unwrap();
        let takes = |rows, offset| writer(folder.path(), rows, offset).takes(&one_row());

        assert!(takes(limit::SEGMENT_ROWS_MAX - 2, 64));
        assert!(!takes(limit::SEGMENT_ROWS_MAX - 1, 64));
        assert!(takes(0, limit::SEGMENT_BYTES_MAX / 2));
        assert!(!takes(0, limit::SEGMENT_BYTES_MAX / 2 + 1));
    }

    #[test]
    fn a_segment_file_has_no_more_bytes_than_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let finish = |offset| writer(folder.path(), 0, offset).finish();
        let after_offset = finish(64).unwrap().footer.file_len - 64;

        let most = finish(limit::SEGMENT_BYTES_MAX - after_offset).unwrap();
        assert_eq!(most.footer.file_len, limit::SEGMENT_BYTES_MAX);
        let error = finish(limit::SEGMENT_BYTES_MAX - after_offset + 64).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Limit);
    }
}
