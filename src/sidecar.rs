//! The life of a sidecar: start, run, stop (runtime §9).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::{Limits, Runtime, RuntimeConfig, Threads, app};
use bindery_contract::settings::Secret;
use bindery_contract::{Clock, Deadline, Identity, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::app::{HttpApp, HttpAppConfig};
use crate::catalogue::Catalogue;
use crate::http::{self, Api, ApiConfig, AppConnection, ServerConfig, Servers};
use crate::resources::{self, Env, LoadError, Surroundings};

/// How a sidecar is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is; `--app-id`.
    pub app_id: String,
    /// Where the YAML lives; `--resources-path`.
    pub resources: Vec<PathBuf>,
    /// The port of the HTTP API; 0 lets the system choose.
    pub http_port: u16,
    /// Where the API listens; none means loopback.
    pub listen: Vec<IpAddr>,
    /// The app, if there is one.
    pub app: Option<AppConfig>,
    /// `--max-body-size`; `None` is no limit.
    pub max_body: Option<usize>,
    /// How long a shutdown may take; `None` is as long as it takes.
    pub grace: Option<Duration>,
    /// Whether the API speaks HTTP/2 by prior knowledge too.
    pub h2c: bool,
    /// How many worker threads; 0 means one for each processor of the quota.
    pub workers: usize,
    /// Whether `/dapr/config` is asked for.
    pub fetch_app_config: bool,
    /// Where environment variables come from.
    pub env: Env,
}

/// How the app is reached.
#[derive(Clone, Debug)]
pub struct AppConfig {
    /// `--app-channel-address`.
    pub host: String,
    /// `--app-port`.
    pub port: u16,
    /// `--app-max-concurrency`; `None` is unlimited.
    pub max_concurrency: Option<usize>,
    /// `--app-binding-options-timeout`.
    pub options_timeout: Duration,
}

impl Config {
    /// The defaults for an app of this name.
    pub fn new(app_id: impl Into<String>) -> Self {
        Self {
            app_id: app_id.into(),
            resources: Vec::new(),
            http_port: 3500,
            listen: Vec::new(),
            app: None,
            max_body: Some(4 << 20),
            grace: Some(Duration::from_secs(5)),
            h2c: true,
            workers: 0,
            fetch_app_config: true,
            env: Env::Process,
        }
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}

/// Why a sidecar cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A resource can never work.
    #[error(transparent)]
    Resources(#[from] LoadError),
    /// The port is not to be had.
    #[error(
        "could not listen on any endpoint for the HTTP API: {0}. Is another sidecar running? \
         Choose another port with --dapr-http-port"
    )]
    Listen(std::io::Error),
    /// The server cannot be set up.
    #[error("the HTTP server could not be started: {0}")]
    Server(std::io::Error),
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

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Everything was closed within the grace time.
    Graceful,
    /// The grace time was not enough.
    TimedOut,
}

/// A running sidecar. It lives on the thread that started it, which is its control thread and
/// runs an actix system.
pub struct Sidecar {
    config: Config,
    clock: Clock,
    runtime: Runtime,
    servers: Servers,
    addresses: Vec<SocketAddr>,
    ready: watch::Receiver<Ready>,
    requests: mpsc::Receiver<ShutdownRequest>,
    _readiness: AbortOnDropHandle<()>,
}

impl Sidecar {
    /// Reads and checks everything, then opens the port, then the bindings. Returns when the API
    /// serves; the app and the bindings may still be on their way.
    ///
    /// # Errors
    /// Anything that can never work. Then nothing was opened.
    pub async fn start(config: Config, catalogue: &Catalogue) -> Result<Self, StartError> {
        let started = Clock::system().now();
        let clock = Clock::system();
        let surroundings = Surroundings {
            app_id: config.app_id.clone(),
            env: config.env.clone(),
        };
        tracing::info!(target: "dapr.runtime", "Loading components…");
        let resources = resources::load(&config.resources, catalogue, &surroundings)?;
        let listeners = http::bind(&config.listen, config.http_port, &clock)
            .await
            .map_err(StartError::Listen)?;
        let addresses: Vec<SocketAddr> =
            listeners.iter().map(|listener| listener.address).collect();

        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let http_app = config
            .app
            .as_ref()
            .map(|app| http_app(app, &config, &clock));
        let runtime = Runtime::start(RuntimeConfig {
            clock: clock.clone(),
            identity: Identity {
                app_id: config.app_id.clone(),
                namespace: config.env.get("NAMESPACE").unwrap_or_default(),
            },
            limits: Limits {
                workers,
                ..Limits::default()
            },
            threads: Threads::Own,
            app: http_app
                .clone()
                .map(|app| Arc::new(app) as Arc<dyn app::App>),
        });
        let (ready_in, ready) = watch::channel(Ready::default());
        let (shutdown, requests) = mpsc::channel(1);
        let api = Arc::new(Api::new(ApiConfig {
            core: Arc::clone(runtime.core()),
            app_id: config.app_id.clone(),
            app: app_connection(config.app.as_ref()),
            listed: resources.listed,
            token: config.env.non_empty("DAPR_API_TOKEN").map(Secret::new),
            max_body: config.max_body,
            ready: ready.clone(),
            shutdown,
        }));
        runtime.load(resources.components);
        let server = ServerConfig {
            workers,
            h2c: config.h2c,
            shutdown_timeout: config.grace.unwrap_or(Duration::from_secs(10)),
        };
        let servers = http::start(listeners, api, &server).map_err(StartError::Server)?;
        announce(&addresses, !config.listen.is_empty());
        let readiness = readiness(
            &runtime,
            http_app,
            config.fetch_app_config,
            ready_in,
            started,
        );
        let readiness = AbortOnDropHandle::new(tokio::task::spawn_local(readiness));
        Ok(Self {
            config,
            clock,
            runtime,
            servers,
            addresses,
            ready,
            requests,
            _readiness: readiness,
        })
    }

