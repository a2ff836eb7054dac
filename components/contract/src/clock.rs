//! Time, as the runtime and the bindings see it.
//!
//! Nothing in Bindery asks the operating system for the time on its own (clippy bans it): it
//! asks a [`Clock`], so that a test can hold the clock in its hand.

use std::time::{Duration, SystemTime};

pub use tokio::time::Instant;

/// Where time comes from: a monotonic now, the wall clock, and sleeping.
///
/// Two of them exist. [`Clock::system`] is the machine's. [`Clock::paused`] follows tokio's
/// paused time: in a test under `start_paused`, advancing tokio advances the wall clock too.
#[derive(Clone, Debug)]
pub struct Clock {
    wall: Wall,
}

#[derive(Clone, Debug)]
enum Wall {
    System,
    /// The wall clock at one instant; it moves as the instants do.
    Anchored {
        at: Instant,
        wall: SystemTime,
    },
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self { wall: Wall::System }
    }

    /// A clock whose wall time is `wall` now and moves only with tokio's (paused) time.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn paused(wall: SystemTime) -> Self {
        Self {
            wall: Wall::Anchored {
                at: Instant::now(),
                wall,
            },
        }
    }

    /// The monotonic now: for intervals, timeouts and backoff.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The wall clock: for schedules and for timestamps that people read. It may jump.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn wall(&self) -> SystemTime {
        match self.wall {
            Wall::System => SystemTime::now(),
            Wall::Anchored { at, wall } => wall + Instant::now().saturating_duration_since(at),
        }
    }

    /// Sleeps until `deadline`; returns at once when it has passed.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn sleep_until(&self, deadline: Instant) -> tokio::time::Sleep {
        tokio::time::sleep_until(deadline)
    }

    /// Sleeps for `duration`.
    pub fn sleep(&self, duration: Duration) -> tokio::time::Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Runs `future`, but not past `deadline`: `None` means that time ran out first.
    pub async fn timeout_at<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.sleep_until(deadline) => None,
        }
    }

    /// Runs `future`, but not for longer than `limit`.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        self.timeout_at(self.now() + limit, future).await
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// The moment by which something must be done; `None` means that there is no hurry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No limit.
    pub const NONE: Self = Self(None);

    /// At `instant`.
    pub const fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// The instant, if there is one.
    pub const fn instant(self) -> Option<Instant> {
        self.0
    }

    /// Runs `future`, but not past the deadline: `None` means that time ran out first.
    pub async fn limit<F: Future>(self, clock: &Clock, future: F) -> Option<F::Output> {
        match self.0 {
            Some(instant) => clock.timeout_at(instant, future).await,
            None => Some(future.await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_wall_clock_moves_with_the_sleeper() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Clock::paused(start);
        clock.sleep(Duration::from_secs(90)).await;
        assert_eq!(clock.wall(), start + Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_what_never_ends() {
        let clock = Clock::system();
        let deadline = Deadline::at(clock.now() + Duration::from_secs(5));
        assert_eq!(
            deadline.limit(&clock, std::future::pending::<()>()).await,
            None
        );
        assert_eq!(Deadline::NONE.limit(&clock, async { 7 }).await, Some(7));
    }
}
