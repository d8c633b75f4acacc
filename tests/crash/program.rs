//! Programs that use a store, run beside a model that knows what must come of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::Path;
use std::slice;
use std::sync::Arc;

use tickreel::event::{
    Batch, BatchBuilder, Kind, MessageHead, Side, StreamKey, TradeRow, TradeSide,
};
use tickreel::quantity::DAY_NS;
use tickreel::segment::WriterOptions;
use tickreel::store::{ImportOptions, Snapshot, Store};
use tickreel::{Decimal, Error, ErrorKind, Result, TsNs};

use crate::model::{Contents, ROOT, Row, judge, open, read, rows};
use crate::oracle::{Random, START, key};
use crate::sim::{SimDisk, State};

/// Streams that programs write.
const STREAMS: usize = 3;
/// Parts of a stream's time; each is imported whole or replaced whole.
const SLOTS: i64 = 4;
/// Time of one slot. The first begins two minutes before a day border and reaches over it.
const SLOT_NS: i64 = 30 * 60_000_000_000;
/// Time between two messages; those of a slot fit it.
const STEP_NS: i64 = 60_000_000_000;
/// Messages of a slot.
const MESSAGES: usize = 8;

/// Rows for one slot of one stream, by seed.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub stream: usize,
    pub slot: i64,
    pub seed: u64,
}

impl Slot {
    fn key(self) -> StreamKey {
        match self.stream {
            0 => key("test:BOOK", Kind::Book),
            1 => key("test:BOOK", Kind::Trades),
            _ => key("other:T", Kind::Trades),
        }
    }

    fn times(self) -> Range<i64> {
        let start = START - START % DAY_NS + DAY_NS - 120_000_000_000 + self.slot * SLOT_NS;
        start..start + SLOT_NS
    }

    /// Every seed has the same times, so that a slot replaces itself whole, and other values.
    fn batch(self) -> Batch {
        let key = self.key();
        let mut random = Random((self.seed * 8 + self.stream as u64 + 1) << 20);
        let mut builder = BatchBuilder::new(key.kind);
        for (message, ts) in self.times().step_by(STEP_NS as usize).take(MESSAGES).enumerate() {
            let ts_recv = TsNs(ts);
            let ts_event = (random.below(5) != 0).then(|| TsNs(ts - random.int(1000)));
            let mut price = || Decimal::new(1000 + random.int(100), 1).unwrap();
            if key.kind == Kind::Trades {
                let (price, qty) = (price(), Decimal::new(1 + random.int(9), 3).unwrap());
                let trade_id = &format!("{}-{message}", self.seed);
                let side = TradeSide::Buy;
                builder.trade(&TradeRow { ts_recv, ts_event, side, price, qty, trade_id });
                continue;
            }
            let snapshot = message == 0;
            builder.begin(MessageHead { ts_recv, ts_event, venue_seq: Some(ts), snapshot });
            for side in [Side::Bid, Side::Ask, Side::Bid, Side::Ask] {
                builder.level(side, price(), Decimal::from_int(message as i64).unwrap());
            }
            builder.end();
        }
        builder.finish().unwrap().pop().unwrap()
    }
}

/// One thing that a program does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Lets go of the store and opens it anew.
    Open,
    /// Imports slots; a slot that is there already is refused without `replace`.
    Import { slots: Vec<Slot>, replace: bool },
    /// Begins an import of slots and drops it.
    Drop { slots: Vec<Slot> },
    /// Takes a snapshot, as another process does, and keeps it unread.
    Snapshot,
    /// Reads all snapshots that are held: each must be what it was.
    ReadSnapshots,
    /// Lets go of all snapshots.
    DropSnapshots,
}

/// Slots with a seed for all.
fn slots(seed: u64, places: &[(usize, i64)]) -> Vec<Slot> {
    places.iter().map(|&(stream, slot)| Slot { stream, slot, seed }).collect()
}

/// Every step that changes what a store holds, with readers held across a replace.
pub fn canonical() -> Vec<Step> {
    let import = |seed, places: &[_], replace| Step::Import { slots: slots(seed, places), replace };
    vec![
        Step::Open,
        import(1, &[(0, 0), (1, 1)], false),
        Step::Snapshot,
        import(2, &[(1, 2)], false),
        import(3, &[(0, 0)], false),
        import(4, &[(0, 0)], true),
        Step::Snapshot,
        Step::ReadSnapshots,
        Step::Drop { slots: slots(5, &[(2, 0), (1, 3)]) },
        import(6, &[(0, 0), (1, 2), (2, 1)], true),
        Step::ReadSnapshots,
        Step::DropSnapshots,
        Step::Open,
        import(7, &[(0, 1)], false),
    ]
}

