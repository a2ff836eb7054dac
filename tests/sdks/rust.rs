//! `dapr` of crates.io.

use crate::{installed, stage};

#[test]
fn an_app_over_grpc_takes_events_and_calls_outputs() {
    let app = installed("BINDERY_TEST_SDK_RUST", "sdk-rust/app");
    stage("grpc", &[app], &[]).prints(&[
        "event tick true",
        "created true",
        "got true",
        "web fine 200",
        "error true",
        "metadata shop [\"files\", \"tick\", \"web\"] blue",
    ]);
}
