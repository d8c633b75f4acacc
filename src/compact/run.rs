//! Tasks, one after the other or several at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::plan::Task;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::WriterOptions;
use crate::store::{Recorder, Rewritten};

/// Follows a compaction; called by every thread of it.
pub trait Watch: Sync {
    /// Bytes of segments were read since the last call. May wait, to leave the disk to others.
    ///
    /// # Errors
    /// Stops the compaction: what is done stays, the tasks under way leave nothing.
    fn read(&self, bytes: u64) -> Result<()>;

    /// A task is done, or cannot be done.
    fn done(&self, task: &Task, result: &Result<Rewritten>);
}

/// What a compaction did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Tasks that are done.
    pub tasks: usize,
    /// Tasks that cannot be done because a segment is damaged, or was dropped meanwhile.
    pub failed: usize,
    /// Over all that are done.
    pub sum: Rewritten,
}

/// Does tasks, `jobs` at a time. A task whose segments are damaged or no longer there is told to
/// `watch` and left out.
///
/// # Errors
/// [`ErrorKind::Full`], [`ErrorKind::Poisoned`] or [`ErrorKind::Io`] if the store cannot be
/// written, or what `watch` gives. Tasks done by then stay done, and the others can be done later.
pub fn run(
    recorder: &Recorder,
    tasks: &[Task],
    options: WriterOptions,
    jobs: usize,
    watch: &dyn Watch,
) -> Result<Report> {
    let report = Mutex::new(Report::default());
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let result = one(recorder, task, options, watch, &stop);
            watch.done(task, &result);
            let ended = add(&mut report.lock().unwrap_or_else(PoisonError::into_inner), result);
            if ended.is_err() {
                stop.store(true, Ordering::Relaxed);
                return ended;
            }
        }
        Ok(())
    };
    let ended = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..jobs).map(|_| scope.spawn(work)).collect();
        let first = work();
        let ends =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked())));
        std::iter::once(first).chain(ends).collect::<Vec<_>>()
    });
    // A thread that stopped because another did is no reason.
    let errors = ended.into_iter().filter_map(Result::err);
    match errors.min_by_key(|error| error.kind() == ErrorKind::Cancelled) {
        Some(error) => Err(error),
        None => Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn one(
    recorder: &Recorder,
    task: &Task,
    options: WriterOptions,
    watch: &dyn Watch,
    stop: &AtomicBool,
) -> Result<Rewritten> {
    recorder.rewrite(&task.segments, options, &mut |bytes| {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, "another task has failed"));
        }
        watch.read(bytes)
    })
}

fn panicked() -> Error {
    Error::new(ErrorKind::Cancelled, "a thread of the compaction has panicked")
}

/// Whether a failure is of the segments of one task, and no reason to leave the others.
fn is_of_task(kind: ErrorKind) -> bool {
    use ErrorKind::{Corrupt, Invalid, Limit, Stale, Unsupported};
    matches!(kind, Corrupt | Invalid | Limit | Stale | Unsupported)
}

/// Adds what became of a task.
fn add(report: &mut Report, result: Result<Rewritten>) -> Result<()> {
    let done = match result {
        Ok(done) => done,
        Err(error) => {
            report.failed += 1;
            return if is_of_task(error.kind()) { Ok(()) } else { Err(error) };
        }
    };
    report.tasks += 1;
    let sum = &mut report.sum;
    sum.rows += done.rows;
    sum.segments_before += done.segments_before;
    sum.segments_after += done.segments_after;
    sum.bytes_before += done.bytes_before;
    sum.bytes_after += done.bytes_after;
    Ok(())
}
