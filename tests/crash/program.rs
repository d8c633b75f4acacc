//! Programs that use a store: what is done in which order, with which rows.

use std::ops::Range;

use tickreel::event::{
    Batch, BatchBuilder, Kind, MessageHead, Side, StreamKey, TradeRow, TradeSide,
};
use tickreel::quantity::DAY_NS;
use tickreel::segment::WriterOptions;
use tickreel::store::ImportOptions;
use tickreel::{Decimal, TsNs};

use crate::oracle::{Random, START, key};

/// Streams that programs write.
const STREAMS: usize = 3;
/// Parts of a stream's time; each is imported whole or replaced whole.
const SLOTS: i64 = 4;
/// Time of one slot. The first begins two minutes before a day border and reaches over it.
const SLOT_NS: i64 = 30 * 60_000_000_000;
/// Time between two messages; those of a slot fit it.
pub const STEP_NS: i64 = 60_000_000_000;
/// Messages of a slot.
pub const MESSAGES: usize = 8;

/// The stream with this number.
pub fn stream_key(stream: usize) -> StreamKey {
    match stream {
        0 => key("test:BOOK", Kind::Book),
        1 => key("test:BOOK", Kind::Trades),
        2 => key("other:T", Kind::Trades),
        _ => key(&format!("quiet:{stream}"), Kind::Trades),
    }
}

/// When the first slot begins, in ns.
pub const SLOTS_START: i64 = START - START % DAY_NS + DAY_NS - 120_000_000_000;
/// When the last slot is over, in ns.
pub const SLOTS_END: i64 = SLOTS_START + SLOTS * SLOT_NS;

/// Rows for one slot of one stream, by seed.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub stream: usize,
    pub slot: i64,
    pub seed: u64,
}

impl Slot {
    pub fn key(self) -> StreamKey {
        stream_key(self.stream)
    }

    pub fn times(self) -> Range<i64> {
        let start = SLOTS_START + self.slot * SLOT_NS;
        start..start + SLOT_NS
    }

    /// Every seed has the same times, so that a slot replaces itself whole, and other values.
    pub fn batch(self) -> Batch {
        let key = self.key();
        let mut random = Random((self.seed * 8 + self.stream as u64 + 1) << 20);
        let mut builder = BatchBuilder::new(key.kind);
        for (message, ts) in self.times().step_by(STEP_NS as usize).take(MESSAGES).enumerate() {
            let ts_recv = TsNs(ts);
            let ts_event = (random.below(5) != 0).then(|| TsNs(ts - random.int(1000)));
            let mut price = || Decimal::new(1000 + random.int(100), 1).unwrap();
            if key.kind == Kind::Trades {
                let (price, qty) = (price(), Decimal::new(1 + random.int(9), 3).unwrap());
                let trade_id = &format!("{}-{message}", self.seed);
                let side = TradeSide::Buy;
                builder.trade(&TradeRow { ts_recv, ts_event, side, price, qty, trade_id });
                continue;
            }
            let snapshot = message == 0;
            builder.begin(MessageHead { ts_recv, ts_event, venue_seq: Some(ts), snapshot });
            for side in [Side::Bid, Side::Ask, Side::Bid, Side::Ask] {
                builder.level(side, price(), Decimal::from_int(message as i64).unwrap());
            }
            builder.end();
        }
        builder.finish().unwrap().pop().unwrap()
    }
}

/// One thing that a program does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Lets go of the store and opens it anew.
    Open,
    /// Imports slots; a slot that is there already is refused without `replace`.
    Import { slots: Vec<Slot>, replace: bool },
    /// Begins an import of slots and drops it.
    Drop { slots: Vec<Slot> },
    /// Takes a snapshot, as another process does, and keeps it unread.
    Snapshot,
    /// Reads all snapshots that are held: each must be what it was.
    ReadSnapshots,
    /// Lets go of all snapshots.
    DropSnapshots,
    /// Appends rows live, so many nanoseconds after the last of their stream.
    Append { stream: usize, messages: usize, seed: u64, after_ns: i64 },
    /// Appends rows that are older than the last of their stream: they are refused.
    Late { stream: usize },
    /// Makes live rows durable.
    Commit,
    /// Seals all live rows.
    Seal,
    /// Seals what is due, and lets journal files go.
    Maintain,
    /// Drops the rows of a kind of all UTC days before one, counted from that of the first slot.
    DropBefore { kind: Kind, day: i32 },
    /// Writes the sealed rows of all days anew, also those that were compacted before if `again`.
    Compact { again: bool },
    /// Lets go of the writer with what it did not commit, and opens the store for writing anew.
    Reopen,
    /// Another process, which follows the store, looks at it.
    Follow,
    /// Asks for the book at some times, and for rows and messages from some time on.
    Seek { seed: u64 },
}

