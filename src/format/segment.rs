//! The structures of a segment file. `format-spec/03-segment.md`.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use super::{ALIGNMENT, Fault, Identity, Region, Result, aligned, checksum, own_checksum, read};
use crate::event::{ColumnType, Kind, Schema};
use crate::limit;
use crate::quantity::{Day, TsNs};

/// First bytes of a segment; the last five catch text-mode transfer, as PNG's do.
pub const MAGIC: [u8; 8] = *b"TKS\x1A\x0A\xA9\x0D\x0A";
/// First bytes of a footer.
pub const FOOTER_MAGIC: [u8; 8] = *b"TKSfoot\x0A";
/// A reader refuses a larger one.
pub const VERSION_MAJOR: u16 = 1;
/// A reader accepts a larger one.
pub const VERSION_MINOR: u16 = 0;

/// Segment header, 64 bytes at offset 0. Table 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8], //  0
    /// [`VERSION_MAJOR`].
    pub version_major: u16, //  8
    /// [`VERSION_MINOR`].
    pub version_minor: u16, // 10
    /// CRC-32 of these 64 bytes with this field as 0.
    pub header_crc: u32, // 12
    /// Random number of the store.
    pub store_id: u64, // 16
    /// Number of the segment in its store.
    pub segment_id: u64, // 24
    /// Stream the rows belong to.
    pub stream_id: u32, // 32
    /// UTC day of all rows, days since 1970-01-01.
    pub day: i32, // 36
    /// [`Kind::code`].
    pub kind: u8, // 40
    /// Written 0; a reader refuses anything else.
    pub reserved: [u8; 23], // 41
}
const _: () = assert!(size_of::<Header>() == 64);

/// Segment footer, the last 192 bytes. Table 3.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Footer {
    /// [`FOOTER_MAGIC`].
    pub magic: [u8; 8], //   0
    /// As in the header.
    pub version_major: u16, //   8
    /// As in the header.
    pub version_minor: u16, //  10
    /// CRC-32 of these 192 bytes with this field as 0.
    pub footer_crc: u32, //  12
    /// Rows of the segment.
    pub rows: u64, //  16
    /// Messages of the segment.
    pub messages: u64, //  24
    /// Receive time of the first message, ns.
    pub ts_recv_first: i64, //  32
    /// Receive time of the last message, ns, inclusive.
    pub ts_recv_last: i64, //  40
    /// Smallest event time, ns; null if there is none.
    pub ts_event_min: i64, //  48
    /// Largest event time, ns; null if there is none.
    pub ts_event_max: i64, //  56
    /// Content hash of all rows.
    pub content_hash: u64, //  64
    /// Start of the schema region, bytes.
    pub schema_offset: u64, //  72
    /// Start of the block index, bytes.
    pub block_index_offset: u64, //  80
    /// Start of the checkpoint index, bytes.
    pub checkpoint_index_offset: u64, //  88
    /// Bytes of the schema region.
    pub schema_len: u32, //  96
    /// Checksum of the schema region.
    pub schema_crc: u32, // 100
    /// Entries of the block index.
    pub block_count: u32, // 104
    /// Checksum of the block index.
    pub block_index_crc: u32, // 108
    /// Entries of the checkpoint index.
    pub checkpoint_count: u32, // 112
    /// Checksum of the checkpoint index.
    pub checkpoint_index_crc: u32, // 116
    /// Most rows between a checkpoint and any later message before the next: what a seek replays.
    pub replay_rows_max: u64, // 120
    /// Bytes of the whole file.
    pub file_len: u64, // 128
    /// As in the header.
    pub store_id: u64, // 136
    /// As in the header.
    pub segment_id: u64, // 144
    /// [`FLAG_GAPS`], [`FLAG_RESETS`] over all blocks; [`FLAG_STARTS_WITH_RESET`].
    pub flags: u32, // 152
    /// Written 0; a reader refuses anything else.
    pub reserved: [u8; 36], // 156
}
const _: () = assert!(size_of::<Footer>() == 192);

/// Some row is a gap.
pub const FLAG_GAPS: u32 = 1;
/// Some row is a reset.
pub const FLAG_RESETS: u32 = 2;
/// The first row is a reset, so the segment needs nothing before it.
pub const FLAG_STARTS_WITH_RESET: u32 = 4;
/// Every flag of a block.
pub const BLOCK_FLAGS: u32 = FLAG_GAPS | FLAG_RESETS;
/// Every flag of a segment.
pub const FLAGS: u32 = BLOCK_FLAGS | FLAG_STARTS_WITH_RESET;

