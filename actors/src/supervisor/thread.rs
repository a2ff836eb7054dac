//! The thread where binding actors live, and is replaced when one of them blocks it.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use tokio::sync::watch;

use crate::core::Core;
use crate::pulse::Pulse;

/// How often the bindings thread says that it runs its tasks.
const BEAT: Duration = Duration::from_millis(500);

/// Which threads there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// A thread for the bindings, replaced when one of them blocks it.
    Own,
    /// Everything on the current thread: for tests with the clock in their hand.
    Current,
}

/// Where binding actors live.
pub(super) struct BindingsThread {
    pub(super) arbiter: ArbiterHandle,
    pub(super) pulse: watch::Receiver<Option<Arc<Pulse>>>,
    pub(super) number: u32,
    pub(super) owned: Option<Arbiter>,
}

impl BindingsThread {
    pub(super) fn start(core: &Arc<Core>, threads: Threads, number: u32) -> Self {
        let owned = (threads == Threads::Own).then(Arbiter::new);
        let arbiter = owned
            .as_ref()
            .map_or_else(Arbiter::current, Arbiter::handle);
        let (tell, pulse) = watch::channel(None);
        let clock = core.clock.clone();
        arbiter.spawn(async move {
            let pulse = Pulse::here();
            tell.send_replace(Some(Arc::clone(&pulse)));
            // Nobody listening any more means that this thread is not the bindings thread now.
            while !tell.is_closed() {
                pulse.beat();
                clock.sleep(BEAT).await;
            }
        });
        Self {
            arbiter,
            pulse,
            number,
            owned,
        }
    }
}
