//! What the flags come to.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bindery_contract::settings::{ByteSize, GoDuration};

use super::SidecarFlags;
use crate::app::{HealthCheck, Protocol, UnknownProtocol};
use crate::resources::Env;
use crate::sidecar::{AppConfig, Builder, Config, GrpcConfig, HttpConfig};
use crate::telemetry::log::LogConfig;
use crate::telemetry::metrics::MetricsConfig;

/// Where `daprd` serves its metrics.
const METRICS_PORT: u16 = 9090;

/// A flag that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FlagError(pub String);

fn fail<T>(problem: impl Into<String>) -> Result<T, FlagError> {
    Err(FlagError(problem.into()))
}

impl SidecarFlags {
    /// How the log is set up.
    ///
    /// # Errors
    /// A level that is none.
    pub fn log(&self) -> Result<LogConfig, FlagError> {
        Ok(LogConfig {
            level: self.log_level.parse().map_err(FlagError)?,
            json: self.log_as_json.0,
            file: self.log_file.clone(),
            app_id: self.app_id.clone(),
            prefix: String::new(),
        })
    }

    /// What the flags come to.
    ///
    /// # Errors
    /// The first that cannot work, in the reference's words where it has some.
    pub fn builder(&self) -> Result<Builder, FlagError> {
        if self.app_id.is_empty() {
            return fail("parameter app-id cannot be empty");
        }
        if self.app_id.contains('.') {
            return fail("parameter app-id cannot contain dots");
        }
        self.check_mode()?;
        self.check_ports()?;
        for endpoint in &self.disable_init_endpoints {
            if endpoint != "config" && endpoint != "subscribe" {
                return fail(format!(
                    "invalid value for 'disable-init-endpoints': {endpoint} (config, subscribe)"
                ));
            }
        }
        let old = !self.components_path.is_empty() && self.resources_path.is_empty();
        let resources = if old {
            &self.components_path
        } else {
            &self.resources_path
        };
        let default = Config::new(self.app_id.clone());
        let builder: Builder = Config {
            resources: resources.clone(),
            http: Some(HttpConfig {
                port: self.dapr_http_port.0.unwrap_or(0),
                listen: addresses("dapr-listen-addresses", &self.dapr_listen_addresses)?,
                socket: self.socket("http"),
                h2c: !Env::Process
                    .non_empty("DAPR_HTTP_DISABLE_H2C")
                    .is_some_and(|value| bindery_contract::settings::truthy(&value)),
                allowed_origins: self.allowed_origins.clone(),
                public_port: self.dapr_public_port.positive(),
                public_listen: addresses(
                    "dapr-public-listen-address",
                    &self.dapr_public_listen_address,
                )?,
            }),
            grpc: Some(GrpcConfig {
                port: self.dapr_grpc_port.0.unwrap_or(0),
                listen: addresses("dapr-listen-addresses", &self.dapr_listen_addresses)?,
                socket: self.socket("grpc"),
                // Nothing said is any port, as in the reference (runtime §6.3).
                internal_port: Some(self.dapr_internal_grpc_port.0.unwrap_or(0)),
                internal_listen: addresses(
                    "dapr-internal-grpc-listen-address",
                    &self.dapr_internal_grpc_listen_address,
                )?,
            }),
            metrics: self.metrics()?,
            api_logging: self.enable_api_logging.map(|flag| flag.0),
            grace: match u64::try_from(self.dapr_graceful_shutdown_seconds) {
                Ok(0) => None,
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => Some(Duration::from_secs(5)),
            },
            max_body: self.max_body()?,
            max_head: self.max_head()?.unwrap_or(default.max_head),
            configurations: self.config.clone(),
            cluster_store: !self.disable_builtin_k8s_secret_store.0,
            reconcile: self.reconcile()?.unwrap_or(default.reconcile),
            ..default
        }
        .into();
        Ok(match self.app()? {
            Some(app) => builder.app(app),
            None => builder,
        })
    }

