//! A token of whoever is signed in to the Azure CLI here: its program `az` is asked.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use bindery_contract::settings::Secret;
use bindery_contract::{Clock, OpenError};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::endpoint::Grant;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much it may say, in bytes.
const MOST: u64 = 256 * 1024;
/// How much of a complaint is passed on, in characters.
const LONGEST: usize = 500;

/// Asks it for a token for `resource`, of `tenant` or of the one that is signed in to.
pub(super) async fn ask(
    resource: &str,
    tenant: Option<&str>,
    clock: &Clock,
) -> Result<Grant, OpenError> {
    let answer = async { Az::start(resource, tenant)?.answer().await };
    let said = match clock.timeout(PATIENCE, answer).await {
        Some(said) => said.and_then(|said| grant(&said, clock)),
        None => {
            let why = format!("no token from az: no answer within {PATIENCE:?}");
            return Err(OpenError::disconnected(why));
        }
    };
    said.map_err(|why| OpenError::refused(format!("no token from az: {why}")))
}

/// The program at work, with all that it starts: it is a script that starts another. When this
/// goes away, they end.
struct Az(Child);

impl Az {
    fn start(resource: &str, tenant: Option<&str>) -> Result<Self, String> {
        let mut command = Command::new("az");
        command.args(["account", "get-access-token", "--output", "json"]);
        command.args(["--resource", resource]);
        if let Some(tenant) = tenant {
            command.args(["--tenant", tenant]);
        }
        let child = command
            // A folder on the PATH may be named from where one is: this is nobody's.
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        child.map(Self).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                "there is no such program on the PATH (it is Azure's CLI)".into()
            }
            _ => format!("it cannot be run: {error}"),
        })
    }

    async fn answer(mut self) -> Result<Vec<u8>, String> {
        let (output, complaint) = (self.0.stdout.take(), self.0.stderr.take());
        let (output, complaint) = tokio::try_join!(all(output), all(complaint))?;
        let status = self.0.wait().await.map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(output);
        }
        Err(gist(&complaint).unwrap_or_else(|| status.to_string()))
    }
}

impl Drop for Az {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn all(said: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    if let Some(said) = said {
        let reading = said.take(MOST + 1).read_to_end(&mut bytes).await;
        reading.map_err(|error| error.to_string())?;
    }
    if bytes.len() as u64 > MOST {
        return Err(format!("it says more than {MOST} bytes"));
    }
    Ok(bytes)
}

/// The line that says what is wrong: warnings may come before it.
fn gist(complaint: &[u8]) -> Option<String> {
    let complaint = String::from_utf8_lossy(complaint);
    let lines = || {
        complaint
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let line = lines()
        .find(|line| line.starts_with("ERROR"))
        .or_else(|| lines().next())?;
    let printed = line.chars().filter(|letter| !letter.is_control());
    Some(printed.take(LONGEST).collect())
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

fn grant(said: &[u8], clock: &Clock) -> Result<Grant, String> {
    // What cannot be read may have the token in it.
    let said: Said = serde_json::from_slice(said)
        .map_err(|error| format!("what it printed cannot be read ({:?})", error.classify()))?;
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
