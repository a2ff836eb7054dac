//! Trace context and baggage of a request (runtime §1.1.3).

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::trace::{TraceContext, joined_baggage};

static PARENT: HeaderName = HeaderName::from_static("traceparent");
static STATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// From the headers of a request.
///
/// # Errors
/// The plain-text answer for baggage that is not W3C baggage.
pub(super) fn trace_of(headers: &HeaderMap) -> Result<TraceContext, String> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let baggage = headers.get_all(&BAGGAGE).map(HeaderValue::as_bytes);
    let baggage = joined_baggage(baggage).map_err(|problem| problem + "\n")?;
    Ok(TraceContext::new(text(&PARENT), text(&STATE), baggage))
}

/// Puts it into the headers of an answer.
pub(super) fn echo_trace(trace: &TraceContext, headers: &mut HeaderMap) {
    for (name, value) in [
        (&PARENT, Some(&trace.parent)),
        (&BAGGAGE, trace.baggage.as_ref()),
    ] {
        let value = value.map(|value| HeaderValue::from_str(value));
        if let Some(Ok(value)) = value {
            headers.insert(name.clone(), value);
        }
    }
}
