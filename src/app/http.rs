//! The app over HTTP (runtime §2.2–2.6).

use std::borrow::Cow;
use std::sync::Arc;

use bindery_actors::app::{Answer, App, AppConnection, InputName, LocalBoxFuture, Refusal};
use bindery_contract::{BoxFuture, Cause, Chain, Event, Instant};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Semaphore;

use super::dial::Dial;
use super::recent::Recent;
use super::remote::{Protocol, RemoteConfig};
use super::{answer, headers};
use crate::telemetry::metrics::HttpExchange;

/// The app over HTTP.
#[derive(Clone)]
pub struct HttpApp {
    config: Arc<RemoteConfig>,
    dial: Dial,
    /// Where it is, or why that is no place.
    place: Result<Place, String>,
    /// How many requests may be at the app at once, from all threads together.
    turns: Option<Arc<Semaphore>>,
}

/// Its host and port, as a URL and as a header have them.
#[derive(Clone)]
struct Place {
    authority: Authority,
    host: HeaderValue,
}

impl Place {
    fn of(dial: &Dial) -> Result<Self, Cause> {
        let host = dial.authority();
        Ok(Self {
            authority: host.parse()?,
            host: host.try_into()?,
        })
    }
}

pub(super) type HttpClient = Client<Dial, Full<Bytes>>;

impl HttpApp {
    /// An app that is reached like this.
    pub fn new(config: RemoteConfig) -> Self {
        let turns = config
            .max_concurrency
            .map(|max| Arc::new(Semaphore::new(max)));
        let (host, clock) = (config.host.clone(), config.clock.clone());
        let dial = Dial::new(config.protocol, host, config.port, clock);
        Self {
            place: Place::of(&dial).map_err(|error| error.to_string()),
            dial,
            config: Arc::new(config),
            turns,
        }
    }

    /// Waits until the app is there, however long that takes.
    pub async fn found(&self) {
        self.dial.wait_until_listening().await;
        if self.config.fetch_config {
            self.fetch_config().await;
        }
    }

    /// `GET /dapr/config`, once; the answer means nothing to bindings (runtime §2.6).
    async fn fetch_config(&self) {
        let request = self
            .request(Method::GET, "/dapr/config")
            .and_then(|mut request| {
                let app_id = HeaderValue::from_str(&self.config.app_id).map_err(Cause::from)?;
                request.headers_mut().insert("dapr-app-id", app_id);
                Ok(request)
            });
        if let Ok(request) = request {
            let mut asked = self.asked("GET", "/dapr/config");
            let asking = self.client().request(request);
            let answer = self
                .config
                .clock
                .timeout(self.config.options_timeout, asking)
                .await;
            if let Some(Ok(answer)) = answer {
                asked.status = answer.status();
            }
        }
    }

    /// What asks at `path` whether the app is well.
    pub(super) fn prober(&self, path: &str) -> Result<HttpProber, Cause> {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let request = self.request(Method::GET, &format!("{slash}{path}"))?;
        Ok(HttpProber {
            uri: request.uri().clone(),
            client: self.client(),
            config: Arc::clone(&self.config),
        })
    }

    /// A request that begins now, and is counted when this is dropped.
    pub(super) fn asked<'a>(&'a self, method: &'a str, path: &'a str) -> Asked<'a> {
        Asked {
            config: &self.config,
            method,
            path,
            began: self.config.began(),
            status: NO_ANSWER,
            sent: 0,
            received: 0,
        }
    }

    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Request<Full<Bytes>>, Cause> {
        self.request_to(method, self.uri(path)?)
    }

    fn place(&self) -> Result<&Place, Cause> {
        self.place.as_ref().map_err(|error| error.clone().into())
    }

    fn uri(&self, path: &str) -> Result<Uri, Cause> {
        let uri = Uri::builder()
            .scheme(self.dial.scheme())
            .authority(self.place()?.authority.clone())
            .path_and_query(encoded(path).as_ref())
            .build()?;
        Ok(uri)
    }

    fn request_to(&self, method: Method, uri: Uri) -> Result<Request<Full<Bytes>>, Cause> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        if self.config.protocol != Protocol::H2c {
            // The client would write it anew for each request.
            headers.insert(HOST, self.place()?.host.clone());
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.config.token {
            let mut value = HeaderValue::from_str(token.expose())?;
            value.set_sensitive(true);
            headers.insert("dapr-api-token", value);
        }
        Ok(request)
    }

    /// Waits for the app to have room for one more request.
    pub(super) async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        match &self.turns {
            // Never closed, so waiting cannot fail.
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        }
    }

    /// A client with connections of its own.
    pub(super) fn client(&self) -> HttpClient {
        Client::builder(TokioExecutor::new())
            .http2_only(self.config.protocol == Protocol::H2c)
            .pool_max_idle_per_host(64)
            .build(self.dial.clone())
    }

    async fn ask(&self, input: &InputName) -> Result<bool, Cause> {
        let route = &input.route;
        let failed = |error: Cause| {
            Cause::from(format!(
                "could not invoke OPTIONS method on input binding subscription endpoint \
                 \"{route}\": {}",
                Chain::from(&error)
            ))
        };
        let request = self.request(Method::OPTIONS, route).map_err(failed)?;
        let _turn = self.turn().await;
        let mut asked = self.asked("OPTIONS", route);
        let asking = self.client().request(request);
        match self
            .config
            .clock
            .timeout(self.config.options_timeout, asking)
            .await
        {
            Some(Ok(answer)) => {
                let status = answer.status();
                asked.status = status;
                Ok(status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED)
            }
            Some(Err(error)) => Err(failed(error.into())),
            None => Err(failed("no answer in time".into())),
        }
    }
}

