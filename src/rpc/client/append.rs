//! Appending to a server: rows to send, and what became of them to read meanwhile.

use tokio::sync::mpsc;
use tonic::{Code, Streaming};

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, StreamKey};
use crate::rpc::model::append_request;
use crate::rpc::proto;
use crate::rpc::proto::append_response::Event;
use crate::rpc::status::{error_of, kind_of};

/// What became of a request to append.
#[derive(Debug)]
pub enum Appended {
    /// Its rows are in their stream, not yet durable.
    Accepted {
        /// The request, as [`AppendSender::send`] numbered it.
        id: u64,
        /// Durable once the sequence of [`Appended::Durable`] has reached this.
        seq: u64,
    },
    /// None of its rows was taken; the session goes on.
    Refused {
        /// The request.
        id: u64,
        /// Why.
        error: Error,
    },
    /// Every accepted request up to this one is durable.
    Durable {
        /// The request.
        id: u64,
        /// The watermark of the store.
        seq: u64,
    },
}

/// Sends rows to an append session. Dropping it ends the requests: the server answers what is open
/// and ends when all is durable.
#[derive(Debug)]
pub struct AppendSender {
    pub(super) requests: mpsc::Sender<proto::AppendRequest>,
    pub(super) next_id: u64,
}

impl AppendSender {
    /// Sends the rows of one stream, and gives the number that answers will have. Waits while the
    /// server reads nothing, which it does while its answers are not read.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if the rows are too many for one request; [`ErrorKind::Remote`] if the
    /// session is over: its answers say why.
    pub async fn send(&mut self, key: &StreamKey, batch: &Batch) -> Result<u64> {
        let id = self.next_id;
        let request = append_request(id, key, batch)?;
        let ended = |_| Error::new(ErrorKind::Remote, "the session has ended");
        self.requests.send(request).await.map_err(ended)?;
        self.next_id += 1;
        Ok(id)
    }
}

/// The answers of an append session. Dropping it ends the session.
#[derive(Debug)]
pub struct AppendAnswers {
    pub(super) answers: Streaming<proto::AppendResponse>,
}

impl AppendAnswers {
    /// The next answer; `None` when the session is over and all that was accepted is durable.
    /// Losing the future between two polls loses no answer.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if the server stops; [`ErrorKind::Poisoned`] if its disk failed:
    /// what no [`Appended::Durable`] told may or may not be stored. [`ErrorKind::Remote`] if it is
    /// gone.
    pub async fn next(&mut self) -> Result<Option<Appended>> {
        let answer = self.answers.message().await.map_err(|status| error_of(&status))?;
        let Some(answer) = answer else { return Ok(None) };
        match answer.event {
            Some(Event::Accepted(accepted)) => {
                Ok(Some(Appended::Accepted { id: accepted.id, seq: accepted.seq }))
            }
            Some(Event::Refused(refused)) => {
                let kind = kind_of(Some(&refused.kind), Code::from(refused.code));
                let error = Error::new(kind, refused.text);
                Ok(Some(Appended::Refused { id: refused.id, error }))
            }
            Some(Event::Durable(durable)) => {
                Ok(Some(Appended::Durable { id: durable.id, seq: durable.seq }))
            }
            None => Err(Error::new(ErrorKind::Remote, "the server gave an answer without content")),
        }
    }
}
