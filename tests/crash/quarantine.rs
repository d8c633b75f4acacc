//! A quarantine that is killed, loses power or fails at any operation: what could be read before
//! can be read after it or lies in `quarantine/`, and another one ends well.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tickreel::event::StreamKey;
use tickreel::store::{QuarantineReport, Store, VerifyReport};
use tickreel::{Error, ErrorKind};

use crate::live::{LIVE_START, is_clear, live_batch, live_options};
use crate::model::{Contents, ROOT, Row, read, scan, without_panic};
use crate::power::Keep;
use crate::program::{Step, stream_key};
use crate::sim::{Fault, NodeId, Plan, SimDisk, State};
use crate::world::World;

/// Two segments of a book and of trades, and some journal files that go on with them.
fn program() -> Vec<Step> {
    let append = |stream, messages, seed| Step::Append { stream, messages, seed, after_ns: 5 };
    vec![
        Step::Open,
        append(0, 2, 1),
        append(1, 2, 2),
        Step::Seal,
        append(0, 1, 2),
        append(1, 1, 3),
        Step::Seal,
        append(0, 2, 3),
        append(1, 9, 4),
        append(2, 9, 5),
        Step::Commit,
        append(0, 2, 5),
        append(1, 9, 6),
        append(2, 9, 7),
        Step::Commit,
    ]
}

/// A damaged store, and what must not be lost of it.
struct Damaged {
    state: State,
    /// The damaged file.
    file: PathBuf,
    /// The stream whose segment it is, and the receive times of the segment.
    lost: Option<(StreamKey, i64, i64)>,
    /// The rows that do not need the damaged file.
    rows: Contents,
    /// Bytes that must be in some file.
    bytes: Vec<Vec<u8>>,
}

fn open(disk: &SimDisk) -> tickreel::Result<Store> {
    Store::open_on(Arc::new(disk.clone()), Path::new(ROOT))
}

fn contents(state: &State) -> Contents {
    read(&open(&SimDisk::new(state.clone())).unwrap().snapshot().unwrap()).unwrap()
}

/// The files whose names end so.
fn files(state: &State, end: &str) -> Vec<(PathBuf, NodeId)> {
    let mut files = state.files();
    files.retain(|(path, _)| path.to_str().is_some_and(|path| path.ends_with(end)));
    files
}

fn whole_store() -> State {
    let mut world = World::empty(|disk| disk);
    world.run(&program()).unwrap();
    world.disk.state()
}

/// The store with another bit in the middle of what a file holds before zeros.
fn flip(state: &State, file: NodeId) -> State {
    let mut bytes = state.bytes(file).unwrap().to_vec();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[used / 2] ^= 4;
    state.with_bytes(file, bytes)
}

impl Damaged {
    /// A journal file between others is damaged, and another one of its name was before.
    fn journal() -> Self {
        let whole = whole_store();
        let journals = files(&whole, ".jnl");
        assert!(journals.len() > 2, "{} journal files", journals.len());
        let (file, node) = journals[1].clone();
        let mut state = flip(&whole, node);
        let number = file.file_stem().unwrap().to_str().unwrap();
        let other = Path::new(ROOT).join(format!("quarantine/journal-{number}.bad"));
        state.create_folder(other.parent().unwrap()).unwrap();
        let node = state.create(&other).unwrap();
        state.write(node, 0, b"of another time");
        let state = state.crash(|_| true);
        let rows = contents(&state);
        assert!(rows.values().any(|rows| rows.len() > 2) && rows != contents(&whole));
        let of_file = |(_, node): &(PathBuf, NodeId)| state.bytes(*node).unwrap().to_vec();
        let mut bytes: Vec<_> = files(&state, ".jnl").iter().map(of_file).collect();
        bytes.push(b"of another time".to_vec());
        Self { file, lost: None, rows, bytes, state }
    }

    /// A segment between others, the newest, which rows of the journal go on with, or none.
    fn segments() -> [Self; 5] {
        let [book, trades] = [0, 1].map(stream_key);
        [
            Self::segment(&book, 0),
            Self::segment(&book, 1),
            Self::segment(&trades, 1),
            Self::segment(&book, 1).gone(),
            Self::segment(&trades, 0).gone(),
        ]
    }

