//! One replay session: commands in, frames out, paced by a clock.
//!
//! The session is a task that always waits for everything at once: a command, room for a frame, the
//! moment that the next message is due. The blocking half, [`Player`], visits a worker thread for
//! one frame at a time, so a command waits for one frame at most, a few milliseconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::{Status, Streaming};

use super::clock::ReplayClock;
use super::counters::Counters;
use super::model::{Command, ReplayQuery, Speed, StepAmount};
use super::outlet::{Outlet, Over};
use super::parts::frame_parts;
use super::player::{Bounds, Played, Player};
use super::proto;
use super::proto::replay_end::Reason;
use super::proto::replay_response::Event;
use super::proto::replay_state::State;
use super::status::{Reporter, code_of, report};
use super::workers::Workers;
use crate::error::{Error, ErrorKind, Result};
use crate::limit;
use crate::quantity::TsNs;

/// Between two frames of a paced replay at least: rows of fast feeds are gathered, and nobody
/// sees the difference.
const FRAME_INTERVAL: Duration = Duration::from_millis(4);
/// Between two notes of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// A wait for something that does not come.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a session has of its server.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) workers: Workers,
    pub(super) counters: Arc<Counters>,
    pub(super) reporter: Option<Reporter>,
}

/// Whether a session moves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Playing,
    Paused,
    Stepping(StepAmount),
    Ended,
}

/// A replay being served.
pub(super) struct Session {
    /// At home here, or away on a worker thread while one method runs.
    player: Option<Player>,
    outlet: Outlet<proto::ReplayResponse>,
    around: Surroundings,
    query: ReplayQuery,
    clock: ReplayClock,
    mode: Mode,
    next_ts: Option<TsNs>,
    /// First and last receive time of the range.
    span: (TsNs, TsNs),
    rows: u64,
    commands: u64,
    /// The client said that no more commands come.
    commands_ended: bool,
    frame_at: Instant,
    progress_at: Instant,
    idle_since: Instant,
    /// When and where playing began or was changed last, to tell how fast it goes.
    pace: (Instant, TsNs),
}

impl Session {
    /// A session that plays `player` as `query` says.
    pub(super) fn new(
        player: Player,
        span: (TsNs, TsNs),
        query: ReplayQuery,
        outlet: Outlet<proto::ReplayResponse>,
        around: Surroundings,
    ) -> Self {
        let now = Instant::now();
        Self {
            next_ts: player.next_ts(),
            player: Some(player),
            outlet,
            around,
            clock: ReplayClock::new(span.0, query.speed),
            query,
            mode: Mode::Paused,
            span,
            rows: 0,
            commands: 0,
            commands_ended: false,
            frame_at: now,
            progress_at: now + PROGRESS_INTERVAL,
            idle_since: now,
            pace: (now, span.0),
        }
    }

    /// Plays until the client closes, goes away or has heard everything.
    pub(super) async fn run(
        mut self,
        opened: proto::ReplayOpened,
        mut commands: Streaming<proto::ReplayRequest>,
    ) -> Over {
        match self.serve(opened, &mut commands).await {
            Ok(()) => Over,
            Err(over) => over,
        }
    }

    async fn serve(
        &mut self,
        opened: proto::ReplayOpened,
        commands: &mut Streaming<proto::ReplayRequest>,
    ) -> Result<(), Over> {
        self.tell(Event::Opened(opened)).await?;
        self.tell_books(self.span.0).await?;
        if !self.query.paused {
            self.play_on();
        }
        loop {
            if self.commands_ended && matches!(self.mode, Mode::Paused | Mode::Ended) {
                if self.mode == Mode::Paused {
                    self.tell_end(Reason::Closed).await?;
                }
                return Ok(());
            }
            if self.is_over() {
                self.reach_end().await?;
                continue;
            }
            let wait = self.wait();
            let plays = wait == Some(Duration::ZERO);
            tokio::select! {
                biased;
                over = self.outlet.over() => return Err(over),
                command = commands.message(), if !self.commands_ended => {
                    if !self.obey(command).await? {
                        return Ok(());
                    }
                }
                () = sleep_until(self.progress_at), if self.mode == Mode::Playing => {
                    self.tell_progress().await?;
                }
                room = self.outlet.room(), if plays => {
                    let room = room?;
                    let played = self.play().await?;
                    self.deliver(played, room).await?;
                }
                () = tokio::time::sleep(wait.unwrap_or(NEVER)), if !plays => {}
                () = sleep_until(self.idle_end()), if self.is_idle() => {
                    let minutes = limit::RPC_IDLE_MS_MAX / 60_000;
                    let text = format!("the replay stood still for {minutes} minutes");
                    return Err(self.outlet.end(Status::deadline_exceeded(text)));
                }
            }
        }
    }

