//! `GET /v1.0/metadata` (runtime §6.1), with each binding's state added.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bindery_actors::{ComponentStatus, Core, SideStatus};
use bindery_contract::settings::GoDuration;
use serde::Serialize;

use crate::app::HealthCheck;
use crate::resources::Inventory;

/// The reference's version that our behaviour follows.
pub(crate) const DAPR_VERSION: &str = "1.18.3";

/// How the app is reached, for the metadata.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppConnection {
    /// `--app-port`; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `--app-protocol`.
    pub protocol: String,
    /// `--app-channel-address`.
    pub channel_address: String,
    /// `--app-max-concurrency`; left out when unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<usize>,
    /// How its health is asked for; left out where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<AppHealth>,
}

/// How the app's health is asked for, for the metadata.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppHealth {
    pub(crate) health_check_path: String,
    pub(crate) health_probe_interval: String,
    pub(crate) health_probe_timeout: String,
    pub(crate) health_threshold: u32,
}

impl From<&HealthCheck> for AppHealth {
    fn from(check: &HealthCheck) -> Self {
        let text = |duration: Duration| GoDuration::from(duration).to_string();
        Self {
            health_check_path: check.path.clone(),
            health_probe_interval: text(check.interval),
            health_probe_timeout: text(check.timeout),
            health_threshold: check.threshold,
        }
    }
}

/// What does not change while the sidecar runs, and what `PUT` has added.
pub(crate) struct Facts {
    pub(super) app_id: String,
    pub(super) app: AppConnection,
    pub(super) features: Vec<&'static str>,
    pub(super) inventory: ArcSwap<Inventory>,
    pub(super) extended: Mutex<BTreeMap<String, String>>,
}

/// All of it, as the API answers it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata<'a> {
    pub(crate) id: &'a str,
    pub(crate) runtime_version: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) enabled_features: &'a [&'static str],
    pub(crate) components: Vec<Component>,
    pub(crate) extended: BTreeMap<String, String>,
    pub(crate) app_connection_properties: &'a AppConnection,
    pub(crate) actor_runtime: ActorRuntime,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resiliencies: Vec<Named>,
    /// Our addition: how each binding is.
    bindings: Vec<Binding>,
    /// Our addition: what is wrong in the files, while the last good versions go on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_errors: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Component {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) capabilities: Vec<&'static str>,
}

