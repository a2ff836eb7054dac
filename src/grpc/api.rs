//! What the methods of `dapr.proto.runtime.v1.Dapr` do.

use std::sync::Arc;
use std::time::Duration;

use bindery_actors::Call;
use bindery_contract::Reply;
use prost::Message;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use super::door::Trace;
use super::observed::Named;
use super::proto::common::v1::InvokeResponse;
use super::proto::runtime::v1 as proto;
use super::{invoke, secrets, status};
use crate::http::Api;

/// The sidecar's own service.
pub(super) struct Dapr {
    api: Arc<Api>,
}

impl Dapr {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self { api }
    }

    async fn invoke(
        &self,
        request: Request<proto::InvokeBindingRequest>,
    ) -> Result<Response<proto::InvokeBindingResponse>, Status> {
        let timeout = timeout(request.metadata());
        let trace = request.extensions().get::<Trace>().cloned();
        let named = request.extensions().get::<Named>().cloned();
        let asked = request.into_inner();
        if let Some(named) = named {
            named.set(&asked.name);
        }
        let mut call = Call {
            binding: asked.name.clone(),
            operation: asked.operation,
            data: asked.data,
            metadata: asked.metadata.into_iter().collect(),
            deadline: timeout.map(|timeout| self.api.core().clock().now() + timeout),
        };
        if let Some(trace) = trace {
            trace.inject(&mut call.metadata);
        }
        match self.api.call(&asked.name, call).await {
            Ok(Some(reply)) => self.answer(&asked.name, reply).await,
            Ok(None) => Ok(Response::new(proto::InvokeBindingResponse::default())),
            Err(error) => Err(status::of_failed_call(&asked.name, &error)),
        }
    }

    /// Does a call, and counts how large its messages are.
    async fn measured<Q: Message, A: Message>(
        &self,
        method: &'static str,
        request: Request<Q>,
        does: impl AsyncFnOnce(Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<Response<A>, Status> {
        let metrics = self.api.metrics();
        if !metrics.is_on() {
            return does(request).await;
        }
        let received = request.get_ref().encoded_len();
        let answer = does(request).await;
        let sent = answer.as_ref();
        let sent = sent.map_or(0, |answer| answer.get_ref().encoded_len());
        metrics.grpc_server_bytes(method, received, sent);
        answer
    }

    /// Builds the answer. The reply has to fit into one message.
    async fn answer(
        &self,
        binding: &str,
        reply: Reply,
    ) -> Result<Response<proto::InvokeBindingResponse>, Status> {
        let Reply { data, metadata } = reply;
        let headers = status::headers(&metadata);
        let limit = self.api.max_body().unwrap_or(usize::MAX);
        let data = match data.collect(limit).await {
            Ok(data) => data,
            Err(error) => return Err(status::of_reply(binding, &error, headers)),
        };
        let metadata = metadata
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let mut response = Response::new(proto::InvokeBindingResponse { data, metadata });
        *response.metadata_mut() = headers;
        Ok(response)
    }
}

#[tonic::async_trait]
impl proto::dapr_server::Dapr for Dapr {
    async fn invoke_binding(
        &self,
        request: Request<proto::InvokeBindingRequest>,
    ) -> Result<Response<proto::InvokeBindingResponse>, Status> {
        let method = "/dapr.proto.runtime.v1.Dapr/InvokeBinding";
        self.measured(method, request, async |request| self.invoke(request).await)
            .await
    }

    async fn invoke_service(
        &self,
        request: Request<proto::InvokeServiceRequest>,
    ) -> Result<Response<InvokeResponse>, Status> {
        let method = "/dapr.proto.runtime.v1.Dapr/InvokeService";
        self.measured(method, request, async |request| {
            invoke::of_the_app(&self.api, request).await
        })
        .await
    }

    async fn get_secret(
        &self,
        request: Request<proto::GetSecretRequest>,
    ) -> Result<Response<proto::GetSecretResponse>, Status> {
        let method = "/dapr.proto.runtime.v1.Dapr/GetSecret";
        self.measured(method, request, async |request| {
            secrets::one(self.api.secrets(), request.get_ref()).await
        })
        .await
    }

    async fn get_bulk_secret(
        &self,
        request: Request<proto::GetBulkSecretRequest>,
    ) -> Result<Response<proto::GetBulkSecretResponse>, Status> {
        let method = "/dapr.proto.runtime.v1.Dapr/GetBulkSecret";
        self.measured(method, request, async |request| {
            secrets::all(self.api.secrets(), request.get_ref()).await
        })
        .await
    }

    async fn get_metadata(
        &self,
        request: Request<proto::GetMetadataRequest>,
    ) -> Result<Response<proto::GetMetadataResponse>, Status> {
        let method = "/dapr.proto.runtime.v1.Dapr/GetMetadata";
        self.measured(method, request, async |_| {
            let described = self.api.facts().describe(self.api.core());
            Ok(Response::new(described.into()))
        })
        .await
    }

    async fn set_metadata(
        &self,
        request: Request<proto::SetMetadataRequest>,
    ) -> Result<Response<()>, Status> {
        let method = "/dapr.proto.runtime.v1.Dapr/SetMetadata";
        self.measured(method, request, async |request: Request<_>| {
            let proto::SetMetadataRequest { key, value } = request.into_inner();
            if !key.is_empty() {
                self.api.facts().extend(key, value);
            }
            Ok(Response::new(()))
        })
        .await
    }

    async fn shutdown(
        &self,
        request: Request<proto::ShutdownRequest>,
    ) -> Result<Response<()>, Status> {
        let method = "/dapr.proto.runtime.v1.Dapr/Shutdown";
        self.measured(method, request, async |request: Request<_>| {
            let force = request.metadata().get("dapr-force-shutdown");
            self.api
                .request_shutdown(force.map(MetadataValue::as_bytes));
            Ok(Response::new(()))
        })
        .await
    }
}

/// How long the caller waits, as gRPC says it: at most eight digits and a unit.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata
        .get("grpc-timeout")
        .map(MetadataValue::<Ascii>::to_str)?
        .ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_patience_is_read_as_grpc_writes_it() {
        let timeout_of = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            timeout(&metadata)
        };
        assert_eq!(timeout_of("20S"), Some(Duration::from_secs(20)));
        assert_eq!(timeout_of("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(
            timeout_of("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for text in ["", "S", "5", "5x", "-5S", "999999999S", "5é"] {
            let mut metadata = MetadataMap::new();
            if let Ok(value) = text.parse() {
                metadata.insert("grpc-timeout", value);
            }
            assert_eq!(timeout(&metadata), None, "{text}");
        }
    }
}
