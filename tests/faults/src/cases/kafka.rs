//! SIGKILL of `bindery` itself, as users run it, with Kafka as the source.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bindery_testkit::servers::Kafka;
use rdkafka::ClientConfig;
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::numbers::MAX_IN_FLIGHT;
use crate::app::{App, Manner};
use crate::audit::audit;
use crate::ledger::Event;
use crate::process::Program;
use crate::row::Row;
use crate::scene::{Scene, Setting};

const TOPIC: &str = "numbers";
const GROUP: &str = "faults";
/// As many as a topic gets that nobody has made.
const PARTITIONS: i32 = 1;
const PATIENCE: Duration = Duration::from_secs(30);

/// A topic of numbered events.
struct Topic {
    client: ClientConfig,
    producer: BaseProducer,
    given: BTreeMap<String, u64>,
}

impl Topic {
    fn create(kafka: &Kafka) -> Self {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", kafka.brokers())
            .set("group.id", GROUP)
            .set("enable.idempotence", "true");
        let producer = client.create().expect("these are settings of librdkafka");
        let given = (0..PARTITIONS)
            .map(|partition| (format!("p{partition}"), 0))
            .collect();
        Self {
            client,
            producer,
            given,
        }
    }

    /// Gives out this many more events of each partition.
    fn give(&mut self, each: u64) {
        for (partition, (key, count)) in (0..).zip(&mut self.given) {
            for number in *count + 1..=*count + each {
                let key = key.clone();
                let body = Event { key, number }.body();
                let record = BaseRecord::<(), _>::to(TOPIC)
                    .partition(partition)
                    .payload(&body);
                let sent = self.producer.send(record);
                assert!(sent.is_ok(), "the producer has room for a batch");
            }
            *count += each;
        }
        self.producer.flush(PATIENCE).expect("the broker runs");
    }

    /// Up to where the group has come.
    fn acknowledged(&self) -> BTreeMap<String, u64> {
        let consumer: BaseConsumer = self.client.create().expect("as before");
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(TOPIC, 0, PARTITIONS - 1);
        let committed = consumer
            .committed_offsets(asked, PATIENCE)
            .expect("the broker runs");
        let offset = |partition: i32| match committed.find_partition(TOPIC, partition)?.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        };
        let keys = (0..).zip(self.given.keys());
        keys.map(|(partition, key)| (key.clone(), offset(partition).unwrap_or(0)))
            .collect()
    }
}

/// Kills at random instants, from the start of the process to the middle of its work.
pub(super) fn kills(scene: &mut Scene) -> Row {
    let kills = scene.scaled(20, 1000);
    scene.tell("starting Kafka");
    let kafka = Kafka::start();
    let mut topic = Topic::create(&kafka);
    topic.give(20);
    component(scene, &kafka.brokers());
    let app = scene.app(Manner {
        refuses: 1,
        takes: Duration::from_millis(1),
        ..Manner::default()
    });
    for kill in 0..kills {
        let sidecar = scene.sidecar(Program::Bindery, Some(&app));
        topic.give(200);
        // A group takes a second to see that its member is gone; half of the kills come later.
        let alive = scene.up_to(Duration::from_millis(2500));
        scene.pass(&format!("kill {kill} of {kills}"), alive);
        sidecar.kill();
    }
    app.set(|manner| *manner = Manner::default());
    let mut row = Row::done(format!("{kills} kills, 1 % app errors"));
    finish(scene, &topic, &app, &mut row);
    row
}

fn component(scene: &Scene, brokers: &str) {
    let settings: &[Setting<'_>] = &[
        ("brokers", brokers),
        ("topics", TOPIC),
        ("consumerGroup", GROUP),
        ("authType", "none"),
        ("initialOffset", "oldest"),
        // So that a killed member is not waited for longer than a test has time.
        ("sessionTimeout", "1s"),
        ("heartbeatInterval", "300ms"),
        ("direction", "input"),
    ];
    let more = format!("  delivery:\n    maxInFlight: {MAX_IN_FLIGHT}\n");
    scene.component("numbers", "bindings.kafka", settings, &more);
}

/// A last run without faults takes what is left and stops as its user stops it.
fn finish(scene: &mut Scene, topic: &Topic, app: &App, row: &mut Row) {
    let sidecar = scene.sidecar(Program::Bindery, Some(app));
    // There may be nothing left to wait for, and a process that has hardly begun has no manners.
    scene.until("starting", Duration::from_secs(20), || sidecar.is_ready());
    let given = topic.given.values().sum::<u64>();
    let nobody = HashSet::new();
    let left = |upto: &BTreeMap<String, u64>| {
        audit(&topic.given, upto, &app.ledger.entries(), &nobody).lost
    };
    let none = BTreeMap::new();
    scene.until("the rest of the events", Duration::from_secs(60), || {
        left(&none) == 0
    });
    let (code, took) = scene.stop(sidecar);
    row.must(code == Some(0), || {
        format!("the last run ended with {code:?} after {took:?}")
    });
    let upto = topic.acknowledged();
    let account = audit(&topic.given, &upto, &app.ledger.entries(), &nobody);
    row.must(account.events == given, || {
        "the account is not whole".into()
    });
    row.judge(account, app.ledger.corrupt(), MAX_IN_FLIGHT);
}
