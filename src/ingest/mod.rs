//! Feeds: a venue's bytes in, rows or an error out.
//!
//! A [`Dialect`] knows one venue's messages, snapshot rule, sequence rule and checksum. It is pure:
//! no sockets, no files, no clock; the same dialect reads a capture file and a live connection. A
//! [`Source`] reads one input file and fills [`Rows`]; [`load`] moves them into an import.
//!
//! # Adding a venue
//!
//! 1. `<venue>.rs`, the dialect: its header names the pages of the venue's documentation and the
//!    rules that follow from them; a `VenueFeed` in a `FeedDialect` has connections, books and
//!    messages that cannot be read; a `const VENUE` says which exchange ids it writes and what
//!    tells its captures. Which exchange a message belongs to comes from the message or from the
//!    exchange id the dialect was made for, never from the host alone.
//! 2. `<venue>/live.rs`, a [`live::LiveFeed`], with `live:` of `VENUE`: addresses, topics per kind,
//!    texts, manners. It lists and takes symbols exactly as the dialect writes them.
//! 3. One line in the table of [`venues`].
//! 4. Tests: messages by hand in `<venue>/tests.rs`, every refusal among them; a capture with what
//!    checks it (checksum, sequence, best prices) in `tests/`; for each live topic the documented
//!    message in `venues/tests.rs`, which tells of a kind that is offered and not read.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod binance;
mod bitfinex;
mod bitget;
mod bitmex;
mod bitstamp;
mod bybit;
mod capture;
pub mod checksum;
mod coinbase;
mod connection;
mod crypto_com;
#[cfg(feature = "daemon")]
pub mod daemon;
mod deribit;
mod detect;
mod feed_book;
mod feed_dialect;
mod ftx;
mod gate;
mod huobi;
mod hyperliquid;
mod input;
pub mod json;
mod kraken;
mod kraken_futures;
mod kucoin;
mod kucoin_futures;
pub mod live;
mod load;
mod okx;
mod open;
mod raw_lane;
mod recent_trades;
#[cfg(feature = "daemon")]
mod redundant;
mod rows;
pub mod sample;
mod sequence;
mod splice;
pub mod tardis_csv;
#[cfg(test)]
mod testing;
mod ticker;
mod trade_ids;
mod venue;
pub mod venues;

pub use crate::event::StreamKey;
pub use capture::{CaptureSource, Form, line};
pub use detect::Format;
pub use input::{Compression, Input, Line};
pub use load::{LoadReport, Watch, load};
pub use open::{OpenInput, OpenOptions, open, open_all};
pub use raw_lane::{RawSource, raw_instrument};
pub use rows::{Reject, Rows, StreamHint};
pub use ticker::TickerState;

use crate::error::Result;
use crate::quantity::{Instrument, TsNs};

/// One thing that happened on a connection to a venue, as a capture or a socket delivers it.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// The connection to this address is up.
    Connected {
        /// Address connected to; tells markets of one venue apart.
        url: &'a str,
    },
    /// We sent this text, e.g. a subscription.
    Sent(&'a [u8]),
    /// The venue sent this message.
    Message(&'a [u8]),
    /// The venue answered a REST request.
    Reply {
        /// The request.
        url: &'a str,
        /// The body.
        body: &'a [u8],
    },
    /// The connection was lost.
    Disconnected,
}

/// Turns one venue's messages into rows.
///
/// State lives as long as the dialect: books for checksums, sequence numbers per instrument. A hole
/// in the sequence or a wrong checksum becomes a gap row and a `status` row at once; levels until
/// the next venue snapshot are still stored, under that gap.
pub trait Dialect: Send {
    /// Takes one frame received at `ts_recv` on connection `connection` (numbered by the caller)
    /// and adds its rows.
    ///
    /// # Errors
    /// The frame cannot be read: [`crate::ErrorKind::Invalid`] with the field and what was
    /// expected. No row of it was added, but the gaps that it leaves; the dialect stays usable.
    fn frame(
        &mut self,
        ts_recv: TsNs,
        connection: u32,
        frame: &Frame<'_>,
        rows: &mut Rows,
    ) -> Result<()>;

    /// Rows of the book of `instrument` that this made were lost after it gave them: what it knows
    /// is no longer what is stored, until the next venue snapshot. The caller stores the gap.
    fn doubt(&mut self, instrument: &Instrument) {
        let _ = instrument;
    }

    /// No more frames will come: adds the rows of what was still waiting, e.g. for a snapshot.
    ///
    /// # Errors
    /// Something that waited cannot be read.
    fn finish(&mut self, rows: &mut Rows) -> Result<()> {
        let _ = rows;
        Ok(())
    }
}

/// One input file being read.
pub trait Source: Send {
    /// Reads on and adds rows, until some 100,000 rows are pending in `rows` or the input ends.
    /// `false` at the end of the input.
    ///
    /// Lines that cannot be read become [`Rows::reject`] entries, not errors.
    ///
    /// # Errors
    /// The input itself fails: it cannot be read or decompressed any further.
    fn fill(&mut self, rows: &mut Rows) -> Result<bool>;

    /// Bytes of the input file consumed so far, compressed as it is.
    fn bytes_read(&self) -> u64;
}
