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

use std::pin::Pin;
use std::time::Duration;

use bindery_contract::{Clock, OpenContext};
use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, Pool, PoolConfig, QueueMode, RecyclingMethod,
    Runtime, Timeouts,
};
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode as Wire;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use crate::aws::Login;
use crate::error::{failed_in_tls, text};
use crate::target::{Limits, SslMode, Target};

/// A connection that was unused for longer than this is asked whether it still is one.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// How long the answer may take.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// The fewest connections that a pool is made for, unless it is told otherwise.
const FEWEST: usize = 4;

/// Makes the pool. It has no connections yet.
pub(crate) fn pool(
    target: &Target,
    login: Option<Login>,
    tls: &MakeRustlsConnect,
    cx: &OpenContext,
) -> Pool {
    let connector = Connector {
        ssl: target.ssl.mode,
        tls: tls.clone(),
        login,
        clock: cx.clock().clone(),
        runtime: cx.runtime().clone(),
    };
    let manager = Manager::from_connect(
        target.config.clone(),
        connector,
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let (limits, clock) = (target.limits, cx.clock().clone());
    let is_fit = Hook::async_fn(move |client, metrics| {
        let (used, age, clock) = (metrics.last_used(), metrics.age(), clock.clone());
        Box::pin(async move {
            let is_fit = !is_outdated(&limits, age, used)
                && (used < ASK_AFTER || answers(client, &clock).await);
            is_fit.then_some(()).ok_or(HookError::message("unfit"))
        })
    });
    Pool::builder(manager)
        .config(PoolConfig {
            max_size: limits.max.unwrap_or(cx.workers().max(FEWEST)),
            timeouts: Timeouts {
                create: Some(target.timeout),
                ..Timeouts::default()
            },
            // The one used last is handed out first, so that those too many become idle.
            queue_mode: QueueMode::Lifo,
        })
        .pre_recycle(is_fit)
        .runtime(Runtime::Tokio1)
        .build()
        .expect("a pool with timeouts has a runtime")
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
struct Connector {
    ssl: SslMode,
    tls: MakeRustlsConnect,
    /// Makes the password, if it is not the configured one.
    login: Option<Login>,
    clock: Clock,
    runtime: Handle,
}

type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + 'a>>;

impl Connect for Connector {
    fn connect(&self, config: &Config) -> Connecting<'_> {
        let mut config = config.clone();
        if let Some(login) = &self.login {
            config.password(login.password(self.clock.wall()).expose());
        }
        let connecting = connect(config, self.ssl, self.tls.clone());
        let connecting = AbortOnDropHandle::new(self.runtime.spawn(connecting));
        Box::pin(async move {
            match connecting.await {
                Ok(outcome) => outcome,
                Err(failed) => match failed.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The bindings thread is gone. Whoever waits, waits with a timeout.
                    Err(_) => std::future::pending().await,
                },
            }
        })
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
