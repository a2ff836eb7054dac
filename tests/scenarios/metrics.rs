//! Metrics, read by Prometheus' own parser.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use bindery::telemetry::metrics::families;
use bindery_testkit::servers::installed;
use serde_json::Value;

use crate::support::{App, Running, free_port, request, resources, wait_for};
use crate::{app, python};

/// What the parser makes of a text.
fn parse(text: &str) -> HashMap<String, Value> {
    let mut parser = Command::new(python())
        .arg(app("metrics.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = parser.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "it cannot read\n{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn prometheus_reads_every_metric_with_its_type_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("files").display().to_string();
    let components = resources(
        folder.path(),
        &[
            ("files", "bindings.localstorage", &[("rootPath", &root)]),
            ("tick", "bindings.cron", &[("schedule", "@every 100ms")]),
        ],
    );
    let (app_port, port) = (free_port(), free_port());
    let _app = App::start(app_port, |_| (200, String::new()));
    let (app_port, metrics_port) = (app_port.to_string(), port.to_string());
    let flags = ["--app-port", &app_port, "--metrics-port", &metrics_port];
    let bindery = Running::sidecar(&components, &flags);
    bindery.wait_until_ready();
    // Nothing that a caller sends can break the format.
    bindery.invoke("od\\\"d\\n", r#"{"operation":"a\"b\\c\nd"}"#);
    let read = || request(port, "GET", "/", &[], b"").unwrap().text();
    wait_for("an event", Duration::from_secs(20), || {
        read().contains("dapr_component_input_binding_count{")
    });
    let found = parse(&read());
    let operation =
        found["dapr_component_output_binding_count"]["samples"][0][1]["operation"].as_str();
    assert_eq!(operation, Some("a\"b\\c\nd"));
    let mut seen = 0;
    for family in families::ALL {
        // The parser takes the end off a counter's name.
        let name = family.name.strip_suffix("_total").unwrap_or(family.name);
        let Some(found) = found.get(name) else {
            continue;
        };
        seen += 1;
        assert_eq!(found["type"], family.kind.as_str(), "{name}");
        for sample in found["samples"].as_array().unwrap() {
            let labels = sample[1].as_object().unwrap().keys();
            let mut labels: Vec<&str> = labels.map(String::as_str).collect();
            labels.retain(|label| *label != "le");
            labels.sort_unstable();
            assert_eq!(labels, family.labels, "{sample}");
        }
    }
    assert!(seen > 30, "{seen}");
    let sum = |name: &str| -> f64 {
        let samples = found[name]["samples"].as_array().unwrap();
        samples.iter().filter_map(|sample| sample[2].as_f64()).sum()
    };
    assert!(sum("process_resident_memory_bytes") > 1e6);
    assert!(sum("process_start_time_seconds") > 1.7e9);
}

#[test]
fn prometheus_takes_the_alerts_that_we_deploy() {
    let promtool = installed("BINDERY_TEST_PROMTOOL", "promtool/usr/bin/promtool");
    let promtool = if promtool.exists() {
        promtool
    } else {
        "promtool".into()
    };
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/alerts.yaml");
    let checked = Command::new(promtool)
        .args(["check", "rules", rules])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success(), "{said}");
    assert!(said.contains("rules found"), "{said}");
}
