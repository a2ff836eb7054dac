//! Calls of outputs, as their callers see them: what protects them is applied here, and what is
//! left goes to a router.

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{Instant, InvokeError, Metadata, Reply, Retry, Role};
use bytes::Bytes;

use crate::breaker::Refused;
use crate::core::Core;
use crate::policy::{self, Failed, Policy, Unsuccessful};
use crate::table::Available;
use crate::worker::Worker;

/// A call of an output, before it is known whether there is one.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The component's name.
    pub binding: String,
    /// What it shall do; compared exactly.
    pub operation: String,
    /// The payload.
    pub data: Bytes,
    /// Per-call metadata.
    pub metadata: Metadata,
    /// When the caller stops waiting, if it said so.
    pub deadline: Option<Instant>,
}

/// Why a call failed. The wording is what the API shows (runtime §1.1.2).
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call names no operation.
    #[error("operation field is missing from request")]
    NoOperation,
    /// There is no such output.
    #[error("couldn't find output binding {0}")]
    NotFound(String),
    /// The output does not offer the operation.
    #[error(
        "binding {binding} does not support operation {operation}. supported operations:{}",
        .supported.join(" ")
    )]
    Unsupported {
        /// The component's name.
        binding: String,
        /// What was asked for.
        operation: String,
        /// What it offers.
        supported: Vec<&'static str>,
    },
    /// The output is not running, and did not come back in time.
    #[error("{0}")]
    Away(Arc<str>),
    /// The output failed.
    #[error("{0}")]
    Failed(InvokeError),
    /// The output panicked.
    #[error("the binding {0}")]
    Panicked(String),
    /// It took longer than its timeout policy allows.
    #[error("context deadline exceeded")]
    Late,
    /// Its circuit breaker did not let it through.
    #[error("{0}")]
    Refused(Refused),
    /// Too many calls are waiting.
    #[error("too many calls are waiting; try again")]
    Overloaded,
    /// The router died with the call in its mailbox.
    #[error("the call was lost before it reached the binding; it can be sent again")]
    Lost,
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Closed,
}

impl CallError {
    /// Whether it tells anything about the other side: a call that was wrong in itself does not,
    /// so it is neither repeated nor counted by a breaker.
    fn tells(&self) -> bool {
        !matches!(
            self,
            Self::NoOperation
                | Self::NotFound(_)
                | Self::Unsupported { .. }
                | Self::Closed
                | Self::Failed(InvokeError::Rejected {
                    retry: Retry::Pointless,
                    ..
                })
        )
    }
}

impl Core {
    /// Calls an output, from any thread: the call goes through the mailbox of a router. What
    /// resiliency policies say is done on the way (runtime §4.3).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn invoke(self: &Arc<Self>, call: Call) -> Result<Option<Reply>, CallError> {
        match self.admit(&call)? {
            None => self.dispatch(call).await,
            Some(policy) => {
                let dispatch = |call| self.dispatch(call);
                Box::pin(self.invoke_protected(&call, &policy, dispatch)).await
            }
        }
    }

    /// The same without a way through a mailbox, where the current thread is a worker of this
    /// sidecar.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn invoke_here(self: &Arc<Self>, call: &Call) -> Result<Option<Reply>, CallError> {
        let Some(worker) = Worker::here(self) else {
            return Box::pin(self.invoke(call.clone())).await;
        };
        let routes = &worker.routes();
        match self.admit(call)? {
            None => routes.call(call).await,
            // In a box, or every call that is not protected would carry its size around.
            Some(policy) => {
                let attempt = |call| async move { routes.call(&call).await };
                Box::pin(self.invoke_protected(call, &policy, attempt)).await
            }
        }
    }

    /// What protects a call that may be made.
    ///
    /// # Errors
    /// When it names no operation.
    fn admit(&self, call: &Call) -> Result<Option<Arc<Policy>>, CallError> {
        if call.operation.is_empty() {
            return Err(CallError::NoOperation);
        }
        Ok(self.protection(&call.binding))
    }

    /// What protects the calls of an output. A name that no output has gets nothing, or callers
    /// could fill the memory with names.
    fn protection(&self, binding: &str) -> Option<Arc<Policy>> {
        let policies = self.policies.load();
        let policies = policies.as_ref()?;
        self.table.load().get(binding)?;
        policies.of(binding, Role::Output, self.clock.now())
    }

    async fn invoke_protected<F>(
        self: &Arc<Self>,
        call: &Call,
        policy: &Policy,
        dispatch: impl Fn(Call) -> F,
    ) -> Result<Option<Reply>, CallError>
    where
        F: Future<Output = Result<Option<Reply>, CallError>>,
    {
        let clock = &self.clock;
        let began = clock.now();
        let mut attempt: u32 = 1;
        loop {
            policy.begins(attempt);
            let by_policy = policy.timeout.map(|timeout| clock.now() + timeout);
            let this = Call {
                deadline: [call.deadline, by_policy].into_iter().flatten().min(),
                ..call.clone()
            };
            let outcome = policy.attempt(clock, dispatch(this), CallError::tells);
            let error = match outcome.await {
                Ok(reply) => {
                    policy.recovered(attempt);
                    return Ok(reply);
                }
                Err(Unsuccessful::Refused(refused)) => return Err(CallError::Refused(refused)),
                Err(Unsuccessful::Late) => self.why_late(&call.binding),
                Err(Unsuccessful::Failed(error)) => error,
            };
            let failed = Failed {
                attempts: attempt,
                elapsed: clock.now().saturating_duration_since(began),
                status: None,
            };
            let Some(wait) = next_wait(policy, &error, &failed) else {
                return Err(error);
            };
            // Nobody waits any more when the next attempt would begin.
            if call
                .deadline
                .is_some_and(|deadline| clock.now() + wait >= deadline)
            {
                return Err(error);
            }
            policy.tries_again(attempt, &error, wait);
            clock.sleep(wait).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// A call that waited for its binding in vain says what the binding suffers from.
    fn why_late(&self, binding: &str) -> CallError {
        match self.table.load().get(binding).map(|entry| &entry.available) {
            Some(Available::Away(why)) => CallError::Away(Arc::clone(why)),
            _ => CallError::Late,
        }
    }
}

fn next_wait(policy: &Policy, error: &CallError, failed: &Failed) -> Option<Duration> {
    let retry = policy.retry.as_ref().filter(|_| error.tells())?;
    let wait = || policy::wait(&retry.settings, failed.attempts, fastrand::f64());
    retry.goes_on(failed).then(wait)
}
