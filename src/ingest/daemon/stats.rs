//! What the daemon counts, and how it is shown: as a document and in Prometheus's text form.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::lag::Lag;
pub use super::symbols::SymbolStatus;
use super::symbols::Symbols;

/// Counters of the whole daemon. Cheap to clone: all clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    feeds: Arc<Mutex<BTreeMap<&'static str, Arc<FeedStats>>>>,
    /// From the reading of a frame until its rows are durable.
    pub(super) durable_lag: Arc<Lag>,
    /// The disk has no room; nothing is stored until it has.
    pub(super) disk_full: Arc<AtomicU64>,
}

/// Counters of one exchange.
#[derive(Debug, Default)]
pub(super) struct FeedStats {
    pub connections: AtomicI64,
    pub connections_up: AtomicI64,
    pub messages: AtomicU64,
    pub bytes: AtomicU64,
    pub rejects: AtomicU64,
    pub rows_lost: AtomicU64,
    pub reconnects: AtomicU64,
    pub refusals: AtomicU64,
    pub requests: AtomicU64,
    pub clock_steps: AtomicU64,
    pub books: AtomicU64,
    pub books_live: AtomicU64,
    pub copies_live: AtomicU64,
    /// From the venue's event to our reading of its frame.
    pub event_lag: Lag,
    symbols: Mutex<Symbols>,
}

impl FeedStats {
    /// The figures of its symbols.
    pub fn symbols(&self) -> MutexGuard<'_, Symbols> {
        lock(&self.symbols)
    }
}

/// One exchange as `/status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedStatus {
    /// Its id.
    pub exchange: String,
    /// Connections wanted.
    pub connections: i64,
    /// Connections that are up.
    pub connections_up: i64,
    /// Messages heard.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that could not be read.
    pub rejects: u64,
    /// Rows that the store did not take; each time is a gap.
    #[serde(default)]
    pub rows_lost: u64,
    /// Times that a connection was lost.
    pub reconnects: u64,
    /// Subscriptions that the venue refused.
    pub refusals: u64,
    /// REST requests.
    pub requests: u64,
    /// Times that the wall clock was set.
    pub clock_steps: u64,
    /// Books recorded.
    pub books: u64,
    /// Books that are whole now.
    pub books_live: u64,
    /// Books that are whole on a connection, counted for each of the connections side by side.
    pub copies_live: u64,
    /// Rows stored.
    pub rows: u64,
    /// Gaps stored.
    pub gaps: u64,
    /// Snapshots that ended a gap.
    pub resyncs: u64,
    /// Median time from the venue's event to our reading, ms.
    pub event_lag_p50_ms: u64,
    /// Its 99th percentile, ms.
    pub event_lag_p99_ms: u64,
    /// By symbol.
    #[serde(default)]
    pub symbols: Vec<SymbolStatus>,
}

/// The daemon as `/status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// By exchange.
    pub feeds: Vec<FeedStatus>,
    /// Median time from the reading of a frame until its rows are durable, ms.
    pub durable_lag_p50_ms: u64,
    /// Its 99th percentile, ms.
    pub durable_lag_p99_ms: u64,
    /// The disk has no room.
    pub disk_full: bool,
}

impl Stats {
    /// The counters of an exchange.
    pub(super) fn feed(&self, exchange: &'static str) -> Arc<FeedStats> {
        lock(&self.feeds).entry(exchange).or_default().clone()
    }

    /// What was counted so far.
    #[must_use]
    pub fn status(&self) -> Status {
        let feeds = lock(&self.feeds);
        Status {
            feeds: feeds.iter().map(|(exchange, feed)| feed.status(exchange)).collect(),
            durable_lag_p50_ms: self.durable_lag.quantile_ms(0.5),
            durable_lag_p99_ms: self.durable_lag.quantile_ms(0.99),
            disk_full: self.disk_full.load(Relaxed) != 0,
        }
    }

