//! Time, exact decimals and the names of instruments: the values everything else is made of.
//!
//! No value here is ever a float. A price is a mantissa and a decimal scale; a time is a count of
//! nanoseconds. Nothing here reads a clock.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::limit;

/// "No value" in every nullable `i64` column: time, integer or mantissa.
pub const NULL: i64 = i64::MIN;

/// Smallest and largest value that is not null; null if there is none.
#[must_use]
pub fn min_max(values: impl Iterator<Item = i64>) -> (i64, i64) {
    // One less, null is the largest number.
    let (low, high) = values.fold((i64::MAX, NULL), |(low, high), value| {
        (low.min(value.wrapping_sub(1)), high.max(value))
    });
    (low.wrapping_add(1), high)
}

/// Whether all `values` are in `low..=high`, which is not empty. Many values per instruction, which
/// comparing them one by one is not.
#[must_use]
pub(crate) fn are_within(values: &[i64], low: i64, high: i64) -> bool {
    // Below 0 where a value is outside: where one of the differences overflows, the other is.
    let outside = |value: i64| value.wrapping_sub(low) | high.wrapping_sub(value);
    values.iter().fold(0, |all, &value| all | outside(value)) >= 0
}

/// Nanoseconds of one UTC day.
pub const DAY_NS: i64 = 86_400_000_000_000;

/// A moment: nanoseconds since 1970-01-01T00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TsNs(pub i64);

impl TsNs {
    /// Before every row.
    pub const MIN: Self = Self(i64::MIN + 1);
    /// After every row.
    pub const MAX: Self = Self(i64::MAX);

    /// Reads RFC 3339 (`2024-08-08T23:54:15.1Z`), the same without zone (UTC is meant), a date
    /// (its first nanosecond) or an integer count of nanoseconds.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] with the text and the accepted forms.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Ok(ns) = text.parse::<i64>() {
            return Ok(Self(ns));
        }
        let timestamp = text
            .parse::<jiff::Timestamp>()
            .or_else(|_| {
                text.parse::<jiff::civil::DateTime>()
                    .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC))
                    .map(|zoned| zoned.timestamp())
            })
            .map_err(|_| {
                Error::invalid(format!(
                    "time {text:?}: expected RFC 3339 (2024-08-08T23:54:15.1Z), \
                     a date (2024-08-08) or integer nanoseconds since 1970"
                ))
            })?;
        i64::try_from(timestamp.as_nanosecond())
            .map(Self)
            .map_err(|_| Error::invalid(format!("time {text:?}: outside the years 1677 to 2262")))
    }

    /// Days since 1970-01-01 of the UTC day that holds this moment.
    #[must_use]
    pub fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(DAY_NS)).unwrap_or(i32::MIN))
    }

    /// This moment moved by `ns`, stopping at the ends of the range.
    #[must_use]
    pub fn saturating_add(self, ns: i64) -> Self {
        Self(self.0.saturating_add(ns).max(Self::MIN.0))
    }
}

impl fmt::Display for TsNs {
    /// RFC 3339 in UTC with nine decimals: `2024-08-08T23:54:15.030314667Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(timestamp) => write!(f, "{timestamp:.9}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// A UTC day: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// First nanosecond of the day.
    #[must_use]
    pub fn start(self) -> TsNs {
        TsNs(i64::from(self.0).saturating_mul(DAY_NS))
    }

    /// First nanosecond of the next day.
    #[must_use]
    pub fn end(self) -> TsNs {
        TsNs((i64::from(self.0) + 1).saturating_mul(DAY_NS))
    }
}

impl fmt::Display for Day {
    /// `2024-08-08`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.start().to_string();
        f.write_str(text.split('T').next().unwrap_or(&text))
    }
}

/// Reads a length of time such as `250ms`, `5m`, `1h 30m` or an integer count of nanoseconds.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] with the text and the accepted forms.
pub fn parse_duration_ns(text: &str) -> Result<i64> {
    let text = text.trim();
    if let Ok(ns) = text.parse::<i64>() {
        return Ok(ns);
    }
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| i64::try_from(duration.as_nanos()).ok())
        .ok_or_else(|| {
            Error::invalid(format!("duration {text:?}: expected e.g. 250ms, 1s, 5m, 1h"))
        })
}

