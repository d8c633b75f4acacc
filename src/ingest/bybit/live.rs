//! Bybit live: everything in the stream, a snapshot first.
//!
//! Rules from "Connect", "Orderbook", "Trade", "Ticker" and "All Liquidation" of
//! bybit-exchange.github.io/docs/v5/ws:
//!
//! - Each market has its own path: `/v5/public/spot`, `linear` (settled in USDT or USDC) and
//!   `inverse`. On spot a request has at most ten topics.
//! - The venue wants `ping` every 20 seconds. 500 new connections in five minutes.
//! - Book: 200 levels every 100 ms; spot has 1,000 in the 200 ms that it takes for 200. Quotes:
//!   `orderbook.1`, every 10 ms.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{quoted, refused_if, says};
use crate::quantity::TsNs;

/// The live feed of contracts, or of spot.
pub(super) fn feed(spot: bool) -> &'static dyn LiveFeed {
    if spot { &Live { spot: true } } else { &Live { spot: false } }
}

struct Live {
    spot: bool,
}

#[derive(Deserialize)]
struct Listing {
    result: Listed,
}

#[derive(Deserialize)]
struct Listed {
    list: Vec<Instrument>,
}

#[derive(Deserialize)]
struct Instrument {
    symbol: String,
    status: String,
}

impl Live {
    /// `BTCUSD` and `BTCUSDZ25` are inverse; `BTCUSDT`, `BTCPERP` and `BTC-26DEC25` are linear.
    fn path(&self, symbol: &str) -> &'static str {
        let pair = match symbol.as_bytes() {
            [.., month, b'0'..=b'9', b'0'..=b'9'] if month.is_ascii_uppercase() => {
                symbol.get(..symbol.len() - 3).unwrap_or(symbol)
            }
            _ => symbol,
        };
        match (self.spot, pair.ends_with("USD")) {
            (true, _) => "/v5/public/spot",
            (false, true) => "/v5/public/inverse",
            (false, false) => "/v5/public/linear",
        }
    }
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://stream.bybit.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://api.bybit.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 200,
            topics_per_message: 10,
            ping_every: Some(Duration::from_secs(18)),
            silence_max: Duration::from_secs(45),
            resync: Resync::Resubscribe,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        let categories: &[&str] = if self.spot { &["spot"] } else { &["linear", "inverse"] };
        let path = |category: &&str| {
            format!("/v5/market/instruments-info?category={category}&status=Trading&limit=1000")
        };
        categories.iter().map(path).collect()
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let trading = listing.result.list.into_iter().filter(|listed| listed.status == "Trading");
        Ok(trading.map(|listed| listed.symbol).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let channel = match kind {
            Kind::Book if self.spot => "orderbook.1000",
            Kind::Book => "orderbook.200",
            Kind::Trades => "publicTrade",
            Kind::Quotes => "orderbook.1",
            Kind::Ticker if !self.spot => "tickers",
            Kind::Liquidations if !self.spot => "allLiquidation",
            _ => return Vec::new(),
        };
        vec![Topic { path: self.path(symbol), name: format!("{channel}.{symbol}") }]
    }

    fn requests(&self, what: &str, topics: &[&str], id: u64, _: TsNs) -> Vec<String> {
        vec![format!(r#"{{"req_id":"{id}","op":"{what}","args":[{}]}}"#, quoted(topics))]
    }

    fn ping(&self, id: u64, _: TsNs) -> Option<String> {
        Some(format!(r#"{{"req_id":"{id}","op":"ping"}}"#))
    }

    fn heard(&self, message: &[u8]) -> Heard {
        let is_data = message.starts_with(br#"{"topic":"#);
        refused_if(!is_data && says(message, r#""success":false"#), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(spot: bool, kind: Kind, symbol: &str) -> String {
        let topics = feed(spot).topics(kind, symbol).into_iter();
        topics.map(|topic| format!("{} {}", topic.path, topic.name)).collect()
    }

    #[test]
    fn contracts_are_on_the_path_of_what_they_settle_in() {
        for (symbol, path) in [
            ("BTCUSDT", "linear"),
            ("BTCUSDT-26DEC25", "linear"),
            ("BTC-26DEC25", "linear"),
            ("BTCPERP", "linear"),
            ("BTCUSD", "inverse"),
            ("BTCUSDZ25", "inverse"),
        ] {
            let expected = format!("/v5/public/{path} orderbook.200.{symbol}");
            assert_eq!(name(false, Kind::Book, symbol), expected);
        }
        assert_eq!(name(true, Kind::Book, "XUSD"), "/v5/public/spot orderbook.1000.XUSD");
        assert_eq!(name(true, Kind::Quotes, "X"), "/v5/public/spot orderbook.1.X");
        assert_eq!(name(true, Kind::Trades, "X"), "/v5/public/spot publicTrade.X");
        assert_eq!(name(false, Kind::Ticker, "X"), "/v5/public/linear tickers.X");
        assert_eq!(name(false, Kind::Liquidations, "X"), "/v5/public/linear allLiquidation.X");
        assert_eq!(name(true, Kind::Ticker, "X") + &name(true, Kind::Liquidations, "X"), "");
    }

    #[test]
    fn a_request_names_all_topics_and_what_is_traded_is_read() {
        let live = feed(false);
        assert_eq!(
            live.subscribe(&["orderbook.200.A", "publicTrade.A"], 3, TsNs(0)),
            [r#"{"req_id":"3","op":"subscribe","args":["orderbook.200.A","publicTrade.A"]}"#]
        );
        assert_eq!(
            live.unsubscribe(&["tickers.A"], 4, TsNs(0)),
            [r#"{"req_id":"4","op":"unsubscribe","args":["tickers.A"]}"#]
        );
        assert_eq!(live.ping(5, TsNs(0)).unwrap(), r#"{"req_id":"5","op":"ping"}"#);
        assert_eq!(
            live.listings()[1],
            "/v5/market/instruments-info?category=inverse&status=Trading&limit=1000"
        );
        assert_eq!(feed(true).listings().len(), 1);
        let body = br#"{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[
            {"symbol":"A","contractType":"LinearPerpetual","status":"Trading"},
            {"symbol":"B","status":"PreLaunch"}],"nextPageCursor":""},"time":1735809771618}"#;
        assert_eq!(live.symbols("", body).unwrap(), ["A"]);
        assert!(live.symbols("", b"{}").is_err());
    }

    #[test]
    fn a_refusal_is_told_from_data() {
        let live = feed(true);
        let data = br#"{"topic":"publicTrade.A","ts":1,"type":"snapshot","data":[]}"#;
        assert_eq!(live.heard(data), Heard::Data);
        let answer =
            br#"{"success":true,"ret_msg":"","conn_id":"a","req_id":"3","op":"subscribe"}"#;
        assert_eq!(live.heard(answer), Heard::Data);
        let refusal = br#"{"success":false,"ret_msg":"Invalid symbol :[orderbook.1.X]",
            "conn_id":"a","req_id":"3","op":"subscribe"}"#;
        assert!(matches!(live.heard(refusal), Heard::Refused(why) if why.contains("Invalid")));
    }
}
