//! The order of a replay is a property of its rows: the same from any place on, in any layout.

mod oracle;

use oracle::{Fold, Random, START, import, key};
use tickreel::event::{
    Batch, BatchBuilder, ContentHash, Kind, MessageHead, Side, StreamKey, TradeRow, TradeSide,
};
use tickreel::quantity::{Decimal, NULL};
use tickreel::replay::{Filter, Replay, ReplayOrder};
use tickreel::segment::{ColumnMask, WriterOptions};
use tickreel::store::{ImportOptions, LiveOptions, Snapshot, Store};
use tickreel::{ErrorKind, TsNs};

const SECOND: i64 = 1_000_000_000;
const ORDERS: [ReplayOrder; 2] = [ReplayOrder::Recv, ReplayOrder::Event];

/// Receive times with many ties, and event times that are late, missing, or nonsense.
struct Times {
    random: Random,
    recv: i64,
    late_max: i64,
}

impl Times {
    fn next(&mut self) -> (TsNs, Option<TsNs>) {
        self.recv += self.random.int(3) * self.random.int(400) * 1_000_000;
        let late = self.random.int(u64::try_from(self.late_max).unwrap());
        let event = match self.random.below(40) {
            0 => Some(TsNs(self.recv + 77 * 365 * 86_400 * SECOND)),
            1 => Some(TsNs(5)),
            2..8 => None,
            _ => Some(TsNs(self.recv - late)),
        };
        (TsNs(self.recv), event)
    }
}

fn times(seed: u64, late_max: i64) -> Times {
    Times { random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1), recv: START, late_max }
}

fn book(messages: usize, seed: u64, late_max: i64) -> Batch {
    let mut times = times(seed, late_max);
    let mut builder = BatchBuilder::new(Kind::Book);
    for message in 0..messages {
        let (ts_recv, ts_event) = times.next();
        let snapshot = message == 0 || times.random.below(30) == 0;
        builder.begin(MessageHead { ts_recv, ts_event, venue_seq: None, snapshot });
        for _ in 0..=times.random.below(4) {
            let price = Decimal::new(1000 + times.random.int(50), 1).unwrap();
            let side = if times.random.below(2) == 0 { Side::Bid } else { Side::Ask };
            builder.level(side, price, Decimal::new(times.random.int(5), 0).unwrap());
        }
        builder.end();
    }
    builder.finish().unwrap().pop().unwrap()
}

fn trades(rows: usize, seed: u64, late_max: i64) -> Batch {
    let mut times = times(seed, late_max);
    let mut builder = BatchBuilder::new(Kind::Trades);
    for _ in 0..rows {
        let (ts_recv, ts_event) = times.next();
        builder.trade(&TradeRow {
            ts_recv,
            ts_event,
            side: TradeSide::Buy,
            price: Decimal::new(7, 0).unwrap(),
            qty: Decimal::new(1, 0).unwrap(),
            trade_id: "",
        });
    }
    builder.finish().unwrap().pop().unwrap()
}

struct Streams(Vec<(StreamKey, Batch)>);

impl Streams {
    /// In the order that breaks ties: by instrument, then kind.
    fn sample() -> Self {
        Self(vec![
            (key("a:X", Kind::Book), book(500, 1, 2 * SECOND)),
            (key("a:X", Kind::Trades), trades(300, 2, SECOND / 2)),
            (key("b:X", Kind::Book), book(400, 3, 30 * SECOND)),
            (key("b:X", Kind::Trades), trades(200, 4, 1)),
        ])
    }

    fn keys(&self) -> Vec<StreamKey> {
        self.0.iter().map(|(key, _)| key.clone()).collect()
    }

