//! Steps of a live writer, and of a process that follows it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tickreel::compact::{self, Selection};
use tickreel::event::{
    Action, Batch, BatchBuilder, Kind, MessageHead, Side, StreamKey, TradeRow, TradeSide, book,
};
use tickreel::quantity::Day;
use tickreel::segment::WriterOptions;
use tickreel::store::{Expired, LiveOptions, Snapshot, Store};
use tickreel::{Decimal, Error, ErrorKind, TsNs};

use crate::model::{Allowed, Contents, ROOT, Row, read, rows, scan_batch};
use crate::oracle::{Fold, Random};
use crate::program::{SLOTS_END, SLOTS_START, STEP_NS, stream_key};
use crate::world::{Violation, World};

/// Receive time from which on rows are appended live, in ns: after all that is imported.
pub const LIVE_START: i64 = SLOTS_END;

/// So small that a few rows fill a journal file, a few more a segment and all memory.
pub fn live_options() -> LiveOptions {
    LiveOptions {
        segments: WriterOptions { block_rows: 32, checkpoint_rows: Some(16) },
        journal_bytes: 2048,
        seal_bytes: 600,
        memory_max: 1000,
        nonce: 7,
        ..LiveOptions::default()
    }
}

/// Messages from `start_ns` on, by seed; those of a book begin with a snapshot if they are the
/// `first`, and are snapshots, deltas or gaps.
pub fn live_batch(
    key: &StreamKey,
    start_ns: i64,
    messages: usize,
    seed: u64,
    first: bool,
) -> Batch {
    let mut random = Random((seed << 8) | 5);
    let mut builder = BatchBuilder::new(key.kind);
    for message in 0..messages {
        let ts_recv = TsNs(start_ns + STEP_NS * i64::try_from(message).unwrap());
        let mut price = || Decimal::new(1000 + random.int(100), 1).unwrap();
        if key.kind == Kind::Trades {
            let (price, qty) = (price(), Decimal::from_int(1 + random.int(9)).unwrap());
            let (side, trade_id) = (TradeSide::Sell, &format!("{seed}-{message}"));
            builder.trade(&TradeRow { ts_recv, ts_event: None, side, price, qty, trade_id });
            continue;
        }
        let snapshot = first && message == 0 || seed % 5 == 4;
        let head = MessageHead { ts_recv, ts_event: None, venue_seq: None, snapshot };
        builder.begin(head);
        for side in [Side::Bid, Side::Ask] {
            builder.level(side, price(), Decimal::from_int(1 + (seed % 3) as i64).unwrap());
        }
        if seed % 7 == 6 {
            builder.gap(seed % 2);
        }
        builder.end();
    }
    builder.finish().unwrap().pop().unwrap()
}

/// Rows of an append that are not known to be durable yet.
#[derive(Clone)]
pub struct Unacknowledged {
    /// The sequence that the append was given.
    seq: u64,
    key: StreamKey,
    /// Rows of the stream before it.
    before: usize,
}

type Outcome = std::result::Result<(), Violation>;

impl World {
    pub fn append(&mut self, stream: usize, messages: usize, seed: u64, after_ns: i64) -> Outcome {
        self.open_writer()?;
        let key = stream_key(stream);
        let stored = self.model.get(&key).cloned().unwrap_or_default();
        let last = stored.last().map_or(i64::MIN, |row| row[0]);
        let first = last < LIVE_START;
        let start = last.max(LIVE_START).saturating_add(after_ns);
        let batch = live_batch(&key, start, messages, seed, first);

        let mut after = (*self.model).clone();
        Arc::make_mut(after.entry(key.clone()).or_default()).extend(rows(&batch));
        let model = std::mem::replace(&mut self.model, Arc::new(after));
        let before = stored.len();
        self.unacknowledged.push(Unacknowledged { seq: u64::MAX, key: key.clone(), before });
        self.mark_live();
        let appended = self.writer.as_mut().unwrap().append(&key, &batch);
        match &appended {
            Ok(seq) => self.unacknowledged.last_mut().unwrap().seq = *seq,
            Err(_) => {
                self.model = model;
                self.unacknowledged.pop();
            }
        }
        self.acknowledge();
        self.settled(appended).map(drop)
    }

