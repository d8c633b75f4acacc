//! One member of a replay session: commands in, frames out, paced by the session's clock.
//!
//! The member is a task that always waits for everything at once: a command, room for a frame, the
//! moment that the next message is due, what other members did. The blocking half, [`Player`],
//! visits a worker thread for one frame at a time, so a command waits for one frame at most, a few
//! milliseconds. What is to be played is the [`Transport`](super::transport)'s matter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tonic::{Status, Streaming};

use super::counters::Counters;
use super::model::{Command, PlayState, ReplayQuery, Speed, StopNotice};
use super::outlet::{Outlet, Over};
use super::pacer::Pacer;
use super::parts::frame_parts;
use super::player::{Bounds, Extent, Played, Player};
use super::proto;
use super::proto::replay_end::Reason;
use super::proto::replay_response::Event;
use super::sessions::{Heard, Membership};
use super::status::{Reporter, code_of, report};
use super::transport::{Mark, Plan, Reach, Report};
use super::workers::Workers;
use crate::error::{Error, ErrorKind, Result};
use crate::limit;
use crate::quantity::TsNs;

/// Between two frames of a paced replay at least: rows of fast feeds are gathered, and nobody
/// sees the difference.
const FRAME_INTERVAL: Duration = Duration::from_micros(500);
/// A longer wait for a message is cut into such, so that far times need no thought.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Between two notes of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// Between two looks for rows that were stored meanwhile.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(4);

/// What a session has of its server.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) workers: Workers,
    pub(super) counters: Arc<Counters>,
    pub(super) pacer: Pacer,
    pub(super) reporter: Option<Reporter>,
}

/// A replay being served to one client.
pub(super) struct Session {
    /// At home here, or away on a worker thread while one method runs.
    player: Option<Player>,
    outlet: Outlet<proto::ReplayResponse>,
    around: Surroundings,
    member: Membership,
    query: ReplayQuery,
    next_ts: Option<TsNs>,
    rows: u64,
    rows_at_most: u64,
    /// Of the player, after the last message that was played.
    played: Bytes,
    /// Nothing is told again that the client has heard.
    heard: Option<Heard>,
    /// Commands of the session that the client was told of, and what it was told last.
    commands_told: u64,
    told: PlayState,
    /// The client said that no more commands come.
    commands_ended: bool,
    /// What it was told to do while it was about to play.
    held: Option<Plan>,
    /// Everything that was stored at the last look was played.
    live: bool,
    frame_at: Instant,
    look_at: Instant,
    progress_at: Instant,
    /// When progress was told last, and rows sent since.
    rate: (Instant, u64),
    /// When the client itself said something last.
    acted: Instant,
}

impl Session {
    /// A member that plays `player` as `query` says.
    pub(super) fn new(
        player: Player,
        extent: Extent,
        query: ReplayQuery,
        (member, heard): (Membership, Option<Heard>),
        outlet: Outlet<proto::ReplayResponse>,
        around: Surroundings,
    ) -> Self {
        let now = Instant::now();
        Self {
            next_ts: player.next_ts(),
            played: player.cursor(),
            heard,
            rows: player.rows(),
            player: Some(player),
            outlet,
            around,
            commands_told: member.with(|transport, _| transport.commands()),
            member,
            query,
            rows_at_most: extent.rows_at_most,
            told: PlayState::Paused,
            commands_ended: false,
            held: None,
            live: false,
            frame_at: now,
            look_at: now,
            progress_at: now + PROGRESS_INTERVAL,
            rate: (now, 0),
            acted: now,
        }
    }

    /// Plays until the client closes, goes away or has heard everything.
    pub(super) async fn run(
        mut self,
        opened: proto::ReplayOpened,
        joined: bool,
        mut commands: Streaming<proto::ReplayRequest>,
    ) -> Over {
        match self.serve(opened, joined, &mut commands).await {
            Ok(()) => Over,
            Err(over) => over,
        }
    }

