//! The rows of a recording and of its raw lane are the same, whatever became of either.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::ErrorKind;
use crate::event::StreamKey;
use crate::ingest::sample::{MarketOptions, write_captures};
use crate::ingest::testing::texts;
use crate::ingest::{CaptureSource, Format, OpenInput, OpenOptions, open_all, venues};
use crate::store::{LiveOptions, Store};

/// Frames of the raw lane, as batches of some hundred rows.
type Frames = Vec<Batch>;

/// A dialect between a recorder and another one: it notes what it was given.
struct Recorder {
    frames: Arc<Mutex<BatchBuilder>>,
    dialect: Box<dyn Dialect>,
}

impl Dialect for Recorder {
    fn frame(
        &mut self,
        ts_recv: TsNs,
        connection: u32,
        frame: &Frame<'_>,
        rows: &mut Rows,
    ) -> Result<()> {
        push_frame(&mut self.frames.lock().unwrap(), ts_recv, connection, frame);
        self.dialect.frame(ts_recv, connection, frame, rows)
    }

    fn finish(&mut self, rows: &mut Rows) -> Result<()> {
        self.dialect.finish(rows)
    }
}

/// A minute of one connection to a made-up market, across midnight: its frames, and its rows as
/// text.
fn recording(exchange: &str) -> (Frames, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = MarketOptions::new(11).unwrap();
    options.start = TsNs::parse("2026-01-05T23:59:30Z").unwrap();
    options.duration_ns = 60_000_000_000;
    options.instruments.retain(|options| options.instrument.exchange() == exchange);
    options.instruments.truncate(1);
    let open = |name: &str| {
        let file = File::create_new(folder.path().join(name)).unwrap();
        Ok(Box::new(file) as Box<dyn Write + Send>)
    };
    let captures = write_captures(&options, open, |_| {}).unwrap();
    let path = folder.path().join(&captures.files[0].name);
    let Format::Capture(form) = opened(&path)[0].format else { panic!("no capture") };

    let frames = Arc::new(Mutex::new(BatchBuilder::new(Kind::Raw)));
    let dialect = venues::dialect(exchange, None).unwrap();
    let recorder = Recorder { frames: frames.clone(), dialect };
    let (rows, rejects) = read(&mut CaptureSource::new(vec![(path, form)], Box::new(recorder)));
    assert!(rejects.is_empty() && rows.len() > 1000, "{} rows, {rejects:?}", rows.len());
    let batch = frames.lock().unwrap().finish().unwrap().pop().unwrap();
    let starts = (0..batch.messages()).step_by(300);
    let part = |start: usize| batch.slice_messages(start..batch.messages().min(start + 300));
    (starts.map(part).collect(), rows)
}

fn opened(path: &Path) -> Vec<OpenInput> {
    open_all(&[path.to_owned()], &OpenOptions::default()).unwrap()
}

/// All rows as text, streams in order of their names, and what was refused.
fn read(source: &mut dyn Source) -> (Vec<String>, Vec<Reject>) {
    let mut rows = Rows::new();
    assert!(!source.fill(&mut rows).unwrap(), "more than one portion");
    (texts(&mut rows), rows.take_rejects())
}

fn key(lane: &Instrument) -> StreamKey {
    StreamKey { instrument: lane.clone(), kind: Kind::Raw }
}

/// A store with this raw lane: the first half of it is sealed, the rest is in the journal.
fn store(folder: &Path, lane: &Instrument, frames: &[Batch]) -> Store {
    let store = Store::open_or_create(folder).unwrap();
    let mut writer = store.writer(LiveOptions::default()).unwrap();
    for (number, batch) in frames.iter().enumerate() {
        writer.append(&key(lane), batch).unwrap();
        if number == frames.len() / 2 {
            writer.seal_all().unwrap();
        }
    }
    writer.commit().unwrap();
    drop(writer);
    store
}

fn segment_files(store: &Store, lane: &Instrument) -> Vec<std::path::PathBuf> {
    let snapshot = store.snapshot().unwrap();
    let id = snapshot.stream_id(lane, Kind::Raw).unwrap();
    let entries = snapshot.segments(id).iter();
    let path = |entry: &crate::format::manifest::SegmentEntry| {
        let day = crate::quantity::Day(entry.day);
        crate::catalog::segment_path(store.root(), id, day, entry.segment_id)
    };
    entries.map(path).collect()
}

