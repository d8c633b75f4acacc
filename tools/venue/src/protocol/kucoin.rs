//! KuCoin spot.
//!
//! From "Introduction" and "Level2 - Market Data" of www.kucoin.com/docs: the address is asked for
//! by POST; the venue greets with `welcome`; a book's snapshot is had over REST and joined by its
//! sequence; 100 texts in ten seconds, 300 topics.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Side};
use crate::json::{self, Arrays};
use crate::script::Script;

/// Spot.
pub(super) struct KuCoin;

const BOOK: &str = "/market/level2";

#[derive(Deserialize)]
struct Asked {
    id: Value,
    r#type: String,
    #[serde(default)]
    topic: String,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    sequence_end: i64,
    #[serde(borrow)]
    changes: Changes<'a>,
}

#[derive(Deserialize)]
struct Changes<'a> {
    #[serde(borrow)]
    asks: Arrays<'a>,
    bids: Arrays<'a>,
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    data: Snapshot<'a>,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    sequence: &'a str,
    time: i64,
    #[serde(borrow)]
    asks: Arrays<'a>,
    bids: Arrays<'a>,
}

/// Only what the snapshot does not hold; a change of price 0 is none.
fn newer<'a>(levels: Arrays<'a>, seq: i64) -> Arrays<'a> {
    let number = |part: &serde_json::value::RawValue| {
        part.get().trim_matches('"').parse::<i64>().unwrap_or(i64::MAX)
    };
    levels
        .into_iter()
        .filter(|level| level.first().is_some_and(|price| price.get() != "\"0\""))
        .filter(|level| level.get(2).is_some_and(|at| number(at) > seq))
        .map(|level| level[..2].to_vec())
        .collect()
}

