//! Opens a sealed segment and reads any messages of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::SharedBytes;
use crate::error::{Error, Result};
use crate::event::{Kind, Schema};
use crate::format::checkpoint::{self, CheckpointBook};
use crate::format::segment::{
    BLOCK_FLAGS, BlockEntry, CheckpointEntry, Footer, Header, check_region, decode_schema,
};
use crate::format::{ALIGNMENT, Fault, Identity, Region, aligned};
use crate::limit;
use crate::quantity::Day;

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
    /// Decimal scale of each column, 0 beyond the last.
    pub scales: [u8; 16],
}

/// A sealed segment, opened. Reading checks each page when it is first touched.
pub struct Segment {
    bytes: SharedBytes,
    path: PathBuf,
    identity: Identity,
    kind: Kind,
    day: Day,
    footer: Footer,
    scales: Vec<(u8, u8)>,
    /// One bit per page (16 per block: directory, then pages) and then per checkpoint.
    verified: Vec<AtomicU64>,
}

/// Bits of [`Segment::verified`] per block.
pub(super) const BITS_PER_BLOCK: usize = 16;

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
            let at = footer.file_len - size_of::<Footer>() as u64 + 64;
            return Err(Fault::new(at, "content hash differs from the manifest's"));
        }
        let at = footer.schema_offset;
        let schema_bytes = slice(file, at, aligned(footer.schema_len.into()))?;
        check_region(identity, Region::Schema, 0, schema_bytes, footer.schema_crc, at)?;
        let scales = decode_schema(
            schema_bytes.get(..footer.schema_len as usize).unwrap_or_default(),
            kind.schema(),
            at,
        )?;
        let told = expected.map(|expected| expected.scales);
        let mut pairs = told.iter().flatten().zip(&scales);
        if let Some((&told, &(found, _))) = pairs.find(|(told, (found, _))| *told != found) {
            return Err(Fault::new(at, "scales differ from the manifest's")
                .expected(told.into(), found.into()));
        }
        let bits = footer.block_count as usize * BITS_PER_BLOCK + footer.checkpoint_count as usize;
        let verified = (0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let path = path.to_owned();
        let day = Day(header.day);
        let segment = Self { bytes, path, identity, kind, day, footer, scales, verified };
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
            if block.flags & !BLOCK_FLAGS != 0 {
                return Err(Fault::new(at, "block with unknown flags")
                    .expected(BLOCK_FLAGS.into(), block.flags.into()));
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

    pub(super) fn file(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// All bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.file()
    }

    /// The map, to keep alive what is read without a copy.
    pub(super) fn shared(&self) -> SharedBytes {
        self.bytes.clone()
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

    /// UTC day of all rows.
    #[must_use]
    pub fn day(&self) -> Day {
        self.day
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

    pub(super) fn no_such(&self, what: &str, index: usize) -> Error {
        Error::new(crate::ErrorKind::OutOfRange, format!("segment has no {what} {index}"))
            .at_path(&self.path)
    }

    /// Checks a region unless it was checked before.
    pub(super) fn verify_once(
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

pub(super) fn slice(file: &[u8], at: u64, len: u64) -> Result<&[u8], Fault> {
    usize::try_from(at)
        .ok()
        .zip(at.checked_add(len).and_then(|end| usize::try_from(end).ok()))
        .and_then(|(start, end)| file.get(start..end))
        .ok_or(Fault::new(at, "a region lies outside the file"))
}
