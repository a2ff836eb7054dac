//! The port that Prometheus reads: any path, the same answer (runtime §6.6).

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bindery_contract::Clock;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::http::{Address, Listener, Socket};

/// How many connections are served at once; more wait.
const CONNECTIONS: usize = 64;
/// How long a client may take to send a request, and to send the next one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where metrics are read.
#[derive(Clone, Debug)]
pub struct MetricsConfig {
    /// `--metrics-port`; 0 lets the system choose.
    pub port: u16,
    /// `--metrics-listen-address`.
    pub listen: Vec<IpAddr>,
}

/// The port, served until this is dropped.
pub(crate) struct Exporter {
    addresses: Vec<SocketAddr>,
    _serving: Vec<AbortOnDropHandle<()>>,
}

impl Exporter {
    /// Serves what `read` says, on the current thread.
    ///
    /// # Errors
    /// When a listener cannot be used.
    pub(crate) fn serve(
        listeners: Vec<Listener>,
        clock: &Clock,
        read: impl Fn() -> String + 'static,
    ) -> io::Result<Self> {
        let read: Rc<dyn Fn() -> String> = Rc::new(read);
        let (mut addresses, mut serving) = (Vec::new(), Vec::new());
        for listener in listeners {
            // Prometheus reads from ports only.
            let (Socket::Tcp(socket), Address::Port(address)) = (listener.socket, listener.address)
            else {
                continue;
            };
            let listener = TcpListener::from_std(socket)?;
            let accepting = accept(listener, clock.clone(), Rc::clone(&read));
            serving.push(AbortOnDropHandle::new(tokio::task::spawn_local(accepting)));
            tracing::info!(target: "dapr.metrics", "metrics server started on {address}/");
            addresses.push(address);
        }
        Ok(Self {
            addresses,
            _serving: serving,
        })
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

async fn accept(listener: TcpListener, clock: Clock, read: Rc<dyn Fn() -> String>) {
    let places = Rc::new(Semaphore::new(CONNECTIONS));
    // Dropped with this task, and the connections with them.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(_place) = places.acquire().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let (read, places) = (Rc::clone(&read), Rc::clone(&places));
                connections.spawn_local(async move {
                    let _place = places.acquire().await;
                    let answer = service_fn(move |_: Request<Incoming>| {
                        std::future::ready(Ok::<_, Infallible>(answer(read())))
                    });
                    // A client that breaks off is its own business.
                    let _ = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(PATIENCE)
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
            // Out of file descriptors, most of the time.
            Err(_) => clock.sleep(Duration::from_millis(100)).await,
        }
    }
}

fn answer(text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}