    /// Segment `number` of a stream is damaged.
    fn segment(key: &StreamKey, number: usize) -> Self {
        let whole = whole_store();
        let snapshot = open(&SimDisk::new(whole.clone())).unwrap().snapshot().unwrap();
        let id = snapshot.stream_id(&key.instrument, key.kind).unwrap();
        let entry = snapshot.segments(id)[number];
        let name = format!("/{}.seg", entry.segment_id);
        let (file, node) = files(&whole, &name).pop().unwrap();
        let state = flip(&whole, node);
        let lost = (key.clone(), entry.ts_recv_first, entry.ts_recv_last);
        let mut rows = contents(&whole);
        let of_stream = Arc::make_mut(rows.get_mut(key).unwrap());
        let before = of_stream.len();
        of_stream.retain(|row| row[0] < lost.1 || lost.2 < row[0]);
        assert!(!of_stream.is_empty() && of_stream.len() < before);
        let bytes = vec![state.bytes(node).unwrap().to_vec()];
        Self { file, lost: Some(lost), rows, bytes, state }
    }

    /// The same without the file.
    fn gone(mut self) -> Self {
        self.state.unlink(&self.file).unwrap();
        self.state = self.state.crash(|_| true);
        self.bytes.clear();
        self
    }

    fn quarantine(&self, disk: &SimDisk) -> tickreel::Result<QuarantineReport> {
        open(disk)?.quarantine(&self.file)
    }

    /// Whether nothing is lost; all streams must be readable if `repaired`.
    fn holds(&self, disk: &SimDisk, repaired: bool) -> Result<(), String> {
        let wrong = |error: Error| format!("cannot be read: {error}");
        let snapshot = open(disk).and_then(|store| store.snapshot()).map_err(wrong)?;
        for (key, rows) in &self.rows {
            let lost = self.lost.as_ref().filter(|lost| lost.0 == *key);
            if lost.is_some() && !repaired {
                continue;
            }
            let (mut found, ended) = scan(&snapshot, key);
            ended.map_err(wrong)?;
            if let Some((_, first, last)) = lost {
                found.retain(|row: &Row| row[0] < *first || *last < row[0]);
            }
            if !found.starts_with(rows) {
                return Err(format!("{key}: {} rows are left of {}", found.len(), rows.len()));
            }
        }
        let state = disk.state();
        let there: HashSet<&[u8]> =
            state.files().iter().map(|(_, node)| state.bytes(*node).unwrap()).collect();
        match self.bytes.iter().all(|bytes| there.contains(&**bytes)) {
            true => Ok(()),
            false => Err("the bytes of a file are gone".to_owned()),
        }
    }

    /// Judges what was left by a quarantine that ended somewhere: nothing is lost, another one ends
    /// well, and a writer can go on.
    fn judge(&self, state: State) -> Result<(), String> {
        without_panic(|| {
            let disk = SimDisk::new(state);
            self.holds(&disk, false)?;
            match self.quarantine(&disk) {
                // The first one did all.
                Err(error) if error.kind() == ErrorKind::Invalid => {}
                again => drop(again.map_err(|error| format!("another one fails: {error}"))?),
            }
            self.holds(&disk, true)?;
            let key = stream_key(2);
            let rows = self.rows.get(&key).and_then(|rows| rows.last());
            let last = rows.map_or(LIVE_START, |row| row[0]);
            let go_on = || {
                let mut writer = open(&disk)?.writer(live_options())?;
                writer.append(&key, &live_batch(&key, last, 3, 77, true))?;
                writer.commit()?;
                open(&disk)?.verify(|_, _| ())
            };
            let report = go_on().map_err(|error: Error| format!("nobody can go on: {error}"))?;
            self.holds(&disk, true)?;
            match report.damage.first().map(|damage| &damage.error) {
                Some(error) => Err(format!("it is damaged: {error}")),
                None => Ok(()),
            }
        })
    }

    /// A kill and power cuts at every operation, and a power cut at every operation of the
    /// quarantine after a kill.
    fn every_end(&self) {
        let mut judged = HashSet::new();
        let mut judge = |state: &State, keep: Option<Keep>, point: &dyn Fn() -> String| {
            let state = keep.map_or_else(|| state.clone(), |keep| keep.apply(state));
            if judged.insert((state.digest(), state.pending())) {
                let judgement = self.judge(state);
                judgement.unwrap_or_else(|what| panic!("{}, {keep:?}: {what}", point()));
            }
        };
        let disk = SimDisk::new(self.state.clone()).record();
        self.quarantine(&disk).unwrap();
        let mut version = usize::MAX;
        for (operation, state) in disk.history().iter().enumerate() {
            if std::mem::replace(&mut version, state.version()) == state.version() {
                continue;
            }
            let point = || format!("the end before {}", disk.describe(operation));
            judge(state, None, &point);
            for keep in Keep::variants(state.pending()) {
                judge(state, Some(keep), &point);
            }
            let again = SimDisk::new(state.clone()).record();
            drop(self.quarantine(&again));
            for (operation, state) in again.history().iter().enumerate() {
                let point = || format!("{}, then {}", point(), again.describe(operation));
                Keep::whole(0).into_iter().for_each(|keep| judge(state, Some(keep), &point));
            }
        }
        println!("{} operations, {} ends", disk.operations(), judged.len());
    }

