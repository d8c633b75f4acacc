//! Bulk import: segments are sealed directly, past the journal, and committed in one step.
//!
//! Until [`Import::commit`] returns, the store is as it was; an import that is dropped, killed or
//! fails leaves at most files that no manifest names, and the next writer removes them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Store;
use super::sealing::{Sealing, StreamFiles};
use super::writer::{LiveOptions, Writer};
use crate::catalog::{self, Manifest};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Action, Batch, Kind, StreamKey, book};
use crate::format::manifest::{Contents, SegmentEntry, StreamEntry, segment_order};
use crate::format::segment::FLAG_STARTS_WITH_RESET;
use crate::journal;
use crate::limit;
use crate::quantity::TsNs;
use crate::segment::WriterOptions;

/// How an import behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// All rows of an imported stream that are stored from the time of its first imported row to
    /// that of the last are replaced instead of refused.
    pub replace: bool,
    /// Layout of the segments.
    pub writer: WriterOptions,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Rows, segments and bytes of each stream, sorted by name.
    pub streams: Vec<(StreamKey, StreamReport)>,
    /// Segments that were replaced.
    pub replaced_segments: usize,
    /// Number of the manifest that holds the rows.
    pub generation: u64,
}

/// What an import added to one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamReport {
    /// Receive time of the first row.
    pub first: TsNs,
    /// Receive time of the last row.
    pub last: TsNs,
    /// Rows.
    pub rows: u64,
    /// Bytes of the segment files.
    pub bytes: u64,
    /// Bytes of these that are checkpoints.
    pub checkpoint_bytes: u64,
    /// Segment files.
    pub segments: usize,
}

/// An import under way: the store's only writer.
pub struct Import {
    store: Store,
    manifest: Arc<Manifest>,
    options: ImportOptions,
    next_stream_id: u32,
    /// Receive time of the first row of each stream, and its files. Before `sealing`, so that no
    /// file is written after it was removed.
    streams: HashMap<StreamKey, (i64, StreamFiles)>,
    sealing: Sealing,
    /// An append failed: what was given is not whole.
    failed: bool,
    _lock: Box<dyn Send + Sync>,
}

/// Bytes of the journal of a writer that only seals what it finds.
const SEALING_JOURNAL_BYTES: u64 = 64 << 10;

impl Store {
    /// Begins an import. Takes the store's lock and clears away what an interrupted one left.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if another writer has the store; [`ErrorKind::Invalid`] or
    /// [`ErrorKind::Limit`] for impossible options.
    pub fn import(&self, options: ImportOptions) -> Result<Import> {
        options.writer.check()?;
        let mut lock = self.lock()?;
        if !journal::numbers(self.disk(), self.root())?.is_empty() {
            // What a live writer left is sealed first, so that an import only meets segments.
            let journal_bytes = SEALING_JOURNAL_BYTES;
            let options = LiveOptions { journal_bytes, ..LiveOptions::default() };
            lock = Writer::open(self.clone(), lock, options)?.end()?;
        }
        let manifest = Arc::new(Manifest::load(self.disk(), self.root())?);
        catalog::remove_obsolete(self.disk(), self.root(), &manifest)?;
        let contents = manifest.contents();
        let sealing =
            Sealing::new(self, contents.store_id, contents.next_segment_id, options.writer);
        Ok(Import {
            store: self.clone(),
            options,
            next_stream_id: contents.next_stream_id,
            manifest,
            streams: HashMap::new(),
            sealing,
            failed: false,
            _lock: lock,
        })
    }
}

impl Import {
    /// Adds rows to a stream, in order of receive time.
    ///
    /// The first row of a book stream must be a reset: what an import holds stands on its own.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if rows of that time are stored already and are not to be replaced;
    /// [`ErrorKind::Invalid`] if rows go back in time; [`ErrorKind::Io`] if a file cannot be
    /// written. The import cannot go on then, and not be committed; drop it.
    pub fn append(&mut self, key: &StreamKey, batch: &Batch) -> Result<()> {
        self.check_whole()?;
        let appended = self.append_rows(key, batch);
        self.failed = appended.is_err();
        appended
    }

    /// Refuses to go on after a failure, which may have lost rows that were accepted.
    fn check_whole(&self) -> Result<()> {
        match self.failed {
            true => Err(Error::new(ErrorKind::Poisoned, "an append to this import failed before")),
            false => Ok(()),
        }
    }

