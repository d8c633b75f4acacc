//! `tickreel demo`: makes a market, imports, compares, serves and replays it, and shows all of it.
//!
//! The demo knows what the market really was, so every answer it shows has been compared with that.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::args::Place;
use super::play::ReplayRequest;
use super::target::Target;
use super::{book, screen};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Side;
use crate::ingest::sample::{Captures, MarketOptions, TrueBook, write_captures};
use crate::ingest::{self, OpenOptions, Reject, Watch};
use crate::quantity::{Decimal, TsNs};
use crate::replay::ReplayOrder;
use crate::rpc::{BookAnswer, ServeOptions, serve};
use crate::store::{ImportOptions, Store};

/// Make a market of five instruments on four venues, write it as their captures, import it, serve
/// it, and as a gRPC client seek and replay it. Takes well under a minute and ends by itself.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for captures and store; an earlier demo in it is replaced
    #[arg(long, value_name = "DIR", default_value = "tickreel-demo")]
    dir: PathBuf,
    /// Seed of the market; equal seeds give equal markets
    #[arg(long, value_name = "N", default_value_t = SEED)]
    seed: u64,
}

/// The market that demo and bench use.
const SEED: u64 = 1;

/// Runs the command.
///
/// # Errors
/// A file cannot be written, or an answer differs from what the market was.
pub fn run(args: &Args) -> Result<()> {
    screen::catch_interrupts()?;
    let started = Instant::now();
    let (data, root) = (args.dir.join("captures"), args.dir.join("market.reel"));
    clear(&args.dir)?;
    say(&format!("1. a made-up market (seed {}) -> {}", args.seed, data.display()))?;
    let options = MarketOptions::new(args.seed)?;
    let captures = make(&options, &data)?;
    say("\n2. import of what the venues sent")?;
    import(&captures, &data, &root)?;
    let store = Store::open(&root)?;
    say("\n3. every checksum, and every checkpoint rebuilt from the rows before it")?;
    verify(&store)?;
    say("\n4. a server, and a client that asks it over gRPC")?;
    let server = Server::start(store)?;
    let url = format!("http://{}", server.address);
    let target = Target::open(&Place { store: None, server: Some(url.clone()) }.into())?;
    compare_books(&target, &captures)?;
    show_book(&target, &captures)?;
    say("\n5. a replay of everything, merged in the total order")?;
    replay(&target, &root, &captures)?;
    drop(target);
    server.stop()?;
    let seconds = started.elapsed().as_secs_f64();
    finish(&root, &captures, seconds)
}

/// Writes the files of the made-up market into `folder`.
///
/// # Errors
/// A file cannot be written.
pub fn sample_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let captures = write(&MarketOptions::new(SEED)?, folder, |_, _| Ok(()))?;
    Ok(captures.files.iter().map(|file| folder.join(&file.name)).collect())
}

fn write(
    options: &MarketOptions,
    folder: &Path,
    mut progress: impl FnMut(i64, i64) -> Result<()>,
) -> Result<Captures> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(e, "create folder", folder))?;
    let open = |name: &str| -> Result<Box<dyn Write + Send>> {
        screen::check_interrupted()?;
        let path = folder.join(name);
        let file = File::create(&path).map_err(|e| Error::io(e, "create file", &path))?;
        Ok(Box::new(BufWriter::new(file)))
    };
    let mut stopped = Ok(());
    let captures = write_captures(options, open, |so_far| {
        if stopped.is_ok() {
            stopped = progress(so_far.done_ns, so_far.total_ns);
        }
    })?;
    stopped.map(|()| captures)
}

/// Removes an earlier demo; refuses a folder that holds anything else.
fn clear(folder: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(e, "list folder", folder))?;
        let ours = ["captures", "market.reel"].iter().any(|name| entry.file_name() == *name);
        if !ours {
            return Err(Error::new(
                ErrorKind::Exists,
                format!(
                    "folder holds {}, which no demo made: name another with --dir",
                    entry.file_name().display()
                ),
            )
            .at_path(folder));
        }
    }
    std::fs::remove_dir_all(folder).map_err(|e| Error::io(e, "remove earlier demo", folder))
}

fn say(text: &str) -> Result<()> {
    let mut out = screen::output();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(screen::write_error)
}

