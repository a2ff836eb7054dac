//! `--config`: what concerns the sidecar as a whole (runtime §6.5).

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::Finding;
use super::members;
use super::scopes::SecretScopes;
use super::telemetry::{ApiLogging, LoggingSpec, MetricsSpec, TracingSpec};
use super::values::Env;
use super::yaml;

/// The `spec` of the Configuration files: those after the first lie on top of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Configuration {
    features: Vec<Feature>,
    components: Components,
    api: Access,
    secrets: SecretScopes,
    /// With `metrics` on top of it.
    metric: MetricsSpec,
    tracing: TracingSpec,
    logging: LoggingSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Feature {
    name: String,
    enabled: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Components {
    deny: Vec<String>,
}

/// Which endpoints of the API there are (`spec.api`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Access {
    allowed: Vec<Rule>,
    denied: Vec<Rule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Rule {
    name: String,
    version: String,
    protocol: String,
}

impl Configuration {
    /// Reads the files. Returns what in them has no effect too.
    ///
    /// # Errors
    /// A file that cannot be read, or that is no Configuration.
    pub fn load(files: &[PathBuf], env: &Env) -> Result<(Self, Vec<Finding>), Finding> {
        let mut spec = Value::Object(Map::new());
        let mut odd = Vec::new();
        for file in files {
            let file = Arc::from(file.as_path());
            let fail = |problem: &dyn std::fmt::Display| {
                Finding::in_file(&file, format!("error loading configuration: {problem}"))
            };
            let text = std::fs::read_to_string(&file).map_err(|error| fail(&error))?;
            let text = expand(&text, env);
            let Some(document) = yaml::documents(&text).into_iter().next() else {
                continue;
            };
            let node = yaml::parse(&document)
                .map_err(|error| fail(&error).at(error.at).hint(error.hint()))?;
            let Some(node) = node.get("spec") else {
                continue;
            };
            let mut part = node.to_json();
            drop_nulls(&mut part);
            // Looked at alone first, so that a mistake is told with its own file.
            let alone = Self::alone(&part);
            let alone = alone.map_err(|error| fail(&format!("spec: {error}")).at(node.at))?;
            if let Some(mistake) = alone.secrets.mistake() {
                let at = node.entry("secrets").map_or(node.at, |(key, _)| key.at);
                return Err(fail(&mistake).at(at));
            }
            let members = part.as_object().into_iter().flatten();
            let mut idle: Vec<Finding> = members
                .filter_map(|(key, value)| {
                    let (problem, hint) = members::without_effect(key, value)?;
                    let at = node.entry(key).map_or(node.at, |(key, _)| key.at);
                    Some(Finding::in_file(&file, problem).at(at).hint(hint))
                })
                .collect();
            idle.sort_by_key(|finding| finding.at);
            odd.append(&mut idle);
            new_name_of_metrics(&mut part);
            lay_over(&mut spec, part);
        }
        let configuration = serde_json::from_value(spec).unwrap_or_default();
        Ok((configuration, odd))
    }

    /// One file's part, by itself.
    fn alone(part: &Value) -> Result<Self, String> {
        let text = |error: serde_json::Error| error.to_string();
        let mut part = part.clone();
        new_name_of_metrics(&mut part);
        let alone: Self = serde_json::from_value(part).map_err(text)?;
        match alone.metric.wrong_expression() {
            Some(problem) => Err(format!("metrics.rules: {problem}")),
            None => Ok(alone),
        }
    }

    /// Whether a feature is on; `None` where nothing is said of it.
    pub fn feature(&self, name: &str) -> Option<bool> {
        let mut named = self
            .features
            .iter()
            .rev()
            .filter(|feature| feature.name == name);
        named.next().map(|feature| feature.enabled)
    }

    /// Whether components of this type must not be loaded. Where any type is denied, a component
    /// must say its type and version.
    pub fn denies(&self, type_name: &str, version: &str) -> bool {
        let with_version = format!("{type_name}/{version}");
        let is_denied = |entry: &String| {
            entry.eq_ignore_ascii_case(type_name) || entry.eq_ignore_ascii_case(&with_version)
        };
        let denied = &self.components.deny;
        !denied.is_empty()
            && (type_name.is_empty() || version.is_empty() || denied.iter().any(is_denied))
    }

    /// Which secrets callers may see.
    pub fn secrets(&self) -> &SecretScopes {
        &self.secrets
    }

    /// Where spans go, and how many.
    pub fn tracing(&self) -> &TracingSpec {
        &self.tracing
    }

    /// Which calls of the API are lines of the log.
    pub fn api_logging(&self) -> &ApiLogging {
        &self.logging.api_logging
    }

    /// What is counted, and how.
    pub fn metrics(&self) -> &MetricsSpec {
        &self.metric
    }

    /// Which endpoints there are.
    pub fn access(&self) -> &Access {
        &self.api
    }
}

impl Access {
    /// Whether an endpoint of the HTTP API exists: of this group and version, and with this path
    /// as the reference registers it. A denial counts first.
    pub fn http(&self, group: &str, version: &str, route: &str) -> bool {
        let matches = |rule: &&Rule| {
            let is_group = rule.name == group && rule.version == version;
            let path = format!("{}/{}", rule.version, rule.name);
            is_group || (!rule.name.is_empty() && route.starts_with(&path))
        };
        self.lets("http", matches)
    }

    fn lets(&self, protocol: &str, matches: impl Fn(&&Rule) -> bool) -> bool {
        let is_of = |rule: &&Rule| rule.protocol.eq_ignore_ascii_case(protocol);
        let mut denied = self.denied.iter().filter(is_of);
        let mut allowed = self.allowed.iter().filter(is_of).peekable();
        !denied.any(|rule| matches(&rule))
            && (allowed.peek().is_none() || allowed.any(|rule| matches(&rule)))
    }

    /// Whether a method of the gRPC API exists: of this group and version, both compared exactly,
    /// or of none that rules could name. A denial counts first.
    pub fn grpc(&self, group: Option<(&str, &str)>) -> bool {
        let matches = |rule: &Rule| group == Some((&*rule.name, &*rule.version));
        let is_grpc = |rule: &&Rule| rule.protocol == "grpc";
        let mut denied = self.denied.iter().filter(is_grpc);
        let mut allowed = self.allowed.iter().filter(is_grpc).peekable();
        !denied.any(matches) && (allowed.peek().is_none() || allowed.any(matches))
    }
}

/// A key without a value says nothing.
fn drop_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, value| !value.is_null());
        members.values_mut().for_each(drop_nulls);
    }
}

