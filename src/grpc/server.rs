//! Ports, and the dealing of their connections to the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_rt::ArbiterHandle;
use bindery_actors::Core;
use bindery_contract::Clock;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::connection::{self, Crowd};
use super::door::Door;
use crate::http::{Address, Listener, Socket, SocketFile, Stream};
use crate::resting;

/// How long nothing is accepted after accepting has failed: most likely all file handles are in
/// use, and asking at once again would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a worker is looked for while there is none.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A server of gRPC.
pub(crate) struct Server {
    acceptors: Vec<AbortOnDropHandle<()>>,
    stopping: CancellationToken,
    connections: TaskTracker,
    /// Removed with this.
    _files: Vec<SocketFile>,
}

/// Serves on the listeners, requests with heads of at most `max_head` bytes or 16 KiB. The connections are driven by the workers; the current thread only
/// accepts them.
///
/// # Errors
/// When a listener cannot be used.
pub(crate) fn start(
    listeners: Vec<Listener>,
    door: Door,
    core: &Arc<Core>,
    max_head: usize,
) -> std::io::Result<Server> {
    let (stopping, connections) = (CancellationToken::new(), TaskTracker::new());
    let dealer = Arc::new(Dealer {
        core: Arc::clone(core),
        door: Arc::new(door),
        load: core.arbiters().map(|_| Arc::default()).collect(),
        crowd: Arc::default(),
        max_head,
        stopping: stopping.clone(),
        connections: connections.clone(),
    });
    let (mut acceptors, mut files) = (Vec::new(), Vec::new());
    for listener in listeners {
        let socket = Acceptor::of(listener.socket)?;
        let accepting = accept(socket, listener.address, Arc::clone(&dealer));
        acceptors.push(AbortOnDropHandle::new(tokio::spawn(accepting)));
        files.extend(listener.file);
    }
    Ok(Server {
        acceptors,
        stopping,
        connections,
        _files: files,
    })
}

impl Server {
    /// Takes no more connections and no more calls, and waits for the running ones.
    pub(crate) async fn stop(&self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
        self.stopping.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}

/// A listener that this thread's poller knows.
enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    fn of(socket: Socket) -> std::io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            Socket::Unix(socket) => Self::Unix(UnixListener::from_std(socket)?),
        })
    }

    async fn accept(&self) -> std::io::Result<Stream> {
        Ok(match self {
            Self::Tcp(socket) => socket.accept().await?.0.into(),
            Self::Unix(socket) => socket.accept().await?.0.into(),
        })
    }
}

async fn accept(socket: Acceptor, address: Address, dealer: Arc<Dealer>) {
    loop {
        match socket.accept().await {
            Ok(stream) => dealer.deal(stream).await,
            Err(error) => {
                tracing::warn!(
                    target: "dapr.runtime.grpc",
                    "no connection could be accepted on {address}: {error}"
                );
                dealer.core.clock().sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives each connection to the worker that has the fewest.
struct Dealer {
    core: Arc<Core>,
    door: Arc<Door>,
    /// How many connections the worker of each seat has.
    load: Vec<Arc<AtomicUsize>>,
    /// How many there are in all.
    crowd: Arc<Crowd>,
    max_head: usize,
    stopping: CancellationToken,
    connections: TaskTracker,
}

impl Dealer {
    async fn deal(&self, stream: Stream) {
        let (arbiter, load) = self.least_loaded().await;
        let Ok(stream) = stream.leave() else {
            return;
        };
        let place = Place::take(load, &self.crowd);
        let (door, crowd) = (Arc::clone(&self.door), Arc::clone(&self.crowd));
        let (stopping, clock): (_, Clock) = (self.stopping.clone(), self.core.clock().clone());
        let max_head = self.max_head;
        let serving = self.connections.track_future(async move {
            if let Ok(stream) = stream.arrive() {
                connection::serve(stream, door, max_head, stopping, &clock, &crowd).await;
            }
            drop(place);
            resting::one_more(&clock);
        });
        arbiter.spawn(serving);
    }

    /// Workers that are still starting, or were lost, are waited for.
    async fn least_loaded(&self) -> (ArbiterHandle, &Arc<AtomicUsize>) {
        loop {
            let workers = self.core.arbiters().zip(&self.load);
            let present = workers.filter_map(|(arbiter, load)| Some((arbiter?, load)));
            let fewest = present.min_by_key(|(_, load)| load.load(Ordering::Relaxed));
            if let Some(fewest) = fewest {
                return fewest;
            }
            self.core.clock().sleep(LOOK_AGAIN).await;
        }
    }
}

/// A connection's place among those of its worker, and of the server.
struct Place {
    load: Arc<AtomicUsize>,
    crowd: Arc<Crowd>,
}

impl Place {
    fn take(load: &Arc<AtomicUsize>, crowd: &Arc<Crowd>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        crowd.0.fetch_add(1, Ordering::Relaxed);
        Self {
            load: Arc::clone(load),
            crowd: Arc::clone(crowd),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.crowd.0.fetch_sub(1, Ordering::Relaxed);
    }
}
