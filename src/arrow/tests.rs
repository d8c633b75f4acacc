//! Rows must come back from Arrow as they went in: every kind, every type of value, through
//! memory, streams and files.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array,
    LargeStringArray, RecordBatch, StringArray, StringViewArray, TimestampNanosecondArray,
    UInt8Array,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float64Type, Int8Type, Int32Type, Int64Type, Schema,
    TimestampNanosecondType, UInt32Type,
};
use proptest::prelude::*;

use super::ipc::{Decoder, END, Encoder, IpcFile, IpcStream};
use super::*;
use crate::error::ErrorKind;
use crate::event::{
    Batch, BatchBuilder, Buffer, Column, ColumnSpec, ColumnType, FLAG_LAST, FLAG_SNAPSHOT, Kind,
    MessageHead, SharedBytes, Side, StatusRow, StatusWhat, TextValues, TradeRow, TradeSide, Values,
    book, status, trades,
};
use crate::quantity::{Decimal, NULL, TsNs};

/// A snapshot of two levels and a message of one.
pub(super) fn sample() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    builder.begin(MessageHead {
        ts_recv: TsNs(10),
        ts_event: Some(TsNs(9)),
        venue_seq: Some(7),
        snapshot: true,
    });
    builder.level_text(Side::Bid, "61737.60", "0.25").unwrap();
    builder.level_text(Side::Ask, "61737.7", "1.5").unwrap();
    builder.end();
    builder.begin(MessageHead { ts_recv: TsNs(11), ..MessageHead::default() });
    builder.level_text(Side::Ask, "61737.7", "0").unwrap();
    builder.end();
    builder.finish().unwrap().pop().unwrap()
}

fn trades_of(ids: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Trades);
    for (ts, trade_id) in (0..).zip(ids) {
        builder.trade(&TradeRow {
            ts_recv: TsNs(ts),
            ts_event: None,
            side: TradeSide::Sell,
            price: Decimal::parse("1.5").unwrap(),
            qty: Decimal::parse("2").unwrap(),
            trade_id,
        });
    }
    builder.finish().unwrap().pop().unwrap()
}

fn status_of(details: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Status);
    for (ts, detail) in (0..).zip(details) {
        let what = StatusWhat::Gap;
        builder.status(&StatusRow { ts_recv: TsNs(ts), ts_event: None, what, detail });
    }
    builder.finish().unwrap().pop().unwrap()
}

fn any_values(spec: &'static ColumnSpec, count: usize) -> BoxedStrategy<Column> {
    let plain = |values: Values| Column { values, scale: 0, digits: 0 };
    let value = any::<i64>().prop_map(|value| value.max(NULL + 1));
    let i64s = match spec.nullable {
        true => prop::collection::vec(prop_oneof![3 => value, 1 => Just(NULL)], count).boxed(),
        false => prop::collection::vec(value, count).boxed(),
    };
    match spec.ty {
        ColumnType::Time | ColumnType::Int => {
            i64s.prop_map(move |values| plain(Values::I64(values.into()))).boxed()
        }
        ColumnType::Decimal => (i64s, 0u8..=18, 0u8..=20)
            .prop_map(|(values, scale, digits)| Column {
                values: Values::I64(values.into()),
                scale,
                digits,
            })
            .boxed(),
        ColumnType::Code(names) => {
            prop::collection::vec(0..u8::try_from(names.len()).unwrap(), count)
                .prop_map(move |codes| plain(Values::U8(codes.into())))
                .boxed()
        }
        ColumnType::Flags => {
            prop::collection::vec(prop_oneof![Just(0), Just(FLAG_SNAPSHOT)], count)
                .prop_map(move |flags| plain(Values::U8(flags.into())))
                .boxed()
        }
        ColumnType::Text => {
            let text = prop_oneof![
                4 => "[a-z0-9é€]{0,9}".prop_map(String::into_bytes),
                1 => Just(Vec::new()),
            ];
            // Now and then a whole column that is not UTF-8.
            (prop::collection::vec(text, count), prop::bool::weighted(0.1))
                .prop_map(move |(texts, broken)| {
                    let mut values = TextValues::default();
                    for mut text in texts {
                        if broken {
                            text.push(0xff);
                        }
                        values.push(&text);
                    }
                    plain(Values::Text(values))
                })
                .boxed()
        }
    }
}

