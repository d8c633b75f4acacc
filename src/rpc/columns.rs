//! Rows as narrow columns: the form of replay chunks that costs fewest bytes and least time.
//!
//! `ReplayChunk` in the contract describes it byte by byte. Values that belong to messages are sent
//! once per message, integers as distances from their smallest in as few bytes as hold them all; a
//! column of equal values takes no bytes at all.

use std::ops::Range;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::event::{Batch, Column, ColumnSpec, ColumnType, Kind, TextValues, Values};
use crate::limit;
use crate::quantity::NULL;

/// Bytes of the head and of each entry.
const HEAD_BYTES: usize = 16;
const ENTRY_BYTES: usize = 24;
/// First byte of the head.
const VERSION: u8 = 1;
/// Entry of the rows of each message, in place of a column's number.
const ROW_COUNTS: u8 = 0xff;
/// Entry flag: the largest code stands for "no value".
const HAS_NULLS: u8 = 1;

/// What stands before the values of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    column: u8,
    scale: u8,
    digits: u8,
    /// Bytes of one integer: 0, 1, 2, 4 or 8.
    width: u8,
    flags: u8,
    /// Integers are distances from it.
    base: i64,
    len_bytes: u64,
}

/// Messages of a batch that has every column.
pub(super) fn encode(batch: &Batch, messages: Range<usize>) -> Bytes {
    let rows = match messages.is_empty() {
        true => 0..0,
        false => {
            let first = batch.message_rows(messages.start).start;
            first..batch.message_rows(messages.end - 1).end
        }
    };
    let grouped = batch.schema().is_grouped();
    let specs = batch.schema().columns;
    let entries = specs.len() + usize::from(grouped);
    let data_start = HEAD_BYTES + entries * ENTRY_BYTES;
    let mut out = Vec::with_capacity(data_start + rows.len() * 16 + 1024);
    out.extend([VERSION, batch.kind().code(), entries as u8, 0]);
    out.extend((rows.len() as u32).to_le_bytes());
    out.extend((messages.len() as u32).to_le_bytes());
    out.resize(data_start, 0);
    let mut place = HEAD_BYTES;
    if grouped {
        let counts = messages.clone().map(|message| batch.message_rows(message).len() as i64);
        let entry = put_integers(&counts.collect::<Vec<_>>(), &mut out);
        finish(Entry { column: ROW_COUNTS, ..entry }, &mut place, &mut out);
    }
    for ((number, spec), column) in (0u8..).zip(specs).zip(batch.columns()) {
        let at = if spec.per_message { messages.clone() } else { rows.clone() };
        let Some(column) = column else { continue };
        let entry = match &column.values {
            Values::I64(values) => put_integers(values.get(at).unwrap_or_default(), &mut out),
            Values::U8(values) => put_codes(values.get(at).unwrap_or_default(), &mut out),
            Values::Text(values) => put_texts(values, at, &mut out),
        };
        let Column { scale, digits, .. } = *column;
        finish(Entry { column: number, scale, digits, ..entry }, &mut place, &mut out);
    }
    out.into()
}

/// Writes an entry to its place, and fills up to the next multiple of 8.
fn finish(entry: Entry, place: &mut usize, out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
    let Entry { column, scale, digits, width, flags, base, len_bytes } = entry;
    let head = [column, scale, digits, width, flags, 0, 0, 0];
    let bytes = head.into_iter().chain(base.to_le_bytes()).chain(len_bytes.to_le_bytes());
    let target = out.get_mut(*place..*place + ENTRY_BYTES).unwrap_or_default();
    target.iter_mut().zip(bytes).for_each(|(target, byte)| *target = byte);
    *place += ENTRY_BYTES;
}

