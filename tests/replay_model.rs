//! Every answer of a store equals the fold of all rows from the beginning.

mod oracle;

use oracle::{Fold, Random, START, book_stream, import, key, trade_stream};
use tickreel::event::{
    Batch, BatchBuilder, Column, ContentHash, FLAG_SNAPSHOT, Kind, StreamKey, TextValues, TradeRow,
    TradeSide, Values,
};
use tickreel::quantity::{Decimal, NULL};
use tickreel::replay::{Replay, Step};
use tickreel::segment::{ColumnMask, WriterOptions};
use tickreel::store::{ImportOptions, Snapshot, Store};
use tickreel::{ErrorKind, TsNs};

const HOUR: i64 = 3_600_000_000_000;

fn options(block_rows: usize, checkpoint_rows: u64) -> ImportOptions {
    let checkpoint_rows = Some(checkpoint_rows);
    ImportOptions { replace: false, writer: WriterOptions { block_rows, checkpoint_rows } }
}

/// Two hours across a day border: about 4,000 messages.
fn sample() -> Batch {
    book_stream(4000, START, 3_600_000_000, 42)
}

fn store_with(
    streams: &[(StreamKey, &Batch)],
    options: ImportOptions,
) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    import(&store, options, streams, 333).unwrap();
    (folder, store)
}

fn times(batch: &Batch, count: usize, seed: u64) -> Vec<i64> {
    let mut random = Random(seed);
    let known = batch.ts_recv();
    let (first, last) = (known[0], known[known.len() - 1]);
    let border = (first / 86_400_000_000_000 + 1) * 86_400_000_000_000;
    let mut times =
        vec![i64::MIN + 1, first - 1, first, last, last + 1, i64::MAX, border, border - 1];
    for _ in 0..count {
        let message = usize::try_from(random.below(known.len() as u64)).unwrap();
        times.extend([known[message] - 1, known[message], known[message] + 1]);
        times.push(first + random.int(u64::try_from(last - first).unwrap()));
    }
    times
}

#[test]
fn the_book_at_any_time_equals_the_fold_for_any_layout() {
    let batch = sample();
    let book = key("test:BOOK", Kind::Book);
    let mut folds = std::collections::BTreeMap::new();
    for layout in [options(50, 7), options(1000, 100), options(65_536, 8192)] {
        let (_folder, store) = store_with(&[(book.clone(), &batch)], layout);
        let snapshot = store.snapshot().unwrap();
        assert!(snapshot.segments(0).len() >= 2, "crosses a day border");
        let mut books = snapshot.books(&book.instrument).unwrap();
        for at in times(&batch, 150, 7) {
            let expected = folds.entry(at).or_insert_with(|| Fold::at(&batch, at));
            assert_eq!(&Fold::of(books.at(TsNs(at)).unwrap()), expected, "at {at}");
            let alone = snapshot.book_at(&book.instrument, TsNs(at)).unwrap();
            assert_eq!(&Fold::of(&alone), expected, "alone, at {at}");
        }
    }
}

#[test]
fn sampled_books_equal_single_ones() {
    let batch = sample();
    let book = key("test:BOOK", Kind::Book);
    let (_folder, store) = store_with(&[(book.clone(), &batch)], options(500, 60));
    let snapshot = store.snapshot().unwrap();
    for every in [HOUR / 7, HOUR / 333] {
        let (from, to) = (TsNs(START - HOUR / 9), TsNs(START + 3 * HOUR));
        let mut sample = snapshot.books(&book.instrument).unwrap().sample(from, to, every).unwrap();
        let expected = (to.0 - from.0 + every - 1) / every;
        assert_eq!(i64::try_from(sample.remaining()).unwrap(), expected);
        let mut count = 0;
        while let Some((at, tracker)) = sample.next_book().unwrap() {
            assert_eq!(at.0, from.0 + count * every);
            let single = snapshot.book_at(&book.instrument, at).unwrap();
            assert_eq!(Fold::of(tracker), Fold::of(&single));
            count += 1;
        }
        assert_eq!(count, expected);
    }
    assert!(snapshot.books(&book.instrument).unwrap().sample(TsNs(0), TsNs(1), 0).is_err());
}

