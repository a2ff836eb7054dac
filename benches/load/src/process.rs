//! A server in a process of its own, and what it uses.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;

use crate::servers::Kind;

/// A running server. Ended when it is dropped.
pub struct Server {
    child: Child,
    /// Where it listens on this machine.
    pub port: u16,
}

/// What a process has used so far.
pub struct Usage {
    /// Time on a processor, all threads together.
    pub cpu: Duration,
    /// How often a thread went to sleep and was woken.
    pub wakeups: u64,
    /// Memory that is there, in bytes.
    pub memory: u64,
}

impl Server {
    /// Starts a server and waits until it says where it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(kind: Kind) -> io::Result<Self> {
        let name = kind
            .to_possible_value()
            .map(|value| value.get_name().to_owned());
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .args(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let port = line
            .trim()
            .parse()
            .map_err(|_| io::Error::other("the server did not start"))?;
        Ok(Self { child, port })
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn usage(&self) -> io::Result<Usage> {
        let folder = format!("/proc/{}", self.child.id());
        let mut usage = Usage {
            cpu: Duration::ZERO,
            wakeups: 0,
            memory: number(
                &std::fs::read_to_string(format!("{folder}/status"))?,
                "VmRSS:",
            ) << 10,
        };
        for thread in std::fs::read_dir(format!("{folder}/task"))? {
            let thread = thread?.path();
            // Nanoseconds on a processor are the first word.
            let stat = std::fs::read_to_string(thread.join("schedstat"))?;
            let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
            usage.cpu += Duration::from_nanos(nanos.unwrap_or(0));
            let status = std::fs::read_to_string(thread.join("status"))?;
            usage.wakeups += number(&status, "voluntary_ctxt_switches:");
        }
        Ok(usage)
    }
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
