//! The book against an ordered map, under random programs.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a book must behave like.
#[derive(Clone, Default)]
struct Model {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
}

impl Model {
    fn side(&mut self, side: Side) -> &mut BTreeMap<i64, i64> {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }

    fn set(&mut self, side: Side, price: i64, qty: i64) {
        match qty {
            0 => self.side(side).remove(&price),
            _ => self.side(side).insert(price, qty),
        };
    }

    fn levels(&self, side: Side) -> Vec<(i64, i64)> {
        match side {
            Side::Bid => self.bids.iter().rev().map(|(&p, &q)| (p, q)).collect(),
            Side::Ask => self.asks.iter().map(|(&p, &q)| (p, q)).collect(),
        }
    }
}

#[track_caller]
fn assert_same(book: &Book, model: &Model) {
    for side in [Side::Bid, Side::Ask] {
        let expected = model.levels(side);
        assert_eq!(book.best(side), expected.first().copied(), "best {side:?}");
        assert_eq!(book.level_count(side), expected.len(), "count {side:?}");
        assert!(book.levels(side).eq(expected.iter().copied()), "levels {side:?}");
    }
}

/// One step of a random program. Prices are relative to a middle that drifts.
#[derive(Clone, Debug)]
enum Step {
    Set {
        side: Side,
        offset: i64,
        qty: i64,
    },
    /// Removes the `n`th best level.
    Remove {
        side: Side,
        nth: usize,
    },
    SetAnywhere {
        side: Side,
        price: i64,
        qty: i64,
    },
    Drift(i64),
    Clear,
    /// Takes all levels out and loads them again.
    Reload(Side),
    Raise(u8, u8),
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Bid), Just(Side::Ask)]
}

fn qty() -> impl Strategy<Value = i64> {
    prop_oneof![2 => Just(0), 6 => 1i64..1000, 1 => Just(i64::MAX), 1 => -5i64..0]
}

fn extreme() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(-1),
        Just(i64::MAX),
        Just(i64::MIN),
        Just(i64::MAX - 1),
        Just(i64::MIN + 1),
        any::<i64>(),
        -100_000i64..100_000,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (side(), -60i64..60, qty())
            .prop_map(|(side, offset, qty)| Step::Set { side, offset, qty }),
        10 => (side(), -9000i64..9000, qty())
            .prop_map(|(side, offset, qty)| Step::Set { side, offset, qty }),
        10 => (side(), 0usize..4).prop_map(|(side, nth)| Step::Remove { side, nth }),
        4 => (side(), extreme(), qty())
            .prop_map(|(side, price, qty)| Step::SetAnywhere { side, price, qty }),
        2 => (-3000i64..3000).prop_map(Step::Drift),
        1 => Just(Step::Clear),
        2 => side().prop_map(Step::Reload),
        1 => (0u8..4, 0u8..4).prop_map(|(price, qty)| Step::Raise(price, qty)),
    ]
}

fn raise_model(book: &mut Book, model: &mut Model, price: u8, qty: u8) {
    let price_factor = POW10[usize::from(price.saturating_sub(book.price_scale()))];
    let qty_factor = POW10[usize::from(qty.saturating_sub(book.qty_scale()))];
    let raised = |levels: &BTreeMap<i64, i64>| -> Option<BTreeMap<i64, i64>> {
        levels
            .iter()
            .map(|(p, q)| Some((p.checked_mul(price_factor)?, q.checked_mul(qty_factor)?)))
            .collect()
    };
    match (raised(&model.bids), raised(&model.asks)) {
        (Some(bids), Some(asks)) => {
            *model = Model { bids, asks };
            book.raise_scales(price, qty).unwrap();
        }
        _ => {
            let scales = (book.price_scale(), book.qty_scale());
            assert_eq!(book.raise_scales(price, qty).unwrap_err().kind(), ErrorKind::Limit);
            assert_eq!((book.price_scale(), book.qty_scale()), scales);
        }
    }
}

