//! `tickreel ls` and `tickreel coverage`: what is stored, and what is missing.

use std::io::Write;

use super::args::From;
use super::{args, screen};
use crate::error::Result;
use crate::quantity::{Instrument, TsNs};
use crate::replay::Coverage;
use crate::store::StreamInfo;

/// List instruments, kinds, time ranges, rows and bytes.
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    #[command(flatten)]
    from: From,
    /// Print one JSON object per stream
    #[arg(long)]
    json: bool,
}

/// Show the time ranges and gaps of an instrument.
#[derive(Debug, clap::Args)]
pub struct CoverageArgs {
    #[command(flatten)]
    from: From,
    /// Print one JSON object per stream
    #[arg(long)]
    json: bool,
    /// Instrument, e.g. binance-futures:BTCUSDT
    #[arg(value_name = "INSTRUMENT", value_parser = args::instrument)]
    instrument: Instrument,
}

/// Runs `ls`.
///
/// # Errors
/// The store or server cannot be read.
pub fn ls(args: &LsArgs) -> Result<()> {
    let infos = super::target::Target::open(&args.from)?.stream_infos()?;
    let mut out = screen::output();
    if args.json {
        for info in &infos {
            writeln!(out, "{}", info_json(info)).map_err(screen::write_error)?;
        }
        return out.flush().map_err(screen::write_error);
    }
    write_infos(&mut out, &infos).and_then(|()| out.flush()).map_err(screen::write_error)
}

fn info_json(info: &StreamInfo) -> serde_json::Value {
    serde_json::json!({
        "exchange": info.key.instrument.exchange(),
        "symbol": info.key.instrument.symbol(),
        "kind": info.key.kind.name(),
        "first": info.first.to_string(),
        "first_ns": info.first.0,
        "last": info.last.to_string(),
        "last_ns": info.last.0,
        "ts_event_min_ns": info.events.map(|(low, _)| low.0),
        "ts_event_max_ns": info.events.map(|(_, high)| high.0),
        "rows": info.rows,
        "messages": info.messages,
        "bytes": info.bytes,
        "segments": info.segments,
        "live_rows": info.live_rows,
        "lost_rows": info.lost_rows,
        "seek_rows_max": info.replay_rows_max,
        "content_hash": info.hash.to_string(),
    })
}

fn write_infos(out: &mut impl Write, infos: &[StreamInfo]) -> std::io::Result<()> {
    if infos.is_empty() {
        return writeln!(
            out,
            "the store is empty; fill it with: tickreel import --store DIR FILE..."
        );
    }
    let name_width = infos.iter().map(|i| i.key.instrument.to_string().chars().count()).max();
    let width = name_width.unwrap_or(0).max(10);
    writeln!(
        out,
        "{:<width$}  {:<12} {:>14} {:>12} {:>7}  {:<30}  last",
        "instrument", "kind", "rows", "bytes", "B/row", "first"
    )?;
    for info in infos {
        writeln!(
            out,
            "{:<width$}  {:<12} {:>14} {:>12} {:>7.2}  {}  {}",
            info.key.instrument.to_string(),
            info.key.kind,
            screen::count(info.rows),
            screen::bytes(info.bytes),
            info.bytes as f64 / info.rows.max(1) as f64,
            info.first,
            info.last
        )?;
    }
    let (rows, bytes) =
        infos.iter().fold((0, 0), |sum, info| (sum.0 + info.rows, sum.1 + info.bytes));
    let live = match infos.iter().map(|info| info.live_rows).sum() {
        0 => String::new(),
        live => format!(", {} of the rows live", screen::count(live)),
    };
    for info in infos.iter().filter(|info| info.lost_rows > 0) {
        let (key, lost) = (&info.key, screen::count(info.lost_rows));
        writeln!(out, "{key}: {lost} rows were lost with damaged files; see: tickreel coverage")?;
    }
    let (streams, rows, bytes) = (infos.len(), screen::count(rows), screen::bytes(bytes));
    writeln!(out, "{streams} streams, {rows} rows, {bytes}{live}")
}

/// Runs `coverage`.
///
/// # Errors
/// The store or server cannot be read, or has nothing of the instrument.
pub fn coverage(args: &CoverageArgs) -> Result<()> {
    let coverage = super::target::Target::open(&args.from)?.coverage(&args.instrument)?;
    let mut out = screen::output();
    if args.json {
        for stream in &coverage {
            writeln!(out, "{}", coverage_json(stream)).map_err(screen::write_error)?;
        }
        return out.flush().map_err(screen::write_error);
    }
    coverage
        .iter()
        .try_for_each(|stream| write_coverage(&mut out, stream))
        .and_then(|()| out.flush())
        .map_err(screen::write_error)
}

fn coverage_json(stream: &Coverage) -> serde_json::Value {
    let spans: Vec<_> = stream
        .spans
        .iter()
        .map(|span| {
            serde_json::json!({
                "first": span.first.to_string(),
                "first_ns": span.first.0,
                "last": span.last.to_string(),
                "last_ns": span.last.0,
                "rows": span.rows,
                "messages": span.messages,
            })
        })
        .collect();
    let gaps: Vec<_> = stream
        .gaps
        .iter()
        .map(|gap| {
            serde_json::json!({
                "since": gap.since.to_string(),
                "since_ns": gap.since.0,
                "until": gap.until.map(|ts| ts.to_string()),
                "until_ns": gap.until.map(|ts| ts.0),
                "missing": gap.missing,
            })
        })
        .collect();
    serde_json::json!({
        "exchange": stream.key.instrument.exchange(),
        "symbol": stream.key.instrument.symbol(),
        "kind": stream.key.kind.name(),
        "ranges": spans,
        "gaps": gaps,
    })
}

fn write_coverage(out: &mut impl Write, stream: &Coverage) -> std::io::Result<()> {
    writeln!(out, "{}", stream.key)?;
    for span in &stream.spans {
        writeln!(
            out,
            "  rows {} .. {}  {} rows in {} messages",
            span.first,
            span.last,
            screen::count(span.rows),
            screen::count(span.messages)
        )?;
    }
    for gap in &stream.gaps {
        let until = gap.until.map_or_else(|| "the end".to_owned(), |ts| ts.to_string());
        let lasted = gap.until.map_or(String::new(), |ts| format!(" ({})", length(gap.since, ts)));
        writeln!(out, "  gap  {} .. {until}{lasted}  {}", gap.since, missing(gap.missing))?;
    }
    if stream.gaps.is_empty() && stream.key.kind == crate::event::Kind::Book {
        writeln!(out, "  no gaps")?;
    }
    Ok(())
}

/// How many messages are missing, in words.
pub fn missing(messages: u64) -> String {
    match messages {
        0 => "an unknown number of messages missing".to_owned(),
        1 => "1 message missing".to_owned(),
        n => format!("{} messages missing", screen::count(n)),
    }
}

fn length(from: TsNs, to: TsNs) -> String {
    let ns = to.0.saturating_sub(from.0);
    if ns < 1_000_000_000 {
        format!("{:.3} ms", ns as f64 / 1e6)
    } else {
        format!("{:.3} s", ns as f64 / 1e9)
    }
}
