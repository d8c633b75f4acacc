//! OKX, API version 5: spot, swaps, futures and options on one connection.
//!
//! - Book channels (`books`, `books-l2-tbt`, `books50-l2-tbt`): a snapshot, then updates, each with
//!   `prevSeqId` = the `seqId` before it (since 2022) and a checksum. OKX stopped the checksum in
//!   2026 and sends 0; it is verified wherever it is not 0 or there is no sequence. A break of
//!   either is a gap. When OKX sends no snapshot, a REST `market/books` reply is one.
//! - `books5` sends five whole levels each time: every message is a venue snapshot.
//! - One book per instrument: of several book channels the one that gave the book first keeps it,
//!   until its connection is lost or an incremental channel takes over from `books5`.
//! - Derivative state comes in five channels and is merged; its event time is the newest of any of
//!   them (funding rates had none). The index belongs to all instruments of one underlying and is
//!   shown with their next message.
//! - Quotes: `bbo-tbt`; where there is none, best bid and ask of `tickers`.
//! - `side` of a trade is the aggressor; of a liquidation, the order that closed the position.

use std::collections::{HashMap, HashSet};

use super::checksum;
use super::connection::ConnectionRows;
use super::feed_book::{About, FeedBook};
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json;
use super::ticker::TickerState;
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, QuoteRow, TradeRow};
use crate::limit;
use crate::quantity::{Decimal, Instrument, TsNs};

use self::market::{FUTURES, OPTIONS, SPOT, SWAP, exchange_of, instrument, underlying};
use self::message::{
    BookData, BookMessage, Envelope, Liquidation, Liquidations, Reply, StateData, StateUpdate,
    TradeData,
};

mod live;
mod market;
mod message;

/// Bytes of updates of one book that wait for its REST snapshot: a minute of the busiest book.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// OKX in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[SPOT, SWAP, FUTURES, OPTIONS],
    recognise,
    dialect: |_, _| FeedDialect::boxed(Okx::default()),
    live: live::feed,
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => matches!(*name, "OKX" | "OKEX"),
        Clue::Url(url) => ["okx.com", "okex.com"].iter().any(|host| url.contains(host)),
        Clue::Message(message) => {
            let heads: [&[u8]; 2] =
                [br#"{"arg":{"channel":"#, br#"{"event":"subscribe","arg":{"channel":"#];
            heads.iter().any(|head| message.starts_with(head))
        }
    };
    known.then_some(SPOT)
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct Okx {
    /// What books without a snapshot need to take one by REST, by symbol.
    waiting: HashMap<String, Waiting>,
    derivatives: HashMap<String, Derivative>,
    /// Index price by underlying, e.g. `BTC-USD`.
    indexes: HashMap<String, Decimal>,
    /// Symbols of which `bbo-tbt` was seen.
    best: HashSet<String>,
}

/// Updates that came while a book had no snapshot: the `data` of each message.
#[derive(Debug, Default)]
struct Waiting {
    updates: Vec<Box<str>>,
    bytes: usize,
}

#[derive(Debug)]
struct Derivative {
    instrument: Instrument,
    state: TickerState,
    ts_event: Option<TsNs>,
}

/// Where book data comes from.
#[derive(Clone, Copy)]
struct BookSource<'a> {
    symbol: &'a str,
    channel: &'a str,
    snapshot: bool,
}

impl Okx {
    fn books(
        &mut self,
        context: &mut Context<'_>,
        source: BookSource<'_>,
        text: &str,
    ) -> Result<()> {
        let data: Vec<BookData<'_>> = json::parse_text(text)?;
        let messages = data.iter().map(BookMessage::read).collect::<Result<Vec<_>>>()?;
        let exchange = exchange_of(source.symbol);
        let book = context.books.book(exchange, source.symbol, context.connection)?;
        let replaced = book.channel == "books5" && source.channel != "books5";
        if !book.takes(source.channel, context.connection, source.snapshot, replaced) {
            return Ok(());
        }
        let in_sequence = messages.iter().all(|message| message.seq.is_some());
        if in_sequence && !book.is_live() && !source.snapshot {
            let waiting = self.waiting.entry(source.symbol.to_owned()).or_default();
            waiting.push(text);
        }
        for message in &messages {
            book_message(book, context.ts_recv, source.snapshot, message, &mut context.rows);
        }
        if book.is_live() {
            self.waiting.remove(source.symbol);
        }
        Ok(())
    }