/// One block in the block index, 128 bytes. Table 3.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockEntry {
    /// Start of the block's directory in the file, bytes.
    pub offset: u64, //   0
    /// Number of its first row in the segment.
    pub first_row: u64, //   8
    /// Number of its first message in the segment.
    pub first_message: u64, //  16
    /// Receive time of the first message, ns.
    pub ts_recv_first: i64, //  24
    /// Receive time of the last message, ns.
    pub ts_recv_last: i64, //  32
    /// Smallest event time, ns; null if there is none.
    pub ts_event_min: i64, //  40
    /// Largest event time, ns; null if there is none.
    pub ts_event_max: i64, //  48
    /// Smallest and largest value of the first decimal column, then of the second; null without.
    pub zones: [i64; 4], //  56
    /// Bytes of directory and pages, a multiple of 64.
    pub len: u32, //  88
    /// Rows of the block.
    pub rows: u32, //  92
    /// Messages of the block.
    pub messages: u32, //  96
    /// Checksum of the block's directory.
    pub directory_crc: u32, // 100
    /// [`FLAG_GAPS`], [`FLAG_RESETS`].
    pub flags: u32, // 104
    /// Pages of the block.
    pub page_count: u32, // 108
    /// Written 0.
    pub reserved: [u8; 16], // 112
}
const _: () = assert!(size_of::<BlockEntry>() == 128);

/// One page in a block's directory, 32 bytes. Table 3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PageEntry {
    /// Start of the page, bytes from the start of the block, a multiple of 64.
    pub offset: u32, //  0
    /// Bytes of the page; zeros follow up to the next multiple of 64.
    pub len: u32, //  4
    /// Checksum of page and following zeros.
    pub crc: u32, //  8
    /// Values of the page.
    pub count: u32, // 12
    /// Column number in the schema; [`ENDS_COLUMN`] for the message ends.
    pub column: u8, // 16
    /// [`crate::codec::Encoding`].
    pub encoding: u8, // 17
    /// Column whose value is added to each value; [`NO_REFERENCE`] if none.
    pub reference: u8, // 18
    /// Bytes of one value in a plain page, by the column's type: 8 for times, integers and
    /// decimals, 1 for codes and flags, 4 for the message ends, 0 for text.
    pub plain_bytes: u8, // 19
    /// Written 0.
    pub reserved: [u8; 12], // 20
}
const _: () = assert!(size_of::<PageEntry>() == 32);

/// [`PageEntry::column`] of the page that says where each message ends.
pub const ENDS_COLUMN: u8 = 255;
/// [`PageEntry::reference`] of a page that stands alone.
pub const NO_REFERENCE: u8 = 255;

/// One checkpoint in the checkpoint index, 64 bytes. Table 3.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct CheckpointEntry {
    /// The book before this row of the segment.
    pub row: u64, //  0
    /// The book before this message of the segment.
    pub message: u64, //  8
    /// Receive time of the last message before, ns; null if there is none.
    pub ts_recv: i64, // 16
    /// Event time of the last message before, ns; null if there is none.
    pub ts_event: i64, // 24
    /// Venue sequence of the last message before; null if there is none.
    pub venue_seq: i64, // 32
    /// Start of the checkpoint in the file, bytes.
    pub offset: u64, // 40
    /// Bytes of the checkpoint; zeros follow up to the next multiple of 64.
    pub len: u32, // 48
    /// Checksum of checkpoint and following zeros.
    pub crc: u32, // 52
    /// Written 0.
    pub reserved: [u8; 8], // 56
}
const _: () = assert!(size_of::<CheckpointEntry>() == 64);

/// Start of the schema region, 64 bytes. Table 3.2a.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SchemaHead {
    /// [`Kind::code`].
    pub kind: u8, //  0
    /// How many column entries follow.
    pub column_count: u8, //  1
    /// Written 0.
    pub reserved: [u8; 62], //  2
}
const _: () = assert!(size_of::<SchemaHead>() == 64);

/// One column in the schema region, 64 bytes. Table 3.2b.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ColumnEntry {
    /// Name, zeros after it.
    pub name: [u8; 32], //  0
    /// [`ColumnType::code`].
    pub column_type: u8, // 32
    /// 1: one value per message; 2: null allowed.
    pub flags: u8, // 33
    /// Decimal columns: values are in units of 10^-scale.
    pub scale: u8, // 34
    /// Decimal columns: the most decimals a value was written with.
    pub digits: u8, // 35
    /// Names of codes: start in bytes from the start of the region.
    pub names_offset: u32, // 36
    /// Names of codes: bytes, each name ended by a zero byte.
    pub names_len: u32, // 40
    /// Written 0.
    pub reserved: [u8; 20], // 44
}
const _: () = assert!(size_of::<ColumnEntry>() == 64);

