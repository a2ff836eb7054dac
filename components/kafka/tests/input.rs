//! Reading, against a real broker: order, positions, and what an event is made of.

mod support;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bindery_contract::settings::Properties;
use bindery_contract::{Event, Registration, Role};
use bindery_kafka::Kafka;
use bindery_testkit::DeliveryOptions;
use bindery_testkit::Limits;
use bindery_testkit::app::{Seen, Verdict};
use bindery_testkit::stand::{Stand, component, on_a_stand};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use support::{Client, broker, settings, unique};

/// Loads an input and waits until it is open.
async fn load(stand: &Stand, name: &str, properties: &Properties, max_in_flight: usize) {
    let delivery = DeliveryOptions {
        max_in_flight,
        ..DeliveryOptions::default()
    };
    let registration = Registration::of::<Kafka>();
    let roles = vec![Role::Input];
    stand.load_component(component(name, &registration, properties, roles, delivery));
    stand.until_state(name, Role::Input, "Running").await;
}

fn partition_of(event: &Event) -> i32 {
    event.metadata.get("__partition").unwrap().parse().unwrap()
}

fn text(event: &Event) -> String {
    String::from_utf8(event.data.to_vec()).unwrap()
}

/// What was taken of each partition, in order.
fn taken(stand: &Stand) -> HashMap<i32, Vec<String>> {
    let mut taken: HashMap<i32, Vec<String>> = HashMap::new();
    for seen in stand.app().seen() {
        if seen.verdict == Verdict::Take {
            taken
                .entry(partition_of(&seen.event))
                .or_default()
                .push(text(&seen.event));
        }
    }
    taken
}

fn count(taken: &HashMap<i32, Vec<String>>) -> usize {
    taken.values().map(Vec::len).sum()
}

fn values(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}

#[test]
fn order_is_kept_in_each_partition_when_the_app_refuses_at_random() {
    const EACH: u32 = 300;
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("order"), Client::of(&brokers));
        client.create_topic(&topic, 3).await;
        for partition in 0..3 {
            client.put_all(&topic, partition, values(0, EACH)).await;
        }
        let chance = Mutex::new(fastrand::Rng::with_seed(7));
        stand
            .app()
            .judge(move |_| (chance.lock().unwrap().u8(..) < 20).then_some(Verdict::Refuse(500)));
        let settings = settings(&brokers, &[("topics", &topic), ("consumerGroup", &topic)]);
        load(stand, "in", &settings, 64).await;
        stand
            .until("everything", || {
                (count(&taken(stand)) == 3 * EACH as usize).then_some(())
            })
            .await;
        for (partition, values) in taken(stand) {
            assert_eq!(values, self::values(0, EACH), "partition {partition}");
        }
        stand.stop_inputs(Duration::from_secs(10)).await;
        for partition in 0..3 {
            let committed = client.committed(&topic, &topic, partition).await;
            assert_eq!(committed, Some(EACH.into()));
        }
    });
}

#[test]
fn what_was_not_acknowledged_comes_again_and_what_was_does_not() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("restart"), Client::of(&brokers));
        client.create_topic(&topic, 1).await;
        client.put_all(&topic, 0, values(0, 10)).await;
        stand
            .app()
            .judge(|event| (text(event) == "4").then_some(Verdict::Refuse(500)));
        let settings = settings(&brokers, &[("topics", &topic), ("consumerGroup", &topic)]);
        load(stand, "in", &settings, 256).await;
        let refused = |seen: &[Seen]| seen.iter().any(|seen| seen.verdict == Verdict::Refuse(500));
        stand.app().until(refused).await;
        let stopping = stand.clock().now();
        stand.stop_inputs(Duration::from_secs(10)).await;
        let took = stand.clock().now() - stopping;
        assert!(took < Duration::from_secs(3), "stopping took {took:?}");
        assert_eq!(taken(stand)[&0], values(0, 4));
        assert_eq!(client.committed(&topic, &topic, 0).await, Some(4));

        stand.app().judge(|_| None);
        let starting = stand.clock().now();
        stand.restart_inputs();
        stand
            .until("the rest", || (count(&taken(stand)) >= 10).then_some(()))
            .await;
        let took = stand.clock().now() - starting;
        assert!(
            took < Duration::from_secs(5),
            "the group was left behind: {took:?}"
        );
        assert_eq!(taken(stand)[&0], values(0, 10), "each once, in order");
    });
}

