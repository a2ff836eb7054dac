//! A circuit breaker: a pure state machine behind a lock (runtime §4.1).
//!
//! Closed, it counts; when its condition holds after a failure it opens and refuses everything for
//! a while; then it lets a few through, and their outcome decides. What was let through before a
//! change of state counts no more after it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bindery_contract::Instant;

/// What a breaker has counted since its state changed, or since its interval began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests let through.
    pub requests: u32,
    /// Those that went well.
    pub total_successes: u32,
    /// Those that did not.
    pub total_failures: u32,
    /// How many have gone well since the last failure.
    pub consecutive_successes: u32,
    /// How many have failed since the last success.
    pub consecutive_failures: u32,
}

/// When a breaker opens: asked after each failure while it is closed.
pub type Trip = dyn Fn(&Counts) -> bool + Send + Sync;

/// How a breaker is set up.
#[derive(Clone)]
pub struct BreakerSettings {
    /// The policy's name.
    pub name: String,
    /// How many requests are let through while it is half open, and how many of them must go
    /// well for it to close; at least 1.
    pub max_requests: u32,
    /// How often its counts begin anew while it is closed; zero is never.
    pub interval: Duration,
    /// For how long it stays open.
    pub timeout: Duration,
    /// When it opens.
    pub trip: Arc<Trip>,
}

impl fmt::Debug for BreakerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerSettings")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Where a breaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything is let through.
    Closed,
    /// Nothing is.
    Open,
    /// A few are, to see.
    HalfOpen,
}

impl BreakerState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// Its name, as the log and the metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What has happened in one state since the breaker was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// How many requests asked to be let through.
    pub asked: u64,
    /// How often it was entered.
    pub entered: u64,
}

/// Why a request was not let through. The wording is the reference's (runtime §1.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is open.
    #[error("circuit breaker is open")]
    Open,
    /// It is half open, and enough have been let through.
    #[error("too many requests")]
    TooMany,
}

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    /// Its name in the log.
    name: String,
    settings: BreakerSettings,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    counts: Counts,
    /// Moves on with every change of state and every interval.
    generation: u64,
    /// When the interval or the open time ends.
    until: Option<Instant>,
    past: [Past; 3],
}

/// A request that was let through: tell how it went. One that is dropped without, because its
/// caller went away, is as if it had never been.
#[derive(Debug)]
#[must_use = "the breaker counts outcomes"]
pub struct Admitted<'a> {
    breaker: &'a Breaker,
    generation: u64,
    is_told: bool,
}

impl Admitted<'_> {
    /// Tells how it went.
    pub fn done(mut self, success: bool, now: Instant) {
        self.is_told = true;
        self.breaker.done(self.generation, success, now);
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.breaker.forget(self.generation);
        }
    }
}

impl Breaker {
    /// A closed one, for a component.
    pub fn new(settings: BreakerSettings, component: &str, now: Instant) -> Self {
        let until = end_of(settings.interval, now);
        Self {
            name: format!("{}-{component}", settings.name),
            settings,
            inner: Mutex::new(Inner {
                state: BreakerState::Closed,
                counts: Counts::default(),
                generation: 0,
                until,
                past: <[Past; 3]>::default(),
            }),
        }
    }

    /// Where it is now.
    pub fn state(&self, now: Instant) -> BreakerState {
        self.current(now).state
    }

    /// What has happened in each of its states.
    pub fn history(&self) -> [(BreakerState, Past); 3] {
        let past = self.lock().past;
        BreakerState::ALL.map(|state| (state, past[state as usize]))
    }

    /// Lets a request through, or not.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, now: Instant) -> Result<Admitted<'_>, Refused> {
        let mut inner = self.current(now);
        let state = inner.state;
        inner.past[state as usize].asked += 1;
        match state {
            BreakerState::Open => return Err(Refused::Open),
            BreakerState::HalfOpen if inner.counts.requests >= self.max_requests() => {
                return Err(Refused::TooMany);
            }
            BreakerState::HalfOpen | BreakerState::Closed => {}
        }
        inner.counts.requests += 1;
        Ok(Admitted {
            breaker: self,
            generation: inner.generation,
            is_told: false,
        })
    }

    fn done(&self, generation: u64, success: bool, now: Instant) {
        let mut inner = self.current(now);
        if inner.generation != generation {
            return;
        }
        let counts = &mut inner.counts;
        if success {
            counts.total_successes += 1;
            counts.consecutive_successes += 1;
            counts.consecutive_failures = 0;
        } else {
            counts.total_failures += 1;
            counts.consecutive_failures += 1;
            counts.consecutive_successes = 0;
        }
        let counts = *counts;
        match inner.state {
            BreakerState::Closed if !success && (self.settings.trip)(&counts) => {
                self.enter(&mut inner, BreakerState::Open, now);
            }
            BreakerState::HalfOpen if !success => {
                self.enter(&mut inner, BreakerState::Open, now);
            }
            BreakerState::HalfOpen if counts.consecutive_successes >= self.max_requests() => {
                self.enter(&mut inner, BreakerState::Closed, now);
            }
            _ => {}
        }
    }

    /// When it lets something through again, if it is open now.
    pub fn open_until(&self, now: Instant) -> Option<Instant> {
        let inner = self.current(now);
        inner.until.filter(|_| inner.state == BreakerState::Open)
    }

    fn forget(&self, generation: u64) {
        let mut inner = self.lock();
        if inner.generation == generation {
            inner.counts.requests = inner.counts.requests.saturating_sub(1);
        }
    }

    fn max_requests(&self) -> u32 {
        self.settings.max_requests.max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state after whatever time has changed.
    fn current(&self, now: Instant) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        if inner.until.is_some_and(|until| until <= now) {
            match inner.state {
                BreakerState::Open => self.enter(&mut inner, BreakerState::HalfOpen, now),
                BreakerState::Closed => self.begin(&mut inner, now),
                BreakerState::HalfOpen => {}
            }
        }
        inner
    }

    fn enter(&self, inner: &mut Inner, state: BreakerState, now: Instant) {
        tracing::info!(
            target: "dapr.runtime.resiliency",
            "Circuit breaker {:?} changed state from {} to {}",
            self.name, inner.state.as_str(), state.as_str()
        );
        inner.state = state;
        inner.past[state as usize].entered += 1;
        self.begin(inner, now);
    }

    fn begin(&self, inner: &mut Inner, now: Instant) {
        inner.generation += 1;
        inner.counts = Counts::default();
        inner.until = match inner.state {
            BreakerState::Closed => end_of(self.settings.interval, now),
            BreakerState::Open => Some(now + self.settings.timeout),
            BreakerState::HalfOpen => None,
        };
    }
}

