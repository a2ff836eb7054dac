//! `kind: Resiliency`: policies, and what they protect (runtime §4).
//!
//! What is wrong here never ends a start, as in the reference: it is told, and what is right
//! counts.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::{BreakerSettings, Directions, Policies, Retry, Rules};
use bindery_contract::settings::{GoDuration, RetryPolicy, RetrySettings};

use super::error::Finding;
use super::keys::{nearest, unknown_keys};
use super::trip;
use super::yaml::{Named, Node, Position, Value};

/// How long a breaker stays open when nothing is said.
const OPEN: Duration = Duration::from_secs(60);

/// What all Resiliency documents together came to. Where two of them name a policy or a target
/// alike, the later one counts.
#[derive(Default)]
pub struct Resiliency {
    /// The names of the documents.
    pub names: Vec<String>,
    /// Their namespaces, in the same order.
    pub namespaces: Vec<String>,
    timeouts: HashMap<String, Duration>,
    retries: HashMap<String, Retry>,
    breakers: HashMap<String, BreakerSettings>,
    targets: HashMap<String, Target>,
    /// The documents as they were read, to tell whether anything has changed.
    documents: Vec<(Arc<Path>, Node)>,
}

/// `targets.components.<name>`.
struct Target {
    file: Arc<Path>,
    at: Position,
    inbound: References,
    outbound: References,
}

/// The policies of one direction, by name.
#[derive(Default)]
struct References {
    timeout: Option<Reference>,
    retry: Option<Reference>,
    breaker: Option<Reference>,
}

/// A policy's name, and where that stands.
type Reference = (Position, String);

/// Whether a document is one of these; `apiVersion` does not count (runtime §4.1).
pub(super) fn is_resiliency(document: &Node) -> bool {
    let kind = document.get("kind").and_then(Node::scalar);
    kind.as_deref() == Some("Resiliency")
}

impl Resiliency {
    /// Takes a document in. Returns what is wrong with it, and what is odd.
    pub(super) fn read(
        &mut self,
        document: &Node,
        file: &Arc<Path>,
    ) -> (Vec<Finding>, Vec<Finding>) {
        let of = |key: &str| document.get("metadata").and_then(|node| node.get(key));
        let text = |key: &str| of(key).and_then(Node::scalar).unwrap_or_default();
        let (name, namespace) = (text("name"), text("namespace"));
        let mut reader = Reader {
            file,
            document: &name,
            wrong: Vec::new(),
        };
        let spec = document.get("spec");
        let policies = spec.and_then(|spec| spec.get("policies"));
        let kind = |key: &str| policies.and_then(|policies| policies.get(key));
        reader.each(kind("timeouts"), "timeout", &mut self.timeouts, timeout);
        reader.each(kind("retries"), "retry", &mut self.retries, retry);
        reader.each(
            kind("circuitBreakers"),
            "circuit breaker",
            &mut self.breakers,
            breaker,
        );
        let components = spec.and_then(|spec| spec.get("targets")?.get("components"));
        for (named, node) in entries(components) {
            let references = |key: &str| node.get(key).map(references).unwrap_or_default();
            let target = Target {
                file: Arc::clone(file),
                at: named.at,
                inbound: references("inbound"),
                outbound: references("outbound"),
            };
            self.targets.insert(named.name.clone(), target);
        }
        let wrong = reader.wrong;
        self.names.push(name);
        self.namespaces.push(namespace);
        self.documents.push((Arc::clone(file), document.clone()));
        (wrong, unknown(document, file))
    }

