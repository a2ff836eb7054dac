//! Resources: YAML files become components (runtime §3, §5).
//!
//! Everything is read and checked before a port is opened: what can never work is an error here,
//! with its file and line, and nothing is half started.

mod configuration;
mod delivery;
mod error;
mod keys;
mod kubernetes;
mod live;
mod loader;
mod manifest;
mod members;
mod resiliency;
mod scopes;
mod secrets;
mod sources;
mod telemetry;
mod trip;
mod values;
pub(crate) mod yaml;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bindery_actors::Component;

pub use self::configuration::{Access, Configuration};
pub use self::error::{Finding, LoadError};
pub(crate) use self::keys::nearest;
pub use self::kubernetes::KubernetesError;
pub use self::live::{Changes, Live};
pub use self::loader::Scope;
pub(crate) use self::manifest::INIT_TIMEOUT;
pub use self::manifest::{Item, ItemSource, Manifest, clean_path};
pub use self::resiliency::Resiliency;
pub use self::scopes::SecretScopes;
pub use self::secrets::{SecretError, SecretStore, SecretStores};
pub use self::sources::{Place, Sources, inspect};
pub use self::telemetry::{
    ApiLogging, HttpMetrics, LabelRule, LoggingSpec, MetricsRule, MetricsSpec, OtelSpec,
    TracingSpec, ZipkinSpec,
};
pub use self::values::{Env, ManifestSettings, Surroundings};
pub use self::yaml::Position;

/// What a set of folders came to.
#[derive(Default)]
pub struct Resources {
    /// The bindings, in the order of their files.
    pub components: Vec<Component>,
    /// What each of them came from.
    pub versions: HashMap<String, Version>,
    /// What protects their calls and events.
    pub resiliency: Resiliency,
    /// The secret stores.
    pub stores: Arc<SecretStores>,
    /// The same for the metadata, which lists them first.
    pub listed: Vec<Listed>,
    /// What is wrong and keeps nothing from starting: parts of policies.
    pub mistakes: Vec<Finding>,
    /// What is no error and probably a mistake all the same.
    pub warnings: Vec<Finding>,
}

impl Resources {
    /// What the metadata lists besides the bindings.
    pub fn inventory(&self) -> Inventory {
        Inventory {
            listed: self.listed.clone(),
            resiliencies: self.resiliency.names.clone(),
            errors: Vec::new(),
        }
    }
}

/// What a component came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The file.
    pub file: Arc<Path>,
    /// A number that stands for all that it depends on.
    pub fingerprint: u64,
}

/// What the metadata lists besides the bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Components of other kinds.
    pub listed: Vec<Listed>,
    /// The names of the Resiliency documents.
    pub resiliencies: Vec<String>,
    /// What is wrong in the files now, while the last good versions go on.
    pub errors: Vec<String>,
}

/// A component that is no binding and is listed all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `metadata.name`.
    pub name: String,
    /// `spec.type`.
    pub type_name: String,
    /// `spec.version`.
    pub version: String,
    /// What it can do.
    pub capabilities: Vec<&'static str>,
}

/// What files came to, and everything that is wrong with them.
#[derive(Default)]
pub struct Inspection {
    /// What can work.
    pub resources: Resources,
    /// What can never work.
    pub errors: Vec<Finding>,
    /// What can never work and is ignored, because the component says so.
    pub ignored: Vec<Finding>,
    /// How many files were looked at.
    pub files: usize,
    /// Files without a single byte: somebody may be about to write them.
    pub empty: Vec<Arc<Path>>,
    /// Their texts, so that findings can be shown with their lines.
    pub texts: HashMap<Arc<Path>, String>,
}
