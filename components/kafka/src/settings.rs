//! The settings of `bindings.kafka`.
//!
//! What librdkafka cannot do as the reference's client does it is said at the setting.

use bindery_contract::settings::{GoDuration, RetrySettings, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// Settings of `bindings.kafka`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaSettings {
    /// Brokers to begin with, as a comma-separated list of `host:port`; the others are learned
    /// from them. The port is 9092 when it is missing.
    #[schemars(extend("examples" = ["localhost:9092", "kafka-0:9092,kafka-1:9092"]))]
    pub brokers: Vec<String>,
    /// The topics that events are read from, as a comma-separated list. Blanks are part of a
    /// name. Without any, nothing is read.
    #[serde(default)]
    #[schemars(extend("x-exact-case" = true, "x-role" = "input", "x-example" = "orders"))]
    pub topics: Vec<String>,
    /// The topic that `create` writes to.
    #[serde(default)]
    #[schemars(extend("x-exact-case" = true, "x-role" = "output", "x-example" = "orders"))]
    pub publish_topic: String,
    /// The consumer group. Each event goes to one member of the group; members of other groups
    /// get it too. Needed for reading.
    #[serde(default)]
    #[schemars(extend(
        "x-aliases" = ["consumerID"],
        "x-role" = "input",
        "x-example" = "shop"
    ))]
    pub consumer_group: String,
    /// What the client calls itself in the brokers' logs, quotas and metrics. The default is the
    /// name that the reference's client has, so that quotas go on to apply.
    #[serde(default = "client_id", rename = "clientID")]
    pub client_id: String,

    /// How to be let in. TLS is on for all but `none`; see `disableTls`.
    #[serde(default, deserialize_with = "auth_type")]
    #[schemars(with = "Option<AuthType>", extend("x-example" = "none"))]
    pub auth_type: Option<AuthType>,
    /// The old way to say `authType`: false is `none`; true is `password` when there is a
    /// `saslPassword`, else `mtls`. Used only when `authType` is empty.
    #[serde(default)]
    #[schemars(extend("deprecated" = true))]
    pub auth_required: String,
    /// The user name, for `authType: password`.
    #[serde(default)]
    pub sasl_username: String,
    /// The password, for `authType: password`.
    #[serde(default)]
    pub sasl_password: Secret,
    /// How the password is proved: `SHA-256` and `SHA-512` are SCRAM, anything else is PLAIN.
    #[serde(default = "sasl_mechanism")]
    pub sasl_mechanism: String,
    /// Certificates of the authorities that the brokers' certificates are checked against, as
    /// PEM. Without it, the system's count.
    #[serde(default)]
    pub ca_cert: String,
    /// The client's certificate as PEM, for `authType: mtls`.
    #[serde(default)]
    pub client_cert: String,
    /// The key of the client's certificate as PEM, for `authType: mtls`.
    #[serde(default)]
    pub client_key: Secret,
    /// Takes any certificate of a broker: whoever is in between can read and change everything.
    #[serde(default)]
    pub skip_verify: bool,
    /// Speaks without TLS: passwords and events can be read on the way.
    #[serde(default)]
    pub disable_tls: bool,

    /// Where a group begins to read that has never read the topic: `newest`, what comes from now
    /// on, or `oldest`, everything that is there.
    #[serde(default)]
    #[schemars(extend("x-exact-case" = true, "x-role" = "input"))]
    pub initial_offset: InitialOffset,
    /// How often the member tells its group that it lives. Less than `sessionTimeout`.
    #[serde(default = "seconds::<3>")]
    #[schemars(extend("x-role" = "input"))]
    pub heartbeat_interval: GoDuration,
    /// After what silence a group gives a member's partitions to others. The brokers have limits
    /// of their own, usually 6 s to 30 min.
    #[serde(default = "seconds::<10>")]
    #[schemars(extend("x-role" = "input"))]
    pub session_timeout: GoDuration,
    /// How a group's partitions are dealt out: `range`, `roundrobin` or `sticky`; anything else
    /// is `range`, with a warning. All members have to have one in common. `sticky` is the
    /// cooperative one (KIP-429): it cannot be mixed with members that use the older, eager one.
    #[serde(default = "range")]
    #[schemars(extend("x-role" = "input"))]
    pub consumer_group_rebalance_strategy: String,
    /// How many bytes a broker gathers before it answers, for at most half a second. At least 1.
    #[serde(default = "fetch_min")]
    #[schemars(extend("x-exact-case" = true, "x-role" = "input"))]
    pub consumer_fetch_min: i32,
    /// How many bytes are asked for at a time from each partition, and about how many wait in
    /// memory for each. A record that is larger comes all the same. 1 to 1000000000.
    #[serde(default = "fetch_default")]
    #[schemars(extend("x-exact-case" = true, "x-role" = "input"))]
    pub consumer_fetch_default: i32,
    /// While so many records of a partition wait for delivery, no more are asked for; at the
    /// most the partition's share of `spec.delivery.maxInFlight`, which is a quarter. What an
    /// answer brings above that waits as well. At least 1.
    #[serde(default = "channel_buffer")]
    #[schemars(extend("x-exact-case" = true, "x-role" = "input"))]
    pub channel_buffer_size: i32,
    /// Feeds the `backOff` settings to the runtime, which retries a refused event in place in
    /// any case: no event is ever skipped, with this or without.
    #[serde(default)]
    #[schemars(extend("x-role" = "input"))]
    pub consume_retry_enabled: bool,
    /// Has no effect: the runtime opens a reader that failed anew by its own backoff, 100 ms to
    /// 30 s. A plain number is milliseconds.
    #[serde(default, deserialize_with = "milliseconds")]
    #[schemars(with = "Option<GoDuration>", extend("x-role" = "input"))]
    pub consume_retry_interval: Option<GoDuration>,
    /// How a refused event is tried again, with `consumeRetryEnabled`: the settings `backOff*`.
    #[serde(default)]
    #[schemars(extend("x-prefix" = true, "x-role" = "input"))]
    pub back_off: RetrySettings,
    /// Escapes the key and the values of headers in events as in the query of a URL, for values
    /// that are no text.
    #[serde(default)]
    #[schemars(extend("x-role" = "input"))]
    pub escape_headers: bool,
    /// Headers whose names match this regular expression are left out: of an event's metadata,
    /// and of what `create` writes. Empty is none.
    #[serde(default)]
    pub exclude_header_meta_regex: String,

    /// How large a record may be, in bytes; what is larger is refused. 0 is 1 MiB. The brokers
    /// have a limit of their own, usually just above 1 MiB.
    #[serde(default)]
    #[schemars(extend("x-role" = "output"))]
    pub max_message_bytes: i32,
    /// How records are compressed on the way and in the log.
    #[serde(default)]
    #[schemars(extend("x-role" = "output"))]
    pub compression: Compression,
    /// Who must have a record before `create` is done: `all` replicas that are in sync, the
    /// leader alone (`local`), or nobody (`none`: a record may be lost without an error).
    #[serde(default)]
    #[schemars(extend("x-role" = "output"))]
    pub producer_required_acks: RequiredAcks,
    /// How often a record is sent again after a failure that may pass, within `readTimeout`.
    #[serde(default = "producer_retries")]
    #[schemars(extend("x-role" = "output"))]
    pub producer_retry_max: i32,

    /// The oldest version of Kafka that the brokers have, such as `2.0.0`. Only checked: the
    /// client finds out by itself what a broker can do.
    #[serde(default = "version")]
    pub version: String,
    /// How long connecting may take, with TLS and authentication. At least 1 s.
    #[serde(default = "seconds::<30>")]
    pub dial_timeout: GoDuration,
    /// How long a broker may take to answer a request, and how long `create` may take in all.
    /// 1 s to 5 min.
    #[serde(default = "seconds::<30>")]
    pub read_timeout: GoDuration,
    /// Counts as `readTimeout` when it is longer: the client has one limit for both.
    #[serde(default = "seconds::<30>")]
    pub write_timeout: GoDuration,
    /// How long to wait for the first answer of the brokers when the binding is opened. 0 is
    /// 4.5 s, just below the default of `initTimeout`.
    #[serde(default)]
    pub metadata_timeout: GoDuration,
    /// How often it is looked for new brokers, topics and partitions. 1 s to 1 h.
    #[serde(default = "seconds::<480>")]
    pub client_connection_topic_metadata_refresh_interval: GoDuration,
    /// Has no effect: idle connections are kept alive by TCP, at the system's interval.
    #[serde(default)]
    pub client_connection_keep_alive_interval: GoDuration,

    /// Not in this build: Avro and its schema registry. Setting it is an error.
    #[serde(default, rename = "schemaRegistryURL")]
    pub schema_registry_url: String,
}