fn scan_all(snapshot: &Snapshot, key: &StreamKey, from: i64, to: i64) -> Batch {
    let mut all = Batch::new(key.kind);
    let range = TsNs(from)..TsNs(to);
    let mut scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL).unwrap();
    while let Some(batch) = scan.next_batch().unwrap() {
        all.append(batch).unwrap();
    }
    all
}

#[test]
fn a_scan_gives_exactly_the_rows_of_its_range() {
    let batch = sample();
    let book = key("test:BOOK", Kind::Book);
    let (_folder, store) = store_with(&[(book.clone(), &batch)], options(300, 60));
    let snapshot = store.snapshot().unwrap();
    let known = batch.ts_recv();
    for pair in times(&batch, 60, 9).windows(2) {
        let (from, to) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
        let start = known.partition_point(|&ts| ts < from);
        let end = known.partition_point(|&ts| ts < to);
        let mut expected = batch.slice_messages(start..end);
        let found = scan_all(&snapshot, &book, from, to);
        for column in [tickreel::event::book::PRICE, tickreel::event::book::QTY] {
            expected.raise_scale(column, found.scale(column)).unwrap();
        }
        assert_eq!((found.rows(), found.messages()), (expected.rows(), expected.messages()));
        let mut hashes = [ContentHash::EMPTY; 2];
        hashes[0].update_all(&found);
        hashes[1].update_all(&expected);
        assert_eq!(hashes[0], hashes[1]);
    }
}

/// Every message of every stream, sorted the slow way.
fn merged(streams: &[(StreamKey, &Batch)], from: i64, to: i64) -> Vec<(i64, u8, usize, usize)> {
    let mut order = Vec::new();
    for (place, (key, batch)) in streams.iter().enumerate() {
        // The rank counts where a stream waits for its turn; inside a stream order is kept, so a
        // message never overtakes one before it.
        for (message, &ts) in batch.ts_recv().iter().enumerate() {
            if (from..to).contains(&ts) {
                let first = batch.message_rows(message).start;
                let resets = key.kind == Kind::Book && batch.u8s(2)[first] == 1;
                order.push((ts, key.kind.rank(resets), place, message));
            }
        }
    }
    // A k-way merge by (ts, rank, place) of streams that keep their own order.
    let mut next = vec![0; streams.len()];
    let per_stream: Vec<Vec<_>> = (0..streams.len())
        .map(|place| order.iter().filter(|o| o.2 == place).copied().collect())
        .collect();
    let mut merged = Vec::new();
    while let Some(best) = (0..streams.len())
        .filter_map(|place| per_stream[place].get(next[place]))
        .min_by_key(|(ts, rank, place, _)| (*ts, *rank, *place))
    {
        next[best.2] += 1;
        merged.push(*best);
    }
    merged
}

/// Plays everything from `from` on: time, stream and number of each message.
fn played(
    replay: &mut Replay,
    streams: &[(StreamKey, &Batch)],
    from: i64,
) -> Vec<(i64, usize, usize)> {
    let before = |(_, batch): &(_, &Batch)| batch.ts_recv().partition_point(|&ts| ts < from);
    let mut next: Vec<usize> = streams.iter().map(before).collect();
    let mut played = Vec::new();
    let each = |step: &Step<'_>| {
        for message in step.messages() {
            played.push((step.batch.ts_recv()[message], step.stream, next[step.stream]));
            next[step.stream] += 1;
        }
        Ok(true)
    };
    replay.play(true, each).unwrap();
    played
}

