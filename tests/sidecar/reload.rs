//! Files that change while the sidecar runs (runtime §3.5).

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{App, Running, free_port, resources, signal, wait_for};

const SOON: Duration = Duration::from_secs(20);
const CREATE: &str = r#"{"operation":"create","data":"x"}"#;

/// Writes one component, in the place of what its file said before, in a single step.
fn write(components: &Path, name: &str, kind: &str, settings: &[(&str, &str)]) {
    let aside = tempfile::tempdir_in(components.parent().unwrap()).unwrap();
    let made = resources(aside.path(), &[(name, kind, settings)]);
    let file = format!("{name}.yaml");
    std::fs::rename(made.join(&file), components.join(&file)).unwrap();
}

fn storage(components: &Path, name: &str, root: &Path) {
    let root = root.to_str().unwrap();
    write(
        components,
        name,
        "bindings.localstorage",
        &[("rootPath", root)],
    );
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn an_output_changes_under_load_and_not_one_call_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (left, right) = (folder.path().join("left"), folder.path().join("right"));
    let components = resources(folder.path(), &[]);
    storage(&components, "files", &left);
    storage(&components, "other", &folder.path().join("other"));
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    bindery.wait_for_log("Hot reloading enabled");
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for name in ["files", "files", "other"] {
            let (bindery, done, calls) = (&bindery, &done, &calls);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let answer = bindery.invoke(name, CREATE);
                    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 0..6 {
            let root = [&right, &left][round % 2];
            let before = count(root);
            storage(&components, "files", root);
            wait_for("the other folder to fill", SOON, || count(root) > before);
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(calls.load(Ordering::SeqCst) > 20);
    let log = bindery.log();
    let taken_in = log
        .matches("Adding Component for processing: files")
        .count();
    assert!(taken_in >= 6, "{log}");
    assert!(
        !log.contains("Adding Component for processing: other"),
        "{log}"
    );
}

#[test]
fn a_broken_edit_leaves_the_last_good_one_and_shows_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let root = folder.path().join("root");
    storage(&components, "files", &root);
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    let errors = || {
        let metadata = bindery.get("/v1.0/metadata").text();
        let errors = metadata.split_once(r#""resourceErrors":"#);
        errors
            .map(|(_, errors)| errors.to_owned())
            .unwrap_or_default()
    };
    assert_eq!(errors(), "");

    let file = components.join("files.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("rootPath", "rootPth")).unwrap();
    wait_for("the error", SOON, || errors().contains("files.yaml:"));
    assert!(errors().contains("rootPath"), "{}", errors());
    assert_eq!(bindery.invoke("files", CREATE).status, 200);

    std::fs::write(&file, format!("{good}\n\t- what is this?\n")).unwrap();
    wait_for("the other error", SOON, || errors().contains("tab"));
    assert_eq!(bindery.invoke("files", CREATE).status, 200);

    // A new component beside it is taken in all the same.
    storage(&components, "more", &folder.path().join("more"));
    wait_for("the new one", SOON, || {
        bindery.invoke("more", CREATE).status == 200
    });

    std::fs::write(&file, &good).unwrap();
    wait_for("no error", SOON, || errors().is_empty());
    std::fs::remove_file(&file).unwrap();
    wait_for("the old one to go", SOON, || {
        bindery
            .invoke("files", CREATE)
            .text()
            .contains("couldn't find")
    });
    assert_eq!(bindery.invoke("more", CREATE).status, 200);
}

#[test]
fn an_input_that_is_new_is_asked_for_and_read_and_one_that_changed_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    write(
        &components,
        "a",
        "bindings.cron",
        &[("schedule", "@every 50ms")],
    );
    let port = free_port();
    let app = App::start(port, |_| (200, String::new()));
    let bindery = Running::sidecar(&components, &["--app-port", &port.to_string()]);
    bindery.wait_until_ready();
    let events = |path: &str| {
        let seen = app.seen();
        let posts = seen
            .iter()
            .filter(|one| one.method == "POST" && one.path == path);
        posts.count()
    };
    wait_for("events", SOON, || events("/a") > 2);
    write(
        &components,
        "b",
        "bindings.cron",
        &[("schedule", "@every 50ms")],
    );
    wait_for("events of the new one", SOON, || events("/b") > 2);
    let asked = app
        .seen()
        .iter()
        .any(|one| one.method == "OPTIONS" && one.path == "/b");
    assert!(asked, "the app is asked whether it wants them");

    let elsewhere = [("schedule", "@every 50ms"), ("route", "/elsewhere")];
    write(&components, "a", "bindings.cron", &elsewhere);
    wait_for("events at the new route", SOON, || events("/elsewhere") > 2);
    let before = events("/a");
    wait_for("more of them", SOON, || events("/elsewhere") > 6);
    assert_eq!(events("/a"), before, "nothing of the old one is left");
}

#[test]
fn a_mounted_folder_whose_link_is_swapped_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("mount");
    let (left, right) = (folder.path().join("left"), folder.path().join("right"));
    for (version, root) in [("..v1", &left), ("..v2", &right)] {
        std::fs::create_dir_all(mount.join(version)).unwrap();
        let made = resources(folder.path(), &[]);
        storage(&made, "files", root);
        let file = "files.yaml";
        std::fs::rename(made.join(file), mount.join(version).join(file)).unwrap();
    }
    // As Kubernetes mounts a ConfigMap.
    let link = |target: &str, name: &str| {
        let aside = mount.join("..tmp");
        std::os::unix::fs::symlink(target, &aside).unwrap();
        std::fs::rename(aside, mount.join(name)).unwrap();
    };
    link("..v1", "..data");
    link("..data/files.yaml", "files.yaml");
    let bindery = Running::sidecar(&mount, &[]);
    bindery.wait_until_ready();
    assert_eq!(bindery.invoke("files", CREATE).status, 200);
    assert_eq!((count(&left), count(&right)), (1, 0));
    link("..v2", "..data");
    wait_for("the other folder", SOON, || {
        assert_eq!(bindery.invoke("files", CREATE).status, 200);
        count(&right) > 0
    });
}

#[test]
fn policies_change_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let app = App::start(port, |_| (500, String::new()));
    let url = format!("http://127.0.0.1:{port}");
    let components = resources(folder.path(), &[("up", "bindings.http", &[("url", &url)])]);
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    assert_eq!(bindery.invoke("up", CREATE).status, 500);
    assert_eq!(app.seen().len(), 1);
    let rules = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: rules}\nspec:\n  \
                 policies:\n    retries:\n      twice: {policy: constant, duration: 10ms, \
                 maxRetries: 2}\n  targets:\n    components:\n      up: {outbound: {retry: twice}}\n";
    std::fs::write(components.join("rules.yaml"), rules).unwrap();
    bindery.wait_for_log("Resiliency updated");
    assert_eq!(bindery.invoke("up", CREATE).status, 500);
    assert_eq!(app.seen().len(), 4);
    std::fs::remove_file(components.join("rules.yaml")).unwrap();
    wait_for("the policies to go", SOON, || {
        bindery.log().matches("Resiliency updated").count() == 2
    });
    assert_eq!(bindery.invoke("up", CREATE).status, 500);
    assert_eq!(app.seen().len(), 5);
}

