//! Resources: YAML files become components (runtime §3, §5).
//!
//! Everything is read and checked before a port is opened: what can never work is an error here,
//! with its file and line, and nothing is half started.

mod error;
mod manifest;
mod secrets;
mod values;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bindery_actors::app::InputName;
use bindery_actors::{Component, ComponentId};
use bindery_contract::{Registration, Role};

pub use self::error::{LoadError, ResourceError};
pub use self::manifest::{Manifest, clean_path};
pub use self::secrets::{SecretError, SecretStore, SecretStores};
pub use self::values::{Env, ManifestSettings, Surroundings};
use crate::catalogue::{Catalogue, Lookup};

/// What a set of folders came to.
#[derive(Default)]
pub struct Resources {
    /// The bindings, in the order of their files.
    pub components: Vec<Component>,
    /// What else is listed in the metadata: the secret stores, first.
    pub listed: Vec<Listed>,
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

/// Loads all folders.
///
/// # Errors
/// A folder that cannot be read, or all resources that can never work.
pub fn load(
    folders: &[PathBuf],
    catalogue: &Catalogue,
    surroundings: &Surroundings,
) -> Result<Resources, LoadError> {
    let mut loader = Loader {
        catalogue,
        surroundings,
        errors: Vec::new(),
    };
    let mut manifests = Vec::new();
    for folder in folders {
        for file in yaml_files(folder)? {
            loader.read_file(&file, &mut manifests);
        }
    }
    let resources = loader.build(manifests);
    if loader.errors.is_empty() {
        Ok(resources)
    } else {
        Err(LoadError::Resources(loader.errors))
    }
}

/// The YAML files directly in a folder, in the order of their names.
fn yaml_files(folder: &Path) -> Result<Vec<Arc<Path>>, LoadError> {
    let error = |source: &std::io::Error| LoadError::Folder {
        path: folder.to_owned(),
        reason: match source.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".into(),
            _ => source.to_string(),
        },
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|source| error(&source))? {
        let path = entry.map_err(|source| error(&source))?.path();
        if !path.is_file() {
            continue;
        }
        let extension = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
        if extension.is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(Arc::from(path));
        } else {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            tracing::warn!(
                target: "dapr.runtime.loader",
                "A non-YAML Component file {name} was detected, it will not be loaded"
            );
        }
    }
    files.sort();
    Ok(files)
}

struct Loader<'a> {
    catalogue: &'a Catalogue,
    surroundings: &'a Surroundings,
    errors: Vec<ResourceError>,
}

