//! A server, asked from a program that is not async.

use std::ops::Range;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::runtime::Runtime;

use super::play::{PlayedStep, Totals};
use super::screen;
use super::steer::Begin;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, ContentHash, Kind, StreamKey};
use crate::limit;
use crate::quantity::{Instrument, TsNs};
use crate::replay::{Coverage, Filter};
use crate::rpc::{
    BookAnswer, BookQuery, Client, CoverageQuery, Credentials, End, EndReason, Event, Frame,
    InstrumentQuery, OpenedStream, RemoteScan, ScanQuery, Session, SessionState,
};
use crate::store::StreamInfo;

/// Longest wait for an event, so that Ctrl-C is noticed.
const LOOK_UP: Duration = Duration::from_millis(100);

/// A connection to a server.
pub struct Remote {
    runtime: Runtime,
    client: Client,
}

impl Remote {
    /// Connects to a server.
    ///
    /// # Errors
    /// As [`Client::connect_with`].
    pub fn connect(url: &str, credentials: &Credentials) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::new(ErrorKind::Io, format!("cannot start the network: {e}")))?;
        let client = runtime.block_on(Client::connect_with(url, credentials))?;
        Ok(Self { runtime, client })
    }

    /// What is stored of each stream.
    ///
    /// # Errors
    /// As [`Client::instruments`].
    pub fn stream_infos(&self) -> Result<Vec<StreamInfo>> {
        let summaries =
            self.runtime.block_on(self.client.instruments(&InstrumentQuery::default()))?;
        Ok(summaries.into_iter().map(|summary| summary.info).collect())
    }

    /// Ranges and gaps of an instrument.
    ///
    /// # Errors
    /// As [`Client::coverage`].
    pub fn coverage(&self, instrument: &Instrument) -> Result<Vec<Coverage>> {
        let query = CoverageQuery {
            instrument: instrument.clone(),
            kinds: Vec::new(),
            range: TsNs::MIN..TsNs::MAX,
        };
        self.runtime.block_on(self.client.coverage(&query))
    }

    /// The book of an instrument.
    ///
    /// # Errors
    /// As [`Client::book`].
    pub fn book(&self, instrument: &Instrument, at: TsNs, depth: usize) -> Result<BookAnswer> {
        let depth = (depth < limit::REQUEST_DEPTH_MAX).then_some(depth);
        let query = BookQuery { instrument: instrument.clone(), at, depth };
        self.runtime.block_on(self.client.book(&query))
    }

    /// Rows of a stream.
    ///
    /// # Errors
    /// As [`Client::scan`].
    pub fn scan(
        &self,
        instrument: &Instrument,
        kind: Kind,
        range: Range<TsNs>,
        filter: Filter,
    ) -> Result<RemoteRows<'_>> {
        let query =
            ScanQuery { range, filter, hash: false, ..ScanQuery::all(instrument.clone(), kind) };
        let mut scan = self.runtime.block_on(self.client.scan(&query))?;
        // The first batch tells the scales, which are the same in all of them.
        let first = self.runtime.block_on(scan.next_batch())?;
        let waiting = first.is_some();
        let batch = first.unwrap_or_else(|| Batch::new(kind));
        Ok(RemoteRows { runtime: &self.runtime, scan, batch, waiting })
    }

    async fn begin(&self, begin: &Begin) -> Result<Session> {
        match begin {
            Begin::Open(query) => self.client.replay(query).await,
            Begin::Join(query) => self.client.join(query).await,
        }
    }

    /// Plays a session; `each` sees every run of messages of one stream.
    ///
    /// # Errors
    /// As [`Client::replay`] and [`Client::join`], or what `each` gives.
    pub fn play(
        &self,
        begin: &Begin,
        mut each: impl FnMut(&PlayedStep<'_>) -> Result<()>,
    ) -> Result<Totals> {
        let end = self.hear(begin, |event, streams| match event {
            Event::Frame(frame) => show(frame, streams, &mut each),
            _ => Ok(()),
        })?;
        let all = end.hash.unwrap_or(ContentHash::from_parts(0, end.rows));
        Ok(Totals { streams: end.streams, all })
    }

    /// Plays a session of books; `each` sees the table of each stream in each frame.
    ///
    /// # Errors
    /// As [`Remote::play`].
    pub fn play_books(
        &self,
        begin: &Begin,
        mut each: impl FnMut(&StreamKey, &RecordBatch) -> Result<()>,
    ) -> Result<()> {
        self.hear(begin, |event, streams| {
            let Event::Books(frame) = event else { return Ok(()) };
            frame.tables.iter().try_for_each(|(stream, table)| {
                streams.get(*stream).map_or(Ok(()), |stream| each(&stream.key, table))
            })
        })?;
        Ok(())
    }

    /// Hands a session to somebody else.
    ///
    /// # Errors
    /// As [`Remote::play`], or what `with` gives.
    pub fn with_session(
        &self,
        begin: &Begin,
        with: impl AsyncFnOnce(Session) -> Result<()>,
    ) -> Result<()> {
        self.runtime.block_on(async { with(self.begin(begin).await?).await })
    }

    /// Hands every event of a session to `each` until its end.
    fn hear(
        &self,
        begin: &Begin,
        mut each: impl FnMut(&Event, &[OpenedStream]) -> Result<()>,
    ) -> Result<End> {
        self.runtime.block_on(async {
            let mut session = self.begin(begin).await?;
            let streams = session.streams().to_vec();
            loop {
                screen::check_interrupted()?;
                let next = tokio::time::timeout(LOOK_UP, session.next());
                // Nothing came, which is no reason not to hear of Ctrl-C.
                let Ok(event) = next.await else { continue };
                match event? {
                    Some(Event::Refused(error)) => return Err(error),
                    Some(Event::End(end)) if end.reason != EndReason::Looped => return Ok(end),
                    Some(event) => {
                        note(&event, &streams);
                        each(&event, &streams)?;
                    }
                    None => {
                        let text = "the server ended the replay before its end";
                        return Err(Error::new(ErrorKind::Remote, text));
                    }
                }
            }
        })
    }
}

