//! One line's fields, and the values they hold.

use super::header::Header;
use crate::error::{Error, Result};
use crate::event::TradeSide;
use crate::limit;
use crate::quantity::{Decimal, POW10, TsNs};

/// Bytes of a field that an error shows.
const SHOWN_BYTES: usize = 80;

/// Slots of the columns that every data type has.
pub(super) const EXCHANGE: usize = 0;
pub(super) const SYMBOL: usize = 1;
pub(super) const TIMESTAMP: usize = 2;
const LOCAL_TIMESTAMP: usize = 3;

/// Splits lines into fields by slot.
#[derive(Debug)]
pub(super) struct Splitter {
    names: Vec<String>,
    slots: Vec<u16>,
    ranges: Vec<(u32, u32)>,
}

/// The fields of one line.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    splitter: &'a Splitter,
    line: &'a [u8],
}

/// What every line of any type says, besides its instrument.
pub(super) struct Row<'a> {
    pub(super) ts_recv: TsNs,
    pub(super) ts_event: Option<TsNs>,
    pub(super) line: u64,
    pub(super) file: &'a str,
}

impl Splitter {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            names: header.names.clone(),
            slots: header.slots.clone(),
            ranges: vec![(0, 0); header.names.len()],
        }
    }

    /// The fields of `line`.
    ///
    /// # Errors
    /// Not as many fields as the header has columns.
    pub(super) fn split<'a>(&'a mut self, line: &'a [u8]) -> Result<Fields<'a>> {
        let count = self.slots.len();
        let (mut start, mut column) = (0u32, 0);
        // Lines are at most `limit::LINE_BYTES_MAX` long, far below 4 GiB.
        for end in memchr::memchr_iter(b',', line).chain(std::iter::once(line.len())) {
            let end = end as u32;
            if let Some(range) =
                self.slots.get(column).and_then(|&slot| self.ranges.get_mut(usize::from(slot)))
            {
                *range = (start, end);
            }
            start = end + 1;
            column += 1;
        }
        if column != count {
            return Err(Error::invalid(format!(
                "{column} fields: expected {count}, one per column of the header"
            )));
        }
        Ok(Fields { splitter: self, line })
    }

    /// What stands before a field of the line split last.
    pub(super) fn before_slot<'a>(&self, slot: usize, line: &'a [u8]) -> &'a [u8] {
        let start = self.ranges.get(slot).map_or(0, |range| range.0);
        line.get(..start as usize).unwrap_or_default()
    }
}

impl<'a> Fields<'a> {
    /// The field of a slot as it is.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> &'a [u8] {
        let (start, end) = self.splitter.ranges.get(slot).copied().unwrap_or((0, 0));
        self.line.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Puts the column's name in front of an error.
    #[cold]
    fn named(&self, slot: usize, error: Error) -> Error {
        let name = self.splitter.names.get(slot).map_or("", String::as_str);
        error.context(format_args!("column {name}"))
    }

    /// An error that shows the field and says what should stand there.
    #[cold]
    pub(super) fn expected(&self, slot: usize, expected: &str) -> Error {
        let shown = show(self.get(slot));
        self.named(slot, Error::invalid(format!("{shown}: expected {expected}")))
    }

    /// Receive time; every row has one.
    #[inline]
    pub(super) fn ts_recv(&self) -> Result<TsNs> {
        self.time(LOCAL_TIMESTAMP)?.ok_or_else(|| self.expected(LOCAL_TIMESTAMP, MICROSECONDS))
    }

    /// Event time, if the field is not empty.
    #[inline]
    pub(super) fn ts_event(&self) -> Result<Option<TsNs>> {
        self.time(TIMESTAMP)
    }

    /// A time in microseconds; `None` if the field is empty.
    #[inline]
    pub(super) fn time(&self, slot: usize) -> Result<Option<TsNs>> {
        let text = self.get(slot);
        if text.is_empty() {
            return Ok(None);
        }
        match parse_micros(text) {
            Some(ts) => Ok(Some(ts)),
            None => Err(self.expected(slot, MICROSECONDS)),
        }
    }