impl Header {
    /// A header with its checksum.
    #[must_use]
    pub fn new(identity: Identity, stream_id: u32, day: i32, kind: Kind) -> Self {
        let mut header = Self {
            magic: MAGIC,
            version_major: VERSION_MAJOR,
            version_minor: VERSION_MINOR,
            header_crc: 0,
            store_id: identity.store_id,
            segment_id: identity.segment_id,
            stream_id,
            day,
            kind: kind.code(),
            reserved: [0; 23],
        };
        header.header_crc = own_checksum(&header, offset_of!(Self, header_crc));
        header
    }

    /// Reads and checks the header of a segment file.
    ///
    /// # Errors
    /// A [`Fault`] that names what is wrong; a newer major version is refused as unsupported.
    pub fn decode(file: &[u8]) -> Result<(Self, Kind)> {
        let header: Self = read(file, 0).ok_or(Fault::new(0, "file is shorter than a header"))?;
        if header.magic != MAGIC {
            return Err(Fault::new(0, "not a segment file (magic)"));
        }
        if header.version_major > VERSION_MAJOR {
            return Err(Fault::unsupported(8, "segment version is newer than this reader")
                .expected(VERSION_MAJOR.into(), header.version_major.into()));
        }
        let crc = own_checksum(&header, offset_of!(Self, header_crc));
        if crc != header.header_crc {
            return Err(Fault::new(12, "checksum of the segment header")
                .expected(header.header_crc.into(), crc.into()));
        }
        if header.version_major == 0 {
            return Err(Fault::new(8, "segment version 0 does not exist"));
        }
        if header.reserved != [0; 23] {
            return Err(Fault::new(41, "reserved bytes of the segment header are not 0"));
        }
        let kind = Kind::from_code(header.kind)
            .ok_or(Fault::unsupported(40, "segment of an unknown kind, newer than this reader"))?;
        if !(TsNs::MIN.day()..=TsNs::MAX.day()).contains(&Day(header.day)) {
            return Err(Fault::new(36, "no time is of the day of the segment header"));
        }
        Ok((header, kind))
    }
}

impl Footer {
    /// The footer with its checksum filled in.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.footer_crc = 0;
        self.footer_crc = own_checksum(&self, offset_of!(Self, footer_crc));
        self
    }

    /// Reads and checks the footer: checksum, identity, and that all regions lie in order, without
    /// holes or overlap, in a file of this length.
    ///
    /// # Errors
    /// A [`Fault`] that names what is wrong.
    pub fn decode(file: &[u8], identity: Identity) -> Result<Self> {
        const BYTES: u64 = size_of::<Footer>() as u64;
        let len = file.len() as u64;
        let at = len
            .checked_sub(BYTES)
            .filter(|at| *at >= size_of::<Header>() as u64 && at.is_multiple_of(ALIGNMENT as u64))
            .ok_or(Fault::new(len, "file length is not that of a segment"))?;
        let footer: Self = usize::try_from(at)
            .ok()
            .and_then(|at| read(file, at))
            .ok_or(Fault::new(at, "file is shorter than a footer"))?;
        if footer.magic != FOOTER_MAGIC {
            return Err(Fault::new(at, "no footer at the end of the file (magic)"));
        }
        let crc = own_checksum(&footer, offset_of!(Self, footer_crc));
        if crc != footer.footer_crc {
            return Err(Fault::new(at + 12, "checksum of the footer")
                .expected(footer.footer_crc.into(), crc.into()));
        }
        if footer.store_id != identity.store_id || footer.segment_id != identity.segment_id {
            return Err(Fault::new(at + 136, "footer belongs to another segment"));
        }
        if footer.file_len != len {
            return Err(Fault::new(at + 128, "file length").expected(footer.file_len, len));
        }
        footer.check(at)?;
        Ok(footer)
    }

    fn check(&self, at: u64) -> Result<()> {
        if self.version_major != VERSION_MAJOR {
            return Err(Fault::new(at + 8, "footer has another version than the header")
                .expected(VERSION_MAJOR.into(), self.version_major.into()));
        }
        if self.reserved != [0; 36] || self.flags & !FLAGS != 0 {
            return Err(Fault::new(at + 152, "reserved bytes of the footer are not 0"));
        }
        if self.rows > limit::SEGMENT_ROWS_MAX || self.messages > self.rows || self.messages == 0 {
            return Err(Fault::new(at + 16, "row count of the footer")
                .expected(limit::SEGMENT_ROWS_MAX, self.rows));
        }
        if self.ts_recv_first > self.ts_recv_last {
            return Err(Fault::new(at + 32, "receive times of the footer are reversed"));
        }
        let index_len = u64::from(self.block_count) * size_of::<BlockEntry>() as u64;
        let checkpoints_len =
            u64::from(self.checkpoint_count) * size_of::<CheckpointEntry>() as u64;
        let in_order = self.schema_offset >= size_of::<Header>() as u64
            && self.schema_offset.is_multiple_of(ALIGNMENT as u64)
            && self.schema_offset <= at
            && aligned(self.schema_offset + u64::from(self.schema_len)) == self.block_index_offset
            && aligned(self.block_index_offset.saturating_add(index_len))
                == self.checkpoint_index_offset
            && aligned(self.checkpoint_index_offset.saturating_add(checkpoints_len)) == at;
        if !in_order {
            return Err(Fault::new(at + 72, "regions of the segment are not in order"));
        }
        Ok(())
    }
}

