//! Requests of commands to a running sidecar.

use std::net::Ipv4Addr;
use std::time::Duration;

use bindery_contract::{Cause, Chain, Clock};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use super::find::Place;
use crate::http::Stream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer of a sidecar.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) data: Bytes,
}

impl Answer {
    /// What an answer that is no success says.
    pub(super) fn problem(&self) -> String {
        let answer: Value = serde_json::from_slice(&self.data).unwrap_or_default();
        match answer["message"].as_str() {
            Some(message) => message.to_owned(),
            None => {
                let text = String::from_utf8_lossy(&self.data);
                format!("{}: {}", self.status, text.trim())
            }
        }
    }
}

/// Asks the sidecar at a place; with the token of the environment, if there is one.
///
/// # Errors
/// Why there is no answer, and what to do about it.
pub(super) async fn ask(
    place: &Place,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<Answer, String> {
    let body = Full::new(body.into());
    let asking = async {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .body(body)?;
        let token = std::env::var("DAPR_API_TOKEN").unwrap_or_default();
        if !token.is_empty() {
            let headers = request.headers_mut();
            headers.insert("dapr-api-token", token.parse()?);
        }
        let stream: Stream = match place {
            Place::Port(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, *port))
                .await?
                .into(),
            Place::Socket(file) => UnixStream::connect(file).await?.into(),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let _driven = AbortOnDropHandle::new(tokio::spawn(connection));
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok::<_, Cause>(Answer {
            status: head.status,
            headers: head.headers,
            data: body.collect().await?.to_bytes(),
        })
    };
    let cause = match Clock::system().timeout(PATIENCE, asking).await {
        Some(Ok(answer)) => return Ok(answer),
        Some(Err(error)) => Chain::from(&error).to_string(),
        None => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    Err(format!(
        "the sidecar on {place} cannot be called: {cause}. Is it running? --app-id, \
         --dapr-http-port or DAPR_HTTP_PORT say which one"
    ))
}

/// What stands in a URL as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A name in a path, as the API decodes it: like the value of a form.
pub(super) fn encoded(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, UNRESERVED)
}
