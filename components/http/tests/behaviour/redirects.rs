//! Redirects that an upstream asks for.

use bindery_contract::{Invocation, Retry};
use serde_json::json;

use crate::upstream::{Answer, Received, Upstream, answer, echo};
use crate::{Subject, get};

/// Redirects from `/307/there` to `/there`, and so on; other paths are echoed.
async fn redirecting(received: Received) -> Answer {
    let path = received.uri.path().to_owned();
    let (status, rest) = path[1..].split_once('/').unwrap_or_default();
    match status.parse() {
        Ok(status) => answer(status, &[("location", &format!("/{rest}"))], "moved"),
        Err(_) => echo(received).await,
    }
}

#[tokio::test]
async fn a_redirect_is_followed_with_the_method_it_asks_for() {
    let upstream = Upstream::start(redirecting);
    let http = Subject::open(&[("url", &upstream.url())]).await;
    for (operation, path, method, body) in [
        ("put", "301/there", "GET", ""),
        ("post", "302/there", "GET", ""),
        ("delete", "303/there", "GET", ""),
        ("put", "307/there", "PUT", "data"),
        ("post", "308/307/there", "POST", "data"),
        ("post", "307/303/308/there", "GET", ""),
    ] {
        let call = Invocation::new(operation)
            .with_data("data")
            .with("path", path)
            .with("X-A", "1");
        let seen = http.echoed(call).await;
        let expected = (&json!("/there"), &json!(method), &json!(body));
        assert_eq!(
            (&seen["path"], &seen["method"], &seen["body"]),
            expected,
            "{path}"
        );
        assert_eq!(seen["headers"]["x-a"], "1");
    }
    let head = http
        .call(Invocation::new("head").with("path", "302/there"))
        .await;
    assert_eq!(
        (head.metadata.get("statusCode"), head.data.len()),
        (Some("200"), 0)
    );
}

#[tokio::test]
async fn a_redirect_without_a_place_is_the_reply() {
    let upstream = Upstream::start(async |_| answer(302, &[], "where?"));
    let http = Subject::open(&[("url", &upstream.url())]).await;
    let rejected = http.rejected(get("")).await;
    assert_eq!(rejected.says, "received status code 302");
    assert_eq!(rejected.reply.unwrap().data, "where?");
}

#[tokio::test]
async fn a_circle_ends() {
    let upstream = Upstream::start(async |_| answer(302, &[("location", "/?code=hunter2")], ""));
    let http = Subject::open(&[("url", &upstream.url())]).await;
    let rejected = http.rejected(get("")).await;
    assert_eq!(rejected.retry, Retry::Pointless);
    let expected = format!("stopped after 10 redirects, at {}/", upstream.url());
    assert_eq!(rejected.says, expected);
}

#[tokio::test]
async fn another_domain_gets_no_secrets() {
    let other = Upstream::start(echo);
    let elsewhere = format!("http://localhost:{}/there", other.address().port());
    let back = other.url();
    let upstream = Upstream::start(move |received: Received| {
        let to = if received.uri.path() == "/away" {
            &elsewhere
        } else {
            &back
        };
        std::future::ready(answer(307, &[("location", to)], ""))
    });
    let http = Subject::open(&[
        ("url", &upstream.url()),
        ("securityToken", "hunter2"),
        ("securityTokenHeader", "X-Token"),
    ])
    .await;
    // Another port of the same host is the same domain; another name for it is not.
    for (path, secret) in [("away", json!(null)), ("near", json!("hunter2"))] {
        let call = get(path)
            .with("Authorization", "hunter2")
            .with("X-Other", "1");
        let headers = http.echoed(call).await["headers"].take();
        assert_eq!(
            (&headers["authorization"], &headers["x-token"]),
            (&secret, &secret),
            "{path}"
        );
        assert_eq!(headers["x-other"], "1");
    }
}
