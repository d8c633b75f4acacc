//! Members that play a made-up replay by the script: whatever is commanded, and however far each
//! has come meanwhile, all of them are told to stand at the same message.

use super::*;
use crate::quantity::Instrument;
use crate::rpc::model::StopCondition;

/// Times of the messages of a replay, some equal.
fn times() -> Vec<i64> {
    (0..200).map(|message: i64| 1000 + message * message / 9).collect()
}

const SPAN: (TsNs, TsNs) = (TsNs(1000), TsNs(1000 + 199 * 199 / 9));

/// A member and what it has played.
struct Play {
    id: MemberId,
    next: usize,
    times: Vec<i64>,
    heard: Vec<Plan>,
}

impl Play {
    fn next_ts(&self) -> Option<TsNs> {
        self.times.get(self.next).map(|ts| TsNs(*ts))
    }

    fn mark(&self) -> Mark {
        Mark { cursor: self.next.to_string().into_bytes().into(), ..Mark::default() }
    }

    fn open(transport: &mut Transport) -> Self {
        let mut play = Self { id: 0, next: 0, times: times(), heard: Vec::new() };
        play.id = transport.open(play.mark(), None);
        play
    }

    fn join(transport: &mut Transport) -> Self {
        let (id, mark) = transport.join(None);
        let mut play = Self { id, next: 0, times: times(), heard: Vec::new() };
        if let Some(mark) = mark {
            play.go_to(&mark);
        }
        play
    }

    /// Leaves; gives where that was.
    fn lose(self, transport: &mut Transport) -> (Place, usize) {
        let place = transport.place(self.id);
        assert!(transport.leave(self.id), "others are left");
        (place, self.next)
    }

    /// Comes back to where it was, if it is not there before the others.
    fn come_back(transport: &mut Transport, (place, next): (Place, usize)) -> Self {
        let (id, mark) = transport.join(Some(place));
        let mut play = Self { id, next, times: times(), heard: Vec::new() };
        if transport.place(id) != place {
            mark.iter().for_each(|mark| play.go_to(mark));
        }
        play
    }

    fn go_to(&mut self, mark: &Mark) {
        self.next = std::str::from_utf8(&mark.cursor).unwrap().parse().unwrap();
    }

    /// Does what is planned, at most `frame` messages of it; `false` if that is nothing.
    fn act(&mut self, transport: &mut Transport, frame: u64, now: Instant) -> bool {
        match transport.plan(self.id, self.next_ts(), true, now) {
            Plan::Play(reach) => {
                let report = self.play(reach, frame);
                transport.played(self.id, &report, self.mark(), now);
            }
            Plan::Wait(_) | Plan::Rest | Plan::Follow => return false,
            Plan::Seek(epoch, start) => {
                self.next = self.times.partition_point(|ts| *ts < start.0);
                transport.sought(self.id, epoch, self.mark());
            }
            Plan::Lap => {
                self.next = 0;
                transport.lapped(self.id, self.mark(), now);
            }
            Plan::Stops(stops) => transport.stops_set(self.id, &stops, self.mark()),
            Plan::Watch(_) => {}
            told => self.heard.push(told),
        }
        true
    }

    fn play(&mut self, reach: Reach, frame: u64) -> Report {
        let (mut messages, mut last) = (0, None);
        while messages < reach.messages.min(reach.rows).min(frame)
            && let Some(ts) = self.next_ts().filter(|ts| *ts <= reach.until)
        {
            (messages, last, self.next) = (messages + 1, Some(ts), self.next + 1);
        }
        assert!(messages > 0, "told to play nothing: {reach:?} at {}", self.next);
        Report { messages, rows: messages, last, stop: None }
    }
}

fn query() -> ReplayQuery {
    ReplayQuery::all(&[Instrument::parse("a:B").unwrap()])
}

fn transport(query: &ReplayQuery, now: Instant) -> Transport {
    Transport::new(query, SPAN, SPAN.0, now)
}

#[test]
fn how_much_is_played_and_when_it_ends_follow_the_clock() {
    let start = Instant::now();
    let at = |us| start + Duration::from_micros(us);
    let speed = |times| Speed::times(times).unwrap();
    let mut transport = transport(&ReplayQuery { speed: speed(0.001), ..query() }, start);
    let told = |transport: &Transport, us| (transport.percent(at(us)), transport.eta_ns(at(us)));

    assert_eq!(told(&transport, 0), (0.0, Some(4_400_000)));
    assert_eq!(told(&transport, 1100), (25.0, Some(3_300_000)));
    transport.set_speed(speed(0.002), at(2200));
    assert_eq!(told(&transport, 2200), (50.0, Some(1_100_000)));
    transport.pause(at(2750));
    assert_eq!(told(&transport, 9999), (75.0, None));
    transport.seek(TsNs(SPAN.0.0 + 1100), at(9999));
    assert_eq!(told(&transport, 9999), (25.0, None));
}

