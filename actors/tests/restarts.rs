//! What becomes of a binding that fails, with the clock in the test's hand.

use std::time::Duration;

use bindery_actors::{Call, CallError, FailureClass};
use bindery_contract::{Event, Registration, Role};
use bindery_testkit::puppet::{Act, Log, Puppet, Strings};
use bindery_testkit::stand::{Setup, Stand};

fn puppet() -> Registration {
    Puppet::<Log>::registration()
}

fn call(binding: &str, data: &str) -> Call {
    Call {
        binding: binding.into(),
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
fn a_panic_in_open_restarts_from_clean_state() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open(std::iter::repeat_n(Act::Panic, 4));
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        let side = stand.until_state("p", Role::Output, "Degraded").await;
        assert_eq!(side.failure, Some(FailureClass::Crashed));
        assert_eq!(
            side.last_error.as_deref(),
            Some("panicked: the puppet panics")
        );
        stand.until_state("p", Role::Output, "Running").await;
        assert_eq!(strings.opened(), 1, "only the fifth try opened it");
        answers(stand, "p").await;
    });
}

#[test]
fn a_panic_in_read_restarts_from_clean_state_and_loses_nothing() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.emit(Event::new("one"));
        strings.next_read([Act::Panic]);
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Input]);
        stand
            .until("it to be read", || (strings.committed() == 1).then_some(()))
            .await;
        let side = stand.until_state("p", Role::Input, "Running").await;
        assert_eq!(side.restarts, 1);
        assert_eq!(
            strings.opened(),
            2,
            "a panic does not leave the instance in use"
        );
        assert_eq!(stand.app().taken(), [b"one"]);
    });
}

#[test]
fn a_panic_in_a_spawned_task_restarts_the_binding() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open([Act::PanicInTask]);
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        let opened_twice = || (strings.opened() == 2).then_some(());
        stand.until("it to be opened anew", opened_twice).await;
        let side = stand.until_state("p", Role::Output, "Running").await;
        assert_eq!(
            side.last_error.as_deref(),
            Some("panicked: the puppet's task panics")
        );
        answers(stand, "p").await;
    });
}

#[test]
fn a_panic_in_invoke_fails_that_call_and_replaces_the_instance() {
    Setup::held().run(async |stand| {
        for settings in [Strings::per_thread, Strings::shared] {
            let strings = Strings::new();
            let name = format!("p{}", strings.per_thread().get("strings").unwrap());
            stand.load_sides(&name, &puppet(), &settings(&strings), vec![Role::Output]);
            answers(stand, &name).await;
            stand.clock().sleep(Duration::from_secs(2)).await;
            strings.next_call([Act::Panic]);
            let error = stand.core().invoke(call(&name, "x")).await.unwrap_err();
            assert!(matches!(error, CallError::Panicked(_)), "{error}");
            assert_eq!(error.to_string(), "the binding panicked: the puppet panics");
            answers(stand, &name).await;
            let closed = || (strings.closed() == 1).then_some(());
            stand.until("the old instance to be closed", closed).await;
            let side = stand.side(&name, Role::Output).unwrap();
            assert_eq!((side.state, side.panics), ("Running", 1));
        }
    });
}

#[test]
fn six_poison_requests_do_not_switch_a_binding_off() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        answers(stand, "p").await;
        strings.next_call(std::iter::repeat_n(Act::Panic, 6));
        for _ in 0..6 {
            let error = stand.core().invoke(call("p", "poison")).await.unwrap_err();
            assert!(matches!(error, CallError::Panicked(_)), "{error}");
            answers_or_panics(stand, &strings).await;
        }
        let side = stand.side("p", Role::Output).unwrap();
        assert_eq!((side.state, side.panics), ("Running", 6));
        answers(stand, "p").await;
        assert!(strings.opened() <= 2, "replaced at most once a second");
    });
}

/// Between two poison requests the binding serves others: the script decides which is which.
async fn answers_or_panics(stand: &Stand, strings: &Strings) {
    let before = strings.calls();
    stand
        .until("a moment", || (strings.calls() == before).then_some(()))
        .await;
    assert_eq!(stand.side("p", Role::Output).unwrap().state, "Running");
}

#[test]
fn a_rejected_request_leaves_the_binding_alone() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        strings.next_call([Act::Reject("a bad key")]);
        let error = stand.core().invoke(call("p", "x")).await.unwrap_err();
        assert_eq!(error.to_string(), "a bad key");
        answers(stand, "p").await;
        assert_eq!(strings.opened(), 1);
    });
}

