//! Hyperliquid live: whole books each time.
//!
//! Rules from "WebSocket", "Subscriptions", "Timeouts and heartbeats", "Rate limits and user
//! limits" and "Info endpoint" of hyperliquid.gitbook.io/hyperliquid-docs:
//!
//! - Of one address: ten connections, 30 new ones a minute, 1,000 subscriptions, 2,000 messages a
//!   minute. A connection on which the venue sent nothing for a minute is ended; `ping` keeps it.
//! - Perpetuals are listed by POST. Spot pairs (`PURR/USDC`, `@107`) are not, but can be had.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{refused_if, says, topics_of};
use crate::quantity::TsNs;

/// The live feed.
pub(super) struct Live;

#[derive(Deserialize)]
struct Listing {
    universe: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    #[serde(default)]
    is_delisted: bool,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://api.hyperliquid.xyz"
    }

    fn rest_url(&self) -> &'static str {
        "https://api.hyperliquid.xyz"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 100,
            topics_per_message: 10,
            message_every: Duration::from_millis(50),
            connect_every: Duration::from_secs(2),
            ping_every: Some(Duration::from_secs(25)),
            silence_max: Duration::from_secs(60),
            resync: Resync::Resubscribe,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        vec!["/info".to_owned()]
    }

    fn listing_body(&self, _: &str) -> Option<&'static str> {
        Some(r#"{"type":"meta"}"#)
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let traded = listing.universe.into_iter().filter(|listed| !listed.is_delisted);
        Ok(traded.map(|listed| listed.name).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let is_spot = symbol.starts_with('@') || symbol.contains('/');
        let channel = match kind {
            Kind::Book => "l2Book",
            Kind::Trades => "trades",
            Kind::Quotes => "bbo",
            Kind::Ticker if !is_spot => "activeAssetCtx",
            _ => return Vec::new(),
        };
        topics_of("/ws", &[channel], symbol)
    }

    fn requests(&self, what: &str, topics: &[&str], _: u64, _: TsNs) -> Vec<String> {
        let request = |topic: &&str| {
            let (channel, coin) = topic.split_once(':').unwrap_or((topic, ""));
            let subscription = format!(r#"{{"type":"{channel}","coin":"{coin}"}}"#);
            format!(r#"{{"method":"{what}","subscription":{subscription}}}"#)
        };
        topics.iter().map(request).collect()
    }

    fn ping(&self, _: u64, _: TsNs) -> Option<String> {
        Some(r#"{"method":"ping"}"#.to_owned())
    }

    fn heard(&self, message: &[u8]) -> Heard {
        refused_if(says(message.get(..64).unwrap_or(message), r#""channel":"error""#), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_a_request_of_its_own_and_what_is_traded_is_read() {
        let name = |kind, symbol| Live.topics(kind, symbol).pop().map(|topic| topic.name);
        assert_eq!(name(Kind::Book, "BTC").unwrap(), "l2Book:BTC");
        assert_eq!(name(Kind::Trades, "BTC").unwrap(), "trades:BTC");
        assert_eq!(name(Kind::Quotes, "@107").unwrap(), "bbo:@107");
        assert_eq!(name(Kind::Ticker, "xyz:NVDA").unwrap(), "activeAssetCtx:xyz:NVDA");
        assert_eq!(name(Kind::Ticker, "@107"), None);
        assert_eq!(name(Kind::Liquidations, "BTC"), None);
        assert_eq!(
            Live.subscribe(&["l2Book:BTC", "trades:xyz:NVDA"], 3, TsNs(0)),
            [
                r#"{"method":"subscribe","subscription":{"type":"l2Book","coin":"BTC"}}"#,
                r#"{"method":"subscribe","subscription":{"type":"trades","coin":"xyz:NVDA"}}"#,
            ]
        );
        assert_eq!(
            Live.unsubscribe(&["bbo:@107"], 3, TsNs(0)),
            [r#"{"method":"unsubscribe","subscription":{"type":"bbo","coin":"@107"}}"#]
        );
        assert_eq!(Live.ping(1, TsNs(0)).unwrap(), r#"{"method":"ping"}"#);
        assert_eq!(Live.listing_body("/info"), Some(r#"{"type":"meta"}"#));
        let body = br#"{"universe":[{"name":"BTC","szDecimals":5,"maxLeverage":50},
            {"name":"OLD","szDecimals":0,"isDelisted":true}],"marginTables":[]}"#;
        assert_eq!(Live.symbols("", body).unwrap(), ["BTC"]);
        assert!(Live.symbols("", b"{}").is_err());
    }

    #[test]
    fn a_refusal_is_told_from_data() {
        assert_eq!(Live.heard(br#"{"channel":"l2Book","data":{"coin":"BTC"}}"#), Heard::Data);
        assert_eq!(Live.heard(br#"{"channel":"pong"}"#), Heard::Data);
        let refusal = br#"{"channel":"error","data":"Invalid subscription {\"type\":\"x\"}"}"#;
        assert!(matches!(Live.heard(refusal), Heard::Refused(why) if why.contains("Invalid")));
    }
}
