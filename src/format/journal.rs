//! The journal: rows in the order they were accepted. `format-spec/07-journal.md`.
//!
//! A file is a header and frames. Every frame names its file, its place in the sequence of all
//! frames and how far the sequence was durable when it was written, so that a reader can tell what
//! a crash tore off from what was damaged later.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use super::{Fault, Result, own_checksum, read};
use crate::event::{
    Batch, Buffer, Column, ColumnType, Kind, Schema, TextValues, Values, broken_rule,
};
use crate::limit;

/// First bytes of a journal file.
pub const MAGIC: [u8; 8] = *b"TKJ\x1A\x0A\xA9\x0D\x0A";
/// A reader refuses a larger one.
pub const VERSION_MAJOR: u16 = 1;
/// A reader accepts a larger one.
pub const VERSION_MINOR: u16 = 0;
/// Largest number of a file and sequence of a first frame: counting on never overflows.
const COUNT_MAX: u64 = 1 << 62;

/// Journal header, 64 bytes at offset 0. Table 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8], //   0
    /// [`VERSION_MAJOR`].
    pub version_major: u16, //   8
    /// [`VERSION_MINOR`].
    pub version_minor: u16, //  10
    /// CRC-32 of these 64 bytes with this field as 0.
    pub header_crc: u32, //  12
    /// Random number of the store.
    pub store_id: u64, //  16
    /// Random number of this file, repeated in each of its frames.
    pub journal_id: u64, //  24
    /// Number of the file, +1 per file.
    pub number: u64, //  32
    /// Sequence of its first frame; frames of earlier files from here on are void.
    pub first_seq: u64, //  40
    /// Length of the file when it was made, with its reserved room; it is never shorter.
    pub file_len: u64, //  48
    /// Written 0; a reader refuses anything else.
    pub reserved: [u8; 8], //  56
}
const _: () = assert!(size_of::<Header>() == 64);

impl Header {
    /// A header with its checksum.
    #[must_use]
    pub fn new(store_id: u64, journal_id: u64, number: u64, first_seq: u64, file_len: u64) -> Self {
        let mut header = Self {
            magic: MAGIC,
            version_major: VERSION_MAJOR,
            version_minor: VERSION_MINOR,
            header_crc: 0,
            store_id,
            journal_id,
            number,
            first_seq,
            file_len,
            reserved: [0; 8],
        };
        header.header_crc = own_checksum(&header, offset_of!(Self, header_crc));
        header
    }

    /// The header at the start of a journal file.
    ///
    /// # Errors
    /// A [`Fault`] if the file is too short, is no journal, of a newer version or damaged.
    pub fn decode(file: &[u8]) -> Result<Self> {
        let header: Self =
            read(file, 0).ok_or(Fault::new(0, "file is shorter than a journal header"))?;
        if header.magic != MAGIC {
            return Err(Fault::new(0, "this is no journal (first 8 bytes)"));
        }
        if header.version_major > VERSION_MAJOR {
            return Err(Fault::unsupported(8, "journal is of a newer major version")
                .expected(VERSION_MAJOR.into(), header.version_major.into()));
        }
        let found = own_checksum(&header, offset_of!(Self, header_crc));
        if found != header.header_crc {
            return Err(Fault::new(12, "checksum of the journal header")
                .expected(header.header_crc.into(), found.into()));
        }
        if header.version_major == 0 || header.reserved != [0; 8] {
            return Err(Fault::new(8, "version or reserved bytes of the journal header"));
        }
        if [header.number, header.first_seq].iter().any(|count| !(1..=COUNT_MAX).contains(count)) {
            return Err(Fault::new(32, "number or first frame of the journal is impossible"));
        }
        Ok(header)
    }
}

/// Start of a frame, 40 bytes; its payload follows. Frames start at multiples of 8. Table 7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FrameHead {
    /// Bytes of the frame, this head included, a multiple of 8; 0 = no more frames.
    pub len: u32, //  0
    /// CRC-32 of the frame with this field as 0.
    pub crc: u32, //  4
    /// That of the file's header.
    pub journal_id: u64, //  8
    /// Place of the frame in the sequence of all frames of the store, +1 per frame.
    pub seq: u64, // 16
    /// All frames up to this one were durable when this frame was written.
    pub watermark: u64, // 24
    /// Stream that the frame is about; 0 for marks.
    pub stream_id: u32, // 32
    /// What the payload is: a [`FrameKind`].
    pub kind: u8, // 36
    /// Written 0.
    pub reserved: [u8; 3], // 37
}
const _: () = assert!(size_of::<FrameHead>() == 40);

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Name and kind of a stream that no manifest names yet.
    Stream = 1,
    /// Rows of a stream.
    Rows = 2,
    /// Nothing: only says how far the journal is durable.
    Mark = 3,
}

