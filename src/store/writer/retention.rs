//! Whole days of streams out of the store.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::Writer;
use super::seal::Commit;
use crate::catalog::{self, Manifest, segment_path};
use crate::error::Result;
use crate::event::{Kind, StreamKey};
use crate::format::manifest::SegmentEntry;
use crate::quantity::{Day, Instrument, TsNs};
use crate::store::tail::Tail;
use crate::store::{Snapshot, Store};

/// Rows that may go: those of one kind, of whole UTC days.
#[derive(Clone, Debug)]
pub struct Expired {
    /// Of this kind.
    pub kind: Kind,
    /// Of days before this one.
    pub before: Day,
    /// Of these instruments; of all if empty.
    pub instruments: Vec<Instrument>,
}

impl Expired {
    /// Those of all instruments.
    #[must_use]
    pub fn of_all(kind: Kind, before: Day) -> Self {
        Self { kind, before, instruments: Vec::new() }
    }

    /// The segments that [`Writer::drop_expired`] would drop, were nothing sealed before.
    #[must_use]
    pub fn segments(&self, snapshot: &Snapshot) -> Vec<SegmentEntry> {
        self.segments_of(snapshot.manifest(), snapshot.tail())
    }

    /// The segments that may go, as far as they may.
    fn segments_of(&self, manifest: &Manifest, tail: &Tail) -> Vec<SegmentEntry> {
        let mut entries = Vec::new();
        for stream in manifest.contents().streams.iter().filter(|stream| self.has(&stream.key)) {
            let segments = manifest.stream_segments(stream.id);
            let live = tail.stream(stream.id).map(|tail| TsNs(tail.times().0).day());
            let newest = segments.last().filter(|_| self.kind == Kind::Book);
            let newest = newest.map(|last| Day(last.day));
            let end = live.into_iter().chain(newest).fold(self.before, Day::min);
            entries.extend(segments.iter().filter(|entry| Day(entry.day) < end));
        }
        entries
    }

    fn has(&self, key: &StreamKey) -> bool {
        let instrument = self.instruments.is_empty() || self.instruments.contains(&key.instrument);
        instrument && key.kind == self.kind
    }
}

/// What [`Writer::drop_expired`] took out of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Segment files.
    pub segments: usize,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Dropped {
    /// So many segments.
    #[must_use]
    pub fn of(entries: &[SegmentEntry]) -> Self {
        Self {
            segments: entries.len(),
            rows: entries.iter().map(|entry| entry.rows).sum(),
            bytes: entries.iter().map(|entry| entry.file_len).sum(),
        }
    }
}

impl Writer {
    /// Drops the rows that have expired, in one step, and removes their files.
    /// A file that some reader holds is removed by a later call, or when the store is opened for
    /// writing again.
    ///
    /// A day goes whole or stays: one that has rows that are not sealed stays, and so does the
    /// newest sealed one of a book, because the rows after it go on with that book.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Full`] if there is no room for the next manifest: nothing was dropped,
    /// and it can be tried again. Otherwise the writer is poisoned.
    pub fn drop_expired(&mut self, expired: &Expired) -> Result<Dropped> {
        let mut dropped = Dropped::default();
        if let Some(dropping) = self.begin_drop(expired)? {
            let written = dropping.write();
            dropped = self.finish_drop(dropping, written)?;
        }
        let held = self.begin_removal().run();
        self.finish_removal(held);
        Ok(dropped)
    }

    /// The manifest without what is to be dropped, to be written without holding the writer; `None`
    /// if there is nothing. No other manifest may be made meanwhile.
    pub(in crate::store) fn begin_drop(&mut self, expired: &Expired) -> Result<Option<Dropping>> {
        self.check()?;
        let view = self.live.view();
        let (before, tail) = (view.manifest.clone(), view.tail.clone());
        drop(view);
        let entries = expired.segments_of(&before, &tail);
        if entries.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.dropping(before, entries, &[])))
    }

    /// The manifest after `before`, the current one, without `entries` and with `added`.
    pub(super) fn dropping(
        &self,
        before: Arc<Manifest>,
        entries: Vec<SegmentEntry>,
        added: &[SegmentEntry],
    ) -> Dropping {
        let ids: HashSet<u64> = entries.iter().map(|entry| entry.segment_id).collect();
        let commit = self.next_manifest(self.first_journal, |segments| {
            segments.retain(|entry| !ids.contains(&entry.segment_id));
            segments.extend_from_slice(added);
        });
        Dropping { before, commit, entries }
    }

    /// Takes note of what became of it.
    pub(in crate::store) fn finish_drop(
        &mut self,
        dropping: Dropping,
        written: Result<Arc<Manifest>>,
    ) -> Result<Dropped> {
        let Dropping { before, commit, entries } = dropping;
        // Readers that hold this one keep the files, this writer does not.
        drop(before);
        self.finish_manifest(commit, written)?;
        self.forget_times(&entries);
        let dropped = Dropped::of(&entries);
        self.dropped.extend(entries);
        Ok(dropped)
    }

    /// A stream that has no rows any more begins anew, as if the store had just been opened.
    fn forget_times(&mut self, dropped: &[SegmentEntry]) {
        let view = self.live.view();
        let empty = |id: u32| {
            view.manifest.stream_segments(id).is_empty() && view.tail.stream(id).is_none()
        };
        let ids: HashSet<u32> = dropped.iter().map(|entry| entry.stream_id).collect();
        for stream in self.streams.values_mut() {
            let id = stream.known.entry.id;
            if ids.contains(&id) && empty(id) {
                stream.last = i64::MIN;
            }
        }
    }

    /// Takes the files that were dropped, to be removed without holding the writer.
    pub(in crate::store) fn begin_removal(&mut self) -> Removal {
        let manifest = self.live.view().manifest.clone();
        let entries = std::mem::take(&mut self.dropped);
        Removal { store: self.store.clone(), manifest, entries }
    }

    /// Takes note of the files that could not be removed yet.
    pub(in crate::store) fn finish_removal(&mut self, held: Vec<SegmentEntry>) {
        self.dropped = held;
    }
}

/// Segments on their way out of the store.
pub(in crate::store) struct Dropping {
    before: Arc<Manifest>,
    commit: Commit,
    entries: Vec<SegmentEntry>,
}

impl Dropping {
    /// Makes the manifest without them the current one.
    pub(in crate::store) fn write(&self) -> Result<Arc<Manifest>> {
        self.commit.write()
    }
}

/// Files of segments that are no longer part of the store.
pub(in crate::store) struct Removal {
    store: Store,
    manifest: Arc<Manifest>,
    entries: Vec<SegmentEntry>,
}

impl Removal {
    /// Removes the files that no reader holds; gives those that stay for now.
    pub(in crate::store) fn run(mut self) -> Vec<SegmentEntry> {
        if self.entries.is_empty() {
            return self.entries;
        }
        let (disk, root) = (self.store.disk(), self.store.root());
        let Ok(used) = catalog::remove_old_manifests(disk, root, &self.manifest) else {
            return self.entries;
        };
        self.entries.retain(|entry| {
            if used.contains(&entry.segment_id) {
                return true;
            }
            self.store.inner.cache.forget(entry.segment_id);
            let path = segment_path(root, entry.stream_id, Day(entry.day), entry.segment_id);
            // A lost segment has no file.
            disk.remove(&path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        });
        self.entries
    }
}
