//! Threads for work that reads maps: tokio's blocking threads, a fixed number of them at a time.
//!
//! Work waits for its turn in the order of asking, so that streams of parts take turns. There are
//! two queues, one for single answers and one for parts of streams: a book at a time never waits
//! behind replays.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::error::{Error, ErrorKind, Result};

/// A queue of work for at most so many threads.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    permits: Arc<Semaphore>,
}

impl Workers {
    /// Work runs on at most `threads` threads at a time.
    pub(super) fn new(threads: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(threads.max(1))) }
    }

    /// Runs `work` on a worker thread. What waits is forgotten when the caller goes away; what
    /// runs is finished.
    ///
    /// # Errors
    /// What `work` gives; [`ErrorKind::Cancelled`] if the runtime stops; [`ErrorKind::Io`] if it
    /// panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let stopping = || Error::new(ErrorKind::Cancelled, "the server stops");
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| stopping())?;
        let done = spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        match done.await {
            Ok(result) => result,
            Err(join) if join.is_panic() => {
                Err(Error::new(ErrorKind::Io, "a worker thread failed"))
            }
            Err(_) => Err(stopping()),
        }
    }
}
