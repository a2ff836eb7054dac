//! What the runtime gives a binding when it opens it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::binding::Role;
use crate::clock::Clock;
use crate::error::Cause;

/// Who the sidecar is, for bindings that have to introduce themselves.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `--app-id`.
    pub app_id: String,
    /// The environment's `NAMESPACE`; empty when it is not set.
    pub namespace: String,
}

/// What the runtime does for an open binding. Bindings reach it through [`OpenContext`].
pub trait Host: Send + Sync {
    /// The binding works, but not fully.
    fn degraded(&self, cause: Cause);
    /// It works fully again.
    fn recovered(&self);
    /// The connection is gone: open the binding anew.
    fn disconnected(&self, cause: Cause);
    /// A task of the binding panicked.
    fn crashed(&self, panic: String);
}

/// Everything a binding may need to open one of its sides, and to live.
#[derive(Clone)]
pub struct OpenContext {
    component: Arc<str>,
    role: Role,
    identity: Arc<Identity>,
    clock: Clock,
    runtime: Handle,
    closing: CancellationToken,
    workers: usize,
    host: Arc<dyn Host>,
}

/// What [`OpenContext`] is made of; for the runtime and for tests.
pub struct ContextParts {
    /// The component's `metadata.name`.
    pub component: Arc<str>,
    /// The side to open.
    pub role: Role,
    /// Who the sidecar is.
    pub identity: Arc<Identity>,
    /// Where time comes from.
    pub clock: Clock,
    /// The runtime of the bindings thread.
    pub runtime: Handle,
    /// Cancelled when this instance is closed or given up.
    pub closing: CancellationToken,
    /// How many worker threads there are.
    pub workers: usize,
    /// The runtime's ear.
    pub host: Arc<dyn Host>,
}

impl OpenContext {
    /// From its parts.
    pub fn new(parts: ContextParts) -> Self {
        let ContextParts {
            component,
            role,
            identity,
            clock,
            runtime,
            closing,
            workers,
            host,
        } = parts;
        Self {
            component,
            role,
            identity,
            clock,
            runtime,
            closing,
            workers,
            host,
        }
    }

    /// The component's name.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// The side to open.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who the sidecar is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where time comes from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The runtime of the bindings thread: connections of a shared output live there, whichever
    /// thread opens them.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Resolves when this instance is closed or given up.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// How many worker threads there are: by how much a limit of the component is divided when
    /// each thread has its own replica.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Runs code that blocks (files, a library without async) on a thread made for it.
    ///
    /// # Errors
    /// The panic of `work`, as a sentence.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Cause> {
        blocking(&self.runtime, work).await
    }

    /// Runs a task for as long as this instance lives. When it panics, the runtime opens the
    /// binding anew.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let (closing, host) = (self.closing.clone(), Arc::clone(&self.host));
        self.runtime.spawn(async move {
            let task = AssertUnwindSafe(task).catch_unwind();
            tokio::select! {
                biased;
                () = closing.cancelled() => {}
                ended = task => if let Err(panic) = ended {
                    host.crashed(panic_text(panic.as_ref()));
                },
            }
        });
    }

    /// Says that the binding works, but not fully: until [`report_recovered`](Self::report_recovered),
    /// or until it is opened anew.
    pub fn report_degraded(&self, cause: impl Into<Cause>) {
        self.host.degraded(cause.into());
    }

    /// Says that the binding works fully again.
    pub fn report_recovered(&self) {
        self.host.recovered();
    }

    /// Says that the connection is gone, for a binding that notices between calls.
    pub fn report_disconnected(&self, cause: impl Into<Cause>) {
        self.host.disconnected(cause.into());
    }
}

/// What a replica of an output may need: it lives on one worker thread.
#[derive(Clone)]
pub struct ReplicaContext {
    /// Where time comes from.
    pub clock: Clock,
    /// The runtime of the thread that the replica lives on.
    pub runtime: Handle,
}

impl ReplicaContext {
    /// Runs code that blocks on a thread made for it.
    ///
    /// # Errors
    /// The panic of `work`, as a sentence.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Cause> {
        blocking(&self.runtime, work).await
    }
}

async fn blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Cause> {
    runtime
        .spawn_blocking(work)
        .await
        .map_err(|error| match error.try_into_panic() {
            Ok(panic) => panic_text(panic.as_ref()).into(),
            Err(_) => Cause::from("the runtime is shutting down"),
        })
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}
