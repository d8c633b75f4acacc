//! What a recorder must know of a venue to have its feeds live: addresses, topics, manners.
//!
//! Pure as a dialect is: no sockets, no clock. A [`LiveFeed`] writes the texts that are sent and
//! says what the venue allows; `ingest::daemon` does it.

use std::time::Duration;

use crate::error::Result;
use crate::event::Kind;
use crate::quantity::TsNs;

/// How the feeds of one exchange are had live.
pub trait LiveFeed: Sync {
    /// Where its WebSocket feeds are: `wss://host[:port]`, without the path of [`Topic::path`].
    fn stream_url(&self) -> &'static str;

    /// Where its REST interface is: `https://host`, without a path.
    fn rest_url(&self) -> &'static str;

    /// What the venue allows and expects.
    fn manners(&self) -> Manners;

    /// Paths of the REST requests that together list what is traded.
    fn listings(&self) -> Vec<String>;

    /// The symbols in the answer to one of [`LiveFeed::listings`] that are traded now.
    ///
    /// # Errors
    /// The answer cannot be read.
    fn symbols(&self, listing: &str, body: &[u8]) -> Result<Vec<String>>;

    /// What to subscribe to for rows of `kind` of `symbol`; empty if the exchange has none. One
    /// topic may serve several kinds.
    fn topics(&self, kind: Kind, symbol: &str) -> Vec<Topic>;

    /// Path of a REST request to be answered before each connection, by POST; its answer goes to
    /// [`LiveFeed::address`].
    fn ticket(&self) -> Option<&'static str> {
        None
    }

    /// The address to connect to: where the feeds are, as the user may have set it, with `path` of
    /// the topics; or what the answer to [`LiveFeed::ticket`] says.
    ///
    /// # Errors
    /// The answer cannot be read.
    fn address(&self, stream_url: &str, path: &str, ticket: &[u8]) -> Result<String> {
        let _ = ticket;
        Ok(format!("{stream_url}{path}"))
    }

    /// Texts to send first on every connection.
    fn greeting(&self) -> Vec<String> {
        Vec::new()
    }

    /// Texts that subscribe to topics, at most [`Manners::topics_per_message`] of them. `id`
    /// numbers the requests of a connection from 1.
    fn subscribe(&self, topics: &[&str], id: u64, now: TsNs) -> Vec<String>;

    /// Texts that end subscriptions; as [`LiveFeed::subscribe`].
    fn unsubscribe(&self, topics: &[&str], id: u64, now: TsNs) -> Vec<String>;

    /// Path of the REST request for a snapshot of the book of `symbol`, where one must be spliced
    /// into the stream.
    fn snapshot(&self, symbol: &str) -> Option<String> {
        let _ = symbol;
        None
    }

    /// The text of a heartbeat, every [`Manners::ping_every`]; `None` for a WebSocket ping.
    fn ping(&self, id: u64, now: TsNs) -> Option<String> {
        let _ = (id, now);
        None
    }

    /// What a message means for the connection. Asked of every message: it must tell data at a
    /// glance.
    fn heard(&self, message: &[u8]) -> Heard {
        let _ = message;
        Heard::Data
    }
}

/// One thing to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic {
    /// Topics of different paths need different connections; `/stream`.
    pub path: &'static str,
    /// As the venue names it, or what [`LiveFeed::subscribe`] makes its texts of.
    pub name: String,
}

/// What a venue allows and expects of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Topics of one connection.
    pub topics_per_connection: usize,
    /// Topics of one subscribing text.
    pub topics_per_message: usize,
    /// Least time between two texts that we send on a connection.
    pub message_every: Duration,
    /// Least time between two new connections.
    pub connect_every: Duration,
    /// How often it wants to hear that we are there.
    pub ping_every: Option<Duration>,
    /// A connection on which nothing was heard for so long, not even a pong, is dead.
    pub silence_max: Duration,
    /// The venue ends connections at this age; a new one is begun before.
    pub age_max: Option<Duration>,
    /// Least time between two REST requests for a snapshot.
    pub snapshot_every: Duration,
    /// How a book that has a gap becomes whole again.
    pub resync: Resync,
}

/// How a book that has a gap becomes whole again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// By a new REST snapshot, see [`LiveFeed::snapshot`].
    Snapshot,
    /// By subscribing to its topics again.
    Resubscribe,
    /// By connecting again.
    Reconnect,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            topics_per_connection: 100,
            topics_per_message: 10,
            message_every: Duration::from_millis(250),
            connect_every: Duration::from_secs(1),
            ping_every: Some(Duration::from_secs(15)),
            silence_max: Duration::from_secs(40),
            age_max: None,
            snapshot_every: Duration::from_millis(500),
            resync: Resync::Resubscribe,
        }
    }
}

/// What a message means for the connection it came on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Data, or nothing to be done.
    Data,
    /// The venue wants this text back.
    Answer(String),
    /// A subscription was refused; why.
    Refused(String),
    /// The venue asks for a new connection; why.
    Reconnect(String),
}