    /// Every operation fails in every way, once or from then on.
    fn every_failure(&self) {
        let clean = SimDisk::new(self.state.clone());
        self.quarantine(&clean).unwrap();
        let (mut judged, mut runs) = (HashSet::new(), 0);
        for (at, what) in clean.asked().into_iter().enumerate() {
            for fault in Fault::ALL.into_iter().filter(|fault| fault.strikes(what)) {
                for forever in [false, true] {
                    let plan = Plan { at, fault, forever };
                    let disk = SimDisk::new(self.state.clone()).plan(plan);
                    let point = || format!("{plan:?}, {}", disk.describe(at));
                    let done = without_panic(|| Ok(self.quarantine(&disk))).unwrap();
                    assert!(disk.struck() > 0 && !disk.retried(), "{}", point());
                    let unclear = done.err().filter(|error| !is_clear(error));
                    assert!(unclear.is_none(), "{}: {unclear:?}", point());
                    runs += 1;
                    let state = disk.state();
                    let ends = [state.clone(), Keep::All.apply(&state), Keep::None.apply(&state)];
                    for state in ends {
                        if judged.insert((state.digest(), state.pending())) {
                            let judgement = self.judge(state);
                            judgement.unwrap_or_else(|what| panic!("{}: {what}", point()));
                        }
                    }
                }
            }
        }
        println!("{runs} runs, {} ends", judged.len());
    }
}

#[test]
fn a_quarantine_of_a_journal_that_ends_anywhere_loses_nothing() {
    Damaged::journal().every_end();
}

#[test]
fn a_quarantine_of_a_journal_whose_operations_fail_loses_nothing() {
    Damaged::journal().every_failure();
}

#[test]
fn a_quarantine_of_a_segment_that_ends_anywhere_loses_nothing() {
    for damaged in Damaged::segments() {
        damaged.every_end();
    }
}

#[test]
fn a_quarantine_of_a_segment_whose_operations_fail_loses_nothing() {
    for damaged in Damaged::segments() {
        damaged.every_failure();
    }
}

/// Neither a verification nor a quarantine needs the journal to be readable to begin.
#[test]
fn a_segment_is_moved_aside_where_the_journal_cannot_be_read() {
    let damaged = Damaged::segment(&stream_key(1), 0);
    let (_, journal) = files(&damaged.state, ".jnl").remove(0);
    let disk = SimDisk::new(damaged.state.clone()).lose_sector(journal, 0);
    let root = Path::new(ROOT);
    assert!(open(&disk).is_err(), "it cannot be read");
    let store = Store::open_for_repair_on(Arc::new(disk.clone()), root).unwrap();
    let named = |report: &VerifyReport| {
        let paths = report.damage.iter().map(|damage| damage.error.path().unwrap().to_owned());
        paths.collect::<Vec<_>>()
    };

    let before = named(&store.verify(|_, _| ()).unwrap());
    let report = store.quarantine(&damaged.file).unwrap();

    assert_eq!((before.len(), &before[0]), (2, &damaged.file));
    assert_eq!(report.files.len(), 1);
    assert_eq!(named(&store.verify(|_, _| ()).unwrap()), before[1..]);
}

#[test]
fn an_error_of_a_segment_names_no_place_in_the_journal() {
    let damaged = Damaged::segment(&stream_key(0), 1);
    let node = damaged.state.find(&damaged.file).unwrap();
    let disk = SimDisk::new(whole_store()).lose_sector(node, 0);
    let store = Store::open_for_repair_on(Arc::new(disk), Path::new(ROOT)).unwrap();

    let error = store.writer(live_options()).map(drop).unwrap_err();

    assert_eq!((error.path(), error.byte_offset()), (Some(&*damaged.file), None), "{error}");
}

/// What was moved aside before has its name for ever.
#[test]
fn a_file_in_quarantine_is_never_replaced() {
    let damaged = Damaged::journal();
    let disk = SimDisk::new(damaged.state.clone());

    let report = damaged.quarantine(&disk).unwrap();

    let names = report.files.iter().map(|path| path.file_name().unwrap().to_str().unwrap());
    let second = names.filter(|name| name.ends_with("-2.bad")).count();
    assert_eq!((report.files.len(), second), (damaged.bytes.len() - 1, 1), "{report:?}");
    damaged.holds(&disk, true).unwrap();
}
