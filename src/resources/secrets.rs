//! The secret stores (runtime §5): the environment, a JSON file, and a Kubernetes cluster.
//!
//! A secret is read from its source each time it is asked for, so that a password that was
//! changed is found by the next attempt to connect.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use bindery_contract::settings::{Properties, Secret};
use serde_json::Value;

use super::kubernetes::{self, Kubernetes, KubernetesError};
use super::values::{Env, is_forbidden};

/// All secret stores by component name.
#[derive(Default)]
pub struct SecretStores {
    stores: HashMap<String, Arc<SecretStore>>,
    /// The store that is meant where none is named.
    unnamed: Option<&'static str>,
}

/// One secret store.
pub enum SecretStore {
    /// `secretstores.local.env`.
    Env {
        /// Put before every name.
        prefix: String,
        /// Where the variables are.
        env: Env,
    },
    /// `secretstores.local.file`.
    File {
        /// The JSON file.
        path: PathBuf,
        /// Between the parts of a nested name.
        separator: String,
        /// Whether a top-level object is one secret with several values.
        multi_valued: bool,
    },
    /// `secretstores.kubernetes`.
    Kubernetes(Kubernetes),
    /// A type that this build does not have.
    Unsupported {
        /// `spec.type`.
        type_name: String,
    },
}

/// Why a secret could not be had. Never contains one.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A component wants a secret and does not say of which store.
    #[error("secretKeyRef does not say which store to ask")]
    NoStore,
    /// There is no such store.
    #[error("there is no secret store {name:?}; {}", list(.known))]
    UnknownStore {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The store's type is not in this build.
    #[error("the secret store {name:?} is of the type {type_name}, which is not supported")]
    UnsupportedStore {
        /// The store.
        name: String,
        /// Its type.
        type_name: String,
    },
    /// A variable that carries the sidecar's own settings.
    #[error("access to env var {0} is forbidden")]
    Forbidden(String),
    /// The store works and does not have it.
    #[error("secret {0} not found")]
    NotFound(String),
    /// The cluster does not give it.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// The secret is there and has no such field.
    #[error("secret {secret} has no key {key:?}")]
    NoKey {
        /// The secret.
        secret: String,
        /// The field.
        key: String,
    },
    /// The store's file cannot be used.
    #[error("secrets file {}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl SecretError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoStore => {
                "add auth.secretStore to the component, with the name of a secret store component; \
                 without it, only a pod asks its cluster"
            }
            Self::UnknownStore { .. } => {
                "auth.secretStore is the name of a component of the type secretstores.local.env, \
                 secretstores.local.file or secretstores.kubernetes"
            }
            Self::UnsupportedStore { .. } => {
                "there are secretstores.local.env, secretstores.local.file and \
                 secretstores.kubernetes"
            }
            Self::Kubernetes(error) => error.hint(),
            Self::Forbidden(_) => "choose a variable whose name does not begin with DAPR_",
            Self::NotFound(_) => "a missing secret is never an empty value: put it into the store",
            Self::NoKey { .. } => "key names a field of the secret; without key its name counts",
            Self::File { .. } => "secretsFile is the path of a JSON file with one object in it",
        }
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none is loaded".into(),
        names => format!("there are: {}", names.join(", ")),
    }
}

impl SecretStores {
    /// Those that are there without a component: in a pod, its cluster's (as the reference has
    /// it), unless `--disable-builtin-k8s-secret-store` says otherwise. In a pod it is also the one
    /// that components mean when they name none.
    pub fn built_in(env: &Env, with_cluster: bool) -> Self {
        let mut stores = Self::default();
        if kubernetes::is_here(env) {
            stores.unnamed = Some(kubernetes::BUILT_IN);
            if with_cluster {
                let store = SecretStore::Kubernetes(Kubernetes::of_pod(env));
                stores.insert(kubernetes::BUILT_IN, store);
            }
        }
        stores
    }

    /// Adds a store.
    pub fn insert(&mut self, name: impl Into<String>, store: SecretStore) {
        self.stores.insert(name.into(), Arc::new(store));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.stores.is_empty()
    }

    /// The store of a name.
    pub fn find(&self, name: &str) -> Option<Arc<SecretStore>> {
        self.stores.get(name).cloned()
    }

