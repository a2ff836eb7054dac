//! What opening a side comes to, without the runtime around it, against librdkafka's own mock of
//! a cluster.

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::settings::{GoDuration, Properties, RetryPolicy};
use bindery_contract::{
    Cause, Clock, ContextParts, Host, OpenContext, OpenError, Opened, Registration, Role, Source,
};
use bindery_kafka::Kafka;
use bindery_testkit::context::parts;
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaRespErr as Answer;

struct Deaf;

impl Host for Deaf {
    fn degraded(&self, _: Cause) {}
    fn recovered(&self) {}
    fn disconnected(&self, _: Cause) {}
    fn crashed(&self, panic: String) {
        panic!("{panic}");
    }
}

async fn open(role: Role, settings: &[(&str, &str)]) -> Result<Opened, OpenError> {
    let cx = OpenContext::new(ContextParts {
        role,
        ..parts(Arc::new(Deaf))
    });
    let properties: Properties = settings.iter().copied().collect();
    let row = Registration::of::<Kafka>();
    assert_eq!(row.remarks(&properties), []);
    row.prepare(&properties).unwrap().open(cx).await
}

/// The error of an opening that has to fail.
async fn fails(role: Role, settings: &[(&str, &str)]) -> OpenError {
    match open(role, settings).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[test]
fn both_sides_are_declared() {
    let row = Registration::of::<Kafka>();
    assert_eq!(row.type_name, "bindings.kafka");
    assert_eq!(row.input, Some(Source::Log));
    let operations: Vec<_> = row
        .operations
        .iter()
        .map(|operation| operation.name)
        .collect();
    assert_eq!(operations, ["create"]);
    let fields = (row.settings)();
    for field in fields.iter() {
        assert!(
            !field.description.is_empty(),
            "{} says nothing of itself",
            field.name
        );
    }
    let secrets = fields
        .iter()
        .filter(|field| field.secret)
        .map(|field| &*field.name);
    assert_eq!(secrets.collect::<Vec<_>>(), ["saslPassword", "clientKey"]);
    let required = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| &*field.name);
    assert_eq!(required.collect::<Vec<_>>(), ["brokers"]);
}

#[tokio::test]
async fn the_components_own_retries_count_only_when_they_are_switched_on() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let base = [
        ("brokers", &*brokers),
        ("authType", "none"),
        ("backOffDuration", "2s"),
    ];
    let retry = async |more: &[(&str, &str)]| match open(Role::Input, &[&base[..], more].concat())
        .await
        .unwrap()
    {
        Opened::Input { retry, .. } => retry,
        Opened::Output(_) => panic!("an output"),
    };
    assert_eq!(retry(&[]).await, None);
    let on = retry(&[("consumeRetryEnabled", "true"), ("backOffMaxRetries", "3")])
        .await
        .unwrap();
    assert_eq!(on.policy, RetryPolicy::Constant);
    assert_eq!((on.duration, on.max_retries), (GoDuration::from_secs(2), 3));
}

#[tokio::test]
async fn a_topic_is_looked_for_and_nobody_reads_without_a_group() {
    let cluster = MockCluster::new(1).unwrap();
    for (topic, error) in [
        ("missing", Answer::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
        (
            "forbidden",
            Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        ),
    ] {
        cluster.create_topic(topic, 1, 1).unwrap();
        cluster.topic_error(topic, error).unwrap();
    }
    let brokers = cluster.bootstrap_servers();
    let base = [("brokers", &*brokers), ("authType", "none")];
    for (more, says) in [
        (
            [("topics", "fine,missing"), ("consumerGroup", "g")],
            "topic missing does not exist",
        ),
        (
            [("topics", "forbidden"), ("consumerGroup", "g")],
            "topic forbidden: Broker: Topic authorization failed",
        ),
        (
            [("topics", "fine"), ("consumerGroup", "")],
            "\"consumerGroup\" is missing",
        ),
    ] {
        let settings = [base, more].concat();
        let error = fails(Role::Input, &settings).await;
        assert!(matches!(error, OpenError::Refused(_)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(
            open(Role::Output, &settings).await.is_ok(),
            "it is not for writing"
        );
    }
}

#[tokio::test]
async fn brokers_that_say_nothing_are_not_waited_for_longer_than_the_limit() {
    // A port that takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let settings = [
        ("brokers", &*silent),
        ("authType", "none"),
        ("metadataTimeout", "500ms"),
    ];
    for role in [Role::Input, Role::Output] {
        let clock = Clock::system();
        let started = clock.now();
        let error = fails(role, &settings).await;
        assert!(matches!(error, OpenError::Disconnected(_)), "{error}");
        assert!(
            error.to_string().contains("no answer within 500ms"),
            "{error}"
        );
        assert!(clock.now() - started < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_certificate_that_librdkafka_cannot_use_can_never_work() {
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let settings = [
        ("brokers", "127.0.0.1:1"),
        ("authType", "mtls"),
        ("clientCert", rubbish),
        (
            "clientKey",
            "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
        ),
    ];
    for role in [Role::Input, Role::Output] {
        let error = fails(role, &settings).await;
        assert!(matches!(error, OpenError::Invalid(_)), "{error}");
        assert!(error.to_string().contains("clientCert failed"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
