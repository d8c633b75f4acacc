//! Makes batches from rows, one after another.
//!
//! Decimals keep the scale they came with until [`BatchBuilder::finish`] brings each column to one
//! scale, so that a push never fails for the sake of a later row.

use super::batch::{Batch, Column, Values};
use super::schema::{
    Action, FLAG_SNAPSHOT, Kind, Schema, Side, StatusWhat, TradeSide, book, quotes, raw, status,
    ticker, trades,
};
use crate::error::{Error, Result};
use crate::limit;
use crate::quantity::{Decimal, NULL, POW10, TsNs};

/// What a book message says besides its levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageHead {
    /// When the capture received it.
    pub ts_recv: TsNs,
    /// When the venue says it happened.
    pub ts_event: Option<TsNs>,
    /// The venue's sequence number after this message.
    pub venue_seq: Option<i64>,
    /// A venue snapshot: the builder adds the reset row.
    pub snapshot: bool,
}

/// One print or forced order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeRow<'a> {
    /// When the capture received it.
    pub ts_recv: TsNs,
    /// When the venue says it happened.
    pub ts_event: Option<TsNs>,
    /// The aggressor.
    pub side: TradeSide,
    /// Price of the print.
    pub price: Decimal,
    /// Quantity of the print.
    pub qty: Decimal,
    /// The venue's id; empty if there is none.
    pub trade_id: &'a str,
}

/// Best bid and ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuoteRow {
    /// When the capture received it.
    pub ts_recv: TsNs,
    /// When the venue says it happened.
    pub ts_event: Option<TsNs>,
    /// Best bid, price and quantity.
    pub bid: Option<(Decimal, Decimal)>,
    /// Best ask, price and quantity.
    pub ask: Option<(Decimal, Decimal)>,
    /// The venue's sequence number.
    pub venue_seq: Option<i64>,
}

/// State of a derivative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickerRow {
    /// When the capture received it.
    pub ts_recv: TsNs,
    /// When the venue says it happened.
    pub ts_event: Option<TsNs>,
    /// Last trade price.
    pub last: Option<Decimal>,
    /// Mark price.
    pub mark: Option<Decimal>,
    /// Index price.
    pub index: Option<Decimal>,
    /// Funding rate of the current period.
    pub funding_rate: Option<Decimal>,
    /// Funding rate predicted for the next period.
    pub predicted_funding_rate: Option<Decimal>,
    /// When funding is next exchanged.
    pub funding_ts: Option<TsNs>,
    /// Open interest.
    pub open_interest: Option<Decimal>,
}

/// A fact about a connection or stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRow<'a> {
    /// When the capture noticed it.
    pub ts_recv: TsNs,
    /// When the venue says it happened.
    pub ts_event: Option<TsNs>,
    /// What happened.
    pub what: StatusWhat,
    /// Text for a person, e.g. the missing sequence numbers.
    pub detail: &'a str,
}

/// Collects rows of one stream; see the module documentation.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    schema: &'static Schema,
    ends: Vec<u32>,
    columns: Vec<Building>,
    rows: usize,
    open: bool,
}

#[derive(Clone, Debug)]
struct Building {
    values: Values,
    /// Decimal columns: the scale of each value.
    scales: Vec<u8>,
    digits: u8,
}

impl Building {
    fn i64(&mut self, value: i64) {
        if let Values::I64(values) = &mut self.values {
            values.to_mut().push(value);
        }
    }

    fn u8(&mut self, value: u8) {
        if let Values::U8(values) = &mut self.values {
            values.to_mut().push(value);
        }
    }

    fn u8s(&mut self, added: impl Iterator<Item = u8>) {
        if let Values::U8(values) = &mut self.values {
            values.to_mut().extend(added);
        }
    }

    fn decimals(&mut self, added: impl Iterator<Item = Decimal> + Clone) {
        if let Values::I64(values) = &mut self.values {
            values.to_mut().extend(added.clone().map(Decimal::mantissa));
        }
        let mut largest = 0;
        self.scales
            .extend(added.map(Decimal::scale).inspect(|&scale| largest = largest.max(scale)));
        self.digits = self.digits.max(largest);
    }

