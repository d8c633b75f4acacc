//! The thread that records one feed: frames through the dialect, rows into the store.
//!
//! It holds the only state that decides what is stored, and learns from what it stored which books
//! must be made whole again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{error, warn};

use super::books::BookWatch;
use super::inbox::{Event, Incoming, Portion};
use super::rejects::RejectFile;
use super::stats::{FeedStats, Stats};
use super::storing::Storing;
use crate::book::{State, Tracker};
use crate::error::Result;
use crate::event::{Batch, BatchBuilder, Kind, StatusWhat, StreamKey};
use crate::ingest::raw_lane::{push_frame, raw_instrument};
use crate::ingest::redundant::{Made, Merger};
use crate::ingest::{Dialect, Frame, Rows};
use crate::limit;
use crate::quantity::{Instrument, TsNs};
use crate::store::{Recorder, Store};

/// Rows are handed to the store at the latest after this time,
const FLUSH_AFTER: Duration = Duration::from_millis(5);
/// or with so many of them.
const FLUSH_ROWS: usize = 50_000;
/// Portions between two looks at how many rows there are.
const PORTIONS_PER_LOOK: usize = 16;

/// Rows on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct Lags(Mutex<VecDeque<OnTheirWay>>);

/// Rows that were handed to the store together.
#[derive(Debug)]
struct OnTheirWay {
    seq: u64,
    /// When their first frame was read.
    read_at: Instant,
    feed: Arc<FeedStats>,
    /// The numbers of their symbols.
    symbols: Vec<usize>,
}

impl Lags {
    fn note(&self, rows: OnTheirWay) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(rows);
    }

    /// Counts what is durable.
    pub fn durable(&self, watermark: u64, stats: &Stats) {
        let now = Instant::now();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|rows| {
            let durable = rows.seq <= watermark;
            if durable {
                let lag = now.saturating_duration_since(rows.read_at);
                stats.durable_lag.note(lag);
                rows.feed.symbols().durable(&rows.symbols, lag);
            }
            !durable
        });
    }
}

/// Whether the raw lane can keep it: longer replies are read but not kept.
fn event_fits(event: &Event) -> bool {
    !matches!(event, Event::Reply { body, .. } if body.len() > limit::TEXT_BYTES_MAX)
}

/// What a recording needs.
pub(super) struct Recording {
    pub exchange: &'static str,
    pub store: Store,
    pub recorder: Recorder,
    pub stats: Stats,
    pub feed: Arc<FeedStats>,
    pub lags: Arc<Lags>,
    pub rejects: RejectFile,
    /// Keep every frame verbatim too.
    pub raw: bool,
    /// Books that need a snapshot, with the number of the copy that needs it.
    pub wants: mpsc::UnboundedSender<(usize, Instrument)>,
    /// The daemon is stopping: a full disk is not waited for.
    pub stopping: Arc<AtomicBool>,
}

/// One copy of the feed.
struct Copy {
    dialect: Box<dyn Dialect>,
    rows: Rows,
    /// Its books, as it has heard them.
    books: BookWatch,
    /// Its frames, verbatim.
    raw: BatchBuilder,
    /// Messages and bytes heard since the last flush, by the number of their stream in `rows`;
    /// and the streams that have some.
    heard: Vec<(u64, u64)>,
    spoke: Vec<usize>,
    /// Its connections that are up, and since when.
    up: BTreeMap<u32, TsNs>,
}

impl Copy {
    fn new(dialect: Box<dyn Dialect>) -> Self {
        let raw = BatchBuilder::new(Kind::Raw);
        let (rows, books) = (Rows::new(), BookWatch::default());
        let (heard, spoke, up) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { dialect, rows, books, raw, heard, spoke, up }
    }

    /// Whether the dialect is to hear what happened on a connection. A snapshot that was asked for
    /// before its connection came up would make a book whole whose changes were not heard.
    fn is_heard(&mut self, connection: u32, ts_recv: TsNs, event: &Event) -> bool {
        match event {
            Event::Connected(_) => drop(self.up.insert(connection, ts_recv)),
            Event::Disconnected => drop(self.up.remove(&connection)),
            Event::Reply { asked, .. } => {
                return self.up.get(&connection).is_some_and(|since| since <= asked);
            }
            Event::Sent(_) | Event::Message(_) => {}
        }
        true
    }

