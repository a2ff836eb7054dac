//! Microsoft Entra ID.

mod cloud;
mod question;
mod way;

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bindery_contract::settings::{Secret, SettingsError};
use bindery_contract::{Clock, OpenError};
use serde::Deserialize;

pub use self::cloud::Cloud;
use self::way::Way;
use crate::endpoint::Grant;
use crate::settings::EntraSettings;
use crate::token::{LIFETIME, Provider, Token};

const NOTHING: &str = "no suitable token provider for Azure AD: what is allowed lacks what it \
                       needs, such as azureTenantId and azureClientId, or the environment of a \
                       workload identity";

/// How a token of Entra ID is asked for.
pub struct Entra {
    /// The ways that are allowed, in order. Those that need settings have them.
    ways: Vec<Way>,
    tenant: Option<String>,
    client_id: Option<String>,
    /// Where the settings name one.
    cloud: Option<Cloud>,
    /// What the token is for.
    resource: &'static str,
}

impl Entra {
    /// For tokens that `resource` takes, a URL without a path. Decided without the environment:
    /// it may be another one where the settings are checked.
    ///
    /// # Errors
    /// The setting that can never work.
    pub fn of(settings: &EntraSettings, resource: &'static str) -> Result<Self, SettingsError> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let entra = Self {
            ways: Way::all(settings)?,
            tenant: given(&settings.azure_tenant_id),
            client_id: given(&settings.azure_client_id),
            cloud: settings.cloud()?,
            resource,
        };
        if entra.ways.is_empty() {
            return Err(SettingsError::new("azureAuthMethods", NOTHING));
        }
        Ok(entra)
    }
}

impl Provider for Entra {
    type Pass = Secret;

    /// Tries one way after the other. A way that has what it needs decides, with one exception:
    /// that there is a managed identity is seen only when it gives a token.
    async fn fetch(&self, clock: &Clock) -> Result<Token, OpenError> {
        let environment = |name: &str| std::env::var(name).ok();
        let mut errors = Vec::new();
        for way in &self.ways {
            let Some(question) = self.question(way, &environment)? else {
                continue;
            };
            match question.ask(clock).await {
                Ok(grant) => return Ok(token(grant, clock)),
                Err(error) => errors.push(error),
            }
            if !matches!(way, Way::Machine) {
                break;
            }
        }
        Err(all(&errors))
    }
}

/// Why no way led to a token. The last one that was tried decides what that means.
fn all(errors: &[OpenError]) -> OpenError {
    match errors {
        [] => OpenError::invalid(NOTHING),
        [only] => only.with_cause(only.to_string()),
        [.., last] => {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            let texts = texts.join("; ");
            let text = format!("no suitable token provider for Azure AD; errors: {texts}");
            last.with_cause(text)
        }
    }
}

/// The claims of a token that matter here. Who checks a token is who it is for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    oid: String,
    exp: u64,
}

impl Claims {
    fn of(token: &Secret) -> Option<Self> {
        let claims = token.expose().split('.').nth(1)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        serde_json::from_slice(&claims).ok()
    }
}

/// The object id of who a token of Entra ID is about.
pub fn object_id(token: &Secret) -> Option<String> {
    Claims::of(token)
        .map(|claims| claims.oid)
        .filter(|oid| !oid.is_empty())
}

fn token(grant: Grant, clock: &Clock) -> Token {
    let left = || {
        let ends = Duration::from_secs(Claims::of(&grant.token)?.exp);
        let now = clock.wall().duration_since(UNIX_EPOCH).ok()?;
        ends.checked_sub(now)
    };
    let lifetime = grant.lifetime.or_else(left).unwrap_or(LIFETIME);
    Token {
        pass: grant.token,
        lifetime,
    }
}
