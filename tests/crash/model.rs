//! What a store must hold, kept outside of it, and the comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tickreel::event::{Batch, StreamKey, Value, book};
use tickreel::segment::ColumnMask;
use tickreel::store::{Snapshot, Store};
use tickreel::{ErrorKind, Result, TsNs, journal};

use crate::live::{LIVE_START, live_batch, live_options};
use crate::program::stream_key;
use crate::sim::{SimDisk, State};

/// Where the store lies on the simulated disk: in a folder that its creation has to make.
pub const ROOT: &str = "/data/market.reel";

/// The number of every store here.
pub const STORE_ID: u64 = 0x7ea1;

/// All values of one row, in a form in which equal values have equal numbers.
pub type Row = Vec<i64>;

/// Whether a row of a book is a reset: its action is the third value, and a text.
pub fn is_reset(row: &Row) -> bool {
    let mut action = Row::new();
    push(&mut action, Value::Code("reset"));
    row[book::ACTION..].starts_with(&action)
}

/// The rows of each stream that has any, in order.
pub type Contents = BTreeMap<StreamKey, Arc<Vec<Row>>>;

/// What a store may hold: these rows, or fewer at the end of streams whose last rows are not
/// acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Allowed {
    /// All that was accepted.
    pub contents: Arc<Contents>,
    /// How many rows there may be instead, by stream.
    pub shorter: BTreeMap<StreamKey, BTreeSet<usize>>,
}

impl Allowed {
    /// These rows and nothing else.
    pub fn exactly(contents: Arc<Contents>) -> Self {
        Self { contents, shorter: BTreeMap::new() }
    }

    /// Whether a store may hold this.
    pub fn admits(&self, found: &Contents) -> bool {
        let known = |key| self.contents.contains_key(key);
        let fits = |key, rows: &Arc<Vec<Row>>| {
            let none = Arc::default();
            let found = found.get(key).unwrap_or(&none);
            let shorter = self.shorter.get(key);
            found == rows
                || rows.starts_with(found)
                    && shorter.is_some_and(|counts| counts.contains(&found.len()))
        };
        found.keys().all(known) && self.contents.iter().all(|(key, rows)| fits(key, rows))
    }
}

/// The rows of a batch.
pub fn rows(batch: &Batch) -> Vec<Row> {
    let mut rows = Vec::with_capacity(batch.rows());
    for message in 0..batch.messages() {
        for row in batch.message_rows(message) {
            let mut cells = Row::with_capacity(3 * batch.columns().len());
            for column in 0..batch.columns().len() {
                push(&mut cells, batch.value(message, row, column));
            }
            rows.push(cells);
        }
    }
    rows
}

fn push(cells: &mut Row, value: Value<'_>) {
    let text = |cells: &mut Row, text: &[u8]| {
        cells.push(i64::try_from(text.len()).unwrap());
        cells.extend(text.iter().map(|&byte| i64::from(byte)));
    };
    match value {
        Value::Null => cells.push(i64::MIN),
        Value::Time(TsNs(value)) | Value::Int(value) => cells.push(value),
        Value::Flags(flags) => cells.push(flags.into()),
        Value::Code(name) => text(cells, name.as_bytes()),
        Value::Text(bytes) => text(cells, bytes),
        Value::Decimal(decimal) => {
            let decimal = decimal.normalized();
            cells.extend([decimal.mantissa(), decimal.scale().into()]);
        }
    }
}

/// The rows of one stream, and how the scan ended.
pub fn scan(snapshot: &Snapshot, key: &StreamKey) -> (Vec<Row>, Result<()>) {
    let mut found = Vec::new();
    let range = TsNs::MIN..TsNs::MAX;
    let ended =
        snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL).and_then(|mut scan| {
            while let Some(batch) = scan.next_batch()? {
                found.extend(rows(batch));
            }
            Ok(())
        });
    (found, ended)
}

