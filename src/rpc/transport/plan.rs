//! What a member of a session is to do next, and what it has done.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Leg, Mark, Member, MemberId, Missed, Plan, Reach, Report, Transport};
use crate::quantity::TsNs;
use crate::rpc::model::{Speed, StepAmount, StopCondition, StopNotice, Stops};

impl Transport {
    /// What member `id`, whose next message is at `next`, is to do. With `commit` it does so now if
    /// that is to play.
    pub(in crate::rpc) fn plan(
        &mut self,
        id: MemberId,
        next: Option<TsNs>,
        commit: bool,
        now: Instant,
    ) -> Plan {
        let plan = loop {
            if let Some(plan) = self.plan_leg(id, next, now)
                && let Some(plan) = self.before_stop(id, next, plan, now)
            {
                break plan;
            }
        };
        if plan != Plan::Rest {
            self.acted = now;
        }
        if let (Plan::Play(_), true, Some(member)) = (&plan, commit, self.member(id)) {
            // What it missed brings it no further than others were.
            member.playing = member.missed.is_none();
        }
        plan
    }

    /// The epoch that member `id` is not in, and where it starts.
    pub(in crate::rpc) fn seeks(&self, id: MemberId) -> Option<(u64, TsNs)> {
        let member = self.members.get(&id)?;
        (member.epoch != self.epoch).then_some((self.epoch, self.start))
    }

    /// `None`: the leg is done, look at the next.
    fn plan_leg(&mut self, id: MemberId, next: Option<TsNs>, now: Instant) -> Option<Plan> {
        if let Some((epoch, start)) = self.seeks(id) {
            return Some(Plan::Seek(epoch, start));
        }
        let Some(member) = self.members.get(&id).cloned() else { return Some(Plan::Rest) };
        if let Some(missed) = member.missed {
            return Some(self.plan_missed(id, &member, missed, next));
        }
        match self.leg(member.leg).cloned() {
            Some(Leg::Stand { until, messages, lap, open, stop }) => {
                self.plan_stand(id, &member, next, (until, messages, lap), !open.is_empty(), stop)
            }
            Some(Leg::Step(amount)) => self.plan_step(id, &member, next, amount, now),
            Some(Leg::Stops(stops)) => Some(Plan::Stops(stops)),
            None => Some(self.plan_free(id, &member, next, now)),
        }
    }

    fn next_leg(&mut self, id: MemberId) -> Option<&mut Member> {
        let member = self.members.get_mut(&id)?;
        member.leg += 1;
        member.left = None;
        Some(member)
    }

    fn plan_missed(
        &mut self,
        id: MemberId,
        member: &Member,
        missed: Missed,
        next: Option<TsNs>,
    ) -> Plan {
        match (missed, next) {
            (Missed { laps: 1.., .. }, Some(_)) => Plan::Play(Reach::ANY),
            (Missed { laps: 1.., .. }, None) => Plan::Lap,
            (Missed { messages: messages @ 1.., .. }, Some(_)) => {
                Plan::Play(Reach { messages, ..Reach::ANY })
            }
            _ => {
                if let Some(member) = self.member(id) {
                    member.missed = None;
                }
                Plan::Watch(member.mark.clone().unwrap_or_default().watch)
            }
        }
    }

    fn plan_stand(
        &mut self,
        id: MemberId,
        member: &Member,
        next: Option<TsNs>,
        (until, messages, lap): (TsNs, u64, u64),
        open: bool,
        stop: Option<StopNotice>,
    ) -> Option<Plan> {
        if member.lap < lap {
            return Some(next.map_or(Plan::Lap, |_| Plan::Play(Reach::ANY)));
        }
        if let (Some(_), Some(left @ 1..)) = (next, messages.checked_sub(member.messages)) {
            return Some(Plan::Play(Reach { messages: left, ..Reach::ANY }));
        }
        if member.lap == lap && next.is_some_and(|next| next <= until) {
            return Some(Plan::Play(Reach { until, ..Reach::ANY }));
        }
        if open {
            // Woken when the others have come in.
            return Some(Plan::Wait(Duration::from_secs(1)));
        }
        let member = self.next_leg(id)?;
        if stop.is_some_and(|stop| stop.condition == StopCondition::Time) {
            member.armed = false;
        }
        stop.map(Plan::Stopped)
    }

