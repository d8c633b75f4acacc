//! The conditions at which a replay stops by itself, watched while it plays.

use std::ops::Range;

use super::model::{StopCondition, Stops};
use crate::book::{State, Tracker};
use crate::event::{Action, Batch, Kind, StatusWhat, book, status, trades};
use crate::quantity::Decimal;

/// What the conditions have counted so far.
#[derive(Clone, Debug, Default, PartialEq)]
struct StopMarks {
    /// Rows since the beginning, or since they were enough.
    rows: u64,
    /// Whether the spread of each stream is large.
    wide: Vec<bool>,
}

/// Watches what is played. A member that joins goes on with what another has counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StopWatch {
    stops: Stops,
    marks: StopMarks,
}

impl StopWatch {
    /// Watches for `stops` from here on.
    pub(super) fn new(stops: Stops) -> Self {
        Self { stops, marks: StopMarks::default() }
    }

    /// Whether the books must be kept.
    pub(super) fn needs_books(&self) -> bool {
        self.stops.spread_bps.is_some()
    }

    /// Whether a condition may be met by any message, whatever is in it.
    pub(super) fn is_of_messages(&self) -> bool {
        self.stops.spread_bps.is_some() || self.stops.rows.is_some()
    }

    /// Rows until there are enough of them.
    pub(super) fn rows_left(&self) -> u64 {
        self.stops.rows.map_or(u64::MAX, |rows| rows.saturating_sub(self.marks.rows).max(1))
    }

    /// The first of `messages` that has a gap or a large trade.
    pub(super) fn first(
        &self,
        batch: &Batch,
        messages: Range<usize>,
    ) -> Option<(usize, StopCondition)> {
        let looks = match batch.kind() {
            Kind::Book | Kind::Status => self.stops.gap,
            Kind::Trades => self.stops.trade_qty.is_some(),
            _ => false,
        };
        let rows = match messages.is_empty() || !looks {
            true => return None,
            false => {
                let first = batch.message_rows(messages.start).start;
                first..batch.message_rows(messages.end - 1).end
            }
        };
        let gap = || gap_rows(batch, rows.clone()).next().map(|row| (row, StopCondition::Gap));
        let found = match batch.kind() {
            Kind::Trades => self.large_trade(batch, rows).map(|row| (row, StopCondition::Trade)),
            _ => gap(),
        };
        found.map(|(row, condition)| (batch.message_of(row), condition))
    }

    fn large_trade(&self, batch: &Batch, rows: Range<usize>) -> Option<usize> {
        let limit = self.stops.trade_qty?;
        let scale = batch.scale(trades::QTY);
        let first = rows.start;
        let qtys = batch.i64s(trades::QTY).get(rows).unwrap_or_default();
        let large = |qty: &i64| Decimal::new(*qty, scale).is_some_and(|qty| qty > limit);
        qtys.iter().position(large).map(|at| first + at)
    }

    /// Takes note of a book stream's book after a message; says whether its spread became large.
    pub(super) fn spread(&mut self, stream: usize, tracker: &Tracker) -> bool {
        let Some(limit) = self.stops.spread_bps else { return false };
        let live = tracker.state() == State::Live;
        let bps = tracker.book().spread_bps().filter(|_| live);
        let wide = bps.is_some_and(|bps| bps > limit);
        if self.marks.wide.len() <= stream {
            self.marks.wide.resize(stream + 1, false);
        }
        let was = self.marks.wide.get_mut(stream);
        was.is_some_and(|was| !std::mem::replace(was, wide) && wide)
    }

    /// Takes note of rows; says whether they are enough.
    pub(super) fn rows(&mut self, rows: u64) -> bool {
        let Some(limit) = self.stops.rows else { return false };
        self.marks.rows += rows;
        let enough = self.marks.rows >= limit;
        if enough {
            self.marks.rows = 0;
        }
        enough
    }

    /// Counts from the beginning.
    pub(super) fn begin_anew(&mut self) {
        self.marks = StopMarks::default();
    }
}

/// The rows among `rows` that say that messages are missing.
pub(super) fn gap_rows(batch: &Batch, rows: Range<usize>) -> impl Iterator<Item = usize> {
    let (codes, gaps) = match batch.kind() {
        Kind::Book => (batch.u8s(book::ACTION), [Action::Gap as u8; 2]),
        Kind::Status => {
            let gaps = [StatusWhat::Gap as u8, StatusWhat::Disconnected as u8];
            (batch.u8s(status::WHAT), gaps)
        }
        _ => (&[][..], [0; 2]),
    };
    let first = rows.start;
    let codes = codes.get(rows).unwrap_or_default();
    let found = codes.iter().enumerate().filter(move |(_, code)| gaps.contains(code));
    found.map(move |(at, _)| first + at)
}
