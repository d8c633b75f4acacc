//! One exchange: which symbols, on which connections, and snapshots when a book needs one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at};
use tokio::time::{sleep, sleep_until};
use tracing::{info, warn};

use super::clock::ReceiveClock;
use super::config::{FeedConfig, Selection};
use super::inbox::{Event, Inbox, Incoming, Portion};
use super::listing::{Absent, Chosen, chosen};
use super::plan::{Plan, Wanted};
use super::rest::{Network, Refusal, Request};
use super::socket::{News, Order, Socket};
use super::stats::FeedStats;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Kind, StreamKey};
use crate::ingest::live::{LiveFeed, Manners, Resync, Topic};
use crate::quantity::{Instrument, TsNs};

/// First wait before the list of symbols is asked for again, and the longest.
const LISTING_WAIT_MIN: Duration = Duration::from_secs(1);
const LISTING_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a snapshot that comes with the subscription is waited for.
const SUBSCRIBED_PATIENCE: Duration = Duration::from_secs(15);
/// How long changes are gathered before the snapshot that they follow is asked for.
const SPLICED_PATIENCE: Duration = Duration::from_secs(1);

/// What a feed is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Record this from now on, and look so often what it is.
    Select(Vec<Selection>, Duration),
}

/// Everything a feed needs.
#[derive(Clone)]
pub(super) struct Feed {
    pub config: FeedConfig,
    pub live: &'static dyn LiveFeed,
    pub manners: Manners,
    pub network: Network,
    pub inbox: Inbox,
    pub stats: Arc<FeedStats>,
    pub clock: Arc<Mutex<ReceiveClock>>,
}

/// A feed that runs.
struct Running {
    feed: Feed,
    replicas: Vec<Replica>,
    news: mpsc::UnboundedSender<News>,
    door: Arc<tokio::sync::Mutex<Instant>>,
    /// The number of the newest connection.
    last_number: u32,
    /// Books with their topics.
    books: BTreeMap<Instrument, Vec<Topic>>,
    /// Connections that are up.
    up: BTreeSet<u32>,
    /// Books to fetch a snapshot for, oldest first, and the copies that need it.
    snapshots: VecDeque<(Instrument, BTreeSet<usize>)>,
    snapshot_at: Instant,
    /// Books of copies whose snapshot was asked for and did not come yet.
    asked: BTreeSet<(Instrument, usize)>,
    /// Asks which symbols there are.
    listing: Option<JoinHandle<()>>,
    /// What is recorded, by symbol.
    chosen: Chosen,
    absent: Absent,
}

/// One copy of all connections.
struct Replica {
    plan: Plan,
    sockets: BTreeMap<u32, (mpsc::UnboundedSender<Order>, JoinHandle<()>)>,
}

impl Feed {
    /// Runs until `commands` ends, then closes all connections.
    pub async fn run(
        self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut wants: mpsc::UnboundedReceiver<(usize, Instrument)>,
    ) {
        let (news, mut heard) = mpsc::unbounded_channel();
        let limit = self.manners.topics_per_connection;
        let replica = |_| Replica { plan: Plan::new(limit, 0), sockets: BTreeMap::new() };
        let mut running = Running {
            replicas: (0..self.config.connections).map(replica).collect(),
            news,
            door: Arc::new(tokio::sync::Mutex::new(Instant::now())),
            last_number: 0,
            books: BTreeMap::new(),
            up: BTreeSet::new(),
            snapshots: VecDeque::new(),
            snapshot_at: Instant::now(),
            asked: BTreeSet::new(),
            listing: None,
            chosen: Chosen::new(),
            absent: Absent::default(),
            feed: self,
        };
        running.ask_listing(true);
        let mut refresh = refreshing(running.feed.config.refresh);
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Select(selections, every)) => {
                        running.feed.config.selections = selections;
                        running.ask_listing(true);
                        refresh = refreshing(every);
                    }
                    None => break,
                },
                _ = refresh.tick() => running.ask_listing(false),
                Some(news) = heard.recv() => running.news(news).await,
                Some((replica, book)) = wants.recv() => running.want(replica, book),
                () = sleep_until(running.snapshot_at), if !running.snapshots.is_empty() => {
                    running.fetch_next();
                }
                _ = seconds.tick() => {
                    // A clock that is not looked at for long has drifted, and was not set.
                    running.now();
                    drop(running.feed.inbox.tell(Incoming::Tick).await);
                }
            }
        }
        running.close().await;
    }

    /// Everything that the exchange lists.
    async fn listed(&self) -> Result<BTreeSet<String>, Refusal> {
        let mut listed = BTreeSet::new();
        for path in self.live.listings() {
            let url = format!("{}{path}", self.config.rest_url);
            self.stats.requests.fetch_add(1, Relaxed);
            let request = Request {
                url: url.clone(),
                headers: self.live.headers(),
                body: self.live.listing_body(&path),
            };
            let body = self.network.ask(request).await?;
            let symbols = self.live.symbols(&path, &body);
            listed.extend(symbols.map_err(|error| error.context(url))?);
        }
        Ok(listed)
    }
}

