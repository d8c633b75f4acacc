//! Made-up markets of any size, from their making into a store: no file lies between.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::path::Path;
use std::sync::mpsc;

use super::store::Quiet;
use crate::error::{Error, Result};
use crate::ingest::sample::{InstrumentOptions, MarketOptions, VenueForm, write_captures};
use crate::ingest::{self, Input, tardis_csv};
use crate::quantity::{Instrument, TsNs};
use crate::store::Import;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;
/// A market ends before its day does: a file holds one day.
const DAY_MADE_NS: i64 = DAY_NS - 60 * SECOND_NS;
/// Changes of a book per message, about.
const CHANGES: u32 = 12;

const MESSAGES_PER_SECOND: u32 = 10;
const ROWS_OF_SECOND: u64 = MESSAGES_PER_SECOND as u64 * CHANGES as u64;
const ROWS_OF_DAY: u64 = (DAY_MADE_NS / SECOND_NS) as u64 * ROWS_OF_SECOND;

/// How much of a day is made for about so many rows.
fn day_ns(rows: u64) -> i64 {
    let seconds = i64::try_from(rows / ROWS_OF_SECOND).unwrap_or(i64::MAX);
    seconds.saturating_mul(SECOND_NS).clamp(SECOND_NS, DAY_MADE_NS)
}

/// Books of a number of instruments on consecutive days.
pub(super) struct Market {
    instruments: u64,
    /// About, of all instruments together.
    rows: u64,
    days: u64,
    /// How much of each day is made.
    day_ns: i64,
}

impl std::fmt::Display for Market {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} instruments, {} M rows", self.instruments, self.rows / 1_000_000)
    }
}

impl Market {
    /// About `rows` rows of one book, ten million a day.
    pub(super) fn long(rows: u64) -> Self {
        let days = rows.div_ceil(ROWS_OF_DAY);
        Self { instruments: 1, rows, days, day_ns: day_ns(rows / days.max(1)) }
    }

    /// About `rows` rows of so many books together, on one day, each as dense as a long one.
    pub(super) fn wide(instruments: u64, rows: u64) -> Self {
        Self { instruments, rows, days: 1, day_ns: day_ns(rows / instruments.max(1)) }
    }

    /// Name of a store that holds it.
    pub(super) fn file_name(&self) -> String {
        format!("{}x{}M.reel", self.instruments, self.rows / 1_000_000)
    }

    /// Makes it and imports what is made. Gives the rows.
    pub(super) fn import(&self, import: &mut Import) -> Result<u64> {
        (0..self.days).map(|day| self.import_day(day, import)).sum()
    }

    fn import_day(&self, day: u64, import: &mut Import) -> Result<u64> {
        let options = self.options(day)?;
        let (files, opened) = mpsc::channel();
        std::thread::scope(|scope| {
            let making = scope.spawn(move || {
                write_captures(&options, |name| open(name, &files), |_| ()).map(drop)
            });
            let mut rows = 0;
            for (name, pipe) in opened {
                let input = Input::from_reader(Path::new(&name), Box::new(pipe))?;
                let mut source = tardis_csv::from_input(input, None)?;
                rows += ingest::load(&mut *source, import, &mut Quiet)?.rows;
            }
            let made = making.join();
            made.unwrap_or_else(|_| Err(Error::invalid("the making of a market failed")))?;
            Ok(rows)
        })
    }

    fn options(&self, day: u64) -> Result<MarketOptions> {
        let default = MarketOptions::new(1 + day)?;
        let like = default.instruments.iter().find(|one| one.form == VenueForm::TardisCsv);
        let like = like.ok_or_else(|| Error::invalid("no market is written as Tardis CSV"))?;
        let of = |at: u64| -> Result<InstrumentOptions> {
            Ok(InstrumentOptions {
                instrument: Instrument::new("deribit", &format!("BOOK-{at}"))?,
                underlying: at,
                messages_per_second: MESSAGES_PER_SECOND,
                changes_per_message: CHANGES,
                ..like.clone()
            })
        };
        let start = TsNs::parse("2026-01-05")?.saturating_add(day as i64 * DAY_NS);
        Ok(MarketOptions {
            start,
            duration_ns: self.day_ns,
            instruments: (0..self.instruments).map(of).collect::<Result<_>>()?,
            truth_every_ns: i64::MAX,
            ..default
        })
    }
}

/// Books are handed on as they are written; nobody reads the rest.
fn open(name: &str, files: &mpsc::Sender<(String, PipeReader)>) -> Result<Box<dyn Write + Send>> {
    if !name.contains("incremental_book_L2") {
        return Ok(Box::new(io::sink()));
    }
    let failed = |e| Error::io(e, "open a pipe for", Path::new(name));
    let (reader, writer): (PipeReader, PipeWriter) = io::pipe().map_err(failed)?;
    let gone = |_| Error::invalid("the import ended early");
    files.send((name.to_owned(), reader)).map_err(gone)?;
    Ok(Box::new(writer))
}
