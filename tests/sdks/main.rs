//! Dapr's own SDKs and its CLI, from their registries, against this sidecar: each runs a small app
//! as its documentation has it. `tests/run.sh sdks` installs what they need.

#[path = "../sidecar/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "it is shared with the tests of the sidecar"
)]
mod support;

mod cli;
mod component;
mod go;
mod java;
mod node;
mod python;
mod rust;

use std::path::PathBuf;
use std::process::Command;

use bindery_testkit::servers::installed;

use crate::support::{App, Running, binary, free_port, resources};

/// A file of this folder.
fn source(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdks")
        .join(path)
}

/// An app beside its sidecar, and what its outputs call.
struct Stage {
    bindery: Running,
    _upstream: App,
    _folder: tempfile::TempDir,
}

/// Runs an app with an input `tick`, an output `files`, and an output `web` to an upstream that
/// answers `fine`.
fn stage(protocol: &str, app: &[PathBuf], env: &[(&str, PathBuf)]) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let upstream_port = free_port();
    let upstream = App::start(upstream_port, |_| (200, "fine".into()));
    let (root, url) = (
        folder.path().join("root").display().to_string(),
        format!("http://127.0.0.1:{upstream_port}"),
    );
    let components = resources(
        folder.path(),
        &[
            ("tick", "bindings.cron", &[("schedule", "@every 200ms")]),
            ("files", "bindings.localstorage", &[("rootPath", &root)]),
            ("web", "bindings.http", &[("url", &url)]),
        ],
    );
    let (http_port, app_port) = (free_port(), free_port());
    let mut command = Command::new(binary());
    command
        .args(["run", "--app-id", "shop"])
        .args([
            "--app-protocol",
            protocol,
            "--app-port",
            &app_port.to_string(),
        ])
        .args(["--dapr-http-port", &http_port.to_string()])
        .args(["--dapr-grpc-port", &free_port().to_string()])
        .arg("--resources-path")
        .arg(components)
        .arg("--")
        .args(app)
        .envs(env.iter().map(|(name, value)| (name, value)));
    Stage {
        bindery: Running::start(command, http_port, app_port),
        _upstream: upstream,
        _folder: folder,
    }
}

impl Stage {
    /// Waits for lines that the app prints, in any order, and for the end of both, which the app
    /// asks for.
    fn prints(mut self, lines: &[&str]) {
        for line in lines {
            self.bindery.wait_for_log(&format!("== APP == {line}\n"));
        }
        assert!(self.bindery.wait().is_some());
        assert!(self.bindery.log().contains("Dapr is shutting down"));
    }
}
