//! The HTTP API, byte by byte (runtime §1.1, §6.1, §6.4).

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::support::{Answer, App, Running, free_port, request, resources};

const UNKNOWN_ROUTE: &str = "{\"errorCode\":\"ERR_DIRECT_INVOKE\",\"message\":\"failed getting \
                             app id either from the URL path or the header dapr-app-id\"}";

/// A sidecar with one output, `files`, and the folder that it stores them in.
fn with_files(flags: &[&str], env: &[(&str, &str)]) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    let files = ("files", "bindings.localstorage", &settings[..]);
    let components = resources(folder.path(), &[files]);
    let running = Running::sidecar_with(&components, flags, env);
    running.wait_until_ready();
    (running, folder)
}

fn error(code: &str, message: &str) -> String {
    format!("{{\"errorCode\":\"{code}\",\"message\":\"{message}\"}}")
}

fn assert_error(answer: &Answer, status: u16, code: &str, message: &str) {
    assert_eq!(answer.text(), error(code, message));
    assert_eq!(answer.status, status);
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn a_call_answers_200_with_a_reply_and_204_without_one() {
    let (bindery, _folder) = with_files(&[], &[]);
    let create = r#"{"operation":"create","data":{"b":1,"a":[1.10,9007199254740993]},
                     "metadata":{"fileName":"x.json"}}"#;
    let created = bindery.invoke("files", create);
    assert_eq!(
        (created.status, created.text().as_str()),
        (200, r#"{"fileName":"x.json"}"#)
    );
    assert_eq!(created.header("content-type"), Some("application/json"));
    let get = r#"{"operation":"get","metadata":{"fileName":"x.json"}}"#;
    let put = request(
        bindery.http_port,
        "PUT",
        "/v1.0/bindings/files",
        &[],
        get.as_bytes(),
    );
    assert_eq!(
        put.unwrap().text(),
        r#"{"b":1,"a":[1.10,9007199254740993]}"#
    );
    let deleted = bindery.invoke(
        "files",
        r#"{"operation":"delete","metadata":{"fileName":"x.json"}}"#,
    );
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(deleted.header("content-type"), None);
}

#[test]
fn failures_have_the_shapes_of_the_reference() {
    let (bindery, _folder) = with_files(&[], &[]);
    let failed = |binding: &str, body: &str, message: &str| {
        let message = format!("error invoking output binding {binding}: {message}");
        assert_error(
            &bindery.invoke(binding, body),
            500,
            "ERR_INVOKE_OUTPUT_BINDING",
            &message,
        );
    };
    failed("files", "{}", "operation field is missing from request");
    failed("nowhere", "null", "operation field is missing from request");
    failed(
        "nowhere",
        r#"{"operation":"x"}"#,
        "couldn't find output binding nowhere",
    );
    let supported = "supported operations:create get list delete";
    let message = format!("binding files does not support operation Create. {supported}");
    failed("files", r#"{"operation":"Create"}"#, &message);

    for (body, problem) in [("", "EOF"), ("{\"data\":", "unexpected EOF")] {
        let message = format!("failed deserializing HTTP body: {problem}");
        assert_error(
            &bindery.invoke("files", body),
            400,
            "ERR_MALFORMED_REQUEST",
            &message,
        );
    }
    for body in [
        "[]",
        "7",
        r#"{"operation":1}"#,
        r#"{"metadata":{"a":1}}"#,
        "nonsense",
    ] {
        let answer = bindery.invoke("files", body);
        let start =
            r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"failed deserializing HTTP body: "#;
        assert!(answer.text().starts_with(start), "{}", answer.text());
        assert_eq!(answer.status, 400);
    }
}

#[test]
fn a_replys_metadata_is_in_headers_on_success_and_on_failure() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _app = App::start(port, |request| {
        let status = request.path.trim_start_matches('/').parse();
        (status.unwrap(), "binary, whatever it says".into())
    });
    let url = format!("http://127.0.0.1:{port}");
    let web = ("web", "bindings.http", &[("url", url.as_str())][..]);
    let bindery = Running::sidecar(&resources(folder.path(), &[web]), &[]);
    bindery.wait_until_ready();
    for (said, status) in [("200", 200), ("404", 500)] {
        let call = format!(r#"{{"operation":"get","metadata":{{"path":"/{said}"}}}}"#);
        let answer = bindery.invoke("web", &call);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("metadata.statuscode"), Some(said));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn a_body_over_the_limit_is_a_400_that_names_the_limit() {
    let (bindery, _folder) = with_files(&["--max-body-size", "1k"], &[]);
    let body = |bytes: usize| {
        let frame = r#"{"operation":"list","pad":""}"#;
        frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
    };
    assert_eq!(
        bindery.invoke("files", &body(1000)).status,
        200,
        "exactly the limit is fine"
    );
    let message = "failed deserializing HTTP body: stream too large (the limit is 1000 bytes, \
                   --max-body-size)";
    assert_error(
        &bindery.invoke("files", &body(1001)),
        400,
        "ERR_MALFORMED_REQUEST",
        message,
    );
    assert_eq!(bindery.invoke("files", &body(500_000)).status, 400);
}

#[test]
fn unknown_routes_and_methods_are_404_in_the_references_words() {
    let (bindery, _folder) = with_files(&[], &[]);
    for (method, path) in [
        ("GET", "/v1.0/bindings/files"),
        ("OPTIONS", "/v1.0/bindings/files"),
        ("DELETE", "/v1.0/bindings/files"),
        ("POST", "/v1.0/bindings"),
        ("POST", "/v1.0/healthz"),
        ("GET", "/v1.0/shutdown"),
        ("GET", "/v1.0/state/x/y"),
        ("GET", "/"),
    ] {
        let answer = request(bindery.http_port, method, path, &[], b"").unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, UNKNOWN_ROUTE),
            "{method} {path}"
        );
    }
}

#[test]
fn a_name_is_cleaned_decoded_and_the_query_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    let files = ("my files", "bindings.localstorage", &settings[..]);
    let bindery = Running::sidecar(&resources(folder.path(), &[files]), &[]);
    bindery.wait_until_ready();
    let list = r#"{"operation":"list"}"#;
    for path in [
        "/v1.0/bindings/my+files",
        "/v1.0/bindings/my%20files",
        "//v1.0/./bindings/x/../my+files/",
        "/v1.0/bindings/my+files?metadata.fileName=elsewhere",
    ] {
        let answer = bindery.post(path, list);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "null"),
            "{path}"
        );
    }
    let answer = bindery.post("/v1.0/bindings/a%zz", list);
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.text(),
        "failed to unescape request parameter \"name\". Error: invalid URL escape \"%zz\"\n"
    );
}