impl Running {
    /// Finds the symbols to record, however long it takes. What was asked before is dropped if the
    /// selections are `new`, else it is waited for.
    fn ask_listing(&mut self, new: bool) {
        if !new && self.listing.as_ref().is_some_and(|asking| !asking.is_finished()) {
            return;
        }
        let (feed, news) = (self.feed.clone(), self.news.clone());
        let task = tokio::spawn(async move {
            let exchange = feed.config.exchange;
            let mut wait = LISTING_WAIT_MIN;
            let chosen = loop {
                let refusal = match feed.listed().await {
                    Ok(listed) => {
                        // In maintenance a venue may list nothing, for a while.
                        let chosen = chosen(exchange, &feed.config.selections, &listed);
                        if !chosen.is_empty() {
                            break chosen;
                        }
                        let count = listed.len();
                        let text = format!("none of {count} listed symbols is chosen");
                        Error::new(ErrorKind::NotFound, text).into()
                    }
                    Err(refusal) => refusal,
                };
                let now = refusal.wait.unwrap_or(wait);
                warn!(exchange, error = %refusal.error, wait_ms = now.as_millis(), "no symbols");
                wait = (wait * 2).min(LISTING_WAIT_MAX);
                sleep(now).await;
            };
            // The feed may be gone already.
            drop(news.send(News::Chosen { chosen, new }));
        });
        if let Some(before) = self.listing.replace(task) {
            before.abort();
        }
    }

    /// Records these kinds of these symbols from now on.
    async fn record(&mut self, chosen: &Chosen) {
        let live = self.feed.live;
        let exchange = self.feed.config.exchange;
        let mut wanted = Wanted::new();
        let mut streams = BTreeSet::new();
        self.books.clear();
        for (symbol, kinds) in chosen {
            let instrument = match Instrument::new(exchange, symbol) {
                Ok(instrument) => instrument,
                Err(error) => {
                    warn!(exchange, %error, "symbol left out");
                    continue;
                }
            };
            for kind in kinds {
                let topics = live.topics(*kind, symbol);
                if *kind == Kind::Book {
                    self.books.insert(instrument.clone(), topics.clone());
                }
                wanted.entry(symbol.clone()).or_default().extend(topics);
                streams.insert(StreamKey { instrument: instrument.clone(), kind: *kind });
            }
        }
        info!(exchange, symbols = wanted.len(), streams = streams.len(), "recording");
        let now = self.now();
        drop(self.feed.inbox.tell(Incoming::Recorded(streams, now)).await);
        let mut begun = BTreeSet::new();
        for replica in 0..self.replicas.len() {
            begun.extend(self.update(replica, &wanted).await);
        }
        let books: BTreeSet<_> = self.books.keys().cloned().collect();
        let new: BTreeSet<_> = books.intersection(&begun).cloned().collect();
        drop(self.feed.inbox.tell(Incoming::Expect(new, self.patience())).await);
    }

