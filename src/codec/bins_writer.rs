//! Makes pages of bins: which bins, which codes, which way of looking at the values.

use super::Encoding;
use super::bins::{
    BINS_MAX, CODE_BITS_MAX, ENTRY_BYTES, Entry, Header, PLACE_BITS_MAX, STREAMS, TAIL_BYTES,
    codes_in_order, reversed,
};
use super::integers::{SAMPLE_GROUPS, encode_integers, multiplier, reduce};
use crate::limit::GROUP_VALUES;

/// Bits that a bin costs in the table of a page.
const BIN_BITS: u64 = 48;

/// As [`encode_integers`], in bins where that is smaller: takes longer to write and to read. With
/// `sides`, one for each value, they may be written as distances that are mirrored for side 0;
/// whether they are. They have to be read by [`super::IntegerPage::read_mirrored`] then.
pub fn encode_compact(
    values: &[i64],
    plain_bytes: usize,
    sides: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> (Encoding, bool) {
    let start = out.len();
    let packed = encode_integers(values, plain_bytes, out);
    let (Some((&first, rest)), false) = (values.split_first(), packed == Encoding::Constant) else {
        return (packed, false);
    };
    let multiplier = multiplier(first, rest);
    let reduced = reduce(values, first, multiplier);
    let Some((plan, mirrored)) = best_bins(&reduced, sides) else { return (packed, false) };
    let mut bytes = Vec::new();
    plan.write(first, multiplier, &mut bytes);
    if bytes.len() >= out.len() - start {
        return (packed, false);
    }
    out.truncate(start);
    out.append(&mut bytes);
    let encoding = if plan.has_differences() { Encoding::DeltaBins } else { Encoding::Bins };
    (encoding, mirrored)
}

/// The way to look at values that takes the fewest bits, and whether it is that with sides; found
/// by some of the groups.
fn best_bins(values: &[i64], sides: Option<&[u8]>) -> Option<(Plan, bool)> {
    type Look<'a> = (fn(&[i64], Option<&[u8]>) -> Numbers, Option<&'a [u8]>);
    let looks: [Look<'_>; 4] = [
        (|values, _| Numbers::plain(values), None),
        (|values, _| Numbers::differences(values), None),
        (Numbers::around, None),
        (Numbers::around, sides),
    ];
    let step = (values.len() / GROUP_VALUES / SAMPLE_GROUPS).max(1);
    let sampled = |sides: Option<&[u8]>| -> Option<Vec<u8>> {
        let groups = sides?.chunks(GROUP_VALUES).step_by(step);
        Some(groups.flatten().copied().collect())
    };
    let groups = values.chunks(GROUP_VALUES).step_by(step);
    let sample: Vec<i64> = groups.flatten().copied().collect();
    let looks = looks.into_iter().take(if sides.is_some() { 4 } else { 3 });
    let bits = |&(look, sides): &Look<'_>| {
        look(&sample, sampled(sides).as_deref()).plan().map_or(u64::MAX, |plan| plan.bits)
    };
    let (look, sides) = looks.min_by_key(bits)?;
    Some((look(values, sides).plan()?, sides.is_some()))
}

/// Values as the numbers that a page of bins holds.
pub(super) struct Numbers {
    /// Of each group.
    bases: Vec<i64>,
    /// Of all groups, one after the other.
    numbers: Vec<i64>,
    differences: bool,
}

impl Numbers {
    /// The values as they are.
    pub(super) fn plain(values: &[i64]) -> Self {
        let bases = vec![0; values.len().div_ceil(GROUP_VALUES)];
        Self { bases, numbers: values.to_vec(), differences: false }
    }

