//! The daemon's configuration: a TOML file, read whole and checked before anything starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::error::{Error, Result};
use crate::event::Kind;
use crate::ingest::live::{LiveFeed, Manners};
use crate::ingest::venues;
use crate::quantity::parse_duration_ns;

/// Kinds that a feed may fill.
const KINDS: [Kind; 5] = [Kind::Book, Kind::Trades, Kind::Quotes, Kind::Ticker, Kind::Liquidations];

/// How often lists of instruments are read again.
const REFRESH: Duration = Duration::from_secs(3600);

/// Copies of one feed that may run side by side.
const CONNECTIONS_MAX: usize = 4;

/// What to record and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One for each exchange.
    pub feeds: Vec<FeedConfig>,
    /// How long rows may wait to be made durable together.
    pub group_commit: Duration,
    /// Bytes of rows in memory that are not sealed yet.
    pub memory_max: u64,
    /// Where figures are shown over HTTP.
    pub http: Option<SocketAddr>,
    /// Bytes of one reject file; the one before it is kept too.
    pub reject_bytes_max: u64,
    /// How long sealed rows of a kind are kept; kinds not named are kept for ever.
    pub retention: BTreeMap<Kind, Duration>,
    /// When days are compacted; never if `None`.
    pub compact: Option<CompactConfig>,
    /// A file of certificates (PEM) to be trusted besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// Bytes that may wait for each exchange while the recording is held up.
    pub waiting_max: u64,
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// Its id.
    pub exchange: &'static str,
    /// What is recorded of which symbols.
    pub selections: Vec<Selection>,
    /// Connections side by side for each subscription. What they hear is stored once; one may be
    /// lost as long as another lives.
    pub connections: usize,
    /// Whether every frame is kept verbatim too.
    pub raw: bool,
    /// Where its WebSocket feeds are.
    pub stream_url: String,
    /// Where its REST interface is.
    pub rest_url: String,
    /// How often its list of instruments is read again.
    pub refresh: Duration,
    /// How often it hears that we are there, if not as often as it asks for.
    pub ping_every: Option<Duration>,
    /// A connection on which nothing is heard for so long is dead, if not by our own measure.
    pub silence_max: Option<Duration>,
    /// Connections are renewed at this age, if not shortly before the venue ends them.
    pub age_max: Option<Duration>,
}

/// When and how fast days become few large segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactConfig {
    /// So long after the end of a UTC day.
    pub after: Duration,
    /// Bytes of segments that are read a second at most.
    pub bandwidth: u64,
}