impl Loader<'_> {
    /// Adds the components of one file that concern this app.
    fn read_file(&mut self, file: &Arc<Path>, accepted: &mut Vec<Manifest>) {
        let text = match std::fs::read(file) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(_) => {
                    return self
                        .errors
                        .push(ResourceError::in_file(file, "is not UTF-8 text"));
                }
            },
            Err(source) => return self.errors.push(ResourceError::in_file(file, source)),
        };
        for document in yaml::documents(&text) {
            let node = match yaml::parse(&document) {
                Ok(node) => node,
                Err(error) => {
                    self.errors
                        .push(ResourceError::in_file(file, &error).at(error.at));
                    continue;
                }
            };
            let header = match manifest::header(&node, file) {
                Ok(Some(header)) => header,
                Ok(None) => continue,
                Err(error) => {
                    self.errors.push(error);
                    continue;
                }
            };
            if !self.is_in_namespace(header.namespace.as_deref()) {
                continue;
            }
            // Before the scopes, as in the reference: a namesake that is not for this app is
            // harmless before the one that is, and a mistake after it (runtime §3.3).
            if let Some(first) = accepted.iter().find(|first| first.name == header.name) {
                let (name, at) = (header.name.clone(), header.at);
                let problem = format!(
                    "duplicate definition of Component name {name} with existing {} in {}:{}",
                    first.display(),
                    first.file.display(),
                    first.at.line,
                );
                self.errors
                    .push(ResourceError::in_file(file, problem).at(at).of(&name));
                continue;
            }
            let app = &self.surroundings.app_id;
            if !header.scopes.is_empty() && !header.scopes.iter().any(|scope| scope == app) {
                continue;
            }
            match manifest::manifest(&node, header, file) {
                Ok(manifest) => accepted.push(manifest),
                Err(errors) => self.errors.extend(errors),
            }
        }
    }

    fn is_in_namespace(&self, namespace: Option<&str>) -> bool {
        match (self.surroundings.env.non_empty("NAMESPACE"), namespace) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        }
    }

    /// Secret stores first, then the rest in the order of the files (runtime §3.4).
    fn build(&mut self, manifests: Vec<Manifest>) -> Resources {
        let is_store = |manifest: &Manifest| {
            manifest
                .type_name
                .to_ascii_lowercase()
                .starts_with("secretstores.")
        };
        let (stores, others): (Vec<_>, Vec<_>) = manifests.into_iter().partition(is_store);
        let mut resources = Resources::default();
        let mut opened = SecretStores::default();
        for manifest in stores {
            let so_far = Arc::new(std::mem::take(&mut opened));
            let store = self.secret_store(&manifest, &so_far);
            opened = Arc::into_inner(so_far).unwrap_or_default();
            match store {
                Ok(store) => {
                    let capabilities = if store.is_multi_valued() {
                        vec!["MULTIPLE_KEY_VALUES_PER_SECRET"]
                    } else {
                        Vec::new()
                    };
                    resources.listed.push(Listed {
                        name: manifest.name.clone(),
                        type_name: manifest.type_name.clone(),
                        version: manifest.version.clone(),
                        capabilities,
                    });
                    opened.insert(&manifest.name, store);
                }
                Err(error) => self.refuse(&manifest, error),
            }
        }
        let stores = Arc::new(opened);
        for manifest in others {
            let manifest = Arc::new(manifest);
            match self.component(&manifest, &stores) {
                Ok(component) => resources.components.extend(component),
                Err(error) => self.refuse(&manifest, error),
            }
        }
        resources
    }

    /// An error ends the start, unless the component says that it must not.
    fn refuse(&mut self, manifest: &Manifest, error: ResourceError) {
        if manifest.ignore_errors {
            tracing::error!(
                target: "dapr.runtime.processor",
                "Ignoring error processing component: process component {} error: {error}",
                manifest.name
            );
        } else {
            self.errors.push(error);
        }
    }

    fn secret_store(
        &self,
        manifest: &Manifest,
        so_far: &Arc<SecretStores>,
    ) -> Result<SecretStore, ResourceError> {
        let settings = ManifestSettings::new(
            Arc::new(manifest.clone()),
            Arc::clone(so_far),
            self.surroundings.clone(),
        );
        let properties = settings.properties()?;
        match SecretStore::open(&manifest.type_name, &properties, &self.surroundings.env) {
            Ok(Some(store)) => {
                if matches!(store, SecretStore::Unsupported { .. }) {
                    unsupported(manifest);
                }
                Ok(store)
            }
            Ok(None) => Err(manifest.setting_error(None, "is no secret store")),
            Err(error) => Err(manifest.setting_error(None, &error.to_string())),
        }
    }

    /// A binding; nothing for a component of another building block.
    fn component(
        &self,
        manifest: &Arc<Manifest>,
        stores: &Arc<SecretStores>,
    ) -> Result<Option<Component>, ResourceError> {
        let registration = match self.catalogue.find(&manifest.type_name, &manifest.version) {
            Lookup::Found(registration) => registration,
            Lookup::OtherBuildingBlock => {
                unsupported(manifest);
                return Ok(None);
            }
            Lookup::Unknown(problem) => {
                let problem = format!("couldn't find binding {}: {problem}", manifest.display());
                return Err(ResourceError::in_file(&manifest.file, problem)
                    .at(manifest.type_at)
                    .of(&manifest.name));
            }
        };
        let settings = ManifestSettings::new(
            Arc::clone(manifest),
            Arc::clone(stores),
            self.surroundings.clone(),
        );
        let roles = roles(manifest, &registration);
        if !roles.is_empty() {
            check(manifest, &registration, &settings)?;
        }
        let direction = manifest.direction();
        Ok(Some(Component {
            id: ComponentId::next(&manifest.display()),
            name: manifest.name.as_str().into(),
            type_name: manifest.type_name.clone(),
            version: manifest.version.clone(),
            registration,
            roles,
            settings: Arc::new(settings),
            init_timeout: manifest.init_timeout,
            ignore_errors: manifest.ignore_errors,
            input_name: InputName {
                component: manifest.name.as_str().into(),
                route: manifest.route().into(),
            },
            subscribed: direction.is_some_and(|roles| roles.contains(&Role::Input)),
            delivery: manifest.delivery.clone(),
        }))
    }
}

fn unsupported(manifest: &Manifest) {
    tracing::warn!(
        target: "dapr.runtime.processor",
        "component {} is of a type that is not supported and is left out: Bindery serves \
         bindings, and the secret stores secretstores.local.env and secretstores.local.file",
        manifest.display()
    );
}

/// The sides to open: those the type has and `direction` wants.
fn roles(manifest: &Manifest, registration: &Registration) -> Vec<Role> {
    let wanted = manifest.direction();
    let roles: Vec<Role> = [Role::Input, Role::Output]
        .into_iter()
        .filter(|role| registration.supports(*role))
        .filter(|role| wanted.as_ref().is_none_or(|wanted| wanted.contains(role)))
        .collect();
    if roles.is_empty() {
        tracing::warn!(
            target: "dapr.runtime.processor.binding",
            "component {}: its direction names no side that {} has, so it does nothing",
            manifest.display(), registration.type_name
        );
    }
    roles
}

/// Decodes the settings once, to find what can never work before anything is opened.
fn check(
    manifest: &Manifest,
    registration: &Registration,
    settings: &ManifestSettings,
) -> Result<(), ResourceError> {
    let properties = settings.properties()?;
    let prepared = registration
        .prepare(&properties)
        .map_err(|error| manifest.setting_error(error.key.as_deref(), &error.problem))?;
    for unknown in prepared.unknown {
        let hint = match unknown.did_you_mean {
            Some(name) => format!("; did you mean \"{name}\"?"),
            None => String::new(),
        };
        let problem = format!(
            "is not a setting of {} and is ignored{hint}",
            registration.type_name
        );
        tracing::warn!(
            target: "dapr.runtime.processor.binding",
            "{}", manifest.setting_error(Some(&unknown.key), &problem)
        );
    }
    Ok(())
}
