//! Connections of gRPC that are open and used now and then.

use std::io;
use std::net::Ipv4Addr;
use std::thread;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::idle::Lines;

/// Connections of gRPC, driven by a thread of their own, as clients drive theirs: they answer the
/// pings of the server meanwhile.
pub struct GrpcLines {
    port: u16,
    call: Bytes,
    handle: Handle,
    lines: Vec<SendRequest<Full<Bytes>>>,
    /// Ends that thread.
    _until_dropped: oneshot::Sender<()>,
}

impl GrpcLines {
    /// None yet. Each call will carry `bytes` bytes of data.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn new(port: u16, bytes: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (until_dropped, dropped) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(dropped));
        Ok(Self {
            port,
            call: call("echo", bytes)?,
            handle,
            lines: Vec::new(),
            _until_dropped: until_dropped,
        })
    }

    async fn connect(port: u16) -> io::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let (line, driving) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(driving);
        Ok(line)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this thread drives nothing: another one does"
)]
impl Lines for GrpcLines {
    fn open(&mut self, count: usize) -> io::Result<()> {
        while self.lines.len() < count {
            let (port, call) = (self.port, self.call.clone());
            let line = self.handle.block_on(async {
                let mut line = Self::connect(port).await?;
                exchange(&mut line, call).await?;
                Ok::<_, io::Error>(line)
            })?;
            self.lines.push(line);
        }
        Ok(())
    }

    fn use_all(&mut self) -> io::Result<()> {
        for line in &mut self.lines {
            let (port, call) = (self.port, self.call.clone());
            self.handle.block_on(async {
                // A server may say goodbye to who is idle, and every client then comes again.
                if line.ready().await.is_err() {
                    *line = Self::connect(port).await?;
                }
                exchange(line, call).await
            })?;
        }
        Ok(())
    }
}

/// A call of an output with `bytes` bytes of data, as a message of gRPC.
fn call(output: &str, bytes: usize) -> io::Result<Bytes> {
    let mut message = Vec::new();
    // The numbers of the fields: name, data, operation.
    for (field, text) in [(1, output), (2, &*"x".repeat(bytes)), (4, "create")] {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 128);
        let length = length.ok_or_else(|| io::Error::other("127 bytes of data at most"))?;
        message.extend([field << 3 | 2, length]);
        message.extend(text.as_bytes());
    }
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    Ok([&[0], &length.to_be_bytes()[..], &message].concat().into())
}

async fn exchange(line: &mut SendRequest<Full<Bytes>>, call: Bytes) -> io::Result<()> {
    let request = Request::post("http://localhost/dapr.proto.runtime.v1.Dapr/InvokeBinding")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(call))
        .map_err(io::Error::other)?;
    line.ready().await.map_err(io::Error::other)?;
    let answer = line.send_request(request).await.map_err(io::Error::other)?;
    let body = answer.into_body().collect().await;
    let body = body.map_err(io::Error::other)?;
    let trailers = body.trailers();
    let status = trailers.and_then(|trailers| trailers.get("grpc-status"));
    if status.is_none_or(|status| status != "0") {
        return Err(io::Error::other(format!("not OK: {trailers:?}")));
    }
    Ok(())
}