    async fn serve(
        &mut self,
        mut opened: proto::ReplayOpened,
        joined: bool,
        commands: &mut Streaming<proto::ReplayRequest>,
    ) -> Result<(), Over> {
        (opened.cursor, opened.epoch) = (self.cursor(), self.member.place().epoch);
        self.tell(Event::Opened(opened)).await?;
        if joined {
            self.tell_state(None, true).await?;
        }
        self.tell_books().await?;
        loop {
            self.tell_of_others().await?;
            let now = Instant::now();
            let plan = self.held.take().unwrap_or_else(|| self.plan(false, now));
            let paused = plan == Plan::Rest && self.motion() == PlayState::Paused;
            if paused && self.told == PlayState::Playing {
                // It stands where others stood before.
                self.tell_state(None, false).await?;
                continue;
            }
            if self.commands_ended && plan == Plan::Rest {
                if paused {
                    self.tell_end(Reason::Closed).await?;
                }
                return Ok(());
            }
            let wait = match &plan {
                Plan::Play(_) if self.is_paced() => {
                    Some(self.frame_at.saturating_duration_since(now))
                }
                Plan::Play(_) => Some(Duration::ZERO),
                Plan::Wait(wait) => Some(*wait),
                Plan::Follow => Some(self.look_at.saturating_duration_since(now)),
                Plan::Rest => None,
                _ => {
                    if !self.carry_out(plan).await? {
                        return Ok(());
                    }
                    continue;
                }
            };
            let due = wait.map(|wait| now + wait.min(WAIT_MAX));
            let idle_end = self.idle_end();
            let plays = matches!(plan, Plan::Play(_)) && wait == Some(Duration::ZERO);
            tokio::select! {
                biased;
                over = self.outlet.over() => return Err(over),
                command = commands.message(), if !self.commands_ended => {
                    if !self.obey(command).await? {
                        return Ok(());
                    }
                }
                () = self.member.changed() => {}
                () = sleep_until(self.progress_at), if plan != Plan::Rest => {
                    self.tell_progress().await?;
                }
                room = self.outlet.room(), if plays => {
                    let room = room?;
                    self.play(room).await?;
                }
                // After commands: a look may take as long as the time between two.
                () = wait_until(&self.around.pacer, due), if !plays => {
                    if plan == Plan::Follow {
                        self.follow().await?;
                    }
                }
                () = sleep_until(idle_end), if plan == Plan::Rest => {
                    let minutes = limit::RPC_IDLE_MS_MAX / 60_000;
                    let text = format!("the replay stood still for {minutes} minutes");
                    return Err(self.outlet.end(Status::deadline_exceeded(text)));
                }
            }
        }
    }

    fn plan(&self, commit: bool, now: Instant) -> Plan {
        let next = self.next_ts;
        self.member.with(|transport, id| transport.plan(id, next, commit, now))
    }

    /// Where it has to go before anything else.
    fn seeks(&self) -> Option<(u64, TsNs)> {
        self.member.with(|transport, id| transport.seeks(id))
    }

    fn motion(&self) -> PlayState {
        self.member.with(|transport, id| transport.motion_of(id))
    }

    /// Where the client goes on after all that it was told.
    fn cursor(&self) -> Bytes {
        match &self.heard {
            Some(heard) => heard.cursor.clone(),
            None if self.query.session.is_some() => self.member.place().cursor(&self.played),
            None => self.played.clone(),
        }
    }

    fn is_paced(&self) -> bool {
        self.member
            .with(|transport, _| transport.speed() != Speed::FLAT_OUT && transport.is_running())
    }

    fn idle_end(&self) -> Instant {
        let acted = self.member.with(|transport, _| transport.acted());
        acted.max(self.acted) + Duration::from_millis(limit::RPC_IDLE_MS_MAX)
    }

    /// Does what is neither to play nor to wait; `false` if the session is over.
    async fn carry_out(&mut self, plan: Plan) -> Result<bool, Over> {
        match plan {
            Plan::Seek(epoch, start) => self.seek(epoch, start, true).await?,
            Plan::Lap => self.begin_lap().await?,
            Plan::Watch(watch) => self.with_player(|player| player.watch_as(watch)).await?,
            Plan::Stops(stops) => {
                let set =
                    move |player: &mut Player| player.set_stops(stops).map(|()| player.mark());
                let mark = self.with_player(set).await?;
                self.member.with(|transport, id| transport.stops_set(id, &stops, mark));
            }
            Plan::Stepped => {
                self.tell_of_others().await?;
                self.tell_state(None, false).await?;
            }
            Plan::Stopped(notice) => {
                self.tell_of_others().await?;
                self.tell_state(Some(notice), false).await?;
                if self.member.with(|transport, _| transport.stops().end) {
                    self.tell_end(Reason::Stopped).await?;
                    return Ok(false);
                }
            }
            Plan::End => {
                self.told = PlayState::Ended;
                self.tell_progress().await?;
                self.tell_end(Reason::LastRow).await?;
            }
            Plan::Play(_) | Plan::Wait(_) | Plan::Rest | Plan::Follow => {}
        }
        Ok(true)
    }

    /// Tells that a lap is over and goes to the beginning of the next.
    async fn begin_lap(&mut self) -> Result<(), Over> {
        let start = self.query.range.start;
        let go = move |player: &mut Player| {
            let end = player.end(Reason::Looped);
            player.seek(start)?;
            Ok((end, player.mark()))
        };
        let (mut end, mark) = self.with_player(go).await?;
        self.member.with(|transport, id| transport.lapped(id, mark, Instant::now()));
        if self.heard.is_some() {
            return self.speak_up().await;
        }
        end.cursor = self.cursor();
        self.tell(Event::End(end)).await?;
        self.tell_books().await
    }

