//! Gate, API version 4: spot and futures.
//!
//! From "Spot WebSocket v4" and "Futures WebSocket v4" of www.gate.com/docs/developers: a book's
//! snapshot is had over REST and joined by `id`; every request names one channel; the venue answers
//! `ping` with `pong`.

use serde::Deserialize;
use serde_json::Value;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Level, Side};
use crate::json;
use crate::script::Script;

pub(super) const SPOT: Gate = Gate { market: "spot" };
pub(super) const FUTURES: Gate = Gate { market: "futures" };

/// One of the two markets.
pub(super) struct Gate {
    market: &'static str,
}

#[derive(Deserialize)]
struct Asked {
    time: i64,
    channel: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    payload: Vec<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    result: Changes<'a>,
}

#[derive(Deserialize)]
struct Changes<'a> {
    u: i64,
    t: i64,
    #[serde(borrow)]
    b: Vec<Row<'a>>,
    a: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    id: i64,
    #[serde(borrow)]
    bids: Vec<Row<'a>>,
    asks: Vec<Row<'a>>,
}

/// `["1.2","3"]` on spot, `{"p":"1.2","s":3}` on futures.
#[derive(Deserialize)]
#[serde(untagged)]
enum Row<'a> {
    Array(#[serde(borrow)] Vec<&'a str>),
    Object { p: String, s: Value },
}

fn set(book: &mut Book, side: Side, rows: Vec<Row<'_>>) {
    for row in rows {
        let (price, qty) = match row {
            Row::Array(parts) => {
                let [price, qty] = parts[..] else { continue };
                (json::quoted(price), json::quoted(qty))
            }
            Row::Object { p, s } => (json::quoted(&p), s.to_string()),
        };
        book.set(side, Level { price, qty, rest: Vec::new() });
    }
}

/// Whose message it is.
fn symbol_of(result: &Value) -> Option<String> {
    let row = result.get(0).unwrap_or(result);
    let named = ["s", "currency_pair", "contract"].into_iter().find_map(|key| row.get(key));
    if let Some(name) = named.and_then(Value::as_str) {
        return Some(name.to_owned());
    }
    let candles = row.get("n").and_then(Value::as_str)?;
    candles.split_once('_').map(|(_, symbol)| symbol.to_owned())
}

