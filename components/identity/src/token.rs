//! Tokens: who gives them, and when they are replaced.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::settings::Secret;
use bindery_contract::{Clock, Instant, OpenContext, OpenError};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};

/// The shortest wait between two questions for a token.
const SOON: Duration = Duration::from_secs(1);
/// The longest wait between two questions while a token is missing or ends.
const LATE: Duration = Duration::from_secs(30);
/// How long before its end a token is replaced, where that is not the larger part of its life.
const BEFORE_ITS_END: Duration = Duration::from_secs(5 * 60);
/// A token is replaced after a day at the latest, whatever is said.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a token is taken to be valid when nobody says.
pub(crate) const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Who gives tokens.
pub trait Provider: Send + Sync + 'static {
    /// A token in the form in which it is shown.
    type Pass: Clone + Send + Sync + 'static;

    /// Asks for a token.
    ///
    /// # Errors
    /// *Refused* when the provider says no, *Disconnected* when it says nothing, *Invalid* when
    /// it cannot be asked.
    fn fetch(
        &self,
        clock: &Clock,
    ) -> impl Future<Output = Result<Token<Self::Pass>, OpenError>> + Send;
}

impl<P: Provider> Provider for Arc<P> {
    type Pass = P::Pass;

    async fn fetch(&self, clock: &Clock) -> Result<Token<P::Pass>, OpenError> {
        P::fetch(self, clock).await
    }
}

/// A token.
#[derive(Clone, Debug)]
pub struct Token<P = Secret> {
    /// What is shown.
    pub pass: P,
    /// How long it is valid from when it was given.
    pub lifetime: Duration,
}

impl<P> Token<P> {
    /// Puts it into another form.
    pub fn map<Q>(self, form: impl FnOnce(P) -> Q) -> Token<Q> {
        Token {
            pass: form(self.pass),
            lifetime: self.lifetime,
        }
    }
}

/// The tokens of one provider: one at a time, shared by all who need one, and replaced before it
/// ends.
pub struct Tokens<P: Provider> {
    shared: Arc<Shared<P>>,
    runtime: Handle,
}

struct Shared<P: Provider> {
    provider: P,
    component: String,
    clock: Clock,
    /// Locked while the provider is asked, so that it is asked once for all who wait.
    state: Mutex<State<P::Pass>>,
}

enum State<T> {
    Unasked,
    Held(Held<T>),
    /// There is none. Who asks before `until` is told the same.
    Failed {
        error: OpenError,
        until: Instant,
    },
}

#[derive(Clone)]
struct Held<T> {
    pass: T,
    given: Instant,
    replace_at: Instant,
    ends_at: Instant,
}

impl<P: Provider> Tokens<P> {
    /// None is asked for yet.
    pub fn new(provider: P, cx: &OpenContext) -> Self {
        Self {
            shared: Arc::new(Shared {
                provider,
                component: cx.component().to_owned(),
                clock: cx.clock().clone(),
                state: Mutex::new(State::Unasked),
            }),
            runtime: cx.runtime().clone(),
        }
    }

    /// The token to show now, for who shows one from time to time, such as for each new
    /// connection. When the provider gives no other, the last one is shown until it ends.
    ///
    /// # Errors
    /// Those of the provider, when there is no token that is valid.
    pub async fn now(&self) -> Result<P::Pass, OpenError> {
        self.held().await.map(|held| held.pass)
    }

    /// The token to show now and each further one, for who must show each. When one ends and
    /// there is no other, the binding is opened anew: then it is clear what is wrong.
    ///
    /// # Errors
    /// Those of the provider, when it gives no first token.
    pub async fn watch(self, cx: &OpenContext) -> Result<watch::Receiver<P::Pass>, OpenError> {
        let first = self.held().await?;
        let (sender, receiver) = watch::channel(first.pass.clone());
        cx.spawn(self.announce(first, sender, cx.clone()));
        Ok(receiver)
    }

    async fn announce(
        self,
        mut last: Held<P::Pass>,
        passes: watch::Sender<P::Pass>,
        cx: OpenContext,
    ) {
        loop {
            cx.clock().sleep_until(last.replace_at).await;
            let held = match self.held().await {
                Ok(held) => held,
                Err(error) => {
                    return cx.report_disconnected(format!(
                        "the token has ended, and there is no other: {error}"
                    ));
                }
            };
            if held.given != last.given {
                passes.send_replace(held.pass.clone());
            }
            last = held;
        }
    }

    /// A question is not taken back when who asks goes away: its answer is for the next one, too.
    async fn held(&self) -> Result<Held<P::Pass>, OpenError> {
        let shared = Arc::clone(&self.shared);
        let asking = self.runtime.spawn(async move { shared.held().await });
        match asking.await {
            Ok(outcome) => outcome,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(OpenError::disconnected("the runtime is shutting down")),
            },
        }
    }
}

impl<P: Provider> Shared<P> {
    async fn held(&self) -> Result<Held<P::Pass>, OpenError> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        match &*state {
            State::Held(held) if now < held.replace_at => return Ok(held.clone()),
            State::Failed { error, until } if now < *until => return Err(same(error)),
            _ => {}
        }
        match self.provider.fetch(&self.clock).await {
            Ok(token) => {
                let held = Held::of(token, now);
                *state = State::Held(held.clone());
                Ok(held)
            }
            Err(error) => self.without_another(&mut state, error),
        }
    }

    /// What there is when the provider gives nothing.
    fn without_another(
        &self,
        state: &mut State<P::Pass>,
        error: OpenError,
    ) -> Result<Held<P::Pass>, OpenError> {
        let now = self.clock.now();
        match state {
            State::Held(held) if now < held.ends_at => {
                let (component, left) = (&self.component, held.ends_at - now);
                tracing::warn!(
                    "{component} has a token for {left:?} more, and cannot get another: {error}"
                );
                held.replace_at = now + (left / 4).clamp(SOON, LATE).min(left);
                Ok(held.clone())
            }
            _ => {
                let told = same(&error);
                let until = now + SOON;
                *state = State::Failed { error, until };
                Err(told)
            }
        }
    }
}

impl<T> Held<T> {
    fn of(token: Token<T>, given: Instant) -> Self {
        let lifetime = token.lifetime.min(LONGEST);
        Self {
            pass: token.pass,
            given,
            replace_at: given + replace_after(lifetime),
            ends_at: given + lifetime,
        }
    }
}

/// When a token is replaced.
fn replace_after(lifetime: Duration) -> Duration {
    lifetime
        .saturating_sub(BEFORE_ITS_END)
        .max(lifetime / 2)
        .max(SOON)
}

/// The same error for somebody else.
fn same(error: &OpenError) -> OpenError {
    error.with_cause(error.to_string())
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
                replace_after(Duration::from_secs(lifetime)),
                after,
                "{lifetime}"
            );
        }
    }
}
