//! The supervisor: it decides what becomes of every binding.
//!
//! It lives on the control thread, where no binding's code ever runs, and does nothing but
//! decide: reports come in (`report.rs`), each side's life (`life.rs`) says what follows, and
//! binding actors, the table and the status board are told.

mod messages;
mod operate;
mod reading;
mod replace;
mod thread;
mod watch;

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bindery_contract::{Deadline, Instant, Placement, Role};
use futures_util::{StreamExt, stream};
use tokio::sync::{Mutex, mpsc, oneshot};

pub(crate) use self::messages::{AskAgain, Load, Loaded, Retire, StartInputs, Stop};
pub(crate) use self::operate::{Change, Operate};
pub use self::operate::{Operation, OperationError};
use self::thread::BindingsThread;
pub use self::thread::Threads;
use self::watch::Look;
use crate::binding::BindingActor;
use crate::child::{Child, Opening, Serving, ServingSide};
use crate::core::{Core, Progress};
use crate::life::{Effect, Failure, FailureClass, LifeEvent, State};
use crate::pulse::ComponentId;
use crate::report::{OpenSide, Report, Who};
use crate::router::TableChanged;
use crate::status::ComponentStatus;
use crate::table::{Available, Entry, Generation};
use crate::watchdog::Watch;
use crate::worker::Worker;

/// Control messages only; reports come through a channel of their own.
const MAILBOX: usize = 256;
/// How often the watchdog looks.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// One side of one component.
type Key = (ComponentId, Role);

/// The supervisor.
pub(crate) struct Supervisor {
    core: Arc<Core>,
    threads: Threads,
    bindings: BindingsThread,
    /// In the order of loading.
    children: BTreeMap<Key, Child>,
    /// Not valid any more, and still called.
    retiring: Vec<Serving>,
    /// Inputs that are gone and have not closed yet, by name: a namesake must wait.
    leaving: Vec<(Arc<str>, Who)>,
    /// Whether inputs are closed because the app is not fit for events.
    inputs_stopped: bool,
    /// Who waits for what to be closed.
    closers: Vec<Closer>,
    watches: Vec<Watch>,
    abandoned_threads: u32,
    reports: Option<Reports>,
    /// Dropped with the supervisor, however it goes: its guardian hears of it.
    _alive: oneshot::Sender<Infallible>,
}

/// The receiving end of the reports. The next supervisor takes it when this one dies.
pub(crate) type Reports = Arc<Mutex<mpsc::UnboundedReceiver<Report>>>;

struct Closer {
    left: HashSet<Who>,
    /// Dropped when nothing is left.
    _done: oneshot::Sender<()>,
}
impl Supervisor {
    /// Starts a supervisor with nothing to do. The receiver hears when it dies.
    pub(crate) fn start(
        core: &Arc<Core>,
        threads: Threads,
        reports: Reports,
    ) -> (Addr<Self>, oneshot::Receiver<Infallible>) {
        let (alive, death) = oneshot::channel();
        let supervisor = Self {
            bindings: BindingsThread::start(core, threads, 0),
            core: Arc::clone(core),
            threads,
            children: BTreeMap::new(),
            retiring: Vec::new(),
            leaving: Vec::new(),
            inputs_stopped: false,
            closers: Vec::new(),
            watches: Vec::new(),
            abandoned_threads: 0,
            reports: Some(reports),
            _alive: alive,
        };
        (Actor::start(supervisor), death)
    }

    fn now(&self) -> Instant {
        self.core.clock.now()
    }

    /// The actor of one side of a component, where it has one now.
    #[cfg(feature = "chaos")]
    pub(crate) fn actor_of(&self, name: &str, role: Role) -> Option<Addr<BindingActor>> {
        let child = self
            .children
            .values()
            .find(|child| child.role == role && &*child.component.name == name)?;
        let serving = child.serving.as_ref().map(|serving| &serving.actor);
        let opening = child.opening.as_ref().map(|opening| &opening.actor);
        serving.or(opening).cloned()
    }

    /// Lets a child's life take an event, and does what follows.
    fn happen(&mut self, key: Key, event: LifeEvent, ctx: &mut Context<Self>) {
        let now = self.now();
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        let before = child.life.state().name();
        let error = match &event {
            LifeEvent::Failed(failure) => Some(failure.error.clone()),
            _ => None,
        };
        let failed = error.is_some();
        let effect = child.life.on(event, now, fastrand::f64());
        if let Some(error) = error {
            child.last_error = Some(error.into());
        } else if let State::Failed(trouble) | State::Degraded(trouble) = child.life.state() {
            child.last_error = Some(Arc::clone(&trouble.error));
        }
        if child.life.state().name() != before || failed {
            log_transition(child, before);
        }
        match effect {
            Effect::None => {}
            Effect::Open => self.open(key),
            Effect::WaitUntil(next) => {
                let clock = self.core.clock.clone();
                let wait = async move { clock.sleep_until(next).await };
                ctx.spawn(wait.into_actor(self).map(move |(), supervisor, ctx| {
                    supervisor.happen(key, LifeEvent::Due, ctx);
                }));
            }
        }
        self.publish(key);
    }

