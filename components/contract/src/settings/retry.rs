//! Retry settings by prefix (RT).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GoDuration;

/// How long to wait between attempts, and how often to try: the `backOff*` settings. A
/// component's own feed the runtime's policy, which is the one owner of retries.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetrySettings {
    /// Whether the wait stays the same or grows.
    pub policy: RetryPolicy,
    /// The wait of the constant policy.
    pub duration: GoDuration,
    /// The first wait of the exponential policy.
    pub initial_interval: GoDuration,
    /// How far a wait of the exponential policy is moved at random, as a part of it: 0 to 1.
    pub randomization_factor: f32,
    /// What the wait of the exponential policy is multiplied by each time.
    pub multiplier: f32,
    /// The longest wait of the exponential policy.
    pub max_interval: GoDuration,
    /// When the exponential policy gives up; 0 is never.
    pub max_elapsed_time: GoDuration,
    /// How many attempts after the first; -1 is without end.
    pub max_retries: i64,
}

/// Whether the wait between attempts stays the same or grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetryPolicy {
    /// The same wait each time.
    #[default]
    Constant,
    /// A wait that grows, with a part of chance.
    Exponential,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            policy: RetryPolicy::Constant,
            duration: GoDuration::from_secs(5),
            initial_interval: GoDuration::from_millis(500),
            randomization_factor: 0.5,
            multiplier: 1.5,
            max_interval: GoDuration::from_secs(60),
            max_elapsed_time: GoDuration::from_secs(15 * 60),
            max_retries: -1,
        }
    }
}

impl Serialize for RetrySettings {
    /// Only so that the schema can show the defaults.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("policy", &self.policy)?;
        map.serialize_entry("duration", &self.duration)?;
        map.serialize_entry("maxRetries", &self.max_retries)?;
        map.end()
    }
}