fn end_of(interval: Duration, now: Instant) -> Option<Instant> {
    (!interval.is_zero()).then(|| now + interval)
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn breaker(max_requests: u32, interval: u64, start: Instant) -> Breaker {
        let settings = BreakerSettings {
            name: "p".into(),
            max_requests,
            interval: Duration::from_secs(interval),
            timeout: Duration::from_secs(60),
            trip: Arc::new(|counts| counts.consecutive_failures > 2),
        };
        Breaker::new(settings, "c", start)
    }

    fn go(breaker: &Breaker, success: bool, now: Instant) -> Result<(), Refused> {
        breaker.admit(now)?.done(success, now);
        Ok(())
    }

    #[test]
    fn it_opens_when_its_condition_holds_and_lets_a_few_through_later() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let breaker = breaker(2, 0, start);
        go(&breaker, false, at(0)).unwrap();
        go(&breaker, true, at(0)).unwrap();
        for _ in 0..3 {
            assert_eq!(breaker.state(at(1)), BreakerState::Closed);
            go(&breaker, false, at(1)).unwrap();
        }
        assert_eq!(go(&breaker, true, at(60)), Err(Refused::Open));
        assert_eq!(breaker.open_until(at(60)), Some(at(61)));
        let first = breaker.admit(at(61)).unwrap();
        let second = breaker.admit(at(61)).unwrap();
        assert_eq!(breaker.admit(at(61)).unwrap_err(), Refused::TooMany);
        first.done(true, at(62));
        assert_eq!(breaker.state(at(62)), BreakerState::HalfOpen);
        second.done(true, at(62));
        assert_eq!(breaker.state(at(62)), BreakerState::Closed);
    }

    #[test]
    fn a_caller_that_goes_away_gives_its_place_back() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let breaker = breaker(1, 0, start);
        for _ in 0..3 {
            go(&breaker, false, at(0)).unwrap();
        }
        drop(breaker.admit(at(60)).unwrap());
        go(&breaker, true, at(60)).unwrap();
        assert_eq!(breaker.state(at(60)), BreakerState::Closed);
    }

    #[test]
    fn one_failure_while_half_open_opens_it_again() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let breaker = breaker(1, 0, start);
        for _ in 0..3 {
            go(&breaker, false, at(0)).unwrap();
        }
        go(&breaker, false, at(60)).unwrap();
        assert_eq!(breaker.state(at(61)), BreakerState::Open);
        go(&breaker, true, at(120)).unwrap();
        assert_eq!(breaker.state(at(120)), BreakerState::Closed);
    }

    #[test]
    fn an_interval_begins_the_counts_anew_and_late_outcomes_count_no_more() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let breaker = breaker(1, 10, start);
        go(&breaker, false, at(1)).unwrap();
        go(&breaker, false, at(2)).unwrap();
        let late = breaker.admit(at(3)).unwrap();
        go(&breaker, false, at(11)).unwrap();
        late.done(false, at(12));
        assert_eq!(
            breaker.state(at(12)),
            BreakerState::Closed,
            "one in this interval"
        );
    }

    proptest! {
        /// Whatever happens: no more than the quota is let through while it is half open, and
        /// nothing while it is open.
        #[test]
        fn the_quota_holds(steps in prop::collection::vec((0u8..4, 0u64..40, any::<bool>()), 0..200), quota in 1u32..4) {
            let mut now = Instant::now();
            let breaker = breaker(quota, 0, now);
            let mut running: Vec<Admitted<'_>> = Vec::new();
            let (mut half_open_since, mut admitted) = (0, 0);
            for (step, secs, success) in steps {
                now += Duration::from_secs(if step == 0 { secs } else { 0 });
                let state = breaker.state(now);
                let generation = breaker.current(now).generation;
                if generation != half_open_since {
                    (half_open_since, admitted) = (generation, 0);
                }
                match step {
                    1 | 2 => match breaker.admit(now) {
                        Ok(ticket) => {
                            prop_assert_ne!(state, BreakerState::Open);
                            admitted += 1;
                            prop_assert!(state != BreakerState::HalfOpen || admitted <= quota);
                            running.push(ticket);
                        }
                        Err(Refused::Open) => prop_assert_eq!(state, BreakerState::Open),
                        Err(Refused::TooMany) => prop_assert_eq!(state, BreakerState::HalfOpen),
                    },
                    3 => if let Some(ticket) = running.pop() {
                        ticket.done(success, now);
                    },
                    _ => {}
                }
            }
        }
    }
}
