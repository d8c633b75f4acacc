//! Bulk import: segments are sealed directly, past the journal, and committed in one step.
//!
//! Until [`Import::commit`] returns, the store is as it was; an import that is dropped, killed or
//! fails leaves at most files that no manifest names, and the next writer removes them.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::Store;
use crate::book::Tracker;
use crate::catalog::{self, Manifest, segment_path, temporary};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Action, Batch, Kind, StreamKey, book};
use crate::format::Identity;
use crate::format::manifest::{Contents, SegmentEntry, StreamEntry, segment_order};
use crate::format::segment::{FLAG_STARTS_WITH_RESET, Header};
use crate::limit;
use crate::quantity::{Day, TsNs};
use crate::segment::{Sealed, SegmentWriter, WriterOptions};

/// How an import behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// Rows that are stored already in the imported ranges are replaced instead of refused.
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
    next_segment_id: u64,
    next_stream_id: u32,
    streams: HashMap<StreamKey, Importing>,
    /// Files written so far, under the names they have now.
    files: Vec<PathBuf>,
    /// The manifest may name the files, so they stay.
    kept: bool,
    /// An append failed: what was given is not whole.
    failed: bool,
    _lock: Box<dyn Send + Sync>,
}

struct Importing {
    id: u32,
    writer: Option<SegmentWriter>,
    writer_day: Day,
    /// The book after the last sealed segment.
    tracker: Option<Tracker>,
    first: i64,
    last: i64,
    sealed: Vec<(SegmentEntry, u64)>,
}

impl Store {
    /// Begins an import. Takes the store's lock and clears away what an interrupted one left.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if another writer has the store; [`ErrorKind::Invalid`] or
    /// [`ErrorKind::Limit`] for impossible options.
    pub fn import(&self, options: ImportOptions) -> Result<Import> {
        options.writer.check()?;
        let lock = self.lock()?;
        let manifest = Arc::new(Manifest::load(self.disk(), self.root())?);
        catalog::remove_obsolete(self.disk(), self.root(), &manifest)?;
        Ok(Import {
            store: self.clone(),
            options,
            next_segment_id: manifest.contents().next_segment_id,
            next_stream_id: manifest.contents().next_stream_id,
            manifest,
            streams: HashMap::new(),
            files: Vec::new(),
            kept: false,
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
        let mut start = 0;
        while start < times.len() {
            let day = TsNs(times[start]).day();
            let end = start + times[start..].partition_point(|&ts| ts < day.end().0);
            if end <= start {
                return Err(Error::invalid(format!("{key}: rows are not in order of time")));
            }
            let whole = start == 0 && end == times.len();
            let part = (!whole).then(|| batch.slice_messages(start..end));
            self.append_day(key, day, part.as_ref().unwrap_or(batch))
                .map_err(|error| error.context(key))?;
            start = end;
        }
        Ok(())
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
        let stream = Importing {
            id,
            writer: None,
            writer_day: Day(i32::MIN),
            tracker: None,
            first: batch.ts_recv().first().copied().unwrap_or_default(),
            last: i64::MIN,
            sealed: Vec::new(),
        };
        self.streams.insert(key.clone(), stream);
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

    fn append_day(&mut self, key: &StreamKey, day: Day, batch: &Batch) -> Result<()> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let times = batch.ts_recv();
        let (first, last) = (times[0], times[times.len() - 1]);
        if first < stream.last || !times.is_sorted() {
            return Err(Error::invalid(format!(
                "rows go back in receive time: {} after {}",
                TsNs(first),
                TsNs(stream.last)
            )));
        }
        let fits = stream.writer.as_ref().is_some_and(|writer| writer.takes(batch));
        if !fits || stream.writer_day != day {
            let id = self.next_segment_id;
            self.next_segment_id += 1;
            self.seal(key)?;
            self.create(key, day, id)?;
        }
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if let Some(writer) = &mut stream.writer {
            writer.append(batch)?;
        }
        stream.last = last;
        Ok(())
    }

    fn create(&mut self, key: &StreamKey, day: Day, segment_id: u64) -> Result<()> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let path = segment_path(self.store.root(), stream.id, day, segment_id);
        let disk = self.store.disk();
        if let Some(folder) = path.parent() {
            disk.create_folder(folder).map_err(|e| Error::io(e, "create folder", folder))?;
        }
        let identity = Identity { store_id: self.manifest.contents().store_id, segment_id };
        let header = Header::new(identity, stream.id, day.0, key.kind);
        let path = temporary(&path);
        self.files.push(path.clone());
        let opening = stream.tracker.as_ref();
        let options = self.options.writer;
        let writer = SegmentWriter::create(disk, &path, &header, key.kind, options, opening)?;
        (stream.writer, stream.writer_day) = (Some(writer), day);
        Ok(())
    }

    fn seal(&mut self, key: &StreamKey) -> Result<()> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let Some(writer) = stream.writer.take() else { return Ok(()) };
        stream.tracker = writer.book_after()?;
        let sealed = writer.finish()?;
        let checkpoint_bytes = sealed.checkpoint_bytes;
        stream.sealed.push((segment_entry(stream.id, &sealed), checkpoint_bytes));
        Ok(())
    }

