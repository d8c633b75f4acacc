//! OKX's markets, which Tardis names as four exchanges, told by the names of instruments.

use crate::error::Result;
use crate::quantity::Instrument;

pub(super) const SPOT: &str = "okex";
pub(super) const SWAP: &str = "okex-swap";
pub(super) const FUTURES: &str = "okex-futures";
pub(super) const OPTIONS: &str = "okex-options";

/// The instrument called `symbol`.
///
/// # Errors
/// As [`Instrument::new`].
pub(super) fn instrument(symbol: &str) -> Result<Instrument> {
    Instrument::new(exchange_of(symbol), symbol)
}

/// The market by the shape of the name: `BTC-USDT`, `BTC-USDT-SWAP`, `BTC-USD-220325`,
/// `BTC-USD-220325-40000-C`.
pub(super) fn exchange_of(symbol: &str) -> &'static str {
    let parts: Vec<&str> = symbol.split('-').collect();
    let is_date = |part: &str| part.len() == 6 && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts[..] {
        [_, _, "SWAP"] => SWAP,
        [_, _, date] if is_date(date) => FUTURES,
        [_, _, date, _, "C" | "P"] if is_date(date) => OPTIONS,
        _ => SPOT,
    }
}

/// The index that a derivative follows: `BTC-USD` of `BTC-USD-220325` and of `BTC-USD_UM-SWAP`.
pub(super) fn underlying(symbol: &str) -> String {
    let mut parts = symbol.split('-');
    let (base, quote) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let quote = quote.split('_').next().unwrap_or_default();
    format!("{base}-{quote}")
}
