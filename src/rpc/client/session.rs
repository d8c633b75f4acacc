//! A replay on a server: events to read and controls to use meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::{Code, Streaming};

use super::frame::{BookFrame, Content, Frame, FrameReader};
use crate::error::{Error, ErrorKind, Result};
use crate::limit;
use crate::quantity::TsNs;
use crate::rpc::model::{
    BookAnswer, Command, End, GapNotice, OpenedStream, Progress, RowForm, SessionState, Speed,
    StepAmount, Stops,
};
use crate::rpc::proto;
use crate::rpc::proto::replay_response::Event as Sent;
use crate::rpc::status::{error_of, kind_of};

/// What a replay tells.
#[derive(Debug)]
pub enum Event {
    /// The book of an instrument before the first message, or after a seek.
    OpeningBook(BookAnswer),
    /// Rows.
    Frame(Frame),
    /// Books or metrics, if these were asked for.
    Books(BookFrame),
    /// A gap row was in the frame before.
    Gap(GapNotice),
    /// How far it is.
    Progress(Progress),
    /// A command or a step was done, a condition was met, or another member gave a command.
    State(SessionState),
    /// A command was refused; the session goes on as before.
    Refused(Error),
    /// Everything was played, or the session was closed.
    End(End),
    /// The connection was lost and made again; rows go on without a loss. A step that was not
    /// finished is forgotten, unless other members of the session did it. Only in a
    /// [`Client::replay_for_good`](super::Client::replay_for_good).
    Reconnected,
}

/// An open replay. Dropping it ends the session, unless its [`Controls`] live on.
#[derive(Debug)]
pub struct Session {
    controls: Controls,
    answers: Streaming<proto::ReplayResponse>,
    frames: FrameReader,
    streams: Vec<OpenedStream>,
    generation: u64,
    rows_at_most: u64,
    span: (TsNs, TsNs),
    name: Option<String>,
    /// Where it begins, and since which seek.
    cursor: Bytes,
    epoch: u64,
}

impl Session {
    /// Reads the opening.
    pub(super) async fn begin(
        sender: mpsc::Sender<proto::ReplayRequest>,
        mut answers: Streaming<proto::ReplayResponse>,
        form: RowForm,
    ) -> Result<Self> {
        let first = answers.message().await.map_err(|status| error_of(&status))?;
        let Some(Sent::Opened(opened)) = first.and_then(|answer| answer.event) else {
            return Err(Error::new(ErrorKind::Remote, "the server did not open the replay"));
        };
        if opened.streams.len() > limit::REQUEST_STREAMS_MAX {
            let (found, max) = (opened.streams.len(), limit::REQUEST_STREAMS_MAX);
            return Err(Error::limit("streams of a replay:", found, max));
        }
        let streams = opened.streams.into_iter().map(OpenedStream::try_from);
        let streams = streams.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            controls: Controls::new(sender),
            answers,
            frames: FrameReader::new(&streams, form, opened.books)?,
            streams,
            generation: opened.generation,
            rows_at_most: opened.rows_at_most,
            span: (TsNs(opened.first_ns), TsNs(opened.last_ns)),
            name: Some(opened.session).filter(|name| !name.is_empty()),
            cursor: opened.cursor,
            epoch: opened.epoch,
        })
    }

    /// The streams played, in the order that breaks ties; frames count them from 0.
    #[must_use]
    pub fn streams(&self) -> &[OpenedStream] {
        &self.streams
    }

    /// Number of the manifest that is played.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Rows of the range, whole files counted where it cuts them.
    #[must_use]
    pub fn rows_at_most(&self) -> u64 {
        self.rows_at_most
    }

    /// The range, cut to where rows are: times of the first and the last.
    #[must_use]
    pub fn span(&self) -> (TsNs, TsNs) {
        self.span
    }

    /// Its name, if others can join it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The controls, to use while another task reads events.
    #[must_use]
    pub fn controls(&self) -> Controls {
        self.controls.clone()
    }

    /// A cursor of its beginning.
    pub(super) fn cursor(&self) -> &Bytes {
        &self.cursor
    }

    /// Another one after each seek.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Goes on with what another connection tells, steered by the same controls: what was not
    /// answered is sent there first. Nothing has changed if the future is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] if it plays other streams.
    pub(super) async fn move_to(&mut self, other: Self) -> Result<()> {
        let keys = |session: &Self| -> Vec<_> {
            session.streams.iter().map(|stream| stream.key.clone()).collect()
        };
        if keys(self) != keys(&other) {
            return Err(Error::new(ErrorKind::Stale, "the server has other streams now"));
        }
        self.controls.move_to(other.controls.sender()).await;
        *self = Self { controls: self.controls.clone(), ..other };
        Ok(())
    }

    /// The next event; `None` when the session is over. Losing the future between two polls loses
    /// no event.
    ///
    /// # Errors
    /// What the server says, e.g. [`ErrorKind::Corrupt`]; [`ErrorKind::Remote`] if it is gone or
    /// its answers contradict each other.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let answer = self.answers.message().await.map_err(|status| error_of(&status))?;
            let Some(answer) = answer else { return Ok(None) };
            if let Some(event) = answer.event
                && let Some(event) = self.event(event)?
            {
                return Ok(Some(event));
            }
        }
    }

    fn event(&mut self, event: Sent) -> Result<Option<Event>> {
        Ok(Some(match event {
            Sent::Opened(_) => {
                return Err(Error::new(ErrorKind::Remote, "the server opened the replay twice"));
            }
            Sent::OpeningBook(book) => Event::OpeningBook(book.try_into()?),
            Sent::Frame(frame) => match self.frames.read(frame)? {
                Some(Content::Rows(frame)) => Event::Frame(frame),
                Some(Content::Books(frame)) => Event::Books(frame),
                None => return Ok(None),
            },
            Sent::Gap(gap) => Event::Gap(gap.try_into()?),
            Sent::Progress(progress) => Event::Progress(progress.into()),
            Sent::State(state) => Event::State(state.try_into()?),
            Sent::Error(error) => {
                let kind = kind_of(Some(&error.kind), Code::from(error.code));
                Event::Refused(Error::new(kind, error.text))
            }
            Sent::End(end) => Event::End(End::from_answer(&end, &self.streams)?),
        }))
    }
}

