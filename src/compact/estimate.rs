//! How many bytes a task will leave, from a sample of its rows.

use super::plan::Task;
use crate::error::Result;
use crate::event::{Batch, Kind};
use crate::limit;
use crate::segment::{CHECKPOINT_SHARE, ColumnMask, WriterOptions, compacted_bytes};
use crate::store::Snapshot;

/// Bytes of a segment besides its blocks and checkpoints: header, schema, indexes, footer.
const FRAME_BYTES: u64 = 2048;

/// What a task will leave, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes of the new segments.
    pub bytes: u64,
    /// Rows that this was told from.
    pub sampled_rows: u64,
}

/// Says what a task will leave: about one block of its rows is encoded in memory.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] if a segment of the sample is damaged.
pub fn estimate(snapshot: &Snapshot, task: &Task, options: WriterOptions) -> Result<Estimate> {
    let (mut sample, mut checkpoint_bytes) = (Batch::new(task.key.kind), 0);
    for entry in &task.segments {
        let segment = snapshot.open(entry, task.key.kind)?;
        let last = segment.checkpoints().last();
        checkpoint_bytes = last.map_or(0, |checkpoint| checkpoint.len.into());
        let block = segment.blocks().len() / 2;
        sample.append(&segment.read(
            block,
            0..u64::MAX,
            ColumnMask::ALL,
            Batch::new(task.key.kind),
        )?)?;
        if sample.rows() >= limit::BLOCK_ROWS {
            break;
        }
    }
    let rows = task.rows();
    let of_rows = compacted_bytes(&sample) * rows / (sample.rows() as u64).max(1);
    let of_checkpoints = match task.key.kind {
        Kind::Book => {
            let spacing = options.checkpoint_rows.unwrap_or(limit::CHECKPOINT_ROWS);
            let bytes = (rows / spacing + 1) * checkpoint_bytes;
            match options.checkpoint_rows {
                Some(_) => bytes,
                None => bytes.min(of_rows / CHECKPOINT_SHARE + checkpoint_bytes),
            }
        }
        _ => 0,
    };
    let bytes = of_rows + of_checkpoints + FRAME_BYTES;
    Ok(Estimate { bytes, sampled_rows: sample.rows() as u64 })
}
