//! The binding actor: one opening of one side of a component, from open to close.
//!
//! Its factory is the supervisor, which starts a new one for every attempt, so each begins from
//! clean state. None of a binding's own code is polled by the actor's context: opening, reading
//! and closing run in tasks, behind `catch_unwind`, and the actor gets the outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix::prelude::*;
use bindery_contract::mutation::{Mechanism, is_off};
use bindery_contract::sink::Intake;
use bindery_contract::{
    Cause, ContextParts, Deadline, DynInput, DynOutput, Host, OpenContext, Opened, Placement,
    ReadError, panic_text,
};
use futures_util::FutureExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::burst::bursting;
use crate::component::Component;
use crate::core::Core;
use crate::life::{Failure, FailureClass};
use crate::pulse::watched;
use crate::report::{OpenSide, Report, Who};

/// Control messages only; events and calls never pass here.
const MAILBOX: usize = 16;

/// One opening of one side of a component.
pub(crate) struct BindingActor {
    core: Arc<Core>,
    component: Arc<Component>,
    who: Who,
    stage: Stage,
    closing: CancellationToken,
    /// Tells the binding's own tasks when the actor is gone, however it goes.
    _cancels: DropGuard,
    /// Dropped last: by then everything else is gone.
    _notice: DeathNotice,
}

/// Where it is. Tasks are aborted when the stage is left.
enum Stage {
    Opening { _task: Option<Task> },
    Output(Option<Arc<dyn DynOutput>>),
    Input(Box<dyn DynInput>),
    Reading { task: Task, intake: Arc<Intake> },
    Closing { _task: Option<Task> },
}

type Task = AbortOnDropHandle<()>;

/// The binding is to be closed, by this time at the latest.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Close(pub(crate) Deadline);

/// The app wants the events: read.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StartReading(pub(crate) Arc<Intake>);

#[derive(Message)]
#[rtype(result = "()")]
struct OpenDone(Result<Opened, Failure>);

#[derive(Message)]
#[rtype(result = "()")]
struct ReadDone(Result<Ended, String>);

/// A reader that returned, and what it returned.
type Ended = (Box<dyn DynInput>, Result<(), ReadError>);

#[derive(Message)]
#[rtype(result = "()")]
struct CloseDone;

impl BindingActor {
    /// Starts an opening on the thread of `arbiter`.
    pub(crate) fn start_on(
        arbiter: &actix_rt::ArbiterHandle,
        core: Arc<Core>,
        component: Arc<Component>,
        who: Who,
    ) -> Addr<Self> {
        Self::start_in_arbiter(arbiter, move |_| {
            let closing = CancellationToken::new();
            Self {
                _notice: DeathNotice {
                    who,
                    reports: core.reports.clone(),
                },
                _cancels: closing.clone().drop_guard(),
                core,
                component,
                who,
                stage: Stage::Opening { _task: None },
                closing,
            }
        })
    }

    fn open(&self, addr: Addr<Self>) -> Task {
        let (core, component, role) = (
            Arc::clone(&self.core),
            Arc::clone(&self.component),
            self.who.role,
        );
        let cx = self.context();
        spawn(async move {
            let opening = async {
                let properties = component.settings.resolve().await.map_err(invalid)?;
                let prepared = component
                    .registration
                    .prepare(&properties)
                    .map_err(invalid)?;
                let opened = prepared.open(cx).await.map_err(Failure::from)?;
                if opened.role() == role {
                    Ok(opened)
                } else {
                    Err(Failure::new(
                        FailureClass::Invalid,
                        format!("it did not open an {role}"),
                    ))
                }
            };
            let opening = AssertUnwindSafe(watched(component.id, opening)).catch_unwind();
            let outcome = match core.clock.timeout(component.init_timeout, opening).await {
                Some(Ok(outcome)) => outcome,
                Some(Err(panic)) => Err(Failure::new(
                    FailureClass::Crashed,
                    panic_text(panic.as_ref()),
                )),
                None => {
                    let late = format!("init timeout for component {}", component.display());
                    Err(Failure::new(FailureClass::Stuck, late))
                }
            };
            tell(&addr, OpenDone(outcome));
        })
    }

