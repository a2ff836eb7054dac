//! What protects the calls in one direction of a component: timeout, retry, breaker (runtime §4).
//!
//! The nesting is the reference's: retry around breaker around timeout around the operation. A
//! timeout counts for each attempt, and an attempt that timed out is tried again like any other.
//! The inner part is [`Policy::attempt`]; the retry is done by whoever owns it: calls in
//! `call.rs`, events in `handover.rs`.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bindery_contract::settings::{GoDuration, RetryPolicy, RetrySettings};
use bindery_contract::{Clock, Instant, Role};

use crate::breaker::{Breaker, BreakerSettings, Refused};

/// What protects one direction, as it is configured. Nothing of it is there unless it is named.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How attempts are repeated.
    pub retry: Option<Retry>,
    /// What stops calling something that is down.
    pub breaker: Option<BreakerSettings>,
}

/// How attempts are repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The waits, and how many there are.
    pub settings: RetrySettings,
    /// The app's statuses that are tried again; all, if there is no list. What has no status
    /// (nobody there, a timeout) is always tried again.
    pub statuses: Option<Vec<RangeInclusive<u16>>>,
}

/// A failure, as far as the decision whether to try again depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// How many attempts there have been.
    pub attempts: u32,
    /// How long ago the first one began.
    pub elapsed: Duration,
    /// What the other side answered, where it did.
    pub status: Option<u16>,
}

impl Retry {
    /// Whether another attempt is due after this failure.
    pub fn goes_on(&self, failed: &Failed) -> bool {
        let max = u32::try_from(self.settings.max_retries).ok();
        max.is_none_or(|max| failed.attempts <= max) && self.allows(failed)
    }

    /// Whether another attempt is due, whatever their number.
    pub(crate) fn allows(&self, failed: &Failed) -> bool {
        let limit = self.settings.max_elapsed_time.positive();
        let is_over = self.settings.policy == RetryPolicy::Exponential
            && limit.is_some_and(|limit| failed.elapsed >= limit);
        !is_over
            && match (&self.statuses, failed.status) {
                (Some(ranges), Some(status)) => ranges.iter().any(|range| range.contains(&status)),
                _ => true,
            }
    }
}

/// The wait after attempt number `attempt` (1 is the first). `chance` is 0 to 1, evenly drawn.
pub(crate) fn wait(settings: &RetrySettings, attempt: u32, chance: f64) -> Duration {
    let length = |duration: GoDuration| duration.positive().unwrap_or_default();
    if settings.policy == RetryPolicy::Constant {
        return length(settings.duration);
    }
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let factor = f64::from(settings.multiplier).max(1.0).powi(exponent);
    let grown = (length(settings.initial_interval).as_secs_f64() * factor)
        .min(length(settings.max_interval).as_secs_f64());
    let spread = f64::from(settings.randomization_factor.clamp(0.0, 1.0));
    Duration::try_from_secs_f64(grown * (1.0 + spread * (2.0 * chance - 1.0))).unwrap_or_default()
}

/// What protects one direction of one component.
#[derive(Debug)]
pub struct Policy {
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How attempts are repeated.
    pub retry: Option<Retry>,
    /// What stops calling something that is down: this direction's own.
    pub breaker: Option<Breaker>,
    /// `component[<name>] output`: what the log calls it.
    operation: String,
    uses: AtomicU64,
    timeouts: AtomicU64,
    retries: AtomicU64,
}

/// Why an attempt did not succeed.
#[derive(Debug)]
pub(crate) enum Unsuccessful<E> {
    /// The breaker did not let it through.
    Refused(Refused),
    /// It took too long.
    Late,
    /// It failed.
    Failed(E),
}

/// What a policy has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyCounts {
    /// Operations it was asked about.
    pub uses: u64,
    /// Attempts that it ended.
    pub timeouts: u64,
    /// Operations that were tried more than once.
    pub retries: u64,
}

impl Policy {
    fn new(rules: &Rules, component: &str, role: Role, now: Instant) -> Self {
        let breaker = rules.breaker.clone();
        Self {
            timeout: rules.timeout,
            retry: rules.retry.clone(),
            breaker: breaker.map(|settings| Breaker::new(settings, component, now)),
            operation: format!("component[{component}] {role}"),
            uses: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        }
    }

