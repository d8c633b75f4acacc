//! KuCoin Futures.
//!
//! Rules from "Orderbook - Increment", "Get Full OrderBook", "Match execution data", "Ticker V2"
//! and "Contract Market Data" of www.kucoin.com/docs:
//!
//! - Book: `/contractMarket/level2`, one change per message, `sequence` rising by one. The snapshot
//!   is the REST reply of `/api/v1/level2/snapshot`, spliced in by its `sequence`.
//! - Quotes: `/contractMarket/tickerV2`.
//! - Trades: `/contractMarket/execution`; `side` is the taker's.
//! - Ticker: `/contract/instrument`. A `funding.rate` with a granularity of a minute is the one
//!   predicted. The last price is that of the last trade; open interest comes in
//!   `/contract/details`, which is a REST reply that Tardis records as a message. Both are stored
//!   with what comes next of the instrument.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::feed_book::{About, MessageLevels};
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json::{self, Level, Number};
use super::kucoin::{Envelope, Published, read_reply};
use super::splice::{Part, SplicedBooks};
use super::ticker::TickerState;
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, QuoteRow, TradeRow};
use crate::quantity::{Instrument, TsNs};

const EXCHANGE: &str = "kucoin-futures";

/// Granularity of a predicted funding rate, in milliseconds.
const PREDICTED_GRANULARITY: i64 = 60_000;

/// KuCoin Futures in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| {
        FeedDialect::boxed(KuCoinFutures {
            books: SplicedBooks::new(read_change, "sequence"),
            states: HashMap::new(),
        })
    },
    live: |_| None,
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(_) => false,
        Clue::Url(url) => ["//api-futures.kucoin.com/", "//ws-api-futures.kucoin.com/"]
            .iter()
            .any(|host| url.contains(host)),
        Clue::Message(message) => {
            let envelope = json::parse::<Envelope<'_>>(message).ok();
            let topic = envelope.and_then(|envelope| envelope.topic);
            topic.is_some_and(|topic| topic.starts_with("/contractMarket/"))
        }
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug)]
struct KuCoinFutures {
    books: SplicedBooks,
    states: HashMap<Instrument, TickerState>,
}

#[derive(Deserialize)]
struct Change<'a> {
    sequence: i64,
    /// `price,side,qty`
    change: &'a str,
    timestamp: i64,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    sequence: i64,
    /// Nanoseconds.
    ts: Option<i64>,
    #[serde(borrow)]
    bids: Option<Vec<Level<'a>>>,
    #[serde(borrow)]
    asks: Option<Vec<Level<'a>>>,
}

#[derive(Deserialize)]
struct Match<'a> {
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    size: Number<'a>,
    #[serde(rename = "tradeId", borrow)]
    id: Cow<'a, str>,
    /// Nanoseconds.
    ts: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ticker<'a> {
    sequence: i64,
    #[serde(borrow)]
    best_bid_price: Option<Number<'a>>,
    #[serde(borrow)]
    best_bid_size: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask_price: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask_size: Option<Number<'a>>,
    /// Nanoseconds.
    ts: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    timestamp: i64,
    granularity: Option<i64>,
    #[serde(borrow)]
    mark_price: Option<Number<'a>>,
    #[serde(borrow)]
    index_price: Option<Number<'a>>,
    #[serde(borrow)]
    funding_rate: Option<Number<'a>>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(rename = "openInterest", borrow)]
    open_interest: Option<Number<'a>>,
}

