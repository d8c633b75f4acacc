//! `tickreel import`: files into a store, whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use indicatif::ProgressBar;

use super::{args, screen};
use crate::error::{Error, Result};
use crate::ingest::{self, Format, LoadReport, OpenOptions, Reject, Watch};
use crate::quantity::Instrument;
use crate::segment::WriterOptions;
use crate::store::{ImportOptions, ImportReport, Store};

/// Import files into a store.
///
/// Format and instrument are told by the files where they can be. All rows become visible in one
/// step at the end; an interrupted import leaves the store as it was.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the store; made if it is missing
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Format of all files, where it cannot be told
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// Instrument of a capture, where its lines do not tell; raw lane of a store (binance:*2)
    #[arg(long, value_name = "EXCHANGE:SYMBOL", value_parser = args::instrument)]
    instrument: Option<Instrument>,
    /// Replace what is stored of the same streams, from the first to the last imported row
    #[arg(long)]
    replace: bool,
    /// Stop at the first line that cannot be read instead of writing it to the reject file
    #[arg(long)]
    strict: bool,
    /// Where lines that cannot be read are written [default: rejects.txt in this folder]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Rows that a book at a time replays at most, but for the rest of a message [default: 8192, or
    /// up to 8 times as many where checkpoints would take more than a ninth of the bytes]
    #[arg(long, value_name = "ROWS")]
    checkpoint_rows: Option<u64>,
    /// Print the result as one JSON document
    #[arg(long)]
    json: bool,
    /// Files to import, plain, gzip or zstd; or stores whose raw lanes are to be read again
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

fn format(text: &str) -> Result<Format, String> {
    Format::parse(text).map_err(|error| error.to_string())
}

/// Lines that are named on standard error; all of them are in the reject file.
const REJECTS_SHOWN: u64 = 5;

/// Runs the command.
///
/// # Errors
/// As [`ingest::open_all`], [`ingest::load`] and [`crate::store::Import::commit`].
pub fn run(args: &Args) -> Result<()> {
    screen::catch_interrupts()?;
    let started = Instant::now();
    let options = OpenOptions { format: args.format, instrument: args.instrument.clone() };
    let inputs = ingest::open_all(&args.files, &options)?;
    let bytes_total = inputs.iter().map(|input| input.bytes).sum();
    let store = Store::open_or_create(&args.store)?;
    let writer = WriterOptions { checkpoint_rows: args.checkpoint_rows, ..Default::default() };
    let mut import = store.import(ImportOptions { replace: args.replace, writer })?;
    let template = "{wide_msg} [{bar:30}] {bytes}/{total_bytes} {eta}";
    let mut watch = Progress {
        bar: screen::progress(bytes_total, template),
        started,
        bytes_before: 0,
        bytes_here: 0,
        rows_before: 0,
        strict: args.strict,
        rejects: RejectFile {
            path: args.rejects.clone().unwrap_or_else(|| "rejects.txt".into()),
            file: None,
        },
        count: 0,
    };
    let mut total = LoadReport::default();
    for mut input in inputs {
        let report = ingest::load(&mut *input.source, &mut import, &mut watch)?;
        total.rows += report.rows;
        total.rejects += report.rejects;
        total.stepped_back += report.stepped_back;
        watch.bytes_before += watch.bytes_here;
        watch.rows_before = total.rows;
    }
    watch.rejects.finish()?;
    screen::check_interrupted()?;
    watch.bar.set_message("sealing");
    let imported = import.commit()?;
    watch.bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    report(args, &imported, total, &watch.rejects, seconds)
}