    /// An exact decimal with the number of decimals as written.
    #[inline]
    pub(super) fn decimal(&self, slot: usize) -> Result<(Decimal, u8)> {
        let text = self.get(slot);
        match Decimal::parse_bytes_with_digits(text) {
            Ok(parsed) => Ok(parsed),
            Err(_) if text.is_empty() => Err(self.expected(slot, "a decimal number")),
            Err(error) => Err(self.named(slot, error)),
        }
    }

    /// An exact decimal; `None` if the field is empty.
    pub(super) fn maybe_decimal(&self, slot: usize) -> Result<Option<(Decimal, u8)>> {
        if self.get(slot).is_empty() { Ok(None) } else { self.decimal(slot).map(Some) }
    }

    /// A decimal that is not negative.
    #[inline]
    pub(super) fn amount(&self, slot: usize) -> Result<(Decimal, u8)> {
        let amount = self.decimal(slot)?;
        if amount.0.mantissa() < 0 {
            return Err(self.expected(slot, "an amount of at least 0"));
        }
        Ok(amount)
    }

    /// An amount; `None` if the field is empty.
    pub(super) fn maybe_amount(&self, slot: usize) -> Result<Option<(Decimal, u8)>> {
        if self.get(slot).is_empty() { Ok(None) } else { self.amount(slot).map(Some) }
    }

    /// The aggressor.
    pub(super) fn trade_side(&self, slot: usize) -> Result<TradeSide> {
        match self.get(slot) {
            b"buy" => Ok(TradeSide::Buy),
            b"sell" => Ok(TradeSide::Sell),
            b"unknown" => Ok(TradeSide::Unknown),
            _ => Err(self.expected(slot, "buy, sell or unknown")),
        }
    }

    /// Text of any kind.
    pub(super) fn text(&self, slot: usize) -> Result<&'a str> {
        let text = self.get(slot);
        if text.len() > limit::TEXT_BYTES_MAX {
            let error = Error::limit("bytes of a text:", text.len(), limit::TEXT_BYTES_MAX);
            return Err(self.named(slot, error));
        }
        std::str::from_utf8(text).map_err(|_| self.expected(slot, "UTF-8 text"))
    }
}

const MICROSECONDS: &str = "microseconds since 1970, before the year 2262";

fn show(text: &[u8]) -> String {
    match text.get(..SHOWN_BYTES) {
        Some(start) if text.len() > SHOWN_BYTES => {
            format!(
                "{:?} and {} more bytes",
                String::from_utf8_lossy(start),
                text.len() - SHOWN_BYTES
            )
        }
        _ => format!("{:?}", String::from_utf8_lossy(text)),
    }
}

/// Digits, as microseconds since 1970.
#[inline]
pub(super) fn parse_micros(text: &[u8]) -> Option<TsNs> {
    leading_micros(text).filter(|(_, rest)| rest.is_empty()).map(|(ts, _)| ts)
}

/// The digits that `text` begins with, as microseconds since 1970, and what follows them.
#[inline]
pub(super) fn leading_micros(text: &[u8]) -> Option<(TsNs, &[u8])> {
    const DIGITS_MAX: usize = 16;
    let (micros, count, rest) = leading_digits(text, 0);
    if count == 0 || count > DIGITS_MAX {
        return None;
    }
    let ns = i64::try_from(micros).ok()?.checked_mul(1000)?;
    Some((TsNs(ns), rest))
}

/// The decimal that `text` begins with, with its decimals as written, and what follows it. `None`
/// for all but the plainest form: digits with at most one point between them, not too many.
#[inline(always)]
pub(super) fn leading_decimal(text: &[u8]) -> Option<((Decimal, u8), &[u8])> {
    /// Digits that fit an `i64` whatever they are.
    const DIGITS_MAX: usize = 18;
    let (mut mantissa, whole, rest) = leading_digits(text, 0);
    if whole == 0 || whole > DIGITS_MAX {
        return None;
    }
    let (mut scale, mut rest_after) = (0, rest);
    if let Some(fraction) = rest.strip_prefix(b".") {
        (mantissa, scale, rest_after) = leading_digits(fraction, mantissa);
        if scale == 0 || whole + scale > DIGITS_MAX {
            return None;
        }
    }
    let digits = scale as u8;
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    let value = Decimal::new(i64::try_from(mantissa).ok()?, scale as u8)?;
    Some(((value, digits), rest_after))
}

