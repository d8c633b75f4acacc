//! A lost connection changes nothing of a lasting replay, whatever it was doing meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tickreel::rpc::{
    Access, Client, Credentials, End, EndReason, Event, JoinQuery, LastingSession, Output,
    Patience, PlayState, ReplayQuery, ServeOptions, SessionState, Speed, StepAmount, new_token,
};
use tickreel::{Result, TsNs};
use tokio::io::{AsyncReadExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::limits::until;
use crate::listener::{Listener, played};
use crate::market::{EVERY_NS, Market, START, Served, btc, swap};

/// What becomes of the connections that there are.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    /// The client loses them; the server does not notice.
    HangUp,
    Cut,
}

/// A way to a server that can be lost.
pub struct Line {
    url: String,
    told: watch::Sender<Told>,
}

impl Line {
    pub async fn new(served: &Served) -> Self {
        Self::breaking(served, u64::MAX).await
    }

    /// The first connection is lost after just so many bytes of answers.
    pub async fn breaking(served: &Served, mut bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let target = served.url.trim_start_matches("http://").to_owned();
        let (told, _) = watch::channel(Told::Cut);
        let sender = told.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&target).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                tokio::spawn(carry(client, server, bytes, sender.subscribe()));
                bytes = u64::MAX;
            }
        });
        Self { url, told }
    }

    fn tell(&self, told: Told) {
        self.told.send_replace(told);
    }

    /// Loses the connections that there are.
    pub fn cut(&self) {
        self.tell(Told::Cut);
    }

    /// As [`Line::cut`], but the server does not notice.
    pub fn hang_up(&self) {
        self.tell(Told::HangUp);
    }

    /// A replay over this way that outlives it, and who listens to it.
    pub async fn replay(&self, query: &ReplayQuery) -> Result<(LastingSession, Listener)> {
        let client = Client::connect(&self.url).await?;
        let session = client.replay_for_good(query, quick()).await?;
        let listener = Listener::new(session.session().streams());
        Ok((session, listener))
    }

    /// As [`Line::replay`], of one that others opened.
    pub async fn join(&self, query: &JoinQuery) -> Result<(LastingSession, Listener)> {
        let client = Client::connect(&self.url).await?;
        let session = client.join_for_good(query, quick()).await?;
        let listener = Listener::new(session.session().streams());
        Ok((session, listener))
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    bytes: u64,
    mut told: watch::Receiver<Told>,
) {
    let both = async {
        if bytes == u64::MAX {
            drop(copy_bidirectional(&mut client, &mut server).await);
            return;
        }
        let (mut from_client, mut to_client) = client.split();
        let (from_server, mut to_server) = server.split();
        let mut answers = from_server.take(bytes);
        tokio::select! {
            _ = copy(&mut from_client, &mut to_server) => {}
            _ = copy(&mut answers, &mut to_client) => {}
        }
    };
    tokio::select! {
        biased;
        _ = told.changed() => {}
        () = both => return,
    }
    drop(client);
    if *told.borrow() == Told::HangUp {
        drop(told.changed().await);
    }
}

pub fn quick() -> Patience {
    Patience { first: Duration::from_millis(1), longest: Duration::from_millis(20), attempts: 200 }
}

/// The next event that is no frame and tells no progress.
pub async fn told(session: &mut LastingSession, listener: &mut Listener) -> Event {
    loop {
        match session.next().await.unwrap().unwrap() {
            Event::Frame(frame) => listener.hear(&frame),
            Event::Progress(_) | Event::Gap(_) => {}
            other => return other,
        }
    }
}

pub async fn state(session: &mut LastingSession, listener: &mut Listener) -> SessionState {
    loop {
        match told(session, listener).await {
            Event::State(state) => return state,
            Event::OpeningBook(_) => {}
            other => panic!("expected a state, found {other:?}"),
        }
    }
}

pub async fn reconnected(session: &mut LastingSession, listener: &mut Listener) {
    loop {
        match told(session, listener).await {
            Event::Reconnected => return,
            Event::OpeningBook(_) | Event::State(_) => {}
            other => panic!("expected a lost connection, found {other:?}"),
        }
    }
}