/// The rows of one stream from some time on, as a batch.
pub fn scan_batch(snapshot: &Snapshot, key: &StreamKey, from: TsNs) -> Result<Batch> {
    let mut all = Batch::new(key.kind);
    let range = from..TsNs::MAX;
    let mut scan = snapshot.scan(&key.instrument, key.kind, range, ColumnMask::ALL)?;
    while let Some(batch) = scan.next_batch()? {
        all.append(batch)?;
    }
    Ok(all)
}

/// Everything a snapshot holds.
pub fn read(snapshot: &Snapshot) -> Result<Contents> {
    let mut contents = Contents::new();
    for info in snapshot.stream_infos() {
        let (rows, ended) = scan(snapshot, &info.key);
        ended?;
        contents.insert(info.key, Arc::new(rows));
    }
    Ok(contents)
}

/// A handle of the store on this disk, as a new process has it.
pub fn open(disk: &SimDisk) -> Result<Store> {
    Store::open_or_create_on(Arc::new(disk.clone()), Path::new(ROOT), STORE_ID)
}

/// Says what a judgement without panics says; a panic is a violation as well.
pub fn without_panic<T>(
    judge: impl FnOnce() -> std::result::Result<T, String>,
) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|_| Err("panic".to_owned()))
}

/// Opens the store on a disk after a crash; it must be whole and hold one of `allowed`, also for a
/// live writer, who must be able to go on. Gives what it holds.
pub fn judge(state: State, allowed: &[Allowed]) -> std::result::Result<Contents, String> {
    without_panic(|| {
        let disk = SimDisk::new(state);
        let store = open(&disk).map_err(|error| format!("cannot be opened: {error}"))?;
        let opened = disk.state().digest();
        let seen = whole(&store)?;
        drop(store);
        open(&disk).map_err(|error| format!("cannot be opened again: {error}"))?;
        if disk.state().digest() != opened {
            return Err("a second open changes the disk".to_owned());
        }
        let found = match disk.state().find(&journal::folder(Path::new(ROOT))) {
            Ok(_) => recovered(&disk, &seen)?,
            Err(_) => seen,
        };
        match allowed.iter().any(|allowed| allowed.admits(&found)) {
            true => Ok(found),
            false => Err(format!("holds {}; allowed {}", sizes(&found), all_sizes(allowed))),
        }
    })
}

/// What a live writer finds on a disk, and goes on from; readers have `seen` the store before.
fn recovered(disk: &SimDisk, seen: &Contents) -> std::result::Result<Contents, String> {
    let (found, kept) = opened_by_writer(disk)?;
    let none = Arc::default();
    for (key, rows) in seen {
        if !found.get(key).unwrap_or(&none).starts_with(rows) {
            return Err(format!("{key}: readers saw rows that the writer does not find"));
        }
    }
    let (again, kept_again) = opened_by_writer(disk)?;
    if found != again || kept != kept_again {
        return Err("a second recovery finds something else".to_owned());
    }
    goes_on(disk, &found)?;
    Ok(found)
}

/// What a writer finds when it opens the store, and how many files lie in quarantine then.
fn opened_by_writer(disk: &SimDisk) -> std::result::Result<(Contents, usize), String> {
    let wrong = |error| format!("cannot be opened for writing: {error}");
    let store = open(disk).map_err(wrong)?;
    let writer = store.writer(live_options()).map_err(wrong)?;
    let found = store.snapshot().and_then(|snapshot| read(&snapshot)).map_err(wrong)?;
    drop(writer);
    let state = disk.state();
    let kept = state.find(&Path::new(ROOT).join("quarantine")).and_then(|node| state.names(node));
    Ok((found, kept.map_or(0, |names| names.len())))
}