impl FrameKind {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Stream, Self::Rows, Self::Mark].into_iter().find(|kind| *kind as u8 == code)
    }
}

/// A frame whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its head.
    pub head: FrameHead,
    /// What it holds.
    pub kind: FrameKind,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Appends a frame to `out`, whose length is a multiple of 8; `payload` appends the payload.
pub fn encode_frame(out: &mut Vec<u8>, head: FrameHead, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(bytemuck::bytes_of(&head));
    payload(out);
    pad(out);
    let len = (out.len() - start) as u32;
    let frame = out.get_mut(start..).unwrap_or_default();
    put(frame, offset_of!(FrameHead, len), len);
    put(frame, offset_of!(FrameHead, crc), 0);
    let crc = crc32fast::hash(frame);
    put(frame, offset_of!(FrameHead, crc), crc);
}

fn put(frame: &mut [u8], at: usize, value: u32) {
    if let Some(place) = frame.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// Bytes that the frame at the start of `bytes` claims; 0 if there is none.
#[must_use]
pub fn frame_len(bytes: &[u8]) -> usize {
    read::<u32>(bytes, 0).unwrap_or(0) as usize
}

/// The frame at the start of `bytes`, if a whole one of this file is there.
///
/// There is no telling apart a frame that is half written from one that is damaged, hence no fault:
/// what follows decides, see `format-spec/07-journal.md`, "The end of the journal".
#[must_use]
pub fn decode_frame(bytes: &[u8], journal_id: u64) -> Option<Frame<'_>> {
    let frame = decode_unchecked(bytes, journal_id)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytemuck::bytes_of(&FrameHead { crc: 0, ..frame.head }));
    hasher.update(frame.payload);
    (hasher.finalize() == frame.head.crc).then_some(frame)
}

/// As [`decode_frame`], whatever the checksum says. Costs the same however long the frame is.
#[must_use]
pub fn decode_unchecked(bytes: &[u8], journal_id: u64) -> Option<Frame<'_>> {
    let head: FrameHead = read(bytes, 0)?;
    let len = head.len as usize;
    let fits = (size_of::<FrameHead>()..=limit::JOURNAL_FRAME_BYTES_MAX).contains(&len);
    if !fits || !len.is_multiple_of(8) || head.journal_id != journal_id {
        return None;
    }
    let payload = bytes.get(size_of::<FrameHead>()..len)?;
    let kind = FrameKind::from_code(head.kind)?;
    let right = head.reserved == [0; 3] && head.watermark < head.seq;
    right.then_some(Frame { head, kind, payload })
}

/// Start of the payload of rows, 48 bytes; message ends and columns follow. Table 7.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RowsHead {
    /// Number of the first row among all rows of its stream that ever came through the journal,
    /// from 0.
    pub first_row: u64, //  0
    /// Rows.
    pub rows: u32, //  8
    /// Messages.
    pub messages: u32, // 12
    /// Decimal scale of each column; 0 for those that are no decimals, and beyond the last.
    pub scales: [u8; 16], // 16
    /// Digits of each column, likewise.
    pub digits: [u8; 16], // 32
}
const _: () = assert!(size_of::<RowsHead>() == 48);

/// Appends rows as the payload of a frame. `batch` has all columns.
pub fn encode_rows(out: &mut Vec<u8>, batch: &Batch, first_row: u64) {
    let mut head = RowsHead {
        first_row,
        rows: batch.rows() as u32,
        messages: batch.messages() as u32,
        ..RowsHead::zeroed()
    };
    let places = head.scales.iter_mut().zip(&mut head.digits);
    for ((scale, digits), column) in places.zip(batch.columns().iter().flatten()) {
        (*scale, *digits) = (column.scale, column.digits);
    }
    out.extend_from_slice(bytemuck::bytes_of(&head));
    out.extend_from_slice(bytemuck::cast_slice(batch.ends()));
    pad(out);
    for column in batch.columns().iter().flatten() {
        match &column.values {
            Values::I64(values) => out.extend_from_slice(bytemuck::cast_slice(values)),
            Values::U8(values) => out.extend_from_slice(values),
            Values::Text(texts) => {
                out.extend_from_slice(bytemuck::cast_slice(&texts.ends));
                pad(out);
                out.extend_from_slice(&texts.bytes);
            }
        }
        pad(out);
    }
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
}

