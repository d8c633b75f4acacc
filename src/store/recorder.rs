//! A live writer that runs in the background: commits in groups, seals, and tells what is durable.
//!
//! Any number of threads append. One thread of its own makes groups durable, another seals; neither
//! holds the writer while it waits for the disk.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::rewrite::{RewriteWatch, Rewritten};
use super::writer::{Dropped, Expired, Group, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, StreamKey};
use crate::format::manifest::SegmentEntry;
use crate::segment::WriterOptions;

/// When rows that wait are made durable together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupCommit {
    /// At the latest after this time. Zero: every append waits until its rows are durable.
    pub within: Duration,
    /// At the latest with so many bytes.
    pub bytes: usize,
}

impl Default for GroupCommit {
    fn default() -> Self {
        Self { within: Duration::from_millis(10), bytes: 1 << 20 }
    }
}

/// How often it is looked for streams to be sealed.
const SEAL_EVERY: Duration = Duration::from_millis(200);
/// Groups that may wait before appends wait too.
const GROUPS_WAITING_MAX: usize = 4;

/// Called with each new watermark, on the committing thread; must not block for long.
pub type Watcher = Box<dyn FnMut(u64) + Send>;

/// A writer in the background. Cheap to clone; [`Recorder::close`] ends it for all clones. When the
/// last clone is dropped, what waits is still made durable.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    _end: Arc<End>,
}

/// Ends the threads when the last recorder goes.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorder({} durable)", self.watermark())
    }
}

struct Shared {
    group: GroupCommit,
    state: Mutex<State>,
    /// Held while a manifest is made: there is one after the other. Taken before `state`.
    manifests: Mutex<()>,
    /// There is something to do for the threads.
    work: Condvar,
    /// A commit ended.
    done: Condvar,
}

struct State {
    writer: Option<Writer>,
    committing: bool,
    closing: bool,
    /// All rows up to this sequence are durable.
    watermark: u64,
    watchers: Vec<Watcher>,
    threads: Vec<JoinHandle<()>>,
    /// Why sealing failed the last time, if it did: the disk is full.
    seal_error: Option<String>,
}

impl Recorder {
    /// Runs `writer` in the background.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if no thread can be started.
    pub fn start(writer: Writer, group: GroupCommit) -> Result<Self> {
        let state = State {
            watermark: writer.watermark(),
            writer: Some(writer),
            committing: false,
            closing: false,
            watchers: Vec::new(),
            threads: Vec::new(),
            seal_error: None,
        };
        let (work, done) = (Condvar::new(), Condvar::new());
        let (state, manifests) = (Mutex::new(state), Mutex::default());
        let shared = Arc::new(Shared { group, state, manifests, work, done });
        type Job = (&'static str, fn(&Shared));
        let commits: Job = ("tickreel-commit", Shared::commit_loop);
        let seals: Job = ("tickreel-seal", Shared::seal_loop);
        for (name, job) in [commits, seals] {
            let of_thread = shared.clone();
            let spawned = std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || job(&of_thread))
                .map_err(|error| {
                    Error::new(ErrorKind::Io, format!("cannot start a thread: {error}"))
                });
            let mut state = shared.lock();
            state.closing |= spawned.is_err();
            state.threads.push(spawned?);
        }
        Ok(Self { _end: Arc::new(End(shared.clone())), shared })
    }

