//! Checksums that venues send with their books, over the text of the best levels.
//!
//! Levels are `(price, qty)` text, best first. A book that was stored can be checked again: the
//! text of a level is the exact decimal, with the digits of its column where the venue writes a
//! fixed number of decimals ([`crate::event::Column::digits`]).

use crc32fast::Hasher;

/// Levels of each side that OKX's checksum covers.
pub const OKX_LEVELS: usize = 25;

/// Levels of each side that Kraken's checksum covers, however deep the subscription is.
pub const KRAKEN_LEVELS: usize = 10;

/// OKX's checksum: the CRC-32, as a signed number, of the best [`OKX_LEVELS`] levels a side with
/// their text as sent, see [`interleaved`]. Bitget uses the same.
pub fn okx<T: AsRef<str>>(
    bids: impl IntoIterator<Item = (T, T)>,
    asks: impl IntoIterator<Item = (T, T)>,
) -> i32 {
    interleaved(bids, asks, OKX_LEVELS).cast_signed()
}

/// CRC-32 of `bid price:bid qty:ask price:ask qty:...` over the best `levels` levels; a side that
/// runs out is skipped.
pub fn interleaved<T: AsRef<str>>(
    bids: impl IntoIterator<Item = (T, T)>,
    asks: impl IntoIterator<Item = (T, T)>,
    levels: usize,
) -> u32 {
    let mut hasher = Hasher::new();
    let mut separator: &[u8] = b"";
    let (mut bids, mut asks) = (bids.into_iter(), asks.into_iter());
    for _ in 0..levels {
        let (bid, ask) = (bids.next(), asks.next());
        if bid.is_none() && ask.is_none() {
            break;
        }
        for (price, qty) in [bid, ask].into_iter().flatten() {
            hasher.update(separator);
            hasher.update(price.as_ref().as_bytes());
            hasher.update(b":");
            hasher.update(qty.as_ref().as_bytes());
            separator = b":";
        }
    }
    hasher.finalize()
}

/// How the sum that the venue sent differs from the one found, in words.
pub fn difference<T: PartialEq + std::fmt::Display>(expected: T, found: T) -> Option<String> {
    (found != expected).then(|| format!("checksum: expected {expected}, found {found}"))
}

/// Kraken's checksum: the CRC-32 of the best [`KRAKEN_LEVELS`] asks, then bids, price and quantity
/// one after another, each without its point and leading zeros.
///
/// The text needs the decimals that the pair has at the venue: `0.10` and `0.1` differ.
pub fn kraken<T: AsRef<str>>(
    bids: impl IntoIterator<Item = (T, T)>,
    asks: impl IntoIterator<Item = (T, T)>,
) -> u32 {
    let mut hasher = Hasher::new();
    let asks = asks.into_iter().take(KRAKEN_LEVELS);
    for (price, qty) in asks.chain(bids.into_iter().take(KRAKEN_LEVELS)) {
        hash_digits(&mut hasher, price.as_ref());
        hash_digits(&mut hasher, qty.as_ref());
    }
    hasher.finalize()
}

fn hash_digits(hasher: &mut Hasher, text: &str) {
    let digits = text.trim_start_matches(['0', '.']);
    for part in digits.split('.') {
        hasher.update(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Levels = &'static [(&'static str, &'static str)];

    #[test]
    fn okx_levels_alternate_and_a_side_that_runs_out_is_skipped() {
        let bids: Levels = &[("3366.1", "7"), ("3366", "6")];
        let asks: Levels = &[("3366.8", "9"), ("3368", "8"), ("3372", "8")];
        let text = b"3366.1:7:3366.8:9:3366:6:3368:8:3372:8";

        let found = okx(bids.iter().copied(), asks.iter().copied());

        assert_eq!(found, crc32fast::hash(text).cast_signed());
        assert_eq!(interleaved(bids.iter().copied(), asks.iter().copied(), 1), {
            crc32fast::hash(b"3366.1:7:3366.8:9")
        });
        assert_eq!(okx::<&str>([], []), 0);
    }

    #[test]
    fn okx_stops_after_25_levels() {
        let side = |count: usize| (0..count).map(|n| (n.to_string(), "1".to_owned()));

        assert_eq!(okx(side(25), side(25)), okx(side(26), side(40)));
        assert_ne!(okx(side(25), side(25)), okx(side(24), side(25)));
    }

    /// The example of Kraken's guide to the version 1 book.
    #[test]
    fn kraken_gives_the_sum_of_the_venues_own_example() {
        let asks: Levels = &[
            ("0.05005", "0.00000500"),
            ("0.05010", "0.00000500"),
            ("0.05015", "0.00000500"),
            ("0.05020", "0.00000500"),
            ("0.05025", "0.00000500"),
            ("0.05030", "0.00000500"),
            ("0.05035", "0.00000500"),
            ("0.05040", "0.00000500"),
            ("0.05045", "0.00000500"),
            ("0.05050", "0.00000500"),
            ("0.05055", "0.00000500"),
        ];
        let bids: Levels = &[
            ("0.05000", "0.00000500"),
            ("0.04995", "0.00000500"),
            ("0.04990", "0.00000500"),
            ("0.04980", "0.00000500"),
            ("0.04975", "0.00000500"),
            ("0.04970", "0.00000500"),
            ("0.04965", "0.00000500"),
            ("0.04960", "0.00000500"),
            ("0.04955", "0.00000500"),
            ("0.04950", "0.00000500"),
        ];

        assert_eq!(kraken(bids.iter().copied(), asks.iter().copied()), 974_947_235);
    }

    #[test]
    fn kraken_drops_the_point_and_leading_zeros_only() {
        let sum = kraken([("0.0500", "10.00")], [("100.5", "0.00")]);

        assert_eq!(sum, crc32fast::hash(b"10055001000"));
        assert_ne!(kraken([("0.10", "1")], []), kraken([("0.1", "1")], []));
    }
}
