//! One instrument's limit-order book as it changes: orders added, cut, cancelled and taken.
//!
//! Levels near the touch change most, sizes have heavy tails, the price follows a reference. The
//! book is never crossed and never runs dry.

use std::collections::BTreeMap;

use super::random::Random;
use crate::book::Book;
use crate::event::{Side, TradeSide};

/// A side never has fewer levels than this.
const LEVELS_MIN: usize = 40;

/// Levels of one side that a market order may take at most.
const SWEEP_MAX: i64 = 12;

/// What an instrument's book is like. Prices and quantities are mantissas.
#[derive(Clone, Debug)]
pub(super) struct Character {
    /// Smallest step of a price.
    pub tick: i64,
    /// Smallest step of a quantity.
    pub lot: i64,
    /// How many times a quantity may double: its tail.
    pub qty_doublings: u32,
    /// Levels that a side has about.
    pub levels: usize,
}

/// One print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Print {
    pub side: TradeSide,
    pub price: i64,
    pub qty: i64,
}

/// The book, and what changed since somebody asked.
#[derive(Debug)]
pub(super) struct Process {
    character: Character,
    random: Random,
    book: Book,
    /// The levels once more, by `price * away(side)`: from the touch outwards, quick to search.
    ladders: [BTreeMap<i64, i64>; 2],
    last_id: i64,
    touched: Vec<(Side, i64)>,
    prints: Vec<Print>,
}

impl Process {
    /// A full book around `price`.
    pub fn new(character: Character, mut random: Random, scales: Book, price: i64) -> Self {
        let first_id = 1_000_000_000 + random.below(1_000_000_000);
        let levels = character.levels as i64;
        let mut process = Self {
            character,
            random,
            book: scales,
            ladders: Default::default(),
            last_id: first_id,
            touched: Vec::new(),
            prints: Vec::new(),
        };
        let tick = process.character.tick;
        let price = price / tick * tick;
        for (side, towards) in [(Side::Bid, -1), (Side::Ask, 1)] {
            let mut at = price + (side == Side::Ask) as i64 * tick;
            for _ in 0..levels {
                let qty = process.qty();
                process.set(side, at, qty);
                at += towards * tick * (1 + process.random.heavy(3));
            }
        }
        process.touched.clear();
        process
    }

    /// The levels now.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Number of the last change.
    pub fn last_id(&self) -> i64 {
        self.last_id
    }

    /// Best bid and ask with their quantities.
    pub fn top(&self) -> [(i64, i64); 2] {
        [Side::Bid, Side::Ask].map(|side| self.book.best(side).unwrap_or((0, 0)))
    }

    /// Prints of the last step.
    pub fn prints(&self) -> &[Print] {
        &self.prints
    }

    /// Takes the levels that changed since the last call, each once: side, price, quantity now.
    pub fn take_touched(&mut self, into: &mut Vec<(Side, i64, i64)>) {
        into.clear();
        self.touched.sort_unstable_by_key(|&(side, price)| (side as u8, price));
        self.touched.dedup();
        for &(side, price) in &self.touched {
            let qty = self.qty_at(side, price);
            into.push((side, price, qty));
        }
        self.touched.clear();
    }

    /// One change of the book; `target` is where the price wants to go.
    pub fn step(&mut self, target: i64) {
        self.prints.clear();
        self.last_id += 1 + self.random.heavy(3);
        let [(bid, _), (ask, _)] = self.top();
        let behind = (target - (bid + ask) / 2) / self.character.tick;
        if behind.abs() > 6 && self.random.chance((10 + behind.abs()).min(200)) {
            let levels = 1 + self.random.below(SWEEP_MAX);
            return self.take(if behind > 0 { Side::Ask } else { Side::Bid }, levels, target);
        }
        let side = if self.random.chance(500) { Side::Bid } else { Side::Ask };
        match self.random.below(1000) {
            0..470 => self.add(side, target),
            470..955 => self.cancel(side),
            955..985 => self.take(side, 1, target),
            _ => self.change_deep(side),
        }
    }

