//! Journals: one or more files, as one writer after another left them.

use std::path::Path;
use std::sync::Arc;

use tickreel::catalog;
use tickreel::disk::OsDisk;
use tickreel::event::{
    Batch, BatchBuilder, Kind, MessageHead, Side, StatusRow, StatusWhat, StreamKey, TradeRow,
    TradeSide,
};
use tickreel::format::journal::{FrameHead, FrameKind, Header, encode_frame, encode_rows};
use tickreel::format::manifest::{Contents, StreamEntry};
use tickreel::journal::{self, JournalReader};
use tickreel::quantity::TsNs;
use tickreel::store::{LiveOptions, Store, Writer};

use crate::Vector;
use crate::describe::{self, Toml};
use crate::segments::{self, IDENTITY, NOON};

/// Journal files of a store: the number in the name, and the bytes.
#[derive(Clone)]
pub struct Journal {
    pub files: Vec<(u64, Vec<u8>)>,
    /// Number of the first file, by the manifest.
    pub first: u64,
    /// Streams that the manifest names.
    pub named: Vec<StreamEntry>,
}

/// A frame that a reader gives, and where it lies.
struct Place {
    head: FrameHead,
    kind: FrameKind,
    file: u64,
    offset: u64,
}

impl Journal {
    /// The files that writers left in the store `root`.
    fn of(root: &Path) -> Self {
        let read = |number| std::fs::read(journal::path(root, number)).unwrap();
        let numbers = journal::numbers(&OsDisk, root).unwrap();
        let files = numbers.into_iter().map(|number| (number, trimmed(read(number)))).collect();
        Self { files, first: 1, named: Vec::new() }
    }

    /// All files, one after another.
    pub fn bytes(&self) -> Vec<u8> {
        self.files.iter().flat_map(|(_, bytes)| bytes).copied().collect()
    }

    /// A store that has this journal and no segments.
    fn store(&self, root: &Path) -> tickreel::Result<Store> {
        let next_stream_id = self.named.iter().map(|stream| stream.id + 1).max().unwrap_or(0);
        let contents = Contents {
            store_id: IDENTITY.store_id,
            generation: 1,
            next_segment_id: 6,
            next_stream_id,
            first_journal: self.first,
            next_seq: 1,
            streams: self.named.clone(),
        };
        catalog::commit(&OsDisk, root, &contents, &[]).unwrap();
        std::fs::create_dir(journal::folder(root)).unwrap();
        for (number, bytes) in &self.files {
            std::fs::write(journal::path(root, *number), bytes).unwrap();
        }
        Store::open(root)
    }

    fn reader(&self, root: &Path) -> JournalReader {
        JournalReader::new(Arc::new(OsDisk), root, IDENTITY.store_id, self.first)
    }

    /// What verifying a store that has this journal reports.
    pub fn verify(&self) -> tickreel::Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let report = self.store(folder.path())?.verify(|_, _| ())?;
        report.damage.into_iter().next().map_or(Ok(()), |damage| Err(damage.error))
    }

    /// What stands in the description besides what was read.
    pub fn describe(&self, toml: &mut Toml) {
        toml.number("store_id", IDENTITY.store_id);
        toml.number("first_journal", self.first);
        let named = self.named.iter();
        toml.texts("named", named.map(|s| format!("{} {} {}", s.id, s.key, s.journal_rows)));
        let files = self.files.iter();
        toml.texts("files", files.map(|(number, bytes)| format!("{number} {}", bytes.len())));
    }

    /// Where the frame of sequence `seq` begins in its file.
    pub fn frame(&self, seq: u64) -> (usize, usize) {
        let folder = tempfile::tempdir().unwrap();
        drop(self.store(folder.path()).unwrap());
        let places = frames(&mut self.reader(folder.path()));
        let place = places.iter().find(|place| place.head.seq == seq).unwrap();
        let index = self.files.iter().position(|(number, _)| *number == place.file).unwrap();
        (index, place.offset as usize)
    }
}

