//! A component's manifest: what its YAML document says (runtime §3.2).

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::DeliveryOptions;
use bindery_contract::Role;
use bindery_contract::settings::{GoDuration, truthy};

use super::delivery;
use super::error::Finding;
use super::yaml::{Node, Position, Value};

/// What an item of `spec.metadata` looks like, for whoever got it wrong.
const ITEM_HINT: &str = "write a list of items: a name, and a value, an envRef or a secretKeyRef \
                         with name and key";

/// How long an opening may take when nothing else is said.
pub(crate) const INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A component as its document describes it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file it is in.
    pub file: Arc<Path>,
    /// Where its name stands.
    pub at: Position,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: Option<String>,
    /// `spec.type`, as written.
    pub type_name: String,
    /// Where that is.
    pub type_at: Position,
    /// `spec.version`, as written.
    pub version: String,
    /// `spec.metadata`, in order.
    pub items: Vec<Item>,
    /// `auth.secretStore`.
    pub secret_store: Option<String>,
    /// `scopes`: the app ids it is for; empty means all.
    pub scopes: Vec<String>,
    /// `spec.ignoreErrors`.
    pub ignore_errors: bool,
    /// `spec.initTimeout`.
    pub init_timeout: Duration,
    /// `spec.delivery`, and the annotations that mean the same.
    pub delivery: DeliveryOptions,
    /// Where the name of its dead letter stands.
    pub dead_letter_at: Option<Position>,
}

/// One item of `spec.metadata`.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub name_at: Position,
    /// Where its value stands, or what it comes from.
    pub at: Position,
    /// Where its value comes from.
    pub source: ItemSource,
}

/// Where a setting's value comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum ItemSource {
    /// It is written here.
    Value(String),
    /// From an environment variable.
    Env(String),
    /// From a secret store.
    Secret {
        /// The secret.
        name: String,
        /// The field of it; the secret's own name when nothing is said.
        key: String,
    },
}

impl std::fmt::Debug for ItemSource {
    /// A value may be a password that somebody wrote down.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(***)"),
            Self::Env(name) => write!(f, "Env({name})"),
            Self::Secret { name, key } => write!(f, "Secret({name}, {key})"),
        }
    }
}

/// What has to be known of a document before it is known whether it concerns us.
#[derive(Clone, Debug)]
pub struct Header {
    /// `metadata.name`.
    pub name: String,
    /// Where that is.
    pub at: Position,
    /// `metadata.namespace`.
    pub namespace: Option<String>,
    /// `scopes`.
    pub scopes: Vec<String>,
}

/// Reads the header of a document, if it is a component's: `apiVersion` and `kind` must be
/// exactly right (runtime §3.1).
///
/// # Errors
/// When it is a component without a usable name.
pub fn header(document: &Node, file: &Arc<Path>) -> Result<Option<Header>, Finding> {
    let is = |key: &str, text: &str| {
        document
            .get(key)
            .and_then(Node::scalar)
            .is_some_and(|value| value == text)
    };
    if !is("apiVersion", "dapr.io/v1alpha1") || !is("kind", "Component") {
        return Ok(None);
    }
    let error = |at: Position, problem: String, hint: &str| {
        Err(Finding::in_file(file, problem).at(at).hint(hint))
    };
    let metadata = document.get("metadata");
    let Some((name_at, name)) = metadata
        .and_then(|metadata| metadata.get("name"))
        .and_then(|node| Some((node.at, node.scalar()?)))
        .filter(|(_, name)| !name.is_empty())
    else {
        let at = metadata.map_or(document.at, |metadata| metadata.at);
        let problem = "the component has no metadata.name".into();
        return error(
            at,
            problem,
            "apps call it by its name: add metadata: {name: …}",
        );
    };
    if name == "." || name == ".." || name.contains(['/', '%']) {
        let problem = format!("{name:?} cannot be a name");
        return error(name_at, problem, "a name must not contain / or %");
    }
    Ok(Some(Header {
        name,
        at: name_at,
        namespace: metadata
            .and_then(|metadata| metadata.get("namespace"))
            .and_then(Node::scalar),
        scopes: scopes(document),
    }))
}

/// Reads the rest of a component's document.
///
/// # Errors
/// Everything that can never work.
pub fn manifest(
    document: &Node,
    header: Header,
    file: &Arc<Path>,
) -> Result<Manifest, Vec<Finding>> {
    let mut errors = Vec::new();
    let about = |at: Position, problem: String, hint: &str| {
        Finding::in_file(file, problem)
            .at(at)
            .of(&header.name)
            .hint(hint)
    };
    let spec = document.get("spec");
    let field = |key: &str| spec.and_then(|spec| spec.get(key));
    let type_at = field("type").map_or(document.at, |node| node.at);
    let type_name = field("type").and_then(Node::scalar).unwrap_or_default();
    if type_name.is_empty() {
        let hint = "a type looks like bindings.cron";
        errors.push(about(type_at, "it has no spec.type".into(), hint));
    }
    let mut items = Vec::new();
    match field("metadata").map(|node| (node, node.items())) {
        None => {}
        Some((node, None)) => {
            let problem = format!("spec.metadata must be a list, not {}", node.kind());
            errors.push(about(node.at, problem, ITEM_HINT));
        }
        Some((_, Some(nodes))) => {
            for node in nodes {
                match item(node) {
                    Ok(item) => items.push(item),
                    Err((at, problem)) => errors.push(about(at, problem, ITEM_HINT)),
                }
            }
        }
    }
    let read = delivery::read(document, field("delivery"));
    for (key, at, problem) in read.wrong {
        let finding = about(at, problem, delivery::HINT);
        errors.push(finding.key(format!("delivery.{key}")));
    }
    let init_timeout = field("initTimeout")
        .and_then(Node::scalar)
        .and_then(|text| GoDuration::parse(&text).ok()?.positive())
        .unwrap_or(INIT_TIMEOUT);
    let secret_store = document
        .get("auth")
        .and_then(|auth| auth.get("secretStore"))
        .and_then(Node::scalar);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Manifest {
        file: Arc::clone(file),
        at: header.at,
        type_name,
        type_at,
        version: field("version").and_then(Node::scalar).unwrap_or_default(),
        items,
        secret_store: secret_store.filter(|store| !store.is_empty()),
        ignore_errors: field("ignoreErrors")
            .and_then(Node::scalar)
            .is_some_and(|text| truthy(&text)),
        init_timeout,
        delivery: read.options,
        dead_letter_at: read.dead_letter_at,
        name: header.name,
        namespace: header.namespace,
        scopes: header.scopes,
    })
}

