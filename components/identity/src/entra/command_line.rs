//! A token of whoever is signed in to the Azure CLI here: its program `az` is asked.

use std::time::{Duration, UNIX_EPOCH};

use bindery_contract::settings::Secret;
use bindery_contract::{Clock, OpenError};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use crate::endpoint::Grant;
use crate::program;

const WHAT: &str = "no token from az";

/// Asks it for a token for `resource`, of `tenant` or of the one that is signed in to.
pub(super) async fn ask(
    resource: &str,
    tenant: Option<&str>,
    clock: &Clock,
) -> Result<Grant, OpenError> {
    let mut command = Command::new("az");
    command.args(["account", "get-access-token", "--output", "json"]);
    command.args(["--resource", resource]);
    if let Some(tenant) = tenant {
        command.args(["--tenant", tenant]);
    }
    let said = program::ask((WHAT, "it is Azure's CLI"), command, clock).await?;
    grant(said, clock).map_err(|why| OpenError::refused(format!("{WHAT}: {why}")))
}

/// What it prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    access_token: Secret,
    /// When the token ends, in seconds since 1970. Versions before 2.54 do not say it.
    #[serde(default, rename = "expires_on")]
    ends: Value,
    /// The same in the time of this machine, or with a time zone where it is Azure's Cloud Shell.
    #[serde(default)]
    expires_on: String,
}

impl Said {
    /// When the token ends, in seconds since 1970.
    fn ends(&self) -> Option<i64> {
        let seconds = match &self.ends {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        let written = || {
            let with_zone = self.expires_on.parse::<Timestamp>().ok();
            let local = || {
                let local: DateTime = self.expires_on.parse().ok()?;
                TimeZone::system().to_timestamp(local).ok()
            };
            with_zone.or_else(local).map(Timestamp::as_second)
        };
        seconds.or_else(written)
    }
}

fn grant(said: Said, clock: &Clock) -> Result<Grant, String> {
    if said.access_token.is_empty() {
        return Err("there is no accessToken in what it printed".into());
    }
    let lifetime = said.ends().map(|ends| {
        let ends = Duration::from_secs(ends.try_into().unwrap_or_default());
        let now = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        ends.saturating_sub(now)
    });
    Ok(Grant {
        token: said.access_token,
        lifetime,
    })
}