    /// Counts a message for the stream that it gave rows of.
    fn count(&mut self, bytes: usize) {
        let Some(stream) = self.rows.take_touched() else { return };
        if self.heard.len() <= stream {
            self.heard.resize(stream + 1, (0, 0));
        }
        if let Some((messages, of_bytes)) = self.heard.get_mut(stream) {
            if *messages == 0 {
                self.spoke.push(stream);
            }
            *messages += 1;
            *of_bytes += bytes as u64;
        }
    }

    /// Shows what was counted.
    fn show(&mut self, stats: &FeedStats) {
        let mut symbols = stats.symbols();
        for stream in self.spoke.drain(..) {
            let heard = self.heard.get_mut(stream).map(std::mem::take);
            if let (Some((messages, bytes)), Some(key)) = (heard, self.rows.stream_key(stream)) {
                symbols.heard(&key.instrument, messages, bytes);
            }
        }
    }

    /// Takes its rows. Rows that cannot be taken are a hole.
    fn take(&mut self, stats: &FeedStats, now: Instant) -> Result<Made> {
        let mut made = Made::new();
        for (key, batch) in self.rows.take_each() {
            match batch {
                Ok(batch) => made.push((key, batch)),
                Err(error) => {
                    stats.rejects.fetch_add(1, Relaxed);
                    error!(stream = %key, %error, "rows refused");
                    let ts_recv = self.rows.last_ts_recv(&key).unwrap_or(TsNs::MIN);
                    self.hole(&key, ts_recv, error.text());
                }
            }
        }
        made.extend(self.rows.take()?);
        for (key, batch) in &made {
            self.books.note(key, batch, now);
        }
        Ok(made)
    }

    /// Takes its frames. Those that cannot be taken are a hole.
    fn take_raw(&mut self, stats: &FeedStats, key: &StreamKey) -> Vec<Batch> {
        let last = self.raw.last_ts_recv();
        self.raw.finish().unwrap_or_else(|error| {
            stats.rejects.fetch_add(1, Relaxed);
            error!(stream = %key, %error, "rows refused");
            self.hole(key, last.unwrap_or(TsNs::MIN), error.text());
            Vec::new()
        })
    }

    /// Rows of a stream are missing.
    fn hole(&mut self, key: &StreamKey, ts_recv: TsNs, why: &str) {
        if key.kind == Kind::Book {
            self.dialect.doubt(&key.instrument);
            return self.rows.gap(&key.instrument, ts_recv, None, 0, why);
        }
        let detail = format!("{} not stored: {why}", key.kind.name());
        self.rows.status(&key.instrument, ts_recv, None, StatusWhat::Gap, &detail);
    }
}

/// The thread and what it knows.
struct Thread {
    recording: Recording,
    copies: Vec<Copy>,
    /// Makes one feed of several copies.
    merger: Merger,
    /// What the daemon itself has to say.
    facts: Rows,
    storing: Storing,
    recorded: BTreeSet<StreamKey>,
    read_at: Option<Instant>,
}

impl Recording {
    /// Records until nobody sends any more.
    ///
    /// # Errors
    /// The store cannot be written any more.
    pub fn run(
        self,
        dialects: Vec<Box<dyn Dialect>>,
        mut inbox: mpsc::Receiver<Incoming>,
    ) -> Result<()> {
        let mut state = Thread::new(self, dialects);
        while let Some(first) = inbox.blocking_recv() {
            let begun = Instant::now();
            state.take(first)?;
            let mut portions = 0;
            while begun.elapsed() < FLUSH_AFTER {
                let Ok(next) = inbox.try_recv() else { break };
                state.take(next)?;
                portions += 1;
                if portions % PORTIONS_PER_LOOK == 0 && state.rows() >= FLUSH_ROWS {
                    break;
                }
            }
            state.flush()?;
            state.ask();
        }
        state.finish()
    }
}

impl Thread {
    fn new(recording: Recording, dialects: Vec<Box<dyn Dialect>>) -> Self {
        let (stats, feed) = (recording.stats.clone(), recording.feed.clone());
        let (recorder, stopping) = (recording.recorder.clone(), recording.stopping.clone());
        Self {
            recording,
            merger: Merger::new(dialects.len()),
            copies: dialects.into_iter().map(Copy::new).collect(),
            facts: Rows::new(),
            storing: Storing::new(recorder, stats, feed, stopping),
            recorded: BTreeSet::new(),
            read_at: None,
        }
    }

