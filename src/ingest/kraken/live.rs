//! Kraken live: WebSocket version 2, everything in the stream, a snapshot first.
//!
//! Rules from "Book", "Trade", "Ticker" of "Spot WebSocket v2", "Ping" and "Get Tradable Asset
//! Pairs" of docs.kraken.com:
//!
//! - `wss://ws.kraken.com/v2`, some 150 new connections in ten minutes. How many messages are too
//!   many depends on the load; nothing is said about symbols of a connection.
//! - Book: 1,000 levels. Quotes: `ticker` at every change of the best prices.
//! - The pairs are listed as version 1 names them (`wsname`); version 2 has `BTC` for `XBT` and
//!   `DOGE` for `XDG`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{by_channel, quoted, topics_of};
use crate::quantity::TsNs;

/// The live feed.
pub(super) struct Live;

#[derive(Deserialize)]
struct Listing {
    result: BTreeMap<String, Pair>,
}

#[derive(Deserialize)]
struct Pair {
    wsname: Option<String>,
    status: Option<String>,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://ws.kraken.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://api.kraken.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 150,
            topics_per_message: 30,
            connect_every: Duration::from_secs(5),
            ping_every: Some(Duration::from_secs(20)),
            resync: Resync::Resubscribe,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        vec!["/0/public/AssetPairs".to_owned()]
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let online = |pair: &Pair| pair.status.as_deref().is_none_or(|status| status == "online");
        let pairs = listing.result.into_values().filter(online);
        Ok(pairs.filter_map(|pair| Some(name_of_version_2(&pair.wsname?))).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        match kind {
            Kind::Book => topics_of("/v2", &["book"], symbol),
            Kind::Trades => topics_of("/v2", &["trade"], symbol),
            Kind::Quotes => topics_of("/v2", &["ticker"], symbol),
            _ => Vec::new(),
        }
    }

    fn requests(&self, what: &str, topics: &[&str], id: u64, _: TsNs) -> Vec<String> {
        let request = |(channel, symbols): (&str, Vec<&str>)| {
            let option = match (channel, what) {
                ("book", _) => r#","depth":1000"#,
                ("ticker", _) => r#","event_trigger":"bbo""#,
                // The recent trades fill the hole that a reconnect left.
                ("trade", "subscribe") => r#","snapshot":true"#,
                _ => "",
            };
            let symbols = quoted(&symbols);
            let params = format!(r#""channel":"{channel}","symbol":[{symbols}]{option}"#);
            format!(r#"{{"method":"{what}","params":{{{params}}},"req_id":{id}}}"#)
        };
        by_channel(topics).into_iter().map(request).collect()
    }

    fn ping(&self, id: u64, _: TsNs) -> Option<String> {
        Some(format!(r#"{{"method":"ping","req_id":{id}}}"#))
    }

    fn heard(&self, message: &[u8]) -> Heard {
        match message.starts_with(br#"{"channel":"#) {
            true => Heard::Data,
            false => json::refusal(message, "error"),
        }
    }
}

fn name_of_version_2(wsname: &str) -> String {
    let asset = |asset| match asset {
        "XBT" => "BTC",
        "XDG" => "DOGE",
        other => other,
    };
    wsname.split('/').map(asset).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_symbols_of_a_channel() {
        let topics = ["book:BTC/USD", "trade:BTC/USD", "ticker:BTC/USD", "book:ETH/USD"];
        assert_eq!(
            Live.subscribe(&topics, 3, TsNs(0)),
            [
                concat!(
                    r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","#,
                    r#""ETH/USD"],"depth":1000},"req_id":3}"#,
                ),
                concat!(
                    r#"{"method":"subscribe","params":{"channel":"ticker","#,
                    r#""symbol":["BTC/USD"],"event_trigger":"bbo"},"req_id":3}"#,
                ),
                concat!(
                    r#"{"method":"subscribe","params":{"channel":"trade","#,
                    r#""symbol":["BTC/USD"],"snapshot":true},"req_id":3}"#,
                ),
            ]
        );
        assert_eq!(
            Live.unsubscribe(&["trade:BTC/USD"], 4, TsNs(0)),
            [concat!(
                r#"{"method":"unsubscribe","params":{"channel":"trade","#,
                r#""symbol":["BTC/USD"]},"req_id":4}"#,
            )]
        );
        let name = |kind| Live.topics(kind, "A/B").pop().map(|topic| topic.name);
        assert_eq!(name(Kind::Book).unwrap(), "book:A/B");
        assert_eq!(name(Kind::Trades).unwrap(), "trade:A/B");
        assert_eq!(name(Kind::Quotes).unwrap(), "ticker:A/B");
        assert_eq!(name(Kind::Ticker), None);
        assert_eq!(Live.ping(7, TsNs(0)).unwrap(), r#"{"method":"ping","req_id":7}"#);
    }

    #[test]
    fn what_is_traded_is_named_as_version_2_does() {
        let body = br#"{"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD",
            "status":"online"},"XDGXBT":{"wsname":"XDG/XBT","status":"online"},
            "OLD":{"wsname":"OLD/USD","status":"cancel_only"},"DARK":{"status":"online"}}}"#;
        assert_eq!(Live.symbols("", body).unwrap(), ["DOGE/BTC", "BTC/USD"]);
        assert!(Live.symbols("", b"{}").is_err());
    }

    #[test]
    fn a_refusal_is_told_from_data() {
        assert_eq!(Live.heard(br#"{"channel":"heartbeat"}"#), Heard::Data);
        let answer =
            br#"{"method":"subscribe","result":{"channel":"trade","snapshot":true,"symbol":
            "A/B"},"success":true,"time_in":"2023-09-25T09:04:31.742599Z","req_id":3}"#;
        assert_eq!(Live.heard(answer), Heard::Data);
        let refusal = br#"{"error":"Currency pair not supported XBT/USD","method":"subscribe",
            "success":false,"symbol":"XBT/USD","time_in":"2018-11-12T21:14:59.545897Z"}"#;
        assert!(matches!(Live.heard(refusal), Heard::Refused(why) if why.contains("XBT/USD")));
    }
}
