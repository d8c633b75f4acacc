//! What can be measured on a book: mid, spread, depth, imbalance, and the price of a quantity.
//!
//! Sums and differences are exact. Only ratios (basis points, imbalance, average prices) are
//! `f64`: the nearest to the exact quotient of two exact numbers, each rounded once. `None` means
//! that there is no such value: a side is missing, the levels do not reach, or the divisor is 0.

use std::fmt;

use super::Book;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Side;
use crate::limit;
use crate::quantity::{Decimal, POW10};

/// Basis points of one.
const BPS: f64 = 10_000.0;

/// An exact decimal of 128 bits: `mantissa` x 10^-`scale`. What sums and products of a book's
/// values need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WideDecimal {
    mantissa: i128,
    scale: u8,
}

impl WideDecimal {
    /// The integer in units of 10^-[`scale`](Self::scale).
    #[must_use]
    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// Decimals after the point that the mantissa holds; at most 36.
    #[must_use]
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// The same value in 64 bits; `None` if it does not fit.
    #[must_use]
    pub fn to_decimal(self) -> Option<Decimal> {
        let Self { mantissa, scale } = self.normalized();
        Decimal::new(i64::try_from(mantissa).ok()?, scale)
    }

    /// The nearest `f64`, for charts and statistics; never stored, never compared.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        let Self { mantissa, scale } = self.normalized();
        mantissa as f64 / 10f64.powi(i32::from(scale))
    }

    /// The same value with the smallest scale.
    fn normalized(self) -> Self {
        let Self { mut mantissa, mut scale } = self;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Self { mantissa, scale }
    }
}

impl fmt::Display for WideDecimal {
    /// The shortest exact text: no trailing zeros, no exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mantissa, scale } = self.normalized();
        let scale = usize::from(scale);
        let digits = format!("{:0>width$}", mantissa.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if mantissa < 0 { "-" } else { "" };
        let point = if scale == 0 { "" } else { "." };
        f.pad(&format!("{sign}{whole}{point}{fraction}"))
    }
}

/// One price on one side with its quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The price.
    pub price: Decimal,
    /// The quantity at it.
    pub qty: Decimal,
}

/// The first levels of a side, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// How many levels there were, at most as many as asked for.
    pub levels: usize,
    /// Their quantities together.
    pub qty: WideDecimal,
    /// Price times quantity of each, together; `None` if it does not fit 128 bits.
    pub notional: Option<WideDecimal>,
}

/// What taking a quantity from a side would have met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// The quantity asked for.
    pub asked: Decimal,
    /// How much of it the levels could give.
    pub filled: WideDecimal,
    /// Price times quantity of what could be given.
    pub notional: WideDecimal,
    /// Levels taken from, the last perhaps in part.
    pub levels: usize,
    /// Price of the last level taken from; `None` if the side is empty.
    pub worst_price: Option<Decimal>,
    /// Average price, the notional over the quantity; `None` unless all could be filled.
    pub price: Option<f64>,
    /// How much worse than mid the average price is, in basis points of mid: positive is a cost to
    /// whoever takes. `None` unless all could be filled and there is a mid other than 0.
    pub slippage_bps: Option<f64>,
}

impl Fill {
    /// Whether all that was asked for could be filled.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.price.is_some()
    }
}

impl Book {
    /// The best level of a side.
    #[must_use]
    pub fn top(&self, side: Side) -> Option<Level> {
        let (price, qty) = self.best(side)?;
        Some(Level {
            price: Decimal::new(price, self.price_scale())?,
            qty: Decimal::new(qty, self.qty_scale())?,
        })
    }

    /// The price halfway between best bid and best ask, exactly; `None` if a side is missing, or if
    /// no [`Decimal`] holds it.
    #[must_use]
    pub fn mid(&self) -> Option<Decimal> {
        // Half of a sum is five of the next smaller unit.
        let mantissa = self.mid_twice()? * 5;
        WideDecimal { mantissa, scale: self.price_scale() + 1 }.to_decimal()
    }

    /// Best ask less best bid: negative in a crossed book. `None` if a side is missing, or if no
    /// [`Decimal`] holds it.
    #[must_use]
    pub fn spread(&self) -> Option<Decimal> {
        WideDecimal { mantissa: self.spread_wide()?, scale: self.price_scale() }.to_decimal()
    }

