//! One stream of a player, and the form in which its rows are sent.

use std::ops::Range;

use bytes::Bytes;

use crate::arrow::{BookTable, Converter, Options, TextAs, ipc};
use crate::error::{Error, Result};
use crate::event::{Batch, StreamKey, book};
use crate::rpc::columns;
use crate::rpc::model::{Output, ReplayQuery, RowForm};
use crate::rpc::parts::Width;
use crate::rpc::proto;
use crate::store::Snapshot;

/// One stream of a player.
pub(super) struct Lane {
    pub(super) key: StreamKey,
    pub(super) form: Form,
    pub(super) width: Width,
    pub(super) rows: u64,
    /// Messages of the stream's batch that the frame being made has taken.
    pub(super) taken: Range<usize>,
}

/// How the rows of a stream are sent.
pub(super) enum Form {
    Arrow { converter: Box<Converter>, encoder: ipc::Encoder },
    Columns,
    Books { table: Box<BookTable>, encoder: ipc::Encoder },
}

impl Form {
    pub(super) fn new(snapshot: &Snapshot, key: &StreamKey, query: &ReplayQuery) -> Result<Self> {
        let stream_id = snapshot.stream_id(&key.instrument, key.kind)?;
        let scales = snapshot.scales(stream_id);
        if let Output::Books { columns, .. } = &query.output {
            let scales = (scales[book::PRICE], scales[book::QTY]);
            let table = BookTable::new(&key.instrument, columns.clone(), scales, query.decimals);
            let encoder = ipc::Encoder::new(table.schema().clone())?;
            return Ok(Self::Books { table: Box::new(table), encoder });
        }
        if query.form == RowForm::Columns {
            return Ok(Self::Columns);
        }
        let scales = scales.get(..key.kind.schema().columns.len()).unwrap_or(&scales);
        let instrument = Some(key.instrument.clone());
        let options = Options { decimals: query.decimals, texts: TextAs::Plain, instrument };
        let converter = Converter::new(key.kind, None, scales, &options)?;
        let encoder = ipc::Encoder::new(converter.schema().clone())?;
        Ok(Self::Arrow { converter: Box::new(converter), encoder })
    }

    pub(super) fn schema_message(&self) -> Bytes {
        match self {
            Self::Arrow { encoder, .. } | Self::Books { encoder, .. } => {
                encoder.schema_message().clone()
            }
            Self::Columns => Bytes::new(),
        }
    }

    fn encode(&self, batch: &Batch, messages: Range<usize>) -> Result<Bytes> {
        match self {
            Self::Columns | Self::Books { .. } => Ok(columns::encode(batch, messages)),
            Self::Arrow { converter, encoder } if messages.len() == batch.messages() => {
                encoder.encode(&converter.convert(batch)?)
            }
            Self::Arrow { converter, encoder } => {
                encoder.encode(&converter.convert_owned(batch.slice_messages(messages))?)
            }
        }
    }
}

impl Lane {
    /// Bytes of a book of the stream, about.
    pub(super) fn row_bytes(&self) -> usize {
        match &self.form {
            Form::Books { table, .. } => table.row_bytes(),
            _ => 0,
        }
    }

    /// The books noted, as a chunk; none are left.
    pub(super) fn book_chunk(&mut self, stream: usize) -> Result<Option<proto::ReplayChunk>> {
        let Form::Books { table, encoder } = &mut self.form else { return Ok(None) };
        let rows = table.rows();
        if rows == 0 {
            return Ok(None);
        }
        Ok(Some(proto::ReplayChunk {
            stream: stream_number(stream),
            messages: u32::try_from(rows).unwrap_or(u32::MAX),
            rows: rows as u64,
            data: encoder.encode(&table.take()?)?,
        }))
    }

    pub(super) fn take(&mut self, messages: Range<usize>) {
        if self.taken.is_empty() {
            self.taken.start = messages.start;
        }
        self.taken.end = messages.end;
    }

    /// The taken messages of `batch` as a chunk; nothing is taken after it.
    pub(super) fn chunk(&mut self, stream: usize, batch: &Batch) -> Result<proto::ReplayChunk> {
        let taken = std::mem::take(&mut self.taken);
        let messages = u32::try_from(taken.len());
        let messages = messages.map_err(|_| Error::limit("messages:", taken.len(), u32::MAX))?;
        let first = batch.message_rows(taken.start).start;
        let rows = batch.message_rows(taken.end.saturating_sub(1)).end.saturating_sub(first);
        Ok(proto::ReplayChunk {
            stream: stream_number(stream),
            messages,
            rows: rows as u64,
            data: self.form.encode(batch, taken)?,
        })
    }
}

pub(super) fn stream_number(stream: usize) -> u32 {
    // A replay has at most `REQUEST_STREAMS_MAX` streams.
    u32::try_from(stream).unwrap_or(u32::MAX)
}
