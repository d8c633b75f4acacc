//! Coinbase Advanced Trade.
//!
//! From "Advanced Trade WebSocket Overview" and "Channels" of docs.cdp.coinbase.com: `sequence_num`
//! counts every message of a connection from 0; a subscription to `level2` is answered with a
//! snapshot in `l2_data`; eight connections and eight texts a second.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Action, Answer, Limits, Memory, Protocol, Read, Request, Role, Session};
use crate::book::{Book, Level, Side};
use crate::json;
use crate::script::Script;

/// Spot.
pub(super) struct Coinbase;

const TIME: &str = "2026-08-09T21:05:48.228568804Z";

#[derive(Deserialize)]
struct Asked {
    r#type: String,
    channel: String,
    #[serde(default)]
    product_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Books<'a> {
    timestamp: &'a str,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    updates: Vec<Update<'a>>,
}

#[derive(Deserialize)]
struct Update<'a> {
    side: &'a str,
    event_time: &'a str,
    price_level: &'a str,
    new_quantity: &'a str,
}

/// The name that a channel's messages have, as clients subscribe to it.
fn subscribed_as(channel: &str) -> &str {
    if channel == "l2_data" { "level2" } else { channel }
}

/// The event with only what is about `product`.
fn event_of(event: &Value, product: &str) -> Option<Value> {
    if event.get("product_id").is_some() {
        return (event["product_id"] == product).then(|| event.clone());
    }
    let mut own = event.clone();
    let list = ["trades", "tickers", "candles"].into_iter().find(|list| own.get(list).is_some())?;
    let rows = own.get_mut(list)?.as_array_mut()?;
    rows.retain(|row| row["product_id"] == product);
    (!rows.is_empty()).then_some(own)
}

/// Every product that a message is about.
fn products_of(message: &Value) -> Vec<String> {
    let mut products = Vec::new();
    for event in message["events"].as_array().into_iter().flatten() {
        let lists = ["trades", "tickers", "candles"].map(|list| event.get(list));
        let rows = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
        for row in rows.chain([event]) {
            if let Some(product) = row.get("product_id").and_then(Value::as_str)
                && !products.iter().any(|known| known == product)
            {
                products.push(product.to_owned());
            }
        }
    }
    products
}

impl Protocol for Coinbase {
    fn read(&self, _: &mut Memory, _: &str, text: &str) -> Vec<Read> {
        let Some(message) = json::parse::<Value>(text) else { return Vec::new() };
        let channel = subscribed_as(message["channel"].as_str().unwrap_or("")).to_owned();
        let read = |topic: String, symbol: &str, text: String| Read::Message {
            role: match channel.as_str() {
                "level2" => Role::Book,
                "ticker" => Role::State,
                _ => Role::Events,
            },
            is_whole: channel == "level2" && text.contains("\"type\":\"snapshot\""),
            topic,
            symbol: symbol.to_owned(),
            text,
        };
        match channel.as_str() {
            "" | "subscriptions" => Vec::new(),
            "heartbeats" => vec![read(channel.clone(), "", text.to_owned())],
            _ => {
                let own = |product: &String| {
                    let mut own = message.clone();
                    let events = message["events"].as_array().into_iter().flatten();
                    own["events"] = events.filter_map(|event| event_of(event, product)).collect();
                    read(format!("{channel}:{product}"), product, own.to_string())
                };
                products_of(&message).iter().map(own).collect()
            }
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            texts: (8, Duration::from_secs(1)),
            connections: (8, Duration::from_secs(1)),
            ..Limits::NONE
        }
    }

    fn hear(&self, session: &mut Session, text: &str, script: &Script) -> Vec<Action> {
        let error = |message: &str| {
            let message = json::quoted(message);
            vec![Action::Say(format!("{{\"type\":\"error\",\"message\":{message}}}"))]
        };
        let Some(asked) = json::parse::<Asked>(text) else {
            return error("failed to decode message");
        };
        let channel = asked.channel;
        if let Some(product) =
            asked.product_ids.iter().find(|product| !script.symbols.contains(*product))
        {
            return error(&format!("{product} is not a valid product"));
        }
        let mut topics: Vec<String> =
            asked.product_ids.iter().map(|product| format!("{channel}:{product}")).collect();
        if topics.is_empty() {
            topics.push(channel);
        }
        let subscribes = asked.r#type == "subscribe";
        for topic in &topics {
            if subscribes {
                session.channels.insert(topic.clone(), 0);
            } else {
                session.channels.remove(topic);
            }
        }
        let mut actions = vec![Action::Say(subscriptions(session))];
        let action = if subscribes { Action::Subscribe } else { Action::Unsubscribe };
        actions.extend(topics.into_iter().map(action));
        actions
    }

