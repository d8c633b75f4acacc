//! Runs a daemon against venues and reads what it stored.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tickreel::event::{Action, Batch, Kind, StreamKey, Value, book};
use tickreel::ingest::daemon::config::Config;
use tickreel::ingest::daemon::stats::{Stats, Status};
use tickreel::ingest::daemon::{Control, Daemon, WallClock};
use tickreel::segment::ColumnMask;
use tickreel::store::{GroupCommit, LiveOptions, Recorder, Snapshot, Store};
use tickreel_venue::{Counters, Venue};
use tokio::sync::mpsc;

/// Everything in a test comes to pass within this time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that runs.
pub struct Running {
    pub stats: Stats,
    pub store: Store,
    recorder: Recorder,
    controls: mpsc::UnboundedSender<Control>,
    task: tokio::task::JoinHandle<tickreel::Result<()>>,
}

/// A `[[feed]]` of everything that a venue plays.
pub fn feed(exchange: &str, venue: &Venue, more: &str) -> String {
    format!(
        "[[feed]]\nexchange = \"{exchange}\"\nsymbols = [\"*\"]\nstream_url = \"{}\"\n\
         rest_url = \"{}\"\n{more}\n",
        venue.stream_url(),
        venue.rest_url()
    )
}

/// A configuration as the daemon reads it.
pub fn config(text: &str) -> Config {
    Config::parse(text, Path::new("feeds.toml")).unwrap()
}

impl Running {
    /// Starts a daemon on the store in `folder`.
    pub fn start(folder: &Path, config: Config) -> Self {
        Self::by(WallClock::default(), folder, config)
    }

    /// Starts a daemon on the store in `folder` that goes by `clock`.
    pub fn by(clock: WallClock, folder: &Path, config: Config) -> Self {
        let live = LiveOptions { clamp_late: true, ..LiveOptions::default() };
        Self::run(Store::open_or_create(folder).unwrap(), live, clock, config)
    }

    /// Starts a daemon on `store`.
    pub fn on(store: Store, live: LiveOptions, config: Config) -> Self {
        Self::run(store, live, WallClock::default(), config)
    }

    fn run(store: Store, live: LiveOptions, clock: WallClock, config: Config) -> Self {
        let rejects = store.root().join("rejects");
        let writer = store.writer(live).unwrap();
        let recorder = Recorder::start(writer, GroupCommit::default()).unwrap();
        let stats = Stats::default();
        let daemon = Daemon {
            store: store.clone(),
            recorder: recorder.clone(),
            stats: stats.clone(),
            rejects,
            clock,
        };
        let (controls, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move { daemon.run(config, received).await });
        Self { stats, store, recorder, controls, task }
    }

    /// Tells the daemon something.
    pub fn tell(&self, control: Control) {
        self.controls.send(control).unwrap();
    }

    /// Waits until `holds` of the figures.
    pub async fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) {
        let wait = async {
            while self.stats.status().feeds.is_empty() || !holds(&self.stats.status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "not {what}: {:#?}", self.stats.status());
    }

    /// Waits until the daemon gives up: why.
    pub async fn fails(self) -> tickreel::Error {
        let ended = tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
        ended.unwrap_err()
    }

    /// Stops the daemon and closes the store.
    pub async fn stop(self) -> Status {
        self.tell(Control::Stop);
        tokio::time::timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap().unwrap();
        let mut writer = self.recorder.close().unwrap();
        writer.seal_all().unwrap();
        self.stats.status()
    }
}

/// Waits until everything that `venue` plays was played.
pub async fn finished(venue: &Venue) {
    let waited = tokio::time::timeout(PATIENCE, venue.finished()).await;
    assert!(waited.is_ok(), "not finished: {:#?}", venue.counters());
}

/// Waits until `holds` of what `venue` saw.
pub async fn eventually(venue: &Venue, what: &str, holds: impl Fn(&Counters) -> bool) {
    let wait = async {
        while !holds(&venue.counters()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "not {what}: {:?} {:#?}", venue.topics(), venue.counters());
}

/// Waits until nobody has asked `venue` for anything new for a while.
pub async fn quiet(venue: &Venue) {
    let asked = || {
        let counters = venue.counters();
        let subscribed: u64 = counters.connections.iter().map(|c| c.subscribed).sum();
        (subscribed, counters.requests)
    };
    let mut before = Default::default();
    loop {
        let now = asked();
        if now == before && now.0 > 0 {
            return;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
}

/// Rows as text.
pub type Streams = BTreeMap<StreamKey, Vec<String>>;

/// The rows of every stream as text, without their receive times and the columns `without`.
pub fn rows_of(snapshot: &Snapshot, kinds: &[Kind], without: &[&str]) -> Streams {
    let mut all = BTreeMap::new();
    for entry in snapshot.streams().filter(|entry| kinds.contains(&entry.key.kind)) {
        let mut rows = Vec::new();
        for batch in batches(snapshot, &entry.key) {
            rows.extend(texts(&batch, without));
        }
        all.insert(entry.key.clone(), rows);
    }
    all
}

/// All rows of a stream.
pub fn batches(snapshot: &Snapshot, key: &StreamKey) -> Vec<Batch> {
    let id = snapshot.stream_id(&key.instrument, key.kind).unwrap();
    let mut batches = Vec::new();
    for part in 0..snapshot.parts(id).len() {
        let Some(part) = snapshot.open_part(id, key.kind, part).unwrap() else { continue };
        let mut read = 0;
        while read < part.messages() {
            let rest = read..part.messages();
            let batch = part.read(rest, ColumnMask::ALL, Batch::new(key.kind)).unwrap();
            read += batch.messages() as u64;
            batches.push(batch);
        }
    }
    batches
}

fn texts(batch: &Batch, without: &[&str]) -> Vec<String> {
    let columns = batch.schema().columns;
    let row = |row: usize| {
        let message = batch.message_of(row);
        let values =
            (1..columns.len()).filter(|at| !without.contains(&columns[*at].name)).map(|at| {
                match batch.value(message, row, at) {
                    Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    Value::Decimal(value) => value.to_string(),
                    other => format!("{other:?}"),
                }
            });
        values.collect::<Vec<_>>().join(" ")
    };
    (0..batch.rows()).map(row).collect()
}

/// How many gaps a book has.
pub fn gaps(snapshot: &Snapshot, key: &StreamKey) -> usize {
    let is_gap = |action: &&u8| **action == Action::Gap as u8;
    let of = |batch: &Batch| batch.u8s(book::ACTION).iter().filter(is_gap).count();
    batches(snapshot, key).iter().map(of).sum()
}