/// Symbols and the kinds that are recorded of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Names, or patterns with `*` and `?`.
    pub symbols: Vec<String>,
    /// At least one.
    pub kinds: Vec<Kind>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    group_commit: Option<Spanned<String>>,
    memory_max: Option<Spanned<String>>,
    http: Option<Spanned<String>>,
    reject_bytes_max: Option<Spanned<String>>,
    ca_file: Option<PathBuf>,
    waiting_max: Option<Spanned<String>>,
    #[serde(default)]
    retention: BTreeMap<Spanned<String>, Spanned<String>>,
    compact: Option<Compact>,
    #[serde(default)]
    feed: Vec<Spanned<Feed>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compact {
    after: Spanned<String>,
    bandwidth: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feed {
    exchange: Spanned<String>,
    symbols: Spanned<Vec<Spanned<String>>>,
    kinds: Option<Spanned<Vec<Spanned<String>>>>,
    connections: Option<Spanned<usize>>,
    raw: Option<Spanned<bool>>,
    stream_url: Option<Spanned<String>>,
    rest_url: Option<Spanned<String>>,
    refresh: Option<Spanned<String>>,
    ping_every: Option<Spanned<String>>,
    silence_max: Option<Spanned<String>>,
    age_max: Option<Spanned<String>>,
}

impl Config {
    /// Reads a configuration; `path` is named in errors.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] with line, column, what was found and what was expected.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            wrong(text, start, error.message().replace('\n', ", "), path)
        })?;
        Self::check(file).map_err(|Wrong(span, what)| wrong(text, span.start, what, path))
    }

    fn check(file: File) -> Result<Self, Wrong> {
        if file.feed.is_empty() {
            return Err(Wrong(0..0, "expected at least one [[feed]]".to_owned()));
        }
        let mut feeds: Vec<FeedConfig> = Vec::new();
        for table in file.feed {
            let span = table.span();
            let feed = FeedConfig::check(table.into_inner())?;
            match feeds.iter_mut().find(|known| known.exchange == feed.exchange) {
                None => feeds.push(feed),
                Some(known) => known.merge(feed).map_err(|what| Wrong(span, what))?,
            }
        }
        let retention = file.retention.into_iter().map(|(kind, age)| {
            let kind = at(&kind, Kind::parse)?;
            let age = at(&age, duration)?;
            Ok((kind, age))
        });
        let bytes = |number: &Option<Spanned<String>>, default: u64| match number {
            Some(number) => at(number, parse_bytes),
            None => Ok(default),
        };
        Ok(Self {
            feeds,
            group_commit: match &file.group_commit {
                Some(text) => at(text, duration)?,
                None => Duration::from_millis(10),
            },
            memory_max: bytes(&file.memory_max, 256 << 20)?,
            reject_bytes_max: bytes(&file.reject_bytes_max, 64 << 20)?,
            http: match &file.http {
                Some(text) => Some(at(text, loopback)?),
                None => None,
            },
            retention: retention.collect::<Result<_, Wrong>>()?,
            compact: match &file.compact {
                None => None,
                Some(compact) => Some(CompactConfig {
                    after: at(&compact.after, duration)?,
                    bandwidth: bytes(&compact.bandwidth, 4 << 20)?,
                }),
            },
            ca_file: file.ca_file,
            waiting_max: bytes(&file.waiting_max, 64 << 20)?,
        })
    }
}

impl FeedConfig {
    fn check(feed: Feed) -> Result<Self, Wrong> {
        let live = at(&feed.exchange, venues::live)?;
        let exchange = venues::exchange(feed.exchange.get_ref()).unwrap_or_default();
        let offers = |kind: &Kind| !live.topics(*kind, "X").is_empty();
        let kinds = match &feed.kinds {
            None => KINDS.into_iter().filter(offers).collect(),
            Some(kinds) => {
                let kind = |name: &Spanned<String>| {
                    at(name, |text| match Kind::parse(text) {
                        Ok(kind) if offers(&kind) => Ok(kind),
                        _ => {
                            let all: Vec<_> = KINDS.iter().filter(|kind| offers(kind)).collect();
                            let all: Vec<_> = all.iter().map(|kind| kind.name()).collect();
                            let all = all.join(", ");
                            Err(Error::invalid(format!(
                                "kind {text:?} of {exchange}: expected one of {all}"
                            )))
                        }
                    })
                };
                let read: Vec<Kind> = kinds.get_ref().iter().map(kind).collect::<Result<_, _>>()?;
                if read.is_empty() {
                    return Err(Wrong(kinds.span(), "kinds: expected at least one".to_owned()));
                }
                read
            }
        };
        let symbols: Vec<String> =
            feed.symbols.get_ref().iter().map(|name| name.get_ref().clone()).collect();
        if symbols.is_empty() {
            let what = "symbols: expected at least one name or pattern, e.g. \"*\"";
            return Err(Wrong(feed.symbols.span(), what.to_owned()));
        }
        if let Some(name) = feed.symbols.get_ref().iter().find(|name| name.get_ref().is_empty()) {
            return Err(Wrong(name.span(), "symbol \"\": expected a name or pattern".to_owned()));
        }
        let connections = feed.connections.as_ref().map_or(1, |number| *number.get_ref());
        if let Some(number) = &feed.connections
            && !(1..=CONNECTIONS_MAX).contains(&connections)
        {
            let what = format!("connections {connections}: expected 1 to {CONNECTIONS_MAX}");
            return Err(Wrong(number.span(), what));
        }
        let url = |url: &Option<Spanned<String>>, default: &str, schemes: [&str; 2]| match url {
            None => Ok(default.to_owned()),
            Some(url) => at(url, |text| base_url(text, schemes)),
        };
        Ok(Self {
            exchange,
            selections: vec![Selection { symbols, kinds }],
            connections,
            raw: feed.raw.is_some_and(Spanned::into_inner),
            stream_url: url(&feed.stream_url, live.stream_url(), ["wss", "ws"])?,
            rest_url: url(&feed.rest_url, live.rest_url(), ["https", "http"])?,
            refresh: time(&feed.refresh)?.unwrap_or(REFRESH),
            ping_every: time(&feed.ping_every)?,
            silence_max: time(&feed.silence_max)?,
            age_max: time(&feed.age_max)?,
        })
    }

