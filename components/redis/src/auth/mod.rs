//! Who the binding says it is: a password, or a token that is fetched and kept fresh.

mod assertion;
mod endpoint;
mod entra;
mod oidc;
mod token;

use std::sync::Arc;

use bindery_contract::settings::{Secret, SettingsError};
use bindery_contract::{OpenContext, OpenError};
use tokio::sync::watch;

use self::entra::Entra;
use self::oidc::Oidc;
use self::token::{Source, keep_fresh};
use crate::settings::RedisSettings;

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

impl Proof {
    pub(crate) fn of(settings: &RedisSettings) -> Result<Self, SettingsError> {
        let source = match (settings.use_oidc, settings.use_entra_id) {
            (true, true) => {
                let problem = "cannot be used with useEntraID: both give the password";
                return Err(SettingsError::new("useOIDC", problem));
            }
            (true, false) => Source::Oidc(Oidc::of(settings)?),
            (false, true) => Source::Entra(Entra::of(settings)?),
            (false, false) => {
                let (username, password) = (&settings.redis_username, &settings.redis_password);
                return Ok(Self::Fixed(Credentials::of(username, password)));
            }
        };
        Ok(Self::Token(Arc::new(source)))
    }

    /// Gets the credentials, and keeps them fresh for as long as this instance of the binding
    /// lives.
    pub(crate) async fn log_in(&self, cx: &OpenContext) -> Result<Login, OpenError> {
        let (sender, now) = watch::channel(None);
        match self {
            Self::Fixed(credentials) => {
                sender.send_replace(credentials.clone());
            }
            Self::Token(source) => {
                let token = source.fetch(cx.clock()).await?;
                sender.send_replace(Some(token.credentials));
                let fresh = keep_fresh(Arc::clone(source), sender, token.lifetime, cx.clone());
                cx.spawn(fresh);
            }
        }
        Ok(Login { now })
    }
}

/// The credentials that are valid now.
#[derive(Clone)]
pub(crate) struct Login {
    now: watch::Receiver<Option<Credentials>>,
}

impl Login {
    pub(crate) fn now(&mut self) -> Option<Credentials> {
        self.now.borrow_and_update().clone()
    }

    /// Resolves when they are other than those that were asked for last.
    pub(crate) async fn changed(&mut self) {
        if self.now.changed().await.is_err() {
            // They never change again.
            std::future::pending::<()>().await;
        }
    }
}
