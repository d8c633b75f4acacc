//! Books over time as record batches: their best levels, or what is measured on them.
//!
//! A row is a book at a moment. Exact numbers are decimals of one scale per stream, ratios are
//! doubles; where there is no value it is null. The contract of the service (`ReplayBooks`,
//! `ReplayMetrics`) lists the columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, FixedSizeListArray, Float64Array, Int64Array, NullBufferBuilder,
    RecordBatch, TimestampNanosecondArray, UInt8Array, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, SchemaRef, TimeUnit};

use super::schema::{DecimalAs, META_EXCHANGE, META_SYMBOL, UTC};
use crate::book::{Book, State, Tracker};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Side;
use crate::quantity::{Instrument, POW10, TsNs};

/// What a row says of a book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookColumns {
    /// This many levels of each side, best first.
    Levels(usize),
    /// Best levels, mid, spread, microprice; depth and imbalance of the first so many levels each.
    Metrics(Vec<usize>),
}

/// Books of one stream, gathered to record batches of one schema.
#[derive(Debug)]
pub struct BookTable {
    schema: SchemaRef,
    columns: BookColumns,
    decimals: DecimalAs,
    price_scale: u8,
    qty_scale: u8,
    rows: usize,
    ts_recv: Vec<i64>,
    ts_event: Values<i64>,
    venue_seq: Values<i64>,
    state: Vec<u8>,
    missing: Vec<u64>,
    exact: Vec<Values<i128>>,
    ratios: Vec<Values<f64>>,
    walk: Walk,
}

/// A column that may have no value in some rows.
#[derive(Debug)]
struct Values<T> {
    values: Vec<T>,
    known: NullBufferBuilder,
}

impl<T: Default> Values<T> {
    fn new() -> Self {
        Self { values: Vec::new(), known: NullBufferBuilder::new(0) }
    }

    #[inline]
    fn push(&mut self, value: Option<T>) {
        self.known.append(value.is_some());
        self.values.push(value.unwrap_or_default());
    }

    fn take(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        (std::mem::take(&mut self.values), self.known.finish())
    }
}

/// The numbers of levels that metrics are of, so that one walk down a side serves all of them.
#[derive(Debug, Default)]
struct Walk {
    /// The numbers, rising, and the place of each among the columns.
    levels: Vec<usize>,
    columns: Vec<usize>,
    /// Sums of quantities: of the bids, then of the asks.
    sums: Vec<i128>,
}

impl Walk {
    fn new(columns: &BookColumns) -> Self {
        let BookColumns::Metrics(levels) = columns else { return Self::default() };
        let mut columns: Vec<usize> = (0..levels.len()).collect();
        columns.sort_by_key(|&at| levels.get(at));
        let levels = columns.iter().filter_map(|&at| levels.get(at).copied()).collect();
        Self { levels, columns, sums: Vec::new() }
    }
}

/// The form of a column after the first five.
enum Form {
    /// One number of a scale.
    Exact(u8),
    /// So many numbers of a scale.
    List(u8, usize),
    Ratio,
}

