//! `bindery run`: signals, and the end of the app and its sidecar.

use std::process::Command;
use std::time::Duration;

use crate::support::{Running, binary, free_port, resources, signal, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// `bindery run` with flags and an app.
fn start(flags: &[&str], app: &[&str]) -> Running {
    let http_port = free_port();
    let mut command = Command::new(binary());
    command
        .args(["run", "--app-id", "test"])
        .args(["--dapr-http-port", &http_port.to_string()])
        .args(["--dapr-grpc-port", &free_port().to_string()])
        .args(flags);
    if !app.is_empty() {
        command.arg("--").args(app);
    }
    Running::start(command, http_port, 0)
}

fn files(folder: &std::path::Path, name: &str) {
    let root = folder.join("root");
    let root = root.to_str().unwrap();
    resources(
        folder,
        &[(name, "bindings.localstorage", &[("rootPath", root)])],
    );
}

#[test]
fn a_hangup_reads_the_files_anew_and_the_app_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path(), "files");
    let config = folder.path().join("config.yaml");
    let off = "kind: Configuration\nspec:\n  features:\n  - {name: HotReload, enabled: false}\n";
    std::fs::write(&config, off).unwrap();
    let mut bindery = start(
        &[
            "--resources-path",
            folder.path().join("components").to_str().unwrap(),
            "--config",
            config.to_str().unwrap(),
        ],
        &[
            "sh",
            "-c",
            "echo begun; trap 'echo asked; exit 5' TERM; while :; do sleep 0.1; done",
        ],
    );
    bindery.wait_for_log("== APP == begun\n");
    files(folder.path(), "more");
    let list = |binding| bindery.invoke(binding, r#"{"operation":"list"}"#).status;
    assert_ne!(list("more"), 200);
    signal(bindery.id(), "HUP");
    wait_for("the new output", SOON, || list("more") == 200);
    bindery.wait_for_log("Received signal 'hangup'; reading the files anew");
    assert!(!bindery.log().contains("asked"));
    signal(bindery.id(), "TERM");
    assert_eq!(bindery.wait(), Some(5), "the app's own exit code");
    assert_eq!(bindery.log().matches("== APP == begun").count(), 1);
    bindery.wait_for_log("== APP == asked\n");
}

#[test]
fn a_shutdown_that_is_held_back_leaves_the_app_its_calls_and_ends_with_the_app() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path(), "files");
    let app = r#"
import json, os, signal, sys, time, urllib.request
def end(*_):
    url = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/bindings/files"
    body = {"operation": "create", "data": "end", "metadata": {"fileName": "last"}}
    urllib.request.urlopen(url, json.dumps(body).encode())
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
while True:
    time.sleep(60)
"#;
    let components = folder.path().join("components");
    let flags = [
        "--dapr-block-shutdown-duration",
        "60s",
        "--resources-path",
        components.to_str().unwrap(),
    ];
    let mut bindery = start(&flags, &["python3", "-c", app]);
    bindery.wait_for_log("== APP == begun\n");
    signal(bindery.id(), "TERM");
    assert_eq!(bindery.wait(), Some(0), "{}", bindery.log());
    bindery.wait_for_log("Blocking graceful shutdown for 1m0s or until app reports unhealthy...");
    let last = std::fs::read_to_string(folder.path().join("root/last")).unwrap();
    assert_eq!(last, "end");

    let mut bindery = start(&["--dapr-block-shutdown-duration", "100ms"], &[]);
    bindery.wait_until_ready();
    assert_eq!(bindery.interrupt(), Some(0), "{}", bindery.log());
    bindery.wait_for_log("Block shutdown period expired, entering shutdown...");
}

#[test]
fn a_second_signal_ends_it_at_once_with_an_app_that_does_not_listen() {
    let app = "echo begun; trap '' TERM INT; while :; do sleep 0.1; done";
    let mut bindery = start(&[], &["sh", "-c", app]);
    bindery.wait_for_log("== APP == begun\n");
    signal(bindery.id(), "TERM");
    bindery.wait_for_log("Received signal 'terminated'; beginning shutdown");
    signal(bindery.id(), "TERM");
    assert_eq!(bindery.wait(), Some(1));
    bindery.wait_for_log("Received signal 'terminated' during shutdown; exiting immediately");
}

#[test]
fn what_was_started_in_a_terminal_ends_with_it() {
    let script = r#"
import os, pty, sys, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], ["bindery", "run", "--app-id", "test", *sys.argv[2:]])
seen = b""
while b"begun" not in seen:
    seen += os.read(terminal, 1000)
os.close(terminal)
for _ in range(2000):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.01)
os.kill(child, 9)
sys.exit("it goes on without its terminal")
"#;
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(binary())
        .args(["--dapr-http-port", &free_port().to_string()])
        .args(["--dapr-grpc-port", &free_port().to_string()])
        .args(["--", "sh", "-c", "echo begun; exec sleep 300"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
