//! Encodings of column pages: values to bytes and back, lossless.
//!
//! `format-spec/04-encodings.md` is the definition. The writer picks an encoding per page; a reader
//! decodes any run of values of a page, at most [`crate::limit::GROUP_VALUES`] more than asked for.
//! Nothing here opens a file, reads a clock or starts a thread; wrong bytes give a [`Fault`].
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod bins;
mod bins_writer;
mod bits;
mod draft;
mod integers;
mod integers_writer;
mod keys;
mod plan;
mod text;
mod units;

pub use draft::{Draft, encode_compact};
pub use integers::IntegerPage;
pub use integers_writer::encode_integers;
pub use text::{decode_texts, encode_texts};

/// How a page's values became bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// The array itself.
    Plain = 0,
    /// One value for all.
    Constant = 1,
    /// Groups of 1,024: distance from the group's base, bit-packed, with exceptions.
    Packed = 2,
    /// As `Packed`, of the differences from each value to the next.
    Delta = 3,
    /// Plain bytes, LZ4-compressed.
    Lz4 = 4,
    /// Text that is canonical decimal integers, as an integer page.
    TextIntegers = 5,
    /// Groups of 1,024: the bin that a value lies in, in a code, and its place in the bin.
    Bins = 6,
    /// As `Bins`, of the differences from each value to the next.
    DeltaBins = 7,
}

impl Encoding {
    /// The encoding with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        use Encoding::{Bins, Constant, Delta, DeltaBins, Lz4, Packed, Plain, TextIntegers};
        [Plain, Constant, Packed, Delta, Lz4, TextIntegers, Bins, DeltaBins]
            .into_iter()
            .find(|encoding| *encoding as u8 == code)
    }
}

/// Bytes of a page that contradict the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub &'static str);

/// Result of decoding.
pub type Result<T> = std::result::Result<T, Fault>;
