//! `dapr` of `PyPI`, with its extensions `grpc` and `fastapi`.

use std::process::Command;

use crate::support::{Running, binary, free_port, resources};
use crate::{installed, source, stage};

#[test]
fn an_app_over_grpc_takes_events_and_calls_outputs() {
    let python = installed("BINDERY_TEST_SDK_PYTHON", "sdk-python/bin/python");
    stage("grpc", &[python, source("python/app.py")], &[]).prints(&[
        "event True True",
        "trace True",
        "created True",
        "got True",
        "web fine 200",
        "error StatusCode.INTERNAL error invoking output binding nope: couldn't find output binding nope",
        "metadata shop ['files', 'tick', 'web']",
        "extended blue",
    ]);
}

#[test]
fn an_app_finds_a_unix_domain_socket_and_reads_secrets() {
    let python = installed("BINDERY_TEST_SDK_PYTHON", "sdk-python/bin/python");
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[("env", "secretstores.local.env", &[])]);
    // The SDK waits for the sidecar over HTTP, which the public port answers.
    let public = free_port();
    let mut command = Command::new(binary());
    command
        .args(["run", "--app-id", "shop", "--unix-domain-socket"])
        .arg(folder.path())
        .args(["--dapr-public-port", &public.to_string()])
        .args(["--dapr-public-listen-address", "127.0.0.1"])
        .arg("--resources-path")
        .arg(components)
        .arg("--")
        .args([python, source("python/over_socket.py")])
        .env("DAPR_HTTP_ENDPOINT", format!("http://127.0.0.1:{public}"))
        .env("SHOP_USER", "maria");
    let mut bindery = Running::start(command, 0, 0);
    for line in [
        "metadata shop",
        "secret {'SHOP_USER': 'maria'}",
        "bulk {'SHOP_USER': 'maria'}",
    ] {
        bindery.wait_for_log(&format!("== APP == {line}\n"));
    }
    assert!(bindery.wait().is_some());
}

#[test]
fn an_app_over_http_takes_events_and_calls_outputs() {
    let python = installed("BINDERY_TEST_SDK_PYTHON", "sdk-python/bin/python");
    stage("http", &[python, source("python/web.py")], &[]).prints(&[
        "event True True",
        "got {'orderId': 7}",
        "web fine 200",
        "error StatusCode.INTERNAL",
    ]);
}
