//! The router: it takes a call to the binding it names, on every worker.
//!
//! What it knows, its [`Routes`], belongs to its thread and has two doors. A call that was received
//! on the thread goes in directly: a mailbox would only make it wait behind itself. Calls of other
//! threads come through the mailbox of an actor and run in a task each. Either way a call stays on
//! the thread; the binding's own code runs behind `catch_unwind`, never in an actor's context, and
//! a caller that goes away cancels it at its next await.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bindery_contract::{
    Deadline, DynOutput, Instant, Invocation, InvokeError, OpenError, Placement, ReplicaContext,
    Reply, Sent, panic_text,
};
use foldhash::fast::RandomState;
use futures_util::FutureExt;
use tokio::sync::{OnceCell, oneshot};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::call::{Call, CallError};
use crate::core::Core;
use crate::life::{Failure, FailureClass};
use crate::pulse::watched;
use crate::report::Report;
use crate::table::{Available, Generation, SharedTable, Table, WaitingRoom};
use crate::worker::{RouterAddr, Seat, Worker};

/// How long a replica must have lived before a panic in it replaces it.
const REPLACE_AT_MOST_EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// Gives a call to a router by its mailbox, and waits for what becomes of it.
    pub(crate) async fn dispatch(self: &Arc<Self>, call: Call) -> Result<Option<Reply>, CallError> {
        let mailbox = match Worker::here(self) {
            Some(worker) => worker.router(),
            None => self.some_router().ok_or(CallError::Closed)?,
        };
        let (reply, answer) = oneshot::channel();
        let sent = mailbox.try_send(Dispatch { call, reply });
        sent.map_err(|error| match error {
            SendError::Full(_) => CallError::Overloaded,
            SendError::Closed(_) => CallError::Closed,
        })?;
        answer.await.unwrap_or_else(|_| Err(self.why_lost()))
    }

    fn why_lost(&self) -> CallError {
        if self.desired().closed {
            CallError::Closed
        } else {
            CallError::Lost
        }
    }

    fn some_router(&self) -> Option<RouterAddr> {
        let seats = &self.seats;
        let first = fastrand::usize(..seats.len());
        let mut turn = seats[first..].iter().chain(&seats[..first]);
        turn.find_map(Seat::contact).map(|contact| contact.router)
    }
}

/// The actor that takes calls of other threads.
pub(crate) struct Router {
    routes: Rc<Routes>,
}

/// Both doors of a thread's router.
pub(crate) struct Doors {
    /// For calls of other threads.
    pub(crate) mailbox: RouterAddr,
    /// For calls that its own thread receives.
    pub(crate) routes: Rc<Routes>,
}

impl Router {
    /// A router that knows nothing yet.
    pub(crate) fn start(core: &Arc<Core>) -> Doors {
        let routes = Rc::new(Routes {
            core: Arc::clone(core),
            known: RefCell::new(Known {
                table: core.table.load(),
                outputs: HashMap::default(),
            }),
        });
        let actor = Self {
            routes: Rc::clone(&routes),
        };
        Doors {
            mailbox: Arc::new(Actor::start(actor)),
            routes,
        }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.routes.core.limits.router_mailbox);
    }
}

/// A call of another thread.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Dispatch {
    call: Call,
    reply: oneshot::Sender<Result<Option<Reply>, CallError>>,
}

impl Handler<Dispatch> for Router {
    type Result = ();

    fn handle(&mut self, dispatch: Dispatch, _: &mut Context<Self>) {
        let Dispatch { call, mut reply } = dispatch;
        let routes = Rc::clone(&self.routes);
        actix_rt::spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = reply.closed() => return,
                outcome = routes.call(&call) => outcome,
            };
            // A caller that is gone does not want to know.
            let _ = reply.send(outcome);
        });
    }
}

/// The table has changed: let go of what is not in it any more, even when no call comes.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TableChanged;