/// Any batch of any kind: empty ones, messages of one row and more, nulls, all columns.
pub(super) fn any_batch() -> impl Strategy<Value = Batch> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    (kind, prop::collection::vec(1u32..6, 0..40)).prop_flat_map(|(kind, sizes)| {
        let grouped = kind.schema().is_grouped();
        let messages = sizes.len();
        let mut ends: Vec<u32> = Vec::new();
        for size in sizes {
            ends.push(ends.last().unwrap_or(&0) + size);
        }
        let rows = if grouped { ends.last().map_or(0, |&end| end as usize) } else { messages };
        let columns: Vec<_> = kind
            .schema()
            .columns
            .iter()
            .map(|spec| any_values(spec, if spec.per_message { messages } else { rows }))
            .collect();
        columns.prop_map(move |columns| {
            let ends = if grouped { ends.clone() } else { Vec::new() };
            let columns = columns.into_iter().map(Some).collect();
            Batch::from_parts(kind, rows, ends.into(), columns).unwrap()
        })
    })
}

fn scales(batch: &Batch) -> Vec<u8> {
    (0..batch.schema().columns.len()).map(|index| batch.scale(index)).collect()
}

/// Digits are no values and do not cross where many batches have one schema.
fn same_values(a: &Batch, b: &Batch) -> bool {
    let values = |batch: &Batch| {
        let column = |column: &Option<Column>| column.clone().map(|c| (c.values, c.scale));
        batch.columns().iter().map(column).collect::<Vec<_>>()
    };
    (a.kind(), a.rows(), a.ends()) == (b.kind(), b.rows(), b.ends()) && values(a) == values(b)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]
    #[test]
    fn every_batch_of_every_kind_comes_back(batch in any_batch()) {
        let borrowed = to_record_batch(&batch).unwrap();
        prop_assert_eq!(borrowed.num_rows(), batch.rows());
        prop_assert_eq!(&from_record_batch(batch.kind(), &borrowed).unwrap(), &batch);

        let owned = into_record_batch(batch.clone()).unwrap();
        prop_assert_eq!(owned, borrowed);
    }

    #[test]
    fn every_batch_comes_back_through_a_stream_and_a_file(batch in any_batch()) {
        for texts in [TextAs::Binary, TextAs::BinaryDictionary] {
            let options = Options { texts, ..Options::default() };
            let scales = scales(&batch);
            let converter = Converter::new(batch.kind(), None, &scales, &options).unwrap();
            let record_batch = converter.convert(&batch).unwrap();
            let encoder = Encoder::new(converter.schema().clone()).unwrap();
            let mut decoder = Decoder::new();

            prop_assert!(decoder.decode(encoder.schema_message().clone()).unwrap().is_empty());
            let back = decoder.decode(encoder.encode(&record_batch).unwrap()).unwrap();

            prop_assert_eq!(back.len(), 1);
            prop_assert_eq!(&back[0], &record_batch);
            let rows = from_record_batch(batch.kind(), &back[0]).unwrap();
            prop_assert!(same_values(&rows, &batch));
        }
        let options = Options { texts: TextAs::Binary, ..Options::default() };
        let converter = Converter::new(batch.kind(), None, &scales(&batch), &options).unwrap();
        let record_batch = converter.convert(&batch).unwrap();
        let mut file = IpcFile::begin(Vec::new(), converter.schema()).unwrap();
        file.write(&record_batch).unwrap();
        file.write(&record_batch).unwrap();
        let bytes = std::io::Cursor::new(file.finish().unwrap());
        let read = arrow::ipc::reader::FileReader::try_new(bytes, None).unwrap();
        for back in read {
            prop_assert_eq!(back.unwrap(), record_batch.clone());
        }
    }

    #[test]
    fn floats_are_the_nearest(mantissa in any::<i64>(), scale in 0u8..=18) {
        let mantissa = mantissa.max(NULL + 1);
        let exact = Decimal::new(mantissa, scale).unwrap();
        let nearest: f64 = exact.to_string().parse().unwrap();

        for mantissa in [mantissa, mantissa % (1 << 53)] {
            let exact = Decimal::new(mantissa, scale).unwrap();
            let nearest: f64 = exact.to_string().parse().unwrap();
            prop_assert_eq!(float_of(mantissa, scale).to_bits(), (nearest + 0.0).to_bits());
        }
        prop_assert_eq!(exact.to_f64(), nearest);
    }
}

