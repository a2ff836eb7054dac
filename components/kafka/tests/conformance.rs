//! The conformance suite against a real broker.

mod support;

use std::sync::Arc;

use bindery_contract::Role;
use bindery_kafka::Kafka;
use bindery_testkit::FailureClass;
use bindery_testkit::conformance::{Emitted, NAME, Suite};
use bindery_testkit::servers::Kafka as Broker;
use rdkafka::Message;
use rdkafka::producer::FutureRecord;
use support::Client;

/// Reads from one topic, writes to another.
fn suite(settings: &[(&str, &str)], client: Client) -> Suite {
    let client = Arc::new(client);
    let out = Arc::clone(&client);
    Suite::of::<Kafka>(settings)
        .input(move |number| {
            let client = Arc::clone(&client);
            async move {
                let value = format!("{{\"number\":{number}}}");
                let record = FutureRecord::to("in").key("k").payload(value.as_bytes());
                let (partition, offset) = client.write(record).await;
                let metadata = [
                    ("__topic", "in".to_owned()),
                    ("__key", "k".into()),
                    ("__partition", partition.to_string()),
                    ("__offset", offset.to_string()),
                ];
                Emitted {
                    data: value.into_bytes(),
                    metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
                }
            }
        })
        .output(move |stand| {
            let client = Arc::clone(&out);
            Box::pin(async move {
                let value = format!("\"{}\"", support::unique("value"));
                let answer = stand.invoke(NAME, "create", value.clone(), &[]).await;
                assert_eq!(answer.unwrap(), None);
                let mut count = 1;
                loop {
                    let all = client.read("out", 0, count).await;
                    if all.last().unwrap().payload() == Some(value.as_bytes()) {
                        return;
                    }
                    count += 1;
                }
            })
        })
}

#[test]
fn it_conforms() {
    let broker = Broker::start();
    let brokers = broker.brokers();
    let settings = [
        ("brokers", brokers.as_str()),
        ("authType", "none"),
        ("topics", "in"),
        ("publishTopic", "out"),
        ("consumerGroup", "conformance"),
        ("initialOffset", "oldest"),
        ("sessionTimeout", "6s"),
    ];
    suite(&settings, Client::of(&brokers))
        .outage(broker)
        .fails(
            "nobody there, reading",
            Role::Input,
            &[&settings[1..], &[("brokers", "127.0.0.1:1")]].concat(),
            FailureClass::Disconnected,
            "Connection refused",
        )
        .fails(
            "nobody there, writing",
            Role::Output,
            &[&settings[1..], &[("brokers", "127.0.0.1:1")]].concat(),
            FailureClass::Disconnected,
            "Connection refused",
        )
        .run();
}
