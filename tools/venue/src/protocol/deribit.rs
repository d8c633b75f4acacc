//! Deribit, API version 2.
//!
//! From "Subscriptions", `public/subscribe` and `public/set_heartbeat` of docs.deribit.com:
//! channels that do not exist are missing in the answer; `raw` needs a login, so captured `raw`
//! channels are played as `100ms`; once asked to, the venue sends test requests; 32 connections.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Level, Side};
use crate::json;
use crate::script::Script;

/// Everything on one path.
pub(super) struct Deribit;

#[derive(Deserialize)]
struct Asked {
    id: Option<serde_json::Value>,
    method: String,
    #[serde(default)]
    params: Params,
}

#[derive(Default, Deserialize)]
struct Params {
    #[serde(default)]
    channels: Vec<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    params: Pushed<'a>,
}

#[derive(Deserialize)]
struct Pushed<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    r#type: &'a str,
    timestamp: i64,
    change_id: i64,
    #[serde(borrow)]
    bids: Vec<(&'a str, &'a RawValue, &'a RawValue)>,
    asks: Vec<(&'a str, &'a RawValue, &'a RawValue)>,
}

/// `BTC-PERPETUAL` of `book.BTC-PERPETUAL.100ms`.
fn symbol_of(channel: &str) -> &str {
    channel.split('.').nth(1).unwrap_or("")
}

impl Protocol for Deribit {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let Some(channel) = json::between(text, "\"params\":{\"channel\":\"", "\"") else {
            return Vec::new();
        };
        let topic = channel.strip_suffix(".raw").map(|name| format!("{name}.100ms"));
        let topic = topic.unwrap_or_else(|| channel.to_owned());
        let role = match topic.split('.').next() {
            Some("book") => Role::Book,
            Some("ticker" | "quote") => Role::State,
            _ => Role::Events,
        };
        vec![Read::Message {
            symbol: symbol_of(&topic).to_owned(),
            role,
            is_whole: role == Role::Book && text.contains("\"type\":\"snapshot\""),
            text: text.replacen(channel, &topic, 1),
            topic,
        }]
    }

    fn limits(&self) -> Limits {
        Limits { ping_every: Some(Duration::from_secs(30)), ..Limits::NONE }
    }

    fn hear(&self, session: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let Some(Asked { id, method, params }) = json::parse(text) else {
            let error = r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"}}"#;
            return vec![Action::Say(error.to_owned())];
        };
        let id = id.unwrap_or_default();
        let answer = |result: &str| {
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result},\"testnet\":false}}")
        };
        let is_known = |channel: &&String| {
            script.symbols.contains(symbol_of(channel)) && !channel.ends_with(".raw")
        };
        let known: Vec<String> = params.channels.iter().filter(is_known).cloned().collect();
        let list = serde_json::Value::from(known.clone()).to_string();
        match method.as_str() {
            "public/subscribe" => {
                let mut actions = vec![Action::Say(answer(&list))];
                actions.extend(known.into_iter().map(Action::Subscribe));
                actions
            }
            "public/unsubscribe" => {
                let mut actions = vec![Action::Say(answer(&list))];
                actions.extend(known.into_iter().map(Action::Unsubscribe));
                actions
            }
            "public/set_heartbeat" => {
                session.flags = 1;
                vec![Action::Say(answer("\"ok\""))]
            }
            "public/test" => vec![Action::Pong(answer("{\"version\":\"1.2.26\"}"))],
            _ => vec![Action::Say(format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\
                 \"error\":{{\"code\":-32601,\"message\":\"Method not found\"}}}}"
            ))],
        }
    }

    fn beat(&self, session: &Session) -> Option<String> {
        let test = r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#;
        (session.flags != 0).then(|| test.to_owned())
    }

    fn fold(&self, book: &mut Book, text: &str) {
        let Some(message) = json::parse::<Message<'_>>(text) else { return };
        let data = message.params.data;
        if data.r#type == "snapshot" {
            book.clear();
            book.is_whole = true;
        }
        book.seq = data.change_id;
        book.ts = data.timestamp.to_string();
        for (side, levels) in [(Side::Bid, data.bids), (Side::Ask, data.asks)] {
            for (action, price, amount) in levels {
                if action == "delete" {
                    book.remove(side, price.get());
                } else {
                    let (price, qty) = (price.get().to_owned(), amount.get().to_owned());
                    book.set(side, Level { price, qty, rest: Vec::new() });
                }
            }
        }
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        if !topic.starts_with("book.") {
            return vec![book.last.clone()];
        }
        let side = |side| {
            book.write(side, usize::MAX, |level| format!("[\"new\",{},{}]", level.price, level.qty))
        };
        vec![format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\
             \"params\":{{\"channel\":\"{topic}\",\
             \"data\":{{\"type\":\"snapshot\",\"timestamp\":{},\"instrument_name\":\"{}\",\
             \"change_id\":{},\"bids\":{},\"asks\":{}}}}}}}",
            book.ts,
            symbol_of(topic),
            book.seq,
            side(Side::Bid),
            side(Side::Ask)
        )]
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        if request.path != "/api/v2/public/get_instruments" {
            return Answer::Body(404, String::new());
        }
        let listed = script
            .symbols
            .iter()
            .map(|symbol| format!("{{\"instrument_name\":\"{symbol}\",\"is_active\":true}}"));
        let listed = listed.collect::<Vec<_>>().join(",");
        Answer::Body(
            200,
            format!("{{\"jsonrpc\":\"2.0\",\"result\":[{listed}],\"testnet\":false}}"),
        )
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"{"jsonrpc":"2.0","error":{"code":10028,"message":"too_many_requests"}}"#,
            _ => r#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error"}}"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &["\"change_id\":", "\"prev_change_id\":"]
    }
}
