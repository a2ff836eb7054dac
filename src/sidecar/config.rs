//! How a sidecar is set up.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::app::{HealthCheck, Protocol};
use crate::resources::Env;
use crate::telemetry::metrics::MetricsConfig;

/// How a sidecar is set up. [`Builder`](super::Builder) has a method for what most services need;
/// the rest is here.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is; `--app-id`.
    pub app_id: String,
    /// Folders of YAML files; `--resources-path`.
    pub resources: Vec<PathBuf>,
    /// Configuration files, those after the first on top of it; `--config`.
    pub configurations: Vec<PathBuf>,
    /// The HTTP API on a port of its own; `None` opens no port.
    pub http: Option<HttpConfig>,
    /// The gRPC API on a port of its own; `None` opens no port.
    pub grpc: Option<GrpcConfig>,
    /// Metrics on a port of their own; `None` opens no port, and they are read with
    /// [`Sidecar::metrics`](super::Sidecar::metrics).
    pub metrics: Option<MetricsConfig>,
    /// Whether each call of the API is a line of the log, `--enable-api-logging`; `None` leaves
    /// it to the Configuration.
    pub api_logging: Option<bool>,
    /// How long a shutdown may take; `None` is as long as it takes. Default 5 s.
    pub grace: Option<Duration>,
    /// How many worker threads; 0 means one for each processor of the quota.
    pub workers: usize,
    /// The largest request body or gRPC message in bytes, `--max-body-size`; `None` is no limit. Default 4 MiB.
    pub max_body: Option<usize>,
    /// The longest head of a request in bytes, `--read-buffer-size`. HTTP adds 4 KiB to it, and has
    /// an end at 128 KiB; for gRPC it is 16 KiB at least. Default 4 KiB.
    pub max_head: usize,
    /// Whether files are watched, and what changes in them taken in. A Configuration that says
    /// something of the feature `HotReload` wins. Default `true`.
    pub hot_reload: bool,
    /// How often all files are looked at without a cause, while they are watched;
    /// `--hot-reload-reconcile-interval`. Default 60 s.
    pub reconcile: Duration,
    /// Where environment variables come from.
    pub env: Env,
    /// Whether a pod has its cluster's secret store without a component;
    /// `--disable-builtin-k8s-secret-store`. Default `true`.
    pub cluster_store: bool,
}

impl Config {
    /// The defaults for an app of this name: no port, no files.
    pub fn new(app_id: impl Into<String>) -> Self {
        Self {
            app_id: app_id.into(),
            resources: Vec::new(),
            configurations: Vec::new(),
            http: None,
            grpc: None,
            metrics: None,
            api_logging: None,
            grace: Some(Duration::from_secs(5)),
            workers: 0,
            max_body: Some(4 << 20),
            max_head: 4 << 10,
            hot_reload: true,
            reconcile: Duration::from_secs(60),
            env: Env::Process,
            cluster_store: true,
        }
    }

    /// Whether there is anything to watch.
    pub(super) fn has_files(&self) -> bool {
        !self.resources.is_empty() || !self.configurations.is_empty()
    }
}

/// Where the HTTP API listens.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// The addresses; none means loopback.
    pub listen: Vec<IpAddr>,
    /// A unix domain socket instead of the port.
    pub socket: Option<PathBuf>,
    /// Whether HTTP/2 is spoken by prior knowledge too.
    pub h2c: bool,
    /// Pages of which origins may call, separated by commas; `--allowed-origins`.
    pub allowed_origins: String,
    /// The port of health and metadata, for everybody; `--dapr-public-port`.
    pub public_port: Option<u16>,
    /// The addresses of that; none means all of this machine's.
    pub public_listen: Vec<IpAddr>,
}

impl HttpConfig {
    /// A port on loopback.
    pub fn port(port: u16) -> Self {
        Self {
            port,
            listen: Vec::new(),
            socket: None,
            h2c: true,
            allowed_origins: String::new(),
            public_port: None,
            public_listen: Vec::new(),
        }
    }
}

/// Where the gRPC API listens.
#[derive(Clone, Debug)]
pub struct GrpcConfig {
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// The addresses; none means loopback.
    pub listen: Vec<IpAddr>,
    /// A unix domain socket instead of the port.
    pub socket: Option<PathBuf>,
    /// `--dapr-internal-grpc-port`: where other sidecars expect an answer.
    pub internal_port: Option<u16>,
    /// The addresses of that; none means loopback.
    pub internal_listen: Vec<IpAddr>,
}

impl GrpcConfig {
    /// A port on loopback.
    pub fn port(port: u16) -> Self {
        Self {
            port,
            listen: Vec::new(),
            socket: None,
            internal_port: None,
            internal_listen: Vec::new(),
        }
    }
}

/// An app on a port.
#[derive(Clone, Debug)]
pub struct AppConfig {
    /// `--app-protocol`.
    pub protocol: Protocol,
    /// `--app-channel-address`.
    pub host: String,
    /// `--app-port`.
    pub port: u16,
    /// `--app-max-concurrency`; `None` is unlimited.
    pub max_concurrency: Option<usize>,
    /// `--app-binding-options-timeout`.
    pub options_timeout: Duration,
    /// Whether `/dapr/config` is asked for once.
    pub fetch_config: bool,
    /// Whether the app's health decides if it is given events, `--enable-app-health-check`.
    pub health: Option<HealthCheck>,
}

impl AppConfig {
    /// An app over HTTP on a port of this machine.
    pub fn port(port: u16) -> Self {
        Self {
            protocol: Protocol::Http,
            host: "127.0.0.1".into(),
            port,
            max_concurrency: None,
            options_timeout: Duration::from_secs(3),
            fetch_config: true,
            health: None,
        }
    }
}
