//! Components that change while the sidecar runs, with the clock in the test's hand.

use std::time::Duration;

use bindery_actors::{Component, DeliveryOptions, Operation, OperationError, Victim};
use bindery_contract::settings::Properties;
use bindery_contract::{Event, Registration, Role};
use bindery_testkit::app::Verdict;
use bindery_testkit::puppet::{Act, Log, Puppet, Strings};
use bindery_testkit::stand::{Setup, Stand, component};

fn puppet() -> Registration {
    Puppet::<Log>::registration()
}

fn version(name: &str, settings: &Properties, roles: &[Role]) -> Component {
    let delivery = DeliveryOptions::default();
    component(name, &puppet(), settings, roles.to_vec(), delivery)
}

async fn output(stand: &Stand, name: &str) -> Strings {
    let strings = Strings::new();
    stand.load_component(version(name, &strings.shared(), &[Role::Output]));
    stand.until_state(name, Role::Output, "Running").await;
    strings
}

async fn input(stand: &Stand, name: &str) -> Strings {
    let strings = Strings::new();
    stand.load_component(version(name, &strings.shared(), &[Role::Input]));
    stand
        .until("a reader", || (strings.readers() == 1).then_some(()))
        .await;
    strings
}

async fn answers(stand: &Stand) {
    let reply = stand.invoke("p", "create", "x", &[]).await.unwrap();
    assert_eq!(reply.unwrap().text(), "x");
}

#[test]
fn an_output_is_exchanged_without_a_failed_call() {
    Setup::held().run(async |stand| {
        let mut old = output(stand, "p").await;
        for round in 0..50 {
            let new = Strings::new();
            // The replicas of threads are exchanged like instances that threads share.
            let settings = if round % 2 == 0 {
                new.per_thread()
            } else {
                new.shared()
            };
            stand.change(&[], vec![version("p", &settings, &[Role::Output])]);
            while new.calls() == 0 {
                answers(stand).await;
                tokio::task::yield_now().await;
            }
            stand
                .until("the old one to close", || (old.closed() > 0).then_some(()))
                .await;
            old = new;
        }
        assert_eq!(stand.core().status().components().len(), 1);
    });
}

#[test]
fn calls_that_are_under_way_finish_before_the_old_output_closes() {
    Setup::held().run(async |stand| {
        let old = output(stand, "p").await;
        old.next_call([Act::Hang]);
        let call = stand.invoke("p", "create", "held", &[]);
        tokio::pin!(call);
        tokio::select! {
            biased;
            _ = &mut call => panic!("it hangs"),
            () = stand.until("the call", || (old.calls() == 1).then_some(())) => {}
        }
        let new = Strings::new();
        stand.change(&[], vec![version("p", &new.shared(), &[Role::Output])]);
        tokio::select! {
            biased;
            _ = &mut call => panic!("it hangs"),
            () = async {
                stand.until("the new one", || (new.opened() == 1).then_some(())).await;
                answers(stand).await;
                stand.clock().sleep(Duration::from_secs(20)).await;
                assert_eq!(old.closed(), 0, "a call holds it");
                stand.clock().sleep(Duration::from_secs(20)).await;
                assert_eq!(old.closed(), 1, "but not for ever");
            } => {}
        }
    });
}

#[test]
fn an_output_goes_on_while_its_next_version_cannot_be_opened() {
    Setup::held().run(async |stand| {
        let (old, new) = (output(stand, "p").await, Strings::new());
        new.next_open([
            Act::Refused("wrong password"),
            Act::Disconnected("nobody there"),
        ]);
        stand.change(&[], vec![version("p", &new.shared(), &[Role::Output])]);
        let pending = || stand.side("p", Role::Output)?.pending;
        let why = stand.until("the refusal", pending).await;
        assert_eq!(&*why, "wrong password");
        answers(stand).await;
        assert_eq!(old.calls(), 1);
        stand
            .until("the next version", || (new.opened() == 1).then_some(()))
            .await;
        stand
            .until("its turn", || pending().is_none().then_some(()))
            .await;
        answers(stand).await;
        assert_eq!((old.calls(), new.calls()), (1, 1));
    });
}

