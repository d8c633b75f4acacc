//! `tickreel read`: rows of one stream in a range of time.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::args::{self, From};
use super::output::{RowFormat, RowWriter, Selection, row_writer};
use super::target::Target;
use crate::arrow::ipc::IpcFile;
use crate::arrow::parquet::ParquetFile;
use crate::arrow::{Converter, Options};
use crate::error::{Error, Result};
use crate::event::{Batch, Kind};
use crate::quantity::Instrument;
use crate::replay::Filter;
use crate::segment::ColumnMask;

/// Read rows of a stream in a range of receive times.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    from: From,
    /// Kind of rows: book, trades, quotes, ticker, liquidations, orders, status, raw
    #[arg(long, value_name = "KIND", value_parser = args::kind)]
    kind: Kind,
    #[command(flatten)]
    range: args::Range,
    /// Columns, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    columns: Vec<String>,
    /// Only rows that meet this, e.g. price>=61000.5, qty>10, side=buy; may be given again: all
    /// must hold
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = format)]
    format: Format,
    /// With tardis-csv: round times down to microseconds instead of refusing finer ones
    #[arg(long)]
    round_us: bool,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Instrument, e.g. binance-futures:BTCUSDT
    #[arg(value_name = "INSTRUMENT", value_parser = args::instrument)]
    instrument: Instrument,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Rows(RowFormat),
    Arrow,
    Parquet,
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "arrow" => Ok(Format::Arrow),
        "parquet" => Ok(Format::Parquet),
        _ => RowFormat::parse(text).map(Format::Rows).map_err(|_| {
            let names = RowFormat::NAMES.join(", ");
            format!("format {text:?}: expected one of {names}, arrow, parquet")
        }),
    }
}

/// Runs the command.
///
/// # Errors
/// The store or server cannot be read, has no such stream, or the output cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let selection = if args.columns.is_empty() {
        Selection::all(&args.instrument, args.kind)
    } else {
        let names = args.columns.iter().map(String::as_str);
        Selection::of_names(&args.instrument, args.kind, names)?
    };
    let range = args.range.bounds()?;
    let target = Target::open(&args.from)?;
    let binary = matches!(args.format, Format::Arrow | Format::Parquet);
    if binary && args.output.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::invalid("binary output to a terminal: name a file with -o"));
    }
    let path = args.output.as_deref().unwrap_or(Path::new("-"));
    let filter = Filter::parse(args.kind, &args.conditions)?;
    let mask = mask_of(args, &selection);
    let mut scan = target.scan(&args.instrument, args.kind, range, mask, filter)?;
    let sink: Box<dyn Write + Send> = match &args.output {
        Some(file) => {
            let file = File::create(file).map_err(|e| Error::io(e, "create output", file))?;
            Box::new(BufWriter::with_capacity(1 << 20, file))
        }
        None => Box::new(BufWriter::with_capacity(1 << 16, std::io::stdout())),
    };
    let mut rows = writer(args, selection, &scan.scales(), sink, path)?;
    while let Some(batch) = scan.next_batch()? {
        rows.batch(batch)?;
    }
    rows.finish()
}

/// What has to be read for the columns asked for: Tardis CSV decides for itself.
fn mask_of(args: &Args, selection: &Selection) -> ColumnMask {
    match args.format {
        Format::Rows(RowFormat::TardisCsv { .. }) => ColumnMask::ALL,
        _ => ColumnMask::of(&selection.columns),
    }
}

fn writer<'a>(
    args: &Args,
    selection: Selection,
    scales: &[u8],
    sink: Box<dyn Write + Send + 'a>,
    path: &Path,
) -> Result<Box<dyn RowWriter + 'a>> {
    let format = match args.format {
        Format::Rows(RowFormat::TardisCsv { .. }) => {
            RowFormat::TardisCsv { round_down: args.round_us }
        }
        Format::Rows(format) => format,
        Format::Arrow | Format::Parquet => {
            let converter = converter(&selection, scales)?;
            let file = match args.format {
                Format::Arrow => ArrowFile::Ipc(IpcFile::begin(sink, converter.schema())?),
                _ => ArrowFile::Parquet(ParquetFile::begin(sink, converter.schema().clone())?),
            };
            return Ok(Box::new(ArrowWriter { converter, file: Some(file) }));
        }
    };
    row_writer(format, selection, sink, path)
}

fn converter(selection: &Selection, scales: &[u8]) -> Result<Converter> {
    let options =
        Options { instrument: Some(selection.instrument.clone()), ..Options::for_files() };
    Converter::new(selection.kind, Some(&selection.columns), scales, &options)
}

enum ArrowFile<W: Write + Send> {
    Ipc(IpcFile<W>),
    Parquet(ParquetFile<W>),
}

/// Writes batches as an Arrow or Parquet file.
struct ArrowWriter<W: Write + Send> {
    converter: Converter,
    file: Option<ArrowFile<W>>,
}

impl<W: Write + Send> RowWriter for ArrowWriter<W> {
    fn batch(&mut self, batch: &Batch) -> Result<()> {
        let batch = self.converter.convert(batch)?;
        match &mut self.file {
            Some(ArrowFile::Ipc(file)) => file.write(&batch),
            Some(ArrowFile::Parquet(file)) => file.write(&batch),
            None => Err(Error::invalid("the file is finished")),
        }
    }

    fn finish(&mut self) -> Result<()> {
        let target = match self.file.take() {
            Some(ArrowFile::Ipc(file)) => file.finish()?,
            Some(ArrowFile::Parquet(file)) => file.finish()?,
            None => return Ok(()),
        };
        let mut target = target;
        target.flush().map_err(|e| Error::io(e, "write output", Path::new("-")))
    }
}
