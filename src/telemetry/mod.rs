//! What the sidecar tells about itself.

mod api_log;
pub mod log;
pub mod metrics;
mod repeats;
pub(crate) mod traces;

use bindery_actors::Core;

pub(crate) use self::api_log::{ApiLog, Called};
use self::metrics::Metrics;
use self::traces::Traces;

/// What watches the requests of one sidecar.
#[derive(Clone)]
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    pub(crate) traces: Traces,
    pub(crate) api_log: ApiLog,
}

impl Telemetry {
    /// All metrics, as Prometheus reads them.
    pub(crate) fn read_metrics(&self, core: &Core) -> String {
        self.metrics.read(core, self.traces.lost())
    }

    /// Whether requests have to be watched at all.
    pub(crate) fn watches_requests(&self) -> bool {
        self.metrics.is_on() || self.traces.are_active() || self.api_log.is_on()
    }
}
