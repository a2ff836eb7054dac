//! From files to components: what every document comes to, and what is wrong with it.

use std::path::Path;
use std::sync::Arc;

use bindery_actors::app::InputName;
use bindery_actors::{Component, ComponentId};
use bindery_contract::settings::{Field, Properties};
use bindery_contract::{Registration, Role, Source};

use super::configuration::Configuration;
use super::error::Finding;
use super::manifest::{self, Manifest};
use super::secrets::{SecretStore, SecretStores};
use super::sources::File;
use super::values::{ManifestSettings, Surroundings};
use super::yaml;
use super::{Inspection, Listed, Version, keys, kubernetes, resiliency};
use crate::catalogue::{Catalogue, Lookup};

/// Which documents count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that a sidecar with this app id and namespace would take.
    App,
    /// All of them, whatever app and namespace they are for.
    All,
}

/// Turns files into components, and collects what is wrong with them on the way.
pub(super) struct Loader<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) surroundings: &'a Surroundings,
    /// What the sidecar is told as a whole; nothing where no sidecar is meant.
    pub(super) configuration: Option<&'a Configuration>,
    pub(super) scope: Scope,
    pub(super) inspection: Inspection,
}

impl Loader<'_> {
    pub(super) fn inspect(mut self, files: Vec<File>, code: Vec<Manifest>) -> Inspection {
        self.inspection.files = files.len();
        let mut manifests = Vec::new();
        for file in files {
            self.read_file(file, &mut manifests);
        }
        for manifest in code {
            if let Some(first) = manifests.iter().find(|first| first.name == manifest.name) {
                let finding = duplicate(&manifest.file, &manifest.name, first);
                self.error(finding);
            } else {
                manifests.push(manifest);
            }
        }
        let names: Vec<String> = manifests.iter().map(|one| one.name.clone()).collect();
        manifests.retain(|manifest| !self.is_denied(manifest));
        self.build(manifests);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let dangling = self.inspection.resources.resiliency.dangling(&names);
        self.warn_all(dangling);
        self.inspection
    }

    /// Left out because `spec.components.deny` says so (runtime §3.3).
    fn is_denied(&mut self, manifest: &Manifest) -> bool {
        let is_denied = self
            .configuration
            .is_some_and(|it| it.denies(&manifest.type_name, &manifest.version));
        if is_denied {
            let problem = format!(
                "component '{}' cannot be loaded because components of type '{}' are not allowed",
                manifest.name,
                manifest.display()
            );
            let finding = Finding::in_file(&manifest.file, problem).at(manifest.type_at);
            self.warn_all([finding.hint("spec.components.deny of the Configuration names it")]);
        }
        is_denied
    }

    /// Adds the components of one file that concern this app.
    fn read_file(&mut self, file: File, accepted: &mut Vec<Manifest>) {
        let (file, bytes) = match file {
            File::Text(name, text) => (name, text),
            File::Path(path) => match std::fs::read(&path) {
                Ok(bytes) => (path, bytes),
                Err(source) => return self.error(Finding::in_file(&path, source)),
            },
        };
        let Ok(text) = String::from_utf8(bytes) else {
            let finding = Finding::in_file(&file, "is not UTF-8 text");
            return self.error(finding.hint("save the file as UTF-8"));
        };
        if text.is_empty() {
            self.inspection.empty.push(Arc::clone(&file));
        }
        for document in yaml::documents(&text) {
            let read = yaml::parse(&document).map_err(|error| {
                let finding = Finding::in_file(&file, &error).at(error.at);
                finding.hint(error.hint())
            });
            match read.and_then(|node| self.read_document(&file, &node, accepted)) {
                Ok(()) => {}
                Err(finding) => self.error(finding),
            }
        }
        self.inspection.texts.insert(file, text);
    }

    fn read_document(
        &mut self,
        file: &Arc<Path>,
        node: &yaml::Node,
        accepted: &mut Vec<Manifest>,
    ) -> Result<(), Finding> {
        if resiliency::is_resiliency(node) {
            self.read_resiliency(file, node);
            return Ok(());
        }
        let Some(header) = manifest::header(node, file)? else {
            self.warn_all(keys::lookalike(node, file));
            return Ok(());
        };
        if self.scope == Scope::App && !self.is_in_namespace(header.namespace.as_deref()) {
            return Ok(());
        }
        // Before the scopes, as in the reference: a namesake that is not for this app is
        // harmless before the one that is, and a mistake after it (runtime §3.3).
        if let Some(first) = self.namesake(&header, accepted) {
            return Err(duplicate(file, &header.name, first).at(header.at));
        }
        if !self.is_for_us(&header.scopes) {
            return Ok(());
        }
        let name = header.name.clone();
        self.warn_all(keys::unknown(node, file, &name));
        match manifest::manifest(node, header, file) {
            Ok(manifest) => accepted.push(manifest),
            Err(errors) => self.inspection.errors.extend(errors),
        }
        Ok(())
    }

    /// Policies, unless they are for other apps. What is wrong with them keeps nothing from
    /// starting (runtime §4.1).
    fn read_resiliency(&mut self, file: &Arc<Path>, node: &yaml::Node) {
        if !self.is_for_us(&manifest::scopes(node)) {
            return;
        }
        let resources = &mut self.inspection.resources;
        let (wrong, odd) = resources.resiliency.read(node, file);
        resources.mistakes.extend(wrong);
        resources.warnings.extend(odd);
    }

    fn is_for_us(&self, scopes: &[String]) -> bool {
        let app = &self.surroundings.app_id;
        self.scope == Scope::All || scopes.is_empty() || scopes.contains(app)
    }

    /// A component of the same name that was accepted. Where all apps count, two of one name are
    /// a mistake only if one app gets both.
    fn namesake<'m>(
        &self,
        header: &manifest::Header,
        accepted: &'m [Manifest],
    ) -> Option<&'m Manifest> {
        let meet = |first: &Manifest| {
            self.scope == Scope::App
                || first.scopes.is_empty()
                || header.scopes.is_empty()
                || first.scopes.iter().any(|app| header.scopes.contains(app))
        };
        accepted
            .iter()
            .find(|first| first.name == header.name && meet(first))
    }

    fn is_in_namespace(&self, namespace: Option<&str>) -> bool {
        match (self.surroundings.env.non_empty("NAMESPACE"), namespace) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        }
    }

    fn error(&mut self, finding: Finding) {
        self.inspection.errors.push(finding);
    }

    fn warn_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.inspection.resources.warnings.extend(findings);
    }

    /// Secret stores first, then the rest in the order of the files (runtime §3.4).
    fn build(&mut self, manifests: Vec<Manifest>) {
        let is_store = |manifest: &Manifest| {
            manifest
                .type_name
                .to_ascii_lowercase()
                .starts_with("secretstores.")
        };
        let (stores, others): (Vec<_>, Vec<_>) = manifests.into_iter().partition(is_store);
        let Surroundings {
            env, cluster_store, ..
        } = self.surroundings;
        let mut opened = SecretStores::built_in(env, *cluster_store);
        self.list_built_in(&opened, &stores);
        for manifest in stores {
            let so_far = Arc::new(std::mem::take(&mut opened));
            let store = self.secret_store(&manifest, &so_far);
            opened = Arc::into_inner(so_far).unwrap_or_default();
            match store {
                Ok(store) => {
                    self.inspection
                        .resources
                        .listed
                        .push(listed(&manifest, &store));
                    opened.insert(&manifest.name, store);
                }
                Err(error) => self.refuse(&manifest, error),
            }
        }
        let stores = Arc::new(opened);
        self.inspection.resources.stores = Arc::clone(&stores);
        let others: Vec<Arc<Manifest>> = others.into_iter().map(Arc::new).collect();
        for manifest in &others {
            match self.component(manifest, &stores) {
                Ok(component) => self.inspection.resources.components.extend(component),
                Err(errors) => {
                    for error in errors {
                        self.refuse(manifest, error);
                    }
                }
            }
        }
        for manifest in &others {
            self.check_dead_letter(manifest, &others);
        }
    }

    /// The metadata of a sidecar lists the store that is there without a component, unless there
    /// is one of its name.
    fn list_built_in(&mut self, stores: &SecretStores, manifests: &[Manifest]) {
        let is_there = !stores.is_empty() && self.configuration.is_some();
        if is_there && !manifests.iter().any(|one| one.name == kubernetes::BUILT_IN) {
            self.inspection.resources.listed.push(Listed {
                name: kubernetes::BUILT_IN.into(),
                type_name: kubernetes::TYPE.into(),
                version: "v1".into(),
                capabilities: vec![SEVERAL_VALUES],
            });
        }
    }

    /// An event must not find out that its dead letter does not exist.
    fn check_dead_letter(&mut self, manifest: &Manifest, all: &[Arc<Manifest>]) {
        let Some(name) = &manifest.delivery.dead_letter else {
            return;
        };
        let components = &self.inspection.resources.components;
        let find = |name: &str| components.iter().find(|one| *one.name == *name);
        let about = |problem: String| {
            let at = manifest.dead_letter_at.unwrap_or(manifest.type_at);
            let finding = Finding::in_file(&manifest.file, problem).at(at);
            finding.of(&manifest.name).key("delivery.deadLetter")
        };
        let takes_letters = |one: &Component| {
            let mut operations = one.registration.operations.iter();
            one.roles.contains(&Role::Output) && operations.any(|one| one.name == "create")
        };
        match find(name) {
            Some(output) if takes_letters(output) => {}
            Some(output) => {
                let display = output.display();
                let finding = about(format!("{display} has no output with the operation create"));
                let hint = "name an output that has, such as bindings.localstorage or a queue";
                return self.refuse(manifest, finding.hint(hint));
            }
            // What is wrong with it is told already.
            None if all.iter().any(|one| one.name == *name) => return,
            None => {
                let names: Vec<&str> = components
                    .iter()
                    .filter(|one| takes_letters(one))
                    .map(|one| &*one.name)
                    .collect();
                let finding = about(format!("no output is named {name:?}"));
                let finding = match keys::nearest(name, &names) {
                    Some(near) => finding.hint(format!("did you mean \"{near}\"?")),
                    None if names.is_empty() => finding.hint("add a component for it"),
                    None => finding.hint(format!("there are {}", names.join(", "))),
                };
                return self.refuse(manifest, finding);
            }
        }
        let is_log = find(&manifest.name)
            .is_some_and(|component| component.registration.input == Some(Source::Log));
        let names = manifest
            .items
            .iter()
            .map(|item| item.name.to_ascii_lowercase());
        let is_bounded = manifest.delivery.max_attempts > 0
            || names.into_iter().any(|name| name.ends_with("maxretries"))
            || self
                .inspection
                .resources
                .resiliency
                .bounds_attempts(&manifest.name);
        if is_log && !is_bounded {
            let problem = "it never gets an event, because nothing ends their attempts";
            let hint = "set spec.delivery.maxAttempts, or a retry policy with maxRetries";
            let finding = about(problem.into()).hint(hint);
            self.warn_all([finding]);
        }
    }

    /// An error ends the start, unless the component says that it must not.
    fn refuse(&mut self, manifest: &Manifest, error: Finding) {
        if manifest.ignore_errors {
            self.inspection.ignored.push(error);
        } else {
            self.error(error);
        }
    }

    fn secret_store(
        &mut self,
        manifest: &Manifest,
        so_far: &Arc<SecretStores>,
    ) -> Result<SecretStore, Finding> {
        let settings = ManifestSettings::new(
            Arc::new(manifest.clone()),
            Arc::clone(so_far),
            self.surroundings.clone(),
        );
        let properties = settings.properties()?;
        match SecretStore::open(&manifest.type_name, &properties, &self.surroundings.env) {
            Ok(Some(store)) => {
                if matches!(store, SecretStore::Unsupported { .. }) {
                    self.warn_all([unsupported(manifest)]);
                }
                Ok(store)
            }
            Ok(None) => Err(manifest.setting_error(None, "is no secret store")),
            Err(error) => Err(manifest.setting_error(None, &error).hint(error.hint())),
        }
    }

    /// A binding; nothing for a component of another building block.
    fn component(
        &mut self,
        manifest: &Arc<Manifest>,
        stores: &Arc<SecretStores>,
    ) -> Result<Option<Component>, Vec<Finding>> {
        let registration = match self.catalogue.find(&manifest.type_name, &manifest.version) {
            Lookup::Found(registration) => registration,
            Lookup::Awaited {
                registration,
                problem,
                hint,
            } => {
                self.warn_all([not_found(manifest, &problem, hint)]);
                registration
            }
            Lookup::OtherBuildingBlock => {
                self.warn_all([unsupported(manifest)]);
                return Ok(None);
            }
            Lookup::Unknown { problem, hint } => {
                return Err(vec![not_found(manifest, &problem, hint)]);
            }
        };
        let settings = ManifestSettings::new(
            Arc::clone(manifest),
            Arc::clone(stores),
            self.surroundings.clone(),
        );
        let version = Version {
            file: Arc::clone(&manifest.file),
            fingerprint: settings.fingerprint().map_err(|error| vec![error])?,
        };
        let roles = self.roles(manifest, &registration);
        if !roles.is_empty() {
            let properties = settings.properties().map_err(|error| vec![error])?;
            self.warn_all(remarks(manifest, &registration, &properties));
            let errors = errors(manifest, &registration, properties);
            if !errors.is_empty() {
                return Err(errors);
            }
        }
        let direction = manifest.direction();
        let versions = &mut self.inspection.resources.versions;
        versions.insert(manifest.name.clone(), version);
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

    /// The sides to open: those the type has and `direction` wants.
    fn roles(&mut self, manifest: &Manifest, registration: &Registration) -> Vec<Role> {
        let wanted = manifest.direction();
        let roles: Vec<Role> = [Role::Input, Role::Output]
            .into_iter()
            .filter(|role| registration.supports(*role))
            .filter(|role| wanted.as_ref().is_none_or(|wanted| wanted.contains(role)))
            .collect();
        if roles.is_empty() {
            let sides = sides(registration);
            let problem = format!(
                "names no side that {} has, so the component does nothing",
                registration.type_name
            );
            let finding = manifest.setting_error(Some("direction"), problem);
            self.warn_all([finding.hint(format!("write {sides}, or leave direction out"))]);
        }
        roles
    }
}

