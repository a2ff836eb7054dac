//! TLS as libpq's `sslmode` asks for it.

use std::path::PathBuf;

use bindery_contract::tls::{ClientTls, TlsError};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::target::{Ssl, SslMode};

/// Why TLS cannot be set up as configured. Never shows a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SslError {
    #[error("{key} {path:?} cannot be read: {source}")]
    Unreadable {
        key: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Unusable(#[from] TlsError),
}

/// Reads the files that `ssl` names and makes what connections are secured with. Blocks.
pub(crate) fn connector(ssl: &Ssl) -> Result<MakeRustlsConnect, SslError> {
    let checked = ssl.checks_authority();
    let roots = ssl.root_cert.as_ref().filter(|_| checked);
    let roots = roots.map(|path| read("sslrootcert", path)).transpose()?;
    let identity = match &ssl.identity {
        Some((certificate, key)) => Some((read("sslcert", certificate)?, read("sslkey", key)?)),
        None => None,
    };
    let tls = ClientTls {
        roots: roots.as_deref(),
        identity: identity
            .as_ref()
            .map(|(certificate, key)| (certificate.as_str(), key.as_str())),
        insecure: !checked,
    };
    let mut config = match ssl.mode {
        SslMode::VerifyFull => tls.config()?,
        _ => tls.config_for_any_name()?,
    };
    config.enable_sni = !ssl.no_server_name;
    Ok(MakeRustlsConnect::new(config))
}

fn read(key: &'static str, path: &str) -> Result<String, SslError> {
    let path = PathBuf::from(path);
    std::fs::read_to_string(&path).map_err(|source| SslError::Unreadable { key, path, source })
}
