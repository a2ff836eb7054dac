//! The end of the start: bindings tried, app found, inputs asked for; and from then on, the
//! app's health (runtime §2.6, §9.1).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::{Core, InputSwitch};
use bindery_contract::{Deadline, Instant};
use tokio::sync::watch;

use super::Ready;
use crate::app::{HealthCheck, RemoteApp, watch_health};

/// How long the running events of an app that is unwell may take.
const UNWELL_DRAIN: Duration = Duration::from_secs(30);

/// The way to the app.
pub(super) enum Way {
    Remote(Box<RemoteApp>),
    InProcess,
    Nowhere,
}

/// The app's health: how it is asked for, and who is told.
pub(super) struct Health {
    check: HealthCheck,
    is_well: watch::Sender<bool>,
}

impl Health {
    pub(super) fn new(check: HealthCheck, is_well: watch::Sender<bool>) -> Self {
        Self { check, is_well }
    }
}

/// Follows the start to its end: bindings tried, app found, inputs asked for.
pub(super) struct Readiness {
    pub(super) core: Arc<Core>,
    pub(super) inputs: InputSwitch,
    pub(super) way: Way,
    pub(super) health: Option<Health>,
    /// Set when the inputs are stopped for good.
    pub(super) drained: Rc<Cell<bool>>,
    pub(super) ready: watch::Sender<Ready>,
    pub(super) started: Instant,
}

impl Readiness {
    pub(super) async fn follow(self) {
        let mut progress = self.core.progress();
        // The core lives as long as this task, so waiting cannot fail.
        let _ = progress.wait_for(|progress| progress.tried).await;
        tracing::info!(target: "dapr.runtime", "All outstanding components processed");
        self.ready.send_modify(|ready| ready.outbound = true);
        match &self.way {
            Way::Nowhere => tracing::warn!(
                target: "dapr.runtime",
                "App channel is not initialized. Did you configure an app-port?"
            ),
            Way::InProcess => self.start_inputs().await,
            Way::Remote(app) => {
                app.found().await;
                if self.health.is_none() {
                    self.start_inputs().await;
                }
            }
        }
        self.ready.send_modify(|ready| ready.inbound = true);
        let clock = self.core.clock();
        let took = clock.now().saturating_duration_since(self.started);
        tracing::info!(
            target: "dapr.runtime",
            "dapr initialized. Status: Running. Init Elapsed {}ms", took.as_millis()
        );
        if let (Way::Remote(app), Some(health)) = (&self.way, &self.health) {
            let change = |is_well| self.app_is(is_well, &health.is_well);
            match app.prober(&health.check.path) {
                Ok(prober) => watch_health(clock, &health.check, || prober.ask(), change).await,
                Err(error) => tracing::error!(
                    target: "dapr.runtime.apphealth",
                    "the app's health cannot be asked for at {:?}: {error}; it counts as \
                     unwell. Set --app-health-check-path to a path such as /healthz",
                    health.check.path
                ),
            }
        }
    }

    async fn start_inputs(&self) {
        if self.drained.get() {
            return;
        }
        self.inputs.start();
        let mut progress = self.core.progress();
        let _ = progress.wait_for(|progress| progress.asked).await;
    }

    fn app_is(&self, is_well: bool, told: &watch::Sender<bool>) {
        told.send_replace(is_well);
        if !is_well {
            let deadline = self.core.clock().now() + UNWELL_DRAIN;
            self.inputs.stop(Deadline::at(deadline));
        } else if !self.drained.get() {
            self.inputs.start();
        }
    }
}
