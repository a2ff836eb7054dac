//! What a Configuration says of metrics, traces and the log of the API (runtime §6.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `metric`, with `metrics` on top of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsSpec {
    /// Whether anything is counted; it is, unless it is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How requests over HTTP are told apart.
    pub http: HttpMetrics,
    /// The bounds of all latencies in milliseconds, in the place of the standard ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latency_distribution_buckets: Vec<u64>,
    /// Whether error codes of the API are counted.
    pub record_error_codes: bool,
    /// Values of labels that are replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<MetricsRule>,
}

/// `metrics.http`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMetrics {
    /// Whether each path is counted apart; they are, unless it is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub increased_cardinality: Option<bool>,
    /// Patterns of paths that are counted together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path_matching: Vec<String>,
    /// Whether methods are counted together.
    pub exclude_verbs: bool,
}

/// One of `metrics.rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct MetricsRule {
    /// The metric, with or without `dapr_`.
    pub name: String,
    /// What happens to its labels.
    pub labels: Vec<LabelRule>,
}

/// One of `metrics.rules[].labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct LabelRule {
    /// The label.
    pub name: String,
    /// New values, and what is replaced by them.
    pub regex: BTreeMap<String, String>,
}

impl MetricsSpec {
    /// The bounds of latencies in milliseconds, growing; `None` where nothing is said.
    pub(crate) fn bounds(&self) -> Option<Vec<u64>> {
        let mut bounds = self.latency_distribution_buckets.clone();
        bounds.sort_unstable();
        bounds.dedup();
        (!bounds.is_empty()).then_some(bounds)
    }

    /// The first expression that is none, and what is wrong with it.
    pub(super) fn wrong_expression(&self) -> Option<String> {
        let mut labels = self.rules.iter().flat_map(|rule| &rule.labels);
        let expressions = labels.by_ref().flat_map(|label| label.regex.values());
        expressions
            .filter_map(|pattern| regex::Regex::new(pattern).err())
            .map(|error| error.to_string())
            .next()
    }
}

/// `tracing`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TracingSpec {
    /// How many of the traces that begin here are told: 0 to 1. Without one, and with an exporter,
    /// one in ten thousand.
    #[serde(deserialize_with = "as_text")]
    pub sampling_rate: Option<String>,
    /// Whether spans are lines of the log.
    pub stdout: bool,
    /// Zipkin.
    pub zipkin: ZipkinSpec,
    /// A collector of OpenTelemetry.
    pub otel: OtelSpec,
}

/// `tracing.zipkin`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ZipkinSpec {
    /// Where spans are posted to.
    pub endpoint_address: String,
}

/// `tracing.otel`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OtelSpec {
    /// `http` or `grpc`.
    pub protocol: String,
    /// `host:port`.
    pub endpoint_address: String,
    /// Whether it is reached over TLS; it is, unless it is switched off.
    pub is_secure: Option<bool>,
    /// `name=value`, sent along.
    pub headers: Vec<String>,
    /// How long sending may take: a duration, or milliseconds.
    #[serde(deserialize_with = "as_text")]
    pub timeout: Option<String>,
}

/// `logging`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoggingSpec {
    /// The log of the API.
    pub api_logging: ApiLogging,
}

/// `logging.apiLogging`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiLogging {
    /// Whether each call is a line; `--enable-api-logging` wins.
    pub enabled: bool,
    /// Whether endpoints are named instead of paths.
    #[serde(rename = "obfuscateURLs")]
    pub obfuscate_urls: bool,
    /// Whether the health endpoints are left out.
    pub omit_health_checks: bool,
}

/// A number counts as the text that it is written as.
fn as_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    use serde_json::Value;
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        Value::Null => None,
        other => Some(other.to_string()),
    })
}
