//! The live writer: what is appended is seen, what is committed survives, and it makes no
//! difference to any answer which rows are in the journal, in memory or in segments.

mod oracle;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use oracle::{Fold, Random, START, book_stream, import, key, trade_stream};
use proptest::prelude::*;
use tickreel::disk::OsDisk;
use tickreel::event::{
    Batch, BatchBuilder, Column, ContentHash, Kind, MessageHead, Side, StatusRow, StatusWhat,
    StreamKey, Value, Values, book, status, trades,
};
use tickreel::segment::{ColumnMask, WriterOptions};
use tickreel::store::{GroupCommit, ImportOptions, LiveOptions, Recorder, Snapshot, Store, Writer};
use tickreel::{Decimal, ErrorKind, TsNs, limit};

/// Small files, so that short programs meet every border.
fn options() -> LiveOptions {
    LiveOptions {
        segments: WriterOptions { block_rows: 200, checkpoint_rows: Some(50) },
        journal_bytes: 64 << 10,
        seal_bytes: 20 << 10,
        memory_max: 120 << 10,
        ..LiveOptions::default()
    }
}

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open_or_create(folder.path()).unwrap()
}

/// Rows that were given to a writer, and how many messages of each stream are durable.
#[derive(Default)]
struct Model {
    accepted: BTreeMap<StreamKey, Batch>,
    durable: BTreeMap<StreamKey, usize>,
}

impl Model {
    fn accept(&mut self, key: &StreamKey, batch: &Batch) {
        self.accepted
            .entry(key.clone())
            .or_insert_with(|| Batch::new(key.kind))
            .append(batch)
            .unwrap();
    }

    fn commit(&mut self) {
        let counts = self.accepted.iter().map(|(key, rows)| (key.clone(), rows.messages()));
        self.durable = counts.collect();
    }

    /// After a crash: what the store has is a prefix of what was accepted, and not less than what
    /// was durable.
    fn crash(&mut self, store: &Store) {
        let snapshot = store.snapshot().unwrap();
        for (key, rows) in &mut self.accepted {
            let found = scan_all(&snapshot, key).messages();
            let durable = self.durable.get(key).copied().unwrap_or(0);
            assert!(found >= durable, "{key}: {found} messages of {durable} durable ones");
            *rows = rows.slice_messages(0..found);
        }
        self.accepted.retain(|_, rows| !rows.is_empty());
    }

    fn check(&self, snapshot: &Snapshot, durable_only: bool, random: &mut Random) {
        for (key, rows) in &self.accepted {
            let durable = self.durable.get(key).copied().unwrap_or(0);
            let rows = if durable_only { rows.slice_messages(0..durable) } else { rows.clone() };
            let found = scan_all(snapshot, key);
            assert_eq!((found.messages(), found.rows()), (rows.messages(), rows.rows()), "{key}");
            assert_eq!(hash(&found), hash(&rows), "{key}");
            let infos = snapshot.stream_infos();
            match infos.iter().find(|info| info.key == *key) {
                Some(info) => assert_eq!(info.hash, hash(&rows), "{key}"),
                None => assert!(rows.is_empty()),
            }
            if key.kind == Kind::Book && !rows.is_empty() {
                for _ in 0..4 {
                    let times = rows.ts_recv();
                    let at = times[usize::try_from(random.below(times.len() as u64)).unwrap()];
                    let at = at - random.int(2);
                    let book = snapshot.book_at(&key.instrument, TsNs(at)).unwrap();
                    assert_eq!(Fold::of(&book), Fold::at(&rows, at), "{key} at {at}");
                }
            }
        }
    }
}

fn hash(batch: &Batch) -> ContentHash {
    let mut hash = ContentHash::EMPTY;
    hash.update_all(batch);
    hash
}

fn scan_all(snapshot: &Snapshot, key: &StreamKey) -> Batch {
    let mut all = Batch::new(key.kind);
    let range = TsNs::MIN..TsNs::MAX;
    match snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL) {
        Ok(mut scan) => {
            while let Some(batch) = scan.next_batch().unwrap() {
                all.append(batch).unwrap();
            }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
    }
    all
}

#[test]
fn rows_are_seen_at_once_here_and_when_durable_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let elsewhere = open(&folder);
    let (book, rows) = (key("test:A", Kind::Book), book_stream(40, START, 1_000_000, 1));
    let mut writer = store.writer(options()).unwrap();

    let seq = writer.append(&book, &rows.slice_messages(0..20)).unwrap();

    assert!(writer.watermark() < seq);
    assert_eq!(scan_all(&store.snapshot().unwrap(), &book).messages(), 20);
    assert_eq!(scan_all(&store.durable_snapshot().unwrap(), &book).messages(), 0);
    assert_eq!(scan_all(&elsewhere.snapshot().unwrap(), &book).messages(), 0);
    assert!(writer.commit().unwrap() >= seq);
    for snapshot in [store.durable_snapshot().unwrap(), elsewhere.snapshot().unwrap()] {
        assert_eq!(hash(&scan_all(&snapshot, &book)), hash(&rows.slice_messages(0..20)));
    }

    let before = store.snapshot().unwrap();
    writer.append(&book, &rows.slice_messages(20..40)).unwrap();
    assert_eq!(scan_all(&before, &book).messages(), 20, "a snapshot does not change");
    writer.seal_all().unwrap();
    assert_eq!(scan_all(&before, &book).messages(), 20, "nor when its rows are sealed");
    for store in [&store, &elsewhere] {
        let snapshot = store.snapshot().unwrap();
        assert_eq!(hash(&scan_all(&snapshot, &book)), hash(&rows));
        assert_eq!(snapshot.tail().rows(), 0);
    }
}

