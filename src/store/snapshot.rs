//! A frozen view of a store: one generation.

use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::part::{Part, Parts};
use super::tail::{StreamTail, Tail};
use crate::book::Tracker;
use crate::catalog::{self, Manifest};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, ContentHash, Kind, StreamKey};
use crate::format::Identity;
use crate::format::manifest::{FLAG_LOST, SegmentEntry, StreamEntry};
use crate::quantity::{Day, Instrument, NULL, TsNs};
use crate::segment::{Expected, Segment};

/// One generation of a store, and the rows that were in no segment yet when it was taken. What it
/// names stays readable for as long as it is held, also while other processes import or replace.
#[derive(Clone)]
pub struct Snapshot {
    store: Store,
    manifest: Arc<Manifest>,
    tail: Arc<Tail>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({:?}, {} live rows)", self.manifest, self.tail.rows())
    }
}

/// What is stored of one stream, from the manifest and the live tail alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Instrument and kind.
    pub key: StreamKey,
    /// Receive time of the first row.
    pub first: TsNs,
    /// Receive time of the last row.
    pub last: TsNs,
    /// Smallest and largest event time, if any row has one.
    pub events: Option<(TsNs, TsNs)>,
    /// Rows.
    pub rows: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes of all segment files, and of live rows in memory.
    pub bytes: u64,
    /// Segment files.
    pub segments: usize,
    /// Rows of these that are in no segment yet.
    pub live_rows: u64,
    /// Rows that are missing because their segments were damaged and moved aside.
    pub lost_rows: u64,
    /// Most rows a seek replays.
    pub replay_rows_max: u64,
    /// Content hash of all rows.
    pub hash: ContentHash,
}

impl Snapshot {
    pub(super) fn new(store: Store, manifest: Arc<Manifest>, tail: Arc<Tail>) -> Self {
        Self { store, manifest, tail }
    }

