//! What the tests of this crate share: one broker for each test binary, and a client that is not
//! the one under test.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bindery_contract::settings::Properties;
use bindery_testkit::servers::Kafka;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::message::{OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// A broker that tests share. It goes with the last of them.
pub struct Shared {
    /// What `brokers` wants.
    pub brokers: String,
    _server: Mutex<Kafka>,
}

/// The broker that all tests of this binary share.
pub fn broker() -> Arc<Shared> {
    static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Kafka::start();
        let broker = Arc::new(Shared {
            brokers: server.brokers(),
            _server: Mutex::new(server),
        });
        *shared = Arc::downgrade(&broker);
        broker
    })
}

/// A name that no other test has.
pub fn unique(what: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Settings of a component, with a few that nearly all have.
pub fn settings(brokers: &str, more: &[(&str, &str)]) -> Properties {
    let all = [
        ("brokers", brokers),
        ("authType", "none"),
        ("initialOffset", "oldest"),
    ];
    all.iter().chain(more).copied().collect()
}

/// A client of the tests' own.
pub struct Client {
    config: ClientConfig,
    producer: FutureProducer,
}

impl Client {
    /// A client of this broker.
    pub fn of(brokers: &str) -> Self {
        Self::with(brokers, &[])
    }

    /// A client with more settings of librdkafka.
    pub fn with(brokers: &str, more: &[(&str, &str)]) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("linger.ms", "0")
            .set("message.max.bytes", "20000000")
            .set("sticky.partitioning.linger.ms", "0")
            // Or a batch that a new partition's leader refuses would come after the next one.
            .set("enable.idempotence", "true");
        for (key, value) in more {
            config.set(*key, *value);
        }
        let producer = config.create().unwrap();
        Self { config, producer }
    }

    /// Makes a topic.
    pub async fn create_topic(&self, topic: &str, partitions: i32) {
        self.create_topic_with(topic, partitions, &[]).await;
    }

    /// Makes a topic with settings.
    pub async fn create_topic_with(&self, topic: &str, partitions: i32, with: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.config.create().unwrap();
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = with
            .iter()
            .fold(new, |new, (key, value)| new.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let made = admin.create_topics(&[new], &options).await.unwrap();
        made[0].as_ref().unwrap();
        drop_elsewhere(admin);
    }

    /// Deletes the records of a partition before an offset.
    pub async fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.config.create().unwrap();
        let mut before = TopicPartitionList::new();
        before
            .add_partition_offset(topic, partition, Offset::Offset(offset))
            .unwrap();
        let deleted = admin
            .delete_records(&before, &AdminOptions::new())
            .await
            .unwrap();
        deleted.elements()[0].error().unwrap();
        drop_elsewhere(admin);
    }

    /// Writes a record and says where it went: partition and offset.
    pub async fn write(&self, record: FutureRecord<'_, str, [u8]>) -> (i32, i64) {
        let sent = self.producer.send(record, Duration::from_secs(60)).await;
        let sent = sent.map_err(|(error, _)| error).unwrap();
        (sent.partition, sent.offset)
    }

    /// Writes a value to a partition.
    pub async fn put(&self, topic: &str, partition: i32, value: &str) {
        let record = FutureRecord::to(topic)
            .partition(partition)
            .payload(value.as_bytes());
        self.write(record.headers(OwnedHeaders::new())).await;
    }

    /// Writes many values to a partition, in order.
    pub async fn put_all(
        &self,
        topic: &str,
        partition: i32,
        values: impl IntoIterator<Item = String>,
    ) {
        let mut sent = Vec::new();
        for value in values {
            let record = FutureRecord::<str, [u8]>::to(topic).partition(partition);
            sent.push(
                self.producer
                    .send_result(record.payload(value.as_bytes()))
                    .unwrap(),
            );
        }
        for delivery in sent {
            delivery.await.unwrap().map_err(|(error, _)| error).unwrap();
        }
    }

    /// Hands a number to the client, which writes it in order.
    pub fn put_soon(&self, topic: &str, partition: i32, number: u32) {
        let value = number.to_string();
        let record = FutureRecord::<str, [u8]>::to(topic).partition(partition);
        drop(
            self.producer
                .send_result(record.payload(value.as_bytes()))
                .unwrap(),
        );
    }

    /// Reads the first `count` records of a partition, without a group.
    pub async fn read(&self, topic: &str, partition: i32, count: usize) -> Vec<OwnedMessage> {
        let mut config = self.config.clone();
        config
            .set("group.id", "not joined")
            .set("enable.auto.commit", "false");
        let consumer: StreamConsumer = config.create().unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
        consumer.assign(&from).unwrap();
        let mut read = Vec::new();
        while read.len() < count {
            let record = tokio::time::timeout(Duration::from_secs(60), consumer.recv()).await;
            let record = record.unwrap_or_else(|_| panic!("{} of {count} records", read.len()));
            read.push(record.unwrap().detach());
        }
        drop_elsewhere(consumer);
        read
    }

    /// The state of a group, as the brokers call it.
    pub async fn group_state(&self, group: &str) -> String {
        let (config, group) = (self.config.clone(), group.to_owned());
        let asking = tokio::task::spawn_blocking(move || {
            let client: BaseConsumer = config.create().unwrap();
            let groups = client
                .fetch_group_list(Some(&group), Duration::from_secs(30))
                .unwrap();
            groups.groups()[0].state().to_owned()
        });
        asking.await.unwrap()
    }

    /// What a group has committed for a partition.
    pub async fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let mut config = self.config.clone();
        config.set("group.id", group);
        let (topic, partition) = (topic.to_owned(), partition);
        let asking = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let mut asked = TopicPartitionList::new();
            asked.add_partition(&topic, partition);
            let committed = consumer
                .committed_offsets(asked, Duration::from_secs(30))
                .unwrap();
            match committed.elements()[0].offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            }
        });
        asking.await.unwrap()
    }
}

/// Closing a client blocks, and tests run on the thread that is watched for that.
fn drop_elsewhere<T: Send + 'static>(client: T) {
    tokio::task::spawn_blocking(move || drop(client));
}
