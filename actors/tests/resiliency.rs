//! Timeouts, retries, breakers and dead letters, with the clock in the test's hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::{BreakerSettings, DeliveryOptions, Directions, Policies, Retry, Rules};
use bindery_contract::settings::{GoDuration, RetrySettings};
use bindery_contract::{Ack, Event, Nack, Role};
use bindery_testkit::app::Verdict;
use bindery_testkit::puppet::{Act, Kind, Log, Puppet, Queue, Signal, Strings};
use bindery_testkit::stand::{Setup, Stand, component};

const SECOND: Duration = Duration::from_secs(1);

fn load<K: Kind>(stand: &Stand, name: &str, strings: &Strings, role: Role, letter: Option<&str>) {
    let registration = Puppet::<K>::registration();
    let delivery = DeliveryOptions {
        dead_letter: letter.map(str::to_owned),
        ..DeliveryOptions::default()
    };
    let settings = strings.shared();
    stand.load_component(component(
        name,
        &registration,
        &settings,
        vec![role],
        delivery,
    ));
}

async fn output(stand: &Stand, name: &str) -> Strings {
    let strings = Strings::new();
    load::<Queue>(stand, name, &strings, Role::Output, None);
    stand.until_state(name, Role::Output, "Running").await;
    strings
}

fn protect(stand: &Stand, inbound: Rules, outbound: Rules) {
    let defaults = Directions { inbound, outbound };
    let policies = Policies::new(HashMap::new(), defaults);
    stand.core().set_policies(Some(policies));
}

fn retry(max_retries: i64) -> Rules {
    Rules {
        retry: Some(Retry {
            settings: RetrySettings {
                duration: GoDuration::from_secs(1),
                max_retries,
                ..RetrySettings::default()
            },
            statuses: None,
        }),
        ..Rules::default()
    }
}

fn timeout(limit: Duration) -> Rules {
    Rules {
        timeout: Some(limit),
        ..Rules::default()
    }
}

fn breaker() -> Rules {
    Rules {
        breaker: Some(BreakerSettings {
            name: "b".into(),
            max_requests: 1,
            interval: Duration::ZERO,
            timeout: 60 * SECOND,
            trip: Arc::new(|counts| counts.consecutive_failures > 1),
        }),
        ..Rules::default()
    }
}

async fn say(stand: &Stand, data: &str) -> String {
    match stand.invoke("p", "create", data.to_owned(), &[]).await {
        Ok(reply) => reply.map(|reply| reply.text()).unwrap_or_default(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn a_call_is_repeated_until_it_succeeds_or_its_attempts_are_used_up() {
    Setup::held().run(async |stand| {
        let strings = output(stand, "p").await;
        protect(stand, Rules::default(), retry(2));
        strings.next_call([Act::Fail("no"), Act::Fail("no")]);
        let began = stand.clock().now();
        assert_eq!(say(stand, "yes").await, "yes");
        assert_eq!(strings.calls(), 3);
        assert_eq!((stand.clock().now() - began).as_secs(), 2);
        strings.next_call([Act::Fail("1"), Act::Fail("2"), Act::Fail("3")]);
        assert_eq!(say(stand, "").await, "error: 3");
        assert_eq!(strings.calls(), 6);
    });
}

#[test]
fn a_call_that_is_wrong_is_not_repeated_and_opens_no_breaker() {
    Setup::held().run(async |stand| {
        let strings = output(stand, "p").await;
        let outbound = Rules {
            retry: retry(5).retry,
            ..breaker()
        };
        protect(stand, Rules::default(), outbound);
        for _ in 0..5 {
            strings.next_call([Act::Reject("wrong")]);
            assert_eq!(say(stand, "").await, "error: wrong");
        }
        assert_eq!(strings.calls(), 5);
        assert_eq!(say(stand, "still closed").await, "still closed");
        let unknown = stand.invoke("q", "create", "", &[]).await.unwrap_err();
        assert_eq!(unknown.to_string(), "couldn't find output binding q");
    });
}

#[test]
fn a_call_that_takes_too_long_is_ended_and_repeated_like_any_other() {
    Setup::held().run(async |stand| {
        let strings = output(stand, "p").await;
        let outbound = Rules {
            timeout: Some(SECOND),
            ..retry(1)
        };
        protect(stand, Rules::default(), outbound);
        strings.next_call([Act::Hang]);
        assert_eq!(say(stand, "second").await, "second");
        strings.next_call([Act::Hang, Act::Hang]);
        assert_eq!(say(stand, "").await, "error: context deadline exceeded");
    });
}

#[test]
fn a_call_that_waits_for_its_binding_in_vain_says_what_that_suffers_from() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open([Act::Refused("wrong password")]);
        load::<Queue>(stand, "p", &strings, Role::Output, None);
        stand.until_state("p", Role::Output, "Degraded").await;
        protect(stand, Rules::default(), timeout(SECOND));
        let began = stand.clock().now();
        let error = say(stand, "").await;
        assert!(error.contains("wrong password"), "{error}");
        assert_eq!((stand.clock().now() - began).as_secs(), 1);
    });
}

