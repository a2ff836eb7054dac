//! Calls of the own app through the sidecar (runtime §6.1): over HTTP and gRPC, to apps over HTTP
//! and gRPC.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bindery::grpc::proto::common::v1::http_extension::Verb;
use bindery::grpc::proto::common::v1::{HttpExtension, InvokeRequest, InvokeResponse};
use bindery::grpc::proto::runtime::v1::InvokeServiceRequest;
use bindery::grpc::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use bindery::grpc::proto::runtime::v1::dapr_client::DaprClient;
use bindery::grpc::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, ListInputBindingsResponse,
};
use hyper_util::service::TowerToHyperService;
use prost_types::Any;
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::grpc_app::listen_http2;
use crate::support::{Answer, App, Running, free_port, request, resources, wait_for};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A sidecar beside an app that tells what it was asked.
fn beside_echo(flags: &str) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let (http, grpc, app) = (free_port(), free_port(), free_port());
    let mut command = std::process::Command::new(crate::support::binary());
    command
        .args(["run", "--app-id", "test", "--app-port", &app.to_string()])
        .args(["--dapr-http-port", &http.to_string()])
        .args(["--dapr-grpc-port", &grpc.to_string()])
        .args(flags.split_whitespace())
        .arg("--resources-path")
        .arg(&components)
        .args(["--", "python3", "tests/apps/echo.py"])
        .env("APP_API_TOKEN", "for-the-app");
    let mut bindery = Running::start(command, http, app);
    bindery.grpc_port = grpc;
    bindery.wait_until_ready();
    (bindery, folder)
}

fn ask(bindery: &Running, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(bindery.http_port, method, path, headers, b"").unwrap()
}

fn told(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn client(bindery: &Running) -> DaprClient<Channel> {
    let url = format!("http://127.0.0.1:{}", bindery.grpc_port);
    DaprClient::new(Endpoint::from_shared(url).unwrap().connect_lazy())
}

fn call(id: &str, method: &str, verb: Verb, query: &str, data: &str) -> InvokeServiceRequest {
    InvokeServiceRequest {
        id: id.into(),
        message: Some(InvokeRequest {
            method: method.into(),
            data: Some(Any {
                value: data.into(),
                ..Any::default()
            }),
            content_type: "text/plain".into(),
            http_extension: Some(HttpExtension {
                verb: verb.into(),
                querystring: query.into(),
            }),
        }),
    }
}

#[test]
fn a_call_reaches_the_app_as_it_was_made() {
    let (bindery, _folder) = beside_echo("");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let headers = [
            ("Content-Type", "text/x-mine"),
            ("X-Mine", "yes"),
            ("Authorization", "Bearer x"),
            ("dapr-api-token", "for-the-sidecar"),
            ("Connection", "close, x-hop"),
            ("X-Hop", "1"),
            ("traceparent", PARENT),
        ];
        let path = "/v1.0/invoke/test/method/orders/a%20b/?x=1&y=%2F&status=200";
        let body: &[u8] = if method == "GET" {
            b""
        } else {
            b"h\xc3\xa9llo"
        };
        let answer = request(bindery.http_port, method, path, &headers, body).unwrap();
        assert_eq!(
            answer.header("content-type"),
            Some("application/vnd.echo+json")
        );
        let told = told(&answer);
        assert_eq!(told["method"], method);
        assert_eq!(told["path"], "/orders/a%20b/?x=1&y=%2F&status=200");
        assert_eq!(told["body"], *String::from_utf8_lossy(body));
        let headers = &told["headers"];
        for (name, value) in [
            ("content-type", json!("text/x-mine")),
            ("x-mine", json!("yes")),
            ("authorization", json!("Bearer x")),
            ("dapr-api-token", json!("for-the-app")),
            ("traceparent", json!(PARENT)),
            ("x-hop", Value::Null),
            ("dapr-app-id", Value::Null),
            ("host", json!(format!("127.0.0.1:{}", bindery.app_port))),
        ] {
            assert_eq!(headers[name], value, "{name} of {method}");
        }
    }
}

