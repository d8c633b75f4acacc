//! `tickreel ingest`: records venues live, or shows how a daemon is doing.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use super::doors::{Doors, Keys};
use super::{screen, status};
use crate::error::{Error, ErrorKind, Result};
use crate::http::serve_figures;
use crate::ingest::daemon::config::Config;
use crate::ingest::daemon::stats::Stats;
use crate::ingest::daemon::{Control, Daemon, WallClock};
use crate::rpc::{ServeOptions, serve};
use crate::store::{GroupCommit, LiveOptions, Recorder, Store};

/// Record venues live into a store until Ctrl-C or SIGTERM; SIGHUP reads the configuration again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the store; made if there is none
    #[arg(long, value_name = "DIR", required_unless_present_any = ["check", "status"])]
    store: Option<PathBuf>,
    /// What to record, as TOML; see README
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only say whether the configuration is right
    #[arg(long, conflicts_with = "status")]
    check: bool,
    /// Show how the daemon with this configuration is doing, by its `http` address
    #[arg(long)]
    status: bool,
    /// With --status: print one JSON document
    #[arg(long, requires = "status")]
    json: bool,
    /// Answer gRPC clients too; without --tls-cert and --tokens or --client-ca loopback only
    #[arg(long, value_name = "ADDRESS:PORT")]
    serve: Option<SocketAddr>,
    #[command(flatten)]
    doors: Doors,
    /// How the log on standard error is written
    #[arg(long, value_name = "FORM", default_value = "text")]
    log: LogForm,
}

/// A form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogForm {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong, the store cannot be opened for writing, an address cannot be
/// listened on, or the store cannot be written any more.
pub fn run(args: &Args) -> Result<()> {
    let config = read_config(&args.config)?;
    if args.check {
        let exchanges: Vec<_> = config.feeds.iter().map(|feed| feed.exchange).collect();
        screen::error_line(&format!(
            "{}: right; records {}",
            args.config.display(),
            exchanges.join(", ")
        ));
        return Ok(());
    }
    if args.status {
        return status::show(config.http, args.json);
    }
    let Some(folder) = &args.store else { return Err(Error::invalid("expected --store")) };
    start_log(args.log);
    record(args, folder, config)
}

fn read_config(path: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(e, "read", path))?;
    Config::parse(&text, path)
}

fn start_log(form: LogForm) {
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A process has one log.
    let _ = match form {
        LogForm::Text => log.try_init(),
        LogForm::Json => log.json().flatten_event(true).try_init(),
    };
}

fn record(args: &Args, folder: &Path, config: Config) -> Result<()> {
    let keys = args.doors.read()?;
    let store = Store::open_or_create(folder)?;
    let live =
        LiveOptions { memory_max: config.memory_max, clamp_late: true, ..LiveOptions::default() };
    let group = GroupCommit { within: config.group_commit, ..GroupCommit::default() };
    let recorder = Recorder::start(store.writer(live)?, group)?;
    let stats = Stats::default();
    let daemon = Daemon {
        store: store.clone(),
        recorder: recorder.clone(),
        stats: stats.clone(),
        rejects: folder.join("rejects"),
        clock: WallClock::default(),
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|e| network("start the network", &e))?;
    let recorded = runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        let (controls, received) = mpsc::unbounded_channel();
        let mut doors = tokio::task::JoinSet::new();
        if let Some(address) = config.http {
            let listener = listen(address).await?;
            info!(address = %address_of(&listener), "figures on /metrics, /status and /health");
            doors.spawn(serve_figures(stats, listener, until(stopped.clone())));
        }
        if let Some(address) = args.serve {
            let listener = listen(address).await?;
            info!(address = %address_of(&listener), "serving gRPC");
            let options = ServeOptions { recorder: Some(recorder.clone()), ..keys.options() };
            options.check(local_address(&listener)?)?;
            doors.spawn(serve(store.clone(), listener, options, until(stopped.clone())));
        }
        let signals = tokio::spawn(heed_signals(args.config.clone(), keys.clone(), controls));
        let recorded = daemon.run(config, received).await;
        signals.abort();
        stop.send_replace(true);
        let closing = async { while doors.join_next().await.is_some() {} };
        drop(tokio::time::timeout(Duration::from_secs(1), closing).await);
        recorded
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    recorded?;
    let sealing = Instant::now();
    let mut writer = recorder.close()?;
    match writer.seal_all() {
        Err(error) if error.kind() == ErrorKind::Full => {
            error!(%error, "rows stay in the journal");
        }
        sealed => sealed?,
    }
    info!(seconds = sealing.elapsed().as_secs_f64(), "sealed; the store is closed");
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|e| network(&format!("listen on {address}"), &e))
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|e| network("listen", &e))
}

fn address_of(listener: &TcpListener) -> String {
    local_address(listener).map_or_else(|error| error.to_string(), |address| address.to_string())
}

fn network(what: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot {what}: {error}"))
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // The sender goes only when all is over.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Ctrl-C and SIGTERM stop, a second one at once; SIGHUP reads the configuration again.
async fn heed_signals(path: PathBuf, keys: Keys, controls: mpsc::UnboundedSender<Control>) {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else {
        error!("signals cannot be caught");
        return;
    };
    let mut stopping = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {
                if let Err(error) = keys.reload() {
                    error!(%error, "tokens and certificates are not changed");
                }
                match read_config(&path) {
                    Ok(config) => {
                        info!("configuration read again");
                        drop(controls.send(Control::Reload(Box::new(config))));
                    }
                    Err(error) => error!(%error, "configuration refused; nothing was changed"),
                }
                continue;
            }
        }
        if std::mem::replace(&mut stopping, true) {
            std::process::exit(130);
        }
        info!("stopping");
        drop(controls.send(Control::Stop));
    }
}
