//! Hands on single bindings: pause, resume, restart, status.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Answer, App, Running, binary, free_port, request, resources, wait_for};

const SOON: Duration = Duration::from_secs(20);
const CREATE: &str = r#"{"operation":"create","data":"x"}"#;

fn operate(bindery: &Running, what: &str) -> Answer {
    bindery.post(&format!("/v1.0-alpha1/bindings/{what}"), "")
}

fn status(bindery: &Running, name: &str) -> String {
    bindery.get(&format!("/v1.0-alpha1/bindings/{name}")).text()
}

/// The folder of one output, `files`.
fn files(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    resources(folder, &[("files", "bindings.localstorage", &settings)])
}

/// The folder of one input, `tick`.
fn tick(folder: &Path, schedule: &str) -> PathBuf {
    resources(
        folder,
        &[("tick", "bindings.cron", &[("schedule", schedule)])],
    )
}

#[test]
fn an_output_is_paused_resumed_and_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let components = files(folder.path());
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    assert!(status(&bindery, "files").contains(r#""state":"Running""#));

    assert_eq!(operate(&bindery, "files/pause").status, 204);
    assert!(status(&bindery, "files").contains(r#""state":"Paused""#));
    let refused = bindery.invoke("files", CREATE);
    assert_eq!(refused.status, 500);
    assert!(refused.text().contains("paused"), "{}", refused.text());

    for (again, message) in [
        ("files/pause", "binding files is paused already"),
        (
            "files/restart",
            "binding files is paused; resume it instead",
        ),
    ] {
        let answer = operate(&bindery, again);
        let body = format!(r#"{{"errorCode":"ERR_BINDING_STATE","message":"{message}"}}"#);
        assert_eq!((answer.status, answer.text()), (409, body));
    }

    // A pause survives a change of its file, and says so.
    let file = components.join("files.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("/root", "/elsewhere")).unwrap();
    bindery.wait_for_log("Adding Component for processing: files");
    let told = || status(&bindery, "files");
    wait_for("the pause to be there still", SOON, || {
        told().contains(r#""state":"Paused""#)
    });

    assert_eq!(operate(&bindery, "files/resume").status, 204);
    wait_for("calls", SOON, || {
        bindery.invoke("files", CREATE).status == 200
    });
    assert!(
        folder.path().join("elsewhere").exists(),
        "the file's next version counts"
    );
    let answer = operate(&bindery, "files/resume");
    assert_eq!(answer.status, 409, "{}", answer.text());

    assert_eq!(operate(&bindery, "files/restart").status, 204);
    wait_for("a restart to be counted", SOON, || {
        !told().contains(r#""restarts":0"#)
    });
    assert_eq!(bindery.invoke("files", CREATE).status, 200);
}

#[test]
fn an_input_that_is_paused_gives_no_events() {
    let folder = tempfile::tempdir().unwrap();
    let components = tick(folder.path(), "@every 20ms");
    let port = free_port();
    let app = App::start(port, |_| (200, String::new()));
    let bindery = Running::sidecar(&components, &["--app-port", &port.to_string()]);
    bindery.wait_until_ready();
    let events = || app.seen().iter().filter(|one| one.method == "POST").count();
    wait_for("events", SOON, || events() > 2);
    assert_eq!(operate(&bindery, "tick/pause?side=input").status, 204);
    wait_for("the pause", SOON, || {
        status(&bindery, "tick").contains("Paused")
    });
    // Events that were under way have arrived.
    std::thread::sleep(Duration::from_millis(300));
    let before = events();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(events(), before);
    assert_eq!(operate(&bindery, "tick/resume").status, 204);
    wait_for("events again", SOON, || events() > before + 2);
}

#[test]
fn what_is_not_there_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let components = tick(folder.path(), "@daily");
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    let not_found = |name: &str| {
        format!(
            r#"{{"errorCode":"ERR_BINDING_NOT_FOUND","message":"couldn't find binding {name}"}}"#
        )
    };
    for answer in [
        operate(&bindery, "tock/pause"),
        bindery.get("/v1.0-alpha1/bindings/tock"),
    ] {
        assert_eq!((answer.status, answer.text()), (404, not_found("tock")));
    }
    for answer in [
        operate(&bindery, "a%20b/pause"),
        bindery.get("/v1.0-alpha1/bindings/a%20b"),
    ] {
        assert_eq!((answer.status, answer.text()), (404, not_found("a b")));
    }
    let answer = operate(&bindery, "tick/pause?side=output");
    assert_eq!((answer.status, answer.text()), (404, not_found("tick")));
    assert_eq!(operate(&bindery, "tick/pause?side=both").status, 400);
    assert_eq!(operate(&bindery, "tick/explode").status, 404);
    let all = bindery.get("/v1.0-alpha1/bindings").text();
    assert!(
        all.starts_with(r#"[{"name":"tick","type":"bindings.cron","sides":[{"#),
        "{all}"
    );
}

#[test]
fn strangers_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let components = tick(folder.path(), "@daily");
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    let post = |bindery: &Running, headers: &[(&str, &str)]| {
        let path = "/v1.0-alpha1/bindings/tick/restart";
        request(bindery.http_port, "POST", path, headers, b"").unwrap()
    };
    let answer = post(&bindery, &[("Origin", "http://evil.example")]);
    assert_eq!(answer.status, 403);
    assert!(answer.text().starts_with(r#"{"errorCode":"ERR_FORBIDDEN""#));
    assert_eq!(post(&bindery, &[]).status, 204);
    drop(bindery);

    let config = folder.path().join("config.yaml");
    let closed = "spec: {api: {denied: [{name: bindings-control, version: v1alpha1, \
                  protocol: http}]}}";
    std::fs::write(&config, closed).unwrap();
    let bindery = Running::sidecar_with(&components, &[], &[("DAPR_API_TOKEN", "secret")]);
    bindery.wait_until_callable();
    assert_eq!(post(&bindery, &[]).status, 401);
    assert_eq!(post(&bindery, &[("dapr-api-token", "secret")]).status, 204);
    drop(bindery);
    let bindery = Running::sidecar(&components, &["--config", config.to_str().unwrap()]);
    bindery.wait_until_callable();
    assert_eq!(post(&bindery, &[]).status, 404);
}

#[test]
fn a_person_operates_a_binding_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let components = files(folder.path());
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    assert_eq!(bindery.invoke("files", CREATE).status, 200);
    let bindery_command = |words: &[&str]| {
        let mut command = std::process::Command::new(binary());
        let port = bindery.http_port.to_string();
        let output = command
            .args(words)
            .args(["--dapr-http-port", &port])
            .output();
        let output = output.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, table, _) = bindery_command(&["status"]);
    assert_eq!(code, Some(0));
    let row = table.lines().nth(1).unwrap();
    for cell in ["files", "output", "Running"] {
        assert!(row.contains(cell), "{table}");
    }
    let nothing = (Some(0), String::new(), String::new());
    assert_eq!(bindery_command(&["pause", "files"]), nothing);
    assert!(bindery_command(&["status", "files"]).1.contains("Paused"));
    let (code, _, problem) = bindery_command(&["pause", "files", "--side", "output"]);
    assert_eq!(
        (code, problem.trim()),
        (Some(1), "error: binding files is paused already")
    );
    assert_eq!(bindery_command(&["resume", "files"]), nothing);
    assert_eq!(bindery_command(&["restart", "files"]), nothing);
    let (code, _, problem) = bindery_command(&["status", "filse"]);
    assert_eq!(
        (code, problem.trim()),
        (Some(1), "error: couldn't find binding filse")
    );
}