#[test]
fn late_rows_are_refused_or_given_the_last_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let trades = key("test:A", Kind::Trades);
    let rows = trade_stream(20, START, 1_000_000, 3);
    let late = trade_stream(2, START - 5_000_000_000, 1_000, 4);
    let mut writer = store.writer(options()).unwrap();
    writer.append(&trades, &rows).unwrap();

    let error = writer.append(&trades, &late).unwrap_err();

    let last = TsNs(*rows.ts_recv().last().unwrap());
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&TsNs(late.ts_recv()[0]).to_string()), "{error}");
    assert!(error.to_string().contains(&last.to_string()), "{error}");
    drop(writer);
    let mut writer = store.writer(LiveOptions { clamp_late: true, ..options() }).unwrap();
    writer.append(&trades, &rows).unwrap_or_else(|error| panic!("clamped: {error}"));
    writer.append(&trades, &late).unwrap();
    let found = scan_all(&store.snapshot().unwrap(), &trades);
    assert_eq!(found.ts_recv()[found.rows() - 2..], [last.0; 2]);
}

#[test]
fn wrong_rows_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let book = key("test:A", Kind::Book);
    let rows = book_stream(10, START, 1_000_000, 1);
    let mut writer = store.writer(options()).unwrap();

    let no_reset = rows.slice_messages(1..2);
    assert!(writer.append(&book, &no_reset).unwrap_err().to_string().contains("reset"));
    assert!(writer.append(&key("test:A", Kind::Trades), &rows).is_err());

    assert!(store.snapshot().unwrap().stream_infos().is_empty());
    writer.append(&book, &rows).unwrap();
    assert!(store.import(ImportOptions::default()).is_err_and(|e| e.kind() == ErrorKind::Locked));
    assert!(open(&folder).writer(options()).is_err_and(|e| e.kind() == ErrorKind::Locked));
}

/// A message of a book with bids at some prices.
fn bids(ts: i64, snapshot: bool, prices: std::ops::Range<i64>) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Kind::Book);
    builder.begin(MessageHead { ts_recv: TsNs(ts), snapshot, ..MessageHead::default() });
    for price in prices {
        builder.level(Side::Bid, Decimal::new(price, 1).unwrap(), Decimal::new(1, 0).unwrap());
    }
    builder.end();
    builder
}

#[test]
fn what_files_cannot_hold_is_refused_before_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder).writer(LiveOptions::default()).unwrap();
    let (book, trades) = (key("test:A", Kind::Book), key("test:A", Kind::Trades));
    let levels_max = i64::try_from(limit::LEVELS_PER_SIDE_MAX).unwrap();
    let one = |mut builder: BatchBuilder| builder.finish().unwrap().pop().unwrap();
    let mut refused = |key: &StreamKey, batch: &Batch, kind: ErrorKind, text: &str| {
        let error = writer.append(key, batch).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.text().contains(text), "{error}");
    };
    let print = trade_stream(1, START, 1, 5);
    let with_column = |at: usize, change: fn(&mut Column)| {
        let (ends, mut columns) = print.clone().into_parts();
        change(columns[at].as_mut().unwrap());
        Batch::from_parts(Kind::Trades, print.rows(), ends, columns).unwrap()
    };
    let decimals = with_column(trades::PRICE, |column| column.digits = 19);
    refused(&trades, &decimals, ErrorKind::Limit, "decimals of column price: 19 is above");
    let decimals = with_column(trades::SIDE, |column| column.digits = 1);
    refused(&trades, &decimals, ErrorKind::Limit, "decimals of column side: 1 is above");
    let last = with_column(0, |column| column.values = Values::I64(vec![i64::MAX].into()));
    refused(&trades, &last, ErrorKind::Invalid, "column ts_recv");
    let mut backwards = bids(2, true, 1..3);
    backwards.begin(MessageHead { ts_recv: TsNs(1), ..MessageHead::default() });
    backwards.gap(1);
    backwards.end();
    refused(&book, &one(backwards), ErrorKind::Invalid, "column ts_recv, row 3: earlier");
    let mut long = one(bids(1, true, 0..i64::try_from(limit::MESSAGE_ROWS_MAX).unwrap() - 1));
    assert_eq!(long.rows(), limit::MESSAGE_ROWS_MAX);
    let (_, mut columns) = {
        long.append(&one(bids(1, false, 1..2))).unwrap();
        long.into_parts()
    };
    for at in [book::TS_RECV, book::TS_EVENT, book::FLAGS, book::VENUE_SEQ] {
        match &mut columns[at].as_mut().unwrap().values {
            Values::I64(values) => drop(values.to_mut().pop()),
            Values::U8(values) => drop(values.to_mut().pop()),
            Values::Text(_) => {}
        }
    }
    let rows = limit::MESSAGE_ROWS_MAX + 1;
    let ends = vec![u32::try_from(rows).unwrap()].into();
    let long = Batch::from_parts(Kind::Book, rows, ends, columns).unwrap();
    refused(&book, &long, ErrorKind::Limit, "rows of one message: 262145 is above");
    let deep = one(bids(1, true, 0..levels_max + 1));
    refused(&book, &deep, ErrorKind::Limit, "levels of one side of a book: 100001 is above");
    let mut frame = BatchBuilder::new(Kind::Raw);
    frame.raw(TsNs(START), "trade", &vec![b'x'; limit::TEXT_BYTES_MAX + 1]);
    let raw = key("test:A", Kind::Raw);
    refused(&raw, &one(frame), ErrorKind::Limit, "bytes of a text: 16777217 is above");
    // What was refused is no beginning.
    let level = one(bids(1, false, 0..1));
    refused(&book, &level, ErrorKind::Invalid, "the first row of a stream must be a reset");

    let first = one(bids(1, true, 0..levels_max));
    writer.append(&book, &first).unwrap();
    // Neither the sum of all rows nor the levels that are set again count.
    writer.append(&book, &one(bids(2, false, 0..levels_max))).unwrap();
    let error = writer.append(&book, &one(bids(3, false, levels_max..levels_max + 1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    writer.append(&book, &one(bids(3, true, levels_max..levels_max + 1))).unwrap();
    writer.seal_all().unwrap();
    let snapshot = writer.store().snapshot().unwrap();
    let levels =
        |ts| snapshot.book_at(&book.instrument, TsNs(ts)).unwrap().book().level_count(Side::Bid);
    assert_eq!((levels(2), levels(3)), (limit::LEVELS_PER_SIDE_MAX, 1));
}

#[test]
fn a_journal_file_has_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let journal_bytes = tickreel::limit::JOURNAL_BYTES_MAX + 1;
    let writer = open(&folder).writer(LiveOptions { journal_bytes, ..options() });
    assert_eq!(writer.map(drop).unwrap_err().kind(), ErrorKind::Limit);
}

/// A rows frame whose checksums are right and whose rows cannot be: all readers stop there, however
/// often they look.
#[test]
fn a_reader_elsewhere_shows_nothing_after_damage_however_often_it_looks() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (a, b) = (key("test:A", Kind::Trades), key("test:B", Kind::Trades));
    let rows = trade_stream(30, START, 1_000_000, 3);
    let mut writer = store.writer(options()).unwrap();
    writer.append(&a, &rows.slice_messages(0..10)).unwrap();
    writer.append(&b, &rows.slice_messages(0..10)).unwrap();
    writer.commit().unwrap();
    writer.append(&a, &rows.slice_messages(10..20)).unwrap();
    writer.append(&b, &rows.slice_messages(10..20)).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let journal = folder.path().join("journal/1.jnl");
    let mut bytes = std::fs::read(&journal).unwrap();
    let mut at = 64;
    // Frames: name, rows, name, rows, mark, rows.
    let len = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    };
    for _ in 0..5 {
        at += len(&bytes, at);
    }
    let end = at + len(&bytes, at);
    // The scale of the receive times.
    bytes[at + 40 + 16] = 1;
    bytes[at + 4..at + 8].fill(0);
    let crc = crc32fast::hash(&bytes[at..end]);
    bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&journal, bytes).unwrap();

    let elsewhere = open(&folder);
    for _ in 0..3 {
        let snapshot = elsewhere.snapshot().unwrap();
        assert_eq!([&a, &b].map(|key| scan_all(&snapshot, key).rows()), [10, 10]);
    }
    let damage = elsewhere.verify(|_, _| ()).unwrap().damage;
    assert!(damage[0].error.to_string().contains("scale or digits"), "{}", damage[0].error);
    assert_eq!(damage[0].error.byte_offset(), Some(at as u64));
    assert_eq!(damage[0].error.path(), Some(&*journal));
}