fn duplicate(file: &Arc<Path>, name: &str, first: &Manifest) -> Finding {
    let problem = format!(
        "duplicate definition of Component name {name} with existing {} in {}:{}",
        first.display(),
        first.file.display(),
        first.at.line,
    );
    Finding::in_file(file, problem)
        .of(name)
        .hint("give one of them another name")
}

fn sides(registration: &Registration) -> &'static str {
    let has = |role| registration.supports(role);
    match (has(Role::Input), has(Role::Output)) {
        (true, true) => "\"input, output\"",
        (true, false) => "input",
        _ => "output",
    }
}

/// What a store can do whose secrets may have several values.
const SEVERAL_VALUES: &str = "MULTIPLE_KEY_VALUES_PER_SECRET";

fn listed(manifest: &Manifest, store: &SecretStore) -> Listed {
    let capabilities = if store.is_multi_valued() {
        vec![SEVERAL_VALUES]
    } else {
        Vec::new()
    };
    Listed {
        name: manifest.name.clone(),
        type_name: manifest.type_name.clone(),
        version: manifest.version.clone(),
        capabilities,
    }
}

fn not_found(manifest: &Manifest, problem: &str, hint: String) -> Finding {
    let problem = format!("couldn't find binding {}: {problem}", manifest.display());
    let finding = Finding::in_file(&manifest.file, problem).at(manifest.type_at);
    finding.of(&manifest.name).hint(hint)
}

