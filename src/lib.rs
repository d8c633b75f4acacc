//! A columnar store and replay engine for market ticks: append order-book events, ask for the book
//! at any moment, replay from there.
//!
//! Rows of one stream (an instrument and a kind) are kept as columns in immutable, memory-mapped
//! files. A whole book is written every few thousand rows, so the book at time T costs one binary
//! search and a short replay, however long the history is.
//!
//! ```
//! use tickreel::event::{BatchBuilder, Kind, MessageHead, Side, StreamKey};
//! use tickreel::store::{ImportOptions, Store};
//! use tickreel::{Instrument, TsNs};
//!
//! # fn main() -> tickreel::Result<()> {
//! # let folder = std::env::temp_dir().join(format!("tickreel-doc-{}", std::process::id()));
//! let btc = Instrument::parse("binance-futures:BTCUSDT")?;
//! let mut rows = BatchBuilder::new(Kind::Book);
//! let ts_recv = TsNs::parse("2024-08-08T23:57:00Z")?;
//! rows.begin(MessageHead { ts_recv, snapshot: true, ..MessageHead::default() });
//! rows.level_text(Side::Bid, "61701.20", "1.440")?;
//! rows.level_text(Side::Ask, "61701.30", "3.312")?;
//! rows.end();
//!
//! let store = Store::open_or_create(&folder)?;
//! let mut import = store.import(ImportOptions::default())?;
//! let key = StreamKey { instrument: btc.clone(), kind: Kind::Book };
//! for batch in rows.finish()? {
//!     import.append(&key, &batch)?;
//! }
//! import.commit()?;
//!
//! let book = store.snapshot()?.book_at(&btc, TsNs::parse("2024-08-08T23:58:00Z")?)?;
//! assert_eq!(book.book().best(Side::Ask), Some((617_013, 3_312)));
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok(()) }
//! ```
//!
//! # What it promises
//! - An import is seen whole or not at all; a snapshot stays what it was while it is held.
//! - The same question always has the same answer, whatever the layout of the files.
//! - Damaged bytes are reported with file and offset, never returned as data.
//! - A hole in a venue's sequence is stored; the book after it says that it is stale.
//!
//! # The floors
//! A file imports from lower floors and its own room only; `tests/tidy.rs` holds it.
//! 1. [`limit`], [`error`]: bounds and the one error. *They import nothing of ours.*
//! 2. [`quantity`]: time, decimals, names. *No value is ever a float.*
//! 3. [`event`]: rows as columns. *Knows no file and no venue.*
//! 4. [`mod@book`], [`disk`]. *Only `disk` touches files of a store, and only it is `unsafe`.*
//! 5. [`codec`], [`mod@format`]: bytes to values. *No files, no clock, no threads.*
//! 6. [`segment`], [`catalog`], [`journal`]: the files. *A sealed file is never written again.*
//! 7. [`store`]: the folder. *One writer; readers need no lock.*
//! 8. [`compact`]; [`replay`], `ingest`, `arrow`: upkeep; questions, feeds, columns for others.
//!    *Time is a value.*
//! 9. `rpc`, `http`: the doors. *Map reads never run on an async thread.*
//! 10. `cli`: parse, call below, print.

pub mod book;
pub mod catalog;
pub mod codec;
pub mod compact;
pub mod disk;
pub mod error;
pub mod event;
pub mod format;
#[cfg(feature = "ingest")]
pub mod ingest;
pub mod journal;
pub mod limit;
#[cfg(any(feature = "daemon", feature = "rpc"))]
mod pattern;
pub mod quantity;
pub mod replay;
pub mod segment;
pub mod store;

#[cfg(feature = "arrow")]
pub mod arrow;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "rpc")]
pub mod rpc;

pub use error::{Error, ErrorKind, Result};
pub use event::{Batch, BatchBuilder, Kind};
pub use quantity::{Decimal, Instrument, TsNs};

/// The code in the README compiles.
#[cfg(all(doctest, feature = "rpc"))]
#[doc = include_str!("../README.md")]
struct Readme;