    /// What the venue allows and expects, with what the user knows better.
    pub(super) fn manners(&self, live: &dyn LiveFeed) -> Manners {
        let manners = live.manners();
        Manners {
            ping_every: self.ping_every.or(manners.ping_every),
            silence_max: self.silence_max.unwrap_or(manners.silence_max),
            age_max: self.age_max.or(manners.age_max),
            ..manners
        }
    }

    /// Adds another table of the same exchange.
    fn merge(&mut self, other: Self) -> Result<(), String> {
        let selections = std::mem::take(&mut self.selections);
        let same = Self { selections: Vec::new(), ..other.clone() } == *self;
        self.selections = selections;
        if !same {
            return Err(format!(
                "second [[feed]] of {}: expected the same but for symbols and kinds",
                self.exchange
            ));
        }
        self.selections.extend(other.selections);
        Ok(())
    }
}

/// What is wrong, and where in the text.
struct Wrong(Range<usize>, String);

/// Reads the value of a spanned text.
fn at<T>(text: &Spanned<String>, read: impl FnOnce(&str) -> Result<T>) -> Result<T, Wrong> {
    read(text.get_ref()).map_err(|error| Wrong(text.span(), error.text().to_owned()))
}

fn wrong(text: &str, start: usize, what: String, path: &Path) -> Error {
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::invalid(format!("line {line}, column {column}: {what}")).at_path(path)
}

fn duration(text: &str) -> Result<Duration> {
    let ns = match text.strip_suffix('d').and_then(|days| days.trim().parse::<i64>().ok()) {
        Some(days) => days.checked_mul(86_400_000_000_000),
        None => Some(parse_duration_ns(text)?),
    };
    let ns = ns.and_then(|ns| u64::try_from(ns).ok());
    ns.map(Duration::from_nanos)
        .ok_or_else(|| Error::invalid(format!("duration {text:?}: expected e.g. 10ms, 12h, 90d")))
}

fn time(text: &Option<Spanned<String>>) -> Result<Option<Duration>, Wrong> {
    let positive = |text: &str| match duration(text)? {
        Duration::ZERO => Err(Error::invalid(format!("duration {text:?}: expected above zero"))),
        time => Ok(time),
    };
    text.as_ref().map(|text| at(text, positive)).transpose()
}

/// Reads `1048576`, `64MiB` or `2 GiB`.
fn parse_bytes(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default().trim();
    let shift = match unit {
        "" | "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        _ => None,
    };
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    number
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift))
        .ok_or_else(|| Error::invalid(format!("bytes {text:?}: expected e.g. 256MiB, 2GiB")))
}

/// Reads an address that only this machine reaches.
fn loopback(text: &str) -> Result<SocketAddr> {
    let address: Option<SocketAddr> = text.parse().ok();
    address.filter(|address| address.ip().is_loopback()).ok_or_else(|| {
        Error::invalid(format!("http {text:?}: expected a loopback address, e.g. 127.0.0.1:7480"))
    })
}