impl BookTable {
    /// An empty table for the book of `instrument`, whose prices and quantities have at most these
    /// scales.
    #[must_use]
    pub fn new(
        instrument: &Instrument,
        columns: BookColumns,
        scales: (u8, u8),
        decimals: DecimalAs,
    ) -> Self {
        let (price_scale, qty_scale) = scales;
        let time = || DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()));
        let mut fields = vec![
            Field::new("ts_recv", time(), false),
            Field::new("ts_event", time(), true),
            Field::new("venue_seq", DataType::Int64, true),
            Field::new("state", DataType::UInt8, false),
            Field::new("missing", DataType::UInt64, false),
        ];
        let forms = forms(&columns, price_scale, qty_scale);
        let (mut exact, mut ratios) = (Vec::new(), Vec::new());
        for (name, form) in &forms {
            fields.push(Field::new(name, form.data_type(decimals), true));
            match form {
                Form::Ratio => ratios.push(Values::new()),
                _ => exact.push(Values::new()),
            }
        }
        let metadata = [(META_EXCHANGE, instrument.exchange()), (META_SYMBOL, instrument.symbol())];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self {
            schema: Arc::new(Schema::new(fields).with_metadata(metadata.into())),
            walk: Walk::new(&columns),
            columns,
            decimals,
            price_scale,
            qty_scale,
            rows: 0,
            ts_recv: Vec::new(),
            ts_event: Values::new(),
            venue_seq: Values::new(),
            state: Vec::new(),
            missing: Vec::new(),
            exact,
            ratios,
        }
    }

    /// The schema of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that wait to be taken.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of a row, about.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        let lists = match &self.columns {
            BookColumns::Levels(depth) => depth * self.exact.len(),
            BookColumns::Metrics(_) => self.exact.len(),
        };
        40 + lists * 16 + self.ratios.len() * 8
    }

    /// Adds the book as it is, at `ts`.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] if its numbers have more decimals than the table was made for.
    pub fn push(&mut self, ts: TsNs, tracker: &Tracker) -> Result<()> {
        let book = tracker.book();
        let units =
            (unit(self.price_scale, book.price_scale())?, unit(self.qty_scale, book.qty_scale())?);
        self.rows += 1;
        self.ts_recv.push(ts.0);
        self.ts_event.push(tracker.ts_event().map(|ts| ts.0));
        self.venue_seq.push(tracker.venue_seq());
        let (state, missing) = match tracker.state() {
            State::Live => (1, 0),
            State::Stale { missing, .. } => (2, missing),
            State::Empty => (3, 0),
        };
        self.state.push(state);
        self.missing.push(missing);
        match &self.columns {
            BookColumns::Levels(depth) => push_levels(&mut self.exact, book, *depth, units),
            BookColumns::Metrics(_) => self.push_metrics(book, units),
        }
        Ok(())
    }

    fn push_metrics(&mut self, book: &Book, units: (i128, i128)) {
        let Self { exact, ratios, walk, .. } = self;
        let [bid_price, bid_qty, ask_price, ask_qty, mid, spread, depths @ ..] = &mut exact[..]
        else {
            return;
        };
        let [spread_bps, microprice, imbalances @ ..] = &mut ratios[..] else { return };
        let best = |side| book.best(side).map(|(p, q)| (i128::from(p), i128::from(q)));
        let (bid, ask) = (best(Side::Bid), best(Side::Ask));
        for (best, price, qty) in [(bid, bid_price, bid_qty), (ask, ask_price, ask_qty)] {
            price.push(best.map(|(price, _)| price * units.0));
            qty.push(best.map(|(_, qty)| qty * units.1));
        }
        let both = bid.zip(ask);
        // Half of a sum is five of the next smaller unit.
        mid.push(both.map(|((bid, _), (ask, _))| (bid + ask) * 5 * units.0));
        spread.push(both.map(|((bid, _), (ask, _))| (ask - bid) * units.0));
        spread_bps.push(book.spread_bps());
        microprice.push(book.microprice());
        walk.sums.clear();
        book.qty_sums(Side::Bid, &walk.levels, &mut walk.sums);
        book.qty_sums(Side::Ask, &walk.levels, &mut walk.sums);
        let (bids, asks) = walk.sums.split_at(walk.levels.len());
        for (&at, (&bids, &asks)) in walk.columns.iter().zip(bids.iter().zip(asks)) {
            let depth = depths.get_mut(2 * at..2 * at + 2).unwrap_or_default();
            let [bid_depth, ask_depth] = depth else { continue };
            bid_depth.push(bid.map(|_| bids * units.1));
            ask_depth.push(ask.map(|_| asks * units.1));
            let sum = both.map(|_| bids + asks).filter(|sum| *sum != 0);
            if let Some(imbalance) = imbalances.get_mut(at) {
                imbalance.push(sum.map(|sum| (bids - asks) as f64 / sum as f64));
            }
        }
    }

    /// The rows gathered so far; none are left.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if a number does not fit its column.
    pub fn take(&mut self) -> Result<RecordBatch> {
        let zoned = |array: TimestampNanosecondArray| array.with_timezone(UTC);
        let (events, events_known) = self.ts_event.take();
        let events = TimestampNanosecondArray::try_new(events.into(), events_known);
        let (seqs, seqs_known) = self.venue_seq.take();
        let seqs = Int64Array::try_new(seqs.into(), seqs_known);
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(zoned(TimestampNanosecondArray::from(std::mem::take(&mut self.ts_recv)))),
            Arc::new(zoned(events.map_err(not_built)?)),
            Arc::new(seqs.map_err(not_built)?),
            Arc::new(UInt8Array::from(std::mem::take(&mut self.state))),
            Arc::new(UInt64Array::from(std::mem::take(&mut self.missing))),
        ];
        let (mut exact, mut ratios) = (self.exact.iter_mut(), self.ratios.iter_mut());
        for (_, form) in forms(&self.columns, self.price_scale, self.qty_scale) {
            let next = match form {
                Form::Ratio => ratios.next().map(|ratios| {
                    let (values, known) = ratios.take();
                    let array = Float64Array::try_new(values.into(), known).map_err(not_built)?;
                    Ok(Arc::new(array) as ArrayRef)
                }),
                Form::Exact(scale) => {
                    exact.next().map(|values| numbers(values.take(), scale, self.decimals))
                }
                Form::List(scale, depth) => exact.next().map(|values| {
                    let values = numbers(values.take(), scale, self.decimals)?;
                    lists(values, depth)
                }),
            };
            arrays.extend(next.transpose()?);
        }
        self.rows = 0;
        RecordBatch::try_new(self.schema.clone(), arrays).map_err(not_built)
    }
}

