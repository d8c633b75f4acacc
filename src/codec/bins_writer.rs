//! Makes pages of bins: which bins, which codes, and their streams.

use super::Encoding;
use super::bins::{
    BINS_MAX, CODE_BITS_MAX, ENTRY_BYTES, Entry, Header, PLACE_BITS_MAX, STREAMS, TAIL_BYTES,
    codes_in_order, reversed,
};
use super::keys::{Finder, sorted};
use super::units::Units;
use crate::limit::GROUP_VALUES;

/// Bits that a bin costs in the table of a page.
const BIN_BITS: u64 = 48;

/// What the numbers of a page of bins are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The values as they are.
    Plain,
    /// Differences from each value to the next.
    Differences,
    /// Distances from the middle of each group.
    Around,
    /// As `Around`, mirrored where the side is 0.
    Mirrored,
}

impl Look {
    pub(super) fn encoding(self) -> Encoding {
        match self {
            Self::Plain | Self::Around | Self::Mirrored => Encoding::Bins,
            Self::Differences => Encoding::DeltaBins,
        }
    }
}

/// Values as the numbers that a page of bins holds.
pub(super) struct Numbers {
    look: Look,
    /// Of each group.
    bases: Vec<i64>,
    /// Of all groups, one after the other.
    numbers: Vec<i64>,
    /// How many values they are of.
    count: usize,
}

impl Numbers {
    pub(super) fn of(values: &[i64], units: &Units, look: Look, sides: Option<&[u8]>) -> Self {
        let mut bases = Vec::with_capacity(values.len().div_ceil(GROUP_VALUES));
        let mut numbers = Vec::with_capacity(values.len());
        let mut reduced = Vec::with_capacity(GROUP_VALUES);
        let mut sides = sides.unwrap_or_default().chunks(GROUP_VALUES);
        for group in values.chunks(GROUP_VALUES) {
            units.reduce(group, &mut reduced);
            let sides = sides.next().unwrap_or_default();
            let base = match look {
                Look::Plain => 0,
                Look::Differences => reduced.first().copied().unwrap_or_default(),
                Look::Around | Look::Mirrored => middle(&reduced),
            };
            bases.push(base);
            let distances = reduced.iter().map(|value| value.wrapping_sub(base));
            match look {
                Look::Plain | Look::Around => numbers.extend(distances),
                Look::Differences => {
                    let after = reduced.iter().skip(1).zip(&reduced);
                    numbers.extend(after.map(|(next, value)| next.wrapping_sub(*value)));
                }
                Look::Mirrored => numbers.extend(distances.zip(sides).map(|(distance, &side)| {
                    if side == 0 { distance.wrapping_neg() } else { distance }
                })),
            }
        }
        Self { look, bases, numbers, count: values.len() }
    }

    /// The bins that these numbers are written with fewest bits by; `None` if they are too far
    /// apart.
    pub(super) fn plan(self) -> Option<Plan> {
        let sorted = sorted(&self.numbers);
        let bins = [1, 2, 4].into_iter().map(|share| {
            let mut bins = first_bins(&sorted, share);
            while join(&mut bins, sorted.len() as u64) {}
            bins
        });
        let bins = bins.into_iter().find(|bins| (1..=BINS_MAX).contains(&bins.len()))?;
        Some(Plan { numbers: self, bins })
    }
}

/// The middle one of the values of a group.
fn middle(group: &[i64]) -> i64 {
    let mut values = group.to_vec();
    let middle = values.len() / 2;
    match values.is_empty() {
        true => 0,
        false => *values.select_nth_unstable(middle).1,
    }
}

/// A run of numbers.
#[derive(Clone, Copy)]
struct Bin {
    low: i64,
    high: i64,
    count: u64,
    /// Bits of all its numbers and of the bin itself, times 256.
    cost: u64,
}

impl Bin {
    /// Of `count` numbers among `total`.
    fn new(low: i64, high: i64, count: u64, total: u64) -> Self {
        let mut bin = Self { low, high, count, cost: 0 };
        let code = log2(total).saturating_sub(log2(count));
        bin.cost = count * (code + u64::from(bin.place_bits()) * 256) + BIN_BITS * 256;
        bin
    }

    fn place_bits(&self) -> u32 {
        let span = self.high.wrapping_sub(self.low).cast_unsigned();
        u64::BITS - span.leading_zeros()
    }

    /// This one and the next as one, if a place in it fits.
    fn with(&self, next: &Self, total: u64) -> Option<Self> {
        let both = Self::new(self.low, next.high, self.count + next.count, total);
        (both.place_bits() <= PLACE_BITS_MAX).then_some(both)
    }
}

/// The logarithm to base 2 of a number of at least 1, times 256. Without floating point, so that
/// the same rows make the same bytes everywhere.
fn log2(number: u64) -> u64 {
    let number = number.max(1);
    let whole = number.ilog2();
    // 1 to 2, in units of 2^-31.
    let mut rest = number << number.leading_zeros() >> 32;
    let mut log = u64::from(whole);
    for _ in 0..8 {
        rest = (rest * rest) >> 31;
        let more = rest >> 32;
        log = log * 2 + more;
        rest >>= more;
    }
    log
}