/// What a restarted program does first: it opens the store and writes to it.
pub fn recovery() -> Vec<Step> {
    let replaced = Step::Import { slots: slots(8, &[(0, 0)]), replace: true };
    vec![Step::Open, replaced, Step::Import { slots: slots(9, &[(2, 3)]), replace: true }]
}

/// A program that leaves a small store of two streams.
pub fn small(seed: u64) -> Vec<Step> {
    vec![Step::Open, Step::Import { slots: slots(seed, &[(0, 1), (2, 1)]), replace: false }]
}

/// A program of up to `steps` steps.
pub fn random(random: &mut Random, steps: u64) -> Vec<Step> {
    let mut program = vec![Step::Open];
    for _ in 0..=random.below(steps) {
        let slots = (0..=random.below(3)).map(|_| Slot {
            stream: usize::try_from(random.below(STREAMS as u64)).unwrap(),
            slot: random.int(SLOTS as u64),
            seed: random.below(1000),
        });
        // Streams take their slots in order, each once.
        let mut slots: Vec<Slot> = slots.collect();
        slots.sort_by_key(|slot| (slot.stream, slot.slot));
        slots.dedup_by_key(|slot| slot.stream);
        program.push(match random.below(12) {
            0 => Step::Open,
            1 => Step::Drop { slots },
            2 | 3 => Step::Snapshot,
            4 => Step::ReadSnapshots,
            5 => Step::DropSnapshots,
            6 | 7 => Step::Import { slots, replace: false },
            _ => Step::Import { slots, replace: true },
        });
    }
    program
}

/// What a crash may leave, from one operation on: one state per thing that was accepted and is not
/// yet known to be durable, the last durable one included.
#[derive(Clone)]
pub struct Mark {
    from: usize,
    /// What the store may hold then.
    pub allowed: Vec<Arc<Contents>>,
    /// A number for `allowed`.
    pub id: u64,
}

/// A disk, a program on it, and what the store must hold.
pub struct World {
    pub disk: SimDisk,
    store: Option<Store>,
    model: Arc<Contents>,
    marks: Vec<Mark>,
    held: Vec<(Snapshot, Arc<Contents>)>,
}

impl World {
    /// A program on this disk, where the store may hold what is `allowed`.
    pub fn new(disk: SimDisk, allowed: &[Arc<Contents>]) -> std::result::Result<Self, String> {
        let model = allowed[judge(disk.state(), allowed)?].clone();
        let mut world = Self { disk, store: None, model, marks: Vec::new(), held: Vec::new() };
        world.mark(allowed.to_vec());
        Ok(world)
    }

    /// A program on an empty disk.
    pub fn empty(prepare: impl FnOnce(SimDisk) -> SimDisk) -> Self {
        let disk = prepare(SimDisk::new(State::new()));
        Self::new(disk, &[Arc::default()]).unwrap()
    }

    fn mark(&mut self, allowed: Vec<Arc<Contents>>) {
        let mut hasher = DefaultHasher::new();
        allowed.hash(&mut hasher);
        self.marks.push(Mark { from: self.disk.operations(), allowed, id: hasher.finish() });
    }

    /// What a crash before this operation may leave.
    pub fn mark_at(&self, operation: usize) -> &Mark {
        let after = self.marks.partition_point(|mark| mark.from <= operation);
        &self.marks[after - 1]
    }

    /// What the store may hold now.
    pub fn allowed(&self) -> &[Arc<Contents>] {
        &self.mark_at(usize::MAX).allowed
    }

    /// All that the store ever held.
    pub fn known(&self) -> Vec<Arc<Contents>> {
        self.marks.iter().flat_map(|mark| mark.allowed.iter().cloned()).collect()
    }

