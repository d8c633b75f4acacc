//! OKX, API version 5.
//!
//! From "WebSocket" and "Public Channels" of www.okx.com/docs-v5: 480 subscribing texts an hour,
//! three connections a second; a connection is cut when nothing was pushed and nothing heard for 30
//! seconds, the text `ping` is answered with `pong`. A book begins with a snapshot, `prevSeqId` -1.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tickreel::ingest::checksum;
use tickreel::ingest::sample::VenueForm;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Side};
use crate::json::{self, Arrays};
use crate::script::Script;

const CONNECTION: &str = "a4d3ae55";

/// Spot, swaps, futures and options on one address.
pub(super) struct Okx;

#[derive(Deserialize)]
struct Asked {
    id: Option<String>,
    op: String,
    #[serde(default)]
    args: Vec<Value>,
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
    ts: String,
    #[serde(rename = "seqId")]
    seq: Option<i64>,
}

/// `books:BTC-USDT`; the faster book channels tell the same book.
fn topic_of(channel: &str, about: &str) -> String {
    let channel = match channel {
        "books-l2-tbt" => "books",
        channel => channel,
    };
    format!("{channel}:{about}")
}

/// What an argument of a subscription is about.
fn about(arg: &Value) -> &str {
    let text = |key: &str| arg.get(key).and_then(Value::as_str);
    text("instId").or_else(|| text("instFamily")).or_else(|| text("instType")).unwrap_or("")
}

/// The trades of a message as `trades-all` tells them.
fn one_by_one(symbol: &str, text: &str) -> Vec<Read> {
    let message = json::parse::<Value>(text).unwrap_or_default();
    let trades = message["data"].as_array().into_iter().flatten();
    let read = |trade: &Value| {
        let mut trade = trade.clone();
        if let Some(fields) = trade.as_object_mut() {
            fields.shift_remove("count");
        }
        Read::Message {
            topic: topic_of("trades-all", symbol),
            symbol: symbol.to_owned(),
            role: Role::Events,
            is_whole: false,
            text: format!(
                "{{\"arg\":{{\"channel\":\"trades-all\",\"instId\":\"{symbol}\"}},\
                 \"data\":[{trade}]}}"
            ),
        }
    };
    trades.map(read).collect()
}

fn inst_type(symbol: &str) -> &'static str {
    match symbol.split('-').collect::<Vec<_>>().as_slice() {
        [_, _] => "SPOT",
        [_, _, "SWAP"] => "SWAP",
        [_, _, _] => "FUTURES",
        _ => "OPTION",
    }
}

fn answer(asked: &Asked, arg: &Value, known: bool) -> String {
    let id = asked.id.as_ref().map_or(String::new(), |id| format!("\"id\":{},", json::quoted(id)));
    if known {
        let event = &asked.op;
        return format!("{{{id}\"event\":\"{event}\",\"arg\":{arg},\"connId\":\"{CONNECTION}\"}}");
    }
    let channel = arg.get("channel").and_then(Value::as_str).unwrap_or("");
    let about = about(arg);
    format!(
        "{{{id}\"event\":\"error\",\"msg\":\"Wrong URL or channel:{channel},instId:{about} doesn't \
         exist. Please use the correct URL, channel and parameters referring to API document.\",\
         \"code\":\"60018\",\"connId\":\"{CONNECTION}\"}}"
    )
}

