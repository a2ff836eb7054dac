//! One span: begun with what came in, ended with what became of it.

use std::borrow::Cow;
use std::time::SystemTime;

use bindery_contract::Clock;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::export::Queue;

/// The ids of a span and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) trace: TraceId,
    pub(super) parent: Option<SpanId>,
    pub(super) span: SpanId,
    pub(super) sampled: bool,
}

impl Ids {
    /// A child of `parent`, a valid `traceparent`, or the beginning of a trace that `sample`
    /// decides about.
    pub(super) fn new(parent: Option<&str>, sample: impl FnOnce(TraceId) -> bool) -> Self {
        let span = SpanId::from(fastrand::u64(1..));
        match parent.and_then(parse) {
            Some((trace, parent, sampled)) => Self {
                trace,
                parent: Some(parent),
                span,
                sampled,
            },
            None => {
                let trace = TraceId::from(fastrand::u128(1..));
                Self {
                    trace,
                    parent: None,
                    span,
                    sampled: sample(trace),
                }
            }
        }
    }

    /// As the next one is told of it.
    pub(super) fn traceparent(&self) -> String {
        let (trace, span) = (self.trace.to_bytes(), self.span.to_bytes());
        crate::trace::write_parent(trace, span, u8::from(self.sampled))
    }
}

/// The parts of a `traceparent` that was checked before.
fn parse(parent: &str) -> Option<(TraceId, SpanId, bool)> {
    let mut parts = parent.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    Some((trace, span, flags & 1 == 1))
}

/// A span that is told of when it ends.
pub(crate) struct Span {
    pub(super) ids: Ids,
    pub(super) name: Cow<'static, str>,
    pub(super) began: SystemTime,
    pub(super) state: Option<String>,
    pub(super) queue: Queue,
    pub(super) clock: Clock,
}

impl Span {
    /// It is over. `error` says that it went wrong, and how.
    pub(crate) fn end(self, attributes: Vec<KeyValue>, error: Option<String>) {
        let flags = if self.ids.sampled {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::default()
        };
        let state = self
            .state
            .and_then(|state| state.parse::<TraceState>().ok());
        self.queue.push(SpanData {
            span_context: SpanContext::new(
                self.ids.trace,
                self.ids.span,
                flags,
                false,
                state.unwrap_or_default(),
            ),
            parent_span_id: self.ids.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.ids.parent.is_some(),
            span_kind: SpanKind::Client,
            name: self.name,
            start_time: self.began,
            end_time: self.clock.wall().max(self.began),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("dapr-diagnostics").build(),
        });
    }
}

/// The headers `dapr-…` of a call, but for the token: what its span says of them (runtime §6.7).
pub(crate) fn headers<'a>(
    all: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> impl Iterator<Item = KeyValue> {
    all.filter_map(|(name, value)| {
        let is_told = name.starts_with("dapr-") && name != "dapr-api-token";
        let value = value.filter(|_| is_told)?;
        Some(KeyValue::new(name.to_owned(), value.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_the_child_of_its_parent_and_sampled_as_that_is() {
        let never = |_| panic!("the parent has decided");
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let ids = Ids::new(Some(parent), never);
        assert_eq!(ids.parent, Some(SpanId::from(0x00f0_67aa_0ba9_02b7)));
        let own = ids.traceparent();
        assert!(own.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && own.ends_with("-01"));
        assert_ne!(own, parent);
        let unsampled = parent.replace("-01", "-00");
        assert!(!Ids::new(Some(&unsampled), never).sampled);
    }

    #[test]
    fn a_trace_that_begins_here_is_sampled_or_not() {
        let ids = Ids::new(None, |_| true);
        assert!(ids.parent.is_none() && ids.traceparent().ends_with("-01"));
        assert!(crate::trace::is_trace_parent(
            &Ids::new(None, |_| false).traceparent()
        ));
    }
}
