//! The database, as calls see it: a connection for each, and an end to what nobody waits for.

use std::time::Duration;

use bindery_contract::{
    Cause, Clock, Deadline, Instant, InvokeError, OpenContext, OpenError, Sent,
};
use deadpool::managed::{TimeoutType, Timeouts};
use jiff::tz::TimeZone;
use tokio::runtime::Handle;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Condition, ConnectError, PoolError, acquire_error, open_error};
use crate::json::Writer;
use crate::pool::{Object, Pool, keep, pool};
use crate::sign_in::Passwords;
use crate::sql;
use crate::statement::{Outcome, Request, Statements};
use crate::target::Target;

/// How long it may take to tell the server that nobody waits for a statement any more.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);
/// When it is told again, and how often in all.
const CANCEL_AGAIN: Duration = Duration::from_millis(500);
const CANCEL_TIMES: u32 = 5;
/// How long it may take to find out whether the server is there whose connection broke.
const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// How often a statement is tried again on another connection, when the one it had broke before
/// it was sent.
const ATTEMPTS: u32 = 2;

/// A database, connected.
pub(crate) struct Database {
    pool: Pool,
    statements: Statements,
    canceller: Canceller,
}

impl Database {
    /// Makes the first connection and sees that it answers.
    pub(crate) async fn open(
        target: &Target,
        passwords: Passwords,
        tls: MakeRustlsConnect,
        zone: TimeZone,
        cx: &OpenContext,
    ) -> Result<Self, OpenError> {
        let pool = pool(target, passwords, &tls, cx);
        let first = pool.get().await;
        let first = first.map_err(|error| open_error("unable to connect to the DB", error))?;
        // An empty statement: a pooler answers it only when it has a server.
        let ping = cx
            .clock()
            .timeout(target.timeout, first.batch_execute(""))
            .await;
        let answer = match ping {
            Some(answer) => answer.map_err(ConnectError::Server),
            None => Err(ConnectError::Silent),
        };
        let answer = answer.map_err(PoolError::Backend);
        answer.map_err(|error| open_error("failed to ping the DB", error))?;
        drop(first);
        cx.spawn(keep(pool.clone(), target.limits, cx.clock().clone()));
        Ok(Self {
            pool,
            statements: Statements::new(target.mode, Writer::new(zone)),
            canceller: Canceller {
                component: cx.component().to_owned(),
                tls,
                clock: cx.clock().clone(),
                runtime: cx.runtime().clone(),
            },
        })
    }

    /// Runs a statement. When the deadline comes, or this future is dropped, the server is told
    /// to stop it.
    pub(crate) async fn run(
        &self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Outcome, InvokeError> {
        let deadline = deadline.map_or(Deadline::NONE, Deadline::at);
        let mut attempts = 0..ATTEMPTS;
        loop {
            let lease = self.lease(deadline).await?;
            let is_last = attempts.next().is_none();
            match self.run_on(lease, request, deadline).await {
                // Nothing was sent, and the pool has other connections, or makes some.
                Err(InvokeError::Disconnected { sent: Sent::No, .. }) if !is_last => {}
                Err(InvokeError::Disconnected {
                    cause,
                    sent: Sent::Perhaps,
                }) => {
                    return Err(self.broken(cause).await);
                }
                outcome => return outcome,
            }
        }
    }

    async fn lease(&self, deadline: Deadline) -> Result<Lease<'_>, InvokeError> {
        let object = deadline.limit(&self.canceller.clock, self.pool.get()).await;
        let object = object.ok_or_else(no_connection_in_time)?;
        Ok(Lease {
            object: Some(object.map_err(|error| self.unavailable(error))?),
            canceller: &self.canceller,
        })
    }