/// Bytes of one value of a column in a plain page; 0 for text.
#[must_use]
pub fn plain_bytes(ty: ColumnType) -> u8 {
    match ty {
        ColumnType::Time | ColumnType::Int | ColumnType::Decimal => 8,
        ColumnType::Code(_) | ColumnType::Flags => 1,
        ColumnType::Text => 0,
    }
}

/// The bytes of the schema region for a kind whose columns have these scales and digits.
#[must_use]
pub fn encode_schema(schema: &Schema, scales: &[(u8, u8)]) -> Vec<u8> {
    let count = schema.columns.len();
    let head = SchemaHead {
        kind: schema.kind.code(),
        column_count: u8::try_from(count).unwrap_or(u8::MAX),
        reserved: [0; 62],
    };
    let mut entries = Vec::new();
    let mut names = Vec::new();
    let names_start = (count + 1) * size_of::<ColumnEntry>();
    for (spec, &(scale, digits)) in schema.columns.iter().zip(scales) {
        let names_offset = names_start + names.len();
        if let ColumnType::Code(code_names) = spec.ty {
            for name in code_names {
                names.extend_from_slice(name.as_bytes());
                names.push(0);
            }
        }
        let mut name = [0; 32];
        name.iter_mut().zip(spec.name.bytes()).for_each(|(place, byte)| *place = byte);
        entries.push(ColumnEntry {
            name,
            column_type: spec.ty.code(),
            flags: u8::from(spec.per_message) | u8::from(spec.nullable) << 1,
            scale,
            digits,
            names_offset: names_offset as u32,
            names_len: (names_start + names.len() - names_offset) as u32,
            reserved: [0; 20],
        });
    }
    let mut bytes = bytemuck::bytes_of(&head).to_vec();
    bytes.extend_from_slice(bytemuck::cast_slice(&entries));
    bytes.extend_from_slice(&names);
    bytes
}

/// Scale and digits of each column in a schema region of `schema`.
///
/// # Errors
/// A [`Fault`] if the region describes other columns, or gives a scale to one that is not decimal;
/// `at` is where it starts in the file.
pub fn decode_schema(bytes: &[u8], schema: &Schema, at: u64) -> Result<Vec<(u8, u8)>> {
    let mut scales = Vec::with_capacity(schema.columns.len());
    for (index, spec) in schema.columns.iter().enumerate() {
        let entry: ColumnEntry = read(bytes, (index + 1) * size_of::<ColumnEntry>())
            .ok_or(Fault::new(at, "schema region is too short"))?;
        let largest = if spec.ty == ColumnType::Decimal { limit::SCALE_MAX } else { 0 };
        if entry.scale.max(entry.digits) > largest {
            return Err(Fault::new(at, "scale of a column")
                .expected(largest.into(), entry.scale.max(entry.digits).into()));
        }
        scales.push((entry.scale, entry.digits));
    }
    if encode_schema(schema, &scales) != bytes {
        return Err(Fault::unsupported(at, "schema has other columns than this reader knows"));
    }
    Ok(scales)
}

