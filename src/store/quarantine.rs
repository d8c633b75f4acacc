//! Damaged files out of the way, and what they held stored as missing.
//!
//! A file goes to `quarantine/`, never away. A lost part of a book becomes a gap, and a snapshot
//! where the next part shows what the book was; a lost part of another stream stays in the manifest
//! as lost. The answers around it do not change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::refill::{Opening, Refill};
use super::sealing::{Sealing, StreamFiles};
use super::{Snapshot, Store, StreamTail};
use crate::book::{State, Tracker};
use crate::catalog::{self, Manifest, segment_path};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{
    Batch, BatchBuilder, Kind, MessageHead, Side, StatusRow, StatusWhat, StreamKey,
};
use crate::format::manifest::{
    Contents, FLAG_LOST, FLAG_REPAIRED, SegmentEntry, StreamEntry, segment_order,
};
use crate::format::segment::FLAG_STARTS_WITH_RESET;
use crate::journal::{self, JournalFile};
use crate::limit;
use crate::quantity::{Day, Decimal, Instrument, TsNs};
use crate::segment::WriterOptions;

/// What is missing after a file was moved aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which stream.
    pub key: StreamKey,
    /// Receive time of the first row that is missing, or that may be.
    pub since: TsNs,
    /// Receive time of the last; `None` if nobody knows.
    pub until: Option<TsNs>,
    /// Rows that are missing; `None` if nobody knows.
    pub rows: Option<u64>,
}

/// What a quarantine did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineReport {
    /// Where the files are now.
    pub files: Vec<PathBuf>,
    /// What is missing from now on, by stream.
    pub missing: Vec<Missing>,
}

impl Store {
    /// Moves a damaged segment or journal file aside and stores what it held as missing.
    ///
    /// Of a journal, the rows before the damage are sealed, and the files after it go too. It is
    /// moved when what was read from it is durable: whatever ends this leaves one or the other.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the file is none of this store or is not damaged;
    /// [`ErrorKind::Locked`] if a writer has the store; [`ErrorKind::Full`] or [`ErrorKind::Io`] if
    /// it cannot be moved: it can be tried again.
    pub fn quarantine(&self, file: &Path) -> Result<QuarantineReport> {
        let _lock = self.lock()?;
        let (disk, root) = (self.disk(), self.root());
        let manifest = Arc::new(Manifest::load(disk, root)?);
        // What an interrupted quarantine left has the names that this one needs.
        catalog::remove_obsolete(disk, root, &manifest)?;
        journal::remove_before(disk, root, manifest.contents().first_journal);
        let snapshot = Snapshot::new(self.clone(), manifest.clone(), Arc::default());
        let file_name = file.file_name();
        let is_journal = file.extension().is_some_and(|end| end == "jnl");
        let entry = manifest.segments().iter().find(|entry| {
            let path = path_of(root, entry);
            entry.flags & FLAG_LOST == 0 && path.file_name() == file_name
        });
        let mut next = Next::new(self, &manifest);
        let report = match entry {
            Some(entry) if !is_journal => next.without_segment(&snapshot, entry)?,
            _ if is_journal => next.without_journal(&snapshot, file)?,
            _ => {
                let text = "no segment that the manifest names and no journal has this name";
                return Err(Error::invalid(text).at_path(file));
            }
        };
        let first_journal = next.contents.first_journal;
        next.commit()?;
        journal::remove_before(disk, root, first_journal);
        Ok(report)
    }
}

fn path_of(root: &Path, entry: &SegmentEntry) -> PathBuf {
    segment_path(root, entry.stream_id, Day(entry.day), entry.segment_id)
}

/// The next generation, being made.
struct Next<'a> {
    store: &'a Store,
    contents: Contents,
    segments: Vec<SegmentEntry>,
    sealing: Sealing,
    written: Vec<StreamFiles>,
    /// What is written stands for a damaged segment.
    repaired: bool,
}

