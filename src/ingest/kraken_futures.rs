//! Kraken Futures, version 1 (`cryptofacilities`, the name it began with).
//!
//! Rules from "Futures WebSocket API" of docs.kraken.com, feeds `book`, `trade`, `ticker` and
//! `ticker_lite`:
//!
//! - Book: `book_snapshot`, then one level per `book` message; `seq` counts one up with every
//!   message of a product, so a gap knows how many are missing.
//! - Quotes: best bid and ask of `ticker` where they change; where there is none, those of
//!   `ticker_lite`, which have neither quantity nor time.
//! - Ticker: `ticker`. Funding is the relative rate where the venue sends it, as other venues mean
//!   it, else the absolute one per contract.
//! - Trades: `side` is the taker's. Those of type `liquidation` are liquidations too. The recent
//!   ones of `trade_snapshot` fill the hole that a reconnect left.

mod live;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::feed_book::{About, MessageLevels};
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json::{self, Level, Number};
use super::ticker::TickerFeed;
use super::trade_ids::{Seen, TradeIds};
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, TradeRow};
use crate::quantity::{Decimal, Instrument};

const EXCHANGE: &str = "cryptofacilities";

/// Kraken Futures in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| FeedDialect::boxed(KrakenFutures::default()),
    live: |_| Some(&live::Live),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "KRAKEN_FUTURES",
        Clue::Url(url) => url.contains("//futures.kraken.com/"),
        Clue::Message(message) => message.starts_with(br#"{"feed":"book"#),
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct KrakenFutures {
    states: HashMap<Instrument, TickerFeed>,
    trade_ids: TradeIds,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    feed: Option<Cow<'a, str>>,
    event: Option<Cow<'a, str>>,
    product_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    timestamp: Option<i64>,
    seq: i64,
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    #[serde(borrow)]
    asks: Vec<Level<'a>>,
}

#[derive(Deserialize)]
struct Change<'a> {
    timestamp: Option<i64>,
    seq: i64,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    qty: Number<'a>,
}

#[derive(Deserialize)]
struct Trades<'a> {
    #[serde(borrow)]
    trades: Vec<Trade<'a>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    ty: Cow<'a, str>,
    seq: i64,
    time: i64,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    qty: Number<'a>,
}

#[derive(Deserialize)]
struct Ticker<'a> {
    time: Option<i64>,
    #[serde(borrow)]
    bid: Option<Number<'a>>,
    #[serde(borrow)]
    bid_size: Option<Number<'a>>,
    #[serde(borrow)]
    ask: Option<Number<'a>>,
    #[serde(borrow)]
    ask_size: Option<Number<'a>>,
    #[serde(borrow)]
    last: Option<Number<'a>>,
    #[serde(borrow)]
    index: Option<Number<'a>>,
    #[serde(rename = "markPrice", borrow)]
    mark_price: Option<Number<'a>>,
    #[serde(rename = "openInterest", borrow)]
    open_interest: Option<Number<'a>>,
    #[serde(borrow)]
    funding_rate: Option<Number<'a>>,
    #[serde(borrow)]
    funding_rate_prediction: Option<Number<'a>>,
    #[serde(borrow)]
    relative_funding_rate: Option<Number<'a>>,
    #[serde(borrow)]
    relative_funding_rate_prediction: Option<Number<'a>>,
    next_funding_rate_time: Option<i64>,
}

impl VenueFeed for KrakenFutures {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        let (Some(feed), Some(symbol)) = (&envelope.feed, &envelope.product_id) else {
            // Answers have an event, heartbeats a feed without a product.
            return match envelope.event.is_some() || envelope.feed.is_some() {
                true => Ok(()),
                false => Err(Error::invalid("message: expected event, or feed and product_id")),
            };
        };
        let instrument = Instrument::new(EXCHANGE, symbol)?;
        *context.about = match &**feed {
            "book" | "book_snapshot" => About::Book(EXCHANGE, symbol.to_string()),
            _ => About::NoBook,
        };
        match &**feed {
            "book_snapshot" => {
                let Snapshot { timestamp, seq, bids, asks } = json::parse(message)?;
                let levels = MessageLevels::of(&bids, &asks)?;
                store(context, symbol, (timestamp, seq), true, &levels)
            }
            "book" => {
                let change: Change<'_> = json::parse(message)?;
                let side = json::book_side(&change.side)?;
                let mut levels = MessageLevels::default();
                levels.push(side, change.price.text(), change.qty.text())?;
                store(context, symbol, (change.timestamp, change.seq), false, &levels)
            }
            "trade" => self.trades(context, &instrument, false, vec![json::parse(message)?]),
            "trade_snapshot" => {
                let Trades { trades } = json::parse(message)?;
                self.trades(context, &instrument, true, trades)
            }
            "ticker" => self.ticker(context, instrument, true, &json::parse(message)?),
            "ticker_lite" => self.ticker(context, instrument, false, &json::parse(message)?),
            _ => Ok(()),
        }
    }
}

