//! The answers of `tickreel.v1`: where requests meet the engine.
//!
//! The only file that knows both worlds: requests come on the async runtime, are checked, and their
//! work goes to worker threads as a whole.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Request, Response, Status, Streaming};

use super::access::{Grant, Guarded};
use super::append::{AppendSession, Appends};
use super::counters::Counters;
use super::model::{
    BookQuery, CoverageQuery, JoinQuery, ProtocolError, ReplayQuery, SampleQuery, ScanQuery,
    ServerStats, coverage_answer, summaries_answer,
};
use super::model::{InstrumentPage, InstrumentQuery};
use super::outlet::{Answers, Ending, outlet};
use super::pacer::Pacer;
use super::player::Player;
use super::proto;
use super::proto::tickreel_server::Tickreel;
use super::scans::{Producer, SampleProducer, ScanProducer, pump};
use super::session::{Session, Surroundings};
use super::sessions::{Joined, Sessions};
use super::status::{Reporter, only_reads, report, too_many_open};
use super::workers::Workers;
use crate::error::{Error, Result};
use crate::limit;
use crate::replay::{Coverage, Gap};
use crate::store::{Recorder, Snapshot, Store, StreamInfo};

/// The service for one store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    latest: Latest,
    /// For single answers.
    singles: Workers,
    /// For the parts of streams.
    parts: Workers,
    streams: Arc<Semaphore>,
    replays: Arc<Semaphore>,
    /// `None`: the server only reads.
    appends: Option<Appends>,
    sessions: Sessions,
    counters: Arc<Counters>,
    /// Wakes paced replays.
    pacer: Pacer,
    reporter: Option<Reporter>,
    stop: watch::Receiver<bool>,
    started: Instant,
}

