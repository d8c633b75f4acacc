//! Which rows: the JSON of tickets and commands.
//!
//! ```json
//! {"instrument": "binance-futures:BTCUSDT", "kind": "trades",
//!  "from": "2024-08-08T23:55:00Z", "to": 1723161600000000000,
//!  "columns": ["ts_recv", "price", "qty"], "where": ["qty>=10", "side=buy"],
//!  "decimals": "float64"}
//! ```
//!
//! Only instrument and kind must be there. Times are RFC 3339, a date or integer nanoseconds, of
//! receipt, `to` exclusive. `decimals` is `decimal128`, exact, unless it says `float64`.

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use serde::{Deserialize, Serialize};

use crate::arrow::DecimalAs;
use crate::error::{Error, Result};
use crate::event::Kind;
use crate::pattern::matches;
use crate::quantity::{Instrument, TsNs};
use crate::replay::Filter;
use crate::rpc::model::{ProtocolError, ScanQuery};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Json {
    instrument: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Time>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<String>,
    #[serde(default, skip_serializing_if = "Form::is_exact")]
    decimals: Form,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Time {
    Ns(i64),
    Text(String),
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Decimal128,
    Float64,
}

impl Form {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    fn is_exact(&self) -> bool {
        *self == Self::Decimal128
    }
}

impl Time {
    fn ts(&self) -> Result<TsNs> {
        match self {
            Self::Ns(ns) => Ok(TsNs(*ns)),
            Self::Text(text) => TsNs::parse(text),
        }
    }
}

/// Reads a ticket or a command; `field` is its name in errors.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] with what was expected.
pub(super) fn parse(field: &'static str, bytes: &[u8]) -> Result<ScanQuery> {
    let json: Json = serde_json::from_slice(bytes)
        .map_err(|error| ProtocolError::new(field, format!("not as expected: {error}")))?;
    query(&json).map_err(|error| error.context(field))
}

fn query(json: &Json) -> Result<ScanQuery> {
    let kind = Kind::parse(&json.kind)?;
    let end = |time: &Option<Time>, open| time.as_ref().map_or(Ok(open), Time::ts);
    let range = end(&json.from, TsNs::MIN)?..end(&json.to, TsNs::MAX)?;
    if range.start > range.end {
        return Err(Error::invalid(format!("from {} is after to {}", range.start, range.end)));
    }
    Ok(ScanQuery {
        range,
        columns: json.columns.clone(),
        filter: Filter::parse(kind, &json.conditions)?,
        decimals: match json.decimals {
            Form::Decimal128 => DecimalAs::Decimal128,
            Form::Float64 => DecimalAs::Float64,
        },
        hash: false,
        ..ScanQuery::all(Instrument::parse(&json.instrument)?, kind)
    })
}

/// The ticket that asks the same.
pub(super) fn write(query: &ScanQuery) -> String {
    let json = Json {
        instrument: query.instrument.to_string(),
        kind: query.kind.name().to_owned(),
        from: Some(query.range.start).filter(|ts| *ts != TsNs::MIN).map(|ts| Time::Ns(ts.0)),
        to: Some(query.range.end).filter(|ts| *ts != TsNs::MAX).map(|ts| Time::Ns(ts.0)),
        columns: query.columns.clone(),
        conditions: query.filter.conditions().to_vec(),
        decimals: match query.decimals {
            DecimalAs::Decimal128 => Form::Decimal128,
            DecimalAs::Float64 => Form::Float64,
        },
    };
    // Texts and numbers can always be written.
    serde_json::to_string(&json).unwrap_or_default()
}

/// Reads a descriptor: a path of instrument and kind, or a command as a ticket.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] with what was expected.
pub(super) fn of_descriptor(descriptor: &FlightDescriptor) -> Result<ScanQuery> {
    match (descriptor.r#type(), descriptor.path.as_slice()) {
        (DescriptorType::Cmd, _) => parse("cmd", &descriptor.cmd),
        (DescriptorType::Path, [instrument, kind]) => {
            let query = Instrument::parse(instrument)
                .and_then(|instrument| Ok(ScanQuery::all(instrument, Kind::parse(kind)?)));
            query.map(|query| ScanQuery { hash: false, ..query }).map_err(|e| e.context("path"))
        }
        _ => {
            let text = "expected instrument and kind, e.g. binance-futures:BTCUSDT, trades";
            Err(ProtocolError::new("path", text).into())
        }
    }
}

/// Which flights to list: instruments with `*` and `?`; empty: all.
#[derive(Debug)]
pub(super) struct Pattern(String);

impl Pattern {
    /// Reads criteria.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if it is no text.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| {
            ProtocolError::new("expression", "expected a pattern of instruments, e.g. binance*")
        })?;
        Ok(Self(text.to_owned()))
    }

    pub(super) fn takes(&self, instrument: &Instrument) -> bool {
        self.0.is_empty() || matches(&self.0, &instrument.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_is_written() {
        let text = r#"{"instrument":"okex:BTC-USDT","kind":"book","from":7,"to":9,
            "columns":["price","ts_recv"],"where":["price>=1.5","side=bid"],"decimals":"float64"}"#;
        let query = parse("ticket", text.as_bytes()).unwrap();

        assert_eq!(query.range, TsNs(7)..TsNs(9));
        assert_eq!((query.kind, query.decimals), (Kind::Book, DecimalAs::Float64));
        assert_eq!(parse("ticket", write(&query).as_bytes()).unwrap(), query);
        let short = r#"{"instrument":"okex:BTC-USDT","kind":"book"}"#;
        let whole = parse("ticket", short.as_bytes()).unwrap();
        assert_eq!(write(&whole), short);
        let dated = r#"{"instrument":"a:b","kind":"book","from":"1970-01-02","to":"1970-01-03"}"#;
        let day = 86_400_000_000_000;
        assert_eq!(parse("t", dated.as_bytes()).unwrap().range, TsNs(day)..TsNs(2 * day));
    }

    #[test]
    fn descriptors_are_paths_or_commands() {
        let path = |parts: &[&str]| {
            of_descriptor(&FlightDescriptor::new_path(parts.iter().map(|&p| p.into()).collect()))
        };
        let command = FlightDescriptor::new_cmd(r#"{"instrument":"a:b","kind":"trades"}"#);
        assert_eq!(path(&["a:b", "trades"]).unwrap(), of_descriptor(&command).unwrap());
        for parts in [&["a:b"][..], &[], &["a:b", "trade"], &["ab", "trades"], &["a:b", "c", "d"]] {
            assert!(path(parts).unwrap_err().text().starts_with("path: "));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("", "ticket: not as expected"),
            (r#"{"instrument":"a:b"}"#, "kind"),
            (r#"{"instrument":"a:b","kind":"book","form":1}"#, "unknown field"),
            (r#"{"instrument":"a:b","kind":"book","from":9,"to":8}"#, "is after"),
            (r#"{"instrument":"a:b","kind":"book","where":["x"]}"#, "condition"),
            (r#"{"instrument":"a:b","kind":"book","from":"soon"}"#, "soon"),
            (r#"{"instrument":"a:b","kind":"book","decimals":"f32"}"#, "float64"),
        ] {
            let error = parse("ticket", text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid);
            assert!(
                error.text().starts_with("ticket: ") && error.text().contains(expected),
                "{error}"
            );
        }
    }
}
