//! How a venue speaks: what it hears, what it answers, what a captured message is to its clients.
//!
//! One file per venue, written from its own documentation and from what it sent in captures.

mod binance;
mod bitfinex;
mod bitget;
mod bitmex;
mod bitstamp;
mod bybit;
mod coinbase;
mod deribit;
mod gate;
mod hyperliquid;
mod kraken;
mod kraken_futures;
mod kucoin;
mod okx;

use std::collections::BTreeMap;
use std::time::Duration;

use tickreel::ingest::sample::VenueForm;

use crate::book::Book;
use crate::script::Script;

/// What a line of a capture is to a client of today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A message of a topic.
    Message {
        /// As [`Protocol::hear`] names it.
        topic: String,
        /// What it is about.
        symbol: String,
        /// What the messages of the topic are to each other.
        role: Role,
        /// Whether it is a whole book.
        is_whole: bool,
        /// As it is sent.
        text: String,
    },
    /// A snapshot of a book over REST.
    Reply {
        /// The topic that it begins; empty if it does not say.
        topic: String,
        /// Whose.
        symbol: String,
        /// As it is sent.
        body: String,
    },
}

/// What the messages of a topic are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Each changes a book; a client begins with a snapshot in the stream.
    Book,
    /// As `Book`; a client asks for the snapshot over REST.
    SplicedBook,
    /// Each tells how things are now; a client is told at once when it subscribes.
    State,
    /// Each stands for itself.
    Events,
}

impl Role {
    /// Whether the topic is a book.
    #[must_use]
    pub fn is_book(self) -> bool {
        matches!(self, Self::Book | Self::SplicedBook)
    }
}

/// What a protocol keeps of a captured connection: its channels by their numbers.
pub type Memory = BTreeMap<String, String>;

/// What a protocol keeps of one connection.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Path of the address it was made to, with the query.
    pub path: String,
    /// Number of the last message, where the venue numbers what it sends.
    pub sequence: i64,
    /// Numbers that the connection gave to topics.
    pub channels: BTreeMap<String, i64>,
    /// Numbers given to topics so far.
    pub opened: i64,
    /// What the client asked for with the connection's flags.
    pub flags: i64,
}

/// What follows from a client's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This text is sent.
    Say(String),
    /// The topic is sent from now on.
    Subscribe(String),
    /// The topic is no longer sent.
    Unsubscribe(String),
    /// It was a heartbeat; the answer.
    Pong(String),
    /// The connection is closed.
    Close(u16, String),
}

/// A REST request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// GET or POST.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Key and value, in order.
    pub query: Vec<(String, String)>,
    /// What was posted.
    pub body: String,
    /// `host:port` as the client addressed it.
    pub host: String,
}

impl Request {
    /// The value of a key of the query.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The answer to a REST request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Status and body.
    Body(u16, String),
    /// The snapshot of this topic, with at most so many levels a side.
    Snapshot(String, usize),
}

/// What the venue allows; beyond it the client is cut off.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Texts in a time.
    pub texts: (usize, Duration),
    /// New connections in a time.
    pub connections: (usize, Duration),
    /// Topics of one connection.
    pub topics: usize,
    /// How often the venue sends a WebSocket ping.
    pub ping_every: Option<Duration>,
    /// A connection on which nothing was heard for so long is closed.
    pub silence_max: Option<Duration>,
    /// Code and reason of the close frame for too many texts.
    pub too_many: (u16, &'static str),
}

impl Limits {
    /// Bounds that no client meets.
    pub const NONE: Self = Self {
        texts: (usize::MAX, Duration::from_secs(1)),
        connections: (usize::MAX, Duration::from_secs(1)),
        topics: usize::MAX,
        ping_every: None,
        silence_max: None,
        too_many: (1008, "Too many requests"),
    };
}