    /// The rows that are in no segment yet.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The store this is a view of.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether this is still the newest generation; live rows that came since do not count. Costs
    /// one small read.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn is_current(&self) -> Result<bool> {
        self.manifest.is_current(self.store.disk(), self.store.root())
    }

    /// Whether `other` shows the very same rows in the same files.
    #[must_use]
    pub fn shows_the_same(&self, other: &Self) -> bool {
        let rows = self.tail.same_rows(&other.tail);
        rows && self.generation() == other.generation()
    }

    /// The book after the last row that is in a segment; an empty one if there is none.
    pub(super) fn book_sealed(&self, stream_id: u32) -> Result<Tracker> {
        self.segments(stream_id)
            .last()
            .map_or_else(|| Ok(Tracker::new()), |last| self.book_at_end(last))
    }

    /// The book after the last row of a segment.
    pub(super) fn book_at_end(&self, entry: &SegmentEntry) -> Result<Tracker> {
        let mut tracker = Tracker::new();
        let segment = self.open(entry, Kind::Book)?;
        segment.restore(segment.messages(), &mut tracker, &mut Batch::new(Kind::Book))?;
        Ok(tracker)
    }

    /// Number of the generation; +1 per commit.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.manifest.contents().generation
    }

    /// The manifest itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(super) fn manifest_arc(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// All streams that have rows, by number.
    pub fn streams(&self) -> impl Iterator<Item = &StreamEntry> {
        let named = self.manifest.contents().streams.iter();
        let named = named.filter(|stream| !self.parts(stream.id).is_empty());
        named.chain(self.new_streams().map(|tail| tail.entry()))
    }

    /// Streams that no manifest names yet.
    fn new_streams(&self) -> impl Iterator<Item = &Arc<StreamTail>> {
        let streams = &self.manifest.contents().streams;
        let named = |id: u32| streams.binary_search_by_key(&id, |stream| stream.id).is_ok();
        self.tail.streams().filter(move |tail| !named(tail.entry().id))
    }

    /// The number of a stream.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] with the instruments or kinds that are there.
    pub fn stream_id(&self, instrument: &Instrument, kind: Kind) -> Result<u32> {
        let key = StreamKey { instrument: instrument.clone(), kind };
        let named = self.manifest.stream(&key).filter(|s| !self.parts(s.id).is_empty());
        let new = || self.new_streams().map(|tail| tail.entry()).find(|entry| entry.key == key);
        let found = named.or_else(new).map(|stream| stream.id);
        found.ok_or_else(|| self.no_such_stream(instrument, kind))
    }

    fn no_such_stream(&self, instrument: &Instrument, kind: Kind) -> Error {
        const NAMED_MAX: usize = 5;
        let of_instrument: Vec<_> = self
            .streams()
            .filter(|stream| stream.key.instrument == *instrument)
            .map(|stream| stream.key.kind.name())
            .collect();
        if !of_instrument.is_empty() {
            let kinds = of_instrument.join(", ");
            return Error::not_found(format!("{instrument} has no {kind}; it has {kinds}"));
        }
        let mut names: Vec<_> = self.instruments().iter().map(ToString::to_string).collect();
        let count = names.len();
        // Names that share most with the one asked for come first.
        let wanted = instrument.to_string().to_lowercase();
        let shared = |name: &str| {
            let (name, symbol) = (name.to_lowercase(), instrument.symbol().to_lowercase());
            let common = name.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
            (!name.contains(&symbol), std::cmp::Reverse(common))
        };
        names.sort_by_key(|name| shared(name));
        names.truncate(NAMED_MAX);
        let known = match count {
            0 => "the store is empty".to_owned(),
            _ if count > NAMED_MAX => format!("there are {count}, e.g. {}", names.join(", ")),
            _ => format!("there are {}", names.join(", ")),
        };
        Error::not_found(format!("no instrument {instrument} in the store; {known}"))
    }

    /// All instruments that have rows, sorted.
    #[must_use]
    pub fn instruments(&self) -> Vec<Instrument> {
        let mut names: Vec<_> = self.streams().map(|s| s.key.instrument.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The segments of a stream, by time.
    #[must_use]
    pub fn segments(&self, stream_id: u32) -> &[SegmentEntry] {
        self.manifest.stream_segments(stream_id)
    }

    /// The parts of a stream, by time.
    #[must_use]
    pub fn parts(&self, stream_id: u32) -> Parts<'_> {
        Parts { segments: self.segments(stream_id), tail: self.tail.stream(stream_id) }
    }

    /// Opens part `index` of a stream; `None` if there are fewer.
    ///
    /// # Errors
    /// As [`Snapshot::open`]; live rows of a book need the segment before them.
    pub fn open_part(&self, stream_id: u32, kind: Kind, index: usize) -> Result<Option<Part>> {
        let parts = self.parts(stream_id);
        match parts.segments.get(index) {
            Some(entry) if entry.flags & FLAG_LOST != 0 => Ok(Some(Part::Lost(kind))),
            Some(entry) => Ok(Some(Part::Sealed(self.open(entry, kind)?))),
            None => {
                let tail = parts.tail.filter(|_| index == parts.segments.len());
                tail.map(|tail| self.open_tail(tail).map(Part::Live)).transpose()
            }
        }
    }

    /// Live rows, after the book that they go on with.
    fn open_tail(&self, tail: &Arc<StreamTail>) -> Result<Arc<StreamTail>> {
        match tail.is_unopened() {
            true => Ok(Arc::new(tail.opened(&self.book_sealed(tail.entry().id)?)?)),
            false => Ok(tail.clone()),
        }
    }

    /// What is stored of each stream, sorted by name.
    #[must_use]
    pub fn stream_infos(&self) -> Vec<StreamInfo> {
        let mut infos: Vec<_> =
            self.streams().map(|stream| stream_info(&stream.key, &self.parts(stream.id))).collect();
        infos.sort_by(|a, b| a.key.cmp(&b.key));
        infos
    }

    /// Largest decimal scale of each column over all rows of a stream.
    #[must_use]
    pub fn scales(&self, stream_id: u32) -> [u8; 16] {
        let mut scales = [0; 16];
        let mut raise = |found: &mut dyn Iterator<Item = u8>| {
            scales.iter_mut().zip(found).for_each(|(max, scale)| *max = scale.max(*max));
        };
        for entry in self.segments(stream_id) {
            raise(&mut entry.scales.into_iter());
        }
        if let Some(tail) = self.tail.stream(stream_id) {
            raise(&mut tail.scales().into_iter().map(|(scale, _)| scale));
        }
        scales
    }

    /// Opens a segment, or takes it from those open already.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] if the file is missing, damaged or another one;
    /// [`crate::ErrorKind::Stale`] if it is missing and there is a newer generation.
    pub fn open(&self, entry: &SegmentEntry, kind: Kind) -> Result<Arc<Segment>> {
        self.store.inner.cache.get(entry.segment_id, || self.map(entry, kind))
    }

    /// As [`Snapshot::open`], anew, so that every page is checked again.
    pub(super) fn map(&self, entry: &SegmentEntry, kind: Kind) -> Result<Segment> {
        let root = self.store.root();
        let path = catalog::segment_path(root, entry.stream_id, Day(entry.day), entry.segment_id);
        let expected = Expected {
            identity: Identity {
                store_id: self.manifest.contents().store_id,
                segment_id: entry.segment_id,
            },
            stream_id: entry.stream_id,
            kind,
            day: entry.day,
            file_len: entry.file_len,
            content_hash: entry.content_hash,
            scales: entry.scales,
        };
        let bytes = self.store.disk().map(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self.lacks(&path),
            _ => Error::io(error, "map segment", &path),
        })?;
        Segment::open(bytes, &path, Some(&expected))
    }

    /// What it means that a segment file is not there. While this snapshot holds its manifest no
    /// writer removes any, unless the file system does not tell it so.
    fn lacks(&self, path: &Path) -> Error {
        let error = match self.is_current() {
            Ok(false) => {
                let text = "a later generation has removed this segment: open a new snapshot";
                Error::new(ErrorKind::Stale, text)
            }
            _ => Error::corrupt("a segment that the manifest names is not there"),
        };
        error.at_path(path)
    }
}