    /// Distances from the middle of each group, mirrored where there is a side and it is 0.
    pub(super) fn around(values: &[i64], sides: Option<&[u8]>) -> Self {
        let mut bases = Vec::with_capacity(values.len().div_ceil(GROUP_VALUES));
        let mut numbers = Vec::with_capacity(values.len());
        let mut sorted = Vec::with_capacity(GROUP_VALUES);
        for (index, group) in values.chunks(GROUP_VALUES).enumerate() {
            sorted.clear();
            sorted.extend_from_slice(group);
            let middle = sorted.len() / 2;
            let base = *sorted.select_nth_unstable(middle).1;
            bases.push(base);
            let distances = group.iter().map(|value| value.wrapping_sub(base));
            match sides.and_then(|sides| sides.get(index * GROUP_VALUES..)) {
                Some(sides) => numbers.extend(distances.zip(sides).map(|(distance, &side)| {
                    if side == 0 { distance.wrapping_neg() } else { distance }
                })),
                None => numbers.extend(distances),
            }
        }
        Self { bases, numbers, differences: false }
    }

    /// Differences from each value to the next.
    pub(super) fn differences(values: &[i64]) -> Self {
        let groups = values.chunks(GROUP_VALUES);
        let mut numbers = Vec::with_capacity(values.len());
        for group in groups.clone() {
            let after = group.iter().skip(1).zip(group);
            numbers.extend(after.map(|(next, value)| next.wrapping_sub(*value)));
        }
        let bases = groups.filter_map(|group| group.first().copied()).collect();
        Self { bases, numbers, differences: true }
    }

    /// The bins that these numbers are written with fewest bits by; `None` if they are too far
    /// apart.
    pub(super) fn plan(self) -> Option<Plan> {
        let mut sorted = self.numbers.clone();
        sorted.sort_unstable();
        let bins = [1, 2, 4].into_iter().map(|share| {
            let mut bins = first_bins(&sorted, share);
            while join(&mut bins, sorted.len() as u64) {}
            bins
        });
        let bins = bins.into_iter().find(|bins| (1..=BINS_MAX).contains(&bins.len()))?;
        let counts: Vec<u64> = bins.iter().map(|bin| bin.count).collect();
        let code_bits = code_lengths(&counts);
        let bits = bins.iter().zip(&code_bits).map(|(bin, &code)| {
            bin.count * (u64::from(code) + u64::from(bin.place_bits())) + BIN_BITS
        });
        let bits = bits.sum();
        Some(Plan { numbers: self, bins, code_bits, bits })
    }
}

/// A run of numbers.
#[derive(Clone, Copy)]
struct Bin {
    low: i64,
    high: i64,
    count: u64,
}

impl Bin {
    fn place_bits(&self) -> u32 {
        let span = self.high.wrapping_sub(self.low).cast_unsigned();
        u64::BITS - span.leading_zeros()
    }

    /// This one and the next as one, if a place in it fits.
    fn with(&self, next: &Self) -> Option<Self> {
        let both = Self { low: self.low, high: next.high, count: self.count + next.count };
        (both.place_bits() <= PLACE_BITS_MAX).then_some(both)
    }

    /// Bits that it costs among `count` numbers, times 256.
    fn cost(&self, count: u64) -> u64 {
        let code = log2(count).saturating_sub(log2(self.count));
        self.count * (code + u64::from(self.place_bits()) * 256) + BIN_BITS * 256
    }
}

/// The logarithm to base 2 of a number of at least 1, times 256. Without floating point, so that
/// the same rows make the same bytes everywhere.
fn log2(number: u64) -> u64 {
    let whole = number.max(1).ilog2();
    // 1 to 2, in units of 2^-31.
    let mut rest = u128::from(number.max(1)) << 31 >> whole;
    let mut log = u64::from(whole);
    for _ in 0..8 {
        rest = (rest * rest) >> 31;
        let more = rest >= 1 << 32;
        log = log * 2 + u64::from(more);
        rest >>= u32::from(more);
    }
    log
}

