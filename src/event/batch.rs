//! Rows of one stream in memory, as columns.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;

use super::schema::{ColumnType, FLAG_LAST, Kind, Schema};
use crate::error::{Error, Result};
use crate::limit;
use crate::quantity::{Decimal, NULL, POW10, TsNs};

/// Bytes that stay where they are as long as somebody holds them: a mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The values of a column: owned, or a part of a mapped file that is kept alive.
#[derive(Clone)]
pub enum Buffer<T> {
    /// Values of its own.
    Owned(Vec<T>),
    /// `count` values at byte `offset` of shared bytes, aligned for `T`.
    Shared {
        /// Keeps the bytes alive.
        owner: SharedBytes,
        /// Where the values start, in bytes.
        offset: usize,
        /// How many values.
        count: usize,
    },
}

impl<T: Pod> Buffer<T> {
    /// Wraps `count` values at byte `offset` of `owner` without copying; `None` if they do not lie
    /// inside or are not aligned.
    #[must_use]
    pub fn shared(owner: SharedBytes, offset: usize, count: usize) -> Option<Self> {
        let buffer = Self::Shared { owner, offset, count };
        buffer.try_slice().is_some().then_some(buffer)
    }

    fn try_slice(&self) -> Option<&[T]> {
        match self {
            Self::Owned(values) => Some(values),
            Self::Shared { owner, offset, count } => {
                let end = count.checked_mul(size_of::<T>())?.checked_add(*offset)?;
                let bytes = (**owner).as_ref().get(*offset..end)?;
                bytemuck::try_cast_slice(bytes).ok()
            }
        }
    }

    /// The values as a vector that can be changed; shared values are copied first.
    pub fn to_mut(&mut self) -> &mut Vec<T> {
        if let Self::Shared { .. } = self {
            *self = Self::Owned(self.to_vec());
        }
        match self {
            Self::Owned(values) => values,
            Self::Shared { .. } => unreachable!("made owned above"),
        }
    }

    /// An empty vector to decode into, reusing this buffer's memory where it owns some.
    pub fn reuse(&mut self) -> &mut Vec<T> {
        if let Self::Shared { .. } = self {
            *self = Self::Owned(Vec::new());
        }
        let values = self.to_mut();
        values.clear();
        values
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            // `shared` has checked bounds and alignment; shared bytes never move or shrink.
            Self::Shared { .. } => self.try_slice().unwrap_or_default(),
        }
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values)
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Pod + PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// Byte strings one after another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextValues {
    /// Where each value ends in `bytes`; it starts where the one before ends.
    pub ends: Buffer<u32>,
    /// All values.
    pub bytes: Buffer<u8>,
}

impl TextValues {
    /// Value `index`; empty if there is none.
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        self.bytes.get(start.unwrap_or(0) as usize..end as usize).unwrap_or_default()
    }

    /// Adds a value at the end.
    ///
    /// # Panics
    /// If all values together pass 4 GiB; builders and decoders check their limits before.
    pub fn push(&mut self, value: &[u8]) {
        let bytes = self.bytes.to_mut();
        bytes.extend_from_slice(value);
        let end = u32::try_from(bytes.len()).expect("text of a batch below 4 GiB");
        self.ends.to_mut().push(end);
    }
}

/// The values of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Times, integers and mantissas.
    I64(Buffer<i64>),
    /// Codes and flags.
    U8(Buffer<u8>),
    /// Text.
    Text(TextValues),
}