fn put_integers(values: &[i64], out: &mut Vec<u8>) -> Entry {
    let bounds = |(low, high): (i64, i64), &value: &i64| (low.min(value), high.max(value));
    let (mut low, mut high) = values.iter().fold((i64::MAX, i64::MIN), bounds);
    let nulls = low == NULL;
    if nulls {
        let known = values.iter().filter(|value| **value != NULL);
        (low, high) = known.fold((i64::MAX, i64::MIN), bounds);
    }
    let (base, span) = match low <= high {
        true => (low, high.wrapping_sub(low).cast_unsigned()),
        false => (0, 0),
    };
    // With nulls the largest code is taken.
    let width = match span.checked_add(u64::from(nulls)) {
        Some(0) => 0,
        Some(codes) if codes <= 0xff => 1,
        Some(codes) if codes <= 0xffff => 2,
        Some(codes) if codes <= 0xffff_ffff => 4,
        _ => 8,
    };
    let start = out.len();
    out.resize(start + values.len() * width, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    // Eight bytes need no distance, nor a code for nulls.
    let base = if width == 8 { 0 } else { base };
    let code = |value: i64| match nulls && value == NULL && width < 8 {
        true => u64::MAX,
        false => value.wrapping_sub(base).cast_unsigned(),
    };
    match width {
        1 => target.iter_mut().zip(values).for_each(|(t, v)| *t = code(*v) as u8),
        2 => fill(target.as_chunks_mut().0, values, |v| (code(v) as u16).to_le_bytes()),
        4 => fill(target.as_chunks_mut().0, values, |v| (code(v) as u32).to_le_bytes()),
        8 => fill(target.as_chunks_mut().0, values, |v| code(v).to_le_bytes()),
        _ => {}
    }
    let flags = if nulls && width < 8 { HAS_NULLS } else { 0 };
    let len_bytes = (values.len() * width) as u64;
    Entry { width: width as u8, flags, base, len_bytes, ..Entry::default() }
}

#[inline]
fn fill<const N: usize>(target: &mut [[u8; N]], values: &[i64], code: impl Fn(i64) -> [u8; N]) {
    target.iter_mut().zip(values).for_each(|(target, value)| *target = code(*value));
}

fn put_codes(values: &[u8], out: &mut Vec<u8>) -> Entry {
    let first = values.first().copied().unwrap_or(0);
    if values.iter().all(|value| *value == first) {
        return Entry { base: first.into(), ..Entry::default() };
    }
    out.extend_from_slice(values);
    Entry { width: 1, len_bytes: values.len() as u64, ..Entry::default() }
}

fn put_texts(values: &TextValues, at: Range<usize>, out: &mut Vec<u8>) -> Entry {
    let lengths: Vec<i64> = at.clone().map(|row| values.get(row).len() as i64).collect();
    let mut entry = put_integers(&lengths, out);
    let end = |row: usize| values.ends.get(row).map_or(0, |end| *end as usize);
    let start = at.start.checked_sub(1).map_or(0, end);
    let stop = at.end.checked_sub(1).map_or(0, end);
    let bytes = values.bytes.get(start..stop.max(start)).unwrap_or_default();
    out.extend_from_slice(bytes);
    entry.len_bytes += bytes.len() as u64;
    entry
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] if the bytes are no such columns of `kind`;
/// [`crate::ErrorKind::Limit`] if they are more than a frame may hold.
pub(super) fn decode(kind: Kind, data: &[u8]) -> Result<Batch> {
    let mut input = Input { rest: data };
    let [version, code, entries, _] = input.array()?;
    let rows = input.u32()? as usize;
    let messages = input.u32()? as usize;
    input.take(4)?;
    if version != VERSION || code != kind.code() {
        return Err(corrupt(format_args!("expected version 1 of {kind}")));
    }
    if rows > limit::BLOCK_ROWS_MAX {
        return Err(Error::limit("rows of a chunk:", rows, limit::BLOCK_ROWS_MAX));
    }
    let schema = kind.schema();
    let grouped = schema.is_grouped();
    if messages > rows || (!grouped && messages != rows) {
        return Err(corrupt("more messages than rows"));
    }
    let mut table = input.take(usize::from(entries) * ENTRY_BYTES)?;
    let mut ends = Vec::new();
    if grouped {
        let entry = read_entry(&mut table, ROW_COUNTS)?;
        ends = row_ends(&entry, input.padded(entry.len_bytes)?, messages, rows)?;
    }
    let mut columns = Vec::with_capacity(schema.columns.len());
    for (number, spec) in (0u8..).zip(schema.columns) {
        let entry = read_entry(&mut table, number)?;
        let count = if spec.per_message { messages } else { rows };
        let values = read_values(&entry, spec, input.padded(entry.len_bytes)?, count)?;
        if entry.scale.max(entry.digits) > limit::SCALE_MAX {
            return Err(corrupt("a decimal scale above 18"));
        }
        columns.push(Some(Column { values, scale: entry.scale, digits: entry.digits }));
    }
    if !table.rest.is_empty() || !input.rest.is_empty() {
        return Err(corrupt("bytes after the last column"));
    }
    Batch::from_parts(kind, rows, ends.into(), columns)
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("columns of a chunk: {what}"))
}

