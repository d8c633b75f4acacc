//! A disk, programs on it, and what the store must hold after each step.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use tickreel::event::Kind;
use tickreel::store::{Snapshot, Store, Writer};
use tickreel::{Error, ErrorKind, Result};

use crate::live::{Unacknowledged, is_clear};
use crate::model::{Allowed, Contents, ROOT, Row, is_reset, judge, open, read, rows};
use crate::program::{MESSAGES, Slot, Step, options};
use crate::sim::{SimDisk, State};

/// What a crash may leave, from one operation on: one state per thing that was accepted and is not
/// yet known to be durable, the last durable one included.
#[derive(Clone)]
pub struct Mark {
    from: usize,
    /// What the store may hold then.
    pub allowed: Vec<Allowed>,
    /// A number for `allowed`.
    pub id: u64,
}

/// A disk, a program on it, and what the store must hold.
pub struct World {
    pub disk: SimDisk,
    pub(crate) writer: Option<Writer>,
    pub(crate) store: Option<Store>,
    /// The store as another process has it that lives on.
    pub(crate) follower: Option<Store>,
    /// All that was accepted.
    pub(crate) model: Arc<Contents>,
    /// The appends of the writer that are not acknowledged yet.
    pub(crate) unacknowledged: Vec<Unacknowledged>,
    /// The disk does harm unseen.
    pub(crate) damaged: bool,
    /// Operations that went wrong before this step.
    struck: usize,
    /// How many of these were to change the disk.
    pub(crate) struck_changes: usize,
    /// The disk and what it may hold when it was looked at last, without a writer or beside one.
    seen: Option<(usize, u64, bool)>,
    marks: Vec<Mark>,
    held: Vec<(Snapshot, Contents)>,
}

impl World {
    /// A program on this disk, where the store may hold what is `allowed`.
    pub fn new(disk: SimDisk, allowed: &[Allowed]) -> std::result::Result<Self, String> {
        let model = Arc::new(judge(disk.state(), allowed)?);
        let mut world = Self {
            disk,
            writer: None,
            store: None,
            follower: None,
            model,
            unacknowledged: Vec::new(),
            damaged: false,
            struck: 0,
            struck_changes: 0,
            seen: None,
            marks: Vec::new(),
            held: Vec::new(),
        };
        world.mark(allowed.to_vec());
        Ok(world)
    }

    /// A program on an empty disk.
    pub fn empty(prepare: impl FnOnce(SimDisk) -> SimDisk) -> Self {
        let disk = prepare(SimDisk::new(State::new()));
        Self::new(disk, &[Allowed::default()]).unwrap()
    }

