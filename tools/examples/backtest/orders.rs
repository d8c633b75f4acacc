//! Orders and what becomes of them.

use rust_decimal::Decimal;
use tickreel::Instrument;
use tickreel::event::Side;

/// Number of an order, from 0 in the order they were sent.
pub type OrderId = usize;

/// Where an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    Sent,
    Open,
    Filled,
    Cancelled,
    Rejected,
}

impl OrderState {
    /// Whether nothing more happens to it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Sent | Self::Open)
    }
}

/// An order. `state`, `reason` and `filled` are what the strategy has heard: the venue may be
/// further.
#[derive(Clone, Debug)]
pub struct Order {
    pub id: OrderId,
    pub instrument: Instrument,
    /// A bid buys, an ask sells.
    pub side: Side,
    pub qty: Decimal,
    /// The worst price; `None` is a market order, which takes what is there and never rests.
    pub limit: Option<Decimal>,
    /// Rejected if it would take.
    pub post_only: bool,
    /// The middle of the book when the strategy decided; `None` if there was none.
    pub sent_mid: Option<Decimal>,
    pub state: OrderState,
    /// Why it was rejected or cancelled.
    pub reason: String,
    pub filled: Decimal,
}

/// A part of an order that was traded.
#[derive(Clone, Debug)]
pub struct Fill {
    pub ts_ns: i64,
    pub order: OrderId,
    pub instrument: Instrument,
    pub side: Side,
    pub price: Decimal,
    pub qty: Decimal,
    /// In the quote currency, negative if a rebate.
    pub fee: Decimal,
    /// The order rested; otherwise it took.
    pub maker: bool,
    /// (price - middle at the decision) x quantity, against the order; `None` without a middle.
    pub slippage: Option<Decimal>,
}

/// 1 for buying, -1 for selling.
pub fn sign(side: Side) -> Decimal {
    match side {
        Side::Bid => Decimal::ONE,
        Side::Ask => Decimal::NEGATIVE_ONE,
    }
}