impl<'a> Next<'a> {
    fn new(store: &'a Store, manifest: &Manifest) -> Self {
        let before = manifest.contents();
        let contents = Contents { generation: before.generation + 1, ..before.clone() };
        let (store_id, id) = (before.store_id, before.next_segment_id);
        let sealing = Sealing::new(store, store_id, id, WriterOptions::default());
        let segments = manifest.segments().to_vec();
        Self { store, contents, segments, sealing, written: Vec::new(), repaired: false }
    }

    fn commit(mut self) -> Result<()> {
        for files in &mut self.written {
            self.sealing.seal(files)?;
        }
        self.sealing.publish(self.written.iter())?;
        let repaired = self.repaired;
        self.segments.extend(self.written.iter().flat_map(StreamFiles::entries).map(|entry| {
            let flags = entry.flags | if repaired { FLAG_REPAIRED } else { 0 };
            SegmentEntry { flags, ..entry }
        }));
        self.segments.sort_by_key(segment_order);
        self.contents.next_segment_id = self.sealing.next_segment_id();
        self.sealing.keep();
        let (disk, root) = (self.store.disk(), self.store.root());
        catalog::commit(disk, root, &self.contents, &self.segments)
    }

    fn without_segment(
        &mut self,
        snapshot: &Snapshot,
        entry: &SegmentEntry,
    ) -> Result<QuarantineReport> {
        let stream = self.stream(entry.stream_id)?;
        let (since, last) = (TsNs(entry.ts_recv_first), TsNs(entry.ts_recv_last));
        let path = path_of(self.store.root(), entry);
        match snapshot.map(entry, stream.key.kind).and_then(|segment| segment.verify(None)) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(Error::invalid("this segment is not damaged").at_path(&path)),
        }
        if stream.key.kind == Kind::Book {
            self.segments.retain(|other| other.segment_id != entry.segment_id);
            self.gap_until_next(snapshot, &stream, entry)?;
        } else {
            let place = self.segments.iter_mut().find(|e| e.segment_id == entry.segment_id);
            place.into_iter().for_each(|entry| entry.flags |= FLAG_LOST);
        }
        let moved = self.store.move_aside(&path, &format!("segment-{}", entry.segment_id))?;
        let files = moved.into_iter().collect();
        let rows = Some(entry.rows);
        let missing = vec![Missing { key: stream.key, since, until: Some(last), rows }];
        Ok(QuarantineReport { files, missing })
    }

    fn stream(&self, stream_id: u32) -> Result<StreamEntry> {
        let streams = &self.contents.streams;
        let found = streams.iter().find(|stream| stream.id == stream_id).cloned();
        found.ok_or_else(|| Error::corrupt("a segment of a stream that has no name"))
    }

    /// A gap in place of a segment of a book, and then the book as the next segment begins with it.
    fn gap_until_next(
        &mut self,
        snapshot: &Snapshot,
        stream: &StreamEntry,
        lost: &SegmentEntry,
    ) -> Result<()> {
        let of_stream = snapshot.segments(stream.id);
        let at = of_stream.iter().position(|entry| entry.segment_id == lost.segment_id);
        let at = at.unwrap_or(of_stream.len());
        let before = match at.checked_sub(1).and_then(|before| of_stream.get(before)) {
            Some(before) => snapshot.book_at_end(before).ok(),
            None => None,
        };
        let mut builder = BatchBuilder::new(Kind::Book);
        let gap_at = TsNs(lost.ts_recv_first);
        builder.begin(MessageHead { ts_recv: gap_at, ..MessageHead::default() });
        if before.is_none() {
            builder.reset();
        }
        builder.gap(lost.messages);
        builder.end();
        let next = of_stream.get(at + 1);
        if let Some(next) = next.filter(|next| next.flags & FLAG_STARTS_WITH_RESET == 0) {
            let mut book = Tracker::new();
            let segment = snapshot.open(next, Kind::Book)?;
            segment.restore(0, &mut book, &mut Batch::new(Kind::Book))?;
            write_book(&mut builder, &book, TsNs(lost.ts_recv_last));
        }
        let mut files = Sealing::stream(stream.id, Kind::Book, before);
        for batch in builder.finish()? {
            self.sealing.append(&mut files, &batch)?;
        }
        self.written.push(files);
        self.repaired = true;
        Ok(())
    }

    /// Seals what the journal has before its damage; after that every stream may lack rows.
    fn without_journal(&mut self, snapshot: &Snapshot, file: &Path) -> Result<QuarantineReport> {
        let (store, disk, root) = (self.store, self.store.disk(), self.store.root());
        let mut numbers = journal::numbers(disk, root)?;
        numbers.retain(|&number| number >= self.contents.first_journal);
        let Some(&last) = numbers.last() else {
            return Err(Error::invalid("the store has no journal").at_path(file));
        };
        let mut refill = Refill::new(snapshot.manifest());
        let mut reader = store.journal_reader(&self.contents);
        let books = store.sealed_books(snapshot.manifest_arc());
        let read = refill.read_all(&mut reader, &books).and_then(|_| reader.torn());
        let first = |error: Error| error.context("this segment is to be moved aside first");
        refill.open(&books).map_err(first)?;
        match read {
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(Error::invalid("the journal is not damaged").at_path(file)),
        }
        let mut streams: BTreeMap<u32, StreamEntry> = BTreeMap::new();
        for known in refill.streams.into_values() {
            let journal_rows = known.next_row;
            streams.insert(known.entry.id, StreamEntry { journal_rows, ..known.entry });
        }
        let last_of = |stream: &StreamEntry| {
            let tail = refill.tail.stream(stream.id).map(|tail| tail.times().1);
            tail.or(snapshot.segments(stream.id).last().map(|entry| entry.ts_recv_last))
        };
        let mut missing = Vec::new();
        for stream in streams.values() {
            let Some(last) = last_of(stream) else { continue };
            let key = stream.key.clone();
            missing.push(Missing { key, since: TsNs(last), until: None, rows: None });
        }
        let holes = holes(&missing);
        name_status(&mut streams, holes.keys(), self.contents.next_stream_id)?;
        for stream in streams.values() {
            let (StreamKey { instrument, kind }, last) = (&stream.key, last_of(stream));
            let hole = match kind {
                Kind::Book => last.map(book_hole).transpose()?,
                Kind::Status => holes.get(instrument).map(|hole| status_hole(hole)).transpose()?,
                _ => None,
            };
            if last.is_some() || hole.is_some() {
                let hole = hole.unwrap_or_default();
                self.write_tail(stream, refill.tail.stream(stream.id), &hole, &books)?;
            }
        }
        self.contents.streams = streams.into_values().collect();
        let given = self.contents.streams.last().map_or(0, |stream| stream.id + 1);
        self.contents.next_stream_id = self.contents.next_stream_id.max(given);
        self.contents.first_journal = last + 1;
        self.contents.next_seq = self.contents.next_seq.max(highest_seq(store, &numbers) + 1);
        let mut files = Vec::new();
        for number in numbers {
            let path = journal::path(root, number);
            files.push(store.copy_aside(&path, &format!("journal-{number}"))?);
        }
        Ok(QuarantineReport { files, missing })
    }

    /// Writes the live rows of a stream into segments, and `hole` after them.
    fn write_tail(
        &mut self,
        stream: &StreamEntry,
        tail: Option<&Arc<StreamTail>>,
        hole: &[Batch],
        books: Opening<'_>,
    ) -> Result<()> {
        let kind = stream.key.kind;
        let opening = match (kind, tail) {
            (Kind::Book, Some(tail)) => {
                let mut tracker = Tracker::new();
                tail.restore(0, &mut tracker)?;
                Some(tracker)
            }
            (Kind::Book, None) => Some(books(stream.id)?),
            _ => None,
        };
        let mut files = Sealing::stream(stream.id, kind, opening);
        for batch in tail.iter().flat_map(|tail| tail.batches()).chain(hole) {
            self.sealing.append(&mut files, batch)?;
        }
        self.written.push(files);
        Ok(())
    }
}