impl Handler<TableChanged> for Router {
    type Result = ();

    fn handle(&mut self, _: TableChanged, _: &mut Context<Self>) {
        self.routes.known.borrow_mut().refresh(&self.routes.core);
    }
}

/// Where the calls of a thread go.
pub(crate) struct Routes {
    core: Arc<Core>,
    known: RefCell<Known>,
}

/// A thread's copy of the table, and what it has of each output that it was asked for.
struct Known {
    table: Arc<Table>,
    /// By a quick hash: only names that an output has are in it, whatever callers ask for.
    outputs: HashMap<Arc<str>, Rc<Local>, RandomState>,
}

/// Where a call goes now.
enum Found {
    Here(Rc<Local>),
    Away(Away),
    Paused(Arc<str>),
    Nowhere,
}

/// A binding that cannot be called now.
struct Away {
    why: Arc<str>,
    room: Arc<WaitingRoom>,
    /// The table that says so.
    version: u64,
}

impl Known {
    /// One atomic load when nothing changed.
    fn refresh(&mut self, core: &Core) {
        let shared: &SharedTable = &core.table;
        if shared.is_current(self.table.version) {
            return;
        }
        self.table = shared.load();
        let table = &self.table;
        // Letting go of a replaced generation is what lets it close.
        self.outputs.retain(
            |name, local| match table.get(name).map(|entry| &entry.available) {
                Some(Available::Serving(now)) => Arc::ptr_eq(now, &local.generation),
                _ => false,
            },
        );
    }

    fn find(&mut self, core: &Arc<Core>, name: &str) -> Found {
        self.refresh(core);
        if let Some(local) = self.outputs.get(name).filter(|local| !local.worn_out.get()) {
            return Found::Here(Rc::clone(local));
        }
        let Some(entry) = self.table.get(name) else {
            return Found::Nowhere;
        };
        match &entry.available {
            Available::Serving(generation) => {
                let local = Rc::new(Local::new(core, generation));
                self.outputs
                    .insert(Arc::clone(&generation.name), Rc::clone(&local));
                Found::Here(local)
            }
            Available::Away(why) => Found::Away(Away {
                why: Arc::clone(why),
                room: Arc::clone(&entry.waiting),
                version: self.table.version,
            }),
            Available::Paused(why) => Found::Paused(Arc::clone(why)),
        }
    }
}

impl Routes {
    /// Takes a call to the binding it names. Where that is away, or was lost before it heard of
    /// the call, the call waits for it once, within its deadline.
    pub(crate) async fn call(&self, call: &Call) -> Result<Option<Reply>, CallError> {
        let mut patience = None;
        loop {
            let found = self.known.borrow_mut().find(&self.core, &call.binding);
            match found {
                Found::Here(local) => {
                    let error = match local.call(call).await {
                        Err(error) => error,
                        answer => return answer,
                    };
                    // Nothing reached the other side: the next connection may have it.
                    let may_be_repeated = local.report_if_lost(&error) == Some(Sent::No);
                    if !may_be_repeated || !self.is_time_left(call, patience) {
                        return Err(error);
                    }
                    let until = *patience.get_or_insert_with(|| self.latest(call));
                    Box::pin(self.wait_for_another(&call.binding, local, until)).await;
                }
                Found::Away(away) => {
                    let until = *patience.get_or_insert_with(|| self.latest(call));
                    Box::pin(self.wait_for(away, until)).await?;
                }
                Found::Paused(why) => return Err(CallError::Away(why)),
                Found::Nowhere if self.core.desired().closed => return Err(CallError::Closed),
                Found::Nowhere => return Err(CallError::NotFound(call.binding.clone())),
            }
        }
    }

    /// Until when a call waits that begins to wait now.
    fn latest(&self, call: &Call) -> Instant {
        let latest = self.core.clock.now() + self.core.limits.call_wait;
        call.deadline
            .map_or(latest, |deadline| deadline.min(latest))
    }

