//! Hands on single bindings: `/v1.0-alpha1/bindings/…`. An addition of ours.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1.0-alpha1/bindings` | 200, how all bindings are |
//! | `GET /v1.0-alpha1/bindings/{name}` | 200, how one is |
//! | `POST /v1.0-alpha1/bindings/{name}/pause` | 204; 409 `ERR_BINDING_STATE` if it is paused already |
//! | `POST /v1.0-alpha1/bindings/{name}/resume` | 204; 409 `ERR_BINDING_STATE` if it is not paused |
//! | `POST /v1.0-alpha1/bindings/{name}/restart` | 204; 409 `ERR_BINDING_STATE` if it is paused |
//!
//! `?side=input` or `?side=output` means one side of a binding that has both. A name that no
//! binding has, or a side that it has not, is 404 `ERR_BINDING_NOT_FOUND`; another side is 400
//! `ERR_MALFORMED_REQUEST`; a sidecar that stops answers 503 `ERR_SHUTTING_DOWN`. All errors are
//! `{"errorCode":…,"message":…}`.
//!
//! The routes need the API token where there is one. A browser must not be tricked into using
//! them by a page of somebody else, so 403 `ERR_FORBIDDEN` answers a request whose `Origin` is not
//! the sidecar itself, and, without a token, one whose `Host` is a name that DNS could have made
//! up: an address, `localhost` and names below it are taken. They are never served on the public
//! port, and `spec.api` of a Configuration calls them `bindings-control`, version `v1alpha1`.

use actix_web::http::header::{HOST, HeaderMap, ORIGIN};
use actix_web::http::{StatusCode, Uri};
use actix_web::{HttpRequest, HttpResponse};
use bindery_actors::{Operation, OperationError};
use bindery_contract::Role;

use super::api::Api;
use super::path::decode;
use super::{metadata, reply};

impl Api {
    /// How bindings are: one, or all of them.
    pub(super) fn binding_status(&self, name: Option<&str>, request: &HttpRequest) -> HttpResponse {
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let document = match name.map(|name| decode("name", name)) {
            None => metadata::bindings(self.core()),
            Some(Err(problem)) => return reply::plain(StatusCode::BAD_REQUEST, problem),
            Some(Ok(name)) => match metadata::binding(self.core(), &name) {
                Some(document) => document,
                None => return not_found(&OperationError::NotFound(name)),
            },
        };
        reply::json(document)
    }

    /// Pauses, resumes or restarts a binding.
    pub(super) async fn operate(
        &self,
        name: &str,
        operation: Operation,
        request: &HttpRequest,
    ) -> HttpResponse {
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let name = match decode("name", name) {
            Ok(name) => name,
            Err(problem) => return reply::plain(StatusCode::BAD_REQUEST, problem),
        };
        let role = match side(request.query_string()) {
            Ok(role) => role,
            Err(problem) => {
                return reply::error(StatusCode::BAD_REQUEST, "ERR_MALFORMED_REQUEST", problem);
            }
        };
        match self.operator.operate(&name, role, operation).await {
            Ok(()) => HttpResponse::NoContent().finish(),
            Err(error @ OperationError::NotFound(_)) => not_found(&error),
            Err(error @ OperationError::Conflict { .. }) => reply::error(
                StatusCode::CONFLICT,
                "ERR_BINDING_STATE",
                &error.to_string(),
            ),
            Err(error @ OperationError::Closed) => reply::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "ERR_SHUTTING_DOWN",
                &error.to_string(),
            ),
        }
    }

    /// The answer to what a page of somebody else may have sent.
    fn refusal(&self, request: &HttpRequest) -> Option<HttpResponse> {
        let checked = check_origin(request.headers(), request.uri(), self.has_token());
        let problem = checked.err()?;
        Some(reply::error(
            StatusCode::FORBIDDEN,
            "ERR_FORBIDDEN",
            problem,
        ))
    }
}

fn not_found(error: &OperationError) -> HttpResponse {
    let status = StatusCode::NOT_FOUND;
    reply::error(status, "ERR_BINDING_NOT_FOUND", &error.to_string())
}

/// `side=…` of a query; nothing means both.
fn side(query: &str) -> Result<Option<Role>, &'static str> {
    let mut pairs = query.split('&');
    match pairs.find_map(|pair| pair.strip_prefix("side=")) {
        None => Ok(None),
        Some("input") => Ok(Some(Role::Input)),
        Some("output") => Ok(Some(Role::Output)),
        Some(_) => Err("side is input or output"),
    }
}

fn check_origin(headers: &HeaderMap, uri: &Uri, has_token: bool) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // HTTP/2 has the authority in the place of the header.
    let host = text(HOST)
        .or_else(|| uri.authority().map(actix_web::http::uri::Authority::as_str))
        .unwrap_or_default();
    if !has_token && !is_local(host) {
        return Err(
            "this Host is not taken: call the sidecar by its address or as localhost, or \
                    protect it with an API token",
        );
    }
    let is_ours = |origin: &str| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    let is_cross_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site.as_bytes() == b"cross-site");
    if is_cross_site || text(ORIGIN).is_some_and(|origin| !is_ours(origin)) {
        return Err("pages of other origins may not do this");
    }
    Ok(())
}

/// Whether a `Host` cannot have been made up by somebody's name server.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.to_ascii_lowercase();
    name.parse::<std::net::IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn check(pairs: &[(&str, &str)], has_token: bool) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::try_from(*name).unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        check_origin(&headers, &Uri::default(), has_token)
    }

    #[test]
    fn a_tool_on_this_machine_may() {
        for host in [
            "127.0.0.1:3500",
            "localhost:3500",
            "LOCALHOST",
            "[::1]:3500",
            "10.0.0.7:3500",
            "app.localhost:3500",
        ] {
            assert_eq!(check(&[("host", host)], false), Ok(()), "{host}");
        }
        let own = [
            ("host", "localhost:3500"),
            ("origin", "http://localhost:3500"),
        ];
        assert_eq!(check(&own, false), Ok(()));
    }

    #[test]
    fn a_name_that_may_be_rebound_needs_a_token() {
        for host in [
            "evil.example:3500",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil",
        ] {
            assert!(check(&[("host", host)], false).is_err(), "{host}");
            assert_eq!(check(&[("host", host)], true), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_may_not() {
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:8080"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let pairs = [("host", "localhost:3500"), foreign];
            assert!(check(&pairs, false).is_err(), "{foreign:?}");
            assert!(check(&pairs, true).is_err(), "{foreign:?}");
        }
    }

    #[test]
    fn a_side_is_one_of_two() {
        assert_eq!(side(""), Ok(None));
        assert_eq!(side("x=y&side=input"), Ok(Some(Role::Input)));
        assert!(side("side=both").is_err());
        assert!(side("side=").is_err());
    }
}
