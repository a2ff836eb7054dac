//! `bindery run -f`: the apps of a run file of Dapr's CLI.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{Running, binary, free_port, request, resources, signal, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// A folder with a run file, and with two apps' folders in it.
struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    fn new(run_file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for app in ["orders", "stock"] {
            std::fs::create_dir(folder.path().join(app)).unwrap();
        }
        std::fs::write(folder.path().join("dapr.yaml"), run_file).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["run", "-f"])
            .arg(self.path())
            // Not the one of whoever runs the tests.
            .env("DAPR_RUNTIME_PATH", self.path());
        command
    }

    fn start(&self) -> Running {
        Running::start(self.command(), 0, 0)
    }

    fn output(&self) -> Output {
        self.command().output().unwrap()
    }

    /// Names and texts of the log files of an app.
    fn logs(&self, app: &str) -> Vec<(String, String)> {
        let Ok(entries) = std::fs::read_dir(self.path().join(app).join(".dapr/logs")) else {
            return Vec::new();
        };
        let read = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        };
        let mut logs: Vec<_> = entries.map(|entry| read(entry.unwrap())).collect();
        logs.sort();
        logs
    }
}

/// Two apps that say who they are and then wait; with the ports of their sidecars.
fn two_apps() -> (Shop, u16, u16) {
    let (orders, stock) = (free_port(), free_port());
    let shop = Shop::new(&format!(
        r"
version: 1
apps:
- appDirPath: orders
  daprHTTPPort: {orders}
  command: [sh, -c, 'echo pid $$; exec sleep 300']
- appDirPath: stock
  daprHTTPPort: {stock}
  command: [sh, -c, 'echo pid $$; exec sleep 300']
"
    ));
    (shop, orders, stock)
}

/// The process of an app that says so.
fn pid(running: &Running, app: &str) -> u32 {
    let before = format!("== APP - {app} == pid ");
    running.wait_for_log(&before);
    let find = || {
        let log = running.log();
        let rest = log.split(&before).nth(1)?;
        let line = rest.split_once('\n')?.0;
        line.parse().ok()
    };
    wait_for("its number", SOON, || find().is_some());
    find().unwrap()
}

fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn is_up(port: u16) -> bool {
    request(port, "GET", "/v1.0/healthz", &[], b"").is_ok_and(|answer| answer.status == 204)
}

