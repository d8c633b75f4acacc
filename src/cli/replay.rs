//! `tickreel replay`: streams played in the total order.

use std::io::{IsTerminal, Write};
use std::path::Path;

use super::args::{self, From};
use super::output::{StreamLines, write_table};
use super::play::{PlayedStep, ReplayRequest, Totals};
use super::remote::Remote;
use super::screen;
use super::steer::{Begin, SteerArgs};
use super::target::Target;
use super::watch::watch;
use crate::error::Result;
use crate::event::Kind;
use crate::quantity::{Instrument, TsNs};
use crate::replay::ReplayOrder;

/// Play streams of one or more instruments merged in the total order.
///
/// Prints each row, or with --hash only the rows and the hash of each stream and over all: they are
/// the same on every run and machine. With --server and on a terminal the market is shown as it
/// moves, with keys to steer it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    from_where: From,
    /// Kinds, separated by commas [default: every kind there is]
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = args::kind)]
    kinds: Vec<Kind>,
    /// First receive time, inclusive
    #[arg(long, value_name = "T", value_parser = args::time)]
    from: Option<TsNs>,
    /// End of the receive times, exclusive
    #[arg(long, value_name = "T", value_parser = args::time)]
    to: Option<TsNs>,
    /// Speed in recorded time, e.g. 1 or 60 [default: as fast as possible]
    #[arg(long, value_name = "X", value_parser = speed)]
    speed: Option<f64>,
    /// Print rows and hash instead of the rows themselves
    #[arg(long)]
    hash: bool,
    /// Print JSON: one object per row, or one document with --hash
    #[arg(long)]
    json: bool,
    /// Instruments, e.g. binance-futures:BTCUSDT
    #[arg(required_unless_present = "join")]
    #[arg(value_name = "INSTRUMENT", value_parser = args::instrument)]
    instruments: Vec<Instrument>,
    /// What streams are merged by; --from and --to are times of it
    #[arg(long, value_name = "TIME", default_value = "recv")]
    order: Order,
    #[command(flatten)]
    steer: SteerArgs,
}

/// What streams are merged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    /// When rows were received.
    Recv,
    /// When the venue says they happened, as far as their streams' order allows.
    Event,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('x').parse::<f64>() {
        Ok(speed) if (0.001..=1_000_000.0).contains(&speed) => Ok(speed),
        _ => Err(format!("speed {text:?}: expected a number from 0.001 to 1000000")),
    }
}

/// Rows after which the progress bar is moved.
const PROGRESS_ROWS: u64 = 1 << 16;

/// Runs the command.
///
/// # Errors
/// The store or server cannot be read or has no such stream; interrupted.
pub fn run(args: &Args) -> Result<()> {
    screen::catch_interrupts()?;
    let range = args::Range { from: args.from, to: args.to }.bounds()?;
    let target = Target::open(&args.from_where)?;
    let request = ReplayRequest {
        instruments: args.instruments.clone(),
        kinds: args.kinds.clone(),
        range,
        order: match args.order {
            Order::Recv => ReplayOrder::Recv,
            Order::Event => ReplayOrder::Event,
        },
        speed: args.speed,
        hash: args.hash,
    };
    let rows = target.rows_at_most(&request)?;
    match &target {
        Target::Store(_) => print_rows(args, rows, |each| target.play(&request, each)),
        Target::Server(remote) => {
            let plain = args.json || args.hash || !std::io::stdout().is_terminal();
            let view = args.steer.wants_view() && !plain;
            let begin = args.steer.begin(&request, view)?;
            match (view, args.steer.wants_books()) {
                (true, _) => remote.with_session(&begin, watch),
                (_, true) => print_books(remote, &begin, args.json),
                _ => print_rows(args, rows, |each| remote.play(&begin, each)),
            }
        }
    }
}

/// What sees every run of messages that is played.
type Each<'a> = &'a mut dyn FnMut(&PlayedStep<'_>) -> Result<()>;

/// Prints what `play` plays, or only its totals.
fn print_rows(
    args: &Args,
    rows_at_most: u64,
    play: impl FnOnce(Each<'_>) -> Result<Totals>,
) -> Result<()> {
    let bar =
        screen::progress(rows_at_most, "{wide_msg} [{bar:30}] {human_pos} rows {percent}% {eta}");
    let mut lines = StreamLines::new(std::io::stdout().lock(), Path::new("-"), args.json);
    let mut rows = 0;
    let totals = play(&mut |step| {
        screen::check_interrupted()?;
        let more = step.rows() as u64;
        if !args.hash {
            lines.write(step.key, step.batch, step.messages.clone())?;
            if args.speed.is_some() || args.steer.is_live() {
                lines.flush()?;
            }
        }
        if rows / PROGRESS_ROWS != (rows + more) / PROGRESS_ROWS {
            bar.set_position(rows + more);
            bar.set_message(step.due.to_string());
        }
        rows += more;
        Ok(())
    })?;
    bar.finish_and_clear();
    lines.flush()?;
    // The lock on standard output is given back before the totals are printed.
    drop(lines);
    if args.hash { print_totals(&totals, args.json) } else { Ok(()) }
}

/// Prints a line for each book of a session.
fn print_books(remote: &Remote, begin: &Begin, json: bool) -> Result<()> {
    let mut out = screen::output();
    remote.play_books(begin, |key, table| {
        write_table(&mut out, &key.instrument, table, json)?;
        out.flush().map_err(screen::write_error)
    })
}

fn print_totals(totals: &Totals, json: bool) -> Result<()> {
    let mut out = screen::output();
    let written = if json {
        let streams: Vec<_> = totals
            .streams
            .iter()
            .map(|total| {
                serde_json::json!({
                    "instrument": total.key.instrument.to_string(),
                    "kind": total.key.kind.name(),
                    "rows": total.hash.rows(),
                    "hash": total.hash.to_string(),
                })
            })
            .collect();
        let document = serde_json::json!({
            "streams": streams,
            "rows": totals.all.rows(),
            "hash": totals.all.to_string(),
        });
        writeln!(out, "{document}")
    } else {
        let lines = totals
            .streams
            .iter()
            .map(|total| (total.key.to_string(), total.hash.rows(), total.hash.to_string()));
        let all = ("all, in order".to_owned(), totals.all.rows(), totals.all.to_string());
        let lines: Vec<_> = lines.chain([all]).collect();
        let width = lines.iter().map(|(name, _, _)| name.chars().count()).max().unwrap_or(0);
        lines.iter().try_for_each(|(name, rows, hash)| {
            writeln!(out, "{name:<width$}  {:>14} rows  hash {hash}", screen::count(*rows))
        })
    };
    written.and_then(|()| out.flush()).map_err(screen::write_error)
}
