//! Rows of one stream as a record batch.
//!
//! What has one value per message becomes one value per row, so that every tool sees flat rows;
//! the last row of a message carries `LAST` in `flags`.
//!
//! What is copied: columns with one value per message (expanded), decimals (64 to 128 bits, or to
//! floats) and the ends of texts. Times, integers and codes with one value per row and the bytes of
//! plain text are wrapped where they lie, if they are part of a mapped file or come by
//! [`Converter::convert_owned`].

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float64Array, GenericByteArray,
    GenericByteDictionaryBuilder, Int8Array, PrimitiveArray, RecordBatch, RecordBatchOptions,
    UInt8Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, BinaryType, ByteArrayType, Int32Type, Int64Type,
    SchemaRef, TimestampNanosecondType, Utf8Type,
};
use bytemuck::Pod;

use super::schema::{Layout, Options, Planned, TextAs, failed, known_scales, plan, schema_of};
use super::schema::{UTC, shapes_of};
use crate::error::{Error, Result};
use crate::event::{Batch, Buffer, Column, ColumnSpec, FLAG_LAST, Kind, TextValues, Values};
use crate::quantity::{Decimal, NULL, POW10};

/// Turns the batches of one scan into record batches of one schema.
#[derive(Clone, Debug)]
pub struct Converter {
    kind: Kind,
    schema: SchemaRef,
    plan: Vec<Planned>,
}

impl Converter {
    /// A converter for a scan of `kind`; the arguments are those of
    /// [`arrow_schema`](super::arrow_schema).
    ///
    /// Decimals of every batch come to the scale named here, so `scales` must be the largest of
    /// all batches.
    ///
    /// # Errors
    /// As [`arrow_schema`](super::arrow_schema).
    pub fn new(
        kind: Kind,
        projection: Option<&[usize]>,
        scales: &[u8],
        options: &Options,
    ) -> Result<Self> {
        let plan = plan(kind, projection, &known_scales(kind, scales, options)?, options)?;
        Ok(Self { kind, schema: Arc::new(schema_of(kind, &plan, options)), plan })
    }

    /// A converter for one batch alone: its columns, at their scales, with their digits; a text
    /// column that is not UTF-8 becomes binary.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] if a scale is above [`crate::limit::SCALE_MAX`].
    pub fn for_batch(batch: &Batch, options: &Options) -> Result<Self> {
        let present = batch.columns().iter().enumerate();
        let projection: Vec<usize> =
            present.filter(|(_, column)| column.is_some()).map(|(index, _)| index).collect();
        let plan = plan(batch.kind(), Some(&projection), &shapes_of(batch, options), options)?;
        let schema = Arc::new(schema_of(batch.kind(), &plan, options));
        Ok(Self { kind: batch.kind(), schema, plan })
    }

    /// The schema of every record batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of `batch`.
    ///
    /// Copies owned columns; those of a mapped file are wrapped as the module says.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if the batch is of another kind, lacks a column, has a larger
    /// scale than the converter, or text that is not UTF-8 where UTF-8 was promised;
    /// [`crate::ErrorKind::Corrupt`] if a value contradicts the kind's schema.
    pub fn convert(&self, batch: &Batch) -> Result<RecordBatch> {
        let spread = Spread::of(batch.ends(), batch.rows(), batch.schema().is_grouped());
        self.record_batch(batch.kind(), &spread, |index| batch.column(index).map(Cow::Borrowed))
    }

    /// As [`Converter::convert`]; owned columns move instead of being copied.
    ///
    /// # Errors
    /// As [`Converter::convert`].
    pub fn convert_owned(&self, batch: Batch) -> Result<RecordBatch> {
        let (kind, rows, grouped) = (batch.kind(), batch.rows(), batch.schema().is_grouped());
        let (ends, mut columns) = batch.into_parts();
        self.record_batch(kind, &Spread::of(&ends, rows, grouped), |index| {
            columns.get_mut(index)?.take().map(Cow::Owned)
        })
    }

