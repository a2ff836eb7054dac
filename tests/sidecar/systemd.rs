//! What systemd is told (`sd_notify(3)`); the test is systemd.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::support::{App, Running, free_port, resources, signal};

/// A socket as systemd has one.
struct Systemd(UnixDatagram);

impl Systemd {
    fn new(socket: UnixDatagram) -> Self {
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self(socket)
    }

    /// The next message, signs of life and mere status lines left out.
    fn next(&self) -> String {
        loop {
            let message = self.any();
            if !message.starts_with("WATCHDOG=1") && !message.starts_with("STATUS=") {
                return message;
            }
        }
    }

    fn any(&self) -> String {
        let mut room = [0; 4096];
        let length = self.0.recv(&mut room).expect("a message comes");
        String::from_utf8(room[..length].to_vec()).unwrap()
    }

    /// Waits for a message that is exactly this.
    fn wait_for(&self, message: &str) {
        while self.any() != message {}
    }
}

#[test]
fn systemd_is_told_of_start_reload_life_and_stop_in_this_order() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let path = folder.path().join("notify");
    let systemd = Systemd::new(UnixDatagram::bind(&path).unwrap());
    let port = free_port();
    let env = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "100000"),
    ];
    let mut bindery = Running::sidecar_with(&components, &["--app-port", &port.to_string()], &env);
    assert_eq!(systemd.any(), "STATUS=Opening the bindings");
    assert_eq!(systemd.any(), "STATUS=Waiting for the app");
    // A reload while it starts must not say that the start is over.
    signal(bindery.id(), "HUP");
    bindery.wait_for_log("Received signal 'hangup'");
    assert!(!bindery.log().contains("Status: Running"));
    let _app = App::start(port, |_| (200, String::new()));
    assert_eq!(systemd.any(), "READY=1\nSTATUS=Running");
    bindery.wait_for_log("Status: Running");
    systemd.wait_for("WATCHDOG=1");
    systemd.wait_for("WATCHDOG=1");

    signal(bindery.id(), "HUP");
    let reloading = systemd.next();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let since = since.and_then(|rest| rest.split('\n').next());
    assert!(
        since.is_some_and(|since| since.parse::<u64>().is_ok_and(|since| since > 0)),
        "{reloading}"
    );
    assert_eq!(systemd.next(), "READY=1\nSTATUS=Running");

    std::fs::write(components.join("bad.yaml"), "kind: Component\n\tspec: {}\n").unwrap();
    signal(bindery.id(), "HUP");
    assert!(systemd.next().starts_with("RELOADING=1\n"));
    let again = systemd.next();
    assert!(again.starts_with("READY=1\nSTATUS=Running, but"), "{again}");

    signal(bindery.id(), "TERM");
    assert_eq!(systemd.next(), "STOPPING=1\nSTATUS=Shutting down");
    assert_eq!(bindery.wait(), Some(0));
}

#[test]
fn an_abstract_name_is_a_socket_too_and_a_watchdog_for_another_process_is_not_ours() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let name = format!("bindery-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let systemd = Systemd::new(UnixDatagram::bind_addr(&address).unwrap());
    let env = [
        ("NOTIFY_SOCKET", &*format!("@{name}")),
        ("WATCHDOG_USEC", "1000"),
        ("WATCHDOG_PID", "1"),
    ];
    let mut bindery = Running::sidecar_with(&components, &[], &env);
    systemd.wait_for("READY=1\nSTATUS=Running");
    bindery.get("/v1.0/healthz");
    signal(bindery.id(), "TERM");
    assert_eq!(systemd.any(), "STOPPING=1\nSTATUS=Shutting down");
    assert_eq!(bindery.wait(), Some(0));
}

#[test]
fn with_run_the_app_does_not_inherit_what_is_meant_for_the_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = Systemd::new(UnixDatagram::bind(&path).unwrap());
    let mut command = std::process::Command::new(crate::support::binary());
    command
        .args(["run", "--app-id", "test", "--dapr-http-port"])
        .args([&free_port().to_string(), "--dapr-grpc-port"])
        .args([&free_port().to_string(), "--"])
        .args([
            "sh",
            "-c",
            "echo \"socket: <$NOTIFY_SOCKET>\"; exec sleep 60",
        ])
        .env("NOTIFY_SOCKET", &path);
    let mut bindery = Running::start(command, 0, 0);
    assert_eq!(systemd.next(), "READY=1\nSTATUS=Running");
    bindery.wait_for_log("socket: <>");
    signal(bindery.id(), "TERM");
    assert_eq!(systemd.next(), "STOPPING=1\nSTATUS=Shutting down");
    bindery.wait();
}

#[test]
fn a_socket_that_is_not_there_is_a_warning_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    for name in ["/does/not/exist", "what:is:this"] {
        let mut bindery = Running::sidecar_with(&components, &[], &[("NOTIFY_SOCKET", name)]);
        bindery.wait_until_ready();
        bindery.wait_for_log("systemd ");
        assert_eq!(bindery.interrupt(), Some(0), "{name}");
    }
}