#[test]
fn an_open_breaker_refuses_calls_and_closes_after_one_that_succeeds() {
    Setup::held().run(async |stand| {
        let strings = output(stand, "p").await;
        protect(stand, Rules::default(), breaker());
        strings.next_call([Act::Fail("1"), Act::Fail("2")]);
        assert_eq!(say(stand, "").await, "error: 1");
        assert_eq!(say(stand, "").await, "error: 2");
        assert_eq!(say(stand, "").await, "error: circuit breaker is open");
        assert_eq!(strings.calls(), 2);
        stand.clock().sleep(60 * SECOND).await;
        assert_eq!(say(stand, "yes").await, "yes");
        assert_eq!(say(stand, "yes").await, "yes");
    });
}

#[test]
fn a_signal_is_repeated_when_a_policy_says_so() {
    Setup::held().run(async |stand| {
        protect(stand, retry(2), Rules::default());
        stand
            .app()
            .next([Verdict::Refuse(500), Verdict::Refuse(500)]);
        let strings = Strings::new();
        load::<Signal>(stand, "p", &strings, Role::Input, None);
        strings.emit(Event::new("tick"));
        stand.app().until(|seen| seen.len() == 3).await;
        let answered = stand.until("it", || strings.answered().pop()).await;
        assert!(matches!(answered.1, Ack::Acked(_)), "{answered:?}");
    });
}

#[test]
fn a_hanging_app_is_given_up_after_the_timeout_and_tried_again() {
    Setup::held().run(async |stand| {
        let inbound = Rules {
            timeout: Some(SECOND),
            ..retry(-1)
        };
        protect(stand, inbound, Rules::default());
        stand.app().next([Verdict::Hold]);
        let strings = Strings::new();
        load::<Log>(stand, "p", &strings, Role::Input, None);
        strings.emit(Event::new("1"));
        stand
            .until("it", || (strings.committed() == 1).then_some(()))
            .await;
        assert_eq!(stand.app().seen().len(), 2);
    });
}

#[test]
fn an_open_breaker_holds_events_back_and_loses_none() {
    Setup::held().run(async |stand| {
        protect(stand, breaker(), Rules::default());
        stand
            .app()
            .next([Verdict::Refuse(500), Verdict::Refuse(500)]);
        let strings = Strings::new();
        load::<Log>(stand, "p", &strings, Role::Input, None);
        for number in 0..3 {
            strings.emit_in_order("k", &number.to_string());
        }
        stand.app().until(|seen| seen.len() == 2).await;
        stand.clock().sleep(50 * SECOND).await;
        assert_eq!(stand.app().seen().len(), 2, "it is open");
        let side = stand.side("p", Role::Input).unwrap();
        let blocked = side.input.unwrap().counters.blocked();
        assert_eq!(blocked[0].error, "circuit breaker is open");
        stand
            .until("all", || (strings.committed() == 3).then_some(()))
            .await;
        assert_eq!(stand.app().taken(), [b"0", b"1", b"2"]);
    });
}

