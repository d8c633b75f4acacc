//! `tickreel quarantine`: a damaged file out of the way.

use std::io::Write;
use std::path::PathBuf;

use super::screen;
use crate::error::Result;
use crate::store::{Missing, Store};

/// Move a damaged file, as verify names it, aside, and store what it held as missing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// The damaged segment or journal file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// The file is none of the store or is not damaged, or a writer has the store.
pub fn run(args: &Args) -> Result<()> {
    let report = Store::open_for_repair(&args.store)?.quarantine(&args.file)?;
    let mut out = screen::output();
    if args.json {
        let missing: Vec<_> = report.missing.iter().map(json).collect();
        let document = serde_json::json!({ "files": report.files, "missing": missing });
        writeln!(out, "{document}").map_err(screen::write_error)?;
        return out.flush().map_err(screen::write_error);
    }
    let written = report
        .files
        .iter()
        .try_for_each(|file| writeln!(out, "moved to {}", file.display()))
        .and_then(|()| report.missing.iter().try_for_each(|m| writeln!(out, "{}", words(m))))
        .and_then(|()| out.flush());
    written.map_err(screen::write_error)
}

fn json(missing: &Missing) -> serde_json::Value {
    serde_json::json!({
        "exchange": missing.key.instrument.exchange(),
        "symbol": missing.key.instrument.symbol(),
        "kind": missing.key.kind.name(),
        "since": missing.since.to_string(),
        "since_ns": missing.since.0,
        "until": missing.until.map(|until| until.to_string()),
        "until_ns": missing.until.map(|until| until.0),
        "rows": missing.rows,
    })
}

fn words(missing: &Missing) -> String {
    let (key, since) = (&missing.key, missing.since);
    match (missing.until, missing.rows) {
        (Some(until), Some(rows)) => {
            format!("missing: {key}, {} rows from {since} to {until}", screen::count(rows))
        }
        _ => format!("perhaps missing: {key}, rows after {since}"),
    }
}
