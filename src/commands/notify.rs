//! Tells systemd how the sidecar is, as `sd_notify(3)` has it. Nothing is told to anybody where
//! `NOTIFY_SOCKET` is not set.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::rc::Rc;
use std::time::Duration;

use bindery_contract::Clock;
use rustix::time::{ClockId, clock_gettime};

use crate::sidecar::Sidecar;

/// What systemd puts into the environment of a service; not meant for what the service starts.
pub(super) const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// How long a message may wait for room in the socket of a busy systemd.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried meanwhile.
const AGAIN: Duration = Duration::from_millis(10);

/// The systemd that started us, if one did.
#[derive(Clone)]
pub(super) struct Systemd {
    service: Option<Rc<Service>>,
}

struct Service {
    clock: Clock,
    socket: UnixDatagram,
    to: SocketAddr,
    /// How long systemd waits for a sign of life; `None` when it does not.
    watchdog: Option<Duration>,
    stopping: Cell<bool>,
}

impl Systemd {
    /// As the environment says.
    pub(super) fn from_environment() -> Self {
        let service = std::env::var_os("NOTIFY_SOCKET").and_then(|name| match open(&name) {
            Ok((socket, to)) => Some(Rc::new(Service {
                clock: Clock::system(),
                socket,
                to,
                watchdog: watchdog(|name| std::env::var(name).ok(), std::process::id()),
                stopping: Cell::new(false),
            })),
            Err(error) => {
                tracing::warn!(
                    target: "dapr.runtime",
                    "systemd is told nothing: NOTIFY_SOCKET={}: {error}", name.display()
                );
                None
            }
        });
        Self { service }
    }

    /// Tells how the start goes on, and from then on gives signs of life, until the runtime of the
    /// caller's thread ends.
    pub(super) fn follow(&self, sidecar: &Sidecar) {
        if let Some(service) = self.service.clone() {
            let sidecar = sidecar.clone();
            actix_rt::spawn(async move { service.follow(&sidecar).await });
        }
    }

    /// Reads the files anew, and tells before and after.
    pub(super) async fn reload(&self, sidecar: &Sidecar) {
        let is_up = sidecar.ready().borrow().inbound;
        // READY=1 after a reload while it starts would say that the start is over.
        let Some(service) = self.service.as_ref().filter(|_| is_up) else {
            sidecar.reload().await;
            return;
        };
        let now = clock_gettime(ClockId::Monotonic);
        let now = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        service
            .tell(&format!(
                "RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=Reading the files anew"
            ))
            .await;
        let status = match sidecar.reload().await.len() {
            0 => "Running".to_owned(),
            wrong => format!("Running, but not as the files say: {wrong} wrong in them"),
        };
        service.tell(&format!("READY=1\nSTATUS={status}")).await;
    }

    /// The end begins.
    pub(super) async fn stopping(&self) {
        if let Some(service) = &self.service {
            service.stopping.set(true);
            service.tell("STOPPING=1\nSTATUS=Shutting down").await;
        }
    }
}

impl Service {
    async fn follow(&self, sidecar: &Sidecar) {
        let mut ready = sidecar.ready();
        self.tell("STATUS=Opening the bindings").await;
        if ready.wait_for(|ready| ready.outbound).await.is_ok() && !self.stopping.get() {
            self.tell("STATUS=Waiting for the app").await;
        }
        let is_up = ready.wait_for(|ready| ready.inbound).await.is_ok();
        if !is_up || self.stopping.get() {
            return;
        }
        self.tell("READY=1\nSTATUS=Running").await;
        let Some(limit) = self.watchdog else {
            return;
        };
        loop {
            self.clock.sleep(limit / 2).await;
            // A shutdown has a limit of its own, and its control thread answers no more.
            if self.stopping.get() || sidecar.answers().await {
                self.tell("WATCHDOG=1").await;
            }
        }
    }

    async fn tell(&self, state: &str) {
        let sending = async {
            loop {
                match self.socket.send_to_addr(state.as_bytes(), &self.to) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.clock.sleep(AGAIN).await;
                    }
                    sent => return sent,
                }
            }
        };
        let sent = self.clock.timeout(PATIENCE, sending).await;
        if let Err(error) = sent.unwrap_or_else(|| Err(ErrorKind::TimedOut.into())) {
            tracing::warn!(target: "dapr.runtime", "systemd was not told {state:?}: {error}");
        }
    }
}

/// A socket that never blocks, and where systemd listens.
fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        #[cfg(target_os = "linux")]
        [b'@', rest @ ..] => {
            <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(rest)?
        }
        _ => {
            let reason = "neither a path nor an abstract name, such as @name";
            return Err(io::Error::new(ErrorKind::Unsupported, reason));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

/// How long systemd waits for a sign of life, if it is ours that it waits for.
fn watchdog(variable: impl Fn(&str) -> Option<String>, process: u32) -> Option<Duration> {
    if variable("WATCHDOG_PID").is_some_and(|id| id.parse() != Ok(process)) {
        return None;
    }
    let limit = variable("WATCHDOG_USEC")?.parse().ok()?;
    (limit > 0).then(|| Duration::from_micros(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_are_given_only_where_ours_are_waited_for() {
        let of = |limit: Option<&str>, process: Option<&str>| {
            let variable = |name: &str| {
                let value = if name == "WATCHDOG_PID" {
                    process
                } else {
                    limit
                };
                value.map(str::to_owned)
            };
            watchdog(variable, 7)
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(of(Some("1000000"), None), second);
        assert_eq!(of(Some("1000000"), Some("7")), second);
        for (limit, process) in [
            (Some("1000000"), Some("8")),
            (Some("1000000"), Some("")),
            (Some("0"), None),
            (Some("soon"), None),
            (None, Some("7")),
        ] {
            assert_eq!(of(limit, process), None, "{limit:?} {process:?}");
        }
    }

    #[test]
    fn a_socket_that_cannot_be_is_refused_with_a_reason() {
        for name in ["vsock:2:1", "relative", ""] {
            assert!(open(OsStr::new(name)).is_err(), "{name:?}");
        }
    }
}
