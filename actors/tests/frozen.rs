//! What becomes of a binding that does not get done: a task that is stuck, a thread that is
//! blocked. Blocked threads take real time, so their limits are short here.

use std::sync::Arc;
use std::time::Duration;

use bindery_actors::{Call, FailureClass, Limits};
use bindery_contract::{Ack, Event, Nack, Registration, Role};
use bindery_testkit::app::Verdict;
use bindery_testkit::puppet::{Act, Gate, Log, Puppet, Strings};
use bindery_testkit::stand::{Setup, Stand};

fn puppet() -> Registration {
    Puppet::<Log>::registration()
}

async fn answers(stand: &Stand, binding: &str) {
    let reply = stand.invoke(binding, "create", "hello", &[]).await.unwrap();
    assert_eq!(reply.unwrap().text(), "hello");
}

fn impatient() -> Limits {
    Limits {
        workers: 2,
        blocked_bindings: Duration::from_millis(600),
        ..Limits::default()
    }
}

#[test]
fn an_opening_that_never_ends_is_given_up_and_tried_again() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open([Act::Hang, Act::Hang]);
        let began = stand.clock().now();
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        let side = stand.until_state("p", Role::Output, "Degraded").await;
        assert_eq!(side.failure, Some(FailureClass::Stuck));
        let error = side.last_error.unwrap();
        assert_eq!(
            &*error,
            "init timeout for component p (bindings.puppet.log/v1)"
        );
        let took = stand.clock().now() - began;
        assert_eq!(took.as_secs(), 5, "its initTimeout");
        stand.until_state("p", Role::Output, "Running").await;
        answers(stand, "p").await;
    });
}

#[test]
fn a_reader_that_does_not_stop_is_given_up_and_its_late_acknowledgement_refused() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.emit(Event::new("held"));
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Input]);
        stand.app().next([Verdict::Hold]);
        stand.app().until(|seen| seen.len() == 1).await;
        let began = stand.clock().now();
        stand.stop_inputs(Duration::from_secs(3)).await;
        let took = stand.clock().now() - began;
        assert!(took <= Duration::from_secs(4), "its deadline: {took:?}");
        stand.app().release();
        stand.restart_inputs();
        let again = || (strings.committed() == 1).then_some(());
        stand.until("it to be read again", again).await;
        assert_eq!(stand.app().seen().len(), 2, "what was given up comes again");
        let acked = strings
            .answered()
            .iter()
            .filter(|(_, ack)| matches!(ack, Ack::Acked(_)))
            .count();
        assert_eq!(acked, 1, "the late acknowledgement counts for nothing");
    });
}

#[test]
fn a_blocked_bindings_thread_is_replaced_and_innocent_bindings_move() {
    Setup::own_thread(impatient()).run(async |stand| {
        for blocks in ["open", "read"] {
            let (innocent, guilty, gate) = (Strings::new(), Strings::new(), Gate::new());
            let name = |who: &str| format!("{who}-{blocks}");
            stand.load(&name("innocent"), &puppet(), &innocent.shared());
            stand
                .until_state(&name("innocent"), Role::Input, "Running")
                .await;
            innocent.emit(Event::new("before"));
            stand
                .until("the first event", || {
                    (innocent.committed() == 1).then_some(())
                })
                .await;

            match blocks {
                "open" => guilty.next_open([Act::Block(gate.clone())]),
                _ => guilty.next_read([Act::Block(gate.clone())]),
            }
            stand.load_sides(
                &name("guilty"),
                &puppet(),
                &guilty.shared(),
                vec![Role::Input],
            );
            let blocked = || {
                let side = stand.side(&name("guilty"), Role::Input)?;
                side.last_error
                    .filter(|error| error.contains("blocked its thread"))
            };
            stand.until("the guilty one to be found", blocked).await;

            innocent.emit(Event::new("after"));
            stand
                .until("the second event", || {
                    (innocent.committed() == 2).then_some(())
                })
                .await;
            answers(stand, &name("innocent")).await;
            stand
                .until_state(&name("guilty"), Role::Input, "Running")
                .await;
            guilty.emit(Event::new("at last"));
            stand
                .until("its own event", || (guilty.committed() == 1).then_some(()))
                .await;
            gate.open();
        }
    });
}

