//! How often an event is tried, and what becomes of it then: a pure decision.

use std::time::Duration;

use bindery_contract::Source;
use bindery_contract::settings::RetrySettings;

use crate::backoff::Backoff;
use crate::policy::{self, Failed, Retry};

/// What an input's events are tried by, policies aside.
#[derive(Clone, Debug)]
pub(crate) struct Attempts {
    source: Source,
    /// `spec.delivery.maxAttempts`; 0 is unset.
    max: u32,
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
    /// The attempts are used up, and the source cannot pass the event: a new round, after this
    /// wait.
    NewRound(Duration),
}

impl Attempts {
    /// `max` 0 means what the policy says, or what suits the source.
    pub(crate) fn new(source: Source, max: u32, own: Option<RetrySettings>) -> Self {
        Self { source, max, own }
    }

    /// What follows a refusal. `in_a_row` is how many refusals this input has had in a row, and
    /// stands in for the redeliveries of a queue, which nobody counts for us.
    pub(crate) fn after(
        &self,
        failed: &Failed,
        in_a_row: u32,
        policy: Option<&Retry>,
        chance: f64,
    ) -> Next {
        let attempt = failed.attempts;
        let settings = policy.map(|policy| &policy.settings).or(self.own.as_ref());
        let wait = |attempt| match settings {
            Some(settings) => policy::wait(settings, attempt, chance),
            None => Backoff::STANDARD.wait(attempt, chance),
        };
        let refused_for_good = policy.is_some_and(|policy| !policy.allows(failed));
        let used_up = refused_for_good || self.max(settings).is_some_and(|max| attempt >= max);
        match self.source {
            _ if !used_up => Next::Again(wait(attempt)),
            Source::Signal => Next::GiveUp(Duration::ZERO),
            Source::Queue => Next::GiveUp(wait(in_a_row)),
            Source::Log => Next::NewRound(Backoff::STANDARD.cap),
        }
    }

    /// How many attempts an event gets; `None` is without end.
    fn max(&self, settings: Option<&RetrySettings>) -> Option<u32> {
        match (self.max, settings, self.source) {
            (1.., _, _) => Some(self.max),
            (0, Some(settings), _) => u32::try_from(settings.max_retries)
                .ok()
                .map(|retries| retries.saturating_add(1)),
            (0, None, Source::Queue | Source::Signal) => Some(1),
            (0, None, Source::Log) => None,
        }
    }
}

/// Whether a log line is due at this attempt: often enough to be noticed, not a flood.
pub(crate) fn worth_a_warning(attempt: u32) -> bool {
    matches!(attempt, 5 | 50) || (attempt > 0 && attempt.is_multiple_of(500))
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use bindery_contract::settings::GoDuration;

    use super::*;

    fn after(attempts: &Attempts, attempt: u32, in_a_row: u32, chance: f64) -> Next {
        attempts.after(&failed(attempt), in_a_row, None, chance)
    }

    fn failed(attempts: u32) -> Failed {
        Failed {
            attempts,
            elapsed: Duration::ZERO,
            status: Some(500),
        }
    }

    #[test]
    fn a_log_is_tried_in_place_without_end() {
        let attempts = Attempts::new(Source::Log, 0, None);
        let first = after(&attempts, 1, 1, 0.5);
        assert_eq!(first, Next::Again(Duration::from_millis(50)));
        let thousandth = after(&attempts, 1_000, 1, 1.0);
        assert_eq!(thousandth, Next::Again(Duration::from_secs(30)));
    }

    #[test]
    fn a_log_with_attempts_used_up_begins_a_new_round() {
        let attempts = Attempts::new(Source::Log, 3, None);
        let second = after(&attempts, 2, 2, 1.0);
        assert_eq!(second, Next::Again(Duration::from_millis(200)));
        let third = after(&attempts, 3, 3, 0.0);
        assert_eq!(third, Next::NewRound(Duration::from_secs(30)));
    }

    #[test]
    fn a_queue_gets_one_attempt_and_a_nack_that_cannot_spin() {
        let attempts = Attempts::new(Source::Queue, 0, None);
        let waits = [1, 4].map(|in_a_row| after(&attempts, 1, in_a_row, 1.0));
        assert_eq!(waits[0], Next::GiveUp(Duration::from_millis(100)));
        assert_eq!(waits[1], Next::GiveUp(Duration::from_millis(800)));
        let attempts = Attempts::new(Source::Queue, 2, None);
        assert!(matches!(after(&attempts, 1, 1, 1.0), Next::Again(_)));
        assert!(matches!(after(&attempts, 2, 2, 1.0), Next::GiveUp(_)));
    }

    #[test]
    fn a_signal_is_tried_once_unless_somebody_asked_for_more() {
        let attempts = Attempts::new(Source::Signal, 0, None);
        assert_eq!(after(&attempts, 1, 1, 0.5), Next::GiveUp(Duration::ZERO));
        let attempts = Attempts::new(Source::Signal, 2, None);
        assert!(matches!(after(&attempts, 1, 1, 0.5), Next::Again(_)));
        assert_eq!(after(&attempts, 2, 2, 0.5), Next::GiveUp(Duration::ZERO));
    }

    #[test]
    fn a_components_own_settings_count_where_there_is_no_policy() {
        let own = RetrySettings {
            max_retries: 2,
            ..RetrySettings::default()
        };
        let attempts = Attempts::new(Source::Log, 0, Some(own.clone()));
        let first = after(&attempts, 1, 1, 0.5);
        assert_eq!(first, Next::Again(Duration::from_secs(5)));
        let third = after(&attempts, 3, 3, 0.5);
        assert_eq!(third, Next::NewRound(Duration::from_secs(30)));
        let policy = Retry {
            settings: RetrySettings {
                duration: GoDuration::from_secs(1),
                max_retries: 9,
                ..own
            },
            statuses: None,
        };
        let third = attempts.after(&failed(3), 3, Some(&policy), 0.5);
        assert_eq!(third, Next::Again(Duration::from_secs(1)));
    }

    #[test]
    fn a_status_that_is_not_tried_again_uses_the_attempts_up() {
        let policy = Retry {
            settings: RetrySettings::default(),
            statuses: Some(vec![501..=599]),
        };
        let next = |source| Attempts::new(source, 0, None).after(&failed(1), 1, Some(&policy), 0.5);
        assert!(matches!(next(Source::Queue), Next::GiveUp(_)));
        assert!(matches!(next(Source::Log), Next::NewRound(_)));
    }

    #[test]
    fn max_attempts_wins_over_the_number_of_a_policy() {
        let policy = Retry {
            settings: RetrySettings::default(),
            statuses: None,
        };
        let attempts = Attempts::new(Source::Queue, 2, None);
        let next = |attempt| attempts.after(&failed(attempt), 1, Some(&policy), 0.5);
        assert_eq!(next(1), Next::Again(Duration::from_secs(5)));
        assert_eq!(next(2), Next::GiveUp(Duration::from_secs(5)));
    }

    #[test]
    fn warnings_come_at_5_50_and_every_500() {
        let warned: Vec<u32> = (0..1600)
            .filter(|attempt| worth_a_warning(*attempt))
            .collect();
        assert_eq!(warned, [5, 50, 500, 1000, 1500]);
    }
}
