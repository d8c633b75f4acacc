//! An import is seen whole or not at all, once, and never disturbs a reader.

mod oracle;

use std::fs;
use std::path::Path;

use oracle::{Fold, START, book_stream, import, key, trade_stream};
use tickreel::event::{Batch, BatchBuilder, Kind, MessageHead, Side};
use tickreel::segment::ColumnMask;
use tickreel::store::{ImportOptions, Store};
use tickreel::{ErrorKind, TsNs};

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn count_rows(store: &Store) -> u64 {
    store.snapshot().unwrap().stream_infos().iter().map(|info| info.rows).sum()
}

#[test]
fn the_same_range_twice_is_refused_and_replaced_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let name = key("test:BOOK", Kind::Book);
    let (old, new) = (book_stream(500, START, 9_000_000, 1), book_stream(900, START, 9_000_000, 2));
    import(&store, ImportOptions::default(), &[(name.clone(), &old)], 100).unwrap();
    let before = files(folder.path());
    let reader = store.snapshot().unwrap();

    let error = import(&store, ImportOptions::default(), &[(name.clone(), &old)], 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(
        error.to_string().contains("test:BOOK book") && error.to_string().contains("--replace")
    );
    assert_eq!(files(folder.path()), before, "a refused import leaves nothing");

    let replace = ImportOptions { replace: true, ..ImportOptions::default() };
    let report = import(&store, replace, &[(name.clone(), &new)], 100).unwrap();
    assert_eq!(report.replaced_segments, 1);
    assert_eq!(count_rows(&store), new.rows() as u64);
    let at = TsNs(new.ts_recv()[400]);
    let book = store.snapshot().unwrap().book_at(&name.instrument, at).unwrap();
    assert_eq!(Fold::of(&book), Fold::at(&new, at.0));
    // The reader that was there before still sees what it saw.
    let book = Store::open(folder.path()).unwrap();
    drop(book);
    let old_book = reader.book_at(&name.instrument, at).unwrap();
    assert_eq!(Fold::of(&old_book), Fold::at(&old, at.0));
    drop(reader);
    assert!(store.verify(|_, _| ()).unwrap().damage.is_empty());

    // A range that cuts stored rows in two is refused.
    let part = new.slice_messages(0..1);
    let error = import(&store, replace, &[(name.clone(), &part)], 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(error.to_string().contains("reach beyond"), "{error}");
    assert_eq!(count_rows(&store), new.rows() as u64);
}

#[test]
fn rows_between_imported_ones_are_not_lost_unless_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let name = key("test:T", Kind::Trades);
    let batch = trade_stream(90, START, 1000, 1);
    let [before, between, after] = [0, 30, 60].map(|at| batch.slice_messages(at..at + 30));
    import(&store, ImportOptions::default(), &[(name.clone(), &between)], 100).unwrap();
    let around = [(name.clone(), &before), (name.clone(), &after)];

    let error = import(&store, ImportOptions::default(), &around, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(error.to_string().contains("between imported ones"), "{error}");
    assert_eq!(count_rows(&store), 30);
    for side in around {
        import(&store, ImportOptions::default(), &[side], 100).unwrap();
    }
    assert_eq!(count_rows(&store), 90);

    let replace = ImportOptions { replace: true, ..ImportOptions::default() };
    let around = [(name.clone(), &before), (name, &after)];
    assert_eq!(import(&store, replace, &around, 100).unwrap().replaced_segments, 3);
    assert_eq!(count_rows(&store), 60);
}

#[test]
fn files_of_a_held_snapshot_stay_and_go_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let name = key("test:T", Kind::Trades);
    let batch = trade_stream(50, START, 1000, 1);
    import(&store, ImportOptions::default(), &[(name.clone(), &batch)], 100).unwrap();
    let replace = ImportOptions { replace: true, ..ImportOptions::default() };

    // Another handle, as another process would have, that has not opened the segment yet.
    let reader = Store::open(folder.path()).unwrap().snapshot().unwrap();
    import(&store, replace, &[(name.clone(), &batch)], 100).unwrap();
    let range = TsNs::MIN..TsNs::MAX;
    let mut scan = reader.scan(&name.instrument, Kind::Trades, range, ColumnMask::ALL).unwrap();
    assert_eq!(scan.next_batch().unwrap().unwrap().rows(), 50);
    let held = files(folder.path()).iter().filter(|file| file.ends_with(".seg")).count();
    assert_eq!(held, 2);

    drop((scan, reader));
    import(&store, replace, &[(name.clone(), &batch)], 100).unwrap();
    let segments = files(folder.path()).iter().filter(|file| file.ends_with(".seg")).count();
    let manifests = files(folder.path()).iter().filter(|f| f.contains("manifest-")).count();
    assert_eq!((segments, manifests), (1, 1));
}

