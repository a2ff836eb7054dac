//! The life of one connection.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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

/// What a client of HTTP/2 begins with: its preface, and the head of its settings. Whoever has
/// come so far is asked by pings from then on.
const BEGINNING: usize = 24 + 9;
/// How long it may take to say so much.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// After what silence a client is asked whether it is there, and how long it may take to answer
/// (runtime §6.2).
const PING_AFTER: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// Headers of a call may always be this many bytes.
const MIN_HEAD: u32 = 16 << 10;
/// How many calls of one connection run at once; more wait at their client.
const CALLS: u32 = 1000;
/// How long a connection may be without a call (runtime §6.2), and how long when there are more
/// than [`MANY`]: it costs 21 KiB, and its client comes again when it has something to say.
const IDLE: Duration = Duration::from_secs(180);
const IDLE_IN_A_CROWD: Duration = Duration::from_secs(5);
const MANY: usize = 1000;
/// How long the answers of a closing connection may take to leave. Streams that never end, such
/// as a watch of the health, end then.
const LINGER: Duration = Duration::from_secs(1);

/// Serves a connection until its client leaves, is idle for too long, or the server stops.
pub(super) async fn serve(
    stream: Stream,
    door: Arc<Door>,
    max_head: usize,
    stopping: CancellationToken,
    clock: &Clock,
    crowd: &Crowd,
) {
    let calls = Arc::new(Calls::default());
    let visitor = Visitor {
        door,
        calls: Arc::clone(&calls),
    };
    stream.set_nodelay();
    let is_socket_file = matches!(stream, Stream::Unix(_));
    let stream = Prompt::new(stream, BEGINNING, BEGIN_WITHIN, clock);
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
        () = calls.none_for(|| crowd.may_be_idle_for(), clock) => {}
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

/// How many connections a server has.
#[derive(Default)]
pub(super) struct Crowd(pub(super) AtomicUsize);

impl Crowd {
    /// How long one of them may be without a call.
    fn may_be_idle_for(&self) -> Duration {
        if self.0.load(Ordering::Relaxed) > MANY {
            IDLE_IN_A_CROWD
        } else {
            IDLE
        }
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

    /// Returns when there has been no call for as long as may be, or a little longer.
    async fn none_for(&self, may_be: impl Fn() -> Duration, clock: &Clock) {
        let mut before = None;
        let mut since = clock.now();
        loop {
            let begun = self.begun.load(Ordering::Acquire);
            if !self.none_runs() || before.replace(begun) != Some(begun) {
                since = clock.now();
            } else if clock.now().saturating_duration_since(since) >= may_be() {
                return;
            }
            clock.sleep(IDLE_IN_A_CROWD).await;
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
            clock.sleep(IDLE * 3).await;
            drop(long);
            calls.over().await;
        };
        let crowd = Crowd::default();
        let is_idle = || calls.none_for(|| crowd.may_be_idle_for(), &clock);
        tokio::join!(ends, is_idle());
        let idle = (clock.now() - from).saturating_sub(IDLE * 3);
        assert!(idle >= IDLE && idle <= IDLE + IDLE_IN_A_CROWD, "{idle:?}");
        // Where there are many, they go sooner.
        crowd.0.store(MANY + 1, Ordering::Relaxed);
        let from = clock.now();
        is_idle().await;
        assert_eq!(clock.now() - from, IDLE_IN_A_CROWD);
    }
}
