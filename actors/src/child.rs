//! What the supervisor knows of one side of one component.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use actix::prelude::*;
use bindery_contract::settings::RetrySettings;
use bindery_contract::sink::Intake;
use bindery_contract::{Clock, Deadline, Instant, Role};

use crate::binding::{BindingActor, Close};
use crate::component::Component;
use crate::life::{Life, State};
use crate::report::Who;
use crate::status::{InputCounters, InputStatus, OutputCounters, SideStatus};
use crate::table::{Generation, WaitingRoom};

/// One side of one component.
pub(crate) struct Child {
    pub(crate) component: Arc<Component>,
    pub(crate) role: Role,
    pub(crate) life: Life,
    /// The number of the last opening.
    pub(crate) incarnation: u64,
    /// Being opened.
    pub(crate) opening: Option<Opening>,
    /// Open.
    pub(crate) serving: Option<Serving>,
    /// What it shall become.
    pub(crate) candidate: Option<Candidate>,
    /// An input that was told to close and has not done so yet: the next one must wait.
    pub(crate) closing: Option<Who>,
    /// Whether it is to be opened when that has closed.
    pub(crate) open_when_closed: bool,
    pub(crate) last_error: Option<Arc<str>>,
    /// Why it works, but not fully.
    pub(crate) impaired: Option<Arc<str>>,
    pub(crate) panics: u64,
    /// Whether the app wants the events of this input.
    pub(crate) subscription: Subscription,
    /// Whether the app was asked about it, with or without an answer.
    pub(crate) asked: bool,
    pub(crate) counters: Arc<InputCounters>,
    pub(crate) calls: Arc<OutputCounters>,
    pub(crate) waiting: Arc<WaitingRoom>,
}

/// The next version of a component, which has not been opened yet.
pub(crate) struct Candidate {
    pub(crate) component: Arc<Component>,
    /// How often it could not be opened.
    pub(crate) attempts: u32,
    /// Why it could not be opened last.
    pub(crate) error: Option<Arc<str>>,
    /// Whether it is tried next, where neither version is open: they take turns.
    pub(crate) is_next: bool,
}

/// An opening that is under way.
pub(crate) struct Opening {
    pub(crate) who: Who,
    pub(crate) actor: Addr<BindingActor>,
    /// Whether it is the candidate that is being opened.
    pub(crate) is_candidate: bool,
}

/// An opening that succeeded.
pub(crate) struct Serving {
    pub(crate) who: Who,
    pub(crate) actor: Addr<BindingActor>,
    pub(crate) since: Instant,
    pub(crate) side: ServingSide,
}

pub(crate) enum ServingSide {
    Output {
        /// Alive while anybody may call it.
        generation: Weak<Generation>,
    },
    Input {
        retry: Option<RetrySettings>,
        /// Once it reads.
        intake: Option<Arc<Intake>>,
    },
}

/// Whether the app wants the events of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscription {
    Unknown,
    Asking,
    Wanted,
    Unwanted,
}

impl Child {
    pub(crate) fn new(component: &Arc<Component>, role: Role, now: Instant) -> Self {
        Self {
            component: Arc::clone(component),
            role,
            life: Life::new(now),
            incarnation: 0,
            opening: None,
            serving: None,
            candidate: None,
            closing: None,
            open_when_closed: false,
            last_error: None,
            impaired: None,
            panics: 0,
            subscription: if component.subscribed {
                Subscription::Wanted
            } else {
                Subscription::Unknown
            },
            asked: false,
            counters: Arc::default(),
            calls: Arc::default(),
            waiting: WaitingRoom::new(component.id),
        }
    }

    pub(crate) fn is_serving(&self, who: Who) -> bool {
        self.serving
            .as_ref()
            .is_some_and(|serving| serving.who == who)
    }

    pub(crate) fn is_opening(&self, who: Who) -> bool {
        self.opening
            .as_ref()
            .is_some_and(|opening| opening.who == who)
    }

    /// The version to open now, and whether that is the candidate: it is tried beside the last
    /// good version of an output, and in turns with it where neither is open.
    pub(crate) fn next_version(&self) -> (Arc<Component>, bool) {
        match &self.candidate {
            Some(next) if next.is_next || self.serving.is_some() => {
                (Arc::clone(&next.component), true)
            }
            _ => (Arc::clone(&self.component), false),
        }
    }

    /// What a caller is told when waiting for it was in vain.
    pub(crate) fn why_away(&self, now: Instant) -> Arc<str> {
        let name = &self.component.name;
        match self.life.state() {
            State::Degraded(trouble) => format!(
                "binding {name} is not connected (attempt {}{}): {}",
                trouble.attempt,
                next_try(trouble.next_try, now),
                trouble.error
            ),
            State::Failed(trouble) => format!(
                "binding {name} has failed{}: {}",
                next_try(trouble.next_try, now),
                trouble.error
            ),
            State::Paused => {
                format!("binding {name} is paused; bindery resume {name} lets it go on")
            }
            state => format!("binding {name} is not ready ({})", state.name()),
        }
        .into()
    }

    pub(crate) fn status(&self, clock: &Clock) -> SideStatus {
        let (now, wall) = (clock.now(), clock.wall());
        let trouble = match self.life.state() {
            State::Degraded(trouble) | State::Failed(trouble) => Some(trouble),
            _ => None,
        };
        SideStatus {
            role: self.role,
            state: self.life.state().name(),
            since: wall_time(self.life.since(), now, wall),
            attempt: trouble.map_or(0, |trouble| trouble.attempt),
            failure: trouble.map(|trouble| trouble.class),
            last_error: self.last_error.clone(),
            pending: self.candidate.as_ref().and_then(|next| next.error.clone()),
            next_try: trouble
                .and_then(|trouble| trouble.next_try)
                .map(|next| wall_time(next, now, wall)),
            restarts: self.life.restarts(),
            panics: self.panics,
            input: (self.role == Role::Input).then(|| InputStatus {
                subscribed: match self.subscription {
                    Subscription::Wanted => Some(true),
                    Subscription::Unwanted => Some(false),
                    Subscription::Unknown | Subscription::Asking => None,
                },
                counters: Arc::clone(&self.counters),
            }),
            output: (self.role == Role::Output).then(|| Arc::clone(&self.calls)),
        }
    }
}

fn next_try(next: Option<Instant>, now: Instant) -> String {
    match next {
        Some(next) => {
            let wait = next.saturating_duration_since(now).as_secs_f32();
            format!(", next try in {wait:.1} s")
        }
        None => ", not tried again until it is restarted".into(),
    }
}

fn wall_time(instant: Instant, now: Instant, wall: SystemTime) -> SystemTime {
    if instant <= now {
        wall.checked_sub(now - instant).unwrap_or(wall)
    } else {
        wall + (instant - now)
    }
}

impl Opening {
    /// Gives it up.
    pub(crate) fn close(&self, deadline: Deadline) {
        let _ = self.actor.try_send(Close(deadline));
    }
}

impl Serving {
    /// Closes it, giving it until `deadline`.
    pub(crate) fn close(&self, deadline: Deadline) {
        if let ServingSide::Input {
            intake: Some(intake),
            ..
        } = &self.side
        {
            intake.stop();
        }
        // Its mailbox only ever holds a few control messages; an actor that is gone is closed.
        let _ = self.actor.try_send(Close(deadline));
    }

    /// Gives it up: whatever it still says or acknowledges counts no more.
    pub(crate) fn fence(&self) {
        if let ServingSide::Input {
            intake: Some(intake),
            ..
        } = &self.side
        {
            intake.fence();
        }
    }
}
