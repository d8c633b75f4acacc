//! The server: limits, health, reflection, start and stop.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::{self, BoxFuture, http};
use tonic::server::NamedService;
use tonic::transport::Server;

use super::access::{Access, GateLayer};
use super::connection::connections;
use super::proto::tickreel_server::TickreelServer;
use super::service::Service;
use super::status::{Incident, Reporter};
use super::tls::Tls;
use crate::error::{Error, ErrorKind, Result};
use crate::limit;
use crate::store::{Recorder, Store};

/// The contract as descriptors, for clients that ask the server what it can do.
const DESCRIPTORS: &[u8] = include_bytes!("generated/tickreel.v1.bin");

/// How often to look whether the store has moved on.
const LET_GO_INTERVAL: Duration = Duration::from_secs(1);

/// How a server behaves.
#[derive(Clone)]
pub struct ServeOptions {
    /// Whether clients may ask for the contract (gRPC reflection).
    pub reflection: bool,
    /// Worker threads for single answers, and as many again for the parts of streams.
    pub workers: usize,
    /// What `Append` writes with: the writer of the store that is served. `None`: the server only
    /// reads. It is not closed when the server stops.
    pub recorder: Option<Recorder>,
    /// Who may ask what. By default everybody everything.
    pub access: Access,
    /// What connections are encrypted with. `None`: they are not.
    pub tls: Option<Tls>,
    /// Connections of one address at most. `None`: [`limit::RPC_CONNECTIONS_PER_ADDRESS_MAX`] where
    /// other machines reach the server, no limit of its own on loopback.
    pub connections_per_address: Option<usize>,
    /// Who is told of failures that are the server's; see [`ServeOptions::on_incident`].
    pub reporter: Option<Reporter>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            reflection: true,
            workers,
            recorder: None,
            access: Access::default(),
            tls: None,
            connections_per_address: None,
            reporter: None,
        }
    }
}

impl std::fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { reflection, workers, recorder, access, tls, .. } = self;
        let threads = format!("reflection: {reflection}, workers: {workers}");
        write!(f, "ServeOptions({threads}, {recorder:?}, {access:?}, {tls:?})")
    }
}

impl ServeOptions {
    /// Calls `report` when something fails that is the server's fault, e.g. a damaged file: the
    /// client sees the number of the incident and no path. Called on any thread.
    #[must_use]
    pub fn on_incident(self, report: impl Fn(Incident<'_>) + Send + Sync + 'static) -> Self {
        Self { reporter: Some(std::sync::Arc::new(report)), ..self }
    }

    /// That clients of `address` may be served with these options.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if other machines reach it and it is not encrypted, or whoever comes
    /// may ask.
    pub fn check(&self, address: SocketAddr) -> Result<()> {
        let known = self.access.is_closed() || self.tls.as_ref().is_some_and(Tls::knows_clients);
        if address.ip().is_loopback() || known && self.tls.is_some() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "address {address}: without encryption (--tls-cert) and tokens (--tokens) or \
             certificates of clients (--client-ca) the server listens on loopback only, e.g. \
             127.0.0.1:{}",
            address.port()
        )))
    }
}

