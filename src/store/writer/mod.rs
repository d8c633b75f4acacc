//! The live writer: rows go to the journal and the tail first, and into segments later.
//!
//! A [`Writer`] works in the thread that calls it and does nothing on its own: [`Writer::append`]
//! shows rows to this process, [`Writer::commit`] makes them durable, [`Writer::maintain`] seals
//! what is due. [`super::Recorder`] runs one in the background. After a failed write or sync the
//! writer refuses everything; opening the store again recovers what was durable.

mod retention;
mod rewrite;
mod seal;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

pub use self::retention::{Dropped, Expired};
use super::live::Live;
use super::refill::{Known, Refill};
use super::tail::bytes_of;
use super::{Snapshot, Store};
use crate::catalog::{self, Manifest};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Action, Batch, ColumnType, Kind, StreamKey, book, broken_rule};
use crate::format::journal::{FrameHead, FrameKind, Header, encode_frame, encode_rows};
use crate::format::manifest::{SegmentEntry, StreamEntry, encode_stream};
use crate::journal::{self, JournalWriter, Torn};
use crate::limit;
use crate::quantity::TsNs;
use crate::segment::{WriterOptions, check_texts};

/// How a live writer behaves.
#[derive(Clone, Copy, Debug)]
pub struct LiveOptions {
    /// Layout of the segments.
    pub segments: WriterOptions,
    /// Bytes of one journal file. Up to four are kept before the quiet streams in the oldest are
    /// carried on or sealed.
    pub journal_bytes: u64,
    /// Bytes in memory after which a stream is sealed.
    pub seal_bytes: u64,
    /// Nanoseconds of receive time after which a stream is sealed, however little it holds. A
    /// stream is always sealed when its UTC day is over.
    pub seal_after_ns: i64,
    /// Bytes in memory of all rows that are not sealed; above it the largest streams are sealed.
    pub memory_max: u64,
    /// Rows older than the last one of their stream are given its time instead of being refused.
    pub clamp_late: bool,
    /// Tells journal files of different lives of a store apart; random unless a test wants the
    /// same bytes again.
    pub nonce: u64,
}

impl Default for LiveOptions {
    fn default() -> Self {
        use std::hash::{BuildHasher, Hasher};
        Self {
            segments: WriterOptions::default(),
            journal_bytes: 64 << 20,
            seal_bytes: 8 << 20,
            seal_after_ns: i64::MAX,
            memory_max: 256 << 20,
            clamp_late: false,
            nonce: std::collections::hash_map::RandomState::new().build_hasher().finish(),
        }
    }
}

/// Bytes of a journal file besides those of frames of rows: its header and two marks.
const JOURNAL_HEADS_BYTES: u64 = (size_of::<Header>() + 2 * size_of::<FrameHead>()) as u64;
/// Bytes that wait for a commit before an append commits on its own.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// The one writer of a store. Dropped, it leaves what was not committed to chance, as a crash does.
pub struct Writer {
    store: Store,
    options: LiveOptions,
    live: Arc<Live>,
    streams: HashMap<StreamKey, OpenStream>,
    next_stream_id: u32,
    next_segment_id: u64,
    /// `None` while a [`Group`] is being written.
    journal: Option<JournalWriter>,
    room: Room,
    first_journal: u64,
    /// Frames that are not written yet.
    group: Vec<u8>,
    next_seq: u64,
    watermark: u64,
    /// Segments that are no longer part of the store and whose files some reader may need.
    dropped: Vec<SegmentEntry>,
    failed: Option<String>,
    lock: Option<Box<dyn Send + Sync>>,
}

struct OpenStream {
    known: Known,
    /// Receive time of the last row, ns.
    last: i64,
    /// Whether the journal or a manifest names it.
    announced: bool,
}

/// The newest journal file, and how much of it is taken by frames that are written or wait.
struct Room {
    header: Header,
    used: u64,
}

