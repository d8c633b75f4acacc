//! The live tail, from the journal: for the writer that opens a store, and for readers that follow
//! one in another process.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::tail::Tail;
use crate::book::Tracker;
use crate::catalog::Manifest;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Kind};
use crate::format::journal::{Frame, FrameKind, decode_rows};
use crate::format::manifest::{StreamEntry, decode_stream};
use crate::journal::JournalReader;
use crate::limit;

/// Where a stream's name says its kind, table 6.2.
const STREAM_KIND: usize = 4;

/// Gives the book after the last sealed row of a stream.
pub(super) type Opening<'a> = &'a dyn Fn(u32) -> Result<Tracker>;

/// What the journal says so far.
#[derive(Clone)]
pub(super) struct Refill {
    pub(super) streams: HashMap<u32, Known>,
    pub(super) tail: Arc<Tail>,
    /// Frames that are not known to be durable: sequence, stream, what they are, payload.
    pub(super) unsure: VecDeque<(u64, u32, FrameKind, Vec<u8>)>,
}

/// A stream that the manifest or the journal names.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) entry: StreamEntry,
    /// Number of the next row.
    pub(super) next_row: u64,
    /// Number of the row after the last that any frame holds, if rows before it were not seen yet.
    seen_row: u64,
    /// Receive time of the last row that is in a segment, ns.
    sealed_last: i64,
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
        let mut refill =
            Self { streams: HashMap::new(), tail: Arc::default(), unsure: VecDeque::new() };
        let streams = &manifest.contents().streams;
        refill.streams.extend(streams.iter().map(|entry| (entry.id, Known::named(entry))));
        refill.take_sealed_times(manifest);
        refill
    }

    fn take_sealed_times(&mut self, manifest: &Manifest) {
        for (id, known) in &mut self.streams {
            let last = manifest.stream_segments(*id).last();
            known.sealed_last = last.map_or(i64::MIN, |entry| entry.ts_recv_last);
        }
    }

    /// Reads the books anew that could not be read.
    ///
    /// # Errors
    /// What `opening` says of one that cannot be read now either.
    pub(super) fn open(&mut self, opening: Opening<'_>) -> Result<()> {
        Arc::make_mut(&mut self.tail).open(opening)
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
        self.take_sealed_times(manifest);
        Ok(())
    }

    /// Takes note of a stream; another one with its number was never durable.
    fn know(&mut self, entry: &StreamEntry) {
        let known = self.streams.entry(entry.id).or_insert_with(|| Known::new(entry));
        if known.entry.key != entry.key {
            *known = Known::new(entry);
        }
    }

    /// Reads what a frame holds.
    fn read(&self, frame: &Frame<'_>) -> Result<Item> {
        let impossible =
            |what: &str| Error::corrupt(format!("journal frame {}: {what}", frame.head.seq));
        match frame.kind {
            FrameKind::Mark => Ok(Item::Nothing),
            FrameKind::Stream => {
                let kind = frame.payload.get(STREAM_KIND);
                if kind.is_some_and(|&kind| Kind::from_code(kind).is_none()) {
                    let text = "stream of an unknown kind, newer than this reader";
                    return Err(Error::new(ErrorKind::Unsupported, text));
                }
                let (entry, _) = decode_stream(frame.payload)
                    .filter(|(entry, rest)| {
                        entry.id == frame.head.stream_id
                            && (entry.id as usize) < limit::STREAMS_MAX
                            && entry.journal_rows == 0
                            && rest.iter().all(|&byte| byte == 0)
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
    /// Those of a book whose last segment cannot be read wait for it.
    fn take(&mut self, item: &Item, journal: u64, opening: Opening<'_>) -> Result<()> {
        let (stream_id, first_row, batch) = match item {
            Item::Nothing => return Ok(()),
            Item::Stream(entry) => {
                self.know(entry);
                return Ok(());
            }
            Item::Rows { stream_id, first_row, batch } => (*stream_id, *first_row, batch),
        };
        let Some(known) = self.streams.get_mut(&stream_id) else { return Ok(()) };
        let end_row = first_row.saturating_add(batch.rows() as u64);
        if end_row <= known.next_row {
            return Ok(());
        }
        if first_row > known.next_row {
            // Rows that were carried into a later file, with those before them.
            known.seen_row = known.seen_row.max(end_row);
            return Ok(());
        }
        let known_rows = (known.next_row - first_row) as usize;
        let first = batch.message_of(known_rows);
        if batch.message_rows(first).start != known_rows {
            let text = format!("{}: rows that are stored end inside a message", known.entry.key);
            return Err(Error::corrupt(text));
        }
        let rest = (first > 0).then(|| batch.slice_messages(first..batch.messages()));
        let batch = rest.as_ref().unwrap_or(batch);
        let last = self.tail.stream(stream_id).map_or(known.sealed_last, |tail| tail.times().1);
        if batch.ts_recv().first().is_some_and(|&first| first < last) {
            let text = format!("{}: rows of the journal go back in receive time", known.entry.key);
            return Err(Error::corrupt(text));
        }
        let tail = Arc::make_mut(&mut self.tail);
        if tail.stream(stream_id).is_none() {
            known.first_journal = journal;
        }
        let (entry, row) = (&known.entry, known.next_row);
        let begins = entry.key.kind == Kind::Book && tail.stream(stream_id).is_none();
        let book = if begins { opening(stream_id) } else { Ok(Tracker::new()) };
        match book {
            Ok(book) => tail.append(entry, row, batch, limit::CHECKPOINT_ROWS, || Ok(book))?,
            // Nothing but this stream needs the segment. Who asks for the rows reads it again.
            Err(_) => tail.append_unopened(entry, row, batch)?,
        }
        known.next_row = end_row;
        Ok(())
    }

    /// Adds all whole frames; how many. [`Refill::open`] says whether all rows can be shown.
    pub(super) fn read_all(
        &mut self,
        reader: &mut JournalReader,
        opening: Opening<'_>,
    ) -> Result<u64> {
        let mut frames = 0;
        while let Some(frame) = reader.next_frame()? {
            let read = self.read(&frame);
            let unsure = (frame.head.seq, frame.head.stream_id, frame.kind, frame.payload.to_vec());
            if frame.kind != FrameKind::Mark {
                self.unsure.push_back(unsure);
            }
            let journal = reader.number().unwrap_or(0);
            read.and_then(|item| self.take(&item, journal, opening))
                .map_err(|error| reader.located(error))?;
            frames += 1;
            self.unsure.retain(|(seq, ..)| *seq > reader.watermark());
        }
        self.unsure.retain(|(seq, ..)| *seq > reader.watermark());
        let lacks = |known: &&Known| known.seen_row > known.next_row;
        match self.streams.values().find(lacks) {
            None => Ok(frames),
            Some(known) => Err(reader.located(Error::corrupt(format!(
                "{}: the journal lacks rows from number {} on, of {}",
                known.entry.key, known.next_row, known.seen_row
            )))),
        }
    }
}

impl Known {
    pub(super) fn new(entry: &StreamEntry) -> Self {
        let next_row = entry.journal_rows;
        let (seen_row, sealed_last, first_journal) = (0, i64::MIN, u64::MAX);
        let (entry, named) = (entry.clone(), false);
        Self { entry, next_row, seen_row, sealed_last, first_journal, named }
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
    /// Whether damage was met: nothing after it is shown, whoever asks how often.
    stopped: bool,
}

impl Follower {
    /// Follows from `manifest` on, by `reader` of the files that count for it.
    pub(super) fn new(manifest: &Manifest, reader: JournalReader) -> Self {
        Self {
            generation: manifest.contents().generation,
            reader,
            refill: Refill::new(manifest),
            waiting: VecDeque::new(),
            stopped: false,
        }
    }

    /// Reads again from the first file on; rows that are there already are left out.
    fn restart(&mut self, reader: JournalReader) {
        self.reader = reader;
        self.waiting.clear();
        self.stopped = false;
    }

    /// The rows that are durable and not in the segments of `manifest`.
    ///
    /// What damaged bytes of the journal held, and all rows after them, are left out; `verify`
    /// reports them. Rows that go on with a damaged segment are an error for those who ask for
    /// them.
    pub(super) fn tail(
        &mut self,
        manifest: &Manifest,
        reader: impl Fn() -> JournalReader,
        opening: Opening<'_>,
    ) -> Result<Arc<Tail>> {
        let contents = manifest.contents();
        if contents.generation != self.generation {
            self.generation = contents.generation;
            let gone = self.reader.number().is_none_or(|number| number < contents.first_journal);
            if gone {
                // Of what was read, only what segments have counts: perhaps it was moved aside as
                // damaged, and its numbers of rows were given again.
                self.refill = Refill::new(manifest);
            } else {
                self.refill.rebase(manifest)?;
            }
            // Perhaps the book is in another segment now. Who asks for the rows hears if not.
            drop(self.refill.open(opening));
            if gone || self.stopped {
                self.restart(reader());
            }
        }
        if !self.stopped {
            match self.read_durable(opening) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => self.stopped = true,
                Err(error) => {
                    self.restart(reader());
                    return Err(error);
                }
            }
        }
        Ok(self.refill.tail.clone())
    }

    fn read_durable(&mut self, opening: Opening<'_>) -> Result<()> {
        loop {
            let read = match self.reader.next_frame()? {
                Some(frame) => {
                    let item = self.refill.read(&frame);
                    let seq = frame.head.seq;
                    let item = item.map_err(|error| self.reader.located(error))?;
                    // A stream must be known before its rows can be read.
                    if let Item::Stream(entry) = &item {
                        self.refill.know(entry);
                    }
                    Some((seq, item))
                }
                None => None,
            };
            let journal = self.reader.number().unwrap_or(0);
            let at_end = read.is_none();
            if let Some((seq, _)) = &read {
                // What was not known to be durable may come again, after the writer was restarted.
                self.waiting.retain(|(waiting, ..)| waiting < seq);
            }
            self.waiting.extend(read.map(|(seq, item)| (seq, journal, item)));
            let durable = self.reader.watermark();
            while let Some((seq, journal, item)) = self.waiting.front() {
                if *seq > durable {
                    break;
                }
                self.refill.take(item, *journal, opening)?;
                self.waiting.pop_front();
            }
            if at_end {
                return Ok(());
            }
        }
    }
}
