//! Bitfinex, API version 2: spot (`bitfinex`) and perpetual contracts (`bitfinex-derivatives`).
//!
//! Rules from "Books", "Trades", "Ticker", "Status", "Configuration" and "WebSocket Checksum" of
//! docs.bitfinex.com:
//!
//! - A message is an array: the number of a channel, which the answer to its subscription ties to
//!   an instrument (its `pair`), then content; last, where `conf` asked for it, the sequence of the
//!   connection (flag 65536), over all channels, and the time it was sent (flag 32768).
//!   Without the sequence a hole cannot be seen.
//! - Book: precision P0; `[price, count, amount]`, count 0 removes the level, a negative amount is
//!   an ask. A message of many levels is a snapshot. `cs` is the CRC-32, as a signed number, of 25
//!   levels, bid and ask in turn, asks with their sign; a wrong sum is a gap. Raw books and rounded
//!   ones are left out.
//! - Quotes: `ticker`. Its quantities are sums over 25 levels, so they are left out.
//! - Trades: `te`; `tu` says the same again later. The recent ones sent at subscription fill the
//!   hole that a reconnect left.
//! - Ticker: status `deriv:`. Liquidations: status `liq:global`, at the position's base price; the
//!   side is that of the order that closed it. Entries that repeat one as matched are left out.

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
use super::json::{self, Number};
use super::sequence::ConnectionSequences;
use super::ticker::TickerFeed;
use super::trade_ids::{Seen, TradeIds};
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, Side, TradeRow, TradeSide};
use crate::quantity::{Decimal, Instrument, TsNs};

const SPOT: &str = "bitfinex";
const DERIVATIVES: &str = "bitfinex-derivatives";

/// Levels of each side that the checksum covers.
const CHECKSUM_LEVELS: usize = 25;

/// A number at the end of a message from here on is its time in milliseconds, else its sequence.
const FIRST_TIME_MS: i64 = 1_000_000_000_000;

/// Bitfinex in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[SPOT, DERIVATIVES],
    recognise,
    dialect: |_, _| FeedDialect::boxed(Bitfinex::default()),
    live: |exchange| Some(live::feed(exchange == DERIVATIVES)),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "BITFINEX",
        Clue::Url(url) => url.contains(".bitfinex.com/"),
        Clue::Message(message) => {
            let event: Option<Event<'_>> = json::parse(message).ok();
            event.is_some_and(|event| event.number.is_some() && event.event == "subscribed")
        }
    };
    known.then_some(SPOT)
}

/// `BTCF0:USTF0` is a contract, `BTCUSD` and `AVAX:USD` are not.
fn exchange_of(pair: &str) -> &'static str {
    if pair.contains("F0:") { DERIVATIVES } else { SPOT }
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct Bitfinex {
    /// By connection and number.
    channels: HashMap<(u32, i64), Channel>,
    sequences: ConnectionSequences,
    trade_ids: TradeIds,
    states: HashMap<Instrument, TickerFeed>,
}

#[derive(Clone, Debug)]
enum Channel {
    Book(Instrument),
    Trades(Instrument),
    Ticker(Instrument),
    Derivative(Instrument),
    Liquidations,
    Other,
}

/// A message that is an object.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    channel: Option<Cow<'a, str>>,
    #[serde(rename = "chanId")]
    number: Option<i64>,
    pair: Option<Cow<'a, str>>,
    key: Option<Cow<'a, str>>,
    prec: Option<Cow<'a, str>>,
}

/// A message that is an array, taken apart.
struct Message<'a> {
    channel: i64,
    /// `te`, `hb`, `cs`; empty where there is none.
    what: Cow<'a, str>,
    /// Empty for a heartbeat.
    payload: &'a str,
    seq: Option<u64>,
    sent: Option<TsNs>,
    /// Channel and pair, which Tardis adds.
    names: Option<(Cow<'a, str>, Cow<'a, str>)>,
}

/// `[price, count, amount]`
#[derive(Deserialize)]
struct Level<'a>(
    #[serde(borrow)] Number<'a>,
    #[serde(borrow)] Number<'a>,
    #[serde(borrow)] Number<'a>,
);

/// `[id, time, amount, price]`
#[derive(Deserialize)]
struct Trade<'a>(
    #[serde(borrow)] Number<'a>,
    i64,
    #[serde(borrow)] Number<'a>,
    #[serde(borrow)] Number<'a>,
);