    /// The spread in basis points of the mid's size; `None` if a side is missing or mid is 0.
    #[must_use]
    pub fn spread_bps(&self) -> Option<f64> {
        let (spread, mid_twice) = (self.spread_wide()?, self.mid_twice()?.abs());
        (mid_twice != 0).then(|| (2 * spread) as f64 / mid_twice as f64 * BPS)
    }

    /// The mid leaning to the side that is thinner: (bid x ask quantity + ask x bid quantity) /
    /// (bid quantity + ask quantity) of the best levels. `None` if a side is missing or the
    /// quantities add up to 0.
    #[must_use]
    pub fn microprice(&self) -> Option<f64> {
        let [bid, ask] = [self.best(Side::Bid)?, self.best(Side::Ask)?]
            .map(|(price, qty)| (i128::from(price), i128::from(qty)));
        // Two products of 63 bits each and their sum fit.
        let (weighted, qty) = (bid.0 * ask.1 + ask.0 * bid.1, bid.1 + ask.1);
        let unit = 10f64.powi(i32::from(self.price_scale()));
        (qty != 0).then(|| weighted as f64 / qty as f64 / unit)
    }

    /// Sums up the first `levels` levels of a side.
    #[must_use]
    pub fn depth(&self, side: Side, levels: usize) -> Depth {
        let (mut count, mut qty_sum, mut notional) = (0, 0i128, Some(0i128));
        for (price, qty) in self.levels(side).take(levels) {
            count += 1;
            qty_sum += i128::from(qty);
            notional =
                notional.and_then(|sum| sum.checked_add(i128::from(price) * i128::from(qty)));
        }
        Depth {
            levels: count,
            qty: WideDecimal { mantissa: qty_sum, scale: self.qty_scale() },
            notional: notional.map(|mantissa| self.wide_notional(mantissa, self.qty_scale())),
        }
    }

    /// Adds to `sums` the quantities of the first levels of a side, for each of `counts`, which
    /// rise: in units of 10^-[`qty_scale`](Book::qty_scale), by one walk.
    pub fn qty_sums(&self, side: Side, counts: &[usize], sums: &mut Vec<i128>) {
        let mut qtys = self.levels(side).map(|(_, qty)| i128::from(qty));
        let (mut walked, mut sum) = (0, 0);
        for &count in counts {
            sum += qtys.by_ref().take(count.saturating_sub(walked)).sum::<i128>();
            walked = walked.max(count);
            sums.push(sum);
        }
    }

    /// (bids - asks) / (bids + asks) of the quantities in the first `levels` levels of each side:
    /// 1 is all bids. `None` if a side is missing or the quantities add up to 0.
    #[must_use]
    pub fn imbalance(&self, levels: usize) -> Option<f64> {
        let [bids, asks] = [Side::Bid, Side::Ask].map(|side| self.depth(side, levels));
        if bids.levels == 0 || asks.levels == 0 {
            return None;
        }
        let (bids, asks) = (bids.qty.mantissa, asks.qty.mantissa);
        (bids + asks != 0).then(|| (bids - asks) as f64 / (bids + asks) as f64)
    }

    /// Walks the levels of `side`, best first, until `qty` is taken: asks for a buyer, bids for a
    /// seller. Levels without a positive quantity give nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if `qty` is not above 0; [`ErrorKind::Limit`] if the notional does
    /// not fit 128 bits.
    pub fn fill(&self, side: Side, qty: Decimal) -> Result<Fill> {
        if qty.mantissa() <= 0 {
            return Err(Error::invalid(format!("quantity {qty} to fill: expected more than 0")));
        }
        let qty_scale = qty.scale().max(self.qty_scale());
        let level_unit = i128::from(POW10[usize::from(qty_scale - self.qty_scale())]);
        let asked =
            i128::from(qty.mantissa()) * i128::from(POW10[usize::from(qty_scale - qty.scale())]);
        let (mut filled, mut notional, mut count, mut worst) = (0, 0i128, 0, None);
        for (price, level_qty) in self.levels(side).filter(|&(_, qty)| qty > 0) {
            if filled == asked {
                break;
            }
            let taken = (i128::from(level_qty) * level_unit).min(asked - filled);
            notional = i128::from(price)
                .checked_mul(taken)
                .and_then(|cost| notional.checked_add(cost))
                .ok_or_else(|| {
                    let text = format!("notional of {qty} does not fit 128 bits");
                    Error::new(ErrorKind::Limit, text)
                })?;
            filled += taken;
            count += 1;
            worst = Some(price);
        }
        let complete = filled == asked;
        let unit = 10f64.powi(i32::from(self.price_scale()));
        Ok(Fill {
            asked: qty,
            filled: WideDecimal { mantissa: filled, scale: qty_scale },
            notional: self.wide_notional(notional, qty_scale),
            levels: count,
            worst_price: worst.and_then(|price| Decimal::new(price, self.price_scale())),
            price: complete.then(|| notional as f64 / filled as f64 / unit),
            slippage_bps: self.slippage_bps(side, notional, filled).filter(|_| complete),
        })
    }

