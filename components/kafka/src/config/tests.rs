//! What settings mean, and which of them can never work.

use bindery_contract::settings::{Conventions, Properties, decode};

use super::*;

/// Settings as a component has them, with brokers.
pub(crate) fn settings(settings: &[(&str, &str)]) -> KafkaSettings {
    let brokers = [("brokers", "h:9092")];
    let properties: Properties = brokers.iter().chain(settings).copied().collect();
    decode(&properties, Conventions::Usual).unwrap()
}

fn problem(more: &[(&str, &str)]) -> String {
    let all = [&[("authType", "none")], more].concat();
    check(&settings(&all)).unwrap_err().to_string()
}

fn consumer_of(more: &[(&str, &str)], max_in_flight: usize) -> impl Fn(&str) -> String + use<> {
    let settings = settings(&[&[("authType", "none"), ("consumerGroup", "g")], more].concat());
    check(&settings).unwrap();
    let config = consumer(&settings, max_in_flight).unwrap();
    move |key| config.get(key).unwrap_or_default().to_owned()
}

fn producer_of(more: &[(&str, &str)]) -> impl Fn(&str) -> String + use<> {
    let settings = settings(&[&[("authType", "none")], more].concat());
    check(&settings).unwrap();
    let config = producer(&settings).unwrap();
    move |key| config.get(key).unwrap_or_default().to_owned()
}

