//! The live tail, from the journal: for the writer that opens a store, and for readers that follow
//! one in another process.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::tail::Tail;
use crate::book::Tracker;
use crate::catalog::Manifest;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Batch;
use crate::format::journal::{Frame, FrameKind, decode_rows};
use crate::format::manifest::{StreamEntry, decode_stream};
use crate::journal::JournalReader;
use crate::limit;

/// Gives the book after the last sealed row of a stream.
pub(super) type Opening<'a> = &'a dyn Fn(u32) -> Result<Tracker>;

/// What the journal says so far.
#[derive(Clone)]
pub(super) struct Refill {
    pub(super) streams: HashMap<u32, Known>,
    pub(super) tail: Arc<Tail>,
}

/// A stream that the manifest or the journal names.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) entry: StreamEntry,
    /// Number of the next row.
    pub(super) next_row: u64,
    /// Number of the row after the last that any frame holds, if rows before it were not seen yet.
    seen_row: u64,
    /// Number of the journal file that holds its first row that is in no segment.
    pub(super) first_journal: u64,
    /// Whether a manifest names it.
    pub(super) named: bool,
}

/// A frame's rows or stream, taken out of its buffer.
enum Item {
    Stream(StreamEntry),
    Rows { stream_id: u32, first_row: u64, batch: Batch },
    Nothing,
}

impl Refill {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let mut refill = Self { streams: HashMap::new(), tail: Arc::default() };
        let streams = &manifest.contents().streams;
        refill.streams.extend(streams.iter().map(|entry| (entry.id, Known::named(entry))));
        refill
    }

    /// Goes on from a newer manifest: what it has in segments is no longer in the tail.
    fn rebase(&mut self, manifest: &Manifest) -> Result<()> {
        for entry in &manifest.contents().streams {
            let rows = entry.journal_rows;
            match self.streams.get_mut(&entry.id) {
                Some(known) => {
                    known.named = true;
                    known.next_row = known.next_row.max(rows);
                }
                None => drop(self.streams.insert(entry.id, Known::named(entry))),
            }
            Arc::make_mut(&mut self.tail).forget_before(entry.id, rows)?;
        }
        Ok(())
    }

    /// Reads a frame of journal file `journal`.
    fn read(&self, frame: &Frame<'_>) -> Result<Item> {
        let impossible =
            |what: &str| Error::corrupt(format!("journal frame {}: {what}", frame.head.seq));
        match frame.kind {
            FrameKind::Mark => Ok(Item::Nothing),
            FrameKind::Stream => {
                let (entry, _) = decode_stream(frame.payload)
                    .filter(|(entry, rest)| {
                        entry.id == frame.head.stream_id && rest.iter().all(|&byte| byte == 0)
                    })
                    .ok_or_else(|| impossible("the stream it names cannot be read"))?;
                Ok(Item::Stream(entry))
            }
            FrameKind::Rows => {
                let stream_id = frame.head.stream_id;
                let known = self.streams.get(&stream_id);
                let known = known.ok_or_else(|| impossible("rows of a stream without a name"))?;
                let (first_row, batch) = decode_rows(frame.payload, known.entry.key.kind)
                    .map_err(|fault| impossible(fault.what))?;
                Ok(Item::Rows { stream_id, first_row, batch })
            }
        }
    }

    /// Adds what a frame of journal file `journal` said; rows that are there already are left out.
    fn take(&mut self, item: Item, journal: u64, opening: Opening<'_>) -> Result<()> {
        let (stream_id, first_row, batch) = match item {
            Item::Nothing => return Ok(()),
            Item::Stream(entry) => {
                self.streams.entry(entry.id).or_insert_with(|| Known::new(&entry));
                return Ok(());
            }
            Item::Rows { stream_id, first_row, batch } => (stream_id, first_row, batch),
        };
        let Some(known) = self.streams.get_mut(&stream_id) else { return Ok(()) };
        let end_row = first_row + batch.rows() as u64;
        if end_row <= known.next_row {
            return Ok(());
        }
        if first_row > known.next_row {
            // Rows that were carried into a later file, with those before them.
            known.seen_row = known.seen_row.max(end_row);
            return Ok(());
        }
        let known_rows = (known.next_row - first_row) as usize;
        let rest = (known_rows > 0)
            .then(|| batch.slice_messages(batch.message_of(known_rows)..batch.messages()));
        let batch = rest.as_ref().unwrap_or(&batch);
        let tail = Arc::make_mut(&mut self.tail);
        if tail.stream(stream_id).is_none() {
            known.first_journal = journal;
        }
        tail.append(&known.entry, known.next_row, batch, limit::CHECKPOINT_ROWS, || {
            opening(stream_id)
        })?;
        known.next_row = end_row;
        Ok(())
    }

    /// Adds all whole frames; how many.
    pub(super) fn read_all(
        &mut self,
        reader: &mut JournalReader,
        opening: Opening<'_>,
    ) -> Result<u64> {
        let mut frames = 0;
        while let Some(frame) = reader.next_frame()? {
            let item = self.read(&frame)?;
            let journal = reader.number().unwrap_or(0);
            self.take(item, journal, opening)?;
            frames += 1;
        }
        let lacks = |known: &&Known| known.seen_row > known.next_row;
        match self.streams.values().find(lacks) {
            None => Ok(frames),
            Some(known) => Err(Error::corrupt(format!(
                "{}: the journal lacks rows from number {} on, of {}",
                known.entry.key, known.next_row, known.seen_row
            ))),
        }
    }
}

