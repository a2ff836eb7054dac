//! The way to the app over HTTP (runtime §2): whether it wants events, how it gets them, what its
//! answer does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{App, Request, Running, free_port, resources, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// Cron components by name, each with more settings.
fn ticking(folder: &std::path::Path, components: &[(&str, &[(&str, &str)])]) -> std::path::PathBuf {
    let all: Vec<(&str, Vec<(&str, &str)>)> = components
        .iter()
        .map(|(name, more)| {
            let mut settings = vec![("schedule", "@every 100ms")];
            settings.extend_from_slice(more);
            (*name, settings)
        })
        .collect();
    let borrowed: Vec<_> = all
        .iter()
        .map(|(name, settings)| (*name, "bindings.cron", settings.as_slice()))
        .collect();
    resources(folder, &borrowed)
}

fn sidecar(components: &std::path::Path, port: u16, more: &[&str]) -> Running {
    let port = port.to_string();
    let flags: Vec<&str> = ["--app-port", &port].iter().chain(more).copied().collect();
    Running::sidecar(components, &flags)
}

/// An app that wants everything and takes it.
fn taking(_: &Request) -> (u16, String) {
    (200, String::new())
}

#[test]
fn the_app_is_asked_and_2xx_and_405_mean_yes() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "yes-200", "yes-204", "yes-405", "no-404", "no-500", "no-301",
    ];
    let components: Vec<_> = names.iter().map(|name| (*name, &[][..])).collect();
    let port = free_port();
    let app = App::start(port, |request| {
        let status = request
            .path
            .rsplit('-')
            .next()
            .and_then(|code| code.parse().ok());
        match request.method.as_str() {
            "OPTIONS" => (status.unwrap_or(404), String::new()),
            _ => (200, String::new()),
        }
    });
    let bindery = sidecar(&ticking(folder.path(), &components), port, &[]);
    bindery.wait_until_ready();
    let posted = |name: &str| {
        app.seen_with("POST")
            .iter()
            .any(|request| request.path == format!("/{name}"))
    };
    wait_for("events of all that want them", SOON, || {
        ["yes-200", "yes-204", "yes-405"]
            .iter()
            .all(|name| posted(name))
    });
    for name in ["no-404", "no-500", "no-301"] {
        assert!(!posted(name), "{name}");
        assert!(
            bindery
                .log()
                .contains(&format!("app has not subscribed to binding {name}."))
        );
    }
    let asked = app.seen_with("OPTIONS");
    assert_eq!(asked.len(), names.len(), "each is asked once");
    assert!(
        asked
            .iter()
            .all(|request| request.header("content-type") == Some("application/json"))
    );
}

#[test]
fn an_input_that_names_its_direction_is_not_asked_about_and_a_route_is_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let app = App::start(port, taking);
    let settings = [
        ("direction", "Input, Output"),
        ("route", "a/../events//new/"),
    ];
    let components = ticking(folder.path(), &[("tick", &settings)]);
    let bindery = sidecar(&components, port, &[]);
    bindery.wait_until_ready();
    wait_for("an event", SOON, || !app.seen_with("POST").is_empty());
    assert!(app.seen_with("OPTIONS").is_empty());
    assert_eq!(app.seen_with("POST")[0].path, "/events/new");
    assert!(
        !bindery
            .get("/v1.0/metadata")
            .text()
            .contains("OUTPUT_BINDING"),
        "cron has no output"
    );
}

#[test]
fn an_event_arrives_with_its_metadata_as_headers_and_the_apps_token() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let app = App::start(port, taking);
    let components = ticking(folder.path(), &[("tick", &[])]);
    let flags = ["--app-port", &port.to_string()];
    let bindery = Running::sidecar_with(&components, &flags, &[("APP_API_TOKEN", "hunter2")]);
    bindery.wait_until_ready();
    wait_for("an event", SOON, || !app.seen_with("POST").is_empty());
    for request in app.seen().iter().filter(|request| request.method != "GET") {
        assert_eq!(request.header("dapr-api-token"), Some("hunter2"));
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
    let event = &app.seen_with("POST")[0];
    assert_eq!((event.path.as_str(), event.body.len()), ("/tick", 0));
    assert_eq!(event.header("timezone"), Some("Local"));
    assert!(event.header("readtimeutc").unwrap().ends_with(" +0000 UTC"));
    let parent = event.header("traceparent").unwrap();
    assert!(
        parent.starts_with("00-") && !parent.contains("0000000000000000"),
        "{parent}"
    );
    let config = &app.seen_with("GET")[0];
    assert_eq!(
        (config.path.as_str(), config.header("dapr-app-id")),
        ("/dapr/config", Some("test"))
    );
    assert!(!bindery.log().contains("hunter2"));
}

#[test]
fn the_sidecar_waits_for_an_app_that_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let components = ticking(folder.path(), &[("tick", &[])]);
    let bindery = sidecar(&components, port, &["--disable-init-endpoints", "config"]);
    bindery.wait_for_log(&format!(
        "application protocol: http. waiting on port {port}.  This will block until the app is \
         listening on that port."
    ));
    bindery.wait_until_callable();
    let waiting = bindery.get("/v1.0/healthz");
    assert!(
        waiting.text().contains("ERR_HEALTH_NOT_READY"),
        "{}",
        waiting.text()
    );
    let app = App::start(port, taking);
    bindery.wait_until_ready();
    bindery.wait_for_log(&format!("application discovered on port {port}"));
    wait_for("an event", SOON, || !app.seen_with("POST").is_empty());
    assert!(
        app.seen_with("GET").is_empty(),
        "/dapr/config is not asked for"
    );
}

