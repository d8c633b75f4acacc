//! Rows into segments, and journal files that nothing needs any more out of the folder.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{OpenStream, Writer};
use crate::book::Tracker;
use crate::catalog::{self, Manifest};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Kind, StreamKey};
use crate::format::manifest::{Contents, SegmentEntry, StreamEntry, segment_order};
use crate::journal;
use crate::quantity::TsNs;
use crate::store::Store;
use crate::store::sealing::Sealing;
use crate::store::tail::StreamTail;

/// Journal files that are kept before the oldest must go.
const JOURNALS_MAX: u64 = 4;
/// Bytes of a stream that are carried into a new journal file instead of being sealed.
const CARRY_BYTES_MAX: u64 = 256 << 10;
/// Nanoseconds of receive time for which a UTC day stays open after its end, for slow streams.
const DAY_GRACE_NS: i64 = 60_000_000_000;

impl Writer {
    /// Seals what is due by size, age, day and memory, and lets journal files go.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] if there is no room for a segment: nothing was sealed, and it can be
    /// tried again. Otherwise the writer is poisoned.
    pub fn maintain(&mut self) -> Result<()> {
        self.check()?;
        let due = self.due();
        self.seal(&due)?;
        self.maintain_journal()
    }

    /// Lets journal files go: those that nothing needs, and the oldest if there are too many.
    pub(in crate::store) fn maintain_journal(&mut self) -> Result<()> {
        self.check()?;
        if self.journals() > JOURNALS_MAX {
            self.clear_oldest()?;
        }
        self.forget_journals()
    }

    /// Seals all rows and lets the journal go: the store is its segments.
    ///
    /// # Errors
    /// As [`Writer::maintain`].
    pub fn seal_all(&mut self) -> Result<()> {
        self.check()?;
        let all: Vec<u32> = self.tails().iter().map(|tail| tail.entry().id).collect();
        self.seal(&all)
    }

    /// Seals all rows, removes the journal and gives the lock back.
    pub(in crate::store) fn end(mut self) -> Result<Box<dyn Send + Sync>> {
        self.seal_all()?;
        let after = self.room.header.number + 1;
        self.commit_manifest(after)?;
        self.lock.take().ok_or_else(|| Error::new(ErrorKind::Locked, "the store is not locked"))
    }

    fn tails(&self) -> Vec<Arc<StreamTail>> {
        let mut tails: Vec<_> = self.live.view().tail.streams().cloned().collect();
        tails.sort_by_key(|tail| tail.entry().id);
        tails
    }

    fn journals(&self) -> u64 {
        (self.room.header.number + 1).saturating_sub(self.first_journal)
    }

    /// Streams to be sealed now.
    pub(in crate::store) fn due(&self) -> Vec<u32> {
        let mut tails = self.tails();
        let newest = tails.iter().map(|tail| tail.times().1).max().unwrap_or(i64::MIN);
        let is_due = |tail: &StreamTail| {
            let first = tail.times().0;
            let day_over = newest.saturating_sub(DAY_GRACE_NS) >= TsNs(first).day().end().0;
            let old = newest.saturating_sub(first) >= self.options.seal_after_ns;
            tail.bytes() >= self.options.seal_bytes || day_over || old
        };
        tails.sort_by_key(|tail| Reverse(tail.bytes()));
        let mut kept: u64 = tails.iter().map(|tail| tail.bytes()).sum();
        let crowded = kept > self.options.memory_max;
        let mut due = Vec::new();
        for tail in &tails {
            if is_due(tail) || crowded && kept > self.options.memory_max / 2 {
                kept -= tail.bytes();
                due.push(tail.entry().id);
            }
        }
        due.sort_unstable();
        due
    }

    /// Frees the oldest journal file: streams that have little in it are written again into the
    /// newest, the others are sealed.
    fn clear_oldest(&mut self) -> Result<()> {
        let oldest = self.first_journal;
        let mut room = self.options.journal_bytes / 4;
        let (mut carried, mut sealed) = (Vec::new(), Vec::new());
        for tail in self.tails() {
            let key = &tail.entry().key;
            let lies_there = |stream: &OpenStream| stream.known.first_journal <= oldest;
            if !self.streams.get(key).is_some_and(lies_there) {
                continue;
            }
            if tail.bytes() <= CARRY_BYTES_MAX.min(room) {
                room -= tail.bytes();
                carried.push(tail);
            } else {
                sealed.push(tail.entry().id);
            }
        }
        self.seal(&sealed)?;
        for tail in carried {
            self.carry(&tail)?;
        }
        self.commit()?;
        Ok(())
    }

