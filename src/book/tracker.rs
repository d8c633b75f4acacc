//! A book that follows the messages of a stream, and knows whether it can be trusted.

use std::ops::Range;

use super::{Book, does_not_fit};
use crate::error::{Error, Result};
use crate::event::{Action, Batch, Kind, Side, book};
use crate::limit;
use crate::quantity::{NULL, POW10, TsNs};

/// Whether a book can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No reset and no gap was seen yet: levels may be missing.
    #[default]
    Empty,
    /// Everything since the last reset was seen.
    Live,
    /// Messages are missing since the last reset.
    Stale {
        /// Receive time of the message that held the first gap after the last reset.
        since: TsNs,
        /// How many messages are missing, all gaps together; 0 if any gap does not say.
        missing: u64,
    },
}

impl State {
    /// The state after one more gap.
    fn after_gap(self, ts_recv: TsNs, missing: u64) -> Self {
        match self {
            Self::Stale { since, missing: before } => {
                let known = before != 0 && missing != 0;
                let missing = if known { before.saturating_add(missing) } else { 0 };
                Self::Stale { since, missing }
            }
            Self::Empty | Self::Live => Self::Stale { since: ts_recv, missing },
        }
    }
}

/// A whole book as a checkpoint holds it; what [`Tracker::restore`] begins from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checkpoint<'a> {
    /// Decimals of the prices.
    pub price_scale: u8,
    /// Decimals of the quantities.
    pub qty_scale: u8,
    /// Bid prices, the highest first.
    pub bid_prices: &'a [i64],
    /// Quantity at each bid price; none is 0.
    pub bid_qtys: &'a [i64],
    /// Ask prices, the lowest first.
    pub ask_prices: &'a [i64],
    /// Quantity at each ask price; none is 0.
    pub ask_qtys: &'a [i64],
    /// Whether the book could be trusted.
    pub state: State,
    /// Receive time of the last message before the checkpoint.
    pub ts_recv: Option<TsNs>,
    /// Event time of the last message before the checkpoint.
    pub ts_event: Option<TsNs>,
    /// Venue sequence of the last message before the checkpoint.
    pub venue_seq: Option<i64>,
}

/// A [`Book`] that messages are applied to, with its state and times: what a replay keeps.
///
/// A reset row empties the levels and makes the book live; a gap row makes it stale until the next
/// reset. So a message of a reset and a gap leaves an empty, stale book. Set rows change levels in
/// every state: a stale book is the best guess there is, and says that it is one.
#[derive(Clone, Debug)]
pub struct Tracker {
    book: Book,
    state: State,
    ts_recv: i64,
    ts_event: i64,
    venue_seq: i64,
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new()
    }
}

impl Tracker {
    /// An empty book before the first message.
    #[must_use]
    pub fn new() -> Self {
        Self {
            book: Book::new(),
            state: State::Empty,
            ts_recv: NULL,
            ts_event: NULL,
            venue_seq: NULL,
        }
    }

    /// The levels after the last message applied.
    #[must_use]
    #[inline]
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Whether the book can be trusted.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Receive time of the last message applied.
    #[must_use]
    #[inline]
    pub fn ts_recv(&self) -> Option<TsNs> {
        some(self.ts_recv).map(TsNs)
    }

    /// Event time of the last message applied, if the venue gave one.
    #[must_use]
    #[inline]
    pub fn ts_event(&self) -> Option<TsNs> {
        some(self.ts_event).map(TsNs)
    }

    /// Venue sequence of the last message applied, if the venue gave one.
    #[must_use]
    #[inline]
    pub fn venue_seq(&self) -> Option<i64> {
        some(self.venue_seq)
    }

    /// Forgets all messages, keeping the memory.
    pub fn clear(&mut self) {
        self.book.restart(0, 0);
        self.state = State::Empty;
        (self.ts_recv, self.ts_event, self.venue_seq) = (NULL, NULL, NULL);
    }

    /// Becomes the book of a checkpoint, keeping the memory.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] or [`crate::ErrorKind::Limit`] if scales are above
    /// [`limit::SCALE_MAX`], prices and quantities are not as many, a side has more than
    /// [`limit::LEVELS_PER_SIDE_MAX`] levels or levels are not in order or empty; nothing has
    /// changed then.
    pub fn restore(&mut self, checkpoint: &Checkpoint<'_>) -> Result<()> {
        let Checkpoint { bid_prices, bid_qtys, ask_prices, ask_qtys, .. } = *checkpoint;
        let scale = checkpoint.price_scale.max(checkpoint.qty_scale);
        if scale > limit::SCALE_MAX {
            return Err(Error::limit("decimals of a checkpoint:", scale, limit::SCALE_MAX));
        }
        check_side("bid", bid_prices, bid_qtys, |better, worse| better > worse)?;
        check_side("ask", ask_prices, ask_qtys, |better, worse| better < worse)?;
        self.book.restart(checkpoint.price_scale, checkpoint.qty_scale);
        self.book.load(Side::Bid, bid_prices, bid_qtys);
        self.book.load(Side::Ask, ask_prices, ask_qtys);
        self.state = checkpoint.state;
        self.ts_recv = checkpoint.ts_recv.map_or(NULL, |ts| ts.0);
        self.ts_event = checkpoint.ts_event.map_or(NULL, |ts| ts.0);
        self.venue_seq = checkpoint.venue_seq.unwrap_or(NULL);
        Ok(())
    }

