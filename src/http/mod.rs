//! Figures of a running daemon over HTTP: for Prometheus, for people and for health checks.
//!
//! Reads counters and nothing else; listens on loopback.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::error::{Error, ErrorKind, Result};
use crate::ingest::daemon::stats::Stats;

/// Answers `/metrics` (Prometheus), `/status` (JSON) and `/health` until `stopped` completes.
///
/// # Errors
/// [`ErrorKind::Io`] if the network fails.
pub async fn serve_figures(
    stats: Stats,
    listener: TcpListener,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/health", get(health))
        .with_state(stats);
    let served = axum::serve(listener, routes).with_graceful_shutdown(stopped).await;
    served.map_err(|error| Error::new(ErrorKind::Io, format!("cannot serve figures: {error}")))
}

async fn metrics(State(stats): State<Stats>) -> Response {
    let form = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (form, stats.prometheus()).into_response()
}

async fn status(State(stats): State<Stats>) -> Response {
    match serde_json::to_string(&stats.status()) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Well while rows can be stored.
async fn health(State(stats): State<Stats>) -> (StatusCode, &'static str) {
    match stats.status().disk_full {
        false => (StatusCode::OK, "ok\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "the disk is full\n"),
    }
}
