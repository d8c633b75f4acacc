//! Clients that share a session: one clock, every command for all, and each its own rows.

use std::time::Duration;

use tickreel::event::ContentHash;
use tickreel::rpc::{
    Client, Controls, EndReason, Event, JoinQuery, PlayState, ReplayQuery, RowForm, Session,
    SessionState, Speed, StepAmount, Stops,
};
use tickreel::store::Store;
use tickreel::{ErrorKind, TsNs, limit};

use crate::listener::{Listener, local, played};
use crate::market::{Dice, EVERY_NS, Market, START, btc, swap};

fn named(name: &str) -> ReplayQuery {
    let session = Some(name.to_owned());
    ReplayQuery { session, paused: true, ..ReplayQuery::all(&[btc(), swap()]) }
}

/// A member and what it has heard.
struct Member {
    session: Session,
    controls: Controls,
    listener: Listener,
}

impl Member {
    fn new(session: Session) -> Self {
        let controls = session.controls();
        let listener = Listener::new(session.streams());
        Self { session, controls, listener }
    }

    /// Listens until a state holds what is waited for.
    async fn until(&mut self, mut holds: impl FnMut(&SessionState) -> bool) -> SessionState {
        loop {
            match self.listener.next(&mut self.session).await {
                Some(Event::State(state)) if holds(&state) => return state,
                Some(Event::State(_)) => {}
                other => panic!("expected a state, found {other:?}"),
            }
        }
    }
}

async fn join(client: &Client, name: &str) -> Member {
    let mut member = Member::new(client.join(&JoinQuery::new(name)).await.unwrap());
    // What the session is like is told first.
    member.listener.state(&mut member.session).await;
    member
}

