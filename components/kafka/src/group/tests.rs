//! A member against librdkafka's own mock of a cluster, which starts at once and fails on order.

use std::sync::{Mutex, PoisonError};

use bindery_contract::credit::Credit;
use bindery_contract::sink::{Delivery, Intake, IntakeSettings, Lanes};
use bindery_contract::{Cause, Clock, ContextParts, Host, Order, Role, Source};
use bindery_testkit::context::parts;
use bytes::Bytes;
use futures_util::future::join;
use rdkafka::consumer::BaseConsumer;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Answer};

use bindery_contract::Nack;

use super::*;
use crate::config::tests::settings;

const TOPIC: &str = "orders";

/// Lanes that keep what they are given.
struct Kept {
    slots: Arc<Credit>,
    deliveries: Mutex<Vec<Delivery>>,
}

impl Lanes for Kept {
    fn slots(&self) -> &Arc<Credit> {
        &self.slots
    }

    fn push(self: Arc<Self>, mut delivery: Delivery) {
        delivery.left_lane();
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(delivery);
    }
}

/// Keeps what the binding says of itself.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Host for Ear {
    fn degraded(&self, cause: Cause) {
        self.0.lock().unwrap().push(cause.to_string());
    }

    fn recovered(&self) {
        self.0.lock().unwrap().push("recovered".into());
    }

    fn disconnected(&self, cause: Cause) {
        self.degraded(cause);
    }

    fn crashed(&self, panic: String) {
        panic!("{panic}");
    }
}

struct Scene {
    cluster: MockCluster<'static, DefaultProducerContext>,
    settings: Arc<KafkaSettings>,
    intake: Arc<Intake>,
    lanes: Arc<Kept>,
    said: Arc<Ear>,
    clock: Clock,
}

impl Scene {
    /// A cluster with one topic of two partitions.
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let lanes = Arc::new(Kept {
            slots: Credit::new(64),
            deliveries: Mutex::default(),
        });
        let delivery = IntakeSettings {
            source: Source::Log,
            order: Order::Source,
            max_in_flight: 16,
        };
        let mut settings = settings(&[
            ("authType", "none"),
            ("topics", TOPIC),
            ("consumerGroup", "g"),
            ("initialOffset", "oldest"),
            // More than the three seconds after which the mock's groups begin.
            ("sessionTimeout", "3200ms"),
            ("heartbeatInterval", "300ms"),
        ]);
        settings.brokers = vec![cluster.bootstrap_servers()];
        Self {
            cluster,
            settings: Arc::new(settings),
            intake: Intake::new(delivery, lanes.clone()),
            lanes,
            said: Arc::default(),
            clock: Clock::system(),
        }
    }

    fn member(&self) -> Member {
        self.member_with(&[])
    }

    fn member_with(&self, more: &[(&str, &str)]) -> Member {
        let mut config =
            config::consumer(&self.settings, self.intake.sink().max_in_flight()).unwrap();
        for (key, value) in more {
            config.set(*key, *value);
        }
        let cx = OpenContext::new(ContextParts {
            role: Role::Input,
            clock: self.clock.clone(),
            ..parts(self.said.clone())
        });
        Member::join(Arc::clone(&self.settings), &config, self.intake.sink(), cx).unwrap()
    }

    async fn write(&self, values: &[&str]) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers());
        let producer: FutureProducer = config.create().unwrap();
        for value in values {
            let record = FutureRecord::<str, str>::to(TOPIC)
                .partition(0)
                .payload(value);
            producer.send(record, Duration::from_secs(9)).await.unwrap();
        }
    }

    /// The next event that reaches the app.
    async fn delivery(&self) -> Delivery {
        let first = || {
            let mut deliveries = self.lanes.deliveries.lock().unwrap();
            (!deliveries.is_empty()).then(|| deliveries.remove(0))
        };
        loop {
            if let Some(delivery) = first() {
                return delivery;
            }
            self.clock.sleep(Duration::from_millis(5)).await;
        }
    }

    fn committed(&self) -> Option<i64> {
        let mut config = config::client(&self.settings).unwrap();
        config.set("group.id", "g");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition(TOPIC, 0);
        let committed = consumer
            .committed_offsets(asked, Duration::from_secs(9))
            .unwrap();
        match committed.elements()[0].offset() {
            rdkafka::Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

/// Runs a member until it ends, and beside it what happens to it.
async fn reading<T>(
    mut member: Member,
    happens: impl Future<Output = T>,
) -> (Result<(), ReadError>, T) {
    let read = async {
        let outcome = member.read().await;
        drop(member);
        outcome
    };
    let both = join(read, happens);
    Clock::system()
        .timeout(Duration::from_secs(40), both)
        .await
        .expect("it ends")
}

#[tokio::test]
async fn an_app_that_is_down_for_long_costs_no_partition() {
    let scene = Scene::new();
    scene.write(&["1", "2"]).await;
    let member = scene.member_with(&[("max.poll.interval.ms", "3200")]);
    let (outcome, ()) = reading(member, async {
        let (first, second) = (scene.delivery().await, scene.delivery().await);
        scene.clock.sleep(Duration::from_secs(7)).await;
        assert_eq!(
            (first.refused(), second.refused()),
            (None, None),
            "still ours"
        );
        first.ack(Bytes::new());
        second.ack(Bytes::new());
        scene.write(&["3"]).await;
        let third = scene.delivery().await;
        assert_eq!(third.event().data, "3", "nothing came twice");
        scene.intake.stop();
        third.nack(Nack::Stopped);
    })
    .await;
    outcome.unwrap();
    assert_eq!(scene.committed(), Some(2));
}

#[tokio::test]
async fn a_short_outage_is_bridged_and_a_long_one_ends_the_reader() {
    let scene = Scene::new();
    let (outcome, ()) = reading(scene.member(), async {
        scene.write(&["1"]).await;
        scene.delivery().await.ack(Bytes::new());
        scene.cluster.broker_down(-1).unwrap();
        while scene.said.0.lock().unwrap().is_empty() {
            scene.clock.sleep(Duration::from_millis(5)).await;
        }
        scene.cluster.broker_up(-1).unwrap();
        scene.write(&["2"]).await;
        scene.delivery().await.ack(Bytes::new());
        while scene.said.0.lock().unwrap().len() < 2 {
            scene.clock.sleep(Duration::from_millis(5)).await;
        }
        scene.cluster.broker_down(-1).unwrap();
    })
    .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReadError::Disconnected(_)), "{error}");
    assert!(
        error.to_string().starts_with("all brokers are away: "),
        "{error}"
    );
    let said = scene.said.0.lock().unwrap();
    assert!(said[0].starts_with("all brokers are away: "), "{said:?}");
    assert_eq!(said[1], "recovered");
}