#[test]
fn a_poisoned_partition_lets_the_others_flow_and_is_not_passed() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("poison"), Client::of(&brokers));
        client.create_topic(&topic, 3).await;
        for partition in 0..3 {
            client.put_all(&topic, partition, values(0, 200)).await;
        }
        let poison = |event: &Event| partition_of(event) == 1 && text(event) == "3";
        stand
            .app()
            .judge(move |event| poison(event).then_some(Verdict::Refuse(500)));
        let settings = settings(&brokers, &[("topics", &topic), ("consumerGroup", &topic)]);
        load(stand, "in", &settings, 8).await;
        stand
            .until("the other partitions", || {
                (count(&taken(stand)) >= 403).then_some(())
            })
            .await;
        let blocked = stand
            .side("in", Role::Input)
            .unwrap()
            .input
            .unwrap()
            .counters
            .blocked();
        assert_eq!(
            blocked[0].key.as_deref(),
            Some(format!("{topic}/1").as_str())
        );
        stand.stop_inputs(Duration::from_secs(10)).await;
        assert_eq!(taken(stand)[&1], values(0, 3));
        for (partition, position) in [(0, 200), (1, 3), (2, 200)] {
            let committed = client.committed(&topic, &topic, partition).await;
            assert_eq!(committed, Some(position), "partition {partition}");
        }
    });
}

#[test]
fn an_idle_partition_does_not_hold_the_only_permit() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("idle"), Client::of(&brokers));
        client.create_topic(&topic, 20).await;
        client.put_all(&topic, 19, values(0, 20)).await;
        let settings = settings(&brokers, &[("topics", &topic), ("consumerGroup", &topic)]);
        load(stand, "in", &settings, 1).await;
        stand
            .until("the one that is not", || {
                (count(&taken(stand)) == 20).then_some(())
            })
            .await;
        assert_eq!(taken(stand)[&19], values(0, 20));
    });
}

#[test]
fn an_event_is_what_the_record_was() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("event"), Client::of(&brokers));
        client.create_topic(&topic, 1).await;
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "plain",
                value: Some("a b"),
            })
            .insert(Header {
                key: "secret-one",
                value: Some("x"),
            })
            .insert(Header {
                key: "__topic",
                value: Some("mine"),
            })
            .insert(Header::<&str> {
                key: "none",
                value: None,
            });
        let record = FutureRecord::to(&topic)
            .key("k/1")
            .payload(b"{\"a\":1}".as_slice());
        client
            .write(record.headers(headers).timestamp(1_700_000_000_123))
            .await;
        client.write(FutureRecord::to(&topic).key("gone")).await;

        let base = [
            ("topics", topic.as_str()),
            ("excludeHeaderMetaRegex", "^secret"),
        ];
        let plain = settings(
            &brokers,
            &[&base[..], &[("consumerGroup", "plain")]].concat(),
        );
        let more = [("consumerGroup", "escaped"), ("escapeHeaders", "true")];
        let escaped = settings(&brokers, &[&base[..], &more].concat());
        load(stand, "plain", &plain, 256).await;
        load(stand, "escaped", &escaped, 256).await;
        stand.app().until(|seen| seen.len() == 4).await;
        let seen = stand.app().seen();
        let of = |name: &str, at: usize| {
            let mut events = seen.iter().filter(|seen| seen.component == name);
            events.nth(at).unwrap().event.clone()
        };
        let metadata = |event: &Event| -> Vec<(String, String)> {
            event
                .metadata
                .iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect()
        };
        let expected = |key: &str, plain: &str| {
            [
                ("__key", key),
                ("__offset", "0"),
                ("__partition", "0"),
                ("__timestamp", "1700000000123"),
                ("__topic", "mine"),
                ("none", ""),
                ("plain", plain),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        assert_eq!(text(&of("plain", 0)), "{\"a\":1}");
        assert_eq!(metadata(&of("plain", 0)), expected("k/1", "a b"));
        assert_eq!(metadata(&of("escaped", 0)), expected("k%2F1", "a+b"));
        let tombstone = of("plain", 1);
        assert_eq!(text(&tombstone), "null");
        assert_eq!(tombstone.metadata.get("__key"), Some("gone"));
        assert_eq!(tombstone.metadata.get("__topic"), Some(topic.as_str()));
    });
}

