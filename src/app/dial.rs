//! Connections to the app's port.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bindery_contract::Clock;
use bindery_contract::tls::ClientTls;
use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use super::remote::Protocol;
use crate::grpc::Prompt;
use crate::through::writes_through;

/// How long a connection may take to come about, TLS included, and then how long an app that
/// speaks HTTP/2 may take to say its first word: a listener that stalls is given up and tried
/// anew instead of keeping an event for ever.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a connection is silent before the system asks whether the other side is there, and
/// how long it waits for each of three answers.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long one look at the app's port may take (runtime §2.6).
const LOOK: Duration = Duration::from_millis(500);
/// How often the port is looked at while nobody listens.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Makes connections to one app.
#[derive(Clone)]
pub(super) struct Dial {
    target: Arc<Target>,
}

struct Target {
    protocol: Protocol,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    clock: Clock,
}

impl Dial {
    /// To the app on this port.
    pub(super) fn new(protocol: Protocol, host: String, port: u16, clock: Clock) -> Self {
        let tls = protocol.is_secure().then(|| {
            // An app beside its sidecar signs its certificate itself (runtime §2.5).
            let tls = ClientTls {
                insecure: true,
                ..ClientTls::default()
            };
            let config = tls.config().map(|mut config| {
                let alpn: &[u8] = if protocol.is_http2() {
                    b"h2"
                } else {
                    b"http/1.1"
                };
                config.alpn_protocols = vec![alpn.to_vec()];
                TlsConnector::from(Arc::new(config))
            });
            config.expect("nothing in it can be wrong")
        });
        let target = Target {
            protocol,
            host,
            port,
            tls,
            clock,
        };
        Self {
            target: Arc::new(target),
        }
    }

    /// What the app is called in requests.
    pub(super) fn authority(&self) -> String {
        let Target { host, port, .. } = &*self.target;
        match host.parse::<std::net::IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, *port).to_string(),
            Err(_) => format!("{host}:{port}"),
        }
    }

    /// `http`, or `https` under TLS.
    pub(super) fn scheme(&self) -> Scheme {
        if self.target.protocol.is_secure() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        }
    }

    /// Waits until the app listens on its port, however long that takes.
    pub(super) async fn wait_until_listening(&self) {
        let Target {
            protocol,
            port,
            clock,
            ..
        } = &*self.target;
        tracing::info!(
            target: "dapr.runtime",
            "application protocol: {}. waiting on port {port}.  This will block until the app is \
             listening on that port.", protocol.as_str()
        );
        let mut tries: u64 = 0;
        while !matches!(clock.timeout(LOOK, self.reach()).await, Some(Ok(_))) {
            tries += 1;
            if tries.is_multiple_of(100) {
                tracing::info!(
                    target: "dapr.runtime",
                    "waiting for application to listen on port {port}"
                );
            }
            clock.sleep(LOOK_EVERY).await;
        }
        tracing::info!(target: "dapr.runtime", "application discovered on port {port}");
    }

    /// TCP, and TLS where the protocol has it.
    async fn reach(&self) -> io::Result<Box<dyn Stream>> {
        let target = &*self.target;
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        // An app whose machine is gone answers nothing; without this, its events would wait for
        // ever.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
        let keepalive = keepalive.with_interval(KEEPALIVE).with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        let Some(tls) = &target.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }

    async fn connect(&self) -> io::Result<AppStream> {
        let target = &*self.target;
        let reached = target.clock.timeout(PATIENCE, self.reach()).await;
        let stream = reached.unwrap_or_else(|| {
            let problem = "the app did not take the connection in time";
            Err(io::Error::new(io::ErrorKind::TimedOut, problem))
        })?;
        Ok(if target.protocol.is_http2() {
            AppStream(Box::new(Prompt::new(stream, 1, PATIENCE, &target.clock)))
        } else {
            AppStream(stream)
        })
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<AppStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// There is one app, whatever the address says.
    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { dial.connect().await.map(TokioIo::new) })
    }
}

/// What a connection is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to the app.
pub(super) struct AppStream(Box<dyn Stream>);

impl Connection for AppStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for AppStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

writes_through!([] AppStream, 0);
