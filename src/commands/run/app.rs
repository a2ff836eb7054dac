//! The app's process and everything that it started.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use actix_rt::task::JoinHandle;
use bindery_contract::Clock;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::lines;
use crate::commands::notify;

/// How long what the app has printed last may take to arrive after its end; what it started may
/// hold its output open for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The app's process and everything that it started: a process group of its own, so that
/// nothing is left behind.
pub(super) struct App {
    child: Option<Child>,
    group: Option<Pid>,
    output: Vec<JoinHandle<()>>,
}

impl App {
    /// No app: it runs elsewhere.
    pub(super) fn elsewhere() -> Self {
        Self {
            child: None,
            group: None,
            output: Vec::new(),
        }
    }

    /// Starts it; each line that it prints is printed with a prefix.
    ///
    /// # Errors
    /// When there is no such program, or it may not be started.
    pub(super) fn start(
        command: &[String],
        environment: impl IntoIterator<Item = (String, String)>,
        prefix: &str,
    ) -> io::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Ok(Self::elsewhere());
        };
        let mut command = Command::new(program);
        for variable in notify::VARIABLES {
            command.env_remove(variable);
        }
        command.env_remove(super::leader::VARIABLE);
        let mut child = command
            .args(arguments)
            .envs(environment)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let reason = format!("the app could not be started: {program}: {error}");
                io::Error::new(error.kind(), reason)
            })?;
        let printer = |prefix: String| move |line: &[u8]| lines::print(&prefix, line);
        let mut output = Vec::new();
        if let Some(printed) = child.stdout.take() {
            let reading = lines::each(printed, printer(prefix.to_owned()));
            output.push(actix_rt::spawn(reading));
        }
        if let Some(printed) = child.stderr.take() {
            let reading = lines::each(printed, printer(prefix.to_owned()));
            output.push(actix_rt::spawn(reading));
        }
        Ok(Self {
            group: child.id().and_then(process),
            child: Some(child),
            output,
        })
    }

    /// The number of its process, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        match &mut self.child {
            Some(child) => match child.wait().await {
                Ok(status) => status,
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Asks it to end, and waits until it does, at most so long. Nothing where it did not, or was
    /// ended by our signal: that is no failure of the app.
    pub(super) async fn stop(&mut self, clock: &Clock, longest: Duration) -> Option<ExitStatus> {
        self.child.as_ref()?;
        self.signal(Signal::TERM);
        let status = clock.timeout(longest, self.ended()).await?;
        status.code().map(|_| status)
    }

    /// Ends whatever the app has left behind.
    pub(super) fn sweep(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until all that it has printed is printed.
    pub(super) async fn last_words(&mut self, clock: &Clock) {
        let reading = futures_util::future::join_all(self.output.drain(..));
        let _ = clock.timeout(LAST_WORDS, reading).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An empty group is what we want.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// The number of a process as the system takes it.
pub(super) fn process(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}
