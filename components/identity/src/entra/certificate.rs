//! What a certificate and its key may come as: PEM or PKCS#12 (PFX), with a password or without.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bindery_contract::settings::{Secret, SettingsError};
use p12_keystore::{CertificateBag, Pkcs12Archive};
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::assertion::{AssertionKey, AssertionKeyError};

/// How often a password may be hashed, so that a strange file cannot keep us busy: a million times
/// takes about a second.
const MOST_ITERATIONS: u32 = 1_000_000;
/// How DER begins: both PKCS#12 and PKCS#8 are a sequence.
const SEQUENCE: u8 = 0x30;
const PEM: &str = "-----BEGIN ";
const ENCRYPTED: [&str; 2] = [
    "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "-----END ENCRYPTED PRIVATE KEY-----",
];

/// Why there is no certificate with its key. Never contains the key.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("is neither PEM nor PKCS#12 (PFX), which is written as base64 where it is a text")]
    Form,
    #[error("needs azureCertificatePassword")]
    PasswordMissing,
    #[error("is not opened by azureCertificatePassword")]
    PasswordWrong,
    #[error(
        "is encrypted in a way that cannot be read: use AES-256, as OpenSSL 3 does \
         (openssl pkcs12 -export, openssl pkcs8 -topk8)"
    )]
    Encryption,
    #[error("is no PKCS#12 (PFX) that can be read: {0}")]
    Broken(p12_keystore::error::Error),
    #[error(transparent)]
    Key(#[from] AssertionKeyError),
}

impl CertificateError {
    /// The error of the settings, when a setting had the certificate.
    pub(super) fn of_setting(self) -> SettingsError {
        const CERTIFICATE: &str = "azureCertificate";
        const PASSWORD: &str = "azureCertificatePassword";
        match self {
            Self::PasswordMissing => {
                SettingsError::new(PASSWORD, "is needed: azureCertificate is encrypted")
            }
            Self::PasswordWrong => SettingsError::new(PASSWORD, "does not open azureCertificate"),
            other => SettingsError::new(CERTIFICATE, other),
        }
    }

    /// Some decryptions fail in the same way whether there was a password or not.
    fn password(password: &Secret) -> Self {
        if password.is_empty() {
            Self::PasswordMissing
        } else {
            Self::PasswordWrong
        }
    }
}

/// Reads what a setting or a file has.
pub(super) fn read(bytes: &[u8], password: &Secret) -> Result<AssertionKey, CertificateError> {
    if let Some(read) = read_plain(bytes, password) {
        return read;
    }
    let text: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let decoded = BASE64_STANDARD.decode(text).unwrap_or_default();
    read_plain(&decoded, password).unwrap_or(Err(CertificateError::Form))
}

fn read_plain(bytes: &[u8], password: &Secret) -> Option<Result<AssertionKey, CertificateError>> {
    if bytes.first() == Some(&SEQUENCE) {
        return Some(of_pfx(bytes, password));
    }
    let text = String::from_utf8_lossy(bytes);
    text.contains(PEM).then(|| of_pem(&text, password))
}

fn of_pem(pem: &str, password: &Secret) -> Result<AssertionKey, CertificateError> {
    let [begin, end] = ENCRYPTED;
    let Some((_, rest)) = pem.split_once(begin) else {
        if pem.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(CertificateError::Encryption);
        }
        return Ok(AssertionKey::in_one(pem)?);
    };
    let body = rest.split_once(end).map_or(rest, |(body, _)| body);
    let key = decrypted(body, password)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_bytes()));
    Ok(AssertionKey::of_der(AssertionKey::chain(pem)?, &key)?)
}

/// The key that is in the PEM block of an encrypted one.
fn decrypted(body: &str, password: &Secret) -> Result<SecretDocument, CertificateError> {
    let body: String = body.split_ascii_whitespace().collect();
    let der = BASE64_STANDARD
        .decode(body)
        .map_err(|error| AssertionKeyError::Key(error.to_string()))?;
    let info = EncryptedPrivateKeyInfoRef::try_from(&*der);
    let info = info.map_err(|_| CertificateError::Encryption)?;
    match info.encryption_algorithm.pbes2().map(|pbes2| &pbes2.kdf) {
        Some(Kdf::Pbkdf2(hash)) if hash.iteration_count <= MOST_ITERATIONS => {}
        _ => return Err(CertificateError::Encryption),
    }
    // A wrong password gives rubbish that may end like a key does, and then is none.
    info.decrypt(password.expose())
        .map_err(|error| match error {
            pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm {
                ..
            }) => CertificateError::Encryption,
            _ => CertificateError::password(password),
        })
}

fn of_pfx(der: &[u8], password: &Secret) -> Result<AssertionKey, CertificateError> {
    use p12_keystore::error::Error;
    const NONE: &str = "there is none in the PKCS#12";
    let archive = Pkcs12Archive::from_pkcs12(der, password.expose());
    let archive = archive.map_err(|error| match error {
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) => {
            CertificateError::password(password)
        }
        Error::UnsupportedEncryptionScheme
        | Error::UnsupportedMacAlgorithm
        | Error::InvalidParameters => CertificateError::Encryption,
        other => CertificateError::Broken(other),
    })?;
    let key = archive.keys.first();
    let key = key.ok_or_else(|| AssertionKeyError::Key(NONE.into()))?;
    let id = key.local_key_id.as_ref().map(|id| &id.0);
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.key.as_der()));
    let named = |bag: &&CertificateBag| id.is_some() && bag.local_key_id.as_ref() == id;
    let mut last = None;
    // Mostly the first one is the key's own, and who wrote the file has said so.
    let certificates = archive.certs.iter().filter(named);
    for bag in certificates.chain(archive.certs.iter().filter(|bag| !named(bag))) {
        let chain = vec![CertificateDer::from(bag.cert.as_der().to_vec())];
        match AssertionKey::of_der(chain, &der) {
            Err(AssertionKeyError::Mismatch) => last = Some(AssertionKeyError::Mismatch),
            other => return Ok(other?),
        }
    }
    let none = || AssertionKeyError::Certificate(NONE.into());
    Err(last.unwrap_or_else(none).into())
}