    fn take(&mut self, incoming: Incoming) -> Result<()> {
        match incoming {
            Incoming::Portion(portion) => {
                if portion.stepped_ns.is_some() {
                    // What was heard before is as old as the clock said then.
                    self.flush()?;
                }
                self.portion(&portion);
            }
            Incoming::Expect(books, patience) => {
                let now = Instant::now();
                for watch in self.watches() {
                    books.iter().for_each(|book| watch.expect(book, now, patience));
                }
            }
            Incoming::Recorded(streams, ts_recv) => self.recorded(streams, ts_recv)?,
            // A disk that failed is noticed even if no rows come.
            Incoming::Tick => self.recording.recorder.check()?,
        }
        Ok(())
    }

    /// What is known of the books: as stored, and of each copy.
    fn watches(&mut self) -> impl Iterator<Item = &mut BookWatch> {
        let of_copies = self.copies.iter_mut().map(|copy| &mut copy.books);
        std::iter::once(&mut self.storing.books).chain(of_copies)
    }

    fn portion(&mut self, portion: &Portion) {
        let read_at = self.read_at.get_or_insert(portion.read_at);
        *read_at = portion.read_at.min(*read_at);
        if let Some((ts_recv, ns)) = portion.stepped_ns {
            self.clock_stepped(ts_recv, ns);
        }
        self.storing.ahead_ns = portion.ahead_ns;
        for (ts_recv, event) in &portion.events {
            let frame = match event {
                Event::Connected(url) => Frame::Connected { url },
                Event::Sent(text) => Frame::Sent(text.as_bytes()),
                Event::Message(message) => Frame::Message(message),
                Event::Reply { url, body, .. } => Frame::Reply { url, body },
                Event::Disconnected => Frame::Disconnected,
            };
            let Some(copy) = self.copies.get_mut(portion.replica) else { continue };
            let connection = portion.connection;
            let is_of_another = |book: &Instrument| {
                let key = StreamKey { instrument: book.clone(), kind: Kind::Book };
                !self.recorded.contains(&key)
            };
            let is_late = matches!(event, Event::Reply { book, .. } if is_of_another(book));
            if is_late || !copy.is_heard(connection, *ts_recv, event) {
                continue;
            }
            if self.recording.raw && event_fits(event) {
                push_frame(&mut copy.raw, *ts_recv, connection, &frame);
            }
            let read = copy.dialect.frame(*ts_recv, connection, &frame, &mut copy.rows);
            if let Frame::Message(message) = &frame {
                copy.count(message.len());
            }
            if let Err(error) = read {
                let exchange = self.recording.exchange;
                self.recording.feed.rejects.fetch_add(1, Relaxed);
                warn!(exchange, connection, %error, "message refused");
                let bytes = match &frame {
                    Frame::Message(bytes)
                    | Frame::Sent(bytes)
                    | Frame::Reply { body: bytes, .. } => *bytes,
                    Frame::Connected { .. } | Frame::Disconnected => b"",
                };
                let from = (*ts_recv, exchange, connection);
                if let Err(error) = self.recording.rejects.add(from, bytes, &error) {
                    warn!(exchange, %error, "reject file");
                }
            }
        }
    }

    fn clock_stepped(&mut self, ts_recv: TsNs, ns: i64) {
        self.recording.feed.clock_steps.fetch_add(1, Relaxed);
        let detail = format!("wall clock set by {:.3} s", ns as f64 / 1e9);
        warn!(exchange = self.recording.exchange, detail, "clock");
        let instruments: BTreeSet<_> = self.recorded.iter().map(|key| &key.instrument).collect();
        for instrument in instruments {
            self.facts.status(instrument, ts_recv, None, StatusWhat::Clock, &detail);
        }
    }

