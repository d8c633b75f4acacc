//! BitMEX.
//!
//! Rules from "WebSocket API" of www.bitmex.com/app/wsAPI, tables `orderBookL2`, `quote`, `trade`,
//! `instrument` and `liquidation`:
//!
//! - Every table begins with a `partial`; what comes before it is left out.
//! - Book: rows have an id that stands for a price. `insert` names the price, `update` and `delete`
//!   only the id, so prices are remembered by id. There is no sequence: an id that nobody named is
//!   the only sign of a hole, and a gap. Rows have a time since 2022.
//! - Ticker: `instrument`, merged over its updates; indexes (`.BXBT`) are no instruments.
//! - Trades: `side` is the taker's; the partial repeats old ones and is left out. Liquidations: the
//!   order as it is put into the market.

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
use super::ticker::TickerState;
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, QuoteRow, Side, TradeRow, TradeSide};
use crate::quantity::{Instrument, TsNs};

const EXCHANGE: &str = "bitmex";

/// BitMEX in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| FeedDialect::boxed(BitMex::default()),
    live: |_| Some(&live::Live),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "BITMEX",
        Clue::Url(url) => url.contains(".bitmex.com/"),
        Clue::Message(message) => message.starts_with(br#"{"table":"orderBookL2"#),
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct BitMex {
    prices: HashMap<String, Prices>,
    states: HashMap<Instrument, TickerState>,
}

/// The prices of one book by id.
type Prices = HashMap<i64, Price>;

#[derive(Clone, Debug)]
struct Price {
    text: Box<str>,
    /// Whether there are orders to buy and to sell; an order book that turns has both for a moment.
    sides: [bool; 2],
}

impl Price {
    fn has_orders(&self) -> bool {
        self.sides != [false; 2]
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    table: Option<Cow<'a, str>>,
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    filter: Option<Filter<'a>>,
}

#[derive(Deserialize)]
struct Filter<'a> {
    symbol: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct BookRow<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    id: i64,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    size: Option<Number<'a>>,
    #[serde(borrow)]
    price: Option<Number<'a>>,
    timestamp: Option<Cow<'a, str>>,
}

/// Rows of one symbol, as values.
#[derive(Default)]
struct BookMessage<'a> {
    levels: Vec<(Side, Box<str>, Number<'a>)>,
    ts_event: Option<TsNs>,
    /// The prices that the rows name, as they are after the message; without orders they are gone.
    changes: Prices,
    /// Ids without a price.
    unknown: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quote<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    bid_price: Option<Number<'a>>,
    #[serde(borrow)]
    bid_size: Option<Number<'a>>,
    #[serde(borrow)]
    ask_price: Option<Number<'a>>,
    #[serde(borrow)]
    ask_size: Option<Number<'a>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    side: Option<Cow<'a, str>>,
    #[serde(borrow)]
    size: Number<'a>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(rename = "trdMatchID", borrow, default)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    last_price: Option<Number<'a>>,
    #[serde(borrow)]
    mark_price: Option<Number<'a>>,
    #[serde(borrow)]
    indicative_settle_price: Option<Number<'a>>,
    #[serde(borrow)]
    funding_rate: Option<Number<'a>>,
    #[serde(borrow)]
    indicative_funding_rate: Option<Number<'a>>,
    funding_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    open_interest: Option<Number<'a>>,
}

#[derive(Deserialize)]
struct Liquidation<'a> {
    #[serde(rename = "orderID", borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(rename = "leavesQty", borrow)]
    qty: Number<'a>,
}

