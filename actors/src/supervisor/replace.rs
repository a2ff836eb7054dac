//! Components that come, change and go while the sidecar runs (DESIGN, "Supervision": reload).
//!
//! A changed output is opened beside the one that serves, and takes its place when it is open:
//! no call fails. A changed input is drained and closed first, because client ids, exclusive
//! queues and group members exist once. Where the new version cannot be opened, the last good
//! one goes on.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bindery_contract::{Deadline, Instant, Role};

use super::{Key, Supervisor};
use crate::backoff::Backoff;
use crate::child::{Candidate, Child, Subscription};
use crate::component::Component;
use crate::life::{Failure, FailureClass, LifeEvent, REFUSED_RETRY, State};
use crate::report::Who;

impl Supervisor {
    /// Takes in one side of a component and starts it, unless somebody has paused or stopped it.
    pub(super) fn add(&mut self, component: &Arc<Component>, role: Role, ctx: &mut Context<Self>) {
        let key = (component.id, role);
        let mut child = Child::new(component, role, self.now());
        let namesake = |(name, who): &&(Arc<str>, Who)| *name == component.name && who.role == role;
        let leaving = self.leaving.iter().find(namesake);
        child.closing = leaving.map(|(_, who)| *who);
        self.children.insert(key, child);
        let is_paused = {
            let desired = self.core.desired();
            desired
                .paused
                .contains(&(Arc::clone(&component.name), role))
        };
        let event = if is_paused {
            LifeEvent::Pause
        } else if role == Role::Input && self.inputs_stopped {
            LifeEvent::Stop
        } else {
            LifeEvent::Start
        };
        self.happen(key, event, ctx);
        self.away(key);
    }

    /// One side of a component is not wanted any more.
    pub(super) fn remove(&mut self, key: Key, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get(&key) else {
            return;
        };
        let name = Arc::clone(&child.component.name);
        let still_closing = child.closing;
        if key.1 == Role::Output {
            self.core.table.set(&name, None);
            self.table_changed();
        }
        let closing = self.let_go(key, ctx);
        let leaving = closing.into_iter().chain(still_closing);
        if key.1 == Role::Input {
            self.leaving
                .extend(leaving.map(|who| (Arc::clone(&name), who)));
        }
        self.children.remove(&key);
        self.publish(key);
    }

    /// One side of a component is to become its next version.
    pub(super) fn replace(&mut self, key: Key, next: Arc<Component>, ctx: &mut Context<Self>) {
        let deadline = self.soon();
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        let had_candidate = child.candidate.is_some();
        child.candidate = Some(Candidate {
            component: next,
            attempts: 0,
            error: None,
            is_next: true,
        });
        if let Some(opening) = child.opening.take() {
            opening.close(deadline);
            if key.1 == Role::Input {
                child.closing = Some(opening.who);
            }
        }
        if child.life.is_off() {
            child.become_candidate();
            if child.life.state() == &State::Paused {
                tracing::info!(
                    target: "dapr.runtime.processor.binding",
                    "binding {} was reloaded and stays paused", child.component.name
                );
            }
        } else if child.serving.is_some() || had_candidate || child.open_when_closed {
            self.exchange(key);
        } else {
            // There is no last good version to go back to.
            child.become_candidate();
            self.happen(key, LifeEvent::Restart, ctx);
        }
        self.publish(key);
    }

    /// Opens what is to serve next: an output beside the one that serves, an input after it.
    pub(super) fn exchange(&mut self, key: Key) {
        let drain = Deadline::at(self.now() + self.core.limits.drain);
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        if let Some(next) = &mut child.candidate {
            next.is_next = true;
        }
        if key.1 == Role::Input
            && let Some(serving) = child.serving.take()
        {
            tracing::info!(
                target: "dapr.runtime.processor.binding",
                "Closing existing Component to reload: {}", child.component.display()
            );
            serving.close(drain);
            child.closing = Some(serving.who);
        }
        self.open(key);
    }

