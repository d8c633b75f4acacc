//! What all values of a page share: an offset, and a number that divides every distance from it.

use crate::quantity::NULL;

/// Prices that are multiples of a step, times that are whole milliseconds: values as an offset and
/// how often a multiplier has to be added to it.
#[derive(Clone, Copy)]
pub(super) struct Units {
    pub(super) offset: i64,
    /// At least 1.
    pub(super) multiplier: u64,
    /// Inverse, modulo 2^64, of what is left of the multiplier without its twos.
    inverse: i64,
    /// How often 2 divides the multiplier.
    twos: u32,
}

impl Units {
    /// Of `values`, with the first one as offset. A distance that overflows or a null makes the
    /// multiplier 1.
    pub(super) fn of<T: Copy + Into<i64>>(values: &[T]) -> Self {
        let offset = values.first().map_or(0, |&value| value.into());
        let mut units = Self::new(offset, 0);
        for &value in values.iter().skip(1) {
            let value = value.into();
            let distance = value.checked_sub(offset).filter(|&distance| distance != NULL);
            let Some(distance) = distance.filter(|_| value != NULL) else {
                return Self::new(offset, 1);
            };
            if distance != 0 && !units.divides(distance) {
                let common = greatest_common_divisor(units.multiplier, distance.unsigned_abs());
                units = Self::new(offset, common);
                if common == 1 {
                    break;
                }
            }
        }
        if units.multiplier == 0 { Self::new(offset, 1) } else { units }
    }

    /// A multiplier of 0 divides nothing.
    fn new(offset: i64, multiplier: u64) -> Self {
        let twos = multiplier.trailing_zeros();
        let odd = multiplier.checked_shr(twos).unwrap_or(0).cast_signed();
        // Newton's step doubles the correct low bits; an odd number is its own inverse in three.
        let step =
            |inverse: i64, _| inverse.wrapping_mul(2i64.wrapping_sub(odd.wrapping_mul(inverse)));
        Self { offset, multiplier, inverse: (0..5).fold(odd, step), twos }
    }

    /// How often the multiplier goes into `distance`, if it divides it. Without dividing.
    fn quotient(&self, distance: i64) -> i64 {
        distance.wrapping_shr(self.twos).wrapping_mul(self.inverse)
    }

    fn divides(&self, distance: i64) -> bool {
        let product = self.quotient(distance).checked_mul(self.multiplier.cast_signed());
        product == Some(distance)
    }

    /// Makes `out` these values, in units.
    pub(super) fn reduce<T: Copy + Into<i64>>(&self, values: &[T], out: &mut Vec<i64>) {
        out.clear();
        let distances = values.iter().map(|&value| value.into().wrapping_sub(self.offset));
        match self.multiplier {
            1 => out.extend(distances),
            _ => out.extend(distances.map(|distance| self.quotient(distance))),
        }
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_multiplier_is_the_largest_that_there_is() {
        let multiplier = |values: &[i64]| Units::of(values).multiplier;
        assert_eq!(multiplier(&[7, 7, 7]), 1);
        assert_eq!(multiplier(&[7, 107, -43, 7]), 50);
        assert_eq!(multiplier(&[7, 107, -43, 6]), 1);
        assert_eq!(multiplier(&[0, i64::MAX]), i64::MAX as u64);
        assert_eq!(multiplier(&[-2, i64::MAX]), 1, "the distance overflows");
        assert_eq!(multiplier(&[0, 8, NULL]), 1);
        assert_eq!(multiplier(&[-1, i64::MIN + 1, 1 << 62]), 1);
        assert_eq!(multiplier(&[0, 1 << 62, -(1 << 62)]), 1 << 62);
    }

    proptest! {
        #[test]
        fn values_are_the_offset_and_units(
            values in prop::collection::vec(
                prop_oneof![-1000i64..1000, any::<i64>().prop_map(|value| value >> 34)], 1..50),
            multiple in prop_oneof![1i64..1000, Just(1 << 12), Just(1_000_000)],
        ) {
            let values: Vec<i64> = values.iter().map(|value| value * multiple).collect();
            let units = Units::of(&values);
            let mut reduced = Vec::new();
            units.reduce(&values, &mut reduced);
            let back = |&count: &i64| {
                count.wrapping_mul(units.multiplier as i64).wrapping_add(units.offset)
            };
            prop_assert_eq!(reduced.iter().map(back).collect::<Vec<_>>(), values);
            let common = reduced
                .iter()
                .fold(0, |all, count| greatest_common_divisor(all, count.unsigned_abs()));
            prop_assert!(common <= 1);
        }
    }
}
