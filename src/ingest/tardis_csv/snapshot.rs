//! `book_snapshot_*`: whole rows turned into what changed.

use std::cmp::Ordering;

use super::book::Levels;
use super::fields::{Fields, Row};
use crate::error::{Error, Result};
use crate::event::{MessageHead, Side};
use crate::ingest::{Rows, StreamHint};
use crate::quantity::{Decimal, Instrument};

/// Slot of the best ask's price; its amount follows, then the best bid, then the next levels.
const ASKS: usize = 4;
/// Slot of the best bid's price.
const BIDS: usize = 6;

/// A level and the decimals its price and amount were written with.
#[derive(Clone, Copy, Debug)]
struct Level {
    price: (Decimal, u8),
    qty: (Decimal, u8),
}

/// The last row of one instrument.
#[derive(Debug)]
pub(super) struct Previous {
    depth: u16,
    bids: OneSide,
    asks: OneSide,
    message: Levels,
    begun: bool,
    hint: StreamHint,
}

/// One side of a row.
#[derive(Debug, Default)]
struct OneSide {
    /// Levels by rising price.
    levels: Vec<Level>,
    /// The row being read; becomes `levels` once all of it is known to be good.
    next: Vec<Level>,
}

impl Previous {
    /// No row yet; rows have `depth` levels a side.
    pub(super) fn new(depth: u16) -> Self {
        Self {
            depth,
            bids: OneSide::default(),
            asks: OneSide::default(),
            message: Levels::default(),
            begun: false,
            hint: StreamHint::default(),
        }
    }

    /// Takes one row and stores what it changes.
    pub(super) fn row(
        &mut self,
        row: &Row<'_>,
        fields: &Fields<'_>,
        instrument: &Instrument,
        rows: &mut Rows,
    ) -> Result<()> {
        self.message.clear();
        let sides = [(Side::Bid, BIDS, &mut self.bids), (Side::Ask, ASKS, &mut self.asks)];
        for (side, first_slot, one_side) in sides {
            let OneSide { levels, next } = one_side;
            read_side(fields, side, first_slot, self.depth, next)?;
            if self.begun {
                changes(levels, next, side, &mut self.message)?;
            } else {
                for level in &*next {
                    self.message.push(side, level.price, level.qty)?;
                }
            }
        }
        if !self.begun || !self.message.is_empty() {
            let head = MessageHead {
                ts_recv: row.ts_recv,
                ts_event: row.ts_event,
                venue_seq: None,
                snapshot: !self.begun,
            };
            self.message.store(head, instrument, &mut self.hint, rows);
        }
        self.begun = true;
        for side in [&mut self.bids, &mut self.asks] {
            std::mem::swap(&mut side.levels, &mut side.next);
        }
        Ok(())
    }
}

fn read_side(
    fields: &Fields<'_>,
    side: Side,
    first_slot: usize,
    depth: u16,
    levels: &mut Vec<Level>,
) -> Result<()> {
    levels.clear();
    for level in 0..usize::from(depth) {
        let (price, amount) = (first_slot + 4 * level, first_slot + 4 * level + 1);
        if fields.get(price).is_empty() && fields.get(amount).is_empty() {
            continue;
        }
        let level = Level { price: fields.decimal(price)?, qty: fields.amount(amount)? };
        if level.qty.0.is_zero() {
            return Err(fields.expected(amount, "an amount above 0"));
        }
        levels.push(level);
    }
    // Best first on both sides: asks rise already, bids fall.
    if side == Side::Bid {
        levels.reverse();
    }
    let rising = |levels: &[Level]| {
        levels.iter().zip(levels.iter().skip(1)).all(|(a, b)| a.price.0 < b.price.0)
    };
    if !rising(levels) {
        levels.sort_by_key(|level| level.price.0);
        if !rising(levels) {
            let name = if side == Side::Bid { "bids" } else { "asks" };
            return Err(Error::invalid(format!("columns {name}: two levels have one price")));
        }
    }
    Ok(())
}

/// What makes `after` of `before`: levels that are gone, new ones and changed ones.
fn changes(before: &[Level], after: &[Level], side: Side, message: &mut Levels) -> Result<()> {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.price.0.cmp(&new.price.0),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        match (was, is) {
            (Some(was), None) => message.push(side, was.price, (Decimal::ZERO, 0))?,
            (Some(was), Some(is)) if was.qty.0 == is.qty.0 => {}
            (_, Some(is)) => message.push(side, is.price, is.qty)?,
            (None, None) => return Ok(()),
        }
    }
}
