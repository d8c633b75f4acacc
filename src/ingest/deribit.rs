//! Deribit, API version 2: futures, options, spot and combos on one connection.
//!
//! Rules from "Subscriptions" of docs.deribit.com, channels `book.{instrument}.{interval}`,
//! `ticker`, `quote` and `trades`:
//!
//! - Book: a snapshot, then changes, each with `prev_change_id` = the `change_id` before it; a
//!   break is a gap. A book without orders begins with `prev_change_id` 0 or none: a snapshot.
//!   Grouped books (`book.{instrument}.none.20.100ms`) are another thing and left out.
//! - Quotes: best bid and ask of `ticker` where they change; `quote` where there is no ticker. A
//!   side without orders has quantity 0.
//! - Ticker: of every instrument. `current_funding` is the rate of the running period.
//! - Trades: `direction` is the taker's. `liquidation` says whose side was liquidated (`T` taker,
//!   `M` maker, `MT` both): such a trade is a liquidation of that side's order too.

mod live;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::feed_book::{About, MessageLevels};
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json::{self, Number};
use super::ticker::TickerFeed;
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, Side, TradeRow};
use crate::quantity::{Decimal, Instrument};

const EXCHANGE: &str = "deribit";

/// Deribit in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| FeedDialect::boxed(Deribit::default()),
    live: |_| Some(&live::Live),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "DERIBIT",
        Clue::Url(url) => url.contains(".deribit.com/"),
        Clue::Message(message) => {
            message.starts_with(br#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"#)
        }
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct Deribit {
    states: HashMap<Instrument, TickerFeed>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Book<'a> {
    #[serde(borrow)]
    instrument_name: Cow<'a, str>,
    timestamp: i64,
    #[serde(rename = "type")]
    ty: Option<Cow<'a, str>>,
    change_id: i64,
    prev_change_id: Option<i64>,
    #[serde(borrow)]
    bids: Vec<Change<'a>>,
    #[serde(borrow)]
    asks: Vec<Change<'a>>,
}

/// `[action, price, amount]`
#[derive(Deserialize)]
struct Change<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Number<'a>,
    #[serde(borrow)] Number<'a>,
);

#[derive(Deserialize)]
struct Ticker<'a> {
    #[serde(borrow)]
    instrument_name: Cow<'a, str>,
    timestamp: i64,
    #[serde(borrow)]
    best_bid_price: Option<Number<'a>>,
    #[serde(borrow)]
    best_bid_amount: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask_price: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask_amount: Option<Number<'a>>,
    #[serde(borrow)]
    last_price: Option<Number<'a>>,
    #[serde(borrow)]
    mark_price: Option<Number<'a>>,
    #[serde(borrow)]
    index_price: Option<Number<'a>>,
    #[serde(borrow)]
    current_funding: Option<Number<'a>>,
    #[serde(borrow)]
    open_interest: Option<Number<'a>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow)]
    instrument_name: Cow<'a, str>,
    timestamp: i64,
    #[serde(borrow)]
    trade_id: Number<'a>,
    #[serde(borrow)]
    direction: Cow<'a, str>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    amount: Number<'a>,
    liquidation: Option<Cow<'a, str>>,
}

impl VenueFeed for Deribit {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        if envelope.jsonrpc != "2.0" {
            return Err(Error::invalid(format!("jsonrpc {:?}: expected 2.0", envelope.jsonrpc)));
        }
        // Answers to requests have no parameters, heartbeats no channel.
        let Some(Params { channel: Some(channel), data: Some(data) }) = envelope.params else {
            return Ok(());
        };
        let data = data.get();
        let parts: Vec<&str> = channel.split('.').collect();
        match parts[..] {
            ["book", symbol, _] => {
                *context.about = About::Book(EXCHANGE, symbol.to_owned());
                book(context, &json::parse_text(data)?)
            }
            ["trades", ..] => {
                *context.about = About::NoBook;
                trades(context, data)
            }
            [name @ ("ticker" | "quote"), ..] => {
                *context.about = About::NoBook;
                self.ticker(context, name == "ticker", &json::parse_text(data)?)
            }
            // Grouped books, indexes, volatility.
            _ => Ok(()),
        }
    }
}