    /// Starts an opening. What is open already goes on until the new one is there; an input that
    /// is still closing is waited for.
    fn open(&mut self, key: Key) {
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        if child.closing.is_some() {
            child.open_when_closed = true;
            return;
        }
        if child.opening.is_some() {
            return;
        }
        child.incarnation += 1;
        let who = Who {
            component: key.0,
            role: key.1,
            incarnation: child.incarnation,
        };
        let (component, is_candidate) = child.next_version();
        let actor = BindingActor::start_on(
            &self.bindings.arbiter,
            Arc::clone(&self.core),
            component,
            who,
        );
        child.opening = Some(Opening {
            who,
            actor,
            is_candidate,
        });
    }

    fn opened(&mut self, who: Who, side: OpenSide, ctx: &mut Context<Self>) {
        let key = (who.component, who.role);
        let now = self.now();
        let core = Arc::clone(&self.core);
        let Some(child) = self
            .children
            .get_mut(&key)
            .filter(|child| child.is_opening(who))
        else {
            return;
        };
        let Some(opening) = child.opening.take() else {
            return;
        };
        if opening.is_candidate {
            child.become_candidate();
        }
        let side = match side {
            OpenSide::Output(placement) => {
                let generation = publishable(&core, child, who, placement);
                let weak = Arc::downgrade(&generation);
                let available = Available::Serving(generation);
                core.table
                    .set(&child.component.name, Some(entry(child, available)));
                ServingSide::Output { generation: weak }
            }
            OpenSide::Input(retry) => ServingSide::Input {
                retry,
                intake: None,
            },
        };
        let serving = Serving {
            who,
            actor: opening.actor,
            since: now,
            side,
        };
        if let Some(observer) = &core.observer {
            observer.opened(&child.component);
        }
        let before = child.serving.replace(serving);
        child.impaired = None;
        if child.life.restarts() == 0 {
            tracing::info!(
                target: "dapr.runtime.processor.binding",
                "successful init for {} binding ({})", who.role, child.component.display()
            );
            self.say_when_loaded(key.0);
        }
        if let Some(before) = before {
            self.retire(before, ctx);
        }
        self.happen(key, LifeEvent::Opened, ctx);
        self.table_changed();
        self.consider_reading(key);
        self.try_candidate(key, ctx);
    }

    /// Says it of a component when all its sides are open.
    fn say_when_loaded(&self, component: ComponentId) {
        let sides = self.children.iter().filter(|(key, _)| key.0 == component);
        let sides: Vec<&Child> = sides.map(|(_, child)| child).collect();
        if let [first, ..] = *sides
            && sides.iter().all(|side| side.serving.is_some())
        {
            tracing::info!(
                target: "dapr.runtime.processor",
                "Component loaded: {}", first.component.display()
            );
        }
    }

    /// Lets an opening end that is not the valid one any more. An output may finish the calls
    /// that hold it; its generation says when the last one has ended.
    fn retire(&mut self, serving: Serving, ctx: &mut Context<Self>) {
        let limits = &self.core.limits;
        let drains = match &serving.side {
            ServingSide::Output { generation } => generation.strong_count() > 0,
            ServingSide::Input { .. } => false,
        };
        let wait = if drains { limits.drain } else { Duration::ZERO };
        let at = self.now() + wait;
        if drains {
            let (who, clock) = (serving.who, self.core.clock.clone());
            self.retiring.push(serving);
            let wait = async move { clock.sleep_until(at).await };
            ctx.spawn(
                wait.into_actor(self)
                    .map(move |(), supervisor, _| supervisor.drained(who)),
            );
        } else {
            serving.close(Deadline::at(at + limits.close_timeout));
        }
    }

    /// Nobody calls a retired output any more, or its time is up.
    fn drained(&mut self, who: Who) {
        if let Some(at) = self
            .retiring
            .iter()
            .position(|retiring| retiring.who == who)
        {
            let deadline = Deadline::at(self.now() + self.core.limits.close_timeout);
            self.retiring.swap_remove(at).close(deadline);
        }
    }