    fn store(&self, block_rows: usize) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path()).unwrap();
        let writer = WriterOptions { block_rows, checkpoint_rows: Some(40) };
        let streams: Vec<_> = self.0.iter().map(|(key, batch)| (key.clone(), batch)).collect();
        import(&store, ImportOptions { replace: false, writer }, &streams, 70).unwrap();
        (folder, store)
    }

    /// Time of the order of each message of a stream, by the definition.
    fn order_times(&self, order: ReplayOrder, stream: usize) -> Vec<i64> {
        let batch = &self.0[stream].1;
        let mut highest = i64::MIN;
        let effective = batch.ts_recv().iter().zip(batch.i64s(1)).map(|(&recv, &event)| {
            highest = highest.max(if event == NULL { recv } else { event.min(recv) });
            highest
        });
        match order {
            ReplayOrder::Recv => batch.ts_recv().to_vec(),
            ReplayOrder::Event => effective.collect(),
        }
    }

    /// Time of the order, stream and message of everything, merged the slow way.
    fn merged(&self, order: ReplayOrder) -> Vec<(i64, usize, usize)> {
        let times: Vec<_> = (0..self.0.len()).map(|s| self.order_times(order, s)).collect();
        let mut next = vec![0; self.0.len()];
        let mut merged = Vec::new();
        loop {
            let waiting = (0..self.0.len()).filter(|&stream| next[stream] < times[stream].len());
            let turn = |&stream: &usize| {
                let (key, batch) = &self.0[stream];
                let message = next[stream];
                let first = batch.message_rows(message).start;
                let resets = key.kind == Kind::Book && batch.u8s(2)[first] == 1;
                let recv = batch.ts_recv()[message];
                (times[stream][message], recv, key.kind.rank(resets), stream)
            };
            let Some(stream) = waiting.min_by_key(turn) else { return merged };
            merged.push((times[stream][next[stream]], stream, next[stream]));
            next[stream] += 1;
        }
    }
}

/// Streams and messages of what is left of a replay, `first` being the next message of each stream.
fn rest(replay: &mut Replay, first: &[usize]) -> Vec<(usize, usize)> {
    let mut next = first.to_vec();
    let mut played = Vec::new();
    replay
        .play(true, |step| {
            for _ in step.messages() {
                played.push((step.stream, next[step.stream]));
                next[step.stream] += 1;
            }
            Ok(true)
        })
        .unwrap();
    played
}

/// The next message of each stream after the first `count` of `merged`.
fn places(merged: &[(i64, usize, usize)], count: usize) -> Vec<usize> {
    let mut next = vec![0; 4];
    merged[..count].iter().for_each(|(_, stream, message)| next[*stream] = message + 1);
    next
}

fn pairs(merged: &[(i64, usize, usize)]) -> Vec<(usize, usize)> {
    merged.iter().map(|(_, stream, message)| (*stream, *message)).collect()
}

#[test]
fn the_order_is_that_of_its_definition_from_any_time_on() {
    let streams = Streams::sample();
    for order in ORDERS {
        let merged = streams.merged(order);
        assert!(merged.is_sorted_by_key(|(time, _, _)| *time));
        for block_rows in [20, 65_536] {
            let (_folder, store) = streams.store(block_rows);
            let snapshot = store.snapshot().unwrap();
            let open = |range| snapshot.replay_by(order, &streams.keys(), range).unwrap();
            let mut whole = open(TsNs::MIN..TsNs::MAX);
            assert_eq!(rest(&mut whole, &[0; 4]), pairs(&merged));
            let mut random = Random(5);
            for _ in 0..60 {
                let count = usize::try_from(random.below(merged.len() as u64)).unwrap();
                let from = merged[count].0 + random.int(3) - 1;
                let skipped = merged.partition_point(|(time, _, _)| *time < from);
                let first = places(&merged, skipped);
                whole.seek(TsNs(from)).unwrap();
                check_books(&streams, &whole, &first);

                assert_eq!(rest(&mut whole, &first), pairs(&merged[skipped..]), "from {from}");

                let to = from + random.int(20) * SECOND;
                let end = merged.partition_point(|(time, _, _)| *time < to);
                let mut part = open(TsNs(from)..TsNs(to));
                assert_eq!(rest(&mut part, &first), pairs(&merged[skipped..end]));

                let range = TsNs(from)..TsNs(to);
                let mut rows = snapshot.replay_rows(order, &streams.keys(), range).unwrap();
                assert!(rows.book(0).is_none() && rows.book(2).is_none());
                rows.keep_books().unwrap();
                check_books(&streams, &rows, &first);
                assert_eq!(rest(&mut rows, &first), pairs(&merged[skipped..end]));
            }
        }
    }
}

/// The books of a replay are those after the messages before `next` of each stream.
fn check_books(streams: &Streams, replay: &Replay, next: &[usize]) {
    for stream in [0, 2] {
        let mut tracker = tickreel::book::Tracker::new();
        tracker.apply(&streams.0[stream].1, 0..next[stream]).unwrap();
        assert_eq!(Fold::of(replay.book(stream).unwrap()), Fold::of(&tracker));
        let (opening, _) = replay.opening_book(stream).unwrap();
        assert_eq!(Fold::of(&opening), Fold::of(&tracker));
    }
}