    /// Applies whole messages of a `book` batch, in order. Messages that the batch does not have
    /// are left out.
    ///
    /// Faster than [`Tracker::apply_each`]: the best levels are found once, at the end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if the batch is of another kind or lacks a column;
    /// [`crate::ErrorKind::Corrupt`] if it holds an unknown side or action;
    /// [`crate::ErrorKind::Limit`] with the value if a price or quantity does not fit an `i64` at
    /// the larger of the batch's and the book's scale. The levels have not changed then.
    pub fn apply(&mut self, batch: &Batch, messages: Range<usize>) -> Result<()> {
        let Some(rows) = self.prepare(batch, messages)? else { return Ok(()) };
        let Range { mut start, end } = rows.span();
        loop {
            let special = rows.special_from(start, end);
            rows.for_each_level(start..special, |side, price, qty| {
                self.book.set_blind(side, price, qty);
            });
            if special == end {
                break;
            }
            let message = rows.ends.partition_point(|&end| end as usize <= special);
            self.apply_special(&rows, special, rows.ts_recv[message]);
            start = special + 1;
        }
        self.book.settle();
        self.take_head(&rows, rows.messages.end - 1);
        Ok(())
    }

    /// As [`Tracker::apply`], with a call after each message: its index in the batch, and this.
    ///
    /// # Errors
    /// As [`Tracker::apply`]; then there was no call.
    pub fn apply_each(
        &mut self,
        batch: &Batch,
        messages: Range<usize>,
        mut after: impl FnMut(usize, &Self),
    ) -> Result<()> {
        let Some(rows) = self.prepare(batch, messages)? else { return Ok(()) };
        let Range { mut start, end: rows_end } = rows.span();
        let mut special = rows.special_from(start, rows_end);
        for message in rows.messages.clone() {
            let end = rows.ends[message] as usize;
            while special < end {
                rows.for_each_level(start..special, |side, price, qty| {
                    self.book.set(side, price, qty);
                });
                self.apply_special(&rows, special, rows.ts_recv[message]);
                start = special + 1;
                special = rows.special_from(start, rows_end);
            }
            rows.for_each_level(start..end, |side, price, qty| self.book.set(side, price, qty));
            start = end;
            self.take_head(&rows, message);
            after(message, self);
        }
        Ok(())
    }

    #[inline]
    fn take_head(&mut self, rows: &Rows<'_>, message: usize) {
        self.ts_recv = rows.ts_recv[message];
        self.ts_event = rows.ts_event.get(message).copied().unwrap_or(NULL);
        self.venue_seq = rows.venue_seq.get(message).copied().unwrap_or(NULL);
    }

    /// Applies a reset or gap row of a message received at `ts_recv`.
    #[cold]
    fn apply_special(&mut self, rows: &Rows<'_>, row: usize, ts_recv: i64) {
        if rows.actions[row] == Action::Reset as u8 {
            self.book.clear();
            self.state = State::Live;
        } else {
            let missing = u64::try_from(rows.qtys[row] / rows.qty_unit).unwrap_or(0);
            self.state = self.state.after_gap(TsNs(ts_recv), missing);
        }
    }

    /// Checks everything that could fail, and brings book and batch to one scale.
    fn prepare<'a>(
        &mut self,
        batch: &'a Batch,
        messages: Range<usize>,
    ) -> Result<Option<Rows<'a>>> {
        let mut rows = Rows::new(batch, messages)?;
        if rows.messages.is_empty() {
            return Ok(None);
        }
        let span = rows.span();
        rows.check_codes(span.clone())?;
        rows.fit_values(span.clone(), batch, &self.book)?;
        if rows.actions[span.start] == Action::Reset as u8 {
            // What is dropped next need not fit the new scales.
            self.book.clear();
        }
        self.book.raise_scales(batch.scale(book::PRICE), batch.scale(book::QTY))?;
        Ok(Some(rows))
    }
}

const SET: u8 = Action::Set as u8;

/// The columns of a batch that a book is made of.
struct Rows<'a> {
    messages: Range<usize>,
    ends: &'a [u32],
    ts_recv: &'a [i64],
    /// Empty if not there.
    ts_event: &'a [i64],
    /// Empty if not there.
    venue_seq: &'a [i64],
    actions: &'a [u8],
    sides: &'a [u8],
    prices: &'a [i64],
    qtys: &'a [i64],
    /// What one unit of the batch's prices is in units of the book's.
    price_factor: i64,
    /// What one unit of the batch's quantities is in units of the book's.
    qty_factor: i64,
    /// 1 in units of the batch's quantities.
    qty_unit: i64,
}

