//! Huobi (HTX) spot.
//!
//! Rules from "Websocket Market Data" of huobiapi.github.io/docs/spot/v1/en:
//!
//! - Every frame is gzip; text is read as well, as recorders unpack it.
//! - Book: `depth.step0` and `mbp.refresh` show the whole book each time, as deep as it is shown;
//!   what changed is stored. `mbp` brings changes, each naming the `seqNum` of the one before as
//!   `prevSeqNum`; the snapshot is asked for on the same connection (`req`) and spliced in.
//!   A message is refused whose quantities no 64-bit number of one scale holds beside each other.
//!   In a recorded feed one level does that in each of two markets: 3307.9982700421942 beside
//!   5993289.85 (66 bits) in all 31 books of `xvgeth`, 436947.11845272494 beside 173416332.4693
//!   (64 bits) in 14 of the 31 of `fil3susdt`, where the venue's `amount-precision` is 2 and 4
//!   decimals. The digits beyond are neither zeros nor nines: what the number was before the
//!   venue's own arithmetic cannot be known, and nothing is rounded.
//! - Tardis recorded what changed in `depth.step0` itself and marked it with `update`.
//! - Quotes: `bbo`. Trades: `trade.detail`; `direction` is the taker's. A subscription begins with
//!   the last trade, which is left out where it was seen before.
//! - The symbol is in lower case: `btcusdt`.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Read;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::feed_book::{About, MessageLevels};
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json::{self, Level, Number};
use super::splice::{Part, SplicedBooks};
use super::trade_ids::{Seen, TradeIds};
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, QuoteRow, TradeRow};
use crate::limit;
use crate::quantity::{Instrument, TsNs};

const EXCHANGE: &str = "huobi";

/// Huobi in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| {
        FeedDialect::boxed(Huobi {
            books: SplicedBooks::new(read_changes, "prevSeqNum + 1"),
            trading: HashSet::new(),
            trade_ids: TradeIds::default(),
        })
    },
    live: |_| None,
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => *name == "HUOBI",
        // Derivatives are other venues: api.hbdm.com.
        Clue::Url(url) => url.contains(".huobi.pro/"),
        Clue::Message(message) => {
            let message = unpack(message).ok()?;
            let envelope: Envelope<'_> = json::parse(&message).ok()?;
            let symbol = envelope.channel().map(|(symbol, _)| symbol);
            symbol.is_some_and(|symbol| {
                symbol.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            })
        }
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug)]
struct Huobi {
    books: SplicedBooks,
    /// Connection and symbol of trades seen.
    trading: HashSet<(u32, String)>,
    trade_ids: TradeIds,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    /// What was subscribed to.
    ch: Option<Cow<'a, str>>,
    /// What was asked for.
    rep: Option<Cow<'a, str>>,
    /// When it was sent.
    ts: Option<i64>,
    #[serde(borrow)]
    tick: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    update: bool,
}

/// A whole book, or changes of `depth.step0`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Depth<'a> {
    ts: Option<i64>,
    #[serde(alias = "version")]
    seq_num: Option<i64>,
    #[serde(borrow)]
    bids: Option<Vec<Level<'a>>>,
    #[serde(borrow)]
    asks: Option<Vec<Level<'a>>>,
}

/// A message of changes.
#[derive(Deserialize)]
struct Changes<'a> {
    ts: i64,
    #[serde(borrow)]
    tick: ChangesTick<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangesTick<'a> {
    seq_num: i64,
    prev_seq_num: i64,
    #[serde(borrow)]
    bids: Option<Vec<Level<'a>>>,
    #[serde(borrow)]
    asks: Option<Vec<Level<'a>>>,
}

