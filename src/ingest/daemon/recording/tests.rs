//! What the store refuses is a gap that is told, and is never counted as stored.

use super::super::clock::{Now, ReceiveClock, WallClock};
use super::*;
use crate::catalog::segment_path;
use crate::event::{Action, MessageHead, Side, TradeRow, TradeSide, Value, book, status};
use crate::quantity::Decimal;
use crate::segment::ColumnMask;
use crate::store::{GroupCommit, LiveOptions, Snapshot};

/// A feed of one instrument whose messages are `snapshot`, `change` and `print`.
struct Feed {
    instrument: Instrument,
    doubted: Arc<Mutex<usize>>,
}

impl Dialect for Feed {
    fn frame(&mut self, ts: TsNs, _: u32, frame: &Frame<'_>, rows: &mut Rows) -> Result<()> {
        let message = match frame {
            Frame::Message(message) | Frame::Reply { body: message, .. } => message,
            _ => return Ok(()),
        };
        match *message {
            b"print" => push(rows, &self.instrument, Kind::Trades, ts, false),
            what => push(rows, &self.instrument, Kind::Book, ts, what == b"snapshot"),
        }
        Ok(())
    }

    fn doubt(&mut self, instrument: &Instrument) {
        assert_eq!(*instrument, self.instrument);
        *self.doubted.lock().unwrap() += 1;
    }
}

fn push(rows: &mut Rows, instrument: &Instrument, kind: Kind, ts: TsNs, snapshot: bool) {
    let (builder, ts_recv) = rows.stream(instrument, kind, ts);
    let one = Decimal::parse("1").unwrap();
    if kind == Kind::Trades {
        let (side, trade_id) = (TradeSide::Buy, "7");
        let row = TradeRow { ts_recv, ts_event: None, side, price: one, qty: one, trade_id };
        return builder.trade(&row);
    }
    builder.begin(MessageHead { ts_recv, snapshot, ..MessageHead::default() });
    builder.level(Side::Bid, one, one);
    builder.end();
}

fn now(ts: i64) -> Now {
    Now { ts_recv: TsNs(ts), ..ReceiveClock::new(WallClock::default(), TsNs::MIN).read() }
}

/// A recording thread without a thread.
struct Bench {
    folder: tempfile::TempDir,
    instrument: Instrument,
    thread: Thread,
    doubted: Arc<Mutex<usize>>,
    stats: Stats,
}

impl Bench {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    /// On the store in this folder.
    fn on(folder: tempfile::TempDir) -> Self {
        let store = Store::open_or_create(folder.path().join("store")).unwrap();
        let recorder =
            Recorder::start(store.writer(LiveOptions::default()).unwrap(), GroupCommit::default());
        let instrument = Instrument::parse("binance:X").unwrap();
        let (stats, doubted) = (Stats::default(), Arc::new(Mutex::new(0)));
        let recording = Recording {
            exchange: "binance",
            store,
            recorder: recorder.unwrap(),
            stats: stats.clone(),
            feed: stats.feed("binance"),
            lags: Arc::default(),
            rejects: RejectFile::new(folder.path().join("rejects"), 1 << 20),
            raw: false,
            wants: mpsc::unbounded_channel().0,
            stopping: Arc::default(),
        };
        let feed = Feed { instrument: instrument.clone(), doubted: doubted.clone() };
        let mut thread = Thread::new(recording, vec![Box::new(feed)]);
        let books = BTreeSet::from([instrument.clone()]);
        thread.take(Incoming::Expect(books, Duration::ZERO)).unwrap();
        Self { folder, instrument, thread, doubted, stats }
    }

    /// Hears messages at the same time, and stores them.
    fn hear(&mut self, ts: i64, messages: &[&str]) {
        let mut portion = Portion::new(0, 1);
        for message in messages {
            portion.add(now(ts), Event::Message(message.as_bytes().to_vec().into()));
        }
        self.thread.portion(&portion);
        self.thread.flush().unwrap();
    }

