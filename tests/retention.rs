//! Days that are dropped leave every answer about the days after them as it was.

mod oracle;

use std::fs;
use std::path::PathBuf;

use oracle::{Fold, START, book_stream, key, trade_stream};
use tickreel::event::{Batch, ContentHash, Kind, StreamKey};
use tickreel::quantity::{DAY_NS, Day};
use tickreel::segment::{ColumnMask, WriterOptions};
use tickreel::store::{
    Dropped, Expired, GroupCommit, LiveOptions, Recorder, Snapshot, Store, Writer,
};
use tickreel::{ErrorKind, TsNs};

/// Messages over some four days.
const MESSAGES: usize = 1200;
const STEP_NS: u64 = 600_000_000_000;

fn options() -> LiveOptions {
    LiveOptions {
        segments: WriterOptions { block_rows: 200, checkpoint_rows: Some(50) },
        journal_bytes: 64 << 10,
        seal_bytes: 8 << 10,
        ..LiveOptions::default()
    }
}

/// A store of a book and of trades, the ends of which are in no segment.
struct Market {
    folder: tempfile::TempDir,
    store: Store,
    writer: Writer,
    streams: [(StreamKey, Batch); 2],
}

impl Market {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path()).unwrap();
        let mut writer = store.writer(options()).unwrap();
        let streams = [
            (key("test:A", Kind::Book), book_stream(MESSAGES, START, STEP_NS, 5)),
            (key("test:A", Kind::Trades), trade_stream(MESSAGES, START, STEP_NS, 6)),
        ];
        for start in (0..MESSAGES).step_by(20) {
            for (key, rows) in &streams {
                writer.append(key, &rows.slice_messages(start..start + 20)).unwrap();
            }
            writer.maintain().unwrap();
        }
        writer.commit().unwrap();
        Self { folder, store, writer, streams }
    }

    fn book(&self) -> &(StreamKey, Batch) {
        &self.streams[0]
    }

    fn trades(&self) -> &(StreamKey, Batch) {
        &self.streams[1]
    }

    /// Days of the sealed rows of a stream.
    fn days(&self, key: &StreamKey) -> Vec<Day> {
        let snapshot = self.store.snapshot().unwrap();
        let Ok(id) = snapshot.stream_id(&key.instrument, key.kind) else { return Vec::new() };
        let mut days: Vec<_> = snapshot.segments(id).iter().map(|entry| Day(entry.day)).collect();
        days.dedup();
        days
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.path().join("segments")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }

    /// What a store must say whose rows of this stream begin with day `first`.
    fn check(&self, snapshot: &Snapshot, (key, rows): &(StreamKey, Batch), first: Day) {
        let kept = rows.ts_recv().partition_point(|&ts| ts < first.start().0);
        let rest = rows.slice_messages(kept..rows.messages());
        let mut found = Batch::new(key.kind);
        let all = TsNs::MIN..TsNs::MAX;
        let mut scan = snapshot.scan(&key.instrument, key.kind, all, ColumnMask::ALL).unwrap();
        while let Some(batch) = scan.next_batch().unwrap() {
            found.append(batch).unwrap();
        }
        assert_eq!((found.messages(), hash(&found)), (rest.messages(), hash(&rest)), "{key}");
        let infos = snapshot.stream_infos();
        let info = infos.iter().find(|info| info.key == *key).unwrap();
        assert_eq!((info.hash, info.rows), (hash(&rest), rest.rows() as u64));

        let coverage = snapshot.coverage(&key.instrument).unwrap();
        let coverage = coverage.iter().find(|coverage| coverage.key == *key).unwrap();
        assert_eq!(coverage.spans.len(), 1, "{coverage:?}");
        assert_eq!(coverage.spans[0].first.0, rest.ts_recv()[0]);
        assert!(coverage.gaps.iter().all(|gap| gap.since.0 >= rest.ts_recv()[0]), "{coverage:?}");
        if key.kind == Kind::Book {
            for at in rest.ts_recv().iter().step_by(7) {
                let book = snapshot.book_at(&key.instrument, TsNs(*at)).unwrap();
                assert_eq!(Fold::of(&book), Fold::at(rows, *at), "{at}");
            }
        }
    }
}

fn hash(batch: &Batch) -> ContentHash {
    let mut hash = ContentHash::EMPTY;
    hash.update_all(batch);
    hash
}

