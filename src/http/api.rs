//! The path of a request, from top to bottom.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::{ArcSwap, ArcSwapOption};
use bindery_actors::{Call, CallError, Core, Operator};
use bindery_contract::settings::Secret;
use bindery_contract::{Instant, Reply};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::metadata::{AppConnection, Facts};
use super::path::{Route, decode};
use super::trace::{echo_trace, of_wrong_baggage, trace_of};
use super::{body, reply};
use crate::app::Callee;
use crate::resources::{Access, Inventory, SecretScopes, SecretStores};
use crate::secrets::Secrets;
use crate::sidecar::{Ready, ShutdownRequest};
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Metrics;
use crate::trace::TraceContext;

/// What the API is set up with.
pub struct ApiConfig {
    /// The actors.
    pub core: Arc<Core>,
    /// `--app-id`.
    pub app_id: String,
    /// How the app is reached.
    pub app: AppConnection,
    /// What is listed in the metadata besides the bindings.
    pub inventory: Inventory,
    /// `HotReload`, if it is on.
    pub features: Vec<&'static str>,
    /// Which endpoints there are.
    pub access: Access,
    /// The secret stores.
    pub stores: Arc<SecretStores>,
    /// Which of their secrets callers may see.
    pub scopes: SecretScopes,
    /// The app, for those who call it.
    pub callee: Callee,
    /// A hand on single bindings.
    pub operator: Operator,
    /// `DAPR_API_TOKEN`.
    pub token: Option<Secret>,
    /// `--max-body-size`; `None` is no limit.
    pub max_body: Option<usize>,
    /// How far the start has come.
    pub ready: watch::Receiver<Ready>,
    /// What watches the requests.
    pub(crate) telemetry: Telemetry,
    /// Who ends the sidecar.
    pub shutdown: watch::Sender<Option<ShutdownRequest>>,
}

/// What all requests share.
pub struct Api {
    core: Arc<Core>,
    facts: Facts,
    /// `None` while nothing is configured.
    access: ArcSwapOption<Access>,
    secrets: Secrets,
    callee: Callee,
    pub(super) operator: Operator,
    token: Option<Secret>,
    max_body: Option<usize>,
    ready: watch::Receiver<Ready>,
    telemetry: Telemetry,
    shutdown: watch::Sender<Option<ShutdownRequest>>,
}

impl Api {
    /// From its parts.
    pub fn new(config: ApiConfig) -> Self {
        let api = Self {
            core: config.core,
            facts: Facts {
                app_id: config.app_id,
                app: config.app,
                features: config.features,
                inventory: ArcSwap::from_pointee(config.inventory),
                extended: Mutex::new(BTreeMap::new()),
            },
            access: ArcSwapOption::empty(),
            secrets: Secrets::new(config.stores, config.scopes),
            callee: config.callee,
            operator: config.operator,
            token: config.token,
            max_body: config.max_body,
            ready: config.ready,
            telemetry: config.telemetry,
            shutdown: config.shutdown,
        };
        api.set_access(&config.access);
        api
    }

    /// The actors.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// What the metadata lists besides the bindings, from now on.
    pub fn set_inventory(&self, inventory: Inventory) {
        self.facts.set_inventory(inventory);
    }

    /// Which endpoints there are, from now on.
    pub fn set_access(&self, access: &Access) {
        let restricts = *access != Access::default();
        self.access
            .store(restricts.then(|| Arc::new(access.clone())));
    }

    /// What the secrets API gives out.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The app, for those who call it.
    pub(crate) fn callee(&self) -> &Callee {
        &self.callee
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The route, unless a Configuration has closed it.
    fn open_route<'a>(&self, route: Route<'a>) -> Route<'a> {
        match &*self.access.load() {
            Some(access) if !route.is_open(access) => Route::Unknown,
            _ => route,
        }
    }

    /// Whether a Configuration leaves calls of the app open.
    pub(super) fn lets_invoke(&self) -> bool {
        let access = self.access.load();
        let mut access = access.iter();
        access.all(|access| access.http("invoke", "v1", "v1.0/invoke/*"))
    }

    /// Whether a method of the gRPC API exists: its group and version, if it has any.
    pub(crate) fn has_grpc(
        &self,
        group: impl FnOnce() -> Option<(&'static str, &'static str)>,
    ) -> bool {
        let access = self.access.load();
        access.as_ref().is_none_or(|access| access.grpc(group()))
    }

    /// What watches the requests.
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.telemetry.metrics
    }

    /// What the sidecar knows of itself.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The largest message or body in bytes; `None` is no limit.
    pub(crate) fn max_body(&self) -> Option<usize> {
        self.max_body
    }
}

