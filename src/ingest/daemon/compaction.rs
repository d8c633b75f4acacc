//! Days that are over become few large segments, beside the recording.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::config::CompactConfig;
use crate::compact::{self, Pace, Selection, Task, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::quantity::TsNs;
use crate::segment::WriterOptions;
use crate::store::{Recorder, Rewritten, Store};

/// Compacts the days that were over so long before `now`, no faster than the configuration says,
/// until it is done or the daemon stops.
///
/// A failure is logged: the next hour tries again.
pub(super) fn compact_old(
    store: &Store,
    recorder: &Recorder,
    config: CompactConfig,
    now: TsNs,
    stopping: Arc<AtomicBool>,
) {
    let after_ns = i64::try_from(config.after.as_nanos()).unwrap_or(i64::MAX);
    let until = now.saturating_add(-after_ns);
    let selection = Selection { until, ..Selection::default() };
    let tasks = match store.snapshot() {
        Ok(snapshot) => compact::plan(&snapshot, &selection),
        Err(error) => return error!(%error, "nothing was compacted"),
    };
    if tasks.is_empty() {
        return;
    }
    let pace = Mutex::new(Pace::new(Some(config.bandwidth)));
    let background = Background { started: Instant::now(), pace, stopping };
    match compact::run(recorder, &tasks, WriterOptions::default(), 1, &background) {
        Ok(report) => info!(
            days = report.tasks,
            failed = report.failed,
            rows = report.sum.rows,
            segments_before = report.sum.segments_before,
            segments = report.sum.segments_after,
            bytes_before = report.sum.bytes_before,
            bytes = report.sum.bytes_after,
            "compacted"
        ),
        Err(error) if error.kind() == ErrorKind::Cancelled => {}
        Err(error) => error!(%error, "not all was compacted"),
    }
}

/// Keeps to the bandwidth, and stops when the daemon does.
struct Background {
    started: Instant,
    pace: Mutex<Pace>,
    stopping: Arc<AtomicBool>,
}

impl Watch for Background {
    fn read(&self, bytes: u64) -> Result<()> {
        const WAIT: Duration = Duration::from_millis(100);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = pace.after(bytes, self.started.elapsed());
        drop(pace);
        while !self.stopping.load(Ordering::Relaxed) {
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(WAIT));
            left = left.saturating_sub(WAIT);
        }
        Err(Error::new(ErrorKind::Cancelled, "the daemon stops"))
    }

    fn done(&self, task: &Task, result: &Result<Rewritten>) {
        if let Err(error) = result
            && error.kind() != ErrorKind::Cancelled
        {
            warn!(stream = %task.key, day = %task.day, %error, "not compacted");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::event::{BatchBuilder, Kind, StreamKey};
    use crate::quantity::{DAY_NS, Instrument};
    use crate::store::{GroupCommit, LiveOptions};

    /// A recorder into a store with three sealed rows, each a segment, in each of these days.
    fn recorder(folder: &Path, days: &[i64]) -> (Store, Recorder) {
        let store = Store::open_or_create(folder).unwrap();
        let mut writer = store.writer(LiveOptions::default()).unwrap();
        for row in days.iter().flat_map(|day| (0..3).map(move |row| day * DAY_NS + row)) {
            let mut builder = BatchBuilder::new(Kind::Raw);
            builder.raw(TsNs(row), "message 1", b"x");
            let batch = builder.finish().unwrap().pop().unwrap();
            let instrument = Instrument::parse("binance:*").unwrap();
            writer.append(&StreamKey { instrument, kind: Kind::Raw }, &batch).unwrap();
            writer.seal_all().unwrap();
        }
        (store, Recorder::start(writer, GroupCommit::default()).unwrap())
    }

    fn days(store: &Store) -> Vec<i32> {
        let snapshot = store.snapshot().unwrap();
        snapshot.manifest().segments().iter().map(|entry| entry.day).collect()
    }

    #[test]
    fn a_day_is_compacted_when_it_was_over_so_long_ago_and_not_while_the_daemon_stops() {
        let folder = tempfile::tempdir().unwrap();
        let (store, recorder) = recorder(folder.path(), &[100, 101]);
        let (after, bandwidth) = (Duration::from_secs(3600), 1 << 30);
        let config = CompactConfig { after, bandwidth };
        let hour_after_100 = TsNs(101 * DAY_NS + 3_600_000_000_000);
        let compact = |now, stopping| {
            compact_old(&store, &recorder, config, now, Arc::new(AtomicBool::new(stopping)));
            days(&store)
        };

        assert_eq!(compact(TsNs(hour_after_100.0 - 1), false), [100, 100, 100, 101, 101, 101]);
        assert_eq!(compact(hour_after_100, true), [100, 100, 100, 101, 101, 101]);
        assert_eq!(compact(hour_after_100, false), [100, 101, 101, 101]);
        assert_eq!(compact(TsNs(i64::MAX), false), [100, 101]);

        recorder.close().unwrap();
        // A recorder that works no more is logged, and nothing else.
        assert_eq!(compact(TsNs(i64::MAX), false), [100, 101]);
    }
}
