//! Prints that a venue sends again after a reconnect.

use std::collections::HashMap;

use crate::quantity::Instrument;

/// The newest trade id of each instrument.
#[derive(Debug, Default)]
pub(super) struct TradeIds(HashMap<Instrument, i64>);

/// What is known about a trade id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No trade of its instrument was stored yet.
    First,
    /// It is newer than the newest one.
    New,
    /// It is not.
    Old,
}

impl TradeIds {
    /// What is known about `id`.
    pub fn seen(&self, instrument: &Instrument, id: i64) -> Seen {
        match self.0.get(instrument) {
            None => Seen::First,
            Some(&newest) if id > newest => Seen::New,
            Some(_) => Seen::Old,
        }
    }

    /// A trade was stored.
    pub fn note(&mut self, instrument: &Instrument, id: i64) {
        match self.0.get_mut(instrument) {
            Some(newest) => *newest = id.max(*newest),
            None => {
                self.0.insert(instrument.clone(), id);
            }
        }
    }
}
