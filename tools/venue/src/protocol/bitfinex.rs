//! Bitfinex, API version 2.
//!
//! From "General", "Public Channels" and "Configuration" of docs.bitfinex.com: the venue gives
//! every subscription a number and puts it before its data; the flag 65536 adds the connection's
//! sequence, 32768 the time; 25 channels on one connection, 20 connections a minute. Checksums
//! (131072) are not sent.

use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Level, Side, number};
use crate::json;
use crate::script::Script;

/// Spot and derivatives.
pub(super) struct Bitfinex;

const SEQUENCE: i64 = 65_536;
const TIMES: i64 = 32_768;
const CHANNELS_MAX: usize = 25;

/// A level: price, orders, amount; the sign of the amount is the side.
type Row<'a> = [&'a RawValue; 3];

fn topic_of(asked: &Value) -> String {
    let text = |key: &str| asked[key].as_str().unwrap_or("");
    let about = if text("key").is_empty() { text("symbol") } else { text("key") };
    format!("{}:{about}", text("channel"))
}

fn symbol_of(topic: &str) -> String {
    let about = topic.split_once(':').map_or("", |(_, about)| about);
    about.trim_start_matches("deriv:").trim_start_matches('t').to_owned()
}

fn set(book: &mut Book, [price, count, amount]: Row<'_>) {
    let is_bid = number(amount.get()).is_some_and(|amount| amount > 0);
    let side = if is_bid { Side::Bid } else { Side::Ask };
    if count.get() == "0" {
        return book.remove(side, price.get());
    }
    let rest = vec![count.get().to_owned()];
    book.set(side, Level { price: price.get().to_owned(), qty: amount.get().to_owned(), rest });
}

impl Protocol for Bitfinex {
    fn read(&self, memory: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        if text.starts_with('{') {
            let answer = json::parse::<Value>(text).unwrap_or_default();
            if answer["event"] == "subscribed" {
                memory.insert(answer["chanId"].to_string(), topic_of(&answer));
            }
            return Vec::new();
        }
        let Some(parts) = json::parse::<Vec<&RawValue>>(text) else { return Vec::new() };
        let [channel, data @ .., _] = &parts[..] else { return Vec::new() };
        let Some(topic) = memory.get(channel.get()) else { return Vec::new() };
        let data: Vec<&str> = data.iter().map(|part| part.get()).collect();
        let text = data.join(",");
        if text == "\"hb\"" {
            return Vec::new();
        }
        let role = match topic.split(':').next() {
            Some("book") => Role::Book,
            Some("trades") => Role::Events,
            _ => Role::State,
        };
        let is_whole = role == Role::Book && text.starts_with("[[");
        let (topic, symbol) = (topic.clone(), symbol_of(topic));
        vec![Read::Message { topic, symbol, role, is_whole, text }]
    }

    fn limits(&self) -> Limits {
        Limits { connections: (20, Duration::from_secs(60)), ..Limits::NONE }
    }

    fn open(&self, _: &mut Session, _: &Script) -> Vec<Action> {
        let info = concat!(
            r#"{"event":"info","version":2,"#,
            r#""serverId":"083bd8d4-aca7-4690-a573-eabfc8103de8","platform":{"#,
            r#""status":1}}"#
        );
        vec![Action::Say(info.to_owned())]
    }

    fn hear(&self, session: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let asked = json::parse::<Value>(text).unwrap_or_default();
        let error = |code: i64, message: &str| {
            vec![Action::Say(format!(
                "{{\"event\":\"error\",\"msg\":\"{message}\",\"code\":{code}}}"
            ))]
        };
        match asked["event"].as_str() {
            Some("ping") => {
                let id = asked.get("cid").map_or(String::new(), |id| format!(",\"cid\":{id}"));
                vec![Action::Pong(format!("{{\"event\":\"pong\",\"ts\":1767657600000{id}}}"))]
            }
            Some("conf") => {
                session.flags = asked["flags"].as_i64().unwrap_or(0);
                let flags = session.flags;
                let answer = format!("{{\"event\":\"conf\",\"status\":\"OK\",\"flags\":{flags}}}");
                vec![Action::Say(answer)]
            }
            Some("subscribe") => {
                let topic = topic_of(&asked);
                let symbol = symbol_of(&topic);
                if !script.symbols.contains(&symbol) && script.topic(&topic).is_none() {
                    return error(10300, "symbol: invalid");
                }
                if session.channels.contains_key(&topic) {
                    return error(10301, "subscribe: dup");
                }
                if session.channels.len() >= CHANNELS_MAX {
                    return error(10305, "subscribe: limit");
                }
                session.opened += 1;
                let channel = 200_000 + 7 * session.opened;
                session.channels.insert(topic.clone(), channel);
                let mut answer = asked.clone();
                answer["event"] = Value::from("subscribed");
                answer["chanId"] = Value::from(channel);
                answer["pair"] = Value::from(symbol);
                vec![Action::Say(answer.to_string()), Action::Subscribe(topic)]
            }
            Some("unsubscribe") => {
                let channel = asked["chanId"].as_i64();
                let found = session.channels.iter().find(|(_, number)| Some(**number) == channel);
                let Some((topic, number)) = found.map(|(topic, number)| (topic.clone(), *number))
                else {
                    return error(10400, "unsubscribe: invalid");
                };
                session.channels.remove(&topic);
                let answer =
                    format!("{{\"event\":\"unsubscribed\",\"status\":\"OK\",\"chanId\":{number}}}");
                vec![Action::Say(answer), Action::Unsubscribe(topic)]
            }
            _ => error(10000, "unknown"),
        }
    }

    fn fold(&self, book: &mut Book, text: &str) {
        if let Some(rows) = json::parse::<Vec<Row<'_>>>(text) {
            book.clear();
            book.is_whole = true;
            rows.into_iter().for_each(|row| set(book, row));
        } else if let Some(row) = json::parse::<Row<'_>>(text) {
            set(book, row);
        }
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        if !topic.starts_with("book:") {
            return vec![book.last.clone()];
        }
        let levels = book.levels(Side::Bid).chain(book.levels(Side::Ask));
        let levels = levels.map(|level| {
            let count = level.rest.first().map_or("1", String::as_str);
            format!("[{},{count},{}]", level.price, level.qty)
        });
        vec![format!("[{}]", levels.collect::<Vec<_>>().join(","))]
    }

    fn deliver(&self, session: &mut Session, topic: &str, text: &str) -> Option<String> {
        let channel = session.channels.get(topic)?;
        let mut own = format!("[{channel},{text}");
        if session.flags & SEQUENCE != 0 {
            session.sequence += 1;
            own.push_str(&format!(",{}", session.sequence));
        }
        if session.flags & TIMES != 0 {
            own.push_str(",1767657600000");
        }
        own.push(']');
        Some(own)
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        let derivatives = match request.path.as_str() {
            "/v2/conf/pub:list:pair:exchange" => false,
            "/v2/conf/pub:list:pair:futures" => true,
            _ => return Answer::Body(404, r#"["error",10020,"path: invalid"]"#.to_owned()),
        };
        let listed = script.symbols.iter().filter(|symbol| symbol.contains("F0:") == derivatives);
        let listed: Vec<String> = listed.map(|symbol| json::quoted(symbol)).collect();
        Answer::Body(200, format!("[[{}]]", listed.join(",")))
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"["error",11010,"ratelimit: error"]"#,
            _ => r#"["error",20060,"maintenance"]"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &[]
    }
}
