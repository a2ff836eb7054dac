//! The app over gRPC (runtime §2.2, §2.5).

use std::error::Error;
use std::sync::Arc;

use bindery_actors::app::{Answer, App, AppConnection, InputName, LocalBoxFuture, Refusal};
use bindery_contract::{BoxFuture, Cause, Chain, Event};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::answer;
use super::dial::Dial;
use super::remote::RemoteConfig;
use crate::grpc::proto::runtime::v1::BindingEventRequest;
use crate::grpc::proto::runtime::v1::app_callback_client::AppCallbackClient;
use crate::grpc::proto::runtime::v1::app_callback_health_check_client::AppCallbackHealthCheckClient;
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
        Ok(GrpcProber(AppCallbackHealthCheckClient::new(channel)))
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
        let asking = client.list_input_bindings(());
        let timeout = self.config.options_timeout;
        match self.config.clock.timeout(timeout, asking).await {
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
pub struct GrpcProber(AppCallbackHealthCheckClient<Channel>);

impl GrpcProber {
    /// Asks once; an app without the method is not well (runtime §2.6).
    pub(super) async fn ask(&self) -> Result<(), String> {
        let answer = self.0.clone().health_check(()).await;
        answer.map(drop).map_err(|status| shown(&status))
    }
}

impl App for GrpcApp {
    fn subscribes<'a>(&'a self, input: &'a InputName) -> BoxFuture<'a, Result<bool, Cause>> {
        Box::pin(self.ask(input))
    }

    fn connect(&self) -> Box<dyn AppConnection> {
        Box::new(GrpcConnection {
            client: self.client(),
            token: self.token.clone(),
        })
    }
}

/// The way of one delivery thread: a connection of its own.
struct GrpcConnection {
    /// An address that is none keeps every event from the app, each with the reason.
    client: Result<AppCallbackClient<Channel>, Cause>,
    token: Option<MetadataValue<Ascii>>,
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
        add_trace(request.metadata_mut(), event);
        if let Some(token) = &self.token {
            let headers = request.metadata_mut();
            headers.insert("dapr-api-token", token.clone());
        }
        match client.on_binding_event(request).await {
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

/// The event's trace, or a fresh one, in both spellings.
fn add_trace(headers: &mut MetadataMap, event: &Event) {
    let given = |key| event.metadata.get_any_case(key);
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

/// A failure as the reference writes it, and what it came from.
pub(super) fn shown(status: &Status) -> String {
    let code = match status.code() {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    };
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
