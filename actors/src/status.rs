//! How the bindings are: written by the supervisor and by deliveries, read by anybody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bindery_contract::{Key, Role};

use crate::component;
use crate::life::FailureClass;
use crate::life::State;

/// All components, in the order in which they were loaded.
#[derive(Default)]
pub struct StatusBoard {
    components: ArcSwap<Vec<Arc<ComponentStatus>>>,
}

impl StatusBoard {
    /// How all components are now.
    pub fn components(&self) -> Arc<Vec<Arc<ComponentStatus>>> {
        self.components.load_full()
    }

    pub(crate) fn publish(&self, components: Vec<Arc<ComponentStatus>>) {
        self.components.store(Arc::new(components));
    }
}

/// One component.
#[derive(Debug)]
pub struct ComponentStatus {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `spec.type`, as written.
    pub type_name: String,
    /// `spec.version`, as written.
    pub version: String,
    /// Its sides, the input first.
    pub sides: Vec<SideStatus>,
}

impl ComponentStatus {
    /// How the log shows it.
    pub fn display(&self) -> String {
        component::display(&self.name, &self.type_name, &self.version)
    }
}

/// One side of a component.
#[derive(Clone, Debug)]
pub struct SideStatus {
    /// Which side.
    pub role: Role,
    /// `Starting`, `Connecting`, `Running`, `Degraded`, `Failed`, `Paused`, `Stopped`.
    pub state: &'static str,
    /// Since when.
    pub since: SystemTime,
    /// How many attempts have failed in a row; 0 while it runs.
    pub attempt: u32,
    /// What kind of failure it is in; `None` while it runs.
    pub failure: Option<FailureClass>,
    /// What went wrong last, also after it was opened anew.
    pub last_error: Option<Arc<str>>,
    /// Why its next version, which its file describes by now, cannot be opened; the last good one
    /// goes on.
    pub pending: Option<Arc<str>>,
    /// When it is tried again, where that is known.
    pub next_try: Option<SystemTime>,
    /// How many times it was opened after the first time.
    pub restarts: u64,
    /// How many calls of it panicked.
    pub panics: u64,
    /// What is known of its events; only inputs have them.
    pub input: Option<InputStatus>,
    /// What is counted of its calls; only outputs have them.
    pub output: Option<Arc<OutputCounters>>,
}

impl SideStatus {
    /// Every state that may be shown.
    pub const STATES: [&'static str; 7] = State::NAMES;

    /// Its state, as people see it: it runs and is `Degraded` all the same while an event that
    /// nothing may take blocks those behind it.
    pub fn shown_state(&self) -> &'static str {
        let is_stuck = |input: &InputStatus| input.counters.is_stuck();
        match self.state {
            "Running" if self.input.as_ref().is_some_and(is_stuck) => "Degraded",
            state => state,
        }
    }
}

/// What is known of an input's events.
#[derive(Clone, Debug)]
pub struct InputStatus {
    /// Whether the app wants them; `None` while nobody knows.
    pub subscribed: Option<bool>,
    /// What is counted.
    pub counters: Arc<InputCounters>,
}

/// Counts the events of an input. One for each component; it outlives every reading.
#[derive(Debug, Default)]
pub struct InputCounters {
    events: Tally,
    attempts: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
    reply_failures: AtomicU64,
    buried: AtomicU64,
    last_event_millis: AtomicU64,
    in_a_row: AtomicU32,
    malformed_reply: AtomicBool,
    blocked: Mutex<BTreeMap<u64, BlockedEvent>>,
}

/// Counts what begins and what ends.
#[derive(Debug, Default)]
struct Tally {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Tally {
    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    fn running(&self) -> u64 {
        // The end is read first: what begins in between is too much rather than below nothing.
        let ended = self.ended.load(Ordering::Relaxed);
        self.begun.load(Ordering::Relaxed).saturating_sub(ended)
    }
}

/// An event that its app keeps refusing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedEvent {
    /// The key that waits behind it, if it has one.
    pub key: Option<String>,
    /// Since when.
    pub since: SystemTime,
    /// How often it was tried.
    pub attempts: u32,
    /// The app's last answer.
    pub error: String,
    /// Whether its attempts are used up and nothing may take it: it is tried on, and only a dead
    /// letter would help.
    pub used_up: bool,
}

impl InputCounters {
    /// How many events are under way: read from the source and not settled.
    pub fn in_flight(&self) -> u64 {
        self.events.running()
    }

