//! A worker: a thread with a router, a delivery actor and the consuming end of one lane.
//!
//! Workers are whatever threads the host has: actix-web's own in the sidecar, the service's when
//! it embeds us. A thread becomes a worker by [`Core::work_here`], called as often as one likes,
//! and is found again through a thread-local map, one entry for each sidecar.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::core::Core;
use crate::delivery::{DeliveryActor, Parcel};
use crate::lane::Lane;
use crate::pulse::Pulse;
use crate::report::Report;
use crate::router::{Doors, Router, Routes};

/// How often a worker says that it runs its tasks.
const BEAT: std::time::Duration = std::time::Duration::from_millis(250);

/// A worker's place: it outlives the thread that takes it, and so do the events in its lane.
pub(crate) struct Seat {
    pub(crate) index: usize,
    pub(crate) lane: Lane<Parcel>,
    taken: AtomicBool,
    contact: Mutex<Option<Contact>>,
}

/// The one address of a router that everybody sends through: actix counts a mailbox's bound for
/// each clone of an address, so a fresh clone would always find room for one more.
pub(crate) type RouterAddr = Arc<Addr<Router>>;

/// How other threads reach the worker in a seat.
#[derive(Clone)]
pub(crate) struct Contact {
    pub(crate) router: RouterAddr,
    pub(crate) arbiter: ArbiterHandle,
    pub(crate) pulse: Arc<Pulse>,
}

impl Seat {
    pub(crate) fn new(index: usize, lane: usize) -> Self {
        Self {
            index,
            lane: Lane::new(lane),
            taken: AtomicBool::new(false),
            contact: Mutex::new(None),
        }
    }

    pub(crate) fn contact(&self) -> Option<Contact> {
        self.contact
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_contact(&self, contact: Option<Contact>) {
        *self.contact.lock().unwrap_or_else(PoisonError::into_inner) = contact;
    }
}

/// The current thread's worker for one sidecar.
pub(crate) struct Worker {
    core: Arc<Core>,
    /// None when all seats are taken: such a thread routes calls and delivers nothing.
    seat: Option<usize>,
    router: RefCell<Doors>,
    pub(crate) delivery: RefCell<Option<Addr<DeliveryActor>>>,
    _heart: Option<AbortOnDropHandle<()>>,
}

thread_local! {
    static HERE: RefCell<Vec<Rc<Worker>>> = const { RefCell::new(Vec::new()) };
}

impl Core {
    /// Makes the current thread a worker of this sidecar, if it is not one already. Call it on
    /// a thread that runs an actix arbiter.
    pub fn work_here(self: &Arc<Self>) {
        let _ = Worker::here(self);
    }

    /// The arbiter of each seat's worker, in the order of the seats; `None` where there is no
    /// worker now.
    pub fn arbiters(&self) -> impl Iterator<Item = Option<ArbiterHandle>> {
        let contacts = self.seats.iter().map(Seat::contact);
        contacts.map(|contact| contact.map(|contact| contact.arbiter))
    }
}

impl Worker {
    /// The current thread's worker; makes it one if it can be. `None` without an arbiter.
    pub(crate) fn here(core: &Arc<Core>) -> Option<Rc<Self>> {
        HERE.with(|here| {
            let known = here
                .borrow()
                .iter()
                .find(|worker| worker.core.id == core.id)
                .cloned();
            if known.is_some() {
                return known;
            }
            let arbiter = actix_rt::Arbiter::try_current()?;
            let worker = Rc::new(Self::start(core, arbiter));
            here.borrow_mut().push(Rc::clone(&worker));
            Some(worker)
        })
    }

    fn start(core: &Arc<Core>, arbiter: ArbiterHandle) -> Self {
        let router = Router::start(core);
        let seat = core
            .seats
            .iter()
            .find(|seat| !seat.taken.swap(true, Ordering::AcqRel));
        let pulse = Pulse::here();
        match seat {
            Some(seat) => seat.set_contact(Some(Contact {
                router: Arc::clone(&router.mailbox),
                arbiter,
                pulse: Arc::clone(&pulse),
            })),
            None => core.welcome(&router.mailbox),
        }
        let clock = core.clock.clone();
        let heart = seat.map(|_| {
            AbortOnDropHandle::new(tokio::task::spawn_local(async move {
                loop {
                    pulse.beat();
                    clock.sleep(BEAT).await;
                }
            }))
        });
        Self {
            core: Arc::clone(core),
            seat: seat.map(|seat| seat.index),
            router: RefCell::new(router),
            delivery: RefCell::new(seat.map(|seat| DeliveryActor::start_for(core, seat.index))),
            _heart: heart,
        }
    }

    /// The mailbox of this thread's router.
    pub(crate) fn router(&self) -> RouterAddr {
        self.mend_router();
        Arc::clone(&self.router.borrow().mailbox)
    }

    /// Where the calls that this thread receives go.
    pub(crate) fn routes(&self) -> Rc<Routes> {
        self.mend_router();
        Rc::clone(&self.router.borrow().routes)
    }

    /// Starts a fresh router if the last one died.
    fn mend_router(&self) {
        if self.router.borrow().mailbox.connected() {
            return;
        }
        let fresh = Router::start(&self.core);
        if let Some(seat) = self.seat {
            let seat = &self.core.seats[seat];
            let router = Arc::clone(&fresh.mailbox);
            let contact = seat.contact();
            seat.set_contact(contact.map(|contact| Contact { router, ..contact }));
        } else {
            self.core.welcome(&fresh.mailbox);
        }
        self.router.replace(fresh);
    }

    /// Starts whatever actor of this thread has died.
    pub(crate) fn mend(core: &Arc<Core>) {
        let Some(worker) = Self::here(core) else {
            return;
        };
        worker.mend_router();
        let died = worker
            .delivery
            .borrow()
            .as_ref()
            .is_some_and(|delivery| !delivery.connected());
        if let (Some(seat), true) = (worker.seat, died) {
            *worker.delivery.borrow_mut() = Some(DeliveryActor::start_for(core, seat));
        }
    }

    /// Lets go of this thread's part of a sidecar: for a shutdown on a thread that lives on.
    pub(crate) fn leave(core: &Core) {
        let left = HERE.with(|here| {
            let mut here = here.borrow_mut();
            let at = here.iter().position(|worker| worker.core.id == core.id)?;
            Some(here.swap_remove(at))
        });
        drop(left);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            let seat = &self.core.seats[seat];
            seat.set_contact(None);
            seat.taken.store(false, Ordering::Release);
        }
    }
}

/// Says that an actor of a worker died. Only sends, as drop guards must.
pub(crate) struct WorkerDeathNotice {
    pub(crate) core: Arc<Core>,
    pub(crate) seat: usize,
}

impl Drop for WorkerDeathNotice {
    fn drop(&mut self) {
        let _ = self
            .core
            .reports
            .send(Report::WorkerActorDied { seat: self.seat });
    }
}
