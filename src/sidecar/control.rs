//! The control thread: what a sidecar's supervisor, its servers and its start and stop run on.
//! No binding's code and no request ever does.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::Arbiter;
use bindery_actors::{Core, Limits, Observer, Runtime, RuntimeConfig, Threads, app};
use bindery_contract::settings::Secret;
use bindery_contract::{Clock, Deadline, Identity};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::config::{AppConfig, Config};
use super::grpc::{GrpcPorts, GrpcServers};
use super::http_api::HttpPorts;
use super::readiness::{Health, Readiness, Way};
use super::reload::{LookNow, Reloader};
use super::telemetry::{MetricsPort, telemetry};
use super::{Drained, Ready, Shared, Shutdown, Sidecar, StartError};
use crate::app::{Callee, Guarded, InProcessApp, Protocol, RemoteApp, RemoteConfig};
use crate::catalogue::Catalogue;
use crate::http::{Api, ApiConfig, AppConnection, AppHealth, Servers};
use crate::resources::{Configuration, Live, Manifest, Resources, Sources, Surroundings};
use crate::resting::give_back_now_and_then;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::{Exporter, Metrics};
use crate::telemetry::traces::{Traced, Traces};

/// Everything a sidecar is started from.
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) catalogue: Catalogue,
    pub(super) components: Vec<Manifest>,
    pub(super) app: Option<AppConfig>,
    pub(super) in_process: InProcessApp,
}

/// What a handle asks of its control thread.
pub(super) enum Command {
    /// Stops everything; the answer comes when it is done.
    Stop(oneshot::Sender<Shutdown>),
    /// Asks the app again about the inputs that it did not want.
    AskAgain,
    /// Reads no more for good, and answers when the time is over or the app is unwell.
    Drain(Duration, oneshot::Sender<Drained>),
    /// Reads the files anew; the answer is what is wrong in them.
    Reload(LookNow),
    /// Answers, and thereby shows that the control thread lives.
    Answer(oneshot::Sender<()>),
}

/// Starts the control thread, and on it the sidecar.
pub(super) async fn start(plan: Plan) -> Result<Sidecar, StartError> {
    let (tell, started) = oneshot::channel();
    let (commands, asked) = mpsc::unbounded_channel();
    let handlers = plan.in_process.handlers.clone();
    let thread = std::thread::Builder::new()
        .name("bindery-control".into())
        .spawn(move || {
            actix_rt::System::new().block_on(async move {
                match Control::start(plan).await {
                    Ok(control) => {
                        let parts = control.parts();
                        // Nobody to tell means that whoever wanted a sidecar has gone away.
                        if tell.send(Ok(parts)).is_ok() {
                            control.run(asked).await;
                        }
                    }
                    Err(error) => drop(tell.send(Err(error))),
                }
            });
        })
        .map_err(StartError::Thread)?;
    let parts = started.await.unwrap_or_else(|_| {
        let gone = std::io::Error::other("the control thread died while it started");
        Err(StartError::Thread(gone))
    })?;
    Ok(Sidecar {
        shared: Arc::new(Shared {
            parts,
            handlers,
            commands,
            thread: std::sync::Mutex::new(Some(thread)),
        }),
    })
}

/// What a handle keeps of a started sidecar.
pub(super) struct Parts {
    pub(super) core: Arc<Core>,
    pub(super) api: Arc<Api>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) grpc_addresses: Vec<SocketAddr>,
    pub(super) metrics_addresses: Vec<SocketAddr>,
    pub(super) ready: watch::Receiver<Ready>,
    pub(super) requests: watch::Receiver<Option<super::ShutdownRequest>>,
}

/// A started sidecar, on its control thread.
struct Control {
    clock: Clock,
    grace: Option<Duration>,
    runtime: Rc<Runtime>,
    api: Arc<Api>,
    servers: Option<Servers>,
    grpc: GrpcServers,
    /// Threads that deliver events and make calls where no server has any.
    workers: Vec<Arbiter>,
    addresses: Vec<SocketAddr>,
    grpc_addresses: Vec<SocketAddr>,
    exporter: Exporter,
    ready: watch::Receiver<Ready>,
    requests: watch::Receiver<Option<super::ShutdownRequest>>,
    is_well: watch::Receiver<bool>,
    /// Set when the inputs are stopped for good.
    drained: Rc<Cell<bool>>,
    readiness: AbortOnDropHandle<()>,
    reloader: AbortOnDropHandle<()>,
    reload: mpsc::UnboundedSender<LookNow>,
    _resting: AbortOnDropHandle<()>,
}