#[test]
fn a_replay_opens_with_the_book_of_an_import_before_and_after_a_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let (name, batch) = (key("test:BOOK", Kind::Book), book(400, 3, 1000));
    let resets = batch.u8s(tickreel::event::book::ACTION);
    let times = batch.ts_recv();
    let begins = |&message: &usize| {
        resets[batch.message_rows(message).start] == 1 && times[message - 1] < times[message]
    };
    let second = (150..400).find(begins).unwrap();
    for part in [0..second, second..400] {
        let part = batch.slice_messages(part);
        import(&store, ImportOptions::default(), &[(name.clone(), &part)], 100).unwrap();
    }
    let begin = TsNs(times[second]);
    let expected = Fold::at(&batch, begin.0 - 1);
    let check = || {
        let snapshot = store.snapshot().unwrap();
        let streams = std::slice::from_ref(&name);
        let range = begin..TsNs::MAX;
        let replay = snapshot.replay_by(ReplayOrder::Recv, streams, range).unwrap();
        assert_eq!(Fold::of(&replay.opening_book(0).unwrap().0), expected);
        let mut books = snapshot.books(&name.instrument).unwrap();
        assert_eq!(Fold::of(books.before(begin).unwrap()), expected);
    };

    check();
    let mut writer = store.writer(LiveOptions::default()).unwrap();
    let tasks = tickreel::compact::plan(&store.snapshot().unwrap(), &Default::default());
    for task in tasks {
        assert_eq!(task.segments.len(), 2);
        writer.rewrite(&task.segments, WriterOptions::default(), &mut |_| Ok(())).unwrap();
    }
    assert_eq!(store.snapshot().unwrap().stream_infos()[0].segments, 1);
    check();
}

#[test]
fn a_replay_goes_on_after_a_position_whatever_became_of_the_files() {
    let streams = Streams::sample();
    let (_one, small) = streams.store(20);
    let (_other, large) = streams.store(65_536);
    for order in ORDERS {
        let merged = streams.merged(order);
        let open = |store: &Store| {
            let snapshot = store.snapshot().unwrap();
            snapshot.replay_by(order, &streams.keys(), TsNs::MIN..TsNs::MAX).unwrap()
        };
        let mut whole = open(&small);
        let mut played = 0;
        let mut resumed = open(&large);
        loop {
            for each in [false, true] {
                let position = whole.position(each);
                assert!(each || position.len() <= 40, "{} bytes", position.len());
                let first = places(&merged, played);
                resumed.go_to(&position).unwrap();
                check_books(&streams, &resumed, &first);
                assert_eq!(resumed.position(each), position);
                assert_eq!(rest(&mut resumed, &first), pairs(&merged[played..]), "at {played}");
            }
            let before = whole.total();
            for _ in 0..7 {
                let Some(step) = whole.step(1).unwrap() else { break };
                let (stream, messages) = (step.stream, step.messages());
                whole.accept(stream, messages, true).unwrap();
                played += 1;
            }
            if whole.next_ts().is_none() && before == whole.total() {
                break;
            }
        }
        assert_eq!(played, merged.len());
        // The hash of a whole is that of its parts.
        resumed.seek(TsNs::MIN).unwrap();
        for _ in 0..played / 3 {
            let step = resumed.step(1).unwrap().unwrap();
            let (stream, messages) = (step.stream, step.messages());
            resumed.accept(stream, messages, true).unwrap();
        }
        let (begun, position): (ContentHash, _) = (resumed.total(), resumed.position(false));
        resumed.go_to(&position).unwrap();
        resumed.play(true, |_| Ok(true)).unwrap();
        assert_eq!(begun.then(resumed.total()), whole.total());
    }
}

#[test]
fn a_position_after_a_seek_and_before_the_first_row_is_kept_too() {
    let streams = Streams::sample();
    let (_folder, store) = streams.store(50);
    let snapshot = store.snapshot().unwrap();
    let merged = streams.merged(ReplayOrder::Event);
    let at = merged[merged.len() / 2].0;
    let mut replay = replay_of(&snapshot, ReplayOrder::Event, &streams.keys());
    replay.seek(TsNs(at)).unwrap();
    let position = replay.position(false);

    let mut resumed = replay_of(&snapshot, ReplayOrder::Event, &streams.keys());
    resumed.go_to(&position).unwrap();

    let skipped = merged.partition_point(|(time, _, _)| *time < at);
    assert_eq!(rest(&mut resumed, &places(&merged, skipped)), pairs(&merged[skipped..]));
}

