//! Rows into the store: what it takes is counted, what it refuses is owed a gap.
//!
//! A gap is stored at once, at the latest before the next row of its stream: no row ever follows a
//! hole that nobody was told of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::books::BookWatch;
use super::stats::{FeedStats, Stats};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, BatchBuilder, Kind, MessageHead, StatusRow, StatusWhat, StreamKey};
use crate::quantity::TsNs;
use crate::store::Recorder;

/// How often a full disk is tried again.
const FULL_WAIT: Duration = Duration::from_millis(500);

/// The way into the store of one feed.
pub(super) struct Storing {
    recorder: Recorder,
    stats: Stats,
    feed: Arc<FeedStats>,
    /// The daemon is stopping: a full disk is not waited for.
    stopping: Arc<AtomicBool>,
    /// The books as they are stored.
    pub books: BookWatch,
    /// By how much receive times are ahead of the wall clock, ns.
    pub ahead_ns: i64,
    /// Streams with a hole that the store was not told of yet.
    owed: BTreeMap<StreamKey, Owed>,
    /// The numbers of the symbols that rows were stored of.
    symbols: Vec<usize>,
}

/// A hole.
#[derive(Debug)]
struct Owed {
    messages: u64,
    ts_recv: i64,
    why: String,
    /// It was logged that the gap is refused too.
    logged: bool,
    /// The stream takes nothing until a damaged segment is moved aside, which needs this to stop.
    ended: bool,
}

impl Storing {
    /// Nothing is stored yet.
    pub fn new(
        recorder: Recorder,
        stats: Stats,
        feed: Arc<FeedStats>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        let (books, owed, symbols) = (BookWatch::default(), BTreeMap::new(), Vec::new());
        Self { recorder, stats, feed, stopping, books, ahead_ns: 0, owed, symbols }
    }

    /// Stores rows; their sequence, or `None` if the store refused them and they are lost.
    ///
    /// # Errors
    /// The store cannot be written any more.
    pub fn store(&mut self, key: &StreamKey, batch: &Batch, now: Instant) -> Result<Option<u64>> {
        let why = match self.pay(key, batch.ts_recv().first().copied(), now)? {
            true => match self.append(key, batch)? {
                Ok(seq) => {
                    self.count(key, batch, now);
                    return Ok(Some(seq));
                }
                Err(refusal) => {
                    error!(stream = %key, rows = batch.rows(), error = %refusal, "rows refused");
                    refusal.text().to_owned()
                }
            },
            false => String::new(),
        };
        self.feed.rejects.fetch_add(1, Relaxed);
        self.feed.rows_lost.fetch_add(batch.rows() as u64, Relaxed);
        self.owe(key, batch, why);
        Ok(None)
    }

    /// Stores the gaps that are owed.
    ///
    /// # Errors
    /// The store cannot be written any more.
    pub fn pay_all(&mut self, now: Instant) -> Result<()> {
        let owed: Vec<_> = self.owed.keys().cloned().collect();
        owed.iter().try_for_each(|key| self.pay(key, None, now).map(drop))
    }

    fn owe(&mut self, key: &StreamKey, batch: &Batch, why: String) {
        let new = || Owed { messages: 0, ts_recv: i64::MIN, why, logged: false, ended: false };
        let owed = self.owed.entry(key.clone()).or_insert_with(new);
        owed.messages += batch.messages() as u64;
        owed.ts_recv = batch.ts_recv().last().copied().unwrap_or(i64::MIN).max(owed.ts_recv);
    }

    /// Stores the gap that is owed to a stream, if there is one, not after `before`; whether rows
    /// may follow.
    fn pay(&mut self, key: &StreamKey, before: Option<i64>, now: Instant) -> Result<bool> {
        let Some(owed) = self.owed.get(key) else { return Ok(true) };
        if owed.ended {
            return Ok(false);
        }
        let ts_recv = before.map_or(owed.ts_recv, |before| before.max(owed.ts_recv));
        let detail = format!("{} not stored: {}", key.kind.name(), owed.why);
        let mut refusal = None;
        if key.kind == Kind::Book {
            refusal = self.store_gap(key, TsNs(ts_recv), owed.messages, now)?;
        }
        let ended = refusal.as_ref().is_some_and(|error| error.kind() == ErrorKind::Corrupt);
        if (refusal.is_none() || ended) && key.kind != Kind::Status {
            let status = StreamKey { instrument: key.instrument.clone(), kind: Kind::Status };
            let told = self.append_counted(&status, &gap_status(TsNs(ts_recv), &detail)?, now)?;
            // The gap of a book stands in the book.
            refusal = refusal.or(told.filter(|_| key.kind != Kind::Book));
        }
        match (refusal, self.owed.get_mut(key)) {
            (Some(refusal), Some(owed)) => {
                owed.ended = ended;
                if !std::mem::replace(&mut owed.logged, true) {
                    error!(stream = %key, error = %refusal, "not even the gap is taken");
                }
                Ok(false)
            }
            _ => {
                self.owed.remove(key);
                Ok(true)
            }
        }
    }