/// One item: a value wins over `envRef`, that over `secretKeyRef` (runtime §3.2).
fn item(node: &Node) -> Result<Item, (Position, String)> {
    let text = |key: &str| {
        let node = node.get(key)?;
        let text = node.scalar().filter(|text| !text.is_empty())?;
        Some((node.at, text))
    };
    let Some((name_at, name)) = text("name") else {
        return Err((node.at, "an item of spec.metadata has no name".into()));
    };
    let value = node
        .get("value")
        .filter(|value| value.value != Value::Null)
        .map(|value| (value.at, ItemSource::Value(value_text(value))));
    let env = text("envRef").map(|(at, name)| (at, ItemSource::Env(name)));
    let secret = node
        .get("secretKeyRef")
        .map(|reference| secret(&name, reference));
    let (at, source) = match (value, env, secret) {
        // A literal beside a secret is only its stand-in.
        (Some(value), None, None) => value,
        (Some(value), Some(_), _) => value,
        (_, None, Some(secret)) => secret?,
        (None, Some(env), _) => env,
        (None, None, None) => (name_at, ItemSource::Value(String::new())),
    };
    Ok(Item {
        name,
        name_at,
        at,
        source,
    })
}

fn secret(item: &str, reference: &Node) -> Result<(Position, ItemSource), (Position, String)> {
    let part = |key: &str| {
        reference
            .get(key)
            .and_then(Node::scalar)
            .filter(|text| !text.is_empty())
    };
    let Some(name) = part("name") else {
        let problem = format!("the secretKeyRef of \"{item}\" has no name");
        return Err((reference.at, problem));
    };
    let source = ItemSource::Secret {
        key: part("key").unwrap_or_else(|| name.clone()),
        name,
    };
    Ok((reference.at, source))
}

/// M1: a text as it is, anything else as its JSON text.
fn value_text(node: &Node) -> String {
    node.scalar().unwrap_or_else(|| node.to_json().to_string())
}

/// The app ids that a document is for; none means all.
pub fn scopes(document: &Node) -> Vec<String> {
    let items = document.get("scopes").and_then(Node::items);
    let items = items.unwrap_or_default().iter();
    items.filter_map(Node::scalar).collect()
}

impl Manifest {
    /// The sides that `direction` names, in any case; `None` without a `direction`
    /// (runtime §2.1). A value that names neither side means none.
    pub fn direction(&self) -> Option<Vec<Role>> {
        let item = self.item("direction")?;
        let ItemSource::Value(value) = &item.source else {
            return None;
        };
        let words: Vec<String> = value
            .split(',')
            .map(|word| word.trim().to_ascii_lowercase())
            .collect();
        let named = |role: Role| words.iter().any(|word| word == role.as_str());
        Some(
            [Role::Input, Role::Output]
                .into_iter()
                .filter(|role| named(*role))
                .collect(),
        )
    }

    /// The path of its events (runtime §2.3): the name, or what an item named exactly `route`
    /// says, cleaned.
    pub fn route(&self) -> String {
        let item = self.items.iter().find(|item| item.name == "route");
        match item.map(|item| &item.source) {
            Some(ItemSource::Value(route)) if !route.is_empty() => clean_path(route),
            _ => clean_path(&self.name),
        }
    }

    /// `<name> (<type>/<version>)`.
    pub fn display(&self) -> String {
        match self.version.as_str() {
            "" => format!("{} ({})", self.name, self.type_name),
            version => format!("{} ({}/{version})", self.name, self.type_name),
        }
    }

    /// What is wrong with the value of one of its settings, or with all of it.
    pub fn setting_error(&self, key: Option<&str>, problem: impl Display) -> Finding {
        let item = key.and_then(|key| self.item(key));
        let at = item.map_or(self.type_at, |item| item.at);
        let finding = self.finding(at, problem);
        match key {
            Some(key) => finding.key(key),
            None => finding,
        }
    }

    /// What is odd about one of its settings as such.
    pub fn setting_remark(&self, key: &str, problem: impl Display) -> Finding {
        let at = self.item(key).map_or(self.type_at, |item| item.name_at);
        self.finding(at, problem).key(key)
    }

    fn finding(&self, at: Position, problem: impl Display) -> Finding {
        Finding::in_file(&self.file, problem).at(at).of(&self.name)
    }

    fn item(&self, key: &str) -> Option<&Item> {
        let named = |exactly: bool| {
            self.items
                .iter()
                .find(|item| item.name == key || (!exactly && item.name.eq_ignore_ascii_case(key)))
        };
        named(true).or_else(|| named(false))
    }
}

/// An absolute path without empty, `.` and `..` segments and without a slash at its end.
pub fn clean_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}
