//! A replay stops by itself right after the message that meets a condition, and goes on without a
//! loss; laps are told and equal.

use tickreel::book::{State, Tracker};
use tickreel::event::{Action, Kind, StatusWhat, StreamKey, trades};
use tickreel::rpc::{
    EndReason, Event, Output, PlayState, ReplayQuery, Speed, StopCondition, StopNotice, Stops,
};
use tickreel::store::Store;
use tickreel::{Decimal, TsNs};

use crate::listener::{Listener, local, played};
use crate::market::{EVERY_NS, Market, START, btc, swap};

/// Messages after which a replay stops, and why, by walking through all of them.
fn expected(store: &Store, query: &ReplayQuery) -> Vec<(usize, StopNotice)> {
    let mut replay = local(store, query);
    let keys: Vec<StreamKey> = replay.streams().cloned().collect();
    let mut wide = vec![false; keys.len()];
    let (mut found, mut messages, mut rows) = (Vec::new(), 0, 0);
    let mut at = query.stops.at;
    let opened = replay.next_ts().unwrap();
    while let Some(next) = replay.next_ts() {
        if at.is_some_and(|at| next >= at) {
            let time = at.take().unwrap();
            if time >= opened {
                let condition = StopCondition::Time;
                found.push((messages, StopNotice { condition, time, stream: None }));
            }
        }
        let step = replay.step(1).unwrap().unwrap();
        let (stream, batch) = (step.stream, step.batch);
        let message_rows = step.rows();
        rows += message_rows.len() as u64;
        let mut codes = message_rows.clone().map(|row| batch.u8s(2)[row]);
        let gap = match keys[stream].kind {
            Kind::Book => codes.any(|code| code == Action::Gap as u8),
            Kind::Status => codes.any(|code| {
                [StatusWhat::Gap as u8, StatusWhat::Disconnected as u8].contains(&code)
            }),
            _ => false,
        };
        let large = query.stops.trade_qty.is_some_and(|limit| {
            let qty = |row| Decimal::new(batch.i64s(trades::QTY)[row], batch.scale(trades::QTY));
            keys[stream].kind == Kind::Trades
                && message_rows.clone().any(|row| qty(row).unwrap() > limit)
        });
        let messages_played = step.messages();
        replay.accept(stream, messages_played, false).unwrap();
        messages += 1;
        let spread = |book: &Tracker| {
            let limit = query.stops.spread_bps?;
            let bps = book.book().spread_bps().filter(|_| book.state() == State::Live);
            Some(bps.is_some_and(|bps| bps > limit))
        };
        let now_wide = replay.book(stream).and_then(spread).unwrap_or(false);
        let was_wide = match replay.book(stream) {
            Some(_) => std::mem::replace(&mut wide[stream], now_wide),
            None => false,
        };
        let widened = now_wide && !was_wide;
        let enough = query.stops.rows.is_some_and(|limit| rows >= limit);
        if enough {
            rows = 0;
        }
        let condition = match (gap && query.stops.gap, large, widened, enough) {
            (true, ..) => StopCondition::Gap,
            (_, true, ..) => StopCondition::Trade,
            (_, _, true, _) => StopCondition::Spread,
            (.., true) => StopCondition::Rows,
            _ => continue,
        };
        found.push((messages, StopNotice { condition, time: next, stream: Some(stream) }));
    }
    found
}

