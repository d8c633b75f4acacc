//! A writer that dies at any moment loses nothing that it acknowledged: real processes are killed,
//! and the power of real file systems is cut.
//!
//! The test starts itself again as a writer process ([`job`]), which appends rows that both sides
//! know ([`source`]) and tells on its standard output what is durable ([`writer`]). Then it dies,
//! and the store is compared with those rows ([`expected`]).
//!
//! `TICKREEL_KILLS` and `TICKREEL_CUTS` say how often, `TICKREEL_SEED` at which moments.
#![cfg(target_os = "linux")]

mod cut;
mod expected;
mod job;
mod kill;
#[path = "../oracle/mod.rs"]
mod oracle;
mod source;
mod volume;
mod without_sync;
mod writer;

use std::io::Write;

use oracle::Random;

/// A number from the environment.
fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The moments of one test, all different and the same for the same seed.
fn random(test: u64) -> Random {
    let seed = from_env("TICKREEL_SEED", 1);
    say(&format!("TICKREEL_SEED={seed}"));
    Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(test) | 1)
}

/// A line for the person who runs the tests.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
