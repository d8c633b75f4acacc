//! A segment says exactly what was written, at any place, or that it is damaged.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::book::Tracker;
use crate::disk::{HeapBytes, OsDisk};
use crate::error::ErrorKind;
use crate::event::{
    Batch, BatchBuilder, Column, ContentHash, Kind, MessageHead, Side, TextValues, TradeRow,
    TradeSide, Values, book,
};
use crate::format::segment::{BlockEntry, Footer, Header};
use crate::format::{Identity, Region, checksum};
use crate::limit;
use crate::quantity::{DAY_NS, Decimal, NULL, TsNs};

const IDENTITY: Identity = Identity { store_id: 77, segment_id: 5 };
const DAY: i32 = 19_943;

/// A small generator, so that tests need no seed of the clock.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn book_batch(messages: usize, seed: u64) -> Batch {
    let mut random = Random(seed | 1);
    let mut builder = BatchBuilder::new(Kind::Book);
    let mut ts = i64::from(DAY) * DAY_NS;
    for message in 0..messages {
        ts += random.below(4) as i64 * 1000;
        let snapshot = message == 0 || random.below(40) == 0;
        let event = (random.below(9) != 0).then(|| TsNs(ts - random.below(5000) as i64));
        builder.begin(MessageHead {
            ts_recv: TsNs(ts),
            ts_event: event,
            venue_seq: Some(message as i64 * 3),
            snapshot,
        });
        if !snapshot && random.below(30) == 0 {
            builder.gap(random.below(5));
        }
        for _ in 0..=random.below(6) {
            let side = if random.below(2) == 0 { Side::Bid } else { Side::Ask };
            let price = Decimal::new(1000 + random.below(60) as i64, 1).unwrap();
            let qty = Decimal::new(random.below(4) as i64 * 25, 2).unwrap();
            builder.level(side, price, qty);
        }
        builder.end();
    }
    builder.finish().unwrap().pop().unwrap()
}

fn write(batches: &[&Batch], options: WriterOptions) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("5.seg");
    let kind = batches[0].kind();
    let header = Header::new(IDENTITY, 3, DAY, kind);
    let mut writer = SegmentWriter::create(&OsDisk, &path, &header, kind, options, None).unwrap();
    for batch in batches {
        assert!(writer.takes(batch));
        writer.append(batch).unwrap();
    }
    let sealed = writer.finish().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(sealed.file_crc, crc32fast::hash(&bytes));
    assert_eq!(sealed.footer.file_len, bytes.len() as u64);
    bytes
}

fn open(bytes: &[u8]) -> crate::Result<Segment> {
    Segment::open(Arc::new(HeapBytes::new(bytes)), Path::new("5.seg"), None)
}

fn read_all(segment: &Segment) -> crate::Result<Batch> {
    let mut all = Batch::new(segment.kind());
    for block in 0..segment.blocks().len() {
        let part = segment.read(block, 0..u64::MAX, ColumnMask::ALL, Batch::new(segment.kind()))?;
        all.append(&part)?;
    }
    Ok(all)
}

const SMALL: WriterOptions = WriterOptions { block_rows: 100, checkpoint_rows: Some(30) };

#[test]
fn what_was_written_is_read_whatever_the_layout() {
    let batch = book_batch(700, 1);
    let mut hash = ContentHash::EMPTY;
    hash.update_all(&batch);
    for (block_rows, checkpoint_rows) in [(1, 1), (7, 3), (100, 30), (65_536, 8192)] {
        let options = WriterOptions { block_rows, checkpoint_rows: Some(checkpoint_rows) };
        let bytes = write(&[&batch], options);
        let segment = open(&bytes).unwrap();

        assert_eq!(read_all(&segment).unwrap(), batch);
        assert_eq!(segment.footer().content_hash, hash.value());
        segment.verify(Some(&Tracker::new())).unwrap();
        assert_eq!(bytes, write(&[&batch], options), "the same rows give the same bytes");
        let halves = [&batch.slice_messages(0..300), &batch.slice_messages(300..700)];
        assert_eq!(bytes, write(&halves, options), "however they arrive");
    }
}

