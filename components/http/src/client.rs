//! The connections to the upstream: each worker thread has a pool of its own.

use std::error::Error;
use std::io::ErrorKind;
use std::time::Duration;

use bindery_contract::{Clock, Instant};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, RANGE};
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Method, Proxy, Response};

use crate::error::{HttpError, Shown};
use crate::redirect::{self, MAX_REQUESTS};
use crate::request::Outgoing;

/// How long a connection may take to be there, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const USER_AGENT: &str = concat!("bindery/", env!("CARGO_PKG_VERSION"));

/// What the client of every thread is made from.
pub(crate) struct Blueprint {
    tls: rustls::ClientConfig,
    proxies: Vec<Proxy>,
}

impl Blueprint {
    pub(crate) fn new(mut tls: rustls::ClientConfig, proxies: Vec<Proxy>) -> Self {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { tls, proxies }
    }

    fn build(&self, gzip: bool) -> reqwest::Result<reqwest::Client> {
        let builder = ClientBuilder::new()
            .tls_backend_preconfigured(self.tls.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(USER_AGENT)
            // As the reference writes them: there are servers that compare by case.
            .http1_title_case_headers()
            .redirect(Policy::none())
            .gzip(gzip)
            .no_proxy();
        let builder = self
            .proxies
            .iter()
            .cloned()
            .fold(builder, ClientBuilder::proxy);
        builder.build()
    }
}

/// The client of one thread.
pub(crate) struct Client {
    /// Asks for gzip and takes it off again, unseen.
    unzipping: reqwest::Client,
    /// Passes everything on as it comes.
    plain: reqwest::Client,
    clock: Clock,
}

impl Client {
    pub(crate) fn new(blueprint: &Blueprint, clock: Clock) -> reqwest::Result<Self> {
        Ok(Self {
            unzipping: blueprint.build(true)?,
            plain: blueprint.build(false)?,
            clock,
        })
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
        let origin = request.url.clone();
        for _ in 0..MAX_REQUESTS {
            let sent = self.send(&request, deadline).await;
            let response = sent.map_err(|error| {
                HttpError::transport(request.method.clone(), &request.url, error)
            })?;
            let (status, headers) = (response.status(), response.headers());
            match redirect::follow(&request, &origin, status, headers)? {
                Some(next) => request = next,
                None => return Ok(response),
            }
        }
        Err(HttpError::Redirects {
            after: MAX_REQUESTS,
            at: Shown::from(&request.url),
        })
    }

    /// Sends a request; where that does no harm, once more when the connection broke under it.
    /// An upstream closes idle connections, and may do so at the moment one is used again.
    async fn send(
        &self,
        request: &Outgoing,
        deadline: Option<Instant>,
    ) -> reqwest::Result<Response> {
        match self.send_once(request, deadline).await {
            Err(error) if request.method.is_safe() && is_broken_connection(&error) => {
                self.send_once(request, deadline).await
            }
            outcome => outcome,
        }
    }

    async fn send_once(
        &self,
        request: &Outgoing,
        deadline: Option<Instant>,
    ) -> reqwest::Result<Response> {
        let mut sending = self
            .for_request(request)
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            sending = sending.body(body.clone());
            if body.is_empty() {
                // The library says nothing of an empty body, and there are servers that insist.
                sending = sending.header(CONTENT_LENGTH, 0);
            }
        }
        if let Some(deadline) = deadline {
            sending = sending.timeout(deadline.saturating_duration_since(self.clock.now()));
        }
        sending.send().await
    }

    /// Who asks for an encoding or for a part gets what the upstream sends; a HEAD has no body
    /// that could be taken out of its encoding.
    fn for_request(&self, request: &Outgoing) -> &reqwest::Client {
        let headers = &request.headers;
        let as_it_comes = request.method == Method::HEAD
            || headers.contains_key(ACCEPT_ENCODING)
            || headers.contains_key(RANGE);
        if as_it_comes {
            &self.plain
        } else {
            &self.unzipping
        }
    }
}

/// Whether a connection that had been made broke before the head of a reply.
fn is_broken_connection(error: &reqwest::Error) -> bool {
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