    async fn run_on(
        &self,
        lease: Lease<'_>,
        request: &Request,
        deadline: Deadline,
    ) -> Result<Outcome, InvokeError> {
        let running = self.statements.run(lease.client(), request);
        let outcome = deadline.limit(&self.canceller.clock, running).await;
        let outcome = outcome.ok_or_else(not_done_in_time)?;
        let fault = outcome.as_ref().err();
        if fault.is_none_or(|fault| fault.connection == Condition::Good) {
            lease.end(sql::begins_transaction(&request.sql));
        }
        outcome.map_err(|fault| fault.error)
    }

    /// A connection broke under a statement. If the server is there, that is no more than this
    /// call's bad luck, or its own doing; only if it is not, the binding is disconnected.
    async fn broken(&self, cause: Cause) -> InvokeError {
        let cause = format!("{cause}; it is not known whether the statement was executed");
        let timeouts = Timeouts {
            wait: Some(Duration::ZERO),
            create: Some(PROBE_WITHIN),
            ..Timeouts::default()
        };
        match self.pool.timeout_get(&timeouts).await.err() {
            None | Some(PoolError::Closed | PoolError::Timeout(TimeoutType::Wait)) => {
                InvokeError::failed(cause)
            }
            Some(error) => match self.unavailable(error) {
                InvokeError::Disconnected { .. } => InvokeError::disconnected(cause, Sent::Perhaps),
                InvokeError::Rejected { .. } => InvokeError::failed(cause),
            },
        }
    }

    fn unavailable(&self, error: PoolError) -> InvokeError {
        acquire_error(error, self.pool.status().size > 0)
    }

    /// Closes it for good. Statements that are running end in peace.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }
}

fn no_connection_in_time() -> InvokeError {
    InvokeError::failed(
        "no connection became free before the call's deadline: statements take long, or maxConns \
         is too small",
    )
}

fn not_done_in_time() -> InvokeError {
    InvokeError::failed(
        "error executing query: the call's deadline passed, and the statement was cancelled",
    )
}

/// A connection in use. Dropped before its statement has ended, it is not used again.
struct Lease<'a> {
    object: Option<Object>,
    canceller: &'a Canceller,
}

impl Lease<'_> {
    fn client(&self) -> &Object {
        self.object
            .as_ref()
            .expect("it is taken out only at the end")
    }

    /// The statement has ended, and the connection is in order. It goes back to the pool, unless
    /// a transaction may be open on it: that must not become the next caller's.
    fn end(mut self, may_be_in_transaction: bool) {
        let object = self.object.take();
        if let (Some(object), true) = (object, may_be_in_transaction) {
            drop(Object::take(object));
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.canceller.cancel(object);
        }
    }
}

/// Stops statements that nobody waits for.
struct Canceller {
    component: String,
    tls: MakeRustlsConnect,
    clock: Clock,
    runtime: Handle,
}

impl Canceller {
    /// Tells the server to stop what runs on this connection, and closes it. Until then it counts
    /// as one of the pool's, so that there are never more of them than allowed.
    fn cancel(&self, object: Object) {
        let (tls, clock) = (self.tls.clone(), self.clock.clone());
        let component = self.component.clone();
        self.runtime.spawn(async move {
            if !stop(&object, tls, &clock).await {
                tracing::warn!(
                    component,
                    "the server could not be told to stop a statement that nobody waits for"
                );
            }
            drop(Object::take(object));
        });
    }
}

/// Has the server stop what runs on a connection, and says whether nothing runs there any more.
/// It may hear of that before it hears of the statement itself, so it is told more than once.
async fn stop(object: &Object, tls: MakeRustlsConnect, clock: &Clock) -> bool {
    let token = object.cancel_token();
    for _ in 0..CANCEL_TIMES {
        if object.is_closed() {
            return true;
        }
        let told = clock.timeout(CANCEL_WITHIN, token.cancel_query(tls.clone()));
        if !matches!(told.await, Some(Ok(()))) {
            return false;
        }
        let idle = clock.timeout(CANCEL_AGAIN, object.simple_query(""));
        if idle.await.is_some() {
            return true;
        }
    }
    false
}