/// What the members and the script are, for a test that fails.
fn shown(transport: &Transport, plays: &[Play]) -> String {
    let members = plays.iter().map(|play| (play.next, transport.members.get(&play.id)));
    let members: Vec<_> = members.collect();
    format!(
        "{members:#?}\n{:#?} from {}, lap {}",
        transport.legs, transport.first_leg, transport.lap
    )
}

/// Lets everybody act until nobody has anything to do.
fn settle(transport: &mut Transport, plays: &mut [Play], now: Instant) {
    for _ in 0..10_000 {
        let acted = plays.iter_mut().map(|play| play.act(transport, 7, now));
        if !acted.fold(false, |any, acted| any | acted) {
            return;
        }
    }
    panic!("they never come to rest");
}

fn dice(state: &mut u64, end: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
    (*state >> 33) % end
}

#[test]
fn members_stand_at_the_same_message_whatever_is_commanded() {
    for seed in 0..300u64 {
        let mut state = seed;
        let start = Instant::now();
        let mut now = start;
        let looped = dice(&mut state, 2) == 0;
        let mut transport = transport(&ReplayQuery { looped, ..query() }, now);
        let mut plays = vec![Play::open(&mut transport)];
        let mut lost = Vec::new();
        for _ in 0..60 {
            now += Duration::from_nanos(dice(&mut state, 300));
            match dice(&mut state, 14) {
                0 => transport.pause(now),
                1 => transport.resume(now),
                2 => {
                    let amount = match dice(&mut state, 3) {
                        0 => StepAmount::Messages(1 + dice(&mut state, 30)),
                        1 => StepAmount::Rows(1 + dice(&mut state, 30)),
                        _ => StepAmount::DurationNs(dice(&mut state, 400).cast_signed()),
                    };
                    transport.step(amount, now).unwrap();
                }
                3 => transport.set_speed(Speed::AS_RECORDED, now),
                4 => transport.set_speed(Speed::FLAT_OUT, now),
                5 => transport.seek(TsNs(1000 + dice(&mut state, 4400).cast_signed()), now),
                6 if plays.len() < 4 => plays.push(Play::join(&mut transport)),
                7 if plays.len() > 1 => {
                    let gone = usize::try_from(dice(&mut state, plays.len() as u64)).unwrap();
                    lost.push(plays.swap_remove(gone).lose(&mut transport));
                }
                8 => {
                    let at = Some(TsNs(1000 + dice(&mut state, 4400).cast_signed()));
                    transport.set_stops(Stops { at, ..Stops::default() }, now).unwrap();
                }
                9 => plays.extend(lost.pop().map(|was| Play::come_back(&mut transport, was))),
                _ => {}
            }
            // Some act, some are slow, some are in the middle of a frame when others command.
            for _ in 0..dice(&mut state, 6) {
                let at = usize::try_from(dice(&mut state, plays.len() as u64)).unwrap();
                let frame = 1 + dice(&mut state, 40);
                plays[at].act(&mut transport, frame, now);
            }
        }
        let mut slow = None;
        if let Plan::Play(reach) = transport.plan(plays[0].id, plays[0].next_ts(), true, now) {
            slow = Some(plays[0].play(reach, 5));
        }
        transport.pause(now);
        if let Some(report) = slow {
            let mark = plays[0].mark();
            transport.played(plays[0].id, &report, mark, now);
        }

        settle(&mut transport, &mut plays, now);

        let places: Vec<_> = plays.iter().map(|play| play.next).collect();
        let same = places.iter().all(|place| *place == places[0]);
        assert!(same, "seed {seed}: {places:?}\n{}", shown(&transport, &plays));
        assert_ne!(transport.motion(), PlayState::Playing, "seed {seed}");
        // A step from there is the same for all.
        transport.step(StepAmount::Messages(3), now).unwrap();
        settle(&mut transport, &mut plays, now);
        let after: Vec<_> = plays.iter().map(|play| play.next).collect();
        assert!(after.iter().all(|place| *place == after[0]), "seed {seed}: {after:?}");
    }
}

#[test]
fn a_pause_at_full_speed_stands_where_the_furthest_is_also_if_it_is_under_way() {
    let now = Instant::now();
    let mut transport = transport(&query(), now);
    let mut fast = Play::open(&mut transport);
    let mut slow = Play::join(&mut transport);
    fast.act(&mut transport, 50, now);
    slow.act(&mut transport, 10, now);
    let Plan::Play(reach) = transport.plan(fast.id, fast.next_ts(), true, now) else { panic!() };

    transport.pause(now);
    for _ in 0..20 {
        slow.act(&mut transport, 10, now);
    }
    assert_eq!(slow.next, 50, "it waits for the one that is under way");
    let report = fast.play(reach, 30);
    transport.played(fast.id, &report, fast.mark(), now);
    let mut plays = [fast, slow];
    settle(&mut transport, &mut plays, now);

    assert_eq!(plays.map(|play| play.next), [80, 80]);
}

