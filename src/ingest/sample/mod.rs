//! A small made-up market, written as venues write theirs.
//!
//! [`write_captures`] runs a limit-order-book process for a few instruments and writes what their
//! venues would send: Binance and OKX captures and Tardis CSV files, with trades that agree with
//! the books, holes in the sequence and snapshots after them. It also returns the [`Truth`]: what
//! each book was at chosen times and where the holes are, so that a store can be checked against
//! it. Everything follows from the options: no clock, no floats, the same bytes on every machine.

mod binance;
mod feed;
mod market;
mod okx;
mod process;
mod random;
mod reference;
mod run;
mod tardis;
#[cfg(test)]
mod tests;
mod truth;

pub use market::{InstrumentOptions, MarketOptions, VenueForm, write_captures};
pub use truth::{CaptureFile, Captures, Counts, Progress, TrueBook, TrueGap, Truth};