    pub fn late(&mut self, stream: usize) -> Outcome {
        self.open_writer()?;
        let key = stream_key(stream);
        let last = self.model.get(&key).and_then(|rows| rows.last()).map(|row| row[0]);
        let Some(last) = last else { return Ok(()) };
        let batch = live_batch(&key, last - 1, 1, 0, true);
        match self.writer.as_mut().unwrap().append(&key, &batch) {
            Err(error) if error.kind() == ErrorKind::Invalid => {
                let text = error.to_string();
                let named = [last, last - 1].map(|ts| text.contains(&TsNs(ts).to_string()));
                match named {
                    [true, true] => Ok(()),
                    _ => Err(Violation::Found(format!("does not name both times: {text}"))),
                }
            }
            other => Err(Violation::Found(format!("a late row: {other:?}"))),
        }
    }

    pub fn commit(&mut self) -> Outcome {
        self.open_writer()?;
        let committed = self.writer.as_mut().unwrap().commit();
        self.acknowledge();
        self.settled(committed)?;
        match self.unacknowledged.is_empty() {
            true => Ok(()),
            false => Err(Violation::Found("a commit leaves rows behind".to_owned())),
        }
    }

    pub fn seal(&mut self) -> Outcome {
        self.open_writer()?;
        let sealed = self.writer.as_mut().unwrap().seal_all();
        if sealed.is_ok() {
            self.unacknowledged.clear();
        }
        self.acknowledge();
        self.settled(sealed)
    }

    pub fn maintain(&mut self) -> Outcome {
        self.open_writer()?;
        let maintained = self.writer.as_mut().unwrap().maintain();
        self.acknowledge();
        self.settled(maintained)
    }

    pub fn drop_before(&mut self, kind: Kind, day: i32) -> Outcome {
        self.open_writer()?;
        let day = Day(TsNs(SLOTS_START).day().0 + day);
        let before = (self.model.clone(), self.unacknowledged.clone(), self.live_allowed());
        let expected = self.forget_before(kind, day)?;
        self.mark(vec![before.2.clone(), self.live_allowed()]);
        let dropped = self.writer.as_mut().unwrap().drop_expired(&Expired::of_all(kind, day));
        match &dropped {
            Ok(dropped) if dropped.rows == expected || self.damaged => self.acknowledge(),
            Ok(dropped) => {
                let what = format!("dropped {} rows, not {expected}", dropped.rows);
                return Err(Violation::Found(what));
            }
            Err(_) => {
                (self.model, self.unacknowledged) = (before.0, before.1);
                if self.writer.as_ref().unwrap().check().is_ok() {
                    self.mark(vec![before.2]);
                }
            }
        }
        self.settled(dropped).map(drop)
    }

    /// Compacts what is sealed. Nothing that a reader sees is another by it, whatever happens.
    pub fn compact(&mut self, again: bool) -> Outcome {
        self.open_writer()?;
        let snapshot = self.store()?.snapshot()?;
        let tasks = compact::plan(&snapshot, &Selection { again, ..Selection::default() });
        drop(snapshot);
        for task in tasks {
            let writer = self.writer.as_mut().unwrap();
            // Of other lengths than the segments that are read.
            let options = WriterOptions { block_rows: 48, checkpoint_rows: Some(24) };
            let rewritten = writer.rewrite(&task.segments, options, &mut |_| Ok(()));
            self.acknowledge();
            let rewritten = self.settled(rewritten)?;
            if rewritten.rows != task.rows() || rewritten.segments_after > task.segments.len() {
                return Err(Violation::Found(format!("{task:?} became {rewritten:?}")));
            }
        }
        Ok(())
    }