/// How to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthType {
    /// Without proof, and without TLS.
    None,
    /// With a user name and a password (SASL).
    Password,
    /// With a client certificate.
    Mtls,
    /// Without proof; the brokers' certificates are checked against `caCert`.
    Certificate,
    /// Not in this build: a token from an identity provider.
    Oidc,
    /// Not in this build: a token from an identity provider, against a signed assertion.
    OidcPrivateKeyJwt,
    /// Not in this build: AWS IAM.
    Awsiam,
}

/// Where a group begins that has never read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitialOffset {
    /// With what comes from now on.
    #[default]
    Newest,
    /// With the oldest record that is there.
    Oldest,
}

/// How records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Who must have a record before it counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequiredAcks {
    /// All replicas that are in sync.
    #[default]
    All,
    /// The leader.
    Local,
    /// Nobody.
    None,
}

/// What the reference's client calls itself.
pub(crate) const CLIENT_ID: &str = "sarama";

fn client_id() -> String {
    CLIENT_ID.into()
}

fn sasl_mechanism() -> String {
    "PLAINTEXT".into()
}

fn range() -> String {
    "range".into()
}

fn version() -> String {
    "2.0.0".into()
}

const fn seconds<const N: i64>() -> GoDuration {
    GoDuration::from_secs(N)
}

const fn fetch_min() -> i32 {
    1
}

const fn fetch_default() -> i32 {
    1 << 20
}

const fn channel_buffer() -> i32 {
    256
}

const fn producer_retries() -> i32 {
    5
}

/// An empty `authType` is none, so that `authRequired` counts.
fn auth_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AuthType>, D::Error> {
    let text = String::deserialize(deserializer)?.to_lowercase();
    if text.is_empty() {
        return Ok(None);
    }
    let word = de::value::StrDeserializer::<de::value::Error>::new(&text);
    AuthType::deserialize(word).map(Some).map_err(|_| {
        de::Error::custom(format!(
            "invalid value for 'authType' attribute: {text:?}; write none, password, mtls or \
             certificate"
        ))
    })
}

/// A plain number is milliseconds here, not seconds (M6).
fn milliseconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<GoDuration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.parse::<u32>() {
        _ if text.is_empty() => Ok(None),
        Ok(number) => Ok(Some(GoDuration::from_millis(number.into()))),
        Err(_) => GoDuration::parse(&text)
            .map(Some)
            .map_err(de::Error::custom),
    }
}
