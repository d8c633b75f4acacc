//! The immutable file of one stream and day: writing, opening, seeking, verifying.
//!
//! A [`SegmentWriter`] writes front to back once; a [`Segment`] reads the map from the footer. What
//! the bytes mean is `format/`'s business, where the file lies is the store's.

mod block;
mod pages;
mod reader;
mod seek;
mod summary;
mod verify;
mod writer;

pub use pages::compacted_bytes;
pub use reader::{ColumnMask, Expected, Segment};
pub use seek::first_event_in;
pub(crate) use writer::{CHECKPOINT_SHARE, check_texts};
pub use writer::{Sealed, SegmentWriter, WriterOptions};

#[cfg(test)]
mod tests;
