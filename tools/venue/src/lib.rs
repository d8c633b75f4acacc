//! Venues on loopback: WebSocket and REST, speaking each venue's protocol.
//!
//! A [`Script`] is read from captures or made by [`tickreel::ingest::sample`]; a [`Venue`] plays it
//! to clients as the real venue would: only what they subscribed to, snapshots first, limits kept.
//! On command it misbehaves ([`Fault`]) and counts what it did ([`Counters`]).
//!
//! - A topic is sent from the moment it is subscribed to. Who subscribes in the middle gets a
//!   snapshot of the book as it stands. [`Start::When`] holds the script until so many topics are
//!   subscribed: then a client hears what the capture holds, from its first message.
//! - A REST snapshot is answered as captured, once, to who subscribed before it; the request waits
//!   until the script has come to it. Later ones are answered with the book as it stands.
//! - [`Fault::Restart`] begins all sequences again with 1; [`Options::laps`] plays the script again
//!   with sequences that go on.
//!
//! ```
//! use tickreel::ingest::sample::MarketOptions;
//! use tickreel_venue::{Fault, Options, Pace, Script, Spoil, Start, Venue, protocol};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let protocol = protocol::of_exchange("binance-futures").unwrap();
//! let mut market = MarketOptions::new(7).unwrap();
//! market.duration_ns = 2_000_000_000;
//! let (script, captures) = Script::of_sample(&*protocol, &market).unwrap();
//! let options = Options { pace: Pace::FlatOut, start: Start::When(2), ..Options::default() };
//! let venue = Venue::start(protocol, script, options).await.unwrap();
//!
//! // The daemon is given venue.stream_url() and venue.rest_url() and subscribes to two topics ...
//! let topic = "btcusdt@depth@100ms".to_owned();
//! venue.fault(&Fault::Spoil { topic, how: Spoil::Drop, count: 1 }).unwrap();
//! venue.go(); // ... or the script is begun without it.
//! venue.finished().await;
//! assert_eq!(venue.counters().faults["drop"], 1);
//! # });
//! ```

pub mod book;
mod counters;
mod fault;
pub mod frame;
mod http;
pub mod json;
mod market;
mod outbox;
pub mod protocol;
mod script;
mod server;
mod venue;

pub use counters::{Connection, Counters};
pub use fault::{COMMANDS, Fault, Spoil};
pub use market::Start;
pub use protocol::{Limits, Protocol};
pub use script::{Event, Message, Script, Topic, TopicId};
pub use server::Pace;
pub use venue::{Options, Venue};
