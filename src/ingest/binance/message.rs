//! Binance's messages, typed; and which market a message is of.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::error::Result;
use crate::ingest::json::{self, Level, Number};
use crate::quantity::{Decimal, TsNs};

/// One of Binance's three markets with this dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Market {
    Spot,
    UsdM,
    CoinM,
}

impl Market {
    pub const ALL: [Self; 3] = [Self::Spot, Self::UsdM, Self::CoinM];

    /// The exchange id.
    pub const fn exchange(self) -> &'static str {
        match self {
            Self::Spot => "binance",
            Self::UsdM => "binance-futures",
            Self::CoinM => "binance-delivery",
        }
    }

    /// The market with this exchange id; spot for any other.
    pub fn of_exchange(exchange: &str) -> Self {
        Self::ALL.into_iter().find(|market| market.exchange() == exchange).unwrap_or(Self::Spot)
    }

    /// The market of an address, stream or REST.
    pub fn of_url(url: &str) -> Option<Self> {
        let host = url.split("://").nth(1)?.split(['/', ':', '?']).next()?;
        let host = host.strip_suffix(".binance.com").or(host.strip_suffix(".binance.vision"))?;
        match host {
            "stream" | "data-stream" | "ws-api" | "data-api" => Some(Self::Spot),
            "fstream" | "fstream-auth" | "fapi" => Some(Self::UsdM),
            "dstream" | "dstream-auth" | "dapi" => Some(Self::CoinM),
            // api, api1, api2, ..., api-gcp
            _ => host.starts_with("api").then_some(Self::Spot),
        }
    }

    /// The market of a message, as far as its shape tells.
    pub fn of_message(message: &[u8]) -> Option<Self> {
        let (_, data) = unwrap(json::text(message).ok()?).ok()?;
        let shape: Shape<'_> = json::parse_text(data).ok()?;
        shape.symbol.as_ref()?;
        if shape.pair.is_some() {
            return Some(Self::CoinM);
        }
        match shape.event.as_deref() {
            Some("depthUpdate") if shape.previous.is_some() => Some(Self::UsdM),
            Some("depthUpdate") => Some(Self::Spot),
            Some("bookTicker") => Some(Self::UsdM),
            Some("trade" | "aggTrade") => shape.best_match.map(|_| Self::Spot),
            None if shape.is_spot_quote() => Some(Self::Spot),
            _ => None,
        }
    }
}

/// The fields whose presence tells a market.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(rename = "e")]
    event: Option<Cow<'a, str>>,
    #[serde(rename = "s")]
    symbol: Option<Cow<'a, str>>,
    #[serde(rename = "ps")]
    pair: Option<IgnoredAny>,
    #[serde(rename = "pu")]
    previous: Option<IgnoredAny>,
    #[serde(rename = "M")]
    best_match: Option<IgnoredAny>,
    #[serde(rename = "u")]
    update: Option<IgnoredAny>,
    #[serde(rename = "B")]
    bid_qty: Option<IgnoredAny>,
    #[serde(rename = "A")]
    ask_qty: Option<IgnoredAny>,
}

impl Shape<'_> {
    fn is_spot_quote(&self) -> bool {
        self.update.is_some() && self.bid_qty.is_some() && self.ask_qty.is_some()
    }
}

/// Splits `{"stream":"btcusdt@trade","data":{...}}` into stream name and data; a message without
/// that wrapping is all data.
pub(super) fn unwrap(message: &str) -> Result<(&str, &str)> {
    let message = message.trim();
    let split = message.strip_prefix("{\"stream\":\"").and_then(|rest| {
        let (stream, rest) = rest.split_once('"')?;
        let data = rest.strip_prefix(",\"data\":")?.strip_suffix('}')?;
        Some((stream, data))
    });
    if let Some(split) = split {
        return Ok(split);
    }
    if !message.contains("\"stream\"") || !message.contains("\"data\"") {
        return Ok(("", message));
    }
    let wrapped: Wrapped<'_> = json::parse_text(message)?;
    Ok((wrapped.stream, wrapped.data.get()))
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    stream: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Depth,
    Snapshot,
    BookTicker,
    Trade,
    AggTrade,
    MarkPrice,
    IndexPrice,
    Ticker,
    ForceOrder,
    OpenInterest,
    /// Candles, answers to subscriptions, partial depth: nothing that is stored.
    Other,
}

