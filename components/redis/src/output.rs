//! The operations.

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::request::ttl;
use bindery_contract::{
    Clock, Instant, Invocation, InvokeError, OpenContext, OpenError, Output, Payload,
    ReplicaContext, Reply, Sent,
};
use redis::{Cmd, Value};
use tokio_util::task::AbortOnDropHandle;

use crate::auth::Login;
use crate::connect::Connector;
use crate::errors::Failure;
use crate::link::Link;
use crate::target::Target;

/// One thread's connection, and what is done over it.
pub(crate) struct Keys {
    link: Arc<Link>,
    target: Arc<Target>,
    clock: Clock,
    _care: AbortOnDropHandle<()>,
}

type Outcome<T> = Result<T, InvokeError>;

impl Keys {
    pub(crate) async fn open(
        connector: Connector,
        mut login: Login,
        binding: OpenContext,
        thread: ReplicaContext,
    ) -> Result<Self, OpenError> {
        let link = Arc::new(connector.connect(login.now().as_ref()).await?);
        let target = Arc::clone(&connector.target);
        let care = care(Arc::clone(&link), connector, login, binding);
        Ok(Self {
            link,
            target,
            clock: thread.clock,
            _care: AbortOnDropHandle::new(thread.runtime.spawn(care)),
        })
    }

    async fn create(&self, key: &str, call: &Invocation) -> Outcome<()> {
        let deadline = self.deadline_of_write();
        let command = match ttl(&call.metadata).map_err(InvokeError::bad_request)? {
            // What lives for less than a second is gone at once.
            Some(ttl) if ttl.as_secs() == 0 => command("DEL", key),
            Some(ttl) => {
                let mut set = command("SET", key);
                set.arg(&call.data[..]).arg("EX").arg(ttl.as_secs());
                set
            }
            None => {
                let mut set = command("SET", key);
                set.arg(&call.data[..]);
                set
            }
        };
        self.execute(&command, deadline).await.map(drop)
    }

    async fn get(&self, key: &str, call: &Invocation) -> Outcome<Reply> {
        let and_delete = call.metadata.get("delete") == Some("true");
        let command = command(if and_delete { "GETDEL" } else { "GET" }, key);
        match self.execute(&command, None).await? {
            Value::BulkString(data) => Ok(Reply::new(data)),
            Value::Nil => Ok(Reply::new(Payload::empty())),
            _ => Err(InvokeError::failed("redis answered with what is no value")),
        }
    }

    async fn delete(&self, key: &str) -> Outcome<()> {
        self.execute(&command("DEL", key), None).await.map(drop)
    }

    /// Two commands and not a transaction: EXPIRE must not happen to a key that INCR refused.
    async fn increment(&self, key: &str, call: &Invocation) -> Outcome<()> {
        let deadline = self.deadline_of_write();
        let ttl = ttl(&call.metadata).map_err(InvokeError::bad_request)?;
        self.execute(&command("INCR", key), deadline).await?;
        if let Some(ttl) = ttl {
            let mut expire = command("EXPIRE", key);
            expire.arg(ttl.as_secs());
            let expired = self.execute(&expire, deadline).await;
            expired.map_err(not_to_be_repeated)?;
        }
        Ok(())
    }

    fn deadline_of_write(&self) -> Option<Instant> {
        self.target
            .limits
            .write
            .map(|limit| self.clock.now() + limit)
    }

    /// Sends a command, and again when the server turns it away for the moment.
    async fn execute(&self, command: &Cmd, deadline: Option<Instant>) -> Outcome<Value> {
        let retries = self.target.retries;
        let mut retry = 0;
        loop {
            let failure = match self.attempt(command, deadline).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let next = self.clock.now() + retries.wait(retry, fastrand::f64());
            let may_pass = matches!(
                &failure,
                Failure::Answered(answer) if answer.is_transient(self.link.is_cluster())
            );
            if !may_pass || retry >= retries.times || deadline.is_some_and(|end| end <= next) {
                return Err(failure.into());
            }
            self.clock.sleep_until(next).await;
            retry += 1;
        }
    }

    async fn attempt(&self, command: &Cmd, deadline: Option<Instant>) -> Result<Value, Failure> {
        let now = self.clock.now();
        let left = deadline.map(|end| end.saturating_duration_since(now));
        if left == Some(Duration::ZERO) {
            return Err(Failure::Failed("writeTimeout has passed".into()));
        }
        let limit = left.into_iter().chain(self.target.limits.answer).min();
        let calling = self.link.call(command);
        let Some(limit) = limit else {
            return calling.await;
        };
        match self.clock.timeout(limit, calling).await {
            Some(outcome) => outcome,
            None => Err(self
                .link
                .timed_out(format!("no answer within {limit:?}"))
                .await),
        }
    }
}

impl Output for Keys {
    async fn invoke(&self, call: Invocation) -> Outcome<Option<Reply>> {
        let key = call.metadata.get("key").filter(|key| !key.is_empty());
        let Some(key) = key else {
            return Err(InvokeError::bad_request(
                "redis binding: missing key in request metadata",
            ));
        };
        match call.operation {
            "create" => self.create(key, &call).await.map(|()| None),
            "get" => self.get(key, &call).await.map(Some),
            "delete" => self.delete(key).await.map(|()| None),
            "increment" => self.increment(key, &call).await.map(|()| None),
            other => Err(InvokeError::bad_request(format!(
                "invalid operation type: {other}"
            ))),
        }
    }
}

fn command(name: &str, key: &str) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

/// A part of the call was done, so the call as a whole must not be sent again.
fn not_to_be_repeated(error: InvokeError) -> InvokeError {
    match error {
        InvokeError::Disconnected { cause, .. } => InvokeError::disconnected(cause, Sent::Perhaps),
        InvokeError::Rejected { cause, .. } => InvokeError::bad_request(cause),
    }
}

/// Looks after a connection for as long as it is used: that it broke is news before the next
/// call finds out, and who logs in with tokens logs in with each one.
async fn care(link: Arc<Link>, connector: Connector, mut login: Login, binding: OpenContext) {
    loop {
        tokio::select! {
            () = link.closed() => {
                return binding.report_disconnected("the server closed the connection");
            }
            () = login.changed() => {
                if let Err(error) = connector.renew(&link, login.now().as_ref()).await {
                    return binding.report_disconnected(error);
                }
            }
        }
    }
}