    /// Brings one copy's connections to `wanted`; the instruments whose books are subscribed to
    /// anew on a connection that is up.
    async fn update(&mut self, replica: usize, wanted: &Wanted) -> BTreeSet<Instrument> {
        let Some(of) = self.replicas.get_mut(replica) else { return BTreeSet::new() };
        of.plan.number_after(self.last_number);
        let changes = of.plan.update(wanted);
        for (number, path) in changes.open {
            let (orders, received) = mpsc::unbounded_channel();
            let socket = Socket {
                number,
                replica,
                exchange: self.feed.config.exchange,
                live: self.feed.live,
                manners: self.feed.manners,
                stream_url: self.feed.config.stream_url.clone(),
                rest_url: self.feed.config.rest_url.clone(),
                path,
                network: self.feed.network.clone(),
                clock: self.feed.clock.clone(),
                inbox: self.feed.inbox.clone(),
                stats: self.feed.stats.clone(),
                news: self.news.clone(),
                door: self.door.clone(),
            };
            of.sockets.insert(number, (orders, tokio::spawn(socket.run(received))));
            self.last_number = number;
        }
        let mut subscribed = BTreeSet::new();
        for (number, change) in changes.change {
            subscribed.extend(change.subscribe.iter().cloned());
            if let Some((orders, _)) = of.sockets.get(&number) {
                drop(orders.send(Order::Change(change)));
            }
        }
        for number in changes.close {
            self.up.remove(&number);
            if let Some((orders, task)) = of.sockets.remove(&number) {
                drop(orders.send(Order::Close));
                drop(task.await);
            }
        }
        let anew = |topics: &[Topic]| topics.iter().any(|topic| subscribed.contains(&topic.name));
        let books = self.books.iter().filter(|(_, topics)| anew(topics));
        books.map(|(instrument, _)| instrument.clone()).collect()
    }

    fn now(&self) -> TsNs {
        self.feed.clock.lock().unwrap_or_else(PoisonError::into_inner).look().ts_recv
    }

    fn patience(&self) -> Duration {
        match self.feed.manners.resync {
            Resync::Snapshot => SPLICED_PATIENCE,
            Resync::Resubscribe | Resync::Reconnect => SUBSCRIBED_PATIENCE,
        }
    }

    /// Something that was begun has come to something.
    async fn news(&mut self, news: News) {
        match news {
            News::Chosen { mut chosen, new } => {
                if !new {
                    self.absent.keep(&self.chosen, &mut chosen);
                }
                if new || chosen != self.chosen {
                    self.record(&chosen).await;
                }
                self.chosen = chosen;
            }
            News::Down(number) => {
                self.up.remove(&number);
            }
            News::Snapshot(instrument, replicas, refusal) => {
                for replica in &replicas {
                    self.asked.remove(&(instrument.clone(), *replica));
                }
                let Some(Refusal { error, wait }) = refusal else { return };
                let exchange = self.feed.config.exchange;
                warn!(exchange, symbol = instrument.symbol(), %error, "no snapshot");
                if let Some(wait) = wait {
                    self.snapshot_at = self.snapshot_at.max(Instant::now() + wait);
                    self.snapshots.push_front((instrument, replicas));
                }
            }
            News::Up(number) => {
                self.up.insert(number);
                let on = |topics: &[Topic]| {
                    self.connections_of(topics).any(|(_, connection)| connection == number)
                };
                let books = self.books.iter().filter(|(_, topics)| on(topics));
                let books = books.map(|(instrument, _)| instrument.clone()).collect();
                drop(self.feed.inbox.tell(Incoming::Expect(books, self.patience())).await);
            }
        }
    }

