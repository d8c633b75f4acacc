//! Compaction changes no answer: whatever was asked before it is asked again after it.

mod oracle;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oracle::{Fold, Random, START, book_stream, key, trade_stream};
use tickreel::compact::{self, Report, Selection, Task, Watch};
use tickreel::disk::{Disk, OsDisk, ReadFile, SharedBytes, WriteFile};
use tickreel::event::{Batch, BatchBuilder, ContentHash, Kind, MessageHead, Side, StreamKey};
use tickreel::quantity::DAY_NS;
use tickreel::replay::Coverage;
use tickreel::segment::{ColumnMask, WriterOptions};
use tickreel::store::{
    Expired, GroupCommit, LiveOptions, Recorder, Rewritten, Snapshot, Store, StreamInfo, Writer,
};
use tickreel::{Decimal, Error, ErrorKind, Result, TsNs};

const SMALL: WriterOptions = WriterOptions { block_rows: 200, checkpoint_rows: Some(50) };

/// A stream: its receive and event times, rows, messages and hash.
type Told = (StreamKey, TsNs, TsNs, Option<(TsNs, TsNs)>, u64, u64, ContentHash);

/// Everything that can be asked of a store.
#[derive(Debug, PartialEq)]
struct Answers {
    streams: Vec<Told>,
    coverage: Vec<Vec<Coverage>>,
    /// Rows of each stream, as text.
    rows: Vec<Vec<String>>,
    /// Books, and the digits that they are shown with.
    books: Vec<(Fold, (u8, u8))>,
    replay: ContentHash,
}

impl Answers {
    fn of(snapshot: &Snapshot, times: &[i64]) -> Self {
        let infos = snapshot.stream_infos();
        let of_info = |info: &StreamInfo| {
            let StreamInfo { key, first, last, events, rows, messages, hash, .. } = info.clone();
            (key, first, last, events, rows, messages, hash)
        };
        let mut books = Vec::new();
        for info in infos.iter().filter(|info| info.key.kind == Kind::Book) {
            for &at in times {
                let mut of_book = snapshot.books(&info.key.instrument).unwrap();
                let fold = Fold::of(of_book.at(TsNs(at)).unwrap());
                books.push((fold, of_book.digits()));
            }
        }
        let keys: Vec<_> = infos.iter().map(|info| info.key.clone()).collect();
        let mut replay = snapshot.replay(&keys, TsNs::MIN..TsNs::MAX).unwrap();
        while let Some(step) = replay.step(usize::MAX).unwrap() {
            let (stream, messages) = (step.stream, step.messages());
            replay.accept(stream, messages, true).unwrap();
        }
        let instruments = snapshot.instruments();
        Self {
            streams: infos.iter().map(of_info).collect(),
            coverage: instruments.iter().map(|of| snapshot.coverage(of).unwrap()).collect(),
            rows: infos.iter().map(|info| rows(snapshot, &info.key, times)).collect(),
            books,
            replay: replay.total(),
        }
    }
}

/// What is read of one column alone is what is read of it with the others.
fn check_columns_alone(snapshot: &Snapshot, key: &StreamKey) {
    let (instrument, kind, all) = (&key.instrument, key.kind, TsNs::MIN..TsNs::MAX);
    let scan = |mask| snapshot.scan(instrument, kind, all.clone(), mask).unwrap();
    for column in 0..kind.schema().columns.len() {
        let (mut whole, mut alone) =
            (scan(ColumnMask::ALL), scan(ColumnMask::of(&[column])).with_messages_max(7));
        let (mut expected, mut found) = (Batch::new(kind), Batch::new(kind));
        while let Some(batch) = whole.next_batch().unwrap() {
            let mut batch = batch.clone();
            batch.keep_columns(|at| at == column);
            expected.keep_columns(|at| at == column);
            expected.append(&batch).unwrap();
        }
        while let Some(batch) = alone.next_batch().unwrap() {
            found.keep_columns(|at| at == column);
            found.append(batch).unwrap();
        }
        assert_eq!(found.column(column), expected.column(column), "{key}, column {column}");
    }
}

