//! The app over HTTP (runtime §2.2–2.6).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::app::{Answer, App, AppConnection, InputName, LocalBoxFuture, Refusal};
use bindery_contract::settings::Secret;
use bindery_contract::{BoxFuture, Cause, Chain, Clock, Event};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;

use super::{answer, headers};

/// How long one look at the app's port may take (runtime §2.6).
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// How often the port is looked at while nobody listens.
const DIAL_EVERY: Duration = Duration::from_millis(100);

/// How long a connection is silent before the system asks whether the other side is there, and
/// how long it waits for each of three answers.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How the app is reached.
#[derive(Clone, Debug)]
pub struct HttpAppConfig {
    /// `--app-channel-address`.
    pub host: String,
    /// `--app-port`.
    pub port: u16,
    /// `--app-id`.
    pub app_id: String,
    /// `--app-max-concurrency`; `None` is unlimited.
    pub max_concurrency: Option<usize>,
    /// `--app-binding-options-timeout`.
    pub options_timeout: Duration,
    /// `APP_API_TOKEN`.
    pub token: Option<Secret>,
    /// Where time comes from.
    pub clock: Clock,
}

/// The app over HTTP.
#[derive(Clone)]
pub struct HttpApp {
    config: Arc<HttpAppConfig>,
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

type HttpClient = Client<HttpConnector, Full<Bytes>>;

impl Place {
    fn of(config: &HttpAppConfig) -> Result<Self, Cause> {
        let host = match config.host.parse::<std::net::IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, config.port).to_string(),
            Err(_) => format!("{}:{}", config.host, config.port),
        };
        Ok(Self {
            authority: host.parse()?,
            host: host.try_into()?,
        })
    }
}

impl HttpApp {
    /// An app that is reached like this.
    pub fn new(config: HttpAppConfig) -> Self {
        let turns = config
            .max_concurrency
            .map(|max| Arc::new(Semaphore::new(max)));
        Self {
            place: Place::of(&config).map_err(|error| error.to_string()),
            config: Arc::new(config),
            turns,
        }
    }

    /// Waits until the app listens on its port, however long that takes.
    pub async fn wait_until_listening(&self) {
        let (clock, port) = (&self.config.clock, self.config.port);
        tracing::info!(
            target: "dapr.runtime",
            "application protocol: http. waiting on port {port}.  This will block until the app \
             is listening on that port."
        );
        let address = format!("{}:{port}", self.config.host);
        let mut tries: u64 = 0;
        loop {
            let dial = tokio::net::TcpStream::connect(&address);
            if let Some(Ok(_)) = clock.timeout(DIAL_TIMEOUT, dial).await {
                break;
            }
            tries += 1;
            if tries.is_multiple_of(100) {
                tracing::info!(
                    target: "dapr.runtime",
                    "waiting for application to listen on port {port}"
                );
            }
            clock.sleep(DIAL_EVERY).await;
        }
        tracing::info!(target: "dapr.runtime", "application discovered on port {port}");
    }

    /// `GET /dapr/config`, once; the answer means nothing to bindings (runtime §2.6).
    pub async fn fetch_config(&self) {
        let request = self
            .request(Method::GET, "/dapr/config")
            .and_then(|mut request| {
                let app_id = HeaderValue::from_str(&self.config.app_id).map_err(Cause::from)?;
                request.headers_mut().insert("dapr-app-id", app_id);
                Ok(request)
            });
        if let Ok(request) = request {
            let asking = client().request(request);
            let _ = self
                .config
                .clock
                .timeout(self.config.options_timeout, asking)
                .await;
        }
    }

    /// What asks at `path` whether the app is well.
    ///
    /// # Errors
    /// When there can be no such URL.
    pub fn prober(&self, path: &str) -> Result<Prober, Cause> {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let request = self.request(Method::GET, &format!("{slash}{path}"))?;
        Ok(Prober {
            uri: request.uri().clone(),
            client: client(),
        })
    }

    fn request(&self, method: Method, path: &str) -> Result<Request<Full<Bytes>>, Cause> {
        let place = self.place.clone()?;
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(place.authority)
            .path_and_query(encoded(path).as_ref())
            .build()?;
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        // The client would write it anew for each request.
        headers.insert(HOST, place.host);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.config.token {
            let mut value = HeaderValue::from_str(token.expose())?;
            value.set_sensitive(true);
            headers.insert("dapr-api-token", value);
        }
        Ok(request)
    }

    /// Waits for the app to have room for one more request.
    async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        match &self.turns {
            // Never closed, so waiting cannot fail.
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        }
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
        let asking = client().request(request);
        match self
            .config
            .clock
            .timeout(self.config.options_timeout, asking)
            .await
        {
            Some(Ok(answer)) => {
                let status = answer.status();
                Ok(status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED)
            }
            Some(Err(error)) => Err(failed(error.into())),
            None => Err(failed("no answer in time".into())),
        }
    }
}

/// Asks an app over HTTP whether it is well.
pub struct Prober {
    uri: Uri,
    client: HttpClient,
}

impl Prober {
    /// Asks once: any 2xx means that it is. The question carries nothing of ours, and redirects
    /// are not followed.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn ask(&self) -> Result<(), String> {
        match self.client.get(self.uri.clone()).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("it answers {}", answer.status())),
            Err(error) => Err(Chain(&error).to_string()),
        }
    }
}

fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // An app whose machine is gone answers nothing; without this, its events would wait for ever.
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    connector.set_keepalive_retries(Some(3));
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(64)
        .build(connector)
}

impl App for HttpApp {
    fn subscribes<'a>(&'a self, input: &'a InputName) -> BoxFuture<'a, Result<bool, Cause>> {
        Box::pin(self.ask(input))
    }

    fn connect(&self) -> Box<dyn AppConnection> {
        Box::new(HttpConnection {
            app: self.clone(),
            client: client(),
        })
    }
}

/// The way of one delivery thread: its own pool of connections.
struct HttpConnection {
    app: HttpApp,
    client: HttpClient,
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
    async fn send(&self, input: &InputName, event: &Event) -> Result<Answer, Refusal> {
        let mut request = self
            .app
            .request(Method::POST, &input.route)
            .map_err(Refusal::unreachable)?;
        headers::add(request.headers_mut(), &event.metadata);
        *request.body_mut() = Full::new(event.data.clone());
        let _turn = self.app.turn().await;
        let answer = self.client.request(request).await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(unreachable)?
            .to_bytes();
        answer::judge(status.as_u16(), body)
    }
}

fn unreachable(error: impl std::error::Error + 'static) -> Refusal {
    Refusal::unreachable(Chain(&error))
}

/// A path with everything encoded that a URL cannot hold as it is.
pub(super) fn encoded(path: &str) -> Cow<'_, str> {
    use std::fmt::Write as _;
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(&byte);
    if path.bytes().all(is_plain) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len() * 3);
    for byte in path.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Cow::Owned(out)
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