fn make(options: &MarketOptions, folder: &Path) -> Result<Captures> {
    let bar = screen::progress(0, "   [{bar:30}] {percent}%");
    let captures = write(options, folder, |done, total| {
        bar.set_length(total.unsigned_abs());
        bar.set_position(done.unsigned_abs());
        screen::check_interrupted()
    })?;
    bar.finish_and_clear();
    for (instrument, counts) in &captures.truth.counts {
        say(&format!(
            "   {:<26} {:>9} levels in {:>6} messages, {:>6} trades",
            instrument.to_string(),
            screen::count(counts.levels),
            screen::count(counts.deltas + counts.snapshots),
            screen::count(counts.trades)
        ))?;
    }
    let gaps = captures.truth.gaps.len();
    say(&format!("   {} files, {gaps} places where messages were lost", captures.files.len()))?;
    Ok(captures)
}

struct Strict;

impl Watch for Strict {
    fn progress(&mut self, _bytes_read: u64, _rows: u64) -> Result<()> {
        screen::check_interrupted()
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        Err(reject.error)
    }
}

fn import(captures: &Captures, data: &Path, root: &Path) -> Result<()> {
    let started = Instant::now();
    let files: Vec<_> = captures.files.iter().map(|file| data.join(&file.name)).collect();
    let store = Store::open_or_create(root)?;
    let mut import = store.import(ImportOptions::default())?;
    let mut rows = 0;
    for mut input in ingest::open_all(&files, &OpenOptions::default())? {
        rows += ingest::load(&mut *input.source, &mut import, &mut Strict)?.rows;
    }
    import.commit()?;
    let seconds = started.elapsed().as_secs_f64();
    let infos = store.snapshot()?.stream_infos();
    let bytes: u64 = infos.iter().map(|info| info.bytes).sum();
    say(&format!(
        "   {} rows in {} streams, {:.1} s ({} rows/s), {:.2} bytes a row",
        screen::count(rows),
        infos.len(),
        seconds,
        screen::count((rows as f64 / seconds) as u64),
        bytes as f64 / rows.max(1) as f64
    ))
}

fn verify(store: &Store) -> Result<()> {
    let report = store.verify(|_, _| ())?;
    if let Some(damage) = report.damage.into_iter().next() {
        return Err(damage.error);
    }
    say(&format!(
        "   {} segments, {} rows, {} checkpoints: all as they were written",
        report.segments,
        screen::count(report.rows),
        screen::count(report.checkpoints)
    ))
}

/// A server on a free port of this machine.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<Result<()>>,
}

impl Server {
    fn start(store: Store) -> Result<Self> {
        let network =
            |e: std::io::Error| Error::new(ErrorKind::Io, format!("cannot start the server: {e}"));
        let runtime = Runtime::new().map_err(network)?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).map_err(network)?;
        let address = listener.local_addr().map_err(network)?;
        let (stop, stopped) = oneshot::channel();
        let done = runtime.spawn(async move {
            // A dropped sender stops it too.
            let stop = async { drop(stopped.await) };
            serve(store, listener, ServeOptions::default(), stop).await
        });
        Ok(Self { runtime, address, stop, done })
    }

    fn stop(self) -> Result<()> {
        drop(self.stop);
        self.runtime.block_on(self.done).unwrap_or_else(|e| {
            Err(Error::new(ErrorKind::Io, format!("the server ended early: {e}")))
        })
    }
}

/// Asks for every book that the market's making kept, and compares all levels.
fn compare_books(target: &Target, captures: &Captures) -> Result<()> {
    let mut micros = Vec::with_capacity(captures.truth.books.len());
    for truth in &captures.truth.books {
        screen::check_interrupted()?;
        let started = Instant::now();
        let answer = target.book(&truth.instrument, truth.at, usize::MAX)?;
        micros.push(started.elapsed().as_secs_f64() * 1e6);
        if !is_true(&answer, truth) {
            return Err(Error::corrupt(format!(
                "book of {} at {} is not what the market was",
                truth.instrument, truth.at
            )));
        }
    }
    micros.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        micros.get((micros.len() as f64 * share) as usize).copied().unwrap_or_default() / 1000.0
    };
    say(&format!(
        "   {} whole books by time: all equal to the market's own; p50 {:.2} ms, p99 {:.2} ms",
        micros.len(),
        quantile(0.5),
        quantile(0.99)
    ))
}

