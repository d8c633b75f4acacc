//! The gate that every request passes: who asks, and whether it is too often.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tower_layer::Layer;

use super::Access;
use super::digest::Digest;
use super::grant::Grant;
use super::refusals::Refusals;
use crate::limit;
use crate::quantity::TsNs;
use crate::rpc::connection::Peer;
use crate::rpc::counters::Counters;
use crate::rpc::status::{Reporter, too_many_requests, unknown};

/// Requests to this service need no token: probes have none.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Puts a [`Gate`] before a service.
#[derive(Clone)]
pub(in crate::rpc) struct GateLayer {
    access: Access,
    counters: Arc<Counters>,
    reporter: Option<Reporter>,
    refusals: Arc<Mutex<Refusals>>,
}

impl GateLayer {
    /// A gate for those whom `access` knows.
    pub(in crate::rpc) fn new(
        access: Access,
        counters: Arc<Counters>,
        reporter: Option<Reporter>,
    ) -> Self {
        Self { access, counters, reporter, refusals: Arc::default() }
    }

    /// What is open to whom the request comes from.
    fn grant(&self, request: &http::Request<Body>) -> Option<Arc<Grant>> {
        let token = request.headers().get(http::header::AUTHORIZATION);
        let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let certificate = request.extensions().get::<Peer>().and_then(|peer| peer.certificate());
        let certificate = certificate.map(Digest::of);
        let holders = self.access.holders.read().unwrap_or_else(PoisonError::into_inner);
        holders.grant(token, certificate.as_ref(), wall_clock())
    }

    /// Counts a request without a token that opens anything.
    fn refused(&self, request: &http::Request<Body>) -> Status {
        self.counters.refused.add(1);
        let peer = request.extensions().get::<Peer>().and_then(Peer::address);
        let address = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let told = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let told = { told }.add(address, Instant::now());
        unknown(address, told, self.reporter.as_ref())
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { layer: self.clone(), inner }
    }
}

/// A service behind the gate. Requests that pass carry an [`Arc`] of their [`Grant`].
#[derive(Clone)]
pub(in crate::rpc) struct Gate<S> {
    layer: GateLayer,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let refusal = if request.uri().path().starts_with(HEALTH) {
            None
        } else {
            match self.layer.grant(&request) {
                None => {
                    let delay = Duration::from_millis(limit::RPC_REFUSAL_DELAY_MS);
                    Some((self.layer.refused(&request), delay))
                }
                Some(grant) => match grant.take_request(Instant::now()) {
                    Ok(()) => {
                        request.extensions_mut().insert(grant);
                        None
                    }
                    Err(wait) => {
                        self.layer.counters.failures.add(1);
                        Some((too_many_requests(wait), Duration::ZERO))
                    }
                },
            }
        };
        let Some((status, delay)) = refusal else {
            // The service that was polled for readiness is the one to call.
            let next = self.inner.clone();
            return Box::pin(std::mem::replace(&mut self.inner, next).call(request));
        };
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            Ok(status.into_http())
        })
    }
}

/// The time at which tokens expire.
fn wall_clock() -> TsNs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TsNs(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
