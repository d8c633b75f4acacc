//! Rows that clients append: seen at once, durable when told, refused with a reason, and never more
//! than the server has room for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt8Array,
};
use arrow::datatypes::Schema;
use tickreel::arrow::{ipc, to_record_batch};
use tickreel::event::{
    Batch, BatchBuilder, ContentHash, Kind, MessageHead, Side, StreamKey, TradeRow, TradeSide, book,
};
use tickreel::replay::Replay;
use tickreel::rpc::proto::append_request::Rows;
use tickreel::rpc::proto::append_response::Event as Sent;
use tickreel::rpc::{
    AppendAnswers, AppendSender, Appended, BookQuery, Client, Event, InstrumentQuery, ReplayQuery,
    ScanQuery, ServeOptions, proto,
};
use tickreel::segment::ColumnMask;
use tickreel::store::{GroupCommit, LiveOptions, Recorder, Store};
use tickreel::{Decimal, ErrorKind, Instrument, TsNs, limit};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::disk::{Faults, FaultyDisk};
use crate::market::{EVERY_NS, START, Served, book as book_rows, btc, swap};

/// A store that is written, and a server that clients append to.
struct Writing {
    store: Store,
    recorder: Recorder,
    served: Served,
    faults: Arc<Faults>,
}

impl Writing {
    async fn open(root: &Path, options: LiveOptions, group: GroupCommit) -> Self {
        let faults = Arc::<Faults>::default();
        let disk = Arc::new(FaultyDisk(faults.clone()));
        let store = Store::open_or_create_on(disk, root, 1).unwrap();
        let recorder = Recorder::start(store.writer(options).unwrap(), group).unwrap();
        let options = ServeOptions { recorder: Some(recorder.clone()), ..ServeOptions::default() };
        let served = Served::new(store.clone(), options).await;
        Self { store, recorder, served, faults }
    }

    async fn new(root: &Path) -> Self {
        Self::open(root, LiveOptions::default(), GroupCommit::default()).await
    }

    async fn close(self) {
        self.served.stop().await;
        drop(self.recorder.close().unwrap());
    }
}

/// The same store as another process has it.
fn elsewhere(root: &Path) -> Store {
    Store::open(root).unwrap()
}

fn root() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("live.reel");
    (folder, root)
}

fn key(instrument: Instrument, kind: Kind) -> StreamKey {
    StreamKey { instrument, kind }
}

fn prints(times: &[i64], trade_id: &str) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Trades);
    for &ts in times {
        builder.trade(&TradeRow {
            ts_recv: TsNs(ts),
            ts_event: None,
            side: TradeSide::Buy,
            price: Decimal::new(15, 1).unwrap(),
            qty: Decimal::new(1, 0).unwrap(),
            trade_id,
        });
    }
    builder.finish().unwrap().pop().unwrap()
}

/// Answers until everything up to request `id` is durable; none may be refused.
async fn durable(answers: &mut AppendAnswers, id: u64) {
    loop {
        match answers.next().await.unwrap() {
            Some(Appended::Durable { id: reached, .. }) if reached >= id => return,
            Some(Appended::Refused { id, error }) => panic!("{id}: {error}"),
            Some(_) => {}
            None => panic!("ended before {id} was durable"),
        }
    }
}

fn rows_of(store: &Store, instrument: &Instrument, kind: Kind) -> Batch {
    let snapshot = store.snapshot().unwrap();
    let range = TsNs::MIN..TsNs::MAX;
    let mut scan = snapshot.scan(instrument, kind, range, ColumnMask::ALL).unwrap();
    let mut all = Batch::new(kind);
    while let Some(batch) = scan.next_batch().unwrap() {
        all.append(batch).unwrap();
    }
    all
}

fn hash_of(batch: &Batch) -> ContentHash {
    let mut hash = ContentHash::EMPTY;
    hash.update_all(batch);
    hash
}

/// What the server gives as all rows of a stream.
async fn scanned(client: &Client, instrument: &Instrument, kind: Kind) -> Batch {
    let mut scan = client.scan(&ScanQuery::all(instrument.clone(), kind)).await.unwrap();
    let mut all = Batch::new(kind);
    while let Some(batch) = scan.next_batch().await.unwrap() {
        all.append(&batch).unwrap();
    }
    all
}