#[test]
fn the_apps_answer_reaches_the_caller_as_it_is() {
    let (bindery, _folder) = beside_echo("--max-body-size 100k");
    let path = "/v1.0/invoke/test/method/x";
    for status in [201, 404, 418, 500] {
        let answer = ask(&bindery, "GET", &format!("{path}?status={status}"), &[]);
        assert_eq!(answer.status, status);
        assert!(answer.text().contains("\"method\": \"GET\""));
        let cookies = answer
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let cookies: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
    }
    for query in ["large=1000000", "large=1000000&chunked", "large=0"] {
        let answer = ask(&bindery, "GET", &format!("{path}?{query}"), &[]);
        let length = if query == "large=0" { 0 } else { 1_000_000 };
        assert_eq!((answer.status, answer.body.len()), (200, length), "{query}");
    }
    // Of an answer to HEAD there is only the head.
    let output = std::process::Command::new("curl")
        .args(["-s", "--head", "--max-time", "10"])
        .arg(format!(
            "http://127.0.0.1:{}{path}?large=77",
            bindery.http_port
        ))
        .output()
        .unwrap();
    let head = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
    assert!(output.status.success(), "{head}");
    assert!(head.contains("content-length: 77\r\n"), "{head}");

    let body = vec![b'x'; 100_001];
    let answer = request(bindery.http_port, "POST", path, &[], &body).unwrap();
    assert_eq!(answer.status, 500);
    let says = "failed to invoke, id: test, err: error invoking app: stream too large";
    assert!(answer.text().contains(says), "{}", answer.text());
    let answer = request(bindery.http_port, "POST", path, &[], &body[1..]).unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn an_app_is_named_by_a_header_too() {
    let (bindery, _folder) = beside_echo("");
    let user = base64::engine::general_purpose::STANDARD.encode("dapr-app-id:test");
    for (name, value) in [
        ("dapr-app-id", "test".to_owned()),
        ("Authorization", format!("Basic {user}")),
    ] {
        let answer = ask(&bindery, "GET", "/orders//7?x=1", &[(name, &value)]);
        let told = told(&answer);
        assert_eq!(told["path"], "/orders/7?x=1");
        assert_eq!(told["headers"]["dapr-app-id"], Value::Null);
    }
}

#[test]
fn other_apps_are_not_called_and_the_error_says_so() {
    let (bindery, _folder) = beside_echo("");
    let message = "failed to invoke, id: other, err: couldn't find service: other; this sidecar \
                   calls its own app, test, and no other";
    let body = format!(r#"{{"errorCode":"ERR_DIRECT_INVOKE","message":"{message}"}}"#);
    let by_path = ask(&bindery, "POST", "/v1.0/invoke/other/method/x", &[]);
    assert_eq!((by_path.status, by_path.text()), (500, body.clone()));
    let by_header = ask(&bindery, "GET", "/x", &[("dapr-app-id", "other")]);
    assert_eq!((by_header.status, by_header.text()), (500, body));
    let nobody = ask(&bindery, "GET", "/v1.0/invoke/test", &[]);
    assert_eq!(nobody.status, 404);
    assert!(
        nobody.text().contains("failed getting app id"),
        "{}",
        nobody.text()
    );
}

#[test]
fn without_an_app_or_with_one_that_is_gone_or_unwell_the_error_says_why() {
    let says = |bindery: &Running, text: &str| {
        let answer = ask(bindery, "GET", "/v1.0/invoke/test/method/x", &[]);
        let start =
            r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: test, err: "#;
        assert!(answer.text().starts_with(start), "{}", answer.text());
        assert!(answer.text().contains(text), "{}", answer.text());
        assert_eq!(answer.status, 500);
    };
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    says(&bindery, "app channel not initialized");

    let (port, is_well) = (free_port(), Arc::new(AtomicBool::new(true)));
    let asked = Arc::clone(&is_well);
    let app = App::start(port, move |request| {
        let is_unwell = request.path == "/healthz" && !asked.load(Ordering::SeqCst);
        (if is_unwell { 503 } else { 200 }, "fine".into())
    });
    let flags = "--enable-app-health-check --app-health-probe-interval 1 --app-health-threshold 1";
    let port = port.to_string();
    let mut flags: Vec<&str> = flags.split(' ').collect();
    flags.extend(["--app-port", &port]);
    let bindery = Running::sidecar(&components, &flags);
    bindery.wait_for_log("App entered healthy status");
    let answer = ask(&bindery, "GET", "/v1.0/invoke/test/method/x", &[]);
    assert_eq!(answer.text(), "fine");
    is_well.store(false, Ordering::SeqCst);
    bindery.wait_for_log("App entered un-healthy status");
    says(&bindery, "app is not in a healthy state");
    is_well.store(true, Ordering::SeqCst);
    wait_for("the app to be well", Duration::from_secs(20), || {
        ask(&bindery, "GET", "/v1.0/invoke/test/method/x", &[]).status == 200
    });
    drop(app);
    wait_for("the app to be gone", Duration::from_secs(20), || {
        ask(&bindery, "GET", "/v1.0/invoke/test/method/x", &[]).status == 500
    });
}

#[test]
fn a_configuration_closes_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let spec = "spec: {api: {allowed: [{name: bindings, version: v1, protocol: http}]}}\n";
    std::fs::write(&config, spec).unwrap();
    let (bindery, _folder) = beside_echo(&format!("--config {}", config.display()));
    for path in ["/v1.0/invoke/test/method/x", "/x", "/v1.0/metadata"] {
        let answer = ask(&bindery, "GET", path, &[("dapr-app-id", "test")]);
        let text = (answer.status, answer.text());
        assert_eq!(text, (404, "404 page not found\n".into()), "{path}");
    }
}

#[tokio::test]
async fn a_call_over_grpc_reaches_an_app_over_http() {
    let (bindery, _folder) = beside_echo("--max-body-size 100k");
    let mut client = client(&bindery);
    let mut request = Request::new(call("test", "orders/1", Verb::Put, "x=1", "hello"));
    request
        .metadata_mut()
        .insert("x-mine", "yes".parse().unwrap());
    let answer = client.invoke_service(request).await.unwrap();
    assert_eq!(answer.metadata().get("dapr-http-status").unwrap(), "200");
    let cookies: Vec<_> = answer.metadata().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let answer = answer.into_inner();
    assert_eq!(answer.content_type, "application/vnd.echo+json");
    let told: Value = serde_json::from_slice(&answer.data.unwrap().value).unwrap();
    assert_eq!(
        (&told["method"], &told["path"]),
        (&json!("PUT"), &json!("/orders/1?x=1"))
    );
    assert_eq!(
        (&told["body"], &told["headers"]["x-mine"]),
        (&json!("hello"), &json!("yes"))
    );
    assert_eq!(told["headers"]["content-type"], "text/plain");
    assert_eq!(told["headers"]["dapr-api-token"], "for-the-app");

    for (query, code, message) in [
        ("status=404", Code::NotFound, "Not Found"),
        ("status=400", Code::Internal, "Bad Request"),
        ("status=501", Code::Unimplemented, "Not Implemented"),
        ("status=503", Code::Unavailable, "Service Unavailable"),
        ("status=500", Code::Unknown, "Internal Server Error"),
    ] {
        let refused = client.invoke_service(call("test", "x", Verb::Get, query, ""));
        let refused = refused.await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message));
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.reason, message);
        assert_eq!(info.metadata["http.code"], query.replace("status=", ""));
        assert!(info.metadata["http.error_message"].starts_with("{\"method\""));
        let status = refused.metadata().get("dapr-http-status").unwrap();
        assert_eq!(status, info.metadata["http.code"].as_str());
    }
    let large = client.invoke_service(call("test", "x", Verb::Get, "large=200000", ""));
    assert_eq!(large.await.unwrap_err().code(), Code::ResourceExhausted);

    let mut odd = call("test", "x", Verb::Get, "", "");
    odd.message.as_mut().unwrap().http_extension = None;
    for (request, says) in [
        (
            odd,
            "id: test, err: error invoking app: missing HTTP extension field",
        ),
        (call("test", "x", Verb::None, "", ""), "invalid HTTP verb"),
        (
            call("other", "x", Verb::Get, "", ""),
            "couldn't find service: other",
        ),
    ] {
        let refused = client.invoke_service(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Internal);
        assert!(refused.message().contains(says), "{refused}");
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.reason, "ERR_DIRECT_INVOKE");
    }
}

