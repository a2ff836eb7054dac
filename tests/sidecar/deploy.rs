//! The files of `deploy/`: that they are what they say, as far as it shows without the systems
//! they are for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_yaml::Value;

use crate::support::binary;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(name)).unwrap()
}

/// The documents of a YAML file.
fn documents(text: &str) -> Vec<Value> {
    let each = serde_yaml::Deserializer::from_str(text);
    each.map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect()
}

fn kubernetes(kind: &str) -> Value {
    let documents = documents(&file("kubernetes.yaml"));
    let mut found = documents.into_iter().filter(|one| one["kind"] == kind);
    found.next().expect(kind)
}

fn words(list: &Value) -> Vec<String> {
    let list = list.as_sequence().expect("a list of arguments");
    list.iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

/// What the sidecar container of Kubernetes is.
fn container() -> Value {
    let pod = &kubernetes("Deployment")["spec"]["template"]["spec"];
    pod["initContainers"][0].clone()
}

fn said(output: &Output) -> String {
    let both = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn check(folder: &Path) {
    let output = Command::new(binary())
        .args(["check", "--strict"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn components_pass_the_check_and_are_the_same_everywhere() {
    let folder = root().join("deploy/components");
    check(&folder);
    let map = kubernetes("ConfigMap");
    let mounted = tempfile::tempdir().unwrap();
    let data = map["data"].as_mapping().unwrap();
    for (name, text) in data {
        let (name, text) = (name.as_str().unwrap(), text.as_str().unwrap());
        assert_eq!(
            std::fs::read_to_string(folder.join(name)).unwrap(),
            text,
            "{name}"
        );
        std::fs::write(mounted.path().join(name), text).unwrap();
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), data.len());
    check(mounted.path());
}

#[test]
fn command_lines_are_real_ones() {
    let parses = |arguments: &[String]| {
        // It takes the whole line before it prints its version.
        let output = Command::new(binary())
            .args(arguments)
            .arg("--version")
            .output()
            .unwrap();
        output.status.success()
    };
    assert!(!parses(&[
        "--app-id=shop".into(),
        "--resource-path=/x".into()
    ]));
    let compose: Value = serde_yaml::from_str(&file("compose.yaml")).unwrap();
    let unit = file("bindery.service");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let unit = start.unwrap().split(' ').skip(1).map(str::to_owned);
    for arguments in [
        words(&compose["services"]["bindery"]["command"]),
        words(&container()["args"]),
        unit.collect(),
    ] {
        assert!(arguments.len() > 2 && parses(&arguments), "{arguments:?}");
    }
    let image = file("Containerfile");
    let health = image.lines().find(|line| line.starts_with("HEALTHCHECK"));
    assert!(
        health
            .unwrap()
            .ends_with(r#"CMD ["bindery", "status", "--once"]"#)
    );
}

#[test]
fn probes_ask_where_the_kubelet_is_answered_and_the_first_does_not_wait_for_the_app() {
    let container = container();
    assert_eq!(container["restartPolicy"], "Always");
    let arguments = words(&container["args"]);
    let public = arguments
        .iter()
        .find_map(|word| word.strip_prefix("--dapr-public-port="));
    let ports = container["ports"].as_sequence().unwrap();
    let health = ports.iter().find(|port| port["name"] == "health").unwrap();
    assert_eq!(
        health["containerPort"].as_u64(),
        public.unwrap().parse().ok()
    );
    for (probe, path) in [
        ("startupProbe", "/v1.0/healthz/outbound"),
        ("readinessProbe", "/v1.0/healthz"),
        ("livenessProbe", "/v1.0/healthz/outbound"),
    ] {
        let asked = &container[probe]["httpGet"];
        assert_eq!(asked["path"], path, "{probe}");
        assert_eq!(asked["port"], "health", "{probe}");
    }
}

#[test]
fn the_pod_may_read_the_secrets_of_the_role() {
    let (role, binding) = (kubernetes("Role"), kubernetes("RoleBinding"));
    let allowed = &role["rules"][0];
    assert_eq!(words(&allowed["resources"]), ["secrets"]);
    assert_eq!(words(&allowed["verbs"]), ["get"]);
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    let pod = &kubernetes("Deployment")["spec"]["template"]["spec"];
    assert_eq!(binding["subjects"][0]["name"], pod["serviceAccountName"]);
    let account = kubernetes("ServiceAccount");
    assert_eq!(account["metadata"]["name"], pod["serviceAccountName"]);
}

/// Words that look like the name of a metric.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    text.split(|letter: char| !is_name(letter))
        .filter(|word| {
            ["bindery_", "dapr_", "process_"]
                .iter()
                .any(|prefix| word.starts_with(prefix))
        })
        .collect()
}

#[test]
fn alerts_and_the_dashboard_name_metrics_that_there_are() {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let known: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let alerts: Value = serde_yaml::from_str(&file("alerts.yaml")).unwrap();
    let rules = alerts["groups"][0]["rules"].as_sequence().unwrap();
    let mut expressions: Vec<String> = rules
        .iter()
        .map(|rule| rule["expr"].as_str().unwrap().to_owned())
        .collect();
    let board: serde_json::Value = serde_json::from_str(&file("grafana.json")).unwrap();
    for panel in board["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap().iter();
        expressions.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    assert!(expressions.len() > 15);
    for expression in expressions {
        let names = metrics(&expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.contains(family), "{name} in {expression}");
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_in_the_unit() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: there is no systemd-analyze here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit: PathBuf = folder.path().join("bindery.service");
    let program = binary();
    let text = file("bindery.service").replace("/usr/local/bin/bindery", program.to_str().unwrap());
    std::fs::write(&unit, text).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .output()
        .unwrap();
    let said = said(&output);
    let ours = said.lines().any(|line| line.contains("bindery.service"));
    assert!(output.status.success() && !ours, "{said}");
}
