//! From the settings to an open connection.

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{Clock, OpenError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::address::Address;
use crate::auth::Credentials;
use crate::cluster::Cluster;
use crate::errors::{is_tls, on_open};
use crate::link::Link;
use crate::node::{Node, Role};
use crate::target::{Sentinels, Servers, Target};

/// Opens connections to what the settings name. They live on the thread that opens them.
#[derive(Clone)]
pub(crate) struct Connector {
    pub target: Arc<Target>,
    pub clock: Clock,
}

impl Connector {
    /// Opens a connection and sees whether it can be used.
    pub(crate) async fn connect(
        &self,
        credentials: Option<&Credentials>,
    ) -> Result<Link, OpenError> {
        let target = &*self.target;
        match &target.servers {
            Servers::Node(address) => {
                let node = self.node(address, credentials, target.db).await?;
                Ok(Link::Node(node))
            }
            Servers::Sentinels(sentinels) => {
                let master = self.master(sentinels, credentials).await?;
                Ok(Link::Node(master))
            }
            Servers::Cluster(seeds) => {
                // The library does not say why a node turns it away; this does.
                first(seeds.iter().map(|seed| self.node(seed, credentials, 0))).await?;
                let cluster = Cluster::open(target, credentials, self.clock.clone()).await?;
                Ok(Link::Cluster(cluster))
            }
        }
    }

    /// Logs in anew, with what is valid now.
    pub(crate) async fn renew(
        &self,
        link: &Link,
        credentials: Option<&Credentials>,
    ) -> Result<(), OpenError> {
        match (link, credentials) {
            (Link::Node(_), None) => Ok(()),
            (Link::Node(node), Some(credentials)) => {
                let address = &node.address;
                let greeting = self.answer_within(address, node.authenticate(credentials));
                let why = |why: &str| cannot_connect(address, why);
                greeting.await?.map_err(|error| on_open(error, why))
            }
            (Link::Cluster(cluster), credentials) => cluster.renew(&self.target, credentials).await,
        }
    }

    /// The master, where the sentinels say that it is.
    async fn master(
        &self,
        sentinels: &Sentinels,
        credentials: Option<&Credentials>,
    ) -> Result<Node, OpenError> {
        let each = sentinels.addresses.iter();
        let address = first(each.map(|sentinel| self.ask(sentinel, sentinels))).await?;
        let node = self.node(&address, credentials, self.target.db).await?;
        if node.role == Role::Replica {
            let error = format!("{address} is no longer the master, and no other is known yet");
            return Err(OpenError::disconnected(error));
        }
        Ok(node)
    }

    /// Asks one sentinel where the master is.
    async fn ask(&self, sentinel: &Address, all: &Sentinels) -> Result<Address, OpenError> {
        let cannot = |why: &str| format!("redis binding: the sentinel at {sentinel} says: {why}");
        let node = self.node(sentinel, all.credentials.as_ref(), 0).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(&all.master);
        let asking = self.answer_within(sentinel, node.send(&question));
        let reply = asking.await?.map_err(|error| on_open(error, cannot))?;
        match redis::from_redis_value::<Option<(String, u16)>>(reply) {
            Ok(Some((host, port))) => Ok(Address::new(host, port)),
            Ok(None) => Err(OpenError::refused(cannot(&format!(
                "there is no master named {:?}",
                all.master
            )))),
            Err(error) => Err(OpenError::refused(cannot(&error.to_string()))),
        }
    }

    /// A connection to one server, logged in and ready.
    async fn node(
        &self,
        address: &Address,
        credentials: Option<&Credentials>,
        db: i64,
    ) -> Result<Node, OpenError> {
        let cannot = |why: &str| cannot_connect(address, why);
        let limits = self.target.limits;
        let mut node = match limits.dial {
            None => self.dial(address).await,
            Some(limit) => match self.clock.timeout(limit, self.dial(address)).await {
                Some(dialled) => dialled,
                None => Err(OpenError::disconnected(cannot(&format!(
                    "no connection within {limit:?}"
                )))),
            },
        }?;
        let greeting = self.answer_within(address, node.greet(credentials, db));
        greeting.await?.map_err(|error| on_open(error, cannot))?;
        Ok(node)
    }

    async fn answer_within<T>(
        &self,
        address: &Address,
        asking: impl Future<Output = T>,
    ) -> Result<T, OpenError> {
        let Some(limit) = self.target.limits.answer else {
            return Ok(asking.await);
        };
        self.clock.timeout(limit, asking).await.ok_or_else(|| {
            OpenError::disconnected(cannot_connect(
                address,
                &format!("no answer within {limit:?}"),
            ))
        })
    }

    async fn dial(&self, address: &Address) -> Result<Node, OpenError> {
        let cannot = |error: std::io::Error| {
            let why = cannot_connect(address, &error.to_string());
            if is_tls(&error) {
                OpenError::refused(why)
            } else {
                OpenError::disconnected(why)
            }
        };
        let tcp = TcpStream::connect((address.host.as_str(), address.port)).await;
        let tcp = tcp.map_err(cannot)?;
        tcp.set_nodelay(true).map_err(cannot)?;
        SockRef::from(&tcp)
            .set_tcp_keepalive(&keepalive())
            .map_err(cannot)?;
        let node = match &self.target.tls {
            None => Node::over(tcp, address.clone()).await,
            Some(tls) => {
                let name = ServerName::try_from(address.host.clone()).map_err(|error| {
                    OpenError::refused(cannot_connect(address, &error.to_string()))
                })?;
                let connector = TlsConnector::from(Arc::clone(&tls.config));
                let stream = connector.connect(name, tcp).await.map_err(cannot)?;
                Node::over(stream, address.clone()).await
            }
        };
        node.map_err(|error| on_open(error, |why| cannot_connect(address, why)))
    }
}

fn cannot_connect(address: &Address, why: &str) -> String {
    format!("redis binding: error connecting to redis at {address}: {why}")
}

/// A peer that is gone without a word is noticed within a minute, also when nobody calls.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
}

/// Tries all at once and takes the first that succeeds. When none does, a server that said no
/// says more than one that is not there.
async fn first<T, F>(attempts: impl Iterator<Item = F>) -> Result<T, OpenError>
where
    F: Future<Output = Result<T, OpenError>>,
{
    let mut attempts: FuturesUnordered<F> = attempts.collect();
    let mut telling = OpenError::disconnected("no address was tried");
    while let Some(outcome) = attempts.next().await {
        match outcome {
            Ok(found) => return Ok(found),
            Err(refused @ OpenError::Refused(_)) => telling = refused,
            Err(error) if !matches!(telling, OpenError::Refused(_)) => telling = error,
            Err(_) => {}
        }
    }
    Err(telling)
}
