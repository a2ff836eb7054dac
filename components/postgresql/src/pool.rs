//! The pool: how connections are made, which of them are good enough to be handed out, and what
//! is done with those that nobody uses.
//!
//! Connections are driven on the bindings thread, whichever thread asks for them.
//!
//! Before a connection is handed out, it is asked whether it noticed that the other side closed
//! it, which costs nothing: a server that went away normally is noticed this way. If it was
//! unused for more than a second, the server is asked, too, at the price of a round trip: a
//! server that went away without a word is noticed this way. A busy connection is not asked each
//! time, because the call that follows would find out as soon.

use std::time::Duration;

use bindery_contract::{Clock, OpenContext, OpenError};
use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, PoolConfig, QueueMode, RecycleError, RecycleResult, Timeouts,
};
use deadpool_postgres::ClientWrapper;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode as Wire;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{ConnectError, failed_in_tls, text};
use crate::sign_in::Passwords;
use crate::target::{Limits, SslMode, Target};

pub(crate) type Pool = deadpool::managed::Pool<Connector>;
pub(crate) type Object = deadpool::managed::Object<Connector>;

/// A connection that was unused for longer than this is asked whether it still is one.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// How long the answer may take.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// The fewest connections that a pool is made for, unless it is told otherwise.
const FEWEST: usize = 4;

/// Makes the pool. It has no connections yet.
pub(crate) fn pool(
    target: &Target,
    passwords: Passwords,
    tls: &MakeRustlsConnect,
    cx: &OpenContext,
) -> Pool {
    let connector = Connector {
        config: target.config.clone(),
        passwords,
        ssl: target.ssl.mode,
        tls: tls.clone(),
        timeout: target.timeout,
        limits: target.limits,
        clock: cx.clock().clone(),
        runtime: cx.runtime().clone(),
    };
    Pool::builder(connector)
        .config(PoolConfig {
            max_size: target.limits.max.unwrap_or(cx.workers().max(FEWEST)),
            // The one used last is handed out first, so that those too many become idle.
            queue_mode: QueueMode::Lifo,
            // Making a connection has a limit of its own.
            timeouts: Timeouts::default(),
        })
        .runtime(Runtime::Tokio1)
        .build()
        .expect("it has a runtime")
}

fn is_outdated(limits: &Limits, age: Duration, unused: Duration) -> bool {
    age > limits.lifetime || unused > limits.idle
}

async fn answers(client: &Client, clock: &Clock) -> bool {
    matches!(
        clock.timeout(ASK_WITHIN, client.check_connection()).await,
        Some(Ok(()))
    )
}

/// Closes connections that are old or unused, and makes as many as there should be at least.
/// Runs until the pool is closed.
pub(crate) async fn keep(pool: Pool, limits: Limits, clock: Clock) {
    loop {
        if pool.is_closed() {
            return;
        }
        pool.retain(|client, metrics| {
            !client.is_closed() && !is_outdated(&limits, metrics.age(), metrics.last_used())
        });
        top_up(&pool, limits.min).await;
        clock.sleep(limits.check_every).await;
    }
}

/// Makes the connections that are missing. Those that are there and free have to be held
/// meanwhile, or the pool would hand them out instead.
async fn top_up(pool: &Pool, min: usize) {
    let status = pool.status();
    let missing = min.min(status.max_size).saturating_sub(status.size);
    if missing == 0 {
        return;
    }
    let at_once = Timeouts {
        wait: Some(Duration::ZERO),
        ..pool.timeouts()
    };
    let held = join_all((0..status.available + missing).map(|_| pool.timeout_get(&at_once))).await;
    for error in held.iter().filter_map(|made| made.as_ref().err()) {
        tracing::debug!("no further connection in reserve: {error}");
    }
}

/// Makes connections, each driven by a task on the bindings thread.
pub(crate) struct Connector {
    config: Config,
    passwords: Passwords,
    ssl: SslMode,
    tls: MakeRustlsConnect,
    /// How long making one may take.
    timeout: Duration,
    limits: Limits,
    clock: Clock,
    runtime: Handle,
}

impl Manager for Connector {
    type Type = ClientWrapper;
    type Error = ConnectError;

    async fn create(&self) -> Result<ClientWrapper, ConnectError> {
        let end = self.clock.now() + self.timeout;
        let signing_in = self.passwords.next(&self.clock);
        let password = self.clock.timeout_at(end, signing_in).await;
        let password = password.unwrap_or_else(|| {
            let error = "the identity provider did not answer within the component's timeout";
            Err(OpenError::disconnected(error))
        });
        let mut config = self.config.clone();
        if let Some(password) = password.map_err(ConnectError::SignIn)? {
            config.password(password.expose());
        }
        let connected = self.clock.timeout_at(end, self.connect(config)).await;
        let connected = connected.ok_or(ConnectError::Silent)?;
        let (client, driving) = connected.map_err(ConnectError::Server)?;
        Ok(ClientWrapper::new(client, driving))
    }

    async fn recycle(
        &self,
        client: &mut ClientWrapper,
        metrics: &Metrics,
    ) -> RecycleResult<ConnectError> {
        let unused = metrics.last_used();
        let is_fit = !client.is_closed()
            && !is_outdated(&self.limits, metrics.age(), unused)
            && (unused < ASK_AFTER || answers(client, &self.clock).await);
        is_fit.then_some(()).ok_or(RecycleError::message("unfit"))
    }
}

impl Connector {
    async fn connect(&self, config: Config) -> Result<(Client, JoinHandle<()>), Error> {
        let connecting = connect(config, self.ssl, self.tls.clone());
        match AbortOnDropHandle::new(self.runtime.spawn(connecting)).await {
            Ok(outcome) => outcome,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The bindings thread is gone. Whoever waits, waits with a timeout.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

async fn connect(
    mut config: Config,
    ssl: SslMode,
    tls: MakeRustlsConnect,
) -> Result<(Client, JoinHandle<()>), Error> {
    let mut connected = config.connect(tls.clone()).await;
    if let Some(second) = connected
        .as_ref()
        .err()
        .and_then(|error| second_mode(ssl, error))
    {
        connected = config.ssl_mode(second).connect(tls).await;
    }
    let (client, connection) = connected?;
    let driving = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("a connection ended: {}", text(&error));
        }
    });
    Ok((client, driving))
}

/// The other way that `allow` and `prefer` leave open, if the first one failed for that reason.
fn second_mode(ssl: SslMode, error: &Error) -> Option<Wire> {
    match ssl {
        SslMode::Allow if error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            Some(Wire::Require)
        }
        SslMode::Prefer if failed_in_tls(error) => Some(Wire::Disable),
        _ => None,
    }
}
