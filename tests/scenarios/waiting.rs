//! A server that is not there yet is waited for, and nobody has to touch anything.

use std::time::Duration;

use bindery_testkit::servers::{Outage, Redis};

use crate::support::{Running, resources};

#[test]
fn redis_comes_late_and_the_call_that_waits_for_it_succeeds() {
    let mut redis = Redis::start();
    redis.stop();
    let folder = tempfile::tempdir().unwrap();
    let address = redis.address();
    let settings = [("redisHost", address.as_str())];
    let component = ("redis", "bindings.redis", &settings[..]);
    let bindery = Running::sidecar(&resources(folder.path(), &[component]), &[]);
    // Healthy all the same: one binding's trouble is not the sidecar's.
    bindery.wait_until_ready();
    assert_eq!(bindery.get("/v1.0/healthz/outbound").status, 204);
    assert!(
        bindery
            .get("/v1.0/metadata")
            .text()
            .contains("\"state\":\"Degraded\"")
    );

    let create = r#"{"operation":"create","data":"late","metadata":{"key":"k"}}"#;
    let in_vain = bindery.invoke("redis", create);
    assert_eq!(in_vain.status, 500);
    assert!(
        in_vain
            .text()
            .contains("binding redis is not connected (attempt "),
        "{}",
        in_vain.text()
    );

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bindery.invoke("redis", create));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        redis.start();
        let answer = waiting.join().unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
    });
    let get = r#"{"operation":"get","metadata":{"key":"k"}}"#;
    assert_eq!(bindery.invoke("redis", get).text(), "\"late\"");
}
