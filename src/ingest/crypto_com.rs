//! Crypto.com Exchange, API version 2 of 2021 and Exchange API version 1, which followed it.
//!
//! Rules from "Websocket Subscriptions - Market Data Channels" of exchange-docs.crypto.com:
//!
//! - Book: `book` shows the whole book, as deep as subscribed; what changed is stored. Where
//!   changes are subscribed, one `book` is followed by `book.update`, whose `pu` names the `u` of
//!   the message before. Version 2 has no numbers, and its whole books need none.
//! - Quotes: best bid and ask of `ticker`, which have no quantities in version 2.
//! - Ticker: `ticker`, `mark`, `index`, `funding` (the rate of this hour) and `estimatedfunding` of
//!   derivatives. Only names of spot pairs have a `_`. `BTCUSD-INDEX` is the index of all
//!   instruments that begin with `BTCUSD-`; it is stored with what comes next of them.
//! - Trades: `s` is the taker's side. The first message of a symbol on a connection holds recent
//!   trades.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::feed_book::{About, MessageLevels};
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json::{self, Level, Number};
use super::recent_trades::RecentTrades;
use super::ticker::TickerFeed;
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, TradeRow};
use crate::quantity::{Decimal, Instrument, TsNs};

const EXCHANGE: &str = "crypto-com";

/// Crypto.com in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| FeedDialect::boxed(CryptoCom::default()),
    live: |_| None,
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "CRYPTO.COM",
        Clue::Url(url) => url.contains(".crypto.com/"),
        Clue::Message(message) => {
            let envelope = json::parse::<Envelope<'_>>(message).ok();
            let pushed = envelope.and_then(|envelope| Pushed::read(&envelope).ok().flatten());
            pushed.is_some_and(|pushed| pushed.subscription.starts_with(&*pushed.channel))
        }
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct CryptoCom {
    states: HashMap<Instrument, TickerFeed>,
    /// Index prices by the start of the names of their instruments.
    indexes: HashMap<String, Decimal>,
    recent_trades: RecentTrades,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

/// What a subscription brings.
#[derive(Deserialize)]
struct Pushed<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    subscription: Cow<'a, str>,
    #[serde(rename = "instrument_name", borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// A whole book, or changes in `update`.
#[derive(Deserialize)]
struct Book<'a> {
    t: i64,
    /// When the book changed; `t` is when the message was sent.
    tt: Option<i64>,
    u: Option<i64>,
    pu: Option<i64>,
    #[serde(borrow)]
    bids: Option<Vec<Level<'a>>>,
    #[serde(borrow)]
    asks: Option<Vec<Level<'a>>>,
    #[serde(borrow)]
    update: Option<Sides<'a>>,
}

#[derive(Deserialize)]
struct Sides<'a> {
    #[serde(borrow)]
    bids: Option<Vec<Level<'a>>>,
    #[serde(borrow)]
    asks: Option<Vec<Level<'a>>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(rename = "d", borrow)]
    id: Number<'a>,
    #[serde(rename = "s", borrow)]
    side: Cow<'a, str>,
    #[serde(rename = "p", borrow)]
    price: Number<'a>,
    #[serde(rename = "q", borrow)]
    qty: Number<'a>,
    #[serde(rename = "t")]
    time: i64,
}

#[derive(Deserialize)]
struct Ticker<'a> {
    t: i64,
    #[serde(rename = "a", borrow)]
    last: Option<Number<'a>>,
    #[serde(rename = "b", borrow)]
    bid_price: Option<Number<'a>>,
    #[serde(rename = "bs", borrow)]
    bid_qty: Option<Number<'a>>,
    #[serde(rename = "k", borrow)]
    ask_price: Option<Number<'a>>,
    #[serde(rename = "ks", borrow)]
    ask_qty: Option<Number<'a>>,
    #[serde(rename = "oi", borrow)]
    open_interest: Option<Number<'a>>,
}

/// A mark price, an index price or a funding rate.
#[derive(Deserialize)]
struct Value<'a> {
    #[serde(rename = "v", borrow)]
    value: Number<'a>,
    t: i64,
}

impl<'a> Pushed<'a> {
    /// `None` for answers, heartbeats and what belongs to an account.
    fn read(envelope: &Envelope<'a>) -> Result<Option<Self>> {
        match envelope.result.filter(|_| envelope.method == "subscribe") {
            Some(result) => json::parse_text(result.get()).map(Some),
            None => Ok(None),
        }
    }
}

impl VenueFeed for CryptoCom {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        let Some(pushed) = Pushed::read(&envelope)? else { return Ok(()) };
        let (symbol, data) = (&*pushed.symbol, pushed.data.get());
        *context.about = match &*pushed.channel {
            "book" | "book.update" => About::Book(EXCHANGE, symbol.to_owned()),
            _ => About::NoBook,
        };
        match &*pushed.channel {
            "book" => books(context, symbol, &pushed.subscription, true, data),
            "book.update" => books(context, symbol, &pushed.subscription, false, data),
            "trade" => self.trades(context, symbol, data),
            "ticker" => self.tickers(context, symbol, data),
            "index" => self.index(symbol, data),
            channel @ ("mark" | "funding" | "estimatedfunding") => {
                self.values(context, symbol, channel, data)
            }
            // Candles, settlements.
            _ => Ok(()),
        }
    }

    fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.recent_trades.lost(context.connection);
        Ok(())
    }
}