    /// Stores a gap in a book; begins it if it never began. Why not, if not.
    fn store_gap(
        &mut self,
        key: &StreamKey,
        ts_recv: TsNs,
        missing: u64,
        now: Instant,
    ) -> Result<Option<Error>> {
        if self.append_counted(key, &gap(ts_recv, missing, false)?, now)?.is_none() {
            return Ok(None);
        }
        self.append_counted(key, &gap(ts_recv, missing, true)?, now)
    }

    /// Appends and counts rows; why they were refused, if they were.
    fn append_counted(
        &mut self,
        key: &StreamKey,
        batch: &Batch,
        now: Instant,
    ) -> Result<Option<Error>> {
        match self.append(key, batch)? {
            Ok(_) => {
                self.count(key, batch, now);
                Ok(None)
            }
            Err(refusal) => Ok(Some(refusal)),
        }
    }

    /// Learns from rows that were stored.
    fn count(&mut self, key: &StreamKey, batch: &Batch, now: Instant) {
        let told = self.books.note(key, batch, now);
        let lag = event_lag(batch, self.ahead_ns);
        if let Some(lag) = lag {
            self.feed.event_lag.note(lag);
        }
        let number = self.feed.symbols().stored(key, batch.rows(), told, lag);
        self.symbols.push(number);
    }

    /// The numbers of the symbols that rows were stored of since this was asked.
    pub fn take_symbols(&mut self) -> Vec<usize> {
        let mut symbols = std::mem::take(&mut self.symbols);
        symbols.sort_unstable();
        symbols.dedup();
        symbols
    }

    /// Appends; waits for room on a full disk. The inner error is why these rows are refused.
    fn append(&self, key: &StreamKey, batch: &Batch) -> Result<Result<u64, Error>> {
        loop {
            let error = match self.recorder.append(key, batch) {
                Ok(seq) => {
                    if self.stats.disk_full.swap(0, Relaxed) != 0 {
                        info!("the disk has room again");
                    }
                    return Ok(Ok(seq));
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Full if self.stopping.load(Relaxed) => return Ok(Err(error)),
                ErrorKind::Full => {
                    if self.stats.disk_full.swap(1, Relaxed) == 0 {
                        error!(%error, "waiting for room");
                    }
                    std::thread::sleep(FULL_WAIT);
                }
                ErrorKind::Invalid | ErrorKind::Limit => return Ok(Err(error)),
                // The others go on, whatever became of the segment that this stream goes on with.
                ErrorKind::Corrupt => {
                    let what = "no row is recorded before `tickreel quarantine` moves this aside";
                    return Ok(Err(error.context(what)));
                }
                _ => return Err(error),
            }
        }
    }
}

/// How old the newest row was when it came, by a wall clock that receive times are ahead of by so
/// much.
fn event_lag(batch: &Batch, ahead_ns: i64) -> Option<Duration> {
    let last = |times: &[i64]| times.last().copied().filter(|ts| *ts != i64::MIN);
    let (recv, event) = last(batch.ts_recv()).zip(last(batch.i64s(1)))?;
    let ns = recv.saturating_sub(ahead_ns).saturating_sub(event);
    let ns = u64::try_from(ns).unwrap_or(0);
    Some(Duration::from_nanos(ns))
}

/// A gap in a book; in an empty one if it is to begin.
fn gap(ts_recv: TsNs, missing: u64, begins: bool) -> Result<Batch> {
    let mut builder = BatchBuilder::new(Kind::Book);
    builder.begin(MessageHead { ts_recv, ..MessageHead::default() });
    if begins {
        builder.reset();
    }
    builder.gap(missing);
    builder.end();
    only(builder)
}

/// A row of `status` that says what is missing.
fn gap_status(ts_recv: TsNs, detail: &str) -> Result<Batch> {
    let mut builder = BatchBuilder::new(Kind::Status);
    builder.status(&StatusRow { ts_recv, ts_event: None, what: StatusWhat::Gap, detail });
    only(builder)
}

fn only(mut builder: BatchBuilder) -> Result<Batch> {
    let made = builder.finish()?.pop();
    made.ok_or_else(|| Error::invalid("rows of a gap: expected one batch"))
}
