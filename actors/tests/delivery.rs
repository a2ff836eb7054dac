//! The way of events to the app, with the clock in the test's hand.

use std::collections::BTreeMap;
use std::time::Duration;

use bindery_actors::app::Forward;
use bindery_actors::{DeliveryOptions, Limits};
use bindery_contract::{Ack, Event, Nack, Order, Role};
use bindery_testkit::app::Verdict;
use bindery_testkit::puppet::{Act, Kind, Log, Puppet, Queue, Signal, Strings};
use bindery_testkit::stand::{Setup, Stand, component};

fn load<K: Kind>(stand: &Stand, name: &str, strings: &Strings, delivery: DeliveryOptions) {
    let registration = Puppet::<K>::registration();
    let settings = strings.shared();
    let sides = vec![Role::Input];
    stand.load_component(component(name, &registration, &settings, sides, delivery));
}

fn key_of(event: &Event) -> String {
    event
        .source_key()
        .map(|key| key.as_str().to_owned())
        .unwrap_or_default()
}

#[test]
fn a_full_lane_stops_the_source_and_wakes_it_again() {
    let limits = Limits {
        lane: 4,
        ..Limits::default()
    };
    Setup::new(limits).run(async |stand| {
        let strings = Strings::new();
        for number in 0..500 {
            strings.emit(Event::new(format!("{number}")));
        }
        load::<Log>(stand, "p", &strings, DeliveryOptions::default());
        stand
            .until("all of it", || (strings.committed() == 500).then_some(()))
            .await;
        assert_eq!(stand.app().taken().len(), 500);
    });
}

#[test]
fn no_more_than_max_in_flight_are_ever_at_the_app() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        for number in 0..50 {
            strings.emit(Event::new(format!("{number}")));
        }
        stand.app().always(Some(Verdict::Hold));
        let delivery = DeliveryOptions {
            max_in_flight: 7,
            ..DeliveryOptions::default()
        };
        load::<Queue>(stand, "p", &strings, delivery);
        stand.app().until(|seen| seen.len() == 7).await;
        stand.clock().sleep(Duration::from_secs(3600)).await;
        assert_eq!(stand.app().seen().len(), 7);
        stand.app().always(None);
        stand.app().release();
        stand
            .until("all of it", || {
                (strings.answered().len() == 50).then_some(())
            })
            .await;
    });
}

#[test]
fn an_acknowledgement_does_not_wait_for_events_that_take_long() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        stand
            .app()
            .judge(|event| (*event.data != *b"7").then_some(Verdict::Hold));
        for number in 0..20 {
            strings.emit(Event::new(format!("{number}")));
        }
        load::<Queue>(stand, "p", &strings, DeliveryOptions::default());
        stand.app().until(|seen| seen.len() == 20).await;
        stand.clock().sleep(Duration::from_millis(2)).await;
        assert_eq!(strings.answered().len(), 1);
        stand.app().release();
        stand
            .until("all of it", || {
                (strings.answered().len() == 20).then_some(())
            })
            .await;
    });
}

#[test]
fn order_is_kept_within_a_key_whatever_the_app_refuses() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        for number in 0..300 {
            strings.emit_in_order(&format!("key {}", number % 3), &format!("{number}"));
        }
        let mut chance = fastrand::Rng::with_seed(7);
        let chance = std::sync::Mutex::new(move || chance.f64());
        stand
            .app()
            .judge(move |_| ((chance.lock().unwrap())() < 0.3).then_some(Verdict::Refuse(500)));
        load::<Log>(stand, "p", &strings, DeliveryOptions::default());
        while strings.committed() < 300 {
            stand.clock().sleep(Duration::from_secs(1)).await;
        }
        let mut taken: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for seen in stand
            .app()
            .seen()
            .iter()
            .filter(|seen| seen.verdict == Verdict::Take)
        {
            let number = std::str::from_utf8(&seen.event.data)
                .unwrap()
                .parse()
                .unwrap();
            taken.entry(key_of(&seen.event)).or_default().push(number);
        }
        for (key, numbers) in taken {
            assert_eq!(numbers.len(), 100, "{key}");
            assert!(numbers.is_sorted(), "{key}: {numbers:?}");
        }
    });
}

#[test]
fn one_poison_key_leaves_the_others_flowing() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        stand
            .app()
            .judge(|event| (key_of(event) == "poison").then_some(Verdict::Refuse(500)));
        for number in 0..400 {
            let key = if number % 2 == 0 { "poison" } else { "well" };
            strings.emit_in_order(key, &format!("{number}"));
        }
        load::<Log>(
            stand,
            "p",
            &strings,
            DeliveryOptions {
                max_in_flight: 512,
                ..DeliveryOptions::default()
            },
        );
        // The poison holds a quarter of the credit; what fits beside it flows.
        stand
            .app()
            .until(|seen| {
                seen.iter()
                    .filter(|seen| seen.verdict == Verdict::Take)
                    .count()
                    >= 128
            })
            .await;
        let side = stand.side("p", Role::Input).unwrap();
        let blocked = side.input.unwrap().counters.blocked();
        assert_eq!(blocked.len(), 1);
        assert_eq!(blocked[0].key.as_deref(), Some("poison"));
        assert!(
            blocked[0].error.contains("status code: 500"),
            "{}",
            blocked[0].error
        );
        assert_eq!(strings.committed(), 0, "the position never passes it");
    });
}

