//! Random numbers that are the same on every machine: integers only.

/// A generator of the SplitMix64 family; its state is one number.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The generator number `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xA24B_AED4_963E_E407));
        random.next();
        random
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from 0 to `count` - 1, all equally likely; 0 if `count` is below 1.
    pub fn below(&mut self, count: i64) -> i64 {
        let wide = u128::from(self.next()) * u128::from(count.max(1).unsigned_abs());
        (wide >> 64) as i64
    }

    /// True `per_mille` times in 1,000.
    pub fn chance(&mut self, per_mille: i64) -> bool {
        self.below(1000) < per_mille
    }

    /// A number from 0 to 2^(`doublings` + 1) - 2 with a heavy tail: each doubling of the number is
    /// half as likely.
    pub fn heavy(&mut self, doublings: u32) -> i64 {
        let exponent = self.next().trailing_zeros().min(doublings).min(40);
        let size = 1i64 << exponent;
        size - 1 + self.below(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_depend_on_the_machine() {
        let mut random = Random::new(7, 3);

        let first = [random.below(1000), random.below(1000), random.heavy(9), random.heavy(9)];
        assert_eq!(first, [787, 57, 0, 377]);
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_its_ends() {
        let mut random = Random::new(1, 1);
        let drawn: Vec<i64> = (0..100_000).map(|_| random.heavy(4)).collect();

        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&0), Some(&30)));
        let zeros = drawn.iter().filter(|&&number| number == 0).count();
        assert!((49_000..51_000).contains(&zeros), "{zeros}");
        assert!((0..1000).all(|_| random.below(3) < 3));
        assert_eq!(random.below(0), 0);
    }
}
