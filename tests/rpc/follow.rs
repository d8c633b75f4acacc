//! History, then what arrives, in one session: no row lost, none doubled, whoever writes.

use std::path::Path;
use std::time::Duration;

use tickreel::event::{Batch, ContentHash, Kind, StreamKey};
use tickreel::rpc::{
    Client, EndReason, Event, Output, Patience, PlayState, ReplayQuery, RowForm, ServeOptions,
    Session, Speed,
};
use tickreel::store::{GroupCommit, LiveOptions, Recorder, Store};
use tickreel::{ErrorKind, TsNs, limit};

use crate::listener::Listener;
use crate::market::{Dice, Served, book, btc, serve_at, swap};

fn key(instrument: tickreel::Instrument) -> StreamKey {
    StreamKey { instrument, kind: Kind::Book }
}

/// Two books whose rows are appended bit by bit, neither waiting for the other.
struct Feed {
    recorder: Recorder,
    rows: Vec<(StreamKey, Batch)>,
    at: Vec<usize>,
    dice: Dice,
}

impl Feed {
    fn new(root: &Path, messages: i64) -> (Self, Store) {
        let store = Store::open_or_create(root).unwrap();
        let group = GroupCommit { within: Duration::from_millis(1), ..GroupCommit::default() };
        let recorder =
            Recorder::start(store.writer(LiveOptions::default()).unwrap(), group).unwrap();
        let rows = [(btc(), 1), (swap(), 2)].map(|(name, seed)| {
            let batches = book(messages, seed);
            assert_eq!(batches.len(), 1);
            (key(name), batches[0].clone())
        });
        (Self { recorder, rows: rows.into(), at: vec![0; 2], dice: Dice(5) }, store)
    }

    /// Appends some rows to one of the streams; `false` if there are none left.
    fn append(&mut self) -> bool {
        let left = |stream: &usize| self.at[*stream] < self.rows[*stream].1.messages();
        let streams: Vec<_> = (0..2).filter(left).collect();
        if streams.is_empty() {
            return false;
        }
        let which = self.dice.below(i64::try_from(streams.len()).unwrap());
        let stream = streams[usize::try_from(which).unwrap()];
        let (key, batch) = &self.rows[stream];
        let more = 1 + usize::try_from(self.dice.below(60)).unwrap();
        let end = (self.at[stream] + more).min(batch.messages());
        let rows = batch.slice_messages(self.at[stream]..end);
        self.recorder.append(key, &rows).unwrap();
        self.at[stream] = end;
        true
    }

    fn hashes(&self) -> Vec<ContentHash> {
        let hash = |(_, batch): &(StreamKey, Batch)| {
            let mut hash = ContentHash::EMPTY;
            hash.update_all(batch);
            hash
        };
        self.rows.iter().map(hash).collect()
    }
}

fn following() -> ReplayQuery {
    ReplayQuery { follow: true, ..ReplayQuery::all(&[btc(), swap()]) }
}

