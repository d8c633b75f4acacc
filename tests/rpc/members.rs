//! A member of a session that lost its connection comes back to its place in what all play,
//! whoever is ahead by then, and whether or not anybody is left.

use tickreel::rpc::{
    Client, EndReason, Event, JoinQuery, LastingSession, Output, PlayState, ReplayQuery, RowForm,
    Session, Speed, StepAmount, Stops,
};
use tickreel::{ErrorKind, TsNs};
use tokio::task::JoinHandle;

use crate::lasting::{Line, end, reconnected, state, told};
use crate::limits::until;
use crate::listener::{Listener, local, played};
use crate::market::{EVERY_NS, Market, START, Served, btc, swap};
use crate::outputs::Heard;

fn shared(name: &str) -> ReplayQuery {
    let session = Some(name.to_owned());
    ReplayQuery { session, paused: true, frame_rows_max: 60, ..ReplayQuery::all(&[btc(), swap()]) }
}

fn member_of(name: &str) -> JoinQuery {
    JoinQuery { frame_rows_max: 50, ..JoinQuery::new(name) }
}

/// Hears a session up to its end, and stays in it.
fn hear(mut session: Session) -> JoinHandle<(Session, Listener)> {
    tokio::spawn(async move {
        let mut listener = Listener::new(session.streams());
        while !matches!(listener.next(&mut session).await.unwrap(), Event::End(_)) {}
        (session, listener)
    })
}

/// Waits until the server has noticed who is gone.
async fn members(served: &Served, count: usize) {
    let left = async || {
        let sessions = served.client.stats().await.unwrap().sessions;
        sessions.iter().map(|session| session.members).sum::<usize>() == count
    };
    until("the server notices who is gone", left).await;
}

/// Steps, and listens until that is done.
async fn step(session: &mut LastingSession, listener: &mut Listener, messages: u64) {
    session.controls().step(StepAmount::Messages(messages)).await.unwrap();
    stands(session, listener).await;
}