    fn plan_step(
        &mut self,
        id: MemberId,
        member: &Member,
        next: Option<TsNs>,
        amount: StepAmount,
        now: Instant,
    ) -> Option<Plan> {
        let left = member.left.unwrap_or(amount);
        let (reach, done) = match left {
            StepAmount::Messages(left) => (Reach { messages: left, ..Reach::ANY }, left == 0),
            StepAmount::Rows(left) => (Reach { rows: left, ..Reach::ANY }, left == 0),
            StepAmount::DurationNs(until) => {
                let until = TsNs(until);
                (Reach { until, ..Reach::ANY }, next.is_none_or(|next| next > until))
            }
        };
        if done {
            let furthest = member.leg + 1 == self.end_leg();
            if let (StepAmount::DurationNs(until), true, false) = (left, furthest, self.running) {
                self.clock.put(TsNs(until).min(self.span.1), now);
            }
            self.next_leg(id)?;
            return (!self.running).then_some(Plan::Stepped);
        }
        match next {
            Some(_) => Some(Plan::Play(reach)),
            None if self.follow => Some(Plan::Follow),
            None => Some(self.reach_end(id, member, now)),
        }
    }

    fn plan_free(
        &mut self,
        id: MemberId,
        member: &Member,
        next: Option<TsNs>,
        now: Instant,
    ) -> Plan {
        if self.ended {
            if next.is_some() {
                // Samples behind the last message, which are no part of a leg.
                return Plan::Play(Reach::ANY);
            }
            let told = self.member(id).is_none_or(|m| std::mem::replace(&mut m.end_told, true));
            return if told { Plan::Rest } else { Plan::End };
        }
        if !self.running {
            return Plan::Rest;
        }
        let Some(next) = next else {
            return if self.follow { Plan::Follow } else { self.reach_end(id, member, now) };
        };
        if member.lap < self.lap || self.clock.speed() == Speed::FLAT_OUT {
            return Plan::Play(Reach::ANY);
        }
        if let Some(idle_ns) = self.idle_ns_max {
            let resumed = next.saturating_add(idle_ns.saturating_neg());
            if resumed > self.clock.position(now) {
                self.clock.put(resumed, now);
                self.pace = (now, resumed);
            }
        }
        match self.clock.wait_for(next, now) {
            Some(Duration::ZERO) => {
                Plan::Play(Reach { until: self.clock.position(now), ..Reach::ANY })
            }
            Some(wait) => Plan::Wait(wait),
            None => Plan::Rest,
        }
    }

    /// A member has no message left: the lap or the replay is over.
    fn reach_end(&mut self, id: MemberId, member: &Member, now: Instant) -> Plan {
        // A range without a row would go round for ever. A seek or a cursor may have begun the
        // first lap behind all rows.
        let began_inside = member.lap == self.first_lap && self.began > self.span.0;
        if self.looped && (member.lap_messages > 0 || began_inside) {
            return Plan::Lap;
        }
        self.cut(now);
        self.clock.put(self.span.1, now);
        self.hold(now);
        self.ended = true;
        self.changes += 1;
        let leg = self.end_leg();
        if let Some(member) = self.member(id) {
            (member.leg, member.left, member.end_told) = (leg, None, true);
        }
        Plan::End
    }

    /// A member went to the start of an epoch, perhaps no longer the last one.
    pub(in crate::rpc) fn sought(&mut self, id: MemberId, epoch: u64, mark: Mark) {
        let (leg, stops) = (self.first_leg, self.stops);
        if let Some(member) = self.member(id) {
            *member = Member { mark: Some(mark), ..Member::at_start(epoch, leg, stops) };
        }
    }

    /// A member went to the beginning for another lap.
    pub(in crate::rpc) fn lapped(&mut self, id: MemberId, mark: Mark, now: Instant) {
        let epoch = self.epoch;
        let here = self.members.get_mut(&id).filter(|member| member.epoch == epoch);
        let Some(member) = here else { return };
        if let Some(missed) = &mut member.missed {
            missed.laps = missed.laps.saturating_sub(1);
            return;
        }
        member.lap += 1;
        (member.lap_messages, member.armed, member.last) = (0, true, TsNs::MIN);
        member.mark = Some(mark);
        if member.lap > self.lap {
            self.lap = member.lap;
            self.clock.put(self.span.0, now);
            self.pace = (now, self.span.0);
            self.changes += 1;
        }
    }

    /// A member stops at other conditions from now on.
    pub(in crate::rpc) fn stops_set(&mut self, id: MemberId, stops: &Stops, mark: Mark) {
        let epoch = self.epoch;
        if let Some(member) = self.next_leg(id).filter(|member| member.epoch == epoch) {
            (member.stops, member.armed) = (*stops, stops.at.is_none_or(|at| member.last < at));
            member.mark = Some(mark);
        }
    }

