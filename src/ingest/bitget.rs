//! Bitget: spot (`bitget`) and contracts (`bitget-futures`), WebSocket versions 1, 2 and 3.
//!
//! Rules from the public channels of www.bitget.com/api-doc (spot, contract and UTA, "Depth
//! channel" with its section on checksums):
//!
//! - `books`: a snapshot, then updates, each with OKX's checksum over 25 levels of text as sent.
//!   Where the venue sends 0 there is none. Version 3 also chains messages, `pseq` = `seq` before.
//! - `books5`, `books15`, `books50` show the whole book each time; what changed is stored. `books`
//!   takes over from them.
//! - Quotes: `books1`; where there is none, best bid and ask of `ticker`. Spot tickers of version 1
//!   round their prices and are left out; contract tickers of version 1 have no quantities.
//! - Ticker: `ticker`, of contracts only. A contract that is never funded has no next time, and the
//!   0 it sends as rate is none. Version 3 prints index prices with more digits than 64 bits hold;
//!   the index of such a row is unknown, the rest of it is stored.
//! - The recent prints sent at subscription fill the hole that a reconnect left, where prints have
//!   ids (from version 2 on): those after the last one seen are stored.
//! - `liquidation` gives the side of the position; the row has that of the order that closed it.

mod live;
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
use super::ticker::TickerFeed;
use super::trade_ids::{Seen, TradeIds};
use super::venue::{Clue, Venue};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Kind, MessageHead, QuoteRow, TradeRow};
use crate::limit;
use crate::quantity::{Decimal, Instrument, TsNs};

const SPOT: &str = "bitget";
const CONTRACTS: &str = "bitget-futures";

/// Bitget in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[SPOT, CONTRACTS],
    recognise,
    dialect: |_, _| FeedDialect::boxed(Bitget::default()),
    live: |exchange| Some(live::feed(exchange == SPOT)),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    match clue {
        Clue::CaptureName(name) => (*name == "BITGET").then_some(SPOT),
        Clue::Url(url) => url.contains(".bitget.com").then_some(SPOT),
        Clue::Message(message) => {
            let envelope: Envelope<'_> = json::parse(message).ok()?;
            envelope.action?;
            exchange_of(&envelope.arg?.market).ok()
        }
    }
}

/// `sp`, `SPOT` and `spot` are spot; `mc`, `USDT-FUTURES`, `coin-futures` and so on are contracts.
fn exchange_of(market: &str) -> Result<&'static str> {
    match market.to_ascii_lowercase().as_str() {
        "sp" | "spot" => Ok(SPOT),
        "mc" => Ok(CONTRACTS),
        other if other.ends_with("-futures") => Ok(CONTRACTS),
        _ => Err(Error::invalid(format!("instType {market:?}: expected spot or -futures"))),
    }
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct Bitget {
    states: HashMap<Instrument, TickerFeed>,
    trade_ids: TradeIds,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    arg: Option<Arg<'a>>,
    event: Option<Cow<'a, str>>,
    op: Option<Cow<'a, str>>,
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ts: Option<Number<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Arg<'a> {
    #[serde(rename = "instType", borrow)]
    market: Cow<'a, str>,
    #[serde(alias = "topic", borrow)]
    channel: Cow<'a, str>,
    #[serde(alias = "instId")]
    symbol: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Book<'a> {
    #[serde(alias = "b", borrow)]
    bids: Vec<Level<'a>>,
    #[serde(alias = "a", borrow)]
    asks: Vec<Level<'a>>,
    #[serde(borrow)]
    ts: Number<'a>,
    checksum: Option<i64>,
    #[serde(borrow)]
    seq: Option<Number<'a>>,
    #[serde(rename = "pseq", borrow)]
    previous: Option<Number<'a>>,
}

/// [`Book`] as values.
struct BookMessage<'a> {
    levels: MessageLevels<'a>,
    ts_event: TsNs,
    checksum: Option<i64>,
    seq: Option<i64>,
    previous: Option<i64>,
}