/// The hash of the first messages of a replay.
fn hash_of(store: &Store, query: &ReplayQuery, from: TsNs, messages: usize) -> ContentHash {
    let mut replay = local(store, query);
    replay.seek(from).unwrap();
    for _ in 0..messages {
        let step = replay.step(1).unwrap().unwrap();
        let (stream, messages) = (step.stream, step.messages());
        replay.accept(stream, messages, true).unwrap();
    }
    replay.total()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_of_any_member_acts_on_all_and_each_hears_of_it() {
    let market = Market::new(2000);
    let served = market.serve().await;
    let query = named("desk");
    let mut members = vec![Member::new(served.client.replay(&query).await.unwrap())];
    assert_eq!(members[0].session.name(), Some("desk"));
    members.push(join(&served.client, "desk").await);
    let other = Client::connect(&served.url).await.unwrap();
    let arrow = JoinQuery { form: RowForm::Arrow, ..JoinQuery::new("desk") };
    members.push(Member::new(other.join(&arrow).await.unwrap()));
    let state = members[2].until(|_| true).await;
    assert_eq!((state.members, state.state), (3, PlayState::Paused));

    // One steps, then another; all play the same.
    let mut messages = 0;
    for (commands, (who, count)) in (1..).zip([(2, 100), (0, 7), (1, 333)]) {
        members[who].controls.step(StepAmount::Messages(count)).await.unwrap();
        messages += usize::try_from(count).unwrap();
        for (number, member) in members.iter_mut().enumerate() {
            let told = member.until(|state| state.commands == commands).await;
            assert_eq!(told.by_other, number != who);
            let done = member.until(|state| state.state == PlayState::Paused).await;
            assert_eq!(member.listener.times.len(), messages);
            assert_eq!(done.rows, member.listener.total.rows());
        }
    }
    let expected = hash_of(&market.store, &query, TsNs::MIN, messages);
    assert!(members.iter().all(|member| member.listener.total == expected));

    let to = TsNs(START + 1500 * EVERY_NS);
    members[1].controls.seek(to).await.unwrap();
    members[0].controls.set_speed(Speed::times(20.0).unwrap()).await.unwrap();
    for member in &mut members {
        // The answers come in some order; the seek is told before any row behind it.
        member.until(|state| state.position == to).await;
        member.listener.begin_anew();
    }
    members[2].controls.resume().await.unwrap();
    let expected = hash_of(&market.store, &query, to, 0);
    assert_eq!(expected, ContentHash::EMPTY);
    let mut rest = local(&market.store, &query);
    rest.seek(to).unwrap();
    rest.play(true, |_| Ok(true)).unwrap();
    for member in &mut members {
        let end = loop {
            match member.listener.next(&mut member.session).await {
                Some(Event::End(end)) => break end,
                Some(Event::State(_)) => {}
                other => panic!("expected the end, found {other:?}"),
            }
        };
        member.listener.assert_same(&end, &rest);
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_stands_at_one_message_for_all_however_fast_each_reads() {
    let market = Market::new(9000);
    let served = market.serve().await;
    for seed in 0..4 {
        let name = format!("run-{seed}");
        let query = ReplayQuery { frame_rows_max: 40, ..named(&name) };
        let mut dice = Dice(seed + 11);
        let mut members = vec![Member::new(served.client.replay(&query).await.unwrap())];
        for _ in 0..3 {
            let query = JoinQuery { frame_rows_max: 90, ..JoinQuery::new(&name) };
            let mut member = Member::new(served.client.join(&query).await.unwrap());
            member.until(|_| true).await;
            members.push(member);
        }
        let mut commands = 0;
        for round in 0..6 {
            let flat_out = dice.below(2) == 0;
            let speed = if flat_out { Speed::FLAT_OUT } else { Speed::times(3.0).unwrap() };
            members[0].controls.set_speed(speed).await.unwrap();
            members[1].controls.resume().await.unwrap();
            commands += 2;
            // Each reads a little, some much, then one says halt.
            for member in &mut members {
                for _ in 0..dice.below(30) {
                    let next = member.session.next();
                    match tokio::time::timeout(Duration::from_millis(5), next).await {
                        Ok(event) => match event.unwrap().unwrap() {
                            Event::Frame(frame) => member.listener.hear(&frame),
                            Event::End(_) => break,
                            _ => {}
                        },
                        Err(_) => break,
                    }
                }
            }
            let who = usize::try_from(dice.below(4)).unwrap();
            members[who].controls.pause().await.unwrap();
            commands += 1;
            // Where they stand is the same for all: one message more is the same message.
            let first = members[who].controls.clone();
            first.step(StepAmount::Messages(1)).await.unwrap();
            commands += 1;
            let mut places = Vec::new();
            for member in &mut members {
                loop {
                    match member.listener.next(&mut member.session).await {
                        Some(Event::End(_)) => break,
                        Some(Event::State(state))
                            if state.commands == commands && state.state != PlayState::Playing =>
                        {
                            break;
                        }
                        Some(Event::State(_)) => {}
                        other => panic!("expected a state, found {other:?}"),
                    }
                }
                places.push((member.listener.total, member.listener.times.len()));
            }
            assert!(places.iter().all(|place| *place == places[0]), "round {round}: {places:?}");
            let (total, messages) = places[0];
            assert_eq!(total, hash_of(&market.store, &query, TsNs::MIN, messages));
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_joins_later_begins_where_the_others_are() {
    let market = Market::new(3000);
    let served = market.serve().await;
    let stops = Stops { rows: Some(1000), ..Stops::default() };
    let query = ReplayQuery { stops, ..named("late") };
    let mut first = Member::new(served.client.replay(&query).await.unwrap());
    first.controls.step(StepAmount::Messages(100)).await.unwrap();
    first.until(|state| state.rows > 0 && state.state == PlayState::Paused).await;
    let before = first.listener.total;

    let mut second = join(&served.client, "late").await;
    second.controls.resume().await.unwrap();
    // The condition counts what was played before one joined, too.
    let stopped = first.until(|state| state.stop.is_some()).await;
    second.until(|state| state.stop.is_some()).await;

    assert_eq!(second.listener.books.len(), 2);
    assert_eq!(before.then(second.listener.total), first.listener.total);
    assert!((1000..1050).contains(&stopped.rows), "{} rows", stopped.rows);
    let at = second.listener.books[0].ts_recv;
    let snapshot = market.store.snapshot().unwrap();
    let book = snapshot.book_at(&second.listener.books[0].instrument, at.unwrap()).unwrap();
    assert_eq!(
        second.listener.books[0].bids.len(),
        book.book().level_count(tickreel::event::Side::Bid)
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_reads_nothing_disturbs_nobody_and_hears_everything_later() {
    let market = Market::new(60_000);
    let served = market.serve().await;
    let query = named("slow");
    let expected = played(&market.store, &query);
    let mut slow = Member::new(served.client.replay(&query).await.unwrap());
    let other = Client::connect(&served.url).await.unwrap();
    let mut fast = join(&other, "slow").await;
    fast.controls.resume().await.unwrap();

    let end = loop {
        match fast.listener.next(&mut fast.session).await {
            Some(Event::End(end)) => break end,
            Some(Event::State(_)) => {}
            other => panic!("expected the end, found {other:?}"),
        }
    };
    fast.listener.assert_same(&end, &expected);
    // The first has not read a byte so far.
    let late = loop {
        match slow.listener.next(&mut slow.session).await {
            Some(Event::End(end)) => break end,
            Some(Event::State(_)) => {}
            other => panic!("expected the end, found {other:?}"),
        }
    };
    slow.listener.assert_same(&late, &expected);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_listed_until_its_last_member_has_left() {
    let market = Market::new(500);
    let served = market.serve().await;
    let query = named("a.b_c-1");
    let first = served.client.replay(&query).await.unwrap();
    let mut second = join(&served.client, "a.b_c-1").await;

    let listed = served.client.stats().await.unwrap().sessions;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].members), ("a.b_c-1", 2));
    assert_eq!((listed[0].state, listed[0].instruments), (PlayState::Paused, 2));
    let twice = served.client.replay(&query).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Invalid);
    assert!(twice.text().starts_with("session: "), "{twice}");
    let nobody = served.client.join(&JoinQuery::new("nobody")).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotFound);

    // The one who opened it leaves; it goes on.
    drop(first);
    second.controls.step(StepAmount::Messages(5)).await.unwrap();
    second.until(|state| state.rows > 0 && state.state == PlayState::Paused).await;
    second.controls.close().await.unwrap();
    assert_eq!(second.listener.end(&mut second.session).await.reason, EndReason::Closed);
    assert!(second.listener.next(&mut second.session).await.is_none());
    // What is over frees its name; the server may need a moment to see that the first is gone.
    let mut again = served.client.replay(&query).await;
    for _ in 0..1000 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        again = served.client.replay(&query).await;
    }
    assert_eq!(again.unwrap().name(), Some("a.b_c-1"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_sessions_have_a_name() {
    let market = Market::new(50);
    let served = market.serve().await;
    let mut clients = Vec::new();
    let mut sessions = Vec::new();
    for number in 0..limit::REPLAY_SESSIONS_MAX {
        if number % 20 == 0 {
            clients.push(Client::connect(&served.url).await.unwrap());
        }
        let query = named(&format!("s{number}"));
        sessions.push(clients[number / 20].replay(&query).await.unwrap());
    }
    let error = served.client.replay(&named("more")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert_eq!(served.client.stats().await.unwrap().sessions.len(), limit::REPLAY_SESSIONS_MAX);
    let nameless = ReplayQuery { session: None, ..named("x") };
    drop(served.client.replay(&nameless).await.unwrap());
    served.stop().await;
}