    fn record_batch<'a>(
        &self,
        kind: Kind,
        spread: &Spread<'_>,
        mut column: impl FnMut(usize) -> Option<Cow<'a, Column>>,
    ) -> Result<RecordBatch> {
        if kind != self.kind {
            return Err(Error::invalid(format!("expected rows of {}, found {kind}", self.kind)));
        }
        let mut arrays = Vec::with_capacity(self.plan.len());
        for planned in &self.plan {
            let name = planned.spec.name;
            let column = column(planned.index)
                .ok_or_else(|| Error::invalid(format!("batch of {kind} has no column {name}")))?;
            arrays.push(array(planned, column, spread)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(spread.rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| failed("make a record batch", error))
    }
}

/// The rows of a batch on its own; see [`Converter::for_batch`] and [`Converter::convert`].
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] if a value contradicts the kind's schema.
pub fn to_record_batch(batch: &Batch) -> Result<RecordBatch> {
    Converter::for_batch(batch, &Options::default())?.convert(batch)
}

/// As [`to_record_batch`]; columns move instead of being copied where they can.
///
/// # Errors
/// As [`to_record_batch`].
pub fn into_record_batch(batch: Batch) -> Result<RecordBatch> {
    Converter::for_batch(&batch, &Options::default())?.convert_owned(batch)
}

/// How messages spread over rows.
struct Spread<'a> {
    /// The row after the last of each message; `None` if each row is a message.
    ends: Option<&'a [u32]>,
    rows: usize,
}

impl<'a> Spread<'a> {
    fn of(ends: &'a [u32], rows: usize, grouped: bool) -> Self {
        Self { ends: grouped.then_some(ends), rows }
    }

    /// The values of a column, one per row.
    fn rows_of<T: Pod + Default>(
        &self,
        spec: &ColumnSpec,
        values: Cow<'_, Buffer<T>>,
    ) -> Buffer<T> {
        match self.ends {
            Some(ends) if spec.per_message => Buffer::Owned(expand(ends, self.rows, &values)),
            _ => values.into_owned(),
        }
    }
}

/// Messages of up to this many rows are written without a branch on their length.
const SHORT_ROWS: usize = 8;

fn expand<T: Copy + Default>(ends: &[u32], rows: usize, values: &[T]) -> Vec<T> {
    // Each value is written a fixed number of times; the next message overwrites what was too much.
    // Lengths of messages have no pattern: a loop over each would end in a wrong guess every time.
    let mut expanded = vec![T::default(); rows + SHORT_ROWS];
    let mut start = 0;
    for (&end, &value) in ends.iter().zip(values) {
        let end = end as usize;
        let here = expanded.get_mut(start..).unwrap_or_default();
        match here.first_chunk_mut::<SHORT_ROWS>() {
            Some(short) if end - start <= SHORT_ROWS => *short = [value; SHORT_ROWS],
            _ => here.iter_mut().take(end - start).for_each(|row| *row = value),
        }
        start = end;
    }
    expanded.truncate(rows);
    expanded
}

fn array(planned: &Planned, column: Cow<'_, Column>, spread: &Spread<'_>) -> Result<ArrayRef> {
    let spec = planned.spec;
    let scale = column.scale;
    match (&planned.layout, parts(column)) {
        (Layout::Time, Parts::I64(values)) => {
            let times = primitive::<TimestampNanosecondType>(spec, values, spread)?;
            Ok(Arc::new(times.with_timezone(UTC)))
        }
        (Layout::Int, Parts::I64(values)) => {
            Ok(Arc::new(primitive::<Int64Type>(spec, values, spread)?))
        }
        (Layout::Decimal128 { scale: target }, Parts::I64(values)) => {
            let mantissas = decimals(planned, values, spread, scale, *target)?;
            Ok(Arc::new(mantissas.with_data_type(planned.data_type())))
        }
        (Layout::Float64 { .. }, Parts::I64(values)) => floats(spec, values, spread, scale),
        (Layout::Code { names }, Parts::U8(values)) => codes(spec, values, spread, names),
        (Layout::Flags, Parts::U8(values)) => Ok(Arc::new(flags(values, spread))),
        (Layout::Text(texts), Parts::Text(values)) if !spec.per_message => {
            text(spec, values, *texts)
        }
        _ => Err(Error::corrupt(format!(
            "column {}: the values are not of the type the schema names",
            spec.name
        ))),
    }
}

