//! An app on a port: how it is spoken to, and which of the two ways that is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::app::App;
use bindery_contract::settings::Secret;
use bindery_contract::{Cause, Clock, Instant};

use super::grpc::GrpcProber;
use super::http::HttpProber;
use super::{GrpcApp, HttpApp};
use crate::telemetry::metrics::Metrics;

/// `--app-protocol` (runtime §2.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 by prior knowledge.
    H2c,
    /// gRPC.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

impl Protocol {
    /// As the flag spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }

    /// The same under TLS.
    pub fn secured(self) -> Self {
        match self {
            Self::Http => Self::Https,
            Self::Grpc => Self::Grpcs,
            other => other,
        }
    }

    pub(super) fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }

    pub(super) fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }

    pub(super) fn is_http2(self) -> bool {
        self == Self::H2c || self.is_grpc()
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    /// In any case; nothing at all is `http`.
    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        match text.to_ascii_lowercase().as_str() {
            "" | "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            "h2c" => Ok(Self::H2c),
            "grpc" => Ok(Self::Grpc),
            "grpcs" => Ok(Self::Grpcs),
            _ => Err(UnknownProtocol(text.to_owned())),
        }
    }
}

/// A protocol that there is not.
#[derive(Debug, thiserror::Error)]
#[error("invalid value for 'app-protocol': {0}")]
pub struct UnknownProtocol(String);

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an app on a port is reached.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// `--app-protocol`.
    pub protocol: Protocol,
    /// `--app-channel-address`.
    pub host: String,
    /// `--app-port`.
    pub port: u16,
    /// `--app-id`.
    pub app_id: String,
    /// `--app-max-concurrency`; `None` is unlimited. Events over gRPC are not counted
    /// (runtime §2.5).
    pub max_concurrency: Option<usize>,
    /// `--app-binding-options-timeout`: how long the app may take to say what it wants.
    pub options_timeout: Duration,
    /// Whether an app over HTTP is asked for `/dapr/config` once.
    pub fetch_config: bool,
    /// `APP_API_TOKEN`.
    pub token: Option<Secret>,
    /// Where time comes from.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether events that come without a trace begin one.
    pub begins_traces: bool,
}

impl RemoteConfig {
    /// Now, where a request is counted that begins; nobody else needs to look at the clock.
    pub(super) fn began(&self) -> Option<Instant> {
        self.metrics.is_on().then(|| self.clock.now())
    }
}

/// An app on a port.
#[derive(Clone)]
pub enum RemoteApp {
    /// Over HTTP.
    Http(HttpApp),
    /// Over gRPC.
    Grpc(GrpcApp),
}

impl RemoteApp {
    /// An app that is reached like this.
    pub fn new(config: RemoteConfig) -> Self {
        if config.protocol.is_grpc() {
            Self::Grpc(GrpcApp::new(config))
        } else {
            Self::Http(HttpApp::new(config))
        }
    }

    /// The app, for the actors.
    pub fn as_app(&self) -> Arc<dyn App> {
        match self {
            Self::Http(app) => Arc::new(app.clone()),
            Self::Grpc(app) => Arc::new(app.clone()),
        }
    }

    /// What asks whether the app is well: over HTTP at `path`, over gRPC by `HealthCheck`.
    ///
    /// # Errors
    /// When there can be no such URL.
    pub fn prober(&self, path: &str) -> Result<Prober, Cause> {
        Ok(Prober(match self {
            Self::Http(app) => Way::Http(Box::new(app.prober(path)?)),
            Self::Grpc(app) => Way::Grpc(app.prober()?),
        }))
    }

    /// Waits until the app is there, however long that takes.
    pub async fn found(&self) {
        match self {
            Self::Http(app) => app.found().await,
            Self::Grpc(app) => app.found().await,
        }
    }
}

/// Asks an app whether it is well.
pub struct Prober(Way);

enum Way {
    Http(Box<HttpProber>),
    Grpc(GrpcProber),
}

impl Prober {
    /// Asks once.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn ask(&self) -> Result<(), String> {
        match &self.0 {
            Way::Http(http) => http.ask().await,
            Way::Grpc(grpc) => grpc.ask().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_written_in_any_case() {
        for (text, is) in [
            ("", Protocol::Http),
            ("HTTP", Protocol::Http),
            ("https", Protocol::Https),
            ("h2c", Protocol::H2c),
            ("gRPC", Protocol::Grpc),
            ("grpcs", Protocol::Grpcs),
        ] {
            assert_eq!(text.parse::<Protocol>().unwrap(), is, "{text}");
        }
        assert!("smoke".parse::<Protocol>().is_err());
        assert_eq!(Protocol::Http.secured(), Protocol::Https);
        assert_eq!(Protocol::Grpcs.secured(), Protocol::Grpcs);
    }
}
