//! Pieces of JSON messages that many venues share: exact numbers, levels, times.
//!
//! A number stays the text the venue sent, quoted or bare, until it becomes a [`Decimal`]; nothing
//! goes through a float. Values borrow from the message.

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::event::{BatchBuilder, Side};
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

/// One level `["price", "qty", ...]`; what follows the quantity is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level<'a> {
    /// Price of the level.
    pub price: Number<'a>,
    /// Quantity now at this price; zero removes the level.
    pub qty: Number<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Level<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array<'a>(std::marker::PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Array<'a> {
            type Value = Level<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a level [price, qty]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Level<'a>, A::Error> {
                let price =
                    array.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let qty =
                    array.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Level { price, qty })
            }
        }

        deserializer.deserialize_seq(Array(std::marker::PhantomData))
    }
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

/// The moment `text` seconds after 1970, exact to the nanosecond: `1646003666.6408682`.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if it is not a decimal number of seconds with at most nine
/// decimals.
pub fn ts_seconds(text: &str) -> Result<TsNs> {
    Decimal::parse(text)
        .ok()
        .and_then(|seconds| seconds.mantissa_at(9))
        .map(TsNs)
        .ok_or_else(|| Error::invalid(format!("time {text:?}: expected seconds since 1970")))
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
        assert!(parse::<Vec<Level<'_>>>(br#"[["1"]]"#).is_err());
        assert!(parse::<Vec<Level<'_>>>(br#"[{"p":"1"}]"#).is_err());
    }

    #[test]
    fn times_are_exact_and_bounded() {
        assert_eq!(ts_seconds("1646003666.6408682").unwrap(), TsNs(1_646_003_666_640_868_200));
        assert_eq!(ts_seconds("1633998511").unwrap(), TsNs(1_633_998_511_000_000_000));
        assert!(ts_seconds("1.0000000001").is_err());
        assert!(ts_seconds("99999999999").is_err());
        assert_eq!(ts_ms(1_723_161_256_299).unwrap(), TsNs(1_723_161_256_299_000_000));
        assert!(ts_ms(i64::MAX / 1_000_000).is_ok());
        assert!(ts_ms(i64::MAX / 1_000_000 + 1).is_err());
        assert_eq!(ts_us(7).unwrap(), TsNs(7000));
        assert_eq!(Number("5").ts_ms().unwrap(), TsNs(5_000_000));
    }
}