/// What a message of a channel holds, as values.
enum Content<'a> {
    Book { instrument: &'a Instrument, snapshot: bool, levels: MessageLevels<'a> },
    Checksum { instrument: &'a Instrument, sum: i64 },
    Trades { instrument: &'a Instrument, again: bool, trades: Vec<(i64, TradeRow<'a>)> },
    Ticker { instrument: &'a Instrument, best: [Option<Decimal>; 4] },
    Derivative { instrument: &'a Instrument, fields: Vec<Option<Number<'a>>> },
    Liquidations(Vec<(Instrument, TradeRow<'a>)>),
    Nothing,
}

impl VenueFeed for Bitfinex {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        if message.trim_ascii_start().first() != Some(&b'[') {
            return self.event(context.connection, &json::parse(message)?);
        }
        let message = Message::read(json::text(message)?)?;
        let channel = self.channel(context.connection, &message);
        *context.about = match &channel {
            Ok(Channel::Book(instrument)) => {
                About::Book(exchange_of(instrument.symbol()), instrument.symbol().to_owned())
            }
            _ => About::NoBook,
        };
        let content = match &channel {
            Ok(channel) => Content::read(channel, &message, context.ts_recv),
            Err(error) => Err(Error::invalid(error.to_string())),
        };
        if let (Err(_), About::NoBook, Some(seq)) = (&content, &*context.about, message.seq) {
            self.sequences.next_if_expected(context.connection, seq);
        }
        let content = content?;
        if let Some(seq) = message.seq {
            self.sequences.next(context, "sequence", seq, message.sent);
        }
        self.store(context, message.sent, content)
    }

    fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.sequences.lost(context.connection);
        self.channels.retain(|(connection, _), _| *connection != context.connection);
        Ok(())
    }
}

impl Bitfinex {
    fn channel(&self, connection: u32, message: &Message<'_>) -> Result<Channel> {
        let number = message.channel;
        match (self.channels.get(&(connection, number)), &message.names) {
            (Some(channel), _) => Ok(channel.clone()),
            (None, Some((name, pair))) => Channel::new(name, pair),
            (None, None) if message.what == "hb" => Ok(Channel::Other),
            (None, None) => {
                Err(Error::invalid(format!("channel {number}: expected one that was subscribed")))
            }
        }
    }

    fn event(&mut self, connection: u32, event: &Event<'_>) -> Result<()> {
        let (Some(number), "subscribed") = (event.number, &*event.event) else {
            if let (Some(number), "unsubscribed") = (event.number, &*event.event) {
                self.channels.remove(&(connection, number));
            }
            return Ok(());
        };
        let name = event.channel.as_deref().unwrap_or_default();
        let exact = event.prec.as_deref().is_none_or(|precision| precision == "P0");
        let channel = match (name, &event.pair, event.key.as_deref()) {
            ("status", _, Some("liq:global")) => Channel::Liquidations,
            ("status", _, Some(key)) => match key.strip_prefix("deriv:t") {
                Some(pair) => Channel::new("status", pair)?,
                None => Channel::Other,
            },
            (name, Some(pair), _) if exact => Channel::new(name, pair)?,
            // Funding currencies have no pair.
            _ => Channel::Other,
        };
        self.channels.insert((connection, number), channel);
        Ok(())
    }

    fn store(
        &mut self,
        context: &mut Context<'_>,
        sent: Option<TsNs>,
        content: Content<'_>,
    ) -> Result<()> {
        match content {
            Content::Book { instrument, snapshot, levels } => {
                let (exchange, symbol) = (exchange_of(instrument.symbol()), instrument.symbol());
                let book = context.books.book(exchange, symbol, context.connection)?;
                if book.takes("book", context.connection, snapshot, false) {
                    let ts_recv = context.ts_recv;
                    let head = MessageHead { ts_recv, ts_event: sent, venue_seq: None, snapshot };
                    book.text.apply(snapshot, &levels);
                    book.store(&mut context.rows, head, &levels, &[]);
                }
            }
            Content::Checksum { instrument, sum } => {
                let (exchange, symbol) = (exchange_of(instrument.symbol()), instrument.symbol());
                let book = context.books.book(exchange, symbol, context.connection)?;
                let bids = book.text.bids().map(|(price, qty)| (price, qty.to_owned()));
                let asks = book.text.asks().map(|(price, qty)| (price, format!("-{qty}")));
                let (bids, asks) = (bids.map(texts), asks.map(texts));
                let found = checksum::interleaved(bids, asks, CHECKSUM_LEVELS).cast_signed();
                let wrong = checksum::difference(sum, i64::from(found));
                if let Some(detail) = wrong.filter(|_| book.is_live()) {
                    book.gap(context.rows.inner(), (context.ts_recv, sent), 0, &detail);
                }
            }
            Content::Trades { instrument, again, trades } => {
                for (id, row) in &trades {
                    if again && self.trade_ids.seen(instrument, *id) != Seen::New {
                        continue;
                    }
                    context.trade(instrument, Kind::Trades, row);
                    self.trade_ids.note(instrument, *id);
                }
            }
            Content::Ticker { instrument, best } => {
                let state = self.states.entry(instrument.clone()).or_default();
                if state.best.is_news(best) {
                    context.quote_values(instrument, sent, best);
                }
            }
            Content::Derivative { instrument, fields } => {
                self.derivative(context, instrument, &fields)?;
            }
            Content::Liquidations(rows) => {
                for (instrument, row) in &rows {
                    context.trade(instrument, Kind::Liquidations, row);
                }
            }
            Content::Nothing => {}
        }
        Ok(())
    }