#[test]
fn without_the_feature_only_a_signal_reads_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    storage(&components, "files", &folder.path().join("root"));
    let config = folder.path().join("config.yaml");
    let off = "kind: Configuration\nspec:\n  features:\n  - name: HotReload\n    enabled: false\n";
    std::fs::write(&config, off).unwrap();
    let bindery = Running::sidecar(&components, &["--config", config.to_str().unwrap()]);
    bindery.wait_until_ready();
    assert!(
        !bindery
            .get("/v1.0/metadata")
            .text()
            .contains("enabledFeatures")
    );
    storage(&components, "more", &folder.path().join("more"));
    // Longer than a watcher takes: a change that it would tell of has been told by then.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(bindery.invoke("more", CREATE).status, 500);
    signal(bindery.id(), "HUP");
    wait_for("the new one", SOON, || {
        bindery.invoke("more", CREATE).status == 200
    });
    bindery.wait_for_log("Received signal 'hangup'");
    assert!(!bindery.log().contains("Hot reloading enabled"));
}

#[test]
fn a_configuration_closes_endpoints_and_denies_types_also_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    storage(&components, "files", &folder.path().join("root"));
    write(
        &components,
        "tick",
        "bindings.cron",
        &[("schedule", "@daily")],
    );
    let config = folder.path().join("config.yaml");
    let deny = "spec:\n  components: {deny: [bindings.cron]}\n";
    std::fs::write(&config, deny).unwrap();
    let bindery = Running::sidecar(&components, &["--config", config.to_str().unwrap()]);
    bindery.wait_until_ready();
    let metadata = bindery.get("/v1.0/metadata").text();
    assert!(
        metadata.contains(r#""enabledFeatures":["HotReload"]"#),
        "{metadata}"
    );
    assert!(!metadata.contains("bindings.cron"), "{metadata}");
    let refusal = "component 'tick' cannot be loaded because components of type \
                   'tick (bindings.cron/v1)' are not allowed";
    bindery.wait_for_log(refusal);

    let closed =
        "spec:\n  api:\n    denied:\n    - {name: bindings, version: v1, protocol: http}\n";
    std::fs::write(&config, closed).unwrap();
    wait_for("the type to be allowed", SOON, || {
        bindery
            .get("/v1.0/metadata")
            .text()
            .contains("bindings.cron")
    });
    let answer = bindery.invoke("files", CREATE);
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(answer.text().contains("ERR_DIRECT_INVOKE"));

    std::fs::write(&config, "spec: {features: 7}").unwrap();
    wait_for("the mistake to be shown", SOON, || {
        bindery
            .get("/v1.0/metadata")
            .text()
            .contains("error loading configuration")
    });
    assert_eq!(
        bindery.invoke("files", CREATE).status,
        404,
        "the last good one is in force"
    );
}

#[test]
fn a_configuration_that_can_never_work_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let mut bindery = Running::sidecar(&components, &["--config", "does-not-exist.yaml"]);
    assert_eq!(bindery.wait(), Some(1));
    let log = bindery.log();
    assert!(
        log.contains("does-not-exist.yaml: error loading configuration: "),
        "{log}"
    );
}
