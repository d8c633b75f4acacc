//! The Exchange (Pro) feed: `snapshot`, `l2update`, `match` and `last_match`, `ticker`.
//!
//! A snapshot may have no time. In rare cases the venue writes year 1 as the time of an update; its
//! event time is then that of the product's last book message, as in the vendor's own normaliser.
//! So is the rule for levels of a snapshot whose quantity is negative or no number
//! (`"0.-10000"`): they are left out, and a `status` row says which.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Coinbase, EXCHANGE, Print, time};
use crate::error::Result;
use crate::event::{Kind, MessageHead, Side, StatusWhat};
use crate::ingest::connection::ConnectionRows;
use crate::ingest::feed_book::{About, MessageLevels};
use crate::ingest::feed_dialect::Context;
use crate::ingest::json::{self, Level, Number};
use crate::quantity::{Decimal, Instrument, TsNs};

/// The name under which books of this feed are known, beside those of Advanced Trade.
const CHANNEL: &str = "level2";

#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    #[serde(borrow)]
    asks: Vec<Level<'a>>,
    time: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// `[side, price, qty]`
#[derive(Deserialize)]
struct Change<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Number<'a>,
    #[serde(borrow)] Number<'a>,
);

#[derive(Deserialize)]
struct Ticker<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    sequence: Option<i64>,
    #[serde(borrow)]
    best_bid: Option<Number<'a>>,
    #[serde(borrow)]
    best_bid_size: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask: Option<Number<'a>>,
    #[serde(borrow)]
    best_ask_size: Option<Number<'a>>,
    time: Option<Cow<'a, str>>,
}

impl Coinbase {
    pub(super) fn exchange(
        &mut self,
        context: &mut Context<'_>,
        ty: &str,
        message: &[u8],
    ) -> Result<()> {
        match ty {
            "snapshot" => self.snapshot(context, &json::parse(message)?),
            "l2update" => self.update(context, &json::parse(message)?),
            "match" | "last_match" => {
                *context.about = About::NoBook;
                let print = Print::read(&json::parse(message)?, context.ts_recv)?;
                self.prints(vec![print], ty == "last_match", &mut context.rows);
                Ok(())
            }
            "ticker" => {
                *context.about = About::NoBook;
                ticker(context.ts_recv, &json::parse(message)?, &mut context.rows)
            }
            // Subscriptions, heartbeats, errors, and the order events of the full channel.
            _ => Ok(()),
        }
    }

    fn snapshot(&mut self, context: &mut Context<'_>, snapshot: &Snapshot<'_>) -> Result<()> {
        *context.about = About::Book(EXCHANGE, snapshot.product_id.to_string());
        let ts_event = snapshot.time.as_deref().map_or(Ok(None), time)?;
        let mut levels = MessageLevels::default();
        let mut left_out = Vec::new();
        for (side, sent) in [(Side::Bid, &snapshot.bids), (Side::Ask, &snapshot.asks)] {
            for level in sent {
                match level.qty.decimal() {
                    Ok(qty) if qty >= Decimal::ZERO => {
                        levels.push(side, level.price.text(), level.qty.text())?;
                    }
                    _ => left_out.push(level),
                }
            }
        }
        levels.check()?;
        let (ts_recv, connection) = (context.ts_recv, context.connection);
        let head = MessageHead { ts_recv, ts_event, venue_seq: None, snapshot: true };
        let book = context.books.book(EXCHANGE, &snapshot.product_id, connection)?;
        if !book.takes(CHANNEL, connection, true, false) {
            return Ok(());
        }
        book.store(&mut context.rows, head, &levels, &[]);
        for level in left_out {
            let (price, qty) = (level.price.text(), level.qty.text());
            let detail = format!("snapshot: level {price} left out, quantity {qty:?}");
            let rows = context.rows.inner();
            rows.status(&book.instrument, ts_recv, ts_event, StatusWhat::Gap, &detail);
        }
        self.times.extend(ts_event.map(|time| (snapshot.product_id.to_string(), time)));
        Ok(())
    }

    fn update(&mut self, context: &mut Context<'_>, update: &Update<'_>) -> Result<()> {
        *context.about = About::Book(EXCHANGE, update.product_id.to_string());
        let mut levels = MessageLevels::default();
        for Change(side, price, qty) in &update.changes {
            levels.push(json::book_side(side)?, price.text(), qty.text())?;
        }
        levels.check()?;
        let sent = time(&update.time)?;
        let ts_event = sent.or_else(|| self.times.get(&*update.product_id).copied());
        let (ts_recv, connection) = (context.ts_recv, context.connection);
        let head = MessageHead { ts_recv, ts_event, venue_seq: None, snapshot: false };
        let book = context.books.book(EXCHANGE, &update.product_id, connection)?;
        if book.takes(CHANNEL, connection, false, false) {
            book.store(&mut context.rows, head, &levels, &[]);
        }
        match (self.times.get_mut(&*update.product_id), ts_event) {
            (Some(last), Some(ts_event)) => *last = ts_event,
            (None, Some(ts_event)) => {
                self.times.insert(update.product_id.to_string(), ts_event);
            }
            (_, None) => {}
        }
        Ok(())
    }
}

fn ticker(ts_recv: TsNs, ticker: &Ticker<'_>, rows: &mut ConnectionRows<'_>) -> Result<()> {
    let instrument = Instrument::new(EXCHANGE, &ticker.product_id)?;
    let ts_event = ticker.time.as_deref().map_or(Ok(None), time)?;
    let values = [
        json::decimal_or_none(ticker.best_bid)?,
        json::decimal_or_none(ticker.best_bid_size)?,
        json::decimal_or_none(ticker.best_ask)?,
        json::decimal_or_none(ticker.best_ask_size)?,
    ];
    if values.iter().any(Option::is_some) {
        let (builder, ts_recv) = rows.stream(&instrument, Kind::Quotes, ts_recv);
        builder.quote_values(ts_recv, ts_event, values, ticker.sequence);
    }
    Ok(())
}