/// 10^n for n in 0..=18.
pub(crate) const POW10: [i64; 19] = {
    let mut table = [1i64; 19];
    let mut n = 1;
    while n < 19 {
        table[n] = table[n - 1] * 10;
        n += 1;
    }
    table
};

/// An exact decimal number: `mantissa` x 10^-`scale`, with `scale` at most 18.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    mantissa: i64,
    scale: u8,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };

    /// `mantissa` x 10^-`scale`; `None` if the scale is above 18 or the mantissa is [`NULL`].
    #[must_use]
    pub const fn new(mantissa: i64, scale: u8) -> Option<Self> {
        if scale > limit::SCALE_MAX || mantissa == NULL {
            None
        } else {
            Some(Self { mantissa, scale })
        }
    }

    /// A whole number.
    #[must_use]
    pub const fn from_int(value: i64) -> Option<Self> {
        Self::new(value, 0)
    }

    /// Reads decimal text: digits with an optional sign, point and exponent (`-1.5`, `.5`, `1e-7`).
    ///
    /// The scale is the smallest that holds the value: `1.500` is 15 x 10^-1.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if it is not a number; [`crate::ErrorKind::Limit`] if it needs
    /// more than 18 decimals or does not fit an `i64`. The text is in the message.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_with_digits(text).map(|(value, _)| value)
    }

    /// As [`Decimal::parse`], with the number of decimals as written (`1.500` has 3).
    ///
    /// # Errors
    /// As [`Decimal::parse`].
    pub fn parse_with_digits(text: &str) -> Result<(Self, u8)> {
        match parse_plain(text.as_bytes()) {
            Some(parsed) => Ok(parsed),
            None => parse_slow(text),
        }
    }

    /// As [`Decimal::parse_with_digits`], from bytes.
    ///
    /// # Errors
    /// As [`Decimal::parse`].
    #[inline]
    pub fn parse_bytes_with_digits(text: &[u8]) -> Result<(Self, u8)> {
        match parse_plain(text) {
            Some(parsed) => Ok(parsed),
            None => parse_slow(&String::from_utf8_lossy(text)),
        }
    }

    /// The integer in units of 10^-[`scale`](Self::scale).
    #[must_use]
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// Decimals after the point that the mantissa holds.
    #[must_use]
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// The mantissa at another scale; `None` if digits would be lost or it does not fit an `i64`.
    #[must_use]
    pub fn mantissa_at(self, scale: u8) -> Option<i64> {
        if scale > limit::SCALE_MAX {
            return None;
        }
        let mantissa = if scale >= self.scale {
            self.mantissa.checked_mul(POW10[usize::from(scale - self.scale)])?
        } else {
            let divisor = POW10[usize::from(self.scale - scale)];
            if self.mantissa % divisor != 0 {
                return None;
            }
            self.mantissa / divisor
        };
        (mantissa != NULL).then_some(mantissa)
    }

    /// The same value with the smallest scale.
    #[must_use]
    pub fn normalized(self) -> Self {
        let Self { mut mantissa, mut scale } = self;
        if mantissa == 0 {
            return Self::ZERO;
        }
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Self { mantissa, scale }
    }

    /// Whether the value is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// The nearest `f64`, for charts and statistics; never stored, never compared.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the caller asks for an approximation")]
    pub fn to_f64(self) -> f64 {
        if self.mantissa.unsigned_abs() > 1 << 53 {
            // Rounding the mantissa first would round twice; reading text rounds once.
            return self.to_string().parse().unwrap_or(f64::NAN);
        }
        // Both operands are exact, and one correctly rounded division follows.
        self.mantissa as f64 / POW10[usize::from(self.scale)] as f64
    }

    /// Text with exactly `digits` decimals; digits that the value needs are never cut.
    #[must_use]
    pub fn to_text_with_digits(self, digits: u8) -> String {
        let mut text = self.normalized().to_string();
        let have = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        if have == 0 && digits > 0 {
            text.push('.');
        }
        text.extend(std::iter::repeat_n('0', usize::from(digits).saturating_sub(have)));
        text
    }

    fn wide(self) -> i128 {
        i128::from(self.mantissa) * i128::from(POW10[usize::from(limit::SCALE_MAX - self.scale)])
    }
}

