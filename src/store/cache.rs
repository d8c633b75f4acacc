//! Opened segments, the most recently used ones, so that memory does not grow with the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::segment::Segment;

/// Segments kept open. One costs a few hundred bytes, a map and no file handle.
const SEGMENTS_MAX: usize = 1024;

/// Opened segments by number.
#[derive(Default)]
pub(super) struct SegmentCache {
    inner: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    segments: HashMap<u64, (Arc<Segment>, u64)>,
    uses: u64,
}

impl SegmentCache {
    /// The segment with this number, opened by `open` if it is not there.
    pub(super) fn get(
        &self,
        segment_id: u64,
        open: impl FnOnce() -> Result<Segment>,
    ) -> Result<Arc<Segment>> {
        let lock = || self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = lock();
        entries.uses += 1;
        let now = entries.uses;
        if let Some((segment, used)) = entries.segments.get_mut(&segment_id) {
            *used = now;
            return Ok(segment.clone());
        }
        // Opening reads the file: others need not wait for it.
        drop(entries);
        let segment = Arc::new(open()?);
        let mut entries = lock();
        if entries.segments.len() >= SEGMENTS_MAX {
            // Drop the older half at once, so that this is rare.
            let mut uses: Vec<u64> = entries.segments.values().map(|(_, used)| *used).collect();
            let (_, &mut middle, _) = uses.select_nth_unstable(SEGMENTS_MAX / 2);
            entries.segments.retain(|_, (_, used)| *used > middle);
        }
        entries.segments.insert(segment_id, (segment.clone(), now));
        Ok(segment)
    }

    /// Lets go of a segment, so that the disk has the room of its file again.
    pub(super) fn forget(&self, segment_id: u64) {
        let mut entries = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        entries.segments.remove(&segment_id);
    }
}
