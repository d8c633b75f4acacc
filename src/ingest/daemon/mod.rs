//! The recorder of live venues: sockets and clocks around the pure dialects.
//!
//! Each exchange has one task that plans (`feed`), one task per connection that hears (`socket`),
//! and one thread that records (`recording`). Frames go one way: socket, inbox, dialect, rows,
//! store; what must be asked again comes back from the rows that were stored.
//! Nothing here knows a venue's messages.

mod books;
mod clock;
mod compaction;
pub mod config;
mod feed;
mod inbox;
mod lag;
mod listing;
mod plan;
mod recording;
mod rejects;
mod rest;
mod retention;
mod socket;
pub mod stats;
mod storing;
mod symbols;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use self::clock::ReceiveClock;
pub use self::clock::WallClock;
use self::compaction::compact_old;
use self::config::{CompactConfig, Config, FeedConfig};
use self::feed::{Command, Feed};
use self::inbox::Inbox;
use self::recording::{Lags, Recording};
use self::rejects::RejectFile;
use self::rest::Network;
use self::retention::{DROP_EVERY, drop_old};
use self::stats::Stats;
use super::venues;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Kind;
use crate::quantity::TsNs;
use crate::store::{Recorder, Store};

/// How long a feed that ends waits for room on a full disk.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);

/// How often figures are logged.
const FIGURES_EVERY: Duration = Duration::from_secs(60);

/// What a running daemon is told.
#[derive(Debug)]
pub enum Control {
    /// Record what this says from now on; streams that stay are not touched.
    Reload(Box<Config>),
    /// End all connections, hand every row to the store and return.
    Stop,
}

/// A daemon that records live.
pub struct Daemon {
    /// Where rows go.
    pub store: Store,
    /// How they get there.
    pub recorder: Recorder,
    /// What is counted.
    pub stats: Stats,
    /// Folder of the reject files.
    pub rejects: PathBuf,
    /// What receive times, retention and compaction go by.
    pub clock: WallClock,
}

/// An exchange that is being recorded.
struct Running {
    config: FeedConfig,
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<Option<()>>,
    thread: JoinHandle<Option<Result<()>>>,
    /// It ends: a full disk is not waited for any more.
    stopping: Arc<AtomicBool>,
}

