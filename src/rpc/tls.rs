//! Encryption: the server's certificate, and those it wants to see.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::error::{Error, Result};

/// What a server proves itself with, in PEM form.
#[derive(Clone)]
pub struct TlsKeys {
    /// Its certificate, and those between it and one that clients trust.
    pub certificates: Vec<u8>,
    /// The private key of the first certificate.
    pub key: Vec<u8>,
    /// Certificates of authorities; clients must then show a certificate of one of them (mTLS).
    pub client_authorities: Option<Vec<u8>>,
}

impl std::fmt::Debug for TlsKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clients = if self.client_authorities.is_some() { "known" } else { "any" };
        write!(f, "TlsKeys(clients: {clients})")
    }
}

/// What a server encrypts with. Clones are one: all see keys that were replaced.
#[derive(Clone)]
pub struct Tls {
    knows_clients: bool,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls(knows clients: {})", self.knows_clients)
    }
}

impl Tls {
    /// Encryption with these keys. Connections are TLS 1.3.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if something else is there than should be, or the key belongs
    /// to another certificate.
    pub fn new(keys: &TlsKeys) -> Result<Self> {
        let config = RwLock::new(Arc::new(config(keys)?));
        let knows_clients = keys.client_authorities.is_some();
        Ok(Self { knows_clients, current: Arc::new(config) })
    }

    /// Takes other keys; connections from now on use them. A server that knows its clients goes on
    /// to.
    ///
    /// # Errors
    /// As [`Tls::new`], also if clients are known before or after only; the keys stay then.
    pub fn replace(&self, keys: &TlsKeys) -> Result<()> {
        if keys.client_authorities.is_some() != self.knows_clients {
            return Err(Error::invalid("whether clients show certificates cannot change"));
        }
        let new = Arc::new(config(keys)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Whether clients must show a certificate.
    #[must_use]
    pub fn knows_clients(&self) -> bool {
        self.knows_clients
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn config(keys: &TlsKeys) -> Result<ServerConfig> {
    const SERVER: &str = "certificates of the server";
    const CLIENTS: &str = "authorities of the clients";
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable("TLS 1.3", &error))?;
    let builder = match &keys.client_authorities {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem, CLIENTS)? {
                roots.add(certificate).map_err(|error| unusable(CLIENTS, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| unusable(CLIENTS, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(&keys.key)
        .map_err(|error| not_pem("private key of the server", &error))?;
    let mut config = builder
        .with_single_cert(certificates(&keys.certificates, SERVER)?, key)
        .map_err(|error| unusable("certificate and key of the server", &error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| not_pem(what, &error))?;
    if found.is_empty() {
        return Err(not_pem(what, &pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn not_pem(what: &str, error: &pem::Error) -> Error {
    Error::invalid(format!("{what}: expected PEM: {error}"))
}

fn unusable(what: &str, error: &dyn std::error::Error) -> Error {
    Error::invalid(format!("{what}: {error}"))
}
