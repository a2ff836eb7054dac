//! Pages of other origins, where `--allowed-origins` lets them call (runtime §6.1). Without the
//! flag nothing here is in the path of a request.

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN,
    VARY,
};
use actix_web::{HttpRequest, HttpResponse};

use super::api::{self, ApiHere};
use super::observed::{Port, observing};

/// What pages may use, once their origin is allowed; every header is.
const METHODS: [Method; 6] = [
    Method::HEAD,
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];
const ANY: HeaderValue = HeaderValue::from_static("*");

/// The origins that may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Nothing means all of them.
    origins: Option<Vec<Pattern>>,
}

/// What stands before and after the `*`; without one, all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    start: String,
    end: Option<String>,
}

impl Cors {
    /// From a list of origins, separated by commas, each with at most one `*` for anything;
    /// nothing from an empty list.
    pub fn of(list: &str) -> Option<Self> {
        let names = list.split(',').map(|name| name.trim().to_ascii_lowercase());
        let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return None;
        }
        let patterns = names.iter().map(|name| match name.split_once('*') {
            Some((start, end)) => Pattern {
                start: start.to_owned(),
                end: Some(end.to_owned()),
            },
            None => Pattern {
                start: name.clone(),
                end: None,
            },
        });
        let is_any = names.iter().any(|name| name == "*");
        Some(Self {
            origins: (!is_any).then(|| patterns.collect()),
        })
    }

    /// What the answer names as allowed, if this origin is.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let Some(patterns) = &self.origins else {
            return Some(ANY);
        };
        let name = origin.to_str().ok()?.to_ascii_lowercase();
        let matches = |pattern: &Pattern| match &pattern.end {
            None => name == pattern.start,
            Some(end) => name
                .strip_prefix(&*pattern.start)
                .is_some_and(|rest| rest.ends_with(&**end)),
        };
        patterns.iter().any(matches).then(|| origin.clone())
    }

    /// The answer to a browser that asks first; without the origin's name in it, it may not.
    fn preflight(&self, headers: &HeaderMap) -> Option<HttpResponse> {
        let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut answer = HttpResponse::Ok().finish();
        let given = answer.headers_mut();
        for name in [
            "Origin",
            "Access-Control-Request-Method",
            "Access-Control-Request-Headers",
        ] {
            given.append(VARY, HeaderValue::from_static(name));
        }
        let allowed = headers.get(ORIGIN).and_then(|origin| self.allowed(origin));
        let is_method = |known: &Method| {
            let known = known.as_str().as_bytes();
            known.eq_ignore_ascii_case(method.as_bytes())
        };
        let may = METHODS.iter().chain([&Method::OPTIONS]).any(is_method);
        if let Some(allowed) = allowed.filter(|_| may) {
            given.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            given.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
            if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                given.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
        }
        Some(answer)
    }

    async fn serve(&self, request: &HttpRequest, payload: Payload, api: &ApiHere) -> HttpResponse {
        if request.method() == Method::OPTIONS
            && let Some(answer) = self.preflight(request.headers())
        {
            return answer;
        }
        let origin = request.headers().get(ORIGIN).cloned();
        let may = METHODS.contains(request.method());
        let mut answer = api::serve(request, payload, api).await;
        let given = answer.headers_mut();
        given.append(VARY, HeaderValue::from_static("Origin"));
        let allowed = origin.filter(|_| may).and_then(|name| self.allowed(&name));
        if let Some(allowed) = allowed {
            given.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        }
        answer
    }
}

/// A request where origins count: a browser that asks first is answered before the token is
/// looked at, everything else goes its way.
pub(super) async fn serve(
    request: &HttpRequest,
    payload: Payload,
    api: &ApiHere,
    cors: &Cors,
) -> HttpResponse {
    let answer = async |request: &_, payload, api: &_| cors.serve(request, payload, api).await;
    observing(Port::Api, request, payload, api, answer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, origin: &'static str) -> Option<String> {
        let cors = Cors::of(list).expect("it is no empty list");
        let allowed = cors.allowed(&HeaderValue::from_static(origin));
        allowed.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_origin_is_named_or_matched() {
        assert_eq!(Cors::of(""), None);
        assert_eq!(Cors::of(" , "), None);
        for (list, origin, allowed) in [
            ("*", "http://a.example", Some("*")),
            ("http://a.example, *", "null", Some("*")),
            (
                "http://a.example",
                "http://a.example",
                Some("http://a.example"),
            ),
            (
                "http://A.example",
                "HTTP://a.EXAMPLE",
                Some("HTTP://a.EXAMPLE"),
            ),
            ("http://a.example", "https://a.example", None),
            ("http://a.example", "http://a.example.evil", None),
            (
                "http://b,http://*.a.example",
                "http://x.a.example",
                Some("http://x.a.example"),
            ),
            ("http://*.a.example", "http://a.example", None),
            ("https://*", "https://x:8443", Some("https://x:8443")),
            ("http://ab*ba", "http://aba", None),
        ] {
            assert_eq!(allows(list, origin).as_deref(), allowed, "{list}: {origin}");
        }
    }
}
