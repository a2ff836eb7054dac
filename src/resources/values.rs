//! Where the value of a setting comes from in the end: environment, secret, templates
//! (runtime §3.2, §5, M2).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bindery_actors::SettingsSource;
use bindery_contract::request::unquote;
use bindery_contract::settings::{Properties, Secret};
use bindery_contract::{BoxFuture, Cause};

use super::error::Finding;
use super::manifest::{Item, ItemSource, Manifest};
use super::secrets::{SecretError, SecretStores};

/// What the sidecar knows of its surroundings.
#[derive(Clone)]
pub struct Surroundings {
    /// `--app-id`.
    pub app_id: String,
    /// The environment.
    pub env: Env,
    /// Whether a pod has its cluster's secret store without a component.
    pub cluster_store: bool,
}

impl Surroundings {
    /// Those of an app.
    pub fn new(app_id: impl Into<String>, env: Env) -> Self {
        Self {
            app_id: app_id.into(),
            env,
            cluster_store: true,
        }
    }
}

/// The environment variables: the process's own, or a test's.
#[derive(Clone)]
pub enum Env {
    /// The process's own, read anew each time.
    Process,
    /// A fixed set.
    Fixed(Arc<HashMap<String, String>>),
}

impl std::fmt::Debug for Env {
    /// Values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}

impl Env {
    /// The value of a variable, if it is set.
    pub fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::Process => {
                std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
            }
            Self::Fixed(variables) => variables.get(name).cloned(),
        }
    }

    /// All variables whose names and values are text.
    pub fn all(&self) -> Vec<(String, String)> {
        match self {
            Self::Process => std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            Self::Fixed(variables) => {
                let variables = variables.iter();
                variables
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            }
        }
    }

    /// The value of a variable, if it is set and not empty.
    pub fn non_empty(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

/// Whether a variable must not be shown to a component: those that carry the sidecar's own
/// tokens and settings.
pub fn is_forbidden(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    name.is_empty() || upper == "APP_API_TOKEN" || upper.starts_with("DAPR_") || name.contains(' ')
}

/// Why a value cannot be had, and what to do about it.
struct Unresolved {
    problem: String,
    hint: &'static str,
}

impl Unresolved {
    fn new(problem: impl std::fmt::Display, hint: &'static str) -> Self {
        Self {
            problem: problem.to_string(),
            hint,
        }
    }
}

/// The secrets of one component that were fetched: each is fetched once (runtime §5).
#[derive(Default)]
struct Fetched<'a>(HashMap<&'a str, BTreeMap<String, Secret>>);

/// Gives the settings of one manifest, resolved anew each time.
#[derive(Clone)]
pub struct ManifestSettings {
    manifest: Arc<Manifest>,
    stores: Arc<SecretStores>,
    surroundings: Surroundings,
}

impl ManifestSettings {
    /// The settings of `manifest`.
    pub fn new(
        manifest: Arc<Manifest>,
        stores: Arc<SecretStores>,
        surroundings: Surroundings,
    ) -> Self {
        Self {
            manifest,
            stores,
            surroundings,
        }
    }

    /// Resolves all of them. May block, where a secret store does.
    ///
    /// # Errors
    /// The first that cannot be resolved: never an empty value in its place.
    pub fn properties(&self) -> Result<Properties, Finding> {
        let mut properties = Properties::new();
        let mut fetched = Fetched::default();
        for item in &self.manifest.items {
            let value = self
                .value(item, &mut fetched)
                .and_then(|value| self.expand(&item.name, value))
                .map_err(|error| self.finding(item, &error))?;
            match item.source {
                ItemSource::Secret { .. } => properties.set_secret(&item.name, value),
                ItemSource::Value(_) | ItemSource::Env(_) => properties.set(&item.name, value),
            }
        }
        Ok(properties)
    }

