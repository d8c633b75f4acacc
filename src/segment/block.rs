//! Reads runs of messages of one block.

use std::ops::Range;

use super::pages::MIRRORED;
use super::reader::{BITS_PER_BLOCK, ColumnMask, Segment, slice};
use crate::codec::{Encoding, Fault as PageFault, IntegerPage, decode_texts};
use crate::error::{Error, Result};
use crate::event::{Batch, Buffer, Column, ColumnType, Schema, Values, book};
use crate::format::segment::{BlockEntry, ENDS_COLUMN, NO_REFERENCE, PageEntry, plain_bytes};
use crate::format::{Fault, Region, aligned};

impl Segment {
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
            Error::from(fault).context(format_args!("block {number}")).at_path(segment.path())
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
            let place = (schema.kind, usize::from(page.column));
            let mirrored = place == MIRRORED && usize::from(page.reference) == book::SIDE;
            let refers = page.reference == NO_REFERENCE
                || (page.column, page.reference) == (1, 0)
                || mirrored;
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
            .at_path(self.segment.path())
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
        let rows = i64::from(self.entry.rows);
        let inside = scratch.first().is_none_or(|&end| end > 0)
            && scratch.last().is_none_or(|&end| match range.end == self.entry.messages as usize {
                true => end == rows,
                false => end < rows,
            });
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
            let before = columns.get(if at == 1 { 0 } else { book::SIDE });
            let before = before.and_then(Option::as_ref);
            let read = self.column(at, spec.ty, values, count as usize, column, before);
            columns[at] = Some(read.map_err(|fault| self.named(at as u8, fault))?);
        }
        Batch::from_parts(self.segment.kind(), rows.len(), ends, columns)
            .map_err(|error| error.at_path(self.segment.path()).at_byte(self.entry.offset))
    }

    /// Values `range` of one column; `reuse` gives its memory, `before` is the column of the same
    /// range that it may refer to, if that was asked for.
    fn column(
        &self,
        at: usize,
        ty: ColumnType,
        range: Range<usize>,
        count: usize,
        mut reuse: Column,
        before: Option<&Column>,
    ) -> Result<Column, Fault> {
        let column = at as u8;
        let (scale, digits) = self.segment.scales().get(at).copied().unwrap_or_default();
        (reuse.scale, reuse.digits) = (scale, digits);
        if ty == ColumnType::Text {
            let (page, encoding, bytes, at) = self.page(column)?;
            if page.count as usize != count {
                return Err(Fault::new(at, "page has another value count than its block"));
            }
            let texts = decode_texts(bytes, encoding, count, range)
                .map_err(|PageFault(what)| Fault::new(at, what))?;
            reuse.values = Values::Text(texts);
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
                        Buffer::shared(self.segment.shared(), offset, range.len())
                    })
                    .flatten();
                if let Some(shared) = shared {
                    *values = shared;
                } else {
                    let out = values.reuse();
                    match entry.reference {
                        NO_REFERENCE => page.read(range, out).map_err(fault)?,
                        0 => {
                            page.read(range.clone(), out).map_err(fault)?;
                            self.add_times(range, count, before, out)?;
                        }
                        _ => {
                            let mut read = Vec::new();
                            let sides = self.sides(&range, count, before, &mut read)?;
                            page.read_mirrored(range, sides, out).map_err(fault)?;
                        }
                    }
                }
            }
            Values::U8(values) => page.read_u8(range, values.reuse()).map_err(fault)?,
            Values::Text(_) => return Err(Fault::new(at, "column of text is read as numbers")),
        }
        Ok(reuse)
    }

    /// The sides of rows of a book: from their column if it was asked for, or into `read`.
    fn sides<'b>(
        &self,
        range: &Range<usize>,
        count: usize,
        column: Option<&'b Column>,
        read: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], Fault> {
        if let Some(Column { values: Values::U8(sides), .. }) = column {
            return Ok(sides);
        }
        let (page, _, at) = self.integers(book::SIDE as u8, count)?;
        page.read_u8(range.clone(), read).map_err(|PageFault(what)| Fault::new(at, what))?;
        Ok(read)
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
