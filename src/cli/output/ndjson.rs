//! One JSON object per row: decimals as strings, times as RFC 3339 and as nanoseconds.
//!
//! Text that is not UTF-8 cannot be JSON; its bytes are given in hex under the column's name with
//! `_hex` instead.

use std::io::Write;

use super::cells::{flag_names, push_decimal, push_int, push_json_text};
use super::sink::Sink;
use super::writer::{RowWriter, Selection};
use crate::error::Result;
use crate::event::{Batch, ColumnSpec, ColumnType, Value};

pub(super) struct Ndjson<W> {
    sink: Sink<W>,
    selection: Selection,
    /// What every line begins with.
    head: Vec<u8>,
}

impl<W: Write> Ndjson<W> {
    pub(super) fn new(selection: Selection, sink: Sink<W>) -> Self {
        let mut head = b"{\"exchange\":".to_vec();
        push_json_text(&mut head, selection.instrument.exchange());
        head.extend_from_slice(b",\"symbol\":");
        push_json_text(&mut head, selection.instrument.symbol());
        Self { sink, selection, head }
    }
}

impl<W: Write> RowWriter for Ndjson<W> {
    fn batch(&mut self, batch: &Batch) -> Result<()> {
        self.selection.check(batch.kind())?;
        for message in 0..batch.messages() {
            for row in batch.message_rows(message) {
                self.sink.bytes.extend_from_slice(&self.head);
                for (column, spec) in self.selection.specs() {
                    push_member(&mut self.sink.bytes, spec, batch.value(message, row, column));
                }
                self.sink.bytes.push(b'}');
                self.sink.end_row()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.sink.flush()
    }
}

fn push_name(out: &mut Vec<u8>, name: &str, suffix: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a value as a member of an open object, after a comma.
pub(super) fn push_member(out: &mut Vec<u8>, spec: &ColumnSpec, value: Value<'_>) {
    if let Value::Text(bytes) = value
        && std::str::from_utf8(bytes).is_err()
    {
        push_name(out, spec.name, "_hex");
        out.push(b'"');
        for byte in bytes {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{byte:02x}");
        }
        out.push(b'"');
        return;
    }
    push_name(out, spec.name, "");
    match value {
        Value::Null => {
            out.extend_from_slice(b"null");
            if spec.ty == ColumnType::Time {
                push_name(out, spec.name, "_ns");
                out.extend_from_slice(b"null");
            }
        }
        Value::Time(ts) => {
            let _ = write!(out, "\"{ts}\"");
            push_name(out, spec.name, "_ns");
            push_int(out, ts.0);
        }
        Value::Int(value) => push_int(out, value),
        Value::Decimal(value) => {
            out.push(b'"');
            push_decimal(out, value);
            out.push(b'"');
        }
        Value::Code(name) => push_json_text(out, name),
        Value::Flags(flags) => {
            out.push(b'[');
            for (at, name) in flag_names(flags).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push_json_text(out, name);
            }
            out.push(b']');
        }
        Value::Text(text) => push_json_text(out, &String::from_utf8_lossy(text)),
    }
}
