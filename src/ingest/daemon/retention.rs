//! What is older than the configuration keeps goes out of the store.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{error, info};

use crate::event::Kind;
use crate::quantity::TsNs;
use crate::store::{Expired, Recorder};

/// How often it is looked for days to be dropped.
pub(super) const DROP_EVERY: Duration = Duration::from_secs(3600);

/// Drops, of every kind that `retention` names, the days that were over so long before `now`.
///
/// A failure is logged: the next hour tries again.
pub(super) fn drop_old(recorder: &Recorder, retention: &BTreeMap<Kind, Duration>, now: TsNs) {
    for (kind, age) in retention {
        let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let first_kept = now.saturating_add(-age_ns).day();
        let kind_name = kind.name();
        match recorder.drop_expired(&Expired::of_all(*kind, first_kept)) {
            Ok(dropped) if dropped.segments == 0 => {}
            Ok(dropped) => info!(
                kind = kind_name,
                before = %first_kept,
                segments = dropped.segments,
                rows = dropped.rows,
                bytes = dropped.bytes,
                "dropped"
            ),
            Err(error) => error!(kind = kind_name, %error, "nothing was dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
    use std::time::Instant;

    use tokio::sync::mpsc;

    use super::super::config::Config;
    use super::super::stats::Stats;
    use super::super::{Control, Daemon, WallClock};
    use super::*;
    use crate::event::{BatchBuilder, StreamKey};
    use crate::quantity::{DAY_NS, Instrument};
    use crate::store::{GroupCommit, LiveOptions, Store};

    /// A recorder into a store with a sealed row at noon of each of these days.
    fn recorder(folder: &Path, days: &[i64]) -> (Store, Recorder) {
        let store = Store::open_or_create(folder).unwrap();
        let mut writer = store.writer(LiveOptions::default()).unwrap();
        for &day in days {
            let mut builder = BatchBuilder::new(Kind::Raw);
            builder.raw(TsNs(day * DAY_NS + DAY_NS / 2), "message 1", b"x");
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
    fn a_day_goes_when_all_of_it_is_older_than_its_kind_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (store, recorder) = recorder(folder.path(), &[100, 101, 103]);
        let kept = |kind, hours: u64| BTreeMap::from([(kind, Duration::from_secs(hours * 3600))]);
        let end_of_101 = 102 * DAY_NS;
        let half_a_day = DAY_NS / 2;

        drop_old(&recorder, &kept(Kind::Raw, 12), TsNs(end_of_101 + half_a_day - 1));
        assert_eq!(days(&store), [101, 103]);
        drop_old(&recorder, &kept(Kind::Book, 12), TsNs(end_of_101 + half_a_day));
        assert_eq!(days(&store), [101, 103]);
        drop_old(&recorder, &kept(Kind::Raw, 12), TsNs(end_of_101 + half_a_day));
        assert_eq!(days(&store), [103]);
        drop_old(&recorder, &BTreeMap::from([(Kind::Raw, Duration::MAX)]), TsNs(i64::MAX));
        assert_eq!(days(&store), [103]);

        recorder.close().unwrap();
        // A recorder that works no more is logged, and nothing else.
        drop_old(&recorder, &kept(Kind::Raw, 0), TsNs(i64::MAX));
        assert_eq!(days(&store), [103]);
    }

    #[tokio::test]
    async fn a_daemon_drops_at_its_start_and_with_a_new_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let (store, recorder) = recorder(&folder.path().join("store"), &[100]);
        let rejects: PathBuf = folder.path().join("rejects");
        let (stats, clock) = (Stats::default(), WallClock::default());
        let daemon = Daemon { store: store.clone(), recorder, stats, rejects, clock };
        let config = |retention: &str| {
            let feed = "[[feed]]\nexchange = \"binance\"\nsymbols = [\"X\"]\n\
                        stream_url = \"ws://127.0.0.1:9\"\nrest_url = \"http://127.0.0.1:9\"\n";
            Config::parse(&format!("{retention}\n{feed}"), Path::new("feeds.toml")).unwrap()
        };
        let (controls, received) = mpsc::unbounded_channel();
        let first = config("[retention]\nbook = \"1d\"");
        let running = tokio::spawn(async move { daemon.run(first, received).await });

        let second = config("[retention]\nraw = \"90d\"");
        controls.send(Control::Reload(Box::new(second))).unwrap();
        let mut looks = 0;
        while !days(&store).is_empty() {
            looks += 1;
            assert!(looks < 3000, "nothing was dropped");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        controls.send(Control::Stop).unwrap();

        running.await.unwrap().unwrap();
    }

    /// Days that are left of one that is kept for a month, after the clock was set forward by a
    /// year and looked at so often.
    async fn days_after(looks: usize) -> Vec<i32> {
        let folder = tempfile::tempdir().unwrap();
        let (store, recorder) = recorder(&folder.path().join("store"), &[100]);
        let rejects: PathBuf = folder.path().join("rejects");
        let (began, set_days, reads) = (Instant::now(), AtomicI64::new(101), AtomicUsize::new(0));
        let wall = Arc::new((set_days, reads));
        let of_clock = wall.clone();
        let clock = WallClock::new(move || {
            of_clock.1.fetch_add(1, Relaxed);
            let elapsed_ns = began.elapsed().as_nanos() as i64;
            TsNs(of_clock.0.load(Relaxed) * DAY_NS + elapsed_ns)
        });
        let daemon =
            Daemon { store: store.clone(), recorder, stats: Stats::default(), rejects, clock };
        let text =
            "[retention]\nraw = \"30d\"\n[[feed]]\nexchange = \"binance\"\nsymbols = [\"X\"]";
        let mut config = Config::parse(text, Path::new("feeds.toml")).unwrap();
        // Nobody else reads the clock.
        config.feeds.clear();
        let (controls, received) = mpsc::unbounded_channel();
        let first = config.clone();
        let running = tokio::spawn(async move { daemon.run(first, received).await });
        let until_read = async |times: usize| {
            while wall.1.load(Relaxed) < times {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // When it began, and the first look.
        until_read(2).await;

        wall.0.fetch_add(365, Relaxed);
        for look in 1..=looks {
            controls.send(Control::Reload(Box::new(config.clone()))).unwrap();
            until_read(2 + look).await;
        }

        controls.send(Control::Stop).unwrap();
        running.await.unwrap().unwrap();
        days(&store)
    }

    #[tokio::test]
    async fn nothing_is_dropped_by_a_clock_that_was_just_set_however_often_it_is_looked_at() {
        assert_eq!(days_after(1).await, [100]);
        assert_eq!(days_after(3).await, [100]);
    }
}