#[test]
fn the_rows_of_a_recording_are_had_again_from_its_raw_lane() {
    for exchange in ["binance", "okex"] {
        let folder = tempfile::tempdir().unwrap();
        let (frames, expected) = recording(exchange);
        let lane = raw_instrument(exchange, 0).unwrap();
        let store = store(folder.path(), &lane, &frames);
        assert!(segment_files(&store, &lane).len() > 1, "both sides of midnight");

        let mut inputs = opened(folder.path());

        assert_eq!((inputs.len(), inputs[0].format), (1, Format::RawLane));
        assert_eq!(inputs[0].exchange, Some(exchange));
        assert_eq!(inputs[0].source.bytes_read(), 0);
        let (rows, rejects) = read(&mut *inputs[0].source);
        assert!(rejects.is_empty(), "{rejects:?}");
        assert_eq!(rows.len(), expected.len());
        assert!(rows == expected, "other rows");
        assert_eq!(inputs[0].source.bytes_read(), inputs[0].bytes);
    }
}

#[test]
fn of_each_exchange_the_first_copy_is_read_or_the_one_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let lane = |name: &str| Instrument::parse(name).unwrap();
    let mut builder = BatchBuilder::new(Kind::Raw);
    push_frame(&mut builder, TsNs(5), 1, &Frame::Disconnected);
    let frame = builder.finish().unwrap();
    for name in ["okex:*3", "binance:*2", "okex:*2", "binance:*", "binance:BTC*"] {
        store(folder.path(), &lane(name), &frame);
    }
    let store = Store::open(folder.path()).unwrap();

    assert_eq!(lanes(&store.snapshot().unwrap()), [lane("binance:*"), lane("okex:*2")]);
    let named = |name: &str| {
        let options = OpenOptions { instrument: Some(lane(name)), ..OpenOptions::default() };
        open_all(&[folder.path().to_owned()], &options)
    };
    let one = named("okex:*3").unwrap();
    assert_eq!((one.len(), one[0].exchange), (1, Some("okex")));
    let error = named("okex:*9").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("okex:*9"), "{error}");
}

#[test]
fn frames_that_cannot_be_read_are_refused_and_the_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let lane = raw_instrument("binance", 0).unwrap();
    let (mut frames, expected) = recording("binance");
    let at = TsNs(frames[1].ts_recv()[0]);
    let mut builder = BatchBuilder::new(Kind::Raw);
    push_frame(&mut builder, at, 1, &Frame::Message(b"{\"stream\":\xff"));
    for channel in ["hello", "message x", "told 1", "message"] {
        builder.raw(at, channel, channel.as_bytes());
    }
    frames.insert(1, builder.finish().unwrap().pop().unwrap());
    store(folder.path(), &lane, &frames);

    let (rows, rejects) = read(&mut *opened(folder.path())[0].source);

    // What could not be read may have been of its book.
    let (told, rows): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.contains("could not be read"));
    assert!(told.len() == 1 && rows == expected, "other rows: {told:?}");
    let texts: Vec<_> = rejects.iter().map(|reject| reject.text.as_slice()).collect();
    assert_eq!(texts, [&b"{\"stream\":\xff"[..], b"hello", b"message x", b"told 1", b"message"]);
    let line = frames[0].rows() as u64 + 1;
    assert_eq!(rejects[0].line, line);
    assert!(rejects[0].error.to_string().starts_with(&format!("binance:*, frame {line}: ")));
    assert!(rejects[1].error.to_string().contains("channel \"hello\": expected connected"));
}

/// Notes how frames come, payloads by their length.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<String>>>);

impl Dialect for Listener {
    fn frame(
        &mut self,
        ts_recv: TsNs,
        connection: u32,
        frame: &Frame<'_>,
        _rows: &mut Rows,
    ) -> Result<()> {
        let what = match frame {
            Frame::Connected { url } => format!("connected {url}"),
            Frame::Sent(text) => format!("sent {}", text.len()),
            Frame::Message(message) => format!("message {}", message.len()),
            Frame::Reply { url, body } => format!("reply {url} {}", body.len()),
            Frame::Disconnected => "disconnected".to_owned(),
        };
        self.0.lock().unwrap().push(format!("{} {connection} {what}", ts_recv.0));
        Ok(())
    }
}