/// What steers a session. Each call returns when the command is on its way; the session answers
/// with [`Event::State`] or [`Event::Refused`].
#[derive(Clone, Debug)]
pub struct Controls {
    link: Arc<Mutex<Link>>,
}

/// Where commands go.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) sender: mpsc::Sender<proto::ReplayRequest>,
    /// Commands that were not answered yet, kept if the connection may be made again.
    pub(super) unanswered: Option<VecDeque<Command>>,
}

impl Controls {
    fn new(sender: mpsc::Sender<proto::ReplayRequest>) -> Self {
        Self { link: Arc::new(Mutex::new(Link { sender, unanswered: None })) }
    }

    pub(super) fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sender(&self) -> mpsc::Sender<proto::ReplayRequest> {
        self.link().sender.clone()
    }

    /// Sends what was not answered, and from then on all commands, to another connection.
    async fn move_to(&self, sender: mpsc::Sender<proto::ReplayRequest>) {
        let mut sent = 0;
        while let Some(command) = self.unanswered_or_move(sent, &sender) {
            // If it does not arrive it is sent on the connection after this.
            drop(sender.send(command.into()).await);
            sent += 1;
        }
    }

    /// The command to send again after `sent` others. If there is none, those that are given from
    /// now on go to `sender`: under one lock, so that none is forgotten or overtakes another.
    fn unanswered_or_move(
        &self,
        sent: usize,
        sender: &mpsc::Sender<proto::ReplayRequest>,
    ) -> Option<Command> {
        let mut link = self.link();
        let command = link.unanswered.as_mut().and_then(|commands| commands.get_mut(sent));
        if let Some(command) = command {
            if matches!(command, Command::Step(_)) {
                // It may have been played in part.
                *command = Command::Pause;
            }
            return Some(*command);
        }
        link.sender = sender.clone();
        None
    }

    /// Sends any command.
    ///
    /// # Errors
    /// [`ErrorKind::Remote`] if the session is over.
    pub async fn send(&self, command: Command) -> Result<()> {
        let (sender, kept) = {
            let mut link = self.link();
            let kept = link.unanswered.as_mut().map(|commands| commands.push_back(command));
            (link.sender.clone(), kept.is_some())
        };
        match sender.send(command.into()).await {
            // It is sent again when there is a connection.
            Err(_) if !kept => Err(Error::new(ErrorKind::Remote, "the session has ended")),
            _ => Ok(()),
        }
    }

    /// Stands still.
    ///
    /// # Errors
    /// As [`Controls::send`].
    pub async fn pause(&self) -> Result<()> {
        self.send(Command::Pause).await
    }

    /// Plays on.
    ///
    /// # Errors
    /// As [`Controls::send`].
    pub async fn resume(&self) -> Result<()> {
        self.send(Command::Resume).await
    }

    /// Goes to the first message at `to` or later; counts and hashes begin anew.
    ///
    /// # Errors
    /// As [`Controls::send`].
    pub async fn seek(&self, to: TsNs) -> Result<()> {
        self.send(Command::Seek(to)).await
    }

    /// Pauses, then plays just this much.
    ///
    /// # Errors
    /// As [`Controls::send`].
    pub async fn step(&self, amount: StepAmount) -> Result<()> {
        self.send(Command::Step(amount)).await
    }

    /// Plays at another speed.
    ///
    /// # Errors
    /// As [`Controls::send`].
    pub async fn set_speed(&self, speed: Speed) -> Result<()> {
        self.send(Command::SetSpeed(speed)).await
    }

    /// Stops by itself at other conditions.
    ///
    /// # Errors
    /// As [`Controls::send`].
    pub async fn set_stops(&self, stops: Stops) -> Result<()> {
        self.send(Command::SetStops(stops)).await
    }

    /// Ends the session: it answers with [`Event::End`].
    ///
    /// # Errors
    /// As [`Controls::send`].
    pub async fn close(&self) -> Result<()> {
        self.send(Command::Close).await
    }
}
