//! One instrument at its venue: the recorded book, and our orders in it.
//!
//! Our orders change nothing for others: the recorded market goes on as it did. What we take from a
//! level is gone for us, though, until the venue writes that level anew.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tickreel::book::{Book, State, Tracker};
use tickreel::event::{Action, Batch, Side, TradeSide, book};

use super::models::Queue;
use super::orders::{Order, OrderId, OrderState, sign};

/// An order in the book.
#[derive(Debug)]
struct Resting {
    order: OrderId,
    side: Side,
    price: Decimal,
    left: Decimal,
    /// What is displayed at its price and stands before it.
    ahead: Decimal,
    /// Prints at its price since the displayed quantity changed.
    printed: Decimal,
}

/// A part of an order that met somebody.
#[derive(Debug)]
pub struct Match {
    pub order: OrderId,
    pub price: Decimal,
    pub qty: Decimal,
    pub maker: bool,
    /// It was the last part.
    pub fills: bool,
}

/// What became of an order when it arrived.
pub struct Outcome {
    pub state: OrderState,
    pub reason: &'static str,
    pub matches: Vec<Match>,
}

/// The book of an instrument, with our orders.
pub struct Venue {
    tracker: Tracker,
    queue: Queue,
    resting: Vec<Resting>,
    /// What we took, of bids and of asks, by price.
    taken: [BTreeMap<Decimal, Decimal>; 2],
}

impl Venue {
    pub fn new(queue: Queue) -> Self {
        Self { tracker: Tracker::new(), queue, resting: Vec::new(), taken: Default::default() }
    }

    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Goes on from another book.
    pub fn load(&mut self, tracker: Tracker) {
        self.tracker = tracker;
    }

    /// The middle of the book, exactly; `None` if a side is empty.
    pub fn mid(&self) -> Option<Decimal> {
        let mid = self.tracker.book().mid()?;
        Some(Decimal::new(mid.mantissa(), mid.scale().into()))
    }

    /// Applies a message of the book: queues move, and orders that are crossed are filled.
    ///
    /// # Errors
    /// The rows are no book.
    pub fn on_book(&mut self, batch: &Batch, message: usize) -> tickreel::Result<Vec<Match>> {
        let before: Vec<_> = self.resting.iter().map(|r| self.displayed(r.side, r.price)).collect();
        self.tracker.apply(batch, message..message + 1)?;
        self.forget_taken(batch, message);
        for (at, before) in before.into_iter().enumerate() {
            let after = self.displayed(self.resting[at].side, self.resting[at].price);
            self.move_queue(at, before, after);
        }
        Ok(self.fill_crossed())
    }

    /// A print: better orders meet it first, then those at its price whose turn it is; all of them
    /// together never more than was printed.
    pub fn on_trade(&mut self, aggressor: TradeSide, price: Decimal, qty: Decimal) -> Vec<Match> {
        let mut matches = Vec::new();
        // Who buys takes from sellers; of a print of unknown side either may be true.
        if aggressor != TradeSide::Buy {
            self.fill_printed(Side::Bid, price, qty, &mut matches);
        }
        if aggressor != TradeSide::Sell {
            self.fill_printed(Side::Ask, price, qty, &mut matches);
        }
        matches
    }

    /// An order arrives: it takes what its price allows, and rests with what is left.
    pub fn accept(&mut self, order: &Order) -> Outcome {
        let outcome = |state, reason, matches| Outcome { state, reason, matches };
        let state = match self.tracker.state() {
            State::Live => None,
            State::Stale { .. } => Some("the book is stale"),
            State::Empty => Some("the book is empty"),
        };
        if let Some(reason) = state {
            return outcome(OrderState::Rejected, reason, Vec::new());
        }
        if order.post_only && order.limit.is_some_and(|limit| self.is_crossed(order.side, limit)) {
            return outcome(OrderState::Rejected, "it would take", Vec::new());
        }
        let mut left = order.qty;
        let parts = self.take(order.side, order.limit, left);
        let take = |(price, qty)| {
            left -= qty;
            Match { order: order.id, price, qty, maker: false, fills: left.is_zero() }
        };
        let matches = parts.into_iter().map(take).collect();
        if left.is_zero() {
            return outcome(OrderState::Filled, "", matches);
        }
        let Some(price) = order.limit else {
            return outcome(OrderState::Cancelled, "the book was not deep enough", matches);
        };
        let ahead = self.displayed(order.side, price).max(Decimal::ZERO);
        let (order, side, printed) = (order.id, order.side, Decimal::ZERO);
        self.resting.push(Resting { order, side, price, left, ahead, printed });
        outcome(OrderState::Open, "", matches)
    }

    /// Takes an order out of the book; `false` if it is not there any more.
    pub fn cancel(&mut self, order: OrderId) -> bool {
        let before = self.resting.len();
        self.resting.retain(|resting| resting.order != order);
        self.resting.len() < before
    }

