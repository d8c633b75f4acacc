//! The manifest: which segments exist. `format-spec/06-manifest.md`.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use super::segment::FLAGS;
use super::{ALIGNMENT, Fault, Result, aligned, own_checksum, read};
use crate::event::{ColumnType, Kind, StreamKey};
use crate::limit;
use crate::quantity::{Instrument, TsNs};

/// First bytes of a manifest.
pub const MAGIC: [u8; 8] = *b"TKM\x1A\x0A\xA9\x0D\x0A";
/// A reader refuses a larger one.
pub const VERSION_MAJOR: u16 = 1;
/// A reader accepts a larger one.
pub const VERSION_MINOR: u16 = 0;

/// The segment's file was damaged and is in `quarantine/`: its rows are missing.
pub const FLAG_LOST: u32 = 1 << 31;
/// The segment stands for a damaged one of a book: a gap, then the book that the segment after it
/// begins with, as far as rows can say it.
pub const FLAG_REPAIRED: u32 = 1 << 30;
/// A compaction wrote the segment: nothing is to be gained by another one.
pub const FLAG_COMPACTED: u32 = 1 << 29;
/// Flags that a segment's footer does not have.
const FLAGS_OF_MANIFEST: u32 = FLAG_LOST | FLAG_REPAIRED | FLAG_COMPACTED;

/// Manifest header, 128 bytes at offset 0. Table 6.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8], //   0
    /// [`VERSION_MAJOR`].
    pub version_major: u16, //   8
    /// [`VERSION_MINOR`].
    pub version_minor: u16, //  10
    /// CRC-32 of these 128 bytes with this field as 0.
    pub header_crc: u32, //  12
    /// Random number of the store.
    pub store_id: u64, //  16
    /// Number of this manifest, +1 per commit.
    pub generation: u64, //  24
    /// No segment had this number or a larger one yet.
    pub next_segment_id: u64, //  32
    /// No stream had this number or a larger one yet.
    pub next_stream_id: u32, //  40
    /// Streams named.
    pub stream_count: u32, //  44
    /// Segments named.
    pub segment_count: u32, //  48
    /// CRC-32 of the streams region.
    pub streams_crc: u32, //  52
    /// CRC-32 of the segments region.
    pub segments_crc: u32, //  56
    /// Bytes of the streams region.
    pub streams_len: u32, //  60
    /// Start of the segments region, bytes, a multiple of 64.
    pub segments_offset: u64, //  64
    /// Bytes of the whole file.
    pub file_len: u64, //  72
    /// Number of the first journal file that counts; rows of earlier ones are all in segments.
    pub first_journal: u64, //  80
    /// Sequence of the next journal frame, if there is no journal file.
    pub next_seq: u64, //  88
    /// Written 0; a reader refuses anything else.
    pub reserved: [u8; 32], //  96
}
const _: () = assert!(size_of::<Header>() == 128);

/// One segment, 128 bytes. Table 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SegmentEntry {
    /// Number of the segment in its store.
    pub segment_id: u64, //   0
    /// Stream the rows belong to.
    pub stream_id: u32, //   8
    /// UTC day of all rows, days since 1970-01-01.
    pub day: i32, //  12
    /// Bytes of the file.
    pub file_len: u64, //  16
    /// Rows.
    pub rows: u64, //  24
    /// Messages.
    pub messages: u64, //  32
    /// Receive time of the first message, ns.
    pub ts_recv_first: i64, //  40
    /// Receive time of the last message, ns.
    pub ts_recv_last: i64, //  48
    /// Smallest event time, ns; null if there is none.
    pub ts_event_min: i64, //  56
    /// Largest event time, ns; null if there is none.
    pub ts_event_max: i64, //  64
    /// Content hash of all rows.
    pub content_hash: u64, //  72
    /// CRC-32 of the whole file.
    pub file_crc: u32, //  80
    /// Flags as in the segment's footer; [`FLAG_LOST`], [`FLAG_REPAIRED`],
    /// [`FLAG_COMPACTED`].
    pub flags: u32, //  84
    /// Most rows a seek in this segment replays.
    pub replay_rows_max: u64, //  88
    /// Decimal scale of each column, by its number in the schema.
    pub scales: [u8; 16], //  96
    /// Written 0.
    pub reserved: [u8; 16], // 112
}
const _: () = assert!(size_of::<SegmentEntry>() == 128);

