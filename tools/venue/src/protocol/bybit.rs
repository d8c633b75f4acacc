//! Bybit, API version 5: spot, linear and inverse contracts, each on its own path.
//!
//! From "Connect" and "Orderbook" of bybit-exchange.github.io/docs/v5/ws: a book begins with a
//! snapshot and every message counts `u` one up; a request with one bad topic fails as a whole; 500
//! connections in five minutes; nothing heard for ten minutes ends a connection.

use std::time::Duration;

use serde::Deserialize;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Side};
use crate::json::{self, Arrays, Object};
use crate::script::Script;

/// All markets.
pub(super) struct Bybit;

const CONNECTION: &str = "d8bu1olkndm7crnfs1e0-j6akw";

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    req_id: String,
    op: String,
    #[serde(default)]
    args: Vec<String>,
}

#[derive(Deserialize)]
struct Update<'a> {
    r#type: &'a str,
    ts: i64,
    #[serde(borrow)]
    data: Levels<'a>,
}

#[derive(Deserialize)]
struct Levels<'a> {
    #[serde(borrow)]
    b: Arrays<'a>,
    a: Arrays<'a>,
    u: i64,
}

#[derive(Deserialize)]
struct State {
    data: Object,
}

fn market(path: &str) -> &'static str {
    match path {
        _ if path.contains("/spot") => "spot",
        _ if path.contains("/inverse") => "inverse",
        _ => "linear",
    }
}

impl Protocol for Bybit {
    fn read(&self, _: &mut Memory, address: &str, text: &str) -> Vec<Read> {
        let Some(topic) = json::between(text, "{\"topic\":\"", "\"") else { return Vec::new() };
        let market = market(address);
        // Spot has 1,000 levels today, not 200.
        let is_old = market == "spot" && topic.starts_with("orderbook.200.");
        let today = if is_old { topic.replacen("200", "1000", 1) } else { topic.to_owned() };
        let role = match topic.split('.').next() {
            Some("orderbook") => Role::Book,
            Some("tickers") => Role::State,
            _ => Role::Events,
        };
        vec![Read::Message {
            topic: format!("{market} {today}"),
            symbol: format!("{market} {}", topic.rsplit('.').next().unwrap_or("")),
            role,
            is_whole: role == Role::Book && text.contains("\"type\":\"snapshot\""),
            text: text.replacen(topic, &today, 1),
        }]
    }

    fn limits(&self) -> Limits {
        Limits {
            connections: (500, Duration::from_secs(300)),
            silence_max: Some(Duration::from_secs(600)),
            ..Limits::NONE
        }
    }

    fn hear(&self, session: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let Some(Asked { req_id, op, args }) = json::parse(text) else {
            let error = format!(
                "{{\"success\":false,\"ret_msg\":\"Invalid request format\",\
                 \"conn_id\":\"{CONNECTION}\",\"req_id\":\"\",\"op\":\"\"}}"
            );
            return vec![Action::Say(error)];
        };
        let answer = |success: bool, message: &str| {
            format!(
                "{{\"success\":{success},\"ret_msg\":{},\"conn_id\":\"{CONNECTION}\",\
                 \"req_id\":{},\"op\":\"{op}\"}}",
                json::quoted(message),
                json::quoted(&req_id)
            )
        };
        let market = market(&session.path);
        let known = |topic: &&String| {
            let symbol = topic.rsplit('.').next().unwrap_or("");
            script.symbols.contains(&format!("{market} {symbol}"))
        };
        match op.as_str() {
            "ping" => vec![Action::Pong(answer(true, "pong"))],
            "subscribe" => match args.iter().find(|topic| !known(topic)) {
                Some(topic) => {
                    let message = format!("error:handler not found,topic:{topic}");
                    vec![Action::Say(answer(false, &message))]
                }
                None => {
                    let mut actions = vec![Action::Say(answer(true, ""))];
                    let topics = args.iter().map(|topic| format!("{market} {topic}"));
                    actions.extend(topics.map(Action::Subscribe));
                    actions
                }
            },
            "unsubscribe" => {
                let mut actions = vec![Action::Say(answer(true, ""))];
                let topics = args.iter().map(|topic| format!("{market} {topic}"));
                actions.extend(topics.map(Action::Unsubscribe));
                actions
            }
            _ => vec![Action::Say(answer(false, "Invalid op"))],
        }
    }

    fn fold(&self, book: &mut Book, text: &str) {
        if let Some(update) = json::parse::<Update<'_>>(text) {
            if update.r#type == "snapshot" || update.data.u == 1 {
                book.clear();
                book.is_whole = true;
            }
            book.seq = update.data.u;
            book.ts = update.ts.to_string();
            json::set_arrays(book, Side::Bid, &update.data.b);
            json::set_arrays(book, Side::Ask, &update.data.a);
        } else if let Some(state) = json::parse::<State>(text) {
            book.rows.entry(0).or_default().extend(state.data);
        }
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        let topic = topic.split(' ').nth(1).unwrap_or("");
        let symbol = topic.rsplit('.').next().unwrap_or("");
        if let Some(state) = book.rows.get(&0) {
            let fields: Vec<String> =
                state.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let rest = book.last.rsplit_once("},").map_or("}", |(_, rest)| rest);
            let data = fields.join(",");
            return vec![format!(
                "{{\"topic\":\"{topic}\",\"type\":\"snapshot\",\"data\":{{{data}}},{rest}"
            )];
        }
        let across = json::between(&book.last, "\"seq\":", "}").unwrap_or("0");
        vec![format!(
            "{{\"topic\":\"{topic}\",\"type\":\"snapshot\",\"ts\":{ts},\
             \"data\":{{\"s\":\"{symbol}\",\
             \"b\":{},\"a\":{},\"u\":{},\"seq\":{across}}},\"cts\":{ts}}}",
            book.arrays(Side::Bid, 1000),
            book.arrays(Side::Ask, 1000),
            book.seq,
            ts = book.ts,
        )]
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        if request.path != "/v5/market/instruments-info" {
            return Answer::Body(404, String::new());
        }
        let category = request.value("category").unwrap_or("");
        let listed = script.symbols.iter().filter_map(|symbol| symbol.split_once(' '));
        let listed = listed.filter(|(market, _)| *market == category);
        let listed: Vec<String> = listed
            .map(|(_, symbol)| format!("{{\"symbol\":\"{symbol}\",\"status\":\"Trading\"}}"))
            .collect();
        Answer::Body(
            200,
            format!(
                "{{\"retCode\":0,\"retMsg\":\"OK\",\"result\":{{\"category\":\"{category}\",\
             \"list\":[{}],\"nextPageCursor\":\"\"}},\"retExtInfo\":{{}},\"time\":1767657600000}}",
                listed.join(",")
            ),
        )
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"{"retCode":10006,"retMsg":"Too many visits!"}"#,
            _ => r#"{"retCode":10016,"retMsg":"Server error."}"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &["\"u\":"]
    }
}