impl Values {
    /// No values, in the form that `ty` has.
    #[must_use]
    pub fn empty(ty: ColumnType) -> Self {
        match ty {
            ColumnType::Time | ColumnType::Int | ColumnType::Decimal => {
                Self::I64(Buffer::default())
            }
            ColumnType::Code(_) | ColumnType::Flags => Self::U8(Buffer::default()),
            ColumnType::Text => Self::Text(TextValues::default()),
        }
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::I64(values) => values.len(),
            Self::U8(values) => values.len(),
            Self::Text(values) => values.ends.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// One value per row, or per message if the schema says so.
    pub values: Values,
    /// Decimal columns: values are in units of 10^-scale. Else 0.
    pub scale: u8,
    /// Decimal columns: the most decimals any value was written with. Never changes a value; lets
    /// output and venue checksums repeat a venue's fixed-width text.
    pub digits: u8,
}

impl Column {
    /// An empty column for values of `ty`.
    #[must_use]
    pub fn empty(ty: ColumnType) -> Self {
        Self { values: Values::empty(ty), scale: 0, digits: 0 }
    }
}

/// One value of one row, typed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A moment.
    Time(TsNs),
    /// An integer.
    Int(i64),
    /// An exact decimal.
    Decimal(Decimal),
    /// A code's name; the empty text for a code that has none.
    Code(&'static str),
    /// Bits of [`FLAG_LAST`] and [`super::FLAG_SNAPSHOT`].
    Flags(u8),
    /// Bytes, usually UTF-8.
    Text(&'a [u8]),
}

/// Rows of one stream, as columns; of all columns or of some.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    schema: &'static Schema,
    /// Grouped kinds: the row after the last of each message. Else empty.
    ends: Buffer<u32>,
    columns: Vec<Option<Column>>,
    rows: usize,
}

impl Batch {
    /// An empty batch with every column.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let schema = kind.schema();
        let columns = schema.columns.iter().map(|spec| Some(Column::empty(spec.ty))).collect();
        Self { schema, ends: Buffer::default(), columns, rows: 0 }
    }

    /// Puts columns together.
    ///
    /// `columns` has one entry per column of the schema, `None` where it was not asked for. `ends`
    /// is empty for kinds without messages.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] if lengths do not agree.
    pub fn from_parts(
        kind: Kind,
        rows: usize,
        ends: Buffer<u32>,
        columns: Vec<Option<Column>>,
    ) -> Result<Self> {
        let schema = kind.schema();
        let batch = Self { schema, ends, columns, rows };
        batch.check()?;
        Ok(batch)
    }

    fn check(&self) -> Result<()> {
        if self.columns.len() != self.schema.columns.len() {
            return Err(Error::corrupt(format!(
                "batch of {}: expected {} columns, found {}",
                self.kind(),
                self.schema.columns.len(),
                self.columns.len()
            )));
        }
        if self.schema.is_grouped() {
            let rising = self.ends.windows(2).all(|pair| pair[0] < pair[1]);
            let first = self.ends.first().is_none_or(|&end| end > 0);
            if !rising || !first || self.ends.last().map_or(0, |&end| end as usize) != self.rows {
                return Err(Error::corrupt("message ends of a batch do not cover its rows"));
            }
        }
        for (spec, column) in self.schema.columns.iter().zip(&self.columns) {
            let Some(column) = column else { continue };
            let expected = if spec.per_message { self.messages() } else { self.rows };
            if column.values.len() != expected {
                return Err(Error::corrupt(format!(
                    "column {}: expected {expected} values, found {}",
                    spec.name,
                    column.values.len()
                )));
            }
        }
        Ok(())
    }