#[test]
fn messages_of_one_time_come_in_the_same_order_wherever_blocks_end() {
    // About four messages to a time, two to a block of the first layout.
    let books = [book_stream(900, START, 1, 21), book_stream(700, START, 1, 22)];
    let trades = [trade_stream(800, START, 1, 23), trade_stream(300, START, 1, 24)];
    let streams = [
        (key("a:X", Kind::Book), &books[0]),
        (key("a:X", Kind::Trades), &trades[0]),
        (key("b:X", Kind::Book), &books[1]),
        (key("b:Y", Kind::Trades), &trades[1]),
    ];
    let names: Vec<StreamKey> = streams.iter().map(|(key, _)| key.clone()).collect();
    let expected: Vec<_> =
        merged(&streams, START, i64::MAX).into_iter().map(|(ts, _, p, m)| (ts, p, m)).collect();
    for layout in [options(4, 4), options(40, 9), options(65_536, 8192)] {
        let (_folder, store) = store_with(&streams, layout);
        let all = TsNs::MIN..TsNs::MAX;
        let mut replay = store.snapshot().unwrap().replay(&names, all).unwrap();
        assert_eq!(played(&mut replay, &streams, START), expected);
        for (place, (key, batch)) in streams.iter().enumerate() {
            if key.kind == Kind::Book {
                let fold = Fold::at(batch, i64::MAX);
                assert_eq!(Fold::of(replay.book(place).unwrap()), fold);
            }
        }
    }
}

