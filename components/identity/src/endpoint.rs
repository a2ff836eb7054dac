//! Asking an OAuth 2.0 endpoint for a token (RFC 6749).

use std::time::Duration;

use bindery_contract::settings::Secret;
use bindery_contract::tls::{ClientTls, TlsError};
use bindery_contract::{Chain, Clock, OpenError};
use reqwest::{Client, ClientBuilder, RequestBuilder, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::Value;

/// How long an endpoint may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the endpoint of the machine itself may take to be there: it is near, or nowhere.
const NEAR: Duration = Duration::from_secs(1);
/// Says that a signed JWT comes as proof (RFC 7523).
pub(crate) const CLIENT_ASSERTION: (&str, &str) = (
    "client_assertion_type",
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
);

/// Where tokens are given.
pub(crate) struct Endpoint {
    url: Url,
    http: Client,
}

/// What an endpoint gives.
#[derive(Debug)]
pub(crate) struct Grant {
    pub token: Secret,
    /// How long it is valid, where that is said.
    pub lifetime: Option<Duration>,
}

/// Why an endpoint cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("is no http or https URL")]
    Url,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot be asked: {0}")]
    Http(#[from] reqwest::Error),
}

impl Endpoint {
    /// An endpoint that is trusted because of `authority`, as PEM, or because the system does.
    pub(crate) fn new(url: &str, authority: Option<&str>) -> Result<Self, EndpointError> {
        let tls = ClientTls {
            roots: authority,
            ..ClientTls::default()
        };
        let http = Client::builder().tls_backend_preconfigured(tls.config()?);
        Self::with(url, http)
    }

    /// An endpoint of the machine itself: no proxy leads there.
    pub(crate) fn of_machine(url: &str) -> Result<Self, EndpointError> {
        let tls = ClientTls::default().config()?;
        let http = Client::builder().tls_backend_preconfigured(tls);
        Self::with(url, http.no_proxy().connect_timeout(NEAR))
    }

    fn with(url: &str, http: ClientBuilder) -> Result<Self, EndpointError> {
        let url = Url::parse(url).map_err(|_| EndpointError::Url)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(EndpointError::Url);
        }
        // What proves who we are is for this endpoint only.
        let http = http.redirect(redirect::Policy::none());
        let http = http.pool_max_idle_per_host(0).build()?;
        Ok(Self { url, http })
    }

    /// Asks with the parameters of a form.
    pub(crate) async fn ask(
        &self,
        form: &[(&str, &str)],
        clock: &Clock,
    ) -> Result<Grant, OpenError> {
        let request = self.http.post(self.url.clone()).form(form);
        self.answer(request, clock).await
    }

    /// Asks with parameters in the URL, and a header.
    pub(crate) async fn look(
        &self,
        query: &[(&str, &str)],
        (name, value): (&str, &str),
        clock: &Clock,
    ) -> Result<Grant, OpenError> {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(query);
        self.answer(self.http.get(url).header(name, value), clock)
            .await
    }

    /// Finds out whether somebody answers here, whatever the answer is.
    pub(crate) async fn find(&self, clock: &Clock) -> Result<(), OpenError> {
        let asking = self.http.get(self.url.clone()).send();
        let found = within(NEAR, clock, asking).await;
        found
            .map(drop)
            .map_err(|why| OpenError::disconnected(self.says(&why)))
    }

    async fn answer(&self, request: RequestBuilder, clock: &Clock) -> Result<Grant, OpenError> {
        let asking = async {
            let response = request.send().await?;
            Ok((response.status(), response.bytes().await?))
        };
        let answer = within(PATIENCE, clock, asking)
            .await
            .map_err(Answer::NotNow);
        let grant = answer.and_then(|(status, body)| read(status, &body));
        grant.map_err(|error| match error {
            Answer::No(why) => OpenError::refused(self.says(&why)),
            Answer::NotNow(why) => OpenError::disconnected(self.says(&why)),
        })
    }

    fn says(&self, why: &str) -> String {
        let (origin, path) = (self.url.origin().ascii_serialization(), self.url.path());
        format!("no token from {origin}{path}: {why}")
    }
}

/// Waits for an answer, but not for longer than `patience`. The error says why there is none.
pub(crate) async fn within<T>(
    patience: Duration,
    clock: &Clock,
    asking: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, String> {
    match clock.timeout(patience, asking).await {
        Some(answer) => answer.map_err(|error| Chain(&error.without_url()).to_string()),
        None => Err(format!("no answer within {patience:?}")),
    }
}

/// Whether an answer with this status may be another one in a moment.
pub(crate) fn passes(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        )
}

/// Why an answer is no token.
#[derive(Debug, PartialEq)]
enum Answer {
    No(String),
    NotNow(String),
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    access_token: String,
    /// A number, or a text with one.
    #[serde(default)]
    expires_in: Value,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

fn read(status: StatusCode, body: &[u8]) -> Result<Grant, Answer> {
    if !status.is_success() {
        let mut why = status.to_string();
        if let Ok(Refusal {
            error,
            error_description,
        }) = serde_json::from_slice(body)
        {
            why = format!("{why}: {error}");
            if !error_description.is_empty() {
                why = format!("{why}: {error_description}");
            }
        }
        return Err(if passes(status) {
            Answer::NotNow(why)
        } else {
            Answer::No(why)
        });
    }
    let given: Given = serde_json::from_slice(body)
        .map_err(|error| Answer::No(format!("the answer cannot be read: {error}")))?;
    if given.access_token.is_empty() {
        return Err(Answer::No("there is no access_token in the answer".into()));
    }
    let seconds = match given.expires_in {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    Ok(Grant {
        token: Secret::new(given.access_token),
        lifetime: seconds.map(Duration::from_secs),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: &str) -> Result<Grant, Answer> {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn a_token_is_read_however_its_life_is_written() {
        for (body, seconds) in [
            (r#"{"access_token":"t","expires_in":3600}"#, Some(3600)),
            (
                r#"{"access_token":"t","expires_in":"3600","token_type":"Bearer"}"#,
                Some(3600),
            ),
            (r#"{"access_token":"t","expires_in":"soon"}"#, None),
            (r#"{"access_token":"t","expires_in":-1}"#, None),
            (r#"{"access_token":"t"}"#, None),
        ] {
            let grant = answer(200, body).unwrap();
            let lifetime = seconds.map(Duration::from_secs);
            assert_eq!(
                (grant.token.expose(), grant.lifetime),
                ("t", lifetime),
                "{body}"
            );
        }
    }

    #[test]
    fn a_refusal_is_shown_in_the_endpoints_words() {
        let no = |text: &str| Answer::No(text.into());
        let refusal = r#"{"error":"invalid_client","error_description":"unknown key"}"#;
        for (status, body, expected) in [
            (
                401,
                refusal,
                no("401 Unauthorized: invalid_client: unknown key"),
            ),
            (
                400,
                r#"{"error":"invalid_scope"}"#,
                no("400 Bad Request: invalid_scope"),
            ),
            (403, "<html>", no("403 Forbidden")),
            (302, "", no("302 Found")),
            (200, "{}", no("there is no access_token in the answer")),
            (503, "", Answer::NotNow("503 Service Unavailable".into())),
            (429, "", Answer::NotNow("429 Too Many Requests".into())),
        ] {
            assert_eq!(answer(status, body).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status in 100u16..600, body: Vec<u8>) {
            let _ = read(StatusCode::from_u16(status).unwrap(), &body);
        }
    }
}