impl Service {
    /// A service that uses `threads` worker threads for single answers, as many for streams and, if
    /// it has a `recorder`, for appending with it, and ends its streams when `stop` says so.
    pub(super) fn new(
        store: Store,
        threads: usize,
        recorder: Option<Recorder>,
        reporter: Option<Reporter>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let inner = Inner {
            latest: Latest { store, held: Mutex::default() },
            singles: Workers::new(threads),
            parts: Workers::new(threads),
            streams: Arc::new(Semaphore::new(limit::RPC_STREAMS_MAX)),
            replays: Arc::new(Semaphore::new(limit::RPC_REPLAYS_MAX)),
            appends: recorder.map(|recorder| Appends::new(recorder, threads)),
            sessions: Sessions::default(),
            counters: Arc::default(),
            pacer: Pacer::default(),
            reporter,
            stop,
            started: Instant::now(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Lets go of a generation that is no longer the newest, so that its files can be removed.
    pub(super) async fn let_go(&self) {
        let inner = self.inner.clone();
        let checked = self.inner.singles.run(move || {
            inner.latest.let_go();
            Ok(())
        });
        // It cannot fail; at a stop there is nothing left to do.
        drop(checked.await);
    }

    /// What the server counts.
    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.inner.counters)
    }

    fn failed(&self, grant: &Grant, error: Error) -> Status {
        report(&grant.veil(error), &self.inner.counters, self.inner.reporter.as_ref())
    }

    /// Runs `work` on the newest snapshot, in time.
    async fn ask<T: Send + 'static>(
        &self,
        grant: &Grant,
        workers: &Workers,
        work: impl FnOnce(Snapshot) -> Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let inner = self.inner.clone();
        let answer = workers.run(move || work(inner.latest.snapshot()?));
        let limit = Duration::from_millis(limit::RPC_UNARY_MS_MAX);
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|error| self.failed(grant, error)),
            Err(_) => {
                self.inner.counters.failures.add(1);
                let text = format!("no answer within {} s", limit.as_secs());
                Err(Status::deadline_exceeded(text))
            }
        }
    }

    /// The question, if it is one and `grant` opens it.
    fn open<Q: Guarded>(&self, grant: &Grant, query: Result<Q>) -> Result<Q, Status> {
        self.inner.counters.requests.add(1);
        let opened = query.and_then(|mut query| {
            query.guard(grant)?;
            Ok(query)
        });
        opened.map_err(|error| self.failed(grant, error))
    }

    /// One answer.
    pub(super) async fn single<Q: Guarded + Send + 'static, T: Send + 'static>(
        &self,
        grant: &Grant,
        query: Result<Q>,
        work: impl FnOnce(&Snapshot, Q) -> Result<T> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let query = self.open(grant, query)?;
        let work = move |snapshot: Snapshot| work(&snapshot, query);
        self.ask(grant, &self.inner.singles, work).await.map(Response::new)
    }

    /// Makes a producer and sends what it makes.
    pub(super) async fn stream<Q: Guarded + Send + 'static, P: Producer>(
        &self,
        grant: &Grant,
        query: Result<Q>,
        open: impl FnOnce(&Snapshot, Q) -> Result<P> + Send + 'static,
    ) -> Result<Response<Answers<P::Answer>>, Status> {
        let query = self.open(grant, query)?;
        let permits = self.stream_permits(grant)?;
        let open = move |snapshot: Snapshot| open(&snapshot, query);
        let opened = self.ask(grant, &self.inner.parts, open).await?;
        let (outlet, answers) = outlet(self.ending(grant), permits);
        let Inner { parts, counters, reporter, .. } = &*self.inner;
        let task = pump(opened, outlet, parts.clone(), counters.clone(), reporter.clone());
        tokio::spawn(task);
        Ok(Response::new(answers))
    }

    fn ending(&self, grant: &Grant) -> Ending {
        Ending::new(&self.inner.stop, grant)
    }

    /// Room for one more stream, of its token's and of the server's.
    fn stream_permits(&self, grant: &Grant) -> Result<Vec<OwnedSemaphorePermit>, Status> {
        Ok(vec![
            self.permit(&self.inner.streams, "streams", limit::RPC_STREAMS_MAX)?,
            self.own_permit(&grant.streams, "streams", grant.open_max().0)?,
        ])
    }

    /// As [`Service::stream_permits`], for one more replay.
    fn replay_permits(&self, grant: &Grant) -> Result<Vec<OwnedSemaphorePermit>, Status> {
        let mut permits = self.stream_permits(grant)?;
        permits.push(self.permit(&self.inner.replays, "replays", limit::RPC_REPLAYS_MAX)?);
        permits.push(self.own_permit(&grant.replays, "replays", grant.open_max().1)?);
        Ok(permits)
    }

    fn permit(
        &self,
        permits: &Arc<Semaphore>,
        what: &str,
        max: usize,
    ) -> Result<OwnedSemaphorePermit, Status> {
        permits.clone().try_acquire_owned().map_err(|_| {
            let what = format!("{what} open on this server:");
            self.failed(&Grant::everything(), Error::limit(&what, max + 1, max))
        })
    }

    fn own_permit(
        &self,
        permits: &Arc<Semaphore>,
        what: &str,
        max: usize,
    ) -> Result<OwnedSemaphorePermit, Status> {
        permits.clone().try_acquire_owned().map_err(|_| {
            self.inner.counters.failures.add(1);
            too_many_open(what, max)
        })
    }

    fn stats(&self, snapshot: &Snapshot, grant: &Grant) -> ServerStats {
        let infos = snapshot.stream_infos();
        let Inner { counters, started, streams, .. } = &*self.inner;
        let open = limit::RPC_STREAMS_MAX.saturating_sub(streams.available_permits());
        ServerStats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            generation: snapshot.generation(),
            instruments: snapshot.instruments().len() as u64,
            streams: infos.len() as u64,
            segments: infos.iter().map(|info| info.segments as u64).sum(),
            rows: infos.iter().map(|info| info.rows).sum(),
            bytes: infos.iter().map(|info| info.bytes).sum(),
            requests: counters.requests.get(),
            failures: counters.failures.get(),
            streams_open: open as u64,
            rows_sent: counters.rows_sent.get(),
            bytes_sent: counters.bytes_sent.get(),
            sessions: (self.inner.sessions)
                .list(|query, end, played| grant.check_session(query, end, played).is_ok()),
        }
    }
}

#[tonic::async_trait]
impl Tickreel for Service {
    async fn list_instruments(
        &self,
        request: Request<proto::ListInstrumentsRequest>,
    ) -> Result<Response<proto::ListInstrumentsResponse>, Status> {
        let grant = grant_of(&request)?;
        let page = InstrumentPage::try_from(request.into_inner());
        let shown = Arc::clone(&grant);
        self.single(&grant, page, move |snapshot, page| Ok(list(snapshot, &shown, &page))).await
    }

