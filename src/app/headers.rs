//! An event's metadata as headers of the request that brings it to the app (runtime §2.4).

use bindery_contract::Metadata;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::trace;

/// Hop-by-hop headers and others that an event's metadata must not set (runtime §2.4).
const WITHHELD: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "destination-app-id",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The event's metadata as headers, and its trace context.
pub(super) fn add(headers: &mut HeaderMap, metadata: &Metadata) {
    let nominated = metadata.get_any_case("connection").unwrap_or_default();
    for (key, value) in metadata.iter() {
        let lower = key.to_ascii_lowercase();
        let is_nominated = nominated
            .split(',')
            .any(|name| name.trim().eq_ignore_ascii_case(key));
        if lower.ends_with("-bin") || WITHHELD.contains(&lower.as_str()) || is_nominated {
            continue;
        }
        let name = match lower.strip_prefix(':') {
            Some(pseudo) => format!("dapr-{pseudo}"),
            None if lower.starts_with("grpc-") => format!("dapr-{lower}"),
            None => lower,
        };
        let value = HeaderValue::from_str(&value.replace(['\r', '\n'], " "));
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value) {
            headers.insert(name, value);
        }
    }
    let parent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    if !parent.is_some_and(trace::is_trace_parent) {
        headers.remove("tracestate");
        if let Ok(fresh) = HeaderValue::from_str(&trace::fresh_parent()) {
            headers.insert("traceparent", fresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_becomes_headers_but_for_those_that_belong_to_the_connection() {
        let metadata = Metadata::new()
            .with("readTimeUTC", "now")
            .with("Content-Type", "text/plain")
            .with("content-length", "99")
            .with("trace-bin", "x")
            .with("Connection", "x-mine, close")
            .with("X-Mine", "1")
            .with(":authority", "me")
            .with("grpc-timeout", "1")
            .with("bad name", "x")
            .with("lines", "a\r\nb");
        let mut headers = HeaderMap::new();
        add(&mut headers, &metadata);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "dapr-authority",
                "dapr-grpc-timeout",
                "lines",
                "readtimeutc",
                "traceparent"
            ]
        );
        assert_eq!(headers["lines"], "a  b");
    }

    #[test]
    fn a_trace_is_carried_on_or_begun() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        let metadata = Metadata::new()
            .with("traceparent", parent)
            .with("tracestate", "a=1");
        add(&mut headers, &metadata);
        assert_eq!(
            (headers["traceparent"].as_bytes(), &headers["tracestate"]),
            (parent.as_bytes(), &HeaderValue::from_static("a=1"))
        );
        let mut headers = HeaderMap::new();
        add(&mut headers, &Metadata::new().with("tracestate", "a=1"));
        assert!(trace::is_trace_parent(
            headers["traceparent"].to_str().unwrap()
        ));
        assert!(!headers.contains_key("tracestate"));
    }
}