    /// Runs a program. A step may fail only if an operation went wrong in it, and then the store is
    /// as it was before or after the step.
    pub fn run(&mut self, steps: &[Step]) -> std::result::Result<(), String> {
        for step in steps {
            let struck = self.disk.struck();
            let wrong = |what: String| format!("{step:?}: {what}");
            match self.step(step) {
                Err(Violation::Found(what)) => return Err(wrong(what)),
                Err(Violation::Refused(error)) if self.disk.struck() == struck => {
                    return Err(wrong(format!("refused: {error}")));
                }
                Err(Violation::Refused(error)) => {
                    clear(&error).map_err(wrong)?;
                    // A new process on the same disk, where nothing goes wrong, sees what is there.
                    let seen = judge(self.disk.state(), self.allowed()).map_err(wrong)?;
                    self.model = self.allowed()[seen].clone();
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Runs a program on a disk that does harm unseen: steps may fail for whatever reason, and
    /// only what is never right is found.
    pub fn run_damaged(&mut self, steps: &[Step]) -> std::result::Result<(), String> {
        for step in steps {
            if let Err(Violation::Found(what)) = self.step(step) {
                return Err(format!("{step:?}: {what}"));
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> std::result::Result<(), Violation> {
        match step {
            Step::Open => {
                self.store = None;
                self.store()?;
            }
            Step::Import { slots, replace } => self.import(slots, *replace)?,
            Step::Drop { slots } => {
                let mut import = self.store()?.import(options(true))?;
                for slot in slots {
                    import.append(&slot.key(), &slot.batch())?;
                }
            }
            Step::Snapshot => {
                self.store()?;
                let disk = Arc::new(self.disk.clone());
                let snapshot = Store::open_on(disk, Path::new(ROOT))?.snapshot()?;
                self.held.push((snapshot, self.model.clone()));
            }
            Step::ReadSnapshots => {
                for (snapshot, contents) in &self.held {
                    if read(snapshot)? != **contents {
                        return Err(Violation::Found("a held snapshot has changed".to_owned()));
                    }
                }
            }
            Step::DropSnapshots => self.held.clear(),
        }
        Ok(())
    }

    fn store(&mut self) -> Result<Store> {
        if self.store.is_none() {
            self.store = Some(open(&self.disk)?);
        }
        Ok(self.store.clone().unwrap())
    }

    fn import(&mut self, slots: &[Slot], replace: bool) -> std::result::Result<(), Violation> {
        let store = self.store()?;
        let after = Arc::new(imported(&self.model, slots));
        let stored =
            |slot: &Slot| self.model.get(&slot.key()).is_some_and(|rows| covers(rows, *slot));
        let refusal = !replace && slots.iter().any(stored);

        let mut import = store.import(options(replace))?;
        for slot in slots {
            let batch = slot.batch();
            for part in [0..MESSAGES / 2, MESSAGES / 2..MESSAGES] {
                let appended = import.append(&slot.key(), &batch.slice_messages(part));
                let Err(error) = appended else { continue };
                if import.commit().is_ok() {
                    let what = format!("a commit after a failed append ({error}) is accepted");
                    return Err(Violation::Found(what));
                }
                let expected = refusal && error.kind() == ErrorKind::Exists;
                return if expected { Ok(()) } else { Err(error.into()) };
            }
        }
        let mut either = self.allowed().to_vec();
        either.extend([self.model.clone(), after.clone()]);
        either.dedup();
        self.mark(either);
        if let Err(error) = import.commit() {
            let durable = judge(self.disk.state().crash(|_| false), slice::from_ref(&after));
            if after != self.model && durable.is_ok() && !self.disk.reports_wrongly() {
                let what = format!("a durable commit is reported as failed ({error})");
                return Err(Violation::Found(what));
            }
            return Err(error.into());
        }
        if refusal {
            return Err(Violation::Found("stored rows are stored twice".to_owned()));
        }
        self.model = after.clone();
        self.mark(vec![after]);
        Ok(())
    }
}

/// Why a step did not do what it should.
enum Violation {
    /// The store refused; right if the disk did.
    Refused(Error),
    /// Never right.
    Found(String),
}

impl From<Error> for Violation {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// An error that a disk has caused says so, in one line.
fn clear(error: &Error) -> std::result::Result<(), String> {
    let text = error.to_string();
    let kinds = ["io", "full", "poisoned", "corrupt"];
    if text.is_empty() || text.contains('\n') || !kinds.contains(&error.kind().name()) {
        return Err(format!("an unclear error: {error:?}"));
    }
    Ok(())
}

/// Small blocks and many checkpoints, so that little rows make all parts of a file.
fn options(replace: bool) -> ImportOptions {
    ImportOptions { replace, writer: WriterOptions { block_rows: 32, checkpoint_rows: 16 } }
}

/// Whether rows of this slot are among `rows`.
fn covers(rows: &[Row], slot: Slot) -> bool {
    rows.iter().any(|row| slot.times().contains(&row[0]))
}

/// `before` with the rows of these slots in the place of what was there.
fn imported(before: &Contents, slots: &[Slot]) -> Contents {
    let mut contents = before.clone();
    for slot in slots {
        let stored = contents.entry(slot.key()).or_default();
        stored.retain(|row| !slot.times().contains(&row[0]));
        let at = stored.partition_point(|row| row[0] < slot.times().start);
        stored.splice(at..at, rows(&slot.batch()));
    }
    contents
}
