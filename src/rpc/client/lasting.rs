//! A replay that outlives its connection: it is opened again where it stopped.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::ask::Client;
use super::frame::{BookFrame, Frame};
use super::session::{Controls, Event, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{ContentHash, Kind};
use crate::replay::StreamTotal;
use crate::rpc::model::{
    Command, End, EndReason, JoinQuery, OpenedStream, PlayState, ReplayQuery, SessionState, Speed,
};

/// How patiently a lost connection is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Before the first attempt; doubles with each that fails.
    pub first: Duration,
    /// Between two attempts at most.
    pub longest: Duration,
    /// Attempts without success before the error is given out.
    pub attempts: u32,
}

impl Default for Patience {
    /// From 50 ms doubling to 5 s, for about three minutes.
    fn default() -> Self {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(5));
        Self { first, longest, attempts: 40 }
    }
}

/// A replay that goes on when its connection was lost: no row is lost, none comes twice. Counts and
/// hashes of the end are those of all connections together.
#[derive(Debug)]
pub struct LastingSession {
    client: Client,
    session: Session,
    patience: Patience,
    /// What to open: as the first time, with what commands changed since. None if it was joined.
    query: Option<ReplayQuery>,
    /// How to join it again; without a name it cannot be.
    join: JoinQuery,
    /// After all that came, and since which seek.
    cursor: Bytes,
    epoch: u64,
    /// Commands that the server has answered on this connection.
    commands: u64,
    tally: Tally,
    openings: Openings,
    ended: bool,
    lost: Option<Lost>,
}

/// A connection that is being made again; kept, for the future that does so may be dropped.
#[derive(Debug)]
struct Lost {
    /// Why it was lost, or why the last attempt failed.
    error: Error,
    attempts_left: u32,
    /// When the next attempt is made, and how long after the one before.
    at: Instant,
    wait: Duration,
}

impl Lost {
    fn new(error: Error, patience: Patience) -> Self {
        let wait = patience.first;
        Self { error, attempts_left: patience.attempts, at: Instant::now() + wait, wait }
    }

    /// An attempt failed.
    fn fail(&mut self, error: Error, patience: Patience) {
        self.error = error;
        self.wait = self.wait.saturating_mul(2).min(patience.longest);
        self.at = Instant::now() + self.wait;
    }
}

/// The books that come at the opening and after each seek or lap: one of each book stream.
#[derive(Debug)]
struct Openings {
    /// Of a whole set.
    all: usize,
    /// Of the newest set, still to be told.
    due: usize,
    /// Told before, and to come again on a new connection.
    again: usize,
}

impl Openings {
    fn new(depth: Option<usize>, streams: &[OpenedStream]) -> Self {
        let books = streams.iter().filter(|stream| stream.key.kind == Kind::Book).count();
        let all = if depth == Some(0) { 0 } else { books };
        Self { all, due: all, again: 0 }
    }

    fn begin_anew(&mut self) {
        (self.due, self.again) = (self.all, 0);
    }

    /// On a new connection the newest set comes from its first book on.
    fn reconnected(&mut self) {
        self.again = self.all - self.due;
    }

    /// Whether the book that came is to be told.
    fn take(&mut self) -> bool {
        let is_new = self.again == 0;
        let left = if is_new { &mut self.due } else { &mut self.again };
        *left = left.saturating_sub(1);
        is_new
    }
}

/// Rows and hashes since the opening, the last seek or lap.
#[derive(Debug)]
struct Tally {
    total: ContentHash,
    streams: Vec<ContentHash>,
    rows: u64,
    /// Rows came by an earlier connection.
    carried: bool,
}

impl Tally {
    fn new(streams: usize) -> Self {
        let streams = vec![ContentHash::EMPTY; streams];
        Self { total: ContentHash::EMPTY, streams, rows: 0, carried: false }
    }

    fn add(&mut self, frame: &Frame, streams: &[OpenedStream], hash: bool) {
        self.rows += frame.rows;
        for step in frame.steps() {
            if !hash {
                let rows = step.messages.map(|message| step.batch.message_rows(message).len());
                self.count(step.stream, rows.sum());
                continue;
            }
            let opened = streams.get(step.stream);
            if let (Some(opened), Some(sum)) = (opened, self.streams.get_mut(step.stream)) {
                sum.update(step.batch, step.messages.clone());
                let key = ContentHash::key_of(&opened.key);
                self.total.update_keyed(step.batch, step.messages, key);
            }
        }
    }

