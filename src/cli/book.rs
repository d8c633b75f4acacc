//! `tickreel book`: the order book at a moment.

use std::io::Write;

use super::args::{self, From};
use super::list::missing;
use super::screen;
use super::target::Target;
use crate::book::State;
use crate::error::{Error, Result};
use crate::limit;
use crate::quantity::{Decimal, Instrument, TsNs};
use crate::rpc::BookAnswer;

/// Show the order book after every message received at or before a moment.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    from: From,
    /// Moment: RFC 3339, a date, or integer nanoseconds
    #[arg(long, value_name = "T", value_parser = args::time)]
    at: TsNs,
    /// Levels per side [default: 10 for people, all with --json]
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// Print one JSON document with exact decimals as text
    #[arg(long)]
    json: bool,
    /// Instrument, e.g. binance-futures:BTCUSDT
    #[arg(value_name = "INSTRUMENT", value_parser = args::instrument)]
    instrument: Instrument,
}

/// Levels shown to a person unless told otherwise.
const DEPTH_SHOWN: usize = 10;

/// Runs the command.
///
/// # Errors
/// The store or server cannot be read, or has no book of the instrument.
pub fn run(args: &Args) -> Result<()> {
    let default = if args.json { limit::REQUEST_DEPTH_MAX } else { DEPTH_SHOWN };
    let depth = args.depth.unwrap_or(default);
    if depth > limit::REQUEST_DEPTH_MAX {
        return Err(Error::limit("--depth", depth, limit::REQUEST_DEPTH_MAX));
    }
    let book = Target::open(&args.from)?.book(&args.instrument, args.at, depth)?;
    let mut out = screen::output();
    let written = match args.json {
        true => writeln!(out, "{}", book_json(&book)),
        false => write_ladder(&mut out, &book),
    };
    written.and_then(|()| out.flush()).map_err(screen::write_error)
}

/// The document that `--json` prints.
pub fn book_json(book: &BookAnswer) -> serde_json::Value {
    let levels = |levels: &[(Decimal, Decimal)]| -> Vec<[String; 2]> {
        levels.iter().map(|(price, qty)| [price.to_string(), qty.to_string()]).collect()
    };
    let (state, since, missing) = state_parts(book.state);
    serde_json::json!({
        "exchange": book.instrument.exchange(),
        "symbol": book.instrument.symbol(),
        "at": book.at.to_string(),
        "at_ns": book.at.0,
        "ts_event_ns": book.ts_event.map(|ts| ts.0),
        "ts_recv_ns": book.ts_recv.map(|ts| ts.0),
        "venue_seq": book.venue_seq,
        "state": state,
        "stale_since_ns": since.map(|ts| ts.0),
        "missing": missing,
        "bids": levels(&book.bids),
        "asks": levels(&book.asks),
    })
}

/// The state's name, when a stale book became so, and how many messages are missing.
pub fn state_parts(state: State) -> (&'static str, Option<TsNs>, u64) {
    match state {
        State::Empty => ("empty", None, 0),
        State::Live => ("live", None, 0),
        State::Stale { since, missing } => ("stale", Some(since), missing),
    }
}

/// Writes a book as a ladder: asks above, bids below, the spread between them.
pub fn write_ladder(out: &mut impl Write, book: &BookAnswer) -> std::io::Result<()> {
    let state = match book.state {
        State::Empty => "empty: no snapshot before this moment".to_owned(),
        State::Live => "live".to_owned(),
        State::Stale { since, missing: n } => format!("stale since {since} ({})", missing(n)),
    };
    writeln!(out, "{} at {}  {state}", book.instrument, book.at)?;
    if let Some(ts_recv) = book.ts_recv {
        let event = book.ts_event.map_or("unknown".to_owned(), |ts| ts.to_string());
        let sequence = book.venue_seq.map_or(String::new(), |seq| format!(", sequence {seq}"));
        writeln!(out, "last message received {ts_recv}, event time {event}{sequence}")?;
    }
    let text = |levels: &[(Decimal, Decimal)]| -> Vec<(String, String)> {
        let (price, qty) = book.digits;
        let text = |level: &(Decimal, Decimal)| {
            (level.0.to_text_with_digits(price), level.1.to_text_with_digits(qty))
        };
        levels.iter().map(text).collect()
    };
    let (bids, asks) = (text(&book.bids), text(&book.asks));
    let all = || bids.iter().chain(&asks);
    let price_width = all().map(|(price, _)| price.len()).max().unwrap_or(0).max(5);
    let qty_width = all().map(|(_, qty)| qty.len()).max().unwrap_or(0).max(8);
    let levels = || book.bids.iter().chain(&book.asks);
    let largest = levels().map(|(_, qty)| qty.to_f64()).fold(0.0, f64::max);
    let bar = |qty: Decimal| {
        let share = if largest > 0.0 { qty.to_f64() / largest } else { 0.0 };
        "#".repeat((share * 30.0).ceil() as usize)
    };
    writeln!(out)?;
    writeln!(out, "  {:>price_width$}  {:>qty_width$}", "price", "quantity")?;
    for ((price, qty), level) in asks.iter().zip(&book.asks).rev() {
        let line = format!("  {price:>price_width$}  {qty:>qty_width$}  ask {}", bar(level.1));
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(out, "  {}", spread_line(book))?;
    for ((price, qty), level) in bids.iter().zip(&book.bids) {
        let line = format!("  {price:>price_width$}  {qty:>qty_width$}  bid {}", bar(level.1));
        writeln!(out, "{}", line.trim_end())?;
    }
    let rest = |name: &str, shown: usize, all: u64| match all.saturating_sub(shown as u64) {
        0 => String::new(),
        more => format!("{} more {name}", screen::count(more)),
    };
    let more = [
        rest("asks", book.asks.len(), book.level_counts.1),
        rest("bids", book.bids.len(), book.level_counts.0),
    ];
    let more: Vec<_> = more.into_iter().filter(|text| !text.is_empty()).collect();
    if !more.is_empty() {
        writeln!(out, "\n  {}: see --depth", more.join(", "))?;
    }
    Ok(())
}

fn spread_line(book: &BookAnswer) -> String {
    let (Some(&(bid, _)), Some(&(ask, _))) = (book.bids.first(), book.asks.first()) else {
        return match (book.bids.is_empty(), book.asks.is_empty()) {
            (true, true) => "-- no levels --".to_owned(),
            (true, _) => "-- no bids --".to_owned(),
            _ => "-- no asks --".to_owned(),
        };
    };
    let scale = bid.scale().max(ask.scale());
    let spread = bid
        .mantissa_at(scale)
        .zip(ask.mantissa_at(scale))
        .and_then(|(bid, ask)| ask.checked_sub(bid))
        .and_then(|spread| Decimal::new(spread, scale));
    let middle = (bid.to_f64() + ask.to_f64()) / 2.0;
    let bps = (ask.to_f64() - bid.to_f64()) / middle * 1e4;
    let crossed = if ask <= bid { ", crossed" } else { "" };
    match spread {
        Some(spread) => format!("-- spread {spread} ({bps:.2} bps{crossed}) --"),
        None => format!("-- spread {bps:.2} bps{crossed} --"),
    }
}
