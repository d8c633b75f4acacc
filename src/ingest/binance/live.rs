//! Binance live: combined streams on `/stream`, the book's snapshot by REST.
//!
//! Rules from "WebSocket Streams" and "Web Socket Streams for Binance" of developers.binance.com:
//!
//! - 1,024 streams per connection (spot), 200 (futures); five of our messages per second (ten on
//!   futures); a connection ends after 24 hours; the venue pings, and a pong is enough.
//! - USD-M streams are on `/public` (book, quotes, trades) and `/market` (mark price,
//!   liquidations).
//! - Snapshot: `depth` with 5,000 levels on spot (weight 250 of 6,000 a minute), 1,000 on futures
//!   (weight 20 of 2,400 a minute).

use std::time::Duration;

use serde::Deserialize;

use super::message::Market;
use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic, quoted};
use crate::quantity::TsNs;

static SPOT: Live = Live(Market::Spot);
static USD_M: Live = Live(Market::UsdM);
static COIN_M: Live = Live(Market::CoinM);

/// The live feed of one of Binance's exchange ids.
pub(super) fn feed(exchange: &str) -> Option<&'static dyn LiveFeed> {
    Some(match Market::of_exchange(exchange) {
        Market::Spot => &SPOT,
        Market::UsdM => &USD_M,
        Market::CoinM => &COIN_M,
    })
}

struct Live(Market);

/// `exchangeInfo`, as far as it says what is traded.
#[derive(Deserialize)]
struct Listing {
    symbols: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    symbol: String,
    /// `contractStatus` on COIN-M.
    #[serde(alias = "contractStatus")]
    status: String,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        match self.0 {
            Market::Spot => "wss://stream.binance.com:9443",
            Market::UsdM => "wss://fstream.binance.com",
            Market::CoinM => "wss://dstream.binance.com",
        }
    }

    fn rest_url(&self) -> &'static str {
        match self.0 {
            Market::Spot => "https://api.binance.com",
            Market::UsdM => "https://fapi.binance.com",
            Market::CoinM => "https://dapi.binance.com",
        }
    }

    fn manners(&self) -> Manners {
        let spot = self.0 == Market::Spot;
        Manners {
            topics_per_connection: if spot { 1024 } else { 200 },
            topics_per_message: 50,
            message_every: Duration::from_millis(if spot { 250 } else { 120 }),
            connect_every: Duration::from_secs(1),
            ping_every: None,
            // The venue pings every 20 seconds on spot, every three minutes on futures.
            silence_max: Duration::from_secs(if spot { 60 } else { 240 }),
            age_max: Some(Duration::from_secs(23 * 3600 + 1800)),
            snapshot_every: Duration::from_millis(if spot { 3000 } else { 600 }),
            resync: Resync::Snapshot,
        }
    }

    fn listings(&self) -> Vec<String> {
        let path = match self.0 {
            Market::Spot => "/api/v3/exchangeInfo",
            Market::UsdM => "/fapi/v1/exchangeInfo",
            Market::CoinM => "/dapi/v1/exchangeInfo",
        };
        vec![path.to_owned()]
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let trading = listing.symbols.into_iter().filter(|listed| listed.status == "TRADING");
        Ok(trading.map(|listed| listed.symbol).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let futures = self.0 != Market::Spot;
        let names: &[&str] = match kind {
            Kind::Book => &["depth@100ms"],
            Kind::Trades => &["trade"],
            Kind::Quotes => &["bookTicker"],
            Kind::Ticker if futures => &["markPrice@1s", "ticker"],
            Kind::Liquidations if futures => &["forceOrder"],
            _ => &[],
        };
        let symbol = symbol.to_ascii_lowercase();
        let path = |name: &str| match (self.0, name) {
            (Market::UsdM, "depth@100ms" | "trade" | "bookTicker") => "/public/stream",
            (Market::UsdM, _) => "/market/stream",
            _ => "/stream",
        };
        let topic = |name: &&str| Topic { path: path(name), name: format!("{symbol}@{name}") };
        names.iter().map(topic).collect()
    }

    fn requests(&self, what: &str, topics: &[&str], id: u64, _: TsNs) -> Vec<String> {
        let (method, params) = (what.to_ascii_uppercase(), quoted(topics));
        vec![format!(r#"{{"method":"{method}","params":[{params}],"id":{id}}}"#)]
    }

    fn snapshot(&self, symbol: &str) -> Option<String> {
        Some(match self.0 {
            Market::Spot => format!("/api/v3/depth?symbol={symbol}&limit=5000"),
            Market::UsdM => format!("/fapi/v1/depth?symbol={symbol}&limit=1000"),
            Market::CoinM => format!("/dapi/v1/depth?symbol={symbol}&limit=1000"),
        })
    }

    fn heard(&self, message: &[u8]) -> Heard {
        // Data is `{"stream":` or `{"e":`; an answer is `{"result":null,"id":1}` or an error.
        match message {
            [b'{', b'"', b's' | b'e', b'"' | b't', ..] => Heard::Data,
            _ => json::refusal(message, "error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_on_the_paths_of_their_market() {
        let names = |live: &Live, kind| {
            let topics = live.topics(kind, "BTCUSDT").into_iter();
            topics.map(|topic| format!("{} {}", topic.path, topic.name)).collect::<Vec<_>>()
        };

        assert_eq!(names(&SPOT, Kind::Book), ["/stream btcusdt@depth@100ms"]);
        assert_eq!(names(&USD_M, Kind::Book), ["/public/stream btcusdt@depth@100ms"]);
        let market = ["/market/stream btcusdt@markPrice@1s", "/market/stream btcusdt@ticker"];
        assert_eq!(names(&USD_M, Kind::Ticker), market);
        assert!(names(&SPOT, Kind::Ticker).is_empty());
    }

    #[test]
    fn a_request_names_all_topics_and_what_is_traded_is_read() {
        assert_eq!(
            SPOT.subscribe(&["a@trade", "b@trade"], 3, TsNs(0)),
            [r#"{"method":"SUBSCRIBE","params":["a@trade","b@trade"],"id":3}"#]
        );
        let body =
            br#"{"symbols":[{"symbol":"A","status":"TRADING"},{"symbol":"B","status":"BREAK"},
            {"symbol":"C","contractStatus":"TRADING"}]}"#;
        assert_eq!(SPOT.symbols("", body).unwrap(), ["A", "C"]);
        assert!(SPOT.symbols("", b"{}").is_err());
    }

    #[test]
    fn a_refusal_is_told_from_data() {
        let data = br#"{"stream":"btcusdt@trade","data":{"e":"trade"}}"#;
        assert_eq!(SPOT.heard(data), Heard::Data);
        assert_eq!(SPOT.heard(br#"{"result":null,"id":1}"#), Heard::Data);
        let refused = br#"{"error":{"code":2,"msg":"Invalid request"},"id":1}"#;
        let Heard::Refused(why) = SPOT.heard(refused) else { panic!("not refused") };
        assert!(why.contains("Invalid request"), "{why}");
    }
}