/// What may be missing of each instrument, by kind.
fn holes(missing: &[Missing]) -> BTreeMap<Instrument, Vec<(Kind, TsNs)>> {
    let mut holes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Missing { key, since, .. } in missing {
        holes.entry(key.instrument.clone()).or_default().push((key.kind, *since));
    }
    holes
}

/// Names a stream of `status` of each instrument that has none, with numbers from `next` on.
fn name_status<'a>(
    streams: &mut BTreeMap<u32, StreamEntry>,
    instruments: impl Iterator<Item = &'a Instrument>,
    next: u32,
) -> Result<()> {
    let named: BTreeSet<StreamKey> = streams.values().map(|stream| stream.key.clone()).collect();
    let mut id = streams.last_key_value().map_or(0, |(last, _)| last + 1).max(next);
    for instrument in instruments {
        let key = StreamKey { instrument: instrument.clone(), kind: Kind::Status };
        if named.contains(&key) {
            continue;
        }
        if id as usize >= limit::STREAMS_MAX {
            return Err(Error::limit("streams:", id, limit::STREAMS_MAX));
        }
        streams.insert(id, StreamEntry { id, key, journal_rows: 0 });
        id += 1;
    }
    Ok(())
}

/// The gap of a book after its last row.
fn book_hole(last: i64) -> Result<Vec<Batch>> {
    let mut builder = BatchBuilder::new(Kind::Book);
    builder.begin(MessageHead { ts_recv: TsNs(last), ..MessageHead::default() });
    builder.gap(0);
    builder.end();
    builder.finish()
}

