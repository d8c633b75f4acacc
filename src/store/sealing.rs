//! Rows to sealed segment files: what an import and the live writer share.
//!
//! Files are written under temporary names, then named and made durable all at once; nothing of
//! them is part of the store before a manifest names them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Store;
use crate::book::Tracker;
use crate::catalog::segment_path;
use crate::disk::temporary;
use crate::error::{Error, Result};
use crate::event::{Batch, Kind};
use crate::format::Identity;
use crate::format::manifest::SegmentEntry;
use crate::format::segment::Header;
use crate::quantity::{Day, TsNs};
use crate::segment::{Sealed, SegmentWriter, WriterOptions};

/// Segment files being written. Dropped before [`Sealing::keep`], it removes them.
pub(super) struct Sealing {
    store: Store,
    store_id: u64,
    options: WriterOptions,
    compact: bool,
    next_segment_id: u64,
    /// Files written so far, under the names they have now.
    files: Vec<PathBuf>,
    kept: bool,
}

/// The files of one stream.
pub(super) struct StreamFiles {
    pub(super) id: u32,
    kind: Kind,
    writer: Option<SegmentWriter>,
    writer_day: Day,
    /// The book after the last sealed segment.
    tracker: Option<Tracker>,
    /// Receive time of the last row.
    pub(super) last: i64,
    /// Entries for the manifest, and bytes of checkpoints.
    pub(super) sealed: Vec<(SegmentEntry, u64)>,
}

impl StreamFiles {
    /// Rows given so far.
    pub(super) fn rows(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|(entry, _)| entry.rows).sum();
        sealed + self.writer.as_ref().map_or(0, SegmentWriter::rows)
    }

    /// Whether a file is being written.
    pub(super) fn is_open(&self) -> bool {
        self.writer.is_some()
    }

    /// The book after the last row given to the file being written; `None` for other kinds.
    pub(super) fn book_after(&self) -> Result<Option<Tracker>> {
        self.writer.as_ref().map_or(Ok(None), SegmentWriter::book_after)
    }

    /// The next file begins with this book.
    pub(super) fn open_with(&mut self, opening: Option<Tracker>) {
        self.tracker = opening;
    }

    /// Entries for the manifest.
    pub(super) fn entries(&self) -> impl Iterator<Item = SegmentEntry> {
        self.sealed.iter().map(|(entry, _)| *entry)
    }
}

impl Sealing {
    pub(super) fn new(
        store: &Store,
        store_id: u64,
        next_segment_id: u64,
        options: WriterOptions,
    ) -> Self {
        let (store, files) = (store.clone(), Vec::new());
        Self { store, store_id, options, compact: false, next_segment_id, files, kept: false }
    }

    /// The files are to be as small as can be, however long that takes.
    pub(super) fn compact(mut self) -> Self {
        self.compact = true;
        self
    }

    /// Number for the next segment.
    pub(super) fn next_segment_id(&self) -> u64 {
        self.next_segment_id
    }

    /// Begins the files of a stream; `opening` is the book before its first row.
    pub(super) fn stream(id: u32, kind: Kind, opening: Option<Tracker>) -> StreamFiles {
        StreamFiles {
            id,
            kind,
            writer: None,
            writer_day: Day(i32::MIN),
            tracker: opening,
            last: i64::MIN,
            sealed: Vec::new(),
        }
    }

    /// Removes the files again: no manifest names them, nor will one.
    pub(super) fn discard(mut self) {
        self.kept = false;
    }

    /// Adds rows, in order of receive time; each UTC day has its own segment.
    pub(super) fn append(&mut self, stream: &mut StreamFiles, batch: &Batch) -> Result<()> {
        let times = batch.ts_recv();
        let mut start = 0;
        while start < times.len() {
            let day = TsNs(times[start]).day();
            let end = start + times[start..].partition_point(|&ts| ts < day.end().0);
            if end <= start {
                return Err(Error::invalid("rows are not in order of time"));
            }
            let whole = start == 0 && end == times.len();
            let part = (!whole).then(|| batch.slice_messages(start..end));
            self.append_day(stream, day, part.as_ref().unwrap_or(batch))?;
            start = end;
        }
        Ok(())
    }

    fn append_day(&mut self, stream: &mut StreamFiles, day: Day, batch: &Batch) -> Result<()> {
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
            self.seal(stream)?;
            self.create(stream, day)?;
        }
        if let Some(writer) = &mut stream.writer {
            writer.append(batch)?;
        }
        stream.last = last;
        Ok(())
    }

    fn create(&mut self, stream: &mut StreamFiles, day: Day) -> Result<()> {
        let segment_id = self.next_segment_id;
        self.next_segment_id += 1;
        let path = segment_path(self.store.root(), stream.id, day, segment_id);
        let disk = self.store.disk();
        if let Some(folder) = path.parent() {
            disk.create_folder(folder).map_err(|e| Error::io(e, "create folder", folder))?;
        }
        let identity = Identity { store_id: self.store_id, segment_id };
        let header = Header::new(identity, stream.id, day.0, stream.kind);
        let path = temporary(&path);
        self.files.push(path.clone());
        let opening = stream.tracker.as_ref();
        let writer =
            SegmentWriter::create(disk, &path, &header, stream.kind, self.options, opening)?;
        let writer = if self.compact { writer.compact() } else { writer };
        (stream.writer, stream.writer_day) = (Some(writer), day);
        Ok(())
    }

    /// Ends the segment being written, if there is one.
    pub(super) fn seal(&mut self, stream: &mut StreamFiles) -> Result<()> {
        let Some(writer) = stream.writer.take() else { return Ok(()) };
        stream.tracker = writer.book_after()?;
        let sealed = writer.finish()?;
        let checkpoint_bytes = sealed.checkpoint_bytes;
        stream.sealed.push((segment_entry(stream.id, &sealed), checkpoint_bytes));
        Ok(())
    }

    /// Gives the sealed files their names and makes the names durable.
    pub(super) fn publish<'a>(
        &mut self,
        streams: impl Iterator<Item = &'a StreamFiles>,
    ) -> Result<()> {
        let (disk, root) = (self.store.disk(), self.store.root());
        let mut folders = BTreeSet::new();
        let mut named = Vec::with_capacity(self.files.len());
        let mut name = |stream: &StreamFiles, entry: &SegmentEntry| -> Result<()> {
            let path = segment_path(root, stream.id, Day(entry.day), entry.segment_id);
            let from = temporary(&path);
            disk.rename(&from, &path).map_err(|e| Error::io(e, "rename segment", &from))?;
            named.push(path.clone());
            disk.make_read_only(&path).map_err(|e| Error::io(e, "seal segment", &path))?;
            let above = path.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
            folders.extend(above.map(Path::to_owned));
            Ok(())
        };
        let done = streams
            .flat_map(|stream| stream.sealed.iter().map(move |(entry, _)| (stream, entry)))
            .try_for_each(|(stream, entry)| name(stream, entry));
        self.files.append(&mut named);
        done?;
        for folder in folders.iter().rev() {
            disk.sync_folder(folder).map_err(|e| Error::io(e, "sync folder", folder))?;
        }
        Ok(())
    }

    /// A manifest that names the files is about to be committed. Whether it was is not known until
    /// the commit has succeeded, so they stay; the next writer removes what no manifest names.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Sealing {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // What cannot be removed now is removed by the next writer.
        for file in &self.files {
            drop(self.store.disk().remove(file));
        }
    }
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