impl VenueFeed for KuCoinFutures {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        let Some(Published { topic, symbol, data }) = envelope.published()? else { return Ok(()) };
        *context.about = match topic {
            "/contractMarket/level2" => About::Book(EXCHANGE, symbol.to_owned()),
            _ => About::NoBook,
        };
        match topic {
            "/contractMarket/level2" => {
                self.books.changes(context, (EXCHANGE, symbol), topic, data)
            }
            // A REST reply that Tardis records as a message.
            "/contractMarket/level2Snapshot" => {
                self.snapshot(context, symbol, &json::parse_text(data)?)
            }
            "/contractMarket/execution" => self.trade(context, symbol, &json::parse_text(data)?),
            "/contractMarket/tickerV2" => quote(context, symbol, &json::parse_text(data)?),
            "/contract/instrument" => self.state(context, symbol, &json::parse_text(data)?),
            "/contract/details" => self.details(symbol, &json::parse_text(data)?),
            // Candles, shallow books, statistics, settlements.
            _ => Ok(()),
        }
    }

    fn reply(&mut self, context: &mut Context<'_>, url: &str, body: &[u8]) -> Result<()> {
        match read_reply(url, &["/level2/snapshot"], body)? {
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

impl KuCoinFutures {
    fn snapshot(
        &mut self,
        context: &mut Context<'_>,
        symbol: &str,
        snapshot: &Snapshot<'_>,
    ) -> Result<()> {
        let sides = [&snapshot.bids, &snapshot.asks];
        let [bids, asks] = sides.map(|side| side.as_deref().unwrap_or_default());
        let levels = MessageLevels::of(bids, asks)?;
        let ts_event = snapshot.ts.map(TsNs);
        let part = Part { first: None, last: snapshot.sequence, ts_event, levels };
        self.books.snapshot(context, (EXCHANGE, symbol), None, &part)
    }

    fn trade(&mut self, context: &mut Context<'_>, symbol: &str, print: &Match<'_>) -> Result<()> {
        let row = TradeRow {
            ts_recv: context.ts_recv,
            ts_event: Some(TsNs(print.ts)),
            side: json::trade_side(&print.side)?,
            price: print.price.decimal()?,
            qty: print.size.decimal()?,
            trade_id: &print.id,
        };
        let instrument = Instrument::new(EXCHANGE, symbol)?;
        context.trade(&instrument, Kind::Trades, &row);
        self.states.entry(instrument).or_default().last(Some(row.price));
        Ok(())
    }

    fn state(&mut self, context: &mut Context<'_>, symbol: &str, state: &State<'_>) -> Result<()> {
        let number = json::decimal_or_none;
        let (mark, index) = (number(state.mark_price)?, number(state.index_price)?);
        let rate = number(state.funding_rate)?;
        let ts_event = Some(json::ts_ms(state.timestamp)?);
        let instrument = Instrument::new(EXCHANGE, symbol)?;
        let ticker = self.states.entry(instrument.clone()).or_default();
        ticker.mark(mark);
        ticker.index(index);
        match state.granularity {
            Some(PREDICTED_GRANULARITY) => ticker.predicted_funding_rate(rate),
            _ => ticker.funding_rate(rate),
        }
        ticker.ts_event(ts_event);
        context.ticker(&instrument, ticker);
        Ok(())
    }

    fn details(&mut self, symbol: &str, details: &Details<'_>) -> Result<()> {
        let open_interest = json::decimal_or_none(details.open_interest)?;
        let instrument = Instrument::new(EXCHANGE, symbol)?;
        self.states.entry(instrument).or_default().open_interest(open_interest);
        Ok(())
    }
}

fn read_change(data: &str) -> Result<Part<'_>> {
    let Change { sequence, change, timestamp } = json::parse_text(data)?;
    let mut parts = change.split(',');
    let (Some(price), Some(side), Some(qty), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Error::invalid(format!("change {change:?}: expected price,side,qty")));
    };
    let side = json::book_side(side)?;
    let mut levels = MessageLevels::default();
    // A price of 0 only advances the sequence.
    if !Number(price).decimal()?.is_zero() {
        levels.push(side, price, qty)?;
    }
    let ts_event = Some(json::ts_ms(timestamp)?);
    Ok(Part { first: Some(sequence), last: sequence, ts_event, levels })
}

fn quote(context: &mut Context<'_>, symbol: &str, ticker: &Ticker<'_>) -> Result<()> {
    let number = json::decimal_or_none;
    let row = QuoteRow {
        ts_event: Some(TsNs(ticker.ts)),
        bid: number(ticker.best_bid_price)?.zip(number(ticker.best_bid_size)?),
        ask: number(ticker.best_ask_price)?.zip(number(ticker.best_ask_size)?),
        venue_seq: Some(ticker.sequence),
        ..QuoteRow::default()
    };
    context.quote(&Instrument::new(EXCHANGE, symbol)?, &row);
    Ok(())
}
