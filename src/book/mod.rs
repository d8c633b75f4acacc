//! An order book in memory: levels of two sides and what can be measured on them.
//!
//! [`Book`] holds levels; [`Tracker`] keeps a book as messages arrive and knows whether it can be
//! trusted. Prices and quantities are integers in units of 10^-scale; any `i64` is a price.
//!
//! # Why this structure
//!
//! A side is a window of slots, one for each price increment, whose quantities lie in pages of one
//! cache line that exist only where levels are; what lies outside is in an ordered map. The window
//! moves, widens and learns the increment by itself. `benches/book.rs`, ns a row with the best
//! prices read after each message (in brackets: applied without looking, as a seek does), on a
//! busy 2.8 GHz Xeon, against an ordered map and a sorted vector on the same rows:
//!
//! | data (levels, KiB of memory) | this | `BTreeMap` | sorted `Vec` |
//! |---|---|---|---|
//! | 1,660 dense, price increment 1 or 25 (25 KiB) | 5.2 (3.8) | 48 | 17 |
//! | 1,820 sparse, 40 increments apart (256 KiB) | 9.1 (6.2) | 58 | 28 |
//! | generated BTC day, 2,000, 3.7 rows a message (198 KiB) | 9.9 (5.4) | 61 | 37 |
//! | Binance BTCUSDT perpetual, 9,600 (492 KiB) | 6.2 (6.3) | 66 | 64 |
//! | Binance ETHUSDT perpetual, 6,200 (399 KiB) | 6.0 (6.5) | 58 | 60 |
//! | Binance BTCUSD coin-margined, 3,200 (336 KiB) | 7.7 (6.9) | 66 | 52 |
//! | Binance BTCUSDT spot, 4,900 sparse (668 KiB) | 12.0 (11.3) | 75 | 72 |
//!
//! A checkpoint of 2,000 levels loads in 11 us and 4,096 rows after it take 15 us. Tried and left:
//! one flat ring of quantities (12 to 17 ns on the generated day at 2^14 slots, 28 to 45 where far
//! levels are many, 2 MiB a side at 2^18), a bitmap of occupied slots over the pages (about 1 ns
//! more: the page itself tells), pages given back as soon as they are empty (up to 5 ns more),
//! updates without branches (no gain).

mod grid;
mod ladder;
mod measure;
mod tracker;

use ladder::Ladder;
pub use measure::{Depth, Fill, Level, WideDecimal};
pub use tracker::{Checkpoint, State, Tracker};

use crate::error::{Error, ErrorKind, Result};
use crate::event::Side;
use crate::limit;
use crate::quantity::{Decimal, POW10};