/// Says on standard error what no row tells.
fn note(event: &Event, streams: &[OpenedStream]) {
    let Event::State(SessionState { stop: Some(stop), .. }) = event else { return };
    let stream = stop.stream.and_then(|stream| streams.get(stream));
    let of = stream.map_or(String::new(), |stream| format!(" of {}", stream.key));
    let what = format!("{:?}", stop.condition).to_lowercase();
    screen::error_line(&format!("stopped: {what}{of} at {}", stop.time));
}

fn show(
    frame: &Frame,
    streams: &[OpenedStream],
    each: &mut impl FnMut(&PlayedStep<'_>) -> Result<()>,
) -> Result<()> {
    for step in frame.steps() {
        let Some(stream) = streams.get(step.stream) else { continue };
        let (key, batch, messages) = (&stream.key, step.batch, step.messages);
        each(&PlayedStep { key, batch, messages, due: frame.first })?;
    }
    Ok(())
}

/// Rows of a stream from a server.
pub struct RemoteRows<'a> {
    runtime: &'a Runtime,
    scan: RemoteScan,
    batch: Batch,
    /// The batch was read but not given out yet.
    waiting: bool,
}

impl RemoteRows<'_> {
    /// Decimal scale of each column.
    pub fn scales(&self) -> Vec<u8> {
        (0..self.batch.columns().len()).map(|column| self.batch.scale(column)).collect()
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// As [`RemoteScan::next_batch`].
    pub fn next_batch(&mut self) -> Result<Option<&Batch>> {
        if !std::mem::take(&mut self.waiting) {
            let Some(next) = self.runtime.block_on(self.scan.next_batch())? else {
                return Ok(None);
            };
            self.batch = next;
        }
        Ok(Some(&self.batch))
    }
}
