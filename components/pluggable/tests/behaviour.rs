//! What happens to pluggable components, and what becomes of their bindings.

mod support;

use std::os::unix::net::UnixListener;

use bindery_contract::Role;
use bindery_pluggable::Sockets;
use bindery_testkit::app::Verdict;
use bindery_testkit::servers::Outage;
use bindery_testkit::stand::{Stand, on_a_stand};
use bindery_testkit::{CallError, FailureClass, Limits};

use self::support::Component;

const NAME: &str = "subject";

/// Loads the component's type of this name, both sides of it.
fn load(stand: &Stand, component: &Component, type_name: &str) {
    let settings = component.settings("create get fail crash");
    stand.load(NAME, &component.registration(type_name), &settings);
}

async fn call(stand: &Stand, operation: &str) -> Result<String, CallError> {
    let answer = stand.invoke(NAME, operation, "data", &[]).await?;
    Ok(answer.map(|answer| answer.text()).unwrap_or_default())
}

#[test]
fn its_operations_are_those_that_it_lists() {
    let component = Component::started();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &component, "bindings.spool");
        assert_eq!(call(stand, "get").await.unwrap(), "data");
        let error = call(stand, "nothing").await.unwrap_err().to_string();
        assert!(
            error.ends_with("supported operations:create get fail crash"),
            "{error}"
        );
    });
}

#[test]
fn an_error_reads_as_the_reference_writes_it() {
    let component = Component::started();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &component, "bindings.spool");
        let error = call(stand, "fail").await.unwrap_err().to_string();
        assert_eq!(error, "rpc error: code = Unknown desc = it cannot be done");
        assert_eq!(call(stand, "get").await.unwrap(), "data");
    });
}

#[test]
fn it_is_told_what_became_of_an_event() {
    let component = Component::started();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &component, "bindings.inbox");
        stand.app().next([Verdict::Refuse(500)]);
        component.spool().put("one");
        let told = stand.until("the component to be told twice", || {
            let told = component.spool().told();
            (told.lines().count() == 2).then_some(told)
        });
        let told = told.await;
        let mut lines = told.lines();
        let refusal = lines.next().unwrap();
        assert!(
            refusal.starts_with("one: \"\" ") && !refusal.ends_with("<nil>"),
            "{told}"
        );
        assert_eq!(lines.next(), Some("one: \"\" <nil>"));
    });
}

#[test]
fn a_stream_that_ends_while_the_process_lives_is_opened_again() {
    let component = Component::started();
    on_a_stand(Limits::default(), async move |stand| {
        let brief = component.spool().brief();
        load(stand, &component, "bindings.inbox");
        component.spool().put("one");
        stand.app().until(|seen| seen.len() == 1).await;
        // The component has heard of no answer, so the event is still its own.
        drop(brief);
        stand.app().until(|seen| seen.len() == 2).await;
        let told = stand.until("the component to be told", || {
            let told = component.spool().told();
            told.ends_with("<nil>\n").then_some(told)
        });
        let told = told.await;
        assert_eq!(told, "one: \"\" ack has timed out\none: \"\" <nil>\n");
        let side = stand.until_state(NAME, Role::Input, "Running").await;
        let error = side.last_error.unwrap_or_default();
        let says = "failed to receive binding message: rpc error: code = Unknown desc = that was \
                    all for now";
        assert!(error.is_empty() || error.contains(says), "{error}");
    });
}

#[test]
fn it_is_prepared_anew_after_it_crashed() {
    let mut component = Component::started();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &component, "bindings.spool");
        assert_eq!(call(stand, "get").await.unwrap(), "data");
        let error = call(stand, "crash").await.unwrap_err().to_string();
        assert!(
            error.starts_with("rpc error: code = Unavailable desc = "),
            "{error}"
        );
        for role in [Role::Input, Role::Output] {
            stand.until_state(NAME, role, "Degraded").await;
        }
        component.spool().put("while it was away");
        component.stop();
        component.start();
        let answer = stand
            .invoke(NAME, "get", "data", &[])
            .await
            .unwrap()
            .unwrap();
        // A process of its own: prepared once for each side, that it shares.
        let prepared = answer.metadata.iter().find(|(name, _)| name == "prepared");
        assert!(
            prepared.is_some_and(|(_, times)| times == "1"),
            "{prepared:?}"
        );
        stand.app().until(|seen| !seen.is_empty()).await;
    });
}

#[test]
fn it_is_connected_when_it_comes() {
    let mut component = Component::absent();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &component, "bindings.spool");
        let side = stand.until_state(NAME, Role::Input, "Degraded").await;
        assert_eq!(side.failure, Some(FailureClass::Disconnected));
        let error = side.last_error.unwrap();
        assert!(
            error.contains("there is no component bindings.spool: no socket"),
            "{error}"
        );
        component.spool().put("one");
        component.start();
        stand.app().until(|seen| !seen.is_empty()).await;
        assert_eq!(call(stand, "get").await.unwrap(), "data");
    });
}

#[test]
fn a_side_that_it_does_not_have_rests() {
    let component = Component::started();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &component, "bindings.outbox");
        stand.until_state(NAME, Role::Input, "Running").await;
        assert_eq!(call(stand, "get").await.unwrap(), "data");
    });
    let component = Component::started();
    on_a_stand(Limits::default(), async move |stand| {
        load(stand, &component, "bindings.inbox");
        let error = call(stand, "create").await.unwrap_err().to_string();
        assert_eq!(error, "the pluggable component offers no output binding");
        component.spool().put("one");
        stand.app().until(|seen| !seen.is_empty()).await;
    });
}

#[test]
fn a_socket_that_nobody_serves_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(folder.path().join("stale.sock")).unwrap());
    let silent = UnixListener::bind(folder.path().join("silent.sock")).unwrap();
    on_a_stand(Limits::default(), async move |stand| {
        for (name, says) in [("stale", "nobody listens"), ("silent", "nobody answers")] {
            let registration = Sockets::of(folder.path()).registration(&format!("bindings.{name}"));
            stand.load(name, &registration, &[("a", "b")].into_iter().collect());
            let side = stand.until_state(name, Role::Output, "Degraded").await;
            assert_eq!(side.failure, Some(FailureClass::Disconnected));
            let error = side.last_error.unwrap();
            assert!(error.contains(says), "{error}");
        }
        drop(silent);
    });
}