#[test]
fn both_versions_are_tried_when_neither_is_open() {
    Setup::held().run(async |stand| {
        let (old, new) = (output(stand, "p").await, Strings::new());
        new.next_open(std::iter::repeat_n(Act::Disconnected("not yet"), 3));
        stand.change(&[], vec![version("p", &new.shared(), &[Role::Output])]);
        let pending = || stand.side("p", Role::Output)?.pending;
        stand.until("the failure", pending).await;
        // Now the old one breaks too, for good.
        old.next_open(std::iter::repeat_n(Act::Disconnected("gone"), 100));
        old.next_call([Act::Disconnected("gone")]);
        stand
            .until("the next version", || (new.opened() == 1).then_some(()))
            .await;
        answers(stand).await;
        assert_eq!(new.calls(), 1);
    });
}

#[test]
fn a_binding_that_is_not_open_simply_becomes_its_next_version() {
    Setup::held().run(async |stand| {
        let (old, new) = (Strings::new(), Strings::new());
        old.next_open(std::iter::repeat_n(Act::Refused("wrong password"), 100));
        stand.load_component(version("p", &old.shared(), &[Role::Output]));
        stand.until_state("p", Role::Output, "Degraded").await;
        stand.change(&[], vec![version("p", &new.shared(), &[Role::Output])]);
        let began = stand.clock().now();
        answers(stand).await;
        assert_eq!(
            (stand.clock().now() - began).as_secs(),
            0,
            "nobody waits for the next try"
        );
    });
}

#[test]
fn an_input_finishes_what_it_has_before_its_next_version_is_opened() {
    Setup::held().run(async |stand| {
        let strings = input(stand, "p").await;
        stand.app().next([Verdict::Hold]);
        strings.emit_in_order("k", "1");
        stand.app().until(|seen| seen.len() == 1).await;
        stand.change(&[], vec![version("p", &strings.shared(), &[Role::Input])]);
        strings.emit_in_order("k", "2");
        stand.clock().sleep(Duration::from_secs(10)).await;
        assert_eq!((strings.opened(), stand.app().seen().len()), (1, 1));
        stand.app().release();
        stand
            .until("all", || (strings.committed() == 2).then_some(()))
            .await;
        assert_eq!(strings.opened(), 2);
        let seen: Vec<_> = stand
            .app()
            .seen()
            .iter()
            .map(|seen| seen.event.data.clone())
            .collect();
        assert_eq!(seen, ["1", "2"], "neither lost nor twice");
    });
}

#[test]
fn an_input_whose_next_version_cannot_be_opened_goes_on_as_it_was() {
    Setup::held().run(async |stand| {
        let (old, new) = (input(stand, "p").await, Strings::new());
        new.next_open([Act::Refused("no such topic")]);
        stand.change(&[], vec![version("p", &new.shared(), &[Role::Input])]);
        let pending = || stand.side("p", Role::Input)?.pending;
        assert_eq!(
            &*stand.until("it to be refused", pending).await,
            "no such topic"
        );
        old.emit_in_order("k", "1");
        stand
            .until("it", || (old.committed() == 1).then_some(()))
            .await;
        stand.clock().sleep(Duration::from_secs(3600)).await;
        assert_eq!((old.opened(), new.opened()), (2, 0), "it is left in peace");
        stand.operate("p", Operation::Restart).await.unwrap();
        stand
            .until("the next version", || (new.readers() == 1).then_some(()))
            .await;
        assert_eq!(pending(), None);
    });
}

