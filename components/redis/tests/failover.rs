//! A master, a replica and a sentinel.

mod common;

use bindery_contract::Role;
use bindery_testkit::FailureClass;
use bindery_testkit::servers::{Outage, RedisFailover};

use self::common::fake::Fake;
use self::common::{NAME, call, call_until_done, must_fail, on_stand, open};

const K: [(&str, &str); 1] = [("key", "k")];

fn settings(sentinels: &str) -> [(&'static str, &str); 5] {
    [
        ("redisHost", sentinels),
        ("failover", "true"),
        ("sentinelMasterName", "main"),
        ("sentinelPassword", "of-sentinels"),
        ("redisPassword", "of-servers"),
    ]
}

#[test]
fn a_replica_that_is_promoted_is_found_without_anybody_touching_anything() {
    on_stand(async |stand| {
        let mut servers = RedisFailover::start();
        // One sentinel of the list is away, which must not matter.
        let sentinels = format!("127.0.0.1:1,{}", servers.sentinel());
        open(stand, &settings(&sentinels)).await;
        call(stand, "create", "1", &K).await.unwrap();
        stand
            .until("the replica to have it", || {
                (servers.replica.cli(&["GET", "k"]).trim() == "1").then_some(())
            })
            .await;

        servers.master.stop();
        call_until_done(stand, "increment", "", &K).await;
        assert_eq!(call(stand, "get", "", &K).await, Ok(Some("2".into())));
        assert_eq!(servers.master_port(), servers.replica.port());
        assert_eq!(servers.replica.cli(&["GET", "k"]).trim(), "2");
    });
}

#[test]
fn a_planned_change_of_masters_is_followed() {
    on_stand(async |stand| {
        let servers = RedisFailover::start();
        open(stand, &settings(&servers.sentinel())).await;
        call(stand, "create", "1", &K).await.unwrap();
        assert_eq!(servers.ask(&["SENTINEL", "failover", "main"]).trim(), "OK");
        stand
            .until("the two to have changed places", || {
                let changed = servers.master_port() == servers.replica.port();
                (changed && servers.master.cli(&["ROLE"]).starts_with("slave")).then_some(())
            })
            .await;
        call_until_done(stand, "create", "2", &K).await;
        assert_eq!(servers.replica.cli(&["GET", "k"]).trim(), "2");
    });
}

#[test]
fn a_sentinel_that_says_no_is_a_refusal() {
    let servers = RedisFailover::start();
    let sentinel = servers.sentinel();
    for (key, value, says) in [
        (
            "sentinelMasterName",
            "other",
            "there is no master named \"other\"",
        ),
        ("sentinelPassword", "wrong", "WRONGPASS"),
        ("sentinelPassword", "", "NOAUTH"),
        ("redisPassword", "wrong", "WRONGPASS"),
    ] {
        let sentinel = sentinel.clone();
        on_stand(async move |stand| {
            let changed =
                settings(&sentinel).map(|entry| if entry.0 == key { (key, value) } else { entry });
            must_fail(stand, &changed, FailureClass::Refused, says).await;
        });
    }
    drop(servers);
}

#[test]
fn a_sentinel_that_still_names_a_demoted_master_is_asked_again() {
    on_stand(async |stand| {
        let replica = Fake::with_role("slave", []).await;
        let says = "is no longer the master";
        let sentinel = replica.address();
        must_fail(
            stand,
            &settings(&sentinel),
            FailureClass::Disconnected,
            says,
        )
        .await;
        let asked = || (replica.count("SENTINEL") > 1).then_some(());
        stand.until("the sentinel to be asked again", asked).await;
    });
}

#[test]
fn sentinels_that_are_away_are_waited_for() {
    on_stand(async |stand| {
        let nobody = format!("127.0.0.1:{}", bindery_testkit::ports::free());
        let sentinels = settings(&nobody);
        must_fail(
            stand,
            &sentinels,
            FailureClass::Disconnected,
            "error connecting to redis",
        )
        .await;
        assert_eq!(stand.side(NAME, Role::Output).unwrap().state, "Degraded");
    });
}

#[test]
fn sentinels_need_to_be_told_a_name() {
    on_stand(async |stand| {
        let settings = [("redisHost", "s"), ("failover", "true")];
        must_fail(
            stand,
            &settings,
            FailureClass::Invalid,
            "sentinelMasterName",
        )
        .await;
    });
}