/// Bins of about as many numbers each, so many times those of a [`BINS_MAX`]th; a number that comes
/// often is one of its own.
fn first_bins(sorted: &[i64], times: usize) -> Vec<Bin> {
    let often = (sorted.len() * times / BINS_MAX).max(1) as u64;
    let mut bins: Vec<Bin> = Vec::new();
    let mut open = false;
    for equal in sorted.chunk_by(|a, b| a == b) {
        let Some(&value) = equal.first() else { continue };
        let bin = Bin { low: value, high: value, count: equal.len() as u64 };
        let fits = |last: &Bin| last.count + bin.count <= often && last.with(&bin).is_some();
        match bins.last_mut().filter(|last| open && bin.count < often && fits(last)) {
            Some(last) => (last.high, last.count) = (bin.high, last.count + bin.count),
            None => bins.push(bin),
        }
        open = bin.count < often;
    }
    bins
}

/// Joins neighbours where that saves bits, or there are too many; whether any were joined.
fn join(bins: &mut Vec<Bin>, count: u64) -> bool {
    let before = bins.len();
    let mut joined: Vec<Bin> = Vec::with_capacity(before);
    for bin in bins.iter() {
        if let Some(last) = joined.last_mut()
            && let Some(both) = last.with(bin)
            && both.cost(count) < last.cost(count) + bin.cost(count)
        {
            *last = both;
        } else {
            joined.push(*bin);
        }
    }
    *bins = joined;
    bins.len() < before
}

/// Bits of the code of each bin, as Huffman gives them, at most [`CODE_BITS_MAX`].
fn code_lengths(counts: &[u64]) -> Vec<u8> {
    // The rarer the rarest bins, the longer the longest code: raise their counts until it fits.
    for least in 0.. {
        let floor = if least == 0 { 1 } else { 1u64 << least };
        let lengths = huffman(counts.iter().map(|&count| count.max(floor)));
        if lengths.iter().all(|&bits| u32::from(bits) <= CODE_BITS_MAX) {
            return lengths;
        }
    }
    Vec::new()
}

fn huffman(counts: impl Iterator<Item = u64>) -> Vec<u8> {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    let mut heap: BinaryHeap<_> =
        counts.enumerate().map(|(at, count)| Reverse((count, at))).collect();
    let leaves = heap.len();
    let mut parents = vec![0; leaves];
    while let Some(Reverse((a, first))) = heap.pop() {
        let Some(Reverse((b, second))) = heap.pop() else { break };
        let parent = parents.len();
        parents.push(0);
        for child in [first, second] {
            if let Some(place) = parents.get_mut(child) {
                *place = parent;
            }
        }
        heap.push(Reverse((a + b, parent)));
    }
    // The last node is the root; every other one is below a later one.
    let mut depths = vec![0u8; parents.len()];
    for node in (0..parents.len().saturating_sub(1)).rev() {
        let above = parents.get(node).and_then(|&parent| depths.get(parent)).copied();
        if let (Some(place), Some(above)) = (depths.get_mut(node), above) {
            *place = above.saturating_add(1);
        }
    }
    depths.truncate(leaves);
    depths
}

/// Numbers, and the bins to write them with.
pub(super) struct Plan {
    numbers: Numbers,
    bins: Vec<Bin>,
    code_bits: Vec<u8>,
    /// Bits of the streams and of the table.
    pub(super) bits: u64,
}

impl Plan {
    /// Whether the numbers are differences.
    pub(super) fn has_differences(&self) -> bool {
        self.numbers.differences
    }