/// The form nearly every number has: up to 18 digits with at most one point.
fn parse_plain(text: &[u8]) -> Option<(Decimal, u8)> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let (mut mantissa, mut seen, mut zeros) = (0i64, 0u8, 0u8);
    let mut point = None;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            if seen == 18 {
                return None;
            }
            mantissa = mantissa * 10 + i64::from(digit);
            seen += 1;
            zeros = if digit == 0 { zeros + 1 } else { 0 };
        } else if byte == b'.' && point.is_none() {
            point = Some(seen);
        } else {
            return None;
        }
    }
    if seen == 0 {
        return None;
    }
    let written = point.map_or(0, |at| seen - at);
    let strip = if mantissa == 0 { written } else { zeros.min(written) };
    mantissa /= POW10[usize::from(strip)];
    let value =
        Decimal { mantissa: if negative { -mantissa } else { mantissa }, scale: written - strip };
    Some((value, written))
}

/// Every other form: exponents, many leading or trailing zeros, 19-digit mantissas.
fn parse_slow(text: &str) -> Result<(Decimal, u8)> {
    let not_a_number = || Error::invalid(format!("number {text:?}: expected a decimal number"));
    if text.len() > limit::DECIMAL_TEXT_BYTES_MAX {
        return Err(Error::limit("bytes of a number:", text.len(), limit::DECIMAL_TEXT_BYTES_MAX));
    }
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => {
            (number, exponent.parse::<i32>().map_err(|_| not_a_number())?.clamp(-4096, 4096))
        }
        None => (text, 0),
    };
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(not_a_number());
    }
    let digits = [whole, fraction].concat();
    let point = whole.len() as i32 + exponent;
    let significant = digits.trim_start_matches('0');
    let written = u8::try_from((digits.len() as i32 - point).clamp(0, 255)).unwrap_or(u8::MAX);
    if significant.is_empty() {
        return Ok((Decimal::ZERO, written.min(limit::SCALE_MAX)));
    }
    let point = point - (digits.len() - significant.len()) as i32;
    let significant = significant.trim_end_matches('0');
    let scale = significant.len() as i32 - point;
    if scale > i32::from(limit::SCALE_MAX) {
        return Err(Error::limit(&format!("decimals of {text:?}:"), scale, limit::SCALE_MAX));
    }
    let too_large = || {
        Error::new(
            crate::ErrorKind::Limit,
            format!("number {text:?} does not fit 64 bits at its {} decimals", scale.max(0)),
        )
    };
    let mut mantissa = significant.parse::<i64>().map_err(|_| too_large())?;
    for _ in scale..0 {
        mantissa = mantissa.checked_mul(10).ok_or_else(too_large)?;
    }
    let scale = u8::try_from(scale.max(0)).map_err(|_| too_large())?;
    let value = Decimal { mantissa: if negative { -mantissa } else { mantissa }, scale };
    Ok((value, written.min(limit::SCALE_MAX)))
}

impl FromStr for Decimal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.wide() == other.wide()
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.wide().cmp(&other.wide())
    }
}

impl std::hash::Hash for Decimal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.wide().hash(state);
    }
}

impl fmt::Display for Decimal {
    /// The shortest exact text: no trailing zeros, no exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.normalized();
        let magnitude = value.mantissa.unsigned_abs();
        let sign = if value.mantissa < 0 { "-" } else { "" };
        let unit = POW10[usize::from(value.scale)].unsigned_abs();
        if value.scale == 0 {
            return f.pad(&format!("{sign}{magnitude}"));
        }
        let (whole, fraction) = (magnitude / unit, magnitude % unit);
        f.pad(&format!("{sign}{whole}.{fraction:0width$}", width = usize::from(value.scale)))
    }
}

/// What is traded where: `binance-futures:BTCUSDT`.
///
/// The exchange is a lower-case kebab id as Tardis names it; the symbol is the venue's own
/// spelling, never changed. Neither ever becomes part of a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instrument {
    exchange: Arc<str>,
    symbol: Arc<str>,
}