impl VenueFeed for BitMex {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        if message == b"pong" {
            return Ok(());
        }
        let envelope: Envelope<'_> = json::parse(message)?;
        let Some(table) = envelope.table.as_deref() else { return Ok(()) };
        let is_book = matches!(table, "orderBookL2" | "orderBookL2_25");
        if !is_book {
            *context.about = About::NoBook;
        }
        let missing = |field: &str| Error::invalid(format!("table {table}: expected {field}"));
        let action = envelope.action.as_deref().ok_or_else(|| missing("action"))?;
        let data = envelope.data.ok_or_else(|| missing("data"))?.get();
        if !matches!(action, "partial" | "insert" | "update" | "delete") {
            return Err(Error::invalid(format!("action {action:?}: not known")));
        }
        match (table, action) {
            _ if is_book => {
                let filter = envelope.filter.and_then(|filter| filter.symbol);
                self.book(context, table, action, filter.as_deref(), data)
            }
            ("quote", "partial" | "insert") => quotes(context, data),
            ("trade", "insert") => trades(context, data),
            ("liquidation", "insert") => liquidations(context, data),
            ("instrument", "partial" | "insert" | "update") => {
                self.states(context, action != "update", data)
            }
            _ => Ok(()),
        }
    }
}

impl BitMex {
    fn book(
        &mut self,
        context: &mut Context<'_>,
        table: &str,
        action: &str,
        filter: Option<&str>,
        data: &str,
    ) -> Result<()> {
        let snapshot = action == "partial";
        let mut rows: Vec<BookRow<'_>> = json::parse_text(data)?;
        rows.sort_by(|a, b| a.symbol.cmp(&b.symbol));
        let mut messages = Vec::new();
        for rows in rows.chunk_by(|a, b| a.symbol == b.symbol) {
            let Some(symbol) = rows.first().map(|row| &*row.symbol) else { continue };
            let known = self.prices.get(symbol).filter(|_| !snapshot);
            if known.is_some() || snapshot {
                messages.push((symbol, BookMessage::read(rows, known, action)?));
            }
        }
        // An empty book has no row that names it.
        if let (true, true, Some(symbol)) = (snapshot, rows.is_empty(), filter) {
            messages.push((symbol, BookMessage::default()));
        }
        let messages = messages
            .iter()
            .map(|(symbol, message)| Ok((*symbol, message, message.levels()?)))
            .collect::<Result<Vec<_>>>()?;
        for (symbol, message, levels) in messages {
            let book = context.books.book(EXCHANGE, symbol, context.connection)?;
            let better = book.channel != "orderBookL2" && table == "orderBookL2";
            if !book.takes(table, context.connection, snapshot, better) {
                continue;
            }
            let prices = self.prices.entry(symbol.to_owned()).or_default();
            message.apply(prices, snapshot);
            let (ts_recv, ts_event) = (context.ts_recv, message.ts_event);
            if let Some(id) = message.unknown.first() {
                let detail = format!("{action} of id {id}: its price is not known");
                book.gap(context.rows.inner(), (ts_recv, ts_event), 0, &detail);
            }
            let head = MessageHead { ts_recv, ts_event, venue_seq: None, snapshot };
            book.store(&mut context.rows, head, &levels, &[]);
        }
        Ok(())
    }

    fn states(&mut self, context: &mut Context<'_>, is_whole: bool, data: &str) -> Result<()> {
        let states: Vec<State<'_>> = json::parse_text(data)?;
        let mut read = Vec::with_capacity(states.len());
        for state in states.iter().filter(|state| !state.symbol.starts_with('.')) {
            let instrument = Instrument::new(EXCHANGE, &state.symbol)?;
            let mut ticker = match self.states.get(&instrument) {
                Some(known) => *known,
                None if is_whole => TickerState::default(),
                None => continue,
            };
            let number = json::decimal_or_none;
            let time = |text: &Option<Cow<'_, str>>| text.as_deref().map(TsNs::parse).transpose();
            ticker.last(number(state.last_price)?);
            ticker.mark(number(state.mark_price)?);
            ticker.index(number(state.indicative_settle_price)?);
            ticker.funding_rate(number(state.funding_rate)?);
            ticker.predicted_funding_rate(number(state.indicative_funding_rate)?);
            ticker.funding_ts(time(&state.funding_timestamp)?);
            ticker.open_interest(number(state.open_interest)?);
            ticker.ts_event(time(&state.timestamp)?);
            read.push((instrument, ticker));
        }
        for (instrument, mut ticker) in read {
            context.ticker(&instrument, &mut ticker);
            self.states.insert(instrument, ticker);
        }
        Ok(())
    }
}