fn unsupported(manifest: &Manifest) -> Finding {
    let problem = format!(
        "component {} is of a type that is not supported and is left out",
        manifest.display()
    );
    Finding::in_file(&manifest.file, problem)
        .at(manifest.type_at)
        .hint(
            "Bindery serves bindings, and the secret stores secretstores.local.env, \
             secretstores.local.file and secretstores.kubernetes",
        )
}

/// What can never work, found before anything is opened. The decoder stops at the first, so each
/// is taken out and the rest decoded again.
fn errors(
    manifest: &Manifest,
    registration: &Registration,
    mut properties: Properties,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut taken_out: Vec<String> = Vec::new();
    while let Err(error) = registration.prepare(&properties) {
        let key = error.key.as_deref();
        // Missing only because it was taken out: that was told already.
        if key.is_some_and(|key| taken_out.iter().any(|out| out.eq_ignore_ascii_case(key))) {
            break;
        }
        let finding = manifest.setting_error(key, &error.problem);
        let hint = error
            .hint
            .clone()
            .or_else(|| documentation(registration, key?));
        findings.push(match hint {
            Some(hint) => finding.hint(hint),
            None => finding,
        });
        match key {
            Some(key) if properties.remove_any_case(key) => taken_out.push(key.to_owned()),
            _ => break,
        }
    }
    findings
}

/// What is no error and probably a mistake.
fn remarks(
    manifest: &Manifest,
    registration: &Registration,
    properties: &Properties,
) -> Vec<Finding> {
    let remarks = registration.remarks(properties).into_iter().map(|remark| {
        let finding = manifest.setting_remark(&remark.key, &remark.problem);
        finding.hint(remark.hint.unwrap_or_else(|| {
            let type_name = registration.type_name;
            format!("bindery components {type_name} lists the settings")
        }))
    });
    remarks.collect()
}

/// What a setting is for, as a hint.
fn documentation(registration: &Registration, key: &str) -> Option<String> {
    let fields = (registration.settings)();
    let named = |field: &&Field| {
        let mut names = std::iter::once(&field.name).chain(&field.aliases);
        names.any(|name| name.eq_ignore_ascii_case(key))
    };
    let field = fields.iter().find(named)?;
    Some(format!(
        "{}: {}",
        field.name,
        field.description.replace('\n', " ")
    ))
}