    async fn get_coverage(
        &self,
        request: Request<proto::GetCoverageRequest>,
    ) -> Result<Response<proto::GetCoverageResponse>, Status> {
        let grant = grant_of(&request)?;
        let request = request.into_inner();
        let query = CoverageQuery::try_from(&request).map(|query| (query, request.gaps_skip));
        let shown = Arc::clone(&grant);
        self.single(&grant, query, move |snapshot, (query, skip)| {
            let mut found = snapshot.coverage(&query.instrument)?;
            shown.keep_open(&mut found)?;
            found.retain(|c| query.kinds.is_empty() || query.kinds.contains(&c.key.kind));
            found.iter_mut().for_each(|coverage| keep_gaps(coverage, &query));
            let streams = found.iter().map(|coverage| coverage_answer(coverage, skip));
            Ok(proto::GetCoverageResponse { streams: streams.collect() })
        })
        .await
    }

    async fn get_book(
        &self,
        request: Request<proto::GetBookRequest>,
    ) -> Result<Response<proto::Book>, Status> {
        let grant = grant_of(&request)?;
        self.single(&grant, BookQuery::try_from(request.into_inner()), |snapshot, query| {
            let BookQuery { instrument, at, depth } = query;
            let mut books = snapshot.books(&instrument)?;
            books.at(at)?;
            let digits = books.digits();
            Ok(proto::Book::of(&instrument, at, books.at(at)?, digits, depth))
        })
        .await
    }

    type SampleBooksStream = Answers<proto::SampleBooksResponse>;

    async fn sample_books(
        &self,
        request: Request<proto::SampleBooksRequest>,
    ) -> Result<Response<Self::SampleBooksStream>, Status> {
        let grant = grant_of(&request)?;
        let query = SampleQuery::try_from(request.into_inner());
        self.stream(&grant, query, |snapshot, query| SampleProducer::open(snapshot, &query)).await
    }

    type ScanStream = Answers<proto::ScanResponse>;

    async fn scan(
        &self,
        request: Request<proto::ScanRequest>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let grant = grant_of(&request)?;
        let query = ScanQuery::try_from(request.into_inner());
        let counters = self.counters();
        let open = |snapshot: &Snapshot, query| ScanProducer::open(snapshot, &query, counters);
        self.stream(&grant, query, open).await
    }

    type ReplayStream = Answers<proto::ReplayResponse>;

    async fn replay(
        &self,
        request: Request<Streaming<proto::ReplayRequest>>,
    ) -> Result<Response<Self::ReplayStream>, Status> {
        let grant = grant_of(&request)?;
        let mut commands = request.into_inner();
        let first = self.open(&grant, first_command(&mut commands).await?)?;
        let permits = self.replay_permits(&grant)?;
        let joined = matches!(first, First::Join(_));
        let (sessions, shown) = (self.inner.sessions.clone(), Arc::clone(&grant));
        let (player, extent, query, member, heard) = self
            .ask(&grant, &self.inner.parts, move |snapshot| match first {
                First::Open(mut query) => {
                    shown.name_kinds(&mut query, &snapshot)?;
                    let recv_end = shown.recv_end(&query);
                    let player = Player::open(&snapshot, &query, recv_end)?;
                    let extent = player.extent()?;
                    let member = sessions.open(&player, extent, &query)?;
                    Ok((player, extent, *query, member, None))
                }
                First::Join(join) => {
                    let joined = sessions.join(&join.session, &join.resume_cursor)?;
                    let Joined { member, mark, heard } = joined;
                    let (snapshot, recv_end) = (member.snapshot(), member.recv_end());
                    shown.check_session(member.query(), recv_end, snapshot)?;
                    let query = join.of(member.query());
                    let mut player = Player::open(snapshot, &query, recv_end)?;
                    mark.map_or(Ok(()), |mark| player.go_to(&mark))?;
                    let extent = player.extent()?;
                    Ok((player, extent, query, member, heard))
                }
            })
            .await?;
        let mut opened = player.opened(extent);
        opened.session = query.session.clone().unwrap_or_default();
        let (outlet, answers) = outlet(self.ending(&grant), permits);
        let Inner { parts, counters, pacer, reporter, .. } = &*self.inner;
        let around = Surroundings {
            workers: parts.clone(),
            counters: counters.clone(),
            pacer: pacer.clone(),
            reporter: reporter.clone(),
        };
        let session = Session::new(player, extent, query, (member, heard), outlet, around);
        tokio::spawn(session.run(opened, joined, commands));
        Ok(Response::new(answers))
    }

    type AppendStream = Answers<proto::AppendResponse>;