    /// Holds a plan back where a time to stop at comes first; `None` if it was reached.
    fn before_stop(
        &mut self,
        id: MemberId,
        next: Option<TsNs>,
        plan: Plan,
        now: Instant,
    ) -> Option<Plan> {
        let moves = matches!(plan, Plan::Play(_) | Plan::Wait(_));
        let member = self.members.get(&id).filter(|member| member.armed && moves);
        let ahead = member.and_then(|member| Some((member, member.stops.at?)));
        // Whoever came behind the time with others has met it with them.
        let Some((member, at)) = ahead.filter(|(member, at)| member.last < *at) else {
            return Some(plan);
        };
        let (leg, last) = (self.leg(member.leg), member.last);
        let began = if member.lap == self.first_lap { self.began } else { self.span.0 };
        let comes = member.missed.is_some() || member.lap < self.lap;
        if comes || matches!(leg, Some(Leg::Stand { .. })) {
            return Some(plan);
        }
        let paced = leg.is_none() && self.clock.speed() != Speed::FLAT_OUT;
        let reached = next.is_some_and(|next| next >= at);
        if reached && (!paced || self.clock.position(now) >= at) {
            let passed = last == TsNs::MIN && began > at;
            self.member(id)?.armed = false;
            // Nothing was reached if it began behind the time.
            if !passed {
                let (condition, stream) = (StopCondition::Time, None);
                self.stop(id, StopNotice { condition, time: at, stream }, now);
            }
            return None;
        }
        Some(match plan {
            Plan::Play(reach) => {
                let until = reach.until.min(at.saturating_add(-1));
                Plan::Play(Reach { until, ..reach })
            }
            Plan::Wait(wait) => {
                let until = self.clock.wait_for(at, now);
                Plan::Wait(until.map_or(wait, |until| until.min(wait)))
            }
            other => other,
        })
    }

    /// A condition was met where member `id` is, which was there first.
    fn stop(&mut self, id: MemberId, notice: StopNotice, now: Instant) {
        let Some(member) = self.members.get(&id).cloned() else { return };
        if member.epoch != self.epoch || matches!(self.leg(member.leg), Some(Leg::Stand { .. })) {
            // Others came here before; the member will hear of it when it has done the leg.
            return;
        }
        let kept = usize::try_from(member.leg.saturating_sub(self.first_leg)).unwrap_or(0);
        self.legs.truncate(kept);
        let Member { messages, lap, .. } = member;
        let (until, open, stop) = (TsNs::MIN, BTreeSet::new(), Some(notice));
        self.legs.push_back(Leg::Stand { until, messages, lap, open, stop });
        self.clock.put(notice.time.min(self.span.1), now);
        self.hold(now);
        self.changes += 1;
    }

    /// Takes note of what a member has played, and where it is now.
    pub(in crate::rpc) fn played(
        &mut self,
        id: MemberId,
        report: &Report,
        mark: Mark,
        now: Instant,
    ) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if let Some(missed) = &mut member.missed {
            missed.messages = missed.messages.saturating_sub(report.messages);
            return;
        }
        member.playing = false;
        member.mark = Some(mark);
        member.messages += report.messages;
        member.lap_messages += report.messages;
        member.last = report.last.unwrap_or(member.last);
        if member.epoch != self.epoch {
            return;
        }
        let (messages, leg, lap) = (member.messages, member.leg, member.lap);
        let step = self.leg(leg).cloned();
        if let (Some(Leg::Step(amount)), Some(member)) = (&step, self.members.get_mut(&id)) {
            member.left = Some(match member.left.unwrap_or(*amount) {
                StepAmount::Messages(left) => {
                    StepAmount::Messages(left.saturating_sub(report.messages))
                }
                StepAmount::Rows(left) => StepAmount::Rows(left.saturating_sub(report.rows)),
                duration @ StepAmount::DurationNs(_) => duration,
            });
        }
        self.come_in(id, messages);
        // A clock that runs is never behind what was played.
        if let Some(last) = report.last.filter(|_| lap == self.lap)
            && last > self.clock.position(now)
        {
            self.clock.put(last, now);
        }
        if let Some(notice) = report.stop {
            self.stop(id, notice, now);
        }
    }

    /// A member no longer plays what it played when legs were made.
    pub(super) fn come_in(&mut self, id: MemberId, came: u64) {
        for leg in &mut self.legs {
            if let Leg::Stand { messages, open, .. } = leg
                && open.remove(&id)
            {
                *messages = came.max(*messages);
                self.changes += 1;
            }
        }
    }
}
