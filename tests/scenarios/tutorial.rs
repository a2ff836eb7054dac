//! One Kafka topic is input and output of an Express app: every order that it sends is received,
//! in order, and exactly those.

use std::process::Command;
use std::time::Duration;

use bindery_testkit::servers::Kafka;

use crate::support::{Running, binary, free_port, request, resources, wait_for};
use crate::{app, node_path};

const ORDERS: usize = 500;

#[test]
fn every_order_comes_back_in_order() {
    let kafka = Kafka::start();
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("topics", "sample"),
        ("publishTopic", "sample"),
        ("brokers", &kafka.brokers()),
        ("consumerGroup", "group1"),
        ("initialOffset", "oldest"),
        ("authType", "none"),
    ];
    let topic = ("sample-topic", "bindings.kafka", &settings[..]);
    let components = resources(folder.path(), &[topic]);
    let (http_port, app_port) = (free_port(), free_port());
    let mut command = Command::new(binary());
    command
        .args(["run", "--app-id", "tutorial"])
        .args(["--app-port", &app_port.to_string()])
        .args(["--dapr-http-port", &http_port.to_string()])
        .args(["--dapr-grpc-port", &free_port().to_string()])
        .arg("--resources-path")
        .arg(&components)
        .args(["--", "node", &app("tutorial.js")])
        .env("NODE_PATH", node_path())
        .env("ORDERS", ORDERS.to_string());
    let mut bindery = Running::start(command, http_port, app_port);
    let received = || -> Vec<usize> {
        let answer = request(app_port, "GET", "/received", &[], b"");
        answer.map_or(Vec::new(), |answer| {
            serde_json::from_slice(&answer.body).unwrap()
        })
    };
    wait_for("all orders", Duration::from_secs(90), || {
        received().len() >= ORDERS
    });
    assert_eq!(received(), (1..=ORDERS).collect::<Vec<_>>());
    assert!(bindery.log().contains("sent all orders"));
    bindery.interrupt();
}