impl Control {
    async fn start(plan: Plan) -> Result<Self, StartError> {
        let clock = Clock::system();
        let started = clock.now();
        let Plan {
            config,
            catalogue,
            components,
            app,
            in_process,
        } = plan;
        let sources = Arc::new(sources(&config, catalogue, components));
        let configuration = configuration(&config)?;
        let mut resources = load(&sources, &configuration)?;
        let (metrics_port, http_ports, grpc_ports) = bind(&config, &configuration, &clock).await?;
        let grpc_addresses = grpc_ports.addresses();
        let addresses = http_ports.addresses();
        let workers = worker_count(&config);
        let telemetry = telemetry(&config, &configuration, &clock);
        let reach = |app| remote_app(app, &config, &clock, &telemetry);
        let remote = app.as_ref().map(reach);
        let health = app.as_ref().and_then(|app| app.health.clone());
        let (is_well_in, is_well) = watch::channel(health.is_none());
        let guard = health.as_ref().map(|_| is_well.clone());
        let traces = &telemetry.traces;
        let reached = reached(remote.as_ref(), &in_process, guard.clone(), traces);
        let metrics = telemetry.metrics.clone();
        let runtime = Rc::new(start_runtime(&config, &clock, workers, reached, &metrics));
        let hot_reload = configuration.feature("HotReload");
        let hot_reload = hot_reload.unwrap_or(config.hot_reload);
        let (ready_in, ready) = watch::channel(Ready::default());
        let (shutdown, requests) = watch::channel(None);
        let api = Arc::new(Api::new(ApiConfig {
            core: Arc::clone(runtime.core()),
            app_id: config.app_id.clone(),
            app: app_connection(app.as_ref()),
            inventory: resources.inventory(),
            features: hot_reload.then_some("HotReload").into_iter().collect(),
            access: configuration.access().clone(),
            stores: Arc::clone(&resources.stores),
            scopes: configuration.secrets().clone(),
            callee: Callee::new(config.app_id.clone(), remote.clone(), guard),
            operator: runtime.operator(),
            token: config.env.non_empty("DAPR_API_TOKEN").map(Secret::new),
            max_body: config.max_body,
            ready: ready.clone(),
            telemetry,
            shutdown,
        }));
        metrics.resiliency_loaded(resources.resiliency.documents());
        runtime.core().set_policies(resources.resiliency.policies());
        let live = Live::new(&mut resources);
        runtime.load(resources.components);
        let exporter = metrics_port.serve(&api)?;
        // Before anybody can call: a name that is not known yet would be an error.
        runtime.loaded().await;
        let (servers, workers) = serve_http(http_ports, &api, &config, workers).await?;
        let grpc = grpc_ports.serve(&api, config.max_head)?;
        let drained = Rc::new(Cell::new(false));
        let readiness = Readiness {
            core: Arc::clone(runtime.core()),
            inputs: runtime.input_switch(),
            way: way(remote, &in_process, &config),
            health: health.map(|check| Health::new(check, is_well_in)),
            drained: Rc::clone(&drained),
            ready: ready_in,
            started,
        };
        let reloader = Reloader {
            clock: clock.clone(),
            sources,
            live,
            runtime: Rc::clone(&runtime),
            api: Arc::clone(&api),
            watch: (hot_reload && config.has_files()).then_some(config.reconcile),
            configurations: config.configurations,
            configuration: Arc::new(configuration),
        };
        let (reload, asked) = mpsc::unbounded_channel();
        let resting = tokio::task::spawn_local(give_back_now_and_then(clock.clone()));
        Ok(Self {
            clock,
            grace: config.grace,
            runtime,
            api,
            servers,
            grpc,
            workers,
            addresses,
            grpc_addresses,
            exporter,
            ready,
            requests,
            is_well,
            drained,
            readiness: AbortOnDropHandle::new(tokio::task::spawn_local(readiness.follow())),
            reloader: AbortOnDropHandle::new(tokio::task::spawn_local(reloader.run(asked))),
            reload,
            _resting: AbortOnDropHandle::new(resting),
        })
    }

    fn parts(&self) -> Parts {
        Parts {
            core: Arc::clone(self.runtime.core()),
            api: Arc::clone(&self.api),
            addresses: self.addresses.clone(),
            grpc_addresses: self.grpc_addresses.clone(),
            metrics_addresses: self.exporter.addresses().to_vec(),
            ready: self.ready.clone(),
            requests: self.requests.clone(),
        }
    }

