//! Signals of the operating system.

use std::fmt;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a command listens to.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// A signal that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// `SIGINT`.
    Interrupt,
    /// `SIGTERM`.
    Terminated,
    /// `SIGHUP`.
    Hangup,
}

impl fmt::Display for Came {
    /// By the name that the reference's log gives it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "interrupt",
            Self::Terminated => "terminated",
            Self::Hangup => "hangup",
        })
    }
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let us.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Came {
        tokio::select! {
            _ = self.interrupt.recv() => Came::Interrupt,
            _ = self.terminate.recv() => Came::Terminated,
            _ = self.hangup.recv() => Came::Hangup,
        }
    }

    /// The next one that ends a sidecar: all but `SIGHUP`.
    pub(super) async fn end(&mut self) -> Came {
        loop {
            match self.next().await {
                Came::Hangup => {}
                end => return end,
            }
        }
    }
}
