//! Which prices the window of a ladder covers, and where each lies.

use crate::event::Side;

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

/// How far a window may reach: a few times as far still fits an `i64`.
const REACH_MAX: i128 = 1 << 60;

/// A run of equally spaced prices, from the worst, which has slot 0, to the best.
///
/// A price has a key that is larger the better it is: the price itself for bids, its bitwise
/// complement for asks (which, unlike the negative, exists for every `i64`). The run lies inside
/// the range of `i64`; slots times increment is at most [`REACH_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Price of slot 0.
    origin: i64,
    /// From a slot's price to the next: the price increment for bids, its negative for asks.
    stride: i64,
    /// Inverse, modulo 2^64, of what is left of the stride without its twos.
    inverse: u64,
    /// How often 2 divides the stride.
    twos: u32,
    slots: usize,
    /// 0 for bids, -1 for asks: `key = price ^ flip`.
    flip: i64,
}

impl Grid {
    /// Covers no price.
    pub(super) fn none(side: Side) -> Self {
        let (flip, stride) = match side {
            Side::Bid => (0, 1),
            Side::Ask => (-1, -1),
        };
        Self { origin: 0, stride, inverse: stride.cast_unsigned(), twos: 0, slots: 0, flip }
    }

    /// The smallest grid of the same side, around one price.
    pub(super) fn around(&self, price: i64) -> Self {
        self.placed(price ^ self.flip, 1, SLOTS_MIN)
    }

    /// A grid of the same side for `count` levels, of which `key` gives the keys, best first, with
    /// at least `slots_min` slots.
    pub(super) fn fit(&self, count: usize, key: impl Fn(usize) -> i64, slots_min: usize) -> Self {
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
        self.placed(anchor, increment, slots.max(slots_min).max(SLOTS_MIN))
    }

    /// Three quarters of the slots below the key `anchor`, as far as `i64` reaches.
    fn placed(&self, anchor: i64, increment: i64, mut slots: usize) -> Self {
        let inside = |slots: usize| (slots as i128) * i128::from(increment) <= REACH_MAX;
        while slots > 64 && !inside(slots) {
            slots /= 2;
        }
        let increment = if inside(slots) { increment } else { 1 };
        let (wide, slot_count) = (i128::from(increment), slots as i128);
        let below = (i128::from(anchor) - i128::from(i64::MIN)) / wide;
        let above = (i128::from(i64::MAX) - i128::from(anchor)) / wide;
        let under = (slot_count * 3 / 4).max(slot_count - 1 - above).min(below);
        let key = (i128::from(anchor) - under * wide) as i64;
        let sign = self.flip | 1;
        let twos = increment.trailing_zeros();
        let inverse = inverse((increment >> twos).cast_unsigned());
        Self {
            origin: key ^ self.flip,
            stride: increment * sign,
            inverse: inverse.wrapping_mul(sign.cast_unsigned()),
            twos,
            slots,
            flip: self.flip,
        }
    }

    /// The slot of `price`; a number not below [`Grid::slots`] if it has none.
    ///
    /// Exact division without dividing: a difference that is a multiple of the stride gives the
    /// quotient; any other gives more than 2^64 / stride, which is above every slot.
    #[inline]
    pub(super) fn slot(&self, price: i64) -> usize {
        let distance = price.wrapping_sub(self.origin).cast_unsigned();
        let slot = distance.wrapping_mul(self.inverse).rotate_right(self.twos);
        usize::try_from(slot).unwrap_or(usize::MAX)
    }

    /// The price of a slot of this grid.
    #[inline]
    pub(super) fn price(&self, slot: usize) -> i64 {
        self.origin + slot as i64 * self.stride
    }

    /// The key of a price, and the price of a key.
    #[inline]
    pub(super) fn flip(&self, price: i64) -> i64 {
        price ^ self.flip
    }

