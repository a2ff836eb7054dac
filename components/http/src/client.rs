//! The client of each worker thread, with a pool of connections of its own.

use std::error::Error;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{Clock, Deadline, Instant};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, PROXY_AUTHORIZATION,
    RANGE, USER_AGENT,
};
use hyper::{Method, Request};
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connect::{Connector, proxy_authorization};
use crate::error::{HttpError, Shown, timed_out};
use crate::redirect::{self, MAX_REQUESTS};
use crate::request::Outgoing;
use crate::response::Response;

const OURSELVES: HeaderValue =
    HeaderValue::from_static(concat!("bindery/", env!("CARGO_PKG_VERSION")));
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// What the client of every thread is made from.
pub(crate) struct Blueprint {
    tls: rustls::ClientConfig,
    proxies: Option<Arc<Matcher>>,
}

impl Blueprint {
    pub(crate) fn new(mut tls: rustls::ClientConfig, proxies: Option<Matcher>) -> Self {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            tls,
            proxies: proxies.map(Arc::new),
        }
    }
}

/// The client of one thread.
pub(crate) struct Client {
    pool: legacy::Client<Connector, Full<Bytes>>,
    proxies: Option<Arc<Matcher>>,
    clock: Clock,
}

impl Client {
    pub(crate) fn new(blueprint: &Blueprint, clock: Clock) -> Self {
        let Blueprint { tls, proxies } = blueprint;
        let connector = Connector::new(tls.clone(), proxies.clone(), clock.clone());
        let pool = legacy::Client::builder(TokioExecutor::new())
            // As the reference writes them: there are servers that compare by case.
            .http1_title_case_headers(true)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self {
            pool,
            proxies: proxies.clone(),
            clock,
        }
    }

    /// Sends a request, follows redirects, and returns the reply when its head has come. Both
    /// limits of time count for its body too.
    pub(crate) async fn exchange(
        &self,
        mut request: Outgoing,
        timeout: Option<Duration>,
        callers: Option<Instant>,
    ) -> Result<Response, HttpError> {
        let ours = timeout.map(|timeout| self.clock.now() + timeout);
        let deadline = [ours, callers].into_iter().flatten().min();
        let deadline = deadline.map_or(Deadline::NONE, Deadline::at);
        let origin = Arc::clone(&request.to);
        for _ in 0..MAX_REQUESTS {
            let response = self.send(&request, deadline).await?;
            let (status, headers) = (response.status(), response.headers());
            match redirect::follow(&request, origin.url(), status, headers)? {
                Some(next) => request = next,
                None => return Ok(response),
            }
        }
        Err(HttpError::Redirects {
            after: MAX_REQUESTS,
            at: Shown::from(request.to.url()),
        })
    }

    /// Sends a request; where that does no harm, once more when the connection broke under it.
    /// An upstream closes idle connections, and may do so at the moment one is used again.
    async fn send(&self, request: &Outgoing, deadline: Deadline) -> Result<Response, HttpError> {
        let sending = async {
            match self.pool.request(self.prepare(request)).await {
                Err(error) if request.method.is_safe() && is_broken_connection(&error) => {
                    self.pool.request(self.prepare(request)).await
                }
                outcome => outcome,
            }
        };
        let sent: Result<_, Box<dyn Error + Send + Sync>> =
            match deadline.limit(&self.clock, sending).await {
                Some(sent) => sent.map_err(Into::into),
                None => Err(timed_out().into()),
            };
        let answer = sent.map_err(|source| HttpError::Transport {
            method: request.method.clone(),
            url: Shown::from(request.to.url()),
            source,
        })?;
        let unzips = !as_it_comes(&request.method, &request.headers);
        Ok(Response::new(answer, unzips, deadline, self.clock.clone()))
    }

    /// The request as it goes out, with what every one has.
    fn prepare(&self, request: &Outgoing) -> Request<Full<Bytes>> {
        let mut headers = request.headers.clone();
        if !as_it_comes(&request.method, &headers) {
            headers.insert(ACCEPT_ENCODING, GZIP);
        }
        headers.entry(USER_AGENT).or_insert(OURSELVES);
        if let Some(user) = request.to.authorization() {
            headers.entry(AUTHORIZATION).or_insert(user.clone());
        }
        let proxies = self.proxies.as_ref();
        let user = proxies.and_then(|proxies| proxy_authorization(proxies, request.to.uri()));
        if let Some(user) = user {
            headers.insert(PROXY_AUTHORIZATION, user);
        }
        if request.body.as_ref().is_some_and(Bytes::is_empty) {
            // The library says nothing of an empty body, and there are servers that insist.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut prepared = Request::new(Full::new(request.body.clone().unwrap_or_default()));
        *prepared.method_mut() = request.method.clone();
        *prepared.uri_mut() = request.to.uri().clone();
        *prepared.headers_mut() = headers;
        prepared
    }
}

/// Who asks for an encoding or for a part gets what the upstream sends; a HEAD has no body that
/// could be taken out of its encoding.
fn as_it_comes(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::HEAD || headers.contains_key(ACCEPT_ENCODING) || headers.contains_key(RANGE)
}

/// Whether a connection that had been made broke before the head of a reply.
fn is_broken_connection(error: &legacy::Error) -> bool {
    let mut next = (!error.is_connect()).then(|| error.source()).flatten();
    while let Some(cause) = next {
        let cut = cause
            .downcast_ref()
            .is_some_and(hyper::Error::is_incomplete_message);
        let reset = cause.downcast_ref().is_some_and(|error: &std::io::Error| {
            matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            )
        });
        if cut || reset {
            return true;
        }
        next = cause.source();
    }
    false
}
