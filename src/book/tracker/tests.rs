//! The tracker against a fold over the rows, one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ErrorKind;
use crate::event::{BatchBuilder, Column, MessageHead, Values};
use crate::quantity::Decimal;

/// One row of a message, in whole lots and ticks of a scale chosen later.
#[derive(Clone, Copy, Debug)]
enum Row {
    Set(Side, i64, i64),
    Reset,
    Gap(u64),
}

type Message = (bool, Vec<Row>);

fn decimal(mantissa: i64, scale: u8) -> Decimal {
    Decimal::new(mantissa, scale).unwrap()
}

/// A batch of messages at receive times `first_ts`, `first_ts + 10`, ...
fn batch(first_ts: i64, scales: (u8, u8), messages: &[Message]) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    for (index, (snapshot, rows)) in messages.iter().enumerate() {
        let ts = first_ts + 10 * index as i64;
        builder.begin(MessageHead {
            ts_recv: TsNs(ts),
            ts_event: (index % 2 == 0).then_some(TsNs(ts - 3)),
            venue_seq: (index % 3 == 0).then_some(ts * 2),
            snapshot: *snapshot,
        });
        for row in rows {
            match *row {
                Row::Set(side, price, qty) => {
                    builder.level(side, decimal(price, scales.0), decimal(qty, scales.1));
                }
                Row::Reset => builder.reset(),
                Row::Gap(missing) => builder.gap(missing),
            }
        }
        builder.end();
    }
    builder.finish().unwrap().pop().unwrap()
}

/// The definition: rows one by one, values as decimals.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fold {
    levels: [BTreeMap<Decimal, Decimal>; 2],
    state: State,
    ts_recv: Option<TsNs>,
}

impl Fold {
    fn apply(&mut self, ts: i64, snapshot: bool, scales: (u8, u8), rows: &[Row]) {
        if !snapshot && rows.is_empty() {
            return;
        }
        self.ts_recv = Some(TsNs(ts));
        let opening = snapshot.then_some(Row::Reset);
        for row in opening.iter().chain(rows) {
            match *row {
                Row::Set(side, price, qty) => {
                    let levels = &mut self.levels[side as usize];
                    match qty {
                        0 => levels.remove(&decimal(price, scales.0)),
                        _ => levels.insert(decimal(price, scales.0), decimal(qty, scales.1)),
                    };
                }
                Row::Reset => {
                    self.levels = Default::default();
                    self.state = State::Live;
                }
                Row::Gap(missing) => {
                    self.state = match self.state {
                        State::Stale { since, missing: before } if before == 0 || missing == 0 => {
                            State::Stale { since, missing: 0 }
                        }
                        State::Stale { since, missing: before } => {
                            State::Stale { since, missing: before + missing }
                        }
                        _ => State::Stale { since: TsNs(ts), missing },
                    }
                }
            }
        }
    }
}

#[track_caller]
fn assert_same(tracker: &Tracker, fold: &Fold) {
    let book = tracker.book();
    let value = |(price, qty)| (decimal(price, book.price_scale()), decimal(qty, book.qty_scale()));
    let bids: Vec<_> = fold.levels[0].iter().rev().map(|(&p, &q)| (p, q)).collect();
    let asks: Vec<_> = fold.levels[1].iter().map(|(&p, &q)| (p, q)).collect();
    assert_eq!(book.levels(Side::Bid).map(value).collect::<Vec<_>>(), bids);
    assert_eq!(book.levels(Side::Ask).map(value).collect::<Vec<_>>(), asks);
    assert_eq!(book.best(Side::Bid).map(value), bids.first().copied());
    assert_eq!(book.best(Side::Ask).map(value), asks.first().copied());
    assert_eq!(tracker.state(), fold.state);
    assert_eq!(tracker.ts_recv(), fold.ts_recv);
}

fn row() -> impl Strategy<Value = Row> {
    let side = prop_oneof![Just(Side::Bid), Just(Side::Ask)];
    prop_oneof![
        30 => (side, -40i64..40, 0i64..6).prop_map(|(side, price, qty)| Row::Set(side, price, qty)),
        1 => Just(Row::Reset),
        1 => (0u64..4).prop_map(Row::Gap),
    ]
}

type Program = Vec<((u8, u8), Vec<Message>)>;

/// Batches of messages, each batch with its own scales.
fn program() -> impl Strategy<Value = Program> {
    let message = (prop::bool::weighted(0.1), prop::collection::vec(row(), 0..8));
    let scales = (0u8..4, 0u8..4);
    prop::collection::vec((scales, prop::collection::vec(message, 1..20)), 1..6)
}