/// The rows of a stream, all of them and those of ranges between `times`.
fn rows(snapshot: &Snapshot, key: &StreamKey, times: &[i64]) -> Vec<String> {
    let all = [i64::MIN, i64::MAX];
    let mut shown = Vec::new();
    for range in times.windows(2).step_by(7).chain([&all[..]]) {
        let range = TsNs(range[0])..TsNs(range[1].max(range[0]));
        let mut scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL).unwrap();
        while let Some(batch) = scan.next_batch().unwrap() {
            for message in 0..batch.messages() {
                for row in batch.message_rows(message) {
                    let cells =
                        (0..batch.columns().len()).map(|column| batch.value(message, row, column));
                    shown.push(format!("{:?}", cells.map(text).collect::<Vec<_>>()));
                }
            }
        }
    }
    shown
}

fn text(value: tickreel::event::Value<'_>) -> String {
    match value {
        tickreel::event::Value::Decimal(value) => value.normalized().to_string(),
        value => format!("{value:?}"),
    }
}

/// Times of messages, and between them.
fn times(batch: &Batch, step: usize) -> Vec<i64> {
    let all = batch.ts_recv();
    let shown = all.iter().step_by(step).flat_map(|&ts| [ts - 1, ts]);
    [all[0] - DAY_NS].into_iter().chain(shown).chain([all[all.len() - 1] + DAY_NS]).collect()
}

fn live_options() -> LiveOptions {
    LiveOptions {
        segments: SMALL,
        journal_bytes: 64 << 10,
        seal_bytes: 8 << 10,
        ..LiveOptions::default()
    }
}

/// Compacts with a writer; what was done.
fn compact(writer: &mut Writer, selection: &Selection, options: WriterOptions) -> Vec<Rewritten> {
    let tasks = compact::plan(&writer.store().snapshot().unwrap(), selection);
    let rewrite = |task: &Task| writer.rewrite(&task.segments, options, &mut |_| Ok(()));
    tasks.iter().map(rewrite).map(Result::unwrap).collect()
}

fn again() -> Selection {
    Selection { again: true, ..Selection::default() }
}

fn segments(store: &Store) -> usize {
    store.snapshot().unwrap().manifest().segments().len()
}

/// A store of a book and of trades over some days; the last rows are in no segment.
fn market(folder: &Path, seed: u64) -> (Writer, [(StreamKey, Batch); 2]) {
    let store = Store::open_or_create(folder).unwrap();
    let mut writer = store.writer(live_options()).unwrap();
    let streams = [
        (key("test:A", Kind::Book), book_stream(1200, START, 300_000_000_000, seed)),
        (key("test:A", Kind::Trades), trade_stream(1200, START, 300_000_000_000, seed + 1)),
    ];
    let mut random = Random(seed | 1);
    let mut start = 0;
    while start < 1200 {
        let end = 1200.min(start + 1 + usize::try_from(random.below(60)).unwrap());
        for (key, rows) in &streams {
            writer.append(key, &rows.slice_messages(start..end)).unwrap();
        }
        match random.below(3) {
            0 => writer.seal_all().unwrap(),
            _ => writer.maintain().unwrap(),
        }
        start = end;
    }
    writer.commit().unwrap();
    (writer, streams)
}

#[test]
fn every_answer_is_the_same_after_a_compaction_and_after_one_more() {
    for seed in 1..6 {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, streams) = market(folder.path(), seed);
        let times = times(&streams[0].1, 9);
        let held = writer.store().snapshot().unwrap();
        let before = Answers::of(&held, &times);
        let many = segments(writer.store());

        for (selection, options) in [
            (Selection::default(), WriterOptions::default()),
            (again(), SMALL),
            (again(), WriterOptions { block_rows: 1000, checkpoint_rows: Some(1) }),
        ] {
            let done = compact(&mut writer, &selection, options);

            assert!(!done.is_empty());
            let store = Store::open(folder.path()).unwrap();
            for snapshot in [store.snapshot().unwrap(), writer.store().snapshot().unwrap()] {
                assert_eq!(Answers::of(&snapshot, &times), before, "seed {seed}");
            }
            let report = store.verify(|_, _| ()).unwrap();
            assert!(report.damage.is_empty(), "{:?}", report.damage);
            streams
                .iter()
                .for_each(|(key, _)| check_columns_alone(&writer.store().snapshot().unwrap(), key));
        }
        assert_eq!(Answers::of(&held, &times), before, "a reader that opened before");
        assert!(segments(writer.store()) * 3 < many, "{many} segments");
        assert_eq!(compact(&mut writer, &Selection::default(), SMALL), [], "nothing is to be done");
    }
}

