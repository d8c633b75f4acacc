//! What the live writer does: the rows of a stream appended again, until they are durable.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::figure::{Clock, Figure};
use crate::error::Result;
use crate::event::StreamKey;
use crate::quantity::TsNs;
use crate::segment::ColumnMask;
use crate::store::{GroupCommit, LiveOptions, Recorder, Snapshot, Store};

/// Messages of one append.
const MESSAGES: usize = 20;
/// Rows appended at most.
const ROWS_MAX: u64 = 2_000_000;

/// Appends the rows of `key` to a new store in `root`; a call lasts until its rows are durable.
pub(super) fn append(snapshot: &Snapshot, key: &StreamKey, root: &Path) -> Result<Figure> {
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
    let clock = Clock::start();
    for part in &parts {
        let since = Instant::now();
        let seq = recorder.append(key, part)?;
        waiting.lock().unwrap_or_else(PoisonError::into_inner).push((seq, since));
    }
    let writer = recorder.close()?;
    let infos = writer.store().snapshot()?.stream_infos();
    let (rows, hash) = infos.first().map_or((0, 0), |info| (info.rows, info.hash.value()));
    let mut calls_us = std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
    calls_us.sort_by(f64::total_cmp);
    Ok(Figure { calls_us, ..clock.figure("live append, until durable", rows, hash) })
}
