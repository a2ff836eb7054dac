//! A sidecar in a process of its own, and what it uses.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bindery_contract::mutation;
use bindery_testkit::ports;
use rustix::process::{Pid, Signal, kill_process};

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `bindery`, as users run it.
    Bindery,
    /// `bindery-faults sidecar`.
    Own,
}

/// How a sidecar is started.
pub struct Start<'a> {
    /// Which program.
    pub program: Program,
    /// Its folder of YAML files.
    pub resources: &'a Path,
    /// Where the app listens.
    pub app_port: u16,
    /// Where what it says goes.
    pub log: &'a Path,
    /// The mechanism that is off, if any.
    pub mutate: Option<&'a str>,
}

/// A running sidecar. Killed when it is dropped.
pub struct Running {
    child: Child,
    /// Where its API listens.
    pub http_port: u16,
}

/// What a process uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is there, in bytes.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl Running {
    /// Starts it; it may still be starting when this returns.
    pub fn start(start: &Start<'_>) -> Self {
        let http_port = ports::free();
        let mut command = match start.program {
            Program::Bindery => {
                assert!(
                    start.mutate.is_none(),
                    "only our own sidecar can be mutated"
                );
                let mut command = Command::new(bindery());
                command
                    .args([
                        "--app-id",
                        "faults",
                        "--dapr-graceful-shutdown-seconds",
                        "5",
                    ])
                    .args(["--dapr-http-port", &http_port.to_string()])
                    .args(["--metrics-port", "0"])
                    .arg("--resources-path");
                command
            }
            Program::Own => {
                let itself = std::env::current_exe().expect("a program has a file");
                let mut command = Command::new(itself);
                command.args([
                    "sidecar",
                    "--http-port",
                    &http_port.to_string(),
                    "--resources",
                ]);
                command
            }
        };
        command.arg(start.resources);
        if start.app_port != 0 {
            command.args(["--app-port", &start.app_port.to_string()]);
        }
        if let Some(name) = start.mutate {
            command.env(mutation::VARIABLE, name);
        }
        let log = File::options().append(true).create(true).open(start.log);
        let log = log.expect("our own folder");
        let child = command
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a second handle"))
            .stdout(log)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, http_port }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // One that has ended already is what we want.
        let _ = kill_process(pid.expect("a child has an id"), Signal::TERM);
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Whether its bindings are open, or have been tried.
    pub fn is_up(&self) -> bool {
        self.get("/v1.0/healthz/outbound")
            .is_ok_and(|answer| answer.status == 204)
    }

    /// Whether its inputs are being read too.
    pub fn is_ready(&self) -> bool {
        self.get("/v1.0/healthz")
            .is_ok_and(|answer| answer.status == 204)
    }

    /// Calls a binding.
    pub fn invoke(&self, name: &str, body: &str) -> io::Result<Answer> {
        let path = format!("/v1.0/bindings/{name}");
        request(self.http_port, "POST", &path, body.as_bytes())
    }

    /// Asks its API.
    pub fn get(&self, path: &str) -> io::Result<Answer> {
        request(self.http_port, "GET", path, b"")
    }

    /// What it uses now.
    pub fn usage(&self) -> Usage {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        let descriptors = std::fs::read_dir(folder.join("fd")).map_or(0, Iterator::count);
        Usage {
            memory: number(&status, "VmRSS:") << 10,
            descriptors: descriptors as u64,
            threads: number(&status, "Threads:"),
        }
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The program that users run: where the environment says, else beside this one.
fn bindery() -> PathBuf {
    std::env::var_os("BINDERY_BIN").map_or_else(
        || {
            let itself = std::env::current_exe().expect("a program has a file");
            itself.with_file_name("bindery")
        },
        PathBuf::from,
    )
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request on a connection of its own.
pub fn request(port: u16, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let end = all.windows(4).position(|window| window == b"\r\n\r\n");
    let status = all
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match (end, status) {
        (Some(end), Some(status)) => Ok(Answer {
            status,
            body: all.split_off(end + 4),
        }),
        _ => Err(io::Error::other("the answer was cut off")),
    }
}

/// How long something took.
pub fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (what(), start.elapsed())
}