impl Daemon {
    /// Records until it is told to stop.
    ///
    /// # Errors
    /// What is wrong in the configuration that only shows now; [`ErrorKind::Poisoned`] or
    /// [`ErrorKind::Io`] if the store cannot be written any more.
    pub async fn run(
        &self,
        config: Config,
        mut controls: mpsc::UnboundedReceiver<Control>,
    ) -> Result<()> {
        let lags = Arc::new(Lags::default());
        let (of_watch, stats) = (lags.clone(), self.stats.clone());
        self.recorder.watch(Box::new(move |watermark| of_watch.durable(watermark, &stats)));
        let stopping = Arc::new(AtomicBool::new(false));
        let (failed, mut failures) = mpsc::unbounded_channel();
        let begin = |config: &Config, feed: &FeedConfig| {
            let network = Network::new(config.ca_file.as_deref())?;
            self.begin(config, feed, network, &lags, &failed)
        };
        let mut running: BTreeMap<&'static str, Running> = BTreeMap::new();
        for feed in &config.feeds {
            running.insert(feed.exchange, begin(&config, feed)?);
        }
        let mut figures = interval(FIGURES_EVERY);
        figures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        figures.tick().await;
        let (mut retention, mut compact_config) = (config.retention.clone(), config.compact);
        let mut dropping = interval(DROP_EVERY);
        let mut upkeep = ReceiveClock::new(self.clock.clone(), TsNs::MIN);
        let (mut dropped, mut compacted) = (None, None::<JoinHandle<()>>);
        let ended = loop {
            tokio::select! {
                control = controls.recv() => match control {
                    None | Some(Control::Stop) => break Ok(()),
                    Some(Control::Reload(config)) => {
                        (retention, compact_config) = (config.retention.clone(), config.compact);
                        // A feed that ends may wait for the room that this makes.
                        let now = upkeep.settled(DROP_EVERY);
                        dropped = now.map(|now| self.drop_old(&retention, now)).or(dropped);
                        for exchange in reload(&mut running, &config) {
                            if let Some(old) = running.remove(exchange) {
                                end(old).await;
                            }
                        }
                        for feed in &config.feeds {
                            if running.contains_key(feed.exchange) {
                                continue;
                            }
                            match begin(&config, feed) {
                                Ok(begun) => drop(running.insert(feed.exchange, begun)),
                                Err(error) => error!(exchange = feed.exchange, %error, "not begun"),
                            }
                        }
                        dropping.reset_immediately();
                    }
                },
                Some(failure) = failures.recv() => break Err(failure),
                _ = figures.tick() => {
                    // As in a feed: a clock that is not looked at for long has drifted.
                    upkeep.look();
                    self.log_figures();
                }
                _ = dropping.tick() => {
                    let Some(now) = upkeep.settled(DROP_EVERY) else {
                        warn!("wall clock set: nothing is dropped by it for an hour");
                        continue;
                    };
                    dropped = Some(self.drop_old(&retention, now));
                    if compacted.as_ref().is_none_or(JoinHandle::is_finished) {
                        let compact = |config| self.compact_old(config, now, &stopping);
                        compacted = compact_config.map(compact);
                    }
                }
            }
        };
        stopping.store(true, Relaxed);
        running.values().for_each(|feed| feed.stopping.store(true, Relaxed));
        let ending: Vec<_> = running.into_values().map(|feed| tokio::spawn(end(feed))).collect();
        for task in ending {
            drop(task.await);
        }
        for upkeep in dropped.into_iter().chain(compacted) {
            drop(upkeep.await);
        }
        self.log_figures();
        ended
    }

    /// Drops what is too old by `now`, on a thread of its own.
    fn drop_old(&self, retention: &BTreeMap<Kind, Duration>, now: TsNs) -> JoinHandle<()> {
        let (recorder, retention) = (self.recorder.clone(), retention.clone());
        tokio::task::spawn_blocking(move || drop_old(&recorder, &retention, now))
    }

    /// Compacts days that are over by `now`, on a thread of its own.
    fn compact_old(
        &self,
        config: CompactConfig,
        now: TsNs,
        stopping: &Arc<AtomicBool>,
    ) -> JoinHandle<()> {
        let (store, recorder) = (self.store.clone(), self.recorder.clone());
        let stopping = stopping.clone();
        tokio::task::spawn_blocking(move || compact_old(&store, &recorder, config, now, stopping))
    }

