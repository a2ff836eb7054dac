//! The ports of HTTP: the app's, and the public one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::Clock;

use super::StartError;
use super::config::{Config, HttpConfig};
use super::reach::{API_FLAG, Reach, addresses, ports};
use crate::http::{self, Api, Cors, Listener, ServerConfig, Servers};

/// How long a request's head may be besides `--read-buffer-size`, as the reference has it.
const SLACK: usize = 4 << 10;
/// More than this no head may have, whatever anybody says.
const LONGEST_HEAD: usize = 128 << 10;

/// Ports that are ours and not yet served.
#[derive(Default)]
pub(super) struct HttpPorts {
    api: Vec<Listener>,
    public: Vec<Listener>,
}

impl HttpPorts {
    /// Binds what is configured.
    ///
    /// # Errors
    /// When a port is not to be had.
    pub(super) async fn bind(
        config: Option<&HttpConfig>,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let Some(config) = config else {
            return Ok(Self::default());
        };
        let api = match &config.socket {
            Some(path) => vec![http::bind_file(path).map_err(StartError::ListenFile)?],
            None => http::bind(&config.listen, config.port, clock)
                .await
                .map_err(StartError::Listen)?,
        };
        let public = match config.public_port {
            Some(port) => http::bind_public(&config.public_listen, port, clock)
                .await
                .map_err(StartError::ListenPublic)?,
            None => Vec::new(),
        };
        Ok(Self { api, public })
    }

    /// Where the API listens.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        ports(&self.api)
    }

    /// Serves them, and says so.
    ///
    /// # Errors
    /// When a listener cannot be used.
    pub(super) fn serve(
        self,
        api: &Arc<Api>,
        listening: &HttpConfig,
        config: &Config,
        workers: usize,
    ) -> Result<Servers, StartError> {
        let (own, public) = (addresses(&self.api), addresses(&self.public));
        if config.max_head > LONGEST_HEAD && config.max_head < usize::MAX {
            tracing::warn!(
                target: "dapr.runtime.http",
                "--read-buffer-size is {} bytes: over HTTP/1.1 the longest head of a request is \
                 {LONGEST_HEAD} bytes all the same", config.max_head
            );
        }
        let server = ServerConfig {
            workers,
            h2c: listening.h2c,
            max_head: config.max_head.saturating_add(SLACK),
            cors: Cors::of(&listening.allowed_origins),
            shutdown_timeout: config.grace.unwrap_or(Duration::from_secs(10)),
        };
        let servers = http::start(self.api, self.public, Arc::clone(api), server);
        let servers = servers.map_err(StartError::Server)?;
        let reach = Reach::ThisMachine.unless_chosen(&listening.listen);
        if let Some(port) = reach.of(&own, API_FLAG) {
            tracing::info!(
                target: "dapr.runtime.http",
                "The request body size parameter is: {} bytes", api.max_body().unwrap_or(0)
            );
            say_that_a_token_is_asked_for(api, "HTTP");
            tracing::info!(target: "dapr.runtime.http", "HTTP server is running on {port}");
        }
        let reach = Reach::Everybody.unless_chosen(&listening.public_listen);
        if let Some(port) = reach.of(&public, "dapr-public-listen-address") {
            tracing::info!(target: "dapr.runtime.http", "Public HTTP server is running on {port}");
        }
        Ok(servers)
    }
}

/// Says that callers of a server need the token, if they do.
pub(super) fn say_that_a_token_is_asked_for(api: &Api, server: &str) {
    if api.has_token() {
        tracing::info!(
            target: "dapr.runtime",
            "Enabled token authentication on {server} server"
        );
    }
}
