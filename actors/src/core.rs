//! What all actors of one sidecar share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use actix::Addr;
use arc_swap::ArcSwapOption;
use bindery_contract::credit::Credit;
use bindery_contract::{Clock, Identity, Role};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::component::Component;
use crate::observe::Observer;
use crate::policy::Policies;
use crate::report::Report;
use crate::router::Router;
use crate::status::StatusBoard;
use crate::table::SharedTable;
use crate::worker::{RouterAddr, Seat};

/// The numbers a sidecar runs by.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many worker threads there are: each has a router, a delivery actor and a lane.
    pub workers: usize,
    /// How many calls may wait in the mailbox of one router before new ones are refused.
    pub router_mailbox: usize,
    /// Room in each lane; also how many events may be in all of them together.
    pub lane: usize,
    /// How long a call waits for a binding that is not running.
    pub call_wait: Duration,
    /// How long a retired output may finish its calls before it is closed.
    pub drain: Duration,
    /// How long closing one side of a binding may take.
    pub close_timeout: Duration,
    /// After what silence the bindings thread counts as blocked and is replaced.
    pub blocked_bindings: Duration,
    /// After what silence a worker counts as blocked and is reported.
    pub blocked_worker: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: 1,
            router_mailbox: 1024,
            lane: 1024,
            call_wait: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            blocked_bindings: Duration::from_secs(5),
            blocked_worker: Duration::from_millis(750),
        }
    }
}

/// The shared state of one sidecar.
pub struct Core {
    /// Tells sidecars of one process apart.
    pub(crate) id: u64,
    pub(crate) clock: Clock,
    pub(crate) identity: Arc<Identity>,
    pub(crate) limits: Limits,
    pub(crate) table: SharedTable,
    pub(crate) seats: Box<[Seat]>,
    /// Routers of threads that have no seat.
    guests: Mutex<Vec<Weak<Addr<Router>>>>,
    pub(crate) slots: Arc<Credit>,
    /// The outputs' replicas, each until it is closed.
    pub(crate) replicas: TaskTracker,
    pub(crate) reports: UnboundedSender<Report>,
    pub(crate) app: Option<Arc<dyn App>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    /// `None` while nothing is configured: the common case costs one load.
    pub(crate) policies: ArcSwapOption<Policies>,
    pub(crate) status: StatusBoard,
    pub(crate) progress: watch::Sender<Progress>,
    desired: Mutex<Desired>,
}

/// How far the start has come; what the health endpoints ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every binding is open, or has failed its first attempt.
    pub tried: bool,
    /// The app has said of every input whether it wants its events, or could not be asked.
    pub asked: bool,
}

/// What shall run. It outlives the supervisor, so that a new one can take over from it.
#[derive(Clone, Default)]
pub(crate) struct Desired {
    pub(crate) components: Vec<Arc<Component>>,
    /// What a person has paused.
    pub(crate) paused: HashSet<(Arc<str>, Role)>,
    pub(crate) inputs: bool,
    pub(crate) closed: bool,
}

impl Core {
    pub(crate) fn new(
        clock: Clock,
        identity: Identity,
        limits: Limits,
        app: Option<Arc<dyn App>>,
        observer: Option<Arc<dyn Observer>>,
        reports: UnboundedSender<Report>,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            clock,
            identity: Arc::new(identity),
            table: SharedTable::default(),
            seats: (0..limits.workers.max(1))
                .map(|index| Seat::new(index, limits.lane))
                .collect(),
            guests: Mutex::default(),
            slots: Credit::new(limits.lane),
            replicas: TaskTracker::new(),
            limits,
            reports,
            app,
            observer,
            policies: ArcSwapOption::empty(),
            status: StatusBoard::default(),
            progress: watch::Sender::default(),
            desired: Mutex::default(),
        })
    }

    pub(crate) fn desired(&self) -> MutexGuard<'_, Desired> {
        self.desired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the router of a thread that has no seat.
    pub(crate) fn welcome(&self, guest: &RouterAddr) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.push(Arc::downgrade(guest));
    }

    /// The routers of all threads that have one.
    pub(crate) fn routers(&self) -> Vec<RouterAddr> {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.retain(|guest| guest.strong_count() > 0);
        let seated = self.seats.iter().filter_map(Seat::contact);
        let seated = seated.map(|contact| contact.router);
        seated
            .chain(guests.iter().filter_map(Weak::upgrade))
            .collect()
    }

    /// Protects calls and events by these from now on; `None` by nothing. Breakers begin closed.
    pub fn set_policies(&self, policies: Option<Policies>) {
        self.policies.store(policies.map(Arc::new));
    }

    /// What protects calls and events now.
    pub fn policies(&self) -> Option<Arc<Policies>> {
        self.policies.load_full()
    }

    /// How far the start has come.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// How the bindings are.
    pub fn status(&self) -> &StatusBoard {
        &self.status
    }

    /// How many events are in the lane of each worker now.
    pub fn lanes(&self) -> impl Iterator<Item = usize> {
        self.seats.iter().map(|seat| seat.lane.len())
    }

    /// How many more events all lanes together have room for now.
    pub fn free_permits(&self) -> usize {
        self.slots.free()
    }

    /// Where time comes from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}