impl Form {
    fn data_type(&self, decimals: DecimalAs) -> DataType {
        let number = |scale: u8| match decimals {
            DecimalAs::Decimal128 => {
                DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale.cast_signed())
            }
            DecimalAs::Float64 => DataType::Float64,
        };
        match *self {
            Self::Exact(scale) => number(scale),
            Self::Ratio => DataType::Float64,
            Self::List(scale, depth) => {
                let item = Field::new("item", number(scale), true);
                DataType::FixedSizeList(Arc::new(item), i32::try_from(depth).unwrap_or(i32::MAX))
            }
        }
    }
}

/// The columns after the first five.
fn forms(columns: &BookColumns, price_scale: u8, qty_scale: u8) -> Vec<(String, Form)> {
    let mut forms: Vec<(String, Form)> = Vec::new();
    match columns {
        BookColumns::Levels(depth) => {
            for side in ["bid", "ask"] {
                forms.push((format!("{side}_price"), Form::List(price_scale, *depth)));
                forms.push((format!("{side}_qty"), Form::List(qty_scale, *depth)));
            }
        }
        BookColumns::Metrics(levels) => {
            for side in ["bid", "ask"] {
                forms.push((format!("{side}_price"), Form::Exact(price_scale)));
                forms.push((format!("{side}_qty"), Form::Exact(qty_scale)));
            }
            forms.push(("mid".to_owned(), Form::Exact(price_scale + 1)));
            forms.push(("spread".to_owned(), Form::Exact(price_scale)));
            forms.push(("spread_bps".to_owned(), Form::Ratio));
            forms.push(("microprice".to_owned(), Form::Ratio));
            for levels in levels {
                forms.push((format!("bid_depth_{levels}"), Form::Exact(qty_scale)));
                forms.push((format!("ask_depth_{levels}"), Form::Exact(qty_scale)));
                forms.push((format!("imbalance_{levels}"), Form::Ratio));
            }
        }
    }
    forms
}

/// What a mantissa of scale `from` is multiplied with to have scale `to`.
fn unit(to: u8, from: u8) -> Result<i128> {
    let digits = to.checked_sub(from).ok_or_else(|| {
        let text = format!("the book has {from} decimals now, {to} when it was opened");
        Error::new(ErrorKind::Stale, text)
    })?;
    Ok(i128::from(POW10.get(usize::from(digits)).copied().unwrap_or(1)))
}

fn push_levels(
    columns: &mut [Values<i128>],
    book: &Book,
    depth: usize,
    (price_unit, qty_unit): (i128, i128),
) {
    for (side, columns) in [Side::Bid, Side::Ask].into_iter().zip(columns.chunks_mut(2)) {
        let [prices, qtys] = columns else { continue };
        let mut levels = book.levels(side);
        for _ in 0..depth {
            let level = levels.next();
            prices.push(level.map(|(price, _)| i128::from(price) * price_unit));
            qtys.push(level.map(|(_, qty)| i128::from(qty) * qty_unit));
        }
    }
}

fn numbers(
    (values, known): (Vec<i128>, Option<NullBuffer>),
    scale: u8,
    decimals: DecimalAs,
) -> Result<ArrayRef> {
    match decimals {
        DecimalAs::Float64 => {
            let unit = 10f64.powi(i32::from(scale));
            let near: Vec<f64> = values.into_iter().map(|value| value as f64 / unit).collect();
            Ok(Arc::new(Float64Array::try_new(near.into(), known).map_err(not_built)?))
        }
        DecimalAs::Decimal128 => {
            let exact = Decimal128Array::try_new(values.into(), known).map_err(not_built)?;
            let exact = exact
                .with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale.cast_signed())
                .map_err(not_built)?;
            Ok(Arc::new(exact))
        }
    }
}

fn lists(values: ArrayRef, depth: usize) -> Result<ArrayRef> {
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    let depth = i32::try_from(depth).unwrap_or(i32::MAX);
    let lists = FixedSizeListArray::try_new(item, depth, values, None).map_err(not_built)?;
    Ok(Arc::new(lists))
}

fn not_built(error: arrow::error::ArrowError) -> Error {
    Error::invalid(format!("a table of books cannot be made: {error}"))
}
