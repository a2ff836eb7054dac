//! The command line (runtime §6.9, §9): what it takes, what it says, how it ends.

use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{App, Running, binary, free_port, resources, signal, wait_for};

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_has_examples_and_a_version_is_a_version() {
    for command in [
        &["--help"][..],
        &["run", "--help"],
        &["demo", "--help"],
        &["install", "--help"],
        &["--app-id", "x", "--help"],
    ] {
        let output = run(command);
        assert!(output.status.success(), "{command:?}");
        assert!(text(&output.stdout).contains("Examples:"), "{command:?}");
    }
    assert_eq!(
        text(&run(&["--version"]).stdout),
        format!("bindery {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn under_daprds_name_it_is_daprd() {
    let folder = tempfile::tempdir().unwrap();
    let daprd = folder.path().join("daprd");
    std::os::unix::fs::symlink(binary(), &daprd).unwrap();
    let output = Command::new(&daprd).arg("--version").output().unwrap();
    let version = text(&output.stdout);
    assert_eq!(version.trim().split('.').count(), 3, "bare: {version}");
    let output = Command::new(&daprd).args(["run"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("parameter app-id cannot be empty"),
        "no subcommands"
    );
}

#[test]
fn an_unknown_flag_is_named_and_ends_with_2() {
    for arguments in [
        &["--no-such-flag"][..],
        &["--app-id", "x", "--dapr-http-port", "high"],
        &["run", "--nope"],
        &["nonsense"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains("Usage:") || said.contains("--help"), "{said}");
    }
    assert!(
        text(&run(&["--app-idd", "x"]).stderr).contains("--app-id"),
        "did you mean"
    );
}

#[test]
fn what_can_never_work_ends_with_1_and_one_fatal_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none");
    let missing = missing.to_str().unwrap();
    for (arguments, says) in [
        (&["--app-id="][..], "parameter app-id cannot be empty"),
        (&["--app-id", "a.b"], "parameter app-id cannot contain dots"),
        (
            &["--app-id", "x", "--dapr-http-port", "0"],
            "conflicts with 'app-port'",
        ),
        (
            &["--app-id", "x", "--log-level", "loud"],
            "invalid value for --log-level: loud",
        ),
        (
            &["--app-id", "x", "--mode", "kubernetes"],
            "--mode=standalone",
        ),
        (
            &["--app-id", "x", "--max-body-size", "big"],
            "--max-body-size",
        ),
        (
            &["--app-id", "x", "--app-protocol", "smoke"],
            "invalid value for 'app-protocol': smoke",
        ),
        (
            &["--app-id", "x", "--resources-path", missing],
            "no such file or directory",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stdout);
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(said.contains("level=fatal"), "{said}");
    }
}

#[test]
fn every_flag_of_the_reference_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, "kind: Configuration\nspec: {}\n").unwrap();
    let flags = "--mode standalone --dapr-internal-grpc-port= \
        --dapr-internal-grpc-listen-address= --dapr-public-port= --dapr-public-listen-address= \
        --app-protocol http --app-channel-address 127.0.0.1 --app-ssl=false --app-max-concurrency -1 \
        --app-binding-options-timeout 3s --enable-app-health-check=false --app-health-check-path /h \
        --app-health-probe-interval 5 --app-health-probe-timeout 500 --app-health-threshold 3 \
        --max-body-size 4Mi --dapr-http-max-request-size 4 --read-buffer-size 4Ki \
        --dapr-http-read-buffer-size 4 --dapr-graceful-shutdown-seconds 5 --enable-metrics=false \
        --metrics-port 9091 --metrics-listen-address 127.0.0.1 --enable-profiling=false \
        --profile-port 7778 --enable-api-logging=false --log-level debug --log-as-json=false \
        --allowed-origins * --disable-init-endpoints config --hot-reload-reconcile-interval 0 \
        --enable-mtls=false --sentry-address x --control-plane-address x \
        --control-plane-trust-domain x --control-plane-namespace x \
        --sentry-request-jwt-audiences x --placement-host-address x --scheduler-host-address x \
        --scheduler-job-streams 3 --actors-disseminate-timeout 30s --actors-service x \
        --reminders-service x --disable-builtin-k8s-secret-store --components-path c \
        -dapr-listen-addresses 127.0.0.1 true";
    let mut flags: Vec<&str> = flags.split_whitespace().collect();
    flags.splice(..0, ["--config", config.to_str().unwrap()]);
    let mut bindery = Running::sidecar(&components, &flags);
    bindery.wait_until_ready();
    let log = bindery.log();
    assert!(
        log.contains("Flag --components-path has been deprecated, use --resources-path"),
        "{log}"
    );
    assert!(
        log.contains("these words belong to no flag and are ignored: true"),
        "{log}"
    );
    assert!(
        log.contains("dapr initialized. Status: Running. Init Elapsed "),
        "{log}"
    );
    assert_eq!(bindery.interrupt(), Some(0), "{}", bindery.log());
}