    fn states(
        &mut self,
        ts_recv: TsNs,
        channel: &str,
        data: &str,
        rows: &mut ConnectionRows<'_>,
    ) -> Result<()> {
        let data: Vec<StateData<'_>> = json::parse_text(data)?;
        let updates = data.iter().map(StateUpdate::read).collect::<Result<Vec<_>>>()?;
        for update in &updates {
            if channel == "index-tickers" {
                self.indexes.extend(update.index.map(|price| (update.symbol.to_owned(), price)));
                continue;
            }
            let has_best = update.bid.is_some() || update.ask.is_some();
            if has_best && !self.best.contains(update.symbol) {
                let StateUpdate { instrument, ts_event, bid, ask, .. } = update;
                let (builder, ts_recv) = rows.stream(instrument, Kind::Quotes, ts_recv);
                builder.quote(&QuoteRow {
                    ts_recv,
                    ts_event: *ts_event,
                    bid: *bid,
                    ask: *ask,
                    venue_seq: None,
                });
            }
            if update.instrument.exchange() != SPOT {
                self.derivative(ts_recv, update, rows);
            }
        }
        Ok(())
    }

    fn derivative(
        &mut self,
        ts_recv: TsNs,
        update: &StateUpdate<'_>,
        rows: &mut ConnectionRows<'_>,
    ) {
        let index = self.indexes.get(&underlying(update.symbol)).copied();
        let known = self.derivatives.entry(update.symbol.to_owned()).or_insert_with(|| {
            let instrument = update.instrument.clone();
            Derivative { instrument, state: TickerState::default(), ts_event: None }
        });
        known.ts_event = known.ts_event.max(update.ts_event);
        let state = &mut known.state;
        state.ts_event(known.ts_event);
        state.index(index);
        state.last(update.last);
        state.mark(update.mark);
        state.open_interest(update.open_interest);
        state.funding_rate(update.funding_rate);
        state.predicted_funding_rate(update.next_funding_rate);
        state.funding_ts(update.funding_ts);
        let (builder, ts_recv) = rows.stream(&known.instrument, Kind::Ticker, ts_recv);
        if let Some(row) = state.take(ts_recv) {
            builder.ticker(&row);
        }
    }
}

impl Waiting {
    fn push(&mut self, update: &str) {
        if self.bytes + update.len() > WAITING_BYTES_MAX {
            // A snapshot that comes now cannot follow on the first update; the sequence shows it.
            *self = Self::default();
        }
        self.bytes += update.len();
        self.updates.push(update.into());
    }
}

impl VenueFeed for Okx {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        if message == b"pong" {
            return Ok(());
        }
        let envelope: Envelope<'_> = json::parse(message)?;
        let (Some(arg), Some(data)) = (&envelope.arg, envelope.data) else {
            // Answers to subscriptions and notices carry an event, failures a code.
            return match envelope.event.is_some() || envelope.code.is_some() {
                true => Ok(()),
                false => {
                    Err(Error::invalid("message: expected event, or arg and data of API version 5"))
                }
            };
        };
        let data = data.get();
        if !arg.channel.starts_with("books") {
            *context.about = About::NoBook;
        }
        let symbol = || {
            let missing = || Error::invalid(format!("channel {}: expected instId", arg.channel));
            arg.symbol.as_deref().ok_or_else(missing)
        };
        match &*arg.channel {
            "books" | "books-l2-tbt" | "books50-l2-tbt" | "books-elp" | "books5" => {
                let symbol = symbol()?;
                *context.about = About::Book(exchange_of(symbol), symbol.to_owned());
                let snapshot = is_snapshot(&arg.channel, envelope.action.as_deref())?;
                let source = BookSource { symbol, channel: &arg.channel, snapshot };
                self.books(context, source, data)
            }
            "bbo-tbt" => {
                let symbol = symbol()?;
                best(context, symbol, data)?;
                if !self.best.contains(symbol) {
                    self.best.insert(symbol.to_owned());
                }
                Ok(())
            }
            "trades" | "trades-all" => trades(context, data),
            "tickers" | "mark-price" | "index-tickers" | "funding-rate" | "open-interest" => {
                self.states(context.ts_recv, &arg.channel, data, &mut context.rows)
            }
            "liquidation-orders" => {
                let orders: Vec<Liquidations<'_>> = json::parse_text(data)?;
                let orders: Vec<_> =
                    orders.iter().map(|order| (&*order.symbol, &order.details[..])).collect();
                liquidations(context, &orders)
            }
            "liquidations" => {
                let details: Vec<Liquidation<'_>> = json::parse_text(data)?;
                liquidations(context, &[(symbol()?, &details)])
            }
            // Candles, price limits, option greeks: nothing that a kind of ours holds.
            _ => Ok(()),
        }
    }

    /// A `market/books` reply is the snapshot of a book that has none.
    fn reply(&mut self, context: &mut Context<'_>, url: &str, body: &[u8]) -> Result<()> {
        let Some(query) = json::query_of(url, "/api/v5/market/books") else { return Ok(()) };
        let symbol = json::query_value(query, "instId")?;
        let reply: Reply<'_> = json::parse(body)?;
        let [data] = &reply.data[..] else {
            return Err(Error::invalid(format!("reply of {url}: expected one book")));
        };
        let snapshot = BookMessage::read(data)?;
        let waiting = self.waiting.remove(symbol).unwrap_or_default();
        let updates = waiting
            .updates
            .iter()
            .map(|text| json::parse_text::<Vec<BookData<'_>>>(text))
            .collect::<Result<Vec<_>>>()?;
        let updates =
            updates.iter().flatten().map(BookMessage::read).collect::<Result<Vec<_>>>()?;
        let (ts_recv, rows) = (context.ts_recv, &mut context.rows);
        let book = context.books.book(exchange_of(symbol), symbol, context.connection)?;
        if book.is_live() {
            return Ok(());
        }
        book_message(book, ts_recv, true, &snapshot, rows);
        let newer = |update: &&BookMessage<'_>| update.seq > snapshot.seq;
        for (index, update) in updates.iter().filter(newer).enumerate() {
            // The first one may have begun before the snapshot.
            if index == 0 && update.previous <= snapshot.seq {
                book.seq = update.previous;
            }
            book_message(book, ts_recv, false, update, rows);
        }
        Ok(())
    }
}

