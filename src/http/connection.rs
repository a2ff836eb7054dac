//! How a connection is served, so that it costs next to nothing while nobody uses it.
//!
//! A dispatcher keeps two buffers and the state of an exchange for as long as its connection is
//! open, and callers of a sidecar keep theirs open for hours. So when a connection has been quiet
//! for a while, between two exchanges, its dispatcher is dropped and only the socket stays. At
//! its next byte it gets another, as if it had just come.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::error::DispatchError;
use actix_http::header::CONTENT_TYPE;
use actix_http::{Extensions, HttpService, KeepAlive, Protocol, Request, Response, StatusCode};
use actix_server::GracefulShutdownSignal;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_factory,
    fn_service, map_config,
};
use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use bindery_contract::Clock;

use super::ledger::{AT_ONCE, Answering, Exchange, Ledger, Socket};
use super::stream::Stream;
use crate::resting;

/// How often a connection is asked whether it was used: one that was not for this long, and not
/// for twice this long at most, loses its dispatcher.
const QUIET: Duration = Duration::from_secs(1);
/// How long a client may take to send its header (runtime §6.1).
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to hang up.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// What every connection of HTTP/2 begins with; this much of it is no request of HTTP/1.
const PREFACE: &[u8; 12] = b"PRI * HTTP/2";

/// How connections are served.
#[derive(Clone)]
pub(super) struct ConnectionConfig {
    /// Whether HTTP/2 by prior knowledge is spoken too.
    pub(super) h2c: bool,
    /// The longest head of a request in bytes.
    pub(super) max_head: usize,
    /// Where time comes from.
    pub(super) clock: Clock,
    /// When the server stops: whoever is idle then is let go.
    pub(super) stopping: GracefulShutdownSignal,
}

/// What serves connections with an app.
pub(super) fn served_by<C, A, S, B>(
    app: A,
    config: ConnectionConfig,
) -> impl ServiceFactory<C, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    C: Into<Stream> + 'static,
    A: IntoServiceFactory<S, Request>,
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
        > + 'static,
    S::InitError: fmt::Debug,
    B: MessageBody + 'static,
{
    let app = app.into_factory().map_err(|error| error.error_response());
    let app = map_config(app, |()| AppConfig::default());
    let max_head = config.max_head;
    let app = apply_fn_factory(app, move |request: Request, app: &_| {
        let exchange = request.conn_data::<Rc<Ledger>>();
        let exchange = exchange.map(|ledger| ledger.begin(&request));
        let refusal = exchange.as_ref().and_then(|it| refusal(it, max_head));
        let answering = match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Service::call(app, request)),
        };
        async move {
            let answer = match answering {
                Ok(answering) => {
                    Response::from(answering.await?).map_body(|_, body: B| body.boxed())
                }
                Err(refusal) => refusal,
            };
            Ok::<_, HttpResponse>(answer.map_body(|_, body| Answering {
                body,
                _exchange: exchange,
            }))
        }
    });
    let stopping = config.stopping.clone();
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(HEADER_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // A caller that goes away cancels its call.
        .h1_allow_half_closed(false)
        .on_connect_ext(|socket: &Socket, extensions: &mut Extensions| {
            extensions.insert(Rc::clone(&socket.ledger));
        })
        .finish(app);
    let http = Rc::new(http);
    fn_factory(move || {
        let making = http.new_service(());
        let config = config.clone();
        async move {
            let http = Rc::new(making.await?);
            Ok(fn_service(move |connection: C| {
                let (http, config) = (Rc::clone(&http), config.clone());
                async move {
                    let served = serve(connection.into(), http, &config).await;
                    resting::one_more(&config.clock);
                    served
                }
            }))
        }
    })
}

/// The answer to a request that nobody looks into. The connection ends with it, over HTTP/1.
fn refusal(exchange: &Exchange, max_head: usize) -> Option<Response<BoxBody>> {
    let (status, problem) = if exchange.head > max_head {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let problem = format!("the limit is {max_head} bytes, --read-buffer-size");
        (status, problem)
    } else if exchange.is_one_too_many() {
        let problem = format!("{AT_ONCE} requests of this connection wait for their answers");
        (StatusCode::SERVICE_UNAVAILABLE, problem)
    } else {
        return None;
    };
    let mut answer = Response::build(status);
    answer.insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"));
    let answer = answer.force_close().body(format!("{status}: {problem}\n"));
    Some(answer.map_into_boxed_body())
}