    /// `[time, _, last, index, _, _, _, next funding time, next rate, _, _, rate, _, _, mark, _, _,
    /// open interest, ...]`; the later ones came with the years.
    fn derivative(
        &mut self,
        context: &mut Context<'_>,
        instrument: &Instrument,
        fields: &[Option<Number<'_>>],
    ) -> Result<()> {
        let field = |at: usize| fields.get(at).copied().flatten();
        let number = |at: usize| json::decimal_or_none(field(at));
        let time = |at: usize| field(at).map(Number::ts_ms).transpose();
        let (last, index, mark) = (number(2)?, number(3)?, number(14)?);
        let (rate, next_rate, next) = (number(11)?, number(8)?, time(7)?);
        let (open_interest, ts_event) = (number(17)?, time(0)?);
        let state = &mut self.states.entry(instrument.clone()).or_default().ticker;
        state.last(last);
        state.index(index);
        state.mark(mark);
        state.funding_rate(rate);
        state.predicted_funding_rate(next_rate);
        state.funding_ts(next);
        state.open_interest(open_interest);
        state.ts_event(ts_event);
        context.ticker(instrument, state);
        Ok(())
    }
}

fn texts((price, qty): (&str, String)) -> (String, String) {
    (price.to_owned(), qty)
}

impl Channel {
    fn new(name: &str, pair: &str) -> Result<Self> {
        let instrument = || Instrument::new(exchange_of(pair), pair);
        Ok(match name {
            "book" => Self::Book(instrument()?),
            "trades" => Self::Trades(instrument()?),
            "ticker" => Self::Ticker(instrument()?),
            "status" => Self::Derivative(instrument()?),
            "liquidations" => Self::Liquidations,
            _ => Self::Other,
        })
    }
}

impl<'a> Message<'a> {
    fn read(message: &'a str) -> Result<Self> {
        let parts: Vec<&'a RawValue> = json::parse_text(message)?;
        let expected = || Error::invalid("message: expected [channel, content, ...]");
        let (channel, rest) = parts.split_first().ok_or_else(expected)?;
        let (first, rest) = rest.split_first().ok_or_else(expected)?;
        let (what, payload, tail) = match first.get().starts_with('"') {
            true => {
                let what: Cow<'a, str> = json::parse_text(first.get())?;
                match (&*what, rest.split_first()) {
                    ("hb", _) => (what, "", rest),
                    (_, Some((payload, tail))) => (what, payload.get(), tail),
                    _ => return Err(expected()),
                }
            }
            false => (Cow::Borrowed(""), first.get(), rest),
        };
        let channel: Number<'a> = json::parse_text(channel.get())?;
        let mut read =
            Self { channel: channel.int()?, what, payload, seq: None, sent: None, names: None };
        let mut tail = tail.iter();
        for part in tail.by_ref() {
            if part.get().starts_with('"') {
                let pair = tail.next().ok_or_else(expected)?;
                read.names = Some((json::parse_text(part.get())?, json::parse_text(pair.get())?));
                break;
            }
            let number: Number<'a> = json::parse_text(part.get())?;
            match number.int()? {
                ms if ms >= FIRST_TIME_MS => read.sent = Some(json::ts_ms(ms)?),
                seq => read.seq = u64::try_from(seq).ok(),
            }
        }
        Ok(read)
    }
}

impl<'a> Content<'a> {
    fn read(channel: &'a Channel, message: &Message<'a>, ts_recv: TsNs) -> Result<Self> {
        let payload = message.payload;
        Ok(match (channel, &*message.what) {
            (_, "hb") | (Channel::Other, _) => Self::Nothing,
            (Channel::Book(instrument), "") => {
                // A snapshot may be empty.
                let many = payload.trim_start_matches(['[', ' ', ']']).is_empty()
                    || payload.starts_with("[[");
                let levels: Vec<Level<'a>> = match many {
                    true => json::parse_text(payload)?,
                    false => vec![json::parse_text(payload)?],
                };
                Self::Book { instrument, snapshot: many, levels: read_levels(&levels)? }
            }
            (Channel::Book(instrument), "cs") => {
                let sum: Number<'a> = json::parse_text(payload)?;
                Self::Checksum { instrument, sum: sum.int()? }
            }
            (Channel::Trades(instrument), what @ ("" | "te")) => {
                let trades: Vec<Trade<'a>> = match what {
                    "te" => vec![json::parse_text(payload)?],
                    _ => json::parse_text(payload)?,
                };
                let mut read = Vec::with_capacity(trades.len());
                for Trade(id, time, amount, price) in trades {
                    let (side, qty) = signed(amount);
                    let row = TradeRow {
                        ts_recv,
                        ts_event: Some(json::ts_ms(time)?),
                        side,
                        price: price.decimal()?,
                        qty: qty.decimal()?,
                        trade_id: id.text(),
                    };
                    read.push((id.int()?, row));
                }
                read.sort_by_key(|(id, _)| *id);
                Self::Trades { instrument, again: what.is_empty(), trades: read }
            }
            (Channel::Trades(_), _) => Self::Nothing,
            (Channel::Ticker(instrument), "") => {
                let fields: Vec<Option<Number<'a>>> = json::parse_text(payload)?;
                let field = |at: usize| fields.get(at).copied().flatten().unwrap_or_default();
                let (bid, ask) = (field(0).decimal_or_none()?, field(2).decimal_or_none()?);
                Self::Ticker { instrument, best: [bid, None, ask, None] }
            }
            (Channel::Derivative(instrument), "") => {
                Self::Derivative { instrument, fields: json::parse_text(payload)? }
            }
            (Channel::Liquidations, "") => {
                let entries: Vec<&RawValue> = json::parse_text(payload)?;
                let rows = entries.iter().map(|entry| read_position(entry.get(), ts_recv));
                Self::Liquidations(
                    rows.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect(),
                )
            }
            (_, what) => return Err(Error::invalid(format!("content {what:?}: not known"))),
        })
    }
}