    /// Another writes into one of the streams.
    fn intrude(&self, kind: Kind, ts: i64) {
        let mut rows = Rows::new();
        push(&mut rows, &self.instrument, kind, TsNs(ts), false);
        let (key, batch) = rows.take().unwrap().pop().unwrap();
        self.thread.recording.recorder.append(&key, &batch).unwrap();
    }

    fn snapshot(&self) -> Snapshot {
        self.thread.recording.store.snapshot().unwrap()
    }

    /// The codes in `column` of all rows of a stream.
    fn codes(&self, kind: Kind, column: usize) -> Vec<u8> {
        let batch = self.rows(kind);
        batch.u8s(column).to_vec()
    }

    fn rows(&self, kind: Kind) -> Batch {
        let snapshot = self.snapshot();
        let id = snapshot.stream_id(&self.instrument, kind).unwrap();
        let part = snapshot.open_part(id, kind, 0).unwrap().unwrap();
        part.read(0..part.messages(), ColumnMask::ALL, Batch::new(kind)).unwrap()
    }

    /// Rows counted as stored, rows lost, gaps.
    fn figures(&self) -> (u64, u64, u64) {
        let feed = self.stats.status().feeds[0].clone();
        (feed.rows, feed.rows_lost, feed.gaps)
    }

    fn due(&mut self, seconds: u64) -> bool {
        let later = Instant::now() + Duration::from_secs(seconds);
        !self.thread.copies[0].books.due(later).is_empty()
    }
}

const SET: u8 = Action::Set as u8;
const RESET: u8 = Action::Reset as u8;
const GAP: u8 = Action::Gap as u8;

#[test]
fn a_book_whose_first_rows_are_refused_begins_with_a_gap_and_is_asked_for() {
    let mut bench = Bench::new();

    // No stream begins without a reset.
    bench.hear(5, &["change", "change"]);

    assert_eq!(bench.codes(Kind::Book, book::ACTION), [RESET, GAP]);
    assert_eq!(bench.rows(Kind::Book).i64s(book::QTY), [0, 2]);
    assert_eq!(bench.codes(Kind::Status, status::WHAT), [StatusWhat::Gap as u8]);
    assert_eq!(bench.figures(), (3, 2, 1));
    assert_eq!((*bench.doubted.lock().unwrap(), bench.thread.storing.books.counts()), (1, (1, 0)));
    assert!(bench.due(3));

    bench.hear(6, &["snapshot"]);
    assert_eq!(bench.codes(Kind::Book, book::ACTION), [RESET, GAP, RESET, SET]);
    assert_eq!((bench.figures(), bench.due(3)), ((5, 2, 1), false));
}

#[test]
fn no_row_follows_a_hole_that_the_store_was_not_told_of() {
    let mut bench = Bench::new();
    bench.hear(5, &["snapshot"]);
    bench.intrude(Kind::Book, 1000);

    // Late, and so is the gap.
    bench.hear(10, &["change"]);
    bench.hear(11, &["change", "change"]);
    assert_eq!(bench.codes(Kind::Book, book::ACTION), [RESET, SET, SET]);
    assert_eq!(bench.figures(), (2, 3, 0));
    assert_eq!(bench.thread.storing.books.counts(), (1, 0));

    bench.hear(2000, &["change"]);
    assert_eq!(bench.codes(Kind::Book, book::ACTION), [RESET, SET, SET, GAP, SET]);
    assert_eq!(bench.rows(Kind::Book).i64s(book::QTY)[3], 3);
    assert_eq!(bench.codes(Kind::Status, status::WHAT), [StatusWhat::Gap as u8]);
    // The gap, its row of status and the change are counted, the rows of others are not.
    assert_eq!(bench.figures(), (5, 3, 1));
}