fn report(
    args: &Args,
    imported: &ImportReport,
    total: LoadReport,
    rejects: &RejectFile,
    seconds: f64,
) -> Result<()> {
    let mut out = screen::output();
    let reject_file = rejects.file.is_some().then_some(&rejects.path);
    if args.json {
        let streams: Vec<_> = imported
            .streams
            .iter()
            .map(|(key, stream)| {
                serde_json::json!({
                    "instrument": key.instrument.to_string(),
                    "kind": key.kind.name(),
                    "first_ns": stream.first.0,
                    "last_ns": stream.last.0,
                    "rows": stream.rows,
                    "bytes": stream.bytes,
                    "checkpoint_bytes": stream.checkpoint_bytes,
                    "segments": stream.segments,
                })
            })
            .collect();
        let document = serde_json::json!({
            "store": args.store,
            "generation": imported.generation,
            "rows": total.rows,
            "rejects": total.rejects,
            "reject_file": reject_file,
            "stepped_back": total.stepped_back,
            "replaced_segments": imported.replaced_segments,
            "seconds": seconds,
            "streams": streams,
        });
        return writeln!(out, "{document}").map_err(screen::write_error);
    }
    let mut lines = Vec::new();
    for (key, stream) in &imported.streams {
        lines.push(format!(
            "{:<12} {:<32} {:>14} rows  {:>5.2} B/row  {} .. {}",
            key.kind.name(),
            key.instrument.to_string(),
            screen::count(stream.rows),
            stream.bytes as f64 / stream.rows.max(1) as f64,
            stream.first,
            stream.last
        ));
    }
    let bytes: u64 = imported.streams.iter().map(|(_, stream)| stream.bytes).sum();
    lines.push(format!(
        "{} rows in {} streams, {}, {:.1} s ({} rows/s) -> {}",
        screen::count(total.rows),
        imported.streams.len(),
        screen::bytes(bytes),
        seconds,
        screen::count((total.rows as f64 / seconds.max(1e-9)) as u64),
        args.store.display()
    ));
    if imported.replaced_segments > 0 {
        lines.push(format!("{} segments were replaced", imported.replaced_segments));
    }
    if total.stepped_back > 0 {
        lines.push(format!(
            "{} messages came with a receive time before the one before them; they are stored at \
             that one",
            screen::count(total.stepped_back)
        ));
    }
    if let Some(path) = reject_file {
        lines.push(format!(
            "{} lines could not be read: see {}",
            screen::count(total.rejects),
            path.display()
        ));
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(screen::write_error)
}

/// Shows how an import goes on and keeps the lines it refused.
struct Progress {
    bar: ProgressBar,
    started: Instant,
    bytes_before: u64,
    bytes_here: u64,
    rows_before: u64,
    strict: bool,
    rejects: RejectFile,
    count: u64,
}

impl Watch for Progress {
    fn progress(&mut self, bytes_read: u64, rows: u64) -> Result<()> {
        screen::check_interrupted()?;
        self.bytes_here = bytes_read;
        self.bar.set_position(self.bytes_before + bytes_read);
        let rows = self.rows_before + rows;
        let rate = rows as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let message =
            format!("{} rows, {} rows/s", screen::count(rows), screen::count(rate as u64));
        self.bar.set_message(message);
        Ok(())
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        if self.strict {
            return Err(reject.error);
        }
        self.count += 1;
        if self.count <= REJECTS_SHOWN {
            self.bar.suspend(|| screen::error_line(&format!("tickreel: {}", reject.error)));
        }
        self.rejects.add(&reject)
    }
}

/// The lines that could not be read, each after its reason.
struct RejectFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl RejectFile {
    fn add(&mut self, reject: &Reject) -> Result<()> {
        let path = &self.path;
        let error = |e| Error::io(e, "write reject file", path);
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(File::create(path).map_err(error)?)),
        };
        writeln!(file, "# {}", reject.error)
            .and_then(|()| file.write_all(&reject.text))
            .and_then(|()| file.write_all(b"\n"))
            .map_err(error)
    }

    fn finish(&mut self) -> Result<()> {
        let path = &self.path;
        self.file
            .as_mut()
            .map_or(Ok(()), BufWriter::flush)
            .map_err(|e| Error::io(e, "write reject file", path))
    }
}
