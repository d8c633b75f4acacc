//! What the captures say, known from their making.

use crate::book::Book;
use crate::quantity::{Instrument, TsNs};

/// How far [`super::write_captures`] has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Levels of books written.
    pub book_rows: u64,
    /// Time made so far, all instruments together.
    pub done_ns: i64,
    /// Time to make, all instruments together.
    pub total_ns: i64,
}

/// The captures and what they say.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// Every file, in the order it was opened.
    pub files: Vec<CaptureFile>,
    /// What a store must answer after it imported them all.
    pub truth: Truth,
}

/// One file of a market.
#[derive(Clone, Debug)]
pub struct CaptureFile {
    /// Its name, without folder.
    pub name: String,
    /// The instrument it is about.
    pub instrument: Instrument,
}

/// What the books were and where messages are missing.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Books at chosen times outside gaps, by instrument, then by time.
    pub books: Vec<TrueBook>,
    /// Every hole in a venue's sequence of book messages.
    pub gaps: Vec<TrueGap>,
    /// What was written of each instrument.
    pub counts: Vec<(Instrument, Counts)>,
}

/// The whole book of an instrument after every message received up to a time.
#[derive(Clone, Debug)]
pub struct TrueBook {
    /// Whose book.
    pub instrument: Instrument,
    /// Receive time of the last message in it.
    pub at: TsNs,
    /// The venue's sequence number of that message, where the form has one.
    pub venue_seq: Option<i64>,
    /// Every level.
    pub book: Book,
}

/// Book messages that never arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrueGap {
    /// Whose messages.
    pub instrument: Instrument,
    /// Receive time of the first message after the hole: from here the book is stale.
    pub from: TsNs,
    /// Receive time of the venue snapshot that ends it.
    pub until: TsNs,
    /// How many messages are missing.
    pub messages: u64,
    /// The venue's sequence number of the last message before the hole.
    pub seq_before: i64,
    /// The sequence number that the first message after the hole follows.
    pub seq_after: i64,
}

/// What was written of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Venue snapshots.
    pub snapshots: u64,
    /// Book messages that are not snapshots.
    pub deltas: u64,
    /// Levels in both.
    pub levels: u64,
    /// Prints.
    pub trades: u64,
    /// Best prices.
    pub quotes: u64,
    /// States of a derivative.
    pub tickers: u64,
    /// Forced orders.
    pub liquidations: u64,
}
