//! CSV: a header and one line per row, times in nanoseconds, decimals exact.

use std::io::Write;

use super::cells::push_csv;
use super::sink::Sink;
use super::writer::{RowWriter, Selection};
use crate::error::Result;
use crate::event::Batch;

pub(super) struct Csv<W> {
    sink: Sink<W>,
    selection: Selection,
    headed: bool,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(selection: Selection, sink: Sink<W>) -> Self {
        Self { sink, selection, headed: false }
    }

    fn head(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.headed, true) {
            return Ok(());
        }
        let names: Vec<&str> = self.selection.specs().map(|(_, spec)| spec.name).collect();
        self.sink.bytes.extend_from_slice(names.join(",").as_bytes());
        self.sink.end_row()
    }
}

impl<W: Write> RowWriter for Csv<W> {
    fn batch(&mut self, batch: &Batch) -> Result<()> {
        self.selection.check(batch.kind())?;
        self.head()?;
        for message in 0..batch.messages() {
            for row in batch.message_rows(message) {
                for (at, &column) in self.selection.columns.iter().enumerate() {
                    if at > 0 {
                        self.sink.bytes.push(b',');
                    }
                    push_csv(&mut self.sink.bytes, batch.value(message, row, column));
                }
                self.sink.end_row()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.head()?;
        self.sink.flush()
    }
}