/// Listens until every row was heard.
async fn hear(session: &mut Session, listener: &mut Listener, rows: u64) {
    listener.by_time = false;
    while listener.total.rows() < rows {
        match session.next().await.unwrap().unwrap() {
            Event::Frame(frame) => listener.hear(&frame),
            Event::Progress(progress) => listener.live |= progress.live,
            Event::End(_) => panic!("a replay that follows does not end"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_arrive_follow_history_without_a_seam() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("live.reel");
    let (mut feed, store) = Feed::new(&root, 4000);
    for _ in 0..40 {
        feed.append();
    }
    let rows: u64 = feed.rows.iter().map(|(_, batch)| batch.rows() as u64).sum();
    let expected = feed.hashes();
    let options = ServeOptions { recorder: Some(feed.recorder.clone()), ..ServeOptions::default() };
    let beside = Served::new(store.clone(), options).await;
    // As another process has it: it follows the journal.
    let elsewhere = Served::new(Store::open(&root).unwrap(), ServeOptions::default()).await;
    let recorder = feed.recorder.clone();
    let mut listeners = Vec::new();
    for (served, form, speed) in [
        (&beside, RowForm::Columns, Speed::FLAT_OUT),
        (&beside, RowForm::Arrow, Speed::times(1000.0).unwrap()),
        (&elsewhere, RowForm::Columns, Speed::FLAT_OUT),
    ] {
        let query = ReplayQuery { form, speed, ..following() };
        let mut session = served.client.replay(&query).await.unwrap();
        listeners.push(tokio::spawn(async move {
            let mut listener = Listener::new(session.streams());
            hear(&mut session, &mut listener, rows).await;
            session.controls().close().await.unwrap();
            let end = listener.end(&mut session).await;
            (listener, end)
        }));
    }
    let writing = tokio::task::spawn_blocking(move || {
        while feed.append() {
            std::thread::sleep(Duration::from_micros(500));
        }
    });
    writing.await.unwrap();
    for listener in listeners {
        let (listener, end) = listener.await.unwrap();
        assert_eq!(listener.hashes, expected);
        assert_eq!((end.reason, end.hash), (EndReason::Closed, Some(listener.total)));
        assert!(listener.live, "it was told that it is live");
    }
    beside.stop().await;
    elsewhere.stop().await;
    drop(recorder.close().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_follows_goes_on_after_any_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("live.reel");
    let (mut feed, store) = Feed::new(&root, 1500);
    for _ in 0..10 {
        feed.append();
    }
    let expected = feed.hashes();
    let rows: u64 = feed.rows.iter().map(|(_, batch)| batch.rows() as u64).sum();
    let options = ServeOptions { recorder: Some(feed.recorder.clone()), ..ServeOptions::default() };
    let served = Served::new(store, options).await;
    let mut query = following();
    let mut listener: Option<Listener> = None;
    let mut opened = 0;
    loop {
        // Now and then the client goes away and comes back.
        opened += 1;
        let mut session = served.client.replay(&query).await.unwrap();
        let listener = listener.get_or_insert_with(|| Listener::new(session.streams()));
        listener.by_time = false;
        let until = listener.frames + 3;
        while listener.frames < until && listener.total.rows() < rows {
            feed.append();
            if let Event::Frame(frame) = session.next().await.unwrap().unwrap() {
                listener.hear(&frame);
            }
        }
        query.resume_cursor = listener.cursor.clone();
        if listener.total.rows() >= rows {
            break;
        }
    }
    assert!(opened > 5, "{opened} sessions");
    assert_eq!(listener.unwrap().hashes, expected);
    served.stop().await;
    drop(feed.recorder.close().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lasting_replay_follows_across_a_restart_of_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("live.reel");
    let (mut feed, store) = Feed::new(&root, 800);
    while feed.at[0] < 400 {
        feed.append();
    }
    let rows: u64 = feed.rows.iter().map(|(_, batch)| batch.rows() as u64).sum();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, server) = serve_at(listener, store.clone());
    let client = Client::connect(&format!("http://{address}")).await.unwrap();
    let mut session = client.replay_for_good(&following(), Patience::default()).await.unwrap();
    let mut heard = Listener::new(session.session().streams());
    heard.by_time = false;
    let mut stop = Some((stop, server));
    let mut reconnected = false;
    let mut second = None;
    while heard.total.rows() < rows {
        feed.append();
        match session.next().await.unwrap().unwrap() {
            Event::Frame(frame) => heard.hear(&frame),
            Event::Progress(_) if heard.frames > 0 => {
                if let Some((stop, server)) = stop.take() {
                    drop(stop);
                    server.await.unwrap().unwrap();
                    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
                    second = Some(serve_at(listener, store.clone()));
                }
            }
            Event::Reconnected => reconnected = true,
            _ => {}
        }
    }
    assert!(reconnected || second.is_none());
    assert_eq!(heard.hashes, feed.hashes());
    drop(session);
    if let Some((stop, server)) = second.or(stop) {
        drop(stop);
        server.await.unwrap().unwrap();
    }
    drop(feed.recorder.close().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_given_while_it_follows_are_done_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("live.reel");
    let (mut feed, store) = Feed::new(&root, 600);
    while feed.at[0] < 300 {
        feed.append();
    }
    let options = ServeOptions { recorder: Some(feed.recorder.clone()), ..ServeOptions::default() };
    let served = Served::new(store, options).await;
    let query = ReplayQuery { speed: Speed::times(1000.0).unwrap(), ..following() };
    let mut session = served.client.replay(&query).await.unwrap();
    let mut listener = Listener::new(session.streams());
    listener.by_time = false;
    while !listener.live {
        match session.next().await.unwrap().unwrap() {
            Event::Frame(frame) => listener.hear(&frame),
            Event::Progress(progress) => listener.live = progress.live,
            _ => {}
        }
    }
    // Each is seen in the answer to it, and undone by the one after.
    let speed = |number: u32| Speed::times(f64::from(1000 + number)).unwrap();
    for number in 0..20 {
        feed.append();
        session.controls().set_speed(speed(number)).await.unwrap();
        session.controls().pause().await.unwrap();
        session.controls().resume().await.unwrap();
    }
    for number in 0..20 {
        let playing = [PlayState::Playing, PlayState::Paused, PlayState::Playing];
        for (commands, expected) in (u64::from(number) * 3 + 1..).zip(playing) {
            let state = listener.state(&mut session).await;
            assert_eq!((state.commands, state.state), (commands, expected));
            assert_eq!(state.speed, speed(number).factor());
        }
    }
    while feed.append() {}
    let rows = feed.rows.iter().map(|(_, batch)| batch.rows() as u64).sum();
    hear(&mut session, &mut listener, rows).await;
    assert_eq!(listener.hashes, feed.hashes());
    served.stop().await;
    drop(feed.recorder.close().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_follow_too_and_what_cannot_follow_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("live.reel");
    let (mut feed, store) = Feed::new(&root, 300);
    while feed.at[0] == 0 {
        feed.append();
    }
    let options = ServeOptions { recorder: Some(feed.recorder.clone()), ..ServeOptions::default() };
    let served = Served::new(store, options).await;
    let streams = vec![(feed.rows[0].0.instrument.clone(), Vec::new())];
    let query = ReplayQuery { output: Output::metrics(), streams, ..following() };
    let mut session = served.client.replay(&query).await.unwrap();
    let messages = feed.rows[0].1.messages() as u64;
    let mut rows = 0;
    while rows < messages {
        feed.append();
        if let Event::Books(frame) = session.next().await.unwrap().unwrap() {
            rows += frame.rows;
        }
    }
    assert_eq!(rows, messages);

    for refused in [
        ReplayQuery { looped: true, ..following() },
        ReplayQuery { session: Some("a".to_owned()), ..following() },
        ReplayQuery { range: TsNs(0)..TsNs(9), ..following() },
    ] {
        let error = served.client.replay(&refused).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.text().starts_with("follow: "), "{error}");
    }
    served.stop().await;
    drop(feed.recorder.close().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_streams_can_be_followed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path().join("many.reel")).unwrap();
    let mut import = store.import(tickreel::store::ImportOptions::default()).unwrap();
    let rows = book(1, 1).remove(0);
    let names: Vec<_> = (0..=limit::REPLAY_FOLLOW_STREAMS_MAX)
        .map(|number| tickreel::Instrument::parse(&format!("a:{number}")).unwrap())
        .collect();
    for name in &names {
        import.append(&key(name.clone()), &rows).unwrap();
    }
    import.commit().unwrap();
    let served = Served::new(store, ServeOptions::default()).await;
    let query = |names: &[_]| ReplayQuery {
        follow: true,
        opening_depth: Some(0),
        ..ReplayQuery::all(names)
    };

    let error = served.client.replay(&query(&names)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    let most = query(&names[1..]);
    let mut session = served.client.replay(&most).await.unwrap();
    let mut listener = Listener::new(session.streams());
    hear(&mut session, &mut listener, rows.rows() as u64 * 1024).await;
    // Its cursor, of every stream, fits a request with all their names.
    let again = ReplayQuery { resume_cursor: listener.cursor.clone(), ..most };
    drop(served.client.replay(&again).await.unwrap());
    served.stop().await;
}
