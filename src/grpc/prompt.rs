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

/// A connection that fails unless as many bytes as its beginning has arrive in time.
pub(crate) struct Prompt<T> {
    inner: T,
    /// How many of them have not come yet.
    missing: usize,
    /// Gone when none is missing.
    limit: Option<BoxFuture<'static, ()>>,
}

impl<T> Prompt<T> {
    /// The time runs from now.
    pub(crate) fn new(inner: T, beginning: usize, limit: Duration, clock: &Clock) -> Self {
        let clock = clock.clone();
        Self {
            inner,
            missing: beginning,
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
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let Some(limit) = &mut self.limit else {
            return read;
        };
        if read.is_ready() {
            let came = buf.filled().len() - before;
            self.missing = self.missing.saturating_sub(came);
            if self.missing == 0 {
                self.limit = None;
            }
            return read;
        }
        limit.poll_unpin(cx).map(|()| {
            let problem = "the other side accepted the connection and said nothing";
            Err(io::Error::new(io::ErrorKind::TimedOut, problem))
        })
    }
}

writes_through!([T: AsyncWrite + Unpin] Prompt<T>, inner);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_beginning_that_comes_byte_by_byte_has_no_more_time_than_another() {
        let clock = Clock::paused(UNIX_EPOCH);
        for (every, is_in_time) in [(50, true), (150, false)] {
            let (mut client, server) = duplex(64);
            let mut server = Prompt::new(server, 10, Duration::from_secs(1), &clock);
            let sending = async {
                for byte in 0..20 {
                    clock.sleep(Duration::from_millis(every)).await;
                    if client.write_u8(byte).await.is_err() {
                        return;
                    }
                }
                drop(client);
            };
            let mut read = Vec::new();
            let (outcome, ()) = tokio::join!(server.read_to_end(&mut read), sending);
            assert_eq!(outcome.is_ok(), is_in_time, "{outcome:?}");
            assert_eq!(read.len() == 20, is_in_time, "{}", read.len());
        }
    }
}