impl Protocol for KuCoin {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let Some(topic) = json::between(text, "\"topic\":\"", "\"") else { return Vec::new() };
        let (channel, symbol) = topic.split_once(':').unwrap_or((topic, ""));
        let role = match channel {
            BOOK => Role::SplicedBook,
            "/market/ticker" => Role::State,
            _ => Role::Events,
        };
        let symbol = symbol.split('_').next().unwrap_or("").to_owned();
        let (topic, text) = (topic.to_owned(), text.to_owned());
        vec![Read::Message { topic, symbol, role, is_whole: false, text }]
    }

    fn read_reply(&self, url: &str, body: &str) -> Option<Read> {
        let symbol = url.split_once("orderbook/level2")?.1.split_once("symbol=")?.1;
        let (topic, symbol) = (format!("{BOOK}:{symbol}"), symbol.to_owned());
        Some(Read::Reply { topic, symbol, body: body.to_owned() })
    }

    fn limits(&self) -> Limits {
        Limits {
            texts: (100, Duration::from_secs(10)),
            topics: 300,
            silence_max: Some(Duration::from_secs(60)),
            ..Limits::NONE
        }
    }

    fn open(&self, session: &mut Session, _: &Script) -> Vec<Action> {
        if !session.path.contains("token=") {
            return vec![Action::Close(4401, "token is required".to_owned())];
        }
        vec![Action::Say(r#"{"id":"NSkIrWGB1s","type":"welcome"}"#.to_owned())]
    }

    fn hear(&self, _: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let Some(Asked { id, r#type, topic }) = json::parse(text) else {
            let error = r#"{"id":"0","type":"error","code":400,"data":"Bad request"}"#;
            return vec![Action::Say(error.to_owned())];
        };
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let answer = |what: &str| format!("{{\"id\":\"{id}\",\"type\":\"{what}\"}}");
        let (channel, symbols) = topic.split_once(':').unwrap_or((&topic, ""));
        let topics = symbols.split(',').map(|symbol| format!("{channel}:{symbol}"));
        match r#type.as_str() {
            "ping" => vec![Action::Pong(answer("pong"))],
            "subscribe" => {
                let is_known = |symbol: &str| {
                    let symbol = symbol.split('_').next().unwrap_or("");
                    script.symbols.contains(symbol)
                };
                if !symbols.split(',').all(is_known) {
                    return vec![Action::Say(format!(
                        "{{\"id\":\"{id}\",\"type\":\"error\",\"code\":404,\
                         \"data\":\"topic {topic} is not found\"}}"
                    ))];
                }
                let mut actions = vec![Action::Say(answer("ack"))];
                actions.extend(topics.map(Action::Subscribe));
                actions
            }
            "unsubscribe" => {
                let mut actions = vec![Action::Say(answer("ack"))];
                actions.extend(topics.map(Action::Unsubscribe));
                actions
            }
            other => vec![Action::Say(format!(
                "{{\"id\":\"{id}\",\"type\":\"error\",\"code\":400,\"data\":\"type {other}\"}}"
            ))],
        }
    }

    fn fold(&self, book: &mut Book, text: &str) {
        let Some(Message { data }) = json::parse(text) else { return };
        if data.sequence_end <= book.seq {
            return;
        }
        json::set_arrays(book, Side::Bid, &newer(data.changes.bids, book.seq));
        json::set_arrays(book, Side::Ask, &newer(data.changes.asks, book.seq));
        book.seq = data.sequence_end;
    }

    fn fold_reply(&self, book: &mut Book, body: &str) {
        let Some(Reply { data }) = json::parse(body) else { return };
        book.clear();
        book.is_whole = true;
        book.seq = data.sequence.parse().unwrap_or(0);
        book.ts = data.time.to_string();
        json::set_arrays(book, Side::Bid, &data.bids);
        json::set_arrays(book, Side::Ask, &data.asks);
    }

    fn before(&self, text: &str) -> Option<i64> {
        let first = json::between(text, "\"sequenceStart\":", ",")?;
        first.parse::<i64>().ok().map(|first| first - 1)
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        if topic.starts_with(BOOK) { Vec::new() } else { vec![book.last.clone()] }
    }

    fn snapshot(&self, _: &str, book: &Book, levels: usize) -> String {
        format!(
            "{{\"code\":\"200000\",\"data\":{{\"time\":{},\"sequence\":\"{}\",\"bids\":{},\
             \"asks\":{}}}}}",
            if book.ts.is_empty() { "0" } else { &book.ts },
            book.seq,
            book.arrays(Side::Bid, levels),
            book.arrays(Side::Ask, levels)
        )
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        match request.path.as_str() {
            "/api/v1/bullet-public" => Answer::Body(
                200,
                format!(
                    "{{\"code\":\"200000\",\"data\":{{\"token\":\"2neAiuYvAU61\",\
                     \"instanceServers\":[{{\
                 \"endpoint\":\"ws://{}/endpoint\",\"encrypt\":false,\"protocol\":\"websocket\",\
                 \"pingInterval\":18000,\"pingTimeout\":10000}}]}}}}",
                    request.host
                ),
            ),
            "/api/v2/symbols" => {
                let listed = script
                    .symbols
                    .iter()
                    .map(|symbol| format!("{{\"symbol\":\"{symbol}\",\"enableTrading\":true}}"));
                let listed = listed.collect::<Vec<_>>().join(",");
                Answer::Body(200, format!("{{\"code\":\"200000\",\"data\":[{listed}]}}"))
            }
            path => match path.strip_prefix("/api/v1/market/orderbook/level2_") {
                Some(levels) => {
                    let symbol = request.value("symbol").unwrap_or("");
                    if !script.symbols.contains(symbol) {
                        let error = r#"{"code":"900001","msg":"symbol not exists"}"#;
                        return Answer::Body(200, error.to_owned());
                    }
                    Answer::Snapshot(format!("{BOOK}:{symbol}"), levels.parse().unwrap_or(20))
                }
                None => Answer::Body(404, r#"{"code":"404","msg":"Not Found"}"#.to_owned()),
            },
        }
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"{"code":"429000","msg":"Too Many Requests"}"#,
            _ => r#"{"code":"500000","msg":"Internal Server Error"}"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &["\"sequenceStart\":", "\"sequenceEnd\":", "\"sequence\":"]
    }
}