fn float_of(mantissa: i64, scale: u8) -> f64 {
    let mut columns: Vec<Option<Column>> = vec![None; Kind::Trades.schema().columns.len()];
    let values = Values::I64(vec![mantissa].into());
    columns[trades::PRICE] = Some(Column { values, scale, digits: 0 });
    let batch = Batch::from_parts(Kind::Trades, 1, Buffer::default(), columns).unwrap();
    let options = Options { decimals: DecimalAs::Float64, ..Options::default() };
    let converter = Converter::for_batch(&batch, &options).unwrap();
    converter.convert(&batch).unwrap().column(0).as_primitive::<Float64Type>().value(0)
}

#[test]
fn a_book_is_flat_rows_with_last_on_the_last_row_of_each_message() {
    let batch = to_record_batch(&sample()).unwrap();

    let column = |index: usize| batch.column(index);
    let times = column(book::TS_RECV).as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.values()[..], [10, 10, 10, 11]);
    let events = column(book::TS_EVENT).as_primitive::<TimestampNanosecondType>();
    assert_eq!(events.iter().collect::<Vec<_>>(), [Some(9), Some(9), Some(9), None]);
    let flags = column(book::FLAGS).as_primitive::<arrow::datatypes::UInt8Type>();
    assert_eq!(flags.values()[..], [2, 2, 3, FLAG_LAST]);
    let actions = column(book::ACTION).as_dictionary::<Int8Type>();
    let names: Vec<_> = actions.downcast_dict::<StringArray>().unwrap().into_iter().collect();
    assert_eq!(names, ["reset", "set", "set", "set"].map(Some));
    let prices = column(book::PRICE).as_primitive::<Decimal128Type>();
    assert_eq!(prices.value_as_string(1), "61737.6");
    assert_eq!(column(book::PRICE).null_count(), 0);
    assert!(column(book::TS_RECV).nulls().is_none());
    let seqs = column(book::VENUE_SEQ).as_primitive::<Int64Type>();
    assert_eq!(seqs.iter().collect::<Vec<_>>(), [Some(7), Some(7), Some(7), None]);
}

/// Eight-byte-aligned bytes, as a map is.
struct Aligned(Vec<i64>);

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

