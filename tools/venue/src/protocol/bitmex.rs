//! BitMEX.
//!
//! From "WebSocket API" of www.bitmex.com/app/wsAPI: every subscription is answered by itself and
//! begins with a `partial`; rows of `orderBookL2` are known by their `id`; the text `ping` is
//! answered with `pong`; 20 connections an hour.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::Book;
use crate::json::{self, Object};
use crate::script::Script;

/// Everything on one path.
pub(super) struct BitMex;

#[derive(Deserialize)]
struct Asked {
    op: String,
    args: Args,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Args {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Message<'a> {
    action: &'a str,
    data: Vec<Object>,
}

impl Protocol for BitMex {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let Some(message) = json::parse::<Value>(text) else { return Vec::new() };
        let Some(table) = message["table"].as_str() else { return Vec::new() };
        let named = message["filter"].get("symbol").or_else(|| message["data"][0].get("symbol"));
        let symbol = named.and_then(Value::as_str).unwrap_or("").to_owned();
        let role = match table {
            "orderBookL2" => Role::Book,
            "quote" | "instrument" => Role::State,
            _ => Role::Events,
        };
        vec![Read::Message {
            topic: format!("{table}:{symbol}"),
            symbol,
            role,
            is_whole: role == Role::Book && message["action"] == "partial",
            text: text.to_owned(),
        }]
    }

    fn limits(&self) -> Limits {
        Limits {
            texts: (720, Duration::from_secs(3600)),
            connections: (20, Duration::from_secs(3600)),
            ..Limits::NONE
        }
    }

    fn open(&self, _: &mut Session, _: &Script) -> Vec<Action> {
        let info = concat!(
            r#"{"info":"Welcome to the BitMEX Realtime API.","#,
            r#""version":"2021-07-14T01:26:29.000Z","#,
            r#""timestamp":"2021-07-22T22:36:07.865Z","#,
            r#""docs":"https://www.bitmex.com/app/wsAPI","limit":{"remaining":39}}"#
        );
        vec![Action::Say(info.to_owned())]
    }

    fn hear(&self, _: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        if text == "ping" {
            return vec![Action::Pong("pong".to_owned())];
        }
        let Some(asked) = json::parse::<Asked>(text) else {
            let error = concat!(
                r#"{"status":400,"error":"Unrecognized request. See "#,
                r#"https://www.bitmex.com/app/wsAPI for more details.","meta":{}}"#
            );
            return vec![Action::Say(error.to_owned())];
        };
        let args = match asked.args {
            Args::One(topic) => vec![topic],
            Args::Many(topics) => topics,
        };
        let op = asked.op;
        let mut actions = Vec::new();
        for topic in args {
            let symbol = topic.split_once(':').map_or("", |(_, symbol)| symbol);
            if !symbol.is_empty() && !script.symbols.contains(symbol) {
                actions.push(Action::Say(format!(
                    "{{\"status\":400,\"error\":\"Unknown or expired symbol.\",\"meta\":{{}},\
                     \"request\":{text}}}"
                )));
                continue;
            }
            actions.push(Action::Say(format!(
                "{{\"success\":true,\"{op}\":\"{topic}\",\"request\":{text}}}"
            )));
            actions.push(match op.as_str() {
                "unsubscribe" => Action::Unsubscribe(topic),
                _ => Action::Subscribe(topic),
            });
        }
        actions
    }

    fn fold(&self, book: &mut Book, text: &str) {
        let Some(message) = json::parse::<Message<'_>>(text) else { return };
        if message.action == "partial" {
            book.clear();
            book.is_whole = true;
        }
        for row in message.data {
            // Tables without ids have one row, the last.
            let id = row.get("id").and_then(|id| id.get().parse().ok()).unwrap_or(0);
            if message.action == "delete" {
                book.rows.remove(&id);
            } else {
                book.rows.entry(id).or_default().extend(row);
            }
        }
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        let (table, symbol) = topic.split_once(':').unwrap_or((topic, ""));
        let row = |row: &Object| {
            let fields = row.iter().map(|(name, value)| format!("\"{name}\":{value}"));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        };
        let rows: Vec<String> = book.rows.values().map(row).collect();
        let keys = if table == "orderBookL2" { r#""symbol","id","side""# } else { "" };
        vec![format!(
            "{{\"table\":\"{table}\",\"action\":\"partial\",\"keys\":[{keys}],\"types\":{{}},\
             \"filter\":{{\"symbol\":\"{symbol}\"}},\"data\":[{}]}}",
            rows.join(",")
        )]
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        if request.path != "/api/v1/instrument/active" {
            let error = r#"{"error":{"message":"Not Found","name":"HTTPError"}}"#;
            return Answer::Body(404, error.to_owned());
        }
        let listed = script.symbols.iter();
        let listed = listed.map(|symbol| format!("{{\"symbol\":\"{symbol}\",\"state\":\"Open\"}}"));
        Answer::Body(200, format!("[{}]", listed.collect::<Vec<_>>().join(",")))
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => concat!(
                r#"{"error":{"message":"Rate limit exceeded, retry in 1 seconds.","#,
                r#""name":"RateLimitError"}}"#
            ),
            _ => concat!(
                r#"{"error":{"message":"The system is currently overloaded.","#,
                r#""name":"HTTPError"}}"#
            ),
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &[]
    }
}
