//! Components that are written in code instead of YAML.

use std::path::Path;
use std::sync::Arc;

use bindery_actors::DeliveryOptions;

use crate::resources::{Item, ItemSource, Manifest, Position};

/// A component, written in code: what a YAML file would say.
///
/// ```
/// use bindery::Component;
///
/// let files = Component::new("files", "bindings.localstorage").set("rootPath", "./orders");
/// let tick = Component::new("tick", "bindings.cron").set("schedule", "@every 5s").input();
/// # let _ = (files, tick);
/// ```
#[derive(Clone, Debug)]
pub struct Component {
    manifest: Manifest,
}

impl Component {
    /// A component with this name (`metadata.name`) and type (`spec.type`), without settings.
    pub fn new(name: impl Into<String>, type_name: impl Into<String>) -> Self {
        let name = name.into();
        let at = Position::default();
        Self {
            manifest: Manifest {
                // What an error names in the place of a file.
                file: Arc::from(Path::new("<code>")),
                at,
                name,
                namespace: None,
                type_name: type_name.into(),
                type_at: at,
                version: "v1".into(),
                items: Vec::new(),
                secret_store: None,
                scopes: Vec::new(),
                ignore_errors: false,
                init_timeout: crate::resources::INIT_TIMEOUT,
                delivery: DeliveryOptions::default(),
                dead_letter_at: None,
            },
        }
    }

    /// Sets a setting. Templates such as `{appID}` are filled in, as in YAML.
    pub fn set(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.item(name, ItemSource::Value(value.into()))
    }

    /// Takes a setting from a secret store: a component of a `secretstores.…` type.
    pub fn secret(
        mut self,
        name: impl Into<String>,
        store: impl Into<String>,
        secret: impl Into<String>,
    ) -> Self {
        self.manifest.secret_store = Some(store.into());
        let secret = secret.into();
        let source = ItemSource::Secret {
            key: secret.clone(),
            name: secret,
        };
        self.item(name, source)
    }

    /// Opens the input only, without asking the app whether it wants the events.
    pub fn input(self) -> Self {
        self.set("direction", "input")
    }

    /// Opens the output only.
    pub fn output(self) -> Self {
        self.set("direction", "output")
    }

    /// How its events are delivered (`spec.delivery`).
    pub fn delivery(mut self, options: DeliveryOptions) -> Self {
        self.manifest.delivery = options;
        self
    }

    fn item(mut self, name: impl Into<String>, source: ItemSource) -> Self {
        self.manifest.items.push(Item {
            name: name.into(),
            name_at: Position::default(),
            at: Position::default(),
            source,
        });
        self
    }

    pub(super) fn into_manifest(self) -> Manifest {
        self.manifest
    }
}
