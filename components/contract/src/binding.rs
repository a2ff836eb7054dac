//! What a binding is: its type, its output, its input.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::clock::Deadline;
use crate::context::{OpenContext, ReplicaContext};
use crate::error::{InvokeError, OpenError, ReadError};
use crate::event::Source;
use crate::metadata::Metadata;
use crate::payload::Payload;
use crate::settings::{Conventions, RetrySettings, Settings, SettingsError};
use crate::sink::EventSink;

/// A type of binding, e.g. `bindings.kafka`.
///
/// An author writes straight-line code and never a reconnect loop: the runtime opens, retries,
/// restarts, limits, times out, counts and closes.
pub trait Binding: 'static {
    /// The name that a component's `spec.type` gives, e.g. `bindings.kafka`. Lower case.
    const TYPE: &'static str;
    /// Other names of the same type.
    const ALIASES: &'static [&'static str] = &[];
    /// One sentence for the catalogue: what it connects to and what it is good for.
    const SUMMARY: &'static str;
    /// What the source does with an event that was not acknowledged; `None` without an input.
    const INPUT: Option<Source> = None;
    /// What the output can do; empty without an output. In the order in which an error message
    /// lists them.
    const OPERATIONS: &'static [Operation] = &[];
    /// The metadata that events carry: headers over HTTP.
    const EVENT_METADATA: &'static [EventMetadata] = &[];
    /// How the settings are decoded.
    const CONVENTIONS: Conventions = Conventions::Usual;

    /// The settings: parser, schema, documentation and redaction in one declaration.
    type Settings: Settings;

    /// Checks what one field cannot know of another, without the network. Runs before anything
    /// is opened, and in `bindery check`.
    ///
    /// # Errors
    /// The setting that can never work.
    fn check(settings: &Self::Settings) -> Result<(), SettingsError> {
        let _ = settings;
        Ok(())
    }

    /// Opens the side of the binding that [`OpenContext::role`] names: connects, authenticates,
    /// makes sure that what it needs is there. The runtime drops the future when the component's
    /// `initTimeout` has passed.
    fn open(
        settings: Self::Settings,
        cx: OpenContext,
    ) -> impl Future<Output = Result<Opened, OpenError>> + Send;
}

/// Something an output can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its name, as a request gives it. Compared exactly.
    pub name: &'static str,
    /// What it does, what metadata it reads, what it answers.
    pub summary: &'static str,
}

/// An entry of an event's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMetadata {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub summary: &'static str,
}

/// The two sides of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Events come from outside.
    Input,
    /// The app calls outside.
    Output,
}

impl Role {
    /// `input` or `output`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call of an output.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// One of the output's operations.
    pub operation: &'static str,
    /// The payload: over HTTP the JSON text of `data`, over gRPC the bytes as sent.
    pub data: Bytes,
    /// Per-call metadata, its keys compared exactly (R1).
    pub metadata: Metadata,
    /// When the caller stops waiting, if it said so.
    pub deadline: Option<Instant>,
}

impl Invocation {
    /// A call of `operation` with nothing else.
    pub fn new(operation: &'static str) -> Self {
        Self {
            operation,
            data: Bytes::new(),
            metadata: Metadata::new(),
            deadline: None,
        }
    }

    /// Sets the payload.
    pub fn with_data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = data.into();
        self
    }

    /// Adds an entry of metadata.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value);
        self
    }
}

/// What an output answers. An operation that has nothing to say returns no reply at all: 204
/// over HTTP, where an empty reply is a 200.
#[derive(Debug)]
pub struct Reply {
    /// The payload.
    pub data: Payload,
    /// Metadata: over HTTP headers named `metadata.<key>`.
    pub metadata: Metadata,
}

impl Reply {
    /// An answer with a payload and no metadata.
    pub fn new(data: impl Into<Payload>) -> Self {
        Self {
            data: data.into(),
            metadata: Metadata::new(),
        }
    }

    /// Sets the metadata.
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }
}

/// The output side of a binding, open.
pub trait Output: Send + Sync + 'static {
    /// The operations of this very instance. Empty, as it is by default, means those that the
    /// binding declares ([`Binding::OPERATIONS`]).
    fn operations(&self) -> &[&'static str] {
        &[]
    }

    /// Does what the call asks. The operation is one of [`operations`](Self::operations).
    ///
    /// The runtime drops the future when the caller goes away. A panic fails this call only.
    fn invoke(
        &self,
        call: Invocation,
    ) -> impl Future<Output = Result<Option<Reply>, InvokeError>> + Send;

    /// Lets go of what it holds. Called once, when no call is running any more or the deadline
    /// has come.
    fn close(&self, deadline: Deadline) -> impl Future<Output = ()> + Send {
        let _ = deadline;
        async {}
    }
}

