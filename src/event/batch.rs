//! Rows of one stream in memory, as columns.

use std::ops::Range;

use super::buffer::Buffer;
use super::schema::{ColumnType, FLAG_LAST, Kind, Schema};
use crate::error::{Error, Result};
use crate::limit;
use crate::quantity::{Decimal, NULL, POW10, TsNs};

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

    /// A copy of some of them.
    pub(super) fn slice(&self, at: Range<usize>) -> Self {
        match self {
            Self::I64(values) => Self::I64(values[at].to_vec().into()),
            Self::U8(values) => Self::U8(values[at].to_vec().into()),
            Self::Text(values) => {
                let mut copy = TextValues::default();
                at.for_each(|index| copy.push(values.get(index)));
                Self::Text(copy)
            }
        }
    }

    /// Forgets them and keeps their memory.
    fn clear(&mut self) {
        match self {
            Self::I64(values) => {
                values.reuse();
            }
            Self::U8(values) => {
                values.reuse();
            }
            Self::Text(values) => {
                values.ends.reuse();
                values.bytes.reuse();
            }
        }
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
    #[inline]
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
    #[inline]
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

    /// Messages as far as they are there, and their rows.
    fn whole_messages(&self, messages: Range<usize>) -> (Range<usize>, Range<usize>) {
        let count = self.messages();
        let messages = messages.start.min(count)..messages.end.min(count);
        let rows = match messages.is_empty() {
            true => 0..0,
            false => {
                self.message_rows(messages.start).start..self.message_rows(messages.end - 1).end
            }
        };
        (messages, rows)
    }

    /// A copy of some messages, whole.
    #[must_use]
    pub fn slice_messages(&self, messages: Range<usize>) -> Self {
        let (messages, rows) = self.whole_messages(messages);
        let ends = if self.schema.is_grouped() {
            let base = u32::try_from(rows.start).unwrap_or(u32::MAX);
            self.ends[messages.clone()].iter().map(|end| end - base).collect()
        } else {
            Vec::new()
        };
        let columns = self.schema.columns.iter().zip(&self.columns).map(|(spec, column)| {
            let at = if spec.per_message { messages.clone() } else { rows.clone() };
            column.as_ref().map(|column| Column { values: column.values.slice(at), ..*column })
        });
        Self {
            schema: self.schema,
            ends: ends.into(),
            columns: columns.collect(),
            rows: rows.len(),
        }
    }

    /// Bytes that the values of a message take.
    #[must_use]
    pub fn message_bytes(&self, message: usize) -> usize {
        let rows = self.message_rows(message);
        let columns = self.schema.columns.iter().zip(&self.columns);
        let bytes = columns.filter_map(|(spec, column)| {
            let count = if spec.per_message { 1 } else { rows.len() };
            Some(match &column.as_ref()?.values {
                Values::I64(_) => count * 8,
                Values::U8(_) => count,
                Values::Text(texts) => rows.clone().map(|row| 4 + texts.get(row).len()).sum(),
            })
        });
        bytes.sum()
    }

    /// Gives rows that were received before `ts` that time instead.
    pub fn clamp_ts_recv(&mut self, ts: i64) {
        if let Some(Some(Column { values: Values::I64(times), .. })) = self.columns.first_mut() {
            times.to_mut().iter_mut().for_each(|time| *time = (*time).max(ts));
        }
    }

    /// Drops the columns that `keep` does not want, by number.
    pub fn keep_columns(&mut self, keep: impl Fn(usize) -> bool) {
        for (_, column) in self.columns.iter_mut().enumerate().filter(|(at, _)| !keep(*at)) {
            *column = None;
        }
    }

    /// Forgets the rows and keeps their memory.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.ends.reuse();
        for column in self.columns.iter_mut().flatten() {
            column.values.clear();
            (column.scale, column.digits) = (0, 0);
        }
    }

    /// Adds the rows of `other` at the end, at the larger scale of each decimal column.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] if a value does not fit an `i64` at that scale; nothing is added
    /// then. [`crate::ErrorKind::Invalid`] if the batches have other kinds or columns.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        self.append_messages(other, 0..other.messages())
    }

    /// As [`Batch::append`], of some messages of `other`.
    ///
    /// # Errors
    /// As [`Batch::append`]; all rows of `other` must fit.
    pub fn append_messages(&mut self, other: &Self, messages: Range<usize>) -> Result<()> {
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
        let (messages, rows) = other.whole_messages(messages);
        if self.schema.is_grouped() {
            let (mine, theirs) = (self.rows as u32, rows.start as u32);
            let ends = other.ends[messages.clone()].iter().map(|end| end - theirs + mine);
            self.ends.to_mut().extend(ends);
        }
        self.rows += rows.len();
        let columns = self.columns.iter_mut().zip(&other.columns).zip(self.schema.columns);
        for ((mine, theirs), spec) in columns {
            let (Some(mine), Some(theirs)) = (mine, theirs) else { continue };
            mine.raise_scale(theirs.scale)?;
            let factor = POW10[usize::from(mine.scale - theirs.scale)];
            mine.digits = mine.digits.max(theirs.digits);
            let at = if spec.per_message { messages.clone() } else { rows.clone() };
            match (&mut mine.values, &theirs.values) {
                (Values::I64(mine), Values::I64(theirs)) if factor == 1 => {
                    mine.to_mut().extend_from_slice(&theirs[at]);
                }
                (Values::I64(mine), Values::I64(theirs)) => {
                    mine.to_mut().extend(theirs[at].iter().map(|&value| scaled(value, factor)));
                }
                (Values::U8(mine), Values::U8(theirs)) => {
                    mine.to_mut().extend_from_slice(&theirs[at]);
                }
                (Values::Text(mine), Values::Text(theirs)) => {
                    at.for_each(|index| mine.push(theirs.get(index)));
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
        for split in 0..=3 {
            joined.clear();
            assert_eq!(joined, Batch::new(Kind::Book));
            joined.append_messages(&whole, 0..split).unwrap();
            joined.append_messages(&whole, split..9).unwrap();
            assert_eq!(joined, whole);
        }
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
}