    fn failed(&mut self, who: Who, failure: Failure, ctx: &mut Context<Self>) {
        let key = (who.component, who.role);
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        if let Some(opening) = child.opening.take_if(|opening| opening.who == who) {
            if let Some(observer) = &self.core.observer {
                observer.open_failed(&child.component, failure.class);
            }
            if opening.is_candidate {
                return self.candidate_failed(key, failure, ctx);
            }
            if child.serving.is_some() {
                tracing::warn!(
                    target: "dapr.runtime.processor.binding",
                    "{} could not be opened anew and goes on as it was: {}",
                    child.component.display(), failure.error
                );
                child.last_error = Some(failure.error.into());
                self.publish(key);
                return;
            }
            if let Some(next) = &mut child.candidate {
                next.is_next = true;
            }
            self.happen(key, LifeEvent::Failed(failure), ctx);
        } else if child.is_serving(who) {
            self.withdraw(key, ctx);
            self.happen(key, LifeEvent::Failed(failure), ctx);
        }
        if self
            .children
            .get(&key)
            .is_some_and(|child| !child.waiting.is_empty())
        {
            self.happen(key, LifeEvent::Wanted, ctx);
        }
        self.away(key);
    }

    /// Takes away what was open and is not fit any more.
    fn withdraw(&mut self, key: Key, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        if let Some(serving) = child.serving.take() {
            serving.fence();
            self.retire(serving, ctx);
        }
    }

    /// Says in the table that a child cannot be called, and why.
    fn away(&mut self, key: Key) {
        let now = self.now();
        let Some(child) = self.children.get(&key) else {
            return;
        };
        let why = child.why_away(now);
        let why = match child.life.state() {
            State::Stopped => return,
            State::Paused => Available::Paused(why),
            _ => Available::Away(why),
        };
        if key.1 == Role::Output && child.serving.is_none() {
            self.core
                .table
                .set(&child.component.name, Some(entry(child, why)));
            self.table_changed();
        }
    }

    /// A running binding says that it works, but not fully, and why; or that it does again.
    fn impaired(&mut self, who: Who, why: Option<Arc<str>>) {
        let key = (who.component, who.role);
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        let before = std::mem::replace(&mut child.impaired, why.clone());
        let name = child.component.display();
        match (before, why) {
            (_, Some(why)) => {
                tracing::warn!(
                    target: "dapr.runtime.processor.binding",
                    "{name} works, but not fully: {why}"
                );
                child.last_error = Some(why);
            }
            (Some(before), None) => {
                tracing::info!(
                    target: "dapr.runtime.processor.binding", "{name} works fully again"
                );
                child.last_error.take_if(|last| *last == before);
            }
            (None, None) => return,
        }
        self.publish(key);
    }

    fn invoke_panicked(&mut self, who: Who, panic: &str) {
        let key = (who.component, who.role);
        let now = self.now();
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        child.panics += 1;
        child.last_error = Some(panic.into());
        tracing::error!(
            target: "dapr.runtime.processor.binding",
            "a call of {} {panic}; the call failed, the binding goes on", child.component.display()
        );
        // A per-thread replica is replaced by its router; a shared instance here, at most once
        // a second, the old one serving until the new one is open.
        let replace = child.opening.is_none()
            && child.serving.as_ref().is_some_and(|serving| {
                serving.who == who
                    && now.saturating_duration_since(serving.since) >= Duration::from_secs(1)
                    && is_shared(serving)
            });
        if replace {
            self.open(key);
        }
        self.publish(key);
    }

    /// An actor ended. If it was open or being opened, it died.
    fn actor_ended(&mut self, who: Who, ctx: &mut Context<Self>) {
        self.closers.retain_mut(|closer| {
            closer.left.remove(&who);
            !closer.left.is_empty()
        });
        self.leaving.retain(|(_, leaving)| *leaving != who);
        self.closed(who);
        self.failed(
            who,
            Failure::new(FailureClass::Crashed, "its actor died"),
            ctx,
        );
    }

    /// Writes what people see of a child.
    fn publish(&self, key: Key) {
        let clock = &self.core.clock;
        let mut components: Vec<Arc<ComponentStatus>> = Vec::new();
        let board = self.core.status.components();
        for ((id, _), child) in &self.children {
            let name = &child.component.name;
            if components.last().is_some_and(|last| last.name == *name) {
                continue;
            }
            // Only what has changed is made anew.
            let known = board.iter().find(|known| known.name == *name);
            components.push(match known.filter(|_| *id != key.0) {
                Some(known) => Arc::clone(known),
                None => Arc::new(ComponentStatus {
                    name: Arc::clone(name),
                    type_name: child.component.type_name.clone(),
                    version: child.component.version.clone(),
                    sides: self
                        .children
                        .range((*id, Role::Input)..=(*id, Role::Output))
                        .map(|(_, child)| child.status(clock))
                        .collect(),
                }),
            });
        }
        self.core.status.publish(components);
        if self.children.values().all(|child| child.life.was_tried()) {
            let tried = |progress: &mut Progress| !std::mem::replace(&mut progress.tried, true);
            self.core.progress.send_if_modified(tried);
        }
    }