impl Protocol for Okx {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let Some(arg) = json::between(text, "{\"arg\":", "}") else { return Vec::new() };
        let Some(arg) = json::parse::<Value>(&format!("{arg}}}")) else { return Vec::new() };
        let Some(channel) = arg.get("channel").and_then(Value::as_str) else { return Vec::new() };
        if !text.contains("\"data\":") {
            return Vec::new();
        }
        let topic = topic_of(channel, about(&arg));
        let symbol =
            if arg.get("instId").is_some() { about(&arg).to_owned() } else { String::new() };
        let role = match channel {
            "books" | "books-l2-tbt" => Role::Book,
            "trades" | "liquidation-orders" => Role::Events,
            _ => Role::State,
        };
        let is_whole = role == Role::Book && text.contains("\"action\":\"snapshot\"");
        let mut reads = Vec::new();
        if channel == "trades" {
            reads.extend(one_by_one(&symbol, text));
        }
        let text = text.replacen("books-l2-tbt", "books", 1);
        reads.push(Read::Message { topic, symbol, role, is_whole, text });
        reads
    }

    fn reads_sample(&self, form: VenueForm) -> bool {
        form == VenueForm::Okx
    }

    fn limits(&self) -> Limits {
        Limits {
            texts: (480, Duration::from_secs(3600)),
            connections: (3, Duration::from_secs(1)),
            topics: usize::MAX,
            ping_every: None,
            silence_max: Some(Duration::from_secs(30)),
            too_many: (4002, "Too many requests"),
        }
    }

    fn hear(&self, session: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        if text == "ping" {
            return vec![Action::Pong("pong".to_owned())];
        }
        let asked = json::parse::<Asked>(text);
        let Some(asked) = asked.filter(|asked| asked.op.ends_with("subscribe")) else {
            let error = format!(
                "{{\"event\":\"error\",\"msg\":\"Illegal request: {}\",\"code\":\"60012\",\
                 \"connId\":\"{CONNECTION}\"}}",
                text.replace(['"', '\\'], "'")
            );
            return vec![Action::Say(error)];
        };
        let mut actions = Vec::new();
        for arg in &asked.args {
            let channel = arg.get("channel").and_then(Value::as_str).unwrap_or("");
            let about = about(arg);
            let topic = topic_of(channel, about);
            let is_symbol = arg.get("instId").is_some();
            let known = script.topic(&topic).is_some()
                || script.symbols.contains(about)
                || !is_symbol
                || script.symbols.iter().any(|symbol| symbol.starts_with(about));
            let is_business = session.path.starts_with("/ws/v5/business");
            let known = known && is_business == (channel == "trades-all");
            actions.push(Action::Say(answer(&asked, arg, known)));
            if asked.op == "unsubscribe" {
                actions.push(Action::Unsubscribe(topic));
            } else if known {
                actions.push(Action::Subscribe(topic));
            }
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
            book.seq = data.seq.unwrap_or(0);
            book.ts = data.ts;
            json::set_arrays(book, Side::Bid, &data.bids);
            json::set_arrays(book, Side::Ask, &data.asks);
        }
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        let (channel, about) = topic.split_once(':').unwrap_or((topic, ""));
        if channel != "books" {
            return vec![book.last.clone()];
        }
        let sum = checksum::okx(book.bare(Side::Bid), book.bare(Side::Ask));
        let seq = match book.seq {
            0 => String::new(),
            seq => format!(",\"seqId\":{seq},\"prevSeqId\":-1"),
        };
        vec![format!(
            "{{\"arg\":{{\"channel\":\"books\",\"instId\":\"{about}\"}},\"action\":\"snapshot\",\
             \"data\":[{{\"asks\":{},\"bids\":{},\"ts\":\"{}\",\"checksum\":{sum}{seq}}}]}}",
            // As deep as the script goes: its changes reach every level.
            book.arrays(Side::Ask, usize::MAX),
            book.arrays(Side::Bid, usize::MAX),
            book.ts
        )]
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        if request.path != "/api/v5/public/instruments" {
            return Answer::Body(
                404,
                r#"{"msg":"API endpoint request path does not exist","code":"50404"}"#.to_owned(),
            );
        }
        let wanted = request.value("instType").unwrap_or("");
        let listed = script.symbols.iter().filter(|symbol| inst_type(symbol) == wanted);
        let listed = listed.map(|symbol| {
            format!("{{\"instType\":\"{wanted}\",\"instId\":\"{symbol}\",\"state\":\"live\"}}")
        });
        let data = listed.collect::<Vec<_>>().join(",");
        Answer::Body(200, format!("{{\"code\":\"0\",\"data\":[{data}],\"msg\":\"\"}}"))
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 | 418 => r#"{"msg":"Too Many Requests","code":"50011"}"#,
            _ => r#"{"msg":"System error, please try again later","code":"50026"}"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &["\"seqId\":", "\"prevSeqId\":"]
    }

    fn checksum_key(&self) -> Option<&'static str> {
        Some("\"checksum\":")
    }
}