/// The API as one worker has it. Every request counts who holds it, so each worker has a count of
/// its own.
#[derive(Clone)]
pub(super) struct ApiHere(Rc<OfWorker>);

/// Only there to be counted on its own.
struct OfWorker(Arc<Api>);

impl ApiHere {
    /// To be called on the worker.
    pub(super) fn new(api: &Arc<Api>) -> Self {
        Self(Rc::new(OfWorker(Arc::clone(api))))
    }
}

impl Deref for ApiHere {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.0.0
    }
}

/// A call that is counted when it is over.
struct Counting<'a> {
    api: &'a Api,
    /// `None` where nothing is counted.
    began: Option<Instant>,
}

impl Counting<'_> {
    /// The call is over.
    fn over(self, binding: &str, operation: &str, success: bool) {
        if let Some(began) = self.began {
            let now = self.api.core.clock().now();
            let took = now.saturating_duration_since(began);
            self.api.metrics().output(binding, operation, took, success);
        }
    }
}

fn token_of(request: &HttpRequest) -> &[u8] {
    let token = request.headers().get("dapr-api-token");
    token.map_or(&[], HeaderValue::as_bytes)
}

/// Every request passes here: which endpoint; may the caller; what trace does it carry on; then
/// the endpoint itself; then the headers of every answer.
pub(super) async fn serve(request: &HttpRequest, payload: Payload, api: &ApiHere) -> HttpResponse {
    let route = api.open_route(Route::of(request.method(), request.path()));
    let trace = match trace_of(request, &api.telemetry.traces) {
        Ok(trace) => trace,
        Err(problem) => return of_wrong_baggage(problem, &api.telemetry.traces),
    };
    if !route.needs_no_token() && !api.accepts(|| token_of(request)) {
        return reply::plain(StatusCode::UNAUTHORIZED, "invalid api token\n");
    }
    let traced = !matches!(route, Route::Healthz | Route::HealthzOutbound);
    let mut response = match route {
        Route::Binding(name) => api.invoke(name, payload, &trace).await,
        Route::Healthz => api.health(request.query_string()),
        Route::HealthzOutbound => api.outbound_health(),
        // In a box, or every call of a binding would carry their size around.
        route => Box::pin(api.answer(route, request, payload, &trace)).await,
    };
    if traced {
        echo_trace(trace, response.headers_mut());
    }
    response
}

impl Api {
    /// The endpoints that are called now and then.
    async fn answer(
        &self,
        route: Route<'_>,
        request: &HttpRequest,
        payload: Payload,
        trace: &TraceContext,
    ) -> HttpResponse {
        match route {
            Route::Metadata => self.metadata(),
            Route::SetMetadata(key) => self.set_metadata(key, payload).await,
            Route::Shutdown => self.shut_down(request),
            Route::Secret(store, key) => self.secret(store, key, request.query_string()).await,
            Route::Secrets(store) => self.all_secrets(store, request.query_string()).await,
            Route::Status(name) => self.binding_status(name, request),
            Route::Operate(name, operation) => self.operate(name, operation, request).await,
            _ => self.invoke_app(request, payload, trace).await,
        }
    }

