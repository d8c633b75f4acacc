//! Trades from before, which a venue sends again with every subscription.

use std::collections::{HashMap, HashSet};

/// The subscriptions that have begun, and the last trade of each symbol.
#[derive(Debug, Default)]
pub(super) struct RecentTrades {
    /// Connection and symbol of trades seen.
    begun: HashSet<(u32, String)>,
    /// Time of the last trade, as the venue counts it, by symbol.
    last: HashMap<String, i64>,
}

impl RecentTrades {
    /// Whether a trade of this time is to be stored. The first message of a symbol on a connection
    /// holds recent trades: of them, those later than the last one seen fill the hole that a
    /// reconnect left.
    pub fn is_news(&self, connection: u32, symbol: &str, time: i64) -> bool {
        self.begun.contains(&(connection, symbol.to_owned()))
            || self.last.get(symbol).is_some_and(|last| time > *last)
    }

    /// A message with a trade of this time has been read.
    pub fn note(&mut self, connection: u32, symbol: &str, time: i64) {
        self.begun.insert((connection, symbol.to_owned()));
        let last = self.last.entry(symbol.to_owned()).or_default();
        *last = time.max(*last);
    }

    /// The connection begins anew.
    pub fn lost(&mut self, connection: u32) {
        self.begun.retain(|(of, _)| *of != connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_subscription_begins_with_is_news_as_far_as_it_is_later() {
        let mut trades = RecentTrades::default();
        assert!(!trades.is_news(1, "X", 5));
        trades.note(1, "X", 5);
        trades.note(1, "X", 4);
        assert!(trades.is_news(1, "X", 4));
        assert!(!trades.is_news(1, "Y", 9));

        trades.lost(2);
        assert!(trades.is_news(1, "X", 4));
        trades.lost(1);
        assert!(!trades.is_news(1, "X", 5));
        assert!(trades.is_news(1, "X", 6));
    }
}