fn stream_info(key: &StreamKey, parts: &Parts<'_>) -> StreamInfo {
    let mut info = StreamInfo {
        key: key.clone(),
        first: TsNs::MAX,
        last: TsNs::MIN,
        events: None,
        rows: 0,
        messages: 0,
        bytes: 0,
        segments: parts.kept().count(),
        live_rows: 0,
        lost_rows: parts.lost().map(|entry| entry.rows).sum(),
        replay_rows_max: parts.replay_rows_max(),
        hash: ContentHash::EMPTY,
    };
    let mut add = |(first, last): (i64, i64), (low, high): (i64, i64), hash: ContentHash| {
        info.first = info.first.min(TsNs(first));
        info.last = info.last.max(TsNs(last));
        if low != NULL {
            let before = info.events.unwrap_or((TsNs::MAX, TsNs::MIN));
            info.events = Some((before.0.min(TsNs(low)), before.1.max(TsNs(high))));
        }
        info.rows += hash.rows();
        info.hash = info.hash.then(hash);
    };
    for entry in parts.kept() {
        let hash = ContentHash::from_parts(entry.content_hash, entry.rows);
        let times = (entry.ts_recv_first, entry.ts_recv_last);
        add(times, (entry.ts_event_min, entry.ts_event_max), hash);
    }
    if let Some(tail) = parts.tail {
        add(tail.times(), tail.event_times(), tail.hash());
        info.live_rows = tail.rows();
        info.messages = tail.messages();
        info.bytes = tail.bytes();
    }
    info.messages += parts.kept().map(|entry| entry.messages).sum::<u64>();
    info.bytes += parts.kept().map(|entry| entry.file_len).sum::<u64>();
    info
}