impl Room {
    fn new(header: Header) -> Self {
        Self { header, used: size_of::<Header>() as u64 }
    }
}

/// Frames on their way to the disk.
pub(in crate::store) struct Group {
    journal: JournalWriter,
    bytes: Vec<u8>,
    last_seq: u64,
}

impl Group {
    /// Writes the frames and makes them durable, then says so in the journal.
    pub(in crate::store) fn write(&mut self) -> Result<()> {
        self.journal.write(&self.bytes)?;
        self.journal.sync()?;
        let mut mark = Vec::with_capacity(size_of::<FrameHead>());
        let journal_id = self.journal.header().journal_id;
        let (seq, watermark) = (self.last_seq + 1, self.last_seq);
        encode_frame(&mut mark, head(journal_id, seq, watermark, 0, FrameKind::Mark), |_| {});
        self.journal.write(&mark)
    }
}

fn head(journal_id: u64, seq: u64, watermark: u64, stream_id: u32, kind: FrameKind) -> FrameHead {
    FrameHead {
        len: 0,
        crc: 0,
        journal_id,
        seq,
        watermark,
        stream_id,
        kind: kind as u8,
        reserved: [0; 3],
    }
}

impl Store {
    /// Opens the store for appending, with the rows that the journal of an earlier writer holds.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] or [`ErrorKind::Invalid`] for impossible options;
    /// [`ErrorKind::Locked`] if another writer has the store; [`ErrorKind::Corrupt`] if rows that
    /// were acknowledged are damaged in the journal; [`ErrorKind::Full`] or [`ErrorKind::Io`] if
    /// the journal cannot be begun.
    pub fn writer(&self, options: LiveOptions) -> Result<Writer> {
        options.segments.check()?;
        if options.journal_bytes > limit::JOURNAL_BYTES_MAX {
            let limit = limit::JOURNAL_BYTES_MAX;
            return Err(Error::limit("bytes of a journal file:", options.journal_bytes, limit));
        }
        let lock = self.lock()?;
        Writer::open(self.clone(), lock, options)
    }
}

impl Writer {
    pub(in crate::store) fn open(
        store: Store,
        lock: Box<dyn Send + Sync>,
        options: LiveOptions,
    ) -> Result<Self> {
        let (disk, root) = (store.disk_arc(), store.root().to_owned());
        let manifest = Arc::new(Manifest::load(&*disk, &root)?);
        catalog::remove_obsolete(&*disk, &root, &manifest)?;
        let contents = manifest.contents();
        journal::remove_before(&*disk, &root, contents.first_journal);
        let mut refill = Refill::new(&manifest);
        let mut reader = store.journal_reader(contents);
        let torn = refill
            .read_all(&mut reader, &store.sealed_books(&manifest))
            .and_then(|_| refill.open(&store.sealed_books(&manifest)))
            .and_then(|()| reader.torn())
            .map_err(|error| match error.kind() {
                ErrorKind::Corrupt => error.context("the store cannot be written"),
                _ => error,
            })?;
        if let Some(torn) = torn {
            keep_aside(&store, &torn)?;
        }
        let numbers = journal::numbers(&*disk, &root)?;
        if !numbers.is_empty() {
            // The name of the newest may not be durable yet, if its writer was killed: no later one
            // may be without it.
            let folder = journal::folder(&root);
            disk.sync_folder(&folder).map_err(|e| Error::io(e, "sync folder", &folder))?;
        }
        let number =
            numbers.last().map_or(0, |last| last.saturating_add(1)).max(contents.first_journal);
        // What the manifest says may count frames that never reached the journal.
        let durable =
            reader.number().map_or(contents.next_seq.saturating_sub(1), |_| reader.watermark());
        let snapshot = Snapshot::new(store.clone(), manifest.clone(), refill.tail.clone());
        let streams = refill.streams.into_values().map(|known| {
            let last = snapshot.parts(known.entry.id).last_ts().unwrap_or(i64::MIN);
            let announced = known.named || known.first_journal != u64::MAX;
            (known.entry.key.clone(), OpenStream { known, last, announced })
        });
        let streams: HashMap<_, _> = streams.collect();
        let given = streams.values().map(|stream| stream.known.entry.id + 1).max().unwrap_or(0);
        let id = journal_id(options.nonce, number);
        let (frames, next_seq) = again(&refill.unsure, id, durable);
        let file_len = options.journal_bytes.max(frames.len() as u64 + JOURNAL_HEADS_BYTES);
        let header = Header::new(contents.store_id, id, number, durable + 1, file_len);
        let journal = JournalWriter::create(&*disk, &root, header, &frames)?;
        journal.publish(&*disk, &root)?;
        let mut room = Room::new(header);
        room.used += frames.len() as u64;
        let live = Arc::new(Live::new(manifest.clone(), refill.tail));
        store.show(&live);
        let mut writer = Self {
            options,
            live,
            streams,
            next_stream_id: contents.next_stream_id.max(given),
            next_segment_id: contents.next_segment_id,
            journal: Some(journal),
            room,
            first_journal: contents.first_journal,
            group: Vec::new(),
            next_seq,
            watermark: next_seq - 1,
            dropped: Vec::new(),
            failed: None,
            lock: Some(lock),
            store,
        };
        // A store that is opened again and again before anything is sealed keeps few files too.
        match writer.maintain_journal() {
            // A full disk may have room again, and reading needs none.
            Err(error) if error.kind() == ErrorKind::Full && writer.check().is_ok() => Ok(writer),
            other => other.map(|()| writer),
        }
    }

