//! Which sidecar a command is for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::flags::socket_file;

/// Which sidecar a command is for: by its port, by the app's id, or by the environment.
#[derive(clap::Args, Debug)]
pub(super) struct SidecarAt {
    /// The id of the app whose sidecar it is; it must run on this machine.
    #[arg(long, value_name = "ID", conflicts_with = "dapr_http_port")]
    app_id: Option<String>,
    /// The port of its HTTP API [default: `DAPR_HTTP_PORT`, else 3500].
    #[arg(long, value_name = "PORT")]
    dapr_http_port: Option<u16>,
    /// The folder of its unix domain socket, where --app-id alone does not find it.
    #[arg(long, value_name = "DIR", requires = "app_id")]
    unix_domain_socket: Option<PathBuf>,
}

/// Where a sidecar can be called.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On a port of this machine.
    Port(u16),
    /// On a unix domain socket.
    Socket(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Socket(path) => write!(f, "socket {}", path.display()),
        }
    }
}

impl SidecarAt {
    /// Where its HTTP API is.
    ///
    /// # Errors
    /// When the app's sidecar does not run here, or the environment holds no port.
    pub(super) fn place(&self) -> Result<Place, String> {
        if let Some(port) = self.dapr_http_port {
            return Ok(Place::Port(port));
        }
        if let Some(app_id) = &self.app_id {
            if let Some(folder) = &self.unix_domain_socket {
                return Ok(Place::Socket(socket_file(folder, app_id, "http")));
            }
            return place_of(app_id)
                .ok_or_else(|| format!("no sidecar of the app {app_id:?} runs on this machine"));
        }
        match std::env::var("DAPR_HTTP_PORT") {
            Ok(port) => port
                .parse()
                .map(Place::Port)
                .map_err(|_| format!("DAPR_HTTP_PORT is {port:?}, which is no port")),
            Err(_) => Ok(Place::Port(3500)),
        }
    }
}

/// Where an app's sidecar is, from the command lines of the processes that run here: what the
/// sidecar was told, it is found by.
fn place_of(app_id: &str) -> Option<Place> {
    processes().iter().find_map(|process| process.place(app_id))
}

/// A process that runs here.
struct Process {
    /// Its command line.
    words: Vec<String>,
    /// Its working folder, where the system tells.
    folder: Option<PathBuf>,
}

/// Every process: from `/proc`, or where there is none, from `ps`.
fn processes() -> Vec<Process> {
    let words = |line: &[u8], between: u8| {
        let words = line.split(|byte| *byte == between);
        words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    };
    if let Ok(processes) = std::fs::read_dir("/proc") {
        let paths = processes.filter_map(|entry| Some(entry.ok()?.path()));
        let processes = paths.filter_map(|path| {
            Some(Process {
                words: words(&std::fs::read(path.join("cmdline")).ok()?, 0),
                folder: std::fs::read_link(path.join("cwd")).ok(),
            })
        });
        return processes.collect();
    }
    let output = Command::new("ps").args(["-axww", "-o", "args="]).output();
    let lines = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    lines
        .split(|byte| *byte == b'\n')
        .map(|line| Process {
            words: words(line, b' '),
            folder: None,
        })
        .collect()
}

impl Process {
    /// Where it can be called, if it is the sidecar of this app.
    fn place(&self, app_id: &str) -> Option<Place> {
        let words = &self.words;
        let program = Path::new(words.first()?).file_name()?.to_str()?;
        let is_ours = matches!(program, "bindery" | "daprd");
        let is_sidecar = is_ours
            && words
                .get(1)
                .is_some_and(|word| word.starts_with('-') || word == "run");
        if !is_sidecar || flag(words, "app-id")? != app_id {
            return None;
        }
        let socket = flag(words, "unix-domain-socket").filter(|folder| !folder.is_empty());
        if let Some(folder) = socket {
            let folder = self.folder.clone().unwrap_or_default().join(folder);
            return Some(Place::Socket(socket_file(&folder, app_id, "http")));
        }
        match flag(words, "dapr-http-port") {
            Some(port) => port.parse().ok().map(Place::Port),
            None => Some(Place::Port(3500)),
        }
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

    fn place(line: &str) -> Option<Place> {
        let process = Process {
            words: line.split(' ').map(str::to_owned).collect(),
            folder: Some("/home/shop".into()),
        };
        process.place("orders")
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
            assert_eq!(place(line), found.map(Place::Port), "{line}");
        }
    }

    #[test]
    fn one_on_a_socket_is_found_from_its_own_folder() {
        for (folder, file) in [
            ("/run", "/run/dapr-orders-http.socket"),
            ("run", "/home/shop/run/dapr-orders-http.socket"),
        ] {
            let line = format!("daprd --app-id orders --unix-domain-socket {folder}");
            assert_eq!(place(&line), Some(Place::Socket(file.into())));
        }
    }
}