#[test]
fn a_member_that_joins_begins_where_the_furthest_is_and_a_late_one_catches_up() {
    let now = Instant::now();
    let mut transport = transport(&query(), now);
    let mut first = Play::open(&mut transport);
    first.act(&mut transport, 60, now);
    let second = Play::join(&mut transport);
    assert_eq!(second.next, 60);

    transport.seek(TsNs(1500), now);
    let third = Play::join(&mut transport);
    assert_eq!(third.next, 0, "nobody has gone there yet");
    let mut plays = [first, second, third];
    transport.pause(now);
    settle(&mut transport, &mut plays, now);

    let there = times().partition_point(|ts| *ts < 1500);
    assert!(plays.iter().all(|play| play.next == there));
}

#[test]
fn one_who_comes_back_hears_what_it_missed_before_it_does_as_the_others() {
    let now = Instant::now();
    let looped = ReplayQuery { looped: true, paused: true, ..query() };
    let mut transport = transport(&looped, now);
    let mut plays = vec![Play::open(&mut transport), Play::join(&mut transport)];
    transport.step(StepAmount::Messages(30), now).unwrap();
    settle(&mut transport, &mut plays, now);
    let was = plays.pop().unwrap().lose(&mut transport);
    // Further than a lap, in legs that are all done.
    transport.step(StepAmount::Messages(190), now).unwrap();
    settle(&mut transport, &mut plays, now);

    let mut back = Play::come_back(&mut transport, was);
    assert_eq!((back.next, transport.motion_of(back.id)), (30, PlayState::Playing));
    let late = Play::join(&mut transport);
    assert_eq!(late.next, 20, "where it is counted");
    let mut played = 0;
    while transport.motion_of(back.id) == PlayState::Playing {
        let before = back.next;
        assert!(back.act(&mut transport, 7, now));
        played += back.next.saturating_sub(before);
    }
    assert_eq!((back.next, played), (20, 190));
    plays.extend([back, late]);
    transport.step(StepAmount::Messages(5), now).unwrap();
    settle(&mut transport, &mut plays, now);
    assert!(plays.iter().all(|play| play.next == 25));
    // Who was further than the others are now begins where they are.
    let ahead = Place { messages: 300, ..transport.place(plays[0].id) };
    let place = transport.place(plays[0].id);
    let (id, mark) = transport.join(Some(ahead));
    assert!(mark.is_some() && transport.place(id) == place && place.is_before(ahead));
}

#[test]
fn a_session_that_is_opened_where_another_was_left_goes_on_in_its_epoch() {
    let now = Instant::now();
    let from = Place { epoch: 7, lap: 3, messages: 600 };
    let mut transport = transport(&ReplayQuery { looped: true, paused: true, ..query() }, now);
    let mut opener = Play { id: 0, next: 0, times: times(), heard: Vec::new() };
    opener.id = transport.open(opener.mark(), Some(from));
    assert_eq!((transport.place(opener.id), transport.lap()), (from, 3));

    let late = Play::come_back(&mut transport, (Place { lap: 2, messages: 590, ..from }, 190));
    let mut plays = [opener, late];
    transport.step(StepAmount::Messages(4), now).unwrap();
    settle(&mut transport, &mut plays, now);
    assert!(plays.iter().all(|play| play.next == 4));
    transport.seek(SPAN.0, now);
    settle(&mut transport, &mut plays, now);
    let place = transport.place(plays[0].id);
    assert_ne!(place.epoch, from.epoch);
    assert_eq!((place.lap, place.messages), (0, 0));
}

#[test]
fn a_cursor_of_a_member_holds_its_place_and_only_such_a_one_does() {
    let place = Place { epoch: u64::MAX, lap: 1, messages: i64::MAX.cast_unsigned() };
    let cursor = place.cursor(b"player");
    assert_eq!(Place::split(&cursor), (Some(place), &b"player"[..]));
    let too_far = Place { messages: place.messages + 1, ..place }.cursor(b"player");
    for other in [&b""[..], b"\0player", &cursor[..24], &too_far] {
        assert_eq!(Place::split(other), (None, other));
    }
}

#[test]
fn everything_played_is_told_once_to_each_and_a_seek_goes_back() {
    let now = Instant::now();
    let mut transport = transport(&query(), now);
    let mut plays = [Play::open(&mut transport), Play::join(&mut transport)];

    settle(&mut transport, &mut plays, now);

    assert!(plays.iter().all(|play| play.heard == [Plan::End] && play.next == 200));
    assert_eq!((transport.motion(), transport.position(now)), (PlayState::Ended, SPAN.1));
    transport.resume(now);
    assert_eq!(transport.motion(), PlayState::Ended);
    transport.seek(SPAN.0, now);
    assert_eq!(transport.motion(), PlayState::Paused);
    transport.resume(now);
    settle(&mut transport, &mut plays, now);
    assert!(plays.iter().all(|play| play.heard == [Plan::End, Plan::End]));
}

