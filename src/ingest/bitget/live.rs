//! Bitget live: WebSocket version 2, and liquidations by version 3; a snapshot first.
//!
//! Rules from "Websocket API" (Connect), "Depth Channel", "Trading Channel", "Market Channel" and,
//! of UTA, "Liquidation Channel" of www.bitget.com/api-doc:
//!
//! - 300 new connections in five minutes; on one, 240 requests to subscribe an hour, ten messages a
//!   second, 1,000 channels, of which the venue recommends fewer than 50; it ends after 24 hours.
//! - The venue wants the text `ping` every 30 seconds.
//! - Book: `books`, the whole one, changes every 150 to 200 ms. Quotes: `books1`.
//! - Liquidations: one topic for all contracts of a type, the largest of either side each second.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{refused_if, says};
use crate::quantity::TsNs;

const VERSION_2: &str = "/v2/ws/public";
const VERSION_3: &str = "/v3/ws/public";

/// The live feed of contracts, or of spot.
pub(super) fn feed(spot: bool) -> &'static dyn LiveFeed {
    if spot { &Live { spot: true } } else { &Live { spot: false } }
}

struct Live {
    spot: bool,
}

#[derive(Deserialize)]
struct Listing {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    symbol: String,
    /// `symbolStatus` of contracts.
    #[serde(alias = "symbolStatus")]
    status: String,
}

