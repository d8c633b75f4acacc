//! Conditions on rows: which of a stream are wanted.
//!
//! A condition is a column, a comparison and a value, e.g. `price>=61000.5`, `qty>10`, `side=buy`;
//! all conditions of a filter must hold. Numbers are compared exactly. A row without a number
//! (a reset or a gap of a book, a missing best ask) meets no condition on it. Blocks whose index
//! says that none of their rows can meet a condition are not read.

use crate::error::{Error, Result};
use crate::event::{Action, Batch, ColumnType, Kind, book};
use crate::limit;
use crate::quantity::{Decimal, NULL, POW10};
use crate::segment::ColumnMask;

/// Comparisons, longer ones first, as they are looked for in this order.
const COMPARISONS: [&str; 5] = [">=", "<=", ">", "<", "="];

/// Which rows of a stream are wanted. By default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    texts: Vec<String>,
    numbers: Vec<NumberIs>,
    codes: Vec<CodeIs>,
}

/// The number of a column compares so with `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NumberIs {
    column: usize,
    comparison: &'static str,
    value: Decimal,
}

/// The code of a column is one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CodeIs {
    column: usize,
    code: u8,
}

impl Filter {
    /// Reads conditions on the columns of a kind.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] or [`crate::ErrorKind::NotFound`] with the condition and what
    /// was expected; [`crate::ErrorKind::Limit`] for more than [`limit::CONDITIONS_MAX`].
    pub fn parse<S: AsRef<str>>(kind: Kind, conditions: &[S]) -> Result<Self> {
        if conditions.len() > limit::CONDITIONS_MAX {
            return Err(Error::limit("conditions:", conditions.len(), limit::CONDITIONS_MAX));
        }
        let mut filter = Self::default();
        for text in conditions.iter().map(AsRef::as_ref) {
            filter.add(kind, text).map_err(|error| error.context(format!("condition {text:?}")))?;
            filter.texts.push(text.to_owned());
        }
        Ok(filter)
    }

    fn add(&mut self, kind: Kind, text: &str) -> Result<()> {
        let found = COMPARISONS.iter().filter_map(|sign| {
            let (name, value) = text.split_once(sign)?;
            Some((name.trim(), *sign, value.trim()))
        });
        // `a>=b` has a `=` too: the sign that comes first counts, the longer of two.
        let first = found.min_by_key(|(name, sign, _)| (name.len(), std::cmp::Reverse(sign.len())));
        let Some((name, comparison, value)) = first else {
            return Err(Error::invalid("expected e.g. price>=61000.5, qty>10 or side=buy"));
        };
        let schema = kind.schema();
        let column = schema.column(name)?;
        match schema.columns[column].ty {
            ColumnType::Decimal => {
                let value = Decimal::parse(value)?;
                self.numbers.push(NumberIs { column, comparison, value });
            }
            ColumnType::Code(names) if comparison == "=" => {
                let code = names.iter().position(|name| *name == value);
                let code = code.and_then(|code| u8::try_from(code).ok()).ok_or_else(|| {
                    Error::invalid(format!("expected one of {}", names.join(", ")))
                })?;
                self.codes.push(CodeIs { column, code });
            }
            ColumnType::Code(_) => return Err(Error::invalid("names are compared with = only")),
            _ => {
                return Err(Error::invalid("expected a column of prices, quantities or names"));
            }
        }
        Ok(())
    }

    /// The conditions, as they were read.
    #[must_use]
    pub fn conditions(&self) -> &[String] {
        &self.texts
    }

    /// Whether every row is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The columns that must be read to decide on rows of a kind.
    pub(super) fn columns(&self, kind: Kind) -> ColumnMask {
        let numbers = self.numbers.iter().map(|number| number.column);
        let mut columns: Vec<usize> =
            numbers.chain(self.codes.iter().map(|code| code.column)).collect();
        if kind == Kind::Book && !self.numbers.is_empty() {
            columns.push(book::ACTION);
        }
        ColumnMask::of(&columns)
    }

