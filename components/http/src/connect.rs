//! From a URI to a connection: TCP, through a proxy where the environment names one, and TLS.

use std::error::Error;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bindery_contract::Clock;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

/// How long a connection may take to be there, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection is silent before the system asks whether the upstream is there, and how
/// long it waits for each of three answers.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long the upstream may leave unconfirmed what was sent.
#[cfg(target_os = "linux")]
const UNCONFIRMED: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
/// A connection to the upstream or a proxy; TLS here is the proxy's.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    parts: Arc<Parts>,
}

struct Parts {
    secure: HttpsConnector<Reach>,
    clock: Clock,
}

impl Connector {
    pub(crate) fn new(tls: ClientConfig, proxies: Option<Arc<Matcher>>, clock: Clock) -> Self {
        let mut tcp = HttpConnector::new();
        // The scheme says whether there is TLS, which is not this one's business.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(3));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNCONFIRMED));
        let proxies = proxies.map(|matcher| {
            // What is spoken to a proxy itself is HTTP/1.1.
            let mut tls = tls.clone();
            tls.alpn_protocols.clear();
            Proxies {
                matcher,
                way: HttpsConnector::from((tcp.clone(), Arc::new(tls))),
            }
        });
        let secure = HttpsConnector::from((Reach { tcp, proxies }, Arc::new(tls)));
        Self {
            parts: Arc::new(Parts { secure, clock }),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Way>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let parts = Arc::clone(&self.parts);
        Box::pin(async move {
            let connecting = parts.secure.clone().call(to);
            let connected = parts.clock.timeout(CONNECT_TIMEOUT, connecting).await;
            connected.unwrap_or_else(|| {
                let problem = format!("no connection within {CONNECT_TIMEOUT:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, problem).into())
            })
        })
    }
}

/// Reaches the upstream, directly or through a proxy.
#[derive(Clone)]
struct Reach {
    tcp: HttpConnector,
    proxies: Option<Proxies>,
}

#[derive(Clone)]
struct Proxies {
    matcher: Arc<Matcher>,
    way: HttpsConnector<HttpConnector>,
}

impl Service<Uri> for Reach {
    type Response = Way;
    type Error = BoxError;
    type Future = Connecting<Way>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let reach = self.clone();
        Box::pin(reach.reach(to))
    }
}

impl Reach {
    async fn reach(mut self, to: Uri) -> Result<Way, BoxError> {
        let proxy = self.proxies.as_ref().and_then(|proxies| {
            let proxy = proxies.matcher.intercept(&to)?;
            Some((proxy, proxies.way.clone()))
        });
        let Some((proxy, mut way)) = proxy else {
            return Ok(Way::to_the_end(Stream::Http(self.tcp.call(to).await?)));
        };
        let address = proxy.uri().clone();
        if is_socks(&address) {
            let mut socks = SocksV5::new(address, self.tcp);
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            Ok(Way::to_the_end(Stream::Http(socks.call(to).await?)))
        } else if to.scheme_str() == Some("https") {
            let mut tunnel = Tunnel::new(address, way);
            if let Some(user) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(user.clone());
            }
            Ok(Way::to_the_end(tunnel.call(to).await?))
        } else {
            Ok(Way {
                stream: way.call(address).await?,
                forwards: true,
            })
        }
    }
}

fn is_socks(proxy: &Uri) -> bool {
    let scheme = proxy.scheme_str();
    scheme.is_some_and(|scheme| scheme.starts_with("socks"))
}

/// What a request itself has to show to the proxy that forwards it, if there is one with a user.
pub(crate) fn proxy_authorization(proxies: &Matcher, to: &Uri) -> Option<HeaderValue> {
    let is_forwarded = to.scheme_str() == Some("http");
    let proxy = is_forwarded.then(|| proxies.intercept(to)).flatten()?;
    let proxy = Some(proxy).filter(|proxy| !is_socks(proxy.uri()))?;
    proxy.basic_auth().cloned()
}

/// A connection that ends at the upstream, or at a proxy that forwards requests.
pub(crate) struct Way {
    stream: Stream,
    forwards: bool,
}

impl Way {
    fn to_the_end(stream: Stream) -> Self {
        Self {
            stream,
            forwards: false,
        }
    }
}

impl Connection for Way {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.forwards)
    }
}

impl Read for Way {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Way {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}