fn is_true(answer: &BookAnswer, truth: &TrueBook) -> bool {
    let side = |side, found: &[(Decimal, Decimal)]| {
        let levels = truth.book.levels(side).map(|(price, qty)| {
            let price = Decimal::new(price, truth.book.price_scale());
            price.zip(Decimal::new(qty, truth.book.qty_scale()))
        });
        levels.eq(found.iter().map(|level| Some(*level)))
    };
    side(Side::Bid, &answer.bids) && side(Side::Ask, &answer.asks)
}

fn show_book(target: &Target, captures: &Captures) -> Result<()> {
    let Some(first) = captures.truth.books.first() else { return Ok(()) };
    let of_first = captures.truth.books.iter().filter(|book| book.instrument == first.instrument);
    let books: Vec<_> = of_first.collect();
    let Some(shown) = books.get(books.len() / 2) else { return Ok(()) };
    let answer = target.book(&shown.instrument, shown.at, 5)?;
    let mut out = screen::output();
    writeln!(out)
        .and_then(|()| book::write_ladder(&mut out, &answer))
        .and_then(|()| out.flush())
        .map_err(screen::write_error)?;
    for gap in captures.truth.gaps.iter().take(1) {
        let inside = TsNs(gap.from.0 + (gap.until.0 - gap.from.0) / 2);
        let stale = target.book(&gap.instrument, inside, 1)?;
        let (state, _, missing) = book::state_parts(stale.state);
        say(&format!(
            "\n   where messages were lost the answer says so: {} at {inside} is {state}, {}",
            gap.instrument,
            super::list::missing(missing)
        ))?;
        // Not every venue's sequence tells how many messages are missing; none may be invented.
        if state != "stale" || ![0, gap.messages].contains(&missing) {
            return Err(Error::corrupt("a hole of the market is not in the store"));
        }
    }
    Ok(())
}

/// Replays everything over gRPC and in this process: the hashes must be equal.
fn replay(target: &Target, root: &Path, captures: &Captures) -> Result<()> {
    let mut instruments: Vec<_> =
        captures.truth.counts.iter().map(|(instrument, _)| instrument.clone()).collect();
    instruments.dedup();
    let request = ReplayRequest {
        instruments,
        kinds: Vec::new(),
        range: TsNs::MIN..TsNs::MAX,
        order: ReplayOrder::Recv,
        speed: None,
        hash: true,
    };
    let bar = screen::progress(
        target.rows_at_most(&request)?,
        "   {msg} [{bar:30}] {human_pos} rows {percent}%",
    );
    let started = Instant::now();
    let mut rows = 0;
    let served = target.play(&request, |step| {
        rows += step.rows() as u64;
        bar.set_position(rows);
        bar.set_message(step.due.to_string());
        Ok(())
    })?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    say(&format!(
        "   over gRPC: {} rows in {seconds:.2} s ({} rows/s at the client), hash {}",
        screen::count(served.all.rows()),
        screen::count((served.all.rows() as f64 / seconds) as u64),
        served.all
    ))?;
    let local = Target::open(&Place { store: Some(root.to_owned()), server: None }.into())?;
    let started = Instant::now();
    let played = local.play(&request, |_| screen::check_interrupted())?;
    let seconds = started.elapsed().as_secs_f64();
    say(&format!(
        "   in process: {} rows in {seconds:.2} s, hash {}",
        screen::count(played.all.rows()),
        played.all
    ))?;
    if played.all != served.all {
        return Err(Error::corrupt("the served replay differs from the local one"));
    }
    Ok(())
}

fn finish(root: &Path, captures: &Captures, seconds: f64) -> Result<()> {
    let store = root.display();
    let Some(truth) = captures.truth.books.last() else { return Ok(()) };
    let name = &truth.instrument;
    say(&format!(
        "\ndone in {seconds:.1} s; the store stays in {store}. Try next:\n\
         \x20 tickreel ls --store {store}\n\
         \x20 tickreel book --store {store} {name} --at {}\n\
         \x20 tickreel read --store {store} {name} --kind trades --format csv\n\
         \x20 tickreel coverage --store {store} {}\n\
         (from this folder `cargo run --release --` stands for `tickreel`)",
        truth.at,
        captures.truth.gaps.first().map_or(name, |gap| &gap.instrument)
    ))
}
