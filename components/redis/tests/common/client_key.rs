//! A key that signs for a client, and is known to an identity provider.

use ::ring::digest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::SignatureScheme;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

/// A key that signs for a client, and its certificate.
pub struct ClientKey {
    pub key: &'static str,
    pub certificate: String,
    public: Vec<u8>,
}

/// It was made for these tests and opens nothing.
const KEY: &str = include_str!("../fixtures/assertion_key.pem");

impl ClientKey {
    pub fn new() -> Self {
        let key = KeyPair::from_pem(KEY).unwrap();
        let params = CertificateParams::new(vec!["client".into()]).unwrap();
        Self {
            key: KEY,
            certificate: params.self_signed(&key).unwrap().pem(),
            public: key.der_bytes().to_vec(),
        }
    }

    /// The SHA-256 of the certificate, as JWTs have it.
    pub fn thumbprint(&self) -> String {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let hash = digest::digest(&digest::SHA256, &der);
        BASE64_URL_SAFE_NO_PAD.encode(hash)
    }

    /// The header and the claims of a JWT that this key has signed.
    pub fn verify(&self, jwt: &str) -> (Value, Value) {
        let (signed, signature) = jwt.rsplit_once('.').expect("three parts");
        let (header, claims) = signed.split_once('.').expect("three parts");
        let [header, claims] = [header, claims].map(|part| {
            let part: Value = serde_json::from_slice(&decode(part)).unwrap();
            part
        });
        let scheme = match header["alg"].as_str().unwrap() {
            "RS256" => SignatureScheme::RSA_PKCS1_SHA256,
            "PS256" => SignatureScheme::RSA_PSS_SHA256,
            other => panic!("signed with {other}"),
        };
        let known = ring::default_provider().signature_verification_algorithms;
        let (_, algorithms) = known
            .mapping
            .iter()
            .find(|(known, _)| *known == scheme)
            .unwrap();
        algorithms[0]
            .verify_signature(&self.public, signed.as_bytes(), &decode(signature))
            .expect("a valid signature");
        (header, claims)
    }
}

fn decode(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}