    /// The kind of the rows.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.schema.kind
    }

    /// The schema of the rows.
    #[must_use]
    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many messages; kinds without messages have one row in each.
    #[must_use]
    pub fn messages(&self) -> usize {
        if self.schema.is_grouped() { self.ends.len() } else { self.rows }
    }

    /// The rows of message `message`; empty if there is no such message.
    #[must_use]
    #[inline]
    pub fn message_rows(&self, message: usize) -> Range<usize> {
        if !self.schema.is_grouped() {
            return if message < self.rows { message..message + 1 } else { 0..0 };
        }
        let Some(&end) = self.ends.get(message) else { return 0..0 };
        let start = if message == 0 { 0 } else { self.ends[message - 1] };
        start as usize..end as usize
    }

    /// The message that holds `row`.
    #[must_use]
    pub fn message_of(&self, row: usize) -> usize {
        if !self.schema.is_grouped() {
            return row;
        }
        self.ends.partition_point(|&end| end as usize <= row)
    }

    /// Grouped kinds: the row after the last of each message.
    #[must_use]
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The column at `index`, if it is there.
    #[must_use]
    pub fn column(&self, index: usize) -> Option<&Column> {
        self.columns.get(index)?.as_ref()
    }

    /// All columns, `None` where one was not asked for.
    #[must_use]
    pub fn columns(&self) -> &[Option<Column>] {
        &self.columns
    }

    /// The `i64` values of a column; empty if it is not there or of another form.
    #[must_use]
    #[inline]
    pub fn i64s(&self, index: usize) -> &[i64] {
        match self.column(index) {
            Some(Column { values: Values::I64(values), .. }) => values,
            _ => &[],
        }
    }

    /// The `u8` values of a column; empty if it is not there or of another form.
    #[must_use]
    #[inline]
    pub fn u8s(&self, index: usize) -> &[u8] {
        match self.column(index) {
            Some(Column { values: Values::U8(values), .. }) => values,
            _ => &[],
        }
    }

    /// Decimal scale of a column; 0 if it is not there.
    #[must_use]
    pub fn scale(&self, index: usize) -> u8 {
        self.column(index).map_or(0, |column| column.scale)
    }

    /// Receive time of each message.
    #[must_use]
    pub fn ts_recv(&self) -> &[i64] {
        self.i64s(0)
    }

    /// The value of a column in a row, `message` being the row's message.
    #[must_use]
    pub fn value(&self, message: usize, row: usize, index: usize) -> Value<'_> {
        let (Some(spec), Some(column)) = (self.schema.columns.get(index), self.column(index))
        else {
            return Value::Null;
        };
        let at = if spec.per_message { message } else { row };
        match (&column.values, spec.ty) {
            (Values::I64(values), ty) => match (values.get(at).copied(), ty) {
                (None | Some(NULL), _) => Value::Null,
                (Some(ns), ColumnType::Time) => Value::Time(TsNs(ns)),
                (Some(mantissa), ColumnType::Decimal) => {
                    Decimal::new(mantissa, column.scale).map_or(Value::Null, Value::Decimal)
                }
                (Some(value), _) => Value::Int(value),
            },
            (Values::U8(values), ColumnType::Code(names)) => {
                let code = values.get(at).map_or(usize::MAX, |&code| usize::from(code));
                Value::Code(names.get(code).copied().unwrap_or_default())
            }
            (Values::U8(values), _) => {
                let last = row + 1 == self.message_rows(message).end;
                let flags = values.get(at).copied().unwrap_or(0);
                Value::Flags(if last { flags | FLAG_LAST } else { flags })
            }
            (Values::Text(values), _) => Value::Text(values.get(at)),
        }
    }

    /// A copy of some messages, whole.
    #[must_use]
    pub fn slice_messages(&self, messages: Range<usize>) -> Self {
        let count = self.messages();
        let messages = messages.start.min(count)..messages.end.min(count);
        let rows = if messages.is_empty() {
            0..0
        } else {
            self.message_rows(messages.start).start..self.message_rows(messages.end - 1).end
        };
        let ends = if self.schema.is_grouped() {
            let base = u32::try_from(rows.start).unwrap_or(u32::MAX);
            self.ends[messages.clone()].iter().map(|end| end - base).collect()
        } else {
            Vec::new()
        };
        let columns = self.schema.columns.iter().zip(&self.columns).map(|(spec, column)| {
            let at = if spec.per_message { messages.clone() } else { rows.clone() };
            column.as_ref().map(|column| Column { values: slice(&column.values, at), ..*column })
        });
        Self {
            schema: self.schema,
            ends: ends.into(),
            columns: columns.collect(),
            rows: rows.len(),
        }
    }

    /// Adds the rows of `other` at the end, at the larger scale of each decimal column.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] if a value does not fit an `i64` at that scale; nothing is added
    /// then. [`crate::ErrorKind::Invalid`] if the batches have other kinds or columns.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        let alike = |(a, b): (&Option<Column>, &Option<Column>)| a.is_some() == b.is_some();
        if self.kind() != other.kind() || !self.columns.iter().zip(&other.columns).all(alike) {
            return Err(Error::invalid("batches of other kinds or columns cannot be joined"));
        }
        for (index, (mine, theirs)) in self.columns.iter().zip(&other.columns).enumerate() {
            let (Some(mine), Some(theirs)) = (mine, theirs) else { continue };
            if !mine.fits_scale(theirs.scale) || !theirs.fits_scale(mine.scale) {
                return Err(Error::new(
                    crate::ErrorKind::Limit,
                    format!(
                        "column {}: values of scales {} and {} do not fit one 64-bit column",
                        self.schema.columns[index].name, mine.scale, theirs.scale
                    ),
                ));
            }
        }
        let base = u32::try_from(self.rows).unwrap_or(u32::MAX);
        if self.schema.is_grouped() {
            self.ends.to_mut().extend(other.ends.iter().map(|end| base + end));
        }
        self.rows += other.rows;
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            let (Some(mine), Some(theirs)) = (mine, theirs) else { continue };
            mine.raise_scale(theirs.scale)?;
            let factor = POW10[usize::from(mine.scale - theirs.scale)];
            mine.digits = mine.digits.max(theirs.digits);
            match (&mut mine.values, &theirs.values) {
                (Values::I64(mine), Values::I64(theirs)) if factor == 1 => {
                    mine.to_mut().extend_from_slice(theirs);
                }
                (Values::I64(mine), Values::I64(theirs)) => {
                    mine.to_mut().extend(theirs.iter().map(|&value| scaled(value, factor)));
                }
                (Values::U8(mine), Values::U8(theirs)) => mine.to_mut().extend_from_slice(theirs),
                (Values::Text(mine), Values::Text(theirs)) => {
                    (0..theirs.ends.len()).for_each(|index| mine.push(theirs.get(index)));
                }
                _ => return Err(Error::invalid("columns of other types cannot be joined")),
            }
        }
        Ok(())
    }

    /// Makes a decimal column's values units of 10^-`scale`, if `scale` is larger than it is now.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] if a value does not fit; nothing has changed then.
    pub fn raise_scale(&mut self, index: usize, scale: u8) -> Result<()> {
        match self.columns.get_mut(index) {
            Some(Some(column)) => column.raise_scale(scale),
            _ => Ok(()),
        }
    }

    /// The parts of the batch, to reuse its memory: message ends and columns.
    #[must_use]
    pub fn into_parts(self) -> (Buffer<u32>, Vec<Option<Column>>) {
        (self.ends, self.columns)
    }
}