#[test]
fn rows_go_on_after_a_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, mut streams) = market(folder.path(), 9);
    compact(&mut writer, &Selection::default(), SMALL);

    for (key, rows) in &mut streams {
        let mut more = rows.slice_messages(1..40);
        more.clamp_ts_recv(*rows.ts_recv().last().unwrap());
        writer.append(key, &more).unwrap();
        rows.append(&more).unwrap();
    }
    writer.seal_all().unwrap();
    assert!(!compact(&mut writer, &Selection::default(), SMALL).is_empty());
    drop(writer);

    let store = Store::open(folder.path()).unwrap();
    let mut writer = store.writer(live_options()).unwrap();
    let snapshot = store.snapshot().unwrap();
    for (key, rows) in &streams {
        let mut hash = ContentHash::EMPTY;
        hash.update_all(rows);
        let infos = snapshot.stream_infos();
        assert_eq!(infos.iter().find(|info| info.key == *key).unwrap().hash, hash);
    }
    let book = &streams[0];
    for &at in book.1.ts_recv().iter().step_by(50) {
        let found = snapshot.book_at(&book.0.instrument, TsNs(at)).unwrap();
        assert_eq!(Fold::of(&found), Fold::at(&book.1, at));
    }
    assert_eq!(compact(&mut writer, &Selection::default(), SMALL), []);
}

/// One message of a book.
fn message(ts: i64, snapshot: bool, levels: &[(&str, &str)]) -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    builder.begin(MessageHead { ts_recv: TsNs(ts), snapshot, ..MessageHead::default() });
    for (price, qty) in levels {
        builder.level_text(Side::Bid, price, qty).unwrap();
    }
    builder.end();
    builder.finish().unwrap().pop().unwrap()
}

/// Seals each of these as a segment of its own.
fn sealed(folder: &Path, batches: &[Batch]) -> Writer {
    let store = Store::open_or_create(folder).unwrap();
    let mut writer = store.writer(live_options()).unwrap();
    for batch in batches {
        writer.append(&key("test:A", batch.kind()), batch).unwrap();
        writer.seal_all().unwrap();
    }
    writer
}

