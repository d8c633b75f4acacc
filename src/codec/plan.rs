//! How the values of one group are packed in the fewest bytes.

use super::bits;
use crate::quantity::are_within;

/// Of the values of a larger group, so many in every so many tell how it is packed: runs, and a
/// prime, so that what comes again and again, such as levels of a message, is seen whole.
const SAMPLE_RUN: usize = 4;
const SAMPLE_STEP: usize = 31;

/// Widths so near to the one that the sample tells are tried with all values.
const NEAR_WIDTHS: u32 = 2;

/// Values up to which all of a group are looked at.
const SMALL: usize = 512;

/// Widths that a number may have: 0 to 64.
const WIDTHS: usize = 65;

/// Bytes of an exception and its position, at least.
const EXCEPTION_BYTES_MIN: usize = 3;

/// Values that are looked at together for the smallest and the largest one.
const CHUNK_VALUES: usize = 32;

/// Bits of a group's values from which those outside a width are not counted: sums would overflow.
const COUNTED_WIDTH_MAX: u32 = 61;

/// How one group is packed.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Subtracted from every value.
    pub base: i64,
    /// Bits of a packed residual.
    pub width: u32,
    /// 0 without exceptions.
    pub exception_bytes: usize,
    /// Bytes of the packed group.
    pub cost: usize,
}

fn bit_len(value: u64) -> usize {
    64 - value.leading_zeros() as usize
}

fn signed_bytes(low: i64, high: i64) -> usize {
    let bits = bit_len((low ^ (low >> 63)) as u64).max(bit_len((high ^ (high >> 63)) as u64)) + 1;
    match bits {
        0..=8 => 1,
        9..=16 => 2,
        17..=32 => 4,
        _ => 8,
    }
}

impl Plan {
    /// The cheapest width: residuals above the minimum, or around the median, with the rest as
    /// exceptions. `count` is the number of packed values, one more for differences.
    pub fn new(values: &[i64], count: usize) -> Self {
        let group = Group::new(values, count);
        let (base, guess) = group.guess();
        if group.sample.len() == values.len() || group.width_of_all(base) > COUNTED_WIDTH_MAX {
            return guess;
        }
        let exact = |width| group.plan(base, width, group.outside(base, width));
        let mut best = exact(guess.width);
        for width in guess.width.saturating_sub(NEAR_WIDTHS)..=guess.width + NEAR_WIDTHS {
            if width != guess.width && bits::packed_len(count, width) < best.cost {
                best = std::cmp::min_by_key(best, exact(width), |plan| plan.cost);
            }
        }
        best
    }

    /// As [`Plan::new`], as far as some of the values tell.
    pub fn guess(values: &[i64], count: usize) -> Self {
        Group::new(values, count).guess().1
    }

    /// Whether a residual needs no exception.
    pub fn holds(&self, residual: u64) -> bool {
        self.width >= 64 || residual >> self.width == 0
    }
}

/// What the packed numbers of a group are distances from.
#[derive(Clone, Copy)]
enum Base {
    Minimum,
    /// Half of the numbers that a width has are below it.
    Median,
}

/// The values of a group, and what is known of them.
struct Group<'a> {
    values: &'a [i64],
    /// How many numbers are packed.
    count: usize,
    min: i64,
    max: i64,
    median: i64,
    sample: Vec<i64>,
}

impl<'a> Group<'a> {
    fn new(values: &'a [i64], count: usize) -> Self {
        let mut sample = Vec::with_capacity(SMALL);
        match values.len() {
            0..=SMALL => sample.extend_from_slice(values),
            _ => values.chunks(SAMPLE_STEP).for_each(|values| {
                sample.extend_from_slice(values.get(..SAMPLE_RUN).unwrap_or(values));
            }),
        }
        let middle = sample.len() / 2;
        let median = match sample.is_empty() {
            true => 0,
            false => *sample.select_nth_unstable(middle).1,
        };
        let (mut min, mut max) = (median, median);
        for values in [&sample[..]].into_iter().chain(values.chunks(CHUNK_VALUES)) {
            if !are_within(values, min, max) {
                (min, max) =
                    values.iter().fold((min, max), |(min, max), &v| (min.min(v), max.max(v)));
            }
        }
        Self { values, count, min, max, median, sample }
    }