/// The values of a column, borrowed or owned as the column was.
enum Parts<'a> {
    I64(Cow<'a, Buffer<i64>>),
    U8(Cow<'a, Buffer<u8>>),
    Text(Cow<'a, TextValues>),
}

fn parts(column: Cow<'_, Column>) -> Parts<'_> {
    match column {
        Cow::Borrowed(column) => match &column.values {
            Values::I64(values) => Parts::I64(Cow::Borrowed(values)),
            Values::U8(values) => Parts::U8(Cow::Borrowed(values)),
            Values::Text(values) => Parts::Text(Cow::Borrowed(values)),
        },
        Cow::Owned(column) => match column.values {
            Values::I64(values) => Parts::I64(Cow::Owned(values)),
            Values::U8(values) => Parts::U8(Cow::Owned(values)),
            Values::Text(values) => Parts::Text(Cow::Owned(values)),
        },
    }
}

/// Keeps the bytes of a mapped file alive for as long as Arrow uses a part of them.
struct Held(crate::event::SharedBytes);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// The memory of `values` as an Arrow buffer, without a copy.
fn wrap<T: Pod + ArrowNativeType>(values: Buffer<T>) -> arrow::buffer::Buffer {
    let len_bytes = values.len() * size_of::<T>();
    match values {
        Buffer::Owned(values) => arrow::buffer::Buffer::from_vec(values),
        Buffer::Shared { owner, offset, .. } => {
            let bytes = bytes::Bytes::from_owner(Held(owner));
            // `values.len()` above is 0 unless the range lies inside, so this cannot fail then.
            let range = if len_bytes == 0 { 0..0 } else { offset..offset + len_bytes };
            arrow::buffer::Buffer::from(bytes.slice(range))
        }
    }
}

fn scalars<T: Pod + ArrowNativeType>(values: Buffer<T>) -> ScalarBuffer<T> {
    let count = values.len();
    if count == 0 {
        // An empty part of a map may lie anywhere; Arrow asks for alignment even then.
        return ScalarBuffer::from(Vec::new());
    }
    ScalarBuffer::new(wrap(values), 0, count)
}

fn primitive<T: ArrowPrimitiveType<Native = i64>>(
    spec: &ColumnSpec,
    values: Cow<'_, Buffer<i64>>,
    spread: &Spread<'_>,
) -> Result<PrimitiveArray<T>> {
    let nullable = has_null(spec, &values)?;
    let values = spread.rows_of(spec, values);
    let nulls = nullable.then(|| validity(&values));
    PrimitiveArray::try_new(scalars(values), nulls)
        .map_err(|error| failed(&format!("convert column {}", spec.name), error))
}

/// Whether a column has rows without a value, which only some columns may have.
fn has_null(spec: &ColumnSpec, values: &[i64]) -> Result<bool> {
    // No early end inside a chunk, so that the comparison runs in vector registers.
    let any = |chunk: &[i64]| chunk.iter().fold(false, |found, &value| found | (value == NULL));
    let found = values.chunks(1024).any(any);
    if found && !spec.nullable {
        let at = values.iter().position(|&value| value == NULL).unwrap_or_default();
        return Err(Error::corrupt(format!(
            "column {}: value {at} is missing, and every row must have one",
            spec.name
        )));
    }
    Ok(found)
}

fn validity(values: &[i64]) -> NullBuffer {
    let valid = |row: usize| values.get(row).is_some_and(|&value| value != NULL);
    NullBuffer::new(BooleanBuffer::collect_bool(values.len(), valid))
}

/// Mantissas at the scale `target`; 128 bits hold every 64-bit mantissa at every scale.
fn decimals(
    planned: &Planned,
    values: Cow<'_, Buffer<i64>>,
    spread: &Spread<'_>,
    scale: u8,
    target: u8,
) -> Result<Decimal128Array> {
    let spec = planned.spec;
    let factor = target.checked_sub(scale).and_then(|digits| POW10.get(usize::from(digits)));
    let Some(&factor) = factor else {
        return Err(Error::invalid(format!(
            "column {}: the batch has {scale} decimals, the schema only {target}",
            spec.name
        )));
    };
    let nullable = has_null(spec, &values)?;
    let values = match spec.per_message {
        true => Cow::Owned(spread.rows_of(spec, values)),
        false => values,
    };
    let nulls = nullable.then(|| validity(&values));
    let factor = i128::from(factor);
    let wide: Vec<i128> = match (nullable, factor) {
        (true, _) => values
            .iter()
            .map(|&value| if value == NULL { 0 } else { i128::from(value) * factor })
            .collect(),
        (false, 1) => values.iter().map(|&value| i128::from(value)).collect(),
        (false, _) => values.iter().map(|&value| i128::from(value) * factor).collect(),
    };
    Decimal128Array::try_new(ScalarBuffer::from(wide), nulls)
        .map_err(|error| failed(&format!("convert column {}", spec.name), error))
}

/// The largest count that every smaller count has an own `f64` for.
const EXACT_F64_MAX: i64 = 1 << 53;

#[expect(clippy::cast_precision_loss, reason = "the caller asked for floats")]
fn floats(
    spec: &ColumnSpec,
    values: Cow<'_, Buffer<i64>>,
    spread: &Spread<'_>,
    scale: u8,
) -> Result<ArrayRef> {
    let nullable = has_null(spec, &values)?;
    let values = match spec.per_message {
        true => Cow::Owned(spread.rows_of(spec, values)),
        false => values,
    };
    let nulls = nullable.then(|| validity(&values));
    let exact = |&value: &i64| (-EXACT_F64_MAX..=EXACT_F64_MAX).contains(&value);
    let all_exact = values.iter().fold(true, |all, value| all & (*value == NULL || exact(value)));
    let near: Vec<f64> = match (all_exact, POW10.get(usize::from(scale))) {
        // One correctly rounded division of two exact numbers gives the nearest value.
        (true, Some(&unit)) => {
            let unit = unit as f64;
            values
                .iter()
                .map(|&value| if value == NULL { 0.0 } else { value as f64 / unit })
                .collect()
        }
        _ => values
            .iter()
            .map(|&value| Decimal::new(value, scale).map_or(0.0, Decimal::to_f64))
            .collect(),
    };
    Float64Array::try_new(ScalarBuffer::from(near), nulls)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| failed(&format!("convert column {}", spec.name), error))
}

fn codes(
    spec: &ColumnSpec,
    values: Cow<'_, Buffer<u8>>,
    spread: &Spread<'_>,
    names: &ArrayRef,
) -> Result<ArrayRef> {
    let largest = values.iter().copied().max().unwrap_or(0);
    if usize::from(largest) >= names.len().min(128) {
        return Err(Error::corrupt(format!("column {}: code {largest} has no name", spec.name)));
    }
    let values = spread.rows_of(spec, values);
    let count = values.len();
    // Codes are below 128: as signed keys, which more readers know, they are the same bytes.
    let keys = Int8Array::new(ScalarBuffer::new(wrap(values), 0, count), None);
    DictionaryArray::try_new(keys, names.clone())
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| failed(&format!("convert column {}", spec.name), error))
}

fn flags(values: Cow<'_, Buffer<u8>>, spread: &Spread<'_>) -> UInt8Array {
    let mut flags = match spread.ends {
        Some(ends) => expand(ends, spread.rows, &values),
        None => values.into_owned().to_mut().iter().map(|flags| flags | FLAG_LAST).collect(),
    };
    for &end in spread.ends.unwrap_or_default() {
        if let Some(last) = (end as usize).checked_sub(1).and_then(|row| flags.get_mut(row)) {
            *last |= FLAG_LAST;
        }
    }
    UInt8Array::new(ScalarBuffer::from(flags), None)
}

fn text(spec: &ColumnSpec, values: Cow<'_, TextValues>, texts: TextAs) -> Result<ArrayRef> {
    check_ends(spec, &values)?;
    match texts {
        TextAs::Plain => {
            check_utf8(spec, &values)?;
            plain_text::<Utf8Type>(spec, values)
        }
        TextAs::Binary => plain_text::<BinaryType>(spec, values),
        TextAs::Dictionary => {
            let whole = check_utf8(spec, &values)?;
            dictionary::<Utf8Type>(spec, values.ends.len(), bounds(&values), |at| whole.get(at))
        }
        TextAs::BinaryDictionary => {
            let bytes: &[u8] = &values.bytes;
            dictionary::<BinaryType>(spec, values.ends.len(), bounds(&values), |at| bytes.get(at))
        }
    }
}

/// Where each text lies.
fn bounds(values: &TextValues) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let starts = std::iter::once(0).chain(values.ends.iter().copied());
    starts.zip(values.ends.iter()).map(|(start, &end)| start as usize..end as usize)
}