    /// The unix domain socket of an API, if it shall have one.
    pub fn socket(&self, api: &str) -> Option<PathBuf> {
        let folder = Path::new(&self.unix_domain_socket);
        (!self.unix_domain_socket.is_empty()).then(|| socket_file(folder, &self.app_id, api))
    }

    /// Where the metrics are served; nowhere with `--enable-metrics=false`.
    fn metrics(&self) -> Result<Option<MetricsConfig>, FlagError> {
        if !self.enable_metrics.0 {
            return Ok(None);
        }
        let address = &self.metrics_listen_address;
        let listen = addresses("metrics-listen-address", address)?;
        Ok(Some(MetricsConfig {
            port: self
                .metrics_port
                .map_or(METRICS_PORT, |port| port.0.unwrap_or(0)),
            listen: if listen.is_empty() {
                vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
            } else {
                listen
            },
        }))
    }

    fn check_mode(&self) -> Result<(), FlagError> {
        match self.mode.as_str() {
            "standalone" | "" => Ok(()),
            "kubernetes" => fail(
                "--mode=kubernetes is not supported yet; mount the resources as files and use \
                 --mode=standalone with --resources-path",
            ),
            other => fail(format!(
                "invalid value for 'mode': {other} (standalone, kubernetes)"
            )),
        }
    }

    /// Two listeners of one port cannot work; for the app's, 0 counts as a port too (runtime
    /// §6.3).
    fn check_ports(&self) -> Result<(), FlagError> {
        let app = self.app_port.0.unwrap_or(0);
        let conflict = |flag: &str, port: u16, other: &str| {
            fail(format!(
                "the '{flag}' argument value {port} conflicts with '{other}'"
            ))
        };
        for (flag, port) in [
            ("dapr-http-port", self.dapr_http_port),
            ("dapr-grpc-port", self.dapr_grpc_port),
        ] {
            let port = port.0.unwrap_or(0);
            if port == app {
                return conflict(flag, port, "app-port");
            }
        }
        let on_sockets = !self.unix_domain_socket.is_empty();
        let apis = self.dapr_listen_addresses.as_str();
        let internal = self.dapr_internal_grpc_listen_address.as_str();
        let mut taken: Vec<(&str, u16, &str)> = Vec::new();
        for (flag, port, addresses, counts) in [
            ("dapr-http-port", self.dapr_http_port, apis, !on_sockets),
            ("dapr-grpc-port", self.dapr_grpc_port, apis, !on_sockets),
            (
                "dapr-internal-grpc-port",
                self.dapr_internal_grpc_port,
                internal,
                true,
            ),
            (
                "dapr-public-port",
                self.dapr_public_port,
                &*self.dapr_public_listen_address,
                true,
            ),
        ] {
            let Some(port) = port.positive().filter(|_| counts) else {
                continue;
            };
            // Each may have addresses of its own.
            let meet = |other: &str| addresses == other || addresses.is_empty() || other.is_empty();
            let mut others = taken.iter();
            if let Some((other, ..)) = others.find(|one| one.1 == port && meet(one.2)) {
                return conflict(flag, port, other);
            }
            taken.push((flag, port, addresses));
        }
        Ok(())
    }

    fn app(&self) -> Result<Option<AppConfig>, FlagError> {
        let protocol: Protocol = self
            .app_protocol
            .parse()
            .map_err(|problem: UnknownProtocol| FlagError(problem.to_string()))?;
        let options_timeout = duration(
            "app-binding-options-timeout",
            &self.app_binding_options_timeout,
        )?;
        let health = self.health()?;
        Ok(self.app_port.positive().map(|port| AppConfig {
            protocol: if self.app_ssl.0 {
                protocol.secured()
            } else {
                protocol
            },
            host: self.app_channel_address.clone(),
            port,
            max_concurrency: usize::try_from(self.app_max_concurrency)
                .ok()
                .filter(|max| *max > 0),
            options_timeout: options_timeout.unwrap_or(Duration::from_secs(3)),
            fetch_config: !self
                .disable_init_endpoints
                .iter()
                .any(|name| name == "config"),
            health,
        }))
    }

