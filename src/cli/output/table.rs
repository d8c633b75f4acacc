//! A table for a person: aligned columns, page after page.
//!
//! Rows are gathered for a page so that its columns can be as wide as they need; every page repeats
//! the header. Columns never get narrower from page to page, and decimals have the venue's number
//! of digits, so that prices stand under each other.

use std::io::Write;

use super::cells::push_flags;
use super::sink::Sink;
use super::writer::{RowWriter, Selection};
use crate::error::Result;
use crate::event::{Batch, ColumnSpec, ColumnType, Value};

/// Rows of one page.
const PAGE_ROWS: usize = 500;
/// Characters that a cell shows of a text.
const TEXT_CHARS_MAX: usize = 60;
/// What stands for "no value".
const NONE: &str = "-";

pub(super) struct Table<W> {
    sink: Sink<W>,
    selection: Selection,
    columns: Vec<Layout>,
    page: Vec<Vec<String>>,
    pages: usize,
}

/// How one column looks.
struct Layout {
    spec: &'static ColumnSpec,
    width: usize,
    digits: u8,
}

impl<W: Write> Table<W> {
    pub(super) fn new(selection: Selection, sink: Sink<W>) -> Self {
        let columns = selection
            .specs()
            .map(|(_, spec)| Layout { spec, width: spec.name.len(), digits: 0 })
            .collect();
        Self { sink, selection, columns, page: Vec::new(), pages: 0 }
    }

    fn end_page(&mut self) -> Result<()> {
        for row in &self.page {
            for (layout, cell) in self.columns.iter_mut().zip(row) {
                layout.width = layout.width.max(cell.chars().count());
            }
        }
        if self.pages > 0 {
            self.sink.end_row()?;
        }
        self.pages += 1;
        let names: Vec<String> =
            self.columns.iter().map(|layout| layout.spec.name.to_owned()).collect();
        self.line(&names)?;
        for row in std::mem::take(&mut self.page) {
            self.line(&row)?;
        }
        Ok(())
    }

    fn line(&mut self, cells: &[String]) -> Result<()> {
        let mut line = String::new();
        for (at, (layout, cell)) in self.columns.iter().zip(cells).enumerate() {
            if at > 0 {
                line.push_str("  ");
            }
            let blanks = layout.width.saturating_sub(cell.chars().count());
            let blanks = std::iter::repeat_n(' ', blanks);
            if matches!(layout.spec.ty, ColumnType::Decimal | ColumnType::Int) {
                line.extend(blanks);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.extend(blanks);
            }
        }
        self.sink.bytes.extend_from_slice(line.trim_end().as_bytes());
        self.sink.end_row()
    }
}

impl<W: Write> RowWriter for Table<W> {
    fn batch(&mut self, batch: &Batch) -> Result<()> {
        self.selection.check(batch.kind())?;
        for (layout, &column) in self.columns.iter_mut().zip(&self.selection.columns) {
            let digits = batch.column(column).map_or(0, |column| column.digits);
            layout.digits = layout.digits.max(digits);
        }
        for message in 0..batch.messages() {
            for row in batch.message_rows(message) {
                let cells = self.columns.iter().zip(&self.selection.columns);
                let cells = cells
                    .map(|(layout, &column)| cell(batch.value(message, row, column), layout.digits))
                    .collect();
                self.page.push(cells);
                if self.page.len() == PAGE_ROWS {
                    self.end_page()?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if self.pages == 0 || !self.page.is_empty() {
            self.end_page()?;
        }
        self.sink.flush()
    }
}

fn cell(value: Value<'_>, digits: u8) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        Value::Time(ts) => ts.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Decimal(value) => value.to_text_with_digits(digits),
        Value::Code(name) => name.to_owned(),
        Value::Flags(flags) => {
            let mut names = Vec::new();
            push_flags(&mut names, flags);
            String::from_utf8_lossy(&names).into_owned()
        }
        Value::Text(text) => {
            let start = text.get(..4 * TEXT_CHARS_MAX).unwrap_or(text);
            let shown = String::from_utf8_lossy(start);
            let clean = |char: char| if char.is_control() { ' ' } else { char };
            let mut cell: String = shown.chars().take(TEXT_CHARS_MAX).map(clean).collect();
            if start.len() < text.len() || shown.chars().count() > TEXT_CHARS_MAX {
                cell.push_str("...");
            }
            cell
        }
    }
}