impl<'a> BookMessage<'a> {
    /// Reads the rows of one symbol, whose prices are `known`.
    fn read(rows: &[BookRow<'a>], known: Option<&Prices>, action: &str) -> Result<Self> {
        let mut read = Self::default();
        for row in rows {
            let side = json::book_side(&row.side)?;
            let qty = match (action, row.size) {
                ("delete", _) => Number("0"),
                (_, Some(size)) => size,
                (_, None) => return Err(Error::invalid(format!("{action}: expected size"))),
            };
            let time = row.timestamp.as_deref().map(TsNs::parse).transpose()?;
            read.ts_event = read.ts_event.max(time);
            if row.price.is_none() && (action == "partial" || action == "insert") {
                return Err(Error::invalid(format!("{action}: expected price")));
            }
            let Some(mut price) = read.price(row, known) else {
                read.unknown.push(row.id);
                continue;
            };
            read.levels.push((side, price.text.clone(), qty));
            let [bids, asks] = &mut price.sides;
            *(if side == Side::Bid { bids } else { asks }) = action != "delete";
            read.changes.insert(row.id, price);
        }
        Ok(read)
    }

    /// The price that a row is about: as the rows before left it, as it is known, or as the row
    /// says.
    fn price(&self, row: &BookRow<'_>, known: Option<&Prices>) -> Option<Price> {
        let before = self.changes.get(&row.id).or_else(|| known?.get(&row.id));
        before.filter(|price| price.has_orders()).cloned().or_else(|| {
            let text = row.price?.text().into();
            Some(Price { text, sides: [false; 2] })
        })
    }

    /// Brings the prices of the book up to date.
    fn apply(&self, prices: &mut Prices, snapshot: bool) {
        if snapshot {
            prices.clear();
        }
        for (id, price) in &self.changes {
            if price.has_orders() {
                prices.insert(*id, price.clone());
            } else {
                prices.remove(id);
            }
        }
    }

    fn levels(&self) -> Result<MessageLevels<'_>> {
        let mut levels = MessageLevels::default();
        for (side, price, qty) in &self.levels {
            levels.push(*side, price, qty.text())?;
        }
        levels.check()?;
        Ok(levels)
    }
}

fn quotes(context: &mut Context<'_>, data: &str) -> Result<()> {
    let quotes: Vec<Quote<'_>> = json::parse_text(data)?;
    context.quotes(quotes.iter().map(|quote| {
        let number = json::decimal_or_none;
        let row = QuoteRow {
            ts_event: Some(TsNs::parse(&quote.timestamp)?),
            bid: number(quote.bid_price)?.zip(number(quote.bid_size)?),
            ask: number(quote.ask_price)?.zip(number(quote.ask_size)?),
            ..QuoteRow::default()
        };
        Ok((Instrument::new(EXCHANGE, &quote.symbol)?, row))
    }))
}

fn trades(context: &mut Context<'_>, data: &str) -> Result<()> {
    let trades: Vec<Trade<'_>> = json::parse_text(data)?;
    let ts_recv = context.ts_recv;
    let read = trades.iter().map(|trade| {
        // Settlements have no side.
        let side = trade.side.as_deref().filter(|side| !side.is_empty());
        let row = TradeRow {
            ts_recv,
            ts_event: Some(TsNs::parse(&trade.timestamp)?),
            side: side.map_or(Ok(TradeSide::Unknown), json::trade_side)?,
            price: trade.price.decimal()?,
            qty: trade.size.decimal()?,
            trade_id: &trade.id,
        };
        Ok((Instrument::new(EXCHANGE, &trade.symbol)?, row))
    });
    context.trades(Kind::Trades, read)
}

fn liquidations(context: &mut Context<'_>, data: &str) -> Result<()> {
    let orders: Vec<Liquidation<'_>> = json::parse_text(data)?;
    let ts_recv = context.ts_recv;
    let read = orders.iter().map(|order| {
        let row = TradeRow {
            ts_recv,
            ts_event: None,
            side: json::trade_side(&order.side)?,
            price: order.price.decimal()?,
            qty: order.qty.decimal()?,
            trade_id: &order.id,
        };
        Ok((Instrument::new(EXCHANGE, &order.symbol)?, row))
    });
    context.trades(Kind::Liquidations, read)
}
