//! What a worker thread has of Redis: one server, or a cluster.

use bindery_contract::Sent;
use redis::{Cmd, Value};

use crate::cluster::Cluster;
use crate::errors::Failure;
use crate::node::Node;

pub(crate) enum Link {
    Node(Node),
    Cluster(Cluster),
}

impl Link {
    /// Does what a call asks.
    pub(crate) async fn call(&self, command: &Cmd) -> Result<Value, Failure> {
        match self {
            Self::Node(node) => node.call(command).await,
            Self::Cluster(cluster) => cluster.call(command).await,
        }
    }

    /// What it means that a command had no answer in time.
    pub(crate) async fn timed_out(&self, cause: String) -> Failure {
        match self {
            // Redis answers in order: a command without an answer holds up all the others.
            Self::Node(node) => Failure::Lost {
                cause: format!("the connection to {} is lost: {cause}", node.address),
                sent: Sent::Perhaps,
            },
            Self::Cluster(cluster) => cluster.lost(&cause).await,
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Resolves when nothing of it is left; a cluster mends itself for as long as it is used.
    pub(crate) async fn closed(&self) {
        match self {
            Self::Node(node) => node.closed().await,
            Self::Cluster(_) => std::future::pending().await,
        }
    }
}