fn scaled(value: i64, factor: i64) -> i64 {
    if value == NULL { NULL } else { value * factor }
}

fn slice(values: &Values, at: Range<usize>) -> Values {
    match values {
        Values::I64(values) => Values::I64(values[at].to_vec().into()),
        Values::U8(values) => Values::U8(values[at].to_vec().into()),
        Values::Text(values) => {
            let mut copy = TextValues::default();
            at.for_each(|index| copy.push(values.get(index)));
            Values::Text(copy)
        }
    }
}

impl Column {
    /// Whether every value fits an `i64` in units of 10^-`scale`; true for smaller scales.
    #[must_use]
    pub fn fits_scale(&self, scale: u8) -> bool {
        if scale > limit::SCALE_MAX {
            return false;
        }
        if scale <= self.scale {
            return true;
        }
        let factor = POW10[usize::from(scale - self.scale)];
        let Values::I64(values) = &self.values else { return true };
        let bound = i64::MAX / factor;
        values.iter().all(|&value| value == NULL || (-bound..=bound).contains(&value))
    }

    fn raise_scale(&mut self, scale: u8) -> Result<()> {
        if scale <= self.scale {
            return Ok(());
        }
        if !self.fits_scale(scale) {
            return Err(Error::new(
                crate::ErrorKind::Limit,
                format!("a value of scale {} does not fit 64 bits at scale {scale}", self.scale),
            ));
        }
        let factor = POW10[usize::from(scale - self.scale)];
        if let Values::I64(values) = &mut self.values {
            values.to_mut().iter_mut().for_each(|value| *value = scaled(*value, factor));
        }
        self.scale = scale;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, MessageHead, Side};
    use super::*;

