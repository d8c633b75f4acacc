//! What a venue saw and did, for tests to demand.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Every WebSocket connection, in the order they were made.
    pub connections: Vec<Connection>,
    /// Connections cut for breaking a limit, with the reason.
    pub cut_off: Vec<String>,
    /// Messages of topics sent, all connections together.
    pub messages: u64,
    /// Whole books sent after a subscription in the middle.
    pub fresh: u64,
    /// REST requests by path.
    pub requests: BTreeMap<String, u64>,
    /// REST requests by the status of their answer.
    pub statuses: BTreeMap<u16, u64>,
    /// Least time from an answer of this status until the next REST request.
    pub retried_after: BTreeMap<u16, Duration>,
    /// What was done wrong: `drop`, `double`, `stall`, ... and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// Topics of dropped, swapped and otherwise spoiled messages, in order.
    pub spoiled: Vec<(String, &'static str)>,
}

/// One WebSocket connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Path and query it was made to.
    pub path: String,
    /// Texts heard.
    pub texts: u64,
    /// Most texts heard within one second.
    pub texts_in_a_second: usize,
    /// Topics it subscribed to, again counted again.
    pub subscribed: u64,
    /// WebSocket pings and heartbeat texts heard.
    pub pings: u64,
    /// Pongs heard.
    pub pongs: u64,
    /// Whether it is still up.
    pub is_open: bool,
}

/// When things happened that are limited in a time.
#[derive(Debug, Default)]
pub(crate) struct Window(Vec<Instant>);

impl Window {
    /// Notes one more and says how many there were within `span`.
    pub fn note(&mut self, now: Instant, span: Duration) -> usize {
        self.0.retain(|at| now.duration_since(*at) < span);
        self.0.push(now);
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_forgets_what_is_older_than_its_span() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut window = Window::default();
        assert_eq!(window.note(start, second), 1);
        assert_eq!(window.note(start + second / 2, second), 2);
        assert_eq!(window.note(start + second, second), 2);
    }
}