    fn is_time_left(&self, call: &Call, patience: Option<Instant>) -> bool {
        let now = self.core.clock.now();
        let ends = [call.deadline, patience];
        ends.iter().flatten().all(|end| *end > now)
    }

    /// Waits until the table has changed, and makes the next attempt to connect come sooner.
    ///
    /// # Errors
    /// When too many wait, or nothing has changed in time.
    async fn wait_for(&self, away: Away, until: Instant) -> Result<(), CallError> {
        let Away { why, room, version } = away;
        let _seat = room
            .seats
            .try_acquire()
            .map_err(|_| CallError::Overloaded)?;
        let _ = self.core.reports.send(Report::Wanted {
            component: room.component,
        });
        let is_past = || !self.core.table.is_current(version);
        if self.change(&room, is_past, until).await {
            Ok(())
        } else {
            Err(CallError::Away(why))
        }
    }

    /// Waits until the supervisor has heard of a loss: until then the table would only lead back
    /// to what was lost.
    async fn wait_for_another(&self, name: &str, lost: Rc<Local>, until: Instant) {
        let generation = Arc::as_ptr(&lost.generation);
        // Whoever waits keeps nothing open.
        drop(lost);
        let room = match self.core.table.load().get(name) {
            Some(entry) => Arc::clone(&entry.waiting),
            None => return,
        };
        let is_past = || {
            let table = self.core.table.load();
            let now = table.get(name).map(|entry| &entry.available);
            !matches!(now, Some(Available::Serving(now)) if Arc::as_ptr(now) == generation)
        };
        self.change(&room, is_past, until).await;
    }

    /// Waits until those in a room hear of a change, unless it is past already. Whether there was
    /// one in time.
    async fn change(
        &self,
        room: &WaitingRoom,
        is_past: impl FnOnce() -> bool,
        until: Instant,
    ) -> bool {
        // Registered before the table is read again, so no change is missed.
        let changed = room.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if is_past() {
            return true;
        }
        tokio::select! {
            biased;
            () = changed => true,
            () = self.core.clock.sleep_until(until) => false,
        }
    }
}

/// An output as this thread has it.
struct Local {
    core: Arc<Core>,
    generation: Arc<Generation>,
    replica: OnceCell<Replica>,
    since: Instant,
    /// A call panicked: the next call gets a fresh replica.
    worn_out: Cell<bool>,
}

enum Replica {
    Own(Option<Own>),
    Shared(Arc<dyn DynOutput>),
}

/// A replica that belongs to one thread.
struct Own {
    output: Box<dyn DynOutput>,
    /// Whoever closes the runtime waits for it.
    alive: TaskTrackerToken,
}

impl Replica {
    fn output(&self) -> &dyn DynOutput {
        match self {
            Self::Own(own) => {
                let own = own.as_ref().expect("it is taken out only in drop");
                own.output.as_ref()
            }
            Self::Shared(output) => output.as_ref(),
        }
    }
}

impl Local {
    fn new(core: &Arc<Core>, generation: &Arc<Generation>) -> Self {
        Self {
            core: Arc::clone(core),
            generation: Arc::clone(generation),
            replica: OnceCell::new(),
            since: core.clock.now(),
            worn_out: Cell::new(false),
        }
    }

    /// Takes a call through the binding.
    async fn call(&self, call: &Call) -> Result<Option<Reply>, CallError> {
        let running = self.generation.calls.begin();
        let outcome = self.make(call).await;
        if outcome.is_err() {
            running.failed();
        }
        outcome
    }

    async fn make(&self, call: &Call) -> Result<Option<Reply>, CallError> {
        let replica = self.replica().await?;
        let output = replica.output();
        let operation = self.operation(output, call)?;
        let invocation = Invocation {
            operation,
            data: call.data.clone(),
            metadata: call.metadata.clone(),
            deadline: call.deadline,
        };
        let invoking = watched(self.generation.who.component, output.invoke(invocation));
        match AssertUnwindSafe(invoking).catch_unwind().await {
            Ok(outcome) => outcome.map_err(CallError::Failed),
            Err(panic) => Err(self.panicked(panic_text(panic.as_ref()))),
        }
    }

