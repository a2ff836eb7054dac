//! A server in a process of its own, and what it uses.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::rounds::Sample;
use crate::servers::Kind;

/// A running server. Ended when it is dropped.
pub struct Server {
    child: Child,
    orders: ChildStdin,
    says: BufReader<ChildStdout>,
    /// Where it listens on this machine; 0 if it only sends.
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
    /// Starts a server that talks to port `to`, and waits until it works.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(kind: Kind, to: u16) -> io::Result<Self> {
        let name = kind.to_possible_value();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .args(name.as_ref().map(PossibleValue::get_name))
            .args(["--to", &to.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(orders), Some(says)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a child without pipes"));
        };
        let mut server = Self {
            child,
            orders,
            says: BufReader::new(says),
            port: 0,
        };
        server.port = server
            .hear()?
            .parse()
            .map_err(|_| io::Error::other("the server did not start"))?;
        Ok(server)
    }

    /// Lets it send events of `bytes` bytes, and waits until all are acknowledged.
    ///
    /// # Errors
    /// When it fails.
    #[expect(
        clippy::disallowed_methods,
        reason = "a bench measures the machine's time"
    )]
    pub fn send_events(&mut self, count: usize, bytes: usize) -> io::Result<Sample> {
        let started = Instant::now();
        writeln!(self.orders, "{count} {bytes}")?;
        self.orders.flush()?;
        if self.hear()? != "done" {
            return Err(io::Error::other("the events were not sent"));
        }
        Ok(Sample {
            count,
            took: started.elapsed(),
            latencies: Vec::new(),
        })
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        Ok(line.trim().to_owned())
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
