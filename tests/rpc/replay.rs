//! A replay over the wire is the replay of the store, however it is steered.

use std::time::{Duration, Instant};

use tickreel::book::{State, Tracker};
use tickreel::event::{Kind, Side, StreamKey};
use tickreel::replay::ReplayOrder;
use tickreel::rpc::{
    Client, EndReason, Event, GapNotice, PlayState, ReplayQuery, RowForm, Speed, StepAmount,
};
use tickreel::{ErrorKind, TsNs};

use crate::listener::{Listener, local, played};
use crate::market::{Dice, EVERY_NS, Market, START, btc, swap};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_order_and_hashes_are_those_of_the_store_at_any_speed() {
    let market = Market::new(6000);
    let served = market.serve().await;
    let all = ReplayQuery::all(&[btc(), swap()]);
    let part = ReplayQuery {
        streams: vec![(swap(), vec![Kind::Quotes]), (btc(), vec![Kind::Book, Kind::Trades])],
        range: TsNs(START + 1000 * EVERY_NS)..TsNs(START + 4321 * EVERY_NS),
        ..all.clone()
    };
    let small = ReplayQuery { frame_rows_max: 7, ..part.clone() };
    let nothing = ReplayQuery { range: TsNs(5)..TsNs(6), ..all.clone() };
    for query in [all, part, small, nothing] {
        let expected = played(&market.store, &query);
        for (speed, form) in [
            (Speed::FLAT_OUT, RowForm::Columns),
            (Speed::FLAT_OUT, RowForm::Arrow),
            (Speed::times(1000.0).unwrap(), RowForm::Columns),
            (Speed::times(10.0).unwrap(), RowForm::Arrow),
        ] {
            let query = ReplayQuery { speed, form, ..query.clone() };

            let mut session = served.client.replay(&query).await.unwrap();
            let mut listener = Listener::new(session.streams());
            let end = listener.end(&mut session).await;

            assert_eq!(end.reason, EndReason::LastRow);
            listener.assert_same(&end, &expected);
            session.controls().close().await.unwrap();
            assert_eq!(listener.end(&mut session).await.reason, EndReason::Closed);
            assert!(listener.next(&mut session).await.is_none());
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_are_told_and_opening_books_are_those_before_the_first_row() {
    let market = Market::new(3000);
    let served = market.serve().await;
    let at = TsNs(START + 1600 * EVERY_NS);
    let query = ReplayQuery {
        range: at..TsNs(START + 2100 * EVERY_NS),
        opening_depth: Some(3),
        ..ReplayQuery::all(&[btc(), swap()])
    };

    let mut session = served.client.replay(&query).await.unwrap();
    let snapshot = market.store.snapshot().unwrap();
    for instrument in [btc(), swap()] {
        let Some(Event::OpeningBook(book)) = session.next().await.unwrap() else {
            panic!("expected an opening book")
        };
        let expected = snapshot.book_at(&instrument, at.saturating_add(-1)).unwrap();
        assert_eq!((book.instrument, book.state), (instrument, expected.state()));
        let best = expected.book().best(Side::Bid).unwrap().0;
        assert_eq!(book.bids[0].0.mantissa_at(expected.book().price_scale()), Some(best));
        assert_eq!(book.bids.len(), 3);
    }
    let mut listener = Listener::new(session.streams());
    listener.end(&mut session).await;

    assert_eq!(listener.openings, 0);
    let book_of = |notice: &&GapNotice| listener.keys[notice.stream].kind == Kind::Book;
    let noticed: Vec<_> = listener.gaps.iter().filter(book_of).collect();
    assert_eq!(noticed.len(), 2);
    assert!(noticed.iter().all(|gap| gap.ts_recv == TsNs(START + 1999 * EVERY_NS)));
    for gap in noticed {
        let instrument = &listener.keys[gap.stream].instrument;
        let tracker: Tracker = snapshot.book_at(instrument, gap.ts_recv).unwrap();
        assert_eq!(tracker.state(), State::Stale { since: gap.ts_recv, missing: gap.missing });
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pauses_steps_and_speeds_lose_no_row() {
    let market = Market::new(4000);
    let served = market.serve().await;
    let query = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc(), swap()]) };
    let expected = played(&market.store, &query);
    let mut session = served.client.replay(&query).await.unwrap();
    let controls = session.controls();
    let mut listener = Listener::new(session.streams());

    controls.step(StepAmount::Messages(1)).await.unwrap();
    assert_eq!(listener.state(&mut session).await.commands, 1);
    let done = listener.state(&mut session).await;
    assert_eq!((done.state, listener.times.len()), (PlayState::Paused, 1));

    controls.step(StepAmount::Messages(1234)).await.unwrap();
    listener.state(&mut session).await;
    listener.state(&mut session).await;
    assert_eq!(listener.times.len(), 1235);

    let before = listener.total.rows();
    controls.step(StepAmount::Rows(777)).await.unwrap();
    listener.state(&mut session).await;
    let done = listener.state(&mut session).await;
    let stepped = listener.total.rows() - before;
    assert!((777..777 + 41).contains(&stepped), "{stepped} rows");
    assert_eq!(done.rows, listener.total.rows());

    let position = done.position;
    controls.step(StepAmount::DurationNs(10 * EVERY_NS)).await.unwrap();
    listener.state(&mut session).await;
    let done = listener.state(&mut session).await;
    assert_eq!(done.position, position.saturating_add(10 * EVERY_NS));
    assert!(listener.times.last().unwrap() <= &done.position.0);

    controls.set_speed(Speed::AS_RECORDED).await.unwrap();
    controls.resume().await.unwrap();
    assert_eq!(listener.state(&mut session).await.state, PlayState::Paused);
    assert_eq!(listener.state(&mut session).await.state, PlayState::Playing);
    for _ in 0..5 {
        // Some frames, then a pause in the middle of it.
        let frames = listener.frames;
        while listener.frames < frames + 2 {
            if let Some(Event::Frame(frame)) = session.next().await.unwrap() {
                listener.hear(&frame);
            }
        }
        controls.pause().await.unwrap();
        assert_eq!(listener.state(&mut session).await.state, PlayState::Paused);
        controls.resume().await.unwrap();
        assert_eq!(listener.state(&mut session).await.state, PlayState::Playing);
    }
    controls.set_speed(Speed::FLAT_OUT).await.unwrap();
    listener.state(&mut session).await;

    let end = listener.end(&mut session).await;
    listener.assert_same(&end, &expected);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_seek_rows_and_hash_are_those_from_there() {
    let market = Market::new(5000);
    let served = market.serve().await;
    let query = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc(), swap()]) };
    let mut expected = local(&market.store, &query);
    let mut session = served.client.replay(&query).await.unwrap();
    let controls = session.controls();
    let mut listener = Listener::new(session.streams());
    controls.step(StepAmount::Messages(50)).await.unwrap();
    listener.state(&mut session).await;
    listener.state(&mut session).await;

    for message in [4000, 17, 2500, 0, 4999] {
        let to = TsNs(START + message * EVERY_NS);
        controls.seek(to).await.unwrap();
        let state = listener.state(&mut session).await;
        assert_eq!((state.position, state.rows), (to, 0));
        listener.begin_anew();
        controls.resume().await.unwrap();
        let openings = listener.openings;
        assert_eq!(listener.state(&mut session).await.state, PlayState::Playing);
        assert_eq!(listener.openings, openings + 2);

        let end = listener.end(&mut session).await;

        expected.seek(to).unwrap();
        expected.play(true, |_| Ok(true)).unwrap();
        listener.assert_same(&end, &expected);
        assert!(listener.times.first().is_none_or(|first| *first >= to.0));
    }

    controls.close().await.unwrap();
    let end = listener.end(&mut session).await;
    assert_eq!((end.reason, end.hash), (EndReason::Closed, Some(expected.total())));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_no_opening_books_is_told_none_also_after_a_seek_or_a_lap() {
    let market = Market::new(300);
    let served = market.serve().await;
    let query = ReplayQuery {
        opening_depth: Some(0),
        paused: true,
        looped: true,
        ..ReplayQuery::all(&[btc(), swap()])
    };
    let mut session = served.client.replay(&query).await.unwrap();
    let mut listener = Listener::new(session.streams());
    session.controls().seek(TsNs(START + 100 * EVERY_NS)).await.unwrap();
    session.controls().resume().await.unwrap();
    for _ in 0..2 {
        listener.state(&mut session).await;
    }
    for _ in 0..2 {
        listener.end(&mut session).await;
        listener.begin_anew();
    }
    assert_eq!(listener.openings, 0);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_runs_at_the_speed_asked_for() {
    // 0.2 s of recorded time.
    let market = Market::new(2000);
    let served = market.serve().await;
    let query = ReplayQuery { speed: Speed::AS_RECORDED, ..ReplayQuery::all(&[btc()]) };

    let started = Instant::now();
    let mut session = served.client.replay(&query).await.unwrap();
    let mut listener = Listener::new(session.streams());
    let end = listener.end(&mut session).await;
    let elapsed = started.elapsed();

    assert!(elapsed >= Duration::from_millis(199), "{elapsed:?}");
    // Rows came as they fell due, gathered to frames of half a millisecond or more.
    assert!((5..=450).contains(&listener.frames), "{} frames", listener.frames);
    listener.assert_same(&end, &played(&market.store, &query));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_wait_is_cut_and_progress_is_told_meanwhile() {
    // Trades stand still for hours after the first.
    let market = Market::new(200);
    let served = market.serve().await;
    let mut import = market.store.import(tickreel::store::ImportOptions::default()).unwrap();
    let key = StreamKey { instrument: swap(), kind: Kind::Trades };
    let mut builder = tickreel::BatchBuilder::new(Kind::Trades);
    for hour in 0..3 {
        builder.trade(&tickreel::event::TradeRow {
            ts_recv: TsNs(START + hour * 3_600_000_000_000),
            ts_event: None,
            side: tickreel::event::TradeSide::Buy,
            price: tickreel::Decimal::ZERO,
            qty: tickreel::Decimal::ZERO,
            trade_id: "",
        });
    }
    import.append(&key, &builder.finish().unwrap()[0]).unwrap();
    import.commit().unwrap();
    let query = ReplayQuery {
        streams: vec![(swap(), vec![Kind::Trades])],
        speed: Speed::AS_RECORDED,
        idle_ns_max: Some(300_000_000),
        ..ReplayQuery::all(&[])
    };

    let started = Instant::now();
    let mut session = served.client.replay(&query).await.unwrap();
    let mut listener = Listener::new(session.streams());
    let end = listener.end(&mut session).await;

    assert_eq!(end.rows, 3);
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(599), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(60), "{elapsed:?}");
    assert!(listener.progress >= 2);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controls_act_at_once_on_a_replay_that_would_take_hours() {
    let market = Market::new(3000);
    let served = market.serve().await;
    let speed = Speed::times(0.001).unwrap();
    let query = ReplayQuery { speed, ..ReplayQuery::all(&[btc()]) };
    let mut session = served.client.replay(&query).await.unwrap();
    let controls = session.controls();
    let mut listener = Listener::new(session.streams());

    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let started = Instant::now();
        controls.pause().await.unwrap();
        assert_eq!(listener.state(&mut session).await.state, PlayState::Paused);
        controls.resume().await.unwrap();
        assert_eq!(listener.state(&mut session).await.state, PlayState::Playing);
        slowest = slowest.max(started.elapsed());
    }
    // Far below the seconds to the next row, far above what it takes on a quiet machine.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");

    // A speed that was not allowed and a time outside change nothing.
    controls.seek(TsNs::MAX).await.unwrap();
    let state = listener.state(&mut session).await;
    assert_eq!(state.state, PlayState::Playing);
    controls.close().await.unwrap();
    loop {
        match listener.next(&mut session).await {
            Some(Event::End(end)) if end.reason == EndReason::Closed => break,
            Some(_) => {}
            None => panic!("expected an end"),
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_refused_changes_nothing() {
    let market = Market::new(1000);
    let served = market.serve().await;
    let range = TsNs(START)..TsNs(START + 900 * EVERY_NS);
    let query = ReplayQuery { paused: true, range, ..ReplayQuery::all(&[btc()]) };
    let expected = played(&market.store, &query);
    let mut session = served.client.replay(&query).await.unwrap();
    let controls = session.controls();
    let mut listener = Listener::new(session.streams());

    controls.seek(TsNs(START - 1)).await.unwrap();
    assert_eq!(listener.refused(&mut session).await.kind(), ErrorKind::OutOfRange);
    controls.step(StepAmount::Messages(0)).await.unwrap();
    let error = listener.refused(&mut session).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.text().starts_with("step: "), "{error}");
    controls.step(StepAmount::DurationNs(-4)).await.unwrap();
    assert_eq!(listener.refused(&mut session).await.kind(), ErrorKind::Invalid);
    controls.resume().await.unwrap();
    assert_eq!(listener.state(&mut session).await.commands, 4);

    let end = listener.end(&mut session).await;
    listener.assert_same(&end, &expected);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_only_listens_hears_everything_and_then_the_end_of_the_stream() {
    use tickreel::rpc::proto::replay_response::Event as Sent;
    let market = Market::new(1000);
    let served = market.serve().await;
    let open = tickreel::rpc::proto::ReplayOpen {
        streams: vec![tickreel::rpc::proto::ReplayStream {
            instrument: btc().to_string(),
            kinds: Vec::new(),
        }],
        ..tickreel::rpc::proto::ReplayOpen::default()
    };
    let open = tickreel::rpc::proto::replay_request::Command::Open(open);
    let request = tickreel::rpc::proto::ReplayRequest { command: Some(open) };

    let mut plain = served.plain().await;
    let requests = tokio_stream::once(request);
    let mut answers = plain.replay(requests).await.unwrap().into_inner();

    let (mut rows, mut ended) = (0, None);
    while let Some(answer) = answers.message().await.unwrap() {
        match answer.event.unwrap() {
            Sent::Frame(frame) => rows += frame.rows,
            Sent::End(end) => ended = Some(end),
            _ => {}
        }
    }
    let ended = ended.unwrap();
    assert_eq!((ended.rows, ended.hash), (rows, None));
    let expected = played(&market.store, &ReplayQuery::all(&[btc()]));
    assert_eq!(rows, expected.total().rows());
    served.stop().await;
}

/// Steers a replay at random until it has been played to its end, and compares every lap, every end
/// and what came after each seek with the same replay of the store.
async fn steer_at_random(market: &Market, client: &Client, seed: u64) {
    let mut dice = Dice(seed);
    let order = [ReplayOrder::Recv, ReplayOrder::Event][usize::try_from(dice.below(2)).unwrap()];
    let query = ReplayQuery {
        order,
        looped: dice.below(2) == 0,
        frame_rows_max: usize::try_from(1 + dice.below(200)).unwrap(),
        form: if dice.below(2) == 0 { RowForm::Arrow } else { RowForm::Columns },
        speed: if dice.below(2) == 0 { Speed::FLAT_OUT } else { Speed::times(8.0).unwrap() },
        ..ReplayQuery::all(&[btc(), swap()])
    };
    let mut expected = local(&market.store, &query);
    let mut session = client.replay(&query).await.unwrap();
    let controls = session.controls();
    let mut listener = Listener::new(session.streams());
    listener.by_time = order == ReplayOrder::Recv;
    let mut from = TsNs::MIN;
    let mut commands = 0;
    let mut seeks = std::collections::VecDeque::new();
    let mut laps = 0;
    let mut left = 25;
    loop {
        if left > 0 && dice.below(3) == 0 {
            left -= 1;
            commands += 1;
            seeks.push_back(None);
            match dice.below(7) {
                0 => controls.pause().await.unwrap(),
                1 => controls.set_speed(Speed::times(20.0).unwrap()).await.unwrap(),
                2 => controls.set_speed(Speed::FLAT_OUT).await.unwrap(),
                3 => controls.step(StepAmount::Messages(1 + dice.below(90) as u64)).await.unwrap(),
                4 => {
                    let to = TsNs(START + dice.below(3000) * EVERY_NS);
                    *seeks.back_mut().unwrap() = Some(to);
                    controls.seek(to).await.unwrap();
                }
                5 => controls.step(StepAmount::DurationNs(dice.below(9_000_000))).await.unwrap(),
                _ => controls.resume().await.unwrap(),
            }
        } else if left == 0 {
            // From the beginning, for it may stand at its end.
            left = -1;
            commands += 3;
            seeks.extend([None, Some(TsNs(START)), None]);
            controls.set_speed(Speed::FLAT_OUT).await.unwrap();
            controls.seek(TsNs(START)).await.unwrap();
            controls.resume().await.unwrap();
        }
        let next = session.next();
        let Ok(event) = tokio::time::timeout(Duration::from_millis(2), next).await else {
            continue;
        };
        match event.unwrap().unwrap() {
            Event::Frame(frame) => listener.hear(&frame),
            Event::State(state) => {
                // A state is told for each command, and others when a step is done.
                let done = commands - seeks.len() as u64;
                if state.commands > done
                    && let Some(to) = seeks.pop_front().unwrap()
                {
                    from = to;
                    listener.begin_anew();
                    assert_eq!(state.rows, 0);
                }
            }
            Event::End(end) => {
                expected.seek(from).unwrap();
                expected.play(true, |_| Ok(true)).unwrap();
                listener.assert_same(&end, &expected);
                match end.reason {
                    EndReason::Looped => {
                        (from, laps) = (TsNs::MIN, laps + 1);
                        listener.begin_anew();
                    }
                    _ => assert!(!query.looped),
                }
                if left < 0 && seeks.is_empty() && (!query.looped || laps > 2) {
                    return;
                }
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_steered_at_random_plays_what_the_store_plays() {
    let market = Market::new(3000);
    let served = market.serve().await;
    for seed in 0..12 {
        steer_at_random(&market, &served.client, seed).await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_at_different_places_each_get_their_exact_rows() {
    let market = Market::new(4000);
    let served = market.serve().await;
    let (mut clients, mut tasks) = (Vec::new(), Vec::new());
    for number in 0..64 {
        if number % 16 == 0 {
            clients.push(Client::connect(&served.url).await.unwrap());
        }
        let client = clients[number / 16].clone();
        let start = START + i64::try_from(number).unwrap() * 50 * EVERY_NS;
        let range = TsNs(start)..TsNs(start + 700 * EVERY_NS);
        let speed = [Speed::FLAT_OUT, Speed::times(2.0).unwrap()][number % 2];
        let order = [ReplayOrder::Recv, ReplayOrder::Event][number / 2 % 2];
        let frame_rows_max = [0, 100][number / 4 % 2];
        let all = ReplayQuery::all(&[btc(), swap()]);
        let query = ReplayQuery { range, speed, order, frame_rows_max, ..all };
        let expected = played(&market.store, &query);
        let heard = tokio::spawn(async move {
            let mut session = client.replay(&query).await.unwrap();
            let mut listener = Listener::new(session.streams());
            listener.by_time = order == ReplayOrder::Recv;
            let end = listener.end(&mut session).await;
            (listener, end)
        });
        tasks.push((heard, expected));
    }
    for (heard, expected) in tasks {
        let (listener, end) = heard.await.unwrap();
        listener.assert_same(&end, &expected);
    }
    served.stop().await;
}