#[test]
fn a_time_to_stop_at_is_met_once_and_before_its_first_message() {
    let now = Instant::now();
    let stops = Stops { at: Some(TsNs(2000)), ..Stops::default() };
    let mut transport = transport(&ReplayQuery { stops, ..query() }, now);
    let mut plays = [Play::open(&mut transport), Play::join(&mut transport)];

    settle(&mut transport, &mut plays, now);

    let there = times().partition_point(|ts| *ts < 2000);
    for play in &plays {
        let [Plan::Stopped(notice)] = play.heard[..] else { panic!("{:?}", play.heard) };
        assert_eq!((notice.condition, notice.time), (StopCondition::Time, TsNs(2000)));
        assert_eq!(play.next, there);
    }
    assert_eq!((transport.motion(), transport.position(now)), (PlayState::Paused, TsNs(2000)));
    transport.resume(now);
    settle(&mut transport, &mut plays, now);
    assert!(plays.iter().all(|play| play.heard[1..] == [Plan::End]));
}

#[test]
fn laps_go_round_and_the_clock_begins_again_with_each() {
    let start = Instant::now();
    let speed = Speed::times(0.001).unwrap();
    let looped = ReplayQuery { looped: true, speed, ..query() };
    let mut transport = transport(&looped, start);
    let mut plays = [Play::open(&mut transport), Play::join(&mut transport)];
    let whole = Duration::from_nanos(1000 * u64::try_from(SPAN.1.0 - SPAN.0.0).unwrap());

    settle(&mut transport, &mut plays, start + whole);
    assert_eq!(transport.lap(), 1);
    assert_eq!(transport.position(start + whole), SPAN.0);
    let half = TsNs(transport.position(start + whole + whole / 2).0);
    settle(&mut transport, &mut plays, start + whole + whole / 2);

    let there = times().partition_point(|ts| *ts <= half.0);
    assert!(plays.iter().all(|play| play.next == there));
}

#[test]
fn a_member_may_be_only_so_many_steps_behind() {
    let now = Instant::now();
    let mut transport = transport(&ReplayQuery { paused: true, ..query() }, now);
    let mut fast = Play::open(&mut transport);
    let _slow = Play::join(&mut transport);
    let mut done = 0;
    let refused = loop {
        let amount = StepAmount::DurationNs(0);
        if let Err(error) = transport.step(amount, now) {
            break error;
        }
        done += 1;
        while fast.act(&mut transport, 9, now) {}
    };

    assert_eq!(refused.kind(), crate::ErrorKind::Limit);
    assert!((limit::REPLAY_LEGS_MAX / 2..=limit::REPLAY_LEGS_MAX).contains(&done), "{done}");
}

#[test]
fn one_that_is_late_to_a_seek_is_not_waited_for_and_does_the_steps_given_meanwhile() {
    let now = Instant::now();
    let mut transport = transport(&query(), now);
    let mut fast = Play::open(&mut transport);
    let mut late = Play::join(&mut transport);
    fast.act(&mut transport, 50, now);
    let Plan::Play(reach) = transport.plan(late.id, late.next_ts(), true, now) else { panic!() };
    transport.seek(TsNs(1500), now);
    fast.act(&mut transport, 1, now);

    // The late one is still in the middle of a frame.
    transport.pause(now);
    for _ in 0..3 {
        transport.step(StepAmount::Messages(10), now).unwrap();
        while fast.act(&mut transport, 7, now) {}
    }
    let there = times().partition_point(|ts| *ts < 1500);
    assert_eq!(fast.next, there + 30, "it waits for nobody");
    let report = late.play(reach, 5);
    transport.played(late.id, &report, late.mark(), now);
    let mut plays = [fast, late];
    settle(&mut transport, &mut plays, now);

    assert_eq!(plays.map(|play| play.next), [there + 30; 2]);
}

#[test]
fn a_session_acts_as_long_as_there_is_something_to_play() {
    let start = Instant::now();
    let mut transport = transport(&query(), start);
    let mut play = Play::open(&mut transport);
    let later = start + Duration::from_secs(3600);

    play.act(&mut transport, 9, later);
    transport.step(StepAmount::Messages(1), later).unwrap();
    while play.act(&mut transport, 9, later) {}
    assert_eq!(transport.acted(), later);

    let long_after = later + Duration::from_secs(3600);
    assert!(!play.act(&mut transport, 9, long_after));
    assert_eq!(transport.acted(), later, "to rest is not to act");
}
