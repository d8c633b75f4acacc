//! Segments of every kind.

use std::path::Path;
use std::sync::Arc;

use tickreel::book::Tracker;
use tickreel::disk::{HeapBytes, OsDisk};
use tickreel::event::{
    Batch, BatchBuilder, Column, Kind, MessageHead, QuoteRow, Side, StatusRow, StatusWhat,
    TextValues, TickerRow, TradeRow, TradeSide, Values,
};
use tickreel::format::Identity;
use tickreel::format::segment::Header;
use tickreel::quantity::{DAY_NS, Decimal, NULL, TsNs};
use tickreel::segment::{Segment, SegmentWriter, WriterOptions};

use crate::Vector;
use crate::describe;

/// Store and segment of every vector.
pub const IDENTITY: Identity = Identity { store_id: 0x1122_3344_5566_7788, segment_id: 5 };
/// 2024-08-08.
pub const DAY: i32 = 19_943;
/// 2024-08-08T12:00:00Z.
pub const NOON: i64 = DAY as i64 * DAY_NS + DAY_NS / 2;

fn ts(ns: i64) -> TsNs {
    TsNs(NOON + ns)
}

fn dec(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn finish(mut builder: BatchBuilder) -> Batch {
    builder.finish().unwrap().pop().unwrap()
}

/// The file that holds `batch`.
pub fn write(batch: &Batch, options: WriterOptions, opening: Option<&Tracker>) -> Vec<u8> {
    write_as(batch, options, opening, |writer| writer)
}

fn write_as(
    batch: &Batch,
    options: WriterOptions,
    opening: Option<&Tracker>,
    prepare: fn(SegmentWriter) -> SegmentWriter,
) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("5.seg");
    let kind = batch.kind();
    let header = Header::new(IDENTITY, 3, DAY, kind);
    let writer = SegmentWriter::create(&OsDisk, &path, &header, kind, options, opening).unwrap();
    let mut writer = prepare(writer);
    writer.append(batch).unwrap();
    writer.finish().unwrap();
    std::fs::read(&path).unwrap()
}

pub fn open(bytes: &[u8]) -> tickreel::Result<Segment> {
    Segment::open(Arc::new(HeapBytes::new(bytes)), Path::new("5.seg"), None)
}

fn vector(
    name: &str,
    about: &str,
    batch: &Batch,
    options: WriterOptions,
    opening: Option<&Tracker>,
) -> Vector {
    described(name, about, batch, write(batch, options, opening), opening)
}

fn described(
    name: &str,
    about: &str,
    batch: &Batch,
    bytes: Vec<u8>,
    opening: Option<&Tracker>,
) -> Vector {
    let segment = open(&bytes).unwrap();
    segment.verify(opening).unwrap();
    let (toml, read) = describe::segment(about, &bytes, &segment);
    assert_eq!(&read, batch, "{name}");
    Vector::new(name, bytes, toml)
}

const DEFAULT: WriterOptions = WriterOptions { block_rows: 65_536, checkpoint_rows: None };
const SMALL: WriterOptions = WriterOptions { block_rows: 16, checkpoint_rows: Some(30) };

pub fn vectors() -> Vec<Vector> {
    let one = |batch: &Batch| {
        let kind = batch.kind();
        let name = format!("segment-{kind}-one-row");
        vector(&name, &format!("one row of {kind}"), batch, DEFAULT, None)
    };
    let mut vectors: Vec<Vector> = one_of_each().iter().map(one).collect();
    vectors.push(vector("segment-book-small", SMALL_ABOUT, &small_book(), SMALL, None));
    let mut opening = Tracker::new();
    opening.apply(&opening_book(), 0..1).unwrap();
    vectors.push(vector(
        "segment-book-continued",
        "a book segment that goes on where another ended: its first checkpoint is not empty",
        &one_book_row(),
        DEFAULT,
        Some(&opening),
    ));
    let compacted = mirrored_book();
    let bytes = write_as(&compacted, DEFAULT, None, SegmentWriter::compact);
    vectors.push(described(
        "segment-book-compacted",
        "a compacted book segment: pages of bins, prices as distances that are mirrored by side",
        &compacted,
        bytes,
        None,
    ));
    vectors.push(vector(
        "segment-trades-2500",
        "2,500 trades in 3 blocks: full groups, event times as distances, ids as integers and text",
        &many_trades(),
        WriterOptions { block_rows: 1100, checkpoint_rows: None },
        None,
    ));
    vectors.push(vector(
        "segment-orders-small",
        "order events in messages of 3, 1 and 2 rows, with a reset",
        &orders(
            &[
                ("reset", "bid", "", "0", "0"),
                ("add", "bid", "a1", "10.25", "1"),
                ("add", "ask", "a2", "10.50", "3"),
                ("modify", "ask", "a2", "10.50", "2"),
                ("fill", "ask", "a2", "10.50", "0.5"),
                ("cancel", "bid", "a1", "10.25", "1"),
            ],
            &[3, 4, 6],
        ),
        WriterOptions { block_rows: 3, checkpoint_rows: Some(1) },
        None,
    ));
    vectors
}