impl CryptoCom {
    fn trades(&mut self, context: &mut Context<'_>, symbol: &str, data: &str) -> Result<()> {
        let mut trades: Vec<Trade<'_>> = json::parse_text(data)?;
        // They come newest first.
        trades.reverse();
        let instrument = Instrument::new(EXCHANGE, symbol)?;
        let mut read = Vec::with_capacity(trades.len());
        for trade in &trades {
            let row = TradeRow {
                ts_recv: context.ts_recv,
                ts_event: Some(json::ts_ms(trade.time)?),
                side: json::trade_side(&trade.side)?,
                price: trade.price.decimal()?,
                qty: trade.qty.decimal()?,
                trade_id: trade.id.text(),
            };
            read.push((trade.time, row));
        }
        let (recent, connection) = (&mut self.recent_trades, context.connection);
        for (_, row) in read.iter().filter(|(time, _)| recent.is_news(connection, symbol, *time)) {
            context.trade(&instrument, Kind::Trades, row);
        }
        read.iter().for_each(|(time, _)| recent.note(connection, symbol, *time));
        Ok(())
    }

    fn tickers(&mut self, context: &mut Context<'_>, symbol: &str, data: &str) -> Result<()> {
        let tickers: Vec<Ticker<'_>> = json::parse_text(data)?;
        let instrument = Instrument::new(EXCHANGE, symbol)?;
        let number = json::decimal_or_none;
        let mut read = Vec::with_capacity(tickers.len());
        for ticker in &tickers {
            let best = [
                number(ticker.bid_price)?,
                number(ticker.bid_qty)?,
                number(ticker.ask_price)?,
                number(ticker.ask_qty)?,
            ];
            let (last, interest) = (number(ticker.last)?, number(ticker.open_interest)?);
            read.push((Some(json::ts_ms(ticker.t)?), best, last, interest));
        }
        let index = self.index_of(symbol);
        for (ts_event, best, last, open_interest) in read {
            let state = self.states.entry(instrument.clone()).or_default();
            if state.best.is_news(best) {
                context.quote_values(&instrument, ts_event, best);
            }
            if !symbol.contains('_') {
                state.ticker.last(last);
                state.ticker.index(index);
                state.ticker.open_interest(open_interest);
                state.ticker.ts_event(ts_event);
                context.ticker(&instrument, &mut state.ticker);
            }
        }
        Ok(())
    }

    fn values(
        &mut self,
        context: &mut Context<'_>,
        symbol: &str,
        channel: &str,
        data: &str,
    ) -> Result<()> {
        let Some((value, ts_event)) = last_value(data)? else { return Ok(()) };
        let instrument = Instrument::new(EXCHANGE, symbol)?;
        let index = self.index_of(symbol);
        let ticker = &mut self.states.entry(instrument.clone()).or_default().ticker;
        match channel {
            "mark" => ticker.mark(Some(value)),
            "funding" => ticker.funding_rate(Some(value)),
            _ => ticker.predicted_funding_rate(Some(value)),
        }
        ticker.index(index);
        ticker.ts_event(Some(ts_event));
        context.ticker(&instrument, ticker);
        Ok(())
    }

    fn index(&mut self, symbol: &str, data: &str) -> Result<()> {
        if let (Some(start), Some((value, _))) = (symbol.strip_suffix("-INDEX"), last_value(data)?)
        {
            self.indexes.insert(start.to_owned(), value);
        }
        Ok(())
    }

    fn index_of(&self, symbol: &str) -> Option<Decimal> {
        let (start, _) = symbol.split_once('-')?;
        self.indexes.get(start).copied()
    }
}

/// The newest of several values.
fn last_value(data: &str) -> Result<Option<(Decimal, TsNs)>> {
    let values: Vec<Value<'_>> = json::parse_text(data)?;
    let newest = values.iter().max_by_key(|value| value.t);
    newest.map(|newest| Ok((newest.value.decimal()?, json::ts_ms(newest.t)?))).transpose()
}

fn books(
    context: &mut Context<'_>,
    symbol: &str,
    subscription: &str,
    whole: bool,
    data: &str,
) -> Result<()> {
    let messages: Vec<Book<'_>> = json::parse_text(data)?;
    let mut read = Vec::with_capacity(messages.len());
    for message in &messages {
        read.push((message, message.levels(whole)?, json::ts_ms(message.tt.unwrap_or(message.t))?));
    }
    let book = context.books.book(EXCHANGE, symbol, context.connection)?;
    if !book.takes(subscription, context.connection, whole, false) {
        return Ok(());
    }
    let ts_recv = context.ts_recv;
    for (message, levels, ts_event) in &read {
        let ts_event = Some(*ts_event);
        let head = MessageHead { ts_recv, ts_event, venue_seq: message.u, snapshot: whole };
        book.follow(context.rows.inner(), (ts_recv, ts_event), whole, "pu", message.pu);
        book.seq = message.u;
        if whole {
            book.store_whole(&mut context.rows, head, levels);
        } else {
            book.store(&mut context.rows, head, levels, &[]);
            book.text.apply(false, levels);
        }
    }
    Ok(())
}

impl<'a> Book<'a> {
    fn levels(&self, whole: bool) -> Result<MessageLevels<'a>> {
        let (bids, asks) = match &self.update {
            _ if whole => (&self.bids, &self.asks),
            Some(update) => (&update.bids, &update.asks),
            None => return Err(Error::invalid("book.update: expected update")),
        };
        let [bids, asks] = [bids, asks].map(|side| side.as_deref().unwrap_or_default());
        MessageLevels::of(bids, asks)
    }
}