    /// The copies and connections that have one of `topics`.
    fn connections_of<'a>(
        &'a self,
        topics: &'a [Topic],
    ) -> impl Iterator<Item = (usize, u32)> + 'a {
        let of = move |replica: &Replica| {
            topics.iter().find_map(|topic| replica.plan.connection_of(topic))
        };
        self.replicas.iter().enumerate().filter_map(move |(at, replica)| Some((at, of(replica)?)))
    }

    /// A book of a copy needs a snapshot.
    fn want(&mut self, replica: usize, instrument: Instrument) {
        let Some(topics) = self.books.get(&instrument) else { return };
        let mut connections = self.connections_of(topics);
        let Some((_, connection)) =
            connections.find(|(copy, connection)| *copy == replica && self.up.contains(connection))
        else {
            // It will be asked for when the connection is up.
            return;
        };
        drop(connections);
        let order = match self.feed.manners.resync {
            Resync::Snapshot => return self.want_snapshot(replica, instrument),
            Resync::Resubscribe => {
                Order::Again(topics.iter().map(|topic| topic.name.clone()).collect())
            }
            Resync::Reconnect => Order::Reconnect(format!("{instrument} needs a snapshot")),
        };
        self.order(replica, connection, order);
    }

    /// One snapshot is for all copies that wait for it.
    fn want_snapshot(&mut self, replica: usize, instrument: Instrument) {
        if self.asked.contains(&(instrument.clone(), replica)) {
            return;
        }
        match self.snapshots.iter_mut().find(|(waiting, _)| *waiting == instrument) {
            Some((_, replicas)) => drop(replicas.insert(replica)),
            None => self.snapshots.push_back((instrument, BTreeSet::from([replica]))),
        }
    }

    fn order(&self, replica: usize, connection: u32, order: Order) {
        let sockets = self.replicas.get(replica).map(|replica| &replica.sockets);
        if let Some((orders, _)) = sockets.and_then(|sockets| sockets.get(&connection)) {
            drop(orders.send(order));
        }
    }

    /// Fetches the snapshot of the book that waited longest, for the copies that need it.
    fn fetch_next(&mut self) {
        let live = self.feed.live;
        self.snapshot_at = Instant::now() + self.feed.manners.snapshot_every;
        let Some((instrument, replicas)) = self.snapshots.pop_front() else { return };
        let Some(path) = live.snapshot(instrument.symbol()) else { return };
        let Some(topics) = self.books.get(&instrument) else { return };
        let connections = self.connections_of(topics);
        let connections: Vec<_> = connections.filter(|(copy, _)| replicas.contains(copy)).collect();
        let url = format!("{}{path}", self.feed.config.rest_url);
        self.feed.stats.requests.fetch_add(1, Relaxed);
        let (network, inbox) = (self.feed.network.clone(), self.feed.inbox.clone());
        let (clock, news) = (self.feed.clock.clone(), self.news.clone());
        let (asked, book) = (self.now(), instrument.clone());
        self.asked.extend(replicas.iter().map(|replica| (instrument.clone(), *replica)));
        tokio::spawn(async move {
            let request = Request { url: url.clone(), headers: live.headers(), body: None };
            let refusal = match network.ask(request).await {
                Ok(body) => {
                    let now = clock.lock().unwrap_or_else(PoisonError::into_inner).look();
                    for (replica, connection) in connections {
                        let mut portion = Portion::new(replica, connection);
                        let (book, url, body) = (book.clone(), url.clone(), body.clone());
                        portion.add(now, Event::Reply { book, asked, url, body });
                        // Without room the book is asked for again later.
                        drop(inbox.put(portion).await);
                    }
                    None
                }
                Err(refusal) => Some(refusal),
            };
            // The feed may be gone already.
            drop(news.send(News::Snapshot(instrument, replicas, refusal)));
        });
    }

    async fn close(self) {
        if let Some(listing) = self.listing {
            listing.abort();
        }
        let mut tasks = Vec::new();
        for replica in self.replicas {
            for (orders, task) in replica.sockets.into_values() {
                drop(orders.send(Order::Close));
                tasks.push(task);
            }
        }
        for task in tasks {
            drop(task.await);
        }
    }
}

/// Ticks when the list of instruments is to be read again.
fn refreshing(every: Duration) -> Interval {
    let mut refresh = interval_at(Instant::now() + every, every);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    refresh
}