#[test]
fn without_topics_nothing_is_read_and_stopping_is_no_trouble() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, "in", &settings(&brokers, &[]), 256).await;
        stand.clock().sleep(Duration::from_millis(200)).await;
        assert_eq!(stand.side("in", Role::Input).unwrap().state, "Running");
        let stopping = stand.clock().now();
        stand.stop_inputs(Duration::from_secs(10)).await;
        assert!(stand.clock().now() - stopping < Duration::from_secs(1));
    });
}

#[test]
fn newest_begins_at_the_end_once_and_for_all() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("newest"), Client::of(&brokers));
        client.create_topic(&topic, 2).await;
        client.put_all(&topic, 0, values(0, 5)).await;
        stand.app().always(Some(Verdict::Refuse(500)));
        let more = [
            ("topics", topic.as_str()),
            ("consumerGroup", &topic),
            ("initialOffset", "newest"),
        ];
        load(stand, "in", &settings(&brokers, &more), 256).await;
        // The beginning is fixed before anything is read.
        let mut begun = None;
        while begun.is_none() {
            begun = client.committed(&topic, &topic, 1).await;
        }
        assert_eq!(begun, Some(0));
        assert_eq!(client.committed(&topic, &topic, 0).await, Some(5));
        stand.stop_inputs(Duration::from_secs(10)).await;
        // Nobody reads now, and nobody has ever acknowledged anything.
        client.put_all(&topic, 0, values(5, 8)).await;
        client.put_all(&topic, 1, values(8, 9)).await;
        stand.app().always(None);
        stand.restart_inputs();
        stand
            .until("what came meanwhile", || {
                (count(&taken(stand)) == 4).then_some(())
            })
            .await;
        assert_eq!(taken(stand)[&0], values(5, 8));
        assert_eq!(taken(stand)[&1], values(8, 9));
    });
}

#[test]
fn a_position_that_is_gone_passes_over_nothing_that_is_left() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("gone"), Client::of(&brokers));
        client.create_topic(&topic, 1).await;
        client.put_all(&topic, 0, values(0, 3)).await;
        let more = [("topics", topic.as_str()), ("consumerGroup", &topic)];
        load(stand, "in", &settings(&brokers, &more), 256).await;
        stand
            .until("the first", || (count(&taken(stand)) == 3).then_some(()))
            .await;
        stand.stop_inputs(Duration::from_secs(10)).await;
        client.put_all(&topic, 0, values(3, 10)).await;
        client.delete_before(&topic, 0, 6).await;
        stand.restart_inputs();
        stand
            .until("what is left", || (count(&taken(stand)) == 7).then_some(()))
            .await;
        assert_eq!(taken(stand)[&0], [values(0, 3), values(6, 10)].concat());
    });
}

#[test]
fn large_records_do_not_fill_the_memory() {
    const RECORDS: u32 = 30;
    const SIZE: usize = 4 << 20;
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("large"), Client::of(&brokers));
        client
            .create_topic_with(&topic, 1, &[("max.message.bytes", "6000000")])
            .await;
        for number in 0..RECORDS {
            let value = format!("{number}{}", " ".repeat(SIZE));
            client
                .write(FutureRecord::to(&topic).payload(value.as_bytes()))
                .await;
        }
        stand.app().always(Some(Verdict::Refuse(503)));
        let before = resident();
        let settings = settings(&brokers, &[("topics", &topic), ("consumerGroup", &topic)]);
        load(stand, "in", &settings, 256).await;
        stand
            .until("several attempts", || {
                (stand.app().seen().len() > 5).then_some(())
            })
            .await;
        let grown = resident().saturating_sub(before);
        assert!(grown < 100 << 20, "{} MiB", grown >> 20);
        assert!(
            stand
                .app()
                .seen()
                .iter()
                .all(|seen| seen.event.metadata.get("__offset") == Some("0"))
        );
        stand.app().always(None);
        let all = |seen: &[Seen]| taken_count(seen) == RECORDS as usize;
        stand.app().until(all).await;
        for (number, value) in taken(stand)[&0].iter().enumerate() {
            assert_eq!(value.trim_end(), number.to_string());
            assert!(value.len() > SIZE);
        }
    });
}

fn taken_count(seen: &[Seen]) -> usize {
    seen.iter()
        .filter(|seen| seen.verdict == Verdict::Take)
        .count()
}

/// How much memory this process has.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        << 10
}
