//! Append sessions: rows come in, and what became of them goes out.
//!
//! A session is a task that waits for the next request, for rows to become durable and for its end.
//! Rows are decoded and appended on worker threads of their own, as the recorder waits for the disk
//! when too much is on its way: readers never wait behind that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tonic::Streaming;

use super::access::Grant;
use super::counters::Counters;
use super::model::AppendRows;
use super::outlet::{Outlet, Over};
use super::proto;
use super::proto::append_response::Event;
use super::status::{Reporter, error_of, report, writer_failed};
use super::workers::Workers;
use crate::error::{Error, ErrorKind, Result};
use crate::limit;
use crate::store::Recorder;

/// How long a session of a server that stops waits for the rows it has taken to become durable.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What a server appends with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Appends {
    recorder: Recorder,
    /// The watermark, as the recorder tells it.
    durable: watch::Receiver<u64>,
    workers: Workers,
    pub(super) sessions: Arc<Semaphore>,
}

impl Appends {
    /// Appends with `recorder`, on so many threads.
    pub(super) fn new(recorder: Recorder, threads: usize) -> Self {
        let (teller, durable) = watch::channel(0);
        // Also if it is the same as before: sessions look then whether there will be another.
        recorder.watch(Box::new(move |watermark| {
            teller.send_replace(watermark);
        }));
        let sessions = Arc::new(Semaphore::new(limit::RPC_APPENDS_MAX));
        Self { recorder, durable, workers: Workers::new(threads), sessions }
    }
}

/// An append session being served.
pub(super) struct AppendSession {
    appends: Appends,
    grant: Arc<Grant>,
    outlet: Outlet<proto::AppendResponse>,
    counters: Arc<Counters>,
    reporter: Option<Reporter>,
    /// Accepted requests that are not durable: sequence and id.
    waiting: VecDeque<(u64, u64)>,
}

impl AppendSession {
    /// A session of the holder of `grant` that answers into `outlet`.
    pub(super) fn new(
        appends: Appends,
        grant: Arc<Grant>,
        outlet: Outlet<proto::AppendResponse>,
        counters: Arc<Counters>,
        reporter: Option<Reporter>,
    ) -> Self {
        Self { appends, grant, outlet, counters, reporter, waiting: VecDeque::new() }
    }

    /// Takes requests until the client has ended them and all is durable, or the session fails.
    pub(super) async fn run(mut self, mut requests: Streaming<proto::AppendRequest>) -> Over {
        match self.serve(&mut requests).await {
            Ok(()) => Over,
            Err(over) => {
                drop(tokio::time::timeout(DRAIN_TIMEOUT, self.drain()).await);
                over
            }
        }
    }

    async fn serve(&mut self, requests: &mut Streaming<proto::AppendRequest>) -> Result<(), Over> {
        let mut ended = false;
        while !(ended && self.waiting.is_empty()) {
            let reads = !ended && self.waiting.len() < limit::RPC_APPENDS_WAITING_MAX;
            tokio::select! {
                biased;
                over = self.outlet.over() => return Err(over),
                _ = self.appends.durable.changed() => self.tell_durable().await?,
                request = requests.message(), if reads => match request {
                    Ok(Some(request)) => self.append(request).await?,
                    Ok(None) => ended = true,
                    Err(status) => return Err(self.outlet.end(status)),
                }
            }
        }
        Ok(())
    }

    async fn append(&mut self, request: proto::AppendRequest) -> Result<(), Over> {
        let id = request.id;
        let (recorder, grant) = (self.appends.recorder.clone(), Arc::clone(&self.grant));
        let appended = self.appends.workers.run(move || {
            let AppendRows { key, batch } = request.try_into()?;
            grant.check_appends(&key)?;
            let seq = recorder.append(&key, &batch).map_err(|error| match error.kind() {
                ErrorKind::Full => error.context("the disk of the server is full"),
                _ => error,
            })?;
            Ok((seq, batch.rows() as u64))
        });
        let answer = match appended.await {
            Ok((seq, rows)) => {
                self.waiting.push_back((seq, id));
                Event::Accepted(proto::AppendAccepted { id, seq, rows })
            }
            Err(error) => Event::Refused(self.refused(id, &error)?),
        };
        self.outlet.send(proto::AppendResponse { event: Some(answer) }).await
    }

    /// What a request is answered that was not taken, or the end if no other will be.
    fn refused(&mut self, id: u64, error: &Error) -> Result<proto::AppendRefused, Over> {
        if matches!(error.kind(), ErrorKind::Poisoned | ErrorKind::Cancelled | ErrorKind::Io) {
            return Err(self.fail(error));
        }
        let status = report(error, &self.counters, self.reporter.as_ref());
        Ok(proto::AppendRefused {
            id,
            code: status.code().into(),
            kind: error_of(&status).kind().name().to_owned(),
            text: status.message().to_owned(),
        })
    }

    /// Ends the session: nothing more will become durable.
    fn fail(&mut self, error: &Error) -> Over {
        self.waiting.clear();
        self.outlet.end(writer_failed(error, &self.counters, self.reporter.as_ref()))
    }

    /// Tells what has become durable, and sees whether more can.
    async fn tell_durable(&mut self) -> Result<(), Over> {
        if let Some(durable) = self.advance() {
            self.outlet.send(durable).await?;
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let recorder = self.appends.recorder.clone();
        let checked = self.appends.workers.run(move || recorder.check()).await;
        checked.map_err(|error| self.fail(&error))
    }

    /// Forgets the requests that have become durable, and names the last of them.
    fn advance(&mut self) -> Option<proto::AppendResponse> {
        let seq = *self.appends.durable.borrow_and_update();
        let mut last = None;
        while let Some((_, id)) = self.waiting.pop_front_if(|(waits_for, _)| *waits_for <= seq) {
            last = Some(id);
        }
        let durable = proto::AppendDurable { id: last?, seq };
        Some(proto::AppendResponse { event: Some(Event::Durable(durable)) })
    }

    /// The server stops: its client hears of what becomes durable all the same, if it has room.
    async fn drain(&mut self) {
        while !self.waiting.is_empty() && !self.outlet.is_gone() {
            if let Some(durable) = self.advance() {
                self.outlet.offer(durable);
            } else if self.appends.durable.changed().await.is_err() {
                return;
            }
        }
    }
}
