//! Microseconds to the whole book at a random time, and to the rows of a minute.
//!
//! `cargo bench --no-default-features --features ingest --bench seek [-- FILE...]`. Files as for
//! import; without, a made-up market is asked. Equal hashes mean equal answers.
#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints figures")]

mod market;

use tickreel::event::Side;
use tickreel::segment::ColumnMask;
use tickreel::{Batch, Result};

const MINUTE_NS: i64 = 60_000_000_000;

fn main() -> Result<()> {
    let market = market::Market::open()?;
    let (snapshot, key) = (&market.snapshot, &market.key);
    let mut books = snapshot.books(&key.instrument)?;
    market.calls("book at T", 10_000, |at| {
        let book = books.at(at)?.book();
        let best = |side| book.best(side).map_or(0, |(price, qty)| price as u64 ^ qty as u64);
        Ok(best(Side::Bid).rotate_left(7) ^ best(Side::Ask))
    })?;
    let mut batch = Batch::new(key.kind);
    market.calls("1-minute range", 2000, |from| {
        let range = from..from.saturating_add(MINUTE_NS);
        let mut scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
        let mut rows = 0;
        while let Some(next) =
            scan.next_into(std::mem::replace(&mut batch, Batch::new(key.kind)))?
        {
            rows += next.rows() as u64;
            batch = next;
        }
        Ok(rows)
    })
}