/// The row after the last of each message.
fn row_ends(entry: &Entry, data: &[u8], messages: usize, rows: usize) -> Result<Vec<u32>> {
    let counts = read_integers(entry, data, messages)?;
    let mut ends = Vec::with_capacity(messages);
    let mut end = 0i64;
    for count in counts {
        end = end.saturating_add(count);
        match u32::try_from(end) {
            Ok(end) if count > 0 && end as usize <= rows => ends.push(end),
            _ => return Err(corrupt("messages do not cover the rows")),
        }
    }
    Ok(ends)
}

fn read_values(entry: &Entry, spec: &ColumnSpec, data: &[u8], count: usize) -> Result<Values> {
    match spec.ty {
        ColumnType::Time | ColumnType::Int | ColumnType::Decimal => {
            let values = read_integers(entry, data, count)?;
            if !spec.nullable && values.contains(&NULL) {
                return Err(corrupt(format_args!("column {} without a value", spec.name)));
            }
            Ok(Values::I64(values.into()))
        }
        ColumnType::Code(names) => {
            let values = read_codes(entry, data, count)?;
            if values.iter().any(|code| usize::from(*code) >= names.len()) {
                return Err(corrupt(format_args!(
                    "a code that column {} does not have",
                    spec.name
                )));
            }
            Ok(Values::U8(values.into()))
        }
        ColumnType::Flags => Ok(Values::U8(read_codes(entry, data, count)?.into())),
        ColumnType::Text => read_texts(entry, data, count).map(Values::Text),
    }
}

fn read_integers(entry: &Entry, data: &[u8], count: usize) -> Result<Vec<i64>> {
    let width = usize::from(entry.width);
    if data.len() != count * width {
        return Err(corrupt(format_args!("{count} integers of {width} bytes")));
    }
    let base = entry.base;
    let nulls = entry.flags & HAS_NULLS != 0;
    let value = |code: u64| base.wrapping_add(code.cast_signed());
    let read = |code: u64, null: u64| if nulls && code == null { NULL } else { value(code) };
    Ok(match width {
        0 => vec![base; count],
        1 => data.iter().map(|code| read(u64::from(*code), 0xff)).collect(),
        2 => {
            let codes = data.as_chunks().0.iter().map(|code| u16::from_le_bytes(*code));
            codes.map(|code| read(u64::from(code), 0xffff)).collect()
        }
        4 => {
            let codes = data.as_chunks().0.iter().map(|code| u32::from_le_bytes(*code));
            codes.map(|code| read(u64::from(code), 0xffff_ffff)).collect()
        }
        8 => data.as_chunks().0.iter().map(|code| value(u64::from_le_bytes(*code))).collect(),
        _ => return Err(corrupt(format_args!("integers of {width} bytes"))),
    })
}

fn read_codes(entry: &Entry, data: &[u8], count: usize) -> Result<Vec<u8>> {
    match (entry.width, u8::try_from(entry.base)) {
        (0, Ok(code)) if data.is_empty() => Ok(vec![code; count]),
        (1, Ok(0)) if data.len() == count => Ok(data.to_vec()),
        _ => Err(corrupt(format_args!("{count} codes"))),
    }
}