/// Rows are added to what is there, and another process sees all of it.
fn goes_on(disk: &SimDisk, found: &Contents) -> std::result::Result<(), String> {
    let mut after = found.clone();
    let key = stream_key(2);
    let stored = Arc::make_mut(after.entry(key.clone()).or_default());
    let batch = live_batch(&key, stored.last().map_or(LIVE_START, |row| row[0]), 3, 77, true);
    stored.extend(rows(&batch));
    let append = || {
        let mut writer = open(disk)?.writer(live_options())?;
        writer.append(&key, &batch)?;
        writer.commit()
    };
    append().map_err(|error| format!("cannot go on: {error}"))?;
    let store = open(disk).map_err(|error| format!("cannot be opened: {error}"))?;
    match whole(&store)? == after {
        true => Ok(()),
        false => Err("does not hold what was committed after it was recovered".to_owned()),
    }
}

/// What the store holds, nothing of which is damaged.
fn whole(store: &Store) -> std::result::Result<Contents, String> {
    let snapshot = store.snapshot().map_err(|error| format!("has no snapshot: {error}"))?;
    let found = read(&snapshot).map_err(|error| format!("cannot be read: {error}"))?;
    for info in snapshot.stream_infos() {
        let rows = found.get(&info.key).map_or(&[][..], |rows| rows);
        let times = rows.first().zip(rows.last()).map(|(first, last)| (first[0], last[0]));
        if info.rows != rows.len() as u64 || times != Some((info.first.0, info.last.0)) {
            return Err(format!("{}: {} rows, scan gives {}", info.key, info.rows, rows.len()));
        }
    }
    let report = store.verify(|_, _| ()).map_err(|error| format!("cannot be verified: {error}"))?;
    if let Some(damage) = report.damage.first() {
        return Err(format!("damage: {}", damage.error));
    }
    if let Some(stranger) = report.strangers.first() {
        return Err(format!("strange file {}", stranger.display()));
    }
    Ok(found)
}

fn sizes(contents: &Contents) -> String {
    let sizes = contents.iter().map(|(key, rows)| format!("{key}: {} rows", rows.len()));
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}

fn all_sizes(allowed: &[Allowed]) -> String {
    let one = |allowed: &Allowed| {
        let shorter = allowed.shorter.iter().map(|(key, counts)| format!("{key}: {counts:?}"));
        format!("{} less {:?}", sizes(&allowed.contents), shorter.collect::<Vec<_>>())
    };
    allowed.iter().map(one).collect::<Vec<_>>().join(" or ")
}

/// Reads a damaged store. Every stream must be as it was in one of `known`, or end with an error
/// after rows that were so. Tells whether the damage shows. What a journal held of each stream need
/// not be `at_one_moment`.
pub fn never_another_answer(
    disk: &SimDisk,
    known: &[Arc<Contents>],
    at_one_moment: bool,
) -> std::result::Result<bool, String> {
    let store = match Store::open_on(Arc::new(disk.clone()), Path::new(ROOT)) {
        Ok(store) => store,
        Err(error) if error.kind() == ErrorKind::Stale => {
            return Err(format!("damage is taken for a commit: {error}"));
        }
        Err(_) => return Ok(true),
    };
    let Ok(snapshot) = store.snapshot() else { return Ok(true) };
    let infos = snapshot.stream_infos();
    let damaged = store.verify(|_, _| ()).map_or(true, |report| !report.damage.is_empty());
    // Of a journal, what comes after the damage is not shown to readers.
    let journal = disk.state().find(&journal::folder(Path::new(ROOT)));
    let journal_damaged = damaged && journal.is_ok();
    for info in &infos {
        let (found, ended) = scan(&snapshot, &info.key);
        let part = journal_damaged || ended.is_err();
        let same = |rows: &Arc<Vec<Row>>| match part {
            false => **rows == found,
            true => rows.starts_with(&found),
        };
        if !known.iter().filter_map(|contents| contents.get(&info.key)).any(same) {
            return Err(format!("{}: another answer, {} rows", info.key, found.len()));
        }
    }
    let same = |contents: &Arc<Contents>| contents.keys().eq(infos.iter().map(|info| &info.key));
    if at_one_moment && !known.iter().any(same) {
        return Err("other streams".to_owned());
    }
    Ok(damaged)
}
