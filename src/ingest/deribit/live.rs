//! Deribit live, without a login: everything in the stream, a snapshot first.
//!
//! Rules from "Connection Management", "Rate Limits", `public/subscribe`, `public/set_heartbeat`
//! and `public/get_instruments` of docs.deribit.com:
//!
//! - 32 connections from one address; `public/subscribe` 3.3 times a second. Intervals of `raw`
//!   need a login, 100 ms do not.
//! - Once asked to, the venue sends heartbeats and test requests, which must be answered.
//! - Liquidations are marked trades, so they have the same topic. A channel that does not exist is
//!   only missing in the answer.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{quoted, says};
use crate::quantity::TsNs;

/// The live feed.
pub(super) struct Live;

#[derive(Deserialize)]
struct Listing {
    result: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    instrument_name: String,
    is_active: bool,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://www.deribit.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://www.deribit.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 500,
            topics_per_message: 50,
            message_every: Duration::from_millis(350),
            // Its own heartbeats are answered.
            ping_every: None,
            silence_max: Duration::from_secs(75),
            resync: Resync::Resubscribe,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        vec!["/api/v2/public/get_instruments?currency=any&expired=false".to_owned()]
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let active = listing.result.into_iter().filter(|listed| listed.is_active);
        Ok(active.map(|listed| listed.instrument_name).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let name = match kind {
            Kind::Book => format!("book.{symbol}.100ms"),
            Kind::Trades | Kind::Liquidations => format!("trades.{symbol}.100ms"),
            Kind::Quotes => format!("quote.{symbol}"),
            Kind::Ticker => format!("ticker.{symbol}.100ms"),
            _ => return Vec::new(),
        };
        vec![Topic { path: "/ws/api/v2", name }]
    }

    fn greeting(&self) -> Vec<String> {
        vec![request("set_heartbeat", r#""interval":30"#, 0)]
    }

    fn requests(&self, what: &str, topics: &[&str], id: u64, _: TsNs) -> Vec<String> {
        vec![request(what, &format!(r#""channels":[{}]"#, quoted(topics)), id)]
    }

    fn heard(&self, message: &[u8]) -> Heard {
        match message {
            _ if message.starts_with(br#"{"jsonrpc":"2.0","method":"subscription""#) => Heard::Data,
            _ if says(message, r#""type":"test_request""#) => Heard::Answer(request("test", "", 0)),
            _ => json::refusal(message, "error"),
        }
    }
}

fn request(method: &str, params: &str, id: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"public/{method}","params":{{{params}}}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_all_topics_and_what_is_traded_is_read() {
        let name = |kind| Live.topics(kind, "A-B").pop().unwrap().name;
        assert_eq!(name(Kind::Book), "book.A-B.100ms");
        assert_eq!(name(Kind::Trades), "trades.A-B.100ms");
        assert_eq!(name(Kind::Liquidations), name(Kind::Trades));
        assert_eq!(name(Kind::Quotes), "quote.A-B");
        assert_eq!(name(Kind::Ticker), "ticker.A-B.100ms");
        assert!(Live.topics(Kind::Orders, "A-B").is_empty());
        assert_eq!(
            Live.subscribe(&["book.A.100ms", "quote.B"], 3, TsNs(0)),
            [concat!(
                r#"{"jsonrpc":"2.0","id":3,"method":"public/subscribe","#,
                r#""params":{"channels":["book.A.100ms","quote.B"]}}"#,
            )]
        );
        assert!(Live.unsubscribe(&["a"], 3, TsNs(0))[0].contains("public/unsubscribe"));
        let body = br#"{"jsonrpc":"2.0","id":1,"result":[{"tick_size":2.5,"kind":"future",
            "is_active":true,"instrument_name":"BTC-29SEP23","state":"open"},
            {"is_active":false,"instrument_name":"X"}]}"#;
        assert_eq!(Live.symbols("", body).unwrap(), ["BTC-29SEP23"]);
        assert!(Live.symbols("", b"{}").is_err());
    }

    #[test]
    fn test_requests_are_answered_and_refusals_told() {
        assert_eq!(
            Live.greeting(),
            [concat!(
                r#"{"jsonrpc":"2.0","id":0,"method":"public/set_heartbeat","#,
                r#""params":{"interval":30}}"#,
            )]
        );
        let data = br#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"quote.A"}}"#;
        assert_eq!(Live.heard(data), Heard::Data);
        let beat = br#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}"#;
        assert_eq!(Live.heard(beat), Heard::Data);
        let test = br#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#;
        let answer = r#"{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}"#;
        assert_eq!(Live.heard(test), Heard::Answer(answer.to_owned()));
        let result = br#"{"jsonrpc":"2.0","id":3,"result":["quote.A"],"usDiff":10}"#;
        assert_eq!(Live.heard(result), Heard::Data);
        let refusal = br#"{"jsonrpc":"2.0","id":3,"error":{"message":"Invalid params","data":
            {"reason":"wrong format","param":"channels"},"code":-32602},"usDiff":10}"#;
        assert!(matches!(Live.heard(refusal), Heard::Refused(why) if why.contains("-32602")));
    }
}