fn check_ends(spec: &ColumnSpec, values: &TextValues) -> Result<()> {
    let end = values.ends.last().map_or(0, |&end| end as usize);
    if !values.ends.is_sorted() || end > values.bytes.len() {
        return Err(Error::corrupt(format!("column {}: texts overlap or end outside", spec.name)));
    }
    if i32::try_from(end).is_err() {
        let what = format!("bytes of column {} in one batch:", spec.name);
        return Err(Error::limit(&what, end, i32::MAX));
    }
    Ok(())
}

/// All texts, if each is UTF-8.
fn check_utf8<'a>(spec: &ColumnSpec, values: &'a TextValues) -> Result<&'a str> {
    let end = values.ends.last().map_or(0, |&end| end as usize);
    let whole = values.bytes.get(..end).and_then(|bytes| std::str::from_utf8(bytes).ok());
    match whole {
        Some(whole) if values.ends.iter().all(|&end| whole.is_char_boundary(end as usize)) => {
            Ok(whole)
        }
        _ => {
            let wrong = |row: &usize| std::str::from_utf8(values.get(*row)).is_err();
            let row = (0..values.ends.len()).find(wrong).unwrap_or_default();
            Err(Error::invalid(format!(
                "column {}: the text of row {row} is not UTF-8; ask for binary text",
                spec.name
            )))
        }
    }
}

