//! REST requests to a venue, and the one TLS configuration that its sockets use too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::error::{Error, ErrorKind, Result};

/// A request takes no longer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(20);

/// Bytes of an answer: the longest list of instruments seen has 20 MiB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How long a venue is left alone that says "too many requests" without saying how long.
const TOO_MANY_WAIT: Duration = Duration::from_secs(60);

/// The longest that a venue is left alone, whatever it says.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How to reach venues. Cheap to clone.
#[derive(Clone)]
pub(super) struct Network {
    agent: ureq::Agent,
    /// For WebSockets.
    pub tls: Arc<rustls::ClientConfig>,
}

/// Why a request was not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What happened.
    pub error: Error,
    /// The venue wants to be left alone for so long.
    pub wait: Option<Duration>,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub url: String,
    /// Names and values.
    pub headers: &'static [(&'static str, &'static str)],
    /// What is posted; `None` for a GET.
    pub body: Option<&'static str>,
}

impl Network {
    /// Trusts the public certificates, and those in `ca_file`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Invalid`] if the file holds no certificates.
    pub fn new(ca_file: Option<&Path>) -> Result<Self> {
        let (roots, certificates) = trusted(ca_file)?;
        let trusted = RootCerts::Specific(Arc::new(certificates));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid(format!("TLS: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(REQUEST_TIME_MAX))
            .http_status_as_error(false)
            .user_agent(concat!("tickreel/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(trusted).build())
            .build();
        Ok(Self { agent: agent.into(), tls: Arc::new(tls) })
    }

    /// Asks and waits for the whole answer, without holding up the runtime.
    pub async fn ask(&self, request: Request) -> Result<Vec<u8>, Refusal> {
        let agent = self.agent.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&agent, &request)).await;
        asked.unwrap_or_else(|_| Err(remote("the request ended early".to_owned()).into()))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, wait: None }
    }
}

fn ask(agent: &ureq::Agent, request: &Request) -> Result<Vec<u8>, Refusal> {
    let Request { url, headers, body } = request;
    let sent = match body {
        None => headers
            .iter()
            .fold(agent.get(url), |asked, (name, value)| asked.header(*name, *value))
            .call(),
        Some(body) => {
            let json = [("content-type", "application/json")];
            let headers = headers.iter().chain(&json);
            headers
                .fold(agent.post(url), |asked, (name, value)| asked.header(*name, *value))
                .send(*body)
        }
    };
    let mut answer = sent.map_err(|error| remote(format!("{url}: {error}")))?;
    let status = answer.status();
    if !status.is_success() {
        let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let wait = wait_of(status.as_u16(), header);
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let text: String = text.chars().take(200).collect();
        let error = remote(format!("{url}: {status} {text}"));
        return Err(Refusal { error, wait });
    }
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    Ok(body.map_err(|error| remote(format!("{url}: {error}")))?)
}

/// How long to leave a venue alone that answered with `status`.
pub(super) fn wait_of(status: u16, retry_after: Option<&str>) -> Option<Duration> {
    matches!(status, 403 | 418 | 429 | 503).then(|| {
        let seconds = retry_after.and_then(|text| text.trim().parse().ok());
        seconds.map_or(TOO_MANY_WAIT, Duration::from_secs).min(LONGEST_WAIT)
    })
}

/// The public certificates and those in `ca_file`, for sockets and for requests.
fn trusted(ca_file: Option<&Path>) -> Result<(RootCertStore, Vec<Certificate<'static>>)> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(TLS_SERVER_ROOT_CERTS.iter().cloned());
    let mut trusted: Vec<_> =
        TLS_SERVER_ROOT_CERTS.iter().map(|der| Certificate::from_der(der)).collect();
    if let Some(path) = ca_file {
        for own in certificates(path)? {
            let der = CertificateDer::from(own.der().to_vec());
            roots.add(der).map_err(|e| Error::invalid(e.to_string()).at_path(path))?;
            trusted.push(own);
        }
    }
    Ok((roots, trusted))
}

fn remote(text: String) -> Error {
    Error::new(ErrorKind::Remote, text)
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(path).map_err(|e| Error::io(e, "read", path))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        let item = item.map_err(|error| Error::invalid(error.to_string()).at_path(path))?;
        if let PemItem::Certificate(certificate) = item {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(Error::invalid("expected certificates in PEM form").at_path(path));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_venue_says_how_long_it_wants_to_be_left_alone() {
        assert_eq!(wait_of(429, Some("7")), Some(Duration::from_secs(7)));
        assert_eq!(wait_of(418, None), Some(TOO_MANY_WAIT));
        assert_eq!(wait_of(429, Some("soon")), Some(TOO_MANY_WAIT));
        assert_eq!(wait_of(500, Some("7")), None);
        assert_eq!(wait_of(503, Some("18446744073709551615")), Some(LONGEST_WAIT));
    }

    #[test]
    fn own_certificates_are_trusted_besides_the_public_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let key = rcgen::generate_simple_self_signed(vec!["venue".to_owned()]).unwrap();
        std::fs::write(&path, key.cert.pem()).unwrap();

        let public = trusted(None).unwrap();
        let all = trusted(Some(&path)).unwrap();

        assert!(public.1.len() > 50 && public.0.len() == public.1.len());
        assert_eq!((all.0.len(), all.1.len()), (public.0.len() + 1, public.1.len() + 1));
        assert_eq!(all.1.last().unwrap().der(), &key.cert.der()[..]);
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "hello").unwrap();

        let error = Network::new(Some(&path)).err().unwrap();

        assert!(error.to_string().contains("PEM") && error.to_string().contains("ca.pem"));
        let absent = Network::new(Some(&folder.path().join("none"))).err().unwrap();
        assert_eq!(absent.kind(), ErrorKind::NotFound);
    }
}
