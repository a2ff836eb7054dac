//! From a call to the HTTP request that goes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bindery_contract::settings::SettingsError;
use bindery_contract::{Invocation, Metadata};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::address::Address;
use crate::error::HttpError;
use crate::settings::HttpSettings;

/// What data and answers are, unless the caller says otherwise.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
/// Headers that follow from the request itself: a caller's own would contradict it.
const OURS: [&str; 4] = ["host", "content-length", "transfer-encoding", "trailer"];
/// The trace context, which the runtime puts into the metadata under these names.
const TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// A request, complete but for what the client adds.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) to: Arc<Address>,
    pub(crate) headers: HeaderMap,
    /// `None` for the methods that have no body.
    pub(crate) body: Option<Bytes>,
}

/// Where a component's requests go, and what all of them carry.
pub(crate) struct Target {
    component: String,
    base: Arc<Address>,
    token: Option<(HeaderName, HeaderValue)>,
    trace_overridden: AtomicBool,
}

impl Target {
    pub(crate) fn new(component: &str, settings: &HttpSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            component: component.into(),
            base: Arc::new(settings.base()?),
            token: settings.token()?,
            trace_overridden: AtomicBool::new(false),
        })
    }

    /// The request that a call asks for.
    pub(crate) fn request(&self, call: &Invocation) -> Result<Outgoing, HttpError> {
        let (method, has_body) = match call.operation {
            "create" | "post" => (Method::POST, true),
            "put" => (Method::PUT, true),
            "patch" => (Method::PATCH, true),
            "get" => (Method::GET, false),
            "head" => (Method::HEAD, false),
            "delete" => (Method::DELETE, false),
            "options" => (Method::OPTIONS, false),
            "trace" => (Method::TRACE, false),
            other => return Err(HttpError::Operation(other)),
        };
        Ok(Outgoing {
            method,
            to: self.address(call.metadata.get("path").unwrap_or_default())?,
            headers: self.headers(&call.metadata, has_body)?,
            body: has_body.then(|| call.data.clone()),
        })
    }

    /// The base URL and a path, with exactly one slash between them. Dot segments are resolved
    /// here; the reference leaves that to the upstream.
    fn address(&self, path: &str) -> Result<Arc<Address>, HttpError> {
        if path.is_empty() {
            return Ok(Arc::clone(&self.base));
        }
        let base = self.base.url().as_str().trim_end_matches('/');
        let path = path.trim_start_matches('/');
        let url = Url::parse(&format!("{base}/{path}"));
        let url = url.map_err(|error| HttpError::Path(error.to_string()))?;
        let address = Address::new(url).map_err(|error| HttpError::Path(error.to_string()))?;
        Ok(Arc::new(address))
    }

    fn headers(&self, metadata: &Metadata, has_body: bool) -> Result<HeaderMap, HttpError> {
        let mut headers = HeaderMap::with_capacity(metadata.len() + 4);
        if has_body && !metadata.contains("Content-Type") {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if !metadata.contains("Accept") {
            headers.insert(ACCEPT, JSON);
        }
        headers.extend(self.token.clone());
        for (key, value) in metadata.iter() {
            if key.starts_with(|first: char| first.is_ascii_uppercase()) {
                let name: HeaderName =
                    key.parse().map_err(|_| HttpError::HeaderName(key.into()))?;
                if !OURS.contains(&name.as_str()) {
                    headers.insert(name, header_value(key, value)?);
                }
            }
        }
        for key in TRACE {
            if let Some(value) = metadata.get(key).filter(|value| !value.is_empty()) {
                let value = header_value(key, value)?;
                if headers
                    .insert(HeaderName::from_static(key), value)
                    .is_some()
                {
                    self.warn_of_overridden_trace();
                }
            }
        }
        Ok(headers)
    }

    /// Once: the same caller would fill the log.
    fn warn_of_overridden_trace(&self) {
        if !self.trace_overridden.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "binding {}: a request brought trace headers of its own; those of the current \
                 trace were sent instead",
                self.component
            );
        }
    }
}