fn read_texts(entry: &Entry, data: &[u8], count: usize) -> Result<TextValues> {
    let lengths_bytes = count.saturating_mul(usize::from(entry.width));
    let cut = || corrupt("texts are cut short");
    let (lengths, bytes) = data.split_at_checked(lengths_bytes).ok_or_else(cut)?;
    let lengths = read_integers(entry, lengths, count)?;
    let mut ends = Vec::with_capacity(count);
    let mut end = 0i64;
    for length in lengths {
        end = end.saturating_add(length);
        match u32::try_from(end) {
            Ok(end) if length >= 0 && end as usize <= bytes.len() => ends.push(end),
            _ => return Err(cut()),
        }
    }
    if end != bytes.len() as i64 {
        return Err(corrupt("bytes after the last text"));
    }
    Ok(TextValues { ends: ends.into(), bytes: bytes.to_vec().into() })
}

fn read_entry(table: &mut Input<'_>, column: u8) -> Result<Entry> {
    let [found, scale, digits, width, flags, ..]: [u8; 8] = table.array()?;
    let base = i64::from_le_bytes(table.array()?);
    let len_bytes = u64::from_le_bytes(table.array()?);
    if found != column || flags & !HAS_NULLS != 0 {
        return Err(corrupt(format_args!("expected column {column}, found {found}")));
    }
    Ok(Entry { column, scale, digits, width, flags, base, len_bytes })
}

