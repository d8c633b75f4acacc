//! Reads everything in a store and checks it against everything else.

use std::path::PathBuf;
use std::sync::Arc;

use super::refill::Refill;
use super::{Snapshot, Store};
use crate::book::Tracker;
use crate::catalog::{self, Manifest, Name, segment_path};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Kind, StreamKey};
use crate::format::manifest::{FLAG_REPAIRED, SegmentEntry};
use crate::format::segment::{FLAG_STARTS_WITH_RESET, FLAGS};
use crate::quantity::Day;

/// What a verification found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Segments read.
    pub segments: u64,
    /// Rows read.
    pub rows: u64,
    /// Checkpoints rebuilt from the rows before them.
    pub checkpoints: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Frames of the journal read.
    pub journal_frames: u64,
    /// What is wrong; empty if all is well.
    pub damage: Vec<Damage>,
    /// Files and folders in the store folder whose names no store gives; not an error.
    pub strangers: Vec<PathBuf>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Damage {
    /// The stream whose rows are affected, if it is known.
    pub stream: Option<StreamKey>,
    /// What and where.
    pub error: Error,
}

impl Store {
    /// Checks the manifest; of every segment every checksum, every value and every checkpoint,
    /// rebuilt from the rows before it; and every frame of the journal. `progress` is told the
    /// bytes of segments read so far and in all.
    ///
    /// # Errors
    /// The manifest cannot be loaded; damage further down is in the report.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport> {
        let manifest = Arc::new(Manifest::load(self.disk(), self.root())?);
        let snapshot = Snapshot::new(self.clone(), manifest, Arc::default());
        let mut report = VerifyReport::default();
        let bytes_total = snapshot.manifest().segments().iter().map(|e| e.file_len).sum();
        for stream in snapshot.streams() {
            let mut before = None;
            for entry in snapshot.parts(stream.id).kept() {
                let verified = snapshot.verify_segment(entry, stream.key.kind, before.as_ref());
                report.segments += 1;
                report.rows += entry.rows;
                report.bytes += entry.file_len;
                match verified {
                    Ok((after, checkpoints)) => {
                        // What is after a lost part cannot be rebuilt from the rows before it.
                        before = after.filter(|_| entry.flags & FLAG_REPAIRED == 0);
                        report.checkpoints += checkpoints;
                    }
                    Err(error) => {
                        before = None;
                        report.damage.push(Damage { stream: Some(stream.key.clone()), error });
                    }
                }
                progress(report.bytes, bytes_total);
            }
        }
        match self.verify_journal() {
            Ok((frames, unread)) => {
                report.journal_frames = frames;
                let known = |error: &Error| {
                    report.damage.iter().any(|damage| damage.error.path() == error.path())
                };
                let unread = unread.err().filter(|error| !known(error));
                report.damage.extend(unread.map(|error| Damage { stream: None, error }));
            }
            Err(error) => report.damage.push(Damage { stream: None, error }),
        }
        report.strangers = snapshot.strangers()?;
        Ok(report)
    }

    /// Checks the journal of the generation in force; how many frames it has, and whether all rows
    /// in them can be shown.
    fn verify_journal(&self) -> Result<(u64, Result<()>)> {
        const TRIES: usize = 8;
        let mut verified = Ok((0, Ok(())));
        for _ in 0..TRIES {
            let manifest = Arc::new(Manifest::load(self.disk(), self.root())?);
            verified = self.verify_journal_of(&manifest);
            // Journal files are removed after a commit only: if there was none, none was missed.
            if verified.is_ok() || manifest.is_current(self.disk(), self.root())? {
                break;
            }
        }
        verified
    }

    fn verify_journal_of(&self, manifest: &Arc<Manifest>) -> Result<(u64, Result<()>)> {
        let books = self.sealed_books(manifest);
        let mut reader = self.journal_reader(manifest.contents());
        let mut refill = Refill::new(manifest);
        let mut frames = refill.read_all(&mut reader, &books)?;
        // While a writer is at work, the end of the journal is not whole at every moment. Whoever
        // may not write here is told of none.
        let _lock = match self.lock() {
            Err(error) if error.kind() == ErrorKind::Locked => {
                return Ok((frames, refill.open(&books)));
            }
            lock => lock.ok(),
        };
        let mut damage = None;
        loop {
            // One that was at work until now may have written more.
            let more = refill.read_all(&mut reader, &books)?;
            frames += more;
            if let Some(error) = damage.filter(|_| more == 0) {
                return Err(error);
            }
            match reader.torn() {
                Ok(_) => return Ok((frames, refill.open(&books))),
                Err(error) => damage = Some(error),
            }
        }
    }
}

impl Snapshot {
    fn verify_segment(
        &self,
        entry: &SegmentEntry,
        kind: Kind,
        before: Option<&Tracker>,
    ) -> Result<(Option<Tracker>, u64)> {
        let root = self.store().root();
        let path = segment_path(root, entry.stream_id, Day(entry.day), entry.segment_id);
        let bytes =
            self.store().disk().map(&path).map_err(|e| Error::io(e, "map segment", &path))?;
        let found = crc32fast::hash((*bytes).as_ref());
        let segment = self.map(entry, kind)?;
        // A segment that starts with a reset stands on its own and may follow anything.
        let starts_over = entry.flags & FLAG_STARTS_WITH_RESET != 0;
        let after = segment.verify(before.filter(|_| !starts_over))?;
        if found != entry.file_crc {
            return Err(Error::corrupt(format!(
                "checksum of the whole file: expected {:#x}, found {found:#x}",
                entry.file_crc
            ))
            .at_path(&path));
        }
        let footer = segment.footer();
        let same = (footer.rows, footer.messages, footer.ts_recv_first, footer.ts_recv_last)
            == (entry.rows, entry.messages, entry.ts_recv_first, entry.ts_recv_last)
            && (footer.ts_event_min, footer.ts_event_max, footer.flags, footer.replay_rows_max)
                == (
                    entry.ts_event_min,
                    entry.ts_event_max,
                    entry.flags & FLAGS,
                    entry.replay_rows_max,
                );
        if !same {
            let text = "the manifest says other counts or times than the segment's footer";
            return Err(Error::corrupt(text).at_path(&path));
        }
        Ok((after, u64::from(footer.checkpoint_count)))
    }

    /// Files and folders whose names no store gives.
    fn strangers(&self) -> Result<Vec<PathBuf>> {
        let names = catalog::names(self.store().disk(), self.store().root())?;
        let strangers = names.into_iter().filter(|(_, name)| *name == Name::Stranger);
        Ok(strangers.map(|(path, _)| path).collect())
    }
}