    /// Whether a block of a kind may hold a wanted row. `zones` are the smallest and the largest
    /// value of the first two decimal columns, in units of the block's scales.
    pub(super) fn may_hold(&self, kind: Kind, zones: &[i64; 4], scales: &[(u8, u8)]) -> bool {
        let decimals = kind.schema().columns.iter().enumerate();
        let mut decimals = decimals.filter(|(_, spec)| spec.ty == ColumnType::Decimal);
        let zones = zones.as_chunks::<2>().0;
        zones.iter().all(|&[low, high]| {
            let Some((column, _)) = decimals.next() else { return true };
            let scale = scales.get(column).map_or(0, |(scale, _)| *scale);
            self.numbers.iter().filter(|number| number.column == column).all(|number| {
                let (from, to) = number.range(scale);
                low != NULL && i128::from(low) <= to && i128::from(high) >= from
            })
        })
    }

    /// Leaves the wanted rows.
    pub(super) fn keep(&self, batch: Batch) -> Batch {
        if self.is_empty() {
            return batch;
        }
        let mut wanted = vec![true; batch.rows()];
        for number in &self.numbers {
            let (from, to) = number.range(batch.scale(number.column));
            let met = |value: i64| value != NULL && (from..=to).contains(&i128::from(value));
            let values = batch.i64s(number.column).iter();
            wanted.iter_mut().zip(values).for_each(|(wanted, value)| *wanted &= met(*value));
        }
        if batch.kind() == Kind::Book && !self.numbers.is_empty() {
            let actions = batch.u8s(book::ACTION).iter();
            let sets = actions.map(|action| *action == Action::Set as u8);
            wanted.iter_mut().zip(sets).for_each(|(wanted, sets)| *wanted &= sets);
        }
        for is in &self.codes {
            let codes = batch.u8s(is.column).iter();
            wanted.iter_mut().zip(codes).for_each(|(wanted, code)| *wanted &= *code == is.code);
        }
        if wanted.iter().all(|wanted| *wanted) { batch } else { batch.keep_rows(&wanted) }
    }
}

