//! Coinbase: Advanced Trade and the older Exchange (Pro) feed of the same market.
//!
//! Both name the same products and are stored as the same instruments. Advanced Trade counts every
//! message of a connection, over all channels: a hole is a gap in every book of that connection.
//! The Exchange feed has no sequence on its book; there only a message that could not be read is a
//! known gap.
//!
//! `side` of a print is the *maker's* order in both feeds, so the aggressor stored is the other
//! side. The Exchange documentation says so of `match` ("side indicates the maker order side"); of
//! 76 prints of a recorded Advanced Trade feed that were at the best bid or ask of their moment, 75
//! agree.
//!
//! Prints sent at subscription (`last_match`, `market_trades` of type `snapshot`) are stored if
//! they are newer than the last print of their product: nothing twice after a reconnect.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::connection::ConnectionRows;
use super::feed_dialect::{Context, FeedDialect, VenueFeed};
use super::json::{self, Number};
use super::sequence::ConnectionSequences;
use super::trade_ids::{Seen, TradeIds};
use super::venue::{Clue, Venue};
use crate::error::{Error, Result};
use crate::event::{Kind, TradeRow, TradeSide};
use crate::quantity::{Instrument, TsNs};

mod advanced;
mod exchange;
mod live;

const EXCHANGE: &str = "coinbase";

/// Coinbase in the table of venues.
pub(super) const VENUE: Venue = Venue {
    exchanges: &[EXCHANGE],
    recognise,
    dialect: |_, _| FeedDialect::boxed(Coinbase::default()),
    live: |_| Some(&live::Live),
};

fn recognise(clue: &Clue<'_>) -> Option<&'static str> {
    let known = match clue {
        Clue::CaptureName(name) => matches!(*name, "COINBASE" | "COINBASE_PRO"),
        // The international exchange is another venue: international.coinbase.com.
        Clue::Url(url) => {
            let hosts = [
                "advanced-trade-ws.coinbase.com",
                "ws-feed.pro.coinbase.com",
                "ws-feed.exchange.coinbase.com",
                "//api.coinbase.com",
                "//api.pro.coinbase.com",
                "//api.exchange.coinbase.com",
            ];
            hosts.iter().any(|host| url.contains(host))
        }
        Clue::Message(message) => {
            let heads: [&[u8]; 3] = [
                br#"{"channel":"l2_data","timestamp":"#,
                br#"{"type":"snapshot","product_id":"#,
                br#"{"type":"l2update","product_id":"#,
            ];
            heads.iter().any(|head| message.starts_with(head))
        }
    };
    known.then_some(EXCHANGE)
}

/// The dialect; see the module documentation.
#[derive(Debug, Default)]
struct Coinbase {
    /// `sequence_num` of Advanced Trade.
    sequences: ConnectionSequences,
    trade_ids: TradeIds,
    /// Last time of a book message by product, Exchange.
    times: HashMap<String, TsNs>,
}

/// What tells the two feeds and their messages apart.
#[derive(Deserialize)]
struct Envelope<'a> {
    channel: Option<Cow<'a, str>>,
    timestamp: Option<Cow<'a, str>>,
    sequence_num: Option<u64>,
    #[serde(borrow)]
    events: Option<&'a RawValue>,
    #[serde(rename = "type")]
    ty: Option<Cow<'a, str>>,
}

/// A print of either feed.
#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow)]
    trade_id: Number<'a>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    size: Number<'a>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// [`Trade`] as values.
struct Print<'a> {
    instrument: Instrument,
    id: i64,
    row: TradeRow<'a>,
}

impl<'a> Print<'a> {
    fn read(trade: &Trade<'a>, ts_recv: TsNs) -> Result<Self> {
        Ok(Self {
            instrument: Instrument::new(EXCHANGE, &trade.product_id)?,
            id: trade.trade_id.int()?,
            row: TradeRow {
                ts_recv,
                ts_event: time(&trade.time)?,
                side: aggressor(&trade.side)?,
                price: trade.price.decimal()?,
                qty: trade.size.decimal()?,
                trade_id: trade.trade_id.text(),
            },
        })
    }
}

impl Coinbase {
    /// Stores prints, oldest first. Those `again` sent at subscription only if they are new.
    fn prints(&mut self, mut prints: Vec<Print<'_>>, again: bool, rows: &mut ConnectionRows<'_>) {
        prints.sort_by_key(|print| print.id);
        for Print { instrument, id, row } in &prints {
            if again && self.trade_ids.seen(instrument, *id) == Seen::Old {
                continue;
            }
            let (builder, ts_recv) = rows.stream(instrument, Kind::Trades, row.ts_recv);
            builder.trade(&TradeRow { ts_recv, ..*row });
            self.trade_ids.note(instrument, *id);
        }
    }
}

impl VenueFeed for Coinbase {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        match (&envelope.channel, &envelope.ty) {
            (Some(channel), _) => self.advanced(context, channel, &envelope),
            (None, Some(ty)) => self.exchange(context, ty, message),
            (None, None) => Err(Error::invalid("message: expected channel or type")),
        }
    }

    fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.sequences.lost(context.connection);
        Ok(())
    }
}

/// The aggressor of a print whose maker's order is on `side`.
fn aggressor(side: &str) -> Result<TradeSide> {
    match side {
        "buy" | "BUY" => Ok(TradeSide::Sell),
        "sell" | "SELL" => Ok(TradeSide::Buy),
        "UNKNOWN_ORDER_SIDE" => Ok(TradeSide::Unknown),
        _ => Err(Error::invalid(format!("side {side:?}: expected buy or sell"))),
    }
}

/// The time in `text`, or nothing where the venue writes one before 1970 (`0001-01-01T00:00:00Z`).
fn time(text: &str) -> Result<Option<TsNs>> {
    if text.starts_with('0') {
        return Ok(None);
    }
    Ok(Some(TsNs::parse(text)?).filter(|time| time.0 > 0))
}

#[cfg(test)]
mod tests;
