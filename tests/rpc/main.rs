//! A server and its client must answer as the store itself does, and no client may harm another.
//!
//! Every test makes a small market, serves it on a port of its own, and compares what the client
//! hears with what the library says of the same folder. Nothing sleeps but where time is what is
//! tested.

mod access;
mod append;
mod books;
mod crowds;
mod disk;
mod flight;
mod follow;
mod hostile;
mod lasting;
mod limits;
mod listener;
mod market;
mod members;
mod outputs;
mod replay;
mod resume;
mod scans;
mod sessions;
mod stops;
mod tls;