impl Live {
    /// `BTCUSDT` is settled in USDT, `BTCPERP` in USDC; `BTCUSD` and `BTCUSDZ24` are in their coin.
    fn market(&self, symbol: &str) -> &'static str {
        match symbol {
            _ if self.spot => "SPOT",
            _ if symbol.contains("USDT") => "USDT-FUTURES",
            _ if symbol.contains("PERP") || symbol.contains("USDC") => "USDC-FUTURES",
            _ => "COIN-FUTURES",
        }
    }
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        "wss://ws.bitget.com"
    }

    fn rest_url(&self) -> &'static str {
        "https://api.bitget.com"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 48,
            topics_per_message: 12,
            ping_every: Some(Duration::from_secs(25)),
            silence_max: Duration::from_secs(60),
            age_max: Some(Duration::from_secs(23 * 3600 + 1800)),
            resync: Resync::Resubscribe,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        let path = |market: &str| format!("/api/v2/mix/market/contracts?productType={market}");
        match self.spot {
            true => vec!["/api/v2/spot/public/symbols".to_owned()],
            false => ["USDT-FUTURES", "USDC-FUTURES", "COIN-FUTURES"].map(path).to_vec(),
        }
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Listing = json::parse(body)?;
        let traded = |listed: &Listed| matches!(&*listed.status, "online" | "normal");
        Ok(listing.data.into_iter().filter(traded).map(|listed| listed.symbol).collect())
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let market = self.market(symbol);
        let channel = match kind {
            Kind::Book => "books",
            Kind::Trades => "trade",
            Kind::Quotes => "books1",
            Kind::Ticker if !self.spot => "ticker",
            Kind::Liquidations if !self.spot => {
                let name = format!("{}:liquidation", market.to_ascii_lowercase());
                return vec![Topic { path: VERSION_3, name }];
            }
            _ => return Vec::new(),
        };
        vec![Topic { path: VERSION_2, name: format!("{market}:{channel}:{symbol}") }]
    }

    fn requests(&self, what: &str, topics: &[&str], _: u64, _: TsNs) -> Vec<String> {
        let argument = |topic: &&str| match topic.splitn(3, ':').collect::<Vec<_>>()[..] {
            [market, channel, symbol] => {
                format!(r#"{{"instType":"{market}","channel":"{channel}","instId":"{symbol}"}}"#)
            }
            [market, topic] => format!(r#"{{"instType":"{market}","topic":"{topic}"}}"#),
            _ => format!(r#"{{"topic":"{topic}"}}"#),
        };
        let arguments: Vec<_> = topics.iter().map(argument).collect();
        vec![format!(r#"{{"op":"{what}","args":[{}]}}"#, arguments.join(","))]
    }

    fn ping(&self, _: u64, _: TsNs) -> Option<String> {
        Some("ping".to_owned())
    }

    fn heard(&self, message: &[u8]) -> Heard {
        let is_data = message.starts_with(br#"{"action":"#);
        refused_if(!is_data && says(message, r#""event":"error""#), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(spot: bool, kind: Kind, symbol: &str) -> String {
        let topics = feed(spot).topics(kind, symbol).into_iter();
        topics.map(|topic| format!("{} {}", topic.path, topic.name)).collect()
    }

    #[test]
    fn contracts_are_named_with_what_they_settle_in() {
        for (symbol, market) in [
            ("BTCUSDT", "USDT-FUTURES"),
            ("BTCPERP", "USDC-FUTURES"),
            ("BTCUSD", "COIN-FUTURES"),
            ("BTCUSDZ24", "COIN-FUTURES"),
        ] {
            let expected = format!("/v2/ws/public {market}:books:{symbol}");
            assert_eq!(name(false, Kind::Book, symbol), expected);
        }
        assert_eq!(name(true, Kind::Trades, "XUSDT"), "/v2/ws/public SPOT:trade:XUSDT");
        assert_eq!(name(true, Kind::Quotes, "XUSDT"), "/v2/ws/public SPOT:books1:XUSDT");
        assert_eq!(name(true, Kind::Ticker, "X") + &name(true, Kind::Liquidations, "X"), "");
        assert_eq!(name(false, Kind::Ticker, "XUSD"), "/v2/ws/public COIN-FUTURES:ticker:XUSD");
        let liquidations = "/v3/ws/public usdt-futures:liquidation";
        assert_eq!(name(false, Kind::Liquidations, "BTCUSDT"), liquidations);
    }

    #[test]
    fn a_request_names_all_topics_and_what_is_traded_is_read() {
        let live = feed(false);
        assert_eq!(
            live.subscribe(&["SPOT:trade:A", "SPOT:books:B"], 3, TsNs(0)),
            [concat!(
                r#"{"op":"subscribe","args":[{"instType":"SPOT","channel":"trade","#,
                r#""instId":"A"},{"instType":"SPOT","channel":"books","instId":"B"}]}"#,
            )]
        );
        assert_eq!(
            live.unsubscribe(&["usdt-futures:liquidation"], 3, TsNs(0)),
            [r#"{"op":"unsubscribe","args":[{"instType":"usdt-futures","topic":"liquidation"}]}"#]
        );
        assert_eq!(live.listings()[2], "/api/v2/mix/market/contracts?productType=COIN-FUTURES");
        assert_eq!(feed(true).listings(), ["/api/v2/spot/public/symbols"]);
        let body = br#"{"code":"00000","msg":"success","requestTime":1744276707885,"data":[
            {"symbol":"A","baseCoin":"A","status":"online"},{"symbol":"B","status":"halt"},
            {"symbol":"C","symbolStatus":"normal"},{"symbol":"D","symbolStatus":"off"}]}"#;
        assert_eq!(live.symbols("", body).unwrap(), ["A", "C"]);
        assert!(live.symbols("", b"{}").is_err());
        assert_eq!(live.ping(1, TsNs(0)).unwrap(), "ping");
    }

    #[test]
    fn a_refusal_is_told_from_data() {
        let live = feed(true);
        let data = br#"{"action":"update","arg":{"instType":"SPOT","channel":"trade"},"data":[]}"#;
        assert_eq!(live.heard(data), Heard::Data);
        assert_eq!(live.heard(b"pong"), Heard::Data);
        let refusal = br#"{"event":"error","arg":{"instType":"SPOT","channel":"candle1","instId":
            "X"},"code":30001,"msg":"channel:candle1 doesn't exist","op":"subscribe"}"#;
        assert!(matches!(live.heard(refusal), Heard::Refused(why) if why.contains("30001")));
    }
}
