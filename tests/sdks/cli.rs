//! Dapr's own CLI, with this program as its `daprd`: without `dapr init`, and offline.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Running, binary, free_port, resources};
use crate::{installed, source};

/// What Dapr's CLI needs, and folders for two apps.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let install = Command::new(binary())
            .args(["install", "--link", "--as-daprd"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(install.status.success(), "{}", said(&install));
        for app in ["orders", "stock"] {
            let root = folder.path().join(app).join("root").display().to_string();
            resources(
                &folder.path().join(app),
                &[
                    ("tick", "bindings.cron", &[("schedule", "@every 200ms")]),
                    ("files", "bindings.localstorage", &[("rootPath", &root)]),
                ],
            );
        }
        Self { folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn dapr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(installed("BINDERY_TEST_DAPR_CLI", "dapr-cli/dapr"));
        command
            .args(arguments)
            .env("DAPR_RUNTIME_PATH", self.folder.path())
            .env("GREETING", "hello");
        command
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.dapr(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    }

    /// What `dapr list` says of an app; nothing where it does not run.
    fn listed(&self, id: &str) -> Option<Value> {
        let output = self.dapr(&["list", "--output", "json"]).output().unwrap();
        let list: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        list.into_iter().find(|app| app["appId"] == id)
    }
}

fn said(output: &Output) -> String {
    let both = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn app() -> String {
    source("cli/app.py").display().to_string()
}

/// An id that no other test uses: the CLI sees all that runs on the machine.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn is_number(value: &Value) -> bool {
    value.as_u64().is_some_and(|number| number > 0)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn one_app_is_run_listed_called_and_stopped() {
    let stage = Stage::new();
    let version = stage.done(&["--version"]);
    assert!(version.contains("Runtime version: 1."), "{version}");
    let (id, port, app) = (unique("shop"), free_port(), app());
    let components = stage.path("orders/components");
    let command = stage.dapr(&[
        "run",
        "--app-id",
        &id,
        "--app-port",
        &port.to_string(),
        "--resources-path",
        components.to_str().unwrap(),
        "--",
        "python3",
        &app,
    ]);
    let mut running = Running::start(command, 0, 0);
    running.wait_for_log("You're up and running! Both Dapr and your app logs will appear here.");
    running.wait_for_log("== APP == stored ");
    let listed = stage.listed(&id).expect("it is listed");
    assert_eq!(listed["appPort"], port);
    assert_eq!(listed["cliPid"], running.id());
    for number in ["httpPort", "grpcPort", "daprdPid", "appPid"] {
        assert!(is_number(&listed[number]), "{number}: {listed}");
    }
    assert!(
        listed["command"].as_str().unwrap().starts_with("python3 "),
        "{listed}"
    );
    let table = stage.done(&["list"]);
    assert!(table.contains("APP ID") && table.contains(&id), "{table}");
    let answer = stage.done(&[
        "invoke", "--app-id", &id, "--method", "hello", "--data", "all",
    ]);
    assert!(
        answer.contains(&format!("{id} says hello to all")),
        "{answer}"
    );
    assert!(answer.contains("App invoked successfully"), "{answer}");
    let answer = stage
        .dapr(&["invoke", "--app-id", &id, "--method", "none"])
        .output()
        .unwrap();
    assert!(said(&answer).contains("404"), "{}", said(&answer));
    let stopped = stage.done(&["stop", "--app-id", &id]);
    assert!(
        stopped.contains(&format!("app stopped successfully: {id}")),
        "{stopped}"
    );
    assert_eq!(running.wait(), Some(0), "{}", running.log());
    assert_eq!(stage.listed(&id), None);
    let log = running.log();
    for line in [
        "Starting Dapr with id",
        "Updating metadata for appPID",
        "Updating metadata for app command: python3",
        "Exited Dapr successfully",
        "Exited App successfully",
    ] {
        assert!(log.contains(line), "{line:?} is not in:\n{log}");
    }
    for line in [
        "Could not update",
        "these flags have no effect",
        "belong to no flag",
        "level=error",
    ] {
        assert!(!log.contains(line), "{line:?} is in:\n{log}");
    }
}

#[test]
fn the_sidecar_alone_is_waited_for_and_found_by_our_commands_too() {
    let stage = Stage::new();
    let id = unique("alone");
    // Where the CLI looks when nobody names a folder.
    let (own, shared) = ("stock/components/files.yaml", ".dapr/components/files.yaml");
    std::fs::copy(stage.path(own), stage.path(shared)).unwrap();
    let sockets = stage.path("s");
    std::fs::create_dir(&sockets).unwrap();
    let sockets = ["--unix-domain-socket", sockets.to_str().unwrap()];
    for more in [&[][..], &sockets] {
        let mut command = stage.dapr(&["run", "--app-id", &id]);
        command.args(more);
        let mut running = Running::start(command, 0, 0);
        running.wait_for_log("Dapr sidecar is up and running.");
        running.wait_for_log("You're up and running! Dapr logs will appear here.");
        let listed = stage.listed(&id).expect("it is listed");
        assert_eq!(listed["cliPid"], running.id(), "{more:?}");
        let status = Command::new(binary())
            .args(["status", "--once", "--app-id", &id])
            .output()
            .unwrap();
        assert!(
            said(&status).contains("files"),
            "{more:?}: {}",
            said(&status)
        );
        assert_eq!(running.interrupt(), Some(0), "{}", running.log());
    }
}

#[test]
fn a_run_file_is_run_listed_called_and_stopped() {
    let stage = Stage::new();
    let (orders, stock) = (unique("orders"), unique("stock"));
    let (app, orders_port, stock_port) = (app(), free_port(), free_port());
    let file = stage.path("dapr.yaml");
    let run_file = format!(
        "\
version: 1
name: shop
common:
  env:
    GREETING: good morning
apps:
- appID: {orders}
  appDirPath: orders
  appPort: {orders_port}
  resourcesPath: components
  command: [python3, {app}]
- appID: {stock}
  appDirPath: stock
  appPort: {stock_port}
  resourcesPath: components
  env:
    GREETING: good evening
  command: [python3, {app}]
"
    );
    std::fs::write(&file, run_file).unwrap();
    let mut running = Running::start(stage.dapr(&["run", "-f", file.to_str().unwrap()]), 0, 0);
    for (id, greeting) in [(&orders, "good morning"), (&stock, "good evening")] {
        running.wait_for_log(&format!("Started Dapr with app id \"{id}\""));
        running.wait_for_log(&format!("== APP - {id} == stored "));
        let listed = stage.listed(id).expect("it is listed");
        assert_eq!(
            listed["runTemplatePath"],
            file.to_str().unwrap(),
            "{listed}"
        );
        assert_eq!(listed["runTemplateName"], "shop", "{listed}");
        let log = text(Path::new(listed["daprdLogPath"].as_str().unwrap()));
        assert!(log.contains("dapr initialized. Status: Running."), "{log}");
        let answer = stage.done(&[
            "invoke", "--app-id", id, "--method", "hello", "--data", "all",
        ]);
        assert!(
            answer.contains(&format!("{id} says {greeting} to all")),
            "{answer}"
        );
    }
    let stopped = stage.done(&["stop", "-f", file.to_str().unwrap()]);
    assert!(
        stopped.contains("Dapr and app processes stopped successfully"),
        "{stopped}"
    );
    assert_eq!(running.wait(), Some(0), "{}", running.log());
    assert_eq!((stage.listed(&orders), stage.listed(&stock)), (None, None));

    // The same file, without the CLI.
    let mut command = Command::new(binary());
    command
        .args(["run", "-f"])
        .arg(&file)
        .env("GREETING", "hello");
    let mut running = Running::start(command, 0, 0);
    for (id, greeting) in [(&orders, "good morning"), (&stock, "good evening")] {
        running.wait_for_log(&format!("== APP - {id} == stored "));
        let line = format!(" {greeting}\n");
        assert!(running.log().contains(&line), "{}", running.log());
    }
    assert_eq!(running.interrupt(), Some(0), "{}", running.log());
}
