//! Signed JWTs by which a client says who it is (RFC 7515, RFC 7523).

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bindery_contract::Clock;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, Signer};
use rustls::{Error, InconsistentKeys, SignatureScheme};
use serde_json::{Value, json};

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
        let chain = Self::chain(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| AssertionKeyError::Key(error.to_string()))?;
        Self::of_der(chain, &key)
    }

    /// The certificates of a PEM text.
    pub(crate) fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, AssertionKeyError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.map_err(|error| AssertionKeyError::Certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(AssertionKeyError::Certificate(
                "there is no PEM block".into(),
            ));
        }
        Ok(chain)
    }

    /// From DER. The first certificate is that of the key.
    pub(crate) fn of_der(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, AssertionKeyError> {
        let key = ring::sign::any_supported_type(key)
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
        pair.signer(Algorithm::Rs256).map(|_| pair)
    }

    /// From one PEM text that holds both.
    pub(crate) fn in_one(pem: &str) -> Result<Self, AssertionKeyError> {
        Self::of(pem, pem)
    }

    /// The DER of the certificate.
    pub(crate) fn certificate(&self) -> &[u8] {
        self.pair
            .cert
            .first()
            .map_or(&[], |certificate| certificate)
    }

    /// What `client` says of itself to `audience`, valid for `lifetime` from now. The header gets
    /// its algorithm here.
    pub(crate) fn vouch(
        &self,
        (algorithm, mut header): (Algorithm, Value),
        client: &str,
        audience: &str,
        lifetime: Duration,
        clock: &Clock,
    ) -> Result<String, AssertionKeyError> {
        let now = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        header["alg"] = algorithm.name().into();
        header["typ"] = "JWT".into();
        let claims = json!({
            "iss": client,
            "sub": client,
            "aud": audience,
            "iat": now.as_secs(),
            "nbf": now.as_secs(),
            "exp": (now + lifetime).as_secs(),
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        let [header, claims] = [header, claims].map(|part| encode(part.to_string().as_bytes()));
        let signed = format!("{header}.{claims}");
        let signature = self.signer(algorithm)?.sign(signed.as_bytes());
        let signature = signature.map_err(|error| AssertionKeyError::Key(error.to_string()))?;
        Ok(format!("{signed}.{}", encode(&signature)))
    }

    fn signer(&self, algorithm: Algorithm) -> Result<Box<dyn Signer>, AssertionKeyError> {
        let signer = self.pair.key.choose_scheme(&[algorithm.scheme()]);
        signer.ok_or_else(|| AssertionKeyError::Key("it is of another kind".into()))
    }
}

/// How a JWT is signed (RFC 7518).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    /// RSA with the padding of PKCS#1 1.5, over SHA-256.
    Rs256,
    /// RSA-PSS over SHA-256.
    Ps256,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// TLS has the same signatures.
    const fn scheme(self) -> SignatureScheme {
        match self {
            Self::Rs256 => SignatureScheme::RSA_PKCS1_SHA256,
            Self::Ps256 => SignatureScheme::RSA_PSS_SHA256,
        }
    }
}

/// Base64 as JWTs have it.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
