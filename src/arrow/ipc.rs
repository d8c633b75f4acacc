//! Record batches as Arrow IPC: messages for the wire, streams and files.
//!
//! # Dictionaries
//! On the wire each batch comes with its dictionaries, so that it can be read after the schema
//! alone: a client may go on from any batch, and no reader needs to remember more than one. Stream
//! readers replace a dictionary that is sent again. Files know one dictionary per column: names of
//! codes are always the same, but text must be plain ([`Options::for_files`](super::Options)).
//! Deltas of dictionaries are never written, as few readers know them.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::writer::{FileWriter, StreamWriter};

pub use super::decoder::Decoder;
use super::schema::failed;
use crate::error::{Error, Result};

/// The end of a stream: what follows the last batch in a stream that is kept as a file.
pub const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Encodes record batches of one schema as messages: [`Encoder::schema_message`], then
/// [`Encoder::encode`] for each batch, joined and closed by [`END`], are an Arrow IPC stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    schema: SchemaRef,
    schema_message: bytes::Bytes,
}

impl Encoder {
    /// An encoder for batches of `schema`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if IPC cannot carry a type of the schema; it can all of ours.
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(encode_failed)?;
        let schema_message = writer.get_ref().clone().into();
        Ok(Self { schema, schema_message })
    }

    /// The first message of a stream.
    #[must_use]
    pub fn schema_message(&self) -> &bytes::Bytes {
        &self.schema_message
    }

    /// One batch: its dictionaries and its rows. Readable after the schema message alone.
    ///
    /// Copies the values once.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if the batch has another schema.
    pub fn encode(&self, batch: &RecordBatch) -> Result<bytes::Bytes> {
        if batch.schema_ref() != &self.schema {
            return Err(Error::invalid("a record batch of another schema cannot join a stream"));
        }
        let len_bytes = self.schema_message.len() + batch.get_array_memory_size() + 4096;
        let target = Vec::with_capacity(len_bytes);
        // A writer of its own, so that it writes every dictionary anew.
        let mut writer = StreamWriter::try_new(target, &self.schema).map_err(encode_failed)?;
        writer.get_mut().clear();
        writer.write(batch).map_err(encode_failed)?;
        Ok(std::mem::take(writer.get_mut()).into())
    }
}

/// Writes record batches as an Arrow IPC file (`.arrow`), which readers may map.
pub struct IpcFile<W: Write> {
    writer: FileWriter<W>,
}

impl<W: Write> IpcFile<W> {
    /// Begins a file of batches of `schema`. `target` should be buffered.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if text of the schema is dictionary-encoded;
    /// [`crate::ErrorKind::Io`] if `target` refuses.
    pub fn begin(target: W, schema: &Schema) -> Result<Self> {
        for field in schema.fields() {
            if let DataType::Dictionary(keys, _) = field.data_type()
                && **keys != DataType::Int8
            {
                return Err(Error::invalid(format!(
                    "column {}: an Arrow file has one dictionary for all its batches; \
                     ask for plain text",
                    field.name()
                )));
            }
        }
        let writer = FileWriter::try_new(target, schema).map_err(write_failed)?;
        Ok(Self { writer })
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if it has another schema; [`crate::ErrorKind::Io`] if the
    /// target refuses.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.schema_ref() != self.writer.schema() {
            return Err(Error::invalid("a record batch of another schema cannot join a file"));
        }
        self.writer.write(batch).map_err(write_failed)
    }

    /// Writes the footer, without which the file cannot be read, and gives the target back.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if the target refuses.
    pub fn finish(mut self) -> Result<W> {
        self.writer.finish().map_err(write_failed)?;
        self.writer.into_inner().map_err(write_failed)
    }
}

/// Writes record batches as an Arrow IPC stream: what can be read while it is written, e.g.
/// through a pipe.
pub struct IpcStream<W: Write> {
    target: W,
    encoder: Encoder,
}

impl<W: Write> IpcStream<W> {
    /// Begins a stream of batches of `schema`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if `target` refuses.
    pub fn begin(mut target: W, schema: SchemaRef) -> Result<Self> {
        let encoder = Encoder::new(schema)?;
        put(&mut target, encoder.schema_message())?;
        Ok(Self { target, encoder })
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// As [`IpcFile::write`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        put(&mut self.target, &self.encoder.encode(batch)?)
    }

    /// Ends the stream and gives the target back.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if the target refuses.
    pub fn finish(mut self) -> Result<W> {
        put(&mut self.target, &END)?;
        self.target.flush().map_err(|error| write_failed(error.into()))?;
        Ok(self.target)
    }
}

fn put(target: &mut impl Write, bytes: &[u8]) -> Result<()> {
    target.write_all(bytes).map_err(|error| write_failed(error.into()))
}

pub(crate) fn encode_failed(error: arrow::error::ArrowError) -> Error {
    failed("encode record batch", error)
}

fn write_failed(error: arrow::error::ArrowError) -> Error {
    failed("write record batch", error)
}