#[test]
fn shared_columns_are_wrapped_where_they_lie_and_keep_their_owner_alive() {
    let owner: SharedBytes = Arc::new(Aligned(vec![5, 6, 7, 0x0001_0201, 0]));
    let mut columns: Vec<Option<Column>> = vec![None; Kind::Trades.schema().columns.len()];
    let column = |values| Some(Column { values, scale: 0, digits: 0 });
    columns[0] = column(Values::I64(Buffer::shared(owner.clone(), 8, 2).unwrap()));
    columns[trades::SIDE] = column(Values::U8(Buffer::shared(owner.clone(), 25, 2).unwrap()));
    let texts = TextValues {
        ends: vec![1, 3].into(),
        bytes: Buffer::shared(owner.clone(), 24, 3).unwrap(),
    };
    columns[trades::TRADE_ID] = column(Values::Text(texts));
    let batch = Batch::from_parts(Kind::Trades, 2, Buffer::default(), columns).unwrap();
    let start = (*owner).as_ref().as_ptr();
    let weak = Arc::downgrade(&owner);
    drop(owner);

    let options = Options { texts: TextAs::Plain, ..Options::default() };
    let record_batch = Converter::for_batch(&batch, &options).unwrap().convert(&batch).unwrap();
    drop(batch);

    let times = record_batch.column(0).as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.values().as_ptr().cast::<u8>(), start.wrapping_add(8));
    assert_eq!(times.values()[..], [6, 7]);
    let sides = record_batch.column(1).as_dictionary::<Int8Type>().keys();
    assert_eq!(sides.values().as_ptr().cast::<u8>(), start.wrapping_add(25));
    let ids = record_batch.column(2).as_string::<i32>();
    assert_eq!(ids.value_data().as_ptr(), start.wrapping_add(24));
    assert!(weak.upgrade().is_some(), "the record batch holds the map");
    drop(record_batch);
    assert!(weak.upgrade().is_none(), "the last reader lets it go");
}

#[test]
fn owned_columns_move_and_borrowed_ones_are_copied() {
    let batch = trades_of(&["a", "b"]);
    let at = batch.ts_recv().as_ptr();
    let times = |batch: &RecordBatch| {
        batch.column(0).as_primitive::<TimestampNanosecondType>().values().as_ptr()
    };

    assert_ne!(times(&to_record_batch(&batch).unwrap()), at);
    assert_eq!(times(&into_record_batch(batch).unwrap()), at);
}

#[test]
fn one_schema_holds_batches_of_smaller_scales_and_refuses_larger_ones() {
    let batch = sample();
    let mut largest = scales(&batch);
    largest[book::PRICE] = 18;
    let converter = Converter::new(Kind::Book, None, &largest, &Options::default()).unwrap();

    let record_batch = converter.convert(&batch).unwrap();

    assert_eq!(record_batch.schema_ref(), converter.schema());
    let prices = record_batch.column(book::PRICE).as_primitive::<Decimal128Type>();
    // More than an i64 holds.
    assert_eq!(prices.value_as_string(1), "61737.600000000000000000");
    let back = from_record_batch(Kind::Book, &record_batch).unwrap();
    assert_eq!(back.i64s(book::PRICE), batch.i64s(book::PRICE));
    assert_eq!(back.scale(book::PRICE), 1);

    largest[book::PRICE] = 0;
    let converter = Converter::new(Kind::Book, None, &largest, &Options::default()).unwrap();
    let error = converter.convert(&batch).unwrap_err();
    assert!(error.to_string().contains("column price"), "{error}");
}

#[test]
fn a_projection_gives_its_columns_in_its_order() {
    let batch = sample();
    let projection = [book::QTY, book::TS_RECV];
    let converter =
        Converter::new(Kind::Book, Some(&projection), &[2; 8], &Options::default()).unwrap();

    let record_batch = converter.convert_owned(batch.clone()).unwrap();
    assert_eq!((record_batch.num_columns(), record_batch.num_rows()), (2, 4));
    assert_eq!(record_batch.schema_ref().field(0).name(), "qty");

    let none = Converter::new(Kind::Book, Some(&[]), &[2; 8], &Options::default()).unwrap();
    assert_eq!(none.convert(&batch).unwrap().num_rows(), 4);

    assert_eq!(converter.convert(&trades_of(&["x"])).unwrap_err().kind(), ErrorKind::Invalid);
    let (ends, mut columns) = batch.into_parts();
    columns[book::QTY] = None;
    let lacking = Batch::from_parts(Kind::Book, 4, ends, columns).unwrap();
    let error = converter.convert(&lacking).unwrap_err();
    assert!(error.to_string().contains("no column qty"), "{error}");
}

