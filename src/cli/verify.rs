//! `tickreel verify`: every checksum, every value, every checkpoint, the journal.

use std::io::Write;
use std::path::PathBuf;

use super::screen;
use crate::error::{Error, Result};
use crate::store::{Store, VerifyReport};

/// Check every checksum and rebuild every checkpoint of a store; exit code 1 on any damage.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] if anything is damaged.
pub fn run(args: &Args) -> Result<()> {
    let store = Store::open_for_repair(&args.store)?;
    let bar = screen::progress(0, "verifying [{bar:30}] {bytes}/{total_bytes} {eta}");
    let report = store.verify(|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let mut out = screen::output();
    let written = match args.json {
        true => writeln!(out, "{}", json(&report)),
        false => print(&mut out, &report),
    };
    written.and_then(|()| out.flush()).map_err(screen::write_error)?;
    match report.damage.len() {
        0 => Ok(()),
        1 => Err(Error::corrupt("1 damaged file").at_path(&args.store)),
        n => Err(Error::corrupt(format!("{n} damaged files")).at_path(&args.store)),
    }
}

fn json(report: &VerifyReport) -> serde_json::Value {
    let damage: Vec<_> = report
        .damage
        .iter()
        .map(|damage| {
            serde_json::json!({
                "stream": damage.stream.as_ref().map(ToString::to_string),
                "file": damage.error.path(),
                "byte": damage.error.byte_offset(),
                "error": damage.error.to_string(),
            })
        })
        .collect();
    serde_json::json!({
        "ok": report.damage.is_empty(),
        "segments": report.segments,
        "rows": report.rows,
        "checkpoints": report.checkpoints,
        "bytes": report.bytes,
        "journal_frames": report.journal_frames,
        "damage": damage,
        "strangers": report.strangers,
    })
}

fn print(out: &mut impl Write, report: &VerifyReport) -> std::io::Result<()> {
    for damage in &report.damage {
        let stream = damage.stream.as_ref().map_or(String::new(), |stream| format!("{stream}: "));
        writeln!(out, "DAMAGED  {stream}{}", damage.error)?;
    }
    for stranger in &report.strangers {
        writeln!(out, "stranger {} (not made by the store, left alone)", stranger.display())?;
    }
    let verdict = if report.damage.is_empty() { "ok" } else { "damaged" };
    writeln!(
        out,
        "{verdict}: {} segments, {} rows, {} checkpoints rebuilt, {} read, {} journal frames",
        screen::count(report.segments),
        screen::count(report.rows),
        screen::count(report.checkpoints),
        screen::bytes(report.bytes),
        screen::count(report.journal_frames)
    )
}