#[test]
fn counters_and_order_in_the_list_survive_a_reload() {
    Setup::held().run(async |stand| {
        let strings = input(stand, "p").await;
        output(stand, "q").await;
        strings.emit_in_order("k", "1");
        stand
            .until("it", || (strings.committed() == 1).then_some(()))
            .await;
        stand.change(&[], vec![version("p", &strings.shared(), &[Role::Input])]);
        stand
            .until("the next version", || {
                (strings.readers() == 2).then_some(())
            })
            .await;
        let board = stand.core().status().components();
        let names: Vec<_> = board.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["p", "q"]);
        let counters = stand
            .side("p", Role::Input)
            .unwrap()
            .input
            .unwrap()
            .counters;
        assert_eq!(counters.taken_count(), 1);
    });
}

#[test]
fn a_component_may_gain_and_lose_a_side() {
    Setup::held().run(async |stand| {
        let strings = input(stand, "p").await;
        let both = [Role::Input, Role::Output];
        stand.change(&[], vec![version("p", &strings.shared(), &both)]);
        stand.until_state("p", Role::Output, "Running").await;
        answers(stand).await;
        stand.change(&[], vec![version("p", &strings.shared(), &[Role::Output])]);
        let gone = || stand.side("p", Role::Input).is_none().then_some(());
        stand.until("the input to go", gone).await;
        answers(stand).await;
    });
}

#[test]
fn what_is_removed_is_closed_and_unknown_and_its_namesake_waits_for_that() {
    Setup::held().run(async |stand| {
        output(stand, "p").await;
        let strings = input(stand, "in").await;
        stand.app().next([Verdict::Hold]);
        strings.emit_in_order("k", "1");
        stand.app().until(|seen| seen.len() == 1).await;
        stand.change(&["p", "in"], Vec::new());
        let error = stand.invoke("p", "create", "", &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "couldn't find output binding p");
        let none = || stand.core().status().components().is_empty().then_some(());
        stand.until("nothing to be listed", none).await;
        stand.change(&[], vec![version("in", &strings.shared(), &[Role::Input])]);
        stand.clock().sleep(Duration::from_secs(10)).await;
        assert_eq!(strings.opened(), 1, "the old one is not gone yet");
        stand.app().release();
        stand
            .until("the new one", || (strings.readers() == 2).then_some(()))
            .await;
        assert_eq!(strings.committed(), 1);
    });
}

#[test]
fn a_paused_output_refuses_calls_at_once_until_it_is_resumed() {
    Setup::held().run(async |stand| {
        let strings = output(stand, "p").await;
        stand.operate("p", Operation::Pause).await.unwrap();
        let began = stand.clock().now();
        let error = stand.invoke("p", "create", "", &[]).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "binding p is paused; bindery resume p lets it go on"
        );
        assert_eq!(stand.clock().now(), began);
        assert_eq!(stand.side("p", Role::Output).unwrap().state, "Paused");
        stand
            .until("it to close", || (strings.closed() == 1).then_some(()))
            .await;
        stand.operate("p", Operation::Resume).await.unwrap();
        answers(stand).await;
    });
}

#[test]
fn a_paused_input_finishes_what_it_has_and_goes_on_where_it_was() {
    Setup::held().run(async |stand| {
        let strings = input(stand, "p").await;
        stand.app().next([Verdict::Hold]);
        strings.emit_in_order("k", "1");
        stand.app().until(|seen| seen.len() == 1).await;
        stand.operate("p", Operation::Pause).await.unwrap();
        strings.emit_in_order("k", "2");
        // Resumed at once: the paused one must close first.
        stand.operate("p", Operation::Resume).await.unwrap();
        stand.clock().sleep(Duration::from_secs(10)).await;
        assert_eq!((strings.opened(), stand.app().seen().len()), (1, 1));
        stand.app().release();
        stand
            .until("all", || (strings.committed() == 2).then_some(()))
            .await;
        assert_eq!(stand.app().seen().len(), 2);
    });
}

