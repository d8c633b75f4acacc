//! Two strategies to begin with, as those in `tools/python/examples`.

use rust_decimal::Decimal;
use tickreel::event::Side;
use tickreel::{Instrument, Result};

use super::engine::{Strategy, World};
use super::models::{Fees, Latency, Queue, Settings};
use super::orders::OrderId;

/// Levels of each side that the imbalance is of.
const DEPTH: usize = 5;
const MILLISECOND_NS: i64 = 1_000_000;

/// Holds `qty` long while there is much more to buy than to sell in the book, short while it is the
/// other way around.
pub struct ImbalanceTaker {
    instrument: Instrument,
    qty: Decimal,
    /// Of (bids - asks) / (bids + asks).
    threshold: f64,
    wanted: Decimal,
}

impl ImbalanceTaker {
    pub fn new(instrument: Instrument) -> Self {
        let (qty, wanted) = (Decimal::new(1, 2), Decimal::ZERO);
        Self { instrument, qty, threshold: 0.8, wanted }
    }

    /// Five milliseconds each way, and a taker's commission of four basis points.
    pub fn settings() -> Settings {
        Settings {
            latency: Latency::each_way(5 * MILLISECOND_NS),
            fees: Fees { taker: Decimal::new(4, 4), ..Fees::default() },
            capital: Decimal::new(10_000, 0),
            ..Settings::default()
        }
    }
}

impl Strategy for ImbalanceTaker {
    fn on_book(&mut self, world: &mut World, _: &Instrument) -> Result<()> {
        let imbalance = world.book(&self.instrument)?.imbalance(DEPTH).unwrap_or(0.0);
        if imbalance.abs() < self.threshold {
            return Ok(());
        }
        let wanted = if imbalance > 0.0 { self.qty } else { -self.qty };
        let change = wanted - std::mem::replace(&mut self.wanted, wanted);
        if !change.is_zero() {
            world.trade(&self.instrument, change)?;
        }
        Ok(())
    }
}

/// Quotes `half_spread` from the middle, on each side, and moves both against its position.
pub struct MarketMaker {
    instrument: Instrument,
    qty: Decimal,
    half_spread: Decimal,
    /// How far quotes move for each `qty` that is held.
    skew: Decimal,
    position_max: Decimal,
    /// The last quote of each side.
    quotes: [Option<OrderId>; 2],
}

impl MarketMaker {
    pub fn new(instrument: Instrument) -> Self {
        Self {
            instrument,
            qty: Decimal::new(1, 2),
            half_spread: Decimal::TWO,
            skew: Decimal::new(5, 1),
            position_max: Decimal::new(1, 1),
            quotes: [None; 2],
        }
    }

    /// Two milliseconds more than was recorded, each way; only takers pay.
    pub fn settings() -> Settings {
        let latency = Latency { recorded: true, ..Latency::each_way(2 * MILLISECOND_NS) };
        Settings { latency, queue: Queue::Proportional, ..ImbalanceTaker::settings() }
    }

    /// One order of a side at a price, or none.
    fn quote(&mut self, world: &mut World, side: Side, price: Decimal, wanted: bool) -> Result<()> {
        let price = price.round_dp(1);
        let quote = &mut self.quotes[side as usize];
        if let Some(order) = quote.filter(|order| !world.order(*order).state.is_final()) {
            if wanted && world.order(order).limit == Some(price) {
                return Ok(());
            }
            world.cancel(order);
        }
        if wanted {
            *quote = Some(world.send(side, &self.instrument, self.qty, Some(price), true)?);
        }
        Ok(())
    }
}

impl Strategy for MarketMaker {
    fn on_start(&mut self, world: &mut World) -> Result<()> {
        world.every(500 * MILLISECOND_NS, "quote")
    }

    fn on_timer(&mut self, world: &mut World, _: &'static str) -> Result<()> {
        let Some(mid) = world.mid(&self.instrument)? else { return Ok(()) };
        let position = world.position(&self.instrument);
        let center = mid - position / self.qty * self.skew;
        let (bids, asks) = (position < self.position_max, position > -self.position_max);
        self.quote(world, Side::Bid, center - self.half_spread, bids)?;
        self.quote(world, Side::Ask, center + self.half_spread, asks)
    }
}
