//! Resiliency policies and dead letters, as a user has them in YAML (runtime §4).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::{App, Running, free_port, resources, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// Writes policies beside the components.
fn policies(components: &Path, spec: &str) {
    let head = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: rules\nspec:\n";
    let spec = spec.replace('\n', "\n  ");
    std::fs::write(components.join("rules.yaml"), format!("{head}  {spec}\n")).unwrap();
}

/// An upstream that fails some calls with 500, and how many it has had.
fn upstream(failures: u32) -> (App, u16, Arc<AtomicU32>) {
    let (port, calls) = (free_port(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&calls);
    let app = App::start(port, move |_| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        let status = if call < failures { 500 } else { 200 };
        (status, format!("call {call}"))
    });
    (app, port, calls)
}

fn http_output(folder: &Path, port: u16) -> std::path::PathBuf {
    let url = format!("http://127.0.0.1:{port}");
    resources(folder, &[("up", "bindings.http", &[("url", &url)])])
}

const CREATE: &str = r#"{"operation":"create","data":"x"}"#;

#[test]
fn a_call_is_repeated_as_the_policy_says_and_the_log_says_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_app, port, calls) = upstream(2);
    let components = http_output(folder.path(), port);
    policies(
        &components,
        "policies:
  retries:
    often: {policy: constant, duration: 50, maxRetries: 5}
targets:
  components:
    up: {outbound: {retry: often}}",
    );
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    let answer = bindery.invoke("up", CREATE);
    assert_eq!((answer.status, answer.text().as_str()), (200, "call 2"));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let operation = "processing operation component[up] output";
    bindery.wait_for_log(&format!("Recovered {operation} after 3 attempts"));
    let log = bindery.log();
    assert_eq!(
        log.matches(&format!("Error {operation}. Retrying in 50ms…"))
            .count(),
        1,
        "{log}"
    );
    assert!(
        log.contains("Loading Resiliency configuration: rules"),
        "{log}"
    );
    let metadata = bindery.get("/v1.0/metadata").text();
    assert!(
        metadata.contains(r#""resiliencies":[{"name":"rules"}]"#),
        "{metadata}"
    );
}

#[test]
fn a_breaker_opens_by_its_expression_and_closes_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_app, port, calls) = upstream(2);
    let components = http_output(folder.path(), port);
    policies(
        &components,
        "policies:
  circuitBreakers:
    DefaultComponentOutboundCircuitBreakerPolicy:
      trip: totalFailures >= 2
      timeout: 1s",
    );
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    let statuses: Vec<u16> = (0..3)
        .map(|_| bindery.invoke("up", CREATE).status)
        .collect();
    assert_eq!((statuses, calls.load(Ordering::SeqCst)), (vec![500; 3], 2));
    let refused = bindery.invoke("up", CREATE).text();
    assert_eq!(
        refused,
        r#"{"errorCode":"ERR_INVOKE_OUTPUT_BINDING","message":"error invoking output binding up: circuit breaker is open"}"#
    );
    wait_for("the breaker to close", SOON, || {
        bindery.invoke("up", CREATE).status == 200
    });
    for change in ["closed to open", "open to half-open", "half-open to closed"] {
        let name = "DefaultComponentOutboundCircuitBreakerPolicy-up";
        let line = format!("Circuit breaker \"{name}\" changed state from {change}");
        bindery.wait_for_log(&line.replace('"', "\\\""));
    }
}

#[test]
fn a_timeout_ends_a_slow_call() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _app = App::start(port, |_| {
        std::thread::sleep(Duration::from_secs(3));
        (200, String::new())
    });
    let components = http_output(folder.path(), port);
    policies(
        &components,
        "policies:
  timeouts:
    DefaultTimeoutPolicy: 200ms",
    );
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    let began = Instant::now();
    let answer = bindery.invoke("up", CREATE);
    assert!(
        answer.text().contains("context deadline exceeded"),
        "{answer:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

/// The reference takes only 200 for a success here (runtime §2.4); any 2xx is one.
#[test]
fn any_2xx_is_a_success_and_a_refused_event_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let settings: &[(&str, &str)] = &[("schedule", "@every 1h"), ("direction", "input")];
    let every: &[(&str, &str)] = &[("schedule", "@every 300ms"), ("direction", "input")];
    let components = resources(
        folder.path(),
        &[
            ("hourly", "bindings.cron", settings),
            ("tick", "bindings.cron", every),
        ],
    );
    policies(
        &components,
        "policies:
  retries:
    quick: {duration: 10ms, maxRetries: 3, matching: {httpStatusCodes: '500-599'}}
targets:
  components:
    tick: {inbound: {retry: quick}}",
    );
    let port = free_port();
    let app = App::start(port, |_| (204, String::new()));
    let flag = port.to_string();
    let bindery = Running::sidecar(&components, &["--app-port", &flag]);
    wait_for("three ticks", SOON, || app.seen_with("POST").len() >= 3);
    let log = bindery.log();
    assert!(!log.contains("Error processing operation"), "{log}");
    drop(app);
    drop(bindery);

    for (status, times) in [(500, 4), (404, 1)] {
        let app = App::start(port, move |_| (status, "no".into()));
        let bindery = Running::sidecar(&components, &["--app-port", &flag]);
        bindery.wait_for_log(&format!(
            "binding tick: the app refused an event: fails to send binding event to http app \
             channel, status code: {status} body: no"
        ));
        let seen = app.seen_with("POST").len();
        assert!(
            seen >= times && seen.is_multiple_of(times),
            "{status}: {seen}"
        );
    }
}

#[test]
fn an_event_that_the_app_never_takes_goes_to_its_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let letters = folder.path().join("letters");
    let root = letters.to_str().unwrap().to_owned();
    let every: &[(&str, &str)] = &[("schedule", "@every 200ms"), ("direction", "input")];
    let components = resources(
        folder.path(),
        &[
            ("letters", "bindings.localstorage", &[("rootPath", &root)]),
            ("tick", "bindings.cron", every),
        ],
    );
    let path = components.join("tick.yaml");
    let yaml = std::fs::read_to_string(&path).unwrap();
    let delivery = "  delivery:\n    maxAttempts: 2\n    deadLetter: letters\n";
    std::fs::write(&path, format!("{yaml}{delivery}")).unwrap();
    let port = free_port();
    let app = App::start(port, |_| (422, "never".into()));
    let bindery = Running::sidecar(&components, &["--app-port", &port.to_string()]);
    wait_for("a dead letter", SOON, || {
        std::fs::read_dir(&letters).is_ok_and(|mut files| files.next().is_some())
    });
    bindery.wait_for_log("went to the dead letter letters after 2 attempts");
    assert!(app.seen_with("POST").len() >= 2);
    let metadata = bindery.get("/v1.0/metadata").text();
    assert!(!metadata.contains(r#""deadLetters":0"#), "{metadata}");
}

#[test]
fn policies_that_are_wrong_are_told_and_what_is_right_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (_app, port, calls) = upstream(1);
    let components = http_output(folder.path(), port);
    policies(
        &components,
        "policies:
  timeouts:
    quick: soon
  retries:
    often: {duration: 10ms, maxRetries: 1}
targets:
  components:
    up: {outbound: {timeout: quick, retry: often}}",
    );
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    assert_eq!(bindery.invoke("up", CREATE).status, 200);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    let log = bindery.log();
    assert!(
        log.contains("Could not read resiliency policy rules: timeout"),
        "{log}"
    );
    assert!(log.contains("rules.yaml:8:14"), "{log}");
}
