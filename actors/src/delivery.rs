//! The delivery actor: on every worker, it takes events out of the thread's lane and gives them
//! to the app.
//!
//! Behind the lane stands a queue for each key that has events: one at a time within a key, in
//! the order they were sent, everything else side by side. A key whose event was refused waits
//! on a timer and holds up nobody but itself.
//!
//! The app's own code (a handler in this process) and the waiting run in tasks that die with the
//! actor, so that no event of a dead actor can overtake one of its successor: what was under way
//! is settled as lost, and a log reads it again.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use bindery_contract::credit::Credit;
use bindery_contract::mutation::{Mechanism, is_off};
use bindery_contract::sink::{Delivery, Lanes};
use bindery_contract::{ByNumber, Key};
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use crate::app::AppConnection;
use crate::attempts::Attempts;
use crate::component::Component;
use crate::core::Core;
use crate::handover::hand_over;
use crate::outbox::Outbox;
use crate::patience::Patience;
use crate::status::InputCounters;
use crate::worker::WorkerDeathNotice;

/// Control messages only.
const MAILBOX: usize = 16;

/// An event with the input that it came from.
pub(crate) struct Parcel {
    pub(crate) input: UnderWay,
    pub(crate) delivery: Delivery,
}

/// The input of an event, which counts the event as under way until this is dropped.
pub(crate) struct UnderWay(Arc<Route>);

impl UnderWay {
    fn new(input: Arc<Route>) -> Self {
        input.counters.arrived();
        Self(input)
    }
}

impl Deref for UnderWay {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.counters.settled();
    }
}

/// One reading of one input: what its events have in common.
pub(crate) struct Route {
    pub(crate) core: Arc<Core>,
    pub(crate) component: Arc<Component>,
    pub(crate) attempts: Attempts,
    pub(crate) counters: Arc<InputCounters>,
}

impl Lanes for Route {
    fn slots(&self) -> &Arc<Credit> {
        &self.core.slots
    }

    /// A key stays with its thread; an event without one goes to the shortest lane.
    fn push(self: Arc<Self>, delivery: Delivery) {
        let seats = &self.core.seats;
        let seat = match delivery.key() {
            Some(key) => usize::try_from(key.stable_hash() % seats.len() as u64).unwrap_or(0),
            None => (0..seats.len())
                .min_by_key(|seat| seats[*seat].lane.len())
                .unwrap_or(0),
        };
        seats[seat].lane.push(Parcel {
            input: UnderWay::new(Arc::clone(&self)),
            delivery,
        });
    }
}

/// The delivery actor of one worker.
pub(crate) struct DeliveryActor {
    core: Arc<Core>,
    seat: usize,
    desk: Rc<Desk>,
    _notice: WorkerDeathNotice,
}

/// What the actor and its tasks share.
struct Desk {
    connection: Option<Box<dyn AppConnection>>,
    /// What waits behind the event that is under way, for each key that has one.
    queues: RefCell<HashMap<Queue, VecDeque<Parcel>, ByNumber>>,
    outbox: Rc<Outbox>,
    patience: Rc<Patience>,
    /// Ends all tasks with the actor.
    gone: CancellationToken,
}

/// A key of one reading.
type Queue = (usize, Key);

fn queue_of(parcel: &Parcel) -> Option<Queue> {
    let key = parcel.delivery.key()?;
    Some((Arc::as_ptr(&parcel.input.0) as usize, key.clone()))
}

impl DeliveryActor {
    /// Starts the delivery actor of a seat on the current thread.
    pub(crate) fn start_for(core: &Arc<Core>, seat: usize) -> Addr<Self> {
        let connection = core.app.as_ref().map(|app| app.connect());
        Actor::start(Self {
            desk: Rc::new(Desk {
                connection,
                queues: RefCell::default(),
                outbox: Outbox::new(core.clock.clone()),
                patience: Patience::new(core.clock.clone()),
                gone: CancellationToken::new(),
            }),
            _notice: WorkerDeathNotice {
                core: Arc::clone(core),
                seat,
            },
            core: Arc::clone(core),
            seat,
        })
    }

    fn arrived(&mut self, mut parcel: Parcel) {
        parcel.delivery.left_lane();
        let queue = queue_of(&parcel).filter(|_| !is_off(Mechanism::Order));
        if let Some(queue) = &queue {
            match self.desk.queues.borrow_mut().entry(queue.clone()) {
                Entry::Occupied(mut behind) => return behind.get_mut().push_back(parcel),
                Entry::Vacant(place) => {
                    place.insert(VecDeque::new());
                }
            }
        }
        let desk = Rc::clone(&self.desk);
        actix_rt::spawn(async move {
            let gone = desk.gone.clone();
            tokio::select! {
                biased;
                () = gone.cancelled() => {}
                () = desk.work_off(parcel, queue) => {}
            }
        });
    }
}

impl Drop for DeliveryActor {
    fn drop(&mut self) {
        self.desk.gone.cancel();
        self.desk.outbox.send();
    }
}

impl Actor for DeliveryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
        let (core, seat) = (Arc::clone(&self.core), self.seat);
        ctx.add_stream(stream::unfold(Vec::new(), move |mut taken: Vec<Parcel>| {
            let core = Arc::clone(&core);
            async move {
                poll_fn(|cx| core.seats[seat].lane.poll_take(cx, &mut taken)).await;
                let batch = std::mem::take(&mut taken);
                Some((batch, taken))
            }
        }));
    }
}

impl StreamHandler<Vec<Parcel>> for DeliveryActor {
    fn handle(&mut self, parcels: Vec<Parcel>, _: &mut Context<Self>) {
        for parcel in parcels {
            self.arrived(parcel);
        }
    }
}

/// Forgets a key's queue when its task ends, however it ends; what still waits in it is lost,
/// which its source hears.
struct Forget<'a> {
    desk: &'a Desk,
    queue: Option<Queue>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let behind = self
            .queue
            .take()
            .and_then(|queue| self.desk.queues.borrow_mut().remove(&queue));
        // Outside the borrow: settling may run code that comes back here.
        drop(behind);
    }
}

impl Desk {
    /// Delivers an event, and after it whatever has queued up behind it.
    async fn work_off(&self, first: Parcel, queue: Option<Queue>) {
        let mut forget = Forget { desk: self, queue };
        let mut parcel = first;
        loop {
            let outcome = hand_over(self.connection.as_deref(), &self.patience, &parcel).await;
            self.outbox.put(parcel.delivery, outcome);
            let Some(queue) = &forget.queue else { return };
            let mut queues = self.queues.borrow_mut();
            match queues.get_mut(queue).and_then(VecDeque::pop_front) {
                Some(next) => parcel = next,
                None => {
                    queues.remove(queue);
                    drop(queues);
                    forget.queue = None;
                    return;
                }
            }
        }
    }
}