#[test]
fn an_import_after_a_crash_seals_what_was_durable_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (live, imported) = (key("test:A", Kind::Book), key("test:B", Kind::Book));
    let rows = book_stream(50, START, 1_000_000, 1);
    let mut writer = store.writer(options()).unwrap();
    writer.append(&live, &rows).unwrap();
    writer.commit().unwrap();
    drop(writer);

    import(&store, ImportOptions::default(), &[(imported.clone(), &rows)], 10).unwrap();

    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.tail().rows(), 0);
    assert_eq!(hash(&scan_all(&snapshot, &live)), hash(&rows));
    assert_eq!(hash(&scan_all(&snapshot, &imported)), hash(&rows));
    let again = import(&store, ImportOptions::default(), &[(live, &rows)], 10);
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(std::fs::read_dir(folder.path().join("journal")).unwrap().count(), 0);
}

#[test]
fn many_quiet_streams_do_not_become_many_files_and_do_not_hold_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let mut writer = store.writer(options()).unwrap();
    let quiet: Vec<_> = (0..200).map(|i| key(&format!("test:Q{i}"), Kind::Trades)).collect();
    let busy = key("test:BUSY", Kind::Book);
    let rows = book_stream(6000, START - 3_000_000_000_000, 1_000_000, 5);
    for (key, seed) in quiet.iter().zip(1..) {
        writer.append(key, &trade_stream(1, START - 3_000_000_000_000, 1, seed)).unwrap();
    }
    for start in (0..rows.messages()).step_by(50) {
        writer.append(&busy, &rows.slice_messages(start..start + 50)).unwrap();
        writer.commit().unwrap();
        writer.maintain().unwrap();
    }

    let journals = std::fs::read_dir(folder.path().join("journal")).unwrap().count();
    assert!(journals <= 6, "{journals} journal files");
    let snapshot = store.snapshot().unwrap();
    let files = snapshot.stream_infos();
    let quiet_files: usize =
        files.iter().filter(|info| info.key != busy).map(|info| info.segments).sum();
    assert_eq!(quiet_files, 0, "their day is not over");
    drop(writer);
    let snapshot = open(&folder).snapshot().unwrap();
    assert_eq!(hash(&scan_all(&snapshot, &busy)), hash(&rows));
    assert!(quiet.iter().all(|key| scan_all(&snapshot, key).rows() == 1));
}

#[test]
fn rows_that_were_sealed_before_they_reached_the_journal_leave_no_hole_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (quiet, busy) = (key("test:QUIET", Kind::Trades), key("test:BUSY", Kind::Trades));
    let (few, many) =
        (trade_stream(2, START, 1_000_000, 3), trade_stream(2000, START, 1_000_000, 4));
    let mut writer = open(&folder).writer(options()).unwrap();
    writer.append(&quiet, &few.slice_messages(0..1)).unwrap();
    writer.commit().unwrap();
    writer.append(&busy, &many.slice_messages(0..500)).unwrap();
    writer.append(&busy, &many.slice_messages(500..1000)).unwrap();

    // The frames of the busy rows wait in memory only, and go with the writer.
    writer.maintain().unwrap();
    drop(writer);

    assert!(scan_all(&open(&folder).snapshot().unwrap(), &busy).messages() >= 500);
    let mut writer = open(&folder).writer(options()).unwrap();
    writer.append(&quiet, &few.slice_messages(1..2)).unwrap();
    writer.append(&busy, &many.slice_messages(1000..2000)).unwrap();
    writer.commit().unwrap();
    drop(writer);
    drop(open(&folder).writer(options()).unwrap());
    let snapshot = open(&folder).snapshot().unwrap();
    assert_eq!(hash(&scan_all(&snapshot, &quiet)), hash(&few));
    assert_eq!(hash(&scan_all(&snapshot, &busy)), hash(&many));
}