    fn table_changed(&self) {
        for router in self.core.routers() {
            // A router too busy to take it has calls, and looks for itself.
            let _ = router.try_send(TableChanged);
        }
    }
}

fn publishable(core: &Arc<Core>, child: &Child, who: Who, placement: Placement) -> Arc<Generation> {
    Arc::new(Generation {
        who,
        name: Arc::clone(&child.component.name),
        placement,
        declared: child.component.registration.operations,
        calls: Arc::clone(&child.calls),
        reports: core.reports.clone(),
    })
}

fn entry(child: &Child, available: Available) -> Entry {
    Entry {
        available,
        waiting: Arc::clone(&child.waiting),
    }
}

fn is_shared(serving: &Serving) -> bool {
    match &serving.side {
        ServingSide::Output { generation } => generation
            .upgrade()
            .is_some_and(|generation| matches!(generation.placement, Placement::Shared(_))),
        ServingSide::Input { .. } => false,
    }
}

/// One line for each transition, naming the binding.
fn log_transition(child: &Child, before: &'static str) {
    let state = child.life.state();
    let (name, role) = (child.component.display(), child.role);
    match state {
        State::Running => tracing::info!(
            target: "dapr.runtime.processor.binding",
            "binding {name}: {role} is running (was {before})"
        ),
        State::Degraded(trouble) if state.name() != before || trouble.attempt.is_power_of_two() => {
            tracing::warn!(
                target: "dapr.runtime.processor.binding",
                "binding {name}: {role} is degraded (attempt {}): {}",
                trouble.attempt, trouble.error
            );
        }
        State::Failed(trouble) => tracing::error!(
            target: "dapr.runtime.processor.binding",
            "binding {name}: {role} has failed and is tried again {}: {}",
            if trouble.next_try.is_some() { "in a minute" } else { "only when it is restarted" },
            trouble.error
        ),
        State::Paused | State::Stopped => tracing::info!(
            target: "dapr.runtime.processor.binding",
            "binding {name}: {role} is {}", state.name().to_lowercase()
        ),
        _ => {}
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
        if let Some(reports) = self.reports.take() {
            let receiver = stream::once(reports.lock_owned());
            ctx.add_stream(receiver.flat_map(|receiver| {
                stream::unfold(receiver, |mut receiver| async {
                    receiver.recv().await.map(|report| (report, receiver))
                })
            }));
        }
        let clock = self.core.clock.clone();
        ctx.add_stream(stream::unfold(clock, |clock| async {
            clock.sleep(WATCH_EVERY).await;
            Some((Look, clock))
        }));
    }
}

impl Drop for Supervisor {
    /// However it goes, what it leaves behind must not acknowledge anything any more: its
    /// successor opens everything anew.
    fn drop(&mut self) {
        for serving in self
            .children
            .values()
            .filter_map(|child| child.serving.as_ref())
        {
            serving.fence();
        }
    }
}

impl StreamHandler<Report> for Supervisor {
    fn handle(&mut self, report: Report, ctx: &mut Context<Self>) {
        match report {
            Report::Opened { who, side } => self.opened(who, side, ctx),
            Report::Failed { who, failure } => self.failed(who, failure, ctx),
            Report::Degraded { who, error } => self.impaired(who, Some(error.into())),
            Report::Recovered { who } => self.impaired(who, None),
            Report::Wanted { component } => {
                self.happen((component, Role::Output), LifeEvent::Wanted, ctx);
            }
            Report::InvokePanicked { who, panic } => self.invoke_panicked(who, &panic),
            Report::Drained { who } => self.drained(who),
            Report::ActorEnded { who } => self.actor_ended(who, ctx),
            Report::Subscription {
                component,
                route,
                wants,
            } => self.subscription(component, &route, wants),
            Report::WorkerActorDied { seat } => {
                if let Some(contact) = self.core.seats[seat].contact() {
                    let core = Arc::clone(&self.core);
                    contact.arbiter.spawn_fn(move || Worker::mend(&core));
                }
            }
        }
    }
}