#[test]
fn a_crash_loop_parks_the_binding_and_tries_again() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open(std::iter::repeat_n(Act::Panic, 7));
        let began = stand.clock().now();
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        let side = stand.until_state("p", Role::Output, "Failed").await;
        assert_eq!(
            (side.failure, side.attempt),
            (Some(FailureClass::Crashed), 6)
        );
        let parked = stand.clock().now();
        assert!(
            parked - began < Duration::from_secs(60),
            "six crashes within a minute"
        );
        let error = stand
            .core()
            .invoke(call("p", "x"))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("binding p has failed, next try in"),
            "{error}"
        );
        stand.until_state("p", Role::Output, "Running").await;
        let waited = stand.clock().now() - parked;
        assert!(
            waited >= Duration::from_secs(60),
            "it was tried again after {waited:?}"
        );
        answers(stand, "p").await;
    });
}

#[test]
fn what_can_never_work_is_parked_with_its_reason() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open([Act::Invalid("the moon is not a host")]);
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        let side = stand.until_state("p", Role::Output, "Failed").await;
        assert_eq!(side.failure, Some(FailureClass::Invalid));
        assert_eq!(side.last_error.as_deref(), Some("the moon is not a host"));
    });
}

#[test]
fn a_refusal_is_tried_again_every_half_minute_and_never_counted_as_a_crash() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open(std::iter::repeat_n(Act::Refused("wrong password"), 9));
        let began = stand.clock().now();
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        let side = stand.until_state("p", Role::Output, "Degraded").await;
        assert_eq!(side.failure, Some(FailureClass::Refused));
        stand
            .until("it to be opened", || (strings.opened() == 1).then_some(()))
            .await;
        let took = (stand.clock().now() - began).as_secs();
        assert!(
            (270..275).contains(&took),
            "nine waits of 30 s, not {took} s"
        );
    });
}

#[test]
fn a_binding_that_does_not_work_fully_says_why_until_it_does_again() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        let acts = [
            Act::Impaired("one of three brokers"),
            Act::Recovered,
            Act::Panic,
            Act::Impaired("two of three brokers"),
            Act::Recovered,
        ];
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        answers(stand, "p").await;
        strings.next_call(acts);
        let said = async |expected: Option<&str>| {
            let is_said = || {
                let side = stand.side("p", Role::Output)?;
                assert_eq!(side.state, "Running");
                (side.last_error.as_deref() == expected).then_some(())
            };
            stand.until("it to be said", is_said).await;
        };
        answers(stand, "p").await;
        said(Some("one of three brokers")).await;
        answers(stand, "p").await;
        said(None).await;
        stand.invoke("p", "create", "x", &[]).await.unwrap_err();
        said(Some("panicked: the puppet panics")).await;
        answers(stand, "p").await;
        said(Some("two of three brokers")).await;
        answers(stand, "p").await;
        said(None).await;
    });
}

#[test]
fn a_disconnect_is_reconnected_for_ever() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open(std::iter::repeat_n(Act::Disconnected("nobody there"), 40));
        let began = stand.clock().now();
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        let opened = || {
            let side = stand.side("p", Role::Output)?;
            assert_ne!(side.state, "Failed", "an outage is no crash");
            (side.state == "Running").then_some(())
        };
        stand.until("it to be opened", opened).await;
        let took = stand.clock().now() - began;
        assert!(
            took < Duration::from_secs(41 * 30),
            "no wait is over 30 s: {took:?}"
        );
        answers(stand, "p").await;
    });
}

#[test]
fn a_siblings_work_goes_on_during_all_of_it() {
    Setup::held().run(async |stand| {
        let (steady, shaky) = (Strings::new(), Strings::new());
        let acts = [
            Act::Panic,
            Act::Hang,
            Act::Disconnected("gone"),
            Act::Refused("no"),
            Act::PanicInTask,
        ];
        shaky.next_open(acts);
        shaky.next_read([Act::Panic, Act::Disconnected("gone"), Act::Panic]);
        stand.load("steady", &puppet(), &steady.shared());
        stand.load("shaky", &puppet(), &shaky.shared());
        for number in 0..200 {
            steady.emit(Event::new(format!("event {number}")));
            answers(stand, "steady").await;
            stand.clock().sleep(Duration::from_secs(1)).await;
        }
        stand
            .until("all events", || (steady.committed() == 200).then_some(()))
            .await;
        assert_eq!(
            (steady.opened(), steady.readers()),
            (2, 1),
            "nobody touched it"
        );
        stand.until_state("shaky", Role::Input, "Running").await;
        stand.until_state("shaky", Role::Output, "Running").await;
    });
}

