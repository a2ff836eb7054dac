//! Calls of the own app on somebody's behalf: what an app's sidecar does with
//! `/v1.0/invoke/{app-id}/method/…` and `InvokeService`. Other apps are not called.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;

use bindery_contract::{Cause, Chain};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http::{Extensions, Method, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::grpc::{GrpcApp, shown};
use super::health::UNWELL;
use super::http::{HttpApp, HttpClient};
use super::remote::RemoteApp;
use crate::grpc::proto::common::v1::http_extension::Verb;
use crate::grpc::proto::common::v1::{InvokeRequest, InvokeResponse};
use crate::grpc::proto::runtime::v1::app_callback_client::AppCallbackClient;

/// A request for the app.
#[derive(Debug)]
pub struct AppRequest {
    /// What is called, with what. Over HTTP the method is a path, encoded as in a URL.
    pub message: InvokeRequest,
    /// What goes with it, without what belongs to the connection or to the sidecar alone.
    pub headers: HeaderMap,
}

/// What the app has answered.
#[derive(Debug)]
pub enum AppAnswer {
    /// Over HTTP, whatever its status.
    Http(Response<Incoming>),
    /// Over gRPC.
    Grpc(tonic::Response<InvokeResponse>),
    /// Over gRPC, that it does not want to.
    Refused(Status),
}

/// Why the app has not answered.
#[derive(Debug, thiserror::Error)]
pub enum NotCalled {
    /// The call is for another app.
    #[error("couldn't find service: {wanted}; this sidecar calls its own app, {own}, and no other")]
    Elsewhere {
        /// Who is wanted.
        wanted: String,
        /// Who is here.
        own: String,
    },
    /// No app was named at the start.
    #[error(
        "cannot invoke local endpoint: app channel not initialized; --app-port names the app's"
    )]
    NoApp,
    /// The app is unwell.
    #[error("{UNWELL}")]
    Unwell,
    /// The app cannot be reached, or breaks off.
    #[error("error invoking app: {0}")]
    Unreachable(Cause),
}

/// The app, for those who call it.
pub struct Callee {
    app_id: String,
    way: Option<Way>,
    /// Where its health is asked for: how it is.
    is_well: Option<watch::Receiver<bool>>,
}

enum Way {
    Http(HttpApp, PerThread<HttpClient>),
    Grpc(GrpcApp, PerThread<AppCallbackClient<Channel>>),
}

impl Callee {
    /// An app of this name; without a way to it, calls say so.
    pub fn new(
        app_id: String,
        app: Option<RemoteApp>,
        is_well: Option<watch::Receiver<bool>>,
    ) -> Self {
        let way = app.map(|app| match app {
            RemoteApp::Http(app) => Way::Http(app, PerThread::default()),
            RemoteApp::Grpc(app) => Way::Grpc(app, PerThread::default()),
        });
        Self {
            app_id,
            way,
            is_well,
        }
    }

    /// Calls the app, if it is the one that is wanted.
    ///
    /// # Errors
    /// Why there is no answer of the app's.
    pub async fn call(&self, wanted: &str, request: AppRequest) -> Result<AppAnswer, NotCalled> {
        if wanted != self.app_id {
            return Err(NotCalled::Elsewhere {
                wanted: wanted.to_owned(),
                own: self.app_id.clone(),
            });
        }
        let way = self.way.as_ref().ok_or(NotCalled::NoApp)?;
        if self.is_well.as_ref().is_some_and(|well| !*well.borrow()) {
            return Err(NotCalled::Unwell);
        }
        let called = match way {
            Way::Http(app, clients) => {
                let client = clients.get(|| Ok(app.client()));
                over_http(app, client, request).await
            }
            Way::Grpc(app, clients) => {
                let client = clients.get(|| app.client());
                over_grpc(app, client, request).await
            }
        };
        called.map_err(NotCalled::Unreachable)
    }
}

async fn over_http(
    app: &HttpApp,
    client: Result<HttpClient, Cause>,
    AppRequest { message, headers }: AppRequest,
) -> Result<AppAnswer, Cause> {
    let extension = message
        .http_extension
        .ok_or("missing HTTP extension field")?;
    let verb = extension.verb();
    let method = match verb {
        Verb::None | Verb::Connect => return Err("invalid HTTP verb".into()),
        verb => Method::from_bytes(verb.as_str_name().as_bytes())?,
    };
    let mut path = format!("/{}", message.method.trim_start_matches('/'));
    if !extension.querystring.is_empty() {
        path.push('?');
        path.push_str(&extension.querystring);
    }
    let mut request = app.request(method, &path)?;
    let given = request.headers_mut();
    given.remove(CONTENT_TYPE);
    if !message.content_type.is_empty() {
        given.insert(CONTENT_TYPE, message.content_type.try_into()?);
    }
    let mut name = None;
    for (next, value) in headers {
        name = next.or(name);
        if let Some(name) = &name {
            given.append(name, value);
        }
    }
    let data = Bytes::from(message.data.unwrap_or_default().value);
    let sent = data.len();
    *request.body_mut() = Full::new(data);
    let path = path.split('?').next().unwrap_or_default();
    let _turn = app.turn().await;
    let mut asked = app.asked(verb.as_str_name(), path);
    asked.sent = sent;
    let answer = client?.request(request).await;
    let answer = answer.map_err(|error| Chain(&error).to_string())?;
    asked.status = answer.status();
    // What comes without its length counts as nothing, as in the reference: the caller reads it.
    asked.received = answer.body().size_hint().exact().unwrap_or_default();
    Ok(AppAnswer::Http(answer))
}

async fn over_grpc(
    app: &GrpcApp,
    client: Result<AppCallbackClient<Channel>, Cause>,
    AppRequest { message, headers }: AppRequest,
) -> Result<AppAnswer, Cause> {
    let mut metadata = MetadataMap::from_headers(as_metadata(&headers));
    app.authorise(&mut metadata);
    let mut calling = app.calling(&message);
    let request = Request::from_parts(metadata, Extensions::default(), message);
    let answer = client?.on_invoke(request).await;
    calling.answered(&answer);
    match answer {
        Ok(answer) => Ok(AppAnswer::Grpc(answer)),
        // What came from the connection, and not from the app, has a source.
        Err(status) if status.source().is_some() => Err(shown(&status).into()),
        Err(status) => Ok(AppAnswer::Refused(status)),
    }
}

/// Headers that mean something to HTTP itself, by the names under which an app over gRPC finds
/// them, as the reference has it.
fn as_metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let renamed = HTTPS_OWN.contains(&name.as_str()).then(|| {
            let name = format!("dapr-{name}");
            HeaderName::try_from(name).ok()
        });
        match renamed.flatten() {
            Some(name) => metadata.append(name, value.clone()),
            None => metadata.append(name, value.clone()),
        };
    }
    metadata
}

/// See [`as_metadata`].
const HTTPS_OWN: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-language",
    "accept-ranges",
    "cache-control",
    "cookie",
    "date",
    "from",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "referer",
    "via",
    "warning",
];

/// A client for each thread that calls, so that its connections are driven there.
struct PerThread<T>(Mutex<HashMap<ThreadId, T>>);

impl<T> Default for PerThread<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> PerThread<T> {
    fn get(&self, make: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = std::thread::current().id();
        if let Some(client) = clients.get(&thread) {
            return Ok(client.clone());
        }
        let client = make()?;
        clients.insert(thread, client.clone());
        Ok(client)
    }
}
