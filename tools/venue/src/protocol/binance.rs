//! Binance: combined and raw streams of spot, USD-M and COIN-M markets.
//!
//! From "WebSocket Streams" of spot and "Websocket Market Streams" of derivatives on
//! developers.binance.com: a subscription to any name is accepted, unknown ones stay silent; more
//! than 5 (spot) or 10 (derivatives) texts a second cut the connection; 1,024 or 200 streams on
//! one; 300 connections in five minutes. `/public` and `/market` divide the USD-M streams.

use std::time::Duration;

use serde::Deserialize;
use tickreel::ingest::sample::VenueForm;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Side};
use crate::json::{self, Arrays};
use crate::script::Script;

pub(super) const SPOT: Binance = Binance { market: Market::Spot };
pub(super) const USD_M: Binance = Binance { market: Market::UsdM };
pub(super) const COIN_M: Binance = Binance { market: Market::CoinM };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Market {
    Spot,
    UsdM,
    CoinM,
}

/// One of the three markets.
pub(super) struct Binance {
    market: Market,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    #[serde(default)]
    params: Vec<String>,
    id: serde_json::Value,
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    data: Depth<'a>,
}

#[derive(Deserialize)]
struct Depth<'a> {
    u: i64,
    #[serde(borrow)]
    b: Arrays<'a>,
    a: Arrays<'a>,
    #[serde(rename = "E")]
    sent_ms: i64,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(rename = "lastUpdateId")]
    last: i64,
    #[serde(borrow)]
    bids: Arrays<'a>,
    asks: Arrays<'a>,
}

/// `btcusdt@depth@0ms` is the same stream as `btcusdt@depth@100ms`, only faster.
fn canonical(stream: &str) -> String {
    let (symbol, kind) = stream.split_once('@').unwrap_or((stream, ""));
    let symbol = if stream.starts_with('!') { symbol.to_owned() } else { symbol.to_lowercase() };
    match kind {
        "depth" | "depth@0ms" | "depth@100ms" | "depth@250ms" | "depth@500ms" | "depth@1000ms" => {
            format!("{symbol}@depth@100ms")
        }
        _ => format!("{symbol}@{kind}"),
    }
}

impl Binance {
    fn role(&self, stream: &str) -> Role {
        let kind = stream.split_once('@').map_or("", |(_, kind)| kind);
        match kind {
            "depth@100ms" => Role::SplicedBook,
            "bookTicker" | "ticker" => Role::State,
            _ => Role::Events,
        }
    }

    /// Whether a connection to this path carries the stream.
    fn carries(&self, path: &str, stream: &str) -> bool {
        let kind = stream.split_once('@').map_or("", |(_, kind)| kind);
        let is_public = matches!(kind, "depth@100ms" | "trade" | "aggTrade" | "bookTicker");
        match (self.market, path) {
            (Market::UsdM, path) if path.starts_with("/public") => is_public,
            (Market::UsdM, path) if path.starts_with("/market") => !is_public,
            _ => true,
        }
    }

    fn subscribe(&self, session: &Session, streams: &[String], script: &Script) -> Vec<Action> {
        let streams = streams.iter().map(|stream| canonical(stream));
        let told = streams
            .filter(|stream| self.carries(&session.path, stream) && script.topic(stream).is_some());
        told.map(Action::Subscribe).collect()
    }
}

