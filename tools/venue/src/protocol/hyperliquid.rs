//! Hyperliquid.
//!
//! From "WebSocket" and "Subscriptions" of hyperliquid.gitbook.io: `l2Book` is a whole book each
//! time; `{"method":"ping"}` is answered; nothing heard for 60 seconds ends a connection; 2,000
//! texts a minute, 1,000 subscriptions.

use std::time::Duration;

use serde_json::Value;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::Book;
use crate::json;
use crate::script::Script;

/// Perpetuals and spot.
pub(super) struct Hyperliquid;

impl Protocol for Hyperliquid {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let channel = json::between(text, "{\"channel\":\"", "\"");
        let coin = json::between(text, "\"coin\":\"", "\"");
        let (Some(channel), Some(coin)) = (channel, coin) else { return Vec::new() };
        let role = if channel == "trades" { Role::Events } else { Role::State };
        let (topic, symbol) = (format!("{channel}:{coin}"), coin.to_owned());
        let is_whole = channel == "l2Book";
        vec![Read::Message { topic, symbol, role, is_whole, text: text.to_owned() }]
    }

    fn limits(&self) -> Limits {
        Limits {
            texts: (2000, Duration::from_secs(60)),
            connections: (30, Duration::from_secs(60)),
            topics: 1000,
            silence_max: Some(Duration::from_secs(60)),
            ..Limits::NONE
        }
    }

    fn hear(&self, _: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let asked = json::parse::<Value>(text).unwrap_or_default();
        let about = &asked["subscription"];
        let part = |key: &str| about[key].as_str().unwrap_or("");
        let topic = format!("{}:{}", part("type"), part("coin"));
        let method = asked["method"].as_str().unwrap_or("");
        let answer = format!(
            "{{\"channel\":\"subscriptionResponse\",\"data\":{{\"method\":\"{method}\",\
             \"subscription\":{about}}}}}"
        );
        match method {
            "ping" => vec![Action::Pong(r#"{"channel":"pong"}"#.to_owned())],
            "subscribe" if script.symbols.contains(part("coin")) => {
                vec![Action::Say(answer), Action::Subscribe(topic)]
            }
            "unsubscribe" => vec![Action::Say(answer), Action::Unsubscribe(topic)],
            _ => {
                let data = json::quoted(&format!("Invalid subscription {about}"));
                vec![Action::Say(format!("{{\"channel\":\"error\",\"data\":{data}}}"))]
            }
        }
    }

    fn fold(&self, _: &mut Book, _: &str) {}

    fn fresh(&self, _: &str, book: &Book) -> Vec<String> {
        vec![book.last.clone()]
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        if request.path != "/info" || !request.body.contains("\"meta\"") {
            return Answer::Body(422, "Failed to deserialize the JSON body".to_owned());
        }
        let listed = script.symbols.iter();
        let listed = listed.map(|name| format!("{{\"name\":\"{name}\",\"szDecimals\":5}}"));
        let listed = listed.collect::<Vec<_>>().join(",");
        Answer::Body(200, format!("{{\"universe\":[{listed}]}}"))
    }

    fn refusal(&self, _: u16) -> String {
        "null".to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &[]
    }
}
