//! What a sidecar tells of itself: set up at the start, and the port of its metrics.

use std::sync::Arc;

use bindery_contract::Clock;

use super::StartError;
use super::config::Config;
use crate::http::{self, Api, Listener};
use crate::resources::Configuration;
use crate::telemetry::metrics::{Exporter, Metrics};
use crate::telemetry::traces::{Settings, Traces};
use crate::telemetry::{ApiLog, Telemetry};

/// Metrics, traces and the log of the API, as they are configured. Spans are sent by the current
/// thread.
pub(super) fn telemetry(
    config: &Config,
    configuration: &Configuration,
    clock: &Clock,
) -> Telemetry {
    let Config { app_id, env, .. } = config;
    let namespace = env.get("NAMESPACE").unwrap_or_default();
    let traces = Settings::new(configuration.tracing(), env, app_id);
    Telemetry {
        metrics: Metrics::new(app_id, &namespace, configuration.metrics()),
        traces: Traces::start(&traces, clock),
        api_log: ApiLog::new(configuration.api_logging(), config.api_logging),
    }
}

/// The port of the metrics, ours and not yet served; none, if there is to be none.
pub(super) struct MetricsPort(Vec<Listener>);

impl MetricsPort {
    /// Binds it.
    ///
    /// # Errors
    /// When it is not to be had.
    pub(super) async fn bind(
        config: &Config,
        configuration: &Configuration,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let Some(metrics) = &config.metrics else {
            return Ok(Self(Vec::new()));
        };
        let spec = serde_json::to_string(configuration.metrics()).unwrap_or_default();
        tracing::info!(target: "dapr.runtime", "metric spec: {spec}");
        let bound = http::bind(&metrics.listen, metrics.port, clock).await;
        bound.map(Self).map_err(StartError::ListenMetrics)
    }

    /// Serves it from the current thread.
    ///
    /// # Errors
    /// When a listener cannot be used.
    pub(super) fn serve(self, api: &Arc<Api>) -> Result<Exporter, StartError> {
        let (clock, api) = (api.core().clock().clone(), Arc::clone(api));
        let read = move || api.telemetry().read_metrics(api.core());
        Exporter::serve(self.0, &clock, read).map_err(StartError::Server)
    }
}