    /// Numbers that are not positive are the defaults (runtime §2.6).
    fn health(&self) -> Result<Option<HealthCheck>, FlagError> {
        if !self.enable_app_health_check.0 {
            return Ok(None);
        }
        let default = HealthCheck::default();
        let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        let check = HealthCheck {
            path: self.app_health_check_path.clone(),
            interval: positive(self.app_health_probe_interval)
                .map_or(default.interval, Duration::from_secs),
            timeout: positive(self.app_health_probe_timeout)
                .map_or(default.timeout, Duration::from_millis),
            threshold: positive(self.app_health_threshold)
                .and_then(|threshold| u32::try_from(threshold).ok())
                .unwrap_or(default.threshold),
        };
        if check.timeout > check.interval {
            return fail(
                "value for 'health-check-timeout' must be smaller than 'health-check-interval': \
                 lower --app-health-probe-timeout or raise --app-health-probe-interval",
            );
        }
        Ok(Some(check))
    }

    /// How long a signal may wait before the shutdown begins.
    ///
    /// # Errors
    /// When it is no duration.
    pub fn block_shutdown(&self) -> Result<Option<Duration>, FlagError> {
        match &self.dapr_block_shutdown_duration {
            Some(text) => duration("dapr-block-shutdown-duration", text),
            None => Ok(None),
        }
    }

    /// A duration, or nanoseconds as the CLI writes them; `None` is the default.
    fn reconcile(&self) -> Result<Option<Duration>, FlagError> {
        let text = &self.hot_reload_reconcile_interval;
        match text.parse::<u64>() {
            Ok(nanoseconds) => {
                let interval = Duration::from_nanos(nanoseconds);
                Ok(Some(interval).filter(|interval| !interval.is_zero()))
            }
            Err(_) => duration("hot-reload-reconcile-interval", text),
        }
    }

