//! Gate, API version 4: spot (`gate-io`) and futures (`gate-io-futures`).
//!
//! Rules from "Spot WebSocket v4" and "Futures WebSocket v4" of www.gate.com/docs/developers:
//!
//! - Book: `order_book_update`, changes numbered `U` to `u`, each message continuing the one
//!   before; the snapshot is the REST reply of `order_book` with its `id` (ask it for with
//!   `with_id=true`), spliced in. `obu` and messages with `full` are snapshots in the stream.
//! - Quotes: `book_ticker`; where there is none, best bid and ask of `tickers`, which have no
//!   quantities on spot.
//! - Ticker: `futures.tickers`; `funding_rate_indicative` is the rate predicted next.
//! - Trades: `side` on spot is the taker's; on futures the size has its sign. Liquidations:
//!   `futures.public_liquidates`, the order that closed the position, its size signed too. Its
//!   `time` was in seconds until August 2026 and is in milliseconds since.
//!
//! The older `futures.order_book` channel (no numbers that chain) is left out.

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
use super::splice::{Part, SplicedBooks};
use super::ticker::TickerFeed;
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, QuoteRow, TradeRow, TradeSide};
use crate::quantity::{Decimal, Instrument, TsNs};

const SPOT: &str = "gate-io";
const FUTURES: &str = "gate-io-futures";

/// Times from here on are in milliseconds, below in seconds: the year 1973 or 5138.
const SECONDS_END: i64 = 100_000_000_000;

/// Gate in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[SPOT, FUTURES],
    recognise,
    dialect: |_, _| {
        FeedDialect::boxed(Gate {
            books: SplicedBooks::new(read_changes, "U"),
            states: HashMap::new(),
        })
    },
    live: |exchange| Some(live::feed(exchange == FUTURES)),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    match clue {
        Clue::CaptureName("GATEIO") => Some(SPOT),
        Clue::CaptureName("GATEIO_FUTURES") => Some(FUTURES),
        Clue::CaptureName(_) => None,
        Clue::Url(url) if url.contains("gateio.ws/") || url.contains("gate.com/") => {
            let futures = url.contains("//fx-ws") || url.contains("/futures/");
            Some(if futures { FUTURES } else { SPOT })
        }
        Clue::Url(_) => None,
        Clue::Message(message) => {
            let envelope: Envelope<'_> = json::parse(message).ok()?;
            envelope.event?;
            exchange_of(&envelope.channel).map(|(exchange, _)| exchange)
        }
    }
}

/// `spot.trades` is channel `trades` of the spot market.
fn exchange_of(channel: &str) -> Option<(&'static str, &str)> {
    match channel.split_once('.')? {
        ("spot", name) => Some((SPOT, name)),
        ("futures", name) => Some((FUTURES, name)),
        _ => None,
    }
}

/// The dialect; see the module documentation.
#[derive(Debug)]
struct Gate {
    books: SplicedBooks,
    states: HashMap<Instrument, TickerFeed>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    event: Option<Cow<'a, str>>,
    time: Option<i64>,
    time_ms: Option<i64>,
    /// Only in snapshots that Tardis records as messages.
    symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

/// Changes, or with `full` a snapshot.
#[derive(Deserialize)]
struct Changes<'a> {
    #[serde(borrow)]
    t: Number<'a>,
    #[serde(borrow)]
    s: Cow<'a, str>,
    #[serde(rename = "U")]
    first: Option<i64>,
    u: i64,
    #[serde(default)]
    full: bool,
    #[serde(borrow, default)]
    b: Vec<Level<'a>>,
    #[serde(borrow, default)]
    a: Vec<Level<'a>>,
}

/// The reply of `order_book`: `update` is in seconds on futures, in milliseconds on spot.
#[derive(Deserialize)]
struct Snapshot<'a> {
    id: i64,
    #[serde(borrow)]
    update: Option<Number<'a>>,
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    #[serde(borrow)]
    asks: Vec<Level<'a>>,
}