#[derive(Deserialize)]
struct Trades<'a> {
    #[serde(borrow)]
    data: Vec<Trade<'a>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    /// Longer than 64 bits.
    #[serde(borrow)]
    id: Number<'a>,
    /// Rising; since 2019.
    #[serde(rename = "tradeId", borrow)]
    trade_id: Option<Number<'a>>,
    ts: i64,
    #[serde(borrow)]
    direction: Cow<'a, str>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    amount: Number<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Best<'a> {
    seq_id: Option<i64>,
    quote_time: i64,
    #[serde(borrow)]
    bid: Option<Number<'a>>,
    #[serde(borrow)]
    bid_size: Option<Number<'a>>,
    #[serde(borrow)]
    ask: Option<Number<'a>>,
    #[serde(borrow)]
    ask_size: Option<Number<'a>>,
}

impl Envelope<'_> {
    /// Symbol and name of the channel: `market.btcusdt.trade.detail` is `trade.detail` of
    /// `btcusdt`. `None` for pings and answers.
    fn channel(&self) -> Option<(&str, &str)> {
        let channel = self.ch.as_deref().or(self.rep.as_deref())?;
        channel.strip_prefix("market.")?.split_once('.')
    }
}

impl VenueFeed for Huobi {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let message = unpack(message)?;
        let text = json::text(&message)?;
        let envelope: Envelope<'_> = json::parse_text(text)?;
        let Some((symbol, channel)) = envelope.channel() else { return Ok(()) };
        let missing = |field: &str| Error::invalid(format!("channel {channel}: expected {field}"));
        let tick = || envelope.tick.map(RawValue::get).ok_or_else(|| missing("tick"));
        let is_whole = channel == "depth.step0" || channel.starts_with("mbp.refresh.");
        let is_book = is_whole || channel.starts_with("mbp.");
        *context.about = match is_book {
            true => About::Book(EXCHANGE, symbol.to_owned()),
            false => About::NoBook,
        };
        if envelope.ch.is_none() {
            // An answer that says that there is nothing has no data.
            return match envelope.data.filter(|_| is_book && !is_whole) {
                Some(data) => self.snapshot(context, (symbol, channel), envelope.ts, data.get()),
                None => Ok(()),
            };
        }
        match channel {
            _ if is_whole => depth(context, (symbol, channel), &envelope, tick()?),
            _ if is_book => self.books.changes(context, (EXCHANGE, symbol), channel, text),
            "trade.detail" => self.trades(context, symbol, &json::parse_text(tick()?)?),
            "bbo" => best(context, symbol, &json::parse_text(tick()?)?),
            // Candles, statistics, books with rounded prices.
            _ => Ok(()),
        }
    }

    fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.trading.retain(|(connection, _)| *connection != context.connection);
        self.books.lost(context)
    }

    fn finish(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.books.finish(context)
    }
}

impl Huobi {
    fn snapshot(
        &mut self,
        context: &mut Context<'_>,
        (symbol, channel): (&str, &str),
        sent: Option<i64>,
        data: &str,
    ) -> Result<()> {
        let snapshot: Depth<'_> = json::parse_text(data)?;
        let last = snapshot.seq_num.ok_or_else(|| Error::invalid("answer: expected seqNum"))?;
        let ts_event = sent.map(json::ts_ms).transpose()?;
        let levels = levels(&snapshot.bids, &snapshot.asks)?;
        let book = context.books.book(EXCHANGE, symbol, context.connection)?;
        if !book.channel.is_empty() && book.channel != channel {
            return Ok(());
        }
        let part = Part { first: None, last, ts_event, levels };
        self.books.snapshot(context, (EXCHANGE, symbol), Some(channel), &part)
    }

