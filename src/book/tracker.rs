//! A book that follows the messages of a stream, and knows whether it can be trusted.

use std::borrow::Cow;
use std::ops::Range;

use super::ladder::Ladder;
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
        self.restore_checked(checkpoint);
        Ok(())
    }

    /// As [`Tracker::restore`], of a checkpoint that was found good when it was decoded.
    pub(crate) fn restore_checked(&mut self, checkpoint: &Checkpoint<'_>) {
        let Checkpoint { bid_prices, bid_qtys, ask_prices, ask_qtys, .. } = *checkpoint;
        self.book.restart(checkpoint.price_scale, checkpoint.qty_scale);
        self.book.load_ordered(Side::Bid, bid_prices, bid_qtys);
        self.book.load_ordered(Side::Ask, ask_prices, ask_qtys);
        self.state = checkpoint.state;
        self.ts_recv = checkpoint.ts_recv.map_or(NULL, |ts| ts.0);
        self.ts_event = checkpoint.ts_event.map_or(NULL, |ts| ts.0);
        self.venue_seq = checkpoint.venue_seq.unwrap_or(NULL);
    }

    /// Applies whole messages of a `book` batch, in order. Messages that the batch does not have
    /// are left out.
    ///
    /// Faster than [`Tracker::apply_each`]: the best levels are found once, at the end. Receive
    /// times may be left out where no message resets the book or has a gap.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if the batch is of another kind or lacks a column;
    /// [`crate::ErrorKind::Corrupt`] if it holds an unknown side or action;
    /// [`crate::ErrorKind::Limit`] with the value if a price or quantity does not fit an `i64` at
    /// the larger of the batch's and the book's scale. The levels have not changed then.
    pub fn apply(&mut self, batch: &Batch, messages: Range<usize>) -> Result<()> {
        let Some(rows) = self.prepare(batch, messages)? else { return Ok(()) };
        let levels = rows.levels();
        let (mut start, end) = (0, rows.actions.len());
        loop {
            let special = rows.special_from(start);
            let ladders = self.book.ladders_mut();
            levels.for_each(start..special, |side, price, qty| {
                ladders[side as usize].set_blind(price, qty);
            });
            if special == end {
                break;
            }
            let index = rows.ends.partition_point(|&end| rows.row(end) <= special);
            self.apply_special(&rows, special, rows.ts_recv[index]);
            start = special + 1;
        }
        self.book.ladders_mut().iter_mut().for_each(Ladder::settle);
        self.take_head(&rows, rows.ends.len() - 1);
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
        let first = messages.start;
        let Some(rows) = self.prepare(batch, messages)? else { return Ok(()) };
        let levels = rows.levels();
        let mut start = 0;
        let mut special = rows.special_from(0);
        for (index, &end) in rows.ends.iter().enumerate() {
            let end = rows.row(end);
            while special < end {
                self.apply_until(&rows, start..special, index);
                start = special + 1;
                special = rows.special_from(start);
            }
            let ladders = self.book.ladders_mut();
            levels.for_each(start..end, |side, price, qty| ladders[side as usize].set(price, qty));
            start = end;
            self.take_head(&rows, index);
            after(first + index, self);
        }
        Ok(())
    }

    /// Whether messages of a batch may be given to [`Tracker::set_levels_each`]: each row sets a
    /// level of a known side, and the units of the book are, or have become, those of the batch.
    pub(crate) fn takes_levels_of(&mut self, batch: &Batch) -> bool {
        let Ok(rows) = Rows::new(batch, 0..batch.messages()) else { return false };
        let plain = rows.check_codes().is_ok() && rows.special_from(0) == rows.actions.len();
        let (price, qty) = (batch.scale(book::PRICE), batch.scale(book::QTY));
        plain
            && self.book.raise_scales(price, qty).is_ok()
            && (self.book.price_scale, self.book.qty_scale) == (price, qty)
    }

    /// As [`Tracker::apply_each`], of a batch that it takes as it is: cheaper where messages come
    /// one by one, for nothing is checked again.
    pub(crate) fn set_levels_each(
        &mut self,
        batch: &Batch,
        messages: Range<usize>,
        mut after: impl FnMut(usize, &Self),
    ) {
        let levels = LevelRows {
            sides: batch.u8s(book::SIDE),
            prices: batch.i64s(book::PRICE),
            qtys: batch.i64s(book::QTY),
        };
        for message in messages {
            let ladders = self.book.ladders_mut();
            levels.for_each(batch.message_rows(message), |side, price, qty| {
                ladders[side as usize].set(price, qty);
            });
            self.set_head(batch, message);
            after(message, self);
        }
    }

    /// Takes over times and sequence of a message of a batch, whose levels were applied before.
    #[inline]
    pub(crate) fn set_head(&mut self, batch: &Batch, message: usize) {
        let value = |index: usize| batch.i64s(index).get(message).copied().unwrap_or(NULL);
        self.ts_recv = value(book::TS_RECV);
        self.ts_event = value(book::TS_EVENT);
        self.venue_seq = value(book::VENUE_SEQ);
    }

    /// Takes over the times and sequence of a message of `rows`.
    #[inline]
    fn take_head(&mut self, rows: &Rows<'_>, index: usize) {
        self.ts_recv = rows.ts_recv.get(index).copied().unwrap_or(NULL);
        self.ts_event = rows.ts_event.get(index).copied().unwrap_or(NULL);
        self.venue_seq = rows.venue_seq.get(index).copied().unwrap_or(NULL);
    }

    /// Applies rows that set levels and the reset or gap row after them, of one message.
    #[cold]
    #[inline(never)]
    fn apply_until(&mut self, rows: &Rows<'_>, levels: Range<usize>, index: usize) {
        let special = levels.end;
        rows.levels().for_each(levels, |side, price, qty| self.book.set(side, price, qty));
        self.apply_special(rows, special, rows.ts_recv[index]);
    }

    /// Applies a reset or gap row of a message received at `ts_recv`.
    #[cold]
    fn apply_special(&mut self, rows: &Rows<'_>, row: usize, ts_recv: i64) {
        if rows.actions[row] == Action::Reset as u8 {
            self.book.clear();
            self.state = State::Live;
        } else {
            let missing = u64::try_from(rows.stored_qtys[row] / rows.qty_unit).unwrap_or(0);
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
        if rows.ends.is_empty() {
            return Ok(None);
        }
        rows.check_codes()?;
        if rows.ts_recv.is_empty() && rows.special_from(0) < rows.actions.len() {
            return Err(needs_column(batch, book::TS_RECV));
        }
        rows.fit_values(batch, &self.book)?;
        if rows.actions.first() == Some(&(Action::Reset as u8)) {
            // What is dropped next need not fit the new scales.
            self.book.clear();
        }
        self.book.raise_scales(batch.scale(book::PRICE), batch.scale(book::QTY))?;
        Ok(Some(rows))
    }
}

