//! What telemetry sees of a request: everything from the outside, around the path of the request
//! itself, which is in `api.rs`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, HeaderName, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse};
use bindery_contract::Instant;
use bytes::Bytes;
use opentelemetry::KeyValue;

use super::api::{ApiHere, serve};
use super::path::Route;
use super::reply::ErrorCode;
use super::trace::begin_span;
use crate::telemetry::Called;
use crate::telemetry::metrics::HttpExchange;
use crate::telemetry::traces::{Span, headers};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Where the app calls.
    Api,
    /// Where anybody may ask: that is no call of the API, and neither traced nor a line of its log
    /// (runtime §6.1).
    Public,
}

/// Every request of the API passes here first.
pub(super) async fn observed(
    request: &HttpRequest,
    payload: Payload,
    api: &ApiHere,
) -> HttpResponse {
    observing(Port::Api, request, payload, api, serve).await
}

/// A request that is answered by `answer`.
pub(super) async fn observing(
    port: Port,
    request: &HttpRequest,
    payload: Payload,
    api: &ApiHere,
    answer: impl AsyncFnOnce(&HttpRequest, Payload, &ApiHere) -> HttpResponse,
) -> HttpResponse {
    let seen = Seen::begin(port, request, api);
    let response = answer(request, payload, api).await;
    match seen {
        Some(seen) => seen.answered(response),
        None => response,
    }
}

/// A request that is observed.
struct Seen {
    api: ApiHere,
    request: HttpRequest,
    port: Port,
    span: Option<Span>,
    began: Instant,
    status: StatusCode,
    sent: u64,
}

impl Seen {
    /// Nothing where nobody wants to know.
    fn begin(port: Port, request: &HttpRequest, api: &ApiHere) -> Option<Self> {
        let telemetry = api.telemetry();
        if !telemetry.watches_requests() {
            return None;
        }
        let traces = &telemetry.traces;
        let is_traced =
            port == Port::Api && traces.are_active() && !request.path().contains("/healthz");
        Some(Self {
            span: is_traced.then(|| begin_span(request, traces)).flatten(),
            began: api.core().clock().now(),
            port,
            request: request.clone(),
            api: api.clone(),
            status: StatusCode::OK,
            sent: 0,
        })
    }

    /// The answer is there; one that streams is over when its body is.
    fn answered(mut self, response: HttpResponse) -> HttpResponse {
        self.status = response.status();
        if let Some(ErrorCode(code)) = response.extensions().get() {
            self.api.metrics().error_code(code);
        }
        match response.body().size() {
            BodySize::Stream => {
                let observe = |_: &mut _, body| BoxBody::new(Streaming { body, seen: self });
                return response.map_body(observe);
            }
            BodySize::Sized(length) => self.sent = length,
            BodySize::None => {}
        }
        self.over();
        response
    }

    fn over(&mut self) {
        let now = self.api.core().clock().now();
        let took = now.saturating_duration_since(self.began);
        let received = self.header(&CONTENT_LENGTH).parse().unwrap_or(0);
        self.api.metrics().http_server(&HttpExchange {
            method: self.request.method().as_str(),
            path: self.request.path(),
            status: self.status.as_str(),
            took,
            received,
            sent: self.sent,
        });
        if let Some(span) = self.span.take() {
            let error = (self.status.as_u16() >= 400).then(|| {
                let text = self.status.canonical_reason().unwrap_or_default();
                format!("Code({}): {text}", self.status.as_u16())
            });
            span.end(self.attributes(), error);
        }
        self.log(took);
    }

    /// A line of the log; a caller without the token has called nothing.
    fn log(&self, took: Duration) {
        let log = self.api.telemetry().api_log;
        if self.port == Port::Public || !log.is_on() || self.status == StatusCode::UNAUTHORIZED {
            return;
        }
        let (method, path) = (self.request.method(), self.request.path());
        let route = Route::of(method, path);
        log.http(&Called {
            endpoint: route.endpoint(),
            request: &format_args!("{method} {path}"),
            is_health_check: route.needs_no_token(),
            took,
            code: self.status.as_u16(),
            size: self.sent,
            user_agent: self.header(&USER_AGENT),
        });
    }

    fn header(&self, name: &HeaderName) -> &str {
        let value = self.request.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// What a span says of the request (runtime §6.7).
    fn attributes(&self) -> Vec<KeyValue> {
        let (method, path) = (self.request.method().as_str(), self.request.path());
        let api = format!("{method} {path}");
        let mut attributes = vec![
            KeyValue::new("dapr.api", api.clone()),
            KeyValue::new("dapr.protocol", "http"),
            KeyValue::new("dapr.status_code", self.status.as_str().to_owned()),
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("url.full", self.request.full_url().to_string()),
        ];
        if let Route::Binding(name) = Route::of(self.request.method(), path) {
            attributes.extend([
                KeyValue::new("db.system", "bindings"),
                KeyValue::new("db.connection_string", "bindings"),
                KeyValue::new("db.name", name.to_owned()),
                KeyValue::new("db.statement", api),
            ]);
        }
        if let Some(caller) = self.request.peer_addr() {
            attributes.extend([
                KeyValue::new("server.address", caller.ip().to_string()),
                KeyValue::new("server.port", caller.port().to_string()),
            ]);
        }
        let all = self.request.headers().iter();
        let all = all.map(|(name, value)| (name.as_str(), value.to_str().ok()));
        attributes.extend(headers(all));
        attributes
    }
}

/// The body of an answer whose length nobody knows before its end.
struct Streaming {
    body: BoxBody,
    seen: Seen,
}

impl MessageBody for Streaming {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = std::task::ready!(Pin::new(&mut self.body).poll_next(cx));
        if let Some(Ok(chunk)) = &next {
            self.seen.sent += chunk.len() as u64;
        }
        Poll::Ready(next)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.seen.over();
    }
}
