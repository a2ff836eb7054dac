//! Actors that die by a panic in their own code, with their mailboxes full: nothing is lost that
//! was promised, and what cannot be saved is said.

use std::time::Duration;

use bindery_actors::{Call, CallError, DeliveryOptions, Limits, Victim};
use bindery_contract::{Event, Registration, Role};
use bindery_testkit::app::Verdict;
use bindery_testkit::puppet::{Log, Puppet, Strings};
use bindery_testkit::stand::{Setup, Stand, component};
use futures_util::future::join_all;
use proptest::prelude::*;

fn puppet() -> Registration {
    Puppet::<Log>::registration()
}

fn call(data: &str) -> Call {
    Call {
        binding: "p".into(),
        operation: "create".into(),
        data: data.to_owned().into(),
        ..Call::default()
    }
}

async fn answers(stand: &Stand, binding: &str) {
    let reply = stand.invoke(binding, "create", "hello", &[]).await.unwrap();
    assert_eq!(reply.unwrap().text(), "hello");
}

#[test]
fn a_router_that_dies_with_a_full_mailbox_tells_its_callers_and_is_replaced() {
    let limits = Limits {
        router_mailbox: 8,
        ..Limits::default()
    };
    Setup::new(limits).run(async |stand| {
        let strings = Strings::new();
        stand.load_sides("p", &puppet(), &strings.per_thread(), vec![Role::Output]);
        stand.until_state("p", Role::Output, "Running").await;
        answers(stand, "p").await;
        let before = strings.calls();
        stand.kill(Victim::Router);
        let calls = (0..20).map(|_| stand.core().invoke(call("x")));
        let outcomes = join_all(calls).await;
        let count = |is: fn(&CallError) -> bool| {
            outcomes
                .iter()
                .filter(|outcome| outcome.as_ref().is_err_and(is))
                .count()
        };
        let lost = count(|error| matches!(error, CallError::Lost));
        let overloaded = count(|error| matches!(error, CallError::Overloaded));
        assert!(lost > 0 && overloaded > 0, "{outcomes:?}");
        assert_eq!(lost + overloaded, 20);
        assert_eq!(strings.calls(), before, "a lost call was never made");
        answers(stand, "p").await;
        assert_eq!(strings.opened(), 1, "the binding did not notice");
    });
}

#[test]
fn a_delivery_actor_that_dies_with_a_full_lane_loses_nothing_and_keeps_the_order() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        for number in 0..100 {
            strings.emit_in_order("k", &format!("{number}"));
        }
        stand.app().next([Verdict::Take, Verdict::Hold]);
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Input]);
        stand.app().until(|seen| seen.len() == 2).await;
        stand.kill(Victim::Delivery);
        stand
            .until("all of it", || (strings.committed() == 100).then_some(()))
            .await;
        let taken: Vec<u32> = stand
            .app()
            .taken()
            .iter()
            .map(|body| std::str::from_utf8(body).unwrap().parse().unwrap())
            .collect();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_supervisor_that_dies_is_succeeded_and_everything_comes_back() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        stand.load("p", &puppet(), &strings.shared());
        stand.until_state("p", Role::Output, "Running").await;
        strings.emit(Event::new("before"));
        stand
            .until("the first", || (strings.committed() == 1).then_some(()))
            .await;
        for round in 2..5 {
            stand.kill(Victim::Supervisor);
            answers(stand, "p").await;
            strings.emit(Event::new("after"));
            stand
                .until("the next", || (strings.committed() == round).then_some(()))
                .await;
        }
        assert_eq!(
            stand.app().taken().len(),
            4,
            "nothing twice: nothing was in flight"
        );
    });
}

#[test]
fn a_binding_actor_that_dies_is_started_anew() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        stand.load("p", &puppet(), &strings.shared());
        stand.until_state("p", Role::Output, "Running").await;
        stand.until_state("p", Role::Input, "Running").await;
        for role in [Role::Input, Role::Output] {
            let opened = strings.opened();
            stand.kill(Victim::Binding("p".into(), role));
            stand
                .until("it to be opened", || {
                    (strings.opened() > opened).then_some(())
                })
                .await;
            let side = stand.until_state("p", role, "Running").await;
            assert_eq!(
                (side.restarts, side.last_error.as_deref()),
                (1, Some("its actor died"))
            );
        }
        answers(stand, "p").await;
        strings.emit(Event::new("x"));
        stand
            .until("the event", || (strings.committed() == 1).then_some(()))
            .await;
    });
}

fn victims() -> impl Strategy<Value = Victim> {
    prop_oneof![
        Just(Victim::Delivery),
        Just(Victim::Supervisor),
        Just(Victim::Router),
        Just(Victim::Binding("p".into(), Role::Input)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever dies and whenever: every event is taken in the end, in order within its key, and
    /// nothing is in flight any more, so no permit is lost.
    #[test]
    fn whoever_dies_no_event_and_no_permit_is_lost(
        deaths in prop::collection::vec((victims(), 0u64..400), 0..6),
        refusals in prop::collection::vec(0usize..60, 0..10),
    ) {
        Setup::held().run(async move |stand| {
            let strings = Strings::new();
            for number in 0..60 {
                strings.emit_in_order(&format!("key {}", number % 4), &format!("{number}"));
            }
            let script = (0..60).map(|at| {
                if refusals.contains(&at) { Verdict::Refuse(500) } else { Verdict::Take }
            });
            stand.app().next(script);
            let delivery = DeliveryOptions { max_in_flight: 8, ..DeliveryOptions::default() };
            let sides = vec![Role::Input];
            stand.load_component(component("p", &puppet(), &strings.shared(), sides, delivery));
            for (victim, wait) in deaths {
                stand.clock().sleep(Duration::from_millis(wait)).await;
                stand.kill(victim);
            }
            // A crash loop may have parked it, so this may take minutes of the test's clock.
            let limit = stand.clock().now() + Duration::from_secs(3600);
            while strings.committed() < 60 {
                assert!(stand.clock().now() < limit, "stuck at {}", strings.committed());
                stand.clock().sleep(Duration::from_secs(1)).await;
            }
            // The first taking of each event, by key, is in order.
            let mut last = [None::<usize>; 4];
            let mut seen = [false; 60];
            for body in stand.app().taken() {
                let number: usize = std::str::from_utf8(&body).unwrap().parse().unwrap();
                if !std::mem::replace(&mut seen[number], true) {
                    let key = &mut last[number % 4];
                    assert!(key.is_none_or(|before| before < number), "{number} out of order");
                    *key = Some(number);
                }
            }
            assert!(seen.iter().all(|seen| *seen));
            // If a permit were lost, eight more could not all be held at once.
            for number in 0..8 {
                strings.emit(Event::new(format!("last {number}")));
            }
            stand.app().always(Some(Verdict::Hold));
            let before = stand.app().seen().len();
            stand.app().until(|seen| seen.len() == before + 8).await;
            stand.app().release();
        });
    }
}