/// Start of one stream in the streams region, 16 bytes; its names follow. Table 6.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct StreamHead {
    stream_id: u32,    // 0
    kind: u8,          // 4
    exchange_len: u8,  // 5
    symbol_len: u8,    // 6
    reserved: u8,      // 7  written 0
    journal_rows: u64, // 8
}
const _: () = assert!(size_of::<StreamHead>() == 16);

/// A stream and its number in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// Number in the store; names the stream's folder.
    pub id: u32,
    /// Instrument and kind.
    pub key: StreamKey,
    /// Rows of the stream that came through the journal and are in segments: the journal's rows
    /// before this number are stored already.
    pub journal_rows: u64,
}

/// What a manifest says, apart from its segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Random number of the store.
    pub store_id: u64,
    /// Number of this manifest.
    pub generation: u64,
    /// Number for the next segment.
    pub next_segment_id: u64,
    /// Number for the next stream.
    pub next_stream_id: u32,
    /// Number of the first journal file that counts.
    pub first_journal: u64,
    /// Sequence of the next journal frame, if there is no journal file.
    pub next_seq: u64,
    /// Streams, by number.
    pub streams: Vec<StreamEntry>,
}

/// The order of segments in a manifest: by stream, then time, then number.
#[must_use]
pub fn segment_order(entry: &SegmentEntry) -> (u32, i64, i64, u64) {
    (entry.stream_id, entry.ts_recv_first, entry.ts_recv_last, entry.segment_id)
}

/// Appends number and name of a stream.
pub fn encode_stream(stream: &StreamEntry, out: &mut Vec<u8>) {
    let (exchange, symbol) = (stream.key.instrument.exchange(), stream.key.instrument.symbol());
    out.extend_from_slice(bytemuck::bytes_of(&StreamHead {
        stream_id: stream.id,
        kind: stream.key.kind.code(),
        exchange_len: exchange.len() as u8,
        symbol_len: symbol.len() as u8,
        reserved: 0,
        journal_rows: stream.journal_rows,
    }));
    out.extend_from_slice(exchange.as_bytes());
    out.extend_from_slice(symbol.as_bytes());
}

/// The bytes of a manifest. `segments` are in [`segment_order`].
#[must_use]
pub fn encode(contents: &Contents, segments: &[SegmentEntry]) -> Vec<u8> {
    let mut streams = Vec::new();
    contents.streams.iter().for_each(|stream| encode_stream(stream, &mut streams));
    let segments_bytes: &[u8] = bytemuck::cast_slice(segments);
    let segments_offset = aligned((size_of::<Header>() + streams.len()) as u64);
    let mut header = Header {
        magic: MAGIC,
        version_major: VERSION_MAJOR,
        version_minor: VERSION_MINOR,
        header_crc: 0,
        store_id: contents.store_id,
        generation: contents.generation,
        next_segment_id: contents.next_segment_id,
        next_stream_id: contents.next_stream_id,
        stream_count: contents.streams.len() as u32,
        segment_count: segments.len() as u32,
        streams_crc: crc32fast::hash(&streams),
        segments_crc: crc32fast::hash(segments_bytes),
        streams_len: streams.len() as u32,
        segments_offset,
        file_len: segments_offset + segments_bytes.len() as u64,
        first_journal: contents.first_journal,
        next_seq: contents.next_seq,
        reserved: [0; 32],
    };
    header.header_crc = own_checksum(&header, offset_of!(Header, header_crc));
    let mut bytes = bytemuck::bytes_of(&header).to_vec();
    bytes.extend_from_slice(&streams);
    bytes.resize(segments_offset as usize, 0);
    bytes.extend_from_slice(segments_bytes);
    bytes
}

