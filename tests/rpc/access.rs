//! Tokens: who shows none learns nothing, who shows one learns what it opens, and no more at once
//! than it may.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tickreel::event::{ContentHash, Kind, StreamKey};
use tickreel::replay::ReplayOrder;
use tickreel::rpc::{
    Access, Appended, BookQuery, Client, CoverageQuery, Credentials, Event, InstrumentQuery,
    JoinQuery, ReplayQuery, SampleQuery, ScanQuery, ServeOptions, new_token, proto,
};
use tickreel::store::{GroupCommit, LiveOptions, Recorder};
use tickreel::{ErrorKind, TsNs};
use tonic::Code;
use tonic::metadata::MetadataValue;

use crate::listener::Listener;
use crate::market::{EVERY_NS, Market, START, Served, book, btc, swap};

/// A market behind a token file.
struct Guarded {
    market: Market,
    served: Served,
    file: PathBuf,
    access: Access,
}

/// An entry of the file, and its token.
fn entry(name: &str, rights: &str) -> (String, String) {
    let (token, sha256) = new_token().unwrap();
    (token, format!("[[token]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n{rights}\n"))
}

fn access_of(file: &Path) -> Access {
    Access::parse(&std::fs::read_to_string(file).unwrap(), file).unwrap()
}

fn reload(guarded: &Guarded) -> tickreel::Result<()> {
    guarded.access.replace(&std::fs::read_to_string(&guarded.file).unwrap(), &guarded.file)
}

fn showing(token: &str) -> Credentials {
    Credentials { token: Some(token.to_owned()), ..Credentials::default() }
}

impl Guarded {
    /// The client of `served` shows `token`.
    async fn new(token: &str, entries: &str) -> Self {
        let market = Market::new(500);
        let file = market.store.root().with_extension("tokens.toml");
        std::fs::write(&file, entries).unwrap();
        let access = access_of(&file);
        let options = ServeOptions { access: access.clone(), ..ServeOptions::default() };
        let served = Served::with(market.store.clone(), options, &showing(token)).await;
        Self { market, served, file, access }
    }

    async fn client(&self, token: &str) -> Client {
        Client::connect_with(&self.served.url, &showing(token)).await.unwrap()
    }
}

