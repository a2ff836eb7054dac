//! The flags of daprd (runtime §6.9): their declaration. What they come to is in `config.rs`,
//! how they may be spelt in `spelling.rs`.

mod config;
mod spelling;
#[cfg(test)]
mod table;

use std::path::PathBuf;

use clap::{Args, FromArgMatches};

pub use self::config::{FlagError, socket_file};
use self::spelling::GoBool;
pub(in crate::commands) use self::spelling::Port;
pub use self::spelling::{deprecated, ineffective, normalise};

/// Flags of the sidecar, spelled as daprd spells them: `--x v`, `--x=v`, `-x v`. Switches take
/// their value after an equals sign only: `--x`, `--x=false`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sidecar")]
pub struct SidecarFlags {
    /// The id of the app; required. Must not contain dots.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub app_id: String,
    /// A folder with YAML resources; may be given several times, or separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "DIR")]
    pub resources_path: Vec<PathBuf>,
    /// The old name of --resources-path; used only without it.
    #[arg(long, value_delimiter = ',', value_name = "DIR", hide = true)]
    pub components_path: Vec<PathBuf>,
    /// A Configuration file; may be given several times, later ones win.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// How long a shutdown may take, in seconds; 0 is without end.
    #[arg(
        long,
        default_value_t = 5,
        allow_negative_numbers = true,
        value_name = "SECONDS"
    )]
    pub dapr_graceful_shutdown_seconds: i64,
    /// How long a signal may wait before the shutdown begins, e.g. 10s; inputs stop at once.
    #[arg(long, value_name = "DURATION")]
    pub dapr_block_shutdown_duration: Option<String>,
    /// How often resources are compared with their files, in nanoseconds or as a duration.
    #[arg(
        long,
        default_value = "0",
        value_name = "DURATION",
        hide_default_value = true
    )]
    pub hot_reload_reconcile_interval: String,
    /// In a pod, whether the secret store "kubernetes" is left out.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", hide_default_value = true)]
    pub disable_builtin_k8s_secret_store: GoBool,
    /// `standalone` or `kubernetes`.
    #[arg(long, default_value = "standalone")]
    pub mode: String,

    /// The port of the HTTP API; 0 lets the system choose.
    #[arg(
        long,
        default_value = "3500",
        value_name = "PORT",
        help_heading = "Listening"
    )]
    pub dapr_http_port: Port,
    /// The port of the gRPC API.
    #[arg(
        long,
        default_value = "50001",
        value_name = "PORT",
        help_heading = "Listening"
    )]
    pub dapr_grpc_port: Port,
    /// The port for other sidecars.
    #[arg(
        long,
        default_value = "",
        value_name = "PORT",
        help_heading = "Listening",
        hide_default_value = true
    )]
    pub dapr_internal_grpc_port: Port,
    /// Where the port for other sidecars listens.
    #[arg(
        long,
        default_value = "",
        value_name = "ADDRESS",
        help_heading = "Listening",
        hide_default_value = true
    )]
    pub dapr_internal_grpc_listen_address: String,
    /// A port with health and metadata only, for everybody.
    #[arg(
        long,
        default_value = "",
        value_name = "PORT",
        help_heading = "Listening",
        hide_default_value = true
    )]
    pub dapr_public_port: Port,
    /// Where the public port listens.
    #[arg(
        long,
        default_value = "",
        value_name = "ADDRESS",
        help_heading = "Listening",
        hide_default_value = true
    )]
    pub dapr_public_listen_address: String,
    /// Where the API listens, separated by commas [default: this machine only].
    #[arg(
        long,
        default_value = "",
        value_name = "ADDRESSES",
        help_heading = "Listening",
        hide_default_value = true
    )]
    pub dapr_listen_addresses: String,
    /// A folder for unix domain sockets, instead of ports for HTTP and gRPC.
    #[arg(
        long,
        default_value = "",
        value_name = "DIR",
        help_heading = "Listening",
        hide_default_value = true
    )]
    pub unix_domain_socket: String,
    /// The largest request body, as a quantity: 4Mi, 500k, 4194304; 0 is no limit [default: 4Mi].
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "SIZE",
        help_heading = "Listening"
    )]
    pub max_body_size: Option<String>,
    /// The old form of --max-body-size, in megabytes.
    #[arg(long, allow_negative_numbers = true, hide = true)]
    pub dapr_http_max_request_size: Option<i64>,
    /// The largest request head, as a quantity [default: 4Ki].
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "SIZE",
        help_heading = "Listening"
    )]
    pub read_buffer_size: Option<String>,
    /// The old form of --read-buffer-size, in kilobytes.
    #[arg(long, allow_negative_numbers = true, hide = true)]
    pub dapr_http_read_buffer_size: Option<i64>,
    /// Origins that a browser may call from, separated by commas, or *.
    #[arg(
        long,
        default_value = "",
        value_name = "ORIGINS",
        help_heading = "Listening",
        hide_default_value = true
    )]
    pub allowed_origins: String,

    /// The port that the app listens on; without it, no input is read.
    #[arg(
        long,
        default_value = "",
        value_name = "PORT",
        help_heading = "App",
        hide_default_value = true
    )]
    pub app_port: Port,
    /// How the app is spoken to: http, https, h2c, grpc, grpcs.
    #[arg(
        long,
        default_value = "http",
        value_name = "PROTOCOL",
        help_heading = "App"
    )]
    pub app_protocol: String,
    /// Where the app listens.
    #[arg(
        long,
        default_value = "127.0.0.1",
        value_name = "ADDRESS",
        help_heading = "App"
    )]
    pub app_channel_address: String,
    /// The old way to say https or grpcs.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide = true)]
    pub app_ssl: GoBool,
    /// How many events and probes the app is given at once; 0 or less is unlimited.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "N", help_heading = "App")]
    pub app_max_concurrency: i64,
    /// How long the app may take to say whether it wants an input's events.
    #[arg(
        long,
        default_value = "3s",
        value_name = "DURATION",
        help_heading = "App"
    )]
    pub app_binding_options_timeout: String,
    /// Whether the app's health decides if it is given events.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", help_heading = "App", hide_default_value = true)]
    pub enable_app_health_check: GoBool,
    /// Where the app's health is asked for.
    #[arg(
        long,
        default_value = "/healthz",
        value_name = "PATH",
        help_heading = "App"
    )]
    pub app_health_check_path: String,
    /// How often it is asked for, in seconds.
    #[arg(
        long,
        default_value_t = 5,
        allow_negative_numbers = true,
        value_name = "SECONDS",
        help_heading = "App"
    )]
    pub app_health_probe_interval: i64,
    /// How long the answer may take, in milliseconds.
    #[arg(
        long,
        default_value_t = 500,
        allow_negative_numbers = true,
        value_name = "MILLISECONDS",
        help_heading = "App"
    )]
    pub app_health_probe_timeout: i64,
    /// After how many failures in a row the app counts as unhealthy.
    #[arg(
        long,
        default_value_t = 3,
        allow_negative_numbers = true,
        value_name = "N",
        help_heading = "App"
    )]
    pub app_health_threshold: i64,
    /// Init endpoints of the app that are not asked: config, subscribe.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAMES",
        help_heading = "App"
    )]
    pub disable_init_endpoints: Vec<String>,

    /// How much is logged: debug, info, warn, error, fatal.
    #[arg(
        long,
        default_value = "info",
        value_name = "LEVEL",
        help_heading = "Telemetry"
    )]
    pub log_level: String,
    /// Log lines as JSON objects.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", help_heading = "Telemetry", hide_default_value = true)]
    pub log_as_json: GoBool,
    /// A file that log lines are appended to instead of standard output.
    #[arg(long, value_name = "FILE", help_heading = "Telemetry")]
    pub log_file: Option<PathBuf>,
    /// Whether each call of the API is a log line.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Telemetry")]
    pub enable_api_logging: Option<GoBool>,
    /// Whether metrics are served.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL", help_heading = "Telemetry")]
    pub enable_metrics: GoBool,
    /// The port of the metrics; 0 lets the system choose [default: 9090].
    #[arg(long, value_name = "PORT", help_heading = "Telemetry")]
    pub metrics_port: Option<Port>,
    /// Where the metrics listen.
    #[arg(
        long,
        default_value = "0.0.0.0",
        value_name = "ADDRESS",
        help_heading = "Telemetry"
    )]
    pub metrics_listen_address: String,
    /// Whether profiles are served.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", help_heading = "Telemetry", hide_default_value = true)]
    pub enable_profiling: GoBool,
    /// The port of the profiles; Dapr's CLI writes -1 where nobody asked for them.
    #[arg(
        long,
        default_value_t = 7777,
        allow_negative_numbers = true,
        value_name = "PORT",
        help_heading = "Telemetry"
    )]
    pub profile_port: i64,

    #[command(flatten)]
    accepted: Accepted,
}