#[test]
fn a_store_that_is_opened_again_and_again_keeps_few_journal_files() {
    let folder = tempfile::tempdir().unwrap();
    let trades = key("test:A", Kind::Trades);
    let rows = trade_stream(30, START, 1_000_000, 3);
    for life in 0..30 {
        let mut writer = open(&folder).writer(options()).unwrap();
        writer.append(&trades, &rows.slice_messages(life..life + 1)).unwrap();
        writer.commit().unwrap();
    }

    let journals = std::fs::read_dir(folder.path().join("journal")).unwrap().count();
    assert!(journals <= 6, "{journals} journal files");
    assert_eq!(hash(&scan_all(&open(&folder).snapshot().unwrap(), &trades)), hash(&rows));
}

#[test]
fn a_replay_follows_the_live_end_without_a_seam() {
    let folder = tempfile::tempdir().unwrap();
    let (here, elsewhere) = (open(&folder), open(&folder));
    let (book, trades) = (key("test:A", Kind::Book), key("test:A", Kind::Trades));
    // Across a day border, with many equal times.
    let (levels, prints) =
        (book_stream(900, START, 8_000_000_000, 11), trade_stream(900, START, 8_000_000_000, 12));
    let streams = [book.clone(), trades.clone()];
    let mut writer = here.writer(options()).unwrap();
    writer.append(&book, &levels.slice_messages(0..1)).unwrap();
    writer.append(&trades, &prints.slice_messages(0..1)).unwrap();
    writer.commit().unwrap();
    let range = TsNs::MIN..TsNs::MAX;
    let mut replays: Vec<_> = [&here, &elsewhere]
        .map(|store| store.snapshot().unwrap().replay(&streams, range.clone()).unwrap())
        .into();
    let mut random = Random(99);
    let (mut at, mut printed) = (1, 1);
    while at < 900 {
        let end = (at + 1 + usize::try_from(random.below(40)).unwrap()).min(900);
        writer.append(&book, &levels.slice_messages(at..end)).unwrap();
        // One stream stands still while the other goes on.
        if end == 900 || end % 3 == 0 {
            writer.append(&trades, &prints.slice_messages(printed..end)).unwrap();
            printed = end;
        }
        writer.commit().unwrap();
        if random.below(3) == 0 {
            writer.maintain().unwrap();
        }
        for (replay, store) in replays.iter_mut().zip([&here, &elsewhere]) {
            if random.below(2) == 0 {
                replay.follow(&store.snapshot().unwrap()).unwrap();
                // Stops anywhere; goes on from there next time.
                let stop = random.below(60);
                for _ in 0..stop {
                    let Some(step) = replay.step(3).unwrap() else { break };
                    let (stream, messages) = (step.stream, step.messages());
                    replay.accept(stream, messages, true).unwrap();
                }
            }
        }
        at = end;
    }
    for (replay, store) in replays.iter_mut().zip([&here, &elsewhere]) {
        let snapshot = store.snapshot().unwrap();
        replay.follow(&snapshot).unwrap();
        replay.play(true, |_| Ok(true)).unwrap();
        let totals = replay.stream_totals();
        assert_eq!(totals[0].hash, hash(&levels));
        assert_eq!(totals[1].hash, hash(&prints));
        let end = *levels.ts_recv().last().unwrap();
        assert_eq!(Fold::of(replay.book(0).unwrap()), Fold::at(&levels, end));
    }
    assert!(here.snapshot().unwrap().segments(0).len() > 3, "seals happened on the way");
}

#[test]
fn a_reader_is_woken_when_rows_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let (here, elsewhere) = (open(&folder), open(&folder));
    let trades = key("test:A", Kind::Trades);
    let rows = trade_stream(30, START, 1_000_000, 3);
    let mut writer = here.writer(options()).unwrap();
    let wait = std::time::Duration::from_secs(20);
    let readers: Vec<_> = [here.clone(), elsewhere]
        .into_iter()
        .map(|store| {
            let seen = store.snapshot().unwrap();
            let trades = trades.clone();
            std::thread::spawn(move || {
                let now = store.snapshot_after(&seen, wait).unwrap();
                scan_all(&now, &trades).rows()
            })
        })
        .collect();
    writer.append(&trades, &rows).unwrap();
    writer.commit().unwrap();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 30);
    }
}

#[test]
fn a_torn_end_is_kept_aside_and_damage_before_it_refuses_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let trades = key("test:A", Kind::Trades);
    let rows = trade_stream(60, START, 1_000_000, 3);
    let mut writer = store.writer(options()).unwrap();
    for part in 0..6 {
        writer.append(&trades, &rows.slice_messages(part * 10..part * 10 + 10)).unwrap();
        writer.commit().unwrap();
    }
    drop(writer);
    let journal = folder.path().join("journal/1.jnl");
    let whole = std::fs::read(&journal).unwrap();
    let used = whole.iter().rposition(|&byte| byte != 0).unwrap() + 1;

    // The last mark and part of the last rows are torn: nobody said that they were durable.
    let mut torn = whole.clone();
    torn[used - 60..].fill(0xee);
    std::fs::write(&journal, &torn).unwrap();
    let mut writer = store.writer(options()).unwrap();
    assert_eq!(scan_all(&store.snapshot().unwrap(), &trades).rows(), 50);
    assert_eq!(std::fs::read_dir(folder.path().join("quarantine")).unwrap().count(), 1);
    writer.append(&trades, &rows.slice_messages(50..60)).unwrap();
    writer.commit().unwrap();
    drop(writer);
    assert_eq!(hash(&scan_all(&open(&folder).snapshot().unwrap(), &trades)), hash(&rows));

    // The last rows, and the mark after them says that they were durable.
    let mut damaged = whole.clone();
    damaged[used - 60] ^= 1;
    std::fs::write(&journal, &damaged).unwrap();
    std::fs::remove_file(folder.path().join("journal/2.jnl")).unwrap();
    assert_eq!(open(&folder).writer(options()).map(drop).unwrap_err().kind(), ErrorKind::Corrupt);

    // In the middle: later frames say that these rows were durable.
    let mut damaged = whole.clone();
    damaged[used / 2] ^= 1;
    std::fs::write(&journal, &damaged).unwrap();
    let store = open(&folder);
    let error = store.writer(options()).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.path().is_some() && error.byte_offset().is_some(), "{error}");
    let readable = scan_all(&store.snapshot().unwrap(), &trades).rows();
    assert!((10..50).contains(&readable), "{readable} rows before the damage");
}