    fn is_idle(&self) -> bool {
        matches!(self.mode, Mode::Paused | Mode::Ended)
    }

    fn idle_end(&self) -> Instant {
        self.idle_since + Duration::from_millis(limit::RPC_IDLE_MS_MAX)
    }

    /// Whether what is being played has no message left.
    fn is_over(&self) -> bool {
        match self.mode {
            Mode::Paused | Mode::Ended => false,
            Mode::Playing => self.next_ts.is_none(),
            // A step of time may reach beyond the last message and be done there.
            Mode::Stepping(StepAmount::DurationNs(_)) => false,
            Mode::Stepping(_) => self.next_ts.is_none(),
        }
    }

    /// How long until the next frame may be made; `None` if it waits for a command.
    fn wait(&mut self) -> Option<Duration> {
        let now = Instant::now();
        match self.mode {
            Mode::Paused | Mode::Ended => None,
            Mode::Stepping(_) => Some(Duration::ZERO),
            Mode::Playing if self.clock.speed() == Speed::FLAT_OUT => Some(Duration::ZERO),
            Mode::Playing => {
                let next_ts = self.next_ts?;
                if let Some(idle_ns) = self.query.idle_ns_max {
                    let resumed = next_ts.saturating_add(idle_ns.saturating_neg());
                    if resumed > self.clock.position(now) {
                        self.clock.put(resumed, now);
                        self.pace = (now, resumed);
                    }
                }
                let due = self.clock.wait_for(next_ts, now)?;
                Some(due.max(self.frame_at.saturating_duration_since(now)))
            }
        }
    }

