//! Metrics, as the reference names them, and some of our own: `docs/metrics.md` lists them.
//!
//! A sidecar has its own; nothing is global. Counting happens on the thread where something
//! happens, and shares no memory with other threads (`registry.rs`); what is known anyway is read
//! when somebody asks (`bindings.rs`, `process.rs`).

mod bindings;
pub mod families;
mod process;
mod registry;
mod rules;
mod series;
mod server;
mod text;

use std::sync::Arc;
use std::time::Duration;

use bindery_actors::{Component, Core, FailureClass, Observer};

use self::families::{self as f, Group};
use self::registry::{LATENCY_BOUNDS, Registry, Settings};
use self::rules::{Requests, Rules};
pub(crate) use self::server::Exporter;
pub use self::server::MetricsConfig;
use self::text::Text;
use crate::resources::MetricsSpec;

/// What one sidecar counts. Cheap to clone. Where a Configuration has switched it off, nothing is
/// counted.
#[derive(Clone, Default)]
pub struct Metrics(Option<Arc<Inner>>);

struct Inner {
    registry: Arc<Registry>,
    requests: Requests,
    error_codes: bool,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Metrics").field(&self.is_on()).finish()
    }
}

impl Metrics {
    /// Counts as a Configuration says.
    pub(crate) fn new(app_id: &str, namespace: &str, spec: &MetricsSpec) -> Self {
        if !spec.enabled.unwrap_or(true) {
            return Self(None);
        }
        Self(Some(Arc::new(Inner {
            registry: Registry::new(Settings {
                app_id: app_id.to_owned(),
                namespace: namespace.to_owned(),
                latency_bounds: spec.bounds().unwrap_or_else(|| LATENCY_BOUNDS.to_vec()),
                rules: Rules::new(&spec.rules),
            }),
            requests: Requests::new(&spec.http),
            error_codes: spec.record_error_codes,
        })))
    }

    /// Whether anything is counted: nobody else needs to look at the clock.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn read(&self, core: &Core, spans_lost: u64) -> String {
        let mut text = Text::default();
        if let Some(inner) = &self.0 {
            inner.registry.write(&mut text);
            let app_id = inner.registry.app_id();
            bindings::write_policies(&mut text, core, app_id);
            bindings::write(&mut text, core, app_id);
            let labels = bindings::labels(&[("app_id", app_id)]);
            text.family(&f::SPANS_LOST);
            text.sample(&f::SPANS_LOST, &labels, text::number(spans_lost));
        }
        process::write(&mut text);
        text.finish()
    }

    /// Counts, unless that is switched off.
    fn note(&self, group: &'static Group, values: &[&str], amounts: &[u64]) {
        if let Some(inner) = &self.0 {
            inner.registry.note(group, values, amounts);
        }
    }

    /// A call of an output over the API.
    pub(crate) fn output(&self, component: &str, operation: &str, took: Duration, success: bool) {
        let values = [component, word(success), operation];
        self.note(&f::OUTPUT, &values, &[1, micros(took)]);
    }

    /// A request of the HTTP API, and how long its body and that of its answer were.
    pub(crate) fn http_server(&self, it: &HttpExchange<'_>) {
        let Some(inner) = &self.0 else {
            return;
        };
        let group = if inner.requests.increased_cardinality {
            &f::HTTP_SERVER_INCREASED
        } else {
            &f::HTTP_SERVER
        };
        let values = inner.labels(it);
        let amounts = [1, micros(it.took), 1];
        inner.registry.note(group, &values, &amounts);
        let bytes = [it.received, it.sent];
        inner.registry.note(&f::HTTP_SERVER_BYTES, &[], &bytes);
    }

    /// A request to an app over HTTP; one without an answer counts as status 500.
    pub(crate) fn http_client(&self, it: &HttpExchange<'_>) {
        let Some(inner) = &self.0 else {
            return;
        };
        let values = inner.labels(it);
        let registry = &inner.registry;
        registry.note(&f::HTTP_CLIENT, &values, &[1, micros(it.took)]);
        registry.note(&f::HTTP_CLIENT_SENT, &values[..2], &[it.sent]);
        registry.note(&f::HTTP_CLIENT_RECEIVED, &[], &[it.received]);
    }

    /// A question for the health of an app over HTTP.
    pub(crate) fn http_probe(&self, status: &str, took: Duration) {
        self.note(&f::HTTP_PROBE, &[status], &[1, micros(took)]);
    }

    /// A call of the gRPC API, or an event that was given to an app over gRPC.
    pub(crate) fn grpc_server(&self, method: &str, status: &str, took: Duration) {
        self.note(&f::GRPC_SERVER, &[method, status], &[1, micros(took)]);
    }

    /// How large the messages of a call of the gRPC API were.
    pub(crate) fn grpc_server_bytes(&self, method: &str, received: usize, sent: usize) {
        let amounts = [received as u64, sent as u64];
        self.note(&f::GRPC_SERVER_BYTES, &[method], &amounts);
    }

    /// A call of an app over gRPC, and how large its messages were.
    pub(crate) fn grpc_client(&self, it: &GrpcCall<'_>) {
        let took = micros(it.took);
        self.note(&f::GRPC_CLIENT, &[it.method, it.status], &[1, took]);
        let bytes = [it.sent as u64, it.received as u64];
        self.note(&f::GRPC_CLIENT_BYTES, &[it.method], &bytes);
    }

    /// A question for the health of an app over gRPC.
    pub(crate) fn grpc_probe(&self, status: &str, took: Duration) {
        self.note(&f::GRPC_PROBE, &[status], &[1, micros(took)]);
    }

    /// Resiliency documents that were loaded.
    pub(crate) fn resiliency_loaded<'a>(
        &self,
        documents: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        for (name, namespace) in documents {
            self.note(&f::LOADED, &[name, namespace], &[1]);
        }
    }

    /// An error code that the API answered with.
    pub(crate) fn error_code(&self, code: &str) {
        if let Some(inner) = self.0.as_ref().filter(|inner| inner.error_codes) {
            let values = [category(code), code];
            inner.registry.note(&f::ERRORS, &values, &[1]);
        }
    }
}

