//! The flags of daprd (runtime §6.9), and what they come to.

use std::ffi::OsString;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use bindery_contract::settings::{ByteSize, GoDuration};
use clap::{Args, FromArgMatches};

use crate::resources::Env;
use crate::sidecar::{AppConfig, Config};
use crate::telemetry::log::LogConfig;

/// Flags of the sidecar, spelled as daprd spells them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sidecar")]
pub struct SidecarFlags {
    /// The id of the app; required. Must not contain dots.
    #[arg(long, default_value = "")]
    pub app_id: String,
    /// A folder with YAML resources; may be given several times, or separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub resources_path: Vec<PathBuf>,
    /// The old name of --resources-path; used only without it.
    #[arg(long, value_delimiter = ',')]
    pub components_path: Vec<PathBuf>,
    /// The port of the HTTP API; 0 lets the system choose.
    #[arg(long, default_value_t = 3500)]
    pub dapr_http_port: u16,
    /// Where the API listens, separated by commas [default: this machine only].
    #[arg(long, default_value = "", hide_default_value = true)]
    pub dapr_listen_addresses: String,
    /// The port that the app listens on; without it, no input is read.
    #[arg(long)]
    pub app_port: Option<u16>,
    /// How the app is spoken to.
    #[arg(long, default_value = "http")]
    pub app_protocol: String,
    /// Where the app listens.
    #[arg(long, default_value = "127.0.0.1")]
    pub app_channel_address: String,
    /// How many events and probes the app is given at once; 0 or less is unlimited.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    pub app_max_concurrency: i64,
    /// How long the app may take to say whether it wants an input's events.
    #[arg(long, default_value = "3s")]
    pub app_binding_options_timeout: String,
    /// The largest request body, as a quantity: 4Mi, 500k, 4194304.
    #[arg(long, allow_negative_numbers = true)]
    pub max_body_size: Option<String>,
    /// The old form of --max-body-size, in megabytes.
    #[arg(long, allow_negative_numbers = true, hide = true)]
    pub dapr_http_max_request_size: Option<i64>,
    /// How long a shutdown may take, in seconds; 0 is without end.
    #[arg(long, default_value_t = 5, allow_negative_numbers = true)]
    pub dapr_graceful_shutdown_seconds: i64,
    /// Init endpoints of the app that are not asked: config, subscribe.
    #[arg(long, value_delimiter = ',')]
    pub disable_init_endpoints: Vec<String>,
    /// How much is logged: debug, info, warn, error, fatal.
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// Log lines as JSON objects.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub log_as_json: bool,
    /// A file that log lines are appended to instead of standard output.
    #[arg(long)]
    pub log_file: Option<PathBuf>,
}

/// A flag that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FlagError(pub String);

/// Takes Go's single-dash spelling too: `-app-id x` means `--app-id x`. What follows a bare `--`
/// is left alone.
pub fn normalise(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let command = SidecarFlags::augment_args(clap::Command::new("flags"));
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_long().map(str::to_owned))
        .chain(["help".into(), "version".into()])
        .collect();
    let mut rest_is_theirs = false;
    arguments
        .map(|argument| {
            rest_is_theirs |= argument == "--";
            let Some(text) = argument.to_str().filter(|_| !rest_is_theirs) else {
                return argument;
            };
            let Some(name) = text.strip_prefix('-').filter(|name| !name.starts_with('-')) else {
                return argument;
            };
            let flag = name.split('=').next().unwrap_or(name);
            if known.iter().any(|known| known == flag) {
                format!("-{text}").into()
            } else {
                argument
            }
        })
        .collect()
}

impl SidecarFlags {
    /// How the log is set up.
    ///
    /// # Errors
    /// A level that is none.
    pub fn log(&self) -> Result<LogConfig, FlagError> {
        Ok(LogConfig {
            level: self.log_level.parse().map_err(FlagError)?,
            json: self.log_as_json,
            file: self.log_file.clone(),
            app_id: self.app_id.clone(),
            prefix: String::new(),
        })
    }

