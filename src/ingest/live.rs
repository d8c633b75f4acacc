//! What a recorder must know of a venue to have its feeds live: addresses, topics, manners.
//!
//! Pure as a dialect is: no sockets, no clock. A [`LiveFeed`] writes the texts that are sent and
//! says what the venue allows; `ingest::daemon` does it.

use std::collections::BTreeMap;
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

    /// The text that is posted to one of [`LiveFeed::listings`]; `None` for a GET.
    fn listing_body(&self, listing: &str) -> Option<&'static str> {
        let _ = listing;
        None
    }

    /// Headers, names and values, of every WebSocket handshake and REST request.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The symbols in the answer to one of [`LiveFeed::listings`] that are traded now, as the
    /// dialect writes them.
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

    /// Texts that `subscribe` to topics, or `unsubscribe` from them, as `what` says, at most
    /// [`Manners::topics_per_message`] of them. `id` numbers the requests of a connection from 1.
    fn requests(&self, what: &str, topics: &[&str], id: u64, now: TsNs) -> Vec<String>;

    /// Texts that subscribe to topics; as [`LiveFeed::requests`].
    fn subscribe(&self, topics: &[&str], id: u64, now: TsNs) -> Vec<String> {
        self.requests("subscribe", topics, id, now)
    }

    /// Texts that end subscriptions; as [`LiveFeed::requests`].
    fn unsubscribe(&self, topics: &[&str], id: u64, now: TsNs) -> Vec<String> {
        self.requests("unsubscribe", topics, id, now)
    }

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
    /// As the venue names it, or what [`LiveFeed::requests`] makes its texts of.
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

/// Longest message of which [`says`] is asked: answers and notices are short.
const NOTICE_BYTES_MAX: usize = 2048;

/// Whether a message is short enough for a notice and has `words` in it.
pub(super) fn says(message: &[u8], words: &str) -> bool {
    message.len() <= NOTICE_BYTES_MAX && memchr::memmem::find(message, words.as_bytes()).is_some()
}

/// [`Heard::Refused`] with the whole message.
pub(super) fn refused(message: &[u8]) -> Heard {
    Heard::Refused(String::from_utf8_lossy(message).into_owned())
}

/// [`refused`] if it is a refusal, else [`Heard::Data`].
pub(super) fn refused_if(is_refusal: bool, message: &[u8]) -> Heard {
    if is_refusal { refused(message) } else { Heard::Data }
}

/// [`Heard::Reconnect`] with the whole message.
pub(super) fn reconnect(message: &[u8]) -> Heard {
    Heard::Reconnect(String::from_utf8_lossy(message).into_owned())
}

/// `"a","b"`: the elements of a JSON array of texts.
pub(super) fn quoted(texts: &[&str]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    quoted.join(",")
}

/// The symbols of topics called `channel:symbol`, by channel.
pub(super) fn by_channel<'a>(topics: &[&'a str]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut channels: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for topic in topics {
        let (channel, symbol) = topic.split_once(':').unwrap_or((topic, ""));
        channels.entry(channel).or_default().push(symbol);
    }
    channels
}

/// Topics called `channel:symbol` on `path`.
pub(super) fn topics_of(path: &'static str, channels: &[&str], symbol: &str) -> Vec<Topic> {
    let topic = |channel: &&str| Topic { path, name: format!("{channel}:{symbol}") };
    channels.iter().map(topic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_gathered_by_their_channel() {
        let topics = by_channel(&["trades:B", "book:A:x", "trades:A", "all"]);
        let topics: Vec<_> = topics.into_iter().collect();
        assert_eq!(topics, [("all", vec![""]), ("book", vec!["A:x"]), ("trades", vec!["B", "A"])]);
        assert_eq!(quoted(&["a", "b"]), r#""a","b""#);
        assert_eq!(
            topics_of("/ws", &["book"], "A"),
            [Topic { path: "/ws", name: "book:A".into() }]
        );
    }

    #[test]
    fn only_short_messages_are_searched_for_words() {
        assert!(says(b"xx error", "error") && !says(b"xx", "error"));
        assert!(!says(&[b'e'; NOTICE_BYTES_MAX + 1], "e"));
    }
}
