//! The same questions to a store on this machine or to a server.

use std::ops::Range;

use super::args::{self, From};
use super::play::{Clock, PlayedStep, ReplayRequest, Totals};
use super::remote::{Remote, RemoteRows};
use super::steer::SteerArgs;
use crate::book::Tracker;
use crate::error::{Error, Result};
use crate::event::{Batch, Kind, Side, StreamKey};
use crate::quantity::{Decimal, Instrument, TsNs};
use crate::replay::{Coverage, Filter, Scan};
use crate::rpc::BookAnswer;
use crate::segment::ColumnMask;
use crate::store::{Snapshot, Store, StreamInfo};

/// What a command reads from.
pub enum Target {
    /// A store folder on this machine.
    Store(Snapshot),
    /// A server.
    Server(Box<Remote>),
}

impl Target {
    /// Opens the store or connects to the server.
    ///
    /// # Errors
    /// It cannot be opened or reached.
    pub fn open(from: &From) -> Result<Self> {
        match (&from.place.store, &from.place.server) {
            (Some(store), _) => Ok(Self::Store(Store::open(store)?.snapshot()?)),
            (None, Some(url)) => {
                Ok(Self::Server(Box::new(Remote::connect(url, &from.proof.credentials()?)?)))
            }
            (None, None) => Err(Error::invalid("name a store (--store) or a server (--server)")),
        }
    }

    /// What is stored of each stream.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn stream_infos(&self) -> Result<Vec<StreamInfo>> {
        match self {
            Self::Store(snapshot) => Ok(snapshot.stream_infos()),
            Self::Server(remote) => remote.stream_infos(),
        }
    }

    /// Ranges and gaps of an instrument.
    ///
    /// # Errors
    /// It cannot be read or has nothing of the instrument.
    pub fn coverage(&self, instrument: &Instrument) -> Result<Vec<Coverage>> {
        match self {
            Self::Store(snapshot) => snapshot.coverage(instrument),
            Self::Server(remote) => remote.coverage(instrument),
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
                Ok(book_answer(instrument, at, &tracker, depth, books.digits()))
            }
            Self::Server(remote) => remote.book(instrument, at, depth),
        }
    }

    /// Rows of a stream in a range. A server may send more columns than asked for.
    ///
    /// # Errors
    /// It cannot be read or there is no such stream.
    pub fn scan(
        &self,
        instrument: &Instrument,
        kind: Kind,
        range: Range<TsNs>,
        columns: ColumnMask,
        filter: Filter,
    ) -> Result<Rows<'_>> {
        match self {
            Self::Store(snapshot) => {
                let scales = snapshot.scales(snapshot.stream_id(instrument, kind)?);
                let scan = snapshot.scan(instrument, kind, range, columns)?.with_filter(filter);
                let scales = scales.iter().take(kind.schema().columns.len()).copied().collect();
                Ok(Rows::Store { scan: Box::new(scan), scales })
            }
            Self::Server(remote) => {
                Ok(Rows::Server(Box::new(remote.scan(instrument, kind, range, filter)?)))
            }
        }
    }

    /// Plays streams in the total order; `each` sees every run of messages of one stream.
    ///
    /// # Errors
    /// It cannot be read, a stream is not there, or what `each` gives.
    pub fn play(
        &self,
        request: &ReplayRequest,
        each: impl FnMut(&PlayedStep<'_>) -> Result<()>,
    ) -> Result<Totals> {
        match self {
            Self::Store(snapshot) => play_store(snapshot, request, each),
            Self::Server(remote) => remote.play(&SteerArgs::default().begin(request, false)?, each),
        }
    }

    /// Rows that a replay plays at most, for progress.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn rows_at_most(&self, request: &ReplayRequest) -> Result<u64> {
        let infos = self.stream_infos()?;
        let wanted = infos.iter().filter(|info| {
            request.instruments.contains(&info.key.instrument)
                && (request.kinds.is_empty() || request.kinds.contains(&info.key.kind))
        });
        Ok(wanted.map(|info| info.rows).sum())
    }
}

/// The first `depth` levels of a tracker's book.
pub fn book_answer(
    instrument: &Instrument,
    at: TsNs,
    tracker: &Tracker,
    depth: usize,
    digits: (u8, u8),
) -> BookAnswer {
    let book = tracker.book();
    let levels = |side| {
        let levels = book.levels(side).take(depth);
        let exact = levels.filter_map(|(price, qty)| {
            let price = Decimal::new(price, book.price_scale())?;
            Some((price, Decimal::new(qty, book.qty_scale())?))
        });
        exact.collect()
    };
    BookAnswer {
        instrument: instrument.clone(),
        at,
        state: tracker.state(),
        ts_event: tracker.ts_event(),
        ts_recv: tracker.ts_recv(),
        venue_seq: tracker.venue_seq(),
        digits,
        bids: levels(Side::Bid),
        asks: levels(Side::Ask),
        level_counts: (book.level_count(Side::Bid) as u64, book.level_count(Side::Ask) as u64),
    }
}

fn play_store(
    snapshot: &Snapshot,
    request: &ReplayRequest,
    mut each: impl FnMut(&PlayedStep<'_>) -> Result<()>,
) -> Result<Totals> {
    let keys: Vec<StreamKey> = args::streams(snapshot, &request.instruments, &request.kinds)?;
    let mut replay = snapshot.replay_by(request.order, &keys, request.range.clone())?;
    let mut clock = Clock::new(request.speed);
    let messages_max = if request.speed.is_some() { 1 } else { usize::MAX };
    while let Some(step) = replay.step(messages_max)? {
        let (stream, messages) = (step.stream, step.messages());
        let due = TsNs(step.times.get(messages.start).copied().unwrap_or_default());
        let played =
            PlayedStep { key: step.key, batch: step.batch, messages: messages.clone(), due };
        clock.wait(due)?;
        each(&played)?;
        replay.accept(stream, messages, request.hash)?;
    }
    Ok(Totals { streams: replay.stream_totals(), all: replay.total() })
}

/// Rows of a stream, batch by batch.
pub enum Rows<'a> {
    /// From a store.
    Store {
        /// Reads them.
        scan: Box<Scan>,
        /// Largest scale of each column.
        scales: Vec<u8>,
    },
    /// From a server.
    Server(Box<RemoteRows<'a>>),
}

impl Rows<'_> {
    /// Largest decimal scale of each column over all rows.
    pub fn scales(&self) -> Vec<u8> {
        match self {
            Self::Store { scales, .. } => scales.clone(),
            Self::Server(rows) => rows.scales(),
        }
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<&Batch>> {
        match self {
            Self::Store { scan, .. } => scan.next_batch(),
            Self::Server(rows) => rows.next_batch(),
        }
    }
}