    /// These, and of older ones those whose names are not among them.
    pub fn over(&self, older: &Self) -> Self {
        let mut stores = older.stores.clone();
        let newer = self.stores.iter();
        stores.extend(newer.map(|(name, store)| (name.clone(), Arc::clone(store))));
        Self {
            stores,
            unnamed: self.unnamed,
        }
    }

    /// The values of one secret, for a component in this namespace. May block.
    ///
    /// # Errors
    /// When they cannot be had; there is no such thing as an empty value for a missing secret.
    pub fn get(
        &self,
        store: Option<&str>,
        secret: &str,
        namespace: Option<&str>,
    ) -> Result<BTreeMap<String, Secret>, SecretError> {
        let name = store.or(self.unnamed).ok_or(SecretError::NoStore)?;
        let found = self.stores.get(name).ok_or_else(|| {
            let mut known: Vec<_> = self.stores.keys().cloned().collect();
            known.sort_unstable();
            SecretError::UnknownStore {
                name: name.to_owned(),
                known,
            }
        })?;
        found.check(name)?;
        found.secret(secret, namespace)
    }
}

impl SecretStore {
    /// A store from its type and its settings; `None` if the type is not one of a secret store.
    ///
    /// # Errors
    /// The setting that is missing, or a file that cannot be read. A cluster is not asked.
    pub fn open(
        type_name: &str,
        settings: &Properties,
        env: &Env,
    ) -> Result<Option<Self>, SecretError> {
        let lower = type_name.to_ascii_lowercase();
        let setting = |name: &str| {
            settings
                .get_any_case(name)
                .filter(|value| !value.is_empty())
        };
        let store = match lower.as_str() {
            "secretstores.local.env" => Self::Env {
                prefix: setting("prefix").unwrap_or_default().to_owned(),
                env: env.clone(),
            },
            "secretstores.local.file" => Self::File {
                path: setting("secretsFile").map(PathBuf::from).ok_or_else(|| {
                    SecretError::File {
                        path: PathBuf::new(),
                        reason: "missing local secrets file in metadata: set secretsFile".into(),
                    }
                })?,
                separator: setting("nestedSeparator").unwrap_or(":").to_owned(),
                multi_valued: setting("multiValued")
                    .is_some_and(bindery_contract::settings::truthy),
            },
            kubernetes::TYPE => Self::Kubernetes(Kubernetes::open(settings, env)?),
            lower if lower.starts_with("secretstores.") => Self::Unsupported {
                type_name: type_name.to_owned(),
            },
            _ => return Ok(None),
        };
        if let Self::File { .. } = &store {
            store.read_file()?;
        }
        Ok(Some(store))
    }

    /// Whether a secret of it may have several values; metadata tells (runtime §6.1).
    pub fn is_multi_valued(&self) -> bool {
        match self {
            Self::File { multi_valued, .. } => *multi_valued,
            Self::Kubernetes(_) => true,
            Self::Env { .. } | Self::Unsupported { .. } => false,
        }
    }

    /// What callers of the API get for a secret: a variable that is not set, or that they must not
    /// see, is an empty text (runtime §5). A namespace concerns a cluster only. May block.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn give(
        &self,
        store: &str,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<BTreeMap<String, Secret>, SecretError> {
        self.check(store)?;
        match self.secret(name, namespace) {
            Err(SecretError::NotFound(_) | SecretError::Forbidden(_)) if self.is_env() => {
                Ok(BTreeMap::from([(name.to_owned(), Secret::new(""))]))
            }
            given => given,
        }
    }