#[test]
fn a_dropped_import_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let name = key("test:BOOK", Kind::Book);
    let batch = book_stream(500, START, 9_000_000_000, 1);
    let before = files(folder.path());

    let mut unfinished = store.import(ImportOptions::default()).unwrap();
    unfinished.append(&name, &batch).unwrap();
    assert!(unfinished.rows() > 0);
    let second = store.import(ImportOptions::default()).err().unwrap();
    assert_eq!(second.kind(), ErrorKind::Locked);
    drop(unfinished);
    let after: Vec<_> =
        files(folder.path()).into_iter().filter(|file| !file.ends_with("LOCK")).collect();
    let before: Vec<_> = before.into_iter().filter(|file| !file.ends_with("LOCK")).collect();
    assert_eq!(after, before);

    // What a killed import leaves is cleared by the next one; strangers are not.
    let day = folder.path().join("segments/0/2024-08-08");
    fs::create_dir_all(&day).unwrap();
    for name in ["7.seg", "8.seg.tmp", "notes.txt"] {
        fs::write(day.join(name), b"half").unwrap();
    }
    import(&store, ImportOptions::default(), &[(name, &batch)], 100).unwrap();
    assert!(!day.join("7.seg").exists() && !day.join("8.seg.tmp").exists());
    assert!(day.join("notes.txt").exists());
    let report = store.verify(|_, _| ()).unwrap();
    assert!(report.damage.is_empty());
    assert_eq!(report.strangers, [day.join("notes.txt")]);
}

#[test]
fn rows_that_cannot_be_stored_are_refused_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let name = key("test:BOOK", Kind::Book);
    let mut builder = BatchBuilder::new(Kind::Book);
    builder.begin(MessageHead { ts_recv: TsNs(START), ..MessageHead::default() });
    builder.level_text(Side::Bid, "1", "1").unwrap();
    builder.end();
    let no_reset = builder.finish().unwrap().pop().unwrap();
    let try_append = |batches: &[&Batch]| {
        let mut import = store.import(ImportOptions::default()).unwrap();
        batches.iter().try_for_each(|batch| import.append(&name, batch)).unwrap_err()
    };

    assert!(try_append(&[&no_reset]).to_string().contains("must be a reset"));
    let batch = book_stream(10, START, 9_000_000, 1);
    let later = book_stream(10, START + 1_000_000_000, 9_000_000, 1);
    assert!(try_append(&[&later, &batch]).to_string().contains("go back"));
    assert!(try_append(&[&trade_stream(5, START, 5, 5)]).to_string().contains("rows of trades"));
}

#[test]
fn rows_before_a_day_that_continues_them_must_be_imported_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let name = key("test:BOOK", Kind::Book);
    // Two days from one import: the second day starts without a reset.
    let batch = book_stream(200, START, 60_000_000_000, 77);
    import(&store, ImportOptions::default(), &[(name.clone(), &batch)], 50).unwrap();
    let snapshot = store.snapshot().unwrap();
    let first_day_end = TsNs(START).day().end().0;
    let cut = batch.ts_recv().partition_point(|&ts| ts < first_day_end);
    assert!(snapshot.segments(0).len() == 2 && cut < batch.messages());

    let replace = ImportOptions { replace: true, ..ImportOptions::default() };
    let first_day = batch.slice_messages(0..cut);
    let error = import(&store, replace, &[(name.clone(), &first_day)], 50).unwrap_err();
    assert!(error.to_string().contains("continue the book"), "{error}");
    import(&store, replace, &[(name, &batch)], 50).unwrap();
    assert!(store.verify(|_, _| ()).unwrap().damage.is_empty());
}

#[test]
fn damage_anywhere_in_a_store_is_found_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let name = key("test:BOOK", Kind::Book);
    let batch = book_stream(30, START, 9_000_000, 3);
    import(&store, ImportOptions::default(), &[(name.clone(), &batch)], 100).unwrap();
    let at = TsNs(batch.ts_recv()[20]);
    let expected = Fold::at(&batch, at.0);
    for file in files(folder.path()).iter().filter(|file| !file.ends_with("LOCK")) {
        let bytes = fs::read(file).unwrap();
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        for at_byte in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[at_byte] ^= 1 << (at_byte % 8);
            fs::write(file, &damaged).unwrap();
            let verified = Store::open(folder.path()).and_then(|store| {
                let answer = store.snapshot()?.book_at(&name.instrument, at);
                if let Ok(answer) = answer {
                    assert_eq!(Fold::of(&answer), expected, "{file} byte {at_byte}");
                }
                store.verify(|_, _| ())
            });
            assert!(
                verified.map_or_else(|_| true, |report| !report.damage.is_empty()),
                "{file} byte {at_byte} is not noticed"
            );
        }
        fs::write(file, &bytes).unwrap();
        fs::remove_file(file).unwrap();
        let gone = Store::open(folder.path()).and_then(|store| store.verify(|_, _| ()));
        assert!(gone.map_or_else(|_| true, |report| !report.damage.is_empty()), "{file}");
        fs::write(file, &bytes).unwrap();
    }
    assert!(store.verify(|_, _| ()).unwrap().damage.is_empty());
}

#[test]
fn what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Store::open(folder.path()).unwrap_err().kind(), ErrorKind::NotFound);
    fs::write(folder.path().join("thesis.tex"), b"x").unwrap();
    let error = Store::open_or_create(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(error.to_string().contains("thesis.tex"));
    let store = Store::open_or_create(folder.path().join("new")).unwrap();
    let error = store.snapshot().unwrap().book_at(&"a:B".parse().unwrap(), TsNs(0)).unwrap_err();
    assert!(error.to_string().contains("the store is empty"), "{error}");
}
