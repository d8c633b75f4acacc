//! Bitstamp.
//!
//! From "WebSocket API v2" of www.bitstamp.net: one channel per request; the snapshot of
//! `diff_order_book` is had over REST and joined by `microtimestamp`.

use serde::Deserialize;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Side};
use crate::json::{self, Arrays};
use crate::script::Script;

/// Spot.
pub(super) struct Bitstamp;

const BOOK: &str = "diff_order_book_";

#[derive(Deserialize)]
struct Asked {
    event: String,
    #[serde(default)]
    data: AskedData,
}

#[derive(Default, Deserialize)]
struct AskedData {
    #[serde(default)]
    channel: String,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    data: Levels<'a>,
}

#[derive(Deserialize)]
struct Levels<'a> {
    microtimestamp: &'a str,
    #[serde(borrow)]
    bids: Arrays<'a>,
    asks: Arrays<'a>,
}

fn symbol_of(channel: &str) -> &str {
    channel.rsplit('_').next().unwrap_or("")
}

fn take(book: &mut Book, levels: &Levels<'_>) {
    book.seq = levels.microtimestamp.parse().unwrap_or(0);
    json::set_arrays(book, Side::Bid, &levels.bids);
    json::set_arrays(book, Side::Ask, &levels.asks);
}

impl Protocol for Bitstamp {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let channel = json::between(text, "\"channel\":\"", "\"");
        let Some(topic) = channel.filter(|_| text.starts_with("{\"data\":{\"")) else {
            return Vec::new();
        };
        let role = if topic.starts_with(BOOK) { Role::SplicedBook } else { Role::Events };
        let symbol = symbol_of(topic).to_owned();
        let (topic, text) = (topic.to_owned(), text.to_owned());
        vec![Read::Message { topic, symbol, role, is_whole: false, text }]
    }

    fn read_reply(&self, url: &str, body: &str) -> Option<Read> {
        let symbol = url.split_once("/order_book/")?.1.trim_end_matches('/').to_owned();
        Some(Read::Reply { topic: format!("{BOOK}{symbol}"), symbol, body: body.to_owned() })
    }

    fn limits(&self) -> Limits {
        Limits::NONE
    }

    fn hear(&self, _: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let asked = json::parse::<Asked>(text);
        let channel = asked.as_ref().map_or("", |asked| &asked.data.channel).to_owned();
        let known = script.symbols.contains(symbol_of(&channel));
        let say = |event: &str, data: &str| {
            format!("{{\"event\":\"bts:{event}\",\"channel\":\"{channel}\",\"data\":{data}}}")
        };
        match asked.as_ref().map_or("", |asked| &asked.event) {
            "bts:heartbeat" => vec![Action::Pong(say("heartbeat", r#"{"status":"success"}"#))],
            "bts:subscribe" if known => {
                vec![Action::Say(say("subscription_succeeded", "{}")), Action::Subscribe(channel)]
            }
            "bts:unsubscribe" => vec![
                Action::Say(say("unsubscription_succeeded", "{}")),
                Action::Unsubscribe(channel),
            ],
            _ => {
                let error = r#"{"code":null,"message":"Bad subscription string."}"#;
                vec![Action::Say(say("error", error))]
            }
        }
    }

    fn fold(&self, book: &mut Book, text: &str) {
        let Some(Message { data }) = json::parse(text) else { return };
        if data.microtimestamp.parse::<i64>().is_ok_and(|time| time > book.seq) {
            take(book, &data);
        }
    }

    fn fold_reply(&self, book: &mut Book, body: &str) {
        let Some(levels) = json::parse::<Levels<'_>>(body) else { return };
        book.clear();
        book.is_whole = true;
        take(book, &levels);
    }

    fn fresh(&self, _: &str, _: &Book) -> Vec<String> {
        Vec::new()
    }

    fn snapshot(&self, _: &str, book: &Book, levels: usize) -> String {
        format!(
            "{{\"timestamp\": \"{}\", \"microtimestamp\": \"{}\", \"bids\": {}, \"asks\": {}}}",
            book.seq / 1_000_000,
            book.seq,
            book.arrays(Side::Bid, levels),
            book.arrays(Side::Ask, levels)
        )
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        let path = request.path.trim_end_matches('/');
        if path == "/api/v2/markets" {
            let listed = script.symbols.iter().map(|symbol| {
                format!("{{\"market_symbol\":\"{symbol}\",\"trading\":\"Enabled\"}}")
            });
            return Answer::Body(200, format!("[{}]", listed.collect::<Vec<_>>().join(",")));
        }
        match path.strip_prefix("/api/v2/order_book/") {
            Some(symbol) if script.symbols.contains(symbol) => {
                Answer::Snapshot(format!("{BOOK}{symbol}"), usize::MAX)
            }
            _ => Answer::Body(404, r#"{"status":"error","reason":"Not found"}"#.to_owned()),
        }
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"{"status":"error","reason":"Request rate limit exceeded","code":"400.002"}"#,
            _ => r#"{"status":"error","reason":"Internal server error"}"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &[]
    }
}
