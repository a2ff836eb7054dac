//! What goes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bindery_contract::{Invocation, Retry};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::upstream::{Upstream, echo};
use crate::{Subject, get, log_of, wire};

#[tokio::test]
async fn each_operation_has_its_method_and_three_have_a_body() {
    let upstream = Upstream::start(echo);
    let http = Subject::open(&[("url", &upstream.url())]).await;
    for (operation, method, body) in [
        ("create", "POST", r#"{"a":1}"#),
        ("post", "POST", r#"{"a":1}"#),
        ("put", "PUT", r#"{"a":1}"#),
        ("patch", "PATCH", r#"{"a":1}"#),
        ("get", "GET", ""),
        ("delete", "DELETE", ""),
        ("options", "OPTIONS", ""),
        ("trace", "TRACE", ""),
    ] {
        let call = Invocation::new(operation).with_data(r#"{"a":1}"#);
        let seen = http.echoed(call).await;
        assert_eq!(
            (&seen["method"], &seen["body"]),
            (&json!(method), &json!(body))
        );
        let content_type = match body {
            "" => json!(null),
            _ => json!("application/json; charset=utf-8"),
        };
        assert_eq!(seen["headers"]["content-type"], content_type, "{operation}");
        assert_eq!(seen["headers"]["accept"], "application/json; charset=utf-8");
    }
    let head = http.call(Invocation::new("head")).await;
    assert_eq!(
        (head.data.len(), head.metadata.get("statusCode")),
        (0, Some("200"))
    );
    let length: u64 = head
        .metadata
        .get("Content-Length")
        .unwrap()
        .parse()
        .unwrap();
    assert!(length > 0, "the length that a GET would have had");
    assert!(upstream.connections() < 9, "connections are used again");
}

#[tokio::test]
async fn path_and_headers_come_from_the_metadata() {
    let upstream = Upstream::start(echo);
    let http = Subject::open(&[
        ("url", &format!("{}/base/", upstream.url())),
        ("securityToken", "open sesame"),
        ("securityTokenHeader", "X-Token"),
    ])
    .await;
    let call = Invocation::new("post")
        .with_data("<a/>")
        .with("path", "/orders?max=1&q=a%20b")
        .with("Content-Type", "text/xml")
        .with("X-Trace-Me", "yes")
        .with("ignored", "lower case")
        .with("Host", "elsewhere")
        .with("Content-Length", "3")
        .with(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        );
    let seen = http.echoed(call).await;
    assert_eq!(
        (&seen["path"], &seen["body"]),
        (&json!("/base/orders?max=1&q=a%20b"), &json!("<a/>"))
    );
    let headers = &seen["headers"];
    let expected = [
        ("content-type", json!("text/xml")),
        ("x-trace-me", json!("yes")),
        ("ignored", json!(null)),
        ("x-token", json!("open sesame")),
        ("host", json!(upstream.address().to_string())),
        ("content-length", json!("4")),
        (
            "traceparent",
            json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ),
        (
            "user-agent",
            json!(concat!("bindery/", env!("CARGO_PKG_VERSION"))),
        ),
        ("accept-encoding", json!("gzip")),
    ];
    for (name, value) in expected {
        assert_eq!(headers[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_user_in_the_url_is_basic_authentication() {
    let upstream = Upstream::start(echo);
    let url = upstream.url().replace("://", "://me:hunter2@");
    let http = Subject::open(&[("url", &url)]).await;
    for path in ["", "x"] {
        let seen = http.echoed(get(path)).await;
        assert_eq!(seen["headers"]["authorization"], "Basic bWU6aHVudGVyMg==");
    }
    let seen = http.echoed(get("").with("Authorization", "Bearer x")).await;
    assert_eq!(seen["headers"]["authorization"], "Bearer x");
}

#[tokio::test]
async fn a_header_that_is_none_is_the_callers_mistake() {
    let upstream = Upstream::start(echo);
    let http = Subject::open(&[("url", &upstream.url())]).await;
    for (key, value) in [("X Y", "1"), ("X-Y", "1\n2")] {
        let rejected = http.rejected(Invocation::new("get").with(key, value)).await;
        assert_eq!(
            (rejected.retry, rejected.reply.is_none()),
            (Retry::Pointless, true)
        );
        assert!(rejected.says.contains(key), "{}", rejected.says);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn header_names_are_written_in_capitals() {
    let (tell, told) = std::sync::mpsc::channel();
    let url = wire::serve(move |mut stream| {
        let tell = tell.clone();
        async move {
            tell.send(wire::head(&mut stream).await).unwrap();
            stream.write_all(NOTHING).await.unwrap();
        }
    })
    .await;
    let http = Subject::open(&[("url", &url)]).await;
    http.call(Invocation::new("post").with("X-one-TWO", "1"))
        .await;
    let head = told.recv().unwrap().unwrap();
    assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    for line in [
        "X-One-Two: 1",
        "Content-Length: 0",
        "Accept: application/json; charset=utf-8",
    ] {
        assert!(
            head.contains(&format!("\r\n{line}\r\n")),
            "{line} in {head}"
        );
    }
}

#[tokio::test]
async fn trace_headers_of_a_callers_own_are_replaced_with_one_word_in_the_log() {
    let upstream = Upstream::start(echo);
    let http = Subject::open(&[("url", &upstream.url())]).await;
    let calls = async {
        for _ in 0..3 {
            let call = get("")
                .with("Traceparent", "mine")
                .with("traceparent", "current");
            assert_eq!(http.echoed(call).await["headers"]["traceparent"], "current");
        }
    };
    let ((), log) = log_of(calls).await;
    assert_eq!(
        log.matches("binding subject: a request brought trace headers")
            .count(),
        1,
        "{log}"
    );
}

#[tokio::test]
async fn settings_without_effect_are_named_in_the_log() {
    let settings = [
        ("url", "http://localhost"),
        ("MTLSRenegotiation", "RenegotiateOnceAsClient"),
        ("securityToken", "hunter2"),
    ];
    let (_, log) = log_of(Subject::open(&settings)).await;
    for says in [
        "MTLSRenegotiation has no effect",
        "securityToken and securityTokenHeader have",
    ] {
        assert!(
            log.contains(&format!("binding subject: {says}")),
            "{says}: {log}"
        );
    }
    assert!(!log.contains("hunter2"), "{log}");
}

const NOTHING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_connection_that_dies_when_used_again_costs_a_safe_request_nothing() {
    let url = wire::serve(async |mut stream| {
        wire::head(&mut stream).await;
        stream.write_all(NOTHING).await.unwrap();
        // It takes another request, and closes instead of answering.
        wire::head(&mut stream).await;
    })
    .await;
    let http = Subject::open(&[("url", &url)]).await;
    http.call(get("")).await;
    for operation in ["get", "head", "options", "trace"] {
        http.call(Invocation::new(operation)).await;
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_done_is_not_sent_again() {
    let received = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&received);
    let url = wire::serve(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            wire::head(&mut stream).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    let http = Subject::open(&[("url", &url)]).await;
    for operation in ["post", "put", "patch", "delete"] {
        let rejected = http.rejected(Invocation::new(operation)).await;
        assert_eq!(rejected.retry, Retry::MayHelp, "{}", rejected.says);
        assert_eq!(received.swap(0, Ordering::Relaxed), 1, "{operation}");
    }
}