impl KrakenFutures {
    fn trades(
        &mut self,
        context: &mut Context<'_>,
        instrument: &Instrument,
        again: bool,
        mut trades: Vec<Trade<'_>>,
    ) -> Result<()> {
        trades.sort_by_key(|trade| trade.seq);
        let mut read = Vec::with_capacity(trades.len());
        for trade in &trades {
            read.push(TradeRow {
                ts_recv: context.ts_recv,
                ts_event: Some(json::ts_ms(trade.time)?),
                side: json::trade_side(&trade.side)?,
                price: trade.price.decimal()?,
                qty: trade.qty.decimal()?,
                trade_id: &trade.uid,
            });
        }
        for (row, trade) in read.iter().zip(&trades) {
            if again && self.trade_ids.seen(instrument, trade.seq) != Seen::New {
                continue;
            }
            context.trade(instrument, Kind::Trades, row);
            if trade.ty == "liquidation" {
                context.trade(instrument, Kind::Liquidations, row);
            }
            self.trade_ids.note(instrument, trade.seq);
        }
        Ok(())
    }

    fn ticker(
        &mut self,
        context: &mut Context<'_>,
        instrument: Instrument,
        is_full: bool,
        ticker: &Ticker<'_>,
    ) -> Result<()> {
        let number = json::decimal_or_none;
        let ts_event = ticker.time.map(json::ts_ms).transpose()?;
        let [bid_price, bid_qty] = side(ticker.bid, ticker.bid_size)?;
        let [ask_price, ask_qty] = side(ticker.ask, ticker.ask_size)?;
        let values = [bid_price, bid_qty, ask_price, ask_qty];
        let (last, index) = (number(ticker.last)?, number(ticker.index)?);
        let (mark, open_interest) = (number(ticker.mark_price)?, number(ticker.open_interest)?);
        let rate = number(ticker.relative_funding_rate.or(ticker.funding_rate))?;
        let prediction = ticker.relative_funding_rate_prediction.or(ticker.funding_rate_prediction);
        let prediction = number(prediction)?;
        let next = ticker.next_funding_rate_time.filter(|time| *time != 0);
        let next = next.map(json::ts_ms).transpose()?;
        let state = self.states.entry(instrument.clone()).or_default();
        if state.best.is_news_of(is_full, values) {
            context.quote_values(&instrument, ts_event, values);
        }
        if is_full {
            let ticker = &mut state.ticker;
            ticker.last(last);
            ticker.index(index);
            ticker.mark(mark);
            ticker.open_interest(open_interest);
            ticker.funding_rate(rate);
            ticker.predicted_funding_rate(prediction);
            ticker.funding_ts(next);
            ticker.ts_event(ts_event);
            context.ticker(&instrument, ticker);
        }
        Ok(())
    }
}

/// One side of the best prices; nothing where there are no orders, which the venue writes as 0.
fn side(price: Option<Number<'_>>, qty: Option<Number<'_>>) -> Result<[Option<Decimal>; 2]> {
    let (price, qty) = (json::decimal_or_none(price)?, json::decimal_or_none(qty)?);
    let is_some = |value: &Decimal| !value.is_zero();
    Ok([price.filter(is_some), qty.filter(is_some)])
}

fn store(
    context: &mut Context<'_>,
    symbol: &str,
    (timestamp, seq): (Option<i64>, i64),
    snapshot: bool,
    levels: &MessageLevels<'_>,
) -> Result<()> {
    let ts_event = timestamp.map(json::ts_ms).transpose()?;
    let (ts_recv, connection) = (context.ts_recv, context.connection);
    let book = context.books.book(EXCHANGE, symbol, connection)?;
    if !book.takes("book", connection, snapshot, false) {
        return Ok(());
    }
    if let (false, Some(last)) = (snapshot, book.seq) {
        let expected = last.saturating_add(1);
        if seq != expected {
            // A number that went back says nothing about how many are missing.
            let missing = u64::try_from(seq.saturating_sub(expected)).unwrap_or(0);
            let detail = format!("seq: expected {expected}, found {seq}");
            book.gap(context.rows.inner(), (ts_recv, ts_event), missing, &detail);
        }
    }
    book.seq = Some(seq);
    let head = MessageHead { ts_recv, ts_event, venue_seq: Some(seq), snapshot };
    book.store(&mut context.rows, head, levels, &[]);
    Ok(())
}
