//! Redis under the conformance suite.

use bindery_contract::Role;
use bindery_redis::Redis as Binding;
use bindery_testkit::FailureClass;
use bindery_testkit::conformance::{NAME, Suite};
use bindery_testkit::servers::{Redis, RedisOptions};
use bindery_testkit::stand::Stand;

#[test]
fn conformance() {
    let server = Redis::with(RedisOptions {
        password: Some("hunter2".into()),
        ..RedisOptions::default()
    });
    let host = server.address();
    let with = |key, value| {
        [
            ("redisHost", host.as_str()),
            ("redisPassword", "hunter2"),
            (key, value),
        ]
    };
    let nobody = format!("127.0.0.1:{}", bindery_testkit::ports::free());
    Suite::of::<Binding>(&with("redisDB", "3"))
        .output(|stand| Box::pin(exercise(stand)))
        .fails(
            "a port where nobody listens",
            Role::Output,
            &[("redisHost", &nobody)],
            FailureClass::Disconnected,
            "error connecting to redis at 127.0.0.1:",
        )
        .fails(
            "a host that does not exist",
            Role::Output,
            &[("redisHost", "no-such-host.invalid")],
            FailureClass::Disconnected,
            "error connecting to redis at no-such-host.invalid:6379: ",
        )
        .fails(
            "no password",
            Role::Output,
            &[("redisHost", &host)],
            FailureClass::Refused,
            "NOAUTH Authentication required",
        )
        .fails(
            "a wrong password",
            Role::Output,
            &[("redisHost", &host), ("redisPassword", "wrong")],
            FailureClass::Refused,
            "WRONGPASS",
        )
        .fails(
            "an unknown user",
            Role::Output,
            &with("redisUsername", "nobody"),
            FailureClass::Refused,
            "WRONGPASS",
        )
        .fails(
            "a database that the server does not have",
            Role::Output,
            &with("redisDB", "99"),
            FailureClass::Refused,
            "ERR DB index is out of range",
        )
        .fails(
            "a server without a cluster",
            Role::Output,
            &with("redisType", "cluster"),
            FailureClass::Refused,
            "cluster support disabled",
        )
        .fails(
            "two ports",
            Role::Output,
            &[("redisHost", &host), ("redisPort", "1")],
            FailureClass::Invalid,
            "redisPort is 1",
        )
        .fails(
            "a boolean in a word that is none",
            Role::Output,
            &with("enableTLS", "yes"),
            FailureClass::Invalid,
            "\"yes\" is not a boolean",
        )
        .outage(server)
        .run();
}

async fn exercise(stand: &Stand) {
    let call = async |operation: &str, data: &str, metadata: &[(&str, &str)]| {
        stand
            .invoke(NAME, operation, data.to_owned(), metadata)
            .await
    };
    let key = [("key", "a key")];
    assert_eq!(call("delete", "", &key).await.unwrap(), None);
    let missing = call("get", "", &key)
        .await
        .unwrap()
        .expect("an empty reply, not none");
    assert_eq!(missing.text(), "");

    assert_eq!(call("create", "\"with quotes\"", &key).await.unwrap(), None);
    let read = call("get", "", &key).await.unwrap().unwrap();
    assert_eq!(
        (read.text().as_str(), read.metadata),
        ("\"with quotes\"", vec![])
    );
    assert_eq!(call("delete", "", &key).await.unwrap(), None);
    assert_eq!(call("get", "", &key).await.unwrap().unwrap().text(), "");

    for number in ["1", "2"] {
        assert_eq!(call("increment", "", &key).await.unwrap(), None);
        assert_eq!(call("get", "", &key).await.unwrap().unwrap().text(), number);
    }
    let taken = call("get", "", &[("key", "a key"), ("delete", "true")]).await;
    assert_eq!(taken.unwrap().unwrap().text(), "2");
    assert_eq!(call("get", "", &key).await.unwrap().unwrap().text(), "");
}