    /// Adds rows as [`Writer::append`] does; the sequence up to which they are durable once the
    /// watermark has reached it. Waits while too much waits for the disk.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn append(&self, key: &StreamKey, batch: &Batch) -> Result<u64> {
        let shared = &*self.shared;
        let bytes_max = shared.group.bytes.saturating_mul(GROUPS_WAITING_MAX);
        let crowded = |state: &mut State| {
            let busy = |writer: &Writer| {
                writer.waiting_bytes() > bytes_max || state.committing && !writer.has_room(batch)
            };
            let working = |writer: &&Writer| writer.check().is_ok();
            !state.closing && state.writer.as_ref().filter(working).is_some_and(busy)
        };
        let state = shared.lock();
        let waited = shared.done.wait_while(state, crowded);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let seq = state.writer()?.append(key, batch)?;
        drop(state);
        shared.work.notify_all();
        if shared.group.within.is_zero() {
            self.wait(seq)?;
        }
        Ok(seq)
    }

    /// All rows up to this sequence are durable.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.shared.lock().watermark
    }

    /// Waits until rows are durable.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] if the disk failed before they were; [`ErrorKind::Cancelled`] if the
    /// recorder was closed.
    pub fn wait(&self, seq: u64) -> Result<()> {
        let shared = &*self.shared;
        let not_yet = |state: &mut State| {
            let working = state.writer.as_ref().is_some_and(|writer| writer.check().is_ok());
            working && state.watermark < seq
        };
        let waited = shared.done.wait_while(shared.lock(), not_yet);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        match &state.writer {
            _ if state.watermark >= seq => Ok(()),
            Some(writer) => writer.check(),
            None => Err(closed()),
        }
    }

    /// Whether it still works.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] after a failure of the disk; [`ErrorKind::Cancelled`] if the
    /// recorder was closed.
    pub fn check(&self) -> Result<()> {
        self.shared.lock().writer()?.check()
    }

    /// Calls `watcher` with the watermark after each commit from now on, and once more when there
    /// will be no other: the recorder was closed or the disk failed, see [`Recorder::check`].
    pub fn watch(&self, watcher: Watcher) {
        self.shared.lock().watchers.push(watcher);
    }

    /// Why rows could not be sealed the last time it was tried: the disk is full. They stay in the
    /// journal and in memory, and it is tried again.
    #[must_use]
    pub fn seal_error(&self) -> Option<String> {
        self.shared.lock().seal_error.clone()
    }

    /// Drops days as [`Writer::drop_expired`] does; appends go on meanwhile.
    ///
    /// # Errors
    /// As [`Writer::drop_expired`]; [`ErrorKind::Cancelled`] if the recorder was closed.
    pub fn drop_expired(&self, expired: &Expired) -> Result<Dropped> {
        let _alone = self.shared.alone();
        let dropped = self.shared.drop_expired(expired);
        // Whoever waits hears of a failure.
        self.shared.done.notify_all();
        dropped
    }

    /// Writes segments anew as [`Writer::rewrite`] does; appends and seals go on meanwhile, and so
    /// may other rewritings.
    ///
    /// # Errors
    /// As [`Writer::rewrite`]; [`ErrorKind::Cancelled`] if the recorder was closed.
    pub fn rewrite(
        &self,
        segments: &[SegmentEntry],
        options: WriterOptions,
        watch: RewriteWatch<'_>,
    ) -> Result<Rewritten> {
        let rewritten = self.shared.rewrite(segments, options, watch);
        // Whoever waits hears of a failure.
        self.shared.done.notify_all();
        rewritten
    }

    /// Makes all rows durable, ends the threads and gives the writer back.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if it was closed before; [`ErrorKind::Poisoned`] or
    /// [`ErrorKind::Io`] if the last rows could not be made durable.
    pub fn close(&self) -> Result<Writer> {
        self.shared.stop();
        let alone = self.shared.alone();
        let writer = self.shared.lock().writer.take();
        drop(alone);
        self.shared.done.notify_all();
        let mut writer = writer.ok_or_else(closed)?;
        writer.commit()?;
        Ok(writer)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Cancelled, "the recorder was closed")
}

