//! A component's manifest: what its YAML document says (runtime §3.2).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::DeliveryOptions;
use bindery_contract::settings::{GoDuration, truthy};
use bindery_contract::{Order, Role};

use super::error::ResourceError;
use super::yaml::{Node, Position, Value};

/// How long an opening may take when nothing else is said.
const INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A component as its document describes it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file it is in.
    pub file: Arc<Path>,
    /// Where its document begins.
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
}

/// One item of `spec.metadata`.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Where the item begins.
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
pub fn header(document: &Node, file: &Arc<Path>) -> Result<Option<Header>, ResourceError> {
    let is = |key: &str, text: &str| {
        document
            .get(key)
            .and_then(Node::scalar)
            .is_some_and(|value| value == text)
    };
    if !is("apiVersion", "dapr.io/v1alpha1") || !is("kind", "Component") {
        return Ok(None);
    }
    let error = |at: Position, problem: String| Err(ResourceError::in_file(file, problem).at(at));
    let metadata = document.get("metadata");
    let Some((name_at, name)) = metadata
        .and_then(|metadata| metadata.get("name"))
        .and_then(|node| Some((node.at, node.scalar()?)))
        .filter(|(_, name)| !name.is_empty())
    else {
        let at = metadata.map_or(document.at, |metadata| metadata.at);
        return error(at, "the component has no metadata.name".into());
    };
    if name == "." || name == ".." || name.contains(['/', '%']) {
        let problem = format!("{name:?} cannot be a name: it must not contain / or %");
        return error(name_at, problem);
    }
    Ok(Some(Header {
        name,
        at: name_at,
        namespace: metadata
            .and_then(|metadata| metadata.get("namespace"))
            .and_then(Node::scalar),
        scopes: texts(document.get("scopes")).unwrap_or_default(),
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
) -> Result<Manifest, Vec<ResourceError>> {
    let mut errors = Vec::new();
    let mut problem = |at: Position, key: Option<&str>, problem: String| {
        let error = ResourceError::in_file(file, problem)
            .at(at)
            .of(&header.name);
        errors.push(match key {
            Some(key) => error.key(key),
            None => error,
        });
    };
    let spec = document.get("spec");
    let field = |key: &str| spec.and_then(|spec| spec.get(key));
    let type_at = field("type").map_or(document.at, |node| node.at);
    let type_name = field("type").and_then(Node::scalar).unwrap_or_default();
    if type_name.is_empty() {
        problem(
            type_at,
            None,
            "it has no spec.type, such as bindings.cron".into(),
        );
    }
    let mut items = Vec::new();
    match field("metadata").map(|node| (node, node.items())) {
        None => {}
        Some((node, None)) => {
            let found = node.kind();
            problem(
                node.at,
                None,
                format!("spec.metadata must be a list of name and value, not {found}"),
            );
        }
        Some((_, Some(nodes))) => {
            for node in nodes {
                match item(node) {
                    Ok(item) => items.push(item),
                    Err((key, at, text)) => problem(at, key.as_deref(), text),
                }
            }
        }
    }
    let mut delivery = DeliveryOptions::default();
    for (key, node) in delivery_settings(document, field("delivery")) {
        if let Err(text) = set_delivery(&mut delivery, &key, &node) {
            problem(node.at, Some(&format!("delivery.{key}")), text);
        }
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
        at: document.at,
        type_name,
        type_at,
        version: field("version").and_then(Node::scalar).unwrap_or_default(),
        items,
        secret_store: secret_store.filter(|store| !store.is_empty()),
        ignore_errors: field("ignoreErrors")
            .and_then(Node::scalar)
            .is_some_and(|text| truthy(&text)),
        init_timeout,
        delivery,
        name: header.name,
        namespace: header.namespace,
        scopes: header.scopes,
    })
}

/// One item: a value wins over `envRef`, that over `secretKeyRef` (runtime §3.2).
fn item(node: &Node) -> Result<Item, (Option<String>, Position, String)> {
    let Some(name) = node
        .get("name")
        .and_then(Node::scalar)
        .filter(|name| !name.is_empty())
    else {
        return Err((None, node.at, "an item of spec.metadata has no name".into()));
    };
    let text = |key: &str| {
        node.get(key)
            .and_then(Node::scalar)
            .filter(|text| !text.is_empty())
    };
    let value = node
        .get("value")
        .filter(|value| value.value != Value::Null)
        .map(value_text);
    let env = text("envRef").map(ItemSource::Env);
    let secret = node.get("secretKeyRef").map(|reference| {
        let part = |key: &str| {
            reference
                .get(key)
                .and_then(Node::scalar)
                .filter(|t| !t.is_empty())
        };
        let at = reference.at;
        match part("name") {
            Some(secret) => Ok(ItemSource::Secret {
                key: part("key").unwrap_or_else(|| secret.clone()),
                name: secret,
            }),
            None => Err((
                Some(name.clone()),
                at,
                "secretKeyRef has no name".to_owned(),
            )),
        }
    });
    let source = match (value, env, secret) {
        // A literal beside a secret is only its stand-in.
        (Some(value), None, None) => ItemSource::Value(value),
        (Some(value), Some(_), _) => ItemSource::Value(value),
        (_, None, Some(secret)) => secret?,
        (None, Some(env), _) => env,
        (None, None, None) => ItemSource::Value(String::new()),
    };
    Ok(Item {
        name,
        at: node.at,
        source,
    })
}

/// M1: a text as it is, anything else as its JSON text.
fn value_text(node: &Node) -> String {
    node.scalar().unwrap_or_else(|| node.to_json().to_string())
}

fn texts(node: Option<&Node>) -> Option<Vec<String>> {
    Some(node?.items()?.iter().filter_map(Node::scalar).collect())
}

/// What `spec.delivery` says, and the annotations `bindery.io/max-in-flight` and so on, because
/// a Kubernetes CRD drops fields that it does not know.
fn delivery_settings(document: &Node, delivery: Option<&Node>) -> Vec<(String, Node)> {
    let mut settings = Vec::new();
    let annotations = document
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"));
    if let Some(Value::Map(entries)) = annotations.map(|node| &node.value) {
        for (named, node) in entries {
            if let Some(name) = named.name.strip_prefix("bindery.io/") {
                settings.push((camel_case(name), node.clone()));
            }
        }
    }
    if let Some(Value::Map(entries)) = delivery.map(|node| &node.value) {
        settings.extend(
            entries
                .iter()
                .map(|(named, node)| (named.name.clone(), node.clone())),
        );
    }
    settings
}

fn camel_case(kebab: &str) -> String {
    let mut words = kebab.split('-');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}

fn set_delivery(options: &mut DeliveryOptions, key: &str, node: &Node) -> Result<(), String> {
    let text = node
        .scalar()
        .ok_or_else(|| format!("must be a value, not {}", node.kind()))?;
    let whole = |min: u32, max: u32| {
        let number = text
            .parse::<u32>()
            .ok()
            .filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| format!("{text:?} is not a whole number from {min} to {max}"))
    };
    let one_of = |words: &[&str]| format!("{text:?} is not one of {}", words.join(", "));
    match key {
        "maxInFlight" => options.max_in_flight = whole(1, 65_536)? as usize,
        "maxAttempts" => options.max_attempts = whole(0, u32::MAX)?,
        "order" => {
            options.order = match text.as_str() {
                "source" => Order::Source,
                "key" => Order::Key,
                "none" => Order::None,
                _ => return Err(one_of(&["source", "key", "none"])),
            }
        }
        "reply" => {
            options.reply = match text.as_str() {
                "on" | "true" => true,
                "off" | "false" => false,
                _ => return Err(one_of(&["on", "off"])),
            }
        }
        "replyFailure" => {
            options.reply_failure_nacks = match text.as_str() {
                "nack" => true,
                "log" => false,
                _ => return Err(one_of(&["log", "nack"])),
            }
        }
        "deadLetter" => return Err("dead letters are not supported yet".into()),
        _ => {
            return Err(String::from(
                "is not known; there are maxInFlight, maxAttempts, deadLetter, order, reply and \
                 replyFailure",
            ));
        }
    }
    Ok(())
}

impl Manifest {
    /// The sides that `direction` names, in any case; `None` without a `direction`
    /// (runtime §2.1). A value that names neither side means none.
    pub fn direction(&self) -> Option<Vec<Role>> {
        let item = self
            .items
            .iter()
            .find(|item| item.name.eq_ignore_ascii_case("direction"))?;
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

    /// An error about one of its settings.
    pub fn setting_error(&self, key: Option<&str>, problem: &str) -> ResourceError {
        let item = key.and_then(|key| {
            self.items
                .iter()
                .find(|item| item.name.eq_ignore_ascii_case(key))
        });
        let error = ResourceError::in_file(&self.file, problem)
            .at(item.map_or(self.type_at, |item| item.at))
            .of(&self.name);
        match key {
            Some(key) => error.key(key),
            None => error,
        }
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
