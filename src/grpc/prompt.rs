//! A connection whose other side has to say something soon.
//!
//! Both sides of HTTP/2 begin by sending their settings. Without a limit a listener that accepts
//! and says nothing would keep every event waiting, and a client that does so a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bindery_contract::Clock;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::through::writes_through;

/// A connection that fails unless its first bytes arrive in time.
pub(crate) struct Prompt<T> {
    inner: T,
    /// Gone when the first bytes are there.
    limit: Option<BoxFuture<'static, ()>>,
}

impl<T> Prompt<T> {
    /// The time runs from now.
    pub(crate) fn new(inner: T, limit: Duration, clock: &Clock) -> Self {
        let clock = clock.clone();
        Self {
            inner,
            limit: Some(async move { clock.sleep(limit).await }.boxed()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prompt<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let Some(limit) = &mut self.limit else {
            return read;
        };
        if read.is_ready() {
            self.limit = None;
            return read;
        }
        limit.poll_unpin(cx).map(|()| {
            let problem = "the other side accepted the connection and said nothing";
            Err(io::Error::new(io::ErrorKind::TimedOut, problem))
        })
    }
}

writes_through!([T: AsyncWrite + Unpin] Prompt<T>, inner);
