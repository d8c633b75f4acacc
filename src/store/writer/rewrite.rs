//! Segments of a day out, and fewer with the same rows in.

use std::sync::Arc;

use super::Writer;
use super::retention::Dropping;
use crate::catalog::Manifest;
use crate::error::{ErrorKind, Result};
use crate::format::manifest::SegmentEntry;
use crate::segment::WriterOptions;
use crate::store::rewrite::{
    RewriteWatch, Rewriting, Rewritten, Written, holds, no_longer_there, snapshot_of,
};

/// A rewriting that is about to be committed.
pub(in crate::store) struct Replacing {
    rewritten: Rewritten,
    written: Written,
    dropping: Dropping,
}

impl Replacing {
    /// Makes the manifest with the new segments the current one.
    pub(in crate::store) fn write(&self) -> Result<Arc<Manifest>> {
        self.dropping.write()
    }
}

impl Writer {
    /// Writes segments that follow each other in one stream and day anew: as one, or as few as can
    /// be without changing an answer. The new ones take their place in one step, after they were
    /// read back and found to hold the same rows; then the old files are removed, unless some
    /// reader holds them.
    ///
    /// Segments stay apart where the book at the start of one is not that at the end of the one
    /// before, where a book's numbers have other digits, or where values do not fit one scale.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if a segment is damaged, [`ErrorKind::Stale`] if one is no longer
    /// there, [`ErrorKind::Full`] if there is no room, or what `watch` gives: nothing has changed
    /// then. Otherwise the writer is poisoned.
    pub fn rewrite(
        &mut self,
        segments: &[SegmentEntry],
        options: WriterOptions,
        watch: RewriteWatch<'_>,
    ) -> Result<Rewritten> {
        let rewriting = self.begin_rewrite(segments, options)?;
        let written = rewriting.write(watch);
        let replacing = self.finish_rewrite(rewriting, written)?;
        let manifest = replacing.write();
        let rewritten = self.finish_replacing(replacing, manifest)?;
        let held = self.begin_removal().run();
        self.finish_removal(held);
        Ok(rewritten)
    }

    /// Takes segments to be written anew without holding the writer, and numbers for the new ones.
    /// No seal may be under way at this moment.
    pub(in crate::store) fn begin_rewrite(
        &mut self,
        segments: &[SegmentEntry],
        options: WriterOptions,
    ) -> Result<Rewriting> {
        self.check()?;
        let manifest = self.live.view().manifest.clone();
        let snapshot = snapshot_of(&self.store, manifest);
        let rewriting = Rewriting::new(snapshot, segments, options, self.next_segment_id)?;
        self.next_segment_id += segments.len() as u64;
        Ok(rewriting)
    }

    /// Takes note of what was written; the manifest in which it stands for what was read. No other
    /// manifest may be made meanwhile.
    pub(in crate::store) fn finish_rewrite(
        &mut self,
        rewriting: Rewriting,
        written: Result<Written>,
    ) -> Result<Replacing> {
        self.check()?;
        let mut written = match written {
            Err(error) if error.kind() == ErrorKind::Io => return self.poison(Err(error)),
            written => written?,
        };
        let before = self.live.view().manifest.clone();
        let entries = rewriting.entries().to_vec();
        let stream = entries.first().map_or(0, |entry| entry.stream_id);
        if !holds(before.stream_segments(stream), &entries) {
            return Err(no_longer_there());
        }
        let rewritten = rewriting.report(&written.entries);
        // Readers that hold this one keep the files, this writer does not.
        drop(rewriting);
        let dropping = self.dropping(before, entries, &written.entries);
        written.sealing.keep();
        Ok(Replacing { rewritten, written, dropping })
    }

    /// Takes note of what became of it.
    pub(in crate::store) fn finish_replacing(
        &mut self,
        replacing: Replacing,
        manifest: Result<Arc<Manifest>>,
    ) -> Result<Rewritten> {
        let Replacing { rewritten, written, dropping } = replacing;
        let finished = self.finish_drop(dropping, manifest);
        if finished.is_err() && self.check().is_ok() {
            // The store is as it was, and needs the room.
            written.sealing.discard();
        }
        finished.map(|_| rewritten)
    }
}