    /// All that callers of the API may get, by name. May block.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn give_all(
        &self,
        store: &str,
        namespace: Option<&str>,
    ) -> Result<BTreeMap<String, BTreeMap<String, Secret>>, SecretError> {
        self.check(store)?;
        match self {
            Self::Env { prefix, env } => {
                let variables = env.all().into_iter();
                let named = variables.filter(|(name, _)| !is_forbidden(name));
                let shown = named.filter_map(|(name, value)| {
                    let name = name.strip_prefix(&**prefix)?.to_owned();
                    let values = BTreeMap::from([(name.clone(), Secret::new(value))]);
                    (!name.is_empty()).then_some((name, values))
                });
                Ok(shown.collect())
            }
            Self::File {
                separator,
                multi_valued,
                ..
            } => {
                let all = secrets(&self.read_file()?, separator, *multi_valued);
                Ok(all.into_iter().collect())
            }
            Self::Kubernetes(kubernetes) => Ok(kubernetes.all(namespace)?),
            Self::Unsupported { .. } => Ok(BTreeMap::new()),
        }
    }

    /// Whether it is of a type that can be asked.
    fn check(&self, name: &str) -> Result<(), SecretError> {
        match self {
            Self::Unsupported { type_name } => Err(SecretError::UnsupportedStore {
                name: name.to_owned(),
                type_name: type_name.clone(),
            }),
            Self::Env { .. } | Self::File { .. } | Self::Kubernetes(_) => Ok(()),
        }
    }

    fn is_env(&self) -> bool {
        matches!(self, Self::Env { .. })
    }

    /// All values of one secret.
    fn secret(
        &self,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<BTreeMap<String, Secret>, SecretError> {
        match self {
            Self::Env { prefix, env } => {
                let variable = format!("{prefix}{name}");
                if is_forbidden(&variable) {
                    return Err(SecretError::Forbidden(variable));
                }
                let value = env.get(&variable).ok_or(SecretError::NotFound(variable))?;
                Ok(BTreeMap::from([(name.to_owned(), Secret::new(value))]))
            }
            Self::File {
                separator,
                multi_valued,
                ..
            } => {
                let mut secrets = secrets(&self.read_file()?, separator, *multi_valued);
                secrets
                    .remove(name)
                    .ok_or_else(|| SecretError::NotFound(name.to_owned()))
            }
            Self::Kubernetes(kubernetes) => kubernetes
                .secret(name, namespace)?
                .ok_or_else(|| SecretError::NotFound(name.to_owned())),
            Self::Unsupported { .. } => Ok(BTreeMap::new()),
        }
    }

    fn read_file(&self) -> Result<serde_json::Map<String, Value>, SecretError> {
        let Self::File { path, .. } = self else {
            return Ok(serde_json::Map::new());
        };
        let error = |reason: String| SecretError::File {
            path: path.clone(),
            reason,
        };
        let text = std::fs::read(path).map_err(|source| error(source.to_string()))?;
        match serde_json::from_slice(&text) {
            Ok(Value::Object(secrets)) => Ok(secrets),
            Ok(_) => Err(error("must be one JSON object".into())),
            // The library's message names line and column, and none of the content.
            Err(problem) => Err(error(format!(
                "is not JSON (line {}, column {})",
                problem.line(),
                problem.column()
            ))),
        }
    }
}

/// The secrets of a file by name.
fn secrets(
    file: &serde_json::Map<String, Value>,
    separator: &str,
    multi_valued: bool,
) -> HashMap<String, BTreeMap<String, Secret>> {
    let mut secrets = HashMap::new();
    if multi_valued {
        for (name, value) in file {
            let values = match value {
                Value::String(text) => BTreeMap::from([(name.clone(), Secret::new(text))]),
                Value::Object(inner) => flatten(inner, separator),
                _ => continue,
            };
            secrets.insert(name.clone(), values);
        }
    } else {
        for (name, value) in flatten(file, separator) {
            secrets.insert(name.clone(), BTreeMap::from([(name, value)]));
        }
    }
    secrets
}

/// Nested values by their path: `a:b:0`.
fn flatten(object: &serde_json::Map<String, Value>, separator: &str) -> BTreeMap<String, Secret> {
    fn walk(path: String, value: &Value, separator: &str, out: &mut BTreeMap<String, Secret>) {
        match value {
            Value::Object(inner) => {
                for (name, value) in inner {
                    walk(format!("{path}{separator}{name}"), value, separator, out);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    walk(format!("{path}{separator}{index}"), value, separator, out);
                }
            }
            Value::String(text) => drop(out.insert(path, Secret::new(text))),
            // The reference prints these as noise; a number's or a boolean's own text is what
            // whoever wrote it meant.
            Value::Number(_) | Value::Bool(_) => {
                drop(out.insert(path, Secret::new(value.to_string())));
            }
            Value::Null => {}
        }
    }
    let mut out = BTreeMap::new();
    for (name, value) in object {
        walk(name.clone(), value, separator, &mut out);
    }
    out
}
