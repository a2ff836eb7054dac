//! Pluggable components that are not there (runtime §8): what is loaded, what is said, and that
//! nothing waits for them. `components/pluggable` tests those that are.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Component, Running, binary, resources};

const VARIABLE: &str = "DAPR_COMPONENTS_SOCKETS_FOLDER";

struct Case {
    folder: tempfile::TempDir,
    sockets: PathBuf,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sockets = folder.path().join("sockets");
        std::fs::create_dir(&sockets).unwrap();
        Self { folder, sockets }
    }

    fn check(&self, components: &[Component<'_>]) -> (bool, String) {
        let folder = resources(self.folder.path(), components);
        let mut check = Command::new(binary());
        check.arg("check").arg(folder).env(VARIABLE, &self.sockets);
        let output = check.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said)
    }
}

#[test]
fn nothing_waits_for_a_component_that_does_not_answer() {
    let case = Case::new();
    drop(UnixListener::bind(case.sockets.join("stale.sock")).unwrap());
    let _silent = UnixListener::bind(case.sockets.join("silent.sock")).unwrap();
    let notes = case.sockets.join("notes.txt");
    std::fs::write(&notes, "no socket").unwrap();
    let root = case.folder.path().join("root").display().to_string();
    let components = [
        ("a", "bindings.stale", &[("key", "value")][..]),
        ("b", "bindings.silent", &[("key", "value")]),
        ("c", "bindings.absent", &[("key", "value")]),
        ("files", "bindings.localstorage", &[("rootPath", &root)]),
    ];
    let folder = resources(case.folder.path(), &components);
    let sockets = case.sockets.display().to_string();
    let mut bindery = Running::sidecar_with(&folder, &[], &[(VARIABLE, &sockets)]);
    bindery.wait_until_ready();
    let create = r#"{"operation": "create", "metadata": {"fileName": "a"}, "data": 1}"#;
    assert_eq!(bindery.invoke("files", create).status, 200);
    let answer = bindery.invoke("a", r#"{"operation": "create"}"#);
    assert_eq!(answer.status, 500);
    assert!(
        answer.text().contains("nobody listens"),
        "{}",
        answer.text()
    );
    let log = bindery.log();
    assert!(log.contains("couldn't find binding c (bindings.absent/v1): no pluggable component"));
    let says = format!("could not use socket for file {}", notes.display());
    let mut lines = log
        .lines()
        .filter(|line| line.contains("could not use socket"));
    let line = lines.next().unwrap();
    assert!(
        line.contains(&says) && line.contains("level=warning"),
        "{line}"
    );
    assert_eq!(lines.next(), None, "the sockets are used");
    assert_eq!(bindery.interrupt(), Some(0));
}

#[test]
fn a_type_that_may_come_is_a_warning_and_one_that_never_will_an_error() {
    let case = Case::new();
    let (passed, said) = case.check(&[("orders", "bindings.absent", &[("key", "value")])]);
    assert!(
        passed && said.contains("it is connected when it comes"),
        "{said}"
    );
    let (passed, said) = case.check(&[("orders", "bindings.kafak", &[("key", "value")])]);
    assert!(
        passed && said.contains("did you mean bindings.kafka?"),
        "{said}"
    );
    let (passed, said) = case.check(&[("orders", "bindings.aws.s3", &[("key", "value")])]);
    assert!(
        !passed && said.contains("this version of Bindery does not"),
        "{said}"
    );
}

#[test]
fn a_component_takes_the_place_of_a_binding_of_its_name() {
    let case = Case::new();
    // Without its schedule, cron itself would be an error.
    let components: [Component<'_>; 1] = [("tick", "bindings.cron", &[("key", "value")])];
    assert!(!case.check(&components).0);
    let _socket = UnixListener::bind(case.sockets.join("cron.sock")).unwrap();
    let (passed, said) = case.check(&components);
    assert!(passed, "{said}");
}
