//! What is worth compacting.

use crate::event::{Kind, StreamKey};
use crate::format::manifest::{FLAG_COMPACTED, FLAG_LOST, FLAG_REPAIRED, SegmentEntry};
use crate::limit;
use crate::quantity::{Day, Instrument, TsNs};
use crate::store::Snapshot;

/// Rows after which a compacted segment takes no more: a day of a busy book is a few of these.
const SEGMENT_ROWS: u64 = limit::SEGMENT_ROWS_MAX / 2;
/// Bytes of segments after which a compacted one takes no more.
const SEGMENT_BYTES: u64 = limit::SEGMENT_BYTES_MAX / 4;

/// Which segments may be compacted.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Of these instruments; of all if empty.
    pub instruments: Vec<Instrument>,
    /// Of these kinds; of all if empty.
    pub kinds: Vec<Kind>,
    /// Of UTC days that end at or before this time.
    pub until: TsNs,
    /// Also those that a compaction wrote.
    pub again: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self { instruments: Vec::new(), kinds: Vec::new(), until: TsNs::MAX, again: false }
    }
}

impl Selection {
    fn has(&self, key: &StreamKey) -> bool {
        let instrument = self.instruments.is_empty() || self.instruments.contains(&key.instrument);
        instrument && (self.kinds.is_empty() || self.kinds.contains(&key.kind))
    }
}

/// Segments of one stream and day to be written anew.
#[derive(Clone, Debug)]
pub struct Task {
    /// The stream.
    pub key: StreamKey,
    /// The UTC day.
    pub day: Day,
    /// The segments, one after the other.
    pub segments: Vec<SegmentEntry>,
}

impl Task {
    /// Rows of all segments.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|entry| entry.rows).sum()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|entry| entry.file_len).sum()
    }

    /// Whether one more segment goes into the same file.
    fn takes(&self, entry: &SegmentEntry, again: bool) -> bool {
        let last = self.segments.last();
        // What a compaction left side by side, it had to.
        let both_compacted =
            !again && last.is_some_and(|last| is_compacted(last) && is_compacted(entry));
        self.day == Day(entry.day)
            && !both_compacted
            && self.rows() + entry.rows <= SEGMENT_ROWS
            && self.bytes() + entry.file_len <= SEGMENT_BYTES
    }
}

fn is_compacted(entry: &SegmentEntry) -> bool {
    entry.flags & FLAG_COMPACTED != 0
}

/// The tasks that there are, sorted by stream and day. Reads nothing but the manifest.
#[must_use]
pub fn plan(snapshot: &Snapshot, selection: &Selection) -> Vec<Task> {
    let mut tasks = Vec::new();
    for stream in snapshot.streams().filter(|stream| selection.has(&stream.key)) {
        let segments = snapshot.segments(stream.id);
        let chosen = |entry: &&SegmentEntry| Day(entry.day).end() <= selection.until;
        tasks.extend(runs(&stream.key, segments.iter().filter(chosen), selection.again));
    }
    tasks.sort_by(|a, b| (&a.key, a.day).cmp(&(&b.key, b.day)));
    tasks
}

/// Runs of segments of one stream that belong into one file and are not in one yet.
fn runs<'a>(
    key: &StreamKey,
    segments: impl Iterator<Item = &'a SegmentEntry>,
    again: bool,
) -> Vec<Task> {
    let mut runs: Vec<Task> = Vec::new();
    let mut open = false;
    for entry in segments {
        // What stands for damage stays what it is, where it is.
        if entry.flags & (FLAG_LOST | FLAG_REPAIRED) != 0 {
            open = false;
            continue;
        }
        match runs.last_mut().filter(|run| open && run.takes(entry, again)) {
            Some(run) => run.segments.push(*entry),
            None => {
                let (key, day) = (key.clone(), Day(entry.day));
                runs.push(Task { key, day, segments: vec![*entry] });
            }
        }
        open = true;
    }
    runs.retain(|run| again || !run.segments.iter().all(is_compacted));
    runs
}
