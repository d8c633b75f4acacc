//! Questions to a snapshot: the book at a time, rows of a range, many streams merged in order.
//!
//! [`Books`] answers "what did the book look like at T?", [`Scan`] reads columns of one stream,
//! [`Replay`] plays streams in the total order with their books kept, `coverage` says what is
//! there and what is missing. Nothing here opens files by name, waits, or reads a clock.

mod books;
mod coverage;
mod filter;
mod merge;
mod order;
mod plan;
mod position;
mod scan;
mod stream;

pub use books::{Books, Sample};
pub use coverage::{Coverage, Gap, Span};
pub use filter::Filter;
pub use merge::{Cursor, Opening, Replay, Step, StreamTotal};
pub use order::ReplayOrder;
pub use scan::Scan;