/// Applies the messages of a batch in pieces that end at `cuts`.
fn apply_in_pieces(tracker: &mut Tracker, batch: &Batch, cuts: &[usize]) {
    let mut start = 0;
    for cut in cuts.iter().map(|cut| cut % (batch.messages() + 1)).chain([batch.messages()]) {
        if cut >= start {
            tracker.apply(batch, start..cut).unwrap();
            start = cut;
        }
    }
}

proptest! {
    #[test]
    fn a_tracker_is_the_fold_of_all_rows(
        program in program(),
        cuts in prop::collection::vec(0usize..20, 0..4),
    ) {
        let (mut whole, mut each, mut pieces) = (Tracker::new(), Tracker::new(), Tracker::new());
        let mut fold = Fold::default();
        let mut ts = 1000;
        for (scales, messages) in &program {
            if messages.iter().all(|(snapshot, rows)| !snapshot && rows.is_empty()) {
                continue;
            }
            let batch = batch(ts, *scales, messages);
            let mut folds = Vec::new();
            for (index, (snapshot, rows)) in messages.iter().enumerate() {
                fold.apply(ts + 10 * index as i64, *snapshot, *scales, rows);
                // A message without rows leaves no trace in a batch.
                if *snapshot || !rows.is_empty() {
                    folds.push(fold.clone());
                }
            }
            let mut called = 0;
            each.apply_each(&batch, 0..batch.messages(), |message, tracker| {
                assert_eq!(message, called);
                called += 1;
                assert_same(tracker, &folds[message]);
            }).unwrap();
            prop_assert_eq!(called, batch.messages());
            whole.apply(&batch, 0..usize::MAX).unwrap();
            apply_in_pieces(&mut pieces, &batch, &cuts);
            ts += 10_000;
            for tracker in [&whole, &pieces, &each] {
                assert_same(tracker, &fold);
                prop_assert_eq!(tracker.ts_event(), each.ts_event());
                prop_assert_eq!(tracker.venue_seq(), each.venue_seq());
            }
        }
    }

    #[test]
    fn a_checkpoint_restores_the_tracker_it_was_taken_from(program in program()) {
        let mut tracker = Tracker::new();
        for (index, (scales, messages)) in program.iter().enumerate() {
            if messages.iter().any(|(snapshot, rows)| *snapshot || !rows.is_empty()) {
                tracker.apply(&batch(1000 * index as i64, *scales, messages), 0..99).unwrap();
            }
        }
        let mut restored = Tracker::new();
        let after = batch(0, (6, 6), &[(false, vec![Row::Set(Side::Bid, 7, 7)])]);
        restored.apply(&after, 0..1).unwrap();

        restore_from(&mut restored, &tracker).unwrap();

        let (book, expected) = (restored.book(), tracker.book());
        for side in [Side::Bid, Side::Ask] {
            prop_assert!(book.levels(side).eq(expected.levels(side)));
        }
        prop_assert_eq!(book.price_scale(), expected.price_scale());
        prop_assert_eq!(book.qty_scale(), expected.qty_scale());
        prop_assert_eq!(restored.state(), tracker.state());
        prop_assert_eq!(restored.ts_recv(), tracker.ts_recv());
        prop_assert_eq!(restored.ts_event(), tracker.ts_event());
        prop_assert_eq!(restored.venue_seq(), tracker.venue_seq());
    }
}

fn restore_from(restored: &mut Tracker, tracker: &Tracker) -> Result<()> {
    let (mut bid_prices, mut bid_qtys) = (Vec::new(), Vec::new());
    let (mut ask_prices, mut ask_qtys) = (Vec::new(), Vec::new());
    tracker.book().write_levels(Side::Bid, &mut bid_prices, &mut bid_qtys);
    tracker.book().write_levels(Side::Ask, &mut ask_prices, &mut ask_qtys);
    restored.restore(&Checkpoint {
        price_scale: tracker.book().price_scale(),
        qty_scale: tracker.book().qty_scale(),
        bid_prices: &bid_prices,
        bid_qtys: &bid_qtys,
        ask_prices: &ask_prices,
        ask_qtys: &ask_qtys,
        state: tracker.state(),
        ts_recv: tracker.ts_recv(),
        ts_event: tracker.ts_event(),
        venue_seq: tracker.venue_seq(),
    })
}

const BID: Row = Row::Set(Side::Bid, 10, 1);