/// What the end tells, which comes after opening books and states.
pub async fn end(session: &mut LastingSession, listener: &mut Listener) -> End {
    loop {
        match told(session, listener).await {
            Event::End(end) => return end,
            Event::OpeningBook(_) | Event::State(_) | Event::Reconnected => {}
            other => panic!("expected the end, found {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_a_lost_connection_cut_leaves_the_replay_paused() {
    let market = Market::new(20_000);
    let served = market.serve().await;
    for commands_after in [false, true] {
        // Far less than the step.
        let line = Line::breaking(&served, 60_000).await;
        let query = ReplayQuery { frame_rows_max: 50, paused: true, ..ReplayQuery::all(&[btc()]) };
        let (mut session, mut listener) = line.replay(&query).await.unwrap();
        let controls = session.controls();
        controls.step(StepAmount::Messages(19_000)).await.unwrap();
        if commands_after {
            controls.set_speed(Speed::FLAT_OUT).await.unwrap();
        }
        assert_eq!(state(&mut session, &mut listener).await.state, PlayState::Playing);
        reconnected(&mut session, &mut listener).await;
        let rows = listener.total.rows();

        controls.set_speed(Speed::FLAT_OUT).await.unwrap();
        assert_eq!(state(&mut session, &mut listener).await.state, PlayState::Paused);
        assert_eq!(listener.total.rows(), rows);

        controls.resume().await.unwrap();
        assert_eq!(state(&mut session, &mut listener).await.state, PlayState::Playing);
        let end = end(&mut session, &mut listener).await;
        listener.assert_same(&end, &played(&market.store, &query));
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_was_lost_with_the_connection_pauses_all_the_same() {
    let market = Market::new(1000);
    let served = market.serve().await;
    let line = Line::new(&served).await;
    // Plays for far longer than the test.
    let speed = Speed::times(0.001).unwrap();
    let query = ReplayQuery { speed, ..ReplayQuery::all(&[btc()]) };
    let (mut session, mut listener) = line.replay(&query).await.unwrap();
    let controls = session.controls();
    controls.set_speed(speed).await.unwrap();
    assert_eq!(state(&mut session, &mut listener).await.state, PlayState::Playing);

    line.tell(Told::Cut);
    controls.step(StepAmount::Messages(5)).await.unwrap();
    controls.set_speed(speed).await.unwrap();
    reconnected(&mut session, &mut listener).await;

    for commands in 1..=2 {
        let state = state(&mut session, &mut listener).await;
        assert_eq!((state.state, state.commands), (PlayState::Paused, commands));
    }
    drop(session);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_answered_once_and_in_their_order_whatever_is_lost_meanwhile() {
    const COMMANDS: u32 = 400;
    let market = Market::new(100);
    let served = market.serve().await;
    let line = Line::new(&served).await;
    let query = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc()]) };
    let (mut session, mut listener) = line.replay(&query).await.unwrap();
    let controls = session.controls();
    let speed = |number: u32| Speed::times(f64::from(1 + number)).unwrap();
    // So many are under way at any time.
    let ahead = Arc::new(Semaphore::new(8));
    let room = Arc::clone(&ahead);
    let commands = tokio::spawn(async move {
        for number in 0..COMMANDS {
            room.acquire().await.unwrap().forget();
            controls.set_speed(speed(number)).await.unwrap();
        }
    });

    let mut lost = 0;
    for number in 0..COMMANDS {
        let state = loop {
            match told(&mut session, &mut listener).await {
                Event::State(state) => break state,
                Event::Reconnected => lost += 1,
                Event::OpeningBook(_) => {}
                other => panic!("expected a state, found {other:?}"),
            }
        };
        assert_eq!(state.speed, speed(number).factor());
        ahead.add_permits(1);
        if number % 40 == 20 {
            line.cut();
        }
    }
    commands.await.unwrap();
    assert!(lost > 2, "{lost} connections were lost");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_books_come_once_wherever_the_connection_is_lost() {
    let market = Market::new(700);
    let served = market.serve().await;
    let at = |message: i64| TsNs(START + message * EVERY_NS);
    let mut cut_inside = [false; 2];
    for bytes in (200..40_000).step_by(1300) {
        let line = Line::breaking(&served, bytes).await;
        let query = ReplayQuery {
            range: at(600)..TsNs::MAX,
            paused: true,
            ..ReplayQuery::all(&[btc(), swap()])
        };
        // Only what was opened is opened again.
        let Ok((mut session, _)) = line.replay(&query).await else { continue };
        let controls = session.controls();
        controls.seek(at(650)).await.unwrap();
        controls.set_speed(Speed::FLAT_OUT).await.unwrap();

        let (mut heard, mut states) = (Vec::new(), 0);
        while states < 2 {
            match session.next().await.unwrap().unwrap() {
                Event::OpeningBook(book) => heard.push(book.instrument.to_string()),
                Event::State(_) => {
                    heard.push("state".to_owned());
                    states += 1;
                }
                Event::Reconnected => match heard.len() {
                    1 => cut_inside[0] = true,
                    4 => cut_inside[1] = true,
                    _ => {}
                },
                other => panic!("expected nothing else, found {other:?}"),
            }
        }
        let (one, two) = (btc().to_string(), swap().to_string());
        assert_eq!(heard, [&one, &two, "state", &one, &two, "state"], "after {bytes} bytes");

        // All came: a new connection repeats none, and a seek gives new ones.
        line.tell(Told::Cut);
        controls.seek(at(620)).await.unwrap();
        let mut heard = Vec::new();
        while heard.len() < 4 {
            heard.push(match session.next().await.unwrap().unwrap() {
                Event::OpeningBook(book) => book.instrument.to_string(),
                Event::Reconnected => "reconnected".to_owned(),
                Event::State(_) => "state".to_owned(),
                other => panic!("expected nothing else, found {other:?}"),
            });
        }
        assert_eq!(heard, ["reconnected", "state", &one, &two], "after {bytes} bytes");
    }
    assert_eq!(cut_inside, [true; 2]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lap_is_whole_wherever_the_connection_is_lost() {
    let market = Market::new(300);
    let served = market.serve().await;
    let query = ReplayQuery {
        range: TsNs(START + 100 * EVERY_NS)..TsNs(START + 160 * EVERY_NS),
        looped: true,
        opening_depth: Some(1),
        ..ReplayQuery::all(&[btc(), swap()])
    };
    let expected = played(&market.store, &query);
    let mut lost = 0;
    for bytes in (500..12_000).step_by(500) {
        let line = Line::breaking(&served, bytes).await;
        let Ok((mut session, mut listener)) = line.replay(&query).await else { continue };
        let (mut laps, mut books) = (0, 0);
        while laps < 4 {
            match told(&mut session, &mut listener).await {
                Event::OpeningBook(_) => books += 1,
                Event::Reconnected => lost += 1,
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
    }
    assert!(lost > 5, "{lost} connections were lost");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_future_that_connects_again_ends_nothing() {
    let market = Market::new(1000);
    let served = market.serve().await;
    let line = Line::new(&served).await;
    let client = Client::connect(&line.url).await.unwrap();
    let query = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc()]) };
    // Every future is dropped before the first attempt is due.
    let first = Duration::from_millis(100);
    let patience = Patience { first, longest: first, attempts: 1000 };
    let mut session = client.replay_for_good(&query, patience).await.unwrap();
    let mut listener = Listener::new(session.session().streams());
    line.tell(Told::Cut);
    loop {
        match tokio::time::timeout(first / 2, session.next()).await {
            Ok(Ok(Some(Event::Reconnected))) => break,
            Ok(Ok(Some(Event::OpeningBook(_)))) | Err(_) => {}
            Ok(other) => panic!("expected a new connection, found {other:?}"),
        }
    }

    session.controls().resume().await.unwrap();
    let end = end(&mut session, &mut listener).await;
    listener.assert_same(&end, &played(&market.store, &query));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_still_counts_the_old_connection_is_asked_again() {
    let market = Market::new(500);
    let (token, sha256) = new_token().unwrap();
    let entry = format!("[[token]]\nname = \"one\"\nsha256 = \"{sha256}\"\nreplays = 1\n");
    let access = Access::parse(&entry, "tokens.toml".as_ref()).unwrap();
    let options = ServeOptions { access, ..ServeOptions::default() };
    let credentials = Credentials { token: Some(token), ..Credentials::default() };
    let served = Served::with(market.store.clone(), options, &credentials).await;
    let line = Line::new(&served).await;
    let client = Client::connect_with(&line.url, &credentials).await.unwrap();
    let query = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc()]) };
    let patience = Patience { attempts: 10_000, ..quick() };
    let mut session = client.replay_for_good(&query, patience).await.unwrap();
    let mut listener = Listener::new(session.session().streams());

    line.tell(Told::HangUp);
    let noticed = async {
        let refused = async || served.client.stats().await.unwrap().failures > 1;
        until("the old connection is counted", refused).await;
        line.tell(Told::Cut);
    };
    tokio::join!(reconnected(&mut session, &mut listener), noticed);

    session.controls().resume().await.unwrap();
    assert_eq!(state(&mut session, &mut listener).await.state, PlayState::Playing);
    let end = end(&mut session, &mut listener).await;
    listener.assert_same(&end, &played(&market.store, &query));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_books_counts_those_of_every_connection() {
    let market = Market::new(5000);
    let served = market.serve().await;
    let line = Line::breaking(&served, 30_000).await;
    let query = ReplayQuery {
        output: Output::books(3),
        frame_rows_max: 100,
        ..ReplayQuery::all(&[btc(), swap()])
    };
    let (mut session, _) = line.replay(&query).await.unwrap();
    let (mut rows, mut reconnected) = (vec![0; 2], false);
    let end = loop {
        match session.next().await.unwrap().unwrap() {
            Event::Books(frame) => {
                for (stream, table) in &frame.tables {
                    rows[*stream] += table.num_rows() as u64;
                }
            }
            Event::Reconnected => reconnected = true,
            Event::End(end) => break end,
            _ => {}
        }
    };

    assert!(reconnected);
    let counted: Vec<_> = end.streams.iter().map(|total| total.hash.rows()).collect();
    assert_eq!(counted, rows);
    assert_eq!((end.rows, end.hash), (rows.iter().sum(), None));
    served.stop().await;
}