/// A print of version 2 or 3.
#[derive(Deserialize)]
struct Print<'a> {
    #[serde(alias = "T", borrow)]
    ts: Number<'a>,
    #[serde(alias = "p", borrow)]
    price: Number<'a>,
    #[serde(alias = "v", borrow)]
    size: Number<'a>,
    #[serde(alias = "S", borrow)]
    side: Cow<'a, str>,
    #[serde(rename = "tradeId", alias = "i", borrow)]
    id: Number<'a>,
}

/// A print of version 1: `[time, price, qty, side]`.
#[derive(Deserialize)]
struct PrintV1<'a>(
    #[serde(borrow)] Number<'a>,
    #[serde(borrow)] Number<'a>,
    #[serde(borrow)] Number<'a>,
    #[serde(borrow)] Cow<'a, str>,
);

#[derive(Deserialize)]
struct Liquidation<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    amount: Number<'a>,
    #[serde(borrow)]
    ts: Number<'a>,
}

/// The names of version 2 first, then those of 1 and 3.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ticker<'a> {
    #[serde(alias = "last", alias = "lastPrice", borrow)]
    last_pr: Option<Number<'a>>,
    #[serde(alias = "bestBid", alias = "bid1Price", borrow)]
    bid_pr: Option<Number<'a>>,
    #[serde(alias = "bid1Size", borrow)]
    bid_sz: Option<Number<'a>>,
    #[serde(alias = "bestAsk", alias = "ask1Price", borrow)]
    ask_pr: Option<Number<'a>>,
    #[serde(alias = "ask1Size", borrow)]
    ask_sz: Option<Number<'a>>,
    #[serde(borrow)]
    mark_price: Option<Number<'a>>,
    #[serde(borrow)]
    index_price: Option<Number<'a>>,
    #[serde(alias = "capitalRate", borrow)]
    funding_rate: Option<Number<'a>>,
    #[serde(alias = "nextSettleTime", borrow)]
    next_funding_time: Option<Number<'a>>,
    #[serde(alias = "holding", alias = "openInterest", borrow)]
    holding_amount: Option<Number<'a>>,
    #[serde(alias = "systemTime", borrow)]
    ts: Option<Number<'a>>,
}

/// [`Ticker`] as values.
struct Update {
    ts_event: Option<TsNs>,
    last: Option<Decimal>,
    best: [Option<Decimal>; 4],
    /// Quantities have no fields.
    version_1: bool,
    mark: Option<Decimal>,
    index: Option<Decimal>,
    open_interest: Option<Decimal>,
    /// Rate and when it is next exchanged.
    funding: Option<(Option<Decimal>, TsNs)>,
}

impl VenueFeed for Bitget {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        if message == b"pong" {
            return Ok(());
        }
        let envelope: Envelope<'_> = json::parse(message)?;
        let (Some(arg), Some(data)) = (&envelope.arg, envelope.data) else {
            // Answers to subscriptions carry an event, those of version 3 to a ping an op.
            return match envelope.event.is_some() || envelope.op.is_some() {
                true => Ok(()),
                false => Err(Error::invalid("message: expected event, or arg and data")),
            };
        };
        let data = data.get();
        if !arg.channel.starts_with("books") {
            *context.about = About::NoBook;
        }
        let exchange = exchange_of(&arg.market)?;
        let snapshot = match envelope.action.as_deref() {
            Some("snapshot") => true,
            Some("update") => false,
            other => {
                return Err(Error::invalid(format!(
                    "action {other:?}: expected snapshot or update"
                )));
            }
        };
        if arg.channel == "liquidation" {
            return liquidations(context, exchange, data);
        }
        let symbol = arg.symbol.as_deref().ok_or_else(|| {
            Error::invalid(format!("channel {}: expected instId or symbol", arg.channel))
        })?;
        match &*arg.channel {
            "books1" => {
                *context.about = About::NoBook;
                self.best(context, exchange, symbol, data)
            }
            "books" | "books5" | "books15" | "books50" => {
                books(context, (exchange, symbol), &arg.channel, snapshot, data)
            }
            "trade" | "publicTrade" => self.prints(context, (exchange, symbol), snapshot, data),
            "ticker" => {
                let sent = envelope.ts.map(Number::ts_ms).transpose()?;
                self.tickers(context, (exchange, symbol), sent, data)
            }
            // Candles.
            _ => Ok(()),
        }
    }
}

