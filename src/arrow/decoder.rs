//! The messages of an Arrow IPC stream as record batches.
//!
//! Bytes come from outside. The Arrow library checks values (offsets, keys, UTF-8) but trusts the
//! sizes that a message states; so the sizes are held against the schema and the message here,
//! before it reads them. Should it meet a case that it does not expect all the same, that ends in
//! an error and a decoder that refuses more, not in a stopped program.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc;

use crate::error::{Error, ErrorKind, Result};
use crate::limit;

/// Decodes the messages of an [`Encoder`](super::ipc::Encoder), or of any Arrow IPC stream of flat
/// columns, cut between messages.
#[derive(Debug, Default)]
pub struct Decoder {
    schema: Option<SchemaRef>,
    /// Books are read too: more columns, and lists of numbers.
    books: bool,
    dictionaries: HashMap<i64, ArrayRef>,
    failed: bool,
}

impl Decoder {
    /// A decoder that has not seen a schema.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder of the tables that a [`BookTable`](super::BookTable) makes.
    #[must_use]
    pub fn of_books() -> Self {
        Self { books: true, ..Self::default() }
    }

    /// The schema, once its message was read.
    #[must_use]
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// The record batches in `bytes`: any number of whole messages. Values are wrapped where they
    /// lie, if they are aligned.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes are no Arrow IPC messages; [`ErrorKind::Unsupported`] if
    /// they are compressed or hold nested columns; [`ErrorKind::Poisoned`] after either.
    pub fn decode(&mut self, bytes: bytes::Bytes) -> Result<Vec<RecordBatch>> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(Error::new(ErrorKind::Poisoned, "the stream failed before"));
        }
        let mut rest = Buffer::from(bytes);
        let mut batches = Vec::new();
        while let Some((head, body)) = split_message(&mut rest)? {
            let message = ipc::root_as_message(&head)
                .map_err(|error| corrupt(format_args!("message head: {error}")))?;
            let read = catch_unwind(AssertUnwindSafe(|| self.read(&message, &body)));
            let read = read.unwrap_or_else(|_| Err(corrupt("a message contradicts itself")));
            batches.extend(read?);
        }
        self.failed = false;
        Ok(batches)
    }

    fn read(&mut self, message: &ipc::Message<'_>, body: &Buffer) -> Result<Option<RecordBatch>> {
        let version = message.version();
        if let Some(schema) = message.header_as_schema() {
            if self.schema.is_some() {
                return Err(corrupt("a second schema"));
            }
            let columns = schema.fields().map_or(0, |fields| fields.len());
            let max = if self.books { limit::BOOK_COLUMNS_MAX } else { limit::COLUMNS_MAX };
            if columns > max {
                return Err(Error::limit("columns of a stream:", columns, max));
            }
            let schema = ipc::convert::fb_to_schema(schema);
            for field in schema.fields() {
                let ty = self.list_of(field.data_type()).map_or(field.data_type(), |(ty, _)| ty);
                buffers_of(ty)?;
            }
            self.schema = Some(Arc::new(schema));
            return Ok(None);
        }
        let schema = self.schema.clone().ok_or_else(|| corrupt("rows before the schema"))?;
        if let Some(dictionary) = message.header_as_dictionary_batch() {
            let id = dictionary.id();
            #[expect(deprecated, reason = "ids are dropped from fields in a later version")]
            let field = schema.fields_with_dict_id(id).first().copied();
            let values = field.map(arrow::datatypes::Field::data_type);
            let (Some(DataType::Dictionary(_, values)), Some(data)) = (values, dictionary.data())
            else {
                return Err(corrupt("a dictionary that the schema does not name"));
            };
            check_sizes(&data, &[Node::Values(values, 1)], body.len())?;
            ipc::reader::read_dictionary(
                body,
                dictionary,
                &schema,
                &mut self.dictionaries,
                &version,
            )
            .map_err(contradicts)?;
            return Ok(None);
        }
        let rows = message.header_as_record_batch().ok_or_else(|| {
            corrupt("a message that is neither schema, dictionary nor record batch")
        })?;
        let mut nodes = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            match self.list_of(field.data_type()) {
                None => nodes.push(Node::Values(field.data_type(), 1)),
                Some((item, len)) => nodes.extend([Node::Lists, Node::Values(item, len)]),
            }
        }
        check_sizes(&rows, &nodes, body.len())?;
        let dictionaries = &self.dictionaries;
        ipc::reader::read_record_batch(body, rows, schema.clone(), dictionaries, None, &version)
            .map(Some)
            .map_err(contradicts)
    }
}