/// The file as if little more room had been reserved than it needed.
fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    bytes.truncate((used + 16).next_multiple_of(64));
    make_len(&mut bytes);
    bytes
}

/// Makes the header say that the file was made as long as it is.
fn make_len(bytes: &mut [u8]) {
    let len = bytes.len() as u64;
    let Header { store_id, journal_id, number, first_seq, .. } = Header::decode(bytes).unwrap();
    let header = Header::new(store_id, journal_id, number, first_seq, len);
    bytes[..size_of::<Header>()].copy_from_slice(bytemuck::bytes_of(&header));
}

fn frames(reader: &mut JournalReader) -> Vec<Place> {
    let mut places = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        let (head, kind) = (frame.head, frame.kind);
        let (file, offset) = (reader.number().unwrap(), reader.offset());
        places.push(Place { head, kind, file, offset });
    }
    places
}

fn options() -> LiveOptions {
    LiveOptions { journal_bytes: 64 << 10, nonce: 0x0123_4567_89ab_cdef, ..LiveOptions::default() }
}

fn vector(name: &str, about: &str, journal: &Journal) -> Vector {
    let folder = tempfile::tempdir().unwrap();
    let store = journal.store(folder.path()).unwrap();
    journal.verify().unwrap();
    let mut toml = Toml::default();
    toml.text("form", "journal");
    toml.text("about", about);
    journal.describe(&mut toml);
    let mut reader = journal.reader(folder.path());
    let places = frames(&mut reader);
    toml.texts("frames", places.iter().map(frame_text));
    toml.number("next_seq", reader.next_seq());
    toml.number("watermark", reader.watermark());
    if let Some(torn) = reader.torn().unwrap() {
        let number = torn.path.file_stem().unwrap().display();
        toml.text("torn", &format!("{number} {} {}", torn.offset, torn.bytes.len()));
    }
    let durable = store.snapshot().unwrap();
    let writer = store.writer(options()).unwrap();
    let all = store.snapshot().unwrap();
    let mut tails: Vec<_> = all.tail().streams().collect();
    tails.sort_by_key(|tail| tail.entry().id);
    for tail in tails {
        let entry = tail.entry();
        let mut rows = Batch::new(entry.key.kind);
        tail.batches().for_each(|batch| rows.append(batch).unwrap());
        toml.table("[[streams]]");
        toml.text("stream", &format!("{} {}", entry.id, entry.key));
        toml.number("first_row", tail.first_row());
        toml.number("rows", tail.rows());
        toml.number("durable_rows", durable.tail().stream(entry.id).map_or(0, |t| t.rows()));
        describe::columns(&mut toml, &rows, 0..rows.rows());
    }
    drop(writer);
    Vector::new(name, journal.bytes(), toml.finish())
}

/// Sequence, file, offset, length, watermark, kind and stream of a frame.
fn frame_text(place: &Place) -> String {
    let kind = match place.kind {
        FrameKind::Stream => "stream",
        FrameKind::Rows => "rows",
        FrameKind::Mark => "mark",
    };
    let Place { head, file, offset, .. } = place;
    let FrameHead { seq, len, watermark, stream_id, .. } = head;
    format!("{seq} {file} {offset} {len} {watermark} {kind} {stream_id}")
}

pub fn vectors() -> Vec<Vector> {
    vec![
        vector("journal-small", SMALL_ABOUT, &small()),
        vector("journal-kinds", "a stream and a row of every kind", &kinds()),
        vector("journal-two-files", TWO_ABOUT, &two_files()),
        vector("journal-torn", TORN_ABOUT, &torn()),
        vector("journal-carried", CARRIED_ABOUT, &carried()),
    ]
}

fn key(name: &str, kind: Kind) -> StreamKey {
    StreamKey { instrument: name.parse().unwrap(), kind }
}

