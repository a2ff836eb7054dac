//! `bindings.http` under the conformance suite.

#[allow(dead_code, reason = "the other tests use all of it")]
#[path = "behaviour/upstream.rs"]
mod upstream;

use bindery_contract::{InvokeError, Registration, Role};
use bindery_http::Http;
use bindery_testkit::certs::Authority;
use bindery_testkit::conformance::{NAME, Suite};
use bindery_testkit::servers::Outage;
use bindery_testkit::stand::{Stand, on_a_stand};
use bindery_testkit::{CallError, FailureClass, Limits};

use self::upstream::{Answer, Received, Upstream, answer, echo};

/// Echoes at `/call`, and knows nothing else.
async fn only_call(received: Received) -> Answer {
    match received.uri.path() {
        "/call" => echo(received).await,
        _ => answer(404, &[], "no such place"),
    }
}

#[test]
fn conformance() {
    let upstream = Upstream::start(only_call);
    let url = upstream.url();
    let suite = Suite::of::<Http>(&[("url", &url)])
        .output(|stand| Box::pin(exercise(stand)))
        .outage(upstream);
    without_a_chance(suite, ("url", &url)).run();
}

/// Adds settings that can never work.
fn without_a_chance(mut suite: Suite, url: (&str, &str)) -> Suite {
    let client = Authority::new().sign("client");
    let damaged = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    let certificate = ("MTLSClientCert", &*client.certificate);
    let header = ("securityTokenHeader", "X-Token");
    for (settings, says) in [
        (&[("url", "api.example.com")][..], "setting \"url\""),
        (&[("url", "ftp://example.com")], "neither http nor https"),
        (
            &[url, ("MTLSRenegotiation", "Sometimes")],
            "RenegotiateNever",
        ),
        (
            &[url, ("MTLSRootCA", "/no/such/file")],
            "neither a valid file path nor a valid pem",
        ),
        (
            &[url, ("MTLSRootCA", damaged)],
            "root certificate cannot be used",
        ),
        (
            &[
                url,
                ("MTLSClientCert", "rubbish"),
                ("MTLSClientKey", damaged),
            ],
            "setting \"MTLSClientCert\"",
        ),
        (
            &[url, certificate, ("MTLSClientKey", "-----BEGIN")],
            "setting \"MTLSClientKey\"",
        ),
        (
            &[url, certificate, ("MTLSClientKey", damaged)],
            "client key cannot be used",
        ),
        (&[url, ("responseTimeout", "PT5S")], "is not a duration"),
        (&[url, ("maxResponseBodySize", "1.5")], "is not a size"),
        (
            &[url, header, ("securityToken", "a\nb")],
            "setting \"securityToken\"",
        ),
        (
            &[
                url,
                ("securityToken", "x"),
                ("securityTokenHeader", "X Token"),
            ],
            "is no header's name",
        ),
    ] {
        suite = suite.fails(says, Role::Output, settings, FailureClass::Invalid, says);
    }
    suite
}

async fn exercise(stand: &Stand) {
    let call = async |operation: &str, metadata: &[(&str, &str)]| {
        let data = r#"{"n":9007199254740993}"#;
        stand.invoke(NAME, operation, data, metadata).await
    };
    for (operation, method) in [("create", "POST"), ("put", "PUT"), ("get", "GET")] {
        let metadata = [("path", "call?a=b"), ("X-Asked-By", "conformance")];
        let reply = call(operation, &metadata).await.unwrap().unwrap();
        assert_eq!(reply.get("statusCode"), Some("200"));
        let seen: serde_json::Value = serde_json::from_slice(&reply.data).unwrap();
        assert_eq!(
            (&seen["method"], &seen["path"]),
            (&method.into(), &"/call?a=b".into())
        );
        assert_eq!(seen["headers"]["x-asked-by"], "conformance");
        let body = if method == "GET" {
            ""
        } else {
            r#"{"n":9007199254740993}"#
        };
        assert_eq!(seen["body"], body);
    }
    let error = call("post", &[("path", "elsewhere")]).await.unwrap_err();
    assert_eq!(error.to_string(), "received status code 404");
    let CallError::Failed(InvokeError::Rejected {
        reply: Some(reply), ..
    }) = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(reply.metadata.get("status"), Some("404 Not Found"));
    let lenient = [("path", "elsewhere"), ("errorIfNot2XX", "false")];
    let reply = call("delete", &lenient).await.unwrap().unwrap();
    assert_eq!(
        (reply.text(), reply.get("statusCode")),
        ("no such place".into(), Some("404"))
    );
}

/// An upstream that is away is no reason to open the binding anew: there is nothing to reopen.
#[test]
fn an_outage_fails_calls_and_leaves_the_binding_alone() {
    let mut upstream = Upstream::start(echo);
    let properties = [("url", upstream.url())].into_iter().collect();
    on_a_stand(Limits::default(), async move |stand| {
        stand.load(NAME, &Registration::of::<Http>(), &properties);
        let running = stand.until_state(NAME, Role::Output, "Running").await;
        stand.invoke(NAME, "get", "", &[]).await.unwrap();
        upstream.stop();
        for operation in ["get", "post"] {
            let error = stand
                .invoke(NAME, operation, "", &[])
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains("refused"), "{error}");
        }
        upstream.start();
        stand.invoke(NAME, "post", "", &[]).await.unwrap();
        let side = stand.side(NAME, Role::Output).unwrap();
        assert_eq!((side.state, side.since), (running.state, running.since));
    });
}