fn stops() -> Vec<Stops> {
    let none = Stops::default();
    let decimal = |text| Some(Decimal::parse(text).unwrap());
    vec![
        Stops { gap: true, ..none },
        Stops { rows: Some(777), ..none },
        Stops { at: Some(TsNs(START + 1234 * EVERY_NS)), ..none },
        Stops { trade_qty: decimal("0.95"), ..none },
        Stops { spread_bps: Some(0.1), ..none },
        Stops {
            gap: true,
            rows: Some(900),
            at: Some(TsNs(START + 500 * EVERY_NS + 1)),
            trade_qty: decimal("0.98"),
            spread_bps: Some(0.2),
            end: false,
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_condition_stops_right_after_the_message_that_meets_it() {
    let market = Market::new(2200);
    let served = market.serve().await;
    for speed in [Speed::FLAT_OUT, Speed::times(50.0).unwrap()] {
        for stops in stops() {
            let query = ReplayQuery { stops, speed, ..ReplayQuery::all(&[btc(), swap()]) };
            let expected = expected(&market.store, &query);
            assert!(!expected.is_empty(), "{stops:?} never stops");
            let mut session = served.client.replay(&query).await.unwrap();
            let controls = session.controls();
            let mut listener = Listener::new(session.streams());
            for (messages, notice) in expected {
                let state = listener.state(&mut session).await;
                assert_eq!((state.state, state.stop), (PlayState::Paused, Some(notice)));
                assert_eq!(listener.times.len(), messages, "{stops:?}");
                assert_eq!(state.position, notice.time);
                controls.resume().await.unwrap();
                assert_eq!(listener.state(&mut session).await.state, PlayState::Playing);
            }
            let end = listener.end(&mut session).await;
            listener.assert_same(&end, &played(&market.store, &query));
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stops_are_changed_while_it_plays_and_may_end_the_session() {
    let market = Market::new(2200);
    let served = market.serve().await;
    // Slow enough to be still at it when the next command comes.
    let speed = Speed::times(0.001).unwrap();
    let query = ReplayQuery { paused: true, speed, ..ReplayQuery::all(&[btc(), swap()]) };
    let mut session = served.client.replay(&query).await.unwrap();
    let controls = session.controls();
    let mut listener = Listener::new(session.streams());
    controls.resume().await.unwrap();
    assert_eq!(listener.state(&mut session).await.state, PlayState::Playing);
    controls.seek(TsNs(START + 600 * EVERY_NS)).await.unwrap();
    controls.pause().await.unwrap();
    assert_eq!(listener.state(&mut session).await.commands, 2);
    listener.begin_anew();
    listener.state(&mut session).await;
    // Back, where no book of the new conditions was kept so far.
    controls.seek(TsNs(START + 600 * EVERY_NS)).await.unwrap();
    listener.state(&mut session).await;
    listener.begin_anew();
    let stops = Stops { spread_bps: Some(0.1), end: true, ..Stops::default() };
    controls.set_stops(stops).await.unwrap();
    listener.state(&mut session).await;
    controls.set_speed(Speed::FLAT_OUT).await.unwrap();
    listener.state(&mut session).await;
    controls.resume().await.unwrap();
    listener.state(&mut session).await;

    let state = listener.state(&mut session).await;
    let range = TsNs(START + 600 * EVERY_NS)..TsNs::MAX;
    let (messages, notice) =
        expected(&market.store, &ReplayQuery { stops, range, ..query.clone() })[0];
    assert_eq!((state.stop, listener.times.len()), (Some(notice), messages));
    let end = listener.end(&mut session).await;
    assert_eq!((end.reason, end.hash), (EndReason::Stopped, Some(listener.total)));
    assert!(listener.next(&mut session).await.is_none());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn laps_begin_anew_and_are_all_the_same() {
    let market = Market::new(1500);
    let served = market.serve().await;
    for speed in [Speed::FLAT_OUT, Speed::times(10.0).unwrap()] {
        let range = TsNs(START + 100 * EVERY_NS)..TsNs(START + 900 * EVERY_NS);
        let all = ReplayQuery::all(&[btc(), swap()]);
        let query = ReplayQuery { looped: true, speed, range, ..all.clone() };
        let expected = played(&market.store, &query);
        let mut session = served.client.replay(&query).await.unwrap();
        let mut listener = Listener::new(session.streams());
        for lap in 1..=4 {
            let end = listener.end(&mut session).await;
            assert_eq!(end.reason, EndReason::Looped);
            listener.assert_same(&end, &expected);
            assert_eq!(listener.openings, 2 * lap);
            listener.begin_anew();
        }
        session.controls().close().await.unwrap();
        let end = loop {
            match listener.next(&mut session).await {
                Some(Event::End(end)) if end.reason == EndReason::Looped => listener.begin_anew(),
                Some(Event::End(end)) => break end,
                other => panic!("expected an end, found {other:?}"),
            }
        };
        assert_eq!((end.reason, end.rows), (EndReason::Closed, listener.total.rows()));
        // A lap that begins behind all rows goes round too.
        let behind = ReplayQuery { paused: true, ..query.clone() };
        let mut session = served.client.replay(&behind).await.unwrap();
        let mut listener = Listener::new(session.streams());
        session.controls().seek(query.range.end).await.unwrap();
        session.controls().resume().await.unwrap();
        for rows in [0, expected.total().rows()] {
            let end = loop {
                match listener.next(&mut session).await {
                    Some(Event::End(end)) => break end,
                    Some(Event::State(_)) => {}
                    other => panic!("expected the end, found {other:?}"),
                }
            };
            assert_eq!((end.reason, end.rows), (EndReason::Looped, rows));
            listener.begin_anew();
        }
        // Nothing goes round in an empty range.
        let nothing = ReplayQuery { looped: true, range: TsNs(5)..TsNs(6), ..all };
        let mut session = served.client.replay(&nothing).await.unwrap();
        assert_eq!(listener.end(&mut session).await.reason, EndReason::LastRow);
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_stop_at_conditions_too() {
    let market = Market::new(1500);
    let served = market.serve().await;
    let stops = Stops { spread_bps: Some(0.1), ..Stops::default() };
    let streams = vec![(btc(), vec![Kind::Book])];
    let query = ReplayQuery { stops, streams, ..ReplayQuery::all(&[]) };
    let (messages, notice) = expected(&market.store, &query)[0];
    let query = ReplayQuery { output: Output::books(2), ..query };

    let mut session = served.client.replay(&query).await.unwrap();
    let mut rows = 0;
    let state = loop {
        match session.next().await.unwrap().unwrap() {
            Event::Books(frame) => rows += frame.rows,
            Event::State(state) => break state,
            _ => {}
        }
    };

    assert_eq!((rows, state.stop), (messages as u64, Some(notice)));
    served.stop().await;
}
