//! A component as the runtime needs it: what a manifest came to.

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::settings::Properties;
use bindery_contract::{BoxFuture, Cause, Order, Registration, Role};

use crate::app::InputName;
use crate::pulse::ComponentId;

/// A component whose manifest was read and checked.
pub struct Component {
    /// Its number in this process. A component that replaces another takes over its number.
    pub id: ComponentId,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `spec.type`, as written.
    pub type_name: String,
    /// `spec.version`, as written.
    pub version: String,
    /// Its type's row in the catalogue.
    pub registration: Registration,
    /// The sides to open: those its type has and its `direction` wants.
    pub roles: Vec<Role>,
    /// Where its settings come from. Asked at every opening, so that a password that changed is
    /// read anew.
    pub settings: Arc<dyn SettingsSource>,
    /// How long an opening may take.
    pub init_timeout: Duration,
    /// Whether it may fail for good without ending the start.
    pub ignore_errors: bool,
    /// How the app knows its events.
    pub input_name: InputName,
    /// Whether the app is known to want them: `direction` says input, so nobody asks.
    pub subscribed: bool,
    /// How its events are delivered.
    pub delivery: DeliveryOptions,
}

impl Component {
    /// `<name> (<type>/<version>)`, as the log and the errors have it (runtime §3.4).
    pub fn display(&self) -> String {
        display(&self.name, &self.type_name, &self.version)
    }
}

/// How the log shows a component.
pub(crate) fn display(name: &str, type_name: &str, version: &str) -> String {
    if version.is_empty() {
        format!("{name} ({type_name})")
    } else {
        format!("{name} ({type_name}/{version})")
    }
}

impl Component {
    /// Becomes the next version of another component.
    pub(crate) fn take_over(&mut self, id: ComponentId) {
        id.hold(&self.display());
        std::mem::replace(&mut self.id, id).let_go();
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.id.let_go();
    }
}

/// Gives a component's settings, with secrets and templates resolved.
pub trait SettingsSource: Send + Sync {
    /// Resolves them anew.
    fn resolve(&self) -> BoxFuture<'_, Result<Properties, Cause>>;
}

impl SettingsSource for Properties {
    fn resolve(&self) -> BoxFuture<'_, Result<Properties, Cause>> {
        let properties = self.clone();
        Box::pin(async move { Ok(properties) })
    }
}

/// `spec.delivery`: an addition of ours that the reference ignores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryOptions {
    /// How many events may be in flight: 1…65536.
    pub max_in_flight: usize,
    /// How many attempts an event gets; 0 means what suits its source.
    pub max_attempts: u32,
    /// The output that gets the events whose attempts are used up.
    pub dead_letter: Option<String>,
    /// Within what order is kept.
    pub order: Order,
    /// Whether the app's answer may name outputs.
    pub reply: bool,
    /// Whether a failure of one of those outputs is a refusal of the event.
    pub reply_failure_nacks: bool,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            max_attempts: 0,
            dead_letter: None,
            order: Order::Source,
            reply: true,
            reply_failure_nacks: false,
        }
    }
}