#[test]
fn books_of_other_digits_stay_apart_and_scales_do_not_matter() {
    let at = |second: i64| START + second * 1_000_000_000;
    let batches = [
        message(at(1), true, &[("10.5", "1.00")]),
        message(at(2), false, &[("10.0", "2.25")]),
        message(at(3), false, &[("10", "2.25")]),
        message(at(4), false, &[("11.5", "1.00")]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut writer = sealed(folder.path(), &batches);
    let times: Vec<_> = (0..6).map(at).collect();
    let before = Answers::of(&writer.store().snapshot().unwrap(), &times);

    let done = compact(&mut writer, &Selection::default(), SMALL);

    assert_eq!((done[0].segments_before, done[0].segments_after), (4, 3), "10 is written shorter");
    assert_eq!(Answers::of(&writer.store().snapshot().unwrap(), &times), before);
    assert_eq!(compact(&mut writer, &Selection::default(), SMALL), []);
}

#[test]
fn values_that_do_not_fit_one_scale_stay_apart() {
    let mut batches = Vec::new();
    for (at, price) in ["9000000000000000000", "0.000000000000000001", "3"].iter().enumerate() {
        let mut builder = BatchBuilder::new(Kind::Trades);
        builder.trade(&tickreel::event::TradeRow {
            ts_recv: TsNs(START + at as i64),
            ts_event: None,
            side: tickreel::event::TradeSide::Buy,
            price: price.parse::<Decimal>().unwrap(),
            qty: Decimal::from_int(1).unwrap(),
            trade_id: "",
        });
        batches.push(builder.finish().unwrap().pop().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut writer = sealed(folder.path(), &batches);
    let before = Answers::of(&writer.store().snapshot().unwrap(), &[]);

    let done = compact(&mut writer, &Selection::default(), SMALL);

    assert_eq!((done[0].segments_before, done[0].segments_after), (3, 3));
    assert_eq!(Answers::of(&writer.store().snapshot().unwrap(), &[]), before);
}

#[test]
fn a_selection_leaves_out_other_streams_and_days_that_are_not_over() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, streams) = market(folder.path(), 4);
    let snapshot = writer.store().snapshot().unwrap();
    let all = compact::plan(&snapshot, &Selection::default());
    let days = |tasks: &[Task]| tasks.iter().map(|task| task.day).collect::<Vec<_>>();

    let until = all[0].day.end();
    let first = compact::plan(&snapshot, &Selection { until, ..Selection::default() });
    assert_eq!(days(&first), [all[0].day; 2]);
    let until = TsNs(until.0 - 1);
    assert!(compact::plan(&snapshot, &Selection { until, ..Selection::default() }).is_empty());
    let kinds = vec![Kind::Trades];
    let trades = compact::plan(&snapshot, &Selection { kinds, ..Selection::default() });
    assert!(trades.iter().all(|task| task.key == streams[1].0) && trades.len() < all.len());
    let instruments = vec![key("test:B", Kind::Book).instrument];
    assert!(
        compact::plan(&snapshot, &Selection { instruments, ..Selection::default() }).is_empty()
    );
}

#[test]
fn an_estimate_is_near_what_a_compaction_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = market(folder.path(), 3);
    let snapshot = writer.store().snapshot().unwrap();
    let tasks = compact::plan(&snapshot, &Selection::default());
    let options = WriterOptions::default();
    let estimates = tasks.iter().map(|task| compact::estimate(&snapshot, task, options).unwrap());
    let estimated: u64 = estimates.map(|estimate| estimate.bytes).sum();

    let done = compact(&mut writer, &Selection::default(), options);

    let after: u64 = done.iter().map(|done| done.bytes_after).sum();
    assert!(estimated > after / 2 && estimated < after * 2, "{estimated} for {after}");
}

#[test]
fn segments_that_are_gone_or_do_not_follow_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = market(folder.path(), 5);
    let tasks = compact::plan(&writer.store().snapshot().unwrap(), &Selection::default());
    let task = tasks.iter().find(|task| task.segments.len() > 2).unwrap();
    let mut refused =
        |segments: &[_]| writer.rewrite(segments, SMALL, &mut |_| Ok(())).unwrap_err().kind();

    assert_eq!(refused(&[]), ErrorKind::Invalid);
    assert_eq!(refused(&[task.segments[0], task.segments[2]]), ErrorKind::Stale);
    assert_eq!(refused(&[task.segments[1], task.segments[0]]), ErrorKind::Stale);
    writer.rewrite(&task.segments, SMALL, &mut |_| Ok(())).unwrap();
    let mut refused =
        |segments: &[_]| writer.rewrite(segments, SMALL, &mut |_| Ok(())).unwrap_err().kind();
    assert_eq!(refused(&task.segments), ErrorKind::Stale);
    writer.check().unwrap();
}

/// Counts what it is told, and stops after so many bytes.
struct Until {
    bytes_max: u64,
    bytes: AtomicU64,
    done: AtomicU64,
}

impl Until {
    fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: AtomicU64::new(0), done: AtomicU64::new(0) }
    }
}

impl Watch for Until {
    fn read(&self, bytes: u64) -> Result<()> {
        match self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.bytes_max {
            true => Err(Error::new(ErrorKind::Cancelled, "enough")),
            false => Ok(()),
        }
    }

    fn done(&self, _task: &Task, result: &Result<Rewritten>) {
        self.done.fetch_add(u64::from(result.is_ok()), Ordering::Relaxed);
    }
}