/// The one that can be built for tests is of version 1.12 (`tests/sdks/cli.rs`).
#[test]
fn what_newer_versions_of_daprs_cli_pass_is_taken_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let flags = "--app-protocol http --log-level info --app-max-concurrency -1 \
        --placement-host-address localhost:50005 --scheduler-host-address localhost:50006 \
        --max-body-size 4Mi --read-buffer-size 4Ki --app-port 0 --profile-port -1 \
        --metrics-port 0 --enable-api-logging";
    let port = free_port().to_string();
    let mut flags: Vec<&str> = flags.split_whitespace().collect();
    flags.extend(["--dapr-internal-grpc-port", &port]);
    let mut bindery = Running::sidecar(&components, &flags);
    bindery.wait_until_ready();
    assert_eq!(bindery.interrupt(), Some(0), "{}", bindery.log());
    for word in ["deprecated", "no effect", "ignored", "level=error"] {
        assert!(!bindery.log().contains(word), "{word} in {}", bindery.log());
    }
}

#[test]
fn waiting_ends_when_the_sidecar_can_be_called() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let bindery = Running::sidecar(&components, &[]);
    let output = run(&["--wait", "--dapr-http-port", &bindery.http_port.to_string()]);
    assert!(output.status.success());
    assert_eq!(bindery.get("/v1.0/healthz/outbound").status, 204);
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let first = Running::sidecar(&components, &[]);
    first.wait_until_ready();
    let free = free_port().to_string();
    for (http, grpc, flag) in [
        (
            first.http_port.to_string(),
            free.clone(),
            "--dapr-http-port",
        ),
        (free, first.grpc_port.to_string(), "--dapr-grpc-port"),
    ] {
        let second = [
            "--app-id",
            "second",
            "--enable-metrics=false",
            "--dapr-http-port",
            &http,
        ];
        let output = run(&[&second[..], &["--dapr-grpc-port", &grpc]].concat());
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stdout);
        let taken = if flag == "--dapr-http-port" {
            &http
        } else {
            &grpc
        };
        assert!(said.contains(taken) && said.contains(flag), "{said}");
    }
}

#[test]
fn signals_end_it_cleanly_also_while_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    for name in ["INT", "TERM"] {
        let mut bindery = Running::sidecar(&components, &[]);
        bindery.wait_until_ready();
        signal(bindery.id(), name);
        assert_eq!(bindery.wait(), Some(0), "{}", bindery.log());
        let log = bindery.log();
        for line in [
            "Dapr is shutting down",
            "Dapr runtime stopped",
            "Daprd shutdown gracefully",
        ] {
            assert!(log.contains(line), "{line} is not in:\n{log}");
        }
    }
    // Waiting for its app, which never comes.
    let mut bindery = Running::sidecar(&components, &["--app-port", &free_port().to_string()]);
    bindery.wait_for_log("This will block until the app is listening on that port.");
    assert_eq!(bindery.get("/v1.0/healthz/outbound").status, 204);
    assert_eq!(bindery.get("/v1.0/healthz").status, 500);
    assert_eq!(bindery.interrupt(), Some(0), "{}", bindery.log());
}

