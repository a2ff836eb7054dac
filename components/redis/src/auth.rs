//! Who the binding says it is: a password, or a token that is fetched and kept fresh.

use std::sync::Arc;

use bindery_contract::settings::{Secret, SettingsError};
use bindery_contract::{Clock, OpenContext, OpenError};
use bindery_identity::{Entra, Oidc, Provider, Token, Tokens, object_id};
use tokio::sync::watch;

use crate::settings::RedisSettings;

/// What a token of Entra ID is for: Redis, in every cloud.
const RESOURCE: &str = "https://redis.azure.com";

/// Who one says one is, and the proof.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// `None` is the server's default user, and the form of AUTH that names none.
    pub username: Option<String>,
    pub password: Secret,
}

impl Credentials {
    /// `None` without a password: a user alone cannot authenticate.
    pub(crate) fn of(username: &str, password: &Secret) -> Option<Self> {
        let username = (!username.is_empty()).then(|| username.to_owned());
        (!password.is_empty()).then(|| Self {
            username,
            password: password.clone(),
        })
    }
}

/// Where the credentials come from.
pub(crate) enum Proof {
    /// The settings; `None` is no authentication.
    Fixed(Option<Credentials>),
    /// Somebody else, for some time.
    Token(Arc<Source>),
}

/// Who gives tokens that are passwords.
pub(crate) enum Source {
    Oidc {
        oidc: Oidc,
        /// `None` is the default user.
        username: Option<String>,
    },
    /// The user is who the token names.
    Entra(Entra),
}

impl Proof {
    pub(crate) fn of(settings: &RedisSettings) -> Result<Self, SettingsError> {
        let (username, password) = (&settings.redis_username, &settings.redis_password);
        let absent = |key, value: &str, problem| match value {
            "" => Ok(()),
            _ => Err(SettingsError::new(key, problem)),
        };
        let source = match (settings.use_oidc, settings.use_entra_id) {
            (true, true) => {
                let problem = "cannot be used with useEntraID: both give the password";
                return Err(SettingsError::new("useOIDC", problem));
            }
            (true, false) => {
                let problem = "cannot be used with useOIDC: the token is the password";
                absent("redisPassword", password.expose(), problem)?;
                Source::Oidc {
                    oidc: Oidc::of(&settings.oidc)?,
                    username: (!username.is_empty()).then(|| username.clone()),
                }
            }
            (false, true) => {
                let problem = "cannot be used with useEntraID: the token gives user and password";
                absent("redisUsername", username, problem)?;
                absent("redisPassword", password.expose(), problem)?;
                Source::Entra(Entra::of(&settings.entra, RESOURCE)?)
            }
            (false, false) => return Ok(Self::Fixed(Credentials::of(username, password))),
        };
        Ok(Self::Token(Arc::new(source)))
    }

    /// Gets the credentials, and keeps them fresh for as long as this instance of the binding
    /// lives.
    pub(crate) async fn log_in(&self, cx: &OpenContext) -> Result<Login, OpenError> {
        Ok(match self {
            Self::Fixed(credentials) => Login::Fixed(credentials.clone()),
            Self::Token(source) => {
                Login::Token(Tokens::new(Arc::clone(source), cx).watch(cx).await?)
            }
        })
    }
}

impl Provider for Source {
    type Pass = Credentials;

    async fn fetch(&self, clock: &Clock) -> Result<Token<Credentials>, OpenError> {
        match self {
            Self::Oidc { oidc, username } => {
                let token = oidc.fetch(clock).await?;
                Ok(token.map(|password| Credentials {
                    username: username.clone(),
                    password,
                }))
            }
            Self::Entra(entra) => {
                let token = entra.fetch(clock).await?;
                let Some(user) = object_id(&token.pass) else {
                    let error =
                        "the token of Entra ID names no object id, which is the user at Redis";
                    return Err(OpenError::refused(error));
                };
                Ok(token.map(|password| Credentials {
                    username: Some(user),
                    password,
                }))
            }
        }
    }
}

/// The credentials that are valid now.
#[derive(Clone)]
pub(crate) enum Login {
    Fixed(Option<Credentials>),
    Token(watch::Receiver<Credentials>),
}

impl Login {
    pub(crate) fn now(&mut self) -> Option<Credentials> {
        match self {
            Self::Fixed(credentials) => credentials.clone(),
            Self::Token(now) => Some(now.borrow_and_update().clone()),
        }
    }

    /// Resolves when they are other than those that were asked for last.
    pub(crate) async fn changed(&mut self) {
        if let Self::Token(now) = self
            && now.changed().await.is_ok()
        {
            return;
        }
        // They never change again.
        std::future::pending::<()>().await;
    }
}