    /// The store that is written.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// All rows up to this sequence are durable.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Bytes of frames that wait for a commit.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.group.len()
    }

    /// Receive time of the last row of a stream, if it has rows.
    #[must_use]
    pub fn last(&self, key: &StreamKey) -> Option<TsNs> {
        let last = self.streams.get(key).map(|stream| stream.last);
        last.filter(|&last| last != i64::MIN).map(TsNs)
    }

    /// Whether the writer still works.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] after a failure.
    pub fn check(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(text) => Err(Error::new(
                ErrorKind::Poisoned,
                format!("the writer stopped after a failure; open the store again: {text}"),
            )),
        }
    }

    /// Refuses all work from now on: nothing is known of what reached the disk.
    fn poison<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.failed.get_or_insert_with(|| error.to_string());
        }
        result
    }

    /// As [`Writer::poison`], unless the disk is full: then nothing was begun.
    fn poison_unless_full<T>(&mut self, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::Full => Err(error),
            other => self.poison(other),
        }
    }

    /// Adds rows to a stream, in order of receive time, and shows them to readers of this process.
    /// They are durable once [`Writer::watermark`] has reached the sequence that is returned.
    ///
    /// The first row of a new book stream must be a reset.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for rows that are late, out of order or of another kind;
    /// [`ErrorKind::Limit`] for values or messages too large; [`ErrorKind::Full`] if there is no
    /// room for the journal. Nothing is added then. [`ErrorKind::Poisoned`] after a failure.
    pub fn append(&mut self, key: &StreamKey, batch: &Batch) -> Result<u64> {
        self.check()?;
        if batch.is_empty() {
            return Ok(self.watermark);
        }
        let clamped = self.check_rows(key, batch)?;
        let batch = clamped.as_ref().unwrap_or(batch);
        self.make_room(batch)?;
        let entry = self.open_stream(key)?;
        let Some(stream) = self.streams.get_mut(key) else { return Ok(self.next_seq - 1) };
        let first_row = stream.known.next_row;
        let current = self.room.header.number;
        let (store, options) = (&self.store, &self.options);
        self.live.update(|view| -> Result<()> {
            let books = store.sealed_books(&view.manifest);
            let spacing = options.segments.checkpoint_rows.unwrap_or(limit::CHECKPOINT_ROWS);
            let tail = Arc::make_mut(&mut view.tail);
            tail.append(&entry, first_row, batch, spacing, || books(entry.id))?;
            if stream.known.first_journal == u64::MAX {
                stream.known.first_journal = current;
            }
            if view.pending.iter().all(|(id, _)| *id != entry.id) {
                view.pending.push((entry.id, first_row));
            }
            Ok(())
        })?;
        stream.known.next_row += batch.rows() as u64;
        stream.last = batch.ts_recv().last().copied().unwrap_or(stream.last);
        let announce = !std::mem::replace(&mut stream.announced, true);
        if announce {
            self.push_frame(entry.id, FrameKind::Stream, |out| encode_stream(&entry, out));
        }
        self.push_rows(entry.id, first_row, batch);
        Ok(self.next_seq - 1)
    }

    /// Checks rows against their stream; gives them with later times if they are late and may be.
    fn check_rows(&self, key: &StreamKey, batch: &Batch) -> Result<Option<Batch>> {
        if batch.kind() != key.kind {
            return Err(Error::invalid(format!("rows of {} for {key}", batch.kind())));
        }
        check_shape(batch).map_err(|error| error.context(key))?;
        if let Some(broken) = broken_rule(batch) {
            return Err(Error::invalid(format!("{key}: {broken}")));
        }
        let first = batch.ts_recv().first().copied().unwrap_or_default();
        let last = self.streams.get(key).map_or(i64::MIN, |stream| stream.last);
        let resets = batch.u8s(book::ACTION).first() == Some(&(Action::Reset as u8));
        if key.kind == Kind::Book && last == i64::MIN && !resets {
            let rule = "the first row of a stream must be a reset";
            return Err(Error::invalid(format!("{key}: column action, row 0: {rule}")));
        }
        if first >= last {
            return Ok(None);
        }
        if !self.options.clamp_late {
            return Err(Error::invalid(format!(
                "{key}: column ts_recv, row 0: late row: received {}, after the stream's last row \
                 of {}",
                TsNs(first),
                TsNs(last)
            )));
        }
        let mut clamped = batch.clone();
        clamped.clamp_ts_recv(last);
        Ok(Some(clamped))
    }

    /// Makes sure that the frames of `batch` have reserved room, in a new journal file if needed.
    fn make_room(&mut self, batch: &Batch) -> Result<()> {
        let largest = (0..batch.messages()).map(|m| batch.message_bytes(m)).max().unwrap_or(0);
        let largest = largest + FRAME_OVERHEAD;
        // Smaller ones before it may be in the same frame.
        let limit = limit::JOURNAL_FRAME_BYTES_MAX - limit::JOURNAL_FRAME_BYTES;
        if largest > limit {
            return Err(Error::limit("bytes of one message:", largest, limit));
        }
        let bytes = frame_bytes(batch);
        if self.group.len() + bytes > GROUP_BYTES_MAX {
            self.commit()?;
        }
        if self.has_room(batch) {
            return Ok(());
        }
        self.commit()?;
        self.next_journal(bytes)
    }

    /// Whether the frames of `batch` have room in the newest journal file.
    pub(in crate::store) fn has_room(&self, batch: &Batch) -> bool {
        let waiting = self.group.len() + frame_bytes(batch) + 2 * size_of::<FrameHead>();
        self.room.used + waiting as u64 <= self.room.header.file_len
    }

    /// Begins a new journal file with room for a frame of `bytes`.
    fn next_journal(&mut self, bytes: usize) -> Result<()> {
        let number = self.room.header.number + 1;
        let store_id = self.room.header.store_id;
        // The last mark was never synced: the new file begins in its place.
        let first_seq = self.watermark + 1;
        let id = journal_id(self.options.nonce, number);
        let file_len = self.options.journal_bytes.max(bytes as u64 + JOURNAL_HEADS_BYTES);
        let header = Header::new(store_id, id, number, first_seq, file_len);
        let (disk, root) = (self.store.disk_arc(), self.store.root().to_owned());
        let created = JournalWriter::create(&*disk, &root, header, &[]);
        let journal = self.poison_unless_full(created)?;
        // Once it may have its name, what is written into the old file may be void.
        self.poison(journal.publish(&*disk, &root))?;
        self.journal = Some(journal);
        self.room = Room::new(header);
        self.next_seq = first_seq;
        Ok(())
    }

    /// The stream of this name, new if need be.
    fn open_stream(&mut self, key: &StreamKey) -> Result<StreamEntry> {
        if let Some(stream) = self.streams.get(key) {
            return Ok(stream.known.entry.clone());
        }
        if self.next_stream_id as usize >= limit::STREAMS_MAX {
            return Err(Error::limit("streams:", self.next_stream_id, limit::STREAMS_MAX));
        }
        let entry = StreamEntry { id: self.next_stream_id, key: key.clone(), journal_rows: 0 };
        self.next_stream_id += 1;
        let known = Known::new(&entry);
        let stream = OpenStream { known, last: i64::MIN, announced: false };
        self.streams.insert(key.clone(), stream);
        Ok(entry)
    }

    fn push_frame(&mut self, stream_id: u32, kind: FrameKind, payload: impl FnOnce(&mut Vec<u8>)) {
        let journal_id = self.room.header.journal_id;
        let head = head(journal_id, self.next_seq, self.watermark, stream_id, kind);
        encode_frame(&mut self.group, head, payload);
        self.next_seq += 1;
    }

    /// Rows as frames of about [`limit::JOURNAL_FRAME_BYTES`], cut between messages.
    fn push_rows(&mut self, stream_id: u32, mut first_row: u64, batch: &Batch) {
        let mut start = 0;
        while start < batch.messages() {
            let (mut end, mut bytes) = (start, 0);
            while end < batch.messages() && (end == start || bytes < limit::JOURNAL_FRAME_BYTES) {
                bytes += batch.message_bytes(end);
                end += 1;
            }
            let whole = start == 0 && end == batch.messages();
            let part = (!whole).then(|| batch.slice_messages(start..end));
            let part = part.as_ref().unwrap_or(batch);
            self.push_frame(stream_id, FrameKind::Rows, |out| encode_rows(out, part, first_row));
            first_row += part.rows() as u64;
            start = end;
        }
    }

    /// Makes all rows appended so far durable; the new watermark.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the disk fails: the writer is poisoned then.
    pub fn commit(&mut self) -> Result<u64> {
        if let Some(mut group) = self.begin_commit()? {
            let written = group.write();
            self.finish_commit(group, written)?;
        }
        Ok(self.watermark)
    }

    /// Takes what waits, to be written without holding the writer.
    pub(in crate::store) fn begin_commit(&mut self) -> Result<Option<Group>> {
        self.check()?;
        if self.group.is_empty() {
            return Ok(None);
        }
        let Some(journal) = self.journal.take() else { return Ok(None) };
        let last_seq = self.next_seq - 1;
        self.live.update(|view| view.committing.append(&mut view.pending));
        // The mark that says that the group is durable.
        self.next_seq += 1;
        self.room.used += (self.group.len() + size_of::<FrameHead>()) as u64;
        Ok(Some(Group { journal, bytes: std::mem::take(&mut self.group), last_seq }))
    }

    /// Takes note of what became of a group.
    pub(in crate::store) fn finish_commit(
        &mut self,
        group: Group,
        written: Result<()>,
    ) -> Result<()> {
        let Group { journal, mut bytes, last_seq } = group;
        self.journal = Some(journal);
        self.poison(written)?;
        self.watermark = last_seq;
        if self.group.is_empty() {
            bytes.clear();
            self.group = bytes;
        }
        self.live.update(|view| view.committing.clear());
        Ok(())
    }
}

