//! Rows per second from memory to a segment file, as sealed and as compacted, and its bytes.
//!
//! `cargo bench --no-default-features --features ingest --bench append [-- FILE...]`. Files as for
//! import; without, a made-up market is written. Both hashes are equal: the rows are.
#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints figures")]

mod market;

use tickreel::disk::OsDisk;
use tickreel::format::Identity;
use tickreel::format::segment::Header;
use tickreel::segment::{ColumnMask, SegmentWriter, WriterOptions};
use tickreel::{Batch, Result, TsNs};

/// Rows held in memory at most.
const ROWS_MAX: usize = 4_000_000;

fn main() -> Result<()> {
    let market = market::Market::open()?;
    let (key, range) = (&market.key, TsNs::MIN..TsNs::MAX);
    let mut scan = market.snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = scan.next_owned()?.filter(|_| rows < ROWS_MAX) {
        rows += batch.rows();
        batches.push(batch);
    }
    // A segment is of one day.
    let day = |batch: &Batch| TsNs(batch.ts_recv()[0]).day();
    batches.retain(|batch| day(batch) == TsNs(batch.ts_recv()[batch.messages() - 1]).day());
    let first = day(&batches[0]);
    batches.retain(|batch| day(batch) == first);
    for (name, compact) in [("append, sealed", false), ("append, compacted", true)] {
        let path = market.path("append.seg");
        let mut bytes_per_row = 0.0;
        market::rate(name, || {
            let identity = Identity { store_id: 1, segment_id: 1 };
            let header = Header::new(identity, 1, first.0, key.kind);
            let options = WriterOptions::default();
            let mut writer =
                SegmentWriter::create(&OsDisk, &path, &header, key.kind, options, None)?;
            if compact {
                writer = writer.compact();
            }
            batches.iter().try_for_each(|batch| writer.append(batch))?;
            let footer = writer.finish()?.footer;
            std::fs::remove_file(&path).expect("the segment is there");
            bytes_per_row = footer.file_len as f64 / footer.rows as f64;
            Ok((footer.rows, footer.content_hash))
        })?;
        println!("{:34} {bytes_per_row:12.3} bytes/row", "");
    }
    Ok(())
}
