//! `bindery check`: what a person sees of each mistake, compared with what was agreed on.
//!
//! `tests/golden/check/` holds a YAML file for each mistake, and beside it what is said of it.
//! With `BLESS=1` in the environment the texts are written anew, to be read before they are
//! committed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{POD, binary, resources};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/check")
}

fn check(arguments: &[&str]) -> Output {
    Command::new(binary())
        .arg("check")
        .args(arguments)
        .env_remove(POD)
        .current_dir(folder())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The names of the files, without `.yaml`.
fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".yaml").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_mistake_is_shown_with_its_line_and_what_to_do() {
    let names = names();
    assert!(names.len() > 25, "{names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let output = check(&[&format!("{name}.yaml")]);
        let said = text(&output);
        let golden = folder().join(format!("{name}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &said).unwrap();
        }
        if said != std::fs::read_to_string(&golden).unwrap_or_default() {
            wrong.push(format!("--- {name}\n{said}"));
        }
        let is_error = said.contains(": error: ");
        assert_eq!(output.status.code(), Some(i32::from(is_error)), "{name}");
        if name != "well" {
            let finding = format!("{name}.yaml:");
            assert!(said.starts_with(&finding), "{name}: {said}");
            assert!(said.contains("\n   hint: "), "{name}: {said}");
            assert!(said.contains(" | "), "{name}: the line itself: {said}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_folder_is_checked_as_a_whole_and_all_errors_are_told() {
    let output = check(&["."]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    for name in names().iter().filter(|name| *name != "well") {
        assert!(said.contains(&format!("{name}.yaml:")), "{name}");
    }
}

#[test]
fn warnings_are_errors_when_they_shall_be() {
    let file = "misspelt-setting.yaml";
    assert_eq!(check(&[file]).status.code(), Some(0));
    assert_eq!(check(&["--strict", file]).status.code(), Some(1));
}

#[test]
fn findings_are_json_for_programs_and_annotations_for_github() {
    let said = text(&check(&["--format", "json", "bad-number.yaml"]));
    let all: serde_json::Value = serde_json::from_str(&said).unwrap();
    let findings = all["findings"].as_array().unwrap();
    let settings: Vec<_> = findings.iter().map(|finding| &finding["setting"]).collect();
    assert_eq!(
        settings,
        ["redisDB", "redisPort"],
        "all of them, not the first only"
    );
    assert_eq!(
        (&findings[0]["line"], &findings[0]["column"]),
        (&12.into(), &12.into())
    );
    let said = text(&check(&["--format", "github", "bad-number.yaml"]));
    let first = said.lines().next().unwrap();
    assert!(
        first.starts_with("::error file=bad-number.yaml,line=12,col=12::component"),
        "{first}"
    );
    assert!(first.contains("%0Ahint: "), "{first}");
}

#[test]
fn a_path_that_is_not_there_is_a_mistake_of_the_command_line() {
    let output = check(&["nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "error: nowhere: no such file or directory\n");
    assert_eq!(check(&[]).status.code(), Some(2));
}

#[test]
fn a_dash_is_standard_input() {
    let check_text = |yaml: &[u8], arguments: &[&str]| {
        let mut child = Command::new(binary())
            .arg("check")
            .args(arguments)
            .current_dir(folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(yaml).unwrap();
        child.wait_with_output().unwrap()
    };
    let wrong = std::fs::read(folder().join("bad-number.yaml")).unwrap();
    let golden = std::fs::read_to_string(folder().join("bad-number.txt")).unwrap();
    let output = check_text(&wrong, &["-"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output), golden.replace("bad-number.yaml", "<stdin>"));

    let well = std::fs::read(folder().join("well.yaml")).unwrap();
    let both = check_text(&well, &["bad-boolean.yaml", "-"]);
    assert!(
        text(&both).contains("2 files, 2 usable components"),
        "{}",
        text(&both)
    );
    let output = check_text(b"\xff", &["-"]);
    assert!(text(&output).starts_with("<stdin>: error: is not UTF-8 text"));
}

#[test]
fn only_what_is_for_an_app_is_checked_when_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: x\nspec:\n  type: \
                 bindings.nonsense\nscopes: [other]\n";
    std::fs::write(folder.path().join("x.yaml"), wrong).unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(check(&[path]).status.code(), Some(1));
    assert_eq!(check(&["--app-id", "orders", path]).status.code(), Some(0));
    assert_eq!(check(&["--app-id", "other", path]).status.code(), Some(1));
}

#[test]
fn connecting_says_of_every_binding_how_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let components = resources(
        folder.path(),
        &[
            (
                "files",
                "bindings.localstorage",
                &[("rootPath", root.to_str().unwrap())],
            ),
            ("tick", "bindings.cron", &[("schedule", "@daily")]),
            ("cache", "bindings.redis", &[("redisHost", "127.0.0.1:1")]),
        ],
    );
    let path = components.to_str().unwrap();
    let output = check(&["--connect", path]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("files (bindings.localstorage) output: open after "),
        "{said}"
    );
    assert!(
        said.contains("tick (bindings.cron) input: open after "),
        "{said}"
    );
    assert!(
        said.contains("cache (bindings.redis) output: disconnected after "),
        "{said}"
    );
    assert!(said.contains("Connection refused"), "{said}");
    std::fs::remove_file(components.join("cache.yaml")).unwrap();
    assert_eq!(check(&["--connect", path]).status.code(), Some(0));
}
