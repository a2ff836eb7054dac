//! One question to an API server.

use std::time::Duration;

use bindery_contract::{Chain, Clock};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::KubernetesError;
use super::cluster::Access;

/// How long an answer may take: less than a binding has for its opening.
const PATIENCE: Duration = Duration::from_secs(4);
/// How large an answer may be. A Secret has 1 MiB at most.
const LARGEST: usize = 64 << 20;

/// Gets what is at a path.
///
/// # Errors
/// When there is no answer, or none that can be used. No error contains anything of a Secret.
pub(super) fn get<T: DeserializeOwned + Send>(
    access: &Access,
    path: &str,
) -> Result<T, KubernetesError> {
    // On a thread of its own: the one that asks may be driving tasks, and must not drive others.
    let asked = std::thread::scope(|scope| scope.spawn(|| ask(access, path)).join());
    let (status, body) = asked
        .unwrap_or_else(|_| Err("the thread that asked panicked".into()))
        .map_err(|reason| KubernetesError::Unreachable {
            server: access.server.clone(),
            reason,
        })?;
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|_| KubernetesError::Answer("it is not the JSON that was asked for"));
    }
    let message = said(&body);
    Err(match status {
        StatusCode::UNAUTHORIZED => KubernetesError::Unknown(message),
        StatusCode::FORBIDDEN => KubernetesError::Forbidden {
            verb: "get",
            namespace: String::new(),
            message,
        },
        StatusCode::NOT_FOUND => KubernetesError::NotFound,
        _ => KubernetesError::Refused {
            status: status.as_u16(),
            message,
        },
    })
}

/// What the server says of a refusal, in its own form.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    let status = serde_json::from_slice::<Status>(body);
    status.map(|status| status.message).unwrap_or_default()
}

fn ask(access: &Access, path: &str) -> Result<(StatusCode, Bytes), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let answer = Clock::system()
            .timeout(PATIENCE, exchange(access, path))
            .await;
        answer.unwrap_or_else(|| Err(format!("there is no answer within {PATIENCE:?}")))
    })
}

async fn exchange(access: &Access, path: &str) -> Result<(StatusCode, Bytes), String> {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(access.tls.clone())
        .https_or_http();
    let connector = match &access.server_name {
        Some(name) => {
            let name = name
                .clone()
                .try_into()
                .map_err(|_| "tls-server-name is no name")?;
            connector.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name))
        }
        None => connector,
    };
    let connector = connector.enable_all_versions().build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let mut request = Request::get(format!("{}{path}", access.server))
        .header(ACCEPT, "application/json")
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    if let Some(token) = &access.token {
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| "the token is none: it has odd characters")?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let answer = client.request(request).await;
    let (head, body) = answer
        .map_err(|error| Chain(&error).to_string())?
        .into_parts();
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map_err(|error| Chain::from(&error).to_string())?;
    Ok((head.status, body.to_bytes()))
}
