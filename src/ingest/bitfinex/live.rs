//! Bitfinex live: everything in the stream, a snapshot first.
//!
//! Rules from "General", "Public Channels", "Configuration", "Books", "Status" and "Configs" of
//! docs.bitfinex.com:
//!
//! - 20 new connections a minute, 25 channels on one; every channel has a request of its own.
//! - A subscription is ended by the number that its answer gave it, so a broken book is healed by a
//!   new connection.
//! - `conf` asks for the sequence of the connection (65536), times (32768) and checksums (131072).
//! - Book: 250 levels a side, precision P0, in real time. Liquidations: one channel for all.
//! - The infos 20051 (the server is about to stop) and 20061 (maintenance is over) ask for a new
//!   connection.

use std::time::Duration;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{reconnect, refused, says};
use crate::quantity::TsNs;

const PATH: &str = "/ws/2";

/// The live feed of perpetual contracts, or of spot.
pub(super) fn feed(derivatives: bool) -> &'static dyn LiveFeed {
    if derivatives { &Live { derivatives: true } } else { &Live { derivatives: false } }
}

struct Live {
    derivatives: bool,
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://api-pub.bitfinex.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://api-pub.bitfinex.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 25,
            topics_per_message: 5,
            message_every: Duration::from_millis(100),
            connect_every: Duration::from_millis(3100),
            resync: Resync::Reconnect,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        let list = if self.derivatives { "futures" } else { "exchange" };
        vec![format!("/v2/conf/pub:list:pair:{list}")]
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let [pairs]: [Vec<String>; 1] = json::parse(body)?;
        Ok(pairs.into_iter().filter(|pair| pair.contains("F0:") == self.derivatives).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let name = match kind {
            Kind::Book => format!("book:t{symbol}"),
            Kind::Trades => format!("trades:t{symbol}"),
            Kind::Quotes => format!("ticker:t{symbol}"),
            Kind::Ticker if self.derivatives => format!("status:deriv:t{symbol}"),
            Kind::Liquidations if self.derivatives => "status:liq:global".to_owned(),
            _ => return Vec::new(),
        };
        vec![Topic { path: PATH, name }]
    }

    fn greeting(&self) -> Vec<String> {
        vec![r#"{"event":"conf","flags":229376}"#.to_owned()]
    }

    fn requests(&self, _: &str, topics: &[&str], _: u64, _: TsNs) -> Vec<String> {
        topics.iter().map(|topic| request(topic)).collect()
    }

    /// None: it takes the number of the channel, see [`Resync::Reconnect`].
    fn unsubscribe(&self, _: &[&str], _: u64, _: TsNs) -> Vec<String> {
        Vec::new()
    }

    fn ping(&self, id: u64, _: TsNs) -> Option<String> {
        Some(format!(r#"{{"event":"ping","cid":{id}}}"#))
    }

    fn heard(&self, message: &[u8]) -> Heard {
        let is_end = || ["20051", "20061"].iter().any(|code| says(message, code));
        match () {
            () if !message.starts_with(br#"{"event":"#) => Heard::Data,
            () if says(message, r#""event":"error""#) => refused(message),
            () if says(message, r#""event":"info","code""#) && is_end() => reconnect(message),
            () => Heard::Data,
        }
    }
}

fn request(topic: &str) -> String {
    let (channel, name) = topic.split_once(':').unwrap_or((topic, ""));
    let arguments = match channel {
        "book" => format!(r#""symbol":"{name}","prec":"P0","freq":"F0","len":"250""#),
        "status" => format!(r#""key":"{name}""#),
        _ => format!(r#""symbol":"{name}""#),
    };
    format!(r#"{{"event":"subscribe","channel":"{channel}",{arguments}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_a_request_of_its_own() {
        let live = feed(true);
        let symbol = "BTCF0:USTF0";
        let names: Vec<_> =
            [Kind::Book, Kind::Trades, Kind::Quotes, Kind::Ticker, Kind::Liquidations]
                .iter()
                .map(|kind| live.topics(*kind, symbol).pop().unwrap().name)
                .collect();
        let topics: Vec<_> = names.iter().map(|name| &**name).collect();
        assert_eq!(
            live.subscribe(&topics, 3, TsNs(0)),
            [
                concat!(
                    r#"{"event":"subscribe","channel":"book","symbol":"tBTCF0:USTF0","#,
                    r#""prec":"P0","freq":"F0","len":"250"}"#,
                ),
                r#"{"event":"subscribe","channel":"trades","symbol":"tBTCF0:USTF0"}"#,
                r#"{"event":"subscribe","channel":"ticker","symbol":"tBTCF0:USTF0"}"#,
                r#"{"event":"subscribe","channel":"status","key":"deriv:tBTCF0:USTF0"}"#,
                r#"{"event":"subscribe","channel":"status","key":"liq:global"}"#,
            ]
        );
        assert!(live.unsubscribe(&topics, 4, TsNs(0)).is_empty());
        assert_eq!(live.ping(5, TsNs(0)).unwrap(), r#"{"event":"ping","cid":5}"#);
        assert_eq!(live.greeting(), [r#"{"event":"conf","flags":229376}"#]);
        assert_eq!(65536 + 32768 + 131_072, 229_376);
        assert!(feed(false).topics(Kind::Ticker, "BTCUSD").is_empty());
        assert!(feed(false).topics(Kind::Liquidations, "BTCUSD").is_empty());
    }

    #[test]
    fn what_is_traded_is_read() {
        let body = br#"[["BTCUSD","AVAX:USD","BTCF0:USTF0"]]"#;
        assert_eq!(feed(false).symbols("", body).unwrap(), ["BTCUSD", "AVAX:USD"]);
        assert_eq!(feed(true).symbols("", body).unwrap(), ["BTCF0:USTF0"]);
        assert!(feed(true).symbols("", b"[]").is_err());
        assert_eq!(feed(true).listings(), ["/v2/conf/pub:list:pair:futures"]);
        assert_eq!(feed(false).listings(), ["/v2/conf/pub:list:pair:exchange"]);
    }

    #[test]
    fn refusals_and_the_wish_for_a_new_connection_are_told_from_data() {
        let live = feed(false);
        assert_eq!(live.heard(br#"[17470,"hb",20051]"#), Heard::Data);
        let hello = br#"{"event":"info","version":2,"serverId":"20051","platform":{"status":1}}"#;
        assert_eq!(live.heard(hello), Heard::Data);
        let pause = br#"{"event":"info","code":20060,"msg":"Entering in Maintenance mode"}"#;
        assert_eq!(live.heard(pause), Heard::Data);
        let stop = br#"{"event":"info","code":20051,"msg":"Stopping. Please try to reconnect"}"#;
        assert!(matches!(live.heard(stop), Heard::Reconnect(why) if why.contains("20051")));
        let refusal = br#"{"event":"error","msg":"symbol: invalid","code":10300,"channel":"book"}"#;
        assert!(matches!(live.heard(refusal), Heard::Refused(why) if why.contains("10300")));
    }
}