    fn fold(&self, book: &mut Book, text: &str) {
        let Some(message) = json::parse::<Books<'_>>(text) else { return };
        for event in message.events {
            if event.r#type == "snapshot" {
                book.clear();
                book.is_whole = true;
            }
            for update in event.updates {
                let side = if update.side == "bid" { Side::Bid } else { Side::Ask };
                book.set(
                    side,
                    Level {
                        price: json::quoted(update.price_level),
                        qty: json::quoted(update.new_quantity),
                        rest: vec![json::quoted(update.event_time)],
                    },
                );
            }
        }
        message.timestamp.clone_into(&mut book.ts);
    }

    fn fresh(&self, topic: &str, book: &Book) -> Vec<String> {
        let (channel, product) = topic.split_once(':').unwrap_or((topic, ""));
        if channel != "level2" {
            return vec![book.last.clone()];
        }
        let side = |side: Side, name: &str| {
            let levels = book.levels(side).map(|level| {
                let time = level.rest.first().map_or("\"\"", String::as_str);
                format!(
                    "{{\"side\":\"{name}\",\"event_time\":{time},\"price_level\":{},\
                     \"new_quantity\":{}}}",
                    level.price, level.qty
                )
            });
            levels.collect::<Vec<_>>()
        };
        let updates = [side(Side::Bid, "bid"), side(Side::Ask, "offer")].concat().join(",");
        vec![format!(
            "{{\"channel\":\"l2_data\",\"timestamp\":\"{}\",\"sequence_num\":0,\"events\":[{{\
             \"type\":\"snapshot\",\"product_id\":\"{product}\",\"updates\":[{updates}]}}]}}",
            book.ts
        )]
    }

    fn deliver(&self, session: &mut Session, _: &str, text: &str) -> Option<String> {
        let key = "\"sequence_num\":";
        let from = text.find(key)? + key.len();
        let len = text[from..].find(|next: char| !next.is_ascii_digit())?;
        let own = format!("{}{}{}", &text[..from], session.sequence, &text[from + len..]);
        session.sequence += 1;
        Some(own)
    }

    fn rest(&self, request: &Request, script: &Script) -> Answer {
        if request.path != "/api/v3/brokerage/market/products" {
            return Answer::Body(404, r#"{"error":"NOT_FOUND"}"#.to_owned());
        }
        let product = |symbol: &String| {
            format!(
                "{{\"product_id\":\"{symbol}\",\"trading_disabled\":false,\"is_disabled\":false,\
                 \"alias\":\"\"}}"
            )
        };
        let products: Vec<String> = script.symbols.iter().map(product).collect();
        let (count, products) = (products.len(), products.join(","));
        Answer::Body(200, format!("{{\"products\":[{products}],\"num_products\":{count}}}"))
    }

    fn refusal(&self, status: u16) -> String {
        match status {
            429 => r#"{"error":"RESOURCE_EXHAUSTED","message":"Too many requests"}"#,
            _ => r#"{"error":"INTERNAL","message":"Something went wrong"}"#,
        }
        .to_owned()
    }

    fn sequence_keys(&self) -> &'static [&'static str] {
        &[]
    }
}

/// Everything that a connection is subscribed to.
fn subscriptions(session: &Session) -> String {
    let mut channels = serde_json::Map::new();
    for topic in session.channels.keys() {
        let (channel, product) = topic.split_once(':').unwrap_or((topic, "heartbeats"));
        let products = channels.entry(channel).or_insert_with(|| Value::Array(Vec::new()));
        if let Some(products) = products.as_array_mut() {
            products.push(Value::from(product));
        }
    }
    let channels = Value::Object(channels);
    format!(
        "{{\"channel\":\"subscriptions\",\"timestamp\":\"{TIME}\",\"sequence_num\":0,\
         \"events\":[{{\"subscriptions\":{channels}}}]}}"
    )
}
