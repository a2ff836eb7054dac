//! Tokens: who gives them, and when they are replaced.

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{Clock, OpenContext, OpenError};
use tokio::sync::watch;

use super::Credentials;
use super::entra::Entra;
use super::oidc::Oidc;

/// The shortest wait between two questions for a token.
const SOON: Duration = Duration::from_secs(1);
/// How long before its end a token is replaced, where that is not the larger part of its life.
const BEFORE_ITS_END: Duration = Duration::from_secs(5 * 60);
/// A token is replaced after a day at the latest, whatever is said.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Who gives tokens.
pub(crate) enum Source {
    Oidc(Oidc),
    Entra(Entra),
}

/// A token, put into the form that Redis takes.
pub(super) struct Token {
    pub credentials: Credentials,
    /// How long it is valid from when it was given.
    pub lifetime: Duration,
}

impl Source {
    pub(super) async fn fetch(&self, clock: &Clock) -> Result<Token, OpenError> {
        let mut token = match self {
            Self::Oidc(oidc) => oidc.fetch(clock).await,
            Self::Entra(entra) => entra.fetch(clock).await,
        }?;
        token.lifetime = token.lifetime.min(LONGEST);
        Ok(token)
    }
}

/// Gets the next token before the last one ends. When that cannot be had, the binding is opened
/// anew: then it is clear what is wrong.
pub(super) async fn keep_fresh(
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
