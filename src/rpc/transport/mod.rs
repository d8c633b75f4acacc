//! The transport of a session: its clock and what its members are to play, as a script.
//!
//! Every member plays by itself, in the same order, from the same place; so a number of messages is
//! the same place for all of them. Commands become *legs* of a script that each member does in
//! turn, as fast as it can: "stand where the furthest member was", "play 10 messages". Behind the
//! last leg the clock runs or stands. A member that is behind does what others did, and ends where
//! they are.
//!
//! Pure: every call is told what time it is, and none waits.

mod place;
mod plan;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(super) use self::place::Place;
use super::clock::ReplayClock;
use super::model::{PlayState, ReplayQuery, Speed, StepAmount, StopCondition, StopNotice, Stops};
use super::stops::StopWatch;
use crate::error::{Error, Result};
use crate::limit;
use crate::quantity::TsNs;

/// Number of a member of a session.
pub(super) type MemberId = u64;

/// A place that other members can begin at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mark {
    /// Of the player.
    pub(super) cursor: Bytes,
    /// What its stops are, and have counted so far.
    pub(super) watch: StopWatch,
}

/// What a member is to do next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// Play on, not further than this.
    Play(Reach),
    /// Nothing until then.
    Wait(Duration),
    /// Nothing until something changes.
    Rest,
    /// Everything that is stored was played: look whether there is more.
    Follow,
    /// Go to where this epoch starts.
    Seek(u64, TsNs),
    /// Everything was played, go to the beginning.
    Lap,
    /// Stop at these from now on.
    Stops(Stops),
    /// Everything was heard again that the others had come past: watch as they do.
    Watch(StopWatch),
    /// A step was done.
    Stepped,
    /// A condition was met.
    Stopped(StopNotice),
    /// Everything was played: say so, once.
    End,
}

/// How far a member may play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// No message after this time.
    pub(super) until: TsNs,
    pub(super) messages: u64,
    pub(super) rows: u64,
}

impl Reach {
    const ANY: Self = Self { until: TsNs::MAX, messages: u64::MAX, rows: u64::MAX };
}

/// What was played at once.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) messages: u64,
    pub(super) rows: u64,
    /// Time of the last message.
    pub(super) last: Option<TsNs>,
    pub(super) stop: Option<StopNotice>,
}

/// A part of the script.
#[derive(Clone, Debug)]
enum Leg {
    /// Everything up to a time, and at least so many messages, in this lap.
    Stand {
        until: TsNs,
        messages: u64,
        lap: u64,
        /// Members that were playing: they may have come further.
        open: BTreeSet<MemberId>,
        stop: Option<StopNotice>,
    },
    Step(StepAmount),
    Stops(Stops),
}

/// What a member that came back has to hear before it is where it is counted.
#[derive(Clone, Copy, Debug)]
struct Missed {
    laps: u64,
    messages: u64,
}

/// How far a member is.
#[derive(Clone, Debug)]
struct Member {
    epoch: u64,
    lap: u64,
    /// Number of the leg it does.
    leg: u64,
    /// What is left of it, if it is a step that was begun.
    left: Option<StepAmount>,
    /// Messages since the epoch began, and rows and messages of this lap.
    messages: u64,
    lap_messages: u64,
    last: TsNs,
    /// When it stops; the time of it is `armed` while it is still to come.
    stops: Stops,
    armed: bool,
    playing: bool,
    end_told: bool,
    /// Where another member can begin to be as far as this one is counted.
    mark: Option<Mark>,
    missed: Option<Missed>,
}

impl Member {
    /// At the start of an epoch.
    fn at_start(epoch: u64, leg: u64, stops: Stops) -> Self {
        Self {
            epoch,
            stops,
            lap: 0,
            leg,
            left: None,
            messages: 0,
            lap_messages: 0,
            last: TsNs::MIN,
            armed: true,
            playing: false,
            end_told: false,
            mark: None,
            missed: None,
        }
    }

