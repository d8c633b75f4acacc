//! How a client proves who it is, and whom it trusts.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::error::{Error, ErrorKind, Result};
use crate::limit;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that may be under way on one stream: enough for a fast line with a long round trip.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes that may be under way on the connection: every stream may be full and unread, and a new
/// request still has its answer.
const CONNECTION_WINDOW_BYTES: u32 =
    STREAM_WINDOW_BYTES * (limit::RPC_REQUESTS_PER_CONNECTION_MAX + 1);

/// What a client shows and trusts. By default it shows nothing and trusts the public authorities.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Shown with every request; only to this machine or over `https`.
    pub token: Option<String>,
    /// Certificates of authorities (PEM) to trust instead of the public ones.
    pub authorities: Option<Vec<u8>>,
    /// The client's own certificate and its private key (PEM), for servers that want one.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = if self.token.is_some() { "a token" } else { "no token" };
        let public = if self.authorities.is_some() { "own" } else { "public" };
        let certificate = if self.certificate.is_some() { "a certificate" } else { "none" };
        write!(f, "Credentials({token}, {public} authorities, {certificate})")
    }
}

impl Credentials {
    /// A connection to the server at `url`.
    pub(super) async fn connect(&self, url: &str) -> Result<Channel> {
        let wrong = || Error::invalid(format!("address {url:?}: expected e.g. http://host:7400"));
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| wrong())?;
        let encrypted = endpoint.uri().scheme_str() == Some("https");
        let near = matches!(endpoint.uri().host(), Some("127.0.0.1" | "[::1]" | "localhost"));
        if self.token.is_some() && !encrypted && !near {
            return Err(Error::invalid(format!(
                "address {url:?}: a token is sent over https only, or to this machine"
            )));
        }
        let (keepalive_ms, answer_ms) = limit::RPC_KEEPALIVE_MS;
        let mut endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .max_frame_size(limit::RPC_FRAME_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(Duration::from_millis(keepalive_ms))
            .keep_alive_timeout(Duration::from_millis(answer_ms));
        if encrypted {
            endpoint = endpoint.tls_config(self.tls()).map_err(|error| {
                Error::invalid(format!("certificates for {url}: {}", with_causes(&error)))
            })?;
        }
        endpoint.connect().await.map_err(|error| {
            let text = format!("cannot reach {url}: {}", with_causes(&error));
            Error::new(ErrorKind::Remote, text)
        })
    }

    fn tls(&self) -> ClientTlsConfig {
        let mut tls = match &self.authorities {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        if let Some((certificate, key)) = &self.certificate {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        tls
    }

    /// What puts the token into every request.
    pub(super) fn bearer(&self) -> Result<Bearer> {
        let Some(token) = &self.token else { return Ok(Bearer(None)) };
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
            .parse()
            .map_err(|_| Error::invalid("token: expected visible characters on one line"))?;
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

/// Puts the token into requests.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}
