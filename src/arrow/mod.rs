//! Every scan as Arrow record batches.
//!
//! A [`Converter`] turns the batches of one scan into record batches of one schema; [`ipc`] writes
//! them as messages, streams and files; [`from_record_batch`] reads rows that a client sends.
//! Values cross exactly: a price is a decimal, a time counts nanoseconds, text keeps its bytes.
//! Columns of a mapped file that have one value per row are wrapped where they lie.
//!
//! ```
//! # fn main() -> tickreel::Result<()> {
//! use tickreel::arrow::{from_record_batch, to_record_batch};
//! use tickreel::event::{BatchBuilder, Kind, MessageHead, Side};
//!
//! let mut builder = BatchBuilder::new(Kind::Book);
//! builder.begin(MessageHead::default());
//! builder.level_text(Side::Bid, "61737.6", "0.25")?;
//! builder.level_text(Side::Ask, "61737.7", "1.5")?;
//! builder.end();
//! for batch in builder.finish()? {
//!     let record_batch = to_record_batch(&batch)?;
//!     assert_eq!(record_batch.num_rows(), 2);
//!     assert_eq!(from_record_batch(Kind::Book, &record_batch)?, batch);
//! }
//! # Ok(()) }
//! ```

#[cfg(feature = "arrow2")]
pub mod arrow2;
mod batch;
mod books;
mod decoder;
pub mod ipc;
#[cfg(feature = "parquet")]
pub mod parquet;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

pub use batch::{Converter, into_record_batch, to_record_batch};
pub use books::{BookColumns, BookTable};
pub use rows::from_record_batch;
pub use schema::{
    DecimalAs, META_DIGITS, META_EXCHANGE, META_KIND, META_SCALE, META_SYMBOL, META_UNIT, Options,
    TextAs, arrow_schema,
};
