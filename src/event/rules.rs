//! What every row keeps, whoever wrote it. `format-spec/00-model.md`.

use super::batch::Batch;
use super::schema::{Action, ColumnSpec, ColumnType, FLAG_SNAPSHOT, Kind, Side, book};
use crate::quantity::NULL;

/// The first rule of the model that rows of `batch` break, if they break one.
#[must_use]
pub fn broken_rule(batch: &Batch) -> Option<&'static str> {
    let columns = batch.schema().columns.iter().enumerate();
    let of_values = columns.clone().find_map(|(at, spec)| broken_by_values(batch, at, spec));
    let flags = columns.clone().find(|(_, spec)| spec.ty == ColumnType::Flags);
    let snapshots_reset = flags.is_none_or(|(at, _)| snapshots_reset(batch, at));
    of_values
        .or((!snapshots_reset).then_some("a snapshot does not begin with a reset"))
        .or((!special_rows_are_bare(batch)).then_some("a reset or gap with values of a level"))
}

fn broken_by_values(batch: &Batch, at: usize, spec: &ColumnSpec) -> Option<&'static str> {
    match spec.ty {
        ColumnType::Code(names) => {
            // A fold is many codes per instruction, `Iterator::max` is not.
            let largest = batch.u8s(at).iter().fold(0, |largest: u8, &code| largest.max(code));
            (usize::from(largest) >= names.len()).then_some("a code has no name")
        }
        ColumnType::Flags => {
            let all = batch.u8s(at).iter().fold(0, |all, flags| all | flags);
            (all & !FLAG_SNAPSHOT != 0).then_some("a flag that is never stored")
        }
        ColumnType::Text => None,
        ColumnType::Time | ColumnType::Int | ColumnType::Decimal => {
            let null = !spec.nullable && batch.i64s(at).contains(&NULL);
            null.then_some("null in a column that has none")
        }
    }
}

/// Whether every message that is a snapshot begins with a reset.
fn snapshots_reset(batch: &Batch, flags_column: usize) -> bool {
    let (reset, actions) = (batch.kind().reset_code(), batch.u8s(book::ACTION));
    let flags = batch.u8s(flags_column).iter().enumerate();
    let mut snapshots = flags.filter(|(_, flags)| **flags & FLAG_SNAPSHOT != 0);
    snapshots.all(|(message, _)| actions.get(batch.message_rows(message).start).copied() == reset)
}

/// Whether resets and gaps of a book are written without what they do not have.
fn special_rows_are_bare(batch: &Batch) -> bool {
    if batch.kind() != Kind::Book {
        return true;
    }
    let (sides, prices, qtys) =
        (batch.u8s(book::SIDE), batch.i64s(book::PRICE), batch.i64s(book::QTY));
    let actions = batch.u8s(book::ACTION).iter().enumerate();
    let mut special = actions.filter(|(_, action)| **action != Action::Set as u8);
    special.all(|(row, &action)| {
        sides.get(row) == Some(&(Side::Bid as u8))
            && prices.get(row) == Some(&0)
            && (action != Action::Reset as u8 || qtys.get(row) == Some(&0))
    })
}