impl Channel {
    /// The channel of a message with this stream name (may be empty) and data.
    pub fn of(stream: &str, data: &str) -> Result<Self> {
        let name = stream.split('@').nth(1).unwrap_or_default();
        Ok(match name {
            "depth" => Self::Depth,
            "depthSnapshot" => Self::Snapshot,
            "bookTicker" => Self::BookTicker,
            "trade" => Self::Trade,
            "aggTrade" => Self::AggTrade,
            "markPrice" => Self::MarkPrice,
            "indexPrice" => Self::IndexPrice,
            "ticker" => Self::Ticker,
            "forceOrder" => Self::ForceOrder,
            "openInterest" => Self::OpenInterest,
            "" | "arr" => Self::of_data(data)?,
            _ => Self::Other,
        })
    }

    fn of_data(data: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Peek<'a> {
            e: Option<Cow<'a, str>>,
            #[serde(rename = "lastUpdateId")]
            last_update_id: Option<IgnoredAny>,
            #[serde(rename = "openInterest")]
            open_interest: Option<IgnoredAny>,
            s: Option<IgnoredAny>,
            u: Option<IgnoredAny>,
            #[serde(rename = "B")]
            bid_qty: Option<IgnoredAny>,
        }

        if !data.starts_with('{') {
            return Ok(Self::Other);
        }
        let peek: Peek<'_> = json::parse_text(data)?;
        Ok(match peek.e.as_deref() {
            Some("depthUpdate") => Self::Depth,
            Some("bookTicker") => Self::BookTicker,
            Some("trade") => Self::Trade,
            Some("aggTrade") => Self::AggTrade,
            Some("markPriceUpdate") => Self::MarkPrice,
            Some("indexPriceUpdate") => Self::IndexPrice,
            Some("24hrTicker") => Self::Ticker,
            Some("forceOrder") => Self::ForceOrder,
            Some(_) => Self::Other,
            None if peek.last_update_id.is_some() => Self::Snapshot,
            None if peek.open_interest.is_some() => Self::OpenInterest,
            None if peek.s.is_some() && peek.u.is_some() && peek.bid_qty.is_some() => {
                Self::BookTicker
            }
            None => Self::Other,
        })
    }
}

/// Changed levels between two update ids.
#[derive(Deserialize)]
pub(super) struct Depth<'a> {
    #[serde(rename = "E")]
    event_ms: i64,
    #[serde(rename = "T")]
    transaction_ms: Option<i64>,
    #[serde(rename = "s", borrow)]
    pub symbol: Cow<'a, str>,
    /// COIN-M only.
    #[serde(rename = "ps")]
    pub pair: Option<IgnoredAny>,
    #[serde(rename = "U")]
    pub first: i64,
    #[serde(rename = "u")]
    pub last: i64,
    /// `u` of the message before; futures only.
    #[serde(rename = "pu")]
    pub previous: Option<i64>,
    #[serde(rename = "b", borrow)]
    pub bids: Vec<Level<'a>>,
    #[serde(rename = "a", borrow)]
    pub asks: Vec<Level<'a>>,
}

impl Depth<'_> {
    pub fn ts_event(&self) -> Result<TsNs> {
        json::ts_ms(self.transaction_ms.unwrap_or(self.event_ms))
    }
}

/// A whole book from REST.
#[derive(Deserialize)]
pub(super) struct Snapshot<'a> {
    #[serde(rename = "lastUpdateId")]
    pub last: i64,
    #[serde(rename = "E")]
    event_ms: Option<i64>,
    #[serde(rename = "T")]
    transaction_ms: Option<i64>,
    pub symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub bids: Vec<Level<'a>>,
    #[serde(borrow)]
    pub asks: Vec<Level<'a>>,
}

impl Snapshot<'_> {
    pub fn ts_event(&self) -> Result<Option<TsNs>> {
        self.transaction_ms.or(self.event_ms).map(json::ts_ms).transpose()
    }
}

