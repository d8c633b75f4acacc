//! Rows of a stream from a record batch: the way back, for what clients append.
//!
//! Strict: a column must have its name, a type that holds its values exactly and no missing values
//! where the kind has none. Floats are refused, because a price is never a float. Column order does
//! not matter; columns that are not there stay out of the batch. Messages are rebuilt from the
//! `LAST` bit of `flags`, and what belongs to a message must be equal in all its rows.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, LargeBinaryArray, PrimitiveArray, RecordBatch,
    StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Int64Type, TimeUnit, TimestampNanosecondType,
    UInt8Type,
};

use super::schema::{META_DIGITS, META_KIND, failed};
use crate::error::{Error, Result};
use crate::event::{
    Batch, Buffer, Column, ColumnSpec, ColumnType, FLAG_LAST, FLAG_SNAPSHOT, Kind, TextValues,
    Values,
};
use crate::limit;
use crate::quantity::{Decimal, NULL};

/// The rows of `kind` in a record batch.
///
/// Takes what [`Converter`](super::Converter) makes and what other libraries make of the same
/// values: text and names as any Arrow string or, for text, binary type, plain or as dictionary of
/// any key; decimals as `Decimal128` of any precision and scale or as any Arrow string type; times
/// as `Timestamp(ns, UTC)`; integers as `Int64`; flags as `UInt8`.
///
/// # Errors
/// [`crate::ErrorKind::NotFound`] for a column that the kind does not have;
/// [`crate::ErrorKind::Limit`] if a value, text, message or batch is too large;
/// [`crate::ErrorKind::Invalid`] for everything else that is no batch of this kind. The text names
/// column and row.
pub fn from_record_batch(kind: Kind, batch: &RecordBatch) -> Result<Batch> {
    let schema = kind.schema();
    if let Some(named) = batch.schema_ref().metadata().get(META_KIND)
        && named != kind.name()
    {
        return Err(Error::invalid(format!("expected rows of {kind}, found {named:?}")));
    }
    let rows = batch.num_rows();
    if u32::try_from(rows).is_err() {
        return Err(Error::limit("rows of a batch:", rows, u32::MAX));
    }
    let mut arrays: Vec<Option<usize>> = vec![None; schema.columns.len()];
    for (position, field) in batch.schema_ref().fields().iter().enumerate() {
        let index = schema.column(field.name())?;
        if arrays[index].replace(position).is_some() {
            return Err(Error::invalid(format!("column {} comes twice", field.name())));
        }
    }
    let ends = match schema.is_grouped() {
        true => message_ends(kind, batch)?,
        false => Vec::new(),
    };
    let mut columns = Vec::with_capacity(arrays.len());
    for (spec, position) in schema.columns.iter().zip(arrays) {
        let Some(position) = position else {
            columns.push(None);
            continue;
        };
        let digits = batch.schema_ref().field(position).metadata().get(META_DIGITS);
        let mut column = column(spec, batch.column(position))?;
        if let Some(digits) = digits.and_then(|digits| digits.parse().ok())
            && spec.ty == ColumnType::Decimal
        {
            column.digits = digits;
        }
        if spec.per_message {
            column.values = collapse(spec, column.values, &ends)?;
        }
        columns.push(Some(column));
    }
    Batch::from_parts(kind, rows, ends.into(), columns)
}

/// The row after the last of each message, from the flags.
fn message_ends(kind: Kind, batch: &RecordBatch) -> Result<Vec<u32>> {
    let spec = kind.schema().columns.iter().find(|spec| spec.ty == ColumnType::Flags);
    let array = spec.and_then(|spec| batch.column_by_name(spec.name)).ok_or_else(|| {
        Error::invalid(format!("rows of {kind} need the column flags: it says where messages end"))
    })?;
    let flags = primitive::<UInt8Type>("flags", array, "UInt8")?;
    let mut ends = Vec::new();
    let mut start = 0;
    for (row, flags) in (0u32..).zip(flags.values()) {
        if flags & FLAG_LAST != 0 {
            let message_rows = row + 1 - start;
            if message_rows as usize > limit::MESSAGE_ROWS_MAX {
                let max = limit::MESSAGE_ROWS_MAX;
                return Err(Error::limit("rows of one message:", message_rows, max));
            }
            start = row + 1;
            ends.push(start);
        }
    }
    if start as usize != batch.num_rows() {
        return Err(Error::invalid(format!(
            "column flags: the message of row {start} has no last row (bit {FLAG_LAST})"
        )));
    }
    Ok(ends)
}

