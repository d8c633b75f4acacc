//! A server, asked from a program that is not async.

use std::ops::Range;

use tokio::runtime::Runtime;

use super::play::{PlayedStep, ReplayRequest, Totals};
use super::screen;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, ContentHash, Kind};
use crate::limit;
use crate::quantity::{Instrument, TsNs};
use crate::replay::{Coverage, Filter};
use crate::rpc::{
    BookAnswer, BookQuery, Client, CoverageQuery, Credentials, Event, Frame, InstrumentQuery,
    OpenedStream, RemoteScan, ReplayQuery, ScanQuery, Speed,
};
use crate::store::StreamInfo;

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

    /// Plays streams in the total order.
    ///
    /// # Errors
    /// As [`Client::replay`], or what `each` gives.
    pub fn play(
        &self,
        request: &ReplayRequest,
        mut each: impl FnMut(&PlayedStep<'_>) -> Result<()>,
    ) -> Result<Totals> {
        let query = ReplayQuery {
            streams: request
                .instruments
                .iter()
                .map(|instrument| (instrument.clone(), request.kinds.clone()))
                .collect(),
            range: request.range.clone(),
            speed: Speed::times(request.speed.unwrap_or(0.0))?,
            opening_depth: Some(0),
            hash: request.hash,
            ..ReplayQuery::all(&request.instruments)
        };
        self.runtime.block_on(async {
            let mut session = self.client.replay(&query).await?;
            let streams = session.streams().to_vec();
            loop {
                screen::check_interrupted()?;
                match session.next().await? {
                    Some(Event::Frame(frame)) => show(&frame, &streams, &mut each)?,
                    Some(Event::Refused(error)) => return Err(error),
                    Some(Event::End(end)) => {
                        let all = end.hash.unwrap_or(ContentHash::from_parts(0, end.rows));
                        return Ok(Totals { streams: end.streams, all });
                    }
                    Some(_) => {}
                    None => {
                        let text = "the server ended the replay before its end";
                        return Err(Error::new(ErrorKind::Remote, text));
                    }
                }
            }
        })
    }
}

fn show(
    frame: &Frame,
    streams: &[OpenedStream],
    each: &mut impl FnMut(&PlayedStep<'_>) -> Result<()>,
) -> Result<()> {
    for step in frame.steps() {
        let Some(stream) = streams.get(step.stream) else { continue };
        each(&PlayedStep { key: &stream.key, batch: step.batch, messages: step.messages })?;
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