#[test]
fn a_call_that_arrives_while_its_binding_is_away_waits_and_succeeds() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open(std::iter::repeat_n(Act::Disconnected("nobody there"), 3));
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        stand.until_state("p", Role::Output, "Degraded").await;
        answers(stand, "p").await;
    });
}

#[test]
fn a_call_waits_no_longer_than_it_may_and_hears_why() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open([Act::Refused("wrong password for user tester")]);
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        stand.until_state("p", Role::Output, "Degraded").await;
        for (deadline, longest) in [(None, 5), (Some(2), 2)] {
            let began = stand.clock().now();
            let call = Call {
                deadline: deadline.map(|secs| began + Duration::from_secs(secs)),
                ..call("p", "x")
            };
            let error = stand.core().invoke(call).await.unwrap_err().to_string();
            assert!(error.contains("wrong password for user tester"), "{error}");
            let took = stand.clock().now() - began;
            assert_eq!(took.as_secs(), longest, "{took:?}");
        }
        let began = stand.clock().now();
        let error = stand.core().invoke(call("nowhere", "x")).await.unwrap_err();
        assert_eq!(error.to_string(), "couldn't find output binding nowhere");
        assert_eq!(stand.clock().now(), began, "an unknown name fails at once");
    });
}

#[test]
fn a_caller_that_waits_makes_the_next_try_come_in_time() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open(std::iter::repeat_n(Act::Disconnected("nobody there"), 60));
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        // Long enough for the waits to have grown to their cap.
        stand.clock().sleep(Duration::from_secs(300)).await;
        let tried = 60 - strings.openings_left();
        assert!(tried < 40, "nobody waits: {tried} tries");
        let began = stand.clock().now();
        stand.core().invoke(call("p", "x")).await.unwrap_err();
        assert_eq!((stand.clock().now() - began).as_secs(), 5);
        let during = 60 - strings.openings_left() - tried;
        assert!((8..40).contains(&during), "somebody waits: {during} tries");
        strings.next_open_well();
        answers(stand, "p").await;
    });
}

#[test]
fn those_who_wait_are_bounded() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open([Act::Refused("no")]);
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        stand.until_state("p", Role::Output, "Degraded").await;
        let calls = (0..1100).map(|_| stand.core().invoke(call("p", "x")));
        let outcomes = futures_util::future::join_all(calls).await;
        let overloaded = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Err(CallError::Overloaded)))
            .count();
        assert_eq!(overloaded, 1100 - 1024);
    });
}

#[test]
fn a_call_that_was_never_sent_goes_out_over_the_next_connection() {
    Setup::held().run(async |stand| {
        for settings in [Strings::per_thread, Strings::shared] {
            let strings = Strings::new();
            let name = format!("p{}", strings.per_thread().get("strings").unwrap());
            stand.load_sides(&name, &puppet(), &settings(&strings), vec![Role::Output]);
            answers(stand, &name).await;
            strings.next_call([Act::Disconnected("connection reset")]);
            answers(stand, &name).await;
            assert_eq!((strings.calls(), strings.opened()), (3, 2));
            let side = stand.side(&name, Role::Output).unwrap();
            assert_eq!(side.last_error.as_deref(), Some("connection reset"));
        }
    });
}

#[test]
fn a_caller_that_goes_away_cancels_its_call() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        stand.load_sides("p", &puppet(), &strings.per_thread(), vec![Role::Output]);
        strings.next_call([Act::Hang]);
        let clock = stand.clock();
        let hanging = stand.core().invoke(call("p", "x"));
        assert!(
            clock
                .timeout(Duration::from_secs(60), hanging)
                .await
                .is_none()
        );
        assert_eq!(strings.calls(), 1);
        answers(stand, "p").await;
        // The replica can only be closed when the hanging call holds it no more.
        stand.clock().sleep(Duration::from_secs(2)).await;
        strings.next_call([Act::Disconnected("gone")]);
        answers(stand, "p").await;
        stand
            .until("it to be closed", || (strings.closed() == 1).then_some(()))
            .await;
    });
}