    /// Writes the rows of a stream into the newest journal file again.
    fn carry(&mut self, tail: &StreamTail) -> Result<()> {
        let mut row = tail.first_row();
        let mut begun_in = u64::MAX;
        for batch in tail.batches() {
            self.make_room(batch)?;
            begun_in = begun_in.min(self.room.header.number);
            self.push_rows(tail.entry().id, row, batch);
            row += batch.rows() as u64;
        }
        if let Some(stream) = self.streams.get_mut(&tail.entry().key) {
            stream.known.first_journal = begun_in;
        }
        Ok(())
    }

    /// Makes segments of all rows of these streams.
    pub(super) fn seal(&mut self, streams: &[u32]) -> Result<()> {
        let Some(mut seal) = self.begin_seal(streams)? else { return Ok(()) };
        let written = seal.write();
        let commit = self.finish_seal(seal, written)?;
        let manifest = commit.write();
        self.finish_manifest(commit, manifest)
    }

    /// Takes the rows of these streams, to be written without holding the writer. One at a time.
    pub(in crate::store) fn begin_seal(&mut self, streams: &[u32]) -> Result<Option<Seal>> {
        self.check()?;
        if streams.is_empty() {
            return Ok(None);
        }
        let mut tails = self.tails();
        tails.retain(|tail| streams.contains(&tail.entry().id));
        let store_id = self.room.header.store_id;
        let segments = self.options.segments;
        let sealing = Sealing::new(&self.store, store_id, self.next_segment_id, segments);
        Ok(Some(Seal { sealing, tails, journal: self.room.header.number }))
    }

    /// Takes note of segments that were written; the manifest that makes them part of the store.
    pub(in crate::store) fn finish_seal(
        &mut self,
        seal: Seal,
        written: Result<Vec<SegmentEntry>>,
    ) -> Result<Commit> {
        let Seal { sealing, tails, journal } = seal;
        self.next_segment_id = sealing.next_segment_id();
        let entries = self.poison_unless_full(written)?;
        let mut before = Vec::with_capacity(tails.len());
        for tail in &tails {
            let key = &tail.entry().key;
            if let Some(stream) = self.streams.get_mut(key) {
                let known = &mut stream.known;
                before.push((key.clone(), known.entry.journal_rows, known.first_journal));
                known.entry.journal_rows = tail.end_row();
                // Rows that came meanwhile lie in the file of that time or in later ones.
                let more = known.next_row > tail.end_row();
                known.first_journal = if more { journal } else { u64::MAX };
            }
        }
        let add = |segments: &mut Vec<_>| segments.extend_from_slice(&entries);
        let commit = self.next_manifest(self.first_needed_journal(), add);
        Ok(Commit { sealed: Some(Fresh { sealing, before }), ..commit })
    }

    /// The oldest journal file that holds rows that are in no segment; the newest if none does.
    fn first_needed_journal(&self) -> u64 {
        let current = self.room.header.number;
        let needed = self.streams.values().map(|stream| stream.known.first_journal).min();
        needed.unwrap_or(u64::MAX).min(current)
    }

    /// The manifest after this one, with other segments.
    pub(super) fn next_manifest(
        &self,
        first_journal: u64,
        change: impl FnOnce(&mut Vec<SegmentEntry>),
    ) -> Commit {
        let before = self.live.view().manifest.clone();
        let mut segments = before.segments().to_vec();
        change(&mut segments);
        segments.sort_by_key(segment_order);
        let announced = self.streams.values().filter(|stream| stream.announced);
        let mut streams: Vec<_> = announced.map(|stream| stream.known.entry.clone()).collect();
        streams.sort_by_key(|stream| stream.id);
        let contents = Contents {
            generation: before.contents().generation + 1,
            next_segment_id: self.next_segment_id,
            next_stream_id: self.next_stream_id,
            first_journal,
            next_seq: self.next_seq,
            streams,
            ..*before.contents()
        };
        Commit { store: self.store.clone(), contents, segments, sealed: None }
    }