#[test]
fn what_is_kept_is_as_it_was_for_readers_writers_and_a_store_that_is_opened_again() {
    let mut market = Market::new();
    let (book, trades) = (market.book().clone(), market.trades().clone());
    let days = market.days(&book.0);
    assert!(days.len() > 3 && days[0] == market.days(&trades.0)[0], "{days:?}");
    let before = market.store.snapshot().unwrap();
    let bytes: u64 = before.manifest().segments().iter().map(|entry| entry.file_len).sum();

    let dropped = market.writer.drop_expired(&Expired::of_all(Kind::Book, days[2])).unwrap();

    let gone =
        book.1.slice_messages(0..book.1.ts_recv().partition_point(|&ts| ts < days[2].start().0));
    assert_eq!(dropped.rows, gone.rows() as u64);
    assert!(dropped.segments > 2 && dropped.bytes < bytes, "{dropped:?} of {bytes} bytes");
    let held = market.files().len();
    market.check(&before, &book, days[0]);
    for store in [&market.store, &Store::open(market.folder.path()).unwrap()] {
        let snapshot = store.snapshot().unwrap();
        market.check(&snapshot, &book, days[2]);
        market.check(&snapshot, &trades, days[0]);
        let early = snapshot.book_at(&book.0.instrument, days[1].start()).unwrap();
        assert_eq!(Fold::of(&early), Fold::default(), "nothing is known of that time");
    }

    // Nobody needs the files any more; there is nothing else to be dropped.
    drop(before);
    assert_eq!(
        market.writer.drop_expired(&Expired::of_all(Kind::Book, days[2])).unwrap(),
        Dropped::default()
    );
    assert_eq!(market.files().len(), held - dropped.segments);

    let times = market.book().1.ts_recv();
    let later = times[times.len() - 1] + DAY_NS - START;
    let more = market.book().1.slice_messages(1..3);
    let mut delayed = more.clone();
    delayed.clamp_ts_recv(START + later);
    market.writer.append(&book.0, &delayed).unwrap();
    market.streams[0].1.append(&delayed).unwrap();
    market.writer.commit().unwrap();
    let Market { folder, store, writer, streams } = market;
    drop(writer);
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let writer = store.writer(options()).unwrap();
    let market = Market { folder, store, writer, streams };
    market.check(&market.store.snapshot().unwrap(), market.book(), days[2]);
    let report = market.store.verify(|_, _| ()).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
}

#[test]
fn days_with_rows_that_are_not_sealed_stay_and_so_does_the_newest_one_of_a_book() {
    let mut market = Market::new();
    let (book, trades) = (market.book().clone(), market.trades().clone());
    let far = Day(i32::MAX);
    let last = TsNs(*trades.1.ts_recv().last().unwrap()).day();
    assert!(market.store.snapshot().unwrap().tail().rows() > 0);

    market.writer.drop_expired(&Expired::of_all(Kind::Trades, far)).unwrap();
    market.writer.drop_expired(&Expired::of_all(Kind::Book, far)).unwrap();

    market.check(&market.store.snapshot().unwrap(), &trades, last);
    let newest = market.days(&book.0);
    assert_eq!(newest.len(), 1, "the book of the rows that are not sealed begins there");
    market.check(&market.store.snapshot().unwrap(), &book, newest[0]);

    market.writer.seal_all().unwrap();
    market.writer.drop_expired(&Expired::of_all(Kind::Trades, far)).unwrap();
    market.writer.drop_expired(&Expired::of_all(Kind::Book, far)).unwrap();
    let snapshot = market.store.snapshot().unwrap();
    let error = snapshot.stream_id(&trades.0.instrument, Kind::Trades).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(market.days(&book.0).len(), 1);
    // A stream of which nothing is left takes rows of any time, as when the store is opened again.
    assert_eq!(market.writer.last(&trades.0), None);
    market.writer.append(&trades.0, &trades.1).unwrap();
    market.writer.seal_all().unwrap();
    let first = TsNs(trades.1.ts_recv()[0]).day();
    market.check(&market.store.snapshot().unwrap(), &trades, first);
    assert!(market.store.verify(|_, _| ()).unwrap().damage.is_empty());
}

