//! Tables of books, a line for each: what `replay --books` and `--metrics` print.

use std::io::Write;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampNanosecondArray};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::cells::push_json_text;
use crate::cli::screen::write_error;
use crate::error::{Error, Result};
use crate::quantity::{Instrument, TsNs};

/// The values of a column as text.
enum Cells<'a> {
    Times(&'a TimestampNanosecondArray),
    Others(ArrayFormatter<'a>),
}

impl<'a> Cells<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self> {
        if let Some(times) = array.as_any().downcast_ref() {
            return Ok(Self::Times(times));
        }
        let formatter = ArrayFormatter::try_new(array.as_ref(), &FormatOptions::new());
        formatter.map(Self::Others).map_err(not_shown)
    }

    fn text(&self, row: usize) -> Result<String> {
        match self {
            Self::Times(times) => Ok(TsNs(times.value(row)).to_string()),
            Self::Others(formatter) => formatter.value(row).try_to_string().map_err(not_shown),
        }
    }
}

fn not_shown(error: ArrowError) -> Error {
    Error::invalid(format!("a table of books: {error}"))
}

/// Writes a line for each row: JSON objects with decimals as text, or `name=value` for people.
///
/// # Errors
/// [`crate::ErrorKind::Io`] if the output refuses.
pub fn write_table(
    out: &mut impl Write,
    instrument: &Instrument,
    table: &RecordBatch,
    json: bool,
) -> Result<()> {
    let schema = table.schema();
    let mut columns = Vec::with_capacity(table.num_columns());
    for (field, array) in schema.fields().iter().zip(table.columns()) {
        columns.push((field.name(), array, Cells::of(array)?));
    }
    let mut line = Vec::new();
    for row in 0..table.num_rows() {
        line.clear();
        for (number, (name, array, cells)) in columns.iter().enumerate() {
            if !json && array.is_null(row) {
                continue;
            }
            let value = cells.text(row)?;
            match json {
                true => {
                    line.extend_from_slice(if number == 0 { b"{" } else { b"," });
                    push_json_text(&mut line, name);
                    line.push(b':');
                    match array.is_null(row) {
                        true => line.extend_from_slice(b"null"),
                        false => push_json_text(&mut line, &value),
                    }
                }
                false if number == 0 => {
                    line.extend_from_slice(format!("{value}  {instrument}").as_bytes());
                }
                false => line.extend_from_slice(format!("  {name}={value}").as_bytes()),
            }
        }
        if json {
            line.extend_from_slice(b",\"instrument\":");
            push_json_text(&mut line, &instrument.to_string());
            line.push(b'}');
        }
        line.push(b'\n');
        out.write_all(&line).map_err(write_error)?;
    }
    Ok(())
}
