//! What the supervisor is told. Drop guards, tasks and actors only ever send one of these; what
//! follows from it is decided in one place.

use std::sync::Arc;

use bindery_contract::Role;
use bindery_contract::settings::RetrySettings;

use crate::life::Failure;
use crate::pulse::ComponentId;

/// One opening of one side of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    pub(crate) component: ComponentId,
    pub(crate) role: Role,
    pub(crate) incarnation: u64,
}

/// Something the supervisor must know.
pub(crate) enum Report {
    /// It is open.
    Opened { who: Who, side: OpenSide },
    /// It could not be opened, its reader ended, its connection is gone, a task of it panicked.
    Failed { who: Who, failure: Failure },
    /// It works, but not fully.
    Degraded { who: Who, error: String },
    /// It works fully again.
    Recovered { who: Who },
    /// A call waits for an output that is away.
    Wanted { component: ComponentId },
    /// A call of it panicked.
    InvokePanicked { who: Who, panic: String },
    /// The last call of a retired generation has ended.
    Drained { who: Who },
    /// Its actor is gone: it was closed, or it died.
    ActorEnded { who: Who },
    /// The app said whether it wants an input's events, or could not be asked.
    Subscription {
        component: ComponentId,
        /// What it was asked about: a reload may have changed that meanwhile.
        route: Arc<str>,
        wants: Option<bool>,
    },
    /// An actor of a worker died.
    WorkerActorDied { seat: usize },
}

/// What was opened.
pub(crate) enum OpenSide {
    /// An output, and where it runs.
    Output(bindery_contract::Placement),
    /// An input; its actor holds it. How its component asks for attempts to be repeated.
    Input(Option<RetrySettings>),
}