#[derive(Deserialize)]
struct BookTicker<'a> {
    #[serde(borrow)]
    t: Number<'a>,
    #[serde(borrow)]
    s: Cow<'a, str>,
    u: i64,
    #[serde(rename = "b", borrow)]
    bid_price: Number<'a>,
    #[serde(rename = "B", borrow)]
    bid_qty: Number<'a>,
    #[serde(rename = "a", borrow)]
    ask_price: Number<'a>,
    #[serde(rename = "A", borrow)]
    ask_qty: Number<'a>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(alias = "contract", borrow)]
    currency_pair: Cow<'a, str>,
    #[serde(borrow)]
    id: Number<'a>,
    #[serde(borrow)]
    create_time: Option<Number<'a>>,
    #[serde(borrow)]
    create_time_ms: Option<Number<'a>>,
    side: Option<Cow<'a, str>>,
    #[serde(alias = "size", borrow)]
    amount: Number<'a>,
    #[serde(borrow)]
    price: Number<'a>,
}

#[derive(Deserialize)]
struct Liquidation<'a> {
    #[serde(borrow)]
    contract: Cow<'a, str>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    size: Number<'a>,
    #[serde(borrow)]
    time: Option<Number<'a>>,
    #[serde(borrow)]
    time_ms: Option<Number<'a>>,
}

#[derive(Deserialize)]
struct Ticker<'a> {
    #[serde(alias = "contract", borrow)]
    currency_pair: Cow<'a, str>,
    #[serde(borrow)]
    last: Option<Number<'a>>,
    #[serde(borrow)]
    highest_bid: Option<Number<'a>>,
    #[serde(borrow)]
    highest_size: Option<Number<'a>>,
    #[serde(borrow)]
    lowest_ask: Option<Number<'a>>,
    #[serde(borrow)]
    lowest_size: Option<Number<'a>>,
    #[serde(borrow)]
    mark_price: Option<Number<'a>>,
    #[serde(borrow)]
    index_price: Option<Number<'a>>,
    #[serde(borrow)]
    funding_rate: Option<Number<'a>>,
    #[serde(borrow)]
    funding_rate_indicative: Option<Number<'a>>,
    #[serde(borrow)]
    total_size: Option<Number<'a>>,
}

/// [`Ticker`] as values.
struct Update {
    instrument: Instrument,
    best: [Option<Decimal>; 4],
    last: Option<Decimal>,
    mark: Option<Decimal>,
    index: Option<Decimal>,
    funding_rate: Option<Decimal>,
    predicted: Option<Decimal>,
    open_interest: Option<Decimal>,
}

impl VenueFeed for Gate {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        let Some((exchange, channel)) = exchange_of(&envelope.channel) else {
            return Err(Error::invalid(format!(
                "channel {:?}: expected one of spot or futures",
                envelope.channel
            )));
        };
        let is_book = matches!(channel, "order_book_update" | "obu");
        if !is_book {
            *context.about = About::NoBook;
        }
        let result = match (envelope.event.as_deref(), envelope.result) {
            _ if matches!(channel, "pong" | "system") => return Ok(()),
            (Some("update" | "all" | "snapshot"), Some(result)) => result.get(),
            // `obu` names no event with its data.
            (None, Some(result)) if is_book => result.get(),
            (Some("subscribe" | "unsubscribe"), _) | (None, _) => return Ok(()),
            (event, _) => {
                return Err(Error::invalid(format!(
                    "event {event:?} of {channel}: expected update with a result"
                )));
            }
        };
        match channel {
            _ if is_book => match &envelope.symbol {
                // A REST reply that Tardis records as a message.
                Some(symbol) => {
                    self.snapshot(context, exchange, symbol, &json::parse_text(result)?)
                }
                None => self.changes(context, exchange, channel, result),
            },
            "book_ticker" => self.quote(context, exchange, &json::parse_text(result)?),
            "trades" => trades(context, exchange, result),
            "public_liquidates" => liquidations(context, exchange, result),
            "tickers" => {
                let sent = match (envelope.time_ms, envelope.time) {
                    (Some(ms), _) if ms != 0 => Some(json::ts_ms(ms)?),
                    (_, Some(seconds)) => Some(json::ts_seconds(&seconds.to_string())?),
                    _ => None,
                };
                self.tickers(context, exchange, sent, result)
            }
            // Candles, whole shallow books, the older order book of futures.
            _ => Ok(()),
        }
    }

    fn reply(&mut self, context: &mut Context<'_>, url: &str, body: &[u8]) -> Result<()> {
        let Some(query) = json::query_of(url, "/order_book") else { return Ok(()) };
        let (exchange, name) = match url.contains("/futures/") {
            true => (FUTURES, "contract"),
            false => (SPOT, "currency_pair"),
        };
        let symbol = json::query_value(query, name)?;
        self.snapshot(context, exchange, symbol, &json::parse(body)?)
    }

    fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.books.lost(context)
    }

    fn finish(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.books.finish(context)
    }
}

