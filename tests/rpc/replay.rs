//! A replay over the wire is the replay of the store, however it is steered.

use std::time::{Duration, Instant};

use tickreel::book::{State, Tracker};
use tickreel::event::{ContentHash, Kind, Side, StreamKey};
use tickreel::replay::Replay;
use tickreel::rpc::{
    End, EndReason, Event, Frame, GapNotice, OpenedStream, PlayState, ReplayQuery, RowForm,
    Session, SessionState, Speed, StepAmount,
};
use tickreel::store::Store;
use tickreel::{Error, ErrorKind, TsNs};

use crate::market::{EVERY_NS, Market, START, btc, swap};

/// What a client keeps of a replay: a second opinion on rows, hashes and books.
struct Listener {
    keys: Vec<StreamKey>,
    hashes: Vec<ContentHash>,
    total: ContentHash,
    times: Vec<i64>,
    gaps: Vec<GapNotice>,
    frames: usize,
    openings: usize,
    progress: usize,
}

impl Listener {
    fn new(streams: &[OpenedStream]) -> Self {
        Self {
            keys: streams.iter().map(|stream| stream.key.clone()).collect(),
            hashes: vec![ContentHash::EMPTY; streams.len()],
            total: ContentHash::EMPTY,
            times: Vec::new(),
            gaps: Vec::new(),
            frames: 0,
            openings: 0,
            progress: 0,
        }
    }

    /// Forgets what came before a seek.
    fn begin_anew(&mut self) {
        self.hashes.fill(ContentHash::EMPTY);
        self.total = ContentHash::EMPTY;
        self.times.clear();
        self.gaps.clear();
    }

    fn hear(&mut self, frame: &Frame) {
        self.frames += 1;
        let mut rows = 0;
        for step in frame.steps() {
            let key = ContentHash::key_of(&self.keys[step.stream]);
            self.hashes[step.stream].update(step.batch, step.messages.clone());
            self.total.update_keyed(step.batch, step.messages.clone(), key);
            self.times.extend_from_slice(&step.batch.ts_recv()[step.messages.clone()]);
            rows += step.messages.map(|m| step.batch.message_rows(m).len()).sum::<usize>();
        }
        assert_eq!(rows as u64, frame.rows);
        assert!(self.times.is_sorted());
        assert_eq!(self.times.last(), Some(&frame.last.0));
    }

    /// Listens until something that is no row comes.
    async fn next(&mut self, session: &mut Session) -> Option<Event> {
        loop {
            match session.next().await.unwrap()? {
                Event::Frame(frame) => self.hear(&frame),
                Event::Gap(gap) => self.gaps.push(gap),
                Event::Progress(_) => self.progress += 1,
                Event::OpeningBook(_) => self.openings += 1,
                other => return Some(other),
            }
        }
    }

    async fn state(&mut self, session: &mut Session) -> SessionState {
        match self.next(session).await {
            Some(Event::State(state)) => state,
            other => panic!("expected a state, found {other:?}"),
        }
    }

    async fn end(&mut self, session: &mut Session) -> End {
        match self.next(session).await {
            Some(Event::End(end)) => end,
            other => panic!("expected the end, found {other:?}"),
        }
    }

    async fn refused(&mut self, session: &mut Session) -> Error {
        match self.next(session).await {
            Some(Event::Refused(error)) => error,
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    /// The server's figures are ours, and those of the same replay of the store.
    fn assert_same(&self, end: &End, local: &Replay) {
        assert_eq!(end.hash, Some(self.total));
        assert_eq!(end.rows, self.total.rows());
        assert_eq!(self.total, local.total());
        assert_eq!(end.streams, local.stream_totals());
        let hashes: Vec<_> = end.streams.iter().map(|total| total.hash).collect();
        assert_eq!(hashes, self.hashes);
    }
}

/// The same replay of the store, opened.
fn local(store: &Store, query: &ReplayQuery) -> Replay {
    let snapshot = store.snapshot().unwrap();
    let mut keys = Vec::new();
    for (instrument, kinds) in &query.streams {
        for stream in snapshot.streams().filter(|s| s.key.instrument == *instrument) {
            if kinds.is_empty() || kinds.contains(&stream.key.kind) {
                keys.push(stream.key.clone());
            }
        }
    }
    snapshot.replay(&keys, query.range.clone()).unwrap()
}

fn played(store: &Store, query: &ReplayQuery) -> Replay {
    let mut replay = local(store, query);
    replay.play(true, |_| Ok(true)).unwrap();
    replay
}

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

    controls.set_speed(Speed::times(5.0).unwrap()).await.unwrap();
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
    // Rows came as they fell due, gathered to frames of some milliseconds.
    assert!((5..=60).contains(&listener.frames), "{} frames", listener.frames);
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