    /// The next version could not be opened.
    pub(super) fn candidate_failed(&mut self, key: Key, failure: Failure, ctx: &mut Context<Self>) {
        let now = self.now();
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        let Some(next) = &mut child.candidate else {
            return;
        };
        next.attempts = next.attempts.saturating_add(1);
        next.error = Some(failure.error.as_str().into());
        next.is_next = false;
        let goes_on = if child.serving.is_some() {
            "the last good version goes on"
        } else {
            "the last good version is opened again; bindery restart tries the new one"
        };
        tracing::error!(
            target: "dapr.runtime.processor.binding",
            "{} could not be opened as its file has it now, and {goes_on}: {}",
            next.component.display(), failure.error
        );
        let attempts = next.attempts;
        if child.serving.is_none() {
            self.happen(key, LifeEvent::Start, ctx);
        } else {
            let wait = match failure.class {
                FailureClass::Invalid | FailureClass::Refused => REFUSED_RETRY,
                _ => Backoff::STANDARD.wait(attempts, fastrand::f64()),
            };
            self.try_candidate_at(key, now + wait, ctx);
            self.publish(key);
        }
    }

    /// The last good version of an output is open again, and its next one may be tried.
    pub(super) fn try_candidate(&mut self, key: Key, ctx: &mut Context<Self>) {
        let waits = |child: &Child| child.role == Role::Output && child.candidate.is_some();
        if self.children.get(&key).is_some_and(waits) {
            self.try_candidate_at(key, self.now() + Duration::from_secs(1), ctx);
        }
    }

    fn try_candidate_at(&mut self, key: Key, at: Instant, ctx: &mut Context<Self>) {
        let clock = self.core.clock.clone();
        let tried = |child: &Child| {
            let next = child.candidate.as_ref();
            next.map(|next| (Arc::as_ptr(&next.component), next.attempts))
        };
        let Some(this) = self.children.get(&key).and_then(tried) else {
            return;
        };
        let wait = async move { clock.sleep_until(at).await };
        ctx.spawn(wait.into_actor(self).map(move |(), supervisor, _| {
            let child = supervisor.children.get(&key);
            let is_due =
                child.is_some_and(|child| child.serving.is_some() && tried(child) == Some(this));
            if is_due {
                supervisor.open(key);
            }
        }));
    }

    /// Closes an opening and what serves, each in its own time. Returns what closes now.
    pub(super) fn let_go(&mut self, key: Key, ctx: &mut Context<Self>) -> Option<Who> {
        match key.1 {
            Role::Input => {
                let drain = Deadline::at(self.now() + self.core.limits.drain);
                self.shut(key, drain)
                    .into_iter()
                    .max_by_key(|who| who.incarnation)
            }
            Role::Output => {
                let deadline = self.soon();
                let child = self.children.get_mut(&key)?;
                if let Some(opening) = child.opening.take() {
                    opening.close(deadline);
                }
                if let Some(serving) = child.serving.take() {
                    self.retire(serving, ctx);
                }
                None
            }
        }
    }

    /// Closes an opening and what serves. Returns both.
    pub(super) fn shut(&mut self, key: Key, deadline: Deadline) -> Vec<Who> {
        let Some(child) = self.children.get_mut(&key) else {
            return Vec::new();
        };
        let mut closing = Vec::new();
        if let Some(opening) = child.opening.take() {
            opening.close(deadline);
            closing.push(opening.who);
        }
        if let Some(serving) = child.serving.take() {
            serving.close(deadline);
            closing.push(serving.who);
        }
        closing
    }

    /// Something has closed: whoever waited for that may open.
    pub(super) fn closed(&mut self, who: Who) {
        let waiting: Vec<Key> = self
            .children
            .iter()
            .filter(|(_, child)| child.closing == Some(who))
            .map(|(key, _)| *key)
            .collect();
        for key in waiting {
            let Some(child) = self.children.get_mut(&key) else {
                continue;
            };
            child.closing = None;
            if std::mem::take(&mut child.open_when_closed) {
                self.open(key);
            }
        }
    }

    fn soon(&self) -> Deadline {
        Deadline::at(self.now() + self.core.limits.close_timeout)
    }
}

impl Child {
    /// From now on it is what its candidate was.
    pub(super) fn become_candidate(&mut self) {
        let Some(next) = self.candidate.take() else {
            return;
        };
        let next = next.component;
        let before = std::mem::replace(&mut self.component, next);
        let now = &self.component;
        if now.subscribed {
            self.subscription = Subscription::Wanted;
        } else if before.input_name != now.input_name || before.subscribed {
            self.subscription = Subscription::Unknown;
        }
        self.last_error = None;
        self.impaired = None;
        if !Arc::ptr_eq(&before, &self.component) {
            tracing::info!(
                target: "dapr.runtime.processor",
                "Component updated: {}", self.component.display()
            );
        }
    }
}