/// Checks what files cannot hold, apart from the values of rows.
fn check_shape(batch: &Batch) -> Result<()> {
    for (spec, column) in batch.schema().columns.iter().zip(batch.columns()) {
        let Some(column) = column else {
            return Err(Error::invalid(format!("rows lack the column {}", spec.name)));
        };
        let decimals = column.scale.max(column.digits);
        let max = if spec.ty == ColumnType::Decimal { limit::SCALE_MAX } else { 0 };
        if decimals > max {
            return Err(Error::limit(&format!("decimals of column {}:", spec.name), decimals, max));
        }
    }
    check_texts(batch)?;
    let times = batch.ts_recv();
    if !times.is_sorted() {
        let falls = times.windows(2).position(|pair| pair[0] > pair[1]).unwrap_or_default();
        let row = batch.message_rows(falls + 1).start;
        let text = format!("column ts_recv, row {row}: earlier than the row before");
        return Err(Error::invalid(text));
    }
    if times.last() == Some(&TsNs::MAX.0) {
        return Err(Error::invalid(format!("column ts_recv: {} ends every range", TsNs::MAX.0)));
    }
    let sizes = (0..batch.messages()).map(|message| batch.message_rows(message).len());
    match sizes.max() {
        Some(rows) if rows > limit::MESSAGE_ROWS_MAX => {
            Err(Error::limit("rows of one message:", rows, limit::MESSAGE_ROWS_MAX))
        }
        _ => Ok(()),
    }
}