    fn text(&mut self, value: &[u8]) {
        if let Values::Text(values) = &mut self.values {
            values.push(value);
        }
    }

    fn decimal(&mut self, value: Option<Decimal>) {
        self.i64(value.map_or(NULL, Decimal::mantissa));
        let scale = value.map_or(0, Decimal::scale);
        self.digits = self.digits.max(scale);
        self.scales.push(scale);
    }
}

impl BatchBuilder {
    /// A builder without rows.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let schema = kind.schema();
        let columns = schema
            .columns
            .iter()
            .map(|spec| Building { values: Values::empty(spec.ty), scales: Vec::new(), digits: 0 })
            .collect();
        Self { schema, ends: Vec::new(), columns, rows: 0, open: false }
    }

    /// The kind of the rows.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.schema.kind
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Receive time of the last finished row or message.
    #[must_use]
    pub fn last_ts_recv(&self) -> Option<TsNs> {
        match &self.columns.first()?.values {
            Values::I64(values) => values.last().copied().map(TsNs),
            _ => None,
        }
    }

    /// Begins a book message; a snapshot gets its reset row at once.
    pub fn begin(&mut self, head: MessageHead) {
        debug_assert!(!self.open && self.kind() == Kind::Book);
        self.open = true;
        self.columns[book::TS_RECV].i64(head.ts_recv.0);
        self.columns[book::TS_EVENT].i64(head.ts_event.map_or(NULL, |ts| ts.0));
        self.columns[book::VENUE_SEQ].i64(head.venue_seq.unwrap_or(NULL));
        self.columns[book::FLAGS].u8(if head.snapshot { FLAG_SNAPSHOT } else { 0 });
        if head.snapshot {
            self.book_row(Action::Reset, Side::Bid, Decimal::ZERO, Decimal::ZERO);
        }
    }

    /// Adds "the quantity at this price is now `qty`" to the open message.
    #[inline]
    pub fn level(&mut self, side: Side, price: Decimal, qty: Decimal) {
        self.book_row(Action::Set, side, price, qty);
    }

    /// Adds levels to the open message, as [`BatchBuilder::level`] for each, column by column.
    pub fn levels(&mut self, levels: &[(Side, Decimal, Decimal)]) {
        debug_assert!(self.open, "begin a message first");
        let set = Action::Set as u8;
        self.columns[book::ACTION].u8s(levels.iter().map(|_| set));
        self.columns[book::SIDE].u8s(levels.iter().map(|&(side, _, _)| side as u8));
        self.columns[book::PRICE].decimals(levels.iter().map(|&(_, price, _)| price));
        self.columns[book::QTY].decimals(levels.iter().map(|&(_, _, qty)| qty));
        self.rows += levels.len();
    }

    /// As [`BatchBuilder::level`], from text; keeps the number of digits the venue wrote.
    ///
    /// # Errors
    /// As [`Decimal::parse`]; nothing is added then.
    pub fn level_text(&mut self, side: Side, price: &str, qty: &str) -> Result<()> {
        let (price, price_digits) = Decimal::parse_with_digits(price)?;
        let (qty, qty_digits) = Decimal::parse_with_digits(qty)?;
        self.level(side, price, qty);
        self.digits(book::PRICE, price_digits);
        self.digits(book::QTY, qty_digits);
        Ok(())
    }

    /// Notes that values of a decimal column were written with `digits` decimals.
    pub fn digits(&mut self, column: usize, digits: u8) {
        if let Some(column) = self.columns.get_mut(column) {
            column.digits = column.digits.max(digits);
        }
    }

    /// Adds a reset row to the open message: the book is empty from here.
    pub fn reset(&mut self) {
        self.book_row(Action::Reset, Side::Bid, Decimal::ZERO, Decimal::ZERO);
    }

    /// Adds a gap row to the open message; `missing` messages, 0 if unknown.
    pub fn gap(&mut self, missing: u64) {
        let missing = i64::try_from(missing).ok().and_then(Decimal::from_int);
        self.book_row(Action::Gap, Side::Bid, Decimal::ZERO, missing.unwrap_or(Decimal::ZERO));
    }

    fn book_row(&mut self, action: Action, side: Side, price: Decimal, qty: Decimal) {
        debug_assert!(self.open, "begin a message first");
        self.columns[book::ACTION].u8(action as u8);
        self.columns[book::SIDE].u8(side as u8);
        self.columns[book::PRICE].decimal(Some(price));
        self.columns[book::QTY].decimal(Some(qty));
        self.rows += 1;
    }

    /// Ends the open message. A message without rows leaves no trace.
    pub fn end(&mut self) {
        debug_assert!(self.open, "begin a message first");
        self.open = false;
        let end = u32::try_from(self.rows).unwrap_or(u32::MAX);
        if self.ends.last().copied().unwrap_or(0) == end {
            self.drop_head();
        } else {
            self.ends.push(end);
        }
    }

    /// Forgets the open message and its rows, e.g. because a later part of it cannot be read.
    pub fn abandon(&mut self) {
        debug_assert!(self.open, "begin a message first");
        self.open = false;
        let rows = self.ends.last().copied().unwrap_or(0) as usize;
        for (spec, column) in self.schema.columns.iter().zip(&mut self.columns) {
            if !spec.per_message {
                column.truncate(rows);
            }
        }
        self.rows = rows;
        self.drop_head();
    }

    fn drop_head(&mut self) {
        let messages = self.ends.len();
        for (spec, column) in self.schema.columns.iter().zip(&mut self.columns) {
            if spec.per_message {
                column.truncate(messages);
            }
        }
    }

    /// Adds a print or forced order; the builder's kind is `trades` or `liquidations`.
    pub fn trade(&mut self, row: &TradeRow<'_>) {
        debug_assert!(matches!(self.kind(), Kind::Trades | Kind::Liquidations));
        self.times(row.ts_recv, row.ts_event);
        self.columns[trades::SIDE].u8(row.side as u8);
        self.columns[trades::PRICE].decimal(Some(row.price));
        self.columns[trades::QTY].decimal(Some(row.qty));
        self.columns[trades::TRADE_ID].text(row.trade_id.as_bytes());
    }

    /// Adds a best bid and ask; the builder's kind is `quotes`.
    pub fn quote(&mut self, row: &QuoteRow) {
        let (price, qty) = (|(price, _)| price, |(_, qty)| qty);
        let values = [row.bid.map(price), row.bid.map(qty), row.ask.map(price), row.ask.map(qty)];
        self.quote_values(row.ts_recv, row.ts_event, values, row.venue_seq);
    }

    /// As [`BatchBuilder::quote`] for a venue that names a price without its quantity: bid price,
    /// bid quantity, ask price, ask quantity.
    pub fn quote_values(
        &mut self,
        ts_recv: TsNs,
        ts_event: Option<TsNs>,
        [bid_price, bid_qty, ask_price, ask_qty]: [Option<Decimal>; 4],
        venue_seq: Option<i64>,
    ) {
        debug_assert_eq!(self.kind(), Kind::Quotes);
        self.times(ts_recv, ts_event);
        self.columns[quotes::BID_PRICE].decimal(bid_price);
        self.columns[quotes::BID_QTY].decimal(bid_qty);
        self.columns[quotes::ASK_PRICE].decimal(ask_price);
        self.columns[quotes::ASK_QTY].decimal(ask_qty);
        self.columns[quotes::VENUE_SEQ].i64(venue_seq.unwrap_or(NULL));
    }

    /// Adds the state of a derivative; the builder's kind is `ticker`.
    pub fn ticker(&mut self, row: &TickerRow) {
        debug_assert_eq!(self.kind(), Kind::Ticker);
        self.times(row.ts_recv, row.ts_event);
        self.columns[ticker::LAST].decimal(row.last);
        self.columns[ticker::MARK].decimal(row.mark);
        self.columns[ticker::INDEX].decimal(row.index);
        self.columns[ticker::FUNDING_RATE].decimal(row.funding_rate);
        self.columns[ticker::PREDICTED_FUNDING_RATE].decimal(row.predicted_funding_rate);
        self.columns[ticker::FUNDING_TS].i64(row.funding_ts.map_or(NULL, |ts| ts.0));
        self.columns[ticker::OPEN_INTEREST].decimal(row.open_interest);
    }

    /// Adds a fact about the connection; the builder's kind is `status`.
    pub fn status(&mut self, row: &StatusRow<'_>) {
        debug_assert_eq!(self.kind(), Kind::Status);
        self.times(row.ts_recv, row.ts_event);
        self.columns[status::WHAT].u8(row.what as u8);
        self.columns[status::DETAIL].text(row.detail.as_bytes());
    }

    /// Adds a venue message as it came; the builder's kind is `raw`.
    pub fn raw(&mut self, ts_recv: TsNs, channel: &str, payload: &[u8]) {
        debug_assert_eq!(self.kind(), Kind::Raw);
        self.times(ts_recv, None);
        self.columns[raw::CHANNEL].text(channel.as_bytes());
        self.columns[raw::PAYLOAD].text(payload);
    }

    fn times(&mut self, ts_recv: TsNs, ts_event: Option<TsNs>) {
        self.columns[0].i64(ts_recv.0);
        self.columns[1].i64(ts_event.map_or(NULL, |ts| ts.0));
        self.rows += 1;
    }

    /// The rows as batches, and an empty builder again.
    ///
    /// One batch, unless values of a column do not fit 64 bits at one scale: then the rows are
    /// split between messages. No batch if there are no rows.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] if one message alone does not fit one scale, or has more than
    /// [`limit::MESSAGE_ROWS_MAX`] rows.
    pub fn finish(&mut self) -> Result<Vec<Batch>> {
        debug_assert!(!self.open, "end the message first");
        let next = self.with_same_capacity();
        let built = std::mem::replace(self, next);
        let mut longest = 0;
        let mut start = 0;
        for &end in &built.ends {
            longest = longest.max(end - start);
            start = end;
        }
        if longest as usize > limit::MESSAGE_ROWS_MAX {
            return Err(Error::limit("rows of one message:", longest, limit::MESSAGE_ROWS_MAX));
        }
        let mut batches = Vec::new();
        if built.rows > 0 {
            built.into_batches(&mut batches)?;
        }
        Ok(batches)
    }

    /// A builder without rows, with room for as many as this has.
    fn with_same_capacity(&self) -> Self {
        let mut next = Self::new(self.kind());
        next.ends.reserve(self.ends.len());
        for (next, column) in next.columns.iter_mut().zip(&self.columns) {
            next.scales.reserve(column.scales.len());
            match &mut next.values {
                Values::I64(values) => values.to_mut().reserve(column.values.len()),
                Values::U8(values) => values.to_mut().reserve(column.values.len()),
                Values::Text(_) => {}
            }
        }
        next
    }

    fn messages(&self) -> usize {
        if self.schema.is_grouped() { self.ends.len() } else { self.rows }
    }

    fn into_batches(self, batches: &mut Vec<Batch>) -> Result<()> {
        match self.check_scales() {
            Ok(()) => batches.push(self.into_batch()?),
            Err(error) if self.messages() <= 1 => return Err(error),
            Err(_) => {
                let middle = self.messages() / 2;
                self.part(0..middle).into_batches(batches)?;
                self.part(middle..self.messages()).into_batches(batches)?;
            }
        }
        Ok(())
    }

    /// Whether each decimal column fits one scale.
    fn check_scales(&self) -> Result<()> {
        for (spec, column) in self.schema.columns.iter().zip(&self.columns) {
            column.check_scale().map_err(|error| {
                error.context(format_args!("column {} of {}", spec.name, self.schema.kind))
            })?;
        }
        Ok(())
    }

    fn into_batch(self) -> Result<Batch> {
        let kind = self.kind();
        let columns = self.columns.into_iter().map(|column| Some(column.into_column())).collect();
        Batch::from_parts(kind, self.rows, self.ends.into(), columns)
    }

    /// A copy of some messages.
    fn part(&self, messages: std::ops::Range<usize>) -> Self {
        let row_of = |message: usize| match message.checked_sub(1) {
            Some(before) if self.schema.is_grouped() => self.ends[before],
            _ => message as u32,
        };
        let rows = row_of(messages.start)..row_of(messages.end);
        let ends = match self.schema.is_grouped() {
            true => self.ends[messages.clone()].iter().map(|end| end - rows.start).collect(),
            false => Vec::new(),
        };
        let rows = rows.start as usize..rows.end as usize;
        let columns = self.schema.columns.iter().zip(&self.columns).map(|(spec, column)| {
            column.part(if spec.per_message { messages.clone() } else { rows.clone() })
        });
        Self {
            schema: self.schema,
            ends,
            columns: columns.collect(),
            rows: rows.len(),
            open: false,
        }
    }
}

