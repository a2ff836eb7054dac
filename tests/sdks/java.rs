//! `io.dapr:dapr-sdk` of Maven Central, in a controller of Spring Boot.

use crate::{installed, source, stage};

#[test]
fn an_app_over_http_takes_events_and_calls_outputs() {
    let jars = installed("BINDERY_TEST_SDK_JAVA", "sdk-java");
    let app = [
        "java".into(),
        "-cp".into(),
        jars.join("*"),
        source("java/App.java"),
    ];
    stage("http", &app, &[]).prints(&[
        "event true",
        "got true",
        "web fine",
        "error INTERNAL true",
        "metadata shop [files, tick, web]",
    ]);
}
