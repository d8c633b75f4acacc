//! The command line: parse flags, call below, print.
//!
//! Answers go to standard output, tables for people and `--json` for programs; progress and errors
//! go to standard error. A failed command exits with 1, bad usage with 2, and an interrupted one
//! with 130.

mod args;
mod bench;
mod book;
mod compact;
mod demo;
mod doors;
mod import;
mod ingest;
mod inspect;
mod list;
pub mod output;
mod play;
mod quarantine;
mod read;
mod remote;
mod replay;
mod screen;
mod serve;
mod status;
mod steer;
mod target;
mod terminal;
mod token;
mod verify;
mod view;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, ErrorKind, Result};

/// A columnar store and replay engine for market ticks.
#[derive(Debug, Parser)]
#[command(name = "tickreel", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a market, import it, serve it and replay it: shows everything, ends by itself
    Demo(demo::Args),
    /// Import files into a store: Tardis CSV or raw venue captures, plain, gzip or zstd
    Import(import::Args),
    Ingest(ingest::Args),
    /// List instruments, kinds, time ranges, rows and bytes
    Ls(list::LsArgs),
    /// Show the time ranges and gaps of an instrument
    Coverage(list::CoverageArgs),
    /// Show the order book at a moment
    Book(book::Args),
    /// Read rows of a stream in a range of time
    Read(read::Args),
    /// Play streams merged in the total order
    Replay(replay::Args),
    /// Serve a store to gRPC clients
    Serve(serve::Args),
    Token(token::Args),
    Compact(compact::Args),
    /// Check every checksum and rebuild every checkpoint of a store
    Verify(verify::Args),
    Quarantine(quarantine::Args),
    /// Print any file of a store in words
    Inspect(inspect::Args),
    /// Measure import, seek, scan and replay on this machine
    Bench(bench::Args),
}

/// Runs the command that the program's arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::Cancelled => {
            screen::error_line(&format!("tickreel: {error}"));
            ExitCode::from(130)
        }
        Err(error) => {
            screen::error_line(&format!("tickreel: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Ls(args) => list::ls(&args),
        Command::Coverage(args) => list::coverage(&args),
        Command::Book(args) => book::run(&args),
        Command::Read(args) => read::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Compact(args) => compact::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Quarantine(args) => quarantine::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Bench(args) => bench::run(&args),
    }
}

/// The reader of our output went away, e.g. `tickreel ls | head`: no failure.
fn is_closed_pipe(error: &Error) -> bool {
    error.io_source().is_some_and(|source| source.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
