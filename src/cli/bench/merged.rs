//! What the store does with many streams: merged replay, and one stream among the others.

use std::ops::Range;
use std::time::Instant;

use super::figure::{Clock, Figure};
use super::store::{MINUTE_NS, Random, ends, repeat};
use crate::error::{Error, Result};
use crate::event::StreamKey;
use crate::quantity::TsNs;
use crate::replay::{Replay, ReplayOrder};
use crate::segment::ColumnMask;
use crate::store::Snapshot;

/// Rows and a hash of a replay.
fn play(mut replay: Replay) -> Result<(u64, u64)> {
    let (mut rows, mut hash) = (0, 0u64);
    replay.play(false, |step| {
        let range = step.rows();
        rows += range.len() as u64;
        hash = hash.rotate_left(1) ^ (step.stream as u64) << 32 ^ range.end as u64;
        Ok(true)
    })?;
    Ok((rows, hash))
}

/// All streams with their books, then the rows of the books alone.
pub(super) fn replays(
    snapshot: &Snapshot,
    all: &[StreamKey],
    books: &[StreamKey],
) -> Result<Vec<Figure>> {
    let range = || TsNs::MIN..TsNs::MAX;
    Ok(vec![
        repeat("replay, all streams merged", || play(snapshot.replay(all, range())?))?,
        repeat("rows of all books merged", || {
            play(snapshot.replay_rows(ReplayOrder::Recv, books, range())?)
        })?,
    ])
}

/// Minutes of all streams with their books, then of the rows of the books alone.
pub(super) fn minutes(
    snapshot: &Snapshot,
    all: &[StreamKey],
    books: &[StreamKey],
    count: usize,
) -> Result<Vec<Figure>> {
    let span = ends(snapshot, all.first().ok_or_else(|| Error::invalid("no stream"))?)?;
    Ok(vec![
        of_minutes("1 minute of all streams merged", span, count, |range| {
            play(snapshot.replay(all, range)?)
        })?,
        of_minutes("1 minute of all books' rows merged", span, count, |range| {
            play(snapshot.replay_rows(ReplayOrder::Recv, books, range)?)
        })?,
    ])
}

fn of_minutes(
    name: &'static str,
    (first, last): (TsNs, TsNs),
    count: usize,
    ask: impl Fn(Range<TsNs>) -> Result<(u64, u64)>,
) -> Result<Figure> {
    let mut random = Random(0x0f0f_1e1e_2d2d_3c3c);
    let (mut calls_us, mut rows, mut hash) = (Vec::with_capacity(count), 0, 0u64);
    let clock = Clock::start();
    for _ in 0..count {
        let from = random.time(first, last);
        let started = Instant::now();
        let (more, value) = ask(from..from.saturating_add(MINUTE_NS))?;
        calls_us.push(started.elapsed().as_secs_f64() * 1e6);
        rows += more;
        hash = hash.rotate_left(5) ^ value;
    }
    Ok(clock.figure(name, rows, hash).with_calls(calls_us))
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