impl NumberIs {
    /// The mantissas of a scale that meet it, both ends inclusive.
    fn range(&self, scale: u8) -> (i128, i128) {
        let power = |scale: u8| i128::from(POW10.get(usize::from(scale)).copied().unwrap_or(1));
        // At most 2^63 * 10^18 < 2^127.
        let value = i128::from(self.value.mantissa()) * power(scale);
        let unit = power(self.value.scale());
        let (floor, ceil) = (value.div_euclid(unit), -(-value).div_euclid(unit));
        match self.comparison {
            ">=" => (ceil, i128::MAX),
            ">" => (floor + 1, i128::MAX),
            "<=" => (i128::MIN, floor),
            "<" => (i128::MIN, ceil - 1),
            _ => (ceil, floor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchBuilder, MessageHead, Side, Value};

    fn book_rows() -> Batch {
        let mut builder = BatchBuilder::new(Kind::Book);
        for at in 0..10 {
            builder.begin(MessageHead { venue_seq: Some(at), ..MessageHead::default() });
            if at == 0 {
                builder.reset();
            }
            for level in 0..4 {
                let side = if level % 2 == 0 { Side::Bid } else { Side::Ask };
                let price = Decimal::new(1000 + at * 10 + level, 1).unwrap();
                builder.level(side, price, Decimal::new(level, 0).unwrap());
            }
            builder.end();
        }
        builder.finish().unwrap().remove(0)
    }

    /// Side and price of the rows that are kept.
    fn kept(conditions: &[&str]) -> Vec<(String, String)> {
        let batch = Filter::parse(Kind::Book, conditions).unwrap().keep(book_rows());
        let value = |row, column| match batch.value(batch.message_of(row), row, column) {
            Value::Decimal(decimal) => decimal.to_string(),
            Value::Code(code) => code.to_owned(),
            other => panic!("{other:?}"),
        };
        (0..batch.rows()).map(|row| (value(row, book::SIDE), value(row, book::PRICE))).collect()
    }

    #[test]
    fn rows_meet_all_conditions_exactly() {
        let all = kept(&["price>=0"]);
        assert_eq!(all.len(), 40, "a reset has no price");
        let prices = |conditions: &[&str]| {
            kept(conditions).into_iter().map(|(_, price)| price).collect::<Vec<_>>()
        };
        assert_eq!(prices(&["price=102.1"]), ["102.1"]);
        assert_eq!(prices(&["price = 102.10"]), ["102.1"]);
        assert!(prices(&["price=102.11"]).is_empty());
        assert_eq!(prices(&["price>=102.25", "price<103"]), ["102.3"]);
        assert_eq!(prices(&["price>102.2", "price<=103"]), ["102.3", "103"]);
        assert_eq!(prices(&["price<100.15"]), ["100", "100.1"]);
        assert_eq!(prices(&["price>-1", "price<100.1"]), ["100"]);
        assert_eq!(kept(&["side=ask"]).len(), 20);
        assert_eq!(prices(&["side=ask", "price<101"]), ["100.1", "100.3"]);
        assert_eq!(kept(&["action=reset"]).len(), 1);
        assert_eq!(kept(&["qty>=2.5"]).len(), 10);
    }

    #[test]
    fn messages_that_lose_all_rows_are_gone_and_others_keep_their_head() {
        let filter = Filter::parse(Kind::Book, &["price>=105", "side=bid"]).unwrap();

        let batch = filter.keep(book_rows());

        assert_eq!((batch.messages(), batch.rows()), (5, 10));
        assert_eq!(batch.i64s(book::VENUE_SEQ), [5, 6, 7, 8, 9]);
        assert_eq!(batch.ends(), [2, 4, 6, 8, 10]);
    }

    #[test]
    fn a_block_is_left_out_only_if_no_row_can_meet_the_conditions() {
        let holds = |conditions: &[&str]| {
            let filter = Filter::parse(Kind::Book, conditions).unwrap();
            let mut scales = vec![(0, 0); 8];
            scales[book::PRICE] = (1, 1);
            filter.may_hold(Kind::Book, &[1000, 1093, 0, 3], &scales)
        };
        for (conditions, may) in [
            (&["price>=109.3"][..], true),
            (&["price>109.3"], false),
            (&["price<=100"], true),
            (&["price<100"], false),
            (&["price=105"], true),
            (&["price=109.35"], false),
            (&["price>100", "qty>3"], false),
            (&["side=ask"], true),
        ] {
            assert_eq!(holds(conditions), may, "{conditions:?}");
        }
        let filter = Filter::parse(Kind::Book, &["price>0"]).unwrap();
        assert!(!filter.may_hold(Kind::Book, &[NULL; 4], &[(0, 0); 8]), "no row sets a level");
    }

    #[test]
    fn a_wrong_condition_is_named() {
        for (kind, text, expected) in [
            (Kind::Book, "price", "expected e.g."),
            (Kind::Book, "prices>1", "prices"),
            (Kind::Book, "price>abc", "abc"),
            (Kind::Book, "side=buy", "expected one of bid, ask"),
            (Kind::Trades, "side>buy", "= only"),
            (Kind::Trades, "trade_id=7", "expected a column of"),
            (Kind::Book, "ts_recv>7", "expected a column of"),
        ] {
            let error = Filter::parse(kind, &[text]).unwrap_err();
            assert!(error.text().contains(text) && error.text().contains(expected), "{error}");
        }
        let many = vec!["price>1"; limit::CONDITIONS_MAX + 1];
        assert!(Filter::parse(Kind::Book, &many[1..]).is_ok());
        assert_eq!(Filter::parse(Kind::Book, &many).unwrap_err().kind(), crate::ErrorKind::Limit);
    }
}
