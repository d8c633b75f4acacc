//! Which keys the window of a ladder covers, and where each lies.

/// Slots of the smallest window.
const SLOTS_MIN: usize = 1 << 10;

/// Slots of the largest window. With one cent to the slot it reaches 2,600 dollars, which covers
/// 95 to 99 % of the updates of every reference capture; its directory takes 64 KiB.
pub(super) const SLOTS_MAX: usize = 1 << 18;

/// Slots that a window may have for each level it was made for, so that a book of few levels
/// stays small.
const SLOTS_PER_LEVEL_MAX: usize = 128;

/// Levels from which a common divisor of prices is taken for the price increment. Fewer share one
/// by chance.
const LEARN_LEVELS_MIN: usize = 32;

/// Levels ahead of the one the window is placed by: a few absurd prices at the touch do not draw
/// it away from the market.
const ANCHOR_RANK: usize = 16;

/// A run of equally spaced keys: `base`, `base + increment`, ...
///
/// The run lies inside the range of `i64`; `slots` x `increment` is at most 2^62.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    base: i64,
    increment: i64,
    /// Inverse, modulo 2^64, of the odd part of the increment.
    inverse: u64,
    /// How often 2 divides the increment.
    twos: u32,
    slots: usize,
}

impl Default for Grid {
    /// Covers no key.
    fn default() -> Self {
        Self { base: 0, increment: 1, inverse: 1, twos: 0, slots: 0 }
    }
}

impl Grid {
    /// The smallest grid, around one key.
    pub(super) fn around(key: i64) -> Self {
        Self::placed(key, 1, SLOTS_MIN)
    }

    /// A grid for `count` levels, of which `key` gives the keys, best (largest) first, with at
    /// least `slots_min` slots.
    pub(super) fn fit(count: usize, key: impl Fn(usize) -> i64, slots_min: usize) -> Self {
        let anchor = key(ANCHOR_RANK.min(count / 2));
        let increment = match count {
            0..LEARN_LEVELS_MIN => 1,
            _ => common_increment(anchor, (0..count).map(&key)),
        };
        // The last levels are often absurd prices; they must not stretch the window.
        let last = key(count - 1 - count / 32);
        let span = anchor.wrapping_sub(last).cast_unsigned() / increment.cast_unsigned();
        let wanted = usize::try_from(span).unwrap_or(SLOTS_MAX).min(SLOTS_MAX) / 3 * 4;
        let slots = wanted.next_power_of_two().min(affordable_slots(count));
        Self::placed(anchor, increment, slots.max(slots_min).max(SLOTS_MIN))
    }

    /// Three quarters of the slots below `anchor`, as far as `i64` reaches.
    fn placed(anchor: i64, increment: i64, mut slots: usize) -> Self {
        let inside = |slots: usize| (slots as i128) * i128::from(increment) <= 1 << 62;
        while slots > 64 && !inside(slots) {
            slots /= 2;
        }
        let increment = if inside(slots) { increment } else { 1 };
        let (wide, slot_count) = (i128::from(increment), slots as i128);
        let below = (i128::from(anchor) - i128::from(i64::MIN)) / wide;
        let above = (i128::from(i64::MAX) - i128::from(anchor)) / wide;
        let under = (slot_count * 3 / 4).max(slot_count - 1 - above).min(below);
        let base = (i128::from(anchor) - under * wide) as i64;
        let twos = increment.trailing_zeros();
        Self { base, increment, inverse: inverse((increment >> twos).cast_unsigned()), twos, slots }
    }

    /// The slot of `key`; a number not below [`Grid::slots`] if it has none.
    ///
    /// Exact division without dividing: a difference that is a multiple of the increment gives the
    /// quotient; any other gives more than 2^64 / increment, which is above every slot.
    #[inline]
    pub(super) fn slot(&self, key: i64) -> usize {
        let distance = key.wrapping_sub(self.base).cast_unsigned();
        let slot = distance.wrapping_mul(self.inverse).rotate_right(self.twos);
        usize::try_from(slot).unwrap_or(usize::MAX)
    }