impl Building {
    fn truncate(&mut self, count: usize) {
        match &mut self.values {
            Values::I64(values) => values.to_mut().truncate(count),
            Values::U8(values) => values.to_mut().truncate(count),
            Values::Text(values) => {
                values.ends.to_mut().truncate(count);
                let end = values.ends.last().copied().unwrap_or(0);
                values.bytes.to_mut().truncate(end as usize);
            }
        }
        self.scales.truncate(count);
    }

    fn part(&self, at: std::ops::Range<usize>) -> Self {
        let scales = self.scales.get(at.clone()).unwrap_or_default().to_vec();
        Self { values: self.values.slice(at), scales, digits: self.digits }
    }

    /// The scale that holds every value exactly.
    fn scale(&self) -> u8 {
        self.scales.iter().copied().max().unwrap_or(0)
    }

    /// Whether every value fits 64 bits at the scale that holds them all.
    fn check_scale(&self) -> Result<()> {
        let Values::I64(mantissas) = &self.values else { return Ok(()) };
        let scale = self.scale();
        let fits = |&(&mantissa, &own): &(&i64, &u8)| {
            let raised = mantissa.checked_mul(POW10[usize::from(scale - own)]);
            mantissa == NULL || raised.is_some_and(|raised| raised != NULL)
        };
        let Some((&mantissa, &own)) = mantissas.iter().zip(&self.scales).find(|it| !fits(it))
        else {
            return Ok(());
        };
        let text = Decimal::new(mantissa, own).map(|value| value.to_string());
        Err(Error::new(
            crate::ErrorKind::Limit,
            format!(
                "value {} does not fit 64 bits beside a value with {scale} decimals",
                text.unwrap_or_default()
            ),
        ))
    }

