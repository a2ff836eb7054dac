//! Where an API server is, and how one signs in.

use std::path::{Path, PathBuf};

use bindery_contract::settings::Secret;
use bindery_contract::tls::{ClientTls, TlsError};
use tokio_rustls::rustls::ClientConfig;

use super::kubeconfig;
use super::mounted::unusable;
use super::{Env, KubernetesError};

/// The variables by which a pod finds its API server.
pub(super) const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";
/// Where a pod has what its service account signs in with.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A cluster.
pub(super) enum Cluster {
    /// The one that this process runs in.
    Own { env: Env, account: PathBuf },
    /// The one that a kubeconfig describes.
    Described(PathBuf),
}

/// How its API server is asked.
pub(super) struct Access {
    /// `https://host:port`, and where the API is below another path, that.
    pub(super) server: String,
    pub(super) tls: ClientConfig,
    /// The name in the server's certificate, where it is not the host's.
    pub(super) server_name: Option<String>,
    pub(super) token: Option<Secret>,
    /// Where one is when nothing else is said.
    pub(super) namespace: Option<String>,
}

impl Cluster {
    /// The cluster of this pod.
    pub(super) fn of_pod(env: &Env) -> Self {
        Self::Own {
            env: env.clone(),
            account: ACCOUNT.into(),
        }
    }

    /// The cluster that a kubeconfig describes.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub(super) fn of_file(file: PathBuf) -> Result<Self, KubernetesError> {
        kubeconfig::access(&file)?;
        Ok(Self::Described(file))
    }

    /// How it is asked now.
    ///
    /// # Errors
    /// When a file that is needed for it cannot be used.
    pub(super) fn access(&self) -> Result<Access, KubernetesError> {
        match self {
            Self::Own { env, account } => of_account(env, account),
            Self::Described(file) => kubeconfig::access(file),
        }
    }
}

fn of_account(env: &Env, account: &Path) -> Result<Access, KubernetesError> {
    let host = env.non_empty(HOST).ok_or(KubernetesError::NoCluster)?;
    let port = env.non_empty(PORT).unwrap_or("443".into());
    // An address of version 6.
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let authority = account.join("ca.crt");
    let roots = read(&authority)?;
    let tls = ClientTls {
        roots: Some(&roots),
        ..ClientTls::default()
    };
    Ok(Access {
        server: format!("https://{host}:{port}"),
        tls: tls.config().map_err(|error| cannot(&authority, &error))?,
        server_name: None,
        token: Some(Secret::new(read(&account.join("token"))?.trim())),
        namespace: read(&account.join("namespace"))
            .ok()
            .map(|namespace| namespace.trim().to_owned()),
    })
}

pub(super) fn read(path: &Path) -> Result<String, KubernetesError> {
    std::fs::read_to_string(path).map_err(|source| unusable(path, &source))
}

pub(super) fn cannot(path: &Path, error: &TlsError) -> KubernetesError {
    KubernetesError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use bindery_testkit::certs::Authority;

    use super::*;

    fn pod(pairs: &[(&str, &str)], account: &Path) -> Cluster {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        Cluster::Own {
            env: Env::Fixed(Arc::new(pairs.collect::<HashMap<_, _>>())),
            account: account.to_owned(),
        }
    }

    #[test]
    fn a_pod_signs_in_with_what_kubernetes_mounts() {
        let account = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(account.path().join(name), text).unwrap();
        };
        write("ca.crt", &Authority::new().certificate());
        write("token", "the token\n");
        write("namespace", "shop");
        let access = pod(&[(HOST, "10.0.0.1"), (PORT, "6443")], account.path()).access();
        let access = access.unwrap();
        assert_eq!(access.server, "https://10.0.0.1:6443");
        assert_eq!(access.token.unwrap().expose(), "the token");
        assert_eq!(access.namespace.as_deref(), Some("shop"));
        write("token", "the next one");
        let access = pod(&[(HOST, "fd00::1")], account.path()).access().unwrap();
        assert_eq!(access.server, "https://[fd00::1]:443");
        assert_eq!(access.token.unwrap().expose(), "the next one");
    }

    #[test]
    fn what_a_pod_lacks_is_named() {
        let account = tempfile::tempdir().unwrap();
        let problem = |cluster: Cluster| match cluster.access() {
            Ok(_) => panic!("there is nothing to sign in with"),
            Err(error) => error.to_string(),
        };
        assert!(problem(pod(&[], account.path())).contains("no cluster is named"));
        let here = || pod(&[(HOST, "10.0.0.1")], account.path());
        assert!(problem(here()).ends_with("ca.crt: there is no such file or folder"));
        std::fs::write(account.path().join("ca.crt"), "rubbish").unwrap();
        assert!(problem(here()).contains("the root certificate cannot be used"));
        let certificate = Authority::new().certificate();
        std::fs::write(account.path().join("ca.crt"), certificate).unwrap();
        assert!(problem(here()).ends_with("token: there is no such file or folder"));
    }
}
