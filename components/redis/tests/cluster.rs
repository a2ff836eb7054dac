//! A cluster of three masters.

mod common;

use bindery_contract::Role;
use bindery_testkit::FailureClass;
use bindery_testkit::servers::{Outage, RedisCluster, RedisOptions};
use bindery_testkit::stand::Stand;

use self::common::{NAME, call, call_until_done, must_fail, on_stand, open, restarts};

/// Keys whose slots are on the first, the second and the third node.
const FIRST: &str = "b";
const SECOND: &str = "c";
const THIRD: &str = "a";

fn cluster() -> RedisCluster {
    RedisCluster::with(&RedisOptions {
        password: Some("secret".into()),
        ..RedisOptions::default()
    })
}

async fn open_cluster(stand: &Stand, cluster: &RedisCluster) {
    let settings = [
        ("redisHost", &*cluster.addresses()),
        ("redisType", "cluster"),
        ("redisPassword", "secret"),
        ("redisDB", "5"),
        ("dialTimeout", "-1"),
        ("readTimeout", "1s"),
    ];
    open(stand, &settings).await;
}

#[test]
fn every_operation_finds_its_node() {
    on_stand(async |stand| {
        let cluster = cluster();
        open_cluster(stand, &cluster).await;
        for (key, node) in [FIRST, SECOND, THIRD].into_iter().zip(&cluster.nodes) {
            let metadata = [("key", key), ("ttl", "100s")];
            assert_eq!(call(stand, "create", "1", &metadata).await, Ok(None));
            assert_eq!(call(stand, "increment", "", &metadata).await, Ok(None));
            assert_eq!(node.cli(&["GET", key]).trim(), "2", "{key} is on its node");
            assert!(node.cli(&["TTL", key]).trim().parse::<u32>().unwrap() > 90);
            assert_eq!(
                call(stand, "get", "", &[("key", key)]).await,
                Ok(Some("2".into()))
            );
            let taken = call(stand, "get", "", &[("key", key), ("delete", "true")]).await;
            assert_eq!(taken, Ok(Some("2".into())));
            assert_eq!(call(stand, "delete", "", &[("key", key)]).await, Ok(None));
            assert_eq!(
                call(stand, "get", "", &[("key", key)]).await,
                Ok(Some(String::new()))
            );
        }
        let _ = cluster.nodes[0].cli(&["RPUSH", FIRST, "x"]);
        let error = call(stand, "increment", "", &[("key", FIRST)])
            .await
            .unwrap_err();
        assert!(error.starts_with("WRONGTYPE Operation against"), "{error}");
    });
}

#[test]
fn a_slot_that_moves_is_followed_and_nothing_is_counted_twice() {
    on_stand(async |stand| {
        let cluster = cluster();
        open_cluster(stand, &cluster).await;
        let key = [("key", FIRST)];
        call(stand, "increment", "", &key).await.unwrap();
        let [from, to, other] = &cluster.nodes[..] else {
            panic!("three nodes")
        };
        let id = |node: &bindery_testkit::servers::Redis| {
            node.cli(&["CLUSTER", "MYID"]).trim().to_owned()
        };
        let slot = from.cli(&["CLUSTER", "KEYSLOT", FIRST]).trim().to_owned();
        let set = |node: &bindery_testkit::servers::Redis, what: &str, id: &str| {
            assert_eq!(
                node.cli(&["CLUSTER", "SETSLOT", &slot, what, id]).trim(),
                "OK"
            );
        };

        // On its way: whoever asks the old node is sent to the new one, for this once.
        set(to, "IMPORTING", &id(from));
        set(from, "MIGRATING", &id(to));
        let port = to.port().to_string();
        let moved = from.cli(&[
            "MIGRATE",
            "127.0.0.1",
            &port,
            FIRST,
            "0",
            "5000",
            "AUTH",
            "secret",
        ]);
        assert_eq!(moved.trim(), "OK");
        call(stand, "increment", "", &key).await.unwrap();
        assert_eq!(call(stand, "get", "", &key).await, Ok(Some("2".into())));

        // Arrived.
        for node in [to, from, other] {
            set(node, "NODE", &id(to));
        }
        call(stand, "increment", "", &key).await.unwrap();
        assert_eq!(call(stand, "get", "", &key).await, Ok(Some("3".into())));
        assert_eq!(restarts(stand), 0);
    });
}

#[test]
fn a_node_that_is_away_takes_only_its_own_keys_with_it() {
    on_stand(async |stand| {
        let mut cluster = cluster();
        open_cluster(stand, &cluster).await;
        for key in [FIRST, SECOND, THIRD] {
            call(stand, "create", "1", &[("key", key)]).await.unwrap();
        }
        cluster.nodes[2].stop();
        for _ in 0..3 {
            assert!(
                call(stand, "increment", "", &[("key", THIRD)])
                    .await
                    .is_err()
            );
            assert_eq!(
                call(stand, "create", "2", &[("key", FIRST)]).await,
                Ok(None)
            );
            assert_eq!(
                call(stand, "create", "2", &[("key", SECOND)]).await,
                Ok(None)
            );
        }
        assert_eq!(restarts(stand), 0, "the cluster is mostly well");
        assert_eq!(stand.side(NAME, Role::Output).unwrap().state, "Running");
        cluster.nodes[2].start();
        call_until_done(stand, "increment", "", &[("key", THIRD)]).await;
        assert_eq!(
            call(stand, "get", "", &[("key", THIRD)]).await,
            Ok(Some("2".into()))
        );
    });
}

#[test]
fn a_cluster_that_is_away_comes_back() {
    on_stand(async |stand| {
        let mut cluster = cluster();
        open_cluster(stand, &cluster).await;
        call(stand, "create", "1", &[("key", FIRST)]).await.unwrap();
        for node in &mut cluster.nodes {
            node.stop();
        }
        assert!(
            call(stand, "increment", "", &[("key", FIRST)])
                .await
                .is_err()
        );
        let side = common::until_failed(stand).await;
        assert_eq!(side.failure, Some(FailureClass::Disconnected));
        for node in &mut cluster.nodes {
            node.start();
        }
        call_until_done(stand, "increment", "", &[("key", FIRST)]).await;
        assert_eq!(
            call(stand, "get", "", &[("key", FIRST)]).await,
            Ok(Some("2".into()))
        );
    });
}

#[test]
fn a_wrong_password_is_a_refusal() {
    on_stand(async |stand| {
        let cluster = cluster();
        let hosts = cluster.addresses();
        let settings = [
            ("redisHost", hosts.as_str()),
            ("redisType", "cluster"),
            ("redisPassword", "wrong"),
        ];
        must_fail(stand, &settings, FailureClass::Refused, "WRONGPASS").await;
    });
}