fn header_value(key: &str, value: &str) -> Result<HeaderValue, HttpError> {
    HeaderValue::from_bytes(value.trim().as_bytes())
        .map_err(|_| HttpError::HeaderValue(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use bindery_contract::settings::{Conventions, Properties, decode};
    use proptest::prelude::*;

    use super::*;

    fn target(url: &str) -> Target {
        let properties: Properties = [
            ("url", url),
            ("securityToken", "hunter2"),
            ("securityTokenHeader", "X-Token"),
        ]
        .into_iter()
        .collect();
        let settings = decode::<HttpSettings>(&properties, Conventions::Usual).unwrap();
        Target::new("test", &settings).unwrap()
    }

    /// The headers of a request, but for those that all have.
    fn headers(call: &Invocation) -> Vec<String> {
        let request = target("http://h").request(call).unwrap();
        let own = request.headers.iter();
        let own = own.filter(|(name, _)| !matches!(name.as_str(), "accept" | "x-token"));
        let mut own: Vec<_> = own
            .map(|(k, v)| format!("{k}: {}", v.to_str().unwrap()))
            .collect();
        own.sort();
        own
    }

    #[test]
    fn base_and_path_are_joined_by_one_slash() {
        for (base, path, url) in [
            ("http://h", "", "http://h/"),
            ("http://h/a", "", "http://h/a"),
            ("http://h/a/", "", "http://h/a/"),
            ("http://h", "b", "http://h/b"),
            ("http://h/a//", "//b/", "http://h/a/b/"),
            ("http://h/a", "b?c=d e", "http://h/a/b?c=d%20e"),
            ("http://h/a", "?c=d", "http://h/a/?c=d"),
            ("http://h/a", "http://other/b", "http://h/a/http://other/b"),
            ("http://h/a", "@other/b", "http://h/a/@other/b"),
        ] {
            assert_eq!(
                target(base).address(path).unwrap().url().as_str(),
                url,
                "{base} + {path}"
            );
        }
    }

    #[test]
    fn only_keys_that_begin_with_a_capital_are_headers() {
        let call = Invocation::new("get")
            .with("X-One", " 1 ")
            .with("x-two", "2")
            .with("Ünicode", "3")
            .with("path", "p")
            .with("errorIfNot2XX", "false");
        assert_eq!(headers(&call), ["x-one: 1"]);
    }

    #[test]
    fn headers_that_follow_from_the_request_are_not_a_callers() {
        let call = Invocation::new("get")
            .with("Host", "other")
            .with("Content-Length", "7")
            .with("Transfer-Encoding", "chunked")
            .with("Trailer", "x");
        assert!(headers(&call).is_empty());
    }

    #[test]
    fn a_body_is_json_unless_the_caller_says_otherwise() {
        for operation in ["create", "post", "put", "patch"] {
            let call = Invocation::new(operation);
            assert_eq!(
                headers(&call),
                ["content-type: application/json; charset=utf-8"]
            );
            // The key is looked for by exact case, and names a header in any.
            for key in ["Content-Type", "Content-type"] {
                let call = call.clone().with(key, "text/plain");
                assert_eq!(headers(&call), ["content-type: text/plain"]);
            }
        }
        for operation in ["get", "head", "delete", "options", "trace"] {
            let call = Invocation::new(operation).with_data("x");
            assert!(headers(&call).is_empty(), "{operation}");
            assert_eq!(target("http://h").request(&call).unwrap().body, None);
        }
    }

    #[test]
    fn the_current_trace_wins_over_a_callers() {
        let call = Invocation::new("get")
            .with("Traceparent", "mine")
            .with("Baggage", "mine")
            .with("traceparent", "current")
            .with("tracestate", "current")
            .with("baggage", "");
        let expected = [
            "baggage: mine",
            "traceparent: current",
            "tracestate: current",
        ];
        assert_eq!(headers(&call), expected);
    }

    #[test]
    fn a_caller_may_replace_the_token_and_the_defaults() {
        let call = Invocation::new("get")
            .with("X-Token", "mine")
            .with("Accept", "text/html");
        let headers = target("http://h").request(&call).unwrap().headers;
        assert_eq!(
            (&headers["x-token"], &headers["accept"]),
            (
                &HeaderValue::from_static("mine"),
                &HeaderValue::from_static("text/html"),
            )
        );
        let headers = target("http://h")
            .request(&Invocation::new("get"))
            .unwrap()
            .headers;
        assert_eq!(
            (&headers["x-token"], &headers["accept"]),
            (&HeaderValue::from_static("hunter2"), &JSON,)
        );
    }

    #[test]
    fn what_cannot_be_a_header_is_named_and_its_value_is_not_shown() {
        for (key, value) in [
            ("X Y", "hunter2"),
            ("X-Y", "hunter2\r\nX-Z: 1"),
            ("Ab:", "hunter2"),
        ] {
            let call = Invocation::new("get").with(key, value);
            let error = target("http://h").request(&call).err().unwrap().to_string();
            assert!(error.contains(key) && !error.contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_upstream(path in "[/\\\\@:?#.%a-z0-9 \\n\\[\\]é]{0,30}") {
            let target = target("https://me:pw@h.example:444/base");
            if let Ok(address) = target.address(&path) {
                let url = address.url();
                prop_assert_eq!(url.origin(), target.base.url().origin());
                prop_assert_eq!((url.username(), url.password()), ("me", Some("pw")));
                prop_assert_eq!(address.uri().authority().unwrap().as_str(), "h.example:444");
            }
        }

        #[test]
        fn no_metadata_makes_it_panic(key in "\\PC{0,20}", value in ".{0,20}") {
            let call = Invocation::new("post").with(&key, value.clone()).with(&format!("X{key}"), value);
            let _ = target("http://h").request(&call);
        }
    }
}
