//! `tickreel serve`: answers gRPC clients from a store, and takes rows from them if asked to.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::doors::{Doors, Keys};
use super::screen;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::{ServeOptions, serve};
use crate::store::{GroupCommit, LiveOptions, Recorder, Store};

/// Serve a store to gRPC clients until Ctrl-C or SIGTERM.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Address and port to listen on; port 0 takes a free one. Without --tls-cert and --tokens or
    /// --client-ca loopback only
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    #[command(flatten)]
    doors: Doors,
    /// Take rows from clients too (Append); the store is made if it is missing
    #[arg(long)]
    append: bool,
    /// What becomes of rows older than the last one of their stream
    #[arg(long, value_name = "RULE", default_value = "refuse", requires = "append")]
    late: Late,
    /// MiB of rows in memory; above it the largest streams are sealed into segments
    #[arg(long, value_name = "MIB", default_value = "256", requires = "append")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    memory_max: u64,
    /// Do not let clients ask for the contract (gRPC reflection)
    #[arg(long)]
    no_reflection: bool,
}

/// What becomes of late rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Late {
    /// They are refused.
    Refuse,
    /// They get the time of the last row.
    Clamp,
}

/// Runs the command.
///
/// # Errors
/// The store cannot be opened or the address cannot be listened on; with `--append` also if the
/// store is written by another process, or the last rows could not be made durable or sealed.
pub fn run(args: &Args) -> Result<()> {
    if !args.append {
        return serve_store(args, Store::open(&args.store)?, None);
    }
    let store = Store::open_or_create(&args.store)?;
    let options = LiveOptions {
        clamp_late: args.late == Late::Clamp,
        memory_max: args.memory_max << 20,
        ..LiveOptions::default()
    };
    let recorder = Recorder::start(store.writer(options)?, GroupCommit::default())?;
    let served = serve_store(args, store, Some(recorder.clone()));
    let mut writer = recorder.close()?;
    let sealed = writer.seal_all();
    sealed.map_err(|error| error.context("all rows are durable, but they cannot be sealed"))?;
    served
}

/// Serves until the process is asked to stop.
fn serve_store(args: &Args, store: Store, recorder: Option<Recorder>) -> Result<()> {
    let keys = args.doors.read()?;
    let runtime = tokio::runtime::Runtime::new().map_err(|e| network("start the network", &e))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .map_err(|e| network(&format!("listen on {}", args.listen), &e))?;
        let address = listener.local_addr().map_err(|e| network("listen", &e))?;
        let takes = recorder.is_some();
        let reflection = !args.no_reflection;
        let options = ServeOptions { reflection, recorder, ..keys.options() };
        let options = options.on_incident(|incident| match incident.number {
            0 => screen::error_line(&format!("tickreel: {}", incident.error)),
            number => {
                screen::error_line(&format!("tickreel: incident {number}: {}", incident.error));
            }
        });
        options.check(address)?;
        screen::error_line(&format!(
            "serving {} on {} (gRPC{}); stop with Ctrl-C",
            args.store.display(),
            keys.url(address),
            if takes { ", takes rows" } else { "" }
        ));
        let reading = tokio::spawn(read_again(keys));
        let served = serve(store, listener, options, stopped()).await;
        reading.abort();
        served
    })
}

fn network(what: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot {what}: {error}"))
}

/// Reads tokens and certificates again at each SIGHUP.
async fn read_again(keys: Keys) {
    use tokio::signal::unix::{SignalKind, signal};
    // Without signals files are read once.
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        match keys.reload() {
            Ok(()) => screen::error_line("tickreel: tokens and certificates read again"),
            Err(error) => screen::error_line(&format!("tickreel: not changed: {error}")),
        }
    }
}

/// Completes when the process is asked to stop.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without signals the process is stopped from outside.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