#[test]
fn an_event_that_is_used_up_goes_to_the_dead_letter_and_then_is_acknowledged() {
    Setup::held().run(async |stand| {
        let letters = output(stand, "letters").await;
        letters.next_call([Act::Fail("full"), Act::Fail("full")]);
        protect(stand, retry(1), Rules::default());
        stand.app().judge(|event| {
            let poison = event.data == "poison";
            Some(if poison {
                Verdict::Refuse(422)
            } else {
                Verdict::Take
            })
        });
        let strings = Strings::new();
        load::<Log>(stand, "p", &strings, Role::Input, Some("letters"));
        for body in ["1", "poison", "2"] {
            strings.emit_in_order("k", body);
        }
        stand
            .until("all", || (strings.committed() == 3).then_some(()))
            .await;
        assert_eq!(stand.app().taken(), [b"1", b"2"], "the order is kept");
        let called = letters.called();
        assert_eq!(called.len(), 3, "it is tried until it takes it");
        let (data, metadata) = &called[2];
        assert_eq!(data, "poison");
        assert_eq!(metadata.get("deadLetterSource"), Some("p"));
        assert_eq!(metadata.get("deadLetterAttempts"), Some("2"));
        let reason = metadata.get("deadLetterReason").unwrap();
        assert!(reason.contains("422"), "{reason}");
        let counters = stand
            .side("p", Role::Input)
            .unwrap()
            .input
            .unwrap()
            .counters;
        assert_eq!((counters.buried_count(), counters.blocked().len()), (1, 0));
    });
}

#[test]
fn a_log_without_a_dead_letter_is_degraded_and_goes_on_trying() {
    Setup::held().run(async |stand| {
        protect(stand, retry(1), Rules::default());
        stand.app().always(Some(Verdict::Refuse(500)));
        let strings = Strings::new();
        load::<Log>(stand, "p", &strings, Role::Input, None);
        strings.emit_in_order("k", "poison");
        stand.app().until(|seen| seen.len() == 2).await;
        let side = || stand.side("p", Role::Input).unwrap();
        let shown = || side().shown_state();
        stand
            .until("it", || (shown() == "Degraded").then_some(()))
            .await;
        assert_eq!(side().state, "Running");
        assert!(side().input.unwrap().counters.blocked()[0].used_up);
        stand.app().until(|seen| seen.len() == 5).await;
        stand.app().always(None);
        stand
            .until("it", || (strings.committed() == 1).then_some(()))
            .await;
        assert_eq!(shown(), "Running");
    });
}

#[test]
fn a_status_that_is_not_listed_uses_the_attempts_up_at_once() {
    Setup::held().run(async |stand| {
        let mut rules = retry(9);
        rules.retry.as_mut().unwrap().statuses = Some(vec![500..=599]);
        protect(stand, rules, Rules::default());
        stand.app().next([Verdict::Refuse(404)]);
        let strings = Strings::new();
        load::<Queue>(stand, "p", &strings, Role::Input, None);
        strings.emit(Event::new("1"));
        let answered = stand
            .until("it", || strings.answered().first().cloned())
            .await;
        assert!(
            matches!(answered.1, Ack::Nacked(Nack::Refused(_))),
            "{answered:?}"
        );
    });
}

#[test]
fn an_event_without_an_answer_is_listed_as_blocked() {
    Setup::held().run(async |stand| {
        stand.app().next([Verdict::Hold]);
        let strings = Strings::new();
        load::<Log>(stand, "p", &strings, Role::Input, None);
        strings.emit_in_order("k", "1");
        stand.app().until(|seen| seen.len() == 1).await;
        let blocked = || {
            let side = stand.side("p", Role::Input).unwrap();
            side.input.unwrap().counters.blocked()
        };
        stand.clock().sleep(59 * SECOND).await;
        assert_eq!(blocked(), []);
        stand.clock().sleep(2 * SECOND).await;
        assert_eq!(
            blocked()[0].error,
            "the app has had it for 60 s and has not answered"
        );
        stand.app().release();
        stand
            .until("it", || (strings.committed() == 1).then_some(()))
            .await;
        assert_eq!(blocked(), []);
    });
}

#[test]
fn policies_can_be_exchanged_while_events_wait() {
    Setup::held().run(async |stand| {
        protect(stand, retry(-1), Rules::default());
        stand.app().always(Some(Verdict::Refuse(500)));
        let strings = Strings::new();
        load::<Queue>(stand, "p", &strings, Role::Input, None);
        strings.emit(Event::new("1"));
        stand.app().until(|seen| seen.len() == 3).await;
        stand.core().set_policies(None);
        let answered = stand.until("it", || strings.answered().pop()).await;
        assert!(matches!(answered.1, Ack::Nacked(_)), "{answered:?}");
    });
}