#[test]
fn a_book_is_empty_then_live_then_stale_until_the_next_reset() {
    let mut tracker = Tracker::new();
    let messages = [
        (false, vec![BID]),
        (true, vec![BID]),
        (false, vec![Row::Gap(3), BID]),
        (false, vec![Row::Gap(4)]),
        (false, vec![Row::Reset, BID]),
    ];
    let mut states = Vec::new();

    tracker
        .apply_each(&batch(100, (0, 0), &messages), 0..5, |_, tracker| states.push(tracker.state()))
        .unwrap();

    let since = TsNs(120);
    assert_eq!(
        states,
        [
            State::Empty,
            State::Live,
            State::Stale { since, missing: 3 },
            State::Stale { since, missing: 7 },
            State::Live
        ]
    );
}

#[test]
fn once_a_gap_of_unknown_size_was_met_the_number_missing_stays_unknown() {
    for gaps in [[0, 5], [5, 0]] {
        let mut tracker = Tracker::new();
        let messages: Vec<Message> =
            gaps.iter().map(|&missing| (false, vec![Row::Gap(missing)])).collect();

        tracker.apply(&batch(100, (0, 0), &messages), 0..2).unwrap();

        assert_eq!(tracker.state(), State::Stale { since: TsNs(100), missing: 0 });
    }
}

#[test]
fn a_reset_and_a_gap_in_one_message_leave_an_empty_stale_book() {
    let mut tracker = Tracker::new();
    let messages = [(true, vec![BID]), (false, vec![Row::Reset, Row::Gap(0)])];

    tracker.apply(&batch(100, (0, 0), &messages), 0..2).unwrap();

    assert_eq!(tracker.state(), State::Stale { since: TsNs(110), missing: 0 });
    assert_eq!(tracker.book().level_count(Side::Bid), 0);
}

#[test]
fn the_missing_count_is_whole_messages_at_every_scale() {
    let mut tracker = Tracker::new();
    let messages = [(false, vec![Row::Set(Side::Bid, 1, 123_456), Row::Gap(9)])];

    tracker.apply(&batch(100, (0, 5), &messages), 0..1).unwrap();

    assert_eq!(tracker.state(), State::Stale { since: TsNs(100), missing: 9 });
}

#[test]
fn a_value_that_does_not_fit_the_books_scale_is_named_and_no_level_changes() {
    let mut tracker = Tracker::new();
    tracker.apply(&batch(0, (4, 4), &[(true, vec![Row::Set(Side::Bid, 1, 1)])]), 0..1).unwrap();
    let large = i64::MAX / 1000;
    for (row, text) in [
        (Row::Set(Side::Bid, large, 1), format!("price {large} does not fit")),
        (Row::Set(Side::Ask, 1, large), format!("quantity {large} does not fit")),
    ] {
        let messages = [(false, vec![Row::Set(Side::Bid, 5, 5), row])];

        let error = tracker.apply(&batch(0, (0, 0), &messages), 0..1).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains(&text), "{error}");
        assert!(tracker.book().levels(Side::Bid).eq([(1, 1)]));
    }
    let fits = [(false, vec![Row::Set(Side::Bid, i64::MAX / 10_000, 5), Row::Gap(1)])];
    tracker.apply(&batch(0, (0, 0), &fits), 0..1).unwrap();
}

#[test]
fn levels_that_a_reset_drops_need_not_fit_the_new_scales() {
    let mut tracker = Tracker::new();
    let huge = [(true, vec![Row::Set(Side::Bid, i64::MAX, 1)])];
    tracker.apply(&batch(0, (0, 0), &huge), 0..1).unwrap();
    let fine = [(true, vec![Row::Set(Side::Bid, 15, 1)])];

    tracker.apply(&batch(5, (1, 0), &fine), 0..1).unwrap();

    assert!(tracker.book().levels(Side::Bid).eq([(15, 1)]));
}

