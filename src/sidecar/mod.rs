//! The life of a sidecar: built, started, used through a handle, stopped (runtime §9).

mod builder;
mod component;
mod config;
mod control;
mod grpc;
mod http_api;
mod reach;
mod readiness;
mod reload;
mod telemetry;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::web::ServiceConfig;
use bindery_actors::{Call, CallError, ComponentStatus, Core};
use bindery_contract::{Event, Metadata, Reply};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::builder::Builder;
pub use self::component::Component;
pub use self::config::{AppConfig, Config, GrpcConfig, HttpConfig};
use self::control::{Command, Parts};
use crate::app::{Handlers, IntoAnswer};
use crate::http;
use crate::resources::{Finding, LoadError};

/// A call without metadata: `sidecar.invoke("files", "list", "", NO_METADATA)`.
pub const NO_METADATA: [(&str, &str); 0] = [];

/// Why a sidecar cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A resource can never work.
    #[error(transparent)]
    Resources(#[from] LoadError),
    /// A Configuration file can never work.
    #[error("{0}")]
    Configuration(Finding),
    /// The port is not to be had.
    #[error(
        "could not listen on any endpoint for the HTTP API: {0}. Is another sidecar running? \
         Choose another port with --dapr-http-port"
    )]
    Listen(std::io::Error),
    /// The port of the gRPC API is not to be had.
    #[error(
        "could not listen on any endpoint for the gRPC API: {0}. Is another sidecar running? \
         Choose another port with --dapr-grpc-port"
    )]
    ListenGrpc(std::io::Error),
    /// The port for other sidecars is not to be had.
    #[error("could not listen on any endpoint for other sidecars (--dapr-internal-grpc-port): {0}")]
    ListenInternalGrpc(std::io::Error),
    /// The public port is not to be had.
    #[error("could not listen on any endpoint for the public port (--dapr-public-port): {0}")]
    ListenPublic(std::io::Error),
    /// A unix domain socket is not to be had.
    #[error(
        "could not listen on the unix domain socket {0}. Is another sidecar with the same --app-id \
         running? --unix-domain-socket names a folder that exists"
    )]
    ListenFile(std::io::Error),
    /// The port of the metrics is not to be had.
    #[error(
        "failed to run metrics server: {0}. Is another sidecar running? Choose another port with \
         --metrics-port, or switch metrics off with --enable-metrics=false"
    )]
    ListenMetrics(std::io::Error),
    /// A server cannot be set up.
    #[error("the server could not be started: {0}")]
    Server(std::io::Error),
    /// The thread that everything is started on cannot be had.
    #[error("the control thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// How far the start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The API can be called, and every binding is open or has failed its first attempt.
    pub outbound: bool,
    /// The app is there, and the inputs it wants are being read.
    pub inbound: bool,
}

impl Ready {
    /// What is still missing, by name.
    pub fn missing(self) -> Vec<&'static str> {
        let targets = [
            (self.outbound, "dapr-outbound"),
            (self.inbound, "dapr-runtime"),
        ];
        targets
            .iter()
            .filter(|(done, _)| !done)
            .map(|(_, name)| *name)
            .collect()
    }
}

/// Somebody asked over the API for the sidecar to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownRequest {
    /// At once, without the graceful steps.
    pub force: bool,
}

/// Why a sidecar that reads no more waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// The time is over.
    Expired,
    /// The app is unwell.
    Unwell,
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Everything was closed within the grace time.
    Graceful,
    /// The grace time was not enough.
    TimedOut,
}