#[test]
fn a_verifier_finds_no_damage_where_a_writer_lets_its_journal_go() {
    let folder = tempfile::tempdir().unwrap();
    let (store, elsewhere) = (open(&folder), open(&folder));
    let trades = key("test:A", Kind::Trades);
    let rows = trade_stream(200, START, 1_000_000, 3);
    let small = LiveOptions { journal_bytes: 4 << 10, ..options() };
    let mut writer = store.writer(small).unwrap();
    writer.append(&trades, &rows.slice_messages(0..20)).unwrap();
    writer.seal_all().unwrap();
    for start in (20..100).step_by(10) {
        writer.append(&trades, &rows.slice_messages(start..start + 10)).unwrap();
        writer.commit().unwrap();
    }
    let files = || tickreel::journal::numbers(&OsDisk, folder.path()).unwrap();
    let before = files();

    // After the first segment, when the manifest has been read, the journal has not.
    let mut sealed = false;
    let report = elsewhere.verify(|_, _| {
        if !std::mem::replace(&mut sealed, true) {
            writer.append(&trades, &rows.slice_messages(100..200)).unwrap();
            writer.seal_all().unwrap();
        }
    });

    assert!(sealed && files()[0] > before[0], "{before:?}, {:?}", files());
    let report = report.unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
}

#[test]
fn a_recorder_takes_rows_from_many_threads_and_says_when_they_are_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (store, elsewhere) = (open(&folder), open(&folder));
    let recorder =
        Recorder::start(store.writer(options()).unwrap(), GroupCommit::default()).unwrap();
    let (told, tell) = std::sync::mpsc::channel();
    recorder.watch(Box::new(move |watermark| told.send(watermark).unwrap_or(())));
    let sources: Vec<_> = (0..6u64)
        .map(|i| {
            let rows = book_stream(400, START, 4_000_000_000, i + 1);
            (key(&format!("test:T{i}"), Kind::Book), rows)
        })
        .collect();
    std::thread::scope(|scope| {
        for (key, rows) in &sources {
            let (recorder, elsewhere) = (recorder.clone(), &elsewhere);
            scope.spawn(move || {
                for start in (0..400).step_by(8) {
                    let seq = recorder.append(key, &rows.slice_messages(start..start + 8)).unwrap();
                    if start % 80 == 0 {
                        recorder.wait(seq).unwrap();
                        assert!(recorder.watermark() >= seq);
                        let there = scan_all(&elsewhere.snapshot().unwrap(), key);
                        assert!(there.messages() >= start + 8, "durable rows are seen elsewhere");
                    }
                }
            });
        }
    });

    let mut writer = recorder.close().unwrap();

    let watermarks: Vec<u64> = tell.try_iter().collect();
    assert!(watermarks.len() > 1 && watermarks.is_sorted());
    assert!(recorder.append(&sources[0].0, &sources[0].1).is_err(), "it is closed");
    writer.maintain().unwrap();
    drop(writer);
    let snapshot = open(&folder).snapshot().unwrap();
    for (key, rows) in &sources {
        assert_eq!(hash(&scan_all(&snapshot, key)), hash(rows));
    }
}

#[test]
fn a_recorder_goes_on_when_tidying_its_journal_has_committed_what_waited() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    // A window longer than the time between two looks at the journal.
    let slow = GroupCommit { within: std::time::Duration::from_millis(700), bytes: 1 << 20 };
    let small = LiveOptions { journal_bytes: 4 << 10, seal_bytes: 1 << 20, ..options() };
    let recorder = Recorder::start(store.writer(small).unwrap(), slow).unwrap();
    let (told, tell) = std::sync::mpsc::channel();
    recorder.watch(Box::new(move |watermark| told.send(watermark).unwrap_or(())));
    let (trades, rows) = (key("test:A", Kind::Trades), trade_stream(900, START, 1_000_000, 3));
    for round in 0..6 {
        let mut seq = 0;
        for start in (0..150).step_by(10) {
            let start = round * 150 + start;
            seq = recorder.append(&trades, &rows.slice_messages(start..start + 10)).unwrap();
        }
        // Longer ago than a group may wait: told without anybody appending.
        let (done, ended) = std::sync::mpsc::channel();
        let waiting = recorder.clone();
        std::thread::spawn(move || done.send(waiting.wait(seq).is_ok()));
        assert_eq!(ended.recv_timeout(std::time::Duration::from_secs(20)), Ok(true), "{round}");
        // Watchers are told soon after those who wait.
        while tell.recv_timeout(std::time::Duration::from_secs(20)).unwrap() < seq {}
    }
    assert!(store.snapshot().unwrap().manifest().contents().first_journal > 1, "it was tidied");
}

#[test]
fn without_a_group_every_append_is_durable_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let (store, elsewhere) = (open(&folder), open(&folder));
    let every = GroupCommit { within: std::time::Duration::ZERO, bytes: 1 << 20 };
    let recorder = Recorder::start(store.writer(options()).unwrap(), every).unwrap();
    let (trades, rows) = (key("test:A", Kind::Trades), trade_stream(20, START, 1_000_000, 3));
    for row in 0..20 {
        let seq = recorder.append(&trades, &rows.slice_messages(row..row + 1)).unwrap();
        assert!(recorder.watermark() >= seq);
        assert_eq!(scan_all(&elsewhere.snapshot().unwrap(), &trades).rows(), row + 1);
    }
}

