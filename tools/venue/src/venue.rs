//! A running venue, and what a test may ask of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::book::Book;
use crate::counters::Counters;
use crate::fault::Fault;
use crate::market::{Market, Start};
use crate::protocol::{Limits, Protocol};
use crate::script::Script;
use crate::server::{self, Pace, Shared};

/// How a venue plays.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How fast.
    pub pace: Pace,
    /// When the script begins.
    pub start: Start,
    /// What clients may do; `None` for what the real venue allows.
    pub limits: Option<Limits>,
    /// How often the script is played, one time after another. Event times repeat.
    pub laps: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            pace: Pace::Times(1.0),
            start: Start::Go,
            limits: None,
            laps: 1,
        }
    }
}

/// A venue that listens on loopback; it ends when this is dropped.
pub struct Venue {
    at: SocketAddr,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

impl Venue {
    /// Starts a venue that plays `script`.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(
        protocol: Box<dyn Protocol>,
        script: Script,
        options: Options,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let at = listener.local_addr()?;
        let Options { start, limits, laps, pace, .. } = options;
        let shared = Shared::new(Market::new(protocol, script, start, limits, laps));
        let listening = tokio::spawn(server::listen(shared.clone(), listener, at));
        let playing = tokio::spawn(server::play(shared.clone(), pace));
        Ok(Self { at, shared, tasks: [listening, playing] })
    }

    /// Where it listens, for WebSocket and REST.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// Base of the WebSocket addresses: `ws://127.0.0.1:port`.
    #[must_use]
    pub fn stream_url(&self) -> String {
        format!("ws://{}", self.at)
    }

    /// Base of the REST addresses: `http://127.0.0.1:port`.
    #[must_use]
    pub fn rest_url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Begins the script.
    pub fn go(&self) {
        self.shared.market().go();
        self.shared.note_progress();
    }

    /// Waits until everything was played; clients may still have to read it.
    pub async fn finished(&self) {
        // The sender lives as long as `self`.
        let _ = self.shared.is_over.subscribe().wait_for(|is_over| *is_over).await;
    }

    /// Waits until `holds` of the counters.
    pub async fn until(&self, holds: impl Fn(&Counters) -> bool) {
        let mut progress = self.shared.progress.subscribe();
        while !holds(&self.shared.market().counters) {
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Does something wrong, now or with the messages to come.
    ///
    /// # Errors
    /// The script has no such topic, its venue no checksum, or the connection is not up.
    pub fn fault(&self, fault: &Fault) -> Result<(), String> {
        self.shared.market().fault(fault)?;
        match fault {
            Fault::Stall(on) => {
                self.shared.is_stalled.send_replace(*on);
            }
            Fault::Refuse(on) => {
                self.shared.is_refusing.send_replace(*on);
            }
            _ => {}
        }
        self.shared.note_progress();
        Ok(())
    }

    /// What it saw and did so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.market().counters.clone()
    }

    /// Names of the topics of the script.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        let market = self.shared.market();
        market.script().topics.iter().map(|topic| topic.name.clone()).collect()
    }

    /// Names of the topics that somebody is subscribed to.
    #[must_use]
    pub fn subscribed(&self) -> Vec<String> {
        self.shared.market().subscribed()
    }

    /// The book of a topic as it stands.
    #[must_use]
    pub fn book(&self, topic: &str) -> Option<Book> {
        self.shared.market().book(topic)
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.market().drop_all();
    }
}