/// A book of 200 rows, most of them near the best prices.
fn mirrored_book() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    let mut random = 7u64;
    for message in 0..40 {
        builder.begin(MessageHead {
            ts_recv: ts(message * 20_000_000),
            ts_event: Some(ts(message * 20_000_000 - 3_000_000)),
            venue_seq: Some(500 + message),
            snapshot: message == 0,
        });
        for _ in 0..5 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let (side, far) = match random >> 40 & 1 {
                0 => (Side::Bid, -1),
                _ => (Side::Ask, 1),
            };
            let distance = 1 + i64::from((random >> 50).trailing_zeros().min(6)) * 9;
            let price = Decimal::new(61_700 + far * distance, 1).unwrap();
            let qty = [0, 25, 25, 1000][(random >> 45 & 3) as usize];
            builder.level(side, price, Decimal::new(qty, 3).unwrap());
        }
        builder.end();
    }
    finish(builder)
}

/// One row of every kind.
pub fn one_of_each() -> Vec<Batch> {
    vec![
        one_book_row(),
        one_trade(Kind::Trades),
        one_quote(),
        one_ticker(),
        one_trade(Kind::Liquidations),
        orders(&[("add", "ask", "o-17", "0.5", "2")], &[1]),
        one_status(),
        raw(),
    ]
}

pub fn one_book_row() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    builder.begin(MessageHead {
        ts_recv: ts(1_000),
        ts_event: Some(ts(-2_000_000)),
        venue_seq: Some(42),
        snapshot: false,
    });
    builder.level_text(Side::Bid, "-0.50", "12").unwrap();
    builder.end();
    finish(builder)
}

fn opening_book() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    builder.begin(MessageHead {
        ts_recv: TsNs(i64::from(DAY) * DAY_NS - 1),
        ts_event: None,
        venue_seq: Some(41),
        snapshot: true,
    });
    builder.level_text(Side::Bid, "-0.5", "7").unwrap();
    builder.level_text(Side::Bid, "-0.75", "1.5").unwrap();
    builder.level_text(Side::Ask, "0.25", "3").unwrap();
    builder.end();
    finish(builder)
}

fn one_trade(kind: Kind) -> Batch {
    let mut builder = BatchBuilder::new(kind);
    builder.trade(&TradeRow {
        ts_recv: ts(1_000),
        ts_event: Some(ts(-2_000_000)),
        side: TradeSide::Sell,
        price: dec("61234.5"),
        qty: dec("0.001"),
        trade_id: "T-1",
    });
    finish(builder)
}

fn one_quote() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Quotes);
    builder.quote(&QuoteRow {
        ts_recv: ts(1_000),
        ts_event: None,
        bid: None,
        ask: Some((dec("61234.5"), dec("2"))),
        venue_seq: Some(9),
    });
    finish(builder)
}

fn one_ticker() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Ticker);
    builder.ticker(&TickerRow {
        ts_recv: ts(1_000),
        ts_event: Some(ts(0)),
        last: Some(dec("61234.5")),
        mark: Some(dec("61230.12345678")),
        index: None,
        funding_rate: Some(dec("-0.0001")),
        predicted_funding_rate: None,
        funding_ts: Some(ts(4 * 3_600_000_000_000)),
        open_interest: Some(dec("123456789")),
    });
    finish(builder)
}

fn one_status() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Status);
    builder.status(&StatusRow {
        ts_recv: ts(1_000),
        ts_event: None,
        what: StatusWhat::Gap,
        detail: "expected 7, found 10 \u{2192} 3 missing",
    });
    finish(builder)
}

fn times(values: Vec<i64>) -> Column {
    Column { values: Values::I64(values.into()), scale: 0, digits: 0 }
}