    /// The actors: calls and status go through it.
    pub fn core(&self) -> &Arc<bindery_actors::Core> {
        self.runtime.core()
    }

    /// Where the HTTP API listens.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How far the start has come.
    pub fn ready(&self) -> watch::Receiver<Ready> {
        self.ready.clone()
    }

    /// Resolves when somebody asks over the API for the sidecar to end.
    pub async fn shutdown_requested(&mut self) -> ShutdownRequest {
        match self.requests.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }

    /// Stops: the sources first, then what is running, the servers, the outputs last.
    pub async fn stop(self) -> Shutdown {
        tracing::info!(target: "dapr.runtime", "Dapr is shutting down");
        let deadline = match self.config.grace {
            Some(grace) => Deadline::at(self.clock.now() + grace),
            None => Deadline::NONE,
        };
        let steps = async {
            self.runtime.stop_inputs(deadline).await;
            self.servers.stop().await;
            self.runtime.close(deadline).await;
        };
        match deadline.limit(&self.clock, steps).await {
            Some(()) => Shutdown::Graceful,
            None => Shutdown::TimedOut,
        }
    }
}

fn http_app(app: &AppConfig, config: &Config, clock: &Clock) -> HttpApp {
    HttpApp::new(HttpAppConfig {
        host: app.host.clone(),
        port: app.port,
        app_id: config.app_id.clone(),
        max_concurrency: app.max_concurrency,
        options_timeout: app.options_timeout,
        token: config.env.non_empty("APP_API_TOKEN").map(Secret::new),
        clock: clock.clone(),
    })
}

fn app_connection(app: Option<&AppConfig>) -> AppConnection {
    AppConnection {
        port: app.map(|app| app.port),
        protocol: "http".into(),
        channel_address: app.map_or_else(|| "127.0.0.1".into(), |app| app.host.clone()),
        max_concurrency: app.and_then(|app| app.max_concurrency),
    }
}

/// Says where the API listens, how far that reaches, and how to widen it.
fn announce(addresses: &[SocketAddr], chosen: bool) {
    let Some(first) = addresses.first() else {
        return;
    };
    let port = first.port();
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let reach = if chosen {
        ""
    } else {
        " (this machine only; --dapr-listen-addresses=0.0.0.0 opens it to others)"
    };
    tracing::info!(
        target: "dapr.runtime.http",
        "HTTP server is running on port {port}: {}{reach}", all.join(", ")
    );
}

/// Follows the start to its end: bindings tried, app found, inputs asked for.
fn readiness(
    runtime: &Runtime,
    app: Option<HttpApp>,
    fetch_config: bool,
    ready: watch::Sender<Ready>,
    started: Instant,
) -> impl Future<Output = ()> + use<> {
    let core = Arc::clone(runtime.core());
    let inputs = runtime.input_starter();
    async move {
        let mut progress = core.progress();
        // The core lives as long as this task, so waiting cannot fail.
        let _ = progress.wait_for(|progress| progress.tried).await;
        tracing::info!(target: "dapr.runtime", "All outstanding components processed");
        ready.send_modify(|ready| ready.outbound = true);
        match app {
            None => tracing::warn!(
                target: "dapr.runtime",
                "App channel is not initialized. Did you configure an app-port?"
            ),
            Some(app) => {
                app.wait_until_listening().await;
                if fetch_config {
                    app.fetch_config().await;
                }
                inputs.start();
                let _ = progress.wait_for(|progress| progress.asked).await;
            }
        }
        ready.send_modify(|ready| ready.inbound = true);
        tracing::info!(
            target: "dapr.runtime",
            "dapr initialized. Status: Running. Init Elapsed {}ms",
            core.clock().now().saturating_duration_since(started).as_millis()
        );
    }
}