#[test]
fn only_the_messages_that_come_next_are_accepted() {
    let books = [book_stream(9, START, 1000, 31), book_stream(9, START, 1000, 32)];
    let streams = [(key("a:X", Kind::Book), &books[0]), (key("b:X", Kind::Book), &books[1])];
    let names: Vec<StreamKey> = streams.iter().map(|(key, _)| key.clone()).collect();
    let (_folder, store) = store_with(&streams, options(40, 9));
    let mut replay = store.snapshot().unwrap().replay(&names, TsNs::MIN..TsNs::MAX).unwrap();

    let step = replay.step(usize::MAX).unwrap().unwrap();
    let (stream, messages) = (step.stream, step.messages());
    for (stream, messages) in [
        (1 - stream, messages.clone()),
        (stream, messages.start..messages.end + 1),
        (stream, messages.start + 1..messages.end + 1),
        (7, messages.clone()),
    ] {
        let error = replay.accept(stream, messages, true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    replay.accept(stream, messages, true).unwrap();
    replay.play(true, |_| Ok(true)).unwrap();
    let rows: u64 = books.iter().map(|batch| batch.rows() as u64).sum();
    assert_eq!(replay.total().rows(), rows);
}

#[test]
fn a_replay_merges_in_the_total_order_with_books_and_a_stable_hash() {
    let books =
        [book_stream(900, START, 5_000_000_000, 1), book_stream(700, START, 7_000_000_000, 2)];
    let trades =
        [trade_stream(800, START, 6_000_000_000, 3), trade_stream(300, START, 9_000_000_000, 4)];
    let streams = [
        (key("a:X", Kind::Book), &books[0]),
        (key("a:X", Kind::Trades), &trades[0]),
        (key("b:X", Kind::Book), &books[1]),
        (key("b:Y", Kind::Trades), &trades[1]),
    ];
    let names: Vec<StreamKey> = streams.iter().map(|(key, _)| key.clone()).collect();
    let mut hashes = Vec::new();
    for layout in [options(40, 9), options(65_536, 8192)] {
        let (_folder, store) = store_with(&streams, layout);
        let snapshot = store.snapshot().unwrap();
        for (from, to) in [(START, i64::MAX), (START + HOUR / 3, START + HOUR), (0, START)] {
            let mut replay = snapshot.replay(&names, TsNs(from)..TsNs(to)).unwrap();
            for opening in replay.books() {
                let (_, batch) = streams.iter().find(|(key, _)| key == opening.key).unwrap();
                assert_eq!(Fold::of(opening.book), Fold::at(batch, from - 1));
            }
            let expected: Vec<_> =
                merged(&streams, from, to).into_iter().map(|(ts, _, p, m)| (ts, p, m)).collect();
            assert_eq!(played(&mut replay, &streams, from), expected);
            for (place, (key, batch)) in streams.iter().enumerate() {
                if key.kind == Kind::Book {
                    let fold = Fold::at(batch, to - 1);
                    assert_eq!(Fold::of(replay.book(place).unwrap()), fold);
                }
            }
            hashes.push((from, replay.total(), replay.stream_totals()));
        }
    }
    assert_eq!(hashes[..3], hashes[3..], "the layout does not change the hash");
    assert_ne!(hashes[0].1, hashes[1].1);
}

#[test]
fn a_cursor_resumes_without_a_lost_or_doubled_row() {
    let books =
        [book_stream(400, START, 5_000_000_000, 11), book_stream(300, START, 7_000_000_000, 12)];
    let trades = trade_stream(200, START, 6_000_000_000, 13);
    let streams = [
        (key("a:X", Kind::Book), &books[0]),
        (key("b:X", Kind::Book), &books[1]),
        (key("b:X", Kind::Trades), &trades),
    ];
    let names: Vec<StreamKey> = streams.iter().map(|(key, _)| key.clone()).collect();
    let (_folder, store) = store_with(&streams, options(30, 9));
    let snapshot = store.snapshot().unwrap();
    let range = TsNs(START + HOUR / 20)..TsNs(START + HOUR / 2);
    let mut whole = snapshot.replay(&names, range.clone()).unwrap();
    let mut cursors = vec![whole.cursor()];
    let mut count = 0;
    while let Some(step) = whole.step(3).unwrap() {
        let (stream, messages) = (step.stream, step.messages());
        whole.accept(stream, messages, true).unwrap();
        count += 1;
        if count % 17 == 0 {
            cursors.push(whole.cursor());
        }
    }
    cursors.push(whole.cursor());
    for cursor in cursors {
        let mut resumed = snapshot.replay(&names, range.clone()).unwrap();
        resumed.resume(&cursor).unwrap();
        assert_eq!(resumed.cursor(), cursor);
        resumed.play(true, |_| Ok(true)).unwrap();
        assert_eq!(resumed.total(), whole.total());
        for place in [0, 1] {
            assert_eq!(
                Fold::of(resumed.book(place).unwrap()),
                Fold::of(whole.book(place).unwrap())
            );
        }
    }
    let cursor = whole.cursor();
    let mut other = snapshot.replay(&names[..1], range).unwrap();
    assert_eq!(other.resume(&cursor).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn gaps_are_listed_with_their_ends() {
    let batch = sample();
    let book = key("test:BOOK", Kind::Book);
    let (_folder, store) = store_with(&[(book.clone(), &batch)], options(100, 50));
    let coverage = store.snapshot().unwrap().coverage(&book.instrument).unwrap();

    let mut expected = Vec::new();
    let mut fold = Fold::default();
    for message in 0..batch.messages() {
        let before = fold.state;
        let mut after_rows = fold.clone();
        after_rows.apply(&batch, message);
        fold = after_rows;
        use tickreel::book::State;
        match (before, fold.state) {
            (State::Stale { .. }, State::Live) => {
                let gap: &mut (i64, Option<i64>, u64) = expected.last_mut().unwrap();
                gap.1 = Some(batch.ts_recv()[message]);
            }
            (State::Stale { .. }, State::Stale { missing, .. }) => {
                expected.last_mut().unwrap().2 = missing;
            }
            (_, State::Stale { since, missing }) => expected.push((since.0, None, missing)),
            _ => {}
        }
    }
    let found: Vec<_> = coverage[0]
        .gaps
        .iter()
        .map(|gap| (gap.since.0, gap.until.map(|ts| ts.0), gap.missing))
        .collect();
    assert!(expected.len() > 5);
    assert_eq!(found, expected);
    assert_eq!(coverage[0].spans.len(), 1);
    assert_eq!(coverage[0].spans[0].rows, batch.rows() as u64);
    let missing = store.snapshot().unwrap().coverage(&"a:B".parse().unwrap()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

/// Messages of `orders`, one row each: receive time and whether it is a reset.
fn order_stream(messages: &[(i64, bool)]) -> Batch {
    let count = messages.len();
    let times = messages.iter().map(|&(ts, _)| ts).collect::<Vec<_>>();
    let reset = Kind::Orders.reset_code().unwrap();
    let actions = messages.iter().map(|&(_, resets)| if resets { reset } else { 0 });
    let mut ids = TextValues::default();
    (0..count).for_each(|at| ids.push(format!("o{at}").as_bytes()));
    let flags = messages.iter().map(|&(_, resets)| if resets { FLAG_SNAPSHOT } else { 0 });
    let columns = [
        Values::I64(times.into()),
        Values::I64(vec![NULL; count].into()),
        Values::U8(actions.collect::<Vec<_>>().into()),
        Values::U8(vec![0; count].into()),
        Values::Text(ids),
        Values::I64(vec![0; count].into()),
        Values::I64(vec![0; count].into()),
        Values::U8(flags.collect::<Vec<_>>().into()),
        Values::I64(vec![NULL; count].into()),
    ];
    let column = |values| Some(Column { values, scale: 0, digits: 0 });
    let ends = (1..=u32::try_from(count).unwrap()).collect::<Vec<_>>();
    let columns = columns.into_iter().map(column).collect();
    Batch::from_parts(Kind::Orders, count, ends.into(), columns).unwrap()
}

#[test]
fn an_order_message_that_resets_comes_before_trades_and_another_after_liquidations() {
    let orders = key("test:X", Kind::Orders);
    let (trades, forced) = (key("test:X", Kind::Trades), key("test:X", Kind::Liquidations));
    // At one time: a reset, then an order that is added; later an order, then a reset that waits
    // for it.
    let (a, b) = (START, START + 1000);
    let order_rows = order_stream(&[(a, true), (a, false), (b, false), (b, true)]);
    let trade_rows = |kind| {
        let mut builder = BatchBuilder::new(kind);
        for ts in [a, b] {
            let one = Decimal::parse("1").unwrap();
            builder.trade(&TradeRow {
                ts_recv: TsNs(ts),
                ts_event: None,
                side: TradeSide::Buy,
                price: one,
                qty: one,
                trade_id: "",
            });
        }
        builder.finish().unwrap().pop().unwrap()
    };
    let (prints, liquidations) = (trade_rows(Kind::Trades), trade_rows(Kind::Liquidations));
    let streams =
        [(orders.clone(), &order_rows), (trades.clone(), &prints), (forced.clone(), &liquidations)];
    let (_folder, store) = store_with(&streams, ImportOptions::default());

    let names = [orders, trades, forced];
    let mut replay = store.snapshot().unwrap().replay(&names, TsNs::MIN..TsNs::MAX).unwrap();
    let mut played = Vec::new();
    replay
        .play(false, |step| {
            for message in step.messages() {
                let resets = step.key.kind == Kind::Orders
                    && step.batch.u8s(2)[message] == Kind::Orders.reset_code().unwrap();
                let name = if resets { "reset" } else { step.key.kind.name() };
                played.push((step.batch.ts_recv()[message] - START, name));
            }
            Ok(true)
        })
        .unwrap();

    assert_eq!(
        played,
        [
            (0, "reset"),
            (0, "trades"),
            (0, "liquidations"),
            (0, "orders"),
            (1000, "trades"),
            (1000, "liquidations"),
            (1000, "orders"),
            (1000, "reset"),
        ]
    );
    assert!(store.verify(|_, _| ()).unwrap().damage.is_empty());
}
