//! TLS for bindings whose library takes a rustls configuration (feature `tls`).
//!
//! The crypto provider is named explicitly, so that a host process with another one installed,
//! or with none, makes no difference.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// What a client trusts, and what it shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientTls<'a> {
    /// Certificates of authorities, as PEM; without them, the system's.
    pub roots: Option<&'a str>,
    /// The client's own certificate and key, as PEM.
    pub identity: Option<(&'a str, &'a str)>,
    /// Takes any certificate. Whoever configures this has been warned.
    pub insecure: bool,
}

/// Why a TLS configuration cannot be made. Never contains a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authorities' certificates cannot be used.
    #[error("the root certificate cannot be used: {0}")]
    Roots(String),
    /// The client's own certificate cannot be used.
    #[error("the client certificate cannot be used: {0}")]
    Certificate(String),
    /// The client's own key cannot be used.
    #[error("the client key cannot be used: {0}")]
    Key(String),
}

impl ClientTls<'_> {
    /// The configuration: TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// When a certificate or a key cannot be used.
    pub fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider knows the usual versions");
        let builder = if self.insecure {
            let anything = Arc::new(Anything { provider });
            builder
                .dangerous()
                .with_custom_certificate_verifier(anything)
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let Some((certificate, key)) = self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate).map_err(TlsError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| TlsError::Key(error.to_string()))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| TlsError::Key(error.to_string()))
    }

    /// The configuration, but with the server's name unchecked: any certificate of an authority
    /// that we trust will do. What databases call `verify-ca`.
    ///
    /// # Errors
    /// When a certificate or a key cannot be used, or no authority is trusted.
    pub fn config_for_any_name(&self) -> Result<ClientConfig, TlsError> {
        let mut config = self.config()?;
        if !self.insecure {
            let provider = Arc::new(ring::default_provider());
            let verifier = WebPkiServerVerifier::builder_with_provider(self.roots()?, provider)
                .build()
                .map_err(|error| TlsError::Roots(error.to_string()))?;
            config
                .dangerous()
                .set_certificate_verifier(Arc::new(AnyName(verifier)));
        }
        Ok(config)
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let Some(pem) = self.roots else {
            return Ok(system_roots());
        };
        let mut store = RootCertStore::empty();
        for certificate in certificates(pem).map_err(TlsError::Roots)? {
            store
                .add(certificate)
                .map_err(|error| TlsError::Roots(error.to_string()))?;
        }
        Ok(Arc::new(store))
    }
}

/// The certificates that a PEM text holds, at least one.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err("it holds no certificate".into()),
        Ok(all) => Ok(all),
        Err(error) => Err(error.to_string()),
    }
}

/// The authorities that the system trusts, read once.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        // A system has certificates that rustls does not take; the others count all the same.
        store.add_parsable_certificates(found.certs);
        Arc::new(store)
    }))
}

/// Takes any certificate, and still checks that the other side holds its key.
#[derive(Debug)]
struct Anything {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Checks everything but the server's name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked = self
            .0
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        match checked {
            // The name is checked last, when all else is in order.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_and_a_key_is_not_shown() {
        let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (tls, says) in [
            (
                ClientTls {
                    roots: Some(""),
                    ..ClientTls::default()
                },
                "root certificate",
            ),
            (
                ClientTls {
                    roots: Some(rubbish),
                    ..ClientTls::default()
                },
                "root certificate",
            ),
            (
                ClientTls {
                    identity: Some(("", "hunter2")),
                    ..ClientTls::default()
                },
                "certificate",
            ),
            (
                ClientTls {
                    identity: Some((rubbish, "hunter2")),
                    ..ClientTls::default()
                },
                "key",
            ),
        ] {
            let error = tls.config().unwrap_err().to_string();
            assert!(
                error.contains(says) && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert!(ClientTls::default().config().is_ok());
        assert!(
            ClientTls {
                insecure: true,
                ..ClientTls::default()
            }
            .config()
            .is_ok()
        );
    }
}