impl State {
    fn writer(&mut self) -> Result<&mut Writer> {
        self.writer.as_mut().filter(|_| !self.closing).ok_or_else(closed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the threads, after the last commit.
    fn stop(&self) {
        let mut state = self.lock();
        state.closing = true;
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.work.notify_all();
        self.done.notify_all();
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Uses the writer, if the recorder still has one.
    fn with<T>(&self, use_writer: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        use_writer(self.lock().writer.as_mut().ok_or_else(closed)?)
    }

    fn commit_loop(&self) {
        while let Some(group) = self.next_commit() {
            if !self.commit(group) {
                break;
            }
        }
        // Whoever waits for a watermark hears that there will be none.
        drop(self.tell(self.lock()));
    }

    /// Makes a group durable and tells so; whether it can go on.
    fn commit(&self, mut group: Group) -> bool {
        let written = group.write();
        let mut state = self.lock();
        state.committing = false;
        let Some(writer) = &mut state.writer else { return false };
        let committed = writer.finish_commit(group, written).is_ok();
        drop(self.tell(state));
        committed
    }

    /// Tells everybody how far rows are durable. The watchers are called without the lock.
    fn tell<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let watermark = state.writer.as_ref().map_or(state.watermark, Writer::watermark);
        state.watermark = watermark;
        let mut watchers = std::mem::take(&mut state.watchers);
        drop(state);
        self.done.notify_all();
        watchers.iter_mut().for_each(|watcher| watcher(watermark));
        let mut state = self.lock();
        watchers.append(&mut state.watchers);
        state.watchers = watchers;
        state
    }

    /// Waits for a group that is due; `None` at the end.
    ///
    /// An append that begins a journal file, and tidying the journal, commit on their own: what
    /// they made durable is told here too, and leaves nothing to be committed.
    fn next_commit(&self) -> Option<Group> {
        let waiting = |state: &State| state.writer.as_ref().map_or(0, Writer::waiting_bytes);
        let told = |state: &State| {
            state.writer.as_ref().is_none_or(|writer| writer.watermark() == state.watermark)
        };
        let nothing = |state: &mut State| waiting(state) == 0 && told(state) && !state.closing;
        let few =
            |state: &mut State| waiting(state) < self.group.bytes && told(state) && !state.closing;
        let mut state = self.lock();
        loop {
            state = self.work.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner);
            let waited = self.work.wait_timeout_while(state, self.group.within, few);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !told(&state) {
                state = self.tell(state);
                continue;
            }
            if let Some(group) = state.writer.as_mut()?.begin_commit().ok()? {
                state.committing = true;
                return Some(group);
            }
            if state.closing {
                return None;
            }
        }
    }

    fn seal_loop(&self) {
        loop {
            let state = self.lock();
            let idle = |state: &mut State| !state.closing;
            let waited = self.work.wait_timeout_while(state, SEAL_EVERY, idle);
            let state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.closing {
                return;
            }
            drop(state);
            let sealed = self.seal_due();
            let mut state = self.lock();
            match sealed {
                Ok(()) => state.seal_error = None,
                Err(error) if error.kind() == ErrorKind::Full => {
                    state.seal_error = Some(error.to_string());
                }
                Err(_) => {
                    drop(state);
                    self.done.notify_all();
                    return;
                }
            }
        }
    }

    /// As [`Writer::maintain`], without holding the writer while segments are written.
    fn seal_due(&self) -> Result<()> {
        let _alone = self.alone();
        let seal = self.with(|writer| {
            let due = writer.due();
            writer.begin_seal(&due)
        })?;
        if let Some(mut seal) = seal {
            let written = seal.write();
            let commit = self.with(|writer| writer.finish_seal(seal, written))?;
            let manifest = commit.write();
            self.with(|writer| writer.finish_manifest(commit, manifest))?;
        }
        let mut state = self.lock();
        // The journal can be tidied when no group is being written into it.
        while state.committing && !state.closing {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.committing {
            return Ok(());
        }
        let tidied = state.writer.as_mut().ok_or_else(closed)?.maintain_journal();
        drop(state);
        self.work.notify_all();
        tidied
    }

    /// As [`Writer::drop_expired`], without holding the writer while the disk works.
    fn drop_expired(&self, expired: &Expired) -> Result<Dropped> {
        let mut dropped = Dropped::default();
        if let Some(dropping) = self.with(|writer| writer.begin_drop(expired))? {
            let written = dropping.write();
            dropped = self.with(|writer| writer.finish_drop(dropping, written))?;
        }
        let removal = self.with(|writer| Ok(writer.begin_removal()))?;
        let held = removal.run();
        self.with(|writer| {
            writer.finish_removal(held);
            Ok(dropped)
        })
    }

    /// As [`Writer::rewrite`], without holding the writer while the disk works.
    fn rewrite(
        &self,
        segments: &[SegmentEntry],
        options: WriterOptions,
        watch: RewriteWatch<'_>,
    ) -> Result<Rewritten> {
        let alone = self.alone();
        let rewriting = self.with(|writer| writer.begin_rewrite(segments, options))?;
        drop(alone);
        let written = rewriting.write(watch);
        let _alone = self.alone();
        let replacing = self.with(|writer| writer.finish_rewrite(rewriting, written))?;
        let manifest = replacing.write();
        let rewritten = self.with(|writer| writer.finish_replacing(replacing, manifest))?;
        let removal = self.with(|writer| Ok(writer.begin_removal()))?;
        let held = removal.run();
        self.with(|writer| {
            writer.finish_removal(held);
            Ok(rewritten)
        })
    }
}
