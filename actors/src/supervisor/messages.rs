//! What the supervisor is asked to do.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;
use actix_rt::Arbiter;
use bindery_contract::{Deadline, Role};
use tokio::sync::oneshot;

use super::{Closer, Key, Supervisor};
use crate::child::{Child, Subscription};
use crate::component::Component;
use crate::life::{LifeEvent, State};

/// Takes components in and starts them.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Load(pub(crate) Vec<Arc<Component>>);

impl Handler<Load> for Supervisor {
    type Result = ();

    fn handle(&mut self, Load(components): Load, ctx: &mut Context<Self>) {
        for component in &components {
            for role in [Role::Input, Role::Output] {
                if component.roles.contains(&role) {
                    self.add(component, role, ctx);
                }
            }
        }
        if self.children.is_empty() {
            self.core
                .progress
                .send_modify(|progress| progress.tried = true);
        }
    }
}

/// Answered when everything before it in the mailbox is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Loaded;

impl Handler<Loaded> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Loaded, _: &mut Context<Self>) {}
}

/// Everything is closed: the supervisor ends, and hands out the thread of the bindings.
#[derive(Message)]
#[rtype(result = "Option<Arbiter>")]
pub(crate) struct Retire;

impl Handler<Retire> for Supervisor {
    type Result = MessageResult<Retire>;

    fn handle(&mut self, _: Retire, ctx: &mut Context<Self>) -> Self::Result {
        ctx.stop();
        MessageResult(self.bindings.owned.take())
    }
}

/// The app is there: read what it wants.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StartInputs;

impl Handler<StartInputs> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: StartInputs, ctx: &mut Context<Self>) {
        let inputs: Vec<Key> = self
            .children
            .keys()
            .copied()
            .filter(|key| key.1 == Role::Input)
            .collect();
        if std::mem::take(&mut self.inputs_stopped) {
            // It may be another version of the app by now.
            for child in self.children.values_mut() {
                if !child.component.subscribed {
                    child.subscription = Subscription::Unknown;
                }
            }
        }
        self.note_asked();
        for key in inputs {
            let stopped = |child: &Child| child.life.state() == &State::Stopped;
            if self.children.get(&key).is_some_and(stopped) {
                self.happen(key, LifeEvent::Start, ctx);
            } else {
                self.consider_reading(key);
            }
        }
    }
}

/// The app may have changed its mind about inputs that it did not want.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct AskAgain;

impl Handler<AskAgain> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: AskAgain, _: &mut Context<Self>) {
        let unwanted = self
            .children
            .iter_mut()
            .filter(|(_, child)| child.subscription == Subscription::Unwanted);
        let keys: Vec<Key> = unwanted
            .map(|(key, child)| {
                child.subscription = Subscription::Unknown;
                *key
            })
            .collect();
        for key in keys {
            self.consider_reading(key);
        }
    }
}

/// Closes one side of all components; the answer comes when all of it is closed, or when the
/// last of them has used up its time.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop {
    pub(crate) role: Role,
    pub(crate) deadline: Deadline,
}

impl Handler<Stop> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Stop { role, deadline }: Stop, ctx: &mut Context<Self>) -> Self::Result {
        let keys: Vec<Key> = self
            .children
            .keys()
            .copied()
            .filter(|key| key.1 == role)
            .collect();
        let mut left = HashSet::new();
        self.inputs_stopped |= role == Role::Input;
        for key in keys {
            let Some(child) = self.children.get_mut(&key) else {
                continue;
            };
            left.extend(child.closing);
            child.open_when_closed = false;
            if child.life.state() == &State::Paused {
                continue;
            }
            if role == Role::Output {
                self.core.table.set(&child.component.name, None);
            }
            left.extend(self.shut(key, deadline));
            self.happen(key, LifeEvent::Stop, ctx);
        }
        match role {
            Role::Input => left.extend(self.leaving.iter().map(|(_, who)| *who)),
            Role::Output => {
                for serving in self.retiring.drain(..) {
                    left.insert(serving.who);
                    serving.close(deadline);
                }
            }
        }
        self.table_changed();
        let (done, closed) = oneshot::channel();
        if !left.is_empty() {
            self.closers.push(Closer { left, _done: done });
        }
        let clock = self.core.clock.clone();
        Box::pin(async move {
            // Dropped, not sent: either way it is over.
            let _ = deadline.limit(&clock, closed).await;
        })
    }
}
