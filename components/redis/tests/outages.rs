//! What happens when the server, or the way to it, fails.

mod common;

use bindery_contract::Role;
use bindery_testkit::FailureClass;
use bindery_testkit::proxy::{Fault, Proxy};
use bindery_testkit::servers::{Redis, RedisOptions};
use bindery_testkit::stand::Stand;

use self::common::fake::{Fake, HANG_UP};
use self::common::{
    NAME, call, call_until_done, client, on_stand, open, restarts, until_failed, with_binding,
};

const K: [(&str, &str); 1] = [("key", "k")];

async fn proxy(stand: &Stand, server: &Redis) -> Proxy {
    let target = server.address().parse().unwrap();
    Proxy::to(target, stand.clock()).await.unwrap()
}

#[test]
fn an_answer_that_does_not_come_ends_the_call_and_the_binding_comes_back() {
    on_stand(async |stand| {
        let server = Redis::start();
        let proxy = proxy(stand, &server).await;
        let host = proxy.address().to_string();
        open(stand, &[("redisHost", &host), ("readTimeout", "300")]).await;
        call(stand, "create", "1", &K).await.unwrap();

        proxy.set(Fault::Stall);
        let start = stand.clock().now();
        let error = call(stand, "increment", "", &K).await.unwrap_err();
        let took = (stand.clock().now() - start).as_millis();
        assert!(error.contains("no answer within 300ms"), "{error}");
        assert!((300..1500).contains(&took), "{took} ms");
        assert_eq!(
            until_failed(stand).await.failure,
            Some(FailureClass::Disconnected)
        );

        proxy.set(Fault::None);
        stand.until_state(NAME, Role::Output, "Running").await;
        assert!(call(stand, "get", "", &K).await.is_ok());
    });
}

#[test]
fn what_writes_has_a_limit_of_its_own_as_a_whole() {
    on_stand(async |stand| {
        let server = Redis::start();
        let proxy = proxy(stand, &server).await;
        let host = proxy.address().to_string();
        let settings = [
            ("redisHost", host.as_str()),
            ("readTimeout", "-1"),
            ("writeTimeout", "200ms"),
        ];
        open(stand, &settings).await;
        call(stand, "create", "1", &K).await.unwrap();
        proxy.set(Fault::Stall);
        let error = call(stand, "create", "2", &K).await.unwrap_err();
        assert!(error.contains("no answer within"), "{error}");
    });
}

#[test]
fn a_server_that_cannot_be_reached_in_time_is_away() {
    on_stand(async |stand| {
        let server = Redis::start();
        let proxy = proxy(stand, &server).await;
        proxy.set(Fault::Stall);
        let host = proxy.address().to_string();
        let settings = [("redisHost", host.as_str()), ("readTimeout", "100ms")];
        common::must_fail(
            stand,
            &settings,
            FailureClass::Disconnected,
            "no answer within 100ms",
        )
        .await;
        proxy.set(Fault::None);
        stand.until_state(NAME, Role::Output, "Running").await;
    });
}

#[test]
fn a_connection_that_breaks_between_calls_is_noticed_and_no_call_fails() {
    let server = Redis::start();
    let host = server.address();
    with_binding(&[("redisHost", &host.clone())], async move |stand| {
        call(stand, "create", "1", &K).await.unwrap();
        let mut other = client(&host).await;
        let kill = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal"])
            .clone();
        let killed: u32 = kill.query_async(&mut other).await.unwrap();
        assert_eq!(
            killed, 1,
            "one connection for the thread, and none left over from opening"
        );
        stand
            .until("it to connect anew", || {
                (restarts(stand) == 1).then_some(())
            })
            .await;
        assert_eq!(call(stand, "increment", "", &K).await, Ok(None));
        assert_eq!(call(stand, "get", "", &K).await, Ok(Some("2".into())));
    });
    drop(server);
}

#[test]
fn a_reset_connection_comes_back() {
    on_stand(async |stand| {
        let server = Redis::start();
        let proxy = proxy(stand, &server).await;
        let host = proxy.address().to_string();
        open(stand, &[("redisHost", &host)]).await;
        call(stand, "create", "1", &K).await.unwrap();
        proxy.set(Fault::Reset);
        until_failed(stand).await;
        proxy.set(Fault::None);
        call_until_done(stand, "increment", "", &K).await;
        assert_eq!(call(stand, "get", "", &K).await, Ok(Some("2".into())));
    });
}

#[test]
fn a_master_that_became_a_replica_is_looked_for_anew_once() {
    let server = Redis::start();
    let host = server.address();
    with_binding(&[("redisHost", &host)], async move |stand| {
        call(stand, "create", "1", &K).await.unwrap();
        server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
        for _ in 0..3 {
            let error = call(stand, "create", "2", &K).await.unwrap_err();
            assert!(error.starts_with("READONLY "), "{error}");
        }
        assert_eq!(
            restarts(stand),
            1,
            "it may have moved; once is enough to know that it has not"
        );
        assert_eq!(call(stand, "get", "", &K).await, Ok(Some("1".into())));
        server.cli(&["REPLICAOF", "NO", "ONE"]);
        assert_eq!(call(stand, "create", "3", &K).await, Ok(None));
    });
}

