//! From the settings to librdkafka's configuration, and what can be wrong with them.
//!
//! Each choice that is not a setting is made here, with its reason.

use std::ops::RangeInclusive;
use std::time::Duration;

use bindery_contract::Role;
use bindery_contract::settings::{GoDuration, SettingsError};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use regex::Regex;

use crate::security;
use crate::settings::{CLIENT_ID, Compression, KafkaSettings, RequiredAcks};

/// The largest answer of a broker to one request for records, unless a single record is larger.
const FETCH_BYTES: i32 = 16 << 20;
/// The largest size that librdkafka takes anywhere.
const MOST_BYTES: i32 = 1_000_000_000;
/// The reference's client's limit for a record.
const RECORD_BYTES: i32 = 1 << 20;
/// How much may wait to be sent, in KiB; beyond that, calls wait for their turn.
const QUEUE_KBYTES: usize = 64 << 10;
/// How long it takes at the least before a group takes the partitions away from a member whose
/// thread hangs. Our thread never waits for the app, so an app that is slow or down does not
/// count.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);
/// How long the brokers have for their first answer: just below the default of `initTimeout`, so
/// that the error is one that says more.
const FIRST_ANSWER: Duration = Duration::from_millis(4_500);

/// Finds what can never work.
///
/// # Errors
/// The setting, and what would be right.
pub(crate) fn check(settings: &KafkaSettings) -> Result<(), SettingsError> {
    security::properties(settings)?;
    excluded_headers(settings)?;
    if brokers(settings).is_empty() {
        return Err(SettingsError::new("brokers", "missing 'brokers' attribute"));
    }
    if let Some(topic) = topics(settings).find(|topic| !is_topic(topic)) {
        return Err(SettingsError::new(
            "topics",
            format!(
                "{topic:?} is no name of a topic: those are made of letters, digits, '.', '_' and \
                 '-', at most 249 of them, and blanks after a comma count"
            ),
        ));
    }
    if !is_version(&settings.version) {
        let problem = format!(
            "invalid kafka version: {:?}; write it like 2.0.0",
            settings.version
        );
        return Err(SettingsError::new("version", problem));
    }
    if !settings.schema_registry_url.is_empty() {
        return Err(SettingsError::new(
            "schemaRegistryURL",
            "this build does not support Avro and schema registries; remove it",
        ));
    }
    check_numbers(settings)
}

fn check_numbers(settings: &KafkaSettings) -> Result<(), SettingsError> {
    for (key, number, least) in [
        ("consumerFetchMin", settings.consumer_fetch_min, 1),
        ("consumerFetchDefault", settings.consumer_fetch_default, 1),
        ("channelBufferSize", settings.channel_buffer_size, 1),
        ("producerRetryMax", settings.producer_retry_max, 0),
    ] {
        if number < least {
            let problem = format!("{number} is too small: it has to be at least {least}");
            return Err(SettingsError::new(key, problem));
        }
    }
    let (heartbeat, session) = (settings.heartbeat_interval, settings.session_timeout);
    if heartbeat.positive().is_none() || heartbeat >= session {
        return Err(SettingsError::new(
            "heartbeatInterval",
            format!("{heartbeat} has to be positive and less than sessionTimeout, {session}"),
        ));
    }
    Ok(())
}

/// What works, and that a person should hear of.
pub(crate) fn warnings(settings: &KafkaSettings, role: Role) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.skip_verify {
        warnings.push("skipVerify is on: any certificate of a broker is taken".into());
    }
    if settings.client_connection_keep_alive_interval > GoDuration::ZERO {
        warnings.push(
            "clientConnectionKeepAliveInterval has no effect: the system's interval counts".into(),
        );
    }
    if role == Role::Input && settings.consume_retry_interval.is_some() {
        warnings.push("consumeRetryInterval has no effect: the runtime's backoff counts".into());
    }
    if role == Role::Input && strategy(settings).is_none() {
        let strategy = &settings.consumer_group_rebalance_strategy;
        warnings.push(format!(
            "consumerGroupRebalanceStrategy {strategy:?} is not known; range is used"
        ));
    }
    warnings
}