#[test]
fn a_file_that_is_gone_tells_a_stale_reader_from_a_damaged_store() {
    let mut market = Market::new();
    let trades = market.trades().clone();
    let days = market.days(&trades.0);
    let elsewhere = Store::open(market.folder.path()).unwrap();
    let stale = elsewhere.snapshot().unwrap();
    let first = |snapshot: &Snapshot| {
        let id = snapshot.stream_id(&trades.0.instrument, Kind::Trades).unwrap();
        let entry = snapshot.segments(id)[0];
        let folder = market.folder.path().join(format!("segments/{id}/{}", Day(entry.day)));
        let file = folder.join(format!("{}.seg", entry.segment_id));
        (file, entry)
    };
    let (file, entry) = first(&stale);
    market.writer.drop_expired(&Expired::of_all(Kind::Trades, days[1])).unwrap();
    assert!(file.exists(), "a reader holds it");

    // As on a file system that does not tell who holds a file.
    fs::remove_file(&file).unwrap();
    let error = stale.open(&entry, Kind::Trades).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    assert!(error.to_string().contains("open a new snapshot"), "{error}");

    let current = elsewhere.snapshot().unwrap();
    let (file, entry) = first(&current);
    fs::remove_file(&file).unwrap();
    assert_eq!(current.open(&entry, Kind::Trades).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_recorder_drops_while_it_takes_rows_and_seals() {
    let market = Market::new();
    let Market { folder, store, writer, streams } = market;
    let [(book, levels), _] = &streams;
    let kept = TsNs(*levels.ts_recv().last().unwrap()).day();
    let recorder = Recorder::start(writer, GroupCommit::default()).unwrap();
    let others: Vec<_> = (0..3u64)
        .map(|i| (key(&format!("test:T{i}"), Kind::Trades), trade_stream(900, START, STEP_NS, i)))
        .collect();
    std::thread::scope(|scope| {
        for (key, rows) in &others {
            let recorder = recorder.clone();
            scope.spawn(move || {
                for start in (0..900).step_by(10) {
                    let rows = rows.slice_messages(start..start + 10);
                    let seq = recorder.append(key, &rows).unwrap();
                    recorder.wait(seq).unwrap();
                }
            });
        }
        let first = TsNs(START).day().0;
        for day in (first..=kept.0).cycle().take(60) {
            recorder.drop_expired(&Expired::of_all(Kind::Book, Day(day))).unwrap();
        }
    });
    recorder.close().unwrap().seal_all().unwrap();
    assert_eq!(
        recorder.drop_expired(&Expired::of_all(Kind::Book, kept)).unwrap_err().kind(),
        ErrorKind::Cancelled
    );

    let snapshot = store.snapshot().unwrap();
    let infos = snapshot.stream_infos();
    for (key, rows) in &others {
        assert_eq!(infos.iter().find(|info| info.key == *key).unwrap().hash, hash(rows), "{key}");
    }
    let info = infos.iter().find(|info| info.key == *book).unwrap();
    assert_eq!(info.first.day(), kept);
    drop(folder);
}

/// Plays what there is; the messages of each stream.
fn play(replay: &mut tickreel::replay::Replay) -> Vec<(StreamKey, usize)> {
    let mut played: Vec<(StreamKey, usize)> = Vec::new();
    while let Some(step) = replay.step(usize::MAX).unwrap() {
        let (stream, messages, key) = (step.stream, step.messages(), step.key.clone());
        match played.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += messages.len(),
            None => played.push((key, messages.len())),
        }
        replay.accept(stream, messages, true).unwrap();
    }
    played.sort();
    played
}

#[test]
fn a_replay_that_follows_goes_on_after_a_drop_unless_it_had_not_played_what_went() {
    let mut market = Market::new();
    let (book, trades) = (market.book().clone(), market.trades().clone());
    let keys = [book.0.clone(), trades.0.clone()];
    let days = market.days(&trades.0);
    market.writer.seal_all().unwrap();
    let all = TsNs::MIN..TsNs::MAX;
    let before = market.store.snapshot().unwrap();
    let mut replay = before.replay(&keys, all.clone()).unwrap();
    let mut slow = before.replay(&keys, all).unwrap();
    let both = |messages| vec![(book.0.clone(), messages), (trades.0.clone(), messages)];
    assert_eq!(play(&mut replay), both(MESSAGES));
    let step = slow.step(5).unwrap().unwrap();
    let (stream, messages) = (step.stream, step.messages());
    slow.accept(stream, messages, true).unwrap();

    // Nothing is left of the trades, and the newest day of the book.
    market.writer.drop_expired(&Expired::of_all(Kind::Trades, Day(i32::MAX))).unwrap();
    market.writer.drop_expired(&Expired::of_all(Kind::Book, Day(i32::MAX))).unwrap();
    replay.follow(&market.store.snapshot().unwrap()).unwrap();
    assert_eq!(play(&mut replay), []);
    let error = slow.follow(&market.store.snapshot().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    assert!(error.to_string().contains("no longer there"), "{error}");

    let later = |rows: &Batch, after: i64| {
        let mut rows = rows.slice_messages(1..4);
        rows.clamp_ts_recv(days[days.len() - 1].end().0 + after * DAY_NS);
        rows
    };
    for (key, rows) in [&book, &trades] {
        market.writer.append(key, &later(rows, 1)).unwrap();
    }
    replay.follow(&market.store.snapshot().unwrap()).unwrap();
    assert_eq!(play(&mut replay), both(3));
    let at = TsNs(i64::MAX - 1);
    let mut whole = book.1.clone();
    whole.append(&later(&book.1, 1)).unwrap();
    let followed = market.store.snapshot().unwrap().book_at(&book.0.instrument, at).unwrap();
    assert_eq!(Fold::of(&followed), Fold::at(&whole, at.0));

    // Rows that came and went while it did not look.
    market.writer.seal_all().unwrap();
    market.writer.drop_expired(&Expired::of_all(Kind::Trades, Day(i32::MAX))).unwrap();
    market.writer.append(&trades.0, &later(&trades.1, 2)).unwrap();
    replay.follow(&market.store.snapshot().unwrap()).unwrap();
    assert_eq!(play(&mut replay), [(trades.0.clone(), 3)]);
    let mut asleep = market.store.snapshot().unwrap().replay(&keys, TsNs::MIN..TsNs::MAX).unwrap();
    play(&mut asleep);
    market.writer.append(&trades.0, &later(&trades.1, 3)).unwrap();
    market.writer.seal_all().unwrap();
    market.writer.drop_expired(&Expired::of_all(Kind::Trades, Day(i32::MAX))).unwrap();
    assert_eq!(
        asleep.follow(&market.store.snapshot().unwrap()).unwrap_err().kind(),
        ErrorKind::Stale
    );
}
