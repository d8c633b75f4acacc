//! What a replay sends instead of rows, and when it stops by itself.

use super::atoms::{self, ProtocolError, wrong_answer};
use crate::arrow::BookColumns;
use crate::error::{Error, Result};
use crate::limit;
use crate::quantity::{Decimal, TsNs};
use crate::rpc::proto;
use crate::rpc::proto::replay_open::Output as SentOutput;
use crate::rpc::proto::replay_stop::Condition as SentCondition;

/// What a replay sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// The rows themselves.
    #[default]
    Rows,
    /// Books, as record batches: after each message of a book, or every so many nanoseconds.
    Books {
        /// What is said of a book.
        columns: BookColumns,
        /// A row of every book at each multiple of this; 0: a row after each message.
        every_ns: i64,
    },
}

/// Levels that metrics are of unless they are named.
const METRIC_LEVELS: [usize; 3] = [1, 5, 10];
/// Levels of books unless a number is named.
const BOOK_LEVELS: usize = 10;

impl Output {
    /// Books of so many levels after each message.
    #[must_use]
    pub fn books(depth: usize) -> Self {
        Self::Books { columns: BookColumns::Levels(depth), every_ns: 0 }
    }

    /// Metrics of the first 1, 5 and 10 levels after each message.
    #[must_use]
    pub fn metrics() -> Self {
        Self::Books { columns: BookColumns::Metrics(METRIC_LEVELS.to_vec()), every_ns: 0 }
    }

    /// The same every `ns` nanoseconds of recorded time; rows stay rows.
    #[must_use]
    pub fn every(mut self, ns: i64) -> Self {
        if let Self::Books { every_ns, .. } = &mut self {
            *every_ns = ns;
        }
        self
    }

    pub(super) fn from_open(output: Option<SentOutput>) -> Result<Self> {
        let (columns, every_ns) = match output {
            None => return Ok(Self::Rows),
            Some(SentOutput::Books(books)) => {
                let depth = if books.depth == 0 { BOOK_LEVELS } else { levels(books.depth)? };
                (BookColumns::Levels(depth), books.every_ns)
            }
            Some(SentOutput::Metrics(metrics)) => {
                if metrics.levels.len() > limit::REPLAY_METRIC_LEVELS_MAX {
                    let (found, max) = (metrics.levels.len(), limit::REPLAY_METRIC_LEVELS_MAX);
                    return Err(Error::limit("levels of metrics:", found, max));
                }
                let named = metrics.levels.iter().map(|&count| levels(count));
                let mut named = named.collect::<Result<Vec<_>>>()?;
                if named.is_empty() {
                    named.extend(METRIC_LEVELS);
                }
                named.sort_unstable();
                named.dedup();
                (BookColumns::Metrics(named), metrics.every_ns)
            }
        };
        if every_ns < 0 {
            let text = format!("expected 0 or above, found {every_ns}");
            return Err(ProtocolError::new("every_ns", text).into());
        }
        Ok(Self::Books { columns, every_ns })
    }

    pub(super) fn to_open(&self) -> Option<SentOutput> {
        let count = |levels: usize| u32::try_from(levels).unwrap_or(u32::MAX);
        match self {
            Self::Rows => None,
            Self::Books { columns: BookColumns::Levels(depth), every_ns } => {
                let (depth, every_ns) = (count(*depth), *every_ns);
                Some(SentOutput::Books(proto::ReplayBooks { depth, every_ns }))
            }
            Self::Books { columns: BookColumns::Metrics(levels), every_ns } => {
                let levels = levels.iter().map(|&levels| count(levels)).collect();
                Some(SentOutput::Metrics(proto::ReplayMetrics { levels, every_ns: *every_ns }))
            }
        }
    }
}

fn levels(count: u32) -> Result<usize> {
    let levels = usize::try_from(count).unwrap_or(usize::MAX);
    match levels {
        0 => Err(ProtocolError::new("levels", "expected above 0").into()),
        _ if levels > limit::REPLAY_BOOK_LEVELS_MAX => {
            Err(Error::limit("levels", levels, limit::REPLAY_BOOK_LEVELS_MAX))
        }
        _ => Ok(levels),
    }
}

/// When a replay pauses by itself, right after the message that met a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stops {
    /// Before the first message at or after this time.
    pub at: Option<TsNs>,
    /// After so many rows, to the end of a message; then again.
    pub rows: Option<u64>,
    /// After a message with a gap row.
    pub gap: bool,
    /// After a message that makes the spread of a live book larger than so many basis points.
    pub spread_bps: Option<f64>,
    /// After a trade of more than this quantity.
    pub trade_qty: Option<Decimal>,
    /// Ends the session instead of pausing it.
    pub end: bool,
}

impl TryFrom<proto::ReplayStops> for Stops {
    type Error = Error;