    /// Distance of `notional / filled` from mid, as a cost to whoever takes from `side`.
    fn slippage_bps(&self, side: Side, notional: i128, filled: i128) -> Option<f64> {
        // (n/q - m/2) / (m/2) = (2n - mq) / mq, exactly up to the last division.
        let mid_notional = self.mid_twice().filter(|&mid| mid != 0)?.checked_mul(filled)?;
        let more = notional.checked_mul(2)?.checked_sub(mid_notional)?;
        let cost = if side == Side::Ask { more } else { -more };
        Some(cost as f64 / mid_notional.unsigned_abs() as f64 * BPS)
    }

    /// Best bid plus best ask.
    fn mid_twice(&self) -> Option<i128> {
        let (bid, ask) = (self.best(Side::Bid)?.0, self.best(Side::Ask)?.0);
        Some(i128::from(bid) + i128::from(ask))
    }

    fn spread_wide(&self) -> Option<i128> {
        let (bid, ask) = (self.best(Side::Bid)?.0, self.best(Side::Ask)?.0);
        Some(i128::from(ask) - i128::from(bid))
    }

    fn wide_notional(&self, mantissa: i128, qty_scale: u8) -> WideDecimal {
        WideDecimal { mantissa, scale: self.price_scale() + qty_scale }
    }
}