#[test]
fn a_scan_leaves_out_blocks_that_hold_no_wanted_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let mut builder = BatchBuilder::new(Kind::Trades);
    for row in 0..100 {
        builder.trade(&TradeRow {
            ts_recv: TsNs(START + row),
            ts_event: None,
            side: TradeSide::Buy,
            price: Decimal::new(1000 + row * row, 1).unwrap(),
            qty: Decimal::new(1, 0).unwrap(),
            trade_id: "",
        });
    }
    let (name, batch) = (key("test:T", Kind::Trades), builder.finish().unwrap().pop().unwrap());
    let writer = WriterOptions { block_rows: 10, checkpoint_rows: None };
    import(&store, ImportOptions { replace: false, writer }, &[(name.clone(), &batch)], 7).unwrap();
    let damaged_in = |blocks: std::ops::Range<usize>| {
        let snapshot = store.snapshot().unwrap();
        let entry =
            snapshot.segments(snapshot.stream_id(&name.instrument, Kind::Trades).unwrap())[0];
        let segment = snapshot.open(&entry, Kind::Trades).unwrap();
        let mut bytes = std::fs::read(segment.path()).unwrap();
        for block in &segment.blocks()[blocks] {
            let start = usize::try_from(block.offset).unwrap();
            bytes[start..start + block.len as usize].fill(0x5a);
        }
        let copy = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("cp");
        command.arg("-r").args([folder.path(), copy.path()]);
        assert!(command.status().unwrap().success());
        let root = copy.path().join(folder.path().file_name().unwrap());
        let file = root.join(segment.path().strip_prefix(folder.path()).unwrap());
        std::fs::remove_file(&file).unwrap();
        std::fs::write(file, bytes).unwrap();
        (Store::open(&root).unwrap(), copy)
    };
    let rows = |store: &Store, conditions: &[&str]| -> tickreel::Result<usize> {
        let all = TsNs::MIN..TsNs::MAX;
        let filter = Filter::parse(Kind::Trades, conditions).unwrap();
        let snapshot = store.snapshot().unwrap();
        let scan = snapshot.scan(&name.instrument, Kind::Trades, all, ColumnMask::ALL).unwrap();
        let mut scan = scan.with_filter(filter);
        let mut rows = 0;
        while let Some(batch) = scan.next_batch()? {
            rows += batch.rows();
        }
        Ok(rows)
    };

    // Prices of 8 blocks are below 740, those of the last two are not.
    let (damaged, _copy) = damaged_in(0..8);
    assert_eq!(rows(&damaged, &["price>=740"]).unwrap(), 20);
    assert_eq!(rows(&damaged, &["price>=740", "price<742"]).unwrap(), 1);
    assert_eq!(rows(&damaged, &["price>=720"]).unwrap_err().kind(), ErrorKind::Corrupt);
    let (damaged, _copy) = damaged_in(8..10);
    assert_eq!(rows(&damaged, &["price<740"]).unwrap(), 80);
}

#[test]
fn a_scan_for_rows_that_are_rare_may_be_told_to_read_no_more_than_a_block() {
    let streams = Streams::sample();
    let (_folder, store) = streams.store(20);
    let snapshot = store.snapshot().unwrap();
    let (key, trades) = &streams.0[1];
    let open = |conditions: &[&str]| {
        let all = TsNs::MIN..TsNs::MAX;
        let filter = Filter::parse(Kind::Trades, conditions).unwrap();
        let scan = snapshot.scan(&key.instrument, Kind::Trades, all, ColumnMask::ALL);
        scan.unwrap().with_filter(filter)
    };
    for (condition, rows) in [("side=buy", trades.rows()), ("side=sell", 0)] {
        let (mut scan, mut blocks, mut wanted) = (open(&[condition]), 0, 0);
        while let Some(batch) = scan.next_block().unwrap() {
            assert!(batch.rows() <= 20);
            (blocks, wanted) = (blocks + 1, wanted + batch.rows());
        }
        assert!(blocks >= trades.rows() / 20, "{blocks} blocks");
        assert_eq!(wanted, rows, "{condition}");
    }
    assert!(open(&["side=sell"]).next_owned().unwrap().is_none());
}

