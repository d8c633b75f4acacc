//! Pieces of JSON messages that many venues share: exact numbers, levels, sides, times.
//!
//! A number stays the text the venue sent, quoted or bare, until it becomes a [`Decimal`]; nothing
//! goes through a float. Values borrow from the message.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::live::Heard;
use crate::error::{Error, Result};
use crate::event::{BatchBuilder, Side, TradeSide};
use crate::quantity::{Decimal, TsNs};

/// Reads a whole message as `T`, which borrows from it.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] with what the JSON lacks and where.
pub fn parse<'a, T: Deserialize<'a>>(message: &'a [u8]) -> Result<T> {
    parse_text(text(message)?)
}

/// As [`parse`], of a message that is known to be text.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] with what the JSON lacks and where.
pub fn parse_text<'a, T: Deserialize<'a>>(message: &'a str) -> Result<T> {
    serde_json::from_str(message).map_err(|error| Error::invalid(format!("message: {error}")))
}

/// As [`parse_text`], of an array or of one value without its array.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] with what the JSON lacks and where.
pub fn parse_one_or_many<'a, T: Deserialize<'a>>(message: &'a str) -> Result<Vec<T>> {
    match message.trim_start().starts_with('[') {
        true => parse_text(message),
        false => Ok(vec![parse_text(message)?]),
    }
}

/// The query part of an address whose path ends with `path`.
#[must_use]
pub fn query_of<'a>(url: &'a str, path: &str) -> Option<&'a str> {
    let (found, query) = url.split_once('?')?;
    found.ends_with(path).then_some(query)
}

/// The value of `name` in the query part of an address.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if there is none.
pub fn query_value<'a>(query: &'a str, name: &str) -> Result<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(key, _)| *key == name).map(|(_, value)| value);
    found.ok_or_else(|| Error::invalid(format!("request {query:?}: expected {name}")))
}

/// [`Heard::Refused`] with the whole message if its object has a field `name` that is not null.
#[must_use]
pub fn refusal(message: &[u8], name: &str) -> Heard {
    let object: Option<BTreeMap<Cow<'_, str>, &RawValue>> = serde_json::from_slice(message).ok();
    let refused =
        object.is_some_and(|object| object.get(name).is_some_and(|value| value.get() != "null"));
    match refused {
        true => Heard::Refused(String::from_utf8_lossy(message).into_owned()),
        false => Heard::Data,
    }
}

/// The message as text.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if it is not UTF-8.
pub fn text(message: &[u8]) -> Result<&str> {
    std::str::from_utf8(message).map_err(|error| {
        Error::invalid(format!(
            "message: expected UTF-8, found other at byte {}",
            error.valid_up_to()
        ))
    })
}

/// A number exactly as written, quoted (`"1.50"`) or bare (`1.50`); quotes are not part of it.
///
/// An empty text (`""`, how some venues write "none") is allowed here and refused by
/// [`Number::decimal`]; see [`Number::decimal_or_none`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Number<'a>(pub &'a str);

impl<'a> Number<'a> {
    /// The text without quotes.
    #[must_use]
    pub fn text(self) -> &'a str {
        self.0
    }

    /// The exact value.
    ///
    /// # Errors
    /// As [`Decimal::parse`].
    pub fn decimal(self) -> Result<Decimal> {
        Decimal::parse(self.0)
    }

    /// The exact value; `None` for an empty text.
    ///
    /// # Errors
    /// As [`Decimal::parse`].
    pub fn decimal_or_none(self) -> Result<Option<Decimal>> {
        if self.0.is_empty() { Ok(None) } else { self.decimal().map(Some) }
    }

    /// The value as an integer.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if it is not one or does not fit 64 bits.
    pub fn int(self) -> Result<i64> {
        self.0
            .parse()
            .map_err(|_| Error::invalid(format!("number {:?}: expected an integer", self.0)))
    }

    /// The moment that is this many milliseconds after 1970.
    ///
    /// # Errors
    /// As [`ts_ms`], and if it is not an integer.
    pub fn ts_ms(self) -> Result<TsNs> {
        ts_ms(self.int()?)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Number<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let bare = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
        match inner {
            Some(inner) if !inner.contains('\\') => Ok(Self(inner)),
            None if raw.as_bytes().first().is_some_and(bare) => Ok(Self(raw)),
            _ => Err(D::Error::custom(format_args!("expected a number, found {}", short(raw)))),
        }
    }
}

/// At most 40 characters of a value, for an error text.
fn short(raw: &str) -> &str {
    raw.char_indices().nth(40).and_then(|(end, _)| raw.get(..end)).unwrap_or(raw)
}

