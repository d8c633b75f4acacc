//! Kraken spot, WebSocket versions 1 (arrays, quoted numbers) and 2 (objects, bare numbers).
//!
//! - The book is as deep as its subscription: version 1 names the depth in each message, version 2
//!   in the answer to the subscription (else in the subscription itself, else the snapshot tells).
//!   The venue does not say which levels fall out at the far end, so they are dropped here after
//!   each message, and stored as rows that set them to zero at the end of that message.
//! - Every update has a checksum over the best ten levels, in version 2 the snapshot too. It needs
//!   the text with the pair's decimals, so the text is kept as it was sent. A wrong sum is a gap.
//! - There is no sequence. Event time is the newest time of a message's levels in version 1, the
//!   message's own in version 2. Tickers of version 1 have none.
//! - The symbol is the venue's: `XBT/USD` in version 1, `BTC/USD` in version 2. `side` of a trade
//!   is the taker's. The recent trades that version 2 sends at first (`snapshot`) fill the hole
//!   that a reconnect left: those after the last trade seen are stored. Those before the first
//!   subscription are not, as in the vendor's own normaliser.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::checksum;
use super::connection::ConnectionRows;
use super::feed_book::{About, FeedBook};
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json::{self, Number};
use super::trade_ids::{Seen, TradeIds};
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, QuoteRow, TradeRow, TradeSide};
use crate::limit;
use crate::quantity::{Decimal, Instrument, TsNs};

use self::message::{
    BookData, BookMessage, BookPart, Envelope, Event, Spread, Subscribe, Ticker, TickerData, Trade,
    TradeData,
};

mod live;
mod message;

const EXCHANGE: &str = "kraken";

/// Depths that can be subscribed to.
const DEPTHS: [usize; 5] = [10, 25, 100, 500, 1000];

/// Kraken in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| FeedDialect::boxed(Kraken::default()),
    live: |_| Some(&live::Live),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "KRAKEN",
        // Futures are another venue: futures.kraken.com.
        Clue::Url(url) => {
            let hosts = ["//ws.kraken.com", "//ws-auth.kraken.com", "//api.kraken.com"];
            hosts.iter().any(|host| url.contains(host))
        }
        Clue::Message(message) => is_book(message),
    };
    known.then_some(EXCHANGE)
}

