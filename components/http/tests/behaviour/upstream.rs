//! A real HTTP server for the tests, on a thread and a loopback port of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use bindery_testkit::servers::Outage;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// What it answers.
pub type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A request that it received.
#[derive(Debug)]
pub struct Received {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// The value of a header; `None` when it is not there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

type Handler = Arc<dyn Fn(Received) -> BoxFuture<'static, Answer> + Send + Sync>;

/// The server. Stops when it is dropped.
pub struct Upstream {
    address: SocketAddr,
    service: Service,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

#[derive(Clone)]
struct Service {
    handler: Handler,
    tls: Option<TlsAcceptor>,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// Starts a server that answers with what `handler` makes of a request.
    pub fn start<F>(handler: impl Fn(Received) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_with(handler, None)
    }

    /// The same over TLS.
    pub fn start_tls<F>(
        tls: TlsAcceptor,
        handler: impl Fn(Received) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_with(handler, Some(tls))
    }

    fn start_with<F>(
        handler: impl Fn(Received) -> F + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let service = Service {
            handler: Arc::new(move |received| Box::pin(handler(received))),
            tls,
            connections: Arc::default(),
        };
        let mut upstream = Self {
            address: (Ipv4Addr::LOCALHOST, bindery_testkit::ports::free()).into(),
            service,
            running: None,
        };
        upstream.start_again();
        upstream
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, by address.
    pub fn url(&self) -> String {
        let scheme = if self.service.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.service.connections.load(Ordering::Relaxed)
    }

    fn start_again(&mut self) {
        let (stop, stopped) = oneshot::channel();
        let (listening, listens) = std::sync::mpsc::channel();
        let (address, service) = (self.address, self.service.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::bind(address).await.unwrap();
                listening.send(()).unwrap();
                tokio::select! {
                    () = service.accept(listener) => {}
                    _ = stopped => {}
                }
            });
        });
        listens.recv().expect("the port is free");
        self.running = Some((stop, thread));
    }
}

impl Outage for Upstream {
    fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().expect("the server did not panic");
        }
    }

    fn start(&mut self) {
        self.start_again();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Service {
    async fn accept(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            self.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(self.clone().serve(stream));
        }
    }

    /// Whatever ends a connection, the test sees it from the other side.
    async fn serve(self, stream: TcpStream) {
        let handler = Arc::clone(&self.handler);
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let handler = Arc::clone(&handler);
            async move {
                let (head, body) = request.into_parts();
                let received = Received {
                    method: head.method,
                    uri: head.uri,
                    version: head.version,
                    headers: head.headers,
                    body: body.collect().await?.to_bytes(),
                };
                Ok::<_, hyper::Error>(handler(received).await)
            }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let _ = match &self.tls {
            None => {
                builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            }
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => {
                    builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                }
                Err(_) => Ok(()),
            },
        };
    }
}

/// An answer with a body of known length.
pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer
        .body(
            Full::new(body.into())
                .map_err(|never| match never {})
                .boxed_unsync(),
        )
        .unwrap()
}

/// The request as JSON: method, path, version, headers, body.
pub async fn echo(received: Received) -> Answer {
    let header = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = received
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), header(value)));
    let headers: serde_json::Map<_, _> =
        headers.map(|(name, value)| (name, value.into())).collect();
    let echoed = serde_json::json!({
        "method": received.method.as_str(),
        "path": received.uri.path_and_query().map(ToString::to_string),
        "version": format!("{:?}", received.version),
        "headers": headers,
        "body": String::from_utf8_lossy(&received.body),
    });
    answer(
        200,
        &[("content-type", "application/json")],
        echoed.to_string(),
    )
}
