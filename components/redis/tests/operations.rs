//! Every operation, seen by a second client.

mod common;

use std::time::Duration;

use bindery_testkit::servers::{Redis, RedisOptions};
use redis::AsyncCommands;

use self::common::{call, client, restarts, with_binding};

#[test]
fn data_is_stored_as_it_came() {
    let server = Redis::start();
    let host = server.address();
    with_binding(&[("redisHost", &host.clone())], async move |stand| {
        let mut other = client(&host).await;
        for data in [
            "\"quoted\"",
            "{\"a\":[1.10,9007199254740993]}",
            "null",
            "",
            "\u{0}\r\n$5\u{7f}",
        ] {
            assert_eq!(call(stand, "create", data, &[("key", "k")]).await, Ok(None));
            assert_eq!(other.get::<_, Vec<u8>>("k").await.unwrap(), data.as_bytes());
            assert_eq!(
                call(stand, "get", "", &[("key", "k")]).await,
                Ok(Some(data.to_owned()))
            );
        }
        let bytes: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
        let _: () = other.set("k", &bytes).await.unwrap();
        let read = stand
            .invoke(common::NAME, "get", "", &[("key", "k")])
            .await
            .unwrap()
            .unwrap();
        assert_eq!(read.data, bytes);
    });
    drop(server);
}

#[test]
fn a_value_lives_for_its_whole_seconds() {
    let server = Redis::start();
    let host = server.address();
    with_binding(&[("redisHost", &host.clone())], async move |stand| {
        let mut other = client(&host).await;
        for (key, value, seconds) in [
            ("ttlInSeconds", "100", 100),
            ("ttl", "100", 100),
            ("TTL", "1m40s900ms", 100),
            ("ttl", "99999999999999999999", 9_223_372_036),
        ] {
            for operation in ["create", "increment"] {
                let _: () = other.del("k").await.unwrap();
                let metadata = [("key", "k"), (key, value)];
                assert_eq!(call(stand, operation, "1", &metadata).await, Ok(None));
                let left: i64 = other.ttl("k").await.unwrap();
                assert!(
                    (seconds - 2..=seconds).contains(&left),
                    "{operation} {value}: {left}"
                );
            }
        }
        assert_eq!(call(stand, "create", "x", &[("key", "k")]).await, Ok(None));
        assert_eq!(
            other.ttl::<_, i64>("k").await.unwrap(),
            -1,
            "a plain create clears it"
        );
    });
    drop(server);
}

#[test]
fn what_lives_for_less_than_a_second_is_gone_at_once() {
    let server = Redis::start();
    let host = server.address();
    with_binding(&[("redisHost", &host.clone())], async move |stand| {
        let mut other = client(&host).await;
        for ttl in ["999ms", "-5s"] {
            for operation in ["create", "increment"] {
                let _: () = other.set("k", "1").await.unwrap();
                let metadata = [("key", "k"), ("ttl", ttl)];
                assert_eq!(call(stand, operation, "2", &metadata).await, Ok(None));
                assert!(
                    !other.exists::<_, bool>("k").await.unwrap(),
                    "{operation} {ttl}"
                );
            }
        }
    });
    drop(server);
}

#[test]
fn a_value_is_gone_after_its_time() {
    let server = Redis::start();
    let host = server.address();
    with_binding(&[("redisHost", &host)], async move |stand| {
        let value = async |key| {
            call(stand, "get", "", &[("key", key)])
                .await
                .unwrap()
                .unwrap()
        };
        call(stand, "create", "x", &[("key", "c"), ("ttl", "1s")])
            .await
            .unwrap();
        call(stand, "increment", "", &[("key", "i"), ("ttl", "1s")])
            .await
            .unwrap();
        assert_eq!(
            (value("c").await, value("i").await),
            ("x".into(), "1".into())
        );
        stand.clock().sleep(Duration::from_millis(1100)).await;
        assert_eq!(
            (value("c").await, value("i").await),
            (String::new(), String::new())
        );
    });
    drop(server);
}

