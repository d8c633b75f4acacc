//! What a client asks, apart from replays.

use std::ops::Range;

use super::atoms::{self, ProtocolError};
use crate::arrow::DecimalAs;
use crate::error::{Error, Result};
use crate::event::Kind;
use crate::limit;
use crate::quantity::{Instrument, TsNs};
use crate::replay::Filter;
use crate::rpc::proto;

/// Which instruments to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstrumentQuery {
    /// Only of this exchange; empty: all.
    pub exchange: String,
    /// Only symbols that contain this; empty: all.
    pub symbol_contains: String,
    /// Only streams of these kinds; empty: all.
    pub kinds: Vec<Kind>,
}

/// One page of a list, as a request asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rpc) struct InstrumentPage {
    pub(in crate::rpc) query: InstrumentQuery,
    /// Instruments of the page at most.
    pub(in crate::rpc) size: usize,
    /// The last instrument of the page before.
    pub(in crate::rpc) after: Option<Instrument>,
}

impl TryFrom<proto::ListInstrumentsRequest> for InstrumentPage {
    type Error = Error;

    fn try_from(request: proto::ListInstrumentsRequest) -> Result<Self> {
        let size = usize::try_from(request.page_size).unwrap_or(usize::MAX);
        if size > limit::REQUEST_PAGE_MAX {
            return Err(Error::limit("page_size", size, limit::REQUEST_PAGE_MAX));
        }
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(Instrument::parse(token).map_err(|_| {
                ProtocolError::new("page_token", "expected the next_page_token of an answer")
            })?),
        };
        Ok(Self {
            size: if size == 0 { limit::REQUEST_PAGE_MAX } else { size },
            after,
            query: InstrumentQuery {
                kinds: atoms::kinds(&request.kinds)?,
                exchange: request.exchange,
                symbol_contains: request.symbol_contains,
            },
        })
    }
}

impl From<&InstrumentQuery> for proto::ListInstrumentsRequest {
    fn from(query: &InstrumentQuery) -> Self {
        Self {
            exchange: query.exchange.clone(),
            symbol_contains: query.symbol_contains.clone(),
            kinds: atoms::kind_codes(&query.kinds),
            page_size: 0,
            page_token: String::new(),
        }
    }
}

impl InstrumentQuery {
    /// Whether an instrument is asked for.
    pub(in crate::rpc) fn takes(&self, instrument: &Instrument) -> bool {
        (self.exchange.is_empty() || self.exchange == instrument.exchange())
            && instrument.symbol().contains(&self.symbol_contains)
    }
}

/// Of which streams to tell ranges and gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageQuery {
    /// What is traded where.
    pub instrument: Instrument,
    /// Only these kinds; empty: all.
    pub kinds: Vec<Kind>,
    /// Only gaps that reach into this range.
    pub range: Range<TsNs>,
}

impl TryFrom<&proto::GetCoverageRequest> for CoverageQuery {
    type Error = Error;

    fn try_from(request: &proto::GetCoverageRequest) -> Result<Self> {
        Ok(Self {
            instrument: atoms::instrument(&request.instrument)?,
            kinds: atoms::kinds(&request.kinds)?,
            range: atoms::range(request.from_ns, request.to_ns)?,
        })
    }
}

impl From<&CoverageQuery> for proto::GetCoverageRequest {
    fn from(query: &CoverageQuery) -> Self {
        let (from_ns, to_ns) = atoms::bounds(&query.range);
        Self {
            instrument: query.instrument.to_string(),
            kinds: atoms::kind_codes(&query.kinds),
            from_ns,
            to_ns,
            gaps_skip: 0,
        }
    }
}

/// Which book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookQuery {
    /// What is traded where.
    pub instrument: Instrument,
    /// After every message with `ts_recv <= at`.
    pub at: TsNs,
    /// Levels per side; `None` is all.
    pub depth: Option<usize>,
}

impl TryFrom<proto::GetBookRequest> for BookQuery {
    type Error = Error;

