//! The way of a stream of answers to its client: a short queue, and how it ended.
//!
//! A queue that is full makes the server wait, so that a client that reads slowly costs a few parts
//! of memory and nothing else. A client that takes nothing for a minute is sent away.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::Stream;
use tonic::Status;

use super::access::Grant;
use super::status::{stalled, stopping, withdrawn};
use crate::limit;

/// What ends streams from outside.
#[derive(Clone)]
pub(super) struct Ending {
    stop: watch::Receiver<bool>,
    withdrawn: watch::Receiver<bool>,
}

impl Ending {
    /// Streams end when `stop` says that the server stops, or when `grant` is withdrawn.
    pub(super) fn new(stop: &watch::Receiver<bool>, grant: &Grant) -> Self {
        Self { stop: stop.clone(), withdrawn: grant.withdrawn() }
    }

    /// Waits for the end, and says which it is.
    async fn comes(mut self) -> Status {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => stopping(),
            Ok(_) = self.withdrawn.wait_for(|withdrawn| *withdrawn) => withdrawn(),
        }
    }
}

/// The stream is over: its end is set or its client is gone.
#[derive(Debug)]
pub(super) struct Over;

/// Where the server puts answers.
pub(super) struct Outlet<T> {
    sender: mpsc::Sender<T>,
    end: Arc<Mutex<Option<Status>>>,
    ending: Ending,
    _open: Vec<OwnedSemaphorePermit>,
}

/// Where the client's answers come from.
pub(super) struct Answers<T> {
    receiver: mpsc::Receiver<T>,
    end: Arc<Mutex<Option<Status>>>,
}

/// An outlet and its answers. `open` are given back when the server is done with the stream.
pub(super) fn outlet<T>(
    ending: Ending,
    open: Vec<OwnedSemaphorePermit>,
) -> (Outlet<T>, Answers<T>) {
    let (sender, receiver) = mpsc::channel(limit::RPC_QUEUE_PARTS);
    let end = Arc::default();
    (Outlet { sender, end: Arc::clone(&end), ending, _open: open }, Answers { receiver, end })
}

impl<T: Send + 'static> Outlet<T> {
    /// Waits for room for one answer.
    ///
    /// # Errors
    /// [`Over`] if there will be none.
    pub(super) async fn room(&self) -> Result<mpsc::OwnedPermit<T>, Over> {
        let stall = Duration::from_millis(limit::RPC_STALL_MS_MAX);
        tokio::select! {
            permit = self.sender.clone().reserve_owned() => permit.map_err(|_| Over),
            status = self.ending.clone().comes() => Err(self.end(status)),
            () = tokio::time::sleep(stall) => Err(self.end(stalled(stall.as_secs()))),
        }
    }

    /// Puts one answer, waiting for room.
    ///
    /// # Errors
    /// As [`Outlet::room`].
    pub(super) async fn send(&self, answer: T) -> Result<(), Over> {
        self.room().await?.send(answer);
        Ok(())
    }

    /// Puts one answer if there is room, also while the server stops.
    pub(super) fn offer(&self, answer: T) {
        drop(self.sender.try_send(answer));
    }

    /// Whether the client has gone away.
    pub(super) fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until the stream is ended from outside or the client has gone away.
    pub(super) async fn over(&self) -> Over {
        tokio::select! {
            () = self.sender.closed() => Over,
            status = self.ending.clone().comes() => self.end(status),
        }
    }

    /// Ends the stream with `status`, after the answers that wait.
    pub(super) fn end(&self, status: Status) -> Over {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        Over
    }
}

impl<T> Stream for Answers<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.receiver.poll_recv(context) {
            Poll::Ready(Some(answer)) => Poll::Ready(Some(Ok(answer))),
            Poll::Ready(None) => {
                let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
                Poll::Ready(end.map(Err))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::Code;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_sent_away_after_the_limit_and_not_before() {
        let (_stop, stopped) = watch::channel(false);
        let ending = Ending::new(&stopped, &Grant::everything());
        let (outlet, mut answers) = outlet(ending, Vec::new());
        for part in 0..limit::RPC_QUEUE_PARTS {
            outlet.send(part).await.unwrap();
        }
        let began = tokio::time::Instant::now();
        let almost = Duration::from_millis(limit::RPC_STALL_MS_MAX - 1);
        assert!(tokio::time::timeout(almost, outlet.room()).await.is_err(), "it waits");
        answers.next().await.unwrap().unwrap();
        outlet.send(99).await.unwrap();

        assert!(outlet.room().await.is_err());

        let waited = began.elapsed().as_millis();
        assert!(waited >= u128::from(2 * limit::RPC_STALL_MS_MAX - 1), "{waited} ms");
        drop(outlet);
        let mut last = None;
        while let Some(answer) = answers.next().await {
            last = Some(answer);
        }
        assert_eq!(last.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    }
}
