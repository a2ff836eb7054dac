//! Trace context and baggage of a request (runtime §1.1.3).

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use bytes::Bytes;

use super::reply;
use crate::telemetry::traces::{Place, Span, Traces};
use crate::trace::{TraceContext, is_trace_parent, joined_baggage};

static PARENT: HeaderName = HeaderName::from_static("traceparent");
static STATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn baggage(headers: &HeaderMap) -> Result<Option<String>, String> {
    joined_baggage(headers.get_all(&BAGGAGE).map(HeaderValue::as_bytes))
}

/// Begins a span below what the headers say, and leaves its place for the request. Baggage that
/// is none ends the request anyway.
pub(super) fn begin_span(request: &HttpRequest, traces: &Traces) -> Option<Span> {
    let headers = request.headers();
    let baggage = baggage(headers).ok()?;
    let parent = text(headers, &PARENT).filter(|parent| is_trace_parent(parent));
    let state = parent.and_then(|_| text(headers, &STATE));
    let name = || request.path().to_owned().into();
    let Place { traceparent, span } = traces.begin(parent, state, name);
    let context = TraceContext::of_span(traceparent, state, baggage);
    request.extensions_mut().insert(context);
    span
}

/// The trace of a request: of its span, or what its headers say.
///
/// # Errors
/// What is wrong with its baggage.
pub(super) fn trace_of(request: &HttpRequest, traces: &Traces) -> Result<TraceContext, String> {
    if let Some(of_span) = request.extensions_mut().remove::<TraceContext>() {
        return Ok(of_span);
    }
    let headers = request.headers();
    let baggage = baggage(headers)?;
    if traces.are_off() {
        return Ok(TraceContext::none(baggage));
    }
    let parent = text(headers, &PARENT);
    let state = parent.and_then(|_| text(headers, &STATE));
    Ok(TraceContext::new(parent, state, baggage))
}

/// The answer to baggage that is none: where traces are off, nobody looks at it before the
/// endpoint does (runtime §1.1.2).
pub(super) fn of_wrong_baggage(problem: String, traces: &Traces) -> HttpResponse {
    let status = StatusCode::BAD_REQUEST;
    if traces.are_off() {
        reply::error(status, "ERR_MALFORMED_REQUEST", &problem)
    } else {
        reply::plain(status, problem + "\n")
    }
}

/// Puts it into the headers of an answer.
pub(super) fn echo_trace(trace: TraceContext, headers: &mut HeaderMap) {
    if trace.parent.is_empty() {
        return;
    }
    for (name, value) in [(&PARENT, Some(trace.parent)), (&BAGGAGE, trace.baggage)] {
        let value = value.map(|value| HeaderValue::from_maybe_shared(Bytes::from(value)));
        if let Some(Ok(value)) = value {
            headers.insert(name.clone(), value);
        }
    }
}