#[test]
fn a_lost_login_is_a_refusal_that_says_so() {
    let server = Redis::with(RedisOptions {
        password: Some("of-default".into()),
        ..RedisOptions::default()
    });
    server.cli(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all"]);
    let host = server.address();
    let settings = [
        ("redisHost", host.as_str()),
        ("redisUsername", "app"),
        ("redisPassword", "secret"),
    ];
    with_binding(&settings, async move |stand| {
        call(stand, "create", "1", &K).await.unwrap();
        server.cli(&["ACL", "DELUSER", "app"]);
        let refused = || {
            let side = stand.side(NAME, Role::Output)?;
            (side.failure == Some(FailureClass::Refused)).then_some(side)
        };
        let side = stand.until("it to be refused", refused).await;
        assert!(side.last_error.unwrap().contains("WRONGPASS"));
    });
}

#[test]
fn a_command_that_was_turned_away_is_sent_again() {
    on_stand(async |stand| {
        let fake = Fake::start(["LOADING wait", "TRYAGAIN wait", "CLUSTERDOWN wait"]).await;
        open(stand, &[("redisHost", &fake.address())]).await;
        assert_eq!(call(stand, "increment", "", &K).await, Ok(None));
        assert_eq!(fake.count("INCR"), 4);
        assert_eq!(restarts(stand), 0);
    });
}

#[test]
fn a_command_is_sent_again_as_often_as_the_settings_say() {
    for (retries, sent) in [("-1", 1), ("0", 4), ("5", 6)] {
        on_stand(async move |stand| {
            let fake = Fake::start(["LOADING Redis is loading"; 9]).await;
            let host = fake.address();
            let settings = [
                ("redisHost", host.as_str()),
                ("redisMaxRetries", retries),
                ("redisMinRetryInterval", "1"),
            ];
            open(stand, &settings).await;
            let error = call(stand, "get", "", &K).await.unwrap_err();
            assert_eq!(error, "LOADING Redis is loading");
            assert_eq!(fake.count("GET"), sent, "redisMaxRetries {retries}");
            assert_eq!(restarts(stand), 0);
        });
    }
}

#[test]
fn the_waits_between_are_those_of_the_settings() {
    on_stand(async |stand| {
        let fake = Fake::start(["LOADING wait"; 3]).await;
        let host = fake.address();
        let settings = [
            ("redisHost", host.as_str()),
            ("redisMinRetryInterval", "100"),
            ("redisMaxRetryInterval", "100ms"),
        ];
        open(stand, &settings).await;
        let start = stand.clock().now();
        call(stand, "increment", "", &K).await.unwrap();
        assert!((stand.clock().now() - start).as_millis() >= 300);
    });
}

#[test]
fn a_write_that_is_turned_away_gives_up_in_time_with_the_servers_words() {
    on_stand(async |stand| {
        let fake = Fake::start(["LOADING Redis is loading"; 99]).await;
        let host = fake.address();
        let settings = [
            ("redisHost", host.as_str()),
            ("redisMaxRetries", "90"),
            ("writeTimeout", "300"),
        ];
        open(stand, &settings).await;
        let start = stand.clock().now();
        let error = call(stand, "create", "x", &K).await.unwrap_err();
        assert_eq!(error, "LOADING Redis is loading");
        assert!((stand.clock().now() - start).as_millis() < 1500);
        assert!(fake.count("SET") > 1);
    });
}

#[test]
fn what_was_counted_is_not_counted_again_when_its_time_to_live_cannot_be_set() {
    for answer in [
        "NOAUTH Authentication required.",
        "READONLY no",
        "LOADING no",
    ] {
        on_stand(async move |stand| {
            let fake = Fake::start(["", answer, answer]).await;
            let host = fake.address();
            let settings = [("redisHost", host.as_str()), ("redisMaxRetries", "-1")];
            open(stand, &settings).await;
            let metadata = [("key", "k"), ("ttl", "5s")];
            let error = call(stand, "increment", "", &metadata).await.unwrap_err();
            assert!(error.contains(answer), "{error}");
            assert_eq!(
                (fake.count("INCR"), fake.count("EXPIRE")),
                (1, 1),
                "{answer}"
            );
        });
    }
}

#[test]
fn what_may_have_been_done_is_not_sent_again() {
    for kind in ["node", "cluster"] {
        on_stand(async move |stand| {
            let fake = Fake::start([HANG_UP]).await;
            open(
                stand,
                &[("redisHost", &fake.address()), ("redisType", kind)],
            )
            .await;
            let error = call(stand, "increment", "", &K).await.unwrap_err();
            assert!(error.contains("is lost"), "{error}");
            assert_eq!(fake.count("INCR"), 1, "{kind}");
            call_until_done(stand, "increment", "", &K).await;
        });
    }
}
