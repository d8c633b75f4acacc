//! Kraken Futures live: everything in the stream, a snapshot first.
//!
//! Rules from "Futures WebSocket", "Rate Limits" and "Get instruments" of docs.kraken.com:
//!
//! - 100 connections and 100 requests a second. The venue wants a ping every 60 seconds, for which
//!   it has no text.
//! - Book: `book`, all of it, level by level. Quotes come with `ticker`, at most once a second;
//!   liquidations are marked trades, so they have the same topic.

use std::time::Duration;

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
    instruments: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    symbol: String,
    tradeable: bool,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://futures.kraken.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://futures.kraken.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 150,
            topics_per_message: 30,
            message_every: Duration::from_millis(100),
            ping_every: Some(Duration::from_secs(25)),
            silence_max: Duration::from_secs(60),
            resync: Resync::Resubscribe,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        vec!["/derivatives/api/v3/instruments".to_owned()]
    }

    /// In capitals, as messages have them wherever the listing does not.
    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let traded = listing.instruments.into_iter().filter(|listed| listed.tradeable);
        Ok(traded.map(|listed| listed.symbol.to_ascii_uppercase()).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let feed = match kind {
            Kind::Book => "book",
            Kind::Trades | Kind::Liquidations => "trade",
            Kind::Quotes | Kind::Ticker => "ticker",
            _ => return Vec::new(),
        };
        topics_of("/ws/v1", &[feed], symbol)
    }

    fn requests(&self, what: &str, topics: &[&str], _: u64, _: TsNs) -> Vec<String> {
        let request = |(feed, products): (&str, Vec<&str>)| {
            let products = quoted(&products);
            format!(r#"{{"event":"{what}","feed":"{feed}","product_ids":[{products}]}}"#)
        };
        by_channel(topics).into_iter().map(request).collect()
    }

    fn heard(&self, message: &[u8]) -> Heard {
        let events = ["error", "alert", "subscribed_failed", "unsubscribed_failed"];
        let is_refusal = |event: &&str| says(message, &format!(r#""event":"{event}""#));
        let is_event = message.starts_with(br#"{"event":"#);
        refused_if(is_event && events.iter().any(is_refusal), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_products_of_a_feed_and_what_is_traded_is_read() {
        let name = |kind| Live.topics(kind, "PF_XBTUSD").pop().unwrap().name;
        assert_eq!(name(Kind::Book), "book:PF_XBTUSD");
        assert_eq!(name(Kind::Trades), "trade:PF_XBTUSD");
        assert_eq!(name(Kind::Liquidations), "trade:PF_XBTUSD");
        assert_eq!(name(Kind::Quotes), "ticker:PF_XBTUSD");
        assert_eq!(name(Kind::Ticker), "ticker:PF_XBTUSD");
        assert!(Live.topics(Kind::Orders, "PF_XBTUSD").is_empty());
        assert_eq!(
            Live.subscribe(&["book:A", "trade:A", "book:B"], 3, TsNs(0)),
            [
                r#"{"event":"subscribe","feed":"book","product_ids":["A","B"]}"#,
                r#"{"event":"subscribe","feed":"trade","product_ids":["A"]}"#,
            ]
        );
        assert_eq!(
            Live.unsubscribe(&["book:A"], 3, TsNs(0)),
            [r#"{"event":"unsubscribe","feed":"book","product_ids":["A"]}"#]
        );
        assert_eq!(Live.ping(1, TsNs(0)), None);
        let body = br#"{"result":"success","instruments":[{"symbol":"pi_xbtusd","type":
            "futures_inverse","tradeable":true},{"symbol":"in_xbtusd","tradeable":false}]}"#;
        assert_eq!(Live.symbols("", body).unwrap(), ["PI_XBTUSD"]);
        assert!(Live.symbols("", b"{}").is_err());
    }

    #[test]
    fn a_refusal_is_told_from_data() {
        let data = br#"{"feed":"book","product_id":"PI_XBTUSD","side":"sell","seq":1}"#;
        assert_eq!(Live.heard(data), Heard::Data);
        assert_eq!(Live.heard(br#"{"event":"info","version":1}"#), Heard::Data);
        let answer = br#"{"event":"subscribed","feed":"book","product_ids":["PI_XBTUSD"]}"#;
        assert_eq!(Live.heard(answer), Heard::Data);
        let refusal = br#"{"event":"error","message":"Invalid product id"}"#;
        assert!(matches!(Live.heard(refusal), Heard::Refused(why) if why.contains("product id")));
        let alert = br#"{"event":"alert","message":"Bad websocket message"}"#;
        assert!(matches!(Live.heard(alert), Heard::Refused(_)));
    }
}
