//! Pages of integers as the bins they lie in and their places inside, with short codes for bins
//! that hold many: what entropy coding makes of noise, at a few instructions a value.
//!
//! The values of a group are dealt to four lanes, each a stream of bits that is read on its own, so
//! that the processor follows four of them at once. A number is one look into a table of codes and
//! one into the bins. `format-spec/04-encodings.md`, "Bins".

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::bits::{Group, LANE_VALUES, LANES};
use super::{Fault, Result};
use crate::limit::GROUP_VALUES;

/// Bins of a page.
pub(super) const BINS_MAX: usize = 256;
/// Bits of the longest code.
pub(super) const CODE_BITS_MAX: u32 = 11;
/// Bits of a place inside a bin: with a code they are read as one word from any bit of a byte on.
pub(super) const PLACE_BITS_MAX: u32 = 45;
/// Streams of a group.
pub(super) const STREAMS: usize = 4;
/// Zeros after the last stream, so that a word can be read from any byte of it.
pub(super) const TAIL_BYTES: usize = 8;

/// Start of a page of bins, 32 bytes. `format-spec/04-encodings.md`, table 4.5.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Header {
    pub(super) offset: i64,       //  0  added to every value
    pub(super) multiplier: u64,   //  8  at least 1
    pub(super) group_count: u32,  // 16
    pub(super) bin_count: u16,    // 20
    pub(super) low_bytes: u8,     // 22  4 or 8
    pub(super) reserved: [u8; 9], // 23  written 0
}
const _: () = assert!(size_of::<Header>() == 32);

/// One group, 18 bytes. `format-spec/04-encodings.md`, table 4.6.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Entry {
    base: [u8; 8],        //  0  i64: added to every number; of differences: the first value
    data_offset: [u8; 4], //  8  u32: bytes from the start of the page
    stream_lens: [[u8; 2]; 3], // 12  u16: bytes of the first three streams
}
pub(super) const ENTRY_BYTES: usize = size_of::<Entry>();
const _: () = assert!(ENTRY_BYTES == 18);

impl Entry {
    pub(super) fn new(base: i64, data_offset: u32, stream_lens: [u16; 3]) -> Self {
        Self {
            base: base.to_le_bytes(),
            data_offset: data_offset.to_le_bytes(),
            stream_lens: stream_lens.map(u16::to_le_bytes),
        }
    }

    fn base(&self) -> i64 {
        i64::from_le_bytes(self.base)
    }

    fn data_offset(&self) -> usize {
        u32::from_le_bytes(self.data_offset) as usize
    }
}

/// What the next [`CODE_BITS_MAX`] bits begin with, as one number: the bits of the code, those of
/// code and place together, and the bin, in its bytes from the lowest on.
type Code = u32;

/// A bin: its lowest number, and a one for each bit of a place.
#[derive(Clone, Copy, Default)]
struct Bin {
    low: u64,
    mask: u64,
}

/// Bytes that the streams of a group may take, as a power of 2: all values of the longest code and
/// place fit.
const WINDOW_BYTES: usize = 8192;
const _: () =
    assert!(GROUP_VALUES * (CODE_BITS_MAX + PLACE_BITS_MAX) as usize / 8 + STREAMS <= WINDOW_BYTES);

/// The streams of a group, where every byte has a word behind it.
type Window = [u8; WINDOW_BYTES + TAIL_BYTES];

/// Codes and bins of a page, laid out for decoding.
struct Table {
    codes: [Code; 1 << CODE_BITS_MAX],
    bins: [Bin; BINS_MAX],
}

/// A page of bins, checked as far as its header.
#[derive(Clone, Copy)]
pub(super) struct BinsPage<'a> {
    bytes: &'a [u8],
    header: Header,
    lows: &'a [u8],
    place_bits: &'a [u8],
    code_bits: &'a [u8],
    entries: &'a [[u8; ENTRY_BYTES]],
    count: usize,
    differences: bool,
}

const OUTSIDE: Fault = Fault("group lies outside its page");
const NO_CODE: Fault = Fault("bins of a page do not make a code");

impl<'a> BinsPage<'a> {
    pub(super) fn parse(bytes: &'a [u8], count: usize, differences: bool) -> Result<Self> {
        const SHORT: Fault = Fault("packed page is too short");
        let (head, rest) = bytes.split_at_checked(size_of::<Header>()).ok_or(SHORT)?;
        let header: Header = bytemuck::pod_read_unaligned(head);
        let groups = count.div_ceil(GROUP_VALUES);
        if header.group_count as usize != groups || header.reserved != [0; 9] {
            return Err(Fault("packed page has another group count than its values"));
        }
        if header.multiplier == 0 || header.multiplier > i64::MAX as u64 {
            return Err(Fault("packed page has an impossible multiplier"));
        }
        let bins = usize::from(header.bin_count);
        if bins == 0 || bins > BINS_MAX || !matches!(header.low_bytes, 4 | 8) {
            return Err(NO_CODE);
        }
        let ends = Fault("packed page ends inside its group directory");
        let (lows, rest) =
            rest.split_at_checked(bins * usize::from(header.low_bytes)).ok_or(ends)?;
        let (place_bits, rest) = rest.split_at_checked(bins).ok_or(ends)?;
        let (code_bits, rest) = rest.split_at_checked(bins).ok_or(ends)?;
        let entries = groups.checked_mul(ENTRY_BYTES).and_then(|len| rest.get(..len));
        let (entries, _) = entries.ok_or(ends)?.as_chunks::<ENTRY_BYTES>();
        Ok(Self { bytes, header, lows, place_bits, code_bits, entries, count, differences })
    }