#[test]
fn a_wrong_request_says_why_and_changes_nothing() {
    let server = Redis::start();
    let host = server.address();
    with_binding(&[("redisHost", &host.clone())], async move |stand| {
        let mut other = client(&host).await;
        let _: () = other.set("text", "abc").await.unwrap();
        let _: () = other.rpush("list", "x").await.unwrap();
        let missing = "redis binding: missing key in request metadata";
        let wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value";
        let not_a_number = "ERR value is not an integer or out of range";
        for (operation, metadata, says) in [
            ("create", &[][..], missing),
            ("get", &[("key", "")], missing),
            ("delete", &[("Key", "k")], missing),
            ("increment", &[], missing),
            ("get", &[("key", "list")], wrong_type),
            ("get", &[("key", "list"), ("delete", "true")], wrong_type),
            ("increment", &[("key", "list")], wrong_type),
            ("increment", &[("key", "text")], not_a_number),
            ("increment", &[("key", "text"), ("ttl", "1m")], not_a_number),
            (
                "create",
                &[("key", "text"), ("ttl", "soon")],
                "ttl value must be a valid integer: actual is 'soon'",
            ),
            (
                "increment",
                &[("key", "new"), ("ttlInSeconds", "-3")],
                "ttl value must be higher than zero: actual is '-3'",
            ),
        ] {
            assert_eq!(
                call(stand, operation, "x", metadata).await,
                Err(says.into()),
                "{operation}"
            );
        }
        assert_eq!(other.get::<_, String>("text").await.unwrap(), "abc");
        assert_eq!(
            other.ttl::<_, i64>("text").await.unwrap(),
            -1,
            "INCR failed, so no EXPIRE"
        );
        assert!(!other.exists::<_, bool>("new").await.unwrap());
        assert_eq!(restarts(stand), 0, "no request makes it connect anew");
    });
    drop(server);
}

#[test]
fn only_true_deletes_what_is_read() {
    let server = Redis::start();
    let host = server.address();
    with_binding(&[("redisHost", &host.clone())], async move |stand| {
        let mut other = client(&host).await;
        let _: () = other.set("k", "v").await.unwrap();
        for word in ["false", "True", "1", "", "true"] {
            let metadata = [("key", "k"), ("delete", word)];
            assert_eq!(
                call(stand, "get", "", &metadata).await,
                Ok(Some("v".into())),
                "{word}"
            );
        }
        assert!(!other.exists::<_, bool>("k").await.unwrap());
    });
    drop(server);
}

#[test]
fn a_user_may_do_what_the_server_lets_it() {
    let server = Redis::with(RedisOptions {
        password: Some("of-default".into()),
        ..RedisOptions::default()
    });
    // It may neither ask for its role nor read what is not its own.
    server.cli(&[
        "ACL", "SETUSER", "app", "on", ">secret", "~app:*", "+set", "+get", "+ping",
    ]);
    let host = server.address();
    let settings = [
        ("redisHost", host.as_str()),
        ("redisUsername", "app"),
        ("redisPassword", "secret"),
    ];
    with_binding(&settings, async |stand| {
        assert_eq!(
            call(stand, "create", "1", &[("key", "app:1")]).await,
            Ok(None)
        );
        let error = call(stand, "get", "", &[("key", "other")])
            .await
            .unwrap_err();
        assert!(error.starts_with("NOPERM "), "{error}");
        let error = call(stand, "delete", "", &[("key", "app:1")])
            .await
            .unwrap_err();
        assert!(error.starts_with("NOPERM "), "{error}");
        assert_eq!(
            call(stand, "get", "", &[("key", "app:1")]).await,
            Ok(Some("1".into()))
        );
        assert_eq!(restarts(stand), 0);
    });
    drop(server);
}

#[test]
fn the_database_is_the_one_of_the_settings() {
    let server = Redis::start();
    let host = server.address();
    with_binding(
        &[("redisHost", &host), ("redisDB", "2")],
        async move |stand| {
            call(stand, "create", "x", &[("key", "k")]).await.unwrap();
            assert_eq!(server.cli(&["-n", "2", "GET", "k"]).trim(), "x");
            assert_eq!(server.cli(&["GET", "k"]).trim(), "");
        },
    );
}