/// Two messages of a book, `ns` after noon: a snapshot of two levels, and a change of one.
fn book(ns: i64) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    for (at, snapshot) in [(ns, true), (ns + 2_000_000, false)] {
        builder.begin(MessageHead {
            ts_recv: TsNs(NOON + at),
            ts_event: (!snapshot).then_some(TsNs(NOON + at - 500_000)),
            venue_seq: Some(100 + at / 1_000_000),
            snapshot,
        });
        builder.level_text(Side::Bid, "61000.5", if snapshot { "2" } else { "0.25" }).unwrap();
        if snapshot {
            builder.level_text(Side::Ask, "61001", "1.5").unwrap();
        }
        builder.end();
    }
    builder.finish().unwrap().pop().unwrap()
}

fn trades(rows: &[(i64, &str)]) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Trades);
    for &(ns, trade_id) in rows {
        builder.trade(&TradeRow {
            ts_recv: TsNs(NOON + ns),
            ts_event: None,
            side: TradeSide::Buy,
            price: "61000.75".parse().unwrap(),
            qty: "0.001".parse().unwrap(),
            trade_id,
        });
    }
    builder.finish().unwrap().pop().unwrap()
}

fn status(ns: i64) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Status);
    for (what, detail) in [(StatusWhat::Disconnected, "peer closed"), (StatusWhat::Resync, "")] {
        builder.status(&StatusRow { ts_recv: TsNs(NOON + ns), ts_event: None, what, detail });
    }
    builder.finish().unwrap().pop().unwrap()
}

fn new_store(root: &Path) -> Store {
    Store::open_or_create_on(Arc::new(OsDisk), root, IDENTITY.store_id).unwrap()
}

fn append(writer: &mut Writer, name: &str, batch: &Batch) {
    writer.append(&key(name, batch.kind()), batch).unwrap();
}

const SMALL_ABOUT: &str = "book, trades and status of an instrument in two group commits, with \
    room that is reserved after them";

fn write_small(writer: &mut Writer) {
    append(writer, "test:A", &book(1_000_000));
    append(writer, "test:A", &trades(&[(1_500_000, "T-1"), (1_500_000, "")]));
    append(writer, "test:A", &status(2_000_000));
    writer.commit().unwrap();
    append(writer, "test:A", &trades(&[(4_000_000, "T-3")]));
    writer.commit().unwrap();
}

fn small() -> Journal {
    let folder = tempfile::tempdir().unwrap();
    write_small(&mut new_store(folder.path()).writer(options()).unwrap());
    Journal::of(folder.path())
}

fn kinds() -> Journal {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = new_store(folder.path()).writer(options()).unwrap();
    append(&mut writer, "test:A", &book(1_000_000).slice_messages(0..1));
    for batch in segments::one_of_each().iter().filter(|batch| batch.kind() != Kind::Book) {
        append(&mut writer, "test:A", batch);
    }
    writer.commit().unwrap();
    drop(writer);
    Journal::of(folder.path())
}

const TWO_ABOUT: &str = "the journal of journal-small, whose writer went on until a crash: of its \
    last group the first frame and the mark never reached the disk, the second frame is void; \
    the next writer began file 2 in its place";

