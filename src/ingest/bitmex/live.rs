//! BitMEX live: tables, each with a `partial` first.
//!
//! Rules from "WebSocket API" of www.bitmex.com/app/wsAPI and its announcement "Rate-Limiting
//! WebSocket Connections":
//!
//! - 20 new connections an hour, so a connection takes many topics; 720 subscriptions an hour.
//! - The venue answers the text `ping` with `pong`.
//! - Book: `orderBookL2`, all of it, in real time.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{quoted, topics_of};
use crate::quantity::TsNs;

/// The live feed.
pub(super) struct Live;

#[derive(Deserialize)]
struct Listed {
    symbol: String,
    state: String,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://ws.bitmex.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://www.bitmex.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 500,
            topics_per_message: 20,
            message_every: Duration::from_secs(1),
            connect_every: Duration::from_secs(5),
            resync: Resync::Resubscribe,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        vec!["/api/v1/instrument/active".to_owned()]
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Vec<Listed> = json::parse(body)?;
        // What expired within the last day is listed too.
        let open = listing.into_iter().filter(|listed| listed.state == "Open");
        Ok(open.map(|listed| listed.symbol).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let table = match kind {
            Kind::Book => "orderBookL2",
            Kind::Trades => "trade",
            Kind::Quotes => "quote",
            Kind::Ticker => "instrument",
            Kind::Liquidations => "liquidation",
            _ => return Vec::new(),
        };
        topics_of("/realtime", &[table], symbol)
    }

    fn requests(&self, what: &str, topics: &[&str], _: u64, _: TsNs) -> Vec<String> {
        vec![format!(r#"{{"op":"{what}","args":[{}]}}"#, quoted(topics))]
    }

    fn ping(&self, _: u64, _: TsNs) -> Option<String> {
        Some("ping".to_owned())
    }

    fn heard(&self, message: &[u8]) -> Heard {
        match message.starts_with(br#"{"table":"#) {
            true => Heard::Data,
            false => json::refusal(message, "error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_all_topics_and_what_is_traded_is_read() {
        let name = |kind| Live.topics(kind, "XBTUSD").pop().unwrap().name;
        assert_eq!(name(Kind::Book), "orderBookL2:XBTUSD");
        assert_eq!(name(Kind::Trades), "trade:XBTUSD");
        assert_eq!(name(Kind::Quotes), "quote:XBTUSD");
        assert_eq!(name(Kind::Ticker), "instrument:XBTUSD");
        assert_eq!(name(Kind::Liquidations), "liquidation:XBTUSD");
        assert!(Live.topics(Kind::Orders, "XBTUSD").is_empty());
        assert_eq!(
            Live.subscribe(&["trade:A", "quote:B"], 3, TsNs(0)),
            [r#"{"op":"subscribe","args":["trade:A","quote:B"]}"#]
        );
        assert_eq!(
            Live.unsubscribe(&["trade:A"], 3, TsNs(0)),
            [r#"{"op":"unsubscribe","args":["trade:A"]}"#]
        );
        assert_eq!(Live.ping(1, TsNs(0)).unwrap(), "ping");
        let body = br#"[{"symbol":"XBTUSD","rootSymbol":"XBT","state":"Open","typ":"FFWCSX"},
            {"symbol":"XBTH26","state":"Settled"}]"#;
        assert_eq!(Live.symbols("", body).unwrap(), ["XBTUSD"]);
        assert!(Live.symbols("", b"{}").is_err());
    }

    #[test]
    fn a_refusal_is_told_from_data() {
        let data = br#"{"table":"trade","action":"insert","data":[{"error":1}]}"#;
        assert_eq!(Live.heard(data), Heard::Data);
        assert_eq!(Live.heard(b"pong"), Heard::Data);
        let answer = br#"{"success":true,"subscribe":"trade:A","request":{"op":"subscribe"}}"#;
        assert_eq!(Live.heard(answer), Heard::Data);
        let refusal = br#"{"status":400,"error":"Unknown table: x","meta":{},"request":{"op":
            "subscribe","args":["x"]}}"#;
        assert!(matches!(Live.heard(refusal), Heard::Refused(why) if why.contains("table: x")));
    }
}