#[test]
fn log_lines_are_the_references_as_text_as_json_and_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let mut bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    bindery.interrupt();
    let log = bindery.log();
    let line = log
        .lines()
        .find(|line| line.contains("Status: Running"))
        .unwrap();
    assert!(line.starts_with("time=\"20"), "{line}");
    assert!(
        line.contains(" level=info msg=\"dapr initialized. Status: Running. "),
        "{line}"
    );
    assert!(line.contains(" app_id=test instance="), "{line}");
    assert!(line.contains(" scope=dapr.runtime type=log ver="), "{line}");

    let mut bindery = Running::sidecar(&components, &["--log-as-json"]);
    bindery.wait_until_ready();
    bindery.interrupt();
    for line in bindery.log().lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect(line);
        for key in [
            "app_id", "instance", "level", "msg", "scope", "time", "type", "ver",
        ] {
            assert!(entry[key].is_string(), "{key} in {line}");
        }
    }

    let file = folder.path().join("log");
    let mut bindery = Running::sidecar(&components, &["--log-file", file.to_str().unwrap()]);
    bindery.wait_until_ready();
    bindery.interrupt();
    assert_eq!(bindery.log(), "");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("Daprd shutdown gracefully")
    );
}

#[test]
fn lines_that_tools_wait_for_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    let files = ("files", "bindings.localstorage", &settings[..]);
    let components = resources(folder.path(), &[files]);
    let port = free_port();
    let _app = App::start(port, |_| (200, String::new()));
    let flags = ["--app-port", &port.to_string(), "--max-body-size", "5k"];
    let mut bindery = Running::sidecar_with(&components, &flags, &[("DAPR_API_TOKEN", "t")]);
    bindery.wait_until_ready();
    let (http, grpc) = (bindery.http_port, bindery.grpc_port);
    bindery.interrupt();
    let log = bindery.log();
    let lines = [
        "Starting Dapr Runtime -- version ".to_owned(),
        "Loading components…".to_owned(),
        "successful init for output binding (files (bindings.localstorage/v1))".to_owned(),
        "Component loaded: files (bindings.localstorage/v1)".to_owned(),
        "All outstanding components processed".to_owned(),
        format!("API gRPC server is running on port {grpc}"),
        "Enabled token authentication on gRPC server".to_owned(),
        format!("HTTP server is running on port {http}"),
        "Enabled token authentication on HTTP server".to_owned(),
        "The request body size parameter is: 5000 bytes".to_owned(),
        format!("application protocol: http. waiting on port {port}.  This will block until"),
        format!("application discovered on port {port}"),
        "dapr initialized. Status: Running. Init Elapsed ".to_owned(),
        "Received signal 'interrupt'; beginning shutdown".to_owned(),
        "Dapr is shutting down".to_owned(),
        "Shutting down component files (bindings.localstorage/v1)".to_owned(),
        format!("Closing HTTP server 127.0.0.1:{http}…"),
        "Dapr runtime stopped".to_owned(),
        "Daprd shutdown gracefully".to_owned(),
    ];
    for line in lines {
        assert!(
            log.contains(&format!("msg=\"{line}")),
            "{line:?} in:\n{log}"
        );
    }
}

#[test]
fn what_does_not_end_within_the_grace_time_is_left_and_the_exit_code_is_1() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("schedule", "@every 100ms"), ("direction", "input")];
    let tick = ("tick", "bindings.cron", &settings[..]);
    let components = resources(folder.path(), &[tick]);
    let port = free_port();
    let app = App::start(port, |request| {
        if request.method == "POST" {
            std::thread::sleep(Duration::from_secs(8));
        }
        (200, String::new())
    });
    let port = port.to_string();
    let flags = ["--app-port", &port, "--dapr-graceful-shutdown-seconds", "1"];
    let mut bindery = Running::sidecar(&components, &flags);
    wait_for("an event", Duration::from_secs(20), || {
        !app.seen_with("POST").is_empty()
    });
    assert_eq!(bindery.interrupt(), Some(1), "{}", bindery.log());
    let line = "Fatal error from runtime: Graceful shutdown timeout exceeded, forcing shutdown";
    bindery.wait_for_log(line);
}

