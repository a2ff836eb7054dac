//! Generated schedules: an app that takes, refuses, holds and panics as it likes, a source that
//! sends in bursts, inputs that stop and start again in between. Whatever comes of it is checked
//! against what each kind of source is promised.

use std::collections::HashMap;
use std::time::Duration;

use bindery_actors::DeliveryOptions;
use bindery_contract::{Ack, Event, Key, Order, Role};
use bindery_testkit::app::{End, Seen, Verdict};
use bindery_testkit::puppet::{Act, Kind, Log, Puppet, Queue, Signal, Strings};
use bindery_testkit::stand::{Setup, Stand, component};
use proptest::prelude::*;

/// An event under way at the app is held for no longer than this.
const HOLD: Duration = Duration::from_millis(700);

/// What happens, one after the other.
#[derive(Clone, Debug)]
enum Step {
    /// The source has more events, each with one of these keys, or none.
    Burst(Vec<Option<u8>>),
    /// Time passes.
    Wait(u64),
    /// The inputs are stopped, and started again after a while.
    Restart(u64),
    /// The next reader does not begin well.
    BadReader(Act),
}

/// A whole schedule.
#[derive(Clone, Debug)]
struct Schedule {
    steps: Vec<Step>,
    verdicts: Vec<Verdict>,
    delivery: DeliveryOptions,
}

fn step() -> impl Strategy<Value = Step> {
    let event = prop_oneof![1 => Just(None), 3 => (0u8..3).prop_map(Some)];
    let act = prop_oneof![
        Just(Act::Panic),
        Just(Act::Disconnected("the source is away"))
    ];
    prop_oneof![
        4 => prop::collection::vec(event, 1..12).prop_map(Step::Burst),
        2 => (0u64..2_000).prop_map(Step::Wait),
        1 => (0u64..500).prop_map(Step::Restart),
        1 => act.prop_map(Step::BadReader),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => Just(Verdict::Take),
        2 => prop_oneof![Just(404), Just(503)].prop_map(Verdict::Refuse),
        2 => Just(Verdict::Hold),
        1 => Just(Verdict::Panic),
    ]
}

fn delivery() -> impl Strategy<Value = DeliveryOptions> {
    let order =
        prop_oneof![3 => Just(Order::Source), 2 => Just(Order::Key), 1 => Just(Order::None)];
    (1usize..10, 0u32..4, order).prop_map(|(max_in_flight, max_attempts, order)| DeliveryOptions {
        max_in_flight,
        max_attempts,
        order,
        ..DeliveryOptions::default()
    })
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let steps = prop::collection::vec(step(), 1..10);
    let verdicts = prop::collection::vec(verdict(), 0..60);
    (steps, verdicts, delivery()).prop_map(|(steps, verdicts, delivery)| Schedule {
        steps,
        verdicts,
        delivery,
    })
}

/// Plays a schedule until `settled` says of its source that all its events are, and returns how
/// many there were.
async fn play<K: Kind>(
    stand: &Stand,
    strings: &Strings,
    schedule: &Schedule,
    settled: fn(&Strings) -> usize,
) -> usize {
    let (puppet, settings) = (Puppet::<K>::registration(), strings.shared());
    let (sides, delivery) = (vec![Role::Input], schedule.delivery.clone());
    stand.app().next(schedule.verdicts.iter().cloned());
    stand.load_component(component("p", &puppet, &settings, sides, delivery));
    let mut sent = 0;
    let steps = async {
        for step in &schedule.steps {
            match step {
                Step::Burst(keys) => {
                    for key in keys {
                        strings.emit(event(sent, *key));
                        sent += 1;
                    }
                }
                Step::Wait(millis) => stand.clock().sleep(Duration::from_millis(*millis)).await,
                Step::Restart(millis) => {
                    stand.stop_inputs(Duration::from_secs(3600)).await;
                    let seen = stand.app().seen();
                    assert!(seen.iter().all(|one| one.end.is_some()), "it drains");
                    stand.clock().sleep(Duration::from_millis(*millis)).await;
                    stand.restart_inputs();
                }
                Step::BadReader(act) => strings.next_read([act.clone()]),
            }
        }
        // A reader that panics again and again is parked for a minute.
        let all = || (settled(strings) == sent).then_some(());
        stand
            .until(&format!("all {sent} events to be settled"), all)
            .await;
    };
    let release = async {
        loop {
            stand.clock().sleep(HOLD).await;
            stand.app().release();
        }
    };
    let watch = async {
        loop {
            stand.clock().sleep(Duration::from_millis(10)).await;
            is_acknowledged_after_success(&stand.app().seen(), strings);
        }
    };
    tokio::select! {
        () = steps => sent,
        () = release => unreachable!("it never ends"),
        () = watch => unreachable!("it never ends"),
    }
}

/// Event `number`; its own key is not that of the source, so that the two orders differ.
fn event(number: usize, source_key: Option<u8>) -> Event {
    let event = Event::new(number.to_string());
    match source_key {
        None => event,
        Some(key) => event
            .in_order_of(Key::new(format!("source {key}")))
            .keyed(Key::new(format!("own {}", number % 4))),
    }
}

fn number(seen: &Seen) -> usize {
    std::str::from_utf8(&seen.event.data)
        .unwrap()
        .parse()
        .unwrap()
}