    /// Less than 0 is the default, `0` no limit of ours (runtime §1.3).
    fn max_head(&self) -> Result<Option<usize>, FlagError> {
        let bytes = match (&self.read_buffer_size, self.dapr_http_read_buffer_size) {
            (Some(text), _) => {
                ByteSize::parse(text)
                    .map_err(|problem| FlagError(format!("--read-buffer-size: {problem}")))?
                    .0
            }
            (None, Some(kilobytes)) => kilobytes.saturating_mul(1 << 10),
            (None, None) => return Ok(None),
        };
        Ok(match usize::try_from(bytes) {
            Ok(0) => Some(usize::MAX),
            Ok(bytes) => Some(bytes),
            Err(_) => None,
        })
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

/// The unix domain socket of an app's sidecar in a folder (runtime §6.3).
pub fn socket_file(folder: &Path, app_id: &str, api: &str) -> PathBuf {
    folder.join(format!("dapr-{app_id}-{api}.socket"))
}

/// The duration that a flag says; `None` where it is not positive.
fn duration(flag: &str, text: &str) -> Result<Option<Duration>, FlagError> {
    let duration =
        GoDuration::parse(text).map_err(|problem| FlagError(format!("--{flag}: {problem}")))?;
    Ok(duration.positive())
}

/// The addresses that a flag lists.
fn addresses(flag: &str, list: &str) -> Result<Vec<IpAddr>, FlagError> {
    let mut addresses = Vec::new();
    let names = list.split(',').map(str::trim);
    for name in names.filter(|name| !name.is_empty()) {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let found = (bare, 0).to_socket_addrs();
        let found =
            found.map_err(|error| FlagError(format!("--{flag}: {name} is no address: {error}")))?;
        addresses.extend(found.map(|address| address.ip()));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::flags::spelling::{GoBool, Port};

    fn flags() -> SidecarFlags {
        SidecarFlags {
            app_id: "a".into(),
            ..SidecarFlags::default()
        }
    }

    fn problem(change: impl FnOnce(&mut SidecarFlags)) -> String {
        let mut flags = flags();
        change(&mut flags);
        flags.builder().err().expect("it is refused").to_string()
    }

    #[test]
    fn what_cannot_work_is_said_in_the_references_words() {
        assert_eq!(
            problem(|flags| flags.app_id.clear()),
            "parameter app-id cannot be empty"
        );
        assert_eq!(
            problem(|flags| flags.app_id = "a.b".into()),
            "parameter app-id cannot contain dots"
        );
        assert_eq!(
            problem(|flags| flags.dapr_http_port = Port(Some(0))),
            "the 'dapr-http-port' argument value 0 conflicts with 'app-port'"
        );
        assert_eq!(
            problem(|flags| flags.app_port = Port(Some(3500))),
            "the 'dapr-http-port' argument value 3500 conflicts with 'app-port'"
        );
        assert_eq!(
            problem(|flags| flags.dapr_public_port = Port(Some(50001))),
            "the 'dapr-public-port' argument value 50001 conflicts with 'dapr-grpc-port'"
        );
        assert_eq!(
            problem(|flags| flags.app_protocol = "smoke".into()),
            "invalid value for 'app-protocol': smoke"
        );
        assert!(problem(|flags| flags.mode = "kubernetes".into()).contains("--mode=standalone"));
        assert!(
            problem(|flags| flags.max_body_size = Some("big".into()))
                .starts_with("--max-body-size:")
        );
    }

    #[test]
    fn the_health_check_is_off_unless_it_is_asked_for_and_keeps_its_defaults() {
        assert_eq!(flags().health().unwrap(), None);
        let check = |interval, timeout, threshold| {
            let flags = SidecarFlags {
                enable_app_health_check: GoBool(true),
                app_health_probe_interval: interval,
                app_health_probe_timeout: timeout,
                app_health_threshold: threshold,
                ..flags()
            };
            flags.health()
        };
        assert_eq!(check(0, -1, 0).unwrap(), Some(HealthCheck::default()));
        let own = check(1, 1000, 7).unwrap().unwrap();
        assert_eq!((own.interval, own.threshold), (Duration::from_secs(1), 7));
        assert!(check(1, 1001, 3).is_err());
    }

    #[test]
    fn the_longest_head_has_two_spellings_and_a_default() {
        let max_head = |size: Option<&str>, kilobytes| {
            let flags = SidecarFlags {
                read_buffer_size: size.map(str::to_owned),
                dapr_http_read_buffer_size: kilobytes,
                ..flags()
            };
            flags.max_head().unwrap()
        };
        assert_eq!(max_head(None, None), None);
        assert_eq!(max_head(Some("-1"), None), None);
        assert_eq!(max_head(Some("0"), None), Some(usize::MAX));
        assert_eq!(max_head(Some("16Ki"), Some(1)), Some(16 << 10));
        assert_eq!(max_head(None, Some(8)), Some(8 << 10));
    }

    #[test]
    fn the_largest_body_has_three_spellings_and_a_default() {
        let max_body = |size: Option<&str>, megabytes| {
            let flags = SidecarFlags {
                max_body_size: size.map(str::to_owned),
                dapr_http_max_request_size: megabytes,
                ..flags()
            };
            flags.max_body().unwrap()
        };
        assert_eq!(max_body(None, None), Some(4 << 20));
        assert_eq!(max_body(Some("-1"), None), Some(4 << 20));
        assert_eq!(max_body(Some("0"), None), None);
        assert_eq!(max_body(Some("10Mi"), Some(1)), Some(10 << 20));
        assert_eq!(max_body(None, Some(2)), Some(2 << 20));
    }
}