/// Compacts with two threads beside a writer that goes on.
fn run(recorder: &Recorder, store: &Store, watch: &Until) -> Result<Report> {
    let tasks = compact::plan(&store.snapshot().unwrap(), &Selection::default());
    compact::run(recorder, &tasks, SMALL, 2, watch)
}

#[test]
fn a_compaction_that_is_stopped_keeps_what_is_done_and_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, streams) = market(folder.path(), 6);
    let store = writer.store().clone();
    let times = times(&streams[0].1, 40);
    let before = Answers::of(&store.snapshot().unwrap(), &times);
    let recorder = Recorder::start(writer, GroupCommit::default()).unwrap();
    let all = compact::plan(&store.snapshot().unwrap(), &Selection::default());
    let part = all.iter().map(Task::bytes).sum::<u64>() / 4;

    let stopped = Until::new(part);
    assert_eq!(run(&recorder, &store, &stopped).unwrap_err().kind(), ErrorKind::Cancelled);

    assert_eq!(Answers::of(&store.snapshot().unwrap(), &times), before);
    let left = compact::plan(&store.snapshot().unwrap(), &Selection::default());
    let done = stopped.done.into_inner();
    assert!(done > 0 && left.len() as u64 + done == all.len() as u64, "{done} done");
    let finished = run(&recorder, &store, &Until::new(u64::MAX)).unwrap();
    assert_eq!((finished.tasks, finished.failed), (left.len(), 0));
    assert_eq!(Answers::of(&store.snapshot().unwrap(), &times), before);
    assert_eq!(run(&recorder, &store, &Until::new(0)).unwrap().tasks, 0);
    recorder.close().unwrap();
}

#[test]
fn a_recorder_compacts_while_it_takes_rows_seals_and_drops() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, _) = market(folder.path(), 7);
    let store = writer.store().clone();
    let recorder = Recorder::start(writer, GroupCommit::default()).unwrap();
    let others: Vec<_> = (0..3u64)
        .map(|i| (key(&format!("test:T{i}"), Kind::Trades), trade_stream(900, START, 1 << 37, i)))
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
        for round in 0..30 {
            run(&recorder, &store, &Until::new(u64::MAX)).unwrap();
            let day = TsNs(START + round / 10 * DAY_NS).day();
            recorder.drop_expired(&Expired::of_all(Kind::Book, day)).unwrap();
        }
    });
    recorder.close().unwrap().seal_all().unwrap();

    let snapshot = store.snapshot().unwrap();
    for (key, rows) in &others {
        let mut hash = ContentHash::EMPTY;
        hash.update_all(rows);
        let infos = snapshot.stream_infos();
        assert_eq!(infos.iter().find(|info| info.key == *key).unwrap().hash, hash, "{key}");
    }
    assert!(store.verify(|_, _| ()).unwrap().damage.is_empty());
}

#[test]
fn a_damaged_day_is_left_as_it_is_and_the_others_are_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = market(folder.path(), 8);
    writer.seal_all().unwrap();
    let store = writer.store().clone();
    let tasks = compact::plan(&store.snapshot().unwrap(), &Selection::default());
    let damaged = tasks[1].segments[1];
    let path = format!("segments/{}/{}", damaged.stream_id, tasks[1].day);
    let path = folder.path().join(path).join(format!("{}.seg", damaged.segment_id));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[700] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let recorder = Recorder::start(writer, GroupCommit::default()).unwrap();

    let report = run(&recorder, &store, &Until::new(u64::MAX)).unwrap();

    assert_eq!((report.tasks, report.failed), (tasks.len() - 1, 1));
    let left = compact::plan(&store.snapshot().unwrap(), &Selection::default());
    let ids = |task: &Task| task.segments.iter().map(|entry| entry.segment_id).collect::<Vec<_>>();
    assert_eq!(ids(&left[0]), ids(&tasks[1]));
    recorder.check().unwrap();
}

/// A disk on which a byte of the next segments is another than was written.
struct Careless {
    wrong: Arc<AtomicU64>,
}

