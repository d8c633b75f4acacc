//! Bitget, WebSocket version 2; captures are of version 1.
//!
//! From "Websocket API" and "Depth Channel" of www.bitget.com/api-doc: `books` begins with a
//! snapshot; the checksum is OKX's; the text `ping` is answered with `pong`, and a connection that
//! did not say it for two minutes is ended; ten texts a second; 300 connections in five minutes.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tickreel::ingest::checksum;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Side};
use crate::json::{self, Arrays};
use crate::script::Script;

/// Spot and futures.
pub(super) struct Bitget;

#[derive(Deserialize)]
struct Asked {
    op: String,
    #[serde(default)]
    args: Vec<Value>,
}

#[derive(Deserialize)]
struct Old<'a> {
    action: &'a str,
    #[serde(borrow)]
    arg: OldArg<'a>,
    #[serde(borrow)]
    data: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldArg<'a> {
    inst_type: &'a str,
    channel: &'a str,
    inst_id: &'a str,
}

#[derive(Deserialize)]
struct Update<'a> {
    action: &'a str,
    #[serde(borrow)]
    data: Vec<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    asks: Arrays<'a>,
    bids: Arrays<'a>,
    ts: &'a str,
}

/// The data of version 1 as version 2 writes it.
fn data_of_today(channel: &str, data: &str) -> String {
    match channel {
        "trade" => {
            let trades: Vec<[&str; 4]> = json::parse(data).unwrap_or_default();
            let trades = trades.iter().enumerate().map(|(at, [ts, price, size, side])| {
                format!(
                    "{{\"ts\":\"{ts}\",\"price\":\"{price}\",\"size\":\"{size}\",\
                     \"side\":\"{side}\",\"tradeId\":\"{ts}{at:03}\"}}"
                )
            });
            format!("[{}]", trades.collect::<Vec<_>>().join(","))
        }
        "ticker" => data
            .replace("\"last\":", "\"lastPr\":")
            .replace("\"bestBid\":", "\"bidPr\":")
            .replace("\"bestAsk\":", "\"askPr\":")
            .replace("\"bestBidSz\":", "\"bidSz\":")
            .replace("\"bestAskSz\":", "\"askSz\":"),
        _ => data.to_owned(),
    }
}

fn topic_of(arg: &Value) -> String {
    let text = |key: &str| arg.get(key).and_then(Value::as_str).unwrap_or("");
    format!("{}:{}:{}", text("instType"), text("channel"), text("instId"))
}

impl Protocol for Bitget {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let Some(old) = json::parse::<Old<'_>>(text) else { return Vec::new() };
        let OldArg { inst_type, channel, inst_id } = old.arg;
        let market = match (inst_type, inst_id.ends_with("USDT")) {
            ("sp", _) => "SPOT",
            (_, true) => "USDT-FUTURES",
            _ => "COIN-FUTURES",
        };
        let data = data_of_today(channel, old.data.get());
        let role = match channel {
            "books" => Role::Book,
            "ticker" => Role::State,
            _ => Role::Events,
        };
        vec![Read::Message {
            topic: format!("{market}:{channel}:{inst_id}"),
            symbol: format!("{market}:{inst_id}"),
            role,
            is_whole: role == Role::Book && old.action == "snapshot",
            text: format!(
                "{{\"action\":\"{}\",\"arg\":{{\"instType\":\"{market}\",\"channel\":\"{channel}\",\
                 \"instId\":\"{inst_id}\"}},\"data\":{data},\"ts\":1767657600000}}",
                old.action
            ),
        }]
    }

    fn limits(&self) -> Limits {
        Limits {
            texts: (10, Duration::from_secs(1)),
            connections: (300, Duration::from_secs(300)),
            topics: 1000,
            silence_max: Some(Duration::from_secs(120)),
            ..Limits::NONE
        }
    }

    fn hear(&self, _: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        if text == "ping" {
            return vec![Action::Pong("pong".to_owned())];
        }
        let Some(asked) = json::parse::<Asked>(text) else {
            let error = r#"{"event":"error","code":30003,"msg":"Invalid op"}"#;
            return vec![Action::Say(error.to_owned())];
        };
        let mut actions = Vec::new();
        for arg in &asked.args {
            let topic = topic_of(arg);
            let parts: Vec<&str> = topic.split(':').collect();
            let [market, channel, symbol] = parts[..] else { continue };
            if !script.symbols.contains(&format!("{market}:{symbol}")) && !symbol.is_empty() {
                actions.push(Action::Say(format!(
                    "{{\"event\":\"error\",\"arg\":{arg},\"code\":30001,\
                     \"msg\":\"instType:{market},\
                     channel:{channel},instId:{symbol} doesn't exist\",\"op\":\"{}\"}}",
                    asked.op
                )));
                continue;
            }
            actions.push(Action::Say(format!("{{\"event\":\"{}\",\"arg\":{arg}}}", asked.op)));
            actions.push(match asked.op.as_str() {
                "unsubscribe" => Action::Unsubscribe(topic),
                _ => Action::Subscribe(topic),
            });
        }
        actions
    }

    fn fold(&self, book: &mut Book, text: &str) {
        let Some(update) = json::parse::<Update<'_>>(text) else { return };
        for data in update.data {
            if update.action == "snapshot" {
                book.clear();
                book.is_whole = true;
            }
            data.ts.clone_into(&mut book.ts);
            json::set_arrays(book, Side::Bid, &data.bids);
            json::set_arrays(book, Side::Ask, &data.asks);
        }
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        let parts: Vec<&str> = topic.split(':').collect();
        let [market, "books", symbol] = parts[..] else { return vec![book.last.clone()] };
        let sum = checksum::okx(book.bare(Side::Bid), book.bare(Side::Ask));
        vec![format!(
            "{{\"action\":\"snapshot\",\"arg\":{{\"instType\":\"{market}\",\"channel\":\"books\",\
             \"instId\":\"{symbol}\"}},\"data\":[{{\"asks\":{},\"bids\":{},\"checksum\":{sum},\
             \"ts\":\"{}\"}}],\"ts\":1767657600000}}",
            book.arrays(Side::Ask, usize::MAX),
            book.arrays(Side::Bid, usize::MAX),
            book.ts
        )]
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        let market = match request.path.as_str() {
            "/api/v2/spot/public/symbols" => "SPOT",
            "/api/v2/mix/market/contracts" => request.value("productType").unwrap_or(""),
            _ => {
                return Answer::Body(
                    404,
                    r#"{"code":"40404","msg":"Request URL NOT FOUND"}"#.to_owned(),
                );
            }
        };
        let status = if market == "SPOT" { "status" } else { "symbolStatus" };
        let word = if market == "SPOT" { "online" } else { "normal" };
        let listed = script.symbols.iter().filter_map(|symbol| symbol.split_once(':'));
        let listed = listed.filter(|(of, _)| of.eq_ignore_ascii_case(market));
        let listed: Vec<String> = listed
            .map(|(_, symbol)| format!("{{\"symbol\":\"{symbol}\",\"{status}\":\"{word}\"}}"))
            .collect();
        let listed = listed.join(",");
        let body = format!("{{\"code\":\"00000\",\"msg\":\"success\",\"data\":[{listed}]}}");
        Answer::Body(200, body)
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"{"code":"429","msg":"Too Many Requests"}"#,
            _ => r#"{"code":"40725","msg":"service return an error"}"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn checksum_key(&self) -> Option<&'static str> {
        Some("\"checksum\":")
    }
}
