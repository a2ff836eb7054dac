//! The servers of the API.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_server::{Server, ServerHandle};
use actix_service::{ServiceFactory, fn_service};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::web::ServiceConfig;
use actix_web::{App, Error, HttpRequest, HttpResponse, web};

use super::api::{Api, ApiHere};
use super::connection::{ConnectionConfig, served_by};
use super::cors::{self, Cors};
use super::listen::{Listener, Socket, SocketFile};
use super::observed::observed;
use super::public;
use super::stream::Stream;

/// How the servers run.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How many worker threads.
    pub workers: usize,
    /// Whether HTTP/2 by prior knowledge is spoken too.
    pub h2c: bool,
    /// The longest head of a request in bytes.
    pub max_head: usize,
    /// Which pages of other origins may call.
    pub cors: Option<Cors>,
    /// How long running requests may finish when the server stops.
    pub shutdown_timeout: Duration,
}

/// The servers of the API.
pub struct Servers {
    handle: ServerHandle,
    /// Removed with this.
    _files: Vec<SocketFile>,
}

/// Serves the API on the listeners, and what everybody may see on the public ones. Every worker
/// thread becomes a worker of the actors too.
///
/// # Errors
/// When a listener cannot be used.
pub fn start(
    listeners: Vec<Listener>,
    public: Vec<Listener>,
    api: Arc<Api>,
    config: ServerConfig,
) -> io::Result<Servers> {
    let mut server = Server::build()
        .workers(config.workers)
        .shutdown_timeout(config.shutdown_timeout.as_secs().max(1))
        .disable_signals();
    let connections = ConnectionConfig {
        h2c: config.h2c,
        max_head: config.max_head,
        clock: api.core().clock().clone(),
        stopping: server.graceful_shutdown_signal(),
    };
    let door = Door {
        api,
        way: config.cors.map_or(Way::Api, Way::WithCors),
        connections,
    };
    let public_door = Door {
        way: Way::Public,
        connections: ConnectionConfig {
            h2c: false,
            ..door.connections.clone()
        },
        ..door.clone()
    };
    let behind = |listeners: Vec<Listener>, door: Door| {
        let listeners = listeners.into_iter();
        listeners.map(move |listener| (listener, door.clone()))
    };
    let mut files = Vec::new();
    for (listener, door) in behind(listeners, door).chain(behind(public, public_door)) {
        let name = listener.address.to_string();
        server = match listener.socket {
            Socket::Tcp(socket) => server.listen(name, socket, move || door.open()),
            Socket::Unix(socket) => server.listen_uds(name, socket, move || door.open()),
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

/// What is behind a listener.
#[derive(Clone)]
struct Door {
    api: Arc<Api>,
    way: Way,
    connections: ConnectionConfig,
}

/// Where requests go.
#[derive(Clone)]
enum Way {
    /// To the API.
    Api,
    /// To the API, past the origins that may call.
    WithCors(Cors),
    /// To what everybody may see.
    Public,
}

impl Door {
    /// What serves the connections of one worker.
    fn open<C: Into<Stream> + 'static>(
        &self,
    ) -> impl ServiceFactory<C, Config = (), Response = (), Error = DispatchError, InitError = ()> + use<C>
    {
        let (api, app) = (&self.api, App::new());
        let app = match self.way.clone() {
            Way::Api => app.default_service(answered(api, observed)),
            Way::WithCors(cors) => {
                let serve = async move |request: &_, payload, api: &_| {
                    cors::serve(request, payload, api, &cors).await
                };
                app.default_service(answered(api, serve))
            }
            Way::Public => app.default_service(answered(api, public::serve)),
        };
        served_by(app, self.connections.clone())
    }
}

/// Answers every request on the current thread, which becomes a worker of the actors. Without the
/// extractors of actix-web: the path of a call is short enough for them to count.
fn answered<A>(
    api: &Arc<Api>,
    answer: A,
) -> impl ServiceFactory<
    ServiceRequest,
    Config = (),
    Response = ServiceResponse,
    Error = Error,
    InitError = (),
> + use<A>
where
    A: AsyncFn(&HttpRequest, Payload, &ApiHere) -> HttpResponse + 'static,
{
    api.core().work_here();
    let way = Rc::new((ApiHere::new(api), answer));
    fn_service(move |asked: ServiceRequest| {
        let way = Rc::clone(&way);
        async move {
            let (api, answer) = &*way;
            let (request, payload) = asked.into_parts();
            let response = answer(&request, payload, api).await;
            Ok(ServiceResponse::new(request, response))
        }
    })
}

/// Mounts the API into a service that has an actix-web app of its own.
pub fn mount(api: Arc<Api>) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    move |config| {
        let scope = web::scope("/v1.0").default_service(answered(&api, observed));
        config.service(scope);
    }
}

impl Servers {
    /// Takes no more connections, and waits for the running requests.
    pub async fn stop(&self) {
        self.handle.stop(true).await;
    }
}