impl Instrument {
    /// Names an instrument.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] or [`crate::ErrorKind::Limit`] if a part is empty, too long or
    /// has characters outside its alphabet.
    pub fn new(exchange: &str, symbol: &str) -> Result<Self> {
        if exchange.len() > limit::EXCHANGE_BYTES_MAX {
            let bytes = exchange.len();
            return Err(Error::limit("bytes of an exchange id:", bytes, limit::EXCHANGE_BYTES_MAX));
        }
        if symbol.len() > limit::SYMBOL_BYTES_MAX {
            return Err(Error::limit("bytes of a symbol:", symbol.len(), limit::SYMBOL_BYTES_MAX));
        }
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if exchange.is_empty() || !exchange.chars().all(kebab) {
            return Err(Error::invalid(format!(
                "exchange {exchange:?}: expected lower-case letters, digits and '-'"
            )));
        }
        if symbol.is_empty() || symbol.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Error::invalid(format!(
                "symbol {symbol:?}: expected printable characters without blanks"
            )));
        }
        Ok(Self { exchange: exchange.into(), symbol: symbol.into() })
    }

    /// Reads `exchange:symbol`. Only the first colon separates.
    ///
    /// # Errors
    /// As [`Instrument::new`].
    pub fn parse(text: &str) -> Result<Self> {
        let (exchange, symbol) = text.split_once(':').ok_or_else(|| {
            Error::invalid(format!(
                "instrument {text:?}: expected exchange:symbol, e.g. binance-futures:BTCUSDT"
            ))
        })?;
        Self::new(exchange, symbol)
    }

    /// The exchange id.
    #[must_use]
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The venue's symbol.
    #[must_use]
    pub fn symbol(&self) -> &str {
        &self.symbol
    }
}

impl FromStr for Instrument {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.exchange, self.symbol))
    }
}

