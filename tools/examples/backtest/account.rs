//! Cash, positions and round trips, exactly.
//!
//! An instrument is linear: its value is price x quantity in one quote currency, the same for all.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tickreel::Instrument;

use super::orders::{Fill, sign};

/// All positions, and the cash of all fills. Cash begins at 0: what is there is profit.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub cash: Decimal,
    pub fees: Decimal,
    /// The sum of price x quantity of all fills.
    pub turnover: Decimal,
    /// Profit of each round trip, from flat to flat, after fees.
    pub trips: Vec<Decimal>,
    holdings: BTreeMap<Instrument, Holding>,
}

/// A position, and the cash that came and went for it since it was last flat.
#[derive(Clone, Debug, Default)]
struct Holding {
    position: Decimal,
    trip_cash: Decimal,
}

impl Account {
    /// Books a fill. One that turns the position around ends a round trip and begins another.
    pub fn add(&mut self, fill: &Fill) {
        let position = self.position(&fill.instrument);
        let against = position * sign(fill.side) < Decimal::ZERO;
        let closing = if against { position.abs().min(fill.qty) } else { Decimal::ZERO };
        for part in [closing, fill.qty - closing] {
            if !part.is_zero() {
                self.add_part(fill, part);
            }
        }
        self.fees += fill.fee;
    }

    fn add_part(&mut self, fill: &Fill, part: Decimal) {
        let worth = fill.price * part;
        // The fee of a fill is in proportion to its quantity, so that of a part is exact.
        let cash = -worth * sign(fill.side) - fill.fee * part / fill.qty;
        self.cash += cash;
        self.turnover += worth;
        let holding = self.holdings.entry(fill.instrument.clone()).or_default();
        holding.trip_cash += cash;
        holding.position += part * sign(fill.side);
        if holding.position.is_zero() {
            self.trips.push(std::mem::take(&mut holding.trip_cash));
        }
    }

    pub fn position(&self, instrument: &Instrument) -> Decimal {
        self.holdings.get(instrument).map_or(Decimal::ZERO, |holding| holding.position)
    }

    /// Cash, and positions at their marks.
    pub fn value(&self, mark: impl Fn(&Instrument) -> Decimal) -> Decimal {
        let worth = |(name, held): (&Instrument, &Holding)| held.position * mark(name);
        self.cash + self.holdings.iter().map(worth).sum::<Decimal>()
    }
}