/// Bins of about as many numbers each, so many times those of a [`BINS_MAX`]th; a number that comes
/// often is one of its own.
fn first_bins(sorted: &[i64], times: usize) -> Vec<Bin> {
    let total = sorted.len() as u64;
    let often = (sorted.len() * times / BINS_MAX).max(1) as u64;
    let mut bins: Vec<(i64, i64, u64)> = Vec::new();
    let mut open = false;
    for equal in sorted.chunk_by(|a, b| a == b) {
        let (Some(&value), count) = (equal.first(), equal.len() as u64) else { continue };
        let fits = |&(low, _, before): &(i64, i64, u64)| {
            let place = u64::BITS - value.wrapping_sub(low).cast_unsigned().leading_zeros();
            before + count <= often && place <= PLACE_BITS_MAX
        };
        match bins.last_mut().filter(|last| open && count < often && fits(last)) {
            Some(last) => (last.1, last.2) = (value, last.2 + count),
            None => bins.push((value, value, count)),
        }
        open = count < often;
    }
    bins.into_iter().map(|(low, high, count)| Bin::new(low, high, count, total)).collect()
}

/// Joins neighbours where that saves bits; whether any were joined.
fn join(bins: &mut Vec<Bin>, total: u64) -> bool {
    let before = bins.len();
    let mut joined: Vec<Bin> = Vec::with_capacity(before);
    for bin in bins.iter() {
        if let Some(last) = joined.last_mut()
            && let Some(both) = last.with(bin, total)
            && both.cost < last.cost + bin.cost
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

/// Bits of the code of each of these counts.
fn huffman(counts: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut leaves: Vec<(u64, usize)> = counts.enumerate().map(|(at, count)| (count, at)).collect();
    leaves.sort_unstable();
    // Joins of two come in the order of their counts: the next rarest is the first of them that is
    // left, or the first leaf that is left.
    let mut parents = vec![0; leaves.len()];
    let mut joins: Vec<(u64, usize)> = Vec::with_capacity(leaves.len());
    let (mut leaf, mut join) = (0, 0);
    let mut rarest = |joins: &[(u64, usize)]| {
        let next = (leaves.get(leaf), joins.get(join));
        let is_leaf = matches!(next, (Some(leaf), join) if join.is_none_or(|join| leaf < join));
        (leaf, join) = (leaf + usize::from(is_leaf), join + usize::from(!is_leaf));
        if is_leaf { next.0.copied() } else { next.1.copied() }
    };
    for parent in leaves.len()..(2 * leaves.len()).saturating_sub(1) {
        let (Some((a, first)), Some((b, second))) = (rarest(&joins), rarest(&joins)) else { break };
        parents.push(0);
        for child in [first, second] {
            if let Some(place) = parents.get_mut(child) {
                *place = parent;
            }
        }
        joins.push((a + b, parent));
    }
    // The last node is the root; every other one is below a later one.
    let mut depths = vec![0u8; parents.len()];
    for node in (0..parents.len().saturating_sub(1)).rev() {
        let above = parents.get(node).and_then(|&parent| depths.get(parent)).copied();
        if let (Some(place), Some(above)) = (depths.get_mut(node), above) {
            *place = above.saturating_add(1);
        }
    }
    depths.truncate(leaves.len());
    depths
}

/// Numbers, and the bins to write them with.
pub(super) struct Plan {
    numbers: Numbers,
    bins: Vec<Bin>,
}

impl Plan {
    pub(super) fn look(&self) -> Look {
        self.numbers.look
    }

    /// How many values it is of.
    pub(super) fn count(&self) -> usize {
        self.numbers.count
    }

    /// Bits of the streams and of the table, by guess.
    pub(super) fn bits(&self) -> u64 {
        self.bins.iter().map(|bin| bin.cost).sum::<u64>() / 256
    }

    /// Bytes of a page of so many values like these, by guess.
    pub(super) fn bytes_of(&self, count: usize) -> usize {
        let table = self.bins.len() as u64 * BIN_BITS;
        let streams = (self.bits() - table) as usize / 8 * count / self.numbers.count.max(1);
        // A stream ends with a whole byte.
        let groups = count.div_ceil(GROUP_VALUES) * (ENTRY_BYTES + STREAMS / 2);
        size_of::<Header>() + table as usize / 8 + streams + groups + TAIL_BYTES
    }

    /// Appends the page of these numbers.
    pub(super) fn write(&self, units: &Units, out: &mut Vec<u8>) {
        let start = out.len();
        let narrow = self.bins.iter().all(|bin| i32::try_from(bin.low).is_ok());
        let low_bytes = if narrow { 4 } else { 8 };
        let header = Header {
            offset: units.offset,
            multiplier: units.multiplier,
            group_count: self.numbers.bases.len() as u32,
            bin_count: self.bins.len() as u16,
            low_bytes: low_bytes as u8,
            reserved: [0; 9],
        };
        let counts: Vec<u64> = self.bins.iter().map(|bin| bin.count).collect();
        let code_bits = code_lengths(&counts);
        out.extend_from_slice(bytemuck::bytes_of(&header));
        for bin in &self.bins {
            out.extend(bin.low.to_le_bytes().into_iter().take(low_bytes));
        }
        out.extend(self.bins.iter().map(|bin| bin.place_bits() as u8));
        out.extend_from_slice(&code_bits);
        let directory = out.len();
        out.resize(directory + self.numbers.bases.len() * ENTRY_BYTES, 0);
        let tokens = Tokens::new(&self.bins, &code_bits);
        let mut streams = [const { BitWriter::new() }; STREAMS];
        let per_group = GROUP_VALUES - usize::from(self.numbers.look == Look::Differences);
        let mut groups = self.numbers.numbers.chunks(per_group);
        for (index, &base) in self.numbers.bases.iter().enumerate() {
            for four in groups.next().unwrap_or_default().chunks(STREAMS) {
                for (stream, &number) in streams.iter_mut().zip(four) {
                    let (token, bits) = tokens.of(number);
                    stream.put(token, bits);
                }
            }
            let data_offset = (out.len() - start) as u32;
            let [a, b, c, _] = streams.each_mut().map(|stream| stream.end(out));
            let entry = Entry::new(base, data_offset, [a, b, c]);
            let at = directory + index * ENTRY_BYTES;
            if let Some(place) = out.get_mut(at..at + ENTRY_BYTES) {
                place.copy_from_slice(bytemuck::bytes_of(&entry));
            }
        }
        out.resize(out.len() + TAIL_BYTES, 0);
    }
}

/// How the numbers of each bin are written.
struct Tokens {
    finder: Finder,
    bins: Vec<Token>,
}

#[derive(Clone, Copy, Default)]
struct Token {
    low: i64,
    /// First bit lowest.
    code: u64,
    code_bits: u32,
    /// Of code and place.
    bits: u32,
}

impl Tokens {
    fn new(bins: &[Bin], code_bits: &[u8]) -> Self {
        let finder = Finder::new(bins.iter().map(|bin| bin.low));
        let token = |bin: &Bin| Token { low: bin.low, bits: bin.place_bits(), ..Token::default() };
        let mut tokens: Vec<Token> = bins.iter().map(token).collect();
        let mut next = 0;
        for (bin, bits) in codes_in_order(code_bits) {
            if let Some(token) = tokens.get_mut(bin) {
                token.code = reversed(next, bits) as u64;
                token.code_bits = bits;
                token.bits += bits;
            }
            next += 1 << (CODE_BITS_MAX - bits);
        }
        Self { finder, bins: tokens }
    }

    /// Code and place of a number, and how many bits they have.
    #[inline]
    fn of(&self, number: i64) -> (u64, u32) {
        let near = self.bins.get(self.finder.find(number)).unwrap_or_default();
        let after = near.partition_point(|token| token.low <= number);
        let token = near.get(after.saturating_sub(1)).copied().unwrap_or_default();
        let place = number.wrapping_sub(token.low).cast_unsigned();
        (token.code | place << token.code_bits, token.bits)
    }
}

/// Bytes that a stream of a group may take, with a word behind them.
const STREAM_BYTES: usize =
    GROUP_VALUES / STREAMS * (CODE_BITS_MAX + PLACE_BITS_MAX) as usize / 8 + 8;

/// A stream of bits, the first one lowest in its byte.
struct BitWriter {
    bytes: [u8; STREAM_BYTES],
    /// Whole bytes so far.
    len: usize,
    /// What follows them, less than a byte.
    word: u64,
    bits: u32,
}

impl BitWriter {
    const fn new() -> Self {
        Self { bytes: [0; STREAM_BYTES], len: 0, word: 0, bits: 0 }
    }

    /// Adds a number of at most 56 bits.
    #[inline]
    fn put(&mut self, number: u64, bits: u32) {
        self.word |= number << self.bits;
        self.bits += bits;
        let behind = self.bytes.get_mut(self.len..).unwrap_or_default();
        if let Some(place) = behind.first_chunk_mut::<8>() {
            *place = self.word.to_le_bytes();
        }
        let whole = self.bits / 8;
        self.len += whole as usize;
        self.word >>= whole * 8;
        self.bits %= 8;
    }

    /// Fills up the last byte, appends all to `out` and begins anew; how many bytes there were.
    fn end(&mut self, out: &mut Vec<u8>) -> u16 {
        let len = self.len + usize::from(self.bits > 0);
        out.extend_from_slice(self.bytes.get(..len).unwrap_or_default());
        (self.len, self.word, self.bits) = (0, 0, 0);
        len as u16
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, IntegerPage, encode_compact};
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
