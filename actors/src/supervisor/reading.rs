//! Inputs: whether the app wants their events, and the start of reading.

use std::sync::Arc;

use bindery_contract::sink::{Intake, IntakeSettings};
use bindery_contract::{Role, Source};

use super::{Key, Supervisor};
use crate::app::App;
use crate::attempts::Attempts;
use crate::backoff::Backoff;
use crate::binding::StartReading;
use crate::child::{Serving, ServingSide, Subscription};
use crate::component::Component;
use crate::core::Core;
use crate::delivery::Route;
use crate::pulse::ComponentId;
use crate::report::Report;

impl Supervisor {
    /// Starts reading, or asks the app whether it wants the events. It is asked about an input
    /// that is not open too: the answer does not depend on it, and the start waits for it.
    pub(super) fn consider_reading(&mut self, key: Key) {
        let Some(app) = self.core.app.clone().filter(|_| self.core.desired().inputs) else {
            return;
        };
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        if child.role != Role::Input {
            return;
        }
        match child.subscription {
            Subscription::Wanted => self.start_reading(key),
            Subscription::Unknown => {
                child.subscription = Subscription::Asking;
                let component = Arc::clone(&child.component);
                actix_rt::spawn(ask(Arc::clone(&self.core), app, component));
            }
            Subscription::Asking | Subscription::Unwanted => {}
        }
    }

    fn start_reading(&mut self, key: Key) {
        let core = Arc::clone(&self.core);
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        let Some(Serving {
            actor,
            side: ServingSide::Input { retry, intake },
            ..
        }) = &mut child.serving
        else {
            return;
        };
        if intake.is_some() {
            return;
        }
        let options = &child.component.delivery;
        let source = child.component.registration.input.unwrap_or(Source::Signal);
        let route = Arc::new(Route {
            core,
            attempts: Attempts::new(source, options.max_attempts, retry.clone()),
            component: Arc::clone(&child.component),
            counters: Arc::clone(&child.counters),
        });
        let settings = IntakeSettings {
            source,
            order: options.order,
            max_in_flight: options.max_in_flight,
        };
        let fresh = Intake::new(settings, route);
        *intake = Some(Arc::clone(&fresh));
        let _ = actor.try_send(StartReading(fresh));
    }

    pub(super) fn subscription(
        &mut self,
        component: ComponentId,
        route: &Arc<str>,
        wants: Option<bool>,
    ) {
        let key = (component, Role::Input);
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        if child.component.input_name.route != *route {
            // It has another route by now.
            if wants.is_some() {
                child.subscription = Subscription::Unknown;
                self.consider_reading(key);
            }
            return;
        }
        child.asked = true;
        match wants {
            Some(true) => {
                child.subscription = Subscription::Wanted;
                self.consider_reading(key);
            }
            Some(false) => {
                child.subscription = Subscription::Unwanted;
                tracing::info!(
                    target: "dapr.runtime.processor.binding",
                    "app has not subscribed to binding {}.", child.component.name
                );
            }
            None => {}
        }
        self.publish(key);
        self.note_asked();
    }

    /// Says so when every input is known to be wanted or not, or could not be asked about.
    pub(super) fn note_asked(&self) {
        let mut inputs = self
            .children
            .values()
            .filter(|child| child.role == Role::Input);
        if inputs.all(|child| child.asked || child.component.subscribed) {
            self.core
                .progress
                .send_modify(|progress| progress.asked = true);
        }
    }
}

/// Asks the app whether it wants an input's events, until it gives a definite answer.
async fn ask(core: Arc<Core>, app: Arc<dyn App>, component: Arc<Component>) {
    let mut attempt = 0;
    loop {
        let wants = match app.subscribes(&component.input_name).await {
            Ok(wants) => Some(wants),
            Err(error) => {
                attempt += 1;
                tracing::warn!(
                    target: "dapr.runtime.processor.binding",
                    "failed to read from binding {}: {error}; asking again", component.name
                );
                None
            }
        };
        let report = Report::Subscription {
            component: component.id,
            route: Arc::clone(&component.input_name.route),
            wants,
        };
        if core.reports.send(report).is_err() || wants.is_some() {
            return;
        }
        let wait = Backoff::STANDARD.wait(attempt, fastrand::f64());
        core.clock.sleep(wait).await;
    }
}
