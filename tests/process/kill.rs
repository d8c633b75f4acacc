//! Writers are killed while readers of other processes read.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tickreel::TsNs;
use tickreel::store::{Snapshot, Store};

use crate::expected::Expected;
use crate::job::{Job, Syncs};
use crate::oracle::Random;
use crate::source::STREAMS;
use crate::writer::{Counts, Life, WriterProcess};
use crate::{from_env, random, say};

/// How long a reader waits for more rows.
const WAIT: Duration = Duration::from_millis(20);

/// Lives after which a store is so large that a new one is begun.
const LIVES_PER_STORE: u64 = 60;

#[test]
fn writers_that_are_killed_lose_nothing_and_disturb_no_reader() {
    let (mut lives, mut random) = (from_env("TICKREEL_KILLS", 60), random(1));
    while lives > 0 {
        let of_store = lives.min(LIVES_PER_STORE);
        live_and_die_while_read(of_store, &mut random);
        lives -= of_store;
    }
}

fn live_and_die_while_read(lives: u64, random: &mut Random) {
    let folder = tempfile::tempdir().unwrap();
    let (root, log) = (&folder.path().join("store"), &folder.path().join("errors"));
    drop(Store::open_or_create(root).unwrap());
    let ended = &AtomicBool::new(false);
    let counts = thread::scope(|scope| {
        let readers: [fn(&Path, &AtomicBool); 3] = [read_rows, read_books, follow];
        let readers = readers.map(|read| scope.spawn(move || read(root, ended)));
        let end = End(ended);
        let counts = live_and_die(root, log, lives, random, || {
            assert!(readers.iter().all(|reader| !reader.is_finished()), "a reader failed");
        });
        drop(end);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        counts
    });
    let snapshot = Store::open(root).unwrap().snapshot().unwrap();
    let segments = snapshot.manifest().segments().len();
    say(&format!("{lives} lives, {segments} segments, messages: {counts:?}"));
    assert!(segments > 0 || lives < LIVES_PER_STORE, "nothing was sealed");
}

/// Tells the readers to end, also when a check failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets one writer after another write into a store and die; what the store holds then.
fn live_and_die(
    root: &Path,
    log: &Path,
    lives: u64,
    random: &mut Random,
    between: impl Fn(),
) -> Counts {
    let mut expected = Expected::new();
    let mut counts = vec![0; STREAMS];
    for nth in 0..lives {
        let closed = nth % 8 == 6;
        let job = match nth % 8 {
            1 => Job::Seal,
            5 => Job::Compact,
            3 | 7 => Job::Recover,
            _ => Job::Record,
        };
        let mut writer = WriterProcess::start(job, Syncs::Kept, root, log);
        let life = Life::any(random);
        writer.live(&life, counts[0]);
        let durable = if closed { writer.close() } else { writer.kill() };
        let at_least: Vec<_> = durable.iter().zip(&counts).map(|(a, b)| *a.max(b)).collect();
        counts = expected
            .check_store(root, &at_least, random)
            .unwrap_or_else(|wrong| panic!("{job:?} {nth}, {life:?}: {wrong}"));
        assert!(!closed || durable == counts, "closed with {durable:?}, found {counts:?}");
        between();
    }
    counts
}

/// A snapshot that shows something else than `seen` does, or the same after some time.
fn next(store: &Store, seen: &Snapshot) -> Snapshot {
    store.snapshot_after(seen, WAIT).unwrap()
}

/// Reads all rows of some stream, of the newest snapshot and of one that is held for long.
fn read_rows(root: &Path, ended: &AtomicBool) {
    let (mut expected, mut random) = (Expected::new(), Random(3));
    let store = Store::open(root).unwrap();
    let mut snapshot = store.snapshot().unwrap();
    let mut counts = vec![0; STREAMS];
    let mut held = (snapshot.clone(), counts.clone());
    while !ended.load(Ordering::Relaxed) {
        snapshot = next(&store, &snapshot);
        counts = expected.check(&snapshot, &counts).unwrap();
        if random.below(20) == 0 {
            held = (snapshot.clone(), counts.clone());
        }
        for (snapshot, counts) in [(&snapshot, &counts), (&held.0, &held.1)] {
            let stream = usize::try_from(random.below(STREAMS as u64)).unwrap();
            for stream in [stream % 2, stream] {
                expected.check_rows(snapshot, stream, counts[stream]).unwrap();
            }
        }
    }
}

/// Asks for books.
fn read_books(root: &Path, ended: &AtomicBool) {
    let (mut expected, mut random) = (Expected::new(), Random(4));
    let store = Store::open(root).unwrap();
    let mut snapshot = store.snapshot().unwrap();
    let mut counts = vec![0; STREAMS];
    while !ended.load(Ordering::Relaxed) {
        snapshot = next(&store, &snapshot);
        counts = expected.check(&snapshot, &counts).unwrap();
        for _ in 0..10 {
            expected.check_book(&snapshot, 0, counts[0], &mut random).unwrap();
        }
    }
}

/// Follows a replay of the busy streams from the first row to whatever comes.
fn follow(root: &Path, ended: &AtomicBool) {
    let mut expected = Expected::new();
    let store = Store::open(root).unwrap();
    let mut snapshot = store.snapshot().unwrap();
    let mut counts = vec![0; STREAMS];
    let mut replay = None;
    while !ended.load(Ordering::Relaxed) {
        snapshot = next(&store, &snapshot);
        counts = expected.check(&snapshot, &counts).unwrap();
        if counts[0] == 0 || counts[1] == 0 {
            continue;
        }
        let keys = [0, 1].map(|stream| expected.source(stream).key.clone());
        let replay =
            replay.get_or_insert_with(|| snapshot.replay(&keys, TsNs::MIN..TsNs::MAX).unwrap());
        replay.follow(&snapshot).unwrap();
        replay.play(true, |_| Ok(true)).unwrap();
        for (stream, total) in replay.stream_totals().iter().enumerate() {
            assert_eq!(total.key, keys[stream]);
            assert_eq!(total.hash, expected.hash(stream, counts[stream]), "{}", total.key);
        }
    }
}
