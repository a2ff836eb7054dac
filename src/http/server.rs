//! Ports and servers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_server::{Server, ServerHandle};
use actix_web::web::ServiceConfig;
use actix_web::{App, web};
use bindery_contract::Clock;

use super::api::Api;
use super::connection::{ConnectionConfig, served_by};
use super::observed::observed;

/// How long binding a port is tried (runtime §6.3).
const BIND_FOR: Duration = Duration::from_secs(10);

/// A port that is ours.
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    pub(crate) socket: TcpListener,
}

/// Binds `port` on all `addresses`; none means loopback, of both address families. Each is tried
/// for ten seconds; it is enough when one of them works.
///
/// # Errors
/// When none works.
pub async fn bind(addresses: &[IpAddr], port: u16, clock: &Clock) -> io::Result<Vec<Listener>> {
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let (addresses, optional) = if addresses.is_empty() {
        (&loopback[..], true)
    } else {
        (addresses, false)
    };
    let mut listeners: Vec<Listener> = Vec::new();
    let mut failure = None;
    for address in addresses {
        // With port 0 the system chooses once, and all addresses share that choice.
        let port = listeners.first().map_or(port, |first| first.address.port());
        let wanted = SocketAddr::new(*address, port);
        // A machine without the second loopback is no reason to wait.
        let patience = if optional && !listeners.is_empty() {
            Duration::ZERO
        } else {
            BIND_FOR
        };
        match bind_one(wanted, patience, clock).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

async fn bind_one(wanted: SocketAddr, patience: Duration, clock: &Clock) -> io::Result<Listener> {
    let deadline = clock.now() + patience;
    loop {
        match listen(wanted) {
            Ok(socket) => {
                return Ok(Listener {
                    address: socket.local_addr()?,
                    socket,
                });
            }
            Err(error) if clock.now() >= deadline => {
                return Err(io::Error::new(error.kind(), format!("{wanted}: {error}")));
            }
            Err(_) => clock.sleep(Duration::from_millis(100)).await,
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // So that a restart does not wait for connections of the last run to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(2048)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How the servers run.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How many worker threads.
    pub workers: usize,
    /// Whether HTTP/2 by prior knowledge is spoken too.
    pub h2c: bool,
    /// How long running requests may finish when the server stops.
    pub shutdown_timeout: Duration,
}

/// The servers of the API.
pub struct Servers {
    handle: ServerHandle,
}

/// Serves the API on the listeners. Every worker thread becomes a worker of the actors too.
///
/// # Errors
/// When a listener cannot be used.
pub fn start(
    listeners: Vec<Listener>,
    api: Arc<Api>,
    config: &ServerConfig,
) -> io::Result<Servers> {
    let mut server = Server::build()
        .workers(config.workers)
        .shutdown_timeout(config.shutdown_timeout.as_secs().max(1))
        .disable_signals();
    let connections = ConnectionConfig {
        h2c: config.h2c,
        clock: api.core().clock().clone(),
        stopping: server.graceful_shutdown_signal(),
    };
    for Listener { address, socket } in listeners {
        let (api, connections) = (Arc::clone(&api), connections.clone());
        server = server.listen(address.to_string(), socket, move || {
            api.core().work_here();
            let app = App::new()
                .app_data(web::Data::from(Arc::clone(&api)))
                .default_service(web::to(observed));
            served_by(app, connections.clone())
        })?;
    }
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(target: "dapr.runtime.http", "the HTTP server ended: {error}");
        }
    });
    Ok(Servers { handle })
}

/// Mounts the API into a service that has an actix-web app of its own.
pub fn mount(api: Arc<Api>) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    move |config| {
        api.core().work_here();
        let scope = web::scope("/v1.0")
            .app_data(web::Data::from(Arc::clone(&api)))
            .default_service(web::to(observed));
        config.service(scope);
    }
}

impl Servers {
    /// Takes no more connections, and waits for the running requests.
    pub async fn stop(&self) {
        self.handle.stop(true).await;
    }
}
