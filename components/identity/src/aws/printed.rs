//! Keys that a program prints, which a profile names as its `credential_process`.

use bindery_contract::{Clock, OpenError};
use reqsign_aws_v4::Credential;
use serde::Deserialize;
use tokio::process::Command;

use super::Environment;
use crate::program;

/// What it prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    session_token: Option<String>,
    #[serde(default)]
    expiration: Option<String>,
}

/// Runs it by the shell, as the vendor's SDK does.
pub(super) async fn keys(
    profile: &str,
    program: &str,
    environment: &Environment,
    clock: &Clock,
) -> Result<Credential, OpenError> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", program]);
    environment.lend(&mut command);
    let what = format!("{profile}: no keys from its credential_process");
    let printed = program::ask((&what, "it is the shell"), command, clock).await?;
    read(printed).map_err(|why| OpenError::refused(format!("{what}: {why}")))
}

fn read(printed: Printed) -> Result<Credential, String> {
    if printed.version != 1 {
        return Err(format!("it printed version {}, not 1", printed.version));
    }
    if printed.access_key_id.is_empty() || printed.secret_access_key.is_empty() {
        return Err("there are no keys in what it printed".into());
    }
    let end = printed.expiration.map(|end| end.parse());
    Ok(Credential {
        access_key_id: printed.access_key_id,
        secret_access_key: printed.secret_access_key,
        session_token: printed.session_token.filter(|token| !token.is_empty()),
        expires_in: end
            .transpose()
            .map_err(|_| "its Expiration is no time".to_owned())?,
    })
}