    /// Forgets the rows that are dropped with the days before `day`; how many. Of the store only
    /// the number of rows is asked that are not sealed.
    fn forget_before(&mut self, kind: Kind, day: Day) -> tickreel::Result<u64> {
        let mut after = (*self.model).clone();
        let mut forgotten = 0;
        for info in self.store()?.snapshot()?.stream_infos() {
            let Some(rows) = after.get_mut(&info.key).filter(|_| info.key.kind == kind) else {
                continue;
            };
            let sealed = rows.len().saturating_sub(usize::try_from(info.live_rows).unwrap());
            let day_of = |row: &Row| TsNs(row[0]).day();
            let mut end = rows.get(sealed).map_or(day, |row| day.min(day_of(row)));
            if let (Kind::Book, Some(newest)) = (kind, rows[..sealed].last()) {
                end = end.min(day_of(newest));
            }
            let count = rows.partition_point(|row| day_of(row) < end);
            Arc::make_mut(rows).drain(..count);
            forgotten += count as u64;
            // What was dropped was sealed, and thereby durable.
            self.unacknowledged.retain(|rows| rows.key != info.key || rows.before >= count);
            let of_stream = self.unacknowledged.iter_mut().filter(|rows| rows.key == info.key);
            of_stream.for_each(|rows| rows.before -= count);
        }
        after.retain(|_, rows| !rows.is_empty());
        self.model = Arc::new(after);
        Ok(forgotten)
    }

    /// Lets go of writer and store. What was not committed may be there or not, from now on.
    pub fn close(&mut self) {
        self.writer = None;
        self.store = None;
    }

    /// Opens the store for writing, which decides what is left of rows that were not committed.
    pub fn open_writer(&mut self) -> Outcome {
        if self.writer.is_some() {
            return Ok(());
        }
        let store = self.store()?;
        let writer = store.writer(live_options())?;
        let found = Arc::new(read(&store.snapshot()?)?);
        self.writer = Some(writer);
        if !self.damaged && found != self.model && !self.allows(&found) {
            return Err(Violation::Found("the writer finds other rows".to_owned()));
        }
        self.model = found;
        self.unacknowledged.clear();
        self.acknowledge();
        Ok(())
    }

    /// Commits and lets go of the writer, so that an import can begin.
    pub fn end_writer(&mut self) -> Outcome {
        if self.writer.is_some() {
            self.commit()?;
            self.writer = None;
        }
        Ok(())
    }

    /// Takes note of how far the writer says that rows are durable.
    fn acknowledge(&mut self) {
        let watermark = self.writer.as_ref().map_or(0, tickreel::store::Writer::watermark);
        self.unacknowledged.retain(|rows| rows.seq > watermark);
        self.mark_live();
    }

    fn mark_live(&mut self) {
        self.mark(vec![self.live_allowed()]);
    }

    /// What the store may hold of what was appended.
    fn live_allowed(&self) -> Allowed {
        let mut shorter: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for Unacknowledged { key, before, .. } in &self.unacknowledged {
            shorter.entry(key.clone()).or_default().insert(*before);
        }
        Allowed { contents: self.model.clone(), shorter }
    }

