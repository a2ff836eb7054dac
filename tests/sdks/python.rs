//! `dapr` and `dapr-ext-grpc` of `PyPI`.

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