    fn try_from(request: proto::GetBookRequest) -> Result<Self> {
        Ok(Self {
            instrument: atoms::instrument(&request.instrument)?,
            at: atoms::ts(request.at_ns),
            depth: atoms::depth(request.depth)?,
        })
    }
}

impl From<&BookQuery> for proto::GetBookRequest {
    fn from(query: &BookQuery) -> Self {
        Self {
            instrument: query.instrument.to_string(),
            at_ns: query.at.0,
            depth: atoms::depth_code(query.depth),
        }
    }
}

/// Which books at regular times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleQuery {
    /// What is traded where.
    pub instrument: Instrument,
    /// First time, and the time that ends it, exclusive.
    pub range: Range<TsNs>,
    /// Nanoseconds between two books.
    pub every_ns: i64,
    /// Levels per side; `None` is all.
    pub depth: Option<usize>,
}

impl TryFrom<proto::SampleBooksRequest> for SampleQuery {
    type Error = Error;

    fn try_from(request: proto::SampleBooksRequest) -> Result<Self> {
        let range = atoms::range(Some(request.from_ns), Some(request.to_ns))?;
        let every_ns = request.every_ns;
        if every_ns <= 0 {
            let text = format!("expected above 0, found {every_ns}");
            return Err(ProtocolError::new("every_ns", text).into());
        }
        let length_ns = i128::from(range.end.0) - i128::from(range.start.0);
        let books =
            length_ns / i128::from(every_ns) + i128::from(length_ns % i128::from(every_ns) > 0);
        if books > i128::from(limit::REQUEST_SAMPLES_MAX) {
            return Err(Error::limit("books of one request:", books, limit::REQUEST_SAMPLES_MAX));
        }
        Ok(Self {
            instrument: atoms::instrument(&request.instrument)?,
            range,
            every_ns,
            depth: atoms::depth(request.depth)?,
        })
    }
}

impl From<&SampleQuery> for proto::SampleBooksRequest {
    fn from(query: &SampleQuery) -> Self {
        Self {
            instrument: query.instrument.to_string(),
            from_ns: query.range.start.0,
            to_ns: query.range.end.0,
            every_ns: query.every_ns,
            depth: atoms::depth_code(query.depth),
        }
    }
}

/// Which rows of which stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanQuery {
    /// What is traded where.
    pub instrument: Instrument,
    /// Which record.
    pub kind: Kind,
    /// Receive times.
    pub range: Range<TsNs>,
    /// Names of columns, in this order; empty: all.
    pub columns: Vec<String>,
    /// Which rows.
    pub filter: Filter,
    /// What decimals become.
    pub decimals: DecimalAs,
    /// Whether the end tells the content hash of the rows; only for all columns.
    pub hash: bool,
}

impl ScanQuery {
    /// All rows and columns of a stream, with their hash.
    #[must_use]
    pub fn all(instrument: Instrument, kind: Kind) -> Self {
        Self {
            instrument,
            kind,
            range: TsNs::MIN..TsNs::MAX,
            columns: Vec::new(),
            filter: Filter::default(),
            decimals: DecimalAs::default(),
            hash: true,
        }
    }
}

impl TryFrom<proto::ScanRequest> for ScanQuery {
    type Error = Error;

