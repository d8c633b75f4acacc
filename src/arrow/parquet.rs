//! Record batches as a Parquet file.
//!
//! Decimals are `DECIMAL(38, scale)`, times `TIMESTAMP(NANOS, UTC)`, names and text strings. Pages
//! are compressed with zstd; times and integers are delta-packed. The Arrow schema is kept in the
//! file, so that reading it back with Arrow gives the same types.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::error::{Error, ErrorKind, Result};

/// Rows after which a row group is closed: what a reader can skip or hand to another thread, and
/// about 20 MiB of a book.
pub const ROW_GROUP_ROWS: usize = 1 << 20;

/// Encoded bytes after which a row group is closed before that: bounds the memory of the writer
/// where rows are large.
pub const ROW_GROUP_BYTES: usize = 128 << 20;

/// Level 3 is within 5 % of the size of level 9 and several times as fast.
const ZSTD_LEVEL: i32 = 3;

/// Writes record batches of one schema as a Parquet file.
pub struct ParquetFile<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file of batches of `schema`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if `target` refuses.
    pub fn begin(target: W, schema: SchemaRef) -> Result<Self> {
        let properties = properties(&schema, ROW_GROUP_ROWS)?;
        let writer = ArrowWriter::try_new(target, schema.clone(), Some(properties));
        Ok(Self { writer: writer.map_err(failed)?, schema })
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it has another schema; [`ErrorKind::Io`] if the target refuses.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.schema_ref() != &self.schema {
            return Err(Error::invalid("a record batch of another schema cannot join a file"));
        }
        self.writer.write(batch).map_err(failed)?;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES {
            self.writer.flush().map_err(failed)?;
        }
        Ok(())
    }

    /// Writes the footer, without which the file cannot be read, and gives the target back.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the target refuses.
    pub fn finish(mut self) -> Result<W> {
        self.writer.flush().map_err(failed)?;
        // All rows are encoded: what can fail now is the target, which this call reports as text.
        self.writer.into_inner().map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot write Parquet file: {error}"))
        })
    }
}

fn properties(schema: &Schema, row_group_rows: usize) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(failed)?;
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(row_group_rows))
        .set_created_by(concat!("tickreel ", env!("CARGO_PKG_VERSION")).to_owned());
    for field in schema.fields() {
        let path = ColumnPath::from(field.name().as_str());
        if matches!(field.data_type(), DataType::Timestamp(..) | DataType::Int64) {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        } else if matches!(field.data_type(), DataType::Binary) {
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    Ok(properties.build())
}

fn failed(error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) if source.is::<std::io::Error>() => {
            Error::new(ErrorKind::Io, format!("cannot write Parquet file: {source}"))
        }
        other => Error::invalid(format!("cannot write Parquet file: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Converter, Options, TextAs, from_record_batch};
    use super::*;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use proptest::prelude::*;

    fn read(bytes: Vec<u8>) -> Vec<RecordBatch> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
        reader.build().unwrap().collect::<Result<_, _>>().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 64,
            failure_persistence: None,
            ..<_>::default()
        })]
        #[test]
        fn every_batch_of_every_kind_comes_back(batch in super::super::tests::any_batch()) {
            for texts in [TextAs::Binary, TextAs::BinaryDictionary] {
                let options = Options { texts, ..Options::default() };
                let converter = Converter::for_batch(&batch, &options).unwrap();
                let rows = converter.convert(&batch).unwrap();
                let mut file = ParquetFile::begin(Vec::new(), rows.schema()).unwrap();
                file.write(&rows).unwrap();

                let back = read(file.finish().unwrap());

                prop_assert!(back.len() <= 1);
                for rows in back {
                    prop_assert_eq!(&from_record_batch(batch.kind(), &rows).unwrap(), &batch);
                }
            }
        }
    }

    #[test]
    fn row_groups_are_bounded_and_columns_packed_as_they_should() {
        let batch = super::super::tests::sample();
        let rows = super::super::to_record_batch(&batch).unwrap();
        let properties = properties(&rows.schema(), 3).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.write(&rows).unwrap();

        let metadata = writer.finish().unwrap();

        let groups: Vec<_> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [3, 3, 2]);
        let column = |index: usize| metadata.row_group(0).column(index);
        assert!(column(0).encodings().any(|e| e == Encoding::DELTA_BINARY_PACKED));
        assert!(matches!(column(0).compression(), Compression::ZSTD(_)));
        let price = column(crate::event::book::PRICE).column_descr().logical_type_ref().cloned();
        let decimal = parquet::basic::LogicalType::Decimal(parquet::basic::DecimalType {
            scale: 1,
            precision: 38,
        });
        assert_eq!(price, Some(decimal));
    }

    #[test]
    fn other_schemas_and_failing_targets_are_refused() {
        let rows = super::super::to_record_batch(&super::super::tests::sample()).unwrap();
        let other = rows.project(&[0]).unwrap();
        let mut file = ParquetFile::begin(Vec::new(), rows.schema()).unwrap();
        assert_eq!(file.write(&other).unwrap_err().kind(), ErrorKind::Invalid);

        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let refused = ParquetFile::begin(Full, rows.schema()).and_then(|mut file| {
            file.write(&rows)?;
            file.finish().map(drop)
        });
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    }
}