    fn context(&self) -> OpenContext {
        OpenContext::new(ContextParts {
            component: Arc::clone(&self.component.name),
            role: self.who.role,
            identity: Arc::clone(&self.core.identity),
            clock: self.core.clock.clone(),
            runtime: tokio::runtime::Handle::current(),
            closing: self.closing.clone(),
            workers: self.core.seats.len(),
            host: Arc::new(Ear {
                who: self.who,
                reports: self.core.reports.clone(),
            }),
        })
    }

    fn read(&self, mut input: Box<dyn DynInput>, intake: &Arc<Intake>, addr: Addr<Self>) -> Task {
        let (id, sink) = (self.component.id, intake.sink());
        spawn(async move {
            let reading = async move {
                let outcome = input.read(sink).await;
                (input, outcome)
            };
            let outcome = AssertUnwindSafe(watched(id, bursting(reading)))
                .catch_unwind()
                .await;
            tell(
                &addr,
                ReadDone(outcome.map_err(|panic| panic_text(panic.as_ref()))),
            );
        })
    }

    fn close(&mut self, what: Option<Closable>, deadline: Deadline, ctx: &mut Context<Self>) {
        let Some(what) = what else {
            ctx.stop();
            return;
        };
        let (clock, id, addr) = (self.core.clock.clone(), self.component.id, ctx.address());
        let name = self.component.display();
        let task = spawn(async move {
            let closing = async move {
                match what {
                    Closable::Output(output) => output.close(deadline).await,
                    Closable::Input(mut input) => input.close(deadline).await,
                }
            };
            let closing = AssertUnwindSafe(watched(id, closing)).catch_unwind();
            match deadline.limit(&clock, closing).await {
                Some(Ok(())) => {}
                Some(Err(panic)) => {
                    tracing::warn!("closing {name} {}", panic_text(panic.as_ref()));
                }
                None => tracing::warn!("closing {name} took too long and was given up"),
            }
            tell(&addr, CloseDone);
        });
        self.stage = Stage::Closing { _task: Some(task) };
    }

    fn report(&self, report: Report) {
        // Nobody to tell means that the runtime is gone, and with it all reason to tell.
        let _ = self.core.reports.send(report);
    }

    fn fail(&self, failure: Failure) {
        self.report(Report::Failed {
            who: self.who,
            failure,
        });
    }
}

enum Closable {
    Output(Arc<dyn DynOutput>),
    Input(Box<dyn DynInput>),
}

fn invalid(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::Invalid, error.to_string())
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Task {
    AbortOnDropHandle::new(tokio::spawn(task))
}

/// Tells the actor. Its mailbox has room for everything that its tasks can have to say; an
/// actor that is gone does not want to know.
fn tell<M>(addr: &Addr<BindingActor>, message: M)
where
    M: Message<Result = ()> + Send + 'static,
    BindingActor: Handler<M>,
{
    let _ = addr.try_send(message);
}

impl Actor for BindingActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.stage = Stage::Opening {
            _task: Some(self.open(ctx.address())),
        };
    }
}

impl Handler<OpenDone> for BindingActor {
    type Result = ();

    fn handle(&mut self, OpenDone(outcome): OpenDone, ctx: &mut Context<Self>) {
        match outcome {
            Ok(Opened::Output(placement)) => {
                let shared = match &placement {
                    Placement::Shared(output) => Some(Arc::clone(output)),
                    Placement::PerThread(_) => None,
                };
                self.stage = Stage::Output(shared);
                self.report(Report::Opened {
                    who: self.who,
                    side: OpenSide::Output(placement),
                });
            }
            Ok(Opened::Input { input, retry }) => {
                self.stage = Stage::Input(input);
                self.report(Report::Opened {
                    who: self.who,
                    side: OpenSide::Input(retry),
                });
            }
            Err(failure) => {
                self.fail(failure);
                ctx.stop();
            }
        }
    }
}

