//! The daemon end to end: it records venues that play captures through real sockets, and what lands
//! in its store is compared with an import of the same captures.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "skipped captures, figures")]

mod captures;
mod clock;
mod faults;
mod manners;
mod recorded;
mod redundant;
mod storage;
mod tls;
