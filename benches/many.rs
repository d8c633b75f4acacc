//! Many streams at once: all books merged, with and without their books kept, minutes of them, and
//! one after another as a whole.
//!
//! `cargo bench --no-default-features --features ingest --bench many [-- FILE...]`. Files as for
//! import, or one store; without, a made-up market is played. Equal hashes mean equal answers.
#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints figures")]

mod market;

use std::ops::Range;

use tickreel::event::{Kind, Side, StreamKey};
use tickreel::replay::{Replay, ReplayOrder};
use tickreel::segment::ColumnMask;
use tickreel::{Result, TsNs};

const MINUTE_NS: i64 = 60_000_000_000;

fn main() -> Result<()> {
    let market = market::Market::open()?;
    let snapshot = &market.snapshot;
    let keys = snapshot.stream_infos().into_iter().map(|info| info.key);
    let books: Vec<_> = keys.filter(|key| key.kind == Kind::Book).collect();
    let whole = || TsNs::MIN..TsNs::MAX;
    let rows = |range| snapshot.replay_rows(ReplayOrder::Recv, &books, range);
    market::rate("rows merged", || play(rows(whole())?))?;
    market::rate("rows merged, books kept", || play(snapshot.replay(&books, whole())?))?;
    market::rate("rows merged, best prices read", || {
        play_books(snapshot.replay(&books, whole())?)
    })?;
    let minute = |from: TsNs| from..from.saturating_add(MINUTE_NS);
    market.calls("1 minute of rows merged", 300, |from| Ok(play(rows(minute(from))?)?.1))?;
    market.calls("1 minute, books kept", 100, |from| {
        Ok(play(snapshot.replay(&books, minute(from))?)?.1)
    })?;
    let mut next = books.iter().cycle();
    market.calls("one book as a whole", 10 * books.len(), |_| {
        let key = next.next().expect("a book");
        read(&market, key, whole())
    })
}

fn play(mut replay: Replay) -> Result<(u64, u64)> {
    let (mut rows, mut hash) = (0, 0u64);
    replay.play(false, |step| {
        rows += step.rows().len() as u64;
        // However the messages of a stream are cut into steps.
        for _ in step.messages() {
            hash = hash.rotate_left(1).wrapping_add(step.stream as u64);
        }
        Ok(true)
    })?;
    Ok((rows, hash))
}

/// Reads the best prices after each message.
fn play_books(mut replay: Replay) -> Result<(u64, u64)> {
    let (mut rows, mut hash) = (0, 0u64);
    while let Some(step) = replay.step(usize::MAX)? {
        let (stream, messages) = (step.stream, step.messages());
        rows += step.rows().len() as u64;
        replay.accept_each(stream, messages, |_, book| {
            for side in [Side::Bid, Side::Ask] {
                let (price, qty) = book.book().best(side).unwrap_or_default();
                hash =
                    hash.rotate_left(7) ^ (price as u64).wrapping_mul(31).wrapping_add(qty as u64);
            }
            Ok(())
        })?;
    }
    Ok((rows, hash))
}

fn read(market: &market::Market, key: &StreamKey, range: Range<TsNs>) -> Result<u64> {
    let mut scan = market.snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
    let mut hash = 0u64;
    while let Some(batch) = scan.next_batch()? {
        let rows = batch.rows() as u64;
        hash = hash.wrapping_mul(31) ^ batch.ts_recv().last().copied().unwrap_or(0) as u64 ^ rows;
    }
    Ok(hash)
}