/// Slots with a seed for all.
fn slots(seed: u64, places: &[(usize, i64)]) -> Vec<Slot> {
    places.iter().map(|&(stream, slot)| Slot { stream, slot, seed }).collect()
}

/// Every step that changes what a store holds, with readers held across a replace.
pub fn canonical() -> Vec<Step> {
    let import = |seed, places: &[_], replace| Step::Import { slots: slots(seed, places), replace };
    vec![
        Step::Open,
        import(1, &[(0, 0), (1, 1)], false),
        Step::Snapshot,
        import(2, &[(1, 2)], false),
        import(3, &[(0, 0)], false),
        import(4, &[(0, 0)], true),
        Step::Snapshot,
        Step::ReadSnapshots,
        Step::Drop { slots: slots(5, &[(2, 0), (1, 3)]) },
        import(6, &[(0, 0), (1, 2), (2, 1)], true),
        Step::ReadSnapshots,
        Step::DropSnapshots,
        Step::Open,
        import(7, &[(0, 1)], false),
    ]
}

/// What a restarted program does first: it opens the store and writes to it.
pub fn recovery() -> Vec<Step> {
    let replaced = Step::Import { slots: slots(8, &[(0, 0)]), replace: true };
    vec![Step::Open, replaced, Step::Import { slots: slots(9, &[(2, 3)]), replace: true }]
}

/// Every way in which a live writer changes a store, with readers beside it: new streams, groups,
/// full journal files, more than four of them with quiet streams in the oldest, seals by size, age
/// of the day, memory and by order, a writer that is killed, an import in between.
pub fn live() -> Vec<Step> {
    let append = |stream, messages, seed| Step::Append { stream, messages, seed, after_ns: 1 };
    let mut program = vec![
        Step::Open,
        append(0, 2, 1),
        append(3, 1, 2),
        Step::Commit,
        Step::Follow,
        append(1, 3, 3),
        append(0, 1, 4),
        Step::Late { stream: 1 },
        append(4, 1, 5),
        Step::Commit,
    ];
    // Enough for several journal files; the quiet streams stay behind in the first.
    for seed in 6..12 {
        let messages = [9, 2][usize::try_from(seed % 2).unwrap()];
        program.extend([append(2, messages, seed), append(1, 1, seed), Step::Maintain]);
    }
    program.extend([
        Step::Follow,
        Step::Snapshot,
        append(0, 3, 20),
        Step::Commit,
        Step::Append { stream: 1, messages: 2, seed: 21, after_ns: DAY_NS },
        Step::Maintain,
        append(3, 1, 22),
        Step::Seal,
        Step::Seek { seed: 23 },
        append(0, 2, 24),
        append(4, 2, 25),
        Step::Commit,
        append(1, 2, 26),
        Step::Reopen,
        append(1, 2, 27),
        Step::Commit,
        Step::Follow,
        Step::Follow,
        Step::ReadSnapshots,
        Step::Import { slots: slots(28, &[(0, 0), (2, 1)]), replace: true },
        append(0, 2, 29),
        append(5, 1, 30),
        Step::Commit,
        Step::Follow,
        append(2, 9, 31),
        append(2, 9, 32),
        append(2, 1, 33),
        Step::Commit,
        Step::Follow,
        Step::ReadSnapshots,
    ]);
    program
}

/// What a live writer does that is restarted.
pub fn live_recovery() -> Vec<Step> {
    vec![
        Step::Reopen,
        Step::Append { stream: 0, messages: 2, seed: 50, after_ns: 1 },
        Step::Commit,
        Step::Append { stream: 6, messages: 1, seed: 51, after_ns: 1 },
        Step::Maintain,
        Step::Follow,
    ]
}

/// Days that are dropped by a live writer: of streams with rows before and after them, with rows
/// that are not sealed or not committed, with nothing else; under readers; of a book that goes on.
pub fn retention() -> Vec<Step> {
    let append = |stream, messages, seed| Step::Append { stream, messages, seed, after_ns: 1 };
    let next_day = |stream, seed| Step::Append { stream, messages: 2, seed, after_ns: DAY_NS };
    let drop = |kind, day| Step::DropBefore { kind, day };
    vec![
        Step::Open,
        Step::Import { slots: slots(1, &[(0, 0), (1, 0), (2, 0)]), replace: false },
        append(0, 1, 2),
        append(1, 1, 3),
        Step::Commit,
        Step::Snapshot,
        // The first day is sealed. The second is not, where there are live rows: they stay.
        drop(Kind::Trades, 2),
        Step::Follow,
        Step::ReadSnapshots,
        Step::DropSnapshots,
        Step::Seal,
        next_day(0, 5),
        append(1, 1, 6),
        // The book of the day before goes on; one row of a trade is not committed.
        drop(Kind::Book, 3),
        drop(Kind::Trades, 3),
        Step::Follow,
        Step::Reopen,
        append(2, 1, 8),
        append(0, 1, 9),
        Step::Seal,
        drop(Kind::Trades, 4),
        drop(Kind::Book, 4),
        append(0, 1, 11),
        Step::Commit,
        Step::Follow,
    ]
}

