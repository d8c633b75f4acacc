//! Rows from memory to a segment file, by one thread.

use std::path::Path;

use super::figure::{Clock, Figure};
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, Result};
use crate::event::{Batch, StreamKey};
use crate::format::Identity;
use crate::format::segment::Header;
use crate::quantity::{Day, TsNs};
use crate::segment::{ColumnMask, SegmentWriter, WriterOptions};
use crate::store::Snapshot;

/// Rows held in memory and written, at most.
const ROWS_MAX: u64 = 4_000_000;

/// The first day of `key` as a segment, sealed as by an import and compacted.
pub(super) fn figures(snapshot: &Snapshot, key: &StreamKey, folder: &Path) -> Result<Vec<Figure>> {
    let mut scan =
        snapshot.scan(&key.instrument, key.kind, TsNs::MIN..TsNs::MAX, ColumnMask::ALL)?;
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = scan.next_owned()?.filter(|_| rows < ROWS_MAX) {
        rows += batch.rows() as u64;
        batches.push(batch);
    }
    let day = day_of(&batches)?;
    batches.retain(|batch| batch.ts_recv().last().is_some_and(|&ts| TsNs(ts).day() == day));
    Ok(vec![
        write("append from memory, sealed", &batches, day, &folder.join("sealed.seg"), false)?,
        write("append from memory, compacted", &batches, day, &folder.join("compact.seg"), true)?,
    ])
}

fn day_of(batches: &[Batch]) -> Result<Day> {
    let first = batches.first().and_then(|batch| batch.ts_recv().first().copied());
    first.map(|ts| TsNs(ts).day()).ok_or_else(|| Error::invalid("the stream is empty"))
}

fn write(
    name: &'static str,
    batches: &[Batch],
    day: Day,
    path: &Path,
    compact: bool,
) -> Result<Figure> {
    let kind = batches.first().map(Batch::kind).ok_or_else(|| Error::invalid("no rows"))?;
    let header = Header::new(Identity { store_id: 1, segment_id: 1 }, 1, day.0, kind);
    let clock = Clock::start();
    let options = WriterOptions::default();
    let mut writer = SegmentWriter::create(&OsDisk, path, &header, kind, options, None)?;
    if compact {
        writer = writer.compact();
    }
    // A batch of other decimal places would begin a new segment.
    for batch in batches {
        if !writer.takes(batch) {
            break;
        }
        writer.append(batch)?;
    }
    let sealed = writer.finish()?;
    let figure = clock.figure(name, sealed.footer.rows, sealed.footer.content_hash);
    OsDisk.remove(path).map_err(|e| Error::io(e, "remove segment", path))?;
    Ok(figure.with_bytes(sealed.footer.file_len))
}