    /// What it has done so far.
    pub fn counts(&self) -> PolicyCounts {
        PolicyCounts {
            uses: self.uses.load(Ordering::Relaxed),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }

    /// One attempt: the breaker around the timeout around the operation. A failure of which
    /// `tells` says no tells nothing about the other side, and the breaker does not count it.
    pub(crate) async fn attempt<T, E>(
        &self,
        clock: &Clock,
        operation: impl Future<Output = Result<T, E>>,
        tells: impl FnOnce(&E) -> bool,
    ) -> Result<T, Unsuccessful<E>> {
        let admitted = match &self.breaker {
            Some(breaker) => Some(breaker.admit(clock.now()).map_err(Unsuccessful::Refused)?),
            None => None,
        };
        let outcome = match self.timeout {
            None => operation.await.map_err(Unsuccessful::Failed),
            Some(limit) => {
                let end = clock.now() + limit;
                match clock.timeout_at(end, operation).await {
                    // A binding that knows the end of its time may be the first to say so.
                    Some(Err(_)) if clock.now() >= end => Err(Unsuccessful::Late),
                    Some(outcome) => outcome.map_err(Unsuccessful::Failed),
                    None => Err(Unsuccessful::Late),
                }
            }
        };
        let counts = match &outcome {
            Err(Unsuccessful::Failed(error)) => tells(error),
            _ => true,
        };
        if matches!(outcome, Err(Unsuccessful::Late)) {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(admitted) = admitted.filter(|_| counts) {
            admitted.done(outcome.is_ok(), clock.now());
        }
        outcome
    }

    /// Notes that an attempt is made; for the first one, that the policy is used.
    pub(crate) fn begins(&self, attempt: u32) {
        if attempt == 1 {
            self.uses.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that an operation will be tried again. Once for each operation on the level that
    /// people read.
    pub(crate) fn tries_again(&self, attempt: u32, error: &dyn std::fmt::Display, wait: Duration) {
        if attempt == 1 {
            self.retries.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                target: "dapr.runtime.resiliency",
                "Error processing operation {}. Retrying in {}…",
                self.operation, GoDuration::from(wait)
            );
        }
        tracing::debug!(
            target: "dapr.runtime.resiliency",
            "Error for operation {} was: {error}", self.operation
        );
    }

    /// Says that an operation succeeded at last.
    pub(crate) fn recovered(&self, attempts: u32) {
        if attempts > 1 {
            tracing::info!(
                target: "dapr.runtime.resiliency",
                "Recovered processing operation {} after {attempts} attempts", self.operation
            );
        }
    }
}

/// What is configured for both directions of a component.
#[derive(Clone, Debug, Default)]
pub struct Directions {
    /// Events to the app.
    pub inbound: Rules,
    /// Calls of the output.
    pub outbound: Rules,
}

impl Directions {
    fn of(&self, role: Role) -> &Rules {
        match role {
            Role::Input => &self.inbound,
            Role::Output => &self.outbound,
        }
    }
}

/// The policies of all components, at one moment. A reload replaces all of them, and breakers
/// begin closed.
#[derive(Debug, Default)]
pub struct Policies {
    /// Those of components that are named; for them these alone count.
    targets: HashMap<String, Directions>,
    /// Those of all others.
    defaults: Directions,
    /// The document that they are from, and its namespace; of several, the last.
    document: (String, String),
    /// What has been used so far, inputs and outputs.
    inbound: RwLock<HashMap<String, Option<Arc<Policy>>>>,
    outbound: RwLock<HashMap<String, Option<Arc<Policy>>>>,
}

/// A policy that is in use.
#[derive(Debug)]
pub struct PolicyUse {
    /// Whose.
    pub component: String,
    /// In which direction.
    pub role: Role,
    /// What it is, and what it has done.
    pub policy: Arc<Policy>,
}

impl Rules {
    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.timeout.is_none() && self.retry.is_none() && self.breaker.is_none()
    }
}

impl Policies {
    /// These for components of their own name, and those for all others.
    pub fn new(targets: HashMap<String, Directions>, defaults: Directions) -> Self {
        Self {
            targets,
            defaults,
            ..Self::default()
        }
    }

    /// Says which document they are from.
    pub fn from_document(mut self, name: String, namespace: String) -> Self {
        self.document = (name, namespace);
        self
    }

    /// The document that they are from, and its namespace.
    pub fn document(&self) -> (&str, &str) {
        (&self.document.0, &self.document.1)
    }

    /// What has been used so far, in the order of the components' names.
    pub fn in_use(&self) -> Vec<PolicyUse> {
        let mut all = Vec::new();
        for (role, made) in [(Role::Input, &self.inbound), (Role::Output, &self.outbound)] {
            let made = made.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(made.iter().filter_map(|(component, policy)| {
                let policy = Arc::clone(policy.as_ref()?);
                let component = component.clone();
                Some(PolicyUse {
                    component,
                    role,
                    policy,
                })
            }));
        }
        all.sort_by(|a, b| a.component.cmp(&b.component));
        all
    }

    /// What protects one direction of a component, if anything does. Ask only for components
    /// that there are: each name is remembered.
    pub fn of(&self, component: &str, role: Role, now: Instant) -> Option<Arc<Policy>> {
        if self.targets.is_empty() && self.defaults.of(role).is_empty() {
            return None;
        }
        let made = match role {
            Role::Input => &self.inbound,
            Role::Output => &self.outbound,
        };
        let known = made.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = known.get(component) {
            return policy.clone();
        }
        drop(known);
        let rules = self
            .targets
            .get(component)
            .unwrap_or(&self.defaults)
            .of(role);
        let fresh =
            || (!rules.is_empty()).then(|| Arc::new(Policy::new(rules, component, role, now)));
        let mut made = made.write().unwrap_or_else(PoisonError::into_inner);
        made.entry(component.to_owned())
            .or_insert_with(fresh)
            .clone()
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use super::*;

    fn failed(attempts: u32) -> Failed {
        Failed {
            attempts,
            elapsed: Duration::ZERO,
            status: None,
        }
    }

    fn retry(settings: RetrySettings) -> Retry {
        Retry {
            settings,
            statuses: None,
        }
    }

    #[test]
    fn retries_end_after_their_number() {
        let goes_on = |max_retries, attempts| {
            let retry = retry(RetrySettings {
                max_retries,
                ..RetrySettings::default()
            });
            retry.goes_on(&failed(attempts))
        };
        assert!(!goes_on(0, 1));
        assert!(goes_on(2, 2));
        assert!(!goes_on(2, 3));
        assert!(goes_on(-1, 1_000_000));
    }

    #[test]
    fn exponential_retries_end_after_a_quarter_of_an_hour() {
        let settings = RetrySettings {
            policy: RetryPolicy::Exponential,
            max_interval: GoDuration::from_secs(2),
            ..RetrySettings::default()
        };
        let waits: Vec<u128> = (1..=5)
            .map(|attempt| wait(&settings, attempt, 0.5).as_millis())
            .collect();
        assert_eq!(waits, [500, 750, 1125, 1687, 2000]);
        let longest = wait(&settings, 1, 1.0);
        assert_eq!(
            longest,
            Duration::from_millis(750),
            "half as much again at the most"
        );
        let late = Failed {
            elapsed: Duration::from_secs(900),
            ..failed(1)
        };
        assert!(!retry(settings).goes_on(&late));
        assert!(
            retry(RetrySettings::default()).goes_on(&late),
            "constant ones go on"
        );
    }

    #[test]
    fn only_the_listed_statuses_are_tried_again() {
        let retry = Retry {
            settings: RetrySettings::default(),
            statuses: Some(vec![429..=429, 500..=599]),
        };
        for (status, tried) in [
            (Some(429), true),
            (Some(503), true),
            (Some(404), false),
            (None, true),
        ] {
            let failed = Failed {
                status,
                ..failed(1)
            };
            assert_eq!(retry.goes_on(&failed), tried, "{status:?}");
        }
    }

    #[test]
    fn a_named_component_has_its_own_policies_and_no_default_ones() {
        let timeout = |secs| Rules {
            timeout: Some(Duration::from_secs(secs)),
            ..Rules::default()
        };
        let own = Directions {
            inbound: Rules::default(),
            outbound: timeout(1),
        };
        let defaults = Directions {
            inbound: timeout(2),
            outbound: timeout(3),
        };
        let policies = Policies::new(HashMap::from([("own".into(), own)]), defaults);
        let now = Instant::now();
        let secs = |component, role| {
            let policy = policies.of(component, role, now)?;
            policy.timeout.map(|timeout| timeout.as_secs())
        };
        assert_eq!(secs("own", Role::Output), Some(1));
        assert_eq!(secs("own", Role::Input), None);
        assert_eq!(secs("other", Role::Input), Some(2));
        assert_eq!(secs("other", Role::Output), Some(3));
    }

    #[test]
    fn each_direction_has_a_breaker_of_its_own() {
        let rules = Rules {
            breaker: Some(BreakerSettings {
                name: "b".into(),
                max_requests: 1,
                interval: Duration::ZERO,
                timeout: Duration::from_secs(60),
                trip: Arc::new(|_| true),
            }),
            ..Rules::default()
        };
        let both = Directions {
            inbound: rules.clone(),
            outbound: rules,
        };
        let policies = Policies::new(HashMap::new(), both);
        let now = Instant::now();
        let policy = |role| policies.of("c", role, now).expect("there is one");
        let (inbound, outbound) = (policy(Role::Input), policy(Role::Output));
        let breaker = |policy: &Arc<Policy>| policy.breaker.as_ref().map(|b| b.state(now));
        let admitted = outbound.breaker.as_ref().unwrap().admit(now).unwrap();
        admitted.done(false, now);
        assert_eq!(breaker(&outbound), Some(crate::BreakerState::Open));
        assert_eq!(breaker(&inbound), Some(crate::BreakerState::Closed));
        assert!(Arc::ptr_eq(&outbound, &policy(Role::Output)), "it is kept");
    }
}