    /// The key of a slot of this grid.
    #[inline]
    pub(super) fn key(&self, slot: usize) -> i64 {
        self.flip(self.price(slot))
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Whether a grid that reaches some times as far would have a slot for `price`, which has none
    /// here. A guess where `i64` ends.
    pub(super) fn is_near(&self, price: i64) -> bool {
        let reach = 3 * self.slots as i64 * self.stride;
        self.slot(price.wrapping_add(reach)) < 5 * self.slots
    }

    /// Whether `other` would do no better: this has its stride and slots, and what that is placed
    /// by does not lie near an end of this.
    pub(super) fn is_as_good_as(&self, other: &Self) -> bool {
        let anchor = self.slot(other.price(other.slots * 3 / 4));
        other.stride == self.stride
            && other.slots == self.slots
            && (self.slots / 4..self.slots / 16 * 15).contains(&anchor)
    }

    /// The same place with twice the slots, or as many as `count` levels may have.
    pub(super) fn doubled(&self, count: usize) -> Self {
        let slots = (self.slots * 2).min(affordable_slots(count)).max(self.slots);
        self.placed(self.key(self.slots * 3 / 4), self.stride.abs(), slots)
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

    fn fit(count: usize, key: impl Fn(usize) -> i64, slots_min: usize) -> Grid {
        let bids = Grid::none(Side::Bid).fit(count, &key, slots_min);
        let asks = Grid::none(Side::Ask).fit(count, key, slots_min);
        assert_eq!((bids.slots, bids.stride), (asks.slots, -asks.stride));
        bids
    }

    #[test]
    fn increments_are_learned_from_enough_levels_only() {
        let keys = |count: usize, unit: i64| {
            fit(count, move |index: usize| 1_000_000 - index as i64 * unit, 0).stride
        };
        assert_eq!(keys(31, 25), 1);
        assert_eq!(keys(32, 25), 25);
        assert_eq!(keys(500, 10_000_000_000), 10_000_000_000);
        assert_eq!(keys(40, 1), 1);
        let one_odd = |index: usize| if index == 39 { 3 } else { 1_000_000 - index as i64 * 50 };
        assert_eq!(fit(40, one_odd, 0).stride, 1);
        assert_eq!(common_increment(5, [5, 5].into_iter()), 1);
    }

    #[test]
    fn the_size_follows_the_span_but_not_absurd_prices_nor_few_levels() {
        let dense = |index: usize| 1_000_000 - index as i64;
        assert_eq!(fit(400, dense, 0).slots(), 1 << 10);
        assert_eq!(fit(4000, dense, 0).slots(), 1 << 13);
        assert_eq!(fit(400, dense, 1 << 12).slots(), 1 << 12);
        let tail = |index: usize| if index >= 395 { -900_000_000 } else { dense(index) };
        assert_eq!(fit(400, tail, 0).slots(), 1 << 10);
        let wide = |index: usize| i64::MAX - index as i64 * 1_000_003 - (index as i64 & 1);
        assert_eq!(fit(5, wide, 0).slots(), SLOTS_MIN);
        assert_eq!(fit(100_000, wide, 0).slots(), SLOTS_MAX);
    }

    proptest! {
        #[test]
        fn exactly_the_prices_of_the_run_have_slots(
            side in prop_oneof![Just(Side::Bid), Just(Side::Ask)],
            anchor in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(0i64)],
            increment in
                prop_oneof![Just(1i64), Just(5), Just(1 << 44), 1i64..1000, 1i64..i64::MAX],
            bits in 6u32..=18,
            price in any::<i64>(),
            near in -600_000i64..600_000,
        ) {
            let grid = Grid::none(side).placed(anchor, increment, 1 << bits);
            let expected = |price: i64| {
                let distance = i128::from(price) - i128::from(grid.origin);
                let slot = distance / i128::from(grid.stride);
                let inside = (0..grid.slots as i128).contains(&slot);
                (distance % i128::from(grid.stride) == 0 && inside).then_some(slot as usize)
            };
            let found = |price: i64| {
                let slot = grid.slot(price);
                (slot < grid.slots()).then_some(slot)
            };
            let middle = grid.flip(anchor);
            for price in [
                price,
                middle,
                middle.wrapping_add(near),
                middle.wrapping_add(near.wrapping_mul(increment)),
                grid.origin,
                grid.price(grid.slots - 1),
                grid.origin.wrapping_sub(grid.stride),
                i64::MIN,
                i64::MAX,
            ] {
                prop_assert_eq!(found(price), expected(price), "{}", price);
                if let Some(slot) = found(price) {
                    prop_assert_eq!(grid.price(slot), price);
                }
            }
            prop_assert!(found(middle).is_some());
            prop_assert!(grid.key(1) > grid.key(0));
        }
    }
}
