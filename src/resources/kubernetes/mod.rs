//! `secretstores.kubernetes`: the Secrets of a cluster, which its API server gives out, or which a
//! pod finds mounted as files.
//!
//! Everything is read anew each time, the token of the service account too: Kubernetes replaces
//! it every hour.

mod ask;
mod cluster;
mod error;
mod kubeconfig;
mod mounted;

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bindery_contract::settings::{Properties, Secret};
use serde::Deserialize;

use self::cluster::{Access, Cluster};
pub use self::error::KubernetesError;
use super::values::Env;

/// The name of the store that is there without a component, in a pod, and that a component in a
/// pod means when it names none.
pub(super) const BUILT_IN: &str = "kubernetes";
/// Its type.
pub(super) const TYPE: &str = "secretstores.kubernetes";

/// Whether this process runs in a pod.
pub(super) fn is_here(env: &Env) -> bool {
    env.non_empty(cluster::HOST).is_some()
}

/// The values of one Secret, by their keys.
type Values = BTreeMap<String, Secret>;

/// A store of Secrets.
pub struct Kubernetes {
    place: Place,
    /// `defaultNamespace`.
    namespace: Option<String>,
    env: Env,
}

/// Where the Secrets are.
enum Place {
    Server(Cluster),
    Mounted(PathBuf),
}

impl Kubernetes {
    /// The store of the pod that this process runs in.
    pub(super) fn of_pod(env: &Env) -> Self {
        Self {
            place: Place::Server(Cluster::of_pod(env)),
            namespace: None,
            env: env.clone(),
        }
    }

    /// A store from its settings.
    ///
    /// # Errors
    /// What can never work: no cluster is named, or a file or folder cannot be used.
    pub(super) fn open(settings: &Properties, env: &Env) -> Result<Self, KubernetesError> {
        let setting = |name: &str| {
            let value = settings.get_any_case(name);
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let place = match (setting("mountPath"), setting("kubeconfigPath")) {
            (Some(_), Some(_)) => return Err(KubernetesError::TwoPlaces),
            (Some(folder), None) => Place::Mounted(mounted::folder(folder.into())?),
            (None, Some(file)) => Place::Server(Cluster::of_file(file.into())?),
            (None, None) if is_here(env) => Place::Server(Cluster::of_pod(env)),
            (None, None) => return Err(KubernetesError::NoCluster),
        };
        Ok(Self {
            place,
            namespace: setting("defaultNamespace"),
            env: env.clone(),
        })
    }

    /// The values of one Secret; `None` where there is none of the name. Blocks.
    ///
    /// # Errors
    /// When it cannot be asked for.
    pub(super) fn secret(
        &self,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<Option<Values>, KubernetesError> {
        check("Secret", name)?;
        let access = match &self.place {
            Place::Mounted(folder) => return mounted::secret(folder, name),
            Place::Server(cluster) => cluster.access()?,
        };
        let namespace = self.namespace(namespace, &access)?;
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        match ask::get::<Object>(&access, &path) {
            Ok(object) => object.values().map(Some),
            Err(KubernetesError::NotFound) => Ok(None),
            Err(error) => Err(error.asking("get", &namespace)),
        }
    }

    /// All Secrets of a namespace, by their names. Blocks.
    ///
    /// # Errors
    /// When they cannot be asked for.
    pub(super) fn all(
        &self,
        namespace: Option<&str>,
    ) -> Result<BTreeMap<String, Values>, KubernetesError> {
        let access = match &self.place {
            Place::Mounted(folder) => return mounted::all(folder),
            Place::Server(cluster) => cluster.access()?,
        };
        let namespace = self.namespace(namespace, &access)?;
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        let list: List =
            ask::get(&access, &path).map_err(|error| error.asking("list", &namespace))?;
        let each = list.items.into_iter();
        each.map(|object| Ok((object.metadata.name.clone(), object.values()?)))
            .collect()
    }

    /// The namespace that was asked for, or else the one that the store, the environment, the
    /// kubeconfig or the pod says.
    fn namespace(&self, asked: Option<&str>, access: &Access) -> Result<String, KubernetesError> {
        let asked = asked.filter(|namespace| !namespace.is_empty());
        let found = asked
            .or(self.namespace.as_deref())
            .map(str::to_owned)
            .or_else(|| self.env.non_empty("NAMESPACE"))
            .or_else(|| access.namespace.clone());
        let namespace = found.ok_or(KubernetesError::NoNamespace)?;
        check("namespace", &namespace)?;
        Ok(namespace)
    }
}

/// Whether a word can be a name at all: it becomes part of a path.
fn check(what: &'static str, name: &str) -> Result<(), KubernetesError> {
    let is_usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins_well && name.len() <= 253 && name.chars().all(is_usual) {
        return Ok(());
    }
    Err(KubernetesError::Name {
        what,
        name: name.to_owned(),
    })
}

/// A Secret, as the API server writes it.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: ObjectMetadata,
    data: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectMetadata {
    name: String,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

impl Object {
    fn values(self) -> Result<Values, KubernetesError> {
        let data = self.data.unwrap_or_default().into_iter();
        let value = |encoded: &str| {
            let bytes = STANDARD.decode(encoded).ok()?;
            Some(Secret::new(String::from_utf8_lossy(&bytes)))
        };
        data.map(|(key, encoded)| {
            let value = value(&encoded).ok_or(KubernetesError::Answer("a value is not base64"))?;
            Ok((key, value))
        })
        .collect()
    }
}
