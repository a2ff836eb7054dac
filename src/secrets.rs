//! The secrets API, whatever the protocol: which store, may the caller, what is in it (runtime
//! §6.5). Unlike a component, a caller gets an empty text for a variable that is not set, as the
//! reference gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bindery_contract::settings::Secret;

use crate::resources::{SecretError, SecretScopes, SecretStore, SecretStores};

/// The values of one secret, by their keys.
pub(crate) type Values = BTreeMap<String, Secret>;

/// What callers say besides of which store and which secret: the metadata of their requests.
#[derive(Default)]
pub(crate) struct Asked {
    /// Of a cluster.
    pub(crate) namespace: Option<String>,
}

/// What may be given out now.
pub(crate) struct Secrets {
    stores: ArcSwap<SecretStores>,
    scopes: ArcSwap<SecretScopes>,
}

/// Why nothing is given out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Withheld {
    /// No secret store at all.
    #[error("secret store is not configured")]
    NotConfigured,
    /// None of this name.
    #[error("failed finding secret store with key {0}")]
    NoStore(String),
    /// The Configuration says no.
    #[error("access denied by policy to get {key:?} from {store:?}")]
    Denied {
        /// The secret.
        key: String,
        /// Its store.
        store: String,
    },
    /// The store does not have it, or does not work.
    #[error("failed getting secret with key {key} from secret store {store}: {reason}")]
    Failed {
        /// The secret.
        key: String,
        /// Its store.
        store: String,
        /// Why.
        reason: SecretError,
    },
    /// The store does not work.
    #[error("failed getting secrets from secret store {store}: {reason}")]
    AllFailed {
        /// The store.
        store: String,
        /// Why.
        reason: SecretError,
    },
    /// The sidecar ends.
    #[error("the sidecar is stopping")]
    Stopping,
}

impl Withheld {
    /// The code that clients look at.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured => "ERR_SECRET_STORES_NOT_CONFIGURED",
            Self::NoStore(_) => "ERR_SECRET_STORE_NOT_FOUND",
            Self::Denied { .. } => "ERR_PERMISSION_DENIED",
            Self::Failed { .. } | Self::AllFailed { .. } | Self::Stopping => "ERR_SECRET_GET",
        }
    }
}

impl Secrets {
    /// These stores, within these scopes.
    pub(crate) fn new(stores: Arc<SecretStores>, scopes: SecretScopes) -> Self {
        Self {
            stores: ArcSwap::new(stores),
            scopes: ArcSwap::from_pointee(scopes),
        }
    }

    /// The stores from now on.
    pub(crate) fn set_stores(&self, stores: Arc<SecretStores>) {
        self.stores.store(stores);
    }

    /// The scopes from now on.
    pub(crate) fn set_scopes(&self, scopes: SecretScopes) {
        self.scopes.store(Arc::new(scopes));
    }

    /// The values of one secret.
    ///
    /// # Errors
    /// When there are none, or the caller must not see them.
    pub(crate) async fn get(
        &self,
        store: &str,
        key: &str,
        asked: &Asked,
    ) -> Result<Values, Withheld> {
        let found = self.store(store)?;
        if !self.scopes.load().allow(store, key) {
            return Err(Withheld::Denied {
                key: key.to_owned(),
                store: store.to_owned(),
            });
        }
        let (store, key, namespace) = (store.to_owned(), key.to_owned(), asked.namespace.clone());
        // It may be in a file, or in a cluster.
        let getting = tokio::task::spawn_blocking(move || {
            let given = found.give(&store, &key, namespace.as_deref());
            given.map_err(|reason| Withheld::Failed { key, store, reason })
        });
        getting.await.unwrap_or(Err(Withheld::Stopping))
    }

    /// All secrets of a store that the caller may see, by their names.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(crate) async fn all(
        &self,
        store: &str,
        asked: &Asked,
    ) -> Result<BTreeMap<String, Values>, Withheld> {
        let found = self.store(store)?;
        let scopes = self.scopes.load_full();
        let (store, namespace) = (store.to_owned(), asked.namespace.clone());
        let given = move |store: &str| found.give_all(store, namespace.as_deref());
        let getting = tokio::task::spawn_blocking(move || match given(&store) {
            Ok(mut all) => {
                all.retain(|key, _| scopes.allow(&store, key));
                Ok(all)
            }
            Err(reason) => Err(Withheld::AllFailed { store, reason }),
        });
        getting.await.unwrap_or(Err(Withheld::Stopping))
    }

    fn store(&self, name: &str) -> Result<Arc<SecretStore>, Withheld> {
        let stores = self.stores.load();
        if stores.is_empty() {
            return Err(Withheld::NotConfigured);
        }
        let found = stores.find(name);
        found.ok_or_else(|| Withheld::NoStore(name.to_owned()))
    }
}
