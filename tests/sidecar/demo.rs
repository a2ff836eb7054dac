//! `bindery demo`, as the README shows it.

use std::process::Command;

use crate::support::{Running, binary};

#[test]
fn the_demo_shows_every_step_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command
        .args(["demo", "--for", "9s"])
        .env("TMPDIR", folder.path());
    let mut demo = Running::start(command, 0, 0);
    assert_eq!(demo.wait(), Some(0), "{}", demo.log());
    let log = demo.log();
    for step in [
        "new-order fired; the app makes order 1",
        "POST /v1.0/bindings/orders answered 200 OK {\"fileName\":\"order-1.json\"}",
        "shaky    panics now, on purpose",
        "shaky    is back: Running again",
        "curl -s -X POST localhost:",
    ] {
        assert!(log.contains(step), "{step:?} in:\n{log}");
    }
    let back = log.find("shaky    is back").unwrap();
    assert!(
        log[back..].contains("new-order fired"),
        "nothing else noticed"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn control_c_ends_the_demo_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.arg("demo").env("TMPDIR", folder.path());
    let mut demo = Running::start(command, 0, 0);
    demo.wait_for_log("the app makes order 1");
    assert_eq!(demo.interrupt(), Some(0), "{}", demo.log());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
