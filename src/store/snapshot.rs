//! A frozen view of a store: one generation.

use std::sync::Arc;

use super::Store;
use crate::catalog::{self, Manifest};
use crate::error::{Error, Result};
use crate::event::{ContentHash, Kind, StreamKey};
use crate::format::Identity;
use crate::format::manifest::{SegmentEntry, StreamEntry};
use crate::quantity::{Day, Instrument, NULL, TsNs};
use crate::segment::{Expected, Segment};

/// One generation of a store. What it names stays readable for as long as it is held, also while
/// other processes import or replace.
#[derive(Clone, Debug)]
pub struct Snapshot {
    store: Store,
    manifest: Arc<Manifest>,
}

/// What is stored of one stream, from the manifest alone.
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
    /// Bytes of all segment files.
    pub bytes: u64,
    /// Segment files.
    pub segments: usize,
    /// Most rows a seek replays.
    pub replay_rows_max: u64,
    /// Content hash of all rows.
    pub hash: ContentHash,
}

impl Snapshot {
    pub(super) fn new(store: Store, manifest: Arc<Manifest>) -> Self {
        Self { store, manifest }
    }

    /// The store this is a view of.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether this is still the newest generation. Costs one small read.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn is_current(&self) -> Result<bool> {
        self.manifest.is_current(self.store.disk(), self.store.root())
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

    /// All streams that have rows, by number.
    pub fn streams(&self) -> impl Iterator<Item = &StreamEntry> {
        let streams = self.manifest.contents().streams.iter();
        streams.filter(|stream| !self.segments(stream.id).is_empty())
    }

    /// The number of a stream.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] with the instruments or kinds that are there.
    pub fn stream_id(&self, instrument: &Instrument, kind: Kind) -> Result<u32> {
        let key = StreamKey { instrument: instrument.clone(), kind };
        let found = self.manifest.stream(&key).filter(|s| !self.segments(s.id).is_empty());
        found.map(|stream| stream.id).ok_or_else(|| self.no_such_stream(instrument, kind))
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

    /// What is stored of each stream, sorted by name.
    #[must_use]
    pub fn stream_infos(&self) -> Vec<StreamInfo> {
        let mut infos: Vec<_> = self
            .streams()
            .map(|stream| stream_info(&stream.key, self.segments(stream.id)))
            .collect();
        infos.sort_by(|a, b| a.key.cmp(&b.key));
        infos
    }

    /// Largest decimal scale of each column over the segments of a stream.
    #[must_use]
    pub fn scales(&self, stream_id: u32) -> [u8; 16] {
        self.segments(stream_id).iter().fold([0; 16], |mut scales, entry| {
            scales.iter_mut().zip(entry.scales).for_each(|(max, scale)| *max = (*max).max(scale));
            scales
        })
    }

    /// Opens a segment, or takes it from those open already.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] if the file is missing, damaged or another one.
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
        let bytes = self.store.disk().map(&path).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                let text = "a segment that the manifest names is not there";
                return Error::corrupt(text).at_path(&path);
            }
            Error::io(error, "map segment", &path)
        })?;
        Segment::open(bytes, &path, Some(&expected))
    }
}

fn stream_info(key: &StreamKey, segments: &[SegmentEntry]) -> StreamInfo {
    let mut info = StreamInfo {
        key: key.clone(),
        first: TsNs::MAX,
        last: TsNs::MIN,
        events: None,
        rows: 0,
        messages: 0,
        bytes: 0,
        segments: segments.len(),
        replay_rows_max: 0,
        hash: ContentHash::EMPTY,
    };
    for entry in segments {
        info.first = info.first.min(TsNs(entry.ts_recv_first));
        info.last = info.last.max(TsNs(entry.ts_recv_last));
        if entry.ts_event_min != NULL {
            let (low, high) = info.events.unwrap_or((TsNs::MAX, TsNs::MIN));
            let low = low.min(TsNs(entry.ts_event_min));
            info.events = Some((low, high.max(TsNs(entry.ts_event_max))));
        }
        info.rows += entry.rows;
        info.messages += entry.messages;
        info.bytes += entry.file_len;
        info.replay_rows_max = info.replay_rows_max.max(entry.replay_rows_max);
        info.hash = info.hash.then(ContentHash::from_parts(entry.content_hash, entry.rows));
    }
    info
}
