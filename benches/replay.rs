//! Rows per second of a replay: one book with its best prices read after each message, and all
//! streams merged.
//!
//! `cargo bench --no-default-features --features ingest --bench replay [-- FILE...]`. Files as for
//! import; without, a made-up market is played. Equal hashes mean equal replays.
#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints figures")]

mod market;

use tickreel::book::Tracker;
use tickreel::event::Side;
use tickreel::segment::ColumnMask;
use tickreel::{Result, TsNs};

fn main() -> Result<()> {
    let market = market::Market::open()?;
    market::rate("replay through a book", || through_a_book(&market))?;
    market::rate("replay, all streams merged", || merged(&market))
}

fn through_a_book(market: &market::Market) -> Result<(u64, u64)> {
    let (key, range) = (&market.key, TsNs::MIN..TsNs::MAX);
    let mut scan = market.snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
    let (mut tracker, mut rows, mut hash) = (Tracker::new(), 0, 0u64);
    while let Some(batch) = scan.next_batch()? {
        rows += batch.rows() as u64;
        tracker.apply_each(batch, 0..batch.messages(), |_, tracker| {
            for side in [Side::Bid, Side::Ask] {
                let (price, qty) = tracker.book().best(side).unwrap_or_default();
                hash =
                    hash.rotate_left(7) ^ (price as u64).wrapping_mul(31).wrapping_add(qty as u64);
            }
        })?;
    }
    Ok((rows, hash))
}

fn merged(market: &market::Market) -> Result<(u64, u64)> {
    let infos = market.snapshot.stream_infos();
    let keys: Vec<_> = infos.into_iter().map(|info| info.key).collect();
    let mut replay = market.snapshot.replay(&keys, TsNs::MIN..TsNs::MAX)?;
    let (mut rows, mut hash) = (0, 0u64);
    replay.play(false, |step| {
        rows += step.rows().len() as u64;
        hash = hash.rotate_left(1) ^ (step.stream as u64) << 32 ^ step.rows().end as u64;
        Ok(true)
    })?;
    Ok((rows, hash))
}
