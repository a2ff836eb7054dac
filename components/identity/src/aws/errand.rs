//! The library's way to the network. What became of a question is remembered here, because the
//! library tells less.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bindery_contract::tls::ClientTls;
use bindery_contract::{Clock, OpenError};
use bytes::{Bytes, BytesMut};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use reqsign_core::{Error, ErrorKind, HttpSend};
use reqwest::{Client, Url, redirect};

use super::answer::Failure;
use crate::endpoint::within;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it may take to reach the machine itself, which is near or nowhere, and to hear from it.
const NEAR: Duration = Duration::from_secs(1);
const NEAR_PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 256 * 1024;
/// Headers with what nobody else may know.
const SECRET: [&str; 4] = [
    "authorization",
    "x-amz-security-token",
    "x-aws-ec2-metadata-token",
    "x-amz-sso_bearer_token",
];

/// Asks, and remembers how the last question went.
pub(super) struct Errand {
    world: Client,
    machine: Client,
    clock: Clock,
    /// Where STS is, if it is not where AWS has it.
    sts: Option<Place>,
    last: Mutex<Option<Last>>,
}

/// A scheme and an authority.
#[derive(Clone, Debug)]
pub(super) struct Place {
    scheme: Scheme,
    authority: Authority,
}

/// How a question went.
struct Last {
    /// The URL without what was asked.
    place: String,
    outcome: Outcome,
}

enum Outcome {
    Unanswered(String),
    Failure(Failure),
    Answered,
}

impl Errand {
    pub(super) async fn new(sts: Option<Place>, clock: &Clock) -> Result<Self, OpenError> {
        // The system's authorities are files.
        let tls = tokio::task::spawn_blocking(|| ClientTls::default().config()).await;
        let tls = tls.map_err(OpenError::disconnected)?;
        let tls = tls.map_err(OpenError::invalid)?;
        let client = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(redirect::Policy::none())
                .pool_max_idle_per_host(0)
        };
        let machine = client().no_proxy().connect_timeout(NEAR);
        Ok(Self {
            world: client().build().map_err(OpenError::invalid)?,
            machine: machine.build().map_err(OpenError::invalid)?,
            clock: clock.clone(),
            sts,
            last: Mutex::new(None),
        })
    }

    /// What came before is of no interest any more.
    pub(super) fn begin(&self) {
        *self.locked() = None;
    }

    /// What a failure of the library means. `what` says which source of keys was asked.
    pub(super) fn explain(&self, what: &str, error: &Error) -> OpenError {
        let Some(Last { place, outcome }) = self.locked().take() else {
            let says = format!("{what}: {error}");
            return match error.kind() {
                // Files and variables with credentials may be others in a moment.
                ErrorKind::ConfigInvalid | ErrorKind::CredentialInvalid => OpenError::refused(says),
                _ => OpenError::invalid(says),
            };
        };
        let says = |why: &dyn fmt::Display| format!("{what}: no keys from {place}: {why}");
        match outcome {
            Outcome::Unanswered(why) => OpenError::disconnected(says(&why)),
            Outcome::Failure(failure) if failure.passes => {
                OpenError::disconnected(says(&failure.says))
            }
            Outcome::Failure(failure) => OpenError::refused(says(&failure.says)),
            Outcome::Answered => OpenError::refused(says(error)),
        }
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Outcome> {
        let secrets = secrets(&request);
        let (head, body) = request.into_parts();
        let url = Url::parse(&head.uri.to_string());
        let url = url.map_err(|error| Outcome::Unanswered(error.to_string()))?;
        let (client, patience) = if is_near(&head.uri) {
            (&self.machine, NEAR_PATIENCE)
        } else {
            (&self.world, PATIENCE)
        };
        let asking = client.request(head.method, url);
        let asking = asking.headers(head.headers).body(body).send();
        let answer = async {
            let mut answer = asking.await?;
            let (status, mut body) = (answer.status(), BytesMut::new());
            while body.len() <= LONGEST
                && let Some(chunk) = answer.chunk().await?
            {
                body.extend_from_slice(&chunk);
            }
            Ok((status, body.freeze()))
        };
        let answer = within(patience, &self.clock, answer).await;
        let (status, body) = answer.map_err(Outcome::Unanswered)?;
        if !status.is_success() || body.len() > LONGEST {
            return Err(Outcome::Failure(Failure::of(status, &body, &secrets)));
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpSend for Errand {
    async fn http_send(
        &self,
        mut request: Request<Bytes>,
    ) -> reqsign_core::Result<Response<Bytes>> {
        if let Some(place) = &self.sts {
            place.redirect(request.uri_mut())?;
        }
        let uri = request.uri();
        let place = format!(
            "{}://{}{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", Authority::as_str),
            uri.path()
        );
        let (outcome, answer) = match self.ask(request).await {
            Ok(answer) => (Outcome::Answered, Ok(answer)),
            Err(outcome) => (
                outcome,
                Err(Error::unexpected("no answer that can be used")),
            ),
        };
        *self.locked() = Some(Last { place, outcome });
        answer
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Errand")
    }
}

impl Place {
    /// An http or https URL without a path.
    pub(super) fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let parts = uri.into_parts();
        let scheme = parts.scheme?;
        let is_plain = parts.path_and_query.is_none_or(|path| path == "/");
        (matches!(scheme.as_str(), "http" | "https") && is_plain).then_some(Self {
            scheme,
            authority: parts.authority?,
        })
    }

    /// Puts this in the place of an STS of AWS.
    pub(super) fn redirect(&self, uri: &mut Uri) -> Result<(), http::uri::InvalidUriParts> {
        if !uri.host().is_some_and(|host| host.starts_with("sts.")) {
            return Ok(());
        }
        let mut parts = uri.clone().into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        *uri = Uri::from_parts(parts)?;
        Ok(())
    }
}

/// Whether it is the machine itself, to which no proxy leads.
fn is_near(uri: &Uri) -> bool {
    address(uri).is_some_and(|address| match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.segments()[..2] == [0xfd00, 0xec2],
    })
}

/// The address that a URL names, if it names one. A host's own name is the address that it has.
pub(super) fn address(uri: &Uri) -> Option<IpAddr> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    match host {
        "localhost" => Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
        _ => host.parse().ok(),
    }
}

/// What a question has that no answer may bring to light.
fn secrets(request: &Request<Bytes>) -> Vec<String> {
    let headers = SECRET
        .iter()
        .filter_map(|name| request.headers().get(*name));
    let headers = headers.filter_map(|value| value.to_str().ok());
    let form = std::str::from_utf8(request.body()).unwrap_or_default();
    let token = form
        .split('&')
        .filter_map(|pair| pair.strip_prefix("WebIdentityToken="));
    headers
        .chain(token)
        .filter(|secret| !secret.is_empty())
        .map(str::to_owned)
        .collect()
}
