//! Asking an OAuth 2.0 endpoint for a token (RFC 6749).

use std::time::Duration;

use bindery_contract::settings::Secret;
use bindery_contract::tls::{ClientTls, TlsError};
use bindery_contract::{Chain, Clock, OpenError};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};
use serde::Deserialize;

/// How long an endpoint may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a token is taken to be valid when nobody says.
const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// A token is replaced after a day at the latest, whatever is said.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Where tokens are given.
pub(crate) struct Endpoint {
    url: Url,
    http: Client,
}

/// What an endpoint gives.
#[derive(Debug)]
pub(crate) struct Grant {
    pub token: Secret,
    pub lifetime: Duration,
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
        let url = Url::parse(url).map_err(|_| EndpointError::Url)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(EndpointError::Url);
        }
        let tls = ClientTls {
            roots: authority,
            ..ClientTls::default()
        };
        let http = Client::builder()
            .tls_backend_preconfigured(tls.config()?)
            // What proves who we are is for this endpoint only.
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { url, http })
    }

    /// Asks with the parameters of a form.
    pub(crate) async fn ask(
        &self,
        form: &[(&str, &str)],
        clock: &Clock,
    ) -> Result<Grant, OpenError> {
        self.answer(self.http.post(self.url.clone()).form(form), clock)
            .await
    }

    async fn answer(&self, request: RequestBuilder, clock: &Clock) -> Result<Grant, OpenError> {
        let asking = async {
            let response = request.send().await?;
            Ok((response.status(), response.bytes().await?))
        };
        match clock.timeout(PATIENCE, asking).await {
            Some(Ok((status, body))) => read(status, &body).map_err(|error| match error {
                Answer::No(why) => OpenError::refused(self.says(&why)),
                Answer::NotNow(why) => OpenError::disconnected(self.says(&why)),
            }),
            Some(Err(error)) => {
                let error: reqwest::Error = error;
                let why = Chain(&error.without_url()).to_string();
                Err(OpenError::disconnected(self.says(&why)))
            }
            None => Err(OpenError::disconnected(
                self.says(&format!("no answer within {PATIENCE:?}")),
            )),
        }
    }

    fn says(&self, why: &str) -> String {
        let (origin, path) = (self.url.origin().ascii_serialization(), self.url.path());
        format!("no token from {origin}{path}: {why}")
    }
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
    expires_in: Option<Seconds>,
}

/// Some endpoints write the number as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
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
        let not_now = status.is_server_error()
            || matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
            );
        return Err(if not_now {
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
    let seconds = given.expires_in.and_then(|seconds| match seconds {
        Seconds::Number(seconds) => Some(seconds),
        Seconds::Text(text) => text.parse().ok(),
    });
    Ok(Grant {
        token: Secret::new(given.access_token),
        lifetime: seconds.map_or(LIFETIME, Duration::from_secs).min(LONGEST),
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
            (r#"{"access_token":"t","expires_in":3600}"#, 3600),
            (
                r#"{"access_token":"t","expires_in":"3600","token_type":"Bearer"}"#,
                3600,
            ),
            (r#"{"access_token":"t","expires_in":"soon"}"#, 300),
            (r#"{"access_token":"t"}"#, 300),
            (
                r#"{"access_token":"t","expires_in":18446744073709551615}"#,
                86400,
            ),
        ] {
            let grant = answer(200, body).unwrap();
            assert_eq!(
                (grant.token.expose(), grant.lifetime.as_secs()),
                ("t", seconds),
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