/// Number of the first row and the rows of a frame's payload.
///
/// # Errors
/// A [`Fault`], its offset counted from the start of the payload, if the payload does not hold
/// exactly what its head says, or rows that break a rule of the model.
pub fn decode_rows(payload: &[u8], kind: Kind) -> Result<(u64, Batch)> {
    let head: RowsHead =
        read(payload, 0).ok_or(Fault::new(0, "payload is shorter than the head of rows"))?;
    let mut input = Input { payload, at: size_of::<RowsHead>() };
    let schema = kind.schema();
    let (rows, messages) = (head.rows as usize, head.messages as usize);
    let ends = input.u32s(if schema.is_grouped() { messages } else { 0 })?;
    let columns = input.columns(&head, schema)?;
    if input.at != payload.len() {
        return Err(Fault::new(input.at as u64, "bytes after the last column of rows"));
    }
    let batch = Batch::from_parts(kind, rows, ends.into(), columns)
        .map_err(|_| Fault::new(0, "columns and message ends of rows do not agree"))?;
    let fits = batch.messages() == messages && rows > 0;
    let ordered = batch.ts_recv().is_sorted();
    if !fits || !ordered {
        return Err(Fault::new(0, "rows of a frame are none, or not in order of time"));
    }
    if let Some(broken) = broken_rule(&batch) {
        return Err(Fault::new(0, broken.rule));
    }
    Ok((head.first_row, batch))
}