    fn trades(
        &mut self,
        context: &mut Context<'_>,
        symbol: &str,
        trades: &Trades<'_>,
    ) -> Result<()> {
        let instrument = Instrument::new(EXCHANGE, symbol)?;
        let mut read = Vec::with_capacity(trades.data.len());
        for trade in &trades.data {
            let row = TradeRow {
                ts_recv: context.ts_recv,
                ts_event: Some(json::ts_ms(trade.ts)?),
                side: json::trade_side(&trade.direction)?,
                price: trade.price.decimal()?,
                qty: trade.amount.decimal()?,
                trade_id: trade.trade_id.unwrap_or(trade.id).text(),
            };
            read.push((trade.trade_id.map(Number::int).transpose()?, row));
        }
        read.sort_by_key(|(id, _)| *id);
        let again = self.trading.insert((context.connection, symbol.to_owned()));
        for (id, row) in &read {
            let seen = id.map_or(Seen::First, |id| self.trade_ids.seen(&instrument, id));
            if again && seen == Seen::Old {
                continue;
            }
            context.trade(&instrument, Kind::Trades, row);
            if let Some(id) = id {
                self.trade_ids.note(&instrument, *id);
            }
        }
        Ok(())
    }
}

/// The message in a frame.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if the frame breaks off or is damaged; [`crate::ErrorKind::Limit`]
/// if it holds more than [`limit::UNPACKED_BYTES_MAX`].
fn unpack(frame: &[u8]) -> Result<Cow<'_, [u8]>> {
    if !frame.starts_with(b"\x1f\x8b") {
        return Ok(Cow::Borrowed(frame));
    }
    let bytes_max = limit::UNPACKED_BYTES_MAX;
    let mut message = Vec::with_capacity(frame.len().saturating_mul(4).min(bytes_max));
    let unpacked = flate2::bufread::GzDecoder::new(frame)
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut message)
        .map_err(|error| Error::invalid(format!("frame: expected gzip: {error}")))?;
    if unpacked > bytes_max {
        return Err(Error::limit("bytes of one message, unpacked:", unpacked, bytes_max));
    }
    Ok(Cow::Owned(message))
}

fn levels<'a>(
    bids: &Option<Vec<Level<'a>>>,
    asks: &Option<Vec<Level<'a>>>,
) -> Result<MessageLevels<'a>> {
    let [bids, asks] = [bids, asks].map(|side| side.as_deref().unwrap_or_default());
    MessageLevels::of(bids, asks)
}

fn read_changes(message: &str) -> Result<Part<'_>> {
    let Changes { ts, tick } = json::parse_text(message)?;
    let levels = levels(&tick.bids, &tick.asks)?;
    let first = Some(tick.prev_seq_num.saturating_add(1));
    Ok(Part { first, last: tick.seq_num, ts_event: Some(json::ts_ms(ts)?), levels })
}

fn depth(
    context: &mut Context<'_>,
    (symbol, channel): (&str, &str),
    envelope: &Envelope<'_>,
    tick: &str,
) -> Result<()> {
    let tick: Depth<'_> = json::parse_text(tick)?;
    let levels = levels(&tick.bids, &tick.asks)?;
    let ts_event: Option<TsNs> = tick.ts.or(envelope.ts).map(json::ts_ms).transpose()?;
    let (whole, connection) = (!envelope.update, context.connection);
    let book = context.books.book(EXCHANGE, symbol, connection)?;
    if !book.takes(channel, connection, whole, false) {
        return Ok(());
    }
    let ts_recv = context.ts_recv;
    let head = MessageHead { ts_recv, ts_event, venue_seq: tick.seq_num, snapshot: whole };
    if whole {
        book.store_whole(&mut context.rows, head, &levels);
    } else {
        book.store(&mut context.rows, head, &levels, &[]);
        book.text.apply(false, &levels);
    }
    Ok(())
}

fn best(context: &mut Context<'_>, symbol: &str, best: &Best<'_>) -> Result<()> {
    let number = json::decimal_or_none;
    let row = QuoteRow {
        ts_event: Some(json::ts_ms(best.quote_time)?),
        bid: number(best.bid)?.zip(number(best.bid_size)?),
        ask: number(best.ask)?.zip(number(best.ask_size)?),
        venue_seq: best.seq_id,
        ..QuoteRow::default()
    };
    context.quote(&Instrument::new(EXCHANGE, symbol)?, &row);
    Ok(())
}
