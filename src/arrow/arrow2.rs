//! Record batches as arrays of the `arrow2` crate, and back, without copying values.
//!
//! `arrow2` is archived; it is here for programs that still use it. An array crosses as the two
//! structures of the [Arrow C Data Interface], which both crates implement: values stay where they
//! are and are freed by the crate that made them.
//!
//! What comes back from `arrow2` is checked in full (offsets, keys, UTF-8): its safe API can make
//! arrays that are not valid (RUSTSEC-2025-0038).
//!
//! [Arrow C Data Interface]: https://arrow.apache.org/docs/format/CDataInterface.html
#![allow(
    unsafe_code,
    reason = "the C Data Interface passes raw pointers; the rule of each block is named beside it"
)]

use std::mem::{align_of, size_of, transmute};
use std::sync::Arc;

use ::arrow2::array::Array as Array2;
use ::arrow2::chunk::Chunk;
use ::arrow2::datatypes::Schema as Schema2;
use ::arrow2::ffi::{
    ArrowArray, ArrowSchema, export_array_to_c, export_field_to_c, import_array_from_c,
    import_field_from_c,
};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::{Field, Schema};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};

use super::schema::failed;
use crate::error::{Error, Result};

/// Columns of one length, as `arrow2` knows them.
pub type Arrow2Chunk = Chunk<Box<dyn Array2>>;

// Both are the `struct ArrowArray` and `struct ArrowSchema` of the C Data Interface.
const _: () = assert!(size_of::<FFI_ArrowArray>() == size_of::<ArrowArray>());
const _: () = assert!(align_of::<FFI_ArrowArray>() == align_of::<ArrowArray>());
const _: () = assert!(size_of::<FFI_ArrowSchema>() == size_of::<ArrowSchema>());
const _: () = assert!(align_of::<FFI_ArrowSchema>() == align_of::<ArrowSchema>());

/// A record batch as schema and columns of `arrow2`; values are shared, not copied.
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] if `arrow2` does not know a type; it knows all that a
/// [`Converter`](super::Converter) makes.
pub fn to_arrow2(batch: &RecordBatch) -> Result<(Schema2, Arrow2Chunk)> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut arrays = Vec::with_capacity(batch.num_columns());
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let schema = FFI_ArrowSchema::try_from(field.as_ref())
            .map_err(|error| failed(&format!("hand over column {}", field.name()), error))?;
        // SAFETY: both types are `repr(C)` with the fields of `struct ArrowSchema` (size and
        // alignment are asserted above); ownership moves, so `release` is called once.
        let schema = unsafe { transmute::<FFI_ArrowSchema, ArrowSchema>(schema) };
        // SAFETY: `schema` was filled by arrow-rs as the interface asks.
        let field2 = unsafe { import_field_from_c(&schema) };
        let field2 = field2.map_err(|error| refused(field.name(), &error))?;

        let array = FFI_ArrowArray::new(&array.to_data());
        // SAFETY: as for the schema, with `struct ArrowArray`.
        let array = unsafe { transmute::<FFI_ArrowArray, ArrowArray>(array) };
        // SAFETY: `array` was filled by arrow-rs from a valid array, and its type is the one that
        // the same field was exported with.
        let array = unsafe { import_array_from_c(array, field2.data_type.clone()) };
        arrays.push(array.map_err(|error| refused(field.name(), &error))?);
        fields.push(field2);
    }
    let metadata = batch.schema_ref().metadata().clone().into_iter().collect();
    let chunk = Chunk::try_new(arrays).map_err(|error| refused("of the batch", &error))?;
    Ok((Schema2 { fields, metadata }, chunk))
}

