//! Killing actors by a panic in their own code, for the tests of what happens then (feature
//! `chaos`).

use std::sync::Arc;

use actix::prelude::*;
use bindery_contract::Role;

use crate::binding::BindingActor;
use crate::core::Core;
use crate::delivery::DeliveryActor;
use crate::router::Router;
use crate::runtime::Runtime;
use crate::supervisor::Supervisor;
use crate::worker::Worker;

/// An actor to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The router of the current thread.
    Router,
    /// The delivery actor of the current thread.
    Delivery,
    /// The supervisor.
    Supervisor,
    /// The actor of one side of a component.
    Binding(String, Role),
}

#[derive(Message)]
#[rtype(result = "()")]
struct Die;

macro_rules! mortal {
    ($($actor:ty),*) => {$(
        impl Handler<Die> for $actor {
            type Result = ();

            fn handle(&mut self, _: Die, _: &mut Context<Self>) {
                panic!("killed on purpose");
            }
        }
    )*};
}

mortal!(Router, DeliveryActor, Supervisor, BindingActor);

#[derive(Message)]
#[rtype(result = "()")]
struct Kill(String, Role);

impl Handler<Kill> for Supervisor {
    type Result = ();

    fn handle(&mut self, Kill(name, role): Kill, _: &mut Context<Self>) {
        if let Some(actor) = self.actor_of(&name, role) {
            let _ = actor.try_send(Die);
        }
    }
}

impl Runtime {
    /// Puts a panic into the mailbox of an actor. It dies when its turn comes; what is in the
    /// mailbox behind it dies with it.
    pub fn kill(&self, victim: Victim) {
        match victim {
            Victim::Supervisor => self.tell(Die),
            Victim::Binding(name, role) => self.tell(Kill(name, role)),
            Victim::Router => {
                if let Some(worker) = Worker::here(self.core()) {
                    let _ = worker.router().try_send(Die);
                }
            }
            Victim::Delivery => kill_delivery_here(self.core()),
        }
    }
}

/// Kills the delivery actor of the current thread, as [`Runtime::kill`] does.
pub fn kill_delivery_here(core: &Arc<Core>) {
    let delivery = Worker::here(core).and_then(|worker| worker.delivery.borrow().clone());
    if let Some(delivery) = delivery {
        let _ = delivery.try_send(Die);
    }
}
