//! Traces (runtime §6.7): spans for calls of outputs and for events, told to OpenTelemetry's
//! collectors, to Zipkin or to the log.
//!
//! The data model and its encodings are OpenTelemetry's own crates; what is ours is the way from a
//! request to a span, and the queue between those who end spans and the task that sends them
//! (`export.rs`). Nothing is global: a sidecar holds its own.

mod app;
mod export;
mod settings;
mod span;
mod wire;
mod zipkin;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::Clock;
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

pub(crate) use self::app::Traced;
use self::export::Queue;
use self::settings::Mode;
pub(crate) use self::settings::Settings;
use self::span::Ids;
pub(crate) use self::span::{Span, headers};
use self::wire::Exporter;

/// How long the last spans may take to leave when the sidecar ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The traces of one sidecar. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Traces(Arc<Inner>);

struct Inner {
    mode: Mode,
    sampler: Sampler,
    /// `None` where nobody is told.
    queue: Option<Queue>,
    clock: Clock,
}

/// The place of a call in its trace.
pub(crate) struct Place {
    /// What the next one is told.
    pub(crate) traceparent: String,
    /// Told of when it ends; `None` where it is not sampled.
    pub(crate) span: Option<Span>,
}

impl Traces {
    /// Sets them up; spans are sent by a task of the current thread.
    pub(crate) fn start(settings: &Settings, clock: &Clock) -> Self {
        let exporters = Exporter::all(settings);
        if settings.mode == Mode::Active {
            tracing::info!(
                target: "dapr.runtime",
                "Dapr trace sampler initialized: {}", settings.sampler()
            );
        }
        let queue = (settings.mode == Mode::Active && !exporters.is_empty()).then(|| {
            let (queue, outlet) = export::queue();
            tokio::task::spawn_local(outlet.run(exporters, clock.clone()));
            queue
        });
        Self(Arc::new(Inner {
            mode: settings.mode,
            sampler: Sampler::TraceIdRatioBased(settings.rate),
            queue,
            clock: clock.clone(),
        }))
    }

    /// Whether there are spans of our own.
    pub(crate) fn are_active(&self) -> bool {
        self.0.mode == Mode::Active
    }

    /// Whether traces are not even passed on.
    pub(crate) fn are_off(&self) -> bool {
        self.0.mode == Mode::Off
    }

    /// How many spans were lost on their way out.
    pub(crate) fn lost(&self) -> u64 {
        self.0.queue.as_ref().map_or(0, Queue::lost)
    }

    /// Begins a span below `parent`, a valid `traceparent`, or a trace of its own.
    pub(crate) fn begin(
        &self,
        parent: Option<&str>,
        state: Option<&str>,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Place {
        let Inner { queue, clock, .. } = &*self.0;
        let ids = Ids::new(parent, |trace| self.samples(trace));
        let queue = queue.as_ref().filter(|_| ids.sampled);
        Place {
            traceparent: ids.traceparent(),
            span: queue.map(|queue| Span {
                ids,
                name: name(),
                began: clock.wall(),
                state: state.map(str::to_owned),
                queue: queue.clone(),
                clock: clock.clone(),
            }),
        }
    }

    fn samples(&self, trace: TraceId) -> bool {
        let asked = self
            .0
            .sampler
            .should_sample(None, trace, "", &SpanKind::Client, &[], &[]);
        asked.decision == SamplingDecision::RecordAndSample
    }

    /// Sends what is left, but not for long.
    pub(crate) async fn finish(&self) {
        if let Some(queue) = &self.0.queue {
            let _ = self.0.clock.timeout(LAST_WORDS, queue.flush()).await;
        }
    }
}