/// Checks an address without path.
fn base_url(text: &str, schemes: [&str; 2]) -> Result<String> {
    let host = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)?.strip_prefix("://"));
    let host = host.map(|host| host.trim_end_matches('/'));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', ' ']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(Error::invalid(format!(
            "address {text:?}: expected {}://host or {}://host without a path",
            schemes[0], schemes[1]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, Path::new("feeds.toml"))
    }

    #[test]
    fn everything_that_may_be_said_is_read() {
        let config = parse(
            r#"
group_commit = "20ms"
memory_max = "1 GiB"
http = "127.0.0.1:7480"
[retention]
book = "90d"
[compact]
after = "2h"
[[feed]]
exchange = "binance-futures"
symbols = ["BTCUSDT", "ETH*"]
kinds = ["book", "trades"]
connections = 2
raw = true
stream_url = "ws://127.0.0.1:9000/"
rest_url = "http://127.0.0.1:9001"
refresh = "10m"
silence_max = "30s"
[[feed]]
exchange = "binance"
symbols = ["BTCUSDT"]
[[feed]]
exchange = "binance"
symbols = ["*"]
kinds = ["trades"]
"#,
        )
        .unwrap();

        assert_eq!(config.group_commit, Duration::from_millis(20));
        assert_eq!(config.memory_max, 1 << 30);
        assert_eq!(config.retention[&Kind::Book], Duration::from_secs(90 * 86_400));
        let compact = CompactConfig { after: Duration::from_secs(7200), bandwidth: 4 << 20 };
        assert_eq!(config.compact, Some(compact));
        let [futures, spot] = &config.feeds[..] else { panic!("{config:?}") };
        assert_eq!((futures.connections, futures.raw), (2, true));
        assert_eq!(futures.stream_url, "ws://127.0.0.1:9000");
        assert_eq!(futures.selections[0].kinds, [Kind::Book, Kind::Trades]);
        assert_eq!(spot.selections[0].kinds, [Kind::Book, Kind::Trades, Kind::Quotes]);
        assert_eq!(spot.selections[1].kinds, [Kind::Trades]);
        assert_eq!(spot.rest_url, "https://api.binance.com");
        assert_eq!((futures.refresh, spot.refresh), (Duration::from_secs(600), REFRESH));
        let live = venues::live("binance-futures").unwrap();
        let (ours, venues) = (futures.manners(live), live.manners());
        assert_eq!((ours.silence_max, ours.age_max), (Duration::from_secs(30), venues.age_max));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let feed = "[[feed]]\nexchange = \"binance\"\nsymbols = [\"A\"]\n";
        for (text, place, what) in [
            (String::new(), "line 1, column 1", "[[feed]]"),
            (format!("{feed}kind = 1"), "line 4, column 1", "unknown field"),
            (format!("{feed}kinds = [\"liquidations\"]"), "line 4, column 10", "book, trades, quo"),
            (format!("{feed}kinds = []"), "line 4, column 9", "at least one"),
            (format!("{feed}connections = 0"), "line 4, column 15", "1 to 4"),
            (format!("{feed}stream_url = \"http://x\""), "line 4, column 14", "wss://host"),
            (format!("{feed}rest_url = \"http://x/y\""), "line 4, column 12", "without a path"),
            (format!("{feed}{feed}raw = true"), "line 4, column 1", "expected the same"),
            (format!("http = \"0.0.0.0:1\"\n{feed}"), "line 1, column 8", "loopback"),
            (format!("memory_max = \"1 GB\"\n{feed}"), "line 1, column 14", "256MiB"),
            (format!("{feed}refresh = \"0s\""), "line 4, column 11", "above zero"),
            (format!("group_commit = \"-1ms\"\n{feed}"), "line 1, column 16", "10ms"),
            (format!("[retention]\nbooks = \"1d\"\n{feed}"), "line 2, column 1", "books"),
            (format!("[compact]\n{feed}"), "line 1, column 1", "after"),
            (format!("[compact]\nafter = \"1h\"\nbandwidth = \"0\"\n{feed}"), "line 3", "256MiB"),
            (format!("{feed}symbols = [\"B\"]"), "line 4, column 1", "duplicate"),
            (
                "[[feed]]\nexchange = \"nyse\"\nsymbols = [\"A\"]".into(),
                "line 2, column 12",
                "nyse",
            ),
            (
                "[[feed]]\nexchange = \"ftx\"\nsymbols = [\"A\"]".into(),
                "line 2, column 12",
                "binance",
            ),
            ("[[feed]]\nexchange = \"binance\"\nsymbols = []".into(), "line 3, column 11", "\"*\""),
        ] {
            let error = parse(&text).unwrap_err().to_string();

            assert!(error.contains(place) && error.contains(what), "{text}: {error}");
            assert!(error.contains("feeds.toml"), "{error}");
        }
    }
}