    fn add_books(&mut self, frame: &BookFrame) {
        self.rows += frame.rows;
        for &(stream, rows) in &frame.runs {
            self.count(stream, rows);
        }
    }

    /// Rows without a hash.
    fn count(&mut self, stream: usize, rows: usize) {
        if let Some(sum) = self.streams.get_mut(stream) {
            *sum = ContentHash::from_parts(0, sum.rows() + rows as u64);
        }
    }

    /// Gives an end the figures of all connections.
    fn complete(&self, end: &mut End, streams: &[OpenedStream]) {
        if self.carried {
            end.rows = self.rows;
            end.hash = end.hash.map(|_| self.total);
            let totals = streams.iter().zip(&self.streams);
            let total = |(stream, hash): (&OpenedStream, &ContentHash)| StreamTotal {
                key: stream.key.clone(),
                hash: *hash,
            };
            end.streams = totals.map(total).collect();
        }
    }
}

impl Client {
    /// Opens a replay that goes on after its connection was lost.
    ///
    /// One with a name is joined again if it has other members, who play on meanwhile; after a
    /// seek of theirs it goes on where they are, which a state with another `epoch` tells.
    ///
    /// # Errors
    /// As [`Client::replay`].
    pub async fn replay_for_good(
        &self,
        query: &ReplayQuery,
        patience: Patience,
    ) -> Result<LastingSession> {
        let session = self.replay(query).await?;
        let join = JoinQuery {
            opening_depth: query.opening_depth,
            hash: query.hash,
            form: query.form,
            decimals: query.decimals,
            frame_rows_max: query.frame_rows_max,
            ..JoinQuery::new(query.session.as_deref().unwrap_or_default())
        };
        let lasting = LastingSession::new(self, session, join, patience);
        Ok(LastingSession { query: Some(query.clone()), ..lasting })
    }

    /// Joins the session of a name, and does so again after the connection was lost, as
    /// [`Client::replay_for_good`]. If nobody is in it any more, waits until it is opened again.
    ///
    /// # Errors
    /// As [`Client::join`].
    pub async fn join_for_good(
        &self,
        query: &JoinQuery,
        patience: Patience,
    ) -> Result<LastingSession> {
        let session = self.join(query).await?;
        Ok(LastingSession::new(self, session, query.clone(), patience))
    }
}

impl LastingSession {
    fn new(client: &Client, session: Session, join: JoinQuery, patience: Patience) -> Self {
        session.controls().link().unanswered = Some(VecDeque::new());
        Self {
            client: client.clone(),
            tally: Tally::new(session.streams().len()),
            openings: Openings::new(join.opening_depth, session.streams()),
            cursor: session.cursor().clone(),
            epoch: session.epoch(),
            session,
            patience,
            query: None,
            join,
            commands: 0,
            ended: false,
            lost: None,
        }
    }

    /// The session on the connection there is now.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The controls. Commands that a lost connection left unanswered are sent again; instead of a
    /// step, which may have been played in part, a pause.
    #[must_use]
    pub fn controls(&self) -> Controls {
        self.session.controls()
    }