impl fmt::Debug for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn decimals_keep_the_value_and_count_the_written_digits() {
        let cases = [
            ("0", 0, 0, 0),
            ("0.000", 0, 0, 3),
            ("61737.63000000", 6_173_763, 2, 8),
            ("-1.50", -15, 1, 2),
            (".5", 5, 1, 1),
            ("5.", 5, 0, 0),
            ("1e-7", 1, 7, 7),
            ("1.5E3", 1500, 0, 0),
            ("1854.980000000000018", 1_854_980_000_000_000_018, 15, 15),
            ("9223372036854775807", i64::MAX, 0, 0),
            ("000000000000000000000000012.0", 12, 0, 1),
        ];
        for (text, mantissa, scale, digits) in cases {
            let (value, written) = Decimal::parse_with_digits(text).unwrap();

            assert_eq!((value.mantissa(), value.scale(), written), (mantissa, scale, digits));
        }
    }

    #[test]
    fn what_is_no_number_or_does_not_fit_is_refused_with_its_text() {
        for text in ["", "-", ".", "1.2.3", "abc", "1e", "0x10", "1,5", " 1", "NaN", "inf", "--1"] {
            let error = Decimal::parse(text).unwrap_err();

            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{text}");
        }
        for text in
            ["9223372036854775808", "0.1234567890123456789", "1e19", "92233720368.547758080001"]
        {
            let error = Decimal::parse(text).unwrap_err();

            assert_eq!(error.kind(), crate::ErrorKind::Limit, "{text}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn digits_and_text_of_a_number_stop_at_their_limits() {
        assert!(Decimal::new(1, limit::SCALE_MAX).is_some());
        assert!(Decimal::new(1, limit::SCALE_MAX + 1).is_none());
        for (decimals, fits) in [(18, true), (19, false)] {
            let text = format!("0.{}1", "0".repeat(decimals - 1));
            assert_eq!(Decimal::parse(&text).is_ok(), fits, "{text}");
        }
        let longest = format!("{}1.5", "0".repeat(limit::DECIMAL_TEXT_BYTES_MAX - 3));
        assert_eq!(decimal(&longest).to_string(), "1.5");
        let error = Decimal::parse(&format!("0{longest}")).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Limit);
        assert!(error.to_string().contains("bytes of a number: 65"), "{error}");
    }

    #[test]
    fn text_with_digits_pads_but_never_cuts() {
        assert_eq!(decimal("1.5").to_text_with_digits(4), "1.5000");
        assert_eq!(decimal("1.5").to_text_with_digits(0), "1.5");
        assert_eq!(decimal("2").to_text_with_digits(2), "2.00");
    }

    #[test]
    fn times_are_read_in_every_form_and_printed_with_nanoseconds() {
        let ns = 1_723_161_255_030_314_667;
        for text in [
            "1723161255030314667",
            "2024-08-08T23:54:15.030314667Z",
            "2024-08-08T23:54:15.030314667",
            "2024-08-09T01:54:15.030314667+02:00",
            "2024-08-08 23:54:15.030314667",
        ] {
            assert_eq!(TsNs::parse(text).unwrap(), TsNs(ns), "{text}");
        }
        assert_eq!(TsNs(ns).to_string(), "2024-08-08T23:54:15.030314667Z");
        assert_eq!(TsNs::parse("2024-08-08").unwrap(), TsNs(ns).day().start());
        assert_eq!(TsNs(ns).day().to_string(), "2024-08-08");
        assert_eq!(TsNs(-1).day(), Day(-1));
        assert!(TsNs::parse("yesterday").is_err());
        assert!(TsNs::parse("2024-13-01").is_err());
        assert!(TsNs::parse("3000-01-01").is_err());
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration_ns("250ms").unwrap(), 250_000_000);
        assert_eq!(parse_duration_ns("5m").unwrap(), 300_000_000_000);
        assert!(parse_duration_ns("soon").is_err());
    }

    #[test]
    fn instrument_names_are_checked() {
        let instrument = Instrument::parse("binance-futures:BTCUSDT").unwrap();
        assert_eq!((instrument.exchange(), instrument.symbol()), ("binance-futures", "BTCUSDT"));
        assert_eq!(Instrument::parse("bitfinex:tBTCF0:USTF0").unwrap().symbol(), "tBTCF0:USTF0");
        assert_eq!(Instrument::parse("kraken:XBT/USD").unwrap().symbol(), "XBT/USD");
        for text in ["", "BTCUSDT", "Binance:X", "binance:", ":X", "binance:a b", "binance:a\0b"] {
            assert!(Instrument::parse(text).is_err(), "{text:?}");
        }
        let longest = "x".repeat(limit::SYMBOL_BYTES_MAX);
        assert!(Instrument::new("binance", &longest).is_ok());
        let error = Instrument::new("binance", &format!("{longest}x")).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Limit);
        let longest = "x".repeat(limit::EXCHANGE_BYTES_MAX);
        assert!(Instrument::new(&longest, "X").is_ok());
        assert!(Instrument::new(&format!("{longest}x"), "X").is_err());
    }

    proptest! {
        #[test]
        fn text_in_and_out_agree_with_a_decimal_library(
            mantissa in any::<i64>().prop_filter("null", |m| *m != NULL),
            scale in 0u8..=18,
        ) {
            let value = Decimal::new(mantissa, scale).unwrap();
            let oracle = rust_decimal::Decimal::from_i128_with_scale(
                i128::from(mantissa), u32::from(scale)).normalize();

            prop_assert_eq!(value.to_string(), oracle.to_string());
            prop_assert_eq!(decimal(&oracle.to_string()), value);
        }

        #[test]
        fn order_agrees_with_a_decimal_library(
            a in -1_000_000i64..1_000_000, a_scale in 0u8..=18,
            b in -1_000_000i64..1_000_000, b_scale in 0u8..=18,
        ) {
            let ours = Decimal::new(a, a_scale).cmp(&Decimal::new(b, b_scale));
            let theirs = rust_decimal::Decimal::new(a, u32::from(a_scale))
                .cmp(&rust_decimal::Decimal::new(b, u32::from(b_scale)));

            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[-+0-9.eE]{0,30}") {
            if let Ok(value) = Decimal::parse(&text) {
                prop_assert_eq!(decimal(&value.to_string()), value);
            }
        }
    }
}