    /// Does what the handles ask, until one asks it to stop or the last one is gone.
    async fn run(self, mut asked: mpsc::UnboundedReceiver<Command>) {
        let done = loop {
            match asked.recv().await {
                Some(Command::AskAgain) => {
                    self.runtime.start_inputs();
                    self.runtime.ask_again();
                }
                Some(Command::Drain(longest, done)) => self.drain(longest, done),
                Some(Command::Reload(answer)) => drop(self.reload.send(answer)),
                Some(Command::Answer(answer)) => drop(answer.send(())),
                Some(Command::Stop(done)) => break Some(done),
                None => break None,
            }
        };
        let outcome = self.stop().await;
        if let Some(done) = done {
            let _ = done.send(outcome);
        }
    }

    fn drain(&self, longest: Duration, done: oneshot::Sender<Drained>) {
        self.drained.set(true);
        self.runtime.input_switch().stop(Deadline::NONE);
        let (clock, mut is_well) = (self.clock.clone(), self.is_well.clone());
        tokio::task::spawn_local(async move {
            let unwell = async {
                if is_well.wait_for(|is_well| !is_well).await.is_err() {
                    // Nobody asks for its health.
                    std::future::pending::<()>().await;
                }
            };
            let drained = match clock.timeout(longest, unwell).await {
                Some(()) => Drained::Unwell,
                None => Drained::Expired,
            };
            let _ = done.send(drained);
        });
    }

    /// The sources first, then what is running, the servers, the outputs last.
    async fn stop(self) -> Shutdown {
        tracing::info!(target: "dapr.runtime", "Dapr is shutting down");
        // What stops takes no changes in, and reads nothing that it did not read before.
        self.reloader.abort();
        self.readiness.abort();
        drop(self.exporter);
        let deadline = match self.grace {
            Some(grace) => Deadline::at(self.clock.now() + grace),
            None => Deadline::NONE,
        };
        for component in self.runtime.core().status().components().iter() {
            tracing::info!(
                target: "dapr.runtime.processor", "Shutting down component {}", component.display()
            );
        }
        let steps = async {
            self.runtime.stop_inputs(deadline).await;
            self.grpc.stop().await;
            if let Some(servers) = &self.servers {
                for address in &self.addresses {
                    tracing::info!(target: "dapr.runtime.http", "Closing HTTP server {address}…");
                }
                servers.stop().await;
            }
            self.runtime.close(deadline).await;
            self.api.telemetry().traces.finish().await;
        };
        let outcome = match deadline.limit(&self.clock, steps).await {
            Some(()) => Shutdown::Graceful,
            None => Shutdown::TimedOut,
        };
        if outcome == Shutdown::Graceful {
            tracing::info!(target: "dapr.runtime", "Dapr runtime stopped");
        }
        for worker in &self.workers {
            worker.stop();
        }
        let joining = tokio::task::spawn_blocking(move || {
            self.workers
                .into_iter()
                .for_each(|worker| drop(worker.join()));
        });
        // A handler that blocks its thread for ever must not keep the process from ending.
        let _ = Clock::system()
            .timeout(Duration::from_secs(1), joining)
            .await;
        outcome
    }
}

/// All ports, ours before anything is served.
async fn bind(
    config: &Config,
    configuration: &Configuration,
    clock: &Clock,
) -> Result<(MetricsPort, HttpPorts, GrpcPorts), StartError> {
    Ok((
        MetricsPort::bind(config, configuration, clock).await?,
        HttpPorts::bind(config.http.as_ref(), clock).await?,
        GrpcPorts::bind(config.grpc.as_ref(), clock).await?,
    ))
}

/// Serves the HTTP API on workers of its own; without one, workers that nothing is served on.
async fn serve_http(
    ports: HttpPorts,
    api: &Arc<Api>,
    config: &Config,
    workers: usize,
) -> Result<(Option<Servers>, Vec<Arbiter>), StartError> {
    Ok(match &config.http {
        Some(http) => (Some(ports.serve(api, http, config, workers)?), Vec::new()),
        None => (None, own_workers(api.core(), workers).await),
    })
}