    /// A number that stands for what the manifest comes to: it changes with everything that a
    /// running component depends on, secrets included, and with nothing else (runtime §3.5). May
    /// block, where a secret store does.
    ///
    /// # Errors
    /// The first value that cannot be resolved.
    pub fn fingerprint(&self) -> Result<u64, Finding> {
        let mut hasher = DefaultHasher::new();
        let manifest = &*self.manifest;
        (&manifest.name, &manifest.type_name, &manifest.version).hash(&mut hasher);
        (&manifest.secret_store, &manifest.scopes).hash(&mut hasher);
        (manifest.ignore_errors, manifest.init_timeout).hash(&mut hasher);
        format!("{:?}", manifest.delivery).hash(&mut hasher);
        let mut fetched = Fetched::default();
        for item in &manifest.items {
            // Before templates are filled in: each {uuid} is another one every time.
            let value = self
                .value(item, &mut fetched)
                .map_err(|error| self.finding(item, &error))?;
            (&item.name, value).hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    fn finding(&self, item: &Item, error: &Unresolved) -> Finding {
        Finding::in_file(&self.manifest.file, &error.problem)
            .at(item.at)
            .of(&self.manifest.name)
            .key(item.name.as_str())
            .hint(error.hint)
    }

    fn value<'a>(
        &'a self,
        item: &'a Item,
        fetched: &mut Fetched<'a>,
    ) -> Result<String, Unresolved> {
        match &item.source {
            ItemSource::Value(value) => Ok(value.clone()),
            ItemSource::Env(name) => self.env_value(name).map(unquoted),
            ItemSource::Secret { name, key } => self
                .secret(name, key, fetched)
                .map(unquoted)
                .map_err(|error| Unresolved::new(&error, error.hint())),
        }
    }

    fn secret<'a>(
        &'a self,
        name: &'a str,
        key: &str,
        fetched: &mut Fetched<'a>,
    ) -> Result<String, SecretError> {
        let values = match fetched.0.entry(name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let store = self.manifest.secret_store.as_deref();
                let namespace = self.manifest.namespace.as_deref();
                entry.insert(self.stores.get(store, name, namespace)?)
            }
        };
        let value = values.get(key).ok_or_else(|| SecretError::NoKey {
            secret: name.to_owned(),
            key: key.to_owned(),
        })?;
        Ok(value.expose().to_owned())
    }

    /// Whether a secret store has to be asked, which may block.
    fn has_secrets(&self) -> bool {
        let mut sources = self.manifest.items.iter().map(|item| &item.source);
        sources.any(|source| matches!(source, ItemSource::Secret { .. }))
    }

    fn env_value(&self, name: &str) -> Result<String, Unresolved> {
        let env = &self.surroundings.env;
        let listed = env
            .non_empty("DAPR_ENV_KEYS")
            .is_none_or(|keys| keys.split(' ').any(|key| key == name));
        if is_forbidden(name) || !listed {
            return Err(Unresolved::new(
                format!("the environment variable {name:?} is not allowed in a component"),
                "APP_API_TOKEN, DAPR_… and names with a blank never are; where DAPR_ENV_KEYS is \
                 set, only those that it lists are",
            ));
        }
        env.get(name).ok_or_else(|| {
            let problem = format!("the environment variable {name:?} is not set");
            Unresolved::new(problem, "set it, if only to nothing")
        })
    }

    /// M2: each `{uuid}` another one; the names of the surroundings.
    fn expand(&self, property: &str, mut value: String) -> Result<String, Unresolved> {
        while value.contains("{uuid}") {
            value = value.replacen("{uuid}", &uuid::Uuid::new_v4().to_string(), 1);
        }
        if value.contains("{podName}") {
            let pod = self.surroundings.env.get("POD_NAME").ok_or_else(|| {
                let problem = format!(
                    "failed to parse metadata: property {property} refers to {{podName}} but \
                     podName is not set"
                );
                Unresolved::new(problem, "set the environment variable POD_NAME")
            })?;
            value = value.replace("{podName}", &pod);
        }
        if value.contains("{namespace}") {
            let namespace = self
                .surroundings
                .env
                .get("NAMESPACE")
                .unwrap_or("default".into());
            let full = format!("{namespace}.{}", self.surroundings.app_id);
            value = value.replace("{namespace}", &full);
        }
        Ok(value.replace("{appID}", &self.surroundings.app_id))
    }
}

/// A value from outside that is itself a quoted text loses its quotes (runtime §3.2).
fn unquoted(value: String) -> String {
    match unquote(value.as_bytes()) {
        std::borrow::Cow::Borrowed(_) => value,
        std::borrow::Cow::Owned(bytes) => String::from_utf8(bytes).unwrap_or(value),
    }
}

impl SettingsSource for ManifestSettings {
    fn resolve(&self) -> BoxFuture<'_, Result<Properties, Cause>> {
        Box::pin(async {
            if !self.has_secrets() {
                return self.properties().map_err(Cause::from);
            }
            let settings = self.clone();
            let resolving = tokio::task::spawn_blocking(move || settings.properties());
            resolving.await?.map_err(Cause::from)
        })
    }
}
