//! What the block index says of a block's rows, computed from them.

use crate::event::{Action, Batch, ColumnType, Kind, book};
use crate::format::segment::{FLAG_GAPS, FLAG_RESETS};
use crate::quantity::{NULL, min_max};

/// Smallest and largest value of the first two decimal columns; of book rows only those that set.
pub(super) fn zones(block: &Batch) -> [i64; 4] {
    let mut zones = [NULL; 4];
    let decimals = block.schema().columns.iter().enumerate();
    let decimals = decimals.filter(|(_, spec)| spec.ty == ColumnType::Decimal).map(|(at, _)| at);
    for (at, zone) in decimals.zip(zones.as_chunks_mut::<2>().0) {
        let values = block.i64s(at).iter().copied();
        *zone = match block.kind() {
            Kind::Book => min_max(
                values
                    .zip(block.u8s(book::ACTION))
                    .map(|(value, &action)| if action == Action::Set as u8 { value } else { NULL }),
            ),
            _ => min_max(values),
        }
        .into();
    }
    zones
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