fn run(start: i64, unit: i64, steps: &[Step]) {
    let (mut book, mut model, mut middle) = (Book::new(), Model::default(), start);
    for step in steps {
        match *step {
            Step::Set { side, offset, qty } => {
                let price = middle.wrapping_add(offset.wrapping_mul(unit));
                book.set(side, price, qty);
                model.set(side, price, qty);
            }
            Step::Remove { side, nth } => {
                if let Some(&(price, _)) = model.levels(side).get(nth) {
                    book.set(side, price, 0);
                    model.set(side, price, 0);
                }
            }
            Step::SetAnywhere { side, price, qty } => {
                book.set(side, price, qty);
                model.set(side, price, qty);
            }
            Step::Drift(ticks) => middle = middle.wrapping_add(ticks.wrapping_mul(unit)),
            Step::Clear => {
                book.clear();
                model = Model::default();
            }
            Step::Reload(side) => {
                let (mut prices, mut qtys) = (Vec::new(), Vec::new());
                book.write_levels(side, &mut prices, &mut qtys);
                book.load(side, &prices, &qtys);
            }
            Step::Raise(price, qty) => raise_model(&mut book, &mut model, price, qty),
        }
        for side in [Side::Bid, Side::Ask] {
            assert_eq!(book.best(side), model.levels(side).first().copied(), "{step:?}");
        }
    }
    assert_same(&book, &model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_book_is_an_ordered_map_of_each_side(
        start in prop_oneof![Just(6_173_763i64), Just(0), extreme()],
        unit in prop_oneof![Just(1i64), Just(5), Just(25), Just(10_000_000), 1i64..1000],
        steps in prop::collection::vec(step(), 1..400),
    ) {
        run(start, unit, &steps);
    }

    #[test]
    fn levels_loaded_in_any_order_are_the_levels_set_one_by_one(
        levels in prop::collection::vec((extreme(), qty()), 0..60),
        side in side(),
    ) {
        let (mut book, mut model) = (Book::new(), Model::default());
        book.set(side, 77, 7);
        let (prices, qtys): (Vec<_>, Vec<_>) = levels.iter().copied().unzip();
        book.load(side, &prices, &qtys);
        levels.iter().for_each(|&(price, qty)| model.set(side, price, qty));

        assert_same(&book, &model);
    }
}

/// Pseudo-random numbers for long programs: a fixed sequence, so that a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % count
    }
}

/// A market that wanders, with deep and far levels, compared after every change.
fn wander(unit: i64, spread_levels: u64, far_one_in: u64, changes: usize) {
    let mut random = Random(unit as u64 ^ spread_levels);
    let (mut book, mut model, mut middle) = (Book::new(), Model::default(), 4_200_000i64);
    for change in 0..changes {
        middle += random.below(5) as i64 - 2 + if random.below(5000) == 0 { 30_000 } else { 0 };
        let side = if random.below(2) == 0 { Side::Bid } else { Side::Ask };
        let sign = if side == Side::Bid { -1 } else { 1 };
        let depth = match random.below(far_one_in) {
            0 => random.below(4_000_000) as i64,
            _ => random.below(1 + random.0 % spread_levels) as i64,
        };
        let price = (middle + sign * depth) * unit;
        let qty = if random.below(3) == 0 { 0 } else { 1 + random.below(1_000_000) as i64 };
        book.set(side, price, qty);
        model.set(side, price, qty);
        // Keep the touch honest: the market has left these levels behind.
        while let Some((best, _)) = book.best(side) {
            let crossed = (best - middle * unit) * sign < 0;
            if !crossed {
                break;
            }
            book.set(side, best, 0);
            model.set(side, best, 0);
        }
        let best = match side {
            Side::Bid => model.bids.last_key_value(),
            Side::Ask => model.asks.first_key_value(),
        };
        assert_eq!(book.best(side), best.map(|(&p, &q)| (p, q)), "change {change}");
        if change % 4096 == 0 {
            assert_same(&book, &model);
        }
    }
    assert_same(&book, &model);
}

