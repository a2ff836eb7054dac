//! The life of one connection.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bindery_contract::Clock;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::authority::Legible;
use super::door::Door;
use super::prompt::Prompt;
use crate::http::Stream;

/// How long a client may take to begin speaking HTTP/2.
const PREFACE: Duration = Duration::from_secs(10);
/// After what silence a client is asked whether it is there, and how long it may take to answer
/// (runtime §6.2).
const PING_AFTER: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// Headers of a call may always be this many bytes.
const MIN_HEAD: u32 = 16 << 10;
/// How many calls of one connection run at once; more wait at their client.
const CALLS: u32 = 1000;
/// How long a connection may be without a call.
const IDLE: Duration = Duration::from_secs(180);
/// How long the answers of a closing connection may take to leave. Streams that never end, such
/// as a watch of the health, end then.
const LINGER: Duration = Duration::from_secs(1);

/// Serves a connection until its client leaves, is idle for too long, or the server stops.
pub(super) async fn serve(
    stream: Stream,
    door: Arc<Door>,
    max_head: usize,
    stopping: CancellationToken,
    clock: Clock,
) {
    let calls = Arc::new(Calls::default());
    let visitor = Visitor {
        door,
        calls: Arc::clone(&calls),
    };
    stream.set_nodelay();
    let is_socket_file = matches!(stream, Stream::Unix(_));
    let stream = Prompt::new(stream, PREFACE, &clock);
    let stream = TokioIo::new(Legible::new(stream, is_socket_file));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN)
        .max_concurrent_streams(CALLS)
        .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX).max(MIN_HEAD))
        .serve_connection(stream, visitor);
    tokio::pin!(connection);
    tokio::select! {
        // A client that breaks off is its own business.
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => {}
        () = calls.none_for(IDLE, &clock) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = async {
            calls.over().await;
            clock.sleep(LINGER).await;
        } => {}
    }
}

/// How many calls a connection has seen come and go.
#[derive(Default)]
struct Calls {
    begun: AtomicU64,
    ended: AtomicU64,
    one_ended: Notify,
}

impl Calls {
    fn none_runs(&self) -> bool {
        self.begun.load(Ordering::Acquire) == self.ended.load(Ordering::Acquire)
    }

    /// Returns when none is running.
    async fn over(&self) {
        loop {
            let ended = self.one_ended.notified();
            if self.none_runs() {
                return;
            }
            ended.await;
        }
    }

    /// Returns when there has been no call for this long; at the latest after twice the time.
    async fn none_for(&self, idle: Duration, clock: &Clock) {
        let mut before = None;
        loop {
            let begun = self.begun.load(Ordering::Acquire);
            if self.none_runs() && before == Some(begun) {
                return;
            }
            before = Some(begun);
            clock.sleep(idle).await;
        }
    }
}

/// Counts a call as ended however it ends.
struct Ended(Arc<Calls>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
        // The one that waits, or is about to.
        self.0.one_ended.notify_one();
    }
}

struct Visitor {
    door: Arc<Door>,
    calls: Arc<Calls>,
}

impl hyper::service::Service<Request<Incoming>> for Visitor {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.calls.begun.fetch_add(1, Ordering::Release);
        let ended = Ended(Arc::clone(&self.calls));
        let door = Arc::clone(&self.door);
        Box::pin(async move {
            let response = door.observed(request).await;
            drop(ended);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_when_no_call_came_and_none_runs() {
        let clock = Clock::paused(SystemTime::UNIX_EPOCH);
        let calls = Arc::new(Calls::default());
        let from = clock.now();
        let begin = |calls: &Arc<Calls>| {
            calls.begun.fetch_add(1, Ordering::Release);
            Ended(Arc::clone(calls))
        };
        // One that is over before the first look back, and one that runs for three idle times.
        drop(begin(&calls));
        let long = begin(&calls);
        let ends = async {
            clock.sleep(IDLE * 7 / 2).await;
            drop(long);
            calls.over().await;
        };
        tokio::join!(ends, calls.none_for(IDLE, &clock));
        assert_eq!(clock.now() - from, IDLE * 4);
    }
}
