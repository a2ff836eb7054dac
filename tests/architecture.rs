//! Who may know whom (DESIGN "The house"), read from what cargo knows.
//!
//! - the contract knows none of our crates;
//! - a binding knows the contract, the crate for identity providers, and the testkit in its
//!   tests; never actors, never another binding;
//! - the crate for identity providers knows the contract, and the testkit in its tests;
//! - actors know the contract, and the testkit in their tests; never a binding;
//! - only the root package knows bindings, and in it only `src/catalogue.rs` names them;
//! - the testkit is nobody's dependency but for tests.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A dependency of one of our crates on another: from, to, and whether for tests only.
type Edge = (String, String, bool);

fn edges() -> Vec<Edge> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ours: BTreeSet<String> = packages
        .iter()
        .map(|package| text(&package["name"]))
        .collect();
    packages
        .iter()
        .flat_map(|package| {
            let from = text(&package["name"]);
            let dependencies = package["dependencies"].as_array().unwrap();
            dependencies.iter().map(move |dependency| {
                let dev = dependency["kind"] == "dev";
                (from.clone(), text(&dependency["name"]), dev)
            })
        })
        .filter(|(_, to, _)| ours.contains(to))
        .collect()
}

/// Whether a crate of ours may know another.
fn may_know((from, to, for_tests): &Edge) -> bool {
    const CONTRACT: &str = "bindery-contract";
    const ACTORS: &str = "bindery-actors";
    const TESTKIT: &str = "bindery-testkit";
    const IDENTITY: &str = "bindery-identity";
    match (from.as_str(), to.as_str()) {
        ("bindery", _) => to != TESTKIT || *for_tests,
        ("bindery-bench" | "bindery-faults", _) => true,
        (CONTRACT, _) => false,
        (ACTORS, CONTRACT) => true,
        (TESTKIT, CONTRACT | ACTORS) => true,
        (_, TESTKIT) => *for_tests,
        (IDENTITY, CONTRACT) => true,
        (ACTORS | TESTKIT | IDENTITY, _) => false,
        // What is left is a binding.
        (_, CONTRACT | IDENTITY) => true,
        _ => false,
    }
}

#[test]
fn no_crate_knows_one_that_it_must_not_know() {
    let edges = edges();
    let forbidden: Vec<_> = edges.iter().filter(|edge| !may_know(edge)).collect();
    assert!(forbidden.is_empty(), "forbidden: {forbidden:?}");
    let knows_the_contract = |name: &str| {
        edges
            .iter()
            .any(|(from, to, _)| from == name && to == "bindery-contract")
    };
    assert!(
        knows_the_contract("bindery-cron"),
        "the edges were read: {edges:?}"
    );
}

#[test]
fn the_rule_can_tell() {
    let edge = |from: &str, to: &str, for_tests| (from.to_owned(), to.to_owned(), for_tests);
    for (from, to, for_tests) in [
        ("bindery-contract", "bindery-actors", false),
        ("bindery-contract", "bindery-testkit", true),
        ("bindery-cron", "bindery-actors", true),
        ("bindery-cron", "bindery-redis", false),
        ("bindery-cron", "bindery-testkit", false),
        ("bindery-cron", "bindery", true),
        ("bindery-actors", "bindery-cron", true),
        ("bindery-actors", "bindery", false),
        ("bindery-actors", "bindery-identity", false),
        ("bindery-testkit", "bindery-identity", false),
        ("bindery-identity", "bindery-actors", true),
        ("bindery-identity", "bindery-redis", false),
        ("bindery-identity", "bindery-testkit", false),
        ("bindery-contract", "bindery-identity", false),
        ("bindery", "bindery-testkit", false),
    ] {
        assert!(!may_know(&edge(from, to, for_tests)), "{from} -> {to}");
    }
}

/// Only the catalogue names the bindings' crates.
#[test]
fn only_the_catalogue_names_bindings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bindings: Vec<String> = std::fs::read_dir(root.join("components"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| format!("bindery_{}", entry.file_name().to_string_lossy()))
        .filter(|name| name != "bindery_contract" && name != "bindery_testkit")
        .collect();
    assert!(bindings.len() >= 6, "{bindings:?}");
    let mut folders = vec![root.join("src"), root.join("actors/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("src/catalogue.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let named = bindings.iter().find(|binding| text.contains(*binding));
                assert_eq!(named, None, "{}", path.display());
            }
        }
    }
}

/// The licence asks for its text to come with every copy, and a crate's package is one.
#[test]
fn every_crate_that_is_published_has_the_text_of_its_licence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("LICENSE")).unwrap();
    let components = std::fs::read_dir(root.join("components")).unwrap();
    let mut crates: Vec<_> = components.map(|entry| entry.unwrap().path()).collect();
    crates.push(root.join("actors"));
    let mut published = 0;
    for folder in crates {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        if manifest.is_empty() || manifest.contains("publish = false") {
            continue;
        }
        published += 1;
        let found = std::fs::read_to_string(folder.join("LICENSE")).unwrap_or_default();
        assert_eq!(found, text, "{} needs a LICENSE", folder.display());
    }
    assert!(published >= 8, "{published}");
}
