//! The app over gRPC (runtime §2.2, §2.5).

use std::error::Error;
use std::sync::Arc;

use bindery_actors::app::{Answer, App, AppConnection, InputName, LocalBoxFuture, Refusal};
use bindery_contract::{BoxFuture, Cause, Chain, Event, Instant};
use prost::Message;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::answer;
use super::dial::Dial;
use super::remote::RemoteConfig;
use crate::grpc::code_name;
use crate::grpc::proto::common::v1::InvokeRequest;
use crate::grpc::proto::runtime::v1::BindingEventRequest;
use crate::grpc::proto::runtime::v1::app_callback_client::AppCallbackClient;
use crate::grpc::proto::runtime::v1::app_callback_health_check_client::AppCallbackHealthCheckClient;
use crate::telemetry::metrics::GrpcCall;
use crate::trace::{self, TraceContext};

/// The app over gRPC.
#[derive(Clone)]
pub struct GrpcApp {
    config: Arc<RemoteConfig>,
    dial: Dial,
    token: Option<MetadataValue<Ascii>>,
}

impl GrpcApp {
    /// An app that is reached like this.
    pub fn new(config: RemoteConfig) -> Self {
        let token = config.token.as_ref().and_then(|token| {
            let mut value: MetadataValue<Ascii> = token.expose().parse().ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let (host, clock) = (config.host.clone(), config.clock.clone());
        Self {
            dial: Dial::new(config.protocol, host, config.port, clock),
            config: Arc::new(config),
            token,
        }
    }

    /// Waits until the app is there, however long that takes.
    pub async fn found(&self) {
        self.dial.wait_until_listening().await;
    }

    /// A client with a connection of its own, made at the first call and again whenever it is
    /// lost.
    pub(super) fn client(&self) -> Result<AppCallbackClient<Channel>, Cause> {
        Ok(AppCallbackClient::new(self.channel()?))
    }

    /// What asks whether the app is well.
    pub(super) fn prober(&self) -> Result<GrpcProber, Cause> {
        let channel = self.channel()?;
        Ok(GrpcProber {
            client: AppCallbackHealthCheckClient::new(channel),
            config: Arc::clone(&self.config),
        })
    }

    /// A call of somebody's that begins now, and is counted when this is dropped: as given up,
    /// unless it was answered.
    pub(super) fn calling(&self, message: &InvokeRequest) -> Calling<'_> {
        let sent = self.config.metrics.is_on().then(|| message.encoded_len());
        let mut calling = Calling::new(&self.config, ON_INVOKE, sent.unwrap_or_default());
        calling.code = Code::Cancelled;
        calling
    }

    /// Puts the app's token where it looks for it.
    pub(super) fn authorise(&self, headers: &mut MetadataMap) {
        if let Some(token) = &self.token {
            headers.insert("dapr-api-token", token.clone());
        }
    }

    fn channel(&self) -> Result<Channel, Cause> {
        let authority = self.dial.authority();
        let origin = http::Uri::builder()
            .scheme(self.dial.scheme())
            .authority(authority.as_str())
            .path_and_query("/")
            .build()?;
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))?.origin(origin);
        Ok(endpoint.connect_with_connector_lazy(self.dial.clone()))
    }

    /// An app without the method wants nothing. Any other failure is no answer. The token is not
    /// sent (runtime §2.2).
    async fn ask(&self, input: &InputName) -> Result<bool, Cause> {
        let mut client = self.client()?;
        let mut calling = Calling::new(&self.config, LIST_INPUT_BINDINGS, 0);
        let asking = client.list_input_bindings(());
        let timeout = self.config.options_timeout;
        let answer = self.config.clock.timeout(timeout, asking).await;
        if let Some(answer) = &answer {
            calling.answered(answer);
        }
        match answer {
            Some(Ok(list)) => {
                let mut wanted = list.get_ref().bindings.iter();
                Ok(wanted.any(|name| **name == *input.component))
            }
            Some(Err(status)) if status.code() == Code::Unimplemented => Ok(false),
            Some(Err(status)) => Err(format!(
                "the app could not be asked for its input bindings: {}",
                shown(&status)
            )
            .into()),
            None => Err("the app did not name its input bindings in time".into()),
        }
    }
}

/// Asks an app over gRPC whether it is well; the question carries nothing of ours.
pub struct GrpcProber {
    client: AppCallbackHealthCheckClient<Channel>,
    config: Arc<RemoteConfig>,
}

impl GrpcProber {
    /// Asks once; an app without the method is not well (runtime §2.6).
    pub(super) async fn ask(&self) -> Result<(), String> {
        let mut calling = Calling::new(&self.config, HEALTH_CHECK, 0);
        let answer = self.client.clone().health_check(()).await;
        calling.answered(&answer);
        answer.map(drop).map_err(|status| shown(&status))
    }
}

const LIST_INPUT_BINDINGS: &str = "/dapr.proto.runtime.v1.AppCallback/ListInputBindings";
const ON_BINDING_EVENT: &str = "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent";
const ON_INVOKE: &str = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";
const HEALTH_CHECK: &str = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck";

/// A call that is counted when this is dropped, however it ended.
pub(super) struct Calling<'a> {
    config: &'a RemoteConfig,
    method: &'static str,
    began: Option<Instant>,
    code: Code,
    sent: usize,
    received: usize,
}

