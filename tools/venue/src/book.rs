//! A book as its venue writes it: the text of every price and quantity is kept.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Which side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who buys.
    Bid,
    /// Who sells.
    Ask,
}

/// One level, each part as JSON text: with its quotes if the venue writes quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The price.
    pub price: String,
    /// The quantity.
    pub qty: String,
    /// What the venue tells besides.
    pub rest: Vec<String>,
}

impl Level {
    /// Price and quantity without quotes.
    #[must_use]
    pub fn bare(&self) -> (&str, &str) {
        (self.price.trim_matches('"'), self.qty.trim_matches('"'))
    }
}

/// What a topic has told so far.
#[derive(Clone, Debug, Default)]
pub struct Book {
    bids: BTreeMap<i128, Level>,
    asks: BTreeMap<i128, Level>,
    /// The venue's number of the last change in it.
    pub seq: i64,
    /// The venue's time of it, as written.
    pub ts: String,
    /// Whether it began with a snapshot.
    pub is_whole: bool,
    /// The last message.
    pub last: String,
    /// What is not a level: the fields of a state, or rows by number.
    pub rows: BTreeMap<u64, BTreeMap<String, Box<RawValue>>>,
}

impl Book {
    /// Forgets all levels and rows.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
        self.rows.clear();
    }

    /// Sets a level; quantity 0 removes it. Prices that are no numbers are left out.
    pub fn set(&mut self, side: Side, level: Level) {
        let Some(key) = number(level.bare().0) else { return };
        let levels = if side == Side::Bid { &mut self.bids } else { &mut self.asks };
        if number(level.bare().1) == Some(0) {
            levels.remove(&key);
        } else {
            levels.insert(key, level);
        }
    }

    /// Removes a level.
    pub fn remove(&mut self, side: Side, price: &str) {
        let levels = if side == Side::Bid { &mut self.bids } else { &mut self.asks };
        if let Some(key) = number(price.trim_matches('"')) {
            levels.remove(&key);
        }
    }

    /// Levels, best first.
    pub fn levels(&self, side: Side) -> Box<dyn Iterator<Item = &Level> + '_> {
        match side {
            Side::Bid => Box::new(self.bids.values().rev()),
            Side::Ask => Box::new(self.asks.values()),
        }
    }

    /// Prices and quantities without quotes, best first.
    pub fn bare(&self, side: Side) -> impl Iterator<Item = (&str, &str)> {
        self.levels(side).map(Level::bare)
    }

    /// Keeps the best `count` levels of each side.
    pub fn cut(&mut self, count: usize) {
        while self.bids.len() > count {
            self.bids.pop_first();
        }
        while self.asks.len() > count {
            self.asks.pop_last();
        }
    }

    /// `[[price,qty,...],...]` of the best `count` levels, as the venue wrote them.
    #[must_use]
    pub fn arrays(&self, side: Side, count: usize) -> String {
        self.write(side, count, |level| {
            let mut text = format!("[{},{}", level.price, level.qty);
            for part in &level.rest {
                text.push(',');
                text.push_str(part);
            }
            text.push(']');
            text
        })
    }

    /// `[...]` of the best `count` levels, each written by `level`.
    #[must_use]
    pub fn write(&self, side: Side, count: usize, level: impl Fn(&Level) -> String) -> String {
        let levels: Vec<String> = self.levels(side).take(count).map(level).collect();
        format!("[{}]", levels.join(","))
    }
}

/// A decimal, perhaps with an exponent, in units of 10^-18.
#[must_use]
pub fn number(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let value: i128 = digits.parse().ok()?;
    let places = 18 + exponent - i32::try_from(fraction.len()).ok()?;
    let unit = 10i128.checked_pow(places.unsigned_abs())?;
    if places >= 0 { value.checked_mul(unit) } else { Some(value / unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(price: &str, qty: &str) -> Level {
        Level { price: price.to_owned(), qty: qty.to_owned(), rest: Vec::new() }
    }

    #[test]
    fn numbers_of_every_form_compare() {
        assert_eq!(number("2e-8"), number("0.00000002"));
        assert_eq!(number("-1.50"), number("-1.5"));
        assert_eq!(number("1.5e2"), number("150"));
        assert_eq!(number("0.000"), Some(0));
        assert_eq!(number("x"), None);
        assert_eq!(number(""), None);
    }

    #[test]
    fn levels_are_best_first_and_quantity_zero_removes() {
        let mut book = Book::default();
        for (side, price) in
            [(Side::Bid, "9.0"), (Side::Bid, "9.5"), (Side::Ask, "10"), (Side::Ask, "9.9")]
        {
            book.set(side, level(price, "1.0"));
        }
        book.set(Side::Bid, level("9.00", "0"));

        assert_eq!(book.arrays(Side::Bid, 9), "[[9.5,1.0]]");
        assert_eq!(book.arrays(Side::Ask, 9), "[[9.9,1.0],[10,1.0]]");
        book.cut(1);
        assert_eq!(book.arrays(Side::Ask, 9), "[[9.9,1.0]]");
    }
}
