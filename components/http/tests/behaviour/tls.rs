//! TLS: whom the binding trusts, and what it shows.

use std::sync::Arc;

use bindery_contract::Retry;
use bindery_testkit::certs::{self, Authority, Signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::upstream::{Upstream, echo};
use crate::{Subject, get};

/// A server's side of TLS; with `clients`, only for clients that this authority signed.
pub fn acceptor(server: &Signed, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let pem = authority.certificate();
            roots
                .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
                .unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn only_the_configured_authorities_are_trusted() {
    let authority = Authority::new();
    let upstream = Upstream::start_tls(acceptor(&authority.sign("localhost"), None), echo);
    let url = upstream.url();
    let root = authority.certificate();
    let http = Subject::open(&[("url", &url), ("MTLSRootCA", &root)]).await;
    assert_eq!(http.echoed(get("")).await["version"], "HTTP/2.0");
    for root in [Authority::new().certificate(), String::new()] {
        let http = Subject::open(&[("url", &url), ("MTLSRootCA", &root)]).await;
        let rejected = http.rejected(get("")).await;
        assert_eq!(rejected.retry, Retry::MayHelp);
        assert!(
            rejected.says.contains("invalid peer certificate"),
            "{}",
            rejected.says
        );
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_as_pem_or_from_a_file() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let tls = acceptor(&authority.sign("localhost"), Some(&clients));
    let upstream = Upstream::start_tls(tls, echo);
    let (url, root) = (upstream.url(), authority.certificate());
    let client = clients.sign("client");
    let folder = tempfile::tempdir().unwrap();
    let file = |name, pem| {
        certs::write(folder.path(), name, pem)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let files = [
        file("root", &root),
        file("cert", &client.certificate),
        file("key", &client.key),
    ];
    let pems = [root.clone(), client.certificate.clone(), client.key.clone()];
    for [root, certificate, key] in [files, pems] {
        let http = Subject::open(&[
            ("url", &url),
            ("MTLSRootCA", &root),
            ("MTLSClientCert", &certificate),
            ("MTLSClientKey", &key),
            ("MTLSRenegotiation", "RenegotiateFreelyAsClient"),
        ])
        .await;
        http.call(get("")).await;
    }
    let stranger = authority.sign("stranger");
    for (certificate, key) in [
        ("", ""),
        ("", &*client.key),
        (&stranger.certificate, &stranger.key),
    ] {
        let http = Subject::open(&[
            ("url", &url),
            ("MTLSRootCA", &root),
            ("MTLSClientCert", certificate),
            ("MTLSClientKey", key),
        ])
        .await;
        let rejected = http.rejected(get("")).await;
        assert_eq!(rejected.retry, Retry::MayHelp, "{}", rejected.says);
    }
}