/// `["pos", id, time, _, symbol, amount, base price, _, is match, ...]`; nothing for a position
/// that was matched after it was shown.
fn read_position(entry: &str, ts_recv: TsNs) -> Result<Option<(Instrument, TradeRow<'_>)>> {
    let fields: Vec<Option<Number<'_>>> = json::parse_text(entry)?;
    let field = |at: usize| {
        let field = fields.get(at).copied().flatten();
        field.ok_or_else(|| Error::invalid(format!("position: expected field {at}")))
    };
    let symbol = field(4)?.text();
    let pair = symbol.strip_prefix('t').unwrap_or(symbol);
    let (held, qty) = signed(field(5)?);
    let row = TradeRow {
        ts_recv,
        ts_event: Some(field(2)?.ts_ms()?),
        side: if held == TradeSide::Buy { TradeSide::Sell } else { TradeSide::Buy },
        price: field(6)?.decimal()?,
        qty: qty.decimal()?,
        trade_id: field(1)?.text(),
    };
    let instrument = Instrument::new(exchange_of(pair), pair)?;
    Ok((field(8)?.int()? == 0).then_some((instrument, row)))
}

/// The side that the sign of an amount stands for, and the amount without it.
fn signed(amount: Number<'_>) -> (TradeSide, Number<'_>) {
    match amount.text().strip_prefix('-') {
        Some(text) => (TradeSide::Sell, Number(text)),
        None => (TradeSide::Buy, amount),
    }
}

fn read_levels<'a>(levels: &[Level<'a>]) -> Result<MessageLevels<'a>> {
    let mut read = MessageLevels::default();
    for Level(price, count, amount) in levels {
        let (side, qty) = match signed(*amount) {
            (TradeSide::Sell, qty) => (Side::Ask, qty),
            (_, qty) => (Side::Bid, qty),
        };
        let qty = if count.int()? == 0 { "0" } else { qty.text() };
        read.push(side, price.text(), qty)?;
    }
    read.check()?;
    Ok(read)
}
