//! Microsoft Entra ID.

mod certificate;
mod cloud;
mod command_line;
mod proof;
mod question;
mod way;

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bindery_contract::settings::{Secret, SettingsError};
use bindery_contract::{Clock, OpenError};
use serde::Deserialize;

pub use self::cloud::Cloud;
use self::question::Step;
use self::way::Way;
use crate::endpoint::Grant;
use crate::settings::EntraSettings;
use crate::token::{LIFETIME, Provider, Token};

const NOTHING: &str = "no suitable token provider for Azure AD; errors: ";

/// How a token of Entra ID is asked for.
pub struct Entra {
    /// The ways that are allowed, in order.
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
        let closed = entra.ways.iter().map(|way| match way {
            Way::Closed(reason) => Some(*reason),
            _ => None,
        });
        match closed.collect::<Option<Vec<_>>>() {
            Some(reasons) => {
                let problem = format!("{NOTHING}{}", reasons.join("; "));
                Err(SettingsError::new("azureAuthMethods", problem))
            }
            None => Ok(entra),
        }
    }
}

impl Provider for Entra {
    type Pass = Secret;

    /// Tries one way after the other. A way that has what it needs decides, unless it is one that
    /// passes on.
    async fn fetch(&self, clock: &Clock) -> Result<Token, OpenError> {
        let environment = |name: &str| std::env::var(name).ok();
        let (mut asked, mut reasons) = (Vec::new(), Vec::new());
        for way in &self.ways {
            let question = match self.question(way, &environment)? {
                Step::Ask(question) => question,
                Step::Not(reason) => {
                    reasons.push(reason);
                    continue;
                }
            };
            let error = match question.ask(clock).await {
                Ok(grant) => return Ok(token(grant, clock)),
                Err(error) => error,
            };
            if !way.passes_on() {
                return Err(refused(&error, &asked));
            }
            reasons.push(error.to_string());
            asked.push(error);
        }
        Err(nothing(&asked, &reasons))
    }
}

/// Why the way that decides gave no token, and those before it that passed on to it.
fn refused(error: &OpenError, before: &[OpenError]) -> OpenError {
    let errors = before.iter().chain([error]);
    let texts: Vec<_> = errors.map(ToString::to_string).collect();
    error.with_cause(told(&texts))
}

/// Why no way led to a token. There is hope as long as one of them may be back.
fn nothing(asked: &[OpenError], reasons: &[String]) -> OpenError {
    let is_away = |error: &&OpenError| matches!(error, OpenError::Disconnected(_));
    match asked.iter().find(is_away).or_else(|| asked.last()) {
        Some(error) => error.with_cause(told(reasons)),
        None => OpenError::invalid(format!("{NOTHING}{}", reasons.join("; "))),
    }
}

fn told(reasons: &[String]) -> String {
    match reasons {
        [only] => only.clone(),
        _ => format!("{NOTHING}{}", reasons.join("; ")),
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