#[test]
fn each_input_is_asked_about_until_there_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let app = App::start(port, move |request| {
        if request.method == "OPTIONS" && request.path == "/slow" {
            // The first two questions get no answer in time.
            if count.fetch_add(1, Ordering::SeqCst) < 2 {
                std::thread::sleep(Duration::from_millis(700));
            }
        }
        (200, String::new())
    });
    let components = ticking(folder.path(), &[("slow", &[]), ("other", &[])]);
    let bindery = sidecar(
        &components,
        port,
        &["--app-binding-options-timeout", "200ms"],
    );
    let posted = |path: &str| {
        app.seen_with("POST")
            .iter()
            .any(|request| request.path == path)
    };
    wait_for("the other one not to wait for it", SOON, || {
        posted("/other")
    });
    wait_for("the slow one", SOON, || posted("/slow"));
    assert!(asked.load(Ordering::SeqCst) >= 3);
    let says =
        "could not invoke OPTIONS method on input binding subscription endpoint \\\"/slow\\\"";
    bindery.wait_for_log(says);
    bindery.wait_until_ready();
}

#[test]
fn the_app_may_go_away_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let components = ticking(folder.path(), &[("tick", &[])]);
    let app = App::start(port, taking);
    let bindery = sidecar(&components, port, &[]);
    wait_for("an event", SOON, || !app.seen_with("POST").is_empty());
    drop(app);
    bindery.wait_for_log("the app refused an event: error invoking app: ");
    let app = App::start(port, taking);
    wait_for("an event again", SOON, || !app.seen_with("POST").is_empty());
    assert_eq!(bindery.get("/v1.0/healthz").status, 204);
}

#[test]
fn no_more_than_the_app_allows_are_at_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let app = App::start(port, |request| {
        if request.method == "POST" {
            std::thread::sleep(Duration::from_millis(150));
        }
        (200, String::new())
    });
    let components = ticking(
        folder.path(),
        &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])],
    );
    let _bindery = sidecar(&components, port, &["--app-max-concurrency", "2"]);
    wait_for("twelve events", SOON, || app.seen_with("POST").len() >= 12);
    assert_eq!(app.most_at_once(), 2);
}

#[test]
fn a_refusal_is_said_with_the_apps_status_and_answer() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _app = App::start(port, |request| match request.method.as_str() {
        "POST" => (503, "come back later".into()),
        _ => (200, String::new()),
    });
    let components = ticking(folder.path(), &[("tick", &[])]);
    let bindery = sidecar(&components, port, &[]);
    bindery.wait_for_log(
        "fails to send binding event to http app channel, status code: 503 body: come back later",
    );
    let refused = || {
        let metadata: serde_json::Value =
            serde_json::from_slice(&bindery.get("/v1.0/metadata").body).unwrap();
        metadata["bindings"][0]["sides"][0]["refused"].as_u64() > Some(0)
    };
    wait_for("the status to count it", SOON, refused);
}

#[test]
fn an_answer_that_names_outputs_is_executed_and_others_are_just_answers() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let port = free_port();
    let wanted = Arc::new(AtomicBool::new(false));
    let wants = Arc::clone(&wanted);
    let _app = App::start(port, move |request| {
        let answer = if request.method != "POST" {
            ""
        } else if wants.load(Ordering::SeqCst) {
            r#"{"to": ["files"], "data": {"price": 1.10, "emoji": "\ud83d\ude00"}}"#
        } else {
            r#"{"to": "files", "data": 1}"#
        };
        (200, answer.into())
    });
    let components = resources(
        folder.path(),
        &[
            ("tick", "bindings.cron", &[("schedule", "@every 100ms")]),
            (
                "files",
                "bindings.localstorage",
                &[("rootPath", root.to_str().unwrap())],
            ),
        ],
    );
    let bindery = sidecar(&components, port, &[]);
    bindery.wait_for_log("the app's answer is ignored: \\\"to\\\" is not an array of names");
    std::thread::sleep(Duration::from_millis(400));
    let said = bindery.log().matches("the app's answer is ignored").count();
    assert_eq!(said, 1, "said once");
    let files = || std::fs::read_dir(&root).map_or(0, Iterator::count);
    assert_eq!(files(), 0);
    wanted.store(true, Ordering::SeqCst);
    wait_for("files", SOON, || files() > 1);
    let first = std::fs::read_dir(&root)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let stored = std::fs::read_to_string(first).unwrap();
    assert_eq!(stored, r#"{"price":1.10,"emoji":"😀"}"#);
}

#[test]
fn without_an_app_inputs_are_opened_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let components = ticking(folder.path(), &[("tick", &[])]);
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    bindery.wait_for_log("App channel is not initialized. Did you configure an app-port?");
    assert!(
        bindery
            .get("/v1.0/metadata")
            .text()
            .contains("\"state\":\"Running\"")
    );
}

#[test]
fn a_stop_waits_for_the_event_that_is_at_the_app() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let app = App::start(port, move |request| {
        if request.method == "POST" {
            std::thread::sleep(Duration::from_millis(1500));
            count.fetch_add(1, Ordering::SeqCst);
        }
        (200, String::new())
    });
    let components = ticking(folder.path(), &[("tick", &[])]);
    let mut bindery = sidecar(&components, port, &[]);
    wait_for("an event", SOON, || !app.seen_with("POST").is_empty());
    assert_eq!(bindery.interrupt(), Some(0), "{}", bindery.log());
    assert_eq!(app.seen_with("POST").len(), done.load(Ordering::SeqCst));
}