impl Handler<StartReading> for BindingActor {
    type Result = ();

    fn handle(&mut self, StartReading(intake): StartReading, ctx: &mut Context<Self>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Closing { _task: None });
        self.stage = match stage {
            Stage::Input(input) => {
                let task = self.read(input, &intake, ctx.address());
                Stage::Reading { task, intake }
            }
            other => other,
        };
    }
}

impl Handler<ReadDone> for BindingActor {
    type Result = ();

    fn handle(&mut self, ReadDone(outcome): ReadDone, ctx: &mut Context<Self>) {
        let stopping = match &self.stage {
            Stage::Reading { intake, .. } => intake.is_stopping(),
            _ => true,
        };
        let (input, failure) = match outcome {
            Ok((input, Ok(()))) => (
                Some(input),
                Failure::new(FailureClass::Disconnected, "the reader ended"),
            ),
            Ok((input, Err(error))) => (Some(input), Failure::from(error)),
            Err(panic) => (None, Failure::new(FailureClass::Crashed, panic)),
        };
        if !stopping {
            self.fail(failure);
        }
        let deadline = Deadline::at(self.core.clock.now() + self.core.limits.close_timeout);
        self.close(input.map(Closable::Input), deadline, ctx);
    }
}

impl Handler<Close> for BindingActor {
    type Result = ();

    fn handle(&mut self, Close(deadline): Close, ctx: &mut Context<Self>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Closing { _task: None });
        match stage {
            Stage::Opening { .. } => ctx.stop(),
            Stage::Output(output) => self.close(output.map(Closable::Output), deadline, ctx),
            Stage::Input(input) => self.close(Some(Closable::Input(input)), deadline, ctx),
            Stage::Reading { task, intake } => {
                intake.stop();
                self.stage = Stage::Reading { task, intake };
                if is_off(Mechanism::Drain) {
                    return self.give_up(ctx);
                }
                // `ReadDone` closes it; a reader that does not return is given up.
                let clock = self.core.clock.clone();
                if let Some(instant) = deadline.instant() {
                    let wait = async move { clock.sleep_until(instant).await };
                    ctx.spawn(
                        wait.into_actor(self)
                            .map(|(), actor, ctx| actor.give_up(ctx)),
                    );
                }
            }
            closing @ Stage::Closing { .. } => self.stage = closing,
        }
    }
}

impl BindingActor {
    fn give_up(&mut self, ctx: &mut Context<Self>) {
        if let Stage::Reading { intake, .. } = &self.stage {
            let name = self.component.display();
            tracing::warn!("the reader of {name} did not stop in time and was given up");
            intake.fence();
            ctx.stop();
        }
    }
}

impl Handler<CloseDone> for BindingActor {
    type Result = ();

    fn handle(&mut self, _: CloseDone, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// Says that the actor is gone, whether it stopped or died. Only sends, as drop guards must.
struct DeathNotice {
    who: Who,
    reports: UnboundedSender<Report>,
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        let _ = self.reports.send(Report::ActorEnded { who: self.who });
    }
}

/// What a binding says to the runtime on its own account.
struct Ear {
    who: Who,
    reports: UnboundedSender<Report>,
}

impl Ear {
    fn fail(&self, class: FailureClass, error: String) {
        let failure = Failure { class, error };
        let _ = self.reports.send(Report::Failed {
            who: self.who,
            failure,
        });
    }
}

impl Host for Ear {
    fn degraded(&self, cause: Cause) {
        let _ = self.reports.send(Report::Degraded {
            who: self.who,
            error: cause.to_string(),
        });
    }

    fn recovered(&self) {
        let _ = self.reports.send(Report::Recovered { who: self.who });
    }

    fn disconnected(&self, cause: Cause) {
        self.fail(FailureClass::Disconnected, cause.to_string());
    }

    fn crashed(&self, panic: String) {
        self.fail(FailureClass::Crashed, panic);
    }
}
