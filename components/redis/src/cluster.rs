//! Connections to a cluster.
//!
//! The library finds the node that has a key, follows the slots when they move, and mends
//! connections to single nodes. It never sends a command twice: whether it may be sent again is
//! decided here, where it is known whether it was executed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bindery_contract::{Clock, OpenError, Sent};
use redis::aio::ConnectionLike;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo,
};
use redis::io::tcp::TcpSettings;
use redis::{
    ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisError, RedisResult, ServerErrorKind, TlsCertificates, TlsMode, Value,
};

use crate::address::Address;
use crate::auth::Credentials;
use crate::connect::keepalive;
use crate::errors::{Answer, Failure, on_open};
use crate::target::Target;

/// How long a node may leave what was sent unacknowledged before its connection counts as broken.
#[cfg(target_os = "linux")]
const SILENCE: Duration = Duration::from_secs(10);
/// How long a node may take to say that it is there, where no other limit is set.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// Connections to the nodes of a cluster, opened by whoever needs them, on one thread.
pub(crate) struct Cluster {
    /// Replaced as a whole when the credentials change.
    connection: Mutex<ClusterConnection>,
    name: String,
    clock: Clock,
    patience: Duration,
}

impl Cluster {
    pub(crate) async fn open(
        target: &Target,
        credentials: Option<&Credentials>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let connection = connect(target, credentials).await?;
        Ok(Self {
            connection: Mutex::new(connection),
            name: target.servers.to_string(),
            clock,
            patience: target.limits.answer.unwrap_or(SIGN_OF_LIFE),
        })
    }

    /// Opens everything anew with what is valid now. Calls under way end where they are.
    pub(crate) async fn renew(
        &self,
        target: &Target,
        credentials: Option<&Credentials>,
    ) -> Result<(), OpenError> {
        let connection = connect(target, credentials).await?;
        *self.lock() = connection;
        Ok(())
    }

    /// Does what a call asks.
    pub(crate) async fn call(&self, command: &Cmd) -> Result<Value, Failure> {
        let error = match self.send(command).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match Answer::in_error(error) {
            Ok(answer) => Err(Failure::Answered(answer)),
            Err(error) => Err(self.lost(&error.to_string()).await),
        }
    }

    /// What it means that a node did not answer: where others do, the cluster is mostly well.
    pub(crate) async fn lost(&self, cause: &str) -> Failure {
        let cause = format!("a node of the cluster {} is lost: {cause}", self.name);
        if self.is_alive().await {
            return Failure::Failed(cause);
        }
        let sent = Sent::Perhaps;
        Failure::Lost { cause, sent }
    }

    async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let mut connection = self.lock().clone();
        let error = match connection
            .req_packed_command(command)
            .await
            .and_then(Value::extract_error)
        {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match asked_elsewhere(&error) {
            Some(route) => ask(connection, command, route).await,
            None => Err(error),
        }
    }

    async fn is_alive(&self) -> bool {
        let anyone = RoutingInfo::MultiNode((
            MultipleNodeRoutingInfo::AllNodes,
            Some(ResponsePolicy::OneSucceeded),
        ));
        let mut connection = self.lock().clone();
        let ping = connection.route_command(redis::cmd("PING"), anyone);
        self.clock
            .timeout(self.patience, ping)
            .await
            .is_some_and(|reply| reply.is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, ClusterConnection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a slot goes that is on its way: only those may ask there who were told to.
fn asked_elsewhere(error: &RedisError) -> Option<SingleNodeRoutingInfo> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
        return None;
    }
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

/// ASKING counts for the very next command, so both go together.
async fn ask(
    mut connection: ClusterConnection,
    command: &Cmd,
    route: SingleNodeRoutingInfo,
) -> RedisResult<Value> {
    let mut both = redis::pipe();
    both.cmd("ASKING").add_command(command.clone());
    let mut replies = connection.route_pipeline(both, 0, 2, route).await?;
    replies.pop().unwrap_or(Value::Nil).extract_error()
}

async fn connect(
    target: &Target,
    credentials: Option<&Credentials>,
) -> Result<ClusterConnection, OpenError> {
    let cannot = |why: &str| {
        let host = &target.servers;
        format!("redis binding: error connecting to the cluster at {host}: {why}")
    };
    let client = client(target, credentials).map_err(|error| on_open(error, cannot))?;
    client
        .get_async_connection()
        .await
        .map_err(|error| on_open(error, cannot))
}

fn client(target: &Target, credentials: Option<&Credentials>) -> RedisResult<ClusterClient> {
    let nodes: Vec<ConnectionInfo> = target
        .servers
        .addresses()
        .iter()
        .map(|address| node(target, address))
        .collect::<RedisResult<_>>()?;
    let mut builder = ClusterClientBuilder::new(nodes)
        .retries(0)
        .connection_timeout(target.limits.dial.unwrap_or(Duration::MAX))
        // Questions about the slots must end, even where calls may take for ever.
        .response_timeout(target.limits.answer.unwrap_or(Duration::from_secs(30)))
        .overall_response_timeout(None)
        .tcp_settings(tcp_settings());
    if let Some(tls) = &target.tls {
        // The library takes the process's provider. A process that chose one keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let identity = tls
            .identity
            .as_ref()
            .map(|(certificate, key)| ClientTlsConfig {
                client_cert: certificate.clone().into_bytes(),
                client_key: key.expose().to_owned().into_bytes(),
            });
        builder = builder
            .tls(if tls.insecure {
                TlsMode::Insecure
            } else {
                TlsMode::Secure
            })
            .certs(TlsCertificates {
                client_tls: identity,
                root_cert: None,
            });
    }
    if let Some(credentials) = credentials {
        builder = builder.password(credentials.password.expose());
        if let Some(username) = &credentials.username {
            builder = builder.username(username);
        }
    }
    builder.build()
}

fn node(target: &Target, address: &Address) -> RedisResult<ConnectionInfo> {
    let Address { host, port } = address.clone();
    match &target.tls {
        None => ConnectionAddr::Tcp(host, port),
        Some(tls) => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: tls.insecure,
            tls_params: None,
        },
    }
    .into_connection_info()
}

fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive());
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE);
    settings
}