/// An app over gRPC that tells what it was asked, or refuses.
struct Telling;

#[tonic::async_trait]
impl AppCallback for Telling {
    async fn on_invoke(
        &self,
        request: Request<InvokeRequest>,
    ) -> Result<Response<InvokeResponse>, Status> {
        let header = |name| {
            let value = request.metadata().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let told = json!({
            "x-mine": header("x-mine"),
            "dapr-cookie": header("dapr-cookie"),
            "token": header("dapr-api-token"),
            "parent": header("traceparent"),
        });
        let asked = request.into_inner();
        if asked.method == "refuse" {
            return Err(Status::not_found("no such order"));
        }
        if asked.method == "odd" {
            return Err(Status::out_of_range("page 7"));
        }
        let extension = asked.http_extension.unwrap_or_default();
        let told = json!({
            "headers": told,
            "method": asked.method,
            "body": String::from_utf8(asked.data.unwrap_or_default().value).unwrap(),
            "contentType": asked.content_type,
            "verb": extension.verb().as_str_name(),
            "query": extension.querystring,
        });
        let mut answer = Response::new(InvokeResponse {
            data: Some(Any {
                value: told.to_string().into(),
                ..Any::default()
            }),
            content_type: "application/vnd.told+json".into(),
        });
        answer
            .metadata_mut()
            .insert("x-told", "yes".parse().unwrap());
        Ok(answer)
    }

    async fn list_input_bindings(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListInputBindingsResponse>, Status> {
        Ok(Response::new(ListInputBindingsResponse::default()))
    }

    async fn on_binding_event(
        &self,
        _: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        Ok(Response::new(BindingEventResponse::default()))
    }
}

#[test]
fn an_app_over_grpc_is_called_over_both_protocols() {
    let port = free_port();
    let service = AppCallbackServer::from_arc(Arc::new(Telling));
    let _app = listen_http2(port, None, TowerToHyperService::new(service));
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--app-protocol", "grpc", "--app-port", &port.to_string()];
    let env = [("APP_API_TOKEN", "for-the-app")];
    let bindery = Running::sidecar_with(&resources(folder.path(), &[]), &flags, &env);
    bindery.wait_until_ready();

    let headers = [
        ("Content-Type", "text/x-mine"),
        ("X-Mine", "yes"),
        ("Cookie", "a=1"),
        ("traceparent", PARENT),
    ];
    let path = "/v1.0/invoke/test/method/orders/1?x=1";
    let answer = request(bindery.http_port, "PATCH", path, &headers, b"hello").unwrap();
    assert_eq!(
        answer.header("content-type"),
        Some("application/vnd.told+json")
    );
    assert_eq!(answer.header("x-told"), Some("yes"));
    let expected = json!({
        "headers": {
            "x-mine": "yes", "dapr-cookie": "a=1", "token": "for-the-app", "parent": PARENT
        },
        "method": "orders/1",
        "body": "hello",
        "contentType": "text/x-mine",
        "verb": "PATCH",
        "query": "x=1",
    });
    assert_eq!(told(&answer), expected);
    for (method, status, body) in [
        ("refuse", 404, r#"{"code":5,"message":"no such order"}"#),
        ("odd", 400, r#"{"code":11,"message":"page 7"}"#),
    ] {
        let answer = ask(
            &bindery,
            "GET",
            &format!("/v1.0/invoke/test/method/{method}"),
            &[],
        );
        assert_eq!((answer.status, answer.text().as_str()), (status, body));
    }

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(over_grpc(&bindery));
}

async fn over_grpc(bindery: &Running) {
    let mut client = client(bindery);
    let answer = client.invoke_service(call("test", "orders/1", Verb::None, "", "hello"));
    let answer = answer.await.unwrap();
    assert_eq!(answer.metadata().get("x-told").unwrap(), "yes");
    let told: Value = serde_json::from_slice(&answer.into_inner().data.unwrap().value).unwrap();
    assert_eq!(
        (&told["body"], &told["verb"]),
        (&json!("hello"), &json!("NONE"))
    );
    for (method, code, message) in [
        ("refuse", Code::NotFound, "no such order"),
        ("odd", Code::OutOfRange, "page 7"),
    ] {
        let refused = client.invoke_service(call("test", method, Verb::Get, "", ""));
        let refused = refused.await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message));
    }
}