#[test]
fn ports_in_the_environment_are_for_the_app_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let others = free_port().to_string();
    let env = ["DAPR_HTTP_PORT", "DAPR_GRPC_PORT", "APP_PORT", "APP_ID"];
    let env = env.map(|name| (name, others.as_str()));
    let bindery = Running::sidecar_with(&components, &[], &env);
    // On its own port, and it waits for no app.
    bindery.wait_until_ready();
    let metadata = bindery.get("/v1.0/metadata").text();
    assert!(metadata.starts_with(r#"{"id":"test""#), "{metadata}");
}

#[test]
fn it_starts_with_an_empty_environment() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let port = free_port();
    let mut command = Command::new(binary());
    command
        .env_clear()
        .args(["--app-id", "test", "--dapr-http-port", &port.to_string()])
        .args(["--dapr-grpc-port", &free_port().to_string()])
        .args(["--metrics-port", "0"])
        .arg("--resources-path")
        .arg(&components);
    let mut bindery = Running::start(command, port, 0);
    bindery.wait_until_ready();
    assert_eq!(bindery.interrupt(), Some(0));
}

#[test]
fn an_apps_exit_code_its_output_and_its_environment_are_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let script = folder.path().join("app.sh");
    let lines = "echo out $APP_ID $APP_PORT $DAPR_HTTP_PORT $APP_PROTOCOL\necho err >&2\nexit 7\n";
    std::fs::write(&script, lines).unwrap();
    let mut bindery = Running::run(&components, &format!("sh {}", script.display()));
    assert_eq!(bindery.wait(), Some(7), "{}", bindery.log());
    let out = format!(
        "== APP == out test {} {} http\n",
        bindery.app_port, bindery.http_port
    );
    bindery.wait_for_log(&out);
    assert!(
        bindery.log().contains("== APP == err\n"),
        "{}",
        bindery.log()
    );
    assert!(
        bindery.log().contains("== BINDERY == time="),
        "{}",
        bindery.log()
    );
    assert!(
        !bindery.log().contains('\u{1b}'),
        "no colour where no terminal is"
    );
}

#[test]
fn nothing_that_the_app_started_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let pid_file = folder.path().join("pid");
    let app = format!("sh -c 'sleep 300 & echo $! > {}; wait'", pid_file.display());
    let mut bindery = Running::run(&components, &app);
    let started = || std::fs::read_to_string(&pid_file).is_ok_and(|pid| pid.ends_with('\n'));
    wait_for("the app", std::time::Duration::from_secs(20), started);
    let pid: u32 = std::fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    bindery.interrupt();
    wait_for(
        "its child to end",
        std::time::Duration::from_secs(10),
        || {
            // A zombie that nobody has reaped yet runs no more.
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |stat| stat.contains(") Z "))
        },
    );
}

#[test]
fn an_app_that_cannot_be_started_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let port = free_port();
    let mut command = Command::new(binary());
    command
        .args([
            "run",
            "--app-id",
            "test",
            "--dapr-http-port",
            &port.to_string(),
        ])
        .args(["--dapr-grpc-port", &free_port().to_string()])
        .arg("--resources-path")
        .arg(&components)
        .args(["--", "no-such-program", "x"]);
    let mut bindery = Running::start(command, port, 0);
    assert_eq!(bindery.wait(), Some(1));
    assert!(
        bindery
            .log()
            .contains("the app could not be started: no-such-program"),
        "{}",
        bindery.log()
    );
}
