//! What comes back: status, metadata, errors.

use std::time::Duration;

use bindery_contract::{Clock, Retry};
use bindery_testkit::servers::Outage;
use hyper::ext::ReasonPhrase;

use crate::upstream::{Answer, Received, Upstream, answer};
use crate::{Subject, get};

/// Answers with the status that the path names.
async fn status(received: Received) -> Answer {
    let status = received.uri.path().trim_matches('/').parse().unwrap();
    let body = if status == 204 { "" } else { r#"{"why":"so"}"# };
    let mut answer = answer(status, &[("retry-after", "7")], body);
    if answer.status().canonical_reason().is_none() {
        answer
            .extensions_mut()
            .insert(ReasonPhrase::from_static(b""));
    }
    answer
}

#[tokio::test]
async fn the_status_and_all_headers_are_metadata() {
    let upstream = Upstream::start(async |_| {
        let headers = [
            ("X-MANY", "1"),
            ("x-many", "2"),
            ("etag", "\"é\""),
            ("x-empty", ""),
        ];
        let mut answer = answer(200, &headers, "body");
        answer
            .extensions_mut()
            .insert(ReasonPhrase::from_static(b"Fine by me"));
        answer
    });
    let http = Subject::open(&[("url", &upstream.url())]).await;
    let reply = http.call(get("")).await;
    let metadata: Vec<_> = reply
        .metadata
        .iter()
        .filter(|(key, _)| *key != "Date")
        .collect();
    assert_eq!(reply.data, "body");
    assert_eq!(
        metadata,
        [
            ("Content-Length", "4"),
            ("Etag", "\"é\""),
            ("X-Empty", ""),
            ("X-Many", "1, 2"),
            ("status", "200 Fine by me"),
            ("statusCode", "200"),
        ]
    );
}

#[tokio::test]
async fn no_content_is_a_reply_without_data() {
    let upstream = Upstream::start(status);
    let http = Subject::open(&[("url", &upstream.url())]).await;
    let reply = http.call(get("204")).await;
    assert_eq!(
        (reply.data.len(), reply.metadata.get("status")),
        (0, Some("204 No Content"))
    );
    let reply = http.call(get("299")).await;
    assert_eq!(reply.metadata.get("status"), Some("299"));
}

#[tokio::test]
async fn another_status_is_an_error_that_brings_the_reply_along() {
    let upstream = Upstream::start(status);
    let http = Subject::open(&[("url", &upstream.url())]).await;
    for (code, retry) in [
        ("304", Retry::Pointless),
        ("400", Retry::Pointless),
        ("404", Retry::Pointless),
        ("408", Retry::MayHelp),
        ("429", Retry::MayHelp),
        ("500", Retry::MayHelp),
        ("503", Retry::MayHelp),
    ] {
        let rejected = http.rejected(get(code)).await;
        assert_eq!(rejected.says, format!("received status code {code}"));
        assert_eq!(rejected.retry, retry, "{code}");
        let reply = rejected.reply.unwrap();
        assert_eq!(reply.metadata.get("statusCode"), Some(code));
        assert_eq!(reply.metadata.get("Retry-After"), Some("7"));
        let body = if code == "304" { "" } else { r#"{"why":"so"}"# };
        assert_eq!(reply.data, body);
    }
}

#[tokio::test]
async fn the_call_decides_over_the_component_whether_a_status_is_an_error() {
    let upstream = Upstream::start(status);
    let lenient = Subject::open(&[("url", &upstream.url()), ("errorIfNot2XX", "no")]).await;
    // Another case is another name, and this one nobody reads.
    let strict = Subject::open(&[("url", &upstream.url()), ("errorifnot2xx", "no")]).await;
    for (http, own, fails) in [
        (&lenient, None, false),
        (&lenient, Some(""), false),
        (&lenient, Some("TRUE"), true),
        (&strict, None, true),
        (&strict, Some(""), true),
        (&strict, Some("false"), false),
        (&strict, Some("anything"), false),
    ] {
        let mut call = get("404");
        call.metadata
            .extend(own.map(|own| ("errorIfNot2XX".into(), own.to_owned())));
        if fails {
            assert!(http.rejected(call).await.reply.is_some());
        } else {
            let reply = http.call(call).await;
            assert_eq!(reply.data, r#"{"why":"so"}"#);
            assert_eq!(reply.metadata.get("status"), Some("404 Not Found"));
        }
    }
}

#[tokio::test]
async fn an_upstream_that_is_away_fails_the_call_and_nothing_else() {
    let mut upstream = Upstream::start(status);
    let url = format!("{}/200", upstream.url());
    let http = Subject::open(&[("url", &format!("{url}?code=hunter2"))]).await;
    http.call(get("")).await;
    upstream.stop();
    let rejected = http.rejected(get("")).await;
    assert_eq!(
        (rejected.retry, rejected.reply.is_none()),
        (Retry::MayHelp, true)
    );
    let says = rejected.says;
    assert!(
        says.starts_with(&format!("GET {url}:")) && says.contains("refused"),
        "{says}"
    );
    assert!(!says.contains("hunter2"), "{says}");
    upstream.start();
    http.call(get("")).await;
}

#[tokio::test]
async fn a_name_that_nobody_has_may_be_there_another_time() {
    let http = Subject::open(&[("url", "http://no-such-host.invalid")]).await;
    let rejected = http.rejected(get("")).await;
    assert_eq!(rejected.retry, Retry::MayHelp, "{}", rejected.says);
}

/// Answers when the test is over.
async fn never(_: Received) -> Answer {
    std::future::pending().await
}

#[tokio::test]
async fn a_reply_that_does_not_come_in_time_fails_the_call() {
    let upstream = Upstream::start(never);
    let clock = Clock::system();
    let limited = [("url", &*upstream.url()), ("responseTimeout", "200ms")];
    let http = Subject::open(&limited).await;
    let rejected = http.rejected(get("")).await;
    assert_eq!(rejected.retry, Retry::MayHelp);
    assert!(rejected.says.contains("timed out"), "{}", rejected.says);

    let http = Subject::open(&[("url", &upstream.url()), ("responseTimeout", "1h")]).await;
    let mut call = get("");
    call.deadline = Some(clock.now() + Duration::from_millis(200));
    let rejected = http.rejected(call).await;
    assert!(rejected.says.contains("timed out"), "{}", rejected.says);

    let http = Subject::open(&[("url", &upstream.url()), ("responseTimeout", "0")]).await;
    let waits = http.reply(get(""));
    assert!(
        clock
            .timeout(Duration::from_millis(300), waits)
            .await
            .is_none(),
        "no limit"
    );
}