    async fn append(
        &self,
        request: Request<Streaming<proto::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.inner.counters.requests.add(1);
        let grant = grant_of(&request)?;
        let Inner { appends, counters, reporter, .. } = &*self.inner;
        let Some(appends) = appends.clone() else {
            counters.failures.add(1);
            return Err(only_reads());
        };
        let permits = vec![
            self.permit(&appends.sessions, "append sessions", limit::RPC_APPENDS_MAX)?,
            self.own_permit(&grant.streams, "streams", grant.open_max().0)?,
        ];
        let (outlet, answers) = outlet(self.ending(&grant), permits);
        let (counters, reporter) = (counters.clone(), reporter.clone());
        let session = AppendSession::new(appends, grant, outlet, counters, reporter);
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(answers))
    }

    async fn get_stats(
        &self,
        request: Request<proto::GetStatsRequest>,
    ) -> Result<Response<proto::GetStatsResponse>, Status> {
        let grant = grant_of(&request)?;
        let (service, shown) = (self.clone(), Arc::clone(&grant));
        self.single(&grant, Ok(()), move |snapshot, ()| Ok(service.stats(snapshot, &shown).into()))
            .await
    }
}

/// What is open to whom a request comes from.
pub(super) fn grant_of<T>(request: &Request<T>) -> Result<Arc<Grant>, Status> {
    let grant = request.extensions().get::<Arc<Grant>>();
    grant.cloned().ok_or_else(|| Status::internal("a request that did not pass the gate"))
}

/// How a client comes to a replay.
enum First {
    Open(Box<ReplayQuery>),
    Join(JoinQuery),
}

/// Whether a session may be joined is known when it is found, see [`Grant::check_session`].
impl Guarded for First {
    fn guard(&mut self, grant: &Grant) -> Result<()> {
        match self {
            Self::Open(query) => query.guard(grant),
            Self::Join(_) => Ok(()),
        }
    }
}

/// The opening of a replay or the joining of one, which must come first and soon.
async fn first_command(
    commands: &mut Streaming<proto::ReplayRequest>,
) -> Result<Result<First>, Status> {
    use proto::replay_request::Command;
    let limit = Duration::from_millis(limit::RPC_UNARY_MS_MAX);
    let first = tokio::time::timeout(limit, commands.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no open within 10 s"))??;
    Ok(match first.and_then(|request| request.command) {
        Some(Command::Open(open)) => ReplayQuery::try_from(open).map(Box::new).map(First::Open),
        Some(Command::Join(join)) => JoinQuery::try_from(join).map(First::Join),
        _ => Err(ProtocolError::new("open", "expected first").into()),
    })
}

/// One page of instruments.
fn list(
    snapshot: &Snapshot,
    grant: &Grant,
    page: &InstrumentPage,
) -> proto::ListInstrumentsResponse {
    let InstrumentPage { query, size, after } = page;
    let mut infos = snapshot.stream_infos();
    infos = infos.into_iter().filter_map(|info| grant.shows(info)).collect();
    infos.retain(|info| {
        let new = after.as_ref().is_none_or(|after| info.key.instrument > *after);
        new && takes(query, info)
    });
    let mut listed = summaries_answer(&infos);
    let more = listed.len() > *size;
    listed.truncate(*size);
    let last = listed.last().filter(|_| more);
    proto::ListInstrumentsResponse {
        next_page_token: last.map_or_else(String::new, |last| last.instrument.clone()),
        instruments: listed,
        generation: snapshot.generation(),
    }
}

fn takes(query: &InstrumentQuery, info: &StreamInfo) -> bool {
    let kind = query.kinds.is_empty() || query.kinds.contains(&info.key.kind);
    kind && query.takes(&info.key.instrument)
}

/// Leaves the gaps that reach into the range asked for.
fn keep_gaps(coverage: &mut Coverage, query: &CoverageQuery) {
    let reaches = |gap: &Gap| {
        let lasts = gap.until.is_none_or(|until| until > query.range.start);
        lasts && gap.since < query.range.end
    };
    coverage.gaps.retain(reaches);
}

/// The newest snapshot of a store. It is held, so that its manifest is not read for every request.
struct Latest {
    store: Store,
    held: Mutex<Option<Snapshot>>,
}

impl Latest {
    fn snapshot(&self) -> Result<Snapshot> {
        let snapshot = self.store.snapshot()?;
        *self.held() = Some(snapshot.clone());
        Ok(snapshot)
    }

    fn let_go(&self) {
        let held = self.held().clone();
        if held.is_some_and(|snapshot| !snapshot.is_current().unwrap_or(false)) {
            *self.held() = None;
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Snapshot>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
