//! FTX (`ftx`, `ftx-us`), as it was recorded until November 2022.
//!
//! Rules from "Websocket API" of docs.ftx.com (the site is gone; web archives keep it):
//!
//! - Book: `orderbook`, a `partial`, then updates of its 100 levels, each with the CRC-32 of all
//!   levels, bid and ask in turn, as the text the message had. There is no sequence. A wrong sum
//!   is a gap.
//! - Quotes: `ticker`; its last price belongs to the state of a derivative (a market without `/`).
//! - Ticker: `instrument`, a REST reply that Tardis records as messages; it has no time. The rate
//!   called "next" is that of the running period, exchanged at the next funding time.
//! - Trades: `side` is the taker's. A trade that a liquidation took part in is a liquidation too.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::checksum;
use super::feed_book::{About, MessageLevels};
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json::{self, Level, Number};
use super::ticker::TickerState;
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, QuoteRow, TradeRow};
use crate::quantity::{Instrument, TsNs};

const FTX: &str = "ftx";
const FTX_US: &str = "ftx-us";

/// Levels of each side that the checksum covers.
const CHECKSUM_LEVELS: usize = 100;

/// FTX in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[FTX, FTX_US],
    recognise,
    dialect: |exchange, _| FeedDialect::boxed(Ftx { exchange, states: HashMap::new() }),
    live: |_| None,
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    match clue {
        Clue::CaptureName("FTX") => Some(FTX),
        Clue::CaptureName("FTX_US") => Some(FTX_US),
        Clue::CaptureName(_) => None,
        Clue::Url(url) if url.contains("ftx.us/") => Some(FTX_US),
        Clue::Url(url) => {
            ["//ftx.com/", "//ftexchange.com/"].iter().any(|host| url.contains(host)).then_some(FTX)
        }
        Clue::Message(message) => {
            message.starts_with(br#"{"channel": "orderbook", "market": "#).then_some(FTX)
        }
    }
}

/// The dialect; see the module documentation.
#[derive(Debug)]
struct Ftx {
    exchange: &'static str,
    states: HashMap<Instrument, TickerState>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    ty: Cow<'a, str>,
    channel: Option<Cow<'a, str>>,
    market: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Book<'a> {
    #[serde(borrow)]
    time: Number<'a>,
    checksum: u32,
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    #[serde(borrow)]
    asks: Vec<Level<'a>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow)]
    id: Option<Number<'a>>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    size: Number<'a>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(default)]
    liquidation: bool,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ticker<'a> {
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
    time: Number<'a>,
}

#[derive(Deserialize)]
struct InstrumentData<'a> {
    #[serde(borrow)]
    stats: Stats<'a>,
    #[serde(borrow)]
    info: Info<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    #[serde(borrow)]
    next_funding_rate: Option<Number<'a>>,
    next_funding_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    open_interest: Option<Number<'a>>,
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    last: Option<Number<'a>>,
    #[serde(borrow)]
    mark: Option<Number<'a>>,
    #[serde(borrow)]
    index: Option<Number<'a>>,
}

impl VenueFeed for Ftx {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        let snapshot = match &*envelope.ty {
            "partial" => true,
            "update" => false,
            "subscribed" | "unsubscribed" | "info" | "error" | "pong" => return Ok(()),
            other => {
                return Err(Error::invalid(format!("type {other:?}: expected partial or update")));
            }
        };
        let missing = |field: &str| Error::invalid(format!("message: expected {field}"));
        let channel = envelope.channel.as_deref().ok_or_else(|| missing("channel"))?;
        if channel != "orderbook" {
            *context.about = About::NoBook;
        }
        let symbol = envelope.market.as_deref().ok_or_else(|| missing("market"))?;
        let data = envelope.data.ok_or_else(|| missing("data"))?.get();
        let instrument = Instrument::new(self.exchange, symbol)?;
        match channel {
            "orderbook" => {
                *context.about = About::Book(self.exchange, symbol.to_owned());
                book(context, self.exchange, symbol, snapshot, &json::parse_text(data)?)
            }
            "trades" => trades(context, &instrument, data),
            "ticker" => self.quote(context, instrument, &json::parse_text(data)?),
            "instrument" => self.state(context, instrument, &json::parse_text(data)?),
            // Markets, grouped books.
            _ => Ok(()),
        }
    }
}

