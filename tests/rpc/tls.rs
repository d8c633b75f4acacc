//! Encryption: whom clients trust, whom the server trusts, and keys that change while it runs.

use std::net::SocketAddr;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tickreel::rpc::{
    Access, BookQuery, Client, Credentials, ServeOptions, Tls, TlsKeys, new_token,
};
use tickreel::{ErrorKind, TsNs};

use crate::market::{Market, Served, btc};

/// An authority.
struct Authority {
    pem: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Issued {
    certificate: Vec<u8>,
    key: Vec<u8>,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem().into();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = certificate.der().to_vec();
        Issued { certificate: certificate.pem().into(), key: key.serialize_pem().into(), der }
    }

    fn server(&self, clients: Option<&Self>) -> TlsKeys {
        let Issued { certificate: certificates, key, .. } = self.issue("127.0.0.1");
        let client_authorities = clients.map(|clients| clients.pem.clone());
        TlsKeys { certificates, key, client_authorities }
    }

    fn trusted(&self) -> Credentials {
        Credentials { authorities: Some(self.pem.clone()), ..Credentials::default() }
    }

    /// What a client shows that trusts this authority and has a certificate of `issuer`.
    fn known(&self, issuer: &Self) -> Credentials {
        let issued = issuer.issue("research");
        Credentials { certificate: Some((issued.certificate, issued.key)), ..self.trusted() }
    }
}

fn tls(keys: &TlsKeys) -> Option<Tls> {
    Some(Tls::new(keys).unwrap())
}

fn newest() -> BookQuery {
    BookQuery { instrument: btc(), at: TsNs::MAX, depth: Some(1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_trust_the_authority_that_they_name_and_no_other() {
    let (market, authority, other) = (Market::new(50), Authority::new(), Authority::new());
    let options = ServeOptions { tls: tls(&authority.server(None)), ..ServeOptions::default() };
    let served = Served::with(market.store.clone(), options, &authority.trusted()).await;

    assert!(served.client.book(&newest()).await.is_ok());
    for credentials in [other.trusted(), Credentials::default()] {
        let error = Client::connect_with(&served.url, &credentials).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Remote);
        assert!(error.text().contains("certificate"), "{error}");
    }
    let plain = Client::connect(&served.url.replace("https", "http")).await;
    let refused = match plain {
        Ok(client) => client.book(&newest()).await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "unencrypted");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_certificates_serves_only_who_shows_one() {
    let (market, authority, other) = (Market::new(50), Authority::new(), Authority::new());
    let tls = tls(&authority.server(Some(&authority)));
    let credentials = authority.known(&authority);
    let options = ServeOptions { tls, ..ServeOptions::default() };
    let served = Served::with(market.store.clone(), options, &credentials).await;

    assert!(served.client.book(&newest()).await.is_ok());
    for credentials in [authority.known(&other), authority.trusted()] {
        // In TLS 1.3 a client hears of it with its first question.
        let asked = match Client::connect_with(&served.url, &credentials).await {
            Ok(client) => client.book(&newest()).await,
            Err(error) => Err(error),
        };
        let kind = asked.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Remote | ErrorKind::Cancelled), "{kind:?}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_can_stand_for_a_token() {
    let (market, authority) = (Market::new(50), Authority::new());
    let Issued { certificate, key, der } = authority.issue("research");
    let print = ring::digest::digest(&ring::digest::SHA256, &der);
    let print: String = print.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let (token, sha256) = new_token().unwrap();
    let text = format!(
        "[[token]]\nname = \"by certificate\"\ncertificate = \"{print}\"\n\
         [[token]]\nname = \"by token\"\nsha256 = \"{sha256}\"\nkinds = [\"trades\"]\n"
    );
    let tls = tls(&authority.server(Some(&authority)));
    let access = Access::parse(&text, Path::new("tokens.toml")).unwrap();
    let options = ServeOptions { tls, access, ..ServeOptions::default() };
    let by_certificate =
        Credentials { certificate: Some((certificate, key)), ..authority.trusted() };
    let served = Served::with(market.store.clone(), options, &by_certificate).await;
    assert!(served.client.book(&newest()).await.is_ok());

    let unknown = authority.known(&authority);
    let client = Client::connect_with(&served.url, &unknown).await.unwrap();
    assert_eq!(client.book(&newest()).await.unwrap_err().kind(), ErrorKind::Denied);
    let both = Credentials { token: Some(token), ..unknown };
    let client = Client::connect_with(&served.url, &both).await.unwrap();
    let error = client.book(&newest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "its token opens trades only");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_again_and_bad_ones_change_nothing() {
    let (market, old, new) = (Market::new(50), Authority::new(), Authority::new());
    let (before, after) = (old.server(None), new.server(None));
    let tls = Tls::new(&before).unwrap();
    let options = ServeOptions { tls: Some(tls.clone()), ..ServeOptions::default() };
    let served = Served::with(market.store.clone(), options, &old.trusted()).await;

    let nothing = || b"nothing".to_vec();
    let clients = Some(new.pem.clone());
    for (bad, what) in [
        (TlsKeys { key: nothing(), ..after.clone() }, "private key"),
        (TlsKeys { certificates: nothing(), ..after.clone() }, "certificates of the server"),
        (TlsKeys { key: before.key.clone(), ..after.clone() }, "certificate and key"),
        (TlsKeys { client_authorities: clients, ..after.clone() }, "cannot change"),
    ] {
        let error = tls.replace(&bad).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.text().contains(what), "{error}");
    }
    assert!(Client::connect_with(&served.url, &old.trusted()).await.is_ok());
    tls.replace(&after).unwrap();

    assert!(Client::connect_with(&served.url, &old.trusted()).await.is_err());
    let client = Client::connect_with(&served.url, &new.trusted()).await.unwrap();
    assert!(client.book(&newest()).await.is_ok());
    assert!(served.client.book(&newest()).await.is_ok(), "open connections stay");
    served.stop().await;
}

#[test]
fn other_machines_are_served_only_encrypted_and_known() {
    let authority = Authority::new();
    let access = Access::parse("", Path::new("tokens.toml")).unwrap();
    let (near, far): (SocketAddr, SocketAddr) =
        ("127.0.0.1:1".parse().unwrap(), "0.0.0.0:1".parse().unwrap());
    let open = ServeOptions::default();
    let encrypted = ServeOptions { tls: tls(&authority.server(None)), ..open.clone() };
    let known = ServeOptions { access: access.clone(), ..open.clone() };
    let both = ServeOptions { access, ..encrypted.clone() };
    let mutual = ServeOptions { tls: tls(&authority.server(Some(&authority))), ..open.clone() };

    for (options, served_far) in
        [(&open, false), (&encrypted, false), (&known, false), (&both, true), (&mutual, true)]
    {
        assert!(options.check(near).is_ok());
        assert_eq!(options.check(far).is_ok(), served_far, "{options:?}");
    }
}
