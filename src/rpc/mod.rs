//! The gRPC service `tickreel.v1` and its typed client.
//!
//! `format-spec/rpc/v1/tickreel.proto` is the contract. [`serve`] answers it for a store,
//! [`Client`] asks it with the types of the library: the same question to a store and to a server
//! gives equal values. Rows travel as Arrow IPC, never one protobuf message per row.
//!
//! *Architecture invariant:* map reads block, so they run on worker threads only; the async side
//! holds finished answers. A stream of answers gives its thread back after each part, so that a
//! slow client holds neither a thread nor more than a few parts in memory.
//!
//! ```no_run
//! # async fn example() -> tickreel::Result<()> {
//! use tickreel::rpc::{BookQuery, Client};
//! use tickreel::{Instrument, TsNs};
//!
//! let client = Client::connect("http://127.0.0.1:7400").await?;
//! let answer = client
//!     .book(&BookQuery {
//!         instrument: Instrument::parse("binance-futures:BTCUSDT")?,
//!         at: TsNs::parse("2024-08-08T23:54:15Z")?,
//!         depth: Some(10),
//!     })
//!     .await?;
//! for (price, qty) in &answer.bids {
//!     let _ = (price, qty);
//! }
//! # Ok(()) }
//! ```
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod access;
mod append;
mod client;
mod clock;
mod columns;
mod connection;
mod counters;
mod flight;
mod model;
mod outlet;
mod pacer;
mod parts;
mod player;
#[allow(
    missing_docs,
    clippy::all,
    clippy::missing_errors_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "written by tools/codegen; what it does with outside bytes is prost's business"
)]
#[rustfmt::skip]
#[path = "generated/tickreel.v1.rs"]
pub mod proto;
mod scans;
mod server;
mod service;
mod session;
mod sessions;
mod status;
mod stops;
mod tls;
mod transport;
mod workers;

pub use access::{Access, new_token};
pub use client::{
    AppendAnswers, AppendSender, Appended, BookFrame, Books, Client, Controls, Credentials, Event,
    Frame, FrameStep, LastingSession, Patience, RemoteScan, Session,
};
pub use model::{
    BookAnswer, BookQuery, Command, CoverageQuery, End, EndReason, GapNotice, InstrumentQuery,
    JoinQuery, Level, OpenedStream, Output, PlayState, Progress, ProtocolError, ReplayQuery,
    RowForm, SampleQuery, ScanEnd, ScanQuery, ServerStats, SessionState, SessionSummary, Speed,
    StepAmount, StopCondition, StopNotice, Stops, StreamSummary,
};
pub use server::{ServeOptions, serve};
pub use status::{Incident, Reporter};
pub use tls::{Tls, TlsKeys};