    /// Where its player is.
    fn place(&self) -> Place {
        let Missed { laps, messages } = self.missed.unwrap_or(Missed { laps: 0, messages: 0 });
        let (lap, messages) = (self.lap - laps, self.messages - messages);
        Place { epoch: self.epoch, lap, messages }
    }
}

/// What the members of a session share.
pub(super) struct Transport {
    clock: ReplayClock,
    span: (TsNs, TsNs),
    idle_ns_max: Option<i64>,
    looped: bool,
    follow: bool,
    stops: Stops,
    /// Another one after each seek, unlike any before.
    epoch: u64,
    /// Where the last seek went; nobody is told to go to the opening.
    start: TsNs,
    /// The time that the epoch begins at, inside the range.
    began: TsNs,
    legs: VecDeque<Leg>,
    /// Number of the first leg.
    first_leg: u64,
    /// The clock runs behind the last leg.
    running: bool,
    ended: bool,
    lap: u64,
    /// The one that the epoch began in.
    first_lap: u64,
    members: BTreeMap<MemberId, Member>,
    next_member: MemberId,
    commands: u64,
    /// Grows with whatever another member must look at.
    changes: u64,
    acted: Instant,
    /// When and where playing began or was changed last, to tell how fast it goes.
    pace: (Instant, TsNs),
}

impl Transport {
    /// A session that stands at its beginning, or plays.
    pub(super) fn new(
        query: &ReplayQuery,
        span: (TsNs, TsNs),
        position: TsNs,
        now: Instant,
    ) -> Self {
        let mut clock = ReplayClock::new(position, query.speed);
        if !query.paused {
            clock.run(now);
        }
        Self {
            clock,
            span,
            idle_ns_max: query.idle_ns_max,
            looped: query.looped,
            follow: query.follow,
            stops: query.stops,
            epoch: 0,
            first_lap: 0,
            start: position,
            began: position,
            legs: VecDeque::new(),
            first_leg: 0,
            running: !query.paused,
            ended: false,
            lap: 0,
            members: BTreeMap::new(),
            next_member: 0,
            commands: 0,
            changes: 0,
            acted: now,
            pace: (now, position),
        }
    }

    /// Adds the first member, whose player stands at the beginning: `from` there, if another
    /// session was left there.
    pub(super) fn open(&mut self, mark: Mark, from: Option<Place>) -> MemberId {
        let Place { epoch, lap, messages } = from.unwrap_or_else(Place::unlike_any);
        (self.epoch, self.lap, self.first_lap) = (epoch, lap, lap);
        let member = Member::at_start(epoch, self.first_leg, self.stops);
        self.add(Member { lap, messages, mark: Some(mark), ..member })
    }

    /// Adds a member where the furthest one is, after the mark that is given. Without one it is
    /// told to seek. One that was here before and came `from` further back has missed something.
    pub(super) fn join(&mut self, from: Option<Place>) -> (MemberId, Option<Mark>) {
        let mut member = match self.furthest().filter(|furthest| furthest.mark.is_some()) {
            Some(furthest) => {
                Member { playing: false, end_told: false, missed: None, ..furthest.clone() }
            }
            None => Member::at_start(u64::MAX, self.first_leg, self.stops),
        };
        member.missed = from.filter(|from| from.epoch == member.epoch).and_then(|from| {
            let laps = member.lap.checked_sub(from.lap)?;
            Some(Missed { laps, messages: member.messages.checked_sub(from.messages)? })
        });
        let mark = member.mark.clone();
        (self.add(member), mark)
    }

    /// Where the player of a member is.
    pub(super) fn place(&self, id: MemberId) -> Place {
        self.members.get(&id).map_or_else(Place::unlike_any, Member::place)
    }

    fn add(&mut self, member: Member) -> MemberId {
        self.next_member += 1;
        self.members.insert(self.next_member, member);
        self.changes += 1;
        self.next_member
    }

    /// Forgets a member; says whether others are left.
    pub(super) fn leave(&mut self, id: MemberId) -> bool {
        self.members.remove(&id);
        self.come_in(id, 0);
        self.changes += 1;
        !self.members.is_empty()
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) fn commands(&self) -> u64 {
        self.commands
    }