#[derive(Serialize)]
pub(crate) struct Named {
    pub(crate) name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActorRuntime {
    runtime_status: &'static str,
    host_ready: bool,
    pub(crate) placement: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    sides: Vec<Side>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    direction: &'static str,
    state: &'static str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try: Option<String>,
    /// Why a newer version of its file does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
    restarts: u64,
    panics: u64,
    /// Events that are read and not settled; calls that are running.
    in_flight: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    events: Option<Events>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    calls: Option<Calls>,
}

#[derive(Serialize)]
struct Calls {
    calls: u64,
    failed: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Events {
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_event: Option<String>,
    taken: u64,
    refused: u64,
    dead_letters: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocked: Vec<Blocked>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blocked {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    since: String,
    attempts: u32,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

impl Facts {
    /// The whole document, with the newline that the reference ends it with.
    pub(super) fn document(&self, core: &Core) -> String {
        let mut text = serde_json::to_string(&self.describe(core)).unwrap_or_default();
        text.push('\n');
        text
    }

    /// What is listed besides the bindings, from now on.
    pub(super) fn set_inventory(&self, inventory: Inventory) {
        self.inventory.store(Arc::new(inventory));
    }

    /// Adds an entry to the extended metadata.
    pub(crate) fn extend(&self, key: String, value: String) {
        let extended = self.extended.lock();
        let mut extended = extended.unwrap_or_else(PoisonError::into_inner);
        extended.insert(key, value);
    }

    /// How everything is now.
    pub(crate) fn describe(&self, core: &Core) -> Metadata<'_> {
        let status = core.status().components();
        let mut extended = self
            .extended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        extended.insert("daprRuntimeVersion".into(), DAPR_VERSION.into());
        let inventory = self.inventory.load();
        let listed = inventory.listed.iter().map(|listed| Component {
            name: listed.name.clone(),
            type_name: listed.type_name.clone(),
            version: listed.version.clone(),
            capabilities: listed.capabilities.clone(),
        });
        let bindings = status.iter().map(|component| Component {
            name: component.name.to_string(),
            type_name: component.type_name.clone(),
            version: component.version.clone(),
            capabilities: component.sides.iter().map(capability).collect(),
        });
        Metadata {
            id: &self.app_id,
            runtime_version: DAPR_VERSION,
            enabled_features: &self.features,
            components: listed.chain(bindings).collect(),
            extended,
            app_connection_properties: &self.app,
            actor_runtime: ActorRuntime {
                runtime_status: "DISABLED",
                host_ready: false,
                placement: "placement: disconnected",
            },
            resiliencies: inventory
                .resiliencies
                .iter()
                .map(|name| Named { name: name.clone() })
                .collect(),
            bindings: status
                .iter()
                .map(|component| Binding::of(component))
                .collect(),
            resource_errors: inventory.errors.clone(),
        }
    }
}

/// How all bindings are.
pub(super) fn bindings(core: &Core) -> String {
    let components = core.status().components();
    let bindings: Vec<Binding> = components.iter().map(|one| Binding::of(one)).collect();
    serde_json::to_string(&bindings).unwrap_or_default()
}

/// How one binding is, if there is one of this name.
pub(super) fn binding(core: &Core, name: &str) -> Option<String> {
    let components = core.status().components();
    let found = components.iter().find(|one| *one.name == *name)?;
    serde_json::to_string(&Binding::of(found)).ok()
}

impl Binding {
    fn of(component: &ComponentStatus) -> Self {
        Self {
            name: component.name.to_string(),
            type_name: component.type_name.clone(),
            sides: component.sides.iter().map(side).collect(),
        }
    }
}

fn capability(side: &SideStatus) -> &'static str {
    match side.role {
        bindery_contract::Role::Input => "INPUT_BINDING",
        bindery_contract::Role::Output => "OUTPUT_BINDING",
    }
}

fn side(side: &SideStatus) -> Side {
    Side {
        direction: side.role.as_str(),
        state: side.shown_state(),
        since: rfc3339(side.since),
        last_error: side.last_error.as_ref().map(ToString::to_string),
        next_try: side.next_try.map(rfc3339),
        pending: side.pending.as_ref().map(ToString::to_string),
        restarts: side.restarts,
        panics: side.panics,
        in_flight: match (&side.input, &side.output) {
            (Some(input), _) => input.counters.in_flight(),
            (None, Some(output)) => output.in_flight(),
            (None, None) => 0,
        },
        calls: side.output.as_ref().map(|output| Calls {
            calls: output.calls(),
            failed: output.failed(),
        }),
        events: side.input.as_ref().map(|input| Events {
            subscribed: input.subscribed,
            last_event: input.counters.last_event().map(rfc3339),
            taken: input.counters.taken_count(),
            refused: input.counters.refused_count(),
            dead_letters: input.counters.buried_count(),
            blocked: input
                .counters
                .blocked()
                .into_iter()
                .map(|blocked| Blocked {
                    key: blocked.key,
                    since: rfc3339(blocked.since),
                    attempts: blocked.attempts,
                    error: blocked.error,
                    hint: blocked.used_up.then_some(
                        "the attempts are used up and its source cannot pass it: set \
                         spec.delivery.deadLetter",
                    ),
                })
                .collect(),
        }),
    }
}

/// A time as people and programs read it; milliseconds are enough.
fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .and_then(|time| time.round(jiff::Unit::Millisecond))
        .map(|time| time.to_string())
        .unwrap_or_default()
}