    /// The name and the namespace of each document.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self.names.iter().zip(&self.namespaces);
        names.map(|(name, namespace)| (name.as_str(), namespace.as_str()))
    }

    /// Whether it says the same; where it stands does not count.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.specs().eq(other.specs())
    }

    fn specs(&self) -> impl Iterator<Item = Option<&Node>> {
        self.documents.iter().map(|(_, node)| node.get("spec"))
    }

    /// Whether a document of it stands in this file.
    pub(super) fn is_in(&self, file: &Path) -> bool {
        self.documents.iter().any(|(path, _)| **path == *file)
    }

    /// What a sidecar applies; nothing when nothing is configured.
    pub fn policies(&self) -> Option<Policies> {
        let defaults = Directions {
            inbound: self.default_rules("Inbound"),
            outbound: self.default_rules("Outbound"),
        };
        if self.targets.is_empty() && defaults.inbound.is_empty() && defaults.outbound.is_empty() {
            return None;
        }
        let targets = self.targets.iter().map(|(component, target)| {
            let directions = Directions {
                inbound: self.rules(&target.inbound),
                outbound: self.rules(&target.outbound),
            };
            (component.clone(), directions)
        });
        let last = |of: &[String]| of.last().cloned().unwrap_or_default();
        let policies = Policies::new(targets.collect(), defaults);
        Some(policies.from_document(last(&self.names), last(&self.namespaces)))
    }

    fn rules(&self, references: &References) -> Rules {
        Rules {
            timeout: named(references.timeout.as_ref(), &self.timeouts),
            retry: named(references.retry.as_ref(), &self.retries),
            breaker: named(references.breaker.as_ref(), &self.breakers),
        }
    }

    /// The first of the default names that there is (runtime §4.2).
    fn default_rules(&self, direction: &str) -> Rules {
        Rules {
            timeout: by_default(direction, "Timeout", &self.timeouts),
            retry: by_default(direction, "Retry", &self.retries),
            breaker: by_default(direction, "CircuitBreaker", &self.breakers),
        }
    }

    /// Whether something bounds the attempts of a component's events.
    pub(super) fn bounds_attempts(&self, component: &str) -> bool {
        let rules = match self.targets.get(component) {
            Some(target) => self.rules(&target.inbound),
            None => self.default_rules("Inbound"),
        };
        rules.retry.is_some_and(|retry| {
            retry.settings.max_retries >= 0 || retry.settings.policy == RetryPolicy::Exponential
        })
    }

    /// Names that nothing has: of policies, and of components.
    pub(super) fn dangling(&self, components: &[&str]) -> Vec<Finding> {
        let mut found = Vec::new();
        for (component, target) in &self.targets {
            // A check of policies alone cannot tell.
            if !components.is_empty() && !components.contains(&component.as_str()) {
                let problem =
                    format!("no component is named {component:?}, so this protects nothing");
                let finding = Finding::in_file(&target.file, problem).at(target.at);
                found.push(match nearest(component, components) {
                    Some(near) => finding.hint(format!("did you mean \"{near}\"?")),
                    None => finding,
                });
            }
            for references in [&target.inbound, &target.outbound] {
                let file = &target.file;
                found.extend(unresolved(
                    file,
                    "timeout",
                    references.timeout.as_ref(),
                    &self.timeouts,
                ));
                found.extend(unresolved(
                    file,
                    "retry",
                    references.retry.as_ref(),
                    &self.retries,
                ));
                found.extend(unresolved(
                    file,
                    "circuit breaker",
                    references.breaker.as_ref(),
                    &self.breakers,
                ));
            }
        }
        found
    }
}

fn named<T: Clone>(name: Option<&Reference>, policies: &HashMap<String, T>) -> Option<T> {
    policies.get(&name?.1).cloned()
}

fn by_default<T: Clone>(direction: &str, kind: &str, policies: &HashMap<String, T>) -> Option<T> {
    [
        format!("DefaultBindingComponent{direction}{kind}Policy"),
        format!("DefaultComponent{direction}{kind}Policy"),
        format!("DefaultComponent{kind}Policy"),
        format!("Default{kind}Policy"),
    ]
    .iter()
    .find_map(|name| policies.get(name).cloned())
}