fn codes(values: Vec<u8>) -> Column {
    Column { values: Values::U8(values.into()), scale: 0, digits: 0 }
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> Column {
    let mut texts = TextValues::default();
    values.into_iter().for_each(|value| texts.push(value.as_bytes()));
    Column { values: Values::Text(texts), scale: 0, digits: 0 }
}

fn decimals<'a>(values: impl IntoIterator<Item = &'a str>) -> Column {
    let mantissas = values.into_iter().map(|value| dec(value).mantissa_at(2).unwrap());
    Column { values: Values::I64(mantissas.collect::<Vec<_>>().into()), scale: 2, digits: 2 }
}

/// Rows of `action, side, order_id, price, qty` in messages that end before the rows `ends`.
fn orders(rows: &[(&str, &str, &str, &str, &str)], ends: &[u32]) -> Batch {
    let place = |names: &[&str], name: &str| names.iter().position(|n| *n == name).unwrap() as u8;
    let actions = ["add", "modify", "cancel", "fill", "reset"];
    let count = ends.len() as i64;
    let columns = vec![
        times((0..count).map(|at| NOON + at * 1000).collect()),
        times((0..count).map(|at| if at == 1 { NULL } else { NOON + at * 900 }).collect()),
        codes(rows.iter().map(|row| place(&actions, row.0)).collect()),
        codes(rows.iter().map(|row| place(&["bid", "ask"], row.1)).collect()),
        texts(rows.iter().map(|row| row.2)),
        decimals(rows.iter().map(|row| row.3)),
        decimals(rows.iter().map(|row| row.4)),
        codes((0..count).map(|at| if at == 0 && count > 1 { 2 } else { 0 }).collect()),
        times((0..count).map(|at| 100 + at).collect()),
    ];
    let columns = columns.into_iter().map(Some).collect();
    Batch::from_parts(Kind::Orders, rows.len(), ends.to_vec().into(), columns).unwrap()
}

fn raw() -> Batch {
    let columns = vec![
        times(vec![NOON]),
        times(vec![NULL]),
        texts(["depth@100ms"]),
        texts(["{\"e\":\"depthUpdate\",\"b\":[],\"a\":[]}"]),
    ];
    let columns = columns.into_iter().map(Some).collect();
    Batch::from_parts(Kind::Raw, 1, Vec::new().into(), columns).unwrap()
}

const SMALL_ABOUT: &str = "a book in many small blocks: snapshots, gaps of known and unknown \
    length, a reset with a gap in one message, messages of one receive time, nulls, negative \
    prices, several checkpoints";

/// 90 messages with something of everything.
fn small_book() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    let mut random = 12_345u64;
    let mut below = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    let mut now = 0;
    for message in 0..90i64 {
        now += below(3) as i64 * 1_000_000;
        let snapshot = matches!(message, 0 | 31 | 60);
        builder.begin(MessageHead {
            ts_recv: ts(now),
            ts_event: (message % 7 != 3).then(|| ts(now - 500_000 - below(400_000) as i64)),
            venue_seq: (message % 11 != 5).then_some(1000 + message * 2),
            snapshot,
        });
        match message {
            20 => builder.gap(4),
            25 | 50 => builder.gap(0),
            60 => builder.gap(1),
            70 => builder.reset(),
            _ => {}
        }
        let levels = if snapshot { 6 } else { 1 + below(3) };
        for _ in 0..levels {
            let (side, base) = if below(2) == 0 { (Side::Bid, -20) } else { (Side::Ask, 1) };
            let price = Decimal::new(base + below(20) as i64, 1).unwrap();
            builder.level(side, price, Decimal::new(below(5) as i64 * 25, 2).unwrap());
        }
        builder.end();
    }
    finish(builder)
}

fn many_trades() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Trades);
    for at in 0..2500i64 {
        let id = match at {
            0..2200 => (5_000_000 + at * 3).to_string(),
            _ => format!("{at:05}-x"),
        };
        let ts_recv = ts(at * 1_000_003 + (at * 7919 % 10_007) * (at * 104_729 % 89));
        let latency = 40_000 + at * 7919 % 1013;
        builder.trade(&TradeRow {
            ts_recv,
            ts_event: (at % 1000 != 7).then(|| TsNs(ts_recv.0 - latency)),
            side: [TradeSide::Buy, TradeSide::Sell, TradeSide::Unknown][(at * at % 3) as usize],
            price: Decimal::new(6_123_450 + (at * 7919 % 10_007) % 400 * 5, 2).unwrap(),
            qty: Decimal::new(1 + at * 31 % 97, 4).unwrap(),
            trade_id: &id,
        });
    }
    finish(builder)
}