fn newest(market: &Market) -> BookQuery {
    BookQuery { instrument: btc(), at: market.last(), depth: Some(5) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_no_valid_token_learns_nothing_but_that_the_server_lives() {
    use tonic_health::pb::health_client::HealthClient;
    let (token, valid) = entry("valid", "");
    let (old, expired) = entry("expired", "expires = \"2020-01-01\"");
    let guarded = Guarded::new(&token, &(valid + &expired)).await;
    let query = newest(&guarded.market);
    assert!(guarded.served.client.book(&query).await.is_ok());

    let begun = Instant::now();
    let cut = &token[..token.len() - 1];
    for wrong in ["", cut, &format!("{token}0"), &token.to_uppercase(), &old] {
        let error = guarded.client(wrong).await.book(&query).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{wrong}: {error}");
        assert!(error.text().contains("authorization: Bearer"), "{error}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(5 * 250), "each was answered late");

    let mut plain = guarded.served.plain().await;
    let request = || proto::ListInstrumentsRequest::default();
    let status = plain.list_instruments(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut basic = tonic::Request::new(request());
    let value = MetadataValue::try_from(format!("Basic {token}")).unwrap();
    basic.metadata_mut().insert("authorization", value);
    assert_eq!(plain.list_instruments(basic).await.unwrap_err().code(), Code::Unauthenticated);

    let mut health = HealthClient::new(guarded.served.channel().await);
    let request = tonic_health::pb::HealthCheckRequest::default();
    assert!(health.check(request).await.is_ok());
    guarded.served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_its_instruments_and_kinds_and_the_rest_is_not_there() {
    let rights = format!("instruments = [\"{}\"]\nkinds = [\"book\", \"trades\"]", btc());
    let (token, entries) = entry("narrow", &rights);
    let guarded = Guarded::new(&token, &entries).await;
    let client = &guarded.served.client;

    let shown = client.instruments(&InstrumentQuery::default()).await.unwrap();
    let shown: Vec<_> = shown.iter().map(|summary| summary.info.key.clone()).collect();
    let open = [Kind::Book, Kind::Trades].map(|kind| StreamKey { instrument: btc(), kind });
    assert_eq!(shown, open);

    // What is there and what never was have one answer.
    let absent = tickreel::Instrument::parse("nowhere:NOTHING").unwrap();
    for instrument in [swap(), absent] {
        let query = BookQuery { instrument: instrument.clone(), ..newest(&guarded.market) };
        let range = TsNs::MIN..TsNs::MAX;
        let coverage = CoverageQuery { instrument: instrument.clone(), kinds: vec![], range };
        let sample = SampleQuery {
            instrument: instrument.clone(),
            range: TsNs(START)..TsNs(START + 10),
            every_ns: 5,
            depth: None,
        };
        let scan = ScanQuery::all(instrument.clone(), Kind::Book);
        let replay = ReplayQuery::all(std::slice::from_ref(&instrument));
        let errors = [
            client.book(&query).await.unwrap_err(),
            client.coverage(&coverage).await.unwrap_err(),
            client.sample(&sample).await.err().unwrap(),
            client.scan(&scan).await.err().unwrap(),
            client.replay(&replay).await.err().unwrap(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let text = "no such instrument, kind or column, or this token does not open it";
            assert_eq!(error.text(), text);
        }
    }
    let error = client.scan(&ScanQuery::all(btc(), Kind::Status)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);

    // A replay of everything plays what is open.
    let mut session = client.replay(&ReplayQuery::all(&[btc()])).await.unwrap();
    let end = loop {
        if let Event::End(end) = session.next().await.unwrap().unwrap() {
            break end;
        }
    };
    let snapshot = guarded.market.store.snapshot().unwrap();
    let rows = open.iter().map(|key| {
        let infos = snapshot.stream_infos();
        infos.iter().find(|info| info.key == *key).unwrap().rows
    });
    assert_eq!(end.rows, rows.sum::<u64>());
    guarded.served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_its_time_and_ends_left_open_are_cut_to_it() {
    let (from, to) = (START + 100 * EVERY_NS, START + 200 * EVERY_NS);
    let rights = format!("from = \"{from}\"\nto = \"{to}\"");
    let (token, entries) = entry("window", &rights);
    let guarded = Guarded::new(&token, &entries).await;
    let client = &guarded.served.client;

    let shown = client.instruments(&InstrumentQuery::default()).await.unwrap();
    for info in shown.iter().map(|summary| &summary.info) {
        assert!(info.first.0 >= from && info.last.0 < to, "{info:?}");
    }
    let book_at = |at| BookQuery { instrument: btc(), at: TsNs(at), depth: None };
    assert!(client.book(&book_at(from)).await.is_ok());
    assert!(client.book(&book_at(to - 1)).await.is_ok());
    for at in [from - 1, to] {
        let error = client.book(&book_at(at)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert!(error.text().starts_with("this token opens "), "{error}");
    }

    let mut scan = client.scan(&ScanQuery::all(btc(), Kind::Book)).await.unwrap();
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    while let Some(batch) = scan.next_batch().await.unwrap() {
        first = first.min(batch.ts_recv()[0]);
        last = last.max(*batch.ts_recv().last().unwrap());
    }
    assert_eq!((first, last), (from, to - EVERY_NS));
    for range in [TsNs(from - 1)..TsNs::MAX, TsNs::MIN..TsNs(to + 1)] {
        let scan = ScanQuery { range: range.clone(), ..ScanQuery::all(btc(), Kind::Book) };
        assert_eq!(client.scan(&scan).await.err().unwrap().kind(), ErrorKind::OutOfRange);
        let replay = ReplayQuery { range, ..ReplayQuery::all(&[btc()]) };
        assert_eq!(client.replay(&replay).await.err().unwrap().kind(), ErrorKind::OutOfRange);
    }

    let range = TsNs::MIN..TsNs::MAX;
    let query = CoverageQuery { instrument: btc(), kinds: vec![], range };
    let coverage = client.coverage(&query).await.unwrap();
    let spans: Vec<_> = coverage.iter().flat_map(|of| &of.spans).collect();
    assert!(!spans.is_empty());
    assert!(spans.iter().all(|span| span.first.0 >= from && span.last.0 < to), "{spans:?}");
    let sample = |from, to| SampleQuery {
        instrument: btc(),
        range: TsNs(from)..TsNs(to),
        every_ns: EVERY_NS,
        depth: None,
    };
    assert!(client.sample(&sample(from, to)).await.is_ok());
    for query in [sample(from - 1, to), sample(from, to + 1)] {
        assert_eq!(client.sample(&query).await.err().unwrap().kind(), ErrorKind::OutOfRange);
    }

    // By event time, rows come that were received behind the range, but not behind what is open.
    let by_event = ReplayQuery { order: ReplayOrder::Event, ..ReplayQuery::all(&[btc()]) };
    let mut session = client.replay(&by_event).await.unwrap();
    let mut listener = Listener::new(session.streams());
    listener.by_time = false;
    listener.end(&mut session).await;
    let times = &listener.times;
    assert!(times.len() > 90 && times.iter().all(|ts| (from..to).contains(ts)), "{times:?}");
    let query = ReplayQuery { paused: true, ..by_event };
    let mut session = client.replay(&query).await.unwrap();
    listener.books.clear();
    session.controls().seek(TsNs(to)).await.unwrap();
    session.controls().close().await.unwrap();
    listener.next(&mut session).await;
    listener.end(&mut session).await;
    assert!(!listener.books.is_empty());
    for book in &listener.books {
        assert!(book.ts_recv.is_none_or(|ts| ts.0 < to), "{book:?}");
    }

    // A seek of a replay does not lead out of it either.
    let query = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc()]) };
    let session = client.replay(&query).await.unwrap();
    let (first, last) = session.span();
    assert!(first.0 >= from && last.0 < to);
    guarded.served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_was_changed_does_not_lead_out_of_the_time_that_a_token_opens() {
    let (from, to) = (START + 100 * EVERY_NS, START + 200 * EVERY_NS);
    let rights = format!("from = \"{from}\"\nto = \"{to}\"");
    let (token, entries) = entry("narrow", &rights);
    let guarded = Guarded::new(&token, &entries).await;
    let client = &guarded.served.client;
    for order in [ReplayOrder::Recv, ReplayOrder::Event] {
        let query = ReplayQuery { order, ..ReplayQuery::all(&[btc()]) };
        let mut session = client.replay(&query).await.unwrap();
        let mut listener = Listener::new(session.streams());
        listener.by_time = false;
        let end = listener.end(&mut session).await;
        let rest = |cursor: Vec<u8>| ReplayQuery { resume_cursor: cursor.into(), ..query.clone() };

        // Output, version, form, order and digest come first; then what depends on the form.
        let last = end.cursor.to_vec();
        assert_eq!((last[2], last.len()), (1, 36), "the last message");
        let start = |time: i64| {
            let head = [&last[..2], &[0], &last[3..12]].concat();
            [head, time.to_le_bytes().to_vec()].concat()
        };
        let behind = |time: i64| {
            let first = 1u64.to_le_bytes();
            [&last[..20], &time.to_le_bytes(), &first].concat()
        };
        for inside in [last.clone(), start(from), start(to)] {
            assert!(client.replay(&rest(inside)).await.is_ok());
        }
        for time in [i64::MIN, from - 1, to + 1, i64::MAX] {
            for cursor in [start(time), behind(time)] {
                let error = client.replay(&rest(cursor)).await.err().unwrap();
                assert_eq!(error.kind(), ErrorKind::Invalid);
                assert_eq!(error.text(), "resume_cursor: a cursor of another range");
            }
        }
    }
    guarded.served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_added_by_who_may_and_read_by_who_may() {
    let (writes, one) =
        entry("writer", "read = false\nappend = true\ninstruments = [\"binance*:*\"]");
    let (reads, other) = entry("reader", "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    std::fs::write(&file, one + &other).unwrap();
    let store = tickreel::store::Store::open_or_create(folder.path().join("store")).unwrap();
    let writer = store.writer(LiveOptions::default()).unwrap();
    let recorder = Recorder::start(writer, GroupCommit::default()).unwrap();
    let access = access_of(&file);
    let options =
        ServeOptions { recorder: Some(recorder.clone()), access, ..ServeOptions::default() };
    let served = Served::with(store, options, &showing(&writes)).await;
    let rows = book(20, 1).remove(0);

    let answer_to = async |client: &Client, key: StreamKey| {
        let (mut sender, mut answers) = client.append().await.unwrap();
        sender.send(&key, &rows).await.unwrap();
        answers.next().await.unwrap().unwrap()
    };
    let mine = StreamKey { instrument: btc(), kind: Kind::Book };
    let foreign = StreamKey { instrument: swap(), kind: Kind::Book };
    assert!(matches!(answer_to(&served.client, mine.clone()).await, Appended::Accepted { .. }));
    let reader = Client::connect_with(&served.url, &showing(&reads)).await.unwrap();
    for (client, key) in [(&served.client, foreign), (&reader, mine)] {
        let Appended::Refused { error, .. } = answer_to(client, key).await else {
            panic!("it was taken")
        };
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.text().contains("adds no rows"), "{error}");
    }
    let query = BookQuery { instrument: btc(), at: TsNs::MAX, depth: None };
    assert_eq!(served.client.book(&query).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(reader.book(&query).await.is_ok());
    served.stop().await;
    drop(recorder.close().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let (token, entries) = entry("slow", "requests_per_second = 3");
    let guarded = Guarded::new(&token, &entries).await;
    let mut plain = guarded.served.plain().await;
    let request = || {
        let mut request = tonic::Request::new(proto::GetStatsRequest::default());
        let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    };

    let mut refused = None;
    for _ in 0..50 {
        if let Err(status) = plain.get_stats(request()).await {
            refused = Some(status);
            break;
        }
    }

    let status = refused.expect("50 requests at once are too many");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let wait_ms = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    let wait_ms: u64 = wait_ms.to_str().unwrap().parse().unwrap();
    assert!((1..=334).contains(&wait_ms), "{wait_ms}");
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    assert!(plain.get_stats(request()).await.is_ok());
    guarded.served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_has_so_many_streams_and_leaves_room_for_others() {
    let (token, one) = entry("few", "streams = 3\nreplays = 2");
    let (free, other) = entry("other", "");
    let guarded = Guarded::new(&token, &(one + &other)).await;
    let client = &guarded.served.client;
    let paused = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc()]) };
    let mut open =
        vec![client.replay(&paused).await.unwrap(), client.replay(&paused).await.unwrap()];

    let error = client.replay(&paused).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(error.text(), "replays open with this token: 3 is above the limit 2");
    let other = guarded.client(&free).await;
    assert!(other.replay(&paused).await.is_ok());

    open.pop();
    let begun = Instant::now();
    while client.replay(&paused).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "room did not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    guarded.served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_read_again_while_the_server_runs() {
    let (stays, one) = entry("stays", "");
    let (goes, other) = entry("goes", "");
    let guarded = Guarded::new(&stays, &(one.clone() + &other)).await;
    let paused = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc()]) };
    let leaving = guarded.client(&goes).await;
    let mut session = leaving.replay(&paused).await.unwrap();
    let mut staying = guarded.served.client.replay(&paused).await.unwrap();

    std::fs::write(&guarded.file, "[[token]]\nnam = 1").unwrap();
    assert!(reload(&guarded).unwrap_err().to_string().contains("line 2"));
    assert!(leaving.book(&newest(&guarded.market)).await.is_ok(), "nothing was changed");

    let (comes, third) = entry("comes", "");
    std::fs::write(&guarded.file, one + &third).unwrap();
    reload(&guarded).unwrap();

    let error = loop {
        match session.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if all were well"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.text()), (ErrorKind::Denied, "this token was withdrawn"));
    let query = newest(&guarded.market);
    assert_eq!(leaving.book(&query).await.unwrap_err().kind(), ErrorKind::Denied);
    assert!(guarded.client(&comes).await.book(&query).await.is_ok());
    staying.controls().resume().await.unwrap();
    let end = loop {
        if let Event::End(end) = staying.next().await.unwrap().unwrap() {
            break end;
        }
    };
    assert!(end.rows > 0 && end.hash != Some(ContentHash::EMPTY));
    guarded.served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_seen_and_joined_only_by_a_token_that_opens_all_that_is_played_in_it() {
    let (opens, one) = entry("whole", "");
    let (same, two) = entry("another", "");
    let (trades, three) = entry("trades", "kinds = [\"trades\"]");
    let (late, four) = entry("late", &format!("from = \"{}\"", START + 1));
    let guarded = Guarded::new(&opens, &(one + &two + &three + &four)).await;
    let session = Some("desk".to_owned());
    let query = ReplayQuery { session, paused: true, ..ReplayQuery::all(&[btc()]) };
    let _open = guarded.served.client.replay(&query).await.unwrap();
    let desk = JoinQuery::new("desk");

    let other = guarded.client(&same).await;
    let names = async |client: &Client| {
        let stats = client.stats().await.unwrap();
        stats.sessions.into_iter().map(|session| session.name).collect::<Vec<_>>()
    };
    assert!(other.join(&desk).await.is_ok());
    assert_eq!(names(&other).await, ["desk"]);
    for token in [trades, late] {
        let client = guarded.client(&token).await;
        assert!(names(&client).await.is_empty());
        let error = client.join(&desk).await.err().unwrap();
        let absent = client.join(&JoinQuery::new("none")).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.text(), absent.text(), "as if there were no such session");
    }
    guarded.served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_not_sent_over_the_network_in_the_clear() {
    let error =
        Client::connect_with("http://192.0.2.1:7400", &showing("secret")).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.text().contains("https"), "{error}");
    assert!(!format!("{:?}", showing("secret")).contains("secret"));
}
