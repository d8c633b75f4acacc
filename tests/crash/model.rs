//! What a store must hold, kept outside of it, and the comparison.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tickreel::event::{Batch, StreamKey, Value};
use tickreel::segment::ColumnMask;
use tickreel::store::{Snapshot, Store};
use tickreel::{ErrorKind, Result, TsNs};

use crate::sim::{SimDisk, State};

/// Where the store lies on the simulated disk: in a folder that its creation has to make.
pub const ROOT: &str = "/data/market.reel";

/// The number of every store here.
pub const STORE_ID: u64 = 0x7ea1;

/// All values of one row, in a form in which equal values have equal numbers.
pub type Row = Vec<i64>;

/// The rows of each stream that has any, in order.
pub type Contents = BTreeMap<StreamKey, Vec<Row>>;

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

/// Everything a snapshot holds.
pub fn read(snapshot: &Snapshot) -> Result<Contents> {
    let mut contents = Contents::new();
    for info in snapshot.stream_infos() {
        let (rows, ended) = scan(snapshot, &info.key);
        ended?;
        contents.insert(info.key, rows);
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

/// Opens the store on a disk after a crash; it must be whole and one of `allowed`. Gives which.
pub fn judge(state: State, allowed: &[Arc<Contents>]) -> std::result::Result<usize, String> {
    without_panic(|| {
        let disk = SimDisk::new(state);
        let store = open(&disk).map_err(|error| format!("cannot be opened: {error}"))?;
        let opened = disk.state().digest();
        let which = whole(&store, allowed)?;
        drop(store);
        open(&disk).map_err(|error| format!("cannot be opened again: {error}"))?;
        if disk.state().digest() != opened {
            return Err("a second open changes the disk".to_owned());
        }
        Ok(which)
    })
}

/// Which of `allowed` the store holds; nothing in it is damaged.
fn whole(store: &Store, allowed: &[Arc<Contents>]) -> std::result::Result<usize, String> {
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
    let which = allowed.iter().position(|contents| **contents == found);
    which.ok_or_else(|| format!("holds {}; allowed {}", sizes(&found), all_sizes(allowed)))
}

fn sizes(contents: &Contents) -> String {
    let sizes = contents.iter().map(|(key, rows)| format!("{key}: {} rows", rows.len()));
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}

fn all_sizes(allowed: &[Arc<Contents>]) -> String {
    allowed.iter().map(|contents| sizes(contents)).collect::<Vec<_>>().join(" or ")
}

/// Reads a damaged store. Every stream must be as it was in one of `known`, or end with an error
/// after rows that were so. Tells whether the damage shows.
pub fn never_another_answer(
    disk: &SimDisk,
    known: &[Arc<Contents>],
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
    for info in &infos {
        let (found, ended) = scan(&snapshot, &info.key);
        let same = |rows: &Vec<Row>| match &ended {
            Ok(()) => *rows == found,
            Err(_) => rows.starts_with(&found),
        };
        if !known.iter().filter_map(|contents| contents.get(&info.key)).any(same) {
            return Err(format!("{}: another answer, {} rows", info.key, found.len()));
        }
    }
    if !known.iter().any(|contents| contents.keys().eq(infos.iter().map(|info| &info.key))) {
        return Err("other streams".to_owned());
    }
    Ok(store.verify(|_, _| ()).map_or(true, |report| !report.damage.is_empty()))
}