/// The reverse of [`to_arrow2`].
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if columns do not agree with the schema or hold values that their
/// type forbids.
pub fn from_arrow2(schema: &Schema2, chunk: Arrow2Chunk) -> Result<RecordBatch> {
    let rows = chunk.len();
    let arrays2 = chunk.into_arrays();
    if arrays2.len() != schema.fields.len() {
        return Err(Error::invalid(format!(
            "expected {} columns, found {}",
            schema.fields.len(),
            arrays2.len()
        )));
    }
    let mut fields = Vec::with_capacity(arrays2.len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(arrays2.len());
    for (field2, array2) in schema.fields.iter().zip(arrays2) {
        let take = |error| failed(&format!("take over column {}", field2.name), error);
        if array2.data_type() != &field2.data_type {
            return Err(Error::invalid(format!(
                "column {}: expected {:?}, found {:?}",
                field2.name,
                field2.data_type,
                array2.data_type()
            )));
        }
        let exported = export_field_to_c(field2);
        // SAFETY: as in `to_arrow2`, the other way.
        let ffi_schema = unsafe { transmute::<ArrowSchema, FFI_ArrowSchema>(exported) };
        let exported = export_array_to_c(array2);
        // SAFETY: as in `to_arrow2`, the other way.
        let ffi_array = unsafe { transmute::<ArrowArray, FFI_ArrowArray>(exported) };
        // SAFETY: arrow2 filled both as the interface asks, from an array of this very type; the
        // contents are checked below, before anything reads them.
        let data = unsafe { from_ffi(ffi_array, &ffi_schema) }.map_err(take)?;
        data.validate_full().map_err(take)?;
        fields.push(Field::try_from(&ffi_schema).map_err(take)?);
        arrays.push(make_array(data));
    }
    let metadata = schema.metadata.clone().into_iter().collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options)
        .map_err(|error| failed("make a record batch", error))
}

fn refused(name: &str, error: &::arrow2::error::Error) -> Error {
    Error::new(
        crate::ErrorKind::Unsupported,
        format!("cannot hand over column {name} to arrow2: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{any_batch, sample};
    use super::super::{from_record_batch, to_record_batch};
    use super::*;
    use crate::event::Kind;
    use ::arrow2::array::PrimitiveArray;
    use arrow::array::AsArray;
    use arrow::datatypes::Decimal128Type;
    use proptest::prelude::*;

    #[test]
    fn values_stay_where_they_are_both_ways() {
        let batch = to_record_batch(&sample()).unwrap();
        let at = batch.column_by_name("price").unwrap();
        let at = at.as_primitive::<Decimal128Type>().values().as_ptr();

        let (schema, chunk) = to_arrow2(&batch).unwrap();
        let index = schema.fields.iter().position(|field| field.name == "price").unwrap();
        let price2 = &chunk.arrays()[index];
        let price2 = price2.as_any().downcast_ref::<PrimitiveArray<i128>>().unwrap();
        assert_eq!(price2.values().as_ptr(), at);
        let back = from_arrow2(&schema, chunk).unwrap();

        let price = back.column_by_name("price").unwrap().as_primitive::<Decimal128Type>();
        assert_eq!(price.values().as_ptr(), at);
        assert_eq!(back, batch);
    }

    #[test]
    fn arrays_live_on_when_the_side_that_made_them_is_gone() {
        let (schema, chunk) = {
            let batch = to_record_batch(&sample()).unwrap();
            to_arrow2(&batch).unwrap()
        };
        let back = from_arrow2(&schema, chunk).unwrap();

        assert_eq!(from_record_batch(Kind::Book, &back).unwrap(), sample());
    }

    #[test]
    fn columns_that_do_not_agree_with_their_schema_are_refused() {
        let (mut schema, chunk) = to_arrow2(&to_record_batch(&sample()).unwrap()).unwrap();
        schema.fields.swap(0, 2);
        assert!(from_arrow2(&schema, chunk.clone()).is_err());
        schema.fields.pop();
        assert!(from_arrow2(&schema, chunk).is_err());
    }

    #[test]
    fn text_that_arrow2_let_pass_is_checked() {
        let field = ::arrow2::datatypes::Field::new("t", ::arrow2::datatypes::DataType::Utf8, true);
        // SAFETY: not UTF-8, against the rule of this constructor; never read as text by arrow2.
        let broken = unsafe {
            ::arrow2::array::Utf8Array::<i32>::try_new_unchecked(
                field.data_type.clone(),
                vec![0, 1].try_into().unwrap(),
                vec![0xff].into(),
                None,
            )
        };
        let broken: Box<dyn Array2> = Box::new(broken.unwrap());

        let refused = from_arrow2(&Schema2::from(vec![field]), Chunk::new(vec![broken]));

        assert!(refused.unwrap_err().to_string().contains("column t"));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 64,
            failure_persistence: None,
            ..<_>::default()
        })]
        #[test]
        fn every_batch_of_every_kind_comes_back(batch in any_batch()) {
            let record_batch = to_record_batch(&batch).unwrap();

            let (schema, chunk) = to_arrow2(&record_batch).unwrap();
            let back = from_arrow2(&schema, chunk).unwrap();

            prop_assert_eq!(&back, &record_batch);
            prop_assert_eq!(from_record_batch(batch.kind(), &back).unwrap(), batch);
        }
    }
}
