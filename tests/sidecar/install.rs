//! `bindery install --as-daprd`: what Dapr's CLI needs, laid out. `tests/sdks/cli.rs` runs the CLI
//! on it.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::binary;

fn install(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binary());
    let command = command
        .args(["install", "--as-daprd"])
        .arg(folder)
        .args(more);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let both = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn it_lays_out_what_the_cli_looks_for_and_says_what_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let output = install(folder.path(), &[]);
    assert!(output.status.success(), "{}", said(&output));
    let dapr = folder.path().join(".dapr");
    let next = format!("export DAPR_RUNTIME_PATH={}\n", folder.path().display());
    assert!(said(&output).contains(&next), "{}", said(&output));
    let daprd = dapr.join("bin/daprd");
    assert!(daprd.symlink_metadata().unwrap().is_file(), "a copy");
    let version = Command::new(&daprd).arg("--version").output().unwrap();
    assert_eq!(said(&version).trim().split('.').count(), 3);
    let output = Command::new(binary())
        .arg("check")
        .arg(dapr.join("components"))
        .output();
    assert!(output.unwrap().status.success());

    // What is there stays.
    std::fs::write(dapr.join("config.yaml"), "kind: Configuration\n").unwrap();
    let output = install(folder.path(), &["--link"]);
    assert!(output.status.success());
    assert!(
        said(&output).contains("in place of another Bindery"),
        "{}",
        said(&output)
    );
    assert!(daprd.symlink_metadata().unwrap().is_symlink());
    let configuration = std::fs::read_to_string(dapr.join("config.yaml")).unwrap();
    assert_eq!(configuration, "kind: Configuration\n");
    let output = install(folder.path(), &[]);
    assert!(
        said(&output).contains("is this program already"),
        "{}",
        said(&output)
    );
    let left = std::fs::read_dir(dapr.join("bin")).unwrap().count();
    assert_eq!(left, 1, "nothing is left beside it");
}

#[test]
fn another_daprd_is_replaced_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let daprd = folder.path().join(".dapr/bin/daprd");
    std::fs::create_dir_all(daprd.parent().unwrap()).unwrap();
    std::fs::write(&daprd, "#!/bin/sh\n").unwrap();
    let output = install(folder.path(), &["--link"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("is another program") && said(&output).contains("--force"));
    assert_eq!(std::fs::read_to_string(&daprd).unwrap(), "#!/bin/sh\n");
    assert!(!folder.path().join(".dapr/components").exists());
    let output = install(folder.path(), &["--link", "--force"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("in place of another program"));
    assert!(daprd.is_symlink());
}

#[test]
fn a_folder_that_the_cli_would_not_look_into_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = install(&folder.path().join(".dapr"), &["--link"]);
    assert_eq!(output.status.code(), Some(1));
    let instead = format!("write --as-daprd {}\n", folder.path().display());
    assert!(said(&output).contains(&instead), "{}", said(&output));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = install(&file, &["--link"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("Not a directory"),
        "{}",
        said(&output)
    );
}
