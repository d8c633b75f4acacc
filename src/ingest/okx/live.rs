//! OKX live: everything in the stream, a snapshot first.
//!
//! Rules from "WebSocket" of www.okx.com/docs-v5 (Connect, Subscribe, Notification, Public Data,
//! Market Data):
//!
//! - Three new connections a second; 480 requests to subscribe or end it an hour on one connection,
//!   64 kB each; a connection on which nothing came for 30 seconds is ended, and the text `ping` is
//!   answered with `pong`.
//! - Book: `books`, 400 levels every 100 ms (what is faster needs a login). Trades: `trades-all`,
//!   one by one, on `/business`. Quotes: `bbo-tbt`.
//! - Liquidations: one topic for all instruments of a type.
//! - The notice 64008 comes a minute before the venue ends the connection.

use std::time::Duration;

use serde::Deserialize;

use super::market::{FUTURES, OPTIONS, SPOT, SWAP, underlying};
use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{reconnect, refused, says, topics_of};
use crate::quantity::TsNs;

const PUBLIC: &str = "/ws/v5/public";
const BUSINESS: &str = "/ws/v5/business";

/// Families of options: the venue lists options by family only.
const OPTION_FAMILIES: [&str; 2] = ["BTC-USD", "ETH-USD"];

/// The live feed of one of OKX's exchange ids.
pub(super) fn feed(exchange: &str) -> Option<&'static dyn LiveFeed> {
    Some(match exchange {
        SPOT => &Live("SPOT"),
        SWAP => &Live("SWAP"),
        FUTURES => &Live("FUTURES"),
        OPTIONS => &Live("OPTION"),
        _ => return None,
    })
}

