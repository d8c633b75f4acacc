//! KuCoin spot.
//!
//! Rules from "Level2 - Market Data", "Get Full OrderBook" and "Match Execution Data" of
//! www.kucoin.com/docs:
//!
//! - Book: `/market/level2`, changes numbered by `sequence` from `sequenceStart` to `sequenceEnd`,
//!   each message continuing the one before. The snapshot is the REST reply of
//!   `/api/v3/market/orderbook/level2`, or of `/api/v1/market/orderbook/level2_100` with the best
//!   100 levels a side, spliced in by its `sequence`. A change of price 0 only advances the
//!   sequence. Messages have a time since 2023.
//! - Quotes: `/market/ticker`. Trades: `/market/match`; `side` is the taker's.

mod live;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::feed_book::{About, MessageLevels};
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json::{self, Level, Number};
use super::splice::{Part, SplicedBooks};
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, QuoteRow, Side, TradeRow};
use crate::quantity::{Instrument, TsNs};

const EXCHANGE: &str = "kucoin";

/// KuCoin in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| {
        FeedDialect::boxed(KuCoin { books: SplicedBooks::new(read_changes, "sequenceStart") })
    },
    live: |_| Some(&live::Live),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "KUCOIN",
        // Futures are another venue: api-futures.kucoin.com.
        Clue::Url(url) => {
            ["//api.kucoin.com/", "//ws-api-spot.kucoin.com/", "//push-private.kucoin"]
                .iter()
                .any(|host| url.contains(host))
        }
        Clue::Message(message) => {
            let envelope = json::parse::<Envelope<'_>>(message).ok();
            let topic = envelope.and_then(|envelope| envelope.topic);
            topic.is_some_and(|topic| topic.starts_with("/market/level2:"))
        }
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug)]
struct KuCoin {
    books: SplicedBooks,
}

/// What all messages have, also those of KuCoin Futures.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    ty: Cow<'a, str>,
    pub topic: Option<Cow<'a, str>>,
    pub subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Topic, symbol and data of a message.
pub(super) struct Published<'a> {
    pub topic: &'a str,
    pub symbol: &'a str,
    pub data: &'a str,
}

impl Envelope<'_> {
    /// What was published; `None` for answers and pongs.
    ///
    /// # Errors
    /// The type is not known, or a part is missing.
    pub fn published(&self) -> Result<Option<Published<'_>>> {
        match &*self.ty {
            "message" => {}
            "welcome" | "ack" | "ping" | "pong" | "error" | "notice" => return Ok(None),
            other => return Err(Error::invalid(format!("type {other:?}: expected message"))),
        }
        let missing = |field: &str| Error::invalid(format!("message: expected {field}"));
        let topic = self.topic.as_deref().ok_or_else(|| missing("topic"))?;
        let (topic, symbol) = topic.split_once(':').ok_or_else(|| missing("a symbol in topic"))?;
        let data = self.data.ok_or_else(|| missing("data"))?.get();
        Ok(Some(Published { topic, symbol, data }))
    }
}

/// Symbol and data of the answer to a request whose path ends with one of `paths`; `None` of
/// another. Those of KuCoin Futures too.
///
/// # Errors
/// The answer cannot be read, or the request names no symbol.
pub(super) fn read_reply<'a, T: Deserialize<'a>>(
    url: &'a str,
    paths: &[&str],
    body: &'a [u8],
) -> Result<Option<(&'a str, T)>> {
    #[derive(Deserialize)]
    struct Reply<T> {
        data: T,
    }

    let Some(query) = paths.iter().find_map(|path| json::query_of(url, path)) else {
        return Ok(None);
    };
    let symbol = json::query_value(query, "symbol")?;
    let Reply { data } = json::parse(body)?;
    Ok(Some((symbol, data)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changes<'a> {
    sequence_start: i64,
    sequence_end: i64,
    #[serde(borrow)]
    changes: Sides<'a>,
    time: Option<i64>,
}

/// Levels `[price, qty, sequence]`.
#[derive(Deserialize)]
struct Sides<'a> {
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    #[serde(borrow)]
    asks: Vec<Level<'a>>,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(borrow)]
    sequence: Number<'a>,
    time: Option<i64>,
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    #[serde(borrow)]
    asks: Vec<Level<'a>>,
}

#[derive(Deserialize)]
struct Match<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    size: Number<'a>,
    /// Nanoseconds.
    #[serde(borrow)]
    time: Number<'a>,
    #[serde(rename = "tradeId", borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ticker<'a> {
    #[serde(borrow)]
    sequence: Number<'a>,
    #[serde(borrow)]
    best_bid: Option<Number<'a>>,
    #[serde(borrow)]
    best_bid_size: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask_size: Option<Number<'a>>,
    time: Option<i64>,
}

