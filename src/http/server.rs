//! The servers of the API.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_server::{Server, ServerHandle};
use actix_service::ServiceFactory;
use actix_web::web::ServiceConfig;
use actix_web::{App, web};

use super::api::{Api, serve};
use super::connection::{ConnectionConfig, served_by};
use super::listen::{Listener, Socket, SocketFile};
use super::stream::Stream;

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
    /// Removed with this.
    _files: Vec<SocketFile>,
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
    let mut files = Vec::new();
    for listener in listeners {
        let (api, connections) = (Arc::clone(&api), connections.clone());
        let name = listener.address.to_string();
        server = match listener.socket {
            Socket::Tcp(socket) => {
                server.listen(name, socket, move || door(&api, connections.clone()))
            }
            Socket::Unix(socket) => {
                server.listen_uds(name, socket, move || door(&api, connections.clone()))
            }
        }?;
        files.extend(listener.file);
    }
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(target: "dapr.runtime.http", "the HTTP server ended: {error}");
        }
    });
    Ok(Servers {
        handle,
        _files: files,
    })
}

/// What serves the connections of one worker.
fn door<C: Into<Stream> + 'static>(
    api: &Arc<Api>,
    connections: ConnectionConfig,
) -> impl ServiceFactory<C, Config = (), Response = (), Error = DispatchError, InitError = ()> + use<C>
{
    api.core().work_here();
    let app = App::new()
        .app_data(web::Data::from(Arc::clone(api)))
        .default_service(web::to(serve));
    served_by(app, connections)
}

/// Mounts the API into a service that has an actix-web app of its own.
pub fn mount(api: Arc<Api>) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    move |config| {
        api.core().work_here();
        let scope = web::scope("/v1.0")
            .app_data(web::Data::from(Arc::clone(&api)))
            .default_service(web::to(serve));
        config.service(scope);
    }
}

impl Servers {
    /// Takes no more connections, and waits for the running requests.
    pub async fn stop(&self) {
        self.handle.stop(true).await;
    }
}
