//! Bitstamp live: the book's snapshot by REST.
//!
//! Rules from "WebSocket API v2" and "HTTP API" (Markets, Order book) of www.bitstamp.net:
//!
//! - Every channel has a request of its own. REST: 400 requests a second, 10,000 in ten minutes.
//! - Book: `diff_order_book`, the whole one. There is no channel of best prices that is not a book.
//! - The venue answers `bts:heartbeat`, and sends `bts:request_reconnect` before it ends a
//!   connection, at the latest after 90 days.

use serde::Deserialize;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{reconnect, refused, says};
use crate::quantity::TsNs;

/// The live feed.
pub(super) struct Live;

#[derive(Deserialize)]
struct Listed {
    /// `url_symbol` in the older list.
    #[serde(alias = "url_symbol")]
    market_symbol: String,
    trading: String,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://ws.bitstamp.net"
    }

    fn rest_url(&self) -> &'static str {
        "https://www.bitstamp.net"
    }

    fn manners(&self) -> Manners {
        Manners { resync: Resync::Snapshot, ..Manners::default() }
    }

    fn listings(&self) -> Vec<String> {
        vec!["/api/v2/markets/".to_owned()]
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Vec<Listed> = json::parse(body)?;
        let enabled = listing.into_iter().filter(|listed| listed.trading == "Enabled");
        Ok(enabled.map(|listed| listed.market_symbol).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let channel = match kind {
            Kind::Book => "diff_order_book",
            Kind::Trades => "live_trades",
            _ => return Vec::new(),
        };
        vec![Topic { path: "", name: format!("{channel}_{symbol}") }]
    }

    fn requests(&self, what: &str, topics: &[&str], _: u64, _: TsNs) -> Vec<String> {
        let request = |channel: &&str| {
            format!(r#"{{"event":"bts:{what}","data":{{"channel":"{channel}"}}}}"#)
        };
        topics.iter().map(request).collect()
    }

    fn snapshot(&self, symbol: &str) -> Option<String> {
        Some(format!("/api/v2/order_book/{symbol}/"))
    }

    fn ping(&self, _: u64, _: TsNs) -> Option<String> {
        Some(r#"{"event":"bts:heartbeat"}"#.to_owned())
    }

    fn heard(&self, message: &[u8]) -> Heard {
        match () {
            // Of data, the event stands at the end.
            () if message.starts_with(br#"{"data":{"#) && !says(message, "bts:") => Heard::Data,
            () if says(message, r#""bts:request_reconnect""#) => reconnect(message),
            () if says(message, r#""bts:error""#) => refused(message),
            () => Heard::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_a_request_of_its_own_and_what_is_traded_is_read() {
        let name = |kind| Live.topics(kind, "btcusd").pop().map(|topic| topic.name);
        assert_eq!(name(Kind::Book).unwrap(), "diff_order_book_btcusd");
        assert_eq!(name(Kind::Trades).unwrap(), "live_trades_btcusd");
        assert_eq!(name(Kind::Quotes), None);
        assert_eq!(
            Live.subscribe(&["diff_order_book_btcusd", "live_trades_btcusd"], 3, TsNs(0)),
            [
                r#"{"event":"bts:subscribe","data":{"channel":"diff_order_book_btcusd"}}"#,
                r#"{"event":"bts:subscribe","data":{"channel":"live_trades_btcusd"}}"#,
            ]
        );
        assert_eq!(
            Live.unsubscribe(&["live_trades_btcusd"], 3, TsNs(0)),
            [r#"{"event":"bts:unsubscribe","data":{"channel":"live_trades_btcusd"}}"#]
        );
        assert_eq!(Live.snapshot("btcusd").unwrap(), "/api/v2/order_book/btcusd/");
        assert_eq!(Live.ping(1, TsNs(0)).unwrap(), r#"{"event":"bts:heartbeat"}"#);
        let body = br#"[{"name":"BTC/USD","market_symbol":"btcusd","trading":"Enabled"},
            {"url_symbol":"btcpax","trading":"Disabled"}]"#;
        assert_eq!(Live.symbols("", body).unwrap(), ["btcusd"]);
        assert!(Live.symbols("", b"{}").is_err());
    }

    #[test]
    fn refusals_and_the_wish_for_a_new_connection_are_told_from_data() {
        let data =
            br#"{"data":{"bids":[],"asks":[]},"channel":"diff_order_book_x","event":"data"}"#;
        assert_eq!(Live.heard(data), Heard::Data);
        let answer = br#"{"event":"bts:subscription_succeeded","channel":"x","data":{}}"#;
        assert_eq!(Live.heard(answer), Heard::Data);
        let refusal = br#"{"event":"bts:error","channel":"","data":{"code":null,"message":
            "Bad subscription string."}}"#;
        assert!(matches!(Live.heard(refusal), Heard::Refused(why) if why.contains("Bad")));
        let end = br#"{"event":"bts:request_reconnect","channel":"","data":""}"#;
        assert!(matches!(Live.heard(end), Heard::Reconnect(_)));
    }
}