/// The brokers to begin with.
pub(crate) fn brokers(settings: &KafkaSettings) -> String {
    let named = settings.brokers.iter().map(|broker| broker.trim());
    named
        .filter(|broker| !broker.is_empty())
        .collect::<Vec<_>>()
        .join(",")
}

/// The topics to read, each once.
pub(crate) fn topics(settings: &KafkaSettings) -> impl Iterator<Item = &str> {
    let all = &settings.topics;
    let named = |(at, topic): &(usize, &String)| !topic.is_empty() && !all[..*at].contains(topic);
    all.iter()
        .enumerate()
        .filter(named)
        .map(|(_, topic)| topic.as_str())
}

/// Which headers are left out.
///
/// # Errors
/// When the expression is none.
pub(crate) fn excluded_headers(settings: &KafkaSettings) -> Result<Option<Regex>, SettingsError> {
    match settings.exclude_header_meta_regex.as_str() {
        "" => Ok(None),
        text => Regex::new(text)
            .map(Some)
            .map_err(|error| SettingsError::new("excludeHeaderMetaRegex", error)),
    }
}

/// How long the brokers have for their first answer.
pub(crate) fn first_answer(settings: &KafkaSettings) -> Duration {
    settings.metadata_timeout.positive().unwrap_or(FIRST_ANSWER)
}

/// How long a call may take in all.
pub(crate) fn call_limit(settings: &KafkaSettings) -> Duration {
    let limit = settings.read_timeout.max(settings.write_timeout);
    Duration::from_millis(millis(limit, 30_000, 1_000..=300_000))
}