const SET: u8 = Action::Set as u8;

/// Some messages of a batch: the columns that a book is made of, from their first row on.
struct Rows<'a> {
    /// The row of the batch after the last of each message.
    ends: &'a [u32],
    /// The row of the batch that is row 0 here.
    first_row: usize,
    /// Empty if not there.
    ts_recv: &'a [i64],
    /// Empty if not there.
    ts_event: &'a [i64],
    /// Empty if not there.
    venue_seq: &'a [i64],
    actions: &'a [u8],
    sides: &'a [u8],
    /// In units of the book, once fitted.
    prices: Cow<'a, [i64]>,
    /// In units of the book, once fitted.
    qtys: Cow<'a, [i64]>,
    /// In units of the batch.
    stored_qtys: &'a [i64],
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
        for index in [book::ACTION, book::SIDE, book::PRICE, book::QTY] {
            if batch.column(index).is_none() {
                return Err(needs_column(batch, index));
            }
        }
        let scale = batch.scale(book::PRICE).max(batch.scale(book::QTY));
        if scale > limit::SCALE_MAX {
            return Err(Error::limit("decimals of a column:", scale, limit::SCALE_MAX));
        }
        let end = messages.end.min(batch.messages());
        let messages = messages.start.min(end)..end;
        let ends = &batch.ends()[messages.clone()];
        let first_row = batch.message_rows(messages.start).start;
        let rows = first_row..ends.last().map_or(first_row, |&end| end as usize);
        let optional = |index: usize| batch.i64s(index).get(messages.clone()).unwrap_or_default();
        let stored_qtys = &batch.i64s(book::QTY)[rows.clone()];
        Ok(Self {
            ends,
            first_row,
            ts_recv: optional(book::TS_RECV),
            ts_event: optional(book::TS_EVENT),
            venue_seq: optional(book::VENUE_SEQ),
            actions: &batch.u8s(book::ACTION)[rows.clone()],
            sides: &batch.u8s(book::SIDE)[rows.clone()],
            prices: Cow::Borrowed(&batch.i64s(book::PRICE)[rows]),
            qtys: Cow::Borrowed(stored_qtys),
            stored_qtys,
            qty_unit: POW10[usize::from(batch.scale(book::QTY))],
        })
    }

    /// The row here of a row of the batch.
    #[inline]
    fn row(&self, batch_row: u32) -> usize {
        batch_row as usize - self.first_row
    }

    /// The first row from `start` on that does not set a level; the number of rows if none.
    fn special_from(&self, start: usize) -> usize {
        let mut at = start;
        for chunk in self.actions[start..].chunks(64) {
            if chunk.iter().fold(0, |all, action| all | action) != SET {
                return at + chunk.iter().take_while(|&&action| action == SET).count();
            }
            at += chunk.len();
        }
        at
    }

    fn levels(&self) -> LevelRows<'_> {
        LevelRows { sides: self.sides, prices: &self.prices, qtys: &self.qtys }
    }

    fn check_codes(&self) -> Result<()> {
        if self.sides.iter().fold(0, |all, side| all | side) > Side::Ask as u8 {
            return Err(Error::corrupt("a book row is neither bid nor ask"));
        }
        let largest = self.actions.iter().fold(0, |largest, &action| action.max(largest));
        if largest > Action::Gap as u8 {
            return Err(Error::corrupt(format!("unknown action {largest} of a book row")));
        }
        Ok(())
    }

    /// Brings values to the book's scales, where those are larger.
    fn fit_values(&mut self, batch: &Batch, to: &Book) -> Result<()> {
        for (what, values, scale, to_scale) in [
            ("price", &mut self.prices, batch.scale(book::PRICE), to.price_scale),
            ("quantity", &mut self.qtys, batch.scale(book::QTY), to.qty_scale),
        ] {
            let factor = POW10[usize::from(to_scale.saturating_sub(scale))];
            if factor == 1 {
                continue;
            }
            let raised = values.iter().zip(self.actions).map(|(&value, &action)| match action {
                SET => value.checked_mul(factor).ok_or(value),
                _ => Ok(0),
            });
            let raised: Result<Vec<i64>, i64> = raised.collect();
            *values = raised.map_err(|value| does_not_fit(what, value, scale, to_scale))?.into();
        }
        Ok(())
    }
}

/// What rows that set levels say. The hot loops want plain slices.
#[derive(Clone, Copy)]
struct LevelRows<'a> {
    sides: &'a [u8],
    prices: &'a [i64],
    qtys: &'a [i64],
}

impl LevelRows<'_> {
    #[inline(always)]
    fn for_each(&self, rows: Range<usize>, mut call: impl FnMut(Side, i64, i64)) {
        let prices = &self.prices[rows.clone()];
        let qtys = &self.qtys[rows.clone()];
        for ((&side, &price), &qty) in self.sides[rows].iter().zip(prices).zip(qtys) {
            call(if side == Side::Bid as u8 { Side::Bid } else { Side::Ask }, price, qty);
        }
    }
}

fn needs_column(batch: &Batch, index: usize) -> Error {
    Error::invalid(format!("a book needs the column {}", batch.schema().columns[index].name))
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
