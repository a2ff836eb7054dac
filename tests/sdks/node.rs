//! `@dapr/dapr` of npm.

use crate::{installed, source, stage};

fn an_app_over(protocol: &str) {
    let modules = installed("BINDERY_TEST_SDK_NODE_PATH", "sdk-node/node_modules");
    let app = ["node".into(), source("node/app.js")];
    stage(protocol, &app, &[("NODE_PATH", modules)]).prints(&[
        "got 7 Zoë",
        "error true",
        "metadata shop files tick web",
    ]);
}

#[test]
fn an_app_over_grpc_takes_events_and_calls_outputs() {
    an_app_over("grpc");
}

#[test]
fn an_app_over_http_takes_events_and_calls_outputs() {
    an_app_over("http");
}
