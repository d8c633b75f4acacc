//! Segments of one stream and day, written anew as fewer files with the same rows.
//!
//! What is written is read back before it may take a place in the manifest: every checksum, every
//! checkpoint, and the content hash of the rows, which must be that of the segments it stands for.
//! Until then the store is as it was, and files that were written are removed again.

use std::sync::Arc;

use super::Store;
use super::sealing::{Sealing, StreamFiles};
use super::snapshot::Snapshot;
use crate::book::Tracker;
use crate::catalog::segment_path;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, ContentHash, Kind, Side, book};
use crate::format::manifest::{
    FLAG_COMPACTED, FLAG_LOST, FLAG_REPAIRED, SegmentEntry, StreamEntry,
};
use crate::format::segment::FLAG_STARTS_WITH_RESET;
use crate::quantity::Day;
use crate::segment::{ColumnMask, Segment, WriterOptions};

/// Told how many bytes of segments were read since the last call; an error ends the rewriting.
pub type RewriteWatch<'a> = &'a mut dyn FnMut(u64) -> Result<()>;

/// What a rewriting did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Rows, of which none has changed.
    pub rows: u64,
    /// Segment files that were read.
    pub segments_before: usize,
    /// Segment files that have their place now.
    pub segments_after: usize,
    /// Bytes of the files that were read.
    pub bytes_before: u64,
    /// Bytes of the files that have their place now.
    pub bytes_after: u64,
}

/// Segments on their way into fewer ones.
pub(super) struct Rewriting {
    /// Keeps the files that are read.
    snapshot: Snapshot,
    stream: StreamEntry,
    entries: Vec<SegmentEntry>,
    options: WriterOptions,
    /// The first of as many numbers as there are segments.
    first_id: u64,
}

/// Segments that were written and read back, in no manifest yet.
pub(super) struct Written {
    pub(super) sealing: Sealing,
    pub(super) entries: Vec<SegmentEntry>,
}

/// Files being written, and what they are to hold.
struct Output {
    sealing: Sealing,
    files: StreamFiles,
    /// Scale and digits of each column of the segment that the last file begins with.
    scales: Vec<(u8, u8)>,
    /// Content of each file.
    hashes: Vec<ContentHash>,
}

impl Rewriting {
    /// Takes segments that follow each other in one stream and day of `snapshot`'s manifest.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if they do not, or one of them stands for damage: such a segment
    /// stays what it is. [`ErrorKind::Stale`] if they are no longer there.
    pub(super) fn new(
        snapshot: Snapshot,
        entries: &[SegmentEntry],
        options: WriterOptions,
        first_id: u64,
    ) -> Result<Self> {
        options.check()?;
        let first = entries.first().ok_or_else(|| Error::invalid("no segment to be rewritten"))?;
        let place = |entry: &SegmentEntry| (entry.stream_id, entry.day);
        let of_damage = |entry: &SegmentEntry| entry.flags & (FLAG_LOST | FLAG_REPAIRED) != 0;
        if entries.iter().any(|entry| place(entry) != place(first) || of_damage(entry)) {
            return Err(Error::invalid("segments cannot be rewritten together"));
        }
        let streams = &snapshot.manifest().contents().streams;
        let stream = streams.iter().find(|stream| stream.id == first.stream_id).cloned();
        let stream = stream.filter(|_| holds(snapshot.segments(first.stream_id), entries));
        let stream = stream.ok_or_else(no_longer_there)?;
        Ok(Self { snapshot, stream, entries: entries.to_vec(), options, first_id })
    }

    /// The segments that are read.
    pub(super) fn entries(&self) -> &[SegmentEntry] {
        &self.entries
    }

    /// Writes the new segments and reads them back.
    pub(super) fn write(&self, watch: RewriteWatch<'_>) -> Result<Written> {
        match self.attempt(false, watch) {
            // Values that do not fit one scale stay apart.
            Err(error) if error.kind() == ErrorKind::Limit => self.attempt(true, watch),
            written => written,
        }
    }