    /// The operation by its own name: compared exactly (runtime §1.1.2).
    fn operation(&self, output: &dyn DynOutput, call: &Call) -> Result<&'static str, CallError> {
        let declared = self
            .generation
            .declared
            .iter()
            .map(|operation| operation.name);
        let own = output.operations().iter().copied();
        let mut offered = own.chain(declared.filter(|_| output.operations().is_empty()));
        let supported = offered.clone();
        offered
            .find(|name| *name == call.operation)
            .ok_or_else(|| CallError::Unsupported {
                binding: call.binding.clone(),
                operation: call.operation.clone(),
                supported: supported.collect(),
            })
    }

    /// This thread's replica, opened by whoever needs it first.
    async fn replica(&self) -> Result<&Replica, CallError> {
        self.replica
            .get_or_try_init(|| async {
                match &self.generation.placement {
                    Placement::Shared(output) => Ok(Replica::Shared(Arc::clone(output))),
                    Placement::PerThread(replicas) => {
                        let cx = ReplicaContext {
                            clock: self.core.clock.clone(),
                            runtime: tokio::runtime::Handle::current(),
                        };
                        let opening = watched(self.generation.who.component, replicas.open(cx));
                        match AssertUnwindSafe(opening).catch_unwind().await {
                            Ok(Ok(output)) => Ok(Replica::Own(Some(Own {
                                output,
                                alive: self.core.replicas.token(),
                            }))),
                            Ok(Err(error)) => Err(not_opened(error)),
                            Err(panic) => Err(self.panicked(panic_text(panic.as_ref()))),
                        }
                    }
                }
            })
            .await
    }

    fn panicked(&self, panic: String) -> CallError {
        // At most once a second, or a client could keep a binding from ever being opened.
        if self.core.clock.now().saturating_duration_since(self.since) >= REPLACE_AT_MOST_EVERY
            && matches!(self.generation.placement, Placement::PerThread(_))
        {
            self.worn_out.set(true);
        }
        let report = Report::InvokePanicked {
            who: self.generation.who,
            panic: panic.clone(),
        };
        let _ = self.core.reports.send(report);
        CallError::Panicked(panic)
    }

    /// Tells the supervisor of a lost connection; whether the call had been sent by then.
    fn report_if_lost(&self, error: &CallError) -> Option<Sent> {
        let CallError::Failed(InvokeError::Disconnected { cause, sent }) = error else {
            return None;
        };
        let failure = Failure::new(FailureClass::Disconnected, cause.to_string());
        let _ = self.core.reports.send(Report::Failed {
            who: self.generation.who,
            failure,
        });
        Some(*sent)
    }
}

fn not_opened(error: OpenError) -> CallError {
    CallError::Failed(match error {
        OpenError::Disconnected(cause) => InvokeError::Disconnected {
            cause,
            sent: Sent::No,
        },
        OpenError::Invalid(cause) | OpenError::Refused(cause) => InvokeError::failed(cause),
    })
}

impl Drop for Local {
    /// A replica of this thread is closed here; a shared output by its binding actor.
    fn drop(&mut self) {
        let Some(Replica::Own(own)) = self.replica.get_mut() else {
            return;
        };
        let Some(Own { output, alive }) = own.take() else {
            return;
        };
        let deadline = Deadline::at(self.core.clock.now() + self.core.limits.close_timeout);
        // Without a runtime the thread is ending, and its connections with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let component = self.generation.who.component;
            runtime.spawn(async move {
                let closing = watched(component, output.close(deadline));
                let _ = AssertUnwindSafe(closing).catch_unwind().await;
                drop(alive);
            });
        }
    }
}