    /// What was counted so far, in Prometheus's text form, version 0.0.4.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let feeds: Vec<_> = lock(&self.feeds).iter().map(|(name, f)| (*name, f.clone())).collect();
        let (mut text, mut by_symbol) = (String::new(), Vec::new());
        type Count = fn(&FeedStats) -> i64;
        let counters: [(&str, &str, &str, Count); 13] = [
            ("connections", "gauge", "Connections wanted", |f| f.connections.load(Relaxed)),
            ("connections_up", "gauge", "Connections up", |f| f.connections_up.load(Relaxed)),
            ("messages_total", "counter", "Messages heard", |f| signed(&f.messages)),
            ("bytes_total", "counter", "Bytes of messages heard", |f| signed(&f.bytes)),
            ("rejects_total", "counter", "Messages not readable", |f| signed(&f.rejects)),
            ("rows_lost_total", "counter", "Rows not taken by the store", |f| signed(&f.rows_lost)),
            ("reconnects_total", "counter", "Connections lost", |f| signed(&f.reconnects)),
            ("refusals_total", "counter", "Subscriptions refused", |f| signed(&f.refusals)),
            ("requests_total", "counter", "REST requests", |f| signed(&f.requests)),
            ("clock_steps_total", "counter", "Wall clock set", |f| signed(&f.clock_steps)),
            ("books", "gauge", "Books recorded", |f| signed(&f.books)),
            ("books_live", "gauge", "Books that are whole", |f| signed(&f.books_live)),
            ("copies_live", "gauge", "Books whole on a connection", |f| signed(&f.copies_live)),
        ];
        for (name, kind, help, count) in counters {
            head(&mut text, name, kind, help);
            for (exchange, feed) in &feeds {
                line(&mut text, name, &[("exchange", exchange)], count(feed));
            }
        }
        for (exchange, feed) in &feeds {
            by_symbol.extend(feed.symbols().status().into_iter().map(|of| (*exchange, of)));
        }
        symbols_text(&mut text, &by_symbol);
        head(&mut text, "event_lag_seconds", "histogram", "From the venue's event to our reading");
        for (exchange, feed) in &feeds {
            histogram(&mut text, "event_lag_seconds", &[("exchange", exchange)], &feed.event_lag);
        }
        let what = "From the reading of a frame until its rows are durable";
        head(&mut text, "durable_lag_seconds", "histogram", what);
        histogram(&mut text, "durable_lag_seconds", &[], &self.durable_lag);
        head(&mut text, "disk_full", "gauge", "The disk has no room");
        line(&mut text, "disk_full", &[], signed(&self.disk_full));
        text
    }
}

impl FeedStats {
    fn status(&self, exchange: &str) -> FeedStatus {
        let symbols = self.symbols().status();
        let sum = |of: fn(&SymbolStatus) -> u64| symbols.iter().map(of).sum();
        FeedStatus {
            exchange: exchange.to_owned(),
            connections: self.connections.load(Relaxed),
            connections_up: self.connections_up.load(Relaxed),
            messages: self.messages.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            rejects: self.rejects.load(Relaxed),
            rows_lost: self.rows_lost.load(Relaxed),
            reconnects: self.reconnects.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
            requests: self.requests.load(Relaxed),
            clock_steps: self.clock_steps.load(Relaxed),
            books: self.books.load(Relaxed),
            books_live: self.books_live.load(Relaxed),
            copies_live: self.copies_live.load(Relaxed),
            rows: sum(|symbol| symbol.rows.values().sum()),
            gaps: sum(|symbol| symbol.gaps),
            resyncs: sum(|symbol| symbol.resyncs),
            event_lag_p50_ms: self.event_lag.quantile_ms(0.5),
            event_lag_p99_ms: self.event_lag.quantile_ms(0.99),
            symbols,
        }
    }
}

