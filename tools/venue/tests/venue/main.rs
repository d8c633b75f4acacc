//! Venues through real sockets, asked by a plain WebSocket client.
#![allow(clippy::print_stderr, reason = "skipped captures")]

mod client;
mod dialects;
mod faults;
mod playing;
mod venues;
