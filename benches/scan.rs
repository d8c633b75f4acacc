//! Rows per second of all columns of a book, from its sealed and from its compacted segments.
//!
//! `cargo bench --no-default-features --features ingest --bench scan [-- FILE...]`. Files as for
//! import; without, a made-up market is read. Both hashes are equal: compaction changes no row.
#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints figures")]

mod market;

use tickreel::compact::{Selection, plan};
use tickreel::segment::{ColumnMask, WriterOptions};
use tickreel::store::{LiveOptions, Snapshot};
use tickreel::{Result, TsNs};

fn main() -> Result<()> {
    let market = market::Market::open()?;
    market::rate("scan, sealed", || pass(&market.snapshot, &market))?;
    let mut writer = market.store.writer(LiveOptions::default())?;
    for task in plan(&market.snapshot, &Selection::default()) {
        writer.rewrite(&task.segments, WriterOptions::default(), &mut |_| Ok(()))?;
    }
    let compacted = market.store.snapshot()?;
    market::rate("scan, compacted", || pass(&compacted, &market))
}

fn pass(snapshot: &Snapshot, market: &market::Market) -> Result<(u64, u64)> {
    let (key, range) = (&market.key, TsNs::MIN..TsNs::MAX);
    let mut scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
    let (mut rows, mut hash) = (0, 0u64);
    while let Some(batch) = scan.next_batch()? {
        rows += batch.rows() as u64;
        for column in 0..batch.columns().len() {
            let sum: i64 = batch.i64s(column).iter().fold(0, |sum, value| sum.wrapping_add(*value));
            // The same whatever the batches are.
            hash = hash.wrapping_add((sum as u64).wrapping_mul(2 * column as u64 + 1));
        }
    }
    Ok((rows, hash))
}
