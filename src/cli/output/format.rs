//! The text formats by name, and the writer of each.

use std::io::Write;
use std::path::Path;

use super::csv::Csv;
use super::ndjson::Ndjson;
use super::sink::Sink;
use super::table::Table;
use super::tardis_csv::TardisCsv;
use super::writer::{RowWriter, Selection};
use crate::error::{Error, Result};

/// A text format for rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// Aligned columns for a person.
    Table,
    /// Header and one line per row; times in nanoseconds, flags by name, "no value" empty.
    Csv,
    /// One JSON object per row.
    Ndjson,
    /// Tardis's columns.
    TardisCsv {
        /// Round times down to whole microseconds instead of refusing finer ones.
        round_down: bool,
    },
}

impl RowFormat {
    /// Names of all formats, as [`RowFormat::parse`] takes them.
    pub const NAMES: [&'static str; 4] = ["table", "csv", "ndjson", "tardis-csv"];

    /// Reads a format's name. `tardis-csv` refuses times that are not whole microseconds.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] with all names.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "table" => Ok(Self::Table),
            "csv" => Ok(Self::Csv),
            "ndjson" => Ok(Self::Ndjson),
            "tardis-csv" => Ok(Self::TardisCsv { round_down: false }),
            _ => Err(Error::invalid(format!(
                "format {text:?}: expected one of {}",
                Self::NAMES.join(", ")
            ))),
        }
    }
}

/// Writes rows of `selection` to `target`, which `path` names in errors.
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] if the format has no place for the kind.
pub fn row_writer<'a>(
    format: RowFormat,
    selection: Selection,
    target: impl Write + 'a,
    path: &Path,
) -> Result<Box<dyn RowWriter + 'a>> {
    let sink = Sink::new(target, path);
    Ok(match format {
        RowFormat::Table => Box::new(Table::new(selection, sink)),
        RowFormat::Csv => Box::new(Csv::new(selection, sink)),
        RowFormat::Ndjson => Box::new(Ndjson::new(selection, sink)),
        RowFormat::TardisCsv { round_down } => {
            Box::new(TardisCsv::new(selection, sink, round_down)?)
        }
    })
}