/// A running sidecar. Cheap to clone, and usable from any thread; it stops when it is told to,
/// or when the last handle is dropped.
///
/// ```
/// use bindery::{Component, Sidecar};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let root = folder.path().to_str().unwrap();
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let sidecar = Sidecar::builder("shop")
///     .component(Component::new("files", "bindings.localstorage").set("rootPath", root))
///     .start()
///     .await?;
/// let order = r#"{"id": 7}"#;
/// sidecar.invoke("files", "create", order, [("fileName", "7.json")]).await?;
/// let reply = sidecar.invoke("files", "get", "", [("fileName", "7.json")]).await?;
/// let data = reply.expect("get answers").data.collect(1024).await?;
/// assert_eq!(data, order);
/// sidecar.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Sidecar {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Parts,
    handlers: Handlers,
    commands: mpsc::UnboundedSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Sidecar {
    /// Begins a sidecar for an app of this name.
    pub fn builder(app_id: impl Into<String>) -> Builder {
        Config::new(app_id).into()
    }

    /// Calls an output. On a thread of an actix runtime the call of a per-thread output never
    /// leaves the thread; from any other it goes to one of the sidecar's own threads.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn invoke<K, V>(
        &self,
        binding: &str,
        operation: &str,
        data: impl Into<Bytes>,
        metadata: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Option<Reply>, CallError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let pairs = metadata.into_iter();
        let metadata: Metadata = pairs.map(|(key, value)| (key.into(), value)).collect();
        let call = Call {
            binding: binding.to_owned(),
            operation: operation.to_owned(),
            data: data.into(),
            metadata,
            deadline: None,
        };
        self.shared.parts.api.call(binding, call).await
    }

    /// Handles the events of an input from now on; see [`Builder::on`]. An input that nobody
    /// wanted so far begins to be read.
    pub fn on<F, R, T, E>(&self, input: impl Into<String>, handler: F)
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + 'static,
        T: IntoAnswer,
        E: Display,
    {
        self.shared.handlers.set(input, handler);
        // A sidecar that has stopped asks nobody any more.
        let _ = self.shared.commands.send(Command::AskAgain);
    }

    /// How all bindings are now.
    pub fn status(&self) -> Arc<Vec<Arc<ComponentStatus>>> {
        self.core().status().components()
    }

    /// Its metrics, as Prometheus reads them; `docs/metrics.md` lists them. A host that has a port
    /// for metrics answers there with them.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let sidecar = bindery::Sidecar::builder("shop").start().await?;
    /// assert!(sidecar.metrics().contains("bindery_lane_depth{app_id=\"shop\",lane=\"0\"} 0"));
    /// sidecar.shutdown().await;
    /// # Ok::<(), bindery::StartError>(())
    /// # }).unwrap();
    /// ```
    pub fn metrics(&self) -> String {
        self.shared.parts.api.telemetry().read_metrics(self.core())
    }

    /// Where its metrics are served; nowhere without [`Config::metrics`].
    pub fn metrics_addresses(&self) -> &[SocketAddr] {
        &self.shared.parts.metrics_addresses
    }

    /// The HTTP API, to be mounted into an actix-web app under `/v1.0`:
    /// `App::new().configure(sidecar.api())`. Every thread that serves it takes calls without
    /// leaving the thread.
    pub fn api(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static + use<> {
        http::mount(Arc::clone(&self.shared.parts.api))
    }

    /// Reads the files anew and takes in what has changed, as it happens by itself where they are
    /// watched. Returns when they are read, with what is wrong in them: what that concerns goes on
    /// as it was.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let components = folder.path();
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let sidecar = bindery::Sidecar::builder("shop").resources(components).start().await?;
    /// std::fs::write(components.join("orders.yaml"), "kind: Component\n\tspec: {}\n").unwrap();
    /// assert!(sidecar.reload().await[0].contains("orders.yaml"));
    /// sidecar.shutdown().await;
    /// # Ok::<(), bindery::StartError>(())
    /// # }).unwrap();
    /// ```
    pub async fn reload(&self) -> Vec<String> {
        let (answer, wrong) = oneshot::channel();
        let _ = self.shared.commands.send(Command::Reload(answer));
        // A sidecar that has stopped reads nothing.
        wrong.await.unwrap_or_default()
    }

    /// How far the start has come.
    pub fn ready(&self) -> watch::Receiver<Ready> {
        self.shared.parts.ready.clone()
    }

    /// Waits until the inputs that the app wants are being read.
    pub async fn wait_until_ready(&self) {
        // A sidecar that has stopped will never be ready: there is nothing to wait for.
        let _ = self.ready().wait_for(|ready| ready.inbound).await;
    }

    /// Whether its control thread lives: returns when it has answered, however long that takes.
    pub(crate) async fn answers(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        let _ = self.shared.commands.send(Command::Answer(answer));
        answered.await.is_ok()
    }

    /// Where its own HTTP API listens; nothing without [`Builder::listen`], and on a unix domain
    /// socket.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.shared.parts.addresses
    }

    /// Where its own gRPC API listens; nothing without [`Config::grpc`], and on a unix domain
    /// socket.
    pub fn grpc_addresses(&self) -> &[SocketAddr] {
        &self.shared.parts.grpc_addresses
    }

    /// Resolves when somebody asks over the API for the sidecar to end.
    pub async fn shutdown_requested(&self) -> ShutdownRequest {
        let mut requests = self.shared.parts.requests.clone();
        let request = requests.wait_for(Option::is_some).await;
        match request.ok().and_then(|request| *request) {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }

    /// Reads no more, for good, while outputs and the API go on; returns after `longest`, or when
    /// the app is unwell. For apps that still have calls to make before they end
    /// (`--dapr-block-shutdown-duration`).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let sidecar = bindery::Sidecar::builder("shop").start().await?;
    /// sidecar.drain(Duration::from_millis(10)).await;
    /// sidecar.shutdown().await;
    /// # Ok::<(), bindery::StartError>(())
    /// # }).unwrap();
    /// ```
    pub async fn drain(&self, longest: Duration) -> Drained {
        let (done, drained) = oneshot::channel();
        let _ = self.shared.commands.send(Command::Drain(longest, done));
        // A sidecar that has stopped has nothing left to wait for.
        drained.await.unwrap_or(Drained::Expired)
    }

    /// Stops: the sources first, then what is running, the servers, the outputs last. Its threads
    /// have ended when this returns. A sidecar that is stopped already stays so.
    pub async fn shutdown(&self) -> Shutdown {
        let (done, stopped) = oneshot::channel();
        let _ = self.shared.commands.send(Command::Stop(done));
        // Not sent, or not answered: somebody else has stopped it.
        let outcome = stopped.await.unwrap_or(Shutdown::Graceful);
        let thread = &self.shared.thread;
        let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        outcome
    }

    /// The actors: calls with a deadline, counters and states go through it.
    pub fn core(&self) -> &Arc<Core> {
        &self.shared.parts.core
    }
}