#[tokio::test]
async fn a_group_that_refuses_us_is_told_from_one_that_is_away() {
    let scene = Scene::new();
    let refused = [Answer::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 5];
    scene
        .cluster
        .request_errors(Request::FindCoordinator, &refused);
    let (outcome, ()) = reading(scene.member(), async {}).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReadError::Refused(_)), "{error}");
    assert!(error.to_string().contains("consumer group g: "), "{error}");
    assert!(error.to_string().contains("the right to read"), "{error}");
}

#[tokio::test]
async fn an_event_that_was_lost_is_read_again() {
    let scene = Scene::new();
    scene.write(&["1", "2"]).await;
    let (outcome, ()) = reading(scene.member(), async {
        drop(scene.delivery().await);
    })
    .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReadError::Disconnected(_)), "{error}");
    assert!(
        error.to_string().contains("offset 0 of orders/0"),
        "{error}"
    );
    assert_eq!(scene.committed(), None);
}

#[tokio::test]
async fn a_beginning_that_cannot_be_committed_is_not_used() {
    let mut scene = Scene::new();
    Arc::make_mut(&mut scene.settings).initial_offset = crate::settings::InitialOffset::Newest;
    let refused = [Answer::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED];
    scene
        .cluster
        .request_errors(Request::OffsetCommit, &refused);
    let (outcome, ()) = reading(scene.member(), async {}).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReadError::Refused(_)), "{error}");
    assert!(
        error.to_string().contains("finding where to read from"),
        "{error}"
    );
}

#[tokio::test]
async fn a_position_that_may_not_be_committed_is_no_secret() {
    let scene = Scene::new();
    scene.write(&["1"]).await;
    let refused = [Answer::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED];
    scene
        .cluster
        .request_errors(Request::OffsetCommit, &refused);
    let (outcome, ()) = reading(scene.member(), async {
        scene.delivery().await.ack(Bytes::new());
    })
    .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReadError::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_membership_that_was_lost_takes_its_events_back() {
    let scene = Scene::new();
    scene.write(&["1"]).await;
    let (outcome, ()) = reading(scene.member(), async {
        let first = scene.delivery().await;
        let gone = [Answer::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID];
        scene.cluster.request_errors(Request::Heartbeat, &gone);
        while first.refused().is_none() {
            scene.clock.sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(first.refused(), Some(Nack::Revoked));
        // Too late: it is somebody else's by now, which is us again.
        first.ack(Bytes::new());
        let again = scene.delivery().await;
        assert_eq!(again.event().data, "1");
        again.ack(Bytes::new());
        scene.intake.stop();
    })
    .await;
    outcome.unwrap();
    assert_eq!(scene.committed(), Some(1));
}
