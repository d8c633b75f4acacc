//! Opens a sealed segment and reads any messages of it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::{Encoding, Fault as PageFault, IntegerPage, decode_texts};
use crate::disk::SharedBytes;
use crate::error::{Error, Result};
use crate::event::{Batch, Buffer, Column, ColumnType, Kind, Schema, Values};
use crate::format::checkpoint::{self, CheckpointBook};
use crate::format::segment::{
    BlockEntry, CheckpointEntry, ENDS_COLUMN, Footer, Header, NO_REFERENCE, PageEntry,
    check_region, decode_schema, plain_bytes,
};
use crate::format::{ALIGNMENT, Fault, Identity, Region, aligned};
use crate::limit;

/// Which columns of a schema to read: bit `n` stands for column `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnMask(u64);

impl ColumnMask {
    /// Every column.
    pub const ALL: Self = Self(u64::MAX);

    /// Only these columns, by number.
    #[must_use]
    pub fn of(columns: &[usize]) -> Self {
        Self(columns.iter().fold(0, |mask, &column| mask | 1 << (column % 64)))
    }

    /// Whether column `column` is asked for.
    #[must_use]
    #[inline]
    pub fn has(self, column: usize) -> bool {
        self.0 >> (column % 64) & 1 == 1
    }

    /// These columns and those of `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What the manifest says a segment file is; anything else is another file under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Store and segment number.
    pub identity: Identity,
    /// Stream the rows belong to.
    pub stream_id: u32,
    /// Kind of the stream.
    pub kind: Kind,
    /// UTC day of the rows.
    pub day: i32,
    /// Bytes of the file.
    pub file_len: u64,
    /// Content hash of the rows.
    pub content_hash: u64,
}

/// A sealed segment, opened. Reading checks each page when it is first touched.
pub struct Segment {
    bytes: SharedBytes,
    path: PathBuf,
    identity: Identity,
    kind: Kind,
    footer: Footer,
    scales: Vec<(u8, u8)>,
    /// One bit per page (16 per block: directory, then pages) and then per checkpoint.
    verified: Vec<AtomicU64>,
}

/// Bits of [`Segment::verified`] per block.
const BITS_PER_BLOCK: usize = 16;

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({})", self.path.display())
    }
}

impl Segment {
    /// Checks header, footer, schema and indexes of a mapped file. Touches no block.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset, or [`crate::ErrorKind::Unsupported`] for
    /// a newer version.
    pub fn open(bytes: SharedBytes, path: &Path, expected: Option<&Expected>) -> Result<Self> {
        Self::check(bytes, path, expected).map_err(|fault| Error::from(fault).at_path(path))
    }