/// Bytes that are still to be read.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, len_bytes: usize) -> Result<Input<'a>> {
        let split = self.rest.split_at_checked(len_bytes);
        let (taken, rest) = split.ok_or_else(|| corrupt("they are cut short"))?;
        self.rest = rest;
        Ok(Input { rest: taken })
    }

    /// Takes bytes and what fills them up to a multiple of 8.
    fn padded(&mut self, len_bytes: u64) -> Result<&'a [u8]> {
        let len_bytes = usize::try_from(len_bytes).unwrap_or(usize::MAX);
        let padded = len_bytes.checked_next_multiple_of(8).unwrap_or(usize::MAX);
        let taken = self.take(padded)?.rest;
        Ok(taken.get(..len_bytes).unwrap_or_default())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?.rest;
        taken.try_into().map_err(|_| corrupt("they are cut short"))
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchBuilder, MessageHead, QuoteRow, Side, TickerRow, TradeRow, TradeSide};
    use crate::quantity::{Decimal, TsNs};
    use proptest::prelude::*;

    fn book(messages: i64) -> Batch {
        let mut builder = BatchBuilder::new(Kind::Book);
        for at in 0..messages {
            builder.begin(MessageHead {
                ts_recv: TsNs(1_723_118_400_000_000_000 + at * 1_000_000),
                ts_event: (at % 3 != 0).then_some(TsNs(at)),
                venue_seq: Some(at * at * 1_000_003),
                snapshot: at % 7 == 0,
            });
            for level in 0..=at % 5 {
                let side = if level % 2 == 0 { Side::Bid } else { Side::Ask };
                builder.level_text(side, &format!("{level}.50"), "1").unwrap();
            }
            if at % 4 == 1 {
                builder.gap(2);
            }
            builder.end();
        }
        builder.finish().unwrap().pop().unwrap()
    }

    fn other_kinds() -> Vec<Batch> {
        let mut trades = BatchBuilder::new(Kind::Trades);
        let mut quotes = BatchBuilder::new(Kind::Quotes);
        let mut ticker = BatchBuilder::new(Kind::Ticker);
        for at in 0..9 {
            let ts_recv = TsNs(at);
            trades.trade(&TradeRow {
                ts_recv,
                ts_event: None,
                side: TradeSide::Sell,
                price: Decimal::new(at, 2).unwrap(),
                qty: Decimal::new(i64::MAX - at, 0).unwrap(),
                trade_id: &"x".repeat(at as usize * 40),
            });
            let level = |scale| Some((Decimal::new(at, scale).unwrap(), Decimal::ZERO));
            quotes.quote(&QuoteRow { ts_recv, bid: level(1), ..QuoteRow::default() });
            ticker.ticker(&TickerRow { ts_recv, ..TickerRow::default() });
        }
        [trades, quotes, ticker].map(|mut b| b.finish().unwrap().pop().unwrap()).to_vec()
    }

    #[test]
    fn every_part_of_a_batch_comes_back() {
        let mut batches = other_kinds();
        batches.push(book(40));
        for batch in batches {
            for start in 0..batch.messages() {
                for end in start..=batch.messages() {
                    let data = encode(&batch, start..end);

                    let back = decode(batch.kind(), &data).unwrap();
                    assert_eq!(back, batch.slice_messages(start..end));
                }
            }
        }
    }

    #[test]
    fn integers_take_no_more_bytes_than_they_need() {
        let cases: [(&[i64], u8); 9] = [
            (&[], 0),
            (&[7, 7], 0),
            (&[-3, 252], 1),
            (&[-3, 253], 2),
            (&[0, 0xffff], 2),
            (&[0, 0x1_0000], 4),
            (&[0, 0x1_0000_0000], 8),
            (&[i64::MIN + 1, i64::MAX], 8),
            (&[NULL, 5], 1),
        ];
        for (values, width) in cases {
            let mut out = Vec::new();
            let entry = put_integers(values, &mut out);

            assert_eq!(entry.width, width, "{values:?}");
            assert_eq!(read_integers(&entry, &out, values.len()).unwrap(), values);
        }
        for (nulls, width) in [([NULL, 0, 254], 1), ([NULL, 0, 255], 2), ([NULL, 0, 65_535], 4)] {
            let mut out = Vec::new();
            let entry = put_integers(&nulls, &mut out);
            assert_eq!((entry.width, entry.flags), (width, HAS_NULLS));
            assert_eq!(read_integers(&entry, &out, 3).unwrap(), nulls);
        }
    }

    #[test]
    fn any_cut_and_any_changed_byte_is_an_error_or_another_batch_but_no_panic() {
        let batch = book(12);
        let data = encode(&batch, 0..12);
        for end in 0..data.len() {
            assert!(decode(Kind::Book, &data[..end]).is_err(), "{end}");
        }
        for place in 0..data.len() {
            for bit in 0..8 {
                let mut bad = data.to_vec();
                bad[place] ^= 1 << bit;
                // A change may be a legal other value; it must not be taken for another shape.
                if let Ok(other) = decode(Kind::Book, &bad) {
                    assert_eq!((other.rows(), other.messages()), (batch.rows(), batch.messages()));
                }
            }
        }
        assert!(decode(Kind::Trades, &data).is_err());
    }

    #[test]
    fn rows_meet_their_limit_before_memory_is_taken() {
        let mut data = encode(&book(3), 0..3).to_vec();
        let too_many = u32::try_from(limit::BLOCK_ROWS_MAX + 1).unwrap();
        data[4..8].copy_from_slice(&too_many.to_le_bytes());

        let error = decode(Kind::Book, &data).unwrap_err();

        assert_eq!(error.kind(), crate::ErrorKind::Limit);
    }

    proptest! {
        #[test]
        fn any_integers_come_back(values in prop::collection::vec(
            prop_oneof![Just(NULL), any::<i64>(), -300i64..300, -70_000i64..70_000], 0..40))
        {
            let mut out = Vec::new();
            let entry = put_integers(&values, &mut out);
            prop_assert_eq!(read_integers(&entry, &out, values.len()).unwrap(), values);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for kind in Kind::ALL {
                let mut bytes = bytes.clone();
                if let [first, second, ..] = &mut bytes[..] {
                    (*first, *second) = (VERSION, kind.code());
                }
                drop(decode(kind, &bytes));
            }
        }
    }
}
