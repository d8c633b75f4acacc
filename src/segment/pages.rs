//! Encodes the pages of one block.

use crate::codec::{self, Draft, Encoding};
use crate::event::{Batch, Kind, Values, book};
use crate::format::segment::{ENDS_COLUMN, NO_REFERENCE, PageEntry};
use crate::format::{ALIGNMENT, Identity, Region, checksum};

/// The column whose values may be distances that are mirrored on one side.
pub(super) const MIRRORED: (Kind, usize) = (Kind::Book, book::PRICE);

/// Fills up with zeros to the next region start.
pub(super) fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

/// Appends a block, directory first, to `out`; the number of pages and the directory's checksum.
pub(super) fn encode_block(
    block: &Batch,
    identity: Identity,
    number: u64,
    compact: bool,
    out: &mut Vec<u8>,
) -> (u32, u32) {
    let start = out.len();
    let count = block.columns().len() + usize::from(block.schema().is_grouped());
    out.resize(start + count * size_of::<PageEntry>(), 0);
    pad(out);
    let directory_end = out.len();
    let entries = Vec::with_capacity(count);
    let mut pages = Pages { start, identity, number, compact, entries };
    pages.encode(block, out);
    let directory: &[u8] = bytemuck::cast_slice(&pages.entries);
    out[start..start + directory.len()].copy_from_slice(directory);
    let padded = &out[start..directory_end];
    (count as u32, checksum(identity, Region::BlockDirectory, number, padded))
}

/// Bytes that these rows take as a block of a compacted segment.
#[must_use]
pub fn compacted_bytes(rows: &Batch) -> u64 {
    let mut out = Vec::new();
    encode_block(rows, Identity { store_id: 0, segment_id: 0 }, 0, true, &mut out);
    out.len() as u64
}

/// The pages of a block so far.
struct Pages {
    start: usize,
    identity: Identity,
    number: u64,
    compact: bool,
    entries: Vec<PageEntry>,
}

impl Pages {
    fn encode(&mut self, block: &Batch, out: &mut Vec<u8>) {
        let compact = self.compact;
        if block.schema().is_grouped() {
            let ends: Vec<i64> = block.ends().iter().map(|&end| i64::from(end)).collect();
            self.add(ENDS_COLUMN, ends.len(), 4, out, |out| {
                (draft(&ends, 4, compact).write(out).0, NO_REFERENCE)
            });
        }
        for (at, column) in block.columns().iter().enumerate() {
            let Some(column) = column else { continue };
            let (number, count) = (at as u8, column.values.len());
            match &column.values {
                Values::I64(values) if at == 1 => self.add(number, count, 8, out, |out| {
                    encode_event_times(values, block.ts_recv(), compact, out)
                }),
                Values::I64(values) if compact && (block.kind(), at) == MIRRORED => {
                    let sides = block.u8s(book::SIDE);
                    self.add(number, count, 8, out, |out| encode_prices(values, sides, out));
                }
                Values::I64(values) => self.add(number, count, 8, out, |out| {
                    (draft(values, 8, compact).write(out).0, NO_REFERENCE)
                }),
                Values::U8(codes) => self.add(number, count, 1, out, |out| {
                    (codec::encode_integers(codes, 1, out), NO_REFERENCE)
                }),
                Values::Text(texts) => self.add(number, count, 0, out, |out| {
                    (codec::encode_texts(texts, out), NO_REFERENCE)
                }),
            }
        }
    }

    /// Appends the page that `encode` writes, and its entry.
    fn add(
        &mut self,
        column: u8,
        count: usize,
        plain_bytes: u8,
        out: &mut Vec<u8>,
        encode: impl FnOnce(&mut Vec<u8>) -> (Encoding, u8),
    ) {
        let page = out.len();
        let (encoding, reference) = encode(out);
        let len = out.len() - page;
        pad(out);
        let index = self.number << 8 | self.entries.len() as u64;
        self.entries.push(PageEntry {
            offset: (page - self.start) as u32,
            len: len as u32,
            crc: checksum(self.identity, Region::Page, index, &out[page..]),
            count: count as u32,
            column,
            encoding: encoding as u8,
            reference,
            plain_bytes,
            reserved: [0; 12],
        });
    }
}

fn draft(values: &[i64], plain_bytes: usize, compact: bool) -> Draft<'_> {
    match compact {
        true => Draft::compact(values, plain_bytes, None),
        false => Draft::packed(values, plain_bytes),
    }
}

/// Prices of levels, which lie on the two sides of a middle.
fn encode_prices(prices: &[i64], sides: &[u8], out: &mut Vec<u8>) -> (Encoding, u8) {
    let (encoding, mirrored) = codec::encode_compact(prices, 8, Some(sides), out);
    (encoding, if mirrored { book::SIDE as u8 } else { NO_REFERENCE })
}

/// Event times as they are or as distances from the receive times, whichever is smaller.
fn encode_event_times(
    events: &[i64],
    receives: &[i64],
    compact: bool,
    out: &mut Vec<u8>,
) -> (Encoding, u8) {
    let latencies: Vec<i64> =
        events.iter().zip(receives).map(|(event, receive)| event.wrapping_sub(*receive)).collect();
    let (alone, relative) = (draft(events, 8, compact), draft(&latencies, 8, compact));
    match relative.bytes() < alone.bytes() {
        true => (relative.write(out).0, 0),
        false => (alone.write(out).0, NO_REFERENCE),
    }
}