/// Whether it is a book message of version 1, which nobody else writes like this.
fn is_book(message: &[u8]) -> bool {
    let Ok(parts) = json::parse::<Vec<&RawValue>>(message) else { return false };
    matches!(&parts[..], [_, .., channel, symbol]
        if channel.get().starts_with("\"book-") && symbol.get().contains('/'))
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct Kraken {
    /// Subscribed depth by symbol, version 2.
    depths: HashMap<String, usize>,
    /// Trades of version 2.
    trade_ids: TradeIds,
}

impl Kraken {
    /// `[channel id, payload, ..., channel name, pair]`
    fn message_v1(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let parts: Vec<&RawValue> = json::parse(message)?;
        let [_, payloads @ .., channel, symbol] = &parts[..] else {
            return Err(Error::invalid("message: expected [id, payload, channel, pair]"));
        };
        let channel: Cow<'_, str> = json::parse_text(channel.get())?;
        let symbol: Cow<'_, str> = json::parse_text(symbol.get())?;
        let first = || {
            let missing = || Error::invalid(format!("channel {channel}: expected a payload"));
            payloads.first().map(|payload| payload.get()).ok_or_else(missing)
        };
        if let Some(depth) = channel.strip_prefix("book") {
            *context.about = About::Book(EXCHANGE, symbol.clone().into_owned());
            let depth = match depth.strip_prefix('-').map(str::parse::<usize>) {
                Some(Ok(depth)) if DEPTHS.contains(&depth) => depth,
                _ => {
                    return Err(Error::invalid(format!(
                        "channel {channel:?}: expected book- and a depth of {DEPTHS:?}"
                    )));
                }
            };
            let parts = payloads
                .iter()
                .filter(|payload| payload.get() != "null")
                .map(|payload| json::parse_text::<BookPart<'_>>(payload.get()))
                .collect::<Result<Vec<_>>>()?;
            let message = BookMessage::read_v1(&parts)?;
            return book(context, (&symbol, &channel), depth, &message);
        }
        *context.about = About::NoBook;
        match &*channel {
            "trade" => trades_v1(context, &symbol, first()?),
            "ticker" => ticker_v1(context, &symbol, first()?),
            "spread" => spread_v1(context, &symbol, first()?),
            // Candles.
            _ => Ok(()),
        }
    }

    fn book_v2(&mut self, context: &mut Context<'_>, snapshot: bool, data: &str) -> Result<()> {
        let data: Vec<BookData<'_>> = json::parse_text(data)?;
        if let [one] = &data[..] {
            *context.about = About::Book(EXCHANGE, one.symbol.clone().into_owned());
        }
        let messages = data
            .iter()
            .map(|entry| BookMessage::read_v2(entry, snapshot))
            .collect::<Result<Vec<_>>>()?;
        for (entry, message) in data.iter().zip(&messages) {
            if snapshot && !self.depths.contains_key(&*entry.symbol) {
                let longer = entry.bids.len().max(entry.asks.len());
                let depth = DEPTHS.into_iter().find(|&depth| depth >= longer);
                self.depths.extend(depth.map(|depth| (entry.symbol.clone().into_owned(), depth)));
            }
            let depth =
                self.depths.get(&*entry.symbol).copied().unwrap_or(limit::LEVELS_PER_SIDE_MAX);
            let place = (&*entry.symbol, "book");
            book(context, place, depth, message)?;
        }
        Ok(())
    }

    fn trades_v2(&mut self, context: &mut Context<'_>, snapshot: bool, data: &str) -> Result<()> {
        let data: Vec<TradeData<'_>> = json::parse_text(data)?;
        let mut trades = Vec::with_capacity(data.len());
        for entry in &data {
            let row = TradeRow {
                ts_recv: context.ts_recv,
                ts_event: Some(TsNs::parse(&entry.timestamp)?),
                side: trade_side(&entry.side)?,
                price: entry.price.decimal()?,
                qty: entry.qty.decimal()?,
                trade_id: entry.trade_id.text(),
            };
            let instrument = Instrument::new(EXCHANGE, &entry.symbol)?;
            trades.push((instrument, entry.trade_id.int()?, row));
        }
        trades.sort_by_key(|&(_, id, _)| id);
        for (instrument, id, row) in &trades {
            if snapshot && self.trade_ids.seen(instrument, *id) != Seen::New {
                continue;
            }
            context.trade(instrument, Kind::Trades, row);
            self.trade_ids.note(instrument, *id);
        }
        Ok(())
    }
}

impl VenueFeed for Kraken {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        if message.trim_ascii_start().first() == Some(&b'[') {
            return self.message_v1(context, message);
        }
        let envelope: Envelope<'_> = json::parse(message)?;
        if let (Some(channel), Some(data)) = (&envelope.channel, envelope.data) {
            let snapshot = envelope.ty.as_deref() == Some("snapshot");
            if channel != "book" {
                *context.about = About::NoBook;
            }
            return match &**channel {
                "book" => self.book_v2(context, snapshot, data.get()),
                "trade" => self.trades_v2(context, snapshot, data.get()),
                "ticker" => ticker_v2(context, data.get()),
                // Status, instruments, candles.
                _ => Ok(()),
            };
        }
        if let Some(answer) = envelope.result
            && answer.channel.as_deref() == Some("book")
            && let (Some(symbol), Some(depth)) = (answer.symbol, answer.depth)
        {
            self.depths.insert(symbol.into_owned(), depth);
        }
        if envelope.channel.is_some() || envelope.method.is_some() {
            return Ok(());
        }
        let event: Event<'_> = json::parse(message)?;
        match event.event.is_empty() {
            true => Err(Error::invalid("event: expected a name")),
            false => Ok(()),
        }
    }

    /// Learns the depth of a version 2 book from its subscription.
    fn sent(&mut self, message: &[u8]) {
        let Ok(Subscribe { params }) = json::parse::<Subscribe<'_>>(message) else { return };
        if params.channel == "book" {
            let depth = params.depth.unwrap_or(10);
            self.depths.extend(params.symbol.into_iter().map(|symbol| (symbol, depth)));
        }
    }
}

fn book(
    context: &mut Context<'_>,
    (symbol, channel): (&str, &str),
    depth: usize,
    message: &BookMessage<'_>,
) -> Result<()> {
    let book = context.books.book(EXCHANGE, symbol, context.connection)?;
    if book.takes(channel, context.connection, message.snapshot, false) {
        store(book, context.ts_recv, depth, message, &mut context.rows);
    }
    Ok(())
}

fn store(
    book: &mut FeedBook,
    ts_recv: TsNs,
    depth: usize,
    message: &BookMessage<'_>,
    rows: &mut ConnectionRows<'_>,
) {
    let BookMessage { levels, ts_event, snapshot, .. } = message;
    book.text.apply(*snapshot, levels);
    let dropped = book.text.cut(depth);
    let wrong = match message.checksum {
        Some(expected) if *snapshot || book.is_live() => {
            checksum::difference(expected, checksum::kraken(book.text.bids(), book.text.asks()))
        }
        _ => None,
    };
    let head = MessageHead { ts_recv, ts_event: *ts_event, venue_seq: None, snapshot: *snapshot };
    book.store_checked(rows, head, levels, &dropped, wrong.as_deref());
}

fn trades_v1(context: &mut Context<'_>, symbol: &str, payload: &str) -> Result<()> {
    let trades: Vec<Trade<'_>> = json::parse_text(payload)?;
    let instrument = Instrument::new(EXCHANGE, symbol)?;
    let ts_recv = context.ts_recv;
    let read = trades.iter().map(|Trade(price, qty, time, side, ..)| {
        let row = TradeRow {
            ts_recv,
            ts_event: Some(json::ts_seconds(time.text())?),
            side: trade_side(side)?,
            price: price.decimal()?,
            qty: qty.decimal()?,
            trade_id: "",
        };
        Ok((instrument.clone(), row))
    });
    context.trades(Kind::Trades, read)
}

fn ticker_v1(context: &mut Context<'_>, symbol: &str, payload: &str) -> Result<()> {
    let Ticker { ask, bid } = json::parse_text(payload)?;
    let quote = read_quote(None, symbol, (bid.0, bid.2), (ask.0, ask.2));
    context.quotes(quote.transpose().into_iter())
}

fn spread_v1(context: &mut Context<'_>, symbol: &str, payload: &str) -> Result<()> {
    let Spread(bid, ask, time, bid_qty, ask_qty) = json::parse_text(payload)?;
    let ts_event = json::ts_seconds(time.text())?;
    let quote = read_quote(Some(ts_event), symbol, (bid, bid_qty), (ask, ask_qty));
    context.quotes(quote.transpose().into_iter())
}

fn ticker_v2(context: &mut Context<'_>, data: &str) -> Result<()> {
    let data: Vec<TickerData<'_>> = json::parse_text(data)?;
    let read = data.iter().map(|entry| {
        let ts_event = entry.timestamp.as_deref().map(TsNs::parse).transpose()?;
        let (bid, ask) = ((entry.bid, entry.bid_qty), (entry.ask, entry.ask_qty));
        read_quote(ts_event, &entry.symbol, bid, ask)
    });
    context.quotes(read.filter_map(Result::transpose))
}

/// Best prices; `None` of a market without orders.
fn read_quote(
    ts_event: Option<TsNs>,
    symbol: &str,
    bid: (Number<'_>, Number<'_>),
    ask: (Number<'_>, Number<'_>),
) -> Result<Option<(Instrument, QuoteRow)>> {
    // A side without orders is all zeros.
    let level = |(price, qty): (Number<'_>, Number<'_>)| -> Result<Option<(Decimal, Decimal)>> {
        let (price, qty) = (price.decimal()?, qty.decimal()?);
        Ok((!price.is_zero() && !qty.is_zero()).then_some((price, qty)))
    };
    let (bid, ask) = (level(bid)?, level(ask)?);
    let row = QuoteRow { ts_event, bid, ask, ..QuoteRow::default() };
    let quote = (Instrument::new(EXCHANGE, symbol)?, row);
    Ok((bid.is_some() || ask.is_some()).then_some(quote))
}

fn trade_side(side: &str) -> Result<TradeSide> {
    match side {
        "b" => Ok(TradeSide::Buy),
        "s" => Ok(TradeSide::Sell),
        _ => json::trade_side(side),
    }
}

#[cfg(test)]
mod tests;