    /// As [`Rewriting::write`]; segments of other scales are kept `apart`.
    fn attempt(&self, apart: bool, watch: RewriteWatch<'_>) -> Result<Written> {
        let (store, store_id) =
            (self.snapshot.store(), self.snapshot.manifest().contents().store_id);
        let sealing = Sealing::new(store, store_id, self.first_id, self.options).compact();
        let files = Sealing::stream(self.stream.id, self.stream.key.kind, None);
        let mut output = Output { sealing, files, scales: Vec::new(), hashes: Vec::new() };
        for entry in &self.entries {
            let read = self.copy(entry, apart, &mut output, watch);
            read.map_err(|error| error.context(&self.stream.key))?;
        }
        let Output { mut sealing, mut files, hashes, .. } = output;
        sealing.seal(&mut files)?;
        sealing.publish(std::iter::once(&files))?;
        let entries: Vec<_> = files
            .entries()
            .map(|entry| SegmentEntry { flags: entry.flags | FLAG_COMPACTED, ..entry })
            .collect();
        self.read_back(store, &entries, &hashes)?;
        Ok(Written { sealing, entries })
    }

    fn copy(
        &self,
        entry: &SegmentEntry,
        apart: bool,
        output: &mut Output,
        watch: RewriteWatch<'_>,
    ) -> Result<()> {
        let kind = self.stream.key.kind;
        let segment = self.snapshot.map(entry, kind)?;
        let opening = opening(&segment)?;
        if !output.goes_on(&segment, opening.as_ref(), apart)? {
            output.sealing.seal(&mut output.files)?;
            output.files.open_with(opening);
            output.scales = segment.scales().to_vec();
            output.hashes.push(ContentHash::EMPTY);
        }
        let scales = self.scales(entry, apart);
        let mut batch = Batch::new(kind);
        for (number, block) in segment.blocks().iter().enumerate() {
            batch = segment.read(number, 0..u64::MAX, ColumnMask::ALL, batch)?;
            for (column, &scale) in scales.iter().enumerate() {
                batch.raise_scale(column, scale)?;
            }
            output.sealing.append(&mut output.files, &batch)?;
            watch(block.len.into())?;
        }
        if let Some(hash) = output.hashes.last_mut() {
            *hash = hash.then(ContentHash::from_parts(entry.content_hash, entry.rows));
        }
        Ok(())
    }

    /// The scales that the rows of a segment are written with.
    fn scales(&self, entry: &SegmentEntry, apart: bool) -> [u8; 16] {
        let mut scales = entry.scales;
        for other in self.entries.iter().filter(|_| !apart) {
            scales.iter_mut().zip(other.scales).for_each(|(max, scale)| *max = scale.max(*max));
        }
        scales
    }

    /// Reads what was written and compares it with what was to be written.
    fn read_back(
        &self,
        store: &Store,
        entries: &[SegmentEntry],
        hashes: &[ContentHash],
    ) -> Result<()> {
        let wrong = |entry: &SegmentEntry, what: &str| {
            let path =
                segment_path(store.root(), entry.stream_id, Day(entry.day), entry.segment_id);
            Error::corrupt(format!("what was written is not what was read: {what}")).at_path(&path)
        };
        for (at, entry) in entries.iter().enumerate() {
            let segment = self.snapshot.map(entry, self.stream.key.kind)?;
            // The hash of the rows themselves, and every checkpoint by the rows before it.
            segment.verify(None)?;
            let content = ContentHash::from_parts(segment.footer().content_hash, entry.rows);
            if hashes.get(at) != Some(&content) {
                return Err(wrong(entry, "content hash"));
            }
            if crc32fast::hash(segment.bytes()) != entry.file_crc {
                return Err(wrong(entry, "checksum of the whole file"));
            }
        }
        let sum = |entries: &[SegmentEntry]| {
            let counts = entries.iter().map(|entry| (entry.rows, entry.messages));
            counts.fold((0, 0), |(rows, messages), (r, m)| (rows + r, messages + m))
        };
        match entries.first() {
            Some(first) if hashes.len() != entries.len() || sum(entries) != sum(&self.entries) => {
                Err(wrong(first, "count of segments, rows or messages"))
            }
            _ => Ok(()),
        }
    }