// Two scales and the half of a price stay printable.
const _: () = assert!(2 * limit::SCALE_MAX <= 36);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    /// Prices with one decimal, quantities with two.
    fn book(bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Book {
        let mut book = Book::new();
        book.raise_scales(1, 2).unwrap();
        bids.iter().for_each(|&(price, qty)| book.set(Side::Bid, price, qty));
        asks.iter().for_each(|&(price, qty)| book.set(Side::Ask, price, qty));
        book
    }

    /// 99.8 x 2.00, 99.7 x 1.00 | 100.1 x 0.50, 100.3 x 1.50, 101 x 4.00
    fn example() -> Book {
        book(&[(998, 200), (997, 100)], &[(1001, 50), (1003, 150), (1010, 400)])
    }

    #[test]
    fn tops_mid_and_spread_are_exact() {
        let book = example();

        let top = book.top(Side::Ask).unwrap();
        assert_eq!((top.price, top.qty), (decimal("100.1"), decimal("0.5")));
        assert_eq!(book.top(Side::Bid).unwrap().price, decimal("99.8"));
        assert_eq!(book.mid(), Some(decimal("99.95")));
        assert_eq!(book.spread(), Some(decimal("0.3")));
        // 0.3 / 99.95 x 10,000
        assert!((book.spread_bps().unwrap() - 30.015_007_503_751_876).abs() < 1e-12);
    }

    #[test]
    fn crossed_negative_and_zero_books_keep_their_signs() {
        let crossed = book(&[(1010, 100)], &[(1000, 100)]);
        assert_eq!(crossed.spread(), Some(decimal("-1")));
        assert!(crossed.spread_bps().unwrap() < 0.0);

        let negative = book(&[(-380, 100)], &[(-370, 100)]);
        assert_eq!(negative.mid(), Some(decimal("-37.5")));
        assert_eq!(negative.spread(), Some(decimal("1")));
        assert!((negative.spread_bps().unwrap() - 1.0 / 37.5 * 1e4).abs() < 1e-9);
        let sold = negative.fill(Side::Bid, decimal("1")).unwrap();
        assert!((sold.slippage_bps.unwrap() - 0.5 / 37.5 * 1e4).abs() < 1e-9);

        let around_zero = book(&[(-1, 100)], &[(1, 100)]);
        assert_eq!(around_zero.mid(), Some(Decimal::ZERO));
        assert_eq!(around_zero.spread_bps(), None);
        assert_eq!(around_zero.fill(Side::Ask, decimal("1")).unwrap().slippage_bps, None);
    }

    #[test]
    fn what_needs_both_sides_is_none_where_one_is_missing() {
        for book in [book(&[], &[]), book(&[(998, 200)], &[]), book(&[], &[(998, 200)])] {
            assert_eq!(book.mid(), None);
            assert_eq!(book.spread(), None);
            assert_eq!(book.spread_bps(), None);
            assert_eq!(book.imbalance(5), None);
        }
        let bids_only = book(&[(998, 200)], &[]);
        assert_eq!(bids_only.top(Side::Ask), None);
        let sold = bids_only.fill(Side::Bid, decimal("1")).unwrap();
        assert_eq!((sold.price, sold.slippage_bps), (Some(99.8), None));
        let bought = bids_only.fill(Side::Ask, decimal("1")).unwrap();
        assert_eq!((bought.levels, bought.worst_price, bought.price), (0, None, None));
        assert_eq!(bought.filled.to_string(), "0");
    }

    #[test]
    fn mids_that_no_decimal_holds_are_none() {
        let mut finest = Book::new();
        finest.raise_scales(18, 0).unwrap();
        finest.set(Side::Bid, 1, 1);
        finest.set(Side::Ask, 2, 1);
        assert_eq!(finest.mid(), None);
        finest.set(Side::Bid, 2, 1);
        assert_eq!(finest.mid(), Decimal::new(2, 18));

        let mut widest = Book::new();
        widest.set(Side::Bid, i64::MIN + 1, 1);
        widest.set(Side::Ask, i64::MAX, 1);
        assert_eq!((widest.mid(), widest.spread()), (Some(Decimal::ZERO), None));
    }

    #[test]
    fn the_microprice_leans_to_the_thinner_side() {
        // (99.8 x 0.5 + 100.1 x 2) / 2.5
        assert!((example().microprice().unwrap() - 100.04).abs() < 1e-12);
        assert_eq!(book(&[(998, 200)], &[]).microprice(), None);
        assert_eq!(book(&[(1, -5)], &[(2, 5)]).microprice(), None);
    }

    #[test]
    fn depth_sums_the_first_levels_exactly() {
        let book = example();

        let depth = book.depth(Side::Ask, 2);
        assert_eq!((depth.levels, depth.qty.to_string().as_str()), (2, "2"));
        // 100.1 x 0.5 + 100.3 x 1.5
        assert_eq!(depth.notional.unwrap().to_string(), "200.5");
        assert_eq!(book.depth(Side::Ask, 99).levels, 3);
        assert_eq!(book.depth(Side::Bid, 0).qty.to_string(), "0");

        let mut huge = Book::new();
        for price in 0..4 {
            huge.set(Side::Bid, i64::MAX - price, i64::MAX);
        }
        assert_eq!(huge.depth(Side::Bid, 2).notional.map(WideDecimal::to_decimal), Some(None));
        let all = huge.depth(Side::Bid, 4);
        assert_eq!((all.notional, all.qty.to_string().as_str()), (None, "36893488147419103228"));
    }

    #[test]
    fn imbalance_is_of_as_many_levels_as_asked_for() {
        let book = example();

        // (2 - 0.5) / 2.5 and (3 - 2) / 5
        assert_eq!(book.imbalance(1), Some(0.6));
        assert_eq!(book.imbalance(2), Some(0.2));
        assert_eq!(book.imbalance(0), None);
        let cancelling = super::tests::book(&[(1, -5)], &[(2, 5)]);
        assert_eq!(cancelling.imbalance(1), None);
    }

    #[test]
    fn sums_of_one_walk_are_those_of_each_depth() {
        let book = example();
        let mut sums = vec![7];

        book.qty_sums(Side::Ask, &[0, 1, 1, 3, 9], &mut sums);

        assert_eq!(sums, [7, 0, 50, 50, 600, 600]);
        let depth = |count| book.depth(Side::Ask, count).qty.mantissa();
        assert_eq!(sums[1..], [0, 1, 1, 3, 9].map(depth));
    }

    #[test]
    fn a_fill_walks_the_levels_and_says_what_it_cost() {
        let book = example();

        let fill = book.fill(Side::Ask, decimal("1.25")).unwrap();
        // 0.5 x 100.1 + 0.75 x 100.3 = 125.275; / 1.25 = 100.22; mid 99.95
        assert_eq!(fill.notional.to_string(), "125.275");
        assert_eq!((fill.levels, fill.worst_price), (2, Some(decimal("100.3"))));
        assert!((fill.price.unwrap() - 100.22).abs() < 1e-12);
        assert!((fill.slippage_bps.unwrap() - 0.27 / 99.95 * 1e4).abs() < 1e-9);

        let sold = book.fill(Side::Bid, decimal("3")).unwrap();
        // (2 x 99.8 + 1 x 99.7) / 3
        assert_eq!((sold.notional.to_string().as_str(), sold.levels), ("299.3", 2));
        let worse = 99.95 - 299.3 / 3.0;
        assert!((sold.slippage_bps.unwrap() - worse / 99.95 * 1e4).abs() < 1e-9);
        assert!(sold.is_complete());
    }

    #[test]
    fn a_fill_beyond_the_depth_says_how_much_there_was() {
        let fill = example().fill(Side::Ask, decimal("6.00000001")).unwrap();

        assert!(!fill.is_complete());
        assert_eq!((fill.filled.to_string().as_str(), fill.levels), ("6", 3));
        assert_eq!(fill.notional.to_string(), "604.5");
        assert_eq!((fill.price, fill.slippage_bps), (None, None));
        assert_eq!(fill.worst_price, Some(decimal("101")));
    }

    #[test]
    fn a_fill_of_nothing_or_beyond_128_bits_is_refused() {
        let book = example();
        for text in ["0", "-1"] {
            let error = book.fill(Side::Ask, decimal(text)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        }
        // 9,223,372,036,854,775,807 x 18.4 needs 2^128 in units of 10^-18.
        let mut huge = Book::new();
        huge.set(Side::Bid, i64::MAX, 9);
        huge.set(Side::Bid, i64::MAX - 1, 10);
        let fill = huge.fill(Side::Bid, decimal("9.000000000000000001")).unwrap();
        assert_eq!(fill.filled.to_string(), "9.000000000000000001");
        huge.set(Side::Bid, i64::MAX, 9_000_000_000_000_000_000);
        let large = Decimal::new(i64::MAX, 0).unwrap();
        assert!(huge.fill(Side::Bid, large).is_ok_and(|fill| !fill.is_complete()));
    }

    #[test]
    fn levels_without_a_positive_quantity_give_nothing() {
        let odd = book(&[], &[(1000, -300), (1001, 100)]);

        let fill = odd.fill(Side::Ask, decimal("1")).unwrap();

        assert_eq!((fill.levels, fill.worst_price), (1, Some(decimal("100.1"))));
    }

    #[test]
    fn wide_decimals_print_as_decimals_do() {
        let text = |mantissa, scale| WideDecimal { mantissa, scale }.to_string();
        assert_eq!(text(-1_500, 4), "-0.15");
        assert_eq!(text(0, 36), "0");
        assert_eq!(text(i128::MAX, 36), "170.141183460469231731687303715884105727");
        assert_eq!(text(120, 1), "12");
        assert_eq!(WideDecimal { mantissa: 5, scale: 1 }.to_f64(), 0.5);
    }

    proptest! {
        #[test]
        fn a_fill_of_the_depth_of_n_levels_is_that_depth(
            levels in prop::collection::btree_map(-5_000i64..5_000, 1i64..10_000, 1..30),
            count in 1usize..40,
        ) {
            let asks: Vec<_> = levels.into_iter().collect();
            let book = book(&[(-6_000, 1)], &asks);
            let depth = book.depth(Side::Ask, count);

            let fill = book.fill(Side::Ask, depth.qty.to_decimal().unwrap()).unwrap();

            prop_assert!(fill.is_complete());
            prop_assert_eq!(fill.levels, depth.levels);
            prop_assert_eq!(fill.notional, depth.notional.unwrap());
            let average = fill.notional.to_f64() / fill.filled.to_f64();
            prop_assert!((fill.price.unwrap() - average).abs() <= 1e-9 * (1.0 + average.abs()));
        }
    }
}