/// One level `["price", "qty", ...]`, what follows the quantity is ignored; or an object with
/// `price` and `qty`, shortened to `p` and `s` or `px` and `sz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level<'a> {
    /// Price of the level.
    pub price: Number<'a>,
    /// Quantity now at this price; zero removes the level.
    pub qty: Number<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Level<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<'a>(std::marker::PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Parts<'a> {
            type Value = Level<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a level of price and qty")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Level<'a>, A::Error> {
                let price =
                    array.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let qty =
                    array.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Level { price, qty })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Level<'a>, A::Error> {
                let (mut price, mut qty) = (None, None);
                while let Some(key) = object.next_key::<Cow<'_, str>>()? {
                    match &*key {
                        "price" | "p" | "px" => price = Some(object.next_value()?),
                        "qty" | "s" | "sz" => qty = Some(object.next_value()?),
                        _ => {
                            object.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                let missing = A::Error::missing_field;
                Ok(Level {
                    price: price.ok_or_else(|| missing("price"))?,
                    qty: qty.ok_or_else(|| missing("qty"))?,
                })
            }
        }

        deserializer.deserialize_any(Parts(std::marker::PhantomData))
    }
}

/// The exact value of a field that may be missing or empty.
///
/// # Errors
/// As [`Decimal::parse`].
pub fn decimal_or_none(number: Option<Number<'_>>) -> Result<Option<Decimal>> {
    number.map_or(Ok(None), Number::decimal_or_none)
}

