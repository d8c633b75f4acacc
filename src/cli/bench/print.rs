//! Figures as a table for people, or as one JSON document.

use std::io::Write;

use super::figure::Figure;
use crate::cli::screen;
use crate::error::Result;
use crate::store::StreamInfo;

/// Prints the figures of a store, which `name` says more of, and what its streams take.
pub(super) fn print(
    json: bool,
    name: Option<&str>,
    figures: &[Figure],
    streams: &[StreamInfo],
) -> Result<()> {
    let mut out = screen::output();
    let written = match json {
        true => writeln!(out, "{}", document(name, figures, streams)),
        false => table(&mut out, name, figures).and_then(|()| sizes(&mut out, streams)),
    };
    written.and_then(|()| out.flush()).map_err(screen::write_error)
}

fn document(name: Option<&str>, figures: &[Figure], streams: &[StreamInfo]) -> serde_json::Value {
    let streams: Vec<_> = streams
        .iter()
        .map(|info| {
            serde_json::json!({
                "stream": info.key.to_string(),
                "rows": info.rows,
                "bytes": info.bytes,
                "bytes_per_row": bytes_per_row(info.bytes, info.rows),
                "segments": info.segments,
            })
        })
        .collect();
    let figures: Vec<_> = figures.iter().map(one).collect();
    serde_json::json!({ "store": name, "figures": figures, "streams": streams })
}

fn one(figure: &Figure) -> serde_json::Value {
    serde_json::json!({
        "name": figure.name,
        "rows": figure.rows,
        "bytes": figure.bytes,
        "wall_s": figure.wall_s,
        "cpu_s": figure.cpu_s,
        "rows_per_cpu_s": (figure.cpu_s > 0.0).then(|| figure.rows as f64 / figure.cpu_s),
        "calls": figure.calls_us.len(),
        "p50_us": figure.quantile(0.50),
        "p95_us": figure.quantile(0.95),
        "p99_us": figure.quantile(0.99),
        "memory_bytes": figure.memory,
        "hash": format!("{:016x}", figure.hash),
    })
}

fn bytes_per_row(bytes: u64, rows: u64) -> f64 {
    bytes as f64 / rows.max(1) as f64
}

fn table(out: &mut impl Write, name: Option<&str>, figures: &[Figure]) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<34} {:>14} {:>6} {:>8} {:>8} {:>13} {:>9} {:>9} {:>9} {:>10}",
        name.unwrap_or_default(),
        "rows",
        "B/row",
        "wall s",
        "CPU s",
        "rows/CPU s",
        "p50 us",
        "p95 us",
        "p99 us",
        "memory"
    )?;
    for figure in figures {
        let rate = match figure.cpu_s > 0.0 && figure.rows > 0 {
            true => screen::count((figure.rows as f64 / figure.cpu_s) as u64),
            false => String::new(),
        };
        let quantile =
            |share| figure.quantile(share).map_or(String::new(), |us| format!("{us:.1}"));
        let rows = if figure.rows == 0 { String::new() } else { screen::count(figure.rows) };
        let each = |bytes| format!("{:.2}", bytes_per_row(bytes, figure.rows));
        let line = format!(
            "{:<34} {rows:>14} {:>6} {:>8.2} {:>8.2} {rate:>13} {:>9} {:>9} {:>9} {:>10}",
            figure.name,
            figure.bytes.map_or(String::new(), each),
            figure.wall_s,
            figure.cpu_s,
            quantile(0.50),
            quantile(0.95),
            quantile(0.99),
            screen::bytes(figure.memory)
        );
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Of more streams than this only the sum is shown.
const STREAMS_SHOWN: usize = 12;

fn sizes(out: &mut impl Write, streams: &[StreamInfo]) -> std::io::Result<()> {
    writeln!(out)?;
    if streams.len() <= STREAMS_SHOWN {
        return streams
            .iter()
            .try_for_each(|info| size(out, &info.key.to_string(), std::slice::from_ref(info)));
    }
    size(out, &format!("{} streams", streams.len()), streams)
}

fn size(out: &mut impl Write, name: &str, streams: &[StreamInfo]) -> std::io::Result<()> {
    let rows = streams.iter().map(|info| info.rows).sum();
    let bytes = streams.iter().map(|info| info.bytes).sum();
    let segments: usize = streams.iter().map(|info| info.segments).sum();
    let each = bytes_per_row(bytes, rows);
    let rows = screen::count(rows);
    writeln!(out, "{name:<45} {rows:>14} rows {each:>7.3} B/row in {segments} segments")
}
