//! The table of venue dialects: which exchange ids there are and who reads them.
//!
//! A new venue is one file with a [`Venue`] and one line in the table.

#[cfg(test)]
mod tests;

pub use super::venue::{Clue, Venue};

use super::Dialect;
use super::live::LiveFeed;
use crate::error::{Error, Result};

/// All venues.
static VENUES: &[Venue] = &[
    super::binance::VENUE,
    super::bybit::VENUE,
    super::okx::VENUE,
    super::kraken::VENUE,
    super::coinbase::VENUE,
    super::bitget::VENUE,
    super::ftx::VENUE,
    super::deribit::VENUE,
    super::kucoin::VENUE,
    super::gate::VENUE,
    super::bitfinex::VENUE,
    super::bitmex::VENUE,
    super::hyperliquid::VENUE,
    super::kraken_futures::VENUE,
    super::bitstamp::VENUE,
    super::crypto_com::VENUE,
    super::huobi::VENUE,
    super::kucoin_futures::VENUE,
];

/// A new dialect for a feed of `exchange`.
///
/// `exchange` is where messages belong that do not tell their market themselves (a connection's
/// address or a symbol may tell otherwise); `symbol` is the symbol of messages that name none.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] with all exchanges if there is no dialect for this one.
pub fn dialect(exchange: &str, symbol: Option<&str>) -> Result<Box<dyn Dialect>> {
    let found = VENUES.iter().find_map(|venue| {
        let exchange = venue.exchanges.iter().find(|known| **known == exchange)?;
        Some((venue.dialect)(exchange, symbol))
    });
    found.ok_or_else(|| {
        Error::invalid(format!("exchange {exchange:?}: expected one of {}", exchanges().join(", ")))
    })
}

/// How the feeds of `exchange` are had live.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] with all exchanges that are if this one is not.
pub fn live(exchange: &str) -> Result<&'static dyn LiveFeed> {
    let live = |exchange: &&str| {
        let venue = VENUES.iter().find(|venue| venue.exchanges.contains(exchange))?;
        (venue.live)(exchange)
    };
    live(&exchange).ok_or_else(|| {
        let known: Vec<_> = exchanges().into_iter().filter(|name| live(name).is_some()).collect();
        Error::invalid(format!("exchange {exchange:?}: expected one of {}", known.join(", ")))
    })
}

/// Every exchange id that has a dialect.
#[must_use]
pub fn exchanges() -> Vec<&'static str> {
    VENUES.iter().flat_map(|venue| venue.exchanges).copied().collect()
}

/// The exchange that a clue points to.
#[must_use]
pub fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    VENUES.iter().find_map(|venue| (venue.recognise)(clue))
}

/// The exchange id `text`, if it has a dialect.
#[must_use]
pub fn exchange(text: &str) -> Option<&'static str> {
    exchanges().into_iter().find(|known| *known == text)
}