#[test]
fn other_kinds_missing_columns_and_unknown_codes_are_refused() {
    let mut tracker = Tracker::new();
    let trades = Batch::new(Kind::Trades);
    assert_eq!(tracker.apply(&trades, 0..1).unwrap_err().kind(), ErrorKind::Invalid);

    let good = batch(0, (0, 0), &[(false, vec![BID, BID])]);
    for index in [book::ACTION, book::SIDE, book::PRICE, book::QTY] {
        let (ends, mut columns) = good.clone().into_parts();
        columns[index] = None;
        let batch = Batch::from_parts(Kind::Book, 2, ends, columns).unwrap();

        let error = tracker.apply(&batch, 0..1).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(Kind::Book.schema().columns[index].name), "{error}");
    }
    for (index, code) in [(book::ACTION, 3), (book::SIDE, 2)] {
        let (ends, mut columns) = good.clone().into_parts();
        columns[index] =
            Some(Column { values: Values::U8(vec![0, code].into()), scale: 0, digits: 0 });
        let batch = Batch::from_parts(Kind::Book, 2, ends, columns).unwrap();

        assert_eq!(tracker.apply(&batch, 0..1).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(tracker.book().level_count(Side::Bid), 0);
    }
    let (ends, mut columns) = good.into_parts();
    for index in [book::TS_EVENT, book::FLAGS, book::VENUE_SEQ] {
        columns[index] = None;
    }
    tracker.apply(&Batch::from_parts(Kind::Book, 2, ends, columns).unwrap(), 0..1).unwrap();
    assert_eq!((tracker.ts_event(), tracker.venue_seq()), (None, None));
}

#[test]
fn damaged_checkpoints_are_refused_and_change_nothing() {
    let mut tracker = Tracker::new();
    tracker.apply(&batch(100, (0, 0), &[(true, vec![BID])]), 0..1).unwrap();
    let good = Checkpoint {
        bid_prices: &[5, 4],
        bid_qtys: &[1, 1],
        ask_prices: &[6, 7],
        ask_qtys: &[1, 1],
        ..Checkpoint::default()
    };
    let many = vec![1; limit::LEVELS_PER_SIDE_MAX + 1];
    let cases = [
        (Checkpoint { bid_prices: &[5, 5], ..good }, ErrorKind::Corrupt),
        (Checkpoint { bid_prices: &[4, 5], ..good }, ErrorKind::Corrupt),
        (Checkpoint { ask_prices: &[7, 6], ..good }, ErrorKind::Corrupt),
        (Checkpoint { ask_prices: &[6], ..good }, ErrorKind::Corrupt),
        (Checkpoint { ask_qtys: &[1, 0], ..good }, ErrorKind::Corrupt),
        (Checkpoint { price_scale: 19, ..good }, ErrorKind::Limit),
        (Checkpoint { qty_scale: 19, ..good }, ErrorKind::Limit),
        (Checkpoint { bid_prices: &many, bid_qtys: &many, ..good }, ErrorKind::Limit),
    ];
    for (checkpoint, kind) in cases {
        assert_eq!(tracker.restore(&checkpoint).unwrap_err().kind(), kind, "{kind:?}");
        assert!(tracker.book().levels(Side::Bid).eq([(10, 1)]));
        assert_eq!(tracker.state(), State::Live);
    }
    tracker.restore(&good).unwrap();
    assert!(tracker.book().levels(Side::Ask).eq([(6, 1), (7, 1)]));
    let (prices, qtys): (Vec<i64>, _) = ((1..many.len() as i64).rev().collect(), &many[1..]);
    tracker.restore(&Checkpoint { bid_prices: &prices, bid_qtys: qtys, ..good }).unwrap();
    assert_eq!(tracker.book().level_count(Side::Bid), limit::LEVELS_PER_SIDE_MAX);
}

#[test]
fn levels_need_no_receive_times_but_resets_and_gaps_do() {
    let levels = |batch: &Batch| {
        let (ends, mut columns) = batch.clone().into_parts();
        columns[book::TS_RECV] = None;
        Batch::from_parts(Kind::Book, batch.rows(), ends, columns).unwrap()
    };
    let whole = batch(100, (0, 0), &[(true, vec![BID]), (false, vec![BID])]);
    let mut tracker = Tracker::new();

    let error = tracker.apply(&levels(&whole), 0..1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.text().contains("ts_recv"), "{error}");
    assert_eq!(tracker.state(), State::Empty);

    tracker.apply(&levels(&whole), 1..2).unwrap();
    assert!(tracker.book().levels(Side::Bid).eq([(10, 1)]));
    assert_eq!(tracker.ts_recv(), None);
    tracker.set_head(&whole, 1);
    assert_eq!(tracker.ts_recv(), Some(TsNs(whole.ts_recv()[1])));
}

#[test]
fn a_cleared_tracker_is_a_new_one() {
    let mut tracker = Tracker::new();
    tracker.apply(&batch(100, (3, 3), &[(true, vec![BID])]), 0..1).unwrap();

    tracker.clear();

    assert_same(&tracker, &Fold::default());
    assert_eq!((tracker.book().price_scale(), tracker.book().qty_scale()), (0, 0));
    assert_eq!((tracker.ts_event(), tracker.venue_seq()), (None, None));
}