    pub(crate) fn mark(&mut self, allowed: Vec<Allowed>) {
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
    pub fn allowed(&self) -> &[Allowed] {
        &self.mark_at(usize::MAX).allowed
    }

    /// Whether something looked damaged in this step that is not: readers may see less for now.
    pub(crate) fn excused(&self) -> bool {
        self.damaged || self.disk.reads_short() && self.disk.struck() > self.struck
    }

    /// Whether the store may hold this now.
    pub(crate) fn allows(&self, found: &Contents) -> bool {
        self.allowed().iter().any(|allowed| allowed.admits(found))
    }

    /// All that was ever accepted.
    pub fn known(&self) -> Vec<Arc<Contents>> {
        let allowed = self.marks.iter().flat_map(|mark| &mark.allowed);
        allowed.map(|allowed| allowed.contents.clone()).collect()
    }

    /// Runs a program. A step may fail only if an operation went wrong in it, and then the store is
    /// as it was before or after the step.
    pub fn run(&mut self, steps: &[Step]) -> std::result::Result<(), String> {
        for step in steps {
            let struck = self.disk.struck();
            (self.struck, self.struck_changes) = (struck, self.disk.struck_changes());
            let wrong = |what: String| format!("{step:?}: {what}");
            match self.step(step) {
                Err(Violation::Found(what)) => return Err(wrong(what)),
                Err(Violation::Refused(error)) if self.disk.struck() == struck => {
                    return Err(wrong(format!("refused: {error}")));
                }
                Err(Violation::Refused(error)) => {
                    if !is_clear(&error) {
                        return Err(wrong(format!("an unclear error: {error:?}")));
                    }
                    self.look().map_err(wrong)?;
                }
                Ok(()) => {}
            }
            if self.disk.retried() {
                return Err(wrong("a sync that failed is tried again".to_owned()));
            }
        }
        Ok(())
    }

    /// A new process on the same disk, where nothing goes wrong, sees what is there; so does this
    /// one, if its writer is gone.
    fn look(&mut self) -> std::result::Result<(), String> {
        let state = self.disk.state();
        let now = (state.version(), self.mark_at(usize::MAX).id, self.writer.is_none());
        if self.seen == Some(now) {
            return Ok(());
        }
        let seen = judge(state, self.allowed())?;
        self.seen = Some(now);
        if self.writer.is_none() {
            self.model = Arc::new(seen);
            self.unacknowledged.clear();
        }
        Ok(())
    }

    /// Runs a program on a disk that does harm unseen: steps may fail for whatever reason, and
    /// only what is never right is found.
    pub fn run_damaged(&mut self, steps: &[Step]) -> std::result::Result<(), String> {
        self.damaged = true;
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
                self.end_writer()?;
                self.store = None;
                self.store()?;
            }
            Step::Import { slots, replace } => {
                self.end_writer()?;
                self.import(slots, *replace)?;
            }
            Step::Drop { slots } => {
                self.end_writer()?;
                let mut import = self.store()?.import(options(true))?;
                for slot in slots {
                    import.append(&slot.key(), &slot.batch())?;
                }
            }
            Step::Snapshot => {
                self.store()?;
                let disk = Arc::new(self.disk.clone());
                let snapshot = Store::open_on(disk, Path::new(ROOT))?.snapshot()?;
                let shown = self.shown(&snapshot)?;
                self.held.push((snapshot, shown));
            }
            Step::ReadSnapshots => {
                for (snapshot, contents) in &self.held {
                    if read(snapshot)? != *contents {
                        return Err(Violation::Found("a held snapshot has changed".to_owned()));
                    }
                }
            }
            Step::DropSnapshots => self.held.clear(),
            &Step::Append { stream, messages, seed, after_ns } => {
                self.append(stream, messages, seed, after_ns)?;
            }
            Step::Late { stream } => self.late(*stream)?,
            Step::Commit => self.commit()?,
            Step::Seal => self.seal()?,
            Step::Maintain => self.maintain()?,
            &Step::DropBefore { kind, day } => self.drop_before(kind, day)?,
            Step::Compact { again } => self.compact(*again)?,
            Step::Reopen => {
                self.close();
                self.open_writer()?;
            }
            Step::Follow => self.follow()?,
            Step::Seek { seed } => self.seek(*seed)?,
        }
        Ok(())
    }

    pub(crate) fn store(&mut self) -> Result<Store> {
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
        let refusal = !replace && slots.iter().any(stored)
            || slots.iter().any(|slot| is_continued(&self.model, *slot))
            || reach_beyond(&store.snapshot()?, slots);

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
        let before = self.allowed().to_vec();
        let mut either = before.clone();
        either.extend([self.model.clone(), after.clone()].map(Allowed::exactly));
        either.dedup();
        self.mark(either);
        if let Err(error) = import.commit() {
            if refusal && error.kind() == ErrorKind::Exists {
                self.mark(before);
                return Ok(());
            }
            let durable =
                judge(self.disk.state().crash(|_| false), &[Allowed::exactly(after.clone())]);
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
        self.mark(vec![Allowed::exactly(after)]);
        Ok(())
    }
}

/// Why a step did not do what it should.
pub enum Violation {
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

/// Whether rows of this slot are among `rows`.
fn covers(rows: &[Row], slot: Slot) -> bool {
    rows.iter().any(|row| slot.times().contains(&row[0]))
}

/// Whether stored rows go on with the book of this slot, although the slot's rows were dropped.
fn is_continued(model: &Contents, slot: Slot) -> bool {
    let rows = model.get(&slot.key()).filter(|_| slot.key().kind == Kind::Book);
    let next = rows.and_then(|rows| rows.iter().find(|row| row[0] >= slot.times().end));
    next.is_some_and(|row| !is_reset(row))
}

/// Whether a segment has rows of one of these slots and others, as only compaction makes it.
fn reach_beyond(snapshot: &Snapshot, slots: &[Slot]) -> bool {
    slots.iter().any(|slot| {
        let key = slot.key();
        let Ok(id) = snapshot.stream_id(&key.instrument, key.kind) else { return false };
        snapshot.segments(id).iter().any(|entry| {
            let (first, last) = (entry.ts_recv_first, entry.ts_recv_last);
            let apart = last < slot.times().start || first >= slot.times().end;
            !(apart || slot.times().contains(&first) && slot.times().contains(&last))
        })
    })
}

/// `before` with the rows of these slots in the place of what was there.
fn imported(before: &Contents, slots: &[Slot]) -> Contents {
    let mut contents = before.clone();
    for slot in slots {
        let stored = Arc::make_mut(contents.entry(slot.key()).or_default());
        stored.retain(|row| !slot.times().contains(&row[0]));
        let at = stored.partition_point(|row| row[0] < slot.times().start);
        stored.splice(at..at, rows(&slot.batch()));
    }
    contents
}