#[test]
fn values_that_contradict_the_schema_are_corrupt() {
    let broken = |index: usize, values: Values| {
        let (_, mut columns) = trades_of(&["a", "b"]).into_parts();
        columns[index].as_mut().unwrap().values = values;
        let batch = Batch::from_parts(Kind::Trades, 2, Buffer::default(), columns).unwrap();
        to_record_batch(&batch).unwrap_err()
    };

    let errors = [
        (broken(0, Values::I64(vec![1, NULL].into())), "ts_recv: value 1"),
        (broken(trades::PRICE, Values::I64(vec![NULL, 1].into())), "price: value 0"),
        (broken(trades::SIDE, Values::U8(vec![0, 3].into())), "code 3"),
        (broken(trades::SIDE, Values::U8(vec![0, 255].into())), "code 255"),
        (broken(trades::SIDE, Values::I64(vec![0, 1].into())), "not of the type"),
        (
            broken(
                trades::TRADE_ID,
                Values::Text(TextValues { ends: vec![2, 1].into(), bytes: vec![65; 2].into() }),
            ),
            "overlap",
        ),
        (
            broken(
                trades::TRADE_ID,
                Values::Text(TextValues { ends: vec![1, 3].into(), bytes: vec![65; 2].into() }),
            ),
            "outside",
        ),
    ];
    for (error, text) in errors {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn text_that_is_not_utf8_is_binary_or_refused_by_row() {
    let (_, mut columns) = status_of(&["a", "b"]).into_parts();
    let mut texts = TextValues::default();
    texts.push(b"ok");
    // Two halves of one character: UTF-8 together, but not each.
    texts.push(&"é".as_bytes()[..1]);
    columns[status::DETAIL].as_mut().unwrap().values = Values::Text(texts);
    let batch = Batch::from_parts(Kind::Status, 2, Buffer::default(), columns).unwrap();

    let alone = to_record_batch(&batch).unwrap();
    assert_eq!(alone.column(status::DETAIL).data_type().to_string(), "Dictionary(Int32, Binary)");
    for texts in [TextAs::Plain, TextAs::Dictionary] {
        let options = Options { texts, ..Options::default() };
        let converter = Converter::new(Kind::Status, None, &[0; 4], &options).unwrap();
        let error = converter.convert(&batch).unwrap_err();
        assert!(error.to_string().contains("row 1 is not UTF-8"), "{error}");
    }
}

#[test]
fn each_message_is_read_after_the_schema_alone_although_dictionaries_differ() {
    let batches = [status_of(&["a", "b", "a"]), status_of(&["c"]), status_of(&["b", "c"])];
    let converter = Converter::new(Kind::Status, None, &[0; 4], &Options::default()).unwrap();
    let encoder = Encoder::new(converter.schema().clone()).unwrap();
    let mut stream = IpcStream::begin(Vec::new(), converter.schema().clone()).unwrap();

    for batch in &batches {
        let record_batch = converter.convert(batch).unwrap();
        let keys = record_batch.column(status::DETAIL).as_dictionary::<Int32Type>().clone();
        assert!(keys.values().len() <= 2, "equal texts are kept once");
        stream.write(&record_batch).unwrap();
        let mut decoder = Decoder::new();
        decoder.decode(encoder.schema_message().clone()).unwrap();
        assert_eq!(decoder.schema(), Some(converter.schema()));
        let back = decoder.decode(encoder.encode(&record_batch).unwrap()).unwrap();
        assert_eq!(back, [record_batch]);
    }
    let bytes = stream.finish().unwrap();

    assert!(bytes.ends_with(&END));
    let read = arrow::ipc::reader::StreamReader::try_new(&bytes[..], None).unwrap();
    let back: Vec<_> =
        read.map(|batch| from_record_batch(Kind::Status, &batch.unwrap()).unwrap()).collect();
    assert!(back.iter().zip(&batches).all(|(a, b)| same_values_at_scale(a, b)));
}

fn same_values_at_scale(a: &Batch, b: &Batch) -> bool {
    let mut b = b.clone();
    (0..b.schema().columns.len()).for_each(|index| b.raise_scale(index, a.scale(index)).unwrap());
    same_values(a, &b)
}

#[test]
fn files_hold_plain_text_and_refuse_dictionaries_and_other_schemas() {
    let converter = Converter::new(Kind::Status, None, &[0; 4], &Options::for_files()).unwrap();
    let mut file = IpcFile::begin(Vec::new(), converter.schema()).unwrap();
    for ids in [&["a", "b"][..], &["c"]] {
        file.write(&converter.convert(&status_of(ids)).unwrap()).unwrap();
    }
    let other = to_record_batch(&sample()).unwrap();
    assert_eq!(file.write(&other).unwrap_err().kind(), ErrorKind::Invalid);
    let bytes = file.finish().unwrap();

    let read = arrow::ipc::reader::FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
    let rows: usize = read.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 3);

    let keyed = Converter::new(Kind::Status, None, &[0; 4], &Options::default()).unwrap();
    let error = IpcFile::begin(Vec::new(), keyed.schema()).err().unwrap();
    assert!(error.to_string().contains("column detail"), "{error}");
}

#[test]
fn a_target_that_refuses_is_an_io_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let schema = to_record_batch(&sample()).unwrap().schema();

    assert_eq!(IpcFile::begin(Full, &schema).err().unwrap().kind(), ErrorKind::Io);
    assert_eq!(IpcStream::begin(Full, schema).err().unwrap().kind(), ErrorKind::Io);
}

