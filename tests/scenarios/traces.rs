//! Traces, received with OpenTelemetry's own packages for Python.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Running, free_port, request, resources};
use crate::{app, python};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that says what it gets. It ends with its input.
struct Collector {
    process: Child,
    lines: Receiver<String>,
}

impl Collector {
    fn start(over_http: u16, over_grpc: u16) -> Self {
        let mut process = Command::new(python())
            .arg(app("traces.py"))
            .args([over_http, over_grpc].map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let collector = Self { process, lines };
        assert_eq!(collector.line(), "ready");
        collector
    }

    fn line(&self) -> String {
        let line = self.lines.recv_timeout(Duration::from_secs(30));
        line.expect("the collector says something")
    }

    /// The next span of this name.
    fn span(&self, name: &str) -> Value {
        loop {
            let span: Value = serde_json::from_str(&self.line()).unwrap();
            if span["name"] == name {
                return span;
            }
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[test]
fn a_collector_reads_the_spans_of_a_call_over_both_protocols() {
    let (over_http, over_grpc) = (free_port(), free_port());
    let collector = Collector::start(over_http, over_grpc);
    for (protocol, port) in [("http", over_http), ("grpc", over_grpc)] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("files").display().to_string();
        let files = (
            "files",
            "bindings.localstorage",
            &[("rootPath", &*root)][..],
        );
        let components = resources(folder.path(), &[files]);
        let configuration = folder.path().join("configuration.yaml");
        let tracing = format!(
            "kind: Configuration\nspec:\n  tracing:\n    samplingRate: \"1\"\n    otel:\n      \
             endpointAddress: 127.0.0.1:{port}\n      protocol: {protocol}\n      isSecure: false\n"
        );
        std::fs::write(&configuration, tracing).unwrap();
        let flags = ["--config", configuration.to_str().unwrap()];
        let bindery = Running::sidecar(&components, &flags);
        bindery.wait_until_ready();
        let parent = format!("00-{TRACE}-{PARENT}-01");
        let headers = [("traceparent", &*parent)];
        let (path, list) = ("/v1.0/bindings/files", br#"{"operation":"list"}"#);
        let answer = request(bindery.http_port, "POST", path, &headers, list).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let span = collector.span(path);
        assert_eq!(
            (&span["by"], &span["service"]),
            (&protocol.into(), &"test".into())
        );
        assert_eq!(
            (&span["trace"], &span["parent"]),
            (&TRACE.into(), &PARENT.into())
        );
        let answered = answer.header("traceparent").unwrap();
        assert!(
            answered.contains(span["span"].as_str().unwrap()),
            "{span}, {answered}"
        );
        assert!(span["took"].as_u64().unwrap() > 0, "{span}");
    }
}