    fn append_rows(&mut self, key: &StreamKey, batch: &Batch) -> Result<()> {
        let times = batch.ts_recv();
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return Ok(()) };
        if batch.kind() != key.kind {
            return Err(Error::invalid(format!("rows of {} for {key}", batch.kind())));
        }
        self.begin_stream(key, batch)?;
        self.check_new(key, first, last)?;
        let Some((_, files)) = self.streams.get_mut(key) else { return Ok(()) };
        self.sealing.append(files, batch).map_err(|error| error.context(key))
    }

    fn begin_stream(&mut self, key: &StreamKey, batch: &Batch) -> Result<()> {
        if self.streams.contains_key(key) {
            return Ok(());
        }
        let resets = batch.u8s(book::ACTION).first() == Some(&(Action::Reset as u8));
        if key.kind == Kind::Book && !resets {
            return Err(Error::invalid(format!("{key}: the first row must be a reset")));
        }
        let id = match self.manifest.stream(key) {
            Some(stream) => stream.id,
            None if self.next_stream_id as usize >= limit::STREAMS_MAX => {
                return Err(Error::limit("streams:", self.next_stream_id, limit::STREAMS_MAX));
            }
            None => {
                self.next_stream_id += 1;
                self.next_stream_id - 1
            }
        };
        let first = batch.ts_recv().first().copied().unwrap_or_default();
        self.streams.insert(key.clone(), (first, Sealing::stream(id, key.kind, None)));
        Ok(())
    }

    /// Refuses rows that are stored already, as soon as they show.
    fn check_new(&self, key: &StreamKey, first: i64, last: i64) -> Result<()> {
        if self.options.replace {
            return Ok(());
        }
        let Some(stream) = self.manifest.stream(key) else { return Ok(()) };
        let existing = self.manifest.stream_segments(stream.id);
        let Some(entry) = existing.iter().find(|entry| overlaps(entry, first, last)) else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::Exists,
            format!(
                "{key}: rows from {} to {} are stored already; --replace swaps them",
                TsNs(entry.ts_recv_first),
                TsNs(entry.ts_recv_last)
            ),
        ))
    }

    /// Rows given so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.streams.values().map(|(_, files)| files.rows()).sum()
    }

    /// Makes all rows part of the store, in one step.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if stored rows lie between imported ones and are not to be replaced, a
    /// replaced range covers stored rows only in part, or stored rows continue the replaced ones;
    /// [`ErrorKind::Io`] if a file cannot be written or synced; [`ErrorKind::Poisoned`] if an
    /// append failed. The store is as it was then; only if the last rename or sync failed, a
    /// snapshot has to tell whether the rows are there.
    pub fn commit(mut self) -> Result<ImportReport> {
        self.check_whole()?;
        let mut keys: Vec<_> = self.streams.keys().cloned().collect();
        keys.sort();
        for (_, files) in self.streams.values_mut() {
            self.sealing.seal(files)?;
        }
        let replaced = self.replaced()?;
        self.check_continued(&keys, &replaced)?;
        self.sealing.publish(self.streams.values().map(|(_, files)| files))?;
        let mut segments: Vec<SegmentEntry> = self
            .manifest
            .segments()
            .iter()
            .filter(|entry| !replaced.contains(&entry.segment_id))
            .copied()
            .collect();
        segments.extend(self.streams.values().flat_map(|(_, files)| files.entries()));
        segments.sort_by_key(segment_order);
        let contents = self.next_contents(&keys);
        // A commit that fails at its last steps may have happened; the next writer sees what is
        // current, and removes the files if they are not.
        self.sealing.keep();
        catalog::commit(self.store.disk(), self.store.root(), &contents, &segments)?;
        let report = self.report(&keys, replaced.len(), contents.generation);
        // Replaced files go as soon as no snapshot needs them, this import's own included. What
        // stays is cleared next time; nothing that fails here undoes the commit.
        if let Ok(manifest) = Manifest::load(self.store.disk(), self.store.root()) {
            self.manifest = Arc::new(manifest);
            let (disk, root) = (self.store.disk(), self.store.root());
            drop(catalog::remove_obsolete(disk, root, &self.manifest));
        }
        Ok(report)
    }

    /// Stored segments that the import's ranges cover.
    fn replaced(&self) -> Result<BTreeSet<u64>> {
        let mut replaced = BTreeSet::new();
        for (key, (begin, stream)) in &self.streams {
            for entry in self.manifest.stream_segments(stream.id) {
                if !overlaps(entry, *begin, stream.last) {
                    continue;
                }
                let (first, last) = (entry.ts_recv_first, entry.ts_recv_last);
                if !self.options.replace {
                    return Err(Error::new(
                        ErrorKind::Exists,
                        format!(
                            "{key}: rows from {} to {} are stored already, between imported ones; \
                             import what is before and after them on its own, or --replace them",
                            TsNs(first),
                            TsNs(last)
                        ),
                    ));
                }
                if first < *begin || last > stream.last {
                    return Err(Error::new(
                        ErrorKind::Exists,
                        format!(
                            "{key}: stored rows from {} to {} reach beyond the imported range {} \
                             to {}; import all files of that time together to replace them",
                            TsNs(first),
                            TsNs(last),
                            TsNs(*begin),
                            TsNs(stream.last)
                        ),
                    ));
                }
                replaced.insert(entry.segment_id);
            }
        }
        Ok(replaced)
    }

    /// A stored book segment right after the imported rows must not lean on what was there before.
    fn check_continued(&self, keys: &[StreamKey], replaced: &BTreeSet<u64>) -> Result<()> {
        for key in keys.iter().filter(|key| key.kind == Kind::Book) {
            let Some((_, stream)) = self.streams.get(key) else { continue };
            let next = self
                .manifest
                .stream_segments(stream.id)
                .iter()
                .filter(|entry| !replaced.contains(&entry.segment_id))
                .find(|entry| entry.ts_recv_first >= stream.last);
            if let Some(next) = next.filter(|entry| entry.flags & FLAG_STARTS_WITH_RESET == 0) {
                return Err(Error::new(
                    ErrorKind::Exists,
                    format!(
                        "{key}: stored rows from {} on continue the book before them; import them \
                         together with these",
                        TsNs(next.ts_recv_first)
                    ),
                ));
            }
        }
        Ok(())
    }

    fn next_contents(&self, keys: &[StreamKey]) -> Contents {
        let before = self.manifest.contents();
        let mut streams = before.streams.clone();
        for key in keys {
            let Some((_, stream)) = self.streams.get(key) else { continue };
            if self.manifest.stream(key).is_none() {
                streams.push(StreamEntry { id: stream.id, key: key.clone(), journal_rows: 0 });
            }
        }
        streams.sort_by_key(|stream| stream.id);
        Contents {
            store_id: before.store_id,
            generation: before.generation + 1,
            next_segment_id: self.sealing.next_segment_id(),
            next_stream_id: self.next_stream_id,
            // No file ever has the number that is passed over: to the generation before, whose rows
            // are others, all journal files from now on lack it.
            first_journal: before.first_journal + 1,
            streams,
            ..*before
        }
    }

    fn report(
        &self,
        keys: &[StreamKey],
        replaced_segments: usize,
        generation: u64,
    ) -> ImportReport {
        let streams = keys.iter().filter_map(|key| {
            let (first, stream) = self.streams.get(key)?;
            let sum =
                |field: fn(&(SegmentEntry, u64)) -> u64| stream.sealed.iter().map(field).sum();
            Some((
                key.clone(),
                StreamReport {
                    first: TsNs(*first),
                    last: TsNs(stream.last),
                    rows: sum(|(entry, _)| entry.rows),
                    bytes: sum(|(entry, _)| entry.file_len),
                    checkpoint_bytes: sum(|(_, bytes)| *bytes),
                    segments: stream.sealed.len(),
                },
            ))
        });
        ImportReport { streams: streams.collect(), replaced_segments, generation }
    }
}

/// Whether rows of `first..=last` and a stored segment are of the same time. Ranges that only touch
/// at their ends may follow each other.
fn overlaps(entry: &SegmentEntry, first: i64, last: i64) -> bool {
    let (stored_first, stored_last) = (entry.ts_recv_first, entry.ts_recv_last);
    let lasting = first < last && stored_first < stored_last;
    let touches_only = lasting && (last == stored_first || first == stored_last);
    first <= stored_last && stored_first <= last && !touches_only
}
