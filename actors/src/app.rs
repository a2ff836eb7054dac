//! What the runtime needs of an app: whether it is there, what it wants, and a way to it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bindery_contract::{BoxFuture, Cause, Event};
use bytes::Bytes;

/// The app on the other side. The ways to it (HTTP, gRPC, in process) implement this.
pub trait App: Send + Sync + 'static {
    /// Asks once whether the app wants the events of an input. An error is no answer: it is
    /// asked again.
    fn subscribes<'a>(&'a self, input: &'a InputName) -> BoxFuture<'a, Result<bool, Cause>>;

    /// A way to the app for the current thread; called once on each delivery thread.
    fn connect(&self) -> Box<dyn AppConnection>;
}

/// A way to the app, for one thread.
pub trait AppConnection {
    /// Gives the app one event and waits for its answer.
    fn deliver<'a>(
        &'a self,
        input: &'a InputName,
        event: &'a Event,
    ) -> LocalBoxFuture<'a, Result<Answer, Refusal>>;
}

/// A future in a box that stays on its thread.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// How an app knows an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputName {
    /// The component's name.
    pub component: Arc<str>,
    /// The path of its events: the name with a leading slash, or what `route` says.
    pub route: Arc<str>,
}

/// The app took an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it answered.
    pub reply: Bytes,
    /// What it wants done with it.
    pub forward: Forward,
}

/// What an app's answer asks for (runtime §7, and DESIGN "Delivery").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    /// Nothing.
    #[default]
    Nothing,
    /// To send `data` to these outputs, operation `create`.
    To {
        /// The outputs' names, at most [`FORWARD_LIMIT`].
        bindings: Vec<String>,
        /// The data they get.
        data: Bytes,
        /// All at once, or one after another until one fails.
        parallel: bool,
    },
    /// Something that looks like it and cannot be done; ignored, with a warning.
    Malformed(String),
}

/// How many outputs one answer may name.
pub const FORWARD_LIMIT: usize = 100;

/// The app did not take an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the log and the source are told; the wording is the reference's (runtime §2.4).
    pub error: String,
    /// The app's status, where it answered at all.
    pub status: Option<u16>,
}

impl Refusal {
    /// The app could not be reached, or broke off.
    pub fn unreachable(error: impl std::fmt::Display) -> Self {
        Self {
            error: format!("error invoking app: {error}"),
            status: None,
        }
    }
}