#[test]
fn a_damaged_segment_is_moved_aside_and_what_it_held_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (book, trades) = (key("test:A", Kind::Book), key("test:A", Kind::Trades));
    // Three days: a segment each.
    let step = 300_000_000_000;
    let (levels, prints) = (book_stream(900, START, step, 21), trade_stream(900, START, step, 22));
    let both = [(book.clone(), &levels), (trades.clone(), &prints)];
    import(&store, ImportOptions::default(), &both, 100).unwrap();
    let before = store.snapshot().unwrap();
    for (stream, rows) in both {
        let id = before.stream_id(&stream.instrument, stream.kind).unwrap();
        let middle = before.segments(id)[1];
        let day = tickreel::quantity::Day(middle.day);
        let path = tickreel::catalog::segment_path(folder.path(), id, day, middle.segment_id);
        assert!(store.quarantine(&path).unwrap_err().to_string().contains("not damaged"));
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 0x10;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();

        let report = open(&folder).quarantine(&path).unwrap();

        assert!(report.files[0].exists() && !path.exists());
        assert_eq!(report.missing[0].rows, Some(middle.rows));
        let snapshot = open(&folder).snapshot().unwrap();
        let (first, last) = (middle.ts_recv_first, middle.ts_recv_last);
        let coverage = snapshot.coverage(&stream.instrument).unwrap();
        let covered = coverage.iter().find(|found| found.key == stream).unwrap();
        let held: u64 = covered.spans.iter().map(|span| span.rows).sum();
        assert_eq!(held, scan_all(&snapshot, &stream).rows() as u64, "what was lost is no span");
        let gap = covered.gaps.iter().find(|gap| gap.since == TsNs(first));
        let gap = gap.expect("the lost day is a gap");
        assert_eq!((gap.until, gap.missing), (Some(TsNs(last)), middle.messages));
        if stream.kind == Kind::Book {
            let at = |ts| Fold::of(&snapshot.book_at(&stream.instrument, TsNs(ts)).unwrap());
            assert_eq!(at(first - 1), Fold::at(&rows.clone(), first - 1));
            let stale = snapshot.book_at(&stream.instrument, TsNs(last - 1)).unwrap();
            assert!(matches!(stale.state(), tickreel::book::State::Stale { .. }));
            // From the next segment on the book is as if nothing had been lost, whatever the way.
            let end = *rows.ts_recv().last().unwrap();
            let (found, expected) = (at(end), Fold::at(rows, end));
            assert_eq!(
                (found.bids, found.asks, found.state),
                (expected.bids, expected.asks, expected.state)
            );
            let kept = scan_all(&snapshot, &stream);
            let folded = Fold::at(&kept, end);
            assert_eq!(Fold::of(&snapshot.book_at(&stream.instrument, TsNs(end)).unwrap()), folded);
        } else {
            assert_eq!(scan_all(&snapshot, &stream).rows() as u64, 900 - middle.rows);
            let infos = snapshot.stream_infos();
            let info = infos.iter().find(|info| info.key == stream).unwrap();
            assert_eq!((info.lost_rows, info.rows), (middle.rows, 900 - middle.rows));
        }
        let report = open(&folder).verify(|_, _| {}).unwrap();
        assert!(report.damage.is_empty(), "{:?}", report.damage);
    }
}

/// Changes a bit of every few bytes of the newest segment of a stream; its path.
fn damage_newest(folder: &tempfile::TempDir, snapshot: &Snapshot, key: &StreamKey) -> PathBuf {
    let id = snapshot.stream_id(&key.instrument, key.kind).unwrap();
    let newest = snapshot.segments(id).last().unwrap();
    let day = tickreel::quantity::Day(newest.day);
    let path = tickreel::catalog::segment_path(folder.path(), id, day, newest.segment_id);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.iter_mut().step_by(50).for_each(|byte| *byte ^= 0x10);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Books and trades of two instruments, 30 messages of each in a segment and 30 in the journal.
fn half_sealed(store: &Store) -> (Writer, Vec<(StreamKey, Batch)>) {
    let mut streams = Vec::new();
    for (name, seed) in [("test:A", 1), ("test:B", 2)] {
        streams.push((key(name, Kind::Book), book_stream(60, START, 1_000_000, seed)));
        streams.push((key(name, Kind::Trades), trade_stream(60, START, 1_000_000, seed)));
    }
    let mut writer = store.writer(options()).unwrap();
    for messages in [0..30, 30..60] {
        if messages.start > 0 {
            writer.seal_all().unwrap();
        }
        for (key, rows) in &streams {
            writer.append(key, &rows.slice_messages(messages.clone())).unwrap();
        }
        writer.commit().unwrap();
    }
    (writer, streams)
}

#[test]
fn rows_that_go_on_with_a_damaged_segment_are_the_only_ones_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (writer, streams) = half_sealed(&store);
    let (broken, rows) = &streams[0];
    drop(writer);
    let path = damage_newest(&folder, &store.snapshot().unwrap(), broken);

    let elsewhere = Store::open(folder.path()).unwrap();

    let snapshot = elsewhere.snapshot().unwrap();
    for (key, rows) in &streams[1..] {
        assert_eq!(hash(&scan_all(&snapshot, key)), hash(rows), "{key}");
    }
    let live = TsNs(rows.ts_recv()[30]);
    let is_said = |error: tickreel::Error| {
        assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupt, Some(&*path)), "{error}");
    };
    let scanned = snapshot.scan(&broken.instrument, Kind::Book, live..TsNs::MAX, ColumnMask::ALL);
    is_said(scanned.and_then(|mut scan| scan.next_batch().map(drop)).unwrap_err());
    is_said(snapshot.book_at(&broken.instrument, TsNs::MAX).unwrap_err());
    let replay = snapshot.replay(std::slice::from_ref(broken), live..TsNs::MAX);
    is_said(replay.and_then(|mut replay| replay.play(true, |_| Ok(true))).unwrap_err());
    let refused = open(&folder).writer(options()).map(drop).unwrap_err();
    assert_eq!((refused.kind(), refused.path()), (ErrorKind::Corrupt, Some(&*path)), "{refused}");
    let report = store.verify(|_, _| {}).unwrap();
    assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
    assert!(report.journal_frames > 4);

    Store::open_for_repair(folder.path()).unwrap().quarantine(&path).unwrap();

    // The same process sees the next generation, and all rows that are not lost.
    let snapshot = elsewhere.snapshot().unwrap();
    let left = scan_all(&snapshot, broken);
    let later = left.ts_recv().partition_point(|&ts| ts < live.0);
    let rest = left.slice_messages(later..left.messages());
    assert_eq!(hash(&rest), hash(&rows.slice_messages(30..60)));
    let last = *rows.ts_recv().last().unwrap();
    let found = Fold::of(&snapshot.book_at(&broken.instrument, TsNs(last)).unwrap());
    assert_eq!(found, Fold::at(&left, last));
    drop(store.writer(options()).unwrap());
}