/// The row of `status` that tells what of an instrument may be missing.
fn status_hole(hole: &[(Kind, TsNs)]) -> Result<Vec<Batch>> {
    let kinds: Vec<_> = hole.iter().map(|(kind, since)| format!("{kind} after {since}")).collect();
    let detail = &format!("perhaps missing, the journal was damaged: {}", kinds.join(", "));
    let ts_recv = hole.iter().map(|(_, since)| *since).max().unwrap_or_default();
    let mut builder = BatchBuilder::new(Kind::Status);
    builder.status(&StatusRow { ts_recv, ts_event: None, what: StatusWhat::Gap, detail });
    builder.finish()
}

/// The highest sequence that any whole frame of these files has, damaged ones between them or not.
fn highest_seq(store: &Store, numbers: &[u64]) -> u64 {
    let mut highest = 0;
    for &number in numbers {
        let path = journal::path(store.root(), number);
        let Ok(Some(file)) = JournalFile::open(store.disk(), &path) else { continue };
        highest = highest.max(file.header().first_seq).max(file.highest_seq().unwrap_or(0));
    }
    highest
}

/// A book as the rows of a snapshot.
fn write_book(builder: &mut BatchBuilder, tracker: &Tracker, ts_recv: TsNs) {
    let book = tracker.book();
    let (ts_event, venue_seq) = (tracker.ts_event(), tracker.venue_seq());
    builder.begin(MessageHead { ts_recv, ts_event, venue_seq, snapshot: true });
    for side in [Side::Bid, Side::Ask] {
        let (mut prices, mut qtys) = (Vec::new(), Vec::new());
        book.write_levels(side, &mut prices, &mut qtys);
        for (price, qty) in prices.into_iter().zip(qtys) {
            let price = Decimal::new(price, book.price_scale()).unwrap_or(Decimal::ZERO);
            builder.level(
                side,
                price,
                Decimal::new(qty, book.qty_scale()).unwrap_or(Decimal::ZERO),
            );
        }
    }
    if let State::Stale { missing, .. } = tracker.state() {
        builder.gap(missing);
    }
    builder.end();
}
