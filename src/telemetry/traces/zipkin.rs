//! Spans as Zipkin has them: a list of JSON objects (its API version 2).

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Map, Value, json};

/// A batch.
pub(super) fn encode(batch: &[SpanData], resource: &Resource) -> Vec<u8> {
    let name = resource.get(&opentelemetry::Key::from_static_str("service.name"));
    let name = name.map(|name| name.to_string()).unwrap_or_default();
    let spans: Vec<Value> = batch.iter().map(|span| one(span, &name)).collect();
    serde_json::to_vec(&spans).unwrap_or_default()
}

/// One span, and who tells it.
pub(super) fn one(span: &SpanData, service: &str) -> Value {
    let context = &span.span_context;
    let took = span.end_time.duration_since(span.start_time);
    let mut tags = Map::new();
    for attribute in &span.attributes {
        tags.insert(
            attribute.key.to_string(),
            attribute.value.to_string().into(),
        );
    }
    tags.insert(
        "otel.library.name".into(),
        span.instrumentation_scope.name().into(),
    );
    if let Status::Error { description } = &span.status {
        tags.insert("otel.status_code".into(), "ERROR".into());
        tags.insert("error".into(), description.to_string().into());
    }
    let mut object = json!({
        "traceId": context.trace_id().to_string(),
        "id": context.span_id().to_string(),
        "name": span.name,
        "kind": "CLIENT",
        "timestamp": micros(span.start_time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
        "duration": micros(took.unwrap_or_default()).max(1),
        "tags": tags,
    });
    if span.parent_span_id != SpanId::INVALID {
        object["parentId"] = span.parent_span_id.to_string().into();
    }
    if !service.is_empty() {
        object["localEndpoint"] = json!({ "serviceName": service });
    }
    object
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