/// One for each processor of the quota, unless a number is given.
fn worker_count(config: &Config) -> usize {
    match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

fn start_runtime(
    config: &Config,
    clock: &Clock,
    workers: usize,
    app: Arc<dyn app::App>,
    metrics: &Metrics,
) -> Runtime {
    Runtime::start(RuntimeConfig {
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
        app: Some(app),
        observer: metrics
            .is_on()
            .then(|| Arc::new(metrics.clone()) as Arc<dyn Observer>),
    })
}

fn sources(config: &Config, catalogue: Catalogue, code: Vec<Manifest>) -> Sources {
    Sources {
        folders: config.resources.clone(),
        code,
        catalogue: catalogue.with_pluggable(&config.env),
        surroundings: Surroundings {
            app_id: config.app_id.clone(),
            env: config.env.clone(),
            cluster_store: config.cluster_store,
        },
    }
}

/// The app as the actors reach it.
fn reached(
    remote: Option<&RemoteApp>,
    in_process: &InProcessApp,
    is_well: Option<watch::Receiver<bool>>,
    traces: &Traces,
) -> Arc<dyn app::App> {
    let app: Arc<dyn app::App> = match remote {
        Some(remote) => remote.as_app(),
        None => Arc::new(in_process.clone()),
    };
    let app = if traces.are_active() {
        let over_grpc = matches!(remote, Some(RemoteApp::Grpc(_)));
        Arc::new(Traced::new(app, traces.clone(), over_grpc))
    } else {
        app
    };
    match is_well {
        Some(is_well) => Arc::new(Guarded::new(app, is_well)),
        None => app,
    }
}

/// How the start waits for it.
fn way(remote: Option<RemoteApp>, in_process: &InProcessApp, config: &Config) -> Way {
    match remote {
        Some(remote) => Way::Remote(Box::new(remote)),
        // A host that embeds us may set its handlers later.
        None if config.http.is_some() && in_process.is_empty() => Way::Nowhere,
        None => Way::InProcess,
    }
}

/// Reads the Configuration files, and tells what is odd about them.
fn configuration(config: &Config) -> Result<Configuration, StartError> {
    let (configuration, odd) = Configuration::load(&config.configurations, &config.env)
        .map_err(StartError::Configuration)?;
    for finding in odd {
        tracing::warn!(target: "dapr.runtime", "{finding}");
    }
    Ok(configuration)
}

/// Loads everything, and tells what is odd about it.
fn load(sources: &Sources, configuration: &Configuration) -> Result<Resources, StartError> {
    tracing::info!(target: "dapr.runtime", "Loading components…");
    let resources = sources.load(configuration)?;
    for mistake in &resources.mistakes {
        tracing::error!(target: "dapr.runtime.resiliency", "{mistake}");
    }
    for name in &resources.resiliency.names {
        tracing::info!(
            target: "dapr.runtime.resiliency",
            "Loading Resiliency configuration: {name}"
        );
    }
    for warning in &resources.warnings {
        tracing::warn!(target: "dapr.runtime.loader", "{warning}");
    }
    Ok(resources)
}

/// Threads that route calls and deliver events. Returns when all of them do.
async fn own_workers(core: &Arc<Core>, count: usize) -> Vec<Arbiter> {
    let mut workers = Vec::new();
    for _ in 0..count {
        let (worker, core) = (Arbiter::new(), Arc::clone(core));
        let (tell, works) = oneshot::channel();
        worker.spawn_fn(move || {
            core.work_here();
            let _ = tell.send(());
        });
        let _ = works.await;
        workers.push(worker);
    }
    workers
}

fn remote_app(app: &AppConfig, config: &Config, clock: &Clock, telemetry: &Telemetry) -> RemoteApp {
    RemoteApp::new(RemoteConfig {
        protocol: app.protocol,
        host: app.host.clone(),
        port: app.port,
        app_id: config.app_id.clone(),
        max_concurrency: app.max_concurrency,
        options_timeout: app.options_timeout,
        fetch_config: app.fetch_config,
        token: config.env.non_empty("APP_API_TOKEN").map(Secret::new),
        clock: clock.clone(),
        metrics: telemetry.metrics.clone(),
        begins_traces: !telemetry.traces.are_off(),
    })
}

fn app_connection(app: Option<&AppConfig>) -> AppConnection {
    AppConnection {
        port: app.map(|app| app.port),
        protocol: app
            .map_or_else(Protocol::default, |app| app.protocol)
            .to_string(),
        channel_address: app.map_or_else(|| "127.0.0.1".into(), |app| app.host.clone()),
        max_concurrency: app.and_then(|app| app.max_concurrency),
        health: app.and_then(|app| app.health.as_ref()).map(AppHealth::from),
    }
}
