//! Moves everything a source has into an import, parsing and writing at the same time.

use std::sync::mpsc;

use super::{Reject, Rows, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, StreamKey};
use crate::store::Import;

/// Portions of rows that wait between parsing and writing: one being made, one being written.
const PORTIONS_WAITING: usize = 1;

/// What a load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Rows handed to the import.
    pub rows: u64,
    /// Input lines that could not become rows.
    pub rejects: u64,
    /// Messages whose receive time lay before their stream's last row and was held at it.
    pub stepped_back: u64,
}

/// Told how a load goes on.
pub trait Watch {
    /// Bytes of input read and rows written so far.
    ///
    /// # Errors
    /// Any error stops the load, e.g. [`ErrorKind::Cancelled`].
    fn progress(&mut self, bytes_read: u64, rows: u64) -> Result<()>;

    /// A line that could not become rows.
    ///
    /// # Errors
    /// Any error stops the load.
    fn reject(&mut self, reject: Reject) -> Result<()>;
}

/// A portion of parsed rows.
struct Portion {
    rows: Vec<(StreamKey, Batch)>,
    rejects: Vec<Reject>,
    stepped_back: u64,
    bytes_read: u64,
}

/// Reads `source` to its end into `import`; the caller commits.
///
/// # Errors
/// The input fails, a row cannot be stored, or `watch` stops the load. The import is to be dropped
/// then.
pub fn load(
    source: &mut dyn Source,
    import: &mut Import,
    watch: &mut dyn Watch,
) -> Result<LoadReport> {
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(PORTIONS_WAITING);
        // The thread ends when the source does, or with the first portion that nobody takes.
        let parser = scope.spawn(move || parse(source, &sender));
        let written = write(&receiver, import, watch);
        drop(receiver);
        let parsed = parser.join().unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Io, "the thread that reads the input ended early"))
        });
        let report = written?;
        parsed.map(|()| report)
    })
}

fn parse(source: &mut dyn Source, sender: &mpsc::SyncSender<Portion>) -> Result<()> {
    let mut rows = Rows::new();
    loop {
        let more = source.fill(&mut rows)?;
        let portion = Portion {
            rows: rows.take()?,
            rejects: rows.take_rejects(),
            stepped_back: rows.stepped_back(),
            bytes_read: source.bytes_read(),
        };
        if sender.send(portion).is_err() || !more {
            return Ok(());
        }
    }
}

fn write(
    receiver: &mpsc::Receiver<Portion>,
    import: &mut Import,
    watch: &mut dyn Watch,
) -> Result<LoadReport> {
    let mut report = LoadReport::default();
    for portion in receiver {
        report.stepped_back = portion.stepped_back;
        for reject in portion.rejects {
            report.rejects += 1;
            watch.reject(reject)?;
        }
        for (key, batch) in &portion.rows {
            import.append(key, batch)?;
            report.rows += batch.rows() as u64;
        }
        watch.progress(portion.bytes_read, report.rows)?;
    }
    Ok(report)
}
