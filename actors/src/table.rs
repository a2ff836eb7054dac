//! Who answers to which name: the routing table.
//!
//! One immutable table behind an atomic pointer, written by the supervisor only. Routers keep
//! the one they know and ask with one atomic load whether there is a newer one, so a new or
//! restarted worker is right at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bindery_contract::Placement;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::pulse::ComponentId;
use crate::report::{Report, Who};
use crate::status::OutputCounters;

/// How many calls may wait for one binding that is away.
pub(crate) const WAITING_ROOM: usize = 1024;

/// All outputs by name, at one moment.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) version: u64,
    entries: HashMap<Arc<str>, Entry>,
}

/// One output.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) available: Available,
    pub(crate) waiting: Arc<WaitingRoom>,
}

/// Whether an output can be called now.
#[derive(Clone)]
pub(crate) enum Available {
    /// It can.
    Serving(Arc<Generation>),
    /// It cannot; this is what a caller is told when waiting was in vain.
    Away(Arc<str>),
    /// It must not; this is what a caller is told at once.
    Paused(Arc<str>),
}

/// Where callers wait for a binding that is away. It outlives all its generations.
pub(crate) struct WaitingRoom {
    pub(crate) component: ComponentId,
    pub(crate) seats: Arc<Semaphore>,
    pub(crate) changed: Notify,
}

impl WaitingRoom {
    pub(crate) fn new(component: ComponentId) -> Arc<Self> {
        Arc::new(Self {
            component,
            seats: Arc::new(Semaphore::new(WAITING_ROOM)),
            changed: Notify::new(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seats.available_permits() == WAITING_ROOM
    }
}

impl Table {
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }
}

/// The table that is valid now.
#[derive(Default)]
pub(crate) struct SharedTable {
    version: AtomicU64,
    table: ArcSwap<Table>,
}

impl SharedTable {
    /// Whether `known` is still the valid version.
    pub(crate) fn is_current(&self, known: u64) -> bool {
        self.version.load(Ordering::Acquire) == known
    }

    pub(crate) fn load(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Puts an entry in, or takes one out. Called by the supervisor only, so nothing is lost
    /// between reading and writing. Whoever waits for the binding looks again.
    pub(crate) fn set(&self, name: &Arc<str>, entry: Option<Entry>) {
        let old = self.table.load();
        let mut entries = old.entries.clone();
        let before = match &entry {
            Some(entry) => entries.insert(Arc::clone(name), entry.clone()),
            None => entries.remove(name),
        };
        let version = old.version + 1;
        self.table.store(Arc::new(Table { version, entries }));
        self.version.store(version, Ordering::Release);
        for entry in before.iter().chain(&entry) {
            entry.waiting.changed.notify_waiters();
        }
    }

    /// Nobody serves any more; for a supervisor that begins anew. Callers wait for what it will
    /// open, so that they do not take a name for unknown in between.
    pub(crate) fn leave_to_successor(&self, will_be_opened: impl Fn(&str) -> bool) {
        let why: Arc<str> = "its supervisor died and a new one is opening it".into();
        for (name, entry) in &self.load().entries {
            let away = will_be_opened(name).then(|| Entry {
                available: Available::Away(Arc::clone(&why)),
                waiting: Arc::clone(&entry.waiting),
            });
            self.set(name, away);
        }
    }
}

/// One opening of an output. Calls hold it; when the last one lets go, the binding closes.
pub(crate) struct Generation {
    pub(crate) who: Who,
    pub(crate) name: Arc<str>,
    pub(crate) placement: Placement,
    pub(crate) declared: &'static [bindery_contract::Operation],
    pub(crate) calls: Arc<OutputCounters>,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
}

impl Drop for Generation {
    fn drop(&mut self) {
        // Nobody to tell means that the runtime is gone.
        let _ = self.reports.send(Report::Drained { who: self.who });
    }
}
