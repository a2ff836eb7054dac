//! Writing: what a record is made of, and what a caller hears when there is none.

mod support;

use std::time::Duration;

use bindery_contract::settings::Properties;
use bindery_contract::{Registration, Role};
use bindery_kafka::Kafka;
use bindery_testkit::stand::{Stand, on_a_stand};
use bindery_testkit::{CallError, Limits};
use rdkafka::Message;
use rdkafka::message::Headers;
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaRespErr as Answer;
use support::{Client, broker, settings, unique};

const NAME: &str = "out";

async fn load(stand: &Stand, properties: &Properties) {
    let registration = Registration::of::<Kafka>();
    stand.load_sides(NAME, &registration, properties, vec![Role::Output]);
    stand.until_state(NAME, Role::Output, "Running").await;
}

async fn create(stand: &Stand, data: &str, metadata: &[(&str, &str)]) -> Result<(), CallError> {
    let answer = stand
        .invoke(NAME, "create", data.to_owned(), metadata)
        .await?;
    assert_eq!(answer, None, "there is nothing to answer");
    Ok(())
}

/// What the caller hears, and whether the binding goes on as it was.
async fn refused(stand: &Stand, data: &str, metadata: &[(&str, &str)]) -> String {
    let error = create(stand, data, metadata).await.unwrap_err().to_string();
    let side = stand.side(NAME, Role::Output).unwrap();
    assert_eq!((side.state, side.restarts), ("Running", 0), "{error}");
    error
}

#[test]
fn a_record_is_what_the_call_said() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("record"), Client::of(&brokers));
        client.create_topic(&topic, 3).await;
        let more = [
            ("publishTopic", topic.as_str()),
            ("excludeHeaderMetaRegex", "^trace"),
        ];
        load(stand, &settings(&brokers, &more)).await;
        let to_second = ("partitionNumber", "2");
        let metadata = [
            to_second,
            ("partitionKey", "k"),
            ("x-a", "ä"),
            ("traceparent", "t"),
        ];
        create(stand, "{\"a\":\"b\"}", &metadata).await.unwrap();
        create(stand, "null", &[to_second, ("__key", "gone")])
            .await
            .unwrap();
        create(stand, "", &[to_second]).await.unwrap();
        let records = client.read(&topic, 2, 3).await;
        let headers = |at: usize| -> Vec<(String, Vec<u8>)> {
            let headers = records[at].headers().unwrap().iter();
            headers
                .map(|header| (header.key.to_owned(), header.value.unwrap().to_vec()))
                .collect()
        };
        assert_eq!(records[0].payload(), Some(b"{\"a\":\"b\"}".as_slice()));
        assert_eq!(records[0].key(), Some(b"k".as_slice()));
        let expected = [
            ("partitionKey", "k"),
            ("partitionNumber", "2"),
            ("x-a", "ä"),
        ];
        assert_eq!(
            headers(0),
            expected.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()))
        );
        assert_eq!(
            (records[1].payload(), records[1].key()),
            (None, Some(b"gone".as_slice()))
        );
        assert_eq!((records[2].payload(), records[2].key()), (None, None));
    });
}

/// Where the reference's client puts a key.
fn expected_partition(key: &str, partitions: i32) -> i32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash.cast_signed() % partitions).abs()
}

#[test]
fn a_key_has_the_partition_that_it_has_with_the_reference() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("keys"), Client::of(&brokers));
        client.create_topic(&topic, 5).await;
        load(stand, &settings(&brokers, &[("publishTopic", &topic)])).await;
        let mut expected: Vec<Vec<String>> = vec![Vec::new(); 5];
        for number in 0..40 {
            let key = format!("customer {number}");
            let partition = expected_partition(&key, 5).unsigned_abs() as usize;
            expected[partition].push(key.clone());
            create(stand, "1", &[("partitionKey", &key)]).await.unwrap();
        }
        assert!(expected.iter().all(|keys| !keys.is_empty()));
        for (partition, keys) in (0..).zip(expected) {
            let records = client.read(&topic, partition, keys.len()).await;
            let found = records
                .iter()
                .map(|record| std::str::from_utf8(record.key().unwrap()).unwrap());
            assert_eq!(found.collect::<Vec<_>>(), keys, "partition {partition}");
        }
    });
}

#[test]
fn a_call_that_makes_no_sense_fails_alone() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("refused"), Client::of(&brokers));
        client
            .create_topic_with(&topic, 3, &[("max.message.bytes", "1500")])
            .await;
        let more = [
            ("publishTopic", topic.as_str()),
            ("maxMessageBytes", "2000"),
        ];
        load(stand, &settings(&brokers, &more)).await;
        for (data, metadata, says) in [
            (
                "1",
                [("partitionNumber", "x")],
                "invalid partitionNumber metadata value 'x'",
            ),
            (
                "1",
                [("partitionNumber", "-1")],
                "invalid partitionNumber metadata value '-1'",
            ),
            (
                "1",
                [("partitionNumber", "3")],
                "partition number 3 is out of range, topic refused",
            ),
            ("1", [("partitionNumber", "99")], "has 3 partitions"),
            (
                "1",
                [("valueSchemaType", "Avro")],
                "does not support valueSchemaType Avro",
            ),
            (
                "1",
                [("valueSchemaType", "xml")],
                "'xml' is not a supported value",
            ),
        ] {
            let error = refused(stand, data, &metadata).await;
            assert!(error.contains(says), "{error}");
        }
        let error = refused(stand, &"x".repeat(2_001), &[]).await;
        assert!(
            error.contains("2001 bytes") && error.contains("maxMessageBytes is 2000"),
            "{error}"
        );
        let error = refused(stand, &"x".repeat(1_800), &[]).await;
        assert!(error.contains("more than topic refused"), "{error}");
        create(stand, &"x".repeat(1_000), &[]).await.unwrap();
    });
}

