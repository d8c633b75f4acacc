//! Reads everything in a store and checks it against everything else.

use std::path::PathBuf;

use super::{Snapshot, Store};
use crate::book::Tracker;
use crate::catalog::segment_path;
use crate::error::{Error, Result};
use crate::event::{Kind, StreamKey};
use crate::format::manifest::SegmentEntry;
use crate::format::segment::FLAG_STARTS_WITH_RESET;
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
    /// What is wrong; empty if all is well.
    pub damage: Vec<Damage>,
    /// Files in the store folder that the store did not make; not an error.
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
    /// Checks the manifest, and of every segment every checksum, every value and every checkpoint,
    /// rebuilt from the rows before it. `progress` is told the bytes read so far and in all.
    ///
    /// # Errors
    /// The manifest cannot be loaded; damage further down is in the report.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport> {
        let snapshot = self.snapshot()?;
        let mut report = VerifyReport::default();
        let bytes_total = snapshot.manifest().segments().iter().map(|e| e.file_len).sum();
        for stream in snapshot.streams() {
            let mut before = None;
            for entry in snapshot.segments(stream.id) {
                let verified = snapshot.verify_segment(entry, stream.key.kind, before.as_ref());
                report.segments += 1;
                report.rows += entry.rows;
                report.bytes += entry.file_len;
                match verified {
                    Ok((after, checkpoints)) => {
                        before = after;
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
        report.strangers = snapshot.strangers()?;
        Ok(report)
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
                == (entry.ts_event_min, entry.ts_event_max, entry.flags, entry.replay_rows_max);
        if !same {
            let text = "the manifest says other counts or times than the segment's footer";
            return Err(Error::corrupt(text).at_path(&path));
        }
        Ok((after, u64::from(footer.checkpoint_count)))
    }

    /// Files that no store makes.
    fn strangers(&self) -> Result<Vec<PathBuf>> {
        let (disk, root) = (self.store().disk(), self.store().root());
        let list =
            |path: &std::path::Path| disk.list(path).map_err(|e| Error::io(e, "list folder", path));
        let name_of = |path: &std::path::Path| {
            path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
        };
        let mut strangers = Vec::new();
        for (path, is_folder) in list(root)? {
            let name = name_of(&path);
            let known = match is_folder {
                true => matches!(name.as_str(), "segments" | "journal" | "quarantine"),
                false => {
                    let name = name.strip_suffix(".tmp").unwrap_or(&name);
                    matches!(name, "LOCK" | "CURRENT")
                        || name.strip_prefix("manifest-").is_some_and(|n| n.parse::<u64>().is_ok())
                }
            };
            if !known {
                strangers.push(path);
            }
        }
        let mut folders = vec![root.join("segments")];
        while let Some(folder) = folders.pop() {
            if disk.len(&folder).is_err() {
                continue;
            }
            for (path, is_folder) in list(&folder)? {
                let name = name_of(&path);
                let number = name.strip_suffix(".tmp").unwrap_or(&name).strip_suffix(".seg");
                if is_folder {
                    folders.push(path);
                } else if number.is_none_or(|number| number.parse::<u64>().is_err()) {
                    strangers.push(path);
                }
            }
        }
        strangers.sort();
        Ok(strangers)
    }
}