    /// Tells what is played from here on, if this is where the client was.
    async fn speak_up(&mut self) -> Result<(), Over> {
        let place = self.member.place();
        let Some(heard) = self.heard.take_if(|heard| !place.is_before(heard.place)) else {
            return Ok(());
        };
        let go = move |player: &mut Player| {
            // There between two samples, and with nothing counted.
            player.go_to(&Mark { cursor: heard.cursor, ..player.mark() })
        };
        self.with_player(go).await?;
        self.tell_books().await
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
            Ok((player, result))
        });
        match done.await {
            Ok((player, result)) => {
                (self.next_ts, self.rows) = (player.next_ts(), player.rows());
                self.played = player.cursor();
                self.player = Some(player);
                Ok(result)
            }
            Err(error) => {
                let Surroundings { counters, reporter, .. } = &self.around;
                Err(self.outlet.end(report(&error, counters, reporter.as_ref())))
            }
        }
    }

    /// Plays one frame as far as the session allows, and sends it.
    async fn play(
        &mut self,
        room: tokio::sync::mpsc::OwnedPermit<proto::ReplayResponse>,
    ) -> Result<(), Over> {
        let now = Instant::now();
        // It may have been told otherwise while there was no room.
        let plan = self.plan(true, now);
        let Plan::Play(Reach { until, messages, rows }) = plan else {
            // Told once, so it is to be carried out.
            self.held = Some(plan);
            return Ok(());
        };
        let rows_max = match self.query.frame_rows_max {
            0 => limit::REPLAY_FRAME_ROWS_MAX,
            rows => rows,
        };
        let rows = rows_max.min(usize::try_from(rows).unwrap_or(usize::MAX));
        // No frame is half heard.
        let left = self.heard.as_ref().map(|heard| heard.messages_after(self.member.place()));
        let messages = messages.min(left.unwrap_or(u64::MAX));
        let bounds = Bounds { until, messages, rows };
        let play = move |player: &mut Player| Ok((player.play(bounds)?, player.mark()));
        let (played, mark) = self.with_player(play).await?;
        // A frame that was full before all was in it is followed at once.
        let all = self.next_ts.is_none_or(|next_ts| next_ts > until);
        self.frame_at = if all { now + FRAME_INTERVAL } else { now };
        let Played { messages, rows, last, stop, .. } = played;
        let report = Report { messages, rows, last, stop };
        let now = Instant::now();
        self.member.with(|transport, id| transport.played(id, &report, mark, now));
        match self.heard {
            Some(_) => self.speak_up().await,
            None => self.deliver(played, room).await,
        }
    }

    /// Sends a frame and what belongs to it.
    async fn deliver(
        &mut self,
        played: Played,
        room: tokio::sync::mpsc::OwnedPermit<proto::ReplayResponse>,
    ) -> Result<(), Over> {
        let counters = self.around.counters.clone();
        counters.rows_sent.add(played.rows);
        self.rate.1 += played.rows;
        let mut room = Some(room);
        if let Some(mut frame) = played.frame {
            frame.cursor = self.cursor();
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
        Ok(())
    }

    /// Looks for rows that were stored since.
    async fn follow(&mut self) -> Result<(), Over> {
        let was_live = std::mem::replace(&mut self.live, true);
        if let Some(extent) = self.with_player(Player::follow).await? {
            self.rows_at_most = extent.rows_at_most;
            self.member.with(|transport, _| transport.extend(extent.span));
        }
        self.look_at = Instant::now() + FOLLOW_INTERVAL;
        if !was_live {
            self.tell_progress().await?;
        }
        Ok(())
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
        let now = Instant::now();
        self.acted = now;
        // What others did before comes first.
        self.tell_of_others().await?;
        let command = Command::try_from(request);
        if matches!(command, Ok(Command::Close)) {
            self.tell_end(Reason::Closed).await?;
            return Ok(false);
        }
        let (steered, commands) = self.steer(command, now);
        self.commands_told = commands;
        if let Err(error) = steered {
            self.refuse(&error, commands).await?;
        } else if let Some((epoch, start)) = self.seeks() {
            // What a seek does is told when it is done.
            self.seek(epoch, start, false).await?;
        } else {
            self.tell_state(None, false).await?;
        }
        Ok(true)
    }

    /// Tells the transport, which counts every command.
    fn steer(&self, command: Result<Command>, now: Instant) -> (Result<()>, u64) {
        let range = &self.query.range;
        self.member.with(|transport, _| {
            let steered = command.and_then(|command| {
                match command {
                    Command::Pause => transport.pause(now),
                    Command::Resume => transport.resume(now),
                    Command::Step(amount) => transport.step(amount, now)?,
                    Command::SetSpeed(speed) => transport.set_speed(speed, now),
                    Command::SetStops(stops) => transport.set_stops(stops, now)?,
                    Command::Seek(to) if to < range.start || to > range.end => {
                        let (start, end) = (range.start, range.end);
                        let text = format!("time {to} is outside the replay, {start} to {end}");
                        return Err(Error::new(ErrorKind::OutOfRange, text));
                    }
                    Command::Seek(to) => transport.seek(to, now),
                    Command::Close => {}
                }
                Ok(())
            });
            (steered, transport.count_command(now))
        })
    }

    /// Goes where the epoch starts, and tells so.
    async fn seek(&mut self, epoch: u64, start: TsNs, by_other: bool) -> Result<(), Over> {
        let stops = self.member.with(|transport, _| *transport.stops());
        let go = move |player: &mut Player| {
            player.seek(start)?;
            player.set_stops(stops)?;
            Ok(player.mark())
        };
        let mark = self.with_player(go).await?;
        (self.live, self.heard, self.held) = (false, None, None);
        let commands = self.member.with(|transport, id| {
            transport.sought(id, epoch, mark);
            transport.commands()
        });
        self.commands_told = commands;
        self.tell_state(None, by_other).await?;
        self.tell_books().await
    }

    /// Tells what other members did since, if they did.
    async fn tell_of_others(&mut self) -> Result<(), Over> {
        let commands = self.member.with(|transport, _| transport.commands());
        if commands == self.commands_told {
            return Ok(());
        }
        if let Some((epoch, start)) = self.seeks() {
            return self.seek(epoch, start, true).await;
        }
        self.commands_told = commands;
        self.tell_state(None, true).await
    }

    async fn refuse(&mut self, error: &Error, commands: u64) -> Result<(), Over> {
        self.tell(Event::Error(proto::ReplayError {
            code: code_of(error.kind()).into(),
            kind: error.kind().name().to_owned(),
            text: error.text().to_owned(),
            commands,
        }))
        .await
    }

    async fn tell(&self, event: Event) -> Result<(), Over> {
        self.outlet.send(proto::ReplayResponse { event: Some(event) }).await
    }

    /// Sends the opening book of every book stream.
    async fn tell_books(&mut self) -> Result<(), Over> {
        if self.query.opening_depth == Some(0) || self.heard.is_some() {
            return Ok(());
        }
        let at = self.member.with(|transport, _| transport.position(Instant::now()));
        let at = self.next_ts.map_or(at, |next| next.min(at));
        let lanes = self.player.as_ref().map_or(0, Player::lanes);
        for lane in 0..lanes {
            let book = self.with_player(move |player| player.opening_book(lane, at)).await?;
            if let Some(book) = book {
                self.tell(Event::OpeningBook(book)).await?;
            }
        }
        Ok(())
    }

    async fn tell_state(&mut self, stop: Option<StopNotice>, by_other: bool) -> Result<(), Over> {
        let now = Instant::now();
        let (rows, live, cursor) = (self.rows, self.live, self.cursor());
        let (state, told) = self.member.with(|transport, id| {
            let state = transport.motion_of(id);
            let told = proto::ReplayState {
                state: state.code(),
                position_ns: transport.position(now).0,
                speed: transport.speed().factor(),
                commands: transport.commands(),
                rows,
                stop: stop.map(Into::into),
                by_other,
                members: transport.members() as u64,
                live,
                cursor,
                epoch: transport.place(id).epoch,
            };
            (state, told)
        });
        self.told = state;
        self.tell(Event::State(told)).await
    }

    async fn tell_end(&mut self, reason: Reason) -> Result<(), Over> {
        let mut end = self.with_player(move |player| Ok(player.end(reason))).await?;
        end.cursor = self.cursor();
        self.tell(Event::End(end)).await
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    async fn tell_progress(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        self.progress_at = now + PROGRESS_INTERVAL;
        let (since, rows) = std::mem::replace(&mut self.rate, (now, 0));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        let cursor = self.cursor();
        let progress = self.member.with(|transport, _| proto::ReplayProgress {
            position_ns: transport.position(now).0,
            rows: self.rows,
            percent: transport.percent(now),
            eta_ns: transport.eta_ns(now),
            speed: transport.speed().factor(),
            rows_at_most: self.rows_at_most,
            rows_per_s: if seconds > 0.0 { rows as f64 / seconds } else { 0.0 },
            live: self.live,
            laps: transport.lap(),
            cursor,
        });
        self.tell(Event::Progress(progress)).await
    }
}

/// Waits for a moment that comes, or for ever.
async fn wait_until(pacer: &Pacer, due: Option<Instant>) {
    match due {
        Some(due) => pacer.until(due).await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}
