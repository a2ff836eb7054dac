//! The end of the start: bindings tried, app found, inputs asked for (runtime §2.6, §9.1).

use std::sync::Arc;

use bindery_actors::{Core, InputStarter};
use bindery_contract::Instant;
use tokio::sync::watch;

use super::Ready;
use crate::app::HttpApp;

/// The way to the app.
pub(super) enum Way {
    Http { http: HttpApp, fetch_config: bool },
    InProcess,
    Nowhere,
}

/// Follows the start to its end: bindings tried, app found, inputs asked for.
pub(super) struct Readiness {
    pub(super) core: Arc<Core>,
    pub(super) inputs: InputStarter,
    pub(super) way: Way,
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
        match self.way {
            Way::Nowhere => tracing::warn!(
                target: "dapr.runtime",
                "App channel is not initialized. Did you configure an app-port?"
            ),
            Way::InProcess => {
                self.inputs.start();
                let _ = progress.wait_for(|progress| progress.asked).await;
            }
            Way::Http { http, fetch_config } => {
                http.wait_until_listening().await;
                if fetch_config {
                    http.fetch_config().await;
                }
                self.inputs.start();
                let _ = progress.wait_for(|progress| progress.asked).await;
            }
        }
        self.ready.send_modify(|ready| ready.inbound = true);
        let took = self
            .core
            .clock()
            .now()
            .saturating_duration_since(self.started);
        tracing::info!(
            target: "dapr.runtime",
            "dapr initialized. Status: Running. Init Elapsed {}ms", took.as_millis()
        );
    }
}
