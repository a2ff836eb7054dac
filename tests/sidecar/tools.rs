//! The commands beside the sidecar: `components`, `schema`, `invoke`, `completions`.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::{Running, binary, resources};

fn run(arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .env_remove("DAPR_HTTP_PORT")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_catalogue_has_a_list_and_a_page_for_each_type() {
    let list = text(&run(&["components"]).stdout);
    for name in ["bindings.cron", "bindings.kafka", "bindings.postgres"] {
        assert!(list.contains(name), "{list}");
    }
    let page = text(&run(&["components", "bindings.kafka"]).stdout);
    for part in [
        "Operations\n  create\n",
        "brokers (list; required",
        "__offset",
        "Example\n",
    ] {
        assert!(page.contains(part), "{part:?} in {page}");
    }
    assert_eq!(text(&run(&["components", "kafka"]).stdout), page);
    let unknown = run(&["components", "redsi"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("did you mean bindings.redis?"));
}

#[test]
fn every_example_passes_the_check_as_it_is_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let list = text(&run(&["components"]).stdout);
    let types: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.starts_with("bindings."))
        .collect();
    assert!(types.len() >= 7, "{types:?}");
    for name in types {
        let example = run(&["components", name, "--example"]);
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, &example.stdout).unwrap();
        let checked = run(&["check", "--strict", file.to_str().unwrap()]);
        assert!(checked.status.success(), "{}", text(&checked.stdout));
    }
}

#[test]
fn the_schema_is_json_and_knows_the_types() {
    let schema: serde_json::Value = serde_json::from_slice(&run(&["schema"]).stdout).unwrap();
    let types = &schema["properties"]["spec"]["properties"]["type"]["anyOf"][0]["enum"];
    assert!(
        types
            .as_array()
            .unwrap()
            .contains(&"bindings.postgres".into())
    );
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = run(&["completions", shell]);
        assert!(
            script.status.success() && text(&script.stdout).contains("bindery"),
            "{shell}"
        );
    }
}

/// A sidecar with an output for files, and what its flags are.
fn with_files(flags: &[&str], env: &[(&str, &str)]) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    let files = ("my files", "bindings.localstorage", &settings[..]);
    let running = Running::sidecar_with(&resources(folder.path(), &[files]), flags, env);
    running.wait_until_ready();
    (running, folder)
}

#[test]
fn an_output_is_called_with_data_from_everywhere() {
    let (bindery, folder) = with_files(&[], &[]);
    let port = bindery.http_port.to_string();
    let invoke = |arguments: &[&str], input: &str| {
        let mut child = Command::new(binary())
            .arg("invoke")
            .args(arguments)
            .env("DAPR_HTTP_PORT", &port)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    };
    let file = folder.path().join("data.json");
    std::fs::write(&file, "{\"n\": 9007199254740993}").unwrap();
    let at_file = format!("@{}", file.display());
    for (name, data, input, stored) in [
        ("a", "plain words", "", "plain words"),
        ("b", "{\"price\": 1.10}", "", "{\"price\":1.10}"),
        ("c", "-", "[1, 2]", "[1,2]"),
        ("d", &at_file, "", "{\"n\":9007199254740993}"),
    ] {
        let metadata = format!("fileName={name}");
        let create = [
            "my files",
            "create",
            "--data",
            data,
            "--metadata",
            &metadata,
        ];
        let created = invoke(&create, input);
        assert!(created.status.success(), "{}", text(&created.stderr));
        assert_eq!(
            text(&created.stdout),
            format!("{{\"fileName\":\"{name}\"}}\n")
        );
        let got = invoke(&["my files", "get", "--metadata", &metadata], "");
        assert_eq!(text(&got.stdout), format!("{stored}\n"));
    }
    let missing = invoke(&["my files", "get", "--metadata", "fileName=none"], "");
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr)
            .contains("error: error invoking output binding my files: file not found")
    );
    assert_eq!(
        invoke(&["my files", "get", "--metadata", "nonsense"], "")
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn the_sidecar_is_found_by_its_app_and_the_token_is_sent() {
    // The app id is this test's own, so no other test's sidecar is found.
    let flags = ["--app-id", "found-by-its-app"];
    let (_bindery, _folder) = with_files(&flags, &[("DAPR_API_TOKEN", "hunter2")]);
    let list = |token: &str| {
        Command::new(binary())
            .args(["invoke", "--app-id", "found-by-its-app", "my files", "list"])
            .env("DAPR_API_TOKEN", token)
            .output()
            .unwrap()
    };
    let listed = list("hunter2");
    assert_eq!(text(&listed.stdout), "null\n", "{}", text(&listed.stderr));
    let refused = list("wrong");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("401"),
        "{}",
        text(&refused.stderr)
    );
    let none = run(&["invoke", "--app-id", "no-such-app", "x", "y"]);
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn a_sidecar_that_is_not_there_is_an_error_with_what_to_do() {
    let output = run(&["invoke", "--dapr-http-port", "1", "files", "list"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("port 1") && said.contains("DAPR_HTTP_PORT"),
        "{said}"
    );
}