#[test]
fn a_pause_survives_a_reload_a_stop_of_all_inputs_and_the_supervisor() {
    Setup::held().run(async |stand| {
        let strings = input(stand, "p").await;
        stand.operate("p", Operation::Pause).await.unwrap();
        let still_paused = async |stand: &Stand| {
            stand.clock().sleep(Duration::from_secs(60)).await;
            let side = stand.side("p", Role::Input).unwrap();
            assert_eq!((side.state, strings.readers()), ("Paused", 1));
        };
        stand.change(&[], vec![version("p", &strings.shared(), &[Role::Input])]);
        still_paused(stand).await;
        stand.stop_inputs(Duration::from_secs(1)).await;
        stand.restart_inputs();
        still_paused(stand).await;
        stand.kill(Victim::Supervisor);
        still_paused(stand).await;
        stand.operate("p", Operation::Resume).await.unwrap();
        stand
            .until("a reader", || (strings.readers() == 2).then_some(()))
            .await;
    });
}

#[test]
fn operations_that_make_no_sense_are_refused() {
    Setup::held().run(async |stand| {
        output(stand, "p").await;
        let operate = async |operation| stand.operate("p", operation).await;
        let conflict = |problem| {
            Err(OperationError::Conflict {
                name: "p".into(),
                problem,
            })
        };
        assert_eq!(operate(Operation::Resume).await, conflict("is not paused"));
        assert_eq!(operate(Operation::Pause).await, Ok(()));
        assert_eq!(
            operate(Operation::Pause).await,
            conflict("is paused already")
        );
        let restart = operate(Operation::Restart).await;
        assert_eq!(restart, conflict("is paused; resume it instead"));
        let unknown = stand.operate("q", Operation::Pause).await;
        assert_eq!(unknown, Err(OperationError::NotFound("q".into())));
    });
}

#[test]
fn a_restart_opens_a_binding_anew_that_was_given_up() {
    Setup::held().run(async |stand| {
        let strings = Strings::new();
        strings.next_open(std::iter::repeat_n(Act::Panic, 6));
        stand.load_component(version("p", &strings.shared(), &[Role::Output]));
        stand.until_state("p", Role::Output, "Failed").await;
        let began = stand.clock().now();
        stand.operate("p", Operation::Restart).await.unwrap();
        stand.until_state("p", Role::Output, "Running").await;
        assert!((stand.clock().now() - began).as_secs() < 1);
        // And one that runs, without a failed call.
        stand.operate("p", Operation::Restart).await.unwrap();
        while strings.opened() == 1 {
            answers(stand).await;
            tokio::task::yield_now().await;
        }
        answers(stand).await;
    });
}

#[test]
fn a_supervisor_that_dies_leaves_the_newest_versions_to_its_successor() {
    Setup::held().run(async |stand| {
        output(stand, "gone").await;
        let (_, new) = (output(stand, "p").await, Strings::new());
        stand.change(
            &["gone"],
            vec![version("p", &new.shared(), &[Role::Output])],
        );
        stand
            .until("the new one", || (new.opened() == 1).then_some(()))
            .await;
        stand.kill(Victim::Supervisor);
        stand
            .until("its successor", || (new.opened() == 2).then_some(()))
            .await;
        answers(stand).await;
        assert!(stand.side("gone", Role::Output).is_none());
    });
}

#[test]
fn an_input_that_comes_while_inputs_are_stopped_waits_for_them() {
    Setup::held().run(async |stand| {
        input(stand, "p").await;
        stand.stop_inputs(Duration::from_secs(1)).await;
        let strings = Strings::new();
        strings.emit(Event::new("1"));
        stand.change(
            &[],
            vec![version("late", &strings.shared(), &[Role::Input])],
        );
        stand.clock().sleep(Duration::from_secs(60)).await;
        assert_eq!(strings.opened(), 0);
        stand.restart_inputs();
        stand
            .until("it", || (strings.committed() == 1).then_some(()))
            .await;
    });
}
