//! Rows that a client appends.

use bytes::Bytes;

use super::atoms::{self, ProtocolError};
use crate::arrow::{from_record_batch, ipc};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Column, ColumnSpec, ColumnType, Kind, StreamKey, TextValues, Values};
use crate::limit;
use crate::quantity::NULL;
use crate::rpc::columns;
use crate::rpc::proto;
use crate::rpc::proto::append_request::Rows as Sent;

/// Rows of one stream, at least one.
#[derive(Debug)]
pub(in crate::rpc) struct AppendRows {
    pub(in crate::rpc) key: StreamKey,
    pub(in crate::rpc) batch: Batch,
}

impl TryFrom<proto::AppendRequest> for AppendRows {
    type Error = Error;

    fn try_from(request: proto::AppendRequest) -> Result<Self> {
        let instrument = atoms::instrument(&request.instrument)?;
        let kind = atoms::kind(request.kind)?;
        let batch = match request.rows {
            Some(Sent::Arrow(data)) => arrow_rows(kind, data).map_err(|e| wrong("arrow", e))?,
            Some(Sent::Columns(data)) => {
                columns::decode(kind, &data).map_err(|error| wrong("columns", error))?
            }
            None => return Err(ProtocolError::new("rows", "expected arrow or columns").into()),
        };
        if batch.is_empty() {
            return Err(ProtocolError::new("rows", "expected at least one").into());
        }
        Ok(Self { key: StreamKey { instrument, kind }, batch })
    }
}

/// What is wrong with the bytes of `field`: nothing of the server's is corrupt.
fn wrong(field: &'static str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => ProtocolError::new(field, error.text()).into(),
        _ => error.context(field),
    }
}

/// The rows of an Arrow IPC stream, together.
fn arrow_rows(kind: Kind, data: Bytes) -> Result<Batch> {
    let mut all = Batch::new(kind);
    for (number, found) in ipc::Decoder::new().decode(data)?.iter().enumerate() {
        let batch = from_record_batch(kind, found)
            .and_then(completed)
            .and_then(|batch| all.append(&batch))
            .and_then(|()| check_bytes(&all));
        batch.map_err(|error| match number {
            0 => error,
            _ => error.context(format_args!("record batch {number}")),
        })?;
    }
    Ok(all)
}

/// The batch with columns without values where they were left out and may be.
fn completed(batch: Batch) -> Result<Batch> {
    let (kind, rows, messages) = (batch.kind(), batch.rows(), batch.messages());
    let (ends, mut columns) = batch.into_parts();
    for (spec, column) in kind.schema().columns.iter().zip(&mut columns) {
        let count = if spec.per_message { messages } else { rows };
        if column.is_none() {
            *column = Some(nothing(spec, count)?);
        }
    }
    Batch::from_parts(kind, rows, ends, columns)
}

/// A column of rows without a value.
fn nothing(spec: &ColumnSpec, count: usize) -> Result<Column> {
    let values = match spec.ty {
        ColumnType::Time | ColumnType::Int | ColumnType::Decimal if spec.nullable => {
            Values::I64(vec![NULL; count].into())
        }
        // Venues without ids of their prints have an empty one.
        ColumnType::Text if spec.name == "trade_id" => {
            Values::Text(TextValues { ends: vec![0; count].into(), ..TextValues::default() })
        }
        _ => return Err(Error::invalid(format!("rows lack the column {}", spec.name))),
    };
    Ok(Column { values, scale: 0, digits: 0 })
}

/// Dictionaries can make rows many times longer than their request.
fn check_bytes(batch: &Batch) -> Result<()> {
    let messages = 0..batch.messages();
    let bytes = messages.map(|message| batch.message_bytes(message)).sum::<usize>();
    match bytes > limit::RPC_APPEND_VALUES_BYTES_MAX {
        true => Err(Error::limit("bytes of rows:", bytes, limit::RPC_APPEND_VALUES_BYTES_MAX)),
        false => Ok(()),
    }
}

/// A request to append all rows of a batch that has every column.
///
/// # Errors
/// [`ErrorKind::Limit`] if it is too long for one request.
pub(in crate::rpc) fn append_request(
    id: u64,
    key: &StreamKey,
    batch: &Batch,
) -> Result<proto::AppendRequest> {
    let request = proto::AppendRequest {
        id,
        instrument: key.instrument.to_string(),
        kind: atoms::kind_code(batch.kind()),
        rows: Some(Sent::Columns(columns::encode(batch, 0..batch.messages()))),
    };
    let bytes = prost::Message::encoded_len(&request);
    if bytes > limit::RPC_APPEND_BYTES_MAX {
        return Err(Error::limit("bytes of one request:", bytes, limit::RPC_APPEND_BYTES_MAX));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, RecordBatch, StringArray};
    use arrow::array::{Int8Array, TimestampNanosecondArray};

    use super::*;

    /// Prints with ids from a dictionary of two, a long and a short one.
    fn prints(rows: usize, id_bytes: usize, last_id_bytes: usize) -> Bytes {
        let ids = [id_bytes, last_id_bytes].map(|bytes| "x".repeat(bytes));
        let keys = (0..rows).map(|row| i8::from(row + 1 == rows));
        let keys = Int8Array::from_iter_values(keys);
        let ids = DictionaryArray::new(keys, Arc::new(StringArray::from(ids.to_vec())));
        let column = |text: &str| Arc::new(StringArray::from(vec![text; rows])) as ArrayRef;
        let times = TimestampNanosecondArray::from(vec![1; rows]).with_timezone("UTC");
        let batch = RecordBatch::try_from_iter([
            ("ts_recv", Arc::new(times) as ArrayRef),
            ("side", column("buy")),
            ("price", column("1.5")),
            ("qty", column("2")),
            ("trade_id", Arc::new(ids)),
        ]);
        let batch = batch.unwrap();
        let encoder = ipc::Encoder::new(batch.schema()).unwrap();
        [&encoder.schema_message()[..], &encoder.encode(&batch).unwrap()].concat().into()
    }

    #[test]
    fn a_dictionary_makes_no_more_of_a_request_than_the_limit() {
        let (rows, id_bytes) = (64, 1 << 20);
        // Two times, a side, price, quantity and the length of the id.
        let others = rows * (8 + 8 + 1 + 8 + 8 + 4) + (rows - 1) * id_bytes;
        let rest = limit::RPC_APPEND_VALUES_BYTES_MAX - others;

        let fitting = arrow_rows(Kind::Trades, prints(rows, id_bytes, rest)).unwrap();
        assert_eq!(fitting.rows(), rows);
        let longer = prints(rows, id_bytes, rest + 1);
        assert!(longer.len() < limit::RPC_APPEND_BYTES_MAX);
        let error = arrow_rows(Kind::Trades, longer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(error.text(), "bytes of rows: 67108865 is above the limit 67108864");
    }
}