impl Protocol for Binance {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        if text.starts_with("{\"lastUpdateId\"") {
            let symbol = json::between(text, "\"symbol\":\"", "\"").unwrap_or("").to_owned();
            let stream = canonical(&format!("{symbol}@depth"));
            let topic = if symbol.is_empty() { String::new() } else { stream };
            return vec![Read::Reply { topic, symbol, body: text.to_owned() }];
        }
        let Some(stream) = json::between(text, "{\"stream\":\"", "\"") else { return Vec::new() };
        let topic = canonical(stream);
        let symbol = topic.split('@').next().unwrap_or("").to_uppercase();
        let symbol = if symbol.starts_with('!') { String::new() } else { symbol };
        let text = if topic == stream { text.to_owned() } else { text.replacen(stream, &topic, 1) };
        vec![Read::Message { role: self.role(&topic), topic, symbol, is_whole: false, text }]
    }

    fn read_reply(&self, url: &str, body: &str) -> Option<Read> {
        if !url.contains("/depth?") {
            return None;
        }
        let symbol = url.split(['?', '&']).find_map(|part| part.strip_prefix("symbol="))?;
        let topic = canonical(&format!("{symbol}@depth"));
        Some(Read::Reply { topic, symbol: symbol.to_owned(), body: body.to_owned() })
    }

    fn reads_sample(&self, form: VenueForm) -> bool {
        match self.market {
            Market::Spot => form == VenueForm::BinanceSpot,
            Market::UsdM => form == VenueForm::BinanceFutures,
            Market::CoinM => false,
        }
    }

    fn limits(&self) -> Limits {
        let spot = self.market == Market::Spot;
        Limits {
            texts: (if spot { 5 } else { 10 }, Duration::from_secs(1)),
            connections: (300, Duration::from_secs(300)),
            topics: if spot { 1024 } else { 200 },
            ping_every: Some(Duration::from_secs(if spot { 20 } else { 180 })),
            silence_max: None,
            too_many: (1008, "Too many requests"),
        }
    }

    fn open(&self, session: &mut Session, script: &Script) -> Vec<Action> {
        let (path, query) = session.path.split_once('?').unwrap_or((&session.path, ""));
        let named = match query.strip_prefix("streams=") {
            Some(names) => names,
            None => path.split_once("/ws/").map_or("", |(_, names)| names),
        };
        let streams: Vec<String> = named.split('/').map(str::to_owned).collect();
        self.subscribe(session, &streams, script)
    }

    fn hear(&self, session: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let Some(asked) = json::parse::<Asked>(text) else {
            let error =
                r#"{"error":{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}}"#;
            return vec![Action::Say(error.to_owned())];
        };
        let mut actions = vec![Action::Say(format!("{{\"result\":null,\"id\":{}}}", asked.id))];
        match asked.method.as_str() {
            "SUBSCRIBE" => actions.extend(self.subscribe(session, &asked.params, script)),
            "UNSUBSCRIBE" => {
                let streams = asked.params.iter().map(|stream| canonical(stream));
                actions.extend(streams.map(Action::Unsubscribe));
            }
            other => {
                return vec![Action::Say(format!(
                    "{{\"error\":{{\"code\":2,\"msg\":\"Invalid request: \
                     unknown variant `{other}`, \
                     expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, \
                     `SET_PROPERTY`, `GET_PROPERTY`\"}},\"id\":{}}}",
                    asked.id
                ))];
            }
        }
        actions
    }

    fn fold(&self, book: &mut Book, text: &str) {
        let Some(Wrapped { data }) = json::parse(text) else { return };
        if data.u <= book.seq {
            return;
        }
        book.seq = data.u;
        book.ts = data.sent_ms.to_string();
        json::set_arrays(book, Side::Bid, &data.b);
        json::set_arrays(book, Side::Ask, &data.a);
    }

    fn fold_reply(&self, book: &mut Book, body: &str) {
        let Some(snapshot) = json::parse::<Snapshot<'_>>(body) else { return };
        book.clear();
        book.is_whole = true;
        book.seq = snapshot.last;
        json::set_arrays(book, Side::Bid, &snapshot.bids);
        json::set_arrays(book, Side::Ask, &snapshot.asks);
    }

    fn before(&self, text: &str) -> Option<i64> {
        let first = json::between(text, "\"U\":", ",")?.parse::<i64>().ok()?;
        let previous = json::between(text, "\"pu\":", ",");
        previous.map_or(Some(first - 1), |previous| previous.parse().ok())
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        // The book's snapshot is had over REST.
        if self.role(topic) == Role::State { vec![book.last.clone()] } else { Vec::new() }
    }

    fn snapshot(&self, topic: &str, book: &Book, levels: usize) -> String {
        let (bids, asks) = (book.arrays(Side::Bid, levels), book.arrays(Side::Ask, levels));
        let (seq, ts) = (book.seq, if book.ts.is_empty() { "0" } else { &book.ts });
        let times = match self.market {
            Market::Spot => String::new(),
            _ => format!(",\"E\":{ts},\"T\":{ts}"),
        };
        let symbol = topic.split('@').next().unwrap_or("").to_uppercase();
        let pair = symbol.split('_').next().unwrap_or("");
        let names = match self.market {
            Market::CoinM => format!(",\"symbol\":\"{symbol}\",\"pair\":\"{pair}\""),
            _ => String::new(),
        };
        format!("{{\"lastUpdateId\":{seq}{times}{names},\"bids\":{bids},\"asks\":{asks}}}")
    }

    fn deliver(&self, session: &mut Session, topic: &str, text: &str) -> Option<String> {
        // Raw streams come without the wrapping.
        let is_raw = session.path.starts_with("/ws") && !topic.is_empty();
        let data = text.split_once("\"data\":").filter(|_| is_raw)?.1;
        data.strip_suffix('}').map(str::to_owned)
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        let (path, limit_max) = match self.market {
            Market::Spot => ("/api/v3/", 5000),
            Market::UsdM => ("/fapi/v1/", 1000),
            Market::CoinM => ("/dapi/v1/", 1000),
        };
        match request.path.strip_prefix(path) {
            Some("exchangeInfo") => Answer::Body(200, self.listing(script)),
            Some("ping") => Answer::Body(200, "{}".to_owned()),
            Some("depth") => {
                let symbol = request.value("symbol").unwrap_or("");
                let limit = request.value("limit").and_then(|limit| limit.parse().ok());
                let topic = canonical(&format!("{symbol}@depth"));
                if !script.symbols.contains(symbol) {
                    let error = r#"{"code":-1121,"msg":"Invalid symbol."}"#;
                    return Answer::Body(400, error.to_owned());
                }
                Answer::Snapshot(topic, limit.unwrap_or(100).min(limit_max))
            }
            _ => Answer::Body(404, "<html><body>404 Not found</body></html>".to_owned()),
        }
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => concat!(
                r#"{"code":-1003,"msg":"Too many requests; current limit of IP(127.0.0.1) "#,
                r#"is 2400 requests per minute. Please use the websocket for live updates "#,
                r#"to avoid polling the API."}"#
            ),
            418 => concat!(
                r#"{"code":-1003,"msg":"Way too many requests; IP(127.0.0.1) banned until "#,
                r#"1767657600000. Please use the websocket for live updates to avoid "#,
                r#"bans."}"#
            ),
            _ => concat!(
                r#"{"code":-1001,"msg":"Internal error; unable to process your request. "#,
                r#"Please try again."}"#
            ),
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &["\"U\":", "\"u\":", "\"pu\":", "\"lastUpdateId\":"]
    }
}

impl Binance {
    fn listing(&self, script: &Script) -> String {
        let status = if self.market == Market::CoinM { "contractStatus" } else { "status" };
        let symbol = |symbol: &String| {
            format!(
                "{{\"symbol\":\"{symbol}\",\"{status}\":\"TRADING\",\"orderTypes\":[\"LIMIT\"]}}"
            )
        };
        let mut symbols: Vec<String> = script.symbols.iter().map(symbol).collect();
        symbols
            .push(format!("{{\"symbol\":\"GONEUSDT\",\"{status}\":\"BREAK\",\"orderTypes\":[]}}"));
        format!(
            "{{\"timezone\":\"UTC\",\"serverTime\":1767657600000,\"rateLimits\":[],\
             \"exchangeFilters\":[],\"symbols\":[{}]}}",
            symbols.join(",")
        )
    }
}