impl Gate {
    fn changes(
        &mut self,
        context: &mut Context<'_>,
        exchange: &'static str,
        channel: &str,
        data: &str,
    ) -> Result<()> {
        let changes: Changes<'_> = json::parse_text(data)?;
        // `ob.BTC_USDT.400` is BTC_USDT with 400 levels.
        let symbol = changes.s.strip_prefix("ob.").and_then(|name| name.rsplit_once('.'));
        let symbol = symbol.map_or(&*changes.s, |(symbol, _)| symbol);
        *context.about = About::Book(exchange, symbol.to_owned());
        if changes.full {
            let part = Part { first: None, ..read_changes(data)? };
            return self.books.snapshot(context, (exchange, symbol), Some(channel), &part);
        }
        self.books.changes(context, (exchange, symbol), channel, data)
    }

    fn snapshot(
        &mut self,
        context: &mut Context<'_>,
        exchange: &'static str,
        symbol: &str,
        snapshot: &Snapshot<'_>,
    ) -> Result<()> {
        let ts_event = match snapshot.update {
            Some(time) if time.text().contains('.') => Some(json::ts_seconds(time.text())?),
            Some(time) => Some(time.ts_ms()?),
            None => None,
        };
        let levels = MessageLevels::of(&snapshot.bids, &snapshot.asks)?;
        let part = Part { first: None, last: snapshot.id, ts_event, levels };
        self.books.snapshot(context, (exchange, symbol), None, &part)
    }

    fn quote(
        &mut self,
        context: &mut Context<'_>,
        exchange: &str,
        ticker: &BookTicker<'_>,
    ) -> Result<()> {
        let level = |price: Number<'_>, qty: Number<'_>| -> Result<_> {
            Ok(price.decimal_or_none()?.zip(qty.decimal_or_none()?))
        };
        let bid = level(ticker.bid_price, ticker.bid_qty)?;
        let ask = level(ticker.ask_price, ticker.ask_qty)?;
        let instrument = Instrument::new(exchange, &ticker.s)?;
        // An empty market says so with time 0.
        if bid.is_some() || ask.is_some() {
            let ts_event = Some(ticker.t.ts_ms()?);
            let row =
                QuoteRow { ts_event, bid, ask, venue_seq: Some(ticker.u), ..QuoteRow::default() };
            context.quote(&instrument, &row);
        }
        self.states.entry(instrument).or_default().best.come_elsewhere();
        Ok(())
    }

    fn tickers(
        &mut self,
        context: &mut Context<'_>,
        exchange: &str,
        ts_event: Option<TsNs>,
        data: &str,
    ) -> Result<()> {
        let tickers: Vec<Ticker<'_>> = json::parse_one_or_many(data)?;
        let updates = tickers
            .iter()
            .map(|ticker| Update::read(exchange, ticker))
            .collect::<Result<Vec<_>>>()?;
        for update in updates {
            let state = self.states.entry(update.instrument.clone()).or_default();
            if update.best != [None; 4] && state.best.is_news(update.best) {
                context.quote_values(&update.instrument, ts_event, update.best);
            }
            if exchange == FUTURES {
                let ticker = &mut state.ticker;
                ticker.last(update.last);
                ticker.mark(update.mark);
                ticker.index(update.index);
                ticker.funding_rate(update.funding_rate);
                ticker.predicted_funding_rate(update.predicted);
                ticker.open_interest(update.open_interest);
                ticker.ts_event(ts_event);
                context.ticker(&update.instrument, ticker);
            }
        }
        Ok(())
    }
}

