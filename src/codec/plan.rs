//! How the values of one group are packed in the fewest bytes.

use super::bits;

/// Values of a full group that its median is taken of.
const MEDIAN_VALUES: usize = 128;

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
        let first = values.first().copied().unwrap_or(0);
        let (min, max) =
            values.iter().fold((first, first), |(min, max), &v| (min.min(v), max.max(v)));
        let median = median(values);
        let above = count_bits(values, |value| value.wrapping_sub(min).cast_unsigned());
        let around = count_bits(values, |value| {
            let off = value.wrapping_sub(median);
            ((off << 1) ^ (off >> 63)).cast_unsigned()
        });
        let mut best = Self { base: min, width: 64, exception_bytes: 0, cost: usize::MAX };
        let (mut inside_above, mut inside_around) = (0, 0);
        for ((width, above), around) in (0u32..).zip(above).zip(around) {
            inside_above += above;
            inside_around += around;
            let half = if width == 0 { 0 } else { 1i64.wrapping_shl(width - 1) };
            let bases = [(min, inside_above), (median.wrapping_sub(half), inside_around)];
            for (base, inside) in bases {
                let exceptions = values.len() - inside;
                let (low, high) = (min.checked_sub(base), max.checked_sub(base));
                let exception_bytes = match (exceptions, low, high) {
                    (0, ..) => 0,
                    (_, Some(low), Some(high)) => signed_bytes(low, high),
                    _ => 8,
                };
                let cost = bits::packed_len(count, width)
                    + (exceptions * (2 + exception_bytes)).next_multiple_of(8);
                if cost < best.cost {
                    best = Self { base, width, exception_bytes, cost };
                }
            }
            if inside_above.min(inside_around) == values.len() {
                // Without exceptions, more bits only cost more.
                break;
            }
        }
        best
    }

    /// Whether a residual needs no exception.
    pub fn holds(&self, residual: u64) -> bool {
        self.width >= 64 || residual >> self.width == 0
    }
}

/// How many values of a group become a number of 0, 1, ... 64 bits.
fn count_bits(values: &[i64], number: impl Fn(i64) -> u64) -> [usize; 65] {
    // Side by side, since adding to a count that was added to just now has to wait for it.
    let mut counts = [[0u32; 65]; 4];
    let (fours, rest) = values.as_chunks::<4>();
    for values in fours.iter().map(|four| four.as_slice()).chain([rest]) {
        for (counts, &value) in counts.iter_mut().zip(values) {
            if let Some(count) = counts.get_mut(bit_len(number(value))) {
                *count += 1;
            }
        }
    }
    let [a, b, c, d] = counts;
    let mut sums = [0; 65];
    for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *sum = (a + b + c + d) as usize;
    }
    sums
}

/// A value near the middle one of a group: of enough values, but not of all.
fn median(values: &[i64]) -> i64 {
    let step = (values.len() / MEDIAN_VALUES).max(1);
    let mut sample: Vec<i64> = values.iter().copied().step_by(step).collect();
    let middle = sample.len() / 2;
    match sample.is_empty() {
        true => 0,
        false => *sample.select_nth_unstable(middle).1,
    }
}