/// Checks the length of a manifest file, before any of it is read.
///
/// # Errors
/// A [`Fault`] if it is above [`limit::MANIFEST_BYTES_MAX`].
pub fn check_len(len: u64) -> Result<()> {
    if len > limit::MANIFEST_BYTES_MAX {
        return Err(Fault::new(0, "manifest is longer than a manifest may be")
            .expected(limit::MANIFEST_BYTES_MAX, len));
    }
    Ok(())
}

/// Reads and checks a manifest; the segments stay where they are in `file`, at the returned range.
///
/// # Errors
/// A [`Fault`] that names what is wrong; a newer major version and a kind that is not known are
/// refused as unsupported.
pub fn decode(file: &[u8]) -> Result<(Contents, std::ops::Range<usize>)> {
    check_len(file.len() as u64)?;
    let header: Header = read(file, 0).ok_or(Fault::new(0, "file is shorter than a manifest"))?;
    if header.magic != MAGIC {
        return Err(Fault::new(0, "not a manifest (magic)"));
    }
    if header.version_major > VERSION_MAJOR {
        return Err(Fault::unsupported(8, "manifest version is newer than this reader")
            .expected(VERSION_MAJOR.into(), header.version_major.into()));
    }
    let crc = own_checksum(&header, offset_of!(Header, header_crc));
    if crc != header.header_crc {
        return Err(Fault::new(12, "checksum of the manifest header")
            .expected(header.header_crc.into(), crc.into()));
    }
    if header.version_major == 0 {
        return Err(Fault::new(8, "manifest version 0 does not exist"));
    }
    if header.reserved != [0; 32] {
        return Err(Fault::new(96, "reserved bytes of the manifest header are not 0"));
    }
    let len = file.len() as u64;
    if header.file_len != len {
        return Err(Fault::new(72, "length of the manifest").expected(header.file_len, len));
    }
    let streams_end = size_of::<Header>() + header.streams_len as usize;
    let segments_start = aligned(streams_end as u64);
    let segments_len = u64::from(header.segment_count) * size_of::<SegmentEntry>() as u64;
    if header.segments_offset != segments_start || segments_start + segments_len != len {
        return Err(Fault::new(64, "regions of the manifest are not in order"));
    }
    let segments = segments_start as usize..file.len();
    let region = |range: std::ops::Range<usize>| file.get(range).unwrap_or_default();
    let checks = [
        (
            size_of::<Header>()..streams_end,
            header.streams_crc,
            "checksum of the manifest's streams",
        ),
        (segments.clone(), header.segments_crc, "checksum of the manifest's segments"),
    ];
    for (range, crc, what) in checks {
        let at = range.start as u64;
        let found = crc32fast::hash(region(range));
        if found != crc {
            return Err(Fault::new(at, what).expected(crc.into(), found.into()));
        }
    }
    if region(streams_end..segments.start).iter().any(|&byte| byte != 0) {
        return Err(Fault::new(streams_end as u64, "padding of the manifest is not 0"));
    }
    let streams = decode_streams(region(size_of::<Header>()..streams_end), header.stream_count)?;
    let contents = Contents {
        store_id: header.store_id,
        generation: header.generation,
        next_segment_id: header.next_segment_id,
        next_stream_id: header.next_stream_id,
        first_journal: header.first_journal,
        next_seq: header.next_seq,
        streams,
    };
    if contents.streams.last().is_some_and(|last| last.id >= contents.next_stream_id) {
        return Err(Fault::new(40, "a stream of the manifest has a number that was never given"));
    }
    check_segments(&contents, segment_slice(region(segments.clone())), segments.start as u64)?;
    Ok((contents, segments))
}

/// The segment entries in the segments region of a checked manifest.
#[must_use]
pub fn segment_slice(region: &[u8]) -> &[SegmentEntry] {
    bytemuck::try_cast_slice(region).unwrap_or_default()
}

