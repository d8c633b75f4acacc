//! The state of a derivative, merged over the channels and deltas a venue sends it in.

use crate::event::TickerRow;
use crate::quantity::{Decimal, TsNs};

/// What is known about one derivative; every change makes a row with the whole state.
#[derive(Clone, Copy, Debug, Default)]
pub struct TickerState {
    row: TickerRow,
    changed: bool,
}

impl TickerState {
    /// Price of the last trade.
    pub fn last(&mut self, value: Option<Decimal>) {
        merge(&mut self.row.last, value, &mut self.changed);
    }

    /// Mark price.
    pub fn mark(&mut self, value: Option<Decimal>) {
        merge(&mut self.row.mark, value, &mut self.changed);
    }

    /// Index price.
    pub fn index(&mut self, value: Option<Decimal>) {
        merge(&mut self.row.index, value, &mut self.changed);
    }

    /// The venue gave an index price that cannot be stored.
    pub fn index_is_unknown(&mut self) {
        self.changed |= self.row.index.take().is_some();
    }

    /// Funding rate of the current period.
    pub fn funding_rate(&mut self, value: Option<Decimal>) {
        merge(&mut self.row.funding_rate, value, &mut self.changed);
    }

    /// Funding rate predicted for the next period.
    pub fn predicted_funding_rate(&mut self, value: Option<Decimal>) {
        merge(&mut self.row.predicted_funding_rate, value, &mut self.changed);
    }

    /// When funding is next exchanged.
    pub fn funding_ts(&mut self, value: Option<TsNs>) {
        merge(&mut self.row.funding_ts, value, &mut self.changed);
    }

    /// Open interest.
    pub fn open_interest(&mut self, value: Option<Decimal>) {
        merge(&mut self.row.open_interest, value, &mut self.changed);
    }

    /// Event time of what was merged last; keeps the old one where the message has none. A new
    /// time alone is no change.
    pub fn ts_event(&mut self, value: Option<TsNs>) {
        self.row.ts_event = value.or(self.row.ts_event);
    }

    /// The state as a row received at `ts_recv`, if anything changed since the last row.
    #[must_use]
    pub fn take(&mut self, ts_recv: TsNs) -> Option<TickerRow> {
        let row = TickerRow { ts_recv, ..self.row };
        std::mem::take(&mut self.changed).then_some(row)
    }
}

/// What tickers said of one instrument.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TickerFeed {
    /// The state of a derivative.
    pub ticker: TickerState,
    /// The best prices beside it.
    pub best: BestPrices,
}

/// Best prices that come with tickers: bid price and quantity, ask price and quantity.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BestPrices {
    last: Option<[Option<Decimal>; 4]>,
    elsewhere: bool,
    from_full: bool,
}

impl BestPrices {
    /// Another channel of the venue has the best prices.
    pub fn come_elsewhere(&mut self) {
        self.elsewhere = true;
    }

    /// Whether `values` are new and come from nowhere else. All nothing is a market without orders.
    pub fn is_news(&mut self, values: [Option<Decimal>; 4]) -> bool {
        self.last.replace(values) != Some(values) && !self.elsewhere
    }

    /// As [`BestPrices::is_news`] where two channels have them: from the first message of the full
    /// one on, what the other one says counts no more.
    pub fn is_news_of(&mut self, is_full: bool, values: [Option<Decimal>; 4]) -> bool {
        self.from_full |= is_full;
        self.from_full == is_full && self.is_news(values)
    }
}

/// A message that lacks a field says nothing about it.
fn merge<T: PartialEq + Copy>(field: &mut Option<T>, value: Option<T>, changed: &mut bool) {
    if value.is_some() && *field != value {
        *field = value;
        *changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_prices_are_news_when_they_change_and_come_from_nowhere_else() {
        let one = [Decimal::from_int(1), None, None, None];
        let mut best = BestPrices::default();
        assert!(best.is_news(one));
        assert!(!best.is_news(one));
        assert!(best.is_news([None; 4]));
        assert!(!best.is_news([None; 4]));
        assert!(best.is_news_of(false, one));
        assert!(best.is_news_of(true, [None; 4]));
        assert!(!best.is_news_of(false, one));
        best.come_elsewhere();
        assert!(!best.is_news(one));
    }

    #[test]
    fn a_row_has_the_whole_state_and_comes_only_with_a_change() {
        let one = Decimal::from_int(1);
        let mut state = TickerState::default();
        assert!(state.take(TsNs(1)).is_none());

        state.last(one);
        state.ts_event(Some(TsNs(7)));
        let row = state.take(TsNs(2)).unwrap();
        assert_eq!((row.last, row.ts_event, row.ts_recv), (one, Some(TsNs(7)), TsNs(2)));

        state.last(one);
        state.ts_event(Some(TsNs(8)));
        state.mark(None);
        assert!(state.take(TsNs(3)).is_none());

        state.index(one);
        assert_eq!(state.take(TsNs(3)).unwrap().index, one);
        state.index_is_unknown();
        assert_eq!(state.take(TsNs(3)).unwrap().index, None);
        state.index_is_unknown();
        assert!(state.take(TsNs(3)).is_none());

        state.open_interest(one);
        state.ts_event(None);
        let row = state.take(TsNs(4)).unwrap();
        assert_eq!((row.last, row.open_interest, row.ts_event), (one, one, Some(TsNs(8))));
    }
}
