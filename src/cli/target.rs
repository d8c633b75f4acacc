//! The same questions to a store on this machine or to a server.

use std::ops::Range;

use super::args::{self, From};
use crate::book::{State, Tracker};
use crate::error::{Error, Result};
use crate::event::{Batch, ContentHash, Kind, Side, StreamKey};
use crate::limit;
use crate::quantity::{Decimal, Instrument, TsNs};
use crate::replay::{Coverage, Replay, Scan, StreamTotal};
use crate::segment::ColumnMask;
use crate::store::{Snapshot, Store, StreamInfo};

/// What a command reads from.
pub enum Target {
    /// A store folder on this machine.
    Store(Snapshot),
}

/// A book as an answer: levels best first, as many as were asked for.
#[derive(Clone, Debug)]
pub struct BookAnswer {
    /// Of what.
    pub instrument: Instrument,
    /// The moment asked for.
    pub at: TsNs,
    /// Whether it can be relied on.
    pub state: State,
    /// Event time of the last message.
    pub ts_event: Option<TsNs>,
    /// Receive time of the last message.
    pub ts_recv: Option<TsNs>,
    /// Venue sequence of the last message.
    pub venue_seq: Option<i64>,
    /// Price and quantity, highest price first.
    pub bids: Vec<(Decimal, Decimal)>,
    /// Price and quantity, lowest price first.
    pub asks: Vec<(Decimal, Decimal)>,
    /// Levels that the book has in all: bids, asks.
    pub level_counts: (usize, usize),
    /// Decimals that the venue writes prices and quantities with.
    pub digits: (u8, u8),
}

impl BookAnswer {
    /// The first `depth` levels of a tracker's book.
    pub fn new(
        instrument: &Instrument,
        at: TsNs,
        tracker: &Tracker,
        depth: usize,
        digits: (u8, u8),
    ) -> Self {
        let book = tracker.book();
        let levels = |side| {
            book.levels(side)
                .take(depth)
                .filter_map(|(price, qty)| {
                    let price = Decimal::new(price, book.price_scale())?;
                    Some((price, Decimal::new(qty, book.qty_scale())?))
                })
                .collect()
        };
        Self {
            instrument: instrument.clone(),
            at,
            state: tracker.state(),
            ts_event: tracker.ts_event(),
            ts_recv: tracker.ts_recv(),
            venue_seq: tracker.venue_seq(),
            bids: levels(Side::Bid),
            asks: levels(Side::Ask),
            level_counts: (book.level_count(Side::Bid), book.level_count(Side::Ask)),
            digits,
        }
    }
}

/// What to replay.
#[derive(Clone, Debug)]
pub struct ReplayRequest {
    /// Instruments.
    pub instruments: Vec<Instrument>,
    /// Kinds; all if empty.
    pub kinds: Vec<Kind>,
    /// Receive times.
    pub range: Range<TsNs>,
    /// Whether to keep hashes.
    pub hash: bool,
}

/// Rows and hashes of a replay.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Of each stream.
    pub streams: Vec<StreamTotal>,
    /// Over all, in the order played.
    pub all: ContentHash,
}

impl Target {
    /// Opens the store or connects to the server.
    ///
    /// # Errors
    /// It cannot be opened or reached.
    pub fn open(from: &From) -> Result<Self> {
        match (&from.store, &from.server) {
            (Some(store), _) => Ok(Self::Store(Store::open(store)?.snapshot()?)),
            (None, _) => Err(Error::invalid("name a store with --store DIR")),
        }
    }

