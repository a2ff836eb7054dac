//! The watchdog: threads that stand still, and what follows.

use actix::prelude::*;
use bindery_contract::Role;

use super::thread::{BindingsThread, Threads};
use super::{Key, Supervisor, is_shared};
use crate::child::{Serving, ServingSide};
use crate::life::{Failure, FailureClass, LifeEvent};
use crate::pulse::ComponentId;
use crate::watchdog::{Silence, Watch};

impl Supervisor {
    fn watch(&mut self, ctx: &mut Context<Self>) {
        let now = self.now();
        let limits = self.core.limits.clone();
        let pulse = self.bindings.pulse.borrow().clone();
        let bindings = self.bindings.number;
        let mut threads = vec![(Silence::Bindings(bindings), pulse, limits.blocked_bindings)];
        for seat in &self.core.seats {
            let pulse = seat.contact().map(|contact| contact.pulse);
            threads.push((Silence::Worker(seat.index), pulse, limits.blocked_worker));
        }
        self.watches
            .retain(|watch| threads.iter().any(|(thread, ..)| *thread == watch.thread));
        for (thread, pulse, limit) in threads {
            let Some(pulse) = pulse else { continue };
            let at = self.watches.iter().position(|watch| watch.thread == thread);
            let at = at.unwrap_or_else(|| {
                self.watches.push(Watch::new(thread, now));
                self.watches.len() - 1
            });
            if let Some(culprit) = self.watches[at].look(pulse.read(), now, limit) {
                self.silent(thread, culprit, ctx);
            }
        }
    }

    fn silent(&mut self, thread: Silence, culprit: Option<ComponentId>, ctx: &mut Context<Self>) {
        let name = culprit.map_or_else(|| "unknown code".into(), ComponentId::display);
        match thread {
            Silence::Worker(seat) => {
                tracing::error!(
                    target: "dapr.runtime",
                    "worker thread {seat} is blocked by {name}; the other workers go on"
                );
                let Some(guilty) = culprit.map(|component| (component, Role::Output)) else {
                    return;
                };
                if let Some(child) = self.children.get_mut(&guilty) {
                    child.last_error = Some(format!("blocks worker thread {seat}").into());
                    self.publish(guilty);
                }
            }
            Silence::Bindings(_) => {
                tracing::error!(
                    target: "dapr.runtime",
                    "the bindings thread is blocked by {name}; a fresh thread takes over"
                );
                self.replace_bindings_thread(culprit, ctx);
            }
        }
    }

    /// Gives up the blocked thread and everything on it; opens all of it on a fresh one.
    fn replace_bindings_thread(&mut self, culprit: Option<ComponentId>, ctx: &mut Context<Self>) {
        if self.threads == Threads::Current {
            return;
        }
        self.abandoned_threads += 1;
        let fresh = BindingsThread::start(&self.core, self.threads, self.bindings.number + 1);
        // Its arbiter would stop if it ever ran again.
        let abandoned = std::mem::replace(&mut self.bindings, fresh);
        abandoned.arbiter.stop();
        // What was closing on it never will.
        self.leaving.clear();
        let keys: Vec<Key> = self.children.keys().copied().collect();
        for key in keys {
            let Some(child) = self.children.get_mut(&key) else {
                continue;
            };
            if let Some(closing) = child.closing {
                self.closed(closing);
                continue;
            }
            let was_there = child.opening.take().is_some() || child.serving.is_some();
            // Nothing of a per-thread output lives on the bindings thread.
            if child
                .serving
                .as_ref()
                .is_some_and(|serving| !is_on_bindings_thread(serving))
            {
                continue;
            }
            if let Some(serving) = child.serving.take() {
                serving.fence();
            }
            if culprit == Some(key.0) {
                self.happen(key, LifeEvent::Blocked, ctx);
            } else if was_there {
                let failure = Failure::new(
                    FailureClass::Disconnected,
                    "its thread was blocked by another binding",
                );
                self.happen(key, LifeEvent::Failed(failure), ctx);
            }
            self.away(key);
        }
    }
}

fn is_on_bindings_thread(serving: &Serving) -> bool {
    matches!(serving.side, ServingSide::Input { .. }) || is_shared(serving)
}

/// Time for the watchdog to look.
pub(super) struct Look;

impl StreamHandler<Look> for Supervisor {
    fn handle(&mut self, _: Look, ctx: &mut Context<Self>) {
        self.watch(ctx);
    }
}
