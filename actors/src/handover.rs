//! One event on its way to the app: tried until the app takes it, until its attempts are used up
//! and its dead letter takes it, or until its input stops. This is the one owner of retries.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::sink::Delivery;
use bindery_contract::{Instant, Nack, Role, Source, panic_text};
use bytes::Bytes;
use futures_util::{FutureExt, future};

use crate::app::{Answer, AppConnection, Forward, Refusal};
use crate::attempts::{Next, worth_a_warning};
use crate::backoff::Backoff;
use crate::breaker::Refused;
use crate::call::Call;
use crate::dead_letter::{self, Death};
use crate::delivery::{Parcel, Route};
use crate::patience::Patience;
use crate::policy::{Failed, Policy, Unsuccessful};
use crate::status::Blocked;

/// Tries an event until it is known how it ends. Telling its reader is up to the caller.
pub(crate) async fn hand_over(
    connection: Option<&dyn AppConnection>,
    patience: &Rc<Patience>,
    parcel: &Parcel,
) -> Result<Bytes, Nack> {
    let Parcel { input, delivery } = parcel;
    let handover = Handover {
        connection,
        patience,
        input,
        delivery,
        attempt: 0,
        began: input.core.clock.now(),
        blocked: None,
    };
    handover.run().await
}

/// Its future is copied into the task of each key that has events. What few events need (a
/// policy, something to forward, a dead letter) is in boxes, or it would make up most of that.
struct Handover<'a> {
    connection: Option<&'a dyn AppConnection>,
    patience: &'a Rc<Patience>,
    input: &'a Route,
    delivery: &'a Delivery,
    /// The number of the attempt that is under way, or was last.
    attempt: u32,
    began: Instant,
    /// Lists it in the status.
    blocked: Option<Blocked>,
}

impl<'a> Handover<'a> {
    async fn run(mut self) -> Result<Bytes, Nack> {
        loop {
            if let Some(nack) = self.delivery.refused() {
                return Err(nack);
            }
            let policy = self.policy();
            let policy = policy.as_deref();
            self.attempt = self.attempt.saturating_add(1);
            let refusal = match self.attempt(policy).await {
                Ok(answer) => {
                    self.input.counters.taken();
                    self.is_over(true);
                    return Ok(answer.reply);
                }
                Err(Unsuccessful::Refused(refused)) => {
                    self.attempt -= 1;
                    self.wait_for_breaker(policy, refused).await?;
                    continue;
                }
                Err(Unsuccessful::Late) => Refusal::unreachable("context deadline exceeded"),
                Err(Unsuccessful::Failed(refusal)) => refusal,
            };
            let in_a_row = self.input.counters.refused();
            let failed = Failed {
                attempts: self.attempt,
                elapsed: self.now().saturating_duration_since(self.began),
                status: refusal.status,
            };
            let retry = policy.and_then(|policy| policy.retry.as_ref());
            let attempts = &self.input.attempts;
            match attempts.after(&failed, in_a_row, retry, fastrand::f64()) {
                Next::Again(wait) => {
                    if let Some(policy) = policy.filter(|_| retry.is_some()) {
                        policy.tries_again(self.attempt, &refusal.error, wait);
                    }
                    self.note_blocked(&refusal.error);
                    self.wait(wait).await;
                }
                Next::GiveUp(_) | Next::NewRound(_) if self.dead_letter().is_some() => {
                    return Box::pin(self.bury(&refusal.error)).await;
                }
                Next::GiveUp(wait) => {
                    tracing::error!(
                        target: "dapr.runtime.processor.binding",
                        "binding {}: the app refused an event: {}", self.name(), refusal.error,
                    );
                    self.is_over(false);
                    self.wait(wait).await;
                    return Err(Nack::Refused(refusal.error));
                }
                Next::NewRound(wait) => {
                    self.note_used_up(&refusal.error);
                    self.wait(wait).await;
                }
            }
        }
    }

    /// Tells whoever counts events that this one has come to its end.
    fn is_over(&self, is_taken: bool) {
        if let Some(observer) = &self.input.core.observer {
            let took = self.now().saturating_duration_since(self.began);
            observer.delivered(self.name(), took, is_taken);
        }
    }

