//! What a venue says about itself in the table of venues.

use super::Dialect;
use super::live::LiveFeed;

/// What may tell the venue of a capture.
#[derive(Clone, Copy, Debug)]
pub enum Clue<'a> {
    /// The exchange as the capture's header calls it, e.g. `BINANCE_FUTURES`.
    CaptureName(&'a str),
    /// An address that was connected to or asked over REST.
    Url(&'a str),
    /// A message, as the venue sent it.
    Message(&'a [u8]),
}

/// One venue: a family of exchanges that one dialect reads.
pub struct Venue {
    /// Every exchange id that the dialect may write, e.g. `binance-futures`.
    pub exchanges: &'static [&'static str],
    /// The exchange a clue points to; `None` if the clue says nothing about this venue or leaves
    /// open which of its markets it is.
    pub recognise: fn(&Clue<'_>) -> Option<&'static str>,
    /// A new dialect, see [`super::venues::dialect`].
    pub dialect: fn(exchange: &'static str, symbol: Option<&str>) -> Box<dyn Dialect>,
    /// How one of the exchanges is had live; `None` if it can only be read from captures.
    pub live: fn(exchange: &str) -> Option<&'static dyn LiveFeed>,
}
