//! A venue on loopback that plays captures:
//! `tickreel-venue --venue binance-futures --capture FILE`.
//!
//! Prints its address, then does what the lines of its input say: `go`, `counters`, `topics`,
//! `subscribed`, `quit` and the faults of [`tickreel_venue::COMMANDS`].
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tickreel::ingest::sample::MarketOptions;
use tickreel_venue::{COMMANDS, Limits, Options, Pace, Script, Start, Venue, protocol};
use tokio::io::{AsyncBufReadExt, BufReader};

const USAGE: &str =
    "usage: tickreel-venue --venue EXCHANGE (--capture FILE... | --seed N [--seconds N])
    [--speed X|flat] [--listen ADDRESS] [--start TOPICS|go] [--laps N] [--no-limits]";

struct Args {
    exchange: String,
    captures: Vec<PathBuf>,
    seed: u64,
    seconds: i64,
    options: Options,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args {
        exchange: String::new(),
        captures: Vec::new(),
        seed: 1,
        seconds: 60,
        options: Options { start: Start::When(1), ..Options::default() },
    };
    while let Some(word) = words.next() {
        if word == "--no-limits" {
            args.options.limits = Some(Limits::NONE);
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word}: expected a value"))?;
        let bad = |_| format!("{word} {value}: not understood");
        match word.as_str() {
            "--venue" => args.exchange = value,
            "--capture" => args.captures.push(PathBuf::from(value)),
            "--seed" => {
                args.seed = value
                    .parse()
                    .map_err(|error: std::num::ParseIntError| bad(error.to_string()))?
            }
            "--seconds" => args.seconds = value.parse().map_err(|_| bad(String::new()))?,
            "--speed" if value == "flat" => args.options.pace = Pace::FlatOut,
            "--speed" => {
                args.options.pace = Pace::Times(value.parse().map_err(|_| bad(String::new()))?);
            }
            "--listen" => {
                let at: Result<SocketAddr, _> = value.parse();
                args.options.listen = at.map_err(|_| bad(String::new()))?;
            }
            "--start" if value == "go" => args.options.start = Start::Go,
            "--start" => {
                args.options.start = Start::When(value.parse().map_err(|_| bad(String::new()))?);
            }
            "--laps" => args.options.laps = value.parse().map_err(|_| bad(String::new()))?,
            _ => return Err(format!("{word}: not known")),
        }
    }
    Ok(args)
}

async fn run(args: Args) -> Result<(), String> {
    let protocol = protocol::of_exchange(&args.exchange)
        .ok_or_else(|| format!("--venue {:?}: not known", args.exchange))?;
    let script = if args.captures.is_empty() {
        let mut market = MarketOptions::new(args.seed).map_err(|error| error.to_string())?;
        market.duration_ns = args.seconds.saturating_mul(1_000_000_000);
        Script::of_sample(&*protocol, &market).map(|(script, _)| script)
    } else {
        Script::of_captures(&*protocol, &args.captures)
    };
    let script = script.map_err(|error| error.to_string())?;
    let started = Venue::start(protocol, script, args.options).await;
    let venue = started.map_err(|error| error.to_string())?;
    println!("{}", venue.address());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.trim() {
            "" => {}
            "go" => venue.go(),
            "counters" => println!("{:#?}", venue.counters()),
            "topics" => println!("{}", venue.topics().join("\n")),
            "subscribed" => println!("{}", venue.subscribed().join("\n")),
            "quit" => return Ok(()),
            line => match line.parse().and_then(|fault| venue.fault(&fault)) {
                Ok(()) => println!("done: {line}"),
                Err(error) => println!("refused: {error}"),
            },
        }
    }
    // Without an input it plays on.
    std::future::pending().await
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match parse(std::env::args().skip(1)) {
        Ok(args) if args.exchange.is_empty() => Err(format!("{USAGE}\ncommands: {COMMANDS}")),
        Ok(args) => run(args).await,
        Err(error) => Err(format!("{error}\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
