//! How long to wait before the next attempt.

use std::time::Duration;

use bindery_contract::mutation::{Mechanism, is_off};

/// Exponential backoff with full jitter: each wait is drawn evenly from zero to a ceiling that
/// doubles with every attempt. Full jitter spreads those who lost the same broker best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The ceiling of the first wait.
    pub first: Duration,
    /// The highest ceiling.
    pub cap: Duration,
}

impl Backoff {
    /// The house's own: 100 ms → 30 s.
    pub const STANDARD: Self = Self {
        first: Duration::from_millis(100),
        cap: Duration::from_secs(30),
    };

    /// The wait after `attempt` failed attempts (1 is the first), for a `chance` of 0 to 1.
    pub fn wait(self, attempt: u32, chance: f64) -> Duration {
        self.ceiling(attempt).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// The longest that [`wait`](Self::wait) can be.
    pub fn ceiling(self, attempt: u32) -> Duration {
        if is_off(Mechanism::Backoff) {
            return Duration::ZERO;
        }
        let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.cap)
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let ceilings =
            [1, 2, 3, 9, 10, 1_000_000].map(|n| Backoff::STANDARD.ceiling(n).as_millis());
        assert_eq!(ceilings, [100, 200, 400, 25_600, 30_000, 30_000]);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_above_its_ceiling(attempt in any::<u32>(), chance in 0.0f64..1.0) {
            let backoff = Backoff::STANDARD;
            prop_assert!(backoff.wait(attempt, chance) <= backoff.ceiling(attempt));
            prop_assert!(backoff.ceiling(attempt) <= backoff.cap);
        }
    }
}