    /// How often the app was tried.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// How many events the app took.
    pub fn taken_count(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many attempts the app refused.
    pub fn refused_count(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many answers of the app could not be executed.
    pub fn reply_failures(&self) -> u64 {
        self.reply_failures.load(Ordering::Relaxed)
    }

    /// How many events went to the dead letter.
    pub fn buried_count(&self) -> u64 {
        self.buried.load(Ordering::Relaxed)
    }

    /// When an event was last given to the app.
    pub fn last_event(&self) -> Option<SystemTime> {
        match self.last_event_millis.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(UNIX_EPOCH + Duration::from_millis(millis)),
        }
    }

    /// The events that the app keeps refusing, the oldest first.
    pub fn blocked(&self) -> Vec<BlockedEvent> {
        self.lock().values().cloned().collect()
    }

    fn is_stuck(&self) -> bool {
        self.lock().values().any(|event| event.used_up)
    }

    pub(crate) fn arrived(&self) {
        self.events.begin();
    }

    pub(crate) fn settled(&self) {
        self.events.end();
    }

    pub(crate) fn attempted(&self, wall: SystemTime) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let millis = wall
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        self.last_event_millis
            .store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        // Written only when it changes, so that the common case shares the line.
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a refusal; returns how many there have been in a row.
    pub(crate) fn refused(&self) -> u32 {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.in_a_row
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    pub(crate) fn reply_failed(&self) {
        self.reply_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn buried(&self) {
        self.buried.fetch_add(1, Ordering::Relaxed);
        self.in_a_row.store(0, Ordering::Relaxed);
    }

    pub(crate) fn first_malformed_reply(&self) -> bool {
        !self.malformed_reply.swap(true, Ordering::Relaxed)
    }

    /// Notes an event as blocked until the guard is dropped.
    pub(crate) fn block(self: &Arc<Self>, key: Option<&Key>, since: SystemTime) -> Blocked {
        let mut blocked = self.lock();
        let number = blocked.last_key_value().map_or(0, |(last, _)| last + 1);
        let key = key.map(|key| key.as_str().to_owned());
        blocked.insert(
            number,
            BlockedEvent {
                key,
                since,
                attempts: 0,
                error: String::new(),
                used_up: false,
            },
        );
        Blocked {
            counters: Arc::clone(self),
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, BlockedEvent>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, an event is listed as blocked.
pub(crate) struct Blocked {
    counters: Arc<InputCounters>,
    number: u64,
}

impl Blocked {
    pub(crate) fn update(&mut self, attempts: u32, error: &str) {
        self.set(attempts, error, false);
    }

    /// Says that its attempts are used up; returns whether that is new.
    pub(crate) fn used_up(&mut self, attempts: u32, error: &str) -> bool {
        !self.set(attempts, error, true)
    }

    fn set(&mut self, attempts: u32, error: &str, used_up: bool) -> bool {
        let mut blocked = self.counters.lock();
        let Some(event) = blocked.get_mut(&self.number) else {
            return used_up;
        };
        event.attempts = attempts;
        event.error.clear();
        event.error.push_str(error);
        std::mem::replace(&mut event.used_up, used_up)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.counters.lock().remove(&self.number);
    }
}

/// How many threads count calls apart before two share a place.
const PLACES: usize = 16;

/// Counts the calls of an output. One for each component; it outlives every opening. Threads count
/// in places of their own, or each call would wait for the memory that another thread has just
/// written.
#[derive(Debug, Default)]
pub struct OutputCounters([CallCounters; PLACES]);

/// What some threads have counted, as far from others as processors fetch memory at once.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CallCounters {
    calls: Tally,
    failed: AtomicU64,
}

impl CallCounters {
    fn place() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % PLACES;
        }
        PLACE.with(|place| *place)
    }
}

impl OutputCounters {
    /// How many calls there were; a call that is tried again counts each time.
    pub fn calls(&self) -> u64 {
        let begun = |of: &CallCounters| of.calls.begun.load(Ordering::Relaxed);
        self.0.iter().map(begun).sum()
    }

    /// How many of them failed.
    pub fn failed(&self) -> u64 {
        let failed = |of: &CallCounters| of.failed.load(Ordering::Relaxed);
        self.0.iter().map(failed).sum()
    }

    /// How many are running.
    pub fn in_flight(&self) -> u64 {
        self.0.iter().map(|of| of.calls.running()).sum()
    }

    /// Counts a call as running until the guard is dropped.
    pub(crate) fn begin(&self) -> RunningCall<'_> {
        let counters = &self.0[CallCounters::place()];
        counters.calls.begin();
        RunningCall(counters)
    }
}

/// While it lives, a call is running.
pub(crate) struct RunningCall<'a>(&'a CallCounters);

impl RunningCall<'_> {
    pub(crate) fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.0.calls.end();
    }
}