#[test]
fn a_position_outside_the_range_is_refused_in_every_form() {
    let streams = Streams::sample();
    let (_folder, store) = streams.store(50);
    let snapshot = store.snapshot().unwrap();
    for order in ORDERS {
        let mut whole = replay_of(&snapshot, order, &streams.keys());
        let merged = streams.merged(order);
        let (early, late) = (merged[200].0, merged[1100].0);
        let mut part = snapshot.replay_by(order, &streams.keys(), TsNs(early)..TsNs(late)).unwrap();
        for (count, fits) in [(100, false), (700, true), (1300, false)] {
            whole.seek(TsNs(merged[count].0)).unwrap();
            let begun = whole.position(false);
            for _ in 0..20 {
                let step = whole.step(1).unwrap().unwrap();
                let (stream, messages) = (step.stream, step.messages());
                whole.accept(stream, messages, false).unwrap();
            }
            for position in [begun, whole.position(false), whole.position(true)] {
                let gone = part.go_to(&position).map_err(|error| error.kind());
                assert_eq!(gone, if fits { Ok(()) } else { Err(ErrorKind::Invalid) }, "{count}");
            }
        }
    }
}

fn replay_of(snapshot: &Snapshot, order: ReplayOrder, keys: &[StreamKey]) -> Replay {
    snapshot.replay_by(order, keys, TsNs::MIN..TsNs::MAX).unwrap()
}

#[test]
fn positions_of_other_replays_and_bytes_that_are_none_are_refused() {
    let streams = Streams::sample();
    let (_folder, store) = streams.store(50);
    let snapshot = store.snapshot().unwrap();
    let keys = streams.keys();
    let mut replay = replay_of(&snapshot, ReplayOrder::Recv, &keys);
    let step = replay.step(5).unwrap().unwrap();
    let (stream, messages) = (step.stream, step.messages());
    replay.accept(stream, messages, false).unwrap();
    let mut others = [
        replay_of(&snapshot, ReplayOrder::Recv, &keys[1..]),
        replay_of(&snapshot, ReplayOrder::Event, &keys),
    ];
    for each in [false, true] {
        let position = replay.position(each);
        for other in &mut others {
            assert_eq!(other.go_to(&position).unwrap_err().kind(), ErrorKind::Invalid);
        }
        for len in 0..position.len() {
            let error = replay.go_to(&position[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{len} bytes");
        }
        let mut longer = position.clone();
        longer.push(0);
        assert_eq!(replay.go_to(&longer).unwrap_err().kind(), ErrorKind::Invalid);
        // Whatever a byte is changed to, it is another place or an error.
        for at in 0..position.len() {
            for flip in [1, 0x40, 0x80] {
                let mut changed = position.clone();
                changed[at] ^= flip;
                if let Err(error) = replay.go_to(&changed) {
                    let kinds = [ErrorKind::Invalid, ErrorKind::Stale];
                    assert!(kinds.contains(&error.kind()), "{error}");
                }
            }
        }
    }
}

#[test]
fn rows_that_come_late_are_behind_the_position_of_a_replay_that_follows() {
    let streams = Streams::sample();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let mut writer = store.writer(LiveOptions::default()).unwrap();
    let mut random = Random(17);
    let mut at = [0usize; 4];
    for order in ORDERS {
        for (stream, (key, batch)) in streams.0.iter().enumerate() {
            let end = if order == ReplayOrder::Recv { 20 } else { at[stream] };
            if end > at[stream] {
                writer.append(key, &batch.slice_messages(at[stream]..end)).unwrap();
                at[stream] = end;
            }
        }
        writer.commit().unwrap();
        let mut replay = replay_of(&store.snapshot().unwrap(), order, &streams.keys());
        for _ in 0..30 {
            // One stream goes on alone, far ahead of others, which come later.
            let stream = usize::try_from(random.below(4)).unwrap();
            let (key, batch) = &streams.0[stream];
            let end =
                (at[stream] + 1 + usize::try_from(random.below(30)).unwrap()).min(batch.messages());
            if end > at[stream] {
                writer.append(key, &batch.slice_messages(at[stream]..end)).unwrap();
                writer.commit().unwrap();
                at[stream] = end;
            }
            let snapshot = store.snapshot().unwrap();
            replay.follow(&snapshot).unwrap();
            for _ in 0..random.below(60) {
                let Some(step) = replay.step(2).unwrap() else { break };
                let (stream, messages) = (step.stream, step.messages());
                replay.accept(stream, messages, true).unwrap();
            }
            let position = replay.position(true);
            let before = replay.stream_totals();
            let mut resumed = replay_of(&snapshot, order, &streams.keys());
            resumed.go_to(&position).unwrap();
            resumed.play(true, |_| Ok(true)).unwrap();
            let after = resumed.stream_totals();
            for (stream, (_, batch)) in streams.0.iter().enumerate() {
                let mut whole = ContentHash::EMPTY;
                whole.update(batch, 0..at[stream]);
                assert_eq!(before[stream].hash.then(after[stream].hash), whole);
            }
        }
    }
}