/// Best bid and ask; without times on spot.
#[derive(Deserialize)]
pub(super) struct BookTicker<'a> {
    #[serde(rename = "u")]
    pub update: i64,
    #[serde(rename = "s", borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(rename = "b", borrow)]
    bid_price: Number<'a>,
    #[serde(rename = "B", borrow)]
    bid_qty: Number<'a>,
    #[serde(rename = "a", borrow)]
    ask_price: Number<'a>,
    #[serde(rename = "A", borrow)]
    ask_qty: Number<'a>,
    #[serde(rename = "T")]
    transaction_ms: Option<i64>,
    #[serde(rename = "E")]
    event_ms: Option<i64>,
}

impl BookTicker<'_> {
    pub fn ts_event(&self) -> Result<Option<TsNs>> {
        self.transaction_ms.or(self.event_ms).map(json::ts_ms).transpose()
    }

    pub fn bid(&self) -> Result<Option<(Decimal, Decimal)>> {
        side(self.bid_price, self.bid_qty)
    }

    pub fn ask(&self) -> Result<Option<(Decimal, Decimal)>> {
        side(self.ask_price, self.ask_qty)
    }
}

/// A side without orders is sent as price 0, quantity 0.
fn side(price: Number<'_>, qty: Number<'_>) -> Result<Option<(Decimal, Decimal)>> {
    let (price, qty) = (price.decimal()?, qty.decimal()?);
    Ok((!price.is_zero() || !qty.is_zero()).then_some((price, qty)))
}

/// One print, or several of one order at one price (`aggTrade`).
#[derive(Deserialize)]
pub(super) struct Trade<'a> {
    #[serde(rename = "T")]
    transaction_ms: i64,
    #[serde(rename = "s", borrow)]
    pub symbol: Cow<'a, str>,
    /// Id of the print.
    #[serde(rename = "t", borrow)]
    pub id: Option<Number<'a>>,
    /// Of `aggTrade`: its last print.
    #[serde(rename = "l")]
    pub last: Option<i64>,
    #[serde(rename = "p", borrow)]
    pub price: Number<'a>,
    #[serde(rename = "q", borrow)]
    pub qty: Number<'a>,
    /// The buyer was the maker, so the seller is the aggressor.
    #[serde(rename = "m")]
    pub buyer_is_maker: bool,
}

impl Trade<'_> {
    pub fn ts_event(&self) -> Result<TsNs> {
        json::ts_ms(self.transaction_ms)
    }
}

/// The id of an `aggTrade`. In `trade` messages of old, `a` is an order's id.
#[derive(Deserialize)]
pub(super) struct AggTradeId<'a> {
    #[serde(rename = "a", borrow)]
    pub id: Number<'a>,
}

/// Mark price, index and funding.
#[derive(Deserialize)]
pub(super) struct MarkPrice<'a> {
    #[serde(rename = "E")]
    pub event_ms: i64,
    #[serde(rename = "s", borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(rename = "p", borrow)]
    pub mark: Number<'a>,
    #[serde(rename = "i", borrow)]
    pub index: Option<Number<'a>>,
    #[serde(rename = "r", borrow)]
    rate: Option<Number<'a>>,
    #[serde(rename = "T")]
    next_funding_ms: Option<i64>,
}

impl MarkPrice<'_> {
    /// Funding rate and when it is next exchanged; futures with a delivery date have none, which
    /// is sent as time 0.
    pub fn funding(&self) -> Result<Option<(Option<Decimal>, TsNs)>> {
        match (self.next_funding_ms, self.rate) {
            (Some(ms), Some(rate)) if ms > 0 => {
                Ok(Some((rate.decimal_or_none()?, json::ts_ms(ms)?)))
            }
            _ => Ok(None),
        }
    }
}

/// Price of a COIN-M index; `i` is the pair.
#[derive(Deserialize)]
pub(super) struct IndexPrice<'a> {
    #[serde(rename = "i", borrow)]
    pub pair: Cow<'a, str>,
    #[serde(rename = "p", borrow)]
    pub price: Number<'a>,
}

/// Statistics of 24 hours, of which the last price is kept.
#[derive(Deserialize)]
pub(super) struct Ticker<'a> {
    #[serde(rename = "E")]
    pub event_ms: i64,
    #[serde(rename = "s", borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(rename = "c", borrow)]
    pub last: Number<'a>,
}

/// A liquidation order.
#[derive(Deserialize)]
pub(super) struct ForceOrder<'a> {
    #[serde(rename = "o", borrow)]
    pub order: ForcedOrder<'a>,
}

