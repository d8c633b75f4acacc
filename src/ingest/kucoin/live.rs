//! KuCoin spot live: the book's snapshot by REST.
//!
//! Rules from "Introduction" and "Rate Limit" of the WebSocket part, "Get Public Token", "Get Part
//! OrderBook" and "Get All Symbols" of www.kucoin.com/docs-new:
//!
//! - The address and a token are asked for by POST before each connection; both are good for 24
//!   hours. The venue wants a ping every 18 seconds.
//! - 100 messages in ten seconds, 300 topics on a connection, 100 symbols in one.
//! - The whole book needs a key; without one a snapshot has 100 levels a side (weight 4 of 2,000 in
//!   30 seconds). Levels beyond them are known from their first change on.

use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{by_channel, refused_if, says, topics_of};
use crate::quantity::TsNs;

/// The live feed.
pub(super) struct Live;

#[derive(Deserialize)]
struct Listing {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    symbol: String,
    enable_trading: bool,
}

#[derive(Deserialize)]
struct Ticket {
    data: Token,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    token: String,
    instance_servers: Vec<Server>,
}

#[derive(Deserialize)]
struct Server {
    endpoint: String,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://ws-api-spot.kucoin.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://api.kucoin.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 300,
            topics_per_message: 100,
            message_every: Duration::from_millis(150),
            ping_every: Some(Duration::from_secs(15)),
            age_max: Some(Duration::from_secs(23 * 3600 + 1800)),
            snapshot_every: Duration::from_millis(200),
            resync: Resync::Snapshot,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        vec!["/api/v2/symbols".to_owned()]
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let traded = listing.data.into_iter().filter(|listed| listed.enable_trading);
        Ok(traded.map(|listed| listed.symbol).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        match kind {
            Kind::Book => topics_of("", &["/market/level2"], symbol),
            Kind::Trades => topics_of("", &["/market/match"], symbol),
            Kind::Quotes => topics_of("", &["/market/ticker"], symbol),
            _ => Vec::new(),
        }
    }

    fn ticket(&self) -> Option<&'static str> {
        Some("/api/v1/bullet-public")
    }

    fn address(&self, _: &str, _: &str, ticket: &[u8]) -> Result<String> {
        let Ticket { data } = json::parse(ticket)?;
        let server = data.instance_servers.first();
        let server = server.ok_or_else(|| Error::invalid("ticket: expected an instance server"))?;
        Ok(format!("{}?token={}", server.endpoint, data.token))
    }

    fn requests(&self, what: &str, topics: &[&str], id: u64, _: TsNs) -> Vec<String> {
        let request = |(channel, symbols): (&str, Vec<&str>)| {
            let topic = format!("{channel}:{}", symbols.join(","));
            format!(r#"{{"id":"{id}","type":"{what}","topic":"{topic}","response":true}}"#)
        };
        by_channel(topics).into_iter().map(request).collect()
    }

    fn snapshot(&self, symbol: &str) -> Option<String> {
        Some(format!("/api/v1/market/orderbook/level2_100?symbol={symbol}"))
    }

    fn ping(&self, id: u64, _: TsNs) -> Option<String> {
        Some(format!(r#"{{"id":"{id}","type":"ping"}}"#))
    }

    fn heard(&self, message: &[u8]) -> Heard {
        let is_answer = message.starts_with(br#"{"id":"#);
        refused_if(is_answer && says(message, r#""type":"error""#), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticket_says_where_to_connect() {
        let ticket = br#"{"code":"200000","data":{"token":"2neA==.mv==","instanceServers":[
            {"endpoint":"wss://ws-api-spot.kucoin.com/","encrypt":true,"protocol":"websocket",
            "pingInterval":18000,"pingTimeout":10000}]}}"#;
        let address = Live.address("wss://set.by.user", "", ticket).unwrap();
        assert_eq!(address, "wss://ws-api-spot.kucoin.com/?token=2neA==.mv==");
        let none = br#"{"code":"200000","data":{"token":"2","instanceServers":[]}}"#;
        assert!(Live.address("", "", none).is_err());
        assert!(Live.address("", "", b"").is_err());
        assert_eq!(Live.ticket(), Some("/api/v1/bullet-public"));
    }

    #[test]
    fn a_request_names_the_symbols_of_a_channel_and_what_is_traded_is_read() {
        let topics = ["/market/level2:A-B", "/market/match:A-B", "/market/level2:C-D"];
        assert_eq!(
            Live.subscribe(&topics, 3, TsNs(0)),
            [
                r#"{"id":"3","type":"subscribe","topic":"/market/level2:A-B,C-D","response":true}"#,
                r#"{"id":"3","type":"subscribe","topic":"/market/match:A-B","response":true}"#,
            ]
        );
        assert_eq!(
            Live.unsubscribe(&["/market/ticker:A-B"], 4, TsNs(0)),
            [r#"{"id":"4","type":"unsubscribe","topic":"/market/ticker:A-B","response":true}"#]
        );
        let name = |kind| Live.topics(kind, "A-B").pop().map(|topic| topic.name);
        assert_eq!(name(Kind::Book).unwrap(), "/market/level2:A-B");
        assert_eq!(name(Kind::Trades).unwrap(), "/market/match:A-B");
        assert_eq!(name(Kind::Quotes).unwrap(), "/market/ticker:A-B");
        assert_eq!(name(Kind::Ticker), None);
        assert_eq!(Live.ping(9, TsNs(0)).unwrap(), r#"{"id":"9","type":"ping"}"#);
        let body = br#"{"code":"200000","data":[{"symbol":"BTC-USDT","name":"BTC-USDT",
            "baseCurrency":"BTC","enableTrading":true},{"symbol":"X","enableTrading":false}]}"#;
        assert_eq!(Live.symbols("", body).unwrap(), ["BTC-USDT"]);
        assert!(Live.symbols("", b"{}").is_err());
    }

    #[test]
    fn a_refusal_is_told_from_data() {
        let data = br#"{"topic":"/market/match:A-B","type":"message","subject":"trade.l3match",
            "data":{"type":"match"}}"#;
        assert_eq!(Live.heard(data), Heard::Data);
        assert_eq!(Live.heard(br#"{"id":"hQvf8jkno","type":"welcome"}"#), Heard::Data);
        assert_eq!(Live.heard(br#"{"id":"3","type":"ack"}"#), Heard::Data);
        let refusal = br#"{"id":"3","type":"error","code":404,"data":"topic /market/x is not
            found"}"#;
        assert!(matches!(Live.heard(refusal), Heard::Refused(why) if why.contains("404")));
    }
}
