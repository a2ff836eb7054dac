//! The watchdog's judgement: how long a pulse has stood still. A pure state machine.

use std::time::Duration;

use bindery_contract::Instant;

use crate::pulse::ComponentId;

/// A thread that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The bindings thread with this number.
    Bindings(u32),
    /// The worker in this seat.
    Worker(usize),
}

/// What is known of one thread's pulse.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) thread: Silence,
    count: u64,
    since: Instant,
    /// Said once for each silence.
    said: bool,
}

impl Watch {
    pub(crate) fn new(thread: Silence, now: Instant) -> Self {
        Self {
            thread,
            count: 0,
            since: now,
            said: false,
        }
    }

    /// Takes a reading of the pulse. Returns who blocks the thread, as far as that is known, once
    /// when it has stood still for `limit`.
    pub(crate) fn look(
        &mut self,
        (count, running): (u64, Option<ComponentId>),
        now: Instant,
        limit: Duration,
    ) -> Option<Option<ComponentId>> {
        if count != self.count {
            *self = Self {
                thread: self.thread,
                count,
                since: now,
                said: false,
            };
            return None;
        }
        if self.said || now.saturating_duration_since(self.since) < limit {
            return None;
        }
        self.said = true;
        Some(running)
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_reported_once_and_a_beat_ends_it() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let limit = Duration::from_secs(5);
        let culprit = ComponentId::next("c");
        let mut watch = Watch::new(Silence::Worker(0), start);
        assert_eq!(watch.look((1, None), at(1), limit), None);
        assert_eq!(watch.look((1, Some(culprit)), at(5), limit), None);
        assert_eq!(
            watch.look((1, Some(culprit)), at(6), limit),
            Some(Some(culprit))
        );
        assert_eq!(
            watch.look((1, Some(culprit)), at(60), limit),
            None,
            "said already"
        );
        assert_eq!(watch.look((2, None), at(61), limit), None);
        assert_eq!(watch.look((2, None), at(66), limit), Some(None));
    }
}