impl Bitget {
    fn best(
        &mut self,
        context: &mut Context<'_>,
        exchange: &'static str,
        symbol: &str,
        data: &str,
    ) -> Result<()> {
        let data: Vec<Book<'_>> = json::parse_text(data)?;
        let instrument = Instrument::new(exchange, symbol)?;
        context.quotes(data.iter().map(|book| {
            let row = QuoteRow {
                ts_event: Some(book.ts.ts_ms()?),
                bid: json::first_level(&book.bids)?,
                ask: json::first_level(&book.asks)?,
                venue_seq: book.seq.map(Number::int).transpose()?,
                ..QuoteRow::default()
            };
            Ok((instrument.clone(), row))
        }))?;
        self.states.entry(instrument).or_default().best.come_elsewhere();
        Ok(())
    }

    fn prints(
        &mut self,
        context: &mut Context<'_>,
        (exchange, symbol): (&str, &str),
        snapshot: bool,
        data: &str,
    ) -> Result<()> {
        let entries: Vec<&RawValue> = json::parse_text(data)?;
        let instrument = Instrument::new(exchange, symbol)?;
        let mut read = Vec::with_capacity(entries.len());
        for entry in entries {
            let print = match entry.get().starts_with('[') {
                true => {
                    let PrintV1(ts, price, size, side) = json::parse_text(entry.get())?;
                    Print { ts, price, size, side, id: Number("") }
                }
                false => json::parse_text(entry.get())?,
            };
            let id = if print.id.text().is_empty() { None } else { Some(print.id.int()?) };
            let row = TradeRow {
                ts_recv: context.ts_recv,
                ts_event: Some(print.ts.ts_ms()?),
                side: json::trade_side(&print.side)?,
                price: print.price.decimal()?,
                qty: print.size.decimal()?,
                trade_id: print.id.text(),
            };
            read.push((id, row));
        }
        read.sort_by_key(|(id, row)| (*id, row.ts_event));
        for (id, row) in &read {
            let seen = id.map_or(Seen::First, |id| self.trade_ids.seen(&instrument, id));
            if snapshot && seen != Seen::New {
                continue;
            }
            context.trade(&instrument, Kind::Trades, row);
            if let Some(id) = id {
                self.trade_ids.note(&instrument, *id);
            }
        }
        Ok(())
    }