/// All levels of one instrument at one moment.
///
/// Prices are in units of 10^-[`price_scale`](Self::price_scale), quantities in units of
/// 10^-[`qty_scale`](Self::qty_scale). The book takes what the venue says: sides may cross, be
/// empty, or hold negative prices.
#[derive(Clone, Debug)]
pub struct Book {
    /// Bids, asks; boxed because a book is moved about and ladders are large.
    sides: Box<[Ladder; 2]>,
    price_scale: u8,
    qty_scale: u8,
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

impl Book {
    /// A book without levels, in whole units.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sides: Box::new([Ladder::new(Side::Bid), Ladder::new(Side::Ask)]),
            price_scale: 0,
            qty_scale: 0,
        }
    }

    /// Decimals of every price.
    #[must_use]
    pub fn price_scale(&self) -> u8 {
        self.price_scale
    }

    /// Decimals of every quantity.
    #[must_use]
    pub fn qty_scale(&self) -> u8 {
        self.qty_scale
    }

    /// Makes prices units of 10^-`price` and quantities units of 10^-`qty`; a scale that is larger
    /// already stays. The values of the levels do not change.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] with the value if one does not fit an `i64`, or if a scale is above
    /// [`limit::SCALE_MAX`]; nothing has changed then.
    pub fn raise_scales(&mut self, price: u8, qty: u8) -> Result<()> {
        let (price, qty) = (price.max(self.price_scale), qty.max(self.qty_scale));
        if (price, qty) == (self.price_scale, self.qty_scale) {
            return Ok(());
        }
        if price.max(qty) > limit::SCALE_MAX {
            return Err(Error::limit("decimals of a book:", price.max(qty), limit::SCALE_MAX));
        }
        let price_factor = POW10[usize::from(price - self.price_scale)];
        let qty_factor = POW10[usize::from(qty - self.qty_scale)];
        let mut raised = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        let [bid_prices, bid_qtys, ask_prices, ask_qtys] = &mut raised;
        self.write_levels(Side::Bid, bid_prices, bid_qtys);
        self.write_levels(Side::Ask, ask_prices, ask_qtys);
        for values in [bid_prices, ask_prices] {
            raise(values, price_factor)
                .map_err(|value| does_not_fit("price", value, self.price_scale, price))?;
        }
        for values in [bid_qtys, ask_qtys] {
            raise(values, qty_factor)
                .map_err(|value| does_not_fit("quantity", value, self.qty_scale, qty))?;
        }
        self.clear();
        self.load(Side::Bid, &raised[0], &raised[1]);
        self.load(Side::Ask, &raised[2], &raised[3]);
        (self.price_scale, self.qty_scale) = (price, qty);
        Ok(())
    }

    /// Removes all levels; scales stay.
    pub fn clear(&mut self) {
        self.sides.iter_mut().for_each(Ladder::clear);
    }

    /// Makes `qty` the quantity at `price`; 0 removes the level.
    #[inline]
    pub fn set(&mut self, side: Side, price: i64, qty: i64) {
        self.sides[side as usize].set(price, qty);
    }

    /// Price and quantity of the best level: the highest bid, the lowest ask. Costs one read.
    #[must_use]
    #[inline]
    pub fn best(&self, side: Side) -> Option<(i64, i64)> {
        self.sides[side as usize].best()
    }

    /// How many levels a side has.
    #[must_use]
    pub fn level_count(&self, side: Side) -> usize {
        self.sides[side as usize].len()
    }

    /// Price and quantity of every level of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.sides[side as usize].levels()
    }

    /// Replaces a side by these levels, given best first as [`Book::write_levels`] gives them.
    ///
    /// Levels in another order are taken too, one by one: the last quantity of a price counts.
    pub fn load(&mut self, side: Side, prices: &[i64], qtys: &[i64]) {
        self.sides[side as usize].load(prices, qtys);
    }

    /// As [`Book::load`], of levels that are known to be best first, none of them empty.
    fn load_ordered(&mut self, side: Side, prices: &[i64], qtys: &[i64]) {
        self.sides[side as usize].load_ordered(prices, qtys);
    }

    /// Adds the levels of a side to `prices` and `qtys`, best first.
    pub fn write_levels(&self, side: Side, prices: &mut Vec<i64>, qtys: &mut Vec<i64>) {
        for (price, qty) in self.levels(side) {
            prices.push(price);
            qtys.push(qty);
        }
    }

    /// Bids and asks, for hot loops.
    #[inline]
    fn ladders_mut(&mut self) -> &mut [Ladder; 2] {
        &mut self.sides
    }

    /// Bytes of memory that the book holds, about: it grows with the levels and with where they
    /// were, and stays when they go.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.sides.iter().map(Ladder::memory_bytes).sum::<usize>() + size_of::<Self>()
    }

    /// Empties the book and gives it these scales, which may be smaller than before.
    fn restart(&mut self, price_scale: u8, qty_scale: u8) {
        self.clear();
        (self.price_scale, self.qty_scale) = (price_scale, qty_scale);
    }
}

/// Multiplies every value, or none and gives the first that does not fit.
fn raise(values: &mut [i64], factor: i64) -> Result<(), i64> {
    if let Some(&value) = values.iter().find(|value| value.checked_mul(factor).is_none()) {
        return Err(value);
    }
    values.iter_mut().for_each(|value| *value *= factor);
    Ok(())
}

fn does_not_fit(what: &str, mantissa: i64, scale: u8, at: u8) -> Error {
    let value = Decimal::new(mantissa, scale).map_or(mantissa.to_string(), |v| v.to_string());
    Error::new(ErrorKind::Limit, format!("{what} {value} does not fit 64 bits at {at} decimals"))
}

#[cfg(test)]
mod tests;