#[test]
fn an_event_of_a_log_is_tried_until_the_app_takes_it() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.emit(Event::new("stubborn"));
        stand
            .app()
            .next(std::iter::repeat_n(Verdict::Refuse(503), 20));
        load::<Log>(stand, "p", &strings, DeliveryOptions::default());
        while strings.committed() == 0 {
            stand.clock().sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(stand.app().seen().len(), 21);
        assert_eq!(strings.readers(), 1, "in place: nothing was read again");
        let side = stand.side("p", Role::Input).unwrap();
        assert_eq!(side.input.unwrap().counters.blocked(), []);
    });
}

#[test]
fn a_queue_hears_a_refusal_after_one_attempt_and_cannot_spin() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.emit(Event::new("x"));
        stand.app().always(Some(Verdict::Refuse(500)));
        load::<Queue>(stand, "p", &strings, DeliveryOptions::default());
        stand.clock().sleep(Duration::from_secs(600)).await;
        let refused = strings.answered();
        assert!(matches!(&refused[0].1, Ack::Nacked(Nack::Refused(why)) if why.contains("status code: 500")));
        // Full jitter up to 30 s: about 40 in ten minutes, and never a flood.
        assert!((10..200).contains(&refused.len()), "{} redeliveries", refused.len());
    });
}

#[test]
fn attempts_of_a_queue_are_those_that_are_configured() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.emit(Event::new("x"));
        stand
            .app()
            .next(std::iter::repeat_n(Verdict::Refuse(500), 3));
        load::<Queue>(
            stand,
            "p",
            &strings,
            DeliveryOptions {
                max_attempts: 3,
                ..DeliveryOptions::default()
            },
        );
        stand
            .until("two answers", || {
                (strings.answered().len() == 2).then_some(())
            })
            .await;
        let acks: Vec<bool> = strings
            .answered()
            .iter()
            .map(|(_, ack)| matches!(ack, Ack::Acked(_)))
            .collect();
        assert_eq!(
            acks,
            [false, true],
            "three attempts, then the queue's own redelivery"
        );
    });
}

#[test]
fn a_signal_is_given_once() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.emit(Event::new("tick"));
        stand.app().always(Some(Verdict::Refuse(500)));
        load::<Signal>(stand, "p", &strings, DeliveryOptions::default());
        stand.clock().sleep(Duration::from_secs(600)).await;
        assert_eq!(stand.app().seen().len(), 1);
    });
}

#[test]
fn without_order_events_of_one_key_go_side_by_side() {
    Setup::held().run(async |stand| {
        for (order, at_once) in [(Order::Source, 1), (Order::None, 5)] {
            let strings = Strings::new();
            (0..5).for_each(|number| strings.emit_in_order("k", &format!("{number}")));
            stand.app().always(Some(Verdict::Hold));
            let before = stand.app().seen().len();
            let delivery = DeliveryOptions {
                order,
                ..DeliveryOptions::default()
            };
            load::<Queue>(stand, &format!("{order:?}"), &strings, delivery);
            stand.clock().sleep(Duration::from_secs(60)).await;
            assert_eq!(stand.app().seen().len() - before, at_once, "{order:?}");
            stand.app().always(None);
            stand.app().release();
            stand
                .until("all of it", || {
                    (strings.answered().len() == 5).then_some(())
                })
                .await;
        }
    });
}

#[test]
fn an_input_that_the_app_does_not_want_is_not_read() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.emit(Event::new("x"));
        stand.app().wants_nothing();
        let mut unasked = component(
            "p",
            &Puppet::<Log>::registration(),
            &strings.shared(),
            vec![Role::Input],
            DeliveryOptions::default(),
        );
        unasked.subscribed = false;
        stand.load_component(unasked);
        let refused = || {
            let input = stand.side("p", Role::Input)?.input?;
            (input.subscribed == Some(false)).then_some(())
        };
        stand.until("the app's answer", refused).await;
        stand.clock().sleep(Duration::from_secs(60)).await;
        assert_eq!((strings.opened(), strings.readers()), (1, 0));
    });
}

