//! Who the binding says it is: a password, or a token that is fetched and kept fresh.

mod assertion;
mod endpoint;
mod oidc;

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::settings::{Secret, SettingsError};
use bindery_contract::{Clock, OpenContext, OpenError};
use tokio::sync::watch;

use self::oidc::Oidc;
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

/// Who gives tokens.
pub(crate) enum Source {
    Oidc(Oidc),
}

/// A token, put into the form that Redis takes.
struct Token {
    credentials: Credentials,
    /// How long it is valid from when it was given.
    lifetime: Duration,
}

impl Proof {
    pub(crate) fn of(settings: &RedisSettings) -> Result<Self, SettingsError> {
        if settings.use_oidc {
            return Ok(Self::Token(Arc::new(Source::Oidc(Oidc::of(settings)?))));
        }
        let (username, password) = (&settings.redis_username, &settings.redis_password);
        Ok(Self::Fixed(Credentials::of(username, password)))
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
                cx.spawn(keep_fresh(
                    Arc::clone(source),
                    sender,
                    token.lifetime,
                    cx.clone(),
                ));
            }
        }
        Ok(Login { now })
    }
}

impl Source {
    async fn fetch(&self, clock: &Clock) -> Result<Token, OpenError> {
        match self {
            Self::Oidc(oidc) => oidc.fetch(clock).await,
        }
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

/// Gets the next token before the last one ends. When that cannot be had, the binding is opened
/// anew: then it is clear what is wrong.
async fn keep_fresh(
    source: Arc<Source>,
    tokens: watch::Sender<Option<Credentials>>,
    mut lifetime: Duration,
    cx: OpenContext,
) {
    let clock = cx.clock();
    loop {
        let given = clock.now();
        let ends = given + lifetime;
        clock.sleep_until(given + refresh_after(lifetime)).await;
        lifetime = loop {
            let error = match source.fetch(clock).await {
                Ok(token) => {
                    tokens.send_replace(Some(token.credentials));
                    break token.lifetime;
                }
                Err(error) => error,
            };
            let left = ends.saturating_duration_since(clock.now());
            if left.is_zero() {
                cx.report_disconnected(format!(
                    "the token has ended, and there is no other: {error}"
                ));
                return;
            }
            let component = cx.component();
            tracing::warn!(
                "{component} has a token for {left:?} more, and cannot get another: {error}"
            );
            clock.sleep((left / 4).clamp(SOON, SOON * 30)).await;
        };
    }
}

/// The shortest wait between two questions for a token.
const SOON: Duration = Duration::from_secs(1);
/// How long before its end a token is replaced, where that is not the larger part of its life.
const BEFORE_ITS_END: Duration = Duration::from_secs(5 * 60);

/// When a token is replaced.
fn refresh_after(lifetime: Duration) -> Duration {
    lifetime
        .saturating_sub(BEFORE_ITS_END)
        .max(lifetime / 2)
        .max(SOON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_five_minutes_before_its_end_or_at_half_its_life() {
        for (lifetime, after) in [
            (3600, 3300),
            (601, 301),
            (600, 300),
            (300, 150),
            (1, 1),
            (0, 1),
        ] {
            let after = Duration::from_secs(after);
            assert_eq!(
                refresh_after(Duration::from_secs(lifetime)),
                after,
                "{lifetime}"
            );
        }
    }
}
