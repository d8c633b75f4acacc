//! Pages of integers as the bins they lie in and their places inside, with short codes for bins
//! that hold many: what entropy coding makes of noise, at a few instructions a value.
//!
//! The values of a group are dealt to four lanes, each a stream of bits that is read on its own, so
//! that the processor follows four of them at once. A number is one look into a table of codes and
//! one into the bins. `format-spec/04-encodings.md`, "Bins".

use std::cell::RefCell;
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
    /// Bits of the longest code with its place.
    longest: u32,
}

/// Bits that a word has from any bit of its first byte on.
const WORD_BITS: u32 = 57;
const _: () = assert!(CODE_BITS_MAX + PLACE_BITS_MAX <= WORD_BITS);

/// Memory for decoding a page. Kept, as clearing it for each page would cost as much as decoding a
/// group: what it holds is written before it is read.
struct Scratch {
    table: Table,
    window: Window,
    numbers: Group,
}

impl Scratch {
    const fn new() -> Self {
        Self {
            table: Table {
                codes: [0; 1 << CODE_BITS_MAX],
                bins: [Bin { low: 0, mask: 0 }; BINS_MAX],
                longest: 0,
            },
            window: [0; WINDOW_BYTES + TAIL_BYTES],
            numbers: [[0; LANES]; LANE_VALUES],
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
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
        Ok(Self { bytes, header, lows, place_bits, code_bits, entries, differences })
    }

    /// Appends the values at `range`, which lies inside the page, to `out`. With `sides`, one for
    /// each value of the range, those of side 0 are mirrored at the base of their group.
    pub(super) fn read(
        &self,
        range: Range<usize>,
        sides: Option<&[u8]>,
        out: &mut Vec<i64>,
    ) -> Result<()> {
        SCRATCH.with_borrow_mut(|scratch| self.read_with(scratch, range, sides, out))
    }

    fn read_with(
        &self,
        scratch: &mut Scratch,
        range: Range<usize>,
        sides: Option<&[u8]>,
        out: &mut Vec<i64>,
    ) -> Result<()> {
        self.fill_table(&mut scratch.table)?;
        out.reserve(range.len());
        let mut at = range.start;
        while at < range.end {
            let index = at / GROUP_VALUES;
            let first = index * GROUP_VALUES;
            let end = range.end.min(first + GROUP_VALUES);
            let base = self.group(scratch, index, end - first)?;
            let numbers = scratch.numbers.as_flattened();
            let (before, numbers) = numbers.split_at_checked(at - first).ok_or(OUTSIDE)?;
            let numbers = numbers.get(..end - at).ok_or(OUTSIDE)?;
            match sides {
                _ if self.differences => self.sum(base, before, numbers, out),
                Some(sides) => {
                    let place = at - range.start..end - range.start;
                    self.mirror(base, numbers, sides.get(place).unwrap_or_default(), out);
                }
                None => self.shift(base, numbers, out),
            }
            at = end;
        }
        Ok(())
    }

    /// The values from one on, of their differences and those before.
    fn sum(&self, base: i64, before: &[u64], numbers: &[u64], out: &mut Vec<i64>) {
        let multiplier = self.header.multiplier;
        let skipped = before.iter().fold(0u64, |sum, &number| sum.wrapping_add(number));
        let mut next = self.value(base).wrapping_add(skipped.wrapping_mul(multiplier));
        out.extend(numbers.iter().map(|number| {
            let value = next;
            next = next.wrapping_add(number.wrapping_mul(multiplier));
            value.cast_signed()
        }));
    }

    fn mirror(&self, base: i64, numbers: &[u64], sides: &[u8], out: &mut Vec<i64>) {
        let (shift, multiplier) = (self.value(base), self.header.multiplier);
        out.extend(numbers.iter().zip(sides).map(|(&number, &side)| {
            // All bits set mirrors: -number is !(number - 1).
            let mirror = u64::from(side == 0).wrapping_neg();
            let number = (number ^ mirror).wrapping_sub(mirror);
            shift.wrapping_add(number.wrapping_mul(multiplier)).cast_signed()
        }));
    }

    fn shift(&self, base: i64, numbers: &[u64], out: &mut Vec<i64>) {
        let (shift, multiplier) = (self.value(base), self.header.multiplier);
        match multiplier {
            1 => out.extend(numbers.iter().map(|&number| shift.wrapping_add(number).cast_signed())),
            _ => {
                out.extend(numbers.iter().map(|number| {
                    shift.wrapping_add(number.wrapping_mul(multiplier)).cast_signed()
                }))
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

    fn fill_table(&self, table: &mut Table) -> Result<()> {
        let longest = |bits: &[u8]| u32::from(bits.iter().max().copied().unwrap_or_default());
        if longest(self.code_bits) > CODE_BITS_MAX || longest(self.place_bits) > PLACE_BITS_MAX {
            return Err(NO_CODE);
        }
        let bits = self.place_bits.iter().zip(self.code_bits);
        table.longest = bits.map(|(place, code)| u32::from(place + code)).max().unwrap_or_default();
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
        if next == 1 << CODE_BITS_MAX { Ok(()) } else { Err(NO_CODE) }
    }

    /// Decodes the numbers of the first `count` values of group `index`, at least 1 and no more
    /// than it has, into the scratch; its base.
    fn group(&self, scratch: &mut Scratch, index: usize, count: usize) -> Result<i64> {
        let Scratch { table, window, numbers: out } = scratch;
        let entry = self.entries.get(index).ok_or(OUTSIDE)?;
        let entry: Entry = bytemuck::pod_read_unaligned(entry);
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
        let numbers = out.as_flattened_mut().get_mut(..numbers).ok_or(OUTSIDE)?;
        table.numbers(window, &mut at, numbers);
        match at.into_iter().max() {
            Some(end) if end.div_ceil(8) <= data.len() - TAIL_BYTES => Ok(entry.base()),
            _ => Err(OUTSIDE),
        }
    }
}

impl Table {
    /// The numbers of a group, dealt to the streams that begin at these bits; moves those behind.
    fn numbers(&self, window: &Window, at: &mut [usize; STREAMS], out: &mut [u64]) {
        match WORD_BITS / self.longest.max(1) {
            4.. => self.numbers_of_words::<4, true>(window, at, out),
            2.. => self.numbers_of_words::<2, true>(window, at, out),
            _ => self.numbers_of_words::<2, false>(window, at, out),
        }
    }

    /// As [`Table::numbers`], where a word holds so many numbers: always, if `SURE`, else mostly.
    // Not inlined: as arguments, the compiler knows table, window and numbers as three things.
    #[inline(never)]
    fn numbers_of_words<const COUNT: usize, const SURE: bool>(
        &self,
        window: &Window,
        streams: &mut [usize; STREAMS],
        out: &mut [u64],
    ) {
        let mut at = *streams;
        let (fours, rest) = out.as_chunks_mut::<STREAMS>();
        let (words, fours) = fours.as_chunks_mut::<COUNT>();
        for fours in words {
            for (lane, at) in at.iter_mut().enumerate() {
                let (mut rest, mut rest_bits) = (word(window, *at), WORD_BITS);
                for four in fours.iter_mut() {
                    if !SURE && rest_bits < self.longest {
                        (rest, rest_bits) = (word(window, *at), WORD_BITS);
                    }
                    let (number, bits) = self.number(rest);
                    if let Some(out) = four.get_mut(lane) {
                        *out = number;
                    }
                    rest >>= bits;
                    rest_bits -= bits;
                    *at += bits as usize;
                }
            }
        }
        let rest = fours.as_flattened_mut().chunks_mut(STREAMS).chain([rest]);
        for four in rest {
            for (out, at) in four.iter_mut().zip(&mut at) {
                let (number, bits) = self.number(word(window, *at));
                *out = number;
                *at += bits as usize;
            }
        }
        *streams = at;
    }

    /// The number that a word begins with, and its bits.
    #[inline(always)]
    fn number(&self, word: u64) -> (u64, u32) {
        let slot = (word % (1 << CODE_BITS_MAX)) as usize;
        let code = self.codes.get(slot).copied().unwrap_or_default();
        let bin = self.bins.get((code >> 16 & 0xff) as usize).copied().unwrap_or_default();
        (bin.low.wrapping_add(word >> (code & 63) & bin.mask), code >> 8 & 0xff)
    }
}

/// The word at bit `at` of the window, of which [`WORD_BITS`] are sure to be of the stream.
#[inline(always)]
fn word(window: &Window, at: usize) -> u64 {
    // What is cut off here has left its group, and is refused in the end.
    let byte = at / 8 % WINDOW_BYTES;
    let word = window.get(byte..byte + TAIL_BYTES).and_then(|word| word.first_chunk::<8>());
    u64::from_le_bytes(word.copied().unwrap_or_default()) >> (at % 8)
}

/// The bins with their bits, in the order in which codes are given: short ones first, then by
/// place. Bins with more bits than a code may have are left out.
pub(super) fn codes_in_order(code_bits: &[u8]) -> impl Iterator<Item = (usize, u32)> {
    // Where the bins of so many bits begin in the order: first how many have fewer by one.
    let mut starts = [0; CODE_BITS_MAX as usize + 2];
    for &bits in code_bits {
        if let Some(fewer) = starts.get_mut(usize::from(bits) + 1) {
            *fewer += 1;
        }
    }
    let mut count = 0;
    for start in &mut starts {
        count += *start;
        *start = count;
    }
    let mut order = [(0, 0); BINS_MAX];
    for (bin, &bits) in code_bits.iter().enumerate() {
        let start = starts.get_mut(usize::from(bits)).filter(|_| u32::from(bits) <= CODE_BITS_MAX);
        let Some(start) = start else { continue };
        if let Some(place) = order.get_mut(*start) {
            *place = (bin, u32::from(bits));
        }
        *start += 1;
    }
    order.into_iter().take(count)
}

/// The code whose first bits are the highest of `next`, a number of [`CODE_BITS_MAX`] bits: its
/// `bits` bits, the first one lowest.
pub(super) fn reversed(next: u32, bits: u32) -> usize {
    let code = next >> (CODE_BITS_MAX - bits);
    if bits == 0 { 0 } else { (code.reverse_bits() >> (u32::BITS - bits)) as usize }
}