/// Serves a connection to its end.
async fn serve<H>(
    connection: Stream,
    http: H,
    config: &ConnectionConfig,
) -> Result<(), DispatchError>
where
    H: Service<(Socket, Protocol, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    let peer = connection.peer();
    let (ledger, protocol) = if config.h2c && begins_http2(&connection, &config.clock).await? {
        (Ledger::http2(connection), Protocol::Http2)
    } else {
        (Ledger::new(connection), Protocol::Http1)
    };
    while let Some(socket) = Socket::of(&ledger) {
        // In a box, so that its place is free again while the connection is at rest.
        let serving = Box::pin(http.call((socket, protocol, peer)));
        tokio::select! {
            biased;
            done = serving => return done,
            () = idle(&ledger, &config.clock) => {}
        }
        // The select has dropped the dispatcher, and with that brought the connection to rest.
        let Some(connection) = ledger.take() else {
            break;
        };
        resting::one_more(&config.clock);
        tokio::select! {
            readable = connection.readable() => readable?,
            () = config.stopping.notified() => break,
        }
        ledger.rest(connection);
    }
    Ok(())
}

async fn begins_http2(connection: &Stream, clock: &Clock) -> Result<bool, DispatchError> {
    let mut start = [0; PREFACE.len()];
    let looking = connection.peek(&mut start);
    let looked = clock.timeout(HEADER_TIMEOUT, looking).await;
    looked.ok_or(DispatchError::SlowRequestTimeout)??;
    Ok(&start == PREFACE)
}

/// Resolves when a connection has been idle for a while.
async fn idle(ledger: &Ledger, clock: &Clock) {
    loop {
        clock.sleep(QUIET).await;
        if ledger.is_idle() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::UNIX_EPOCH;

    use actix_server::Server;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// How many dispatchers there are, and were.
    #[derive(Clone, Default)]
    struct Dispatchers(Rc<Cell<usize>>, Rc<Cell<usize>>);

    impl Dispatchers {
        /// One that answers every request with a byte.
        async fn dispatch(self, mut socket: Socket) -> Result<(), DispatchError> {
            self.0.set(self.0.get() + 1);
            self.1.set(self.1.get() + 1);
            let _here = Here(Rc::clone(&self.0));
            let mut request = vec![0; REQUEST.len()];
            while socket.read_exact(&mut request).await.is_ok() {
                let _exchange = socket.ledger.begin(&Request::new());
                socket.write_all(b"!").await?;
            }
            Ok(())
        }
    }

    struct Here(Rc<Cell<usize>>);

    impl Drop for Here {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    /// A client of a connection that is served in a task, on a clock that jumps.
    async fn client(dispatchers: &Dispatchers, clock: &Clock) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (connection, _) = listener.accept().await.unwrap();
        let config = ConnectionConfig {
            h2c: false,
            max_head: 8192,
            clock: clock.clone(),
            stopping: Server::build().graceful_shutdown_signal(),
        };
        let dispatchers = dispatchers.clone();
        let http = fn_service(move |(socket, _, _): (Socket, Protocol, _)| {
            dispatchers.clone().dispatch(socket)
        });
        tokio::task::spawn_local(async move { serve(connection.into(), http, &config).await });
        client.unwrap()
    }

    async fn exchange(client: &mut TcpStream) {
        client.write_all(REQUEST).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'!');
    }

    fn run(test: impl Future) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let patience = Clock::paused(UNIX_EPOCH);
        let test = async { patience.timeout(QUIET * 10_000, test).await };
        let outcome = tokio::task::LocalSet::new().block_on(&runtime, test);
        outcome.expect("no answer came");
    }

    #[test]
    fn an_idle_connection_has_no_dispatcher_until_it_is_used_again() {
        run(async {
            let (dispatchers, clock) = (Dispatchers::default(), Clock::paused(UNIX_EPOCH));
            let mut client = client(&dispatchers, &clock).await;
            for round in 1..4 {
                exchange(&mut client).await;
                exchange(&mut client).await;
                let (now, so_far) = (dispatchers.0.get(), dispatchers.1.get());
                assert_eq!((now, so_far), (1, round));
                clock.sleep(QUIET * 3).await;
                assert_eq!(dispatchers.0.get(), 0);
            }
        });
    }

    #[test]
    fn nothing_that_was_read_is_lost() {
        run(async {
            let (dispatchers, clock) = (Dispatchers::default(), Clock::paused(UNIX_EPOCH));
            let mut client = client(&dispatchers, &clock).await;
            let (start, rest) = REQUEST.split_at(7);
            client.write_all(&[REQUEST, start].concat()).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'!');
            clock.sleep(QUIET * 100).await;
            client.write_all(rest).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'!');
            assert_eq!(dispatchers.1.get(), 1);
        });
    }
}
