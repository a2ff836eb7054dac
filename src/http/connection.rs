//! How a connection is served, so that it costs next to nothing while nobody uses it.
//!
//! A dispatcher keeps two buffers and the state of an exchange for as long as its connection is
//! open, and callers of a sidecar keep theirs open for hours. So when a connection has been quiet
//! for a while, between two exchanges, its dispatcher is dropped and only the socket stays. At
//! its next byte it gets another, as if it had just come.

use std::cell::Cell;
use std::fmt;
use std::hint::black_box;
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

use super::ledger::{Answering, Ledger, Socket};
use super::stream::Stream;

/// How often a connection is asked whether it was used: one that was not for this long, and not
/// for twice this long at most, loses its dispatcher.
const QUIET: Duration = Duration::from_secs(1);
/// How long a client may take to send its header (runtime §6.1).
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to hang up.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// What every connection of HTTP/2 begins with; this much of it is no request of HTTP/1.
const PREFACE: &[u8; 12] = b"PRI * HTTP/2";

/// How long after the last connection came to rest or ended its memory is given back. Allocators keep for a
/// second what was freed.
const GIVE_BACK_AFTER: Duration = Duration::from_secs(3);
/// An allocator asks the system for as much as this alone, and looks then what it has to give back.
const LARGE: usize = 16 << 20;

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
        let is_long = exchange.as_ref().is_some_and(|it| it.head > max_head);
        let answering = (!is_long).then(|| Service::call(app, request));
        async move {
            let answer = match answering {
                Some(answering) => {
                    Response::from(answering.await?).map_body(|_, body: B| body.boxed())
                }
                None => long_head(max_head),
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
            let resting = Rc::new(Resting::default());
            Ok(fn_service(move |connection: C| {
                let (http, resting) = (Rc::clone(&http), Rc::clone(&resting));
                let config = config.clone();
                async move {
                    let served = serve(connection.into(), http, &resting, &config).await;
                    resting.one_more(&config.clock);
                    served
                }
            }))
        }
    })
}

/// The answer to a head that is too long. The connection ends with it.
fn long_head(limit: usize) -> Response<BoxBody> {
    let text = format!(
        "431 Request Header Fields Too Large: the limit is {limit} bytes, --read-buffer-size\n"
    );
    let mut answer = Response::build(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    answer.insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"));
    answer.force_close().body(text).map_into_boxed_body()
}

/// Serves a connection to its end.
async fn serve<H>(
    connection: Stream,
    http: H,
    resting: &Rc<Resting>,
    config: &ConnectionConfig,
) -> Result<(), DispatchError>
where
    H: Service<(Socket, Protocol, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    let peer = connection.peer();
    let (ledger, protocol) = if config.h2c && begins_http2(&connection, &config.clock).await? {
        (Ledger::lost(connection), Protocol::Http2)
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
        resting.one_more(&config.clock);
        tokio::select! {
            readable = connection.readable() => readable?,
            () = config.stopping.notified() => break,
        }
        ledger.rest(connection);
    }
    Ok(())
}

/// The connections of a worker that came to rest or to their end.
#[derive(Default)]
struct Resting {
    so_far: Cell<usize>,
    is_watched: Cell<bool>,
}

impl Resting {
    /// One more rests or has ended. When no other follows for a while, their memory is given back.
    fn one_more(self: &Rc<Self>, clock: &Clock) {
        self.so_far.set(self.so_far.get().wrapping_add(1));
        if self.is_watched.replace(true) {
            return;
        }
        let (resting, clock) = (Rc::clone(self), clock.clone());
        actix_rt::spawn(async move {
            let mut seen = None;
            while seen.replace(resting.so_far.get()) != Some(resting.so_far.get()) {
                clock.sleep(GIVE_BACK_AFTER).await;
            }
            resting.is_watched.set(false);
            give_back();
        });
    }
}

/// Has the allocator return to the system what was freed a while ago. It does so when it is used,
/// and a worker whose connections are idle may not use it for hours.
fn give_back() {
    drop(black_box(Vec::<u8>::with_capacity(LARGE)));
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
        tokio::task::spawn_local(async move {
            serve(connection.into(), http, &Rc::default(), &config).await
        });
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
