//! Whatever a disk does, a store holds what was committed, whole, or says what is wrong.
//!
//! The engine runs on a simulated disk ([`sim`]) that fails, lies and loses power where a test
//! says; programs ([`program`]) use a store on it ([`world`]), by import and live ([`live`]), and
//! a model outside of the store ([`model`]) keeps what must be there. `TICKREEL_SEEDS=20000` runs
//! more random programs, `TICKREEL_SEED=7` one; a failure names its seed, operation and kind of
//! crash in one line.
#![allow(clippy::print_stdout, reason = "how many states were tried is part of the result")]

mod crashes;
mod damage;
mod failures;
mod journals;
mod live;
mod model;
mod opening;
#[path = "../oracle/mod.rs"]
mod oracle;
mod power;
mod program;
mod quarantine;
mod sabotage;
mod seeds;
mod sim;
mod world;