    /// One attempt, within what the policy allows.
    async fn attempt(&self, policy: Option<&Policy>) -> Result<Answer, Unsuccessful<Refusal>> {
        let Some(policy) = policy else {
            return self.try_app().await.map_err(Unsuccessful::Failed);
        };
        policy.begins(self.attempt);
        let clock = &self.input.core.clock;
        let attempt = policy.attempt(clock, self.try_app(), |_| true);
        let answer = Box::pin(attempt).await?;
        policy.recovered(self.attempt);
        Ok(answer)
    }

    /// The app, and then what its answer asks for.
    async fn try_app(&self) -> Result<Answer, Refusal> {
        let input = self.input;
        let Some(connection) = self.connection else {
            return Err(Refusal::unreachable("app channel is not initialized"));
        };
        input.counters.attempted(input.core.clock.wall());
        let calling = connection.deliver(&input.component.input_name, self.delivery.event());
        let calling = AssertUnwindSafe(calling).catch_unwind();
        let answer = match self.patiently(calling).await {
            Ok(answer) => answer?,
            Err(panic) => return Err(Refusal::unreachable(panic_text(panic.as_ref()))),
        };
        if answer.forward == Forward::Nothing {
            return Ok(answer);
        }
        if let Err(error) = Box::pin(forward(input, &answer.forward)).await {
            input.counters.reply_failed();
            tracing::error!(
                target: "dapr.runtime.processor.binding",
                "error executing app response: {error}"
            );
            if input.component.delivery.reply_failure_nacks {
                return Err(Refusal {
                    error,
                    status: None,
                });
            }
        }
        Ok(answer)
    }

    /// Waits for the app's answer, and says from time to time that it is still waiting.
    async fn patiently<F: Future>(&self, calling: F) -> F::Output {
        let mut blocked = None;
        let tell = |silent: Duration| {
            let silent = silent.as_secs();
            let error = format!("the app has had it for {silent} s and has not answered");
            tracing::warn!(
                target: "dapr.runtime.processor.binding",
                "binding {}: an event{} waits: {error}; an inbound timeout policy would end that",
                self.name(), self.of_key(),
            );
            let blocked = blocked.get_or_insert_with(|| self.block());
            blocked.update(self.attempt, &error);
        };
        self.patience.wait(calling, tell).await
    }

    /// An open breaker says that the app is down: the event waits here, which costs its source
    /// no redelivery. Only what has passed by then is given up.
    async fn wait_for_breaker(
        &mut self,
        policy: Option<&Policy>,
        refused: Refused,
    ) -> Result<(), Nack> {
        if self.input.component.registration.input == Some(Source::Signal) {
            return Err(Nack::Refused(refused.to_string()));
        }
        let now = self.now();
        let opens = policy
            .and_then(|policy| policy.breaker.as_ref())
            .and_then(|breaker| breaker.open_until(now));
        let wait = match opens {
            Some(opens) => opens.saturating_duration_since(now),
            None => Backoff::STANDARD.ceiling(4).mul_f64(fastrand::f64()),
        };
        let attempt = self.attempt;
        self.blocked().update(attempt, &refused.to_string());
        self.wait(wait).await;
        Ok(())
    }

    /// Gives the event to its dead letter, until that takes it. Only then is it acknowledged.
    async fn bury(mut self, reason: &str) -> Result<Bytes, Nack> {
        let core = &self.input.core;
        let last = core.clock.wall();
        let Some(name) = self.dead_letter() else {
            return Err(Nack::Refused(reason.to_owned()));
        };
        let call = Call {
            binding: name.to_owned(),
            operation: "create".into(),
            data: self.delivery.event().data.clone(),
            metadata: dead_letter::metadata(&Death {
                source: self.name(),
                event: self.delivery.event(),
                reason,
                attempts: self.attempt,
                first: last - self.now().saturating_duration_since(self.began),
                last,
            }),
            deadline: None,
        };
        let mut attempt: u32 = 0;
        loop {
            let error = match core.invoke(call.clone()).await {
                Ok(_) => {
                    self.input.counters.buried();
                    self.is_over(false);
                    tracing::warn!(
                        target: "dapr.runtime.processor.binding",
                        "binding {}: an event{} went to the dead letter {name} after {} attempts: \
                         {reason}",
                        self.name(), self.of_key(), self.attempt,
                    );
                    return Ok(Bytes::new());
                }
                Err(error) => format!("the dead letter {name} does not take it: {error}"),
            };
            attempt = attempt.saturating_add(1);
            if attempt == 1 || worth_a_warning(attempt) {
                tracing::error!(
                    target: "dapr.runtime.processor.binding",
                    "binding {}: {error}; tried again until it does", self.name(),
                );
            }
            let attempts = self.attempt;
            self.blocked().update(attempts, &error);
            self.wait(Backoff::STANDARD.wait(attempt, fastrand::f64()))
                .await;
            if let Some(nack) = self.delivery.refused() {
                return Err(nack);
            }
        }
    }

