//! What a Configuration changes about labels: values that are replaced, and paths that are counted
//! together (runtime §6.6).

use regex::Regex;

use crate::resources::{HttpMetrics, MetricsRule};

/// `rules`: values of labels that are replaced by others.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    metric: String,
    label: String,
    /// What matches, and what it becomes; the first that matches counts.
    replacements: Vec<(Regex, String)>,
}

impl Rules {
    /// What the expressions are was checked when the Configuration was read.
    pub(super) fn new(rules: &[MetricsRule]) -> Self {
        let each = rules.iter().flat_map(|rule| {
            rule.labels.iter().map(|label| Rule {
                metric: rule.name.clone(),
                label: label.name.clone(),
                replacements: label
                    .regex
                    .iter()
                    .filter_map(|(new, pattern)| Some((Regex::new(pattern).ok()?, new.clone())))
                    .collect(),
            })
        });
        Self(each.collect())
    }

    /// A value as it is counted.
    pub(super) fn apply<'a>(&'a self, metric: &str, label: &str, value: &'a str) -> &'a str {
        let short = metric.strip_prefix("dapr_").unwrap_or(metric);
        let mut rules = self
            .0
            .iter()
            .filter(|rule| rule.label == label && (rule.metric == metric || rule.metric == short));
        let replaced = rules.find_map(|rule| {
            let mut all = rule.replacements.iter();
            all.find(|(pattern, _)| pattern.is_match(value))
        });
        replaced.map_or(value, |(_, new)| new.as_str())
    }
}

/// The paths that have a label of their own even where cardinality is low.
const ALWAYS: [&str; 4] = [
    "/dapr/config",
    "/dapr/metrics",
    "/dapr/subscribe",
    "/healthz",
];

/// The methods that there are; others are counted together.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE",
];

/// How the labels `path` and `method` of HTTP are made.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) increased_cardinality: bool,
    exclude_verbs: bool,
    patterns: Vec<Pattern>,
}

/// A pattern as Go's router has them since 1.22: `/orders/{id}`, `/files/{path...}`, `/orders/`.
#[derive(Debug)]
struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// This segment.
    Exact(String),
    /// Any one segment.
    One,
    /// Whatever follows.
    Rest,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        let inside = text.strip_prefix('/').unwrap_or(text);
        let count = inside.split('/').count();
        for (index, segment) in inside.split('/').enumerate() {
            let is_last = index + 1 == count;
            parts.push(match segment {
                // A slash at the end stands for all that is below.
                "" if is_last => Part::Rest,
                "{$}" if is_last => Part::Exact(String::new()),
                name if name.starts_with('{') && name.ends_with("...}") => Part::Rest,
                name if name.starts_with('{') && name.ends_with('}') => Part::One,
                exact => Part::Exact(exact.to_owned()),
            });
        }
        Self {
            text: text.to_owned(),
            parts,
        }
    }

    fn matches(&self, path: &str) -> bool {
        let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
        for part in &self.parts {
            match (part, segments.next()) {
                (Part::Rest, Some(_)) => return true,
                (Part::One, Some(segment)) if !segment.is_empty() => {}
                (Part::Exact(exact), Some(segment)) if exact == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

impl Requests {
    pub(super) fn new(http: &HttpMetrics) -> Self {
        let mut patterns: Vec<Pattern> =
            http.path_matching.iter().map(|p| Pattern::new(p)).collect();
        // The more exact one first.
        patterns.sort_by(|a, b| a.parts.cmp(&b.parts));
        Self {
            increased_cardinality: http.increased_cardinality.unwrap_or(true),
            exclude_verbs: http.exclude_verbs,
            patterns,
        }
    }

    /// The label of a path.
    pub(super) fn path<'a>(&'a self, path: &'a str) -> &'a str {
        if let Some(found) = self.patterns.iter().find(|pattern| pattern.matches(path)) {
            return &found.text;
        }
        if self.increased_cardinality || ALWAYS.contains(&path) {
            path
        } else {
            ""
        }
    }

    /// The label of a method.
    pub(super) fn method<'a>(&self, method: &'a str) -> &'a str {
        if self.exclude_verbs {
            ""
        } else if METHODS.contains(&method) {
            method
        } else {
            "UNKNOWN"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(increased: Option<bool>, patterns: &[&str]) -> Requests {
        Requests::new(&HttpMetrics {
            increased_cardinality: increased,
            path_matching: patterns.iter().map(|text| (*text).to_owned()).collect(),
            exclude_verbs: false,
        })
    }

    #[test]
    fn a_path_is_itself_unless_cardinality_is_low() {
        assert_eq!(
            requests(None, &[]).path("/v1.0/bindings/a"),
            "/v1.0/bindings/a"
        );
        let low = requests(Some(false), &[]);
        assert_eq!(low.path("/v1.0/bindings/a"), "");
        assert_eq!(low.path("/dapr/config"), "/dapr/config");
    }

    #[test]
    fn patterns_are_matched_as_go_matches_them_the_exact_one_first() {
        let patterns = [
            "/",
            "/v1.0/bindings/{name}",
            "/v1.0/bindings/orders",
            "/files/{path...}",
            "/tree/",
            "/one/{$}",
        ];
        let low = requests(Some(false), &patterns);
        for (path, label) in [
            ("/v1.0/bindings/orders", "/v1.0/bindings/orders"),
            ("/v1.0/bindings/other", "/v1.0/bindings/{name}"),
            ("/v1.0/bindings/a/b", "/"),
            ("/v1.0/bindings/", "/"),
            ("/files/a/b/c", "/files/{path...}"),
            ("/tree/a/b", "/tree/"),
            ("/tree", "/"),
            ("/one/", "/one/{$}"),
            ("/one/two", "/"),
        ] {
            assert_eq!(low.path(path), label, "{path}");
        }
        let high = requests(None, &["/v1.0/bindings/{name}"]);
        assert_eq!(high.path("/v1.0/bindings/a"), "/v1.0/bindings/{name}");
        assert_eq!(high.path("/v1.0/metadata"), "/v1.0/metadata");
    }

    #[test]
    fn methods_that_nobody_knows_are_counted_together() {
        let requests = requests(None, &[]);
        assert_eq!(requests.method("POST"), "POST");
        assert_eq!(requests.method("BREW"), "UNKNOWN");
    }
}