    /// Appends the page of these numbers; values are in units of `multiplier` from `offset` on.
    pub(super) fn write(&self, offset: i64, multiplier: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let narrow = self.bins.iter().all(|bin| i32::try_from(bin.low).is_ok());
        let low_bytes = if narrow { 4 } else { 8 };
        let header = Header {
            offset,
            multiplier,
            group_count: self.numbers.bases.len() as u32,
            bin_count: self.bins.len() as u16,
            low_bytes: low_bytes as u8,
            reserved: [0; 9],
        };
        out.extend_from_slice(bytemuck::bytes_of(&header));
        for bin in &self.bins {
            out.extend(bin.low.to_le_bytes().into_iter().take(low_bytes));
        }
        out.extend(self.bins.iter().map(|bin| bin.place_bits() as u8));
        out.extend_from_slice(&self.code_bits);
        let directory = out.len();
        out.resize(directory + self.numbers.bases.len() * ENTRY_BYTES, 0);
        let codes = self.codes();
        let mut streams: [BitWriter; STREAMS] = Default::default();
        let per_group = GROUP_VALUES - usize::from(self.numbers.differences);
        let mut groups = self.numbers.numbers.chunks(per_group);
        for (index, &base) in self.numbers.bases.iter().enumerate() {
            for four in groups.next().unwrap_or_default().chunks(STREAMS) {
                for (stream, &number) in streams.iter_mut().zip(four) {
                    self.put(stream, &codes, number);
                }
            }
            let data_offset = (out.len() - start) as u32;
            let lens = streams.each_mut().map(|stream| stream.end(out));
            let [a, b, c, _] = lens;
            let entry = Entry::new(base, data_offset, [a, b, c]);
            let at = directory + index * ENTRY_BYTES;
            if let Some(place) = out.get_mut(at..at + ENTRY_BYTES) {
                place.copy_from_slice(bytemuck::bytes_of(&entry));
            }
        }
        out.resize(out.len() + TAIL_BYTES, 0);
    }

    /// The code of each bin, its first bit lowest.
    fn codes(&self) -> Vec<u64> {
        let mut codes = vec![0; self.bins.len()];
        let mut next = 0;
        for (bin, bits) in codes_in_order(&self.code_bits) {
            if let Some(code) = codes.get_mut(bin) {
                *code = reversed(next, bits) as u64;
            }
            next += 1 << (CODE_BITS_MAX - bits);
        }
        codes
    }

    fn put(&self, stream: &mut BitWriter, codes: &[u64], number: i64) {
        let at = self.bins.partition_point(|bin| bin.low <= number).saturating_sub(1);
        let (Some(bin), Some(&code), Some(&bits)) =
            (self.bins.get(at), codes.get(at), self.code_bits.get(at))
        else {
            return;
        };
        stream.put(code, bits.into());
        stream.put(number.wrapping_sub(bin.low).cast_unsigned(), bin.place_bits());
    }
}

/// A stream of bits, the first one lowest in its byte.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that are in no byte yet.
    word: u64,
    bits: u32,
}

impl BitWriter {
    /// Adds a number of at most 45 bits.
    fn put(&mut self, number: u64, bits: u32) {
        self.word |= number << self.bits;
        self.bits += bits;
        while self.bits >= 8 {
            self.bytes.push(self.word as u8);
            self.word >>= 8;
            self.bits -= 8;
        }
    }

    /// Fills up the last byte, appends all to `out` and begins anew; how many bytes there were.
    fn end(&mut self, out: &mut Vec<u8>) -> u16 {
        if self.bits > 0 {
            self.put(0, 8 - self.bits);
        }
        let len = self.bytes.len() as u16;
        out.append(&mut self.bytes);
        len
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, IntegerPage};
    use super::*;
    use crate::quantity::NULL;
    use proptest::prelude::*;

    /// Encodes, reads all and some again; the encoding and the bytes.
    fn round_trip(values: &[i64], sides: Option<&[u8]>) -> (Encoding, Vec<u8>) {
        let mut bytes = Vec::new();
        let (encoding, mirrored) = encode_compact(values, 8, sides, &mut bytes);
        let page = IntegerPage::parse(&bytes, encoding, values.len(), 8).unwrap();
        let len = values.len();
        for range in [0..len, 0..1, len / 3..len / 2, len - 1..len] {
            let mut read = vec![9];
            match sides.filter(|_| mirrored) {
                Some(sides) => page.read_mirrored(range.clone(), &sides[range.clone()], &mut read),
                None => page.read(range.clone(), &mut read),
            }
            .unwrap();
            assert_eq!(read[1..], values[range]);
        }
        (encoding, bytes)
    }

