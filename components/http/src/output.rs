//! The output: one call, one request, one reply.

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::settings::{GoDuration, SettingsError, truthy};
use bindery_contract::{Clock, Invocation, InvokeError, Metadata, Output, Payload, Reply, Retry};
use bytes::Bytes;
use hyper::StatusCode;

use crate::client::{Blueprint, Client};
use crate::error::HttpError;
use crate::request::Target;
use crate::response::{Limit, metadata};
use crate::settings::HttpSettings;

/// What all threads of a component have in common.
pub(crate) struct Endpoint {
    target: Target,
    timeout: Option<Duration>,
    limit: Limit,
    error_if_not_2xx: bool,
}

impl Endpoint {
    pub(crate) fn new(component: &str, settings: &HttpSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            target: Target::new(component, settings)?,
            timeout: settings.response_timeout.and_then(GoDuration::positive),
            limit: Limit::new(component, settings.max_response_body_size.positive()),
            error_if_not_2xx: settings.error_if_not_2xx,
        })
    }

    fn fails(&self, status: StatusCode, metadata: &Metadata) -> bool {
        let own = metadata
            .get("errorIfNot2XX")
            .filter(|value| !value.is_empty());
        !status.is_success() && own.map_or(self.error_if_not_2xx, truthy)
    }
}

/// The upstream, as one thread sees it.
pub(crate) struct Upstream {
    endpoint: Arc<Endpoint>,
    client: Client,
}

impl Upstream {
    pub(crate) fn new(endpoint: Arc<Endpoint>, blueprint: &Blueprint, clock: Clock) -> Self {
        Self {
            endpoint,
            client: Client::new(blueprint, clock),
        }
    }
}

impl Output for Upstream {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        let endpoint = &*self.endpoint;
        let request = endpoint.target.request(&call)?;
        let response = self
            .client
            .exchange(request, endpoint.timeout, call.deadline)
            .await?;
        let (status, metadata) = (response.status(), metadata(&response));
        let data = endpoint.limit.payload(response).await;
        if endpoint.fails(status, &call.metadata) {
            return Err(refused(status, metadata, data).await);
        }
        let data = data?;
        Ok(Some(Reply { data, metadata }))
    }
}

/// The error for a status other than 2xx; what came with it goes to the caller too. The status
/// is the news, so a body that breaks off is no other error.
async fn refused(
    status: StatusCode,
    metadata: Metadata,
    data: Result<Payload, HttpError>,
) -> InvokeError {
    let data = match data {
        Ok(data) => data.collect(usize::MAX).await.unwrap_or_default(),
        Err(_) => Bytes::new(),
    };
    let retry = match status.as_u16() {
        408 | 429 | 500.. => Retry::MayHelp,
        _ => Retry::Pointless,
    };
    let cause = format!("received status code {}", status.as_u16());
    let reply = Reply {
        data: data.into(),
        metadata,
    };
    InvokeError::answered(cause, reply, retry)
}