/// How one venue speaks.
pub trait Protocol: Send + Sync {
    /// What a captured message is today; nothing if it is no data. `address` is what the recorder
    /// was connected to, empty if it did not say; `memory` is of this connection.
    fn read(&self, memory: &mut Memory, address: &str, text: &str) -> Vec<Read>;

    /// What a captured REST reply is; `None` if it is no snapshot of a book.
    fn read_reply(&self, url: &str, body: &str) -> Option<Read> {
        let _ = (url, body);
        None
    }

    /// Whether made-up markets of this form are this venue's.
    fn reads_sample(&self, form: VenueForm) -> bool {
        let _ = form;
        false
    }

    /// What the venue allows.
    fn limits(&self) -> Limits;

    /// A connection is made.
    fn open(&self, session: &mut Session, script: &Script) -> Vec<Action> {
        let _ = (session, script);
        Vec::new()
    }

    /// A client said something.
    fn hear(&self, session: &mut Session, text: &str, script: &Script) -> Vec<Action>;

    /// The text that asks a client whether it is there, instead of a WebSocket ping.
    fn beat(&self, session: &Session) -> Option<String> {
        let _ = session;
        None
    }

    /// Changes `book` by a message of its topic.
    fn fold(&self, book: &mut Book, text: &str);

    /// Makes `book` what a REST reply says.
    fn fold_reply(&self, book: &mut Book, body: &str) {
        let _ = (book, body);
    }

    /// The sequence number that a message of a book follows, where the snapshot is had over REST.
    fn before(&self, text: &str) -> Option<i64> {
        let _ = text;
        None
    }

    /// What a client is told that subscribes to `topic` when it stands at `book`.
    fn fresh(&self, topic: &str, book: &Book) -> Vec<String>;

    /// A REST snapshot of `book`.
    fn snapshot(&self, topic: &str, book: &Book, levels: usize) -> String {
        let _ = (topic, book, levels);
        String::new()
    }

    /// Rewrites a message for one connection; `None` to send it as it is. `topic` is empty for
    /// answers.
    fn deliver(&self, session: &mut Session, topic: &str, text: &str) -> Option<String> {
        let _ = (session, topic, text);
        None
    }

    /// Answers a REST request.
    fn rest(&self, request: &Request, script: &Script) -> Answer;

    /// The body of an answer with this status.
    fn refusal(&self, status: u16) -> String;

    /// What stands before the numbers that count a book's changes: `"u":`.
    fn sequence_keys(&self) -> &'static [&'static str];

    /// What stands before the checksum.
    fn checksum_key(&self) -> Option<&'static str> {
        None
    }
}

/// The protocol of an exchange id of tickreel.
#[must_use]
pub fn of_exchange(exchange: &str) -> Option<Box<dyn Protocol>> {
    Some(match exchange {
        "binance" => Box::new(binance::SPOT),
        "binance-futures" => Box::new(binance::USD_M),
        "binance-delivery" => Box::new(binance::COIN_M),
        "okex" | "okex-swap" | "okex-futures" | "okex-options" => Box::new(okx::Okx),
        "bitfinex" | "bitfinex-derivatives" => Box::new(bitfinex::Bitfinex),
        "bitget" | "bitget-futures" => Box::new(bitget::Bitget),
        "bitmex" => Box::new(bitmex::BitMex),
        "bitstamp" => Box::new(bitstamp::Bitstamp),
        "bybit" | "bybit-spot" => Box::new(bybit::Bybit),
        "coinbase" => Box::new(coinbase::Coinbase),
        "cryptofacilities" => Box::new(kraken_futures::KrakenFutures),
        "deribit" => Box::new(deribit::Deribit),
        "gate-io" => Box::new(gate::SPOT),
        "gate-io-futures" => Box::new(gate::FUTURES),
        "hyperliquid" => Box::new(hyperliquid::Hyperliquid),
        "kraken" => Box::new(kraken::Kraken),
        "kucoin" => Box::new(kucoin::KuCoin),
        _ => return None,
    })
}