impl Inner {
    fn labels<'a>(&'a self, it: &HttpExchange<'a>) -> [&'a str; 3] {
        let requests = &self.requests;
        [
            requests.method(it.method),
            requests.path(it.path),
            it.status,
        ]
    }
}

/// A request over HTTP and its answer.
pub(crate) struct HttpExchange<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: &'a str,
    pub(crate) took: Duration,
    /// The body that came in, in bytes.
    pub(crate) received: u64,
    /// The body that went out, in bytes.
    pub(crate) sent: u64,
}

/// A call over gRPC.
pub(crate) struct GrpcCall<'a> {
    pub(crate) method: &'a str,
    pub(crate) status: &'a str,
    pub(crate) took: Duration,
    pub(crate) sent: usize,
    pub(crate) received: usize,
}

/// What the actors see.
impl Observer for Metrics {
    fn opened(&self, component: &Component) {
        self.note(&f::OPENED, &[&component.type_name], &[1]);
    }

    fn open_failed(&self, component: &Component, class: FailureClass) {
        let reason = match class {
            FailureClass::Invalid => "creation",
            _ => "init",
        };
        let values = [&component.type_name, &*component.name, reason];
        self.note(&f::OPEN_FAILED, &values, &[1]);
    }

    fn delivered(&self, component: &str, took: Duration, is_taken: bool) {
        let values = [component, word(is_taken)];
        self.note(&f::INPUT, &values, &[1, micros(took)]);
    }
}

fn word(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// What an error code belongs to, as the reference sorts them.
fn category(code: &str) -> &'static str {
    match code {
        "ERR_INVOKE_OUTPUT_BINDING" => "binding",
        "ERR_DIRECT_INVOKE" => "service-invocation",
        _ if code.starts_with("ERR_HEALTH") || code.starts_with("ERR_OUTBOUND_HEALTH") => "health",
        _ if code.starts_with("ERR_BINDING") => "binding",
        _ => "common",
    }
}