    /// Appends the values at `range`, which lies inside the page, to `out`. With `sides`, one for
    /// each value of the range, those of side 0 are mirrored at the base of their group.
    pub(super) fn read(
        &self,
        range: Range<usize>,
        sides: Option<&[u8]>,
        out: &mut Vec<i64>,
    ) -> Result<()> {
        let table = self.table()?;
        let mut numbers: Group = [[0; LANES]; LANE_VALUES];
        let mut window = [0; WINDOW_BYTES + TAIL_BYTES];
        let start = out.len();
        out.resize(start + range.len(), 0);
        let mut at = range.start;
        while at < range.end {
            let index = at / GROUP_VALUES;
            let first = index * GROUP_VALUES;
            let (base, count) = self.group(&table, index, &mut window, &mut numbers)?;
            let end = range.end.min(first + count);
            let place = at - range.start..end - range.start;
            let out = out.get_mut(start + place.start..start + place.end).ok_or(OUTSIDE)?;
            let sides = sides.map(|sides| sides.get(place).unwrap_or_default());
            let numbers = numbers.as_flattened();
            if self.differences {
                self.sum(base, numbers, at - first, out);
            } else {
                self.shift(base, numbers.get(at - first..).unwrap_or_default(), sides, out);
            }
            at = end;
        }
        Ok(())
    }

    /// The values after `skip` of them, from the first one and the differences.
    fn sum(&self, base: i64, numbers: &[u64], skip: usize, out: &mut [i64]) {
        let multiplier = self.header.multiplier;
        let mut value = self.value(base);
        for &number in numbers.iter().take(skip) {
            value = value.wrapping_add(number.wrapping_mul(multiplier));
        }
        for (out, &number) in out.iter_mut().zip(numbers.iter().skip(skip)) {
            *out = value.cast_signed();
            value = value.wrapping_add(number.wrapping_mul(multiplier));
        }
    }

    fn shift(&self, base: i64, numbers: &[u64], sides: Option<&[u8]>, out: &mut [i64]) {
        let multiplier = self.header.multiplier;
        let shift = self.value(base);
        match sides {
            Some(sides) => {
                for ((out, &number), &side) in out.iter_mut().zip(numbers).zip(sides) {
                    // All bits set mirrors: -number is !(number - 1).
                    let mirror = u64::from(side == 0).wrapping_neg();
                    let number = (number ^ mirror).wrapping_sub(mirror);
                    *out = shift.wrapping_add(number.wrapping_mul(multiplier)).cast_signed();
                }
            }
            None if multiplier == 1 => {
                for (out, &number) in out.iter_mut().zip(numbers) {
                    *out = shift.wrapping_add(number).cast_signed();
                }
            }
            None => {
                for (out, &number) in out.iter_mut().zip(numbers) {
                    *out = shift.wrapping_add(number.wrapping_mul(multiplier)).cast_signed();
                }
            }
        }
    }

    /// The value that a base stands for.
    fn value(&self, base: i64) -> u64 {
        let Header { offset, multiplier, .. } = self.header;
        base.cast_unsigned().wrapping_mul(multiplier).wrapping_add(offset.cast_unsigned())
    }

    /// The group that may hold the first value at or after `bound`, in a page of differences whose
    /// values never fall; `None` if that is the first value.
    pub(super) fn group_before(&self, bound: i64) -> Option<usize> {
        let first = |entry: &[u8; ENTRY_BYTES]| {
            let entry: Entry = bytemuck::pod_read_unaligned(entry);
            self.value(entry.base()).cast_signed()
        };
        self.entries.partition_point(|entry| first(entry) < bound).checked_sub(1)
    }