    /// What the flags come to.
    ///
    /// # Errors
    /// The first that cannot work, in the reference's words where it has some.
    pub fn config(&self) -> Result<Config, FlagError> {
        let fail = |problem: String| Err(FlagError(problem));
        if self.app_id.is_empty() {
            return fail("parameter app-id cannot be empty".into());
        }
        if self.app_id.contains('.') {
            return fail("parameter app-id cannot contain dots".into());
        }
        let app_port = self.app_port.filter(|port| *port != 0);
        if self.dapr_http_port == app_port.unwrap_or(0) {
            return fail(format!(
                "the 'dapr-http-port' argument value {} conflicts with 'app-port'",
                self.dapr_http_port
            ));
        }
        if !self.app_protocol.is_empty() && !self.app_protocol.eq_ignore_ascii_case("http") {
            return fail(format!(
                "invalid value for 'app-protocol': {}",
                self.app_protocol
            ));
        }
        for endpoint in &self.disable_init_endpoints {
            if endpoint != "config" && endpoint != "subscribe" {
                return fail(format!(
                    "invalid value for 'disable-init-endpoints': {endpoint} (config, subscribe)"
                ));
            }
        }
        let options_timeout = GoDuration::parse(&self.app_binding_options_timeout)
            .map_err(|problem| FlagError(format!("--app-binding-options-timeout: {problem}")))?;
        let old = !self.components_path.is_empty() && self.resources_path.is_empty();
        let app = app_port.map(|port| AppConfig {
            host: self.app_channel_address.clone(),
            port,
            max_concurrency: usize::try_from(self.app_max_concurrency)
                .ok()
                .filter(|max| *max > 0),
            options_timeout: options_timeout.positive().unwrap_or(Duration::from_secs(3)),
        });
        Ok(Config {
            resources: if old {
                &self.components_path
            } else {
                &self.resources_path
            }
            .clone(),
            http_port: self.dapr_http_port,
            listen: self.listen()?,
            app,
            max_body: self.max_body()?,
            grace: match u64::try_from(self.dapr_graceful_shutdown_seconds) {
                Ok(0) => None,
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => Some(Duration::from_secs(5)),
            },
            h2c: !Env::Process
                .non_empty("DAPR_HTTP_DISABLE_H2C")
                .is_some_and(|value| bindery_contract::settings::truthy(&value)),
            fetch_app_config: !self
                .disable_init_endpoints
                .iter()
                .any(|name| name == "config"),
            ..Config::new(self.app_id.clone())
        })
    }

    fn listen(&self) -> Result<Vec<IpAddr>, FlagError> {
        let mut addresses = Vec::new();
        for name in self
            .dapr_listen_addresses
            .split(',')
            .map(str::trim)
            .filter(|n| !n.is_empty())
        {
            let bare = name.trim_start_matches('[').trim_end_matches(']');
            let found = (bare, 0).to_socket_addrs().map_err(|error| {
                FlagError(format!(
                    "--dapr-listen-addresses: {name} is no address: {error}"
                ))
            })?;
            addresses.extend(found.map(|address| address.ip()));
        }
        Ok(addresses)
    }

    /// `-1` is the default, `0` no limit (runtime §1.3).
    fn max_body(&self) -> Result<Option<usize>, FlagError> {
        let bytes = match (&self.max_body_size, self.dapr_http_max_request_size) {
            (Some(text), _) => {
                ByteSize::parse(text)
                    .map_err(|problem| FlagError(format!("--max-body-size: {problem}")))?
                    .0
            }
            (None, Some(megabytes)) => megabytes.saturating_mul(1 << 20),
            (None, None) => -1,
        };
        Ok(match usize::try_from(bytes) {
            Ok(0) => None,
            Ok(bytes) => Some(bytes),
            Err(_) => Some(4 << 20),
        })
    }
}

impl Default for SidecarFlags {
    fn default() -> Self {
        let command = Self::augment_args(clap::Command::new("flags"));
        Self::from_arg_matches(&command.get_matches_from(["flags"]))
            .expect("every flag has a default")
    }
}