/// Appends the digits that `text` begins with to `number`, wrapping if there are too many: the new
/// number, how many they were, and what follows them.
#[inline(always)]
fn leading_digits(text: &[u8], mut number: u64) -> (u64, usize, &[u8]) {
    let mut count = 0;
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk() {
        let (value, digits) = leading_digits_of_eight(*eight);
        number = number.wrapping_mul(power_of_ten(digits)).wrapping_add(value);
        count += digits;
        if digits < 8 {
            return (number, count, text.get(count..).unwrap_or_default());
        }
        rest = after;
    }
    for &byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    (number, count, text.get(count..).unwrap_or_default())
}

/// The number that the digits make which eight bytes begin with, and how many they are. Without
/// branches: where a number ends is hard to foresee.
#[inline(always)]
fn leading_digits_of_eight(text: [u8; 8]) -> (u64, usize) {
    let bytes = u64::from_le_bytes(text) ^ 0x3030_3030_3030_3030;
    // Marks bytes above 9; after the first of them, a carry may mark others.
    let others = (bytes.wrapping_add(0x7676_7676_7676_7676) | bytes) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() / 8;
    // Zeros take the place of what follows, in front of the digits.
    let digits = bytes.checked_shl(64 - 8 * count).unwrap_or(0);
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let number = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    (number, count as usize)
}

#[inline]
fn power_of_ten(exponent: usize) -> u64 {
    POW10.get(exponent).map_or(1, |power| power.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn leading_decimals_are_what_the_exact_parser_reads(
            text in "[0-9]{0,20}(\\.[0-9]{0,20})?", rest in "(,.*)?"
        ) {
            let line = format!("{text}{rest}");
            if let Some((value, after)) = leading_decimal(line.as_bytes()) {
                prop_assert_eq!(after, rest.as_bytes());
                let (expected, digits) = Decimal::parse_with_digits(&text).unwrap();
                prop_assert_eq!((value.0.mantissa(), value.0.scale()),
                    (expected.mantissa(), expected.scale()));
                prop_assert_eq!(value.1, digits);
            }
        }

        #[test]
        fn digits_end_at_the_first_byte_that_is_none(
            digits in "[0-9]{0,19}", rest in any::<Vec<u8>>()
        ) {
            let after = rest.iter().copied().skip_while(u8::is_ascii_digit).collect::<Vec<_>>();
            let text = [digits.as_bytes(), &after].concat();
            let expected = digits.bytes().fold(7u64, |number, digit| {
                number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
            });
            prop_assert_eq!(leading_digits(&text, 7), (expected, digits.len(), &after[..]));
        }

        #[test]
        fn plain_numbers_take_the_short_way(whole in 0u64..1_000_000_000, fraction in 0u32..100) {
            for text in [format!("{whole}"), format!("{whole}.{fraction:02}")] {
                prop_assert!(leading_decimal(text.as_bytes()).is_some());
            }
        }
    }

    #[test]
    fn microseconds_are_whole_numbers_that_fit_nanoseconds() {
        assert_eq!(parse_micros(b"1585699200355684"), Some(TsNs(1_585_699_200_355_684_000)));
        assert_eq!(parse_micros(b"0"), Some(TsNs(0)));
        assert_eq!(parse_micros(b"9223372036854775"), Some(TsNs(9_223_372_036_854_775_000)));
        for refused in
            [&b""[..], b"-1", b"+1", b"1.5", b" 1", b"9223372036854776", b"10000000000000000"]
        {
            assert_eq!(parse_micros(refused), None, "{}", String::from_utf8_lossy(refused));
        }
    }
}