#[test]
fn the_app_is_asked_about_an_input_whose_source_is_away() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open(vec![Act::Disconnected("away"); 1000]);
        let mut unasked = component(
            "p",
            &Puppet::<Log>::registration(),
            &strings.shared(),
            vec![Role::Input],
            DeliveryOptions::default(),
        );
        unasked.subscribed = false;
        stand.load_component(unasked);
        stand.until_state("p", Role::Input, "Degraded").await;
        stand.restart_inputs();
        let mut progress = stand.core().progress();
        progress.wait_for(|progress| progress.asked).await.unwrap();
        assert_eq!(strings.readers(), 0);
    });
}

#[test]
fn stopping_finishes_what_is_running_and_refuses_the_rest() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.emit_in_order("k", "running");
        strings.emit_in_order("k", "behind");
        stand.app().always(Some(Verdict::Hold));
        load::<Log>(stand, "p", &strings, DeliveryOptions::default());
        stand.app().until(|seen| seen.len() == 1).await;
        let release = async {
            stand.clock().sleep(Duration::from_secs(2)).await;
            stand.app().release();
        };
        tokio::join!(stand.stop_inputs(Duration::from_secs(10)), release);
        assert_eq!(strings.committed(), 1);
        assert_eq!(strings.closed(), 1);
        stand.app().always(None);
        stand.restart_inputs();
        stand
            .until("the rest", || (strings.committed() == 2).then_some(()))
            .await;
        assert_eq!(stand.app().seen().len(), 2, "nothing was given twice");
    });
}

fn to(bindings: &[&str], parallel: bool) -> Verdict {
    Verdict::Answer(Forward::To {
        bindings: bindings.iter().map(ToString::to_string).collect(),
        data: "\"answer\"".into(),
        parallel,
    })
}

#[test]
fn the_apps_answer_goes_to_the_outputs_that_it_names_before_the_acknowledgement() {
    Setup::held().run(async |stand| {
        let (source, a, b) = (Strings::new(), Strings::new(), Strings::new());
        for (name, strings) in [("a", &a), ("b", &b)] {
            let output = Puppet::<Log>::registration();
            stand.load_sides(name, &output, &strings.shared(), vec![Role::Output]);
            stand.until_state(name, Role::Output, "Running").await;
        }
        load::<Queue>(stand, "p", &source, DeliveryOptions::default());

        // One after another, until one fails; the event is acknowledged all the same.
        stand.app().next([to(&["a", "b"], false)]);
        a.next_call([Act::Reject("full")]);
        source.emit(Event::new("1"));
        stand
            .until("the first", || (source.answered().len() == 1).then_some(()))
            .await;
        assert_eq!((a.calls(), b.calls()), (1, 0));

        // All at once.
        stand.app().next([to(&["a", "b"], true)]);
        a.next_call([Act::Reject("full")]);
        source.emit(Event::new("2"));
        stand
            .until("the second", || {
                (source.answered().len() == 2).then_some(())
            })
            .await;
        assert_eq!((a.calls(), b.calls()), (2, 1));

        // A name that is no output: none of it is done.
        stand.app().next([to(&["a", "nowhere"], false)]);
        source.emit(Event::new("3"));
        stand
            .until("the third", || (source.answered().len() == 3).then_some(()))
            .await;
        assert_eq!((a.calls(), b.calls()), (2, 1));

        let all_acked = source
            .answered()
            .iter()
            .all(|(_, ack)| matches!(ack, Ack::Acked(_)));
        assert!(all_acked, "{:?}", source.answered());
        let input = stand.side("p", Role::Input).unwrap().input.unwrap();
        assert_eq!(input.counters.reply_failures(), 2);
    });
}

#[test]
fn a_failed_answer_is_a_refusal_where_that_is_configured_and_nothing_where_it_is_off() {
    Setup::held().run(async |stand| {
        let output = Strings::new();
        let registration = Puppet::<Log>::registration();
        stand.load_sides("a", &registration, &output.shared(), vec![Role::Output]);
        stand.until_state("a", Role::Output, "Running").await;

        let nacks = Strings::new();
        load::<Queue>(
            stand,
            "nacks",
            &nacks,
            DeliveryOptions {
                reply_failure_nacks: true,
                ..DeliveryOptions::default()
            },
        );
        stand.app().next([to(&["a"], false)]);
        output.next_call([Act::Reject("full")]);
        nacks.emit(Event::new("1"));
        stand
            .until("both answers", || {
                (nacks.answered().len() == 2).then_some(())
            })
            .await;
        assert!(matches!(
            nacks.answered()[0].1,
            Ack::Nacked(Nack::Refused(_))
        ));

        let off = Strings::new();
        load::<Queue>(
            stand,
            "off",
            &off,
            DeliveryOptions {
                reply: false,
                ..DeliveryOptions::default()
            },
        );
        stand.app().next([to(&["a"], false)]);
        let before = output.calls();
        off.emit(Event::new("1"));
        stand
            .until("the answer", || (off.answered().len() == 1).then_some(()))
            .await;
        assert_eq!(output.calls(), before);
    });
}