/// The rows of each message.
fn message_rows(ends: &[u32]) -> impl Iterator<Item = Range<usize>> + '_ {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, &end)| start as usize..end as usize)
}

/// One value per message of values that must be equal in all rows of a message.
fn collapse(spec: &ColumnSpec, values: Values, ends: &[u32]) -> Result<Values> {
    fn firsts<T: PartialEq + Copy>(
        spec: &ColumnSpec,
        values: &[T],
        ends: &[u32],
    ) -> Result<Vec<T>> {
        let mut kept = Vec::with_capacity(ends.len());
        for rows in message_rows(ends) {
            let start = rows.start;
            let Some((&first, rest)) = values.get(rows).and_then(<[T]>::split_first) else {
                continue;
            };
            if let Some(at) = rest.iter().position(|&value| value != first) {
                return Err(Error::invalid(format!(
                    "column {}: row {} differs from the first row of its message",
                    spec.name,
                    start + 1 + at
                )));
            }
            kept.push(first);
        }
        Ok(kept)
    }
    Ok(match values {
        Values::I64(values) => Values::I64(firsts(spec, &values, ends)?.into()),
        Values::U8(values) => Values::U8(firsts(spec, &values, ends)?.into()),
        Values::Text(_) => {
            return Err(Error::new(
                crate::ErrorKind::Unsupported,
                format!("column {}: text that belongs to a message", spec.name),
            ));
        }
    })
}

/// The values of a column, one per row.
fn column(spec: &ColumnSpec, array: &ArrayRef) -> Result<Column> {
    let plain = |values: Values| Column { values, scale: 0, digits: 0 };
    if !spec.nullable
        && let Some(nulls) = array.logical_nulls()
        && let Some(row) = (0..nulls.len()).find(|&row| nulls.is_null(row))
    {
        let name = spec.name;
        return Err(Error::invalid(format!("column {name}: row {row} has no value but needs one")));
    }
    match spec.ty {
        ColumnType::Time => {
            let utc = ["UTC", "+00:00", "Z", "Etc/UTC"];
            if !matches!(array.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, Some(zone))
                if utc.contains(&&**zone))
            {
                return Err(wrong_type(spec.name, array, "Timestamp(ns, \"UTC\")"));
            }
            let times = array.as_primitive::<TimestampNanosecondType>();
            Ok(plain(Values::I64(i64s(spec, times)?)))
        }
        ColumnType::Int => {
            let ints = primitive::<Int64Type>(spec.name, array, "Int64")?;
            Ok(plain(Values::I64(i64s(spec, ints)?)))
        }
        ColumnType::Decimal => {
            if is_string(value_type(array)) {
                return written_decimals(spec, array);
            }
            let expected = "Decimal128 or decimal text, as floats are not exact";
            let wide = primitive::<Decimal128Type>(spec.name, array, expected)?;
            let (mantissas, scale) = mantissas(spec, wide)?;
            Ok(Column { values: Values::I64(mantissas.into()), scale, digits: scale })
        }
        ColumnType::Code(names) => Ok(plain(Values::U8(codes(spec, names, array)?.into()))),
        ColumnType::Flags => Ok(plain(Values::U8(flags(spec, array)?.into()))),
        ColumnType::Text => Ok(plain(Values::Text(texts(spec, array)?))),
    }
}

fn wrong_type(name: &str, array: &ArrayRef, expected: &str) -> Error {
    Error::invalid(format!("column {name}: expected {expected}, found {}", array.data_type()))
}

fn primitive<'a, T: ArrowPrimitiveType>(
    name: &str,
    array: &'a ArrayRef,
    expected: &str,
) -> Result<&'a PrimitiveArray<T>> {
    array.as_primitive_opt::<T>().ok_or_else(|| wrong_type(name, array, expected))
}

fn i64s<T: ArrowPrimitiveType<Native = i64>>(
    spec: &ColumnSpec,
    array: &PrimitiveArray<T>,
) -> Result<Buffer<i64>> {
    let reserved = |row: usize| {
        Error::invalid(format!("column {}: row {row} is {NULL}, which means no value", spec.name))
    };
    let mut values = array.values().to_vec();
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => {
            if let Some(row) = values.iter().position(|&value| value == NULL) {
                return Err(reserved(row));
            }
        }
        Some(nulls) => {
            for (row, (value, valid)) in values.iter_mut().zip(nulls).enumerate() {
                if !valid {
                    *value = NULL;
                } else if *value == NULL {
                    return Err(reserved(row));
                }
            }
        }
    }
    Ok(values.into())
}