/// Of one type of instrument, as the venue calls it.
struct Live(&'static str);

#[derive(Deserialize)]
struct Listing {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "instId")]
    symbol: String,
    state: String,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://ws.okx.com:8443"
    }

    fn rest_url(&self) -> &'static str {
        "https://www.okx.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 100,
            topics_per_message: 20,
            message_every: Duration::from_millis(400),
            ping_every: Some(Duration::from_secs(20)),
            silence_max: Duration::from_secs(45),
            resync: Resync::Resubscribe,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        let path = format!("/api/v5/public/instruments?instType={}", self.0);
        match self.0 {
            "OPTION" => {
                OPTION_FAMILIES.iter().map(|family| format!("{path}&instFamily={family}")).collect()
            }
            _ => vec![path],
        }
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let live = listing.data.into_iter().filter(|listed| listed.state == "live");
        Ok(live.map(|listed| listed.symbol).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let derivative = self.0 != "SPOT";
        match kind {
            Kind::Book => topics_of(PUBLIC, &["books"], symbol),
            Kind::Trades => topics_of(BUSINESS, &["trades-all"], symbol),
            Kind::Quotes => topics_of(PUBLIC, &["bbo-tbt"], symbol),
            Kind::Ticker if derivative => {
                let mut topics =
                    topics_of(PUBLIC, &["tickers", "mark-price", "open-interest"], symbol);
                if self.0 == "SWAP" {
                    topics.extend(topics_of(PUBLIC, &["funding-rate"], symbol));
                }
                topics.extend(topics_of(PUBLIC, &["index-tickers"], &underlying(symbol)));
                topics
            }
            Kind::Liquidations if derivative => topics_of(PUBLIC, &["liquidation-orders"], self.0),
            _ => Vec::new(),
        }
    }

    fn requests(&self, what: &str, topics: &[&str], id: u64, _: TsNs) -> Vec<String> {
        let argument = |topic: &&str| {
            let (channel, symbol) = topic.split_once(':').unwrap_or((topic, ""));
            let name = if channel == "liquidation-orders" { "instType" } else { "instId" };
            format!(r#"{{"channel":"{channel}","{name}":"{symbol}"}}"#)
        };
        let arguments: Vec<_> = topics.iter().map(argument).collect();
        vec![format!(r#"{{"id":"{id}","op":"{what}","args":[{}]}}"#, arguments.join(","))]
    }

    fn ping(&self, _: u64, _: TsNs) -> Option<String> {
        Some("ping".to_owned())
    }

    fn heard(&self, message: &[u8]) -> Heard {
        if !message.starts_with(br#"{"event":"#) {
            return Heard::Data;
        }
        match () {
            () if says(message, r#""event":"notice""#) => reconnect(message),
            () if says(message, r#""event":"error""#) => refused(message),
            () => Heard::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(exchange: &str, kind: Kind, symbol: &str) -> Vec<String> {
        let topics = feed(exchange).unwrap().topics(kind, symbol).into_iter();
        topics.map(|topic| format!("{} {}", topic.path, topic.name)).collect()
    }

    #[test]
    fn a_swap_has_its_state_in_five_channels_and_its_liquidations_in_one_for_all() {
        assert_eq!(
            names(SWAP, Kind::Ticker, "BTC-USD_UM-SWAP"),
            [
                "/ws/v5/public tickers:BTC-USD_UM-SWAP",
                "/ws/v5/public mark-price:BTC-USD_UM-SWAP",
                "/ws/v5/public open-interest:BTC-USD_UM-SWAP",
                "/ws/v5/public funding-rate:BTC-USD_UM-SWAP",
                "/ws/v5/public index-tickers:BTC-USD",
            ]
        );
        assert_eq!(names(OPTIONS, Kind::Ticker, "BTC-USD-220325-40000-C").len(), 4);
        let liquidations = ["/ws/v5/public liquidation-orders:FUTURES"];
        assert_eq!(names(FUTURES, Kind::Liquidations, "BTC-USD-220325"), liquidations);
        assert_eq!(names(SPOT, Kind::Trades, "A-B"), ["/ws/v5/business trades-all:A-B"]);
        assert_eq!(names(SPOT, Kind::Book, "A-B"), ["/ws/v5/public books:A-B"]);
        assert_eq!(names(SPOT, Kind::Quotes, "A-B"), ["/ws/v5/public bbo-tbt:A-B"]);
        assert!(names(SPOT, Kind::Ticker, "A-B").is_empty());
        assert!(names(SPOT, Kind::Liquidations, "A-B").is_empty());
        assert!(feed("other").is_none());
    }

    #[test]
    fn a_request_names_all_topics_and_what_is_traded_is_read() {
        let live = feed(SWAP).unwrap();
        let topics = ["books:A-B-SWAP", "liquidation-orders:SWAP"];
        assert_eq!(
            live.subscribe(&topics, 3, TsNs(0)),
            [concat!(
                r#"{"id":"3","op":"subscribe","args":[{"channel":"books","#,
                r#""instId":"A-B-SWAP"},{"channel":"liquidation-orders","#,
                r#""instType":"SWAP"}]}"#,
            )]
        );
        assert!(live.unsubscribe(&topics, 4, TsNs(0))[0].starts_with(r#"{"id":"4","op":"unsub"#));
        let body = br#"{"code":"0","msg":"","data":[{"instType":"SWAP","instId":"A","state":
            "live"},{"instType":"SWAP","instId":"B","state":"suspend"}]}"#;
        assert_eq!(live.symbols("", body).unwrap(), ["A"]);
        assert!(live.symbols("", b"{}").is_err());
        assert_eq!(live.listings(), ["/api/v5/public/instruments?instType=SWAP"]);
        assert_eq!(
            feed(OPTIONS).unwrap().listings()[1],
            "/api/v5/public/instruments?instType=OPTION&instFamily=ETH-USD"
        );
        assert_eq!(live.ping(1, TsNs(0)).unwrap(), "ping");
    }

    #[test]
    fn refusals_and_the_notice_of_an_end_are_told_from_data() {
        let live = feed(SPOT).unwrap();
        let data = br#"{"arg":{"channel":"trades-all","instId":"A-B"},"data":[]}"#;
        assert_eq!(live.heard(data), Heard::Data);
        assert_eq!(live.heard(b"pong"), Heard::Data);
        let answer =
            br#"{"event":"subscribe","arg":{"channel":"books","instId":"A"},"connId":"a"}"#;
        assert_eq!(live.heard(answer), Heard::Data);
        let error = br#"{"event":"error","code":"60012","msg":"Invalid request","connId":"a4"}"#;
        assert!(matches!(live.heard(error), Heard::Refused(why) if why.contains("60012")));
        let notice = br#"{"event":"notice","code":"64008","msg":"The connection will soon be closed
            for a service upgrade. Please reconnect.","connId":"a4d3ae55"}"#;
        assert!(matches!(live.heard(notice), Heard::Reconnect(why) if why.contains("upgrade")));
    }
}
