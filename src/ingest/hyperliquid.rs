//! Hyperliquid.
//!
//! Rules from "WebSocket" and "Subscriptions" of hyperliquid.gitbook.io/hyperliquid-docs:
//!
//! - Book: `l2Book` shows 20 levels a side each time; what changed is stored. A level that leaves
//!   the 20 is removed, as nothing more is known of it. There is no sequence, and none is needed.
//! - Quotes: `bbo`. Ticker: `activeAssetCtx`, without a time; `oraclePx` is the index.
//! - Trades: side `B` or `A` is the taker's. The first message of a coin on a connection holds
//!   recent trades; those later than the last one seen fill the hole that a reconnect left.

mod live;
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
use super::ticker::TickerState;
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, QuoteRow, TradeRow, TradeSide};
use crate::quantity::Instrument;

const EXCHANGE: &str = "hyperliquid";

/// Hyperliquid in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| FeedDialect::boxed(Hyperliquid::default()),
    live: |_| Some(&live::Live),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "HYPERLIQUID",
        Clue::Url(url) => url.contains("hyperliquid.xyz/"),
        Clue::Message(message) => message.starts_with(br#"{"channel":"l2Book","data":{"coin":"#),
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct Hyperliquid {
    states: HashMap<Instrument, TickerState>,
    recent_trades: RecentTrades,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Book<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    time: i64,
    /// Bids, asks.
    #[serde(borrow)]
    levels: [Vec<Level<'a>>; 2],
}

#[derive(Deserialize)]
struct Best<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    time: i64,
    /// Bid, ask; nothing where a side has no orders.
    #[serde(borrow)]
    bbo: Vec<Option<Level<'a>>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    px: Number<'a>,
    #[serde(borrow)]
    sz: Number<'a>,
    time: i64,
    #[serde(borrow)]
    tid: Number<'a>,
}

#[derive(Deserialize)]
struct Asset<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    #[serde(borrow)]
    ctx: AssetState<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssetState<'a> {
    #[serde(borrow)]
    funding: Option<Number<'a>>,
    #[serde(borrow)]
    open_interest: Option<Number<'a>>,
    #[serde(borrow)]
    oracle_px: Option<Number<'a>>,
    #[serde(borrow)]
    mark_px: Option<Number<'a>>,
}

impl VenueFeed for Hyperliquid {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        let channel = &*envelope.channel;
        if channel != "l2Book" {
            *context.about = About::NoBook;
        }
        let data = || {
            let missing = || Error::invalid(format!("channel {channel}: expected data"));
            envelope.data.map(RawValue::get).ok_or_else(missing)
        };
        match channel {
            "l2Book" => book(context, &json::parse_text(data()?)?),
            "bbo" => best(context, &json::parse_text(data()?)?),
            "trades" => self.trades(context, data()?),
            "activeAssetCtx" => self.state(context, &json::parse_text(data()?)?),
            // Answers, pongs, mid prices, candles, spot assets.
            _ => Ok(()),
        }
    }

    fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.recent_trades.lost(context.connection);
        Ok(())
    }
}

impl Hyperliquid {
    fn trades(&mut self, context: &mut Context<'_>, data: &str) -> Result<()> {
        let mut trades: Vec<Trade<'_>> = json::parse_text(data)?;
        trades.sort_by_key(|trade| trade.time);
        let mut read = Vec::with_capacity(trades.len());
        for trade in &trades {
            let side = match &*trade.side {
                "B" => TradeSide::Buy,
                "A" => TradeSide::Sell,
                other => return Err(Error::invalid(format!("side {other:?}: expected A or B"))),
            };
            let row = TradeRow {
                ts_recv: context.ts_recv,
                ts_event: Some(json::ts_ms(trade.time)?),
                side,
                price: trade.px.decimal()?,
                qty: trade.sz.decimal()?,
                trade_id: trade.tid.text(),
            };
            read.push((trade, Instrument::new(EXCHANGE, &trade.coin)?, row));
        }
        let connection = context.connection;
        let is_news =
            |trade: &Trade<'_>| self.recent_trades.is_news(connection, &trade.coin, trade.time);
        for (_, instrument, row) in read.iter().filter(|(trade, ..)| is_news(trade)) {
            context.trade(instrument, Kind::Trades, row);
        }
        for (trade, ..) in &read {
            self.recent_trades.note(connection, &trade.coin, trade.time);
        }
        Ok(())
    }

    fn state(&mut self, context: &mut Context<'_>, asset: &Asset<'_>) -> Result<()> {
        let number = json::decimal_or_none;
        let (mark, index) = (number(asset.ctx.mark_px)?, number(asset.ctx.oracle_px)?);
        let (rate, open_interest) = (number(asset.ctx.funding)?, number(asset.ctx.open_interest)?);
        let instrument = Instrument::new(EXCHANGE, &asset.coin)?;
        let state = self.states.entry(instrument.clone()).or_default();
        state.mark(mark);
        state.index(index);
        state.funding_rate(rate);
        state.open_interest(open_interest);
        context.ticker(&instrument, state);
        Ok(())
    }
}

fn book(context: &mut Context<'_>, message: &Book<'_>) -> Result<()> {
    *context.about = About::Book(EXCHANGE, message.coin.to_string());
    let [bids, asks] = &message.levels;
    let levels = MessageLevels::of(bids, asks)?;
    let ts_event = Some(json::ts_ms(message.time)?);
    let (ts_recv, connection) = (context.ts_recv, context.connection);
    let book = context.books.book(EXCHANGE, &message.coin, connection)?;
    if book.takes("l2Book", connection, false, false) {
        let head = MessageHead { ts_recv, ts_event, venue_seq: None, snapshot: true };
        book.store_whole(&mut context.rows, head, &levels);
    }
    Ok(())
}

fn best(context: &mut Context<'_>, best: &Best<'_>) -> Result<()> {
    let level = |at: usize| match best.bbo.get(at).copied().flatten() {
        Some(level) => Ok(Some((level.price.decimal()?, level.qty.decimal()?))),
        None => Ok::<_, Error>(None),
    };
    let (bid, ask) = (level(0)?, level(1)?);
    let ts_event = Some(json::ts_ms(best.time)?);
    let instrument = Instrument::new(EXCHANGE, &best.coin)?;
    context.quote(&instrument, &QuoteRow { ts_event, bid, ask, ..QuoteRow::default() });
    Ok(())
}
