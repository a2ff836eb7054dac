//! Programs that are asked who one is: what they print is the answer.

use std::io::{Error, ErrorKind};
use std::process::Stdio;
use std::time::Duration;

use bindery_contract::{Clock, OpenError};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much it may say, in bytes.
const MOST: u64 = 256 * 1024;
/// How much of a complaint is passed on, in characters.
const LONGEST: usize = 500;

/// Runs a program and reads the JSON that it prints. `what` begins the errors, and `origin` says
/// what the program is.
pub(crate) async fn ask<T: DeserializeOwned>(
    (what, origin): (&str, &str),
    command: Command,
    clock: &Clock,
) -> Result<T, OpenError> {
    let answer = async {
        let program = Program::start(command).map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("there is no such program on the PATH ({origin})"),
            _ => format!("it cannot be run: {error}"),
        });
        let printed = program?.answer().await?;
        // What cannot be read may have secrets in it.
        serde_json::from_slice(&printed)
            .map_err(|error| format!("what it printed cannot be read ({:?})", error.classify()))
    };
    match clock.timeout(PATIENCE, answer).await {
        Some(said) => said.map_err(|why| OpenError::refused(format!("{what}: {why}"))),
        None => {
            let why = format!("{what}: no answer within {PATIENCE:?}");
            Err(OpenError::disconnected(why))
        }
    }
}

/// A program at work. When this goes away, it ends; on Unix with all that it started, for it may be
/// a script that starts another.
struct Program(Child);

impl Program {
    fn start(mut command: Command) -> Result<Self, Error> {
        #[cfg(unix)]
        command.process_group(0);
        let child = command
            // A folder on the PATH may be named from where one is: this is nobody's.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        child.map(Self)
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

#[cfg(unix)]
impl Drop for Program {
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process_group};

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
