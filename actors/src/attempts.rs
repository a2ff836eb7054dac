//! How often an event is tried, and what becomes of it then: a pure decision.

use std::time::Duration;

use bindery_contract::Source;
use bindery_contract::settings::{RetryPolicy, RetrySettings};

use crate::backoff::Backoff;

/// What an input's events are tried by.
#[derive(Clone, Debug)]
pub(crate) struct Attempts {
    source: Source,
    /// How many attempts an event gets; `None` is without end.
    max: Option<u32>,
    /// The component's own settings, where it has some.
    own: Option<RetrySettings>,
}

/// What follows a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again in place, after this wait.
    Again(Duration),
    /// The attempts are used up: a queue is told so, after this wait, so that its redelivery
    /// cannot spin.
    GiveUp(Duration),
}

impl Attempts {
    /// `max_attempts` 0 means what suits the source: without end for logs, one for queues.
    pub(crate) fn new(source: Source, max_attempts: u32, own: Option<RetrySettings>) -> Self {
        let by_settings = own.as_ref().map(|own| {
            u32::try_from(own.max_retries)
                .ok()
                .map(|n| n.saturating_add(1))
        });
        let max = match (max_attempts, by_settings, source) {
            (_, _, Source::Signal) => Some(1),
            (1.., _, _) => Some(max_attempts),
            (0, Some(max), _) => max,
            (0, None, Source::Queue) => Some(1),
            (0, None, Source::Log) => None,
        };
        Self { source, max, own }
    }

    /// What follows the refusal of attempt number `attempt` (1 is the first). `failures` is how
    /// many refusals this input has had in a row, and stands in for the redeliveries of a queue,
    /// which nobody counts for us.
    pub(crate) fn after(&self, attempt: u32, failures: u32, chance: f64) -> Next {
        let used_up = self.max.is_some_and(|max| attempt >= max);
        match self.source {
            Source::Signal => Next::GiveUp(Duration::ZERO),
            Source::Queue if used_up => Next::GiveUp(self.wait(failures, chance)),
            // A log cannot pass the event: a new round, at the largest wait.
            Source::Log if used_up => Next::Again(Backoff::STANDARD.cap),
            Source::Queue | Source::Log => Next::Again(self.wait(attempt, chance)),
        }
    }

    fn wait(&self, attempt: u32, chance: f64) -> Duration {
        match &self.own {
            None => Backoff::STANDARD.wait(attempt, chance),
            Some(own) if own.policy == RetryPolicy::Constant => {
                own.duration.positive().unwrap_or_default()
            }
            Some(own) => exponential(own, attempt, chance),
        }
    }
}

fn exponential(own: &RetrySettings, attempt: u32, chance: f64) -> Duration {
    let longest = own
        .max_interval
        .positive()
        .unwrap_or_default()
        .as_secs_f64();
    let first = own
        .initial_interval
        .positive()
        .unwrap_or_default()
        .as_secs_f64();
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = (first * f64::from(own.multiplier).max(1.0).powi(exponent)).min(longest);
    let spread = f64::from(own.randomization_factor.clamp(0.0, 1.0));
    Duration::try_from_secs_f64(grown * (1.0 + spread * (2.0 * chance - 1.0))).unwrap_or_default()
}

/// Whether a log line is due at this attempt: often enough to be noticed, not a flood.
pub(crate) fn worth_a_warning(attempt: u32) -> bool {
    matches!(attempt, 5 | 50) || (attempt > 0 && attempt.is_multiple_of(500))
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use bindery_contract::settings::GoDuration;

    use super::*;

    #[test]
    fn a_log_is_tried_in_place_without_end() {
        let attempts = Attempts::new(Source::Log, 0, None);
        assert_eq!(
            attempts.after(1, 1, 0.5),
            Next::Again(Duration::from_millis(50))
        );
        assert_eq!(
            attempts.after(1_000, 1, 1.0),
            Next::Again(Duration::from_secs(30))
        );
    }

    #[test]
    fn a_log_with_attempts_used_up_begins_a_new_round() {
        let attempts = Attempts::new(Source::Log, 3, None);
        assert!(matches!(attempts.after(2, 2, 1.0), Next::Again(wait) if wait.as_millis() == 200));
        assert_eq!(
            attempts.after(3, 3, 0.0),
            Next::Again(Duration::from_secs(30))
        );
    }

    #[test]
    fn a_queue_gets_one_attempt_and_a_nack_that_cannot_spin() {
        let attempts = Attempts::new(Source::Queue, 0, None);
        assert_eq!(
            attempts.after(1, 1, 1.0),
            Next::GiveUp(Duration::from_millis(100))
        );
        assert_eq!(
            attempts.after(1, 4, 1.0),
            Next::GiveUp(Duration::from_millis(800))
        );
        let attempts = Attempts::new(Source::Queue, 2, None);
        assert!(matches!(attempts.after(1, 1, 1.0), Next::Again(_)));
        assert!(matches!(attempts.after(2, 2, 1.0), Next::GiveUp(_)));
    }

    #[test]
    fn a_signal_is_tried_once_whatever_is_configured() {
        let attempts = Attempts::new(Source::Signal, 9, None);
        assert_eq!(attempts.after(1, 1, 0.5), Next::GiveUp(Duration::ZERO));
    }

    #[test]
    fn a_components_own_settings_feed_the_policy() {
        let own = RetrySettings {
            max_retries: 2,
            ..RetrySettings::default()
        };
        let attempts = Attempts::new(Source::Log, 0, Some(own.clone()));
        assert_eq!(
            attempts.after(1, 1, 0.5),
            Next::Again(Duration::from_secs(5))
        );
        assert_eq!(
            attempts.after(3, 3, 0.5),
            Next::Again(Duration::from_secs(30)),
            "a new round"
        );
        let own = RetrySettings {
            policy: RetryPolicy::Exponential,
            max_interval: GoDuration::from_secs(2),
            max_retries: -1,
            ..own
        };
        let attempts = Attempts::new(Source::Log, 0, Some(own));
        let waits: Vec<u64> = (1..=5)
            .map(|attempt| match attempts.after(attempt, attempt, 0.5) {
                Next::Again(wait) => u64::try_from(wait.as_millis()).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(waits, [500, 750, 1125, 1687, 2000]);
    }

    #[test]
    fn warnings_come_at_5_50_and_every_500() {
        let warned: Vec<u32> = (0..1600)
            .filter(|attempt| worth_a_warning(*attempt))
            .collect();
        assert_eq!(warned, [5, 50, 500, 1000, 1500]);
    }
}
