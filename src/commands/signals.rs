//! Signals of the operating system.

use std::fmt;
use std::io::IsTerminal;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a command listens to.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Whether it was started in a terminal.
    in_terminal: bool,
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
    /// `SIGHUP`, because the terminal is gone.
    Gone,
}

impl fmt::Display for Came {
    /// By the name that the reference's log gives it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "interrupt",
            Self::Terminated => "terminated",
            Self::Hangup | Self::Gone => "hangup",
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
            in_terminal: in_terminal(),
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Came {
        tokio::select! {
            _ = self.interrupt.recv() => Came::Interrupt,
            _ = self.terminate.recv() => Came::Terminated,
            // Nobody could end what goes on after its terminal with Ctrl-C.
            _ = self.hangup.recv() => if self.in_terminal && !in_terminal() {
                Came::Gone
            } else {
                Came::Hangup
            },
        }
    }

    /// The next one that ends a sidecar: all but a `SIGHUP` that somebody sends.
    pub(super) async fn end(&mut self) -> Came {
        loop {
            match self.next().await {
                Came::Hangup => {}
                end => return end,
            }
        }
    }
}

fn in_terminal() -> bool {
    std::io::stdin().is_terminal()
        || std::io::stdout().is_terminal()
        || std::io::stderr().is_terminal()
}
