//! What telemetry sees of a call: everything from the outside, around the path of the call
//! itself, which is in `door.rs`.

use std::sync::{Arc, OnceLock};

use http::header::USER_AGENT;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use opentelemetry::KeyValue;
use tonic::body::Body;
use tonic::{Code, Status};

use super::door::{Door, Trace};
use super::status::code_name;
use crate::telemetry::traces::{Span, headers};

/// The binding that a call names: known when its message is read, and told by its span.
#[derive(Clone, Default)]
pub(super) struct Named(Arc<OnceLock<String>>);

impl Named {
    /// Says it.
    pub(super) fn set(&self, binding: &str) {
        // There is one message.
        let _ = self.0.set(binding.to_owned());
    }
}

impl Door {
    /// Every call passes here first.
    pub(super) async fn observed(&self, mut request: Request<Incoming>) -> Response<Body> {
        let telemetry = self.api().telemetry();
        if !telemetry.watches_requests() {
            return self.serve(request).await;
        }
        let clock = self.api().core().clock();
        let uri = request.uri().clone();
        let told = self.begin_span(&mut request);
        let agent = request.headers().get(USER_AGENT).cloned();
        let began = clock.now();
        let response = self.serve(request).await;
        let took = clock.now().saturating_duration_since(began);
        // Tonic leaves it there, wherever in the answer it is written.
        let failed = response.extensions().get::<Status>();
        let code = failed.map_or(Code::Ok, Status::code);
        let method = uri.path();
        telemetry.metrics.grpc_server(method, code_name(code), took);
        if let Some(told) = told {
            told.end(&uri, failed.map(|status| status.message().to_owned()));
        }
        if code != Code::Unauthenticated {
            let agent = agent.as_ref().and_then(|agent| agent.to_str().ok());
            let agent = agent.unwrap_or_default();
            telemetry.api_log.grpc(method, code.into(), took, agent);
        }
        response
    }

    fn begin_span(&self, request: &mut Request<Incoming>) -> Option<Told> {
        let traces = &self.api().telemetry().traces;
        if !traces.are_active() {
            return None;
        }
        let (trace, span) = Trace::of_span(request.headers(), traces, request.uri().path())?;
        let all = request.headers().iter();
        let all = all.map(|(name, value)| (name.as_str(), value.to_str().ok()));
        let told = span.map(|span| Told {
            span,
            binding: Named::default(),
            headers: headers(all).collect(),
        });
        let extensions = request.extensions_mut();
        extensions.insert(trace);
        if let Some(told) = &told {
            extensions.insert(told.binding.clone());
        }
        told
    }
}

/// A call whose span is told of.
struct Told {
    span: Span,
    binding: Named,
    headers: Vec<KeyValue>,
}

impl Told {
    /// What it says of the call (runtime §6.7).
    fn end(self, uri: &Uri, error: Option<String>) {
        let method = uri.path().to_owned();
        let mut attributes = self.headers;
        attributes.extend([
            KeyValue::new("rpc.service", "Dapr"),
            KeyValue::new("dapr.api", method.clone()),
            KeyValue::new("dapr.protocol", "grpc"),
        ]);
        if let Some(binding) = self.binding.0.get() {
            attributes.extend([
                KeyValue::new("db.name", binding.clone()),
                KeyValue::new("db.system", "bindings"),
                KeyValue::new("db.statement", method),
                KeyValue::new("db.connection_string", "bindings"),
            ]);
        }
        self.span.end(attributes, error);
    }
}