    /// The key of a slot of this grid.
    #[inline]
    pub(super) fn key(&self, slot: usize) -> i64 {
        self.base + slot as i64 * self.increment
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Whether a grid of four times the slots would have one for `key`, which has none here.
    pub(super) fn is_near(&self, key: i64) -> bool {
        let distance = i128::from(key) - i128::from(self.base);
        let (increment, slots) = (i128::from(self.increment), self.slots as i128);
        distance % increment == 0 && (-3 * slots..2 * slots).contains(&(distance / increment))
    }

    /// Whether `other` would do no better: this has its increment and slots, and what that is
    /// placed by does not lie near an end of this.
    pub(super) fn is_as_good_as(&self, other: &Self) -> bool {
        let anchor = self.slot(other.key(other.slots * 3 / 4));
        other.increment == self.increment
            && other.slots == self.slots
            && (self.slots / 4..self.slots / 16 * 15).contains(&anchor)
    }

    /// The same place with twice the slots, or as many as `count` levels may have.
    pub(super) fn doubled(&self, count: usize) -> Self {
        let slots = (self.slots * 2).min(affordable_slots(count)).max(self.slots);
        Self::placed(self.key(self.slots * 3 / 4), self.increment, slots)
    }
}

/// Slots that a window for `count` levels may have.
fn affordable_slots(count: usize) -> usize {
    let slots = count.saturating_mul(SLOTS_PER_LEVEL_MAX).clamp(SLOTS_MIN, SLOTS_MAX);
    slots.next_power_of_two()
}

/// The largest number that divides the distance of every key from `anchor`; 1 if there is no
/// other key.
fn common_increment(anchor: i64, keys: impl Iterator<Item = i64>) -> i64 {
    let mut common = 0u64;
    let (mut odd_inverse, mut twos, mut quotient_max) = (1u64, 0, 0);
    for key in keys {
        let distance = key.abs_diff(anchor);
        if distance.wrapping_mul(odd_inverse).rotate_right(twos) <= quotient_max {
            continue;
        }
        common = gcd(common, distance);
        if common == 1 {
            break;
        }
        twos = common.trailing_zeros();
        odd_inverse = inverse(common >> twos);
        quotient_max = u64::MAX / common;
    }
    i64::try_from(common).unwrap_or(1).max(1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The number that gives 1 when multiplied by an odd number, modulo 2^64.
fn inverse(odd: u64) -> u64 {
    // Newton's step doubles the correct low bits; an odd number is its own inverse in three.
    let mut inverse = odd;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn inverses_multiply_to_one() {
        for odd in [1, 3, 5, 25, 78_125, u64::MAX, (1 << 40) + 1] {
            assert_eq!(odd.wrapping_mul(inverse(odd)), 1, "{odd}");
        }
    }

    #[test]
    fn increments_are_learned_from_enough_levels_only() {
        let keys = |count: usize, unit: i64| {
            let key = move |index: usize| 1_000_000 - index as i64 * unit;
            Grid::fit(count, key, 0).increment
        };
        assert_eq!(keys(31, 25), 1);
        assert_eq!(keys(32, 25), 25);
        assert_eq!(keys(500, 10_000_000_000), 10_000_000_000);
        assert_eq!(keys(40, 1), 1);
        let one_odd = |index: usize| if index == 39 { 3 } else { 1_000_000 - index as i64 * 50 };
        assert_eq!(Grid::fit(40, one_odd, 0).increment, 1);
        assert_eq!(common_increment(5, [5, 5].into_iter()), 1);
    }

    #[test]
    fn the_size_follows_the_span_but_not_absurd_prices_nor_few_levels() {
        let dense = |index: usize| 1_000_000 - index as i64;
        assert_eq!(Grid::fit(400, dense, 0).slots(), 1 << 10);
        assert_eq!(Grid::fit(4000, dense, 0).slots(), 1 << 13);
        assert_eq!(Grid::fit(400, dense, 1 << 12).slots(), 1 << 12);
        let tail = |index: usize| if index >= 395 { -900_000_000 } else { dense(index) };
        assert_eq!(Grid::fit(400, tail, 0).slots(), 1 << 10);
        let wide = |index: usize| i64::MAX - index as i64 * 1_000_003 - (index as i64 & 1);
        assert_eq!(Grid::fit(5, wide, 0).slots(), SLOTS_MIN);
        assert_eq!(Grid::fit(100_000, wide, 0).slots(), SLOTS_MAX);
    }

    proptest! {
        #[test]
        fn exactly_the_keys_of_the_run_have_slots(
            anchor in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(0i64)],
            increment in
                prop_oneof![Just(1i64), Just(5), Just(1 << 44), 1i64..1000, 1i64..i64::MAX],
            bits in 6u32..=18,
            key in any::<i64>(),
            near in -600_000i64..600_000,
        ) {
            let grid = Grid::placed(anchor, increment, 1 << bits);
            let expected = |key: i64| {
                let distance = i128::from(key) - i128::from(grid.base);
                let slot = distance / i128::from(grid.increment);
                let inside = (0..grid.slots as i128).contains(&slot);
                (distance >= 0 && distance % i128::from(grid.increment) == 0 && inside)
                    .then_some(slot as usize)
            };
            let found = |key: i64| {
                let slot = grid.slot(key);
                (slot < grid.slots()).then_some(slot)
            };
            for key in [
                key,
                anchor,
                anchor.wrapping_add(near),
                anchor.wrapping_add(near.wrapping_mul(increment)),
                grid.base,
                grid.key(grid.slots - 1),
                grid.base.wrapping_sub(1),
                i64::MIN,
                i64::MAX,
            ] {
                prop_assert_eq!(found(key), expected(key), "{}", key);
                if let Some(slot) = found(key) {
                    prop_assert_eq!(grid.key(slot), key);
                }
            }
            prop_assert!(found(anchor).is_some());
        }
    }
}