/// A column of `sample` replaced.
fn with(name: &str, array: ArrayRef) -> RecordBatch {
    let batch = to_record_batch(&sample()).unwrap();
    let mut columns = batch.columns().to_vec();
    let mut fields: Vec<Field> =
        batch.schema_ref().fields().iter().map(|field| field.as_ref().clone()).collect();
    let at = batch.schema_ref().index_of(name).unwrap();
    fields[at] = Field::new(name, array.data_type().clone(), true);
    columns[at] = array;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn what_other_libraries_make_of_the_same_values_is_read() {
    let sides = ["bid", "bid", "ask", "ask"];
    let keys: DictionaryArray<UInt32Type> = sides.into_iter().collect();
    let arrays: [(&str, ArrayRef); 4] = [
        ("side", Arc::new(StringArray::from_iter_values(sides))),
        ("side", Arc::new(LargeStringArray::from_iter_values(sides))),
        ("side", Arc::new(StringViewArray::from_iter_values(sides))),
        ("side", Arc::new(keys)),
    ];
    for (name, array) in arrays {
        let batch = from_record_batch(Kind::Book, &with(name, array)).unwrap();
        assert!(same_values(&batch, &sample()));
    }
    let ids: [ArrayRef; 3] = [
        Arc::new(LargeStringArray::from_iter_values(["x", "y"])),
        Arc::new(StringViewArray::from_iter_values(["x", "y"])),
        Arc::new(["x", "y"].into_iter().collect::<DictionaryArray<UInt32Type>>()),
    ];
    for ids in ids {
        let field = Field::new("trade_id", ids.data_type().clone(), false);
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![ids]).unwrap();
        let batch = from_record_batch(Kind::Trades, &batch).unwrap();
        assert_eq!(batch.value(1, 1, trades::TRADE_ID), crate::event::Value::Text(b"y"));
    }
}

