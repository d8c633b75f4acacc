//! Coinbase live: Advanced Trade, everything in the stream, a snapshot first.
//!
//! Rules from "Advanced Trade WebSocket Overview", "Channels" and "Rate Limits" of
//! docs.cdp.coinbase.com:
//!
//! - Eight new connections and eight messages a second without a key. A channel that has nothing to
//!   say for a minute or so is ended unless `heartbeats` is subscribed to.
//! - Products quoted in USDC are shown under the name of their USD twin (their `alias`), so they
//!   are not listed.

use serde::Deserialize;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{by_channel, quoted, refused_if, says, topics_of};
use crate::quantity::TsNs;

/// The live feed.
pub(super) struct Live;

#[derive(Deserialize)]
struct Listing {
    products: Vec<Product>,
}

#[derive(Deserialize)]
struct Product {
    product_id: String,
    #[serde(default)]
    trading_disabled: bool,
    #[serde(default)]
    is_disabled: bool,
    #[serde(default)]
    alias: String,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://advanced-trade-ws.coinbase.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://api.coinbase.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            // A hole in the sequence of a connection is one in all its books, and a snapshot has
            // tens of thousands of levels.
            topics_per_connection: 30,
            topics_per_message: 10,
            resync: Resync::Resubscribe,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        vec!["/api/v3/brokerage/market/products?product_type=SPOT".to_owned()]
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let traded = listing.products.into_iter().filter(|product| {
            !product.trading_disabled && !product.is_disabled && product.alias.is_empty()
        });
        Ok(traded.map(|product| product.product_id).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        match kind {
            Kind::Book => topics_of("", &["level2"], symbol),
            Kind::Trades => topics_of("", &["market_trades"], symbol),
            Kind::Quotes => topics_of("", &["ticker"], symbol),
            _ => Vec::new(),
        }
    }

    fn greeting(&self) -> Vec<String> {
        vec![r#"{"type":"subscribe","channel":"heartbeats"}"#.to_owned()]
    }

    fn requests(&self, what: &str, topics: &[&str], _: u64, _: TsNs) -> Vec<String> {
        let request = |(channel, products): (&str, Vec<&str>)| {
            let products = quoted(&products);
            format!(r#"{{"type":"{what}","channel":"{channel}","product_ids":[{products}]}}"#)
        };
        by_channel(topics).into_iter().map(request).collect()
    }

    fn heard(&self, message: &[u8]) -> Heard {
        let is_data = message.starts_with(br#"{"channel":"#);
        refused_if(!is_data && says(message, r#""type":"error""#), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_products_of_a_channel_and_what_is_traded_is_read() {
        assert_eq!(
            Live.subscribe(&["level2:A-B", "ticker:A-B", "level2:C-D"], 3, TsNs(0)),
            [
                r#"{"type":"subscribe","channel":"level2","product_ids":["A-B","C-D"]}"#,
                r#"{"type":"subscribe","channel":"ticker","product_ids":["A-B"]}"#,
            ]
        );
        assert_eq!(
            Live.unsubscribe(&["level2:A-B"], 3, TsNs(0)),
            [r#"{"type":"unsubscribe","channel":"level2","product_ids":["A-B"]}"#]
        );
        let name = |kind| Live.topics(kind, "A-B").pop().map(|topic| topic.name);
        assert_eq!(name(Kind::Book).unwrap(), "level2:A-B");
        assert_eq!(name(Kind::Trades).unwrap(), "market_trades:A-B");
        assert_eq!(name(Kind::Quotes).unwrap(), "ticker:A-B");
        assert_eq!(name(Kind::Ticker), None);
        let body = br#"{"products":[{"product_id":"BTC-USD","price":"140.21","is_disabled":false,
            "status":"online","trading_disabled":false,"alias":"","alias_to":["BTC-USDC"]},
            {"product_id":"BTC-USDC","trading_disabled":false,"alias":"BTC-USD"},
            {"product_id":"C","trading_disabled":true},{"product_id":"D","is_disabled":true}],
            "num_products":4}"#;
        assert_eq!(Live.symbols("", body).unwrap(), ["BTC-USD"]);
        assert!(Live.symbols("", b"[]").is_err());
    }

    #[test]
    fn a_refusal_is_told_from_data() {
        let data = br#"{"channel":"heartbeats","timestamp":"2023-06-23T20:31:26.122969572Z",
            "sequence_num":0,"events":[{"heartbeat_counter":"3049"}]}"#;
        assert_eq!(Live.heard(data), Heard::Data);
        let refusal = br#"{"type":"error","message":"channel X is not supported"}"#;
        assert!(matches!(Live.heard(refusal), Heard::Refused(why) if why.contains("channel X")));
    }
}
