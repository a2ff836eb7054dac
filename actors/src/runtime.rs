//! The runtime as its host sees it: start, load, call, stop.

use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use bindery_contract::{Clock, Deadline, Identity, Role};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::app::App;
use crate::component::Component;
use crate::core::{Core, Limits};
use crate::observe::Observer;
use crate::supervisor::{
    AskAgain, Change, Load, Loaded, Operate, Operation, OperationError, Reports, Retire,
    StartInputs, Stop, Supervisor, Threads,
};
use crate::worker::Worker;

/// How a runtime is set up.
pub struct RuntimeConfig {
    /// Where time comes from.
    pub clock: Clock,
    /// Who the sidecar is.
    pub identity: Identity,
    /// The numbers it runs by.
    pub limits: Limits,
    /// Which threads there are.
    pub threads: Threads,
    /// The app, if there is one: without it, inputs are opened and never read.
    pub app: Option<Arc<dyn App>>,
    /// Who counts what happens.
    pub observer: Option<Arc<dyn Observer>>,
}

/// One sidecar's actors. Dropping it stops them.
pub struct Runtime {
    core: Arc<Core>,
    supervisor: SupervisorSeat,
    _guardian: AbortOnDropHandle<()>,
}

type SupervisorSeat = Arc<Mutex<Addr<Supervisor>>>;

impl Runtime {
    /// Starts the runtime. The current thread, which must run an actix system, becomes its
    /// control thread.
    pub fn start(config: RuntimeConfig) -> Self {
        let RuntimeConfig {
            clock,
            identity,
            limits,
            threads,
            app,
            observer,
        } = config;
        let (reports, receiver) = mpsc::unbounded_channel();
        let core = Core::new(clock, identity, limits, app, observer, reports);
        let receiver: Reports = Arc::new(tokio::sync::Mutex::new(receiver));
        let (supervisor, mut death) = Supervisor::start(&core, threads, Arc::clone(&receiver));
        let supervisor = Arc::new(Mutex::new(supervisor));
        let (seat, guarded) = (Arc::clone(&supervisor), Arc::clone(&core));
        let guardian = tokio::task::spawn_local(async move {
            // Nobody sends: it resolves when the supervisor is gone.
            while (&mut death).await.is_err() && !guarded.desired().closed {
                tracing::error!(target: "dapr.runtime", "the supervisor died; a new one takes over");
                let desired = guarded.desired().clone();
                let is_desired = |name: &str| desired.components.iter().any(|c| *c.name == *name);
                guarded.table.leave_to_successor(is_desired);
                let (fresh, next) = Supervisor::start(&guarded, threads, Arc::clone(&receiver));
                let _ = fresh.try_send(Load(desired.components));
                if desired.inputs {
                    let _ = fresh.try_send(StartInputs);
                }
                *seat.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
                death = next;
            }
        });
        Self {
            core,
            supervisor,
            _guardian: AbortOnDropHandle::new(guardian),
        }
    }

    /// The shared state: calls and status go through it, from any thread.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Takes components in and opens them, all at once.
    pub fn load(&self, components: Vec<Component>) {
        let components: Vec<_> = components.into_iter().map(Arc::new).collect();
        self.core
            .desired()
            .components
            .extend(components.iter().cloned());
        self.tell(Load(components));
    }

    /// Takes in what has changed: components that are gone, by name, and those that are new or
    /// have a next version. What runs and is not named goes on.
    pub fn change(&self, removed: &[String], put: Vec<Component>) {
        let mut desired = self.core.desired();
        let mut gone = Vec::new();
        desired.components.retain(|component| {
            let is_gone = removed.iter().any(|name| **name == *component.name);
            if is_gone {
                gone.push(Arc::clone(component));
            }
            !is_gone
        });
        let put = put.into_iter().map(|mut component| {
            let known = &mut desired.components;
            match known.iter_mut().find(|known| known.name == component.name) {
                Some(known) => {
                    component.take_over(known.id);
                    let component = Arc::new(component);
                    *known = Arc::clone(&component);
                    component
                }
                None => {
                    let component = Arc::new(component);
                    known.push(Arc::clone(&component));
                    component
                }
            }
        });
        let put: Vec<Arc<Component>> = put.collect();
        desired
            .paused
            .retain(|(name, _)| !removed.iter().any(|gone| **gone == **name));
        drop(desired);
        self.tell(Change { removed: gone, put });
    }

