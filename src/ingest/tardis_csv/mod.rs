//! Tardis CSV files: order books, trades, quotes, tickers and liquidations as `tardis.dev` sells
//! them, plain, gzip or zstd.
//!
//! The data type is told from the header line; columns may stand in any order, but all of them and
//! no others must be there. Times are microseconds: `timestamp` becomes `ts_event` (it may be
//! empty), `local_timestamp` becomes `ts_recv`. One file may hold several instruments.
//!
//! **Messages of `incremental_book_L2`.** Rows of one instrument that follow each other with the
//! same `local_timestamp`, `timestamp` and `is_snapshot` are one message. Tardis's own rule is
//! `local_timestamp` alone; a venue message has one of each, so the rules differ only where Tardis
//! joined several messages of one instant, and there the venue's times are kept.
//!
//! **Snapshots.** A message of `is_snapshot=true` rows empties the book and is the new book, as in
//! Tardis's own client. Snapshot rows that go on with the `local_timestamp` of the snapshot before
//! them but another `timestamp` add to it: a message of their own without reset and without
//! `SNAPSHOT`.
//!
//! **A book that starts without a snapshot** is unknown, not empty: its first message comes after a
//! message of `reset` and `gap`, and a `status` row says so.
//!
//! **Book snapshots** (`book_snapshot_5`, `book_snapshot_25`, any depth) become deltas: the first
//! row of an instrument is a snapshot message, every later one a message of what changed: levels
//! that left the row are set to 0, new and changed ones are set. A row that changes nothing makes
//! no message. After each message the book has exactly the row's levels.
//!
//! A line that cannot be read, or whose `local_timestamp` is before that of an earlier line of the
//! stream, becomes a reject with its number and column; reading goes on.

mod book;
mod fields;
mod flat;
mod header;
mod snapshot;
mod source;

#[cfg(test)]
mod tests;

pub use header::DataType;
pub use source::{from_input, open};