    /// `POST|PUT /v1.0/bindings/{name}` (runtime §1.1).
    async fn invoke(&self, name: &str, payload: Payload, trace: &TraceContext) -> HttpResponse {
        let binding = match decode("name", name) {
            Ok(binding) => binding,
            Err(problem) => return reply::plain(StatusCode::BAD_REQUEST, problem),
        };
        let parsed = match body::read(payload, self.max_body).await {
            Ok(body) => body::parse(binding, &body),
            Err(error) => Err(error),
        };
        let mut call = match parsed {
            Ok(call) => call,
            Err(error) => {
                let message = format!("failed deserializing HTTP body: {error}");
                return reply::error(StatusCode::BAD_REQUEST, "ERR_MALFORMED_REQUEST", &message);
            }
        };
        trace.inject(&mut call.metadata);
        let counting = self.counts();
        let outcome = self.core.invoke_here(&call).await;
        counting.over(&call.binding, &call.operation, outcome.is_ok());
        match outcome {
            Ok(answer) => reply::of_binding(answer),
            Err(error) => reply::of_failed_call(&call.binding, &error),
        }
    }

    /// Calls an output for somebody outside, from any thread, and counts it; calls of our own are
    /// not counted.
    pub(crate) async fn call(&self, binding: &str, call: Call) -> Result<Option<Reply>, CallError> {
        let operation = call.operation.clone();
        let counting = self.counts();
        let outcome = self.core.invoke(call).await;
        counting.over(binding, &operation, outcome.is_ok());
        outcome
    }

    /// A call begins that will be counted.
    fn counts(&self) -> Counting<'_> {
        let began = self.metrics().is_on().then(|| self.core.clock().now());
        Counting { api: self, began }
    }

    /// Whether a caller with this token may call. Nobody looks for it where none is asked for.
    pub(crate) fn accepts<'a>(&self, given: impl FnOnce() -> &'a [u8]) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        token.expose().as_bytes().ct_eq(given()).into()
    }

    /// Tells whoever ends the sidecar to do so; `force` is the caller's `dapr-force-shutdown`.
    pub(crate) fn request_shutdown(&self, force: Option<&[u8]>) {
        let force = force.is_some_and(|value| value.eq_ignore_ascii_case(b"true"));
        self.shutdown.send_replace(Some(ShutdownRequest { force }));
    }

    /// `GET /v1.0/healthz` (runtime §6.1).
    pub(super) fn health(&self, query: &str) -> HttpResponse {
        let not_ready = self.ready.borrow().missing();
        if !not_ready.is_empty() {
            let message = format!("dapr is not ready: [{}]", not_ready.join(" "));
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return reply::error(status, "ERR_HEALTH_NOT_READY", &message);
        }
        let asked = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("appid="));
        let is_another = asked.is_some_and(|asked| {
            decode("appid", asked).is_ok_and(|asked| asked != self.facts.app_id)
        });
        if is_another {
            return reply::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "ERR_HEALTH_APPID_NOT_MATCH",
                "dapr app-id does not match",
            );
        }
        HttpResponse::NoContent().finish()
    }

    /// `GET /v1.0/healthz/outbound` (runtime §6.1).
    pub(super) fn outbound_health(&self) -> HttpResponse {
        if self.ready.borrow().outbound {
            return HttpResponse::NoContent().finish();
        }
        reply::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "ERR_OUTBOUND_HEALTH_NOT_READY",
            "dapr outbound is not ready",
        )
    }

    /// `GET /v1.0/metadata`.
    pub(super) fn metadata(&self) -> HttpResponse {
        reply::json(self.facts.document(&self.core))
    }

    /// `PUT /v1.0/metadata/{key}`: the raw body is the value.
    pub(super) async fn set_metadata(&self, key: &str, payload: Payload) -> HttpResponse {
        let key = match decode("key", key) {
            Ok(key) => key,
            Err(problem) => return reply::plain(StatusCode::BAD_REQUEST, problem),
        };
        match body::read(payload, self.max_body).await {
            Ok(body) => {
                let value = String::from_utf8_lossy(&body).into_owned();
                self.facts.extend(key, value);
                HttpResponse::NoContent().finish()
            }
            Err(error) => {
                let message = format!("failed to read request body: {error}");
                reply::error(StatusCode::BAD_REQUEST, "ERR_BODY_READ", &message)
            }
        }
    }

    /// `POST /v1.0/shutdown`: answered at once, done afterwards.
    fn shut_down(&self, request: &HttpRequest) -> HttpResponse {
        let force = request.headers().get("dapr-force-shutdown");
        self.request_shutdown(force.map(HeaderValue::as_bytes));
        HttpResponse::NoContent().finish()
    }
}