struct CarelessFile {
    file: Box<dyn WriteFile>,
    wrong: Option<Arc<AtomicU64>>,
}

impl WriteFile for CarelessFile {
    fn reserve(&mut self, len_bytes: u64) -> io::Result<()> {
        self.file.reserve(len_bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = bytes.to_vec();
        let wrong = self.wrong.as_ref().map_or(0, |wrong| wrong.load(Ordering::Relaxed));
        if wrong > 0 && bytes.len() > 64 {
            let at = usize::try_from(wrong).unwrap() % bytes.len();
            bytes[at] ^= 4;
        }
        self.file.append(&bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Disk for Careless {
    fn map(&self, sealed: &Path) -> io::Result<SharedBytes> {
        OsDisk.map(sealed)
    }
    fn read(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        OsDisk.read(path, limit_bytes)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        OsDisk.open(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let segment = path.to_string_lossy().ends_with(".seg.tmp");
        let wrong = segment.then(|| self.wrong.clone());
        Ok(Box::new(CarelessFile { file: OsDisk.create(path)?, wrong }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_folder(path)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        OsDisk.sync_folder(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
        OsDisk.list(path)
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        OsDisk.len(path)
    }
    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        OsDisk.make_read_only(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        OsDisk.lock(path)
    }
    fn pin(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        OsDisk.pin(path)
    }
    fn unpinned(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        OsDisk.unpinned(path)
    }
}

#[test]
fn what_is_read_back_otherwise_than_it_was_written_never_counts() {
    let folder = tempfile::tempdir().unwrap();
    drop(market(folder.path(), 11));
    let wrong = Arc::new(AtomicU64::new(0));
    let disk = Arc::new(Careless { wrong: wrong.clone() });
    let store = Store::open_on(disk, folder.path()).unwrap();
    let mut writer = store.writer(live_options()).unwrap();
    writer.seal_all().unwrap();
    let before = Answers::of(&store.snapshot().unwrap(), &[]);
    let files = segments(&store);
    let task = compact::plan(&store.snapshot().unwrap(), &Selection::default()).remove(0);

    for at in (1..60_000).step_by(2111) {
        wrong.store(at, Ordering::Relaxed);
        let refused = writer.rewrite(&task.segments, SMALL, &mut |_| Ok(())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "byte {at}: {refused}");
    }

    writer.check().unwrap();
    assert_eq!(segments(&store), files);
    assert_eq!(Answers::of(&store.snapshot().unwrap(), &[]), before);
    wrong.store(0, Ordering::Relaxed);
    writer.rewrite(&task.segments, SMALL, &mut |_| Ok(())).unwrap();
    assert_eq!(Answers::of(&store.snapshot().unwrap(), &[]), before);
}

#[test]
fn what_stands_for_a_damaged_segment_stays_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, streams) = market(folder.path(), 12);
    writer.seal_all().unwrap();
    drop(writer);
    let store = Store::open(folder.path()).unwrap();
    let infos = store.snapshot().unwrap().stream_infos();
    for info in &infos {
        let snapshot = store.snapshot().unwrap();
        let id = snapshot.stream_id(&info.key.instrument, info.key.kind).unwrap();
        let lost = snapshot.segments(id)[2];
        drop(snapshot);
        let day = tickreel::quantity::Day(lost.day);
        let path = format!("segments/{id}/{day}/{}.seg", lost.segment_id);
        let path = folder.path().join(path);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[700] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        Store::open(folder.path()).unwrap().quarantine(&path).unwrap();
    }
    let store = Store::open(folder.path()).unwrap();
    let times = times(&streams[0].1, 30);
    let before = Answers::of(&store.snapshot().unwrap(), &times);
    let mut writer = store.writer(live_options()).unwrap();

    let done = compact(&mut writer, &Selection::default(), SMALL);

    assert!(done.iter().any(|done| done.segments_before > done.segments_after));
    assert_eq!(Answers::of(&store.snapshot().unwrap(), &times), before);
    let verified = store.verify(|_, _| ()).unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    assert_eq!(compact(&mut writer, &Selection::default(), SMALL), []);
}