/// The input side of a binding, open.
pub trait Input: Send + 'static {
    /// Reads from the source and sends what it reads to `events`, until `events` is stopped.
    ///
    /// Started when the app is there and wants the events. When `events` is stopped it reads no
    /// more, waits for what is pending, acknowledges that, and returns. Returning earlier is
    /// news for the supervisor, never an end.
    fn read(&mut self, events: EventSink) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Lets go of what it holds.
    fn close(&mut self, deadline: Deadline) -> impl Future<Output = ()> + Send {
        let _ = deadline;
        async {}
    }
}

/// One side of a binding, open.
pub enum Opened {
    /// An output.
    Output(Placement),
    /// An input.
    Input {
        /// The reader.
        input: Box<dyn DynInput>,
        /// How the component itself asks for attempts to be repeated, where it does.
        retry: Option<RetrySettings>,
    },
}

/// Where an output runs. Limits that a user configured count for the whole component, not for
/// each thread.
#[derive(Clone)]
pub enum Placement {
    /// One replica on each worker thread, made there at the first call, its connections driven
    /// there: no call ever crosses threads.
    PerThread(Arc<dyn DynReplicas>),
    /// One for all, its connections driven on the bindings thread, at the price of a crossing.
    Shared(Arc<dyn DynOutput>),
}

impl Opened {
    /// An output of which every worker thread has its own replica, made by `replica`.
    pub fn per_thread<O, F, R>(replica: F) -> Self
    where
        O: Output,
        F: Fn(ReplicaContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, OpenError>> + Send + 'static,
    {
        Self::Output(Placement::PerThread(Arc::new(Replicas(replica))))
    }

    /// An output that all threads share.
    pub fn shared(output: impl Output) -> Self {
        Self::Output(Placement::Shared(Arc::new(output)))
    }

    /// An input.
    pub fn input(input: impl Input) -> Self {
        Self::Input {
            input: Box::new(input),
            retry: None,
        }
    }

    /// An input whose component asks for attempts to be repeated its own way.
    pub fn input_with_retry(input: impl Input, retry: RetrySettings) -> Self {
        Self::Input {
            input: Box::new(input),
            retry: Some(retry),
        }
    }

    /// Which side it is.
    pub fn role(&self) -> Role {
        match self {
            Self::Output(_) => Role::Output,
            Self::Input { .. } => Role::Input,
        }
    }
}

/// A future in a box: what the boxed twins return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

mod sealed {
    pub trait Output {}
    pub trait Input {}
    pub trait Replicas {}
    impl<T: super::Output> Output for T {}
    impl<T: super::Input> Input for T {}
    impl<F> Replicas for super::Replicas<F> {}
}

/// [`Output`], boxed: what the runtime holds. Implemented for every output.
pub trait DynOutput: sealed::Output + Send + Sync {
    /// See [`Output::operations`].
    fn operations(&self) -> &[&'static str];
    /// See [`Output::invoke`].
    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<Option<Reply>, InvokeError>>;
    /// See [`Output::close`].
    fn close(&self, deadline: Deadline) -> BoxFuture<'_, ()>;
}

impl<T: Output> DynOutput for T {
    fn operations(&self) -> &[&'static str] {
        Output::operations(self)
    }

    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<Option<Reply>, InvokeError>> {
        Box::pin(Output::invoke(self, call))
    }

    fn close(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(Output::close(self, deadline))
    }
}

/// [`Input`], boxed: what the runtime holds. Implemented for every input.
pub trait DynInput: sealed::Input + Send {
    /// See [`Input::read`].
    fn read(&mut self, events: EventSink) -> BoxFuture<'_, Result<(), ReadError>>;
    /// See [`Input::close`].
    fn close(&mut self, deadline: Deadline) -> BoxFuture<'_, ()>;
}

impl<T: Input> DynInput for T {
    fn read(&mut self, events: EventSink) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(Input::read(self, events))
    }

    fn close(&mut self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(Input::close(self, deadline))
    }
}

/// Makes the replica of an output for one thread; see [`Opened::per_thread`].
pub trait DynReplicas: sealed::Replicas + Send + Sync {
    /// Makes one.
    fn open(&self, cx: ReplicaContext)
    -> BoxFuture<'static, Result<Box<dyn DynOutput>, OpenError>>;
}

struct Replicas<F>(F);

impl<O, F, R> DynReplicas for Replicas<F>
where
    O: Output,
    F: Fn(ReplicaContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, OpenError>> + Send + 'static,
{
    fn open(
        &self,
        cx: ReplicaContext,
    ) -> BoxFuture<'static, Result<Box<dyn DynOutput>, OpenError>> {
        let opening = (self.0)(cx);
        Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn DynOutput>) })
    }
}