/// Rows and hash of a replay of all streams of an instrument.
async fn replayed(client: &Client, instrument: &Instrument) -> (u64, Option<ContentHash>) {
    let query = ReplayQuery { hash: true, ..ReplayQuery::all(std::slice::from_ref(instrument)) };
    let mut session = client.replay(&query).await.unwrap();
    loop {
        if let Event::End(end) = session.next().await.unwrap().unwrap() {
            return (end.rows, end.hash);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_seen_at_once_durable_when_told_and_there_after_a_restart() {
    let (_folder, root) = root();
    let writing = Writing::new(&root).await;
    let client = &writing.served.client;
    let (books, trades) = (key(btc(), Kind::Book), key(btc(), Kind::Trades));
    let whole = book_rows(3000, 1).pop().unwrap();
    let (mut sender, mut answers) = client.append().await.unwrap();

    let mut followed: Option<Replay> = None;
    let mut last = 0;
    for first in (0..whole.messages()).step_by(100) {
        let part = whole.slice_messages(first..(first + 100).min(whole.messages()));
        last = sender.send(&books, &part).await.unwrap();
        let ts = START + i64::try_from(first).unwrap() * EVERY_NS;
        last = sender.send(&trades, &prints(&[ts], "t")).await.unwrap().max(last);
        while !matches!(answers.next().await.unwrap().unwrap(),
            Appended::Accepted { id, .. } if id == last)
        {}
        // Accepted rows are in the next answer of the same server.
        let listed = client.instruments(&InstrumentQuery::default()).await.unwrap();
        assert_eq!(listed[0].info.messages, part.messages() as u64 + first as u64);
        let snapshot = writing.store.snapshot().unwrap();
        let follows = match &mut followed {
            Some(replay) => {
                replay.follow(&snapshot).unwrap();
                replay
            }
            None => {
                let streams = [books.clone(), trades.clone()];
                followed.insert(snapshot.replay(&streams, TsNs::MIN..TsNs::MAX).unwrap())
            }
        };
        follows.play(true, |_| Ok(true)).unwrap();
    }
    durable(&mut answers, last).await;

    assert_eq!(hash_of(&scanned(client, &btc(), Kind::Book).await), hash_of(&whole));
    let at = TsNs(START + 2000 * EVERY_NS);
    let query = BookQuery { instrument: btc(), at, depth: None };
    let answer = client.book(&query).await.unwrap();
    let there = elsewhere(&root);
    let tracker = there.snapshot().unwrap().book_at(&btc(), at).unwrap();
    assert_eq!(answer.bids.len(), tracker.book().level_count(Side::Bid));
    assert!(answer.bids.len() > 50);
    assert_eq!(hash_of(&rows_of(&there, &btc(), Kind::Book)), hash_of(&whole));
    let before = replayed(client, &btc()).await;
    assert_eq!(before.0, whole.rows() as u64 + 30);
    assert_eq!(Some(followed.unwrap().total()), before.1);

    drop(sender);
    assert!(answers.next().await.unwrap().is_none());
    writing.close().await;
    let again = Writing::new(&root).await;
    assert_eq!(replayed(&again.served.client, &btc()).await, before);
    let (mut sender, mut answers) = again.served.client.append().await.unwrap();
    sender.send(&trades, &prints(&[START], "late")).await.unwrap();
    let Some(Appended::Refused { id: 0, error }) = answers.next().await.unwrap() else {
        panic!("a late row was not refused")
    };
    assert!(error.text().contains("late row"), "{error}");
    again.close().await;
}

/// An append session of generated code.
struct Plain {
    requests: mpsc::Sender<proto::AppendRequest>,
    answers: Streaming<proto::AppendResponse>,
}

impl Plain {
    async fn open(served: &Served) -> Self {
        let (requests, receiver) = mpsc::channel(4);
        let answers = served.plain().await.append(ReceiverStream::new(receiver)).await.unwrap();
        Self { requests, answers: answers.into_inner() }
    }

    /// What becomes of a request.
    async fn ask(&mut self, request: proto::AppendRequest) -> Sent {
        self.requests.send(request).await.unwrap();
        loop {
            match self.answers.message().await.unwrap().unwrap().event.unwrap() {
                Sent::Durable(_) => {}
                event => return event,
            }
        }
    }

    async fn refused(&mut self, request: proto::AppendRequest) -> (Code, String) {
        let id = request.id;
        match self.ask(request).await {
            Sent::Refused(refused) => {
                assert_eq!(refused.id, id);
                (Code::from(refused.code), refused.text)
            }
            event => panic!("taken: {event:?}"),
        }
    }
}

fn request(id: u64, kind: Kind, rows: Option<Rows>) -> proto::AppendRequest {
    let (instrument, kind) = (btc().to_string(), i32::from(kind.code()));
    proto::AppendRequest { id, instrument, kind, rows }
}

/// Record batches as other programs write them, and the end of the stream.
fn stream_of(batches: &[RecordBatch]) -> Option<Rows> {
    let mut stream = ipc::IpcStream::begin(Vec::new(), batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| stream.write(batch).unwrap());
    Some(Rows::Arrow(stream.finish().unwrap().into()))
}

fn times(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(values.to_vec()).with_timezone("UTC"))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// A snapshot of two levels: plain text wherever it may be, no column that can be left out.
fn plain_book(ts: i64, changed: Option<(&str, ArrayRef)>) -> RecordBatch {
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("price", texts(&["0", "61701.20", "61701.3"])),
        ("qty", texts(&["0", "1.440", "2"])),
        ("side", texts(&["bid", "bid", "ask"])),
        ("action", texts(&["reset", "set", "set"])),
        ("flags", Arc::new(UInt8Array::from(vec![2, 2, 3]))),
        ("ts_recv", times(&[ts; 3])),
    ];
    if let Some((name, array)) = changed {
        columns.retain(|(known, _)| *known != name);
        if !array.is_empty() {
            columns.push((name, array));
        }
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_arrow_alone_needs_no_code_of_ours() {
    let (_folder, root) = root();
    let writing = Writing::new(&root).await;
    let mut plain = Plain::open(&writing.served).await;

    let two = [plain_book(10, None), plain_book(11, None)];
    let event = plain.ask(request(7, Kind::Book, stream_of(&two))).await;
    let Sent::Accepted(accepted) = event else { panic!("{event:?}") };
    assert_eq!((accepted.id, accepted.rows), (7, 6));
    // What a scan gives is taken as it is.
    let batch = to_record_batch(&prints(&[1, 2], "x")).unwrap();
    let event = plain.ask(request(8, Kind::Trades, stream_of(&[batch]))).await;
    assert!(matches!(event, Sent::Accepted(accepted) if accepted.rows == 2));

    let stored = rows_of(&writing.store, &btc(), Kind::Book);
    assert_eq!(stored.messages(), 2);
    assert_eq!(stored.i64s(book::PRICE), [0, 617_012, 617_013, 0, 617_012, 617_013]);
    let column = stored.column(book::QTY).unwrap();
    assert_eq!((column.scale, column.digits), (2, 3));
    let answer = writing
        .served
        .client
        .book(&BookQuery { instrument: btc(), at: TsNs(20), depth: None })
        .await
        .unwrap();
    assert_eq!(answer.bids[0].0.to_string(), "61701.2");
    drop(plain.requests);
    let end = async {
        let mut last = None;
        while let Some(answer) = plain.answers.message().await.unwrap() {
            last = answer.event;
        }
        last
    };
    assert!(matches!(end.await, None | Some(Sent::Durable(proto::AppendDurable { id: 8, .. }))));
    writing.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_rows_are_refused_with_column_and_row_and_the_session_goes_on() {
    let (_folder, root) = root();
    let writing = Writing::new(&root).await;
    let mut plain = Plain::open(&writing.served).await;
    let changed = |name, array| stream_of(&[plain_book(10, Some((name, array)))]);
    let none: ArrayRef = Arc::new(UInt8Array::from(Vec::<u8>::new()));
    let flags = |values: &[u8]| -> ArrayRef { Arc::new(UInt8Array::from(values.to_vec())) };
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 1.0, 2.0]));
    let junk = |bytes: &'static [u8]| Some(Rows::Arrow(bytes.into()));
    let empty = RecordBatch::new_empty(plain_book(10, None).schema());
    let bare = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let bad = [
        (changed("price", texts(&["0", "dear", "1"])), "arrow: column price, row 1: number \"dear"),
        (changed("qty", doubles), "column qty: expected Decimal128 or decimal text"),
        (changed("side", texts(&["bid", "bid", "sell"])), "column side: row 2 is \"sell\""),
        (changed("action", texts(&["set", "set", "set"])), "column flags, row 0: a snapshot does"),
        (changed("flags", flags(&[2, 2, 2])), "column flags: the message of row 0 has no last"),
        (changed("price", texts(&["5", "1", "2"])), "column action, row 0: a reset or gap with"),
        (changed("qty", none.clone()), "rows lack the column qty"),
        (changed("flags", none), "need the column flags"),
        (changed("colour", texts(&["red", "red", "red"])), "column \"colour\" of book"),
        (changed("ts_recv", times(&[10, 10, 11])), "column ts_recv: row 2 differs"),
        (
            stream_of(&[plain_book(10, None), plain_book(9, None)]),
            "column ts_recv, row 3: earlier than the row before",
        ),
        (stream_of(&[empty]), "rows: expected at least one"),
        (stream_of(&[bare]), "need the column flags"),
        (junk(b"no arrow"), "arrow: "),
        (Some(Rows::Columns((&b"short"[..]).into())), "columns: "),
        (None, "rows: expected arrow or columns"),
    ];
    let mut refused = 0;
    for (id, (rows, text)) in (1..).zip(bad) {
        let (code, found) = plain.refused(request(id, Kind::Book, rows)).await;
        refused += 1;
        let expected = if text.contains("colour") { Code::NotFound } else { Code::InvalidArgument };
        assert_eq!(code, expected, "{found}");
        assert!(found.contains(text), "{found}");
    }
    let mut level = BatchBuilder::new(Kind::Book);
    level.begin(MessageHead { ts_recv: TsNs(1), ..MessageHead::default() });
    level.level_text(Side::Bid, "1", "1").unwrap();
    level.end();
    let level = to_record_batch(&level.finish().unwrap()[0]).unwrap();
    let (_, text) = plain.refused(request(50, Kind::Book, stream_of(&[level]))).await;
    assert!(text.contains("column action, row 0: the first row of a stream must be a reset"));
    let (_, text) =
        plain.refused(request(51, Kind::Trades, changed("x", texts(&["", "", ""])))).await;
    assert!(text.contains("of trades"), "{text}");
    for (instrument, kind, field) in [("../x", 1, "instrument: "), ("binance:x", 9, "kind: ")] {
        let wrong = proto::AppendRequest {
            instrument: instrument.into(),
            kind,
            ..request(52, Kind::Book, None)
        };
        let (code, text) = plain.refused(wrong).await;
        assert!(code == Code::InvalidArgument && text.starts_with(field), "{text}");
    }
    assert!(writing.store.snapshot().unwrap().stream_infos().is_empty());
    assert_eq!(writing.served.client.stats().await.unwrap().failures, refused + 4);

    let event = plain.ask(request(90, Kind::Book, changed("flags", flags(&[0, 0, 1])))).await;
    assert!(matches!(event, Sent::Accepted(accepted) if accepted.id == 90), "a bare reset");
    let (code, text) =
        plain.refused(request(91, Kind::Book, stream_of(&[plain_book(9, None)]))).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("late row") && text.contains("1970-01-01T00:00:00.000000010Z"), "{text}");
    writing.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_writer_says_so() {
    let (_folder, root) = root();
    let store = Store::open_or_create(&root).unwrap();
    let served = Served::new(store, ServeOptions::default()).await;

    let requests = tokio_stream::empty();
    let status = served.plain().await.append(requests).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "this server only reads")
    );
    let error = served.client.append().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_16_mib_is_read_and_a_longer_one_ends_the_session() {
    let (_folder, root) = root();
    let writing = Writing::new(&root).await;
    let mut plain = Plain::open(&writing.served).await;
    let sized = |bytes: usize| {
        let empty = request(1, Kind::Book, Some(Rows::Arrow(vec![0; 5 << 20].into())));
        let others = prost::Message::encoded_len(&empty) - (5 << 20);
        request(1, Kind::Book, Some(Rows::Arrow(vec![0; bytes - others].into())))
    };

    let (code, text) = plain.refused(sized(limit::RPC_APPEND_BYTES_MAX)).await;
    assert_eq!(code, Code::InvalidArgument, "{text}");
    plain.requests.send(sized(limit::RPC_APPEND_BYTES_MAX + 1)).await.unwrap();
    let status = plain.answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);

    // The longest message fits as Arrow.
    let mut plain = Plain::open(&writing.served).await;
    let message = |rows: usize| {
        let mut builder = BatchBuilder::new(Kind::Book);
        let head = MessageHead { ts_recv: TsNs(1), venue_seq: Some(1), ..MessageHead::default() };
        builder.begin(MessageHead { snapshot: true, ts_event: Some(TsNs(1)), ..head });
        for level in 1..rows {
            let price = Decimal::new(i64::try_from(level % 90_000).unwrap(), 1).unwrap();
            builder.level(Side::Bid, price, Decimal::new(1, 0).unwrap());
        }
        builder.end();
        builder
    };
    let longest = message(limit::MESSAGE_ROWS_MAX).finish().unwrap().pop().unwrap();
    let arrow = to_record_batch(&longest).unwrap();
    let event = plain.ask(request(2, Kind::Book, stream_of(&[arrow]))).await;
    assert!(matches!(event, Sent::Accepted(_)), "{event:?}");

    let (mut sender, _answers) = writing.served.client.append().await.unwrap();
    let long = prints(&[1], &"x".repeat(limit::RPC_APPEND_BYTES_MAX));
    let error = sender.send(&key(btc(), Kind::Trades), &long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    writing.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_append_sessions_than_the_limit_are_refused_and_room_comes_back() {
    let (_folder, root) = root();
    let writing = Writing::new(&root).await;
    // A connection takes only so many requests at once.
    let other = Client::connect(&writing.served.url).await.unwrap();
    let mut open: Vec<(AppendSender, AppendAnswers)> = Vec::new();
    for number in 0..limit::RPC_APPENDS_MAX {
        let client = if number % 2 == 0 { &writing.served.client } else { &other };
        open.push(client.append().await.unwrap());
    }

    let error = other.append().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(error.text(), "append sessions open on this server: 33 is above the limit 32");
    open.pop();
    while other.append().await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(open);
    writing.close().await;
}

/// Makes what waits durable: a group is full.
fn fill_group(recorder: &Recorder, bytes: usize, ts: i64) {
    let rows = prints(&[ts], &"x".repeat(bytes));
    let seq = recorder.append(&key(swap(), Kind::Trades), &rows).unwrap();
    recorder.wait(seq).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_not_read_while_too_many_of_its_requests_are_not_durable() {
    let (_folder, root) = root();
    let group = GroupCommit { within: Duration::from_secs(3600), bytes: 1 << 20 };
    let writing = Writing::open(&root, LiveOptions::default(), group).await;
    let client = writing.served.client.clone();
    let (mut sender, mut answers) = client.append().await.unwrap();
    let sending = tokio::spawn(async move {
        for ts in 0..=limit::RPC_APPENDS_WAITING_MAX as i64 {
            sender.send(&key(btc(), Kind::Trades), &prints(&[ts], "t")).await.unwrap();
        }
        sender
    });
    let last = limit::RPC_APPENDS_WAITING_MAX as u64;
    for expected in 0..last {
        let answer = answers.next().await.unwrap().unwrap();
        assert!(matches!(answer, Appended::Accepted { id, .. } if id == expected), "{answer:?}");
    }
    let sender = sending.await.unwrap();
    for _ in 0..50 {
        let listed = client.instruments(&InstrumentQuery::default()).await.unwrap();
        assert_eq!(listed[0].info.rows, last);
    }

    fill_group(&writing.recorder, group.bytes, 1);

    let answer = answers.next().await.unwrap().unwrap();
    assert!(matches!(answer, Appended::Durable { id, .. } if id == last - 1), "{answer:?}");
    let answer = answers.next().await.unwrap().unwrap();
    assert!(matches!(answer, Appended::Accepted { id, .. } if id == last), "{answer:?}");
    drop(sender);
    fill_group(&writing.recorder, group.bytes, 2);
    durable(&mut answers, last).await;
    assert!(answers.next().await.unwrap().is_none());
    writing.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_requests_and_takes_them_again_when_there_is_room() {
    let (_folder, root) = root();
    let options = LiveOptions { journal_bytes: 64 << 10, ..LiveOptions::default() };
    let writing = Writing::open(&root, options, GroupCommit::default()).await;
    let (mut sender, mut answers) = writing.served.client.append().await.unwrap();
    let (trades, id) = (key(btc(), Kind::Trades), "x".repeat(10_000));
    writing.faults.full.store(true, Ordering::SeqCst);

    let mut taken = 0;
    let error = loop {
        sender.send(&trades, &prints(&[taken], &id)).await.unwrap();
        match answers.next().await.unwrap().unwrap() {
            Appended::Accepted { .. } => taken += 1,
            Appended::Durable { .. } => {}
            Appended::Refused { error, .. } => break error,
        }
    };
    assert!(taken > 0);
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.text().contains("disk of the server is full"), "{error}");
    assert!(!error.text().contains(root.to_str().unwrap()), "{error}");

    writing.faults.full.store(false, Ordering::SeqCst);
    let last = sender.send(&trades, &prints(&[taken], &id)).await.unwrap();
    durable(&mut answers, last).await;
    assert_eq!(rows_of(&elsewhere(&root), &btc(), Kind::Trades).rows() as i64, taken + 1);
    writing.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_the_sessions_and_readers_go_on() {
    let (_folder, root) = root();
    let writing = Writing::new(&root).await;
    let client = writing.served.client.clone();
    let trades = key(btc(), Kind::Trades);
    let (mut sender, mut answers) = client.append().await.unwrap();
    sender.send(&trades, &prints(&[1], "t")).await.unwrap();
    durable(&mut answers, 0).await;
    writing.faults.broken.store(true, Ordering::SeqCst);

    // No other request comes: the session ends by itself.
    sender.send(&trades, &prints(&[2], "t")).await.unwrap();
    let error = loop {
        match answers.next().await {
            Ok(Some(Appended::Accepted { id: 1, .. })) => {}
            Ok(answer) => panic!("{answer:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert_eq!(error.text(), "the writer of the server stopped after a failure (incident 1)");
    let mut plain = Plain::open(&writing.served).await;
    plain.requests.send(request(1, Kind::Book, stream_of(&[plain_book(10, None)]))).await.unwrap();
    assert_eq!(plain.answers.message().await.unwrap_err().code(), Code::Unavailable);
    assert!(scanned(&client, &btc(), Kind::Trades).await.rows() > 0);
    drop((sender, answers, plain));
    writing.served.stop().await;
    assert_eq!(writing.recorder.close().err().unwrap().kind(), ErrorKind::Poisoned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_tells_what_is_durable_and_ends_the_session() {
    let (_folder, root) = root();
    let group = GroupCommit { within: Duration::from_millis(300), bytes: 1 << 20 };
    let writing = Writing::open(&root, LiveOptions::default(), group).await;
    let (mut sender, mut answers) = writing.served.client.append().await.unwrap();
    sender.send(&key(btc(), Kind::Trades), &prints(&[1], "t")).await.unwrap();
    assert!(matches!(answers.next().await.unwrap(), Some(Appended::Accepted { id: 0, .. })));

    writing.served.stop().await;

    assert!(matches!(answers.next().await.unwrap(), Some(Appended::Durable { id: 0, .. })));
    let error = answers.next().await.unwrap_err();
    assert_eq!((error.kind(), error.text()), (ErrorKind::Cancelled, "the server stops"));
    drop(writing.recorder.close().unwrap());
}