impl Update {
    fn read(exchange: &str, ticker: &Ticker<'_>) -> Result<Self> {
        let number = json::decimal_or_none;
        Ok(Self {
            instrument: Instrument::new(exchange, &ticker.currency_pair)?,
            best: [
                number(ticker.highest_bid)?,
                number(ticker.highest_size)?,
                number(ticker.lowest_ask)?,
                number(ticker.lowest_size)?,
            ],
            last: number(ticker.last)?,
            mark: number(ticker.mark_price)?,
            index: number(ticker.index_price)?,
            funding_rate: number(ticker.funding_rate)?,
            predicted: number(ticker.funding_rate_indicative)?,
            open_interest: number(ticker.total_size)?,
        })
    }
}

fn read_changes(data: &str) -> Result<Part<'_>> {
    let changes: Changes<'_> = json::parse_text(data)?;
    if changes.first.is_none() && !changes.full {
        return Err(Error::invalid("changes: expected U"));
    }
    let levels = MessageLevels::of(&changes.b, &changes.a)?;
    let ts_event = Some(changes.t.ts_ms()?);
    Ok(Part { first: changes.first, last: changes.u, ts_event, levels })
}

fn trades(context: &mut Context<'_>, exchange: &str, data: &str) -> Result<()> {
    let trades: Vec<Trade<'_>> = json::parse_one_or_many(data)?;
    let ts_recv = context.ts_recv;
    let read = trades.iter().map(|trade| {
        let (side, qty) = match &trade.side {
            Some(side) => (json::trade_side(side)?, trade.amount),
            None => side_by_sign(trade.amount),
        };
        let ts_event = match (trade.create_time_ms, trade.create_time) {
            (Some(ms), _) => json::ts_exact_ms(ms.text())?,
            (None, Some(seconds)) => json::ts_seconds(seconds.text())?,
            (None, None) => return Err(Error::invalid("trade: expected create_time")),
        };
        let row = TradeRow {
            ts_recv,
            ts_event: Some(ts_event),
            side,
            price: trade.price.decimal()?,
            qty: qty.decimal()?,
            trade_id: trade.id.text(),
        };
        Ok((Instrument::new(exchange, &trade.currency_pair)?, row))
    });
    context.trades(Kind::Trades, read)
}

fn liquidations(context: &mut Context<'_>, exchange: &str, data: &str) -> Result<()> {
    let orders: Vec<Liquidation<'_>> = json::parse_one_or_many(data)?;
    let ts_recv = context.ts_recv;
    let read = orders.iter().map(|order| {
        let (side, qty) = side_by_sign(order.size);
        let row = TradeRow {
            ts_recv,
            ts_event: Some(order.ts_event()?),
            side,
            price: order.price.decimal()?,
            qty: qty.decimal()?,
            trade_id: "",
        };
        Ok((Instrument::new(exchange, &order.contract)?, row))
    });
    context.trades(Kind::Liquidations, read)
}

impl Liquidation<'_> {
    fn ts_event(&self) -> Result<TsNs> {
        match (self.time_ms, self.time) {
            (Some(ms), _) => ms.ts_ms(),
            (None, Some(time)) if time.int()? < SECONDS_END => json::ts_seconds(time.text()),
            (None, Some(time)) => time.ts_ms(),
            (None, None) => Err(Error::invalid("liquidation: expected time")),
        }
    }
}

/// A size below zero sells.
fn side_by_sign(size: Number<'_>) -> (TradeSide, Number<'_>) {
    match size.text().strip_prefix('-') {
        Some(sold) => (TradeSide::Sell, Number(sold)),
        None => (TradeSide::Buy, size),
    }
}