    /// A number that looks random, from its place.
    fn scattered(at: usize) -> u64 {
        let mut x = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ x >> 31
    }

    /// Half of all are 0, half of the others 1, ...: two bits each.
    fn geometric(at: usize) -> i64 {
        i64::from(scattered(at).trailing_zeros())
    }

    #[test]
    fn noise_takes_about_the_bits_that_it_has() {
        let n = 20_000;
        let values: Vec<i64> = (0..n).map(geometric).collect();
        let (encoding, bytes) = round_trip(&values, None);
        assert_eq!(encoding, Encoding::Bins);
        assert!(bytes.len() < n * 2 / 8 + 1200, "{}", bytes.len());

        let mut time = 1_723_161_255_000_000_000;
        let times: Vec<i64> = (0..n)
            .map(|at| {
                time += 1000 * (1 << geometric(at).min(20)) + 1000 * geometric(at + n);
                time
            })
            .collect();
        let (encoding, _) = round_trip(&times, None);
        assert_eq!(encoding, Encoding::DeltaBins);

        let sides: Vec<u8> = (0..n).map(|at| (scattered(at + 2 * n) & 1) as u8).collect();
        let prices = |&at: &usize| 1_000_000 + (2 * i64::from(sides[at]) - 1) * geometric(at);
        let prices: Vec<i64> = (0..n).map(|at| prices(&at)).collect();
        let (encoding, with_sides) = round_trip(&prices, Some(&sides));
        let (_, without) = round_trip(&prices, None);
        assert_eq!(encoding, Encoding::Bins);
        assert!(with_sides.len() + n / 40 < without.len(), "{}", without.len());
    }

    #[test]
    fn a_time_is_found_through_the_group_directory() {
        let mut time = 1000;
        let times: Vec<i64> = (0..5000)
            .map(|at| {
                time += geometric(at) * 7;
                time
            })
            .collect();
        let mut bytes = Vec::new();
        let (encoding, _) = encode_compact(&times, 8, None, &mut bytes);
        assert_eq!(encoding, Encoding::DeltaBins);
        let page = IntegerPage::parse(&bytes, encoding, times.len(), 8).unwrap();

        for bound in (990..time + 20).step_by(3) {
            let expected = times.partition_point(|&value| value < bound);
            assert_eq!(page.partition_point(bound).unwrap(), expected, "{bound}");
        }
    }

    #[test]
    fn codes_are_never_longer_than_they_may_be() {
        // The counts of Fibonacci give the longest codes.
        let mut counts = vec![1u64, 1];
        while counts.len() < 40 {
            counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
        }
        let lengths = code_lengths(&counts);
        assert!(lengths.iter().all(|&bits| u32::from(bits) <= CODE_BITS_MAX));
        let filled: u32 = lengths.iter().map(|&bits| 1 << (CODE_BITS_MAX - u32::from(bits))).sum();
        assert_eq!(filled, 1 << CODE_BITS_MAX);
        assert_eq!(code_lengths(&[5]), [0]);
        assert_eq!(code_lengths(&[1; BINS_MAX]), [8; BINS_MAX]);
    }

    #[test]
    fn logarithms_are_near_the_true_ones() {
        for number in [1u64, 2, 3, 10, 1000, 65_536, 123_456_789, u64::MAX >> 1] {
            let exact = (number as f64).log2() * 256.0;
            assert!((log2(number) as f64 - exact).abs() <= 1.0, "{number}");
        }
    }