fn is_snapshot(channel: &str, action: Option<&str>) -> Result<bool> {
    match action {
        Some("snapshot") => Ok(true),
        Some("update") => Ok(false),
        None if channel == "books5" => Ok(true),
        other => Err(Error::invalid(format!(
            "action {} of {channel}: expected snapshot or update",
            other.unwrap_or("(none)")
        ))),
    }
}

fn book_message(
    book: &mut FeedBook,
    ts_recv: TsNs,
    snapshot: bool,
    message: &BookMessage<'_>,
    rows: &mut ConnectionRows<'_>,
) {
    let times = (ts_recv, Some(message.ts_event));
    book.follow(rows.inner(), times, snapshot, "prevSeqId", message.previous);
    book.seq = message.seq;
    book.text.apply(snapshot, &message.levels);
    // Levels this deep are never part of a checksum.
    book.text.cut(limit::LEVELS_PER_SIDE_MAX);
    let wrong = match message.checksum {
        Some(expected) if snapshot || book.is_live() => {
            let found = checksum::okx(book.text.bids(), book.text.asks());
            checksum::difference(expected, i64::from(found))
        }
        _ => None,
    };
    let head =
        MessageHead { ts_recv, ts_event: Some(message.ts_event), venue_seq: message.seq, snapshot };
    book.store_checked(rows, head, &message.levels, &[], wrong.as_deref());
}

fn best(context: &mut Context<'_>, symbol: &str, data: &str) -> Result<()> {
    let data: Vec<BookData<'_>> = json::parse_text(data)?;
    let instrument = instrument(symbol)?;
    context.quotes(data.iter().map(|entry| {
        let row = QuoteRow {
            ts_event: Some(entry.ts.ts_ms()?),
            bid: json::first_level(&entry.bids)?,
            ask: json::first_level(&entry.asks)?,
            venue_seq: entry.seq,
            ..QuoteRow::default()
        };
        Ok((instrument.clone(), row))
    }))
}

fn trades(context: &mut Context<'_>, data: &str) -> Result<()> {
    let data: Vec<TradeData<'_>> = json::parse_text(data)?;
    let ts_recv = context.ts_recv;
    let read = data.iter().map(|entry| {
        let row = TradeRow {
            ts_recv,
            ts_event: Some(entry.ts.ts_ms()?),
            side: json::trade_side(&entry.side)?,
            price: entry.px.decimal()?,
            qty: entry.sz.decimal()?,
            trade_id: &entry.id,
        };
        Ok((instrument(&entry.symbol)?, row))
    });
    context.trades(Kind::Trades, read)
}

fn liquidations(context: &mut Context<'_>, orders: &[(&str, &[Liquidation<'_>])]) -> Result<()> {
    let ts_recv = context.ts_recv;
    let each = orders
        .iter()
        .flat_map(|(symbol, details)| details.iter().map(move |detail| (*symbol, detail)));
    let read = each.map(|(symbol, detail)| {
        let row = TradeRow {
            ts_recv,
            ts_event: Some(detail.ts.ts_ms()?),
            side: json::trade_side(&detail.side)?,
            price: detail.price.decimal()?,
            qty: detail.sz.decimal()?,
            trade_id: "",
        };
        Ok((instrument(symbol)?, row))
    });
    context.trades(Kind::Liquidations, read)
}

#[cfg(test)]
mod tests;