/// The mantissas at the array's scale or, where that does not fit 64 bits or is above
/// [`limit::SCALE_MAX`], at the smallest scale that loses no digit.
fn mantissas(spec: &ColumnSpec, array: &Decimal128Array) -> Result<(Vec<i64>, u8)> {
    let narrow = |value: Option<i128>| match value {
        None => Some(NULL),
        Some(value) => i64::try_from(value).ok().filter(|&mantissa| mantissa != NULL),
    };
    let scale = array.scale();
    if let Ok(kept) = u8::try_from(scale)
        && kept <= limit::SCALE_MAX
        && let Some(mantissas) = match array.null_count() {
            0 => narrow_all(array.values()),
            _ => array.iter().map(narrow).collect(),
        }
    {
        return Ok((mantissas, kept));
    }
    let needed = array.iter().flatten().map(|value| decimals_of(value, scale)).max().unwrap_or(0);
    let kept = u8::try_from(needed).ok().filter(|&scale| scale <= limit::SCALE_MAX);
    let Some(kept) = kept else {
        let what = format!("decimals of column {}:", spec.name);
        return Err(Error::limit(&what, needed, limit::SCALE_MAX));
    };
    let mut mantissas = Vec::with_capacity(array.len());
    for (row, value) in array.iter().enumerate() {
        let mantissa = match value {
            None => Some(NULL),
            Some(value) => rescaled(value, i32::from(kept) - i32::from(scale))
                .and_then(|value| narrow(Some(value))),
        };
        mantissas.push(mantissa.ok_or_else(|| {
            Error::new(
                crate::ErrorKind::Limit,
                format!(
                    "column {}: row {row} does not fit 64 bits with {kept} decimals",
                    spec.name
                ),
            )
        })?);
    }
    Ok((mantissas, kept))
}

/// All values, if each is a mantissa.
fn narrow_all(values: &[i128]) -> Option<Vec<i64>> {
    // No early end, so that the loop has no branch.
    let mut fits = true;
    let narrow = |&value: &i128| {
        let low = value as i64;
        fits &= i128::from(low) == value && low != NULL;
        low
    };
    let mantissas = values.iter().map(narrow).collect();
    fits.then_some(mantissas)
}

/// Decimals written as text, at the smallest scale that loses no digit.
fn written_decimals(spec: &ColumnSpec, array: &ArrayRef) -> Result<Column> {
    let texts = texts(spec, array)?;
    let missing = array.logical_nulls();
    let mut values = Vec::with_capacity(array.len());
    let (mut scale, mut digits) = (0, 0);
    let at = |error: Error, row| error.context(format_args!("column {}, row {row}", spec.name));
    for row in 0..array.len() {
        let missing = missing.as_ref().is_some_and(|nulls| nulls.is_null(row));
        values.push(match missing {
            true => None,
            false => {
                let read = Decimal::parse_bytes_with_digits(texts.get(row));
                let (value, written) = read.map_err(|error| at(error, row))?;
                scale = scale.max(value.scale());
                digits = digits.max(written);
                Some(value)
            }
        });
    }
    let mantissas = values.iter().enumerate().map(|(row, value)| match value {
        None => Ok(NULL),
        Some(value) => value.mantissa_at(scale).ok_or_else(|| {
            let text = format!("{value} does not fit 64 bits with {scale} decimals");
            at(Error::new(crate::ErrorKind::Limit, text), row)
        }),
    });
    let mantissas: Vec<i64> = mantissas.collect::<Result<_>>()?;
    Ok(Column { values: Values::I64(mantissas.into()), scale, digits })
}

/// Decimals that `value` x 10^-`scale` needs.
fn decimals_of(mut value: i128, scale: i8) -> i8 {
    if value == 0 {
        return 0;
    }
    let mut scale = scale;
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    scale.max(0)
}

/// `value` x 10^`digits`; exact, as the caller has counted the zeros that are cut.
fn rescaled(value: i128, digits: i32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let power = 10i128.checked_pow(digits.unsigned_abs())?;
    if digits >= 0 { value.checked_mul(power) } else { Some(value / power) }
}