#[test]
fn any_run_of_messages_and_columns_can_be_read() {
    let batch = book_batch(5000, 2);
    let segment = open(&write(&[&batch], WriterOptions::default())).unwrap();
    let mut random = Random(3);
    for _ in 0..200 {
        let start = random.below(5000);
        let end = start + random.below(5000 - start + 1);
        let block = segment.block_of(start);
        let part =
            segment.read(block, start..end, ColumnMask::ALL, Batch::new(Kind::Book)).unwrap();
        assert_eq!(part, batch.slice_messages(start as usize..start as usize + part.messages()));

        let only = ColumnMask::of(&[1, 5]);
        let part = segment.read(block, start..end, only, Batch::new(Kind::Book)).unwrap();
        assert!(part.column(0).is_none() && part.column(6).is_none());
        let whole = batch.slice_messages(start as usize..start as usize + part.messages());
        assert_eq!((part.i64s(1), part.i64s(5)), (whole.i64s(1), whole.i64s(5)));
    }
}

#[test]
fn every_time_and_every_book_is_found() {
    let batch = book_batch(700, 4);
    for options in [SMALL, WriterOptions { block_rows: 13, checkpoint_rows: Some(1) }] {
        let segment = open(&write(&[&batch], options)).unwrap();
        let times = batch.ts_recv();
        for ts in times.iter().flat_map(|&ts| [ts - 1, ts, ts + 1]) {
            let expected = times.partition_point(|&time| time < ts) as u64;
            assert_eq!(segment.first_message_at(ts).unwrap(), expected);
        }
        let mut fold = Tracker::new();
        let (mut restored, mut scratch) = (Tracker::new(), Batch::new(Kind::Book));
        for message in 0..=batch.messages() {
            segment.restore(message as u64, &mut restored, &mut scratch).unwrap();
            for side in [Side::Bid, Side::Ask] {
                assert!(restored.book().levels(side).eq(fold.book().levels(side)), "{message}");
            }
            assert_eq!(restored.state(), fold.state());
            assert_eq!(restored.ts_recv(), fold.ts_recv());
            assert_eq!(restored.venue_seq(), fold.venue_seq());
            if message < batch.messages() {
                fold.apply(&batch, message..message + 1).unwrap();
            }
        }
    }
}

#[test]
fn a_seek_replays_no_more_rows_than_the_footer_says() {
    let batch = book_batch(3000, 5);
    let segment = open(&write(&[&batch], SMALL)).unwrap();
    let checkpoints = segment.checkpoints();
    let rows_max = segment.footer().replay_rows_max;
    // With the rest of a message.
    let longest = (0..batch.messages()).map(|message| batch.message_rows(message).len()).max();
    assert!(rows_max < 30 + longest.unwrap() as u64, "{rows_max}");
    let ends = checkpoints.iter().skip(1).map(|entry| entry.row).chain([batch.rows() as u64]);
    for (entry, end) in checkpoints.iter().zip(ends) {
        assert!(end - entry.row <= rows_max);
    }
}

#[test]
fn every_flipped_bit_is_reported_and_never_changes_an_answer() {
    let batch = book_batch(25, 6);
    let bytes = write(&[&batch], WriterOptions { block_rows: 40, checkpoint_rows: Some(20) });
    let check = |bytes: &[u8]| -> crate::Result<Batch> {
        let segment = open(bytes)?;
        segment.verify(Some(&Tracker::new()))?;
        read_all(&segment)
    };
    assert_eq!(check(&bytes).unwrap(), batch);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = check(&damaged).expect_err(&format!("byte {} bit {}", bit / 8, bit % 8));
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error}");
        assert!(error.path().is_some() && error.byte_offset().is_some(), "{error}");
        if let Ok(segment) = open(&damaged)
            && let Ok(rows) = read_all(&segment)
        {
            assert_eq!(rows, batch, "bit {bit}: a different answer");
        }
    }
}

