//! `github.com/dapr/go-sdk`.

use crate::{installed, stage};

fn an_app_over(protocol: &str) {
    let app = installed("BINDERY_TEST_SDK_GO", "sdk-go/app");
    stage(protocol, &[app], &[]).prints(&[
        "created <nil>",
        "got true",
        "web fine 200",
        "error Internal true",
        "metadata shop [files tick web] blue",
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
