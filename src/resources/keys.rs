//! Keys that mean nothing, and documents that are almost a component: ignored, as in the
//! reference, and probably a mistake.

use std::path::Path;
use std::sync::Arc;

use super::error::Finding;
use super::yaml::{Named, Node, Value};

const DOCUMENT: &[&str] = &["apiVersion", "kind", "metadata", "spec", "auth", "scopes"];
/// What Kubernetes adds to an object's metadata counts as known too.
const METADATA: &[&str] = &[
    "name",
    "namespace",
    "labels",
    "annotations",
    "creationTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
const SPEC: &[&str] = &[
    "type",
    "version",
    "metadata",
    "ignoreErrors",
    "initTimeout",
    "delivery",
];
const ITEM: &[&str] = &["name", "value", "secretKeyRef", "envRef"];
const SECRET: &[&str] = &["name", "key"];
const AUTH: &[&str] = &["secretStore"];

/// The kinds of Dapr's resources.
const KINDS: &[&str] = &[
    "Component",
    "Configuration",
    "HTTPEndpoint",
    "MCPServer",
    "Resiliency",
    "Subscription",
    "WorkflowAccessPolicy",
];

/// The keys of a component's document that mean nothing.
pub(super) fn unknown(document: &Node, file: &Arc<Path>, component: &str) -> Vec<Finding> {
    let mut found: Vec<(&Named, &'static [&'static str])> = Vec::new();
    collect(Some(document), DOCUMENT, &mut found);
    collect(document.get("metadata"), METADATA, &mut found);
    collect(document.get("auth"), AUTH, &mut found);
    let spec = document.get("spec");
    collect(spec, SPEC, &mut found);
    let items = spec.and_then(|spec| spec.get("metadata")?.items());
    for item in items.unwrap_or_default() {
        collect(Some(item), ITEM, &mut found);
        collect(item.get("secretKeyRef"), SECRET, &mut found);
    }
    let finding = |(named, known)| meaningless(named, known, file).of(component);
    found.into_iter().map(finding).collect()
}

/// The keys of one map that mean nothing.
pub(super) fn unknown_keys(
    node: Option<&Node>,
    known: &'static [&'static str],
    file: &Arc<Path>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    collect(node, known, &mut found);
    let finding = |(named, known)| meaningless(named, known, file);
    found.into_iter().map(finding).collect()
}

fn meaningless(named: &Named, known: &[&str], file: &Arc<Path>) -> Finding {
    let problem = format!("the key {:?} means nothing here and is ignored", named.name);
    let finding = Finding::in_file(file, problem).at(named.at);
    finding.hint(match nearest(&named.name, known) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("there are {}", known[..known.len().min(6)].join(", ")),
    })
}

fn collect<'a>(
    node: Option<&'a Node>,
    known: &'static [&'static str],
    found: &mut Vec<(&'a Named, &'static [&'static str])>,
) {
    let Some(Value::Map(entries)) = node.map(|node| &node.value) else {
        return;
    };
    let unknown = entries.iter().map(|(named, _)| named).filter(|named| {
        !known
            .iter()
            .any(|key| key.eq_ignore_ascii_case(&named.name))
    });
    found.extend(unknown.map(|named| (named, known)));
}

/// A document that was probably meant to be a component.
pub(super) fn lookalike(document: &Node, file: &Arc<Path>) -> Option<Finding> {
    let field = |key: &str| {
        document
            .get(key)
            .and_then(|node| Some((node, node.scalar()?)))
    };
    let (version, kind) = (field("apiVersion"), field("kind"));
    let is_ours = |text: &str| text == "dapr.io/v1alpha1";
    match (&version, &kind) {
        (Some((_, version)), Some((at, kind))) if is_ours(version) => {
            if KINDS.contains(&kind.as_str()) {
                return None;
            }
            let problem = format!("{kind:?} is no kind of resource, and the document is left out");
            let hint = match nearest(kind, KINDS) {
                Some(kind) => format!("did you mean {kind}?"),
                None => format!("there are {}", KINDS.join(", ")),
            };
            Some(Finding::in_file(file, problem).at(at.at).hint(hint))
        }
        (other, Some((at, kind))) if nearest(kind, &["Component"]).is_some() => {
            let problem = match other {
                Some((_, version)) => {
                    format!("apiVersion is {version:?}, so the document is left out")
                }
                None => "it has no apiVersion, so the document is left out".into(),
            };
            let at = other.as_ref().map_or(at.at, |(node, _)| node.at);
            let hint = "write apiVersion: dapr.io/v1alpha1";
            Some(Finding::in_file(file, problem).at(at).hint(hint))
        }
        _ => None,
    }
}

/// The name that is nearest, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    names
        .iter()
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}