    /// A number that grows with whatever another member must look at.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn lap(&self) -> u64 {
        self.lap
    }

    pub(super) fn speed(&self) -> Speed {
        self.clock.speed()
    }

    /// When a command was given last, or a member had something to do.
    pub(super) fn acted(&self) -> Instant {
        self.acted
    }

    /// Rows came; all of them are in `span` now.
    pub(super) fn extend(&mut self, span: (TsNs, TsNs)) {
        self.span = span;
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    pub(super) fn stops(&self) -> &Stops {
        &self.stops
    }

    pub(super) fn motion(&self) -> PlayState {
        let furthest = self.furthest().map_or(self.first_leg, |member| member.leg);
        let steps =
            || (furthest..self.end_leg()).any(|leg| matches!(self.leg(leg), Some(Leg::Step(_))));
        match self.running {
            true => PlayState::Playing,
            false if self.ended => PlayState::Ended,
            false if steps() => PlayState::Playing,
            false => PlayState::Paused,
        }
    }

    /// Whether a member moves: it may have to come to where others stand, or to the end.
    pub(super) fn motion_of(&self, id: MemberId) -> PlayState {
        let state = self.motion();
        let Some(member) = self.members.get(&id).filter(|_| state != PlayState::Playing) else {
            return state;
        };
        let comes = member.missed.is_some()
            || (member.leg..self.end_leg()).any(|leg| match self.leg(leg) {
                Some(Leg::Step(_)) => true,
                Some(Leg::Stand { messages, lap, open, .. }) => {
                    member.messages < *messages || member.lap < *lap || !open.is_empty()
                }
                _ => false,
            });
        if comes { PlayState::Playing } else { state }
    }

    /// The recorded time that was reached, inside the range.
    pub(super) fn position(&self, now: Instant) -> TsNs {
        self.clock.position(now).max(self.span.0).min(self.span.1)
    }

    fn member(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.get_mut(&id)
    }

    fn furthest(&self) -> Option<&Member> {
        let here = self.members.values().filter(|member| member.epoch == self.epoch);
        here.max_by_key(|member| (member.leg, member.lap, member.messages))
    }

    fn end_leg(&self) -> u64 {
        self.first_leg + self.legs.len() as u64
    }

    fn leg(&self, number: u64) -> Option<&Leg> {
        let at = number.checked_sub(self.first_leg)?;
        self.legs.get(usize::try_from(at).ok()?)
    }

    /// Ends what is being played: all members come to where the furthest is, and stand there.
    fn cut(&mut self, now: Instant) {
        let mut stop = None;
        let Some(furthest) = self.furthest().cloned() else {
            self.legs.clear();
            return;
        };
        let Member { messages, mut lap, .. } = furthest;
        let mut until = TsNs::MIN;
        if self.running {
            // One alone stands where it is.
            if self.clock.speed() != Speed::FLAT_OUT && self.members.len() > 1 {
                (until, lap) = (self.clock.position(now), self.lap);
            }
            // A time to stop at that was passed a moment ago, and nobody has looked yet.
            let at = furthest.stops.at.filter(|at| furthest.armed && furthest.last < *at);
            if let Some(time) = at.filter(|at| self.began <= *at && *at <= until) {
                let condition = StopCondition::Time;
                stop = stop.or(Some(StopNotice { condition, time, stream: None }));
                until = time.saturating_add(-1);
                self.clock.put(time, now);
            }
        } else if matches!(self.leg(furthest.leg), Some(Leg::Step(_))) {
            let kept = usize::try_from(furthest.leg - self.first_leg).unwrap_or(0);
            self.legs.truncate(kept);
        } else {
            return;
        }
        // Who still plays a frame of an epoch before comes to this leg only with a seek.
        let here = |member: &Member| member.playing && member.epoch == self.epoch;
        let playing = self.members.iter().filter(|(_, member)| here(member));
        let open = playing.map(|(id, _)| *id).collect();
        self.legs.push_back(Leg::Stand { until, messages, lap, open, stop });
    }

    fn hold(&mut self, now: Instant) {
        self.running = false;
        self.clock.stop(now);
    }

    fn run(&mut self, now: Instant) {
        self.running = true;
        self.clock.run(now);
        self.pace = (now, self.clock.position(now));
    }

    /// Notes a command, also one that is refused.
    pub(super) fn count_command(&mut self, now: Instant) -> u64 {
        self.acted = now;
        self.changes += 1;
        self.commands += 1;
        self.commands
    }

    /// Stands still.
    pub(super) fn pause(&mut self, now: Instant) {
        if !self.ended {
            self.cut(now);
            self.hold(now);
        }
    }

    /// Plays on.
    pub(super) fn resume(&mut self, now: Instant) {
        if !self.ended {
            self.cut(now);
            self.run(now);
        }
    }

    /// Stands still, then plays just this much.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] if a member is too many steps behind.
    pub(super) fn step(&mut self, amount: StepAmount, now: Instant) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.check_legs()?;
        self.cut(now);
        self.hold(now);
        self.legs.push_back(Leg::Step(match amount {
            StepAmount::DurationNs(ns) => {
                // From here on a time to come to, the same for all.
                StepAmount::DurationNs(self.clock.position(now).saturating_add(ns).0)
            }
            other => other,
        }));
        Ok(())
    }

    /// Plays at another speed.
    pub(super) fn set_speed(&mut self, speed: Speed, now: Instant) {
        self.clock.set_speed(speed, now);
        self.pace = (now, self.clock.position(now));
    }

    /// Stops at other conditions.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] if a member is too many changes behind.
    pub(super) fn set_stops(&mut self, stops: Stops, now: Instant) -> Result<()> {
        self.check_legs()?;
        self.cut(now);
        self.stops = stops;
        self.legs.push_back(Leg::Stops(stops));
        Ok(())
    }

    fn check_legs(&mut self) -> Result<()> {
        // Who has not come to this epoch yet has all of its legs before it.
        let leg_of = |member: &Member| match member.epoch == self.epoch {
            true => member.leg,
            false => self.first_leg,
        };
        let done = self.members.values().map(leg_of).min().unwrap_or(self.first_leg);
        while self.first_leg < done && self.legs.pop_front().is_some() {
            self.first_leg += 1;
        }
        match self.legs.len() < limit::REPLAY_LEGS_MAX {
            true => Ok(()),
            false => {
                let max = limit::REPLAY_LEGS_MAX;
                Err(Error::limit("steps that a member is behind:", max + 1, max))
            }
        }
    }

    /// Goes to the first message at `to` or later; plays on if it played.
    pub(super) fn seek(&mut self, to: TsNs, now: Instant) {
        self.first_leg = self.end_leg();
        self.legs.clear();
        self.epoch = Place::unlike_any().epoch;
        self.start = to;
        self.ended = false;
        (self.lap, self.first_lap) = (0, 0);
        self.began = to.max(self.span.0).min(self.span.1);
        self.clock.put(self.began, now);
        if self.running {
            self.run(now);
        } else {
            self.hold(now);
        }
    }

    /// Nanoseconds until the end: by the speed that is set, or by how it went since it changed.
    pub(super) fn eta_ns(&self, now: Instant) -> Option<i64> {
        if self.ended {
            return Some(0);
        }
        let position = self.position(now);
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
        self.running.then(|| i64::try_from(eta_ns).unwrap_or(i64::MAX))
    }

    /// How much of the recorded time was played, 0 to 100.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn percent(&self, now: Instant) -> f64 {
        let (first, last) = self.span;
        let whole = i128::from(last.0) - i128::from(first.0);
        let done = i128::from(self.position(now).0) - i128::from(first.0);
        if whole <= 0 { 100.0 } else { done as f64 * 100.0 / whole as f64 }
    }
}

#[cfg(test)]
mod tests;
