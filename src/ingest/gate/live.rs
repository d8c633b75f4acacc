//! Gate live: the book's snapshot by REST.
//!
//! Rules from "Gate WebSocket v4", "Gate Futures WebSocket v4" ("Service Upgrade Notification",
//! "Public Liquidates Order", changelog) and "Gate API v4" of www.gate.com/docs/developers:
//!
//! - Nothing is said about topics of a connection; the venue ends one whose client is too slow.
//!   Texts carry the time in seconds. The venue answers `ping` with `pong`.
//! - Book: `order_book_update`, the best 100 levels a side every 100 ms, so the snapshot has as
//!   many; one subscription each. (`obu` with 400 levels and its own snapshots is newer.)
//! - Contracts settled in USDT are on another path than those settled in BTC. Unless a header asks
//!   for decimals, quantities of contracts are cut to integers.
//! - The message `system` of type `upgrade` comes before the venue ends the connection.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::event::Kind;
use crate::ingest::json;
use crate::ingest::live::{Heard, LiveFeed, Manners, Resync, Topic};
use crate::ingest::live::{by_channel, quoted, reconnect, says, topics_of};
use crate::quantity::TsNs;

/// The live feed of futures, or of spot.
pub(super) fn feed(futures: bool) -> &'static dyn LiveFeed {
    if futures { &Live { futures: true } } else { &Live { futures: false } }
}

struct Live {
    futures: bool,
}

#[derive(Deserialize)]
struct Listed {
    /// `name` of contracts.
    #[serde(alias = "name")]
    id: String,
    trade_status: Option<String>,
    #[serde(default)]
    in_delisting: bool,
}

impl Live {
    fn market(&self) -> &'static str {
        if self.futures { "futures" } else { "spot" }
    }
}

