//! The path of a request, from top to bottom.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bindery_contract::Metadata;
use futures_util::future::BoxFuture;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower_service::Service;

use super::proto::DESCRIPTORS;
use super::proto::runtime::v1::dapr_server::DaprServer;
use super::{api, status};
use crate::http::Api;
use crate::telemetry::traces::{Place, Span, Traces};
use crate::trace::{TraceContext, from_base64, is_trace_parent, joined_baggage, to_binary};

const TRACE_BIN: HeaderName = HeaderName::from_static("grpc-trace-bin");

/// How tonic begins when a message is over the limit.
const TOO_LARGE: &str = "Error, decoded message length too large";

type Route = Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// The services of one port.
pub(crate) struct Door {
    api: Arc<Api>,
    /// By their full names.
    services: Vec<(&'static str, Route)>,
    /// What callers of everything else are told.
    elsewhere: &'static str,
}

impl Door {
    /// The port of the app: the sidecar's API, health and reflection.
    pub(crate) fn of_the_app(api: Arc<Api>) -> Self {
        let dapr = DaprServer::new(api::Dapr::new(Arc::clone(&api)))
            .max_decoding_message_size(api.max_body().unwrap_or(usize::MAX))
            // A reply is measured before it becomes a message.
            .max_encoding_message_size(usize::MAX);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .with_service_name(DaprServer::<api::Dapr>::NAME)
        };
        let mut door = Self {
            elsewhere: status::NO_BINDINGS,
            ..Self::of_other_sidecars(api)
        };
        door.add(dapr);
        door.add(reflection().build_v1().expect("the files are ours"));
        door.add(reflection().build_v1alpha().expect("the files are ours"));
        door
    }

    /// The port of other sidecars: it says that it is there.
    pub(crate) fn of_other_sidecars(api: Arc<Api>) -> Self {
        let mut door = Self {
            api,
            services: Vec::new(),
            elsewhere: status::NO_OTHER_SIDECARS,
        };
        let (_, health) = tonic_health::server::health_reporter();
        door.add(health);
        door
    }

    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    fn add<S>(&mut self, service: S)
    where
        S: NamedService + Clone + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
        S::Future: Send,
    {
        let route = move |request| -> BoxFuture<'static, _> {
            let mut service = service.clone();
            Box::pin(async move {
                let Ok(response) = service.call(request).await;
                response
            })
        };
        self.services.push((S::NAME, Box::new(route)));
    }

    /// Whether a Configuration has closed a method: those of the sidecar's own API only
    /// (runtime §6.5).
    fn is_closed(&self, path: &str) -> bool {
        let group = || group_of(path).map(|group| (group, "v1"));
        path.starts_with("/dapr.proto.runtime.") && !self.api.has_grpc(group)
    }

    /// Every request passes here: is there such a method; may the caller; what trace does it
    /// carry on; then its service; then what all answers have in common.
    pub(super) async fn serve(&self, mut request: Request<Incoming>) -> Response<Body> {
        if self.is_closed(request.uri().path()) {
            return status::of_closed_method().into_http();
        }
        let token = || request.headers().get("dapr-api-token");
        let given = || token().map_or(&[][..], HeaderValue::as_bytes);
        if !self.api.accepts(given) {
            return status::of_missing_token(token().is_some()).into_http();
        }
        let trace = match request.extensions_mut().remove::<Trace>() {
            // That of its span.
            Some(trace) => trace,
            None => match Trace::of(request.headers()) {
                Ok(trace) => trace,
                Err(problem) => return Status::invalid_argument(problem).into_http(),
            },
        };
        let path = request.uri().path();
        let Some(route) = self.route(path) else {
            return status::of_unknown_method(self.elsewhere).into_http();
        };
        let echo = trace
            .to_header()
            .filter(|_| !self.api.telemetry().traces.are_off());
        request.extensions_mut().insert(trace);
        let mut response = self.in_the_references_words(route(request).await);
        if let Some(echo) = echo {
            response.headers_mut().insert(TRACE_BIN, echo);
        }
        response
    }

    fn route(&self, path: &str) -> Option<&Route> {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        let mut services = self.services.iter();
        services
            .find(|(name, _)| *name == service)
            .map(|(_, route)| route)
    }

    /// What tonic answers on its own, as clients of the reference know it.
    fn in_the_references_words(&self, response: Response<Body>) -> Response<Body> {
        match Status::from_header_map(response.headers()) {
            // The app may answer with the same codes; what it says is passed on.
            Some(said) if said.code() == Code::Unimplemented && said.message().is_empty() => {
                status::of_unknown_method(self.elsewhere).into_http()
            }
            Some(said)
                if said.code() == Code::OutOfRange && said.message().starts_with(TOO_LARGE) =>
            {
                status::of_large_message(self.api.max_body()).into_http()
            }
            Some(_) => with_trailers(response),
            None => response,
        }
    }
}