    fn check(bytes: SharedBytes, path: &Path, expected: Option<&Expected>) -> Result<Self, Fault> {
        let file = (*bytes).as_ref();
        let (header, kind) = Header::decode(file)?;
        let identity = Identity { store_id: header.store_id, segment_id: header.segment_id };
        if let Some(expected) = expected {
            let same = identity == expected.identity
                && header.stream_id == expected.stream_id
                && header.day == expected.day
                && kind == expected.kind;
            if !same {
                return Err(Fault::new(16, "this is another segment than the manifest names"));
            }
            if file.len() as u64 != expected.file_len {
                return Err(Fault::new(file.len() as u64, "file length")
                    .expected(expected.file_len, file.len() as u64));
            }
        }
        let footer = Footer::decode(file, identity)?;
        if expected.is_some_and(|expected| expected.content_hash != footer.content_hash) {
            return Err(Fault::new(16, "content hash differs from the manifest's"));
        }
        let at = footer.schema_offset;
        let schema_bytes = slice(file, at, aligned(footer.schema_len.into()))?;
        check_region(identity, Region::Schema, 0, schema_bytes, footer.schema_crc, at)?;
        let scales = decode_schema(
            schema_bytes.get(..footer.schema_len as usize).unwrap_or_default(),
            kind.schema(),
            at,
        )?;
        let bits = footer.block_count as usize * BITS_PER_BLOCK + footer.checkpoint_count as usize;
        let verified = (0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let path = path.to_owned();
        let segment = Self { bytes, path, identity, kind, footer, scales, verified };
        segment.check_indexes()?;
        Ok(segment)
    }

    /// Checks both indexes once, so that everything later may rely on their order and ranges.
    fn check_indexes(&self) -> Result<(), Fault> {
        let footer = &self.footer;
        let (at, file) = (footer.block_index_offset, self.file());
        let index =
            slice(file, at, u64::from(footer.block_count) * size_of::<BlockEntry>() as u64)?;
        check_region(self.identity, Region::BlockIndex, 0, index, footer.block_index_crc, at)?;
        let pages = self.page_count();
        let (mut row, mut message, mut time) = (0, 0, i64::MIN);
        let mut offset = size_of::<Header>() as u64;
        for block in self.blocks() {
            let fits = block.first_row == row
                && block.first_message == message
                && block.offset >= offset
                && block.offset.is_multiple_of(ALIGNMENT as u64)
                && block.offset.saturating_add(block.len.into()) <= footer.schema_offset
                && block.rows as usize <= limit::BLOCK_ROWS_MAX
                && block.messages > 0
                && block.messages <= block.rows
                && (self.schema().is_grouped() || block.messages == block.rows)
                && block.page_count as usize == pages
                && block.ts_recv_first >= time
                && block.ts_recv_last >= block.ts_recv_first
                && block.reserved == [0; 16];
            if !fits {
                return Err(Fault::new(at, "block index is not in order"));
            }
            row += u64::from(block.rows);
            message += u64::from(block.messages);
            time = block.ts_recv_last;
            offset = block.offset + u64::from(block.len);
        }
        if row != footer.rows || message != footer.messages {
            return Err(Fault::new(at, "blocks do not add up to the footer's rows")
                .expected(footer.rows, row));
        }
        let at = footer.checkpoint_index_offset;
        let len = u64::from(footer.checkpoint_count) * size_of::<CheckpointEntry>() as u64;
        let index = slice(file, at, len)?;
        check_region(
            self.identity,
            Region::CheckpointIndex,
            0,
            index,
            footer.checkpoint_index_crc,
            at,
        )?;
        let rising = self.checkpoints().is_sorted_by(|a, b| a.message < b.message && a.row < b.row);
        let first = self.checkpoints().first().map(|entry| (entry.message, entry.row));
        let expected = (self.kind == Kind::Book).then_some((0, 0));
        let inside = self.checkpoints().iter().all(|entry| {
            entry.row < footer.rows
                && entry.message < footer.messages
                && entry.reserved == [0; 8]
                && entry.offset.is_multiple_of(ALIGNMENT as u64)
                && entry.offset.saturating_add(entry.len.into()) <= footer.schema_offset
        });
        if !rising || !inside || first != expected {
            return Err(Fault::new(at, "checkpoint index is not in order"));
        }
        Ok(())
    }

    fn file(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    fn page_count(&self) -> usize {
        self.schema().columns.len() + usize::from(self.schema().is_grouped())
    }

    /// The file the segment lies in.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Store and segment number.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Kind of the rows.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Schema of the rows.
    #[must_use]
    pub fn schema(&self) -> &'static Schema {
        self.kind.schema()
    }

    /// The footer: counts, times, content hash.
    #[must_use]
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Scale and digits of each column.
    #[must_use]
    pub fn scales(&self) -> &[(u8, u8)] {
        &self.scales
    }

    /// How many messages.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.footer.messages
    }

    /// The block index, in the map itself.
    #[must_use]
    pub fn blocks(&self) -> &[BlockEntry] {
        let start = self.footer.block_index_offset as usize;
        let end = start + self.footer.block_count as usize * size_of::<BlockEntry>();
        let bytes = self.file().get(start..end).unwrap_or_default();
        bytemuck::try_cast_slice(bytes).unwrap_or_default()
    }

    /// The checkpoint index, in the map itself.
    #[must_use]
    pub fn checkpoints(&self) -> &[CheckpointEntry] {
        let start = self.footer.checkpoint_index_offset as usize;
        let end = start + self.footer.checkpoint_count as usize * size_of::<CheckpointEntry>();
        let bytes = self.file().get(start..end).unwrap_or_default();
        bytemuck::try_cast_slice(bytes).unwrap_or_default()
    }

    /// The block that holds message `message` of the segment.
    #[must_use]
    pub fn block_of(&self, message: u64) -> usize {
        let blocks = self.blocks();
        blocks.partition_point(|block| block.first_message <= message).saturating_sub(1)
    }