#[test]
fn without_a_topic_only_the_call_fails() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &settings(&brokers, &[])).await;
        let error = refused(stand, "1", &[]).await;
        assert!(error.contains("\"publishTopic\" is missing"), "{error}");
    });
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &settings(&brokers, &[("publishTopic", "no topic")])).await;
        let error = refused(stand, "1", &[]).await;
        assert!(
            error.contains("topic no topic does not take the record"),
            "{error}"
        );
    });
}

#[test]
fn every_compression_and_every_kind_of_confirmation_works() {
    let broker = broker();
    for (compression, acks) in [
        ("none", "all"),
        ("gzip", "local"),
        ("snappy", "none"),
        ("lz4", "all"),
        ("Zstd", "ALL"),
    ] {
        let brokers = broker.brokers.clone();
        on_a_stand(Limits::default(), async move |stand| {
            let (topic, client) = (unique("packed"), Client::of(&brokers));
            client.create_topic(&topic, 1).await;
            let more = [
                ("publishTopic", topic.as_str()),
                ("compression", compression),
                ("producerRequiredAcks", acks),
                ("producerRetryMax", "0"),
            ];
            load(stand, &settings(&brokers, &more)).await;
            let value = "a".repeat(10_000);
            create(stand, &value, &[]).await.unwrap();
            let records = client.read(&topic, 0, 1).await;
            assert_eq!(
                records[0].payload(),
                Some(value.as_bytes()),
                "{compression}"
            );
        });
    }
}

#[test]
fn a_topic_that_does_not_exist_is_said_so() {
    let cluster = MockCluster::new(1).unwrap();
    let unknown = Answer::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    cluster.create_topic("missing", 1, 1).unwrap();
    cluster.topic_error("missing", unknown).unwrap();
    let brokers = cluster.bootstrap_servers();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &settings(&brokers, &[("publishTopic", "missing")])).await;
        let started = stand.clock().now();
        let error = refused(stand, "1", &[]).await;
        assert!(error.contains("topic missing does not exist"), "{error}");
        assert!(stand.clock().now() - started < Duration::from_secs(10));
    });
}

#[test]
fn a_broker_that_does_not_answer_costs_no_more_than_the_limit() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("slow", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let (tell, told) = std::sync::mpsc::channel();
    let (slow, slowed) = tokio::sync::oneshot::channel();
    let stand = std::thread::spawn(move || {
        on_a_stand(Limits::default(), async move |stand| {
            let more = [
                ("publishTopic", "slow"),
                ("readTimeout", "1s"),
                ("writeTimeout", "1s"),
            ];
            load(stand, &settings(&brokers, &more)).await;
            create(stand, "1", &[]).await.unwrap();
            tell.send(()).unwrap();
            slowed.await.unwrap();
            let started = stand.clock().now();
            let error = refused(stand, "2", &[]).await;
            assert!(
                error.contains("did not confirm the record within 1s"),
                "{error}"
            );
            assert!(stand.clock().now() - started < Duration::from_secs(4));
        });
    });
    told.recv().unwrap();
    cluster
        .broker_round_trip_time(-1, Duration::from_secs(20))
        .unwrap();
    slow.send(()).unwrap();
    stand.join().unwrap();
}

/// While all brokers are away, callers wait at first, because it may be short; then they are
/// told, and at once. When the brokers are there again, so is the binding.
#[test]
fn an_outage_ends_calls_and_is_got_over() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let (down, brought_down) = std::sync::mpsc::channel();
    let stand = std::thread::spawn(move || {
        on_a_stand(Limits::default(), async move |stand| {
            load(stand, &settings(&brokers, &[("publishTopic", "t")])).await;
            create(stand, "1", &[]).await.unwrap();
            let side = || stand.side(NAME, Role::Output).unwrap();
            down.send(true).unwrap();
            stand.until("the news", || side().last_error).await;
            assert_eq!(side().state, "Running", "it may be short");
            let started = stand.clock().now();
            let error = create(stand, "2", &[]).await.unwrap_err().to_string();
            let took = stand.clock().now() - started;
            assert!(
                error.contains("all brokers are away") || error.contains("Kafka at"),
                "{error}"
            );
            assert!(took < Duration::from_secs(20), "{took:?}");
            let side = stand.until_state(NAME, Role::Output, "Degraded").await;
            assert!(side.last_error.is_some());
            down.send(false).unwrap();
            stand.until_state(NAME, Role::Output, "Running").await;
            create(stand, "3", &[]).await.unwrap();
        });
    });
    while let Ok(down) = brought_down.recv() {
        if down {
            cluster.broker_down(-1).unwrap();
        } else {
            cluster.broker_up(-1).unwrap();
        }
    }
    stand.join().unwrap();
}