    /// The values at one scale, which [`Building::check_scale`] says they fit.
    fn into_column(mut self) -> Column {
        let scale = self.scale();
        if self.scales.is_empty() {
            return Column { values: self.values, scale, digits: 0 };
        }
        if let Values::I64(mantissas) = &mut self.values {
            for (mantissa, own) in mantissas.to_mut().iter_mut().zip(&self.scales) {
                if *mantissa != NULL {
                    *mantissa *= POW10[usize::from(scale - own)];
                }
            }
        }
        Column { values: self.values, scale, digits: self.digits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(ts: i64) -> MessageHead {
        MessageHead { ts_recv: TsNs(ts), ..MessageHead::default() }
    }

    #[test]
    fn columns_come_to_the_largest_scale() {
        let mut builder = BatchBuilder::new(Kind::Book);
        builder.begin(head(1));
        builder.level_text(Side::Bid, "10.500", "1").unwrap();
        builder.level_text(Side::Ask, "11", "0.25").unwrap();
        builder.end();

        let batches = builder.finish().unwrap();

        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].i64s(book::PRICE), [105, 110]);
        assert_eq!(batches[0].i64s(book::QTY), [100, 25]);
        assert_eq!(batches[0].column(book::PRICE).unwrap().digits, 3);
        assert!(builder.is_empty());
        assert!(builder.finish().unwrap().is_empty());
    }

