//! Reads everything in a segment and checks it against everything else.

use super::reader::{ColumnMask, Segment};
use super::summary::{block_flags, starts_with_reset, zones};
use crate::book::Tracker;
use crate::error::{Error, Result};
use crate::event::{Batch, ContentHash, Kind, Side, broken_rule};
use crate::format::checkpoint::CheckpointBook;
use crate::format::segment::{FLAG_STARTS_WITH_RESET, Footer};
use crate::format::{Fault, aligned};
use crate::quantity::{NULL, TsNs, min_max};

impl Segment {
    /// Checks every page, rebuilds every checkpoint from the rows before it, and the content hash
    /// from all rows. `opening` is the book before the first row where it is known.
    ///
    /// The book after the last row, for the segment that follows.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset of the first thing that is wrong.
    pub fn verify(&self, opening: Option<&Tracker>) -> Result<Option<Tracker>> {
        let place = |fault: Fault| Error::from(fault).at_path(self.path());
        self.check_contiguous().map_err(place)?;
        self.check_footer().map_err(place)?;
        let mut hash = ContentHash::EMPTY;
        let mut batch = Batch::new(self.kind());
        let mut tracker = None;
        if self.kind() == Kind::Book {
            let (entry, book) = self.checkpoint(0)?;
            let mut restored = Tracker::new();
            restored.restore(&book.checkpoint(entry.ts_recv, entry.ts_event, entry.venue_seq))?;
            if let Some(opening) = opening {
                self.compare(0, opening, &book)?;
            }
            tracker = Some(restored);
        }
        for number in 0..self.blocks().len() {
            batch = self.read(number, 0..u64::MAX, ColumnMask::ALL, batch)?;
            hash.update_all(&batch);
            self.verify_block(number, &batch)?;
            if number == 0 {
                self.check_start(&batch).map_err(place)?;
            }
            if let Some(tracker) = &mut tracker {
                self.verify_checkpoints(number, &batch, tracker)?;
            }
        }
        if hash.value() != self.footer().content_hash {
            let found = hash.value();
            let fault = Fault::new(self.footer().file_len - 128, "content hash of all rows");
            let fault = fault.expected(self.footer().content_hash, found);
            return Err(Error::from(fault).at_path(self.path()));
        }
        Ok(tracker)
    }

    /// Blocks and checkpoints fill the file from the header to the schema.
    fn check_contiguous(&self) -> Result<(), Fault> {
        let blocks = self.blocks().iter().map(|block| (block.offset, u64::from(block.len)));
        let checkpoints = self.checkpoints().iter().map(|c| (c.offset, aligned(c.len.into())));
        let mut regions: Vec<_> = blocks.chain(checkpoints).collect();
        regions.sort_unstable();
        let mut next = 64;
        for (offset, len) in regions {
            if offset != next {
                return Err(Fault::new(next, "bytes that belong to nothing").expected(next, offset));
            }
            next = offset + len;
        }
        if next != self.footer().schema_offset {
            return Err(Fault::new(next, "bytes that belong to nothing")
                .expected(next, self.footer().schema_offset));
        }
        Ok(())
    }

    /// The footer sums up the indexes.
    fn check_footer(&self) -> Result<(), Fault> {
        let (footer, blocks) = (self.footer(), self.blocks());
        let at = footer.file_len - size_of::<Footer>() as u64;
        let times =
            blocks.first().zip(blocks.last()).map(|(a, b)| (a.ts_recv_first, b.ts_recv_last));
        if times != Some((footer.ts_recv_first, footer.ts_recv_last)) {
            return Err(Fault::new(at + 32, "receive times differ from the block index"));
        }
        let events = blocks.iter().flat_map(|block| [block.ts_event_min, block.ts_event_max]);
        if min_max(events) != (footer.ts_event_min, footer.ts_event_max) {
            return Err(Fault::new(at + 48, "event times differ from the block index"));
        }
        let flags = blocks.iter().fold(0, |flags, block| flags | block.flags);
        if footer.flags & !FLAG_STARTS_WITH_RESET != flags {
            return Err(Fault::new(at + 152, "flags differ from the block index"));
        }
        let starts = self.checkpoints().iter().map(|entry| entry.row);
        let ends = self.checkpoints().iter().skip(1).map(|entry| entry.row).chain([footer.rows]);
        let replayed = starts.zip(ends).map(|(start, end)| end - start).max().unwrap_or(0);
        if replayed != footer.replay_rows_max {
            return Err(Fault::new(at + 120, "rows that a seek replays at most")
                .expected(replayed, footer.replay_rows_max));
        }
        Ok(())
    }

