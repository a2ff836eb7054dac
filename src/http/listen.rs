//! Ports and socket files: ours before anything is served (runtime §6.3).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bindery_contract::{Clock, Instant};
use socket2::{Domain, SockAddr, TcpKeepalive, Type};

/// How long binding a port is tried.
const BIND_FOR: Duration = Duration::from_secs(10);
/// How many connections wait to be accepted.
const BACKLOG: i32 = 2048;
/// After what silence the system asks whether a caller's machine is still there, how often it asks
/// again, and how many times: as Go has it. Who has vanished without a word is closed then.
const ASK_AFTER: Duration = Duration::from_secs(15);
const ASK_TIMES: u32 = 9;

const THIS_MACHINE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
const EVERYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

/// A port or a socket file that is ours.
pub struct Listener {
    /// Where.
    pub address: Address,
    pub(crate) socket: Socket,
    /// The file, if it is one; it goes with this.
    pub(crate) file: Option<SocketFile>,
}

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On a port.
    Port(SocketAddr),
    /// On a unix domain socket.
    File(PathBuf),
}

impl Address {
    /// The port, if it is one.
    pub fn port(&self) -> Option<SocketAddr> {
        match self {
            Self::Port(address) => Some(*address),
            Self::File(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => address.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What accepts connections.
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Binds `port` on all `addresses`; none means loopback, of both address families. They are tried
/// for ten seconds; it is enough when one of them works.
///
/// # Errors
/// When none works.
pub async fn bind(addresses: &[IpAddr], port: u16, clock: &Clock) -> io::Result<Vec<Listener>> {
    bind_all(addresses, &THIS_MACHINE, port, clock).await
}

/// As [`bind`]; no address means all of this machine's.
///
/// # Errors
/// When none works.
pub async fn bind_public(
    addresses: &[IpAddr],
    port: u16,
    clock: &Clock,
) -> io::Result<Vec<Listener>> {
    bind_all(addresses, &EVERYWHERE, port, clock).await
}

async fn bind_all(
    addresses: &[IpAddr],
    unless_chosen: &[IpAddr],
    port: u16,
    clock: &Clock,
) -> io::Result<Vec<Listener>> {
    let (addresses, optional) = if addresses.is_empty() {
        (unless_chosen, true)
    } else {
        (addresses, false)
    };
    let mut listeners: Vec<Listener> = Vec::new();
    let mut chosen = None;
    let mut failure = None;
    let end = clock.now() + BIND_FOR;
    for address in addresses {
        // With port 0 the system chooses once, and all addresses share that choice.
        let wanted = SocketAddr::new(*address, chosen.unwrap_or(port));
        // A machine without the second family is no reason to wait.
        let is_needed = !optional || listeners.is_empty();
        match bind_one(wanted, is_needed.then_some(end), clock).await {
            Ok(socket) => {
                let address = socket.local_addr()?;
                chosen.get_or_insert(address.port());
                listeners.push(Listener {
                    address: Address::Port(address),
                    socket: Socket::Tcp(socket),
                    file: None,
                });
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

/// Tries until `end`, or once.
async fn bind_one(
    wanted: SocketAddr,
    end: Option<Instant>,
    clock: &Clock,
) -> io::Result<TcpListener> {
    let mut told = false;
    loop {
        let error = match listen(wanted) {
            Ok(socket) => return Ok(socket),
            Err(error) => error,
        };
        let Some(left) = end.and_then(|end| end.checked_duration_since(clock.now())) else {
            return Err(io::Error::new(error.kind(), format!("{wanted}: {error}")));
        };
        if !told {
            let seconds = left.as_secs_f32().ceil();
            tracing::warn!(
                target: "dapr.runtime.http",
                "{wanted} cannot be listened on: {error}; trying for {seconds} s"
            );
            told = true;
        }
        clock.sleep(Duration::from_millis(100)).await;
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(socket2::Protocol::TCP))?;
    // So that a restart does not wait for connections of the last run to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // What is accepted inherits it.
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(ASK_AFTER)
            .with_interval(ASK_AFTER)
            .with_retries(ASK_TIMES),
    )?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds a unix domain socket. A file that a process has left behind is replaced.
///
/// # Errors
/// When somebody listens there, the file is none of a socket, or its folder does not take it.
pub fn bind_file(path: &Path) -> io::Result<Listener> {
    let about =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let socket = listen_on_file(path).map_err(about)?;
    Ok(Listener {
        address: Address::File(path.to_owned()),
        socket: Socket::Unix(socket),
        file: Some(SocketFile::new(path).map_err(about)?),
    })
}

fn listen_on_file(path: &Path) -> io::Result<UnixListener> {
    let address = SockAddr::unix(path)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            make_room(path, &address)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Removes a socket file on which nobody listens any more.
fn make_room(path: &Path, address: &SockAddr) -> io::Result<()> {
    let problem = |problem| Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
    if !path.symlink_metadata()?.file_type().is_socket() {
        return problem("there is a file of that name, which is no socket");
    }
    let caller = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    caller.set_nonblocking(true)?;
    match caller.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        // Also one who has more callers than it can take.
        _ => problem("a process that runs listens there"),
    }
}

/// A socket file of ours. It is removed with this, unless somebody has put another in its place.
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = path.symlink_metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_is_there_as_long_as_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.socket");
        let listener = bind_file(&path).unwrap();
        assert!(path.exists());
        assert_eq!(listener.address.port(), None);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.socket");
        drop(UnixListener::bind(&path).unwrap());
        let listener = bind_file(&path).unwrap();
        let refused = bind_file(&path).err().unwrap();
        assert!(refused.to_string().ends_with("listens there"), "{refused}");
        assert!(path.exists());
        // Whoever replaces it owns it: ours does not remove it then.
        std::fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
        drop(other);
    }

    #[test]
    fn a_file_of_somebody_else_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.socket");
        std::fs::write(&path, "precious").unwrap();
        let refused = bind_file(&path).err().unwrap();
        assert!(refused.to_string().ends_with("no socket"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let long = folder.path().join("x".repeat(120));
        assert!(bind_file(&long).is_err());
        assert!(bind_file(&folder.path().join("none/a.socket")).is_err());
    }
}
