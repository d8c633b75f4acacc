//! What every row keeps, whoever wrote it. `format-spec/00-model.md`.

use std::fmt;

use super::batch::Batch;
use super::schema::{Action, ColumnSpec, ColumnType, FLAG_SNAPSHOT, Kind, Side, book};
use crate::quantity::NULL;

/// A rule of the model that a row breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenRule {
    /// Which rule.
    pub rule: &'static str,
    /// Name of the column that breaks it.
    pub column: &'static str,
    /// The first row that breaks it, from 0 in its batch.
    pub row: usize,
}

impl fmt::Display for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}, row {}: {}", self.column, self.row, self.rule)
    }
}

/// The first rule of the model that rows of `batch` break, if they break one.
#[must_use]
pub fn broken_rule(batch: &Batch) -> Option<BrokenRule> {
    let columns = batch.schema().columns.iter().enumerate();
    let of_values = columns.clone().find_map(|(at, spec)| broken_by_values(batch, at, spec));
    let flags = columns.clone().find(|(_, spec)| spec.ty == ColumnType::Flags);
    of_values
        .or_else(|| flags.and_then(|(at, spec)| snapshot_without_reset(batch, at, spec)))
        .or_else(|| special_row_with_values(batch))
}

fn broken_by_values(batch: &Batch, at: usize, spec: &ColumnSpec) -> Option<BrokenRule> {
    // Rows that keep the rule are told at full speed; where it is broken may be searched for.
    let broken = |rule, place: Option<usize>| {
        let place = place.unwrap_or_default();
        let row = if spec.per_message { batch.message_rows(place).start } else { place };
        BrokenRule { rule, column: spec.name, row }
    };
    match spec.ty {
        ColumnType::Code(names) => {
            // A fold is many codes per instruction, `Iterator::max` is not.
            let codes = batch.u8s(at);
            let largest = codes.iter().fold(0, |largest: u8, &code| largest.max(code));
            let nameless = |code: &u8| usize::from(*code) >= names.len();
            nameless(&largest)
                .then(|| broken("a code has no name", codes.iter().position(nameless)))
        }
        ColumnType::Flags => {
            let flags = batch.u8s(at);
            let unknown = |flags: &u8| flags & !FLAG_SNAPSHOT != 0;
            unknown(&flags.iter().fold(0, |all, flags| all | flags))
                .then(|| broken("a flag that is never stored", flags.iter().position(unknown)))
        }
        ColumnType::Text => None,
        ColumnType::Time | ColumnType::Int | ColumnType::Decimal => {
            let values = batch.i64s(at);
            let null = !spec.nullable && values.contains(&NULL);
            let place = || values.iter().position(|&value| value == NULL);
            null.then(|| broken("null in a column that has none", place()))
        }
    }
}

/// A message that is a snapshot and does not begin with a reset.
fn snapshot_without_reset(
    batch: &Batch,
    flags_column: usize,
    spec: &ColumnSpec,
) -> Option<BrokenRule> {
    let (reset, actions) = (batch.kind().reset_code(), batch.u8s(book::ACTION));
    let flags = batch.u8s(flags_column).iter().enumerate();
    let snapshots = flags.filter(|(_, flags)| **flags & FLAG_SNAPSHOT != 0);
    let mut first_rows = snapshots.map(|(message, _)| batch.message_rows(message).start);
    let row = first_rows.find(|&row| actions.get(row).copied() != reset)?;
    let rule = "a snapshot does not begin with a reset";
    Some(BrokenRule { rule, column: spec.name, row })
}

/// A reset or gap of a book that is not written without what it does not have.
fn special_row_with_values(batch: &Batch) -> Option<BrokenRule> {
    if batch.kind() != Kind::Book {
        return None;
    }
    let actions = batch.u8s(book::ACTION);
    if actions.iter().fold(0, |all, action| all | action) == Action::Set as u8 {
        return None;
    }
    let (sides, prices, qtys) =
        (batch.u8s(book::SIDE), batch.i64s(book::PRICE), batch.i64s(book::QTY));
    let mut special =
        actions.iter().enumerate().filter(|(_, action)| **action != Action::Set as u8);
    let bare = |row: usize, action: u8| {
        sides.get(row) == Some(&(Side::Bid as u8))
            && prices.get(row) == Some(&0)
            && (action != Action::Reset as u8 || qtys.get(row) == Some(&0))
    };
    let (row, _) = special.find(|&(row, &action)| !bare(row, action))?;
    let rule = "a reset or gap with values of a level";
    Some(BrokenRule { rule, column: "action", row })
}