/// What a dialect hears of the raw lane of `store`, and what is refused.
fn heard(store: &Store, lane: &Instrument) -> (Vec<String>, Vec<Reject>) {
    let listener = Listener::default();
    let snapshot = store.snapshot().unwrap();
    let mut source = RawSource::new(snapshot, lane, Box::new(listener.clone())).unwrap();
    let (_, rejects) = read(&mut source);
    let heard = listener.0.lock().unwrap().clone();
    (heard, rejects)
}

fn frames(frames: &[(i64, u32, Frame<'_>)]) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Raw);
    for (ts, connection, frame) in frames {
        push_frame(&mut builder, TsNs(*ts), *connection, frame);
    }
    builder.finish().unwrap().pop().unwrap()
}

#[test]
fn a_connection_of_a_recorder_that_was_killed_ends_when_it_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let lane = raw_instrument("binance", 0).unwrap();
    let connected = Frame::Connected { url: "wss://x" };
    let first = [(1, 7, connected), (2, 8, connected), (3, 8, Frame::Disconnected)];
    let url = "https://x/depth?limit=5 0";
    let reply = Frame::Reply { url, body: b"{}" };
    let second = [(4, 7, connected), (5, 8, connected), (6, 7, Frame::Sent(b"abc")), (7, 8, reply)];
    let store = store(folder.path(), &lane, &[frames(&first), frames(&second)]);

    let (heard, rejects) = heard(&store, &lane);

    assert!(rejects.is_empty(), "{rejects:?}");
    let expected = [
        "1 7 connected wss://x",
        "2 8 connected wss://x",
        "3 8 disconnected",
        "4 7 disconnected",
        "4 7 connected wss://x",
        "5 8 connected wss://x",
        "6 7 sent 3",
        "7 8 reply https://x/depth?limit=5 0 2",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn payloads_larger_than_a_block_are_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let lane = raw_instrument("binance", 0).unwrap();
    let long = vec![b'x'; crate::limit::BLOCK_TEXT_BYTES + 5];
    let longest = vec![b'y'; crate::limit::TEXT_BYTES_MAX];
    let all = [&long[..], b"a", &longest, b"b", &long, b"c"];
    let messages: Vec<_> = (1..).zip(all).map(|(ts, text)| (ts, 1, Frame::Message(text))).collect();
    let batches: Vec<_> = messages.iter().map(|one| frames(&[*one])).collect();
    let store = store(folder.path(), &lane, &batches);

    let (heard, rejects) = heard(&store, &lane);

    assert!(rejects.is_empty(), "{rejects:?}");
    let expected = (1..).zip(all).map(|(ts, text)| format!("{ts} 1 message {}", text.len()));
    assert!(heard.iter().cloned().eq(expected), "{heard:?}");
}

#[test]
fn a_damaged_segment_is_an_error_and_once_it_is_moved_aside_a_loss_of_connections() {
    let folder = tempfile::tempdir().unwrap();
    let lane = raw_instrument("binance", 0).unwrap();
    let day = 86_400_000_000_000;
    let connected = (1, 7, Frame::Connected { url: "wss://x" });
    let message = |ts| (ts, 7, Frame::Message(b"in some segment"));
    let parts = [
        frames(&[connected, message(2)]),
        frames(&[message(day), message(day + 1)]),
        frames(&[message(2 * day)]),
        frames(&[message(2 * day + 1)]),
    ];
    let store = store(folder.path(), &lane, &parts);
    let file = segment_files(&store, &lane)[1].clone();
    drop(store);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(15).position(|found| found == b"in some segment").unwrap();
    bytes[at] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();

    let store = Store::open(folder.path()).unwrap();
    let listener = Listener::default();
    let snapshot = store.snapshot().unwrap();
    let mut source = RawSource::new(snapshot, &lane, Box::new(listener)).unwrap();
    let error = source.fill(&mut Rows::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.path(), Some(&*file));

    store.quarantine(&file).unwrap();
    let (heard, rejects) = heard(&store, &lane);
    let expected = [
        "1 7 connected wss://x".to_owned(),
        "2 7 message 15".to_owned(),
        "2 7 disconnected".to_owned(),
        format!("{} 7 message 15", 2 * day),
        format!("{} 7 message 15", 2 * day + 1),
    ];
    assert_eq!(heard, expected);
    let [reject] = &*rejects else { panic!("{rejects:?}") };
    assert!(reject.error.to_string().contains("2 frames are lost"), "{}", reject.error);
}