/// Bytes of the frames of a batch at most.
fn frame_bytes(batch: &Batch) -> usize {
    let bytes = bytes_of(batch) as usize;
    let frames = (bytes / limit::JOURNAL_FRAME_BYTES + 1).min(batch.messages()) + 1;
    bytes + frames * FRAME_OVERHEAD
}

/// Bytes that a frame of rows has besides its values: heads, padding of columns, message ends.
const FRAME_OVERHEAD: usize = 512;

fn journal_id(nonce: u64, number: u64) -> u64 {
    nonce.rotate_left(17) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The frames that an earlier writer left and that are not known to be durable, as the first ones
/// of file `journal_id`, and the sequence after them. Whether they reached the disk cannot be found
/// out: after a failed sync, the next one may succeed without them.
fn again(
    unsure: &VecDeque<(u64, u32, FrameKind, Vec<u8>)>,
    journal_id: u64,
    durable: u64,
) -> (Vec<u8>, u64) {
    let mut frames = Vec::new();
    let mut seq = durable + 1;
    for (_, stream_id, kind, payload) in unsure {
        let head = head(journal_id, seq, durable, *stream_id, *kind);
        encode_frame(&mut frames, head, |out| out.extend_from_slice(payload));
        seq += 1;
    }
    if !frames.is_empty() {
        // The file gets its name when all of it is durable.
        let mark = head(journal_id, seq, seq - 1, 0, FrameKind::Mark);
        encode_frame(&mut frames, mark, |_| {});
        seq += 1;
    }
    (frames, seq)
}

/// Copies what a crash tore off the journal into `quarantine/`.
fn keep_aside(store: &Store, torn: &Torn) -> Result<()> {
    let (disk, root) = (store.disk(), store.root());
    let folder = root.join("quarantine");
    let name = torn.path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let path = folder.join(format!("journal-{name}-{}.torn", torn.offset));
    if disk.len(&path).is_ok() {
        return Ok(());
    }
    disk.create_folder(&folder).map_err(|e| Error::io(e, "create folder", &folder))?;
    catalog::write_durably(disk, &path, &torn.bytes, "torn end of the journal")?;
    let sync = |path: &Path| disk.sync_folder(path).map_err(|e| Error::io(e, "sync folder", path));
    sync(&folder)?;
    sync(root)
}