    /// What became of it, once `after` have the place of the segments.
    pub(super) fn report(&self, after: &[SegmentEntry]) -> Rewritten {
        let bytes = |entries: &[SegmentEntry]| entries.iter().map(|entry| entry.file_len).sum();
        Rewritten {
            rows: after.iter().map(|entry| entry.rows).sum(),
            segments_before: self.entries.len(),
            segments_after: after.len(),
            bytes_before: bytes(&self.entries),
            bytes_after: bytes(after),
        }
    }
}

impl Output {
    /// Whether the rows of `segment` can follow those of the file being written, so that no answer
    /// changes: a book goes on as it was and is written with as many digits.
    fn goes_on(&self, segment: &Segment, opening: Option<&Tracker>, apart: bool) -> Result<bool> {
        let mut scales = self.scales.iter().zip(segment.scales());
        let scales_differ = scales.any(|(mine, theirs)| mine.0 != theirs.0);
        if !self.files.is_open() || apart && scales_differ {
            return Ok(false);
        }
        let Some(opening) = opening else { return Ok(true) };
        let digits = |scales: &[(u8, u8)]| {
            [book::PRICE, book::QTY].map(|column| scales.get(column).map(|(_, digits)| *digits))
        };
        if digits(&self.scales) != digits(segment.scales()) {
            return Ok(false);
        }
        if segment.footer().flags & FLAG_STARTS_WITH_RESET != 0 {
            return Ok(true);
        }
        let after = self.files.book_after()?;
        Ok(after.is_some_and(|after| same_book(&after, opening)))
    }
}

/// Whether the manifest has these segments, one after the other.
pub(super) fn holds(segments: &[SegmentEntry], wanted: &[SegmentEntry]) -> bool {
    let ids = |entries: &[SegmentEntry]| -> Vec<u64> {
        entries.iter().map(|entry| entry.segment_id).collect()
    };
    let (segments, wanted) = (ids(segments), ids(wanted));
    segments.windows(wanted.len().max(1)).any(|window| window == wanted)
}

/// Why segments are not rewritten that were replaced or dropped meanwhile.
pub(super) fn no_longer_there() -> Error {
    Error::new(ErrorKind::Stale, "segments that were to be rewritten are no longer there")
}

/// The book before the first row; `None` for other kinds.
fn opening(segment: &Segment) -> Result<Option<Tracker>> {
    if segment.kind() != Kind::Book {
        return Ok(None);
    }
    let mut tracker = Tracker::new();
    segment.restore(0, &mut tracker, &mut Batch::new(Kind::Book))?;
    Ok(Some(tracker))
}

/// Whether two trackers give the same answers from now on.
fn same_book(a: &Tracker, b: &Tracker) -> bool {
    let heads = |book: &Tracker| (book.state(), book.ts_recv(), book.ts_event(), book.venue_seq());
    if heads(a) != heads(b) {
        return false;
    }
    let (mut ours, mut theirs) = (a.book().clone(), b.book().clone());
    let raised = ours
        .raise_scales(theirs.price_scale(), theirs.qty_scale())
        .and_then(|()| theirs.raise_scales(ours.price_scale(), ours.qty_scale()));
    raised.is_ok() && [Side::Bid, Side::Ask].iter().all(|&s| ours.levels(s).eq(theirs.levels(s)))
}

/// A manifest's segments, to be read for a rewriting.
pub(super) fn snapshot_of(store: &Store, manifest: Arc<crate::catalog::Manifest>) -> Snapshot {
    Snapshot::new(store.clone(), manifest, Arc::default())
}