/// Serves `store` to clients of `listener` until `stop` completes.
///
/// Then no new connection is taken, streams end with UNAVAILABLE, and single answers have
/// [`limit::RPC_STOP_MS_MAX`] to finish.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the listener can be reached from other machines without encryption and
/// tokens or certificates of clients; [`ErrorKind::Io`] if the network fails.
pub async fn serve(
    store: Store,
    listener: TcpListener,
    options: ServeOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    let address = listener.local_addr().map_err(|error| network(&error))?;
    options.check(address)?;
    let per_address = options.connections_per_address.unwrap_or(match address.ip() {
        ip if ip.is_loopback() => limit::RPC_CONNECTIONS_MAX,
        _ => limit::RPC_CONNECTIONS_PER_ADDRESS_MAX,
    });
    let ServeOptions { reflection, workers, recorder, access, tls, reporter, .. } = options;
    let (stopping, stopped) = watch::channel(false);
    let service = Service::new(store, workers, recorder, reporter.clone(), stopped);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<TickreelServer<Service>>().await;
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(health_service);
    routes.add_service(BySize::new(service.clone()));
    // Record batches are of about the size of a part, but a message may hold more.
    routes.add_service(
        FlightServiceServer::new(service.clone())
            .max_decoding_message_size(limit::RPC_REQUEST_BYTES_MAX)
            .max_encoding_message_size(limit::RPC_JOINED_BYTES_MAX),
    );
    if reflection {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|error| Error::corrupt(format!("descriptors of the contract: {error}")))?;
        routes.add_service(reflection);
    }
    let mut ended = stopping.subscribe();
    let gate = GateLayer::new(access, service.counters(), reporter);
    let serving = limited()
        .layer(gate)
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(connections(listener, tls, per_address), async move {
            drop(ended.wait_for(|stop| *stop).await)
        });
    tokio::pin!(serving, stop);
    let mut let_go = tokio::time::interval(LET_GO_INTERVAL);
    loop {
        tokio::select! {
            ended = &mut serving => return ended.map_err(|error| network(&error)),
            () = &mut stop => break,
            _ = let_go.tick() => service.let_go().await,
        }
    }
    health.set_not_serving::<TickreelServer<Service>>().await;
    stopping.send_replace(true);
    let limit = Duration::from_millis(limit::RPC_STOP_MS_MAX);
    match tokio::time::timeout(limit, serving).await {
        Ok(ended) => ended.map_err(|error| network(&error)),
        // Whoever is still there is cut off.
        Err(_) => Ok(()),
    }
}

/// The service, with room for long requests where rows come in and only there.
#[derive(Clone)]
struct BySize {
    asks: TickreelServer<Service>,
    appends: TickreelServer<Service>,
}

/// The method that takes long requests.
const APPEND_PATH: &str = "/tickreel.v1.Tickreel/Append";

impl BySize {
    fn new(service: Service) -> Self {
        let limited = |bytes| {
            TickreelServer::new(service.clone())
                .max_decoding_message_size(bytes)
                .max_encoding_message_size(limit::RPC_ANSWER_BYTES_MAX)
        };
        Self {
            asks: limited(limit::RPC_REQUEST_BYTES_MAX),
            appends: limited(limit::RPC_APPEND_BYTES_MAX),
        }
    }
}

impl NamedService for BySize {
    const NAME: &'static str = TickreelServer::<Service>::NAME;
}

impl codegen::Service<http::Request<Body>> for BySize {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            APPEND_PATH => self.appends.call(request),
            _ => self.asks.call(request),
        }
    }
}

/// A server with every bound set; what tonic and hyper leave open by default is closed here.
fn limited() -> Server {
    let (interval_ms, answer_ms) = limit::RPC_KEEPALIVE_MS;
    let (age_ms, grace_ms) = limit::RPC_CONNECTION_AGE_MS;
    let requests = limit::RPC_REQUESTS_PER_CONNECTION_MAX;
    Server::builder()
        .accept_http1(false)
        .max_concurrent_streams(requests)
        .concurrency_limit_per_connection(usize::try_from(requests).unwrap_or(1))
        .load_shed(true)
        .max_frame_size(limit::RPC_FRAME_BYTES)
        .http2_max_header_list_size(limit::RPC_HEADER_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(limit::RPC_RESETS_PENDING_MAX))
        .http2_max_local_error_reset_streams(Some(limit::RPC_RESETS_LOCAL_MAX))
        .max_connection_age(Duration::from_millis(age_ms))
        .max_connection_age_grace(Duration::from_millis(grace_ms))
        .http2_keepalive_interval(Some(Duration::from_millis(interval_ms)))
        .http2_keepalive_timeout(Some(Duration::from_millis(answer_ms)))
}

fn network(error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot serve: {error}"))
}
