//! The whole path, as a user would run it: cron → lane → delivery → app over HTTP →
//! `POST /v1.0/bindings/files` → router → localstorage, started by
//! `bindery run … -- python3 app.py`.

use std::time::Duration;

use crate::support::{Running, resources, wait_for};

#[test]
fn an_event_reaches_the_app_and_its_answer_reaches_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let orders = folder.path().join("orders");
    let components = resources(
        folder.path(),
        &[
            ("tick", "bindings.cron", &[("schedule", "@every 200ms")]),
            (
                "files",
                "bindings.localstorage",
                &[("rootPath", orders.to_str().unwrap())],
            ),
        ],
    );
    let mut bindery = Running::run(&components, "python3 tests/apps/orders.py");
    wait_for("three orders", Duration::from_secs(20), || {
        (1..=3).all(|number| {
            let path = orders.join(format!("order-{number}.json"));
            std::fs::read_to_string(path)
                .is_ok_and(|text| text == format!("{{\"orderId\":{number}}}"))
        })
    });
    assert_eq!(bindery.get("/v1.0/healthz").status, 204);
    assert_eq!(bindery.interrupt(), Some(0), "{}", bindery.log());
}

#[test]
fn the_exit_code_is_the_apps_and_the_sidecar_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let mut bindery = Running::run(&components, "sh -c 'exit 7'");
    assert_eq!(bindery.wait(), Some(7), "{}", bindery.log());
}