/// The stream at the start of `bytes`, and what follows it; `None` if there is none.
#[must_use]
pub fn decode_stream(bytes: &[u8]) -> Option<(StreamEntry, &[u8])> {
    let head: StreamHead = read(bytes, 0)?;
    let names = bytes.get(size_of::<StreamHead>()..)?;
    let (exchange, names) = names.split_at_checked(usize::from(head.exchange_len))?;
    let (symbol, rest) = names.split_at_checked(usize::from(head.symbol_len))?;
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let instrument = Instrument::new(text(exchange)?, text(symbol)?).ok()?;
    let kind = Kind::from_code(head.kind).filter(|_| head.reserved == 0)?;
    let key = StreamKey { instrument, kind };
    Some((StreamEntry { id: head.stream_id, key, journal_rows: head.journal_rows }, rest))
}

fn decode_streams(mut bytes: &[u8], count: u32) -> Result<Vec<StreamEntry>> {
    if count as usize > limit::STREAMS_MAX.min(bytes.len() / size_of::<StreamHead>()) {
        return Err(Fault::new(44, "stream count of the manifest")
            .expected(limit::STREAMS_MAX as u64, count.into()));
    }
    let mut streams: Vec<StreamEntry> = Vec::with_capacity(count as usize);
    let whole_len = bytes.len();
    for _ in 0..count {
        let at = size_of::<Header>() + whole_len - bytes.len();
        let wrong = Fault::new(at as u64, "a stream of the manifest cannot be read");
        let head: StreamHead = read(bytes, 0).ok_or(wrong)?;
        if Kind::from_code(head.kind).is_none() {
            return Err(Fault::unsupported(
                (at + offset_of!(StreamHead, kind)) as u64,
                "stream of an unknown kind, newer than this reader",
            ));
        }
        let (stream, rest) = decode_stream(bytes).ok_or(wrong)?;
        if streams.last().is_some_and(|last| last.id >= stream.id) {
            return Err(wrong);
        }
        streams.push(stream);
        bytes = rest;
    }
    if !bytes.is_empty() {
        return Err(Fault::new(44, "bytes after the last stream of the manifest"));
    }
    Ok(streams)
}

fn check_segments(contents: &Contents, segments: &[SegmentEntry], at: u64) -> Result<()> {
    if !segments.is_sorted_by(|a, b| segment_order(a) < segment_order(b)) {
        return Err(Fault::new(at, "segments of the manifest are not in order"));
    }
    for (entry, at) in segments.iter().zip((at..).step_by(size_of::<SegmentEntry>())) {
        let stream = contents.streams.binary_search_by_key(&entry.stream_id, |s| s.id);
        let stream = stream.ok().and_then(|place| contents.streams.get(place));
        let fits = entry.segment_id < contents.next_segment_id
            && entry.ts_recv_first <= entry.ts_recv_last
            && [entry.ts_recv_first, entry.ts_recv_last].map(|ts| TsNs(ts).day().0)
                == [entry.day; 2]
            && entry.flags & !(FLAGS | FLAGS_OF_MANIFEST) == 0
            && entry.file_len <= limit::SEGMENT_BYTES_MAX
            && entry.file_len.is_multiple_of(ALIGNMENT as u64)
            && entry.rows <= limit::SEGMENT_ROWS_MAX
            && entry.reserved == [0; 16]
            && stream.is_some_and(|stream| scales_fit(&entry.scales, stream.key.kind));
        if !fits {
            return Err(Fault::new(at, "a segment of the manifest is impossible"));
        }
    }
    let overlap = segments.windows(2).position(|pair| match pair {
        [a, b] => a.stream_id == b.stream_id && b.ts_recv_first < a.ts_recv_last,
        _ => false,
    });
    if let Some(index) = overlap {
        let at = at + (index as u64 + 1) * size_of::<SegmentEntry>() as u64;
        return Err(Fault::new(at, "segments of a stream overlap in time"));
    }
    let mut ids: Vec<u64> = segments.iter().map(|entry| entry.segment_id).collect();
    ids.sort_unstable();
    if !ids.is_sorted_by(|a, b| a < b) {
        return Err(Fault::new(at, "two segments of the manifest have the same number"));
    }
    let mut keys: Vec<&StreamKey> = contents.streams.iter().map(|stream| &stream.key).collect();
    keys.sort_unstable();
    if !keys.is_sorted_by(|a, b| a < b) {
        return Err(Fault::new(at, "two streams of the manifest have the same name"));
    }
    Ok(())
}