    /// What a writer did or refused. After a failed write it refuses everything; if it goes on,
    /// then because the disk is full or could not be read, and nothing was done.
    fn settled<T>(&mut self, result: tickreel::Result<T>) -> std::result::Result<T, Violation> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(writer) = &mut self.writer else { return Err(error.into()) };
        if writer.check().is_ok() {
            let full = error.kind() == ErrorKind::Full;
            let harmless =
                full || self.damaged || self.disk.struck_changes() == self.struck_changes;
            return Err(match harmless {
                true => error.into(),
                false => Violation::Found(format!("the writer goes on after a failure: {error}")),
            });
        }
        let refused = |result: tickreel::Result<u64>| {
            result.is_err_and(|error| error.kind() == ErrorKind::Poisoned)
        };
        let key = stream_key(2);
        let batch = live_batch(&key, i64::MAX / 2, 1, 0, true);
        if !refused(writer.commit()) || !refused(writer.append(&key, &batch)) {
            return Err(Violation::Found("a poisoned writer works".to_owned()));
        }
        self.close();
        Err(error.into())
    }

    /// Rows of a stream that are acknowledged.
    fn acknowledged(&self, key: &StreamKey) -> usize {
        let pending = self.unacknowledged.iter().filter(|rows| rows.key == *key);
        let all = self.model.get(key).map_or(0, |rows| rows.len());
        pending.map(|rows| rows.before).min().unwrap_or(all)
    }

    /// What a snapshot that another process took must hold: what is acknowledged while a writer
    /// is at work, and more only if it is sealed.
    pub fn shown(&self, snapshot: &Snapshot) -> std::result::Result<Contents, Violation> {
        let infos = snapshot.stream_infos();
        let mut shown = Contents::new();
        for (key, rows) in &*self.model {
            let info = infos.iter().find(|info| info.key == *key);
            let count = info.map_or(0, |info| usize::try_from(info.rows).unwrap());
            let live = info.is_some_and(|info| info.live_rows > 0);
            let acknowledged = self.acknowledged(key);
            let fewer = count < acknowledged && !self.excused();
            let wrong = self.writer.is_some() && (fewer || live && count > acknowledged);
            if !self.damaged && (count > rows.len() || wrong) {
                return Err(Violation::Found(format!(
                    "{key}: readers see {count} rows of {}, {acknowledged} acknowledged",
                    rows.len()
                )));
            }
            let count = count.min(rows.len());
            if count > 0 {
                shown.insert(key.clone(), Arc::new(rows[..count].to_vec()));
            }
        }
        Ok(shown)
    }

    pub fn follow(&mut self) -> Outcome {
        self.store()?;
        let follower = match &self.follower {
            Some(follower) => follower.clone(),
            None => Store::open_on(Arc::new(self.disk.clone()), Path::new(ROOT))?,
        };
        self.follower = Some(follower.clone());
        let snapshot = follower.snapshot()?;
        let shown = self.shown(&snapshot)?;
        match self.damaged || read(&snapshot)? == shown {
            true => Ok(()),
            false => Err(Violation::Found("a process that follows sees other rows".to_owned())),
        }
    }

    /// Asks the store at random times; all answers must agree with a scan of everything.
    pub fn seek(&mut self, seed: u64) -> Outcome {
        let snapshot = self.store()?.snapshot()?;
        let mut random = Random((seed << 4) | 3);
        for info in snapshot.stream_infos() {
            let key = &info.key;
            let all = scan_batch(&snapshot, key, TsNs::MIN)?;
            let at = TsNs(info.first.0 + random.int((info.last.0 - info.first.0 + 2) as u64));
            let wrong = |what| Err(Violation::Found(format!("{key}: {what} at {at}")));
            let from = all.ts_recv().partition_point(|&ts| ts < at.0);
            let rest = all.slice_messages(from..all.messages());
            if rows(&scan_batch(&snapshot, key, at)?) != rows(&rest) {
                return wrong("other rows");
            }
            let mut replay = snapshot.replay(std::slice::from_ref(key), at..TsNs::MAX)?;
            let mut replayed = 0;
            while let Some(step) = replay.step(3)? {
                replayed += step.rows().len();
                let (stream, messages) = (step.stream, step.messages());
                replay.accept(stream, messages, false)?;
            }
            if replayed != rest.rows() {
                return wrong("other messages");
            }
            // What the rows before a drop made of a book is known to it alone.
            let resets = all.u8s(book::ACTION).iter().position(|&a| a == Action::Reset as u8);
            let begins = resets.map_or(i64::MAX, |row| all.ts_recv()[all.message_of(row)]);
            if key.kind == Kind::Book
                && at.0 >= begins
                && Fold::of(&snapshot.book_at(&key.instrument, at)?) != Fold::at(&all, at.0)
            {
                return wrong("another book");
            }
        }
        Ok(())
    }
}

/// The kinds of error that a person can act on.
pub fn is_clear(error: &Error) -> bool {
    let text = error.to_string();
    let kinds = ["io", "full", "poisoned", "corrupt"];
    !text.is_empty() && !text.contains('\n') && kinds.contains(&error.kind().name())
}