/// Checks a region against the checksum that an index holds for it.
///
/// # Errors
/// A [`Fault`] at `at` with both checksums.
pub fn check_region(
    identity: Identity,
    region: Region,
    index: u64,
    bytes: &[u8],
    crc: u32,
    at: u64,
) -> Result<()> {
    let found = checksum(identity, region, index, bytes);
    if found == crc {
        return Ok(());
    }
    let what = match region {
        Region::BlockDirectory => "checksum of a block directory",
        Region::Page => "checksum of a page",
        Region::Checkpoint => "checksum of a checkpoint",
        Region::BlockIndex => "checksum of the block index",
        Region::CheckpointIndex => "checksum of the checkpoint index",
        Region::Schema => "checksum of the schema",
    };
    Err(Fault::new(at, what).expected(crc.into(), found.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { store_id: 7, segment_id: 9 };

    #[test]
    fn a_header_comes_back_and_every_flipped_bit_is_noticed() {
        let header = Header::new(IDENTITY, 3, 19_000, Kind::Book);
        let bytes = bytemuck::bytes_of(&header).to_vec();

        assert_eq!(Header::decode(&bytes).unwrap(), (header, Kind::Book));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..64 {
            assert!(Header::decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn a_newer_major_version_is_refused_by_name_and_a_newer_minor_read() {
        let mut header = Header::new(IDENTITY, 3, 19_000, Kind::Book);
        header.version_major = 2;
        let fault = Header::decode(bytemuck::bytes_of(&header)).unwrap_err();
        assert!(fault.unsupported && fault.what.contains("newer"));

        let mut header = Header::new(IDENTITY, 3, 19_000, Kind::Book);
        header.version_minor = 9;
        header.header_crc = own_checksum(&header, 12);
        assert!(Header::decode(bytemuck::bytes_of(&header)).is_ok());
    }

    #[test]
    fn a_day_on_which_no_time_falls_is_refused() {
        let day_is_read = |day| {
            let header = Header::new(IDENTITY, 3, day, Kind::Book);
            let read = Header::decode(bytemuck::bytes_of(&header));
            read.is_ok() || {
                assert_eq!(read.unwrap_err().at, 36);
                false
            }
        };
        assert!(day_is_read(-106_752) && day_is_read(106_751));
        for day in [-106_753, 106_752, i32::MIN, i32::MAX] {
            assert!(!day_is_read(day), "{day}");
        }
    }

    #[test]
    fn rows_of_a_footer_stop_at_their_limit() {
        let footer = |rows| Footer {
            rows,
            messages: 1,
            version_major: VERSION_MAJOR,
            schema_offset: 64,
            block_index_offset: 64,
            checkpoint_index_offset: 64,
            ..Footer::zeroed()
        };
        assert_eq!(footer(limit::SEGMENT_ROWS_MAX).check(64), Ok(()));
        let fault = footer(limit::SEGMENT_ROWS_MAX + 1).check(64).unwrap_err();
        assert_eq!((fault.at, fault.what), (80, "row count of the footer"));
    }

    #[test]
    fn schemas_of_every_kind_come_back() {
        for kind in Kind::ALL {
            let schema = kind.schema();
            let scale = |ty| if ty == ColumnType::Decimal { 18 } else { 0 };
            let scales: Vec<_> =
                schema.columns.iter().map(|c| (scale(c.ty), scale(c.ty))).collect();
            let bytes = encode_schema(schema, &scales);
            assert_eq!(decode_schema(&bytes, schema, 0).unwrap(), scales);
            for at in 0..scales.len() {
                for one_more in [(scales[at].0 + 1, scales[at].1), (scales[at].0, scales[at].1 + 1)]
                {
                    let mut scales = scales.clone();
                    scales[at] = one_more;
                    let fault = decode_schema(&encode_schema(schema, &scales), schema, 0);
                    assert_eq!(fault.unwrap_err().what, "scale of a column", "{kind} {at}");
                }
            }
            let other = if kind == Kind::Book { Kind::Raw } else { Kind::Book };
            assert!(decode_schema(&bytes, other.schema(), 0).is_err());
        }
    }

    #[test]
    fn checksums_hold_the_identity_and_the_place() {
        let crc = checksum(IDENTITY, Region::Page, 256, b"bytes");
        for (identity, region, index) in [
            (Identity { store_id: 8, ..IDENTITY }, Region::Page, 256),
            (Identity { segment_id: 8, ..IDENTITY }, Region::Page, 256),
            (IDENTITY, Region::Checkpoint, 256),
            (IDENTITY, Region::Page, 257),
        ] {
            assert!(check_region(identity, region, index, b"bytes", crc, 0).is_err());
        }
        assert!(check_region(IDENTITY, Region::Page, 256, b"bytes", crc, 0).is_ok());
    }
}