/// What is liquidated.
#[derive(Deserialize)]
pub(super) struct ForcedOrder<'a> {
    #[serde(rename = "s", borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(rename = "S", borrow)]
    pub side: Cow<'a, str>,
    #[serde(rename = "p", borrow)]
    pub price: Number<'a>,
    #[serde(rename = "q", borrow)]
    pub qty: Number<'a>,
    #[serde(rename = "T")]
    pub transaction_ms: i64,
}

/// Open interest from REST.
#[derive(Deserialize)]
pub(super) struct OpenInterest<'a> {
    #[serde(borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(rename = "openInterest", borrow)]
    pub value: Number<'a>,
    #[serde(rename = "time")]
    pub time_ms: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_market_is_told_by_address_or_shape() {
        for (url, market) in [
            ("wss://stream.binance.com:9443/stream?streams=x", Some(Market::Spot)),
            ("https://api.binance.com/api/v3/depth?symbol=X", Some(Market::Spot)),
            ("https://api3.binance.com/api/v3/depth", Some(Market::Spot)),
            ("wss://fstream.binance.com/stream?streams=x", Some(Market::UsdM)),
            ("https://dapi.binance.com/dapi/v1/depth", Some(Market::CoinM)),
            ("wss://data-stream.binance.vision/ws", Some(Market::Spot)),
            ("wss://ws.okx.com:8443/ws/v5/public", None),
            ("https://evil.com/?api.binance.com", None),
        ] {
            assert_eq!(Market::of_url(url), market, "{url}");
        }
        for (message, market) in [
            (
                r#"{"stream":"a@depth","data":{"e":"depthUpdate","s":"A","U":1,"u":2}}"#,
                Some(Market::Spot),
            ),
            (r#"{"e":"depthUpdate","s":"A","U":1,"u":2,"pu":0}"#, Some(Market::UsdM)),
            (r#"{"e":"depthUpdate","s":"A","ps":"A","U":1,"u":2,"pu":0}"#, Some(Market::CoinM)),
            (r#"{"u":1,"s":"A","b":"1","B":"1","a":"1","A":"1"}"#, Some(Market::Spot)),
            (
                r#"{"e":"bookTicker","u":1,"s":"A","b":"1","B":"1","a":"1","A":"1"}"#,
                Some(Market::UsdM),
            ),
            (r#"{"e":"trade","s":"A","M":true}"#, Some(Market::Spot)),
            (r#"{"e":"trade","s":"A","X":"MARKET"}"#, None),
            (r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#, None),
            ("[1]", None),
        ] {
            assert_eq!(Market::of_message(message.as_bytes()), market, "{message}");
        }
    }

    #[test]
    fn the_wrapping_of_combined_streams_is_taken_off() {
        for (message, stream, data) in [
            (r#"{"stream":"x@depth@0ms","data":{"e":1}}"#, "x@depth@0ms", r#"{"e":1}"#),
            (r#"{"stream":"x@a","generated":true,"data":{"e":1}}"#, "x@a", r#"{"e":1}"#),
            (r#"{"data":{"e":1},"stream":"x@a"}"#, "x@a", r#"{"e":1}"#),
            (r#"{"e":"trade"}"#, "", r#"{"e":"trade"}"#),
        ] {
            assert_eq!(unwrap(message).unwrap(), (stream, data));
        }
        assert!(unwrap(r#"{"stream":1,"data":2}"#).is_err());
    }

    #[test]
    fn a_channel_is_told_by_stream_or_data() {
        for (stream, data, channel) in [
            ("x@depth@0ms", "{}", Channel::Depth),
            ("x@depth20@100ms", "{}", Channel::Other),
            ("x@kline_1m", "{}", Channel::Other),
            ("!bookTicker", r#"{"e":"bookTicker"}"#, Channel::BookTicker),
            ("!forceOrder@arr", r#"{"e":"forceOrder"}"#, Channel::ForceOrder),
            ("", r#"{"u":1,"s":"A","B":"1"}"#, Channel::BookTicker),
            ("", r#"{"lastUpdateId":1}"#, Channel::Snapshot),
            ("", r#"{"result":null,"id":1}"#, Channel::Other),
        ] {
            assert_eq!(Channel::of(stream, data).unwrap(), channel, "{stream} {data}");
        }
        assert!(Channel::of("", "{").is_err());
    }
}
