//! Venues behind TLS, and whom the daemon trusts.

use std::sync::Arc;

use tickreel_venue::Venue;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::faults::BINANCE;
use crate::recorded::{Running, config, feed, finished, quiet};

/// Listens with TLS in front of `venue`: its `host:port`, and the certificate to be trusted.
async fn in_front_of(venue: &Venue) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, venue) = (listener.local_addr().unwrap(), venue.address());
    tokio::spawn(async move {
        while let Ok((outside, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not trust the certificate goes away.
                let Ok(mut outside) = acceptor.accept(outside).await else { return };
                let mut inside = TcpStream::connect(venue).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut outside, &mut inside).await);
            });
        }
    });
    (at.to_string(), made.cert.pem())
}

#[tokio::test]
async fn sockets_and_requests_are_encrypted_and_the_certificate_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let venue = BINANCE.venue().await;
    let (at, certificate) = in_front_of(&venue).await;
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, certificate).unwrap();
    let plain = feed(BINANCE.exchange, &venue, "kinds = [\"book\", \"trades\"]");
    let text = plain
        .replace(&venue.stream_url(), &format!("wss://{at}"))
        .replace(&venue.rest_url(), &format!("https://{at}"));

    // Nobody has vouched for it.
    let stranger = Running::start(&folder.path().join("stranger"), config(&text));
    stranger.until("asked", |status| status.feeds[0].requests >= 2).await;
    let status = stranger.stop().await;
    assert_eq!((status.feeds[0].connections, status.feeds[0].messages), (0, 0));
    assert_eq!(venue.counters().requests.len(), 0);

    let text = format!("ca_file = {:?}\n{text}", ca_file.to_str().unwrap());
    let daemon = Running::start(&folder.path().join("friend"), config(&text));
    quiet(&venue).await;
    venue.go();
    finished(&venue).await;
    BINANCE.agrees(&daemon, &venue, "TLS").await;
    assert_eq!(daemon.stop().await.feeds[0].reconnects, 0);
}