#[test]
fn rows_behind_a_damaged_segment_are_read_again_when_they_are_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (mut writer, streams) = half_sealed(&store);
    let (broken, rows) = &streams[0];
    damage_newest(&folder, &store.snapshot().unwrap(), broken);
    let elsewhere = Store::open(folder.path()).unwrap();
    let before = elsewhere.snapshot().unwrap();
    assert!(before.book_at(&broken.instrument, TsNs::MAX).is_err());

    // The writer knows the book without the segment.
    writer.seal_all().unwrap();
    let later = book_stream(5, START + 1_000_000_000_000, 1_000_000, 9);
    writer.append(broken, &later).unwrap();
    writer.commit().unwrap();

    let now = elsewhere.snapshot().unwrap();
    let last = *rows.ts_recv().last().unwrap();
    let found = Fold::of(&now.book_at(&broken.instrument, TsNs(last)).unwrap());
    assert_eq!(found, Fold::at(rows, last));
    let live = TsNs(later.ts_recv()[0])..TsNs::MAX;
    let mut scan = now.scan(&broken.instrument, Kind::Book, live, ColumnMask::ALL).unwrap();
    assert_eq!(scan.next_batch().unwrap().map(hash), Some(hash(&later)));
}

#[test]
fn a_damaged_journal_is_moved_aside_and_everything_after_it_may_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (book, trades) = (key("test:A", Kind::Book), key("test:A", Kind::Trades));
    let (levels, prints) =
        (book_stream(60, START, 1_000_000, 1), trade_stream(60, START, 1_000_000, 3));
    let mut writer = store.writer(options()).unwrap();
    for start in (0..60).step_by(10) {
        writer.append(&book, &levels.slice_messages(start..start + 10)).unwrap();
        writer.append(&trades, &prints.slice_messages(start..start + 10)).unwrap();
        writer.commit().unwrap();
    }
    drop(writer);
    let journal = folder.path().join("journal/1.jnl");
    assert!(store.quarantine(&journal).unwrap_err().to_string().contains("not damaged"));
    let mut bytes = std::fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    bytes[used / 2] ^= 4;
    std::fs::write(&journal, bytes).unwrap();
    let store = open(&folder);
    assert!(!store.verify(|_, _| {}).unwrap().damage.is_empty());

    let report = store.quarantine(&journal).unwrap();

    assert_eq!(report.missing.len(), 2);
    assert!(report.missing.iter().all(|missing| missing.rows.is_none()));
    let store = open(&folder);
    assert!(store.verify(|_, _| {}).unwrap().damage.is_empty());
    let snapshot = store.snapshot().unwrap();
    let kept = scan_all(&snapshot, &book);
    let messages = kept.messages() - 1;
    assert!((10..60).contains(&messages));
    assert_eq!(hash(&kept.slice_messages(0..messages)), hash(&levels.slice_messages(0..messages)));
    let now = snapshot.book_at(&book.instrument, TsNs::MAX).unwrap();
    assert!(matches!(now.state(), tickreel::book::State::Stale { .. }));
    // What may be missing of the other kinds is told as well, with the time of each.
    let status = key("test:A", Kind::Status);
    let told = scan_all(&snapshot, &status);
    let [since_book, since_trades] = [&report.missing[0], &report.missing[1]].map(|m| m.since);
    assert_eq!(told.ts_recv(), [since_book.max(since_trades).0]);
    let Value::Text(detail) = told.value(0, 0, status::DETAIL) else { panic!("no text") };
    let detail = String::from_utf8_lossy(detail);
    assert!(detail.contains(&format!("trades after {since_trades}")), "{detail}");
    let coverage = snapshot.coverage(&status.instrument).unwrap();
    let gaps: Vec<_> = coverage.iter().map(|found| (found.key.kind, found.gaps.len())).collect();
    assert_eq!(gaps, [(Kind::Book, 1), (Kind::Trades, 0), (Kind::Status, 1)]);
    // Appending goes on; a reset makes the book live again.
    let mut writer = store.writer(options()).unwrap();
    let mut facts = BatchBuilder::new(Kind::Status);
    let (ts_recv, ts_event) = (TsNs(START + 1_000_000_000_000), None);
    facts.status(&StatusRow { ts_recv, ts_event, what: StatusWhat::Connected, detail: "again" });
    writer.append(&status, &facts.finish().unwrap()[0]).unwrap();
    assert_eq!(scan_all(&store.snapshot().unwrap(), &status).rows(), 2);
    let later = book_stream(5, START + 1_000_000_000_000, 1_000_000, 9);
    writer.append(&book, &later).unwrap();
    writer.commit().unwrap();
    let now = store.snapshot().unwrap().book_at(&book.instrument, TsNs::MAX).unwrap();
    assert_eq!(now.state(), tickreel::book::State::Live);
}