    /// The footer's flag for a reset at the start is right; `batch` is the first block.
    fn check_start(&self, batch: &Batch) -> Result<(), Fault> {
        let footer = self.footer();
        let flag = if starts_with_reset(batch) { FLAG_STARTS_WITH_RESET } else { 0 };
        if footer.flags & FLAG_STARTS_WITH_RESET != flag {
            let at = footer.file_len - size_of::<Footer>() as u64 + 152;
            return Err(Fault::new(at, "flag of a reset at the start differs from the first row"));
        }
        Ok(())
    }

    /// Rows keep the rules of the model; times, zones and flags of the block index are theirs.
    fn verify_block(&self, number: usize, batch: &Batch) -> Result<()> {
        let entry = &self.blocks()[number];
        let times = batch.ts_recv();
        let wrong = |what: &'static str| {
            Error::from(Fault::new(entry.offset, what))
                .context(format_args!("block {number}"))
                .at_path(self.path())
        };
        if let Some(broken) = broken_rule(batch) {
            return Err(wrong(broken.rule));
        }
        let borders = (times.first().copied(), times.last().copied());
        if borders != (Some(entry.ts_recv_first), Some(entry.ts_recv_last)) || !times.is_sorted() {
            return Err(wrong("receive times differ from the block index or go back"));
        }
        if [entry.ts_recv_first, entry.ts_recv_last].map(|ts| TsNs(ts).day()) != [self.day(); 2] {
            return Err(wrong("receive times are not of the day of the header"));
        }
        if min_max(batch.i64s(1).iter().copied()) != (entry.ts_event_min, entry.ts_event_max) {
            return Err(wrong("event times differ from the block index"));
        }
        if zones(batch) != entry.zones || block_flags(batch) != entry.flags {
            return Err(wrong("zones or flags differ from the block index"));
        }
        Ok(())
    }

    fn verify_checkpoints(
        &self,
        number: usize,
        batch: &Batch,
        tracker: &mut Tracker,
    ) -> Result<()> {
        let first = self.blocks()[number].first_message;
        let end = first + batch.messages() as u64;
        let mut message = first;
        let start = self.checkpoints().partition_point(|entry| entry.message < first);
        for index in start..self.checkpoints().len() {
            let entry = self.checkpoints()[index];
            if entry.message >= end {
                break;
            }
            tracker.apply(batch, (message - first) as usize..(entry.message - first) as usize)?;
            message = entry.message;
            let (_, book) = self.checkpoint(index)?;
            self.compare(index, tracker, &book)?;
            let row = batch.message_rows((message - first) as usize).start as u64;
            let times = (entry.ts_recv, entry.ts_event, entry.venue_seq);
            let rebuilt = (
                tracker.ts_recv().map_or(NULL, |ts| ts.0),
                tracker.ts_event().map_or(NULL, |ts| ts.0),
                tracker.venue_seq().unwrap_or(NULL),
            );
            if entry.row != self.blocks()[number].first_row + row || times != rebuilt {
                let fault = Fault::new(entry.offset, "row or times differ from the rows before it");
                return Err(Error::from(fault)
                    .context(format_args!("checkpoint {index}"))
                    .at_path(self.path()));
            }
        }
        tracker.apply(batch, (message - first) as usize..batch.messages())
    }

    /// A stored checkpoint says the same as a book rebuilt from rows.
    fn compare(&self, index: usize, rebuilt: &Tracker, stored: &CheckpointBook) -> Result<()> {
        let mut restored = Tracker::new();
        restored.restore(&stored.checkpoint(NULL, NULL, NULL))?;
        let (mut ours, mut theirs) = (rebuilt.book().clone(), restored.book().clone());
        ours.raise_scales(theirs.price_scale(), theirs.qty_scale())?;
        theirs.raise_scales(ours.price_scale(), ours.qty_scale())?;
        let same_side = |side| ours.levels(side).eq(theirs.levels(side));
        if rebuilt.state() == stored.state && same_side(Side::Bid) && same_side(Side::Ask) {
            return Ok(());
        }
        let fault = Fault::new(
            self.checkpoints()[index].offset,
            "book differs from the one rebuilt from the rows before it",
        );
        Err(Error::from(fault).context(format_args!("checkpoint {index}")).at_path(self.path()))
    }
}
