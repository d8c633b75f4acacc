//! Rows of many streams, one line each: what `replay` prints.

use std::io::Write;
use std::path::Path;

use super::cells::{push_csv, push_json_text};
use super::ndjson::push_member;
use super::sink::Sink;
use crate::error::Result;
use crate::event::{Batch, ColumnType, StreamKey, Value};

/// Writes rows as lines that name their stream: JSON objects, or text for people.
pub struct StreamLines<W> {
    sink: Sink<W>,
    json: bool,
}

impl<W: Write> StreamLines<W> {
    /// Writes to `target`, which `path` names in errors.
    pub fn new(target: W, path: &Path, json: bool) -> Self {
        Self { sink: Sink::new(target, path), json }
    }

    /// Writes some messages of a stream.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if the output refuses.
    pub fn write(
        &mut self,
        key: &StreamKey,
        batch: &Batch,
        messages: std::ops::Range<usize>,
    ) -> Result<()> {
        for message in messages {
            for row in batch.message_rows(message) {
                match self.json {
                    true => self.json_row(key, batch, message, row),
                    false => self.text_row(key, batch, message, row),
                }
                self.sink.end_row()?;
            }
        }
        Ok(())
    }

    fn json_row(&mut self, key: &StreamKey, batch: &Batch, message: usize, row: usize) {
        let out = &mut self.sink.bytes;
        out.extend_from_slice(b"{\"exchange\":");
        push_json_text(out, key.instrument.exchange());
        out.extend_from_slice(b",\"symbol\":");
        push_json_text(out, key.instrument.symbol());
        out.extend_from_slice(b",\"kind\":");
        push_json_text(out, key.kind.name());
        for (column, spec) in batch.schema().columns.iter().enumerate() {
            push_member(out, spec, batch.value(message, row, column));
        }
        out.push(b'}');
    }

    /// Receive time, stream, then every value that says something.
    fn text_row(&mut self, key: &StreamKey, batch: &Batch, message: usize, row: usize) {
        let out = &mut self.sink.bytes;
        for (column, spec) in batch.schema().columns.iter().enumerate() {
            let value = batch.value(message, row, column);
            if column == 0 {
                if let Value::Time(ts) = value {
                    out.extend_from_slice(format!("{ts} {key}").as_bytes());
                }
                continue;
            }
            if matches!(value, Value::Null | Value::Text(b"")) || column == 1 {
                continue;
            }
            out.push(b' ');
            if !matches!(spec.ty, ColumnType::Code(_) | ColumnType::Flags) {
                out.extend_from_slice(spec.name.as_bytes());
                out.push(b'=');
            }
            push_csv(out, value);
        }
    }

    /// Writes what is held back.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if the output refuses.
    pub fn flush(&mut self) -> Result<()> {
        self.sink.flush()
    }
}
