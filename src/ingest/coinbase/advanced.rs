//! Advanced Trade: `l2_data`, `market_trades`, `ticker`; everything else only counts.
//!
//! Event time of a book message is the newest `event_time` of its levels: when the matching engine
//! changed them, as `time` is in the Exchange feed; the message's own `timestamp` is when it was
//! sent. A ticker has only the latter.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Coinbase, EXCHANGE, Envelope, Print, Trade, time};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, Side};
use crate::ingest::feed_book::{About, MessageLevels};
use crate::ingest::feed_dialect::Context;
use crate::ingest::json::{self, Number};
use crate::quantity::{Decimal, Instrument, TsNs};

#[derive(Deserialize)]
struct BookEvent<'a> {
    #[serde(borrow, rename = "type")]
    ty: Cow<'a, str>,
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow)]
    updates: Vec<Update<'a>>,
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    event_time: Cow<'a, str>,
    #[serde(borrow)]
    price_level: Number<'a>,
    #[serde(borrow)]
    new_quantity: Number<'a>,
}

#[derive(Deserialize)]
struct TradesEvent<'a> {
    #[serde(borrow, rename = "type")]
    ty: Cow<'a, str>,
    #[serde(borrow)]
    trades: Vec<Trade<'a>>,
}

#[derive(Deserialize)]
struct TickersEvent<'a> {
    #[serde(borrow)]
    tickers: Vec<Ticker<'a>>,
}

#[derive(Deserialize)]
struct Ticker<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow)]
    best_bid: Option<Number<'a>>,
    #[serde(borrow)]
    best_bid_quantity: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask_quantity: Option<Number<'a>>,
}

/// The events of one message, as values.
enum Events<'a> {
    Book(Vec<BookMessage<'a>>),
    /// Prints, and whether they are recent ones sent at subscription.
    Trades(Vec<(bool, Vec<Print<'a>>)>),
    Quotes(Vec<(Instrument, [Option<Decimal>; 4])>),
    Other,
}

struct BookMessage<'a> {
    product: String,
    snapshot: bool,
    ts_event: Option<TsNs>,
    levels: MessageLevels<'a>,
}

impl Coinbase {
    pub(super) fn advanced(
        &mut self,
        context: &mut Context<'_>,
        channel: &str,
        envelope: &Envelope<'_>,
    ) -> Result<()> {
        let (ts_recv, connection) = (context.ts_recv, context.connection);
        let missing = |field: &str| Error::invalid(format!("channel {channel}: expected {field}"));
        let seq = envelope.sequence_num.ok_or_else(|| missing("sequence_num"))?;
        let events = envelope.events.ok_or_else(|| missing("events"))?.get();
        let sent = envelope.timestamp.as_deref().ok_or_else(|| missing("timestamp"))?;
        let read = time(sent).and_then(|sent| Ok((sent, Events::read(channel, events, ts_recv)?)));
        if read.is_err() && channel != "l2_data" {
            // It held no book: one unread print or quote must not make the books stale.
            *context.about = About::NoBook;
            self.sequences.next_if_expected(connection, seq);
        }
        let (sent, events) = read?;
        self.sequences.next(context, "sequence_num", seq, sent);
        let venue_seq = i64::try_from(seq).ok();
        match events {
            Events::Book(messages) => {
                for message in &messages {
                    let head = MessageHead {
                        ts_recv,
                        ts_event: message.ts_event.or(sent),
                        venue_seq,
                        snapshot: message.snapshot,
                    };
                    let book = context.books.book(EXCHANGE, &message.product, connection)?;
                    if book.takes(channel, connection, message.snapshot, false) {
                        book.store(&mut context.rows, head, &message.levels, &[]);
                    }
                }
            }
            Events::Trades(events) => {
                for (again, prints) in events {
                    self.prints(prints, again, &mut context.rows);
                }
            }
            Events::Quotes(quotes) => {
                for (instrument, values) in &quotes {
                    let (builder, ts_recv) = context.rows.stream(instrument, Kind::Quotes, ts_recv);
                    builder.quote_values(ts_recv, sent, *values, venue_seq);
                }
            }
            Events::Other => {}
        }
        Ok(())
    }
}

impl<'a> Events<'a> {
    fn read(channel: &str, text: &'a str, ts_recv: TsNs) -> Result<Self> {
        match channel {
            "l2_data" => {
                let events: Vec<BookEvent<'a>> = json::parse_text(text)?;
                events.iter().map(BookMessage::read).collect::<Result<_>>().map(Self::Book)
            }
            "market_trades" => {
                let events: Vec<TradesEvent<'a>> = json::parse_text(text)?;
                let mut read = Vec::with_capacity(events.len());
                for event in &events {
                    let prints = event.trades.iter().map(|trade| Print::read(trade, ts_recv));
                    read.push((event.ty == "snapshot", prints.collect::<Result<_>>()?));
                }
                Ok(Self::Trades(read))
            }
            "ticker" | "ticker_batch" => {
                let events: Vec<TickersEvent<'a>> = json::parse_text(text)?;
                let tickers = events.iter().flat_map(|event| &event.tickers);
                tickers.map(quote).collect::<Result<_>>().map(Self::Quotes)
            }
            // Heartbeats, candles, subscriptions, product status.
            _ => Ok(Self::Other),
        }
    }
}

impl<'a> BookMessage<'a> {
    fn read(event: &BookEvent<'a>) -> Result<Self> {
        let snapshot = match &*event.ty {
            "snapshot" => true,
            "update" => false,
            other => {
                return Err(Error::invalid(format!(
                    "type {other:?} of l2_data: expected snapshot or update"
                )));
            }
        };
        Instrument::new(EXCHANGE, &event.product_id)?;
        let mut levels = MessageLevels::default();
        let mut ts_event = None;
        let mut before = "";
        for update in &event.updates {
            let side = match &*update.side {
                "bid" => Side::Bid,
                "offer" => Side::Ask,
                other => {
                    return Err(Error::invalid(format!("side {other:?}: expected bid or offer")));
                }
            };
            levels.push(side, update.price_level.text(), update.new_quantity.text())?;
            // Thousands of levels share one time.
            if *update.event_time != *before {
                ts_event = ts_event.max(time(&update.event_time)?);
                before = &update.event_time;
            }
        }
        levels.check()?;
        Ok(Self { product: event.product_id.to_string(), snapshot, ts_event, levels })
    }
}

fn quote(ticker: &Ticker<'_>) -> Result<(Instrument, [Option<Decimal>; 4])> {
    let values = [
        json::decimal_or_none(ticker.best_bid)?,
        json::decimal_or_none(ticker.best_bid_quantity)?,
        json::decimal_or_none(ticker.best_ask)?,
        json::decimal_or_none(ticker.best_ask_quantity)?,
    ];
    Ok((Instrument::new(EXCHANGE, &ticker.product_id)?, values))
}