/// Asks an app over HTTP whether it is well.
pub struct HttpProber {
    uri: Uri,
    client: HttpClient,
    config: Arc<RemoteConfig>,
}

impl HttpProber {
    /// Asks once: any 2xx means that it is. The question carries nothing of ours, and redirects
    /// are not followed.
    pub(super) async fn ask(&self) -> Result<(), String> {
        let mut probed = Probed {
            config: &self.config,
            began: self.config.began(),
            status: NO_ANSWER,
        };
        match self.client.get(self.uri.clone()).await {
            Ok(answer) => {
                probed.status = answer.status();
                if answer.status().is_success() {
                    Ok(())
                } else {
                    Err(format!("it answers {}", answer.status()))
                }
            }
            Err(error) => Err(Chain(&error).to_string()),
        }
    }
}

/// What counts as the status of a request that was not answered.
const NO_ANSWER: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// A request that is counted when this is dropped, however it ended.
pub(super) struct Asked<'a> {
    config: &'a RemoteConfig,
    method: &'a str,
    path: &'a str,
    began: Option<Instant>,
    pub(super) status: StatusCode,
    pub(super) sent: usize,
    pub(super) received: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let Some(began) = self.began else {
            return;
        };
        let now = self.config.clock.now();
        self.config.metrics.http_client(&HttpExchange {
            method: self.method,
            path: self.path,
            status: self.status.as_str(),
            took: now.saturating_duration_since(began),
            received: self.received,
            sent: self.sent as u64,
        });
    }
}

/// A question for the app's health that is counted when this is dropped.
struct Probed<'a> {
    config: &'a RemoteConfig,
    began: Option<Instant>,
    status: StatusCode,
}

impl Drop for Probed<'_> {
    fn drop(&mut self) {
        if let Some(began) = self.began {
            let took = self.config.clock.now().saturating_duration_since(began);
            self.config.metrics.http_probe(self.status.as_str(), took);
        }
    }
}

impl App for HttpApp {
    fn subscribes<'a>(&'a self, input: &'a InputName) -> BoxFuture<'a, Result<bool, Cause>> {
        Box::pin(self.ask(input))
    }

    fn connect(&self) -> Box<dyn AppConnection> {
        Box::new(HttpConnection {
            app: self.clone(),
            client: self.client(),
            uris: Recent::default(),
            names: headers::Names::default(),
        })
    }
}

/// The way of one delivery thread: its own pool of connections.
struct HttpConnection {
    app: HttpApp,
    client: HttpClient,
    /// Those of the routes.
    uris: Recent<Arc<str>, Uri>,
    names: headers::Names,
}

impl AppConnection for HttpConnection {
    fn deliver<'a>(
        &'a self,
        input: &'a InputName,
        event: &'a Event,
    ) -> LocalBoxFuture<'a, Result<Answer, Refusal>> {
        Box::pin(self.send(input, event))
    }
}

impl HttpConnection {
    fn uri(&self, route: &Arc<str>) -> Result<Uri, Cause> {
        self.uris.find(
            |known| Arc::ptr_eq(known, route),
            || Ok((Arc::clone(route), self.app.uri(route)?)),
        )
    }

    async fn send(&self, input: &InputName, event: &Event) -> Result<Answer, Refusal> {
        let mut request = self
            .uri(&input.route)
            .and_then(|uri| self.app.request_to(Method::POST, uri))
            .map_err(Refusal::unreachable)?;
        let begins_traces = self.app.config.begins_traces;
        headers::add(
            request.headers_mut(),
            &event.metadata,
            &self.names,
            begins_traces,
        );
        *request.body_mut() = Full::new(event.data.clone());
        let _turn = self.app.turn().await;
        let mut asked = self.app.asked("POST", &input.route);
        asked.sent = event.data.len();
        let answer = self.client.request(request).await.map_err(unreachable)?;
        let status = answer.status();
        asked.status = status;
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(unreachable)?
            .to_bytes();
        asked.received = body.len() as u64;
        answer::judge(status.as_u16(), body)
    }
}

fn unreachable(error: impl std::error::Error + 'static) -> Refusal {
    Refusal::unreachable(Chain(&error))
}

/// What a path and a query may hold as it is; an escape is taken for one.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'%')
    .remove(b'?');

/// A path with everything encoded that a URL cannot hold as it is.
pub(super) fn encoded(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, PATH).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_with_odd_characters_is_encoded() {
        assert_eq!(encoded("/a b/ü"), "/a%20b/%C3%BC");
        assert_eq!(encoded("/orders?x=1"), "/orders?x=1");
    }
}
