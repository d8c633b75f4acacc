//! Random markets as batches, and what a store must say of them, computed the slow and obvious way.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::collections::BTreeMap;

use tickreel::book::{State, Tracker};
use tickreel::event::{
    Action, Batch, BatchBuilder, Kind, MessageHead, Side, StreamKey, TradeRow, TradeSide, book,
};
use tickreel::store::{ImportOptions, ImportReport, Store};
use tickreel::{Decimal, Instrument, Result, TsNs};

/// 2024-08-08T23:00:00Z: an hour before a day border.
pub const START: i64 = 1_723_158_000_000_000_000;

/// A small generator; every test gives its seed.
pub struct Random(pub u64);

impl Random {
    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    /// A number below `n`, as `i64`.
    pub fn int(&mut self, n: u64) -> i64 {
        i64::try_from(self.below(n)).unwrap()
    }
}

/// The name of a stream.
pub fn key(instrument: &str, kind: Kind) -> StreamKey {
    StreamKey { instrument: Instrument::parse(instrument).unwrap(), kind }
}

/// A book stream: snapshots, deltas, gaps, equal times, missing event times, prices of one or two
/// decimals; about `step_ns` between messages.
pub fn book_stream(messages: usize, start: i64, step_ns: u64, seed: u64) -> Batch {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut builder = BatchBuilder::new(Kind::Book);
    let mut ts = start;
    let mut middle = 10_000i64;
    for message in 0..messages {
        ts += random.int(step_ns * 2) * random.int(2);
        middle += random.int(5) - 2;
        let snapshot = message == 0 || random.below(150) == 0;
        builder.begin(MessageHead {
            ts_recv: TsNs(ts),
            ts_event: (random.below(20) != 0).then(|| TsNs(ts - random.int(9_000_000))),
            venue_seq: (random.below(30) != 0).then_some(message as i64 * 2),
            snapshot,
        });
        if !snapshot && random.below(80) == 0 {
            builder.gap(random.below(4));
        }
        for _ in 0..=random.below(if snapshot { 60 } else { 5 }) {
            let side = if random.below(2) == 0 { Side::Bid } else { Side::Ask };
            let off = random.int(40) + 1;
            let price = if side == Side::Bid { middle - off } else { middle + off };
            let scale = u8::from(random.below(50) == 0);
            let price = Decimal::new(price, 1 + scale).unwrap();
            builder.level(side, price, Decimal::new(random.int(4) * 125, 3).unwrap());
        }
        builder.end();
    }
    builder.finish().unwrap().pop().unwrap()
}

/// A trade stream.
pub fn trade_stream(rows: usize, start: i64, step_ns: u64, seed: u64) -> Batch {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut builder = BatchBuilder::new(Kind::Trades);
    let mut ts = start;
    for row in 0..rows {
        ts += random.int(step_ns * 2) * random.int(2);
        builder.trade(&TradeRow {
            ts_recv: TsNs(ts),
            ts_event: Some(TsNs(ts - 1_000_000)),
            side: if random.below(2) == 0 { TradeSide::Buy } else { TradeSide::Sell },
            price: Decimal::new(1000 + random.int(100), 1).unwrap(),
            qty: Decimal::new(1 + random.int(9), 3).unwrap(),
            trade_id: &format!("t{row}"),
        });
    }
    builder.finish().unwrap().pop().unwrap()
}

/// Imports streams in chunks of `chunk` messages.
pub fn import(
    store: &Store,
    options: ImportOptions,
    streams: &[(StreamKey, &Batch)],
    chunk: usize,
) -> Result<ImportReport> {
    let mut import = store.import(options)?;
    for (key, batch) in streams {
        let mut message = 0;
        while message < batch.messages() {
            import.append(key, &batch.slice_messages(message..message + chunk))?;
            message += chunk;
        }
    }
    import.commit()
}

/// A book as two maps of exact decimals, and its state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fold {
    /// Highest last.
    pub bids: BTreeMap<Decimal, Decimal>,
    /// Lowest first.
    pub asks: BTreeMap<Decimal, Decimal>,
    /// Live, stale or empty.
    pub state: State,
    /// Times and sequence of the last message.
    pub last: Option<(i64, Option<i64>, Option<i64>)>,
}

impl Fold {
    /// Applies one message.
    pub fn apply(&mut self, batch: &Batch, message: usize) {
        let ts = batch.ts_recv()[message];
        let some = |value: i64| (value != tickreel::quantity::NULL).then_some(value);
        for row in batch.message_rows(message) {
            let action = batch.u8s(book::ACTION)[row];
            let decimal =
                |column: usize| Decimal::new(batch.i64s(column)[row], batch.scale(column)).unwrap();
            let (price, qty) = (decimal(book::PRICE), decimal(book::QTY));
            if action == Action::Reset as u8 {
                self.bids.clear();
                self.asks.clear();
                self.state = State::Live;
            } else if action == Action::Gap as u8 {
                let more = u64::try_from(qty.mantissa_at(0).unwrap()).unwrap();
                self.state = match self.state {
                    State::Stale { since, missing } => {
                        let known = missing != 0 && more != 0;
                        State::Stale { since, missing: if known { missing + more } else { 0 } }
                    }
                    _ => State::Stale { since: TsNs(ts), missing: more },
                };
            } else {
                let side = batch.u8s(book::SIDE)[row];
                let levels = if side == Side::Bid as u8 { &mut self.bids } else { &mut self.asks };
                if qty.is_zero() {
                    levels.remove(&price);
                } else {
                    levels.insert(price, qty);
                }
            }
        }
        let event = some(batch.i64s(book::TS_EVENT)[message]);
        self.last = Some((ts, event, some(batch.i64s(book::VENUE_SEQ)[message])));
    }

    /// The book after every message with `ts_recv <= at`.
    pub fn at(batch: &Batch, at: i64) -> Self {
        let mut fold = Self::default();
        let messages = batch.ts_recv().iter().take_while(|&&ts| ts <= at).count();
        (0..messages).for_each(|message| fold.apply(batch, message));
        fold
    }

    /// What a tracker says, in the same form.
    pub fn of(tracker: &Tracker) -> Self {
        let book = tracker.book();
        let levels = |side| {
            book.levels(side)
                .map(|(price, qty)| {
                    let price = Decimal::new(price, book.price_scale()).unwrap();
                    (price, Decimal::new(qty, book.qty_scale()).unwrap())
                })
                .collect()
        };
        Self {
            bids: levels(Side::Bid),
            asks: levels(Side::Ask),
            state: tracker.state(),
            last: tracker
                .ts_recv()
                .map(|ts| (ts.0, tracker.ts_event().map(|ts| ts.0), tracker.venue_seq())),
        }
    }
}
