//! What a replay of a server can do besides playing: its flags, and the request they make.

use std::time::Duration;

use super::args;
use super::play::ReplayRequest;
use crate::error::{Error, Result};
use crate::quantity::{Decimal, TsNs};
use crate::rpc::{JoinQuery, Output, ReplayQuery, Speed, Stops};

/// Flags that need a server.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "With --server")]
pub struct SteerArgs {
    /// Begin again after the last row, until interrupted
    #[arg(long = "loop", conflicts_with = "store", conflicts_with_all = ["hash", "follow", "to"])]
    looped: bool,
    /// After the last stored row, go on with rows as they arrive
    #[arg(long, conflicts_with = "store", conflicts_with_all = ["hash", "to", "session"])]
    follow: bool,
    /// Of a pause between two messages, wait no longer than this recorded time, e.g. 1s
    #[arg(long, conflicts_with = "store", value_name = "TIME", value_parser = duration)]
    idle_max: Option<Duration>,
    /// Begin paused: for the live view, or for whoever joins the session
    #[arg(long, conflicts_with = "store")]
    paused: bool,
    /// Stop before the first row at or after this time
    #[arg(long, conflicts_with = "store", value_name = "T", value_parser = args::time)]
    stop_at: Option<TsNs>,
    /// Stop after so many rows, to the end of a message
    #[arg(long, conflicts_with = "store", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    stop_rows: Option<u64>,
    /// Stop after a row that says that messages are missing
    #[arg(long, conflicts_with = "store")]
    stop_at_gap: bool,
    /// Stop where the spread of a live book becomes larger than so many basis points
    #[arg(long, conflicts_with = "store", value_name = "BPS")]
    stop_spread: Option<f64>,
    /// Stop after a trade of more than this quantity
    #[arg(long, conflicts_with = "store", value_name = "QTY", value_parser = decimal)]
    stop_trade: Option<Decimal>,
    /// Make a session of this name, for others to join
    #[arg(long, conflicts_with = "store", value_name = "NAME")]
    session: Option<String>,
    /// Join the session of this name: same streams, same clock; every command is for all members
    #[arg(long, conflicts_with = "store", value_name = "NAME")]
    #[arg(conflicts_with_all = ["instruments", "kinds", "from", "to", "speed", "session", "looped",
        "follow", "order", "idle_max", "paused", "stop_at", "stop_rows", "stop_at_gap",
        "stop_spread", "stop_trade", "books", "metrics", "every"])]
    join: Option<String>,
    /// Print the best N levels of each book instead of rows
    #[arg(long, value_name = "N", conflicts_with_all = ["store", "hash", "metrics"])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    books: Option<u16>,
    /// Print mid, spread, microprice, depth and imbalance of each book instead of rows
    #[arg(long, conflicts_with_all = ["store", "hash"])]
    metrics: bool,
    /// Books or metrics every so often, e.g. 1s, 250ms, 5m [default: after each message]
    #[arg(long, conflicts_with = "store", value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
    /// Print lines on a terminal too, instead of the live view
    #[arg(long, conflicts_with = "store")]
    plain: bool,
}

fn decimal(text: &str) -> Result<Decimal, String> {
    Decimal::parse(text).map_err(|error| error.to_string())
}

/// A number with `ns`, `us`, `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("time {text:?}: expected a number with ns, us, ms, s, m or h");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_ns: u64 = match text.get(digits.len()..) {
        Some("ns") => 1,
        Some("us") => 1_000,
        Some("ms") => 1_000_000,
        Some("s") => 1_000_000_000,
        Some("m") => 60_000_000_000,
        Some("h") => 3_600_000_000_000,
        _ => return Err(wrong()),
    };
    let number = digits.parse::<u64>().map_err(|_| wrong())?;
    match number.checked_mul(unit_ns) {
        Some(ns @ 1..) if i64::try_from(ns).is_ok() => Ok(Duration::from_nanos(ns)),
        _ => Err(wrong()),
    }
}

/// How a session begins.
#[derive(Clone, Debug)]
pub enum Begin {
    /// A replay of its own.
    Open(Box<ReplayQuery>),
    /// That of others.
    Join(JoinQuery),
}

impl SteerArgs {
    /// Whether a terminal shows the live view.
    pub fn wants_view(&self) -> bool {
        !self.plain && self.books.is_none() && !self.metrics
    }

    /// Whether rows come as somebody else's clock says.
    pub fn is_live(&self) -> bool {
        self.follow || self.join.is_some()
    }

    /// Whether books are printed instead of rows.
    pub fn wants_books(&self) -> bool {
        self.books.is_some() || self.metrics
    }

    /// The request; `view` is for somebody who can resume what has stopped and sees books.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a speed that cannot be, or without instruments.
    pub fn begin(&self, request: &ReplayRequest, view: bool) -> Result<Begin> {
        let opening_depth = if view { None } else { Some(0) };
        let hash = request.hash;
        if let Some(name) = &self.join {
            return Ok(Begin::Join(JoinQuery { opening_depth, hash, ..JoinQuery::new(name) }));
        }
        if self.paused && !view && self.session.is_none() {
            let text = "--paused waits for a key or a member: it needs the live view or --session";
            return Err(Error::invalid(text));
        }
        let ns = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let output = match (self.books, self.metrics) {
            (Some(levels), _) => Output::books(usize::from(levels)),
            (None, true) => Output::metrics(),
            (None, false) if self.every.is_some() => {
                return Err(Error::invalid("--every is of --books or --metrics"));
            }
            (None, false) => Output::Rows,
        };
        let kinds = |instrument: &crate::Instrument| (instrument.clone(), request.kinds.clone());
        Ok(Begin::Open(Box::new(ReplayQuery {
            streams: request.instruments.iter().map(kinds).collect(),
            range: request.range.clone(),
            speed: Speed::times(request.speed.unwrap_or(0.0))?,
            opening_depth,
            hash,
            looped: self.looped,
            stops: Stops {
                at: self.stop_at,
                rows: self.stop_rows,
                gap: self.stop_at_gap,
                spread_bps: self.stop_spread,
                trade_qty: self.stop_trade,
                end: !view,
            },
            output: output.every(self.every.map_or(0, ns)),
            idle_ns_max: self.idle_max.map(ns),
            paused: self.paused,
            follow: self.follow,
            session: self.session.clone(),
            order: request.order,
            ..ReplayQuery::all(&[])
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit_and_are_above_zero() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "5", "s", "0s", "-1s", "1.5s", "9999999999h", "1d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