impl LiveFeed for Live {
    fn stream_url(&self) -> &'static str {
        if self.futures { "wss://fx-ws.gateio.ws" } else { "wss://api.gateio.ws" }
    }

    fn rest_url(&self) -> &'static str {
        "https://api.gateio.ws"
    }

    fn manners(&self) -> Manners {
        Manners {
            topics_per_connection: 100,
            topics_per_message: 20,
            message_every: Duration::from_millis(100),
            snapshot_every: Duration::from_millis(250),
            resync: Resync::Snapshot,
            ..Manners::default()
        }
    }

    fn listings(&self) -> Vec<String> {
        match self.futures {
            true => ["usdt", "btc"].map(|in_| format!("/api/v4/futures/{in_}/contracts")).to_vec(),
            false => vec!["/api/v4/spot/currency_pairs".to_owned()],
        }
    }

    fn symbols(&self, _: &str, body: &[u8]) -> Result<Vec<String>> {
        let listing: Vec<Listed> = json::parse(body)?;
        let traded = |listed: &Listed| {
            let status = listed.trade_status.as_deref();
            !listed.in_delisting && status.is_none_or(|status| status == "tradable")
        };
        Ok(listing.into_iter().filter(traded).map(|listed| listed.id).collect())
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        if self.futures { &[("X-Gate-Size-Decimal", "1")] } else { &[] }
    }

    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic> {
        let path = match (self.futures, settled_in(symbol)) {
            (false, _) => "/ws/v4/",
            (true, "usdt") => "/v4/ws/usdt",
            (true, _) => "/v4/ws/btc",
        };
        let channel = match kind {
            Kind::Book => "order_book_update",
            Kind::Trades => "trades",
            Kind::Quotes => "book_ticker",
            Kind::Ticker if self.futures => "tickers",
            Kind::Liquidations if self.futures => "public_liquidates",
            _ => return Vec::new(),
        };
        topics_of(path, &[channel], symbol)
    }

    fn requests(&self, what: &str, topics: &[&str], _: u64, now: TsNs) -> Vec<String> {
        let (time, market) = (seconds(now), self.market());
        let request = |channel: &str, payload: &str| {
            let about = format!(r#""channel":"{market}.{channel}","event":"{what}""#);
            format!(r#"{{"time":{time},{about},"payload":[{payload}]}}"#)
        };
        let mut requests = Vec::new();
        for (channel, symbols) in by_channel(topics) {
            match channel {
                "order_book_update" => requests.extend(symbols.iter().map(|symbol| {
                    let levels = if self.futures { r#","100""# } else { "" };
                    request(channel, &format!(r#""{symbol}","100ms"{levels}"#))
                })),
                _ => requests.push(request(channel, &quoted(&symbols))),
            }
        }
        requests
    }

    fn snapshot(&self, symbol: &str) -> Option<String> {
        let query = "limit=100&with_id=true";
        Some(match self.futures {
            true => {
                let settle = settled_in(symbol);
                format!("/api/v4/futures/{settle}/order_book?contract={symbol}&{query}")
            }
            false => format!("/api/v4/spot/order_book?currency_pair={symbol}&{query}"),
        })
    }

    fn ping(&self, _: u64, now: TsNs) -> Option<String> {
        Some(format!(r#"{{"time":{},"channel":"{}.ping"}}"#, seconds(now), self.market()))
    }

    fn heard(&self, message: &[u8]) -> Heard {
        let is_update = says(message.get(..BEGINNING).unwrap_or(message), r#""event":"update""#);
        match () {
            () if says(message, r#"{"type":"upgrade""#) => reconnect(message),
            () if is_update || message.len() > BEGINNING * 4 => Heard::Data,
            () => json::refusal(message, "error"),
        }
    }
}

/// Bytes of a message in which its event is named.
const BEGINNING: usize = 256;

/// What a contract is settled in.
fn settled_in(symbol: &str) -> &'static str {
    if symbol.ends_with("_USDT") { "usdt" } else { "btc" }
}

fn seconds(now: TsNs) -> i64 {
    now.0 / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TsNs = TsNs(1_700_000_000_999_999_999);

    fn name(futures: bool, kind: Kind, symbol: &str) -> String {
        let topics = feed(futures).topics(kind, symbol).into_iter();
        topics.map(|topic| format!("{} {}", topic.path, topic.name)).collect()
    }

    #[test]
    fn contracts_are_on_the_path_of_what_they_settle_in() {
        assert_eq!(name(true, Kind::Book, "A_USDT"), "/v4/ws/usdt order_book_update:A_USDT");
        assert_eq!(name(true, Kind::Ticker, "BTC_USD"), "/v4/ws/btc tickers:BTC_USD");
        assert_eq!(
            name(true, Kind::Liquidations, "A_USDT"),
            "/v4/ws/usdt public_liquidates:A_USDT"
        );
        assert_eq!(name(false, Kind::Trades, "A_USDT"), "/ws/v4/ trades:A_USDT");
        assert_eq!(name(false, Kind::Quotes, "A_USDT"), "/ws/v4/ book_ticker:A_USDT");
        assert_eq!(name(false, Kind::Ticker, "A") + &name(false, Kind::Liquidations, "A"), "");
        assert_eq!(
            feed(true).snapshot("BTC_USD").unwrap(),
            "/api/v4/futures/btc/order_book?contract=BTC_USD&limit=100&with_id=true"
        );
        assert_eq!(
            feed(false).snapshot("A_B").unwrap(),
            "/api/v4/spot/order_book?currency_pair=A_B&limit=100&with_id=true"
        );
    }

    #[test]
    fn a_book_has_a_request_of_its_own_and_other_channels_one_for_all() {
        let topics = ["order_book_update:A_USDT", "trades:A_USDT", "trades:B_USDT"];
        assert_eq!(
            feed(true).subscribe(&topics, 3, NOW),
            [
                concat!(
                    r#"{"time":1700000000,"channel":"futures.order_book_update","#,
                    r#""event":"subscribe","payload":["A_USDT","100ms","100"]}"#,
                ),
                concat!(
                    r#"{"time":1700000000,"channel":"futures.trades","event":"subscribe","#,
                    r#""payload":["A_USDT","B_USDT"]}"#,
                ),
            ]
        );
        assert_eq!(
            feed(false).unsubscribe(&topics[..1], 3, NOW),
            [concat!(
                r#"{"time":1700000000,"channel":"spot.order_book_update","#,
                r#""event":"unsubscribe","payload":["A_USDT","100ms"]}"#,
            )]
        );
        let ping = r#"{"time":1700000000,"channel":"spot.ping"}"#;
        assert_eq!(feed(false).ping(1, NOW).unwrap(), ping);
        assert_eq!(feed(true).headers(), [("X-Gate-Size-Decimal", "1")]);
        assert!(feed(false).headers().is_empty());
    }

    #[test]
    fn what_is_traded_is_read() {
        let body = br#"[{"id":"ETH_USDT","base":"ETH","trade_status":"tradable"},
            {"id":"X_USDT","trade_status":"untradable"},
            {"name":"BTC_USDT","type":"direct","in_delisting":false},
            {"name":"Y_USDT","in_delisting":true}]"#;
        assert_eq!(feed(true).symbols("", body).unwrap(), ["ETH_USDT", "BTC_USDT"]);
        assert!(feed(true).symbols("", b"{}").is_err());
        assert_eq!(feed(true).listings()[1], "/api/v4/futures/btc/contracts");
        assert_eq!(feed(false).listings(), ["/api/v4/spot/currency_pairs"]);
    }

    #[test]
    fn refusals_and_the_notice_of_an_end_are_told_from_data() {
        let live = feed(false);
        let data = br#"{"time":1,"channel":"spot.trades","event":"update","result":{"error":1}}"#;
        assert_eq!(live.heard(data), Heard::Data);
        let answer = br#"{"time":1611541000,"channel":"spot.tickers","event":"subscribe",
            "error":null,"result":{"status":"success"}}"#;
        assert_eq!(live.heard(answer), Heard::Data);
        let pong = br#"{"time":1545404023,"channel":"spot.pong","event":"","result":null}"#;
        assert_eq!(live.heard(pong), Heard::Data);
        let refusal = br#"{"time":1611541000,"channel":"spot.tickers","event":"subscribe","error":
            {"code":2,"message":"unknown currency pair X"},"result":null}"#;
        assert!(matches!(live.heard(refusal), Heard::Refused(why) if why.contains("pair X")));
        let upgrade = br#"{"time":1770694860,"time_ms":1770694860773,"channel":"spot.system",
            "event":"update","result":{"type":"upgrade","msg":"The connection will soon be closed
            for a service upgrade. Please reconnect."}}"#;
        assert!(matches!(live.heard(upgrade), Heard::Reconnect(why) if why.contains("upgrade")));
    }
}
