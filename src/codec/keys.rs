//! Numbers by their sign, size and first bits: near enough to their order to sort and find them by.

use std::ops::{Range, RangeInclusive};

/// Bits behind the first one that a key holds; numbers of no more bits have a key of their own.
const KEY_BITS: u32 = 6;
/// Keys of numbers not below 0, and as many of those below.
const HALF: usize = ((u64::BITS - KEY_BITS) as usize) << KEY_BITS;
const KEYS: usize = 2 * HALF;

/// Keys of one number each.
const EXACT: Range<usize> = HALF - (2 << KEY_BITS)..HALF + (2 << KEY_BITS);

/// Numbers from which sorting by keys pays.
const MANY: usize = KEYS / 2;

/// The key of a number, never above that of a larger number.
fn key(number: i64) -> usize {
    let below = number >> (i64::BITS - 1);
    let size = (number ^ below).cast_unsigned();
    let shift = (size | 1 << KEY_BITS).ilog2() - KEY_BITS;
    let key = i64::from(shift << KEY_BITS) + (size >> shift).cast_signed();
    (HALF as i64 + (key ^ below)) as usize
}

/// The numbers in order.
pub(super) fn sorted(numbers: &[i64]) -> Vec<i64> {
    if numbers.len() < MANY {
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        return sorted;
    }
    let mut places = vec![0; KEYS];
    for &number in numbers {
        if let Some(count) = places.get_mut(key(number)) {
            *count += 1;
        }
    }
    let mut next = 0;
    for place in &mut places {
        (*place, next) = (next, next + *place);
    }
    let mut sorted = vec![0; numbers.len()];
    for &number in numbers {
        if let Some(place) = places.get_mut(key(number)) {
            if let Some(slot) = sorted.get_mut(*place) {
                *slot = number;
            }
            *place += 1;
        }
    }
    // Each place has moved to the end of the numbers of its key.
    let mut start = 0;
    for (key, end) in places.into_iter().enumerate() {
        let alike = sorted.get_mut(start..end).unwrap_or_default();
        if !EXACT.contains(&key) {
            alike.sort_unstable();
        }
        start = end;
    }
    sorted
}

/// Which of some runs of numbers holds a number.
pub(super) struct Finder {
    /// The run that holds the lowest number of each key.
    runs: Vec<u8>,
}

impl Finder {
    /// Of at most 256 runs that begin with these numbers, rising; each ends before the next.
    pub(super) fn new(lows: impl Iterator<Item = i64>) -> Self {
        let mut runs = vec![0; KEYS + 1];
        let (mut start, mut run) = (0, 0);
        for (next, low) in (0..=u8::MAX).zip(lows) {
            let is_lowest = low.checked_sub(1).is_none_or(|before| key(before) < key(low));
            let end = key(low) + usize::from(!is_lowest);
            runs.get_mut(start..end).unwrap_or_default().fill(run);
            (start, run) = (end, next);
        }
        runs.get_mut(start..).unwrap_or_default().fill(run);
        Self { runs }
    }

    /// The first and the last run that may hold `number`, which is in one of them.
    pub(super) fn find(&self, number: i64) -> RangeInclusive<usize> {
        let key = key(number);
        let run = |key: usize| usize::from(self.runs.get(key).copied().unwrap_or_default());
        run(key)..=run(key + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_size() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0u32..64).prop_map(|(number, bits)| number >> bits)
    }

    #[test]
    fn keys_begin_and_end_with_the_smallest_and_the_largest_number() {
        assert_eq!((key(i64::MIN), key(-1), key(0), key(i64::MAX)), (0, HALF - 1, HALF, KEYS - 1));
        let small: Vec<usize> = (-128..128).map(key).collect();
        assert!(small.is_sorted_by(|a, b| a < b));
    }

    proptest! {
        #[test]
        fn many_numbers_are_sorted_as_few_are(
            numbers in prop::collection::vec(any_size(), MANY..2 * MANY),
        ) {
            let mut expected = numbers.clone();
            expected.sort_unstable();
            prop_assert_eq!(sorted(&numbers), expected);
        }

        #[test]
        fn the_run_of_a_number_is_among_those_found(
            lows in prop::collection::btree_set(any_size(), 1..=256),
            numbers in prop::collection::vec(any_size(), 100),
        ) {
            let lows: Vec<i64> = lows.into_iter().collect();
            let finder = Finder::new(lows.iter().copied());
            for number in numbers.into_iter().chain(lows.clone()) {
                if let Some(run) = lows.partition_point(|&low| low <= number).checked_sub(1) {
                    prop_assert!(finder.find(number).contains(&run));
                }
            }
        }
    }
}
