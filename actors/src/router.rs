//! The router: an actor on every worker that takes a call to the binding it names.
//!
//! It runs on the thread that received the call, so a call of a per-thread output never crosses
//! threads. It owns the replicas of this thread. A binding's own code runs in a task of its own;
//! a caller that goes away cancels it at its next await.

use std::cell::Cell;
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
use futures_util::FutureExt;
use tokio::sync::{OnceCell, oneshot};

use crate::call::{Call, CallError};
use crate::core::Core;
use crate::life::{Failure, FailureClass};
use crate::pulse::watched;
use crate::report::Report;
use crate::table::{Available, Generation, SharedTable, Table};
use crate::worker::{RouterAddr, Seat, Worker};

/// How long a replica must have lived before a panic in it replaces it.
const REPLACE_AT_MOST_EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// Gives a call to a router, and waits for what becomes of it.
    pub(crate) async fn dispatch(self: &Arc<Self>, call: Call) -> Result<Option<Reply>, CallError> {
        let (reply, answer) = oneshot::channel();
        self.send(Dispatch {
            call,
            reply,
            wait_until: None,
        })?;
        answer.await.unwrap_or_else(|_| Err(self.why_lost()))
    }

    fn send(self: &Arc<Self>, dispatch: Dispatch) -> Result<(), CallError> {
        let router = match Worker::here(self) {
            Some(worker) => worker.router(),
            None => self.some_router().ok_or(CallError::Closed)?,
        };
        router.try_send(dispatch).map_err(|error| match error {
            SendError::Full(_) => CallError::Overloaded,
            SendError::Closed(_) => CallError::Closed,
        })
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

/// The router of one worker.
pub(crate) struct Router {
    core: Arc<Core>,
    table: Arc<Table>,
    /// What this thread has of each output that it was asked for.
    known: HashMap<Arc<str>, Rc<Local>>,
}

impl Router {
    pub(crate) fn start(core: &Arc<Core>) -> Addr<Self> {
        let core = Arc::clone(core);
        let table = core.table.load();
        Actor::start(Self {
            core,
            table,
            known: HashMap::new(),
        })
    }

    /// One atomic load when nothing changed.
    fn refresh(&mut self) {
        let shared: &SharedTable = &self.core.table;
        if shared.is_current(self.table.version) {
            return;
        }
        self.table = shared.load();
        let table = &self.table;
        // Letting go of a replaced generation is what lets it close.
        self.known.retain(
            |name, local| match table.get(name).map(|entry| &entry.available) {
                Some(Available::Serving(now)) => Arc::ptr_eq(now, &local.generation),
                _ => false,
            },
        );
    }

    /// Where the call goes now.
    fn find(&mut self, call: &Call) -> Found {
        self.refresh();
        let name = call.binding.as_str();
        if let Some(local) = self.known.get(name).filter(|local| !local.worn_out.get()) {
            return Found::Here(Rc::clone(local));
        }
        let Some(entry) = self.table.get(name) else {
            return Found::Nowhere;
        };
        match &entry.available {
            Available::Serving(generation) => {
                let local = Rc::new(Local::new(&self.core, generation));
                self.known
                    .insert(Arc::clone(&generation.name), Rc::clone(&local));
                Found::Here(local)
            }
            Available::Away(why) => Found::Away(Arc::clone(why)),
            Available::Paused(why) => Found::Paused(Arc::clone(why)),
        }
    }
}

enum Found {
    Here(Rc<Local>),
    Away(Arc<str>),
    Paused(Arc<str>),
    Nowhere,
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.core.limits.router_mailbox);
    }
}

/// A call on its way.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Dispatch {
    call: Call,
    reply: oneshot::Sender<Result<Option<Reply>, CallError>>,
    /// Set when the call has begun to wait for its binding.
    wait_until: Option<Instant>,
}

/// The table has changed: let go of what is not in it any more, even when no call comes.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TableChanged;

impl Handler<TableChanged> for Router {
    type Result = ();

    fn handle(&mut self, _: TableChanged, _: &mut Context<Self>) {
        self.refresh();
    }
}

impl Handler<Dispatch> for Router {
    type Result = ();

