//! Kraken, WebSocket version 2; captures are of version 1.
//!
//! From "Book", "Trade", "Ticker" and "Ping" of "Spot WebSocket v2" on docs.kraken.com: prices and
//! quantities are bare numbers; every book message has a checksum of the best ten levels, written
//! with the decimals of the pair; the client keeps as many levels as it asked for. Version 1 sends
//! the same levels with the same checksum, except with its snapshots.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tickreel::TsNs;
use tickreel::ingest::checksum;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Level, Side};
use crate::json;
use crate::script::Script;

/// Spot.
pub(super) struct Kraken;

/// Levels that captures have.
const DEPTH: usize = 1000;

#[derive(Default, Deserialize)]
struct Old<'a> {
    #[serde(borrow, default, alias = "as")]
    a: Vec<Vec<&'a str>>,
    #[serde(default, alias = "bs")]
    b: Vec<Vec<&'a str>>,
    c: Option<&'a str>,
}

#[derive(Deserialize)]
struct Message<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    data: Vec<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    bids: Vec<Row<'a>>,
    asks: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

/// `BTC/USD` for `XBT/USD`.
fn name_of_today(pair: &str) -> String {
    let part = |name: &str| match name {
        "XBT" => "BTC".to_owned(),
        "XDG" => "DOGE".to_owned(),
        name => name.to_owned(),
    };
    pair.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn rows<'a>(levels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let rows = levels.map(|(price, qty)| format!("{{\"price\":{price},\"qty\":{qty}}}"));
    format!("[{}]", rows.collect::<Vec<_>>().join(","))
}

/// `1618678142.557535` as RFC 3339.
fn time_of(seconds: &str) -> String {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let ns: i64 = format!("{whole}{fraction:0<9}").parse().unwrap_or(0);
    TsNs(ns).to_string()
}

fn book(pair: &str, parts: &[&RawValue]) -> Option<(bool, String)> {
    let parts: Vec<Old<'_>> = parts.iter().filter_map(|part| json::parse(part.get())).collect();
    let is_whole = parts.len() == 1 && parts.first()?.c.is_none();
    fn pairs<'a>(levels: &'a [Vec<&'a str>]) -> impl Iterator<Item = (&'a str, &'a str)> {
        levels.iter().filter_map(|level| Some((*level.first()?, *level.get(1)?)))
    }
    let bids: Vec<_> = parts.iter().flat_map(|part| pairs(&part.b)).collect();
    let asks: Vec<_> = parts.iter().flat_map(|part| pairs(&part.a)).collect();
    let sum = parts.iter().find_map(|part| part.c).map(str::to_owned);
    let sum = sum.unwrap_or_else(|| {
        checksum::kraken(bids.iter().copied(), asks.iter().copied()).to_string()
    });
    let times = parts.iter().flat_map(|part| part.a.iter().chain(&part.b));
    let time = times.filter_map(|level| level.get(2).copied()).max().unwrap_or("0");
    let time =
        if is_whole { String::new() } else { format!(",\"timestamp\":\"{}\"", time_of(time)) };
    let kind = if is_whole { "snapshot" } else { "update" };
    let text = format!(
        "{{\"channel\":\"book\",\"type\":\"{kind}\",\"data\":[{{\"symbol\":\"{pair}\",\"bids\":{},\
         \"asks\":{},\"checksum\":{sum}{time}}}]}}",
        rows(bids.into_iter()),
        rows(asks.into_iter())
    );
    Some((is_whole, text))
}

fn trades(pair: &str, part: &RawValue) -> Option<String> {
    let trades: Vec<Vec<&str>> = json::parse(part.get())?;
    let trades = trades.iter().filter_map(|trade| {
        let [price, qty, time, side, kind, ..] = trade[..] else { return None };
        let side = if side == "b" { "buy" } else { "sell" };
        let kind = if kind == "l" { "limit" } else { "market" };
        // Version 1 has no number; its time in microseconds is one.
        let id = time.replace('.', "");
        Some(format!(
            "{{\"symbol\":\"{pair}\",\"side\":\"{side}\",\"price\":{price},\"qty\":{qty},\
             \"ord_type\":\"{kind}\",\"trade_id\":{id},\"timestamp\":\"{}\"}}",
            time_of(time)
        ))
    });
    let trades = trades.collect::<Vec<_>>().join(",");
    Some(format!("{{\"channel\":\"trade\",\"type\":\"update\",\"data\":[{trades}]}}"))
}

fn ticker(pair: &str, part: &RawValue) -> Option<String> {
    let old: Value = json::parse(part.get())?;
    let text = |key: &str, at: usize| old[key][at].as_str().unwrap_or("0").to_owned();
    Some(format!(
        "{{\"channel\":\"ticker\",\"type\":\"update\",\"data\":[{{\"symbol\":\"{pair}\",\
         \"bid\":{},\"bid_qty\":{},\"ask\":{},\"ask_qty\":{},\"last\":{},\"volume\":{},\
         \"vwap\":{},\"low\":{},\"high\":{},\"change\":0,\"change_pct\":0}}]}}",
        text("b", 0),
        text("b", 2),
        text("a", 0),
        text("a", 2),
        text("c", 0),
        text("v", 1),
        text("p", 1),
        text("l", 1),
        text("h", 1)
    ))
}

