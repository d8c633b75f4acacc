//! What the block index says of a block's rows, computed from them.

use crate::event::{Action, Batch, ColumnType, Kind, book};
use crate::format::segment::{FLAG_GAPS, FLAG_RESETS};
use crate::quantity::{NULL, are_within, min_max};

const SET: u8 = Action::Set as u8;

/// Rows that are looked at together.
const CHUNK_ROWS: usize = 64;

/// Smallest and largest value of the first two decimal columns; of book rows only those that set.
pub(super) fn zones(block: &Batch) -> [i64; 4] {
    let mut zones = [NULL; 4];
    let decimals = block.schema().columns.iter().enumerate();
    let decimals = decimals.filter(|(_, spec)| spec.ty == ColumnType::Decimal).map(|(at, _)| at);
    let actions = if block.kind() == Kind::Book { block.u8s(book::ACTION) } else { &[] };
    for (at, zone) in decimals.zip(zones.as_chunks_mut::<2>().0) {
        *zone = zone_of(block.i64s(at), actions).into();
    }
    zones
}

/// Smallest and largest value that is not null, of rows that set where there are actions.
pub(super) fn zone_of(values: &[i64], actions: &[u8]) -> (i64, i64) {
    let (mut low, mut high) = (NULL, NULL);
    for (index, values) in values.chunks(CHUNK_ROWS).enumerate() {
        let actions = actions.get(index * CHUNK_ROWS..).unwrap_or_default();
        let actions = &actions[..actions.len().min(values.len())];
        let all_set = actions.iter().fold(SET, |all, action| all | action) == SET;
        if all_set && low != NULL && are_within(values, low, high) {
            continue;
        }
        let set = |row: usize| actions.get(row).is_none_or(|&action| action == SET);
        let of_rows = values.iter().enumerate();
        let of_rows = of_rows.map(|(row, &value)| if set(row) { value } else { NULL });
        (low, high) = min_max(of_rows.chain([low, high]));
    }
    (low, high)
}

/// Whether the first row resets the book, so that it needs nothing before it.
pub(super) fn starts_with_reset(block: &Batch) -> bool {
    block.kind() == Kind::Book && block.u8s(book::ACTION).first() == Some(&(Action::Reset as u8))
}

/// Whether any row is a gap or a reset.
pub(super) fn block_flags(block: &Batch) -> u32 {
    if block.kind() != Kind::Book {
        return 0;
    }
    let actions = block.u8s(book::ACTION);
    let has = |action: Action| actions.contains(&(action as u8));
    u32::from(has(Action::Gap)) * FLAG_GAPS + u32::from(has(Action::Reset)) * FLAG_RESETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_zone_is_of_all_values_that_are_set(
            values in prop::collection::vec(
                prop_oneof![any::<i64>(), -5i64..5, Just(NULL), Just(i64::MAX)], 0..300),
            others in prop::collection::vec(0usize..300, 0..5),
        ) {
            let actions: Vec<u8> =
                (0..values.len()).map(|row| u8::from(others.contains(&row))).collect();
            let set = |row: &usize| values[*row] != NULL && actions[*row] == SET;
            let of = |rows: Vec<usize>| {
                let values = rows.iter().map(|&row| values[row]);
                (values.clone().min().unwrap_or(NULL), values.max().unwrap_or(NULL))
            };
            let rows = 0..values.len();
            prop_assert_eq!(zone_of(&values, &actions), of(rows.clone().filter(set).collect()));
            let not_null = rows.filter(|&row| values[row] != NULL).collect();
            prop_assert_eq!(zone_of(&values, &[]), of(not_null));
        }
    }
}