/// `metrics` is the new name of `metric`, and wins member by member.
fn new_name_of_metrics(spec: &mut Value) {
    let Some(spec) = spec.as_object_mut() else {
        return;
    };
    if let Some(metrics) = spec.remove("metrics") {
        let below = spec.entry("metric");
        lay_over(below.or_insert(Value::Object(Map::new())), metrics);
    }
}

/// Maps become one, everything else is replaced.
fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                match below.get_mut(&key) {
                    Some(old) => lay_over(old, value),
                    None => {
                        below.insert(key, value);
                    }
                }
            }
        }
        (below, above) => *below = above,
    }
}

/// Fills in `$NAME` and `${NAME}`, as the reference does with the whole text; what is not set is
/// nothing, and a dollar cannot be escaped.
fn expand(text: &str, env: &Env) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, after) = match rest.strip_prefix('{') {
            Some(inside) => match inside.find('}') {
                Some(end) => (&inside[..end], &inside[end + 1..]),
                // Go drops an opening that is never closed.
                None => ("", inside),
            },
            None => {
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                if end == 0 {
                    expanded.push('$');
                }
                rest.split_at(end)
            }
        };
        if !name.is_empty() {
            expanded.push_str(&env.get(name).unwrap_or_default());
        }
        rest = after;
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        Env::Fixed(Arc::new(pairs.collect()))
    }

    fn load(texts: &[&str], env: &Env) -> Result<(Configuration, Vec<Finding>), Finding> {
        let folder = tempfile::tempdir().unwrap();
        let files = texts.iter().enumerate().map(|(index, text)| {
            let file = folder.path().join(format!("{index}.yaml"));
            std::fs::write(&file, text).unwrap();
            file
        });
        Configuration::load(&files.collect::<Vec<_>>(), env)
    }

    #[test]
    fn later_files_lie_on_top_of_earlier_ones() {
        let first = "spec:\n  features: [{name: HotReload, enabled: true}]\n  components:\n    \
                     deny: [bindings.cron, bindings.http/v1]\n";
        let second =
            "spec:\n  features:\n  - name: ${NAME}\n    enabled: $OFF\n---\nspec: {x: 1}\n";
        let env = env(&[("NAME", "HotReload"), ("OFF", "false")]);
        let (configuration, odd) = load(&[first, second], &env).unwrap();
        assert_eq!(configuration.feature("HotReload"), Some(false));
        assert_eq!(configuration.feature("Other"), None);
        assert!(configuration.denies("bindings.cron", "v1"));
        assert!(configuration.denies("bindings.http", "v1"));
        assert!(configuration.denies("", "v1"));
        assert!(!configuration.denies("bindings.http", "v2"));
        assert!(odd.is_empty(), "only the first document counts: {odd:?}");
    }

    #[test]
    fn what_has_no_effect_is_told_with_its_place() {
        let text = "spec:\n  httpPipeline:\n    handlers:\n    - {name: auth, type: \
                    middleware.http.bearer}\n    - {name: slow, type: middleware.http.ratelimit}\n  \
                    appHttpPipeline: {handlers: []}\n  mtls: {enabled: true}\n  metric: {}\n  \
                    Tracing: {samplingRate: 1}\n  mine: 1\n  workflow: null\n";
        let (_, odd) = load(&[text], &env(&[])).unwrap();
        let told: Vec<(String, &str)> = odd
            .iter()
            .map(|one| (one.at.unwrap().to_string(), &*one.problem))
            .collect();
        let pipeline = "spec.httpPipeline has no effect: there is no middleware here, and requests \
                        reach the API without auth (middleware.http.bearer), slow \
                        (middleware.http.ratelimit)";
        assert_eq!(
            told,
            [
                ("2:3".to_owned(), pipeline),
                ("7:3".to_owned(), "spec.mtls has no effect"),
                (
                    "9:3".to_owned(),
                    "spec.Tracing has no effect: there is no such member"
                ),
                (
                    "10:3".to_owned(),
                    "spec.mine has no effect: there is no such member"
                ),
            ]
        );
        let hints: Vec<&str> = odd.iter().filter_map(|one| one.hint.as_deref()).collect();
        assert!(hints[0].contains("DAPR_API_TOKEN") && hints[1].contains("TLS"));
        assert_eq!(hints[2], "did you mean \"tracing\"?");
        assert!(hints[3].starts_with("there are features, "));
    }

    #[test]
    fn what_cannot_work_is_told_with_its_file() {
        let missing = Configuration::load(&["none.yaml".into()], &env(&[])).unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("none.yaml: error loading configuration: ")
        );
        let wrong = load(&["spec:\n  features: yes please\n"], &env(&[])).unwrap_err();
        assert!(
            wrong.problem.contains("features") || wrong.problem.contains("sequence"),
            "{wrong}"
        );
        let broken = load(&["spec: {"], &env(&[])).unwrap_err();
        assert!(broken.at.is_some());
    }

    #[test]
    fn an_endpoint_is_there_unless_a_rule_says_otherwise() {
        let access = |rules: &str| {
            let text = format!("spec:\n  api:\n{rules}");
            load(&[&text], &env(&[])).unwrap().0.api
        };
        let bindings = |access: &Access| access.http("bindings", "v1", "v1.0/bindings/{name}");
        let metadata = |access: &Access| access.http("metadata", "v1", "v1.0/metadata");
        let open = access("    denied: []\n");
        assert!(bindings(&open) && metadata(&open));
        for rule in [
            "{name: bindings, version: v1, protocol: HTTP}",
            "{name: bindings, version: v1.0, protocol: http}",
            "{name: bindings/, version: v1.0, protocol: http}",
        ] {
            let closed = access(&format!("    denied: [{rule}]\n"));
            assert!(!bindings(&closed) && metadata(&closed), "{rule}");
            let only = access(&format!("    allowed: [{rule}]\n"));
            assert!(bindings(&only) && !metadata(&only), "{rule}");
        }
        let grpc = access("    allowed: [{name: bindings, version: v1, protocol: grpc}]\n");
        assert!(
            metadata(&grpc),
            "rules of one protocol do not restrict the other"
        );
        assert!(grpc.grpc(Some(("bindings", "v1"))));
        assert!(!grpc.grpc(Some(("metadata", "v1"))) && !grpc.grpc(None));
        let denied = |rule: &str| access(&format!("    denied: [{rule}]\n"));
        let bindings = Some(("bindings", "v1"));
        assert!(!denied("{name: bindings, version: v1, protocol: grpc}").grpc(bindings));
        for other in [
            "{name: bindings, version: v1, protocol: GRPC}",
            "{name: bindings, version: v1.0, protocol: grpc}",
            "{name: bindings, version: v1, protocol: http}",
        ] {
            assert!(denied(other).grpc(bindings), "{other}");
        }
    }

    #[test]
    fn variables_are_filled_in_as_go_does_it() {
        let env = env(&[("A", "1"), ("AB", "2")]);
        for (text, expanded) in [
            ("$A-$AB-${A}B", "1-2-1B"),
            ("$MISSING.", "."),
            ("a$ b", "a$ b"),
            ("${", ""),
            ("x${A", "xA"),
            ("$", "$"),
        ] {
            assert_eq!(expand(text, &env), expanded, "{text}");
        }
    }
}