impl Protocol for Kraken {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let Some(parts) = json::parse::<Vec<&RawValue>>(text) else { return Vec::new() };
        let [_, data @ .., channel, pair] = &parts[..] else { return Vec::new() };
        let channel = channel.get().trim_matches('"').split('-').next().unwrap_or("");
        let pair = pair.get().trim_matches('"').replace("\\/", "/");
        let symbol = name_of_today(&pair);
        let first = data.first().copied();
        let (role, read) = match (channel, first) {
            ("book", _) => (Role::Book, book(&symbol, data)),
            ("trade", Some(part)) => {
                (Role::Events, trades(&symbol, part).map(|text| (false, text)))
            }
            ("ticker", Some(part)) => {
                (Role::State, ticker(&symbol, part).map(|text| (false, text)))
            }
            _ => return Vec::new(),
        };
        let Some((is_whole, text)) = read else { return Vec::new() };
        vec![Read::Message { topic: format!("{channel}:{symbol}"), symbol, role, is_whole, text }]
    }

    fn limits(&self) -> Limits {
        Limits { connections: (150, Duration::from_secs(600)), ..Limits::NONE }
    }

    fn open(&self, _: &mut Session, _: &Script) -> Vec<Action> {
        let status = concat!(
            r#"{"channel":"status","type":"update","data":[{"version":"2.0.10","#,
            r#""system":"online","api_version":"v2","#,
            r#""connection_id":12393906104898154338}]}"#
        );
        vec![Action::Say(status.to_owned())]
    }

    fn hear(&self, _: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let asked = json::parse::<Value>(text).unwrap_or_default();
        let (method, params) = (asked["method"].as_str().unwrap_or(""), &asked["params"]);
        let id = asked.get("req_id").map_or(String::new(), |id| format!(",\"req_id\":{id}"));
        let times = "\"time_in\":\"2026-01-06T00:00:00.000000Z\",\
                     \"time_out\":\"2026-01-06T00:00:00.000100Z\"";
        let error = |message: &str, symbol: &str| {
            Action::Say(format!(
                "{{\"error\":\"{message}\",\"method\":\"{method}\"{id},\"success\":false,\
                 \"symbol\":\"{symbol}\",{times}}}"
            ))
        };
        match method {
            "ping" => {
                return vec![Action::Pong(format!("{{\"method\":\"pong\"{id},{times}}}"))];
            }
            "subscribe" | "unsubscribe" => {}
            _ => return vec![error("Unsupported method", "")],
        }
        let channel = params["channel"].as_str().unwrap_or("");
        let depth = params["depth"].as_u64();
        let mut actions = Vec::new();
        for symbol in params["symbol"].as_array().into_iter().flatten() {
            let symbol = symbol.as_str().unwrap_or("");
            if !script.symbols.contains(symbol) {
                actions.push(error(&format!("Currency pair not supported {symbol}"), symbol));
                continue;
            }
            if channel == "book" && depth != Some(DEPTH as u64) {
                actions.push(error("Subscription depth not supported", symbol));
                continue;
            }
            let depth = depth.map_or(String::new(), |depth| format!(",\"depth\":{depth}"));
            actions.push(Action::Say(format!(
                "{{\"method\":\"{method}\",\"result\":{{\"channel\":\"{channel}\"{depth},\
                 \"snapshot\":true,\"symbol\":\"{symbol}\"}},\"success\":true,{times}{id}}}"
            )));
            let topic = format!("{channel}:{symbol}");
            actions.push(match method {
                "unsubscribe" => Action::Unsubscribe(topic),
                _ => Action::Subscribe(topic),
            });
        }
        actions
    }

    fn fold(&self, book: &mut Book, text: &str) {
        let Some(message) = json::parse::<Message<'_>>(text) else { return };
        for data in message.data {
            if message.r#type == "snapshot" {
                book.clear();
                book.is_whole = true;
            }
            for (side, rows) in [(Side::Bid, data.bids), (Side::Ask, data.asks)] {
                for Row { price, qty } in rows {
                    let (price, qty) = (price.get().to_owned(), qty.get().to_owned());
                    book.set(side, Level { price, qty, rest: Vec::new() });
                }
            }
        }
        book.cut(DEPTH);
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        let Some(pair) = topic.strip_prefix("book:") else { return vec![book.last.clone()] };
        let sum = checksum::kraken(book.bare(Side::Bid), book.bare(Side::Ask));
        vec![format!(
            "{{\"channel\":\"book\",\"type\":\"snapshot\",\"data\":[{{\"symbol\":\"{pair}\",\
             \"bids\":{},\"asks\":{},\"checksum\":{sum}}}]}}",
            rows(book.bare(Side::Bid)),
            rows(book.bare(Side::Ask))
        )]
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        if request.path != "/0/public/AssetPairs" {
            return Answer::Body(404, r#"{"error":["EGeneral:Unknown method"]}"#.to_owned());
        }
        let listed = script.symbols.iter().map(|symbol| {
            let old = symbol.replace("BTC", "XBT").replace("DOGE", "XDG");
            let key = old.replace('/', "");
            format!(
                "\"{key}\":{{\"altname\":\"{key}\",\"wsname\":\"{old}\",\"status\":\"online\"}}"
            )
        });
        let listed = listed.collect::<Vec<_>>().join(",");
        Answer::Body(200, format!("{{\"error\":[],\"result\":{{{listed}}}}}"))
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"{"error":["EAPI:Rate limit exceeded"]}"#,
            _ => r#"{"error":["EService:Unavailable"]}"#,
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
