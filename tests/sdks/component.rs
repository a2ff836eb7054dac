//! `github.com/dapr-sandbox/components-go-sdk`: a component in a process of its own, which comes
//! after the sidecar, dies, and comes back.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::installed;
use crate::support::{App, Running, free_port, resources, wait_for};

/// The component's process; dropped, it is killed.
struct Component(Child);

impl Component {
    fn start(sockets: &Path) -> Self {
        let program = installed("BINDERY_TEST_SDK_COMPONENT", "sdk-component/app");
        let mut command = Command::new(program);
        command.env("DAPR_COMPONENT_SOCKETS_FOLDER", sockets);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_component_comes_late_dies_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (sockets, spool) = (folder.path().join("sockets"), folder.path().join("spool"));
    std::fs::create_dir(&sockets).unwrap();
    std::fs::create_dir(&spool).unwrap();
    let settings = [
        ("folder", spool.to_str().unwrap()),
        ("operations", "create get"),
    ];
    let components = resources(folder.path(), &[("orders", "bindings.spool", &settings)]);
    let port = free_port();
    let app = App::start(port, |_| (200, "\"taken\"".into()));
    let bindery = Running::sidecar_with(
        &components,
        &["--app-port", &port.to_string()],
        &[("DAPR_COMPONENTS_SOCKETS_FOLDER", sockets.to_str().unwrap())],
    );
    bindery.wait_until_ready();
    assert!(
        bindery
            .log()
            .contains("no pluggable component of this type is in")
    );

    let event = |name: &str| {
        let file = spool.join(name);
        std::fs::write(
            &file,
            r#"{"data": "\"an order\"", "metadata": {"key": "7"}}"#,
        )
        .unwrap();
        std::fs::rename(&file, file.with_extension("json")).unwrap();
    };
    let taken = || {
        let told = std::fs::read_to_string(spool.with_extension("told")).unwrap_or_default();
        told.matches("\"an order\": \"\\\"taken\\\"\" <nil>")
            .count()
    };
    let call = || {
        let body = r#"{"operation": "get", "data": "hello", "metadata": {"key": "8"}}"#;
        let answer = bindery.invoke("orders", body);
        assert_eq!((answer.status, answer.text().as_str()), (200, "\"hello\""));
        assert_eq!(answer.header("metadata.key"), Some("8"));
    };
    for (name, times) in [("one", 1), ("two", 2)] {
        // `kill -9` of the one before left the files of its sockets behind.
        let _component = Component::start(&sockets);
        event(name);
        wait_for("the event to be taken", Duration::from_secs(60), || {
            taken() == times
        });
        call();
    }
    let events = app
        .seen()
        .into_iter()
        .filter(|request| request.method == "POST");
    let events: Vec<_> = events.collect();
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.header("key") == Some("7")));
    assert!(bindery.log().contains(
        "pluggable component 'spool' was successfully registered for \
         'dapr.proto.components.v1.InputBinding'"
    ));
}
