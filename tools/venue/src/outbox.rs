//! What is to be sent on one connection: bytes, and how it ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Bytes that may wait for a slow client before the playing waits for it.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The socket is closed after everything was sent.
    Closed,
    /// The socket is reset at once.
    Reset,
}

/// Filled by the market, emptied by the task that writes to the socket.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    /// There is something to send.
    pub filled: Notify,
    /// There is room again.
    pub drained: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    end: Option<End>,
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what `write` writes, unless the end is decided.
    pub fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.waiting();
        if waiting.end.is_some() {
            return;
        }
        let was_empty = waiting.bytes.is_empty();
        write(&mut waiting.bytes);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Nothing more comes.
    pub fn end(&self, end: End) {
        let mut waiting = self.waiting();
        waiting.end.get_or_insert(end);
        drop(waiting);
        self.filled.notify_one();
        self.drained.notify_one();
    }

    /// Whether the playing should wait.
    pub fn is_full(&self) -> bool {
        let waiting = self.waiting();
        waiting.bytes.len() > WAITING_BYTES_MAX && waiting.end.is_none()
    }

    /// Takes what waits into `bytes`, which is empty.
    pub fn take(&self, bytes: &mut Vec<u8>) -> Option<End> {
        let mut waiting = self.waiting();
        std::mem::swap(&mut waiting.bytes, bytes);
        let end = waiting.end;
        drop(waiting);
        self.drained.notify_one();
        end
    }
}
