//! OIDC with `private_key_jwt`: the client signs who it is, and the endpoint gives it a token
//! (RFC 7523).

use std::time::Duration;

use bindery_contract::settings::{Secret, SettingsError};
use bindery_contract::{Clock, OpenError};
use serde_json::json;

use crate::assertion::{Algorithm, AssertionKey, AssertionKeyError};
use crate::endpoint::{CLIENT_ASSERTION, Endpoint, EndpointError};
use crate::settings::OidcSettings;
use crate::token::{LIFETIME, Provider, Token};

/// How long what the client signs is valid.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// How a token is asked for with OIDC.
pub struct Oidc {
    endpoint: Endpoint,
    key: AssertionKey,
    client_id: String,
    /// Who the assertion is for: the endpoint, or who the settings say.
    audience: String,
    /// What the form has besides the assertion.
    form: Vec<(&'static str, String)>,
    key_id: Option<String>,
}

impl Oidc {
    /// Decided without the network.
    ///
    /// # Errors
    /// The setting that can never work.
    pub fn of(settings: &OidcSettings) -> Result<Self, SettingsError> {
        let url = needed("oidcTokenEndpoint", &settings.oidc_token_endpoint)?;
        let client_id = needed("oidcClientID", &settings.oidc_client_id)?;
        let certificate = needed(
            "oidcClientAssertionCert",
            &settings.oidc_client_assertion_cert,
        )?;
        let key = settings.oidc_client_assertion_key.expose();
        let key = needed("oidcClientAssertionKey", key)?;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let audience = some(&settings.oidc_audience);
        let form = [
            ("audience", audience.clone()),
            ("resource", some(&settings.oidc_resource)),
            ("scope", Some(scopes(&settings.oidc_scopes))),
        ];
        Ok(Self {
            endpoint: endpoint(url, &settings.oidc_ca_cert)?,
            key: AssertionKey::of(certificate, key).map_err(blamed)?,
            client_id: client_id.to_owned(),
            audience: audience.unwrap_or_else(|| url.to_owned()),
            form: form
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            key_id: some(&settings.oidc_kid),
        })
    }

    fn assertion(&self, clock: &Clock) -> Result<String, AssertionKeyError> {
        let mut header = json!({});
        if let Some(key_id) = &self.key_id {
            header["kid"] = key_id.as_str().into();
        }
        let header = (Algorithm::Rs256, header);
        self.key.vouch(
            header,
            &self.client_id,
            &self.audience,
            ASSERTION_LIFETIME,
            clock,
        )
    }
}

impl Provider for Oidc {
    type Pass = Secret;

    async fn fetch(&self, clock: &Clock) -> Result<Token, OpenError> {
        let assertion = self.assertion(clock).map_err(OpenError::invalid)?;
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            CLIENT_ASSERTION,
            ("client_assertion", &assertion),
        ];
        form.extend(
            self.form
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        let grant = self.endpoint.ask(&form, clock).await?;
        Ok(Token {
            pass: grant.token,
            lifetime: grant.lifetime.unwrap_or(LIFETIME),
        })
    }
}

fn needed<'a>(key: &str, value: &'a str) -> Result<&'a str, SettingsError> {
    if value.is_empty() {
        return Err(SettingsError::new(key, "is needed with OIDC"));
    }
    Ok(value)
}

fn endpoint(url: &str, authority: &str) -> Result<Endpoint, SettingsError> {
    let authority = (!authority.is_empty()).then_some(authority);
    Endpoint::new(url, authority).map_err(|error| {
        let key = match &error {
            EndpointError::Url | EndpointError::Http(_) => "oidcTokenEndpoint",
            EndpointError::Tls(_) => "oidcCACert",
        };
        SettingsError::new(key, error)
    })
}

fn blamed(error: AssertionKeyError) -> SettingsError {
    let key = match error {
        AssertionKeyError::Certificate(_) => "oidcClientAssertionCert",
        AssertionKeyError::Key(_) | AssertionKeyError::Mismatch => "oidcClientAssertionKey",
    };
    SettingsError::new(key, error)
}

/// The scopes as a form has them; without any there is `openid`.
fn scopes(list: &str) -> String {
    let scopes: Vec<_> = list
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .collect();
    if scopes.is_empty() {
        return "openid".into();
    }
    scopes.join(" ")
}