    #[test]
    fn values_that_cannot_share_a_scale_are_split_between_messages() {
        let mut builder = BatchBuilder::new(Kind::Book);
        for (ts, price) in [(1, "9000000000000000000"), (2, "0.000001"), (3, "0.5")] {
            builder.begin(head(ts));
            builder.level_text(Side::Bid, price, "1").unwrap();
            builder.end();
        }

        let batches = builder.finish().unwrap();

        assert_eq!(batches.iter().map(Batch::rows).sum::<usize>(), 3);
        assert_eq!(batches[0].i64s(book::PRICE), [9_000_000_000_000_000_000]);

        builder.begin(head(4));
        builder.level_text(Side::Bid, "9000000000000000000", "1").unwrap();
        builder.level_text(Side::Bid, "0.000001", "1").unwrap();
        builder.end();
        let error = builder.finish().unwrap_err();
        assert!(error.to_string().contains("9000000000000000000"), "{error}");
    }

    #[test]
    fn many_levels_at_once_are_as_one_by_one() {
        let decimal = |text: &str| Decimal::parse(text).unwrap();
        let levels = [
            (Side::Bid, decimal("10.5"), decimal("1")),
            (Side::Ask, decimal("11"), decimal("0.25")),
            (Side::Ask, decimal("12"), Decimal::ZERO),
        ];
        let (mut one_by_one, mut at_once) =
            (BatchBuilder::new(Kind::Book), BatchBuilder::new(Kind::Book));
        for ts in 1..3 {
            one_by_one.begin(head(ts));
            at_once.begin(head(ts));
            levels.iter().for_each(|&(side, price, qty)| one_by_one.level(side, price, qty));
            at_once.levels(&levels);
            one_by_one.end();
            at_once.end();
        }

        assert_eq!(at_once.finish().unwrap(), one_by_one.finish().unwrap());
    }