    fn table(&self) -> Result<Table> {
        let longest = |bits: &[u8]| u32::from(bits.iter().max().copied().unwrap_or_default());
        if longest(self.code_bits) > CODE_BITS_MAX || longest(self.place_bits) > PLACE_BITS_MAX {
            return Err(NO_CODE);
        }
        let mut table = Table { codes: [0; 1 << CODE_BITS_MAX], bins: [Bin::default(); BINS_MAX] };
        let lows = self.lows.chunks_exact(usize::from(self.header.low_bytes));
        for ((bin, low), &bits) in table.bins.iter_mut().zip(lows).zip(self.place_bits) {
            let low = match (low.first_chunk::<8>(), low.first_chunk::<4>()) {
                (Some(low), _) => i64::from_le_bytes(*low),
                (None, Some(low)) => i64::from(i32::from_le_bytes(*low)),
                (None, None) => return Err(NO_CODE),
            };
            *bin = Bin { low: low.cast_unsigned(), mask: (1 << bits) - 1 };
        }
        // Words are told apart by their first `known` bits so far.
        let (mut known, mut next) = (0, 0);
        let mut know = |codes: &mut [Code], bits: u32| {
            while known < bits {
                let (told, others) = codes.split_at_mut(1 << known);
                let others = others.iter_mut().zip(told);
                others.for_each(|(other, told)| *other = *told);
                known += 1;
            }
        };
        for (bin, bits) in codes_in_order(self.code_bits) {
            know(&mut table.codes, bits);
            let place_bits = self.place_bits.get(bin).copied().unwrap_or_default();
            let with_place = bits + u32::from(place_bits);
            let slot = table.codes.get_mut(reversed(next, bits)).ok_or(NO_CODE)?;
            *slot = bits | with_place << 8 | (bin as u32) << 16;
            next += 1 << (CODE_BITS_MAX - bits);
        }
        know(&mut table.codes, CODE_BITS_MAX);
        if next == 1 << CODE_BITS_MAX { Ok(table) } else { Err(NO_CODE) }
    }

    /// Decodes the numbers of group `index`; its base, and how many values it has.
    fn group(
        &self,
        table: &Table,
        index: usize,
        window: &mut Window,
        out: &mut Group,
    ) -> Result<(i64, usize)> {
        let entry = self.entries.get(index).ok_or(OUTSIDE)?;
        let entry: Entry = bytemuck::pod_read_unaligned(entry);
        let count = (self.count - index * GROUP_VALUES).min(GROUP_VALUES);
        let numbers = count - usize::from(self.differences);
        let data = self.bytes.get(entry.data_offset()..);
        let data = data.filter(|data| data.len() >= TAIL_BYTES).ok_or(OUTSIDE)?;
        let next =
            self.entries.get(index + 1).map(|next| bytemuck::pod_read_unaligned::<Entry>(next));
        let end =
            next.map_or(usize::MAX, |next| next.data_offset().saturating_sub(entry.data_offset()));
        let end = end.saturating_add(TAIL_BYTES).min(data.len()).min(window.len());
        let data = data.get(..end).unwrap_or_default();
        window.get_mut(..data.len()).ok_or(OUTSIDE)?.copy_from_slice(data);
        // The first bit of each stream.
        let mut at = [0; STREAMS];
        let mut sum = 0;
        for (at, len) in at.iter_mut().skip(1).zip(entry.stream_lens) {
            sum += usize::from(u16::from_le_bytes(len));
            *at = sum * 8;
        }
        if sum > data.len() - TAIL_BYTES {
            return Err(OUTSIDE);
        }
        let out = out.as_flattened_mut();
        let (fours, _) = out.as_chunks_mut::<STREAMS>();
        let (whole, rest) = fours.split_at_mut_checked(numbers / STREAMS).ok_or(OUTSIDE)?;
        for four in whole {
            for (out, at) in four.iter_mut().zip(&mut at) {
                *out = table.number(window, at);
            }
        }
        if let Some(last) = rest.first_mut() {
            for (out, at) in last.iter_mut().zip(&mut at).take(numbers % STREAMS) {
                *out = table.number(window, at);
            }
        }
        match at.into_iter().max() {
            Some(end) if end.div_ceil(8) <= data.len() - TAIL_BYTES => Ok((entry.base(), count)),
            _ => Err(OUTSIDE),
        }
    }
}

impl Table {
    /// The number at bit `at` of the window, which moves behind it.
    #[inline(always)]
    fn number(&self, window: &Window, at: &mut usize) -> u64 {
        // What is cut off here has left its group, and is refused in the end.
        let byte = *at / 8 % WINDOW_BYTES;
        let word = window.get(byte..byte + TAIL_BYTES).and_then(|word| word.first_chunk::<8>());
        let word = u64::from_le_bytes(word.copied().unwrap_or_default()) >> (*at % 8);
        let slot = (word % (1 << CODE_BITS_MAX)) as usize;
        let code = self.codes.get(slot).copied().unwrap_or_default();
        let bin = self.bins.get((code >> 16 & 0xff) as usize).copied().unwrap_or_default();
        *at += (code >> 8 & 0xff) as usize;
        bin.low.wrapping_add(word >> (code & 63) & bin.mask)
    }
}

/// The bins with their bits, in the order in which codes are given: short ones first, then by
/// place. Bins with more bits than a code may have are left out.
pub(super) fn codes_in_order(code_bits: &[u8]) -> impl Iterator<Item = (usize, u32)> {
    (0..=CODE_BITS_MAX).flat_map(move |bits| {
        let of_length = move |(_, of_bin): &(usize, &u8)| u32::from(**of_bin) == bits;
        code_bits.iter().enumerate().filter(of_length).map(move |(bin, _)| (bin, bits))
    })
}

/// The code whose first bits are the highest of `next`, a number of [`CODE_BITS_MAX`] bits: its
/// `bits` bits, the first one lowest.
pub(super) fn reversed(next: u32, bits: u32) -> usize {
    let code = next >> (CODE_BITS_MAX - bits);
    if bits == 0 { 0 } else { (code.reverse_bits() >> (u32::BITS - bits)) as usize }
}
