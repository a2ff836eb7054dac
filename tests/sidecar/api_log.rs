//! The log of the API: a line for each call (runtime §6.8).

use crate::support::{Running, free_port, request, resources};

fn configuration(folder: &std::path::Path, logging: &str) -> String {
    let file = folder.join("configuration.yaml");
    let text = format!("kind: Configuration\nspec:\n  logging: {{apiLogging: {logging}}}\n");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn called(bindery: &Running) -> Vec<serde_json::Value> {
    let log = bindery.log();
    let lines = log.lines().filter(|line| line.contains("API Called"));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn each_call_is_a_line_whatever_the_level() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let flags = ["--enable-api-logging", "--log-as-json", "--log-level=error"];
    let env = [("DAPR_API_TOKEN", "token")];
    let bindery = Running::sidecar_with(&components, &flags, &env);
    bindery.wait_until_ready();
    let headers = [("dapr-api-token", "token"), ("user-agent", "curl/8")];
    let path = "/v1.0/bindings/none";
    let body = br#"{"operation":"create"}"#;
    let answer = request(bindery.http_port, "POST", path, &headers, body).unwrap();
    request(
        bindery.http_port,
        "POST",
        "/v1.0/bindings/secret",
        &[],
        body,
    )
    .unwrap();
    let mut call = tonic::Request::new(crate::grpc_api::call("none", "create", "x"));
    call.metadata_mut()
        .insert("dapr-api-token", "token".parse().unwrap());
    crate::grpc_api::invoke(&bindery, call).await.unwrap_err();
    bindery.wait_for_log("gRPC API Called");
    let called = called(&bindery);
    let http = called
        .iter()
        .find(|line| line["method"] == "POST /v1.0/bindings/none")
        .unwrap();
    assert_eq!(http["msg"], "HTTP API Called");
    assert_eq!(http["scope"], "dapr.runtime.http-info");
    assert_eq!(http["level"], "info");
    assert_eq!(http["code"], 500);
    assert_eq!(http["size"], answer.body.len());
    assert_eq!(http["useragent"], "curl/8");
    assert!(http["duration"].is_u64(), "{http}");
    let grpc = called
        .iter()
        .find(|line| line["msg"] == "gRPC API Called")
        .unwrap();
    assert_eq!(grpc["scope"], "dapr.runtime.grpc.api-info");
    assert_eq!(grpc["method"], "/dapr.proto.runtime.v1.Dapr/InvokeBinding");
    assert_eq!(grpc["code"], 13);
    assert!(
        grpc["useragent"].as_str().unwrap().contains("tonic"),
        "{grpc}"
    );
    assert!(
        !bindery.log().contains("secret"),
        "a call without the token is none"
    );
}

#[test]
fn what_anybody_asks_at_the_public_port_is_counted_and_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let (public, metrics) = (free_port(), free_port());
    let ports = [public.to_string(), metrics.to_string()];
    let flags = [
        "--enable-api-logging",
        "--dapr-public-port",
        &ports[0],
        "--metrics-port",
        &ports[1],
    ];
    let bindery = Running::sidecar(&components, &flags);
    bindery.wait_until_ready();
    assert_eq!(
        request(public, "GET", "/v1.0/metadata", &[], b"")
            .unwrap()
            .status,
        200
    );
    bindery.get("/v1.0/nowhere");
    bindery.wait_for_log("GET /v1.0/nowhere");
    assert!(!bindery.log().contains("GET /v1.0/metadata"));
    let counted = request(metrics, "GET", "/", &[], b"").unwrap().text();
    let labels = r#"method="GET",path="/v1.0/metadata",status="200"} 1"#;
    assert!(counted.contains(labels), "{counted}");
}

#[test]
fn a_configuration_names_endpoints_and_leaves_health_out() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let spec = "{enabled: true, obfuscateURLs: true, omitHealthChecks: true}";
    let configuration = configuration(folder.path(), spec);
    let bindery = Running::sidecar(&components, &["--config", &configuration]);
    bindery.wait_until_ready();
    bindery.invoke("none", r#"{"operation":"create"}"#);
    bindery.wait_for_log("method=InvokeBinding");
    bindery.wait_for_log("msg=\"HTTP API Called\"");
    let log = bindery.log();
    assert!(
        !log.contains("method=Healthz") && !log.contains("bindings/none"),
        "{log}"
    );
    let flags = ["--config", &configuration, "--enable-api-logging=false"];
    let bindery = Running::sidecar(&components, &flags);
    bindery.wait_until_ready();
    bindery.get("/v1.0/metadata");
    assert!(!bindery.log().contains("API Called"), "the flag wins");
}
