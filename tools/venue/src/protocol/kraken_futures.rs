//! Kraken Futures.
//!
//! From "Futures WebSocket" of docs.kraken.com: every product is answered by itself and begins with
//! `book_snapshot`; `seq` counts one up per product; 100 texts a second; a connection that is not
//! heard for 60 seconds is ended.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Level, Side};
use crate::json;
use crate::script::Script;

/// All contracts.
pub(super) struct KrakenFutures;

#[derive(Deserialize)]
struct Asked {
    event: String,
    feed: String,
    #[serde(default)]
    product_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Change<'a> {
    side: &'a str,
    seq: i64,
    timestamp: i64,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    seq: i64,
    timestamp: i64,
    #[serde(borrow)]
    bids: Vec<Row<'a>>,
    asks: Vec<Row<'a>>,
}

fn set(book: &mut Book, side: Side, row: &Row<'_>) {
    let (price, qty) = (row.price.get().to_owned(), row.qty.get().to_owned());
    book.set(side, Level { price, qty, rest: Vec::new() });
}

impl Protocol for KrakenFutures {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let feed = json::between(text, "{\"feed\":\"", "\"");
        let symbol = json::between(text, "\"product_id\":\"", "\"");
        let (Some(feed), Some(symbol)) = (feed, symbol) else { return Vec::new() };
        let name = feed.strip_suffix("_snapshot").unwrap_or(feed);
        let role = match name {
            "book" => Role::Book,
            "ticker" | "ticker_lite" => Role::State,
            _ => Role::Events,
        };
        vec![Read::Message {
            topic: format!("{name}:{symbol}"),
            symbol: symbol.to_owned(),
            role,
            is_whole: feed == "book_snapshot",
            text: text.to_owned(),
        }]
    }

    fn limits(&self) -> Limits {
        Limits {
            texts: (100, Duration::from_secs(1)),
            silence_max: Some(Duration::from_secs(60)),
            ..Limits::NONE
        }
    }

    fn open(&self, _: &mut Session, _: &Script) -> Vec<Action> {
        vec![Action::Say(r#"{"event":"info","version":1}"#.to_owned())]
    }

    fn hear(&self, _: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let error = |message: &str| {
            Action::Say(format!("{{\"event\":\"error\",\"message\":\"{message}\"}}"))
        };
        let Some(Asked { event, feed, product_ids }) = json::parse(text) else {
            return vec![error("Json Error")];
        };
        let mut actions = Vec::new();
        for product in product_ids.iter().map(|product| product.to_uppercase()) {
            if !script.symbols.contains(&product) {
                actions.push(error("Invalid product id"));
                continue;
            }
            actions.push(Action::Say(format!(
                "{{\"event\":\"{event}d\",\"feed\":\"{feed}\",\"product_ids\":[\"{product}\"]}}"
            )));
            let topic = format!("{feed}:{product}");
            actions.push(match event.as_str() {
                "unsubscribe" => Action::Unsubscribe(topic),
                _ => Action::Subscribe(topic),
            });
        }
        actions
    }

    fn fold(&self, book: &mut Book, text: &str) {
        if let Some(snapshot) = json::parse::<Snapshot<'_>>(text) {
            book.clear();
            book.is_whole = true;
            book.seq = snapshot.seq;
            book.ts = snapshot.timestamp.to_string();
            snapshot.bids.iter().for_each(|row| set(book, Side::Bid, row));
            snapshot.asks.iter().for_each(|row| set(book, Side::Ask, row));
        } else if let Some(change) = json::parse::<Change<'_>>(text) {
            book.seq = change.seq;
            book.ts = change.timestamp.to_string();
            let side = if change.side == "buy" { Side::Bid } else { Side::Ask };
            set(book, side, &Row { price: change.price, qty: change.qty });
        }
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        let Some(product) = topic.strip_prefix("book:") else { return vec![book.last.clone()] };
        let side = |side| {
            book.write(side, usize::MAX, |level| {
                format!("{{\"price\":{},\"qty\":{}}}", level.price, level.qty)
            })
        };
        vec![format!(
            "{{\"feed\":\"book_snapshot\",\"product_id\":\"{product}\",\"timestamp\":{},\"seq\":{},\
             \"tickSize\":null,\"bids\":{},\"asks\":{}}}",
            book.ts,
            book.seq,
            side(Side::Bid),
            side(Side::Ask)
        )]
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        if request.path != "/derivatives/api/v3/instruments" {
            return Answer::Body(404, String::new());
        }
        let listed = script.symbols.iter();
        let listed = listed.map(|symbol| format!("{{\"symbol\":\"{symbol}\",\"tradeable\":true}}"));
        let listed = listed.collect::<Vec<_>>().join(",");
        Answer::Body(200, format!("{{\"result\":\"success\",\"instruments\":[{listed}]}}"))
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"{"result":"error","error":"apiLimitExceeded"}"#,
            _ => r#"{"result":"error","error":"Unavailable"}"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &["\"seq\":"]
    }
}
