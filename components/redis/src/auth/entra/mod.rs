//! Microsoft Entra ID: the token is the password, and the object id that it names is the user.

mod offers;

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bindery_contract::settings::Secret;
use bindery_contract::{Clock, OpenError};
use ring::digest;
use serde::Deserialize;
use serde_json::json;

use super::Credentials;
use super::assertion::{Algorithm, AssertionKey, AssertionKeyError, encode};
use super::endpoint::{CLIENT_ASSERTION, Endpoint, Grant, LIFETIME};
use super::token::Token;

/// What the token is for: Redis, in every cloud.
const RESOURCE: &str = "https://redis.azure.com";
const SCOPE: &str = "https://redis.azure.com/.default";
/// How long what the client signs is valid.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How a token is asked for.
pub(crate) enum Entra {
    /// An application proves at the authority who it is.
    Application {
        authority: Endpoint,
        /// The authority's URL: what an assertion is for.
        audience: String,
        client_id: String,
        proof: Proof,
    },
    /// The machine knows who it is.
    Machine {
        endpoint: Endpoint,
        query: Vec<(&'static str, String)>,
        header: (&'static str, String),
    },
}

/// What an application shows.
pub(crate) enum Proof {
    Secret(Secret),
    Certificate(AssertionKey),
    CertificateFile(PathBuf),
    /// A file with an assertion that somebody else signed, and replaces.
    AssertionFile(PathBuf),
}

impl Entra {
    pub(super) async fn fetch(&self, clock: &Clock) -> Result<Token, OpenError> {
        let grant = match self {
            Self::Machine {
                endpoint,
                query,
                header,
            } => {
                let query: Vec<_> = query
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                endpoint.look(&query, (header.0, &header.1), clock).await?
            }
            Self::Application {
                authority,
                audience,
                client_id,
                proof,
            } => {
                let shown = proof.show(client_id, audience, clock).await?;
                let mut form = vec![
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id),
                    ("scope", SCOPE),
                ];
                match &shown {
                    Shown::Secret(secret) => form.push(("client_secret", secret.expose())),
                    Shown::Assertion(assertion) => {
                        form.extend([CLIENT_ASSERTION, ("client_assertion", assertion)]);
                    }
                }
                authority.ask(&form, clock).await?
            }
        };
        token(grant, clock)
    }
}

/// What goes into the form.
enum Shown {
    Secret(Secret),
    Assertion(String),
}

impl Proof {
    async fn show(
        &self,
        client_id: &str,
        audience: &str,
        clock: &Clock,
    ) -> Result<Shown, OpenError> {
        let read;
        let key = match self {
            Self::Secret(secret) => return Ok(Shown::Secret(secret.clone())),
            Self::AssertionFile(file) => {
                let assertion = file_text(file).await?;
                return Ok(Shown::Assertion(assertion.trim().to_owned()));
            }
            Self::Certificate(key) => key,
            Self::CertificateFile(file) => {
                let pem = file_text(file).await?;
                let unusable = |error| format!("{} {error}", file.display());
                read = certificate(&pem).map_err(|error| OpenError::refused(unusable(error)))?;
                &read
            }
        };
        let thumbprint = digest::digest(&digest::SHA256, key.certificate());
        let header = json!({ "x5t#S256": encode(thumbprint.as_ref()) });
        let header = (Algorithm::Ps256, header);
        key.vouch(header, client_id, audience, ASSERTION_LIFETIME, clock)
            .map(Shown::Assertion)
            .map_err(OpenError::invalid)
    }
}

fn certificate(pem: &str) -> Result<AssertionKey, AssertionKeyError> {
    AssertionKey::of(pem, pem)
}

/// What a file holds that others replace.
async fn file_text(file: &PathBuf) -> Result<String, OpenError> {
    let text = tokio::fs::read_to_string(file).await;
    text.map_err(|error| OpenError::refused(format!("{} cannot be read: {error}", file.display())))
}

/// The claims of a token that matter here.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    oid: String,
    #[serde(default)]
    exp: u64,
}

/// Who checks a token is Redis; here it is only read.
fn token(grant: Grant, clock: &Clock) -> Result<Token, OpenError> {
    let claims = grant.token.expose().split('.').nth(1);
    let claims = claims.and_then(|claims| BASE64_URL_SAFE_NO_PAD.decode(claims).ok());
    let claims = claims.and_then(|claims| serde_json::from_slice::<Claims>(&claims).ok());
    let Some(Claims { oid, exp }) = claims.filter(|claims| !claims.oid.is_empty()) else {
        let error = "the token of Entra ID names no object id, which is the user at Redis";
        return Err(OpenError::refused(error));
    };
    let now = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_secs(exp).checked_sub(now);
    Ok(Token {
        credentials: Credentials {
            username: Some(oid),
            password: grant.token,
        },
        lifetime: grant.lifetime.or(left).unwrap_or(LIFETIME),
    })
}