#[test]
fn a_long_wander_of_dense_sparse_and_stepped_markets_stays_exact() {
    wander(1, 200, 50, 60_000);
    wander(1, 60_000, 10, 60_000);
    wander(25, 3_000, 100, 60_000);
    wander(1, 8, 2, 30_000);
}

#[test]
fn scales_rise_together_with_the_levels_and_never_fall() {
    let mut book = Book::new();
    book.set(Side::Bid, 15, 3);
    book.set(Side::Ask, -2, 4);

    book.raise_scales(2, 0).unwrap();
    book.raise_scales(1, 1).unwrap();

    assert_eq!((book.price_scale(), book.qty_scale()), (2, 1));
    assert_eq!(book.best(Side::Bid), Some((1500, 30)));
    assert_eq!(book.best(Side::Ask), Some((-200, 40)));
}

#[test]
fn a_level_that_does_not_fit_a_scale_is_named_and_nothing_changes() {
    let mut book = Book::new();
    book.set(Side::Bid, 15, 3);
    book.set(Side::Bid, 14, i64::MAX);
    book.raise_scales(1, 0).unwrap();

    let error = book.raise_scales(2, 1).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("quantity 9223372036854775807"), "{error}");
    assert_eq!((book.price_scale(), book.qty_scale()), (1, 0));
    assert!(book.levels(Side::Bid).eq([(150, 3), (140, i64::MAX)]));
    assert_eq!(book.raise_scales(19, 0).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn crossed_and_one_sided_books_are_shown_as_they_are() {
    let mut book = Book::new();
    book.set(Side::Bid, 101, 1);
    book.set(Side::Bid, 100, 2);
    assert_eq!(book.best(Side::Ask), None);
    assert_eq!(book.levels(Side::Ask).count(), 0);

    book.set(Side::Ask, 99, 3);

    assert_eq!(book.best(Side::Bid), Some((101, 1)));
    assert_eq!(book.best(Side::Ask), Some((99, 3)));
}

#[test]
fn a_small_book_takes_little_memory_and_a_deep_one_a_bounded_amount() {
    let mut small = Book::new();
    for level in 0..20 {
        small.set(Side::Bid, 1_000_000 - level * 977, 1);
        small.set(Side::Ask, 1_000_100 + level * 977, 1);
    }
    assert!(small.memory_bytes() < 8 << 10, "{}", small.memory_bytes());

    // Every level in a page of its own, and the market far from where it began.
    let mut deep = Book::new();
    for level in 0..2_000_000 {
        deep.set(Side::Bid, level * 11, 1);
        deep.set(Side::Bid, (level - 1_000) * 11, 0);
    }
    assert_eq!(deep.level_count(Side::Bid), 1_000);
    assert!(deep.memory_bytes() < 512 << 10, "{}", deep.memory_bytes());
}

#[test]
fn a_best_level_that_comes_and_goes_above_a_left_market_stays_exact() {
    let (mut book, mut model) = (Book::new(), Model::default());
    let mut both = |book: &mut Book, price: i64, qty: i64| {
        book.set(Side::Ask, price, qty);
        model.set(Side::Ask, price, qty);
        assert_eq!(book.best(Side::Ask), model.asks.first_key_value().map(|(&p, &q)| (p, q)));
    };
    for price in 0..3_000 {
        both(&mut book, 100_000 - price * 8, 1);
        both(&mut book, 100_000 + price * 8, 2);
    }
    // The market rises and leaves empty pages behind.
    for price in (0..3_000).rev() {
        both(&mut book, 100_000 - price * 8, 0);
    }
    for round in 0..100 {
        both(&mut book, 76_008 + round * 8, 3);
        both(&mut book, 76_008 + round * 8, 0);
        both(&mut book, 99_000 + round, 4);
        both(&mut book, 99_000 + round, 0);
    }
}