    #[test]
    fn abandoned_and_empty_messages_leave_no_trace() {
        let mut builder = BatchBuilder::new(Kind::Book);
        builder.begin(head(1));
        builder.level_text(Side::Bid, "1", "1").unwrap();
        builder.end();
        builder.begin(head(2));
        builder.level_text(Side::Bid, "2", "1").unwrap();
        assert!(builder.level_text(Side::Bid, "x", "1").is_err());
        builder.abandon();
        builder.begin(head(3));
        builder.end();
        builder.begin(head(4));
        builder.gap(7);
        builder.end();

        let batch = builder.finish().unwrap().pop().unwrap();

        assert_eq!(batch.ts_recv(), [1, 4]);
        assert_eq!(batch.i64s(book::QTY), [1, 7]);
        assert_eq!(batch.u8s(book::ACTION), [Action::Set as u8, Action::Gap as u8]);
    }

    #[test]
    fn a_message_with_too_many_rows_is_refused() {
        let fill = |rows: usize| {
            let mut builder = BatchBuilder::new(Kind::Book);
            builder.begin(head(1));
            (0..rows).for_each(|_| builder.reset());
            builder.end();
            builder.finish()
        };

        assert!(fill(limit::MESSAGE_ROWS_MAX).is_ok());
        let error = fill(limit::MESSAGE_ROWS_MAX + 1).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Limit);
    }

    #[test]
    fn every_kind_of_row_lands_in_its_columns() {
        let one = Decimal::parse("1.5").unwrap();
        let mut builder = BatchBuilder::new(Kind::Quotes);
        builder.quote(&QuoteRow { bid: Some((one, one)), ..QuoteRow::default() });
        let batch = builder.finish().unwrap().pop().unwrap();
        assert_eq!(batch.i64s(quotes::BID_PRICE), [15]);
        assert_eq!(batch.i64s(quotes::ASK_PRICE), [NULL]);
        builder.quote_values(TsNs(1), None, [Some(one), None, None, Some(one)], Some(7));
        let batch = builder.finish().unwrap().pop().unwrap();
        assert_eq!(
            (batch.i64s(quotes::BID_PRICE), batch.i64s(quotes::BID_QTY)),
            (&[15][..], &[NULL][..])
        );
        assert_eq!(batch.i64s(quotes::VENUE_SEQ), [7]);

        let mut builder = BatchBuilder::new(Kind::Trades);
        let trade = TradeRow {
            ts_recv: TsNs(5),
            ts_event: None,
            side: TradeSide::Sell,
            price: one,
            qty: one,
            trade_id: "007",
        };
        builder.trade(&trade);
        assert_eq!(builder.last_ts_recv(), Some(TsNs(5)));
        let batch = builder.finish().unwrap().pop().unwrap();
        assert_eq!(batch.value(0, 0, trades::TRADE_ID), super::super::Value::Text(b"007"));
        assert_eq!(batch.value(0, 0, trades::SIDE), super::super::Value::Code("sell"));
        assert_eq!(batch.value(0, 0, 1), super::super::Value::Null);
    }
}
