//! When a command is sent again that the server turned away for the moment.
//!
//! Only answers are in question here: a server that answers so has not executed the command. A
//! connection that breaks is the runtime's to mend.

use std::time::Duration;

use bindery_contract::settings::{GoDuration, SettingsError};

use crate::settings::RedisSettings;

/// How often, and after which wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retries {
    /// How many times after the first.
    pub times: u32,
    shortest: Duration,
    longest: Duration,
}

impl Retries {
    pub(crate) fn of(settings: &RedisSettings) -> Result<Self, SettingsError> {
        let times = match settings.redis_max_retries {
            0 => 3,
            -1 => 0,
            times => u32::try_from(times).map_err(|_| {
                let problem = format!("{times} is not a number of retries: write -1 for none");
                SettingsError::new("redisMaxRetries", problem)
            })?,
        };
        let wait = |setting: Option<GoDuration>, default| match setting.unwrap_or_default() {
            GoDuration::ZERO => Duration::from_millis(default),
            duration => duration.positive().unwrap_or_default(),
        };
        Ok(Self {
            times,
            shortest: wait(settings.redis_min_retry_interval, 8),
            longest: wait(settings.redis_max_retry_interval, 512),
        })
    }

    /// The wait before retry number `retry`, from 0. `chance` is 0 to 1, evenly drawn.
    pub(crate) fn wait(&self, retry: u32, chance: f64) -> Duration {
        let doubled = 2u32
            .checked_pow(retry)
            .and_then(|factor| self.shortest.checked_mul(factor));
        let most = doubled.unwrap_or(self.longest).min(self.longest);
        (self.shortest + most.mul_f64(chance)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: Retries = Retries {
        times: 3,
        shortest: Duration::from_millis(8),
        longest: Duration::from_millis(512),
    };

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        let longest: Vec<_> = (0..8)
            .map(|retry| USUAL.wait(retry, 1.0).as_millis())
            .collect();
        assert_eq!(longest, [16, 24, 40, 72, 136, 264, 512, 512]);
        assert_eq!(USUAL.wait(5, 0.0), USUAL.shortest);
    }

    #[test]
    fn no_wait_is_no_wait() {
        let off = Retries {
            shortest: Duration::ZERO,
            longest: Duration::ZERO,
            ..USUAL
        };
        assert_eq!(off.wait(7, 1.0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_the_longest(retry: u32, chance in 0.0..=1.0, shortest: u32, longest: u32) {
            let retries = Retries {
                times: 3,
                shortest: Duration::from_millis(shortest.into()),
                longest: Duration::from_millis(longest.into()),
            };
            prop_assert!(retries.wait(retry, chance) <= retries.longest);
        }
    }
}