    fn tickers(
        &mut self,
        context: &mut Context<'_>,
        (exchange, symbol): (&'static str, &str),
        sent: Option<TsNs>,
        data: &str,
    ) -> Result<()> {
        let data: Vec<Ticker<'_>> = json::parse_text(data)?;
        let instrument = Instrument::new(exchange, symbol)?;
        let updates = data.iter().map(Update::read).collect::<Result<Vec<_>>>()?;
        for update in updates {
            let state = self.states.entry(instrument.clone()).or_default();
            let ts_event = update.ts_event.or(sent);
            let rounded = exchange == SPOT && update.version_1;
            if !rounded && state.best.is_news(update.best) {
                context.quote_values(&instrument, ts_event, update.best);
            }
            if exchange == SPOT {
                continue;
            }
            let ticker = &mut state.ticker;
            ticker.last(update.last);
            ticker.mark(update.mark);
            match update.index {
                Some(index) => ticker.index(Some(index)),
                None => ticker.index_is_unknown(),
            }
            ticker.open_interest(update.open_interest);
            if let Some((rate, next)) = update.funding {
                ticker.funding_rate(rate);
                ticker.funding_ts(Some(next));
            }
            ticker.ts_event(ts_event);
            context.ticker(&instrument, ticker);
        }
        Ok(())
    }
}

impl Update {
    fn read(ticker: &Ticker<'_>) -> Result<Self> {
        let number = json::decimal_or_none;
        let next = match ticker.next_funding_time {
            None | Some(Number("" | "0")) => None,
            Some(time) => Some(time.ts_ms()?),
        };
        let rate = number(ticker.funding_rate)?;
        Ok(Self {
            ts_event: ticker.ts.map(Number::ts_ms).transpose()?,
            last: number(ticker.last_pr)?,
            best: [
                number(ticker.bid_pr)?,
                number(ticker.bid_sz)?,
                number(ticker.ask_pr)?,
                number(ticker.ask_sz)?,
            ],
            version_1: ticker.bid_sz.is_none() && ticker.ask_sz.is_none(),
            mark: number(ticker.mark_price)?,
            index: match number(ticker.index_price) {
                Err(error) if error.kind() == ErrorKind::Limit => None,
                index => index?,
            },
            open_interest: number(ticker.holding_amount)?,
            funding: next.map(|next| (rate, next)),
        })
    }
}

impl<'a> BookMessage<'a> {
    fn read(book: &Book<'a>) -> Result<Self> {
        Ok(Self {
            levels: MessageLevels::of(&book.bids, &book.asks)?,
            ts_event: book.ts.ts_ms()?,
            checksum: book.checksum.filter(|&sum| sum != 0),
            seq: book.seq.map(Number::int).transpose()?,
            previous: book.previous.map(Number::int).transpose()?,
        })
    }
}

fn books(
    context: &mut Context<'_>,
    (exchange, symbol): (&'static str, &str),
    channel: &str,
    snapshot: bool,
    data: &str,
) -> Result<()> {
    *context.about = About::Book(exchange, symbol.to_owned());
    let data: Vec<Book<'_>> = json::parse_text(data)?;
    let messages = data.iter().map(BookMessage::read).collect::<Result<Vec<_>>>()?;
    let book = context.books.book(exchange, symbol, context.connection)?;
    let replaced = book.channel != "books" && channel == "books";
    if !book.takes(channel, context.connection, snapshot, replaced) {
        return Ok(());
    }
    let ts_recv = context.ts_recv;
    for message in &messages {
        let ts_event = Some(message.ts_event);
        let head = MessageHead { ts_recv, ts_event, venue_seq: message.seq, snapshot };
        if snapshot && channel != "books" {
            book.store_whole(&mut context.rows, head, &message.levels);
            continue;
        }
        let times = (ts_recv, ts_event);
        book.follow(context.rows.inner(), times, snapshot, "pseq", message.previous);
        book.seq = message.seq;
        book.text.apply(snapshot, &message.levels);
        // Levels this deep are never part of a checksum.
        book.text.cut(limit::LEVELS_PER_SIDE_MAX);
        let wrong = message.checksum.filter(|_| snapshot || book.is_live()).and_then(|expected| {
            let found = checksum::okx(book.text.bids(), book.text.asks());
            checksum::difference(expected, i64::from(found))
        });
        book.store_checked(&mut context.rows, head, &message.levels, &[], wrong.as_deref());
    }
    Ok(())
}

fn liquidations(context: &mut Context<'_>, exchange: &str, data: &str) -> Result<()> {
    let orders: Vec<Liquidation<'_>> = json::parse_text(data)?;
    let ts_recv = context.ts_recv;
    let read = orders.iter().map(|order| {
        let row = TradeRow {
            ts_recv,
            ts_event: Some(order.ts.ts_ms()?),
            side: json::closing_side(&order.side)?,
            price: order.price.decimal()?,
            qty: order.amount.decimal()?,
            trade_id: "",
        };
        Ok((Instrument::new(exchange, &order.symbol)?, row))
    });
    context.trades(Kind::Liquidations, read)
}