    /// Notes what is recorded from now on. What is no longer recorded, or was when an earlier
    /// process ended, is unknown from its last row on.
    fn recorded(&mut self, streams: BTreeSet<StreamKey>, ts_recv: TsNs) -> Result<()> {
        let ended: Vec<_> = self.recorded.difference(&streams).cloned().collect();
        ended.iter().for_each(|key| self.merger.forget(key));
        ended.iter().for_each(|key| self.ended(key, ts_recv));
        let snapshot = self.recording.store.snapshot()?;
        for key in streams.difference(&self.recorded) {
            let Ok(id) = snapshot.stream_id(&key.instrument, key.kind) else { continue };
            let parts = snapshot.parts(id);
            let last = parts.len().checked_sub(1);
            let Some((last, ts)) = last.zip(parts.last_ts()) else { continue };
            if key.kind != Kind::Book {
                let detail = format!("{}: none recorded after {}", key.kind.name(), TsNs(ts));
                self.facts.status(&key.instrument, ts_recv, None, StatusWhat::Gap, &detail);
                continue;
            }
            let Some(part) = snapshot.open_part(id, Kind::Book, last)? else { continue };
            let mut tracker = Tracker::new();
            part.restore(part.messages(), &mut tracker, &mut Batch::new(Kind::Book))?;
            if tracker.state() == State::Live {
                let detail = format!("the recording ended here or later; it went on at {ts_recv}");
                self.facts.gap(&key.instrument, TsNs(ts), None, 0, &detail);
            }
        }
        self.recorded = streams;
        Ok(())
    }

    /// A stream is no longer recorded.
    fn ended(&mut self, key: &StreamKey, ts_recv: TsNs) {
        if key.kind != Kind::Book {
            let detail = format!("{}: no longer recorded", key.kind.name());
            let what = StatusWhat::Gap;
            return self.facts.status(&key.instrument, ts_recv, None, what, &detail);
        }
        if self.storing.books.has_begun(&key.instrument) {
            self.facts.gap(&key.instrument, ts_recv, None, 0, "no longer recorded");
        }
        self.watches().for_each(|watch| watch.forget(&key.instrument));
    }

    fn rows(&self) -> usize {
        self.copies.iter().map(|copy| copy.rows.pending_rows()).sum()
    }

    /// Hands all rows to the store.
    fn flush(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut batches = Made::new();
        let mut made = Vec::new();
        for (number, copy) in self.copies.iter_mut().enumerate() {
            if !copy.raw.is_empty() {
                let instrument = raw_instrument(self.recording.exchange, number)?;
                let key = StreamKey { instrument, kind: Kind::Raw };
                let frames = copy.take_raw(&self.recording.feed, &key);
                batches.extend(frames.into_iter().map(|batch| (key.clone(), batch)));
            }
            copy.show(&self.recording.feed);
            made.push(copy.take(&self.recording.feed, now)?);
        }
        batches.extend(match made.len() {
            1 => made.pop().unwrap_or_default(),
            _ => self.merger.merge(made)?,
        });
        batches.extend(self.facts.take()?);
        let mut last = None;
        for (key, batch) in batches {
            match self.storing.store(&key, &batch, now)? {
                Some(seq) => last = Some(seq),
                None => self.doubt(&key, now),
            }
        }
        self.storing.pay_all(now)?;
        let symbols = self.storing.take_symbols();
        if let (Some(seq), Some(read_at)) = (last, self.read_at.take()) {
            let feed = self.recording.feed.clone();
            self.recording.lags.note(OnTheirWay { seq, read_at, feed, symbols });
        }
        Ok(())
    }

    /// Rows were refused by the store: a book must be made whole again.
    fn doubt(&mut self, key: &StreamKey, now: Instant) {
        if key.kind == Kind::Book {
            self.watches().for_each(|watch| watch.doubt(&key.instrument, now));
            self.copies.iter_mut().for_each(|copy| copy.dialect.doubt(&key.instrument));
            self.merger.forget(key);
        }
    }

    /// Asks for the books that need a snapshot.
    fn ask(&mut self) {
        let now = Instant::now();
        for (number, copy) in self.copies.iter_mut().enumerate() {
            for instrument in copy.books.due(now) {
                // The feed may be stopping.
                drop(self.recording.wants.send((number, instrument)));
            }
        }
        let (all, live) = self.storing.books.counts();
        self.recording.feed.books.store(all as u64, Relaxed);
        self.recording.feed.books_live.store(live as u64, Relaxed);
        let copies_live: usize = self.copies.iter().map(|copy| copy.books.counts().1).sum();
        self.recording.feed.copies_live.store(copies_live as u64, Relaxed);
    }

    fn finish(mut self) -> Result<()> {
        for copy in &mut self.copies {
            if let Err(error) = copy.dialect.finish(&mut copy.rows) {
                warn!(exchange = self.recording.exchange, %error, "at the end");
            }
        }
        self.flush()
    }
}

#[cfg(test)]
mod tests;
