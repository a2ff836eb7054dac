//! A server's process.

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server's process, killed when it is dropped.
pub struct Process {
    name: String,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    port: u16,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts a server and waits until its port is open. What it prints goes to `log`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(
        name: &str,
        port: u16,
        log: PathBuf,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        let mut process = Self {
            name: name.into(),
            command: Box::new(command),
            port,
            log,
            child: None,
        };
        process.spawn();
        process
    }

    /// Starts it again after [`kill`](Self::kill).
    ///
    /// # Panics
    /// When it does not start.
    #[expect(clippy::disallowed_methods, reason = "tests wait for other processes")]
    pub fn spawn(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log);
        let log = log.expect("a writable log");
        let child = (self.command)()
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a second handle"))
            .stdout(log)
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}", self.name)));
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || start.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("{} did not start ({ended:?}):\n{log}", self.name);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills it, without a word to its clients.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A process that has ended already is what we want.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
