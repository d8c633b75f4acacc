//! What the live writer does: rows appended until they are durable.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::figure::{Clock, Figure};
use super::store::stored;
use crate::error::Result;
use crate::event::{Batch, BatchBuilder, Kind, MessageHead, Side, StreamKey};
use crate::quantity::{Decimal, Instrument, TsNs};
use crate::segment::ColumnMask;
use crate::store::{GroupCommit, LiveOptions, Recorder, Snapshot, Store};

/// Messages of one append to a single stream.
const MESSAGES: usize = 20;
/// Rows appended to it at most.
const ROWS_MAX: u64 = 2_000_000;

/// Streams that are appended to in turn, how often, and messages of such an append.
const STREAMS: usize = 1000;
const APPENDS: usize = 64;
const MESSAGES_OF_MANY: usize = 10;

/// The rows of `key` in one stream, and small messages in many.
pub(super) fn figures(snapshot: &Snapshot, key: &StreamKey, folder: &Path) -> Result<Vec<Figure>> {
    let parts = parts(snapshot, key)?;
    let one = parts.iter().map(|part| (key, part));
    let names = (0..STREAMS).map(|at| Instrument::new("bench", &format!("S{at}")));
    let keys = names
        .map(|name| Ok(StreamKey { instrument: name?, kind: Kind::Book }))
        .collect::<Result<Vec<_>>>()?;
    let small = (0..APPENDS).map(small_messages).collect::<Result<Vec<_>>>()?;
    let many = small.iter().flat_map(|part| keys.iter().map(move |key| (key, part)));
    Ok(vec![
        append("live append, until durable", one, &folder.join("live.reel"))?,
        append("live append, 1,000 streams", many, &folder.join("live-many.reel"))?,
    ])
}

/// The first rows of a stream, in the portions they are appended in.
fn parts(snapshot: &Snapshot, key: &StreamKey) -> Result<Vec<Batch>> {
    let mut scan =
        snapshot.scan(&key.instrument, key.kind, TsNs::MIN..TsNs::MAX, ColumnMask::ALL)?;
    let mut parts = Vec::new();
    let mut rows = 0;
    while let Some(batch) = scan.next_batch()?.filter(|_| rows < ROWS_MAX) {
        for start in (0..batch.messages()).step_by(MESSAGES) {
            parts.push(batch.slice_messages(start..start + MESSAGES));
        }
        rows += batch.rows() as u64;
    }
    Ok(parts)
}

/// Append number `at` to a small book.
fn small_messages(at: usize) -> Result<Batch> {
    let mut builder = BatchBuilder::new(Kind::Book);
    for message in (at * MESSAGES_OF_MANY) as i64..((at + 1) * MESSAGES_OF_MANY) as i64 {
        builder.begin(MessageHead {
            ts_recv: TsNs(1_723_158_000_000_000_000 + message * 1_000_000),
            ts_event: Some(TsNs(1_723_157_999_000_000_000 + message * 1_000_000)),
            venue_seq: Some(message),
            snapshot: message == 0,
        });
        for (side, price) in [(Side::Bid, 617_000), (Side::Ask, 617_060)] {
            for level in 0..2 {
                let price = Decimal::new(price + (message * 7 + level * 3) % 50, 1);
                let qty = Decimal::new((message + level) % 90 + 1, 3);
                builder.level(side, price.unwrap_or(Decimal::ZERO), qty.unwrap_or(Decimal::ZERO));
            }
        }
        builder.end();
    }
    Ok(builder.finish()?.pop().unwrap_or_else(|| Batch::new(Kind::Book)))
}

/// Appends to a new store in `root`; a call lasts until its rows are durable.
fn append<'a>(
    name: &'static str,
    parts: impl Iterator<Item = (&'a StreamKey, &'a Batch)>,
    root: &Path,
) -> Result<Figure> {
    let store = Store::open_or_create(root)?;
    let recorder = Recorder::start(store.writer(LiveOptions::default())?, GroupCommit::default())?;
    let waiting: Arc<Mutex<Vec<(u64, Instant)>>> = Arc::default();
    let calls: Arc<Mutex<Vec<f64>>> = Arc::default();
    let (asked, told) = (waiting.clone(), calls.clone());
    recorder.watch(Box::new(move |watermark| {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let done = asked.partition_point(|(seq, _)| *seq <= watermark);
        told.extend(asked.drain(..done).map(|(_, since)| since.elapsed().as_secs_f64() * 1e6));
    }));
    let clock = Clock::start();
    let mut rows = 0;
    for (key, part) in parts {
        let since = Instant::now();
        let seq = recorder.append(key, part)?;
        waiting.lock().unwrap_or_else(PoisonError::into_inner).push((seq, since));
        rows += part.rows() as u64;
    }
    let writer = recorder.close()?;
    let figure = stored(&clock, name, rows, writer.store())?;
    let calls_us = std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(figure.with_calls(calls_us))
}
