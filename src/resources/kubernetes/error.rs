//! Why a Secret could not be had. Never contains one.

use std::path::PathBuf;

/// Why a Secret of a cluster could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// Not in a pod, and no kubeconfig.
    #[error("no cluster is named: this is no pod, and neither kubeconfigPath nor mountPath is set")]
    NoCluster,
    /// Both settings at once.
    #[error("kubeconfigPath and mountPath are both set, and Secrets come from one place")]
    TwoPlaces,
    /// A file or a folder that is needed cannot be used.
    #[error("{}: {reason}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Nobody says of which namespace.
    #[error("namespace is missing on metadata and NAMESPACE env variable")]
    NoNamespace,
    /// What was asked for cannot be a name.
    #[error("{name:?} cannot be the name of a {what}: small letters, digits, - and . are")]
    Name {
        /// Of what.
        what: &'static str,
        /// The word.
        name: String,
    },
    /// The server cannot be reached, or breaks off.
    #[error("the API server {server} cannot be asked: {reason}")]
    Unreachable {
        /// Where it is.
        server: String,
        /// Why not.
        reason: String,
    },
    /// The server does not know who asks.
    #[error("the API server does not know who asks (401 {0})")]
    Unknown(String),
    /// The server knows who asks, and that they must not.
    #[error(
        "the service account must not {verb} Secrets in the namespace {namespace}: a Role with the \
         verb {verb} for secrets is missing there, or a RoleBinding of it ({message})"
    )]
    Forbidden {
        /// What was tried.
        verb: &'static str,
        /// Where.
        namespace: String,
        /// What the server says.
        message: String,
    },
    /// The server has no such thing.
    #[error("there is no such Secret")]
    NotFound,
    /// Another answer that is none.
    #[error("the API server answers {status}{}{message}", if .message.is_empty() { "" } else { ": " })]
    Refused {
        /// Its status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// An answer that is no Secret.
    #[error("the API server's answer is no Secret: {0}")]
    Answer(&'static str),
}

impl KubernetesError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NoCluster | Self::TwoPlaces => {
                "outside of a pod, set kubeconfigPath to the path of a kubeconfig; or set \
                 mountPath to a folder in which each Secret is a folder of files"
            }
            Self::File { .. } => {
                "a pod has its token, its namespace and the authority's certificate in \
                 /var/run/secrets/kubernetes.io/serviceaccount, unless automountServiceAccountToken \
                 is false; kubeconfigPath and mountPath are paths on this machine"
            }
            Self::NoNamespace => "set defaultNamespace, or the environment variable NAMESPACE",
            Self::Name { .. } => "a Secret is named as kubectl get secrets shows it",
            Self::Unreachable { .. } => {
                "look whether a network policy keeps the pod from the API server, and whether the \
                 certificate is the cluster's"
            }
            Self::Unknown(_) => {
                "the token or the client certificate has expired, or is another \
                                 cluster's"
            }
            Self::Forbidden { .. } => "deploy/kubernetes.yaml has such a Role and its RoleBinding",
            Self::NotFound => "a missing secret is never an empty value: put it into the cluster",
            Self::Refused { .. } | Self::Answer(_) => {
                "ask the same with kubectl get --raw, and look at the answer"
            }
        }
    }

    /// The same, where it was not allowed: what was tried.
    pub(super) fn asking(self, verb: &'static str, namespace: &str) -> Self {
        match self {
            Self::Forbidden { message, .. } => Self::Forbidden {
                verb,
                namespace: namespace.to_owned(),
                message,
            },
            other => other,
        }
    }
}
