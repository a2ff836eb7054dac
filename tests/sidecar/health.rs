//! The app's health decides whether it is given events, and when a blocked shutdown goes on
//! (runtime §2.6, §9.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{App, Running, free_port, resources, signal, wait_for};

const SOON: Duration = Duration::from_secs(20);
const CHECKED: [&str; 7] = [
    "--enable-app-health-check",
    "--app-health-check-path",
    "well",
    "--app-health-probe-interval",
    "1",
    "--app-health-threshold",
    "2",
];

struct Stage {
    _folder: tempfile::TempDir,
    is_well: Arc<AtomicBool>,
    app: App,
    bindery: Running,
}

impl Stage {
    /// A sidecar with one input that ticks, an output, and an app whose health is up to the test.
    fn start(is_well: bool, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let components = resources(
            folder.path(),
            &[
                ("tick", "bindings.cron", &[("schedule", "@every 20ms")]),
                (
                    "files",
                    "bindings.localstorage",
                    &[("rootPath", root.to_str().unwrap())],
                ),
            ],
        );
        let (port, is_well) = (free_port(), Arc::new(AtomicBool::new(is_well)));
        let asked = Arc::clone(&is_well);
        let app = App::start(port, move |request| {
            let is_probe = request.method == "GET" && request.path == "/well";
            let status = if is_probe && !asked.load(Ordering::SeqCst) {
                503
            } else {
                200
            };
            (status, String::new())
        });
        let port = port.to_string();
        let flags: Vec<&str> = ["--app-port", &port].iter().chain(flags).copied().collect();
        let bindery = Running::sidecar(&components, &flags);
        bindery.wait_until_ready();
        Self {
            _folder: folder,
            is_well,
            app,
            bindery,
        }
    }

    fn count(&self, method: &str) -> usize {
        let seen = self.app.seen();
        seen.iter()
            .filter(|request| request.method == method)
            .count()
    }

    /// Events do not come any more.
    fn is_quiet(&self) -> bool {
        let before = self.count("POST");
        std::thread::sleep(Duration::from_millis(300));
        self.count("POST") == before
    }
}

#[test]
fn an_app_that_is_unwell_gets_no_events_until_it_is_well_again() {
    let stage = Stage::start(false, &CHECKED);
    let probes = || {
        stage
            .app
            .seen()
            .iter()
            .filter(|one| one.path == "/well")
            .count()
    };
    wait_for("probes", SOON, || probes() >= 2);
    assert_eq!((stage.count("OPTIONS"), stage.count("POST")), (0, 0));
    let metadata = stage.bindery.get("/v1.0/metadata").text();
    let health = r#""health":{"healthCheckPath":"well","healthProbeInterval":"1s","healthProbeTimeout":"500ms","healthThreshold":2}"#;
    assert!(metadata.contains(health), "{metadata}");

    stage.is_well.store(true, Ordering::SeqCst);
    wait_for("events", SOON, || stage.count("POST") > 2);
    stage.bindery.wait_for_log("App entered healthy status");
    let asked = stage.count("OPTIONS");

    stage.is_well.store(false, Ordering::SeqCst);
    stage
        .bindery
        .wait_for_log("App entered un-healthy status: it answers 503");
    wait_for("no more events", SOON, || stage.is_quiet());
    let answer = stage.bindery.invoke("files", r#"{"operation":"list"}"#);
    assert_eq!(answer.status, 200, "outputs go on");

    let before = stage.count("POST");
    stage.is_well.store(true, Ordering::SeqCst);
    wait_for("events again", SOON, || stage.count("POST") > before + 2);
    assert!(
        stage.count("OPTIONS") > asked,
        "the app is asked anew what it wants"
    );
    let probe = stage
        .app
        .seen()
        .into_iter()
        .find(|one| one.path == "/well")
        .unwrap();
    assert_eq!(
        (probe.header("dapr-api-token"), probe.header("traceparent")),
        (None, None)
    );
}

#[test]
fn a_blocked_shutdown_stops_the_inputs_and_goes_on_when_the_time_is_over() {
    let mut stage = Stage::start(true, &["--dapr-block-shutdown-duration", "2s"]);
    wait_for("events", SOON, || stage.count("POST") > 2);
    let began = Instant::now();
    signal(stage.bindery.id(), "TERM");
    stage
        .bindery
        .wait_for_log("Blocking graceful shutdown for 2s or until app reports unhealthy...");
    wait_for("no more events", SOON, || stage.is_quiet());
    let answer = stage.bindery.invoke("files", r#"{"operation":"list"}"#);
    assert_eq!(answer.status, 200, "outputs go on");
    assert_eq!(stage.bindery.wait(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(2));
    let log = stage.bindery.log();
    assert!(
        log.contains("Block shutdown period expired, entering shutdown..."),
        "{log}"
    );
}

#[test]
fn a_blocked_shutdown_goes_on_when_the_app_is_unwell() {
    let flags = [&CHECKED[..], &["--dapr-block-shutdown-duration", "180s"]].concat();
    let mut stage = Stage::start(true, &flags);
    wait_for("events", SOON, || stage.count("POST") > 2);
    signal(stage.bindery.id(), "INT");
    stage
        .bindery
        .wait_for_log("Blocking graceful shutdown for 3m0s");
    stage.is_well.store(false, Ordering::SeqCst);
    assert_eq!(stage.bindery.wait(), Some(0));
    assert!(
        stage
            .bindery
            .log()
            .contains("App reported unhealthy, entering shutdown...")
    );
}

#[test]
fn a_second_signal_ends_a_blocked_shutdown_at_once() {
    let mut stage = Stage::start(true, &["--dapr-block-shutdown-duration", "180s"]);
    signal(stage.bindery.id(), "TERM");
    stage.bindery.wait_for_log("Blocking graceful shutdown");
    signal(stage.bindery.id(), "TERM");
    assert_eq!(stage.bindery.wait(), Some(1));
    assert!(
        stage
            .bindery
            .log()
            .contains("during shutdown; exiting immediately")
    );
}

#[test]
fn the_shutdown_api_is_not_blocked() {
    let mut stage = Stage::start(true, &["--dapr-block-shutdown-duration", "180s"]);
    assert_eq!(stage.bindery.post("/v1.0/shutdown", "").status, 204);
    assert_eq!(stage.bindery.wait(), Some(0));
}