    /// Rows given so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let rows = |stream: &Importing| {
            let sealed: u64 = stream.sealed.iter().map(|(entry, _)| entry.rows).sum();
            sealed + stream.writer.as_ref().map_or(0, SegmentWriter::rows)
        };
        self.streams.values().map(rows).sum()
    }

    /// Makes all rows part of the store, in one step.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if a replaced range covers stored rows only in part, or stored rows
    /// continue the replaced ones; [`ErrorKind::Io`] if a file cannot be written or synced;
    /// [`ErrorKind::Poisoned`] if an append failed. The store is as it was then; only if the last
    /// rename or sync failed, a snapshot has to tell whether the rows are there.
    pub fn commit(mut self) -> Result<ImportReport> {
        self.check_whole()?;
        let mut keys: Vec<_> = self.streams.keys().cloned().collect();
        keys.sort();
        for key in &keys {
            self.seal(key)?;
        }
        let replaced = self.replaced()?;
        self.check_continued(&keys, &replaced)?;
        self.publish_files(&keys)?;
        let mut segments: Vec<SegmentEntry> = self
            .manifest
            .segments()
            .iter()
            .filter(|entry| !replaced.contains(&entry.segment_id))
            .copied()
            .collect();
        let sealed = self.streams.values().flat_map(|stream| &stream.sealed);
        segments.extend(sealed.map(|(entry, _)| *entry));
        segments.sort_by_key(segment_order);
        let contents = self.next_contents(&keys);
        // A commit that fails at its last steps may have happened; the next writer sees what is
        // current, and removes the files if they are not.
        self.kept = true;
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
        for (key, stream) in &self.streams {
            for entry in self.manifest.stream_segments(stream.id) {
                if !overlaps(entry, stream.first, stream.last) {
                    continue;
                }
                let (first, last) = (entry.ts_recv_first, entry.ts_recv_last);
                if first < stream.first || last > stream.last {
                    return Err(Error::new(
                        ErrorKind::Exists,
                        format!(
                            "{key}: stored rows from {} to {} reach beyond the imported range {} \
                             to {}; import all files of that time together to replace them",
                            TsNs(first),
                            TsNs(last),
                            TsNs(stream.first),
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
            let Some(stream) = self.streams.get(key) else { continue };
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

    /// Gives the written files their names and makes the names durable.
    fn publish_files(&mut self, keys: &[StreamKey]) -> Result<()> {
        let (disk, root) = (self.store.disk(), self.store.root());
        let mut folders = BTreeSet::new();
        let mut files = Vec::with_capacity(self.files.len());
        for key in keys {
            let Some(stream) = self.streams.get(key) else { continue };
            for (entry, _) in &stream.sealed {
                let path = segment_path(root, stream.id, Day(entry.day), entry.segment_id);
                let from = temporary(&path);
                disk.rename(&from, &path).map_err(|e| Error::io(e, "rename segment", &from))?;
                files.push(path.clone());
                disk.make_read_only(&path).map_err(|e| Error::io(e, "seal segment", &path))?;
                let above = path.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
                folders.extend(above.map(std::path::Path::to_owned));
            }
        }
        self.files.append(&mut files);
        for folder in folders.iter().rev() {
            disk.sync_folder(folder).map_err(|e| Error::io(e, "sync folder", folder))?;
        }
        Ok(())
    }

    fn next_contents(&self, keys: &[StreamKey]) -> Contents {
        let before = self.manifest.contents();
        let mut streams = before.streams.clone();
        for key in keys {
            let Some(stream) = self.streams.get(key) else { continue };
            if self.manifest.stream(key).is_none() {
                streams.push(StreamEntry { id: stream.id, key: key.clone() });
            }
        }
        streams.sort_by_key(|stream| stream.id);
        Contents {
            store_id: before.store_id,
            generation: before.generation + 1,
            next_segment_id: self.next_segment_id,
            next_stream_id: self.next_stream_id,
            streams,
        }
    }

    fn report(
        &self,
        keys: &[StreamKey],
        replaced_segments: usize,
        generation: u64,
    ) -> ImportReport {
        let streams = keys.iter().filter_map(|key| {
            let stream = self.streams.get(key)?;
            let sum =
                |field: fn(&(SegmentEntry, u64)) -> u64| stream.sealed.iter().map(field).sum();
            Some((
                key.clone(),
                StreamReport {
                    first: TsNs(stream.first),
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

impl Drop for Import {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Writers first, so that no file is written after it was removed. What cannot be removed
        // now is removed by the next writer.
        self.streams.clear();
        for file in &self.files {
            drop(self.store.disk().remove(file));
        }
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

fn segment_entry(stream_id: u32, sealed: &Sealed) -> SegmentEntry {
    let footer = &sealed.footer;
    SegmentEntry {
        segment_id: footer.segment_id,
        stream_id,
        day: sealed.day.0,
        file_len: footer.file_len,
        rows: footer.rows,
        messages: footer.messages,
        ts_recv_first: footer.ts_recv_first,
        ts_recv_last: footer.ts_recv_last,
        ts_event_min: footer.ts_event_min,
        ts_event_max: footer.ts_event_max,
        content_hash: footer.content_hash,
        file_crc: sealed.file_crc,
        flags: footer.flags,
        replay_rows_max: footer.replay_rows_max,
        scales: sealed.scales,
        reserved: [0; 16],
    }
}
