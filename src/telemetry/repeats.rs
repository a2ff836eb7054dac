//! Repeated lines of the log collapse: the first is written, the next ones are counted, and the
//! count is written when the time comes. A pure state machine.

use std::collections::HashMap;
use std::time::Duration;

use bindery_contract::Instant;

/// For how long a line that was written stands for those that are equal to it.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// How many different lines are remembered; beyond that, each is written.
const MOST: usize = 256;

/// A line, but for what is different each time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Said {
    pub(super) level: &'static str,
    pub(super) scope: String,
    /// The component whose code wrote it.
    pub(super) component: Option<String>,
    pub(super) message: String,
}

#[derive(Debug)]
struct Known {
    written: Instant,
    since: u64,
}

/// The lines of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: HashMap<Said, Known>,
}

impl Repeats {
    /// Takes a line. `Some(n)`: write it, and that it has come `n` times more since it was
    /// written last; `None`: it is only counted.
    pub(super) fn take(&mut self, said: &Said, now: Instant) -> Option<u64> {
        if let Some(known) = self.known.get_mut(said) {
            if now.saturating_duration_since(known.written) < WINDOW {
                known.since += 1;
                return None;
            }
            known.written = now;
            return Some(std::mem::take(&mut known.since));
        }
        if self.known.len() < MOST {
            let known = Known {
                written: now,
                since: 0,
            };
            self.known.insert(said.clone(), known);
        }
        Some(0)
    }

    /// Forgets the lines whose time is over. Those that were counted come back with their count:
    /// nobody else would tell of them.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(Said, u64)> {
        let over = |known: &Known| now.saturating_duration_since(known.written) >= WINDOW;
        let expired = self.known.extract_if(|_, known| over(known));
        expired
            .filter(|(_, known)| known.since > 0)
            .map(|(said, known)| (said, known.since))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> Said {
        Said {
            level: "error",
            scope: "dapr.runtime".into(),
            component: None,
            message: message.into(),
        }
    }

    #[test]
    fn the_first_is_written_and_the_next_are_counted() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut repeats = Repeats::default();
        assert_eq!(repeats.take(&said("a"), at(0)), Some(0));
        assert_eq!(repeats.take(&said("a"), at(1)), None);
        assert_eq!(repeats.take(&said("b"), at(2)), Some(0), "another line");
        assert_eq!(repeats.take(&said("a"), at(9)), None);
        assert_eq!(repeats.take(&said("a"), at(10)), Some(2));
        assert_eq!(repeats.take(&said("a"), at(11)), None, "a new window");
    }

    #[test]
    fn what_was_counted_is_told_when_its_time_is_over() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut repeats = Repeats::default();
        for second in 0..3 {
            repeats.take(&said("a"), at(second));
        }
        repeats.take(&said("b"), at(3));
        assert_eq!(repeats.expired(at(9)), []);
        assert_eq!(repeats.expired(at(13)), [(said("a"), 2)]);
        assert_eq!(repeats.expired(at(99)), []);
        assert!(repeats.known.is_empty());
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        for number in 0..1000 {
            assert_eq!(repeats.take(&said(&format!("{number}")), now), Some(0));
        }
        assert_eq!(repeats.known.len(), MOST);
    }
}