fn unresolved<T>(
    file: &Arc<Path>,
    kind: &str,
    reference: Option<&Reference>,
    policies: &HashMap<String, T>,
) -> Option<Finding> {
    let (at, name) = reference?;
    if policies.contains_key(name) {
        return None;
    }
    let problem = format!("no {kind} policy is named {name:?}, so there is none");
    let finding = Finding::in_file(file, problem).at(*at);
    let mut names: Vec<&str> = policies.keys().map(String::as_str).collect();
    names.sort_unstable();
    Some(match nearest(name, &names) {
        Some(near) => finding.hint(format!("did you mean \"{near}\"?")),
        None if names.is_empty() => finding.hint("define it under spec.policies"),
        None => finding.hint(format!("there are {}", names.join(", "))),
    })
}

fn entries(node: Option<&Node>) -> &[(Named, Node)] {
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => entries,
        _ => &[],
    }
}

fn references(node: &Node) -> References {
    let reference = |key: &str| {
        let node = node.get(key)?;
        let name = node.scalar().filter(|name| !name.is_empty())?;
        Some((node.at, name))
    };
    References {
        timeout: reference("timeout"),
        retry: reference("retry"),
        breaker: reference("circuitBreaker"),
    }
}

/// Reads the policies of one document.
struct Reader<'a> {
    file: &'a Arc<Path>,
    document: &'a str,
    wrong: Vec<Finding>,
}

/// What is wrong, and where.
type Wrong = (Position, String);

impl Reader<'_> {
    fn each<T>(
        &mut self,
        node: Option<&Node>,
        kind: &str,
        policies: &mut HashMap<String, T>,
        read: impl Fn(&str, &Node) -> Result<Option<T>, Wrong>,
    ) {
        for (named, node) in entries(node) {
            match read(&named.name, node) {
                Ok(policy) => {
                    let before = policies.remove(&named.name);
                    drop(before);
                    policies.extend(policy.map(|policy| (named.name.clone(), policy)));
                }
                Err((at, problem)) => {
                    let problem = format!(
                        "Could not read resiliency policy {}: {kind} {:?}: {problem}",
                        self.document, named.name
                    );
                    self.wrong.push(Finding::in_file(self.file, problem).at(at));
                }
            }
        }
    }
}

fn timeout(_: &str, node: &Node) -> Result<Option<Duration>, Wrong> {
    Ok(duration(node)?.positive())
}

fn retry(_: &str, node: &Node) -> Result<Option<Retry>, Wrong> {
    let mut settings = RetrySettings::default();
    let field = |key: &str| node.get(key).filter(|node| node.value != Value::Null);
    if let Some(node) = field("policy") {
        let word = text(node)?.to_ascii_lowercase();
        settings.policy = match word.as_str() {
            "" | "constant" => RetryPolicy::Constant,
            "exponential" => RetryPolicy::Exponential,
            _ => {
                return Err((
                    node.at,
                    format!("{word:?} is neither constant nor exponential"),
                ));
            }
        };
    }
    if let Some(node) = field("duration") {
        settings.duration = duration(node)?;
    }
    if let Some(node) = field("maxInterval") {
        settings.max_interval = duration(node)?;
    }
    if let Some(node) = field("maxRetries") {
        let text = text(node)?;
        settings.max_retries = text.parse().map_err(|_| {
            let problem = format!("{text:?} is not a whole number; -1 is without end");
            (node.at, problem)
        })?;
    }
    let matching = field("matching");
    let codes = |key: &str, range: RangeInclusive<u16>| match matching.and_then(|m| m.get(key)) {
        Some(node) => codes(node, &range),
        None => Ok(None),
    };
    let statuses = codes("httpStatusCodes", 100..=599)?;
    // Checked, and without effect on bindings, as in the reference (runtime §4.3).
    codes("gRPCStatusCodes", 0..=16)?;
    Ok(Some(Retry { settings, statuses }))
}