    /// Hands the player to a worker thread and back.
    async fn with_player<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Player) -> Result<T> + Send + 'static,
    ) -> Result<T, Over> {
        let player = self.player.take();
        let done = self.around.workers.run(move || {
            let missing = || Error::new(ErrorKind::Poisoned, "the replay failed before");
            let mut player = player.ok_or_else(missing)?;
            let result = work(&mut player)?;
            let next_ts = player.next_ts();
            let rows = player.rows();
            Ok((player, result, next_ts, rows))
        });
        match done.await {
            Ok((player, result, next_ts, rows)) => {
                self.player = Some(player);
                (self.next_ts, self.rows) = (next_ts, rows);
                Ok(result)
            }
            Err(error) => {
                let Surroundings { counters, reporter, .. } = &self.around;
                Err(self.outlet.end(report(&error, counters, reporter.as_ref())))
            }
        }
    }

    /// Plays one frame as far as mode and clock allow.
    async fn play(&mut self) -> Result<Played, Over> {
        let now = Instant::now();
        let rows = match self.query.frame_rows_max {
            0 => limit::REPLAY_FRAME_ROWS_MAX,
            rows => rows,
        };
        let mut bounds = Bounds { until: TsNs::MAX, messages: u64::MAX, rows };
        match self.mode {
            Mode::Stepping(StepAmount::Messages(count)) => bounds.messages = count,
            Mode::Stepping(StepAmount::Rows(count)) => {
                bounds.rows = rows.min(usize::try_from(count).unwrap_or(usize::MAX));
            }
            Mode::Stepping(StepAmount::DurationNs(ns)) => {
                bounds.until = self.clock.position(now).saturating_add(ns);
            }
            Mode::Playing if self.clock.speed() != Speed::FLAT_OUT => {
                bounds.until = self.clock.position(now);
            }
            _ => {}
        }
        let played = self.with_player(move |player| player.play(bounds)).await?;
        // A frame that was full before all was in it is followed at once.
        let all = self.next_ts.is_none_or(|next_ts| next_ts > bounds.until);
        self.frame_at = if all { now + FRAME_INTERVAL } else { now };
        Ok(played)
    }

    /// Sends a frame and what belongs to it, and goes on with a step.
    async fn deliver(
        &mut self,
        played: Played,
        room: tokio::sync::mpsc::OwnedPermit<proto::ReplayResponse>,
    ) -> Result<(), Over> {
        let now = Instant::now();
        let counters = &self.around.counters;
        counters.rows_sent.add(played.rows);
        let mut last_ts = None;
        let mut room = Some(room);
        if let Some(frame) = played.frame {
            last_ts = Some(TsNs(frame.last_ns));
            for part in frame_parts(frame) {
                let bytes = part.chunks.iter().map(|chunk| chunk.data.len() as u64).sum();
                counters.bytes_sent.add(bytes);
                let event = proto::ReplayResponse { event: Some(Event::Frame(part)) };
                match room.take() {
                    Some(room) => drop(room.send(event)),
                    None => self.outlet.send(event).await?,
                }
            }
        }
        drop(room);
        for gap in played.gaps {
            self.tell(Event::Gap(gap)).await?;
        }
        self.advance(last_ts, played.messages, played.rows, now).await
    }

    /// Moves the clock to what was played, and ends a step that is done.
    async fn advance(
        &mut self,
        last_ts: Option<TsNs>,
        messages: u64,
        rows: u64,
        now: Instant,
    ) -> Result<(), Over> {
        let done = match &mut self.mode {
            Mode::Stepping(StepAmount::Messages(left)) => {
                *left = left.saturating_sub(messages);
                *left == 0
            }
            Mode::Stepping(StepAmount::Rows(left)) => {
                *left = left.saturating_sub(rows);
                *left == 0
            }
            Mode::Stepping(StepAmount::DurationNs(ns)) => {
                let until = self.clock.position(now).saturating_add(*ns);
                let done = self.next_ts.is_none_or(|next_ts| next_ts > until);
                if done {
                    self.clock.put(until.min(self.span.1), now);
                }
                done
            }
            _ => false,
        };
        let by_rows = match self.mode {
            Mode::Stepping(StepAmount::DurationNs(_)) => false,
            Mode::Stepping(_) => true,
            _ => self.clock.speed() == Speed::FLAT_OUT,
        };
        if let Some(last_ts) = last_ts.filter(|_| by_rows) {
            self.clock.put(last_ts, now);
        }
        if done {
            self.stop(Mode::Paused);
            self.tell_state().await?;
        }
        Ok(())
    }

    fn play_on(&mut self) {
        let now = Instant::now();
        self.mode = Mode::Playing;
        self.clock.run(now);
        self.restart_pace(now);
        self.progress_at = now + PROGRESS_INTERVAL;
    }

    fn restart_pace(&mut self, now: Instant) {
        self.pace = (now, self.clock.position(now));
    }

    fn stop(&mut self, mode: Mode) {
        let now = Instant::now();
        self.clock.stop(now);
        self.mode = mode;
        self.idle_since = now;
    }

    /// Everything was played.
    async fn reach_end(&mut self) -> Result<(), Over> {
        self.clock.put(self.span.1, Instant::now());
        self.stop(Mode::Ended);
        self.tell_progress().await?;
        self.tell_end(Reason::LastRow).await
    }

    /// Does what the client said; `false` if that was to end.
    async fn obey(
        &mut self,
        command: Result<Option<proto::ReplayRequest>, Status>,
    ) -> Result<bool, Over> {
        let request = match command {
            Ok(Some(request)) => request,
            Ok(None) => {
                self.commands_ended = true;
                return Ok(true);
            }
            Err(status) => return Err(self.outlet.end(status)),
        };
        self.commands += 1;
        self.idle_since = Instant::now();
        match Command::try_from(request) {
            Err(error) => self.refuse(&error).await?,
            Ok(Command::Close) => {
                self.tell_end(Reason::Closed).await?;
                return Ok(false);
            }
            Ok(Command::Seek(to)) => self.seek(to).await?,
            Ok(command) => {
                self.steer(command);
                self.tell_state().await?;
            }
        }
        Ok(true)
    }

    fn steer(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            // At the end there is nothing to stop or to go on with.
            Command::Pause if self.mode != Mode::Ended => self.stop(Mode::Paused),
            Command::Resume if self.mode != Mode::Ended => self.play_on(),
            Command::Step(amount) if self.mode != Mode::Ended => {
                self.stop(Mode::Paused);
                self.mode = Mode::Stepping(amount);
            }
            Command::SetSpeed(speed) => {
                self.clock.set_speed(speed, now);
                self.restart_pace(now);
            }
            _ => {}
        }
    }

    async fn seek(&mut self, to: TsNs) -> Result<(), Over> {
        let range = self.query.range.clone();
        if to < range.start || to > range.end {
            let text = format!("time {to} is outside the replay, {} to {}", range.start, range.end);
            return self.refuse(&Error::new(ErrorKind::OutOfRange, text)).await;
        }
        self.with_player(move |player| player.seek(to)).await?;
        let now = Instant::now();
        let position = to.max(self.span.0).min(self.span.1);
        self.clock.put(position, now);
        match self.mode {
            Mode::Playing => self.play_on(),
            _ => self.stop(Mode::Paused),
        }
        self.tell_state().await?;
        self.tell_books(to.max(self.span.0)).await
    }

    async fn refuse(&mut self, error: &Error) -> Result<(), Over> {
        self.tell(Event::Error(proto::ReplayError {
            code: code_of(error.kind()).into(),
            kind: error.kind().name().to_owned(),
            text: error.text().to_owned(),
            commands: self.commands,
        }))
        .await
    }

    async fn tell(&self, event: Event) -> Result<(), Over> {
        self.outlet.send(proto::ReplayResponse { event: Some(event) }).await
    }

    /// Sends the opening book of every book stream.
    async fn tell_books(&mut self, at: TsNs) -> Result<(), Over> {
        let lanes = self.player.as_ref().map_or(0, Player::lanes);
        for lane in 0..lanes {
            let book = self.with_player(move |player| player.opening_book(lane, at)).await?;
            if let Some(book) = book {
                self.tell(Event::OpeningBook(book)).await?;
            }
        }
        Ok(())
    }

    async fn tell_state(&self) -> Result<(), Over> {
        let state = match self.mode {
            Mode::Playing | Mode::Stepping(_) => State::Playing,
            Mode::Paused => State::Paused,
            Mode::Ended => State::Ended,
        };
        self.tell(Event::State(proto::ReplayState {
            state: state.into(),
            position_ns: self.clock.position(Instant::now()).0,
            speed: self.clock.speed().factor(),
            commands: self.commands,
            rows: self.rows,
        }))
        .await
    }

    async fn tell_end(&mut self, reason: Reason) -> Result<(), Over> {
        let end = self.with_player(move |player| Ok(player.end(reason))).await?;
        self.tell(Event::End(end)).await
    }

    async fn tell_progress(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        self.progress_at = now + PROGRESS_INTERVAL;
        let (first, last) = self.span;
        let position = self.clock.position(now).max(first).min(last);
        self.tell(Event::Progress(proto::ReplayProgress {
            position_ns: position.0,
            rows: self.rows,
            percent: percent(first, position, last),
            eta_ns: self.eta_ns(position, now),
            speed: self.clock.speed().factor(),
        }))
        .await
    }

    /// Nanoseconds until the end: by the speed that is set, or by how it went since it changed.
    fn eta_ns(&self, position: TsNs, now: Instant) -> Option<i64> {
        if self.mode == Mode::Ended {
            return Some(0);
        }
        let left_ns = i128::from(self.span.1.0) - i128::from(position.0);
        let (num, den) = match self.clock.speed().ppm() {
            Some(ppm) => (1_000_000, i128::from(ppm)),
            None => {
                let (since, from) = self.pace;
                let elapsed_ns = i128::try_from(now.saturating_duration_since(since).as_nanos());
                (elapsed_ns.ok()?, i128::from(position.0) - i128::from(from.0))
            }
        };
        let eta_ns = left_ns.checked_mul(num)?.checked_div(den)?;
        (self.mode == Mode::Playing).then(|| i64::try_from(eta_ns).unwrap_or(i64::MAX))
    }
}

/// Where `position` is between `first` and `last`, 0 to 100.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn percent(first: TsNs, position: TsNs, last: TsNs) -> f64 {
    let whole = i128::from(last.0) - i128::from(first.0);
    let done = i128::from(position.0) - i128::from(first.0);
    if whole <= 0 { 100.0 } else { done as f64 * 100.0 / whole as f64 }
}

async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}