    #[test]
    fn damaged_pages_are_refused_or_read_without_panic() {
        let values: Vec<i64> = (0..1100).map(|at| geometric(at) * 50 - 7).collect();
        let (encoding, bytes) = round_trip(&values, None);
        assert_eq!(encoding, Encoding::Bins);
        let read = |bytes: &[u8], encoding| {
            let page = IntegerPage::parse(bytes, encoding, values.len(), 8)?;
            let _ = page.partition_point(5);
            let _ = page.read_u8(0..values.len(), &mut Vec::new());
            page.read(0..values.len(), &mut Vec::new())
        };
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut], encoding).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = read(&damaged, Encoding::Bins);
            let _ = read(&damaged, Encoding::DeltaBins);
        }
    }

    #[test]
    fn impossible_bins_headers_and_groups_are_refused() {
        let values: Vec<i64> = (0..1100).map(|at| geometric(at) * 50).collect();
        let (encoding, bytes) = round_trip(&values, None);
        let bins = usize::from(bytes[20]);
        let (places, codes, entries) = (32 + 4 * bins, 32 + 5 * bins, 32 + 6 * bins);
        let fault = |at: usize, value: u8| {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            IntegerPage::parse(&damaged, encoding, values.len(), 8)
                .and_then(|page| page.read(0..values.len(), &mut Vec::new()))
                .unwrap_err()
        };

        let no_code = Fault("bins of a page do not make a code");
        assert_eq!([fault(20, 0), fault(21, 2), fault(22, 5)], [no_code; 3]);
        assert_eq!([fault(places, 46), fault(codes, 12), fault(codes, 0)], [no_code; 3]);
        assert_eq!(fault(codes, bytes[codes] + 1), no_code);
        let groups = Fault("packed page has another group count than its values");
        assert_eq!([fault(16, 1), fault(23, 1), fault(31, 1)], [groups; 3]);
        assert_eq!(fault(15, 0x80), Fault("packed page has an impossible multiplier"));
        let outside = Fault("group lies outside its page");
        assert_eq!([fault(entries + 11, 1), fault(entries + 13, 0xff)], [outside; 2]);
        let next = entries + 18 + 8;
        assert_eq!(fault(next, bytes[next] - 40), outside, "group 0 reaches into group 1");

        let page = IntegerPage::parse(&bytes, encoding, values.len(), 8).unwrap();
        let sides = vec![0; values.len()];
        let read = |range| page.read_mirrored(range, &sides, &mut Vec::new());
        assert!(read(0..values.len()).is_ok());
        assert!(read(0..values.len() - 1).is_err() && read(1..values.len() + 1).is_err());
        let mut packed = Vec::new();
        let encoding = super::super::encode_integers(&values, 8, &mut packed);
        let page = IntegerPage::parse(&packed, encoding, values.len(), 8).unwrap();
        let refused = page.read_mirrored(0..values.len(), &sides, &mut Vec::new());
        assert_eq!(refused, Err(Fault("page that refers to a side is not of bins")));
    }

    proptest! {
        #[test]
        fn any_integers_come_back(
            values in prop::collection::vec(
                prop_oneof![any::<i64>(), -5i64..5, -5i64..5, Just(NULL), Just(i64::MAX)], 1..3000),
            seed in 0usize..1000,
        ) {
            let sides: Vec<u8> =
                (0..values.len()).map(|at| (scattered(at + seed) & 1) as u8).collect();
            round_trip(&values, Some(&sides));
            round_trip(&values, None);
        }

        #[test]
        fn noise_around_a_walk_comes_back(
            steps in prop::collection::vec((-3i64..4, 0i64..1000), 1..5000),
            multiple in 1i64..1_000_000,
        ) {
            let mut middle = 1_723_161_255_000i64;
            let values: Vec<i64> = steps
                .iter()
                .map(|(step, far)| {
                    middle += step;
                    (middle + far * far / 1000) * multiple
                })
                .collect();
            round_trip(&values, None);
        }
    }
}
