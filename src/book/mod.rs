//! An order book in memory: levels of two sides and what can be measured on them.
//!
//! [`Book`] holds levels; [`Tracker`] keeps a book as messages arrive and knows whether it can be
//! trusted. Prices and quantities are integers in units of 10^-scale; any `i64` is a price.

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

    /// Adds the levels of a side to `prices` and `qtys`, best first.
    pub fn write_levels(&self, side: Side, prices: &mut Vec<i64>, qtys: &mut Vec<i64>) {
        let count = self.level_count(side);
        prices.reserve(count);
        qtys.reserve(count);
        for (price, qty) in self.levels(side) {
            prices.push(price);
            qtys.push(qty);
        }
    }

    /// As [`Book::set`], but leaves the best levels unknown until [`Book::settle`].
    #[inline]
    fn set_blind(&mut self, side: Side, price: i64, qty: i64) {
        self.sides[side as usize].set_blind(price, qty);
    }

    /// Finds the best levels after [`Book::set_blind`].
    fn settle(&mut self) {
        self.sides.iter_mut().for_each(Ladder::settle);
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