    /// A new order: inside a wide spread near `target`, at the touch or behind it.
    fn add(&mut self, side: Side, target: i64) {
        let tick = self.character.tick;
        let away = away(side);
        let [own, other] = self.bests(side);
        let mut price = own + away * tick * self.distance();
        if (own - other).abs() > tick && self.random.chance(400) {
            let wanted = target / tick * tick + away * tick * self.random.heavy(1);
            let nearest = other + away * tick;
            let inside = if (wanted - nearest) * away < 0 { nearest } else { wanted };
            if (inside - own) * away < 0 {
                price = inside;
            }
        }
        let qty = self.qty_at(side, price) + self.qty();
        self.set(side, price, qty);
        let ladder = self.ladder(side);
        if ladder.len() > self.character.levels * 5 / 4
            && let Some((&last, _)) = ladder.last_key_value()
        {
            self.set(side, last * away, 0);
        }
    }

    /// An order is cut or cancelled, near the touch more often than far from it.
    fn cancel(&mut self, side: Side) {
        let missing = self.character.levels as i64 - self.ladder(side).len() as i64;
        if self.random.chance(4 * missing) {
            return self.add_level(side);
        }
        let from = self.bests(side)[0] + away(side) * self.character.tick * self.distance();
        let Some((&key, &qty)) = self.ladder(side).range(from * away(side)..).next() else {
            return self.add_level(side);
        };
        let left = qty - self.qty();
        let qty = if left <= 0 || self.random.chance(350) { 0 } else { left };
        self.set(side, key * away(side), qty);
    }

    /// A new order at the first free price behind a draw.
    fn add_level(&mut self, side: Side) {
        let step = away(side) * self.character.tick;
        let mut price = self.bests(side)[0] + step * self.distance();
        while self.qty_at(side, price) > 0 {
            price += step;
        }
        let qty = self.qty();
        self.set(side, price, qty);
    }

    /// A market order takes from `side`, at most `levels` levels and none beyond `limit` but the
    /// first.
    fn take(&mut self, side: Side, mut levels: i64, limit: i64) {
        let taker = if side == Side::Ask { TradeSide::Buy } else { TradeSide::Sell };
        while levels > 0 && self.ladder(side).len() > LEVELS_MIN {
            let (price, available) = self.book.best(side).unwrap_or((0, 0));
            if !self.prints.is_empty() && (price - limit) * away(side) > 0 {
                break;
            }
            let wanted = if levels > 1 { available } else { self.qty() };
            let qty = wanted.min(available);
            self.prints.push(Print { side: taker, price, qty });
            self.set(side, price, available - qty);
            levels -= 1;
        }
    }

    /// A level far from the touch appears or goes.
    fn change_deep(&mut self, side: Side) {
        let tick = self.character.tick;
        let own = self.bests(side)[0];
        let price = own + away(side) * tick * (400 + self.random.heavy(11));
        let qty = if self.qty_at(side, price) > 0 { 0 } else { 4 * self.qty() };
        if price >= tick {
            self.set(side, price, qty);
        }
    }

    fn bests(&self, side: Side) -> [i64; 2] {
        let [(bid, _), (ask, _)] = self.top();
        if side == Side::Bid { [bid, ask] } else { [ask, bid] }
    }

    /// Steps from the touch: an eighth of all orders are at it, the others as often between 1 and
    /// 2 steps as between 256 and 512.
    fn distance(&mut self) -> i64 {
        if self.random.chance(125) {
            return 0;
        }
        let span = 1 << self.random.below(9);
        span + self.random.below(span)
    }

    fn qty(&mut self) -> i64 {
        let lots = 1 + self.random.heavy(self.character.qty_doublings);
        // People like round numbers.
        let lots = if lots > 40 && self.random.chance(300) { lots / 10 * 10 } else { lots };
        lots * self.character.lot
    }

    fn ladder(&self, side: Side) -> &BTreeMap<i64, i64> {
        let [bids, asks] = &self.ladders;
        if side == Side::Bid { bids } else { asks }
    }

    fn qty_at(&self, side: Side, price: i64) -> i64 {
        self.ladder(side).get(&(price * away(side))).copied().unwrap_or(0)
    }

    fn set(&mut self, side: Side, price: i64, qty: i64) {
        self.book.set(side, price, qty);
        let [bids, asks] = &mut self.ladders;
        let ladder = if side == Side::Bid { bids } else { asks };
        let key = price * away(side);
        match qty {
            0 => ladder.remove(&key),
            qty => ladder.insert(key, qty),
        };
        self.touched.push((side, price));
    }
}

/// The direction in which prices of a side get worse.
fn away(side: Side) -> i64 {
    if side == Side::Bid { -1 } else { 1 }
}