#[test]
fn what_can_never_work_is_named() {
    for (setting, says) in [
        (("brokers", " , "), "missing 'brokers' attribute"),
        (("topics", "a, b"), "\" b\" is no name of a topic"),
        (("topics", "^a.*"), "is no name of a topic"),
        (("version", "two"), "invalid kafka version"),
        (("version", "0.1.2"), "invalid kafka version"),
        (("excludeHeaderMetaRegex", "("), "excludeHeaderMetaRegex"),
        (("schemaRegistryURL", "http://r"), "does not support Avro"),
        (("consumerFetchMin", "0"), "at least 1"),
        (("consumerFetchDefault", "-1"), "at least 1"),
        (("channelBufferSize", "0"), "at least 1"),
        (("producerRetryMax", "-1"), "at least 0"),
        (
            ("heartbeatInterval", "10s"),
            "less than sessionTimeout, 10s",
        ),
        (("heartbeatInterval", "0"), "has to be positive"),
    ] {
        let problem = problem(&[setting]);
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn what_the_decoder_refuses_is_named_too() {
    for (key, value, says) in [
        (
            "authType",
            "kerberos",
            "invalid value for 'authType' attribute",
        ),
        ("initialOffset", "middle", "one of newest, oldest"),
        ("compression", "rar", "one of none, gzip, snappy, lz4, zstd"),
        ("producerRequiredAcks", "some", "one of all, local, none"),
        ("consumeRetryInterval", "soon", "is not a duration"),
        ("consumerFetchDefault", "1M", "whole number"),
    ] {
        let properties: Properties = [("brokers", "h"), (key, value)].into_iter().collect();
        let error = decode::<KafkaSettings>(&properties, Conventions::Usual).unwrap_err();
        assert_eq!(error.key.as_deref(), Some(key));
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = decode::<KafkaSettings>(&Properties::new(), Conventions::Usual).unwrap_err();
    assert!(
        error.to_string().contains("\"brokers\": is required"),
        "{error}"
    );
}

#[test]
fn settings_have_the_references_defaults() {
    let settings = settings(&[]);
    assert_eq!(settings.client_id, "sarama");
    assert_eq!(settings.initial_offset, crate::InitialOffset::Newest);
    assert_eq!(settings.heartbeat_interval, GoDuration::from_secs(3));
    assert_eq!(settings.session_timeout, GoDuration::from_secs(10));
    assert_eq!(record_limit(&settings), 1 << 20);
    assert_eq!(call_limit(&settings), Duration::from_secs(30));
    assert!(!settings.consume_retry_enabled);
    assert_eq!(topics(&settings).count(), 0);
}

#[test]
fn a_topic_is_read_once_and_an_empty_name_is_none() {
    let settings = settings(&[("topics", "a,,b,a,")]);
    assert_eq!(topics(&settings).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn some_names_are_exact_and_the_group_has_two() {
    let settings = settings(&[
        ("Topics", "a"),
        ("PublishTopic", "b"),
        ("InitialOffset", "oldest"),
        ("ConsumerID", "g"),
        ("CLIENTID", "c"),
    ]);
    assert_eq!(topics(&settings).count(), 0);
    assert_eq!(settings.publish_topic, "");
    assert_eq!(settings.initial_offset, crate::InitialOffset::Newest);
    assert_eq!(
        (&*settings.consumer_group, &*settings.client_id),
        ("g", "c")
    );
}

#[test]
fn a_plain_number_is_milliseconds_for_one_setting_and_seconds_for_the_others() {
    let settings = settings(&[("consumeRetryInterval", "200"), ("sessionTimeout", "20")]);
    assert_eq!(
        settings.consume_retry_interval,
        Some(GoDuration::from_millis(200))
    );
    assert_eq!(settings.session_timeout, GoDuration::from_secs(20));
    let settings = self::settings(&[("consumeRetryInterval", "2s")]);
    assert_eq!(
        settings.consume_retry_interval,
        Some(GoDuration::from_secs(2))
    );
}

#[test]
fn queues_are_no_longer_than_what_may_be_in_flight() {
    let ahead = |more, max| consumer_of(more, max)("queued.min.messages");
    assert_eq!(ahead(&[], 256), "64");
    assert_eq!(ahead(&[], 1), "1");
    assert_eq!(ahead(&[], 65_536), "256");
    assert_eq!(ahead(&[("channelBufferSize", "8")], 256), "8");
    let large = consumer_of(&[("consumerFetchDefault", "33554432")], 256);
    assert_eq!(large("max.partition.fetch.bytes"), "33554432");
    assert_eq!(large("queued.max.messages.kbytes"), "32768");
    assert_eq!(large("fetch.max.bytes"), "33554432");
    assert_eq!(consumer_of(&[], 256)("fetch.max.bytes"), "16777216");
}

#[test]
fn nothing_is_stored_before_it_is_acknowledged() {
    let config = consumer_of(&[], 256);
    assert_eq!(config("enable.auto.offset.store"), "false");
    assert_eq!(config("enable.auto.commit"), "true");
    assert_eq!(config("auto.offset.reset"), "earliest");
}

#[test]
fn partitions_are_dealt_out_as_configured() {
    let key = "consumerGroupRebalanceStrategy";
    for (says, means) in [
        ("range", "range"),
        ("RoundRobin", "roundrobin"),
        ("sticky", "cooperative-sticky"),
        ("anything", "range"),
    ] {
        let config = consumer_of(&[(key, says)], 256);
        assert_eq!(config("partition.assignment.strategy"), means);
    }
}

#[test]
fn a_session_may_be_longer_than_the_usual_poll_interval() {
    let config = consumer_of(&[("sessionTimeout", "10m")], 256);
    assert_eq!(config("session.timeout.ms"), "600000");
    assert_eq!(config("max.poll.interval.ms"), "600000");
    assert_eq!(consumer_of(&[], 256)("max.poll.interval.ms"), "300000");
}

#[test]
fn a_writer_is_what_its_settings_say() {
    let config = producer_of(&[
        ("producerRequiredAcks", "local"),
        ("producerRetryMax", "7"),
        ("compression", "zstd"),
        ("maxMessageBytes", "100"),
        ("readTimeout", "2s"),
        ("writeTimeout", "3s"),
        ("dialTimeout", "1ms"),
        ("brokers", " a:1 ,b:2,"),
    ]);
    for (key, value) in [
        ("acks", "1"),
        ("retries", "7"),
        ("compression.type", "zstd"),
        ("message.max.bytes", "1000"),
        ("message.timeout.ms", "3000"),
        ("socket.timeout.ms", "3000"),
        ("socket.connection.setup.timeout.ms", "1000"),
        ("socket.keepalive.enable", "true"),
        ("queue.buffering.max.kbytes", "65536"),
        ("topic.metadata.refresh.interval.ms", "480000"),
        ("bootstrap.servers", "a:1,b:2"),
    ] {
        assert_eq!(config(key), value, "{key}");
    }
}

#[test]
fn the_largest_record_finds_room_in_the_queue() {
    let config = producer_of(&[("maxMessageBytes", "200000000")]);
    assert_eq!(config("message.max.bytes"), "200000000");
    assert_eq!(config("queue.buffering.max.kbytes"), "195313");
}

#[test]
fn what_is_no_time_is_the_default() {
    for none in ["0", "-5s", ""] {
        let config = producer_of(&[
            ("readTimeout", none),
            ("writeTimeout", none),
            ("dialTimeout", none),
            ("clientConnectionTopicMetadataRefreshInterval", none),
        ]);
        assert_eq!(config("message.timeout.ms"), "30000");
        assert_eq!(config("socket.connection.setup.timeout.ms"), "30000");
        assert_eq!(config("topic.metadata.refresh.interval.ms"), "480000");
    }
}

#[test]
fn what_has_no_effect_is_said() {
    let all = settings(&[
        ("skipVerify", "true"),
        ("consumeRetryInterval", "1s"),
        ("clientConnectionKeepAliveInterval", "30s"),
        ("consumerGroupRebalanceStrategy", "random"),
    ]);
    assert_eq!(warnings(&all, Role::Input).len(), 4);
    assert_eq!(warnings(&all, Role::Output).len(), 2);
    assert_eq!(warnings(&settings(&[]), Role::Input), [""; 0]);
}

#[test]
fn librdkafka_takes_every_configuration_that_we_make() {
    let extremes: &[&[(&str, &str)]] = &[
        &[],
        &[
            ("consumerFetchDefault", "2147483647"),
            ("consumerFetchMin", "2147483647"),
            ("channelBufferSize", "2147483647"),
            ("maxMessageBytes", "2147483647"),
            ("producerRetryMax", "2147483647"),
            ("sessionTimeout", "100h"),
            ("heartbeatInterval", "99h"),
            ("dialTimeout", "10000h"),
            ("readTimeout", "10000h"),
            ("clientConnectionTopicMetadataRefreshInterval", "100h"),
        ],
        &[
            ("sessionTimeout", "1ms"),
            ("heartbeatInterval", "1us"),
            ("consumerFetchDefault", "1"),
            ("dialTimeout", "-1s"),
            ("readTimeout", "0"),
            ("clientConnectionTopicMetadataRefreshInterval", "0"),
        ],
    ];
    for more in extremes {
        let base = [
            ("authType", "none"),
            ("consumerGroup", "g"),
            ("topics", "t"),
        ];
        let settings = settings(&[&base, *more].concat());
        check(&settings).unwrap();
        for max_in_flight in [1, 256, 65_536] {
            let config = consumer(&settings, max_in_flight).unwrap();
            let client: Result<rdkafka::consumer::BaseConsumer, _> = config.create();
            client.unwrap();
        }
        let client: Result<rdkafka::producer::BaseProducer, _> =
            producer(&settings).unwrap().create();
        client.unwrap();
    }
}