    fn try_from(stops: proto::ReplayStops) -> Result<Self> {
        if stops.rows == Some(0) {
            return Err(ProtocolError::new("stops.rows", "expected above 0").into());
        }
        if let Some(bps) = stops.spread_bps.filter(|bps| !bps.is_finite()) {
            let text = format!("expected a number, found {bps}");
            return Err(ProtocolError::new("stops.spread_bps", text).into());
        }
        let qty = Some(stops.trade_qty.as_str()).filter(|qty| !qty.is_empty());
        let qty = qty.map(Decimal::parse).transpose();
        let qty = qty.map_err(|error| ProtocolError::new("stops.trade_qty", error.text()))?;
        Ok(Self {
            at: stops.at_ns.map(atoms::ts),
            rows: stops.rows,
            gap: stops.gap,
            spread_bps: stops.spread_bps,
            trade_qty: qty,
            end: stops.end,
        })
    }
}

impl From<&Stops> for proto::ReplayStops {
    fn from(stops: &Stops) -> Self {
        Self {
            at_ns: stops.at.map(|ts| ts.0),
            rows: stops.rows,
            gap: stops.gap,
            spread_bps: stops.spread_bps,
            trade_qty: stops.trade_qty.map(|qty| qty.to_string()).unwrap_or_default(),
            end: stops.end,
        }
    }
}

/// What stopped a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCondition {
    /// The time asked for was reached.
    Time,
    /// The rows asked for were played.
    Rows,
    /// Messages are missing.
    Gap,
    /// The spread became large.
    Spread,
    /// The trade was large.
    Trade,
}

/// A condition that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopNotice {
    /// Which.
    pub condition: StopCondition,
    /// Time of the message that met it; of [`StopCondition::Time`], the time asked for.
    pub time: TsNs,
    /// Place of its stream among those opened.
    pub stream: Option<usize>,
}

impl TryFrom<proto::ReplayStop> for StopNotice {
    type Error = Error;

    fn try_from(stop: proto::ReplayStop) -> Result<Self> {
        let condition = match stop.condition() {
            SentCondition::Time => StopCondition::Time,
            SentCondition::Rows => StopCondition::Rows,
            SentCondition::Gap => StopCondition::Gap,
            SentCondition::Spread => StopCondition::Spread,
            SentCondition::Trade => StopCondition::Trade,
            SentCondition::Unspecified => return Err(wrong_answer("a stop without condition")),
        };
        let stream = stop.stream.map(usize::try_from).transpose();
        let stream = stream.map_err(|_| wrong_answer("a stream number"))?;
        Ok(Self { condition, time: TsNs(stop.time_ns), stream })
    }
}

impl From<StopNotice> for proto::ReplayStop {
    fn from(stop: StopNotice) -> Self {
        let condition = match stop.condition {
            StopCondition::Time => SentCondition::Time,
            StopCondition::Rows => SentCondition::Rows,
            StopCondition::Gap => SentCondition::Gap,
            StopCondition::Spread => SentCondition::Spread,
            StopCondition::Trade => SentCondition::Trade,
        };
        let stream = stop.stream.map(|stream| u32::try_from(stream).unwrap_or(u32::MAX));
        Self { condition: condition.into(), time_ns: stop.time.0, stream }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn outputs_and_stops_survive_the_wire() {
        for output in [Output::Rows, Output::books(7), Output::metrics().every(1_000_000_000)] {
            assert_eq!(Output::from_open(output.to_open()).unwrap(), output);
        }
        let stops = Stops {
            at: Some(TsNs(-4)),
            rows: Some(u64::MAX),
            gap: true,
            spread_bps: Some(2.5),
            trade_qty: Some(Decimal::parse("12.50").unwrap()),
            end: true,
        };
        for stops in [stops, Stops::default()] {
            assert_eq!(Stops::try_from(proto::ReplayStops::from(&stops)).unwrap(), stops);
        }
        let notice = StopNotice { condition: StopCondition::Trade, time: TsNs(7), stream: Some(3) };
        assert_eq!(StopNotice::try_from(proto::ReplayStop::from(notice)).unwrap(), notice);
    }

    #[test]
    fn impossible_outputs_and_stops_are_refused() {
        let books = |depth, every_ns| {
            Output::from_open(Some(SentOutput::Books(proto::ReplayBooks { depth, every_ns })))
        };
        let metrics = |levels| {
            let metrics = proto::ReplayMetrics { levels, every_ns: 0 };
            Output::from_open(Some(SentOutput::Metrics(metrics)))
        };
        assert_eq!(books(0, 0).unwrap(), Output::books(10));
        assert!(books(1000, 1).is_ok());
        assert_eq!(books(1001, 0).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(books(1, -1).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(metrics(vec![]).unwrap(), Output::metrics());
        assert!(metrics((1..=16).collect()).is_ok());
        assert_eq!(metrics((1..=17).collect()).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(metrics(vec![0]).unwrap_err().kind(), ErrorKind::Invalid);

        type Spoil = fn(&mut proto::ReplayStops);
        let spoil: [Spoil; 3] = [
            |stops| stops.rows = Some(0),
            |stops| stops.spread_bps = Some(f64::NAN),
            |stops| stops.trade_qty = "many".to_owned(),
        ];
        for spoil in spoil {
            let mut stops = proto::ReplayStops::default();
            spoil(&mut stops);
            assert_eq!(Stops::try_from(stops).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