impl Deribit {
    fn ticker(
        &mut self,
        context: &mut Context<'_>,
        is_ticker: bool,
        ticker: &Ticker<'_>,
    ) -> Result<()> {
        let ts_event = Some(json::ts_ms(ticker.timestamp)?);
        let number = json::decimal_or_none;
        let best = [
            (ticker.best_bid_price, ticker.best_bid_amount),
            (ticker.best_ask_price, ticker.best_ask_amount),
        ];
        let [bid, ask] = best.map(|(price, qty)| side(price, qty));
        let ([bid_price, bid_qty], [ask_price, ask_qty]) = (bid?, ask?);
        let last = number(ticker.last_price)?;
        let (mark, index) = (number(ticker.mark_price)?, number(ticker.index_price)?);
        let funding_rate = number(ticker.current_funding)?;
        let open_interest = number(ticker.open_interest)?;
        let instrument = Instrument::new(EXCHANGE, &ticker.instrument_name)?;
        let state = self.states.entry(instrument.clone()).or_default();
        let values = [bid_price, bid_qty, ask_price, ask_qty];
        if state.best.is_news_of(is_ticker, values) {
            context.quote_values(&instrument, ts_event, values);
        }
        if is_ticker {
            let ticker = &mut state.ticker;
            ticker.last(last);
            ticker.mark(mark);
            ticker.index(index);
            ticker.funding_rate(funding_rate);
            ticker.open_interest(open_interest);
            ticker.ts_event(ts_event);
            context.ticker(&instrument, ticker);
        }
        Ok(())
    }
}

/// One side of the best prices; nothing where there are no orders.
fn side(price: Option<Number<'_>>, qty: Option<Number<'_>>) -> Result<[Option<Decimal>; 2]> {
    let (price, qty) = (json::decimal_or_none(price)?, json::decimal_or_none(qty)?);
    let level = price.zip(qty).filter(|(_, qty)| !qty.is_zero());
    Ok([level.map(|(price, _)| price), level.map(|(_, qty)| qty)])
}

fn book(context: &mut Context<'_>, message: &Book<'_>) -> Result<()> {
    let snapshot = match message.ty.as_deref() {
        Some("snapshot") => true,
        // Before 2020 there was no type.
        Some("change") | None => message.prev_change_id.is_none_or(|previous| previous == 0),
        Some(other) => {
            return Err(Error::invalid(format!("type {other:?}: expected snapshot or change")));
        }
    };
    let mut levels = MessageLevels::default();
    for (side, changes) in [(Side::Bid, &message.bids), (Side::Ask, &message.asks)] {
        for Change(action, price, amount) in changes {
            let qty = match &**action {
                "new" | "change" => amount.text(),
                "delete" => "0",
                other => {
                    return Err(Error::invalid(format!(
                        "action {other:?}: expected new, change or delete"
                    )));
                }
            };
            levels.push(side, price.text(), qty)?;
        }
    }
    levels.check()?;
    let ts_event = Some(json::ts_ms(message.timestamp)?);
    let (ts_recv, connection) = (context.ts_recv, context.connection);
    let book = context.books.book(EXCHANGE, &message.instrument_name, connection)?;
    if !book.takes("book", connection, snapshot, false) {
        return Ok(());
    }
    let chain = "prev_change_id";
    book.follow(context.rows.inner(), (ts_recv, ts_event), snapshot, chain, message.prev_change_id);
    let venue_seq = Some(message.change_id);
    book.seq = venue_seq;
    book.store(
        &mut context.rows,
        MessageHead { ts_recv, ts_event, venue_seq, snapshot },
        &levels,
        &[],
    );
    Ok(())
}

fn trades(context: &mut Context<'_>, data: &str) -> Result<()> {
    let trades: Vec<Trade<'_>> = json::parse_text(data)?;
    let mut read = Vec::with_capacity(trades.len());
    for trade in &trades {
        let (taker, maker) =
            (json::trade_side(&trade.direction)?, json::closing_side(&trade.direction)?);
        let liquidated = match trade.liquidation.as_deref() {
            None | Some("none") => vec![],
            Some("T") => vec![taker],
            Some("M") => vec![maker],
            Some("MT") => vec![maker, taker],
            Some(other) => {
                return Err(Error::invalid(format!("liquidation {other:?}: expected M, T or MT")));
            }
        };
        let row = TradeRow {
            ts_recv: context.ts_recv,
            ts_event: Some(json::ts_ms(trade.timestamp)?),
            side: taker,
            price: trade.price.decimal()?,
            qty: trade.amount.decimal()?,
            trade_id: trade.trade_id.text(),
        };
        read.push((Instrument::new(EXCHANGE, &trade.instrument_name)?, row, liquidated));
    }
    for (instrument, row, liquidated) in &read {
        context.trade(instrument, Kind::Trades, row);
        for &side in liquidated {
            context.trade(instrument, Kind::Liquidations, &TradeRow { side, ..*row });
        }
    }
    Ok(())
}