    /// A hand on single bindings, from any thread.
    pub fn operator(&self) -> Operator {
        Operator {
            supervisor: Arc::clone(&self.supervisor),
        }
    }

    /// Resolves when all that was loaded has been taken in: from then on every output is known
    /// by its name, and calls wait for it.
    pub async fn loaded(&self) {
        // The mailbox keeps its order, so the answer comes after everything before it.
        let _ = current(&self.supervisor).send(Loaded).await;
    }

    /// The app is there: asks it what it wants, and reads that.
    pub fn start_inputs(&self) {
        self.input_switch().start();
    }

    /// Asks the app again about the inputs that it did not want.
    pub fn ask_again(&self) {
        self.tell(AskAgain);
    }

    /// Starts and stops the inputs, for a task that watches the app.
    pub fn input_switch(&self) -> InputSwitch {
        InputSwitch {
            core: Arc::clone(&self.core),
            supervisor: Arc::clone(&self.supervisor),
        }
    }

    /// Reads no more: running events are finished and acknowledged, then the inputs are closed.
    pub async fn stop_inputs(&self, deadline: Deadline) {
        self.core.desired().inputs = false;
        self.ask(Stop {
            role: Role::Input,
            deadline,
        })
        .await;
    }

    /// Closes everything, and ends the thread of the bindings. The current thread is a worker of
    /// this runtime no more.
    pub async fn close(&self, deadline: Deadline) {
        self.core.desired().closed = true;
        for role in [Role::Input, Role::Output] {
            self.ask(Stop { role, deadline }).await;
        }
        Worker::leave(&self.core);
        // Workers close their own. One that is frozen, or whose thread has ended, does not.
        self.core.replicas.close();
        let closed = deadline.limit(self.core.clock(), self.core.replicas.wait());
        let _ = self
            .core
            .clock()
            .timeout(self.core.limits.close_timeout, closed)
            .await;
        let retired = current(&self.supervisor).send(Retire).await;
        if let Some(bindings) = retired.ok().flatten() {
            bindings.stop();
            let joining = tokio::task::spawn_blocking(move || bindings.join());
            let _ = deadline.limit(self.core.clock(), joining).await;
        }
    }

    pub(crate) fn tell<M>(&self, message: M)
    where
        M: Message<Result = ()> + Send + 'static,
        Supervisor: Handler<M>,
    {
        tell(&self.supervisor, message);
    }

    async fn ask(&self, stop: Stop) {
        // A supervisor that died has closed everything by dying.
        let _ = current(&self.supervisor).send(stop).await;
    }
}

/// See [`Runtime::input_switch`].
pub struct InputSwitch {
    core: Arc<Core>,
    supervisor: SupervisorSeat,
}

impl InputSwitch {
    /// The app is there: asks it what it wants, and reads that. After a stop everything is asked
    /// anew.
    pub fn start(&self) {
        self.core.desired().inputs = true;
        tell(&self.supervisor, StartInputs);
    }

    /// Reads no more: running events have until the deadline, then the inputs are closed. Does
    /// not wait for that.
    pub fn stop(&self, deadline: Deadline) {
        self.core.desired().inputs = false;
        let role = Role::Input;
        tell(&self.supervisor, Stop { role, deadline });
    }
}

/// See [`Runtime::operator`].
#[derive(Clone)]
pub struct Operator {
    supervisor: SupervisorSeat,
}

impl Operator {
    /// Does something to one binding: to both sides, or to one.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn operate(
        &self,
        name: &str,
        role: Option<Role>,
        operation: Operation,
    ) -> Result<(), OperationError> {
        let operate = Operate {
            name: name.to_owned(),
            role,
            operation,
        };
        // A supervisor that is gone and has no successor has shut down.
        let outcome = current(&self.supervisor).send(operate).await;
        outcome.unwrap_or(Err(OperationError::Closed))
    }
}

fn current(seat: &SupervisorSeat) -> Addr<Supervisor> {
    seat.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn tell<M>(seat: &SupervisorSeat, message: M)
where
    M: Message<Result = ()> + Send + 'static,
    Supervisor: Handler<M>,
{
    // Its mailbox has room for many more control messages than a host sends; and the successor
    // of a supervisor that died learns from `desired` what it has to do.
    let _ = current(seat).try_send(message);
}