#[test]
fn each_app_has_a_sidecar_ports_logs_and_variables_of_its_own() {
    let port = free_port();
    // Sidecars are looked for on the whole machine.
    let unique = |name: &str| format!("{name}-{}", std::process::id());
    let (first, second) = (unique("shop"), unique("depot"));
    let shop = Shop::new(&format!(
        r"
version: 1
name: shop
common:
  env:
    COLOUR: blue
    RELEASE: 1.10
apps:
- appID: {first}
  appDirPath: orders
  daprHTTPPort: {port}
  resourcesPaths: [components]
  env:
    APP_PROTOCOL: mine
  command: [sh, -c, 'echo $APP_ID $COLOUR $RELEASE $DAPR_HTTP_PORT $APP_PROTOCOL $PWD; exec sleep 300']
- appDirPath: ./{second}/
  appLogDestination: file
  daprdLogDestination: fileAndConsole
  env:
    COLOUR: green
  command: [sh, -c, 'echo $APP_ID $COLOUR $BINDERY_RUN_APP; exec sleep 300']
"
    ));
    std::fs::create_dir(shop.path().join(&second)).unwrap();
    let folder = shop.path().join("orders");
    let files = [(
        "files",
        "bindings.localstorage",
        &[("rootPath", "root")][..],
    )];
    resources(&folder, &files);
    let mut running = shop.start();
    let own_folder = folder.canonicalize().unwrap();
    running.wait_for_log(&format!(
        "== APP - {first} == {first} blue 1.10 {port} mine {}\n",
        own_folder.display()
    ));
    running.wait_for_log(&format!("== BINDERY - {second} == time="));
    let said = format!("{second} green\n");
    wait_for("its log", SOON, || {
        let logs = shop.logs(&second);
        logs.first().is_some_and(|(_, text)| *text == said)
    });
    // A sidecar of the file is found like any other, and paths are relative to its app's folder.
    for (id, arguments) in [
        (&first, &["invoke", "files", "create", "--data", "1"][..]),
        (&second, &["status", "--once"]),
    ] {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--app-id", id]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    assert!(folder.join("root").is_dir());
    assert_eq!(running.interrupt(), Some(0), "{}", running.log());
    assert!(!is_up(port));
    let log = running.log();
    for only_in_files in [
        format!("== APP - {second}"),
        format!("== BINDERY - {first}"),
    ] {
        assert!(!log.contains(&only_in_files), "{only_in_files} in {log}");
    }
    let logs = shop.logs("orders");
    let [(app, _), (sidecar, text)] = logs.as_slice() else {
        panic!("{logs:?}");
    };
    assert!(app.starts_with(&format!("{first}_app_20")), "{app}");
    assert!(
        sidecar.starts_with(&format!("{first}_daprd_20")),
        "{sidecar}"
    );
    assert!(text.starts_with("time=\"20"), "as daprd writes it: {text}");
    assert!(text.contains(&format!("app_id={first}")), "{text}");
}

#[test]
fn all_mistakes_are_told_with_their_places_and_nothing_is_started() {
    let shop = Shop::new(
        "\
version: 1
common:
  appPort: 3000
  resourcesPath: ./nowhere
  placementHostAddress: localhost
apps:
- appID: orders
  appDirPath: orders
  appport: 80
  daprHTTPPort: high
  appProtocol: smoke
  command: python3 app.py
- appDirPath: stock
  appID: orders
  metricsPort: 9099
  daprGRPCPort: 9099
  enableAppHealthCheck: 1
  command: [no-such-program]
- appID: third
colour: blue
",
    );
    let output = shop.output();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let file = shop.path().join("dapr.yaml");
    let expected = [
        "3:3: there is no key \"appPort\" in common; it belongs to an app: write it under apps",
        "4:18: resourcesPath: ",
        "9:3: there is no key \"appport\" of an app; did you mean \"appPort\"?",
        "10:17: daprHTTPPort must be a port from 1 to 65535, not high",
        "11:16: appProtocol must be one of http, https, h2c, grpc or grpcs, not smoke",
        "12:12: command must be a list of words; write command: [\"python3\", \"app.py\"]",
        "14:10: there are two apps with the id \"orders\"",
        "16:17: port 9099 is taken already, in line 15",
        "17:25: enableAppHealthCheck must be true or false, not 1",
        "18:12: there is no program \"no-such-program\" in PATH",
        "19:3: the app has no appDirPath",
        "20:1: there is no key \"colour\" in a run file",
    ];
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, expected) in lines.iter().zip(expected) {
        let place = format!("error: {}:{expected}", file.display());
        assert!(line.starts_with(&place), "{line}\nis not\n{place}");
    }
    assert!(!shop.path().join("orders/.dapr").exists());
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let shop = Shop::new(
        "\
version: 1
common: {schedulerHostAddress: localhost, runtimePath: ., enableProfiling: false}
apps:
- appDirPath: orders
  containerImage: shop/orders
  profilePort: 7777
  command: [sh, -c, exit 0]
",
    );
    let output = shop.output();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    let file = shop.path().join("dapr.yaml");
    for warning in [
        "2:10: schedulerHostAddress has no effect: this sidecar serves bindings only",
        "2:43: runtimePath: components and config.yaml are taken from there",
        "5:3: containerImage has no effect: it is for Kubernetes",
        "6:3: profilePort has no effect",
    ] {
        let warning = format!("warning: {}:{warning}", file.display());
        assert!(said.contains(&warning), "{warning}\nis not in\n{said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn a_path_that_is_no_run_file_is_refused() {
    let shop = Shop::new("");
    let orders = shop.path().join("orders");
    for (arguments, code, says) in [
        (
            &["run", "-f", "-"][..],
            2,
            "cannot come from standard input",
        ),
        (
            &["run", "-f", orders.to_str().unwrap()],
            2,
            "dapr.yaml: it cannot be read",
        ),
        (
            &["run", "-f", shop.path().to_str().unwrap()],
            1,
            "the file is empty",
        ),
        (
            &["run", "-f", ".", "--app-id", "x"],
            2,
            "cannot be used with",
        ),
        (&["run", "-f", ".", "--", "sh"], 2, "cannot be used with"),
    ] {
        let output = Command::new(binary()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

#[test]
fn when_a_sidecar_does_not_start_no_app_is() {
    let shop = Shop::new(
        "\
version: 1
apps:
- appDirPath: orders
  command: [touch, begun]
- appDirPath: stock
  resourcesPath: components
  command: [touch, begun]
",
    );
    let stock = shop.path().join("stock");
    resources(
        &stock,
        &[("tick", "bindings.cron", &[("schedule", "sometimes")])],
    );
    let mut running = shop.start();
    assert_eq!(running.wait(), Some(1));
    let log = running.log();
    assert!(
        log.contains("stock: the sidecar did not start, so no app is started"),
        "{log}"
    );
    assert!(
        log.contains("level=fatal") && log.contains("tick.yaml:"),
        "and why: {log}"
    );
    for app in ["orders", "stock"] {
        assert!(!shop.path().join(app).join("begun").exists(), "{app}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_before_anything_is_started() {
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let shop = Shop::new(&format!(
        "\
version: 1
apps:
- appDirPath: orders
  command: [touch, begun]
- appDirPath: stock
  daprGRPCPort: {port}
"
    ));
    let output = shop.output();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = format!("error: stock: port {port} cannot be had: Address already in use");
    assert!(
        said.starts_with(&expected) && said.contains("another daprGRPCPort"),
        "{said}"
    );
    assert!(!shop.path().join("orders/begun").exists());
}

#[test]
fn an_app_that_ends_by_itself_leaves_the_others_alone() {
    let port = free_port();
    let shop = Shop::new(&format!(
        r#"
version: 1
apps:
- appDirPath: orders
  command: [sh, -c, 'echo done; exit 3']
- appDirPath: stock
  daprHTTPPort: {port}
  command: [sleep, "300"]
"#
    ));
    let mut running = shop.start();
    running.wait_for_log("== APP - orders == done\n");
    running.wait_for_log("orders: the app has ended, exit code 3; the others go on");
    wait_for("the other sidecar", SOON, || is_up(port));
    assert_eq!(running.interrupt(), Some(3), "{}", running.log());
}

#[test]
fn when_one_is_asked_to_end_all_end() {
    let (shop, orders, stock) = two_apps();
    let mut running = shop.start();
    let apps = [pid(&running, "orders"), pid(&running, "stock")];
    wait_for("both", SOON, || is_up(orders) && is_up(stock));
    let answer = request(stock, "POST", "/v1.0/shutdown", &[], b"").unwrap();
    assert_eq!(answer.status, 204);
    assert_eq!(running.wait(), Some(0), "{}", running.log());
    running.wait_for_log("stock was asked to end, so all end");
    assert!(!is_up(orders) && !apps.iter().any(|app| runs(*app)));
}

#[test]
fn a_hangup_reaches_every_sidecar() {
    let shop = Shop::new(
        "\
version: 1
common: {resourcesPath: ., daprdLogDestination: console, configFilePath: config.yml}
apps:
- {appDirPath: orders, command: [sleep, \"300\"]}
- {appDirPath: stock}
",
    );
    let off = "kind: Configuration\nspec:\n  features:\n  - {name: HotReload, enabled: false}\n";
    std::fs::write(shop.path().join("config.yml"), off).unwrap();
    let mut running = shop.start();
    running.wait_for_log("all sidecars are up");
    signal(running.id(), "HUP");
    for app in ["orders", "stock"] {
        let says = "reading the files anew";
        wait_for("the reload", SOON, || {
            let log = running.log();
            let mut lines = log.lines();
            lines.any(|line| line.contains(&format!("- {app} ==")) && line.contains(says))
        });
    }
    assert_eq!(running.interrupt(), Some(0), "{}", running.log());
}

#[test]
fn nothing_is_left_behind_when_it_or_a_sidecar_is_killed() {
    let (shop, orders, stock) = two_apps();
    let mut running = shop.start();
    let apps = [pid(&running, "orders"), pid(&running, "stock")];
    signal(running.id(), "KILL");
    running.wait();
    let left = || is_up(orders) || is_up(stock) || apps.iter().any(|app| runs(*app));
    wait_for("the apps and sidecars to end", SOON, || !left());

    let mut running = shop.start();
    let apps = [pid(&running, "orders"), pid(&running, "stock")];
    let sidecar = std::fs::read_to_string(format!("/proc/{}/stat", apps[0])).unwrap();
    let parent = sidecar
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap();
    signal(parent.parse().unwrap(), "KILL");
    assert_eq!(running.wait(), Some(1), "{}", running.log());
    assert!(
        running
            .log()
            .contains("orders: the sidecar was ended by signal 9")
    );
    assert!(!is_up(stock) && !apps.iter().any(|app| runs(*app)));
}