    /// A number that has more bits than a width where the value does not fit it.
    fn size(&self, base: Base, value: i64) -> u64 {
        match base {
            Base::Minimum => value.wrapping_sub(self.min).cast_unsigned(),
            Base::Median => {
                let off = value.wrapping_sub(self.median);
                ((off << 1) ^ (off >> 63)).cast_unsigned()
            }
        }
    }

    /// The width that needs no exceptions.
    fn width_of_all(&self, base: Base) -> u32 {
        let bits = |value| bit_len(self.size(base, value)) as u32;
        match self.max.checked_sub(self.min) {
            Some(_) => bits(self.min).max(bits(self.max)),
            // Sizes around the median wrap around.
            None => u64::BITS,
        }
    }

    fn plan(&self, base: Base, width: u32, exceptions: usize) -> Plan {
        let base = match base {
            Base::Minimum => self.min,
            Base::Median if width == 0 => self.median,
            Base::Median => self.median.wrapping_sub(1i64.wrapping_shl(width - 1)),
        };
        let (low, high) = (self.min.checked_sub(base), self.max.checked_sub(base));
        let exception_bytes = match (exceptions, low, high) {
            (0, ..) => 0,
            (_, Some(low), Some(high)) => signed_bytes(low, high),
            _ => 8,
        };
        let cost = bits::packed_len(self.count, width)
            + (exceptions * (2 + exception_bytes)).next_multiple_of(8);
        Plan { base, width, exception_bytes, cost }
    }

    /// The cheapest width and its base, as far as the sample tells.
    fn guess(&self) -> (Base, Plan) {
        let above = count_bits(&self.sample, |value| self.size(Base::Minimum, value));
        let around = count_bits(&self.sample, |value| self.size(Base::Median, value));
        let above = self.guess_by(Base::Minimum, &above);
        let around = self.guess_by(Base::Median, &around);
        match (around.cost, around.width) < (above.cost, above.width) {
            true => (Base::Median, around),
            false => (Base::Minimum, above),
        }
    }

    /// As [`Group::guess`], by how many values of the sample have each width.
    fn guess_by(&self, base: Base, counts: &Counts) -> Plan {
        let width_of_all = self.width_of_all(base);
        let mut best = self.plan(base, width_of_all, 0);
        let mut outside = 0;
        for width in (0..width_of_all).rev() {
            let wider = counts.iter().filter_map(|counts| counts.get(width as usize + 1));
            outside += wider.map(|&count| usize::from(count)).sum::<usize>();
            let exceptions = (outside * self.values.len() / self.sample.len()).max(1);
            if exceptions * EXCEPTION_BYTES_MIN > best.cost {
                break;
            }
            let plan = self.plan(base, width, exceptions);
            if plan.cost <= best.cost {
                best = plan;
            }
        }
        best
    }

    /// How many values do not fit a width.
    fn outside(&self, base: Base, width: u32) -> usize {
        if width >= self.width_of_all(base) {
            return 0;
        }
        let base = self.plan(base, width, 0).base;
        let most = (1i64 << width) - 1;
        // The sign of a number that is below 0 or above the most, without a comparison.
        let outside = |number: i64| (number | (most - number)).cast_unsigned() >> 63;
        let numbers = self.values.iter().map(|value| value.wrapping_sub(base));
        numbers.map(outside).sum::<u64>() as usize
    }
}

/// How many values of a sample become a number of 0, 1, ... 64 bits; to be added up. Side by side,
/// since adding to a count that was added to just now has to wait for it.
type Counts = [[u16; WIDTHS]; 4];

fn count_bits(sample: &[i64], number: impl Fn(i64) -> u64) -> Counts {
    let mut counts = [[0; WIDTHS]; 4];
    for values in sample.chunks(4) {
        for (counts, &value) in counts.iter_mut().zip(values) {
            if let Some(count) = counts.get_mut(bit_len(number(value))) {
                *count += 1;
            }
        }
    }
    counts
}
