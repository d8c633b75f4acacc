//! `tickreel serve`: answers gRPC clients from a store.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::screen;
use crate::error::{Error, ErrorKind, Result};
use crate::rpc::{ServeOptions, serve};
use crate::store::Store;

/// Serve a store to gRPC clients until Ctrl-C or SIGTERM.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Address and port to listen on; port 0 takes a free one. Loopback only
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Do not let clients ask for the contract (gRPC reflection)
    #[arg(long)]
    no_reflection: bool,
}

/// Runs the command.
///
/// # Errors
/// The store cannot be opened or the address cannot be listened on.
pub fn run(args: &Args) -> Result<()> {
    let store = Store::open(&args.store)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|e| network("start the network", &e))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .map_err(|e| network(&format!("listen on {}", args.listen), &e))?;
        let address = listener.local_addr().map_err(|e| network("listen", &e))?;
        if address.ip().is_loopback() {
            screen::error_line(&format!(
                "serving {} on http://{address} (gRPC); stop with Ctrl-C",
                args.store.display()
            ));
        }
        let options = ServeOptions { reflection: !args.no_reflection, ..ServeOptions::default() }
            .on_incident(|incident| {
                let (number, error) = (incident.number, incident.error);
                screen::error_line(&format!("tickreel: incident {number}: {error}"));
            });
        serve(store, listener, options, stopped()).await
    })
}

fn network(what: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot {what}: {error}"))
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