#[test]
fn health_knows_the_app_id() {
    let (bindery, _folder) = with_files(&[], &[]);
    for path in [
        "/v1.0/healthz",
        "/v1.0/healthz/",
        "/v1.0/healthz?appid=test",
        "/v1.0/healthz/outbound",
    ] {
        let answer = bindery.get(path);
        assert_eq!(
            (answer.status, answer.header("traceparent")),
            (204, None),
            "{path}"
        );
    }
    let answer = bindery.get("/v1.0/healthz?appid=other");
    assert_error(
        &answer,
        500,
        "ERR_HEALTH_APPID_NOT_MATCH",
        "dapr app-id does not match",
    );
}

#[test]
fn metadata_lists_components_extensions_and_each_bindings_state() {
    let (bindery, _folder) = with_files(&["--app-max-concurrency", "3"], &[]);
    let put = request(
        bindery.http_port,
        "PUT",
        "/v1.0/metadata/cli%20PID",
        &[],
        b"4711",
    )
    .unwrap();
    assert_eq!(put.status, 204);
    let put = request(
        bindery.http_port,
        "PUT",
        "/v1.0/metadata/daprRuntimeVersion",
        &[],
        b"0",
    );
    assert_eq!(put.unwrap().status, 204);
    let answer = bindery.get("/v1.0/metadata");
    assert!(answer.text().ends_with("}\n"));
    assert!(
        answer
            .text()
            .starts_with(r#"{"id":"test","runtimeVersion":""#),
        "the field order"
    );
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        document["components"],
        serde_json::json!([{
            "name": "files", "type": "bindings.localstorage", "version": "v1",
            "capabilities": ["OUTPUT_BINDING"],
        }])
    );
    assert_eq!(document["extended"]["cli PID"], "4711");
    assert_eq!(
        document["extended"]["daprRuntimeVersion"],
        document["runtimeVersion"]
    );
    assert_eq!(document["actorRuntime"]["runtimeStatus"], "DISABLED");
    let side = &document["bindings"][0]["sides"][0];
    assert_eq!(
        (&side["direction"], &side["state"]),
        (&"output".into(), &"Running".into())
    );
}