/// The figures of each symbol: messages and lags, rows by kind, and of books gaps and resyncs.
fn symbols_text(text: &mut String, symbols: &[(&str, SymbolStatus)]) {
    head(text, "rows_total", "counter", "Rows stored");
    for (exchange, of) in symbols {
        for (kind, rows) in &of.rows {
            let labels = [("exchange", *exchange), ("symbol", &of.symbol), ("kind", kind)];
            line(text, "rows_total", &labels, rows);
        }
    }
    type Of = fn(&SymbolStatus) -> u64;
    let counters: [(&str, &str, Of); 4] = [
        ("gaps_total", "Gaps stored", |of| of.gaps),
        ("resyncs_total", "Snapshots that ended a gap", |of| of.resyncs),
        ("symbol_messages_total", "Messages heard", |of| of.messages),
        ("symbol_bytes_total", "Bytes of messages heard", |of| of.bytes),
    ];
    for (name, help, count) in counters {
        head(text, name, "counter", help);
        for (exchange, of) in symbols {
            line(text, name, &[("exchange", exchange), ("symbol", &of.symbol)], count(of));
        }
    }
    let event: [(&str, Of); 2] =
        [("0.5", |of| of.event_lag_p50_ms), ("0.99", |of| of.event_lag_p99_ms)];
    let durable: [(&str, Of); 2] =
        [("0.5", |of| of.durable_lag_p50_ms), ("0.99", |of| of.durable_lag_p99_ms)];
    for (name, help, quantiles) in [
        ("symbol_event_lag_seconds", "From the venue's event to our reading", event),
        (
            "symbol_durable_lag_seconds",
            "From the reading of a frame until its rows are durable",
            durable,
        ),
    ] {
        head(text, name, "gauge", help);
        for (exchange, of) in symbols {
            for (quantile, ms) in quantiles {
                let labels =
                    [("exchange", *exchange), ("symbol", &*of.symbol), ("quantile", quantile)];
                line(text, name, &labels, ms(of) as f64 / 1e3);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signed(count: &AtomicU64) -> i64 {
    i64::try_from(count.load(Relaxed)).unwrap_or(i64::MAX)
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "# HELP tickreel_{name} {help}\n# TYPE tickreel_{name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    let _ = writeln!(text, "tickreel_{name}{} {value}", shown(labels));
}

fn shown(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
    let pairs = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

fn histogram(text: &mut String, name: &str, labels: &[(&str, &str)], lag: &Lag) {
    let (buckets, sum) = lag.cumulated();
    for (bound, seen) in buckets {
        let bound = bound.to_string();
        let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
        let _ = writeln!(text, "tickreel_{name}_bucket{} {seen}", shown(&labels));
    }
    let count = lag.count();
    let all: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
    let _ = writeln!(text, "tickreel_{name}_bucket{} {count}", shown(&all));
    let _ = writeln!(text, "tickreel_{name}_sum{} {sum}", shown(labels));
    let _ = writeln!(text, "tickreel_{name}_count{} {count}", shown(labels));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::books::Told;
    use super::*;
    use crate::event::{Kind, StreamKey};
    use crate::quantity::Instrument;

    #[test]
    fn figures_are_shown_in_both_forms() {
        let stats = Stats::default();
        let feed = stats.feed("binance");
        feed.messages.fetch_add(7, Relaxed);
        let instrument = Instrument::parse("binance:A\"B").unwrap();
        let key = StreamKey { instrument, kind: Kind::Book };
        let lag = Some(Duration::from_millis(7));
        let number = feed.symbols().stored(&key, 5, Told { gaps: 2, resyncs: 1 }, lag);
        feed.symbols().heard(&key.instrument, 3, 400);
        feed.symbols().durable(&[number], Duration::from_millis(15));
        for ms in [3, 4, 700, 700_000] {
            feed.event_lag.note(Duration::from_millis(ms));
        }

        let status = stats.status();
        let text = stats.prometheus();

        assert_eq!((status.feeds[0].messages, status.feeds[0].gaps), (7, 2));
        assert_eq!((status.feeds[0].event_lag_p50_ms, status.feeds[0].rows), (5, 5));
        assert_eq!(status.feeds[0].event_lag_p99_ms, 60_000);
        for line in [
            "# TYPE tickreel_messages_total counter",
            "tickreel_messages_total{exchange=\"binance\"} 7",
            "tickreel_rows_total{exchange=\"binance\",symbol=\"A\\\"B\",kind=\"book\"} 5",
            "tickreel_gaps_total{exchange=\"binance\",symbol=\"A\\\"B\"} 2",
            "tickreel_symbol_messages_total{exchange=\"binance\",symbol=\"A\\\"B\"} 3",
            "tickreel_symbol_bytes_total{exchange=\"binance\",symbol=\"A\\\"B\"} 400",
            "tickreel_symbol_event_lag_seconds{exchange=\"binance\",symbol=\"A\\\"B\",\
             quantile=\"0.99\"} 0.01",
            "tickreel_symbol_durable_lag_seconds{exchange=\"binance\",symbol=\"A\\\"B\",\
             quantile=\"0.5\"} 0.02",
            "tickreel_event_lag_seconds_bucket{exchange=\"binance\",le=\"0.005\"} 2",
            "tickreel_event_lag_seconds_bucket{exchange=\"binance\",le=\"+Inf\"} 4",
            "tickreel_event_lag_seconds_count{exchange=\"binance\"} 4",
            "tickreel_durable_lag_seconds_count 0",
            "tickreel_disk_full 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