fn plain_text<T: ByteArrayType<Offset = i32>>(
    spec: &ColumnSpec,
    values: Cow<'_, TextValues>,
) -> Result<ArrayRef> {
    let ends = values.ends.iter().map(|end| end.cast_signed());
    let offsets: Vec<i32> = std::iter::once(0).chain(ends).collect();
    let bytes = match values {
        Cow::Borrowed(values) => values.bytes.clone(),
        Cow::Owned(values) => values.bytes,
    };
    GenericByteArray::<T>::try_new(OffsetBuffer::new(offsets.into()), wrap(bytes), None)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| failed(&format!("convert column {}", spec.name), error))
}

fn dictionary<'a, T: ByteArrayType>(
    spec: &ColumnSpec,
    rows: usize,
    bounds: impl Iterator<Item = std::ops::Range<usize>>,
    text_at: impl Fn(std::ops::Range<usize>) -> Option<&'a T::Native>,
) -> Result<ArrayRef> {
    let mut builder = GenericByteDictionaryBuilder::<Int32Type, T>::with_capacity(rows, 0, 0);
    for at in bounds {
        let text = text_at(at).ok_or_else(|| {
            Error::corrupt(format!("column {}: a text ends inside a character", spec.name))
        })?;
        builder
            .append(text)
            .map_err(|error| failed(&format!("convert column {}", spec.name), error))?;
    }
    Ok(Arc::new(builder.finish()))
}