/// Whether only decimal columns of `kind` have a scale, and none is above its limit.
fn scales_fit(scales: &[u8; 16], kind: Kind) -> bool {
    let columns = kind.schema().columns;
    scales.iter().enumerate().all(|(at, &scale)| match columns.get(at).map(|spec| spec.ty) {
        Some(ColumnType::Decimal) => scale <= limit::SCALE_MAX,
        _ => scale == 0,
    })
}

/// The text of the `CURRENT` file: generation, CRC-32 of the manifest, CRC-32 of the text before.
#[must_use]
pub fn encode_current(generation: u64, manifest_crc: u32) -> String {
    let head = format!("manifest-{generation} {manifest_crc:08x}");
    format!("{head} {:08x}\n", crc32fast::hash(head.as_bytes()))
}

/// Generation and manifest checksum that a `CURRENT` file names.
///
/// # Errors
/// A [`Fault`] if the text is not exactly what [`encode_current`] writes.
pub fn decode_current(bytes: &[u8]) -> Result<(u64, u32)> {
    let wrong = Fault::new(0, "CURRENT does not name a manifest (text or checksum)");
    let text = std::str::from_utf8(bytes).map_err(|_| wrong)?;
    let mut words = text.strip_prefix("manifest-").ok_or(wrong)?.split(' ');
    let generation = words.next().and_then(|word| word.parse().ok()).ok_or(wrong)?;
    let crc = words.next().and_then(|word| u32::from_str_radix(word, 16).ok()).ok_or(wrong)?;
    if encode_current(generation, crc).as_bytes() != bytes {
        return Err(wrong);
    }
    Ok((generation, crc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Contents, Vec<SegmentEntry>) {
        let key = |name: &str, kind| StreamKey { instrument: name.parse().unwrap(), kind };
        let contents = Contents {
            store_id: 1,
            generation: 12,
            next_segment_id: 9,
            next_stream_id: 3,
            first_journal: 4,
            next_seq: 100,
            streams: vec![
                StreamEntry { id: 0, key: key("binance:BTCUSDT", Kind::Book), journal_rows: 7 },
                StreamEntry { id: 2, key: key("kraken:XBT/USD", Kind::Trades), journal_rows: 0 },
            ],
        };
        let entry = |segment_id, stream_id, first| SegmentEntry {
            segment_id,
            stream_id,
            file_len: 640,
            rows: 3,
            messages: 2,
            ts_recv_first: first,
            ts_recv_last: first + 5,
            ..SegmentEntry::zeroed()
        };
        (contents, vec![entry(4, 0, 10), entry(3, 0, 20), entry(8, 2, 5)])
    }

    #[test]
    fn a_manifest_comes_back_and_every_flip_and_cut_is_noticed() {
        let (contents, segments) = sample();
        let bytes = encode(&contents, &segments);

        let (decoded, range) = decode(&bytes).unwrap();
        assert_eq!(decoded, contents);
        let copies: Vec<SegmentEntry> =
            bytes[range].chunks(128).map(bytemuck::pod_read_unaligned).collect();
        assert_eq!(copies, segments);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_number_that_was_never_given_is_refused() {
        let (mut contents, segments) = sample();
        contents.next_stream_id = 2;
        assert_eq!(decode(&encode(&contents, &segments)).unwrap_err().at, 40);
    }

    #[test]
    fn a_stream_that_cannot_be_read_is_named_by_its_offset() {
        let (mut contents, segments) = sample();
        contents.streams[1].id = 0;
        let second = size_of::<Header>() + size_of::<StreamHead>() + "binanceBTCUSDT".len();

        let fault = decode(&encode(&contents, &segments)).unwrap_err();

        assert_eq!(fault, Fault::new(second as u64, "a stream of the manifest cannot be read"));
    }

    #[test]
    fn streams_and_segments_that_stand_twice_or_overlap_are_refused() {
        let (contents, segments) = sample();
        let fault = |contents: &Contents, segments: &[SegmentEntry]| {
            decode(&encode(contents, segments)).unwrap_err().what
        };
        let mut overlap = segments.clone();
        overlap[1].ts_recv_first = 14;
        assert_eq!(fault(&contents, &overlap), "segments of a stream overlap in time");
        let mut twice = segments.clone();
        twice[1].segment_id = 8;
        assert!(fault(&contents, &twice).contains("same number"));
        let mut named = contents.clone();
        named.streams[1].key = named.streams[0].key.clone();
        assert!(fault(&named, &segments).contains("same name"));
    }

    #[test]
    fn what_an_entry_cannot_say_is_refused_and_its_limits_are_read() {
        let (contents, segments) = sample();
        let read = |change: fn(&mut SegmentEntry)| {
            let mut segments = segments.clone();
            change(&mut segments[2]);
            decode(&encode(&contents, &segments)).map(|_| ()).map_err(|fault| fault.what)
        };
        let impossible = Err("a segment of the manifest is impossible");
        // Column 3 of trades is the price.
        assert_eq!(read(|entry| entry.scales[3] = limit::SCALE_MAX), Ok(()));
        assert_eq!(read(|entry| entry.scales[3] = limit::SCALE_MAX + 1), impossible);
        assert_eq!(read(|entry| entry.scales[0] = 1), impossible);
        assert_eq!(read(|entry| entry.scales[15] = 1), impossible);
        assert_eq!(read(|entry| entry.file_len = limit::SEGMENT_BYTES_MAX), Ok(()));
        assert_eq!(read(|entry| entry.file_len = limit::SEGMENT_BYTES_MAX + 64), impossible);
        assert_eq!(read(|entry| entry.rows = limit::SEGMENT_ROWS_MAX), Ok(()));
        assert_eq!(read(|entry| entry.rows = limit::SEGMENT_ROWS_MAX + 1), impossible);
        assert_eq!(read(|entry| entry.day = 1), impossible);
        assert_eq!(read(|entry| entry.ts_recv_last = crate::quantity::DAY_NS), impossible);
        assert_eq!(read(|entry| entry.flags = 7), Ok(()));
        assert_eq!(read(|entry| entry.flags = 8), impossible);
    }

    #[test]
    fn a_kind_that_is_not_known_is_newer_and_no_damage() {
        let (contents, segments) = sample();
        let mut bytes = encode(&contents, &segments);
        let mut header: Header = read(&bytes, 0).unwrap();
        let at = size_of::<Header>() + offset_of!(StreamHead, kind);
        bytes[at] = 9;
        header.streams_crc = crc32fast::hash(&bytes[128..128 + header.streams_len as usize]);
        header.header_crc = own_checksum(&header, offset_of!(Header, header_crc));
        bytes[..128].copy_from_slice(bytemuck::bytes_of(&header));

        let fault = decode(&bytes).unwrap_err();

        assert!(fault.unsupported && fault.what.contains("newer than this reader"), "{fault:?}");
        assert_eq!(fault.at, at as u64);
    }

    #[test]
    fn more_streams_or_bytes_than_the_limit_are_refused_before_they_are_read() {
        let streams = |count: usize| {
            let bytes = vec![0; (count + 1) * size_of::<StreamHead>()];
            decode_streams(&bytes, count as u32).unwrap_err().what
        };
        assert_ne!(streams(limit::STREAMS_MAX), "stream count of the manifest");
        assert_eq!(streams(limit::STREAMS_MAX + 1), "stream count of the manifest");

        let file = vec![0; limit::MANIFEST_BYTES_MAX as usize + 1];
        assert_eq!(decode(&file[1..]).unwrap_err().what, "not a manifest (magic)");
        let fault = decode(&file).unwrap_err();
        assert_eq!((fault.at, fault.what), (0, "manifest is longer than a manifest may be"));
    }

    #[test]
    fn current_comes_back_and_every_flip_and_cut_is_noticed() {
        let text = encode_current(12, 0xdead_beef).into_bytes();
        assert_eq!(decode_current(&text).unwrap(), (12, 0xdead_beef));
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_current(&damaged).is_err(), "bit {bit}");
        }
        for cut in 0..text.len() {
            assert!(decode_current(&text[..cut]).is_err());
        }
    }
}