#[test]
fn decimals_of_any_precision_and_scale_are_read_exactly_or_refused() {
    let price = |values: [i128; 4], scale: i8| {
        let array = Decimal128Array::from_iter_values(values);
        let array = array.with_precision_and_scale(38, scale).unwrap();
        from_record_batch(Kind::Book, &with("price", Arc::new(array)))
            .map(|batch| (batch.i64s(book::PRICE).to_vec(), batch.scale(book::PRICE)))
    };
    let big = i128::from(i64::MAX);

    assert_eq!(price([15, 0, -25, 3], 1).unwrap(), (vec![15, 0, -25, 3], 1));
    assert_eq!(price([big, 0, 0, 0], 0).unwrap(), (vec![i64::MAX, 0, 0, 0], 0));
    let exact = 10i128.pow(20);
    assert_eq!(price([5 * exact, exact / 4, 0, 0], 20).unwrap(), (vec![500, 25, 0, 0], 2));
    assert_eq!(price([5, 0, -1, 3], -2).unwrap(), (vec![500, 0, -100, 300], 0));
    for (values, scale) in [
        ([big + 1, 0, 0, 0], 0),
        ([i128::from(NULL), 0, 0, 0], 0),
        ([1, 0, 0, 0], 19),
        ([1, 0, 0, 0], -19),
        ([1, 0, 0, 0], -127),
    ] {
        let error = price(values, scale).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        assert!(error.to_string().contains("price"), "{error}");
    }
}

#[test]
fn decimals_written_as_text_are_read_exactly_or_refused() {
    let texts = |prices: [Option<&str>; 4]| -> [ArrayRef; 4] {
        [
            Arc::new(StringArray::from_iter(prices)),
            Arc::new(LargeStringArray::from_iter(prices)),
            Arc::new(StringViewArray::from_iter(prices)),
            Arc::new(prices.into_iter().collect::<DictionaryArray<UInt32Type>>()),
        ]
    };
    for array in texts([Some("61701.20"), Some("0"), Some("-2.5"), Some("3e1")]) {
        let batch = from_record_batch(Kind::Book, &with("price", array)).unwrap();
        assert_eq!(batch.i64s(book::PRICE), [617_012, 0, -25, 300]);
        let column = batch.column(book::PRICE).unwrap();
        assert_eq!((column.scale, column.digits), (1, 2));
    }
    let mark = Field::new("mark", DataType::Utf8, true);
    let marks: ArrayRef = Arc::new(StringArray::from(vec![None, Some("0.5")]));
    let marks = RecordBatch::try_new(Arc::new(Schema::new(vec![mark])), vec![marks]).unwrap();
    let marks = from_record_batch(Kind::Ticker, &marks).unwrap();
    let at = Kind::Ticker.schema().column("mark").unwrap();
    assert_eq!((marks.i64s(at), marks.scale(at)), (&[NULL, 5][..], 1));

    for (price, kind, text) in [
        (Some("dear"), ErrorKind::Invalid, "row 2: number \"dear\""),
        (Some(""), ErrorKind::Invalid, "row 2: number \"\""),
        (Some("NaN"), ErrorKind::Invalid, "row 2: number \"NaN\""),
        (None, ErrorKind::Invalid, "row 2 has no value"),
        (Some("1e-19"), ErrorKind::Limit, "row 2: decimals"),
        (Some("9223372036854775807"), ErrorKind::Limit, "row 2: 9223372036854775807 does not fit"),
    ] {
        for array in texts([Some("1.5"), Some("0"), price, Some("1")]) {
            let error = from_record_batch(Kind::Book, &with("price", array)).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.text().contains("column price"), "{error}");
            assert!(error.text().contains(text), "{error}");
        }
    }
}

