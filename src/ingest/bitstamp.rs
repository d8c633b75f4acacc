//! Bitstamp, WebSocket version 2.
//!
//! Rules from "WebSocket API v2" of www.bitstamp.net, channels `diff_order_book` and `live_trades`:
//!
//! - Book: `diff_order_book`, changes marked with a `microtimestamp`; the snapshot is the REST
//!   reply of `/api/v2/order_book/{pair}`, and changes up to its `microtimestamp` are part of it.
//!   Nothing chains the messages, so only one that cannot be read, or a lost connection, is a known
//!   gap.
//! - Trades: type 0 bought, type 1 sold. The symbol is the pair as channels name it: `btcusd`.

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
use crate::event::{Kind, TradeRow, TradeSide};
use crate::quantity::Instrument;

const EXCHANGE: &str = "bitstamp";

/// Bitstamp in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| {
        let books = SplicedBooks::new(|data| json::parse_text::<Book<'_>>(data)?.read(), "");
        FeedDialect::boxed(Bitstamp { books })
    },
    live: |_| Some(&live::Live),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "BITSTAMP",
        Clue::Url(url) => url.contains(".bitstamp.net/"),
        Clue::Message(message) => {
            let envelope = json::parse::<Envelope<'_>>(message).ok();
            let channel = envelope.and_then(|envelope| envelope.channel);
            channel.is_some_and(|channel| channel.starts_with("diff_order_book_"))
        }
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug)]
struct Bitstamp {
    books: SplicedBooks,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Changes, or the whole book.
#[derive(Deserialize)]
struct Book<'a> {
    #[serde(borrow)]
    timestamp: Number<'a>,
    /// Old replies have none.
    #[serde(borrow)]
    microtimestamp: Option<Number<'a>>,
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    #[serde(borrow)]
    asks: Vec<Level<'a>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow)]
    id: Number<'a>,
    #[serde(borrow)]
    microtimestamp: Number<'a>,
    #[serde(borrow)]
    amount_str: Number<'a>,
    #[serde(borrow)]
    price_str: Number<'a>,
    #[serde(rename = "type")]
    ty: u8,
}

impl VenueFeed for Bitstamp {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        // Answers, heartbeats, errors, the wish that we connect anew.
        if envelope.event.starts_with("bts:") {
            return Ok(());
        }
        let missing = |field: &str| Error::invalid(format!("message: expected {field}"));
        let channel = envelope.channel.as_deref().ok_or_else(|| missing("channel"))?;
        let data = envelope.data.ok_or_else(|| missing("data"))?.get();
        if let Some(symbol) = channel.strip_prefix("diff_order_book_") {
            *context.about = About::Book(EXCHANGE, symbol.to_owned());
            return match &*envelope.event {
                "data" => self.books.changes(context, (EXCHANGE, symbol), "diff_order_book", data),
                // A REST reply that Tardis records as a message.
                "snapshot" => self.snapshot(context, symbol, &json::parse_text(data)?),
                other => Err(Error::invalid(format!("event {other:?}: expected data"))),
            };
        }
        *context.about = About::NoBook;
        match (channel.strip_prefix("live_trades_"), &*envelope.event) {
            (Some(symbol), "trade") => trade(context, symbol, &json::parse_text(data)?),
            // Single orders, whole shallow books.
            _ => Ok(()),
        }
    }

    fn reply(&mut self, context: &mut Context<'_>, url: &str, body: &[u8]) -> Result<()> {
        let path = url.split('?').next().unwrap_or(url).trim_end_matches('/');
        match path.rsplit_once('/') {
            Some((start, symbol)) if start.ends_with("/order_book") => {
                self.snapshot(context, symbol, &json::parse(body)?)
            }
            _ => Ok(()),
        }
    }

    fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.books.lost(context)
    }

    fn finish(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.books.finish(context)
    }
}

impl Bitstamp {
    fn snapshot(&mut self, context: &mut Context<'_>, symbol: &str, book: &Book<'_>) -> Result<()> {
        self.books.snapshot(context, (EXCHANGE, symbol), None, &book.read()?)
    }
}

impl<'a> Book<'a> {
    fn read(&self) -> Result<Part<'a>> {
        let levels = MessageLevels::of(&self.bids, &self.asks)?;
        let ts_event = match self.microtimestamp {
            Some(time) => json::ts_us(time.int()?)?,
            None => json::ts_seconds(self.timestamp.text())?,
        };
        Ok(Part { first: None, last: ts_event.0 / 1000, ts_event: Some(ts_event), levels })
    }
}

fn trade(context: &mut Context<'_>, symbol: &str, trade: &Trade<'_>) -> Result<()> {
    let side = match trade.ty {
        0 => TradeSide::Buy,
        1 => TradeSide::Sell,
        other => return Err(Error::invalid(format!("type {other}: expected 0 or 1"))),
    };
    let row = TradeRow {
        ts_recv: context.ts_recv,
        ts_event: Some(json::ts_us(trade.microtimestamp.int()?)?),
        side,
        price: trade.price_str.decimal()?,
        qty: trade.amount_str.decimal()?,
        trade_id: trade.id.text(),
    };
    context.trade(&Instrument::new(EXCHANGE, symbol)?, Kind::Trades, &row);
    Ok(())
}