#[test]
fn every_cut_and_every_longer_file_is_reported() {
    let bytes = write(&[&book_batch(25, 7)], SMALL);
    for cut in 0..bytes.len() {
        assert!(open(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for extra in [1, 63, 64, 128] {
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + extra, 0);
        assert!(open(&longer).is_err());
    }
}

#[test]
fn a_file_that_is_not_the_one_expected_is_refused() {
    let bytes = write(&[&book_batch(25, 8)], SMALL);
    let segment = open(&bytes).unwrap();
    let expected = Expected {
        identity: IDENTITY,
        stream_id: 3,
        kind: Kind::Book,
        day: DAY,
        file_len: bytes.len() as u64,
        content_hash: segment.footer().content_hash,
        scales: [0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    let map: crate::disk::SharedBytes = Arc::new(HeapBytes::new(&bytes));
    let open = |expected| Segment::open(map.clone(), Path::new("x"), Some(&expected));
    assert!(open(expected).is_ok());
    let other_store = Identity { store_id: 1, ..IDENTITY };
    assert!(open(Expected { identity: other_store, ..expected }).is_err());
    assert!(open(Expected { stream_id: 4, ..expected }).is_err());
    assert!(open(Expected { day: 1, ..expected }).is_err());
    assert!(open(Expected { file_len: 1, ..expected }).is_err());
    assert!(open(Expected { content_hash: 1, ..expected }).is_err());
    let error = open(Expected { scales: [0; 16], ..expected }).unwrap_err();
    let text = "scales differ from the manifest's: expected 0x0, found 0x1";
    assert!(error.text().contains(text), "{error}");
    assert_eq!(error.byte_offset(), Some(segment.footer().schema_offset));
}

#[test]
fn rows_of_another_day_or_order_are_refused_and_a_finer_scale_needs_a_new_segment() {
    let folder = tempfile::tempdir().unwrap();
    let header = Header::new(IDENTITY, 3, DAY, Kind::Book);
    let create = |name: &str| {
        let path = folder.path().join(name);
        SegmentWriter::create(&OsDisk, &path, &header, Kind::Book, SMALL, None).unwrap()
    };
    let batch = book_batch(200, 9);

    let mut writer = create("a");
    writer.append(&batch).unwrap();
    assert!(writer.append(&batch).is_err(), "goes back in time");

    let level = |ts: i64, price: &str| {
        let mut builder = BatchBuilder::new(Kind::Book);
        builder.begin(MessageHead { ts_recv: TsNs(ts), ..MessageHead::default() });
        builder.level_text(Side::Bid, price, "1").unwrap();
        builder.end();
        builder.finish().unwrap().pop().unwrap()
    };
    let end = i64::from(DAY + 1) * DAY_NS;
    assert!(writer.append(&level(end, "1")).is_err(), "next day");
    assert!(writer.takes(&level(end - 1, "1.5")));
    assert!(!writer.takes(&level(end - 1, "1.55")), "a block is written at one decimal");
    assert!(create("b").takes(&level(end - 1, "1.55")));
    assert!(create("c").finish().is_err(), "no rows");
    assert!(WriterOptions { block_rows: 0, checkpoint_rows: Some(1) }.check().is_err());
    let limit = crate::limit::BLOCK_ROWS;
    assert!(WriterOptions { block_rows: limit, checkpoint_rows: Some(1) }.check().is_ok());
    assert!(WriterOptions { block_rows: limit + 1, checkpoint_rows: Some(1) }.check().is_err());
    let limit = crate::limit::CHECKPOINT_ROWS_MAX;
    assert!(WriterOptions { block_rows: 1, checkpoint_rows: Some(limit) }.check().is_ok());
    assert!(WriterOptions { block_rows: 1, checkpoint_rows: Some(limit + 1) }.check().is_err());
}

#[test]
fn kinds_without_messages_come_back_and_have_no_checkpoints() {
    let mut builder = BatchBuilder::new(Kind::Trades);
    for at in 0..3000i64 {
        builder.trade(&TradeRow {
            ts_recv: TsNs(i64::from(DAY) * DAY_NS + at * 7),
            ts_event: Some(TsNs(i64::from(DAY) * DAY_NS + at * 7 - 3)),
            side: TradeSide::Buy,
            price: Decimal::new(100 + at % 9, 2).unwrap(),
            qty: Decimal::new(1 + at % 4, 3).unwrap(),
            trade_id: &format!("{}", 5_000_000 + at),
        });
    }
    let batch = builder.finish().unwrap().pop().unwrap();
    let bytes = write(&[&batch], WriterOptions { block_rows: 1000, checkpoint_rows: Some(10) });
    let segment = open(&bytes).unwrap();

    assert!(segment.checkpoints().is_empty());
    assert_eq!(read_all(&segment).unwrap(), batch);
    assert!(segment.verify(None).unwrap().is_none());
    let error = segment.restore(0, &mut Tracker::new(), &mut Batch::new(Kind::Book));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    let block = segment.block_of(1500);
    let part = segment.read(block, 1500..1503, ColumnMask::ALL, Batch::new(Kind::Trades)).unwrap();
    assert_eq!(part, batch.slice_messages(1500..1503));
}

/// The bytes of a segment of one block after `change` of what it says of itself, with the checksums
/// of block index and footer made right.
fn forged(bytes: &[u8], change: impl FnOnce(&mut BlockEntry, &mut Footer)) -> Vec<u8> {
    let at = bytes.len() - size_of::<Footer>();
    let mut footer: Footer = bytemuck::pod_read_unaligned(&bytes[at..]);
    let index = footer.block_index_offset as usize;
    let index = index..index + size_of::<BlockEntry>();
    let mut block: BlockEntry = bytemuck::pod_read_unaligned(&bytes[index.clone()]);
    change(&mut block, &mut footer);
    footer.block_index_crc = checksum(IDENTITY, Region::BlockIndex, 0, bytemuck::bytes_of(&block));
    let mut forged = bytes.to_vec();
    forged[index].copy_from_slice(bytemuck::bytes_of(&block));
    forged[at..].copy_from_slice(bytemuck::bytes_of(&footer.sealed()));
    forged
}

#[test]
fn a_block_that_claims_more_rows_than_the_limit_is_refused() {
    let bytes = write(&[&book_batch(3, 10)], WriterOptions::default());
    let claimed = |rows: usize| {
        open(&forged(&bytes, |block, footer| {
            block.rows = rows as u32;
            footer.rows = rows as u64;
        }))
    };

    assert!(claimed(limit::BLOCK_ROWS_MAX).is_ok());
    let error = claimed(limit::BLOCK_ROWS_MAX + 1).unwrap_err();
    assert!(error.text().contains("block index is not in order"), "{error}");
}

#[test]
fn a_block_that_hides_its_resets_is_refused_by_a_seek() {
    let bytes = write(&[&book_batch(3, 10)], WriterOptions::default());
    let restore = |bytes: &[u8]| {
        open(bytes).unwrap().restore(3, &mut Tracker::new(), &mut Batch::new(Kind::Book))
    };

    assert!(restore(&bytes).is_ok());
    let error = restore(&forged(&bytes, |block, _| block.flags = 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.text().contains("gaps or resets"), "{error}");
}

/// Messages of one `raw` row each, with payloads of so many bytes.
fn raw_batch(payloads: &[usize]) -> Batch {
    let count = payloads.len();
    let mut texts = TextValues::default();
    payloads.iter().for_each(|&bytes| texts.push(&vec![b'x'; bytes]));
    let channels = TextValues { ends: vec![0; count].into(), ..TextValues::default() };
    let times = vec![i64::from(DAY) * DAY_NS; count];
    let columns = [
        Values::I64(times.into()),
        Values::I64(vec![NULL; count].into()),
        Values::Text(channels),
        Values::Text(texts),
    ];
    let column = |values| Some(Column { values, scale: 0, digits: 0 });
    let columns = columns.into_iter().map(column).collect();
    Batch::from_parts(Kind::Raw, count, Vec::new().into(), columns).unwrap()
}

#[test]
fn a_block_is_closed_by_its_bytes_of_text() {
    let quarter = limit::BLOCK_TEXT_BYTES / 4;
    for (payload, expected) in
        [(quarter, [4, 4, 1]), (quarter + 1, [4, 4, 1]), (quarter - 1, [5, 4, 0])]
    {
        let batch = raw_batch(&[payload; 9]);
        let bytes = write(&[&batch], WriterOptions::default());
        let segment = open(&bytes).unwrap();

        let blocks: Vec<u32> = segment.blocks().iter().map(|block| block.rows).collect();
        let expected: Vec<u32> = expected.into_iter().filter(|&rows| rows > 0).collect();
        assert_eq!(blocks, expected, "payloads of {payload} bytes");
        assert_eq!(read_all(&segment).unwrap(), batch);
        let parts = [&batch.slice_messages(0..2), &batch.slice_messages(2..9)];
        assert!(bytes == write(&parts, WriterOptions::default()), "however they arrive");
    }
}

#[test]
fn a_text_and_the_text_of_a_message_have_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let append = |name: &str, batch: &Batch| {
        let header = Header::new(IDENTITY, 3, DAY, batch.kind());
        let path = folder.path().join(name);
        let options = WriterOptions::default();
        SegmentWriter::create(&OsDisk, &path, &header, batch.kind(), options, None)
            .unwrap()
            .append(batch)
    };
    let error = append("a", &raw_batch(&[limit::TEXT_BYTES_MAX + 1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    append("b", &raw_batch(&[limit::TEXT_BYTES_MAX])).unwrap();

    // One message of order ids, each as long as a text may be. Only the places where they end are
    // there: the writer must decide by them, before it touches the text.
    let orders = |ids: usize| {
        let ends: Vec<u32> = (1..=ids).map(|id| (id * limit::TEXT_BYTES_MAX) as u32).collect();
        let ids_claimed = TextValues { ends: ends.into(), ..TextValues::default() };
        let time = i64::from(DAY) * DAY_NS;
        let columns = [
            Values::I64(vec![time].into()),
            Values::I64(vec![NULL].into()),
            Values::U8(vec![0; ids].into()),
            Values::U8(vec![0; ids].into()),
            Values::Text(ids_claimed),
            Values::I64(vec![0; ids].into()),
            Values::I64(vec![0; ids].into()),
            Values::U8(vec![0].into()),
            Values::I64(vec![NULL].into()),
        ];
        let column = |values| Some(Column { values, scale: 0, digits: 0 });
        let columns = columns.into_iter().map(column).collect();
        Batch::from_parts(Kind::Orders, ids, vec![ids as u32].into(), columns).unwrap()
    };
    let most = limit::MESSAGE_TEXT_BYTES_MAX / limit::TEXT_BYTES_MAX;
    append("c", &orders(most)).unwrap();
    let error = append("d", &orders(most + 1)).unwrap_err();
    assert!(error.text().contains("bytes of text in one message"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn a_book_that_no_checkpoint_can_hold_is_not_written() {
    let levels = limit::LEVELS_PER_SIDE_MAX as i64;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, levels: i64| {
        let mut builder = BatchBuilder::new(Kind::Book);
        for message in 0..2 {
            let ts_recv = TsNs(i64::from(DAY) * DAY_NS + message);
            let snapshot = message == 0;
            builder.begin(MessageHead { ts_recv, ts_event: None, venue_seq: None, snapshot });
            for price in 1..=if snapshot { levels } else { 1 } {
                let whole = |value| Decimal::new(value, 0).unwrap();
                builder.level(Side::Ask, whole(price), whole(1));
            }
            builder.end();
        }
        let batch = builder.finish().unwrap().pop().unwrap();
        let header = Header::new(IDENTITY, 3, DAY, Kind::Book);
        let path = folder.path().join(name);
        let mut writer =
            SegmentWriter::create(&OsDisk, &path, &header, Kind::Book, SMALL, None).unwrap();
        writer.append(&batch).and_then(|()| writer.finish())
    };
    write("a", levels).unwrap();
    let error = write("b", levels + 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.text().contains("levels of one side"), "{error}");
}

#[test]
fn rows_that_a_verifier_would_refuse_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let batch = book_batch(1, 11);
    let refused = |name: &str, column: usize, change: fn(&mut Values)| {
        let (ends, mut columns) = batch.clone().into_parts();
        change(&mut columns[column].as_mut().unwrap().values);
        let batch = Batch::from_parts(Kind::Book, batch.rows(), ends, columns).unwrap();
        let header = Header::new(IDENTITY, 3, DAY, Kind::Book);
        let path = folder.path().join(name);
        let writer = SegmentWriter::create(&OsDisk, &path, &header, Kind::Book, SMALL, None);
        let error = writer.unwrap().append(&batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.text().contains(name), "{error}");
    };
    fn first_code(values: &mut Values, code: u8) {
        let Values::U8(codes) = values else { panic!("no codes") };
        codes.to_mut()[0] = code;
    }
    fn first_number(values: &mut Values, number: i64) {
        let Values::I64(numbers) = values else { panic!("no numbers") };
        numbers.to_mut()[0] = number;
    }
    refused("a code has no name", book::ACTION, |values| first_code(values, 3));
    refused("a flag that is never stored", book::FLAGS, |values| first_code(values, 3));
    refused("null in a column that has none", book::QTY, |values| first_number(values, NULL));
    refused("does not begin with a reset", book::ACTION, |values| first_code(values, 0));
    refused("with values of a level", book::SIDE, |values| first_code(values, 1));
    refused("gap with values of a level", book::QTY, |values| first_number(values, 1));
}
