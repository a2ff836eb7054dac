//! The path of a request, from top to bottom.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
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
use crate::trace::{TraceContext, from_binary, joined_baggage, to_binary};

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

    /// Every request passes here: may the caller; what trace does it carry on; then its service;
    /// then what all answers have in common.
    pub(super) async fn serve(&self, mut request: Request<Incoming>) -> Response<Body> {
        let token = request.headers().get("dapr-api-token");
        if !self.api.accepts(token.map_or(&[], HeaderValue::as_bytes)) {
            return status::of_missing_token(token.is_some()).into_http();
        }
        let trace = match Trace::of(request.headers()) {
            Ok(trace) => trace,
            Err(problem) => return Status::invalid_argument(problem).into_http(),
        };
        let path = request.uri().path();
        if !self.api.is_open_over_grpc(|| group_of(path)) {
            return status::of_closed_method().into_http();
        }
        let Some(route) = self.route(path) else {
            return status::of_unknown_method(self.elsewhere).into_http();
        };
        let echo = trace.to_header();
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

impl Trace {
    /// From the headers: `traceparent`, else `grpc-trace-bin`, else a fresh one.
    fn of(headers: &HeaderMap) -> Result<Self, String> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let binary = headers.get(TRACE_BIN).and_then(|value| {
            let value = value.as_bytes();
            let binary = STANDARD_NO_PAD
                .decode(value)
                .or_else(|_| STANDARD.decode(value));
            from_binary(&binary.ok()?)
        });
        let named = text("traceparent").filter(|parent| crate::trace::is_trace_parent(parent));
        let baggage = headers.get_all("baggage").iter();
        let baggage = joined_baggage(baggage.map(HeaderValue::as_bytes))?;
        Ok(Self {
            context: TraceContext::new(named.or(binary.as_deref()), text("tracestate"), baggage),
            named: named.is_some(),
        })
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