impl Decoder {
    /// The items of a list of so many, if lists are read.
    fn list_of<'a>(&self, ty: &'a DataType) -> Option<(&'a DataType, usize)> {
        match ty {
            DataType::FixedSizeList(item, len) if self.books => {
                Some((item.data_type(), usize::try_from(*len).unwrap_or(0)))
            }
            _ => None,
        }
    }
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("Arrow IPC stream: {what}"))
}

fn contradicts(error: ArrowError) -> Error {
    corrupt(error)
}

/// Head and body of the next message; `None` at the end of the bytes or of the stream.
fn split_message(rest: &mut Buffer) -> Result<Option<(Buffer, Buffer)>> {
    if rest.is_empty() {
        return Ok(None);
    }
    let first = take_u32(rest)?;
    let head_bytes = if first == u32::MAX { take_u32(rest)? } else { first };
    if head_bytes == 0 {
        return match rest.is_empty() {
            true => Ok(None),
            false => Err(corrupt("bytes after its end")),
        };
    }
    let head = take(rest, head_bytes.into())?;
    let message = ipc::root_as_message(&head)
        .map_err(|error| corrupt(format_args!("message head: {error}")))?;
    let body = take(rest, message.bodyLength())?;
    Ok(Some((head, body)))
}

fn take(rest: &mut Buffer, len_bytes: i64) -> Result<Buffer> {
    let len_bytes = usize::try_from(len_bytes).ok().filter(|&len_bytes| len_bytes <= rest.len());
    let len_bytes = len_bytes.ok_or_else(|| corrupt("a message is cut short"))?;
    let taken = rest.slice_with_length(0, len_bytes);
    rest.advance(len_bytes);
    Ok(taken)
}

fn take_u32(rest: &mut Buffer) -> Result<u32> {
    let bytes = take(rest, 4)?;
    let bytes = <[u8; 4]>::try_from(bytes.as_slice());
    bytes.map(u32::from_le_bytes).map_err(|_| corrupt("a message is cut short"))
}

/// The buffers that hold a column, after its validity.
enum Buffers {
    /// One value of this many bytes after another.
    Values(usize),
    /// Ends of this many bytes, then the bytes of all values.
    Ends(usize),
    /// Views of 16 bytes, then any number of buffers.
    Views,
}

fn buffers_of(ty: &DataType) -> Result<Buffers> {
    match ty {
        DataType::Utf8 | DataType::Binary => Ok(Buffers::Ends(4)),
        DataType::LargeUtf8 | DataType::LargeBinary => Ok(Buffers::Ends(8)),
        DataType::Utf8View | DataType::BinaryView => Ok(Buffers::Views),
        DataType::Dictionary(keys, values) if !matches!(**values, DataType::Dictionary(..)) => {
            buffers_of(values)?;
            buffers_of(keys)
        }
        other => other.primitive_width().map(Buffers::Values).ok_or_else(|| {
            let what = format!("Arrow columns of type {other} are not supported");
            Error::new(ErrorKind::Unsupported, what)
        }),
    }
}

/// What a message has a node for.
enum Node<'a> {
    /// Lists, with nothing but their validity.
    Lists,
    /// So many values of a type for each row.
    Values(&'a DataType, usize),
}

