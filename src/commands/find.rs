//! Which sidecar a command is for.

use std::path::Path;
use std::process::Command;

/// Which sidecar a command is for: by its port, by the app's id, or by the environment.
#[derive(clap::Args, Debug)]
pub(super) struct SidecarAt {
    /// The id of the app whose sidecar it is; it must run on this machine.
    #[arg(long, value_name = "ID", conflicts_with = "dapr_http_port")]
    app_id: Option<String>,
    /// The port of its HTTP API [default: `DAPR_HTTP_PORT`, else 3500].
    #[arg(long, value_name = "PORT")]
    dapr_http_port: Option<u16>,
}

impl SidecarAt {
    /// The port of its HTTP API.
    ///
    /// # Errors
    /// When the app's sidecar does not run here, or the environment holds no port.
    pub(super) fn port(&self) -> Result<u16, String> {
        if let Some(port) = self.dapr_http_port {
            return Ok(port);
        }
        if let Some(app_id) = &self.app_id {
            return port_of(app_id)
                .ok_or_else(|| format!("no sidecar of the app {app_id:?} runs on this machine"));
        }
        match std::env::var("DAPR_HTTP_PORT") {
            Ok(port) => port
                .parse()
                .map_err(|_| format!("DAPR_HTTP_PORT is {port:?}, which is no port")),
            Err(_) => Ok(3500),
        }
    }
}

/// The port of an app's sidecar, from the command lines of the processes that run here: what the
/// sidecar was told, it is found by.
fn port_of(app_id: &str) -> Option<u16> {
    command_lines()
        .iter()
        .find_map(|words| port_in(words, app_id))
}

/// The words of the command line of every process: from `/proc`, or where there is none, from
/// `ps`.
fn command_lines() -> Vec<Vec<String>> {
    let words = |line: &[u8], between: u8| {
        let words = line.split(|byte| *byte == between);
        words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    };
    if let Ok(processes) = std::fs::read_dir("/proc") {
        return processes
            .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
            .map(|line| words(&line, 0))
            .collect();
    }
    let output = Command::new("ps").args(["-axww", "-o", "args="]).output();
    let lines = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    lines
        .split(|byte| *byte == b'\n')
        .map(|line| words(line, b' '))
        .collect()
}

fn port_in(words: &[String], app_id: &str) -> Option<u16> {
    let program = Path::new(words.first()?).file_name()?.to_str()?;
    let is_ours = matches!(program, "bindery" | "daprd");
    let is_sidecar = is_ours
        && words
            .get(1)
            .is_some_and(|word| word.starts_with('-') || word == "run");
    if !is_sidecar || flag(words, "app-id")? != app_id {
        return None;
    }
    match flag(words, "dapr-http-port") {
        Some(port) => port.parse().ok(),
        None => Some(3500),
    }
}

/// The value of a flag, in any of its spellings; of several the last counts, and what follows two
/// bare dashes is the app's.
fn flag<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let end = words
        .iter()
        .position(|word| word == "--")
        .unwrap_or(words.len());
    let words = &words[..end];
    words.iter().enumerate().rev().find_map(|(at, word)| {
        let rest = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
        let rest = rest.strip_prefix(name)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => words.get(at + 1).map(String::as_str),
            None => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(line: &str) -> Option<u16> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        port_in(&words, "orders")
    }

    #[test]
    fn a_sidecar_is_found_by_its_command_line() {
        for (line, found) in [
            (
                "/usr/bin/daprd --app-id orders --dapr-http-port 3501",
                Some(3501),
            ),
            ("daprd -dapr-http-port=3502 -app-id=orders", Some(3502)),
            ("bindery run --app-id orders -- python3 app.py", Some(3500)),
            ("bindery run --app-id other -- x --app-id orders", None),
            ("daprd --app-id other --app-id orders", Some(3500)),
            ("bindery invoke --app-id orders files list", None),
            ("vim --app-id orders", None),
            ("daprd --app-id orders2", None),
        ] {
            assert_eq!(port(line), found, "{line}");
        }
    }
}