/// As [`small`], with a group of two frames that a crash tore: the first and the mark are gone.
fn crashed(root: &Path) {
    let mut writer = new_store(root).writer(options()).unwrap();
    write_small(&mut writer);
    let end = writer.watermark() + 2;
    append(&mut writer, "test:A", &trades(&[(5_000_000, "lost")]));
    append(&mut writer, "test:A", &status(5_000_000));
    writer.commit().unwrap();
    drop(writer);
    let journal = Journal::of(root);
    let place = |seq| journal.frame(seq).1;
    let path = journal::path(root, 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[place(end)..place(end + 1)].fill(0);
    bytes[place(end + 2)..].fill(0);
    std::fs::write(&path, bytes).unwrap();
}

fn two_files() -> Journal {
    let folder = tempfile::tempdir().unwrap();
    crashed(folder.path());
    let mut writer = new_store(folder.path()).writer(options()).unwrap();
    append(&mut writer, "test:A", &book(6_000_000));
    append(&mut writer, "test:B", &trades(&[(6_000_000, "B-1")]));
    append(&mut writer, "test:A", &trades(&[(7_000_000, "T-4")]));
    writer.commit().unwrap();
    drop(writer);
    Journal::of(folder.path())
}

const TORN_ABOUT: &str = "the journal of journal-small, whose writer was stopped while it wrote a \
    group: one frame is whole and not known to be durable, of the other only the beginning is \
    there";

fn torn() -> Journal {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = new_store(folder.path()).writer(options()).unwrap();
    write_small(&mut writer);
    let whole = writer.watermark() + 2;
    append(&mut writer, "test:A", &trades(&[(5_000_000, "not durable")]));
    append(&mut writer, "test:A", &status(5_000_000));
    writer.commit().unwrap();
    drop(writer);
    let mut journal = Journal::of(folder.path());
    let (index, start) = journal.frame(whole + 1);
    journal.files[index].1[start + 60..].fill(0);
    journal
}

const CARRIED_ABOUT: &str = "files 4 and 5 of a store whose manifest names stream 3 and has its \
    first row in segment-book-one-row: row 3 of file 4 is left out, for row 2 was in a file that \
    is gone; file 5 has all rows again";

/// Book messages of one row each: that of `segment-book-one-row` and three more.
fn continued_book() -> Batch {
    let mut rows = segments::one_book_row();
    let mut builder = BatchBuilder::new(Kind::Book);
    for (at, qty) in [(2_000, "11"), (2_000, "0"), (9_000, "3.25")] {
        builder.begin(MessageHead { ts_recv: TsNs(NOON + at), ..MessageHead::default() });
        builder.level_text(Side::Bid, "-0.5", qty).unwrap();
        builder.end();
    }
    rows.append(&builder.finish().unwrap().pop().unwrap()).unwrap();
    rows
}

/// A file of frames of rows and a mark after them; `frames` are messages of `rows`.
fn file(number: u64, first_seq: u64, rows: &Batch, frames: &[std::ops::Range<usize>]) -> Vec<u8> {
    let header = Header::new(IDENTITY.store_id, 0xc0de + number, number, first_seq, 0);
    let mut bytes = bytemuck::bytes_of(&header).to_vec();
    let mut seq = first_seq;
    let mut head = |kind, stream_id, watermark| {
        let head = FrameHead {
            journal_id: header.journal_id,
            seq,
            watermark,
            stream_id,
            kind: kind as u8,
            ..bytemuck::Zeroable::zeroed()
        };
        seq += 1;
        head
    };
    for messages in frames {
        let head = head(FrameKind::Rows, 3, first_seq - 1);
        let first_row = messages.start as u64;
        let part = rows.slice_messages(messages.clone());
        encode_frame(&mut bytes, head, |out| encode_rows(out, &part, first_row));
    }
    let last = first_seq + frames.len() as u64 - 1;
    encode_frame(&mut bytes, head(FrameKind::Mark, 0, last), |_| {});
    make_len(&mut bytes);
    bytes
}

fn carried() -> Journal {
    let rows = continued_book();
    let files =
        vec![(4, file(4, 40, &rows, &[0..2, 3..4])), (5, file(5, 43, &rows, &[1..3, 3..4]))];
    let key = key("vectors:x", Kind::Book);
    Journal { files, first: 4, named: vec![StreamEntry { id: 3, key, journal_rows: 1 }] }
}

/// The good journal `name`, to be damaged.
pub fn journal(name: &str) -> Journal {
    match name {
        "journal-small" => small(),
        "journal-two-files" => two_files(),
        "journal-carried" => carried(),
        _ => panic!("no journal {name}"),
    }
}