    /// The next event; `None` when the session is over. Losing the future between two polls loses
    /// no event, and attempts to connect go on with the next future.
    ///
    /// # Errors
    /// As [`Session::next`], where it is not a lost connection; the error of the last attempt if
    /// the connection cannot be made again.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        while self.lost.is_none() {
            match self.session.next().await {
                Ok(Some(event)) => {
                    if let Some(event) = self.hear(event) {
                        return Ok(Some(event));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) if self.ended || !is_lost(&error) => return Err(error),
                Err(error) => self.lost = Some(Lost::new(error, self.patience)),
            }
        }
        self.reconnect().await
    }

    /// Takes note of what to go on from; `None` if it was told before.
    fn hear(&mut self, mut event: Event) -> Option<Event> {
        match &mut event {
            Event::Frame(frame) => {
                self.tally.add(frame, self.session.streams(), self.join.hash);
                self.cursor = frame.cursor.clone();
            }
            Event::Books(frame) => {
                self.tally.add_books(frame);
                self.cursor = frame.cursor.clone();
            }
            Event::State(state) => self.hear_state(state),
            Event::Refused(_) => {
                self.commands += 1;
                self.answered();
            }
            Event::Progress(progress) => self.cursor = progress.cursor.clone(),
            Event::End(end) => self.hear_end(end),
            Event::OpeningBook(_) => return self.openings.take().then_some(event),
            Event::Gap(_) | Event::Reconnected => {}
        }
        Some(event)
    }

    fn hear_end(&mut self, end: &mut End) {
        self.tally.complete(end, self.session.streams());
        self.ended = end.reason != EndReason::Looped;
        self.cursor = end.cursor.clone();
        if !self.ended {
            self.begin_anew();
        }
    }

    /// After a seek or a lap.
    fn begin_anew(&mut self) {
        self.tally = Tally::new(self.session.streams().len());
        self.openings.begin_anew();
    }

    fn hear_state(&mut self, state: &SessionState) {
        self.cursor = state.cursor.clone();
        if state.epoch != self.epoch {
            (self.epoch, self.ended) = (state.epoch, false);
            self.begin_anew();
        }
        // A state is also told when a step is done or a condition met.
        let counts = state.commands > self.commands;
        self.commands = self.commands.max(state.commands);
        let answered = if counts && !state.by_other { self.answered() } else { None };
        let Some(query) = &mut self.query else { return };
        if let Ok(speed) = Speed::times(state.speed) {
            query.speed = speed;
        }
        let still = state.state != PlayState::Playing;
        query.paused = match answered {
            Some(Command::Pause | Command::Step(_)) => true,
            Some(Command::Resume | Command::Seek(_)) => still,
            // What is said to play may be a step, and stands still after it.
            _ => still || (query.paused && !state.by_other),
        };
        if let Some(Command::SetStops(stops)) = answered {
            query.stops = stops;
        }
    }

    fn answered(&self) -> Option<Command> {
        self.session.controls().link().unanswered.as_mut().and_then(VecDeque::pop_front)
    }

    /// Goes on making the connection again; nothing of it is lost with the future.
    async fn reconnect(&mut self) -> Result<Option<Event>> {
        while let Some(lost) = self.lost.as_mut().filter(|lost| lost.attempts_left > 0) {
            tokio::time::sleep_until(lost.at).await;
            lost.attempts_left -= 1;
            let reopened = self.reopen().await;
            let passes = reopened.as_ref().err().is_some_and(|error| self.may_pass(error));
            match (reopened, &mut self.lost) {
                (Err(error), Some(lost)) if passes => lost.fail(error, self.patience),
                (reopened, _) => {
                    self.lost = None;
                    return reopened.map(|()| Some(Event::Reconnected));
                }
            }
        }
        match self.lost.take() {
            Some(lost) => Err(lost.error.context("the connection was lost")),
            None => Ok(None),
        }
    }

    async fn reopen(&mut self) -> Result<()> {
        let client = self.client.again().await?;
        let (session, joined) = self.open_again(&client).await?;
        self.session.move_to(session).await?;
        self.client = client;
        self.commands = 0;
        let epoch = std::mem::replace(&mut self.epoch, self.session.epoch());
        self.cursor = self.session.cursor().clone();
        if joined && epoch != self.epoch {
            // Others went elsewhere.
            self.begin_anew();
        } else {
            self.tally.carried = true;
            self.openings.reconnected();
        }
        Ok(())
    }

    /// What goes on after the cursor, and whether that was joined.
    async fn open_again(&self, client: &Client) -> Result<(Session, bool)> {
        let resume_cursor = || self.cursor.clone();
        let open = self.query.as_ref();
        let open =
            open.map(|query| ReplayQuery { resume_cursor: resume_cursor(), ..query.clone() });
        if let Some(query) = open.as_ref().filter(|query| query.session.is_none()) {
            return client.replay(query).await.map(|session| (session, false));
        }
        let join = JoinQuery { resume_cursor: resume_cursor(), ..self.join.clone() };
        match (client.join(&join).await, open) {
            (Err(error), Some(query)) if error.kind() == ErrorKind::NotFound => {
                client.replay(&query).await.map(|session| (session, false))
            }
            (joined, _) => joined.map(|session| (session, true)),
        }
    }

    /// Whether a replay that could be opened once may be opened again a while after this error: a
    /// server counts the old connection until it notices that it is gone; of several members that
    /// were lost, one opens the session and the others join it.
    fn may_pass(&self, error: &Error) -> bool {
        is_lost(error)
            || match error.kind() {
                ErrorKind::Limit => true,
                ErrorKind::NotFound => !self.join.session.is_empty(),
                ErrorKind::Invalid => error.text().starts_with("session: "),
                _ => false,
            }
    }
}

/// Whether an error says that the server is not there, or not any more.
fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Remote | ErrorKind::Cancelled)
}