/// Holds the sizes that a message states against its body and the nodes of its columns.
fn check_sizes(
    rows: &ipc::RecordBatch<'_>,
    expected: &[Node<'_>],
    body_bytes: usize,
) -> Result<()> {
    if rows.compression().is_some() {
        let what = "compressed Arrow messages are not supported";
        return Err(Error::new(ErrorKind::Unsupported, what));
    }
    let wrong = || corrupt("sizes of a message do not agree");
    let mut nodes = rows.nodes().into_iter().flatten();
    let mut views = rows.variadicBufferCounts().into_iter().flatten();
    let mut sizes = rows.buffers().into_iter().flatten().map(|buffer| {
        let start = usize::try_from(buffer.offset()).map_err(|_| wrong())?;
        let len_bytes = usize::try_from(buffer.length()).map_err(|_| wrong())?;
        let inside = start.checked_add(len_bytes).is_some_and(|end| end <= body_bytes);
        if inside { Ok(len_bytes) } else { Err(wrong()) }
    });
    // At least `needed` bytes, and whole values of `width` bytes; writers may pad to 8 bytes.
    let mut next_holds = |needed: Option<usize>, width: usize| {
        let found = sizes.next().ok_or_else(wrong)??;
        let holds = needed.is_some_and(|needed| found >= needed) && found % width == 0;
        if holds { Ok(()) } else { Err(wrong()) }
    };
    let row_count = usize::try_from(rows.length()).map_err(|_| wrong())?;
    for expected in expected {
        let node = nodes.next().ok_or_else(wrong)?;
        let count = usize::try_from(node.length()).map_err(|_| wrong())?;
        let each = if let Node::Values(_, each) = expected { *each } else { 1 };
        let counted = row_count.checked_mul(each) == Some(count);
        if !counted || !(0..=node.length()).contains(&node.null_count()) {
            return Err(wrong());
        }
        next_holds(Some(if node.null_count() > 0 { count.div_ceil(8) } else { 0 }), 1)?;
        let Node::Values(ty, _) = expected else { continue };
        match buffers_of(ty)? {
            Buffers::Values(width) => next_holds(count.checked_mul(width), width.min(8))?,
            Buffers::Ends(width) => {
                let ends = if count == 0 { 0 } else { count + 1 };
                next_holds(ends.checked_mul(width), width)?;
                next_holds(Some(0), 1)?;
            }
            Buffers::Views => {
                next_holds(count.checked_mul(16), 16)?;
                (0..views.next().ok_or_else(wrong)?).try_for_each(|_| next_holds(Some(0), 1))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ipc::{END, Encoder};
    use super::super::to_record_batch;
    use super::*;
    use arrow::array::{BooleanArray, StringViewArray};
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    fn message_of(array: ArrayRef) -> (Decoder, bytes::Bytes, Result<Vec<RecordBatch>>) {
        let field = Field::new("x", array.data_type().clone(), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
        let encoder = Encoder::new(schema).unwrap();
        let mut decoder = Decoder::new();
        let read = decoder.decode(encoder.schema_message().clone());
        (decoder, encoder.encode(&batch).unwrap(), read)
    }

    #[test]
    fn views_are_read_and_other_columns_refused() {
        let long = "longer than the twelve bytes that a view holds";
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some(long)]));
        let (mut decoder, message, _) = message_of(texts.clone());
        assert_eq!(decoder.decode(message).unwrap()[0].column(0), &texts);

        let (mut decoder, message, read) = message_of(Arc::new(BooleanArray::from(vec![true])));
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(decoder.decode(message).unwrap_err().kind(), ErrorKind::Poisoned);
    }

    #[test]
    fn messages_are_read_wherever_they_lie_in_memory() {
        let batch = to_record_batch(&super::super::tests::sample()).unwrap();
        let encoder = Encoder::new(batch.schema()).unwrap();
        let parts = [&encoder.schema_message()[..], &encoder.encode(&batch).unwrap()];
        for shift in 0..16 {
            let bytes = [&vec![0; shift][..], parts[0], parts[1]].concat();
            let bytes = bytes::Bytes::from(bytes).slice(shift..);

            let back = Decoder::new().decode(bytes).unwrap();
            assert_eq!(back, std::slice::from_ref(&batch), "{shift}");
        }
    }

    #[test]
    fn messages_may_come_together_cut_ones_and_strange_orders_are_refused() {
        let batch = to_record_batch(&super::super::tests::sample()).unwrap();
        let encoder = Encoder::new(batch.schema()).unwrap();
        let schema = encoder.schema_message().to_vec();
        let rows = encoder.encode(&batch).unwrap().to_vec();
        let decode = |parts: &[&[u8]]| Decoder::new().decode(parts.concat().into());

        assert_eq!(decode(&[&schema, &rows, &rows, &END]).unwrap(), [batch.clone(), batch]);
        assert!(decode(&[]).unwrap().is_empty());
        let bad: [&[&[u8]]; 6] = [
            &[&rows],
            &[&schema, &schema],
            &[&schema, &rows[..rows.len() - 1]],
            &[&schema, &END, &rows],
            &[&schema[..schema.len() - 1]],
            &[&[0xff; 3]],
        ];
        for parts in bad {
            assert_eq!(decode(parts).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]
        #[test]
        fn any_bytes_are_decoded_or_refused_without_panic(
            junk in prop::collection::vec(any::<u8>(), 0..64),
            batch in super::super::tests::any_batch(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        ) {
            let _ = Decoder::new().decode(junk.into());
            let rows = to_record_batch(&batch).unwrap();
            let encoder = Encoder::new(rows.schema()).unwrap();
            let mut message = encoder.encode(&rows).unwrap().to_vec();
            for (at, flip) in flips {
                let at = at.index(message.len());
                message[at] ^= flip;
            }
            let mut decoder = Decoder::new();
            decoder.decode(encoder.schema_message().clone()).unwrap();
            match decoder.decode(message.into()) {
                Ok(batches) => batches.iter().for_each(|rows| {
                    let _ = super::super::from_record_batch(batch.kind(), rows);
                }),
                // The text of the last resort: sizes must have been refused before that.
                Err(error) => prop_assert!(!error.to_string().contains("contradicts itself")),
            }
        }
    }
}