impl<'a> Rows<'a> {
    fn new(batch: &'a Batch, messages: Range<usize>) -> Result<Self> {
        if batch.kind() != Kind::Book {
            return Err(Error::invalid(format!(
                "a book is made of book rows, not {}",
                batch.kind()
            )));
        }
        for index in [book::TS_RECV, book::ACTION, book::SIDE, book::PRICE, book::QTY] {
            if batch.column(index).is_none() {
                let name = batch.schema().columns[index].name;
                return Err(Error::invalid(format!("a book needs the column {name}")));
            }
        }
        let scale = batch.scale(book::PRICE).max(batch.scale(book::QTY));
        if scale > limit::SCALE_MAX {
            return Err(Error::limit("decimals of a column:", scale, limit::SCALE_MAX));
        }
        let end = messages.end.min(batch.messages());
        Ok(Self {
            messages: messages.start.min(end)..end,
            ends: batch.ends(),
            ts_recv: batch.ts_recv(),
            ts_event: batch.i64s(book::TS_EVENT),
            venue_seq: batch.i64s(book::VENUE_SEQ),
            actions: batch.u8s(book::ACTION),
            sides: batch.u8s(book::SIDE),
            prices: batch.i64s(book::PRICE),
            qtys: batch.i64s(book::QTY),
            price_factor: 1,
            qty_factor: 1,
            qty_unit: POW10[usize::from(batch.scale(book::QTY))],
        })
    }

    /// The rows of the messages; there is at least one message.
    fn span(&self) -> Range<usize> {
        let start = self.messages.start.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[self.messages.end - 1] as usize
    }

    /// The first row from `start` on that does not set a level; `end` if there is none before.
    fn special_from(&self, start: usize, end: usize) -> usize {
        let mut at = start;
        for chunk in self.actions[start..end].chunks(64) {
            if chunk.iter().fold(0, |all, action| all | action) != SET {
                return at + chunk.iter().take_while(|&&action| action == SET).count();
            }
            at += chunk.len();
        }
        end
    }

    /// Calls with side, price and quantity of rows that set levels, in units of the book.
    #[inline(always)]
    fn for_each_level(&self, rows: Range<usize>, mut call: impl FnMut(Side, i64, i64)) {
        let prices = &self.prices[rows.clone()];
        let qtys = &self.qtys[rows.clone()];
        for ((&side, &price), &qty) in self.sides[rows].iter().zip(prices).zip(qtys) {
            let side = if side == Side::Bid as u8 { Side::Bid } else { Side::Ask };
            // Wrapping as nothing does: `fit_values` has seen these rows.
            let price = price.wrapping_mul(self.price_factor);
            call(side, price, qty.wrapping_mul(self.qty_factor));
        }
    }

    fn check_codes(&self, span: Range<usize>) -> Result<()> {
        let sides = self.sides[span.clone()].iter().fold(0, |all, side| all | side);
        if sides > Side::Ask as u8 {
            return Err(Error::corrupt("a book row is neither bid nor ask"));
        }
        match self.actions[span].iter().find(|&&action| action > Action::Gap as u8) {
            Some(action) => Err(Error::corrupt(format!("unknown action {action} of a book row"))),
            None => Ok(()),
        }
    }

    /// Sets the factors to the book's scales, where those are larger, and checks that values fit.
    fn fit_values(&mut self, span: Range<usize>, batch: &Batch, to: &Book) -> Result<()> {
        let (price_scale, qty_scale) = (batch.scale(book::PRICE), batch.scale(book::QTY));
        self.price_factor = POW10[usize::from(to.price_scale.saturating_sub(price_scale))];
        self.qty_factor = POW10[usize::from(to.qty_scale.saturating_sub(qty_scale))];
        if self.price_factor == 1 && self.qty_factor == 1 {
            return Ok(());
        }
        for row in span.filter(|&row| self.actions[row] == SET) {
            let (price, qty) = (self.prices[row], self.qtys[row]);
            if price.checked_mul(self.price_factor).is_none() {
                return Err(does_not_fit("price", price, price_scale, to.price_scale));
            }
            if qty.checked_mul(self.qty_factor).is_none() {
                return Err(does_not_fit("quantity", qty, qty_scale, to.qty_scale));
            }
        }
        Ok(())
    }
}

fn check_side(
    name: &str,
    prices: &[i64],
    qtys: &[i64],
    better: impl Fn(i64, i64) -> bool,
) -> Result<()> {
    if prices.len() > limit::LEVELS_PER_SIDE_MAX {
        let what = format!("{name} levels of a checkpoint:");
        return Err(Error::limit(&what, prices.len(), limit::LEVELS_PER_SIDE_MAX));
    }
    if prices.len() != qtys.len() {
        return Err(Error::corrupt(format!(
            "checkpoint: expected as many {name} prices as quantities, found {} and {}",
            prices.len(),
            qtys.len()
        )));
    }
    if !prices.windows(2).all(|pair| better(pair[0], pair[1])) {
        return Err(Error::corrupt(format!("checkpoint: {name} prices are not best first")));
    }
    if qtys.contains(&0) {
        return Err(Error::corrupt(format!("checkpoint: a {name} level has no quantity")));
    }
    Ok(())
}

fn some(value: i64) -> Option<i64> {
    (value != NULL).then_some(value)
}

#[cfg(test)]
mod tests;