    /// What is stored of each stream.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn stream_infos(&self) -> Result<Vec<StreamInfo>> {
        match self {
            Self::Store(snapshot) => Ok(snapshot.stream_infos()),
        }
    }

    /// Ranges and gaps of an instrument.
    ///
    /// # Errors
    /// It cannot be read or has nothing of the instrument.
    pub fn coverage(&self, instrument: &Instrument) -> Result<Vec<Coverage>> {
        match self {
            Self::Store(snapshot) => snapshot.coverage(instrument),
        }
    }

    /// The book of an instrument after every message received at or before `at`.
    ///
    /// # Errors
    /// It cannot be read or there is no book of the instrument.
    pub fn book(&self, instrument: &Instrument, at: TsNs, depth: usize) -> Result<BookAnswer> {
        match self {
            Self::Store(snapshot) => {
                let mut books = snapshot.books(instrument)?;
                let tracker = books.at(at)?.clone();
                Ok(BookAnswer::new(instrument, at, &tracker, depth, books.digits()))
            }
        }
    }

    /// Rows of a stream in a range.
    ///
    /// # Errors
    /// It cannot be read or there is no such stream.
    pub fn scan(
        &self,
        instrument: &Instrument,
        kind: Kind,
        range: Range<TsNs>,
        columns: ColumnMask,
    ) -> Result<Rows> {
        match self {
            Self::Store(snapshot) => {
                let scales = snapshot.scales(snapshot.stream_id(instrument, kind)?);
                let scan = snapshot.scan(instrument, kind, range, columns)?;
                Ok(Rows::Store { scan, scales })
            }
        }
    }

    /// Plays streams in the total order.
    ///
    /// # Errors
    /// It cannot be read or a stream is not there.
    pub fn replay(&self, request: &ReplayRequest) -> Result<Player> {
        match self {
            Self::Store(snapshot) => {
                let keys = args::streams(snapshot, &request.instruments, &request.kinds)?;
                let replay = snapshot.replay(&keys, request.range.clone())?;
                Ok(Player::Store { replay, hash: request.hash, pending: None })
            }
        }
    }
}

/// Rows of a stream, batch by batch.
pub enum Rows {
    /// From a store.
    Store {
        /// Reads them.
        scan: Scan,
        /// Largest scale of each column.
        scales: [u8; 16],
    },
}

impl Rows {
    /// Largest decimal scale of each column over all rows.
    pub fn scales(&self) -> Vec<u8> {
        match self {
            Self::Store { scales, .. } => scales[..limit::COLUMNS_MAX.min(16)].to_vec(),
        }
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<&Batch>> {
        match self {
            Self::Store { scan, .. } => scan.next_batch(),
        }
    }
}

/// A replay under way.
pub enum Player {
    /// From a store.
    Store {
        /// Plays them.
        replay: Replay,
        /// Whether to keep hashes.
        hash: bool,
        /// Stream and messages of the last step, until it is accepted.
        pending: Option<(usize, Range<usize>)>,
    },
}

/// A run of messages of one stream.
pub struct PlayedStep<'a> {
    /// Which stream.
    pub key: &'a StreamKey,
    /// The rows.
    pub batch: &'a Batch,
    /// The messages of them that belong to the step.
    pub messages: Range<usize>,
}

impl PlayedStep<'_> {
    /// Receive time of the first message.
    pub fn ts(&self) -> TsNs {
        TsNs(self.batch.ts_recv().get(self.messages.start).copied().unwrap_or_default())
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        let first = self.batch.message_rows(self.messages.start).start;
        let end = self.batch.message_rows(self.messages.end.saturating_sub(1)).end;
        end.saturating_sub(first)
    }
}

impl Player {
    /// Rows to come at most, for progress.
    pub fn rows_at_most(&self) -> u64 {
        match self {
            Self::Store { replay, .. } => replay.rows_at_most(),
        }
    }

    /// The next run of messages; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn step(&mut self, messages_max: usize) -> Result<Option<PlayedStep<'_>>> {
        match self {
            Self::Store { replay, pending, .. } => {
                let Some(step) = replay.step(messages_max)? else { return Ok(None) };
                *pending = Some((step.stream, step.messages()));
                Ok(Some(PlayedStep { key: step.key, batch: step.batch, messages: step.messages() }))
            }
        }
    }

    /// Completes the last step.
    ///
    /// # Errors
    /// Its rows are no book.
    pub fn accept(&mut self) -> Result<()> {
        match self {
            Self::Store { replay, hash, pending } => match pending.take() {
                Some((stream, messages)) => replay.accept(stream, messages, *hash),
                None => Ok(()),
            },
        }
    }

    /// Rows and hashes so far.
    pub fn totals(&self) -> Totals {
        match self {
            Self::Store { replay, .. } => {
                Totals { streams: replay.stream_totals(), all: replay.total() }
            }
        }
    }
}