    /// Messages `messages` of the segment that lie in block `block`, with the columns asked for.
    ///
    /// Decodes at most 1,024 values of a column more than asked for. Plain pages are not copied.
    /// `reuse` gives its memory.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset; no value of a damaged page is returned.
    pub fn read(
        &self,
        block: usize,
        messages: Range<u64>,
        mask: ColumnMask,
        reuse: Batch,
    ) -> Result<Batch> {
        let entry = *self.blocks().get(block).ok_or_else(|| self.no_such("block", block))?;
        let first = entry.first_message;
        let end = first + u64::from(entry.messages);
        let start = messages.start.clamp(first, end);
        let range = (start - first) as usize..(messages.end.clamp(start, end) - first) as usize;
        BlockReader::open(self, block, &entry)?.read(range, mask, reuse)
    }

    /// The pages of block `block`, from its checked directory.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub fn pages(&self, block: usize) -> Result<&[PageEntry]> {
        let entry = *self.blocks().get(block).ok_or_else(|| self.no_such("block", block))?;
        Ok(BlockReader::open(self, block, &entry)?.pages)
    }

    /// The checkpoint with this place in the index.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub fn checkpoint(&self, index: usize) -> Result<(CheckpointEntry, CheckpointBook)> {
        let entry =
            *self.checkpoints().get(index).ok_or_else(|| self.no_such("checkpoint", index))?;
        self.read_checkpoint(index, &entry).map(|book| (entry, book)).map_err(|fault| {
            Error::from(fault).context(format_args!("checkpoint {index}")).at_path(&self.path)
        })
    }

    fn read_checkpoint(
        &self,
        index: usize,
        entry: &CheckpointEntry,
    ) -> Result<CheckpointBook, Fault> {
        let bytes = slice(self.file(), entry.offset, aligned(entry.len.into()))?;
        let bit = self.blocks().len() * BITS_PER_BLOCK + index;
        self.verify_once(bit, Region::Checkpoint, index as u64, bytes, entry.crc, entry.offset)?;
        checkpoint::decode(bytes.get(..entry.len as usize).unwrap_or_default(), entry.offset)
    }

    fn no_such(&self, what: &str, index: usize) -> Error {
        Error::new(crate::ErrorKind::OutOfRange, format!("segment has no {what} {index}"))
            .at_path(&self.path)
    }

    /// Checks a region unless it was checked before.
    fn verify_once(
        &self,
        bit: usize,
        region: Region,
        index: u64,
        bytes: &[u8],
        crc: u32,
        at: u64,
    ) -> Result<(), Fault> {
        let mask = 1 << (bit % 64);
        let word = self.verified.get(bit / 64);
        if word.is_some_and(|word| word.load(Ordering::Relaxed) & mask != 0) {
            return Ok(());
        }
        check_region(self.identity, region, index, bytes, crc, at)?;
        if let Some(word) = word {
            word.fetch_or(mask, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn slice(file: &[u8], at: u64, len: u64) -> Result<&[u8], Fault> {
    usize::try_from(at)
        .ok()
        .zip(at.checked_add(len).and_then(|end| usize::try_from(end).ok()))
        .and_then(|(start, end)| file.get(start..end))
        .ok_or(Fault::new(at, "a region lies outside the file"))
}

/// One block whose directory has been checked.
pub(super) struct BlockReader<'a> {
    segment: &'a Segment,
    number: usize,
    entry: BlockEntry,
    pages: &'a [PageEntry],
}

impl<'a> BlockReader<'a> {
    pub(super) fn open(segment: &'a Segment, number: usize, entry: &BlockEntry) -> Result<Self> {
        let pages = Self::directory(segment, number, entry).map_err(|fault| {
            Error::from(fault).context(format_args!("block {number}")).at_path(&segment.path)
        })?;
        Ok(Self { segment, number, entry: *entry, pages })
    }

    fn directory(
        segment: &'a Segment,
        number: usize,
        entry: &BlockEntry,
    ) -> Result<&'a [PageEntry], Fault> {
        let len = u64::from(entry.page_count) * size_of::<PageEntry>() as u64;
        let bytes = slice(segment.file(), entry.offset, aligned(len))?;
        let bit = number * BITS_PER_BLOCK;
        let crc = entry.directory_crc;
        segment.verify_once(
            bit,
            Region::BlockDirectory,
            number as u64,
            bytes,
            crc,
            entry.offset,
        )?;
        let pages: &[PageEntry] =
            bytemuck::try_cast_slice(bytes.get(..len as usize).unwrap_or_default())
                .unwrap_or_default();
        let mut next = aligned(len);
        let schema = segment.schema();
        let ends = schema.is_grouped().then_some((ENDS_COLUMN, 4));
        let columns = schema.columns.iter().zip(0u8..).map(|(spec, at)| (at, plain_bytes(spec.ty)));
        for (page, expected) in pages.iter().zip(ends.into_iter().chain(columns)) {
            let same = (page.column, page.plain_bytes) == expected && page.reserved == [0; 12];
            let refers = page.reference == NO_REFERENCE || (page.column, page.reference) == (1, 0);
            if !same || !refers {
                return Err(Fault::new(entry.offset, "a page is not that of its column"));
            }
            if u64::from(page.offset) != next {
                return Err(Fault::new(entry.offset, "pages of a block are not in order"));
            }
            next = aligned(u64::from(page.offset) + u64::from(page.len));
        }
        if next != u64::from(entry.len) {
            return Err(Fault::new(entry.offset, "pages of a block do not fill it"));
        }
        Ok(pages)
    }

    /// The checked bytes of the page of a column, its encoding, and where it starts in the file.
    fn page(&self, column: u8) -> Result<(PageEntry, Encoding, &'a [u8], u64), Fault> {
        let at = self.entry.offset;
        let (index, page) = self
            .pages
            .iter()
            .enumerate()
            .find(|(_, page)| page.column == column)
            .ok_or(Fault::new(at, "block lacks the page of a column"))?;
        let at = at + u64::from(page.offset);
        let bytes = slice(self.segment.file(), at, aligned(page.len.into()))?;
        let bit = self.number * BITS_PER_BLOCK + 1 + index;
        let region_index = (self.number as u64) << 8 | index as u64;
        self.segment.verify_once(bit, Region::Page, region_index, bytes, page.crc, at)?;
        let encoding =
            Encoding::from_code(page.encoding).ok_or(Fault::unsupported(at, "unknown encoding"))?;
        Ok((*page, encoding, bytes.get(..page.len as usize).unwrap_or_default(), at))
    }

    fn integers(
        &self,
        column: u8,
        count: usize,
    ) -> Result<(IntegerPage<'a>, PageEntry, u64), Fault> {
        let (page, encoding, bytes, at) = self.page(column)?;
        if page.count as usize != count {
            return Err(Fault::new(at, "page has another value count than its block")
                .expected(count as u64, page.count.into()));
        }
        let parsed = IntegerPage::parse(bytes, encoding, count, page.plain_bytes.into())
            .map_err(|PageFault(what)| Fault::new(at, what))?;
        Ok((parsed, page, at))
    }

    fn named(&self, column: u8, fault: Fault) -> Error {
        let name = self.segment.schema().columns.get(usize::from(column));
        let name = name.map_or("message ends", |spec| spec.name);
        Error::from(fault)
            .context(format_args!("block {}, column {name}", self.number))
            .at_path(&self.segment.path)
    }

    /// First message of the block whose receive time is at least `ts`.
    pub(super) fn first_message_at(&self, ts: i64) -> Result<u64> {
        let count = self.entry.messages as usize;
        self.integers(0, count)
            .and_then(|(page, _, at)| {
                page.partition_point(ts).map_err(|PageFault(what)| Fault::new(at, what))
            })
            .map(|message| self.entry.first_message + message as u64)
            .map_err(|fault| self.named(0, fault))
    }

    /// Rows before the end of messages `range` of the block: starts with the end of the message
    /// before, or 0.
    fn ends(&self, range: &Range<usize>, scratch: &mut Vec<i64>) -> Result<usize, Fault> {
        let (page, _, at) = self.integers(ENDS_COLUMN, self.entry.messages as usize)?;
        let from = range.start.saturating_sub(1);
        page.read(from..range.end, scratch).map_err(|PageFault(what)| Fault::new(at, what))?;
        let rising = scratch.is_sorted_by(|a, b| a < b);
        let inside = scratch.first().is_none_or(|&end| end > 0)
            && scratch.last().is_none_or(|&end| end <= i64::from(self.entry.rows));
        if !rising || !inside {
            return Err(Fault::new(at, "message ends are not in order"));
        }
        Ok(if range.start == 0 { 0 } else { scratch.remove(0) as usize })
    }

    fn read(&self, range: Range<usize>, mask: ColumnMask, reuse: Batch) -> Result<Batch> {
        let schema = self.segment.schema();
        let (mut ends, mut columns) = reuse_parts(reuse, schema);
        let rows = if schema.is_grouped() {
            let mut scratch = Vec::with_capacity(range.len() + 1);
            let start = match range.is_empty() {
                true => 0,
                false => self.ends(&range, &mut scratch).map_err(|f| self.named(ENDS_COLUMN, f))?,
            };
            let relative = ends.reuse();
            relative.extend(scratch.iter().map(|&end| (end as usize - start) as u32));
            start..start + relative.last().map_or(0, |&end| end as usize)
        } else {
            range.clone()
        };
        for (at, spec) in schema.columns.iter().enumerate() {
            if !mask.has(at) {
                columns[at] = None;
                continue;
            }
            let (values, count) = match spec.per_message {
                true => (range.clone(), self.entry.messages),
                false => (rows.clone(), self.entry.rows),
            };
            let column = columns[at].take().unwrap_or_else(|| Column::empty(spec.ty));
            let times = columns[0].as_ref();
            let read = self.column(at, spec.ty, values, count as usize, column, times);
            columns[at] = Some(read.map_err(|fault| self.named(at as u8, fault))?);
        }
        Batch::from_parts(self.segment.kind, rows.len(), ends, columns)
            .map_err(|error| error.at_path(&self.segment.path).at_byte(self.entry.offset))
    }

    /// Values `range` of one column; `reuse` gives its memory, `times` column 0 of the same range.
    fn column(
        &self,
        at: usize,
        ty: ColumnType,
        range: Range<usize>,
        count: usize,
        mut reuse: Column,
        times: Option<&Column>,
    ) -> Result<Column, Fault> {
        let column = at as u8;
        let (scale, digits) = self.segment.scales.get(at).copied().unwrap_or_default();
        (reuse.scale, reuse.digits) = (scale, digits);
        if ty == ColumnType::Text {
            let (page, encoding, bytes, at) = self.page(column)?;
            if page.count as usize != count {
                return Err(Fault::new(at, "page has another value count than its block"));
            }
            let texts = decode_texts(bytes, encoding, count)
                .map_err(|PageFault(what)| Fault::new(at, what))?;
            let whole = range.len() == count;
            reuse.values = Values::Text(match whole {
                true => texts,
                false => {
                    let mut part = crate::event::TextValues::default();
                    range.for_each(|index| part.push(texts.get(index)));
                    part
                }
            });
            return Ok(reuse);
        }
        let (page, entry, at) = self.integers(column, count)?;
        let alone = entry.reference == NO_REFERENCE;
        let fault = |PageFault(what)| Fault::new(at, what);
        match &mut reuse.values {
            Values::I64(values) => {
                let shared = (alone && entry.encoding == Encoding::Plain as u8)
                    .then(|| {
                        let offset = at as usize + range.start * 8;
                        Buffer::shared(self.segment.bytes.clone(), offset, range.len())
                    })
                    .flatten();
                if let Some(shared) = shared {
                    *values = shared;
                } else {
                    let out = values.reuse();
                    page.read(range.clone(), out).map_err(fault)?;
                    if !alone {
                        self.add_times(range, count, times, out)?;
                    }
                }
            }
            Values::U8(values) => page.read_u8(range, values.reuse()).map_err(fault)?,
            Values::Text(_) => return Err(Fault::new(at, "column of text is read as numbers")),
        }
        Ok(reuse)
    }

    /// Makes event times of their distances from the receive times.
    fn add_times(
        &self,
        range: Range<usize>,
        count: usize,
        times: Option<&Column>,
        out: &mut [i64],
    ) -> Result<(), Fault> {
        let add = |out: &mut [i64], times: &[i64]| {
            out.iter_mut().zip(times).for_each(|(out, time)| *out = out.wrapping_add(*time));
        };
        if let Some(Column { values: Values::I64(times), .. }) = times {
            add(out, times);
            return Ok(());
        }
        let (page, _, at) = self.integers(0, count)?;
        let mut times = Vec::with_capacity(range.len());
        page.read(range, &mut times).map_err(|PageFault(what)| Fault::new(at, what))?;
        add(out, &times);
        Ok(())
    }
}

/// The memory of a batch of the same kind; empty parts otherwise.
fn reuse_parts(reuse: Batch, schema: &'static Schema) -> (Buffer<u32>, Vec<Option<Column>>) {
    if reuse.kind() == schema.kind {
        return reuse.into_parts();
    }
    Batch::new(schema.kind).into_parts()
}