impl Protocol for Gate {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let Some(message) = json::parse::<Value>(text) else { return Vec::new() };
        let channel = message["channel"].as_str().and_then(|channel| channel.split_once('.'));
        let (Some((market, channel)), Some("update")) = (channel, message["event"].as_str()) else {
            return Vec::new();
        };
        let symbol = symbol_of(&message["result"]).filter(|_| market == self.market);
        let Some(symbol) = symbol else { return Vec::new() };
        let role = match channel {
            "order_book_update" => Role::SplicedBook,
            "tickers" | "book_ticker" => Role::State,
            _ => Role::Events,
        };
        let (topic, text) = (format!("{channel}:{symbol}"), text.to_owned());
        vec![Read::Message { topic, symbol, role, is_whole: false, text }]
    }

    fn read_reply(&self, url: &str, body: &str) -> Option<Read> {
        let (_, query) = url.split_once("/order_book?")?;
        let named = ["currency_pair=", "contract="];
        let symbol = query
            .split('&')
            .find_map(|part| named.iter().find_map(|name| part.strip_prefix(name)))?;
        let (topic, symbol) = (format!("order_book_update:{symbol}"), symbol.to_owned());
        Some(Read::Reply { topic, symbol, body: body.to_owned() })
    }

    fn limits(&self) -> Limits {
        Limits::NONE
    }

    fn hear(&self, _: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let Some(Asked { time, channel, event, payload }) = json::parse(text) else {
            let error = concat!(
                r#"{"time":1767657600,"channel":"","event":"","error":{"code":1,"#,
                r#""message":"invalid argument"},"result":null}"#
            );
            return vec![Action::Say(error.to_owned())];
        };
        let name = channel.split_once('.').map_or("", |(_, name)| name);
        if name == "ping" {
            let market = self.market;
            return vec![Action::Pong(format!(
                "{{\"time\":{time},\"channel\":\"{market}.pong\",\"event\":\"\",\"result\":null}}"
            ))];
        }
        let answer = |rest: &str| {
            format!("{{\"time\":{time},\"channel\":\"{channel}\",\"event\":\"{event}\",{rest}}}")
        };
        let symbols: Vec<&String> = match name {
            "order_book_update" => payload.iter().take(1).collect(),
            "candlesticks" => payload.iter().skip(1).collect(),
            _ => payload.iter().collect(),
        };
        if let Some(symbol) = symbols.iter().find(|symbol| !script.symbols.contains(**symbol)) {
            let what = if self.market == "spot" { "currency pair" } else { "contract" };
            return vec![Action::Say(answer(&format!(
                "\"error\":{{\"code\":2,\"message\":\"unknown {what}: {symbol}\"}},\"result\":null"
            )))];
        }
        let mut actions = vec![Action::Say(answer("\"result\":{\"status\":\"success\"}"))];
        let topics = symbols.into_iter().map(|symbol| format!("{name}:{symbol}"));
        let action = if event == "unsubscribe" { Action::Unsubscribe } else { Action::Subscribe };
        actions.extend(topics.map(action));
        actions
    }

    fn fold(&self, book: &mut Book, text: &str) {
        let Some(Message { result }) = json::parse(text) else { return };
        if result.u <= book.seq {
            return;
        }
        book.seq = result.u;
        book.ts = result.t.to_string();
        set(book, Side::Bid, result.b);
        set(book, Side::Ask, result.a);
    }

    fn fold_reply(&self, book: &mut Book, body: &str) {
        let Some(snapshot) = json::parse::<Snapshot<'_>>(body) else { return };
        book.clear();
        book.is_whole = true;
        book.seq = snapshot.id;
        set(book, Side::Bid, snapshot.bids);
        set(book, Side::Ask, snapshot.asks);
    }

    fn before(&self, text: &str) -> Option<i64> {
        json::between(text, "\"U\":", ",")?.parse::<i64>().ok().map(|first| first - 1)
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        if topic.starts_with("order_book") { Vec::new() } else { vec![book.last.clone()] }
    }

    fn snapshot(&self, _: &str, book: &Book, levels: usize) -> String {
        let side = |side| match self.market {
            "spot" => book.arrays(side, levels),
            _ => book.write(side, levels, |level| {
                format!("{{\"s\":{},\"p\":{}}}", level.qty, level.price)
            }),
        };
        let ts = if book.ts.is_empty() { "0" } else { &book.ts };
        format!(
            "{{\"id\":{},\"current\":{ts},\"update\":{ts},\"asks\":{},\"bids\":{}}}",
            book.seq,
            side(Side::Ask),
            side(Side::Bid)
        )
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        let list = |write: &dyn Fn(&String) -> String| {
            let listed: Vec<String> = script.symbols.iter().map(write).collect();
            Answer::Body(200, format!("[{}]", listed.join(",")))
        };
        let (path, name) = match self.market {
            "spot" => (request.path.strip_prefix("/api/v4/spot/"), "currency_pair"),
            _ => (request.path.strip_prefix("/api/v4/futures/usdt/"), "contract"),
        };
        match path {
            Some("currency_pairs") => {
                list(&|id| format!("{{\"id\":\"{id}\",\"trade_status\":\"tradable\"}}"))
            }
            Some("contracts") => {
                list(&|name| format!("{{\"name\":\"{name}\",\"in_delisting\":false}}"))
            }
            Some("order_book") => {
                let symbol = request.value(name).unwrap_or("");
                if !script.symbols.contains(symbol) {
                    let error = r#"{"label":"INVALID_CURRENCY_PAIR","message":"invalid symbol"}"#;
                    return Answer::Body(400, error.to_owned());
                }
                let levels = request.value("limit").and_then(|limit| limit.parse().ok());
                Answer::Snapshot(format!("order_book_update:{symbol}"), levels.unwrap_or(10))
            }
            // Contracts that are settled in BTC: there are none.
            _ if request.path == "/api/v4/futures/btc/contracts" => {
                Answer::Body(200, "[]".to_owned())
            }
            _ => Answer::Body(404, r#"{"label":"NOT_FOUND"}"#.to_owned()),
        }
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"{"label":"TOO_MANY_REQUESTS","message":"Request Rate limit Exceeded"}"#,
            _ => r#"{"label":"SERVER_ERROR","message":"Internal error"}"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &["\"U\":", "\"u\":", "\"id\":"]
    }
}