#[test]
fn prints_that_are_refused_are_a_row_of_status() {
    let mut bench = Bench::new();
    bench.intrude(Kind::Trades, 1000);

    bench.hear(10, &["print", "print"]);
    bench.hear(2000, &["print"]);

    assert_eq!(bench.rows(Kind::Trades).ts_recv(), [1000, 2000]);
    let told = bench.rows(Kind::Status);
    assert_eq!((told.u8s(status::WHAT), told.ts_recv()), (&[StatusWhat::Gap as u8][..], &[10][..]));
    let Value::Text(detail) = told.value(0, 0, status::DETAIL) else { panic!("no text") };
    let detail = String::from_utf8_lossy(detail);
    assert!(detail.starts_with("trades not stored: ") && detail.contains("late row"), "{detail}");
    assert_eq!((bench.figures(), *bench.doubted.lock().unwrap()), ((2, 2, 0), 0));
}

/// A book in a segment that is damaged, which nobody knows yet.
fn with_damaged_book() -> tempfile::TempDir {
    let mut bench = Bench::new();
    bench.hear(5, &["snapshot"]);
    bench.thread.recording.recorder.close().unwrap().seal_all().unwrap();
    let snapshot = bench.snapshot();
    let id = snapshot.stream_id(&bench.instrument, Kind::Book).unwrap();
    let entry = snapshot.segments(id)[0];
    let root = snapshot.store().root();
    let path = segment_path(root, id, crate::quantity::Day(entry.day), entry.segment_id);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.iter_mut().step_by(50).for_each(|byte| *byte ^= 4);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    bench.folder
}

#[test]
fn a_book_that_cannot_go_on_stops_no_other_stream() {
    let mut bench = Bench::on(with_damaged_book());

    bench.hear(10, &["snapshot", "print"]);
    bench.hear(11, &["change", "print"]);
    bench.hear(12, &["snapshot"]);

    assert_eq!(bench.rows(Kind::Trades).ts_recv(), [10, 11]);
    let told = bench.rows(Kind::Status);
    assert_eq!((told.u8s(status::WHAT), told.ts_recv()), (&[StatusWhat::Gap as u8][..], &[10][..]));
    let Value::Text(detail) = told.value(0, 0, status::DETAIL) else { panic!("no text") };
    let detail = String::from_utf8_lossy(detail);
    assert!(detail.starts_with("book not stored: ") && detail.contains("quarantine"), "{detail}");
    // Two prints and the row of status; the rows of the book are lost.
    assert_eq!(bench.figures(), (3, 5, 0));
}

#[test]
fn a_clock_that_was_set_is_told_to_every_instrument() {
    let mut bench = Bench::new();
    let key = StreamKey { instrument: bench.instrument.clone(), kind: Kind::Trades };
    bench.thread.take(Incoming::Recorded(BTreeSet::from([key]), TsNs(1))).unwrap();
    let mut portion = Portion::new(0, 1);
    let now = Now { stepped_ns: Some(-3_500_000_000), ..now(7) };
    portion.add(now, Event::Message(b"print".to_vec().into()));

    bench.thread.portion(&portion);
    bench.thread.flush().unwrap();

    let told = bench.rows(Kind::Status);
    let (what, detail) = (told.value(0, 0, status::WHAT), told.value(0, 0, status::DETAIL));
    assert_eq!((told.rows(), told.ts_recv()[0], what), (1, 7, Value::Code("clock")));
    assert_eq!(detail, Value::Text(b"wall clock set by -3.500 s"));
    assert_eq!(bench.stats.status().feeds[0].clock_steps, 1);
}

#[test]
fn what_is_heard_is_counted_for_its_symbol_until_it_is_durable() {
    let mut bench = Bench::new();
    let (stats, lags) = (bench.stats.clone(), bench.thread.recording.lags.clone());
    let of_watch = stats.clone();
    let recorder = bench.thread.recording.recorder.clone();
    recorder.watch(Box::new(move |watermark| lags.durable(watermark, &of_watch)));

    bench.hear(5, &["snapshot", "change", "print"]);
    bench.hear(6, &["print"]);
    let symbol = || stats.status().feeds[0].symbols[0].clone();
    let begun = Instant::now();
    while symbol().durable_lag_p99_ms == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", symbol());
        std::thread::sleep(Duration::from_millis(1));
    }

    let symbol = symbol();
    assert_eq!((&*symbol.symbol, symbol.messages, symbol.bytes), ("X", 4, 24));
    assert_eq!((symbol.rows["book"], symbol.rows["trades"]), (3, 2));
}