#[test]
fn what_is_no_batch_of_the_kind_is_refused_with_column_and_row() {
    let times = |values: Vec<Option<i64>>, zone: Option<&str>| {
        let array = TimestampNanosecondArray::from(values);
        Arc::new(array.with_timezone_opt(zone)) as ArrayRef
    };
    let rows = [Some(10), Some(10), Some(10), Some(11)];
    let bad: Vec<(&str, ArrayRef, &str)> = vec![
        ("ts_recv", times(rows.to_vec(), None), "expected Timestamp(ns, \"UTC\")"),
        ("ts_recv", times(rows.to_vec(), Some("Europe/Paris")), "expected Timestamp"),
        ("ts_recv", Arc::new(Int64Array::from(vec![1; 4])), "found Int64"),
        ("ts_recv", times(vec![Some(1), None, None, None], Some("UTC")), "row 1 has no value"),
        ("ts_recv", times(vec![Some(1), Some(1), Some(2), Some(2)], Some("UTC")), "row 2 differs"),
        ("ts_event", times(vec![Some(NULL); 4], Some("UTC")), "means no value"),
        ("price", Arc::new(Float64Array::from(vec![1.0; 4])), "floats are not exact"),
        ("side", Arc::new(StringArray::from(vec!["bid", "buy", "ask", "ask"])), "row 1 is \"buy\""),
        ("side", Arc::new(UInt8Array::from(vec![0; 4])), "found UInt8"),
        ("flags", Arc::new(UInt8Array::from(vec![2, 2, 3, 0])), "row 3 has no last row"),
        ("flags", Arc::new(UInt8Array::from(vec![2, 2, 3, 5])), "unknown bits 5"),
        ("flags", Arc::new(UInt8Array::from(vec![2, 0, 3, 1])), "row 1 differs"),
        ("flags", Arc::new(Int64Array::from(vec![1; 4])), "expected UInt8"),
    ];
    for (name, array, text) in bad {
        let error = from_record_batch(Kind::Book, &with(name, array)).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn columns_are_matched_by_name() {
    let batch = to_record_batch(&sample()).unwrap();
    let columns = batch.num_columns();

    let backwards = batch.project(&(0..columns).rev().collect::<Vec<_>>()).unwrap();
    assert_eq!(from_record_batch(Kind::Book, &backwards).unwrap(), sample());

    let some = batch.project(&[book::PRICE, book::FLAGS]).unwrap();
    let some = from_record_batch(Kind::Book, &some).unwrap();
    assert!(some.column(book::QTY).is_none());
    assert_eq!(some.i64s(book::PRICE), sample().i64s(book::PRICE));

    let error = from_record_batch(Kind::Book, &batch.project(&[book::PRICE]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("need the column flags"), "{error}");
    let error = from_record_batch(Kind::Trades, &batch).unwrap_err();
    assert!(error.to_string().contains("expected rows of trades"), "{error}");

    let strange = Field::new("x", DataType::Int64, false);
    let array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let schema = Arc::new(Schema::new(vec![strange]));
    let strange = RecordBatch::try_new(schema, vec![array.clone()]).unwrap();
    assert_eq!(from_record_batch(Kind::Book, &strange).unwrap_err().kind(), ErrorKind::NotFound);

    let twice = Field::new("venue_seq", DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![twice.clone(), twice]));
    let twice = RecordBatch::try_new(schema, vec![array.clone(), array]).unwrap();
    let error = from_record_batch(Kind::Quotes, &twice).unwrap_err();
    assert!(error.to_string().contains("comes twice"), "{error}");
}

#[test]
fn the_longest_message_and_text_are_read_and_the_next_longer_refused() {
    use crate::limit::{MESSAGE_ROWS_MAX, TEXT_BYTES_MAX};
    let message = |rows: usize| {
        let mut flags = vec![0; rows];
        flags[rows - 1] = FLAG_LAST;
        let flags: ArrayRef = Arc::new(UInt8Array::from(flags));
        let schema = Arc::new(Schema::new(vec![Field::new("flags", DataType::UInt8, false)]));
        from_record_batch(Kind::Book, &RecordBatch::try_new(schema, vec![flags]).unwrap())
    };
    assert_eq!(message(MESSAGE_ROWS_MAX).unwrap().messages(), 1);
    assert_eq!(message(MESSAGE_ROWS_MAX + 1).unwrap_err().kind(), ErrorKind::Limit);

    let text = |len_bytes: usize| {
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(len_bytes)]));
        let schema = Arc::new(Schema::new(vec![Field::new("trade_id", DataType::Utf8, false)]));
        from_record_batch(Kind::Trades, &RecordBatch::try_new(schema, vec![ids]).unwrap())
    };
    assert!(text(TEXT_BYTES_MAX).is_ok());
    assert_eq!(text(TEXT_BYTES_MAX + 1).unwrap_err().kind(), ErrorKind::Limit);
}