/// Listens until it has played and stands.
async fn stands(session: &mut LastingSession, listener: &mut Listener) {
    while state(session, listener).await.state != PlayState::Playing {}
    while state(session, listener).await.state == PlayState::Playing {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_hears_every_row_once_wherever_its_connection_is_lost() {
    let market = Market::new(4000);
    let served = market.serve().await;
    let mut lost = 0;
    for (number, bytes) in (2_000..90_000).step_by(8_000).enumerate() {
        let name = format!("desk-{number}");
        let query = shared(&name);
        let speed = if number % 2 == 0 { Speed::FLAT_OUT } else { Speed::times(10.0).unwrap() };
        let opened = served.client.replay(&ReplayQuery { speed, ..query.clone() }).await.unwrap();
        let line = Line::breaking(&served, bytes).await;
        let (mut session, mut listener) = line.join(&member_of(&name)).await.unwrap();
        let controls = opened.controls();
        let others = hear(opened);
        controls.resume().await.unwrap();

        let end = loop {
            match told(&mut session, &mut listener).await {
                Event::End(end) => break end,
                Event::Reconnected => lost += 1,
                Event::State(_) | Event::OpeningBook(_) => {}
                other => panic!("expected nothing else, found {other:?}"),
            }
        };

        let expected = played(&market.store, &query);
        listener.assert_same(&end, &expected);
        assert_eq!(others.await.unwrap().1.total, expected.total());
    }
    assert!(lost > 5, "{lost} connections were lost");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_hears_every_sample_once_wherever_its_connection_is_lost() {
    let market = Market::new(1500);
    let served = market.serve().await;
    let mut lost = 0;
    for (number, bytes) in (12_000..120_000).step_by(9_000).enumerate() {
        let name = format!("samples-{number}");
        let speed = if number % 2 == 0 { Speed::FLAT_OUT } else { Speed::times(5.0).unwrap() };
        let output = Output::metrics().every(EVERY_NS / 2);
        let query = ReplayQuery { speed, output, ..shared(&name) };
        let mut opened = served.client.replay(&query).await.unwrap();
        let line = Line::breaking(&served, bytes).await;
        let (mut session, _) = line.join(&member_of(&name)).await.unwrap();
        opened.controls().resume().await.unwrap();
        let other = tokio::spawn(async move { (Heard::all(&mut opened).await, opened) });

        let mut frames = Vec::new();
        loop {
            match session.next().await.unwrap().unwrap() {
                Event::Books(frame) => frames.push(frame),
                Event::Reconnected => lost += 1,
                Event::End(_) => break,
                _ => {}
            }
        }

        let (expected, _) = other.await.unwrap();
        assert_eq!(Heard::tables(&[&frames]), expected.whole());
    }
    assert!(lost > 5, "{lost} connections were lost");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_ahead_of_the_others_hears_nothing_twice() {
    // Several times what fits on the way to a client.
    let market = Market::new(45_000);
    let served = market.serve().await;
    let form = RowForm::Arrow;
    let query = ReplayQuery { form, ..shared("slow") };
    let expected = played(&market.store, &query);
    // Reads nothing for now, and so is behind.
    let other = Client::connect(&served.url).await.unwrap();
    let mut slow = other.replay(&query).await.unwrap();
    let line = Line::new(&served).await;
    let join = JoinQuery { form, ..member_of("slow") };
    let (mut session, mut listener) = line.join(&join).await.unwrap();
    session.controls().resume().await.unwrap();
    while listener.total.rows() < 90_000 {
        if let Event::Frame(frame) = session.next().await.unwrap().unwrap() {
            listener.hear(&frame);
        }
    }

    line.cut();
    members(&served, 1).await;
    let mut others = Listener::new(slow.streams());
    slow.controls().pause().await.unwrap();
    while others.state(&mut slow).await.state == PlayState::Playing {}
    assert!(others.total.rows() < listener.total.rows());
    reconnected(&mut session, &mut listener).await;
    let before = listener.total;
    // Nor if it is lost again while it waits for the others.
    for lost in [false, true] {
        if lost {
            line.cut();
            members(&served, 1).await;
            reconnected(&mut session, &mut listener).await;
        }
        let told = state(&mut session, &mut listener).await;
        assert_eq!((told.members, told.state), (2, PlayState::Paused));
        assert_eq!(listener.total, before, "the others are behind");
    }
    slow.controls().resume().await.unwrap();
    let all = async { while !matches!(others.next(&mut slow).await.unwrap(), Event::End(_)) {} };
    let (end, ()) = tokio::join!(end(&mut session, &mut listener), all);

    listener.assert_same(&end, &expected);
    assert_eq!(others.total, expected.total());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opened_a_session_comes_back_to_it_like_any_member() {
    let market = Market::new(3000);
    let served = market.serve().await;
    let line = Line::new(&served).await;
    let query = shared("lesson");
    let (mut session, mut listener) = line.replay(&query).await.unwrap();
    let other = served.client.join(&member_of("lesson")).await.unwrap();
    let controls = other.controls();
    let others = hear(other);
    step(&mut session, &mut listener, 100).await;
    let books = listener.openings;

    line.cut();
    members(&served, 1).await;
    controls.step(StepAmount::Messages(1000)).await.unwrap();
    reconnected(&mut session, &mut listener).await;
    // A command that is given while it still hears what it missed.
    session.controls().set_speed(Speed::FLAT_OUT).await.unwrap();
    stands(&mut session, &mut listener).await;
    assert_eq!(listener.times.len(), 1100);
    assert_eq!(listener.openings, books, "no opening book came twice");
    session.controls().resume().await.unwrap();
    let end = end(&mut session, &mut listener).await;

    let expected = played(&market.store, &query);
    listener.assert_same(&end, &expected);
    assert_eq!(others.await.unwrap().1.total, expected.total());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_nobody_is_left_in_is_opened_again_and_the_others_join_it() {
    let market = Market::new(3000);
    let served = market.serve().await;
    let query = shared("desk");
    // One hears less than who opens it again, one more.
    let line = Line::breaking(&served, 15_000).await;
    let mut one = line.replay(&query).await.unwrap();
    let line = Line::breaking(&served, 9_000).await;
    let mut two = line.join(&member_of("desk")).await.unwrap();
    let line = Line::breaking(&served, 25_000).await;
    let mut three = line.join(&member_of("desk")).await.unwrap();
    one.0.controls().step(StepAmount::Messages(4000)).await.unwrap();
    members(&served, 0).await;

    // The others may ask before there is a session again.
    tokio::join!(
        reconnected(&mut one.0, &mut one.1),
        reconnected(&mut two.0, &mut two.1),
        reconnected(&mut three.0, &mut three.1)
    );
    assert!(two.1.times.len() < one.1.times.len() && one.1.times.len() < three.1.times.len());
    one.0.controls().resume().await.unwrap();
    let ends = tokio::join!(
        end(&mut one.0, &mut one.1),
        end(&mut two.0, &mut two.1),
        end(&mut three.0, &mut three.1)
    );

    let expected = played(&market.store, &query);
    one.1.assert_same(&ends.0, &expected);
    two.1.assert_same(&ends.1, &expected);
    three.1.assert_same(&ends.2, &expected);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_after_a_seek_of_others_is_told_and_goes_on_where_they_are() {
    let market = Market::new(2000);
    let served = market.serve().await;
    let query = shared("moved");
    let opened = served.client.replay(&query).await.unwrap();
    let controls = opened.controls();
    let others = hear(opened);
    let line = Line::new(&served).await;
    let (mut session, mut listener) = line.join(&member_of("moved")).await.unwrap();
    let epoch = state(&mut session, &mut listener).await.epoch;
    step(&mut session, &mut listener, 100).await;

    line.cut();
    members(&served, 1).await;
    let to = TsNs(START + 1500 * EVERY_NS);
    controls.seek(to).await.unwrap();
    reconnected(&mut session, &mut listener).await;
    listener.begin_anew();
    let moved = state(&mut session, &mut listener).await;
    assert_ne!(moved.epoch, epoch);
    assert!(moved.by_other);
    let mut books = 0;
    session.controls().resume().await.unwrap();
    let end = loop {
        match told(&mut session, &mut listener).await {
            Event::OpeningBook(_) => books += 1,
            Event::State(_) => {}
            Event::End(end) => break end,
            other => panic!("expected nothing else, found {other:?}"),
        }
    };

    let mut expected = local(&market.store, &query);
    expected.seek(to).unwrap();
    expected.play(true, |_| Ok(true)).unwrap();
    listener.assert_same(&end, &expected);
    assert_eq!(books, 2, "the books there are told");
    drop(others.await.unwrap());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seek_of_another_member_begins_the_counts_of_all_connections_anew() {
    let market = Market::new(2000);
    let served = market.serve().await;
    let query = shared("counts");
    let opened = served.client.replay(&query).await.unwrap();
    let controls = opened.controls();
    let others = hear(opened);
    let line = Line::new(&served).await;
    let (mut session, mut listener) = line.join(&member_of("counts")).await.unwrap();
    step(&mut session, &mut listener, 300).await;
    line.cut();
    reconnected(&mut session, &mut listener).await;
    let epoch = state(&mut session, &mut listener).await.epoch;
    step(&mut session, &mut listener, 50).await;
    assert_eq!(listener.times.len(), 350);

    let to = TsNs(START + 700 * EVERY_NS);
    controls.seek(to).await.unwrap();
    controls.resume().await.unwrap();
    let told = loop {
        let state = state(&mut session, &mut listener).await;
        if state.epoch != epoch {
            break state;
        }
    };
    assert!(told.by_other);
    listener.begin_anew();
    let end = end(&mut session, &mut listener).await;

    let mut expected = local(&market.store, &query);
    expected.seek(to).unwrap();
    expected.play(true, |_| Ok(true)).unwrap();
    listener.assert_same(&end, &expected);
    drop(others.await.unwrap());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_before_the_server_noticed_it_was_gone_joins_its_own_session() {
    let market = Market::new(2000);
    let served = market.serve().await;
    let line = Line::new(&served).await;
    let query = shared("alone");
    let (mut session, mut listener) = line.replay(&query).await.unwrap();
    step(&mut session, &mut listener, 300).await;

    line.hang_up();
    reconnected(&mut session, &mut listener).await;
    assert_eq!(state(&mut session, &mut listener).await.members, 2);
    session.controls().resume().await.unwrap();
    let end = end(&mut session, &mut listener).await;

    listener.assert_same(&end, &played(&market.store, &query));
    line.cut();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_count_what_was_played_while_a_member_was_gone_and_count_it_once() {
    let market = Market::new(2000);
    let served = market.serve().await;
    let stops = Stops { rows: Some(1000), ..Stops::default() };
    let query = ReplayQuery { stops, ..shared("stops") };
    let opened = served.client.replay(&query).await.unwrap();
    let controls = opened.controls();
    let others = hear(opened);
    let line = Line::new(&served).await;
    let (mut session, mut listener) = line.join(&member_of("stops")).await.unwrap();
    step(&mut session, &mut listener, 50).await;

    line.cut();
    members(&served, 1).await;
    controls.step(StepAmount::Messages(100)).await.unwrap();
    reconnected(&mut session, &mut listener).await;
    stands(&mut session, &mut listener).await;
    assert_eq!(listener.times.len(), 150);
    // Nobody else stops it.
    others.abort();
    drop(controls);
    members(&served, 1).await;
    session.controls().resume().await.unwrap();
    while state(&mut session, &mut listener).await.stop.is_none() {}

    let rows = listener.total.rows();
    assert!((1000..1050).contains(&rows), "{rows} rows");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lap_of_a_member_is_whole_wherever_the_connection_is_lost() {
    let market = Market::new(300);
    let served = market.serve().await;
    let mut lost = 0;
    for bytes in (1_000..16_000).step_by(1_000) {
        let name = format!("round-{bytes}");
        let range = TsNs(START + 100 * EVERY_NS)..TsNs(START + 160 * EVERY_NS);
        let query = ReplayQuery { range, looped: true, opening_depth: Some(1), ..shared(&name) };
        let expected = played(&market.store, &query);
        let opened = served.client.replay(&query).await.unwrap();
        let controls = opened.controls();
        let line = Line::breaking(&served, bytes).await;
        let join = JoinQuery { opening_depth: Some(1), ..member_of(&name) };
        let (mut session, mut listener) = line.join(&join).await.unwrap();
        controls.set_speed(Speed::times(0.5).unwrap()).await.unwrap();
        controls.resume().await.unwrap();
        // It is ahead or behind when the other comes back.
        let mut opened = opened;
        let others = tokio::spawn(async move { while let Ok(Some(_)) = opened.next().await {} });
        let (mut laps, mut books) = (0, 0);
        while laps < 5 {
            match told(&mut session, &mut listener).await {
                Event::OpeningBook(_) => books += 1,
                Event::Reconnected => lost += 1,
                Event::State(_) => {}
                Event::End(end) => {
                    laps += 1;
                    assert_eq!(end.reason, EndReason::Looped);
                    assert_eq!(books, laps * 2, "after {bytes} bytes");
                    listener.assert_same(&end, &expected);
                    listener.begin_anew();
                }
                other => panic!("expected nothing else, found {other:?}"),
            }
        }
        others.abort();
    }
    assert!(lost > 5, "{lost} connections were lost");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_only_joined_gives_up_when_nobody_opens_the_session_again() {
    let market = Market::new(100);
    let served = market.serve().await;
    let opened = served.client.replay(&shared("over")).await.unwrap();
    let line = Line::new(&served).await;
    let (mut session, mut listener) = line.join(&member_of("over")).await.unwrap();
    state(&mut session, &mut listener).await;

    drop(opened);
    members(&served, 1).await;
    line.cut();
    members(&served, 0).await;
    let error = loop {
        match session.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("expected an error"),
            Err(error) => break error,
        }
    };

    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.text().contains("there is no session \"over\""), "{error}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_of_places_that_cannot_be_harm_nobody_else() {
    let market = Market::new(1000);
    let served = market.serve().await;
    let query = ReplayQuery { looped: true, ..shared("forged") };
    let opened = served.client.replay(&query).await.unwrap();
    let controls = opened.controls();
    let others = hear(opened);
    let line = Line::new(&served).await;
    let (mut session, mut listener) = line.join(&member_of("forged")).await.unwrap();
    let start = state(&mut session, &mut listener).await.cursor;
    step(&mut session, &mut listener, 200).await;
    let there = listener.cursor.clone();

    // What it is, the epoch, the lap, the messages, then the cursor of the player.
    let with = |cursor: &[u8], lap: u64, messages: u64| {
        let numbers = [lap.to_le_bytes(), messages.to_le_bytes()].concat();
        [&cursor[..9], &numbers, &cursor[25..]].concat()
    };
    let most = i64::MAX.cast_unsigned();
    let client = Client::connect(&served.url).await.unwrap();
    let mut kept = Vec::new();
    for (forged, refused) in [
        (with(&start, 0, most), false),
        (with(&there, most, most), false),
        (with(&there, most, 0), false),
        (with(&there, 0, 0), false),
        (with(&there, u64::MAX, u64::MAX), false),
        (there[..24].to_vec(), false),
        (b"nonsense".to_vec(), false),
        (there[..30].to_vec(), true),
        ([&there[..25], &[9]].concat(), true),
    ] {
        let resume_cursor = forged.into();
        match client.join(&JoinQuery { resume_cursor, ..member_of("forged") }).await {
            Ok(session) => {
                assert!(!refused);
                kept.push(hear(session));
            }
            Err(error) => {
                assert!(refused, "{error}");
                assert_eq!(error.kind(), ErrorKind::Invalid);
                assert!(error.text().starts_with("resume_cursor: "), "{error}");
            }
        }
    }
    controls.resume().await.unwrap();
    let end = end(&mut session, &mut listener).await;

    let expected = played(&market.store, &query);
    listener.assert_same(&end, &expected);
    assert_eq!(others.await.unwrap().1.total, expected.total());
    kept.iter().for_each(JoinHandle::abort);
    served.stop().await;
}