impl Known {
    pub(super) fn new(entry: &StreamEntry) -> Self {
        let next_row = entry.journal_rows;
        let (seen_row, first_journal) = (0, u64::MAX);
        Self { entry: entry.clone(), next_row, seen_row, first_journal, named: false }
    }

    pub(super) fn named(entry: &StreamEntry) -> Self {
        Self { named: true, ..Self::new(entry) }
    }
}

/// Follows the journal of a writer in another process, up to what is durable.
pub(super) struct Follower {
    generation: u64,
    reader: JournalReader,
    refill: Refill,
    /// Frames that are not known to be durable yet: sequence, file, what they hold.
    waiting: VecDeque<(u64, u64, Item)>,
}

impl Follower {
    /// Follows from `manifest` on, by `reader` of the files that count for it.
    pub(super) fn new(manifest: &Manifest, reader: JournalReader) -> Self {
        Self {
            generation: manifest.contents().generation,
            reader,
            refill: Refill::new(manifest),
            waiting: VecDeque::new(),
        }
    }

    /// The rows that are durable and not in the segments of `manifest`.
    ///
    /// What damaged bytes held, and all rows after them, are left out; `verify` reports them.
    pub(super) fn tail(
        &mut self,
        manifest: &Manifest,
        reader: impl FnOnce() -> JournalReader,
        opening: Opening<'_>,
    ) -> Result<Arc<Tail>> {
        let contents = manifest.contents();
        if contents.generation != self.generation {
            self.generation = contents.generation;
            self.refill.rebase(manifest)?;
            if self.reader.number().is_none_or(|number| number < contents.first_journal) {
                self.reader = reader();
                self.waiting.clear();
            }
        }
        match self.read_durable(opening) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            other => other?,
        }
        Ok(self.refill.tail.clone())
    }

    fn read_durable(&mut self, opening: Opening<'_>) -> Result<()> {
        loop {
            let read = match self.reader.next_frame()? {
                Some(frame) => {
                    let item = self.refill.read(&frame)?;
                    // A stream must be known before its rows can be read.
                    if let Item::Stream(entry) = &item {
                        let known = || Known::new(entry);
                        self.refill.streams.entry(entry.id).or_insert_with(known);
                    }
                    Some((frame.head.seq, item))
                }
                None => None,
            };
            let journal = self.reader.number().unwrap_or(0);
            let at_end = read.is_none();
            self.waiting.extend(read.map(|(seq, item)| (seq, journal, item)));
            let durable = self.reader.watermark();
            while self.waiting.front().is_some_and(|(seq, ..)| *seq <= durable) {
                let Some((_, journal, item)) = self.waiting.pop_front() else { break };
                self.refill.take(item, journal, opening)?;
            }
            if at_end {
                return Ok(());
            }
        }
    }
}
