//! The ticking.

use std::time::Duration;

use bindery_contract::acks::Concurrent;
use bindery_contract::{Clock, Event, EventSink, Input, Instant, Metadata, ReadError, Stopped};
use jiff::Timestamp;

use crate::schedule::Schedule;

/// The wall clock is looked at at least this often, because it may jump.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Fires when its schedule says so.
pub(crate) struct Ticker {
    schedule: Schedule,
    clock: Clock,
}

/// What the next tick counts from: the wall clock for a schedule of fields, the steady one for
/// intervals.
#[derive(Clone, Copy)]
struct Tick {
    time: Timestamp,
    instant: Instant,
}

impl Ticker {
    pub(crate) fn new(schedule: Schedule, clock: Clock) -> Self {
        Self { schedule, clock }
    }

    fn now(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Sends ticks until stopped. A tick waits for nobody: a slow app may have several at once.
    async fn tick(&self, events: &EventSink, sent: &mut Concurrent<()>) -> Result<(), Stopped> {
        let mut last = Tick {
            time: self.now(),
            instant: self.clock.now(),
        };
        loop {
            let permit = events.ready().await?;
            let due = self.due(last);
            tokio::pin!(due);
            last = loop {
                tokio::select! {
                    biased;
                    () = events.stopped() => return Err(Stopped),
                    tick = &mut due => break tick,
                    _ = sent.next() => {}
                }
            };
            sent.track((), permit.send(self.event()));
        }
    }

    /// Waits for the tick after `last`; returns what the one after that counts from.
    async fn due(&self, last: Tick) -> Tick {
        match &self.schedule {
            Schedule::Fields { .. } => Tick {
                time: self.wait_until_due(last.time).await,
                ..last
            },
            Schedule::Every(interval) => {
                let due = last.instant + *interval;
                self.clock.sleep_until(due).await;
                // The time that was due, unless whole intervals were missed; those are lost.
                let late = self.clock.now().saturating_duration_since(due);
                Tick {
                    instant: if late >= *interval { due + late } else { due },
                    ..last
                }
            }
        }
    }

    /// Waits for the next time of the schedule after `last`; returns what the one after that
    /// counts from.
    async fn wait_until_due(&self, last: Timestamp) -> Timestamp {
        let Some(due) = self.schedule.next(last) else {
            return std::future::pending().await;
        };
        loop {
            let now = self.now();
            let Ok(wait) = Duration::try_from(due.duration_since(now)) else {
                // Later than due: times that were missed, while the machine slept, are lost.
                return due.max(now);
            };
            if wait.is_zero() {
                return due;
            }
            self.clock.sleep(wait.min(LOOK_EVERY)).await;
        }
    }

    fn event(&self) -> Event {
        Event::default().with_metadata(
            Metadata::new()
                // The reference names the scheduler's own zone here, also when CRON_TZ is used.
                .with("timeZone", "Local")
                .with("readTimeUTC", go_time(self.now())),
        )
    }
}

/// A time as Go's `time.String()` writes it: the fraction without the zeros at its end.
fn go_time(time: Timestamp) -> String {
    let whole = time.strftime("%F %T").to_string();
    let fraction = format!("{:09}", time.subsec_nanosecond());
    match fraction.trim_end_matches('0') {
        "" => format!("{whole} +0000 UTC"),
        fraction => format!("{whole}.{fraction} +0000 UTC"),
    }
}

impl Input for Ticker {
    async fn read(&mut self, events: EventSink) -> Result<(), ReadError> {
        let mut sent = Concurrent::new();
        let Err(Stopped) = self.tick(&events, &mut sent).await else {
            return Ok(());
        };
        while !sent.is_empty() {
            sent.next().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_go_writes_them() {
        let time: Timestamp = "2026-08-21T21:08:09.12345Z".parse().unwrap();
        assert_eq!(go_time(time), "2026-08-21 21:08:09.12345 +0000 UTC");
        let time: Timestamp = "2026-08-21T21:08:09Z".parse().unwrap();
        assert_eq!(go_time(time), "2026-08-21 21:08:09 +0000 UTC");
    }
}