    /// What the venue shows at a price.
    fn displayed(&self, side: Side, price: Decimal) -> Decimal {
        let mut worse = levels(self.tracker.book(), side)
            .skip_while(|(level, _)| reaches(side, *level, price) && *level != price);
        worse.next().filter(|(level, _)| *level == price).map_or(Decimal::ZERO, |(_, qty)| qty)
    }

    /// Whether the other side has come to a limit of `side`.
    fn is_crossed(&self, side: Side, limit: Decimal) -> bool {
        let best = levels(self.tracker.book(), other(side)).next();
        best.is_some_and(|(best, _)| reaches(side, limit, best))
    }

    /// Walks the other side of the book up to a limit, best level first, and takes up to `left`:
    /// price and quantity of each part.
    fn take(
        &mut self,
        side: Side,
        limit: Option<Decimal>,
        mut left: Decimal,
    ) -> Vec<(Decimal, Decimal)> {
        let mut parts = Vec::new();
        let taken = &mut self.taken[other(side) as usize];
        for (price, displayed) in levels(self.tracker.book(), other(side)) {
            if left.is_zero() || limit.is_some_and(|limit| !reaches(side, limit, price)) {
                break;
            }
            let before = taken.get(&price).copied().unwrap_or_default();
            let part = left.min(displayed - before);
            if part > Decimal::ZERO {
                taken.insert(price, before + part);
                left -= part;
                parts.push((price, part));
            }
        }
        parts
    }

    /// Levels that the venue wrote anew hold what it says again.
    fn forget_taken(&mut self, batch: &Batch, message: usize) {
        let (actions, sides) = (batch.u8s(book::ACTION), batch.u8s(book::SIDE));
        let (prices, scale) = (batch.i64s(book::PRICE), batch.scale(book::PRICE));
        for row in batch.message_rows(message) {
            if actions[row] == Action::Reset as u8 {
                self.taken.iter_mut().for_each(BTreeMap::clear);
            } else if actions[row] == Action::Set as u8 {
                let taken = &mut self.taken[usize::from(sides[row])];
                taken.remove(&Decimal::new(prices[row], scale.into()));
            }
        }
    }

    fn move_queue(&mut self, at: usize, before: Decimal, after: Decimal) {
        if before == after {
            return;
        }
        let (queue, qty_scale) = (self.queue, self.tracker.book().qty_scale());
        let resting = &mut self.resting[at];
        let cancelled = before - after - resting.printed;
        if cancelled > Decimal::ZERO {
            let ahead = queue.cancelled_ahead(resting.ahead, before, cancelled, qty_scale);
            resting.ahead -= ahead;
        }
        resting.ahead = resting.ahead.min(after).max(Decimal::ZERO);
        resting.printed = Decimal::ZERO;
    }

    /// Fills orders that the other side has come to, at their own price.
    fn fill_crossed(&mut self) -> Vec<Match> {
        let mut matches = Vec::new();
        if self.tracker.state() != State::Live {
            return matches;
        }
        for at in self.by_priority() {
            let Resting { side, price, left, .. } = self.resting[at];
            for (_, part) in self.take(side, Some(price), left) {
                matches.push(self.resting[at].fill(part));
            }
        }
        self.resting.retain(|resting| !resting.left.is_zero());
        matches
    }

    fn fill_printed(
        &mut self,
        side: Side,
        price: Decimal,
        mut qty: Decimal,
        matches: &mut Vec<Match>,
    ) {
        for at in self.by_priority() {
            let resting = &mut self.resting[at];
            if resting.side != side || !reaches(side, resting.price, price) {
                continue;
            }
            let mut part = qty;
            if resting.price == price {
                part = (qty - resting.ahead).max(Decimal::ZERO);
                resting.ahead = (resting.ahead - qty).max(Decimal::ZERO);
                resting.printed += qty;
            }
            part = part.min(resting.left);
            if !part.is_zero() {
                qty -= part;
                matches.push(resting.fill(part));
            }
        }
        self.resting.retain(|resting| !resting.left.is_zero());
    }

    /// Better prices first, then who came first.
    fn by_priority(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.resting.len()).collect();
        order.sort_by_key(|at| -self.resting[*at].price * sign(self.resting[*at].side));
        order
    }
}

impl Resting {
    fn fill(&mut self, qty: Decimal) -> Match {
        self.left -= qty;
        let (order, price, fills) = (self.order, self.price, self.left.is_zero());
        Match { order, price, qty, maker: true, fills }
    }
}

/// Price and quantity of every level of a side, best first.
pub fn levels(book: &Book, side: Side) -> impl Iterator<Item = (Decimal, Decimal)> + '_ {
    let (price_scale, qty_scale) = (book.price_scale().into(), book.qty_scale().into());
    let exact =
        move |(price, qty)| (Decimal::new(price, price_scale), Decimal::new(qty, qty_scale));
    book.levels(side).map(exact)
}

/// Whether a limit of `side` allows a price.
fn reaches(side: Side, limit: Decimal, price: Decimal) -> bool {
    match side {
        Side::Bid => price <= limit,
        Side::Ask => price >= limit,
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Bid => Side::Ask,
        Side::Ask => Side::Bid,
    }
}