/// Flags of building blocks that are not here: taken, so that a command line goes on working, and
/// without any effect.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = None::<&str>)]
struct Accepted {
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide = true)]
    enable_mtls: GoBool,
    #[arg(long, default_value = "", hide = true)]
    sentry_address: String,
    #[arg(long, default_value = "", hide = true)]
    sentry_request_jwt_audiences: String,
    #[arg(long, default_value = "", hide = true)]
    control_plane_address: String,
    #[arg(long, default_value = "localhost", hide = true)]
    control_plane_trust_domain: String,
    #[arg(long, default_value = "default", hide = true)]
    control_plane_namespace: String,
    #[arg(long, default_value = "", hide = true)]
    placement_host_address: String,
    #[arg(long, default_value = "", hide = true)]
    scheduler_host_address: String,
    #[arg(long, default_value_t = 3, allow_negative_numbers = true, hide = true)]
    scheduler_job_streams: i64,
    #[arg(long, default_value = "30s", hide = true)]
    actors_disseminate_timeout: String,
    #[arg(long, default_value = "", hide = true)]
    actors_service: String,
    #[arg(long, default_value = "", hide = true)]
    reminders_service: String,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide = true)]
    dapr_http_stream_request_body: GoBool,
}

/// All of them, as the parser calls them.
pub fn ids() -> Vec<clap::Id> {
    let command = SidecarFlags::augment_args(clap::Command::new("flags"));
    let arguments = command.get_arguments();
    arguments
        .map(|argument| argument.get_id().clone())
        .collect()
}

impl Default for SidecarFlags {
    fn default() -> Self {
        let command = Self::augment_args(clap::Command::new("flags"));
        Self::from_arg_matches(&command.get_matches_from(["flags"]))
            .expect("every flag has a default")
    }
}