impl Ftx {
    fn quote(
        &mut self,
        context: &mut Context<'_>,
        instrument: Instrument,
        ticker: &Ticker<'_>,
    ) -> Result<()> {
        let number = json::decimal_or_none;
        let ts_event = Some(json::ts_seconds(ticker.time.text())?);
        let quote = QuoteRow {
            ts_event,
            bid: number(ticker.bid)?.zip(number(ticker.bid_size)?),
            ask: number(ticker.ask)?.zip(number(ticker.ask_size)?),
            ..QuoteRow::default()
        };
        let last = number(ticker.last)?;
        context.quote(&instrument, &quote);
        if !instrument.symbol().contains('/') {
            let state = self.states.entry(instrument.clone()).or_default();
            state.last(last);
            state.ts_event(ts_event);
            context.ticker(&instrument, state);
        }
        Ok(())
    }

    fn state(
        &mut self,
        context: &mut Context<'_>,
        instrument: Instrument,
        InstrumentData { stats, info }: &InstrumentData<'_>,
    ) -> Result<()> {
        let number = json::decimal_or_none;
        let (last, mark, index) = (number(info.last)?, number(info.mark)?, number(info.index)?);
        let rate = number(stats.next_funding_rate)?;
        let next = stats.next_funding_time.as_deref().map(TsNs::parse).transpose()?;
        let open_interest = number(stats.open_interest)?;
        let state = self.states.entry(instrument.clone()).or_default();
        state.last(last);
        state.mark(mark);
        state.index(index);
        state.funding_rate(rate);
        state.funding_ts(next);
        state.open_interest(open_interest);
        context.ticker(&instrument, state);
        Ok(())
    }
}

fn book(
    context: &mut Context<'_>,
    exchange: &'static str,
    symbol: &str,
    snapshot: bool,
    message: &Book<'_>,
) -> Result<()> {
    let levels = MessageLevels::of(&message.bids, &message.asks)?;
    let ts_event = Some(json::ts_seconds(message.time.text())?);
    let book = context.books.book(exchange, symbol, context.connection)?;
    if !book.takes("orderbook", context.connection, snapshot, false) {
        return Ok(());
    }
    book.text.apply(snapshot, &levels);
    let wrong = (snapshot || book.is_live()).then(|| {
        let found = checksum::interleaved(book.text.bids(), book.text.asks(), CHECKSUM_LEVELS);
        checksum::difference(message.checksum, found)
    });
    let head = MessageHead { ts_recv: context.ts_recv, ts_event, venue_seq: None, snapshot };
    book.store_checked(&mut context.rows, head, &levels, &[], wrong.flatten().as_deref());
    Ok(())
}

fn trades(context: &mut Context<'_>, instrument: &Instrument, data: &str) -> Result<()> {
    let trades: Vec<Trade<'_>> = json::parse_text(data)?;
    let mut read = Vec::with_capacity(trades.len());
    for trade in &trades {
        read.push(TradeRow {
            ts_recv: context.ts_recv,
            ts_event: Some(TsNs::parse(&trade.time)?),
            side: json::trade_side(&trade.side)?,
            price: trade.price.decimal()?,
            qty: trade.size.decimal()?,
            trade_id: trade.id.unwrap_or_default().text(),
        });
    }
    for (row, trade) in read.iter().zip(&trades) {
        context.trade(instrument, Kind::Trades, row);
        if trade.liquidation {
            context.trade(instrument, Kind::Liquidations, row);
        }
    }
    Ok(())
}
