//! `docs/openapi.yaml` describes the HTTP API: schemathesis makes requests of it, right ones and
//! wrong ones, and compares the answers.

use std::path::Path;
use std::process::Command;

use crate::python;
use crate::support::{App, Running, free_port, request, resources};

/// What differs from Dapr's API on purpose of Dapr's API: a method that a path does not have is
/// 404, and a binding that is not there is 500.
const AS_DAPR_HAS_IT: &str = "unsupported_method,not_a_server_error";

/// Runs it with this `schemathesis.toml`.
fn compare(bindery: &Running, folder: &Path, settings: &str) {
    let file = folder.join("schemathesis.toml");
    std::fs::write(&file, settings).unwrap();
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.yaml");
    let url = format!("http://127.0.0.1:{}", bindery.http_port);
    // It keeps notes where it runs.
    let output = Command::new(python())
        .current_dir(folder)
        .args(["-m", "schemathesis.cli"])
        .arg("--config-file")
        .arg(&file)
        .arg("run")
        .arg(api)
        .args(["--url", &url, "--exclude-operation-id", "shutdown"])
        .args(["--exclude-checks", AS_DAPR_HAS_IT])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "40", "--seed", "1", "--no-color"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("Tested: 11"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_answer_is_one_that_the_description_has() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("files").display().to_string();
    let secrets = folder.path().join("secrets.json").display().to_string();
    std::fs::write(&secrets, r#"{"key": "value"}"#).unwrap();
    let components = resources(
        folder.path(),
        &[
            ("files", "bindings.localstorage", &[("rootPath", &root)]),
            ("tick", "bindings.cron", &[("schedule", "@every 1h")]),
            (
                "store",
                "secretstores.local.file",
                &[("secretsFile", &secrets)],
            ),
        ],
    );
    let app_port = free_port();
    let _app = App::start(app_port, |_| (200, String::new()));
    let bindery = Running::sidecar(&components, &["--app-port", &app_port.to_string()]);
    bindery.wait_until_ready();
    // Names that chance makes up, and then those that are there.
    compare(&bindery, folder.path(), "");
    compare(
        &bindery,
        folder.path(),
        "[parameters]\n\"path.name\" = \"files\"\n\"path.store\" = \"store\"\n\"path.key\" = \"key\"\n",
    );
    let health = request(bindery.http_port, "GET", "/v1.0/healthz", &[], b"").unwrap();
    assert_eq!(health.status, 204, "it is as well as before");
}
