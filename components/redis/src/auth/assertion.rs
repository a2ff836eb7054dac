//! Signed JWTs by which a client says who it is (RFC 7515, RFC 7523).

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, Signer};
use rustls::{Error, InconsistentKeys, SignatureScheme};
use serde_json::Value;

/// A certificate and its RSA key.
#[derive(Debug)]
pub(crate) struct AssertionKey {
    pair: Arc<CertifiedKey>,
}

/// Why a certificate and a key are no such pair. Never contains the key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssertionKeyError {
    #[error("holds no certificate that can be used: {0}")]
    Certificate(String),
    #[error("holds no RSA key that can be used: {0}")]
    Key(String),
    #[error("does not belong to the certificate")]
    Mismatch,
}

impl AssertionKey {
    /// From PEM.
    pub(crate) fn of(certificate: &str, key: &str) -> Result<Self, AssertionKeyError> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| AssertionKeyError::Certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(AssertionKeyError::Certificate(
                "there is no PEM block".into(),
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| AssertionKeyError::Key(error.to_string()))?;
        let key = ring::sign::any_supported_type(&key)
            .map_err(|error| AssertionKeyError::Key(error.to_string()))?;
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            Ok(()) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(AssertionKeyError::Mismatch);
            }
            Err(error) => return Err(AssertionKeyError::Certificate(error.to_string())),
        }
        let pair = Self {
            pair: Arc::new(pair),
        };
        pair.signer().map(|_| pair)
    }

    /// The JWT of a header, to which `alg` and `typ` are added, and claims.
    pub(crate) fn sign(
        &self,
        mut header: Value,
        claims: &Value,
    ) -> Result<String, AssertionKeyError> {
        header["alg"] = "RS256".into();
        header["typ"] = "JWT".into();
        let [header, claims] = [&header, claims].map(|part| encode(part.to_string().as_bytes()));
        let signed = format!("{header}.{claims}");
        let signature = self.signer()?.sign(signed.as_bytes());
        let signature = signature.map_err(|error| AssertionKeyError::Key(error.to_string()))?;
        Ok(format!("{signed}.{}", encode(&signature)))
    }

    /// RS256 is RSA with the padding of PKCS#1 1.5, over SHA-256: TLS has the same.
    fn signer(&self) -> Result<Box<dyn Signer>, AssertionKeyError> {
        let signer = self
            .pair
            .key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        signer.ok_or_else(|| AssertionKeyError::Key("it is of another kind".into()))
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
