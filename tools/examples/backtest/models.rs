//! What is assumed of the world: latency, the queue at a price, commission.

use rust_decimal::Decimal;

/// How long things take, in nanoseconds.
///
/// The clock of a backtest is that of the strategy: a message happens at its `ts_recv`. At the
/// venue it had happened `feed_ns` before. An order that is decided at t reaches the venue
/// `entry_ns` later; it acts after every message that the venue had sent by then, those up to
/// t + entry + feed on the strategy's clock. What it brings about at the venue at v is known to the
/// strategy at v + response, but never before the message that caused it. Orders and cancellations
/// of an instrument arrive in the order they were sent: one that takes less time than the one
/// before arrives with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    pub feed_ns: i64,
    pub entry_ns: i64,
    pub response_ns: i64,
    /// Each way takes as long as the capture saw beside that: `ts_recv` - `ts_event` of the
    /// instrument's last message. Its worth is that of the venue's and the capture's clocks.
    pub recorded: bool,
}

impl Latency {
    /// Orders and responses take the same, the feed nothing.
    pub fn each_way(ns: i64) -> Self {
        Self { entry_ns: ns, response_ns: ns, ..Self::default() }
    }

    /// When an order that is sent now acts, on the strategy's clock, if none is before it.
    pub fn arrival_ns(&self, now_ns: i64, recorded_ns: i64) -> i64 {
        let recorded_ns = if self.recorded { recorded_ns } else { 0 };
        now_ns + self.entry_ns + self.feed_ns + 2 * recorded_ns
    }

    /// When the strategy knows what happens now. What was recorded comes and goes by the feed.
    pub fn known_ns(&self, now_ns: i64) -> i64 {
        now_ns.max(now_ns - self.feed_ns + self.response_ns)
    }
}

/// How much of what was cancelled at a price stood before our order.
///
/// The rest of the model is fixed. When an order comes to rest, everything displayed at its price
/// is before it. A print at its price takes from what is before it, then from the order. When the
/// displayed quantity falls by more than was printed since it last changed, the difference was
/// cancelled; never is more before the order than is displayed.
#[derive(Clone, Copy, Debug)]
pub enum Queue {
    /// A fixed share, rounded down: 0 (the worst case) to 1 (the best).
    CancelShare(Decimal),
    /// Cancellations are spread evenly over the queue, rounded down.
    Proportional,
}

impl Queue {
    /// Of `cancelled`, what stood before the order; `ahead` of `displayed` did until now.
    pub fn cancelled_ahead(
        self,
        ahead: Decimal,
        displayed: Decimal,
        cancelled: Decimal,
        qty_scale: u8,
    ) -> Decimal {
        let before = match self {
            Self::CancelShare(share) => cancelled * share,
            Self::Proportional if displayed > Decimal::ZERO => {
                cancelled * ahead.min(displayed) / displayed
            }
            Self::Proportional => Decimal::ZERO,
        };
        before.trunc_with_scale(qty_scale.into())
    }
}

/// Commission as a share of price x quantity: 0.0002 is two basis points, negative a rebate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fees {
    pub maker: Decimal,
    pub taker: Decimal,
}

impl Fees {
    /// The commission of a fill.
    pub fn of_fill(&self, price: Decimal, qty: Decimal, maker: bool) -> Decimal {
        price * qty * if maker { self.maker } else { self.taker }
    }
}

/// Everything that is assumed.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub latency: Latency,
    pub queue: Queue,
    pub fees: Fees,
    /// What returns are measured against, in the quote currency.
    pub capital: Decimal,
    /// How often equity is noted.
    pub sample_ns: i64,
}

impl Default for Settings {
    /// The simplest, not the kindest: no latency, the worst queue, no commission.
    fn default() -> Self {
        Self {
            latency: Latency::default(),
            queue: Queue::CancelShare(Decimal::ZERO),
            fees: Fees::default(),
            capital: Decimal::new(100_000, 0),
            sample_ns: 1_000_000_000,
        }
    }
}