    fn note_blocked(&mut self, error: &str) {
        let attempt = self.attempt;
        self.blocked().update(attempt, error);
        if worth_a_warning(attempt) {
            tracing::warn!(
                target: "dapr.runtime.processor.binding",
                "binding {}: an event{} was refused {attempt} times and is tried again; last: \
                 {error}",
                self.name(), self.of_key(),
            );
        }
    }

    fn note_used_up(&mut self, error: &str) {
        let attempt = self.attempt;
        let is_first = self.blocked().used_up(attempt, error);
        if is_first || worth_a_warning(attempt) {
            tracing::error!(
                target: "dapr.runtime.processor.binding",
                "binding {}: the attempts of an event{} are used up after {attempt}, and its \
                 source cannot pass it: it is tried on every {} s. Set spec.delivery.deadLetter to \
                 have such events put aside. Last: {error}",
                self.name(), self.of_key(), Backoff::STANDARD.cap.as_secs(),
            );
        }
    }

    /// Its entry in the status.
    fn blocked(&mut self) -> &mut Blocked {
        if self.blocked.is_none() {
            self.blocked = Some(self.block());
        }
        self.blocked.as_mut().expect("it was just made")
    }

    fn block(&self) -> Blocked {
        let wall = self.input.core.clock.wall();
        self.input.counters.block(self.delivery.key(), wall)
    }

    /// Waits, but not past the end of the input.
    async fn wait(&self, wait: Duration) {
        tokio::select! {
            biased;
            () = self.delivery.stopped() => {}
            () = self.input.core.clock.sleep(wait) => {}
        }
    }

    fn policy(&self) -> Option<Arc<Policy>> {
        let policies = self.input.core.policies.load();
        policies.as_ref()?.of(self.name(), Role::Input, self.now())
    }

    fn dead_letter(&self) -> Option<&'a str> {
        self.input.component.delivery.dead_letter.as_deref()
    }

    fn now(&self) -> Instant {
        self.input.core.clock.now()
    }

    fn name(&self) -> &'a str {
        &self.input.component.name
    }

    /// ` of <key>`, where it has one.
    fn of_key(&self) -> String {
        let key = self.delivery.key();
        key.map(|key| format!(" of {}", key.as_str()))
            .unwrap_or_default()
    }
}

/// Does what the app's answer asks for.
async fn forward(input: &Route, forward: &Forward) -> Result<(), String> {
    let (bindings, data, parallel) = match forward {
        Forward::Nothing => return Ok(()),
        _ if !input.component.delivery.reply => return Ok(()),
        Forward::Malformed(problem) => {
            warn_once(input, problem);
            return Ok(());
        }
        Forward::To {
            bindings,
            data,
            parallel,
        } => (bindings, data, *parallel),
    };
    let table = input.core.table.load();
    if let Some(unknown) = bindings.iter().find(|binding| table.get(binding).is_none()) {
        warn_once(
            input,
            &format!("\"to\" names {unknown:?}, which is no loaded output binding"),
        );
        return Ok(());
    }
    let send = |binding: &String| {
        let call = Call {
            binding: binding.clone(),
            operation: "create".into(),
            data: data.clone(),
            ..Call::default()
        };
        let core = Arc::clone(&input.core);
        let binding = binding.clone();
        async move {
            let outcome = core.invoke(call).await;
            outcome
                .map(drop)
                .map_err(|error| format!("output binding {binding}: {error}"))
        }
    };
    if parallel {
        let outcomes = future::join_all(bindings.iter().map(send)).await;
        outcomes.into_iter().collect()
    } else {
        for binding in bindings {
            send(binding).await?;
        }
        Ok(())
    }
}

fn warn_once(input: &Route, problem: &str) {
    if input.counters.first_malformed_reply() {
        tracing::warn!(
            target: "dapr.runtime.processor.binding",
            "binding {}: the app's answer is ignored: {problem}. This is said once.",
            input.component.name,
        );
    }
}
