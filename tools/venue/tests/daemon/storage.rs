//! A disk that is full, and one that fails.

#[path = "../../../../tests/rpc/disk.rs"]
mod disk;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tickreel::ErrorKind;
use tickreel::ingest::daemon::Control;
use tickreel::store::{LiveOptions, Store};

use self::disk::{Faults, FaultyDisk};
use crate::faults::BINANCE;
use crate::recorded::{Running, config, eventually, feed, finished, gaps, quiet};

/// Journal files that are soon full.
fn small_journal() -> LiveOptions {
    LiveOptions { clamp_late: true, journal_bytes: 64 << 10, ..LiveOptions::default() }
}

#[tokio::test]
async fn a_full_disk_is_waited_out_and_nothing_is_lost() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let disk = Arc::new(FaultyDisk(faults.clone()));
    let store = Store::open_or_create_on(disk, folder.path(), 7).unwrap();
    let venue = BINANCE.venue().await;
    let feed = feed(BINANCE.exchange, &venue, "kinds = [\"book\", \"trades\"]");
    let daemon = Running::on(store, small_journal(), config(&feed));
    quiet(&venue).await;
    venue.go();
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;

    faults.full.store(true, Ordering::SeqCst);
    daemon.until("full", |status| status.disk_full).await;
    faults.full.store(false, Ordering::SeqCst);
    daemon.until("with room", |status| !status.disk_full).await;
    finished(&venue).await;
    BINANCE.agrees(&daemon, &venue, "full").await;
    let status = daemon.stop().await;

    assert_eq!((status.feeds[0].rejects, status.feeds[0].reconnects), (0, 0), "{status:#?}");
    let store = Store::open(folder.path()).unwrap();
    // The end of the recording is the only gap.
    assert_eq!(gaps(&store.snapshot().unwrap(), &BINANCE.key()), 1);
    assert!(store.verify(|_, _| ()).unwrap().damage.is_empty());
}

#[tokio::test]
async fn a_disk_full_for_so_long_that_connections_are_given_up_is_a_gap() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let disk = Arc::new(FaultyDisk(faults.clone()));
    let store = Store::open_or_create_on(disk, folder.path(), 7).unwrap();
    let venue = BINANCE.venue().await;
    let feed = feed(BINANCE.exchange, &venue, "kinds = [\"book\", \"trades\"]");
    let text = format!("waiting_max = \"32KiB\"\n{feed}");
    let daemon = Running::on(store, small_journal(), config(&text));
    quiet(&venue).await;
    venue.go();
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;

    faults.full.store(true, Ordering::SeqCst);
    daemon.until("full", |status| status.disk_full).await;
    daemon.until("given up", |status| status.feeds[0].connections_up == 0).await;
    finished(&venue).await;
    faults.full.store(false, Ordering::SeqCst);
    daemon.until("with room", |status| !status.disk_full).await;
    BINANCE.agrees(&daemon, &venue, "full for long").await;
    let status = daemon.stop().await.feeds[0].clone();

    assert!(status.reconnects > 0 && status.resyncs > 0, "{status:#?}");
    assert_eq!(status.rows_lost, 0);
    let store = Store::open(folder.path()).unwrap();
    assert!(gaps(&store.snapshot().unwrap(), &BINANCE.key()) > 1);
    assert!(store.verify(|_, _| ()).unwrap().damage.is_empty());
}

#[tokio::test]
async fn a_feed_that_ends_while_the_disk_is_full_does_not_hold_up_the_daemon() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let disk = Arc::new(FaultyDisk(faults.clone()));
    let store = Store::open_or_create_on(disk, folder.path(), 7).unwrap();
    let venue = BINANCE.venue().await;
    let feed = config(&feed(BINANCE.exchange, &venue, "kinds = [\"book\", \"trades\"]"));
    let daemon = Running::on(store, small_journal(), feed.clone());
    quiet(&venue).await;
    venue.go();
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;
    faults.full.store(true, Ordering::SeqCst);
    daemon.until("full", |status| status.disk_full).await;
    let connections = venue.counters().connections.len();

    let mut without = feed.clone();
    without.feeds.clear();
    daemon.tell(Control::Reload(Box::new(without)));
    daemon.tell(Control::Reload(Box::new(feed)));

    eventually(&venue, "again", |counters| counters.connections.len() > connections).await;
    faults.full.store(false, Ordering::SeqCst);
    daemon.stop().await;
    let store = Store::open(folder.path()).unwrap();
    assert!(store.verify(|_, _| ()).unwrap().damage.is_empty());
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_daemon() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let disk = Arc::new(FaultyDisk(faults.clone()));
    let store = Store::open_or_create_on(disk, folder.path(), 7).unwrap();
    let venue = BINANCE.venue().await;
    let feed = feed(BINANCE.exchange, &venue, "kinds = [\"book\", \"trades\"]");
    let daemon = Running::on(store, small_journal(), config(&feed));
    quiet(&venue).await;
    venue.go();
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;

    faults.broken.store(true, Ordering::SeqCst);
    let error = daemon.fails().await;

    assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned), "{error}");
    assert!(error.to_string().contains("the device is broken"), "{error}");
    // What was durable is there, and the store opens again.
    let store = Store::open(folder.path()).unwrap();
    assert!(store.verify(|_, _| ()).unwrap().damage.is_empty());
    store.writer(LiveOptions::default()).unwrap();
}