/// The name by which `spec.api` of a Configuration means a method of the sidecar's, version `v1`
/// of it; a method of another building block has none that is here.
fn group_of(path: &str) -> Option<&'static str> {
    let method = path.strip_prefix("/dapr.proto.runtime.v1.Dapr/")?;
    Some(match method {
        "InvokeBinding" => "bindings",
        "GetSecret" | "GetBulkSecret" => "secrets",
        "GetMetadata" | "SetMetadata" => "metadata",
        "InvokeService" => "invoke",
        "Shutdown" => "shutdown",
        _ => return None,
    })
}

/// Moves a failure from the only header block to a trailer, so that the metadata which comes with
/// it reaches clients as what it is: headers.
fn with_trailers(response: Response<Body>) -> Response<Body> {
    let (mut parts, _) = response.into_parts();
    let names = [
        Status::GRPC_STATUS,
        Status::GRPC_MESSAGE,
        Status::GRPC_STATUS_DETAILS,
    ];
    let trailers: HeaderMap = names
        .into_iter()
        .filter_map(|name| parts.headers.remove(&name).map(|value| (name, value)))
        .collect();
    let body = http_body_util::Empty::new().with_trailers(async { Some(Ok(trailers)) });
    Response::from_parts(parts, Body::new(body))
}

/// The trace of a request, and whether its caller has named it in so many words.
#[derive(Clone)]
pub(super) struct Trace {
    pub(super) context: TraceContext,
    named: bool,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The parents that a caller names: `traceparent` and `grpc-trace-bin`.
fn parents(headers: &HeaderMap) -> (Option<&str>, Option<String>) {
    let named = text(headers, "traceparent").filter(|parent| is_trace_parent(parent));
    let binary = headers.get(TRACE_BIN);
    (
        named,
        binary.and_then(|value| from_base64(value.as_bytes())),
    )
}

fn baggage(headers: &HeaderMap) -> Result<Option<String>, String> {
    let baggage = headers.get_all("baggage").iter();
    joined_baggage(baggage.map(HeaderValue::as_bytes))
}

impl Trace {
    /// From the headers: `traceparent`, else `grpc-trace-bin`, else a fresh one.
    fn of(headers: &HeaderMap) -> Result<Self, String> {
        let (named, binary) = parents(headers);
        Ok(Self {
            context: TraceContext::new(
                named.or(binary.as_deref()),
                text(headers, "tracestate"),
                baggage(headers)?,
            ),
            named: named.is_some(),
        })
    }

    /// Begins a span below what the headers say; without one, this is no trace of its own.
    /// Baggage that is none ends the call anyway.
    pub(super) fn of_span(
        headers: &HeaderMap,
        traces: &Traces,
        method: &str,
    ) -> Option<(Self, Option<Span>)> {
        let baggage = baggage(headers).ok()?;
        let (named, binary) = parents(headers);
        // The other way round than without spans, as in the reference (runtime §6.7).
        let parent = binary.as_deref().or(named);
        let state = parent.and_then(|_| text(headers, "tracestate"));
        let name = || method.to_owned().into();
        let Place { traceparent, span } = traces.begin(parent, state, name);
        let trace = Self {
            context: TraceContext::of_span(traceparent, state, baggage),
            named: named.is_some(),
        };
        Some((trace, span))
    }

    /// Puts it into a call's metadata. What the call itself has there is only overwritten by
    /// a `traceparent` of the request (runtime §1.2).
    pub(super) fn inject(&self, metadata: &mut Metadata) {
        if self.named || !metadata.contains("traceparent") {
            self.context.inject(metadata);
        } else {
            self.context.inject_baggage(metadata);
        }
    }

    fn to_header(&self) -> Option<HeaderValue> {
        let binary = to_binary(&self.context.parent)?;
        HeaderValue::try_from(STANDARD_NO_PAD.encode(binary)).ok()
    }
}