#[test]
fn a_thread_that_wakes_up_late_can_acknowledge_nothing() {
    Setup::own_thread(impatient()).run(async |stand| {
        let (strings, guilty, gate) = (Strings::new(), Strings::new(), Gate::new());
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Input]);
        stand.until_state("p", Role::Input, "Running").await;
        stand.app().next([Verdict::Hold]);
        strings.emit(Event::new("held"));
        stand.app().until(|seen| seen.len() == 1).await;
        guilty.next_open([Act::Block(gate.clone())]);
        stand.load_sides("guilty", &puppet(), &guilty.shared(), vec![Role::Output]);
        // The reader's thread is blocked while its event is at the app; a fresh one reads again.
        stand.app().until(|seen| seen.len() == 2).await;
        stand
            .until("it to be acknowledged", || {
                (strings.committed() == 1).then_some(())
            })
            .await;
        stand.app().release();
        gate.open();
        // It hears that it is fenced, or its thread ends before it can.
        let fenced = Ack::Nacked(Nack::Fenced);
        let heard = || strings.answered().iter().any(|(_, ack)| *ack == fenced);
        let over = || (heard() || strings.readers_gone() == 1).then_some(());
        stand.until("the late reader to be over", over).await;
        let acked = |(_, ack): &(_, Ack)| matches!(ack, Ack::Acked(_));
        assert_eq!(
            strings.answered().iter().filter(|one| acked(one)).count(),
            1
        );
        assert_eq!(strings.committed(), 1);
    });
}

#[test]
fn three_blocked_threads_park_the_binding_for_good() {
    Setup::own_thread(impatient()).run(async |stand| {
        let (strings, gate) = (Strings::new(), Gate::new());
        strings.next_open(std::iter::repeat_n(Act::Block(gate.clone()), 3));
        stand.load_sides("p", &puppet(), &strings.shared(), vec![Role::Output]);
        let side = stand.until_state("p", Role::Output, "Failed").await;
        assert_eq!(side.next_try, None, "each try could cost a thread");
        assert_eq!(
            side.last_error.as_deref(),
            Some("blocked its thread 3 times")
        );
        gate.open();
    });
}

#[test]
fn a_call_that_blocks_its_worker_is_reported_by_name_while_other_workers_serve() {
    Setup::new(impatient()).run(async |stand| {
        let (guilty, innocent, gate) = (Strings::new(), Strings::new(), Gate::new());
        stand.load_sides(
            "guilty",
            &puppet(),
            &guilty.per_thread(),
            vec![Role::Output],
        );
        stand.load_sides(
            "innocent",
            &puppet(),
            &innocent.per_thread(),
            vec![Role::Output],
        );
        answers(stand, "innocent").await;
        answers(stand, "guilty").await;

        let other = actix_rt::Arbiter::new();
        let core = Arc::clone(stand.core());
        guilty.next_call([Act::Block(gate.clone())]);
        let began = stand.clock().now();
        other.spawn(async move {
            core.work_here();
            let call = Call {
                binding: "guilty".into(),
                operation: "create".into(),
                ..Call::default()
            };
            let _ = core.invoke(call).await;
        });
        let named = || {
            let side = stand.side("guilty", Role::Output)?;
            side.last_error
                .filter(|error| error.contains("blocks worker thread"))
        };
        stand.until("it to be named", named).await;
        let took = stand.clock().now() - began;
        assert!(
            took < Duration::from_millis(1500),
            "within a second or so: {took:?}"
        );
        answers(stand, "innocent").await;
        gate.open();
        other.stop();
    });
}