    fn begin(
        &self,
        config: &Config,
        feed: &FeedConfig,
        network: Network,
        lags: &Arc<Lags>,
        failed: &mpsc::UnboundedSender<Error>,
    ) -> Result<Running> {
        let exchange = feed.exchange;
        let stopping = Arc::new(AtomicBool::new(false));
        let clock = ReceiveClock::new(self.clock.clone(), self.stored_until(exchange)?);
        let clock = Arc::new(Mutex::new(clock));
        let (inbox, incoming) = Inbox::new(config.waiting_max);
        let (wants, wanted) = mpsc::unbounded_channel();
        let dialects = (0..feed.connections).map(|_| venues::dialect(exchange, None));
        let dialects = dialects.collect::<Result<Vec<_>>>()?;
        let path = self.rejects.join(format!("{exchange}.ndjson"));
        let stats = self.stats.feed(exchange);
        let recording = Recording {
            exchange,
            store: self.store.clone(),
            recorder: self.recorder.clone(),
            stats: self.stats.clone(),
            feed: stats.clone(),
            lags: lags.clone(),
            rejects: RejectFile::new(path, config.reject_bytes_max),
            raw: feed.raw,
            wants,
            stopping: stopping.clone(),
        };
        let of_thread = failed.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let recorded = recording.run(dialects, incoming);
            if let Err(error) = &recorded {
                let failure = Error::new(error.kind(), error.to_string());
                drop(of_thread.send(failure.context(exchange)));
            }
            recorded
        });
        let thread = watched(thread, exchange, failed);
        let live = venues::live(exchange)?;
        let (config, manners) = (feed.clone(), feed.manners(live));
        let task = Feed { config, live, manners, network, inbox, stats, clock };
        let (commands, received) = mpsc::unbounded_channel();
        let task = watched(tokio::spawn(task.run(received, wanted)), exchange, failed);
        Ok(Running { config: feed.clone(), commands, task, thread, stopping })
    }

    /// The newest receive time stored of an exchange.
    fn stored_until(&self, exchange: &str) -> Result<TsNs> {
        let snapshot = self.store.snapshot()?;
        let of = snapshot.streams().filter(|entry| entry.key.instrument.exchange() == exchange);
        let newest = of.filter_map(|entry| snapshot.parts(entry.id).last_ts()).max();
        Ok(newest.map_or(TsNs::MIN, TsNs))
    }

    fn log_figures(&self) {
        let status = self.stats.status();
        for feed in &status.feeds {
            info!(
                exchange = feed.exchange,
                connections = feed.connections,
                up = feed.connections_up,
                messages = feed.messages,
                rows = feed.rows,
                books = feed.books,
                live = feed.books_live,
                gaps = feed.gaps,
                resyncs = feed.resyncs,
                reconnects = feed.reconnects,
                rejects = feed.rejects,
                event_lag_p99_ms = feed.event_lag_p99_ms,
                durable_lag_p99_ms = status.durable_lag_p99_ms,
                "figures"
            );
        }
    }
}

/// Tells the feeds that go on what is new; those that must end are returned.
fn reload(running: &mut BTreeMap<&'static str, Running>, config: &Config) -> Vec<&'static str> {
    let mut ending = Vec::new();
    for (exchange, feed) in running {
        let new = config.feeds.iter().find(|new| new.exchange == *exchange);
        let Some(new) = new else {
            ending.push(*exchange);
            continue;
        };
        let (selections, refresh) = (new.selections.clone(), new.refresh);
        if *new == feed.config {
            continue;
        }
        let stays = FeedConfig { selections: selections.clone(), refresh, ..feed.config.clone() };
        let select = Command::Select(selections, refresh);
        if stays == *new && feed.commands.send(select).is_ok() {
            feed.config = stays;
        } else {
            ending.push(*exchange);
        }
    }
    ending
}

/// As `task`; if that panics `failed` is told, for nobody else would notice that a feed is silent.
fn watched<T: Send + 'static>(
    task: JoinHandle<T>,
    exchange: &'static str,
    failed: &mpsc::UnboundedSender<Error>,
) -> JoinHandle<Option<T>> {
    let failed = failed.clone();
    tokio::spawn(async move {
        let ended = task.await.map_err(|panic| {
            let error = Error::new(ErrorKind::Cancelled, format!("the feed ended: {panic}"));
            drop(failed.send(error.context(exchange)));
        });
        ended.ok()
    })
}

/// Ends a feed; returns when all its rows are with the store, or there was no room for too long.
async fn end(feed: Running) {
    let Running { commands, task, thread, stopping, .. } = feed;
    let patience = tokio::spawn(async move {
        tokio::time::sleep(ROOM_PATIENCE).await;
        stopping.store(true, Relaxed);
    });
    drop(commands);
    drop(task.await);
    match thread.await {
        Ok(Some(Err(error))) if error.kind() != ErrorKind::Poisoned => error!(%error, "recording"),
        // A panic was told already.
        _ => {}
    }
    patience.abort();
}