/// Segments that become fewer while a live writer goes on: of several imports and seals in a day,
/// of books with gaps, under readers, of what was compacted before; what is compacted is dropped,
/// or continued by rows that are sealed or not.
pub fn compaction() -> Vec<Step> {
    let append = |stream, messages, seed| Step::Append { stream, messages, seed, after_ns: 1 };
    let import = |seed, places: &[_]| Step::Import { slots: slots(seed, places), replace: false };
    let compact = |again| Step::Compact { again };
    vec![
        Step::Open,
        import(1, &[(0, 0), (1, 0)]),
        append(0, 3, 3),
        append(1, 2, 4),
        Step::Seal,
        append(0, 2, 6),
        Step::Snapshot,
        compact(false),
        Step::ReadSnapshots,
        Step::Follow,
        Step::Seek { seed: 1 },
        append(1, 1, 8),
        Step::Seal,
        compact(false),
        Step::ReadSnapshots,
        Step::DropSnapshots,
        compact(true),
        Step::Follow,
        Step::DropBefore { kind: Kind::Trades, day: 1 },
        Step::Reopen,
        compact(false),
        append(0, 1, 12),
        Step::Commit,
        Step::Follow,
    ]
}

/// A program that leaves a small store with segments and a journal of acknowledged rows.
pub fn small_live(seed: u64) -> Vec<Step> {
    let append =
        |stream, messages, seed| Step::Append { stream, messages, seed, after_ns: seed as i64 };
    vec![
        Step::Open,
        append(1, 2, seed),
        Step::Seal,
        append(0, 1, seed + 1),
        append(1, 1, seed + 2),
        Step::Commit,
        append(1, 6, seed + 3),
        Step::Commit,
        append(0, 1, seed + 4),
        Step::Commit,
    ]
}

/// A program that leaves a small store of two streams.
pub fn small(seed: u64) -> Vec<Step> {
    vec![Step::Open, Step::Import { slots: slots(seed, &[(0, 1), (2, 1)]), replace: false }]
}

/// A program that leaves a small store of which one segment was compacted, and no journal.
pub fn small_compacted(seed: u64) -> Vec<Step> {
    let import = |seed, place| Step::Import { slots: slots(seed, &[place]), replace: false };
    vec![Step::Open, import(seed, (0, 1)), Step::Compact { again: true }, import(seed + 1, (1, 0))]
}

/// A program of up to `steps` steps.
pub fn random(random: &mut Random, steps: u64) -> Vec<Step> {
    let mut program = vec![Step::Open];
    for _ in 0..=random.below(steps) {
        let slots = (0..=random.below(3)).map(|_| Slot {
            stream: usize::try_from(random.below(STREAMS as u64)).unwrap(),
            slot: random.int(SLOTS as u64),
            seed: random.below(1000),
        });
        // Streams take their slots in order, each once.
        let mut slots: Vec<Slot> = slots.collect();
        slots.sort_by_key(|slot| (slot.stream, slot.slot));
        slots.dedup_by_key(|slot| slot.stream);
        let stream = usize::try_from(random.below(6)).unwrap();
        let seed = random.below(1000);
        program.push(match random.below(40) {
            0 => Step::Open,
            1 => Step::Drop { slots },
            2 | 3 => Step::Snapshot,
            4 => Step::ReadSnapshots,
            5 => Step::DropSnapshots,
            6 => Step::Import { slots, replace: false },
            7 => {
                let kind = [Kind::Book, Kind::Trades][usize::try_from(seed % 2).unwrap()];
                Step::DropBefore { kind, day: random.int(5) as i32 }
            }
            8..12 => Step::Import { slots, replace: true },
            12 | 13 => Step::Reopen,
            14..18 => Step::Follow,
            18 => Step::Seek { seed },
            19 => Step::Late { stream },
            20 => Step::Seal,
            39 => Step::Compact { again: seed.is_multiple_of(2) },
            21..24 => Step::Maintain,
            24..29 => Step::Commit,
            _ => {
                let messages = usize::try_from(random.below(6)).unwrap() + 1;
                let after_ns = [0, 1, STEP_NS, DAY_NS][usize::try_from(seed % 16 / 5).unwrap()];
                Step::Append { stream, messages, seed, after_ns }
            }
        });
    }
    program
}

/// Small blocks and many checkpoints, so that little rows make all parts of a file.
pub fn options(replace: bool) -> ImportOptions {
    ImportOptions { replace, writer: WriterOptions { block_rows: 32, checkpoint_rows: Some(16) } }
}
