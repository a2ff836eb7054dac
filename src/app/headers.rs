//! Headers of what reaches the app: an event's metadata (runtime §2.4), and those of a call.

use std::convert::Infallible;

use bindery_contract::Metadata;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};

use super::recent::Recent;
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

static TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// What keys are called as headers, where they may be some.
#[derive(Default)]
pub(super) struct Names(Recent<Box<str>, Option<HeaderName>>);

impl Names {
    fn of(&self, key: &str) -> Option<HeaderName> {
        let make = || Ok::<_, Infallible>((key.into(), name_of(key)));
        let Ok(name) = self.0.find(|known| **known == *key, make);
        name
    }
}

/// The event's metadata as headers, and its trace context: its own, or a fresh one where traces
/// begin here.
pub(super) fn add(
    headers: &mut HeaderMap,
    metadata: &Metadata,
    names: &Names,
    begins_traces: bool,
) {
    let nominated = metadata.get_any_case("connection").unwrap_or_default();
    for (key, value) in metadata.iter() {
        let Some(name) = names.of(key) else { continue };
        let is_nominated = nominated
            .split(',')
            .any(|name| name.trim().eq_ignore_ascii_case(key));
        if is_nominated {
            continue;
        }
        if name == TRACE_PARENT && !trace::is_trace_parent(value) {
            continue;
        }
        let value = HeaderValue::from_str(value)
            .or_else(|_| HeaderValue::from_str(&value.replace(['\r', '\n'], " ")));
        if let Ok(value) = value {
            headers.insert(name, value);
        }
    }
    if !headers.contains_key(&TRACE_PARENT) {
        // A state belongs to its parent and is nothing without it.
        headers.remove(&TRACE_STATE);
        if begins_traces && let Ok(fresh) = HeaderValue::try_from(trace::fresh_parent()) {
            headers.insert(TRACE_PARENT.clone(), fresh);
        }
    }
}

/// What the sidecar means for itself, or does itself.
const OWN: &[&str] = &["dapr-api-token", "dapr-app-id", "expect"];

/// The headers of a call, or of its answer, that are passed on: all but those of the connection,
/// the type of the content, which travels with it, and the sidecar's own.
pub(crate) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let nominated: Vec<&str> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(',').map(str::trim))
        .collect();
    let mut passed = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let text = name.as_str();
        let is_nominated = nominated.iter().any(|one| one.eq_ignore_ascii_case(text));
        let is_ours = WITHHELD.contains(&text) || OWN.contains(&text) || text.starts_with("grpc-");
        if !is_nominated && !is_ours {
            passed.append(name, value.clone());
        }
    }
    passed
}

/// The header of a key: its own name, but for what means something else in HTTP or gRPC. None where
/// an event must not set it.
fn name_of(key: &str) -> Option<HeaderName> {
    let is_grpc = key
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("grpc-"));
    let name = match key.strip_prefix(':') {
        Some(pseudo) => HeaderName::try_from(format!("dapr-{pseudo}")),
        None if is_grpc => HeaderName::try_from(format!("dapr-{key}")),
        None => HeaderName::from_bytes(key.as_bytes()),
    };
    let is_withheld = |name: &str| name.ends_with("-bin") || WITHHELD.contains(&name);
    name.ok().filter(|name| !is_withheld(name.as_str()))
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
        add(&mut headers, &metadata, &Names::default(), true);
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
    fn names_are_the_same_again_however_many_there_are() {
        let names = Names::default();
        for key in ["readTimeUTC", "host", ":authority", "readTimeUTC", "host"] {
            assert_eq!(names.of(key), name_of(key), "{key}");
        }
        (0..100).for_each(|number| drop(names.of(&format!("x-{number}"))));
        assert_eq!(names.of("X-99").unwrap(), "x-99");
    }

    #[test]
    fn a_call_passes_its_headers_on_but_for_those_of_the_connection_and_ours() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-mine", "1"),
            ("x-mine", "2"),
            ("cookie", "a=b"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("host", "h"),
            ("content-length", "3"),
            ("content-type", "text/plain"),
            ("dapr-api-token", "secret"),
            ("dapr-app-id", "me"),
            ("grpc-timeout", "1S"),
            ("te", "trailers"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let passed = passed_on(&headers);
        let names: Vec<_> = passed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-mine", "x-mine", "cookie"]);
    }

    #[test]
    fn a_trace_is_carried_on_or_begun() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        let metadata = Metadata::new()
            .with("traceparent", parent)
            .with("tracestate", "a=1");
        add(&mut headers, &metadata, &Names::default(), true);
        assert_eq!(
            (headers["traceparent"].as_bytes(), &headers["tracestate"]),
            (parent.as_bytes(), &HeaderValue::from_static("a=1"))
        );
        let mut headers = HeaderMap::new();
        add(
            &mut headers,
            &Metadata::new().with("tracestate", "a=1"),
            &Names::default(),
            true,
        );
        assert!(trace::is_trace_parent(
            headers["traceparent"].to_str().unwrap()
        ));
        assert!(!headers.contains_key("tracestate"));
        let mut headers = HeaderMap::new();
        add(&mut headers, &Metadata::new(), &Names::default(), false);
        assert!(headers.is_empty());
    }
}
