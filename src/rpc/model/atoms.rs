//! What every question is made of: names, kinds, ranges, speeds.

use std::fmt;
use std::ops::Range;

use crate::arrow::DecimalAs;
use crate::error::{Error, Result};
use crate::event::Kind;
use crate::limit;
use crate::quantity::{Instrument, TsNs};
use crate::replay::ReplayOrder;
use crate::rpc::proto;

/// A request that says something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    /// The field of the request, as the contract names it.
    pub field: &'static str,
    /// What was expected and found.
    pub text: String,
}

impl ProtocolError {
    pub(in crate::rpc) fn new(field: &'static str, text: impl fmt::Display) -> Self {
        Self { field, text: text.to_string() }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

impl std::error::Error for ProtocolError {}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<ProtocolError> for tonic::Status {
    fn from(error: ProtocolError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// How fast a replay runs: recorded time per time of the client, or as fast as possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed(Option<u64>);

impl Speed {
    /// As fast as possible.
    pub const FLAT_OUT: Self = Self(None);
    /// As it happened.
    pub const AS_RECORDED: Self = Self(Some(1_000_000));

    /// `factor` times as fast as recorded, to a millionth; 0 is as fast as possible.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if it is neither 0 nor from 0.001 to 1,000,000.
    pub fn times(factor: f64) -> Result<Self> {
        if factor == 0.0 {
            return Ok(Self::FLAT_OUT);
        }
        let (slowest, fastest) = limit::REPLAY_SPEED_PPM;
        // Saturates; NaN becomes 0, which no speed is.
        let ppm = (factor * 1e6).round() as u64;
        if !factor.is_finite() || !(slowest..=fastest).contains(&ppm) {
            let text = format!("{factor}: expected 0 or from 0.001 to 1000000");
            return Err(ProtocolError::new("speed", text).into());
        }
        Ok(Self(Some(ppm)))
    }

    /// Millionths of recorded time per time of the client; `None` if as fast as possible.
    #[must_use]
    pub fn ppm(self) -> Option<u64> {
        self.0
    }

    /// The factor; 0 if as fast as possible.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "at most 10^12, exact in a double")]
    pub fn factor(self) -> f64 {
        self.0.map_or(0.0, |ppm| ppm as f64 / 1e6)
    }
}

pub(super) fn instrument(text: &str) -> Result<Instrument> {
    Ok(Instrument::parse(text).map_err(|error| ProtocolError::new("instrument", error.text()))?)
}

/// The number of a kind in the contract.
pub(in crate::rpc) fn kind_code(kind: Kind) -> i32 {
    i32::from(kind.code())
}

fn kind_of_code(code: i32) -> Option<Kind> {
    u8::try_from(code).ok().and_then(Kind::from_code)
}

pub(super) fn kind(code: i32) -> Result<Kind> {
    let error = || ProtocolError::new("kind", format!("expected from 1 to 8, found {code}"));
    Ok(kind_of_code(code).ok_or_else(error)?)
}

pub(super) fn kinds(codes: &[i32]) -> Result<Vec<Kind>> {
    let mut kinds = codes.iter().map(|&code| kind(code)).collect::<Result<Vec<_>>>()?;
    kinds.sort();
    kinds.dedup();
    Ok(kinds)
}

pub(super) fn kind_codes(kinds: &[Kind]) -> Vec<i32> {
    kinds.iter().map(|kind| kind_code(*kind)).collect()
}

/// A moment that a client named; the number that stands for "no value" becomes the first moment.
pub(super) fn ts(ns: i64) -> TsNs {
    TsNs(ns).max(TsNs::MIN)
}

pub(super) fn range(from_ns: Option<i64>, to_ns: Option<i64>) -> Result<Range<TsNs>> {
    let from = from_ns.map_or(TsNs::MIN, ts);
    let to = to_ns.map_or(TsNs::MAX, ts);
    if from > to {
        let text = format!("{from} is after to_ns, {to}");
        return Err(ProtocolError::new("from_ns", text).into());
    }
    Ok(from..to)
}

pub(super) fn bounds(range: &Range<TsNs>) -> (Option<i64>, Option<i64>) {
    let from = Some(range.start.0).filter(|_| range.start > TsNs::MIN);
    let to = Some(range.end.0).filter(|_| range.end < TsNs::MAX);
    (from, to)
}

/// Levels per side; 0 is all.
pub(super) fn depth(levels: u32) -> Result<Option<usize>> {
    let depth = usize::try_from(levels).unwrap_or(usize::MAX);
    if depth > limit::REQUEST_DEPTH_MAX {
        return Err(Error::limit("depth", depth, limit::REQUEST_DEPTH_MAX));
    }
    Ok(Some(depth).filter(|depth| *depth > 0))
}

pub(super) fn depth_code(depth: Option<usize>) -> u32 {
    // More than any limit stays more than the limit, for the server to refuse.
    depth.map_or(0, |depth| u32::try_from(depth.max(1)).unwrap_or(u32::MAX))
}

pub(super) fn decimals(code: i32) -> Result<DecimalAs> {
    match proto::DecimalForm::try_from(code) {
        Ok(proto::DecimalForm::Float64) => Ok(DecimalAs::Float64),
        Ok(_) => Ok(DecimalAs::Decimal128),
        Err(_) => {
            let text = format!("expected from 0 to 2, found {code}");
            Err(ProtocolError::new("decimals", text).into())
        }
    }
}

pub(super) fn decimals_code(decimals: DecimalAs) -> i32 {
    let form = match decimals {
        DecimalAs::Decimal128 => proto::DecimalForm::Decimal128,
        DecimalAs::Float64 => proto::DecimalForm::Float64,
    };
    form.into()
}

pub(super) fn order(code: i32) -> Result<ReplayOrder> {
    match proto::ReplayOrder::try_from(code) {
        Ok(proto::ReplayOrder::Event) => Ok(ReplayOrder::Event),
        Ok(_) => Ok(ReplayOrder::Recv),
        Err(_) => {
            let text = format!("expected from 0 to 2, found {code}");
            Err(ProtocolError::new("order", text).into())
        }
    }
}

pub(in crate::rpc) fn order_code(order: ReplayOrder) -> i32 {
    match order {
        ReplayOrder::Recv => proto::ReplayOrder::Recv.into(),
        ReplayOrder::Event => proto::ReplayOrder::Event.into(),
    }
}

/// The name of a session; `None` if it is empty.
pub(super) fn session(name: &str) -> Result<Option<String>> {
    if name.len() > limit::REPLAY_SESSION_NAME_BYTES_MAX {
        let max = limit::REPLAY_SESSION_NAME_BYTES_MAX;
        return Err(Error::limit("bytes of session", name.len(), max));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !name.bytes().all(plain) {
        let text = "expected only letters, digits, `.`, `_` and `-`";
        return Err(ProtocolError::new("session", text).into());
    }
    Ok(Some(name.to_owned()).filter(|name| !name.is_empty()))
}

/// How the rows of a replay are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowForm {
    /// As Arrow record batches.
    Arrow,
    /// As narrow columns: fewest bytes, least time.
    #[default]
    Columns,
}

pub(super) fn form(code: i32) -> Result<RowForm> {
    match proto::RowForm::try_from(code) {
        Ok(proto::RowForm::Columns) => Ok(RowForm::Columns),
        Ok(_) => Ok(RowForm::Arrow),
        Err(_) => {
            let text = format!("expected from 0 to 2, found {code}");
            Err(ProtocolError::new("form", text).into())
        }
    }
}

pub(super) fn form_code(form: RowForm) -> i32 {
    match form {
        RowForm::Arrow => proto::RowForm::Arrow.into(),
        RowForm::Columns => proto::RowForm::Columns.into(),
    }
}

/// An answer that contradicts the contract.
pub(super) fn wrong_answer(what: impl fmt::Display) -> Error {
    Error::new(crate::ErrorKind::Remote, format!("the server's answer cannot be: {what}"))
}

pub(super) fn answered_kind(code: i32) -> Result<Kind> {
    kind_of_code(code).ok_or_else(|| wrong_answer(format_args!("kind {code}")))
}

pub(super) fn answered_instrument(text: &str) -> Result<Instrument> {
    Instrument::parse(text).map_err(|error| wrong_answer(error.text()))
}

pub(super) fn answered_scale(scale: u32) -> Result<u8> {
    let scale = u8::try_from(scale).ok().filter(|scale| *scale <= limit::SCALE_MAX);
    scale.ok_or_else(|| wrong_answer("a decimal scale above 18"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn speeds_are_0_or_within_their_bounds() {
        assert_eq!(Speed::times(0.0).unwrap(), Speed::FLAT_OUT);
        assert_eq!(Speed::times(1.0).unwrap(), Speed::AS_RECORDED);
        for factor in [0.001, 0.1, 2.5, 1000.0, 1_000_000.0] {
            assert_eq!(Speed::times(factor).unwrap().factor(), factor);
        }
        for factor in [-1.0, 0.000_9, 1_000_001.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = Speed::times(factor).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.text().starts_with("speed: "), "{error}");
        }
    }

    #[test]
    fn names_kinds_and_ranges_are_refused_with_the_field() {
        for (error, field) in [
            (instrument("../x").unwrap_err(), "instrument: "),
            (instrument("binance:a\0").unwrap_err(), "instrument: "),
            (instrument(&format!("binance:{}", "x".repeat(129))).unwrap_err(), "instrument: "),
            (kind(0).unwrap_err(), "kind: "),
            (kind(9).unwrap_err(), "kind: "),
            (kinds(&[1, -1]).unwrap_err(), "kind: "),
            (range(Some(5), Some(4)).unwrap_err(), "from_ns: "),
            (decimals(3).unwrap_err(), "decimals: "),
        ] {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.text().starts_with(field), "{error}");
        }
        assert_eq!(range(Some(5), Some(5)).unwrap(), TsNs(5)..TsNs(5));
        assert_eq!(range(Some(i64::MIN), None).unwrap(), TsNs::MIN..TsNs::MAX);
    }

    #[test]
    fn depth_meets_its_limit() {
        let max = u32::try_from(limit::REQUEST_DEPTH_MAX).unwrap();
        assert_eq!(depth(0).unwrap(), None);
        assert_eq!(depth(max).unwrap(), Some(limit::REQUEST_DEPTH_MAX));

        let error = depth(max + 1).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(error.text(), "depth 100001 is above the limit 100000");
    }
}