#[test]
fn a_snapshot_is_heard_on_the_connection_that_it_was_asked_for_and_while_its_book_is_recorded() {
    let mut bench = Bench::new();
    let book = StreamKey { instrument: bench.instrument.clone(), kind: Kind::Book };
    let recorded = |bench: &mut Bench, streams: &[&StreamKey], ts: i64| {
        let streams = streams.iter().map(|key| (*key).clone()).collect();
        bench.thread.take(Incoming::Recorded(streams, TsNs(ts))).unwrap();
    };
    recorded(&mut bench, &[&book], 0);
    let mut at = 0;
    let mut tell = |bench: &mut Bench, event: Event| {
        at += 1;
        let mut portion = Portion::new(0, 1);
        portion.add(now(at), event);
        bench.thread.portion(&portion);
        bench.thread.flush().unwrap();
    };
    let reply = |asked| Event::Reply {
        book: book.instrument.clone(),
        asked: TsNs(asked),
        url: String::new(),
        body: b"snapshot".to_vec(),
    };

    tell(&mut bench, Event::Connected(String::new()));
    tell(&mut bench, reply(1));
    tell(&mut bench, Event::Disconnected);
    tell(&mut bench, reply(2));
    assert_eq!(bench.rows(Kind::Book).ts_recv(), [2]);

    tell(&mut bench, Event::Connected(String::new()));
    // Of the connection before.
    tell(&mut bench, reply(4));
    assert_eq!(bench.rows(Kind::Book).ts_recv(), [2]);
    tell(&mut bench, reply(6));
    assert_eq!(bench.rows(Kind::Book).ts_recv(), [2, 7]);

    recorded(&mut bench, &[], 8);
    bench.thread.flush().unwrap();
    let after = bench.rows(Kind::Book).ts_recv().len();
    tell(&mut bench, reply(7));
    assert_eq!(bench.rows(Kind::Book).ts_recv().len(), after);
}

#[test]
fn what_is_no_longer_recorded_and_what_is_recorded_again_is_told() {
    let mut bench = Bench::new();
    let instrument = bench.instrument.clone();
    let keys =
        [Kind::Book, Kind::Trades].map(|kind| StreamKey { instrument: instrument.clone(), kind });
    let record = |bench: &mut Bench, on: bool, ts: i64| {
        let keys = if on { keys.clone().into() } else { BTreeSet::new() };
        bench.thread.take(Incoming::Recorded(keys, TsNs(ts))).unwrap();
        bench.thread.flush().unwrap();
    };
    // Nothing was stored yet.
    record(&mut bench, true, 1);
    record(&mut bench, false, 2);
    assert!(bench.snapshot().stream_id(&bench.instrument, Kind::Book).is_err());

    let books = BTreeSet::from([instrument.clone()]);
    bench.thread.take(Incoming::Expect(books, Duration::ZERO)).unwrap();
    record(&mut bench, true, 3);
    bench.hear(4, &["snapshot", "print"]);
    record(&mut bench, false, 5);
    record(&mut bench, true, 6);

    assert_eq!(bench.codes(Kind::Book, book::ACTION), [RESET, SET, GAP]);
    let told = bench.rows(Kind::Status);
    let details: Vec<_> = (0..told.rows())
        .map(|row| match told.value(row, row, status::DETAIL) {
            Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        "trades: no longer recorded",
        "no longer recorded",
        "trades: no longer recorded",
        "trades: none recorded after 1970-01-01T00:00:00.000000004Z",
    ];
    assert_eq!(details, expected);
    assert_eq!(told.ts_recv(), [2, 5, 5, 6]);
    assert_eq!(bench.figures().1, 0);
}
