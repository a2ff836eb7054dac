//! The ports of gRPC: the app's, and the one for other sidecars.

use std::net::SocketAddr;
use std::sync::Arc;

use bindery_contract::Clock;

use super::StartError;
use super::config::GrpcConfig;
use super::http_api::say_that_a_token_is_asked_for;
use super::reach::{API_FLAG, Reach, addresses, ports};
use crate::grpc::{self, Door, Server};
use crate::http::{self, Api, Listener};

/// What opens the port for other sidecars to them.
const INTERNAL_FLAG: &str = "dapr-internal-grpc-listen-address";

/// Ports that are ours and not yet served.
#[derive(Default)]
pub(super) struct GrpcPorts {
    api: Vec<Listener>,
    internal: Vec<Listener>,
    reach: Reach,
    internal_reach: Reach,
}

/// The servers of both ports.
pub(super) struct GrpcServers {
    servers: Vec<Server>,
}

impl GrpcPorts {
    /// Binds what is configured.
    ///
    /// # Errors
    /// When a port is not to be had.
    pub(super) async fn bind(
        config: Option<&GrpcConfig>,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let Some(config) = config else {
            return Ok(Self::default());
        };
        let internal = match config.internal_port {
            Some(port) => http::bind(&config.internal_listen, port, clock)
                .await
                .map_err(StartError::ListenInternalGrpc)?,
            None => Vec::new(),
        };
        let api = match &config.socket {
            Some(path) => vec![http::bind_file(path).map_err(StartError::ListenFile)?],
            None => http::bind(&config.listen, config.port, clock)
                .await
                .map_err(StartError::ListenGrpc)?,
        };
        Ok(Self {
            api,
            internal,
            reach: Reach::ThisMachine.unless_chosen(&config.listen),
            internal_reach: Reach::ThisMachine.unless_chosen(&config.internal_listen),
        })
    }

    /// Where the API listens.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        ports(&self.api)
    }

    /// Serves them.
    ///
    /// # Errors
    /// When a listener cannot be used.
    pub(super) fn serve(self, api: &Arc<Api>, max_head: usize) -> Result<GrpcServers, StartError> {
        let (own, internal) = (addresses(&self.api), addresses(&self.internal));
        let serve = |listeners: Vec<Listener>, door: Door| {
            grpc::start(listeners, door, api.core(), max_head).map_err(StartError::Server)
        };
        let mut servers = Vec::new();
        if !self.internal.is_empty() {
            let door = Door::of_other_sidecars(Arc::clone(api));
            servers.push(serve(self.internal, door)?);
        }
        if !self.api.is_empty() {
            servers.push(serve(self.api, Door::of_the_app(Arc::clone(api)))?);
        }
        if let Some(port) = self.internal_reach.of(&internal, INTERNAL_FLAG) {
            tracing::info!(
                target: "dapr.runtime.grpc.internal", "Internal gRPC server is running on {port}"
            );
        }
        if let Some(port) = self.reach.of(&own, API_FLAG) {
            say_that_a_token_is_asked_for(api, "gRPC");
            tracing::info!(target: "dapr.runtime.grpc.api", "API gRPC server is running on {port}");
        }
        Ok(GrpcServers { servers })
    }
}

impl GrpcServers {
    /// Takes no more calls, and waits for the running ones.
    pub(super) async fn stop(&self) {
        for server in &self.servers {
            server.stop().await;
        }
    }
}
