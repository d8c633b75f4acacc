//! What is stored: the kinds of records, their columns, and rows of them in memory.
//!
//! A [`Batch`] holds rows of one stream as columns; a [`BatchBuilder`] makes batches from rows; a
//! [`ContentHash`] sums up rows so that equal rows, however stored, have equal sums. Nothing here
//! knows files, encodings or venues.

mod batch;
mod buffer;
mod builder;
mod hash;
mod keep;
mod rules;
mod schema;

pub use batch::{Batch, Column, TextValues, Value, Values};
pub use buffer::{Buffer, SharedBytes};
pub use builder::{BatchBuilder, MessageHead, QuoteRow, StatusRow, TickerRow, TradeRow};
pub use hash::ContentHash;
pub use rules::{BrokenRule, broken_rule};
pub use schema::{
    Action, ColumnSpec, ColumnType, FLAG_LAST, FLAG_SNAPSHOT, Kind, Schema, Side, StatusWhat,
    StreamKey, TradeSide, book, quotes, raw, status, ticker, trades,
};
