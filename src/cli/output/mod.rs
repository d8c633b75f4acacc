//! Rows as text: what `read` writes.
//!
//! A [`RowWriter`] takes the batches of one stream one after another and writes them as a table, as
//! CSV, as one JSON object per line or as Tardis CSV. Every number is exact in every format but the
//! table's cells, which may be shortened where they are text.

mod books;
mod cells;
mod csv;
mod format;
mod lines;
mod ndjson;
mod sink;
mod table;
mod tardis_csv;
mod writer;

#[cfg(test)]
mod tests;

pub use books::write_table;
pub use format::{RowFormat, row_writer};
pub use lines::StreamLines;
pub use writer::{RowWriter, Selection};
