//! What lies in a store folder: what the store gave a name, what others did, and how much it holds.

mod oracle;

use std::fs;
use std::path::Path;

use oracle::{START, import, key, trade_stream};
use tickreel::catalog::{self, Manifest};
use tickreel::disk::{Disk, OsDisk};
use tickreel::event::Kind;
use tickreel::format::manifest::{Contents, SegmentEntry, encode_current};
use tickreel::segment::ColumnMask;
use tickreel::store::{ImportOptions, Store};
use tickreel::{ErrorKind, TsNs, limit};

const TRADES: &str = "segments/0/2024-08-08";

/// A store with one stream of trades.
fn store(folder: &Path) -> Store {
    let store = Store::open_or_create(folder).unwrap();
    import_trades(&store, "test:T").unwrap();
    store
}

fn import_trades(store: &Store, name: &str) -> tickreel::Result<()> {
    let batch = trade_stream(20, START, 1000, 1);
    let streams = [(key(name, Kind::Trades), &batch)];
    import(store, ImportOptions::default(), &streams, 100).map(|_| ())
}

#[test]
fn strangers_are_reported_and_left_alone_and_unfinished_files_go_with_the_next_writer() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let store = store(root);
    let unfinished = ["CURRENT.tmp", "manifest-3.tmp", &format!("{TRADES}/9.seg.tmp")]
        .map(|name| root.join(name));
    let folders = ["notes", "manifest-1", "segments/x", "segments/00", "segments/0/2024-8-8"];
    let files = [
        "notes.tmp",
        "LOCK.tmp",
        "manifest-01",
        "manifest-+4",
        "segments/notes.txt",
        "journal/01.jnl",
        "journal/1.seg",
        &format!("{TRADES}/007.seg"),
        &format!("{TRADES}/+9.seg"),
        &format!("{TRADES}/9.seg.tmp.tmp"),
        &format!("{TRADES}/copy of 1.seg"),
    ];
    fs::create_dir_all(root.join("journal")).unwrap();
    for name in folders {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("9.seg"), b"not ours").unwrap();
    }
    for path in files.iter().map(|name| root.join(name)).chain(unfinished.clone()) {
        fs::write(path, b"not ours, or not whole").unwrap();
    }
    let mut strangers: Vec<_> = folders.iter().chain(&files).map(|name| root.join(name)).collect();
    strangers.sort();

    let report = store.verify(|_, _| ()).unwrap();
    assert!(report.damage.is_empty());
    assert_eq!(report.strangers, strangers);
    assert!(unfinished.iter().all(|path| path.exists()), "a verifier deletes nothing");

    import_trades(&store, "test:OTHER").unwrap();
    assert!(!unfinished.iter().any(|path| path.exists()), "the next writer clears them away");
    assert_eq!(store.verify(|_, _| ()).unwrap().strangers, strangers);
    for name in folders {
        assert!(root.join(name).join("9.seg").exists(), "{name}");
    }
}

#[test]
fn a_segment_with_other_scales_than_its_manifest_says_is_refused_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let manifest = Manifest::load(&OsDisk, folder.path()).unwrap();
    let mut contents = manifest.contents().clone();
    contents.generation += 1;
    let mut segments = manifest.segments().to_vec();
    segments[0].scales[3] += 1;
    catalog::commit(&OsDisk, folder.path(), &contents, &segments).unwrap();

    let store = Store::open(store.root()).unwrap();
    let instrument = "test:T".parse().unwrap();
    let snapshot = store.snapshot().unwrap();
    let read = snapshot
        .scan(&instrument, Kind::Trades, TsNs::MIN..TsNs::MAX, ColumnMask::ALL)
        .and_then(|mut scan| scan.next_batch().map(|_| ()));

    let error = read.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("scales differ from the manifest's"), "{error}");
    assert!(error.path().is_some() && error.byte_offset().is_some(), "{error}");
    assert_eq!(store.verify(|_, _| ()).unwrap().damage.len(), 1);
}

#[test]
fn a_store_has_no_more_streams_than_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let mut contents = store.snapshot().unwrap().manifest().contents().clone();
    contents.generation += 1;
    contents.next_stream_id = u32::try_from(limit::STREAMS_MAX).unwrap() - 1;
    catalog::commit(&OsDisk, folder.path(), &contents, &[]).unwrap();

    import_trades(&store, "test:LAST").unwrap();
    let error = import_trades(&store, "test:ONE_MORE").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn a_manifest_has_no_more_bytes_than_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let contents = Contents {
        store_id: 1,
        generation: 2,
        next_segment_id: 1,
        next_stream_id: 0,
        first_journal: 1,
        next_seq: 1,
        streams: Vec::new(),
    };
    let entry: SegmentEntry = bytemuck::Zeroable::zeroed();
    let most = usize::try_from(limit::MANIFEST_BYTES_MAX).unwrap() / 128 - 1;
    let error = catalog::commit(&OsDisk, root, &contents, &vec![entry; most + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(OsDisk.list(root).unwrap().is_empty(), "nothing was written");
    catalog::commit(&OsDisk, root, &contents, &vec![entry; most]).unwrap();
    let path = root.join("manifest-2");
    assert_eq!(fs::metadata(&path).unwrap().len(), limit::MANIFEST_BYTES_MAX);

    let load = |bytes: u64| {
        let path = root.join("manifest-3");
        fs::write(root.join("CURRENT"), encode_current(3, 0)).unwrap();
        fs::File::create(path).unwrap().set_len(bytes).unwrap();
        Manifest::load(&OsDisk, root).unwrap_err()
    };
    assert!(load(limit::MANIFEST_BYTES_MAX).to_string().contains("not a manifest (magic)"));
    let error = load(limit::MANIFEST_BYTES_MAX + 1);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("longer than a manifest may be"), "{error}");
    assert_eq!((error.path(), error.byte_offset()), (Some(&*root.join("manifest-3")), Some(0)));
}
