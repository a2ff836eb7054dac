//! The life of one side of a binding, as a pure state machine: events in, states and effects out.
//!
//! What runs it is the supervisor; nothing here waits, logs or opens anything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{Instant, OpenError, ReadError};

use crate::backoff::Backoff;

/// More crashes than this within [`CRASH_WINDOW`] park a binding.
pub const CRASHES_TO_PARK: usize = 5;
/// Within what crashes are counted together.
pub const CRASH_WINDOW: Duration = Duration::from_secs(60);
/// How long a parked binding waits before it is tried again.
pub const PARKED_RETRY: Duration = Duration::from_secs(60);
/// How long a binding waits whose other side said no: a refused password, a missing topic.
pub const REFUSED_RETRY: Duration = Duration::from_secs(30);
/// How long a binding must have run for its failures to be forgotten.
pub const STEADY: Duration = Duration::from_secs(10);
/// How long a binding that lost its connection waits at the most while somebody waits for it: a
/// caller has no use for an attempt that comes after it has given up.
pub const WANTED_RETRY: Duration = Duration::from_millis(500);
/// How many blocked threads of one binding park it for good.
pub const BLOCKED_TO_PARK: u32 = 3;

/// Where a binding is in its life.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Not tried yet.
    Starting,
    /// Being opened for the first time.
    Connecting,
    /// Open.
    Running,
    /// Not open; it will be tried again.
    Degraded(Trouble),
    /// Parked: it failed too often.
    Failed(Trouble),
    /// Closed by a person, until one says otherwise.
    Paused,
    /// Closed, because the app is not fit for events, or the sidecar is shutting down.
    Stopped,
}

/// Why a binding is not running, and what comes next.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// What kind of failure it was last.
    pub class: FailureClass,
    /// How many attempts have failed in a row.
    pub attempt: u32,
    /// What went wrong last.
    pub error: Arc<str>,
    /// When it is tried again; never, without someone's help, if there is no time.
    pub next_try: Option<Instant>,
}

impl State {
    /// The names of all of them.
    pub const NAMES: [&'static str; 7] = [
        "Starting",
        "Connecting",
        "Running",
        "Degraded",
        "Failed",
        "Paused",
        "Stopped",
    ];

    /// The state's name, as metadata, metrics and logs have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::Connecting => "Connecting",
            Self::Running => "Running",
            Self::Degraded(_) => "Degraded",
            Self::Failed(_) => "Failed",
            Self::Paused => "Paused",
            Self::Stopped => "Stopped",
        }
    }
}

/// Something that happened to a binding.
#[derive(Clone, Debug, PartialEq)]
pub enum LifeEvent {
    /// It shall run.
    Start,
    /// A person wants it to run, whatever it has done so far.
    Restart,
    /// It is open.
    Opened,
    /// It could not be opened, or is not open any more.
    Failed(Failure),
    /// The time of the next try has come.
    Due,
    /// Somebody waits for it.
    Wanted,
    /// It blocked its thread.
    Blocked,
    /// A person wants it not to run.
    Pause,
    /// It shall not run any more.
    Stop,
}

/// Why a binding could not be opened, or is not open any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure: it decides what comes next.
    pub class: FailureClass,
    /// What went wrong, for people.
    pub error: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// It can never work as configured.
    Invalid,
    /// The other side answered and said no.
    Refused,
    /// Nobody there, or the connection broke.
    Disconnected,
    /// It did not get done within its time.
    Stuck,
    /// It panicked.
    Crashed,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: FailureClass, error: impl Into<String>) -> Self {
        Self {
            class,
            error: error.into(),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let class = match error {
            OpenError::Invalid(_) => FailureClass::Invalid,
            OpenError::Refused(_) => FailureClass::Refused,
            OpenError::Disconnected(_) => FailureClass::Disconnected,
        };
        Self {
            class,
            error: error.to_string(),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let class = match error {
            ReadError::Refused(_) => FailureClass::Refused,
            ReadError::Disconnected(_) => FailureClass::Disconnected,
        };
        Self {
            class,
            error: error.to_string(),
        }
    }
}

/// What the supervisor has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Open it, from clean state.
    Open,
    /// Come back with [`LifeEvent::Due`] at this time.
    WaitUntil(Instant),
}