fn is_acknowledged_after_success(seen: &[Seen], strings: &Strings) {
    for (body, ack) in strings.answered() {
        let mut visits = seen.iter().filter(|one| one.event.data == body);
        let taken = visits.any(|one| one.end.is_some_and(|end| end.taken));
        assert!(
            taken || matches!(ack, Ack::Nacked(_)),
            "{body} was not taken"
        );
    }
}

/// What is true of every source: never more at the app than may be, nothing left there, and every
/// permit free again.
async fn nothing_is_left(stand: &Stand, strings: &Strings, schedule: &Schedule) {
    let most = schedule.delivery.max_in_flight;
    let seen = stand.app().seen();
    for (at, one) in seen.iter().enumerate() {
        let is_there = |other: &&Seen| other.end.is_none_or(|end| end.seen > at);
        let beside = seen[..at].iter().filter(is_there).count();
        assert!(beside < most, "{} came to {beside} others", number(one));
        assert!(one.end.is_some(), "{} is still at the app", number(one));
    }
    // If a permit were lost, as many as may be could not all be there at once.
    stand.app().always(Some(Verdict::Hold));
    for _ in 0..most {
        strings.emit(Event::new("last"));
    }
    let all_there = || (stand.app().seen().len() == seen.len() + most).then_some(());
    stand.until("every permit to be free", all_there).await;
    let side = stand.side("p", Role::Input).unwrap();
    assert_eq!(side.input.unwrap().counters.blocked(), []);
    stand.app().release();
}

/// Nobody came before everything earlier of its key was taken.
fn is_in_order(seen: &[Seen], order: Order) {
    let mut of_key: HashMap<&Key, Vec<(usize, usize)>> = HashMap::new();
    for (at, one) in seen.iter().enumerate() {
        if let Some(key) = order.key_of(&one.event) {
            of_key.entry(key).or_default().push((number(one), at));
        }
    }
    let taken_before = |at: usize, when: usize| {
        let taken = |end: End| end.taken && end.seen <= when;
        seen[at].end.is_some_and(taken)
    };
    for (key, visits) in of_key {
        for (number, when) in &visits {
            let earlier = visits.iter().filter(|(other, _)| other < number);
            let mut earlier: Vec<usize> = earlier.map(|(other, _)| *other).collect();
            earlier.dedup();
            for other in earlier {
                let mut of_other = visits.iter().filter(|(number, _)| *number == other);
                assert!(
                    of_other.any(|(_, at)| taken_before(*at, *when)),
                    "{number} of {key:?} overtook {other}"
                );
            }
        }
    }
}

/// How often the app took each event.
fn times_taken(seen: &[Seen], sent: usize) -> Vec<usize> {
    let mut times = vec![0; sent];
    for one in seen
        .iter()
        .filter(|one| one.end.is_some_and(|end| end.taken))
    {
        times[number(one)] += 1;
    }
    times
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        // A schedule that does not end is waited for, however short it is.
        max_shrink_iters: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_log_reaches_its_end_in_order(schedule in schedule()) {
        Setup::held().run(async move |stand| {
            let strings = Strings::new();
            let sent = play::<Log>(stand, &strings, &schedule, Strings::committed).await;
            let seen = stand.app().seen();
            // What was taken behind one that was not is read again after a stop.
            assert!(times_taken(&seen, sent).iter().all(|times| *times >= 1));
            is_in_order(&seen, schedule.delivery.order);
            nothing_is_left(stand, &strings, &schedule).await;
        });
    }

    #[test]
    fn an_event_of_a_queue_is_given_again_until_it_is_taken_and_then_never(schedule in schedule()) {
        Setup::held().run(async move |stand| {
            let strings = Strings::new();
            let acked = |strings: &Strings| {
                let answered = strings.answered();
                answered.iter().filter(|(_, ack)| matches!(ack, Ack::Acked(_))).count()
            };
            let sent = play::<Queue>(stand, &strings, &schedule, acked).await;
            assert_eq!(times_taken(&stand.app().seen(), sent), vec![1; sent]);
            let mut is_done = vec![false; sent];
            for (body, ack) in strings.answered() {
                let done = &mut is_done[body.parse::<usize>().unwrap()];
                assert!(!*done, "{body} was acknowledged before: {ack:?}");
                *done = matches!(ack, Ack::Acked(_));
            }
            nothing_is_left(stand, &strings, &schedule).await;
        });
    }

    #[test]
    fn a_signal_is_tried_as_often_as_configured_and_never_after_it_was_taken(schedule in schedule()) {
        Setup::held().run(async move |stand| {
            let strings = Strings::new();
            let answered = |strings: &Strings| strings.answered().len();
            let sent = play::<Signal>(stand, &strings, &schedule, answered).await;
            let most = usize::try_from(schedule.delivery.max_attempts).unwrap().max(1);
            let seen = stand.app().seen();
            for event in 0..sent {
                let visits: Vec<&Seen> = seen.iter().filter(|one| number(one) == event).collect();
                assert!(visits.len() <= most, "{event} came {} times", visits.len());
                let taken = visits.iter().position(|one| one.end.is_some_and(|end| end.taken));
                assert!(taken.is_none_or(|at| at + 1 == visits.len()), "{event} came again");
            }
            nothing_is_left(stand, &strings, &schedule).await;
        });
    }
}