impl VenueFeed for KuCoin {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        let Some(Published { topic, symbol, data }) = envelope.published()? else { return Ok(()) };
        if !topic.starts_with("/market/level2") {
            *context.about = About::NoBook;
        }
        match topic {
            "/market/level2" => {
                *context.about = About::Book(EXCHANGE, symbol.to_owned());
                self.books.changes(context, (EXCHANGE, symbol), topic, data)
            }
            // A REST reply that Tardis records as a message.
            "/market/level2Snapshot" => self.snapshot(context, symbol, &json::parse_text(data)?),
            "/market/match" => trade(context, &json::parse_text(data)?),
            "/market/ticker" => {
                let named = envelope.subject.as_deref().filter(|_| symbol == "all");
                quote(context, named.unwrap_or(symbol), &json::parse_text(data)?)
            }
            // Candles, shallow books.
            _ => Ok(()),
        }
    }

    fn reply(&mut self, context: &mut Context<'_>, url: &str, body: &[u8]) -> Result<()> {
        // The whole book, or what of it is had without a key.
        let paths = ["/market/orderbook/level2", "/market/orderbook/level2_100"];
        match read_reply(url, &paths, body)? {
            Some((symbol, snapshot)) => self.snapshot(context, symbol, &snapshot),
            None => Ok(()),
        }
    }

    fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.books.lost(context)
    }

    fn finish(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.books.finish(context)
    }
}

impl KuCoin {
    fn snapshot(
        &mut self,
        context: &mut Context<'_>,
        symbol: &str,
        snapshot: &Snapshot<'_>,
    ) -> Result<()> {
        let part = Part {
            first: None,
            last: snapshot.sequence.int()?,
            ts_event: snapshot.time.map(json::ts_ms).transpose()?,
            levels: MessageLevels::of(&snapshot.bids, &snapshot.asks)?,
        };
        self.books.snapshot(context, (EXCHANGE, symbol), None, &part)
    }
}

/// A message may begin before the snapshot. Its levels stand in the order of their sequence, so
/// after all of them the book is that of its end.
fn read_changes(data: &str) -> Result<Part<'_>> {
    let Changes { sequence_start, sequence_end, changes, time } = json::parse_text(data)?;
    let mut levels = MessageLevels::default();
    for (side, changed) in [(Side::Bid, &changes.bids), (Side::Ask, &changes.asks)] {
        for level in changed {
            if !level.price.decimal()?.is_zero() {
                levels.push(side, level.price.text(), level.qty.text())?;
            }
        }
    }
    levels.check()?;
    let ts_event = time.map(json::ts_ms).transpose()?;
    Ok(Part { first: Some(sequence_start), last: sequence_end, ts_event, levels })
}

fn trade(context: &mut Context<'_>, print: &Match<'_>) -> Result<()> {
    let row = TradeRow {
        ts_recv: context.ts_recv,
        ts_event: Some(TsNs(print.time.int()?)),
        side: json::trade_side(&print.side)?,
        price: print.price.decimal()?,
        qty: print.size.decimal()?,
        trade_id: &print.id,
    };
    context.trade(&Instrument::new(EXCHANGE, &print.symbol)?, Kind::Trades, &row);
    Ok(())
}

fn quote(context: &mut Context<'_>, symbol: &str, ticker: &Ticker<'_>) -> Result<()> {
    let number = json::decimal_or_none;
    let row = QuoteRow {
        ts_event: ticker.time.map(json::ts_ms).transpose()?,
        bid: number(ticker.best_bid)?.zip(number(ticker.best_bid_size)?),
        ask: number(ticker.best_ask)?.zip(number(ticker.best_ask_size)?),
        venue_seq: Some(ticker.sequence.int()?),
        ..QuoteRow::default()
    };
    context.quote(&Instrument::new(EXCHANGE, symbol)?, &row);
    Ok(())
}