/// How large a record may be.
pub(crate) fn record_limit(settings: &KafkaSettings) -> usize {
    let limit = match settings.max_message_bytes {
        limit @ 1.. => limit.min(MOST_BYTES),
        _ => RECORD_BYTES,
    };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A client that can find out about the cluster.
///
/// # Errors
/// See [`check`].
pub(crate) fn client(settings: &KafkaSettings) -> Result<ClientConfig, SettingsError> {
    let refresh = settings.client_connection_topic_metadata_refresh_interval;
    let client_id = Some(&*settings.client_id)
        .filter(|id| !id.is_empty())
        .unwrap_or(CLIENT_ID);
    let mut config = ClientConfig::new();
    config
        .set_log_level(RDKafkaLogLevel::Notice)
        .set("bootstrap.servers", brokers(settings))
        .set("client.id", client_id)
        .set("socket.keepalive.enable", "true")
        // Brokers that are away are looked for every other second or so.
        .set("reconnect.backoff.max.ms", "2000")
        .set(
            "socket.connection.setup.timeout.ms",
            millis(settings.dial_timeout, 30_000, 1_000..=2_147_483_647).to_string(),
        )
        .set(
            "socket.timeout.ms",
            call_limit(settings).as_millis().to_string(),
        )
        .set(
            "topic.metadata.refresh.interval.ms",
            millis(refresh, 480_000, 1_000..=3_600_000).to_string(),
        );
    for (key, value) in security::properties(settings)? {
        config.set(key, value);
    }
    Ok(config)
}

/// A member of the consumer group, for a reader that has at most `max_in_flight` events under
/// way.
///
/// # Errors
/// See [`check`].
pub(crate) fn consumer(
    settings: &KafkaSettings,
    max_in_flight: usize,
) -> Result<ClientConfig, SettingsError> {
    let fetch = settings.consumer_fetch_default.min(MOST_BYTES);
    // A partition has at most its share of the events under way; ahead of that, no more again.
    let ahead = (max_in_flight / 4).clamp(
        1,
        usize::try_from(settings.channel_buffer_size).unwrap_or(1),
    );
    let session = millis(settings.session_timeout, 10_000, 1..=3_600_000);
    let heartbeat = millis(settings.heartbeat_interval, 3_000, 1..=3_600_000);
    let max_poll = Duration::from_millis(session).max(MAX_POLL_INTERVAL);
    let mut config = client(settings)?;
    config
        .set("group.id", &settings.consumer_group)
        .set(
            "partition.assignment.strategy",
            strategy(settings).unwrap_or("range"),
        )
        .set("session.timeout.ms", session.to_string())
        .set("heartbeat.interval.ms", heartbeat.to_string())
        .set("max.poll.interval.ms", max_poll.as_millis().to_string())
        // Positions are stored by us, after the acknowledgement, and committed by librdkafka:
        // ten times a second, because what is not committed yet comes again after a kill; before a
        // partition is given up, and at the end, on threads of its own.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "100")
        // Where a group begins is decided when a partition is assigned. This is for a position
        // that the log does not have any more: nothing that is still there is passed over.
        .set("auto.offset.reset", "earliest")
        // As the reference's client does.
        .set("isolation.level", "read_uncommitted")
        .set("check.crcs", "true")
        .set("allow.auto.create.topics", "true")
        .set("queued.min.messages", ahead.to_string())
        .set(
            "queued.max.messages.kbytes",
            (fetch / 1024).clamp(1, 2_097_151).to_string(),
        )
        .set("max.partition.fetch.bytes", fetch.to_string())
        .set("fetch.max.bytes", fetch.max(FETCH_BYTES).to_string())
        .set(
            "fetch.min.bytes",
            settings.consumer_fetch_min.min(100_000_000).to_string(),
        )
        // The queues are short, so it is looked often whether there is room again.
        .set("fetch.queue.backoff.ms", "20");
    Ok(config)
}

/// The writer.
///
/// # Errors
/// See [`check`].
pub(crate) fn producer(settings: &KafkaSettings) -> Result<ClientConfig, SettingsError> {
    let acks = match settings.producer_required_acks {
        RequiredAcks::All => "all",
        RequiredAcks::Local => "1",
        RequiredAcks::None => "0",
    };
    let compression = match settings.compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    let record = record_limit(settings);
    // Room for the largest record, or for many of the others.
    let queue = (record / 1024 + 1).max(QUEUE_KBYTES);
    let mut config = client(settings)?;
    config
        .set("acks", acks)
        .set("retries", settings.producer_retry_max.to_string())
        .set(
            "message.timeout.ms",
            call_limit(settings).as_millis().to_string(),
        )
        .set("compression.type", compression)
        // Our own limit is exact; librdkafka's has a floor.
        .set("message.max.bytes", record.max(1_000).to_string())
        // The reference's client puts a key into the same partition.
        .set("partitioner", "fnv1a_random")
        .set("sticky.partitioning.linger.ms", "0")
        // A call waits for its record, so the record does not wait for others; those that come
        // while five requests are on their way share the next one.
        .set("linger.ms", "0")
        .set("max.in.flight", "5")
        // Without idempotence, as the reference: older clusters ask for a right of its own for
        // it. A record may be there twice after a failure.
        .set("enable.idempotence", "false")
        .set("queue.buffering.max.kbytes", queue.to_string())
        // How long a topic may be unknown before a call to it fails.
        .set("topic.metadata.propagation.max.ms", "5000");
    Ok(config)
}

/// How partitions are dealt out, if librdkafka knows that way.
pub(crate) fn strategy(settings: &KafkaSettings) -> Option<&'static str> {
    match settings
        .consumer_group_rebalance_strategy
        .to_lowercase()
        .as_str()
    {
        "range" => Some("range"),
        "roundrobin" => Some("roundrobin"),
        "sticky" => Some("cooperative-sticky"),
        _ => None,
    }
}

/// What librdkafka takes: whole milliseconds, within its limits. What is not positive is the
/// default.
fn millis(duration: GoDuration, default: u64, limits: RangeInclusive<u64>) -> u64 {
    let (least, most) = limits.into_inner();
    let millis = duration.positive().map(|duration| duration.as_millis());
    let millis = millis.map_or(default, |millis| u64::try_from(millis).unwrap_or(most));
    millis.clamp(least, most)
}

fn is_topic(name: &str) -> bool {
    let taken = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    name.len() <= 249 && !matches!(name, "." | "..") && name.bytes().all(taken)
}

/// Three numbers, or four that begin with 0, as versions of Kafka were before 1.0.0.
fn is_version(text: &str) -> bool {
    let numbers: Option<Vec<u16>> = text.split('.').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([0, _, _, _]) => true,
        Some([major, _, _]) => *major > 0,
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests;
