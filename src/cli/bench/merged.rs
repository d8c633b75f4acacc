//! What the store does with many streams: merged replay, and one stream among the others.

use std::time::Instant;

use super::figure::{Clock, Figure};
use super::store::{MINUTE_NS, Random, ends, repeat};
use crate::error::{Error, Result};
use crate::event::StreamKey;
use crate::quantity::TsNs;
use crate::segment::ColumnMask;
use crate::store::Snapshot;

/// Rows and a hash of a replay of `streams` in `range`.
fn play(
    snapshot: &Snapshot,
    streams: &[StreamKey],
    range: std::ops::Range<TsNs>,
) -> Result<(u64, u64)> {
    let mut replay = snapshot.replay(streams, range)?;
    let (mut rows, mut hash) = (0, 0u64);
    replay.play(false, |step| {
        let range = step.rows();
        rows += range.len() as u64;
        hash = hash.rotate_left(1) ^ (step.stream as u64) << 32 ^ range.end as u64;
        Ok(true)
    })?;
    Ok((rows, hash))
}

pub(super) fn replay(snapshot: &Snapshot, streams: &[StreamKey]) -> Result<Figure> {
    repeat("replay, all streams merged", || play(snapshot, streams, TsNs::MIN..TsNs::MAX))
}

pub(super) fn minutes(snapshot: &Snapshot, streams: &[StreamKey], count: usize) -> Result<Figure> {
    let key = streams.first().ok_or_else(|| Error::invalid("no stream"))?;
    let (first, last) = ends(snapshot, key)?;
    let mut random = Random(0x0f0f_1e1e_2d2d_3c3c);
    let (mut calls_us, mut rows, mut hash) = (Vec::with_capacity(count), 0, 0u64);
    let clock = Clock::start();
    for _ in 0..count {
        let from = random.time(first, last);
        let started = Instant::now();
        let (more, value) = play(snapshot, streams, from..from.saturating_add(MINUTE_NS))?;
        calls_us.push(started.elapsed().as_secs_f64() * 1e6);
        rows += more;
        hash = hash.rotate_left(5) ^ value;
    }
    Ok(clock.figure("1 minute of all streams merged", rows, hash).with_calls(calls_us))
}

/// Reads whole streams, each once before it is measured.
pub(super) fn days(snapshot: &Snapshot, streams: &[StreamKey], count: usize) -> Result<Figure> {
    for key in streams {
        read(snapshot, key)?;
    }
    let (mut calls_us, mut rows, mut hash) = (Vec::with_capacity(count), 0, 0u64);
    let clock = Clock::start();
    for key in streams.iter().cycle().take(count) {
        let started = Instant::now();
        let (more, value) = read(snapshot, key)?;
        calls_us.push(started.elapsed().as_secs_f64() * 1e6);
        rows += more;
        hash = hash.rotate_left(5) ^ value;
    }
    Ok(clock.figure("one stream as a whole", rows, hash).with_calls(calls_us))
}

fn read(snapshot: &Snapshot, key: &StreamKey) -> Result<(u64, u64)> {
    let range = TsNs::MIN..TsNs::MAX;
    let mut scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
    let (mut rows, mut hash) = (0, 0u64);
    while let Some(batch) = scan.next_batch()? {
        rows += batch.rows() as u64;
        hash = hash.rotate_left(3) ^ batch.ts_recv().last().copied().unwrap_or(0) as u64;
    }
    Ok((rows, hash))
}