    fn handle(&mut self, mut dispatch: Dispatch, _: &mut Context<Self>) {
        match self.find(&dispatch.call) {
            Found::Here(local) => {
                actix_rt::spawn(local.run(dispatch));
            }
            Found::Away(why) => {
                let room = self
                    .table
                    .get(&dispatch.call.binding)
                    .map(|entry| &entry.waiting);
                let seat = room.and_then(|room| Arc::clone(&room.seats).try_acquire_owned().ok());
                let (Some(room), Some(seat)) = (room.map(Arc::clone), seat) else {
                    answer(dispatch.reply, Err(CallError::Overloaded));
                    return;
                };
                let core = Arc::clone(&self.core);
                let _ = core.reports.send(Report::Wanted {
                    component: room.component,
                });
                let until = *dispatch.wait_until.get_or_insert_with(|| {
                    let latest = core.clock.now() + core.limits.call_wait;
                    dispatch
                        .call
                        .deadline
                        .map_or(latest, |deadline| deadline.min(latest))
                });
                let version = self.table.version;
                actix_rt::spawn(async move {
                    // Registered before the table is read again, so no change is missed.
                    let changed = room.changed.notified();
                    tokio::pin!(changed);
                    changed.as_mut().enable();
                    let came_back = tokio::select! {
                        biased;
                        () = dispatch.reply.closed() => return,
                        () = async {
                            if core.table.is_current(version) {
                                changed.await;
                            }
                        } => true,
                        () = core.clock.sleep_until(until) => false,
                    };
                    drop(seat);
                    if came_back {
                        core.send_or_answer(dispatch);
                    } else {
                        answer(dispatch.reply, Err(CallError::Away(why)));
                    }
                });
            }
            Found::Paused(why) => answer(dispatch.reply, Err(CallError::Away(why))),
            Found::Nowhere => {
                let error = if self.core.desired().closed {
                    CallError::Closed
                } else {
                    CallError::NotFound(dispatch.call.binding)
                };
                answer(dispatch.reply, Err(error));
            }
        }
    }
}

impl Core {
    fn send_or_answer(self: &Arc<Self>, dispatch: Dispatch) {
        let Some(worker) = Worker::here(self) else {
            return;
        };
        match worker.router().try_send(dispatch) {
            Ok(()) => {}
            Err(SendError::Full(dispatch)) => answer(dispatch.reply, Err(CallError::Overloaded)),
            Err(SendError::Closed(dispatch)) => answer(dispatch.reply, Err(CallError::Closed)),
        }
    }
}

fn answer(
    reply: oneshot::Sender<Result<Option<Reply>, CallError>>,
    outcome: Result<Option<Reply>, CallError>,
) {
    // A caller that is gone does not want to know.
    let _ = reply.send(outcome);
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
    Own(Option<Box<dyn DynOutput>>),
    Shared(Arc<dyn DynOutput>),
}

impl Replica {
    fn output(&self) -> &dyn DynOutput {
        match self {
            Self::Own(output) => output.as_deref().expect("it is taken out only in drop"),
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

    /// Takes a call through the binding and answers it.
    async fn run(self: Rc<Self>, dispatch: Dispatch) {
        let Dispatch {
            call,
            mut reply,
            wait_until,
        } = dispatch;
        let outcome = tokio::select! {
            biased;
            () = reply.closed() => return,
            outcome = self.call(&call) => outcome,
        };
        if let Err(CallError::Failed(InvokeError::Disconnected { cause, sent })) = &outcome {
            self.report_lost(cause.to_string());
            // Nothing reached the other side: the next connection may have it.
            if *sent == Sent::No && self.wait_is_left(&call, wait_until) {
                let until =
                    wait_until.unwrap_or(self.core.clock.now() + self.core.limits.call_wait);
                let dispatch = Dispatch {
                    call,
                    reply,
                    wait_until: Some(until),
                };
                self.clone().redo(dispatch).await;
                return;
            }
        }
        answer(reply, outcome);
    }

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
                            Ok(Ok(output)) => Ok(Replica::Own(Some(output))),
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

    fn report_lost(&self, error: String) {
        let failure = Failure::new(FailureClass::Disconnected, error);
        let _ = self.core.reports.send(Report::Failed {
            who: self.generation.who,
            failure,
        });
    }

    fn wait_is_left(&self, call: &Call, wait_until: Option<Instant>) -> bool {
        let now = self.core.clock.now();
        [call.deadline, wait_until]
            .iter()
            .flatten()
            .all(|instant| *instant > now)
    }

    /// Sends the call again when the supervisor has heard of the loss: until then the table
    /// would only lead back here.
    async fn redo(self: Rc<Self>, mut dispatch: Dispatch) {
        let (core, version) = (Arc::clone(&self.core), self.core.table.load().version);
        let entry = core.table.load().get(&dispatch.call.binding).cloned();
        let until = dispatch.wait_until.unwrap_or_else(|| core.clock.now());
        let generation = Arc::as_ptr(&self.generation);
        drop(self);
        if let Some(entry) = entry {
            let changed = entry.waiting.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let still_the_same = core.table.is_current(version)
                && matches!(&entry.available, Available::Serving(now) if Arc::as_ptr(now) == generation);
            if still_the_same {
                tokio::select! {
                    biased;
                    () = dispatch.reply.closed() => return,
                    () = changed => {}
                    () = core.clock.sleep_until(until) => {}
                }
            }
        }
        core.send_or_answer(dispatch);
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
        let Some(Replica::Own(output)) = self.replica.get_mut() else {
            return;
        };
        let Some(output) = output.take() else { return };
        let deadline = Deadline::at(self.core.clock.now() + self.core.limits.close_timeout);
        // Without a runtime the thread is ending, and its connections with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let component = self.generation.who.component;
            runtime.spawn(async move {
                let closing = watched(component, output.close(deadline));
                let _ = AssertUnwindSafe(closing).catch_unwind().await;
            });
        }
    }
}
