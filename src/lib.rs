//! A columnar store and replay engine for market ticks: append order-book events, ask for the book
//! at any moment, replay from there.

pub mod book;
pub mod catalog;
pub mod codec;
pub mod disk;
pub mod error;
pub mod event;
pub mod format;
#[cfg(feature = "ingest")]
pub mod ingest;
pub mod limit;
pub mod metrics;
pub mod quantity;
pub mod replay;
pub mod segment;
pub mod store;

#[cfg(feature = "arrow")]
pub mod arrow;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "rpc")]
pub mod rpc;

pub use error::{Error, ErrorKind, Result};
pub use event::{Batch, BatchBuilder, Kind};
pub use quantity::{Decimal, Instrument, TsNs};
