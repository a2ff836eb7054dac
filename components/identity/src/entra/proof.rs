//! What an application shows at Entra ID to prove who it is.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bindery_contract::settings::Secret;
use bindery_contract::{Clock, OpenError};
use ring::digest;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::certificate;
use crate::assertion::{Algorithm, AssertionKey, encode};
use crate::file;

/// How long what the client signs is valid.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// What an application shows.
pub(super) enum Proof<'a> {
    Secret(&'a Secret),
    Certificate(&'a AssertionKey),
    CertificateFile(&'a Path, &'a Secret),
    /// A file with an assertion that somebody else signed, and replaces.
    AssertionFile(PathBuf),
}

/// What goes into the form.
pub(super) enum Shown<'a> {
    Secret(&'a Secret),
    Assertion(String),
}

impl Proof<'_> {
    pub(super) async fn show(
        &self,
        client_id: &str,
        audience: &str,
        clock: &Clock,
    ) -> Result<Shown<'_>, OpenError> {
        let read;
        let key = match self {
            Self::Secret(secret) => return Ok(Shown::Secret(secret)),
            Self::AssertionFile(file) => {
                let assertion = file::text(file).await?;
                return Ok(Shown::Assertion(assertion.trim().to_owned()));
            }
            Self::Certificate(key) => *key,
            Self::CertificateFile(file, password) => {
                read = certificate(file, password).await?;
                &read
            }
        };
        let thumbprint = digest::digest(&digest::SHA256, key.certificate());
        let header = json!({ "x5t#S256": encode(thumbprint.as_ref()) });
        let header = (Algorithm::Ps256, header);
        key.vouch(header, client_id, audience, ASSERTION_LIFETIME, clock)
            .map(Shown::Assertion)
            .map_err(OpenError::invalid)
    }
}

/// The certificate in a file. To undo an encryption takes its time.
async fn certificate(file: &Path, password: &Secret) -> Result<AssertionKey, OpenError> {
    let bytes = file::contents(file).await?;
    let password = password.clone();
    let reading = spawn_blocking(move || certificate::read(&bytes, &password));
    let read = match reading.await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => return Err(OpenError::disconnected("the runtime is shutting down")),
        },
    };
    read.map_err(|error| OpenError::refused(format!("{} {error}", file.display())))
}
