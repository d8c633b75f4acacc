//! A client that lost its connection goes on exactly where it stopped, wherever that was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tickreel::book::Tracker;
use tickreel::event::{ContentHash, Kind};
use tickreel::replay::ReplayOrder;
use tickreel::rpc::{
    Client, EndReason, Event, LastingSession, Output, Patience, PlayState, ReplayQuery, Speed,
    StepAmount,
};
use tickreel::{ErrorKind, TsNs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lasting::quick;
use crate::listener::{Listener, local, played};
use crate::market::{Dice, EVERY_NS, Market, START, Served, btc, swap};

/// The books that a client has after what it heard.
fn books(store: &tickreel::store::Store, query: &ReplayQuery, messages: usize) -> Vec<Tracker> {
    let mut replay = local(store, query);
    for _ in 0..messages {
        let step = replay.step(1).unwrap().unwrap();
        let (stream, messages) = (step.stream, step.messages());
        replay.accept(stream, messages, false).unwrap();
    }
    replay.books().map(|opening| opening.book.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_cut_at_any_frame_goes_on_after_it() {
    let market = Market::new(700);
    let served = market.serve().await;
    for order in [ReplayOrder::Recv, ReplayOrder::Event] {
        let range = TsNs(START + 20 * EVERY_NS)..TsNs(START + 690 * EVERY_NS);
        let base = ReplayQuery { order, range, ..ReplayQuery::all(&[btc(), swap()]) };
        let query = ReplayQuery { frame_rows_max: 61, ..base.clone() };
        let whole = played(&market.store, &query);
        let mut cuts = Vec::new();
        let mut session = served.client.replay(&query).await.unwrap();
        let mut listener = Listener::new(session.streams());
        listener.by_time = order == ReplayOrder::Recv;
        while let Some(event) = session.next().await.unwrap() {
            match event {
                Event::Frame(frame) => {
                    listener.hear(&frame);
                    cuts.push((frame.cursor, listener.total, listener.times.len()));
                }
                Event::End(end) => {
                    assert_eq!(end.cursor, cuts.last().unwrap().0);
                    break;
                }
                _ => {}
            }
        }
        assert!(cuts.len() > 30, "{} frames", cuts.len());
        for (number, (cursor, before, messages)) in cuts.into_iter().enumerate() {
            let depth = if number % 10 == 0 { None } else { Some(0) };
            let resume_cursor = cursor;
            let rest = ReplayQuery { resume_cursor, opening_depth: depth, ..base.clone() };
            let mut session = served.client.replay(&rest).await.unwrap();
            let mut listener = Listener::new(session.streams());
            listener.by_time = order == ReplayOrder::Recv;
            let end = listener.end(&mut session).await;

            assert_eq!(end.hash, Some(listener.total));
            assert_eq!(before.then(listener.total), whole.total(), "after frame {number}");
            if depth.is_none() {
                let expected = books(&market.store, &base, messages);
                assert_eq!(listener.books.len(), expected.len());
                for (book, tracker) in listener.books.iter().zip(expected) {
                    assert_eq!(book.state, tracker.state());
                    assert_eq!(book.ts_recv, tracker.ts_recv());
                    let levels = tracker.book().level_count(tickreel::event::Side::Bid);
                    assert_eq!(book.bids.len(), levels);
                }
            }
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_outlives_its_server_and_is_only_for_what_it_was_made_of() {
    let market = Market::new(600);
    let served = market.serve().await;
    let query = ReplayQuery { frame_rows_max: 100, ..ReplayQuery::all(&[btc(), swap()]) };
    let mut session = served.client.replay(&query).await.unwrap();
    let mut listener = Listener::new(session.streams());
    while listener.frames < 4 {
        if let Some(Event::Frame(frame)) = session.next().await.unwrap() {
            listener.hear(&frame);
        }
    }
    let resume_cursor = listener.cursor.clone();
    drop(session);
    served.stop().await;

    let served = market.serve().await;
    let rest = ReplayQuery { resume_cursor: resume_cursor.clone(), ..query.clone() };
    let mut session = served.client.replay(&rest).await.unwrap();
    listener.end(&mut session).await;
    assert_eq!(listener.total, played(&market.store, &query).total());

    let one = vec![(btc(), vec![Kind::Book])];
    for wrong in [
        ReplayQuery { streams: one.clone(), ..rest.clone() },
        ReplayQuery { order: ReplayOrder::Event, ..rest.clone() },
        ReplayQuery { output: Output::books(3), ..rest.clone() },
        ReplayQuery { resume_cursor: "nonsense".into(), ..rest.clone() },
        ReplayQuery { resume_cursor: resume_cursor.slice(1..), ..rest.clone() },
    ] {
        let error = served.client.replay(&wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.text().starts_with("resume_cursor: "), "{error}");
    }
    served.stop().await;
}

/// A way to a server that breaks after some bytes, as often as it is told.
struct Breaking {
    url: String,
    broken: Arc<AtomicU64>,
}

impl Breaking {
    /// Breaks every connection after 20 to 60 KiB of answers, the first `times` of them.
    async fn new(served: &Served, times: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let target = served.url.trim_start_matches("http://").to_owned();
        let broken = Arc::<AtomicU64>::default();
        let count = broken.clone();
        tokio::spawn(async move {
            let mut dice = Dice(7);
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let room = 20_000 + usize::try_from(dice.below(40_000)).unwrap();
                let (target, count) = (target.clone(), count.clone());
                tokio::spawn(async move {
                    let room = if count.load(Ordering::SeqCst) < times { room } else { usize::MAX };
                    carry(client, &target, room).await;
                    count.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { url, broken }
    }
}

/// Carries bytes both ways until the answers are more than `room`.
async fn carry(client: TcpStream, target: &str, mut room: usize) {
    let server = TcpStream::connect(target).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move {
        drop(tokio::io::copy(&mut from_client, &mut to_server).await);
    });
    let mut buffer = vec![0; 8192];
    loop {
        match from_server.read(&mut buffer).await {
            Ok(read @ 1..) if read <= room => {
                room -= read;
                if to_client.write_all(&buffer[..read]).await.is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    up.abort();
}

/// Hears everything up to the end.
async fn hear_all(session: &mut LastingSession, listener: &mut Listener) -> tickreel::rpc::End {
    loop {
        match session.next().await.unwrap().unwrap() {
            Event::Frame(frame) => listener.hear(&frame),
            Event::End(end) => return end,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lasting_replay_hears_every_row_once_over_a_line_that_breaks() {
    let market = Market::new(9000);
    let served = market.serve().await;
    for speed in [Speed::FLAT_OUT, Speed::times(20.0).unwrap()] {
        let line = Breaking::new(&served, 8).await;
        let client = Client::connect(&line.url).await.unwrap();
        let query =
            ReplayQuery { frame_rows_max: 300, speed, ..ReplayQuery::all(&[btc(), swap()]) };
        let expected = played(&market.store, &query);

        let mut session = client.replay_for_good(&query, quick()).await.unwrap();
        let mut listener = Listener::new(session.session().streams());
        let end = hear_all(&mut session, &mut listener).await;

        assert!(line.broken.load(Ordering::SeqCst) >= 3);
        assert_eq!(end.reason, EndReason::LastRow);
        listener.assert_same(&end, &expected);
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lasting_replay_stays_paused_and_keeps_commands_over_a_lost_connection() {
    // Far more than three times what the line carries before it breaks.
    let market = Market::new(20_000);
    let served = market.serve().await;
    let line = Breaking::new(&served, 3).await;
    let client = Client::connect(&line.url).await.unwrap();
    let query = ReplayQuery { frame_rows_max: 50, paused: true, ..ReplayQuery::all(&[btc()]) };
    let mut session = client.replay_for_good(&query, quick()).await.unwrap();
    let mut listener = Listener::new(session.session().streams());
    let controls = session.controls();
    let to = TsNs(START + 1000 * EVERY_NS);
    controls.seek(to).await.unwrap();
    controls.step(StepAmount::Messages(2500)).await.unwrap();
    let mut reconnected = 0;
    let mut sought = false;
    let paused = loop {
        match session.next().await.unwrap().unwrap() {
            Event::Frame(frame) => listener.hear(&frame),
            Event::Reconnected => {
                reconnected += 1;
                // A step that was not finished is forgotten.
                controls.resume().await.unwrap();
            }
            Event::State(state) if !sought => {
                assert_eq!(state.position, to);
                sought = true;
            }
            Event::State(state) if reconnected >= 3 && state.state == PlayState::Playing => {
                break state;
            }
            Event::End(_) => panic!("the line broke {reconnected} times only"),
            _ => {}
        }
    };
    assert_eq!(paused.commands, 1, "a new connection counts anew");

    let end = hear_all(&mut session, &mut listener).await;

    let mut expected = local(&market.store, &query);
    expected.seek(to).unwrap();
    expected.play(true, |_| Ok(true)).unwrap();
    listener.assert_same(&end, &expected);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lasting_replay_gives_up_when_there_is_no_server_any_more() {
    let market = Market::new(500);
    let served = market.serve().await;
    let query = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc()]) };
    let patience = Patience { attempts: 3, ..quick() };
    let mut session = served.client.replay_for_good(&query, patience).await.unwrap();
    served.stop().await;

    let error = loop {
        match session.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("expected an error"),
            Err(error) => break error,
        }
    };

    assert_eq!(error.kind(), ErrorKind::Remote, "{error}");
    assert_ne!(ContentHash::EMPTY, played(&market.store, &query).total());
}