fn breaker(name: &str, node: &Node) -> Result<Option<BreakerSettings>, Wrong> {
    let field = |key: &str| node.get(key).filter(|node| node.value != Value::Null);
    let length = |key: &str| field(key).map(duration).transpose();
    let max_requests = match field("maxRequests") {
        None => 0,
        Some(node) => {
            let text = text(node)?;
            let problem = || {
                (
                    node.at,
                    format!("{text:?} is not a whole number of 0 or more"),
                )
            };
            text.parse().map_err(|_| problem())?
        }
    };
    let trip = match field("trip") {
        None => trip::default(),
        Some(node) => match text(node)? {
            text if text.is_empty() => trip::default(),
            text => trip::compile(&text).map_err(|error| {
                let problem = format!(
                    "{text:?} is no condition over requests, totalSuccesses, totalFailures, \
                     consecutiveSuccesses and consecutiveFailures: {error}"
                );
                (node.at, problem)
            })?,
        },
    };
    let positive = |length: Option<GoDuration>| length.and_then(GoDuration::positive);
    Ok(Some(BreakerSettings {
        name: name.to_owned(),
        max_requests,
        interval: positive(length("interval")?).unwrap_or_default(),
        timeout: positive(length("timeout")?).unwrap_or(OPEN),
        trip,
    }))
}

fn text(node: &Node) -> Result<String, Wrong> {
    let wrong = || (node.at, format!("must be a value, not {}", node.kind()));
    node.scalar().ok_or_else(wrong)
}

/// Go's syntax, or a whole number of milliseconds.
fn duration(node: &Node) -> Result<GoDuration, Wrong> {
    let text = text(node)?;
    if let Ok(millis) = text.parse() {
        return Ok(GoDuration::from_millis(millis));
    }
    GoDuration::parse(&text).map_err(|error| (node.at, error))
}

/// `500-599,429`. Empty entries are ignored; an empty list is none.
fn codes(
    node: &Node,
    valid: &RangeInclusive<u16>,
) -> Result<Option<Vec<RangeInclusive<u16>>>, Wrong> {
    let text = text(node)?;
    let code = |text: &str| text.parse().ok().filter(|code| valid.contains(code));
    let mut ranges = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = code(first)
            .zip(code(last))
            .filter(|(first, last)| first <= last);
        let Some((first, last)) = range else {
            let problem = format!(
                "{part:?} is neither a code from {} to {} nor a range of them such as {}-{}",
                valid.start(),
                valid.end(),
                valid.start(),
                valid.end()
            );
            return Err((node.at, problem));
        };
        ranges.push(first..=last);
    }
    Ok((!ranges.is_empty()).then_some(ranges))
}

/// Keys that mean nothing.
fn unknown(document: &Node, file: &Arc<Path>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut look = |node: Option<&Node>, known: &'static [&'static str]| {
        found.extend(unknown_keys(node, known, file));
    };
    look(
        Some(document),
        &["apiVersion", "kind", "metadata", "spec", "scopes"],
    );
    let spec = document.get("spec");
    look(spec, &["policies", "targets"]);
    let part = |key: &str| spec.and_then(|spec| spec.get(key));
    let (policies, targets) = (part("policies"), part("targets"));
    look(policies, &["timeouts", "retries", "circuitBreakers"]);
    look(targets, &["components", "apps", "actors"]);
    let under = |node: Option<&'_ Node>, key: &str| -> Vec<Node> {
        let node = node.and_then(|node| node.get(key));
        entries(node).iter().map(|(_, node)| node.clone()).collect()
    };
    for retry in under(policies, "retries") {
        look(
            Some(&retry),
            &[
                "policy",
                "duration",
                "maxInterval",
                "maxRetries",
                "matching",
            ],
        );
        look(
            retry.get("matching"),
            &["httpStatusCodes", "gRPCStatusCodes"],
        );
    }
    for breaker in under(policies, "circuitBreakers") {
        look(
            Some(&breaker),
            &["maxRequests", "interval", "timeout", "trip"],
        );
    }
    for target in under(targets, "components") {
        look(Some(&target), &["inbound", "outbound"]);
        for direction in ["inbound", "outbound"] {
            look(
                target.get(direction),
                &["timeout", "retry", "circuitBreaker"],
            );
        }
    }
    found
}