    fn try_from(request: proto::ScanRequest) -> Result<Self> {
        let kind = atoms::kind(request.kind)?;
        if request.hash && !request.columns.is_empty() {
            let text = "covers all columns; leave columns empty";
            return Err(ProtocolError::new("hash", text).into());
        }
        Ok(Self {
            instrument: atoms::instrument(&request.instrument)?,
            kind,
            range: atoms::range(request.from_ns, request.to_ns)?,
            columns: request.columns,
            filter: Filter::parse(kind, &request.r#where).map_err(|e| e.context("where"))?,
            decimals: atoms::decimals(request.decimals)?,
            hash: request.hash,
        })
    }
}

impl From<&ScanQuery> for proto::ScanRequest {
    fn from(query: &ScanQuery) -> Self {
        let (from_ns, to_ns) = atoms::bounds(&query.range);
        Self {
            instrument: query.instrument.to_string(),
            kind: atoms::kind_code(query.kind),
            from_ns,
            to_ns,
            columns: query.columns.clone(),
            r#where: query.filter.conditions().to_vec(),
            decimals: atoms::decimals_code(query.decimals),
            hash: query.hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn btc() -> Instrument {
        Instrument::parse("binance:BTCUSDT").unwrap()
    }

    #[test]
    fn every_question_survives_the_wire() {
        let book = BookQuery { instrument: btc(), at: TsNs(7), depth: Some(3) };
        assert_eq!(BookQuery::try_from(proto::GetBookRequest::from(&book)).unwrap(), book);
        let sample =
            SampleQuery { instrument: btc(), range: TsNs(5)..TsNs(9), every_ns: 2, depth: None };
        let sent = proto::SampleBooksRequest::from(&sample);
        assert_eq!(SampleQuery::try_from(sent).unwrap(), sample);
        let scan = ScanQuery {
            columns: vec!["price".into()],
            filter: Filter::parse(Kind::Trades, &["qty>=1.5", "side=buy"]).unwrap(),
            range: TsNs::MIN..TsNs(3),
            hash: false,
            decimals: DecimalAs::Float64,
            ..ScanQuery::all(btc(), Kind::Trades)
        };
        assert_eq!(ScanQuery::try_from(proto::ScanRequest::from(&scan)).unwrap(), scan);
        let coverage =
            CoverageQuery { instrument: btc(), kinds: vec![Kind::Book], range: TsNs(1)..TsNs::MAX };
        let sent = proto::GetCoverageRequest::from(&coverage);
        assert_eq!(CoverageQuery::try_from(&sent).unwrap(), coverage);
    }

    #[test]
    fn the_number_of_samples_meets_its_limit() {
        let max = i64::try_from(limit::REQUEST_SAMPLES_MAX).unwrap();
        let query = |to_ns| proto::SampleBooksRequest {
            instrument: "binance:BTCUSDT".into(),
            from_ns: 0,
            to_ns,
            every_ns: 10,
            depth: 0,
        };
        assert!(SampleQuery::try_from(query(max * 10)).is_ok());

        let error = SampleQuery::try_from(query(max * 10 + 1)).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.text().contains("10000001 is above the limit 10000000"), "{error}");
    }

    #[test]
    fn impossible_questions_are_refused_with_the_field() {
        let sample = proto::SampleBooksRequest {
            instrument: "binance:BTCUSDT".into(),
            from_ns: 0,
            to_ns: 9,
            every_ns: 0,
            depth: 0,
        };
        let scan = proto::ScanRequest {
            hash: true,
            ..proto::ScanRequest::from(&ScanQuery {
                columns: vec!["price".into()],
                ..ScanQuery::all(btc(), Kind::Book)
            })
        };
        let page = proto::ListInstrumentsRequest {
            page_token: "no name".into(),
            ..proto::ListInstrumentsRequest::default()
        };

        let errors = [
            (SampleQuery::try_from(sample).unwrap_err(), "every_ns: "),
            (ScanQuery::try_from(scan).unwrap_err(), "hash: "),
            (InstrumentPage::try_from(page).unwrap_err(), "page_token: "),
        ];
        for (error, field) in errors {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.text().starts_with(field), "{error}");
        }
    }

    #[test]
    fn the_size_of_a_page_meets_its_limit() {
        let page = |page_size| proto::ListInstrumentsRequest {
            page_size,
            ..proto::ListInstrumentsRequest::default()
        };
        let max = u32::try_from(limit::REQUEST_PAGE_MAX).unwrap();

        assert_eq!(InstrumentPage::try_from(page(0)).unwrap().size, limit::REQUEST_PAGE_MAX);
        assert_eq!(InstrumentPage::try_from(page(max)).unwrap().size, limit::REQUEST_PAGE_MAX);
        let error = InstrumentPage::try_from(page(max + 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }
}
