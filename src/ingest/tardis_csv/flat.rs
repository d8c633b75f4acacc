//! Data types of which one line is one row: trades, liquidations, quotes, tickers.
//!
//! Every field is read before the builder is touched, so a bad line leaves no trace.

use super::fields::{Fields, Row};
use crate::error::Result;
use crate::event::{BatchBuilder, Kind, QuoteRow, TickerRow, TradeRow, quotes, ticker, trades};
use crate::ingest::{Rows, StreamHint};
use crate::quantity::{Decimal, Instrument, TsNs};

/// A decimal and the decimals it was written with.
type Written = (Decimal, u8);

/// Where a line's row goes.
pub(super) struct Target<'a> {
    pub(super) rows: &'a mut Rows,
    pub(super) hint: &'a mut StreamHint,
    pub(super) instrument: &'a Instrument,
    pub(super) kind: Kind,
}

impl<'a> Target<'a> {
    fn builder(self, ts_recv: TsNs) -> (&'a mut BatchBuilder, TsNs) {
        self.rows.stream_at(self.hint, self.instrument, self.kind, ts_recv)
    }
}

/// Adds a line of `trades` or `liquidations`.
pub(super) fn trade(row: &Row<'_>, fields: &Fields<'_>, target: Target<'_>) -> Result<()> {
    const ID: usize = 4;
    const SIDE: usize = 5;
    const PRICE: usize = 6;
    const AMOUNT: usize = 7;
    let trade_id = fields.text(ID)?;
    let side = fields.trade_side(SIDE)?;
    let (price, price_digits) = fields.decimal(PRICE)?;
    let (qty, qty_digits) = fields.amount(AMOUNT)?;

    let (builder, ts_recv) = target.builder(row.ts_recv);
    let ts_event = row.ts_event;
    builder.trade(&TradeRow { ts_recv, ts_event, side, price, qty, trade_id });
    builder.digits(trades::PRICE, price_digits);
    builder.digits(trades::QTY, qty_digits);
    Ok(())
}

/// Adds a line of `quotes` or `book_ticker`.
pub(super) fn quote(row: &Row<'_>, fields: &Fields<'_>, target: Target<'_>) -> Result<()> {
    const ASK_AMOUNT: usize = 4;
    const ASK_PRICE: usize = 5;
    const BID_PRICE: usize = 6;
    const BID_AMOUNT: usize = 7;
    let ask = level(fields, ASK_PRICE, ASK_AMOUNT)?;
    let bid = level(fields, BID_PRICE, BID_AMOUNT)?;

    let (builder, ts_recv) = target.builder(row.ts_recv);
    builder.quote(&QuoteRow {
        ts_recv,
        ts_event: row.ts_event,
        bid: bid.map(|(price, qty)| (price.0, qty.0)),
        ask: ask.map(|(price, qty)| (price.0, qty.0)),
        venue_seq: None,
    });
    for (level, price_column, qty_column) in
        [(bid, quotes::BID_PRICE, quotes::BID_QTY), (ask, quotes::ASK_PRICE, quotes::ASK_QTY)]
    {
        if let Some(((_, price_digits), (_, qty_digits))) = level {
            builder.digits(price_column, price_digits);
            builder.digits(qty_column, qty_digits);
        }
    }
    Ok(())
}

/// Price and amount of one side; both or neither must be there.
fn level(fields: &Fields<'_>, price: usize, amount: usize) -> Result<Option<(Written, Written)>> {
    match (fields.maybe_decimal(price)?, fields.maybe_amount(amount)?) {
        (Some(price), Some(qty)) => Ok(Some((price, qty))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(fields.expected(price, "a price, as there is an amount")),
        (Some(_), None) => Err(fields.expected(amount, "an amount, as there is a price")),
    }
}

/// Adds a line of `derivative_ticker`.
pub(super) fn ticker(row: &Row<'_>, fields: &Fields<'_>, target: Target<'_>) -> Result<()> {
    const FUNDING_TIMESTAMP: usize = 4;
    /// Slot and column of each decimal.
    const DECIMALS: [(usize, usize); 6] = [
        (5, ticker::FUNDING_RATE),
        (6, ticker::PREDICTED_FUNDING_RATE),
        (7, ticker::OPEN_INTEREST),
        (8, ticker::LAST),
        (9, ticker::INDEX),
        (10, ticker::MARK),
    ];
    let funding_ts = fields.time(FUNDING_TIMESTAMP)?;
    let mut values: [Option<Written>; DECIMALS.len()] = [None; DECIMALS.len()];
    for (value, (slot, _)) in values.iter_mut().zip(DECIMALS) {
        *value = fields.maybe_decimal(slot)?;
    }
    let [funding_rate, predicted_funding_rate, open_interest, last, index, mark] =
        values.map(|value| value.map(|(decimal, _)| decimal));

    let (builder, ts_recv) = target.builder(row.ts_recv);
    builder.ticker(&TickerRow {
        ts_recv,
        ts_event: row.ts_event,
        last,
        mark,
        index,
        funding_rate,
        predicted_funding_rate,
        funding_ts,
        open_interest,
    });
    for (value, (_, column)) in values.into_iter().zip(DECIMALS) {
        if let Some((_, digits)) = value {
            builder.digits(column, digits);
        }
    }
    Ok(())
}