/// A payload being read.
struct Input<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// The next `count` values of `size` bytes; what pads them to 8 bytes must be 0.
    fn bytes(&mut self, count: usize, size: usize) -> Result<&'a [u8]> {
        let short = Fault::new(self.at as u64, "payload is shorter than its rows");
        let end = count.checked_mul(size).and_then(|len| len.checked_add(self.at)).ok_or(short)?;
        let bytes = self.payload.get(self.at..end).ok_or(short)?;
        let padded = end.next_multiple_of(8);
        let padding = self.payload.get(end..padded).ok_or(short)?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(Fault::new(end as u64, "padding of rows is not 0"));
        }
        self.at = padded;
        Ok(bytes)
    }

    fn u32s(&mut self, count: usize) -> Result<Vec<u32>> {
        Ok(self.bytes(count, 4)?.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect())
    }

    fn columns(&mut self, head: &RowsHead, schema: &Schema) -> Result<Vec<Option<Column>>> {
        let mut columns = Vec::with_capacity(schema.columns.len());
        let mut widths = head.scales.iter().zip(&head.digits);
        let wrong = Fault::new(16, "scale or digits of a column");
        for (spec, (&scale, &digits)) in schema.columns.iter().zip(&mut widths) {
            let most = if spec.ty == ColumnType::Decimal { limit::SCALE_MAX } else { 0 };
            if scale.max(digits) > most {
                return Err(wrong);
            }
            let count = if spec.per_message { head.messages } else { head.rows } as usize;
            let values = match Values::empty(spec.ty) {
                Values::I64(_) => {
                    let bytes = self.bytes(count, 8)?;
                    let values = bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned::<i64>);
                    Values::I64(values.collect::<Vec<_>>().into())
                }
                Values::U8(_) => Values::U8(self.bytes(count, 1)?.to_vec().into()),
                Values::Text(_) => self.texts(count)?,
            };
            columns.push(Some(Column { values, scale, digits }));
        }
        if widths.any(|widths| widths != (&0, &0)) {
            return Err(wrong);
        }
        Ok(columns)
    }

    fn texts(&mut self, count: usize) -> Result<Values> {
        let at = self.at as u64;
        let ends = self.u32s(count)?;
        if !ends.is_sorted() {
            return Err(Fault::new(at, "ends of text are not in order"));
        }
        let bytes = self.bytes(ends.last().copied().unwrap_or(0) as usize, 1)?;
        let bytes = Buffer::from(bytes.to_vec());
        Ok(Values::Text(TextValues { ends: ends.into(), bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchBuilder, MessageHead, Side, TradeRow};
    use crate::quantity::TsNs;

    fn head(seq: u64, kind: FrameKind) -> FrameHead {
        let watermark = seq - 1;
        FrameHead { journal_id: 77, seq, watermark, kind: kind as u8, ..FrameHead::zeroed() }
    }

    fn book() -> Batch {
        let mut builder = BatchBuilder::new(Kind::Book);
        for ts in [1, 5] {
            builder.begin(MessageHead { ts_recv: TsNs(ts), ..MessageHead::default() });
            builder.level_text(Side::Bid, "100.5", "2").unwrap();
            builder.level_text(Side::Ask, "101.25", "0").unwrap();
            builder.end();
        }
        builder.finish().unwrap().pop().unwrap()
    }

    fn trades() -> Batch {
        let mut builder = BatchBuilder::new(Kind::Trades);
        for (ts, id) in [(3, "a1"), (3, ""), (4, "b")] {
            builder.trade(&TradeRow {
                ts_recv: TsNs(ts),
                ts_event: None,
                side: crate::event::TradeSide::Buy,
                price: "1.5".parse().unwrap(),
                qty: "2".parse().unwrap(),
                trade_id: id,
            });
        }
        builder.finish().unwrap().pop().unwrap()
    }

    #[test]
    fn rows_come_back_and_every_flip_and_cut_of_their_frame_is_noticed() {
        for batch in [book(), trades()] {
            let mut bytes = Vec::new();
            encode_frame(&mut bytes, head(9, FrameKind::Rows), |out| {
                encode_rows(out, &batch, 40);
            });

            let frame = decode_frame(&bytes, 77).unwrap();
            assert_eq!((frame.head.seq, frame.kind), (9, FrameKind::Rows));
            assert_eq!(decode_rows(frame.payload, batch.kind()).unwrap(), (40, batch));
            assert!(decode_frame(&bytes, 78).is_none(), "a frame of another file");
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(decode_frame(&damaged, 77).is_none(), "bit {bit}");
            }
            for cut in 0..bytes.len() {
                assert!(decode_frame(&bytes[..cut], 77).is_none(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_payload_that_lies_is_refused_without_a_panic() {
        for batch in [book(), trades()] {
            let mut payload = Vec::new();
            encode_rows(&mut payload, &batch, 0);
            for cut in 0..payload.len() {
                assert!(decode_rows(&payload[..cut], batch.kind()).is_err(), "cut at {cut}");
            }
            for at in 8..payload.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut lying = payload.clone();
                    lying[at] = value;
                    // Another value may be a valid one: it must only not panic or allocate.
                    let _ = decode_rows(&lying, batch.kind());
                }
            }
            let longer = [&payload[..], &[0; 8]].concat();
            assert!(decode_rows(&longer, batch.kind()).is_err());
            // Columns 1 and 12: a time, and none.
            for at in [16 + 1, 32 + 1, 16 + 12, 32 + 12] {
                let mut scaled = payload.clone();
                scaled[at] = 1;
                let fault = decode_rows(&scaled, batch.kind()).unwrap_err();
                assert_eq!(fault.what, "scale or digits of a column", "{at}");
            }
        }
    }

    #[test]
    fn rows_that_break_a_rule_of_the_model_are_refused() {
        let mut payload = Vec::new();
        encode_rows(&mut payload, &trades(), 0);
        let side = size_of::<RowsHead>() + 2 * 3 * 8;
        payload[side] = 9;
        assert_eq!(decode_rows(&payload, Kind::Trades).unwrap_err().what, "a code has no name");
    }

    #[test]
    fn a_header_comes_back_and_every_flip_and_cut_is_noticed() {
        let header = Header::new(1, 77, 3, 500, 64);
        let bytes = bytemuck::bytes_of(&header);
        assert_eq!(Header::decode(bytes).unwrap(), header);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Header::decode(&bytes[..cut]).is_err());
        }
        for (number, first_seq) in [(0, 1), (1, 0), (u64::MAX, 1), (1, u64::MAX)] {
            let impossible = Header::new(1, 77, number, first_seq, 64);
            assert_eq!(Header::decode(bytemuck::bytes_of(&impossible)).unwrap_err().at, 32);
        }
        let newer = Header { version_major: 2, ..header };
        assert!(Header::decode(bytemuck::bytes_of(&newer)).unwrap_err().unsupported);
    }

    #[test]
    fn a_mark_is_a_frame_without_payload_and_zeros_are_none() {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, head(2, FrameKind::Mark), |_| {});
        assert_eq!((bytes.len(), frame_len(&bytes)), (40, 40));
        assert_eq!(decode_frame(&bytes, 77).unwrap().kind, FrameKind::Mark);
        assert!(decode_frame(&[0; 64], 77).is_none());
        assert_eq!(frame_len(&[0; 64]), 0);
    }
}