impl<'a> Calling<'a> {
    /// One that begins now.
    fn new(config: &'a RemoteConfig, method: &'static str, sent: usize) -> Self {
        Self {
            config,
            method,
            began: config.began(),
            code: Code::DeadlineExceeded,
            sent,
            received: 0,
        }
    }

    pub(super) fn answered<T: Message>(&mut self, answer: &Result<Response<T>, Status>) {
        match answer {
            Ok(answer) => {
                self.code = Code::Ok;
                self.received = answer.get_ref().encoded_len();
            }
            Err(status) => self.code = code_of(status),
        }
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        let Some(began) = self.began else {
            return;
        };
        let metrics = &self.config.metrics;
        let took = self.config.clock.now().saturating_duration_since(began);
        let status = code_name(self.code);
        if self.method == HEALTH_CHECK {
            metrics.grpc_probe(status, took);
            return;
        }
        metrics.grpc_client(&GrpcCall {
            method: self.method,
            status,
            took,
            sent: self.sent,
            received: self.received,
        });
        // The reference counts these as if it had been called (runtime §6.6).
        if self.method == ON_BINDING_EVENT {
            metrics.grpc_server(self.method, status, took);
        }
    }
}

impl App for GrpcApp {
    fn subscribes<'a>(&'a self, input: &'a InputName) -> BoxFuture<'a, Result<bool, Cause>> {
        Box::pin(self.ask(input))
    }

    fn connect(&self) -> Box<dyn AppConnection> {
        Box::new(GrpcConnection {
            client: self.client(),
            app: self.clone(),
        })
    }
}

/// The way of one delivery thread: a connection of its own.
struct GrpcConnection {
    /// An address that is none keeps every event from the app, each with the reason.
    client: Result<AppCallbackClient<Channel>, Cause>,
    app: GrpcApp,
}

impl AppConnection for GrpcConnection {
    fn deliver<'a>(
        &'a self,
        input: &'a InputName,
        event: &'a Event,
    ) -> LocalBoxFuture<'a, Result<Answer, Refusal>> {
        Box::pin(self.send(input, event))
    }
}

impl GrpcConnection {
    async fn send(&self, input: &InputName, event: &Event) -> Result<Answer, Refusal> {
        let client = self.client.as_ref();
        let mut client = client.map_err(Refusal::unreachable)?.clone();
        let metadata = event.metadata.iter();
        let mut request = Request::new(BindingEventRequest {
            name: input.component.to_string(),
            data: event.data.clone(),
            metadata: metadata
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        });
        let config = &*self.app.config;
        add_trace(request.metadata_mut(), event, config.begins_traces);
        self.app.authorise(request.metadata_mut());
        let sent = request.get_ref().encoded_len();
        let mut calling = Calling::new(config, ON_BINDING_EVENT, sent);
        let answer = client.on_binding_event(request).await;
        calling.answered(&answer);
        match answer {
            Ok(answer) => {
                let answer = answer.into_inner();
                Ok(Answer {
                    forward: answer::of_message(&answer),
                    reply: answer.data,
                })
            }
            Err(status) => Err(Refusal::unreachable(shown(&status))),
        }
    }
}

/// The event's trace, or a fresh one where traces begin here, in both spellings.
fn add_trace(headers: &mut MetadataMap, event: &Event, begins_traces: bool) {
    let given = |key| event.metadata.get_any_case(key);
    if !begins_traces && !given("traceparent").is_some_and(trace::is_trace_parent) {
        return;
    }
    let trace = TraceContext::new(given("traceparent"), given("tracestate"), None);
    if let Some(binary) = trace::to_binary(&trace.parent) {
        headers.insert_bin("grpc-trace-bin", MetadataValue::from_bytes(&binary));
    }
    for (name, value) in [
        ("traceparent", Some(&trace.parent)),
        ("tracestate", trace.state.as_ref()),
    ] {
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            headers.insert(name, value);
        }
    }
}

/// The code of a failure, as the reference has it: a connection that is lost means that the app is
/// not there, and the library here does not say so.
fn code_of(status: &Status) -> Code {
    let is_lost = match (status.source(), status.code()) {
        // Said by the app.
        (None, _) => false,
        (Some(_), Code::Unknown) => true,
        (Some(source), Code::Cancelled) => was_not_sent(source),
        (Some(_), _) => false,
    };
    if is_lost {
        Code::Unavailable
    } else {
        status.code()
    }
}

/// Whether the connection was gone before the call could be written to it.
fn was_not_sent(source: &(dyn Error + 'static)) -> bool {
    let mut next = Some(source);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_canceled() || error.is_closed();
        }
        next = error.source();
    }
    false
}

/// A failure as the reference writes it, and what it came from.
pub(super) fn shown(status: &Status) -> String {
    let code = code_name(code_of(status));
    let text = match status.source() {
        Some(source) => Chain(source).to_string(),
        None => status.message().to_owned(),
    };
    format!("rpc error: code = {code} desc = {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_the_reference_writes_it() {
        assert_eq!(
            shown(&Status::failed_precondition("not now")),
            "rpc error: code = FailedPrecondition desc = not now"
        );
        assert_eq!(
            shown(&Status::cancelled("gone")),
            "rpc error: code = Canceled desc = gone"
        );
    }
}