fn flags(spec: &ColumnSpec, array: &ArrayRef) -> Result<Vec<u8>> {
    let flags = primitive::<UInt8Type>(spec.name, array, "UInt8")?.values();
    if let Some(row) = flags.iter().position(|flags| flags & !(FLAG_LAST | FLAG_SNAPSHOT) != 0) {
        return Err(Error::invalid(format!(
            "column {}: row {row} has unknown bits {}",
            spec.name, flags[row]
        )));
    }
    Ok(flags.iter().map(|flags| flags & !FLAG_LAST).collect())
}

/// Values of an array and, if it is a dictionary, which one each row has.
fn dictionary(array: &ArrayRef) -> (&ArrayRef, Option<Vec<usize>>) {
    match array.as_any_dictionary_opt() {
        // Arrow cannot number the keys of an empty dictionary; all its rows are missing.
        Some(dictionary) if dictionary.values().is_empty() => (dictionary.values(), Some(vec![])),
        Some(dictionary) => (dictionary.values(), Some(dictionary.normalized_keys())),
        None => (array, None),
    }
}

fn codes(spec: &ColumnSpec, names: &[&str], array: &ArrayRef) -> Result<Vec<u8>> {
    let (values, keys) = dictionary(array);
    if !is_string(values.data_type()) {
        return Err(wrong_type(spec.name, array, "Dictionary(Int8, Utf8) or another string type"));
    }
    let values = cast(values, &DataType::Utf8)
        .map_err(|error| failed(&format!("read column {}", spec.name), error))?;
    let values: &StringArray = values.as_string();
    let code_of = |name: &str| {
        let code = names.iter().position(|&known| known == name);
        code.and_then(|code| u8::try_from(code).ok())
    };
    let unknown = |row: usize, name: &str| {
        Error::invalid(format!(
            "column {}: row {row} is {:?}, expected one of {}",
            spec.name,
            name.chars().take(32).collect::<String>(),
            names.join(", ")
        ))
    };
    let Some(keys) = keys else {
        let rows = values.iter().map(Option::unwrap_or_default).enumerate();
        return rows.map(|(row, name)| code_of(name).ok_or_else(|| unknown(row, name))).collect();
    };
    // A name that no row has may be any.
    let known: Vec<_> = values.iter().map(|name| code_of(name.unwrap_or_default())).collect();
    let rows = keys.into_iter().enumerate();
    rows.map(|(row, at)| known[at].ok_or_else(|| unknown(row, values.value(at)))).collect()
}

/// The type of an array's values, behind their dictionary if they have one.
fn value_type(array: &ArrayRef) -> &DataType {
    array.as_any_dictionary_opt().map_or(array.data_type(), |found| found.values().data_type())
}

fn is_string(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn texts(spec: &ColumnSpec, array: &ArrayRef) -> Result<TextValues> {
    let (values, keys) = dictionary(array);
    let binary = [DataType::Binary, DataType::LargeBinary, DataType::BinaryView];
    if !is_string(values.data_type()) && !binary.contains(values.data_type()) {
        return Err(wrong_type(spec.name, array, "Utf8 or Binary, plain or as dictionary"));
    }
    let read = |error| failed(&format!("read column {}", spec.name), error);
    let values = match values.data_type() {
        // The views of text are cast in two steps, as Arrow has no direct way.
        DataType::Utf8View => cast(values, &DataType::BinaryView).map_err(read)?,
        _ => values.clone(),
    };
    let values = cast(&values, &DataType::LargeBinary).map_err(read)?;
    let values: &LargeBinaryArray = values.as_binary();
    let mut texts = TextValues::default();
    let mut push = |row: usize, at: usize| {
        let text = values.value(at);
        if text.len() > limit::TEXT_BYTES_MAX {
            let what = format!("bytes of column {}, row {row}:", spec.name);
            return Err(Error::limit(&what, text.len(), limit::TEXT_BYTES_MAX));
        }
        let sum = texts.bytes.len() + text.len();
        if sum > limit::BLOCK_TEXT_BYTES_MAX {
            let what = format!("bytes of column {} up to row {row}:", spec.name);
            return Err(Error::limit(&what, sum, limit::BLOCK_TEXT_BYTES_MAX));
        }
        texts.push(text);
        Ok(())
    };
    match keys {
        Some(keys) => keys.into_iter().enumerate().try_for_each(|(row, at)| push(row, at))?,
        None => (0..values.len()).try_for_each(|row| push(row, row))?,
    }
    Ok(texts)
}