/// Price and quantity of the first level, if there is one.
///
/// # Errors
/// As [`Decimal::parse`].
pub fn first_level(levels: &[Level<'_>]) -> Result<Option<(Decimal, Decimal)>> {
    match levels.first() {
        Some(level) => Ok(Some((level.price.decimal()?, level.qty.decimal()?))),
        None => Ok(None),
    }
}

/// The side in `text`, `buy` or `sell` in any case.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if it is neither.
pub fn trade_side(text: &str) -> Result<TradeSide> {
    if text.eq_ignore_ascii_case("buy") {
        Ok(TradeSide::Buy)
    } else if text.eq_ignore_ascii_case("sell") {
        Ok(TradeSide::Sell)
    } else {
        Err(Error::invalid(format!("side {text:?}: expected buy or sell")))
    }
}

/// Side of the book on which an order rests whose side is in `text`.
///
/// # Errors
/// As [`trade_side`].
pub fn book_side(text: &str) -> Result<Side> {
    Ok(if trade_side(text)? == TradeSide::Buy { Side::Bid } else { Side::Ask })
}

/// Side of the order that closes a position whose side is in `text`.
///
/// # Errors
/// As [`trade_side`].
pub fn closing_side(text: &str) -> Result<TradeSide> {
    Ok(if trade_side(text)? == TradeSide::Buy { TradeSide::Sell } else { TradeSide::Buy })
}

/// Adds levels of one side to the open message of `builder`, with the digits the venue wrote.
///
/// # Errors
/// As [`BatchBuilder::level_text`]; the caller abandons the message then.
pub fn push_levels(builder: &mut BatchBuilder, side: Side, levels: &[Level<'_>]) -> Result<()> {
    for level in levels {
        builder.level_text(side, level.price.text(), level.qty.text())?;
    }
    Ok(())
}

/// The moment `ms` milliseconds after 1970.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if nanoseconds do not fit 64 bits.
pub fn ts_ms(ms: i64) -> Result<TsNs> {
    ts_scaled(ms, 1_000_000, "milliseconds")
}

/// The moment `us` microseconds after 1970.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if nanoseconds do not fit 64 bits.
pub fn ts_us(us: i64) -> Result<TsNs> {
    ts_scaled(us, 1000, "microseconds")
}

fn ts_scaled(value: i64, unit_ns: i64, unit: &str) -> Result<TsNs> {
    value.checked_mul(unit_ns).map(TsNs).ok_or_else(|| {
        Error::invalid(format!("time {value}: expected {unit} since 1970 before the year 2262"))
    })
}

/// The moment `text` milliseconds after 1970, exact to the nanosecond: `1619093543708.2642`.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if it is not a decimal number of milliseconds with at most six
/// decimals.
pub fn ts_exact_ms(text: &str) -> Result<TsNs> {
    ts_decimal(text, 6, "milliseconds")
}

/// The moment `text` seconds after 1970, exact to the nanosecond: `1646003666.6408682`.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if it is not a decimal number of seconds with at most nine
/// decimals.
pub fn ts_seconds(text: &str) -> Result<TsNs> {
    ts_decimal(text, 9, "seconds")
}

fn ts_decimal(text: &str, decimals: u8, unit: &str) -> Result<TsNs> {
    Decimal::parse(text)
        .ok()
        .and_then(|count| count.mantissa_at(decimals))
        .map(TsNs)
        .ok_or_else(|| Error::invalid(format!("time {text:?}: expected {unit} since 1970")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Kind, MessageHead, book};

    #[test]
    fn a_number_keeps_its_text_quoted_or_bare() {
        let numbers: Vec<Number<'_>> =
            parse(br#"["0.00000000", 0.00000000, 1e-7, -3, "", "61737.630"]"#).unwrap();

        let texts: Vec<_> = numbers.iter().map(|number| number.text()).collect();
        assert_eq!(texts, ["0.00000000", "0.00000000", "1e-7", "-3", "", "61737.630"]);
        assert_eq!(numbers[2].decimal().unwrap(), Decimal::new(1, 7).unwrap());
        assert_eq!(numbers[4].decimal_or_none().unwrap(), None);
        assert!(numbers[4].decimal().is_err());
        assert_eq!(numbers[3].int().unwrap(), -3);
        assert!(numbers[5].int().is_err());
    }

    #[test]
    fn what_is_no_number_is_refused_with_its_text() {
        for bad in ["true", "null", "{}", "[1]", r#""1\u0030""#] {
            let error = parse::<Number<'_>>(bad.as_bytes()).unwrap_err();

            assert!(error.to_string().contains(bad), "{error}");
        }
        assert!(parse::<Number<'_>>(b"\"1\xff\"").unwrap_err().to_string().contains("byte 2"));
    }

    #[test]
    fn a_side_is_buy_or_sell_in_any_case() {
        assert_eq!(trade_side("Buy").unwrap(), TradeSide::Buy);
        assert_eq!(trade_side("SELL").unwrap(), TradeSide::Sell);
        assert_eq!(closing_side("Buy").unwrap(), TradeSide::Sell);
        assert_eq!(closing_side("sell").unwrap(), TradeSide::Buy);
        assert_eq!([book_side("Buy").unwrap(), book_side("sell").unwrap()], [Side::Bid, Side::Ask]);
        assert!(trade_side("b").unwrap_err().to_string().contains("\"b\""));
    }

    #[test]
    fn one_value_is_an_array_of_one() {
        assert_eq!(parse_one_or_many::<u8>(" [1,2]").unwrap(), [1, 2]);
        assert_eq!(parse_one_or_many::<u8>("3").unwrap(), [3]);
        assert!(parse_one_or_many::<u8>("x").is_err());
    }

    #[test]
    fn a_value_of_a_query_is_found_by_its_whole_name() {
        assert_eq!(query_value("xsymbol=1&symbol=A_B&z", "symbol").unwrap(), "A_B");
        assert!(query_value("symbols=1", "symbol").unwrap_err().to_string().contains("symbol"));
        assert_eq!(query_of("https://x/v1/book?a=1?", "/book"), Some("a=1?"));
        assert_eq!(query_of("https://x/v1/books?a=1", "/book"), None);
        assert_eq!(query_of("https://x/v1/book", "/book"), None);
    }

    #[test]
    fn levels_ignore_what_follows_the_quantity() {
        let levels: Vec<Level<'_>> =
            parse(br#"[["61.50","2"],[61.4,"0",0,"4"],["1","2","time","r"]]"#).unwrap();
        let mut builder = BatchBuilder::new(Kind::Book);
        builder.begin(MessageHead::default());
        push_levels(&mut builder, Side::Ask, &levels).unwrap();
        builder.end();

        let batch = builder.finish().unwrap().pop().unwrap();

        assert_eq!(batch.i64s(book::PRICE), [615, 614, 10]);
        assert_eq!(batch.i64s(book::QTY), [2, 0, 2]);
        assert_eq!(batch.column(book::PRICE).unwrap().digits, 2);
        let objects: Vec<Level<'_>> =
            parse(br#"[{"s":803,"p":"0.29"},{"px":"1","sz":"2","n":5},{"price":1,"qty":2.0}]"#)
                .unwrap();
        let texts = objects.iter().map(|level| (level.price.text(), level.qty.text()));
        assert_eq!(texts.collect::<Vec<_>>(), [("0.29", "803"), ("1", "2"), ("1", "2.0")]);
        assert!(parse::<Vec<Level<'_>>>(br#"[["1"]]"#).is_err());
        assert!(parse::<Vec<Level<'_>>>(br#"[{"p":"1"}]"#).is_err());
    }

    #[test]
    fn times_are_exact_and_bounded() {
        assert_eq!(ts_seconds("1646003666.6408682").unwrap(), TsNs(1_646_003_666_640_868_200));
        assert_eq!(ts_seconds("1633998511").unwrap(), TsNs(1_633_998_511_000_000_000));
        assert!(ts_seconds("1.0000000001").is_err());
        assert!(ts_seconds("99999999999").is_err());
        assert_eq!(ts_exact_ms("1619093543708.2642").unwrap(), TsNs(1_619_093_543_708_264_200));
        assert!(ts_exact_ms("1.0000001").is_err());
        assert_eq!(ts_ms(1_723_161_256_299).unwrap(), TsNs(1_723_161_256_299_000_000));
        assert!(ts_ms(i64::MAX / 1_000_000).is_ok());
        assert!(ts_ms(i64::MAX / 1_000_000 + 1).is_err());
        assert_eq!(ts_us(7).unwrap(), TsNs(7000));
        assert_eq!(Number("5").ts_ms().unwrap(), TsNs(5_000_000));
    }
}