#[test]
fn the_token_is_asked_for_everywhere_but_at_the_health_endpoints() {
    let (bindery, _folder) = with_files(&[], &[("DAPR_API_TOKEN", "hunter2")]);
    let ask = |path: &str, token: Option<&str>| {
        let headers: Vec<_> = token
            .map(|token| ("dapr-api-token", token))
            .into_iter()
            .collect();
        request(bindery.http_port, "GET", path, &headers, b"").unwrap()
    };
    for token in [None, Some("wrong"), Some("hunter22"), Some("")] {
        let answer = ask("/v1.0/metadata", token);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (401, "invalid api token\n")
        );
    }
    assert_eq!(ask("/v1.0/metadata", Some("hunter2")).status, 200);
    assert_eq!(ask("/v1.0/healthz", None).status, 204);
    assert_eq!(ask("/v1.0/healthz/outbound", None).status, 204);
    assert!(!bindery.log().contains("hunter2"));
}

#[test]
fn trace_context_is_carried_on_and_bad_baggage_refused() {
    let (bindery, _folder) = with_files(&[], &[]);
    let list = br#"{"operation":"list"}"#;
    let post = |headers: &[(&str, &str)]| {
        request(
            bindery.http_port,
            "POST",
            "/v1.0/bindings/files",
            headers,
            list,
        )
        .unwrap()
    };
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = post(&[
        ("traceparent", parent),
        ("baggage", "a=1"),
        ("baggage", "b=2"),
    ]);
    assert_eq!(answer.header("traceparent"), Some(parent));
    assert_eq!(answer.header("baggage"), Some("a=1,b=2"));
    let fresh = post(&[]);
    let fresh = fresh.header("traceparent").unwrap();
    assert!(
        fresh.ends_with("-00") && !fresh.contains("0000000000000000"),
        "{fresh}"
    );
    let answer = post(&[("baggage", "no baggage")]);
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().starts_with("invalid baggage header: "),
        "{}",
        answer.text()
    );
}

#[test]
fn http_2_is_spoken_by_prior_knowledge_on_the_same_port() {
    let (bindery, _folder) = with_files(&[], &[]);
    let url = format!("http://127.0.0.1:{}/v1.0/bindings/files", bindery.http_port);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        let body = Full::from(r#"{"operation":"list"}"#);
        let answer = client
            .request(http::Request::post(url).body(body).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.version(), http::Version::HTTP_2);
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.into_body().collect().await.unwrap().to_bytes(),
            "null"
        );
    });
    let upgrade = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", ""),
    ];
    let answer = request(bindery.http_port, "GET", "/v1.0/healthz", &upgrade, b"").unwrap();
    assert_eq!(
        answer.status, 204,
        "the obsolete upgrade is answered on HTTP/1.1"
    );
}

#[test]
fn without_h2c_http_2_is_not_spoken() {
    let (bindery, _folder) = with_files(&[], &[("DAPR_HTTP_DISABLE_H2C", "true")]);
    let url = format!("http://127.0.0.1:{}/v1.0/healthz", bindery.http_port);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        assert!(client.get(url.parse().unwrap()).await.is_err());
    });
}

#[test]
fn shutdown_over_the_api_is_answered_and_then_done() {
    for (headers, code) in [
        (&[][..], Some(0)),
        (&[("dapr-force-shutdown", "true")][..], Some(1)),
    ] {
        let (mut bindery, _folder) = with_files(&[], &[]);
        let answer = request(bindery.http_port, "POST", "/v1.0/shutdown", headers, b"").unwrap();
        assert_eq!(answer.status, 204);
        assert_eq!(bindery.wait(), code, "{}", bindery.log());
        bindery.wait_for_log("Shutdown requested via API");
    }
}

#[test]
fn a_large_reply_is_streamed_whole() {
    let (bindery, folder) = with_files(&[], &[]);
    let content: Vec<u8> = (0..8_000_000u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(folder.path().join("root/large"), &content).unwrap();
    let answer = bindery.invoke(
        "files",
        r#"{"operation":"get","metadata":{"fileName":"large"}}"#,
    );
    assert_eq!(answer.status, 200);
    assert!(answer.body == content);
}

#[test]
fn a_client_that_breaks_off_leaves_nothing_behind() {
    use std::io::Write as _;
    let (bindery, _folder) = with_files(&[], &[]);
    for _ in 0..50 {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", bindery.http_port)).unwrap();
        let head =
            "POST /v1.0/bindings/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"op";
        stream.write_all(head.as_bytes()).unwrap();
        drop(stream);
    }
    assert_eq!(
        bindery.invoke("files", r#"{"operation":"list"}"#).status,
        200
    );
    crate::support::wait_for(
        "the connections to be closed",
        Duration::from_secs(10),
        || open_files(bindery.id()) < 60,
    );
}

fn open_files(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}