    /// Shows a manifest that was committed, and removes what only earlier ones needed.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] if there is no room for it: all is as it was. Otherwise the writer is
    /// poisoned.
    pub(in crate::store) fn finish_manifest(
        &mut self,
        commit: Commit,
        written: Result<Arc<Manifest>>,
    ) -> Result<()> {
        let Commit { contents, mut sealed, .. } = commit;
        if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::Full) && self.is_current()
        {
            for (key, rows, journal) in sealed.iter().flat_map(|fresh| &fresh.before) {
                if let Some(stream) = self.streams.get_mut(key) {
                    let known = &mut stream.known;
                    (known.entry.journal_rows, known.first_journal) = (*rows, *journal);
                }
            }
            return written.map(drop);
        }
        // A commit that failed may have happened.
        if let Some(fresh) = &mut sealed {
            fresh.sealing.keep();
        }
        let manifest = self.poison(written)?;
        self.first_journal = contents.first_journal;
        let forgotten = self.live.update(|view| {
            view.manifest = manifest.clone();
            let tail = Arc::make_mut(&mut view.tail);
            let mut streams = contents.streams.iter();
            streams.try_for_each(|stream| tail.forget_before(stream.id, stream.journal_rows))
        });
        self.poison(forgotten)?;
        let (disk, root) = (self.store.disk(), self.store.root());
        journal::remove_before(disk, root, contents.first_journal);
        // What stays is cleared next time; nothing that fails here undoes the commit.
        drop(catalog::remove_old_manifests(disk, root, &manifest));
        Ok(())
    }

    /// Whether the manifest that this writer knows is in force.
    fn is_current(&self) -> bool {
        let manifest = self.live.view().manifest.clone();
        manifest.is_current(self.store.disk(), self.store.root()).unwrap_or(false)
    }

    fn commit_manifest(&mut self, first_journal: u64) -> Result<()> {
        let commit = self.next_manifest(first_journal, |_| {});
        let manifest = commit.write();
        self.finish_manifest(commit, manifest)
    }

    /// Lets journal files go whose rows are all in segments or in later files.
    pub(super) fn forget_journals(&mut self) -> Result<()> {
        let first = self.first_needed_journal();
        if first > self.first_journal { self.commit_manifest(first) } else { Ok(()) }
    }
}

/// Segments being made of rows that go on being appended to.
pub(in crate::store) struct Seal {
    sealing: Sealing,
    tails: Vec<Arc<StreamTail>>,
    /// The journal file that was the newest when the rows were taken.
    journal: u64,
}

impl Seal {
    /// Writes the segment files and makes them durable.
    pub(in crate::store) fn write(&mut self) -> Result<Vec<SegmentEntry>> {
        write_segments(&mut self.sealing, &self.tails)
    }
}

/// A manifest to be committed.
pub(in crate::store) struct Commit {
    store: Store,
    contents: Contents,
    segments: Vec<SegmentEntry>,
    sealed: Option<Fresh>,
}

/// New segments that a manifest makes part of the store.
struct Fresh {
    sealing: Sealing,
    /// Of each of their streams, the rows that were sealed and the journal file that was needed
    /// before.
    before: Vec<(StreamKey, u64, u64)>,
}

impl Commit {
    /// Makes it the current one.
    pub(in crate::store) fn write(&self) -> Result<Arc<Manifest>> {
        let (disk, root) = (self.store.disk(), self.store.root());
        catalog::commit(disk, root, &self.contents, &self.segments)?;
        Manifest::load(disk, root).map(Arc::new)
    }
}

fn write_segments(sealing: &mut Sealing, tails: &[Arc<StreamTail>]) -> Result<Vec<SegmentEntry>> {
    let mut written = Vec::with_capacity(tails.len());
    for tail in tails {
        let StreamEntry { id, key, .. } = tail.entry();
        let opening = match key.kind {
            Kind::Book => {
                let mut tracker = Tracker::new();
                tail.restore(0, &mut tracker)?;
                Some(tracker)
            }
            _ => None,
        };
        let mut files = Sealing::stream(*id, key.kind, opening);
        for batch in tail.batches() {
            sealing.append(&mut files, batch).map_err(|error| error.context(key))?;
        }
        sealing.seal(&mut files)?;
        written.push(files);
    }
    sealing.publish(written.iter())?;
    Ok(written.iter().flat_map(|files| files.entries()).collect())
}
