//! The ports besides the app's own, and what a request may be before anybody reads it: origins,
//! heads, slow clients (runtime §1.3, §6.1, §6.3).

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use bindery::grpc::proto::runtime::v1::GetMetadataRequest;
use bindery::grpc::proto::runtime::v1::dapr_client::DaprClient;
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use crate::support::{Answer, Running, binary, free_port, request, resources};

fn with_flags(flags: &[&str], env: &[(&str, &str)]) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    let files = ("files", "bindings.localstorage", &settings[..]);
    let bindery = Running::sidecar_with(&resources(folder.path(), &[files]), flags, env);
    bindery.wait_until_ready();
    (bindery, folder)
}

#[test]
fn the_public_port_shows_health_and_metadata_without_a_token_and_nothing_else() {
    let port = free_port();
    let flags = ["--dapr-public-port", &port.to_string()];
    let (bindery, _folder) = with_flags(&flags, &[("DAPR_API_TOKEN", "secret")]);
    let ask = |method: &str, path: &str, body: &str| {
        request(port, method, path, &[], body.as_bytes()).unwrap()
    };
    assert_eq!(ask("GET", "/v1.0/healthz", "").status, 204);
    assert_eq!(ask("GET", "/v1.0/healthz/outbound", "").status, 204);
    assert_eq!(ask("PUT", "/v1.0/metadata/colour", "blue").status, 204);
    let metadata = ask("GET", "/v1.0/metadata", "");
    assert_eq!(metadata.status, 200);
    assert!(metadata.text().contains(r#""colour":"blue""#));
    assert_eq!(metadata.header("traceparent"), None);
    let list = r#"{"operation":"list"}"#;
    for (method, path, body) in [
        ("POST", "/v1.0/bindings/files", list),
        ("POST", "/v1.0/shutdown", ""),
        ("GET", "/v1.0-alpha1/bindings", ""),
        ("POST", "/v1.0-alpha1/bindings/files/pause", ""),
        ("GET", "/v1.0/secrets/vault/bulk", ""),
        ("GET", "/v1.0/invoke/test/method/x", ""),
        ("POST", "/v1.0/metadata", ""),
        ("GET", "/", ""),
    ] {
        let answer = ask(method, path, body);
        let text = (answer.status, answer.text());
        assert_eq!(
            text,
            (404, "404 page not found\n".into()),
            "{method} {path}"
        );
    }
    assert_eq!(bindery.get("/v1.0/metadata").status, 401);
    let log = bindery.log();
    let line = format!("Public HTTP server is running on port {port}: 0.0.0.0:{port}");
    assert!(log.contains(&line), "{log}");
    assert!(
        log.contains("--dapr-public-listen-address=127.0.0.1"),
        "{log}"
    );
    // HTTP/1.1 only.
    let output = Command::new("curl")
        .args(["-s", "--http2-prior-knowledge", "--max-time", "15"])
        .arg(format!("http://127.0.0.1:{port}/v1.0/healthz"))
        .output()
        .unwrap();
    assert!(!output.status.success());
}

#[test]
fn the_public_port_may_have_an_address_of_its_own() {
    let port = free_port();
    let flags = [
        "--dapr-public-port",
        &port.to_string(),
        "--dapr-public-listen-address",
        "127.0.0.1",
    ];
    let (bindery, _folder) = with_flags(&flags, &[]);
    let log = bindery.log();
    let line = format!("Public HTTP server is running on port {port}: 127.0.0.1:{port}\"");
    assert!(log.contains(&line), "{log}");
}

#[test]
fn the_api_is_for_this_machine_unless_other_addresses_are_named() {
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let listens = |address, port| TcpStream::connect((address, port)).is_ok();
    let (bindery, _folder) = with_flags(&[], &[]);
    for port in [bindery.http_port, bindery.grpc_port] {
        assert!(listens(Ipv4Addr::LOCALHOST, port));
        assert!(!listens(other, port));
    }
    drop(bindery);
    let (bindery, _folder) = with_flags(&["--dapr-listen-addresses", "127.0.0.1,127.0.0.2"], &[]);
    for port in [bindery.http_port, bindery.grpc_port] {
        assert!(listens(Ipv4Addr::LOCALHOST, port));
        assert!(listens(other, port));
    }
}

#[test]
fn two_ports_that_are_one_are_named() {
    let flags = ["--app-id", "x", "--dapr-public-port", "3500"];
    let output = Command::new(binary()).args(flags).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let says = "the 'dapr-public-port' argument value 3500 conflicts with 'dapr-http-port'";
    assert!(said.contains(says), "{said}");
}

const ORIGIN: &str = "http://page.example";

fn preflight(bindery: &Running, origin: &str) -> Answer {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type, x-mine"),
    ];
    request(
        bindery.http_port,
        "OPTIONS",
        "/v1.0/bindings/files",
        &headers,
        b"",
    )
    .unwrap()
}

fn call(bindery: &Running, headers: &[(&str, &str)]) -> Answer {
    let list = br#"{"operation":"list"}"#;
    request(
        bindery.http_port,
        "POST",
        "/v1.0/bindings/files",
        headers,
        list,
    )
    .unwrap()
}

#[test]
fn pages_of_allowed_origins_may_call() {
    let token = [("DAPR_API_TOKEN", "secret")];
    let flags = [
        "--allowed-origins",
        "http://page.example,https://*.more.example",
    ];
    let (bindery, _folder) = with_flags(&flags, &token);
    let answer = preflight(&bindery, ORIGIN);
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    for (name, value) in [
        ("access-control-allow-origin", ORIGIN),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type, x-mine"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let other = preflight(&bindery, "http://evil.example");
    assert_eq!((other.status, other.header("vary")), (200, Some("Origin")));
    assert_eq!(other.header("access-control-allow-origin"), None);

    // The page has to see what is wrong with its own call too.
    for (token, status) in [("secret", 200), ("wrong", 401)] {
        let answer = call(&bindery, &[("Origin", ORIGIN), ("dapr-api-token", token)]);
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    let answer = call(
        &bindery,
        &[
            ("Origin", "http://evil.example"),
            ("dapr-api-token", "secret"),
        ],
    );
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn every_origin_may_call_or_nobody_says_a_word_of_it() {
    let (bindery, _folder) = with_flags(&["--allowed-origins", "*"], &[]);
    let answer = preflight(&bindery, ORIGIN);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let answer = call(&bindery, &[("Origin", ORIGIN)]);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));

    let (bindery, _folder) = with_flags(&[], &[]);
    let answer = preflight(&bindery, ORIGIN);
    assert_eq!((answer.status, answer.header("vary")), (404, None));
    let answer = call(&bindery, &[("Origin", ORIGIN)]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

/// A request whose head is this long at least.
fn long_head(port: u16, bytes: usize) -> std::io::Result<Answer> {
    let value = "x".repeat(bytes);
    request(port, "GET", "/v1.0/metadata", &[("x-long", &value)], b"")
}

#[test]
fn a_head_over_the_limit_is_431_with_the_flag_that_raises_it() {
    let (bindery, _folder) = with_flags(&[], &[]);
    // The default, and the slack that the reference leaves.
    assert_eq!(long_head(bindery.http_port, 7 << 10).unwrap().status, 200);
    let answer = long_head(bindery.http_port, 9 << 10).unwrap();
    assert_eq!(answer.status, 431);
    assert!(
        answer.text().contains("--read-buffer-size"),
        "{}",
        answer.text()
    );
    assert_eq!(bindery.get("/v1.0/healthz").status, 204);
    // One that nobody would keep in memory may be cut off before its end.
    let endless = long_head(bindery.http_port, 1 << 20);
    assert!(endless.is_err() || endless.is_ok_and(|answer| answer.status == 431));
    assert_eq!(bindery.get("/v1.0/healthz").status, 204);

    let (bindery, _folder) = with_flags(&["--read-buffer-size", "32Ki"], &[]);
    assert_eq!(long_head(bindery.http_port, 33 << 10).unwrap().status, 200);
    assert_eq!(long_head(bindery.http_port, 40 << 10).unwrap().status, 431);
    let output = Command::new("curl")
        .args([
            "-s",
            "--http2-prior-knowledge",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
        ])
        .args(["-H", &format!("x-long: {}", "x".repeat(40 << 10))])
        .arg(format!(
            "http://127.0.0.1:{}/v1.0/metadata",
            bindery.http_port
        ))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "431");

    let (bindery, _folder) = with_flags(&["--dapr-http-read-buffer-size", "64"], &[]);
    assert_eq!(long_head(bindery.http_port, 64 << 10).unwrap().status, 200);
    assert!(
        bindery
            .log()
            .contains("has been deprecated, use --read-buffer-size")
    );
}

#[tokio::test]
async fn a_long_head_over_grpc_is_refused_and_the_connection_goes_on() {
    let (bindery, _folder) = with_flags(&["--read-buffer-size", "20Ki"], &[]);
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", bindery.grpc_port));
    let mut client = DaprClient::new(endpoint.unwrap().connect_lazy());
    for (bytes, code) in [
        (18 << 10, Code::Ok),
        (64 << 10, Code::Unknown),
        (1, Code::Ok),
    ] {
        let mut request = Request::new(GetMetadataRequest {});
        let value = "x".repeat(bytes).parse().unwrap();
        request.metadata_mut().insert("x-long", value);
        let outcome = client.get_metadata(request).await.err();
        let is = outcome.map_or(Code::Ok, |status| status.code());
        let is_refused = is != Code::Ok;
        assert_eq!(is_refused, code != Code::Ok, "{bytes} bytes: {is:?}");
    }
}

#[test]
fn a_client_that_does_not_finish_its_head_is_let_go() {
    let (bindery, _folder) = with_flags(&[], &[]);
    let begun: [&[u8]; 3] = [b"", b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n", b"PRI"];
    let connections = begun.map(|begun| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, bindery.http_port)).unwrap();
        stream.write_all(begun).unwrap();
        stream
    });
    let start = Instant::now();
    for mut stream in connections {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut answer = Vec::new();
        // The end of the stream, or its breaking off; not our own patience's.
        let ended = stream.read_to_end(&mut answer);
        let is_patience = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!is_patience, "{:?}", start.elapsed());
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 408"),
            "{text}"
        );
    }
}