/// What it has shown is no longer there: it sees what everybody sees then, and a replay that played
/// it ends with an error.
#[test]
fn a_reader_that_follows_a_journal_sees_when_it_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let keys = [key("test:A", Kind::Book), key("test:A", Kind::Trades)];
    let rows = [book_stream(60, START, 1_000_000, 1), trade_stream(60, START, 1_000_000, 3)];
    let append = |writer: &mut Writer, rows: &[Batch; 2]| {
        for start in (0..rows[0].messages()).step_by(10) {
            for (key, rows) in keys.iter().zip(rows) {
                writer.append(key, &rows.slice_messages(start..start + 10)).unwrap();
            }
            writer.commit().unwrap();
        }
    };
    let hashes = |snapshot: &Snapshot| keys.clone().map(|key| hash(&scan_all(snapshot, &key)));
    let mut writer = store.writer(options()).unwrap();
    append(&mut writer, &rows);
    drop(writer);
    let whole = [&rows[0], &rows[1]].map(hash);
    let early = open(&folder);
    let held = early.snapshot().unwrap();
    let mut replay = held.replay(&keys, TsNs::MIN..TsNs::MAX).unwrap();
    replay.play(true, |_| Ok(true)).unwrap();
    let journal = folder.path().join("journal/1.jnl");
    let mut bytes = std::fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    bytes[used / 2] ^= 4;
    std::fs::write(&journal, bytes).unwrap();
    assert_eq!(hashes(&early.snapshot().unwrap()), whole, "it has read them");
    let late = open(&folder);
    let before = late.snapshot().unwrap();
    assert!(scan_all(&before, &keys[1]).rows() < 60, "it has not");

    store.quarantine(&journal).unwrap();

    let wait = std::time::Duration::from_secs(20);
    let readers = [(&early, &held), (&late, &before)];
    let check = || {
        let expected = hashes(&open(&folder).snapshot().unwrap());
        for (reader, seen) in readers {
            assert_eq!(hashes(&reader.snapshot_after(seen, wait).unwrap()), expected);
        }
    };
    check();
    let now = early.snapshot().unwrap();
    let book = now.book_at(&keys[0].instrument, TsNs::MAX).unwrap();
    assert!(matches!(book.state(), tickreel::book::State::Stale { .. }));
    let error = replay.follow(&now).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale, "{error}");
    let mut waits = held.replay(&keys, TsNs(START + 900_000_000_000)..TsNs::MAX).unwrap();
    waits.follow(&now).unwrap();
    assert_eq!(hashes(&held), whole, "what is held stays");
    // Rows that come now have the numbers of those that are gone.
    let mut writer = store.writer(options()).unwrap();
    let later = [
        book_stream(80, START + 1_000_000_000_000, 1, 9),
        trade_stream(80, START + 1_000_000_000_000, 1, 8),
    ];
    append(&mut writer, &later);
    check();
    drop(writer);
    check();
}

/// One step of a program.
#[derive(Clone, Debug)]
enum Action {
    Append { stream: usize, messages: usize },
    Commit,
    Maintain,
    SealAll,
    Reopen,
    Import,
    Check,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0..4usize, 1..60usize)
            .prop_map(|(stream, messages)| Action::Append { stream, messages }),
        4 => Just(Action::Commit),
        3 => Just(Action::Maintain),
        1 => Just(Action::SealAll),
        2 => Just(Action::Reopen),
        1 => Just(Action::Import),
        3 => Just(Action::Check),
    ]
}

/// Streams of a program: their rows are taken from these, front to back.
fn sources(seed: u64) -> Vec<(StreamKey, Batch)> {
    vec![
        (key("test:A", Kind::Book), book_stream(1500, START, 4_000_000_000, seed)),
        (key("test:A", Kind::Trades), trade_stream(1500, START, 4_000_000_000, seed + 1)),
        (key("other:B", Kind::Book), book_stream(1500, START, 4_000_000_000, seed + 2)),
        (key("other:B", Kind::Trades), trade_stream(1500, START, 4_000_000_000, seed + 3)),
    ]
}

fn run(seed: u64, actions: &[Action]) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(OsDisk);
    let open = || Store::open_or_create_on(disk.clone(), folder.path(), 7).unwrap();
    let (mut store, elsewhere) = (open(), open());
    let mut writer: Option<Writer> = Some(store.writer(options()).unwrap());
    let sources = sources(seed);
    let mut model = Model::default();
    let mut random = Random(seed | 1);
    for action in actions {
        let live = writer.as_mut().unwrap();
        match action {
            Action::Append { stream, messages } => {
                let (key, source) = &sources[*stream];
                let at = model.accepted.get(key).map_or(0, Batch::messages);
                let rows = source.slice_messages(at..at + messages);
                live.append(key, &rows).unwrap();
                model.accept(key, &rows);
            }
            Action::Commit => {
                live.commit().unwrap();
                model.commit();
            }
            Action::Maintain => {
                live.commit().unwrap();
                live.maintain().unwrap();
                model.commit();
            }
            Action::SealAll => {
                live.seal_all().unwrap();
                model.commit();
            }
            Action::Reopen | Action::Import => {
                drop(writer.take());
                store = open();
                model.crash(&store);
                model.commit();
                if matches!(action, Action::Import) {
                    drop(store.import(ImportOptions::default()).unwrap());
                }
                writer = Some(store.writer(options()).unwrap());
            }
            Action::Check => {
                model.check(&store.snapshot().unwrap(), false, &mut random);
                model.check(&store.durable_snapshot().unwrap(), true, &mut random);
                model.check(&elsewhere.snapshot().unwrap(), true, &mut random);
            }
        }
    }
    model.check(&store.snapshot().unwrap(), false, &mut random);
    drop(writer);
    let report = open().verify(|_, _| {}).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn programs_of_appends_seals_and_reopens_equal_a_list(
        seed in 1..1_000_000u64,
        actions in prop::collection::vec(action(), 1..60),
    ) {
        run(seed, &actions);
    }
}