/// One side of a binding.
#[derive(Clone, Debug)]
pub struct Life {
    state: State,
    since: Instant,
    attempt: u32,
    crashes: VecDeque<Instant>,
    blocked: u32,
    openings: u64,
}

impl Life {
    /// A binding that nobody has tried yet.
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Starting,
            since: now,
            attempt: 0,
            crashes: VecDeque::new(),
            blocked: 0,
            openings: 0,
        }
    }

    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Since when.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How many times it was opened after the first time.
    pub fn restarts(&self) -> u64 {
        self.openings.saturating_sub(1)
    }

    /// Whether it is closed on purpose.
    pub fn is_off(&self) -> bool {
        matches!(self.state, State::Paused | State::Stopped)
    }

    /// Whether it has been opened, or the first attempt to open it has failed.
    pub fn was_tried(&self) -> bool {
        !matches!(self.state, State::Starting | State::Connecting)
    }

    /// Takes an event. `chance` is 0 to 1, evenly drawn.
    pub fn on(&mut self, event: LifeEvent, now: Instant, chance: f64) -> Effect {
        match event {
            LifeEvent::Start => {
                self.enter(State::Connecting, now);
                Effect::Open
            }
            LifeEvent::Restart => {
                self.attempt = 0;
                self.crashes.clear();
                self.blocked = 0;
                self.enter(State::Connecting, now);
                Effect::Open
            }
            LifeEvent::Pause => {
                self.enter(State::Paused, now);
                Effect::None
            }
            LifeEvent::Stop => {
                self.enter(State::Stopped, now);
                Effect::None
            }
            _ if self.is_off() => Effect::None,
            LifeEvent::Opened => {
                self.openings += 1;
                self.enter(State::Running, now);
                Effect::None
            }
            LifeEvent::Failed(failure) => self.fail(failure, now, chance),
            LifeEvent::Wanted => self.hurry(now, chance),
            LifeEvent::Blocked => self.block(now, chance),
            LifeEvent::Due => match &self.state {
                State::Degraded(trouble) | State::Failed(trouble)
                    if trouble.next_try.is_some_and(|next| next <= now) =>
                {
                    Effect::Open
                }
                _ => Effect::None,
            },
        }
    }

    fn fail(&mut self, failure: Failure, now: Instant, chance: f64) -> Effect {
        if self.state == State::Running && now.saturating_duration_since(self.since) >= STEADY {
            self.attempt = 0;
        }
        self.attempt = self.attempt.saturating_add(1);
        let soon = Backoff::STANDARD.wait(self.attempt, chance);
        let (parked, wait) = match failure.class {
            FailureClass::Invalid => (true, PARKED_RETRY),
            FailureClass::Refused => (false, REFUSED_RETRY),
            FailureClass::Disconnected | FailureClass::Stuck => (false, soon),
            FailureClass::Crashed if self.crashed_too_often(now) => (true, PARKED_RETRY),
            FailureClass::Crashed => (false, soon),
        };
        let next = now + wait;
        self.trouble(parked, failure, Some(next), now);
        Effect::WaitUntil(next)
    }

    /// Only a connection is tried more often: a password does not become right by trying.
    fn hurry(&mut self, now: Instant, chance: f64) -> Effect {
        let soon = now + WANTED_RETRY.mul_f64(chance.clamp(0.0, 1.0));
        match &mut self.state {
            State::Degraded(Trouble {
                class: FailureClass::Disconnected | FailureClass::Stuck,
                next_try: Some(next),
                ..
            }) if *next > now + WANTED_RETRY => {
                *next = soon;
                Effect::WaitUntil(soon)
            }
            _ => Effect::None,
        }
    }

    fn block(&mut self, now: Instant, chance: f64) -> Effect {
        self.blocked += 1;
        let error = format!("blocked its thread {} times", self.blocked);
        let failure = Failure::new(FailureClass::Stuck, error);
        if self.blocked < BLOCKED_TO_PARK {
            return self.fail(failure, now, chance);
        }
        // Each try could cost another thread, so only a person may order the next one.
        self.trouble(true, failure, None, now);
        Effect::None
    }

    fn crashed_too_often(&mut self, now: Instant) -> bool {
        self.crashes
            .retain(|crash| now.saturating_duration_since(*crash) < CRASH_WINDOW);
        self.crashes.push_back(now);
        self.crashes.len() > CRASHES_TO_PARK
    }

    fn trouble(&mut self, parked: bool, failure: Failure, next_try: Option<Instant>, now: Instant) {
        let Failure { class, error } = failure;
        let trouble = Trouble {
            class,
            attempt: self.attempt,
            error: error.into(),
            next_try,
        };
        self.enter(
            if parked {
                State::Failed(trouble)
            } else {
                State::Degraded(trouble)
            },
            now,
        );
    }

    /// A binding that stays in trouble has been there since the first time.
    fn enter(&mut self, state: State, now: Instant) {
        if self.state.name() != state.name() {
            self.since = now;
        }
        self.state = state;
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Subject {
        life: Life,
        now: Instant,
    }

    impl Subject {
        fn started() -> Self {
            let now = Instant::now();
            let mut life = Life::new(now);
            assert_eq!(life.on(LifeEvent::Start, now, 0.5), Effect::Open);
            Self { life, now }
        }

        fn after(&mut self, wait: Duration) -> &mut Self {
            self.now += wait;
            self
        }

        fn on(&mut self, event: LifeEvent) -> Effect {
            self.life.on(event, self.now, 0.5)
        }

        fn fails(&mut self, class: FailureClass) -> Duration {
            match self.on(LifeEvent::Failed(Failure::new(class, "no"))) {
                Effect::WaitUntil(next) => next - self.now,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_disconnected_binding_is_tried_again_for_ever() {
        let mut subject = Subject::started();
        let waits: Vec<u128> = (0..12)
            .map(|_| subject.fails(FailureClass::Disconnected).as_millis())
            .collect();
        assert_eq!(waits[..4], [50, 100, 200, 400]);
        assert_eq!(waits[11], 15_000);
        assert_eq!(subject.life.state().name(), "Degraded");
        subject.after(Duration::from_secs(15));
        assert_eq!(subject.on(LifeEvent::Due), Effect::Open);
    }

    #[test]
    fn a_crash_loop_parks_and_tries_again() {
        let mut subject = Subject::started();
        for _ in 0..5 {
            subject
                .after(Duration::from_secs(1))
                .fails(FailureClass::Crashed);
            assert_eq!(subject.life.state().name(), "Degraded");
        }
        assert_eq!(
            subject
                .after(Duration::from_secs(1))
                .fails(FailureClass::Crashed),
            PARKED_RETRY
        );
        assert_eq!(subject.life.state().name(), "Failed");
        assert_eq!(subject.on(LifeEvent::Due), Effect::None, "too early");
        subject.after(PARKED_RETRY);
        assert_eq!(subject.on(LifeEvent::Due), Effect::Open);
    }

    #[test]
    fn crashes_far_apart_never_park() {
        let mut subject = Subject::started();
        for _ in 0..100 {
            subject
                .after(Duration::from_secs(13))
                .fails(FailureClass::Crashed);
            assert_eq!(subject.life.state().name(), "Degraded");
        }
    }

    #[test]
    fn a_refusal_waits_longer_and_never_parks() {
        let mut subject = Subject::started();
        for _ in 0..100 {
            assert_eq!(subject.fails(FailureClass::Refused), REFUSED_RETRY);
        }
        assert_eq!(subject.life.state().name(), "Degraded");
    }

    #[test]
    fn only_a_steady_run_forgets_the_failures_before_it() {
        let mut subject = Subject::started();
        subject.fails(FailureClass::Disconnected);
        subject.fails(FailureClass::Disconnected);
        subject.on(LifeEvent::Opened);
        assert_eq!(
            subject.fails(FailureClass::Disconnected).as_millis(),
            200,
            "it did not hold"
        );
        subject.on(LifeEvent::Opened);
        assert_eq!(
            subject
                .after(STEADY)
                .fails(FailureClass::Disconnected)
                .as_millis(),
            50
        );
    }

    #[test]
    fn three_blocked_threads_park_for_good() {
        let mut subject = Subject::started();
        assert!(matches!(
            subject.on(LifeEvent::Blocked),
            Effect::WaitUntil(_)
        ));
        assert!(matches!(
            subject.on(LifeEvent::Blocked),
            Effect::WaitUntil(_)
        ));
        assert_eq!(subject.on(LifeEvent::Blocked), Effect::None);
        assert_eq!(subject.life.state().name(), "Failed");
        assert_eq!(
            subject.after(Duration::from_secs(9999)).on(LifeEvent::Due),
            Effect::None
        );
        assert_eq!(subject.on(LifeEvent::Start), Effect::Open, "a person may");
    }

    #[test]
    fn a_stopped_binding_stays_stopped_whatever_comes_late() {
        let mut subject = Subject::started();
        subject.on(LifeEvent::Stop);
        assert_eq!(subject.on(LifeEvent::Opened), Effect::None);
        assert_eq!(
            subject.on(LifeEvent::Failed(Failure::new(
                FailureClass::Crashed,
                "late"
            ))),
            Effect::None
        );
        assert_eq!(subject.life.state(), &State::Stopped);
    }

    #[test]
    fn the_state_knows_since_when() {
        let mut subject = Subject::started();
        subject
            .after(Duration::from_secs(1))
            .fails(FailureClass::Disconnected);
        let since = subject.life.since();
        subject
            .after(Duration::from_secs(1))
            .fails(FailureClass::Disconnected);
        assert_eq!(
            subject.life.since(),
            since,
            "in trouble since the first failure"
        );
        subject.after(Duration::from_secs(1)).on(LifeEvent::Opened);
        assert_eq!(subject.life.since(), subject.now);
        assert_eq!(subject.life.restarts(), 0);
    }

    fn event() -> impl Strategy<Value = LifeEvent> {
        use FailureClass::{Crashed, Disconnected, Invalid, Refused, Stuck};
        prop_oneof![
            Just(LifeEvent::Opened),
            Just(LifeEvent::Due),
            Just(LifeEvent::Blocked),
            prop::sample::select(vec![Crashed, Disconnected, Invalid, Refused, Stuck])
                .prop_map(|class| LifeEvent::Failed(Failure::new(class, "no"))),
        ]
    }

    proptest! {
        /// Whatever happens, a binding that is not open has a next try, unless it blocked its
        /// threads; and the wait is never longer than a minute.
        #[test]
        fn nothing_is_forgotten(steps in prop::collection::vec((event(), 0u64..120_000), 0..80)) {
            let mut subject = Subject::started();
            for (event, millis) in steps {
                subject.after(Duration::from_millis(millis)).on(event);
                if let State::Degraded(trouble) | State::Failed(trouble) = subject.life.state() {
                    match trouble.next_try {
                        Some(next) => {
                            prop_assert!(next - subject.now <= PARKED_RETRY || next <= subject.now);
                        }
                        None => prop_assert!(subject.life.blocked >= BLOCKED_TO_PARK),
                    }
                }
            }
        }
    }
}
