//! The price that all instruments of one underlying follow.

use super::random::Random;

/// How long one step of the path lasts.
const STEP_NS: i64 = 100_000_000;

/// Parts of the path's unit: a position is in 10^-7 of the first price.
const UNIT: i64 = 10_000_000;

/// A random walk with a jump now and then.
#[derive(Debug)]
pub(super) struct Reference {
    positions: Vec<i64>,
}

impl Reference {
    /// A walk of `duration_ns`, as `random` has it.
    pub fn new(mut random: Random, duration_ns: i64) -> Self {
        let mut position = 0i64;
        let steps = duration_ns.max(0) / STEP_NS + 2;
        let positions = (0..steps).map(|_| {
            let stride = if random.chance(4) { 2000 } else { 240 };
            position += random.below(2 * stride + 1) - stride;
            // A pull back keeps a long walk near where it began.
            position -= position / 4096;
            position
        });
        Self { positions: positions.collect() }
    }

    /// The price `elapsed_ns` after the beginning, if the first one was `first`.
    pub fn price(&self, first: i64, elapsed_ns: i64) -> i64 {
        let index = usize::try_from(elapsed_ns / STEP_NS).unwrap_or(0);
        let position = self.positions.get(index).or(self.positions.last()).copied().unwrap_or(0);
        let moved = i128::from(first) * i128::from(position) / i128::from(UNIT);
        first + i64::try_from(moved).unwrap_or(0)
    }
}
