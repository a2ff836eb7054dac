//! What people do to single bindings, and what changes in their files.

use std::sync::Arc;

use actix::prelude::*;
use bindery_contract::Role;

use super::{Key, Supervisor};
use crate::component::Component;
use crate::life::{LifeEvent, State};

/// What can be done to one binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads no more and takes no calls, until it is resumed.
    Pause,
    /// Ends a pause.
    Resume,
    /// Opens it anew, from clean state, and without waiting for the next try.
    Restart,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// There is no such binding, or it has no such side.
    #[error("couldn't find binding {0}")]
    NotFound(String),
    /// Its state does not allow it.
    #[error("binding {name} {problem}")]
    Conflict {
        /// The component's name.
        name: String,
        /// Which state that is.
        problem: &'static str,
    },
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Closed,
}

/// Does something to one binding: to both sides, or to one.
#[derive(Message)]
#[rtype(result = "Result<(), OperationError>")]
pub(crate) struct Operate {
    pub(crate) name: String,
    pub(crate) role: Option<Role>,
    pub(crate) operation: Operation,
}

impl Handler<Operate> for Supervisor {
    type Result = Result<(), OperationError>;

    fn handle(&mut self, operate: Operate, ctx: &mut Context<Self>) -> Self::Result {
        let Operate {
            name,
            role,
            operation,
        } = operate;
        if self.core.desired().closed {
            return Err(OperationError::Closed);
        }
        let keys: Vec<Key> = self
            .children
            .iter()
            .filter(|(_, child)| *child.component.name == *name)
            .filter(|(key, _)| role.is_none_or(|role| key.1 == role))
            .map(|(key, _)| *key)
            .collect();
        if keys.is_empty() {
            return Err(OperationError::NotFound(name));
        }
        let is_paused = |key: &Key| {
            let child = self.children.get(key);
            child.is_some_and(|child| child.life.state() == &State::Paused)
        };
        let problem = match operation {
            Operation::Pause if keys.iter().all(is_paused) => Some("is paused already"),
            Operation::Resume if !keys.iter().any(is_paused) => Some("is not paused"),
            Operation::Restart if keys.iter().all(is_paused) => {
                Some("is paused; resume it instead")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(OperationError::Conflict { name, problem });
        }
        for key in keys {
            match operation {
                Operation::Pause => self.pause(key, ctx),
                Operation::Resume => self.resume(key, ctx),
                Operation::Restart => self.restart(key, ctx),
            }
        }
        Ok(())
    }
}

impl Supervisor {
    fn pause(&mut self, key: Key, ctx: &mut Context<Self>) {
        let closing = self.let_go(key, ctx);
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        // What its file says by now counts when it is resumed.
        child.become_candidate();
        child.closing = closing.or(child.closing);
        child.open_when_closed = false;
        let paused = (Arc::clone(&child.component.name), key.1);
        self.core.desired().paused.insert(paused);
        self.happen(key, LifeEvent::Pause, ctx);
        self.away(key);
    }

    fn resume(&mut self, key: Key, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get(&key) else {
            return;
        };
        let paused = (Arc::clone(&child.component.name), key.1);
        if !self.core.desired().paused.remove(&paused) {
            return;
        }
        let event = if key.1 == Role::Input && self.inputs_stopped {
            LifeEvent::Stop
        } else {
            LifeEvent::Restart
        };
        self.happen(key, event, ctx);
        self.away(key);
    }

    fn restart(&mut self, key: Key, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        if child.life.is_off() {
            return;
        }
        if child.serving.is_some() {
            self.exchange(key);
        } else if child.opening.is_none() && child.closing.is_none() {
            self.happen(key, LifeEvent::Restart, ctx);
        }
        self.publish(key);
    }
}

/// What has changed in the files.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Change {
    pub(crate) removed: Vec<Arc<Component>>,
    /// New ones, and next versions.
    pub(crate) put: Vec<Arc<Component>>,
}

impl Handler<Change> for Supervisor {
    type Result = ();

    fn handle(&mut self, Change { removed, put }: Change, ctx: &mut Context<Self>) {
        if self.core.desired().closed {
            return;
        }
        for component in removed {
            for role in [Role::Input, Role::Output] {
                self.remove((component.id, role), ctx);
            }
        }
        for component in put {
            for role in [Role::Input, Role::Output] {
                let key = (component.id, role);
                match (
                    self.children.contains_key(&key),
                    component.roles.contains(&role),
                ) {
                    (true, true) => self.replace(key, Arc::clone(&component), ctx),
                    (true, false) => self.remove(key, ctx),
                    (false, true) => self.add(&component, role, ctx),
                    (false, false) => {}
                }
            }
        }
    }
}
