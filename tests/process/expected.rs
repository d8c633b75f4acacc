//! What a store must hold: of every stream a prefix of its source, and all that was acknowledged.

use std::path::Path;

use tickreel::TsNs;
use tickreel::book::Tracker;
use tickreel::event::{Batch, ContentHash, Kind};
use tickreel::segment::ColumnMask;
use tickreel::store::{Snapshot, Store};

use crate::job;
use crate::oracle::{Fold, Random};
use crate::source::{STREAMS, Source};
use crate::writer::Counts;

/// What is wrong, for a person.
pub type Checked<T> = Result<T, String>;

/// All streams as they must be.
pub struct Expected(Vec<Rows>);

struct Rows {
    source: Source,
    /// Each lap, and the hash of all rows before it.
    laps: Vec<(Batch, ContentHash)>,
}

impl Rows {
    /// A lap, and the hash of all rows before it.
    fn lap(&mut self, lap: usize) -> &(Batch, ContentHash) {
        while self.laps.len() <= lap {
            let before = self.laps.last().map_or(ContentHash::EMPTY, |(rows, before)| {
                let mut hash = *before;
                hash.update_all(rows);
                hash
            });
            self.laps.push((self.source.lap(self.laps.len()), before));
        }
        &self.laps[lap]
    }

    /// Hash of the first messages.
    fn hash(&mut self, messages: usize) -> ContentHash {
        let (lap, rest) =
            (messages / self.source.lap_messages, messages % self.source.lap_messages);
        let (rows, before) = self.lap(lap);
        let mut hash = *before;
        hash.update_all(&rows.slice_messages(0..rest));
        hash
    }

    /// A time at or shortly before a message, and the book then if there are `messages` in all.
    fn book(&mut self, messages: usize, random: &mut Random) -> (TsNs, Fold) {
        let message = usize::try_from(random.below(messages as u64)).unwrap();
        let lap = message / self.source.lap_messages;
        let first = lap * self.source.lap_messages;
        let rows = self.lap(lap).0.slice_messages(0..messages - first);
        // Not before the lap, whose first message is a reset.
        let at = (rows.ts_recv()[message - first] - random.int(2)).max(rows.ts_recv()[0]);
        (TsNs(at), Fold::at(&rows, at))
    }
}

impl Expected {
    pub fn new() -> Self {
        let rows = |source| Rows { source, laps: Vec::new() };
        Self(Source::all().into_iter().map(rows).collect())
    }

    /// Name and kind of each stream.
    pub fn source(&self, stream: usize) -> &Source {
        &self.0[stream].source
    }

    /// Counts of a snapshot that has at least so many messages of every stream, and whose hashes
    /// are those of that many. Reads no rows.
    pub fn check(&mut self, snapshot: &Snapshot, at_least: &[usize]) -> Checked<Counts> {
        let infos = snapshot.stream_infos();
        let mut counts = Counts::new();
        for (rows, &at_least) in self.0.iter_mut().zip(at_least) {
            let key = &rows.source.key;
            let info = infos.iter().find(|info| info.key == *key);
            let found = info.map_or(0, |info| usize::try_from(info.messages).unwrap());
            if found < at_least {
                return Err(format!("{key}: {found} messages of {at_least} that were durable"));
            }
            let hash = info.map_or(ContentHash::EMPTY, |info| info.hash);
            if hash != rows.hash(found) {
                return Err(format!("{}: not the first {found} messages", rows.source.key));
            }
            counts.push(found);
        }
        Ok(counts)
    }

    /// Reads all rows of a stream that must have so many messages.
    pub fn check_rows(&mut self, snapshot: &Snapshot, stream: usize, count: usize) -> Checked<()> {
        let rows = &mut self.0[stream];
        let key = rows.source.key.clone();
        if count == 0 {
            return Ok(());
        }
        let wrong = |error| format!("{key}: {error}");
        let range = TsNs::MIN..TsNs::MAX;
        let scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL);
        let mut scan = scan.map_err(wrong)?;
        let (mut hash, mut found) = (ContentHash::EMPTY, 0);
        while let Some(batch) = scan.next_batch().map_err(wrong)? {
            hash.update_all(batch);
            found += batch.messages();
        }
        if (found, hash) != (count, rows.hash(count)) {
            return Err(format!("{key}: {found} messages read are not the first {count}"));
        }
        Ok(())
    }

    /// Asks for the book of a stream at some time, if there is one.
    pub fn check_book(
        &mut self,
        snapshot: &Snapshot,
        stream: usize,
        count: usize,
        random: &mut Random,
    ) -> Checked<()> {
        let rows = &mut self.0[stream];
        let key = rows.source.key.clone();
        if key.kind != Kind::Book || count == 0 {
            return Ok(());
        }
        let (at, expected) = rows.book(count, random);
        let found: Tracker = snapshot
            .book_at(&key.instrument, at)
            .map_err(|error| format!("{key} at {at}: {error}"))?;
        if Fold::of(&found) != expected {
            return Err(format!("{key} at {at}, {count} messages: another book"));
        }
        Ok(())
    }

    /// The hash of the first messages of a stream.
    pub fn hash(&mut self, stream: usize, messages: usize) -> ContentHash {
        self.0[stream].hash(messages)
    }

    /// Everything that a snapshot says.
    fn check_all(
        &mut self,
        snapshot: &Snapshot,
        at_least: &[usize],
        random: &mut Random,
    ) -> Checked<Counts> {
        let counts = self.check(snapshot, at_least)?;
        for (stream, &count) in counts.iter().enumerate() {
            self.check_rows(snapshot, stream, count)?;
            for _ in 0..3 {
                self.check_book(snapshot, stream, count, random)?;
            }
        }
        Ok(counts)
    }

    /// Counts of a store that nobody writes: whole, and with all that was durable.
    pub fn check_store(
        &mut self,
        root: &Path,
        at_least: &[usize],
        random: &mut Random,
    ) -> Checked<Counts> {
        let wrong = |error| format!("{error}");
        let store = Store::open(root).map_err(wrong)?;
        let counts = self.check_all(&store.snapshot().map_err(wrong)?, at_least, random)?;
        let report = store.verify(|_, _| {}).map_err(wrong)?;
        if let Some(damage) = report.damage.first() {
            return Err(format!("verify: {}", damage.error));
        }
        if let Some(stranger) = report.strangers.first() {
            return Err(format!("verify: a strange file {}", stranger.display()));
        }
        Ok(counts)
    }

    /// As [`Expected::check_store`], after a power cut. Until a writer has opened the store, the
    /// last rows may not be shown: that they are durable was written, but not made durable.
    pub fn check_recovery(
        &mut self,
        root: &Path,
        at_least: &[usize],
        random: &mut Random,
    ) -> Checked<Counts> {
        let before = self.check_store(root, &[0; STREAMS], random)?;
        let store = Store::open(root).map_err(|error| format!("{error}"))?;
        drop(store.writer(job::options()).map_err(|error| format!("{error}"))?);
        let all: Vec<_> = before.iter().zip(at_least).map(|(a, b)| *a.max(b)).collect();
        self.check_store(root, &all, random)
    }
}