    fn book(messages: &[(i64, &[(&str, &str)])]) -> Batch {
        let mut builder = BatchBuilder::new(Kind::Book);
        for (ts, levels) in messages {
            builder.begin(MessageHead { ts_recv: TsNs(*ts), ..MessageHead::default() });
            for (price, qty) in *levels {
                builder.level_text(Side::Bid, price, qty).unwrap();
            }
            builder.end();
        }
        builder.finish().unwrap().pop().unwrap()
    }

    #[test]
    fn messages_and_rows_find_each_other() {
        let batch = book(&[(1, &[("1", "2"), ("1.5", "2")]), (2, &[("3", "0")])]);

        assert_eq!((batch.rows(), batch.messages()), (3, 2));
        assert_eq!(batch.message_rows(0), 0..2);
        assert_eq!(batch.message_rows(1), 2..3);
        assert_eq!((0..3).map(|row| batch.message_of(row)).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!(batch.value(0, 0, super::super::book::FLAGS), Value::Flags(0));
        assert_eq!(batch.value(0, 1, super::super::book::FLAGS), Value::Flags(FLAG_LAST));
        let price = batch.value(0, 1, super::super::book::PRICE);
        assert_eq!(price, Value::Decimal(Decimal::parse("1.5").unwrap()));
    }

    #[test]
    fn slices_and_appends_give_the_batch_back() {
        let whole =
            book(&[(1, &[("1", "2")]), (2, &[("3", "0"), ("4.25", "1")]), (3, &[("5", "1")])]);

        let mut joined = whole.slice_messages(0..1);
        joined.append(&whole.slice_messages(1..3)).unwrap();

        assert_eq!(joined, whole);
        assert_eq!(whole.slice_messages(2..9).rows(), 1);
        assert_eq!(whole.slice_messages(7..9).rows(), 0);
    }

    #[test]
    fn appending_raises_the_scale_or_refuses_without_change() {
        let mut coarse = book(&[(1, &[("9223372036854775807", "1")])]);
        let fine = book(&[(2, &[("0.5", "1")])]);
        let before = coarse.clone();

        assert_eq!(coarse.append(&fine).unwrap_err().kind(), crate::ErrorKind::Limit);
        assert_eq!(coarse, before);

        let mut small = book(&[(1, &[("7", "1")])]);
        small.append(&fine).unwrap();
        assert_eq!(small.scale(super::super::book::PRICE), 1);
        assert_eq!(small.i64s(super::super::book::PRICE), [70, 5]);
    }

    #[test]
    fn parts_that_do_not_agree_are_refused() {
        let (ends, columns) = book(&[(1, &[("1", "2")])]).into_parts();

        assert!(Batch::from_parts(Kind::Book, 2, ends.clone(), columns.clone()).is_err());
        assert!(Batch::from_parts(Kind::Trades, 1, ends.clone(), columns.clone()).is_err());
        assert!(Batch::from_parts(Kind::Book, 1, ends, columns).is_ok());
    }

    #[test]
    fn shared_values_are_read_in_place_and_copied_on_change() {
        let owner: SharedBytes = Arc::new(bytemuck::cast_slice::<i64, u8>(&[1, 2, 3]).to_vec());
        let aligned = (*owner).as_ref().as_ptr().align_offset(8);
        if aligned == 0 {
            let mut buffer = Buffer::<i64>::shared(owner.clone(), 8, 2).unwrap();
            assert_eq!(*buffer, [2, 3]);
            buffer.to_mut().push(4);
            assert_eq!(*buffer, [2, 3, 4]);
        }
        assert!(Buffer::<i64>::shared(owner.clone(), 8, 3).is_none());
        assert!(Buffer::<i64>::shared(owner, 4, 1).is_none());
    }
}
